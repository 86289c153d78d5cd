//! Why a secret stays sealed.

use thiserror::Error as ThisError;

use crate::{Bank, Name, PcrValues, hex};

/// Why a secret stays sealed.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum Refusal {
    /// The secret was sealed by another TPM, or this one was cleared since.
    #[error("sealed to another TPM, or the TPM was cleared: its storage key is {}, expected {}", name(found.as_ref()), name(expected.as_ref()))]
    #[non_exhaustive]
    OtherTpm {
        /// Name of the storage key that the secret was sealed under, where the token has it.
        expected: Option<Name>,
        /// Name of the storage key of this TPM.
        found: Option<Name>,
    },
    /// A register has another value than the one sealed to.
    #[error(
        "PCR {pcr} ({bank}) is {}, sealed to {}",
        hex::encode(measured),
        hex::encode(expected)
    )]
    #[non_exhaustive]
    Register {
        /// The register.
        pcr: u8,
        /// Its bank.
        bank: Bank,
        /// What the TPM has.
        measured: Vec<u8>,
        /// What was sealed to.
        expected: Vec<u8>,
    },
    /// A register differs and the token does not tell what was sealed to.
    #[error(
        "the registers differ from those sealed to, or the key of the signed policy is another: {measured}"
    )]
    #[non_exhaustive]
    Registers {
        /// What the TPM has.
        measured: PcrValues,
    },
    /// The policy needs a signed PCR policy and there is none.
    #[error("no signed PCR policy given; a signed policy for {bank} is needed")]
    #[non_exhaustive]
    NoSignatures {
        /// The bank that is needed.
        bank: Bank,
    },
    /// The signed policies are for other banks.
    #[error("the signed PCR policies are not for bank {bank}")]
    #[non_exhaustive]
    NoSignatureForBank {
        /// The bank that is needed.
        bank: Bank,
    },
    /// No signed policy is for the present state: other software, or another boot phase.
    #[error(
        "none of {entries} signed PCR policies is for this software in this boot phase: {measured}"
    )]
    #[non_exhaustive]
    NoSignature {
        /// What the TPM has.
        measured: PcrValues,
        /// How many signed policies there are for the bank and the registers.
        entries: usize,
    },
    /// The state is signed, but not by the key that the secret is sealed to.
    #[error("the state is signed by key {found}, sealed to key {expected}")]
    #[non_exhaustive]
    SignedByOtherKey {
        /// Fingerprint of the key that the secret is sealed to.
        expected: String,
        /// Fingerprint of the key that has signed.
        found: String,
    },
    /// The signature does not verify.
    #[error("the signature of the PCR policy is damaged")]
    BadSignature,
    /// The public key of the signed policy is not in the token and was not given.
    #[error("the public key of the signed PCR policy is needed and was not given")]
    NoPolicyKey,
    /// A PIN is needed and none was given.
    #[error("a PIN is needed")]
    PinNeeded,
    /// The PIN is wrong.
    #[error("wrong PIN{}", tries(*tries_left))]
    #[non_exhaustive]
    WrongPin {
        /// How often a wrong PIN may be given before the TPM locks out, as far as it tells.
        tries_left: Option<u32>,
    },
    /// The TPM does not take PINs for a while.
    #[error(
        "locked out after too many wrong PINs; the next try is possible in {seconds} seconds at the latest"
    )]
    #[non_exhaustive]
    LockedOut {
        /// Seconds until the TPM forgets one wrong PIN.
        seconds: u32,
    },
    /// The sealed object or its token is damaged.
    #[error("the token is damaged: {what}")]
    #[non_exhaustive]
    Damaged {
        /// What is.
        what: &'static str,
    },
    /// The TPM handle of the storage key holds something else.
    #[error("handle {handle:#010x} is in use by something else")]
    #[non_exhaustive]
    HandleInUse {
        /// The handle.
        handle: u32,
    },
    /// Nothing was measured into a register that the token needs.
    #[error("PCR {pcr} ({bank}) is all {byte:02x}: nothing was measured")]
    #[non_exhaustive]
    NotMeasured {
        /// The register.
        pcr: u8,
        /// Its bank.
        bank: Bank,
        /// 00 or ff.
        byte: u8,
    },
    /// The bank is not switched on in this TPM.
    #[error("bank {bank} is not active in this TPM")]
    #[non_exhaustive]
    BankInactive {
        /// The bank.
        bank: Bank,
    },
    /// The TPM does not take the key of the signed policy, mostly for its size.
    #[error(
        "the TPM does not take the key of the signed PCR policy (RSA 2048 with exponent 65537 is what all take)"
    )]
    PolicyKeyUnsupported,
    /// The owner hierarchy has a password.
    #[error("the TPM's owner hierarchy has a password, so the storage key cannot be made")]
    OwnerPassword,
    /// Somebody measures without pause.
    #[error("the registers kept changing during {attempts} attempts")]
    #[non_exhaustive]
    Restless {
        /// How many.
        attempts: u32,
    },
    /// None of the alternatives of the policy fits; the reason of the first one.
    #[error("no alternative of the policy fits, the first of {count}: {first}")]
    #[non_exhaustive]
    NoBranch {
        /// How many alternatives.
        count: usize,
        /// Why the first does not.
        first: Box<Refusal>,
    },
    /// Talos sealed to registers in the order of its configuration (`[7, 0]`), where every TPM takes them ascending.
    #[error(
        "the policy cannot be fulfilled: the registers were sealed to out of order, which no TPM computes"
    )]
    OutOfOrder,
    /// Everything seemed to fit and still the TPM says no.
    #[error("the TPM refuses the policy")]
    PolicyFailed,
}

impl Refusal {
    /// A word for the kind of refusal, which scripts may rely on.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::OtherTpm { .. } => "other-tpm",
            Self::Register { .. } | Self::Registers { .. } => "register",
            Self::NoSignatures { .. }
            | Self::NoSignatureForBank { .. }
            | Self::NoSignature { .. } => "no-signature",
            Self::SignedByOtherKey { .. } => "other-key",
            Self::BadSignature => "bad-signature",
            Self::NoPolicyKey => "no-policy-key",
            Self::PinNeeded => "pin-needed",
            Self::WrongPin { .. } => "wrong-pin",
            Self::LockedOut { .. } => "locked-out",
            Self::Damaged { .. } => "damaged",
            Self::HandleInUse { .. } => "handle-in-use",
            Self::NotMeasured { .. } => "not-measured",
            Self::BankInactive { .. } => "bank-inactive",
            Self::PolicyKeyUnsupported => "policy-key-unsupported",
            Self::OwnerPassword => "owner-password",
            Self::Restless { .. } => "restless",
            Self::NoBranch { first, .. } => first.kind(),
            Self::OutOfOrder | Self::PolicyFailed => "policy",
        }
    }
}

fn name(name: Option<&Name>) -> String {
    name.map_or_else(|| "unknown".to_owned(), ToString::to_string)
}

fn tries(left: Option<u32>) -> String {
    match left {
        Some(0) => ", the TPM is locked out now".to_owned(),
        Some(1) => ", 1 try left".to_owned(),
        Some(left) => format!(", {left} tries left"),
        None => String::new(),
    }
}
