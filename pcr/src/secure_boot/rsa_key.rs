//! RSA signatures as firmware checks them: PKCS#1 v1.5 only.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use rsa::{BigUint, Pkcs1v15Sign, RsaPublicKey};

use crate::bank::{Bank, Digest};

/// Largest key that is looked at; a hostile certificate could hold one that takes minutes.
const MAX_BITS: usize = 8192;

pub(super) const SHA1_OID: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
pub(super) const SHA256_OID: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
pub(super) const SHA384_OID: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
pub(super) const SHA512_OID: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03];

pub(super) const fn hash_oid(bank: Bank) -> &'static [u8] {
    match bank {
        Bank::Sha1 => SHA1_OID,
        Bank::Sha256 => SHA256_OID,
        Bank::Sha384 => SHA384_OID,
        Bank::Sha512 => SHA512_OID,
    }
}

pub(super) fn hash_from_oid(oid: &[u8]) -> Option<Bank> {
    Bank::ALL.into_iter().find(|bank| hash_oid(*bank) == oid)
}

/// The hash of `sha…WithRSAEncryption`.
pub(super) fn hash_from_signature_oid(oid: &[u8]) -> Option<Bank> {
    let last = oid.strip_prefix(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01])?;
    match last {
        [5] => Some(Bank::Sha1),
        [11] => Some(Bank::Sha256),
        [12] => Some(Bank::Sha384),
        [13] => Some(Bank::Sha512),
        _ => None,
    }
}

/// Whether `signature` over a message with this digest was made with the key.
pub(super) fn verify(modulus: &[u8], exponent: &[u8], digest: &Digest, signature: &[u8]) -> bool {
    let (n, e) = (
        BigUint::from_bytes_be(modulus),
        BigUint::from_bytes_be(exponent),
    );
    let Ok(key) = RsaPublicKey::new_with_max_size(n, e, MAX_BITS) else {
        return false;
    };
    let oid = hash_oid(digest.bank());
    let hash = digest.as_bytes();
    // DigestInfo: SEQUENCE { SEQUENCE { OID, NULL }, OCTET STRING }, all lengths below 128.
    let byte = |len: usize| u8::try_from(len).unwrap_or(u8::MAX);
    let mut prefix: Vec<u8> = Vec::new();
    let algorithm = oid.len().saturating_add(4);
    prefix.extend_from_slice(&[
        0x30,
        byte(algorithm.saturating_add(hash.len()).saturating_add(4)),
    ]);
    prefix.extend_from_slice(&[0x30, byte(algorithm), 0x06, byte(oid.len())]);
    prefix.extend_from_slice(oid);
    prefix.extend_from_slice(&[0x05, 0x00, 0x04, byte(hash.len())]);
    let scheme = Pkcs1v15Sign {
        hash_len: Some(hash.len()),
        prefix: prefix.into_boxed_slice(),
    };
    key.verify(scheme, hash, signature).is_ok()
}
