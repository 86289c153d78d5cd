//! The work of this repository, composed as `examples/imager` composes it.

use std::fs::{self, File};
use std::thread;

use authenticode::{Certificate, HashAlgorithm, Image, ImageHasher, ImageOptions, Prepared};
use authenticode::{Signing, Verifier};
use pcr::{Bank, Dialect, Pcr11, PhasePath};
use uki::{Builder, Source, Stub, Worker};

use crate::Outcome;
use crate::cases::theirs::pieces;
use crate::inputs::Folder;

pub(super) fn uki(folder: &Folder) -> Outcome<()> {
    let signer = pcr::RsaSigner::from_pem(&folder.read_text("pcr.key")?)?;
    let (paths, banks) = ([PhasePath::initrd()], [Bank::Sha256]);
    let len = pcr::signature_document_len(&paths, &banks, signer.public_key().bits());
    let plan = Builder::new(Stub::parse(&fs::read(folder.file("stub"))?)?)
        .linux(Source::file(folder.file("vmlinuz")))
        .initrd(Source::file(folder.file("initramfs")))
        .cmdline("quiet")
        .os_release("ID=bench")
        .pcrpkey(signer.public_key().to_pem())
        .pcrsig_len(len)
        .plan()?;
    let dialect = Dialect::identify(plan.stub().name(), plan.stub().version());
    let mut out = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(folder.output())?;
    let image = thread::scope(|scope| {
        let boot = Worker::spawn(scope, Pcr11::new(dialect, &banks), |boot, part| {
            if let Some(measured) = part.measured() {
                boot.observe(measured.key(), measured.bytes);
            }
        });
        let image = Worker::spawn(scope, ImageHasher::new(), |image, part| {
            image.update(part.bytes());
        });
        let mut workers = (boot, image);
        plan.write(
            &mut out,
            &mut workers,
            |(boot, image), part| {
                boot.observe(part);
                image.observe(part);
            },
            |(boot, _), _| {
                let (paths, signer) = (&paths, &signer);
                Ok(boot.ask(move |boot| -> Result<_, pcr::Error> {
                    let policies = boot.policies(paths)?;
                    Ok(policies.sign(signer.public_key(), signer)?.to_json())
                })??)
            },
        )?;
        workers.0.finish()?;
        workers.1.finish()
    })?;
    let (certificate, signer) = signing_pair(folder)?;
    Prepared::new(image.finish()?, &certificate)?
        .sign(&signer)?
        .append_to(&mut out)?;
    Ok(())
}

pub(super) fn iso_large(folder: &Folder) -> Outcome<()> {
    iso(folder, "large")
}

pub(super) fn iso_small(folder: &Folder) -> Outcome<()> {
    iso(folder, "small")
}

fn iso(folder: &Folder, content: &str) -> Outcome<()> {
    let tree = iso9660::Tree::from_dir(folder.file(content))?;
    iso9660::Image::new(tree)
        .volume_id("BENCH")
        .plan()?
        .write_file(folder.output())?;
    Ok(())
}

pub(super) fn esp(folder: &Folder) -> Outcome<()> {
    let tree = iso9660::Tree::from_dir(folder.file("large"))?;
    iso9660::Fat::new(tree)
        .kind(iso9660::FatKind::Fat32)
        .label("EFI")
        .plan()?
        .write_file(folder.output())?;
    Ok(())
}

pub(super) fn banks(folder: &Folder) -> Outcome<()> {
    let mut boot = Pcr11::new(Dialect::Systemd257, &Bank::ALL);
    pieces(&folder.file("sections"), |piece, (): &mut ()| {
        boot.observe(".linux", piece);
    })?;
    let registers = boot.registers(&[PhasePath::initrd()])?;
    if registers.len() == Bank::ALL.len() {
        Ok(())
    } else {
        Err("a bank is missing".into())
    }
}

pub(super) fn digest(folder: &Folder) -> Outcome<()> {
    let image = Image::read(&mut File::open(folder.file("unsigned"))?)?;
    image.digest_for_signing(HashAlgorithm::Sha256)?;
    Ok(())
}

pub(super) fn sign(folder: &Folder) -> Outcome<()> {
    let (certificate, signer) = signing_pair(folder)?;
    let mut out = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(folder.output())?;
    let mut input = File::open(folder.file("unsigned"))?;
    let image = Image::copy(&mut input, &mut out, &ImageOptions::new())?;
    Prepared::new(image, &certificate)?
        .sign(&signer)?
        .edit()?
        .apply_to_file(&mut out)?;
    Ok(())
}

/// Replaces the signature of the image that is signed already: as much work, and the next case finds a signed one.
pub(super) fn sign_in_place(folder: &Folder) -> Outcome<()> {
    let (certificate, signer) = signing_pair(folder)?;
    let mut file = File::options()
        .read(true)
        .write(true)
        .open(folder.file("signed"))?;
    let image = Image::read(&mut file)?;
    Signing::new(&certificate)
        .existing(authenticode::Existing::ReplaceAll)
        .prepare(image)?
        .sign(&signer)?
        .edit()?
        .apply_to_file(&mut file)?;
    Ok(())
}

pub(super) fn verify(folder: &Folder) -> Outcome<()> {
    let (certificate, _) = signing_pair(folder)?;
    let image = Image::read(&mut File::open(folder.file("signed"))?)?;
    if Verifier::new()
        .trust([certificate])
        .verify(&image)
        .is_trusted()
    {
        Ok(())
    } else {
        Err("the signature is not trusted".into())
    }
}

fn signing_pair(folder: &Folder) -> Outcome<(Certificate, authenticode::RsaSigner)> {
    Ok((
        Certificate::from_pem(&folder.read_text("signing.crt")?)?,
        authenticode::RsaSigner::from_pem(&folder.read_text("signing.key")?)?,
    ))
}
