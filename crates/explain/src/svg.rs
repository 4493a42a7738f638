//! An explanation as a drawing: what needs what, from left to right, and how far each pass goes.

use std::fmt::Write;

use crate::answer::{Calls, Certainty, Does, Explanation, Node, Trace};
use crate::text::bytes;

/// Nodes that are drawn; a larger program's first.
const DRAWN: usize = 160;
/// Of a box, and between boxes.
const WIDTH: usize = 260;
const HEIGHT: usize = 56;
const ACROSS: usize = 64;
const DOWN: usize = 16;
const MARGIN: usize = 24;
/// Letters that fit into a box.
const LETTERS: usize = 37;
/// Of a layer in the row of layers, and how many there are at most.
const LAYER: usize = 12;
const MOST_LAYERS: usize = 58;

/// Draws an explanation.
#[must_use]
pub fn svg(told: &Explanation) -> String {
    let nodes = told.nodes.get(..DRAWN.min(told.nodes.len())).unwrap_or_default();
    let places = places(nodes);
    let head = MARGIN + 52 + told.traces.len().min(TRACES) * 44;
    let columns = places.iter().map(|(column, _)| column + 1).max().unwrap_or(1);
    let rows = places.iter().map(|(_, row)| row + 1).max().unwrap_or(1);
    let width = (2 * MARGIN + columns * WIDTH + (columns - 1) * ACROSS).max(760);
    let height = head + rows * (HEIGHT + DOWN) + MARGIN + 24;
    let mut out = String::new();
    // A string takes whatever is written.
    let _ = draw(&mut out, told, nodes, &places, (width, height, head));
    out
}

/// Traces whose layers are drawn.
const TRACES: usize = 12;

