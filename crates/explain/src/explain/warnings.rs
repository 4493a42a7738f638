//! What can be done better, and what will fail.

use std::collections::BTreeSet;

use crate::answer::{Does, Kind, Warning};
use crate::explain::{Question, certainty};
use crate::form::{Form, Size};
use crate::text::bytes;
use crate::walk::{Kept, Walked};

/// Whole logits of so many bytes are worth a word, and hidden states of so many.
const LOGITS: u64 = 64 << 10;
const HIDDEN: u64 = 1 << 20;

/// Collects them.
pub fn all(walked: &Walked, live: &BTreeSet<u32>, question: &Question<'_>) -> Vec<Warning> {
    let mut all: Vec<Warning> = walked
        .graph
        .found
        .iter()
        .map(|(kind, line, text, certain)| Warning {
            kind: *kind,
            line: *line,
            text: text.clone(),
            certainty: certainty(*certain),
        })
        .collect();
    for kept in &walked.saved {
        all.extend(much(walked, kept, question));
    }
    all.extend(too_much(walked, question));
    all.extend(unused(walked, live));
    let prints = walked.graph.nodes.iter().any(|node| node.does == Does::Prints);
    if walked.complete && walked.saved.is_empty() && !prints {
        let line = walked.graph.traces.first().map_or(0, |trace| trace.line);
        let text =
            "nothing is saved, so nothing comes back: call `.save()` on what you want, where it is bound to a name";
        all.push(Warning { kind: Kind::NothingSaved, line, text: text.into(), certainty: certainty(true) });
    }
    all
}

/// What is computed or waited for and not used, and writes that change nothing that is read.
fn unused(walked: &Walked, live: &BTreeSet<u32>) -> Vec<Warning> {
    let mut lines = BTreeSet::new();
    let mut found = Vec::new();
    let mut nodes: Vec<_> = walked.graph.nodes.iter().zip(0_u32..).collect();
    // One word for each line: a write says more than what is read for it.
    nodes.sort_by_key(|(node, at)| (node.does != Does::Writes, *at));
    for (node, at) in nodes {
        if live.contains(&at) || node.file.is_some() || !lines.insert(node.line) {
            continue;
        }
        let site = node.site.as_deref().unwrap_or("it");
        let (kind, text) = match node.does {
            Does::Writes => (
                Kind::WithoutEffect,
                format!(
                    "{site} is changed, and nothing reads what a pass makes of that: read something later, or leave it out"
                ),
            ),
            Does::Reads => (
                Kind::Unused,
                format!(
                    "{site} is waited for, and what comes of it is neither saved nor used: save it, or leave it out"
                ),
            ),
            _ => (Kind::Unused, "what is computed here is neither saved nor used: save it, or leave it out".to_owned()),
        };
        found.push(Warning { kind, line: node.line, text, certainty: certainty(true) });
    }
    found
}

/// A name that brings much back of which little may be wanted.
fn much(walked: &Walked, kept: &Kept, question: &Question<'_>) -> Option<Warning> {
    let outline = question.outline?;
    let warn = |text: String| {
        let certainty = certainty(kept.mark.certain);
        Some(Warning { kind: Kind::MuchSaved, line: kept.mark.line, text, certainty })
    };
    let name = &kept.name;
    // The logits are what the last module returns that is run by itself.
    let inner = outline.modules.iter().skip(1).filter_map(|module| Some((module.span?.1, module.output)));
    let logits = inner.max().and_then(|(_, form)| outline.forms.get(form as usize)).map(width);
    if let (Form::Tensor(_, shape), Some(Some(vocabulary))) = (&kept.form, logits)
        && let [.., Size::Fixed(length), Size::Fixed(last)] = shape.as_slice()
        && *last == vocabulary
        && *length > 1
        && kept.bytes >= LOGITS
    {
        return warn(format!(
            "{name} brings back the logits of all {length} positions, {}: if the last is enough, `[:, -1]` of them computes \
             and sends one",
            bytes(kept.bytes)
        ));
    }
    let reads = walked.graph.nodes.get(kept.mark.node as usize)?.needs.iter();
    let reads = reads.filter_map(|at| walked.graph.nodes.get(*at as usize)).filter(|node| node.does == Does::Reads);
    let sites = reads.map(|node| node.sites.len()).sum::<usize>();
    if sites > 1 && sites * 2 >= outline.layers.len() && kept.bytes >= HIDDEN {
        return warn(format!(
            "{name} brings back what {sites} modules have at all positions, {}: choose positions, or reduce it on the \
             server before it is saved",
            bytes(kept.bytes)
        ));
    }
    None
}

/// Returns the size of a tensor's last dimension.
fn width(form: &Form) -> Option<i64> {
    match form {
        Form::Tensor(_, shape) => match shape.last() {
            Some(Size::Fixed(size)) => Some(*size),
            _ => None,
        },
        _ => None,
    }
}

/// More than one result may hold.
fn too_much(walked: &Walked, question: &Question<'_>) -> Option<Warning> {
    let certain = walked.saved.iter().filter(|kept| kept.mark.certain);
    let sum = certain.fold(0_u64, |sum, kept| sum.saturating_add(kept.bytes));
    let limit = question.limits.saved_bytes.min(question.limits.tensor_bytes);
    let line = walked.saved.iter().max_by_key(|kept| kept.bytes).map_or(0, |kept| kept.mark.line);
    (sum > limit).then(|| Warning {
        kind: Kind::TooMuch,
        line,
        text: format!(
            "{} are saved, and one job may have {}: save less, or reduce it on the server first",
            bytes(sum),
            bytes(limit)
        ),
        certainty: certainty(true),
    })
}
