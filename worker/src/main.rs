//! `vitrine-worker`: the one program that links libtorch.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use engine::{Interleaver, Pool};
use health::Health;
use ids::{InstanceId, ModelKey};
use kernels::Look;
use models::cuda::Search;
use models::{DType, Keeping, LoadError};
use telemetry::metrics::Registry;
use tokio::signal::unix::{SignalKind, signal};
use worker::{Config, Load, Loaded, Loader, NotLoaded, Place};

use crate::device::{Devices, Watched};
use crate::measured::{Lies, Weights};
use crate::ranks::{Followers, Host, NoRoom, OnLoss, Reach};
use crate::rooms::Rooms;
use crate::settings::{Collectives, Flags, SHARED_TOKENS};

mod device;
mod measured;
mod memory;
mod ranks;
mod rooms;
mod settings;

/// Runs researchers' programs on language models, for a Vitrine scheduler.
#[derive(Parser)]
#[command(name = "vitrine-worker", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    telemetry: telemetry::Options,
}

#[derive(Subcommand)]
enum Command {
    /// Dials a scheduler and works for it. Ends when its standard input is a pipe and that closes.
    Run(Box<Flags>),
    /// Holds pieces of a model for the process that started it, and ends with that.
    #[command(hide = true)]
    Rank(ranks::Place),
    /// Converts a GGUF file of the Llama or the Qwen 2 family to a folder as Hugging Face has it.
    ImportGguf { gguf: PathBuf, folder: PathBuf },
    /// Says whether a model folder can be served, what that would take, and what is in the way.
    Check {
        folder: PathBuf,
        /// Says it as a JSON object.
        #[arg(long)]
        json: bool,
    },
}

fn main() {
    // Threads of models may compute on.
    libtorch::end_process(i32::from(!succeeds()))
}

/// Does what is asked for. Returns whether that went well.
fn succeeds() -> bool {
    let arguments = Arguments::parse();
    telemetry::start(&arguments.telemetry);
    let done = match arguments.command {
        Command::Run(flags) => failpoints::arm().map_err(anyhow::Error::msg).and_then(|()| run(&flags)).map(|()| true),
        Command::Rank(place) => end_with_stdin().and_then(|()| place.hold()).map(|()| true),
        Command::ImportGguf { gguf, folder } => import(&gguf, &folder).map(|()| true),
        Command::Check { folder, json } => check(&folder, json),
    };
    done.unwrap_or_else(|error| {
        // Nobody is left to tell if this fails.
        let _ = writeln!(std::io::stderr(), "vitrine-worker: {error:#}");
        false
    })
}

