//! Ranks on several machines: the leading rank has a connection to each of the others.
//!
//! A thread for each connection takes in what comes, up to a bound, beyond which the other end waits. Who sends writes to the
//! connection by itself. Another thread of the group gives each connection a sign of life now and then, so that one that is
//! cut off, or whose other end is stopped, is told from one that has nothing to say.

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Alarm, Ending, Group, Lost, Patience};

/// Bytes both ways between two ranks, whatever lies under them. Two threads use it: one reads, one writes.
pub trait Link: Send + Sync {
    /// Takes in some bytes; none where the other end has closed it.
    ///
    /// # Errors
    /// `WouldBlock` where nothing came within [`SLICE`]; whatever else ends the connection.
    fn read(&self, bytes: &mut [u8]) -> io::Result<usize>;

    /// Gives out some bytes, which may wait here for those that follow.
    ///
    /// # Errors
    /// `WouldBlock` where there was no room within [`SLICE`]; whatever else ends the connection.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Gives out what waits here.
    ///
    /// # Errors
    /// As [`Link::write`].
    fn flush(&self) -> io::Result<()>;

    /// Ends it: whoever reads gets no more.
    fn close(&self);
}

/// How long a link waits at a time: where patience is counted.
pub const SLICE: Duration = Duration::from_millis(50);

/// A rank of a group whose ranks have connections.
pub struct Network {
    shared: Arc<Shared>,
    rank: usize,
}

/// Told once, by whatever thread finds it out, why a group has ended that this rank did not leave.
pub type OnEnd = Box<dyn Fn(&str) + Send + Sync>;

struct Shared {
    /// Rank 0's are all others, in their order; that of each of them is rank 0.
    peers: Vec<Peer>,
    size: usize,
    on_end: OnEnd,
    ended: AtomicBool,
    why: Mutex<Option<String>>,
    /// Whether this rank has left: what ends then is no loss.
    left: AtomicBool,
    /// Wakes who gives signs of life.
    stirred: Condvar,
}

struct Peer {
    rank: usize,
    link: Box<dyn Link>,
    /// What was begun to be written, and how much of it is: whoever writes next goes on with it.
    writing: Mutex<Writing>,
    heard: Mutex<VecDeque<u8>>,
    /// Something was heard, or there is room for more.
    changed: Condvar,
}

type Writing = (Vec<u8>, usize);

/// Bytes that are taken in before somebody asks for them.
const CAPACITY: usize = 2 << 20;

/// Bytes that are sent at once, so that they are taken in while the rest is sent.
const PIECE: usize = 128 << 10;

/// How often a sign of life is given, and after how long without any the other end is taken to be gone.
const BEAT: Duration = Duration::from_secs(2);
const SILENCE: Duration = Duration::from_secs(20);

/// How long the others may take to hear why a group has ended.
const FAREWELL: Duration = Duration::from_secs(1);

/// What comes before bytes says how many there are. None are a sign of life; with the highest bit, they are a text that says
/// why the group has ended.
const HEAD: usize = 4;
const END: u32 = 1 << 31;
const TEXT: usize = 400;

impl Network {
    /// Leads a group: `links` lead to the other ranks, in their order.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn lead(links: Vec<Box<dyn Link>>, on_end: OnEnd) -> io::Result<Self> {
        let size = links.len() + 1;
        Self::start(0, size, links.into_iter().zip(1..).map(|(link, rank)| Peer::new(rank, link)).collect(), on_end)
    }

    /// Takes a rank's place in a group of so many, to the leading rank of which the link leads.
    ///
    /// # Errors
    /// When a thread cannot be started, or there is no such rank.
    pub fn join(link: Box<dyn Link>, rank: usize, size: usize, on_end: OnEnd) -> io::Result<Self> {
        if !(1..size).contains(&rank) {
            return Err(io::Error::other(format!("the group has ranks 0 to {}, not {rank}", size.max(1) - 1)));
        }
        Self::start(rank, size, vec![Peer::new(0, link)], on_end)
    }

    /// Makes a group of threads of this process, by rank, whose connections go over this machine's loopback.
    ///
    /// # Errors
    /// As [`Network::lead`], and when there is no connection to be had.
    pub fn threads(ranks: usize) -> io::Result<Vec<Self>> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let (mut links, mut others) = (Vec::<Box<dyn Link>>::new(), Vec::new());
        for rank in 1..ranks {
            let dialled = TcpStream::connect(listener.local_addr()?)?;
            let (accepted, _) = listener.accept()?;
            for socket in [&dialled, &accepted] {
                prepare(socket)?;
            }
            links.push(Box::new(dialled));
            others.push(Self::join(Box::new(accepted), rank, ranks, Box::new(|_| {}))?);
        }
        let mut all = vec![Self::lead(links, Box::new(|_| {}))?];
        all.append(&mut others);
        Ok(all)
    }

    fn start(rank: usize, size: usize, peers: Vec<Peer>, on_end: OnEnd) -> io::Result<Self> {
        let (ended, left) = (AtomicBool::new(false), AtomicBool::new(false));
        let shared =
            Arc::new(Shared { peers, size, on_end, ended, why: Mutex::default(), left, stirred: Condvar::new() });
        let network = Self { shared, rank };
        for peer in 0..network.shared.peers.len() {
            let shared = Arc::clone(&network.shared);
            std::thread::Builder::new().name("rank in".into()).spawn(move || shared.listen(peer))?;
        }
        let shared = Arc::clone(&network.shared);
        std::thread::Builder::new().name("rank beat".into()).spawn(move || shared.beat())?;
        Ok(network)
    }

    fn peer(&self, rank: usize) -> Result<&Peer, Lost> {
        self.shared.peers.iter().find(|peer| peer.rank == rank).ok_or(Lost::Broken(rank))
    }
}

