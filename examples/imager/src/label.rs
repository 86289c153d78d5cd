//! What an image is called.

use crate::assets::BuildOptions;

/// `Name-version`, of characters that every file system and firmware takes.
pub(crate) fn label(options: &BuildOptions, os_release: Option<&[u8]>) -> String {
    let field = |name: &str| {
        let text = String::from_utf8_lossy(os_release?);
        let value = text.lines().find_map(|line| {
            line.strip_prefix(name)?
                .strip_prefix('=')
                .map(str::to_owned)
        })?;
        let value = value.trim().trim_matches(['"', '\'']).to_owned();
        (!value.is_empty()).then_some(value)
    };
    let name = options
        .os_name
        .clone()
        .or_else(|| field("ID"))
        .unwrap_or_else(|| "linux".into());
    let version = options
        .version
        .clone()
        .or_else(|| field("IMAGE_VERSION"))
        .or_else(|| field("VERSION_ID"));
    let joined = version.map_or(name.clone(), |version| format!("{name}-{version}"));
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.+~".contains(c) {
            c
        } else {
            '_'
        }
    };
    joined.chars().map(safe).take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_from_os_release_and_are_safe_as_file_names() {
        let text = b"NAME=x\nID=\"my os\"\nVERSION_ID='1/2'\n";
        assert_eq!(label(&BuildOptions::default(), Some(text)), "my_os-1_2");
        assert_eq!(label(&BuildOptions::default(), None), "linux");
    }
}
