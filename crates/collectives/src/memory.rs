//! Ranks on one machine: rings in memory that they share.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use crate::bell::Bell;
use crate::ring::{Count, Ring};
use crate::{Alarm, Ending, Group, Lost, Patience};

/// A rank of a group whose ranks share memory: processes of one machine, or threads of one process.
pub struct Memory {
    shared: Arc<Shared>,
    rank: usize,
    /// How long it looks again and again before it sleeps.
    spin: Duration,
}

struct Shared {
    file: File,
    memory: MmapRaw,
    ranks: usize,
    why: Mutex<Option<String>>,
}

/// What the memory begins with.
#[repr(C, align(128))]
struct Head {
    magic: AtomicU64,
    ranks: AtomicU64,
    ended: AtomicU32,
}

/// A rank's own: rank 0 writes its ring for all others, and each of them one for rank 0.
#[repr(C, align(128))]
struct Seat {
    bell: Bell,
    /// Bytes that it wrote into its ring.
    written: Count,
    /// Bytes that it read of rank 0's.
    heard: Count,
    /// Bytes that rank 0 read of its ring.
    taken: Count,
}

const MAGIC: u64 = u64::from_le_bytes(*b"vitrine1");

/// Bytes of a ring. What is longer is read while it is written.
const CAPACITY: u64 = 2 << 20;

/// Bytes after which readers are told, so that they begin while the rest is written.
const PIECE: u64 = 128 << 10;

/// Ranks of a group at most.
const MOST: usize = 64;

/// How soon one who was not woken looks by itself: where patience is counted, and where whoever comes rings in any case.
const SLICE: Duration = Duration::from_millis(50);
const IDLE: Duration = Duration::from_millis(900);

/// A waking takes longer than an answer to something small.
const SPIN: Duration = Duration::from_micros(50);

impl Memory {
    /// Makes the memory of a group, of which this is rank 0.
    ///
    /// # Errors
    /// When the system has none to give, or for no number of ranks.
    pub fn create(ranks: usize) -> io::Result<Self> {
        if !(1..=MOST).contains(&ranks) {
            return Err(io::Error::other(format!("a group has 1 to {MOST} ranks, not {ranks}")));
        }
        let file = File::from(memfd_create("vitrine-ranks", MemfdFlags::CLOEXEC)?);
        ftruncate(&file, bytes(ranks))?;
        let shared = Shared { memory: map(&file, ranks)?, file, ranks, why: Mutex::default() };
        shared.head().ranks.store(ranks as u64, Ordering::Relaxed);
        shared.head().magic.store(MAGIC, Ordering::Release);
        Ok(Self::of(Arc::new(shared), 0))
    }

