//! Metrics: each is declared once, as a static of the crate that counts it, and shown by a [`Registry`] as Prometheus reads
//! it.
//!
//! Counting takes no lock and no memory: the series of a metric are found in a table that only grows ([`series`]), and are
//! atomics. Where that is written down is [`text`]. (Libraries for this take a lock to find a series, and let nobody ask
//! what metrics there are before something was counted.)

mod histogram;
mod process;
mod series;
mod text;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use series::Series;

pub use histogram::{Distribution, Histogram, SECONDS, buckets};
pub use text::Form;

/// The value of a label that stands for all that are not told apart.
pub const OTHER: &str = "_other";

/// A label, and which values it may have.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    pub name: &'static str,
    pub values: Values,
}

/// The values of a label. Whatever else is counted is counted as [`OTHER`].
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// These.
    Of(&'static [&'static str]),
    /// The first so many that come.
    First(usize),
}

impl Label {
    /// Makes a label with these values.
    #[must_use]
    pub const fn of(name: &'static str, values: &'static [&'static str]) -> Self {
        Self { name, values: Values::Of(values) }
    }
}

/// Models that are told apart.
pub const MODEL: Label = Label { name: "model", values: Values::First(256) };

/// Tenants that are told apart.
pub const TENANT: Label = Label { name: "tenant", values: Values::First(100) };

/// What a metric is called and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Described {
    /// With its unit at the end.
    pub name: &'static str,
    /// A sentence.
    pub help: &'static str,
    pub labels: &'static [Label],
}

/// How a metric is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric, of whichever kind.
pub trait Metric: Sync {
    fn described(&self) -> &Described;

    fn kind(&self) -> Kind;

    /// Calls `each` with the values of the labels, and the readings, of every series.
    fn read(&self, each: &mut dyn FnMut(&[String], Reading));
}

/// What one series says.
pub enum Reading {
    /// Of a counter or a gauge.
    Number(f64),
    Distribution(histogram::Snapshot),
}

/// Counts what happens.
pub struct Counter {
    described: Described,
    series: Series<Count>,
}

/// One series of a counter.
#[derive(Default)]
pub struct Count(AtomicU64);

impl Counter {
    #[must_use]
    pub const fn new(name: &'static str, help: &'static str, labels: &'static [Label]) -> Self {
        Self { described: Described { name, help, labels }, series: Series::new(labels) }
    }

    /// Finds the series of these values, in the order of the labels.
    pub fn with(&'static self, values: &[&str]) -> &'static Count {
        self.series.with(values, Count::default)
    }

    /// Counts one, where there are no labels.
    pub fn count(&'static self) {
        self.with(&[]).add(1);
    }
}

impl Count {
    pub fn one(&self) {
        self.add(1);
    }

    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }
}

impl Metric for Counter {
    fn described(&self) -> &Described {
        &self.described
    }

    fn kind(&self) -> Kind {
        Kind::Counter
    }

    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    fn read(&self, each: &mut dyn FnMut(&[String], Reading)) {
        self.series.prepare(Count::default);
        self.series.each(|values, count| each(values, Reading::Number(count.0.load(Ordering::Relaxed) as f64)));
    }
}

/// Counts seconds, which come in parts.
pub struct SecondsCounter {
    described: Described,
    series: Series<SecondsCount>,
}

/// One series of seconds, in nanoseconds.
#[derive(Default)]
pub struct SecondsCount(AtomicU64);

impl SecondsCounter {
    #[must_use]
    pub const fn new(name: &'static str, help: &'static str, labels: &'static [Label]) -> Self {
        Self { described: Described { name, help, labels }, series: Series::new(labels) }
    }

    /// Finds the series of these values, in the order of the labels.
    pub fn with(&'static self, values: &[&str]) -> &'static SecondsCount {
        self.series.with(values, SecondsCount::default)
    }
}

impl SecondsCount {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "584 years fit")]
    pub fn add(&self, seconds: f64) {
        self.0.fetch_add((seconds * 1e9) as u64, Ordering::Relaxed);
    }

    #[expect(clippy::cast_possible_truncation, reason = "584 years fit")]
    pub fn time(&self, time: Duration) {
        self.0.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Notes how many there are by now, where somebody else counts.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "584 years fit")]
    fn set(&self, seconds: f64) {
        self.0.store((seconds * 1e9) as u64, Ordering::Relaxed);
    }
}

impl Metric for SecondsCounter {
    fn described(&self) -> &Described {
        &self.described
    }

