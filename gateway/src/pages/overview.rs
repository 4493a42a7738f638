//! `/admin`: whether anything is wrong, who waits for what, what the workers do, and the last day.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};
use store::history::{Minute, Passes, Tally};

use super::chart::{Chart, Past, Reach, Series, Unit, happened};
use super::layout::{self, column, looking, numbers};
use super::now::Now;
use super::units::{ago, count, nothing, span};
use super::{models, workers};

/// Lines of the queue that are shown.
const LINES: usize = 40;
/// Tenants that have a line of their own in a chart.
const TENANTS: usize = 5;
/// Happenings that are listed.
const HAPPENINGS: usize = 8;

/// Shows all of it.
pub fn body(now: &Now, minutes: &BTreeMap<u64, Minute>, reach: Reach) -> Markup {
    let stream = format!("/admin/live?parts=status,numbers,queue,workers,models,past&reach={}", reach.name());
    html! {
        h1.hidden { "Overview" }
        div #live data-live=(stream) {
            (layout::status(now.trouble().as_ref()))
            (figures(now, minutes))
            (queue(now))
            div.columns { (workers::table(now, false)) (models::table(now, false)) }
            (past(now, minutes, reach))
        }
    }
}

/// The numbers that are asked for first, each a way to what makes it up.
pub fn figures(now: &Now, minutes: &BTreeMap<u64, Minute>) -> Markup {
    let mut hour = Tally::default();
    let first = now.at / 60_000 - 59;
    minutes.range(first..).flat_map(|(_, minute)| minute.tallies.values()).for_each(|tally| hour.add(tally));
    let (waiting, running) = now.counts();
    let (connected, known) = (now.workers().iter().filter(|worker| worker.connected()).count(), now.workers().len());
    let wait = |share| hour.waits.quantile(share).map_or_else(nothing, |wait| html! { (span(wait)) });
    let fault = |number: u64| html! { (count(number)) };
    html! {
        section #numbers.numbers aria-label="Now, and in the last hour" {
            (number("/admin/jobs?state=queued", "waiting", &html! { (count(waiting as u64)) }, ""))
            (number("/admin/jobs?state=running", "with workers", &html! { (count(running as u64)) }, ""))
            (number("/admin/workers", "workers connected", &html! { (connected) small { " of " (known) } }, ""))
            (number("/admin/jobs?state=completed", "completed, 1 h", &fault(hour.completed), ""))
            (number("#past", "wait p50, 1 h", &wait(0.5), ""))
            (number("#past", "wait p99, 1 h", &wait(0.99), ""))
            (number("/admin/jobs?state=failed", "failed: program, 1 h", &fault(hour.failed_program + hour.failed_limit), ""))
            (number("/admin/jobs?state=failed", "failed: server, 1 h", &fault(hour.failed_server),
                if hour.failed_server > 0 { "broken" } else { "" }))
        }
    }
}

fn number(path: &str, name: &str, value: &Markup, level: &str) -> Markup {
    html! { a href=(path) data-level=(level) { span.value { (value) } span.name { (name) } } }
}

/// Who waits and runs: a row a tenant and model, who waits longest first.
pub fn queue(now: &Now) -> Markup {
    let lines = now.lines();
    let columns = [
        column("Tenant"),
        looking("long", "Model"),
        numbers("Waiting"),
        numbers("Oldest"),
        numbers("Running"),
        looking("why", "Why it waits"),
    ];
    let rows = lines.iter().take(LINES).map(|((tenant, model), line)| {
        vec![
            html! { a href=(search("tenant", tenant.as_str())) { (tenant) } },
            html! { a href=(search("model", &model.to_string())) { (model) } },
            html! { (count(line.waiting)) },
            line.oldest.map_or_else(nothing, |oldest| ago(oldest, now.at)),
            html! { (count(line.running)) },
            if line.waiting > 0 {
                html! { (now.why(model)) }
            } else {
                nothing()
            },
        ]
    });
    html! {
        section #queue {
            h2 { "Queue" }
            @if lines.is_empty() {
                (layout::empty("Nothing waits and nothing runs.", &html! {
                    "A job is sent from a notebook; " a href="/me" { "your page" } " has a cell to copy."
                }))
            } @else {
                (layout::table("Queue", &columns, rows))
                @if lines.len() > LINES { p.note { (lines.len() - LINES) " more lines wait for less long." } }
            }
        }
    }
}

/// The last hours, and what happened in them.
pub fn past(now: &Now, minutes: &BTreeMap<u64, Minute>, reach: Reach) -> Markup {
    let past = Past::new(reach, now.at, minutes);
    let happenings = past.happenings();
    html! {
        section #past {
            div.heading {
                h2 { "The last " (reach.name()) }
                span.switch { @for other in Reach::ALL {
                    a href={ "/admin?reach=" (other.name()) } aria-current=[(other == reach).then_some("true")] { (other.name()) }
                } }
            }
            div.charts {
                (ends(&past).draw(&past))
                (waits(&past).draw(&past))
                (load(&past).draw(&past))
                (tenants(&past).draw(&past))
                (sharing(&past).draw(&past))
                (saved(&past).draw(&past))
            }
            h3 { "What happened" }
            @if happenings.is_empty() { p.note { "No worker came or went, and no scheduler was elected." } }
            @else { ul.happenings { @for happening in happenings.into_iter().take(HAPPENINGS) { li { (happened(happening)) } } } }
        }
    }
}

