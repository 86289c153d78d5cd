use core::fmt;

use crate::{
    Attributes, AuthenticatedUpdate, Certificate, DBX, Error, Quota, SignatureDatabase,
    VerificationError, Write,
};

/// An update of dbx that its vendor signed for appending, such as Microsoft's `DBXUpdate.bin`.
///
/// # Examples
///
/// ```no_run
/// # fn demo(file: &[u8], current: &efivars::SignatureDatabase) -> Result<(), Box<dyn std::error::Error>> {
/// use efivars::{DbxUpdate, Quota};
/// let update = DbxUpdate::parse(file)?;
/// let space = update.space(current, Quota::OVMF_2M);
/// println!("{} new entries, fits: {}", space.added, space.fits());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct DbxUpdate<'a> {
    bytes: &'a [u8],
    update: AuthenticatedUpdate<'a>,
}

/// What an append needs and what there is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Space {
    /// Entries that are not there yet.
    pub added: usize,
    /// Length of the value before.
    pub current_len: u64,
    /// Length of the value after.
    pub new_len: u64,
    /// The longest value that firmware stores.
    pub max_len: u64,
}

impl Space {
    /// Whether firmware has room for the value. The update itself counts too: its value must not be longer either.
    #[must_use]
    pub const fn fits(&self) -> bool {
        self.new_len <= self.max_len
    }
}

impl<'a> DbxUpdate<'a> {
    /// Reads it and checks that it is signed for appending to dbx, by whomever.
    ///
    /// # Errors
    ///
    /// [`Error::NotADbxUpdate`] when it is signed for something else, and what its parts report.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let update = AuthenticatedUpdate::parse_lenient(bytes)?;
        update.database()?;
        update
            .verify(&DBX, Attributes::KEY_APPEND)
            .map_err(|cause| Error::NotADbxUpdate { cause })?;
        Ok(Self { bytes, update })
    }

    /// The update.
    #[must_use]
    pub const fn update(&self) -> &AuthenticatedUpdate<'a> {
        &self.update
    }

    /// The entries.
    #[must_use]
    pub fn entries(&self) -> SignatureDatabase {
        // parse read them before.
        self.update.database().unwrap_or_default()
    }

    /// Whether this certificate in KEK makes a machine accept it.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn verify_for(&self, key_exchange_key: &Certificate) -> Result<(), VerificationError> {
        self.update
            .verify_for(key_exchange_key, &DBX, Attributes::KEY_APPEND)
    }

    /// What the machine's dbx will be, as firmware merges it.
    #[must_use]
    pub fn merged(&self, current: &SignatureDatabase) -> SignatureDatabase {
        let mut merged = current.clone();
        merged.append_as_firmware(&self.entries());
        merged
    }

    /// Whether the machine has room for it.
    #[must_use]
    pub fn space(&self, current: &SignatureDatabase, quota: Quota) -> Space {
        let merged = self.merged(current);
        // 60 bytes of header and 8 of the name.
        let max_len = quota.max_authenticated.saturating_sub(68);
        Space {
            added: merged.len().saturating_sub(current.len()),
            current_len: current.byte_len(),
            new_len: merged.byte_len().max(self.entries().byte_len()),
            max_len,
        }
    }

    /// The write for the firmware model, or for efivarfs.
    #[must_use]
    pub fn to_write(&self) -> Write {
        Write::new(DBX, Attributes::KEY_APPEND, self.bytes.to_vec())
    }
}

impl fmt::Debug for DbxUpdate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.update, f)
    }
}
