//! The command line of `imager`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::assets::BuildOptions;
use crate::build_installer::InstallerOptions;

/// Keys, Unified Kernel Images, Secure Boot media and predictions from one command
///
/// Progress goes to standard error, results to files, and with --json one document to standard output.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done, or the answer is yes; 1 the answer is no; 2 wrong use, or an input that cannot be read.

Example, from nothing to a medium that enrols its own keys:
  imager gen uki && imager gen pcr && imager gen database
  imager secureboot-iso --kernel vmlinuz --initramfs initramfs.xz --cmdline 'console=ttyS0' --os-release os-release
  imager predict _out/metal-amd64-secureboot.iso"
)]
#[non_exhaustive]
pub struct Cli {
    /// Print one JSON document on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing on standard error but warnings and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the program has to handle every command"
)]
pub enum Command {
    /// Make keys, certificates and enrolment files
    Gen {
        /// What to make
        #[command(subcommand)]
        what: Gen,
    },
    /// Build the ISO that boots as CD and USB stick and enrols its keys
    #[command(
        after_help = "Example: imager secureboot-iso --kernel vmlinuz --initramfs initramfs.xz --cmdline 'console=ttyS0' --os-release os-release --uki-profile 'reset:Reset system disk=console=ttyS0 wipe=system'"
    )]
    SecurebootIso(BuildOptions),
    /// Build the signed UKI alone, for PXE and HTTP boot
    #[command(
        after_help = "Example: imager secureboot-metal-uki --kernel vmlinuz --initramfs initramfs.xz --cmdline 'console=ttyS0'"
    )]
    SecurebootMetalUki(BuildOptions),
    /// Build a disk image with an EFI system partition
    #[command(
        after_help = "Example: imager secureboot-metal --kernel vmlinuz --initramfs initramfs.xz --cmdline 'console=ttyS0' --format zst"
    )]
    SecurebootMetal(DiskOptions),
    /// Build the installer, a container image with the signed boot loader and UKI
    #[command(
        after_help = "Example: imager secureboot-installer --kernel vmlinuz --initramfs initramfs.xz --base-installer oci-layout/"
    )]
    SecurebootInstaller(InstallerOptions),
    /// Predict the registers that booting a UKI or ISO gives
    #[command(
        after_help = "Example: imager predict _out/metal-amd64-secureboot.iso --bank sha256 --phases enter-initrd
         imager predict --event-log binary_bios_measurements"
    )]
    Predict(PredictOptions),
    /// Show what is in a UKI, ISO, .auth, .esl, variable store, event log or token
    #[command(after_help = "Example: imager inspect _out/db.auth")]
    Inspect(InspectOptions),
    /// Tell whether firmware with the given keys would start an image, and why not
    #[command(after_help = "Example: imager verify --db uki-signing-cert.pem BOOTX64.EFI")]
    Verify(VerifyOptions),
    /// Sign an EFI image for Secure Boot
    #[command(
        after_help = "Example: imager sign --key uki-signing-key.pem --cert uki-signing-cert.pem --output signed.efi image.efi"
    )]
    Sign(SignOptions),
    /// Tell why measured registers differ from the predicted ones
    #[command(after_help = "Example: imager explain uki.efi --pcr11 6c0f…
         imager explain uki.efi --pcr11 6c0f… --suspect 'cmdline=quiet debug'
         imager explain _out/metal-amd64-secureboot.iso --event-log binary_bios_measurements")]
    Explain(ExplainOptions),
    /// Change a finished UKI; sections that are not named stay byte for byte
    #[command(
        after_help = "Example: imager edit uki.efi --set cmdline=@cmdline.txt --output new.efi"
    )]
    Edit(EditOptions),
}

/// `imager gen`.
#[derive(Debug, Subcommand)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the program has to handle every command"
)]
pub enum Gen {
    /// The Secure Boot key and its self-signed certificate
    Uki {
        /// Common name of the certificate
        #[arg(long, value_name = "NAME", default_value = "UKI signing key")]
        common_name: String,
        /// Length of the RSA key
        #[arg(long, value_name = "BITS", default_value = "4096", value_parser = ["2048", "3072", "4096"])]
        bits: String,
        /// Where the files go
        #[command(flatten)]
        out: OutDir,
    },
    /// The key that signs PCR 11 policies (RSA-2048, which every TPM verifies)
    Pcr {
        /// Where the files go
        #[command(flatten)]
        out: OutDir,
    },
    /// PK.auth, KEK.auth and db.auth, with which a machine in setup mode enrols the keys, and the .esl files
    #[command(
        after_help = "Example: imager gen database --db-cert release.pem --include-well-known-uefi-certs --well-known-certs-dir certs/"
    )]
    Database(DatabaseOptions),
}

