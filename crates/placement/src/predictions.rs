//! How long a job is likely to have a device.

use std::collections::BTreeMap;
use std::time::Duration;

use ids::{ModelKey, TenantId};

/// The device time of jobs by model and tenant, learned from what was measured.
#[derive(Clone, Debug, Default)]
pub struct Predictions {
    models: BTreeMap<ModelKey, Learned>,
}

#[derive(Clone, Debug, Default)]
struct Learned {
    all: Option<Duration>,
    tenants: BTreeMap<TenantId, Duration>,
}

/// What a job is taken to need of a model that nobody has used yet.
const UNKNOWN: Duration = Duration::from_secs(1);
/// No job is for nothing: turns of jobs that take no time have to go round as well.
const LEAST: Duration = Duration::from_millis(1);
/// The weight of what came last.
const NEWEST: f64 = 0.2;
/// Tenants that are told apart for each model; others are taken for the average.
const TENANTS: usize = 1024;

impl Predictions {
    /// Returns the device time that a tenant's next job on a model is likely to take.
    #[must_use]
    pub fn of(&self, model: &ModelKey, tenant: &TenantId) -> Duration {
        let learned = self.models.get(model);
        let known = learned.and_then(|learned| learned.tenants.get(tenant).copied().or(learned.all));
        known.unwrap_or(UNKNOWN).max(LEAST)
    }

    /// Takes in what a job took.
    pub fn learn(&mut self, model: &ModelKey, tenant: &TenantId, took: Duration) {
        let learned = self.models.entry(model.clone()).or_default();
        learned.all = Some(learned.all.map_or(took, |before| mix(before, took)));
        if let Some(before) = learned.tenants.get_mut(tenant) {
            *before = mix(*before, took);
        } else if learned.tenants.len() < TENANTS {
            learned.tenants.insert(tenant.clone(), took);
        }
    }

    /// Forgets a model that is hosted no longer.
    pub fn forget(&mut self, model: &ModelKey) {
        self.models.remove(model);
    }
}

fn mix(before: Duration, newest: Duration) -> Duration {
    before.mul_f64(1.0 - NEWEST) + newest.mul_f64(NEWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_own_jobs_say_most_then_those_of_all_and_one_long_job_is_not_all() {
        let mut predictions = Predictions::default();
        let (model, one, other) = (ModelKey::new("o/n", None), TenantId::new("one"), TenantId::new("other"));
        assert_eq!(predictions.of(&model, &one), UNKNOWN);
        predictions.learn(&model, &one, Duration::from_secs(10));
        assert_eq!(predictions.of(&model, &one), Duration::from_secs(10));
        assert_eq!(predictions.of(&model, &other), Duration::from_secs(10));
        predictions.learn(&model, &other, Duration::ZERO);
        assert_eq!(predictions.of(&model, &other), LEAST);
        assert_eq!(predictions.of(&model, &one), Duration::from_secs(10));
        predictions.learn(&model, &one, Duration::from_secs(20));
        assert_eq!(predictions.of(&model, &one), Duration::from_secs(12));
    }
}
