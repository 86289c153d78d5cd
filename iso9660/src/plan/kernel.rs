//! What Linux does for files beyond reading and writing. Elsewhere everything is copied.

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::{Sharing, allocate, appends, next_data};
#[cfg(target_os = "linux")]
pub(super) use linux::{Sharing, allocate, appends, next_data};

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::io;
    use std::ops::Range;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;

    use rustix::fs::{FallocateFlags, OFlags, SeekFrom};
    use rustix::io::Errno;

    use crate::source::open_file;

    /// File systems share whole blocks; the largest block that is common.
    const SHARED_BLOCK: u64 = 4096;
    /// Shorter runs find a good place by themselves.
    const ALLOCATED_LEN: u64 = 1 << 20;

    /// The file systems whose files the output can share blocks with. There can be several: each
    /// subvolume of btrfs is a device of its own.
    #[derive(Debug)]
    pub(in crate::plan) struct Sharing {
        devices: Vec<u64>,
    }

    impl Sharing {
        /// Finds out by sharing all of a file from each device, which overwrites the output. Copying a
        /// range inside the kernel would not tell: it falls back to reading and writing.
        pub(in crate::plan) fn find_out<'a>(
            files: impl Iterator<Item = &'a Path>,
            to: &File,
        ) -> Self {
            let (mut tried, mut devices) = (Vec::new(), Vec::new());
            for path in files {
                let Ok(device) = std::fs::metadata(path).map(|metadata| metadata.dev()) else {
                    continue;
                };
                if tried.contains(&device) {
                    continue;
                }
                tried.push(device);
                let from = open_file(path);
                if from.is_ok_and(|from| rustix::fs::ioctl_ficlone(to, from).is_ok()) {
                    devices.push(device);
                }
            }
            Self { devices }
        }

        /// Puts a file into the output at `offset` if it can be shared; answers how many bytes are in
        /// place.
        pub(in crate::plan) fn share(
            &self,
            from: &File,
            to: &File,
            offset: u64,
            len: u64,
        ) -> io::Result<u64> {
            let is_possible = offset.is_multiple_of(SHARED_BLOCK)
                && !self.devices.is_empty()
                && from
                    .metadata()
                    .is_ok_and(|metadata| self.devices.contains(&metadata.dev()));
            let (mut read, mut written) = (0, offset);
            while is_possible && read < len {
                // The kernel takes at most 2 GiB at a time.
                let most = usize::try_from((len - read).min(1 << 30)).unwrap_or(1 << 30);
                let copied = rustix::fs::copy_file_range(
                    from,
                    Some(&mut read),
                    to,
                    Some(&mut written),
                    most,
                );
                match copied {
                    Ok(0) => break,
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => {
                        return Err(error.into());
                    }
                    // Not possible for this file; reading it will tell why, if that fails too.
                    Err(_) => break,
                }
            }
            Ok(read)
        }
    }

    /// Whether whatever is written to a file goes to its end, wherever it should go.
    pub(in crate::plan) fn appends(file: &File) -> bool {
        rustix::fs::fcntl_getfl(file).is_ok_and(|flags| flags.contains(OFlags::APPEND))
    }

    /// Reserves the blocks of a long run, which is a third of the work of writing it, and tells at
    /// once when they are not there.
    pub(in crate::plan) fn allocate(file: &File, run: &Range<u64>) -> io::Result<()> {
        let len = run.end.saturating_sub(run.start);
        if len < ALLOCATED_LEN {
            return Ok(());
        }
        match rustix::fs::fallocate(file, FallocateFlags::empty(), run.start, len) {
            Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(error.into()),
            // Not every file system can; writing does it as well.
            _ => Ok(()),
        }
    }

    /// Where the next data of a file begins and ends, between `from` and `len`; all of it where the
    /// file system does not tell.
    pub(in crate::plan) fn next_data(file: &File, from: u64, len: u64) -> Range<u64> {
        let start = match rustix::fs::seek(file, SeekFrom::Data(from)) {
            Ok(start) => start.clamp(from, len),
            // No data from here on.
            Err(Errno::NXIO) => len,
            Err(_) => return from..len,
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start));
        start..end.map_or(len, |end| end.clamp(start, len))
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::fs::File;
    use std::io;
    use std::ops::Range;
    use std::path::Path;

    #[derive(Debug)]
    pub(in crate::plan) struct Sharing;

    impl Sharing {
        pub(in crate::plan) fn find_out<'a>(_: impl Iterator<Item = &'a Path>, _: &File) -> Self {
            Self
        }

        pub(in crate::plan) fn share(&self, _: &File, _: &File, _: u64, _: u64) -> io::Result<u64> {
            Ok(0)
        }
    }

    pub(in crate::plan) fn appends(_: &File) -> bool {
        false
    }

    pub(in crate::plan) fn allocate(_: &File, _: &Range<u64>) -> io::Result<()> {
        Ok(())
    }

    pub(in crate::plan) fn next_data(_: &File, from: u64, len: u64) -> Range<u64> {
        from..len
    }
}
