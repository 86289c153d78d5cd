//! Unsealing, and what a TPM's refusals mean.

use super::anchor::Anchor;
use super::commands::{Failure, Handle, SessionKind};
use super::return_code::{
    AUTH_FAIL, BAD_AUTH, HIERARCHY, INTEGRITY, LOCKOUT, PCR_CHANGED, POLICY_FAIL, SIZE, VALUE,
};
use super::scope::Scope;
use super::{Tpm, retry_busy};
use crate::evidence::Command;
use crate::{Error, Evidence, PcrValues, Policy, Refusal, SealedKey, Secret};

impl Tpm {
    pub(crate) fn unseal_once(
        &mut self,
        sealed: &SealedKey,
        policy: &Policy,
        measured: &[PcrValues],
        evidence: &Evidence,
    ) -> Result<Secret, Error> {
        let object = sealed.object();
        let by_value = object.opens_by_value();
        let auth_policy = object.public().auth_policy();
        if by_value && !auth_policy.is_empty() {
            return Err(damaged(
                "the sealed object opens without its policy (userWithAuth is set)",
            ));
        }
        if !by_value && policy.digest()?.as_slice() != auth_policy {
            return Err(damaged(
                "its policy is not the one that the key is sealed to",
            ));
        }
        let commands = policy.resolve(measured, evidence)?;
        let needs_pin = by_value || commands.contains(&Command::AuthValue);
        if needs_pin && object.counts_wrong_pins() {
            // A try during lockout is refused anyway, and on some TPMs makes it longer.
            let lockout = self.lockout()?;
            if lockout.is_locked_out() {
                return Err(Refusal::LockedOut {
                    seconds: lockout.forgets_after,
                }
                .into());
            }
        }
        let mut scope = Scope::new(&mut *self.commands);
        let result = unseal(&mut scope, sealed, &commands, by_value, evidence);
        drop(scope);
        match result {
            Err(Stop::Failed(failure)) => Err(match self.meaning(failure, sealed) {
                Error::Refused(Refusal::WrongPin { .. }) if evidence.the_pin().is_none() => {
                    Refusal::PinNeeded.into()
                }
                other => other,
            }),
            Err(Stop::Known(error)) => Err(error),
            Ok(secret) => Ok(secret),
        }
    }

    pub(crate) fn load_once(&mut self, sealed: &SealedKey) -> Result<(), Error> {
        let mut scope = Scope::new(&mut *self.commands);
        let loaded = Anchor::of_parent(&mut scope, sealed.parent())
            .map_err(Stop::from)
            .and_then(|mut anchor| {
                let session = anchor.session(&mut scope, SessionKind::Hmac)?;
                anchor.close_binding(&mut scope)?;
                load(&mut scope, &anchor, session, sealed)
            });
        drop(scope);
        match loaded {
            Ok(_) => Ok(()),
            Err(Stop::Failed(failure)) => Err(self.meaning(failure, sealed)),
            Err(Stop::Known(error)) => Err(error),
        }
    }

    /// What a failure of Load, a policy command or Unseal tells.
    fn meaning(&mut self, failure: Failure, sealed: &SealedKey) -> Error {
        let name = sealed.parent().name();
        match (failure.command, failure.base()) {
            ("TPM2_Load" | "TPM2_Import", INTEGRITY) if name.is_none() => Refusal::OtherTpm {
                expected: None,
                found: None,
            }
            .into(),
            ("TPM2_Load" | "TPM2_Import", _) if failure.code & 0xffff_0000 == 0 => {
                if failure.is_busy() || failure.base() == LOCKOUT || failure.code & 0x900 == 0x900 {
                    return self.lockout_or(failure);
                }
                damaged(
                    "the TPM does not take the sealed object, although its storage key is the right one",
                )
            }
            ("TPM2_LoadExternal", HIERARCHY | VALUE | SIZE | 0x80..=0xbf) => {
                Refusal::PolicyKeyUnsupported.into()
            }
            // The expected digest goes along, so a difference shows at once: a register changed since it was read.
            ("TPM2_PolicyPCR", VALUE) => Error::from(Failure {
                command: failure.command,
                code: PCR_CHANGED,
            }),
            ("TPM2_Unseal", AUTH_FAIL) => {
                let tries_left = self.lockout().ok().map(|lockout| lockout.tries_left());
                Refusal::WrongPin { tries_left }.into()
            }
            ("TPM2_Unseal", BAD_AUTH) => Refusal::WrongPin { tries_left: None }.into(),
            ("TPM2_Unseal", POLICY_FAIL) => Refusal::PolicyFailed.into(),
            _ => self.lockout_or(failure),
        }
    }

    fn lockout_or(&mut self, failure: Failure) -> Error {
        if failure.base() == LOCKOUT {
            let seconds =
                retry_busy(|| self.commands.lockout()).map_or(0, |lockout| lockout.interval);
            return Refusal::LockedOut { seconds }.into();
        }
        failure.into()
    }
}

/// Why unsealing stopped: known at the place, or by the TPM's code.
enum Stop {
    Known(Error),
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Known(error)
    }
}

fn unseal(
    scope: &mut Scope<'_>,
    sealed: &SealedKey,
    commands: &[Command],
    by_value: bool,
    evidence: &Evidence,
) -> Result<Secret, Stop> {
    let mut anchor = Anchor::of_parent(scope, sealed.parent())?;
    let session = anchor.session(scope, SessionKind::Hmac)?;
    let policy = if by_value {
        None
    } else {
        Some(anchor.session(scope, SessionKind::Policy)?)
    };
    anchor.close_binding(scope)?;

    let loaded = load(scope, &anchor, session, sealed)?;
    if let Some(pin) = evidence
        .the_pin()
        .filter(|_| by_value || commands.contains(&Command::AuthValue))
    {
        scope.set_auth(loaded, &pin.auth_value(&sealed.pin_salt))?;
    }
    if let Some(policy) = policy {
        for command in commands {
            run(scope, policy, command)?;
        }
    }
    Ok(scope.unseal(loaded, policy, session)?)
}

fn load(
    scope: &mut Scope<'_>,
    anchor: &Anchor,
    session: Handle,
    sealed: &SealedKey,
) -> Result<Handle, Stop> {
    let object = sealed.object();
    let public = object.public().as_bytes();
    let imported = match object.import_secret() {
        Some(secret) => {
            Some(scope.import(anchor.handle, public, object.private_value(), secret)?)
        }
        None => None,
    };
    let private = imported.as_deref().unwrap_or(object.private_value());
    let loaded = scope.load(anchor.handle, Some(session), public, private)?;
    Ok(scope.keep(loaded))
}

fn run(scope: &mut Scope<'_>, session: Handle, command: &Command) -> Result<(), Stop> {
    match command {
        Command::Pcr { selection, digest } => scope.policy_pcr(session, *selection, digest)?,
        Command::Authorize {
            key,
            approved,
            policy_ref,
            signature,
        } => {
            let loaded = scope.load_external(&key.public_area())?;
            let loaded = scope.keep(loaded);
            scope.policy_authorize(
                session,
                approved,
                policy_ref,
                key,
                Some((loaded, signature)),
            )?;
            scope.release(loaded)?;
        }
        Command::AuthValue => scope.policy_auth_value(session)?,
        Command::Or(branches) => scope.policy_or(session, branches)?,
        Command::Code(code) => scope.policy_command_code(session, *code)?,
    }
    Ok(())
}

fn damaged(what: &'static str) -> Error {
    Refusal::Damaged { what }.into()
}
