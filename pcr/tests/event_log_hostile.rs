//! Damaged logs and databases: an error or a log that is written back as it was, never a panic, never much time.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may end with a message"
)]

mod support;

use std::time::{Duration, Instant};

use pcr::{Bank, BootImage, CelLog, EventLog, EventLogError, Pcr7, SecureBootVariables};
use support::{all_logs, read};

/// A sequence of numbers that is the same in each run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }

    /// A few bytes or words of extreme values.
    fn damage(&mut self, bytes: &mut [u8]) {
        const WORDS: [u32; 6] = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            if self.below(2) == 0 {
                bytes[at] ^= 1 << self.below(8);
            } else if let Some(word) = bytes.get_mut(at..at + 4) {
                word.copy_from_slice(&WORDS[self.below(WORDS.len())].to_le_bytes());
            }
        }
    }
}

#[test]
fn damaged_logs_are_refused_or_kept_byte_for_byte() {
    let mut numbers = Numbers(0x1234_5678_9abc_def1);
    let logs = all_logs();
    let mut read = 0;
    for _ in 0..4000 {
        let mut bytes = logs[numbers.below(logs.len())].1.clone();
        numbers.damage(&mut bytes);
        let Ok(mut log) = EventLog::parse(&bytes) else {
            continue;
        };
        read += 1;
        assert!(log.to_bytes() == bytes);
        assert_eq!(log.replay().banks(), log.banks());
        let _ = (
            log.check(),
            CelLog::from_log(&log).to_log(),
            log.merge_final_events(&bytes),
        );
        let _ = Pcr7::from_log(&log).map(|boot| boot.predict());
    }
    assert!(read > 500, "{read}");
}

#[test]
fn damaged_databases_and_signatures_never_panic() {
    let mut numbers = Numbers(0xfeed_f00d_dead_beef);
    let db = read("d2-own-keys/efivars/db-d719b2cb-3d3a-4596-a3bc-dad00e67656f")[4..].to_vec();
    let signature = read("d2-own-keys/signatures/uki.0.p7");
    for _ in 0..2000 {
        let (mut db, mut signature) = (db.clone(), signature.clone());
        numbers.damage(&mut db);
        numbers.damage(&mut signature);
        let image = BootImage::new(Bank::ALL.map(|bank| bank.hash(b"image"))).signature(&signature);
        let _ = Pcr7::new(SecureBootVariables::enrolled(&[], &[], &db, &db))
            .load(image)
            .predict();
    }
}

#[test]
fn a_long_log_takes_linear_time() {
    let whole = EventLog::parse(&support::log("d1-setup-mode")).unwrap();
    let time = |copies: usize| {
        let mut log = EventLog::crypto_agile(&whole.banks());
        for event in std::iter::repeat_n(whole.events(), copies).flatten() {
            log.push(event.clone()).unwrap();
        }
        let bytes = log.to_bytes();
        let start = Instant::now();
        let log = EventLog::parse(&bytes).unwrap();
        assert_eq!(log.check(), []);
        let _ = log.replay();
        // A table that repeats one event is the worst case of finding the overlap.
        let mut table = 1_u64.to_le_bytes().to_vec();
        table.extend_from_slice(&u64::try_from(log.events().len()).unwrap().to_le_bytes());
        table.extend_from_slice(&bytes[usize::try_from(log.events()[0].offset()).unwrap()..]);
        assert_eq!(log.clone().merge_final_events(&table), Ok(0));
        assert!(log.diff(&log).is_empty());
        start.elapsed()
    };
    let (short, long) = (time(20), time(200));
    assert!(
        long < short * 40 + Duration::from_secs(2),
        "{short:?} for 20, {long:?} for 200 copies"
    );
}

#[test]
fn a_file_of_efivarfs_is_no_log_although_its_sizes_fit() {
    // Attributes, type, sizes and one entry of a signature list have the shape of a SHA-1 record for register 39.
    let mut file = 39_u32.to_le_bytes().to_vec();
    file.extend([0xa1; 24]);
    file.extend(4_u32.to_le_bytes());
    file.extend([0; 4]);
    assert_eq!(
        EventLog::parse(&file).unwrap_err(),
        EventLogError::FirstRegister { found: 39 }
    );
}
