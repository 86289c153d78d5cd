//! Names and contents.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use iso9660::Source;
use libfuzzer_sys::arbitrary::{Result, Unstructured};

/// Names that some format or other has trouble with. The first ones collide in plain ISO 9660, the
/// last ones have no place in FAT.
const ODD: [&str; 32] = [
    "a",
    "b",
    "A_",
    "a+",
    "a-",
    "a_1",
    "A",
    "a.b.c",
    "EFI",
    "BOOT",
    "BOOTX64.EFI",
    "loader",
    "a b",
    ".profile",
    " x",
    "talos-v1.9.0.efi",
    "TALOS-~1.EFI",
    "héllo",
    "日本.txt",
    "😀",
    "CON",
    "x;1",
    "a.b;1",
    "ß",
    "SS",
    "ſ",
    "x.conf",
    "end.",
    "a:b",
    "a*?",
    "\\",
    "\u{7F}",
];
/// How many of them FAT can hold.
const PLAIN: usize = 27;

/// A name that can stand in a tree. `is_plain`: one that FAT can hold, mostly.
pub fn name(u: &mut Unstructured<'_>, is_plain: bool) -> Result<Vec<u8>> {
    let mut name = match u.int_in_range(0..=15)? {
        0 => {
            // Long ones that differ at their ends, with extensions of several lengths.
            let letter = *u.choose(&["x", "Y", "é", "😀", "."])?;
            let mut name = letter.repeat(u.int_in_range(1..=255 / letter.len())?);
            name.push_str(u.choose(&["", "1", "2", ".a", ".abcd", ".abcdefghijklmnop"])?);
            name.into_bytes()
        }
        1 if !is_plain => u.bytes(usize::from(u.len() > 8) * 8)?.to_vec(),
        2 => format!("n{}", u.arbitrary::<u8>()?).into_bytes(),
        3..=6 => ODD[u.int_in_range(0..=3)?].into(),
        _ if is_plain => u.choose(&ODD[..PLAIN])?.as_bytes().to_vec(),
        _ => u.choose(&ODD)?.as_bytes().to_vec(),
    };
    name.retain(|&b| b != b'/' && b != 0);
    name.truncate(255);
    if name.is_empty() || name == b"." || name == b".." {
        name = b"dot".to_vec();
    }
    Ok(name)
}

/// Bytes without a repetition that would hide a wrong offset.
pub fn pattern(seed: u8, len: usize) -> Vec<u8> {
    let mut state = u64::from(seed) << 32 | len as u64;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        out.extend(((state >> 16) as u32).to_le_bytes());
    }
    out.truncate(len);
    out
}

/// Content from memory, a reader, a file of the host or another plan.
pub fn content(u: &mut Unstructured<'_>) -> Result<(Source, Arc<[u8]>)> {
    const LENS: [usize; 14] = [
        0, 1, 511, 512, 513, 2047, 2048, 2049, 4096, 4097, 65_537, 262_144, 262_145, 600_000,
    ];
    if u.ratio(1, 8)? {
        let (path, content) = u.choose(host_files())?;
        return Ok((Source::file(path), Arc::clone(content)));
    }
    let len = if u.ratio(1, 2)? {
        u.int_in_range(0..=3000)?
    } else {
        let last = if u.ratio(1, 8)? { LENS.len() - 1 } else { 9 };
        LENS[u.int_in_range(0..=last)?]
    };
    let content: Arc<[u8]> = pattern(u.int_in_range(0..=3)?, len).into();
    let source = if u.ratio(1, 4)? {
        let content = Arc::clone(&content);
        let open = move || Ok(std::io::Cursor::new(Arc::clone(&content)));
        Source::reader(len as u64, open)
    } else {
        Source::bytes(content.as_ref())
    };
    Ok((source, content))
}

/// Files with and without holes, of several lengths, made once.
fn host_files() -> &'static [(PathBuf, Arc<[u8]>)] {
    static FILES: OnceLock<Vec<(PathBuf, Arc<[u8]>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let dir = scratch();
        let mut hole = vec![0; 900_000];
        hole[..5000].copy_from_slice(&pattern(7, 5000));
        hole[700_000..].copy_from_slice(&pattern(8, 200_000));
        let contents = [Vec::new(), pattern(1, 100), pattern(2, 700_001), hole];
        let make = |(i, content): (usize, Vec<u8>)| {
            use std::os::unix::fs::FileExt as _;
            let path = dir.join(format!("content-{i}"));
            let file = std::fs::File::create(&path).unwrap();
            file.set_len(content.len() as u64).unwrap();
            for (at, piece) in content.chunks(4096).enumerate() {
                if piece.iter().any(|&b| b != 0) {
                    file.write_all_at(piece, at as u64 * 4096).unwrap();
                }
            }
            (path, content.into())
        };
        contents.into_iter().enumerate().map(make).collect()
    })
}

/// A directory of this process.
pub fn scratch() -> PathBuf {
    let dir = std::env::temp_dir().join(format!("iso9660-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
