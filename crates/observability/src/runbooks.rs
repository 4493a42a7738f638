//! A page for each alert.

use crate::alerts::{ALERTS, Alert};

/// Writes an alert's page.
#[must_use]
pub fn page(alert: &Alert) -> String {
    let list = |items: &[&str]| items.iter().map(|item| format!("- {item}\n")).collect::<String>();
    format!(
        "# {name}\n\n{summary}. Severity: {severity}.\n\n\
         ```promql\n{expression}\n```\n\n{lasts}\n\n\
         ## What it means\n\n{means}\n\n## Where to look\n\n{look}\n## What to do\n\n{mend}",
        name = alert.name,
        summary = plain(alert.summary),
        severity = alert.severity.name(),
        expression = alert.expression(),
        lasts = if alert.lasts == "0m" {
            "It fires at once.".to_owned()
        } else {
            format!("It has to be so for {}.", alert.lasts)
        },
        means = alert.means,
        look = list(alert.look),
        mend = list(alert.mend),
    )
}

/// Writes the list of the pages.
#[must_use]
pub fn contents() -> String {
    let mut page = String::from(
        "# Runbooks\n\nOne page for each alert of `deploy/observability/rules.yml`. Pages and rules are made from one table by\n\
         `cargo run -p observability`.\n\n| alert | severity | what it says |\n|---|---|---|\n",
    );
    for alert in ALERTS {
        let (name, severity) = (alert.name, alert.severity.name());
        page += &format!("| [{name}]({name}.md) | {severity} | {} |\n", plain(alert.summary));
    }
    page
}

/// Writes what Prometheus fills in as words.
fn plain(summary: &str) -> String {
    let mut plain = String::new();
    let mut rest = summary;
    while let Some((before, after)) = rest.split_once("{{ ") {
        let Some((filled, later)) = after.split_once(" }}") else { break };
        plain += before;
        plain += match filled.strip_prefix("$labels.") {
            Some("instance") => "a process",
            Some("model") => "a model",
            Some("tenant") => "a tenant",
            Some("certificate") => "what it is for",
            _ => "*N*",
        };
        rest = later;
    }
    plain + rest
}
