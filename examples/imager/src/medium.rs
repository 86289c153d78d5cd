//! What lies on the EFI system partition of every medium: boot loader, UKI, loader configuration and enrolment files.

use std::path::{Path, PathBuf};

use authenticode::{Certificate, Databases, Edk2, Image, ImageOptions, Signing};
use efivars::AuthenticatedUpdate;
use iso9660::{Entry, Source, Timestamp, Tree};

use crate::assets::{Assets, read};
use crate::progress::Progress;
use crate::{Error, clock};

/// When systemd-boot enrols the keys that lie on the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnrollKeys {
    /// Never.
    Off,
    /// When the user picks the menu entry.
    Manual,
    /// By itself, but only in virtual machines.
    IfSafe,
    /// By itself, everywhere, after a countdown.
    Force,
}

impl EnrollKeys {
    /// The word in `loader.conf`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Manual => "manual",
            Self::IfSafe => "if-safe",
            Self::Force => "force",
        }
    }

    fn parse(text: &str) -> Result<Self, Error> {
        [Self::Off, Self::Manual, Self::IfSafe, Self::Force]
            .into_iter()
            .find(|choice| choice.word() == text)
            .ok_or_else(|| {
                Error::usage(
                    "--enroll-keys",
                    format!("'{text}' is none of off, manual, if-safe, force"),
                )
            })
    }

    /// What is written for this systemd-boot. Before 253, it prints an error for `if-safe` and enrols nothing, so a
    /// choice that it does not know is replaced by the nearest that does no harm, with a warning.
    fn for_loader(
        given: Option<&str>,
        version: Option<u32>,
        progress: &Progress,
    ) -> Result<Self, Error> {
        let knows_if_safe = version.is_some_and(|version| version >= 253);
        let number = version.map_or_else(
            || "of unknown version".into(),
            |version| version.to_string(),
        );
        match given.map(Self::parse).transpose()? {
            Some(Self::IfSafe) if !knows_if_safe => {
                progress.warning(format_args!(
                    "systemd-boot {number} does not know 'if-safe', so it will enrol only on request ('manual'); \
                     --enroll-keys force makes it enrol by itself, on real machines as well"
                ));
                Ok(Self::Manual)
            }
            Some(choice) => Ok(choice),
            None if knows_if_safe => Ok(Self::IfSafe),
            None => {
                progress.warning(format_args!(
                    "systemd-boot {number} enrols keys by itself only when forced: 'secure-boot-enroll force' is \
                     written; --enroll-keys manual makes it ask"
                ));
                Ok(Self::Force)
            }
        }
    }
}

/// The version of systemd-boot, from the text that it carries (`#### LoaderInfo: systemd-boot 257.13 ####`).
#[must_use]
pub fn loader_version_text(image: &[u8]) -> Option<String> {
    let marker = b"#### LoaderInfo: ";
    let start = image
        .windows(marker.len())
        .position(|window| window == marker)?
        + marker.len();
    let text = image.get(start..(start + 128).min(image.len()))?;
    let end = text.windows(5).position(|window| window == b" ####")?;
    String::from_utf8(text.get(..end)?.to_vec()).ok()
}

/// The number in such a text.
#[must_use]
pub fn version_number(text: &str) -> Option<u32> {
    let digits = text
        .rsplit(' ')
        .next()?
        .split(|c: char| !c.is_ascii_digit())
        .next()?;
    digits.parse().ok()
}

/// Where the enrolment files are: given ones, or those in the Secure Boot folder.
///
/// # Errors
/// [`Error::Missing`]: either all of PK, KEK and db or none can be enrolled.
pub fn enrolment_files(assets: &Assets) -> Result<Vec<(&'static str, PathBuf)>, Error> {
    let options = &assets.options;
    let folder = &options.secureboot_dir;
    let named = [
        ("db.auth", &options.db, "--db"),
        ("dbx.auth", &options.dbx, "--dbx"),
        ("KEK.auth", &options.kek, "--kek"),
        ("PK.auth", &options.pk, "--pk"),
    ];
    let mut files = Vec::new();
    for (name, given, flag) in named {
        let path = given.clone().unwrap_or_else(|| folder.join(name));
        if path.is_file() {
            files.push((name, path));
        } else if given.is_some() {
            return Err(Error::usage(
                flag,
                format!("{} is not a file", path.display()),
            ));
        } else if name != "dbx.auth" {
            return Err(Error::Missing {
                what: "an enrolment file",
                hint: format!(
                    "looked for {}; give it with {flag}, or make all with: imager gen database -o {}",
                    path.display(),
                    folder.display()
                ),
            });
        }
    }
    Ok(files)
}

