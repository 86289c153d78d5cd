//! A report as a JSON document.

use std::fmt::Write as _;

use super::{FatVolume, Report};
use crate::item::{Item, ItemKind};
use crate::{BootImage, BootPath, Finding, GptPartition, MbrEntry, Timestamp, Volume};

/// A value that is written already.
struct Json(String);

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        let mut out = String::with_capacity(text.len().saturating_add(2));
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                // Control characters, and those that some parsers take for the end of a line.
                '\0'..=' ' | '\u{7F}'..='\u{9F}' | '\u{2028}' | '\u{2029}' if c != ' ' => {
                    let _ = write!(out, "\\u{:04x}", u32::from(c));
                }
                c => out.push(c),
            }
        }
        out.push('"');
        Self(out)
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Self {
        Self(number.to_string())
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self(value.to_string())
    }
}

impl From<Option<Self>> for Json {
    fn from(value: Option<Self>) -> Self {
        value.unwrap_or_else(|| Self("null".to_owned()))
    }
}

fn object<const N: usize>(members: [(&str, Json); N]) -> Json {
    let members = members.map(|(name, Json(value))| format!("{}:{value}", Json::from(name).0));
    Json(format!("{{{}}}", members.join(",")))
}

fn list<T>(items: impl IntoIterator<Item = T>, one: impl Fn(T) -> Json) -> Json {
    let mut out = String::from("[");
    for item in items {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&one(item).0);
    }
    out.push(']');
    Json(out)
}

/// A member that is left out when there is nothing to say.
fn optional(value: Option<impl Into<Json>>) -> Json {
    value.map(Into::into).into()
}

impl Report {
    /// The report as a JSON document: `format`, `bytes`, `volumes`, `trees`, `tree`, `files`,
    /// `boot`, `gpt`, `partitions`, `fat`, `boot_paths` and `findings`. Names that are not UTF-8
    /// have U+FFFD for what is not.
    #[must_use]
    pub fn to_json(&self) -> String {
        let table = &self.partitions;
        let sector_len = table.sector_len();
        let base = match (self.namespace, self.fat_volumes.first()) {
            (None, Some(volume)) => volume.offset,
            _ => 0,
        };
        let gpt = table.gpt.as_ref().map(|gpt| {
            object([
                ("disk", gpt.disk.to_string().into()),
                ("sector_size", gpt.sector_len.into()),
                ("valid", gpt.is_valid.into()),
                ("backup", gpt.has_backup.into()),
                ("from_backup", gpt.is_from_backup.into()),
            ])
        });
        let partitions = table.gpt.iter().flat_map(|gpt| &gpt.partitions);
        let mbr = &table.mbr;
        let paths = self.boot_paths.iter().map(boot_path).collect::<Vec<_>>();
        object([
            ("format", self.format.name().into()),
            ("bytes", self.len.into()),
            ("damaged", self.is_damaged().into()),
            ("volumes", list(&self.volumes, volume)),
            ("trees", list(&self.namespaces, |tree| tree.name().into())),
            ("tree", optional(self.namespace.map(|tree| tree.name()))),
            ("files", list(&self.items, |item| file(item, base))),
            (
                "boot",
                list(self.catalog.iter().flat_map(|c| &c.images), |image| {
                    boot_image(image, self)
                }),
            ),
            ("gpt", gpt.into()),
            ("partitions", list(partitions, |p| partition(p, sector_len))),
            ("mbr", list(mbr, |entry| mbr_entry(entry, sector_len))),
            ("fat", list(&self.fat_volumes, fat_volume)),
            ("boot_paths", Json(format!("{{{}}}", paths.join(",")))),
            ("findings", list(&self.findings, finding)),
        ])
        .0
    }
}

fn volume(volume: &Volume) -> Json {
    object([
        ("kind", format!("{:?}", volume.kind).to_lowercase().into()),
        ("id", volume.id.as_str().into()),
        ("set_id", volume.set_id.as_str().into()),
        ("system_id", volume.system_id.as_str().into()),
        ("publisher", volume.publisher.as_str().into()),
        ("preparer", volume.preparer.as_str().into()),
        ("application", volume.application.as_str().into()),
        ("blocks", volume.blocks.into()),
        ("block_size", volume.block_len.into()),
        ("created", volume.created.as_str().into()),
        ("modified", volume.modified.as_str().into()),
    ])
}

