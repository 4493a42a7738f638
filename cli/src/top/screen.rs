//! What one frame shows: what is wrong, who waits for what, the models, and the workers.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table, Widget, Wrap};
use serde_json::Value;

use super::Seen;
use crate::{status, table};

/// The least that something can be read on.
const WIDTH: u16 = 60;
const HEIGHT: u16 = 14;
/// Columns of a frame that no terminal has, and its lines at most.
const TEXT_WIDTH: u16 = 120;
const TEXT_HEIGHT: u16 = 1000;
/// Columns between two of a table.
const GAP: u16 = 2;
/// The least that a name is cut to.
const NAME: usize = 8;
/// Characters of a bar.
const BAR: usize = 10;

/// One frame.
pub struct Screen<'a> {
    pub host: &'a str,
    pub seen: &'a Seen,
    /// Whether keys are heard.
    pub live: bool,
    /// How old it is, where that is worth saying.
    pub age: Duration,
    /// Why there is nothing newer.
    pub failed: Option<&'a str>,
}

/// A table: its heads, which of its columns are texts that may be cut, and its rows.
struct Part {
    heads: &'static [&'static str],
    names: &'static [usize],
    rows: Vec<Vec<String>>,
    /// What is said where it has none.
    none: &'static str,
}

impl Screen<'_> {
    /// Writes the whole of it as lines.
    pub fn text(&self) -> Vec<String> {
        let rows: usize = self.parts().iter().map(|part| part.rows.len().max(1) + 2).sum();
        let height = u16::try_from(rows + 3).unwrap_or(u16::MAX).clamp(HEIGHT, TEXT_HEIGHT);
        let mut buffer = Buffer::empty(Rect::new(0, 0, TEXT_WIDTH, height));
        self.render(buffer.area, &mut buffer);
        let line =
            |y| (0..TEXT_WIDTH).filter_map(|x| buffer.cell((x, y))).map(|cell| cell.symbol()).collect::<String>();
        let mut lines: Vec<String> = (0..height).map(|y| line(y).trim_end().to_owned()).collect();
        lines.truncate(lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1));
        lines
    }

    /// The lines above the tables.
    fn top(&self) -> [Line<'static>; 3] {
        let Seen { lines, models, nodes, roles } = self.seen;
        let count = |name: &str| -> u64 { lines.iter().filter_map(|line| line[name].as_u64()).sum() };
        let slots: u64 =
            nodes.iter().filter(|node| node["state"] == "ready").filter_map(|node| node["slots"].as_u64()).sum();
        let taken: u64 = nodes.iter().filter_map(|node| node["jobs"].as_u64()).sum();
        let troubles = status::troubles(models, nodes, roles);
        let well = match (self.failed, &troubles[..]) {
            (Some(failed), _) => Line::from(format!("! {failed}")).red(),
            (None, []) => Line::from("all is well"),
            (None, [first]) => Line::from(format!("! {first}")).red(),
            (None, [first, rest @ ..]) => {
                Line::from(format!("! {first}, and {} more: `vitrine status`", rest.len())).red()
            }
        };
        let mut head = vec!["vitrine top".bold(), "  ".into(), self.host.to_owned().into()];
        if self.live {
            head.push("  q ends it".dim());
        }
        if !self.age.is_zero() {
            head.push(format!("  as it was {} ago", span(self.age)).yellow());
        }
        let jobs = format!("{} wait, {} run; {taken} of {slots} places are taken", count("waiting"), count("running"));
        [Line::from(head), well, Line::from(jobs)]
    }

    fn parts(&self) -> [Part; 3] {
        let text = |value: &Value| table::text(value);
        let line = |line: &Value| {
            let oldest = line["oldest_waits_s"].as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            let oldest = oldest.map_or_else(|| "-".into(), span);
            vec![text(&line["tenant"]), text(&line["model"]), text(&line["waiting"]), oldest, text(&line["running"])]
        };
        let model = |model: &Value| {
            let replicas = &model["replicas"];
            let (least, most) = (replicas["min"].as_u64().unwrap_or(0), replicas["max"].as_u64());
            let wanted = match (least, most) {
                (0, None) => String::new(),
                (least, None) => format!(" of {least} or more"),
                (least, Some(most)) if least == most => format!(" of {most}"),
                (least, Some(most)) => format!(" of {least} to {most}"),
            };
            let state = match model["progress"].as_f64() {
                Some(progress) => format!("{} {:.0} %", text(&model["state"]), progress * 100.0),
                None => text(&model["state"]),
            };
            let pinned = if model["pinned"] == true { "pinned" } else { "" };
            let jobs: u64 = table::list(model, "nodes").iter().filter_map(|node| node["jobs"].as_u64()).sum();
            let ready = format!("{}{wanted}", replicas["ready"]);
            vec![
                text(&model["name"]),
                state,
                ready,
                pinned.into(),
                table::bytes(&model["memory_bytes"]),
                jobs.to_string(),
            ]
        };
        let node = |node: &Value| {
            let (jobs, slots) = (node["jobs"].as_u64(), node["slots"].as_u64());
            let places = match (jobs, slots) {
                (Some(jobs), Some(slots)) => format!("{} {jobs} of {slots}", bar(jobs, slots)),
                _ => "-".into(),
            };
            let of = |name: &str| {
                table::list(node, "devices").iter().filter_map(|device| device[name].as_u64()).sum::<u64>()
            };
            let (used, all) = (of("used_bytes"), of("model_bytes"));
            let memory = match all {
                0 => "-".into(),
                all => format!("{} {} of {}", bar(used, all), table::bytes(&used.into()), table::bytes(&all.into())),
            };
            vec![
                text(&node["name"]),
                text(&node["state"]),
                places,
                memory,
                table::list(node, "models").len().to_string(),
            ]
        };
        let Seen { lines, models, nodes, .. } = self.seen;
        [
            Part {
                heads: &["TENANT", "MODEL", "WAITING", "OLDEST", "RUNNING"],
                names: &[0, 1],
                rows: lines.iter().map(line).collect(),
                none: "nothing waits and nothing runs",
            },
            Part {
                heads: &["MODEL", "STATE", "REPLICAS", "", "MEMORY", "JOBS"],
                names: &[0],
                rows: models.iter().map(model).collect(),
                none: "no model is hosted",
            },
            Part {
                heads: &["NODE", "STATE", "PLACES", "MEMORY FOR MODELS", "MODELS"],
                names: &[0],
                rows: nodes.iter().map(node).collect(),
                none: "no worker is there",
            },
        ]
    }
}

