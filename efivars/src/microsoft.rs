//! Microsoft's certificates for Secure Boot: what they are for and how to recognise them. None is shipped here; the user gives
//! the files, for example from the folder `PreSignedObjects` of Microsoft's repository `secureboot_objects`.

use alloc::vec::Vec;

use crate::{AuthenticatedUpdate, Certificate, SignatureDatabase, pem};

/// What a certificate is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Purpose {
    /// KEK: signs updates of db and dbx.
    KeyExchange,
    /// db: Windows' boot manager.
    Windows,
    /// db: shim and other boot loaders.
    ThirdParty,
    /// db: option ROMs of cards.
    OptionRom,
    /// PK: offered to manufacturers.
    PlatformKey,
}

/// A certificate that Microsoft has published.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct KnownCertificate {
    /// The common name.
    pub common_name: &'static str,
    /// What it is for.
    pub purpose: Purpose,
    /// The year of its generation: 2011 or 2023.
    pub generation: u16,
    /// SHA-256 of the DER certificate.
    pub sha256: [u8; 32],
    /// The day after which it is no longer valid, year, month and day; firmware does not look at it.
    pub not_after: (u16, u8, u8),
}

const fn row(
    common_name: &'static str,
    purpose: Purpose,
    generation: u16,
    sha256: &str,
    not_after: (u16, u8, u8),
) -> KnownCertificate {
    KnownCertificate {
        common_name,
        purpose,
        generation,
        sha256: fingerprint(sha256.as_bytes()),
        not_after,
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "runs at compile time, on the literals below only"
)]
const fn fingerprint(text: &[u8]) -> [u8; 32] {
    const fn nibble(c: u8) -> u8 {
        if c <= b'9' { c - b'0' } else { c - b'a' + 10 }
    }
    let mut bytes = [0; 32];
    let mut at = 0;
    while at < 32 {
        bytes[at] = nibble(text[2 * at]) << 4 | nibble(text[2 * at + 1]);
        at += 1;
    }
    bytes
}

/// All of them.
pub static KNOWN: [KnownCertificate; 8] = [
    row(
        "Microsoft Corporation KEK CA 2011",
        Purpose::KeyExchange,
        2011,
        "a1117f516a32cefcba3f2d1ace10a87972fd6bbe8fe0d0b996e09e65d802a503",
        (2026, 6, 24),
    ),
    row(
        "Microsoft Corporation KEK 2K CA 2023",
        Purpose::KeyExchange,
        2023,
        "3cd3f0309edae228767a976dd40d9f4affc4fbd5218f2e8cc3c9dd97e8ac6f9d",
        (2038, 3, 2),
    ),
    row(
        "Microsoft Windows Production PCA 2011",
        Purpose::Windows,
        2011,
        "e8e95f0733a55e8bad7be0a1413ee23c51fcea64b3c8fa6a786935fddcc71961",
        (2026, 10, 19),
    ),
    row(
        "Windows UEFI CA 2023",
        Purpose::Windows,
        2023,
        "076f1fea90ac29155ebf77c17682f75f1fdd1be196da302dc8461e350a9ae330",
        (2035, 6, 13),
    ),
    row(
        "Microsoft Corporation UEFI CA 2011",
        Purpose::ThirdParty,
        2011,
        "48e99b991f57fc52f76149599bff0a58c47154229b9f8d603ac40d3500248507",
        (2026, 6, 27),
    ),
    row(
        "Microsoft UEFI CA 2023",
        Purpose::ThirdParty,
        2023,
        "f6124e34125bee3fe6d79a574eaa7b91c0e7bd9d929c1a321178efd611dad901",
        (2038, 6, 13),
    ),
    row(
        "Microsoft Option ROM UEFI CA 2023",
        Purpose::OptionRom,
        2023,
        "e5be3e64c6e66a281457ecdece0d6d0787577aad2a3a0144262c10c14ba8d8f1",
        (2038, 10, 26),
    ),
    row(
        "Windows OEM Devices PK",
        Purpose::PlatformKey,
        2023,
        "2f569e8edaf9657dc4951c29598725255c7f821472db71374211fe44d082546f",
        (2038, 9, 18),
    ),
];

/// The row of a certificate, when it is one of Microsoft's.
#[must_use]
pub fn identify(certificate: &Certificate) -> Option<&'static KnownCertificate> {
    let fingerprint = certificate.sha256();
    KNOWN.iter().find(|known| known.sha256 == fingerprint)
}

/// Finds Microsoft's certificates in a file: DER, PEM with any number of blocks, signature lists, or an `.auth` file.
///
/// # Examples
///
/// ```no_run
/// # fn demo(file: &[u8], mut plan: efivars::Enrolment) {
/// use efivars::{Guid, microsoft};
/// for (known, certificate) in microsoft::find(file) {
///     plan = match known.purpose {
///         microsoft::Purpose::KeyExchange => plan.kek(Guid::MICROSOFT, &certificate),
///         microsoft::Purpose::ThirdParty => plan.db(Guid::MICROSOFT, &certificate),
///         _ => plan,
///     };
/// }
/// # }
/// ```
#[must_use]
pub fn find(file: &[u8]) -> Vec<(&'static KnownCertificate, Certificate)> {
    certificates(file)
        .into_iter()
        .filter_map(|certificate| Some((identify(&certificate)?, certificate)))
        .collect()
}

fn certificates(file: &[u8]) -> Vec<Certificate> {
    if let Ok(certificate) = Certificate::from_der(file) {
        return alloc::vec![certificate];
    }
    let blocks = core::str::from_utf8(file)
        .ok()
        .and_then(pem::blocks)
        .filter(|blocks| !blocks.is_empty());
    if let Some(blocks) = blocks {
        return blocks
            .iter()
            .filter_map(|block| Certificate::from_der(&block.der).ok())
            .collect();
    }
    let value = AuthenticatedUpdate::parse_lenient(file).map_or(file, |update| update.value());
    SignatureDatabase::parse_lenient(value).map_or_else(
        |_| Vec::new(),
        |db| db.certificates().map(|(_, c)| c).collect(),
    )
}
