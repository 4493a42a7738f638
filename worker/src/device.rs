//! Where models are put, and what is done when that is lost.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Result, bail};
use engine::{Engine, Event, Job};
use ids::JobId;
use models::Device;
use models::cuda::{self, Cuda, Missing, Search};

use crate::measured::Lies;
use crate::memory;
use crate::ranks::Followers;
use crate::rooms::Taken;

/// The memory of a device.
pub struct Space {
    pub name: String,
    pub gpu: bool,
    pub free: u64,
    /// All there is.
    pub all: u64,
}

/// The devices that this worker has.
pub struct Devices {
    cuda: Result<Cuda, Missing>,
    nccl: Option<PathBuf>,
}

impl Devices {
    /// Looks for GPUs. Called once, before there are other threads and before the first tensor.
    ///
    /// # Errors
    /// When the folder that was named has not what it takes to use them.
    pub fn find(search: &Search) -> Result<Self> {
        let cuda = search.load();
        match &cuda {
            Ok(Cuda { folder, devices, lacking }) => {
                tracing::info!(folder = %folder.display(), devices, "CUDA is loaded");
                lacking.iter().for_each(|why| tracing::warn!(why, "operators that need a library of CUDA's will fail"));
            }
            Err(Missing::Library(why)) if search.folder.is_some() => bail!("{why}"),
            Err(Missing::Library(why)) => tracing::warn!(why, "this machine has an NVIDIA driver that is not used"),
            Err(Missing::Driver(why)) => tracing::info!(why, "models run on the CPU"),
        }
        let nccl = cuda.as_ref().ok().and_then(|cuda| search.nccl(&cuda.folder));
        Ok(Self { cuda, nccl })
    }

    /// Makes those of a machine without GPUs that can be used.
    #[cfg(test)]
    pub fn without_gpus(why: Missing) -> Self {
        Self { cuda: Err(why), nccl: None }
    }

    /// Returns how many bytes are free on each device that models may be put on: the GPUs, or the CPU where there are none
    /// and for models that are asked to be there. A GPU that does not say is taken to have room.
    pub fn free(&self) -> Vec<(String, u64)> {
        let gpus = self.cuda.as_ref().map_or(0, |cuda| cuda.devices);
        let gpu = |index: usize| {
            let index = i32::try_from(index).unwrap_or(i32::MAX);
            let free = cuda::memory(index).map_or_else(
                |why| {
                    tracing::warn!(index, why, "what is free on a GPU is not known");
                    UNKNOWN
                },
                |(free, _)| free,
            );
            (format!("cuda:{index}"), free)
        };
        (0..gpus).map(gpu).chain([("cpu".to_owned(), memory::free())]).collect()
    }

    /// Returns how much of each device's memory is free just now. A GPU that does not say is left out.
    pub fn spaces(&self) -> Vec<Space> {
        let gpus = self.cuda.as_ref().map_or(0, |cuda| i32::try_from(cuda.devices).unwrap_or(i32::MAX));
        let gpu = |index: i32| {
            let (free, all) = cuda::memory(index).ok()?;
            Some(Space { name: format!("cuda:{index}"), gpu: true, free, all })
        };
        let (free, all) = (memory::free(), memory::all());
        (0..gpus).filter_map(gpu).chain([Space { name: "cpu".into(), gpu: false, free, all }]).collect()
    }

    /// Returns whether there is a GPU.
    pub fn has_gpu(&self) -> bool {
        self.cuda.as_ref().is_ok_and(|cuda| cuda.devices > 0)
    }

    /// Gives memory back that a model has left behind.
    pub fn release_memory(&self) {
        cuda::release_memory(self.cuda.is_ok());
    }

    /// Returns the folder of the library that computes on GPUs.
    pub fn folder(&self) -> Option<&Path> {
        self.cuda.as_ref().ok().map(|cuda| cuda.folder.as_path())
    }

    /// Returns the library that carries memory between GPUs, where torch brings one.
    pub fn nccl(&self) -> Option<&Path> {
        self.nccl.as_deref()
    }

    /// Returns where a rank of a model is put whose first one is on a device: GPUs follow one another.
    ///
    /// # Errors
    /// A sentence for the operator where the device is not there.
    pub fn beside(&self, first: Device, rank: usize) -> Result<Device, String> {
        let index = i32::try_from(rank).unwrap_or(i32::MAX).saturating_add(first.index.max(0));
        self.choose(Some(&if first.is_cuda() { format!("cuda:{index}") } else { "cpu".to_owned() }))
    }