impl Widget for &Screen<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        if area.width < WIDTH || area.height < HEIGHT {
            let sentence = format!(
                "this terminal has {} x {} characters, and `vitrine top` needs {WIDTH} x {HEIGHT}: make it larger, or press q",
                area.width, area.height
            );
            return Paragraph::new(sentence).wrap(Wrap { trim: true }).render(area, buffer);
        }
        let mut y = area.y;
        for line in self.top() {
            line.render(Rect { y, height: 1, ..area }, buffer);
            y += 1;
        }
        let parts = self.parts();
        // Each has a line above it and one of heads.
        let room = usize::from(area.bottom() - y).saturating_sub(2 * parts.len());
        let shares = shares(room, &parts.each_ref().map(|part| part.rows.len().max(1)));
        for (part, share) in parts.iter().zip(shares) {
            y += 1;
            let height = u16::try_from(share + 1).unwrap_or(u16::MAX).min(area.bottom().saturating_sub(y));
            part.render(Rect { y, height, ..area }, buffer);
            y += height;
        }
    }
}

impl Widget for &Part {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let widths = self.widths(area.width);
        let room = usize::from(area.height.saturating_sub(1));
        let shown = if self.rows.len() > room { room.saturating_sub(1) } else { self.rows.len() };
        let row = |cells: &Vec<String>| {
            Row::new(cells.iter().zip(&widths).map(|(cell, width)| cut(cell, *width)).collect::<Vec<_>>())
        };
        let rows = self.rows.iter().take(shown).map(row);
        let heads = Row::new(self.heads.to_vec()).style(Style::new().bold());
        let constraints = widths.iter().map(|width| Constraint::Length(u16::try_from(*width).unwrap_or(u16::MAX)));
        Widget::render(Table::new(rows, constraints).header(heads).column_spacing(GAP), area, buffer);
        let rest = match self.rows.len() - shown {
            0 if self.rows.is_empty() => self.none.to_owned(),
            0 => return,
            rest => format!("and {rest} more"),
        };
        let below = Rect { y: area.y + 1 + u16::try_from(shown).unwrap_or(0), height: 1, ..area };
        Line::from(rest).dim().render(below.intersection(area), buffer);
    }
}

