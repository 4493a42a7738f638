//! Lines over time, drawn here. The drawing stretches with the page, its texts do not; a table has the same for those who
//! do not see it.

use std::collections::BTreeMap;
use std::fmt::Write;

use maud::{Markup, html};
use store::history::{Happening, Minute, What};

use super::layout::{column, numbers, table};
use super::units;

/// Rows of the table behind a chart.
const ROWS: usize = 12;
/// Letters of a name beside a line.
const NAME: usize = 18;
/// How far the names at the lines' ends are apart at least, in hundredths of the height.
const APART: f64 = 15.0;

/// How far back one looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    #[default]
    Hour,
    Quarter,
    Day,
}

/// A part of the past, in equal steps.
pub struct Past {
    reach: Reach,
    /// The first minute, since the Unix epoch.
    first: u64,
    /// What is known of each step; `None` where nothing is.
    pub steps: Vec<Option<Minute>>,
    /// The same of the minutes that are over, and how many those are.
    over: Vec<(u32, Minute)>,
}

/// Lines over one past.
pub struct Chart<'a> {
    pub title: &'a str,
    pub unit: Unit,
    pub series: Vec<Series>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Jobs,
    JobsPerMinute,
    Milliseconds,
    /// Traces in a pass.
    Traces,
    Percent,
}

/// One line.
pub struct Series {
    pub name: String,
    /// How it is drawn: a class of the style.
    pub look: &'static str,
    pub values: Vec<Option<f64>>,
}

impl Reach {
    pub const ALL: [Self; 3] = [Self::Hour, Self::Quarter, Self::Day];

    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Quarter => "6h",
            Self::Day => "24h",
        }
    }

    /// Reads a name; another is the default.
    pub fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|reach| reach.name() == name).unwrap_or_default()
    }

    /// Returns the minutes of a step, and how many steps there are.
    fn steps(self) -> (u64, u64) {
        match self {
            Self::Hour => (1, 60),
            Self::Quarter => (5, 72),
            Self::Day => (15, 96),
        }
    }

    /// Returns the first minute of the past that ends at a time in milliseconds since the Unix epoch.
    pub fn first(self, now: u64) -> u64 {
        let (step, steps) = self.steps();
        // Steps begin at round times, so that what was drawn stays as it is.
        (now / 60_000 / step + 1).saturating_sub(steps) * step
    }
}

impl Past {
    /// Puts the minutes from [`Reach::first`] on together.
    pub fn new(reach: Reach, now: u64, minutes: &BTreeMap<u64, Minute>) -> Self {
        let (step, steps) = reach.steps();
        let first = reach.first(now);
        let mut past = Self { reach, first, steps: Vec::new(), over: Vec::new() };
        for from in (0..steps).map(|index| first + index * step) {
            let (mut known, mut over) = (None::<Minute>, (0, Minute::default()));
            for (number, minute) in minutes.range(from..from + step) {
                known.get_or_insert_default().add(minute);
                if *number < now / 60_000 {
                    over.0 += 1;
                    over.1.add(minute);
                }
            }
            past.steps.push(known);
            past.over.push(over);
        }
        past
    }

    /// Returns how much of something there was in a minute of each step; that of now would be too little.
    pub fn rates(&self, count: impl Fn(&Minute) -> u64) -> Vec<Option<f64>> {
        #[expect(clippy::cast_precision_loss, reason = "a place on a screen")]
        let rate = |(minutes, all): &(u32, Minute)| (*minutes > 0).then(|| count(all) as f64 / f64::from(*minutes));
        self.over.iter().map(rate).collect()
    }

    /// Returns a value of each step.
    pub fn map(&self, value: impl Fn(&Minute) -> Option<f64>) -> Vec<Option<f64>> {
        self.steps.iter().map(|step| step.as_ref().and_then(&value)).collect()
    }

