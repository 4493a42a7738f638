//! The thread that waits for the disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::file::{Committed, File, failed};
use crate::error::Error;
use crate::lease::LeaseId;
use crate::metadata::{Event, Revision};
use crate::txn::{Durability, Op, Txn, TxnOutcome};
use crate::watch::{PROGRESS, size};

/// Writes that one commit may carry.
const GROUP: usize = 256;

/// Least time between two syncs while several write at once, so that more of them share one. A lone writer never waits
/// for others.
const WINDOW: Duration = Duration::from_millis(2);

/// Bytes of relaxed writes that a crash may undo; more are made durable without waiting for a durable one.
const UNSAVED_BYTES: usize = 1 << 20;

/// How soon a file that could not be opened afresh is tried again, and what could not be written.
const AGAIN: Duration = Duration::from_secs(1);

/// What the writer is asked to do.
pub enum Order {
    Commit {
        txns: Vec<Txn>,
        reply: oneshot::Sender<Result<Vec<TxnOutcome>, Error>>,
    },
    Grant {
        ttl: Duration,
        reply: oneshot::Sender<LeaseId>,
    },
    Renew {
        id: LeaseId,
        reply: oneshot::Sender<bool>,
    },
    Revoke {
        id: LeaseId,
        reply: oneshot::Sender<()>,
    },
    /// As a failure does it.
    #[cfg(test)]
    Reopen {
        reply: oneshot::Sender<()>,
    },
}

pub struct Writer {
    shared: Arc<Shared>,
    /// `None` where the file could not be opened afresh after a failure.
    file: Option<File>,
    revision: Revision,
    /// What was written since the last durable commit, to be written again where a failure undoes it: it was acknowledged.
    unsaved: Vec<Event>,
    unsaved_bytes: usize,
    leases: BTreeMap<LeaseId, Held>,
    leased: BTreeMap<String, LeaseId>,
    last_lease: i64,
}

struct Held {
    ttl: Duration,
    until: Instant,
    /// Whether it has ended and only its entries are still there.
    ended: bool,
}

struct Write {
    txns: Vec<Txn>,
    reply: Option<oneshot::Sender<Result<Vec<TxnOutcome>, Error>>>,
}

impl Writer {
    pub fn new(shared: Arc<Shared>, file: File, revision: Revision) -> Self {
        Self {
            shared,
            file: Some(file),
            revision,
            unsaved: Vec::new(),
            unsaved_bytes: 0,
            leases: BTreeMap::new(),
            leased: BTreeMap::new(),
            last_lease: 0,
        }
    }

    /// Takes what has arrived, commits it as one, tells the watchers, answers; until nobody can ask any more.
    pub fn run(mut self, mut inbox: mpsc::Receiver<Order>, clock: &Runtime) {
        let mut tick = Instant::now() + PROGRESS;
        let (mut crowd, mut began) = (false, Instant::now());
        loop {
            let Ok(order) = self.wait(&mut inbox, clock, tick) else { break };
            if tick <= Instant::now() {
                tick = Instant::now() + PROGRESS;
                self.shared.watchers.progress(self.revision);
                self.shared.views.let_go();
            }
            if let Some(first) = order {
                if crowd && matches!(&first, Order::Commit { txns, .. } if durable(txns)) {
                    std::thread::sleep(WINDOW.saturating_sub(began.elapsed()));
                }
                let mut writes = Vec::new();
                self.take(first, &mut writes);
                while writes.len() < GROUP
                    && let Ok(next) = inbox.try_recv()
                {
                    self.take(next, &mut writes);
                }
                if writes.iter().any(|write| durable(&write.txns)) {
                    (crowd, began) = (writes.len() > 1, Instant::now());
                }
                self.commit(writes);
            }
            self.end_leases();
        }
        if !self.unsaved.is_empty()
            && let Err(error) = self.write(&[], true)
        {
            tracing::error!(%error, "the last commit failed");
        }
    }

    /// Waits for an order, or until something else is due. An error says that nobody can ask any more.
    fn wait(
        &mut self,
        inbox: &mut mpsc::Receiver<Order>,
        clock: &Runtime,
        tick: Instant,
    ) -> Result<Option<Order>, mpsc::error::TryRecvError> {
        match inbox.try_recv() {
            Ok(order) => return Ok(Some(order)),
            Err(mpsc::error::TryRecvError::Empty) => {}
            Err(closed) => return Err(closed),
        }
        if self.file.is_none() {
            // Whoever only reads asks for nothing here, so this is tried without being asked.
            self.file = self.reopen().ok();
        }
        let again = self.file.is_none().then(|| Instant::now() + AGAIN);
        let lease = self.leases.values().map(|lease| lease.until).min();
        let due = again.into_iter().chain(lease).fold(tick, Instant::min);
        match clock.block_on(async { tokio::time::timeout_at(due.into(), inbox.recv()).await }) {
            Ok(Some(order)) => Ok(Some(order)),
            Ok(None) => Err(mpsc::error::TryRecvError::Disconnected),
            Err(_) => Ok(None),
        }
    }

