//! What a person sees on stderr while an image is made.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Messages and bars on stderr; bars only on a terminal, and only for work that takes longer than a second.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    quiet: bool,
}

impl Progress {
    /// Progress that is shown.
    #[must_use]
    pub fn shown() -> Self {
        Self { quiet: false }
    }

    /// Progress that is not shown, for callers that speak themselves.
    #[must_use]
    pub fn hidden() -> Self {
        Self { quiet: true }
    }

    /// A step is done.
    pub fn message(&self, text: impl Display) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// Something that the user should know although the work goes on.
    pub fn warning(&self, text: impl Display) {
        eprintln!("warning: {text}");
    }

    /// A bar over `bytes`.
    #[must_use]
    pub fn bar(&self, label: &'static str, bytes: u64) -> Bar {
        let target = if self.quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr_with_hz(5)
        };
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::hidden());
        bar.set_style(
            ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {eta}")
                .unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_message(label);
        Bar {
            bar,
            target: Some(target),
        }
    }
}

/// A progress bar that shows itself after a second and is gone when dropped.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    target: Option<ProgressDrawTarget>,
}

impl Bar {
    /// So many more bytes are done.
    pub fn advance(&mut self, bytes: u64) {
        self.bar.inc(bytes);
        if self.bar.elapsed() > Duration::from_secs(1)
            && let Some(target) = self.target.take()
        {
            self.bar.set_draw_target(target);
        }
    }

    /// Advances with each byte that is read from `inner` or written to it.
    pub fn watch<T>(&mut self, inner: T) -> Watched<'_, T> {
        Watched { inner, bar: self }
    }
}

/// A reader or writer whose bytes a bar counts.
#[derive(Debug)]
pub struct Watched<'a, T> {
    inner: T,
    bar: &'a mut Bar,
}

impl<T: Read> Read for Watched<'_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bar.advance(count as u64);
        Ok(count)
    }
}

impl<T: Write> Write for Watched<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.bar.advance(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
