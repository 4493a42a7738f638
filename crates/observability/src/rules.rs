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

/// Writes the rules. Whoever hosts the runbooks elsewhere replaces what comes before their names.
#[must_use]
pub fn file() -> String {
    let mut file = format!("{HEAD}groups:\n");
    let place = Place { indent: 6, expression: &str::to_owned, labels: &[], runbooks: "docs/runbooks/" };
    file += "  - name: vitrine-recordings\n    rules:\n";
    place.record(&mut file);
    file += "  - name: vitrine-alerts\n    rules:\n";
    place.alert(&mut file);
    file
}

/// What stands in [`chart`] for the namespace of a release, what its pods' names begin with, and what links to runbooks do.
const NAMESPACE: &str = "@namespace@";
const NAME: &str = "@name@";
const RUNBOOKS: &str = "@runbooks@";

/// Writes the rules for the Helm chart, each of which asks for the series of its release's namespace alone, and records
/// under that.
#[must_use]
pub fn chart() -> String {
    let here = format!("namespace=\"{NAMESPACE}\"");
    let pods = format!("up{{job=~\"{NAMESPACE}/{NAME}-.*\"}}");
    let narrowed = |expression: &str| within(expression, &here).replace("up{job=~\"vitrine.*\"}", &pods);
    let labels = [("namespace", NAMESPACE)];
    let place = Place { indent: 0, expression: &narrowed, labels: &labels, runbooks: RUNBOOKS };
    let mut file = HEAD.to_owned();
    place.record(&mut file);
    place.alert(&mut file);
    file
}

/// Where rules are written to, and what they are there.
struct Place<'a> {
    indent: usize,
    /// What becomes of an expression.
    expression: &'a dyn Fn(&str) -> String,
    /// Labels that each rule has beside its own.
    labels: &'a [(&'a str, &'a str)],
    /// What links to runbooks begin with.
    runbooks: &'a str,
}

impl Place<'_> {
    fn record(&self, file: &mut String) {
        for Recording { name, expression } in RECORDINGS {
            self.rule(file, "record", name, expression);
            if !self.labels.is_empty() {
                self.under(file, "labels", self.labels);
            }
        }
    }

    fn alert(&self, file: &mut String) {
        for alert in ALERTS {
            self.rule(file, "alert", alert.name, &alert.expression());
            line(file, self.indent + 2, "for", alert.lasts);
            self.under(file, "labels", &[&[("severity", alert.severity.name())], self.labels].concat());
            let runbook = format!("{}{}.md", self.runbooks, alert.name);
            let told = [("summary", alert.summary), ("description", alert.means), ("runbook_url", &*runbook)];
            self.under(file, "annotations", &told);
        }
    }

    fn rule(&self, file: &mut String, kind: &str, name: &str, expression: &str) {
        line(file, self.indent, &format!("- {kind}"), name);
        line(file, self.indent + 2, "expr", &(self.expression)(expression));
    }

    fn under(&self, file: &mut String, key: &str, values: &[(&str, &str)]) {
        // A string takes whatever is written to it.
        let _ = writeln!(file, "{:indent$}{key}:", "", indent = self.indent + 2);
        for (name, value) in values {
            line(file, self.indent + 4, name, value);
        }
    }
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
