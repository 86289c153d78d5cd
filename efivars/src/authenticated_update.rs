#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;
use core::fmt;

use crate::{
    Attributes, Certificate, EfiTime, Error, Guid, SignatureDatabase, SignedData, VariableName,
    VerificationError,
};

/// `EFI_VARIABLE_AUTHENTICATION_2` and the new value: the content of an `.auth` file, UEFI 2.10 §8.2.2.
///
/// | offset | size | field |
/// | --- | --- | --- |
/// | 0 | 16 | time |
/// | 16 | 4 | `dwLength`: 24 + length of the PKCS#7 |
/// | 20 | 2 | `wRevision` 0x0200 |
/// | 22 | 2 | `wCertificateType` 0x0ef1 |
/// | 24 | 16 | `CertType`, the GUID of PKCS#7 |
/// | 40 | `dwLength` − 24 | PKCS#7 |
/// | 16 + `dwLength` | … | new value |
///
/// The file says neither which variable nor which attributes it is for: [`explain`](Self::explain) finds out.
///
/// # Examples
///
/// ```no_run
/// # fn demo(bytes: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
/// use efivars::{Attributes, AuthenticatedUpdate};
/// let update = AuthenticatedUpdate::parse(bytes)?;
/// let signers = update.verify(&efivars::DB, Attributes::KEY)?;
/// println!("{} signed {} entries", signers[0].subject(), update.database()?.len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuthenticatedUpdate<'a> {
    time: EfiTime,
    revision: u16,
    pkcs7: &'a [u8],
    value: &'a [u8],
}

pub(crate) const HEADER_LEN: usize = 40;
/// `dwLength` of a header without PKCS#7.
const CERTIFICATE_HEADER_LEN: u32 = 24;
const REVISION: u16 = 0x0200;
const TYPE_EFI_GUID: u16 = 0x0ef1;

/// The fields of the header as they stand there, for readers that judge them themselves.
pub(crate) struct RawHeader<'a> {
    pub(crate) time: EfiTime,
    pub(crate) revision: u16,
    pub(crate) certificate_type: u16,
    pub(crate) cert_type: Guid,
    pub(crate) pkcs7: &'a [u8],
    pub(crate) value: &'a [u8],
}

impl<'a> RawHeader<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let Some((time, rest)) = bytes.split_first_chunk::<16>() else {
            return Err(too_short(bytes));
        };
        let Some((&[l0, l1, l2, l3, r0, r1, t0, t1], rest)) = rest.split_first_chunk::<8>() else {
            return Err(too_short(bytes));
        };
        let Some((guid, content)) = rest.split_first_chunk::<16>() else {
            return Err(too_short(bytes));
        };
        let found = u32::from_le_bytes([l0, l1, l2, l3]);
        let Some(len) = found.checked_sub(CERTIFICATE_HEADER_LEN) else {
            return Err(Error::HeaderLength { found });
        };
        let Some((pkcs7, value)) = usize::try_from(len)
            .ok()
            .and_then(|len| content.split_at_checked(len))
        else {
            return Err(Error::Truncated {
                what: "authentication header",
                offset: 16,
                needed: found.into(),
                available: bytes.len().saturating_sub(16) as u64,
            });
        };
        Ok(Self {
            time: EfiTime::from_bytes(*time),
            revision: u16::from_le_bytes([r0, r1]),
            certificate_type: u16::from_le_bytes([t0, t1]),
            cert_type: Guid::from_bytes(*guid),
            pkcs7,
            value,
        })
    }
}

fn too_short(bytes: &[u8]) -> Error {
    Error::Truncated {
        what: "authentication header",
        offset: 0,
        needed: HEADER_LEN as u64,
        available: bytes.len() as u64,
    }
}

