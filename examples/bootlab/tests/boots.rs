//! The main job on both generations: every boot ends as it must, and every register is as predicted.

use bootlab::{Generation, Story, StoryOptions};

fn tell(generation: Generation) {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let story = Story::begin(&StoryOptions::new(generation), folder.path(), |_| {})
        .expect("the first two boots");
    let steps = story.every_boot(|step| {
        let summary = step.summary();
        eprintln!(
            "{generation} {}: {} ({} s, {} retries)",
            summary.name, summary.result, summary.seconds, summary.retries
        );
    });
    let steps = steps.expect("the tools of the lab");
    assert_eq!(steps.len(), 11);
    let problems: Vec<_> = steps
        .iter()
        .filter_map(|step| Some(format!("{}: {}", step.name(), step.problem()?)))
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let compared: usize = steps.iter().map(|step| step.comparisons().len()).sum();
    assert!(compared > 200, "only {compared} registers were compared");
    for step in steps
        .iter()
        .filter(|step| ["other PCR key", "changed db", "Secure Boot off"].contains(&step.name()))
    {
        let reason = step.report().file("reason").unwrap_or_default();
        let expected = match step.name() {
            "other PCR key" => "sealed to key",
            _ => "PCR 7 (sha256) is",
        };
        assert!(
            reason.contains(expected),
            "{}: disk-key said {reason:?}",
            step.name()
        );
    }
}

#[test]
fn debian_12_boots_as_predicted() {
    tell(Generation::Debian12);
}

#[test]
fn debian_13_boots_as_predicted() {
    if Generation::available().contains(&Generation::Debian13) {
        tell(Generation::Debian13);
    } else {
        assert!(
            std::env::var_os("CI").is_none(),
            "the Debian 13 tree is missing: run .ci/debian13"
        );
        eprintln!(
            "SKIPPED: debian_13_boots_as_predicted: no Debian 13 tree (.ci/debian13 makes it)"
        );
    }
}
