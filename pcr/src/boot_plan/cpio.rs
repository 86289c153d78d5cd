//! The archives that the stub makes of files beside the UKI: newc, byte for byte.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// An archive that the stub would make of these files.
#[derive(Debug, Clone)]
pub(super) struct Archive<'a> {
    target: &'static str,
    directory_mode: u32,
    file_mode: u32,
    files: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Archive<'a> {
    /// Credentials: readable by root only.
    pub(super) fn credentials(target: &'static str, files: Vec<(&'a str, &'a [u8])>) -> Self {
        Self::new(target, 0o500, 0o400, files)
    }

    /// Extensions, and what the stub hands over from the UKI itself.
    pub(super) fn public(target: &'static str, files: Vec<(&'a str, &'a [u8])>) -> Self {
        Self::new(target, 0o555, 0o444, files)
    }

    fn new(
        target: &'static str,
        directory_mode: u32,
        file_mode: u32,
        mut files: Vec<(&'a str, &'a [u8])>,
    ) -> Self {
        // The stub sorts by UTF-16 code unit; names are ASCII, so bytes give the same order.
        files.sort_by_key(|(name, _)| *name);
        Self {
            target,
            directory_mode,
            file_mode,
            files,
        }
    }

    /// An empty folder makes no archive and no event.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Writes the archive piece by piece.
    pub(super) fn write(&self, sink: &mut dyn FnMut(&[u8])) {
        let mut inode = 1u32;
        let parents = self.target.match_indices('/').map(|(end, _)| end);
        for end in parents.chain([self.target.len()]) {
            let name = self.target.get(..end).unwrap_or_default();
            let mode = if end == self.target.len() {
                self.directory_mode
            } else {
                0o555
            };
            write_entry(sink, inode, 0o040_000 | mode, name, &[]);
            inode = inode.saturating_add(1);
        }
        for (name, content) in &self.files {
            let path = format!("{}/{name}", self.target);
            write_entry(sink, inode, 0o100_000 | self.file_mode, &path, content);
            inode = inode.saturating_add(1);
        }
        // The one upper-case digit is the stub's.
        let zeros = "0".repeat(8);
        let trailer = format!(
            "070701{}00000001{}0000000B{zeros}TRAILER!!!\0",
            zeros.repeat(4),
            zeros.repeat(6)
        );
        sink(trailer.as_bytes());
        pad(sink, trailer.len());
    }
}

/// One directory or file: header, name, content, each padded to four bytes.
fn write_entry(sink: &mut dyn FnMut(&[u8]), inode: u32, mode: u32, name: &str, content: &[u8]) {
    let fields = [
        u64::from(inode),
        u64::from(mode),
        0,
        0,
        1,
        0,
        content.len() as u64,
        0,
        0,
        0,
        0,
        name.len().saturating_add(1) as u64,
        0,
    ];
    let fields: String = fields.iter().map(|field| format!("{field:08x}")).collect();
    let header = format!("070701{fields}{name}\0");
    sink(header.as_bytes());
    pad(sink, header.len());
    sink(content);
    pad(sink, content.len());
}

/// Zeros up to the next multiple of four.
pub(super) fn pad(sink: &mut dyn FnMut(&[u8]), len: usize) {
    sink([0; 4].get(..len.wrapping_neg() % 4).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_the_stubs_bytes() {
        let mut bytes = Vec::new();
        Archive::public(".extra", [("b", &b"2"[..]), ("a", b"11111")].into())
            .write(&mut |piece| bytes.extend_from_slice(piece));
        let expected = concat!(
            "07070100000001000041",
            "6d",
            "0000000000000000000000010000000000000000",
            "00000000000000000000000000000000",
            "00000007",
            "00000000",
            ".extra\0\0\0\0",
        );
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(
            &bytes[..expected.len() - 1],
            &expected.as_bytes()[..expected.len() - 1]
        );
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.find(".extra/a\0").unwrap() < text.find(".extra/b\0").unwrap());
        assert!(text.ends_with("0000000B00000000TRAILER!!!\0\0\0\0"));
    }
}
