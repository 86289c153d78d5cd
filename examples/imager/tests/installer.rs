//! The installer image, read with bsdtar, sha256sum, sbverify and, as a container image, with skopeo.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::{Lab, build, have};

const INSTALLER: &str = "_out/installer-amd64-secureboot.tar";

fn sha256(lab: &Lab, file: &str) -> String {
    lab.tool("sha256sum", &[file])[..64].to_owned()
}

fn json_file(lab: &Lab, name: &str) -> Value {
    serde_json::from_slice(&lab.read(name)).unwrap()
}

/// An OCI layout in `base/` with layers that hold one text each.
fn base_layout(lab: &Lab, texts: &[&str], architecture: &str) {
    std::fs::create_dir_all(lab.path("base/blobs/sha256")).unwrap();
    let blob = |bytes: &[u8]| {
        lab.write("blob", bytes);
        let digest = sha256(lab, "blob");
        lab.write(&format!("base/blobs/sha256/{digest}"), bytes);
        json!({ "digest": format!("sha256:{digest}"), "size": bytes.len() })
    };
    let (mut layers, mut diff_ids) = (vec![], vec![]);
    for text in texts {
        lab.write("content.txt", text.as_bytes());
        lab.tool(
            "bsdtar",
            &["--format", "ustar", "-cf", "layer.tar", "content.txt"],
        );
        diff_ids.push(format!("sha256:{}", sha256(lab, "layer.tar")));
        lab.tool("gzip", &["-nf", "layer.tar"]);
        let mut layer = blob(&lab.read("layer.tar.gz"));
        layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar+gzip".into();
        layers.push(layer);
    }
    let config = json!({
        "architecture": architecture, "os": "linux",
        "config": { "Entrypoint": ["/bin/installer"], "Env": ["PATH=/bin"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let mut config = blob(config.to_string().as_bytes());
    config["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": layers,
    });
    let mut manifest = blob(manifest.to_string().as_bytes());
    manifest["mediaType"] = "application/vnd.oci.image.manifest.v1+json".into();
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    lab.write("base/index.json", index.to_string().as_bytes());
    lab.write("base/oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
}

#[test]
fn the_archive_holds_the_signed_files_in_a_layer_named_by_its_digest() {
    let tools = ["bsdtar", "sha256sum", "gzip", "sbverify", "skopeo"];
    if !have("the_archive_holds_the_signed_files", &tools) {
        return;
    }
    let lab = Lab::for_builds();
    base_layout(&lab, &["installer", "stock files"], "amd64");
    let made = lab.json(&build(
        "secureboot-installer",
        &["--arch", "amd64", "--base-installer", "base"],
    ));
    assert_eq!(made["output"], INSTALLER);
    assert_eq!(made["len"], lab.read(INSTALLER).len());

    std::fs::create_dir(lab.path("unpacked")).unwrap();
    lab.tool("bsdtar", &["-xf", INSTALLER, "-C", "unpacked"]);
    let manifest = &json_file(&lab, "unpacked/manifest.json")[0];
    assert_eq!(manifest["RepoTags"], json!(["installer:test-1.2"]));
    let config_name = manifest["Config"].as_str().unwrap().to_owned();
    let config_digest = sha256(&lab, &format!("unpacked/{config_name}"));
    assert_eq!(config_name, format!("sha256:{config_digest}"));
    let config = json_file(&lab, &format!("unpacked/{config_name}"));
    assert_eq!(config["config"]["Entrypoint"], json!(["/bin/installer"]));
    assert_eq!(config["created"], "2026-01-01T00:00:00Z");

    // Of two base layers the second, with the stock files, makes room for ours.
    let layers = manifest["Layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2);
    for (layer, diff_id) in layers
        .iter()
        .zip(config["rootfs"]["diff_ids"].as_array().unwrap())
    {
        let file = format!("unpacked/{}", layer.as_str().unwrap());
        assert_eq!(file, format!("unpacked/{}.tar.gz", sha256(&lab, &file)));
        lab.tool("gzip", &["-dk", &file]);
        let tar = file.trim_end_matches(".gz");
        assert_eq!(diff_id, &json!(format!("sha256:{}", sha256(&lab, tar))));
        lab.tool("bsdtar", &["-xf", tar, "-C", "unpacked"]);
    }
    assert_eq!(lab.read("unpacked/content.txt"), b"installer");
    for name in ["systemd-boot.efi", "vmlinuz.efi"] {
        let file = format!("unpacked/usr/install/amd64/{name}");
        lab.tool("sbverify", &["--cert", "_out/uki-signing-cert.pem", &file]);
    }

    let seen = lab.tool(
        "skopeo",
        &[
            "inspect",
            "--config",
            &format!("docker-archive:{INSTALLER}"),
        ],
    );
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen["rootfs"], config["rootfs"]);
    // The archive is a base installer itself, and the same inputs give the same bytes.
    let twice = |name: &str, more: &[&str]| {
        let args = [
            "--arch",
            "amd64",
            "--output",
            name,
            "--archive",
            "oci",
            "--base-installer",
        ];
        lab.done(&build("secureboot-installer", &[&args[..], more].concat()));
        lab.read(name)
    };
    assert!(twice("a.tar", &["base"]) == twice("b.tar", &["base"]));
    twice("c.tar", &[INSTALLER]);
    twice("d.tar", &["a.tar"]);
    for archive in ["a.tar", "c.tar", "d.tar"] {
        let seen = lab.tool(
            "skopeo",
            &["inspect", "--config", &format!("oci-archive:{archive}")],
        );
        let seen: Value = serde_json::from_str(&seen).unwrap();
        assert_eq!(seen["config"], config["config"], "{archive}");
        assert_eq!(seen["rootfs"], config["rootfs"], "{archive}");
    }
    lab.tool(
        "skopeo",
        &[
            "copy",
            "--insecure-policy",
            "oci-archive:a.tar",
            "docker-archive:copied.tar",
        ],
    );
}

#[test]
fn a_base_that_is_damaged_or_for_another_machine_is_refused_and_leaves_nothing() {
    if !have("a_base_that_is_damaged", &["bsdtar", "sha256sum", "gzip"]) {
        return;
    }
    let lab = Lab::for_builds();
    let refuse = |message: &str| {
        let args = [
            "--arch",
            "amd64",
            "--base-installer",
            "base",
            "--output",
            "new/folder",
        ];
        lab.fails(&build("secureboot-installer", &args), 2, message);
        assert!(!lab.path("new").exists(), "{message}");
    };
    refuse("cannot read base");
    std::fs::create_dir(lab.path("base")).unwrap();
    refuse("neither an OCI layout (index.json) nor a docker archive");
    base_layout(&lab, &["one"], "arm64");
    refuse("holds no image for linux/amd64");
    base_layout(&lab, &["one"], "amd64");
    let index = json_file(&lab, "base/index.json");
    let manifest = index["manifests"][0]["digest"].as_str().unwrap();
    let manifest = format!("base/blobs/{}", manifest.replace(':', "/"));
    let layer = json_file(&lab, &manifest)["layers"][0]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let layer = format!("base/blobs/{}", layer.replace(':', "/"));
    let mut bytes = lab.read(&layer);
    bytes[20] ^= 1;
    lab.write(&layer, &bytes);
    refuse("has the digest sha256:");
    std::fs::remove_file(lab.path(&layer)).unwrap();
    refuse("is missing");
    lab.write(&manifest, b"{}");
    refuse("has the digest sha256:");
    lab.write("base/index.json", b"[");
    refuse("index.json: ");
}