    /// Takes a rank's place in a group whose memory another process made: [`Memory::file`] of that.
    ///
    /// # Errors
    /// When it is no such memory, or has no such rank.
    pub fn join(file: File, rank: usize) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let ranks = (1..=MOST).find(|&ranks| bytes(ranks) == length);
        let ranks = ranks.ok_or_else(|| io::Error::other("it is no memory of a group"))?;
        let shared = Shared { memory: map(&file, ranks)?, file, ranks, why: Mutex::default() };
        let head = shared.head();
        if head.magic.load(Ordering::Acquire) != MAGIC || head.ranks.load(Ordering::Relaxed) != ranks as u64 {
            return Err(io::Error::other("it is no memory of a group, or one of another version"));
        }
        if !(1..ranks).contains(&rank) {
            return Err(io::Error::other(format!("the group has ranks 0 to {}, not {rank}", ranks - 1)));
        }
        Ok(Self::of(Arc::new(shared), rank))
    }

    /// Makes a group of threads of this process, by rank.
    ///
    /// # Errors
    /// As [`Memory::create`].
    pub fn threads(ranks: usize) -> io::Result<Vec<Self>> {
        let first = Self::create(ranks)?;
        let others: Vec<Self> = (1..ranks).map(|rank| Self::of(Arc::clone(&first.shared), rank)).collect();
        Ok(std::iter::once(first).chain(others).collect())
    }

    fn of(shared: Arc<Shared>, rank: usize) -> Self {
        // Where there are fewer cores than ranks, who looks again and again keeps off who would have an answer.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let spin = if cores >= shared.ranks { SPIN } else { Duration::ZERO };
        Self { shared, rank, spin }
    }

    /// Returns what another process joins the group by.
    ///
    /// # Errors
    /// When the process has too many files open.
    pub fn file(&self) -> io::Result<OwnedFd> {
        Ok(self.shared.file.try_clone()?.into())
    }

    /// Returns what ends the group from another thread.
    #[must_use]
    pub fn alarm(&self) -> Alarm {
        Alarm::of(Arc::clone(&self.shared) as Arc<dyn Ending>)
    }

    /// Waits until there is something, telling `None` from nothing yet, for a rank that is to have done it.
    fn wait<T>(&self, about: usize, patience: Patience, look: impl Fn() -> Result<Option<T>, Lost>) -> Result<T, Lost> {
        if let Some(found) = look()? {
            return Ok(found);
        }
        let begun = Instant::now();
        while begun.elapsed() < self.spin {
            for _ in 0..16 {
                std::hint::spin_loop();
                if let Some(found) = look()? {
                    return Ok(found);
                }
            }
            // Whoever is to answer may be waiting for this very core.
            if begun.elapsed() > SPIN / 5 {
                std::thread::yield_now();
            }
        }
        let mut waited = Duration::ZERO;
        let bell = &self.shared.seat(self.rank).bell;
        loop {
            self.shared.check()?;
            if let Some(found) = look()? {
                return Ok(found);
            }
            if patience.is_some_and(|patience| waited >= patience) {
                return Err(Lost::Silent { rank: about, seconds: waited.as_secs() });
            }
            let done = || self.shared.check().is_err() || !matches!(look(), Ok(None));
            let longest = if patience.is_some() { SLICE } else { IDLE };
            if bell.sleep_unless(done, longest) {
                waited += longest;
            }
        }
    }
}

impl Group for Memory {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.shared.ranks
    }

    fn send(&self, bytes: &[u8], patience: Patience) -> Result<(), Lost> {
        let (own, ring) = (self.shared.seat(self.rank), self.shared.ring(self.rank));
        let (mut rest, mut written) = (bytes, own.written.get());
        let readers = if self.rank == 0 { 1..self.shared.ranks } else { 0..1 };
        if readers.is_empty() {
            return self.shared.check();
        }
        while !rest.is_empty() {
            let mut room = PIECE.min(rest.len() as u64);
            for reader in readers.clone() {
                let count = if self.rank == 0 { &self.shared.seat(reader).heard } else { &own.taken };
                room = room.min(self.wait(reader, patience, || {
                    let room = ring.room(written, count.get()).ok_or(Lost::Broken(reader))?;
                    Ok((room > 0).then_some(room))
                })?);
            }
            let (now, later) = rest.split_at(usize::try_from(room).unwrap_or(rest.len()));
            ring.write(written, now);
            written += room;
            own.written.set(written);
            readers.clone().for_each(|reader| self.shared.seat(reader).bell.ring());
            rest = later;
        }
        self.shared.check()
    }

    fn receive(&self, from: usize, bytes: &mut [u8], patience: Patience) -> Result<(), Lost> {
        let (other, ring) = (self.shared.seat(from), self.shared.ring(from));
        let count = if self.rank == 0 { &other.taken } else { &self.shared.seat(self.rank).heard };
        let (mut rest, mut read) = (bytes, count.get());
        while !rest.is_empty() {
            let there = self.wait(from, patience, || {
                let there = ring.unread(other.written.get(), read).ok_or(Lost::Broken(from))?;
                Ok((there > 0).then_some(there))
            })?;
            let now = usize::try_from(there).unwrap_or(rest.len()).min(rest.len());
            let (part, later) = rest.split_at_mut(now);
            ring.read(read, part);
            read += now as u64;
            count.set(read);
            other.bell.ring();
            rest = later;
        }
        Ok(())
    }

    fn abort(&self, why: &str) {
        self.shared.end(why);
    }

    fn alarm(&self) -> Alarm {
        Self::alarm(self)
    }
}

impl Ending for Shared {
    fn end(&self, why: &str) {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| why.to_owned());
        self.head().ended.store(1, Ordering::Release);
        (0..self.ranks).for_each(|rank| self.seat(rank).bell.ring());
    }

    fn ended(&self) -> Option<Lost> {
        self.check().err()
    }
}

