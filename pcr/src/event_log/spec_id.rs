//! The Spec ID event, the first record of a log.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use super::error::EventLogError;
use super::event::algorithm_size;
use super::reader::Reader;
use crate::bank::Bank;

const SIGNATURE_03: &[u8; 16] = b"Spec ID Event03\0";
const SIGNATURE_02: &[u8; 16] = b"Spec ID Event02\0";
const SIGNATURE_00: &[u8; 16] = b"Spec ID Event00\0";

/// Most algorithms that a log may declare; TPMs have at most five banks.
pub(super) const MAX_ALGORITHMS: u32 = 16;

/// Which layout the records of a log have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogFormat {
    /// `TCG_PCR_EVENT2` records with one digest a bank, after a Spec ID event ("Spec ID Event03").
    CryptoAgile,
    /// `TCG_PCR_EVENT` records with SHA-1 digests, of EFI ("Spec ID Event02"), BIOS ("Spec ID Event00"), or
    /// without any Spec ID event.
    Sha1Only,
}

/// The Spec ID event (`TCG_EfiSpecIDEvent`, TCG PC Client PFP 1.06, 10.4.5.1).
///
/// | offset | size | field |
/// | --- | --- | --- |
/// | 0 | 16 | signature |
/// | 16 | 4 | platform class |
/// | 20 | 3 | version: minor, major, errata |
/// | 23 | 1 | size of UINTN: 1 is 32 bit, 2 is 64 bit |
/// | 24 | 4 | number of algorithms, then for each its identifier (2) and digest size (2) |
/// | … | 1 | size of vendor info, then vendor info |
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SpecId {
    /// The layout of the records that follow.
    pub format: LogFormat,
    /// 0 for a client, 1 for a server.
    pub platform_class: u32,
    /// Major and minor version, and errata, of the specification.
    pub version: (u8, u8, u8),
    /// 1 when the firmware is of 32 bit, 2 when of 64 bit; 0 in BIOS logs.
    pub uintn_size: u8,
    /// `TPM_ALG_ID` and digest size of each bank, in the log's order.
    pub algorithms: Vec<(u16, u16)>,
    /// Bytes of the vendor.
    pub vendor_info: Vec<u8>,
}

impl SpecId {
    /// What edk2 writes on 64-bit clients for these banks.
    #[must_use]
    pub fn crypto_agile(banks: &[Bank]) -> Self {
        Self {
            format: LogFormat::CryptoAgile,
            platform_class: 0,
            version: (2, 0, 0),
            uintn_size: 2,
            algorithms: banks
                .iter()
                .map(|bank| {
                    let size = u16::try_from(bank.digest_len()).unwrap_or(u16::MAX);
                    (bank.algorithm_id(), size)
                })
                .collect(),
            vendor_info: Vec::new(),
        }
    }

    /// Reads the data of a first record; `None` when it is no Spec ID event.
    pub(super) fn parse(data: &[u8]) -> Result<Option<Self>, EventLogError> {
        let mut reader = Reader::new(data);
        let Ok(signature) = reader.take("signature", 16) else {
            return Ok(None);
        };
        let agile = signature == SIGNATURE_03;
        if !agile && signature != SIGNATURE_02 && signature != SIGNATURE_00 {
            return Ok(None);
        }
        let platform_class = reader.u32("platform class")?;
        let minor = reader.u8("specification version")?;
        let major = reader.u8("specification version")?;
        let errata = reader.u8("specification errata")?;
        let uintn_size = reader.u8("UINTN size")?;
        let algorithms = if agile {
            Self::algorithms(&mut reader)?
        } else {
            Vec::from([(Bank::Sha1.algorithm_id(), 20)])
        };
        let vendor_len = reader.u8("vendor info size")?;
        let vendor_info = reader.take("vendor info", u64::from(vendor_len))?.to_vec();
        Ok(Some(Self {
            format: if agile {
                LogFormat::CryptoAgile
            } else {
                LogFormat::Sha1Only
            },
            platform_class,
            version: (major, minor, errata),
            uintn_size,
            algorithms,
            vendor_info,
        }))
    }

    fn algorithms(reader: &mut Reader<'_>) -> Result<Vec<(u16, u16)>, EventLogError> {
        let count = reader.u32("number of algorithms")?;
        if count == 0 || count > MAX_ALGORITHMS {
            return Err(EventLogError::AlgorithmCount {
                found: count,
                limit: MAX_ALGORITHMS,
            });
        }
        let mut algorithms: Vec<(u16, u16)> = Vec::new();
        for _ in 0..count {
            let offset = reader.offset();
            let algorithm = reader.u16("algorithm identifier")?;
            let size = reader.u16("digest size")?;
            let expected = algorithm_size(algorithm);
            if size == 0 || expected.is_some_and(|expected| expected != size) {
                return Err(EventLogError::AlgorithmSize {
                    algorithm,
                    found: size,
                    expected: expected.unwrap_or(1),
                });
            }
            if algorithms.iter().any(|(known, _)| *known == algorithm) {
                return Err(EventLogError::DuplicateAlgorithm { algorithm, offset });
            }
            algorithms.push((algorithm, size));
        }
        Ok(algorithms)
    }

    /// The event data of the first record.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let agile = self.format == LogFormat::CryptoAgile;
        let (major, minor, errata) = self.version;
        let mut bytes = Vec::new();
        bytes.extend_from_slice(if agile {
            SIGNATURE_03
        } else if self.uintn_size == 0 {
            SIGNATURE_00
        } else {
            SIGNATURE_02
        });
        bytes.extend_from_slice(&self.platform_class.to_le_bytes());
        bytes.extend_from_slice(&[minor, major, errata, self.uintn_size]);
        if agile {
            let count = u32::try_from(self.algorithms.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&count.to_le_bytes());
            for (algorithm, size) in &self.algorithms {
                bytes.extend_from_slice(&algorithm.to_le_bytes());
                bytes.extend_from_slice(&size.to_le_bytes());
            }
        }
        let vendor = self.vendor_info.get(..255).unwrap_or(&self.vendor_info);
        bytes.push(u8::try_from(vendor.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(vendor);
        bytes
    }
}