fn ends(past: &Past) -> Chart<'static> {
    type Count = fn(&Tally) -> u64;
    let lines: [(&str, &str, Count); 5] = [
        ("completed", "plain", |tally| tally.completed),
        ("program", "amber", |tally| tally.failed_program),
        ("limit", "blue", |tally| tally.failed_limit),
        ("server", "red", |tally| tally.failed_server),
        ("cancelled, expired", "faint", |tally| tally.cancelled + tally.expired),
    ];
    let values = |count: Count| past.rates(|minute| minute.tallies.values().map(count).sum());
    let line =
        |(name, look, count): (&str, &'static str, Count)| Series { name: name.into(), look, values: values(count) };
    let happened =
        |series: &Series| series.name == "completed" || series.values.iter().flatten().any(|value| *value > 0.0);
    let series = lines.into_iter().map(line).filter(happened).collect();
    Chart { title: "Jobs that ended, by whose doing", unit: Unit::JobsPerMinute, series }
}

fn waits(past: &Past) -> Chart<'static> {
    let quantile = |share: f64| {
        past.map(|minute| {
            let mut all = Tally::default();
            minute.tallies.values().for_each(|tally| all.waits.merge(&tally.waits));
            #[expect(clippy::cast_precision_loss, reason = "a place on a screen")]
            all.waits.quantile(share).map(|wait| wait as f64)
        })
    };
    let series = [("p50", "plain", 0.5), ("p99", "amber", 0.99)].into_iter().map(|(name, look, share)| Series {
        name: name.into(),
        look,
        values: quantile(share),
    });
    Chart { title: "Wait until a worker has the job", unit: Unit::Milliseconds, series: series.collect() }
}

#[expect(clippy::cast_precision_loss, reason = "places on a screen")]
fn load(past: &Past) -> Chart<'static> {
    let waiting = past.map(|minute| Some(minute.tallies.values().map(|tally| tally.waiting).sum::<u64>() as f64));
    let running = past.map(|minute| Some(minute.running as f64));
    let series = vec![
        Series { name: "waiting".into(), look: "blue", values: waiting },
        Series { name: "running".into(), look: "plain", values: running },
    ];
    Chart { title: "Jobs at one time, the most", unit: Unit::Jobs, series }
}

/// How many share a pass.
fn sharing(past: &Past) -> Chart<'static> {
    let values = past.map(|minute| ratio(minute, |passes| (passes.traces, passes.forwards)));
    let series = vec![Series { name: "on average".into(), look: "plain", values }];
    Chart { title: "Traces that share a forward pass", unit: Unit::Traces, series }
}

/// What had not to be computed.
fn saved(past: &Past) -> Chart<'static> {
    type Part = fn(&Passes) -> (u64, u64);
    let lines: [(&str, &str, Part); 2] = [
        ("of layers", "plain", |passes| (passes.layers_skipped, passes.layers_skipped + passes.layers_run)),
        ("of rows", "blue", |passes| (passes.forked_rows, passes.rows)),
    ];
    let series = lines.into_iter().map(|(name, look, part)| Series {
        name: name.into(),
        look,
        values: past.map(|minute| ratio(minute, part).map(|ratio| ratio * 100.0)),
    });
    Chart { title: "Saved by early ends and shared prompts", unit: Unit::Percent, series: series.collect() }
}

/// Returns one sum over a minute's passes in terms of another, where there is any.
fn ratio(minute: &Minute, part: impl Fn(&Passes) -> (u64, u64)) -> Option<f64> {
    let mut all = Passes::default();
    minute.tallies.values().for_each(|tally| all.add(&tally.passes));
    let (some, whole) = part(&all);
    #[expect(clippy::cast_precision_loss, reason = "a place on a screen")]
    (whole > 0).then(|| some as f64 / whole as f64)
}

/// Ended jobs of the tenants with the most, and of all others together.
fn tenants(past: &Past) -> Chart<'static> {
    let mut most: BTreeMap<&str, u64> = BTreeMap::new();
    for (line, tally) in past.steps.iter().flatten().flat_map(|minute| &minute.tallies) {
        if let Some((tenant, _)) = line {
            *most.entry(tenant.as_str()).or_default() += tally.ended();
        }
    }
    let mut ranked: Vec<(&str, u64)> = most.into_iter().filter(|(_, ended)| *ended > 0).collect();
    ranked.sort_by(|left, right| right.1.cmp(&left.1).then(left.0.cmp(right.0)));
    let shown: Vec<&str> = ranked.iter().take(TENANTS).map(|(tenant, _)| *tenant).collect();
    let apart: BTreeSet<&str> = shown.iter().copied().collect();
    let ended = |of: &dyn Fn(Option<&str>) -> bool| {
        past.rates(|minute| {
            let lines = minute.tallies.iter();
            let lines = lines.filter(|(line, _)| of(line.as_ref().map(|(tenant, _)| tenant.as_str())));
            lines.map(|(_, tally)| tally.ended()).sum()
        })
    };
    let looks = ["plain", "blue", "amber", "green", "violet"];
    let mut series: Vec<Series> = shown
        .iter()
        .zip(looks)
        .map(|(tenant, look)| Series {
            name: (*tenant).to_owned(),
            look,
            values: ended(&|other| other == Some(*tenant)),
        })
        .collect();
    let others = ended(&|other| other.is_none_or(|other| !apart.contains(other)));
    if others.iter().flatten().any(|value| *value > 0.0) {
        series.push(Series { name: "others".into(), look: "faint", values: others });
    }
    Chart { title: "Jobs that ended, by tenant", unit: Unit::JobsPerMinute, series }
}

/// Returns the way to the jobs that have something.
pub fn search(name: &str, value: &str) -> String {
    let query = serde_urlencoded::to_string([(name, value)]).unwrap_or_default();
    format!("/admin/jobs?{query}")
}