impl Shared {
    fn head(&self) -> &Head {
        // SAFETY: the mapping begins with it, at the start of a page; it has only atomics, for which all bytes are valid.
        unsafe { &*self.memory.as_ptr().cast::<Head>() }
    }

    fn seat(&self, rank: usize) -> &Seat {
        debug_assert!(rank < self.ranks);
        // SAFETY: the mapping is longer.
        let at = unsafe { self.memory.as_ptr().add(size_of::<Head>() + rank * size_of::<Seat>()) };
        // SAFETY: it lies there, aligned, and has only atomics, for which all bytes are valid.
        unsafe { &*at.cast::<Seat>() }
    }

    fn ring(&self, rank: usize) -> Ring {
        let at = rings(self.ranks) + rank * CAPACITY as usize;
        // SAFETY: the mapping is longer.
        let start = unsafe { self.memory.as_mut_ptr().add(at) };
        // SAFETY: so many bytes lie there, for as long as this does; one rank writes them, and counts are kept as is asked.
        unsafe { Ring::new(start, CAPACITY) }
    }

    fn check(&self) -> Result<(), Lost> {
        if self.head().ended.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Err(Lost::Ended(why.unwrap_or_else(|| "another rank ended the group".into())))
    }
}

fn map(file: &File, ranks: usize) -> io::Result<MmapRaw> {
    MmapOptions::new().len(usize::try_from(bytes(ranks)).map_err(io::Error::other)?).map_raw(file)
}

/// Returns where the rings begin.
fn rings(ranks: usize) -> usize {
    (size_of::<Head>() + ranks * size_of::<Seat>()).next_multiple_of(4096)
}

fn bytes(ranks: usize) -> u64 {
    rings(ranks) as u64 + ranks as u64 * CAPACITY
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_group_that_shares_memory_keeps_the_contract_of_groups() {
        let lengths = [0, 1, 63, 16 << 10, PIECE as usize + 1, 3 * CAPACITY as usize + 17, 5];
        testing::a_group_keeps_its_contract(|ranks| Memory::threads(ranks).unwrap(), &lengths);
    }

    #[test]
    fn who_is_silent_is_named_once_patience_ends() {
        let group = Memory::threads(3).unwrap();
        group[1].send(&[1], None).unwrap();
        let mut all = [0; 3];
        let lost = group[0].gather(&[1], &mut all, Some(2 * SLICE)).unwrap_err();
        assert_eq!(lost, Lost::Silent { rank: 2, seconds: 0 });
        // What nobody takes in fills the ring.
        let lost = group[0].send(&vec![0; CAPACITY as usize + 1], Some(2 * SLICE)).unwrap_err();
        assert_eq!(lost, Lost::Silent { rank: 1, seconds: 0 });
    }

    #[test]
    fn another_process_joins_by_the_file_and_only_by_such_a_file() {
        let first = Memory::create(2).unwrap();
        let second = Memory::join(File::from(first.file().unwrap()), 1).unwrap();
        first.send(&[1, 2, 3], None).unwrap();
        let mut bytes = [0; 3];
        second.receive(0, &mut bytes, None).unwrap();
        assert_eq!(bytes, [1, 2, 3]);
        second.abort("enough");
        assert_eq!(first.barrier(None), Err(Lost::Ended("another rank ended the group".into())));
        let refused = |file: File, rank| Memory::join(file, rank).err().unwrap().to_string();
        assert_eq!(refused(File::from(first.file().unwrap()), 2), "the group has ranks 0 to 1, not 2");
        let other = File::from(memfd_create("other", MemfdFlags::CLOEXEC).unwrap());
        other.set_len(bytes_of(2)).unwrap();
        assert!(refused(other, 1).starts_with("it is no memory of a group"));
        assert!(Memory::create(0).is_err() && Memory::create(MOST + 1).is_err());
    }

    fn bytes_of(ranks: usize) -> u64 {
        super::bytes(ranks)
    }

    #[test]
    fn counts_that_cannot_be_end_the_group_and_no_process() {
        let group = Memory::threads(2).unwrap();
        group[1].shared.seat(1).written.set(CAPACITY * 9);
        assert_eq!(group[0].receive(1, &mut [0], None), Err(Lost::Broken(1)));
        group[1].shared.seat(1).heard.set(7);
        assert_eq!(group[0].send(&[0], None), Err(Lost::Broken(1)));
    }
}
