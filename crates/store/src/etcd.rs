//! Metadata in etcd, for servers that are several processes. The oldest etcd that it is tried with is 3.4.23.

mod lineage;
mod requests;
mod watching;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{Certificate, Client, ConnectOptions, GetOptions, Identity, LeaseGrantOptions, TlsOptions, TxnOp};
use futures::StreamExt;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::Error;
use crate::lease::{Lease, LeaseId, Renewal};
use crate::metadata::{Entry, Limits, MetadataStore, Page, Range, Revision, Watch};
use crate::txn::{self, Txn, TxnOutcome};
use crate::watch::Watchers;

use lineage::Lineage;
use writing::Writer;

/// Where etcd is, and how to show who one is.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// `http://HOST:PORT` or `https://HOST:PORT` of some or all of its members.
    pub endpoints: Vec<String>,
    /// What all keys begin with, beyond what callers see. Default: nothing.
    pub namespace: String,
    /// How long one call may take. Default 5 s.
    pub deadline: Duration,
    /// Whom to trust, and how to be trusted; for `https`.
    pub tls: Option<EtcdTls>,
    /// Name and password, where etcd wants them.
    pub user: Option<(String, String)>,
}

/// The PEM texts for TLS.
#[derive(Clone)]
pub struct EtcdTls {
    /// The certificate of whoever signed those of etcd's members.
    pub ca: Vec<u8>,
    /// Our certificate and its key, where etcd wants one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The name that members' certificates are made out to, where it is not that of the endpoint.
    pub domain: Option<String>,
}

impl std::fmt::Debug for EtcdTls {
    /// Leaves the key out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdTls").field("domain", &self.domain).finish_non_exhaustive()
    }
}

impl EtcdOptions {
    /// Names the members, and leaves all else at its default.
    #[must_use]
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let endpoints = endpoints.into_iter().map(Into::into).collect();
        Self { endpoints, namespace: String::new(), deadline: Duration::from_secs(5), tls: None, user: None }
    }
}

/// A [`MetadataStore`] over etcd. Clones share the connection.
///
/// One watch of the whole namespace feeds all watches of this process, so that a follower costs etcd nothing.
#[derive(Clone)]
pub struct EtcdStore {
    inner: Arc<Inner>,
}

struct Inner {
    link: Link,
    writer: Writer,
    watchers: Watchers,
    _watching: DropGuard,
}

/// The connection.
#[derive(Clone)]
struct Link {
    client: Client,
    namespace: String,
    limits: Limits,
    lineage: Arc<Lineage>,
}

impl EtcdStore {
    /// Connects, and waits until etcd answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when none of the endpoints answers in time; [`Error::Failed`] for options that cannot be.
    pub async fn connect(options: EtcdOptions) -> Result<Self, Error> {
        let EtcdOptions { endpoints, namespace, deadline, tls, user } = options;
        let mut connect = ConnectOptions::new()
            .with_connect_timeout(deadline)
            .with_keep_alive(Duration::from_secs(3), Duration::from_secs(3))
            .with_keep_alive_while_idle(true)
            // A member that has lost the others says so, instead of being silent on its watches.
            .with_require_leader(true);
        if let Some(EtcdTls { ca, identity, domain }) = tls {
            let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(ca));
            if let Some((certificate, key)) = identity {
                tls = tls.identity(Identity::from_pem(certificate, key));
            }
            if let Some(domain) = domain {
                tls = tls.domain_name(domain);
            }
            connect = connect.with_tls(tls);
        }
        if let Some((name, password)) = user {
            connect = connect.with_user(name, password).with_auto_token_refresh(true);
        }
        let limits = Limits { deadline, ..requests::LIMITS };
        let connected = timeout(deadline, Client::connect(&endpoints, Some(connect))).await;
        let client = connected
            .map_err(|_| Error::silent("etcd", false, deadline))?
            .map_err(|error| requests::failure(&error, false))?;
        let link = Link { client, namespace, limits, lineage: Arc::default() };
        let revision = link.revision().await?;
        let watchers = Watchers::new(revision);
        let stop = CancellationToken::new();
        tokio::spawn(watching::run(link.clone(), watchers.clone(), revision, stop.clone()));
        let writer = Writer::start(link.clone());
        Ok(Self { inner: Arc::new(Inner { link, writer, watchers, _watching: stop.drop_guard() }) })
    }

    /// Returns what is cancelled when etcd has forgotten what it had told, as one does that was restored from a snapshot.
    /// From then on nothing can be written, for it might rest on what never was: the process has to be started again.
    #[must_use]
    pub fn set_back(&self) -> CancellationToken {
        self.inner.link.lineage.set_back()
    }
}

