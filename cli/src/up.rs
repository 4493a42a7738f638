//! `vitrine up`: store, scheduler and gateway in this process, one worker as its child.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use auth::{Grant, Keys, Links, Scope, Secret, ServerSecret, SessionIds};
use futures::StreamExt;
use gateway::Gateway;
use health::Health;
use ids::TenantId;
use program::Batching;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use store::{Jobs, ModelState, Models};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Flags};
use crate::home::Home;
use crate::listen::Listen;
use crate::progress::{self, Bar};
use crate::signals::Signals;
use crate::supervise::{self, Worker};
use crate::{data, hosted};

/// The tenant of a server that is one person's.
const TENANT: &str = "local";
/// The name of the only gateway.
const GATEWAY: &str = "local";
/// Deaths of the worker while models load, after which something other than chance is wrong.
const DEATHS: u32 = 3;
/// How long open connections may hold up the end, once no job runs.
const LINGER: Duration = Duration::from_secs(2);

/// How often the gateway says whether it takes jobs.
const READY: Duration = Duration::from_secs(1);

/// Stack of each thread, enough for parsing whatever a request may hold; what is not touched takes no memory.
const STACK_BYTES: usize = 32 << 20;

/// Returns how many threads serve sockets. One serves thousands of small requests a second; more would, for as many,
/// wake each other up and take cores from the model.
fn threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (cores / 4).clamp(1, 8)
}

/// Runs the server until it is told to stop.
///
/// # Errors
/// A sentence that says why it did not start, or what broke.
pub fn run(flags: &Flags) -> Result<ExitCode> {
    let config = flags.load()?;
    if flags.print_config {
        return say(config.print()?.trim_end()).map(|()| ExitCode::SUCCESS);
    }
    let worker = config.worker.clone().map_or_else(supervise::find_worker, Ok)?;
    hosted::check(&config.models)?;
    if flags.check_config {
        progress::line("the settings can be used");
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads())
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let code = runtime.block_on(serve(config, worker));
    // Blocking tasks that still run hold nothing that a crash would lose.
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

async fn serve(config: Config, worker: PathBuf) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    // The port comes first: when it is taken, nothing has been written yet.
    let listen = Listen::open(&config).await?;
    let url = listen.url();
    let health = Health::default();
    if let Some(address) = config.health {
        let served = health.serve(address).with_context(|| format!("cannot answer probes on {address}"))?;
        tracing::info!(address = %served, "probes are answered");
    }
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
    let home = Home::new("scheduler", STACK_BYTES)?;
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
    let (died, mut gone) = tokio::sync::mpsc::unbounded_channel();
    let worker = Worker { program: worker, arguments, token, deaths: tokio::sync::watch::Sender::new(0), died };
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
    let settings = settings(&config, &listen);
    let gateway = Gateway::new(jobs, objects, hosted_models.clone(), keys, links, sessions, settings);
    let Listen { listener, tls, .. } = listen;
    if let Some(tls) = tls.clone() {
        tokio::spawn(async move { tls.follow().await });
    }
    tokio::spawn(health.pulse("gateway"));
    tokio::spawn(tell_ready(Arc::clone(&gateway), health.clone()));
    let stop_gateway = CancellationToken::new();
    let stopped = stop_gateway.clone().cancelled_owned();
    let mut server = tokio::spawn(gateway::serve(listener, tls, Arc::clone(&gateway), stopped));

    let outcome = tokio::select! {
        outcome = until_loaded(&hosted_models, deaths) => outcome,
        ended = &mut server => Err(broken(ended)),
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
    say(&format!("ready {url}"))?;

    // What ends by itself was needed: without it, the others would take jobs that nobody runs or answers.
    let ended = tokio::select! {
        () = signals.asked() => None,
        ended = &mut server => Some(broken(ended)),
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
    // Clients that wait for a result get it before their connections end.
    if timeout(LINGER, gateway.close()).await.is_err() {
        tracing::warn!("some clients did not read their last status");
    }
    stop_gateway.cancel();
    match timeout(LINGER, server).await {
        Ok(Ok(Ok(()))) => {}
        Ok(ended) => tracing::warn!(error = %broken(ended), "the server ended badly"),
        Err(_) => tracing::debug!("connections were still open at the end"),
    }
    stop_worker.cancel();
    finish(supervisor, scheduler).await?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the gateway's settings, within what this process may open.
fn settings(config: &Config, listen: &Listen) -> gateway::Settings {
    let mut settings = config.gateway.clone();
    settings.https |= listen.tls.is_some();
    let files = open_files();
    settings.connections = settings.connections.min(files / 2);
    settings.sockets = settings.sockets.min(files / 4);
    // A share stays a share.
    settings.sockets_per_tenant = settings.sockets_per_tenant.min((settings.sockets / 4).max(1));
    settings.sockets_keyless = settings.sockets_keyless.min((files / 16).max(1));
    settings
}

/// Says again and again whether jobs are taken.
async fn tell_ready(gateway: Arc<Gateway>, health: Health) {
    loop {
        health.ready(gateway.ready().await.map_err(|error| error.to_string()));
        tokio::time::sleep(READY).await;
    }
}

/// Says why a gateway is no longer there that nobody stopped.
fn broken(ended: Result<Result<(), gateway::Error>, tokio::task::JoinError>) -> anyhow::Error {
    let error = match ended {
        Ok(Ok(())) => anyhow::anyhow!("it ended by itself"),
        Ok(Err(gateway::Error::Internal(source))) => anyhow::anyhow!(source),
        Ok(Err(error)) => error.into(),
        Err(error) => error.into(),
    };
    error.context("the gateway failed, which is a fault of this program; jobs that were accepted are kept")
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
    let scopes = [Scope::Submit, Scope::ReadOwn, Scope::Operate];
    let grant = Grant { batching, ..Grant::new(TenantId::new(TENANT), &scopes) };
    if let Some(key) = given {
        keys.register(&Secret::new(key), grant).await?;
    } else if keys.none_exist().await? {
        // Shown first: a key that nobody has seen would be the only one, and no other would ever be made.
        let key = Keys::make()?;
        say(&format!("API key, shown only this once: {}", key.reveal()))?;
        keys.register(&key, grant).await?;
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
                ModelState::Loading { fraction } => f64::from(*fraction),
                ModelState::Ready => 1.0,
                ModelState::Failed(reason) => bail!("cannot load model {}: {reason}", record.key),
            };
        }
        if records.iter().all(|record| record.state == ModelState::Ready) {
            drop(bar);
            for record in &records {
                progress::line(&format!("loaded {}", record.key));
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

/// Returns how many files this process may have open, as many as the system lets it choose.
fn open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let raised = setrlimit(Resource::Nofile, most).is_ok();
    // Without a limit there is no number.
    let open = if raised { limit.maximum } else { limit.current };
    open.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

/// Writes a line to stdout, at once even into a pipe.
fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("cannot write to stdout")
}
