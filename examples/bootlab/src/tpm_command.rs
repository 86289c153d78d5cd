//! The few TPM 2.0 commands that the lab sends itself (TCG TPM 2.0 Library, part 3).

use crate::registers::Registers;

pub(crate) const SHUTDOWN: u32 = 0x145;
const STARTUP: u32 = 0x144;
const GET_CAPABILITY: u32 = 0x17a;
const PCR_READ: u32 = 0x17e;
const PCR_ALLOCATE: u32 = 0x12b;
const CAP_PCRS: u32 = 5;
const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
const RH_PLATFORM: u32 = 0x4000_000c;
const RS_PASSWORD: u32 = 0x4000_0009;
/// Registers of a PC client TPM: three bytes of a selection.
const PCR_COUNT: u32 = 24;

/// Banks by name and algorithm identifier.
pub(crate) const BANKS: [(&str, u16); 4] = [
    ("sha1", 0x4),
    ("sha256", 0xb),
    ("sha384", 0xc),
    ("sha512", 0xd),
];

/// The command code of a command, if it is long enough to have one.
pub(crate) fn code(command: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(command.get(6..10)?.try_into().ok()?))
}

/// The length that a command's or response's header states.
pub(crate) fn stated_len(header: [u8; 10]) -> usize {
    let [_, _, a, b, c, d, ..] = header;
    usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX)
}

fn command(tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len())
        .unwrap_or(u32::MAX)
        .saturating_add(10);
    [
        &tag.to_be_bytes()[..],
        &len.to_be_bytes(),
        &code.to_be_bytes(),
        body,
    ]
    .concat()
}

pub(crate) fn startup_clear() -> Vec<u8> {
    command(NO_SESSIONS, STARTUP, &[0, 0])
}

pub(crate) fn shutdown_clear() -> Vec<u8> {
    command(NO_SESSIONS, SHUTDOWN, &[0, 0])
}

fn bank_name(algorithm: u16) -> Option<&'static str> {
    BANKS
        .iter()
        .find(|(_, id)| *id == algorithm)
        .map(|(name, _)| *name)
}

/// Activates exactly these banks from the next start on.
pub(crate) fn pcr_allocate(active: &[&str]) -> Vec<u8> {
    let mut body = RH_PLATFORM.to_be_bytes().to_vec();
    body.extend(9u32.to_be_bytes());
    body.extend(RS_PASSWORD.to_be_bytes());
    body.extend([0; 5]);
    body.extend(4u32.to_be_bytes());
    for (name, algorithm) in BANKS {
        body.extend(algorithm.to_be_bytes());
        let mask = if active.contains(&name) { 0xff } else { 0 };
        body.extend([3, mask, mask, mask]);
    }
    command(SESSIONS, PCR_ALLOCATE, &body)
}

/// Whether `TPM2_PCR_Allocate` said yes.
pub(crate) fn allocation_succeeded(response: &[u8]) -> bool {
    succeeded(response) && response.get(14) == Some(&1)
}

pub(crate) fn succeeded(response: &[u8]) -> bool {
    code(response) == Some(0)
}

/// Takes big-endian fields off the front of a response.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }
}

/// Names of the active banks in the answer to `TPM2_GetCapability(TPM_CAP_PCRS)`.
fn active_banks(response: &[u8]) -> Option<Vec<u16>> {
    let mut fields = Fields(response.get(15..)?);
    let count = fields.u32()?;
    let mut banks = Vec::new();
    for _ in 0..count {
        let algorithm = fields.u16()?;
        let len = usize::from(*fields.take(1)?.first()?);
        if fields.take(len)?.iter().any(|byte| *byte != 0) {
            banks.push(algorithm);
        }
    }
    Some(banks)
}

/// The numbers and values in the answer to `TPM2_PCR_Read` of one bank.
fn read_values(response: &[u8]) -> Option<Vec<(u32, Vec<u8>)>> {
    let mut fields = Fields(response.get(14..)?);
    let mut numbers = Vec::new();
    for _ in 0..fields.u32()? {
        fields.u16()?;
        let len = usize::from(*fields.take(1)?.first()?);
        for (index, byte) in (0u32..).zip(fields.take(len)?) {
            numbers.extend(
                (0..8)
                    .filter(|bit| byte & (1 << bit) != 0)
                    .map(|bit| index * 8 + bit),
            );
        }
    }
    let count = fields.u32()?;
    let mut values = Vec::new();
    for (_, number) in (0..count).zip(numbers) {
        let len = usize::from(fields.u16()?);
        values.push((number, fields.take(len)?.to_vec()));
    }
    Some(values)
}

/// Reads every register of every active bank; none when the TPM is not started.
pub(crate) fn read_registers(
    mut exchange: impl FnMut(&[u8]) -> Option<Vec<u8>>,
) -> Option<Registers> {
    let query = [
        CAP_PCRS.to_be_bytes(),
        0u32.to_be_bytes(),
        1u32.to_be_bytes(),
    ]
    .concat();
    let response = exchange(&command(NO_SESSIONS, GET_CAPABILITY, &query))?;
    if !succeeded(&response) {
        return None;
    }
    let mut registers = Registers::default();
    for algorithm in active_banks(&response)? {
        let Some(name) = bank_name(algorithm) else {
            continue;
        };
        // A TPM hands out at most eight values at a time.
        for first in (0..PCR_COUNT).step_by(8) {
            let mut body = 1u32.to_be_bytes().to_vec();
            body.extend(algorithm.to_be_bytes());
            body.push(3);
            body.extend(
                (0..PCR_COUNT)
                    .step_by(8)
                    .map(|start| if start == first { 0xff } else { 0 }),
            );
            let response = exchange(&command(NO_SESSIONS, PCR_READ, &body))?;
            if !succeeded(&response) {
                return None;
            }
            for (number, value) in read_values(&response)? {
                registers.insert(name, number, value);
            }
        }
    }
    Some(registers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn startup_is_the_well_known_twelve_bytes() {
        assert_eq!(startup_clear(), [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0]);
    }

    #[test]
    fn short_answers_give_nothing() {
        let full = [&[0x80, 1, 0, 0, 0, 20, 0, 0, 0, 0][..], &[0; 9]].concat();
        for len in 0..full.len() {
            assert_eq!(active_banks(&full[..len]), None, "{len} bytes");
        }
        assert_eq!(active_banks(&full), Some(Vec::new()));
    }

    #[test]
    fn a_read_answer_gives_numbers_and_values() {
        let mut answer = vec![0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        answer.extend([0, 0, 0, 1, 0, 0xb, 3, 0x80, 0x01, 0]);
        answer.extend([0, 0, 0, 2, 0, 2, 0xaa, 0xbb, 0, 2, 0xcc, 0xdd]);
        let expected = vec![(7, vec![0xaa, 0xbb]), (8, vec![0xcc, 0xdd])];
        assert_eq!(read_values(&answer), Some(expected));
    }
}