/// Where generated files go.
#[derive(Debug, Clone, Args)]
#[non_exhaustive]
pub struct OutDir {
    /// Folder for the files
    #[arg(long, short, value_name = "DIR", default_value = "_out")]
    pub output: PathBuf,
    /// Replace existing files; an existing private key is kept beside as NAME.1
    #[arg(long)]
    pub force: bool,
}

/// `imager gen database`.
#[derive(Debug, Clone, Args)]
#[non_exhaustive]
pub struct DatabaseOptions {
    /// Key that signs the updates [default: DIR/uki-signing-key.pem]
    #[arg(long, value_name = "FILE")]
    pub signing_key: Option<PathBuf>,
    /// Its certificate, which becomes PK [default: DIR/uki-signing-cert.pem]
    #[arg(long, value_name = "FILE")]
    pub signing_cert: Option<PathBuf>,
    /// Certificate for KEK; may be repeated [default: the signing certificate]
    #[arg(long, value_name = "FILE")]
    pub kek_cert: Vec<PathBuf>,
    /// Certificate for db; may be repeated [default: the signing certificate]
    #[arg(long, value_name = "FILE")]
    pub db_cert: Vec<PathBuf>,
    /// Certificate for dbx; may be repeated
    #[arg(long, value_name = "FILE")]
    pub dbx_cert: Vec<PathBuf>,
    /// Owner of the entries, a GUID [default: made from the certificate file, as Talos does]
    #[arg(long, value_name = "GUID")]
    pub owner: Option<String>,
    /// Add Microsoft's certificates (KEK, UEFI CA 2011 and 2023, Option ROM CA 2023)
    #[arg(long)]
    pub include_well_known_uefi_certs: bool,
    /// Folder with Microsoft's certificates, DER or PEM, under any names; they are found by fingerprint
    #[arg(long, value_name = "DIR")]
    pub well_known_certs_dir: Option<PathBuf>,
    /// File with the passphrase of the key (or set IMAGER_KEY_PASSPHRASE)
    #[arg(long, value_name = "FILE")]
    pub key_passphrase_file: Option<PathBuf>,
    /// Where the files go
    #[command(flatten)]
    pub out: OutDir,
}

