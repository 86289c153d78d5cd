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
}

/// The entries for a target; none when it cannot be represented, which is so for an empty target,
/// `//` and a `/` at the end.
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
        // this one, or the last before it that has two bytes.
        let mut first = next;
        if room < 3 || first.name.len() < 2 {
            let inside = current.iter().rposition(|c| c.name.len() >= 2);
            if let Some(inside) = inside {
                todo.push(first);
                let mut moved: Vec<Component> = current.drain(inside..).collect();
                first = moved.remove(0);
                moved.reverse();
                todo.extend(moved);
            } else {
                // Nothing but single characters and dots: there is no other place to end.
                todo.push(first);
                entries.push(Vec::new());
                continue;
            }
        }
        let used: usize = current.iter().map(Component::len).sum();
        let room = MAX_LEN - HEAD_LEN - used - 2;
        let cut = room.min(first.name.len() - 1);
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

fn components(target: &[u8]) -> Option<Vec<Component>> {
    let special = |flags| Component {
        flags,
        name: Vec::new(),
    };
    let (mut out, rest) = match target.strip_prefix(b"/") {
        Some([]) => return Some(vec![special(ROOT)]),
        Some(rest) => (vec![special(ROOT)], rest),
        None => (Vec::new(), target),
    };
    for name in rest.split(|&b| b == b'/') {
        out.push(match name {
            b"" => return None,
            b"." => special(CURRENT),
            b".." => special(PARENT),
            _ => Component {
                flags: 0,
                name: name.to_vec(),
            },
        });
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
        assert_eq!(entries(b"/").unwrap(), [b"SL\x07\x01\0\x08\0".to_vec()]);
    }

    #[test]
    fn long_targets_end_inside_a_component() {
        for target in [
            "directory/".repeat(100) + "file",
            "ab/".repeat(300) + "c",
            "/".to_owned() + &"x/longer-name/y/".repeat(60) + "z",
            "n".repeat(255) + "/" + &"m".repeat(255),
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
    fn dots_alone_are_joined_all_the_same() {
        let target = "../".repeat(200) + "x";
        assert_eq!(
            join(&entries(target.as_bytes()).unwrap()),
            target.as_bytes()
        );
    }

    #[test]
    fn refuses_what_has_no_components() {
        for target in [&b""[..], b"a//b", b"a/", b"//"] {
            assert_eq!(entries(target), None);
        }
    }
}
