//! `vitrine up`: store, scheduler and gateway in this process, one worker as its child.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use auth::{Grant, Keys, Links, Scope, Secret, ServerSecret};
use clap::Args;
use futures::StreamExt;
use gateway::Gateway;
use ids::{ModelKey, TenantId};
use program::Batching;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use scheduler::HostedModel;
use store::{Jobs, MetadataStore, ModelState, Models, Objects, RedbStore};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::model::SMOLLM2;
use crate::progress::{self, Bar};
use crate::supervise::{self, Worker};

#[derive(Args)]
pub struct Options {
    /// Where clients connect; port 0 takes a free one.
    #[arg(long, env = "VITRINE_LISTEN", default_value = "127.0.0.1:8000", value_name = "ADDR")]
    listen: String,
    /// The folder that holds everything the server must remember.
    #[arg(long, env = "VITRINE_DATA", default_value = ".vitrine", value_name = "DIR")]
    data: PathBuf,
    /// A model to host and the folder that has its config.json, tokenizer and safetensors. May be repeated.
    #[arg(long = "model", value_name = "REPO_ID=FOLDER[,dtype=float32|bfloat16][,device=cpu|cuda|cuda:N]")]
    models: Vec<Hosted>,
    /// The torch/lib folder of an installed torch 2.11.0, whose libtorch_cuda.so computes on GPUs. Without it, the
    /// worker looks in the usual places where this machine has an NVIDIA driver.
    #[arg(long, env = "VITRINE_TORCH_LIB", value_name = "DIR")]
    torch_lib: Option<PathBuf>,
    /// Do not host SmolLM2-135M-Instruct, which is fetched on first use (93 MB) otherwise.
    #[arg(long)]
    no_default_model: bool,
    /// A key that clients may use, besides those that exist. Without it, the first start makes one and shows it.
    #[arg(long, env = "VITRINE_API_KEY", hide_env_values = true, value_name = "KEY")]
    api_key: Option<String>,
    /// How jobs of that key share forward passes, where a request does not say.
    #[arg(long, default_value_t, value_name = "shared|reproducible|exclusive")]
    batching: Batching,
    /// How long to wait for running jobs when asked to stop, in seconds.
    #[arg(long, default_value_t = 20, value_name = "SECONDS")]
    drain: u64,
    /// The worker's program, where it does not lie beside this one.
    #[arg(long, env = "VITRINE_WORKER", hide = true, value_name = "FILE")]
    worker: Option<PathBuf>,
}

/// The value of `--model`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hosted {
    key: ModelKey,
    folder: PathBuf,
    dtype: Option<String>,
    device: Option<String>,
}

impl FromStr for Hosted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (repo_id, rest) = text.split_once('=').ok_or("it must have the form REPO_ID=FOLDER")?;
        let (mut folder, mut dtype, mut device) = (rest, None, None);
        while let Some((before, option)) = folder.rsplit_once(',') {
            match option.split_once('=') {
                Some(("dtype", value)) if dtype.is_none() => dtype = Some(value.to_owned()),
                Some(("device", value)) if device.is_none() => device = Some(value.to_owned()),
                // A folder may have commas in its name.
                _ => break,
            }
            folder = before;
        }
        if repo_id.is_empty() || folder.is_empty() {
            return Err("it must have the form REPO_ID=FOLDER".into());
        }
        if let Some(dtype) = dtype.as_deref().filter(|dtype| !["float32", "bfloat16"].contains(dtype)) {
            return Err(format!("dtype must be float32 or bfloat16, not {dtype}"));
        }
        if let Some(device) = device.as_deref().filter(|device| !is_device(device)) {
            return Err(format!("device must be cpu, cuda or cuda:N, not {device}"));
        }
        let (repo_id, revision) = match repo_id.split_once('@') {
            Some((repo_id, revision)) => (repo_id, Some(revision.to_owned())),
            None => (repo_id, None),
        };
        Ok(Self { key: ModelKey::new(repo_id, revision), folder: folder.into(), dtype, device })
    }
}

fn is_device(name: &str) -> bool {
    let index = |index: &str| index.parse::<u8>().is_ok();
    matches!(name, "cpu" | "cuda") || name.strip_prefix("cuda:").is_some_and(index)
}