/// `imager secureboot-metal`.
#[derive(Debug, Clone, Args)]
#[non_exhaustive]
pub struct DiskOptions {
    /// What the image is made of
    #[command(flatten)]
    pub build: BuildOptions,
    /// Size of the disk: bytes, or with K, M, G [default: 1246M]
    #[arg(long, value_name = "SIZE")]
    pub disk_size: Option<String>,
    /// Sector size: 512 or 4096
    #[arg(long, value_name = "BYTES")]
    pub sector_size: Option<u32>,
    /// raw, or zst for a compressed image
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

/// Where the Secure Boot variables come from.
#[derive(Debug, Clone, Default, Args)]
#[non_exhaustive]
pub struct VariableOptions {
    /// Folder with the .auth files of `imager gen database`
    #[arg(long, value_name = "DIR")]
    pub secureboot_dir: Option<PathBuf>,
    /// PK as .auth, .esl or certificate; - for an empty variable
    #[arg(long, value_name = "FILE")]
    pub pk: Option<PathBuf>,
    /// KEK, likewise
    #[arg(long, value_name = "FILE")]
    pub kek: Option<PathBuf>,
    /// db, likewise
    #[arg(long, value_name = "FILE")]
    pub db: Option<PathBuf>,
    /// dbx, likewise
    #[arg(long, value_name = "FILE")]
    pub dbx: Option<PathBuf>,
}

/// What is known of a boot beside the file itself.
#[derive(Debug, Clone, Default, Args)]
#[non_exhaustive]
pub struct BootOptions {
    /// Entry of the boot menu, by the name of its UKI or .conf file [default: what loader.conf says]
    #[arg(long, value_name = "NAME")]
    pub entry: Option<String>,
    /// Profile of the UKI, by number [default: 0, or what the boot entry says]
    #[arg(long, value_name = "N")]
    pub uki_profile: Option<u32>,
    /// What the machine picks of .dtbauto and .efifw sections, such as 'dtbauto 0' [default: none]
    #[arg(long, value_name = "CHOICE")]
    pub hardware: Option<String>,
    /// Kernel arguments passed to the UKI from outside
    #[arg(long, value_name = "TEXT")]
    pub passed_cmdline: Option<String>,
    /// The boot has Secure Boot off
    #[arg(long)]
    pub secure_boot_off: bool,
    /// The ISO is booted as a USB stick, not as a CD (PCR 5 has its partition table then)
    #[arg(long)]
    pub usb: bool,
    /// Boot loader that starts the UKI [default: the one on the medium]
    #[arg(long, value_name = "FILE")]
    pub loader: Option<PathBuf>,
    /// Addon beside the UKI, in addition to those on the medium; may be repeated
    #[arg(long, value_name = "FILE")]
    pub addon: Vec<PathBuf>,
    /// Credential (.cred) or extension (.raw, .confext.raw) beside the UKI, likewise; may be repeated
    #[arg(long, value_name = "FILE", visible_alias = "extension")]
    pub credential: Vec<PathBuf>,
}

/// `imager predict`.
#[derive(Debug, Clone, Default, Args)]
#[non_exhaustive]
pub struct PredictOptions {
    /// A UKI or ISO
    #[arg(required_unless_present = "event_log")]
    pub file: Option<PathBuf>,
    /// The machine's variables, for PCR 7
    #[command(flatten)]
    pub variables: VariableOptions,
    /// Predict PCR 7 from this event log, with the variables given above in place of its own
    #[arg(long, value_name = "FILE")]
    pub event_log: Option<PathBuf>,
    /// Boot phase path; may be repeated; systemd and talos stand for their own [default: none, and systemd's]
    #[arg(long = "phases", value_name = "PATH")]
    pub phases: Vec<String>,
    /// PCR bank; may be repeated [default: all four]
    #[arg(long = "bank", value_name = "BANK")]
    pub banks: Vec<String>,
    /// How it is booted
    #[command(flatten)]
    pub boot: BootOptions,
    /// Write systemd-pcrlock components into this folder
    #[arg(long, value_name = "DIR")]
    pub pcrlock: Option<PathBuf>,
}

/// `imager inspect`.
#[derive(Debug, Clone, Args)]
#[non_exhaustive]
pub struct InspectOptions {
    /// The file; its kind is found by its content
    pub file: PathBuf,
}

/// `imager verify`.
#[derive(Debug, Clone, Args)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// EFI image, UKI or ISO
    pub file: PathBuf,
    /// Certificate to trust, PEM or DER, as sbverify takes it; may be repeated
    #[arg(long = "cert", value_name = "FILE")]
    pub certs: Vec<PathBuf>,
    /// The machine's variables
    #[command(flatten)]
    pub variables: VariableOptions,
    /// What shim goes by
    #[command(flatten)]
    pub shim: crate::verify::ShimOptions,
    /// dbt (.auth, .esl or certificate): whose timestamps excuse from an entry of dbx that holds from a time on
    #[arg(long, value_name = "FILE")]
    pub dbt: Option<PathBuf>,
    /// Judge this detached signature in place of those in the image
    #[arg(long, value_name = "FILE")]
    pub detached: Option<PathBuf>,
    /// Only list the signatures
    #[arg(long)]
    pub list: bool,
}

