//! The outputs that boot: UKI, ISO, disk image.

use std::io::Write;
use std::path::PathBuf;

use iso9660::{Disk, Fat, Guid, Image, Partition, Plan};
use serde::Serialize;

use crate::assets::{Assets, BuildOptions};
use crate::build_uki::{self, BuiltUki};
use crate::cli::DiskOptions;
use crate::output::{Existing, Output};
use crate::profile::Profile;
use crate::progress::Progress;
use crate::{Error, medium};

/// What was made; `--json` prints it.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Made {
    /// The file.
    pub output: PathBuf,
    /// Its length, in bytes.
    pub len: u64,
    /// Length of the UKI in it, in bytes.
    pub uki_len: u64,
    /// Version of systemd-stub.
    pub stub: String,
    /// PCR 11 by phase path and bank.
    pub pcr11: serde_json::Value,
}

pub(crate) fn open(options: &BuildOptions, name: &str) -> Result<Output, Error> {
    let existing = if options.force {
        Existing::Replace
    } else {
        Existing::Keep
    };
    Output::create(&options.output_path(name)?, 0o644, existing)
}

/// An unnamed file beside the result, for the UKI that goes into it; it is gone when dropped.
pub(crate) fn scratch(beside: &Output) -> Result<Output, Error> {
    let mut name = beside.path().as_os_str().to_owned();
    name.push(".uki");
    Output::create(PathBuf::from(name).as_path(), 0o600, Existing::Replace)
}

pub(crate) fn made(
    output: PathBuf,
    len: u64,
    uki: &BuiltUki,
    options: &BuildOptions,
) -> Result<Made, Error> {
    let paths = build_uki::phase_paths(&options.phases);
    let mut phases = serde_json::Map::new();
    for prediction in uki
        .boot
        .registers(&paths)
        .map_err(|error| Error::step("predict PCR 11", error))?
    {
        let banks = phases
            .entry(prediction.phase.to_string())
            .or_insert_with(|| serde_json::json!({}));
        banks[prediction.value.bank().name()] = prediction.value.to_string().into();
    }
    Ok(Made {
        output,
        len,
        uki_len: uki.len,
        stub: uki.stub_version.clone(),
        pcr11: phases.into(),
    })
}

pub(crate) fn publish(output: Output, progress: &Progress) -> Result<PathBuf, Error> {
    let path = output.publish()?;
    progress.message(format_args!("output asset path: {}", path.display()));
    Ok(path)
}

/// `imager secureboot-metal-uki`: `metal-<arch>-secureboot-uki.efi`.
///
/// # Errors
/// What the inputs or the disk refuse.
pub fn uki(options: BuildOptions, progress: &Progress) -> Result<Made, Error> {
    let assets = resolve(options, &["uki"], progress)?;
    let mut out = open(
        &assets.options,
        &format!("metal-{}-secureboot-uki.efi", assets.arch.name()),
    )?;
    let built = build_uki::build(&assets, &mut out, progress)?;
    progress.message("UKI ready");
    made(publish(out, progress)?, built.len, &built, &assets.options)
}

/// `imager secureboot-iso`: `metal-<arch>-secureboot.iso`.
///
/// # Errors
/// As [`uki()`].
pub fn iso(options: BuildOptions, progress: &Progress) -> Result<Made, Error> {
    let assets = resolve(options, &["iso"], progress)?;
    let time = medium::timestamp()?;
    let mut out = open(
        &assets.options,
        &format!("metal-{}-secureboot.iso", assets.arch.name()),
    )?;
    let mut uki = scratch(&out)?;
    let built = build_uki::build(&assets, &mut uki, progress)?;
    progress.message("UKI ready");
    let tree = medium::esp_tree(&assets, &uki.reopen_path(), progress)?;
    let plan = Image::bootable(Fat::new(tree).label("EFI"))
        .and_then(|image| {
            image
                .volume_id(medium::volume_id(&assets.label))
                .volume_set_id(&assets.label)
                .time(time)
                .plan()
        })
        .map_err(|error| Error::step("lay out the ISO", error))?;
    write(&plan, &mut out, "ISO", progress)?;
    progress.message("ISO ready");
    made(publish(out, progress)?, plan.len(), &built, &assets.options)
}

