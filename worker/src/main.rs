//! `vitrine-worker`: the one program that links libtorch.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use engine::{Engine, Interleaver, Settings};
use ids::InstanceId;
use models::LoadError;
use models::cuda::Search;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use worker::{Config, Load, Loader, NotLoaded};

use crate::device::{Devices, Watched};
use crate::room::{Room, SHARED_TOKENS};

mod device;
mod room;

/// Runs researchers' programs on language models, for a Vitrine scheduler.
#[derive(Parser)]
#[command(name = "vitrine-worker", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// What to log: a level, or a filter such as `info,worker=debug`.
    #[arg(long, global = true, env = "VITRINE_LOG", default_value = "warn", value_name = "FILTER")]
    log: String,
}

#[derive(Subcommand)]
enum Command {
    /// Dials a scheduler and works for it. Ends when its standard input is a pipe and that closes.
    Run(Box<Run>),
    /// Converts a GGUF file of the Llama family to a folder as Hugging Face has it.
    ImportGguf { gguf: PathBuf, folder: PathBuf },
}

#[derive(Args)]
struct Run {
    /// Address of a scheduler, for example `http://127.0.0.1:7000`. May be repeated: the worker finds out which one leads.
    #[arg(long = "scheduler", value_name = "URL", required = true)]
    schedulers: Vec<String>,
    /// File with the token that the scheduler asks for; the environment variable `VITRINE_WORKER_TOKEN` serves too.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[arg(long, env = "VITRINE_WORKER_TOKEN", hide = true, hide_env_values = true)]
    token: Option<String>,
    /// Name of this worker; no two of a cluster may share one. By default made of the host and the process.
    #[arg(long, value_name = "NAME")]
    worker_id: Option<String>,
    /// Name of this process, for whoever started it and sees it end. By default one that nobody else knows.
    #[arg(long, hide = true, value_name = "NAME")]
    instance: Option<String>,
    /// Jobs to take at once.
    #[arg(long, default_value_t = 32, value_name = "COUNT")]
    slots: u32,
    #[command(flatten)]
    room: Room,
    /// The torch/lib folder of an installed torch 2.11.0, whose libtorch_cuda.so computes on GPUs. Without it, one is
    /// looked for in the usual places where this machine has an NVIDIA driver.
    #[arg(long, env = "VITRINE_TORCH_LIB", value_name = "DIR")]
    torch_lib: Option<PathBuf>,
    #[arg(long, env = "VIRTUAL_ENV", hide = true)]
    virtual_env: Option<PathBuf>,
    #[arg(long, env = "CONDA_PREFIX", hide = true)]
    conda_prefix: Option<PathBuf>,
    #[arg(long, env = "HOME", hide = true)]
    home: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&arguments.log))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    lines.init();
    let done = match arguments.command {
        Command::Run(run) => run.run(),
        Command::ImportGguf { gguf, folder } => import(&gguf, &folder),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if this fails.
            let _ = writeln!(std::io::stderr(), "vitrine-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Run {
    fn run(self) -> Result<()> {
        let token = match (&self.token_file, self.token) {
            (Some(file), _) => {
                std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?.trim().into()
            }
            (None, Some(token)) => token,
            (None, None) => bail!("a token is needed: --token-file FILE, or VITRINE_WORKER_TOKEN"),
        };
        // Before there are other threads, and tensors.
        let usual = ["/usr/local", "/usr", "/opt/conda"].map(PathBuf::from);
        let home = self.home.map(|home| home.join(".local"));
        let pythons = self.virtual_env.into_iter().chain(self.conda_prefix).chain(home).chain(usual).collect();
        let devices = Devices::find(&Search { folder: self.torch_lib, pythons })?;
        let worker_id = self.worker_id.unwrap_or_else(|| {
            let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
            format!("{host}-{}", std::process::id())
        });
        end_with_stdin().context("cannot watch standard input")?;
        let mut config = Config { slots: self.slots, ..Config::new(self.schedulers, token, worker_id) };
        if let Some(instance) = self.instance {
            config.instance = InstanceId::new(instance);
        }
        let (room, kept) = (self.room.clone(), self.room.budget());
        let loader: Loader = Arc::new(move |asked, progress| {
            let settings = |on_cpu| room.settings(&kept, on_cpu);
            load(asked, &devices, &settings, progress)
        });
        // One thread: it only passes on what the model's thread takes and gives.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ended = runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate())?;
            let leave = config.leave.clone();
            tokio::spawn(async move {
                // What runs here is to run elsewhere at once.
                if terminate.recv().await.is_some() {
                    leave.cancel();
                }
            });
            Ok::<_, anyhow::Error>(worker::run(config, loader).await?)
        });
        // A model's thread may never come back; nobody waits for it.
        runtime.shutdown_background();
        ended
    }
}

/// Loads a model and puts an engine over it.
fn load(
    load: &Load,
    devices: &Devices,
    settings: &dyn Fn(bool) -> Settings,
    progress: &mut dyn FnMut(f32),
) -> Result<Box<dyn Engine>, NotLoaded> {
    let device = devices.choose(load.device.as_deref())?;
    let dtype = load.dtype.as_deref().map(str::parse).transpose().map_err(not_loaded)?;
    let mut fraction = |done: u64, all: u64| progress(done as f32 / all.max(1) as f32);
    let model = models::load(&load.folder, dtype, device, &mut fraction).map_err(not_loaded)?;
    let on_cpu = device == models::Device::CPU;
    if let Err(raise) = model.warm_up(if on_cpu { SHARED_TOKENS } else { SHORT_TOKENS }) {
        tracing::warn!(model = %load.key, %device, "the model could not be warmed up: {}", raise.message());
    }
    tracing::info!(model = %load.key, %device, "the model is loaded");
    let engine = Interleaver::with_settings(*model, settings(on_cpu));
    Ok(Box::new(Watched { engine, device }))
}

/// Says whether it is of any use to try again: a file may be mended, but what this version cannot do it never will.
fn not_loaded(error: LoadError) -> NotLoaded {
    let hopeless = matches!(error, LoadError::Unsupported { .. } | LoadError::Config { .. } | LoadError::DType(_));
    NotLoaded { why: error.to_string(), hopeless }
}

/// Tokens of a pass on a GPU, up to which beginning a kernel takes longer than running it.
const SHORT_TOKENS: i64 = 512;

/// Ends the process when whoever holds the other end of the standard input's pipe is gone, however it went.
fn end_with_stdin() -> Result<()> {
    let stdin = std::io::stdin();
    if rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&stdin)?.st_mode) != rustix::fs::FileType::Fifo {
        return Ok(());
    }
    std::thread::Builder::new().name("stdin".into()).spawn(move || {
        let mut ignored = [0; 256];
        while stdin.lock().read(&mut ignored).is_ok_and(|bytes| bytes > 0) {}
        std::process::exit(0)
    })?;
    Ok(())
}

fn import(gguf: &Path, folder: &Path) -> Result<()> {
    let mut stderr = std::io::stderr();
    let terminal = stderr.is_terminal();
    let mut told = 0;
    let mut progress = |done: usize, all: usize| {
        let percent = 100 * done / all.max(1);
        if percent >= told + 10 || (terminal && percent > told) {
            told = percent;
            let end = if terminal && percent < 100 { '\r' } else { '\n' };
            // Progress that cannot be shown is not worth failing for.
            let _ = write!(stderr, "converting {percent:3}%{end}");
        }
    };
    models::smollm2::import(gguf, folder, &mut progress)?;
    Ok(())
}
