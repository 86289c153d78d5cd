//! An observer on its own thread.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use crate::{Error, Part};

/// Parts that may wait for a slow observer before the writer waits too.
const QUEUE_LEN: usize = 8;

/// A state that observes an image on a thread of its own, so that several hashes run while the image is written.
///
/// Memory stays bounded: at most eight parts wait for each worker.
///
/// # Examples
///
/// ```
/// use uki::{Builder, Stub, Worker};
///
/// let stub = Stub::parse(include_bytes!("../tests/vectors/stub.efi"))?;
/// let plan = Builder::new(stub).linux(&include_bytes!("../tests/vectors/kernel.efi")[..]).pcrsig_len(4).plan()?;
/// let seen = std::thread::scope(|scope| {
///     let mut worker = Worker::spawn(scope, 0, |sum, part| *sum += part.bytes().len() as u64);
///     plan.write(&mut std::io::sink(), &mut worker, |worker, part| worker.observe(part), |worker, _| {
///         Ok(worker.ask(|sum| format!("{sum:4}").into_bytes().split_off(0))?[..4].to_vec())
///     })?;
///     worker.finish()
/// })?;
/// assert_eq!(seen, plan.len());
/// # Ok::<(), uki::Error>(())
/// ```
#[derive(Debug)]
pub struct Worker<'scope, S> {
    jobs: SyncSender<Job<'scope, S>>,
    thread: ScopedJoinHandle<'scope, S>,
}

enum Job<'scope, S> {
    Part(Part),
    Ask(Box<dyn FnOnce(&mut S) + Send + 'scope>),
}

impl<'scope, S: Send + 'scope> Worker<'scope, S> {
    /// Starts the thread with its state.
    pub fn spawn<'env>(
        scope: &'scope Scope<'scope, 'env>,
        mut state: S,
        mut observe: impl FnMut(&mut S, &Part) + Send + 'scope,
    ) -> Self {
        let (jobs, queue) = sync_channel(QUEUE_LEN);
        let thread = scope.spawn(move || {
            for job in queue {
                match job {
                    Job::Part(part) => observe(&mut state, &part),
                    Job::Ask(question) => question(&mut state),
                }
            }
            state
        });
        Self { jobs, thread }
    }

    /// Lets the thread observe a part, after all that it was given before. A thread that has panicked is noticed by
    /// [`Worker::ask`] and [`Worker::finish`].
    pub fn observe(&self, part: &Part) {
        let _ = self.jobs.send(Job::Part(part.clone()));
    }

    /// Runs `question` on the thread once it has observed everything so far, and waits for the answer.
    ///
    /// # Errors
    ///
    /// [`Error::ObserverPanicked`].
    pub fn ask<R: Send + 'scope>(
        &self,
        question: impl FnOnce(&mut S) -> R + Send + 'scope,
    ) -> Result<R, Error> {
        let (reply, answer) = sync_channel(1);
        let question = Job::Ask(Box::new(move |state| {
            let _ = reply.send(question(state));
        }));
        self.jobs
            .send(question)
            .map_err(|_| Error::ObserverPanicked)?;
        answer.recv().map_err(|_| Error::ObserverPanicked)
    }

    /// Waits until everything is observed and gives the state back.
    ///
    /// # Errors
    ///
    /// [`Error::ObserverPanicked`].
    pub fn finish(self) -> Result<S, Error> {
        drop(self.jobs);
        self.thread.join().map_err(|_| Error::ObserverPanicked)
    }
}

impl<S> std::fmt::Debug for Job<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Part(_) => "Part",
            Self::Ask(_) => "Ask",
        })
    }
}
