//! The commands over tss-esapi 7.7, the only file that knows it.

mod conversion;

use std::collections::HashMap;

use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::{CapabilityType, PropertyTag, SessionType};
use tss_esapi::handles::{
    KeyHandle, ObjectHandle, PcrHandle, PersistentTpmHandle, SessionHandle, TpmHandle,
};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::dynamic_handles::Persistent;
use tss_esapi::interface_types::resource_handles::{Hierarchy, Provision};
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{
    Auth, CapabilityData, Digest, DigestList, DigestValues, EncryptedSecret, Name, Nonce, Private,
    Public, PublicKeyRsa, RsaSignature, SensitiveData, Signature, SymmetricDefinition,
    SymmetricDefinitionObject,
};
use tss_esapi::traits::{Marshall as _, UnMarshall as _};
use tss_esapi::{Context, TctiNameConf};

use conversion::{
    code_of, empty_ticket, hashing_algorithm, named, numbers, selection_list, unreachable,
};

use super::commands::{
    Answer, Commands, Failure, Handle, LockoutProperties, Presented, Registers, SessionKind,
};
use super::return_code::{HANDLE, LIBRARY};
use crate::bank::sha256;
use crate::secret::AuthValue;
use crate::{Bank, Error, PcrSelection, PolicyKey, Secret, Tcti};

pub(crate) struct Esys {
    context: Context,
    sessions: HashMap<u32, AuthSession>,
    /// Handles that are closed, not flushed.
    persistent: Vec<Handle>,
}

impl Esys {
    pub(crate) fn open(tcti: &Tcti) -> Result<Self, Error> {
        let text = tcti.as_str();
        let wrong = || Error::Tcti {
            text: text.to_owned(),
            reason: "the TPM library does not understand it",
        };
        // libtss2 would write its commands into whatever file that is.
        if tcti.is_no_device() {
            return Err(Error::Tcti {
                text: text.to_owned(),
                reason: "it is a file, not a device",
            });
        }
        let conf: TctiNameConf = text.parse().map_err(|_| wrong())?;
        let context = Context::new(conf).map_err(|error| unreachable(tcti, code_of(&error)))?;
        Ok(Self {
            context,
            sessions: HashMap::new(),
            persistent: Vec::new(),
        })
    }

    fn session(&self, handle: Handle) -> Option<AuthSession> {
        self.sessions.get(&handle.0).copied()
    }

    fn policy_session(&self, command: &'static str, handle: Handle) -> Answer<PolicySession> {
        let session = self.session(handle).ok_or(Failure {
            command,
            code: LIBRARY,
        })?;
        PolicySession::try_from(session).map_err(named(command))
    }
}

/// `ESYS_TR` numbers go back and forth unchanged.
fn object(handle: Handle) -> ObjectHandle {
    ObjectHandle::from(handle.0)
}

impl Commands for Esys {
    fn create_primary(&mut self, template: &[u8]) -> Answer<Presented> {
        let fail = named("TPM2_CreatePrimary");
        let public = Public::unmarshall(template).map_err(&fail)?;
        let made = self
            .context
            .execute_with_session(Some(AuthSession::Password), |context| {
                context.create_primary(Hierarchy::Owner, public, None, None, None, None)
            })
            .map_err(&fail)?;
        let handle = Handle(ObjectHandle::from(made.key_handle).into());
        let name = self.context.tr_get_name(made.key_handle.into());
        match (name, made.out_public.marshall()) {
            (Ok(name), Ok(public)) => Ok(Presented {
                handle,
                public,
                name: name.value().to_vec(),
            }),
            (Err(error), _) | (_, Err(error)) => {
                let _ = self.context.flush_context(made.key_handle.into());
                Err(fail(error))
            }
        }
    }

    fn open_persistent(&mut self, handle: u32) -> Answer<Option<Presented>> {
        let fail = named("TPM2_ReadPublic");
        let persistent = PersistentTpmHandle::new(handle).map_err(&fail)?;
        let found = match self
            .context
            .tr_from_tpm_public(TpmHandle::Persistent(persistent))
        {
            Ok(found) => found,
            Err(error) if fail(error).base() == HANDLE => return Ok(None),
            Err(error) => return Err(fail(error)),
        };
        let own = Handle(found.into());
        self.persistent.push(own);
        let read = self.context.read_public(KeyHandle::from(found));
        let presented = read.and_then(|(public, name, _)| {
            // The library keeps what its own reading gave; both must say the same.
            let kept = self.context.tr_get_name(found)?;
            let name = if kept.value() == name.value() {
                name.value().to_vec()
            } else {
                Vec::new()
            };
            Ok(Presented {
                handle: own,
                public: public.marshall()?,
                name,
            })
        });
        match presented {
            Ok(presented) => Ok(Some(presented)),
            Err(error) => {
                let _ = self.release(own);
                Err(fail(error))
            }
        }
    }

