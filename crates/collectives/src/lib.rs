//! What several ranks, each a process or a thread, do together: one gives to all, all give to one.
//!
//! Rank 0 leads: everything goes from it to all others, or from one of them to it. Bytes arrive in the order in which they
//! were sent, and sums are added in the order of ranks, so that neither a clock nor an arrival decides anything.
//!
//! Bytes go by memory that the ranks share ([`Memory`]), or by connections between machines ([`Network`]). What lies on GPUs
//! may go from one to the other by NCCL ([`nccl`]), which the bytes say when to do.

mod bell;
mod memory;
pub mod nccl;
pub mod network;
mod ring;
#[cfg(test)]
mod testing;

use std::sync::Arc;
use std::time::Duration;

pub use memory::Memory;
pub use network::Network;

/// How long to wait for others without any progress; `None` is for as long as it takes. Time in which this process itself
/// was stopped does not count.
pub type Patience = Option<Duration>;

/// Why a group has come to its end. Nothing can be sent in it any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Somebody ended it, or a rank is gone; the text says why.
    #[error("{0}")]
    Ended(String),
    #[error("rank {rank} has not answered for {seconds} s")]
    Silent { rank: usize, seconds: u64 },
    /// What it shares with this rank is not what the protocol allows.
    #[error("rank {0} has left the protocol")]
    Broken(usize),
}

impl Lost {
    /// Returns whether a rank that lives, as far as is known, did not answer in time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Silent { .. })
    }
}

/// A stretch of a device's memory, by its address there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub address: usize,
    pub bytes: usize,
}

/// What carries devices' memory between ranks, in the order in which each device computes: when a call returns, the device
/// knows what to do. Each stretch is sent and received where the bytes of a [`Group`] said that it would be.
pub trait Devices {
    /// Sends what lies there: from rank 0 to all others, from each of them to rank 0. The device may take as long for it as
    /// patience lasts, from when it gets there.
    ///
    /// # Errors
    /// When the group has ended, or ends by this.
    ///
    /// # Safety
    /// The stretch is this rank's device's, and is not given back before that device gets there.
    unsafe fn send(&self, from: Stretch, patience: Patience) -> Result<(), Lost>;

    /// Takes in what a rank sends next, which has to have as many bytes.
    ///
    /// # Errors
    /// When the group has ended, or ends by this.
    ///
    /// # Safety
    /// As for [`Devices::send`], and nobody else reads or writes the stretch until the device has done so.
    unsafe fn receive(&self, from: usize, into: Stretch, patience: Patience) -> Result<(), Lost>;
}

/// Ends a group from another thread.
#[derive(Clone)]
pub struct Alarm(Arc<dyn Ending>);

/// What all handles of a rank's place share, as far as its end is concerned.
pub(crate) trait Ending: Send + Sync {
    fn end(&self, why: &str);

    fn ended(&self) -> Option<Lost>;
}

impl Alarm {
    pub(crate) fn of(shared: Arc<dyn Ending>) -> Self {
        Self(shared)
    }

    /// Ends the group for everybody.
    pub fn abort(&self, why: &str) {
        self.0.end(why);
    }

    /// Returns whether, and why, the group has ended.
    #[must_use]
    pub fn ended(&self) -> Option<Lost> {
        self.0.ended()
    }
}

/// A rank's place in a group.
pub trait Group {
    fn rank(&self) -> usize;

    /// Returns how many ranks there are.
    fn size(&self) -> usize;

    /// Sends bytes: from rank 0 to all others, from each of them to rank 0.
    ///
    /// # Errors
    /// When the group has ended, or ends by this: nobody takes what was sent before.
    fn send(&self, bytes: &[u8], patience: Patience) -> Result<(), Lost>;

    /// Takes in what a rank sent next, which has to have as many bytes: rank 0's for all others, anyone's for rank 0.
    ///
    /// # Errors
    /// When the group has ended, or ends by this: nothing comes.
    fn receive(&self, from: usize, bytes: &mut [u8], patience: Patience) -> Result<(), Lost>;

    /// Ends the group for everybody: whoever waits, waits no longer.
    fn abort(&self, why: &str);

    /// Returns what ends the group from another thread.
    fn alarm(&self) -> Alarm;

    /// Returns what carries devices' memory between the ranks; without it, that goes as bytes do.
    fn devices(&self) -> Option<&dyn Devices> {
        None
    }

    /// Gives everybody rank 0's bytes.
    ///
    /// # Errors
    /// As [`Group::send`] and [`Group::receive`], and so for all that follow.
    fn broadcast(&self, bytes: &mut [u8], patience: Patience) -> Result<(), Lost> {
        if self.rank() == 0 { self.send(bytes, patience) } else { self.receive(0, bytes, patience) }
    }

    /// Gives rank 0 everybody's bytes, one after another by rank. Elsewhere `all` is left as it is.
    ///
    /// # Errors
    /// When the group has ended, or ends by this.
    fn gather(&self, own: &[u8], all: &mut [u8], patience: Patience) -> Result<(), Lost> {
        if self.rank() != 0 {
            return self.send(own, patience);
        }
        for (rank, part) in all.chunks_mut(own.len().max(1)).take(self.size()).enumerate() {
            match rank {
                0 => part.copy_from_slice(own),
                rank => self.receive(rank, part, patience)?,
            }
        }
        Ok(())
    }

    /// Adds up everybody's numbers at rank 0, in the order of ranks.
    ///
    /// # Errors
    /// When the group has ended, or ends by this.
    fn reduce(&self, numbers: &mut [f32], patience: Patience) -> Result<(), Lost> {
        let mut bytes = vec![0; size_of_val(numbers)];
        if self.rank() != 0 {
            for (bytes, number) in bytes.chunks_exact_mut(4).zip(&*numbers) {
                bytes.copy_from_slice(&number.to_ne_bytes());
            }
            return self.send(&bytes, patience);
        }
        for rank in 1..self.size() {
            self.receive(rank, &mut bytes, patience)?;
            for (bytes, number) in bytes.as_chunks().0.iter().zip(&mut *numbers) {
                *number += f32::from_ne_bytes(*bytes);
            }
        }
        Ok(())
    }

    /// Gives everybody the sum of everybody's numbers: the same bits, added in the order of ranks.
    ///
    /// # Errors
    /// When the group has ended, or ends by this.
    fn all_reduce(&self, numbers: &mut [f32], patience: Patience) -> Result<(), Lost> {
        self.reduce(numbers, patience)?;
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        self.broadcast(&mut bytes, patience)?;
        for (bytes, number) in bytes.as_chunks().0.iter().zip(numbers) {
            *number = f32::from_ne_bytes(*bytes);
        }
        Ok(())
    }

    /// Waits until everybody has come here.
    ///
    /// # Errors
    /// When the group has ended, or ends by this.
    fn barrier(&self, patience: Patience) -> Result<(), Lost> {
        let mut all = vec![0; self.size()];
        self.gather(&[1], &mut all, patience)?;
        self.broadcast(&mut [1], patience)
    }
}
