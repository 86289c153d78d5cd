//! Who may write what: the checks that edk2 makes of an authenticated write.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use super::machine::Machine;
use super::{EfiStatus, Firmware, Reason, Refusal, Write, format};
use crate::authenticated_update::{RawHeader, signed_bytes};
use crate::{
    Attributes, Certificate, Guid, HashAlgorithm, SignatureDatabase, SignatureType, SignedData,
    VerificationError,
};

const TYPE_EFI_GUID: u16 = 0x0ef1;

/// Against what a signature is verified.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Authority {
    /// The certificate in PK itself.
    Pk,
    /// Any certificate in KEK, or one that chains to it.
    Kek,
    /// The certificate in the value that is written.
    Payload,
    /// Whoever wrote the variable first.
    FirstWriter,
}

/// All checks; returns who owns a variable that has no other authority.
pub(super) fn verify(
    machine: &Machine,
    write: &Write,
    header: &RawHeader<'_>,
    authority: Authority,
) -> Result<Option<Vec<u8>>, Refusal> {
    if !header.time.is_plain() {
        return Err(Refusal::violation(Reason::TimeFields));
    }
    let stored = machine.stored(&write.name);
    if let Some(stored) = stored {
        let time = stored.variable.time;
        if !write.attributes.contains(Attributes::APPEND_WRITE) && !header.time.is_later_than(time)
        {
            return Err(Refusal::violation(Reason::NotLater {
                offered: header.time,
                stored: time,
            }));
        }
    }
    if header.certificate_type != TYPE_EFI_GUID || header.cert_type != Guid::CERT_TYPE_PKCS7 {
        return Err(Refusal::violation(Reason::CertificateType));
    }
    let digest = announced_digest(machine.firmware(), header.pkcs7).map_err(Refusal::violation)?;
    let content = signed_bytes(&write.name, write.attributes, header.time, header.value);
    let content: &[&[u8]] = &[&content];
    let signature = read(machine.firmware(), header.pkcs7);
    let mut owner = None;
    match authority {
        Authority::Pk => {
            let signature = signature.map_err(bad)?;
            let top = top_level(&signature).map_err(bad)?;
            let pk = machine
                .stored(&crate::PK)
                .and_then(|pk| first_entry(&pk.variable.data));
            if pk.as_deref() != Some(top.to_der()) {
                return Err(Refusal::violation(Reason::NotPk));
            }
            signature.verify_for(top, content).map_err(bad)?;
        }
        Authority::Kek => {
            let Some(kek) = machine.stored(&crate::KEK) else {
                return Err(Refusal::new(EfiStatus::NOT_FOUND, Reason::NoKek));
            };
            let signature = signature.map_err(bad)?;
            signature.verify(content).map_err(bad)?;
            let kek = SignatureDatabase::parse_lenient(&kek.variable.data).unwrap_or_default();
            let good = kek
                .entries()
                .filter(|entry| entry.kind == SignatureType::X509)
                .filter_map(|entry| Certificate::from_der_prefix(entry.data).ok())
                .any(|trusted| signature.verify_for(&trusted, content).is_ok());
            if !good {
                return Err(bad(VerificationError::NotTrusted));
            }
        }
        Authority::Payload => {
            let bad = |error| Refusal::violation(Reason::NotSelfSigned(error));
            let signature = signature.map_err(bad)?;
            let trusted =
                first_entry(header.value).and_then(|data| Certificate::from_der_prefix(&data).ok());
            let trusted = trusted.ok_or_else(|| bad(VerificationError::NotTrusted))?;
            signature.verify_for(&trusted, content).map_err(bad)?;
        }
        Authority::FirstWriter => {
            let signature = signature.map_err(bad)?;
            let top = top_level(&signature).map_err(bad)?;
            let id = owner_id(digest, top);
            if let Some(stored) = stored
                && (id.is_none() || stored.owner != id)
            {
                return Err(Refusal::violation(Reason::OtherOwner));
            }
            signature.verify_for(top, content).map_err(bad)?;
            owner = id;
        }
    }
    format::check(&write.name, header.value)?;
    Ok(owner)
}

const fn bad(error: VerificationError) -> Refusal {
    Refusal::violation(Reason::Signature(error))
}

/// The digest that stands where firmware looks for it: a fixed number of bytes into the PKCS#7.
fn announced_digest(firmware: Firmware, pkcs7: &[u8]) -> Result<HashAlgorithm, Reason> {
    let at = |offset: usize, length_at: usize, algorithm: HashAlgorithm| {
        let oid = algorithm.oid();
        pkcs7
            .get(offset..)
            .is_some_and(|rest| rest.starts_with(oid))
            && pkcs7.get(length_at).is_some_and(|byte| byte & 0x82 == 0x82)
    };
    if firmware == Firmware::Edk2_2022_11 {
        // Anything shorter fails later, as it holds no signature.
        if pkcs7.len() < 22 || at(13, 1, HashAlgorithm::Sha256) {
            return Ok(HashAlgorithm::Sha256);
        }
        return Err(Reason::Digest);
    }
    [
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha384,
        HashAlgorithm::Sha512,
    ]
    .into_iter()
    .find(|algorithm| at(13, 1, *algorithm) || at(32, 20, *algorithm))
    .ok_or(if pkcs7.is_empty() {
        Reason::Signature(VerificationError::NotSigned)
    } else {
        Reason::Digest
    })
}

fn read(firmware: Firmware, pkcs7: &[u8]) -> Result<SignedData, VerificationError> {
    if pkcs7.is_empty() {
        return Err(VerificationError::NotSigned);
    }
    let signature = SignedData::parse(pkcs7)?;
    if firmware == Firmware::Edk2_2022_11 && signature.is_wrapped() {
        return Err(VerificationError::Malformed { offset: 0 });
    }
    Ok(signature)
}

/// The certificate of the first signer; all signers must bring theirs.
fn top_level(signature: &SignedData) -> Result<&Certificate, VerificationError> {
    let mut first = None;
    for certificate in signature.signer_certificates() {
        let certificate = certificate.ok_or(VerificationError::NoSignerCertificate)?;
        first = first.or(Some(certificate));
    }
    first.ok_or(VerificationError::NoSigner)
}

/// The data of the first entry of the first list.
fn first_entry(value: &[u8]) -> Option<Vec<u8>> {
    let list = crate::SignatureList::parse_at(value, 0).ok()?;
    let data = list.signatures().next()?.data.to_vec();
    Some(data)
}

/// What firmware remembers of the first writer: a digest of the signer's common name and the top certificate.
fn owner_id(algorithm: HashAlgorithm, top: &Certificate) -> Option<Vec<u8>> {
    let name = top.common_name()?;
    let name = name.as_bytes().get(..127).unwrap_or(name.as_bytes());
    Some(algorithm.digest(&[name, top.tbs()]))
}
