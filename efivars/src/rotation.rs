use alloc::vec::Vec;

use crate::{Certificate, DB, DBX, EfiTime, Error, Guid, KEK, PK, SignatureDatabase, Update};

/// A change of keys on a machine in user mode, as an ordered list of writes after each of which the machine still boots.
///
/// 1. db gets the new certificates beside the old entries, signed by the old KEK: images signed with either key start.
/// 2. KEK is replaced, signed by the old PK. 3. PK is replaced, signed by the old PK.
/// 4. After the new image is installed: db loses what was to be removed, signed by the new KEK.
///
/// Each write has a time one second after the one before; `time` must be later than the times stored in the machine.
///
/// # Examples
///
/// ```no_run
/// # use efivars::*;
/// # fn demo(old: Certificate, new: Certificate, owner: Guid, db: SignatureDatabase, kek: SignatureDatabase, key: impl Signer, new_key: impl Signer) -> Result<(), Error> {
/// let steps = Rotation::new(&old, &old, kek, db, EfiTime::new(2025, 1, 1, 0, 0, 0)?)
///     .add_db(owner, &new).remove_db(&old).replace_kek(owner, &new).replace_pk(owner, &new).steps()?;
/// for step in steps {
///     let certificate = step.signer().clone();
///     let signer: &dyn Signer = if certificate == old { &key } else { &new_key };
///     let auth = step.into_update().sign(&certificate, signer)?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Rotation {
    pk: Certificate,
    kek_signer: Certificate,
    kek: SignatureDatabase,
    db: SignatureDatabase,
    time: EfiTime,
    new_pk: Option<(Guid, Certificate)>,
    new_kek: Option<(Guid, Certificate)>,
    add_db: Vec<(Guid, Certificate)>,
    remove_db: Vec<Certificate>,
    revoke: bool,
}

/// One write of a rotation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RotationStep {
    why: &'static str,
    signer: Certificate,
    update: Update,
    after_new_image: bool,
}

impl Rotation {
    /// The keys as they are: PK, the certificate in KEK whose key is at hand, and the values of KEK and db.
    #[must_use]
    pub fn new(
        platform_key: &Certificate,
        key_exchange_key: &Certificate,
        kek: SignatureDatabase,
        db: SignatureDatabase,
        time: EfiTime,
    ) -> Self {
        Self {
            pk: platform_key.clone(),
            kek_signer: key_exchange_key.clone(),
            kek,
            db,
            time,
            new_pk: None,
            new_kek: None,
            add_db: Vec::new(),
            remove_db: Vec::new(),
            revoke: false,
        }
    }

    /// Puts another certificate into PK.
    #[must_use]
    pub fn replace_pk(mut self, owner: Guid, certificate: &Certificate) -> Self {
        self.new_pk = Some((owner, certificate.clone()));
        self
    }

    /// Puts another certificate into KEK in the place of the one whose key is at hand; others stay.
    #[must_use]
    pub fn replace_kek(mut self, owner: Guid, certificate: &Certificate) -> Self {
        self.new_kek = Some((owner, certificate.clone()));
        self
    }

    /// Adds a certificate to db.
    #[must_use]
    pub fn add_db(mut self, owner: Guid, certificate: &Certificate) -> Self {
        self.add_db.push((owner, certificate.clone()));
        self
    }

    /// Removes a certificate from db, in the last step.
    #[must_use]
    pub fn remove_db(mut self, certificate: &Certificate) -> Self {
        self.remove_db.push(certificate.clone());
        self
    }

    /// Also puts the removed certificates into dbx, for machines that might still have them in db.
    #[must_use]
    pub const fn revoke_removed(mut self) -> Self {
        self.revoke = true;
        self
    }

    /// The writes, in order.
    ///
    /// # Errors
    ///
    /// What [`Update::replace`] reports.
    pub fn steps(&self) -> Result<Vec<RotationStep>, Error> {
        let mut steps = Vec::new();
        let mut seconds = 0u64;
        let mut next = || {
            let time = self.time.plus_seconds(seconds);
            seconds = seconds.saturating_add(1);
            time
        };
        let mut db = self.db.clone();
        for (owner, certificate) in &self.add_db {
            db.append_as_firmware(&SignatureDatabase::new().with_certificate(*owner, certificate));
        }
        if db != self.db {
            steps.push(RotationStep {
                why: "db trusts the new key beside the old one",
                signer: self.kek_signer.clone(),
                update: Update::replace(DB, &db, next()?)?,
                after_new_image: false,
            });
        }
        let mut kek_signer = &self.kek_signer;
        if let Some((owner, certificate)) = &self.new_kek {
            let mut kek = SignatureDatabase::new().with_certificate(*owner, certificate);
            let mut rest = self.kek.clone();
            rest.remove(|entry| entry.data == self.kek_signer.to_der());
            kek.append_as_firmware(&rest);
            steps.push(RotationStep {
                why: "KEK holds the new key, signed by the old PK",
                signer: self.pk.clone(),
                update: Update::replace(KEK, &kek, next()?)?,
                after_new_image: false,
            });
            kek_signer = certificate;
        }
        if let Some((owner, certificate)) = &self.new_pk {
            let pk = SignatureDatabase::new().with_certificate(*owner, certificate);
            steps.push(RotationStep {
                why: "PK is the new key, signed by the old PK",
                signer: self.pk.clone(),
                update: Update::replace(PK, &pk, next()?)?,
                after_new_image: false,
            });
        }
        let removed = db.remove(|entry| {
            self.remove_db
                .iter()
                .any(|certificate| entry.data == certificate.to_der())
        });
        if removed > 0 {
            steps.push(RotationStep {
                why: "db no longer trusts the old key",
                signer: kek_signer.clone(),
                update: Update::replace(DB, &db, next()?)?,
                after_new_image: true,
            });
        }
        if self.revoke && !self.remove_db.is_empty() {
            let mut dbx = SignatureDatabase::new();
            for certificate in &self.remove_db {
                dbx.add_revocation(
                    crate::HashAlgorithm::Sha256,
                    Guid::ZERO,
                    certificate,
                    EfiTime::ZERO,
                )?;
            }
            steps.push(RotationStep {
                why: "dbx refuses the old key",
                signer: kek_signer.clone(),
                update: Update::append(DBX, &dbx, next()?)?,
                after_new_image: true,
            });
        }
        Ok(steps)
    }
}

impl RotationStep {
    /// What the write is for.
    #[must_use]
    pub const fn why(&self) -> &'static str {
        self.why
    }

    /// The certificate whose key must sign it.
    #[must_use]
    pub const fn signer(&self) -> &Certificate {
        &self.signer
    }

    /// Whether the machine must run an image that the new key signed before this is written.
    #[must_use]
    pub const fn after_new_image(&self) -> bool {
        self.after_new_image
    }

    /// The update.
    #[must_use]
    pub const fn update(&self) -> &Update {
        &self.update
    }

    /// The update, to be signed.
    #[must_use]
    pub fn into_update(self) -> Update {
        self.update
    }
}
