//! Signing policies in two steps: what is to be signed, and the document with the signatures.

mod request;

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

pub use request::SigningRequest;

use crate::bank::{Bank, Register};
use crate::error::Error;
use crate::policy::Policy;
use crate::public_key::PublicKey;
use crate::signature_document::{
    SignatureDocument, SignatureEntry, SignedPolicy, document_len, to_hex,
};
use crate::signer::{Signer, ToBeSigned};

/// Policies that wait for their signatures.
///
/// # Examples
/// Signed elsewhere: the request goes out as JSON, the answer comes back.
/// ```
/// # use pcr::{Bank, BoxError, Dialect, Error, Pcr11, PhasePath, PublicKey, SigningRequest, ToBeSigned};
/// # fn with(key: &PublicKey, hsm: impl Fn(&ToBeSigned) -> Result<Vec<u8>, BoxError>) -> Result<(), Error> {
/// let mut boot = Pcr11::new(Dialect::Systemd257, &[Bank::Sha256]);
/// boot.observe(".linux", b"kernel");
/// let prepared = boot.policies(&[PhasePath::initrd()])?.prepare(key);
/// let request = prepared.to_request();
///
/// // on the machine that has the key
/// let answer = SigningRequest::parse(&request)?.sign(&hsm)?;
///
/// // back here: every signature is checked
/// let pcrsig = prepared.attach_answer(&answer)?.to_json();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct PreparedPolicies {
    policies: Vec<Policy>,
    requests: Vec<ToBeSigned>,
    /// Bank, key size and reference of every entry that room is reserved for.
    slots: Vec<(Bank, usize, Option<String>)>,
}

impl PreparedPolicies {
    pub(crate) fn new(policies: &[Policy], key: &PublicKey) -> Self {
        let nothing = Self {
            policies: Vec::new(),
            requests: Vec::new(),
            slots: Vec::new(),
        };
        nothing.with(
            policies.iter().map(|policy| (policy.clone(), key.clone())),
            policies,
            key,
        )
    }

    /// Adds policies, each one once, and room for all of them.
    fn with(
        mut self,
        added: impl Iterator<Item = (Policy, PublicKey)>,
        slots: &[Policy],
        key: &PublicKey,
    ) -> Self {
        self.slots.extend(
            slots
                .iter()
                .map(|policy| (policy.bank, key.bits(), policy.reference.clone())),
        );
        self.add(added);
        self
    }

    fn add(&mut self, added: impl Iterator<Item = (Policy, PublicKey)>) {
        let identity =
            |policy: &Policy, key: &PublicKey| (policy.bank, *key.fingerprint(), policy.message());
        let mut seen: BTreeSet<_> = self
            .policies
            .iter()
            .zip(&self.requests)
            .map(|(policy, request)| identity(policy, request.key()))
            .collect();
        for (policy, key) in added {
            if seen.insert(identity(&policy, &key)) {
                self.requests.push(ToBeSigned::new(policy.message(), key));
                self.policies.push(policy);
            }
        }
    }

    /// One document with both: several keys, or several profiles.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        let keys: Vec<PublicKey> = other
            .requests
            .iter()
            .map(|request| request.key().clone())
            .collect();
        self.slots.extend(other.slots);
        self.add(other.policies.into_iter().zip(keys));
        self
    }

    /// What is to be signed, in the order in which [`PreparedPolicies::attach`] takes signatures.
    #[must_use]
    pub fn to_be_signed(&self) -> &[ToBeSigned] {
        &self.requests
    }

    /// The policies behind [`PreparedPolicies::to_be_signed`], in the same order.
    #[must_use]
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The exact length of the document, as [`DocumentLayout`](crate::DocumentLayout) computes it.
    #[must_use]
    pub fn document_len(&self) -> u64 {
        let mut slots: Vec<_> = self
            .slots
            .iter()
            .map(|(bank, bits, reference)| (*bank, *bits, reference.as_deref()))
            .collect();
        slots.sort_by_key(|(bank, ..)| *bank);
        document_len(slots.into_iter())
    }

    /// Second step: makes the document. Every signature is checked before anything is made.
    ///
    /// # Errors
    /// [`Error::SignatureCount`] when their number is wrong, [`Error::WrongSignature`] for the first
    /// one that does not verify with its key.
    pub fn attach(self, signatures: &[impl AsRef<[u8]>]) -> Result<SignatureDocument, Error> {
        if signatures.len() != self.requests.len() {
            return Err(Error::SignatureCount {
                given: signatures.len(),
                wanted: self.requests.len(),
            });
        }
        let mut entries = Vec::new();
        for (index, ((policy, request), signature)) in self
            .policies
            .iter()
            .zip(&self.requests)
            .zip(signatures)
            .enumerate()
        {
            let (key, signature) = (request.key(), signature.as_ref());
            if !key.verifies(Bank::Sha256, request.message(), signature) {
                return Err(Error::WrongSignature {
                    bank: policy.bank,
                    index,
                    fingerprint: to_hex(key.fingerprint()),
                });
            }
            let signed = SignedPolicy::new(
                alloc::vec![Register::KERNEL_BOOT],
                *key.fingerprint(),
                policy.digest(),
                signature.to_vec(),
                policy.reference.clone(),
            );
            entries.push((
                policy.bank,
                SignatureEntry::from_signed(policy.bank, &signed)?,
            ));
        }
        entries.sort_by_key(|(bank, _)| *bank);
        let mut document = SignatureDocument::default();
        for (bank, entry) in entries {
            document.push(bank, entry);
        }
        document.reserve(self.document_len());
        Ok(document)
    }

    /// Both steps: asks the signer for every signature, in order.
    ///
    /// # Errors
    /// [`Error::Signer`] when the signer fails, else as [`PreparedPolicies::attach`].
    pub fn sign(self, signer: &dyn Signer) -> Result<SignatureDocument, Error> {
        let signatures = self
            .requests
            .iter()
            .map(|request| signer.sign(request).map_err(Error::Signer))
            .collect::<Result<Vec<_>, Error>>()?;
        self.attach(&signatures)
    }
}