/// Finds a column for each node, behind all that it needs, and a row, by the order of the text.
fn places(nodes: &[Node]) -> Vec<(usize, usize)> {
    let mut columns = vec![0_usize; nodes.len()];
    // What a loop carries on may need what comes later: as many turns as there are columns at most, and then it is left.
    for _ in 0..nodes.len().min(24) {
        let mut changed = false;
        for (at, node) in nodes.iter().enumerate() {
            let needs = node.needs.iter().map(|need| *need as usize).filter(|need| *need < at);
            let behind = needs.filter_map(|need| columns.get(need)).map(|column| column + 1).max().unwrap_or(0);
            if let Some(column) = columns.get_mut(at)
                && *column != behind
            {
                *column = behind;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    let mut filled = vec![0_usize; nodes.len() + 1];
    let mut places = Vec::with_capacity(nodes.len());
    for (at, node) in nodes.iter().enumerate() {
        let column = columns.get(at).copied().unwrap_or(0);
        // Not above what it needs, so that lines go down or straight on.
        let needs = node.needs.iter().filter_map(|need| places.get(*need as usize)).map(|(_, row)| *row);
        let row = needs.min().unwrap_or(0).max(filled.get(column).copied().unwrap_or(0));
        if let Some(next) = filled.get_mut(column) {
            *next = row + 1;
        }
        places.push((column, row));
    }
    places
}

fn draw(
    out: &mut String,
    told: &Explanation,
    nodes: &[Node],
    places: &[(usize, usize)],
    (width, height, head): (usize, usize, usize),
) -> std::fmt::Result {
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" font-size=\"11\">"
    )?;
    writeln!(out, "<title>{}</title>", escaped(&format!("{} on {}", told.file, told.model)))?;
    writeln!(
        out,
        "<defs><marker id=\"end\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
         orient=\"auto\"><path d=\"M0 0 8 4 0 8z\" fill=\"#667085\"/></marker></defs>"
    )?;
    writeln!(out, "<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>")?;
    let title = shortened(&format!("{} on {}", told.file, told.model), 88);
    writeln!(out, "<text x=\"{MARGIN}\" y=\"34\" font-size=\"15\" fill=\"#101828\">{}</text>", escaped(&title))?;
    let more = if told.cost.saved_bytes_known { "" } else { " or more" };
    let device =
        told.cost.device_seconds.map_or_else(String::new, |it| format!(", about {:.0} ms of the device", it * 1e3));
    let line = format!("{}{more} travel back{device}", bytes(told.cost.saved_bytes));
    writeln!(out, "<text x=\"{MARGIN}\" y=\"54\" fill=\"#475467\">{}</text>", escaped(&line))?;
    for (at, trace) in told.traces.iter().take(TRACES).enumerate() {
        draw_trace(out, trace, MARGIN + 52 + at * 44)?;
    }
    let at = |(column, row): (usize, usize)| (MARGIN + column * (WIDTH + ACROSS), head + row * (HEIGHT + DOWN));
    for (node, place) in nodes.iter().zip(places) {
        let (x, y) = at(*place);
        for need in &node.needs {
            let Some(from) = places.get(*need as usize) else { continue };
            let (from_x, from_y) = at(*from);
            let (from_x, from_y, to_y) = (from_x + WIDTH, from_y + HEIGHT / 2, y + HEIGHT / 2);
            let bend = ACROSS / 2;
            let colour = if node.unused { "#d0d5dd" } else { "#667085" };
            if from_x <= x {
                writeln!(
                    out,
                    "<path d=\"M{from_x} {from_y}C{} {from_y} {} {to_y} {x} {to_y}\" fill=\"none\" stroke=\"{colour}\" \
                     marker-end=\"url(#end)\"/>",
                    from_x + bend,
                    x.saturating_sub(bend)
                )?;
            } else {
                // Carried on by a loop: from the bottom of the one to the bottom of the other.
                let (from_x, to_x) = (from_x - WIDTH / 2, x + WIDTH / 2);
                let low = from_y.max(to_y) + HEIGHT / 2 + DOWN;
                writeln!(
                    out,
                    "<path d=\"M{from_x} {}C{from_x} {low} {to_x} {low} {to_x} {}\" fill=\"none\" stroke=\"{colour}\" \
                     stroke-dasharray=\"2 3\" marker-end=\"url(#end)\"/>",
                    from_y + HEIGHT / 2,
                    to_y + HEIGHT / 2
                )?;
            }
        }
    }
    for (node, place) in nodes.iter().zip(places) {
        let (x, y) = at(*place);
        draw_node(out, node, x, y)?;
    }
    let left = told.nodes.len() - nodes.len();
    let legend = match left {
        0 => "dashed: perhaps; grey: neither saved nor used".to_owned(),
        left => format!("dashed: perhaps; grey: neither saved nor used; {left} more are not drawn"),
    };
    if !nodes.is_empty() {
        writeln!(out, "<text x=\"{MARGIN}\" y=\"{}\" fill=\"#475467\">{legend}</text>", height - 14)?;
    }
    writeln!(out, "</svg>")
}

/// Draws how far the passes of a trace go.
fn draw_trace(out: &mut String, trace: &Trace, y: usize) -> std::fmt::Result {
    let calls = match trace.calls {
        Calls::Forward => "pass",
        Calls::Generate => "generation",
        Calls::Pipe => "pipeline",
    };
    let all = trace.layers_in_all.unwrap_or(0);
    let end = match (&trace.stops_after, trace.layers) {
        (Some(site), Some(layers)) => format!("{layers} of {all} layers, until {site}"),
        (None, Some(layers)) => format!("{layers} of {all} layers"),
        _ => "layers: unknown".to_owned(),
    };
    let perhaps = if trace.stops == Certainty::Perhaps && trace.calls == Calls::Forward { " (perhaps)" } else { "" };
    let text = shortened(&format!("line {}: {calls}, {end}{perhaps}", trace.line), 96);
    writeln!(out, "<text x=\"{MARGIN}\" y=\"{}\" fill=\"#101828\">{}</text>", y + 10, escaped(&text))?;
    let all = usize::try_from(trace.layers_in_all.unwrap_or(0)).unwrap_or(0);
    // As many as fit: of more, each stands for several.
    let (drawn, run) = (all.min(MOST_LAYERS), usize::try_from(trace.layers.unwrap_or(0)).unwrap_or(0));
    let run = if all > drawn { (run * drawn).div_ceil(all) } else { run };
    for layer in 0..drawn {
        let x = MARGIN + layer * LAYER;
        let fill = if layer < run { "#2e90fa" } else { "#eaecf0" };
        writeln!(
            out,
            "<rect x=\"{x}\" y=\"{}\" width=\"{}\" height=\"10\" rx=\"2\" fill=\"{fill}\"/>",
            y + 18,
            LAYER - 2
        )?;
    }
    Ok(())
}

fn draw_node(out: &mut String, node: &Node, x: usize, y: usize) -> std::fmt::Result {
    let (fill, stroke) = match node.does {
        _ if node.unused => ("#f2f4f7", "#d0d5dd"),
        Does::Reads => ("#eff8ff", "#2e90fa"),
        Does::Writes | Does::Skips => ("#fff6ed", "#ec6a1f"),
        Does::Calls => ("#f4f3ff", "#7a5af8"),
        Does::Computes => ("#f9fafb", "#98a2b3"),
        Does::Prints | Does::Saves => ("#ecfdf3", "#12b76a"),
    };
    let dash = if node.certainty == Certainty::Perhaps { " stroke-dasharray=\"5 3\"" } else { "" };
    let ink = if node.unused { "#667085" } else { "#101828" };
    writeln!(
        out,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\" fill=\"{fill}\" stroke=\"{stroke}\"{dash}/>"
    )?;
    let times = if node.times > 1 { format!(" {} times", node.times) } else { String::new() };
    let unused = if node.unused { ", unused" } else { "" };
    let what = match (&node.site, node.sites) {
        (Some(site), 0 | 1) => site.clone(),
        (Some(site), sites) => format!("{site} and {} more", sites - 1),
        (None, _) => node.text.clone(),
    };
    let lines = [format!("line {} {}{times}{unused}", node.line, node.does.name()), what, node.shape.clone()];
    for (at, line) in lines.iter().enumerate() {
        let weight = if at == 0 { " font-weight=\"600\"" } else { "" };
        writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" fill=\"{ink}\"{weight}>{}</text>",
            x + 8,
            y + 16 + at * 16,
            escaped(&shortened(line, LETTERS))
        )?;
    }
    Ok(())
}

/// Cuts a text so that it fits.
fn shortened(text: &str, letters: usize) -> String {
    match text.chars().count() {
        count if count <= letters => text.to_owned(),
        _ => text.chars().take(letters - 1).chain(['…']).collect(),
    }
}

/// Writes a text so that nothing of it is taken for markup. What XML cannot have is left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' => out.push(' '),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {}
            letter => out.push(letter),
        }
    }
    out
}
