//! RFC 3161 timestamps: read, checked against given roots, attached. The token comes from the caller.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use crate::certificate::Certificate;
use crate::chain::{self, Budget, Keys};
use crate::der::{self, Reader};
use crate::error::Error;
use crate::hash::HashAlgorithm;
use crate::oid;
use crate::signature;
use crate::signed_data::{SignedData, SignerInfo};
use crate::time::UnixTime;

/// What a timestamp token says, and whether that can be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timestamp {
    /// The time in it.
    pub time: UnixTime,
    /// The certificate of the authority that signed it.
    pub authority: Certificate,
}

/// What is expected of the authority's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Authority {
    /// Marked for timestamps and for nothing else, valid at the time (RFC 3161).
    Marked,
    /// Any, as firmware has it.
    Any,
}

fn problem(problem: &'static str) -> Error {
    Error::Timestamp { problem }
}

/// Checks a token for the signature value `signature`.
///
/// The chain must reach one of `roots`, the certificate must be marked for timestamps, the token must be signed over the
/// hash of the signature's octets.
///
/// # Errors
/// [`Error::Der`] if the token is malformed, [`Error::Timestamp`] if it does not hold.
pub fn verify_timestamp(
    token: &[u8],
    signature: &[u8],
    roots: &[Certificate],
) -> Result<Timestamp, Error> {
    check(
        token,
        signature,
        roots,
        Authority::Marked,
        Keys::All,
        &mut Budget::default(),
    )
}

pub(crate) fn check(
    token: &[u8],
    signature: &[u8],
    roots: &[Certificate],
    policy: Authority,
    keys: Keys,
    budget: &mut Budget,
) -> Result<Timestamp, Error> {
    let signed = SignedData::parse(of_response(token)?)?;
    if signed.content_type != oid::TST_INFO {
        return Err(problem("the token holds no time"));
    }
    let content = signed
        .content
        .filter(|content| content.tag == der::OCTET_STRING);
    let content = content.ok_or(problem("the token is empty"))?;
    let info = Info::parse(content.value)?;
    if info.imprint != info.hash.digest(signature).as_bytes() {
        return Err(problem("it is for another signature"));
    }
    let [signer] = signed.signers.as_slice() else {
        return Err(problem("it must have one signer"));
    };
    let hash = signer
        .hash()
        .ok_or(problem("its hash algorithm is unknown"))?;
    if signer.signed_attributes.is_none() {
        return Err(problem("it has no signed attributes"));
    }
    signature::check_attributes(signer, signed.content_type, content.value, hash)
        .map_err(|_| problem("its attributes belong to other content"))?;
    let certificates = signed.parse_certificates()?;
    // The certificates of the authority may also be among the roots.
    let candidates: Vec<Certificate> = certificates.iter().chain(roots).cloned().collect();
    let authority = signature::find_signer(signer, &candidates, content.value, hash)
        .map_err(|_| problem("its signature does not hold"))?;
    if policy == Authority::Marked {
        if !authority.extensions.is_for_timestamps() {
            return Err(problem("the signer's certificate is not for timestamps"));
        }
        if authority.not_before().is_none_or(|start| info.time < start)
            || authority.not_after().is_none_or(|end| info.time > end)
        {
            return Err(problem(
                "the signer's certificate was not valid at that time",
            ));
        }
        check_certificate_id(signer, authority)?;
    }
    chain::verify(authority, &certificates, roots, keys, budget)
        .map_err(|_| problem("its signer is not trusted"))?;
    Ok(Timestamp {
        time: info.time,
        authority: authority.clone(),
    })
}

/// The token in a TimeStampResp; a token by itself stays what it is.
pub(crate) fn of_response(bytes: &[u8]) -> Result<&[u8], Error> {
    const WHAT: &str = "timestamp response";
    let mut response = Reader::new(bytes).expect(der::SEQUENCE, WHAT)?.reader();
    if response.peek() != Some(der::SEQUENCE) {
        return Ok(bytes);
    }
    let mut status = response.any(WHAT)?.reader();
    // Granted, with or without changes.
    match der::small(&status.expect(der::INTEGER, WHAT)?) {
        Some(0 | 1) => Ok(response.expect(der::SEQUENCE, WHAT)?.raw),
        _ => Err(problem("the authority did not grant it")),
    }
}

/// The time and the authority's certificate of a token that is for `signature`, without trusting anything.
pub(crate) fn peek(token: &[u8], signature: &[u8]) -> Option<UnixTime> {
    let signed = SignedData::parse(token).ok()?;
    let info = Info::parse(
        signed
            .content
            .filter(|content| content.tag == der::OCTET_STRING)?
            .value,
    )
    .ok()?;
    (info.imprint == info.hash.digest(signature).as_bytes()).then_some(info.time)
}

