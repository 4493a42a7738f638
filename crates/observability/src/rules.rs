//! Prometheus' rules, and their tests for promtool.

use std::fmt::Write;

use serde_json::json;

use crate::alerts::{ALERTS, Alert, Severity};
use crate::expression::within;

/// What is computed once for several panels and alerts.
#[derive(Clone, Copy, Debug)]
pub struct Recording {
    pub name: &'static str,
    pub expression: &'static str,
}

/// All of them.
pub static RECORDINGS: &[Recording] = &[
    Recording {
        name: "vitrine:jobs:rate5m",
        expression: "sum by (tenant, model, outcome) (rate(vitrine_jobs_total[5m]))",
    },
    Recording {
        name: "vitrine:server_faults:ratio5m",
        expression: "(sum(rate(vitrine_jobs_total{outcome=\"server\"}[5m])) or vector(0)) / sum(rate(vitrine_jobs_total[5m]))",
    },
    Recording {
        name: "vitrine:gateway_failures:ratio5m",
        expression: "(sum(rate(vitrine_gateway_requests_total{code=~\"5..\"}[5m])) or vector(0)) / sum(rate(vitrine_gateway_requests_total[5m]))",
    },
    Recording {
        name: "vitrine:batch_occupancy:mean5m",
        expression: "sum by (model) (rate(vitrine_batch_occupancy_ratio_sum[5m])) / sum by (model) (rate(vitrine_batch_occupancy_ratio_count[5m]))",
    },
    Recording {
        name: "vitrine:tenant_model_seconds:rate5m",
        expression: "sum by (tenant, model) (rate(vitrine_tenant_model_seconds_total[5m]))",
    },
];

impl Alert {
    /// Returns the whole expression.
    #[must_use]
    pub fn expression(&self) -> String {
        format!("{} {}", self.value, self.when)
    }
}

impl Severity {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        }
    }
}

const HEAD: &str = "# Made by `cargo run -p observability`.\n";

/// Where a runbook lies; whoever hosts the pages elsewhere replaces what comes before the name.
fn runbook(alert: &Alert) -> String {
    format!("docs/runbooks/{}.md", alert.name)
}

/// Writes the rules.
#[must_use]
pub fn file() -> String {
    let mut file = format!("{HEAD}groups:\n  - name: vitrine-recordings\n    rules:\n");
    for Recording { name, expression } in RECORDINGS {
        line(&mut file, 6, "- record", name);
        line(&mut file, 8, "expr", expression);
    }
    file += "  - name: vitrine-alerts\n    rules:\n";
    for alert in ALERTS {
        line(&mut file, 6, "- alert", alert.name);
        line(&mut file, 8, "expr", &alert.expression());
        line(&mut file, 8, "for", alert.lasts);
        file += "        labels:\n";
        line(&mut file, 10, "severity", alert.severity.name());
        file += "        annotations:\n";
        line(&mut file, 10, "summary", alert.summary);
        line(&mut file, 10, "description", alert.means);
        line(&mut file, 10, "runbook_url", &runbook(alert));
    }
    file
}

/// What stands in [`chart`] for the namespace of a release, and for what links to runbooks begin with.
const NAMESPACE: &str = "@namespace@";
const RUNBOOKS: &str = "@runbooks@";
/// What its pods' names begin with.
const NAME: &str = "@name@";

/// Writes the rules for the Helm chart, each of which asks for the series of its release's namespace alone, and records
/// under that.
#[must_use]
pub fn chart() -> String {
    let here = format!("namespace=\"{NAMESPACE}\"");
    let mut file = HEAD.to_owned();
    for Recording { name, expression } in RECORDINGS {
        line(&mut file, 0, "- record", name);
        line(&mut file, 2, "expr", &within(expression, &here));
        file += "  labels:\n";
        line(&mut file, 4, "namespace", NAMESPACE);
    }
    for alert in ALERTS {
        line(&mut file, 0, "- alert", alert.name);
        let pods = format!("up{{job=~\"{NAMESPACE}/{NAME}-.*\"}}");
        let expression = within(&alert.expression(), &here).replace("up{job=~\"vitrine.*\"}", &pods);
        line(&mut file, 2, "expr", &expression);
        line(&mut file, 2, "for", alert.lasts);
        file += "  labels:\n";
        line(&mut file, 4, "severity", alert.severity.name());
        line(&mut file, 4, "namespace", NAMESPACE);
        file += "  annotations:\n";
        line(&mut file, 4, "summary", alert.summary);
        line(&mut file, 4, "description", alert.means);
        line(&mut file, 4, "runbook_url", &format!("{RUNBOOKS}{}.md", alert.name));
    }
    file
}

/// Writes their tests: each alert fires in one case, and does not in another.
#[must_use]
pub fn tests() -> String {
    let mut file = format!("{HEAD}rule_files:\n  - rules.yml\nevaluation_interval: 30s\ntests:\n");
    for alert in ALERTS {
        for (series, fires) in [(alert.test.fires, true), (alert.test.silent, false)] {
            file += "  - interval: 1m\n";
            line(&mut file, 4, "name", &format!("{} {}", alert.name, if fires { "fires" } else { "is silent" }));
            file += "    input_series:\n";
            for (series, values) in series {
                line(&mut file, 6, "- series", series);
                line(&mut file, 8, "values", values);
            }
            // Whether it fires at all: which labels it then has is for its expression to say.
            file += "    promql_expr_test:\n";
            let firing = format!("count(ALERTS{{alertname=\"{}\",alertstate=\"firing\"}}) > bool 0", alert.name);
            line(&mut file, 6, "- expr", &firing);
            line(&mut file, 8, "eval_time", alert.test.at);
            file += if fires {
                "        exp_samples:\n          - labels: \"{}\"\n            value: 1\n"
            } else {
                "        exp_samples: []\n"
            };
        }
    }
    file
}

/// Writes a line. A text of JSON is one of YAML.
fn line(file: &mut String, indent: usize, key: &str, value: &str) {
    // A string takes whatever is written to it.
    let _ = writeln!(file, "{:indent$}{key}: {}", "", json!(value));
}