/// The tenant of a server that is one person's.
const TENANT: &str = "local";
/// Deaths of the worker while models load, after which something other than chance is wrong.
const DEATHS: u32 = 3;
/// How long open connections may hold up the end, once no job runs.
const LINGER: Duration = Duration::from_secs(2);

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
pub fn run(options: Options) -> Result<ExitCode> {
    let worker = options.worker.clone().map_or_else(supervise::find_worker, Ok)?;
    for (index, hosted) in options.models.iter().enumerate() {
        check_folder(hosted)?;
        if options.models[..index].iter().any(|before| before.key == hosted.key) {
            bail!("two folders are given for the model {}; name each model once", hosted.key);
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads())
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let code = runtime.block_on(serve(options, worker));
    // Blocking tasks that still run hold nothing that a crash would lose.
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

async fn serve(options: Options, worker: PathBuf) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    // The port comes first: when it is taken, nothing has been written yet.
    let listener = TcpListener::bind(&options.listen).await.map_err(|error| cannot_listen(&options.listen, &error))?;
    let address = listener.local_addr().context("cannot tell the port")?;
    if !address.ip().is_loopback() {
        progress::line("warning: listening beyond this machine without TLS; put a proxy with TLS in front");
    }
    let (store, objects) = open(&options.data)?;
    let secret = ServerSecret::load(store.as_ref()).await?;
    let keys = Keys::new(Arc::clone(&store), &secret);
    ensure_key(&keys, options.api_key.as_deref(), options.batching).await?;

    let models = tokio::select! {
        models = hosted(&options) => models?,
        () = signals.asked() => return Ok(ExitCode::SUCCESS),
    };
    let token = Secret::random()?.reveal().to_owned();
    let config = scheduler::Config { token: token.clone(), models, ..scheduler::Config::default() };
    let scheduler = scheduler::run(config, Arc::clone(&store), objects.clone()).await?;

    let (stop_worker, kill_worker) = (CancellationToken::new(), CancellationToken::new());
    let mut arguments = vec!["run".into(), "--scheduler".into(), format!("http://{}", scheduler.address()).into()];
    if let Some(folder) = &options.torch_lib {
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
    let links = Links::new(&secret);
    let mut settings = gateway::Settings::default();
    let files = open_files();
    settings.connections = settings.connections.min(files / 2);
    settings.sockets = settings.sockets.min(files / 4);
    let gateway = Gateway::new(jobs, objects, hosted_models.clone(), keys, links, settings);
    let stop_gateway = CancellationToken::new();
    let server = tokio::spawn(gateway::serve(listener, Arc::clone(&gateway), stop_gateway.clone().cancelled_owned()));

    let outcome = tokio::select! {
        outcome = until_loaded(&hosted_models, deaths) => outcome,
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
    announce(address)?;

    tokio::select! {
        () = signals.asked() => {}
        () = scheduler.failed() => {
            stop_worker.cancel();
            kill_worker.cancel();
            bail!("the scheduler failed; its own lines are above");
        }
        // It ends by itself only when the worker's program can no longer be started.
        ended = &mut supervisor => {
            scheduler.stop().await;
            return ended.context("the worker's supervisor failed")?.map(|()| ExitCode::FAILURE);
        }
    }
    gateway.drain();
    progress::line("stopping: waiting for running jobs (Ctrl-C again to stop at once)");
    let drained = tokio::select! {
        drained = scheduler.drain(Duration::from_secs(options.drain)) => drained,
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
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the server ended badly"),
        Err(_) => tracing::debug!("connections were still open at the end"),
    }
    stop_worker.cancel();
    finish(supervisor, scheduler).await?;
    Ok(ExitCode::SUCCESS)
}

/// Ends scheduler and worker, in this order: a session that ends after the scheduler is no death of a worker.
async fn finish(supervisor: tokio::task::JoinHandle<Result<()>>, scheduler: scheduler::Handle) -> Result<()> {
    if timeout(LINGER, scheduler.stop()).await.is_err() {
        tracing::warn!("the scheduler took too long to stop");
    }
    supervisor.await.context("the worker's supervisor failed")?
}

/// Opens what the server remembers. The data folder belongs to one server at a time.
fn open(data: &Path) -> Result<(Arc<dyn MetadataStore>, Objects)> {
    std::fs::create_dir_all(data).map_err(|error| match error.kind() {
        std::io::ErrorKind::StorageFull => anyhow!("no space left on the disk that holds {}", data.display()),
        std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotADirectory => {
            anyhow!("the data folder {} is a file; name a folder with --data", data.display())
        }
        _ => anyhow!("cannot make the data folder {}: {error}", data.display()),
    })?;
    // Workers get this path from another working directory, perhaps.
    let data = data.canonicalize().with_context(|| format!("cannot open the data folder {}", data.display()))?;
    let store = RedbStore::open(data.join("metadata.redb")).map_err(|error| match error {
        store::Error::InUse(_) => anyhow!(
            "another vitrine is using the data folder {}; stop it, or give this one another folder with --data",
            data.display()
        ),
        error => anyhow!(error).context(format!("cannot open the data folder {}", data.display())),
    })?;
    let objects = Objects::local(data.join("objects"))?;
    objects.check_space(0)?;
    Ok((Arc::new(store), objects))
}

/// Registers the operator's key, or makes the first one and shows it.
async fn ensure_key(keys: &Keys, given: Option<&str>, batching: Batching) -> Result<()> {
    let scopes = [Scope::Submit, Scope::ReadOwn, Scope::Operate];
    let grant = Grant { batching, ..Grant::new(TenantId::new(TENANT), &scopes) };
    if let Some(key) = given {
        keys.register(&Secret::new(key), grant).await?;
    } else if keys.none_exist().await? {
        let key = keys.create(grant).await?;
        say(&format!("API key, shown only this once: {}", key.reveal()))?;
    }
    Ok(())
}

/// Returns the models to host, the default one brought here first.
async fn hosted(options: &Options) -> Result<Vec<HostedModel>> {
    let mut models = Vec::new();
    for hosted in &options.models {
        let folder =
            hosted.folder.canonicalize().with_context(|| format!("cannot open {}", hosted.folder.display()))?;
        models.push(HostedModel {
            key: hosted.key.clone(),
            folder,
            dtype: hosted.dtype.clone(),
            device: hosted.device.clone(),
        });
    }
    let default = ModelKey::new(SMOLLM2.repo_id, None);
    if !options.no_default_model && !models.iter().any(|model| model.key == default) {
        let folder = SMOLLM2.folder(&options.data);
        let fetched = folder.clone();
        tokio::task::spawn_blocking(move || SMOLLM2.fetch(&fetched, None)).await??;
        let folder = folder.canonicalize().with_context(|| format!("cannot open {}", folder.display()))?;
        models.push(HostedModel { key: default, folder, dtype: None, device: None });
    }
    if models.is_empty() {
        bail!("no model to host: name one with --model REPO_ID=FOLDER, or leave out --no-default-model");
    }
    Ok(models)
}

fn check_folder(hosted: &Hosted) -> Result<()> {
    let folder = &hosted.folder;
    if !folder.is_dir() {
        bail!("the folder {} of model {} does not exist", folder.display(), hosted.key);
    }
    if !folder.join("config.json").is_file() {
        bail!(
            "the folder {} of model {} has no config.json; it must hold what the Hugging Face Hub has for the model",
            folder.display(),
            hosted.key
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

fn announce(address: SocketAddr) -> Result<()> {
    say(&format!("ready http://{address}"))
}

/// Writes a line to stdout, at once even into a pipe.
fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("cannot write to stdout")
}

fn cannot_listen(address: &str, error: &std::io::Error) -> anyhow::Error {
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

/// What asks the process to stop: Ctrl-C, and what service managers send.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let watch = |kind| signal(kind).context("cannot watch for signals");
        Ok(Self { interrupt: watch(SignalKind::interrupt())?, terminate: watch(SignalKind::terminate())? })
    }

    /// Resolves when either comes. Cancel safe.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_a_repository_and_a_folder() {
        let parse = |text: &str| text.parse::<Hosted>();
        let hosted = |repo: &str, revision: Option<&str>, folder: &str, dtype: Option<&str>| Hosted {
            key: ModelKey::new(repo, revision.map(str::to_owned)),
            folder: folder.into(),
            dtype: dtype.map(str::to_owned),
            device: None,
        };
        assert_eq!(parse("o/n=/m"), Ok(hosted("o/n", None, "/m", None)));
        assert_eq!(parse("o/n=/m,dtype=bfloat16"), Ok(hosted("o/n", None, "/m", Some("bfloat16"))));
        assert_eq!(parse("o/n@v1=/a=b"), Ok(hosted("o/n", Some("v1"), "/a=b", None)));
        let placed = |dtype, device: &str| Hosted { device: Some(device.into()), ..hosted("o/n", None, "/m", dtype) };
        assert_eq!(parse("o/n=/m,device=cuda:1"), Ok(placed(None, "cuda:1")));
        assert_eq!(parse("o/n=/m,device=cpu,dtype=float32"), Ok(placed(Some("float32"), "cpu")));
        assert_eq!(parse("o/n=/m,dtype=float32,device=cuda"), Ok(placed(Some("float32"), "cuda")));
        assert_eq!(parse("o/n=/a,b,dtype=float32"), Ok(hosted("o/n", None, "/a,b", Some("float32"))));
        assert_eq!(parse("o/n=/m,device=gpu").unwrap_err(), "device must be cpu, cuda or cuda:N, not gpu");
        assert_eq!(parse("o/n=/m,device=cuda:x").unwrap_err(), "device must be cpu, cuda or cuda:N, not cuda:x");
        assert_eq!(parse("o/n=/m,dtype=int8").unwrap_err(), "dtype must be float32 or bfloat16, not int8");
        for bad in ["", "o/n", "o/n=", "=/m"] {
            assert!(parse(bad).unwrap_err().contains("REPO_ID=FOLDER"), "{bad}");
        }
    }
}