/// The signingCertificate attributes name the certificate by hash, so that it cannot be exchanged.
fn check_certificate_id(signer: &SignerInfo<'_>, authority: &Certificate) -> Result<(), Error> {
    const WHAT: &str = "signingCertificate";
    let Some(attributes) = &signer.signed_attributes else {
        return Ok(());
    };
    for (kind, default) in [
        (oid::SIGNING_CERTIFICATE, HashAlgorithm::Sha1),
        (oid::SIGNING_CERTIFICATE_V2, HashAlgorithm::Sha256),
    ] {
        let Some(value) = attributes.first(kind) else {
            continue;
        };
        let mut id = value
            .reader()
            .expect(der::SEQUENCE, WHAT)?
            .reader()
            .expect(der::SEQUENCE, WHAT)?
            .reader();
        let mut hash = default;
        if let Some(algorithm) = id.optional(der::SEQUENCE, WHAT)? {
            let name = algorithm.reader().expect(der::OID, WHAT)?;
            hash = oid::to_hash(name.value)
                .ok_or(problem("it names its certificate by an unknown hash"))?;
        }
        if id.expect(der::OCTET_STRING, WHAT)?.value != authority.fingerprint(hash).as_bytes() {
            return Err(problem("it names another certificate"));
        }
    }
    Ok(())
}

struct Info<'a> {
    hash: HashAlgorithm,
    imprint: &'a [u8],
    time: UnixTime,
}

impl<'a> Info<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        const WHAT: &str = "TSTInfo";
        let mut outer = Reader::new(bytes);
        let mut fields = outer.expect(der::SEQUENCE, WHAT)?.reader();
        outer.finish(WHAT)?;
        if der::small(&fields.expect(der::INTEGER, WHAT)?) != Some(1) {
            return Err(problem("its version is not 1"));
        }
        fields.expect(der::OID, WHAT)?;
        let mut imprint = fields.expect(der::SEQUENCE, WHAT)?.reader();
        let algorithm = imprint
            .expect(der::SEQUENCE, WHAT)?
            .reader()
            .expect(der::OID, WHAT)?;
        let hash = oid::to_hash(algorithm.value).ok_or(problem("it uses an unknown hash"))?;
        let imprint = imprint.expect(der::OCTET_STRING, WHAT)?.value;
        fields.expect(der::INTEGER, WHAT)?;
        let time = fields.expect(der::GENERALIZED_TIME, WHAT)?;
        let time = UnixTime::from_der(&time).ok_or(problem("its time is malformed"))?;
        Ok(Self {
            hash,
            imprint,
            time,
        })
    }
}

/// Adds an unsigned attribute to the only SignerInfo of a ContentInfo.
pub(crate) fn add_unsigned(blob: &[u8], kind: &[u8], value: &[u8]) -> Result<Vec<u8>, Error> {
    const WHAT: &str = "SignedData";
    let mut info = Reader::new(blob).expect(der::SEQUENCE, WHAT)?.reader();
    let id = info.expect(der::OID, WHAT)?;
    let mut fields = info
        .expect(der::context(0), WHAT)?
        .reader()
        .expect(der::SEQUENCE, WHAT)?
        .reader();
    let mut before: Vec<&[u8]> = Vec::new();
    let mut signers = fields.any(WHAT)?;
    while !fields.is_empty() {
        before.push(signers.raw);
        signers = fields.any(WHAT)?;
    }
    let mut set = signers.reader();
    let mut parts = set.expect(der::SEQUENCE, WHAT)?.reader();
    set.finish("signers")?;
    let mut signer: Vec<&[u8]> = Vec::new();
    let mut attributes: Vec<Vec<u8>> = Vec::new();
    while !parts.is_empty() {
        let part = parts.any(WHAT)?;
        if part.tag != der::context(1) {
            signer.push(part.raw);
            continue;
        }
        let mut list = part.reader();
        while !list.is_empty() {
            attributes.push(list.any(WHAT)?.raw.to_vec());
        }
    }
    attributes.push(der::sequence(&[
        &der::oid(kind),
        &der::tlv(der::SET, &[value]),
    ]));
    let attributes = der::set_of(der::context(1), attributes);
    signer.push(&attributes);
    let signers = der::tlv(der::SET, &[&der::sequence(&signer)]);
    before.push(&signers);
    Ok(der::sequence(&[
        id.raw,
        &der::tlv(der::context(0), &[&der::sequence(&before)]),
    ]))
}
