//! Where the roles of a cluster keep what they must remember: etcd, and an object store.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use store::{EtcdOptions, EtcdStore, EtcdTls, Measured, MetadataStore, Objects, S3Options};
use tls::{Certificates, Purpose};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Time before an etcd that cannot be reached is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The section `[store]`: etcd.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Etcd {
    /// `http://HOST:PORT` or `https://HOST:PORT` of some or all members.
    pub endpoints: Vec<String>,
    /// What all keys begin with, where etcd is not this cluster's alone. Default: nothing.
    pub namespace: String,
    /// How long one call may take. Default 5 seconds.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// A user's name, where etcd wants one.
    pub user: Option<String>,
    /// The file with that user's password.
    pub password_file: Option<PathBuf>,
    /// The name that members' certificates are made out to. Default: that of the endpoint.
    pub server_name: Option<String>,
    /// Certificates, for `https`.
    pub tls: Option<Certificates>,
}

/// The section `[objects]`: a folder that all roles share, or a bucket of S3 or of what speaks its protocol.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectStore {
    /// A folder, where the whole cluster is on one machine or shares a file system.
    pub folder: Option<PathBuf>,
    pub bucket: Option<String>,
    /// Default `us-east-1`.
    pub region: Option<String>,
    /// `https://HOST:PORT`. Default: Amazon's.
    pub endpoint: Option<String>,
    /// Default: that of the machine's role.
    pub access_key_id: Option<String>,
    /// The file with the secret of that key.
    pub secret_access_key_file: Option<PathBuf>,
    /// Whether the endpoint may be plain `http` beyond this machine. Default false.
    pub plaintext: bool,
}

impl Default for Etcd {
    fn default() -> Self {
        let EtcdOptions { endpoints, namespace, deadline, .. } = EtcdOptions::new(["http://127.0.0.1:2379"]);
        Self { endpoints, namespace, deadline, user: None, password_file: None, server_name: None, tls: None }
    }
}

impl Etcd {
    /// Says what cannot be as it is set.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn check(&self) -> Result<()> {
        if self.endpoints.is_empty() {
            bail!("store.endpoints is empty: name at least one member of etcd");
        }
        for endpoint in &self.endpoints {
            if endpoint.starts_with("https://") && self.tls.is_none() {
                bail!("store.endpoints has {endpoint}, and there is no [store.tls] to say whom to trust there");
            }
            if !endpoint.starts_with("https://") && self.tls.is_some() {
                bail!(
                    "store.endpoints has {endpoint}, which would be dialled without TLS although there is [store.tls]"
                );
            }
        }
        if self.user.is_some() != self.password_file.is_some() {
            bail!("store.user and store.password_file belong together: set both or neither");
        }
        Ok(())
    }

    /// Connects, however long that takes. Returns with the store how it ends: by a sentence, when etcd was set back.
    ///
    /// # Errors
    /// A sentence, for what waiting does not mend.
    pub async fn open(&self) -> Result<(Arc<dyn MetadataStore>, SetBack)> {
        let mut options = EtcdOptions::new(&self.endpoints);
        (options.namespace, options.deadline) = (self.namespace.clone(), self.deadline);
        if let Some(certificates @ Certificates { authority, certificate, key }) = &self.tls {
            certificates.files().show_expiry(Purpose::Etcd)?;
            let identity = Some((read(certificate)?, read(key)?));
            options.tls = Some(EtcdTls { ca: read(authority)?, identity, domain: self.server_name.clone() });
        }
        if let (Some(user), Some(file)) = (&self.user, &self.password_file) {
            options.user = Some((user.clone(), secret(file)?));
        }
        loop {
            match EtcdStore::connect(options.clone()).await {
                Ok(store) => {
                    let set_back = SetBack(store.set_back());
                    return Ok((Arc::new(Measured::over(Arc::new(store))), set_back));
                }
                Err(error @ store::Error::Unavailable { .. }) => {
                    tracing::warn!(%error, again_in = ?AGAIN, "etcd does not answer");
                    sleep(AGAIN).await;
                }
                Err(error) => return Err(error).context("cannot use etcd"),
            }
        }
    }
}

/// Tells of an etcd that was restored from a snapshot.
pub struct SetBack(CancellationToken);

