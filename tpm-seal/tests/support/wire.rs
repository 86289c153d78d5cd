//! Raw TPM commands of the tests, past the library under test.

use std::io::{Read, Write};
use std::net::TcpStream;

/// Sends one command and gives the response, header and all.
pub(crate) fn transmit(stream: &mut TcpStream, command: &[u8]) -> Vec<u8> {
    stream.write_all(command).unwrap();
    read_message(stream).expect("a response")
}

/// A command without sessions: header, then `body`.
pub(crate) fn command(code: u32, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len() + 10).unwrap();
    [
        &[0x80, 0x01][..],
        &len.to_be_bytes(),
        &code.to_be_bytes(),
        body,
    ]
    .concat()
}

/// A command with one password session of the empty password.
pub(crate) fn command_with_password(code: u32, handles: &[u8], body: &[u8]) -> Vec<u8> {
    let auth = [
        &9_u32.to_be_bytes()[..],
        &0x4000_0009_u32.to_be_bytes(),
        &[0, 0, 0, 0, 0],
    ]
    .concat();
    let len = u32::try_from(handles.len() + auth.len() + body.len() + 10).unwrap();
    [
        &[0x80, 0x02][..],
        &len.to_be_bytes(),
        &code.to_be_bytes(),
        handles,
        &auth,
        body,
    ]
    .concat()
}

pub(crate) fn response_code(response: &[u8]) -> u32 {
    u32::from_be_bytes(response[6..10].try_into().unwrap())
}

/// A command or response: its length is in its header.
pub(crate) fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = vec![0; 10];
    stream.read_exact(&mut message).ok()?;
    let len = u32::from_be_bytes(message[2..6].try_into().unwrap());
    message.resize(len.clamp(10, 65536) as usize, 0);
    stream.read_exact(&mut message[10..]).ok()?;
    Some(message)
}
