//! Why a register has another value than predicted.

mod events;
mod plan;
mod search;
mod variant;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

pub use events::EventDifference;
pub use plan::{PlanCause, PlanExplanation};
pub(crate) use search::usual_paths;

use crate::bank::Digest;
use crate::dialect::Dialect;
use crate::error::Error;
use crate::pcr11::{HardwareChoice, Profile};
use crate::phase::PhasePath;

/// One thing that is not as predicted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Pcr11Cause {
    /// The register was never extended: no stub measured, or the bank is not active.
    NotMeasured,
    /// All bits set: the register was capped, or belongs to a bank that is switched off.
    Capped,
    /// The boot stands elsewhere, or phase words are missing or too many.
    Phase {
        /// The path that was predicted.
        predicted: PhasePath,
        /// The path that fits.
        found: PhasePath,
    },
    /// Another stub measured.
    Dialect {
        /// The dialect of the prediction.
        predicted: Dialect,
        /// A dialect that fits.
        found: Dialect,
    },
    /// Another profile was started.
    Profile {
        /// The profile that was predicted.
        predicted: usize,
        /// The profile that fits.
        found: usize,
    },
    /// The machine picked other hardware-dependent sections.
    Hardware {
        /// The choice that was predicted.
        predicted: HardwareChoice,
        /// The choice that fits.
        found: HardwareChoice,
    },
    /// A section of the UKI was not measured.
    Missing {
        /// Its name.
        section: &'static str,
    },
    /// A section was measured that the UKI does not have, or that is never measured.
    Extra {
        /// Its name.
        section: &'static str,
    },
    /// An empty section was measured with its name. Talos's tool does that; stubs skip it.
    Empty {
        /// Its name.
        section: &'static str,
    },
    /// A section was measured with other content.
    Content {
        /// Its name.
        section: &'static str,
    },
    /// A text section was measured with another ending.
    Ending {
        /// Its name.
        section: &'static str,
        /// What the measured text has in addition, or lacks.
        ending: TextEnding,
    },
    /// The sections were measured in the order of the UKI specification, as a tool computes it that
    /// follows the text and not systemd.
    SpecificationOrder,
    /// The sections were measured in another order.
    Order,
    /// `.dtbauto` and `.hwids` were exchanged: systemd-measure 257 computes it so, no stub does.
    SwappedHardwareSections,
    /// A section was measured with one of the contents that were given as candidates.
    Candidate {
        /// Its name.
        section: &'static str,
    },
    /// A command line was measured with its blanks tidied, as ukify does it with a text but not with
    /// a file.
    Blanks {
        /// Its name.
        section: &'static str,
    },
    /// Another section of the same name was measured: a builder or tool took the wrong one of several.
    Duplicate {
        /// The name.
        section: &'static str,
        /// The profile that the measured one stands in, none for the base.
        profile: Option<usize>,
        /// Its place among those of its name there, from 0.
        ordinal: usize,
    },
    /// A section was measured with zeros at its end: a tool took the padding in the file for content,
    /// or a builder wrote too large a size (ukify 257 did that to kernels in some releases).
    Padded {
        /// Its name.
        section: &'static str,
        /// The length that was measured.
        len: u64,
    },
    /// The names of the sections were hashed without their NUL: a tool's mistake, no stub's.
    NamesWithoutNul,
    /// An event that belongs to no section and no phase.
    UnknownEvent {
        /// Its place among the measured events, from 0.
        index: usize,
    },
}

/// How the end of a text differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TextEnding {
    /// One NUL more.
    ExtraNul,
    /// One line end more.
    ExtraLineEnd,
    /// Without the NULs at its end.
    WithoutNul,
    /// Without the line end.
    WithoutLineEnd,
}

impl fmt::Display for TextEnding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ExtraNul => "with a NUL at its end",
            Self::ExtraLineEnd => "with a line end",
            Self::WithoutNul => "without the NULs at its end",
            Self::WithoutLineEnd => "without its line end",
        })
    }
}

impl fmt::Display for Pcr11Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |path: &PhasePath| {
            if path.is_empty() {
                String::from("the stub's end")
            } else {
                path.as_str().into()
            }
        };
        match self {
            Self::NotMeasured => f.write_str("nothing was measured into the register"),
            Self::Capped => f.write_str("the register is capped or its bank is switched off"),
            Self::Phase { predicted, found } => write!(
                f,
                "the boot stands at {}, not at {}",
                path(found),
                path(predicted)
            ),
            Self::Dialect { predicted, found } => {
                write!(f, "{found} measured, the prediction is for {predicted}")
            }
            Self::Profile { predicted, found } => {
                write!(f, "profile @{found} was started, not @{predicted}")
            }
            Self::Hardware { predicted, found } => write!(
                f,
                "the machine picked hardware sections {found}, not {predicted}"
            ),
            Self::Missing { section } => write!(f, "{section} was not measured"),
            Self::Extra { section } => {
                write!(
                    f,
                    "{section} was measured but is not part of the prediction"
                )
            }
            Self::Empty { section } => write!(
                f,
                "an empty {section} was measured, as Talos's tool does; stubs skip it"
            ),
            Self::Content { section } => write!(f, "{section} has other content"),
            Self::Ending { section, ending } => write!(f, "{section} was measured {ending}"),
            Self::SpecificationOrder => f.write_str(
                "the sections were taken in the order of the UKI specification, not in systemd's",
            ),
            Self::Order => f.write_str("the sections were measured in another order"),
            Self::SwappedHardwareSections => f.write_str(
                ".dtbauto and .hwids are exchanged, as systemd-measure 257 does by mistake",
            ),
            Self::Candidate { section } => {
                write!(f, "{section} has the other content that was given")
            }
            Self::Blanks { section } => {
                write!(
                    f,
                    "{section} was measured with its blanks tidied, as ukify does"
                )
            }
            Self::Duplicate {
                section,
                profile: None,
                ordinal,
            } => write!(f, "{section} number {ordinal} of the base was measured"),
            Self::Duplicate {
                section,
                profile: Some(profile),
                ordinal,
            } => write!(
                f,
                "{section} number {ordinal} of profile @{profile} was measured"
            ),
            Self::Padded { section, len } => {
                write!(f, "{section} was measured with zeros up to {len} bytes")
            }
            Self::NamesWithoutNul => {
                f.write_str("the names of the sections were hashed without their NUL")
            }
            Self::UnknownEvent { index } => {
                write!(f, "event {index} belongs to no section and no phase")
            }
        }
    }
}

