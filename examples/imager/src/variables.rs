//! Secure Boot variables from files: `.auth`, `.esl`, certificates, or a folder of enrolment files.

use std::path::Path;

use efivars::{Certificate, Guid, SignatureDatabase, VariableFile};
use pcr::{KeyVariable, SecureBootVariables};

use crate::Error;
use crate::assets::read;
use crate::cli::VariableOptions;

/// Values of PK, KEK, db and dbx; a value of length 0 is a variable that does not exist.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Variables {
    /// PK.
    pub pk: Vec<u8>,
    /// KEK.
    pub kek: Vec<u8>,
    /// db.
    pub db: Vec<u8>,
    /// dbx.
    pub dbx: Vec<u8>,
}

impl Variables {
    /// What the options name, over what lies on the medium; `None` when nothing tells of any key.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Input`].
    pub fn gather(
        options: &VariableOptions,
        medium: &[(&'static str, Vec<u8>)],
    ) -> Result<Option<Self>, Error> {
        let mut any = false;
        let mut value = |name: &'static str, given: Option<&Path>| -> Result<Vec<u8>, Error> {
            if let Some(path) = given {
                any = true;
                return if path == Path::new("-") {
                    Ok(Vec::new())
                } else {
                    value_of(path)
                };
            }
            if let Some(folder) = &options.secureboot_dir {
                let path = folder.join(format!("{name}.auth"));
                if path.exists() {
                    any = true;
                    return value_of(&path);
                }
                return Ok(Vec::new());
            }
            match medium.iter().find(|(known, _)| *known == name) {
                Some((_, bytes)) => {
                    any = true;
                    parse(bytes, Path::new(name))
                }
                None => Ok(Vec::new()),
            }
        };
        let variables = Self {
            pk: value("PK", options.pk.as_deref())?,
            kek: value("KEK", options.kek.as_deref())?,
            db: value("db", options.db.as_deref())?,
            dbx: value("dbx", options.dbx.as_deref())?,
        };
        Ok(any.then_some(variables))
    }

    /// Those that have a value.
    pub(crate) fn given(&self) -> impl Iterator<Item = (KeyVariable, &[u8])> {
        let all = [
            (KeyVariable::Pk, self.pk.as_slice()),
            (KeyVariable::Kek, &self.kek),
            (KeyVariable::Db, &self.db),
            (KeyVariable::Dbx, &self.dbx),
        ];
        all.into_iter().filter(|(_, value)| !value.is_empty())
    }

    /// As PCR 7 has them, Secure Boot on or off.
    #[must_use]
    pub fn for_pcr_7(&self, secure_boot: bool) -> SecureBootVariables {
        SecureBootVariables::setup_mode()
            .with(KeyVariable::Pk, &self.pk)
            .with(KeyVariable::Kek, &self.kek)
            .with(KeyVariable::Db, &self.db)
            .with(KeyVariable::Dbx, &self.dbx)
            .secure_boot(secure_boot)
    }
}

/// The value that a file sets, whatever its kind.
pub(crate) fn value_of(path: &Path) -> Result<Vec<u8>, Error> {
    parse(&read(path)?, path)
}

/// The value that a file sets: of a list or update itself, or a list of the certificates in it.
fn parse(bytes: &[u8], path: &Path) -> Result<Vec<u8>, Error> {
    if bytes.starts_with(b"-----BEGIN") || bytes.starts_with(&[0x30, 0x82]) {
        let certificate = Certificate::from_pem_or_der(bytes)
            .map_err(|error| Error::input("certificate", path, error))?;
        return Ok(SignatureDatabase::new()
            .with_certificate(Guid::ZERO, &certificate)
            .to_bytes());
    }
    let name = path.file_name().and_then(|name| name.to_str());
    let file = VariableFile::detect(bytes, name)
        .map_err(|error| Error::input("key variable", path, error))?;
    Ok(match file {
        VariableFile::Update { update, .. } => update.value().to_vec(),
        VariableFile::Lists(database) => database.to_bytes(),
        VariableFile::Efivarfs { value, .. } => value.to_vec(),
        _ => {
            return Err(Error::input(
                "key variable",
                path,
                "of a kind that holds no value",
            ));
        }
    })
}