    /// Returns all that happened, the latest first.
    pub fn happenings(&self) -> Vec<&Happening> {
        let mut all: Vec<_> = self.steps.iter().flatten().flat_map(|minute| &minute.happenings).collect();
        all.sort_by_key(|happening| std::cmp::Reverse(happening.at));
        all
    }

    /// Returns the time at which a step begins, in milliseconds since the Unix epoch.
    fn begins(&self, step: usize) -> u64 {
        (self.first + step as u64 * self.reach.steps().0) * 60_000
    }

    /// Returns where a time is, in steps.
    #[expect(clippy::cast_precision_loss, reason = "places on a screen")]
    fn place(&self, at: u64) -> f64 {
        let (step, _) = self.reach.steps();
        at.saturating_sub(self.first * 60_000) as f64 / (step * 60_000) as f64
    }
}

impl Unit {
    fn write(self, value: f64) -> String {
        match self {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and far below")]
            Self::Milliseconds => units::span(value.round() as u64),
            _ if value == value.round() || value >= 100.0 => format!("{value:.0}"),
            _ if value >= 10.0 => format!("{value:.1}"),
            _ => format!("{value:.2}"),
        }
    }

    /// Writes a value of the scale, which is round.
    fn scale(self, value: f64) -> String {
        let text = self.write(value);
        let (number, unit) = text.split_once(' ').map_or((text.as_str(), ""), |(number, unit)| (number, unit));
        let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
        if unit.is_empty() { number.to_owned() } else { format!("{number} {unit}") }
    }

    /// Returns a round value that holds another.
    fn nice(self, value: f64) -> f64 {
        // Above ten seconds, what is round in minutes and hours is.
        let times = [20_000.0, 60_000.0, 120_000.0, 600_000.0, 1_200_000.0, 3_600_000.0, 7_200_000.0, 36_000_000.0];
        match self {
            Self::Milliseconds if value > 10_000.0 => times.into_iter().find(|time| *time >= value).unwrap_or(value),
            // Half of it is a whole number, too.
            Self::Milliseconds => nice(value).max(2.0),
            _ => nice(value),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::JobsPerMinute => "jobs/min",
            Self::Milliseconds => "time",
            Self::Traces => "traces/pass",
            Self::Percent => "%",
        }
    }
}

