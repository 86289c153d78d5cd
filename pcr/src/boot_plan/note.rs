//! What a plan leaves out.

use alloc::string::String;
use core::fmt;

use crate::bank::Register;

/// Something that a reader of a plan should know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PlanNote {
    /// The stub is unknown; the plan follows the newest known one.
    UnknownStub,
    /// The register is not predicted.
    Undetermined {
        /// The register.
        register: Register,
        /// What is missing.
        why: &'static str,
    },
    /// The register is predicted, but something outside the plan may extend it further.
    Assumed {
        /// The register.
        register: Register,
        /// What is assumed.
        why: &'static str,
    },
    /// A file or text that was given has no effect.
    Ignored {
        /// What was given.
        what: String,
        /// Why it has no effect.
        why: &'static str,
    },
}

impl fmt::Display for PlanNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownStub => f.write_str(
                "the stub is unknown, predictions follow systemd-stub 258 to 262 and may differ",
            ),
            Self::Undetermined { register, why } => {
                write!(f, "PCR {register} is not predicted: {why}")
            }
            Self::Assumed { register, why } => write!(f, "PCR {register}: {why}"),
            Self::Ignored { what, why } => write!(f, "{what} has no effect: {why}"),
        }
    }
}