/// Works for a scheduler until it is told to stop.
fn run(flags: &Flags) -> Result<()> {
    let settings = flags.load()?;
    if flags.given.print_config {
        // Nobody is left to tell if this fails.
        return Ok(write!(std::io::stdout(), "{}", config::print(&settings)?)?);
    }
    let token = settings.token(flags.token.clone())?;
    if flags.given.check_config {
        return Ok(writeln!(std::io::stderr(), "the settings can be used")?);
    }
    // Before there are other threads, and tensors.
    let usual = ["/usr/local", "/usr", "/opt/conda"].map(PathBuf::from);
    let home = flags.home.as_ref().map(|home| home.join(".local"));
    let own = flags.virtual_env.iter().chain(&flags.conda_prefix).cloned();
    let pythons = own.chain(home).chain(usual).collect();
    let devices = Devices::find(&Search { folder: settings.torch_lib.clone(), pythons })?;
    end_with_stdin().context("cannot watch standard input")?;
    let health = Health::default();
    health.show(Registry::new("worker", &[worker::metrics::METRICS, engine::metrics::METRICS, tls::metrics::METRICS]));
    if let Some(address) = settings.health {
        health.serve(address).with_context(|| format!("cannot answer probes on {address}"))?;
    }
    let name = settings.name.clone().unwrap_or_else(config::process_name);
    let _exporting = telemetry::identify("worker", &name);
    worker::metrics::SLOTS.set(settings.slots.into());
    let devices = Arc::new(devices);
    let free = devices.free();
    let shelf = models::Shelf::new(settings.for_warm(memory::free(), devices.has_gpu())?);
    // What weights may take that are kept is not for models on the CPU.
    let left = |name: &str, free: u64| if name == "cpu" { free.saturating_sub(shelf.limit()) } else { free };
    let for_models = |(name, free): &(String, u64)| (name.clone(), settings.for_models(left(name, *free)));
    let told: Vec<(String, u64)> = free.iter().map(for_models).collect();
    tracing::info!(?told, "bytes that models may take");
    let emptied = Arc::clone(&devices);
    let rooms = Rooms::new(told.clone(), move || emptied.release_memory());
    let files = settings.tls.as_ref().map(tls::Certificates::files);
    let server = settings.ranks_listen.and(files.clone());
    let server = server.map(|files| tls::Server::mutual(files, ranks::PROTOCOL, &[tls::Role::Worker])).transpose()?;
    let rank_address = match settings.ranks_listen {
        Some(listen) => {
            let (devices, rooms, server) = (Arc::clone(&devices), rooms.clone(), server.clone());
            let at = Host { devices, rooms, server, token: token.clone() }.listen(listen)?;
            let address = settings.ranks_address(at);
            tracing::info!(%at, address, "ranks of other workers' models are held");
            address
        }
        None => String::new(),
    };
    let reach = Reach { tls: files.clone(), token: token.clone() };
    if shelf.limit() > 0 {
        tracing::info!(bytes = shelf.limit(), "weights may be kept in memory");
    }
    let mut config = Config {
        slots: settings.slots,
        devices: told,
        shelf: Arc::new(Kept(shelf.clone())),
        memory: settings.memory(),
        tls: files,
        rank_address,
        ..Config::new(settings.schedulers.clone(), token, name)
    };
    if let Some(instance) = &flags.instance {
        config.instance = InstanceId::new(instance);
    }
    // Ranks that are lost take the process with them: what runs here is to run in the next one, and is not to blame.
    let (lost, leave, goodbye) = (Arc::new(OnceLock::new()), config.leave.clone(), Arc::clone(&config.ranks_lost));
    let told = Arc::clone(&lost);
    let on_loss: OnLoss = Arc::new(move |model, loss| {
        tracing::error!(%model, why = loss.why, "a model's ranks are lost, and the worker ends");
        let _ = told.set(loss.why.clone());
        let _ = goodbye.set((model.clone(), loss.timeout));
        leave.cancel();
    });
    let (session, kept, memory) = (config.session.subscribe(), settings.kept(), config.memory.clone());
    let pools = (memory.clone(), kept.clone());
    let weights = Weights::default();
    let (looked, lying, warm, measured) =
        (Arc::clone(&devices), weights.clone(), shelf.clone(), config.measured.clone());
    let measure = move || {
        let memory = measured::measure(&looked, &lying, warm.taken());
        worker::metrics::device_memory(&memory);
        measured.send_replace(memory);
    };
    let loader: Loader = Arc::new(move |asked, progress| {
        let model = asked.key.to_string();
        let engine = |on_cpu| engine::Settings { model: model.clone(), ..settings.engine(&kept, &memory, on_cpu) };
        let ways = (settings.collectives, &reach, &on_loss);
        let loaded = load(asked, &devices, (&rooms, &weights), &shelf, ways, &engine, progress)?;
        if settings.memory.0 == 0 {
            // What weights may take that are kept is not for jobs.
            let free = memory::free().saturating_sub(shelf.limit().saturating_sub(shelf.taken()));
            let limit = memory.taken().saturating_add(free / 4 * 3);
            tracing::info!(bytes = limit, "so much jobs may hold together");
            memory.set_limit(limit);
        }
        Ok(loaded)
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
        if let Some(server) = server {
            tokio::spawn(async move { server.follow().await });
        }
        tokio::spawn(health.pulse("session"));
        tokio::spawn(tell_ready(session, health.clone(), pools, measure));
        health.started();
        Ok::<_, anyhow::Error>(worker::run(config, loader).await?)
    });
    // A model's thread may never come back; nobody waits for it.
    runtime.shutdown_background();
    match lost.get() {
        Some(why) => ended.and(Err(anyhow::Error::msg(why.clone()))),
        None => ended,
    }
}

