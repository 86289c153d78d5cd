//! Unsealing on a software TPM. Each row starts swtpm, unseals ten times and stops it; the floor does without unsealing.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tpm_seal::{
    Bank, Evidence, PcrSelection, Policy, SealOptions, Secret, SystemdToken, Token, Tpm,
};

use crate::Outcome;
use crate::inputs::Folder;

const TIMES: usize = 10;
const REGISTER: u8 = 16;

/// What the three tools have sealed for the same TPM, all to one register; made when the folder is prepared.
pub(crate) fn prepare(folder: &Folder) -> Outcome<()> {
    if obstacle().is_some() {
        return Ok(());
    }
    fs::create_dir_all(folder.file("tpm"))?;
    let swtpm = Swtpm::start(&folder.file("tpm"))?;
    let mut tpm = Tpm::open(&swtpm.tcti().parse()?)?;
    let register = PcrSelection::new(Bank::Sha256, &[REGISTER])?;
    let policy = Policy::new().pcrs(tpm.pcr_values(register)?);
    let options = SealOptions::new().under_srk().allow_unmeasured();
    let sealed = tpm.seal(&Secret::new(vec![7; 32]), &policy, &options)?;
    let token = SystemdToken::new(sealed, &policy)?.to_json();
    fs::write(folder.file("unseal.token"), token)?;
    drop(tpm);
    fs::write(folder.file("unseal.secret"), [7; 32])?;
    let path = |name: &str| folder.file(name).display().to_string();
    let [secret, public, private, digest] =
        ["secret", "pub", "priv", "digest"].map(|end| path(&format!("unseal.{end}")));
    let selection = format!("sha256:{REGISTER}");
    swtpm.run(Command::new("tpm2_createpolicy").args([
        "-Q",
        "--policy-pcr",
        "-l",
        &selection,
        "-L",
        &digest,
    ]))?;
    swtpm.run(Command::new("tpm2_create").args([
        "-Q",
        "-C",
        "0x81000001",
        "-L",
        &digest,
        "-i",
        &secret,
        "-u",
        &public,
        "-r",
        &private,
    ]))?;
    swtpm.run(Command::new("tpm2_flushcontext").arg("-t"))?;
    if let Ok(tree) = folder.read_text("tree") {
        let register = format!("--tpm2-pcrs={REGISTER}");
        let mut encrypt = Command::new("chroot");
        encrypt.args([
            &tree,
            "systemd-creds",
            "encrypt",
            "--with-key=tpm2",
            "--name=",
        ]);
        encrypt.args([&register, "--tpm2-public-key="]);
        encrypt.arg(format!("--tpm2-device={}", swtpm.tcti()));
        let file = folder.file("unseal.secret");
        let inside = |file: &Path| -> Outcome<String> {
            Ok(format!("/{}", file.strip_prefix(&tree)?.display()))
        };
        encrypt.args([inside(&file)?, inside(&folder.file("unseal.cred"))?]);
        swtpm.run(&mut encrypt)?;
    }
    Ok(())
}

/// Why none of the rows can run on this machine.
pub(super) fn obstacle() -> Option<String> {
    let found = |program: &str| {
        std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).exists()))
    };
    ["swtpm", "tpm2_unseal"]
        .into_iter()
        .find(|program| !found(program))
        .map(|program| format!("{program} not found"))
}

pub(super) fn ours(folder: &Folder) -> Outcome<()> {
    let swtpm = Swtpm::of_the_row(folder)?;
    let token = Token::open(folder.file("unseal.token"))?;
    for _ in 0..TIMES {
        // As a program does it: the connection is made anew each time.
        let mut tpm = Tpm::open(&swtpm.tcti().parse()?)?;
        let secret = tpm.unlock(&token, &Evidence::new())?;
        if secret.as_bytes() != [7; 32] {
            return Err("another secret".into());
        }
    }
    Ok(())
}

