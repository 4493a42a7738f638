//! From what a walk notes to what is told.

mod warnings;

use std::collections::BTreeSet;
use std::rc::Rc;

use program::ir::Code;
use program::{Checked, Entry, Limits, Program};

use crate::answer::{self, Calls, Certainty, Cost, Does, Explanation, Input, Queue};
use crate::form::Form;
use crate::outline::Outline;
use crate::walk::{self, Graph, Opened, Walked};

/// What is known beside the program.
pub struct Question<'a> {
    /// The model, where it was ever loaded.
    pub outline: Option<&'a Outline>,
    pub limits: &'a Limits,
    /// Says how many tokens the model's tokenizer makes of a text, where that is known.
    pub tokens: &'a dyn Fn(&str) -> Option<i64>,
    pub queue: Option<Queue>,
}

/// Tells what a program would do.
#[must_use]
pub fn explain(program: &Checked<Program>, question: &Question<'_>) -> Explanation {
    let program = program.get();
    let walked = walk::walk(program, question.outline, question.limits, question.tokens);
    let live = live(&walked);
    let traces = traces(&walked, question.outline);
    let cost = cost(&walked, &traces, question);
    let mut warnings = warnings::all(&walked, &live, question);
    warnings.sort_by_key(|warning| (warning.line, warning.kind));
    Explanation {
        model: program.model.to_string(),
        file: program.source.filename.clone(),
        model_known: question.outline.is_some(),
        complete: walked.complete,
        session: matches!(program.entry, Entry::Session),
        nodes: nodes(&walked, &live),
        saved: walked.saved.iter().map(saved).collect(),
        traces,
        cost,
        queue: question.queue.clone(),
        warnings,
    }
}

/// Returns what a program would be told where it runs, for the first thing that it certainly comes to and that this server
/// does not have: the text of an exception, with the user's lines. `None` where there is none such. Looks through as much of
/// a program as takes about a millisecond.
#[must_use]
pub fn refusal(program: &Checked<Program>, code: &Rc<Code>, limits: &Limits) -> Option<String> {
    walk::refusal(program.get(), code, limits)
}

fn certainty(certain: bool) -> Certainty {
    if certain { Certainty::Certain } else { Certainty::Perhaps }
}

/// Returns the nodes on which something depends that comes back, is printed, or goes where nobody looks.
fn live(walked: &Walked) -> BTreeSet<u32> {
    let graph = &walked.graph;
    if !walked.complete {
        return (0..u32::try_from(graph.nodes.len()).unwrap_or(u32::MAX)).collect();
    }
    let mut live = graph.used.clone();
    // A write changes what a pass has: for what is read later, and for what was read there.
    let mut writes = Vec::new();
    for trace in &graph.traces {
        for (index, access) in trace.accesses.iter().enumerate().filter(|(_, access)| access.does == Does::Writes) {
            if matters(trace, index) {
                live.insert(access.node);
            } else {
                let seen = trace.accesses.iter().filter(|other| other.does == Does::Reads && other.site == access.site);
                writes.push((access.node, seen.map(|other| other.node).collect::<Vec<_>>()));
            }
        }
    }
    loop {
        close(graph, &mut live);
        let seen =
            |(node, seen): &&(u32, Vec<u32>)| !live.contains(node) && seen.iter().any(|node| live.contains(node));
        let more: Vec<u32> = writes.iter().filter(seen).map(|(node, _)| *node).collect();
        if more.is_empty() {
            return live;
        }
        live.extend(more);
    }
}

/// Adds what nodes need.
fn close(graph: &Graph, live: &mut BTreeSet<u32>) {
    let mut open: Vec<u32> = live.iter().copied().collect();
    while let Some(node) = open.pop() {
        let needs = graph.nodes.get(node as usize).map(|node| &node.needs);
        open.extend(needs.into_iter().flatten().copied().filter(|need| live.insert(*need)));
    }
}

/// Returns whether something of a pass is read that a write may have changed.
fn matters(trace: &Opened, index: usize) -> bool {
    let Some(write) = trace.accesses.get(index) else { return true };
    let Some(order) = write.order else { return true };
    if trace.calls != Calls::Forward || trace.unknown || trace.gradients || trace.left_out > 0 {
        return true;
    }
    // A block's rows are its own, unless it sees those of all.
    let alone = |input: u32| trace.inputs.get(input as usize).is_none_or(|input| !input.of_all);
    trace.accesses.iter().enumerate().any(|(at, other)| {
        let same = other.input == write.input || !alone(other.input) || !alone(write.input);
        let later = other.order.is_none_or(|at| at > order) || (other.order == Some(order) && at > index);
        same && later && other.does != Does::Writes
    })
}

fn nodes(walked: &Walked, live: &BTreeSet<u32>) -> Vec<answer::Node> {
    let numbered = walked.graph.nodes.iter().zip(0_u32..);
    let told = numbered.map(|(node, at)| answer::Node {
        does: node.does,
        line: node.line,
        file: node.file.clone(),
        text: node.text.clone(),
        site: node.site.clone(),
        sites: node.sites.len() as u64,
        times: node.times,
        shape: shape(node.form.as_ref().unwrap_or(&Form::Unknown)),
        needs: node.needs.iter().copied().collect(),
        certainty: certainty(node.certain),
        unused: !live.contains(&at),
    });
    told.collect()
}

