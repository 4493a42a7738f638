//! What the leader shows of the cluster, looked at anew with each tick.

use std::collections::BTreeMap;

use super::Leader;
use crate::crew::{Link, ReplicaState};
use crate::metrics;

/// Jobs that a worker takes at once, where there is none to ask.
const USUAL_SLOTS: usize = 32;

impl Leader {
    /// Shows the queue, the workers and the models as they are.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    pub(super) fn show(&self) {
        let now = self.settler.clock.unix_millis();
        let mut waiting = 0;
        // A tenant may have a line of each class.
        let mut lines: BTreeMap<(&str, String), (usize, u64)> = BTreeMap::new();
        for (model, lanes) in self.queue.lines() {
            for (tenant, line) in lanes.0.iter().flat_map(|lane| &lane.by_tenant) {
                waiting += line.len();
                let age = line.keys().next().map_or(0, |oldest| now.saturating_sub(oldest.unix_millis()));
                let (depth, oldest) = lines.entry((tenant.as_str(), model.to_string())).or_default();
                *depth += line.len();
                *oldest = age.max(*oldest);
            }
        }
        let named = |tenant, model| vec![tenant, model];
        let depths = lines.iter().map(|((tenant, model), (depth, _))| (named(*tenant, model), *depth as f64));
        metrics::QUEUE_DEPTH.set_all(depths);
        let ages = lines.iter().map(|((tenant, model), (_, age))| (named(*tenant, model), *age as f64 / 1000.0));
        metrics::QUEUE_OLDEST.set_most(ages);
        let (mut connected, mut away, mut slots, mut busy) = (0_u32, 0_u32, 0, 0);
        let mut replicas: BTreeMap<(String, &str), f64> = BTreeMap::new();
        for (_, member) in self.crew.iter() {
            if let Link::Away { .. } = member.link {
                away += 1;
                continue;
            }
            connected += 1;
            slots += member.slots;
            busy += member.jobs.len().min(member.slots);
            for (key, replica) in &member.models {
                let state = match replica.state {
                    ReplicaState::Loading(_) => "loading",
                    ReplicaState::Ready => "ready",
                    ReplicaState::Retiring => "retiring",
                    ReplicaState::Unloading => "unloading",
                    ReplicaState::Failed { .. } => "failed",
                };
                *replicas.entry((key.to_string(), state)).or_default() += 1.0;
            }
            for key in member.warm() {
                *replicas.entry((key.to_string(), "warm")).or_default() += 1.0;
            }
        }
        // A model that nobody has is told of, too: somebody may wait for it.
        for model in self.hosted.keys() {
            replicas.entry((model.to_string(), "ready")).or_default();
        }
        let all = [(vec!["connected"], f64::from(connected)), (vec!["away"], f64::from(away))];
        metrics::WORKERS.set_all(all);
        let free = slots.saturating_sub(busy);
        metrics::SLOTS.set_all([(vec!["busy"], busy as f64), (vec!["free"], free as f64)]);
        let replicas = replicas.iter().map(|((model, state), count)| (vec![model.as_str(), *state], *count));
        metrics::REPLICAS.set_all(replicas);
        let each = if connected == 0 { USUAL_SLOTS } else { (slots / connected as usize).max(1) };
        metrics::PENDING.set(waiting.saturating_sub(free).div_ceil(each) as f64);
    }
}
