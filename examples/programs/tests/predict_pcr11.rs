//! `predict_pcr11` against the values of systemd-measure 257.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn vector(path: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read(root.join("../../pcr/tests/vectors/pcr11").join(path)).unwrap()
}

fn text(path: &str) -> String {
    String::from_utf8(vector(path)).unwrap()
}

/// A PE32+ image of these sections and no code.
fn image(sections: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![0; 1024];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    let number = |value: usize| u32::try_from(value).unwrap().to_le_bytes();
    put(0, b"MZ");
    put(60, &number(64));
    put(64, b"PE\0\0\x64\x86");
    put(70, &number(sections.len())[..2]);
    put(84, &240_u16.to_le_bytes());
    put(86, &0x22_u16.to_le_bytes());
    put(88, &0x20b_u16.to_le_bytes());
    put(88 + 32, &number(4096));
    put(88 + 36, &number(512));
    put(88 + 60, &number(1024));
    put(88 + 68, &10_u16.to_le_bytes());
    put(88 + 108, &number(16));
    let (mut address, mut offset, mut contents) = (4096, 1024, Vec::new());
    for (index, (name, content)) in sections.iter().enumerate() {
        let (at, raw) = (328 + 40 * index, content.len().next_multiple_of(512));
        put(at, name.as_bytes());
        put(at + 8, &number(content.len()));
        put(at + 12, &number(address));
        put(at + 16, &number(raw));
        put(at + 20, &number(offset));
        put(at + 36, &0x4000_0040_u32.to_le_bytes());
        address += content.len().next_multiple_of(4096);
        offset += raw;
        contents.extend_from_slice(content);
        contents.resize(offset - 1024, 0);
    }
    put(88 + 56, &number(address));
    out.extend_from_slice(&contents);
    out
}

/// The image that the arguments of systemd-measure describe.
fn image_of(vector_name: &str, stub: &str) -> Vec<u8> {
    let arguments = text(&format!("expected/{vector_name}.args"));
    let mut sections = vec![(".sdmagic".to_owned(), stub.as_bytes().to_vec())];
    sections.extend(arguments.split_whitespace().map(|argument| {
        let (name, path) = argument[2..].split_once('=').unwrap();
        (format!(".{name}"), vector(path))
    }));
    image(&sections)
}

const STUB: &str = "#### LoaderInfo: systemd-stub 257.9 ####";

fn predict(folder: &Path, args: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_predict_pcr11"));
    program.args(args).current_dir(folder).output().unwrap()
}

fn document(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn registers_are_those_of_systemd_measure() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["v0-micro", "v1-linux-only", "v2-basic"] {
        fs::write(folder.path().join(name), image_of(name, STUB)).unwrap();
        let found = document(&predict(folder.path(), &[name]));
        assert_eq!(found["stub"], "systemd-stub 257.9");
        assert_eq!(found["warning"], Value::Null);
        let expected: Value =
            serde_json::from_slice(&vector(&format!("expected/{name}.calc.json"))).unwrap();
        let mut values: BTreeMap<&str, BTreeMap<&str, &Value>> = BTreeMap::new();
        for (bank, entries) in expected.as_object().unwrap() {
            for entry in entries.as_array().unwrap() {
                let phase = entry["phase"].as_str().unwrap_or_default();
                values
                    .entry(phase)
                    .or_default()
                    .insert(bank, &entry["hash"]);
            }
        }
        assert_eq!(values.len(), 5, "{name}");
        let values = serde_json::to_value(&values).unwrap();
        assert_eq!(found["pcrs"]["11"], values, "{name}");
        assert_eq!(found["profiles"][0]["pcrs"]["11"], values, "{name}");
    }
}

#[test]
fn phase_words_that_nothing_extends_are_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("uki"), image_of("v2-basic", STUB)).unwrap();
    let unknown = |phases: &str| {
        document(&predict(folder.path(), &["uki", "--phases", phases]))["unknown_phase_words"]
            .clone()
    };
    assert_eq!(
        unknown(":,enter-initrd:leave-initrd"),
        serde_json::json!([])
    );
    assert_eq!(
        unknown("enter-initd:x,x"),
        serde_json::json!(["enter-initd", "x"])
    );
}

#[test]
fn unusable_files_and_phases_exit_with_two() {
    let folder = tempfile::tempdir().unwrap();
    let whole = image_of("v2-basic", STUB);
    let sections = [(".cmdline".to_owned(), b"a".to_vec())];
    fs::write(folder.path().join("uki"), &whole).unwrap();
    fs::write(folder.path().join("cut"), &whole[..whole.len() / 2]).unwrap();
    fs::write(folder.path().join("addon"), image(&sections)).unwrap();
    for (args, message) in [
        (&["cut"][..], "offset"),
        (&["addon"], "no .linux section"),
        (&["none"], "none"),
        (&["uki", "--phases", "a b"], "blank"),
        (&["uki", "--phases"], "expected"),
        (&[], "expected"),
    ] {
        let output = predict(folder.path(), args);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty() && text.lines().count() == 1);
        assert!(text.contains(message), "{args:?}: {text}");
    }
}

#[test]
fn stubs_of_unknown_generations_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let stub = "#### LoaderInfo: systemd-stub 299 ####";
    fs::write(folder.path().join("uki"), image_of("v2-basic", stub)).unwrap();
    let found = document(&predict(folder.path(), &["uki"]));
    assert_eq!(found["stub"], "systemd-stub 299");
    assert!(found["warning"].is_string(), "{found}");
}
