//! Traces: one for each job that is sampled, with a span for each step of its way, sent to an OpenTelemetry collector.
//!
//! A job's record carries the names of its trace and of its first span, as the header `traceparent` of W3C has them. Each
//! process tells the steps that it took of itself; no span waits for another. A job without a trace costs the look whether
//! it has one.

mod export;

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{SpanId, SpanKind, TraceId};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

pub use export::{Exporting, export};

static EXPORTER: OnceLock<export::Exporter> = OnceLock::new();

/// The names of a trace that is kept, and of the span that further steps belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    trace: TraceId,
    span: SpanId,
}

/// A step under way, which is told when it has ended. One that is dropped before is not told.
#[derive(Debug)]
#[must_use]
pub struct Step {
    name: &'static str,
    kind: SpanKind,
    trace: Trace,
    parent: SpanId,
    began: SystemTime,
    attributes: Vec<KeyValue>,
}

/// Begins the first step of what a client asks for, if it is to be traced: because the client does, by the `traceparent`
/// that it sent, or because it is sampled. It began when its request `arrived`, or now.
#[must_use]
pub fn begin(name: &'static str, arrived: Option<SystemTime>, traceparent: Option<&str>) -> Option<Step> {
    let exporter = EXPORTER.get()?;
    let asked = traceparent.and_then(Trace::parse);
    let trace = match asked {
        Some(asked) => asked.next(),
        None => Some(Trace::new()).filter(|trace| trace.is_sampled(exporter.sample))?,
    };
    let parent = asked.map_or(SpanId::INVALID, |asked| asked.span);
    let began = arrived.unwrap_or_else(SystemTime::now);
    Some(Step { name, kind: SpanKind::Server, trace, parent, began, attributes: Vec::new() })
}

/// Tells a step, where there is one: it ends now.
pub fn end(step: Option<Step>) {
    if let Some(step) = step {
        step.end();
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

impl Trace {
    /// Makes the names of a new trace and of its first span.
    #[must_use]
    pub fn new() -> Self {
        Self { trace: RandomIdGenerator::default().new_trace_id(), span: new_span() }
    }

    /// Reads the header `traceparent`. `None` also where whoever wrote it keeps no trace.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        // Later versions may have more parts behind these.
        let fits = version.len() == 2 && version != "ff" && (version != "00" || parts.next().is_none());
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if !fits || trace.len() != 32 || span.len() != 16 || flags.len() != 2 || !plain(trace) || !plain(span) {
            return None;
        }
        let kept = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
        (kept && trace != TraceId::INVALID && span != SpanId::INVALID).then_some(Self { trace, span })
    }

    /// Returns both names, as they are stored.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let (trace, span) = bytes.split_at_mut(16);
        trace.copy_from_slice(&self.trace.to_bytes());
        span.copy_from_slice(&self.span.to_bytes());
        bytes
    }

    /// Reads what [`Trace::to_bytes`] has written.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (trace, span) = bytes.split_at_checked(16)?;
        let trace = TraceId::from_bytes(trace.try_into().ok()?);
        Some(Self { trace, span: SpanId::from_bytes(span.try_into().ok()?) })
    }

    /// Writes it as that header.
    #[must_use]
    pub fn header(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.span)
    }

    /// Returns the name of the trace.
    #[must_use]
    pub fn id(&self) -> String {
        self.trace.to_string()
    }

    /// Begins a step that is a part of this one.
    pub fn step(&self, name: &'static str) -> Step {
        self.step_since(name, SystemTime::now())
    }

    /// Tells of a step that began earlier.
    pub fn step_since(&self, name: &'static str, began: SystemTime) -> Step {
        let (trace, parent) = (self.next(), self.span);
        Step { name, kind: SpanKind::Internal, trace, parent, began, attributes: Vec::new() }
    }

    fn next(&self) -> Self {
        Self { trace: self.trace, span: new_span() }
    }

    /// Decides by the trace's own name, so that whoever decides does so alike.
    fn is_sampled(&self, part: f64) -> bool {
        let [.., a, b, c, d] = self.trace.to_bytes();
        f64::from(u32::from_be_bytes([a, b, c, d])) < part * f64::from(u32::MAX)
    }
}

impl Step {
    /// Returns what parts of this step belong to.
    #[must_use]
    pub fn trace(&self) -> Trace {
        self.trace
    }

    /// Says something about it. Never what a user sends or is sent.
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push(KeyValue::new(key, value));
        self
    }

    /// Says something about a step that is held.
    pub fn note(&mut self, key: &'static str, value: impl Into<Value>) {
        self.attributes.push(KeyValue::new(key, value));
    }

    /// Tells it: it ends now.
    pub fn end(self) {
        self.end_at(SystemTime::now());
    }

    /// Tells it, with its end.
    pub fn end_at(self, ended: SystemTime) {
        if let Some(exporter) = EXPORTER.get() {
            exporter.tell(self, ended);
        }
    }
}

/// Returns the time of day at an instant that was measured.
#[must_use]
pub fn time_of(instant: Instant) -> SystemTime {
    SystemTime::now() - instant.elapsed()
}

/// Returns a time of day that was written down in milliseconds since 1970.
#[must_use]
pub fn unix_millis(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
}

fn new_span() -> SpanId {
    RandomIdGenerator::default().new_span_id()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_goes_by_the_header_of_w3c_and_what_is_none_or_not_kept_is_none() {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = Trace::parse(header).unwrap();
        assert_eq!((trace.header().as_str(), trace.id().as_str()), (header, "4bf92f3577b34da6a3ce929d0e0e4736"));
        assert!(Trace::parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-more").is_some());
        for none in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Trace::parse(none), None, "{none}");
        }
    }

    #[test]
    fn the_part_that_is_asked_for_is_sampled() {
        let traces: Vec<Trace> = (0..4000).map(|_| Trace::new()).collect();
        let sampled = |part: f64| traces.iter().filter(|trace| trace.is_sampled(part)).count();
        assert_eq!((sampled(0.0), sampled(1.0)), (0, 4000));
        // Six standard deviations to each side.
        assert!((836..1164).contains(&sampled(0.25)), "{}", sampled(0.25));
    }

    #[test]
    fn nothing_is_traced_where_nobody_asked_for_traces() {
        assert!(begin("request", None, Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")).is_none());
    }
}
