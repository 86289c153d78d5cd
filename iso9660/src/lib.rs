#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod disk;
mod error;
mod extract;
mod fat;
mod fat_reader;
mod field;
mod finding;
mod gpt;
mod guid;
mod image;
mod input;
mod iso;
mod iso_reader;
mod item;
mod item_reader;
mod listing;
mod plan;
mod report;
mod source;
mod threads;
mod timestamp;
mod tree;
mod unique;

pub use disk::{Disk, Partition};
pub use error::{Error, NameProblem};
pub use fat::{Fat, FatKind};
pub use fat_reader::FatReader;
pub use finding::{Check, Finding, Severity};
pub use gpt::{Gpt, GptPartition, MbrEntry, PartitionTable};
pub use guid::{Guid, GuidError};
pub use image::{BiosBoot, Image};
pub use input::{Extent, Limits};
pub use iso::name::Level;
pub use iso_reader::{BootCatalog, BootImage, IsoReader, Namespace, Volume, VolumeKind};
pub use item::{Item, ItemKind, PosixAttributes};
pub use item_reader::ItemReader;
pub use listing::{Listing, Problem};
pub use plan::{Plan, PlanReader, Region};
pub use report::{BootPath, FatVolume, Format, Medium, Place, Report};
pub use source::Source;
pub use timestamp::Timestamp;
pub use tree::{Entry, Tree};
