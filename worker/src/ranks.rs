//! Who holds pieces of a model beside the worker's own process: processes that it starts, or other workers.

mod away;
mod greeting;
mod host;
mod link;
mod place;

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use collectives::nccl::{self, Joined, Library};
use collectives::{Alarm, Group, Lost, Memory, Network};
use ids::ModelKey;
use kernels::{Gpu, Ranks};
use models::Device;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};
use worker::Load;

use crate::device::Devices;
use crate::settings::Collectives;

pub use away::{NoRoom, Reach};
pub use host::Host;
pub use link::PROTOCOL;
pub use place::Place;

/// Told once, by whatever thread, which model's ranks are lost that is served, and why.
pub type OnLoss = Arc<dyn Fn(&ModelKey, &Loss) + Send + Sync>;

/// Why ranks are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// A sentence for the operator.
    pub why: String,
    /// Whether one lived and did not answer in time.
    pub timeout: bool,
}

impl From<&Lost> for Loss {
    fn from(lost: &Lost) -> Self {
        Self { why: lost.to_string(), timeout: lost.is_timeout() }
    }
}

impl Loss {
    fn ended(why: &str) -> Self {
        Self { why: why.to_owned(), timeout: false }
    }
}

/// The other ranks of a model. They end with it, and it with them: what they hold is a part of it.
pub struct Followers {
    watch: Arc<Watch>,
    ranks: Vec<Follower>,
    /// The memory that all share, as each process opens it when it has started.
    _memory: Option<OwnedFd>,
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
    model: ModelKey,
    alarm: Alarm,
    on_loss: OnLoss,
    /// What is said of the ranks besides, where the reason alone names none.
    who: String,
    /// Whether users' jobs depend on them.
    serving: AtomicBool,
    /// Whether they are to end.
    closing: AtomicBool,
    /// Why the group is lost, once it is.
    lost: Mutex<Option<Loss>>,
}

impl Followers {
    /// Has others hold the ranks of a model of which the first is this process with its device: processes that it starts, or
    /// the workers that `load` names, each of so many bytes. Tensors go between them as `collectives` says.
    ///
    /// # Errors
    /// A sentence for the operator where a process cannot be started, a worker does not hold its rank ([`NoRoom`] where that is
    /// why), a device is not there, or NCCL is asked for and cannot be used.
    pub fn start(
        load: &Load,
        (device, bytes): (Device, u64),
        devices: &Devices,
        collectives: Collectives,
        reach: &Reach,
        on_loss: OnLoss,
    ) -> Result<(Ranks, Self)> {
        let by_bytes = match (collectives, devices.nccl()) {
            _ if !device.is_cuda() => Some("they are on the CPU"),
            (Collectives::Memory, _) => Some("collectives is memory"),
            (Collectives::Nccl, None) => bail!("collectives is nccl, and there is no libnccl.so.2 beside torch"),
            (Collectives::Auto, None) => Some("there is no libnccl.so.2 beside torch"),
            (_, Some(_)) => None,
        };
        let nccl = devices.nccl().filter(|_| by_bytes.is_none()).map(Path::to_owned);
        let (group, followers) = if load.rank_hosts.is_empty() {
            Self::beside(load, device, devices, nccl, on_loss)?
        } else {
            Self::away(load, bytes, nccl, reach, on_loss)?
        };
        let way = if load.rank_hosts.is_empty() { "shared memory" } else { "the network" };
        let watch = Arc::clone(&followers.watch);
        let group: Box<dyn Group> = match (by_bytes, &followers.nccl) {
            (None, Some(library)) => {
                let told = Arc::clone(&watch);
                let on_loss = Box::new(move |lost: &Lost| {
                    told.lose(lost.into());
                });
                match carried(group, Library::load(library), device, on_loss)? {
                    Joined::Nccl(group) => {
                        let version = group.version();
                        tracing::info!(model = %load.key, version, "ranks send each other tensors by NCCL");
                        Box::new(group)
                    }
                    Joined::Bytes(_, why) if collectives == Collectives::Nccl => {
                        bail!("collectives is nccl, which cannot be used: {why}")
                    }
                    Joined::Bytes(group, why) => {
                        tracing::warn!(model = %load.key, why, "ranks send each other tensors by {way}");
                        group
                    }
                }
            }
            (why, _) => {
                tracing::info!(model = %load.key, why, "ranks send each other tensors by {way}");
                group
            }
        };
        let lost = move |lost: &Lost| {
            if watch.lose(lost.into()) {
                // The process ends. Nobody may see the error that would come of this: it is no fault of a job.
                loop {
                    std::thread::park();
                }
            }
        };
        Ok((Ranks::new(group, Box::new(lost)), followers))
    }