fn file(item: &Item, base: u64) -> Json {
    let (kind, target) = match &item.kind {
        ItemKind::File => ("file", None),
        ItemKind::Directory => ("directory", None),
        ItemKind::Symlink(target) => ("symlink", Some(crate::error::text(target))),
        ItemKind::Special => ("special", None),
    };
    // Of what is unpacked, the length that is extracted.
    let size = item.unpacked_len.filter(|_| item.is_packed);
    let size = size.unwrap_or(item.len);
    let mut members = vec![
        ("path", item.path_text().into()),
        ("type", kind.into()),
        ("size", size.into()),
    ];
    let mut add = |name, value: Option<Json>| members.extend(value.map(|value| (name, value)));
    let first = item.extents.first();
    let offset = first.map(|extent| extent.offset.saturating_add(base));
    add("offset", offset.map(Into::into));
    let pieces = item.extents.len() as u64;
    add("extents", (pieces > 1).then(|| pieces.into()));
    let time = |time: Timestamp| time.to_string().into();
    add("modified", item.modified.map(time));
    add("target", target.map(Into::into));
    let posix = item.posix;
    add(
        "mode",
        posix.map(|p| format!("{:04o}", p.mode & 0o7777).into()),
    );
    add("uid", posix.map(|p| u64::from(p.uid).into()));
    add("gid", posix.map(|p| u64::from(p.gid).into()));
    add("links", posix.map(|p| u64::from(p.links).into()));
    add("short_name", item.short_name.clone().map(Into::into));
    add("flags", Some(u64::from(item.flags).into()));
    add("unpacked_size", item.unpacked_len.map(Into::into));
    add("stored_size", item.is_packed.then(|| item.len.into()));
    let members = members
        .into_iter()
        .map(|(name, Json(value))| format!("{}:{value}", Json::from(name).0));
    Json(format!("{{{}}}", members.collect::<Vec<_>>().join(",")))
}

fn boot_image(image: &BootImage, report: &Report) -> Json {
    let platform: Json = match image.platform {
        0 => "bios".into(),
        1 => "powerpc".into(),
        2 => "mac".into(),
        0xEF => "uefi".into(),
        other => u64::from(other).into(),
    };
    let media = match image.media {
        0 => "none",
        1..=3 => "floppy",
        4 => "hard-disk",
        _ => "unknown",
    };
    object([
        ("platform", platform),
        ("bootable", image.is_bootable.into()),
        ("emulation", media.into()),
        ("load_segment", u64::from(image.load_segment).into()),
        ("sectors", u64::from(image.sectors).into()),
        ("offset", image.offset.into()),
        ("bytes", image.uefi_len(report.volume_len()).into()),
    ])
}

fn partition(partition: &GptPartition, sector_len: u64) -> Json {
    object([
        ("number", u64::from(partition.number).into()),
        ("type", partition.kind.to_string().into()),
        ("name", partition.name.as_str().into()),
        ("guid", partition.guid.to_string().into()),
        ("first", partition.first.into()),
        ("last", partition.last.into()),
        ("offset", partition.first.saturating_mul(sector_len).into()),
        (
            "bytes",
            partition.sectors().saturating_mul(sector_len).into(),
        ),
        ("attributes", partition.attributes.into()),
    ])
}

fn mbr_entry(entry: &MbrEntry, sector_len: u64) -> Json {
    object([
        ("number", u64::from(entry.number).into()),
        ("type", u64::from(entry.kind).into()),
        ("active", entry.is_active.into()),
        ("first", entry.first.into()),
        ("sectors", entry.sectors.into()),
        ("offset", entry.first.saturating_mul(sector_len).into()),
        ("bytes", entry.sectors.saturating_mul(sector_len).into()),
    ])
}

fn fat_volume(volume: &FatVolume) -> Json {
    object([
        ("offset", volume.offset.into()),
        ("bytes", volume.len.into()),
        ("kind", volume.kind.to_string().into()),
        ("label", volume.label.as_str().into()),
        ("serial", format!("{:08X}", volume.serial).into()),
        ("sector_size", volume.sector_len.into()),
        ("cluster_size", volume.cluster_len.into()),
        (
            "places",
            list(&volume.places, |place| place.to_string().into()),
        ),
        (
            "files",
            list(&volume.items, |item| file(item, volume.offset)),
        ),
    ])
}

fn boot_path(path: &BootPath) -> String {
    let value = object([
        ("works", path.works.into()),
        ("reasons", list(&path.reasons, finding)),
        ("warnings", list(&path.warnings, finding)),
    ]);
    format!("{}:{}", Json::from(path.medium.name()).0, value.0)
}

fn finding(finding: &Finding) -> Json {
    object([
        ("code", finding.check.code().into()),
        ("severity", finding.severity().name().into()),
        ("text", finding.check.text().into()),
        ("subject", finding.subject.as_str().into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        let Json(text) = Json::from("a\"b\\c\n\u{1}ü");
        assert_eq!(text, "\"a\\\"b\\\\c\\u000a\\u0001ü\"");
    }
}
