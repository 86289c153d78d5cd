#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

/// One block: its label and its content.
pub(crate) struct Block<'a> {
    pub(crate) label: &'a str,
    pub(crate) der: Vec<u8>,
}

/// The blocks of a text, in order; text around them is skipped. Nothing when a block is broken.
pub(crate) fn blocks(text: &str) -> Option<Vec<Block<'_>>> {
    let mut found = Vec::new();
    let mut open: Option<(&str, Base64)> = None;
    for line in text.lines().map(str::trim) {
        if let Some(label) = line
            .strip_prefix("-----BEGIN ")
            .and_then(|rest| rest.strip_suffix("-----"))
        {
            if open.is_some() {
                return None;
            }
            open = Some((label, Base64::default()));
        } else if let Some(label) = line
            .strip_prefix("-----END ")
            .and_then(|rest| rest.strip_suffix("-----"))
        {
            let (begun, content) = open.take()?;
            if begun != label {
                return None;
            }
            found.push(Block {
                label,
                der: content.finish()?,
            });
        } else if let Some((_, content)) = open.as_mut() {
            // Headers of encrypted keys («Proc-Type: …») are not base64: such a block is broken for us.
            line.bytes().try_for_each(|byte| content.push(byte))?;
        }
    }
    if open.is_some() { None } else { Some(found) }
}

#[derive(Default)]
struct Base64 {
    out: Vec<u8>,
    bits: u32,
    count: u8,
    padding: u8,
}

impl Base64 {
    fn push(&mut self, byte: u8) -> Option<()> {
        let value = match byte {
            b'A'..=b'Z' => byte.wrapping_sub(b'A'),
            b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
            b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                self.padding = self.padding.checked_add(1).filter(|n| *n <= 2)?;
                return Some(());
            }
            _ => return None,
        };
        if self.padding != 0 {
            return None;
        }
        self.bits = self.bits.wrapping_shl(6) | u32::from(value);
        self.count = self.count.wrapping_add(1);
        if self.count == 4 {
            let [_, a, b, c] = self.bits.to_be_bytes();
            self.out.extend_from_slice(&[a, b, c]);
            (self.bits, self.count) = (0, 0);
        }
        Some(())
    }

    fn finish(mut self) -> Option<Vec<u8>> {
        match (self.count, self.padding) {
            (0, 0) => {}
            (2, 2) => self.out.push(self.bits.wrapping_shr(4).to_le_bytes()[0]),
            (3, 1) => {
                let [low, high, ..] = self.bits.wrapping_shr(2).to_le_bytes();
                self.out.extend_from_slice(&[high, low]);
            }
            _ => return None,
        }
        Some(self.out)
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test may stop at a surprise")]
mod tests {
    use super::*;

    #[test]
    fn padding_of_every_length_is_read() {
        for (text, bytes) in [
            ("TWFu", &b"Man"[..]),
            ("TWE=", b"Ma"),
            ("TQ==", b"M"),
            ("", b""),
        ] {
            let pem = alloc::format!("noise\n-----BEGIN X-----\r\n{text}\r\n-----END X-----\n");
            assert_eq!(blocks(&pem).unwrap()[0].der, bytes);
        }
    }

    #[test]
    fn broken_blocks_are_refused() {
        for text in [
            "-----BEGIN X-----\nTWFu\n",
            "-----BEGIN X-----\nTWFu\n-----END Y-----\n",
            "-----BEGIN X-----\nTW=u\n-----END X-----\n",
            "-----BEGIN X-----\nTWF\n-----END X-----\n",
            "-----BEGIN X-----\nProc-Type: 4,ENCRYPTED\n-----END X-----\n",
            "-----BEGIN X-----\n-----BEGIN X-----\n-----END X-----\n",
        ] {
            assert!(blocks(text).is_none(), "{text}");
        }
    }
}
