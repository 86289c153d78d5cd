//! Hashing files: one thread reads ahead while another hashes.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::sync::mpsc;
use std::vec::Vec;

use crate::checksum::Sum;
use crate::error::Error;
use crate::hash::{HashAlgorithm, Hashers};
use crate::hasher::{ImageHasher, Pass};
use crate::image::{ByRule, Image, directory, rule_ranges};
use crate::layout::{self, Layout};
use crate::options::ImageOptions;
use crate::table::SignatureTable;

const BUFFER: usize = 512 * 1024;
const BUFFERS: usize = 4;

impl Image {
    /// Hashes a file with SHA-256 and the algorithms that its signatures name. It is read once, front to back.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and [`Error::Io`].
    pub fn read<R: Read + Seek>(file: &mut R) -> Result<Self, Error> {
        Self::read_with(file, &ImageOptions::new())
    }

    /// Hashes a file.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_with<R: Read + Seek>(file: &mut R, options: &ImageOptions) -> Result<Self, Error> {
        Self::copy(file, &mut std::io::sink(), options)
    }

    /// Hashes a file while copying it; the copy can then be signed in place, and the file is read only once.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn copy<R: Read + Seek, W: Write>(
        file: &mut R,
        copy: &mut W,
        options: &ImageOptions,
    ) -> Result<Self, Error> {
        let algorithms = options.algorithms(&named_hashes(file, options)?);
        let options = options.clone().hashes(&algorithms);
        file.seek(SeekFrom::Start(0))?;
        let pass = pass(file, copy, &options)?;
        if pass.layout.irregularity(pass.len).is_none() {
            return Ok(Self::from_pass(pass, None));
        }
        let mut hashers = Hashers::new(&algorithms);
        let mut buffer = std::vec![0; BUFFER];
        for (start, end) in rule_ranges(&pass.layout, pass.len)? {
            file.seek(SeekFrom::Start(start))?;
            let mut left = end.saturating_sub(start);
            while left > 0 {
                let wanted = usize::try_from(left)
                    .unwrap_or(usize::MAX)
                    .min(buffer.len());
                let part = buffer.get_mut(..wanted).unwrap_or_default();
                file.read_exact(part)?;
                hashers.update(part);
                left = left.saturating_sub(u64::try_from(wanted).unwrap_or(left));
            }
        }
        let by_rule = ByRule::finish(hashers, &pass.layout, pass.len);
        Ok(Self::from_pass(pass, Some(by_rule)))
    }
}

/// The algorithms that the file's signatures name. What is wrong with headers and table is told by the pass after this.
fn named_hashes<R: Read + Seek>(
    file: &mut R,
    options: &ImageOptions,
) -> Result<Vec<HashAlgorithm>, Error> {
    if options.hashes.is_some() {
        return Ok(Vec::new());
    }
    let Some(layout) = peek_layout(file)? else {
        return Ok(Vec::new());
    };
    if !layout.is_signed() || layout.table_len > options.max_table_len {
        return Ok(Vec::new());
    }
    file.seek(SeekFrom::Start(layout.table_offset))?;
    let mut table = Vec::new();
    file.take(layout.table_len).read_to_end(&mut table)?;
    Ok(SignatureTable::parse(&table, layout.table_offset).hashes())
}

fn peek_layout<R: Read + Seek>(file: &mut R) -> Result<Option<Layout>, Error> {
    file.seek(SeekFrom::Start(0))?;
    let mut dos = Vec::new();
    file.take(64).read_to_end(&mut dos)?;
    let Some(Ok(pe_offset)) = dos.first_chunk().map(layout::pe_offset) else {
        return Ok(None);
    };
    file.seek(SeekFrom::Start(pe_offset))?;
    let mut header = Vec::new();
    file.take(u64::try_from(layout::COFF_LEN).unwrap_or_default())
        .read_to_end(&mut header)?;
    let Ok(len) = layout::header_len(pe_offset, &header) else {
        return Ok(None);
    };
    let left = len.saturating_sub(u64::try_from(header.len()).unwrap_or_default());
    file.take(left).read_to_end(&mut header)?;
    Ok(Layout::parse(pe_offset, &header).ok())
}

/// Reads the whole file once. This thread reads, copies and sums; the other one hashes.
fn pass<R: Read, W: Write>(
    file: &mut R,
    copy: &mut W,
    options: &ImageOptions,
) -> Result<Pass, Error> {
    let mut total = Sum::default();
    let mut hasher = ImageHasher::with_options(options.clone().checksum(false));
    let (full_sender, full) = mpsc::sync_channel::<(Vec<u8>, usize)>(BUFFERS);
    let (free_sender, free) = mpsc::channel::<Vec<u8>>();
    let (read, pass) = std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            while let Ok((buffer, len)) = full.recv() {
                hasher.update(buffer.get(..len).unwrap_or_default());
                // The reader is gone only when it needs no more buffers.
                let _ = free_sender.send(buffer);
            }
            hasher.finish_pass()
        });
        let mut position = 0_u64;
        let mut made = 0;
        let mut read_all = || -> Result<(), Error> {
            loop {
                let mut buffer = match free.try_recv() {
                    Ok(buffer) => buffer,
                    Err(_) if made < BUFFERS => {
                        made = made.saturating_add(1);
                        std::vec![0; BUFFER]
                    }
                    // The worker ends only after this function: it sends each buffer back.
                    Err(_) => free.recv().unwrap_or_else(|_| std::vec![0; BUFFER]),
                };
                let len = fill(file, &mut buffer)?;
                if len == 0 {
                    return Ok(());
                }
                let part = buffer.get(..len).unwrap_or_default();
                if options.checksum {
                    total.add(position, part);
                }
                copy.write_all(part)?;
                position = position.saturating_add(u64::try_from(len).unwrap_or_default());
                if full_sender.send((buffer, len)).is_err() {
                    return Ok(());
                }
            }
        };
        let read = read_all();
        drop(full_sender);
        (
            read,
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        )
    });
    read?;
    let mut pass = pass?;
    pass.options = options.clone();
    if options.checksum {
        // The total includes the two header fields and the table; take them out again.
        pass.rest_sum.add(pass.layout.table_offset, &pass.table);
        total.subtract(pass.rest_sum);
        let mut fields = Sum::default();
        fields.add(
            pass.layout.checksum_offset,
            &pass.layout.checksum.to_le_bytes(),
        );
        if let Some(offset) = pass.layout.directory_offset {
            fields.add(
                offset,
                &directory(pass.layout.table_offset, pass.layout.table_len),
            );
        }
        total.subtract(fields);
        pass.content_sum = total;
    }
    Ok(pass)
}

/// Reads until the buffer is full or the file ends.
fn fill<R: Read>(file: &mut R, buffer: &mut [u8]) -> Result<usize, Error> {
    let mut len = 0;
    while let Some(rest) = buffer.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => len = len.saturating_add(read),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(len)
}