/// The boot loader, signed.
///
/// # Errors
/// [`Error::Missing`], [`Error::Input`] when the file is no EFI image for this architecture.
pub fn signed_loader(assets: &Assets) -> Result<Vec<u8>, Error> {
    let path = assets.options.boot_loader(assets.arch)?;
    let mut bytes = read(&path)?;
    let input = |error: authenticode::Error| Error::input("boot loader", &path, error);
    let image = Image::parse(&bytes).map_err(input)?;
    let machine = match assets.arch {
        crate::arch::Arch::Amd64 => 0x8664,
        crate::arch::Arch::Arm64 => 0xaa64,
    };
    if image.machine() != machine {
        let found = format!(
            "made for machine {:#06x}, not for {}",
            image.machine(),
            assets.arch.name()
        );
        return Err(Error::input("boot loader", &path, found));
    }
    let chain = Certificate::from_pem_or_der(&assets.signing_cert)
        .map_err(|error| Error::input("certificate", &assets.signing_cert_path, error))?;
    let [signer, rest @ ..] = chain.as_slice() else {
        return Err(Error::Missing {
            what: "the Secure Boot certificate",
            hint: "the file holds none".into(),
        });
    };
    Signing::new(signer)
        .chain(rest.iter().cloned())
        .prepare(image)
        .and_then(|prepared| {
            prepared.sign(&authenticode::RsaSigner::new(assets.signing_key.clone()))
        })
        .and_then(|signed| signed.edit()?.apply_to_bytes(&mut bytes))
        .map_err(input)?;
    Ok(bytes)
}

/// The files of the EFI system partition; `uki` is the signed UKI.
///
/// # Errors
/// [`Error::Missing`] and [`Error::Input`] for loader and enrolment files, [`Error::Usage`] for `--enroll-keys`.
pub fn esp_tree(assets: &Assets, uki: &Path, progress: &Progress) -> Result<Tree, Error> {
    let loader = signed_loader(assets)?;
    let version = loader_version_text(&loader);
    let number = version
        .as_deref()
        .filter(|text| text.contains("systemd-boot"))
        .and_then(version_number);
    if number.is_none() {
        progress.warning("the boot loader does not tell that it is systemd-boot; its configuration may not be read");
    }
    let enroll = EnrollKeys::for_loader(assets.options.enroll_keys.as_deref(), number, progress)?;
    // Signing appends: everything else of the loader stands where it stood.
    let mut tree = Tree::new()
        .file(
            format!("EFI/BOOT/BOOT{}.EFI", assets.arch.efi_name()),
            loader.clone(),
        )
        .file(format!("EFI/Linux/{}.efi", assets.label), Source::file(uki))
        .file("loader/loader.conf", loader_conf(enroll))
        // systemd-boot 261 makes this file when it is missing, on read-only media too, where some firmware faults.
        .entry("loader/random-seed", Entry::file(vec![0; 32]).read_only());
    if enroll != EnrollKeys::Off {
        let files = enrolment_files(assets)?;
        check_enrolment(&files, &loader)?;
        for (name, path) in files {
            if name == "dbx.auth" && number.is_some_and(|number| number < 257) {
                progress.warning("dbx.auth is enrolled by systemd-boot 257 and later only");
            }
            tree = tree.file(format!("loader/keys/auto/{name}"), read(&path)?);
        }
    }
    let certificate = Certificate::from_pem_or_der(&assets.signing_cert)
        .map_err(|error| Error::input("certificate", &assets.signing_cert_path, error))?;
    if let Some(first) = certificate.first() {
        tree = tree.file("EFI/keys/uki-signing-cert.der", first.as_der().to_vec());
    }
    Ok(tree)
}

