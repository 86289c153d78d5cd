//! `imager edit`: change a finished UKI.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pcr::{Bank, Dialect, DocumentLayout, Pcr11, PhasePath};
use serde_json::{Value, json};
use uki::{Edit, Plan, Profile, ProfileView, SectionName, Source, Uki};

use crate::build_uki::phase_paths;
use crate::cli::EditOptions;
use crate::keys::{self, Passphrase};
use crate::output::{Existing, Output};
use crate::progress::Progress;
use crate::{Error, assets};

/// Changes sections and profiles; signatures go, since they are for other bytes.
///
/// Profiles keep the numbers that they have in the file while the changes are made; new ones count on.
///
/// # Errors
/// [`Error::Usage`] for sections that are not named right, [`Error::Input`] for a file that is neither a UKI nor an addon.
pub fn edit(options: &EditOptions, progress: &Progress) -> Result<Value, Error> {
    let input = |error| Error::input("UKI or addon", &options.file, error);
    // Before it is opened: opening a pipe waits for somebody who writes.
    let meta = regular(&options.file)?;
    let file =
        File::open(&options.file).map_err(|source| Error::io("read", &options.file, source))?;
    let uki = Uki::read(file).map_err(input)?;
    if !uki.is_uki() && !uki.is_addon() {
        let problem = "it is an EFI image with neither a kernel nor anything that an addon brings";
        return Err(Error::input("UKI or addon", &options.file, problem));
    }
    if options.pcr_key.is_some() && !uki.is_uki() {
        return Err(Error::usage("--pcr-key", "an addon has no signed policies"));
    }
    let existing = if options.force || options.output.is_none() {
        Existing::Replace
    } else {
        Existing::Keep
    };
    let (result, mode) = match &options.output {
        Some(path) if path.exists() && existing == Existing::Replace => {
            regular(path)?;
            (path.clone(), 0o644)
        }
        Some(path) => (path.clone(), 0o644),
        None => (in_place(&options.file)?, meta.permissions().mode() & 0o7777),
    };
    let mut out = Output::create(&result, mode, existing)?;
    let changes = changed(
        options,
        Edit::new(Source::file(&options.file)).map_err(input)?,
    )?;
    let plan = changes.plan().map_err(lay_out)?;

    let signer = options
        .pcr_key
        .as_deref()
        .map(|path| {
            let key =
                keys::read_private_key(path, &Passphrase::new(None, "IMAGER_PCR_KEY_PASSPHRASE"))?;
            pcr::RsaSigner::new(key).map_err(|error| Error::step("use the PCR signing key", error))
        })
        .transpose()?;
    let paths = phase_paths(&options.phases);
    let dialect = Dialect::identify(uki.stub().name(), uki.stub().version());
    let plan = match &signer {
        Some(signer) => {
            let edit = changed(
                options,
                Edit::new(Source::file(&options.file)).map_err(input)?,
            )?;
            let bits = signer.public_key().bits();
            let len = |view: &ProfileView<'_>| policies_len(view, dialect, &paths, bits);
            let key = Source::bytes(signer.public_key().to_pem());
            with_policies(edit, &plan, key, len)
                .plan()
                .map_err(lay_out)?
        }
        None => {
            if plan
                .sections()
                .iter()
                .any(|section| section.name().same(&SectionName::PCRSIG))
            {
                progress.warning(
                    "the signed policies in .pcrsig are for the old content; --pcr-key signs new ones",
                );
            }
            plan
        }
    };
    let mut boot = Pcr11::new(dialect, &Bank::ALL);
    plan.write(
        &mut out,
        &mut boot,
        |boot, part| {
            if let Some(measured) = part.measured() {
                boot.observe(measured.key(), measured.bytes);
            }
        },
        |boot, turn| {
            let signer = signer.as_ref().ok_or("no key for the signed policies")?;
            let policies = boot
                .profile(turn.profile().unwrap_or(0))?
                .policies(&paths)?;
            Ok(policies.sign(signer.public_key(), signer)?.to_json())
        },
    )
    .map_err(|error| Error::step("write the UKI", error))?;
    Ok(json!({ "output": out.publish()?, "len": plan.len() }))
}

fn lay_out(error: uki::Error) -> Error {
    Error::step("lay out the UKI", error)
}

