//! Where clients connect.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use tls::Files;
use tokio::net::TcpListener;

/// A port that is taken, and the certificate that is shown there.
pub struct Listen {
    pub listener: TcpListener,
    pub address: SocketAddr,
    pub tls: Option<tls::Server>,
}

/// What an operator says about where clients connect.
#[derive(Clone, Copy)]
pub struct Public<'a> {
    pub listen: &'a str,
    pub certificate: Option<&'a Path>,
    pub key: Option<&'a Path>,
    /// Whether clients beyond this machine may connect without TLS.
    pub plaintext: bool,
    /// What is spoken there, as TLS calls it.
    pub speaks: &'static [u8],
}

/// What a port of clients speaks.
pub const HTTP: &[u8] = b"http/1.1";
pub const GRPC: &[u8] = b"h2";

impl Listen {
    /// Takes the port.
    ///
    /// # Errors
    /// A sentence that says what to do. Without TLS, only this machine may be listened to, unless the operator says that
    /// they mean it.
    pub async fn open(public: Public<'_>) -> Result<Self> {
        let Public { listen, certificate, key, plaintext, speaks } = public;
        let listener = TcpListener::bind(listen).await.map_err(|error| refused(listen, &error))?;
        let address = listener.local_addr().context("cannot tell the port")?;
        let tls = match (certificate, key) {
            (Some(certificate), Some(key)) => {
                let files = Files { certificate: certificate.to_owned(), key: key.to_owned(), authority: None };
                Some(tls::Server::public(files, speaks)?)
            }
            _ => None,
        };
        if tls.is_none() && !address.ip().is_loopback() && !plaintext {
            bail!(
                "will not listen on {address}, beyond this machine, without TLS: keys and results could be read on the \
                 way. Give --tls-certificate and --tls-key (`vitrine cert dev` makes a pair to try it with), or \
                 --plaintext where a proxy with TLS stands in front"
            );
        }
        Ok(Self { listener, address, tls })
    }

    /// Takes the port for gRPC, if there is to be one.
    ///
    /// # Errors
    /// As [`Listen::open`].
    pub async fn open_grpc(listen: Option<&str>, public: Public<'_>) -> Result<Option<Self>> {
        let Some(listen) = listen else { return Ok(None) };
        let listen = Self::open(Public { listen, speaks: GRPC, ..public }).await.context("grpc_listen")?;
        Ok(Some(listen))
    }

    /// Returns what clients call this server, as far as it can tell.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }
}

fn refused(address: &str, error: &std::io::Error) -> anyhow::Error {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow!(
                "cannot listen on {address}: the port is in use; stop what uses it, or choose another with --listen"
            )
        }
        std::io::ErrorKind::PermissionDenied => {
            anyhow!("cannot listen on {address}: this user may not use the port; choose one above 1023 with --listen")
        }
        std::io::ErrorKind::InvalidInput => {
            anyhow!("cannot listen on {address}: --listen takes an address and a port, such as 127.0.0.1:8000")
        }
        std::io::ErrorKind::AddrNotAvailable => {
            anyhow!("cannot listen on {address}: this machine does not have the address; choose one with --listen")
        }
        _ => anyhow!("cannot listen on {address}: {error}"),
    }
}
