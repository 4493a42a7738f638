//! Chooses which models are loaded where, and which leave.
//!
//! Room goes by urgency: first to models that are booked; then to those that somebody waits for and nobody has, the longest
//! wait before the others; then to those with fewer replicas than they are to keep; then to those whose work takes long; and
//! what is left to models that take any room there is. All but the last may make others leave. What they are to have is
//! *claimed* from then on, so that nobody else takes room which somebody was made to leave.
//!
//! Who leaves is the replica of least value: what was asked of its model lately, times how long that takes to load again,
//! which is little where its weights are kept in the machine's memory ([`host`]).
//! Two rules keep models from chasing each other. One that is asked for stays for [`RESIDENCE`], or four times as long as
//! it takes to load again where that is longer: then no more than a fifth of a node's time goes into loading. And for the sake of
//! more replicas only what is worth half as much leaves. That nobody waits for ever follows from the first: whoever is
//! ready has stayed long enough one day, is given no more jobs for the sake of who waits, and leaves when its last has
//! ended.

mod group;
mod host;
mod places;
mod plan;
mod waits;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use ids::ModelKey;

use crate::cluster::{Cluster, Replicas, Stage};
use crate::view::Seat;
use plan::{At, Number, Plan};

/// How long a model that is asked for stays, at least, before another takes its place.
pub const RESIDENCE: Duration = Duration::from_secs(10);

/// How long a replica beyond the least stays that has nothing to do, where replicas are limited.
pub const IDLE: Duration = Duration::from_secs(600);

/// Device time that waits for each replica, beyond which another one is worth loading.
const BACKLOG: Duration = Duration::from_secs(30);

/// Demand below which a model is taken to be asked for no longer: a second of work, seven half-lives ago.
const FADED: f64 = 0.01;

/// What is to be done about a model on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    Load {
        model: ModelKey,
        seat: Seat,
        /// Where to put it; `None` where its node has not said what it has.
        device: Option<String>,
        /// Whether its node is to keep its weights in memory, so that it comes back sooner.
        keep: bool,
        /// The nodes and devices for its other ranks, in their order; all on its own node, or on several.
        beside: Vec<(Seat, String)>,
        /// What it takes of each of these devices, as far as is known.
        bytes: u64,
    },
    /// Gives it no more jobs. It is unloaded when it has none.
    Retire { model: ModelKey, seat: Seat },
    /// It has no jobs.
    Unload { model: ModelKey, seat: Seat },
    /// Its node is to keep its weights in memory no longer.
    Cool { model: ModelKey, seat: Seat },
}

/// Why a model that is wanted is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is being loaded.
    Loading,
    /// Another one has to leave first.
    Room,
    /// No worker is there that may have it.
    Nobody,
    /// It takes more than any worker has for models.
    TooLarge { bytes: u64, most: u64 },
    /// No worker has room for all of its ranks, and fewer than it takes could hold one each, of so many bytes.
    TooFew { ranks: usize, bytes: u64, there: usize },
    /// It is there for its windows only, and the next begins at this time, in milliseconds since 1970, if there is one.
    Closed(Option<u64>),
}

/// How a model that is wanted is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    pub why: Why,
    /// How long it may take until it is ready, where that can be said.
    pub about: Option<Duration>,
}

/// What was chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrangement {
    pub moves: Vec<Move>,
    /// Of models that somebody waits for and that are ready nowhere.
    pub waits: BTreeMap<ModelKey, Wait>,
}

/// Chooses which models are loaded and unloaded now: same cluster and instant, same moves.
#[must_use]
pub fn arrange(cluster: &Cluster, now: Duration) -> Arrangement {
    let mut plan = Plan::new(cluster, now);
    plan.let_leave();
    plan.bring();
    plan.tell_waits();
    Arrangement { moves: plan.moves, waits: plan.waits }
}

/// How urgently a model is wanted on one more node; the least is first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// It is booked from this time on, in milliseconds since 1970.
    Booked(u64),
    /// Somebody waits for it since then, and nobody has it.
    Waited(Duration),
    BelowMin,
    /// More work waits than its replicas do soon; so many milliseconds of it for each.
    Backlog(Reverse<u128>),
}