impl Part {
    /// Says how wide each column is: as it needs, and where that is too much, names are cut, the longest first.
    fn widths(&self, room: u16) -> Vec<usize> {
        let width = |text: &str| Span::raw(text).width();
        let mut widths: Vec<usize> = self.heads.iter().map(|head| width(head)).collect();
        for row in &self.rows {
            for (column, cell) in widths.iter_mut().zip(row) {
                *column = (*column).max(width(cell));
            }
        }
        let gaps = usize::from(GAP) * widths.len().saturating_sub(1);
        let mut over = (widths.iter().sum::<usize>() + gaps).saturating_sub(room.into());
        while over > 0 {
            let longest = self.names.iter().copied().max_by_key(|name| widths.get(*name).copied());
            let Some(width) = longest.and_then(|name| widths.get_mut(name)).filter(|width| **width > NAME) else {
                break;
            };
            *width -= 1;
            over -= 1;
        }
        widths
    }
}

/// Divides rows among tables: to each what it needs, and where that is too much, in turns.
fn shares<const N: usize>(mut room: usize, needs: &[usize; N]) -> [usize; N] {
    let mut shares = [0; N];
    while room > 0 {
        let before = room;
        for (share, need) in shares.iter_mut().zip(needs) {
            if *share < *need && room > 0 {
                *share += 1;
                room -= 1;
            }
        }
        if room == before {
            break;
        }
    }
    shares
}

/// Cuts a text to a width, so that one sees it.
fn cut(text: &str, width: usize) -> String {
    if Span::raw(text).width() <= width {
        return text.to_owned();
    }
    let mut short = text.to_owned();
    while Span::raw(short.as_str()).width() >= width && short.pop().is_some() {}
    short.push('…');
    short
}

fn bar(part: u64, whole: u64) -> String {
    let full = u128::from(part.min(whole)) * BAR as u128 / u128::from(whole.max(1));
    let full = usize::try_from(full).unwrap_or(BAR);
    format!("{}{}", "█".repeat(full), "░".repeat(BAR - full))
}

