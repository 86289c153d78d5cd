//! The program on the node.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use disk_key::enroll::{self, Format};
use disk_key::luks::Volume;
use disk_key::node::{self, Sources};
use disk_key::{Error, reseal, status, unlock};
use serde_json::{Value, json};

/// A disk key that opens only for software that the PCR key signed, on this TPM, with these Secure Boot keys
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done; 1 refused, with reasons on standard error; 2 wrong use, an unreadable token, or no device, TPM or LUKS2 volume. With --json a failure is {\"refused\": true for 1, \"reasons\": [...]}.

Example: disk-key enroll --luks /dev/vda2 --unlock-key-file initial.key && disk-key unlock --luks /dev/vda2 --map data"
)]
struct Cli {
    /// Print one JSON document on standard output
    #[arg(long, global = true)]
    json: bool,
    /// The TPM, for example device:/dev/tpmrm0 or swtpm:host=127.0.0.1,port=2321 [default: this machine's]
    #[arg(long, global = true, value_name = "TCTI")]
    tcti: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Policy {
    /// Signed policies [default: those of the running UKI]
    #[arg(long, value_name = "FILE")]
    pcrsig: Option<PathBuf>,
    /// Public PCR key [default: that of the running UKI]
    #[arg(long, value_name = "FILE")]
    pcr_public_key: Option<PathBuf>,
    /// File with the PIN [default: asked for on the terminal]
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a random key, seal it, and store it as a token in the LUKS2 header
    #[command(
        after_help = "Example: disk-key enroll --luks /dev/vda2 --unlock-key-file initial.key --format systemd --with-pin"
    )]
    Enroll {
        /// The volume
        #[arg(long, value_name = "DEVICE")]
        luks: PathBuf,
        /// File with a passphrase that opens the volume now; - is standard input
        #[arg(long, value_name = "FILE")]
        unlock_key_file: PathBuf,
        /// Form of the token
        #[arg(long, value_enum, default_value = "talos")]
        format: Format,
        /// Registers bound to their present values; empty for the signed policy alone
        #[arg(long, value_name = "N,…", default_value = "7")]
        pcrs: String,
        /// Ask for a PIN at every unlock (not in Talos's form)
        #[arg(long)]
        with_pin: bool,
        /// Enrol although Secure Boot is off
        #[arg(long)]
        allow_insecure_boot: bool,
        /// Seal for another machine, to its storage root key (a file of systemd-analyze srk or tpm2_readpublic -o)
        #[arg(long, value_name = "FILE")]
        device_key: Option<PathBuf>,
        /// With --device-key, a register's value there, SHA-256 bank; may be repeated
        #[arg(long, value_name = "N=HEX")]
        pcr_value: Vec<String>,
        #[command(flatten)]
        policy: Policy,
    },
    /// Unseal the key and open the volume, or say why not
    #[command(after_help = "Example: disk-key unlock --luks /dev/vda2 --map data")]
    Unlock {
        /// The volume
        #[arg(long, value_name = "DEVICE")]
        luks: PathBuf,
        /// Open the volume as /dev/mapper/NAME; without it the key is printed
        #[arg(long, value_name = "NAME")]
        map: Option<String>,
        #[command(flatten)]
        policy: Policy,
    },
    /// Print the security state: Secure Boot, keys, boot chain, registers, tokens
    #[command(after_help = "Example: disk-key status --luks /dev/vda2 --json")]
    Status {
        /// A volume whose tokens are listed as well
        #[arg(long, value_name = "DEVICE")]
        luks: Option<PathBuf>,
        #[command(flatten)]
        policy: Policy,
    },
    /// Tell the TPM that a boot phase is reached: extends PCR 11 with the word
    #[command(after_help = "Example: disk-key phase enter-initrd")]
    Phase {
        /// The word, such as enter-initrd, leave-initrd, sysinit, ready
        word: String,
    },
    /// Seal to the outcomes of a planned change of PCR 7 or of the PCR key; older tokens stay until a new one has opened
    #[command(
        after_help = "Example: disk-key reseal --luks /dev/vda2 --pcr7 $(imager predict boot.iso --json … | jq -r '.pcrs.\"7\"[\"\"].sha256')"
    )]
    Reseal {
        /// The volume
        #[arg(long, value_name = "DEVICE")]
        luks: PathBuf,
        /// Predicted PCR 7 in hexadecimal, in the bank of the present token; may be repeated
        #[arg(long, value_name = "HEX", required_unless_present = "next_pcr_key")]
        pcr7: Vec<String>,
        /// Public PCR key that signs the next systems, for a key rotation; may be repeated
        #[arg(long, value_name = "FILE")]
        next_pcr_key: Vec<PathBuf>,
        /// Form of the new token; trustedboot holds all keys and outcomes in one key slot [default: that of the present one]
        #[arg(long, value_enum)]
        format: Option<Format>,
        /// Do not seal to the present value as well
        #[arg(long)]
        only_predicted: bool,
        #[command(flatten)]
        policy: Policy,
    },
    /// Add a recovery key and print it
    #[command(after_help = "Example: disk-key recovery --luks /dev/vda2 > /media/safe/recovery")]
    Recovery {
        /// The volume
        #[arg(long, value_name = "DEVICE")]
        luks: PathBuf,
        /// File with a passphrase that opens the volume now [default: the TPM opens it]
        #[arg(long, value_name = "FILE")]
        unlock_key_file: Option<PathBuf>,
        #[command(flatten)]
        policy: Policy,
    },
}