/// `imager secureboot-metal`: `metal-<arch>-secureboot.raw`, or `.raw.zst`.
///
/// # Errors
/// As [`uki()`].
pub fn disk(options: DiskOptions, progress: &Progress) -> Result<Made, Error> {
    let from_profile = options
        .build
        .profile
        .as_deref()
        .map(Profile::read)
        .transpose()?
        .unwrap_or_default();
    let image = from_profile.output.image_options.unwrap_or_default();
    let sector_len = u64::from(
        options
            .sector_size
            .or(image.disk_sector_size)
            .unwrap_or(512),
    );
    let len = match options.disk_size.as_deref() {
        Some(text) => parse_size(text)?,
        None => image.disk_size.unwrap_or(1246 << 20),
    };
    let format = options
        .format
        .or(from_profile.output.out_format)
        .unwrap_or_else(|| "raw".into());
    let compressed = match format.trim_start_matches('.') {
        "raw" => false,
        "zst" => true,
        other => {
            return Err(Error::usage(
                "--format",
                format!("'{other}' is neither raw nor zst"),
            ));
        }
    };
    let assets = resolve(options.build, &["image"], progress)?;
    let ending = if compressed { "raw.zst" } else { "raw" };
    let mut out = open(
        &assets.options,
        &format!("metal-{}-secureboot.{ending}", assets.arch.name()),
    )?;
    let mut uki = scratch(&out)?;
    let built = build_uki::build(&assets, &mut uki, progress)?;
    progress.message("UKI ready");
    let tree = medium::esp_tree(&assets, &uki.reopen_path(), progress)?;
    // META holds one MiB; the rest, but for the partition tables and alignment, is the EFI system partition's.
    let meta = 1 << 20;
    let esp_len = len.saturating_sub(meta + (3 << 20)) >> 20 << 20;
    let time = medium::timestamp()?;
    let esp = Fat::new(tree)
        .label("EFI")
        .kind(iso9660::FatKind::Fat32)
        .time(time);
    let plan = Disk::new("talos-image-disk")
        .sector_len(sector_len)
        .len(len)
        .partition(Partition::esp("EFI", esp).len(esp_len))
        .partition(Partition::new(Guid::LINUX_DATA, "META").len(meta))
        .plan()
        .map_err(|error| Error::step("lay out the disk", error))?;
    if compressed {
        let mut encoder =
            zstd::Encoder::new(&mut out, 18).map_err(|source| Error::step("compress", source))?;
        let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
        encoder
            .multithread(u32::try_from(threads).unwrap_or(1))
            .and_then(|()| encoder.include_checksum(true))
            .map_err(|source| Error::step("compress", source))?;
        write_stream(&plan, &mut encoder, "disk image", progress)?;
        encoder
            .finish()
            .map_err(|source| Error::step("compress", source))?;
    } else {
        write(&plan, &mut out, "disk image", progress)?;
    }
    progress.message("disk image ready");
    made(publish(out, progress)?, plan.len(), &built, &assets.options)
}

/// The profile and flags of a build, resolved; says so as users know it.
///
/// # Errors
/// As [`BuildOptions::resolve`].
pub(crate) fn resolve(
    options: BuildOptions,
    kinds: &[&str],
    progress: &Progress,
) -> Result<Assets, Error> {
    let assets = options.resolve(kinds)?;
    progress.message("profile ready:");
    progress.message(format_args!("  arch: {}", assets.arch.name()));
    progress.message(format_args!("  kernel: {}", assets.kernel.display()));
    for part in &assets.initramfs {
        progress.message(format_args!("  initramfs: {}", part.display()));
    }
    progress.message(format_args!("  systemd-stub: {}", assets.stub.display()));
    progress.message(format_args!(
        "kernel command line: {}",
        String::from_utf8_lossy(&assets.cmdline)
    ));
    Ok(assets)
}

fn write(
    plan: &Plan,
    out: &mut Output,
    label: &'static str,
    progress: &Progress,
) -> Result<(), Error> {
    // A file takes holes and shared extents; nothing but the kernel sees the bytes then.
    let bar = progress.bar(label, plan.len());
    let written = plan.write_to_file(out.file());
    drop(bar);
    written.map_err(|error| Error::step("write the image", error))
}

fn write_stream(
    plan: &Plan,
    out: &mut impl Write,
    label: &'static str,
    progress: &Progress,
) -> Result<(), Error> {
    let mut bar = progress.bar(label, plan.len());
    plan.write_to(&mut bar.watch(out))
        .map_err(|error| Error::step("write the image", error))
}

fn parse_size(text: &str) -> Result<u64, Error> {
    let wrong = || {
        Error::usage(
            "--disk-size",
            format!("'{text}' is no size; bytes, or a number with K, M or G"),
        )
    };
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'K' | 'k')) => (&text[..at], 10),
        Some((at, 'M' | 'm')) => (&text[..at], 20),
        Some((at, 'G' | 'g')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number
        .checked_mul(1 << shift)
        .filter(|size| (1 << 20..1 << 44).contains(size))
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("1246M").unwrap(), 1_306_525_696);
        assert_eq!(parse_size("2g").unwrap(), 2 << 30);
        assert!(parse_size("12").is_err());
        assert!(parse_size("xM").is_err());
    }
}
