//! A TPM: sealing, unsealing, registers, lockout.

mod anchor;
mod commands;
mod esys;
mod return_code;
mod scope;
mod seal;
mod trial;
mod unseal;

use core::fmt;
use core::time::Duration;

use commands::Commands;
use esys::Esys;
use return_code::PCR_CHANGED;

use crate::{
    Bank, Error, Evidence, PcrSelection, PcrValues, Refusal, SealedKey, Secret, Tcti, Token,
};

/// How often an operation starts over because registers changed under it or the TPM was busy; systemd's number.
const ATTEMPTS: u32 = 30;

/// A TPM. Nothing stays open in it between calls.
///
/// ```no_run
/// use tpm_seal::{Bank, PcrSelection, Policy, SealOptions, Secret, SignedPcrs, Tcti, Tpm};
/// # let key = tpm_seal::PolicyKey::from_pem("")?;
///
/// let mut tpm = Tpm::open(&Tcti::of_this_machine()?)?;
/// let pcr_7 = tpm.pcr_values(PcrSelection::new(Bank::Sha256, &[7])?)?;
/// let policy = Policy::new().signed(SignedPcrs::new(key)).pcrs(pcr_7);
/// let sealed = tpm.seal(&Secret::generate()?, &policy, &SealOptions::new())?;
/// # let _ = sealed;
/// # Ok::<(), tpm_seal::Error>(())
/// ```
pub struct Tpm {
    commands: Box<dyn Commands>,
    tcti: Tcti,
}

/// How the TPM counts wrong PINs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Lockout {
    /// Wrong PINs that the TPM remembers.
    pub failures: u32,
    /// How many it takes before it locks out.
    pub max_failures: u32,
    /// Seconds until it forgets one of them; 0 if it never counts.
    pub forgets_after: u32,
}

impl Lockout {
    /// How often a wrong PIN may still be given.
    #[must_use]
    pub const fn tries_left(&self) -> u32 {
        self.max_failures.saturating_sub(self.failures)
    }

    /// Whether PINs are refused now.
    #[must_use]
    pub const fn is_locked_out(&self) -> bool {
        self.max_failures != 0 && self.failures >= self.max_failures
    }
}

impl Tpm {
    /// Opens the TPM.
    ///
    /// # Errors
    /// [`Error::Tcti`] and [`Error::Unreachable`], which say what is missing.
    pub fn open(tcti: &Tcti) -> Result<Self, Error> {
        Ok(Self {
            commands: Box::new(Esys::open(tcti)?),
            tcti: tcti.clone(),
        })
    }

