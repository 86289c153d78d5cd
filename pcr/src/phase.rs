//! Boot phases: the words that userspace extends PCR 11 with.

use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;
use core::str::FromStr;

use crate::bank::Digest;
use crate::error::Error;

/// Words that the phase services of systemd and Talos extend.
pub(crate) const KNOWN_WORDS: [&str; 9] = [
    "enter-initrd",
    "leave-initrd",
    "sysinit",
    "ready",
    "shutdown",
    "final",
    "enter-machined",
    "start-the-world",
    "os-separator",
];

/// How far a boot has come: the phase words that PCR 11 was extended with after the stub.
///
/// Written as a colon list (`enter-initrd:leave-initrd`); the empty path, written `:` or as an empty
/// text, is the register as the stub leaves it. Each word is extended as its bytes without a NUL.
///
/// # Examples
/// ```
/// use pcr::PhasePath;
///
/// let path = PhasePath::new("enter-initrd::leave-initrd");
/// assert_eq!(path.words().collect::<Vec<_>>(), ["enter-initrd", "leave-initrd"]);
/// assert_eq!(path.to_string(), "enter-initrd:leave-initrd");
/// assert!(PhasePath::new(":").is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PhasePath(String);

impl PhasePath {
    /// The path with these words; empty words are dropped, as systemd-measure does.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let words: Vec<&str> = text.split(':').filter(|word| !word.is_empty()).collect();
        Self(words.join(":"))
    }

    /// Before any phase word: what the stub leaves behind.
    #[must_use]
    pub const fn stub() -> Self {
        Self(String::new())
    }

    /// `enter-initrd`: the path to seal disk keys to. Signing later ones as well lets root on the
    /// running system unseal.
    #[must_use]
    pub fn initrd() -> Self {
        Self::new("enter-initrd")
    }

    /// The four paths that systemd-measure and ukify use when none is given.
    #[must_use]
    pub fn systemd() -> [Self; 4] {
        [
            Self::new("enter-initrd"),
            Self::new("enter-initrd:leave-initrd"),
            Self::new("enter-initrd:leave-initrd:sysinit"),
            Self::new("enter-initrd:leave-initrd:sysinit:ready"),
        ]
    }

    /// The one path that Talos signs.
    #[must_use]
    pub fn talos() -> Self {
        Self::new("enter-initrd:leave-initrd:enter-machined")
    }

    /// The path that a person has written, with the slips of the hand refused: as
    /// [`PhasePath::new`], but no word may hold blanks or control characters.
    ///
    /// Such a word would be hashed like any other (systemd-measure takes it), and the register would
    /// match no machine.
    ///
    /// # Errors
    /// [`Error::PhaseWord`] for the first such word.
    ///
    /// # Examples
    /// ```
    /// use pcr::PhasePath;
    ///
    /// assert_eq!(PhasePath::checked(":sysinit:")?, PhasePath::new("sysinit"));
    /// assert_eq!(
    ///     PhasePath::checked("enter-initrd leave-initrd").unwrap_err().to_string(),
    ///     "phase word \"enter-initrd leave-initrd\" has a blank in it; words are joined with colons, paths with commas"
    /// );
    /// # Ok::<(), pcr::Error>(())
    /// ```
    pub fn checked(text: &str) -> Result<Self, Error> {
        let path = Self::new(text);
        let odd = |word: &&str| word.contains(|c: char| c.is_whitespace() || c.is_control());
        if let Some(word) = path.words().find(odd) {
            return Err(Error::PhaseWord { word: word.into() });
        }
        Ok(path)
    }

    /// Reads a comma list of paths as [`PhasePath::list`] does, each as [`PhasePath::checked`].
    ///
    /// # Errors
    /// [`Error::PhaseWord`] for the first word with a blank.
    pub fn checked_list(text: &str) -> Result<Vec<Self>, Error> {
        text.split(',').map(Self::checked).collect()
    }

    /// The words that neither systemd nor Talos extends: a slip of the pen, or a service of one's own.
    pub fn unknown_words(&self) -> impl Iterator<Item = &str> {
        self.words().filter(|word| !KNOWN_WORDS.contains(word))
    }

    /// Reads a comma list of paths (`:,enter-initrd,enter-initrd:leave-initrd`).
    #[must_use]
    pub fn list(text: &str) -> Vec<Self> {
        text.split(',').map(Self::new).collect()
    }

    /// The words, first one first.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.split(':').filter(|word| !word.is_empty())
    }

    /// Whether there is no word.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The path as a colon list, empty for the empty path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The register after these phases, starting from `stub`, what the stub left behind.
    #[must_use]
    pub fn extend(&self, stub: Digest) -> Digest {
        let bank = stub.bank();
        self.words().fold(stub, |value, word| {
            value.extended(&bank.hash(word.as_bytes()))
        })
    }

    /// Sorted as text and without repetitions: the order of systemd-measure's output.
    pub(crate) fn sorted(paths: &[Self]) -> Vec<Self> {
        let mut sorted = paths.to_vec();
        sorted.sort();
        sorted.dedup();
        sorted
    }
}

impl fmt::Display for PhasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PhasePath {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::new(text))
    }
}

impl From<&str> for PhasePath {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<PhasePath> for String {
    fn from(path: PhasePath) -> Self {
        path.0
    }
}
