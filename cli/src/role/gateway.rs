//! `vitrine gateway`: takes requests, and tells of jobs. Any number of them serve one cluster.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ::gateway::Gateway;
use anyhow::{Context, Result, anyhow};
use auth::{Keys, Links, ServerSecret, SessionIds};
use health::Health;
use serde::{Deserialize, Serialize};
use store::{Jobs, MetadataStore, Models};
use telemetry::metrics::Registry;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Flags;
use crate::backend::{Etcd, ObjectStore, SetBack};
use crate::by_grpc::ByGrpc;
use crate::listen::{self, Listen, Public};
use crate::progress;
use crate::serving;
use crate::signals::Signals;

/// The settings of `vitrine gateway`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Names this gateway among those of the cluster. Default: the host's name and the process's number.
    pub name: Option<String>,
    /// Where clients connect; port 0 takes a free one. Default `127.0.0.1:8000`.
    pub listen: String,
    /// Where clients connect by gRPC, such as `127.0.0.1:8001`; port 0 takes a free one. Default: nowhere.
    pub grpc_listen: Option<String>,
    /// The certificate with those above it, in PEM form. Default: none, and no TLS.
    pub tls_certificate: Option<PathBuf>,
    /// The key of that certificate.
    pub tls_key: Option<PathBuf>,
    /// Whether clients beyond this machine may connect without TLS, as behind a proxy that has it. Default false.
    pub plaintext: bool,
    /// Where probes are answered, and metrics shown, by a thread of their own. Default: nowhere.
    pub health: Option<SocketAddr>,
    /// How long clients that follow a job may go on when this process is asked to stop. Default 20 seconds.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
    pub store: Etcd,
    pub objects: ObjectStore,
    pub gateway: ::gateway::Settings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: None,
            listen: "127.0.0.1:8000".into(),
            grpc_listen: None,
            tls_certificate: None,
            tls_key: None,
            plaintext: false,
            health: None,
            drain: Duration::from_secs(20),
            store: Etcd::default(),
            objects: ObjectStore::default(),
            gateway: ::gateway::Settings::default(),
        }
    }
}

impl Config {
    /// Says what cannot be as it is set.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn check(&self) -> Result<()> {
        if self.tls_certificate.is_some() != self.tls_key.is_some() {
            return Err(anyhow!("tls_certificate and tls_key belong together: set both or neither"));
        }
        self.store.check()?;
        self.objects.check()?;
        self.gateway.check().map_err(|why| anyhow!("gateway.{why}"))
    }
}

/// Runs a gateway until it is told to stop.
///
/// # Errors
/// A sentence that says why it did not start, or what broke.
pub fn run(flags: &Flags) -> Result<ExitCode> {
    let config: Config = flags.load()?;
    config.check()?;
    if flags.given.print_config {
        return serving::say(config::print(&config)?.trim_end()).map(|()| ExitCode::SUCCESS);
    }
    if flags.given.check_config {
        progress::line("the settings can be used");
        return Ok(ExitCode::SUCCESS);
    }
    serving::run(serve(config))
}

async fn serve(config: Config) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let public = Public {
        listen: &config.listen,
        certificate: config.tls_certificate.as_deref(),
        key: config.tls_key.as_deref(),
        plaintext: config.plaintext,
        speaks: listen::HTTP,
    };
    let listen = Listen::open(public).await?;
    let grpc = Listen::open_grpc(config.grpc_listen.as_deref(), public).await?;
    let url = listen.url();
    let health = Health::default();
    let metrics =
        Registry::new("gateway", &[::gateway::metrics::METRICS, store::metrics::METRICS, tls::metrics::METRICS]);
    serving::answer_probes(&health, metrics, config.health)?;
    let name = config.name.clone().unwrap_or_else(config::process_name);
    let _exporting = telemetry::identify("gateway", &name);
    let opened = tokio::select! {
        opened = open(&config) => opened?,
        () = signals.asked() => return Ok(ExitCode::SUCCESS),
    };
    let (store, set_back, objects, secret) = opened;
    tracing::info!(name, "this gateway serves");
    tokio::spawn(serving::tell_certificates(Arc::clone(&store), "gateway", name.clone()));
    let gateway = Gateway::new(
        Jobs::new(Arc::clone(&store)),
        objects,
        Models::new(Arc::clone(&store)),
        Keys::new(store, &secret),
        Links::new(&secret),
        SessionIds::new(&secret, &name),
        serving::within_limits(&config.gateway, &listen),
    );
    let Listen { listener, tls, .. } = listen;
    if let Some(tls) = tls.clone() {
        tokio::spawn(async move { tls.follow().await });
    }
    tokio::spawn(health.pulse("gateway"));
    tokio::spawn(serving::tell_ready(Arc::clone(&gateway), health.clone()));
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let mut server = tokio::spawn(::gateway::serve(listener, tls, Arc::clone(&gateway), stopped));
    let mut by_grpc = ByGrpc::serve(grpc, &gateway, &stop)?;
    health.started();
    serving::say(&format!("ready {url}"))?;
    tokio::select! {
        () = signals.asked() => {}
        ended = &mut server => return Err(serving::broken(ended)),
        ended = by_grpc.ended() => return Err(serving::broken(ended)),
        error = set_back.told() => return Err(error),
    }
    gateway.drain();
    progress::line("stopping: clients may hear of their jobs for a while (Ctrl-C again to stop at once)");
    tokio::select! {
        _ = timeout(config.drain, gateway.followed()) => {}
        () = signals.asked() => {}
    }
    serving::close(&gateway, stop, server).await;
    by_grpc.close().await;
    Ok(ExitCode::SUCCESS)
}

/// Opens what the cluster remembers, however long that takes.
async fn open(config: &Config) -> Result<(Arc<dyn MetadataStore>, SetBack, store::Objects, ServerSecret)> {
    let (store, set_back) = config.store.open().await?;
    let objects = config.objects.open(store.as_ref())?;
    let secret = ServerSecret::load(store.as_ref()).await.context("cannot read the cluster's secret")?;
    Ok((store, set_back, objects, secret))
}