/// Says again and again whether a scheduler gives it jobs, what of the memory is taken by jobs, and is kept, and what lies on its
/// devices.
async fn tell_ready(
    session: tokio::sync::watch::Receiver<bool>,
    health: Health,
    (jobs, kept): (Pool, Pool),
    measure: impl Fn(),
) {
    loop {
        let open = *session.borrow();
        worker::metrics::SESSION.set(f64::from(u8::from(open)));
        worker::metrics::memory(&jobs, &kept, memory::free());
        measure();
        health.ready(if open { Ok(()) } else { Err("no scheduler has let it in".into()) });
        tokio::time::sleep(READY).await;
    }
}

/// Loads a model and puts an engine over it.
fn load(
    load: &Load,
    devices: &Devices,
    (rooms, weights_here): (&Rooms, &Weights),
    shelf: &models::Shelf,
    (collectives, reach, on_loss): (Collectives, &Reach, &OnLoss),
    settings: &dyn Fn(bool) -> engine::Settings,
    progress: &mut dyn FnMut(f32),
) -> Result<Loaded, NotLoaded> {
    let device = devices.choose(load.device.as_deref())?;
    let dtype: Option<DType> = load.dtype.as_deref().map(str::parse).transpose().map_err(not_loaded)?;
    // What is wrong with its files, loading says best.
    let on_cpu = device == models::Device::CPU;
    let needs = models::needs(&load.folder).ok();
    let with = |needs: &models::Needs| dtype.unwrap_or(needs.dtype);
    let streamed = needs.as_ref().filter(|_| load.streamed).and_then(|needs| needs.streaming(with(needs), on_cpu));
    let all = match streamed {
        Some(streamed) => streamed.device,
        None => needs.as_ref().map_or(0, |needs| needs.on_device(with(needs), on_cpu)),
    };
    // Ranks of one machine share its CPU's memory; elsewhere each has a part of the weights on a device of its own.
    let here = load.rank_hosts.is_empty();
    let bytes = if on_cpu && here { all } else { all.div_ceil(u64::from(load.ranks)) };
    let mut place = Place { device: Some(device.to_string()), bytes, ..Place::default() };
    let no_room = |why| NotLoaded { why, hopeless: false, no_room: Some(place.clone()) };
    let mut taken = vec![rooms.take(&device.to_string(), bytes).map_err(no_room)?];
    if let Some(host) = streamed.map(|streamed| streamed.host).filter(|host| *host > 0) {
        taken.push(rooms.take("cpu", host).map_err(no_room)?);
    }
    for rank in 1..if on_cpu || !here { 1 } else { load.ranks as usize } {
        let beside = devices.beside(device, rank)?;
        taken.push(rooms.take(&beside.to_string(), bytes).map_err(no_room)?);
    }
    let weights = worker::metrics::WEIGHTS.with(&[&load.key.to_string()]);
    let mut fraction = |done: u64, all: u64| {
        weights.set(all as f64);
        progress(done as f32 / all.max(1) as f32);
    };
    let (mut model, followers) = if load.ranks > 1 {
        let started = Followers::start(load, (device, bytes), devices, collectives, reach, Arc::clone(on_loss));
        let (ranks, followers) = started.map_err(|error| match error.downcast::<NoRoom>() {
            Ok(NoRoom(why)) => no_room(why),
            Err(error) => NotLoaded::from(format!("{error:#}")),
        })?;
        let model =
            models::load_apart(Rc::new(ranks), &load.folder, dtype, device, &mut fraction).map_err(not_loaded)?;
        followers.serve();
        (model, Some(followers))
    } else if load.streamed {
        let model = models::load_streamed(&load.folder, dtype, device, &mut fraction).map_err(not_loaded)?;
        if let Some(models::Price { bytes, time }) = model.price() {
            let seconds = time.as_secs_f64();
            tracing::warn!(model = %load.key, %device, bytes, seconds, "each pass brings the model's layers to the device");
        }
        (model, None)
    } else if device.is_cuda() {
        let keeping = Keeping::new(shelf, &load.key.to_string(), load.keep);
        let loaded = models::load_keeping(keeping, &load.folder, dtype, device, &mut fraction).map_err(not_loaded)?;
        place.warm = loaded.1;
        (loaded.0, None)
    } else {
        (models::load(&load.folder, dtype, device, &mut fraction).map_err(not_loaded)?, None)
    };
    let kept = shelf.kept().into_iter().find(|(name, _)| *name == load.key.to_string());
    worker::metrics::kept(&load.key, kept.map_or(0, |(_, bytes)| bytes));
    if let Err(raise) = model.warm_up(if on_cpu { SHARED_TOKENS } else { SHORT_TOKENS }) {
        tracing::warn!(model = %load.key, %device, "the model could not be warmed up: {}", raise.message());
    }
    // Without it, a program is told less before it runs.
    let outline = engine::outline::of(&*model).map_err(|raise| raise.message());
    match outline.and_then(|outline| outline.encode().map_err(|error| error.to_string())) {
        Ok(outline) => place.outline = outline.into(),
        Err(why) => tracing::warn!(model = %load.key, why, "the model's outline is not known"),
    }
    tracing::info!(model = %load.key, %device, ranks = load.ranks, warm = place.warm, "the model is loaded");
    let ends = model.ends();
    let mut lies = Lies { device: device.to_string(), model: load.key.to_string(), bytes };
    let scrub = match model.scrub() {
        Ok(scrub) => {
            lies.bytes = scrub.own().bytes();
            Some(scrubbing(scrub, shelf.clone(), load.key.to_string()))
        }
        Err(error) => {
            let why = error.to_string();
            tracing::warn!(model = %load.key, why, "weights cannot be compared with what was loaded");
            None
        }
    };
    let engine = Interleaver::with_settings(*model, settings(on_cpu));
    let taken = (taken, weights_here.lie(lies));
    Ok(Loaded { engine: Box::new(Watched { followers, engine, device, _taken: taken }), place, ends, scrub })
}

