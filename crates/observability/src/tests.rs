use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use telemetry::metrics::{Kind, Values};

use super::*;

/// What the name of a metric may end in, after its kind's own ending: units, and things that are counted.
const UNITS: [&str; 18] = [
    "seconds", "bytes", "ratio", "jobs", "rows", "gpus", "workers", "slots", "replicas", "sockets", "info", "fds",
    "threads", "leader", "session", "state", "depth", "requests",
];

fn recorded() -> Vec<&'static str> {
    rules::RECORDINGS.iter().map(|recording| recording.name).collect()
}

/// Returns every expression there is, with where it stands.
fn expressions() -> Vec<(String, String)> {
    let mut all = vec![("the autoscaler's query".to_owned(), AUTOSCALER.to_owned())];
    for dashboard in dashboards::DASHBOARDS {
        for panel in dashboard.panels {
            let place = format!("the panel {:?} of {}", panel.title, dashboard.name);
            all.extend(panel.series.iter().map(|(expression, _)| (place.clone(), (*expression).to_owned())));
        }
        for (label, metric) in dashboard.variables {
            all.push((format!("the variable {label} of {}", dashboard.name), format!("{metric}{{{label}=\"\"}}")));
        }
    }
    for recording in rules::RECORDINGS {
        all.push((recording.name.to_owned(), recording.expression.to_owned()));
    }
    for alert in alerts::ALERTS {
        all.push((alert.name.to_owned(), alert.expression()));
        let series = alert.test.fires.iter().chain(alert.test.silent);
        all.extend(series.map(|(series, _)| (format!("the test of {}", alert.name), (*series).to_owned())));
    }
    all
}

#[test]
fn what_is_committed_is_what_the_code_makes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut stale = Vec::new();
    let mut made = BTreeSet::new();
    for (path, text) in files() {
        if fs::read_to_string(root.join(&path)).ok().as_deref() != Some(text.as_str()) {
            stale.push(path.display().to_string());
        }
        made.insert(root.join(path));
    }
    for folder in ["docs/runbooks", "deploy/observability/dashboards"] {
        for entry in fs::read_dir(root.join(folder)).into_iter().flatten() {
            let path = entry.unwrap().path();
            if !made.contains(&path) {
                stale.push(format!("{} (nobody makes it)", path.display()));
            }
        }
    }
    assert!(stale.is_empty(), "run `cargo run -p observability`, for these are not current: {stale:#?}");
}

#[test]
fn every_metric_has_a_name_with_its_unit_a_sentence_and_labels_that_are_bounded() {
    let mut names = BTreeSet::new();
    for metric in inventory::metrics() {
        let described = metric.described();
        let name = described.name;
        assert!(names.insert(name), "{name} is declared twice");
        assert!(name.starts_with("vitrine_") || name.starts_with("process_"), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'), "{name}");
        let counts = metric.kind() == Kind::Counter;
        assert_eq!(name.ends_with("_total"), counts, "{name} ends in _total if and only if it is a counter");
        let last = name.rsplit('_').next().unwrap();
        assert!(counts || UNITS.contains(&last), "{name} does not end in a unit");
        let help = described.help;
        let verb = ["Counts ", "Says ", "Is 1"].iter().any(|verb| help.starts_with(verb));
        assert!(
            verb && help.ends_with('.') && !help.contains('\n'),
            "{name}: {help:?} is no sentence that says what it is"
        );
        for label in described.labels {
            assert!(
                !["job", "instance", "key_id", "user", "id", "prompt"].contains(&label.name),
                "{name}: {}",
                label.name
            );
            match label.values {
                Values::Of(values) => assert!((1..=32).contains(&values.len()), "{name}: {}", label.name),
                Values::First(most) => assert!((1..=256).contains(&most), "{name}: {}", label.name),
            }
        }
    }
}

#[test]
fn no_panel_rule_or_query_names_what_is_not_there() {
    let recorded = recorded();
    for (place, expression) in expressions() {
        let unknown = expression::unknown(&expression, &recorded);
        assert!(unknown.is_empty(), "{place} names {unknown:?}: {expression}");
    }
    let typos = [
        ("sum(vitrine_queue_deep)", "the metric vitrine_queue_deep"),
        ("vitrine_queue_depth{model_name=\"m\"}", "the label model_name of vitrine_queue_depth"),
        ("sum by (route) (vitrine_queue_depth)", "the label route"),
        ("rate(vitrine_job_seconds[5m])", "the metric vitrine_job_seconds"),
    ];
    for (expression, unknown) in typos {
        assert_eq!(expression::unknown(expression, &recorded), [unknown], "{expression}");
    }
}

#[test]
fn every_metric_is_shown_somewhere() {
    let all = expressions();
    let shown: BTreeSet<&str> = all
        .iter()
        .flat_map(|(_, expression)| expression::selectors(expression))
        .filter_map(|(name, _)| Some(expression::find(name)?.described().name))
        .collect();
    let hidden: Vec<&str> =
        inventory::metrics().map(|metric| metric.described().name).filter(|name| !shown.contains(name)).collect();
    assert!(hidden.is_empty(), "nobody looks at {hidden:?}");
}