/// Makes sure that each file sets the variable that it is named after, and that firmware with these keys will start the
/// boot loader: a machine that enrols others starts nothing any more.
fn check_enrolment(files: &[(&'static str, PathBuf)], loader: &[u8]) -> Result<(), Error> {
    let mut databases = Databases::new();
    let mut db_path = Path::new("db.auth");
    for (file, path) in files {
        let wrong = |problem: String| Error::input("enrolment file", path, problem);
        let bytes = read(path)?;
        let update =
            AuthenticatedUpdate::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
        let name = file.trim_end_matches(".auth");
        if update.is_signed() {
            let signed_for = update
                .explain()
                .signed_for
                .filter(|found| found.is_usable());
            match signed_for {
                Some(found) if found.name.name() == name => {}
                Some(found) => {
                    return Err(wrong(format!("it is signed for {found}, not for {name}")));
                }
                None => return Err(wrong(format!("its signature is not one for {name}"))),
            }
        }
        let list = authenticode::SignatureDatabase::parse(update.value());
        let list = list.map_err(|error| wrong(error.to_string()))?;
        match name {
            "db" => {
                databases = databases.db(list);
                db_path = path;
            }
            "dbx" => databases = databases.dbx(list),
            _ => {}
        }
    }
    let hashing = ImageOptions::new().also(&databases.hashes());
    let verdict = Image::parse_with(loader, &hashing)
        .and_then(|image| databases.judge(&image, Edk2::Stable202502))
        .map_err(|error| Error::step("judge the signed boot loader", error))?;
    if verdict.is_allowed() {
        return Ok(());
    }
    let problem = format!(
        "firmware with these keys refuses what the signing certificate signs: {}",
        verdict.reason()
    );
    Err(Error::input("enrolment file", db_path, problem))
}

fn loader_conf(enroll: EnrollKeys) -> Vec<u8> {
    format!(
        "# systemd-boot configuration\n\ntimeout 10\n\nsecure-boot-enroll {}\n",
        enroll.word()
    )
    .into_bytes()
}

/// The time that all files of a medium carry.
///
/// # Errors
/// [`Error::Usage`] when `SOURCE_DATE_EPOCH` is no number.
pub fn timestamp() -> Result<Timestamp, Error> {
    Ok(Timestamp::from_unix(
        i64::try_from(clock::now_seconds()?).unwrap_or(i64::MAX),
    ))
}

/// A volume identifier of the characters that ISO 9660 has, at most 32.
#[must_use]
pub fn volume_id(label: &str) -> String {
    label
        .chars()
        .filter_map(|c| match c.to_ascii_uppercase() {
            c @ ('A'..='Z' | '0'..='9' | '_') => Some(c),
            '-' | '.' => Some('_'),
            _ => None,
        })
        .take(32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_version_that_a_loader_carries() {
        let image = b"..\0#### LoaderInfo: systemd-boot 252.39-1~deb12u1 ####\0..";
        let text = loader_version_text(image).unwrap();
        assert_eq!(text, "systemd-boot 252.39-1~deb12u1");
        assert_eq!(version_number(&text), Some(252));
        assert_eq!(loader_version_text(b"#### LoaderInfo: x"), None);
    }

    #[test]
    fn never_writes_what_an_old_loader_does_not_know() {
        let hidden = Progress::hidden();
        let pick = |given, version| EnrollKeys::for_loader(given, version, &hidden).unwrap();
        assert_eq!(pick(None, Some(252)), EnrollKeys::Force);
        assert_eq!(pick(Some("if-safe"), Some(252)), EnrollKeys::Manual);
        assert_eq!(pick(None, Some(257)), EnrollKeys::IfSafe);
        assert_eq!(pick(Some("off"), None), EnrollKeys::Off);
        assert!(EnrollKeys::for_loader(Some("maybe"), None, &hidden).is_err());
    }

    #[test]
    fn volume_identifiers_are_talos_like() {
        assert_eq!(volume_id("Talos-v1.9.0"), "TALOS_V1_9_0");
    }
}
