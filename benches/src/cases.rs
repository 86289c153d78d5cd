//! What is measured: every row of the table.

mod ours;
mod theirs;
pub(crate) mod unseal;

use crate::Outcome;
use crate::inputs::Folder;
use crate::measure::Figures;

/// Part of a row in the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// This repository.
    Ours,
    /// Another tool.
    Peer,
    /// The least work that the job can be.
    Floor,
}

/// What does the work.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// This process.
    Here(fn(&Folder) -> Outcome<()>),
    /// A program; words in braces are files of the folder, `{/NAME}` is one as seen from inside the Debian 13 tree.
    Program(&'static str),
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) role: Role,
    work: Work,
}

/// What our row may take at full size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) time: Time,
    /// Peak memory in MiB.
    pub(crate) memory: u64,
}

/// A limit of elapsed time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Time {
    /// As a multiple of the floor's.
    Floors(f64),
    Seconds(f64),
}

/// Rows that are compared with each other.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) title: &'static str,
    pub(crate) budget: Option<Budget>,
    pub(crate) cases: &'static [Case],
}

const fn ours(name: &'static str, what: &'static str, work: fn(&Folder) -> Outcome<()>) -> Case {
    let (role, work) = (Role::Ours, Work::Here(work));
    Case {
        name,
        what,
        role,
        work,
    }
}

const fn floor(name: &'static str, what: &'static str, work: fn(&Folder) -> Outcome<()>) -> Case {
    let (role, work) = (Role::Floor, Work::Here(work));
    Case {
        name,
        what,
        role,
        work,
    }
}

const fn peer(name: &'static str, what: &'static str, line: &'static str) -> Case {
    let (role, work) = (Role::Peer, Work::Program(line));
    Case {
        name,
        what,
        role,
        work,
    }
}

const fn floor_program(name: &'static str, what: &'static str, line: &'static str) -> Case {
    let (role, work) = (Role::Floor, Work::Program(line));
    Case {
        name,
        what,
        role,
        work,
    }
}