    /// Chooses where to put a model: where it was asked to be, or on the first GPU if there is one.
    ///
    /// # Errors
    /// A sentence for the operator where the device is not there.
    pub fn choose(&self, asked: Option<&str>) -> Result<Device, String> {
        let wanted = match (asked, &self.cuda) {
            (None, Ok(_)) => Device::cuda(0),
            (None, Err(_)) => Device::CPU,
            (Some(name), _) => Device::parse(name).map_err(|raise| raise.message())?,
        };
        if !wanted.is_cuda() {
            return Ok(Device::CPU);
        }
        let device = Device::cuda(wanted.index.max(0));
        match &self.cuda {
            Err(missing) => Err(format!("the device {device} is not there: {missing}")),
            Ok(Cuda { devices, .. }) if usize::try_from(device.index).is_ok_and(|index| index < *devices) => Ok(device),
            Ok(Cuda { devices, .. }) => {
                Err(format!("the device {device} is not there: the driver shows {devices}, counted from cuda:0"))
            }
        }
    }
}

/// More than any device has.
const UNKNOWN: u64 = i64::MAX as u64;

/// An engine whose process ends when its device is lost. A GPU that has met an illegal address, or an assertion, answers
/// nothing more in this process: in the next, whoever was on it runs again.
pub struct Watched<E> {
    /// Who holds pieces of its model beside this process. They go first: once the engine is gone they would end by
    /// themselves, which nobody could tell from a loss.
    pub followers: Option<Followers>,
    pub engine: E,
    pub device: Device,
    /// What the engine takes of the device, as it was taken and as it is. Given back after it: fields are dropped in this order.
    pub _taken: (Vec<Taken>, Arc<Lies>),
}

impl<E: Engine> Engine for Watched<E> {
    fn submit(&mut self, job: Job) {
        self.engine.submit(job);
    }

    fn attend(&mut self, waits: Rc<dyn Fn() -> bool>) {
        self.engine.attend(waits);
    }

    fn cancel(&mut self, job: JobId) {
        self.engine.cancel(job);
    }

    fn step(&mut self) -> Vec<Event> {
        let events = self.engine.step();
        if self.followers.as_ref().is_some_and(Followers::are_lost) {
            // The process ends. What a GPU waited for and did not get is in nobody's values so.
            loop {
                std::thread::park();
            }
        }
        let failed = events.iter().any(|event| matches!(event, Event::Failed(..)));
        if failed && let Err(why) = cuda::check(self.device) {
            tracing::error!(device = %self.device, why, "the GPU is lost to this process, which ends");
            // Nothing is told of these jobs: who was innocent cannot be known. Nor can the driver be asked to tidy up.
            std::process::abort();
        }
        events
    }

    fn idle(&self) -> bool {
        self.engine.idle()
    }

    fn waits(&self) -> bool {
        self.engine.waits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_goes_where_it_is_asked_to_be_or_to_the_first_gpu() {
        let none = Devices::without_gpus(Missing::Driver("the NVIDIA driver cannot be opened (…)".into()));
        assert_eq!(none.choose(None), Ok(Device::CPU));
        assert_eq!(none.choose(Some("cpu")), Ok(Device::CPU));
        let error = none.choose(Some("cuda")).unwrap_err();
        assert_eq!(error, "the device cuda:0 is not there: the NVIDIA driver cannot be opened (…)");
        let two = Devices { cuda: Ok(Cuda { folder: "/t".into(), devices: 2, lacking: Vec::new() }), nccl: None };
        assert_eq!(two.choose(None), Ok(Device::cuda(0)));
        assert_eq!(two.choose(Some("cpu")), Ok(Device::CPU));
        assert_eq!(two.choose(Some("cuda:1")), Ok(Device::cuda(1)));
        assert_eq!(
            (two.beside(Device::cuda(0), 1), two.beside(Device::CPU, 3)),
            (Ok(Device::cuda(1)), Ok(Device::CPU))
        );
        assert!(two.beside(Device::cuda(1), 1).unwrap_err().starts_with("the device cuda:2 is not there"));
        let error = two.choose(Some("cuda:2")).unwrap_err();
        assert_eq!(error, "the device cuda:2 is not there: the driver shows 2, counted from cuda:0");
        assert!(two.choose(Some("tpu")).unwrap_err().ends_with("at start of device string: tpu"));
    }
}
