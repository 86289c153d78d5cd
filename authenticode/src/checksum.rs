//! The checksum of the PE optional header: a 16-bit end-around-carry sum plus the file length.

/// Adding 16-bit words with end-around carry is adding modulo 65,535, so wider words may be summed and folded at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Adds bytes that start at file offset `offset`.
    pub(crate) fn add(&mut self, offset: u64, bytes: &[u8]) {
        let mut rest = bytes;
        if offset % 2 == 1
            && let Some((first, after)) = rest.split_first()
        {
            // The high byte of the word that began before these bytes.
            self.0 = fold32(self.0).wrapping_add(u64::from(*first) << 8);
            rest = after;
        }
        // Below 2^30 words of 32 bits at a time, the 64-bit total cannot overflow.
        for block in rest.chunks(1 << 20) {
            let mut words = block.chunks_exact(4);
            let total: u64 = (&mut words)
                .map(|word| {
                    word.iter()
                        .rev()
                        .fold(0_u32, |value, byte| value << 8 | u32::from(*byte))
                })
                .map(u64::from)
                .sum();
            let mut last = [0; 4];
            for (to, from) in last.iter_mut().zip(words.remainder()) {
                *to = *from;
            }
            self.0 = fold32(self.0)
                .wrapping_add(fold32(total))
                .wrapping_add(u64::from(u32::from_le_bytes(last)));
        }
    }

    /// Adds another sum, whose offsets were right when it was made.
    pub(crate) fn join(&mut self, other: Self) {
        self.0 = fold32(self.0).wrapping_add(fold32(other.0));
    }

    /// Takes out a part of what was added. The rest must not be all zero, which no PE file is.
    #[cfg(feature = "std")]
    pub(crate) fn subtract(&mut self, part: Self) {
        let part = part.0 % 0xffff;
        self.0 = fold32(self.0).wrapping_add(0xffff_u64.saturating_sub(part));
    }

    /// The value of the field for a file of `len` bytes.
    pub(crate) fn finish(self, len: u64) -> u32 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff).wrapping_add(sum >> 16);
        }
        // The field has 32 bits: longer files wrap, as in the tools.
        let low = u32::try_from(len & u64::from(u32::MAX)).unwrap_or_default();
        u32::try_from(sum).unwrap_or_default().wrapping_add(low)
    }
}

fn fold32(sum: u64) -> u64 {
    (sum & 0xffff_ffff).wrapping_add(sum >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule as the documents have it: a word at a time, folding after each.
    fn slow(bytes: &[u8]) -> u32 {
        let mut sum = 0_u32;
        for word in bytes.chunks(2) {
            sum += u32::from(word[0]) | word.get(1).map_or(0, |high| u32::from(*high) << 8);
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum + u32::try_from(bytes.len()).unwrap()
    }

    #[test]
    fn equals_the_word_by_word_rule_however_the_bytes_are_cut() {
        let bytes: Vec<u8> = (0..4099_u32)
            .map(|i| (i * 7 + i / 13).to_le_bytes()[0])
            .collect();
        for cut in [0, 1, 2, 3, 4, 5, 17, 1000, 4098, 4099] {
            let (a, b) = bytes.split_at(cut);
            let mut sum = Sum::default();
            sum.add(0, a);
            sum.add(cut as u64, b);
            assert_eq!(sum.finish(4099), slow(&bytes), "cut at {cut}");
        }
    }

    #[test]
    fn a_file_of_ones_keeps_the_representation_of_the_tools() {
        let mut sum = Sum::default();
        sum.add(0, &[0xff; 8]);
        assert_eq!(sum.finish(8), 0xffff + 8);
        assert_eq!(Sum::default().finish(8), 8);
    }
}
