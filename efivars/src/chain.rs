//! Chains of certificates as OpenSSL builds them in firmware: partial chains are good, dates and purposes do not count.

use alloc::vec::Vec;

use rsa::Pkcs1v15Sign;

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

/// Whether `signer` is `trusted`, or is signed by it through certificates of `pool`.
pub(crate) fn reaches(signer: &Certificate, pool: &[Certificate], trusted: &Certificate) -> bool {
    let mut path = alloc::vec![signer];
    follow(&mut path, pool, trusted)
}

fn follow<'a>(
    path: &mut Vec<&'a Certificate>,
    pool: &'a [Certificate],
    trusted: &'a Certificate,
) -> bool {
    let Some(last) = path.last().copied() else {
        return false;
    };
    if last == trusted {
        return true;
    }
    // Everything between the signer and the last issuer is intermediate.
    let below = path.len().saturating_sub(1);
    if issued(trusted, last) && may_issue(trusted, below, true) {
        return true;
    }
    if path.len() >= MAX_DEPTH {
        return false;
    }
    for candidate in pool {
        if path.contains(&candidate)
            || !issued(candidate, last)
            || !may_issue(candidate, below, candidate == trusted)
        {
            continue;
        }
        path.push(candidate);
        if follow(path, pool, trusted) {
            return true;
        }
        path.pop();
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
