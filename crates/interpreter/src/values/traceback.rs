//! The text that CPython prints for an exception that nobody caught.

use program::ir::Span;

use crate::values::exceptions::Kind;
use crate::values::raise::{Entry, Raise};
use crate::values::value::Value;

/// Links of a chain of causes and contexts that are printed; a longer chain loses its oldest.
pub(crate) const MAX_LINKS: usize = 64;
/// Repetitions of one frame after which CPython counts instead of printing.
const REPEATS: usize = 3;

/// Prints an exception, after those it is chained to.
pub(crate) fn text(raise: &Raise) -> String {
    let mut parts = Vec::new();
    let mut next = Some((raise.clone(), ""));
    while let Some((raise, introduction)) = next.take() {
        parts.push((one(&raise), introduction));
        if parts.len() > MAX_LINKS {
            break;
        }
        next = before(&raise);
    }
    let mut text = String::new();
    for (part, introduction) in parts.iter().rev() {
        text.push_str(part);
        if !introduction.is_empty() {
            text.push_str(&format!("\n{introduction}\n\n"));
        }
    }
    text
}

/// Returns the exception that is printed before another, and the line between them.
fn before(raise: &Raise) -> Option<(Raise, &'static str)> {
    let state = raise.instance()?.exception()?.borrow();
    if let Some(cause) = &state.cause {
        let line = "The above exception was the direct cause of the following exception:";
        return Some((Raise::from_value(cause)?, line));
    }
    if state.suppress_context {
        return None;
    }
    let line = "During handling of the above exception, another exception occurred:";
    Some((Raise::from_value(state.context.as_ref()?)?, line))
}

fn one(raise: &Raise) -> String {
    let entries = raise.entries();
    let mut text = String::new();
    if !entries.is_empty() {
        text.push_str("Traceback (most recent call last):\n");
        frames(&entries, &mut text);
    }
    text.push_str(&last(raise));
    text
}

/// Returns what stands behind the frames.
pub(crate) fn last(raise: &Raise) -> String {
    let mut text = String::new();
    if raise.is(Kind::SyntaxError) {
        syntax_error_place(raise, &mut text);
    }
    let message = raise.message();
    text.push_str(&raise.type_name());
    if !message.is_empty() {
        text.push_str(": ");
        text.push_str(&message);
    }
    text.push('\n');
    if let Some(Value::List(notes)) = raise.instance().and_then(|instance| instance.own("__notes__")) {
        for note in notes.to_vec() {
            if let Value::Str(note) = note {
                text.push_str(&note);
                text.push('\n');
            }
        }
    }
    text
}

pub(crate) fn frames(entries: &[Entry], text: &mut String) {
    let mut repeats = 0;
    for (index, entry) in entries.iter().enumerate() {
        let same = index.checked_sub(1).and_then(|before| entries.get(before)).is_some_and(|before| {
            before.span.line == entry.span.line
                && before.code.name == entry.code.name
                && before.code.text.filename == entry.code.text.filename
        });
        if !same {
            counted(repeats, text);
            repeats = 0;
        }
        repeats += 1;
        if repeats <= REPEATS {
            frame(entry, text);
        }
    }
    counted(repeats, text);
}

fn counted(repeats: usize, text: &mut String) {
    if let Some(more) = repeats.checked_sub(REPEATS).filter(|more| *more > 0) {
        let plural = if more == 1 { "" } else { "s" };
        text.push_str(&format!("  [Previous line repeated {more} more time{plural}]\n"));
    }
}

fn frame(entry: &Entry, text: &mut String) {
    let (source, line) = (&entry.code.text, entry.span.line);
    text.push_str(&format!("  File \"{}\", line {line}, in {}\n", source.filename, entry.code.name));
    let Some(source_line) = source.line(line) else { return };
    let trimmed = source_line.trim();
    if trimmed.is_empty() {
        return;
    }
    text.push_str(&format!("    {trimmed}\n"));
    if let Some(carets) = carets(source_line, entry.span) {
        text.push_str(&format!("    {carets}\n"));
    }
}

/// Marks the part of a line that raised, as CPython 3.11 does: not where that is all of it and nothing to point at.
fn carets(line: &str, span: Span) -> Option<String> {
    let indent = line.len() - line.trim_start().len();
    let trimmed_end = line.trim_end().len();
    let one_line = span.end_line == span.line;
    let start = (span.column as usize).clamp(indent, trimmed_end);
    let end = if one_line { (span.end_column as usize).min(trimmed_end) } else { trimmed_end };
    let marked = line.get(start..end).filter(|marked| !marked.is_empty())?;
    let width = marked.chars().count();
    let marks = match anchor(line, span, start) {
        Some((left, right)) => "~".repeat(left) + &"^".repeat(right - left) + &"~".repeat(width.saturating_sub(right)),
        None if start == indent && end == trimmed_end => return None,
        None => "^".repeat(width),
    };
    let before = line.get(indent..start)?.chars().count();
    Some(" ".repeat(before) + &marks)
}

/// Returns what CPython points at in an expression, in characters from `start`: the operator of a binary operation or the
/// brackets of a subscript.
fn anchor(line: &str, span: Span, start: usize) -> Option<(usize, usize)> {
    let (left, right) = span.anchor;
    let column = span.column as usize;
    let count = |offset: u16| line.get(start..column + usize::from(offset)).map(|text| text.chars().count());
    let (left, right) = (count(left)?, count(right)?);
    (left < right).then_some((left, right))
}

fn syntax_error_place(raise: &Raise, text: &mut String) {
    let Some(instance) = raise.instance() else { return };
    let (Some(Value::Str(filename)), Some(Value::Int(line))) = (instance.own("filename"), instance.own("lineno"))
    else {
        return;
    };
    text.push_str(&format!("  File \"{filename}\", line {line}\n"));
    if let Some(Value::Str(source)) = instance.own("text") {
        text.push_str(&format!("    {}\n", source.trim()));
    }
}
