//! Policies as data, and their digests in pure Rust.

use crate::bank::sha256;
use crate::{Bank, Error, Name, PcrSelection, PcrValues, PolicyKey};

const POLICY_NV: u32 = 0x0000_0149;
const POLICY_AUTHORIZE: u32 = 0x0000_016a;
const POLICY_AUTH_VALUE: u32 = 0x0000_016b;
const POLICY_COMMAND_CODE: u32 = 0x0000_016c;
const POLICY_OR: u32 = 0x0000_0171;
const POLICY_PCR: u32 = 0x0000_017f;
const POLICY_AUTHORIZE_NV: u32 = 0x0000_0192;

const ZERO: [u8; 32] = [0; 32];
/// Choices within choices: more than this serves nobody, and parsers must end somewhere.
pub(crate) const MAX_DEPTH: usize = 8;

/// What must be true for a secret to be unsealed: steps, all of which must hold.
///
/// ```
/// use tpm_seal::{Bank, PcrValues, Policy};
///
/// let now = PcrValues::new(Bank::Sha256).with(16, &[0; 32])?;
/// let policy = Policy::new().pcrs(now);
/// assert_eq!(policy.digest()?[..4], [0xbf, 0xf2, 0xd5, 0x8e]); // what PolicyPCR gives on every TPM
/// # Ok::<(), tpm_seal::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    steps: Vec<Step>,
}

/// One step of a [`Policy`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Registers have these values (`TPM2_PolicyPCR`).
    Pcrs(PcrValues),
    /// Registers have values with this digest: as `Pcrs`, for files that keep only the digest.
    PcrDigest(PcrSelection, [u8; 32]),
    /// Registers have values that a key has signed (`TPM2_PolicyAuthorize` of a `TPM2_PolicyPCR`).
    Signed(SignedPcrs),
    /// The right PIN is given (`TPM2_PolicyAuthValue`).
    Pin,
    /// One of several policies holds (`TPM2_PolicyOR`, 2 to 8 branches; their order counts).
    Or(Vec<Policy>),
    /// The policy stored in an NV index holds (`TPM2_PolicyAuthorizeNV`). Digest only: tss-esapi 7.7 has no such command.
    AuthorizeNv(Name),
    /// An NV index compares in some way (`TPM2_PolicyNV`). Digest only, likewise.
    Nv(NvComparison),
    /// The object is used in this command only (`TPM2_PolicyCommandCode`).
    CommandCode(u32),
}

/// "Registers have values that this key has signed": what makes updates possible without sealing again.
///
/// ```no_run
/// use tpm_seal::{PolicyKey, SignedPcrs};
///
/// let key = PolicyKey::from_pem(&std::fs::read_to_string("pcr-signing-public-key.pem")?)?;
/// let signed = SignedPcrs::new(key); // PCR 11 in bank sha256, no policy reference: as Talos and systemd
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPcrs {
    pub(crate) key: PolicyKey,
    pub(crate) policy_ref: Vec<u8>,
    pub(crate) selection: PcrSelection,
}

impl SignedPcrs {
    /// PCR 11 in bank SHA-256, signed by `key`, without a policy reference.
    #[must_use]
    pub fn new(key: PolicyKey) -> Self {
        let mut signed = Self {
            key,
            policy_ref: Vec::new(),
            selection: PcrValues::new(Bank::Sha256).selection(),
        };
        if let Ok(selection) = PcrSelection::new(Bank::Sha256, &[11]) {
            signed.selection = selection;
        }
        signed
    }

    /// Other registers, or another bank. They take no part in the digest: the signature says what they must be.
    #[must_use]
    pub fn registers(mut self, selection: PcrSelection) -> Self {
        self.selection = selection;
        self
    }

    /// With a policy reference: a text in the signature that tells one kind of policy of a key from another.
    #[must_use]
    pub fn policy_ref(mut self, policy_ref: &[u8]) -> Self {
        self.policy_ref = policy_ref.to_vec();
        self
    }

    /// With the policy reference that systemd makes of a text (`systemd-measure --policyref=`): its SHA-256.
    #[must_use]
    pub fn policy_ref_text(self, text: &str) -> Self {
        self.policy_ref(&sha256(&[text.as_bytes()]))
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &PolicyKey {
        &self.key
    }

    /// The registers and their bank.
    #[must_use]
    pub const fn selection(&self) -> PcrSelection {
        self.selection
    }
}

/// Operands of `TPM2_PolicyNV`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvComparison {
    pub(crate) name: Name,
    pub(crate) operand: Vec<u8>,
    pub(crate) offset: u16,
    pub(crate) operation: u16,
}