/// `imager sign`.
#[derive(Debug, Clone, Args)]
#[non_exhaustive]
pub struct SignOptions {
    /// EFI image
    pub file: PathBuf,
    /// Private key, PEM
    #[arg(long, value_name = "FILE", required_unless_present_any = ["prepare", "signature", "change"], conflicts_with = "change")]
    pub key: Option<PathBuf>,
    /// Certificate or chain, signer first
    #[arg(long, value_name = "FILE", required_unless_present = "change")]
    pub cert: Option<PathBuf>,
    /// Further certificate to embed; may be repeated
    #[arg(long, value_name = "FILE")]
    pub addcert: Vec<PathBuf>,
    /// Hash: sha256, sha384 or sha512
    #[arg(long, value_name = "NAME", default_value = "sha256")]
    pub hash: String,
    /// Result [default: FILE.signed]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write the signature alone, as PKCS#7
    #[arg(long)]
    pub detached: bool,
    /// Remove all other signatures
    #[arg(long)]
    pub replace: bool,
    /// Remove all signatures and add none
    #[arg(long, group = "change")]
    pub remove_all: bool,
    /// Attach this detached signature
    #[arg(long, value_name = "FILE", group = "change")]
    pub attach: Option<PathBuf>,
    /// Write the bytes that an external key must sign (sign them with SHA-256 and PKCS#1 v1.5)
    #[arg(long, value_name = "FILE", conflicts_with = "signature")]
    pub prepare: Option<PathBuf>,
    /// The raw signature that an external key made over the bytes of --prepare
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    pub signature: Option<PathBuf>,
    /// Add this signing time, in seconds since 1970; without it the same input gives the same output
    #[arg(long, value_name = "SECONDS")]
    pub signing_time: Option<i64>,
    /// Changes without a key
    #[command(flatten)]
    pub table: crate::sign::TableOptions,
    /// Sign an image with gaps or overlaps by the rule of the specification
    #[arg(long)]
    pub allow_gaps: bool,
    /// File with the passphrase of the key (or set IMAGER_KEY_PASSPHRASE)
    #[arg(long, value_name = "FILE")]
    pub key_passphrase_file: Option<PathBuf>,
    /// Replace an existing result
    #[arg(long)]
    pub force: bool,
}

/// `imager explain`.
#[derive(Debug, Clone, Args)]
#[non_exhaustive]
pub struct ExplainOptions {
    /// The UKI or ISO that was booted
    pub file: Option<PathBuf>,
    /// Measured PCR 11, hexadecimal
    #[arg(long, value_name = "HEX")]
    pub pcr11: Option<String>,
    /// Measured PCR 7, hexadecimal
    #[arg(long, value_name = "HEX")]
    pub pcr7: Option<String>,
    /// Another measured register, 4, 5, 9, 12 or 13: NUMBER=HEX; may be repeated
    #[arg(long, value_name = "N=HEX")]
    pub pcr: Vec<String>,
    /// A content that a section may have had: NAME=TEXT or NAME=@FILE; may be repeated
    #[arg(long, value_name = "SECTION")]
    pub suspect: Vec<String>,
    /// Bank of the measured values [default: by their length]
    #[arg(long, value_name = "BANK")]
    pub bank: Option<String>,
    /// Phase path at the time of measuring
    #[arg(long, value_name = "PATH", default_value = "")]
    pub phases: String,
    /// Event log of the boot
    #[arg(long, value_name = "FILE")]
    pub event_log: Option<PathBuf>,
    /// The machine's variables, for PCR 7
    #[command(flatten)]
    pub variables: VariableOptions,
    /// How it was booted
    #[command(flatten)]
    pub boot: BootOptions,
}

/// `imager edit`.
#[derive(Debug, Clone, Args)]
#[non_exhaustive]
pub struct EditOptions {
    /// The UKI
    pub file: PathBuf,
    /// Replace or add a section: NAME=TEXT or NAME=@FILE, in profile N with NAME:N; may be repeated
    #[arg(long, value_name = "SECTION")]
    pub set: Vec<String>,
    /// Remove a section: NAME or NAME:N; may be repeated
    #[arg(long, value_name = "SECTION")]
    pub remove: Vec<String>,
    /// Add a profile after the others: the text of its .profile, or @FILE; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub add_profile: Vec<String>,
    /// Add the profile of a PE file that `ukify build --profile=` has made; may be repeated
    #[arg(long, value_name = "FILE")]
    pub join_profile: Vec<PathBuf>,
    /// Remove profile N; may be repeated
    #[arg(long, value_name = "N")]
    pub remove_profile: Vec<u32>,
    /// Compute and sign .pcrsig again with this key
    #[arg(long, value_name = "FILE")]
    pub pcr_key: Option<PathBuf>,
    /// Phase path to sign; may be repeated [default: enter-initrd]
    #[arg(long = "phases", value_name = "PATH")]
    pub phases: Vec<String>,
    /// Result [default: in place]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace an existing result
    #[arg(long)]
    pub force: bool,
}
