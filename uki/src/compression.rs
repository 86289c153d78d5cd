//! Compressed kernels.

use core::fmt;

/// How long a kernel can be that is packed into `len` bytes. Linux packs to a quarter or so; a few bytes of damage make
/// some formats give zeros without end.
#[cfg(feature = "std")]
pub(crate) fn max_plain_len(len: u64) -> u64 {
    len.saturating_mul(64).saturating_add(1 << 20)
}

/// How a kernel or a zboot payload is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// gzip (feature `gzip`).
    Gzip,
    /// Zstandard (feature `zstd`).
    Zstd,
    /// xz (feature `xz`).
    Xz,
    /// lzma alone (feature `xz`).
    Lzma,
    /// LZ4, the old or the new frame format (feature `lz4`).
    Lz4,
    /// lzop; is told, not unpacked.
    Lzo,
    /// bzip2 (feature `bzip2`).
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
    ///
    /// What a decoder keeps in memory is bounded by what the kernel's own build asks for: a window of 128 MiB.
    #[cfg(feature = "std")]
    pub(crate) fn decoder<'a>(
        self,
        input: impl std::io::Read + 'a,
    ) -> std::io::Result<Option<Box<dyn std::io::Read + 'a>>> {
        #[cfg(feature = "xz")]
        const MAX_MEMORY_KIB: u32 = 160 << 10;
        Ok(match self {
            #[cfg(feature = "gzip")]
            Self::Gzip => Some(Box::new(flate2::read::MultiGzDecoder::new(input))),
            #[cfg(feature = "zstd")]
            Self::Zstd => {
                let mut plain = zstd::stream::read::Decoder::new(input)?;
                plain.window_log_max(27)?;
                Some(Box::new(plain))
            }
            #[cfg(feature = "xz")]
            Self::Xz => Some(Box::new(lzma_rust2::XzReader::new_mem_limit(
                input,
                true,
                MAX_MEMORY_KIB,
            ))),
            #[cfg(feature = "xz")]
            Self::Lzma => Some(Box::new(lzma_rust2::LzmaReader::new_mem_limit(
                input,
                MAX_MEMORY_KIB,
                None,
            )?)),
            #[cfg(feature = "lz4")]
            Self::Lz4 => Some(Box::new(lz4_flex::frame::FrameDecoder::new(input))),
            #[cfg(feature = "bzip2")]
            Self::Bzip2 => Some(Box::new(bzip2::read::MultiBzDecoder::new(input))),
            _ => {
                drop(input);
                None
            }
        })
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
