//! The initrd as the stub hands it over.

use alloc::vec::Vec;
use core::fmt;

use crate::bank::{Bank, Digest, Hasher};
use crate::boot_plan::cpio::{Archive, pad};
use crate::pcr11::hash_with_all;

/// Content that is read when it is needed: it hands all its bytes to the sink, in order.
#[derive(Clone, Copy)]
pub(super) struct Stream<'a>(pub(super) &'a ReadInto<'a>);

/// Calls the sink with all bytes of something.
pub(super) type ReadInto<'a> = dyn Fn(&mut dyn FnMut(&[u8])) + 'a;

impl fmt::Debug for Stream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

/// One part of the initrd.
#[derive(Debug, Clone)]
pub(super) enum Piece<'a> {
    Bytes(&'a [u8]),
    Stream(Stream<'a>),
    Archive(Archive<'a>),
}

impl Piece<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Stream(_) => false,
            Self::Archive(archive) => archive.is_empty(),
        }
    }

    /// The answer is the length, as far as padding needs it.
    fn write(&self, sink: &mut dyn FnMut(&[u8])) -> usize {
        match self {
            Self::Bytes(bytes) => {
                sink(bytes);
                bytes.len()
            }
            Self::Stream(Stream(read)) => {
                let mut len = 0usize;
                read(&mut |bytes| {
                    len = len.wrapping_add(bytes.len());
                    sink(bytes);
                });
                len
            }
            Self::Archive(archive) => {
                archive.write(sink);
                0
            }
        }
    }
}

/// The digests of what `write` writes, one for each bank.
pub(super) fn digests(banks: &[Bank], write: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Vec<Digest> {
    let mut hashers: Vec<Hasher> = banks.iter().copied().map(Hasher::new).collect();
    write(&mut |bytes| hash_with_all(&mut hashers, bytes));
    hashers.into_iter().map(Hasher::finish).collect()
}

/// The digests of the whole initrd: several pieces are each padded to four bytes, a single one is
/// handed over as it is. `None` when there is nothing.
pub(super) fn whole(banks: &[Bank], pieces: &[Piece<'_>]) -> Option<Vec<Digest>> {
    let pieces: Vec<&Piece<'_>> = pieces.iter().filter(|piece| !piece.is_empty()).collect();
    let several = pieces.len() > 1;
    (!pieces.is_empty()).then(|| {
        digests(banks, |sink| {
            for piece in pieces {
                let len = piece.write(sink);
                if several {
                    pad(sink, len);
                }
            }
        })
    })
}