impl Plan<'_> {
    /// Has those leave who are not wanted where they are, whoever wants their room.
    fn let_leave(&mut self) {
        self.cool_unhosted();
        let all = self.nodes.iter().enumerate();
        let all: Vec<At> =
            all.flat_map(|(node, here)| (0..here.residents.len()).map(move |place| (node, place))).collect();
        for at in all {
            let replica = self.replica(at);
            let unwanted = match self.resident(at).model {
                None => true,
                Some(number) => {
                    let hosted = &self.models[number];
                    // Elsewhere first: where it failed, it is asked for no longer once another has it.
                    let elsewhere = replica.stage == Stage::Failed
                        && hosted.held >= hosted.wanted.max.unwrap_or(usize::MAX).min(self.nodes.len());
                    let draining = self.nodes[at.0].node.draining || self.resident(at).drains;
                    elsewhere || replica.stale || draining || replica.stage == Stage::Retiring
                }
            };
            if unwanted {
                self.leave(at);
            }
        }
        for number in 0..self.models.len() {
            let Replicas { min, max: Some(max) } = self.models[number].wanted else { continue };
            let model = self.models[number].model;
            let least = min.max(usize::from(model.work.since.is_some()));
            let stays = |at: &At| self.replica(*at).stage == Stage::Ready && !self.resident(*at).going;
            let mut replicas: Vec<At> = self.models[number].replicas.iter().copied().filter(stays).collect();
            // Those without work first, and of them who has been so the longest.
            replicas.sort_by_key(|at| (self.replica(*at).jobs, self.replica(*at).used, Reverse(at.0)));
            for at in replicas {
                let replica = self.replica(at);
                let idle = replica.jobs == 0 && replica.used.max(replica.since) + IDLE <= self.now && !model.pinned;
                let ready = self.models[number].ready;
                if ready > max || (idle && ready > least) {
                    self.leave(at);
                }
            }
        }
    }

    /// Has those come who are wanted.
    fn bring(&mut self) {
        let urgent = |number: Number| self.urgency(number).map(|urgency| (urgency, number));
        let mut wanted: Vec<(Urgency, Number)> = (0..self.models.len()).filter_map(urgent).collect();
        wanted.sort_unstable();
        for (urgency, number) in wanted {
            let kept = matches!(urgency, Urgency::Booked(_) | Urgency::BelowMin);
            let hosted = &self.models[number];
            self.find_room(urgency, number, if kept { hosted.wanted.min - hosted.held } else { 1 });
        }
        self.fill();
    }

    /// Returns how urgently one more replica of a model is wanted, where it is.
    fn urgency(&self, number: Number) -> Option<Urgency> {
        let hosted = &self.models[number];
        let (wanted, held, work) = (hosted.wanted, hosted.held, hosted.model.work);
        if wanted.max == Some(0) {
            return None;
        }
        match work.since {
            _ if held < wanted.min && hosted.booked.is_some() => hosted.booked.map(Urgency::Booked),
            Some(since) if held == 0 => Some(Urgency::Waited(since)),
            _ if held < wanted.min => Some(Urgency::BelowMin),
            Some(_) if self.could_use_another(number) => {
                Some(Urgency::Backlog(Reverse(work.time.as_millis() / held.max(1) as u128)))
            }
            _ => None,
        }
    }

    fn could_use_another(&self, number: Number) -> bool {
        let hosted = &self.models[number];
        let most = hosted.wanted.max.unwrap_or(usize::MAX).min(self.nodes.len());
        let soon = BACKLOG.max(hosted.model.load_time).saturating_mul(u32::try_from(hosted.held).unwrap_or(u32::MAX));
        let loads = |at: &At| self.replica(*at).stage == Stage::Loading;
        hosted.held < most && hosted.model.work.time > soon && !hosted.replicas.iter().any(loads)
    }

    fn leave(&mut self, at: At) {
        let replica = self.replica(at);
        let here = &mut self.nodes[at.0];
        let resident = &mut here.residents[at.1];
        let waits = replica.stage == Stage::Retiring && replica.jobs > 0;
        if here.node.away || replica.stage == Stage::Unloading || waits || std::mem::replace(&mut resident.going, true)
        {
            return;
        }
        let (model, seat) = (resident.key.clone(), here.seat);
        self.moves.push(match replica.jobs {
            0 => Move::Unload { model, seat },
            _ => Move::Retire { model, seat },
        });
        if matches!(replica.stage, Stage::Loading | Stage::Ready) {
            if let Some(number) = resident.model.filter(|_| here.node.is_open()) {
                self.models[number].held -= 1;
                self.models[number].ready -= usize::from(replica.stage == Stage::Ready);
            }
            for room in resident.room.into_iter().chain(resident.beside.iter().copied()) {
                self.rooms[room].leaving += i128::from(replica.bytes);
            }
        }
    }
}
