use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::{
    Certificate, DB, DBX, EfiTime, Error, Firmware, Guid, KEK, Machine, PK, Prepared, Refusal,
    SignatureDatabase, SignedUpdate, Signer, Update, Variable,
};

/// The keys that a machine is to get: a plan for the set of files in `loader/keys/auto`.
///
/// PK is signed by its own key, KEK by PK's, db and dbx by KEK's, so that the same files are also good for a machine in user
/// mode with these keys. The time is a parameter: choose one in the past, because firmware keeps it and takes only later writes.
///
/// # Examples
///
/// One certificate for everything, as Talos and bootctl do it:
///
/// ```no_run
/// # fn demo(pem: &str, key: &str) -> Result<(), efivars::Error> {
/// use efivars::{Certificate, EfiTime, Enrolment, RsaSigner, talos_owner};
/// let certificate = Certificate::from_pem(pem)?;
/// let time = EfiTime::new(2024, 1, 1, 0, 0, 0)?;
/// let plan = Enrolment::single(&certificate, talos_owner(pem.as_bytes()), time);
/// for file in plan.sign(&RsaSigner::from_pem(key)?)?.files() {
///     std::fs::write(file.name(), file.bytes()).ok();
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Enrolment {
    pk: (Guid, Certificate),
    kek_signer: Certificate,
    kek: SignatureDatabase,
    db: SignatureDatabase,
    dbx: SignatureDatabase,
    time: EfiTime,
}

impl Enrolment {
    /// One certificate in PK, KEK and db, which signs all three.
    #[must_use]
    pub fn single(certificate: &Certificate, owner: Guid, time: EfiTime) -> Self {
        Self::new(certificate, certificate, owner, time).db(owner, certificate)
    }

    /// A platform key and a key exchange key; db is empty so far.
    #[must_use]
    pub fn new(
        platform_key: &Certificate,
        key_exchange_key: &Certificate,
        owner: Guid,
        time: EfiTime,
    ) -> Self {
        Self {
            pk: (owner, platform_key.clone()),
            kek_signer: key_exchange_key.clone(),
            kek: SignatureDatabase::new().with_certificate(owner, key_exchange_key),
            db: SignatureDatabase::new(),
            dbx: SignatureDatabase::new(),
            time,
        }
    }

    /// Adds a certificate to KEK.
    #[must_use]
    pub fn kek(mut self, owner: Guid, certificate: &Certificate) -> Self {
        self.kek = self.kek.with_certificate(owner, certificate);
        self
    }

    /// Adds a certificate to db.
    #[must_use]
    pub fn db(mut self, owner: Guid, certificate: &Certificate) -> Self {
        self.db = self.db.with_certificate(owner, certificate);
        self
    }

    /// Adds the lists of a database to db, as they are.
    #[must_use]
    pub fn db_lists(mut self, lists: &SignatureDatabase) -> Self {
        lists
            .lists()
            .iter()
            .for_each(|list| self.db.push_list(list.clone()));
        self
    }

    /// Adds the lists of a database to dbx, as they are.
    #[must_use]
    pub fn dbx_lists(mut self, lists: &SignatureDatabase) -> Self {
        lists
            .lists()
            .iter()
            .for_each(|list| self.dbx.push_list(list.clone()));
        self
    }

    /// The value that PK will have.
    #[must_use]
    pub fn pk_value(&self) -> SignatureDatabase {
        SignatureDatabase::new().with_certificate(self.pk.0, &self.pk.1)
    }

    /// The value that KEK will have.
    #[must_use]
    pub const fn kek_value(&self) -> &SignatureDatabase {
        &self.kek
    }

    /// The value that db will have.
    #[must_use]
    pub const fn db_value(&self) -> &SignatureDatabase {
        &self.db
    }

    /// The value that dbx will have; empty when it is left alone.
    #[must_use]
    pub const fn dbx_value(&self) -> &SignatureDatabase {
        &self.dbx
    }