impl Group for Network {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.shared.size
    }

    fn send(&self, bytes: &[u8], patience: Patience) -> Result<(), Lost> {
        for piece in bytes.chunks(PIECE) {
            for peer in &self.shared.peers {
                peer.send(&self.shared, piece.len() as u32, piece, patience)?;
            }
        }
        self.shared.check()
    }

    fn receive(&self, from: usize, bytes: &mut [u8], patience: Patience) -> Result<(), Lost> {
        self.peer(from)?.receive(&self.shared, bytes, patience)
    }

    fn abort(&self, why: &str) {
        self.shared.end(why);
    }

    fn alarm(&self) -> Alarm {
        Alarm::of(Arc::clone(&self.shared) as Arc<dyn Ending>)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.shared.left.store(true, Ordering::SeqCst);
        self.shared.stir();
    }
}

impl Peer {
    fn new(rank: usize, link: Box<dyn Link>) -> Self {
        Self { rank, link, writing: Mutex::default(), heard: Mutex::default(), changed: Condvar::new() }
    }

    fn send(&self, shared: &Shared, head: u32, bytes: &[u8], patience: Patience) -> Result<(), Lost> {
        let mut writing = lock(&self.writing);
        // What was left when somebody's patience had ended, or of a sign of life.
        self.write(shared, &mut writing, patience)?;
        writing.0.extend_from_slice(&head.to_le_bytes());
        writing.0.extend_from_slice(bytes);
        self.write(shared, &mut writing, patience)
    }

    /// Writes what is to be written, for as long as patience lasts without any progress.
    fn write(&self, shared: &Shared, writing: &mut Writing, patience: Patience) -> Result<(), Lost> {
        let mut waited = Duration::ZERO;
        loop {
            match self.write_some(writing) {
                Ok(true) => return Ok(()),
                Ok(false) => waited = Duration::ZERO,
                Err(error) if is_late(&error) => waited += SLICE,
                Err(error) => return Err(shared.broke(self.rank, &error)),
            }
            shared.check()?;
            if patience.is_some_and(|patience| waited >= patience) {
                return Err(Lost::Silent { rank: self.rank, seconds: waited.as_secs() });
            }
        }
    }

    /// Writes a part of what is to be written. Returns whether that was all.
    fn write_some(&self, (bytes, done): &mut Writing) -> io::Result<bool> {
        let rest = bytes.get(*done..).unwrap_or_default();
        if rest.is_empty() {
            self.link.flush()?;
            bytes.clear();
            *done = 0;
            return Ok(true);
        }
        *done += self.link.write(rest)?;
        Ok(false)
    }

    fn receive(&self, shared: &Shared, bytes: &mut [u8], patience: Patience) -> Result<(), Lost> {
        let (mut rest, mut waited) = (bytes, Duration::ZERO);
        let mut heard = lock(&self.heard);
        while !rest.is_empty() {
            if heard.is_empty() {
                // What came before the group ended counts.
                shared.check()?;
                if let Some(patience) = patience {
                    if waited >= patience {
                        return Err(Lost::Silent { rank: self.rank, seconds: waited.as_secs() });
                    }
                    let slept = self.changed.wait_timeout(heard, SLICE).unwrap_or_else(PoisonError::into_inner);
                    waited += if slept.1.timed_out() { SLICE } else { Duration::ZERO };
                    heard = slept.0;
                } else {
                    heard = self.changed.wait(heard).unwrap_or_else(PoisonError::into_inner);
                }
                continue;
            }
            waited = Duration::ZERO;
            let (first, _) = heard.as_slices();
            let count = first.len().min(rest.len());
            let (part, later) = rest.split_at_mut(count);
            part.copy_from_slice(&first[..count]);
            heard.drain(..count);
            self.changed.notify_all();
            rest = later;
        }
        Ok(())
    }
}

