//! Connections between workers: within TLS, or on one machine.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use collectives::network::{self, Link};
use tls::{Blocking, Client, Files, Role};

/// What is spoken, as ALPN names it.
pub const PROTOCOL: &[u8] = b"vitrine-ranks";

/// How long a connection may take to be there.
const CONNECTING: Duration = Duration::from_secs(10);

struct Within(Blocking);

impl Link for Within {
    fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush()
    }

    fn close(&self) {
        self.0.close();
    }
}

/// Dials a worker, which shows that it is one.
///
/// # Errors
/// When it cannot be reached, or would be without TLS though it is on another machine.
pub fn dial(address: &str, files: Option<&Files>) -> Result<Box<dyn Link>> {
    let addresses: Vec<SocketAddr> = address.to_socket_addrs().context("the address is not known")?.collect();
    let mut last = None;
    for address in addresses {
        if files.is_none() && !address.ip().is_loopback() {
            bail!("it is on another machine, and this worker has no [tls] to dial it with");
        }
        match TcpStream::connect_timeout(&address, CONNECTING) {
            Ok(socket) => {
                network::prepare(&socket)?;
                let Some(files) = files else { return Ok(Box::new(socket)) };
                let session = Client::open(files, PROTOCOL)?.connect_blocking(Role::Worker, socket)?;
                return Ok(Box::new(Within(session)));
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| anyhow::Error::msg("the address leads nowhere"), Into::into))
}

/// Takes in who has dialled, and shows that it is a worker.
///
/// # Errors
/// When no session is agreed on.
pub fn accept(socket: TcpStream, server: Option<&tls::Server>) -> Result<Box<dyn Link>> {
    network::prepare(&socket)?;
    Ok(match server {
        Some(server) => Box::new(Within(server.accept_blocking(socket)?)),
        None => Box::new(socket),
    })
}
