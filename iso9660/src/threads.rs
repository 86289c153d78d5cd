//! Work that several threads share.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Most of the work is the kernel's, which writes one piece of a file and changes one directory at a
/// time: more threads would wait for each other.
const MAX_THREADS: usize = 4;

/// Runs `work` on as many threads as the machine has use for, this one among them. `work` takes its
/// share by itself.
pub(crate) fn on_threads<T: Send>(work: impl Fn() -> T + Sync) -> Vec<T> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        // A thread that cannot be had is one less.
        let others: Vec<_> = (1..threads.min(MAX_THREADS))
            .map_while(|_| thread::Builder::new().spawn_scoped(scope, &work).ok())
            .collect();
        let mut results = vec![work()];
        results.extend(others.into_iter().map(|other| match other.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }));
        results
    })
}

/// `map` of every item, in the order of the items.
pub(crate) fn map<I: Sync, T: Send>(items: &[I], map: impl Fn(&I) -> T + Sync) -> Vec<T> {
    if let [item] = items {
        return vec![map(item)];
    }
    let next = AtomicUsize::new(0);
    let parts = on_threads(|| {
        let mut part = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            match items.get(index) {
                Some(item) => part.push((index, map(item))),
                None => return part,
            }
        }
    });
    let mut all: Vec<(usize, T)> = parts.into_iter().flatten().collect();
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, result)| result).collect()
}
