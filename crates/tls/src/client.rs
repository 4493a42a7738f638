//! The end that dials.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::files::provider;
use crate::{Error, Files, Purpose, Role};

/// Dials parts of the cluster, and shows who it is.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
}

impl Client {
    /// Reads the certificate to show and the authorities to trust. `protocol` is what is spoken, as ALPN names it.
    ///
    /// # Errors
    /// When the files are not there or hold something else.
    pub fn open(files: &Files, protocol: &'static [u8]) -> Result<Self, Error> {
        let unfit = |error: rustls::Error| files.unfit(&error);
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(unfit)?.with_root_certificates(files.roots()?);
        let mut config = builder.with_client_auth_cert(files.chain()?, files.key()?).map_err(unfit)?;
        config.alpn_protocols = vec![protocol.to_vec()];
        files.show_expiry(Purpose::Peer)?;
        Ok(Self { config: Arc::new(config) })
    }

    /// Agrees on a session over a connection, with a peer that must be of a role.
    ///
    /// # Errors
    /// [`Error::Handshake`], also when the other end is genuine and of another role.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        role: Role,
        stream: S,
    ) -> Result<TlsStream<S>, Error> {
        let name = ServerName::try_from(role.dns()).map_err(|_| Error::Role { wanted: vec![role] })?;
        TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await.map_err(Error::Handshake)
    }

    /// Returns the configuration, for libraries that dial by themselves.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }
}