    /// The values of some registers, all read in one state.
    ///
    /// # Errors
    /// [`Refusal::BankInactive`] when the TPM does not have one of them, and what a TPM can fail with.
    pub fn pcr_values(&mut self, selection: PcrSelection) -> Result<PcrValues, Error> {
        let bank = selection.bank();
        'state: for _ in 0..ATTEMPTS {
            let mut values = PcrValues::new(bank);
            let mut rest = selection;
            let mut state = None;
            while !rest.is_empty() {
                let (counter, read) = retry_busy(|| self.commands.pcr_read(rest))?;
                if *state.get_or_insert(counter) != counter {
                    continue 'state;
                }
                if read.is_empty() {
                    return Err(Refusal::BankInactive { bank }.into());
                }
                for (pcr, value) in read {
                    values = values.with(pcr, &value)?;
                }
                let left: Vec<u8> = selection
                    .pcrs()
                    .filter(|&pcr| values.get(pcr).is_none())
                    .collect();
                if left.len() >= rest.pcrs().count() {
                    return Err(Error::Tampered {
                        command: "TPM2_PCR_Read",
                        reason: "other registers than asked for",
                    });
                }
                rest = PcrSelection::new(bank, &left)?;
            }
            return Ok(values);
        }
        Err(Refusal::Restless { attempts: ATTEMPTS }.into())
    }

    /// The banks that are switched on, of those that this crate knows: all 24 registers are there.
    ///
    /// # Errors
    /// What a TPM can fail with.
    pub fn banks(&mut self) -> Result<Vec<Bank>, Error> {
        let banks = retry_busy(|| self.commands.banks())?;
        let whole = banks
            .into_iter()
            .filter(|(_, pcrs)| (0..24).all(|pcr| pcrs.contains(&pcr)));
        Ok(whole
            .filter_map(|(algorithm, _)| Bank::from_algorithm_id(algorithm))
            .collect())
    }

    /// Extends a register in every bank with the bank's own hash of `data`, as an operating system tells the TPM that a
    /// boot phase is reached (`enter-initrd`, in PCR 11). The new values stay until the TPM is reset.
    ///
    /// # Errors
    /// [`Error::NoSuchPcr`], and what a TPM can fail with.
    pub fn extend(&mut self, pcr: u8, data: &[u8]) -> Result<(), Error> {
        PcrSelection::new(Bank::Sha256, &[pcr])?;
        let banks = self.banks()?.into_iter();
        let digests: Vec<_> = banks.map(|bank| (bank, bank.hash(data))).collect();
        retry_busy(|| self.commands.pcr_extend(pcr, &digests))
    }

    /// How many wrong PINs the TPM has seen. Asking does not count.
    ///
    /// # Errors
    /// What a TPM can fail with.
    pub fn lockout(&mut self) -> Result<Lockout, Error> {
        let properties = retry_busy(|| self.commands.lockout())?;
        Ok(Lockout {
            failures: properties.counter,
            max_failures: properties.max_tries,
            forgets_after: properties.interval,
        })
    }

    /// Unseals what a token holds. Everything that can be told without the TPM is checked first, so no wrong attempt
    /// reaches it.
    ///
    /// # Errors
    /// [`Error::Refused`] with the reason, and what a TPM can fail with.
    pub fn unlock(&mut self, token: &Token, evidence: &Evidence) -> Result<Secret, Error> {
        self.starting_over(|tpm| {
            let measured = tpm.measured(&token.registers()?)?;
            let policy = token.policy(&measured, evidence)?;
            tpm.unseal_once(token.sealed(), &policy, &measured, evidence)
        })
    }

    /// Unseals what was sealed under `policy`.
    ///
    /// # Errors
    /// [`Error::Refused`] with the reason, and what a TPM can fail with.
    pub fn unseal(
        &mut self,
        sealed: &SealedKey,
        policy: &crate::Policy,
        evidence: &Evidence,
    ) -> Result<Secret, Error> {
        self.starting_over(|tpm| {
            let measured = tpm.measured(&policy.registers())?;
            tpm.unseal_once(sealed, policy, &measured, evidence)
        })
    }

    /// Whether this TPM takes the sealed object: it was sealed for this TPM, and is whole. No policy is run and no PIN is
    /// tried, so asking does not count, and `true` does not say that it would open now.
    ///
    /// # Errors
    /// What a TPM can fail with.
    pub fn recognizes(&mut self, sealed: &SealedKey) -> Result<bool, Error> {
        match self.starting_over(|tpm| tpm.load_once(sealed)) {
            Ok(()) => Ok(true),
            Err(Error::Refused(
                Refusal::OtherTpm { .. } | Refusal::Damaged { .. } | Refusal::HandleInUse { .. },
            )) => Ok(false),
            Err(other) => Err(other),
        }
    }

    fn measured(&mut self, registers: &[PcrSelection]) -> Result<Vec<PcrValues>, Error> {
        registers
            .iter()
            .map(|&selection| self.pcr_values(selection))
            .collect()
    }

    /// Runs `attempt` again while registers change under it.
    fn starting_over<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        for round in 0..ATTEMPTS {
            match attempt(self) {
                Err(Error::Tpm { code, command, .. }) if is_restless(command, code) => pause(round),
                other => return other,
            }
        }
        Err(Refusal::Restless { attempts: ATTEMPTS }.into())
    }
}

impl fmt::Debug for Tpm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tpm({})", self.tcti)
    }
}

/// A register changed between reading and unsealing, or the TPM was busy for long.
const fn is_restless(command: &'static str, code: u32) -> bool {
    let failure = commands::Failure { command, code };
    failure.base() == PCR_CHANGED || failure.is_busy()
}

fn retry_busy<T>(mut command: impl FnMut() -> commands::Answer<T>) -> Result<T, Error> {
    let mut round = 0;
    loop {
        match command() {
            Err(failure) if failure.is_busy() && round < ATTEMPTS => pause(round),
            other => return other.map_err(Error::from),
        }
        round += 1;
    }
}

/// 1 ms at first, 128 ms at most.
fn pause(round: u32) {
    std::thread::sleep(Duration::from_millis(1 << round.min(7)));
}
