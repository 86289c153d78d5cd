//! What shim measures once it runs.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::error::SecureBootError;
use super::signature_list::{self, Entry};
use crate::event_log::{Guid, VariableData};

/// The state of shim on a machine: what it measures when it starts, and what it lets pass afterwards.
///
/// The mirrored lists are the values of `MokListRT` and `MokListXRT` as the running system reads them (long lists go on
/// in `MokListRT1`, …; join them). Before the first boot, [`Shim::with_vendor_certificate`] makes them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Shim {
    sbat_level: Vec<u8>,
    mok_list: Vec<u8>,
    mok_list_x: Vec<u8>,
    mok_sb_state: Option<u8>,
    mok_list_trusted: Option<u8>,
    mok_policy: Option<u8>,
    vendor_certificate: Vec<u8>,
    generation: ShimGeneration,
}

/// How a version of shim differs from the current one in what it measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ShimGeneration {
    /// 15.7 and later: the vendor certificate is in the mirrored list.
    #[default]
    Current,
    /// 15.5 and 15.6: `MokListTrusted` is measured into PCR 7, too, the list is called `MokList` in authorities, and the vendor
    /// certificate is an authority of its own.
    TrustedInPcr7,
    /// 15.3 and 15.4: likewise, without `MokListTrusted`; the vendor certificate is `Shim`, without owner.
    BareVendorCertificate,
    /// Before 15.3: likewise, without `SbatLevel`; certificates are measured without their owner, and with five bytes of padding.
    BeforeSbat,
}

impl Shim {
    /// shim with this `SbatLevel` (the text that `SbatLevelRT` holds), without any list.
    #[must_use]
    pub fn new(sbat_level: &[u8]) -> Self {
        Self {
            sbat_level: sbat_level.to_vec(),
            mok_list_trusted: Some(1),
            ..Self::default()
        }
    }

    /// The mirrored list of keys that may start (`MokListRT`).
    #[must_use]
    pub fn mok_list(mut self, mirrored: &[u8]) -> Self {
        self.mok_list = mirrored.to_vec();
        self
    }

    /// The mirrored list of what may not start (`MokListXRT`).
    #[must_use]
    pub fn mok_list_x(mut self, mirrored: &[u8]) -> Self {
        self.mok_list_x = mirrored.to_vec();
        self
    }

    /// The lists as shim will mirror them, from what is built into it and what the user enrolled: a vendor certificate
    /// (DER), the user's `MokList`, the built-in revocations and the user's `MokListX`.
    #[must_use]
    pub fn with_vendor_certificate(
        mut self,
        certificate: &[u8],
        mok_list: &[u8],
        revocations: &[u8],
        mok_list_x: &[u8],
    ) -> Self {
        self.vendor_certificate = certificate.to_vec();
        self.mok_list.clear();
        if !certificate.is_empty() && self.generation == ShimGeneration::Current {
            let mut entry = Guid::SHIM_LOCK.to_bytes().to_vec();
            entry.extend_from_slice(certificate);
            self.mok_list = signature_list::list(signature_list::X509, &[&entry]);
        }
        self.mok_list.extend_from_slice(mok_list);
        self.mok_list_x = revocations.to_vec();
        self.mok_list_x.extend_from_slice(mok_list_x);
        self
    }

    /// `MokSBState` when the user switched shim's verification off or on (`1` is off); `None` when not set.
    #[must_use]
    pub fn mok_sb_state(mut self, state: Option<u8>) -> Self {
        self.mok_sb_state = state;
        self
    }

    /// `MokListTrustedRT`; 1 unless changed, `None` for versions that do not have it (before 15.5).
    #[must_use]
    pub fn mok_list_trusted(mut self, state: Option<u8>) -> Self {
        self.mok_list_trusted = state;
        self
    }

    /// `MokPolicyRT`; `None` when not set.
    #[must_use]
    pub fn mok_policy(mut self, policy: Option<u8>) -> Self {
        self.mok_policy = policy;
        self
    }

    /// The version of shim, as far as it matters. Set it before [`Shim::with_vendor_certificate`].
    #[must_use]
    pub const fn generation(mut self, generation: ShimGeneration) -> Self {
        self.generation = generation;
        self
    }

    /// Whether what is measured has bytes behind it that mean nothing.
    pub(super) fn pads_events(&self) -> bool {
        self.generation == ShimGeneration::BeforeSbat
    }

    /// Whether the user switched shim's verification off.
    pub(super) fn verifies(&self) -> bool {
        self.mok_sb_state != Some(1)
    }

    /// What shim measures when it starts, in order.
    pub(super) fn measurements(&self) -> Vec<ShimMeasurement> {
        let byte = |state: Option<u8>| state.map(|state| Vec::from([state]));
        let list = |list: &[u8]| (!list.is_empty()).then(|| list.to_vec());
        let logged = |name: &'static str, content: Option<Vec<u8>>| {
            content.map(|content| ShimMeasurement::Logged { name, content })
        };
        let authority = |name: &'static str, content: Option<Vec<u8>>| {
            content.map(|content| {
                ShimMeasurement::Authority(VariableData::new(Guid::SHIM_LOCK, name, &content))
            })
        };
        let trusted_in_pcr7 = self.generation == ShimGeneration::TrustedInPcr7;
        [
            logged("MokList", list(&self.mok_list)),
            logged("MokListX", list(&self.mok_list_x)),
            authority("MokSBState", byte(self.mok_sb_state)),
            logged("MokSBState", byte(self.mok_sb_state)),
            authority("SbatLevel", list(&self.sbat_level)),
            authority(
                "MokListTrusted",
                byte(self.mok_list_trusted).filter(|_| trusted_in_pcr7),
            ),
            logged("MokListTrusted", byte(self.mok_list_trusted)),
            logged("MokPolicy", byte(self.mok_policy)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    pub(super) fn lists(&self) -> Result<ShimLists<'_>, SecureBootError> {
        let entries = |name, list| {
            signature_list::entries(list).map_err(|(what, offset)| SecureBootError::MokList {
                name,
                what,
                offset,
            })
        };
        let bare =
            self.generation != ShimGeneration::Current && !self.vendor_certificate.is_empty();
        Ok(ShimLists {
            mok: entries("MokList", &self.mok_list)?,
            mok_x: entries("MokListX", &self.mok_list_x)?,
            mok_name: if self.generation == ShimGeneration::Current {
                "MokListRT"
            } else {
                "MokList"
            },
            with_owner: self.generation != ShimGeneration::BeforeSbat,
            vendor_certificate: bare.then_some(&self.vendor_certificate),
        })
    }
}

impl fmt::Debug for Shim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shim")
            .field("sbat_level", &String::from_utf8_lossy(&self.sbat_level))
            .field("mok_list_len", &self.mok_list.len())
            .field("mok_list_x_len", &self.mok_list_x.len())
            .field("mok_sb_state", &self.mok_sb_state)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// One measurement of shim's own state.
pub(super) enum ShimMeasurement {
    /// Into PCR 14: the event holds the name, the digest is that of the content.
    Logged {
        name: &'static str,
        content: Vec<u8>,
    },
    /// Into PCR 7.
    Authority(VariableData),
}

/// What shim looks into besides db and dbx.
pub(super) struct ShimLists<'a> {
    pub(super) mok: Vec<Entry<'a>>,
    pub(super) mok_x: Vec<Entry<'a>>,
    /// What the list is called in authorities.
    pub(super) mok_name: &'static str,
    /// Whether authorities hold the owner of a certificate.
    pub(super) with_owner: bool,
    pub(super) vendor_certificate: Option<&'a [u8]>,
}
