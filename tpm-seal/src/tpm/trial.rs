//! Policy digests as a TPM computes them.

use super::Tpm;
use super::commands::{Handle, SessionKind};
use super::scope::Scope;
use crate::policy::{MAX_DEPTH, Policy, Step};
use crate::{Error, PcrValues};

impl Tpm {
    /// The digest of a policy as this TPM computes it in a trial session: what [`Policy::digest`] must give.
    ///
    /// # Errors
    /// [`Error::DigestOnly`] for steps on NV indices, and what a TPM can fail with.
    pub fn policy_digest(&mut self, policy: &Policy) -> Result<[u8; 32], Error> {
        let mut scope = Scope::new(&mut *self.commands);
        let session = scope.start_session(SessionKind::Trial, None, None)?;
        let session = scope.keep(session);
        resolve(
            &mut scope,
            session,
            &mut Vec::new(),
            policy.steps(),
            MAX_DEPTH,
        )
    }
}

/// A step that can be replayed.
#[derive(Clone)]
enum Done<'a> {
    Step(&'a Step),
    /// The digests of a choice's branches.
    Or(Vec<[u8; 32]>),
}

/// Replays `done` and `steps`. A choice needs the digests of its branches first: each is replayed behind what is done
/// before it.
fn resolve<'a>(
    scope: &mut Scope<'_>,
    session: Handle,
    done: &mut Vec<Done<'a>>,
    steps: &'a [Step],
    depth: usize,
) -> Result<[u8; 32], Error> {
    let depth = depth
        .checked_sub(1)
        .ok_or(Error::TooDeep { limit: MAX_DEPTH })?;
    for step in steps {
        let Step::Or(branches) = step else {
            done.push(Done::Step(step));
            continue;
        };
        let digests: Result<Vec<_>, Error> = branches
            .iter()
            .map(|branch| resolve(scope, session, &mut done.clone(), branch.steps(), depth))
            .collect();
        done.push(Done::Or(digests?));
    }
    scope.policy_restart(session)?;
    for done in done.iter() {
        match done {
            Done::Step(step) => replay(scope, session, step)?,
            Done::Or(digests) => scope.policy_or(session, digests)?,
        }
    }
    let digest = scope.policy_digest(session)?;
    digest.try_into().map_err(|_| Error::Tampered {
        command: "TPM2_PolicyGetDigest",
        reason: "it is not 32 bytes",
    })
}

fn replay(scope: &mut Scope<'_>, session: Handle, step: &Step) -> Result<(), Error> {
    match step {
        Step::Pcrs(values) => {
            scope.policy_pcr(session, values.selection(), &PcrValues::digest(values))?
        }
        Step::PcrDigest(selection, digest) => scope.policy_pcr(session, *selection, digest)?,
        Step::Signed(signed) => {
            scope.policy_authorize(session, &[0; 32], &signed.policy_ref, &signed.key, None)?
        }
        Step::Pin => scope.policy_auth_value(session)?,
        Step::CommandCode(code) => scope.policy_command_code(session, *code)?,
        Step::AuthorizeNv(_) => {
            return Err(Error::DigestOnly {
                step: "PolicyAuthorizeNV",
            });
        }
        Step::Nv(_) => return Err(Error::DigestOnly { step: "PolicyNV" }),
        // Resolved before.
        Step::Or(_) => {}
    }
    Ok(())
}
