//! What Linux does for files beyond reading and writing. Elsewhere everything is copied.

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::{Sharing, allocate, next_data};
#[cfg(target_os = "linux")]
pub(super) use linux::{Sharing, allocate, next_data};

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::io;
    use std::ops::Range;
    use std::os::unix::fs::MetadataExt as _;

    use rustix::fs::{FallocateFlags, SeekFrom};
    use rustix::io::Errno;

    /// File systems share whole blocks; the largest block that is common.
    const SHARED_BLOCK: u64 = 4096;
    /// Shorter runs find a good place by themselves.
    const ALLOCATED_LEN: u64 = 1 << 20;

    /// The file system whose files the output can share blocks with.
    #[derive(Debug, Default)]
    pub(in crate::plan) struct Sharing {
        device: Option<u64>,
    }

    impl Sharing {
        /// Finds out by sharing all of a file, which overwrites the output. Copying a range inside the
        /// kernel would not tell: it falls back to reading and writing.
        pub(in crate::plan) fn find_out(from: &File, to: &File) -> Self {
            let device = from.metadata().map(|metadata| metadata.dev()).ok();
            Self {
                device: device.filter(|_| rustix::fs::ioctl_ficlone(to, from).is_ok()),
            }
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
                && self.device.is_some_and(|device| {
                    from.metadata()
                        .is_ok_and(|metadata| metadata.dev() == device)
                });
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

    #[derive(Debug, Default)]
    pub(in crate::plan) struct Sharing;

    impl Sharing {
        pub(in crate::plan) fn find_out(_: &File, _: &File) -> Self {
            Self
        }

        pub(in crate::plan) fn share(&self, _: &File, _: &File, _: u64, _: u64) -> io::Result<u64> {
            Ok(0)
        }
    }

    pub(in crate::plan) fn allocate(_: &File, _: &Range<u64>) -> io::Result<()> {
        Ok(())
    }

    pub(in crate::plan) fn next_data(_: &File, from: u64, len: u64) -> Range<u64> {
        from..len
    }
}
