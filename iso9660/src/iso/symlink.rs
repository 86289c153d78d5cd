//! Targets of symbolic links as SL entries (RRIP 1.12, 4.1.3).

const HEAD_LEN: usize = 5;
const MAX_LEN: usize = 255;

/// This component goes on in the next record of components; also used for the whole entry.
const CONTINUE: u8 = 0x01;
const CURRENT: u8 = 0x02;
const PARENT: u8 = 0x04;
const ROOT: u8 = 0x08;

/// A component of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Component {
    flags: u8,
    name: Vec<u8>,
}

impl Component {
    fn len(&self) -> usize {
        2 + self.name.len()
    }

    /// Appends a `/` and a text, as text.
    fn join(&mut self, text: &[u8]) {
        let name = self.text();
        *self = Self {
            flags: 0,
            name: [&name, &b"/"[..], text].concat(),
        };
    }

    /// This component and the next as one.
    fn joined(mut self, next: &Self) -> Self {
        if self.flags & ROOT != 0 {
            self.name = next.text();
            self.name.insert(0, b'/');
        } else {
            self.join(&next.text());
        }
        self.flags = next.flags & CONTINUE;
        self
    }

    /// What a reader makes of it.
    fn text(&self) -> Vec<u8> {
        match self.flags & !CONTINUE {
            CURRENT => b".".to_vec(),
            PARENT => b"..".to_vec(),
            _ => self.name.clone(),
        }
    }
}

/// The entries for a target; none when it is empty.
///
/// Readers copy the text of a component as it is, so a component may hold a `/`: this is how `//`, a
/// `/` at the end and targets that could only be cut between two components keep their bytes.
pub(crate) fn entries(target: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut todo = components(target)?;
    todo.reverse();
    let mut entries: Vec<Vec<Component>> = vec![Vec::new()];
    while let Some(next) = todo.pop() {
        let current = entries.last_mut()?;
        let used: usize = current.iter().map(Component::len).sum();
        let room = MAX_LEN - HEAD_LEN - used;
        if next.len() <= room {
            current.push(next);
            continue;
        }
        // Readers disagree about an entry that ends between two components, so it ends inside one:
        // this one, or one that is made of the last and this one.
        if room < 3 || next.name.len() < 2 {
            match current.pop() {
                Some(last) => todo.push(last.joined(&next)),
                None => return None,
            }
            continue;
        }
        let mut first = next;
        let cut = (room - 2).min(first.name.len() - 1);
        let rest = first.name.split_off(cut);
        let flags = first.flags;
        first.flags |= CONTINUE;
        current.push(first);
        todo.push(Component { flags, name: rest });
        entries.push(Vec::new());
    }
    Some(serialize(&entries))
}

fn serialize(entries: &[Vec<Component>]) -> Vec<Vec<u8>> {
    let last = entries.len() - 1;
    let bytes = |(i, components): (usize, &Vec<Component>)| {
        let len: usize = components.iter().map(Component::len).sum();
        let len = u8::try_from(HEAD_LEN + len).unwrap_or(u8::MAX);
        let mut out = vec![b'S', b'L', len, 1, if i < last { CONTINUE } else { 0 }];
        for component in components {
            out.push(component.flags);
            out.push(u8::try_from(component.name.len()).unwrap_or(u8::MAX));
            out.extend(&component.name);
        }
        out
    };
    entries.iter().enumerate().map(bytes).collect()
}

/// The components of a target; names around an empty one become a single component.
fn components(target: &[u8]) -> Option<Vec<Component>> {
    let special = |flags| Component {
        flags,
        name: Vec::new(),
    };
    let literal = |name: &[u8]| Component {
        flags: 0,
        name: name.to_vec(),
    };
    let slashes = target.iter().take_while(|&&b| b == b'/').count();
    let (start, names) = target.split_at(slashes);
    let mut out = Vec::new();
    if let Some((_, more)) = start.split_first() {
        out.push(special(ROOT));
        if names.is_empty() {
            // Some readers write the root only before another component, which may be empty.
            out.push(literal(more));
            return Some(out);
        }
    } else if names.is_empty() {
        return None;
    }
    let mut after_empty = false;
    for (i, name) in names.split(|&b| b == b'/').enumerate() {
        match (name, out.last_mut()) {
            (_, Some(last)) if after_empty || name.is_empty() => last.join(name),
            // More than one slash at the beginning.
            _ if i == 0 && slashes > 1 => out.push(literal(target.get(1..slashes + name.len())?)),
            (b".", _) => out.push(special(CURRENT)),
            (b"..", _) => out.push(special(PARENT)),
            _ => out.push(literal(name)),
        }
        after_empty = name.is_empty();
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Joins entries as Linux does.
    fn join(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut inside = true;
        for entry in entries {
            let mut rest = &entry[5..];
            while let [flags, len, tail @ ..] = rest {
                let (name, tail) = tail.split_at(usize::from(*len));
                if !inside && out != b"/" {
                    out.push(b'/');
                }
                match flags & 0x0E {
                    CURRENT => out.extend(b"."),
                    PARENT => out.extend(b".."),
                    ROOT => out.extend(b"/"),
                    _ => out.extend(name),
                }
                inside = flags & CONTINUE != 0;
                rest = tail;
            }
        }
        out
    }

    #[test]
    fn short_targets_take_one_entry() {
        assert_eq!(
            entries(b"../a/.").unwrap(),
            [b"SL\x0C\x01\0\x04\0\0\x01a\x02\0".to_vec()]
        );
        assert_eq!(entries(b"/").unwrap(), [b"SL\x09\x01\0\x08\0\0\0".to_vec()]);
        assert_eq!(
            entries(b"/a//b/").unwrap(),
            [b"SL\x0E\x01\0\x08\0\0\x05a//b/".to_vec()]
        );
    }

    #[test]
    fn every_target_keeps_its_bytes() {
        let long = |text: &str, count| text.repeat(count);
        for target in [
            "//".to_owned(),
            "///".to_owned(),
            "//net/x".to_owned(),
            "a//b".to_owned(),
            "a/".to_owned(),
            "../".to_owned(),
            "././/..///x".to_owned(),
            long("../", 1300) + "x",
            long("./", 2000),
            long("x/", 2000) + "y",
            "/".to_owned() + &long("x/", 2000),
            long("/", 4000),
            long("dir//", 800),
            long("a", 4095),
            long("../", 82) + &long("b", 300),
        ] {
            let made = entries(target.as_bytes()).unwrap();
            assert_eq!(join(&made), target.as_bytes());
        }
    }

    #[test]
    fn long_targets_end_inside_a_component() {
        for target in [
            "directory/".repeat(100) + "file",
            "ab/".repeat(300) + "c",
            "/".to_owned() + &"x/longer-name/y/".repeat(60) + "z",
            "n".repeat(255) + "/" + &"m".repeat(255),
            "../".repeat(400) + "z",
            "x/".repeat(1000),
        ] {
            let made = entries(target.as_bytes()).unwrap();
            assert!(made.len() > 1);
            assert_eq!(join(&made), target.as_bytes());
            for entry in &made[..made.len() - 1] {
                let mut rest = &entry[5..];
                let mut last = 0;
                while let [flags, len, tail @ ..] = rest {
                    last = *flags;
                    rest = &tail[usize::from(*len)..];
                }
                assert_eq!(last & CONTINUE, CONTINUE);
            }
        }
    }

    #[test]
    fn refuses_an_empty_target() {
        assert_eq!(entries(b""), None);
    }
}
