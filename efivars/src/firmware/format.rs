//! The check that edk2 makes of a value before it stores it.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use super::{Reason, Refusal};
use crate::{Certificate, Error, SignatureList, SignatureType, VariableName};

pub(super) fn check(name: &VariableName, value: &[u8]) -> Result<(), Refusal> {
    if !name.is_key_variable() {
        return Ok(());
    }
    let (mut rest, mut offset, mut entries) = (value, 0u64, 0u64);
    while !rest.is_empty() {
        let list = SignatureList::parse_at(rest, offset)
            .map_err(|error| refuse(offset, layout(&error)))?;
        check_list(&list).map_err(|what| refuse(offset, what))?;
        entries = entries.saturating_add(list.len() as u64);
        let len = list.byte_len();
        rest = usize::try_from(len)
            .ok()
            .and_then(|len| rest.get(len..))
            .unwrap_or_default();
        offset = offset.saturating_add(len);
    }
    if *name == crate::PK && entries > 1 {
        return Err(Refusal::invalid(Reason::SeveralPlatformKeys {
            found: entries,
        }));
    }
    Ok(())
}

fn check_list(list: &SignatureList) -> Result<(), &'static str> {
    if !list.kind().is_known_to_edk2() {
        return Err("the type is unknown to this firmware");
    }
    if list
        .kind()
        .data_len()
        .is_some_and(|len| len.checked_add(16) != Some(list.entry_len()))
    {
        return Err("the entries do not have the length of their type");
    }
    if !list.header().is_empty() {
        return Err("it has a signature header");
    }
    // Only the first entry of a list is looked at, and a list of anything else may have none.
    if list.kind() == SignatureType::X509 {
        let Some(first) = list.signatures().next() else {
            return Err("it has no entries");
        };
        match Certificate::from_der_prefix(first.data) {
            Ok(certificate) if certificate.is_rsa() => {}
            Ok(_) => return Err("the certificate has no RSA key"),
            Err(_) => return Err("the entry is not a certificate"),
        }
    }
    Ok(())
}

const fn layout(error: &Error) -> &'static str {
    match error {
        Error::Truncated { .. } => "it is cut off",
        Error::ListSize { .. } => "it has no room for its own header",
        Error::EntrySize { .. } => "its entries have no room for their owner",
        _ => "its entries do not fill it",
    }
}

const fn refuse(offset: u64, what: &'static str) -> Refusal {
    Refusal::invalid(Reason::SignatureList { offset, what })
}
