//! Feeding several hashes with the same bytes.

use crate::bank::Hasher;

/// Hashes `bytes` with every hasher.
fn one_after_the_other(hashers: &mut [Hasher], bytes: &[u8]) {
    for hasher in hashers {
        hasher.update(bytes);
    }
}

/// Hashes `bytes` with every hasher.
#[cfg(not(feature = "std"))]
pub(crate) fn update(hashers: &mut [Hasher], bytes: &[u8]) {
    one_after_the_other(hashers, bytes);
}

#[cfg(feature = "std")]
pub(crate) use parallel::update;

#[cfg(feature = "std")]
mod parallel {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex, OnceLock, PoisonError};
    use std::thread;

    use super::{Hasher, one_after_the_other};

    /// Below this many bytes, starting a thread costs more than it saves. Measured with four banks on
    /// a busy machine of two processors (2026-11-27): threads lost up to 128 KiB, were even at 256 and
    /// 512 KiB and won at 1 MiB.
    const MIN_LEN: usize = 256 * 1024;

    /// Hashes `bytes` with every hasher; large pieces on all processors.
    pub(crate) fn update(hashers: &mut [Hasher], bytes: &[u8]) {
        let helpers = hashers.len().min(processors()).saturating_sub(1);
        if bytes.len() < MIN_LEN || helpers == 0 {
            return one_after_the_other(hashers, bytes);
        }
        // The long banks, SHA-384 and SHA-512, are the slow ones: they are taken first.
        let waiting: Vec<Mutex<&mut Hasher>> = hashers.iter_mut().rev().map(Mutex::new).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(hasher) = waiting.get(next.fetch_add(1, Ordering::Relaxed)) {
                hasher
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .update(bytes);
            }
        };
        thread::scope(|scope| {
            for _ in 0..helpers {
                // Without a thread, this one does all the work.
                if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                    break;
                }
            }
            work();
        });
    }

    /// How many threads run at once; asked for once, since the answer costs system calls.
    fn processors() -> usize {
        static PROCESSORS: OnceLock<usize> = OnceLock::new();
        *PROCESSORS.get_or_init(|| thread::available_parallelism().map_or(1, Into::into))
    }
}
