//! The end that is dialled.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::files::{Stamp, provider};
use crate::{Error, Files, Purpose, Role};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Accepts TLS sessions. Clones share what was read last.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

struct Inner {
    files: Files,
    protocol: &'static [u8],
    /// Who may dial; empty lets in everybody, unasked.
    peers: Vec<Role>,
    read: Mutex<Stamp>,
    config: RwLock<Arc<ServerConfig>>,
}

impl Server {
    /// Opens the public side of a gateway: whoever dials need not say who they are. `protocol` is what is spoken, as ALPN
    /// names it.
    ///
    /// # Errors
    /// When the files are not there or hold something else.
    pub fn public(files: Files, protocol: &'static [u8]) -> Result<Self, Error> {
        Self::open(files, protocol, Vec::new())
    }

    /// Opens the inner side of a part of the cluster: whoever dials must show a certificate of `files.authority` for one
    /// of `peers`.
    ///
    /// # Errors
    /// As [`Server::public`]; also where no authority is named.
    pub fn mutual(files: Files, protocol: &'static [u8], peers: &[Role]) -> Result<Self, Error> {
        if files.authority.is_none() || peers.is_empty() {
            return Err(files.unfit(&"no authority is named for those who dial"));
        }
        Self::open(files, protocol, peers.to_vec())
    }

    fn open(files: Files, protocol: &'static [u8], peers: Vec<Role>) -> Result<Self, Error> {
        let stamp = files.stamp();
        let config = RwLock::new(Arc::new(config(&files, protocol, &peers)?));
        Ok(Self { inner: Arc::new(Inner { files, protocol, peers, read: Mutex::new(stamp), config }) })
    }

    /// Agrees on a session with who has dialled.
    ///
    /// # Errors
    /// [`Error::Handshake`], and [`Error::Role`] for a genuine certificate of another role.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> Result<TlsStream<S>, Error> {
        let stream = TlsAcceptor::from(self.config()).accept(stream).await.map_err(Error::Handshake)?;
        self.check(stream.get_ref().1.peer_certificates())?;
        Ok(stream)
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.inner.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says whether who has shown these, found genuine before, may dial.
    pub(crate) fn check(&self, shown: Option<&[CertificateDer<'_>]>) -> Result<(), Error> {
        let peers = &self.inner.peers;
        let shown = shown.and_then(<[_]>::first);
        let right = peers.is_empty() || shown.is_some_and(|shown| peers.iter().any(|role| is(shown, *role)));
        if right { Ok(()) } else { Err(Error::Role { wanted: peers.clone() }) }
    }

    /// Reads the files again if they have changed. Returns whether they had. Blocks.
    ///
    /// # Errors
    /// As [`Server::public`]; then what was read before stays in use.
    pub fn reload(&self) -> Result<bool, Error> {
        let Inner { files, protocol, peers, read, config: used } = &*self.inner;
        let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = files.stamp();
        if *read == stamp {
            return Ok(false);
        }
        let fresh = config(files, protocol, peers)?;
        *used.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        *read = stamp;
        Ok(true)
    }

    /// Reads the files again whenever they change, for as long as it is polled.
    pub async fn follow(&self) -> Infallible {
        loop {
            tokio::time::sleep(LOOK).await;
            let server = self.clone();
            let certificate = self.inner.files.certificate.display();
            match tokio::task::spawn_blocking(move || server.reload()).await {
                Ok(Ok(true)) => tracing::info!(%certificate, "the certificate was read again"),
                Ok(Ok(false)) => {}
                // Perhaps in the middle of being replaced.
                Ok(Err(error)) => tracing::warn!(%error, "the certificate in use is the one from before"),
                Err(error) => tracing::error!(%error, "looking at the certificate failed"),
            }
        }
    }
}

/// Reads the files. What comes of them is used from then on.
fn config(files: &Files, protocol: &[u8], peers: &[Role]) -> Result<ServerConfig, Error> {
    let unfit = |error: rustls::Error| files.unfit(&error);
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(unfit)?;
    let builder = if peers.is_empty() {
        builder.with_no_client_auth()
    } else {
        let verifier = WebPkiClientVerifier::builder_with_provider(files.roots()?, provider()).build();
        builder.with_client_cert_verifier(verifier.map_err(|error| files.unfit(&error))?)
    };
    let mut config = builder.with_single_cert(files.chain()?, files.key()?).map_err(unfit)?;
    config.alpn_protocols = vec![protocol.to_vec()];
    files.show_expiry(if peers.is_empty() { Purpose::Serving } else { Purpose::Peer })?;
    Ok(config)
}

/// Says whether a certificate, found genuine before, is for a role.
fn is(certificate: &CertificateDer<'_>, role: Role) -> bool {
    let Ok(name) = ServerName::try_from(role.dns()) else { return false };
    webpki::EndEntityCert::try_from(certificate)
        .is_ok_and(|shown| shown.verify_is_valid_for_subject_name(&name).is_ok())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::Client;
    use crate::dev::Authority;

    const H2: &[u8] = b"h2";

    /// Lets one dial the other, and says what became of it.
    async fn dial(server: &Server, client: &Client, role: Role) -> Result<(), String> {
        let (ours, theirs) = duplex(64 << 10);
        let (accepted, connected) = tokio::join!(
            async {
                let mut stream = server.accept(theirs).await?;
                stream.write_all(b"hello").await.map_err(Error::Handshake)?;
                stream.shutdown().await.map_err(Error::Handshake)
            },
            async {
                let mut stream = client.connect(role, ours).await?;
                let mut heard = String::new();
                stream.read_to_string(&mut heard).await.map_err(Error::Handshake)?;
                assert_eq!(heard, "hello");
                Ok::<(), Error>(())
            }
        );
        accepted.map_err(|error| format!("server: {error}"))?;
        connected.map_err(|error| format!("client: {error}"))
    }

    struct Fixture {
        folder: tempfile::TempDir,
        authority: Authority,
        server: Server,
    }

    impl Fixture {
        fn new() -> Self {
            let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new().unwrap());
            let files = authority.write(folder.path(), Role::Scheduler, &[]).unwrap();
            let server = Server::mutual(files, H2, &[Role::Worker, Role::Gateway]).unwrap();
            Self { folder, authority, server }
        }

        fn client(&self, role: Role) -> Client {
            Client::open(&self.authority.write(self.folder.path(), role, &[]).unwrap(), H2).unwrap()
        }
    }

