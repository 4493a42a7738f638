//! `vitrine up`: store, scheduler and gateway in this process, one worker as its child.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use auth::{Grant, Keys, Links, Scope, Secret, ServerSecret, SessionIds};
use futures::StreamExt;
use gateway::Gateway;
use health::Health;
use ids::TenantId;
use program::Batching;
use store::{Jobs, ModelState, Models};
use telemetry::metrics::Registry;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::by_grpc::ByGrpc;
use crate::config::{Config, Flags};
use crate::home::Home;
use crate::listen::{self, Listen, Public};
use crate::progress::{self, Bar};
use crate::serving::{self, LINGER};
use crate::signals::Signals;
use crate::supervise::{self, Worker};
use crate::{data, hosted};

/// The tenant of a server that is one person's.
const TENANT: &str = "local";
/// The name of the only gateway.
const GATEWAY: &str = "local";
/// Deaths of the worker while models load, after which something other than chance is wrong.
const DEATHS: u32 = 3;
/// Runs the server until it is told to stop.
///
/// # Errors
/// A sentence that says why it did not start, or what broke.
pub fn run(flags: &Flags) -> Result<ExitCode> {
    let config = flags.load()?;
    if flags.given.print_config {
        return serving::say(config.print()?.trim_end()).map(|()| ExitCode::SUCCESS);
    }
    let worker = config.worker.clone().map_or_else(supervise::find_worker, Ok)?;
    hosted::check(&config.models)?;
    if flags.given.check_config {
        progress::line("the settings can be used");
        return Ok(ExitCode::SUCCESS);
    }
    serving::run(serve(config, worker))
}

async fn serve(config: Config, worker: PathBuf) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    // The port comes first: when it is taken, nothing has been written yet.
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
    let crates =
        [gateway::metrics::METRICS, scheduler::metrics::METRICS, store::metrics::METRICS, tls::metrics::METRICS];
    serving::answer_probes(&health, Registry::new("up", &crates), config.health)?;
    let _exporting = telemetry::identify("up", GATEWAY);
    let (store, objects) = data::open(&config.data)?;
    let secret = ServerSecret::load(store.as_ref()).await?;
    let keys = Keys::new(Arc::clone(&store), &secret);
    ensure_key(&keys, config.api_key.as_deref(), config.batching).await?;

    let models = tokio::select! {
        models = hosted::models(&config) => models?,
        () = signals.asked() => return Ok(ExitCode::SUCCESS),
    };
    let token = Secret::random()?.reveal().to_owned();
    // The scheduler hears workers and is heard by them whatever the gateway is busy with.
    let home = Home::new("scheduler", serving::STACK_BYTES)?;
    home.spawn(health.pulse("scheduler"));
    let scheduler = home
        .run({
            let config = scheduler::Config { token: token.clone(), models, ..config.scheduler.config() };
            let (store, objects) = (Arc::clone(&store), objects.clone());
            async move { scheduler::run(config, store, objects).await }
        })
        .await??;

    let (stop_worker, kill_worker) = (CancellationToken::new(), CancellationToken::new());
    let mut arguments = vec!["run".into(), "--scheduler".into(), format!("http://{}", scheduler.address()).into()];
    if let Some(folder) = &config.torch_lib {
        arguments.extend(["--torch-lib".into(), folder.into()]);
    }
    if let Some(collectives) = &config.collectives {
        arguments.extend(["--collectives".into(), collectives.into()]);
    }
    if let Some(bytes) = &config.model_memory {
        arguments.extend(["--model-memory".into(), bytes.into()]);
    }
    let (died, mut gone) = tokio::sync::mpsc::unbounded_channel();
    let health_of_worker = config.worker_health;
    let worker = Worker {
        program: worker,
        arguments,
        token,
        health: health_of_worker,
        deaths: tokio::sync::watch::Sender::new(0),
        died,
    };
    let departures = scheduler.departures();
    tokio::spawn(async move {
        while let Some(instance) = gone.recv().await {
            departures.gone(instance).await;
        }
    });
    let deaths = worker.deaths.subscribe();
    let mut supervisor = tokio::spawn({
        let (stop, kill) = (stop_worker.clone(), kill_worker.clone());
        async move { worker.supervise(stop, kill).await }
    });

    let hosted_models = Models::new(Arc::clone(&store));
    let jobs = Jobs::new(Arc::clone(&store));
    let (links, sessions) = (Links::new(&secret), SessionIds::new(&secret, GATEWAY));
    let mut settings = serving::within_limits(&config.gateway, &listen);
    settings.upload_folder.get_or_insert_with(|| config.data.clone());
    let gateway = Gateway::new(jobs, objects, hosted_models.clone(), keys, links, sessions, settings);
    let Listen { listener, tls, .. } = listen;
    if let Some(tls) = tls.clone() {
        tokio::spawn(async move { tls.follow().await });
    }
    tokio::spawn(health.pulse("gateway"));
    tokio::spawn(serving::tell_ready(Arc::clone(&gateway), health.clone()));
    tokio::spawn(serving::tell_certificates(Arc::clone(&store), "gateway", GATEWAY.into()));
    let stop_gateway = CancellationToken::new();
    let stopped = stop_gateway.clone().cancelled_owned();
    let mut server = tokio::spawn(gateway::serve(listener, tls, Arc::clone(&gateway), stopped));
    let mut by_grpc = ByGrpc::serve(grpc, &gateway, &stop_gateway)?;

    let outcome = tokio::select! {
        outcome = until_loaded(&hosted_models, deaths) => outcome,
        ended = &mut server => Err(serving::broken(ended)),
        () = scheduler.failed() => Err(scheduler_failed()),
        () = signals.asked() => {
            stop_worker.cancel();
            kill_worker.cancel();
            return finish(supervisor, scheduler).await.map(|()| ExitCode::SUCCESS);
        }
    };
    if let Err(error) = outcome {
        stop_worker.cancel();
        finish(supervisor, scheduler).await?;
        return Err(error);
    }
    health.started();
    serving::say(&format!("ready {url} and its pages at {url}/admin"))?;

    // What ends by itself was needed: without it, the others would take jobs that nobody runs or answers.
    let ended = tokio::select! {
        () = signals.asked() => None,
        ended = &mut server => Some(serving::broken(ended)),
        ended = by_grpc.ended() => Some(serving::broken(ended)),
        () = scheduler.failed() => Some(scheduler_failed()),
        // It ends by itself only when the worker's program can no longer be started.
        ended = &mut supervisor => {
            scheduler.stop().await;
            return ended.context("the worker's supervisor failed")?.map(|()| ExitCode::FAILURE);
        }
    };
    if let Some(error) = ended {
        stop_worker.cancel();
        finish(supervisor, scheduler).await?;
        return Err(error);
    }
    gateway.drain();
    progress::line("stopping: waiting for running jobs (Ctrl-C again to stop at once)");
    let drained = tokio::select! {
        drained = scheduler.drain(config.drain) => drained,
        () = signals.asked() => false,
    };
    if !drained {
        progress::line("stopped before all jobs had ended; they run again at the next start");
        kill_worker.cancel();
    }
    serving::close(&gateway, stop_gateway, server).await;
    by_grpc.close().await;
    stop_worker.cancel();
    finish(supervisor, scheduler).await?;
    Ok(ExitCode::SUCCESS)
}

