//! Changing a finished image.

use crate::assemble::{Base, Slot};
use crate::builder::{MAX_PROFILES, add_slot};
use crate::headers::{Headers, NX_COMPAT, Section};
use crate::kernel_input::KernelInput;
use crate::plan::{Content, Plan};
use crate::profile::Profile;
use crate::read_at::copy;
use crate::sections::Item;
use crate::source::SourceAt;
use crate::{Error, SectionName, Source, StubId};

/// Padding that a signer may have put between the last section and the certificates.
const MAX_PADDING: u64 = 0x1_0000;

/// Collects changes to a UKI or addon; the result is laid out by [`Edit::plan`] and written as any [`Plan`].
///
/// Sections that are not named stay byte for byte; sections behind a changed one move when its size changes. The result
/// has no signature and no symbol table, whether something else changes or not.
///
/// # Examples
///
/// ```
/// use uki::{Builder, Edit, SectionName, Stub, Uki};
///
/// # let stub = Stub::parse(include_bytes!("../tests/vectors/stub.efi"))?;
/// # let mut image = Vec::new();
/// # let kernel = &include_bytes!("../tests/vectors/kernel.efi")[..];
/// # Builder::new(stub).linux(kernel).cmdline("quiet").plan()?.write_to(&mut image)?;
/// let mut changed = Vec::new();
/// Edit::new(image)?.set(None, SectionName::CMDLINE, "debug").plan()?.write_to(&mut changed)?;
///
/// let uki = Uki::parse(&changed)?;
/// let cmdline = uki.base().section(&SectionName::CMDLINE).map(|section| uki.content(section));
/// assert_eq!(cmdline, Some(&b"debug"[..]));
/// # Ok::<(), uki::Error>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct Edit {
    source: Source,
    headers: Headers,
    stub: StubId,
    changes: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Set(Option<usize>, SectionName, Item),
    Add(Option<usize>, SectionName, Source),
    Remove(Option<usize>, SectionName),
    AddProfile(Profile),
    RemoveProfile(usize),
}

impl Edit {
    /// Reads the headers of an image.
    ///
    /// # Errors
    ///
    /// As [`Uki::parse`](crate::Uki::parse), and [`Error::Io`].
    pub fn new(image: impl Into<Source>) -> Result<Self, Error> {
        let source = image.into();
        let at = SourceAt::new(&source)?;
        let headers = Headers::read(&at)?;
        let stub = StubId::of(&at, &headers)?;
        drop(at);
        Ok(Self {
            source,
            headers,
            stub,
            changes: Vec::new(),
        })
    }

    /// Replaces a section of a profile (none: the base), or adds it. A kernel is checked as the builder checks it.
    pub fn set(
        self,
        profile: Option<usize>,
        name: SectionName,
        content: impl Into<Source>,
    ) -> Self {
        self.with(Change::Set(profile, name, Item::Source(content.into())))
    }

    /// Replaces or adds a `.pcrsig` that is asked for while the image is written.
    pub fn pcrsig_len(self, profile: Option<usize>, len: u64) -> Self {
        self.with(Change::Set(profile, SectionName::PCRSIG, Item::Pcrsig(len)))
    }

    /// Adds a section although there may be one of its name: a further `.dtbauto` or `.efifw`.
    pub fn add(
        self,
        profile: Option<usize>,
        name: SectionName,
        content: impl Into<Source>,
    ) -> Self {
        self.with(Change::Add(profile, name, content.into()))
    }

    /// Removes the sections of a name from a profile (none: the base).
    pub fn remove(self, profile: Option<usize>, name: SectionName) -> Self {
        self.with(Change::Remove(profile, name))
    }

    /// Adds a profile after the others.
    pub fn add_profile(self, profile: Profile) -> Self {
        self.with(Change::AddProfile(profile))
    }

    /// Removes a profile with its sections; later ones count one less.
    pub fn remove_profile(self, index: usize) -> Self {
        self.with(Change::RemoveProfile(index))
    }

