//! Policies over PCR 11: the digests that `.pcrsig` signs.

use alloc::string::String;
use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};

use crate::bank::{Bank, Digest, Register};
use crate::pcr11::{HardwareChoice, Prediction};
use crate::phase::PhasePath;
use crate::prepared::PreparedPolicies;
use crate::public_key::PublicKey;
use crate::signature_document::SignatureDocument;
use crate::signer::Signer;

/// The policy digest after `TPM2_PolicyPCR` in a fresh session, for registers of one bank
/// (TPM 2.0 Part 3, 23.7).
///
/// Policy sessions are SHA-256 whatever the bank. Values are hashed in ascending order of their
/// registers, as the TPM does it, whatever the order given; a register given twice counts once.
///
/// # Examples
/// ```
/// use pcr::{Bank, Digest, Register, pcr_policy_digest};
///
/// let value = "f3c2bad0296817b7f424866cdd27c4e4cae541f553ab9fd4bc125839a34660e6";
/// let value = Digest::from_hex(Bank::Sha256, value)?;
/// let policy = pcr_policy_digest(Bank::Sha256, &[(Register::KERNEL_BOOT, value)]);
/// assert_eq!(policy[..4], [0xdb, 0xa0, 0xae, 0xc7]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn pcr_policy_digest(bank: Bank, values: &[(Register, Digest)]) -> [u8; 32] {
    let mut values = values.to_vec();
    values.sort_by_key(|(register, _)| *register);
    values.dedup_by_key(|(register, _)| *register);
    let mut mask = [0u8; 3];
    let mut composite = Sha256::new();
    for (register, value) in &values {
        if let Some(byte) = mask.get_mut(usize::from(register.index() / 8)) {
            *byte |= 1 << (register.index() % 8);
        }
        composite.update(value.as_bytes());
    }
    Sha256::new()
        .chain_update([0u8; 32])
        .chain_update(0x0000_017f_u32.to_be_bytes())
        .chain_update(1u32.to_be_bytes())
        .chain_update(bank.algorithm_id().to_be_bytes())
        .chain_update([3])
        .chain_update(mask)
        .chain_update(composite.finalize())
        .finalize()
        .into()
}

/// One policy to sign: a value of PCR 11, where it comes from, and the policy reference if any.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// The bank of the register.
    pub bank: Bank,
    /// How far the boot has come.
    pub phase: PhasePath,
    /// Number of the profile.
    pub profile: usize,
    /// Which hardware-dependent sections were picked.
    pub hardware: HardwareChoice,
    /// The value of PCR 11.
    pub value: Digest,
    /// The policy reference of systemd 262, part of what is signed.
    pub reference: Option<String>,
}

impl Policy {
    /// The policy of this phase, when the stub leaves `stub` behind.
    pub(crate) fn of_value(
        profile: usize,
        hardware: HardwareChoice,
        phase: PhasePath,
        stub: Digest,
    ) -> Self {
        Self {
            bank: stub.bank(),
            profile,
            hardware,
            value: phase.extend(stub),
            phase,
            reference: None,
        }
    }

    /// The `TPM2_PolicyPCR` digest (`pol`).
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        pcr_policy_digest(self.bank, &[(Register::KERNEL_BOOT, self.value)])
    }

    /// The bytes that are signed: the digest, and after it the SHA-256 of the policy reference.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        policy_message(&self.digest(), self.reference.as_deref())
    }
}

/// What a policy signature is made over.
pub(crate) fn policy_message(policy: &[u8; 32], reference: Option<&str>) -> Vec<u8> {
    let mut message = policy.to_vec();
    if let Some(reference) = reference {
        message.extend_from_slice(&Sha256::digest(reference.as_bytes()));
    }
    message
}

impl From<Prediction> for Policy {
    fn from(prediction: Prediction) -> Self {
        Self {
            bank: prediction.value.bank(),
            phase: prediction.phase,
            profile: prediction.profile,
            hardware: prediction.hardware,
            value: prediction.value,
            reference: None,
        }
    }
}

/// Policies to sign with one key.
///
/// Made by [`Pcr11::policies`](crate::Pcr11::policies). Policies for several keys, or for several
/// profiles in one document, are prepared one by one and joined
/// ([`PreparedPolicies::join`]).
///
/// # Examples
/// ```
/// # use pcr::{Bank, Dialect, Pcr11, PhasePath};
/// let mut boot = Pcr11::new(Dialect::Systemd257, &[Bank::Sha256, Bank::Sha1]);
/// boot.observe(".linux", b"kernel");
/// let policies = boot.policies(&[PhasePath::initrd(), PhasePath::stub()])?;
/// assert_eq!(policies.iter().count(), 4);
/// let initrd_only = policies.filter(|policy| policy.phase == PhasePath::initrd());
/// assert_eq!(initrd_only.iter().count(), 2);
/// # Ok::<(), pcr::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policies(Vec<Policy>);

impl Policies {
    /// The policies, grouped by bank.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.0.iter()
    }

    /// Only the policies that `keep` wants.
    #[must_use]
    pub fn filter(mut self, keep: impl FnMut(&Policy) -> bool) -> Self {
        self.0.retain(keep);
        self
    }

    /// The same policies with a policy reference (systemd 262 and later; older releases find no
    /// policy then).
    #[must_use]
    pub fn with_reference(mut self, reference: &str) -> Self {
        for policy in &mut self.0 {
            policy.reference = Some(reference.into());
        }
        self
    }

    /// First step of signing: everything but the signatures.
    #[must_use]
    pub fn prepare(&self, key: &PublicKey) -> PreparedPolicies {
        PreparedPolicies::new(&self.0, key)
    }

    /// Signs all policies, checks every signature and makes the document.
    ///
    /// # Errors
    /// As [`PreparedPolicies::sign`].
    pub fn sign(
        &self,
        key: &PublicKey,
        signer: &dyn Signer,
    ) -> Result<SignatureDocument, crate::Error> {
        self.prepare(key).sign(signer)
    }
}

impl FromIterator<Policy> for Policies {
    fn from_iter<I: IntoIterator<Item = Policy>>(policies: I) -> Self {
        let mut policies: Vec<Policy> = policies.into_iter().collect();
        policies.sort_by(|a, b| {
            let key = |policy: &Policy| (policy.bank, policy.profile, policy.hardware);
            key(a).cmp(&key(b)).then_with(|| a.phase.cmp(&b.phase))
        });
        Self(policies)
    }
}

impl Extend<Policy> for Policies {
    fn extend<I: IntoIterator<Item = Policy>>(&mut self, policies: I) {
        let all = core::mem::take(&mut self.0);
        *self = all.into_iter().chain(policies).collect();
    }
}
