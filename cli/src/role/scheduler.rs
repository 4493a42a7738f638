//! `vitrine scheduler`: decides which worker runs which job. Of several, one leads and the others stand by.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ::scheduler::{Candidate, HostedModel, Role, SystemClock};
use anyhow::{Context, Result, bail};
use health::Health;
use serde::{Deserialize, Serialize};
use telemetry::metrics::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Flags;
use crate::backend::{Etcd, ObjectStore, secret};
use crate::config::Scheduler;
use crate::hosted::{self, Hosted};
use crate::signals::Signals;
use crate::{progress, serving};

/// How often it says whether it is of use.
const READY: Duration = Duration::from_secs(1);

/// The settings of `vitrine scheduler`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where workers dial in. Default `127.0.0.1:7000`.
    pub listen: String,
    /// What workers dial, as those that dial another scheduler are told: one of the addresses that they were given.
    /// Default: `listen`.
    pub advertise: Option<String>,
    /// Whether workers beyond this machine may connect without TLS. Default false.
    pub plaintext: bool,
    /// Where probes are answered, and metrics shown, by a thread of their own. Default: nowhere.
    pub health: Option<SocketAddr>,
    /// The file with the token that workers must show.
    pub token_file: PathBuf,
    /// Models to host, as `REPO_ID=FOLDER[,dtype=float32|bfloat16|int8|nf4][,device=cpu|cuda|cuda:N][,ranks=N][,residency=stream]`; workers and gateways
    /// find the folder under the same name. All schedulers of a cluster must name the same. Others are hosted, and these
    /// changed, while the cluster runs (`vitrine model deploy`).
    pub models: Vec<Hosted>,
    /// Certificates, for workers that dial by TLS and must show theirs. Default: none, and no TLS.
    pub tls: Option<tls::Certificates>,
    pub store: Etcd,
    pub objects: ObjectStore,
    pub scheduler: Scheduler,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:7000".into(),
            advertise: None,
            plaintext: false,
            health: None,
            token_file: "worker.token".into(),
            models: Vec::new(),
            tls: None,
            store: Etcd::default(),
            objects: ObjectStore::default(),
            scheduler: Scheduler::default(),
        }
    }
}

impl Config {
    fn check(&self) -> Result<()> {
        hosted::check_names(&self.models)?;
        for hosted in &self.models {
            if !hosted.folder.is_absolute() {
                bail!(
                    "models has {}: the folder must be absolute, since workers look for it under the same name",
                    hosted
                );
            }
        }
        self.store.check()?;
        self.objects.check()?;
        self.scheduler.check()
    }
}

/// Runs a scheduler until it is told to stop.
///
/// # Errors
/// A sentence that says why it did not start, or what broke.
pub fn run(flags: &Flags) -> Result<ExitCode> {
    let config: Config = flags.load()?;
    config.check()?;
    if flags.given.print_config {
        return serving::say(config::print(&config)?.trim_end()).map(|()| ExitCode::SUCCESS);
    }
    let token = secret(&config.token_file).context("token_file is needed: what workers must show")?;
    if flags.given.check_config {
        progress::line("the settings can be used");
        return Ok(ExitCode::SUCCESS);
    }
    serving::run(serve(config, token))
}

async fn serve(config: Config, token: String) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let listener = TcpListener::bind(&config.listen).await;
    let listener = listener.with_context(|| format!("cannot listen for workers on {}", config.listen))?;
    let address = listener.local_addr().context("cannot tell the port")?;
    if config.tls.is_none() && !address.ip().is_loopback() && !config.plaintext {
        bail!(
            "will not listen on {address}, beyond this machine, without TLS: whoever dials could be anybody. Set [tls] \
             (`vitrine cert dev` makes certificates to try it with), or plaintext = true where the network is trusted"
        );
    }
    let health = Health::default();
    let metrics =
        Registry::new("scheduler", &[::scheduler::metrics::METRICS, store::metrics::METRICS, tls::metrics::METRICS]);
    serving::answer_probes(&health, metrics, config.health)?;
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let advertised = config.advertise.clone().unwrap_or_else(|| format!("{scheme}://{address}"));
    let _exporting = telemetry::identify("scheduler", &advertised);
    let (store, set_back) = tokio::select! {
        store = config.store.open() => store?,
        () = signals.asked() => return Ok(ExitCode::SUCCESS),
    };
    let objects = config.objects.open(store.as_ref())?;
    tokio::spawn(serving::tell_certificates(Arc::clone(&store), "scheduler", advertised.clone()));
    let models = config.models.iter().cloned().map(|hosted| {
        let Hosted { key, folder, dtype, device, ranks, residency } = hosted;
        HostedModel { key, folder, dtype, device, ranks, residency }
    });
    let candidate = Candidate {
        config: ::scheduler::Config { token, models: models.collect(), ..config.scheduler.config() },
        store,
        objects,
        clock: Arc::new(SystemClock),
        address: advertised.clone(),
    };
    let (role, followed) = watch::channel(Role::Follows(None));
    let stop = CancellationToken::new();
    let mut standing = match &config.tls {
        Some(certificates) => {
            let server = tls::Server::mutual(certificates.files(), b"h2", &[tls::Role::Worker])?;
            let renewing = server.clone();
            tokio::spawn(async move { renewing.follow().await });
            tokio::spawn(candidate.serve(server.incoming(listener), role, stop.clone()))
        }
        None => {
            let incoming = ::scheduler::plaintext(listener);
            tokio::spawn(candidate.serve(incoming, role, stop.clone()))
        }
    };
    tokio::spawn(health.pulse("scheduler"));
    tokio::spawn(tell_ready(followed, health.clone()));
    health.started();
    serving::say(&format!("ready {advertised}"))?;
    let ended = tokio::select! {
        () = signals.asked() => None,
        ended = &mut standing => Some(ended),
        // What it would write now might rest on what never was.
        error = set_back.told() => return Err(error),
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            // Another leads at once; what workers have goes on.
            stop.cancel();
            standing.await
        }
    };
    ended.context("the scheduler failed")??;
    Ok(ExitCode::SUCCESS)
}

/// Says again and again whether it leads, or stands by for one that does.
async fn tell_ready(role: watch::Receiver<Role>, health: Health) {
    loop {
        let leaderless = *role.borrow() == Role::Follows(None);
        health.ready(if leaderless { Err("no scheduler leads".into()) } else { Ok(()) });
        sleep(READY).await;
    }
}