    fn make_persistent(&mut self, transient: Handle, handle: u32) -> Answer<()> {
        let fail = named("TPM2_EvictControl");
        let persistent = Persistent::Persistent(PersistentTpmHandle::new(handle).map_err(&fail)?);
        let made = self
            .context
            .execute_with_session(Some(AuthSession::Password), |context| {
                context.evict_control(Provision::Owner, object(transient), persistent)
            })
            .map_err(&fail)?;
        let mut made = made;
        self.context.tr_close(&mut made).map_err(&fail)
    }

    fn start_session(
        &mut self,
        kind: SessionKind,
        key: Option<Handle>,
        bind: Option<Handle>,
    ) -> Answer<Handle> {
        let fail = named("TPM2_StartAuthSession");
        let session_type = match kind {
            SessionKind::Hmac => SessionType::Hmac,
            SessionKind::Policy => SessionType::Policy,
            SessionKind::Trial => SessionType::Trial,
        };
        let session = self
            .context
            .start_auth_session(
                key.map(|key| KeyHandle::from(object(key))),
                bind.map(object),
                None,
                session_type,
                SymmetricDefinition::AES_128_CFB,
                HashingAlgorithm::Sha256,
            )
            .map_err(&fail)?
            .ok_or(Failure {
                command: "TPM2_StartAuthSession",
                code: LIBRARY,
            })?;
        let encrypts = kind == SessionKind::Hmac;
        let (attributes, mask) = SessionAttributesBuilder::new()
            .with_continue_session(true)
            .with_decrypt(encrypts)
            .with_encrypt(encrypts)
            .build();
        let handle = SessionHandle::from(session);
        let number = Handle(ObjectHandle::from(handle).into());
        if let Err(error) = self
            .context
            .tr_sess_set_attributes(session, attributes, mask)
        {
            let _ = self.context.flush_context(handle.into());
            return Err(fail(error));
        }
        self.sessions.insert(number.0, session);
        Ok(number)
    }

    fn set_auth(&mut self, handle: Handle, auth: &AuthValue) -> Answer<()> {
        let fail = named("Esys_TR_SetAuth");
        let auth = Auth::try_from(auth.as_bytes()).map_err(&fail)?;
        self.context.tr_set_auth(object(handle), auth).map_err(fail)
    }

    fn create(
        &mut self,
        parent: Handle,
        session: Handle,
        public: &[u8],
        auth: &AuthValue,
        data: &Secret,
    ) -> Answer<(Vec<u8>, Vec<u8>)> {
        let fail = named("TPM2_Create");
        let public = Public::unmarshall(public).map_err(&fail)?;
        let auth = Auth::try_from(auth.as_bytes()).map_err(&fail)?;
        let data = SensitiveData::try_from(data.as_bytes()).map_err(&fail)?;
        let session = self.session(session);
        let made = self.context.execute_with_session(session, |context| {
            context.create(
                object(parent).into(),
                public,
                Some(auth),
                Some(data),
                None,
                None,
            )
        });
        let made = made.map_err(&fail)?;
        Ok((
            made.out_private.value().to_vec(),
            made.out_public.marshall().map_err(fail)?,
        ))
    }

    fn import(
        &mut self,
        parent: Handle,
        public: &[u8],
        private: &[u8],
        secret: &[u8],
    ) -> Answer<Vec<u8>> {
        let fail = named("TPM2_Import");
        let public = Public::unmarshall(public).map_err(&fail)?;
        let private = Private::try_from(private).map_err(&fail)?;
        let secret = EncryptedSecret::try_from(secret).map_err(&fail)?;
        self.context
            .execute_with_session(Some(AuthSession::Password), |context| {
                context.import(
                    object(parent),
                    None,
                    public,
                    private,
                    secret,
                    SymmetricDefinitionObject::Null,
                )
            })
            .map(|private| private.value().to_vec())
            .map_err(fail)
    }