/// All that was asked for, but the policies.
fn changed(options: &EditOptions, mut edit: Edit) -> Result<Edit, Error> {
    for text in &options.add_profile {
        edit = edit.add_profile(Profile::new(content(text)?));
    }
    for path in &options.join_profile {
        let profile = Profile::from_image(&Source::file(path))
            .map_err(|error| Error::input("profile image", path, error))?;
        edit = edit.add_profile(profile);
    }
    for text in &options.remove {
        let (name, profile) = target(text)?;
        edit = edit.remove(profile, name);
    }
    for text in &options.set {
        let (name, value) = text.split_once('=').ok_or_else(|| {
            Error::usage(
                "--set",
                format!("'{text}': NAME=TEXT or NAME=@FILE expected"),
            )
        })?;
        let (name, profile) = target(name)?;
        edit = edit.set(profile, name, content(value)?);
    }
    // From the last one on, so that each still has its number when its turn comes.
    let gone: BTreeSet<u32> = options.remove_profile.iter().copied().collect();
    for index in gone.iter().rev() {
        edit = edit.remove_profile(usize::try_from(*index).unwrap_or(usize::MAX));
    }
    Ok(edit)
}

/// One key in the base, and room for policies in each profile; no others are left.
fn with_policies(
    mut edit: Edit,
    plan: &Plan,
    key: Source,
    len: impl Fn(&ProfileView<'_>) -> u64,
) -> Edit {
    let profiles = plan.profiles();
    let base = plan.base();
    for view in &profiles {
        let own = |name| view.section(name).filter(|section| view.owns(section));
        if view.index().is_some() && own(&SectionName::PCRPKEY).is_some() {
            edit = edit.remove(view.index(), SectionName::PCRPKEY);
        }
    }
    if profiles.iter().any(|view| view.index().is_some())
        && base.section(&SectionName::PCRSIG).is_some()
    {
        edit = edit.remove(None, SectionName::PCRSIG);
    }
    edit = edit.set(None, SectionName::PCRPKEY, key);
    profiles
        .iter()
        .fold(edit, |edit, view| edit.pcrsig_len(view.index(), len(view)))
}

/// There are policies for each device tree and firmware that the stub may pick, and for picking none.
fn policies_len(
    view: &ProfileView<'_>,
    dialect: Dialect,
    paths: &[PhasePath],
    key_bits: usize,
) -> u64 {
    let choices = |name: SectionName| match dialect.measures(name.as_str()) {
        true => view.candidates(&name).count().saturating_add(1),
        false => 1,
    };
    let hardware = choices(SectionName::DTBAUTO).saturating_mul(choices(SectionName::EFIFW));
    DocumentLayout::new(paths, &Bank::ALL)
        .key(key_bits)
        .hardware_choices(hardware)
        .len()
}

/// What the system says of a file, which must be a regular one.
fn regular(path: &Path) -> Result<Metadata, Error> {
    let meta = fs::metadata(path).map_err(|source| Error::io("read", path, source))?;
    if meta.is_file() {
        Ok(meta)
    } else {
        Err(Error::input("file", path, "it is not a regular file"))
    }
}

/// The file itself, where a link leads to it: the link stays.
fn in_place(path: &Path) -> Result<PathBuf, Error> {
    fs::canonicalize(path).map_err(|source| Error::io("read", path, source))
}

/// `TEXT`, or the bytes of a file as `@FILE`.
fn content(text: &str) -> Result<Source, Error> {
    Ok(match text.strip_prefix('@') {
        Some(path) => Source::bytes(assets::read(path.as_ref())?),
        None => Source::bytes(text),
    })
}

/// `NAME` or `NAME:N`, with or without the leading dot.
fn target(text: &str) -> Result<(SectionName, Option<usize>), Error> {
    let (name, profile) = match text.split_once(':') {
        Some((name, number)) => {
            let number = number.parse().map_err(|_| {
                Error::usage(
                    "section",
                    format!("'{text}': a profile number follows the ':'"),
                )
            })?;
            (name, Some(number))
        }
        None => (text, None),
    };
    if matches!(name, "" | ".") {
        let problem = format!("'{text}': a name is missing");
        return Err(Error::usage("section", problem));
    }
    let dotted = if name.starts_with('.') {
        name.to_owned()
    } else {
        format!(".{name}")
    };
    let name = SectionName::new(&dotted)
        .map_err(|error| Error::usage("section", format!("'{text}': {error}")))?;
    Ok((name, profile))
}
