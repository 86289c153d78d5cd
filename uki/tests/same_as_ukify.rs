//! The same inputs give the same bytes as the real ukify 257 of a Debian 13 tree.
//!
//! ukify's own default that would make its output depend on the host is switched off (`--os-release=`).
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

#[path = "support/inputs.rs"]
mod support;

use std::path::{Path, PathBuf};

use support::{debian13, skip, tree_command, vector};
use uki::{Builder, Device, DeviceKind, HardwareIds, Profile, SectionName, Source, Stub, Uki};

/// A folder with the inputs of all combinations.
struct Oracle {
    tree: PathBuf,
    dir: tempfile::TempDir,
}

type Build = fn(&Oracle, Builder) -> Builder;

struct Case {
    name: &'static str,
    stub: &'static str,
    args: &'static [&'static str],
    build: Build,
}

const fn case(name: &'static str, args: &'static [&'static str], build: Build) -> Case {
    Case {
        name,
        stub: "stub257.efi",
        args,
        build,
    }
}

const LINUX: &str = "--linux=kernel.efi";

/// With the synthetic kernel.
fn k(o: &Oracle, b: Builder) -> Builder {
    b.linux(o.file("kernel.efi"))
}

const CASES: &[Case] = &[
    case("kernel alone", &[LINUX], k),
    case("command line", &[LINUX, "--cmdline=ro quiet"], |o, b| {
        k(o, b).cmdline("ro quiet")
    }),
    case(
        "command line with blanks",
        &[LINUX, "--cmdline=  a \t b\n c  "],
        |o, b| k(o, b).cmdline("  a \t b\n c  "),
    ),
    case("empty command line", &[LINUX, "--cmdline="], |o, b| {
        k(o, b).cmdline("")
    }),
    case(
        "command line from a file",
        &[LINUX, "--cmdline=@cmdline"],
        |o, b| k(o, b).cmdline_verbatim(o.file("cmdline")),
    ),
    case(
        "os-release text",
        &[LINUX, "--os-release=ID=x\nNAME=y"],
        |o, b| k(o, b).os_release("ID=x\nNAME=y"),
    ),
    case(
        "os-release from a file",
        &[LINUX, "--os-release=@osrel"],
        |o, b| k(o, b).os_release(o.file("osrel")),
    ),
    case("given version", &[LINUX, "--uname=9.9-X"], |o, b| {
        k(o, b).uname("9.9-X")
    }),
    case(
        "one ramdisk of odd length",
        &[LINUX, "--initrd=initrd5"],
        |o, b| k(o, b).initrd(o.file("initrd5")),
    ),
    case(
        "two ramdisks",
        &[LINUX, "--initrd=initrd5", "--initrd=initrd8"],
        |o, b| k(o, b).initrd(o.file("initrd5")).initrd(o.file("initrd8")),
    ),
    case(
        "three ramdisks",
        &[
            LINUX,
            "--initrd=initrd8",
            "--initrd=initrd5",
            "--initrd=initrd5",
        ],
        |o, b| {
            k(o, b)
                .initrd(o.file("initrd8"))
                .initrd(o.file("initrd5"))
                .initrd(o.file("initrd5"))
        },
    ),
    case(
        "empty ramdisk",
        &[LINUX, "--initrd=empty", "--cmdline=x"],
        |o, b| k(o, b).initrd(o.file("empty")).cmdline("x"),
    ),
    case("microcode", &[LINUX, "--microcode=initrd8"], |o, b| {
        k(o, b).ucode(o.file("initrd8"))
    }),
    case("splash", &[LINUX, "--splash=splash"], |o, b| {
        k(o, b).splash(o.file("splash"))
    }),
    case("device tree", &[LINUX, "--devicetree=dtb"], |o, b| {
        k(o, b).dtb(o.file("dtb"))
    }),
    case(
        "device trees by hardware",
        &[LINUX, "--devicetree-auto=dtb", "--devicetree-auto=dtb2"],
        |o, b| k(o, b).dtbauto(o.file("dtb")).dtbauto(o.file("dtb2")),
    ),
    case("hardware ids", &[LINUX, "--hwids=hwids"], |o, b| {
        k(o, b).hwids(o.hwids())
    }),
    case("PCR key", &[LINUX, "--pcrpkey=pcrpkey"], |o, b| {
        k(o, b).pcrpkey(o.file("pcrpkey"))
    }),
    case(
        "SBAT text",
        &[
            LINUX,
            "--sbat=sbat,1,x\nfoo,1,Foo,foo,1,https://example.com/",
        ],
        |o, b| k(o, b).sbat("sbat,1,x\nfoo,1,Foo,foo,1,https://example.com/"),
    ),
    case(
        "two SBAT texts, one with lines ended by CR LF",
        &[LINUX, "--sbat=@sbat1", "--sbat=@sbat2"],
        |o, b| k(o, b).sbat(o.text("sbat1")).sbat(o.text("sbat2")),
    ),
    case(
        "SBAT text without its first line",
        &[LINUX, "--sbat=nothing"],
        |o, b| k(o, b).sbat("nothing"),
    ),
    case(
        "free sections",
        &[LINUX, "--section=.foo:hello", "--section=eightbyt:@initrd5"],
        |o, b| {
            k(o, b)
                .section(SectionName::new(".foo").unwrap(), "hello")
                .section(SectionName::new("eightbyt").unwrap(), o.file("initrd5"))
        },
    ),
    case(
        "finished policies",
        &[LINUX, "--section=.pcrsig:{}", "--cmdline=x"],
        |o, b| k(o, b).pcrsig("{}").cmdline("x"),
    ),
    case(
        "kernel with SBAT and without NX",
        &["--linux=kernel-sbat.efi"],
        |o, b| b.linux(o.file("kernel-sbat.efi")),
    ),
    case(
        "bytes that are no kernel",
        &["--linux=initrd5", "--uname=1"],
        |o, b| b.linux(o.file("initrd5")).uname("1").unchecked_kernel(),
    ),
    case("kernel packed with gzip", &["--linux=kernel.gz"], |o, b| {
        b.linux(o.unpacked())
    }),
    case(
        "everything",
        &[
            LINUX,
            "--initrd=initrd5",
            "--initrd=initrd8",
            "--cmdline=a b",
            "--os-release=@osrel",
            "--uname=1.2",
            "--splash=splash",
            "--devicetree=dtb",
            "--devicetree-auto=dtb",
            "--devicetree-auto=dtb2",
            "--hwids=hwids",
            "--pcrpkey=pcrpkey",
            "--microcode=initrd8",
            "--sbat=@sbat1",
            "--section=.foo:hello",
        ],
        |o, b| {
            k(o, b)
                .section(SectionName::new(".foo").unwrap(), "hello")
                .sbat(o.text("sbat1"))
                .ucode(o.file("initrd8"))
                .pcrpkey(o.file("pcrpkey"))
                .hwids(o.hwids())
                .dtbauto(o.file("dtb"))
                .dtbauto(o.file("dtb2"))
                .dtb(o.file("dtb"))
                .splash(o.file("splash"))
                .uname("1.2")
                .os_release(o.file("osrel"))
                .cmdline("a b")
                .initrd(o.file("initrd5"))
                .initrd(o.file("initrd8"))
        },
    ),
    case(
        "a profile of its own",
        &[LINUX, "--profile=ID=main\nTITLE=x", "--cmdline=x"],
        |o, b| {
            b.profile(
                Profile::new("ID=main\nTITLE=x")
                    .linux(o.file("kernel.efi"))
                    .cmdline("x"),
            )
        },
    ),
    case(
        "base and one joined profile",
        &[LINUX, "--cmdline=x", "--join-profile=profile1.efi"],
        |o, b| {
            k(o, b)
                .cmdline("x")
                .profile(Profile::new("ID=main"))
                .profile(o.profile("profile1.efi"))
        },
    ),
    case(
        "named base and two joined profiles",
        &[
            LINUX,
            "--initrd=initrd5",
            "--os-release=@osrel",
            "--profile=@profile",
            "--join-profile=profile1.efi",
            "--join-profile=profile2.efi",
        ],
        |o, b| {
            k(o, b)
                .initrd(o.file("initrd5"))
                .os_release(o.file("osrel"))
                .profile(Profile::new(o.file("profile")))
                .profile(o.profile("profile1.efi"))
                .profile(o.profile("profile2.efi"))
        },
    ),
    case(
        "real kernel",
        &["--linux=vmlinuz", "--cmdline=x", "--initrd=initrd8"],
        |o, b| {
            b.linux(o.file("vmlinuz"))
                .cmdline("x")
                .initrd(o.file("initrd8"))
        },
    ),
    case(
        "microcode and two ramdisks",
        &[
            LINUX,
            "--microcode=initrd5",
            "--initrd=initrd8",
            "--initrd=initrd5",
        ],
        |o, b| {
            k(o, b)
                .ucode(o.file("initrd5"))
                .initrd(o.file("initrd8"))
                .initrd(o.file("initrd5"))
        },
    ),
    case("no version", &[LINUX, "--uname="], |o, b| {
        k(o, b).no_uname()
    }),
    case(
        "command line beyond ASCII",
        &[LINUX, "--cmdline=\u{e4} \u{2003}b"],
        |o, b| k(o, b).cmdline("\u{e4} \u{2003}b"),
    ),
    case(
        "empty files",
        &[
            LINUX,
            "--cmdline=@empty",
            "--os-release=@empty",
            "--splash=empty",
            "--microcode=empty",
        ],
        |o, b| {
            k(o, b)
                .cmdline_verbatim(o.file("empty"))
                .os_release(o.file("empty"))
                .splash(o.file("empty"))
                .ucode(o.file("empty"))
        },
    ),
    case(
        "text as picture, microcode and device tree",
        &[
            LINUX,
            "--splash=osrel",
            "--microcode=osrel",
            "--devicetree=osrel",
        ],
        |o, b| {
            k(o, b)
                .splash(o.file("osrel"))
                .ucode(o.file("osrel"))
                .dtb(o.file("osrel"))
        },
    ),
    case(
        "empty free section",
        &[LINUX, "--section=.none:", "--section=x:y"],
        |o, b| {
            k(o, b)
                .section(SectionName::new(".none").unwrap(), "")
                .section(SectionName::new("x").unwrap(), "y")
        },
    ),
    case(
        "firmware bundle as a free section",
        &[LINUX, "--section=.efifw:@efifw"],
        |o, b| k(o, b).efifw(o.file("efifw")),
    ),
    case(
        "hardware ids in folders of folders",
        &[LINUX, "--hwids=nested", "--devicetree-auto=dtb"],
        |o, b| k(o, b).dtbauto(o.file("dtb")).hwids(o.nested_hwids()),
    ),
    case(
        "folder without hardware ids",
        &[LINUX, "--hwids=none"],
        |o, b| k(o, b).hwids(HardwareIds::new().to_bytes().unwrap()),
    ),
    case(
        "device tree beside one by hardware",
        &[LINUX, "--devicetree=dtb2", "--devicetree-auto=dtb"],
        |o, b| k(o, b).dtbauto(o.file("dtb")).dtb(o.file("dtb2")),
    ),
    case(
        "three SBAT texts and a kernel with its own",
        &[
            "--linux=kernel-sbat.efi",
            "--sbat=@sbat1",
            "--sbat=sbat,1\nz,9,Z",
            "--sbat=@sbat2",
        ],
        |o, b| {
            b.linux(o.file("kernel-sbat.efi"))
                .sbat(o.text("sbat1"))
                .sbat("sbat,1\nz,9,Z")
                .sbat(o.text("sbat2"))
        },
    ),
    case(
        "kernel packed with lzma",
        &["--linux=kernel.lzma"],
        |o, b| b.linux(o.packed("kernel.lzma")),
    ),
    case(
        "kernel packed with bzip2",
        &["--linux=kernel.bz2"],
        |o, b| b.linux(o.packed("kernel.bz2")),
    ),
    case(
        "joined profiles the other way round",
        &[
            LINUX,
            "--join-profile=profile2.efi",
            "--join-profile=profile1.efi",
        ],
        |o, b| {
            k(o, b)
                .profile(Profile::new("ID=main"))
                .profile(o.profile("profile2.efi"))
                .profile(o.profile("profile1.efi"))
        },
    ),
    case(
        "joined profile with a kernel and sections that are not joined",
        &[
            LINUX,
            "--os-release=@osrel",
            "--profile=ID=first",
            "--join-profile=profile3.efi",
        ],
        |o, b| {
            k(o, b)
                .os_release(o.file("osrel"))
                .profile(Profile::new("ID=first"))
                .profile(o.profile("profile3.efi"))
        },
    ),
    case(
        "one profile joined twice",
        &[
            LINUX,
            "--join-profile=profile1.efi",
            "--join-profile=profile1.efi",
        ],
        |o, b| {
            k(o, b)
                .profile(Profile::new("ID=main"))
                .profile(o.profile("profile1.efi"))
                .profile(o.profile("profile1.efi"))
        },
    ),
    Case {
        name: "arm64 kernel",
        stub: "stub-aa64.efi",
        args: &["--linux=kernel-aa64.efi", "--cmdline=x", "--devicetree=dtb"],
        build: |o, b| {
            b.linux(o.file("kernel-aa64.efi"))
                .cmdline("x")
                .dtb(o.file("dtb"))
        },
    },
    Case {
        name: "RISC-V kernel",
        stub: "stub-riscv64.efi",
        args: &["--linux=kernel-riscv64.efi", "--initrd=initrd5"],
        build: |o, b| {
            b.linux(o.file("kernel-riscv64.efi"))
                .initrd(o.file("initrd5"))
        },
    },
    Case {
        name: "LoongArch kernel",
        stub: "stub-loongarch64.efi",
        args: &["--linux=kernel-loongarch64.efi"],
        build: |o, b| b.linux(o.file("kernel-loongarch64.efi")),
    },
    Case {
        name: "zboot kernel",
        stub: "stub-aa64.efi",
        args: &["--linux=zboot.efi"],
        build: |o, b| {
            let b = b.linux(o.file("zboot.efi"));
            // Without a decoder the version stays hidden.
            if cfg!(feature = "gzip") {
                b
            } else {
                b.uname("6.1.0-test")
            }
        },
    },
    Case {
        name: "addon with device trees by hardware",
        stub: "addon257.efi",
        args: &[
            "--devicetree-auto=dtb",
            "--devicetree-auto=dtb2",
            "--hwids=hwids",
            "--sbat=@sbat2",
            "--sbat=@sbat1",
        ],
        build: |o, b| {
            b.dtbauto(o.file("dtb"))
                .dtbauto(o.file("dtb2"))
                .hwids(o.hwids())
                .sbat(o.text("sbat2"))
                .sbat(o.text("sbat1"))
        },
    },
    Case {
        name: "profile image with a kernel",
        stub: "addon257.efi",
        args: &[
            "--profile=@profile",
            "--linux=kernel.efi",
            "--uname=5",
            "--splash=splash",
            "--initrd=initrd5",
            "--initrd=initrd8",
        ],
        build: |o, b| {
            b.profile(
                Profile::new(o.file("profile"))
                    .linux(o.file("kernel.efi"))
                    .uname("5")
                    .splash(o.file("splash"))
                    .initrd(o.file("initrd5"))
                    .initrd(o.file("initrd8")),
            )
        },
    },
    Case {
        name: "addon",
        stub: "addon257.efi",
        args: &["--cmdline=debug"],
        build: |_, b| b.cmdline("debug"),
    },
    Case {
        name: "addon with much in it",
        stub: "addon257.efi",
        args: &[
            "--cmdline=debug",
            "--initrd=initrd5",
            "--devicetree=dtb",
            "--microcode=initrd8",
            "--uname=1",
            "--sbat=@sbat1",
        ],
        build: |o, b| {
            b.cmdline("debug")
                .initrd(o.file("initrd5"))
                .dtb(o.file("dtb"))
                .ucode(o.file("initrd8"))
                .uname("1")
                .sbat(o.text("sbat1"))
        },
    },
    Case {
        name: "profile image",
        stub: "addon257.efi",
        args: &["--profile=ID=p", "--cmdline=p"],
        build: |_, b| b.profile(Profile::new("ID=p").cmdline("p")),
    },
    Case {
        name: "synthetic stub",
        stub: "stub.efi",
        args: &[LINUX, "--cmdline=x"],
        build: |o, b| k(o, b).cmdline("x"),
    },
    Case {
        name: "stub with a symbol table at its end and data that is not aligned",
        stub: "stub-symbols.efi",
        args: &[LINUX, "--cmdline=x"],
        build: |o, b| k(o, b).cmdline("x"),
    },
    Case {
        name: "stub with a symbol table in front of other data",
        stub: "stub-symbols-kept.efi",
        args: &[LINUX, "--cmdline=x"],
        build: |o, b| k(o, b).cmdline("x"),
    },
];

#[test]
fn builds_the_same_bytes_as_ukify() {
    let Some(oracle) = Oracle::new("builds_the_same_bytes_as_ukify") else {
        return;
    };
    let mut same = 0;
    for case in CASES {
        let mut args = vec![format!("--stub={}", case.stub)];
        if !case.args.iter().any(|arg| arg.starts_with("--os-release=")) {
            args.push("--os-release=".into());
        }
        args.extend(case.args.iter().map(|arg| (*arg).to_owned()));
        let theirs = oracle.ukify(case.name, &args);
        let stub = Stub::parse(&oracle.bytes(case.stub)).unwrap();
        let plan = (case.build)(&oracle, Builder::new(stub))
            .plan()
            .unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_same(case.name, &support::image(&plan), &theirs);
        same += 1;
    }
    assert!(same >= 59, "{same}");
}

#[test]
fn builds_the_same_bytes_as_ukify_when_policies_are_signed_while_writing() {
    let Some(oracle) = Oracle::new("builds_the_same_bytes_as_ukify_when_policies_are_signed")
    else {
        return;
    };
    let args = [
        "--stub=stub257.efi",
        LINUX,
        "--cmdline=x",
        "--os-release=",
        "--pcrpkey=pcrpkey",
        "--tools=tools",
        "--pcr-private-key=pcr-key.pem",
        "--phases=enter-initrd",
        "--pcr-banks=sha256",
        "--join-profile=profile1.efi",
    ];
    let theirs = oracle.ukify("signed", &args.map(String::from));
    let uki = Uki::parse(&theirs).unwrap();
    let documents: Vec<Vec<u8>> = uki
        .profiles()
        .iter()
        .map(|profile| {
            uki.content(profile.section(&SectionName::PCRSIG).unwrap())
                .to_vec()
        })
        .collect();
    assert_eq!(documents.len(), 2);
    let len = |index: usize| documents[index].len() as u64;

    let plan = k(
        &oracle,
        Builder::new(Stub::parse(&oracle.bytes("stub257.efi")).unwrap()),
    )
    .cmdline("x")
    .pcrpkey(oracle.file("pcrpkey"))
    .profile(Profile::new("ID=main").pcrsig_len(len(0)))
    .profile(oracle.profile("profile1.efi").pcrsig_len(len(1)))
    .plan()
    .unwrap();
    let mut ours = Vec::new();
    let answer =
        |(): &mut (), turn: uki::PcrsigTurn| Ok(documents[turn.profile().unwrap()].clone());
    plan.write(&mut ours, &mut (), |(), _| {}, answer).unwrap();
    assert_same("signed", &ours, &theirs);
}

fn assert_same(name: &str, ours: &[u8], theirs: &[u8]) {
    if ours == theirs {
        return;
    }
    let at = ours
        .iter()
        .zip(theirs)
        .position(|(ours, theirs)| ours != theirs);
    let table = |image: &[u8]| format!("{:#?}", Uki::parse(image).unwrap().sections());
    let around = |image: &[u8]| at.map(|at| image[at..image.len().min(at + 16)].to_vec());
    panic!(
        "{name}: {} bytes and {} of ukify, first difference at {at:x?}: {:02x?} and {:02x?}\n{}\n{}",
        ours.len(),
        theirs.len(),
        around(ours),
        around(theirs),
        table(ours),
        table(theirs)
    );
}

impl Oracle {
    fn new(test: &str) -> Option<Self> {
        let Some(tree) = debian13() else {
            skip(test, "Debian 13 tree with ukify");
            return None;
        };
        let oracle = Self {
            tree,
            dir: tempfile::tempdir().unwrap(),
        };
        oracle.write_inputs();
        Some(oracle)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str) -> Source {
        Source::file(self.path(name))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8(self.bytes(name)).unwrap()
    }

    fn profile(&self, name: &str) -> Profile {
        Profile::from_image(&self.file(name)).unwrap()
    }

    /// What ukify puts into the image for `kernel.gz`; with the feature, the crate unpacks it itself.
    fn unpacked(&self) -> Source {
        self.file(if cfg!(feature = "gzip") {
            "kernel.gz"
        } else {
            "kernel.efi"
        })
    }

    /// As [`Oracle::unpacked`], for the other formats that ukify unpacks.
    fn packed(&self, name: &str) -> Source {
        self.file(if cfg!(feature = "compressed-kernels") {
            name
        } else {
            "kernel.efi"
        })
    }

    #[cfg(feature = "json")]
    fn nested_hwids(&self) -> Vec<u8> {
        HardwareIds::from_dir(self.path("nested"))
            .unwrap()
            .to_bytes()
            .unwrap()
    }

    /// What the feature reads from the folder.
    #[cfg(not(feature = "json"))]
    fn nested_hwids(&self) -> Vec<u8> {
        let chid = |last| [13, 12, 11, 10, 2, 1, 4, 3, 5, 6, 7, 8, 9, 10, 11, last];
        let device =
            |name, value, last| Device::new(DeviceKind::DeviceTree, name, value, vec![chid(last)]);
        HardwareIds::new()
            .device(device("\u{fc}mlaut", "acme,gamma", 4))
            .device(device("Gamma", "acme,alpha", 2))
            .device(device("Alpha", "acme,alpha", 3))
            .device(device("Beta", "acme,beta", 2))
            .device(device("Alpha", "acme,alpha", 1))
            .to_bytes()
            .unwrap()
    }

    fn hwids(&self) -> Vec<u8> {
        let a = [
            0x20, 0x1f, 0x1e, 0x1d, 2, 1, 4, 3, 5, 6, 7, 8, 9, 10, 11, 12,
        ];
        let b = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        HardwareIds::new()
            .device(Device::new(
                DeviceKind::DeviceTree,
                "Zebra board",
                "acme,zebra",
                vec![a, b],
            ))
            .device(Device::new(
                DeviceKind::DeviceTree,
                "Alpha",
                "acme,alpha",
                vec![b],
            ))
            .to_bytes()
            .unwrap()
    }

    fn ukify(&self, name: &str, args: &[String]) -> Vec<u8> {
        let out = self.path("out.efi");
        let _ = std::fs::remove_file(&out);
        let run = tree_command(&self.tree, "usr/bin/python3")
            .arg(self.tree.join("usr/bin/ukify"))
            .args(["build", "--output=out.efi"])
            .args(args)
            .current_dir(self.dir.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONHOME", self.tree.join("usr"))
            .env(
                "PYTHONPATH",
                self.tree.join("usr/lib/python3/dist-packages"),
            )
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        assert!(
            run.status.success(),
            "ukify, {name}: {}",
            String::from_utf8_lossy(&run.stderr)
        );
        std::fs::read(out).unwrap()
    }

    fn write_inputs(&self) {
        let write = |name: &str, bytes: &[u8]| std::fs::write(self.path(name), bytes).unwrap();
        for name in ["stub.efi", "kernel.efi"] {
            write(name, &vector(name));
        }
        for (name, from) in [
            ("stub257.efi", "linuxx64.efi.stub"),
            ("addon257.efi", "addonx64.efi.stub"),
        ] {
            write(
                name,
                &std::fs::read(self.tree.join("usr/lib/systemd/boot/efi").join(from)).unwrap(),
            );
        }
        write("vmlinuz", &std::fs::read(real_kernel(&self.tree)).unwrap());
        write("cmdline", b"  verbatim  bytes\n\0");
        write("osrel", b"ID=test\nVERSION_ID=1\n");
        write("profile", b"ID=base\n");
        write("initrd5", b"12345");
        write("initrd8", b"abcdefgh");
        write("empty", b"");
        write("splash", &[b'B'; 70]);
        write("dtb", b"\xd0\x0d\xfe\xed-one");
        write("dtb2", &[7; 5000]);
        write("pcrpkey", b"-----BEGIN PUBLIC KEY-----\n");
        write(
            "sbat1",
            b"sbat,1,x\na,1,A,a,1,https://example.com/\n\nb,2,B,b,2,https://example.com/\n",
        );
        write("sbat2", b"sbat,1,x\nc,1,C\n");
        write("kernel-sbat.efi", &kernel_with_sbat());
        write("stub-symbols.efi", &stub_with_symbols(b""));
        write("stub-symbols-kept.efi", &stub_with_symbols(b"more"));
        write("kernel.gz", &gzip(&vector("kernel.efi")));
        write("kernel.lzma", &vector("kernel.efi.lzma"));
        write("kernel.bz2", &vector("kernel.efi.bz2"));
        write(
            "efifw",
            &uki::FirmwareBundle::new("id", b"capsule")
                .to_bytes()
                .unwrap(),
        );
        for (name, machine, magic) in [
            ("aa64", 0xaa64, b"ARM\x64"),
            ("riscv64", 0x5064, b"RSC\x05"),
            ("loongarch64", 0x6264, b"\xcd\x23\x82\x81"),
        ] {
            write(
                &format!("stub-{name}.efi"),
                &for_machine(vector("stub.efi"), machine),
            );
            let mut kernel = for_machine(vector("kernel.efi"), machine);
            kernel[0x38..0x3c].copy_from_slice(magic);
            kernel[0x202] = 0;
            write(&format!("kernel-{name}.efi"), &kernel);
        }
        write("zboot.efi", &zboot(&gzip(&vector("kernel.efi"))));
        write("pcr-key.pem", &vector("pcr-key.pem"));
        write("pcrpkey", &vector("pcr-key.pub.pem"));
        for folder in ["hwids", "none", "nested", "nested/b", "nested/b/deep"] {
            std::fs::create_dir(self.path(folder)).unwrap();
        }
        for (file, name, compatible, last) in [
            ("nested/z.json", "Alpha", "acme,alpha", "01"),
            ("nested/b.json", "Beta", "acme,beta", "02"),
            ("nested/b/x.json", "Alpha", "acme,alpha", "03"),
            ("nested/b/deep/y.json", "Gamma", "acme,alpha", "02"),
            ("nested/B.json", "\u{fc}mlaut", "acme,gamma", "04"),
            ("nested/not.txt", "", "", ""),
        ] {
            let guid = format!("{{0A0B0C0D-0102-0304-0506-0708090a0b{last}}}");
            let text = format!(
                r#"{{"name": "{name}", "compatible": "{compatible}", "hwids": ["{guid}"], "more": 1}}"#
            );
            write(file, text.as_bytes());
        }
        write("hwids/1.json", br#"{"name": "Zebra board", "compatible": "acme,zebra",
            "hwids": ["1d1e1f20-0102-0304-0506-0708090a0b0c", "04030201-0605-0807-090a-0b0c0d0e0f10"]}"#);
        write("hwids/2.json", br#"{"name": "Alpha", "compatible": "acme,alpha", "hwids": ["04030201-0605-0807-090a-0b0c0d0e0f10"]}"#);
        self.write_measure();
        let profiles: [(&str, &[&str]); 3] = [
            (
                "profile1.efi",
                &["--os-release=", "--profile=ID=one", "--cmdline=one"],
            ),
            (
                "profile2.efi",
                &[
                    "--os-release=",
                    "--profile=ID=two\nTITLE=Two",
                    "--initrd=initrd8",
                ],
            ),
            (
                "profile3.efi",
                &[
                    "--os-release=ID=three",
                    "--profile=ID=three",
                    "--linux=kernel-sbat.efi",
                    "--uname=3",
                    "--microcode=initrd5",
                    "--splash=splash",
                    "--devicetree=dtb",
                    "--devicetree-auto=dtb2",
                    "--hwids=hwids",
                    "--pcrpkey=pcrpkey",
                    "--section=.foo:bar",
                ],
            ),
        ];
        for (name, args) in profiles {
            let stub = ["--stub=addon257.efi"].iter();
            let args: Vec<String> = stub.chain(args).map(|arg| (*arg).to_owned()).collect();
            write(name, &self.ukify(name, &args));
        }
    }

    /// systemd-measure of the tree, started with the tree's libraries.
    fn write_measure(&self) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::create_dir(self.path("tools")).unwrap();
        let command = tree_command(&self.tree, "usr/lib/systemd/systemd-measure");
        let words: Vec<String> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| format!("'{}'", word.to_str().unwrap()))
            .collect();
        let script = self.path("tools/systemd-measure");
        std::fs::write(
            &script,
            format!(
                "#!/bin/sh\nunset PYTHONHOME\nexec {} \"$@\"\n",
                words.join(" ")
            ),
        )
        .unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn real_kernel(tree: &Path) -> PathBuf {
    let mut names = std::fs::read_dir(tree.join("kernel/boot"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    names
        .find(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("vmlinuz-")
        })
        .unwrap()
}

/// The synthetic kernel without the NX flag and with an `.sbat` section behind its code.
fn kernel_with_sbat() -> Vec<u8> {
    let mut kernel = vector("kernel.efi");
    let (pe, table) = (0x40, 0x40 + 24 + 240);
    kernel[pe + 94..pe + 96].copy_from_slice(&0x60_u16.to_le_bytes());
    kernel[pe + 6] = 2;
    let raw = u32::try_from(kernel.len()).unwrap();
    let sbat = b"sbat,1,x\nkernel,3,K,kernel,6,https://example.com/\n";
    let header = &mut kernel[table + 40..table + 80];
    header[..8].copy_from_slice(b".sbat\0\0\0");
    for (at, value) in [
        (8, 51),
        (12, 0x2000),
        (16, 0x200),
        (20, raw),
        (36, 0x4000_0040),
    ] {
        header[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
    }
    kernel.extend_from_slice(sbat);
    kernel.resize(kernel.len().next_multiple_of(0x200), 0);
    kernel
}

/// The synthetic stub with its last section cut to its content and a COFF symbol table behind it.
fn stub_with_symbols(after: &[u8]) -> Vec<u8> {
    let mut stub = vector("stub.efi");
    let last = 0x40 + 24 + 240 + 3 * 40;
    stub[last + 16..last + 20].copy_from_slice(&12_u32.to_le_bytes());
    stub.truncate(stub.len() - 0x200 + 12);
    let symbols = u32::try_from(stub.len()).unwrap();
    stub[0x40 + 12..0x40 + 16].copy_from_slice(&symbols.to_le_bytes());
    stub[0x40 + 16..0x40 + 20].copy_from_slice(&2_u32.to_le_bytes());
    stub.extend_from_slice(&[1; 36]);
    stub.extend_from_slice(b"\x08\0\0\0abc\0");
    stub.extend_from_slice(after);
    stub
}

fn for_machine(mut image: Vec<u8>, machine: u16) -> Vec<u8> {
    image[0x44..0x46].copy_from_slice(&machine.to_le_bytes());
    image
}

/// An arm64 kernel packed as EFI zboot.
fn zboot(payload: &[u8]) -> Vec<u8> {
    let mut kernel = for_machine(vector("kernel.efi"), 0xaa64);
    let fields = [kernel.len(), payload.len()].map(|field| u32::try_from(field).unwrap());
    kernel[0x202] = 0;
    kernel[4..8].copy_from_slice(b"zimg");
    kernel[8..12].copy_from_slice(&fields[0].to_le_bytes());
    kernel[12..16].copy_from_slice(&fields[1].to_le_bytes());
    kernel[0x18..0x20].copy_from_slice(b"gzip\0\0\0\0");
    kernel.extend_from_slice(payload);
    kernel
}

/// gzip with stored blocks.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap();
    let mut packed = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01".to_vec();
    packed.extend_from_slice(&len.to_le_bytes());
    packed.extend_from_slice(&(!len).to_le_bytes());
    packed.extend_from_slice(bytes);
    packed.extend_from_slice(&crc32(bytes).to_le_bytes());
    packed.extend_from_slice(&u32::from(len).to_le_bytes());
    packed
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
