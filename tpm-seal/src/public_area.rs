//! Public areas: what a TPM tells about an object, and what its Name is computed from.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use core::fmt;

use crate::wire::{Reader, tpm2b};
use crate::{Bank, Error, Name};

const ALG_RSA: u16 = 0x0001;
const ALG_KEYEDHASH: u16 = 0x0008;
const ALG_ECC: u16 = 0x0023;
const ALG_NULL: u16 = 0x0010;
const ALG_AES: u16 = 0x0006;
const ALG_CFB: u16 = 0x0043;
pub(crate) const CURVE_P256: u16 = 0x0003;

/// `fixedTPM`
pub(crate) const FIXED_TPM: u32 = 1 << 1;
/// `fixedParent`
pub(crate) const FIXED_PARENT: u32 = 1 << 4;
/// `userWithAuth`
pub(crate) const USER_WITH_AUTH: u32 = 1 << 6;
/// `noDA`
pub(crate) const NO_DA: u32 = 1 << 10;
/// `restricted` and `decrypt`
const STORAGE: u32 = 1 << 16 | 1 << 17;

/// The kind of an object, with what this crate needs of it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Rsa { bits: u16, modulus: Vec<u8> },
    Ecc { curve: u16, x: Vec<u8>, y: Vec<u8> },
    KeyedHash { unique: Vec<u8> },
}

/// The public area of a TPM object (`TPMT_PUBLIC`): of a storage root key or a sealed object.
///
/// ```
/// # let bytes = [&[0x00, 0x2e, 0x00, 0x08, 0x00, 0x0b, 0, 0, 0x04, 0x12, 0, 0][..], &[0x00, 0x10, 0x00, 0x20], &[7; 32]].concat();
/// use tpm_seal::PublicArea;
///
/// let public = PublicArea::parse(&bytes)?; // a file made by `tpm2_readpublic -o` or `systemd-analyze srk`
/// println!("{}", public.name());
/// # Ok::<(), tpm_seal::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PublicArea {
    bytes: Vec<u8>,
    attributes: u32,
    auth_policy: Vec<u8>,
    kind: Kind,
    cipher: Option<Cipher>,
}

/// The symmetric algorithm by which a storage key protects its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cipher {
    algorithm: u16,
    bits: u16,
    mode: u16,
}

const AES_128_CFB: Cipher = Cipher {
    algorithm: ALG_AES,
    bits: 128,
    mode: ALG_CFB,
};

