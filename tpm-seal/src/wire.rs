//! Marshalled TPM structures: big-endian integers, and buffers with a two-byte size before them.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::Error;

/// Reads a marshalled structure from front to back.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    what: &'static str,
    len: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, which are a `what`.
    pub(crate) const fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self {
            what,
            len: bytes.len(),
            rest: bytes,
        }
    }

    const fn offset(&self) -> u64 {
        self.len.saturating_sub(self.rest.len()) as u64
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let Some((head, tail)) = self.rest.split_at_checked(len) else {
            return Err(Error::Truncated {
                what: self.what,
                offset: self.offset(),
                needed: len as u64,
                available: self.rest.len() as u64,
            });
        };
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    /// A `TPM2B`, without its size.
    pub(crate) fn tpm2b(&mut self) -> Result<&'a [u8], Error> {
        let len = self.u16()?;
        self.take(len.into())
    }

    /// The rest, unread.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Fails when something is left over.
    pub(crate) fn finish(self) -> Result<(), Error> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Error::Trailing {
                what: self.what,
                offset: self.offset(),
                len: self.rest.len() as u64,
            })
        }
    }

    /// A value that the structure does not allow, at the place just read.
    pub(crate) fn unexpected(&self, field: &'static str, value: u32) -> Error {
        Error::Unexpected {
            what: self.what,
            field,
            value,
            offset: self.offset(),
        }
    }
}

/// `bytes` with their size before them. Everything this crate marshals is far below 64 KiB; what comes from
/// outside is bounded when it is read.
pub(crate) fn tpm2b(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let mut out = len.to_be_bytes().to_vec();
    out.extend(bytes.iter().take(len.into()));
    out
}