    /// The variables as they will stand in the machine, for a variable store or for predicting PCR 7.
    #[must_use]
    pub fn variables(&self) -> Vec<Variable> {
        let values = [
            (PK, &self.pk_value()),
            (KEK, &self.kek),
            (DB, &self.db),
            (DBX, &self.dbx),
        ];
        values
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| {
                Variable::new(name, crate::Attributes::KEY, value.to_bytes()).at(self.time)
            })
            .collect()
    }

    /// The first of two steps: what is to be signed, in the order in which it must be written: db, dbx, KEK, PK.
    ///
    /// # Errors
    ///
    /// What [`Update::replace`] reports: certificates without RSA key, lists that firmware refuses, a bad time.
    pub fn prepare(&self) -> Result<PreparedEnrolment, Error> {
        let mut updates =
            alloc::vec![Update::replace(DB, &self.db, self.time)?.prepare(&self.kek_signer)?];
        if !self.dbx.is_empty() {
            updates.push(Update::replace(DBX, &self.dbx, self.time)?.prepare(&self.kek_signer)?);
        }
        updates.push(Update::replace(KEK, &self.kek, self.time)?.prepare(&self.pk.1)?);
        updates.push(Update::replace(PK, &self.pk_value(), self.time)?.prepare(&self.pk.1)?);
        Ok(PreparedEnrolment(updates))
    }

    /// Signs everything with one key, which must be that of PK and of KEK.
    ///
    /// # Errors
    ///
    /// As [`prepare`](Self::prepare) and [`Prepared::sign`].
    pub fn sign(&self, signer: &dyn Signer) -> Result<EnrolmentSet, Error> {
        self.sign_with(signer, signer)
    }

    /// Signs PK and KEK with the key of PK, db and dbx with that of KEK.
    ///
    /// # Errors
    ///
    /// As [`prepare`](Self::prepare) and [`Prepared::sign`].
    pub fn sign_with(
        &self,
        pk_signer: &dyn Signer,
        kek_signer: &dyn Signer,
    ) -> Result<EnrolmentSet, Error> {
        let sign = |prepared: Prepared| {
            let by_pk = *prepared.name() == PK || *prepared.name() == KEK;
            prepared.sign(if by_pk { pk_signer } else { kek_signer })
        };
        Ok(EnrolmentSet(
            self.prepare()?
                .0
                .into_iter()
                .map(sign)
                .collect::<Result<_, _>>()?,
        ))
    }
}

/// The updates of an enrolment that wait for their signatures.
///
/// Take them out, [`attach`](Prepared::attach) a signature to each, and collect the results into an [`EnrolmentSet`].
#[derive(Clone, Debug)]
pub struct PreparedEnrolment(Vec<Prepared>);

impl PreparedEnrolment {
    /// The updates in the order in which they must be written.
    #[must_use]
    pub fn into_updates(self) -> Vec<Prepared> {
        self.0
    }

    /// The updates in the order in which they must be written.
    #[must_use]
    pub fn updates(&self) -> &[Prepared] {
        &self.0
    }
}

/// The signed updates of an enrolment, in the order in which they must be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnrolmentSet(Vec<SignedUpdate>);

/// One file of an enrolment.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolmentFile {
    name: String,
    bytes: Vec<u8>,
}

impl EnrolmentSet {
    /// The updates in the order in which they must be written.
    #[must_use]
    pub fn updates(&self) -> &[SignedUpdate] {
        &self.0
    }

    /// The content of `loader/keys/auto`: `db.auth`, perhaps `dbx.auth`, `KEK.auth`, `PK.auth`, and an `.esl` file of each.
    #[must_use]
    pub fn files(&self) -> Vec<EnrolmentFile> {
        let mut files = Vec::new();
        for update in &self.0 {
            let bytes = update.to_bytes().to_vec();
            let value = crate::AuthenticatedUpdate::parse(&bytes)
                .map(|update| update.value().to_vec())
                .unwrap_or_default();
            files.push(EnrolmentFile {
                name: update.file_name(),
                bytes,
            });
            files.push(EnrolmentFile {
                name: alloc::format!("{}.esl", update.name().name()),
                bytes: value,
            });
        }
        files
    }

    /// The update of this variable.
    #[must_use]
    pub fn update(&self, name: &crate::VariableName) -> Option<&SignedUpdate> {
        self.0.iter().find(|update| update.name() == name)
    }

    /// Writes everything to a machine of this firmware in setup mode, in the model, and returns that machine after its reset.
    ///
    /// # Errors
    ///
    /// The first write that the firmware refuses.
    pub fn try_on(&self, firmware: Firmware) -> Result<Machine, Refusal> {
        let mut machine = Machine::new(firmware);
        for update in &self.0 {
            machine.write(&update.to_write())?;
        }
        machine.reboot();
        Ok(machine)
    }
}

impl FromIterator<SignedUpdate> for EnrolmentSet {
    fn from_iter<I: IntoIterator<Item = SignedUpdate>>(updates: I) -> Self {
        Self(updates.into_iter().collect())
    }
}

impl EnrolmentFile {
    /// The name of the file, such as `PK.auth`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The content of the file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for EnrolmentFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "EnrolmentFile({}, {} bytes)",
            self.name,
            self.bytes.len()
        )
    }
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrolment")
            .field("pk", &self.pk.1.subject())
            .field("kek", &self.kek)
            .field("db", &self.db)
            .field("dbx", &self.dbx)
            .field("time", &self.time)
            .finish_non_exhaustive()
    }
}