    fn with(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// Applies the changes in the order in which they were given and lays the image out.
    ///
    /// # Errors
    ///
    /// [`Error::NoSection`], [`Error::NoProfile`], [`Error::Immovable`] for a section of the stub, and what
    /// [`Builder::plan`](crate::Builder::plan) returns.
    pub fn plan(self) -> Result<Plan, Error> {
        let (end, drop_symbols) = self.end()?;
        let payload =
            |section: &Section| section.name.is_known() && !section.name.same(&SectionName::SBAT);
        let fixed = self
            .headers
            .sections
            .iter()
            .position(payload)
            .unwrap_or(self.headers.sections.len());
        let mut slots = Slots {
            headers: &self.headers,
            fixed,
            slots: (0..self.headers.sections.len()).map(Slot::Kept).collect(),
            nx_compat: self.headers.dll_characteristics & NX_COMPAT != 0,
        };
        for change in &self.changes {
            slots.apply(change)?;
        }
        slots.check_turns()?;
        let base = Base {
            source: &self.source,
            headers: &self.headers,
            stub: &self.stub,
            fixed,
            end,
            drop_symbols,
        };
        base.assemble(&slots.slots, slots.nx_compat)
    }

    /// Where the last section's data ends, and whether a symbol table follows, which objcopy keeps of old stubs and no
    /// loader uses. Nothing but padding and certificates may follow otherwise.
    fn end(&self) -> Result<(u64, bool), Error> {
        let size = self.source.len()?;
        let last = self
            .headers
            .sections
            .iter()
            .filter(|section| section.raw_len != 0)
            .map(Section::raw_end)
            .max();
        let last = last.unwrap_or(size).min(size);
        let (offset, len) = self.headers.certificates();
        let stop = if len != 0 && offset >= last {
            offset
        } else {
            size
        };
        // Certificates are padded to eight bytes, which their directory entry need not count.
        let behind = if stop == size {
            0
        } else {
            size.saturating_sub(offset.saturating_add(len))
        };
        let overlay = Error::Overlay {
            offset: last,
            len: size.saturating_sub(last),
        };
        if behind >= 8 {
            return Err(overlay);
        }
        let at = SourceAt::new(&self.source)?;
        let is_padding = |from: u64, to: u64| -> Result<bool, Error> {
            let len = to.saturating_sub(from);
            Ok(len <= MAX_PADDING
                && copy(&at, "padding", from, len)?
                    .iter()
                    .all(|byte| *byte == 0))
        };
        if is_padding(last, stop)? {
            return Ok((last, false));
        }
        let symbols = self.headers.symbols;
        let strings = symbols.saturating_add(self.headers.symbol_count.saturating_mul(18));
        if symbols < last || strings.saturating_add(4) > stop {
            return Err(overlay);
        }
        let len = copy(&at, "string table", strings, 4)?;
        let len: [u8; 4] = len.as_slice().try_into().unwrap_or_default();
        let strings_end = strings.saturating_add(u32::from_le_bytes(len).max(4).into());
        if strings_end <= stop && is_padding(last, symbols)? && is_padding(strings_end, stop)? {
            Ok((last, true))
        } else {
            Err(overlay)
        }
    }
}

/// The section table while it is being changed.
struct Slots<'a> {
    headers: &'a Headers,
    fixed: usize,
    slots: Vec<Slot>,
    nx_compat: bool,
}