    fn load(
        &mut self,
        parent: Handle,
        session: Option<Handle>,
        public: &[u8],
        private: &[u8],
    ) -> Answer<Handle> {
        let fail = named("TPM2_Load");
        let public = Public::unmarshall(public).map_err(&fail)?;
        let private = Private::try_from(private).map_err(&fail)?;
        let session = session
            .and_then(|session| self.session(session))
            .unwrap_or(AuthSession::Password);
        self.context
            .execute_with_session(Some(session), |context| {
                context.load(object(parent).into(), private, public)
            })
            .map(|handle| Handle(ObjectHandle::from(handle).into()))
            .map_err(fail)
    }

    fn load_external(&mut self, public: &[u8]) -> Answer<Handle> {
        let fail = named("TPM2_LoadExternal");
        let public = Public::unmarshall(public).map_err(&fail)?;
        // Only tickets of a real hierarchy count in PolicyAuthorize.
        self.context
            .execute_without_session(|context| {
                context.load_external_public(public, Hierarchy::Owner)
            })
            .map(|handle| Handle(ObjectHandle::from(handle).into()))
            .map_err(fail)
    }

    fn policy_restart(&mut self, session: Handle) -> Answer<()> {
        let session = self.policy_session("TPM2_PolicyRestart", session)?;
        self.context
            .policy_restart(session)
            .map_err(named("TPM2_PolicyRestart"))
    }

    fn policy_pcr(
        &mut self,
        session: Handle,
        selection: PcrSelection,
        digest: &[u8; 32],
    ) -> Answer<()> {
        let fail = named("TPM2_PolicyPCR");
        let session = self.policy_session("TPM2_PolicyPCR", session)?;
        let digest = Digest::try_from(digest.as_slice()).map_err(&fail)?;
        let list = selection_list(selection).map_err(&fail)?;
        self.context.policy_pcr(session, digest, list).map_err(fail)
    }

    fn policy_authorize(
        &mut self,
        session: Handle,
        approved: &[u8; 32],
        policy_ref: &[u8],
        key: &PolicyKey,
        signature: Option<(Handle, &[u8])>,
    ) -> Answer<()> {
        let fail = named("TPM2_PolicyAuthorize");
        let session = self.policy_session("TPM2_PolicyAuthorize", session)?;
        let ticket = match signature {
            Some((handle, signature)) => {
                let fail = named("TPM2_VerifySignature");
                let digest =
                    Digest::try_from(sha256(&[approved, policy_ref]).as_slice()).map_err(&fail)?;
                let signature = PublicKeyRsa::try_from(signature).map_err(&fail)?;
                let signature =
                    RsaSignature::create(HashingAlgorithm::Sha256, signature).map_err(&fail)?;
                let signature = Signature::RsaSsa(signature);
                self.context
                    .execute_without_session(|context| {
                        context.verify_signature(object(handle).into(), digest, signature)
                    })
                    .map_err(fail)?
            }
            None => empty_ticket().map_err(&fail)?,
        };
        let approved = Digest::try_from(approved.as_slice()).map_err(&fail)?;
        let policy_ref = Nonce::try_from(policy_ref).map_err(&fail)?;
        let name = Name::try_from(key.name().as_bytes().to_vec()).map_err(&fail)?;
        self.context
            .policy_authorize(session, approved, policy_ref, &name, ticket)
            .map_err(fail)
    }

    fn policy_auth_value(&mut self, session: Handle) -> Answer<()> {
        let session = self.policy_session("TPM2_PolicyAuthValue", session)?;
        self.context
            .policy_auth_value(session)
            .map_err(named("TPM2_PolicyAuthValue"))
    }

    fn policy_or(&mut self, session: Handle, branches: &[[u8; 32]]) -> Answer<()> {
        let fail = named("TPM2_PolicyOR");
        let session = self.policy_session("TPM2_PolicyOR", session)?;
        let mut list = DigestList::new();
        for branch in branches {
            list.add(Digest::try_from(branch.as_slice()).map_err(&fail)?)
                .map_err(&fail)?;
        }
        self.context.policy_or(session, list).map_err(fail)
    }

    fn policy_command_code(&mut self, session: Handle, code: u32) -> Answer<()> {
        let fail = named("TPM2_PolicyCommandCode");
        let session = self.policy_session("TPM2_PolicyCommandCode", session)?;
        let code = tss_esapi::constants::CommandCode::try_from(code).map_err(&fail)?;
        self.context
            .policy_command_code(session, code)
            .map_err(fail)
    }

