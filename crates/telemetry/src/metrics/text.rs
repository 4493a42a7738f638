//! The text that Prometheus reads, in its own form and as OpenMetrics, which alone has exemplars.

use std::fmt::Write;
use std::time::UNIX_EPOCH;

use super::histogram::{Exemplar, Snapshot};
use super::{Kind, Label, Metric, Reading};

/// A form of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Prometheus,
    OpenMetrics,
}

impl Form {
    /// Chooses by the header `Accept`.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Returns the header `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Writes metrics, each with its help and its type before its series, which are in the order of their labels.
pub fn write<'a>(metrics: impl Iterator<Item = &'a dyn Metric>, form: Form) -> String {
    let mut text = String::new();
    for metric in metrics {
        // A string takes whatever is written to it.
        let _ = family(&mut text, metric, form);
    }
    if form == Form::OpenMetrics {
        text.push_str("# EOF\n");
    }
    text
}

fn family(text: &mut String, metric: &dyn Metric, form: Form) -> std::fmt::Result {
    let described = metric.described();
    let mut series: Vec<(Vec<String>, Reading)> = Vec::new();
    metric.read(&mut |values, reading| series.push((values.to_vec(), reading)));
    if series.is_empty() {
        return Ok(());
    }
    series.sort_by(|(left, _), (right, _)| left.cmp(right));
    let (name, kind) = (described.name, metric.kind());
    // OpenMetrics names the family without what its samples end in.
    let family = match (kind, form) {
        (Kind::Counter, Form::OpenMetrics) => name.strip_suffix("_total").unwrap_or(name),
        _ => name,
    };
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    writeln!(text, "# HELP {family} {}", described.help)?;
    writeln!(text, "# TYPE {family} {kind}")?;
    for (values, reading) in series {
        let labels = labels(described.labels, &values);
        match reading {
            Reading::Number(number) => sample(text, name, &labels, number)?,
            Reading::Distribution(snapshot) => distribution(text, name, &labels, &snapshot, form)?,
        }
    }
    Ok(())
}

fn distribution(text: &mut String, name: &str, labels: &str, snapshot: &Snapshot, form: Form) -> std::fmt::Result {
    let mut all = 0;
    for (bound, below, exemplar) in &snapshot.buckets {
        all = *below;
        let bound = if bound.is_infinite() { "+Inf".to_owned() } else { format!("{bound:?}") };
        let separator = if labels.is_empty() { "" } else { "," };
        write!(text, "{name}_bucket{{{labels}{separator}le=\"{bound}\"}} {below}")?;
        if let Some(Exemplar { value, trace, at }) = exemplar.as_ref().filter(|_| form == Form::OpenMetrics) {
            let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            write!(text, " # {{trace_id=\"{trace}\"}} {value} {at:.3}")?;
        }
        text.push('\n');
    }
    sample(text, &format!("{name}_sum"), labels, snapshot.sum)?;
    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    sample(text, &format!("{name}_count"), labels, all as f64)
}

fn sample(text: &mut String, name: &str, labels: &str, value: f64) -> std::fmt::Result {
    if labels.is_empty() { writeln!(text, "{name} {value}") } else { writeln!(text, "{name}{{{labels}}} {value}") }
}

fn labels(labels: &[Label], values: &[String]) -> String {
    let one = |(label, value): (&Label, &String)| format!("{}=\"{}\"", label.name, escaped(value));
    labels.iter().zip(values).map(one).collect::<Vec<_>>().join(",")
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
