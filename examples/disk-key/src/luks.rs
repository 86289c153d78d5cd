//! LUKS2 volumes through the program `cryptsetup`, which every node has: keys go in by pipe, never as arguments.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use zeroize::Zeroizing;

use crate::Error;

/// A LUKS2 volume.
#[derive(Debug, Clone)]
pub struct Volume {
    device: PathBuf,
}

/// A token of the LUKS2 header.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Token {
    /// Its number in the header.
    pub id: u32,
    /// The JSON object.
    pub json: Value,
}

impl Token {
    /// The token's `type`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.json
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The key slots that the token opens: LUKS's own list, or the one that Talos keeps in its data.
    #[must_use]
    pub fn keyslots(&self) -> Vec<u32> {
        let own = self
            .json
            .get("keyslots")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let talos = self
            .json
            .pointer("/UserData/keyslots")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        own.chain(talos)
            .filter_map(|slot| match slot {
                Value::String(text) => text.parse().ok(),
                other => other.as_u64().and_then(|slot| u32::try_from(slot).ok()),
            })
            .collect()
    }
}

impl Volume {
    /// Opens the header of a volume.
    ///
    /// # Errors
    /// [`Error::NotLuks`] when the device is there but holds no LUKS2 header; [`Error::Io`] when it is not there.
    pub fn open(device: &Path) -> Result<Self, Error> {
        std::fs::File::open(device).map_err(|source| Error::io("open", device, source))?;
        let volume = Self {
            device: device.to_owned(),
        };
        match volume.run(&["isLuks", "--type", "luks2"], None) {
            Ok(_) => Ok(volume),
            Err(Error::Cryptsetup { .. }) => Err(Error::NotLuks {
                device: device.to_owned(),
            }),
            Err(other) => Err(other),
        }
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// All tokens, in the order of their numbers.
    ///
    /// # Errors
    /// [`Error::Cryptsetup`], [`Error::Header`].
    pub fn tokens(&self) -> Result<Vec<Token>, Error> {
        let dump = self.metadata()?;
        let tokens = dump
            .get("tokens")
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        let mut tokens: Vec<_> = tokens
            .filter_map(|(id, json)| {
                Some(Token {
                    id: id.parse().ok()?,
                    json: json.clone(),
                })
            })
            .collect();
        tokens.sort_by_key(|token| token.id);
        Ok(tokens)
    }

    /// The numbers of the key slots in use.
    ///
    /// # Errors
    /// As [`Volume::tokens`].
    pub fn keyslots(&self) -> Result<Vec<u32>, Error> {
        let dump = self.metadata()?;
        let slots = dump
            .get("keyslots")
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        let mut slots: Vec<u32> = slots.filter_map(|(slot, _)| slot.parse().ok()).collect();
        slots.sort_unstable();
        Ok(slots)
    }

    fn metadata(&self) -> Result<Value, Error> {
        let output = self.run(&["luksDump", "--dump-json-metadata"], None)?;
        serde_json::from_slice(&output.stdout).map_err(|source| Error::Header {
            device: self.device.clone(),
            source,
        })
    }

    /// Adds `new` as a passphrase, which `unlocking` permits, and returns its key slot.
    ///
    /// The new key is random: one round of PBKDF2 protects it as well as a thousand would, and opens faster.
    ///
    /// # Errors
    /// [`Error::Cryptsetup`] when `unlocking` opens no slot, or all slots are taken.
    pub fn add_key(&self, unlocking: &[u8], new: &[u8]) -> Result<u32, Error> {
        let before = self.keyslots()?;
        let key = key_file(new)?;
        self.run_with(
            &[
                "luksAddKey",
                "--batch-mode",
                "--pbkdf",
                "pbkdf2",
                "--pbkdf-force-iterations",
                "1000",
                "--key-file",
                "-",
            ],
            Some(key.path()),
            Some(unlocking),
        )?;
        let after = self.keyslots()?;
        after
            .into_iter()
            .find(|slot| !before.contains(slot))
            .ok_or_else(|| Error::Cryptsetup {
                command: "luksAddKey",
                message: "no new key slot appeared".into(),
            })
    }

    /// Removes a key slot.
    ///
    /// # Errors
    /// [`Error::Cryptsetup`].
    pub fn remove_slot(&self, slot: u32) -> Result<(), Error> {
        let mut command = self.command(&["luksKillSlot", "--batch-mode"]);
        command.arg(&self.device).arg(slot.to_string());
        finish(command, "luksKillSlot", None).map(drop)
    }

    /// Does this passphrase open the volume?
    ///
    /// # Errors
    /// [`Error::Cryptsetup`] when cryptsetup cannot be run.
    pub fn is_opened_by(&self, passphrase: &[u8]) -> Result<bool, Error> {
        match self.run(
            &[
                "open",
                "--test-passphrase",
                "--type",
                "luks2",
                "--key-file",
                "-",
            ],
            Some(passphrase),
        ) {
            Ok(_) => Ok(true),
            Err(Error::Cryptsetup { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Maps the opened volume to `/dev/mapper/NAME`.
    ///
    /// # Errors
    /// [`Error::Cryptsetup`] when the passphrase opens no slot or the name is taken.
    pub fn map(&self, passphrase: &[u8], name: &str) -> Result<(), Error> {
        let mut command = self.command(&["open", "--type", "luks2", "--key-file", "-"]);
        command.arg(&self.device).arg(name);
        finish(command, "open", Some(passphrase)).map(drop)
    }

    /// Writes a token, under a new number or in place of an old one.
    ///
    /// # Errors
    /// [`Error::Cryptsetup`].
    pub fn write_token(&self, json: &Value, replacing: Option<u32>) -> Result<(), Error> {
        let text = json.to_string();
        let id = replacing.map(|id| id.to_string());
        let mut arguments = vec!["token", "import", "--json-file", "-"];
        if let Some(id) = &id {
            arguments.extend(["--token-id", id, "--token-replace"]);
        }
        self.run(&arguments, Some(text.as_bytes())).map(drop)
    }

    /// Removes a token.
    ///
    /// # Errors
    /// [`Error::Cryptsetup`].
    pub fn remove_token(&self, id: u32) -> Result<(), Error> {
        self.run(&["token", "remove", "--token-id", &id.to_string()], None)
            .map(drop)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("cryptsetup");
        command.args(arguments);
        command
    }

    fn run(&self, arguments: &[&str], input: Option<&[u8]>) -> Result<Output, Error> {
        self.run_with(arguments, None, input)
    }

    fn run_with(
        &self,
        arguments: &[&str],
        extra: Option<PathBuf>,
        input: Option<&[u8]>,
    ) -> Result<Output, Error> {
        let name = match arguments.first().copied().unwrap_or_default() {
            "isLuks" => "isLuks",
            "luksDump" => "luksDump",
            "luksAddKey" => "luksAddKey",
            "token" => "token",
            _ => "open",
        };
        let mut command = self.command(arguments);
        command.arg(&self.device);
        command.args(extra);
        finish(command, name, input)
    }
}

fn finish(mut command: Command, name: &'static str, input: Option<&[u8]>) -> Result<Output, Error> {
    command.stdin(if input.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    });
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env("LC_ALL", "C");
    let mut child = command
        .spawn()
        .map_err(|source| Error::NoCryptsetup { source })?;
    if let (Some(bytes), Some(mut pipe)) = (input, child.stdin.take()) {
        // cryptsetup may end before it has read all of it; its own message tells more than a broken pipe would.
        let _ = pipe.write_all(bytes);
    }
    let output = child
        .wait_with_output()
        .map_err(|source| Error::NoCryptsetup { source })?;
    if output.status.success() {
        return Ok(output);
    }
    let message = String::from_utf8_lossy(&output.stderr)
        .trim()
        .replace('\n', "; ");
    Err(Error::Cryptsetup {
        command: name,
        message,
    })
}

/// A key as a file in memory that only this process and the cryptsetup that it starts can open.
struct KeyFile {
    // Held so that the descriptor, which the path names, stays open.
    file: std::fs::File,
}

impl KeyFile {
    fn path(&self) -> PathBuf {
        use std::os::fd::AsRawFd;
        // cryptsetup inherits the descriptor, so the name means the same file there.
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}

fn key_file(bytes: &[u8]) -> Result<KeyFile, Error> {
    let fd = rustix::fs::memfd_create("disk-key", rustix::fs::MemfdFlags::empty())
        .map_err(|errno| Error::io("make", Path::new("memfd"), errno.into()))?;
    let mut file = std::fs::File::from(fd);
    file.write_all(bytes)
        .map_err(|source| Error::io("write", Path::new("memfd"), source))?;
    Ok(KeyFile { file })
}

/// Reads a passphrase from a file, or from standard input for `-`, without its final newline when it is text.
///
/// # Errors
/// [`Error::Io`].
pub fn read_passphrase(path: &Path, keep_newline: bool) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    if path == Path::new("-") {
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes)
    } else {
        std::fs::File::open(path)
            .and_then(|mut file| std::io::Read::read_to_end(&mut file, &mut bytes))
    }
    .map_err(|source| Error::io("read", path, source))?;
    if !keep_newline && bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(bytes)
}