pub(super) fn nothing(folder: &Folder) -> Outcome<()> {
    Swtpm::of_the_row(folder).map(drop)
}

pub(super) fn systemd_creds(folder: &Folder) -> Outcome<()> {
    let swtpm = Swtpm::of_the_row(folder)?;
    let tree = folder.read_text("tree")?;
    let credential = folder.file("unseal.cred");
    let credential = format!("/{}", credential.strip_prefix(&tree)?.display());
    for _ in 0..TIMES {
        let mut decrypt = Command::new("chroot");
        decrypt.args([&tree, "systemd-creds", "decrypt", "--name="]);
        decrypt.arg(format!("--tpm2-device={}", swtpm.tcti()));
        swtpm.run(decrypt.args([&credential, "-"]))?;
    }
    Ok(())
}

pub(super) fn tpm2_tools(folder: &Folder) -> Outcome<()> {
    let swtpm = Swtpm::of_the_row(folder)?;
    let context = folder.output().display().to_string();
    let path = |end: &str| folder.file(&format!("unseal.{end}")).display().to_string();
    let policy = format!("pcr:sha256:{REGISTER}");
    for _ in 0..TIMES {
        let (public, private) = (path("pub"), path("priv"));
        swtpm.run(Command::new("tpm2_load").args([
            "-Q",
            "-C",
            "0x81000001",
            "-u",
            &public,
            "-r",
            &private,
            "-c",
            &context,
        ]))?;
        swtpm.run(Command::new("tpm2_flushcontext").arg("-t"))?;
        swtpm.run(Command::new("tpm2_unseal").args(["-c", &context, "-p", &policy]))?;
        swtpm.run(Command::new("tpm2_flushcontext").arg("-t"))?;
    }
    Ok(())
}

/// swtpm on a pair of ports, the second right behind the first; ends with the value.
struct Swtpm {
    child: Child,
    port: u16,
}

impl Swtpm {
    /// With a copy of the state: a TPM that is switched off without warning takes that for an attempt to guess a secret,
    /// and after some of them answers nothing more.
    fn of_the_row(folder: &Folder) -> Outcome<Self> {
        let copy = folder.file("tpm.row");
        if copy.exists() {
            fs::remove_dir_all(&copy)?;
        }
        fs::create_dir(&copy)?;
        for entry in fs::read_dir(folder.file("tpm"))? {
            let entry = entry?;
            fs::copy(entry.path(), copy.join(entry.file_name()))?;
        }
        Self::start(&copy)
    }

    fn start(state: &Path) -> Outcome<Self> {
        for _ in 0..100 {
            let Some(port) = free_pair()? else { continue };
            let mut child = Command::new("swtpm")
                .args(["socket", "--tpm2", "--seccomp", "action=none"])
                .args(["--flags", "not-need-init,startup-clear"])
                .arg(format!("--tpmstate=dir={}", state.display()))
                .arg(format!("--server=type=tcp,port={port}"))
                .arg(format!("--ctrl=type=tcp,port={}", u32::from(port) + 1))
                .stderr(Stdio::null())
                .spawn()?;
            for _ in 0..2000 {
                if TcpStream::connect(("127.0.0.1", port.saturating_add(1))).is_ok() {
                    return Ok(Self { child, port });
                }
                if child.try_wait()?.is_some() {
                    break;
                }
                thread::park_timeout(Duration::from_millis(1));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        Err("swtpm does not start".into())
    }

    fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    fn run(&self, command: &mut Command) -> Outcome<()> {
        command.env("TPM2TOOLS_TCTI", self.tcti());
        let output = command.output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).into())
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_pair() -> Outcome<Option<u16>> {
    let first = TcpListener::bind("127.0.0.1:0")?;
    let port = first.local_addr()?.port();
    let next = port.checked_add(1);
    Ok(next
        .filter(|&next| TcpListener::bind(("127.0.0.1", next)).is_ok())
        .map(|_| port))
}
