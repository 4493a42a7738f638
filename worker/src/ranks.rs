//! Processes that hold pieces of a model beside the worker's own.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use collectives::nccl::{self, Joined, Library};
use collectives::{Alarm, Group, Memory};
use kernels::{Gpu, Ranks};
use models::Device;
use models::cuda::Search;
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, getppid, pidfd_open, pidfd_send_signal, set_parent_process_death_signal,
};
use worker::Load;

use crate::device::Devices;
use crate::settings::Collectives;

/// Told once, by whatever thread, why the ranks of a model that is served are lost.
pub type OnLoss = Arc<dyn Fn(&str) + Send + Sync>;

/// The other ranks of a model. They end with it, and it with them: what they hold is a part of it.
pub struct Followers {
    watch: Arc<Watch>,
    ranks: Vec<Follower>,
    /// The memory that all share, as each of them opens it when it has started.
    memory: OwnedFd,
    /// What carries GPUs' memory between them, if something is to.
    nccl: Option<PathBuf>,
}

struct Follower {
    process: OwnedFd,
    /// By whose end it knows that this process is gone.
    _lifeline: Option<ChildStdin>,
}

/// What the threads that wait for their ends share.
struct Watch {
    alarm: Alarm,
    on_loss: OnLoss,
    /// Whether users' jobs depend on them.
    serving: AtomicBool,
    /// Whether they are to end.
    closing: AtomicBool,
    /// Why the group is lost, once it is.
    lost: Mutex<Option<String>>,
}

impl Followers {
    /// Starts the other ranks of a model, the first of which is this process with its device. Tensors go between them as
    /// `collectives` says.
    ///
    /// # Errors
    /// A sentence for the operator where a process cannot be started, its device is not there, or NCCL is asked for and cannot
    /// be used.
    pub fn start(
        load: &Load,
        device: Device,
        devices: &Devices,
        collectives: Collectives,
        on_loss: OnLoss,
    ) -> Result<(Ranks, Self)> {
        let count = usize::try_from(load.ranks)?;
        let memory = Memory::create(count).with_context(|| format!("there is no memory for {count} ranks to share"))?;
        let watch = Arc::new(Watch {
            alarm: memory.alarm(),
            on_loss,
            serving: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            lost: Mutex::default(),
        });
        let by_memory = match (collectives, devices.nccl()) {
            _ if !device.is_cuda() => Some("they are on the CPU"),
            (Collectives::Memory, _) => Some("collectives is memory"),
            (Collectives::Nccl, None) => bail!("collectives is nccl, and there is no libnccl.so.2 beside torch"),
            (Collectives::Auto, None) => Some("there is no libnccl.so.2 beside torch"),
            (_, Some(_)) => None,
        };
        let nccl = devices.nccl().filter(|_| by_memory.is_none()).map(Path::to_owned);
        let (ranks, memory_file) = (Vec::with_capacity(count), memory.file()?);
        let mut followers = Self { watch: Arc::clone(&watch), ranks, memory: memory_file, nccl };
        for rank in 1..count {
            let device = devices.beside(device, rank).map_err(anyhow::Error::msg)?;
            followers.add(load, rank, device, devices)?;
        }
        let group: Box<dyn Group> = match (by_memory, &followers.nccl) {
            (None, Some(library)) => {
                let told = Arc::clone(&watch);
                let on_loss = Box::new(move |why: &str| {
                    told.lose(why);
                });
                match carried(memory, library, device, on_loss)? {
                    Joined::Nccl(group) => {
                        let version = group.version();
                        tracing::info!(model = %load.key, version, "ranks send each other tensors by NCCL");
                        Box::new(group)
                    }
                    Joined::Memory(_, why) if collectives == Collectives::Nccl => {
                        bail!("collectives is nccl, which cannot be used: {why}")
                    }
                    Joined::Memory(memory, why) => {
                        tracing::warn!(model = %load.key, why, "ranks send each other tensors by shared memory");
                        Box::new(memory)
                    }
                }
            }
            (why, _) => {
                tracing::info!(model = %load.key, why, "ranks send each other tensors by shared memory");
                Box::new(memory)
            }
        };
        let lost = move |why: &str| {
            if watch.lose(why) {
                // The process ends. Nobody may see the error that would come of this: it is no fault of a job.
                loop {
                    std::thread::park();
                }
            }
        };
        Ok((Ranks::new(group, Box::new(lost)), followers))
    }

