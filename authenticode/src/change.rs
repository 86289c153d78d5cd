//! Changes of an image's signatures that need no key.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use crate::certificate::Certificate;
use crate::error::Error;
use crate::image::Image;
use crate::oid;
use crate::signature::{self, SignatureProblem};
use crate::signed_data::SignedData;
use crate::table::{SignatureTable, TableEntry};
use crate::timestamp;
use crate::verify;

impl Image {
    /// The signature table with a detached signature added (a ContentInfo in DER, as `sbsign --detached` writes it).
    ///
    /// A signature that is already there is not added again.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`] if it is for another image, [`Error::SignatureMismatch`] if it does not hold,
    /// [`Error::SignerNotEmbedded`]; [`Error::NotHashed`] if the image was not hashed with its algorithm.
    pub fn attach(&self, pkcs7: &[u8]) -> Result<SignatureTable, Error> {
        let blob = self.check_detached(pkcs7)?;
        if let Some(problem) = self.table().problem() {
            return Err(problem.into());
        }
        let mut table = self.table().clone();
        table.extend_new([TableEntry::for_pkcs7(blob)?]);
        Ok(table)
    }

    fn check_detached<'a>(&self, pkcs7: &'a [u8]) -> Result<&'a [u8], Error> {
        let signed = SignedData::parse(pkcs7)?;
        for algorithm in signed.hashes() {
            self.digest_for_signing(algorithm)?;
        }
        // An unsigned image is padded when its first signature is attached.
        match signature::check(&signed, &self.as_signed()) {
            Ok(_) => Ok(signed.raw),
            Err(SignatureProblem::DigestMismatch) => Err(Error::DigestMismatch),
            Err(SignatureProblem::SignerNotEmbedded) => Err(Error::SignerNotEmbedded),
            Err(SignatureProblem::Malformed(error)) => Err(error),
            Err(SignatureProblem::Unsupported { what }) => Err(Error::Unsupported { what }),
            Err(_) => Err(Error::SignatureMismatch),
        }
    }

    /// The signature table with the signatures of another copy of the same image added, those of its signatures that hold
    /// for this one; tells how many were new.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`] if the other has signatures but none is for this image; [`Error::BadTable`].
    pub fn merge(&self, other: &Self) -> Result<(SignatureTable, usize), Error> {
        for table in [self.table(), other.table()] {
            if let Some(problem) = table.problem() {
                return Err(problem.into());
            }
        }
        let padded = self.as_signed();
        let fitting: Vec<TableEntry> = other
            .entries()
            .iter()
            .filter(|entry| signature::intact(entry, &padded).is_some())
            .cloned()
            .collect();
        if fitting.is_empty() && !other.entries().is_empty() {
            return Err(Error::DigestMismatch);
        }
        let mut table = self.table().clone();
        let added = table.extend_new(fitting);
        Ok((table, added))
    }

    /// The signature table without the signatures that name this certificate as their signer's; tells how many they were.
    #[must_use]
    pub fn without_signer(&self, certificate: &Certificate) -> (SignatureTable, usize) {
        let mut table = self.table().clone();
        let removed = table.remove_if(|entry| verify::is_signed_by(entry, certificate));
        (table, removed)
    }

    /// The octets that a timestamp for a signature is over: an RFC 3161 request holds their hash.
    ///
    /// # Errors
    /// [`Error::NoSuchSignature`], [`Error::Der`].
    pub fn signature_value(&self, index: usize) -> Result<Vec<u8>, Error> {
        let blob = self.pkcs7(index)?;
        let signed = SignedData::parse(blob)?;
        let signer = signed.signers.first().ok_or(Error::Unsupported {
            what: "a signature without signer",
        })?;
        Ok(signer.signature.to_vec())
    }

    /// The signature table with an RFC 3161 token (a ContentInfo in DER, or the authority's whole response) attached to a
    /// signature.
    ///
    /// The token must be for this signature; whether its authority is trusted is for the verifier.
    ///
    /// # Errors
    /// [`Error::NoSuchSignature`], [`Error::Der`], [`Error::Timestamp`].
    pub fn attach_timestamp(&self, index: usize, token: &[u8]) -> Result<SignatureTable, Error> {
        let blob = self.pkcs7(index)?;
        let value = self.signature_value(index)?;
        let token = SignedData::parse(timestamp::of_response(token)?)?.raw;
        if timestamp::peek(token, &value).is_none() {
            return Err(Error::Timestamp {
                problem: "it is for another signature",
            });
        }
        let stamped = timestamp::add_unsigned(blob, oid::RFC3161_TOKEN, token)?;
        let mut table = self.table().clone();
        table.replace(index, TableEntry::for_pkcs7(&stamped)?)?;
        Ok(table)
    }

    fn pkcs7(&self, index: usize) -> Result<&[u8], Error> {
        let count = self.entries().len();
        let entry = self
            .entries()
            .get(index)
            .ok_or(Error::NoSuchSignature { index, count })?;
        entry.pkcs7().ok_or(Error::Unsupported {
            what: "a table entry that is no signature",
        })
    }
}
