//! Signs PCR policies with the throw-away keys of the vectors, as systemd-measure does.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rsa::RsaPrivateKey;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::signature::{SignatureEncoding as _, Signer as _};
use tpm_seal::{PcrValues, Policy, PolicyKey, SignatureDocument};

use super::{to_hex, vector_text};

/// A public key of the ECC set.
pub(crate) fn key(name: &str) -> PolicyKey {
    PolicyKey::from_pem(&vector_text("ecc-srk", &format!("{name}.pub.pem"))).unwrap()
}

pub(crate) fn sign_document(signer: &str, states: &[&PcrValues]) -> SignatureDocument {
    SignatureDocument::parse(document_text(signer, states, b"").as_bytes()).unwrap()
}

pub(crate) fn sign_document_with_ref(
    signer: &str,
    states: &[&PcrValues],
    policy_ref: &[u8],
) -> SignatureDocument {
    SignatureDocument::parse(document_text(signer, states, policy_ref).as_bytes()).unwrap()
}

/// The text of a `.pcrsig` document for these states, all of one bank.
pub(crate) fn document_text(signer: &str, states: &[&PcrValues], policy_ref: &[u8]) -> String {
    let pem = vector_text("ecc-srk", &format!("{signer}.key.pem"));
    let private = SigningKey::<sha2::Sha256>::new(RsaPrivateKey::from_pkcs8_pem(&pem).unwrap());
    let entries: Vec<_> = states
        .iter()
        .map(|state| {
            let digest = Policy::new().pcrs((*state).clone()).digest().unwrap();
            let signature = private.sign(&[&digest[..], policy_ref].concat());
            serde_json::json!({
                "pcrs": state.iter().map(|(pcr, _)| pcr).collect::<Vec<_>>(),
                "pkfp": key(signer).fingerprint(),
                "pol": to_hex(&digest),
                "sig": BASE64_STANDARD.encode(signature.to_bytes()),
            })
        })
        .collect();
    serde_json::json!({ states[0].bank().name(): entries }).to_string()
}
