//! Writing a changed signature table into a file.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use crate::error::Error;
use crate::image::{Image, directory};
use crate::table::{self, SignatureTable};

/// A change of an image's signature table, ready to be written.
///
/// Everything is computed: the padding before the table, the directory entry and the header's checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    old_len: u64,
    new_len: u64,
    /// Up to here the file stays as it is, but for the header fields.
    keep: u64,
    /// What comes after that.
    tail: Vec<u8>,
    directory: (u64, [u8; 8]),
    checksum: (u64, [u8; 4]),
}

impl Image {
    /// The change that gives the image this signature table.
    ///
    /// Removing the last entry truncates the file to where the table began and clears the directory entry; zero bytes
    /// that were appended when the image was first signed stay, as they cannot be told from data.
    ///
    /// # Errors
    /// [`Error::NoCertificateDirectory`]; [`Error::DataAfterTable`]; [`Error::BadTable`] if the table has a broken end;
    /// [`Error::TooLong`].
    pub fn with_table(&self, table: &SignatureTable) -> Result<Edit, Error> {
        let directory_offset = self
            .layout
            .directory_offset
            .ok_or(Error::NoCertificateDirectory)?;
        if self.is_signed() && self.layout.table_end() != self.len {
            return Err(Error::DataAfterTable {
                table_end: self.layout.table_end(),
                file_end: self.len,
            });
        }
        if !self.has_checksum() {
            return Err(Error::NotSummed);
        }
        if let Some(problem) = table.problem() {
            return Err(problem.into());
        }
        let content_end = self.content_end();
        let bytes = table.to_bytes();
        let table_len = u64::try_from(bytes.len()).map_err(|_| Error::TooLong)?;
        let pad = if self.is_signed() || bytes.is_empty() {
            &[]
        } else {
            table::padding(content_end)
        };
        let table_offset = content_end
            .checked_add(u64::try_from(pad.len()).unwrap_or_default())
            .ok_or(Error::TooLong)?;
        let new_len = table_offset.checked_add(table_len).ok_or(Error::TooLong)?;
        if new_len > u64::from(u32::MAX) {
            return Err(Error::TooLong);
        }
        let directory = if bytes.is_empty() {
            [0; 8]
        } else {
            directory(table_offset, table_len)
        };
        let mut sum = self.content_sum();
        sum.add(directory_offset, &directory);
        sum.add(table_offset, &bytes);
        let checksum = sum.finish(new_len).to_le_bytes();
        // Old entries that stay in front need not be written again.
        let same = self.is_signed() && !bytes.is_empty() && bytes.starts_with(self.table_bytes());
        let (keep, tail) = if same {
            (
                self.len,
                bytes
                    .get(self.table_bytes().len()..)
                    .unwrap_or_default()
                    .to_vec(),
            )
        } else {
            let mut tail = pad.to_vec();
            tail.extend_from_slice(&bytes);
            (content_end, tail)
        };
        Ok(Edit {
            old_len: self.len,
            new_len,
            keep,
            tail,
            directory: (directory_offset, directory),
            checksum: (self.layout.checksum_offset, checksum),
        })
    }
}

impl Edit {
    /// Length of the file afterwards.
    #[expect(clippy::len_without_is_empty, reason = "an image is never empty")]
    #[must_use]
    pub fn len(&self) -> u64 {
        self.new_len
    }

    /// The header's checksum afterwards.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        u32::from_le_bytes(self.checksum.1)
    }

    /// Changes an image in memory.
    ///
    /// # Errors
    /// [`Error::FileChanged`] if it has another length than when it was hashed.
    pub fn apply_to_bytes(&self, image: &mut Vec<u8>) -> Result<(), Error> {
        self.check_len(u64::try_from(image.len()).unwrap_or(u64::MAX))?;
        image.truncate(usize::try_from(self.keep).unwrap_or(usize::MAX));
        image.extend_from_slice(&self.tail);
        for (offset, bytes) in [
            (self.directory.0, &self.directory.1[..]),
            (self.checksum.0, &self.checksum.1[..]),
        ] {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            if let Some(field) = image
                .get_mut(start..)
                .and_then(|rest| rest.get_mut(..bytes.len()))
            {
                field.copy_from_slice(bytes);
            }
        }
        Ok(())
    }

    fn check_len(&self, found: u64) -> Result<(), Error> {
        if found == self.old_len {
            Ok(())
        } else {
            Err(Error::FileChanged {
                expected: self.old_len,
                found,
            })
        }
    }
}