impl NvComparison {
    /// Compares `operand` with the index called `name` at `offset`; `operation` is a `TPM_EO` (0 is equal).
    #[must_use]
    pub fn new(name: Name, operand: &[u8], offset: u16, operation: u16) -> Self {
        Self {
            name,
            operand: operand.to_vec(),
            offset,
            operation,
        }
    }
}

impl Policy {
    /// No step yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { steps: Vec::new() }
    }

    /// And: registers have these values.
    #[must_use]
    pub fn pcrs(self, values: PcrValues) -> Self {
        self.step(Step::Pcrs(values))
    }

    /// And: registers have values that a key has signed. This must be the first step.
    #[must_use]
    pub fn signed(self, signed: SignedPcrs) -> Self {
        self.step(Step::Signed(signed))
    }

    /// And: registers have values that one of these keys has signed, for the time of a key rotation.
    /// This must be the first step. The order of the keys counts.
    #[must_use]
    pub fn signed_by_any(self, signed: impl IntoIterator<Item = SignedPcrs>) -> Self {
        self.any(signed.into_iter().map(|signed| Self::new().signed(signed)))
    }

    /// And: registers have one of these sets of values, as before and after a planned update.
    #[must_use]
    pub fn pcrs_any(self, outcomes: impl IntoIterator<Item = PcrValues>) -> Self {
        self.any(outcomes.into_iter().map(|values| Self::new().pcrs(values)))
    }

    /// And: one of these policies holds. A single one is taken as it is.
    #[must_use]
    pub fn any(mut self, branches: impl IntoIterator<Item = Self>) -> Self {
        let mut branches: Vec<Self> = branches.into_iter().collect();
        if branches.len() == 1 {
            self.steps.append(&mut branches.swap_remove(0).steps);
            return self;
        }
        self.step(Step::Or(branches))
    }

    /// And: the right PIN is given.
    #[must_use]
    pub fn pin(self) -> Self {
        self.step(Step::Pin)
    }

    /// And one more step.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// The steps, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The digest that is sealed to: what a policy session has after these steps (TPM 2.0 Part 3, clause 23).
    ///
    /// # Errors
    /// [`Error::NoPcrs`], [`Error::Branches`], [`Error::SignedNotFirst`], [`Error::TooDeep`].
    pub fn digest(&self) -> Result<[u8; 32], Error> {
        self.extend(ZERO, MAX_DEPTH)
    }

    fn extend(&self, start: [u8; 32], depth: usize) -> Result<[u8; 32], Error> {
        let depth = depth
            .checked_sub(1)
            .ok_or(Error::TooDeep { limit: MAX_DEPTH })?;
        self.steps
            .iter()
            .try_fold(start, |old, step| step.extend(old, depth))
    }

    /// The digests of the branches of a choice that begins at `old`.
    pub(crate) fn branch_digests(branches: &[Self], old: [u8; 32]) -> Result<Vec<[u8; 32]>, Error> {
        branches
            .iter()
            .map(|branch| branch.extend(old, MAX_DEPTH))
            .collect()
    }

    /// Whether some way to fulfil the policy needs a PIN.
    #[must_use]
    pub fn needs_pin(&self) -> bool {
        self.steps.iter().any(|step| match step {
            Step::Pin => true,
            Step::Or(branches) => branches.iter().any(Self::needs_pin),
            _ => false,
        })
    }

    /// The registers that the policy looks at, one selection a bank.
    #[must_use]
    pub fn registers(&self) -> Vec<PcrSelection> {
        Bank::ALL
            .into_iter()
            .filter_map(|bank| {
                let mut pcrs = Vec::new();
                self.collect_registers(bank, true, &mut pcrs);
                PcrSelection::new(bank, &pcrs)
                    .ok()
                    .filter(|selection| !selection.is_empty())
            })
            .collect()
    }

    /// The registers whose values the policy holds itself, of the first bank that has any.
    #[must_use]
    pub fn literal_registers(&self) -> PcrSelection {
        let of_bank = |bank| {
            let mut pcrs = Vec::new();
            self.collect_registers(bank, false, &mut pcrs);
            PcrSelection::new(bank, &pcrs)
                .ok()
                .filter(|selection| !selection.is_empty())
        };
        let first = Bank::ALL.into_iter().find_map(of_bank);
        first.unwrap_or_else(|| PcrValues::new(Bank::Sha256).selection())
    }

    fn collect_registers(&self, bank: Bank, signed_too: bool, pcrs: &mut Vec<u8>) {
        for step in &self.steps {
            let selection = match step {
                Step::Pcrs(values) => values.selection(),
                Step::PcrDigest(selection, _) => *selection,
                Step::Signed(signed) if signed_too => signed.selection,
                Step::Or(branches) => {
                    branches
                        .iter()
                        .for_each(|branch| branch.collect_registers(bank, signed_too, pcrs));
                    continue;
                }
                _ => continue,
            };
            if selection.bank() == bank {
                pcrs.extend(selection.pcrs());
            }
        }
    }

    /// Says no to policies that bind less than their makers think: nothing at all, or PCR 7 alone, which is the same
    /// for every system signed under the machine's keys.
    pub(crate) fn refuse_weak(&self) -> Result<(), Error> {
        self.strength()
    }

    /// Says no to registers that nothing was measured into.
    pub(crate) fn refuse_unmeasured(&self) -> Result<(), Error> {
        for step in &self.steps {
            match step {
                Step::Pcrs(values) => {
                    if let Some((pcr, byte)) = values.unmeasured() {
                        return Err(Error::NotMeasured {
                            pcr,
                            bank: values.bank(),
                            byte,
                        });
                    }
                }
                Step::Or(branches) => branches.iter().try_for_each(Self::refuse_unmeasured)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn strength(&self) -> Result<(), Error> {
        let strong = self.steps.iter().any(|step| match step {
            Step::Pcrs(values) => values.iter().any(|(pcr, _)| pcr != 7),
            Step::PcrDigest(selection, _) => selection.pcrs().any(|pcr| pcr != 7),
            Step::Or(_) | Step::CommandCode(_) => false,
            _ => true,
        });
        let mut choices = self.steps.iter().filter_map(|step| match step {
            Step::Or(branches) => Some(branches),
            _ => None,
        });
        if strong || choices.any(|branches| branches.iter().all(|branch| branch.strength().is_ok()))
        {
            return Ok(());
        }
        let what = if self.registers().is_empty() {
            "nothing"
        } else {
            "nothing but PCR 7"
        };
        Err(Error::WeakPolicy { what })
    }
}

impl Step {
    fn extend(&self, old: [u8; 32], depth: usize) -> Result<[u8; 32], Error> {
        Ok(match self {
            Self::Pcrs(values) => policy_pcr(old, values.selection(), &values.digest())?,
            Self::PcrDigest(selection, digest) => policy_pcr(old, *selection, digest)?,
            Self::Signed(_) if old != ZERO => return Err(Error::SignedNotFirst),
            Self::Signed(signed) if signed.selection.is_empty() => return Err(Error::NoPcrs),
            Self::Signed(signed) => sha256(&[
                &command(POLICY_AUTHORIZE, ZERO, &[signed.key.name().as_bytes()]),
                &signed.policy_ref,
            ]),
            Self::Pin => command(POLICY_AUTH_VALUE, old, &[]),
            Self::Or(branches) => {
                let digests: Result<Vec<_>, _> = branches
                    .iter()
                    .map(|branch| branch.extend(old, depth))
                    .collect();
                policy_or(&digests?)?
            }
            Self::AuthorizeNv(name) => command(POLICY_AUTHORIZE_NV, ZERO, &[name.as_bytes()]),
            Self::Nv(nv) => {
                let args = sha256(&[
                    &nv.operand,
                    &nv.offset.to_be_bytes(),
                    &nv.operation.to_be_bytes(),
                ]);
                command(POLICY_NV, old, &[&args, nv.name.as_bytes()])
            }
            Self::CommandCode(code) => command(POLICY_COMMAND_CODE, old, &[&code.to_be_bytes()]),
        })
    }
}

/// `TPM2_PolicyPCR` from `old`, for values with the digest `digest`.
pub(crate) fn policy_pcr(
    old: [u8; 32],
    selection: PcrSelection,
    digest: &[u8; 32],
) -> Result<[u8; 32], Error> {
    if selection.is_empty() {
        return Err(Error::NoPcrs);
    }
    Ok(command(POLICY_PCR, old, &[&selection.to_bytes(), digest]))
}

/// The digest that a `.pcrsig` entry signs: `TPM2_PolicyPCR` alone.
pub(crate) fn signed_digest(values: &PcrValues) -> Result<[u8; 32], Error> {
    policy_pcr(ZERO, values.selection(), &values.digest())
}

fn policy_or(branches: &[[u8; 32]]) -> Result<[u8; 32], Error> {
    if !(2..=8).contains(&branches.len()) {
        return Err(Error::Branches {
            count: branches.len(),
        });
    }
    let parts: Vec<&[u8]> = branches.iter().map(<[u8; 32]>::as_slice).collect();
    Ok(command(POLICY_OR, ZERO, &parts))
}

fn command(code: u32, old: [u8; 32], args: &[&[u8]]) -> [u8; 32] {
    let code = code.to_be_bytes();
    let mut parts: Vec<&[u8]> = vec![&old, &code];
    parts.extend(args);
    sha256(&parts)
}