/// Compares a model's weights with what was loaded. Where they have changed, what is kept of them for a GPU is not trusted either.
fn scrubbing(mut scrub: kernels::Scrub, shelf: models::Shelf, model: String) -> worker::Scrub {
    Box::new(move || {
        let look = scrub.look().map_err(|error| error.to_string())?;
        if matches!(look, Look::Changed(_)) {
            shelf.remove(&model);
        }
        Ok(look)
    })
}

/// The weights that are kept, by the names of their models.
struct Kept(models::Shelf);

impl worker::Shelf for Kept {
    fn limit(&self) -> u64 {
        self.0.limit()
    }

    fn kept(&self) -> Vec<(ModelKey, u64)> {
        let named = |(name, bytes): (String, u64)| match name.split_once('@') {
            Some((repo_id, revision)) => (ModelKey::new(repo_id, Some(revision.to_owned())), bytes),
            None => (ModelKey::new(name, None), bytes),
        };
        self.0.kept().into_iter().map(named).collect()
    }

    fn cool(&self, model: &ModelKey) {
        self.0.remove(&model.to_string());
    }
}

/// Says whether it is of any use to try again: a file may be mended, but what this version cannot do it never will.
fn not_loaded(error: LoadError) -> NotLoaded {
    let hopeless = matches!(
        error,
        LoadError::Unsupported { .. }
            | LoadError::Config { .. }
            | LoadError::DType(_)
            | LoadError::Ranks { .. }
            | LoadError::Residency(_)
    );
    NotLoaded { why: error.to_string(), hopeless, no_room: None }
}

/// How often it says whether it takes jobs.
const READY: Duration = Duration::from_secs(1);

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
        libtorch::end_process(0)
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
    models::import::import(gguf, folder, &mut progress)?;
    Ok(())
}

/// Tells what is known of a folder before it is served, and returns whether it can be.
fn check(folder: &Path, json: bool) -> Result<bool> {
    let report = models::check(folder);
    let mut stdout = std::io::stdout();
    if json {
        writeln!(stdout, "{:#}", report.to_json())?;
    } else {
        write!(stdout, "{report}")?;
    }
    Ok(report.can_be_served())
}
