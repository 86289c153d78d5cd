//! ISO 9660 images, with and without an EFI system partition.

use std::collections::HashMap;
use std::io::Cursor;

use iso9660::{
    BiosBoot, Error, FatReader, Image, IsoReader, Level, Medium, Namespace, PartitionTable, Report,
    Timestamp,
};
use libfuzzer_sys::arbitrary::{Result, Unstructured};

use crate::model::{self, For, Found, Kind, Node, Nodes};
use crate::volume::Volume;
use crate::{names, plan};

/// An image with what is known of it.
struct Case {
    image: Image,
    /// What the ISO tree must show.
    nodes: Nodes,
    /// A path is a directory on one side only.
    has_conflict: bool,
    esp: Option<Volume>,
    bios: Option<(Vec<u8>, bool)>,
    rock_ridge: bool,
    joliet: bool,
    keeps: bool,
    time: i64,
}

impl Case {
    fn arbitrary(u: &mut Unstructured<'_>) -> Result<Self> {
        let next = &mut 0;
        let (tree, mut nodes) = model::tree(u, For::Iso, next)?;
        let mut has_conflict = false;
        let (mut image, esp) = if u.arbitrary()? {
            let esp = Volume::arbitrary(u, For::Esp, next)?;
            let Ok(mut image) = Image::bootable(esp.fat.clone()) else {
                // Names that are one in FAT hide the boot file.
                assert!(esp.fat.plan().is_err());
                return Err(libfuzzer_sys::arbitrary::Error::IncorrectFormat);
            };
            let is_shown = u.ratio(3, 4)?;
            image = image.esp_in_tree(is_shown).iso_partition(u.arbitrary()?);
            if u.arbitrary()? {
                image = image.esp_alignment(1 << u.int_in_range(11..=20)?);
            }
            image = image.esp_name(*u.choose(&["ESP", "", "é😀"])?);
            // A link of the ESP becomes a file where the ISO tree has something of its own under
            // the name of the link's file.
            let own = |path: &Vec<u8>| nodes.contains_key(path);
            let hidden = esp
                .nodes
                .iter()
                .filter(|(path, node)| !node.is_link && own(path));
            let number = |node: &Node| match node.kind {
                Kind::File(_, number) => Some(number),
                _ => None,
            };
            let hidden: Vec<usize> = hidden.filter_map(|(_, node)| number(node)).collect();
            for (path, node) in esp.nodes.iter().filter(|_| is_shown) {
                let mut node = node.clone();
                if let Kind::File(_, number) = &mut node.kind
                    && hidden.contains(number)
                {
                    *next += 1;
                    *number = *next;
                }
                let own = nodes.entry(path.clone()).or_insert_with(|| node.clone());
                has_conflict |= own.is_directory() != node.is_directory();
            }
            (image.tree(tree), Some(esp))
        } else {
            (Image::new(tree), None)
        };
        let bios = if u.ratio(1, 4)? {
            let bytes = names::pattern(5, u.int_in_range(1..=5000)?);
            let has_table = u.arbitrary()?;
            let boot = BiosBoot::new(bytes.clone()).info_table(has_table);
            image = image.bios_boot(boot.load_sectors(u.int_in_range(1..=9)?));
            Some((bytes, has_table))
        } else {
            None
        };
        let rock_ridge = u.ratio(7, 8)?;
        let joliet = u.ratio(3, 4)?;
        image = image.rock_ridge(rock_ridge).joliet(joliet);
        if joliet && u.ratio(1, 3)? {
            image = image.joliet_long();
        }
        image = image.level(*u.choose(&[Level::Three, Level::Two, Level::One])?);
        let (keeps, time) = (u.arbitrary()?, 1_700_000_000);
        image = image
            .keep_attributes(keeps)
            .time(Timestamp::from_unix(time));
        image = image.strict_depth(u.ratio(1, 8)?);
        if u.ratio(1, 8)? {
            image = image.padding(u.int_in_range(0..=300 << 10)?);
        }
        let id = *u.choose(&[
            "TALOS_V1_9_0",
            "",
            "a b",
            "32 characters of ASCII, no less!",
        ])?;
        image = image
            .volume_id(id)
            .publisher("P")
            .application("A")
            .preparer("");
        Ok(Self {
            image,
            nodes,
            has_conflict,
            esp,
            bios,
            rock_ridge,
            joliet,
            keeps,
            time,
        })
    }

