//! What is kept in machines' memory: the weights that were read for a GPU, so that a model which left it comes back without
//! its files being read.
//!
//! Weights are kept from when they are read on, also while their model is on its device: leaving then takes no time for who
//! waits. Where there is no room for all, what saves the most time is kept: what was asked of a model lately, times how much
//! sooner it loads.

use std::time::Duration;

use ids::ModelKey;

use super::{Move, Plan};
use crate::cluster::Model;
use crate::view::Seat;

impl<'a> Plan<'a> {
    /// Has nothing be kept of models that are hosted no longer.
    pub(super) fn cool_unhosted(&mut self) {
        let cluster = self.cluster;
        for (&seat, node) in cluster.nodes.iter().filter(|(_, node)| !node.away) {
            for key in node.kept.keys().filter(|key| !cluster.models.contains_key(*key)) {
                self.cool(seat, key);
            }
        }
    }

    /// Says whether a node is to keep a model's weights that it is about to load, and makes room for them.
    pub(super) fn keep(&mut self, seat: Seat, device: Option<&str>, key: &'a ModelKey) -> bool {
        let cluster = self.cluster;
        let Some((node, model)) = cluster.nodes.get(&seat).zip(cluster.models.get(key)) else { return false };
        if node.kept.contains_key(key) {
            return !self.cooling.contains(&(seat, key));
        }
        let Some(need) = model.kept_bytes.map(i128::from) else { return false };
        let on_gpu = device.is_some_and(|device| device.starts_with("cuda"));
        let Some(free) = self.hosts.get(&seat).copied().filter(|_| on_gpu && !model.pinned) else { return false };
        let mut less: Vec<(f64, &'a ModelKey, i128)> = Vec::new();
        for (other, kept) in &node.kept {
            let saves = cluster.models.get(other).map_or(0.0, saving);
            if saves < saving(model) && !self.cooling.contains(&(seat, other)) {
                less.push((saves, other, i128::from(kept.bytes)));
            }
        }
        less.sort_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(right.1)));
        let (mut room, mut leaves) = (free, Vec::new());
        for (_, other, bytes) in less {
            if room >= need {
                break;
            }
            room += bytes;
            leaves.push((other, bytes));
        }
        if room < need {
            return false;
        }
        // What was taken before something larger made it needless stays.
        for (other, bytes) in leaves {
            if room - bytes >= need {
                room -= bytes;
            } else {
                self.cool(seat, other);
            }
        }
        if let Some(free) = self.hosts.get_mut(&seat) {
            *free -= need;
        }
        true
    }

    /// Returns how long a model takes to load on a node: little where its weights are kept there.
    pub(super) fn load_time(&self, (seat, key): (Seat, &ModelKey), model: &Model) -> Duration {
        let kept = self.cluster.nodes.get(&seat).and_then(|node| node.kept.get(key));
        if kept.is_some_and(|kept| kept.ready) { model.warm_time } else { model.load_time }
    }

    fn cool(&mut self, seat: Seat, key: &'a ModelKey) {
        if !self.cooling.insert((seat, key)) {
            return;
        }
        let kept = self.cluster.nodes.get(&seat).and_then(|node| node.kept.get(key));
        if let (Some(free), Some(kept)) = (self.hosts.get_mut(&seat), kept) {
            *free += i128::from(kept.bytes);
        }
        self.moves.push(Move::Cool { model: key.clone(), seat });
    }
}

/// Returns what it is worth to keep a model's weights. One that never leaves needs none.
fn saving(model: &Model) -> f64 {
    if model.pinned {
        return 0.0;
    }
    let seconds = model.demand + model.work.time.as_secs_f64();
    seconds * model.load_time.saturating_sub(model.warm_time).as_secs_f64()
}
