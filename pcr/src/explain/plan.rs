//! Why a register of a plan has another value.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::bank::{Digest, Register};
use crate::boot_plan::{BootPlan, PlannedEvent};

/// One thing about a register that is not as planned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PlanCause {
    /// The register was never extended.
    NotMeasured,
    /// All bits set: the register was capped, or belongs to a bank that is switched off.
    Capped,
    /// A measurement of the plan was not made.
    Missing {
        /// What should have been measured.
        what: String,
    },
    /// A measurement of the plan was made twice.
    Repeated {
        /// What was measured.
        what: String,
    },
    /// Two measurements that follow each other were made in the other order.
    Exchanged {
        /// What was planned to come first.
        first: String,
        /// What was planned to come after it.
        second: String,
    },
    /// Userspace of systemd 261 or later has closed the register with `os-separator`.
    OsSeparator,
}

impl fmt::Display for PlanCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMeasured => f.write_str("nothing was measured into the register"),
            Self::Capped => f.write_str("the register is capped or its bank is switched off"),
            Self::Missing { what } => write!(f, "predicted but not measured: {what}"),
            Self::Repeated { what } => write!(f, "measured twice: {what}"),
            Self::Exchanged { first, second } => {
                write!(f, "measured in the other order: {first}, {second}")
            }
            Self::OsSeparator => {
                f.write_str("the running system has closed the register with os-separator")
            }
        }
    }
}

/// What explains a measured value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanExplanation {
    /// The value is the predicted one.
    AsPredicted,
    /// These together give exactly the measured value.
    Because(Vec<PlanCause>),
    /// None of the known causes gives the value.
    NoKnownCause,
    /// The plan does not determine the register, or lacks the bank.
    Undetermined,
}

impl fmt::Display for PlanExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsPredicted => f.write_str("as predicted"),
            Self::Because(causes) => super::write_causes(f, causes),
            Self::NoKnownCause => f.write_str("none of the known causes fits"),
            Self::Undetermined => f.write_str("not predicted, so there is nothing to explain"),
        }
    }
}

/// More events than this are left out one at a time only.
const MAX_COMBINED: usize = 24;

impl BootPlan {
    /// Looks for the reason why a register is `measured` and not what is planned: up to three
    /// measurements that were not made, one made twice, two exchanged, and `os-separator`.
    ///
    /// For PCR 11, [`Profile::explain`](crate::Profile::explain) knows far more.
    ///
    /// # Examples
    /// ```
    /// use pcr::{Bank, BootPlan, Dialect, Pcr11, Register};
    ///
    /// let mut boot = Pcr11::new(Dialect::Systemd257, &[Bank::Sha256]);
    /// boot.observe(".linux", b"kernel");
    /// let plan = |options| BootPlan::builder(&boot).passed_options(options).local_file("a.cred", b"x").build();
    /// let config = Register::KERNEL_CONFIG;
    /// let without = BootPlan::builder(&boot).local_file("a.cred", b"x").build()?;
    /// let measured = without.register(config, Bank::Sha256).expect("known");
    /// assert_eq!(
    ///     plan("quiet")?.explain(config, measured).to_string(),
    ///     "predicted but not measured: passed command line"
    /// );
    /// # Ok::<(), pcr::Error>(())
    /// ```
    #[must_use]
    pub fn explain(&self, register: Register, measured: Digest) -> PlanExplanation {
        let bank = measured.bank();
        let Some(value) = self.register(register, bank) else {
            return PlanExplanation::Undetermined;
        };
        if measured == value || self.register_at_stub(register, bank) == Some(measured) {
            return PlanExplanation::AsPredicted;
        }
        let because = |cause| PlanExplanation::Because([cause].into());
        let reset = register.reset_value(bank);
        if measured == reset {
            return because(PlanCause::NotMeasured);
        }
        if measured == Digest::ones(bank) {
            return because(PlanCause::Capped);
        }
        let events: Vec<Planned<'_>> = self
            .events()
            .iter()
            .filter(|event| event.register() == register && !event.is_phase())
            .filter_map(|event| Some((*event.digest(bank).ok()?, event)))
            .collect();
        let separator = bank.hash(b"os-separator");
        let fits = |events: &[Planned<'_>], mut causes: Vec<PlanCause>| {
            let extend = |value: Digest, (digest, _): &Planned<'_>| value.extended(digest);
            let value = events.iter().fold(reset, extend);
            if value.extended(&separator) == measured {
                causes.push(PlanCause::OsSeparator);
                return Some(PlanExplanation::Because(causes));
            }
            (value == measured).then_some(PlanExplanation::Because(causes))
        };
        fits(&events, Vec::new())
            .or_else(|| with_fewer(&events, &fits))
            .or_else(|| with_repeated(&events, &fits))
            .or_else(|| with_exchanged(&events, &fits))
            .unwrap_or(PlanExplanation::NoKnownCause)
    }
}

type Planned<'a> = (Digest, &'a PlannedEvent);
type Fits<'f> = dyn Fn(&[Planned<'_>], Vec<PlanCause>) -> Option<PlanExplanation> + 'f;

/// One to three events left out.
fn with_fewer(events: &[Planned<'_>], fits: &Fits<'_>) -> Option<PlanExplanation> {
    let most = if events.len() > MAX_COMBINED { 1 } else { 3 };
    (1..=most).find_map(|count| without(events, 0, count, &mut Vec::new(), fits))
}

/// `count` events from `from` on left out, besides those in `left_out`.
fn without<'a>(
    events: &[Planned<'a>],
    from: usize,
    count: usize,
    left_out: &mut Vec<(usize, &'a PlannedEvent)>,
    fits: &Fits<'_>,
) -> Option<PlanExplanation> {
    if count == 0 {
        let rest: Vec<Planned<'_>> = events
            .iter()
            .enumerate()
            .filter(|(index, _)| !left_out.iter().any(|(left, _)| left == index))
            .map(|(_, event)| *event)
            .collect();
        let missing = |(_, event): &(usize, &PlannedEvent)| PlanCause::Missing {
            what: event.what().into(),
        };
        return fits(&rest, left_out.iter().map(missing).collect());
    }
    events
        .iter()
        .enumerate()
        .skip(from)
        .find_map(|(index, (_, event))| {
            left_out.push((index, *event));
            let next = index.saturating_add(1);
            let found = without(events, next, count.saturating_sub(1), left_out, fits);
            left_out.pop();
            found
        })
}

fn with_repeated(events: &[Planned<'_>], fits: &Fits<'_>) -> Option<PlanExplanation> {
    events.iter().enumerate().find_map(|(index, event)| {
        let mut more = events.to_vec();
        more.insert(index, *event);
        let what = event.1.what().into();
        fits(&more, [PlanCause::Repeated { what }].into())
    })
}

fn with_exchanged(events: &[Planned<'_>], fits: &Fits<'_>) -> Option<PlanExplanation> {
    (1..events.len()).find_map(|index| {
        let before = index.checked_sub(1)?;
        let mut other = events.to_vec();
        other.swap(before, index);
        let what = |at: usize| Some(String::from(events.get(at)?.1.what()));
        let (first, second) = (what(before)?, what(index)?);
        fits(&other, [PlanCause::Exchanged { first, second }].into())
    })
}
