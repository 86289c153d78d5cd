//! Building and checking a certificate chain as OpenSSL does it for firmware: partial chains, no clock, any purpose.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use crate::certificate::Certificate;
use crate::certificate::extension::KEY_CERT_SIGN;
use crate::name_constraints;

/// Longest chain that OpenSSL builds.
const MAX_DEPTH: usize = 100;

/// Why no chain to a trusted certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ChainProblem {
    /// No certificate of the chain is trusted.
    #[error("no trusted certificate issued the signer's")]
    NoAnchor,
    /// A certificate was not signed by the key of its issuer.
    #[error("a certificate of the chain has a wrong signature")]
    BadSignature,
    /// An issuer is not a certificate authority.
    #[error("an issuer is not a certificate authority")]
    NotCa,
    /// More certificates follow than an authority allows.
    #[error("the chain is longer than an authority allows")]
    PathTooLong,
    /// A certificate has a critical extension that is not understood.
    #[error("a certificate has an unknown critical extension")]
    UnknownCritical,
    /// A proxy certificate.
    #[error("a proxy certificate is in the chain")]
    Proxy,
    /// A name is outside of what an authority may issue.
    #[error("a name is outside of an authority's name constraints")]
    NameConstraints,
    /// Checking would take more work than is sensible.
    #[error("the certificates take too much work to check")]
    TooComplex,
}

/// Bounds the work on hostile input.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    signatures: u32,
    candidates: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            signatures: 4096,
            candidates: 4_000_000,
        }
    }
}

impl Budget {
    pub(crate) fn signature(&mut self) -> Result<(), ChainProblem> {
        self.signatures = self
            .signatures
            .checked_sub(1)
            .ok_or(ChainProblem::TooComplex)?;
        Ok(())
    }

    pub(crate) fn candidates(&mut self, count: usize) -> Result<(), ChainProblem> {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.candidates = self
            .candidates
            .checked_sub(count)
            .ok_or(ChainProblem::TooComplex)?;
        Ok(())
    }
}

/// Which signatures on certificates can be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Those of firmware: RSA.
    Firmware,
    /// All that this crate knows.
    All,
}

/// Finds the chain from `leaf` to one of the `trusted` certificates and checks it.
///
/// The result is the trusted certificate.
pub(crate) fn verify<'a>(
    leaf: &'a Certificate,
    embedded: &'a [Certificate],
    trusted: &'a [Certificate],
    keys: Keys,
    budget: &mut Budget,
) -> Result<&'a Certificate, ChainProblem> {
    let (chain, anchor) = build(leaf, embedded, trusted, budget)?;
    check_extensions(&chain)?;
    check_signatures(&chain, keys, budget)?;
    name_constraints::check(&chain)?;
    Ok(anchor)
}

/// Trusted issuers are looked for before embedded ones; the first that fits is taken, without going back.
fn build<'a>(
    leaf: &'a Certificate,
    embedded: &'a [Certificate],
    trusted: &'a [Certificate],
    budget: &mut Budget,
) -> Result<(Vec<&'a Certificate>, &'a Certificate), ChainProblem> {
    let mut chain = alloc::vec![leaf];
    let mut last = leaf;
    while chain.len() <= MAX_DEPTH {
        let self_signed = is_self_signed(last);
        if let Some(issuer) = find(trusted, last, &chain, budget)? {
            if !self_signed {
                chain.push(issuer);
                return Ok((chain, issuer));
            }
            if issuer == last {
                return Ok((chain, issuer));
            }
        }
        if self_signed || chain.len() == MAX_DEPTH {
            break;
        }
        let Some(issuer) = find(embedded, last, &chain, budget)? else {
            break;
        };
        chain.push(issuer);
        last = issuer;
    }
    // A signer that is itself trusted needs no issuer; what was found above it must hold nevertheless.
    budget.candidates(trusted.len())?;
    trusted
        .iter()
        .find(|certificate| *certificate == leaf)
        .map(|anchor| (chain, anchor))
        .ok_or(ChainProblem::NoAnchor)
}