impl Link {
    /// Makes a call that may be made twice, again until it is answered or its time is over.
    async fn ask<T, F>(&self, call: impl Fn(Client) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let until = Instant::now() + self.limits.deadline;
        let mut pause = Duration::from_millis(10);
        // A member that does not answer must not take all the time: another one may be asked next.
        let patience = self.limits.deadline / 3;
        loop {
            let error = match self.once(false, patience, call(self.client.clone())).await {
                Err(error @ Error::Unavailable { .. }) => error,
                answered => return answered,
            };
            if Instant::now() + pause >= until {
                return Err(error);
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }

    /// Makes a call once.
    async fn once<T>(
        &self,
        writes: bool,
        patience: Duration,
        call: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, Error> {
        match timeout(patience, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(requests::failure(&error, writes)),
            Err(_) => Err(Error::silent("etcd", writes, patience)),
        }
    }

    /// Returns the newest revision.
    ///
    /// # Errors
    /// When etcd does not answer, or was set back.
    async fn revision(&self) -> Result<Revision, Error> {
        let asked = self.lineage.newest();
        let key = format!("{}/", self.namespace);
        let count = |mut client: Client| {
            let key = key.clone();
            async move { client.get(key, Some(GetOptions::new().with_count_only())).await }
        };
        let answer = self.ask(count).await?;
        self.lineage.answered(asked, answer.header())?;
        Ok(requests::revision(answer.header()))
    }
}

#[async_trait]
impl MetadataStore for EtcdStore {
    fn limits(&self) -> Limits {
        self.inner.link.limits
    }

    async fn read(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, Error> {
        let link = &self.inner.link;
        let mut entries = Vec::with_capacity(keys.len());
        let mut at = None;
        for keys in keys.chunks(link.limits.txn_ops) {
            let options = at.map(|revision| GetOptions::new().with_revision(revision));
            let get = |key: &String| TxnOp::get(requests::full(&link.namespace, key), options.clone());
            let gets: Vec<TxnOp> = keys.iter().map(get).collect();
            let read = |client: Client| {
                let txn = etcd_client::Txn::new().and_then(gets.clone());
                async move { client.kv_client().max_decoding_message_size(requests::ANSWER_BYTES).txn(txn).await }
            };
            let answer = link.ask(read).await?;
            // Those that do not fit one request are read as of the same instant.
            at = at.or(answer.header().map(etcd_client::ResponseHeader::revision));
            entries.extend(requests::found(&link.namespace, answer.op_responses()));
        }
        Ok(entries)
    }

    async fn range(&self, range: Range) -> Result<Page, Error> {
        let link = &self.inner.link;
        let (from, options) = requests::range(&link.namespace, &range);
        let page = |client: Client| {
            let (from, options) = (from.clone(), options.clone());
            async move {
                client.kv_client().max_decoding_message_size(requests::ANSWER_BYTES).get(from, Some(options)).await
            }
        };
        let answer = link.ask(page).await?;
        let entries = answer.kvs().iter().filter_map(|pair| requests::entry(&link.namespace, pair)).collect();
        let revision = range.at.unwrap_or_else(|| requests::revision(answer.header()));
        Ok(Page { entries, revision, more: answer.more() })
    }

    async fn commit(&self, txns: Vec<Txn>) -> Result<Vec<TxnOutcome>, Error> {
        txn::check(&txns, &self.inner.link.limits)?;
        self.inner.link.lineage.check()?;
        self.inner.writer.commit(txns).await
    }

    async fn watch(&self, prefix: &str, after: Option<Revision>) -> Result<Watch, Error> {
        Ok(self.inner.watchers.watch(prefix, after).boxed())
    }

    async fn lease(&self, ttl: Duration) -> Result<Lease, Error> {
        let link = self.inner.link.clone();
        let asked = Instant::now();
        // etcd counts in seconds, and may grant more than was asked.
        let seconds = i64::try_from(ttl.as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
        let mut client = link.client.lease_client();
        let granted = link.once(true, link.limits.deadline, client.grant(seconds, None::<LeaseGrantOptions>)).await?;
        Ok(Lease::keep(LeaseId(granted.id()), ttl, asked, Held { link, id: granted.id() }))
    }
}

/// A lease of etcd's.
struct Held {
    link: Link,
    id: i64,
}

#[async_trait]
impl Renewal for Held {
    async fn renew(&self) -> Result<bool, Error> {
        let mut client = self.link.client.lease_client();
        match client.keep_alive(self.id).await {
            Ok(_) => Ok(true),
            Err(etcd_client::Error::LeaseKeepAliveError(_)) => Ok(false),
            Err(error) => Err(requests::failure(&error, true)),
        }
    }

    async fn revoke(&self) {
        let id = self.id;
        let revoke = |client: Client| async move { client.lease_client().revoke(id).await };
        // What cannot be given back ends by itself.
        let _ = self.link.ask(revoke).await;
    }
}

#[cfg(test)]
mod tests;
