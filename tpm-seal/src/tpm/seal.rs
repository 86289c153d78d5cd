//! Sealing.

use super::Tpm;
use super::anchor::Anchor;
use super::commands::SessionKind;
use super::scope::Scope;
use crate::public_area::PublicArea;
use crate::sealed::{SEALED, SEALED_WITH_PIN, SRK_HANDLE};
use crate::secret::{AuthValue, PinSalt, random};
use crate::{Error, Parent, Policy, SealOptions, SealedKey, SealedObject, Secret, Template};

impl Tpm {
    /// Seals `secret` under `policy`. What the registers are now does not matter: the policy has the values, be they
    /// read from this TPM or predicted.
    ///
    /// # Errors
    /// [`Error::WeakPolicy`], [`Error::NotMeasured`] and [`Error::PinAndPolicy`] for what the options do not allow, and
    /// what a TPM can fail with.
    pub fn seal(
        &mut self,
        secret: &Secret,
        policy: &Policy,
        options: &SealOptions,
    ) -> Result<SealedKey, Error> {
        let auth_policy = options.judge(policy, secret.as_bytes().len())?;
        let (attributes, pin_salt, auth) = match &options.pin {
            Some(pin) => {
                let salt = *random::<32>()?;
                let salt = PinSalt::Salt(salt);
                (SEALED_WITH_PIN, salt, pin.auth_value(&salt))
            }
            None => (SEALED, PinSalt::None, AuthValue::trimmed(&[])),
        };
        let template = PublicArea::sealed(attributes, &auth_policy, &[]);
        self.starting_over(|tpm| {
            let mut scope = Scope::new(&mut *tpm.commands);
            let mut anchor = if options.srk {
                Anchor::storage_root_key(&mut scope)?
            } else {
                let parent = Parent::Primary {
                    template: Template::TalosEcc,
                    name: options.expected_parent,
                };
                Anchor::of_parent(&mut scope, &parent)?
            };
            anchor.expect(options.expected_parent)?;
            let session = anchor.session(&mut scope, SessionKind::Hmac)?;
            anchor.close_binding(&mut scope)?;
            let (private, public) =
                scope.create(anchor.handle, session, template.as_bytes(), &auth, secret)?;
            let public = PublicArea::parse_area(&public)?;
            if public.attributes() != attributes
                || public.auth_policy() != auth_policy
                || !public.is_sealed_object()
            {
                return Err(Error::Tampered {
                    command: "TPM2_Create",
                    reason: "it is not the object that was asked for",
                });
            }
            let parent = if options.srk {
                Parent::Persistent {
                    handle: SRK_HANDLE,
                    public: anchor.public.clone(),
                }
            } else {
                Parent::Primary {
                    template: Template::TalosEcc,
                    name: Some(anchor.public.name()),
                }
            };
            Ok(SealedKey {
                object: SealedObject::new(public, private, None)?,
                parent,
                pin_salt,
            })
        })
    }

    /// The storage root key's public area, for [`seal_offline`](crate::seal_offline) elsewhere. It is made and kept at
    /// 81000001 if nothing is there.
    ///
    /// # Errors
    /// [`Refusal::HandleInUse`](crate::Refusal::HandleInUse) and what a TPM can fail with.
    pub fn storage_root_key(&mut self) -> Result<PublicArea, Error> {
        self.starting_over(|tpm| {
            let mut scope = Scope::new(&mut *tpm.commands);
            Anchor::storage_root_key(&mut scope).map(|anchor| anchor.public)
        })
    }
}
