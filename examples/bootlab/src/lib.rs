//! See the README.

mod boot;
mod console;
mod error;
mod esp;
mod generation;
mod guest;
mod initramfs;
mod machine;
mod medium;
mod module;
mod prediction;
mod process;
mod programs;
mod qemu;
mod registers;
mod report;
mod run;
mod story;
mod tpm;
mod tpm_command;
mod verdict;

pub use boot::Boot;
pub use error::{Error, Result};
pub use esp::Esp;
pub use generation::{Firmware, Generation, Kernel};
pub use guest::{CMDLINE, Guest};
pub use machine::{Machine, MachineBuilder};
pub use medium::Medium;
pub use prediction::{Comparison, Prediction, table};
pub use programs::program;
pub use registers::Registers;
pub use report::{Ending, Refuser, Report};
pub use story::{Step, Story, StoryOptions, Summary};
pub use tpm::Exchange;
pub use verdict::{Verdict, verdict};
