//! Compressed kernels.

use core::fmt;

/// How a kernel or a zboot payload is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// gzip (feature `gzip`).
    Gzip,
    /// Zstandard (feature `zstd`).
    Zstd,
    /// xz.
    Xz,
    /// lzma alone.
    Lzma,
    /// LZ4, the old or the new frame format.
    Lz4,
    /// lzop.
    Lzo,
    /// bzip2.
    Bzip2,
    /// A name in a zboot header that is not known.
    Unknown,
}

impl Compression {
    /// Tells by the first bytes of a file.
    #[must_use]
    pub fn of_magic(head: &[u8]) -> Option<Self> {
        let magics: [(&[u8], Self); 8] = [
            (b"\x1f\x8b", Self::Gzip),
            (b"\x28\xb5\x2f\xfd", Self::Zstd),
            (b"\xfd7zXZ\0", Self::Xz),
            (b"\x5d\0\0", Self::Lzma),
            (b"\x02\x21\x4c\x18", Self::Lz4),
            (b"\x04\x22\x4d\x18", Self::Lz4),
            (b"\x89LZO", Self::Lzo),
            (b"BZh", Self::Bzip2),
        ];
        magics
            .iter()
            .find(|(magic, _)| head.starts_with(magic))
            .map(|(_, found)| *found)
    }

    /// Tells by the name in a zboot header.
    pub(crate) fn of_zboot(name: &[u8]) -> Self {
        match name {
            b"gzip" => Self::Gzip,
            b"zstd" | b"zstd22" => Self::Zstd,
            b"xzkern" => Self::Xz,
            b"lzma" => Self::Lzma,
            b"lz4" => Self::Lz4,
            b"lzo" => Self::Lzo,
            _ => Self::Unknown,
        }
    }

    /// The plain bytes; none when this build has no decoder for the format.
    #[cfg(feature = "std")]
    pub(crate) fn decoder<'a>(
        self,
        input: impl std::io::Read + 'a,
    ) -> Option<Box<dyn std::io::Read + 'a>> {
        match self {
            #[cfg(feature = "gzip")]
            Self::Gzip => Some(Box::new(flate2::read::MultiGzDecoder::new(input))),
            #[cfg(feature = "zstd")]
            Self::Zstd => Some(Box::new(zstd::stream::read::Decoder::new(input).ok()?)),
            _ => {
                drop(input);
                None
            }
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Lzma => "lzma",
            Self::Lz4 => "lz4",
            Self::Lzo => "lzo",
            Self::Bzip2 => "bzip2",
            Self::Unknown => "compressed",
        })
    }
}
