//! The TPM commands that sealing needs, in terms of bytes. This is all that the rest of the crate knows of a TPM
//! library; another library is another implementation.

use crate::secret::AuthValue;
use crate::{Bank, PcrSelection, PolicyKey, Secret};

/// An object or session of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Handle(pub(crate) u32);

/// A key as the TPM presents it: nothing of it is trusted before the Name was computed again.
#[derive(Debug)]
pub(crate) struct Presented {
    pub(crate) handle: Handle,
    /// `TPMT_PUBLIC`
    pub(crate) public: Vec<u8>,
    /// Name as returned.
    pub(crate) name: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionKind {
    /// Parameter encryption both ways.
    Hmac,
    Policy,
    Trial,
}

/// An error of a command: its name and the response code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) command: &'static str,
    pub(crate) code: u32,
}

pub(crate) type Answer<T> = Result<T, Failure>;

/// Register numbers and their values.
pub(crate) type Registers = Vec<(u8, Vec<u8>)>;

/// `TPM_PT` groups that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LockoutProperties {
    pub(crate) counter: u32,
    pub(crate) max_tries: u32,
    pub(crate) interval: u32,
    pub(crate) recovery: u32,
}

pub(crate) trait Commands {
    /// In the owner hierarchy.
    fn create_primary(&mut self, template: &[u8]) -> Answer<Presented>;
    /// Nothing if there is nothing at that handle.
    fn open_persistent(&mut self, handle: u32) -> Answer<Option<Presented>>;
    fn make_persistent(&mut self, object: Handle, handle: u32) -> Answer<()>;
    /// Salted to `key`, and bound to `bind` if there is one.
    fn start_session(
        &mut self,
        kind: SessionKind,
        key: Option<Handle>,
        bind: Option<Handle>,
    ) -> Answer<Handle>;
    fn set_auth(&mut self, object: Handle, auth: &AuthValue) -> Answer<()>;
    /// Private (without size) and public (`TPMT_PUBLIC`); the command's parameter is encrypted by the session.
    fn create(
        &mut self,
        parent: Handle,
        session: Handle,
        public: &[u8],
        auth: &AuthValue,
        data: &Secret,
    ) -> Answer<(Vec<u8>, Vec<u8>)>;
    /// Without a session, the parent's empty password.
    fn import(
        &mut self,
        parent: Handle,
        public: &[u8],
        private: &[u8],
        secret: &[u8],
    ) -> Answer<Vec<u8>>;
    fn load(
        &mut self,
        parent: Handle,
        session: Option<Handle>,
        public: &[u8],
        private: &[u8],
    ) -> Answer<Handle>;
    fn load_external(&mut self, public: &[u8]) -> Answer<Handle>;
    fn policy_restart(&mut self, session: Handle) -> Answer<()>;
    fn policy_pcr(
        &mut self,
        session: Handle,
        selection: PcrSelection,
        digest: &[u8; 32],
    ) -> Answer<()>;
    /// `TPM2_VerifySignature` and `TPM2_PolicyAuthorize`. Without a loaded key and a signature in trial sessions.
    fn policy_authorize(
        &mut self,
        session: Handle,
        approved: &[u8; 32],
        policy_ref: &[u8],
        key: &PolicyKey,
        signature: Option<(Handle, &[u8])>,
    ) -> Answer<()>;
    fn policy_auth_value(&mut self, session: Handle) -> Answer<()>;
    fn policy_or(&mut self, session: Handle, branches: &[[u8; 32]]) -> Answer<()>;
    fn policy_command_code(&mut self, session: Handle, code: u32) -> Answer<()>;
    fn policy_digest(&mut self, session: Handle) -> Answer<Vec<u8>>;
    /// Authorized by the policy session, or by the object's value through the other one; the answer is encrypted by
    /// `session`.
    fn unseal(&mut self, object: Handle, policy: Option<Handle>, session: Handle)
    -> Answer<Secret>;
    /// Update counter, and register numbers with their values; a TPM gives a few at a time.
    fn pcr_read(&mut self, selection: PcrSelection) -> Answer<(u32, Registers)>;
    /// `TPM_ALG_ID` of each bank with the registers that it has.
    fn banks(&mut self) -> Answer<Vec<(u16, Vec<u8>)>>;
    /// Extends a register, in each bank by the digest beside it.
    fn pcr_extend(&mut self, pcr: u8, digests: &[(Bank, Vec<u8>)]) -> Answer<()>;
    fn lockout(&mut self) -> Answer<LockoutProperties>;
    /// Flushes objects and sessions, closes what is persistent.
    fn release(&mut self, handle: Handle) -> Answer<()>;
}
