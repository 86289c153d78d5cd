//! A proxy between the library and swtpm.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use tpm_seal::Tcti;

use super::swtpm::port_pair;
use super::wire::{read_message, transmit};

/// What becomes of a command.
pub(crate) enum Verdict {
    /// The TPM gets it, as it is after the hook.
    Forward,
    /// The TPM does not get it; this is the response code.
    Answer(u32),
}

/// Listens on a pair of ports as swtpm does. The hooks get the command code and the message.
pub(crate) struct Proxy {
    port: u16,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Proxy {
    pub(crate) fn start(
        target: u16,
        on_request: impl FnMut(u32, &mut Vec<u8>) -> Verdict + Send + 'static,
        on_response: impl FnMut(u32, &mut Vec<u8>) + Send + 'static,
    ) -> Self {
        let (data, control, port) = port_pair();
        let stop = Arc::new(AtomicBool::new(false));
        let (stop_data, stop_control) = (Arc::clone(&stop), Arc::clone(&stop));
        let threads = vec![
            thread::spawn(move || serve_data(&data, target, &stop_data, on_request, on_response)),
            thread::spawn(move || serve_control(&control, target + 1, &stop_control)),
        ];
        Self {
            port,
            stop,
            threads,
        }
    }

    pub(crate) fn tcti(&self) -> Tcti {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
            .parse()
            .unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the two that wait for a client.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = TcpStream::connect(("127.0.0.1", self.port + 1));
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve_data(
    listener: &TcpListener,
    target: u16,
    stop: &AtomicBool,
    mut on_request: impl FnMut(u32, &mut Vec<u8>) -> Verdict,
    mut on_response: impl FnMut(u32, &mut Vec<u8>),
) {
    for client in listener.incoming() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let mut client = client.unwrap();
        client.set_nodelay(true).unwrap();
        let mut upstream = TcpStream::connect(("127.0.0.1", target)).unwrap();
        upstream.set_nodelay(true).unwrap();
        while let Some(mut request) = read_message(&mut client) {
            let code = u32::from_be_bytes(request[6..10].try_into().unwrap());
            let response = match on_request(code, &mut request) {
                Verdict::Forward => {
                    let mut response = transmit(&mut upstream, &request);
                    on_response(code, &mut response);
                    response
                }
                Verdict::Answer(code) => {
                    [&[0x80, 0x01, 0, 0, 0, 10][..], &code.to_be_bytes()].concat()
                }
            };
            if client.write_all(&response).is_err() {
                break;
            }
        }
    }
}

/// The control channel goes through unchanged.
fn serve_control(listener: &TcpListener, target: u16, stop: &AtomicBool) {
    for client in listener.incoming() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let mut client = client.unwrap();
        let mut upstream = TcpStream::connect(("127.0.0.1", target)).unwrap();
        let (mut client_reader, mut upstream_reader) =
            (client.try_clone().unwrap(), upstream.try_clone().unwrap());
        thread::spawn(move || {
            let _ = std::io::copy(&mut client_reader, &mut upstream);
            let _ = upstream.shutdown(std::net::Shutdown::Both);
        });
        thread::spawn(move || {
            let _ = std::io::copy(&mut upstream_reader, &mut client);
            let _ = client.shutdown(std::net::Shutdown::Both);
        });
    }
}
