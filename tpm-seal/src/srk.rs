//! `tpm2_srk`: a storage key's handle and public area, as libtss2 serialises it.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::wire::{Reader, tpm2b};
use crate::{Name, Parent, PublicArea, Refusal};

const RESOURCE_KEY: u32 = 1;

/// Reads handle, Name, resource type and public area. The Name must be that of the public area.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parent, crate::Error> {
    let mut reader = Reader::new("tpm2_srk", bytes);
    let handle = reader.u32()?;
    let name = Name::parse(reader.tpm2b()?)?;
    let kind = reader.u32()?;
    if kind != RESOURCE_KEY {
        return Err(reader.unexpected("resource type", kind));
    }
    let public = PublicArea::parse_area(reader.tpm2b()?)?;
    reader.finish()?;
    if public.name() != name {
        return Err(Refusal::Damaged {
            what: "the name of the storage key is not that of its public area",
        }
        .into());
    }
    if !public.is_storage_key() {
        return Err(Refusal::Damaged {
            what: "the public area is not that of a storage key",
        }
        .into());
    }
    Ok(Parent::Persistent { handle, public })
}

/// Writes it.
pub(crate) fn to_bytes(handle: u32, public: &PublicArea) -> Vec<u8> {
    let mut bytes = handle.to_be_bytes().to_vec();
    bytes.extend(tpm2b(public.name().as_bytes()));
    bytes.extend(RESOURCE_KEY.to_be_bytes());
    bytes.extend(public.to_bytes());
    bytes
}
