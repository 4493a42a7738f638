//! Processes that hold pieces of a model beside the worker's own.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use clap::Args;
use collectives::{Alarm, Memory};
use kernels::Ranks;
use models::Device;
use models::cuda::Search;
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, getppid, pidfd_open, pidfd_send_signal, set_parent_process_death_signal,
};
use worker::Load;

use crate::device::Devices;

/// Told once, by whatever thread, why the ranks of a model that is served are lost.
pub type OnLoss = Arc<dyn Fn(&str) + Send + Sync>;

/// The other ranks of a model. They end with it, and it with them: what they hold is a part of it.
pub struct Followers {
    watch: Arc<Watch>,
    ranks: Vec<Follower>,
    /// The memory that all share, as each of them opens it when it has started.
    memory: OwnedFd,
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
    /// Starts the other ranks of a model, the first of which is this process with its device.
    ///
    /// # Errors
    /// A sentence for the operator where a process cannot be started or its device is not there.
    pub fn start(load: &Load, device: Device, devices: &Devices, on_loss: OnLoss) -> Result<(Ranks, Self)> {
        let count = usize::try_from(load.ranks)?;
        let memory = Memory::create(count).with_context(|| format!("there is no memory for {count} ranks to share"))?;
        let watch = Arc::new(Watch {
            alarm: memory.alarm(),
            on_loss,
            serving: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            lost: Mutex::default(),
        });
        let mut followers =
            Self { watch: Arc::clone(&watch), ranks: Vec::with_capacity(count), memory: memory.file()? };
        for rank in 1..count {
            let device = devices.beside(device, rank).map_err(anyhow::Error::msg)?;
            followers.add(load, rank, device, devices)?;
        }
        let lost = move |why: &str| {
            if watch.lose(why) {
                // The process ends. Nobody may see the error that would come of this: it is no fault of a job.
                loop {
                    std::thread::park();
                }
            }
        };
        Ok((Ranks::new(Box::new(memory), Box::new(lost)), followers))
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
        let group = Memory::join(memory, self.rank)?;
        Ok(models::follow(&self.folder, device, &group)?)
    }
}
