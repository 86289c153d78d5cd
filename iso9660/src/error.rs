//! What can go wrong.

use std::io;
use std::path::PathBuf;

/// Why an image could not be planned, written or read.
///
/// Paths inside a tree are given as text; bytes that are not UTF-8 are shown as U+FFFD.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name of the tree cannot stand in the image that was asked for.
    #[error("name of {path:?} cannot be stored in {format}: {reason}")]
    Name {
        /// The item.
        path: String,
        /// The file system that cannot hold it.
        format: &'static str,
        /// What is wrong with the name.
        reason: NameProblem,
    },
    /// A path was given twice.
    #[error("{path:?} is in the tree twice")]
    Duplicate {
        /// The path.
        path: String,
    },
    /// Two names of one directory are the same once case is ignored.
    #[error("{first:?} and {second:?} are one name in {format}, which ignores case")]
    NameCollision {
        /// The name that sorts first.
        first: String,
        /// The other name.
        second: String,
        /// The file system that cannot hold both.
        format: &'static str,
    },
    /// A path goes through something that is not a directory.
    #[error("{path:?} is not a directory, but has entries below it")]
    NotADirectory {
        /// The item that is in the way.
        path: String,
    },
    /// A hard link names something that is not a file of the tree.
    #[error("hard link {path:?} names {target:?}, which is not a file of the tree")]
    LinkTarget {
        /// The link.
        path: String,
        /// What it names.
        target: String,
    },
    /// The image format has no such kind of item.
    #[error("{path:?} is a {kind}, which {format} cannot hold")]
    Unsupported {
        /// The item.
        path: String,
        /// What it is.
        kind: &'static str,
        /// The file system.
        format: &'static str,
    },
    /// A file is larger than the format allows.
    #[error("{path:?} has {len} bytes, more than the {limit} that {format} can hold")]
    FileTooLarge {
        /// The file.
        path: String,
        /// Its length.
        len: u64,
        /// The largest length allowed.
        limit: u64,
        /// The file system.
        format: &'static str,
    },
    /// A directory or a number of directories is larger than the format allows.
    #[error("{what} at {path:?} has {count} entries, more than the {limit} that are possible")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The item where the limit was met.
        path: String,
        /// How many there are.
        count: u64,
        /// How many are possible.
        limit: u64,
    },
    /// A directory lies deeper than the standard's eight levels, in strict mode.
    #[error("{path:?} lies {depth} levels deep, more than {limit}")]
    TooDeep {
        /// The item.
        path: String,
        /// Its level, the root being 1.
        depth: u64,
        /// The deepest level allowed.
        limit: u64,
    },
    /// The file system or image would be larger than its format or the asked size allows.
    #[error("{what} needs {needed} bytes, but {limit} are possible")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are possible.
        limit: u64,
    },
    /// An option has a value that makes no sense, alone or with the others.
    #[error("{option} cannot be {value}: {reason}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        value: u64,
        /// What is expected.
        reason: &'static str,
    },
    /// A label or identifier cannot be stored.
    #[error("{what} {text:?} cannot be stored: {reason}")]
    Label {
        /// Which label.
        what: &'static str,
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: NameProblem,
    },
    /// The boot tree has no file that firmware would start.
    #[error("boot tree has no EFI/BOOT/BOOT*.EFI for firmware to start")]
    NoBootFile,
    /// A content source could not be opened or read.
    #[error("content of {path:?} is not readable")]
    Source {
        /// The item of the tree.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A content source has not the length it had when the image was planned.
    #[error("{path:?} changed its length: planned {planned} bytes, found {}", Found(.found))]
    SourceChanged {
        /// The item of the tree.
        path: String,
        /// The length planned with.
        planned: u64,
        /// The length found; none when there is more than planned.
        found: Option<u64>,
    },
    /// The output did not take the bytes.
    #[error("output at offset {offset} is not writable")]
    Output {
        /// Offset in the output.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// A file or directory on the host could not be used.
    #[error("{doing} {path:?}")]
    Host {
        /// What was attempted.
        doing: &'static str,
        /// The path on the host.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The image could not be read by the system.
    #[error("image at offset {offset} is not readable")]
    Image {
        /// Offset in the image.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The image ends before the thing that should be there.
    #[error("{what} at offset {offset} needs {needed} bytes, {available} are left in the image")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where it begins.
        offset: u64,
        /// How long it is.
        needed: u64,
        /// How much the image holds from there.
        available: u64,
    },
    /// The image holds something that is known, but nothing that is read here.
    #[error("the image holds {what}, which is not read here")]
    NotRead {
        /// What it holds.
        what: &'static str,
    },
    /// The image does not hold what is looked for.
    #[error("no {what} found")]
    NotFound {
        /// What was looked for.
        what: &'static str,
    },
    /// A structure contradicts its standard so that it cannot be followed.
    #[error("{what} at offset {offset} is damaged: {reason}")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// Where it is.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The image asks for more than the reader was allowed to give.
    #[error("{what} at offset {offset} passes the limit of {limit}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// Where it is.
        offset: u64,
        /// The limit.
        limit: u64,
    },
    /// A path of the image must not be made on the host.
    #[error("{path:?} of the image cannot be extracted: {reason}")]
    Extract {
        /// The path in the image.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Error {
    /// Whether the system did not give or take the bytes, or they changed meanwhile; otherwise the
    /// input itself cannot become an image or is not one.
    #[must_use]
    pub const fn is_io(&self) -> bool {
        matches!(
            self,
            Self::Source { .. }
                | Self::SourceChanged { .. }
                | Self::Output { .. }
                | Self::Host { .. }
                | Self::Image { .. }
        )
    }
}

/// What is wrong with a name or label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum NameProblem {
    /// It has no characters.
    #[error("it is empty")]
    Empty,
    /// It is `.` or `..`.
    #[error("it is reserved for the directory itself and its parent")]
    Reserved,
    /// It is too long.
    #[error("it is longer than {limit}")]
    TooLong {
        /// The number of units that fit.
        limit: usize,
    },
    /// It is not UTF-8.
    #[error("it is not UTF-8")]
    NotUnicode,
    /// It has a character that is not allowed.
    #[error("it contains {found:?}")]
    Character {
        /// The character.
        found: char,
    },
    /// It ends in a dot or space, which Windows and firmware drop.
    #[error("it ends in a dot or space")]
    TrailingDotOrSpace,
    /// A component of a symbolic link cannot be stored.
    #[error("its target cannot be stored")]
    Target,
}

/// The length found, in words.
struct Found<'a>(&'a Option<u64>);

impl std::fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(len) => write!(f, "{len}"),
            None => f.write_str("more"),
        }
    }
}

/// A path or name of the tree as text for a message.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