impl PublicArea {
    /// Reads a `TPM2B_PUBLIC`: the size and the area.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Trailing`] and [`Error::Unexpected`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new("TPM2B_PUBLIC", bytes);
        let area = reader.tpm2b()?;
        reader.finish()?;
        Self::parse_area(area)
    }

    /// Reads a `TPMT_PUBLIC`: the area without its size.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_area(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new("TPMT_PUBLIC", bytes);
        let algorithm = reader.u16()?;
        let name_algorithm = reader.u16()?;
        if name_algorithm != Bank::Sha256.algorithm_id() {
            return Err(reader.unexpected("nameAlg", name_algorithm.into()));
        }
        let attributes = reader.u32()?;
        let auth_policy = reader.tpm2b()?.to_vec();
        let mut cipher = None;
        let kind = match algorithm {
            ALG_RSA => {
                cipher = symmetric(&mut reader)?;
                scheme(&mut reader)?;
                let bits = reader.u16()?;
                reader.u32()?;
                Kind::Rsa {
                    bits,
                    modulus: reader.tpm2b()?.to_vec(),
                }
            }
            ALG_ECC => {
                cipher = symmetric(&mut reader)?;
                scheme(&mut reader)?;
                let curve = reader.u16()?;
                scheme(&mut reader)?;
                Kind::Ecc {
                    curve,
                    x: reader.tpm2b()?.to_vec(),
                    y: reader.tpm2b()?.to_vec(),
                }
            }
            ALG_KEYEDHASH => {
                scheme(&mut reader)?;
                Kind::KeyedHash {
                    unique: reader.tpm2b()?.to_vec(),
                }
            }
            other => return Err(reader.unexpected("type", other.into())),
        };
        reader.finish()?;
        Ok(Self {
            bytes: bytes.to_vec(),
            attributes,
            auth_policy,
            kind,
            cipher,
        })
    }

    /// A sealed object: KEYEDHASH without a scheme. `unique` is empty in a template.
    pub(crate) fn sealed(attributes: u32, auth_policy: &[u8], unique: &[u8]) -> Self {
        let mut bytes = head(ALG_KEYEDHASH, attributes, auth_policy);
        bytes.extend(ALG_NULL.to_be_bytes());
        bytes.extend(tpm2b(unique));
        Self {
            bytes,
            attributes,
            auth_policy: auth_policy.to_vec(),
            kind: Kind::KeyedHash {
                unique: unique.to_vec(),
            },
            cipher: None,
        }
    }

    /// A P-256 storage key with this point, or the template of one.
    pub(crate) fn ecc_storage(attributes: u32, x: &[u8], y: &[u8]) -> Self {
        let mut bytes = head(ALG_ECC, attributes, &[]);
        bytes.extend(aes_128_cfb());
        for value in [ALG_NULL, CURVE_P256, ALG_NULL] {
            bytes.extend(value.to_be_bytes());
        }
        bytes.extend(tpm2b(x));
        bytes.extend(tpm2b(y));
        let kind = Kind::Ecc {
            curve: CURVE_P256,
            x: x.to_vec(),
            y: y.to_vec(),
        };
        Self {
            bytes,
            attributes,
            auth_policy: Vec::new(),
            kind,
            cipher: Some(AES_128_CFB),
        }
    }

    /// The template of an RSA 2048 storage key.
    pub(crate) fn rsa_storage(attributes: u32) -> Self {
        let mut bytes = head(ALG_RSA, attributes, &[]);
        bytes.extend(aes_128_cfb());
        bytes.extend(ALG_NULL.to_be_bytes());
        bytes.extend(2048_u16.to_be_bytes());
        bytes.extend(0_u32.to_be_bytes());
        bytes.extend(tpm2b(&[]));
        let kind = Kind::Rsa {
            bits: 2048,
            modulus: Vec::new(),
        };
        Self {
            bytes,
            attributes,
            auth_policy: Vec::new(),
            kind,
            cipher: Some(AES_128_CFB),
        }
    }

    /// The Name: always computed from the bytes, never taken from anywhere else.
    #[must_use]
    pub fn name(&self) -> Name {
        Name::of(&self.bytes)
    }

    /// `TPMT_PUBLIC`, without a size before it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// `TPM2B_PUBLIC`, with the size.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        tpm2b(&self.bytes)
    }

    /// `objectAttributes` as it is on the wire.
    #[must_use]
    pub const fn attributes(&self) -> u32 {
        self.attributes
    }

    /// The policy digest that a use of the object needs; empty if none.
    #[must_use]
    pub fn auth_policy(&self) -> &[u8] {
        &self.auth_policy
    }

    /// Whether this is an ECC key.
    #[must_use]
    pub const fn is_ecc(&self) -> bool {
        matches!(self.kind, Kind::Ecc { .. })
    }

    pub(crate) const fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Key bits of AES in CFB mode, if that is what protects the children of this storage key.
    pub(crate) const fn aes_bits(&self) -> Option<u16> {
        match self.cipher {
            Some(Cipher {
                algorithm: ALG_AES,
                bits,
                mode: ALG_CFB,
            }) => Some(bits),
            _ => None,
        }
    }

    pub(crate) const fn is_sealed_object(&self) -> bool {
        matches!(self.kind, Kind::KeyedHash { .. })
    }

    /// A restricted decryption key, as parents are.
    pub(crate) const fn is_storage_key(&self) -> bool {
        self.attributes & STORAGE == STORAGE && !self.is_sealed_object()
    }

    /// The template that a primary key with this public area was made from, if its `unique` was empty.
    pub(crate) fn as_template(&self) -> Option<Self> {
        let template = match &self.kind {
            Kind::Ecc { .. } => Self::ecc_storage(self.attributes, &[], &[]),
            Kind::Rsa { .. } => Self::rsa_storage(self.attributes),
            Kind::KeyedHash { .. } => return None,
        };
        Some(template)
    }
}

impl fmt::Debug for PublicArea {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Rsa { bits, .. } => format!("RSA {bits}"),
            Kind::Ecc { curve, .. } => format!("ECC curve {curve:#06x}"),
            Kind::KeyedHash { .. } => "sealed object".to_owned(),
        };
        write!(
            f,
            "PublicArea({kind}, attributes {:#010x}, {})",
            self.attributes,
            self.name()
        )
    }
}

fn head(algorithm: u16, attributes: u32, auth_policy: &[u8]) -> Vec<u8> {
    let mut bytes = algorithm.to_be_bytes().to_vec();
    bytes.extend(Bank::Sha256.algorithm_id().to_be_bytes());
    bytes.extend(attributes.to_be_bytes());
    bytes.extend(tpm2b(auth_policy));
    bytes
}

fn aes_128_cfb() -> impl Iterator<Item = u8> {
    let Cipher {
        algorithm,
        bits,
        mode,
    } = AES_128_CFB;
    [algorithm, bits, mode]
        .into_iter()
        .flat_map(u16::to_be_bytes)
}

/// `TPMT_SYM_DEF_OBJECT`: nothing, or an algorithm with key bits and mode.
fn symmetric(reader: &mut Reader<'_>) -> Result<Option<Cipher>, Error> {
    let algorithm = reader.u16()?;
    if algorithm == ALG_NULL {
        return Ok(None);
    }
    Ok(Some(Cipher {
        algorithm,
        bits: reader.u16()?,
        mode: reader.u16()?,
    }))
}

/// A scheme: nothing, or an algorithm with one hash. Schemes with more are for keys that are never met here.
fn scheme(reader: &mut Reader<'_>) -> Result<(), Error> {
    let algorithm = reader.u16()?;
    match algorithm {
        ALG_NULL => Ok(()),
        0x0005 | 0x0014 | 0x0016 | 0x0017 | 0x0018 => reader.u16().map(drop),
        other => Err(reader.unexpected("scheme", other.into())),
    }
}