/// What explains a measured value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pcr11Explanation {
    /// The value is the predicted one.
    AsPredicted,
    /// These together give exactly the measured value.
    Because(Vec<Pcr11Cause>),
    /// None of the known causes, alone or in the combinations that are tried, gives the value.
    NoKnownCause,
}

/// Causes in one line.
fn write_causes(f: &mut fmt::Formatter<'_>, causes: &[impl fmt::Display]) -> fmt::Result {
    for (index, cause) in causes.iter().enumerate() {
        let separator = if index == 0 { "" } else { "; " };
        write!(f, "{separator}{cause}")?;
    }
    Ok(())
}

impl fmt::Display for Pcr11Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsPredicted => f.write_str("as predicted"),
            Self::Because(causes) => write_causes(f, causes),
            Self::NoKnownCause => f.write_str("none of the known causes fits"),
        }
    }
}

impl Profile<'_> {
    /// Looks for the reason why PCR 11 is `measured` and not what is predicted for this hardware
    /// choice and phase.
    ///
    /// A register is a hash, so causes are tried one after the other, the simple ones first: another
    /// phase, stub, profile or hardware choice, sections left out, added, empty, padded or taken from
    /// elsewhere in the file, text endings, orders, and known defects of tools; then two of these. The
    /// work is bounded to some seconds. Other content of a section cannot be seen in a value:
    /// [`Profile::explain_with`] tries contents that you suspect, [`Profile::explain_events`] sees it
    /// in an event log.
    ///
    /// # Errors
    /// As [`Profile::sections`]; [`Error::MissingDigest`] when the bank was not observed.
    ///
    /// # Examples
    /// ```
    /// use pcr::{Bank, Dialect, HardwareChoice, Pcr11, PhasePath};
    ///
    /// let mut boot = Pcr11::new(Dialect::Systemd257, &[Bank::Sha256]);
    /// boot.observe(".linux", b"kernel");
    /// boot.observe(".uname", b"6.12");
    /// let profile = boot.default_profile();
    /// let old = boot.clone().with_dialect(Dialect::Systemd252);
    /// let measured = old.default_profile().register(HardwareChoice::NONE, Bank::Sha256)?;
    /// let measured = PhasePath::initrd().extend(measured);
    /// let why = profile.explain(HardwareChoice::NONE, &PhasePath::initrd(), measured)?;
    /// assert_eq!(
    ///     why.to_string(),
    ///     "systemd-stub 252 to 253 measured, the prediction is for systemd-stub 257"
    /// );
    /// # Ok::<(), pcr::Error>(())
    /// ```
    pub fn explain(
        &self,
        hardware: HardwareChoice,
        phase: &PhasePath,
        measured: Digest,
    ) -> Result<Pcr11Explanation, Error> {
        search::explain(self, hardware, phase, measured, &[])
    }

    /// As [`Profile::explain`], and tries other contents of sections: a command line that somebody
    /// may have edited, the initrd of the last release.
    ///
    /// # Errors
    /// As [`Profile::explain`].
    ///
    /// # Examples
    /// ```
    /// use pcr::{Bank, Dialect, HardwareChoice, Pcr11, PhasePath};
    ///
    /// let boot = |cmdline: &[u8]| {
    ///     let mut boot = Pcr11::new(Dialect::Systemd257, &[Bank::Sha256]);
    ///     boot.observe(".linux", b"kernel");
    ///     boot.observe(".cmdline", cmdline);
    ///     boot
    /// };
    /// let (stub, choice) = (PhasePath::stub(), HardwareChoice::NONE);
    /// let measured = boot(b"debug").default_profile().register(choice, Bank::Sha256)?;
    /// let suspects: [(&str, &[u8]); 2] = [(".cmdline", b"single"), (".cmdline", b"debug")];
    /// let quiet = boot(b"quiet");
    /// let why = quiet.default_profile().explain_with(choice, &stub, measured, &suspects)?;
    /// assert_eq!(why.to_string(), ".cmdline has the other content that was given");
    /// # Ok::<(), pcr::Error>(())
    /// ```
    pub fn explain_with(
        &self,
        hardware: HardwareChoice,
        phase: &PhasePath,
        measured: Digest,
        candidates: &[(&str, &[u8])],
    ) -> Result<Pcr11Explanation, Error> {
        search::explain(self, hardware, phase, measured, candidates)
    }

    /// Compares the events of PCR 11, one digest each, with the prediction for this hardware choice
    /// and phase. An empty answer means that they are as predicted.
    ///
    /// The digests are those of one bank, as an event log has them; words of userspace may be left
    /// out, since they stand in no firmware log.
    ///
    /// # Errors
    /// As [`Profile::sections`]; [`Error::MissingDigest`] when the bank was not observed.
    pub fn explain_events(
        &self,
        hardware: HardwareChoice,
        phase: &PhasePath,
        measured: &[Digest],
    ) -> Result<Vec<Pcr11Cause>, Error> {
        events::explain(self, hardware, phase, measured)
    }
}
