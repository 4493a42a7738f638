//! When the certificates end that roles use, for people to look at. Workers tell their scheduler (`nodes`); gateways and schedulers
//! write theirs here, for as long as they live.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use proto::{Message, stored};
use tokio::time::sleep;

use crate::ROOT;
use crate::error::Error;
use crate::lease::Lease;
use crate::messages;
use crate::metadata::{Entry, MetadataStore};
use crate::stored::decode;
use crate::txn::Txn;

/// How long an entry outlives who wrote it. Keeping a lease writes nothing, so that an entry costs two writes: the lease and itself.
const LEASE: Duration = Duration::from_secs(60);

/// How often it is looked whether a certificate was renewed, and a store that failed is asked again.
const LOOK: Duration = Duration::from_secs(5);

/// When a certificate ends that a role uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateEnd {
    /// What it is for, as the role's metric has it.
    pub certificate: String,
    /// Seconds since the Unix epoch.
    pub at: i64,
}

/// As `tls::expiry::in_use` has it.
impl From<(&str, i64)> for CertificateEnd {
    fn from((certificate, at): (&str, i64)) -> Self {
        Self { certificate: certificate.to_owned(), at }
    }
}

/// A gateway or a scheduler, and the certificates that it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateHolder {
    /// `gateway` or `scheduler`.
    pub role: String,
    /// Which of them.
    pub name: String,
    pub certificates: Vec<CertificateEnd>,
}

/// The certificates of gateways and schedulers, in a metadata store.
#[derive(Clone)]
pub struct Certificates {
    store: Arc<dyn MetadataStore>,
}

impl Certificates {
    /// Views those of `store`.
    #[must_use]
    pub fn new(store: Arc<dyn MetadataStore>) -> Self {
        Self { store }
    }

    /// Returns who is there and uses some, in the order of roles and names. One that this version cannot read is left out.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn list(&self) -> Result<Vec<CertificateHolder>, Error> {
        let entries = self.store.list(&prefix()).await?;
        let readable = |entry| read(entry).inspect_err(|error| tracing::warn!(%error, "skipped")).ok();
        Ok(entries.iter().filter_map(readable).collect())
    }

    /// Keeps it written which certificates this process uses, as `in_use` says, for as long as it is polled: once, and again when
    /// they change or the store has forgotten it. Who uses none writes nothing.
    pub async fn keep(&self, role: &str, name: &str, in_use: fn() -> Vec<CertificateEnd>) -> Infallible {
        let mut kept: Option<(Lease, Vec<CertificateEnd>)> = None;
        loop {
            let certificates = in_use();
            let written = matches!(&kept, Some((lease, written)) if lease.holds() && *written == certificates);
            if !written && !certificates.is_empty() {
                let lease = kept.take().map(|(lease, _)| lease).filter(Lease::holds);
                kept = match self.write(role, name, &certificates, lease).await {
                    Ok(lease) => Some((lease, certificates)),
                    Err(error) => {
                        tracing::warn!(%error, "cannot tell when this process's certificates end; trying again");
                        None
                    }
                };
            }
            sleep(LOOK).await;
        }
    }

    /// Writes them under a lease, a new one where there is none yet.
    async fn write(
        &self,
        role: &str,
        name: &str,
        certificates: &[CertificateEnd],
        lease: Option<Lease>,
    ) -> Result<Lease, Error> {
        let lease = match lease {
            Some(lease) => lease,
            None => self.store.lease(LEASE).await?,
        };
        let certificates = certificates.iter().map(messages::certificate).collect();
        let message = stored::Certificates { role: role.to_owned(), name: name.to_owned(), certificates };
        let key = format!("{}{role}/{name}", prefix());
        self.store.txn(Txn::default().put_leased(key, message.encode_to_vec(), lease.id()).relaxed()).await?;
        Ok(lease)
    }
}

fn prefix() -> String {
    format!("{ROOT}certificates/")
}

fn read(entry: &Entry) -> Result<CertificateHolder, Error> {
    let stored::Certificates { role, name, certificates } = decode::<stored::Certificates>(entry)?;
    Ok(CertificateHolder {
        role,
        name,
        certificates: certificates.into_iter().map(messages::read_certificate).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::memory::MemoryStore;

    /// When the certificate ends that the test's process uses; 0 for none.
    static END: AtomicI64 = AtomicI64::new(0);

    fn in_use() -> Vec<CertificateEnd> {
        Some(END.load(Ordering::Relaxed)).filter(|at| *at > 0).map(|at| ("etcd", at).into()).into_iter().collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_lives_shows_when_its_certificates_end_and_writes_only_what_has_changed() {
        let store = MemoryStore::new(1);
        let certificates = Certificates::new(Arc::new(store.clone()));
        let keeper = certificates.clone();
        let kept = tokio::spawn(async move { keeper.keep("gateway", "one", in_use).await });
        sleep(LEASE).await;
        assert_eq!((certificates.list().await.unwrap(), store.writes().txns), (Vec::new(), 0));
        let holder = |at| CertificateHolder {
            role: "gateway".into(),
            name: "one".into(),
            certificates: vec![("etcd", at).into()],
        };
        for (at, writes) in [(7, 1), (7, 1), (8, 2)] {
            END.store(at, Ordering::Relaxed);
            sleep(LEASE * 3).await;
            assert_eq!((certificates.list().await.unwrap(), store.writes().txns), (vec![holder(at)], writes));
        }
        store.crash();
        sleep(LEASE).await;
        assert_eq!(certificates.list().await.unwrap(), [holder(8)], "what was forgotten is written again");
        kept.abort();
        sleep(LEASE * 2).await;
        assert_eq!(certificates.list().await.unwrap(), []);
    }
}