fn scheduler_failed() -> anyhow::Error {
    anyhow::anyhow!("the scheduler failed, which is a fault of this program; jobs that were accepted are kept")
}

/// Ends scheduler and worker, in this order: a session that ends after the scheduler is no death of a worker.
async fn finish(supervisor: tokio::task::JoinHandle<Result<()>>, scheduler: scheduler::Handle) -> Result<()> {
    if timeout(LINGER, scheduler.stop()).await.is_err() {
        tracing::warn!("the scheduler took too long to stop");
    }
    supervisor.await.context("the worker's supervisor failed")?
}

/// Registers the operator's key, or makes the first one and shows it.
async fn ensure_key(keys: &Keys, given: Option<&str>, batching: Batching) -> Result<()> {
    // Who can read the data folder is the operator, and may make keys for others.
    let grant = Grant { batching, ..Grant::new(TenantId::new(TENANT), &Scope::ALL) };
    if let Some(key) = given {
        keys.register(&Secret::new(key), grant).await?;
    } else if keys.none_exist().await? {
        // Shown first: a key that nobody has seen would be the only one, and no other would ever be made.
        let key = Keys::make()?;
        serving::say(&format!("API key, shown only this once: {}", key.reveal()))?;
        keys.register(&key, grant).await?;
        progress::line(
            "this key may administer the server: with it in VITRINE_API_KEY, `vitrine tenant create NAME` and `vitrine key create \
             --tenant NAME` make a key for somebody else",
        );
    }
    Ok(())
}

/// Waits until every model can be used, and shows how far they are.
async fn until_loaded(models: &Models, mut deaths: tokio::sync::watch::Receiver<u32>) -> Result<()> {
    let mut changes = models.watch().await?;
    let mut bar = Bar::new("loading models");
    loop {
        let records = models.list().await?;
        let mut loaded = 0.0;
        for record in &records {
            loaded += match &record.state {
                ModelState::Waiting => 0.0,
                // What finds no room is loaded when somebody asks for it.
                ModelState::Cold => 1.0,
                ModelState::Loading { fraction } => f64::from(*fraction),
                ModelState::Ready => 1.0,
                ModelState::Failed(reason) => bail!("cannot load model {}: {reason}", record.key),
            };
        }
        if records.iter().all(|record| matches!(record.state, ModelState::Ready | ModelState::Cold)) {
            drop(bar);
            for record in &records {
                progress::line(&match record.state {
                    ModelState::Ready => format!("loaded {}", record.key),
                    _ => format!("not loaded {}: it is when somebody asks for it", record.key),
                });
            }
            return Ok(());
        }
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        bar.update(loaded / records.len().max(1) as f64);
        // Cancel safe: both only wait for news, and everything is read again.
        tokio::select! {
            _ = changes.next() => {}
            changed = deaths.changed() => {
                if changed.is_err() {
                    bail!("the worker could not be started");
                }
                if *deaths.borrow() >= DEATHS {
                    bail!("the worker died {DEATHS} times while it loaded the models; its own lines are above");
                }
            }
        }
    }
}
