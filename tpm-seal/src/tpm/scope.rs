//! What is open in the TPM, and closed again on every way out.

use core::ops::{Deref, DerefMut};

use super::commands::{Answer, Commands, Handle};

/// Lends a TPM out and releases whatever was opened through it when it ends, by return, `?` or panic.
pub(crate) struct Scope<'a> {
    commands: &'a mut dyn Commands,
    open: Vec<Handle>,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(commands: &'a mut dyn Commands) -> Self {
        Self {
            commands,
            open: Vec::new(),
        }
    }

    /// Takes charge of a handle.
    pub(crate) fn keep(&mut self, handle: Handle) -> Handle {
        self.open.push(handle);
        handle
    }

    /// Releases a handle before the end, to make room.
    pub(crate) fn release(&mut self, handle: Handle) -> Answer<()> {
        self.open.retain(|&open| open != handle);
        self.commands.release(handle)
    }
}

impl<'a> Deref for Scope<'a> {
    type Target = dyn Commands + 'a;

    fn deref(&self) -> &Self::Target {
        self.commands
    }
}

impl DerefMut for Scope<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.commands
    }
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        for handle in self.open.drain(..).rev() {
            // On the way out nothing can be done about an error; the library tries again when it is closed.
            let _ = self.commands.release(handle);
        }
    }
}
