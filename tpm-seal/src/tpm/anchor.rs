//! The storage key that sessions are salted to, once it is known to be the right one.

use super::commands::{Handle, Presented, SessionKind};
use super::return_code::{BAD_AUTH, CURVE, VALUE};
use super::scope::Scope;
use crate::offline::Wrapping;
use crate::public_area::{NO_DA, USER_WITH_AUTH};
use crate::sealed::SRK_HANDLE;
use crate::secret::{AuthValue, random};
use crate::{Error, Name, Parent, PublicArea, Refusal, Template};

/// A storage key whose Name was computed from its public area and fits everything that is known of it.
#[derive(Debug)]
pub(crate) struct Anchor {
    pub(crate) handle: Handle,
    pub(crate) public: PublicArea,
    /// For a key that the library has read by itself: an object that only the owner of `public`'s private part can
    /// know the value of. Sessions are bound to it.
    bound: Option<Handle>,
}

impl Anchor {
    /// The parent of a sealed object.
    pub(crate) fn of_parent(scope: &mut Scope<'_>, parent: &Parent) -> Result<Self, Error> {
        match parent {
            Parent::Primary { template, name } => {
                let (handle, public) = create(scope, &template.public_area())?;
                let found = public.name();
                match name {
                    Some(expected) if *expected != found => {
                        Err(other_tpm(Some(*expected), Some(found)))
                    }
                    _ => Ok(Self {
                        handle,
                        public,
                        bound: None,
                    }),
                }
            }
            Parent::Persistent { handle, public } => Self::persistent(scope, *handle, public),
            Parent::Handle { handle } => match open(scope, *handle)? {
                Some((handle, public)) if public.is_storage_key() => {
                    Self::read(scope, handle, public)
                }
                Some(_) => Err(Refusal::HandleInUse { handle: *handle }.into()),
                None => Err(other_tpm(None, None)),
            },
        }
    }

    fn persistent(
        scope: &mut Scope<'_>,
        handle: u32,
        expected: &PublicArea,
    ) -> Result<Self, Error> {
        let name = expected.name();
        let mut found = None;
        if let Some((handle, public)) = open(scope, handle)? {
            if public.name() == name {
                return Self::read(scope, handle, public);
            }
            found = Some(public.name());
            scope.release(handle)?;
        }
        // The handle is free or taken by something else; the key may still be the one that this TPM makes.
        let Some(template) = expected.as_template() else {
            return Err(other_tpm(Some(name), found));
        };
        match create(scope, &template) {
            Ok((handle, public)) if public.name() == name => Ok(Self {
                handle,
                public,
                bound: None,
            }),
            Ok((_, public)) => Err(other_tpm(Some(name), found.or(Some(public.name())))),
            Err(error @ Error::Tampered { .. }) => Err(error),
            // Nothing is there, and whether this TPM would make the key cannot be tried.
            Err(error @ Error::Refused(Refusal::OwnerPassword)) if found.is_none() => Err(error),
            Err(_) => Err(other_tpm(Some(name), found)),
        }
    }

    /// The storage root key for sealing as systemd does it: whatever key is at 81000001, else the best that the TPM can
    /// make, kept there.
    pub(crate) fn storage_root_key(scope: &mut Scope<'_>) -> Result<Self, Error> {
        if let Some((handle, public)) = open(scope, SRK_HANDLE)? {
            if !public.is_storage_key() {
                return Err(Refusal::HandleInUse { handle: SRK_HANDLE }.into());
            }
            return Self::read(scope, handle, public);
        }
        let (handle, public) = match create(scope, &Template::SrkEcc.public_area()) {
            Err(Error::Tpm { code, .. }) if matches!(code & 0xbf, CURVE | VALUE) => {
                create(scope, &Template::SrkRsa.public_area())?
            }
            other => other?,
        };
        scope.make_persistent(handle, SRK_HANDLE)?;
        Ok(Self {
            handle,
            public,
            bound: None,
        })
    }

    /// A key that was read from a persistent handle. The TPM library salts sessions to the public area that its own
    /// reading gave, and does not compare that with the Name; nor can it be asked for it. So somebody on the bus could
    /// have given the library another key than us. What is bound to `public` here closes that door: a random value,
    /// wrapped by this crate to the public area with the right Name, becomes part of every session key.
    fn read(scope: &mut Scope<'_>, handle: Handle, public: PublicArea) -> Result<Self, Error> {
        let value = random::<32>()?;
        let auth = AuthValue::trimmed(&*value);
        let object =
            Wrapping::from_os()?.wrap(&public, &[0], &[], USER_WITH_AUTH | NO_DA, &auth)?;
        let area = object.public().as_bytes();
        let secret = object.import_secret().unwrap_or_default();
        let private = scope.import(handle, area, object.private_value(), secret)?;
        let bound = scope.load(handle, None, area, &private)?;
        let bound = scope.keep(bound);
        scope.set_auth(bound, &auth)?;
        Ok(Self {
            handle,
            public,
            bound: Some(bound),
        })
    }

    /// A session that nobody on the bus can look into.
    pub(crate) fn session(
        &self,
        scope: &mut Scope<'_>,
        kind: SessionKind,
    ) -> Result<Handle, Error> {
        let session = scope.start_session(kind, Some(self.handle), self.bound)?;
        Ok(scope.keep(session))
    }

    /// All sessions are made: makes room in the TPM.
    pub(crate) fn close_binding(&mut self, scope: &mut Scope<'_>) -> Result<(), Error> {
        match self.bound.take() {
            Some(bound) => Ok(scope.release(bound)?),
            None => Ok(()),
        }
    }

    pub(crate) fn expect(&self, expected: Option<Name>) -> Result<(), Error> {
        match expected {
            Some(name) if name != self.public.name() => {
                Err(other_tpm(Some(name), Some(self.public.name())))
            }
            _ => Ok(()),
        }
    }
}

fn other_tpm(expected: Option<Name>, found: Option<Name>) -> Error {
    Refusal::OtherTpm { expected, found }.into()
}

fn open(scope: &mut Scope<'_>, handle: u32) -> Result<Option<(Handle, PublicArea)>, Error> {
    let Some(presented) = scope.open_persistent(handle)? else {
        return Ok(None);
    };
    let handle = scope.keep(presented.handle);
    Ok(Some((handle, verified("TPM2_ReadPublic", &presented)?)))
}

fn create(scope: &mut Scope<'_>, template: &PublicArea) -> Result<(Handle, PublicArea), Error> {
    let presented = scope
        .create_primary(template.as_bytes())
        .map_err(|failure| match failure.base() {
            BAD_AUTH => Refusal::OwnerPassword.into(),
            _ => Error::from(failure),
        })?;
    let handle = scope.keep(presented.handle);
    let public = verified("TPM2_CreatePrimary", &presented)?;
    if public.attributes() != template.attributes() || !public.is_storage_key() {
        return Err(Error::Tampered {
            command: "TPM2_CreatePrimary",
            reason: "it is not the key that was asked for",
        });
    }
    Ok((handle, public))
}

/// The Name that came along must be the one that the public area has.
fn verified(command: &'static str, presented: &Presented) -> Result<PublicArea, Error> {
    let public = PublicArea::parse_area(&presented.public)?;
    if public.name().as_bytes() != presented.name {
        return Err(Error::Tampered {
            command,
            reason: "its name is not that of its public area",
        });
    }
    Ok(public)
}
