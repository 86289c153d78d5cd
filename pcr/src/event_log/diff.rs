//! What differs between two logs.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::data::EventData;
use super::{Event, EventLog};

/// Most cells of the table that finds a shortest difference; longer stretches are compared position by position.
const MAX_CELLS: usize = 1 << 20;

/// One difference between two logs. Events of different registers have no order among each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogDifference<'a> {
    /// Only the first log has this event.
    Removed(&'a Event),
    /// Only the second log has this event.
    Added(&'a Event),
    /// Both logs have an event of this kind here (same register, type and variable), with other content.
    Changed(&'a Event, &'a Event),
}

impl<'a> LogDifference<'a> {
    /// The number of the register that differs.
    #[must_use]
    pub const fn pcr_index(&self) -> u32 {
        match self {
            Self::Removed(event) | Self::Added(event) | Self::Changed(event, _) => {
                event.pcr_index()
            }
        }
    }

    /// The event of the first log, if it has one.
    #[must_use]
    pub const fn before(&self) -> Option<&'a Event> {
        match self {
            Self::Removed(event) | Self::Changed(event, _) => Some(event),
            Self::Added(_) => None,
        }
    }

    /// The event of the second log, if it has one.
    #[must_use]
    pub const fn after(&self) -> Option<&'a Event> {
        match self {
            Self::Added(event) | Self::Changed(_, event) => Some(event),
            Self::Removed(_) => None,
        }
    }
}

pub(super) fn diff<'a>(before: &'a EventLog, after: &'a EventLog) -> Vec<LogDifference<'a>> {
    let mut registers: BTreeMap<u32, (Vec<&Event>, Vec<&Event>)> = BTreeMap::new();
    for event in before.events() {
        registers
            .entry(event.pcr_index())
            .or_default()
            .0
            .push(event);
    }
    for event in after.events() {
        registers
            .entry(event.pcr_index())
            .or_default()
            .1
            .push(event);
    }
    let mut differences = Vec::new();
    for (before, after) in registers.values() {
        one_register(before, after, &mut differences);
    }
    differences
}

/// Equal in type, data, and in the digests that both have: the logs may have different banks.
fn same(one: &Event, other: &Event) -> bool {
    let agree = |digest: &super::EventDigest| {
        let of_same_bank =
            |other: &&super::EventDigest| other.algorithm_id() == digest.algorithm_id();
        other
            .digests()
            .iter()
            .find(of_same_bank)
            .is_none_or(|other| other == digest)
    };
    one.event_type() == other.event_type()
        && one.data() == other.data()
        && one.digests().iter().all(agree)
}

fn one_register<'a>(before: &[&'a Event], after: &[&'a Event], out: &mut Vec<LogDifference<'a>>) {
    let start = before
        .iter()
        .zip(after)
        .take_while(|(one, other)| same(one, other))
        .count();
    let (before, after) = (
        before.get(start..).unwrap_or_default(),
        after.get(start..).unwrap_or_default(),
    );
    let end = before
        .iter()
        .rev()
        .zip(after.iter().rev())
        .take_while(|(one, other)| same(one, other))
        .count();
    let before = before
        .get(..before.len().saturating_sub(end))
        .unwrap_or_default();
    let after = after
        .get(..after.len().saturating_sub(end))
        .unwrap_or_default();
    let mut removed: Vec<&Event> = Vec::new();
    let mut added: Vec<&Event> = Vec::new();
    for step in steps(before, after) {
        match step {
            Step::Both => pair(&mut removed, &mut added, out),
            Step::Before(event) => removed.push(event),
            Step::After(event) => added.push(event),
        }
    }
    pair(&mut removed, &mut added, out);
}

/// Makes changes of a stretch of removed and added events, in order.
fn pair<'a>(
    removed: &mut Vec<&'a Event>,
    added: &mut Vec<&'a Event>,
    out: &mut Vec<LogDifference<'a>>,
) {
    let mut added = added.drain(..).peekable();
    for before in removed.drain(..) {
        match added.next_if(|after| same_kind(before, after)) {
            Some(after) => out.push(LogDifference::Changed(before, after)),
            None => out.push(LogDifference::Removed(before)),
        }
    }
    out.extend(added.map(LogDifference::Added));
}

fn same_kind(one: &Event, other: &Event) -> bool {
    let variable = |event: &Event| match event.decoded() {
        EventData::Variable(variable) => Some((variable.guid, variable.name)),
        _ => None,
    };
    one.event_type() == other.event_type() && variable(one) == variable(other)
}

enum Step<'a> {
    Both,
    Before(&'a Event),
    After(&'a Event),
}

/// A longest common subsequence, read forwards.
fn steps<'a>(before: &[&'a Event], after: &[&'a Event]) -> Vec<Step<'a>> {
    let width = after.len().saturating_add(1);
    let cells = before.len().saturating_add(1).checked_mul(width);
    let mut steps = Vec::new();
    let Some(cells) = cells.filter(|cells| *cells <= MAX_CELLS) else {
        steps.extend(before.iter().map(|event| Step::Before(event)));
        steps.extend(after.iter().map(|event| Step::After(event)));
        return steps;
    };
    let at = |row: usize, column: usize| row.saturating_mul(width).saturating_add(column);
    let mut lengths: Vec<u32> = alloc::vec![0; cells];
    let cell = |lengths: &[u32], row: usize, column: usize| {
        lengths.get(at(row, column)).copied().unwrap_or_default()
    };
    for (row, one) in before.iter().enumerate().rev() {
        for (column, other) in after.iter().enumerate().rev() {
            let (below, right) = (row.saturating_add(1), column.saturating_add(1));
            let length = if same(one, other) {
                cell(&lengths, below, right).saturating_add(1)
            } else {
                cell(&lengths, below, column).max(cell(&lengths, row, right))
            };
            if let Some(target) = lengths.get_mut(at(row, column)) {
                *target = length;
            }
        }
    }
    let (mut row, mut column) = (0_usize, 0_usize);
    while let (Some(one), Some(other)) = (before.get(row), after.get(column)) {
        let (below, right) = (row.saturating_add(1), column.saturating_add(1));
        if same(one, other) {
            steps.push(Step::Both);
            (row, column) = (below, right);
        } else if cell(&lengths, below, column) >= cell(&lengths, row, right) {
            steps.push(Step::Before(one));
            row = below;
        } else {
            steps.push(Step::After(other));
            column = right;
        }
    }
    steps.extend(
        before
            .get(row..)
            .unwrap_or_default()
            .iter()
            .map(|event| Step::Before(event)),
    );
    steps.extend(
        after
            .get(column..)
            .unwrap_or_default()
            .iter()
            .map(|event| Step::After(event)),
    );
    steps
}