/// The whole table.
pub(crate) const JOBS: &[Job] = &[
    Job {
        title: "UKI with a 512 MiB initramfs: build, PCR 11, policy, sign",
        budget: Some(Budget {
            time: Time::Floors(1.3),
            memory: 64,
        }),
        cases: &[
            ours("uki", "uki + pcr + authenticode", ours::uki),
            floor(
                "uki-floor",
                "two SHA-256 passes on two threads + one copy",
                theirs::two_hashes_and_a_copy,
            ),
            peer("ukify", "ukify of Debian 13", theirs::UKIFY),
        ],
    },
    Job {
        title: "ISO with one 1 GiB file",
        budget: Some(Budget {
            time: Time::Floors(1.2),
            memory: 16,
        }),
        cases: &[
            ours("iso-large", "iso9660", ours::iso_large),
            floor_program("cp", "cp", "cp {large/file} {output}"),
            peer(
                "xorriso-large",
                "xorriso",
                "xorriso -as mkisofs -quiet -r -J -iso-level 3 -o {output} {large}",
            ),
            peer(
                "genisoimage-large",
                "genisoimage",
                "genisoimage -quiet -r -J -iso-level 3 -allow-limited-size -o {output} {large}",
            ),
            peer(
                "pycdlib-large",
                "pycdlib",
                "{PYTHON} {pycdlib_iso.py} {output} {large}",
            ),
        ],
    },
    Job {
        title: "ISO with 10,000 files of 4 KiB in 100 directories",
        budget: Some(Budget {
            time: Time::Seconds(0.12),
            memory: 16,
        }),
        cases: &[
            ours("iso-small", "iso9660", ours::iso_small),
            floor_program("tar", "tar", "tar -cf {output} -C {small} ."),
            peer(
                "genisoimage-small",
                "genisoimage",
                "genisoimage -quiet -r -J -o {output} {small}",
            ),
            peer(
                "xorriso-small",
                "xorriso",
                "xorriso -as mkisofs -quiet -r -J -o {output} {small}",
            ),
            peer(
                "pycdlib-small",
                "pycdlib",
                "{PYTHON} {pycdlib_iso.py} {output} {small}",
            ),
        ],
    },
    Job {
        title: "EFI system partition (FAT32) with one 1 GiB file",
        budget: None,
        cases: &[
            ours("esp", "iso9660", ours::esp),
            floor_program("esp-cp", "cp", "cp {large/file} {output}"),
            peer(
                "mtools",
                "mkfs.vfat + mcopy",
                "sh {mtools_esp.sh} {output} {large/file}",
            ),
        ],
    },
    Job {
        title: "Four PCR banks over sections of 256 MiB",
        budget: None,
        cases: &[
            ours("banks", "Pcr11 with four banks", ours::banks),
            floor(
                "banks-one-thread",
                "the four hashes on one thread",
                theirs::four_hashes,
            ),
        ],
    },
    Job {
        title: "Authenticode digest of a 550 MiB image",
        budget: None,
        cases: &[
            ours("digest", "authenticode", ours::digest),
            floor("digest-floor", "one SHA-256 pass", theirs::one_hash),
        ],
    },
    Job {
        title: "Sign a 550 MiB image (ours: copy and sign in one pass; sbsign and osslsigncode write a copy too)",
        budget: None,
        cases: &[
            ours("sign", "authenticode", ours::sign),
            floor("sign-floor", "one SHA-256 pass", theirs::one_hash),
            peer(
                "sbsign",
                "sbsign",
                "sbsign --key {signing.key} --cert {signing.crt} --output {output} {unsigned}",
            ),
            peer(
                "osslsigncode-sign",
                "osslsigncode",
                "osslsigncode sign -h sha256 -certs {signing.crt} -key {signing.key} -in {unsigned} -out {output}",
            ),
        ],
    },
    Job {
        title: "Sign a 550 MiB image in place",
        budget: None,
        cases: &[
            ours("sign-in-place", "authenticode", ours::sign_in_place),
            floor("sign-in-place-floor", "one SHA-256 pass", theirs::one_hash),
        ],
    },
    Job {
        title: "Verify a signed 550 MiB image",
        budget: None,
        cases: &[
            ours("verify", "authenticode", ours::verify),
            floor("verify-floor", "one SHA-256 pass", theirs::one_hash),
            peer(
                "sbverify",
                "sbverify",
                "sbverify --cert {signing.crt} {signed}",
            ),
            peer(
                "osslsigncode-verify",
                "osslsigncode",
                "osslsigncode verify -CAfile {signing.crt} -in {signed}",
            ),
        ],
    },
    Job {
        title: "Unseal ten times on swtpm, which each row starts and stops (PCR policy; ours and systemd's in salted sessions)",
        budget: None,
        cases: &[
            ours("unseal", "tpm-seal", unseal::ours),
            floor("unseal-floor", "swtpm alone", unseal::nothing),
            Case {
                role: Role::Peer,
                ..ours(
                    "unseal-systemd-creds",
                    "systemd-creds of Debian 13",
                    unseal::systemd_creds,
                )
            },
            Case {
                role: Role::Peer,
                ..ours(
                    "unseal-tpm2-tools",
                    "tpm2_load, tpm2_unseal",
                    unseal::tpm2_tools,
                )
            },
        ],
    },
];

/// The row of that name.
pub(crate) fn find(name: &str) -> Option<&'static Case> {
    JOBS.iter()
        .flat_map(|job| job.cases)
        .find(|case| case.name == name)
}

impl Case {
    /// Runs it once.
    pub(crate) fn measure(&self, folder: &Folder) -> Outcome<Figures> {
        match self.work {
            Work::Here(work) => Figures::of_work(|| work(folder)),
            Work::Program(line) => Figures::of_command(&mut theirs::command(line, folder)?),
        }
    }

    /// Why it cannot run on this machine.
    pub(crate) fn obstacle(&self, folder: &Folder) -> Option<String> {
        let needs_stub = ["uki", "digest", "sign", "verify"]
            .iter()
            .any(|job| self.name.starts_with(job))
            || matches!(self.work, Work::Program(line) if line.contains("signed}"));
        if needs_stub && !folder.file("stub").exists() {
            return Some("no Debian 13 tree with stub and kernel".into());
        }
        if self.name.starts_with("unseal") {
            let systemd = (self.name == "unseal-systemd-creds")
                .then(|| theirs::chroot_obstacle(folder))
                .flatten();
            return unseal::obstacle().or(systemd);
        }
        let Work::Program(line) = self.work else {
            return None;
        };
        let program = line.split(' ').next().unwrap_or_default();
        if program == "{PYTHON}" {
            return theirs::pycdlib_obstacle();
        }
        if program == "chroot" {
            return theirs::chroot_obstacle(folder);
        }
        let found = std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).exists()));
        (!found).then(|| format!("{program} not found"))
    }
}
