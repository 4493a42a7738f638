use std::time::Duration;

use super::*;
use crate::trace::Trace;

static JOBS: Counter = Counter::new(
    "t_jobs_total",
    "Counts jobs.",
    &[Label::of("outcome", &["ok", "failed"]), Label { name: "tenant", values: Values::First(2) }],
);
static OPEN: Gauge = Gauge::new("t_open", "Says how many are open.", &[]);
static KINDS: Counter = Counter::new("t_kinds_total", "Counts kinds.", &[Label::of("kind", &["read", "write"])]);
static TIMES: Histogram = Histogram::new("t_seconds", "Says how long it took.", &[MODEL], &[0.1, 1.0]);
static LEVELS: Gauge = Gauge::new("t_levels", "Says how many there are.", &[MODEL]);

#[test]
fn a_metric_is_written_as_prometheus_reads_it_and_what_has_not_happened_is_told_as_nothing() {
    OPEN.set(3.0);
    KINDS.with(&["read"]).add(2);
    TIMES.with(&["a\"b"]).time(Duration::from_millis(50));
    TIMES.with(&["a\"b"]).time(Duration::from_secs(2));
    let metrics: [&dyn Metric; 3] = [&OPEN, &KINDS, &TIMES];
    let expected = "\
# HELP t_open Says how many are open.
# TYPE t_open gauge
t_open 3
# HELP t_kinds_total Counts kinds.
# TYPE t_kinds_total counter
t_kinds_total{kind=\"read\"} 2
t_kinds_total{kind=\"write\"} 0
# HELP t_seconds Says how long it took.
# TYPE t_seconds histogram
t_seconds_bucket{model=\"a\\\"b\",le=\"0.1\"} 1
t_seconds_bucket{model=\"a\\\"b\",le=\"1.0\"} 1
t_seconds_bucket{model=\"a\\\"b\",le=\"+Inf\"} 2
t_seconds_sum{model=\"a\\\"b\"} 2.05
t_seconds_count{model=\"a\\\"b\"} 2
";
    assert_eq!(text::write(metrics.into_iter(), Form::Prometheus), expected);
    let trace = Trace::new();
    TIMES.with(&["a\"b"]).traced(Duration::from_millis(60), Some(&trace));
    let open = text::write(metrics.into_iter(), Form::OpenMetrics);
    assert!(open.contains("# TYPE t_kinds counter\nt_kinds_total{kind=\"read\"} 2\n"), "{open}");
    let exemplar = format!("le=\"0.1\"}} 2 # {{trace_id=\"{}\"}} 0.06 ", trace.id());
    assert!(open.contains(&exemplar) && open.ends_with("# EOF\n"), "{open}");
}

#[test]
fn no_label_has_a_value_outside_its_set_and_the_sum_is_right_all_the_same() {
    for tenant in ["ada", "bob", "eve", "mallory", "ada"] {
        JOBS.with(&["ok", tenant]).one();
    }
    JOBS.with(&["exploded", "ada"]).one();
    let mut told = Vec::new();
    JOBS.read(&mut |values, reading| {
        let Reading::Number(number) = reading else { return };
        told.push((values.join(" "), number));
    });
    told.sort_by(|left, right| left.0.cmp(&right.0));
    let expected = [("_other ada", 1.0), ("ok _other", 2.0), ("ok ada", 2.0), ("ok bob", 1.0)];
    assert_eq!(told, expected.map(|(values, number)| (values.to_owned(), number)));
}

#[test]
fn threads_that_count_the_same_lose_nothing() {
    static COUNTED: Counter = Counter::new("t_counted_total", "Counts.", &[MODEL]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1000).for_each(|number| COUNTED.with(&[["a", "b", "c"][number % 3]]).one()));
        }
    });
    let mut all = 0.0;
    let mut series = 0;
    COUNTED.read(&mut |_, reading| {
        let Reading::Number(number) = reading else { return };
        all += number;
        series += 1;
    });
    assert_eq!((all, series), (4000.0, 3));
}

#[test]
fn what_is_counted_afresh_leaves_nothing_of_before() {
    LEVELS.set_all([(vec!["a"], 1.0), (vec!["b"], 2.0)]);
    LEVELS.set_all([(vec!["b"], 2.0), (vec!["b"], 3.0)]);
    let held = LEVELS.hold(&["a"]);
    assert_eq!((LEVELS.with(&["a"]).get(), LEVELS.with(&["b"]).get()), (1.0, 5.0));
    drop(held);
    assert_eq!(LEVELS.with(&["a"]).get(), 0.0);
}
