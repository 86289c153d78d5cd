//! What is wrong with the signed policies of a finished UKI.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod checks;

use alloc::vec::Vec;
use core::fmt;

use crate::bank::Bank;
use crate::error::Error;
use crate::pcr11::{HardwareChoice, Pcr11};
use crate::phase::PhasePath;
use crate::public_key::KeyRefusal;

/// What is found about `.pcrpkey` and `.pcrsig` of one profile.
///
/// The [`code`](PolicyCheck::code) of each is stable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyCheck {
    /// `.pcrpkey` holds no key that policies can be signed with.
    KeyUnusable(KeyRefusal),
    /// `.pcrsig` is no such document, or is too large to be one.
    DocumentUnreadable,
    /// An entry of `.pcrsig` lacks a field or has a malformed one.
    EntryUnreadable,
    /// No entry of `.pcrsig` is for the key in `.pcrpkey`.
    OtherKey,
    /// A signature that the key in `.pcrpkey` should have made does not verify.
    SignatureInvalid,
    /// A signature was made with the bank's hash: no TPM takes it. systemd-measure up to 259 and Talos
    /// do that for every bank but SHA-256.
    BankHash,
    /// A policy that fits no value that this UKI gives PCR 11, in no phase that is known.
    OtherValue,
    /// The phase that disks are unlocked in has no usable policy.
    PhaseMissing {
        /// The path without policy.
        phase: PhasePath,
        /// The bank without policy.
        bank: Bank,
    },
    /// A machine that makes this hardware choice finds no policy. ukify signs none for machines that
    /// match no `.dtbauto`.
    HardwareMissing {
        /// The choice.
        hardware: HardwareChoice,
    },
    /// A policy is signed for the running system, where root can unseal with it.
    LatePhase {
        /// The path.
        phase: PhasePath,
    },
    /// A profile for debugging has usable policies of the key that the first profile's are signed
    /// with: whoever boots it can unseal the disk.
    DebugProfile,
}

impl PolicyCheck {
    /// A short name that stays the same in later versions.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::KeyUnusable(_) => "pcrpkey-unusable",
            Self::DocumentUnreadable => "pcrsig-unreadable",
            Self::EntryUnreadable => "pcrsig-entry-unreadable",
            Self::OtherKey => "pcrsig-other-key",
            Self::SignatureInvalid => "pcrsig-invalid",
            Self::BankHash => "pcrsig-bank-hash",
            Self::OtherValue => "pcrsig-other-value",
            Self::PhaseMissing { .. } => "pcrsig-phase-missing",
            Self::HardwareMissing { .. } => "pcrsig-hardware-missing",
            Self::LatePhase { .. } => "pcrsig-late-phase",
            Self::DebugProfile => "pcrsig-debug-profile",
        }
    }

    /// Whether unsealing fails for it, now or on some machines; the others are worth knowing.
    #[must_use]
    pub const fn is_error(&self) -> bool {
        !matches!(
            self,
            Self::BankHash | Self::OtherValue | Self::LatePhase { .. } | Self::DebugProfile
        )
    }
}

impl fmt::Display for PolicyCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyUnusable(reason) => write!(f, ".pcrpkey is unusable: {reason}"),
            Self::DocumentUnreadable => f.write_str(".pcrsig is no document of signed policies"),
            Self::EntryUnreadable => f.write_str("lacks a field or has a malformed one"),
            Self::OtherKey => f.write_str("no policy in .pcrsig is signed with the key in .pcrpkey"),
            Self::SignatureInvalid => f.write_str("the signature does not verify"),
            Self::BankHash => {
                f.write_str("signed with the bank's hash instead of SHA-256, no TPM takes it")
            }
            Self::OtherValue => {
                f.write_str("fits no value that this UKI gives PCR 11 in a known phase")
            }
            Self::PhaseMissing { phase, bank } => {
                write!(f, "no usable {bank} policy for the phase \"{phase}\"")
            }
            Self::HardwareMissing { hardware } => {
                write!(f, "no usable policy for the hardware choice {hardware}")
            }
            Self::LatePhase { phase } => write!(
                f,
                "signed for the phase \"{phase}\", when root of the running system can unseal"
            ),
            Self::DebugProfile => f.write_str(
                "a profile for debugging is signed with the key of the first one, it can unseal the disk",
            ),
        }
    }
}

/// One finding of [`Pcr11::check_policies`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyFinding {
    /// What it is.
    pub check: PolicyCheck,
    /// The profile it is about.
    pub profile: usize,
    /// The entry of the profile's `.pcrsig` it is about: bank and place in the bank's list.
    pub entry: Option<(Bank, usize)>,
}

/// `pcrsig-invalid: profile 0: sha256 entry 2: the signature does not verify`
impl fmt::Display for PolicyFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: profile {}: ", self.check.code(), self.profile)?;
        if let Some((bank, index)) = self.entry {
            write!(f, "{bank} entry {index}: ")?;
        }
        write!(f, "{}", self.check)
    }
}

impl Pcr11 {
    /// Checks the `.pcrsig` of every profile against its `.pcrpkey` and against the register values
    /// of the UKI, all of whose sections were observed.
    ///
    /// `phases` are the paths that must be signed, as a rule the one that disk keys are sealed for.
    /// With none given, either `enter-initrd` or Talos's path must be. A profile without `.pcrsig` or
    /// without `.pcrpkey` has no findings.
    ///
    /// # Errors
    /// [`Error::MissingDigest`] when the banks of the documents were not observed.
    ///
    /// # Examples
    /// ```
    /// use pcr::{Bank, Dialect, Pcr11};
    ///
    /// let mut boot = Pcr11::new(Dialect::Systemd257, &Bank::ALL);
    /// boot.observe(".linux", b"kernel");
    /// boot.observe(".pcrpkey", b"hello");
    /// boot.observe(".pcrsig", b"{}");
    /// let findings: Vec<String> = boot.check_policies(&[])?.iter().map(ToString::to_string).collect();
    /// assert_eq!(
    ///     findings,
    ///     ["pcrpkey-unusable: profile 0: .pcrpkey is unusable: neither a PEM nor a DER public key"]
    /// );
    /// # Ok::<(), pcr::Error>(())
    /// ```
    pub fn check_policies(&self, phases: &[PhasePath]) -> Result<Vec<PolicyFinding>, Error> {
        let mut findings = Vec::new();
        let mut first_keys = None;
        for index in 0..self.profile_count() {
            let profile = self.profile(index)?;
            let usable = checks::check(&profile, phases, &mut findings)?;
            if index == 0 {
                first_keys = usable;
            }
            let shared = usable.is_some() && usable == first_keys;
            if index > 0 && shared && checks::is_for_debugging(&profile) {
                findings.push(PolicyFinding {
                    check: PolicyCheck::DebugProfile,
                    profile: index,
                    entry: None,
                });
            }
        }
        Ok(findings)
    }
}
