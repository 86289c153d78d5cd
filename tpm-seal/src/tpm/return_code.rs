//! Response codes (TPM 2.0 Part 2, clause 6.6).

use super::commands::Failure;
use crate::{Error, Refusal};

/// Our own code for what the library refuses before it reaches the TPM.
pub(crate) const LIBRARY: u32 = 0xffff_0000;

pub(crate) const FAILURE: u32 = 0x101;
pub(crate) const PCR_CHANGED: u32 = 0x128;
pub(crate) const ATTRIBUTES: u32 = 0x082;
pub(crate) const VALUE: u32 = 0x084;
pub(crate) const HIERARCHY: u32 = 0x085;
pub(crate) const KEY_SIZE: u32 = 0x087;
pub(crate) const HANDLE: u32 = 0x08b;
pub(crate) const AUTH_FAIL: u32 = 0x08e;
pub(crate) const SIZE: u32 = 0x095;
pub(crate) const SIGNATURE: u32 = 0x09b;
pub(crate) const KEY: u32 = 0x09c;
pub(crate) const POLICY_FAIL: u32 = 0x09d;
pub(crate) const INTEGRITY: u32 = 0x09f;
pub(crate) const BAD_AUTH: u32 = 0x0a2;
pub(crate) const CURVE: u32 = 0x0a6;
pub(crate) const OBJECT_MEMORY: u32 = 0x902;
pub(crate) const SESSION_MEMORY: u32 = 0x903;
pub(crate) const OBJECT_HANDLES: u32 = 0x906;
pub(crate) const SESSION_HANDLES: u32 = 0x905;
pub(crate) const YIELDED: u32 = 0x908;
pub(crate) const TESTING: u32 = 0x90a;
pub(crate) const LOCKOUT: u32 = 0x921;
pub(crate) const RETRY: u32 = 0x922;
/// The library's own: "in Public name not equal name in response", and its response HMAC check.
const LAYER: u32 = 0x00ff_0000;
const ESYS: u32 = 0x0007_0000;

impl Failure {
    /// The code without the number of the parameter, handle or session that it is about.
    pub(crate) const fn base(self) -> u32 {
        if self.code & LAYER != 0 {
            self.code
        } else if self.code & 0x80 != 0 {
            self.code & 0x0bf
        } else {
            self.code & 0xfff
        }
    }

    /// The TPM is busy and may do the same later.
    pub(crate) const fn is_busy(self) -> bool {
        matches!(self.base(), YIELDED | TESTING | RETRY)
    }

    /// The library found an answer that does not fit: a Name, a response HMAC, a malformed response.
    const fn is_tampering(self) -> bool {
        self.code & LAYER == ESYS
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let Failure { command, code } = failure;
        if failure.is_tampering() {
            let reason = match code & 0xffff {
                0x11 => "its name is not that of its public area",
                0x05 | 0x3a | 0x0c => "it is malformed or its checksum is wrong",
                _ => "the TPM library refuses it",
            };
            return Self::Tampered { command, reason };
        }
        let meaning = match failure.base() {
            FAILURE => "the TPM is in failure mode",
            PCR_CHANGED => "a register changed meanwhile",
            ATTRIBUTES => "wrong attributes",
            VALUE => "a value is out of range",
            HIERARCHY => "the hierarchy is switched off or wrong",
            KEY_SIZE => "the key size is not supported",
            HANDLE => "wrong handle",
            SIZE => "wrong size",
            SIGNATURE => "wrong signature",
            KEY => "wrong key",
            INTEGRITY => "integrity check failed",
            CURVE => "the curve is not supported",
            OBJECT_MEMORY | OBJECT_HANDLES => {
                "no room for another object in the TPM; another program keeps it full"
            }
            SESSION_MEMORY | SESSION_HANDLES => {
                "no room for another session in the TPM; another program keeps it full"
            }
            YIELDED | TESTING | RETRY => "the TPM stayed busy",
            AUTH_FAIL | BAD_AUTH => "wrong authorization",
            POLICY_FAIL => "the policy does not hold",
            LOCKOUT => return Refusal::LockedOut { seconds: 0 }.into(),
            _ if code & LAYER == 0x000a_0000 => "the connection to the TPM broke",
            LIBRARY => "the TPM library refuses the argument or the answer",
            _ => "unexpected error",
        };
        Self::Tpm {
            command,
            code,
            meaning,
        }
    }
}