impl<'a> AuthenticatedUpdate<'a> {
    /// Reads the header; the PKCS#7 and the value are looked at when they are asked for.
    ///
    /// # Errors
    ///
    /// What is wrong with the header.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let update = Self::parse_lenient(bytes)?;
        if update.revision == REVISION {
            Ok(update)
        } else {
            Err(Error::Revision {
                found: update.revision,
            })
        }
    }

    /// Like [`parse`](Self::parse), with any `wRevision`, which edk2 does not look at.
    ///
    /// # Errors
    ///
    /// What is wrong with the header.
    pub fn parse_lenient(bytes: &'a [u8]) -> Result<Self, Error> {
        let header = RawHeader::parse(bytes)?;
        if header.certificate_type != TYPE_EFI_GUID {
            return Err(Error::CertificateType {
                found: header.certificate_type,
            });
        }
        if header.cert_type != Guid::CERT_TYPE_PKCS7 {
            return Err(Error::HeaderGuid {
                found: header.cert_type,
            });
        }
        Ok(Self {
            time: header.time,
            revision: header.revision,
            pkcs7: header.pkcs7,
            value: header.value,
        })
    }

    /// The time that it is signed for.
    #[must_use]
    pub const fn time(&self) -> EfiTime {
        self.time
    }

    /// `wRevision`.
    #[must_use]
    pub const fn revision(&self) -> u16 {
        self.revision
    }

    /// The bytes of the PKCS#7, empty when it is not signed.
    #[must_use]
    pub const fn pkcs7(&self) -> &'a [u8] {
        self.pkcs7
    }

    /// The new value; empty deletes the variable.
    #[must_use]
    pub const fn value(&self) -> &'a [u8] {
        self.value
    }

    /// Whether there is a PKCS#7 at all.
    #[must_use]
    pub const fn is_signed(&self) -> bool {
        !self.pkcs7.is_empty()
    }

    /// The new value as signature lists, read leniently.
    ///
    /// # Errors
    ///
    /// As [`SignatureDatabase::parse_lenient`].
    pub fn database(&self) -> Result<SignatureDatabase, Error> {
        SignatureDatabase::parse_lenient(self.value)
    }

    /// The signature; nothing when it is not signed.
    ///
    /// # Errors
    ///
    /// [`Error::Der`] when it is malformed.
    pub fn signed_data(&self) -> Result<Option<SignedData>, Error> {
        if self.is_signed() {
            SignedData::parse(self.pkcs7).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The bytes that a signature for this variable and these attributes covers; they are nowhere stored.
    #[must_use]
    pub fn signed_bytes(&self, name: &VariableName, attributes: Attributes) -> Vec<u8> {
        signed_bytes(name, attributes, self.time, self.value)
    }

    /// Whether it is signed, by whomever, for this variable and these attributes; returns the signers' certificates.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn verify(
        &self,
        name: &VariableName,
        attributes: Attributes,
    ) -> Result<Vec<Certificate>, VerificationError> {
        let signature = self.signed_data()?.ok_or(VerificationError::NotSigned)?;
        let content = self.signed_bytes(name, attributes);
        Ok(signature
            .verify(&[&content])?
            .into_iter()
            .cloned()
            .collect())
    }

    /// Whether it is signed for this variable and these attributes by `trusted` or by someone whose certificate chains to it.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn verify_for(
        &self,
        trusted: &Certificate,
        name: &VariableName,
        attributes: Attributes,
    ) -> Result<(), VerificationError> {
        let signature = self.signed_data()?.ok_or(VerificationError::NotSigned)?;
        signature.verify_for(trusted, &[&self.signed_bytes(name, attributes)])
    }
}

/// Name in UTF-16 without terminator, GUID, attributes, time, value.
pub(crate) fn signed_bytes(
    name: &VariableName,
    attributes: Attributes,
    time: EfiTime,
    value: &[u8],
) -> Vec<u8> {
    [
        name.to_utf16().as_slice(),
        &name.vendor().to_bytes(),
        &attributes.bits().to_le_bytes(),
        &time.to_bytes(),
        value,
    ]
    .concat()
}

/// The header with its PKCS#7.
pub(crate) fn header(time: EfiTime, pkcs7: &[u8]) -> Result<Vec<u8>, Error> {
    let len = u32::try_from(pkcs7.len())
        .ok()
        .and_then(|len| len.checked_add(CERTIFICATE_HEADER_LEN));
    let len = len.ok_or(Error::TooLong {
        what: "PKCS#7",
        len: pkcs7.len() as u64,
        max: u32::MAX.into(),
    })?;
    Ok([
        time.to_bytes().as_slice(),
        &len.to_le_bytes(),
        &REVISION.to_le_bytes(),
        &TYPE_EFI_GUID.to_le_bytes(),
        &Guid::CERT_TYPE_PKCS7.to_bytes(),
        pkcs7,
    ]
    .concat())
}

impl fmt::Debug for AuthenticatedUpdate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "AuthenticatedUpdate({}, {} bytes PKCS#7, {} bytes)",
            self.time,
            self.pkcs7.len(),
            self.value.len()
        )
    }
}
