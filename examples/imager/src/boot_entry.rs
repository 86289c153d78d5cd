//! What systemd-boot starts from a medium: which UKI, with which options.

use crate::Error;
use crate::esp::Esp;

/// An entry of the boot menu that starts a UKI.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BootEntry {
    /// The name that systemd-boot gives it, in lower case: that of the UKI or of the `.conf` file.
    pub id: String,
    /// Path of the UKI on the medium.
    pub path: String,
    /// The options that the entry names; none for a UKI without an entry file.
    pub options: Option<String>,
    /// The id of a profile, when `loader.conf` asks for one.
    pub profile: Option<String>,
    /// What else the entry asks for and is not predicted.
    pub ignored: Vec<String>,
}

impl BootEntry {
    /// The folder of addons, credentials and extensions that belong to the UKI: boot counters are not part of its name.
    pub(crate) fn extra_folder(&self) -> String {
        let (folder, name) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        format!("{folder}/{}.extra.d", without_counter(name))
    }
}

/// The entry that starts by itself, or the one that is asked for.
///
/// # Errors
/// [`Error::Missing`] when there is no UKI, [`Error::Usage`] when there is none of this name.
pub(crate) fn choose(
    esp: &Esp,
    loader_conf: Option<&[u8]>,
    wanted: Option<&str>,
) -> Result<(BootEntry, Vec<String>), Error> {
    let mut entries: Vec<BootEntry> = esp
        .list("EFI/Linux", ".efi")
        .into_iter()
        .map(|path| BootEntry {
            id: id_of(&path),
            path,
            ..BootEntry::default()
        })
        .collect();
    for path in esp.list("loader/entries", ".conf") {
        let text = esp.read(&path)?.unwrap_or_default();
        entries.extend(of_file(&path, &String::from_utf8_lossy(&text)));
    }
    let text = String::from_utf8_lossy(loader_conf.unwrap_or_default()).into_owned();
    let by_default = value_of(&text, "default").next().map(str::to_lowercase);
    let pattern = wanted.map(str::to_lowercase).or(by_default);
    let found = pattern
        .as_deref()
        .and_then(|pattern| entries.iter().find_map(|entry| matched(entry, pattern)));
    if let Some(found) = found {
        return Ok((found, Vec::new()));
    }
    if let Some(wanted) = wanted {
        let ids: Vec<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
        let problem = format!("no entry {wanted}; there are: {}", ids.join(", "));
        return Err(Error::usage("--entry", problem));
    }
    // systemd-boot sorts by the versions in os-release, newest first; a person may choose otherwise.
    let several = entries.len() > 1;
    let last = entries
        .iter()
        .rposition(|entry| entry.options.is_none())
        .or(entries.len().checked_sub(1));
    let Some(entry) = last.map(|last| entries.swap_remove(last)) else {
        return Err(Error::Missing {
            what: "a UKI on the medium",
            hint: "there is no UKI in EFI/Linux, and no entry for one in loader/entries".into(),
        });
    };
    let note = format!(
        "the medium has several boot entries, {} is predicted; name another one with --entry",
        entry.id
    );
    Ok((entry, several.then_some(note).into_iter().collect()))
}

/// The entry, if its name or that of one of its profiles fits.
fn matched(entry: &BootEntry, pattern: &str) -> Option<BootEntry> {
    if fits(pattern, &entry.id) {
        return Some(entry.clone());
    }
    let (name, profile) = pattern.rsplit_once('@')?;
    fits(name, &entry.id).then(|| BootEntry {
        profile: Some(profile.to_owned()),
        ..entry.clone()
    })
}

/// An entry file (Boot Loader Specification, type 1) that starts a UKI.
fn of_file(path: &str, text: &str) -> Option<BootEntry> {
    let first = |key: &'static str| value_of(text, key).next();
    let image = first("uki").or(first("efi")).or(first("linux"))?;
    let options: Vec<&str> = value_of(text, "options").collect();
    let ignored = ["initrd", "devicetree", "devicetree-overlay", "uki-url"]
        .into_iter()
        .filter(|key| value_of(text, key).next().is_some());
    Some(BootEntry {
        id: id_of(path),
        path: image.replace('\\', "/").trim_start_matches('/').to_owned(),
        options: Some(options.join(" ")),
        profile: first("profile").map(str::to_owned),
        ignored: ignored.map(str::to_owned).collect(),
    })
}

/// The values of a key in a text of `key value` lines.
fn value_of<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(move |line| {
            let (name, value) = line.split_once([' ', '\t'])?;
            (name == key).then(|| value.trim())
        })
        .filter(|value| !value.is_empty())
}

fn id_of(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    without_counter(name).to_lowercase()
}

/// A file name without its boot counter: `name+3-1.efi` is `name.efi`.
fn without_counter(name: &str) -> String {
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    let counted = stem.rsplit_once('+').filter(|(_, counter)| {
        let numbers = counter.splitn(2, '-');
        let mut numbers =
            numbers.map(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
        numbers.all(|is_number| is_number)
    });
    match counted {
        Some((stem, _)) => format!("{stem}.{ending}"),
        None => name.to_owned(),
    }
}

/// Whether a name fits a pattern of `*`, `?` and other characters.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    // Which beginnings of the name the beginning of the pattern fits.
    let mut reached = vec![false; name.len() + 1];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    for wanted in pattern {
        let mut next = vec![false; reached.len()];
        for (at, slot) in next.iter_mut().enumerate() {
            let before = at.checked_sub(1);
            let from_before = before.is_some_and(|before| reached.get(before) == Some(&true));
            let letter = before.and_then(|before| name.get(before));
            *slot = match wanted {
                '*' => reached.iter().take(at + 1).any(|fits| *fits),
                '?' => from_before,
                wanted => from_before && letter == Some(&wanted),
            };
        }
        reached = next;
    }
    reached.last() == Some(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_globs() {
        for (pattern, name, yes) in [
            ("test.efi", "test.efi", true),
            ("*.efi", "test.efi", true),
            ("t?st*", "test.efi", true),
            ("*", "", true),
            ("", "", true),
            ("test", "test.efi", false),
            ("?", "", false),
            ("*a*b*", "xxbxa", false),
        ] {
            assert_eq!(fits(pattern, name), yes, "{pattern} {name}");
        }
    }

    #[test]
    fn boot_counters_are_no_part_of_a_name() {
        for (name, without) in [
            ("a.efi", "a.efi"),
            ("a+3.efi", "a.efi"),
            ("a+3-1.efi", "a.efi"),
            ("a+x.efi", "a+x.efi"),
            ("a+.efi", "a+.efi"),
            ("6.1+deb.efi", "6.1+deb.efi"),
        ] {
            assert_eq!(without_counter(name), without);
        }
    }

    #[test]
    fn entry_files_name_image_and_options() {
        let text = "# comment\ntitle X\nuki  /EFI/Linux/x.efi\noptions a=1\noptions b=2\ndevicetree /x.dtb\n";
        let entry = of_file("loader/entries/My+2.conf", text).unwrap();
        assert_eq!(entry.id, "my.conf");
        assert_eq!(entry.path, "EFI/Linux/x.efi");
        assert_eq!(entry.options.as_deref(), Some("a=1 b=2"));
        assert_eq!(entry.ignored, ["devicetree"]);
        assert_eq!(entry.extra_folder(), "EFI/Linux/x.efi.extra.d");
        assert_eq!(of_file("x.conf", "title nothing\n"), None);
    }
}