    /// Returns whether the group is lost: what was computed since may be nothing.
    pub fn are_lost(&self) -> bool {
        self.watch.lost.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Makes their loss the process's from now on: before, it is an error of loading.
    pub fn serve(&self) {
        self.watch.serving.store(true, Ordering::SeqCst);
        let lost = self.watch.lost.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(why) = lost {
            (self.watch.on_loss)(&why);
        }
    }

    fn add(&mut self, load: &Load, rank: usize, device: Device, devices: &Devices) -> Result<()> {
        // Files of this process are found there by its children, who are of the same user.
        let memory = format!("/proc/{}/fd/{}", getpid(), self.memory.as_raw_fd());
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("vitrine-worker")
            .arg("rank")
            .args(["--memory", &memory, "--rank", &rank.to_string(), "--leader", &getpid().to_string()])
            .args(["--of", &load.ranks.to_string(), "--device", &device.to_string(), "--folder"])
            .arg(&load.folder)
            .env_remove("VITRINE_WORKER_TOKEN")
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        if let Some(folder) = devices.folder().filter(|_| device.is_cuda()) {
            command.arg("--torch-lib").arg(folder);
        }
        if let Some(library) = &self.nccl {
            command.arg("--nccl").arg(library);
        }
        let mut child = command.spawn().with_context(|| format!("cannot start rank {rank} of {}", load.key))?;
        let pid = Pid::from_child(&child);
        let process = pidfd_open(pid, PidfdFlags::empty());
        let (lifeline, watch) = (child.stdin.take(), Arc::clone(&self.watch));
        let name = format!("rank {rank} of {} (process {pid})", load.key);
        std::thread::Builder::new().name(format!("rank {rank}")).spawn(move || watch.wait(child, &name))?;
        self.ranks.push(Follower { process: process?, _lifeline: lifeline });
        Ok(())
    }
}

impl Drop for Followers {
    fn drop(&mut self) {
        self.watch.closing.store(true, Ordering::SeqCst);
        self.watch.alarm.abort("the model is served no longer");
        for rank in &self.ranks {
            // It may have ended by itself.
            let _ = pidfd_send_signal(&rank.process, Signal::KILL);
        }
    }
}

impl Watch {
    /// Waits for a rank's end, which nobody expects while the model is there.
    fn wait(&self, mut child: Child, name: &str) {
        let ended = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        if !self.closing.load(Ordering::SeqCst) {
            self.lose(&format!("{name} has ended: {ended}"));
        }
    }

    /// Notes the loss, and returns whether this process ends by it.
    fn lose(&self, why: &str) -> bool {
        if self.closing.load(Ordering::SeqCst) {
            return false;
        }
        let first = {
            let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
            let first = lost.is_none();
            lost.get_or_insert_with(|| why.to_owned());
            first
        };
        self.alarm.abort(why);
        let serving = self.serving.load(Ordering::SeqCst);
        if first && serving {
            (self.on_loss)(why);
        }
        serving
    }
}

/// The place of a process that holds pieces.
#[derive(Args)]
pub struct Place {
    /// Memory that the ranks share.
    #[arg(long)]
    memory: PathBuf,
    #[arg(long)]
    rank: usize,
    #[arg(long)]
    of: usize,
    /// The process that started it.
    #[arg(long)]
    leader: String,
    #[arg(long)]
    folder: PathBuf,
    #[arg(long)]
    device: String,
    #[arg(long)]
    torch_lib: Option<PathBuf>,
    /// What is to carry GPUs' memory between the ranks.
    #[arg(long)]
    nccl: Option<PathBuf>,
}

impl Place {
    /// Holds pieces until the leader ends the group, or itself.
    ///
    /// # Errors
    /// When the place cannot be taken, or the group is lost.
    pub fn hold(&self) -> Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL)).context("cannot ask to end with the leading process")?;
        if getppid().map(|parent| parent.to_string()).as_deref() != Some(self.leader.as_str()) {
            bail!("the process that started this rank is gone");
        }
        let device = if self.device == "cpu" {
            Device::CPU
        } else {
            let search = Search { folder: self.torch_lib.clone(), ..Search::default() };
            Devices::find(&search)?.choose(Some(&self.device)).map_err(anyhow::Error::msg)?
        };
        models::share_cores(self.of);
        let memory = File::options().read(true).write(true).open(&self.memory);
        let memory = memory.with_context(|| format!("cannot open {}", self.memory.display()))?;
        let memory = Memory::join(memory, self.rank)?;
        let group: Box<dyn Group> = match &self.nccl {
            None => Box::new(memory),
            // Whoever leads is told why it is lost by the memory that they share.
            Some(library) => match carried(memory, library, device, Box::new(|_| {}))? {
                Joined::Nccl(group) => Box::new(group),
                Joined::Memory(memory, _) => Box::new(memory),
            },
        };
        Ok(models::follow(&self.folder, device, &*group)?)
    }
}

/// Has NCCL carry memory of this rank's GPU, if all ranks can.
fn carried(memory: Memory, library: &Path, device: Device, on_loss: nccl::OnLoss) -> Result<Joined> {
    let stream = Gpu::new(device.index).map_err(anyhow::Error::msg)?;
    Ok(nccl::join(memory, Library::load(library), Box::new(stream), on_loss, Some(STARTING))?)
}

/// How long ranks may take to start: all models of a machine may start at once. One that ends meanwhile is noticed.
const STARTING: Duration = Duration::from_secs(320);
