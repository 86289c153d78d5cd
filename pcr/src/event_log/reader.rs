//! A cursor over a log: each read names what it reads, so that errors say where a log ends.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use super::error::EventLogError;

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(super) fn offset(&self) -> u64 {
        u64::try_from(self.position).unwrap_or(u64::MAX)
    }

    pub(super) const fn position(&self) -> usize {
        self.position
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.position)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    pub(super) fn take(&mut self, what: &'static str, len: u64) -> Result<&'a [u8], EventLogError> {
        let truncated = || EventLogError::Truncated {
            what,
            offset: self.offset(),
            needed: len,
            available: u64::try_from(self.remaining()).unwrap_or(u64::MAX),
        };
        let end = usize::try_from(len)
            .ok()
            .and_then(|len| self.position.checked_add(len))
            .ok_or_else(truncated)?;
        let taken = self.bytes.get(self.position..end).ok_or_else(truncated)?;
        self.position = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], EventLogError> {
        let mut array = [0; N];
        let taken = self.take(what, u64::try_from(N).unwrap_or(u64::MAX))?;
        array.copy_from_slice(taken);
        Ok(array)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, EventLogError> {
        Ok(u8::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, EventLogError> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, EventLogError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, EventLogError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }
}