impl Shared {
    /// Takes in what a peer sends until the group ends.
    fn listen(&self, peer: usize) {
        let Some(peer) = self.peers.get(peer) else { return };
        let mut room = vec![0; PIECE];
        if let Err(why) = self.hear(peer, &mut room) {
            self.end(&why.to_string());
        }
    }

    fn hear(&self, peer: &Peer, room: &mut [u8]) -> Result<(), Lost> {
        loop {
            let mut head = [0; HEAD];
            self.read(peer, &mut head)?;
            let head = u32::from_le_bytes(head);
            let length = (head & !END) as usize;
            if head & END != 0 {
                let mut text = vec![0; length.min(TEXT)];
                self.read(peer, &mut text)?;
                return Err(Lost::Ended(String::from_utf8_lossy(&text).into_owned()));
            }
            if length > PIECE {
                return Err(Lost::Broken(peer.rank));
            }
            let mut rest = length;
            while rest > 0 {
                let count = self.some(peer, &mut room[..rest.min(PIECE)])?;
                let mut heard = lock(&peer.heard);
                while heard.len() + count > CAPACITY {
                    // The other end waits meanwhile, which is no silence of its.
                    self.check()?;
                    heard = peer.changed.wait(heard).unwrap_or_else(PoisonError::into_inner);
                }
                heard.extend(&room[..count]);
                peer.changed.notify_all();
                rest -= count;
            }
        }
    }

    fn read(&self, peer: &Peer, bytes: &mut [u8]) -> Result<(), Lost> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = self.some(peer, rest)?;
            rest = &mut rest[count..];
        }
        Ok(())
    }

    /// Takes in some bytes. Time in which this process was stopped is one slice.
    fn some(&self, peer: &Peer, bytes: &mut [u8]) -> Result<usize, Lost> {
        let mut quiet = Duration::ZERO;
        loop {
            match peer.link.read(bytes) {
                Ok(0) => return Err(self.broke(peer.rank, &"it was closed")),
                Ok(count) => return Ok(count),
                Err(error) if is_late(&error) => quiet += SLICE,
                Err(error) => return Err(self.broke(peer.rank, &error)),
            }
            self.check()?;
            if quiet >= SILENCE {
                return Err(Lost::Silent { rank: peer.rank, seconds: quiet.as_secs() });
            }
        }
    }

    /// Gives signs of life until the group ends or is left; then says so.
    fn beat(&self) {
        let mut why = lock(&self.why);
        loop {
            if why.is_some() || self.left.load(Ordering::SeqCst) {
                break;
            }
            let (again, slept) = self.stirred.wait_timeout(why, BEAT).unwrap_or_else(PoisonError::into_inner);
            drop(again);
            if slept.timed_out() {
                for peer in &self.peers {
                    // Who writes at the moment gives a better one.
                    if let Ok(mut writing) = peer.writing.try_lock() {
                        if writing.0.is_empty() {
                            writing.0.extend_from_slice(&0_u32.to_le_bytes());
                        }
                        // There may be no room: then it is written before what comes next.
                        let _ = peer.write(self, &mut writing, Some(Duration::ZERO));
                    }
                }
            }
            why = lock(&self.why);
        }
        let said = why.clone();
        drop(why);
        let begun = Instant::now();
        for peer in &self.peers {
            let mut writing = lock(&peer.writing);
            if let Some(said) = &said {
                let text = &said[..said.floor_char_boundary(TEXT)];
                writing.0.extend_from_slice(&(END | text.len() as u32).to_le_bytes());
                writing.0.extend_from_slice(text.as_bytes());
            }
            // Who does not hear it finds the connection closed.
            while begun.elapsed() < FAREWELL {
                match peer.write_some(&mut writing) {
                    Ok(false) => {}
                    Err(error) if is_late(&error) => {}
                    Ok(true) | Err(_) => break,
                }
            }
            peer.link.close();
        }
    }

    fn broke(&self, rank: usize, why: &dyn std::fmt::Display) -> Lost {
        self.check().err().unwrap_or_else(|| Lost::Ended(format!("the connection to rank {rank} broke: {why}")))
    }

    fn check(&self) -> Result<(), Lost> {
        if !self.ended.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(Lost::Ended(lock(&self.why).clone().unwrap_or_default()))
    }

    /// Wakes all that wait.
    fn stir(&self) {
        drop(lock(&self.why));
        self.stirred.notify_all();
        for peer in &self.peers {
            drop(lock(&peer.heard));
            peer.changed.notify_all();
        }
    }
}

