//! Images that are started.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::bank::{Bank, Digest};
use crate::event_log::{Guid, VariableData};

/// An image that the firmware (or shim) verifies and starts.
///
/// It is given by what an Authenticode reader says of it: its digests, and the bodies of the entries of its certificate
/// table. Give all four digests where they are cheap: unsigned images are looked up by each of them.
#[derive(Clone, PartialEq, Eq)]
pub struct BootImage {
    pub(super) name: Option<String>,
    pub(super) digests: Vec<Digest>,
    pub(super) signatures: Vec<Vec<u8>>,
    pub(super) authorities: Option<Vec<VariableData>>,
    pub(super) early: bool,
    /// Whether firmware takes the image as signed, by whatever.
    pub(super) is_signed: bool,
    /// Whether the certificate table ends where it says.
    pub(super) is_whole: bool,
}

impl BootImage {
    /// An image with these Authenticode digests, as yet without signatures.
    #[must_use]
    pub fn new(digests: impl IntoIterator<Item = Digest>) -> Self {
        Self {
            name: None,
            digests: digests.into_iter().collect(),
            signatures: Vec::new(),
            authorities: None,
            early: false,
            is_signed: false,
            is_whole: true,
        }
    }

    /// An image of which is known what authorises it: entries of db, owner and data. Nothing is verified.
    #[must_use]
    pub fn authorized_by<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let authority = |entry: &[u8]| VariableData::new(Guid::IMAGE_SECURITY, "db", entry);
        Self {
            authorities: Some(entries.into_iter().map(authority).collect()),
            ..Self::new([])
        }
    }

    /// The next signature: the body of an entry of the certificate table (a PKCS#7 `ContentInfo`), in file order.
    #[must_use]
    pub fn signature(mut self, body: &[u8]) -> Self {
        self.signatures.push(body.to_vec());
        self.is_signed = true;
        self
    }

    /// The image has a certificate table, whether PKCS#7 is in it or not. With a table, an image counts as signed: a digest
    /// in db helps it only together with a signature. `is_whole` says whether the entries end exactly where the table
    /// ends; firmware refuses an image otherwise.
    #[must_use]
    pub const fn certificate_table(mut self, is_whole: bool) -> Self {
        self.is_signed = true;
        self.is_whole = is_whole;
        self
    }

    /// A name for messages.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The image is a driver that starts before any boot option, such as an option ROM.
    #[must_use]
    pub const fn before_boot_option(mut self) -> Self {
        self.early = true;
        self
    }

    /// The name for messages, if there is one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The digest of a bank.
    #[must_use]
    pub fn digest(&self, bank: Bank) -> Option<&Digest> {
        self.digests.iter().find(|digest| digest.bank() == bank)
    }
}

impl fmt::Debug for BootImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BootImage")
            .field("name", &self.name)
            .field("digests", &self.digests)
            .field("signatures", &self.signatures.len())
            .finish_non_exhaustive()
    }
}