#[cfg(feature = "std")]
mod files {
    use std::fs::File;
    use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};

    use super::Edit;
    use crate::error::Error;

    impl Edit {
        /// Changes the file in place by writing its end and 12 bytes of its header.
        ///
        /// The end is written first, so that an interruption leaves an image that firmware still takes as unsigned.
        ///
        /// # Errors
        /// [`Error::FileChanged`] if its length is not what it was when hashed; [`Error::TooLong`] if the file would have
        /// to become shorter, for which [`apply_to_file`](Self::apply_to_file) is; [`Error::Io`].
        pub fn append_to<W: Write + Seek>(&self, file: &mut W) -> Result<(), Error> {
            if self.new_len < self.old_len {
                return Err(Error::Unsupported {
                    what: "shortening a file that is not a std::fs::File",
                });
            }
            self.write_in_place(file)
        }

        /// Changes the file in place, truncating it where it becomes shorter.
        ///
        /// # Errors
        /// [`Error::FileChanged`], [`Error::Io`].
        pub fn apply_to_file(&self, file: &mut File) -> Result<(), Error> {
            self.write_in_place(file)?;
            if self.new_len < self.old_len {
                file.set_len(self.new_len)?;
            }
            Ok(())
        }

        fn write_in_place<W: Write + Seek>(&self, file: &mut W) -> Result<(), Error> {
            self.check_len(file.seek(SeekFrom::End(0))?)?;
            file.seek(SeekFrom::Start(self.keep))?;
            file.write_all(&self.tail)?;
            for (offset, bytes) in [
                (self.directory.0, &self.directory.1[..]),
                (self.checksum.0, &self.checksum.1[..]),
            ] {
                file.seek(SeekFrom::Start(offset))?;
                file.write_all(bytes)?;
            }
            file.seek(SeekFrom::Start(self.new_len))?;
            file.flush()?;
            Ok(())
        }

        /// Writes the changed image to `output` while reading the old one from `input`, which stands at its start.
        ///
        /// # Errors
        /// [`Error::FileChanged`], [`Error::Io`].
        pub fn write_to<R: Read, W: Write>(
            &self,
            input: &mut R,
            output: &mut W,
        ) -> Result<(), Error> {
            let mut buffer = std::vec![0; 256 * 1024];
            let mut position = 0_u64;
            while position < self.keep {
                let left = usize::try_from(self.keep.saturating_sub(position))
                    .unwrap_or(usize::MAX)
                    .min(buffer.len());
                let part = buffer.get_mut(..left).unwrap_or_default();
                let read = match input.read(part) {
                    Ok(0) => {
                        return Err(Error::FileChanged {
                            expected: self.old_len,
                            found: position,
                        });
                    }
                    Ok(read) => read,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error.into()),
                };
                let part = part.get_mut(..read).unwrap_or_default();
                patch(part, position, self.directory.0, &self.directory.1);
                patch(part, position, self.checksum.0, &self.checksum.1);
                output.write_all(part)?;
                position = position.saturating_add(u64::try_from(read).unwrap_or_default());
            }
            output.write_all(&self.tail)?;
            output.flush()?;
            Ok(())
        }
    }

    /// Overwrites the bytes of a field, which starts at file offset `field`, within a part that starts at `base`.
    fn patch(part: &mut [u8], base: u64, field: u64, bytes: &[u8]) {
        for (offset, byte) in (field..).zip(bytes) {
            if let Some(place) = offset
                .checked_sub(base)
                .and_then(|at| part.get_mut(usize::try_from(at).ok()?))
            {
                *place = *byte;
            }
        }
    }
}
