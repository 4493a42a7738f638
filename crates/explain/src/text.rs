//! An explanation as text.

use std::fmt::Write;

use crate::answer::{Access, Calls, Certainty, Explanation, Node, Trace};

/// Accesses of a line beyond which only the first and the last are listed.
const LISTED: usize = 3;

/// Writes an explanation for a terminal; with what depends on what where `graph` is wanted.
#[must_use]
pub fn text(told: &Explanation, graph: bool) -> String {
    let mut out = String::new();
    // A string takes whatever is written.
    let _ = write(&mut out, told, graph);
    out
}

fn write(out: &mut String, told: &Explanation, graph: bool) -> std::fmt::Result {
    let traces = match told.traces.len() {
        1 => "one trace".to_owned(),
        count => format!("{count} traces"),
    };
    writeln!(out, "{}: {traces} of {}", told.file, told.model)?;
    if !told.model_known {
        writeln!(
            out,
            "the model has not been loaded yet: in what order its modules run, and their shapes, is not known"
        )?;
    }
    if !told.complete {
        writeln!(out, "the program is longer than what is looked through: what follows is its beginning")?;
    }
    for trace in &told.traces {
        writeln!(out)?;
        write_trace(out, trace)?;
    }
    if graph {
        writeln!(out, "\nwhat depends on what")?;
        for (at, node) in told.nodes.iter().enumerate() {
            write_node(out, at, node)?;
        }
    }
    writeln!(out, "\ncomes back")?;
    if told.saved.is_empty() {
        writeln!(out, "  nothing")?;
    }
    let rows: Vec<Vec<String>> = told
        .saved
        .iter()
        .map(|saved| {
            let size = saved.bytes.map_or_else(|| "size unknown".into(), bytes);
            vec![
                format!("line {}", saved.line),
                saved.name.clone(),
                shape(&saved.shape),
                size + perhaps(saved.certainty),
            ]
        })
        .collect();
    write_rows(out, &rows)?;
    writeln!(out, "\ncosts")?;
    let more = if told.cost.saved_bytes_known { "" } else { " or more" };
    writeln!(out, "  {}{more} travel back", bytes(told.cost.saved_bytes))?;
    match told.cost.device_seconds {
        Some(seconds) => writeln!(out, "  about {} of the device for passes", duration(seconds))?,
        None => writeln!(out, "  time of the device: unknown")?,
    }
    writeln!(
        out,
        "  {} of tensors or more at one time, of {} that a job may have",
        bytes(told.cost.tensor_bytes),
        bytes(told.cost.tensor_bytes_limit)
    )?;
    if let Some(queue) = &told.queue {
        let jobs = if queue.model == 1 { "job of this model has" } else { "jobs of this model have" };
        writeln!(out, "  {} {jobs} not ended, {} of them yours", queue.model, queue.own)?;
        if let Some(why) = &queue.waits_for {
            writeln!(out, "  {why}")?;
        }
    }
    if !told.warnings.is_empty() {
        writeln!(out, "\nwarnings")?;
    }
    for warning in &told.warnings {
        writeln!(out, "  line {}: {}{}", warning.line, warning.text, perhaps(warning.certainty))?;
    }
    Ok(())
}

