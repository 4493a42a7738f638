//! What the leader shows of the cluster, looked at anew with each tick.

use std::collections::BTreeMap;

use store::ModelState;

use super::Leader;
use crate::crew::Link;
use crate::metrics;

/// Jobs that a worker takes at once, where there is none to ask.
const USUAL_SLOTS: usize = 32;

impl Leader {
    /// Shows the queue, the workers and the models as they are.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    pub(super) fn show(&self) {
        let now = self.settler.clock.unix_millis();
        let (mut depths, mut ages, mut waiting) = (Vec::new(), BTreeMap::<_, f64>::new(), 0);
        for (model, lines) in self.queue.lines() {
            let model = model.to_string();
            for (tenant, line) in &lines.by_tenant {
                waiting += line.len();
                depths.push((tenant.as_str(), model.clone(), line.len() as f64));
                let age = line.keys().next().map_or(0, |oldest| now.saturating_sub(oldest.unix_millis()));
                ages.insert((tenant.as_str(), model.clone()), age as f64 / 1000.0);
            }
        }
        metrics::QUEUE_DEPTH.set_all(depths.iter().map(|(tenant, model, depth)| (vec![*tenant, model], *depth)));
        metrics::QUEUE_OLDEST.set_most(ages.iter().map(|((tenant, model), age)| (vec![*tenant, model], *age)));
        let (mut connected, mut away, mut slots, mut busy) = (0, 0, 0, 0);
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
                    ModelState::Waiting => "waiting",
                    ModelState::Loading { .. } => "loading",
                    ModelState::Ready => "ready",
                    ModelState::Failed(_) => "failed",
                };
                *replicas.entry((key.to_string(), state)).or_default() += 1.0;
            }
        }
        // A model that nobody has is told of, too: somebody may wait for it.
        for hosted in &self.config.models {
            replicas.entry((hosted.key.to_string(), "ready")).or_default();
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