impl Ending for Shared {
    fn end(&self, why: &str) {
        let first = {
            let mut said = lock(&self.why);
            let first = said.is_none();
            said.get_or_insert_with(|| why.to_owned());
            self.ended.store(true, Ordering::Release);
            first
        };
        self.stir();
        if first && !self.left.load(Ordering::SeqCst) {
            (self.on_end)(why);
        }
    }

    fn ended(&self) -> Option<Lost> {
        self.check().err()
    }
}

impl Link for TcpStream {
    fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        io::Read::read(&mut &*self, bytes)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut &*self, bytes)
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn close(&self) {
        // It may be closed already.
        let _ = self.shutdown(Shutdown::Both);
    }
}

/// Has a socket wait for [`SLICE`] at a time, and send what it is given at once.
///
/// # Errors
/// What the system says.
pub fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(SLICE))?;
    socket.set_write_timeout(Some(SLICE))
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_group_with_connections_keeps_the_contract_of_groups() {
        let lengths = [0, 1, 63, 16 << 10, PIECE + 1, 3 * CAPACITY + 17, 5];
        testing::a_group_keeps_its_contract(|ranks| Network::threads(ranks).unwrap(), &lengths);
    }

    #[test]
    fn who_is_silent_is_named_once_patience_ends() {
        let group = Network::threads(3).unwrap();
        group[1].send(&[1], None).unwrap();
        let mut all = [0; 3];
        let lost = group[0].gather(&[1], &mut all, Some(2 * SLICE)).unwrap_err();
        assert_eq!(lost, Lost::Silent { rank: 2, seconds: 0 });
        // What nobody takes in fills what there is on the way, and no more.
        let lost = group[0].send(&vec![0; 256 << 20], Some(2 * SLICE)).unwrap_err();
        // Both have the same to take in, and which of them is the first to be full is chance.
        assert!(matches!(lost, Lost::Silent { rank: 1 | 2, seconds: 0 }), "{lost}");
        assert!(lock(&group[1].shared.peers[0].heard).len() <= CAPACITY);
    }

    #[test]
    fn a_rank_that_is_gone_ends_the_group_for_all_others_and_they_hear_of_it_unasked() {
        let mut group = Network::threads(3).unwrap();
        let leader = Arc::clone(&group[0].shared);
        // What it said before counts.
        group[2].send(&[7], None).unwrap();
        drop(group.pop());
        let mut said = [0];
        group[0].receive(2, &mut said, None).unwrap();
        assert_eq!(said, [7]);
        let expected = Lost::Ended("the connection to rank 2 broke: it was closed".into());
        assert_eq!(group[0].receive(2, &mut said, None), Err(expected.clone()));
        assert_eq!(group[1].receive(0, &mut said, None), Err(expected.clone()), "the leading rank passes it on");
        assert_eq!(leader.ended(), Some(expected));
    }

    #[test]
    fn who_leaves_in_peace_is_told_of_no_loss_and_the_others_are() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let note = |who: &'static str| {
            let told = Arc::clone(&told);
            Box::new(move |why: &str| lock(&told).push(format!("{who}: {why}"))) as OnEnd
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap().0;
        [&dialled, &accepted].iter().for_each(|socket| prepare(socket).unwrap());
        let leader = Network::lead(vec![Box::new(dialled)], note("leader")).unwrap();
        let other = Network::join(Box::new(accepted), 1, 2, note("other")).unwrap();
        leader.send(&[1, 2], None).unwrap();
        drop(leader);
        let mut bytes = [0; 2];
        other.receive(0, &mut bytes, None).unwrap();
        assert!(other.receive(0, &mut bytes, None).is_err());
        while lock(&told).is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(*lock(&told), ["other: the connection to rank 0 broke: it was closed"]);
    }

    #[test]
    fn what_is_no_message_ends_the_group_and_no_process() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let stranger = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap().0;
        prepare(&accepted).unwrap();
        let other = Network::join(Box::new(accepted), 1, 2, Box::new(|_| {})).unwrap();
        io::Write::write_all(&mut &stranger, &(PIECE as u32 + 1).to_le_bytes()).unwrap();
        let lost = other.receive(0, &mut [0], None);
        assert_eq!(lost, Err(Lost::Ended("rank 0 has left the protocol".into())));
        assert!(Network::join(Box::new(stranger), 2, 2, Box::new(|_| {})).is_err());
    }
}
