//! The processes of workers that are known, reached or not, and what each has.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use ids::{InstanceId, JobId, ModelKey, TenantId, Token, WorkerId};

use crate::sessions::{Closed, Outbox, SessionId};
use placement::{Charge, Kept, Seat, Worker};
use store::{CertificateEnd, DeviceMemory, JobProgress};

/// The known processes. No two of one name are known at once.
#[derive(Default)]
pub struct Crew {
    members: BTreeMap<Seat, Member>,
    names: HashMap<WorkerId, Seat>,
    /// Whose each open session is.
    sessions: HashMap<SessionId, Seat>,
    last: Seat,
}

/// One process of a worker.
pub struct Member {
    pub worker: WorkerId,
    pub instance: InstanceId,
    /// The latest of its hellos.
    pub dial: u64,
    pub slots: usize,
    pub version: String,
    /// Bytes for models, by device.
    pub devices: BTreeMap<String, u64>,
    /// Whether it is given nothing new.
    pub cordoned: bool,
    pub link: Link,
    pub jobs: BTreeMap<JobId, Assigned>,
    pub models: BTreeMap<ModelKey, Replica>,
    /// Bytes of its memory for weights that are kept, and what is kept.
    pub host: u64,
    pub kept: BTreeMap<ModelKey, Kept>,
    /// Where it holds ranks of models that others serve; empty where it holds none.
    pub rank_address: String,
    /// What it measured last.
    pub memory: Vec<DeviceMemory>,
    pub progress: Vec<JobProgress>,
    /// The certificates that it uses.
    pub certificates: Vec<CertificateEnd>,
}

/// The way to a process.
pub enum Link {
    Open {
        session: SessionId,
        outbox: Outbox,
    },
    /// It may come back until an instant, with what it has.
    Away {
        until: Duration,
        closed: Closed,
    },
}

/// A job that a process has.
pub struct Assigned {
    pub token: Token,
    pub tenant: TenantId,
    pub model: ModelKey,
    /// What its tenant and its class were charged for it.
    pub charge: Charge,
    pub alone: bool,
    pub run_time: Duration,
    pub phase: Phase,
    /// When something is done about it, while its process can be reached.
    pub deadline: Option<Duration>,
}

/// How far a job is with the process that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Given,
    Running,
    /// It has run, and its result is written.
    Writing,
    /// It was told to let go.
    Leaving,
}

/// A model on one worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Replica {
    pub state: ReplicaState,
    pub device: Option<String>,
    /// What it takes there, as far as is known.
    pub bytes: u64,
    /// The workers and devices that hold its other ranks, in their order.
    pub beside: Vec<(WorkerId, String)>,
    /// When it came to its state.
    pub since: Duration,
    /// When it last had a job.
    pub used: Duration,
    /// Whether its model was specified otherwise when it was loaded.
    pub stale: bool,
}

/// How far a model is on one worker.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplicaState {
    /// From 0 to 1.
    Loading(f32),
    Ready,
    /// It is given no more jobs.
    Retiring,
    Unloading,
    /// Why, and whether it can be loaded nowhere.
    Failed {
        why: String,
        hopeless: bool,
    },
}

impl Crew {
    /// Takes in a process that was not known, without a way to it.
    pub fn join(&mut self, member: Member) -> Seat {
        self.last += 1;
        self.names.insert(member.worker.clone(), self.last);
        self.members.insert(self.last, member);
        self.last
    }

    /// Notes the way to a process. Returns the one that it had before, if that is open.
    pub fn attach(&mut self, seat: Seat, session: SessionId, outbox: Outbox) -> Option<Outbox> {
        let member = self.members.get_mut(&seat)?;
        self.sessions.insert(session, seat);
        match std::mem::replace(&mut member.link, Link::Open { session, outbox }) {
            Link::Open { session, outbox } => {
                self.sessions.remove(&session);
                Some(outbox)
            }
            Link::Away { .. } => None,
        }
    }

    /// Notes that a session ended. Returns whose it was, unless that has another by now.
    pub fn detach(&mut self, session: SessionId, closed: Closed, until: Duration) -> Option<Seat> {
        let seat = self.sessions.remove(&session)?;
        self.members.get_mut(&seat)?.link = Link::Away { until, closed };
        Some(seat)
    }

    /// Forgets a process.
    pub fn remove(&mut self, seat: Seat) -> Option<Member> {
        let member = self.members.remove(&seat)?;
        self.names.remove(&member.worker);
        if let Link::Open { session, .. } = &member.link {
            self.sessions.remove(session);
        }
        Some(member)
    }

    pub fn get(&self, seat: Seat) -> Option<&Member> {
        self.members.get(&seat)
    }

    pub fn get_mut(&mut self, seat: Seat) -> Option<&mut Member> {
        self.members.get_mut(&seat)
    }

    pub fn named(&self, worker: &WorkerId) -> Option<Seat> {
        self.names.get(worker).copied()
    }

    pub fn of_session(&self, session: SessionId) -> Option<Seat> {
        self.sessions.get(&session).copied()
    }

    pub fn of_instance(&self, instance: &InstanceId) -> Option<Seat> {
        self.members.iter().find(|(_, member)| member.instance == *instance).map(|(seat, _)| *seat)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Seat, &Member)> {
        self.members.iter().map(|(seat, member)| (*seat, member))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Seat, &mut Member)> {
        self.members.iter_mut().map(|(seat, member)| (*seat, member))
    }
}

impl Replica {
    /// Returns whether others than the worker that serves it hold ranks of it.
    pub fn spans(&self, worker: &WorkerId) -> bool {
        spans(worker, &self.beside)
    }
}

/// Returns whether other workers are among those that hold ranks beside a worker.
pub fn spans(worker: &WorkerId, beside: &[(WorkerId, String)]) -> bool {
    beside.iter().any(|(other, _)| other != worker)
}

impl Member {
    /// Returns the way to it, if there is one.
    pub fn outbox(&self) -> Option<&Outbox> {
        match &self.link {
            Link::Open { outbox, .. } => Some(outbox),
            Link::Away { .. } => None,
        }
    }

    /// Returns the models whose weights it keeps and that it has on no device.
    pub fn warm(&self) -> impl Iterator<Item = &ModelKey> {
        let kept = self.kept.iter().filter(|(key, kept)| kept.ready && !self.models.contains_key(*key));
        kept.map(|(key, _)| key)
    }

    /// Returns how decisions see it.
    pub fn view(&self) -> Worker {
        let ready = self.models.iter().filter(|(_, replica)| replica.state == ReplicaState::Ready);
        Worker {
            slots: self.slots,
            busy: self.jobs.len(),
            alone: self.jobs.values().any(|assigned| assigned.alone),
            ready: ready.map(|(key, _)| key.clone()).collect(),
        }
    }
}
