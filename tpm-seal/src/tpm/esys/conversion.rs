//! Between this crate's terms and tss-esapi's: selections, tickets, errors.

use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::{PcrSelectionList, PcrSlot, VerifiedTicket};

use crate::tpm::commands::Failure;
use crate::tpm::return_code::LIBRARY;
use crate::{Bank, Error, PcrSelection, Tcti};

/// Why the TPM cannot be reached: the module that the TCTI names, or what is behind it.
pub(super) fn unreachable(tcti: &Tcti, code: u32) -> Error {
    let device = tcti.as_str().strip_prefix("device:");
    let reason = match device.map(std::path::Path::new) {
        Some(path) if !path.exists() => "the device does not exist",
        Some(path)
            if std::fs::File::options()
                .read(true)
                .write(true)
                .open(path)
                .is_err() =>
        {
            "no permission to open the device, or it is in use (run as root or as a member of group tss)"
        }
        // The loader's "not found" codes.
        _ if code & 0xffff == 0x0a || code & 0xffff == 0x1 && code & 0x00ff_0000 == 0x000d_0000 => {
            "libtss2's module for this TCTI could not be loaded or gets no answer (packages libtss2-tcti-*)"
        }
        Some(_) => "the device does not answer",
        None => {
            "nothing answers there, or libtss2's module for this TCTI is missing (packages libtss2-tcti-*)"
        }
    };
    Error::Unreachable {
        tcti: tcti.to_string(),
        reason,
    }
}

/// The number behind an error; the library shows it only as text.
pub(super) fn code_of(error: &tss_esapi::Error) -> u32 {
    let tss_esapi::Error::Tss2Error(response) = error else {
        return LIBRARY;
    };
    core::error::Error::source(response)
        .map(ToString::to_string)
        .and_then(|text| u32::from_str_radix(text.rsplit("0x").next()?, 16).ok())
        .unwrap_or(LIBRARY)
}

pub(super) fn named(command: &'static str) -> impl Fn(tss_esapi::Error) -> Failure {
    move |error| Failure {
        command,
        code: code_of(&error),
    }
}

pub(super) fn selection_list(
    selection: PcrSelection,
) -> Result<PcrSelectionList, tss_esapi::Error> {
    let slots: Result<Vec<PcrSlot>, _> = selection
        .pcrs()
        .map(|pcr| PcrSlot::try_from(1_u32 << pcr))
        .collect();
    PcrSelectionList::builder()
        .with_selection(hashing_algorithm(selection.bank()), &slots?)
        .build()
}

pub(super) const fn hashing_algorithm(bank: Bank) -> HashingAlgorithm {
    match bank {
        Bank::Sha1 => HashingAlgorithm::Sha1,
        Bank::Sha256 => HashingAlgorithm::Sha256,
        Bank::Sha384 => HashingAlgorithm::Sha384,
        Bank::Sha512 => HashingAlgorithm::Sha512,
    }
}

pub(super) fn numbers(slots: &[PcrSlot]) -> Vec<u8> {
    // A slot is a one-bit mask.
    slots
        .iter()
        .filter_map(|&slot| u8::try_from(u32::from(slot).trailing_zeros()).ok())
        .collect()
}

/// What a trial session takes for a ticket.
pub(super) fn empty_ticket() -> Result<VerifiedTicket, tss_esapi::Error> {
    VerifiedTicket::try_from(tss_esapi::tss2_esys::TPMT_TK_VERIFIED {
        tag: tss_esapi::constants::StructureTag::Verified.into(),
        hierarchy: tss_esapi::constants::tss::TPM2_RH_OWNER,
        digest: Default::default(),
    })
}