/// Writes a length of time by its two largest units.
fn span(time: Duration) -> String {
    let text = humantime::format_duration(Duration::from_secs(time.as_secs())).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(lines: usize) -> Seen {
        let line = |number: usize| json!({ "tenant": format!("tenant-{number:02}"), "model": "o/n", "waiting": 3, "oldest_waits_s": 3723.5, "running": 1 });
        Seen {
            lines: (0..lines).map(line).collect(),
            models: vec![json!({
                "name": "organisation/a-model-with-a-rather-long-name-of-its-own", "state": "loading", "progress": 0.43, "why": null,
                "replicas": { "min": 1, "max": 4, "ready": 1 }, "pinned": true, "memory_bytes": 2_000_000_000u64, "nodes": [{ "jobs": 2 }],
            })],
            nodes: vec![json!({
                "name": "gpu-1", "state": "ready", "connected": true, "slots": 8, "jobs": 5, "models": [{}],
                "devices": [{ "model_bytes": 4_000_000_000u64, "used_bytes": 2_000_000_000u64 }],
            })],
            roles: Vec::new(),
        }
    }

    fn drawn(screen: &Screen<'_>, width: u16, height: u16) -> String {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        screen.render(buffer.area, &mut buffer);
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        (0..height).map(line).collect::<Vec<_>>().join("\n")
    }

    fn screen(seen: &Seen) -> Screen<'_> {
        Screen { host: "http://here", seen, live: false, age: Duration::ZERO, failed: None }
    }

    #[test]
    fn a_frame_shows_who_waits_the_models_and_the_workers() {
        let seen = seen(1);
        let expected = "\
vitrine top  http://here
all is well
3 wait, 1 run; 5 of 8 places are taken

TENANT     MODEL  WAITING  OLDEST  RUNNING
tenant-00  o/n    3        1h 2m   1

MODEL                                                STATE         REPLICAS            MEMORY   JOBS
organisation/a-model-with-a-rather-long-name-of-its-own  loading 43 %  1 of 1 to 4  pinned  2.00 GB  2

NODE   STATE  PLACES             MEMORY FOR MODELS               MODELS
gpu-1  ready  ██████░░░░ 5 of 8  █████░░░░░ 2.00 GB of 4.00 GB  1";
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&screen(&seen).text().join("\n")), words(expected));
    }

    #[test]
    fn what_has_no_room_is_counted_and_names_are_cut_where_one_sees_it() {
        let seen = seen(50);
        let drawn = drawn(&screen(&seen), 70, 20);
        assert!(
            drawn.contains("tenant-07") && drawn.contains("and 42 more") && !drawn.contains("tenant-08"),
            "{drawn}"
        );
        assert!(drawn.contains("organisation/a-") && drawn.contains("…") && drawn.contains("2.00 GB"), "{drawn}");
        assert!(drawn.lines().all(|line| line.chars().count() <= 70), "{drawn}");
        assert!(drawn.contains("5 of 8"), "{drawn}");
    }

    #[test]
    fn a_terminal_that_is_too_small_is_told_so() {
        let seen = seen(1);
        let told = drawn(&screen(&seen), 40, 5).split_whitespace().collect::<Vec<_>>().join(" ");
        let sentence =
            "this terminal has 40 x 5 characters, and `vitrine top` needs 60 x 14: make it larger, or press q";
        assert_eq!(told, sentence);
        // However small, nothing is drawn where there is nothing.
        for size in [0, 1, 2] {
            drawn(&screen(&seen), size, size);
        }
    }

    #[test]
    fn what_is_old_or_wrong_is_said_first() {
        let mut seen = seen(1);
        let screen = Screen { age: Duration::from_secs(75), failed: Some("cannot reach it"), ..screen(&seen) };
        let told = screen.text();
        assert_eq!(
            (&told[0][..], &told[1][..]),
            ("vitrine top  http://here  as it was 1m 15s ago", "! cannot reach it")
        );
        let ends = |at: &str| json!({ "role": "gateway", "name": "g", "certificates": { "etcd_authority": at } });
        seen.roles = vec![ends("2999-01-01T00:00:00Z")];
        assert_eq!(self::screen(&seen).text()[1], "all is well");
        seen.roles = vec![ends("2001-01-01T00:00:00Z")];
        let sentence = "! the certificate of the gateway g for etcd authority ends at 2001-01-01T00:00:00Z: renew it";
        assert_eq!(self::screen(&seen).text()[1], sentence);
        seen.roles.clear();
        seen.nodes.clear();
        let told = self::screen(&seen).text();
        assert_eq!(told[1], "! no worker is connected, so that no job can run");
        assert!(told.contains(&"no worker is there".to_owned()), "{told:?}");
    }
}