    /// Does an order that needs no disk, or puts it with the others that do.
    fn take(&mut self, order: Order, writes: &mut Vec<Write>) {
        // Whoever asked may have gone away; what was done stands.
        match order {
            Order::Commit { txns, reply } => match self.without_lease(&txns) {
                true => drop(reply.send(Err(Error::NoLease))),
                false => writes.push(Write { txns, reply: Some(reply) }),
            },
            Order::Grant { ttl, reply } => {
                self.last_lease += 1;
                let id = LeaseId(self.last_lease);
                self.leases.insert(id, Held { ttl, until: Instant::now() + ttl, ended: false });
                let _ = reply.send(id);
            }
            Order::Renew { id, reply } => {
                let held = self.leases.get_mut(&id).filter(|held| held.holds());
                let _ = reply.send(held.is_some());
                if let Some(held) = held {
                    held.until = Instant::now() + held.ttl;
                }
            }
            #[cfg(test)]
            Order::Reopen { reply } => {
                self.file = None;
                self.file = self.reopen().ok();
                let _ = reply.send(());
            }
            Order::Revoke { id, reply } => {
                if let Some(held) = self.leases.get_mut(&id) {
                    (held.ended, held.until) = (true, Instant::now());
                }
                self.end_leases();
                let _ = reply.send(());
            }
        }
    }

    /// Says whether something is to be put under a lease that has ended.
    fn without_lease(&self, txns: &[Txn]) -> bool {
        let named = txns.iter().flat_map(|txn| &txn.ops).filter_map(|op| match op {
            Op::Put { lease, .. } => *lease,
            _ => None,
        });
        named.into_iter().any(|lease| !self.leases.get(&lease).is_some_and(Held::holds))
    }

    /// Commits together, and answers each.
    fn commit(&mut self, writes: Vec<Write>) {
        if writes.is_empty() {
            return;
        }
        let durable = self.unsaved_bytes > UNSAVED_BYTES || writes.iter().any(|write| durable(&write.txns));
        match self.write(&writes, durable) {
            Ok(mut outcomes) => {
                for write in writes {
                    let own = outcomes.drain(..write.txns.len()).collect();
                    let _ = write.reply.map(|reply| reply.send(Ok(own)));
                }
            }
            Err(error) => {
                tracing::error!(%error, "a commit failed");
                for reply in writes.into_iter().filter_map(|write| write.reply) {
                    let _ = reply.send(Err(again(&error)));
                }
            }
        }
    }

    /// Removes the entries of leases that nobody has kept, or that were given back.
    fn end_leases(&mut self) {
        let now = Instant::now();
        let ended: Vec<LeaseId> =
            self.leases.iter().filter(|(_, held)| held.until <= now).map(|(lease, _)| *lease).collect();
        for lease in ended {
            let mut txn = Txn::default().relaxed();
            for (key, _) in self.leased.iter().filter(|(_, holder)| **holder == lease) {
                txn = txn.delete(key);
            }
            // What is left of it is dropped when the file is opened again, so nothing needs to wait for the disk.
            let gone = txn.ops.is_empty() || {
                let removed = self.write(&[Write { txns: vec![txn], reply: None }], false);
                removed.inspect_err(|error| tracing::error!(%error, "an ended lease's entries stay")).is_ok()
            };
            if gone {
                self.leases.remove(&lease);
            } else if let Some(held) = self.leases.get_mut(&lease) {
                (held.ended, held.until) = (true, now + AGAIN);
            }
        }
    }

    fn write(&mut self, writes: &[Write], durable: bool) -> Result<Vec<TxnOutcome>, Error> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.reopen()?,
        };
        let txns = writes.iter().flat_map(|write| &write.txns);
        let committed = file.commit(txns, self.revision, durable, &self.leased);
        let shown = committed.and_then(|committed| Ok((file.view(committed.revision)?, committed)));
        let (view, Committed { outcomes, events, revision, leases }) = match shown {
            Ok(shown) => shown,
            Err(error) => {
                drop(file);
                // Not only when somebody writes again: what was there can be read meanwhile.
                self.file = self.reopen().ok();
                return Err(failed(&self.shared.path, error));
            }
        };
        self.file = Some(file);
        self.revision = revision;
        self.shared.views.show(view);
        for (key, lease) in leases {
            match lease {
                Some(lease) => drop(self.leased.insert(key, lease)),
                None => drop(self.leased.remove(&key)),
            }
        }
        if durable {
            self.saved();
        } else {
            self.unsaved_bytes += events.iter().map(size).sum::<usize>();
            self.unsaved.extend(events.iter().cloned());
        }
        self.shared.watchers.publish(events);
        Ok(outcomes)
    }

    /// Opens the file afresh: after an I/O failure (a full disk) redb refuses everything.
    fn reopen(&mut self) -> Result<File, Error> {
        let shared = Arc::clone(&self.shared);
        let mut opened = None;
        // Two openings of one file exclude each other, and a view keeps its own alive.
        shared.views.renew(|| {
            let (file, revision) = File::reopen(&shared.path)?;
            if revision > self.revision {
                // What failed was done all the same, and nobody was told.
                self.revision = revision;
                self.leased = file.leased().map_err(|error| failed(&shared.path, error))?;
                self.saved();
                shared.watchers.resync(revision);
            }
            let restored = file.restore(&self.unsaved, &self.leased).and_then(|()| file.view(self.revision));
            let view = restored.map_err(|error| failed(&shared.path, error))?;
            opened = Some(file);
            Ok::<_, Error>(view)
        })?;
        opened.ok_or(Error::Closed)
    }

    fn saved(&mut self) {
        self.unsaved.clear();
        self.unsaved_bytes = 0;
    }
}

impl Held {
    fn holds(&self) -> bool {
        !self.ended && Instant::now() < self.until
    }
}

fn durable(txns: &[Txn]) -> bool {
    txns.iter().any(|txn| txn.durability == Durability::Durable)
}

/// Says the same failure to each of a group.
fn again(error: &Error) -> Error {
    match error {
        Error::NoSpace { place } => Error::NoSpace { place: place.clone() },
        Error::InUse(path) => Error::InUse(path.clone()),
        Error::Failed { place, source } => Error::Failed { place: place.clone(), source: source.to_string().into() },
        other => Error::Failed { place: "the store".into(), source: other.to_string().into() },
    }
}
