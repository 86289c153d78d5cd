#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod compression;
mod efifw;
mod error;
mod finding;
#[cfg_attr(not(feature = "std"), expect(dead_code, reason = "writing needs std"))]
mod headers;
mod hwids;
#[cfg(feature = "json")]
mod hwids_json;
mod kernel;
mod lint;
mod machine;
mod osrel;
mod profile_view;
mod read_at;
mod sbat;
mod section_name;
mod splash;
mod stub;
mod uki;

#[cfg(feature = "std")]
mod assemble;
#[cfg(feature = "std")]
mod builder;
#[cfg(feature = "std")]
mod edit;
#[cfg(feature = "std")]
mod grow;
#[cfg(feature = "std")]
mod kernel_input;
#[cfg(feature = "std")]
mod layout;
#[cfg(feature = "std")]
mod new_headers;
#[cfg(feature = "std")]
mod part;
#[cfg(feature = "std")]
mod plan;
#[cfg(feature = "std")]
mod profile;
#[cfg(feature = "std")]
mod sections;
#[cfg(feature = "std")]
mod source;
#[cfg(feature = "std")]
mod worker;
#[cfg(feature = "std")]
mod write;

pub use compression::Compression;
pub use efifw::FirmwareBundle;
pub use error::{BoxError, Error};
pub use finding::{Check, Finding, Severity};
pub use headers::Section;
pub use hwids::{Device, DeviceKind, HardwareIds};
pub use kernel::{Kernel, KernelFormat, NotAKernel, kernel_version};
pub use lint::{lint, lint_passed_cmdline};
pub use machine::Machine;
pub use osrel::EnvText;
pub use profile_view::ProfileView;
pub use read_at::ReadAt;
pub use sbat::{ADDON_SBAT, SbatEntry, UKI_SBAT, merge_sbat, sbat_entries};
pub use section_name::SectionName;
pub use splash::check_splash;
pub use stub::{Stub, StubId};
pub use uki::Uki;

#[cfg(feature = "std")]
pub use builder::Builder;
#[cfg(feature = "std")]
pub use edit::Edit;
#[cfg(feature = "std")]
pub use part::{Measured, Part, PcrsigTurn};
#[cfg(feature = "std")]
pub use plan::Plan;
#[cfg(feature = "std")]
pub use profile::Profile;
#[cfg(feature = "std")]
pub use read_at::Stream;
#[cfg(feature = "std")]
pub use source::Source;
#[cfg(feature = "std")]
pub use worker::Worker;