    /// Starts processes on this machine.
    fn beside(
        load: &Load,
        device: Device,
        devices: &Devices,
        nccl: Option<PathBuf>,
        on_loss: OnLoss,
    ) -> Result<(Box<dyn Group>, Self)> {
        let count = usize::try_from(load.ranks)?;
        let memory = Memory::create(count).with_context(|| format!("there is no memory for {count} ranks to share"))?;
        let watch = Watch::new(load.key.clone(), memory.alarm(), on_loss, String::new());
        let file = memory.file()?;
        // Files of this process are found there by its children, who are of the same user.
        let path = format!("/proc/{}/fd/{}", getpid(), file.as_raw_fd());
        let mut followers = Self { watch, ranks: Vec::with_capacity(count), _memory: Some(file), nccl };
        for rank in 1..count {
            let device = devices.beside(device, rank).map_err(anyhow::Error::msg)?;
            followers.add(load, rank, device, devices, &path)?;
        }
        Ok((Box::new(memory), followers))
    }

    /// Asks other workers.
    fn away(
        load: &Load,
        bytes: u64,
        nccl: Option<PathBuf>,
        reach: &Reach,
        on_loss: OnLoss,
    ) -> Result<(Box<dyn Group>, Self)> {
        let links = reach.dial(load, bytes, nccl.is_some())?;
        // The group knows who is to be told, who knows what ends the group: neither may keep the other.
        let watched = Arc::new(OnceLock::<Weak<Watch>>::new());
        let told = Arc::clone(&watched);
        let on_end = Box::new(move |why: &str| {
            if let Some(watch) = told.get().and_then(Weak::upgrade) {
                watch.lose(Loss::ended(why));
            }
        });
        let network = Network::lead(links, on_end)?;
        let held = load.rank_hosts.iter().zip(1..).map(|(host, rank)| format!("rank {rank} on worker {}", host.worker));
        let who = format!("; {} has {}", load.key, held.collect::<Vec<_>>().join(", "));
        let watch = Watch::new(load.key.clone(), network.alarm(), on_loss, who);
        // What was lost before is found when the first order is given.
        let _ = watched.set(Arc::downgrade(&watch));
        Ok((Box::new(network), Self { watch, ranks: Vec::new(), _memory: None, nccl }))
    }

    /// Returns whether the group is lost: what was computed since may be nothing.
    pub fn are_lost(&self) -> bool {
        self.watch.lost.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Makes their loss the process's from now on: before, it is an error of loading.
    pub fn serve(&self) {
        self.watch.serving.store(true, Ordering::SeqCst);
        let lost = self.watch.lost.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(loss) = lost {
            (self.watch.on_loss)(&self.watch.model, &loss);
        }
    }

    fn add(&mut self, load: &Load, rank: usize, device: Device, devices: &Devices, memory: &str) -> Result<()> {
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("vitrine-worker")
            .arg("rank")
            .args(["--memory", memory, "--rank", &rank.to_string(), "--leader", &getpid().to_string()])
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
    fn new(model: ModelKey, alarm: Alarm, on_loss: OnLoss, who: String) -> Arc<Self> {
        let no = || AtomicBool::new(false);
        Arc::new(Self { model, alarm, on_loss, who, serving: no(), closing: no(), lost: Mutex::default() })
    }

    /// Waits for a rank's end, which nobody expects while the model is there.
    fn wait(&self, mut child: Child, name: &str) {
        let ended = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        if !self.closing.load(Ordering::SeqCst) {
            self.lose(Loss::ended(&format!("{name} has ended: {ended}")));
        }
    }

    /// Notes the loss, and returns whether this process ends by it.
    fn lose(&self, loss: Loss) -> bool {
        if self.closing.load(Ordering::SeqCst) {
            return false;
        }
        let loss = Loss { why: format!("{}{}", loss.why, self.who), ..loss };
        let first = {
            let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
            let first = lost.is_none();
            lost.get_or_insert_with(|| loss.clone());
            first
        };
        self.alarm.abort(&loss.why);
        let serving = self.serving.load(Ordering::SeqCst);
        if first && serving {
            (self.on_loss)(&self.model, &loss);
        }
        serving
    }
}

/// Has NCCL carry memory of this rank's GPU, if all ranks can.
fn carried(
    group: Box<dyn Group>,
    library: Result<Library, String>,
    device: Device,
    on_loss: nccl::OnLoss,
) -> Result<Joined> {
    let stream = Gpu::new(device.index).map_err(anyhow::Error::msg)?;
    Ok(nccl::join(group, library, Box::new(stream), on_loss, Some(STARTING))?)
}

/// Carries out the orders of a group's leading rank until it ends. `library` is NCCL's, where that is to carry GPUs' memory if all
/// ranks can.
fn follow(
    group: Box<dyn Group>,
    library: Option<Result<Library, String>>,
    folder: &Path,
    device: Device,
) -> Result<()> {
    let group: Box<dyn Group> = match library {
        None => group,
        // Whoever leads is told why it is lost by what carries the orders.
        Some(library) => match carried(group, library, device, Box::new(|_| {}))? {
            Joined::Nccl(group) => Box::new(group),
            Joined::Bytes(group, _) => group,
        },
    };
    Ok(models::follow(folder, device, &*group)?)
}

/// How long ranks may take to start: all models of a machine may start at once. One that ends meanwhile is noticed.
const STARTING: Duration = Duration::from_secs(320);

#[cfg(test)]
mod tests;
