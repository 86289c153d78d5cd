//! The initrd as the stub hands it over.

use alloc::vec::Vec;

use crate::bank::{Bank, Digest, Hasher};
use crate::boot_plan::cpio::{Archive, pad};

/// One part of the initrd.
#[derive(Debug, Clone)]
pub(super) enum Piece<'a> {
    Bytes(&'a [u8]),
    Archive(Archive<'a>),
}

impl Piece<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Archive(archive) => archive.is_empty(),
        }
    }

    fn write(&self, sink: &mut dyn FnMut(&[u8])) {
        match self {
            Self::Bytes(bytes) => sink(bytes),
            Self::Archive(archive) => archive.write(sink),
        }
    }
}

/// The digests of what `write` writes, one for each bank.
pub(super) fn digests(banks: &[Bank], write: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Vec<Digest> {
    let mut hashers: Vec<Hasher> = banks.iter().copied().map(Hasher::new).collect();
    write(&mut |bytes| {
        for hasher in &mut hashers {
            hasher.update(bytes);
        }
    });
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
                piece.write(sink);
                if let (true, Piece::Bytes(bytes)) = (several, piece) {
                    pad(sink, bytes.len());
                }
            }
        })
    })
}