    fn assert_trees(&self, bytes: &[u8]) {
        let mut iso = IsoReader::read(Cursor::new(bytes)).unwrap();
        let mut expected = vec![Namespace::Iso];
        expected.extend(self.rock_ridge.then_some(Namespace::RockRidge));
        expected.extend(self.joliet.then_some(Namespace::Joliet));
        assert_eq!(iso.namespaces(), expected);
        for namespace in expected {
            let mut found = Found::new();
            for item in iso.items(namespace).unwrap() {
                let mut content = Vec::new();
                if !item.is_directory() {
                    assert_eq!(iso.copy_to(&item, &mut content).unwrap(), item.len);
                }
                let twice = found.insert(item.path.clone(), (item, content));
                assert!(twice.is_none(), "{namespace:?}: {twice:?} is there twice");
            }
            let what = namespace.name();
            if namespace == Namespace::RockRidge {
                model::assert_same(&self.nodes, &found, what);
                self.assert_attributes(&found);
            } else {
                let mut nodes = self.nodes.clone();
                // Joliet has no symbolic links, and shows nothing in their place.
                let is_link = |node: &Node| matches!(node.kind, Kind::Symlink(_));
                nodes.retain(|_, node| namespace == Namespace::Iso || !is_link(node));
                let text = |path: &Vec<u8>| String::from_utf8_lossy(path).into_owned();
                let names: Vec<String> = found.keys().map(text).collect();
                let expected: Vec<String> = nodes.keys().map(text).collect();
                assert_eq!(
                    names.len(),
                    expected.len(),
                    "{what}: {names:?}, {expected:?}"
                );
                assert_eq!(model::found_shape(&found), model::shape(&nodes), "{what}");
            }
        }
        let images = iso
            .boot_catalog()
            .unwrap()
            .map_or(Vec::new(), |catalog| catalog.images);
        assert_eq!(
            images.len(),
            usize::from(self.bios.is_some()) + usize::from(self.esp.is_some())
        );
        if let (Some((content, has_table)), [first, ..]) = (&self.bios, images.as_slice()) {
            let start = usize::try_from(first.offset).unwrap();
            let found = &bytes[start..start + content.len()];
            let changed = if *has_table && content.len() >= 64 {
                8..64
            } else {
                0..0
            };
            assert!(found[..changed.start] == content[..changed.start]);
            assert!(found[changed.end..] == content[changed.end..]);
        }
    }

    /// What Rock Ridge tells besides names and contents.
    fn assert_attributes(&self, found: &Found) {
        let mut names = HashMap::new();
        for node in self.nodes.values() {
            if let Kind::File(_, number) = node.kind {
                *names.entry(number).or_insert(0) += 1;
            }
        }
        let mut serials = HashMap::new();
        for (path, (item, _)) in found {
            let node = &self.nodes[path];
            let attributes = &node.attributes;
            let posix = item.posix.expect("a PX entry");
            let is_program = attributes.mode.is_some_and(|mode| mode & 0o111 != 0);
            let (kind, mode) = match &node.kind {
                Kind::Directory => (0o040_000, 0o555),
                Kind::File(..) if is_program => (0o100_000, 0o555),
                Kind::File(..) => (0o100_000, 0o444),
                Kind::Symlink(_) => (0o120_000, 0o777),
            };
            let mode = attributes.mode.filter(|_| self.keeps).unwrap_or(mode);
            assert_eq!(posix.mode, kind | mode, "{path:?}");
            let owner = if self.keeps { attributes.owner } else { (0, 0) };
            assert_eq!((posix.uid, posix.gid), owner, "{path:?}");
            let time = node.time(self.time, self.keeps);
            assert_eq!(
                item.modified.map(Timestamp::as_unix),
                Some(time),
                "{path:?}"
            );
            assert_eq!(item.flags & 1 == 1, attributes.is_hidden, "{path:?}");
            if let Kind::File(_, number) = node.kind {
                assert_eq!(posix.links, names[&number], "{path:?}");
                let serial = *serials.entry(number).or_insert(posix.serial);
                assert_eq!(posix.serial, serial, "{path:?}");
            }
        }
    }

    fn assert_esp(&self, bytes: &[u8], plan: &iso9660::Plan) {
        let table = PartitionTable::read(Cursor::new(bytes)).unwrap();
        let Some(esp) = &self.esp else {
            assert!(table.gpt.is_none() && table.mbr.is_empty());
            return;
        };
        assert!(table.findings.is_empty(), "{:?}", table.findings);
        let gpt = table.gpt.expect("a GPT");
        assert!(gpt.is_valid && gpt.has_backup && table.mbr.len() == 1);
        let partition = gpt.partitions.last().expect("an ESP");
        let region = plan.regions().last().expect("an ESP");
        assert_eq!(partition.first * 512, region.offset);
        assert_eq!(partition.sectors() * 512, region.len);
        let reader = FatReader::read_at(Cursor::new(bytes), region.offset, region.len).unwrap();
        let time = esp.time.unwrap_or(self.time);
        esp.assert_read(reader, Some(time));
    }
}

pub fn check(u: &mut Unstructured<'_>) -> Result<()> {
    let mut case = Case::arbitrary(u)?;
    if let Some(esp) = &mut case.esp {
        esp.keeps_times |= case.keeps;
    }
    let plan = match case.image.plan() {
        Ok(_) if case.has_conflict => panic!("a path is a file and a directory"),
        Ok(plan) => plan,
        Err(Error::NotADirectory { .. }) if case.has_conflict => return Ok(()),
        Err(error) => {
            plan::assert_refusal(&error);
            assert!(!matches!(error, Error::NotADirectory { .. }), "{error}");
            return Ok(());
        }
    };
    let bytes = plan::written(u, &plan)?;
    case.assert_trees(&bytes);
    case.assert_esp(&bytes, &plan);
    let report = Report::read(Cursor::new(&bytes)).unwrap();
    assert!(!report.is_damaged(), "{:?}", report.findings);
    if case.esp.is_some() {
        for medium in [Medium::CdUefi, Medium::UsbGpt] {
            assert!(report.boots(medium), "{:?}", report.path(medium));
        }
    }
    Ok(())
}
