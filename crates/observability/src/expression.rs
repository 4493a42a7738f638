//! What an expression of PromQL names: enough of it to see that all of that is there.

use telemetry::metrics::{Kind, Metric};

use crate::inventory;

/// Labels that Prometheus adds, or that come with buckets.
const GIVEN: [&str; 4] = ["job", "instance", "le", "severity"];

/// Returns what an expression names and nobody shows: metrics, and labels that these do not have. `recorded` are the names
/// of recording rules.
#[must_use]
pub fn unknown(expression: &str, recorded: &[&str]) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut labels: Vec<&str> = GIVEN.to_vec();
    for (name, matchers) in selectors(expression) {
        if recorded.contains(&name) {
            labels.extend(["model", "tenant", "outcome"]);
            continue;
        }
        match find(name) {
            None => unknown.push(format!("the metric {name}")),
            Some(metric) => {
                let own: Vec<&str> = metric.described().labels.iter().map(|label| label.name).collect();
                let foreign = matchers.iter().filter(|label| !own.contains(*label) && !GIVEN.contains(*label));
                unknown.extend(foreign.map(|label| format!("the label {label} of {name}")));
                labels.extend(own);
            }
        }
    }
    for group in groups(expression) {
        let foreign = group.into_iter().filter(|label| !labels.contains(label));
        unknown.extend(foreign.map(|label| format!("the label {label}")));
    }
    unknown
}

/// Finds a metric by the name of one of its series.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Metric> {
    inventory::metrics().find(|metric| {
        let own = metric.described().name;
        let rest = name.strip_prefix(own);
        match metric.kind() {
            Kind::Histogram => matches!(rest, Some("_bucket" | "_sum" | "_count")),
            Kind::Counter | Kind::Gauge => rest == Some(""),
        }
    })
}

/// Returns the names of series in an expression, with the labels that are matched.
#[must_use]
pub fn selectors(expression: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found = Vec::new();
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    let bytes = expression.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let end = (at..bytes.len()).find(|end| !word(bytes[*end])).unwrap_or(bytes.len());
        let name = &expression[at..end];
        if ["vitrine_", "vitrine:", "process_"].iter().any(|ours| name.starts_with(ours)) {
            let rest = &expression[end..];
            let inner = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(inner, _)| inner);
            let labels = inner.split(',').filter_map(|matcher| Some(matcher.split(['=', '!']).next()?.trim()));
            found.push((name, labels.filter(|label| !label.is_empty()).collect()));
        }
        at = if end == at { at + 1 } else { end };
    }
    found
}

/// Has an expression ask for the series of one place alone: every selector gets a matcher.
#[must_use]
pub fn within(expression: &str, matcher: &str) -> String {
    let mut narrowed = String::new();
    let mut rest = expression;
    for (name, _) in selectors(expression) {
        let Some((before, after)) = rest.split_once(name) else { break };
        let inner = after.strip_prefix('{');
        let separator = if inner.is_some_and(|inner| !inner.starts_with('}')) { "," } else { "" };
        narrowed += &format!("{before}{name}{{{matcher}{separator}");
        if inner.is_none() {
            narrowed.push('}');
        }
        rest = inner.unwrap_or(after);
    }
    narrowed + rest
}

/// Returns the labels that are grouped or joined by.
fn groups(expression: &str) -> Vec<Vec<&str>> {
    let mut groups = Vec::new();
    for keyword in ["by (", "on (", "without (", "ignoring ("] {
        for (at, _) in expression.match_indices(keyword) {
            let inside = expression[at + keyword.len()..].split(')').next().unwrap_or_default();
            groups.push(inside.split(',').map(str::trim).filter(|label| !label.is_empty()).collect());
        }
    }
    groups
}
