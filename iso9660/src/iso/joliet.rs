//! Names of the Joliet tree (Microsoft's Joliet specification, 1995).

use crate::unique::UniqueNames;

/// Makes the names of one directory's children, which come sorted, in UTF-16 units of at most
/// `limit`. An error is the count of names that there are for more children than that.
pub(crate) fn assign(children: &[&[u8]], limit: usize) -> Result<Vec<Vec<u16>>, u64> {
    let mut unique = UniqueNames::new(None);
    let made: Vec<(Vec<u16>, bool)> = children.iter().map(|name| joliet(name, limit)).collect();
    for (name, _) in made.iter().filter(|(_, exact)| *exact) {
        unique.take(name, &[]);
    }
    made.into_iter()
        .zip(0u64..)
        .map(|((name, exact), before)| {
            if exact || unique.take(&name, &[]) {
                return Ok(name);
            }
            let (base, extension) = split(&name);
            let room = limit - extension.len();
            if extension.is_empty() {
                return unique.number(base, &[], room).ok_or(before);
            }
            // The extension is part of the name here: uniqueness is that of the whole.
            loop {
                let mut whole = unique.number(base, extension, room).ok_or(before)?;
                whole.extend(extension);
                if unique.take(&whole, &[]) {
                    return Ok(whole);
                }
            }
        })
        .collect()
}

/// As it is recorded: big-endian.
pub(crate) fn recorded(name: &[u16]) -> Vec<u8> {
    name.iter().flat_map(|unit| unit.to_be_bytes()).collect()
}

/// The name before it is made unique, and whether it is the name itself.
fn joliet(name: &[u8], limit: usize) -> (Vec<u16>, bool) {
    let text = String::from_utf8_lossy(name);
    let mut exact = matches!(text, std::borrow::Cow::Borrowed(_));
    let mut units: Vec<u16> = Vec::new();
    for c in text.chars() {
        if c < ' ' || "*/:;?\\".contains(c) {
            units.push(u16::from(b'_'));
            exact = false;
        } else {
            units.extend(c.encode_utf16(&mut [0; 2]).iter());
        }
    }
    if units.len() > limit {
        exact = false;
        let (base, extension) = split(&units);
        let mut base = base.to_vec();
        base.truncate(limit - extension.len());
        // Half a surrogate pair is no character.
        if base
            .last()
            .is_some_and(|unit| (0xD800..0xDC00).contains(unit))
        {
            base.pop();
        }
        base.extend(extension);
        units = base;
    }
    (units, exact)
}

/// Base and extension with its dot; a long extension is part of the base.
fn split(name: &[u16]) -> (&[u16], &[u16]) {
    match name.iter().rposition(|&unit| unit == u16::from(b'.')) {
        Some(dot) if dot > 0 && name.len() - dot <= 12 => name.split_at(dot),
        _ => (name, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(children: &[&str]) -> Vec<String> {
        let children: Vec<&[u8]> = children.iter().map(|n| n.as_bytes()).collect();
        let assigned = assign(&children, 64).unwrap();
        assigned
            .iter()
            .map(|n| String::from_utf16_lossy(n))
            .collect()
    }

    #[test]
    fn keeps_names_and_replaces_what_is_forbidden() {
        assert_eq!(
            names(&["a:b", "héllo-日本.txt", "a_b"]),
            ["a_b1", "héllo-日本.txt", "a_b"]
        );
    }

    #[test]
    fn cut_names_keep_their_extension_and_differ() {
        let long = "x".repeat(70);
        let made = names(&[&format!("{long}a.conf"), &format!("{long}b.conf")]);
        assert_eq!(made[0], format!("{}.conf", "x".repeat(59)));
        assert_eq!(made[1], format!("{}1.conf", "x".repeat(58)));
    }

    #[test]
    fn does_not_cut_a_character_in_half() {
        let made = names(&[&format!("{}😀", "x".repeat(63))]);
        assert_eq!(made, ["x".repeat(63)]);
    }
}
