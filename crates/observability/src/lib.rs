//! What is made of the metrics: their page, Grafana's dashboards, Prometheus' rules with their tests, and a runbook for
//! each alert. `cargo run -p observability` writes all of it; a test says whether what is committed is current, and that
//! nothing names a metric or a label that is not there.

pub mod alerts;
pub mod dashboards;
pub mod expression;
pub mod inventory;
pub mod rules;
pub mod runbooks;

use std::path::PathBuf;

/// How many workers to add: what an autoscaler asks. A missing answer is no zero.
pub const AUTOSCALER: &str = "sum(vitrine_scheduler_pending_gpus)";

/// Returns every file that is made, by its path in the repository.
#[must_use]
pub fn files() -> Vec<(PathBuf, String)> {
    let folder = PathBuf::from("deploy/observability");
    let mut files = vec![
        (PathBuf::from("docs/metrics.md"), inventory::page()),
        (folder.join("rules.yml"), rules::file()),
        (folder.join("rules_test.yml"), rules::tests()),
        (PathBuf::from("helm/vitrine/files/rules.yaml"), rules::chart()),
        (PathBuf::from("docs/runbooks/README.md"), runbooks::contents()),
    ];
    for dashboard in dashboards::DASHBOARDS {
        files.push((folder.join(format!("dashboards/{}.json", dashboard.name)), dashboards::json(dashboard)));
    }
    for alert in alerts::ALERTS {
        files.push((PathBuf::from(format!("docs/runbooks/{}.md", alert.name)), runbooks::page(alert)));
    }
    files
}

#[cfg(test)]
mod tests;
