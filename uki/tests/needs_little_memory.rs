//! Memory does not grow with the image: a test program of its own, since its allocator counts.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "support/inputs.rs"]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};
use support::builder;
use uki::{Edit, Profile, SectionName, Source, Uki, Worker};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it is; only sizes are added up beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory in use at once while `work` runs, above what was in use before.
fn most(work: impl FnOnce()) -> usize {
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    work();
    MOST.load(Ordering::Relaxed) - before
}

const MIB: u64 = 1 << 20;

/// One test: others beside it would be counted too.
#[test]
fn images_of_hundreds_of_mebibytes_pass_through_a_few() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image.efi");
    let ramdisk = dir.path().join("initrd");
    std::fs::File::create(&ramdisk)
        .unwrap()
        .set_len(400 * MIB)
        .unwrap();

    let built = most(|| {
        let plan = builder()
            .initrd(Source::file(&ramdisk))
            .initrd(Source::opener("zeros", 112 * MIB, || {
                Ok(std::io::repeat(0))
            }))
            .profile(Profile::new("ID=main").pcrsig_len(64))
            .plan()
            .unwrap();
        // The zeros need no room on disk.
        let mut out = Sparse(std::fs::File::create(&path).unwrap());
        std::thread::scope(|scope| {
            let mut hash = Worker::spawn(scope, Sha256::new(), |hash, part| {
                hash.update(&part.bytes()[..1.min(part.bytes().len())])
            });
            plan.write(
                &mut out,
                &mut hash,
                |hash, part| hash.observe(part),
                |hash, _| Ok(hash.ask(|hash| hash.clone().finalize().to_vec())?),
            )
            .unwrap();
            hash.finish().unwrap();
        });
        out.0.set_len(plan.len()).unwrap();
    });
    assert!(std::fs::metadata(&path).unwrap().len() > 512 * MIB);
    assert!(built < 64 << 20, "building: {built} bytes");

    let read = most(|| {
        let uki = Uki::read(std::fs::File::open(&path).unwrap()).unwrap();
        uki::lint(&uki).unwrap();
        let initrd = uki.base().section(&SectionName::INITRD).unwrap();
        let mut start = [0; 4096];
        uki.reader(initrd).read_exact(&mut start).unwrap();
    });
    assert!(read < 4 << 20, "reading: {read} bytes");

    let edited = most(|| {
        let edit = Edit::new(Source::file(&path)).unwrap();
        let plan = edit.set(None, SectionName::CMDLINE, "x").plan().unwrap();
        plan.write_to(&mut std::io::sink()).unwrap();
    });
    assert!(edited < 64 << 20, "editing: {edited} bytes");

    // A table as long as can be counted costs a small multiple of itself.
    let mut crowded = support::vector("stub.efi");
    crowded[0x46..0x48].copy_from_slice(&[0xff; 2]);
    crowded.truncate(0x40 + 24 + 240);
    for _ in 0..0xffff {
        crowded.extend_from_slice(b".dtbauto");
        crowded.extend(
            [1_u32, 0x1000, 0, 0, 0, 0, 0, 0]
                .into_iter()
                .flat_map(u32::to_le_bytes),
        );
    }
    let parsed = most(|| {
        let uki = Uki::parse(&crowded).unwrap();
        assert_eq!(uki.sections().len(), 0xffff);
    });
    assert!(
        parsed < 5 * crowded.len(),
        "{parsed} bytes for {}",
        crowded.len()
    );
}

/// Leaves holes where zeros are written.
struct Sparse(std::fs::File);

impl Write for Sparse {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
        if ZEROS.get(..bytes.len()) == Some(bytes) {
            let len = i64::try_from(bytes.len()).unwrap();
            self.0.seek(SeekFrom::Current(len))?;
            return Ok(bytes.len());
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}