fn main() -> ExitCode {
    node::forbid_core_dumps();
    let cli = Cli::parse();
    let json = cli.json;
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                text.push_str(": ");
                text.push_str(&inner.to_string());
                cause = inner.source();
            }
            for line in text.lines() {
                eprintln!("disk-key: {line}");
            }
            let code = error.exit_code();
            if json {
                let reasons: Vec<&str> = text.lines().collect();
                let document = json!({ "refused": code == 1, "reasons": reasons });
                let _ = print(&[format!("{document:#}\n").as_bytes()]);
            }
            ExitCode::from(code)
        }
    }
}

fn run(cli: Cli) -> Result<(), Error> {
    let mut sources = Sources::default();
    sources.tcti = cli.tcti;
    let json = cli.json;
    match cli.command {
        Command::Enroll {
            luks,
            unlock_key_file,
            format,
            pcrs,
            with_pin,
            allow_insecure_boot,
            device_key,
            pcr_value,
            policy,
        } => {
            let sources = with(sources, policy);
            let mut request = enroll::Request::new(luks, unlock_key_file);
            request.format = format;
            request.pcrs = registers(&pcrs)?;
            request.with_pin = with_pin;
            request.allow_insecure_boot = allow_insecure_boot;
            request.device_key = device_key;
            request.pcr_values = pcr_value;
            let enrolled = enroll::enroll(&request, &sources)?;
            let proof = if enrolled.proven {
                "unsealed once"
            } else {
                "not yet unsealable in this boot phase"
            };
            let text = format!(
                "enrolled in key slot {} for PCR key {} ({proof})",
                enrolled.keyslot, enrolled.pcr_key
            );
            answer(json, &enrolled.describe(&request.device), &text)
        }
        Command::Unlock { luks, map, policy } => {
            unlock(&luks, map.as_deref(), &with(sources, policy), json)
        }
        Command::Status { luks, policy } => {
            let document = status::status(luks.as_deref(), &with(sources, policy))?;
            answer(json, &document, status::text(&document).trim_end())
        }
        Command::Phase { word } => {
            if word.is_empty() || word.contains([':', '\0']) {
                return Err(Error::Usage {
                    what: "WORD",
                    problem: "one word without ':' is expected".into(),
                });
            }
            sources.tpm()?.extend(11, word.as_bytes())?;
            answer(
                json,
                &json!({ "phase": word, "pcr": 11 }),
                &format!("PCR 11 extended with '{word}'"),
            )
        }
        Command::Reseal {
            luks,
            pcr7,
            next_pcr_key,
            format,
            only_predicted,
            policy,
        } => {
            let mut request = reseal::Request::new(luks, pcr7);
            request.keep_present = !only_predicted;
            request.next_keys = next_pcr_key;
            request.format = format;
            let document = reseal::reseal(&request, &with(sources, policy))?;
            let text = format!(
                "sealed in key slots {}; older tokens go once one of these has opened",
                document["keyslots"]
            );
            answer(json, &document, &text)
        }
        Command::Recovery {
            luks,
            unlock_key_file,
            policy,
        } => {
            let (words, slot) =
                reseal::recovery(&luks, unlock_key_file.as_deref(), &with(sources, policy))?;
            eprintln!(
                "disk-key: recovery key in key slot {slot}; keep it where the machine is not"
            );
            if json {
                // As with the key: from its wiped buffer to the pipe.
                let document = json!({ "device": luks, "keyslot": slot }).to_string();
                let head = document.strip_suffix('}').unwrap_or_default();
                let key = b",\"recovery_key\":\"";
                return print(&[head.as_bytes(), key, words.as_bytes(), b"\"}\n"]);
            }
            print(&[words.as_bytes(), b"\n"])
        }
    }
}

fn with(mut sources: Sources, policy: Policy) -> Sources {
    sources.pcrsig = policy.pcrsig;
    sources.public_key = policy.pcr_public_key;
    sources.pin_file = policy.pin_file;
    sources
}

fn unlock(device: &Path, map: Option<&str>, sources: &Sources, json: bool) -> Result<(), Error> {
    let unlocked = unlock::unlock(device, sources)?;
    for token in &unlocked.retired {
        eprintln!(
            "disk-key: token {token} removed: the one that replaces it has opened the volume"
        );
    }
    let key = unlocked.passphrase.as_bytes();
    match map {
        Some(name) => {
            Volume::open(device)?.map(key, name)?;
            let text = format!(
                "opened {} as /dev/mapper/{name} with token {}",
                device.display(),
                unlocked.token
            );
            answer(json, &unlock::describe(&unlocked, device), &text)
        }
        None if json => {
            // The key goes from its wiped buffer to the pipe; a JSON value would leave copies behind.
            let document = unlock::describe(&unlocked, device).to_string();
            let head = document.strip_suffix('}').unwrap_or_default();
            print(&[head.as_bytes(), b",\"key\":\"", key, b"\"}\n"])
        }
        None => print(&[key]),
    }
}

fn registers(text: &str) -> Result<Vec<u8>, Error> {
    let numbers = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let parsed: Result<Vec<u8>, _> = numbers.map(str::parse).collect();
    match parsed {
        Ok(mut pcrs) if pcrs.iter().all(|pcr| *pcr < 24) => {
            pcrs.sort_unstable();
            pcrs.dedup();
            Ok(pcrs)
        }
        _ => Err(Error::Usage {
            what: "--pcrs",
            problem: format!("'{text}' is no list of registers 0 to 23"),
        }),
    }
}

fn answer(json: bool, document: &Value, text: &str) -> Result<(), Error> {
    let shown = if json {
        format!("{document:#}")
    } else {
        text.to_owned()
    };
    print(&[shown.as_bytes(), b"\n"])
}

fn print(parts: &[&[u8]]) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    parts
        .iter()
        .try_for_each(|part| out.write_all(part))
        .and_then(|()| out.flush())
        .map_err(|source| Error::Io {
            action: "write to",
            path: PathBuf::from("standard output"),
            source,
        })
}
