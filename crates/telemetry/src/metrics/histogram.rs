//! How often something took how much.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, TryLockError};
use std::time::{Duration, SystemTime};

use super::series::Series;
use super::{Described, Kind, Label, Metric, Reading};
use crate::trace::Trace;

/// Bounds from a ten-thousandth of a second to an hour.
pub const SECONDS: &[f64] =
    &[0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 120.0, 600.0, 3600.0];

/// Bounds for counts.
pub mod buckets {
    /// Of what comes in ones and hundreds.
    pub const COUNTS: &[f64] = &[1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0, 128.0, 256.0];
    /// Of a whole.
    pub const RATIOS: &[f64] = &[0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
}

/// Counts by size.
pub struct Histogram {
    described: Described,
    bounds: &'static [f64],
    series: Series<Distribution>,
}

/// One series of a histogram.
pub struct Distribution {
    bounds: &'static [f64],
    /// How many lie in each bucket and no lower one; the last is for what is above all bounds.
    counts: Box<[AtomicU64]>,
    /// The bits of a float.
    sum: AtomicU64,
    /// The latest traced value of each bucket. Nobody waits for it.
    exemplars: Mutex<Vec<Option<Exemplar>>>,
}

/// A value, and the trace that it comes from.
#[derive(Clone, Debug)]
pub struct Exemplar {
    pub value: f64,
    pub trace: String,
    pub at: SystemTime,
}

/// What a series says at a time.
pub struct Snapshot {
    /// The upper bound of each bucket, how many lie below it, and an example.
    pub buckets: Vec<(f64, u64, Option<Exemplar>)>,
    pub sum: f64,
}

impl Histogram {
    #[must_use]
    pub const fn new(name: &'static str, help: &'static str, labels: &'static [Label], bounds: &'static [f64]) -> Self {
        Self { described: Described { name, help, labels }, bounds, series: Series::new(labels) }
    }

    /// Finds the series of these values, in the order of the labels.
    pub fn with(&'static self, values: &[&str]) -> &'static Distribution {
        self.series.with(values, || Distribution::new(self.bounds))
    }
}

impl Distribution {
    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0.0f64.to_bits()), exemplars: Mutex::default() }
    }

    pub fn observe(&self, value: f64) {
        self.put(value);
    }

    pub fn time(&self, time: Duration) {
        self.put(time.as_secs_f64());
    }

    /// Observes a time, and names the trace that it belongs to, where there is one.
    pub fn traced(&self, time: Duration, trace: Option<&Trace>) {
        let value = time.as_secs_f64();
        let bucket = self.put(value);
        let Some(trace) = trace else { return };
        // Whoever finds it taken has an exemplar the less.
        let mut exemplars = match self.exemplars.try_lock() {
            Ok(exemplars) => exemplars,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        exemplars.resize(self.counts.len(), None);
        exemplars[bucket] = Some(Exemplar { value, trace: trace.id(), at: SystemTime::now() });
    }

    fn put(&self, value: f64) -> usize {
        let bucket = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let more = |bits| Some((f64::from_bits(bits) + value).to_bits());
        // It always gives a next value.
        let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        bucket
    }

    fn snapshot(&self) -> Snapshot {
        let exemplars = match self.exemplars.lock() {
            Ok(exemplars) => exemplars.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        };
        let mut below = 0;
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets = bounds.zip(&self.counts).enumerate().map(|(index, (bound, count))| {
            below += count.load(Ordering::Relaxed);
            (bound, below, exemplars.get(index).cloned().flatten())
        });
        Snapshot { buckets: buckets.collect(), sum: f64::from_bits(self.sum.load(Ordering::Relaxed)) }
    }
}

impl Metric for Histogram {
    fn described(&self) -> &Described {
        &self.described
    }

    fn kind(&self) -> Kind {
        Kind::Histogram
    }

    fn read(&self, each: &mut dyn FnMut(&[String], Reading)) {
        self.series.each(|values, cell| each(values, Reading::Distribution(cell.snapshot())));
    }
}
