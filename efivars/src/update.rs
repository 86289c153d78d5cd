use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::authenticated_update::{header, signed_bytes};
use crate::database::Problem;
use crate::signing::Prepared;
use crate::{
    Attributes, Certificate, EfiTime, Error, SignatureDatabase, SignatureType, Signer,
    VariableName, Write,
};

/// A change of an authenticated variable, to be signed.
///
/// # Examples
///
/// ```no_run
/// # fn demo(pem: &str, key: &str) -> Result<(), efivars::Error> {
/// use efivars::{Certificate, EfiTime, Guid, RsaSigner, SignatureDatabase, Update};
/// let certificate = Certificate::from_pem(pem)?;
/// let list = SignatureDatabase::new().with_certificate(Guid::ZERO, &certificate);
/// let time = EfiTime::new(2024, 1, 2, 3, 4, 5)?;
/// let db = Update::replace(efivars::DB, &list, time)?.sign(&certificate, &RsaSigner::from_pem(key)?)?;
/// std::fs::write(db.file_name(), db.to_bytes()).ok();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Update {
    name: VariableName,
    attributes: Attributes,
    time: EfiTime,
    value: Vec<u8>,
    chain: Vec<Certificate>,
}

impl Update {
    /// Replaces the value; an empty database deletes the variable. The time must be later than that of the stored value.
    ///
    /// # Errors
    ///
    /// What firmware would refuse: [`Error::TimeNotPlain`], [`Error::NotRsa`], [`Error::UnsupportedType`], a malformed list, and
    /// [`Error::PlatformKey`] when PK would not hold exactly one certificate.
    pub fn replace(
        name: VariableName,
        value: &SignatureDatabase,
        time: EfiTime,
    ) -> Result<Self, Error> {
        check(value)?;
        let certificates = value
            .lists()
            .iter()
            .filter(|list| list.kind() == SignatureType::X509)
            .count();
        if name == crate::PK && !value.lists().is_empty() && (value.len() != 1 || certificates != 1)
        {
            return Err(Error::PlatformKey { found: value.len() });
        }
        Self::raw(name, Attributes::KEY, value.to_bytes(), time)
    }

    /// Appends entries: those that are there already are dropped by firmware, the time may be earlier than the stored one.
    ///
    /// # Errors
    ///
    /// As [`replace`](Self::replace), and [`Error::PlatformKey`] for PK, which firmware would leave with two certificates.
    pub fn append(
        name: VariableName,
        value: &SignatureDatabase,
        time: EfiTime,
    ) -> Result<Self, Error> {
        check(value)?;
        if name == crate::PK {
            return Err(Error::PlatformKey {
                found: value.len().saturating_add(1),
            });
        }
        Self::raw(name, Attributes::KEY_APPEND, value.to_bytes(), time)
    }

    /// Deletes the variable. Deleting PK leads back to setup mode. Firmware forgets the time with the variable: older signed
    /// updates are good again afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::TimeNotPlain`].
    pub fn delete(name: VariableName, time: EfiTime) -> Result<Self, Error> {
        Self::raw(name, Attributes::KEY, Vec::new(), time)
    }

    /// Any value with any attributes, unchecked: for variables that are not signature databases, and for tests.
    ///
    /// # Errors
    ///
    /// [`Error::TimeNotPlain`].
    pub fn raw(
        name: VariableName,
        attributes: Attributes,
        value: Vec<u8>,
        time: EfiTime,
    ) -> Result<Self, Error> {
        if !time.is_plain() {
            return Err(Error::TimeNotPlain);
        }
        Ok(Self {
            name,
            attributes,
            time,
            value,
            chain: Vec::new(),
        })
    }

    /// Refuses a time more than a year after `now`. Firmware keeps the time of a write and takes none with an earlier one; appends
    /// are not compared and pass.
    ///
    /// # Errors
    ///
    /// [`Error::FarFuture`].
    pub fn refuse_far_future(self, now: EfiTime) -> Result<Self, Error> {
        if self.time.is_far_after(now) && !self.attributes.contains(Attributes::APPEND_WRITE) {
            return Err(Error::FarFuture { time: self.time });
        }
        Ok(self)
    }

