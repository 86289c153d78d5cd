//! What a caller brings to unseal with, and the check of a policy against it.

use crate::policy::{MAX_DEPTH, Policy, Step};
use crate::{PcrSelection, PcrValues, Pin, PolicyKey, Refusal, SignatureDocument};

/// What a caller brings to unseal with. Which parts are needed, the policy says.
///
/// ```no_run
/// use tpm_seal::{Evidence, Pin, SignatureDocument};
///
/// let mut evidence = Evidence::new().pin(Pin::new("1234"));
/// if let Some(document) = SignatureDocument::of_running_system()? {
///     evidence = evidence.signatures(document);
/// }
/// # Ok::<(), tpm_seal::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    signatures: Option<SignatureDocument>,
    pin: Option<Pin>,
    policy_key: Option<PolicyKey>,
}

impl Evidence {
    /// Nothing: enough for literal registers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The signed PCR policies of the running software.
    #[must_use]
    pub fn signatures(mut self, document: SignatureDocument) -> Self {
        self.signatures = Some(document);
        self
    }

    /// The PIN.
    #[must_use]
    pub fn pin(mut self, pin: Pin) -> Self {
        self.pin = Some(pin);
        self
    }

    /// The public key of the signed policies. Talos's tokens do not hold it: it is the UKI's `.pcrpkey`. A wrong one
    /// does no harm, the policy does not fit then.
    #[must_use]
    pub fn policy_key(mut self, key: PolicyKey) -> Self {
        self.policy_key = Some(key);
        self
    }

    pub(crate) const fn the_policy_key(&self) -> Option<&PolicyKey> {
        self.policy_key.as_ref()
    }

    pub(crate) const fn the_pin(&self) -> Option<&Pin> {
        self.pin.as_ref()
    }
}

/// A policy command with everything it needs, in the order of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Pcr {
        selection: PcrSelection,
        digest: [u8; 32],
    },
    Authorize {
        key: PolicyKey,
        approved: [u8; 32],
        policy_ref: Vec<u8>,
        signature: Vec<u8>,
    },
    AuthValue,
    Or(Vec<[u8; 32]>),
    Code(u32),
}

impl Policy {
    /// Whether this policy would hold, as far as that can be told without a TPM: `measured` are the registers, of each
    /// bank that the policy looks at ([`registers`](Self::registers)). A PIN is only missed, not judged.
    ///
    /// # Errors
    /// The reason why it does not hold.
    pub fn check(&self, measured: &[PcrValues], evidence: &Evidence) -> Result<(), Refusal> {
        self.resolve(measured, evidence).map(drop)
    }

    /// The policy commands that fulfil this policy in the state `measured`.
    pub(crate) fn resolve(
        &self,
        measured: &[PcrValues],
        evidence: &Evidence,
    ) -> Result<Vec<Command>, Refusal> {
        let mut commands = Vec::new();
        self.resolve_from([0; 32], measured, evidence, MAX_DEPTH, &mut commands)?;
        Ok(commands)
    }

    fn resolve_from(
        &self,
        start: [u8; 32],
        measured: &[PcrValues],
        evidence: &Evidence,
        depth: usize,
        commands: &mut Vec<Command>,
    ) -> Result<(), Refusal> {
        let depth = depth.checked_sub(1).ok_or(UNUSABLE)?;
        let mut done = Self::new();
        for step in self.steps() {
            match step {
                Step::Pcrs(expected) => {
                    let selection = expected.selection();
                    let now = select(measured, selection)?;
                    let differs = now
                        .iter()
                        .find(|&(pcr, value)| expected.get(pcr) != Some(value));
                    if let Some((pcr, value)) = differs {
                        let expected = expected.get(pcr).unwrap_or_default().to_vec();
                        return Err(Refusal::Register {
                            pcr,
                            bank: selection.bank(),
                            measured: value.to_vec(),
                            expected,
                        });
                    }
                    commands.push(Command::Pcr {
                        selection,
                        digest: now.digest(),
                    });
                }
                Step::PcrDigest(selection, digest) => {
                    let now = select(measured, *selection)?;
                    if now.digest() != *digest {
                        return Err(Refusal::Registers { measured: now });
                    }
                    commands.push(Command::Pcr {
                        selection: *selection,
                        digest: *digest,
                    });
                }
                Step::Signed(signed) => {
                    let now = select(measured, signed.selection)?;
                    let document = evidence.signatures.as_ref();
                    let document = document.ok_or(Refusal::NoSignatures {
                        bank: signed.selection.bank(),
                    })?;
                    let (signature, approved) = document.find(signed, &now)?;
                    commands.push(Command::Pcr {
                        selection: signed.selection,
                        digest: now.digest(),
                    });
                    commands.push(Command::Authorize {
                        key: signed.key.clone(),
                        approved,
                        policy_ref: signed.policy_ref.clone(),
                        signature,
                    });
                }
                Step::Pin => {
                    if evidence.pin.as_ref().is_none_or(Pin::is_empty) {
                        return Err(Refusal::PinNeeded);
                    }
                    commands.push(Command::AuthValue);
                }
                Step::Or(branches) => {
                    let old = extend(start, &done)?;
                    let digests = Self::branch_digests(branches, old).map_err(|_| UNUSABLE)?;
                    let chosen = choose(branches, |branch| {
                        let mut inner = Vec::new();
                        branch
                            .resolve_from(old, measured, evidence, depth, &mut inner)
                            .map(|()| inner)
                    })?;
                    commands.extend(chosen);
                    commands.push(Command::Or(digests));
                }
                Step::CommandCode(code) => commands.push(Command::Code(*code)),
                Step::AuthorizeNv(_) | Step::Nv(_) => {
                    return Err(Refusal::Damaged {
                        what: "the policy asks for an NV index, which is not supported",
                    });
                }
            }
            done = done.step(step.clone());
        }
        Ok(())
    }
}

const UNUSABLE: Refusal = Refusal::Damaged {
    what: "the policy cannot be computed",
};

fn extend(start: [u8; 32], done: &Policy) -> Result<[u8; 32], Refusal> {
    match Policy::branch_digests(core::slice::from_ref(done), start) {
        Ok(digests) => digests.first().copied().ok_or(UNUSABLE),
        Err(_) => Err(UNUSABLE),
    }
}

fn choose<T>(
    branches: &[Policy],
    try_branch: impl Fn(&Policy) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let mut first = None;
    for branch in branches {
        match try_branch(branch) {
            Ok(found) => return Ok(found),
            Err(refusal) => first = first.or(Some(refusal)),
        }
    }
    match first {
        // A missing PIN is the one reason that the user can do something about at once.
        Some(Refusal::PinNeeded) => Err(Refusal::PinNeeded),
        Some(first) => Err(Refusal::NoBranch {
            count: branches.len(),
            first: Box::new(first),
        }),
        None => Err(UNUSABLE),
    }
}

fn select(measured: &[PcrValues], selection: PcrSelection) -> Result<PcrValues, Refusal> {
    measured
        .iter()
        .find_map(|values| values.select(selection))
        .ok_or(Refusal::BankInactive {
            bank: selection.bank(),
        })
}
