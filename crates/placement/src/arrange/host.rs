//! What is kept in machines' memory: the weights that were read for a GPU, so that a model which left it comes back without
//! its files being read.
//!
//! Weights are kept from when they are read on, also while their model is on its device: leaving then takes no time for who
//! waits. Where there is no room for all, what saves the most time is kept: what was asked of a model lately, times how much
//! sooner it loads.

use std::time::Duration;

use super::Move;
use super::plan::{Number, Plan};
use crate::cluster::Model;

impl Plan<'_> {
    /// Has nothing be kept of models that are hosted no longer.
    pub(super) fn cool_unhosted(&mut self) {
        for node in 0..self.nodes.len() {
            let here = &self.nodes[node];
            let unhosted = |place: &usize| !here.node.away && here.kept[*place].model.is_none();
            let unhosted: Vec<usize> = (0..here.kept.len()).filter(unhosted).collect();
            unhosted.into_iter().for_each(|place| self.cool(node, place));
        }
    }

    /// Says whether a node is to keep a model's weights that it is about to load, and makes room for them.
    pub(super) fn keep(&mut self, (node, room): (usize, Option<usize>), number: Number) -> bool {
        let (here, model) = (&self.nodes[node], self.models[number].model);
        if let Some(kept) = here.kept.iter().find(|kept| kept.model == Some(number)) {
            return !kept.cooling;
        }
        let Some(need) = model.kept_bytes.map(i128::from) else { return false };
        let on_gpu = room.is_some_and(|room| self.rooms[room].device.starts_with("cuda"));
        let Some(free) = here.shelf.filter(|_| on_gpu && !model.pinned) else { return false };
        let mut less: Vec<(f64, usize, i128)> = Vec::new();
        for (place, kept) in here.kept.iter().enumerate() {
            let saves = kept.model.map_or(0.0, |number| saving(self.models[number].model));
            if saves < saving(model) && !kept.cooling {
                less.push((saves, place, kept.bytes));
            }
        }
        less.sort_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
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
                self.cool(node, other);
            }
        }
        let shelf = &mut self.nodes[node].shelf;
        *shelf = shelf.map(|free| free - need);
        true
    }

    /// Returns how long a model takes to load on a node: little where its weights are kept there.
    pub(super) fn load_time(&self, node: usize, number: Number) -> Duration {
        let model = self.models[number].model;
        if self.warm.get(number, node) { model.warm_time } else { model.load_time }
    }

    fn cool(&mut self, node: usize, place: usize) {
        let here = &mut self.nodes[node];
        let kept = &mut here.kept[place];
        if std::mem::replace(&mut kept.cooling, true) {
            return;
        }
        let bytes = kept.bytes;
        self.moves.push(Move::Cool { model: kept.key.clone(), seat: here.seat });
        here.shelf = here.shelf.map(|free| free + bytes);
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
