//! Reads the serial port and understands what the boot says there.

use crate::report::Refuser;

/// Words that the guest's `/init` and the script write, each at the start of a line.
const MARK: &str = "BOOTLAB: ";

/// What a line of the serial output means to the lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The firmware hands over to the image.
    Started,
    /// The firmware or the loader does not start the image.
    Refused(Refuser, String),
    /// Linux runs.
    Linux,
    /// The guest has written everything out.
    Done,
    /// The guest's script wants a reset or power-off, and nothing written out.
    Leaving,
    /// Something crashed.
    Crash(String),
}

/// Text that only a crash writes. The firmware's exception handler is here too: the image may
/// have caused it.
const CRASHES: [&str; 12] = [
    "Kernel panic - not syncing",
    "Oops:",
    "BUG: ",
    "general protection fault",
    "segfault at",
    "traps: ",
    "trap invalid opcode",
    "invalid opcode:",
    "double fault:",
    "soft lockup",
    "rcu_sched self-detected stall",
    "!!!! X64 Exception Type",
];

/// Collects serial output, takes out terminal control sequences and looks at each line once.
#[derive(Debug, Default)]
pub(crate) struct Console {
    text: String,
    pending: Vec<u8>,
    escape: Escape,
    looked_at: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Escape {
    #[default]
    None,
    Started,
    Sequence,
}

impl Console {
    /// Takes in new output and returns what it means.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<Sign> {
        for &byte in bytes {
            self.escape = match (self.escape, byte) {
                (Escape::None, 0x1b) => Escape::Started,
                (Escape::Started, b'[') => Escape::Sequence,
                (Escape::Sequence, 0x40..=0x7e) => {
                    // Cursor movement separates texts that stand in different places.
                    if matches!(byte, b'H' | b'f' | b'J') {
                        self.pending.push(b'\n');
                    }
                    Escape::None
                }
                (Escape::Sequence, _) => Escape::Sequence,
                (Escape::Started, _) => Escape::None,
                (Escape::None, b'\r' | 0) => Escape::None,
                (Escape::None, _) => {
                    self.pending.push(byte);
                    Escape::None
                }
            };
        }
        let Some(end) = self.pending.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.pending.split_off(end.saturating_add(1));
        let lines = core::mem::replace(&mut self.pending, rest);
        self.text.push_str(&String::from_utf8_lossy(&lines));
        let new = self.text.get(self.looked_at..).unwrap_or_default();
        let signs = new.lines().filter_map(meaning).collect();
        self.looked_at = self.text.len();
        signs
    }

    /// Everything so far.
    pub(crate) fn into_text(mut self) -> String {
        self.text.push_str(&String::from_utf8_lossy(&self.pending));
        self.text
    }
}

fn meaning(line: &str) -> Option<Sign> {
    if let Some(word) = line.trim_start().strip_prefix(MARK) {
        return match word.trim() {
            "done" => Some(Sign::Done),
            "leaving" => Some(Sign::Leaving),
            _ => None,
        };
    }
    if let Some(text) = CRASHES
        .iter()
        .find_map(|crash| line.get(line.find(crash)?..))
    {
        return Some(Sign::Crash(text.trim().to_owned()));
    }
    if line.contains("BdsDxe: failed to load Boot") {
        return Some(Sign::Refused(Refuser::Firmware, last_words(line)));
    }
    if line.contains("BdsDxe: starting Boot") {
        return Some(Sign::Started);
    }
    // systemd-boot 252 and 257 say this when LoadImage gives an error.
    if line.contains("Error loading") || line.contains("Failed to load") && line.contains(".efi") {
        return Some(Sign::Refused(Refuser::Loader, last_words(line)));
    }
    (line.contains("Linux version ") || line.contains("EFI stub: ")).then_some(Sign::Linux)
}

/// The part of an error message behind its last colon.
fn last_words(line: &str) -> String {
    line.rsplit(": ").next().unwrap_or(line).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_are_taken_out_also_when_they_arrive_in_pieces() {
        let mut console = Console::default();
        let mut signs = Vec::new();
        for byte in b"\x1b[2J\x1b[01;01HBdsDxe: starting Boot0001 \"x\" from y\r\nrest" {
            signs.extend(console.take(&[*byte]));
        }
        assert_eq!(signs, [Sign::Started]);
        assert_eq!(
            console.into_text(),
            "\n\nBdsDxe: starting Boot0001 \"x\" from y\nrest"
        );
    }

    #[test]
    fn a_refusal_names_who_and_why() {
        let line = b"BdsDxe: failed to load Boot0001 \"UEFI Misc Device\" from PciRoot(0x0)/Pci(0x3,0x0): Access Denied\n";
        let expected = Sign::Refused(Refuser::Firmware, "Access Denied".to_owned());
        assert_eq!(Console::default().take(line), [expected]);
    }

    #[test]
    fn a_panic_is_a_crash_and_its_text_is_kept() {
        let line = b"[    1.2] Kernel panic - not syncing: Attempted to kill init!\n";
        let expected =
            Sign::Crash("Kernel panic - not syncing: Attempted to kill init!".to_owned());
        assert_eq!(Console::default().take(line), [expected]);
    }

    #[test]
    fn the_script_cannot_fake_an_end_in_the_middle_of_a_line() {
        assert_eq!(Console::default().take(b"echo BOOTLAB: done\n"), []);
        assert_eq!(Console::default().take(b"BOOTLAB: done\n"), [Sign::Done]);
    }
}
