//! The signed UKI: one pass over kernel and initramfs, in which the PCR banks and the signature's digest see each byte.

use std::thread;

use authenticode::{Certificate, HashAlgorithm, ImageHasher, ImageOptions, Signing};
use pcr::{Bank, Dialect, Pcr11, PhasePath};
use uki::{Builder, Plan, Profile, SectionName, Source, Stub, Worker};

use crate::assets::{Assets, read};
use crate::output::Output;
use crate::progress::Progress;
use crate::{Error, generate};

/// What a build knows of the UKI that it has written, without reading it again.
#[derive(Debug)]
#[non_exhaustive]
pub struct BuiltUki {
    /// The section hashes, for predictions.
    pub boot: Pcr11,
    /// Length of the signed file, in bytes.
    pub len: u64,
    /// Version of the stub, as `.sdmagic` has it.
    pub stub_version: String,
}

/// Boot profiles beside the main one, as given with `--uki-profile ID[:TITLE]=COMMAND LINE`.
struct ExtraProfile<'a> {
    id: &'a str,
    title: Option<&'a str>,
    cmdline: &'a str,
}

/// Writes the signed UKI.
///
/// # Errors
/// [`Error::Step`] with the crate's reason: inputs that are not what they should be, before anything is written; a
/// source that changed meanwhile; a full disk.
pub fn build(assets: &Assets, out: &mut Output, progress: &Progress) -> Result<BuiltUki, Error> {
    let banks = parse_banks(&assets.options.banks)?;
    let paths = phase_paths(&assets.options.phases);
    let pcr_signer = pcr::RsaSigner::new(assets.pcr_key.clone())
        .map_err(|error| Error::step("use the PCR signing key", error))?;
    if let Some(warning) = pcr_signer.public_key().warning() {
        progress.warning(warning);
    }
    let plan = plan(assets, &paths, &banks, pcr_signer.public_key().bits())?;
    let dialect = Dialect::from_stub(&format!("{} {}", plan.stub().name(), plan.stub().version()));
    if let Some(warning) = dialect.warning() {
        progress.warning(format_args!("{}: {warning}", assets.stub.display()));
    }
    if plan.profiles().len() > 1 && !dialect.has_profiles() {
        let problem = format!(
            "systemd-stub {} knows no profiles; 257 and later do",
            plan.stub().version()
        );
        return Err(Error::usage("--uki-profile", problem));
    }

    let chain = Certificate::from_pem_or_der(&assets.signing_cert)
        .map_err(|error| Error::input("certificate", &assets.signing_cert_path, error))?;
    let mut bar = progress.bar("UKI", plan.len());
    let (boot, image) = thread::scope(|scope| {
        let boot = Worker::spawn(scope, Pcr11::new(dialect, &banks), |boot, part| {
            if let Some(measured) = part.measured() {
                boot.observe(
                    (measured.profile, measured.section, measured.ordinal),
                    measured.bytes,
                );
            }
        });
        let image = Worker::spawn(
            scope,
            ImageHasher::with_options(ImageOptions::new()),
            |image, part| {
                image.update(part.bytes());
            },
        );
        let mut workers = (boot, image);
        plan.write(
            out,
            &mut workers,
            |(boot, image), part| {
                boot.observe(part);
                image.observe(part);
                bar.advance(part.bytes().len() as u64);
            },
            |(boot, _), turn| {
                let (paths, signer) = (&paths, &pcr_signer);
                let profile = turn.profile().unwrap_or(0);
                let document = boot.ask(move |boot| -> Result<Vec<u8>, pcr::Error> {
                    let policies = boot.profile(profile)?.policies(paths)?;
                    Ok(policies.sign(signer.public_key(), signer)?.to_json())
                });
                Ok(document??)
            },
        )?;
        Ok::<_, uki::Error>((workers.0.finish()?, workers.1.finish()?))
    })
    .map_err(|error| Error::step("build the UKI", error))?;

    let step = |error| Error::step("sign the UKI", error);
    let [signer, rest @ ..] = chain.as_slice() else {
        return Err(Error::Missing {
            what: "the Secure Boot certificate",
            hint: "the file holds none".into(),
        });
    };
    let signed = Signing::new(signer)
        .chain(rest.iter().cloned())
        .hash(HashAlgorithm::Sha256)
        .prepare(image.finish().map_err(step)?)
        .and_then(|prepared| {
            prepared.sign(&authenticode::RsaSigner::new(assets.signing_key.clone()))
        })
        .map_err(step)?;
    signed.append_to(&mut out.file()).map_err(step)?;
    let len = signed.edit().map_err(step)?.len();
    Ok(BuiltUki {
        boot,
        len,
        stub_version: plan.stub().version().to_owned(),
    })
}