    fn policy_digest(&mut self, session: Handle) -> Answer<Vec<u8>> {
        let fail = named("TPM2_PolicyGetDigest");
        let session = self.policy_session("TPM2_PolicyGetDigest", session)?;
        self.context
            .policy_get_digest(session)
            .map(|digest| digest.value().to_vec())
            .map_err(fail)
    }

    fn unseal(&mut self, item: Handle, policy: Option<Handle>, session: Handle) -> Answer<Secret> {
        let hmac = self.session(session);
        let sessions = match policy {
            Some(policy) => (self.session(policy), hmac, None),
            None => (hmac, None, None),
        };
        self.context
            .execute_with_sessions(sessions, |context| context.unseal(object(item)))
            .map(|data| Secret::new(data.value().to_vec()))
            .map_err(named("TPM2_Unseal"))
    }

    fn pcr_read(&mut self, selection: PcrSelection) -> Answer<(u32, Registers)> {
        let fail = named("TPM2_PCR_Read");
        let list = selection_list(selection).map_err(&fail)?;
        let (counter, read, digests) = self
            .context
            .execute_without_session(|context| context.pcr_read(list))
            .map_err(&fail)?;
        let algorithm = hashing_algorithm(selection.bank());
        let pcrs: Vec<u8> = read
            .get_selections()
            .iter()
            .filter(|selection| selection.hashing_algorithm() == algorithm)
            .flat_map(|selection| numbers(&selection.selected()))
            .collect();
        let values = digests.value().iter().map(|digest| digest.value().to_vec());
        Ok((counter, pcrs.into_iter().zip(values).collect()))
    }

    fn pcr_extend(&mut self, pcr: u8, digests: &[(Bank, Vec<u8>)]) -> Answer<()> {
        let fail = named("TPM2_PCR_Extend");
        let handle = PcrHandle::try_from(u32::from(pcr)).map_err(&fail)?;
        let mut values = DigestValues::new();
        for (bank, digest) in digests {
            let digest = Digest::try_from(digest.as_slice()).map_err(&fail)?;
            values.set(hashing_algorithm(*bank), digest);
        }
        self.context
            .execute_with_session(Some(AuthSession::Password), |context| {
                context.pcr_extend(handle, values)
            })
            .map_err(fail)
    }

    fn banks(&mut self) -> Answer<Vec<(u16, Vec<u8>)>> {
        let fail = named("TPM2_GetCapability");
        let (data, _) = self
            .context
            .execute_without_session(|context| {
                context.get_capability(CapabilityType::AssignedPcr, 0, 1)
            })
            .map_err(&fail)?;
        let CapabilityData::AssignedPcr(list) = data else {
            return Err(Failure {
                command: "TPM2_GetCapability",
                code: LIBRARY,
            });
        };
        let banks = list.get_selections().iter();
        Ok(banks
            .map(|bank| (bank.hashing_algorithm().into(), numbers(&bank.selected())))
            .collect())
    }

    fn lockout(&mut self) -> Answer<LockoutProperties> {
        let fail = named("TPM2_GetCapability");
        let (data, _) = self
            .context
            .execute_without_session(|context| {
                context.get_capability(
                    CapabilityType::TpmProperties,
                    PropertyTag::LockoutCounter.into(),
                    4,
                )
            })
            .map_err(&fail)?;
        let CapabilityData::TpmProperties(list) = data else {
            return Err(Failure {
                command: "TPM2_GetCapability",
                code: LIBRARY,
            });
        };
        let get = |tag| {
            list.find(tag)
                .map_or(0, tss_esapi::structures::TaggedProperty::value)
        };
        Ok(LockoutProperties {
            counter: get(PropertyTag::LockoutCounter),
            max_tries: get(PropertyTag::MaxAuthFail),
            interval: get(PropertyTag::LockoutInterval),
            recovery: get(PropertyTag::LockoutRecovery),
        })
    }

    fn release(&mut self, handle: Handle) -> Answer<()> {
        self.sessions.remove(&handle.0);
        if let Some(index) = self.persistent.iter().position(|&open| open == handle) {
            self.persistent.swap_remove(index);
            let mut closing = object(handle);
            return self
                .context
                .tr_close(&mut closing)
                .map_err(named("Esys_TR_Close"));
        }
        self.context
            .flush_context(object(handle))
            .map_err(named("TPM2_FlushContext"))
    }
}
