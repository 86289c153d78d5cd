//! SBAT: generations of components, by which shim revokes whole versions at once.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::string::String;
use alloc::vec::Vec;

use crate::image::Image;

/// A component and its generation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SbatComponent {
    /// The component's name.
    pub name: String,
    /// Its generation, or the lowest one that is allowed.
    pub generation: u16,
}

/// The lowest generations that are allowed: the content of shim's `SbatLevel` variable.
///
/// ```
/// # fn demo() -> Option<()> {
/// let level = authenticode::SbatLevel::parse(b"sbat,1,2024040900\nshim,4\ngrub,3\n")?;
/// assert_eq!(level.components()[1].name, "shim");
/// # Some(()) }
/// # demo().unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SbatLevel {
    components: Vec<SbatComponent>,
}

const SECTION: [u8; 8] = *b".sbat\0\0\0";
const BOM: &[u8] = &[0xef, 0xbb, 0xbf];

impl SbatLevel {
    /// Reads the variable; nothing if shim would not take it.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        rows(bytes, 2).map(|components| Self { components })
    }

    /// The components.
    #[must_use]
    pub fn components(&self) -> &[SbatComponent] {
        &self.components
    }

    /// Whether a component is older than allowed.
    pub(crate) fn revokes(&self, component: &SbatComponent) -> bool {
        self.components
            .iter()
            .find(|level| level.name == component.name)
            .is_some_and(|level| component.generation < level.generation)
    }
}

/// What shim finds where it looks for an image's components.
pub(crate) enum Found {
    /// No section, or one without data.
    Nothing,
    Malformed,
    Components(Vec<SbatComponent>),
}

/// The components of an image.
pub(crate) fn of_image(image: &Image) -> Found {
    let mut sections = image
        .layout
        .sections
        .iter()
        .filter(|section| section.name == SECTION);
    let Some(section) = sections.next() else {
        return Found::Nothing;
    };
    if sections.next().is_some() || section.relocations != 0 || section.relocations_start != 0 {
        return Found::Malformed;
    }
    if section.raw_size == 0 || section.raw_size < section.virtual_size {
        return Found::Nothing;
    }
    match image.sbat().and_then(|bytes| rows(bytes, 6)) {
        Some(components) => Found::Components(components),
        None => Found::Malformed,
    }
}

/// Lines of at least so many columns, up to the first zero byte; a section of zeros has none, and shim takes it.
fn rows(bytes: &[u8], columns: usize) -> Option<Vec<SbatComponent>> {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = text.strip_prefix(BOM).unwrap_or(text);
    let mut components = Vec::new();
    for line in text
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .filter(|line| !line.is_empty())
    {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b',').collect();
        if fields.len() < columns || fields.iter().take(columns).any(|field| field.is_empty()) {
            return None;
        }
        let (name, generation) = (fields.first()?, fields.get(1)?);
        let name = String::from_utf8_lossy(name).into_owned();
        components.push(SbatComponent {
            name,
            generation: number(generation),
        });
    }
    Some(components)
}

/// Leading digits as a number of 16 bits, as shim reads it; 0 if there are none.
fn number(digits: &[u8]) -> u16 {
    let digits = digits
        .iter()
        .skip_while(|byte| byte.is_ascii_whitespace())
        .take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |sum: u16, digit| {
        sum.wrapping_mul(10)
            .wrapping_add(u16::from(digit.wrapping_sub(b'0')))
    })
}