impl Chart<'_> {
    /// Draws it over a past.
    pub fn draw(&self, past: &Past) -> Markup {
        let values = self.series.iter().flat_map(|series| series.values.iter().flatten());
        let top = self.unit.nice(values.fold(0.0, |most: f64, value| most.max(*value)));
        let last = past.steps.len().saturating_sub(1);
        let lasts: Vec<_> =
            self.series.iter().map(|series| series.values.iter().rev().flatten().next().copied()).collect();
        let said: Vec<String> = self
            .series
            .iter()
            .zip(&lasts)
            .map(|(series, last)| match last {
                Some(last) => format!("{}: {}", series.name, self.unit.write(*last)),
                None => format!("{}: nothing", series.name),
            })
            .collect();
        let summary = format!("{} in the last {}; {}", self.title, past.reach.name(), said.join(", "));
        html! {
            figure.chart {
                figcaption { (self.title) " " small { (self.unit.name()) } }
                div.plot {
                    svg.lines role="img" aria-label=(summary) {
                        line.grid x1="0" x2="100%" y1="0.5" y2="0.5" {}
                        line.grid x1="0" x2="100%" y1="50%" y2="50%" {}
                        line.axis x1="0" x2="100%" y1="100%" y2="100%" {}
                        svg viewBox={ "0 0 " (last) " 100" } preserveAspectRatio="none" {
                            @for happening in past.happenings() {
                                @let x = past.place(happening.at);
                                path.tick d={ "M" (format!("{x:.2}")) " 0V100" } { title { (happened(happening)) } }
                            }
                            @for series in &self.series {
                                path class={ "line " (series.look) } d=(path(&series.values, top)) {}
                                path class={ "line dot " (series.look) } d=(dots(&series.values, top)) {}
                            }
                        }
                        text.scale x="2" y="11" { (self.unit.scale(top)) }
                        text.scale x="2" y="50%" dy="11" { (self.unit.scale(top / 2.0)) }
                    }
                    svg.ends aria-hidden="true" {
                        @if lasts.iter().all(Option::is_none) { text.end.faint x="6" y="97%" dy="4" { "nothing yet" } }
                        @for (y, index) in ends(&lasts, top) {
                            @if let (Some(series), Some(Some(last))) = (self.series.get(index), lasts.get(index)) {
                                text class={ "end " (series.look) } x="6" y={ (format!("{y:.1}")) "%" } dy="4" {
                                    (self.unit.write(*last)) " " (shortened(&series.name))
                                }
                            }
                        }
                    }
                }
                div.times aria-hidden="true" {
                    @for quarter in 0..5 { span { (units::clock(past.begins(last * quarter / 4))) } }
                }
                (self.table(past))
            }
        }
    }

    /// Shows the same in a few rows.
    fn table(&self, past: &Past) -> Markup {
        let step = past.steps.len().div_ceil(ROWS).max(1);
        let mut columns = vec![column("UTC")];
        columns.extend(self.series.iter().map(|series| numbers(&*series.name)));
        let rows = (0..past.steps.len()).step_by(step).map(|row| {
            let value = |series: &Series| {
                most(&series.values, row, step).map_or_else(units::nothing, |value| html! { (self.unit.write(value)) })
            };
            let time = html! { (units::clock(past.begins(row))) };
            std::iter::once(time).chain(self.series.iter().map(value)).collect()
        });
        html! {
            details {
                summary { "As a table" }
                (table(self.title, &columns, rows))
                p.note { "The most of each " (step) " steps." }
            }
        }
    }
}

/// Returns as much of a name as there is room for beside a line; the table has the whole.
fn shortened(name: &str) -> String {
    match name.char_indices().nth(NAME) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

/// Writes what happened.
pub fn happened(happening: &Happening) -> String {
    let what = match &happening.what {
        What::SchedulerBegan => "a scheduler began to lead".to_owned(),
        What::WorkerCame(worker) => format!("worker {worker} came"),
        What::WorkerLeft(worker) => format!("worker {worker} left"),
        What::WorkerDied(worker) => format!("worker {worker} died"),
        What::WorkerSilent(worker) => format!("worker {worker} was given up: not heard of"),
        What::Drifted(worker, model) => format!("{model} on worker {worker} gave other numbers than it gave before"),
        What::Corrupted(worker, model) => format!("weights of {model} on worker {worker} had changed in memory"),
    };
    format!("{} {what}", units::clock(happening.at))
}

fn most(values: &[Option<f64>], from: usize, step: usize) -> Option<f64> {
    values.iter().skip(from).take(step).flatten().copied().reduce(f64::max)
}

/// Returns the least of 1, 2, 5, 10, … that holds a value.
fn nice(value: f64) -> f64 {
    if value <= 1.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|step| *step >= value).unwrap_or(value)
}

/// Returns where the names of lines go, from the top in hundredths, so that none lies on another.
fn ends(lasts: &[Option<f64>], top: f64) -> Vec<(f64, usize)> {
    let wanted = lasts.iter().enumerate().filter_map(|(index, last)| Some((100.0 - (*last)? / top * 100.0, index)));
    let mut ends: Vec<(f64, usize)> = wanted.collect();
    ends.sort_by(|left, right| left.0.total_cmp(&right.0));
    let mut free = 4.0;
    for (y, _) in &mut ends {
        *y = y.max(free);
        free = *y + APART;
    }
    // What was pushed over the edge pushes back.
    let mut free = 97.0;
    for (y, _) in ends.iter_mut().rev() {
        *y = y.min(free);
        free = *y - APART;
    }
    ends
}