fn write_trace(out: &mut String, trace: &Trace) -> std::fmt::Result {
    let calls = match trace.calls {
        Calls::Forward => "a forward pass",
        Calls::Generate => "a generation",
        Calls::Pipe => "a pipeline",
    };
    write!(out, "line {}: {calls}", trace.line)?;
    for (at, input) in trace.inputs.iter().enumerate() {
        let number = |count: Option<i64>| count.map_or_else(|| "?".into(), |count| count.to_string());
        let plural =
            |count: Option<i64>, one: &'static str, more: &'static str| if count == Some(1) { one } else { more };
        write!(
            out,
            "{} {} {}",
            if at == 0 { " over" } else { "," },
            number(input.rows),
            plural(input.rows, "row", "rows")
        )?;
        if input.of_all {
            write!(out, " of all")?;
        } else {
            write!(out, " of {} {}", number(input.tokens), plural(input.tokens, "token", "tokens"))?;
        }
        if let Some(line) = input.same_as {
            write!(out, " (the same as at line {line}: computed once where nothing was changed)")?;
        }
    }
    writeln!(out, "{}", perhaps(trace.certainty))?;
    let mut rows = Vec::new();
    for group in trace.accesses.chunk_by(alike) {
        let listed = if group.len() > LISTED { 1 } else { group.len() };
        rows.extend(group.iter().take(listed).map(row));
        if group.len() > LISTED {
            rows.push(vec![String::new(), String::new(), format!("… {} more …", group.len() - 2)]);
            rows.extend(group.last().map(row));
        }
    }
    write_rows(out, &rows)?;
    if trace.accesses_left_out > 0 {
        writeln!(out, "  and {} more", trace.accesses_left_out)?;
    }
    let all = trace.layers_in_all.unwrap_or(0);
    match (&trace.stops_after, trace.layers, trace.calls) {
        (Some(site), Some(layers), Calls::Forward) => {
            let stops = if trace.stops == Certainty::Certain { "ends" } else { "can end, perhaps," };
            writeln!(out, "  the pass {stops} after {site}: {layers} of {all} layers are computed at most")
        }
        (None, Some(0), Calls::Forward) => writeln!(out, "  nothing of the pass is waited for"),
        (_, _, Calls::Forward) => writeln!(out, "  where the pass can end is not known"),
        _ => match trace.passes {
            Some(passes) => writeln!(out, "  {passes} passes at most, of all layers"),
            None => writeln!(out, "  how many passes is not known"),
        },
    }
}

/// Returns whether two accesses are the same line's, one of which follows the other.
fn alike(one: &Access, other: &Access) -> bool {
    (one.line, one.does, one.input, &one.shape, one.certainty)
        == (other.line, other.does, other.input, &other.shape, other.certainty)
}

fn row(access: &Access) -> Vec<String> {
    let step = match access.step {
        Some(step) => format!(" at step {step}"),
        None => String::new(),
    };
    let site = format!("{}{step}", access.site);
    vec![
        format!("line {}", access.line),
        access.does.name().into(),
        site,
        shape(&access.shape) + perhaps(access.certainty),
    ]
}

fn write_node(out: &mut String, at: usize, node: &Node) -> std::fmt::Result {
    let needs: Vec<String> = node.needs.iter().map(|need| format!("({need})")).collect();
    let needs = if needs.is_empty() { String::new() } else { format!(" of {}", needs.join(" ")) };
    let site = match (&node.site, node.sites) {
        (Some(site), 0 | 1) => format!(" {site}"),
        (Some(site), sites) => format!(" {site} and {} more", sites - 1),
        (None, _) => String::new(),
    };
    let times = if node.times > 1 { format!(", {} times", node.times) } else { String::new() };
    let unused = if node.unused { ", UNUSED" } else { "" };
    let perhaps = perhaps(node.certainty);
    writeln!(
        out,
        "  ({at}) line {} {}{site}{needs}{times}{unused}{perhaps}    {}",
        node.line,
        node.does.name(),
        node.text
    )
}

fn write_rows(out: &mut String, rows: &[Vec<String>]) -> std::fmt::Result {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    for row in rows {
        let mut line = String::from(" ");
        for column in 0..columns {
            let cell = row.get(column).map(String::as_str).unwrap_or_default();
            write!(line, " {cell:<width$} ", width = width(column).unwrap_or(0))?;
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn shape(shape: &str) -> String {
    if shape.is_empty() { "shape unknown".into() } else { shape.into() }
}

fn perhaps(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Certain => "",
        Certainty::Perhaps => " (perhaps)",
    }
}

/// Writes a number of bytes.
pub fn bytes(count: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut unit = None;
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let mut value = count as f64;
    for name in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = Some(name);
    }
    match unit {
        None => format!("{count} bytes"),
        Some(unit) => format!("{value:.1} {unit}"),
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        short if short < 0.001 => "a millisecond or less".into(),
        short if short < 1.0 => format!("{:.0} ms", short * 1e3),
        long => format!("{long:.1} s"),
    }
}
