//! Collecting findings without letting an image make too many.

use std::collections::BTreeMap;

use crate::{Check, Finding};

/// Findings of one kind that are kept.
const MAX_OF_A_KIND: usize = 20;

#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    counts: BTreeMap<Check, usize>,
}

impl Findings {
    pub(crate) fn add(&mut self, check: Check, subject: impl Into<String>) {
        let count = self.counts.entry(check).or_default();
        *count = count.saturating_add(1);
        if *count <= MAX_OF_A_KIND {
            self.list.push(Finding::new(check, subject));
        }
    }

    pub(crate) fn add_if(&mut self, is_found: bool, check: Check, subject: impl Into<String>) {
        if is_found {
            self.add(check, subject);
        }
    }

    pub(crate) fn extend(&mut self, findings: &[Finding]) {
        for finding in findings {
            self.add(finding.check, finding.subject.clone());
        }
    }

    /// All of them; what was left out is counted in a last one of its kind.
    pub(crate) fn finish(mut self) -> Vec<Finding> {
        for (check, count) in self.counts {
            if let Some(more @ 1..) = count.checked_sub(MAX_OF_A_KIND) {
                self.list
                    .push(Finding::new(check, format!("and {more} more")));
            }
        }
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_twenty_of_a_kind_and_counts_the_rest() {
        let mut findings = Findings::default();
        for n in 0..25 {
            findings.add(Check::GptOverlap, n.to_string());
        }
        let found = findings.finish();
        assert_eq!(found.len(), 21);
        assert_eq!(found.last().map(|f| f.subject.as_str()), Some("and 5 more"));
    }
}