fn shape(form: &Form) -> String {
    match form {
        Form::Unknown => String::new(),
        Form::Tuple(items) if items.len() > 4 => match items.first() {
            Some(first) if items.iter().all(|item| item == first) => format!("{} of {first}", items.len()),
            _ => format!("{} values", items.len()),
        },
        form => form.to_string(),
    }
}

fn saved(kept: &walk::Kept) -> answer::Saved {
    answer::Saved {
        name: kept.name.clone(),
        line: kept.mark.line,
        shape: shape(&kept.form),
        bytes: kept.all.then_some(kept.bytes),
        certainty: certainty(kept.mark.certain),
    }
}

fn traces(walked: &Walked, outline: Option<&Outline>) -> Vec<answer::Trace> {
    let mut before: Vec<(String, u32)> = Vec::new();
    let mut told = Vec::new();
    for trace in &walked.graph.traces {
        let inputs = trace.inputs.iter().map(|input| {
            let same = |key: &String| before.iter().find(|(other, _)| other == key).map(|(_, line)| *line);
            // Rows with gradients, and those of generations, are computed by themselves.
            let shared = !trace.gradients && trace.calls == Calls::Forward;
            let same_as = input.key.as_ref().filter(|_| shared).and_then(same);
            if let Some(key) = &input.key {
                before.push((key.clone(), input.line));
            }
            Input { line: input.line, rows: input.rows, tokens: input.tokens, of_all: input.of_all, same_as }
        });
        let inputs: Vec<Input> = inputs.collect();
        let all = outline.map(|outline| outline.layers.len() as u64);
        let last = trace.accesses.iter().filter_map(|access| Some((access.order?, &access.site))).max();
        let known = outline.is_some() && walked.complete && !trace.unknown && trace.left_out == 0;
        let layers = match (trace.calls, last) {
            (Calls::Generate | Calls::Pipe, _) => all,
            (Calls::Forward, _) if !known => None,
            (Calls::Forward, Some((order, _))) => outline.map(|outline| outline.layers_until(order) as u64),
            (Calls::Forward, None) => Some(0),
        };
        let stops_after = last.filter(|_| known && trace.calls == Calls::Forward).map(|(_, site)| site.clone());
        let mut accesses: Vec<answer::Access> = trace.accesses.iter().map(access).collect();
        accesses.sort_by_key(|access| (access.step, access.order.is_none(), access.order));
        told.push(answer::Trace {
            line: trace.line,
            calls: trace.calls,
            certainty: certainty(trace.certain),
            inputs,
            length: trace.length(),
            passes: trace.passes,
            accesses,
            accesses_left_out: trace.left_out,
            stops_after,
            layers,
            layers_in_all: all,
            stops: certainty(known && !trace.gradients),
        });
    }
    told
}

fn access(access: &walk::Access) -> answer::Access {
    answer::Access {
        site: access.site.clone(),
        does: access.does,
        line: access.line,
        node: access.node,
        input: access.input,
        step: access.step,
        order: access.order,
        shape: shape(&access.form),
        certainty: certainty(access.certain),
    }
}

fn cost(walked: &Walked, traces: &[answer::Trace], question: &Question<'_>) -> Cost {
    let saved_bytes = walked.saved.iter().fold(0_u64, |sum, kept| sum.saturating_add(kept.bytes));
    let seconds = traces.iter().map(|trace| seconds(trace, question.outline?)).sum::<Option<f64>>();
    Cost {
        saved_bytes,
        saved_bytes_known: walked.complete && walked.saved.iter().all(|kept| kept.all),
        device_seconds: seconds.filter(|_| walked.complete && question.outline.is_some_and(|it| !it.passes.is_empty())),
        tensor_bytes: saved_bytes,
        tensor_bytes_limit: question.limits.tensor_bytes,
    }
}

/// Returns the seconds of a trace's passes.
fn seconds(trace: &answer::Trace, outline: &Outline) -> Option<f64> {
    let own = trace.inputs.iter().filter(|input| !input.of_all);
    let rows = own.map(|input| u64::try_from(input.rows?).ok());
    let rows = rows.into_iter().try_fold(0_u64, |sum, rows| sum.checked_add(rows?))?;
    let length = u64::try_from(trace.length?).ok()?;
    #[expect(clippy::cast_precision_loss, reason = "a part of a few hundred layers")]
    let part = trace.layers? as f64 / outline.layers.len().max(1) as f64;
    let first = outline.seconds(rows.checked_mul(length)?)? * part;
    let more = trace.passes?.saturating_sub(1);
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let more = if more > 0 { outline.seconds(rows)? * more as f64 } else { 0.0 };
    Some(first + more)
}

#[cfg(test)]
mod tests;
