//! A process that holds a rank for the worker that started it.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use collectives::Memory;
use collectives::nccl::Library;
use models::Device;
use models::cuda::Search;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use super::follow;
use crate::device::Devices;

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
        follow(Box::new(memory), self.nccl.as_deref().map(Library::load), &self.folder, device)
    }
}