    /// Embeds further certificates, when the signer's certificate is not in KEK itself but its issuer is.
    #[must_use]
    pub fn with_chain(mut self, certificates: impl IntoIterator<Item = Certificate>) -> Self {
        self.chain.extend(certificates);
        self
    }

    /// The variable.
    #[must_use]
    pub const fn name(&self) -> &VariableName {
        &self.name
    }

    /// The attributes that it must be written with.
    #[must_use]
    pub const fn attributes(&self) -> Attributes {
        self.attributes
    }

    /// The time that it is signed for.
    #[must_use]
    pub const fn time(&self) -> EfiTime {
        self.time
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// The first of two steps: computes what the holder of the certificate's key is to sign.
    ///
    /// # Errors
    ///
    /// [`Error::NotRsa`] for a certificate with another key, which firmware would refuse.
    pub fn prepare(self, certificate: &Certificate) -> Result<Prepared, Error> {
        if !certificate.is_rsa() {
            return Err(Error::NotRsa);
        }
        let message = signed_bytes(&self.name, self.attributes, self.time, &self.value);
        Ok(Prepared::new(self, certificate.clone(), message))
    }

    /// Both steps at once.
    ///
    /// # Errors
    ///
    /// As [`prepare`](Self::prepare), [`Error::Signer`], and [`Error::KeyMismatch`] when the signature is not the
    /// certificate's.
    pub fn sign(
        self,
        certificate: &Certificate,
        signer: &dyn Signer,
    ) -> Result<SignedUpdate, Error> {
        self.prepare(certificate)?.sign(signer)
    }

    /// The update without a signature: firmware takes it in setup mode, most not for PK.
    ///
    /// # Errors
    ///
    /// None so far.
    pub fn unsigned(self) -> Result<SignedUpdate, Error> {
        self.finish(&[])
    }

    pub(crate) fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    pub(crate) fn finish(self, pkcs7: &[u8]) -> Result<SignedUpdate, Error> {
        let mut bytes = header(self.time, pkcs7)?;
        bytes.extend_from_slice(&self.value);
        Ok(SignedUpdate {
            name: self.name,
            attributes: self.attributes,
            time: self.time,
            bytes,
        })
    }
}

fn check(value: &SignatureDatabase) -> Result<(), Error> {
    // The strict reader's conditions, also for a database that the lenient one read.
    SignatureDatabase::parse(&value.to_bytes())?;
    for problem in value.problems() {
        match problem {
            Problem::NotRsa { .. } => return Err(Error::NotRsa),
            Problem::UnknownToFirmware { kind, .. } => return Err(Error::UnsupportedType { kind }),
            _ => {}
        }
    }
    Ok(())
}

/// A finished update: the content of an `.auth` file and what it is for.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedUpdate {
    name: VariableName,
    attributes: Attributes,
    time: EfiTime,
    bytes: Vec<u8>,
}

impl SignedUpdate {
    /// The variable.
    #[must_use]
    pub const fn name(&self) -> &VariableName {
        &self.name
    }

    /// The attributes that it must be written with: the signature covers them.
    #[must_use]
    pub const fn attributes(&self) -> Attributes {
        self.attributes
    }

    /// The time that it is signed for.
    #[must_use]
    pub const fn time(&self) -> EfiTime {
        self.time
    }

    /// The content of the `.auth` file: what `SetVariable` takes as data.
    #[must_use]
    pub fn to_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The name that systemd-boot looks for, such as `db.auth`.
    #[must_use]
    pub fn file_name(&self) -> String {
        alloc::format!("{}.auth", self.name.name())
    }

    /// What is written to the file in efivarfs, in one write: attributes and content.
    #[must_use]
    pub fn to_efivarfs(&self) -> Vec<u8> {
        [&self.attributes.bits().to_le_bytes(), self.bytes.as_slice()].concat()
    }

    /// The write for the firmware model.
    #[must_use]
    pub fn to_write(&self) -> Write {
        Write::new(self.name.clone(), self.attributes, self.bytes.clone())
    }
}

impl fmt::Debug for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Update({} {} {}, {} bytes)",
            self.name,
            self.attributes,
            self.time,
            self.value.len()
        )
    }
}

impl fmt::Debug for SignedUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SignedUpdate({} {} {}, {} bytes)",
            self.name,
            self.attributes,
            self.time,
            self.bytes.len()
        )
    }
}
