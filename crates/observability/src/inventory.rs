//! All metrics there are.

use telemetry::metrics::{Kind, Metric, Metrics, Values};

/// The metrics of each crate, and which roles show them.
pub static CRATES: &[(&str, &str, Metrics)] = &[
    ("gateway", "gateway, up", gateway::metrics::METRICS),
    ("scheduler", "scheduler, up", scheduler::metrics::METRICS),
    ("worker", "worker", worker::metrics::METRICS),
    ("engine", "worker", engine::metrics::METRICS),
    ("store", "gateway, scheduler, up", store::metrics::METRICS),
    ("tls", "gateway, scheduler, worker, up", tls::metrics::METRICS),
    ("vitrine canary", "canary", gateway::metrics::OUTSIDE),
    ("telemetry", "all", telemetry::metrics::METRICS),
];

/// Returns all metrics.
pub fn metrics() -> impl Iterator<Item = &'static dyn Metric> {
    CRATES.iter().flat_map(|(_, _, metrics)| metrics.iter().copied())
}

/// Writes them down as a page.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         Every process shows these at `/metrics` of its `health` address, as text for Prometheus or as OpenMetrics, which has\n\
         exemplars besides: the trace of a job that took as long. [observability.md](observability.md) says how to scrape them,\n\
         and what is made of them. This page is made from the code by `cargo run -p observability`.\n\n\
         Names end in their unit. A label has no value outside its set: what comes beyond is counted as `_other`. Of models the\n\
         first 256 are told apart, of tenants the first 100 since a process began. No label is a job, a key or a text of a user.\n",
    );
    for (name, roles, metrics) in CRATES {
        page +=
            &format!("\n## Of `{name}` (role: {roles})\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n");
        for metric in *metrics {
            let described = metric.described();
            let kind = match metric.kind() {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let labels = described.labels.iter().map(|label| match label.values {
                Values::Of(values) => format!("`{}`: {}", label.name, values.join(", ")),
                Values::First(_) => format!("`{}`", label.name),
            });
            let labels = labels.collect::<Vec<_>>().join("; ");
            page += &format!("| `{}` | {kind} | {labels} | {} |\n", described.name, described.help);
        }
    }
    page
}
