//! `imager edit`: change a finished UKI.

use std::fs::File;

use pcr::{Bank, Dialect, Pcr11};
use serde_json::{Value, json};
use uki::{Edit, SectionName, Source, Uki};

use crate::build_uki::phase_paths;
use crate::cli::EditOptions;
use crate::keys::{self, Passphrase};
use crate::output::{Existing, Output};
use crate::progress::Progress;
use crate::{Error, assets};

/// Changes sections; signatures go, since they are for other bytes.
///
/// # Errors
/// [`Error::Usage`] for sections that are not named right, [`Error::Input`] for a file that is no UKI.
pub fn edit(options: &EditOptions, progress: &Progress) -> Result<Value, Error> {
    let input = |error| Error::input("UKI", &options.file, error);
    let file =
        File::open(&options.file).map_err(|source| Error::io("read", &options.file, source))?;
    let uki = Uki::read(file).map_err(input)?;
    let mut edit = Edit::new(Source::file(&options.file)).map_err(input)?;
    for index in &options.remove_profile {
        edit = edit.remove_profile(usize::try_from(*index).unwrap_or(usize::MAX));
    }
    for text in &options.remove {
        let (name, profile) = target(text)?;
        edit = edit.remove(profile, name);
    }
    for text in &options.set {
        let (name, content) = text.split_once('=').ok_or_else(|| {
            Error::usage(
                "--set",
                format!("'{text}': NAME=TEXT or NAME=@FILE expected"),
            )
        })?;
        let (name, profile) = target(name)?;
        let content = match content.strip_prefix('@') {
            Some(path) => Source::bytes(assets::read(path.as_ref())?),
            None => Source::bytes(content),
        };
        edit = edit.set(profile, name, content);
    }

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
    if let Some(signer) = &signer {
        edit = edit.set(
            None,
            SectionName::PCRPKEY,
            Source::bytes(signer.public_key().to_pem()),
        );
        let len = pcr::signature_document_len(&paths, &Bank::ALL, signer.public_key().bits());
        let profiles = uki.profiles();
        for view in &profiles {
            edit = edit.pcrsig_len(view.index(), len);
        }
    } else {
        progress.warning(
            "the signed policies in .pcrsig are for the old content; --pcr-key signs new ones",
        );
    }
    let existing = if options.force || options.output.is_none() {
        Existing::Replace
    } else {
        Existing::Keep
    };
    let result = options.output.as_ref().unwrap_or(&options.file);
    let mut out = Output::create(result, 0o644, existing)?;
    let plan = edit
        .plan()
        .map_err(|error| Error::step("lay out the UKI", error))?;
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
    let dotted = if name.starts_with('.') {
        name.to_owned()
    } else {
        format!(".{name}")
    };
    let name = SectionName::new(&dotted)
        .map_err(|error| Error::usage("section", format!("'{text}': {error}")))?;
    Ok((name, profile))
}
