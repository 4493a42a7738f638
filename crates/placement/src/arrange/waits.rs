//! What is told of models that somebody waits for.

use std::time::Duration;

use super::plan::{At, Number, Plan};
use super::{Wait, Why};
use crate::cluster::Stage;

impl Plan<'_> {
    /// Says of each model that is waited for and ready nowhere why that is, and for how long.
    pub(super) fn tell_waits(&mut self) {
        let waits =
            (0..self.models.len()).filter_map(|number| Some((self.models[number].key.clone(), self.wait(number)?)));
        self.waits = waits.collect();
    }

    fn wait(&self, number: Number) -> Option<Wait> {
        let hosted = &self.models[number];
        let is = |at: &At, stage: Stage| self.replica(*at).stage == stage && self.nodes[at.0].node.is_open();
        if hosted.model.work.since.is_none() || hosted.replicas.iter().any(|at| is(at, Stage::Ready)) {
            return None;
        }
        let loading = hosted.replicas.iter().filter(|at| is(at, Stage::Loading)).map(|at| at.0);
        let loading = loading.chain(hosted.coming.iter().copied());
        Some(if let Some(about) = loading.map(|node| self.load_time(node, number)).min() {
            Wait { why: Why::Loading, about: Some(about) }
        } else if hosted.wanted.max == Some(0) {
            let opens = hosted.model.opens(self.time);
            let left = opens.map(|opens| Duration::from_millis(opens.saturating_sub(self.time)));
            Wait { why: Why::Closed(opens), about: left }
        } else {
            self.wait_of(number)
        })
    }

    fn wait_of(&self, number: Number) -> Wait {
        let hosted = &self.models[number];
        let bytes = i128::from(hosted.model.bytes.unwrap_or(0));
        let mut most = 0;
        let mut soonest: Option<Duration> = None;
        for (node, here) in self.nodes.iter().enumerate().filter(|(_, here)| here.node.is_open()) {
            if here.rooms.is_empty() {
                return Wait { why: Why::Room, about: None };
            }
            most = here.node.devices.values().copied().max().unwrap_or(0).max(most);
            let mut rooms = here.rooms_for(hosted, &self.rooms).0;
            let large = |room: usize| self.rooms[room].all >= bytes;
            let able = if self.is_group(number) {
                self.windows(node, rooms, number).into_iter().any(|window| window.into_iter().all(large))
            } else {
                rooms.any(large)
            };
            let able = able && !here.node.away;
            if !able && !hosted.replicas.iter().any(|at| at.0 == node) {
                continue;
            }
            // Whoever has to stay longest of those here; what runs then may take longer.
            let ready = here.stays + self.load_time(node, number);
            soonest = Some(soonest.map_or(ready, |before| before.min(ready)));
        }
        match soonest {
            Some(ready) => Wait { why: Why::Room, about: Some(ready) },
            None if self.is_group(number) => {
                let (there, bytes) = self.ranks_there(number);
                let ranks = hosted.model.ranks;
                if there >= ranks {
                    return Wait { why: Why::Room, about: None };
                }
                let bytes = u64::try_from(bytes).unwrap_or(0);
                Wait { why: Why::TooFew { ranks, bytes, there }, about: None }
            }
            None if most > 0 => {
                Wait { why: Why::TooLarge { bytes: hosted.model.bytes.unwrap_or(0), most }, about: None }
            }
            None => Wait { why: Why::Nobody, about: None },
        }
    }
}
