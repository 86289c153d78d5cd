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
        replay(&mut scope, session, policy.steps(), MAX_DEPTH)
    }
}

/// Runs `steps` from the beginning. A choice needs the digests of its branches first: each is replayed behind the steps
/// before it.
fn replay(
    scope: &mut Scope<'_>,
    session: Handle,
    steps: &[Step],
    depth: usize,
) -> Result<[u8; 32], Error> {
    let depth = depth
        .checked_sub(1)
        .ok_or(Error::TooDeep { limit: MAX_DEPTH })?;
    let mut choices = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        if let Step::Or(branches) = step {
            let before = steps.get(..index).unwrap_or_default();
            let digests: Result<Vec<_>, Error> = branches
                .iter()
                .map(|branch| replay(scope, session, &[before, branch.steps()].concat(), depth))
                .collect();
            choices.push(digests?);
        }
    }
    scope.policy_restart(session)?;
    let mut choices = choices.into_iter();
    for step in steps {
        match step {
            Step::Pcrs(values) => {
                scope.policy_pcr(session, values.selection(), &PcrValues::digest(values))?
            }
            Step::PcrDigest(selection, digest) => scope.policy_pcr(session, *selection, digest)?,
            Step::Signed(signed) => {
                scope.policy_authorize(session, &[0; 32], &signed.policy_ref, &signed.key, None)?;
            }
            Step::Pin => scope.policy_auth_value(session)?,
            Step::Or(_) => scope.policy_or(session, &choices.next().unwrap_or_default())?,
            Step::CommandCode(code) => scope.policy_command_code(session, *code)?,
            Step::AuthorizeNv(_) => {
                return Err(Error::DigestOnly {
                    step: "PolicyAuthorizeNV",
                });
            }
            Step::Nv(_) => return Err(Error::DigestOnly { step: "PolicyNV" }),
        }
    }
    let digest = scope.policy_digest(session)?;
    digest.try_into().map_err(|_| Error::Tampered {
        command: "TPM2_PolicyGetDigest",
        reason: "it is not 32 bytes",
    })
}