impl SetBack {
    /// Waits for it, and says what to do.
    pub async fn told(&self) -> anyhow::Error {
        self.0.cancelled().await;
        anyhow!(
            "etcd was restored from a snapshot, which lacks what this process was told. It ends, and is to be started again; \
             jobs that the snapshot has are kept"
        )
    }
}

impl ObjectStore {
    /// Says what cannot be as it is set.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn check(&self) -> Result<()> {
        match (&self.folder, &self.bucket) {
            (Some(_), Some(_)) => {
                bail!("objects.folder and objects.bucket cannot both be set: objects are in one place")
            }
            (None, None) => bail!("set objects.folder, or objects.bucket and how to reach it"),
            _ => {}
        }
        if self.access_key_id.is_some() != self.secret_access_key_file.is_some() {
            bail!("objects.access_key_id and objects.secret_access_key_file belong together: set both or neither");
        }
        if let Some(endpoint) = self.endpoint.as_deref().filter(|endpoint| endpoint.starts_with("http://"))
            && !self.plaintext
            && !is_loopback(endpoint)
        {
            bail!(
                "objects.endpoint is {endpoint}: whoever listens on the way could read every result. Use https, or set objects.plaintext where the network is trusted"
            );
        }
        Ok(())
    }

    /// Opens it. What is small lies with the metadata, up to as many bytes as that likes.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub fn open(&self, metadata: &dyn MetadataStore) -> Result<Objects> {
        let objects = if let Some(folder) = &self.folder {
            Objects::local(folder).with_context(|| format!("cannot use objects.folder {}", folder.display()))?
        } else {
            let key = match (&self.access_key_id, &self.secret_access_key_file) {
                (Some(id), Some(file)) => Some((id.clone(), secret(file)?)),
                _ => None,
            };
            let options = S3Options {
                bucket: self.bucket.clone().unwrap_or_default(),
                region: self.region.clone().unwrap_or_else(|| "us-east-1".into()),
                endpoint: self.endpoint.clone(),
                key,
                allow_http: self.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://")),
            };
            Objects::s3(options).context("cannot use the bucket of [objects]")?
        };
        Ok(objects.with_inline_bytes(metadata.limits().inline_bytes))
    }
}

/// Says whether a URL leads to this machine.
fn is_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Reads a file whole.
fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Reads a file that holds one secret, the end of its line left out.
///
/// # Errors
/// A sentence that names the file.
pub fn secret(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = text.trim();
    if text.is_empty() {
        bail!("{} is empty; it should hold a secret", path.display());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_for_this_machine() {
        for here in ["http://127.0.0.1:8333", "http://localhost:8333/x", "http://[::1]:8333"] {
            assert!(is_loopback(here), "{here}");
        }
        for elsewhere in ["http://10.0.0.1:8333", "http://localhost.example:1", "http://127.0.0.1.example"] {
            assert!(!is_loopback(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_key() {
        let bucket = ObjectStore { bucket: Some("b".into()), ..ObjectStore::default() };
        let etcd = Etcd::default();
        let refused = [
            (ObjectStore::default().check(), "objects.folder"),
            (ObjectStore { folder: Some("/f".into()), ..bucket.clone() }.check(), "cannot both be set"),
            (ObjectStore { access_key_id: Some("a".into()), ..bucket.clone() }.check(), "belong together"),
            (ObjectStore { endpoint: Some("http://10.0.0.1".into()), ..bucket.clone() }.check(), "objects.plaintext"),
            (Etcd { endpoints: vec![], ..etcd.clone() }.check(), "store.endpoints"),
            (Etcd { endpoints: vec!["https://e".into()], ..etcd.clone() }.check(), "[store.tls]"),
            (Etcd { tls: Some(Certificates::default()), ..etcd.clone() }.check(), "without TLS"),
            (Etcd { user: Some("u".into()), ..etcd.clone() }.check(), "store.password_file"),
        ];
        for (outcome, words) in refused {
            let text = outcome.unwrap_err().to_string();
            assert!(text.contains(words), "{words:?} is not in {text:?}");
        }
        etcd.check().unwrap();
        ObjectStore { endpoint: Some("http://127.0.0.1:1".into()), ..bucket }.check().unwrap();
    }
}