fn plan(
    assets: &Assets,
    paths: &[PhasePath],
    banks: &[Bank],
    key_bits: usize,
) -> Result<Plan, Error> {
    let step = |error| match error {
        uki::Error::NotAKernel { .. } => Error::input("kernel", &assets.kernel, error),
        uki::Error::MachineMismatch { section, .. } if section == SectionName::LINUX => {
            Error::input("kernel", &assets.kernel, error)
        }
        error => Error::step("lay out the UKI", error),
    };
    let stub = Stub::parse(&read(&assets.stub)?)
        .map_err(|error| Error::input("systemd-stub", &assets.stub, error))?;
    if stub.id().name() == "systemd-boot" || stub.id().is_addon() {
        let problem = format!(
            "this is {}; the stub is called linux*.efi.stub",
            stub.id().name()
        );
        return Err(Error::input("systemd-stub", &assets.stub, problem));
    }
    let options = &assets.options;
    let pcrsig_len = pcr::signature_document_len(paths, banks, key_bits);
    let mut builder = Builder::new(stub)
        .linux(Source::file(&assets.kernel))
        .pcrpkey(generate::public_pem(&assets.pcr_key)?.into_bytes());
    for part in &assets.initramfs {
        builder = builder.initrd(Source::file(part));
    }
    if !assets.cmdline.is_empty() {
        builder = builder.cmdline_verbatim(assets.cmdline.clone());
    }
    if let Some(text) = &assets.os_release {
        builder = builder.os_release(text.clone());
    }
    if let Some(version) = &options.uname {
        builder = builder.uname(version);
    }
    for path in &options.sbat {
        let text = String::from_utf8(read(path)?)
            .map_err(|error| Error::input("SBAT text", path, error))?;
        builder = builder.sbat(text);
    }
    if let Some(path) = &options.splash {
        builder = builder.splash(Source::file(path));
    }
    if let Some(path) = &options.microcode {
        builder = builder.ucode(Source::file(path));
    }
    if options.uki_profiles.is_empty() {
        return builder.pcrsig_len(pcrsig_len).plan().map_err(step);
    }
    // Each profile has its own policies, the main one too, so it becomes a profile by name.
    builder = builder.profile(Profile::new("ID=main\n").pcrsig_len(pcrsig_len));
    let mut ids = vec!["main"];
    for text in &options.uki_profiles {
        let extra = ExtraProfile::parse(text)?;
        if ids.contains(&extra.id) {
            let problem = format!("'{}' is there already", extra.id);
            return Err(Error::usage("--uki-profile", problem));
        }
        ids.push(extra.id);
        let title = extra
            .title
            .map(|title| format!("TITLE={title}\n"))
            .unwrap_or_default();
        let profile = Profile::new(format!("ID={}\n{title}", extra.id).into_bytes())
            .cmdline(extra.cmdline)
            .pcrsig_len(pcrsig_len);
        builder = builder.profile(profile);
    }
    builder.plan().map_err(step)
}

impl<'a> ExtraProfile<'a> {
    fn parse(text: &'a str) -> Result<Self, Error> {
        let wrong = |problem: &str| Error::usage("--uki-profile", format!("'{text}': {problem}"));
        let (head, cmdline) = text
            .split_once('=')
            .ok_or_else(|| wrong("ID[:TITLE]=COMMAND LINE expected"))?;
        let (id, title) = head
            .split_once(':')
            .map_or((head, None), |(id, title)| (id, Some(title)));
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if id.is_empty() || !id.chars().all(plain) {
            return Err(wrong("the ID takes letters, digits, '-', '_' and '.'"));
        }
        if title.is_some_and(|title| title.chars().any(char::is_control)) {
            return Err(wrong("the title has a control character"));
        }
        Ok(Self { id, title, cmdline })
    }
}

/// Banks from a list joined by commas.
///
/// # Errors
/// [`Error::Usage`] names the unknown one.
pub fn parse_banks(text: &str) -> Result<Vec<Bank>, Error> {
    let names = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let banks: Vec<Bank> = names
        .map(|name| {
            name.parse()
                .map_err(|error| Error::usage("--banks", format!("'{name}': {error}")))
        })
        .collect::<Result<_, _>>()?;
    if banks.is_empty() {
        return Err(Error::usage("--banks", "at least one bank is needed"));
    }
    Ok(banks)
}

/// Phase paths as given; `systemd` and `talos` stand for their own; nothing given means the one that disk keys want.
#[must_use]
pub fn phase_paths(given: &[String]) -> Vec<PhasePath> {
    let mut paths = Vec::new();
    for text in given {
        match text.as_str() {
            "systemd" => paths.extend(PhasePath::systemd()),
            "talos" => paths.push(PhasePath::talos()),
            list => paths.extend(PhasePath::list(list)),
        }
    }
    if paths.is_empty() {
        paths.push(PhasePath::initrd());
    }
    paths.sort();
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_have_an_id_perhaps_a_title_and_a_command_line() {
        let full = ExtraProfile::parse("reset:Reset disk=console=ttyS0 wipe=system").unwrap();
        assert_eq!(
            (full.id, full.title, full.cmdline),
            ("reset", Some("Reset disk"), "console=ttyS0 wipe=system")
        );
        assert_eq!(ExtraProfile::parse("a=").unwrap().cmdline, "");
        assert!(ExtraProfile::parse("no command line").is_err());
        assert!(ExtraProfile::parse("a b=x").is_err());
    }

    #[test]
    fn phase_paths_are_sorted_and_unique() {
        assert_eq!(phase_paths(&[]), [PhasePath::initrd()]);
        let all = phase_paths(&["systemd".into(), "enter-initrd".into(), "talos".into()]);
        assert_eq!(all.len(), 5);
        assert!(all.is_sorted());
    }

    #[test]
    fn banks_are_named() {
        assert_eq!(
            parse_banks("sha256, sha1").unwrap(),
            [Bank::Sha256, Bank::Sha1]
        );
        assert!(
            parse_banks("md5")
                .unwrap_err()
                .to_string()
                .starts_with("--banks: 'md5'")
        );
        assert!(parse_banks("").is_err());
    }
}