    fn kind(&self) -> Kind {
        Kind::Counter
    }

    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    fn read(&self, each: &mut dyn FnMut(&[String], Reading)) {
        self.series.prepare(SecondsCount::default);
        self.series.each(|values, count| each(values, Reading::Number(count.0.load(Ordering::Relaxed) as f64 / 1e9)));
    }
}

/// Says how much there is of something.
pub struct Gauge {
    described: Described,
    series: Series<Level>,
}

/// One series of a gauge.
#[derive(Default)]
pub struct Level(AtomicU64);

impl Gauge {
    #[must_use]
    pub const fn new(name: &'static str, help: &'static str, labels: &'static [Label]) -> Self {
        Self { described: Described { name, help, labels }, series: Series::new(labels) }
    }

    /// Finds the series of these values, in the order of the labels.
    pub fn with(&'static self, values: &[&str]) -> &'static Level {
        self.series.with(values, Level::default)
    }

    /// Sets the value, where there are no labels.
    pub fn set(&'static self, value: f64) {
        self.with(&[]).set(value);
    }

    /// Sets what is told, by its labels, and all other series to nothing: for what is counted afresh each time.
    pub fn set_all<'a>(&'static self, told: impl IntoIterator<Item = (Vec<&'a str>, f64)>) {
        self.set_joined(told, |one, other| one + other);
    }

    /// Does the same, where the largest counts of those that are told under one name.
    pub fn set_most<'a>(&'static self, told: impl IntoIterator<Item = (Vec<&'a str>, f64)>) {
        self.set_joined(told, f64::max);
    }

    /// Sets each series once, so that nobody sees a number that was never true. Several that are told may be one series:
    /// those that are counted as other ones.
    fn set_joined<'a>(
        &'static self,
        told: impl IntoIterator<Item = (Vec<&'a str>, f64)>,
        join: impl Fn(f64, f64) -> f64,
    ) {
        let mut levels: HashMap<*const Level, f64> = HashMap::new();
        for (values, value) in told {
            levels.entry(self.with(&values)).and_modify(|before| *before = join(*before, value)).or_insert(value);
        }
        self.series.each(|_, level| level.set(levels.get(&std::ptr::from_ref(level)).copied().unwrap_or(0.0)));
    }

    /// Counts one for as long as what is returned lives.
    #[must_use]
    pub fn hold(&'static self, values: &[&str]) -> Holding {
        let level = self.with(values);
        level.add(1.0);
        Holding(level)
    }
}

impl Level {
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    pub fn add(&self, value: f64) {
        let more = |bits| Some((f64::from_bits(bits) + value).to_bits());
        // It always gives a next value.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    #[must_use]
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// One of what a gauge counts, until it is dropped.
pub struct Holding(&'static Level);

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.add(-1.0);
    }
}

impl Metric for Gauge {
    fn described(&self) -> &Described {
        &self.described
    }

    fn kind(&self) -> Kind {
        Kind::Gauge
    }

    fn read(&self, each: &mut dyn FnMut(&[String], Reading)) {
        self.series.prepare(Level::default);
        self.series.each(|values, level| each(values, Reading::Number(level.get())));
    }
}

/// The metrics of one crate.
pub type Metrics = &'static [&'static dyn Metric];

/// The metrics of a process.
#[derive(Clone)]
pub struct Registry {
    crates: Vec<Metrics>,
}

/// Says what runs.
static BUILD: Gauge = Gauge::new(
    "vitrine_build_info",
    "Is 1, and says by its labels which version of which role runs.",
    &[
        Label { name: "version", values: Values::First(1) },
        Label::of("role", &["up", "gateway", "scheduler", "worker", "canary"]),
    ],
);

/// Those that every process has.
pub static METRICS: Metrics =
    &[&BUILD, &process::RESIDENT, &process::PROCESSOR, &process::FILES, &process::THREADS, &process::STARTED];

impl Registry {
    /// Puts together what a process of a role shows.
    #[must_use]
    pub fn new(role: &str, crates: &[Metrics]) -> Self {
        BUILD.with(&[env!("CARGO_PKG_VERSION"), role]).set(1.0);
        Self { crates: [&[METRICS], crates].concat() }
    }

    /// Returns the metrics.
    pub fn metrics(&self) -> impl Iterator<Item = &'static dyn Metric> {
        self.crates.iter().flat_map(|metrics| metrics.iter().copied())
    }

    /// Writes all there is.
    #[must_use]
    pub fn render(&self, form: Form) -> String {
        process::look();
        text::write(self.metrics(), form)
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("metrics", &self.metrics().count()).finish()
    }
}

#[cfg(test)]
mod tests;