    #[tokio::test]
    async fn each_end_knows_the_others_role() {
        let fixture = Fixture::new();
        for role in [Role::Worker, Role::Gateway] {
            dial(&fixture.server, &fixture.client(role), Role::Scheduler).await.unwrap();
        }
        let refused = dial(&fixture.server, &fixture.client(Role::Objects), Role::Scheduler).await.unwrap_err();
        assert_eq!(refused, "server: the other end is not a worker or a gateway");
        let refused = dial(&fixture.server, &fixture.client(Role::Worker), Role::Etcd).await.unwrap_err();
        assert!(refused.starts_with("server: the session was not agreed on"), "{refused}");
    }

    #[tokio::test]
    async fn a_stranger_and_an_expired_friend_are_refused() {
        let fixture = Fixture::new();
        let elsewhere = tempfile::tempdir().unwrap();
        let other = Authority::new().unwrap().write(elsewhere.path(), Role::Worker, &[]).unwrap();
        let ours = fixture.folder.path().join("ca.pem");
        // It trusts our authority, and is certified by another.
        let stranger = Client::open(&Files { authority: Some(ours), ..other }, H2).unwrap();
        let refused = dial(&fixture.server, &stranger, Role::Scheduler).await.unwrap_err();
        assert!(refused.starts_with("server: "), "{refused}");
        let expired = fixture.authority.write_expired(fixture.folder.path(), Role::Worker).unwrap();
        let refused = dial(&fixture.server, &Client::open(&expired, H2).unwrap(), Role::Scheduler).await.unwrap_err();
        assert!(refused.contains("expired") || refused.contains("Expired"), "{refused}");
    }

    #[tokio::test]
    async fn a_changed_certificate_is_used_without_a_restart_and_a_broken_one_is_not() {
        let fixture = Fixture::new();
        let client = fixture.client(Role::Worker);
        // The client's came with the authority's own, written again.
        assert!(fixture.server.reload().unwrap());
        assert!(!fixture.server.reload().unwrap());
        // Another authority's: whoever trusts the first no longer gets through, which shows that it is in use.
        let files = Authority::new().unwrap().write(fixture.folder.path(), Role::Scheduler, &[]).unwrap();
        assert!(fixture.server.reload().unwrap());
        assert!(dial(&fixture.server, &client, Role::Scheduler).await.is_err());
        let renewed = fixture.authority.write(fixture.folder.path(), Role::Scheduler, &[]).unwrap();
        assert_eq!(renewed, files);
        assert!(fixture.server.reload().unwrap());
        dial(&fixture.server, &client, Role::Scheduler).await.unwrap();
        std::fs::write(&files.certificate, "half of a certif").unwrap();
        let refused = fixture.server.reload().unwrap_err().to_string();
        assert!(refused.contains("holds no certificate in PEM form"), "{refused}");
        dial(&fixture.server, &client, Role::Scheduler).await.unwrap();
    }

    #[test]
    fn a_key_that_is_not_the_certificates_is_refused() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let authority = Authority::new().unwrap();
        let files = authority.write(folder.path(), Role::Gateway, &[]).unwrap();
        let key = authority.write(other.path(), Role::Gateway, &[]).unwrap().key;
        let refused = Server::public(Files { key, ..files }, b"http/1.1").err().unwrap().to_string();
        assert!(refused.contains("cannot be used"), "{refused}");
    }
}