impl Slots<'_> {
    fn apply(&mut self, change: &Change) -> Result<(), Error> {
        match change {
            Change::Set(profile, name, item) => self.set(*profile, *name, item),
            Change::Add(profile, name, source) => {
                if !name.may_repeat() && self.find(*profile, name)?.is_some() {
                    return Err(Error::DuplicateSection {
                        section: *name,
                        profile: *profile,
                    });
                }
                self.insert(*profile, *name, &Item::Source(source.clone()))
            }
            Change::Remove(profile, name) => {
                self.check_free(name)?;
                let region = self.region(*profile)?;
                let is_named = |place: usize, slot: &Slot| {
                    region.contains(&place) && self.name(slot).same(name)
                };
                let found: Vec<bool> = self
                    .slots
                    .iter()
                    .enumerate()
                    .map(|(place, slot)| is_named(place, slot))
                    .collect();
                for (place, _) in found.iter().enumerate().filter(|(_, found)| **found) {
                    self.check_slot(place)?;
                }
                if !found.contains(&true) {
                    return Err(Error::NoSection {
                        section: *name,
                        profile: *profile,
                    });
                }
                let mut is_found = found.iter();
                self.slots
                    .retain(|_| !is_found.next().copied().unwrap_or(false));
                Ok(())
            }
            Change::AddProfile(profile) => {
                let index = self.starts().len();
                if index >= MAX_PROFILES {
                    return Err(Error::TooManyProfiles {
                        count: index.saturating_add(1),
                    });
                }
                for (name, item) in profile.sections.ordered(Some(index))? {
                    let slot = self.new_slot(name, &item)?;
                    self.slots.push(slot);
                }
                Ok(())
            }
            Change::RemoveProfile(index) => {
                let region = self.region(Some(*index))?;
                self.slots.drain(region);
                Ok(())
            }
        }
    }

    fn set(&mut self, profile: Option<usize>, name: SectionName, item: &Item) -> Result<(), Error> {
        self.check_free(&name)?;
        let Some(place) = self.find(profile, &name)? else {
            return self.insert(profile, name, item);
        };
        if matches!(item, Item::Pcrsig(_)) && self.is_measured_after(place, profile)? {
            self.slots.remove(place);
            return self.insert(profile, name, item);
        }
        let new = self.new_slot(name, item)?;
        let Slot::New(_, content, len) = new else {
            return Ok(());
        };
        match self.slots.get_mut(place) {
            Some(Slot::Kept(index)) if *index < self.fixed => {
                let end = self.region(profile)?.end;
                let mut tail = self.slots.split_off(end);
                add_slot(&mut self.slots, self.headers, profile, name, content, len)?;
                self.slots.append(&mut tail);
            }
            Some(slot) => {
                *slot = match slot {
                    Slot::Kept(index) | Slot::Replaced(index, ..) => {
                        Slot::Replaced(*index, content, len)
                    }
                    Slot::New(..) => Slot::New(name, content, len),
                };
            }
            None => {}
        }
        Ok(())
    }

    /// At the end of its profile, but in front of a `.pcrsig` there.
    fn insert(
        &mut self,
        profile: Option<usize>,
        name: SectionName,
        item: &Item,
    ) -> Result<(), Error> {
        let slot = self.new_slot(name, item)?;
        let region = self.region(profile)?;
        let is_last_pcrsig = region.end > region.start
            && self
                .slots
                .get(region.end.saturating_sub(1))
                .is_some_and(|last| self.name(last).same(&SectionName::PCRSIG));
        self.slots
            .insert(region.end.saturating_sub(usize::from(is_last_pcrsig)), slot);
        Ok(())
    }

    fn new_slot(&mut self, name: SectionName, item: &Item) -> Result<Slot, Error> {
        Ok(match item {
            Item::Pcrsig(len) => Slot::New(name, Content::Pcrsig, *len),
            Item::Source(source) => {
                let mut source = source.clone();
                if name.same(&SectionName::LINUX) {
                    let kernel = KernelInput::new(source, self.headers.machine, true)?;
                    self.nx_compat &= kernel.nx_compat;
                    source = kernel.source;
                }
                let len = source.len()?;
                Slot::New(name, Content::Source(source, 0, true), len)
            }
        })
    }

    /// A document that is asked for while writing must come after what it depends on.
    fn check_turns(&self) -> Result<(), Error> {
        let is_turn = |slot: &Slot| {
            matches!(
                slot,
                Slot::New(_, Content::Pcrsig, _) | Slot::Replaced(_, Content::Pcrsig, _)
            )
        };
        let base = self.region(None)?;
        let has_profiles = !self.starts().is_empty();
        if has_profiles && self.slots.get(base).unwrap_or_default().iter().any(is_turn) {
            let reason = "each profile needs its own policies";
            return Err(Error::Misplaced {
                section: SectionName::PCRSIG,
                reason,
            });
        }
        Ok(())
    }

    fn is_measured_after(&self, place: usize, profile: Option<usize>) -> Result<bool, Error> {
        let end = self.region(profile)?.end;
        let after = self.slots.get(place..end).unwrap_or_default();
        Ok(after.iter().any(|slot| self.name(slot).is_measured()))
    }

    /// `.profile` opens a profile and cannot be taken from it or put anywhere by name.
    fn check_free(&self, name: &SectionName) -> Result<(), Error> {
        if name.same(&SectionName::PROFILE) {
            let reason = "profiles are added and removed as a whole";
            return Err(Error::Misplaced {
                section: *name,
                reason,
            });
        }
        Ok(())
    }

    /// Sections of the stub stay, `.sbat` excepted.
    fn check_slot(&self, place: usize) -> Result<(), Error> {
        match self.slots.get(place) {
            Some(slot @ Slot::Kept(index))
                if *index < self.fixed && !self.name(slot).same(&SectionName::SBAT) =>
            {
                Err(Error::Immovable {
                    section: self.name(slot),
                    reason: "it is part of the stub",
                })
            }
            _ => Ok(()),
        }
    }

    fn find(&self, profile: Option<usize>, name: &SectionName) -> Result<Option<usize>, Error> {
        let region = self.region(profile)?;
        let place = region.clone().find(|place| {
            self.slots
                .get(*place)
                .is_some_and(|slot| self.name(slot).same(name))
        });
        if let Some(place) = place.filter(|_| !name.is_known()) {
            self.check_slot(place)?;
        }
        Ok(place)
    }

    fn name(&self, slot: &Slot) -> SectionName {
        match slot {
            Slot::New(name, ..) => *name,
            Slot::Kept(index) | Slot::Replaced(index, ..) => self
                .headers
                .sections
                .get(*index)
                .map_or(SectionName::from_header([0; 8]), |section| section.name),
        }
    }

    fn starts(&self) -> Vec<usize> {
        let names = self.slots.iter().map(|slot| self.name(slot)).enumerate();
        names
            .filter(|(_, name)| name.same(&SectionName::PROFILE))
            .map(|(place, _)| place)
            .collect()
    }

    fn region(&self, profile: Option<usize>) -> Result<std::ops::Range<usize>, Error> {
        let starts = self.starts();
        let Some(profile) = profile else {
            return Ok(0..starts.first().copied().unwrap_or(self.slots.len()));
        };
        let start = starts.get(profile).copied().ok_or(Error::NoProfile {
            profile,
            count: starts.len(),
        })?;
        let end = starts.get(profile.saturating_add(1)).copied();
        Ok(start..end.unwrap_or(self.slots.len()))
    }
}