/// Writes a line's way: a step is a unit wide, and all is 100 high. Where nothing is known, it is broken.
fn path(values: &[Option<f64>], top: f64) -> String {
    let mut path = String::new();
    let mut drawing = false;
    for (x, value) in values.iter().enumerate() {
        match value {
            Some(value) => {
                let y = 100.0 - value / top * 100.0;
                // Writing to a text does not fail.
                let _ = write!(path, "{}{x} {y:.1}", if drawing { 'L' } else { 'M' });
                drawing = true;
            }
            None => drawing = false,
        }
    }
    path
}

/// Writes the places of values that stand alone, which are no line: each a line of no length, whose ends make a dot.
fn dots(values: &[Option<f64>], top: f64) -> String {
    let known = |at: Option<usize>| at.and_then(|at| values.get(at)).is_some_and(Option::is_some);
    let mut dots = String::new();
    for (x, value) in values.iter().enumerate() {
        if let Some(value) = value
            && !known(x.checked_sub(1))
            && !known(Some(x + 1))
        {
            // Writing to a text does not fail.
            let _ = write!(dots, "M{x} {:.1}h0", 100.0 - value / top * 100.0);
        }
    }
    dots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_broken_where_nothing_is_known_and_starts_at_zero() {
        assert_eq!(path(&[Some(0.0), Some(5.0), None, Some(10.0)], 10.0), "M0 100.0L1 50.0M3 0.0");
        assert_eq!(dots(&[Some(0.0), Some(5.0), None, Some(10.0)], 10.0), "M3 0.0h0");
        assert_eq!(path(&[None, None], 1.0), "");
        for (value, top) in [(0.0, 1.0), (1.0, 1.0), (1.5, 2.0), (3.0, 5.0), (7.0, 10.0), (10.0, 10.0), (420.0, 500.0)]
        {
            assert!((nice(value) - top).abs() < 1e-9, "{value}: {}", nice(value));
        }
    }

    #[test]
    fn names_at_the_ends_of_lines_do_not_lie_on_each_other() {
        let ends = ends(&[Some(0.0), Some(0.0), Some(0.1), Some(10.0), None], 10.0);
        let order: Vec<usize> = ends.iter().map(|(_, index)| *index).collect();
        assert_eq!(order, [3, 2, 0, 1]);
        assert!(ends.windows(2).all(|pair| pair[1].0 - pair[0].0 >= APART - 1e-9), "{ends:?}");
        assert!(ends.iter().all(|(y, _)| (0.0..=100.0).contains(y)), "{ends:?}");
    }

    #[test]
    fn a_past_is_put_together_in_steps_that_begin_at_round_times() {
        let minute = |running| Minute { running, ..Minute::default() };
        let now = 1_000_003 * 60_000;
        let minutes = BTreeMap::from([(1_000_000, minute(1)), (1_000_001, minute(5)), (1_000_003, minute(2))]);
        let hour = Past::new(Reach::Hour, now, &minutes);
        let running =
            |past: &Past| past.steps.iter().map(|step| step.as_ref().map(|step| step.running)).collect::<Vec<_>>();
        assert_eq!(running(&hour)[56..], [Some(1), Some(5), None, Some(2)]);
        assert_eq!(hour.rates(|minute| minute.running)[56..], [Some(1.0), Some(5.0), None, None], "now is not over");
        let scales =
            [0.5, 700.0, 12_000.0, 90_000.0].map(|most| Unit::Milliseconds.scale(Unit::Milliseconds.nice(most)));
        assert_eq!(scales, ["2 ms", "1 s", "20 s", "2 min"]);
        let day = Past::new(Reach::Day, now, &minutes);
        assert_eq!((day.first % 15, day.steps.len(), running(&day)[95]), (0, 96, Some(5)));
        assert_eq!(Reach::named("24h"), Reach::Day);
        assert_eq!(Reach::named("1y"), Reach::Hour);
    }
}