fn find<'a>(
    among: &'a [Certificate],
    subject: &Certificate,
    chain: &[&Certificate],
    budget: &mut Budget,
) -> Result<Option<&'a Certificate>, ChainProblem> {
    budget.candidates(among.len())?;
    Ok(among.iter().find(|candidate| {
        is_likely_issuer(candidate, subject)
            && ((chain.len() == 1 && subject.is_self_issued()) || !chain.contains(candidate))
    }))
}

/// Whether names, key identifiers and key type fit; signatures are checked later.
pub(crate) fn is_likely_issuer(issuer: &Certificate, subject: &Certificate) -> bool {
    issuer.canonical_subject() == subject.canonical_issuer()
        && !issuer.extensions.malformed
        && !subject.extensions.malformed
        && key_id_fits(issuer, subject)
        && issuer
            .public_key()
            .is_some_and(|key| key.fits_algorithm(subject.algorithm_der()))
}

fn key_id_fits(issuer: &Certificate, subject: &Certificate) -> bool {
    let Some(id) = &subject.extensions.authority_key_id else {
        return true;
    };
    if let (Some(wanted), Some(found)) = (&id.key_id, &issuer.extensions.subject_key_id)
        && wanted != found
    {
        return false;
    }
    if id
        .serial
        .as_ref()
        .is_some_and(|serial| serial != issuer.serial())
    {
        return false;
    }
    id.issuer
        .as_ref()
        .is_none_or(|name| crate::certificate::name::canonical(name) == issuer.canonical_issuer())
}

fn is_self_signed(certificate: &Certificate) -> bool {
    certificate.is_self_issued() && is_likely_issuer(certificate, certificate)
}

fn check_extensions(chain: &[&Certificate]) -> Result<(), ChainProblem> {
    let mut path_len = 0_u32;
    for (depth, certificate) in chain.iter().enumerate() {
        let extensions = &certificate.extensions;
        if extensions.unknown_critical {
            return Err(ChainProblem::UnknownCritical);
        }
        if extensions.proxy {
            return Err(ChainProblem::Proxy);
        }
        if depth == 0 {
            continue;
        }
        let is_last = depth.saturating_add(1) == chain.len();
        match authority(certificate) {
            Authority::Yes => {}
            Authority::Perhaps if is_last => {}
            _ => return Err(ChainProblem::NotCa),
        }
        let limit = extensions
            .basic_constraints
            .and_then(|constraints| constraints.path_len);
        if depth > 1 && limit.is_some_and(|limit| path_len > limit) {
            return Err(ChainProblem::PathTooLong);
        }
        if !certificate.is_self_issued() {
            path_len = path_len.saturating_add(1);
        }
    }
    Ok(())
}

enum Authority {
    Yes,
    /// Old forms, which count only at the end of a chain.
    Perhaps,
    No,
}

fn authority(certificate: &Certificate) -> Authority {
    let extensions = &certificate.extensions;
    if extensions
        .key_usage
        .is_some_and(|usage| usage & KEY_CERT_SIGN == 0)
    {
        return Authority::No;
    }
    match extensions.basic_constraints {
        Some(constraints) if constraints.ca => Authority::Yes,
        Some(_) => Authority::No,
        None if certificate.version() == 0 && certificate.is_self_issued() => Authority::Perhaps,
        None if extensions.key_usage.is_some() => Authority::Perhaps,
        // Bits 5 to 7 of the Netscape type are those of authorities.
        None if extensions
            .netscape_type
            .is_some_and(|kind| kind & 0b1110_0000 != 0) =>
        {
            Authority::Perhaps
        }
        None => Authority::No,
    }
}

fn check_signatures(
    chain: &[&Certificate],
    keys: Keys,
    budget: &mut Budget,
) -> Result<(), ChainProblem> {
    for pair in chain.windows(2) {
        let [subject, issuer] = pair else { continue };
        if issuer
            .extensions
            .key_usage
            .is_some_and(|usage| usage & KEY_CERT_SIGN == 0)
        {
            return Err(ChainProblem::NotCa);
        }
        let key = issuer.public_key().ok_or(ChainProblem::BadSignature)?;
        if keys == Keys::Firmware && !key.kind().is_for_firmware() {
            return Err(ChainProblem::BadSignature);
        }
        budget.signature()?;
        if !subject.algorithms_agree() || subject.is_signed_by(&key) != Some(true) {
            return Err(ChainProblem::BadSignature);
        }
    }
    Ok(())
}
