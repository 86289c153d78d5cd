//! Chains of certificates as OpenSSL builds them in firmware: partial chains are good, dates and purposes do not count.

use alloc::vec::Vec;

use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, Pkcs1v15Sign};

use crate::certificate::Authority;
use crate::{Certificate, HashAlgorithm};

/// Longest chain that is followed.
const MAX_DEPTH: usize = 16;

/// Whether `signature` over a message with this digest was made with the certificate's key (PKCS#1 v1.5).
pub(crate) fn verify_digest(
    certificate: &Certificate,
    algorithm: HashAlgorithm,
    digest: &[u8],
    signature: &[u8],
) -> bool {
    let scheme = Pkcs1v15Sign {
        hash_len: Some(algorithm.digest_len()),
        prefix: algorithm.digest_info_prefix().into(),
    };
    certificate
        .public_key()
        .is_some_and(|key| key.verify(scheme, digest, signature).is_ok())
}

/// The last bytes of what `signature` hides, which are the digest if [`verify_digest`] is to accept
/// it: one use of the key for any number of digests. None where there is no digest to accept.
pub(crate) fn signed_digest(
    certificate: &Certificate,
    algorithm: HashAlgorithm,
    signature: &[u8],
) -> Option<Vec<u8>> {
    let key = certificate.public_key()?;
    let value = BigUint::from_bytes_be(signature);
    if signature.len() != key.size() || value >= *key.n() {
        return None;
    }
    let block = value.modpow(key.e(), key.n()).to_bytes_be();
    let start = block.len().saturating_sub(algorithm.digest_len());
    block.get(start..).map(<[u8]>::to_vec)
}

/// Whether `signer` is `trusted`, or is signed by it through certificates of `pool`.
///
/// It goes level by level: a certificate is met first where the fewest lie below it, and what it
/// may not issue there it may not issue further up. So each is looked at once, however many ways
/// lead to it.
pub(crate) fn reaches(signer: &Certificate, pool: &[Certificate], trusted: &Certificate) -> bool {
    let mut seen = alloc::vec![signer];
    let mut level = alloc::vec![signer];
    for below in 0..MAX_DEPTH {
        // Everything between the signer and the last issuer is intermediate.
        let ends = |last: &&Certificate| {
            *last == trusted || may_issue(trusted, below, true) && issued(trusted, last)
        };
        if level.iter().any(ends) {
            return true;
        }
        let mut next = Vec::new();
        for candidate in pool {
            if !seen.contains(&candidate)
                && may_issue(candidate, below, candidate == trusted)
                && level.iter().any(|last| issued(candidate, last))
            {
                seen.push(candidate);
                next.push(candidate);
            }
        }
        level = next;
    }
    false
}

fn issued(issuer: &Certificate, subject: &Certificate) -> bool {
    issuer.subject_der() == subject.issuer_der()
        && subject.signed().is_some_and(|(algorithm, tbs, signature)| {
            verify_digest(issuer, algorithm, &algorithm.digest(&[tbs]), signature)
        })
}

fn may_issue(issuer: &Certificate, below: usize, last: bool) -> bool {
    match issuer.authority() {
        Authority::Yes { path_len } => path_len.is_none_or(|len| below <= usize::from(len)),
        Authority::Unsaid => last && issuer.subject_der() == issuer.issuer_der(),
        Authority::No => false,
    }
}
