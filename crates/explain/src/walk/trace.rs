//! Traces: what they are given, and what of their passes is read and changed.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use program::ir::Span;

use crate::answer::{Calls, Does, Kind};
use crate::form::{Extent, Form, Size};
use crate::walk::call::nnsight_name;
use crate::walk::graph::{Access, Opened, Prompt};
use crate::walk::value::{Given, Place, Spot, Thing, What};
use crate::walk::{MOST, Walk};

/// What comes after everything in a pass.
const END: u32 = u32::MAX;

impl Walk<'_> {
    /// Opens a trace. What it is given is its first block's, if it is given something.
    pub fn open(&mut self, calls: Calls, given: &Given) {
        let certain = self.now.perhaps == 0;
        let named = |wanted: &str| given.keyword.iter().find(|(name, _)| &**name == wanted).map(|(_, value)| value);
        let tokens = named("max_new_tokens").and_then(Thing::as_int).and_then(|count| u64::try_from(count).ok());
        let passes = match calls {
            Calls::Forward => Some(1),
            Calls::Generate | Calls::Pipe => tokens,
        };
        self.graph.traces.push(Opened {
            line: given.line,
            calls,
            certain,
            inputs: Vec::new(),
            passes,
            accesses: Vec::new(),
            left_out: 0,
            // What one module is given has any form, and nothing around it is computed.
            unknown: given.alone,
            gradients: false,
            at: BTreeMap::new(),
            said: BTreeSet::new(),
        });
        self.now.trace = Some(self.graph.traces.len() - 1);
        self.now.input = 0;
        self.now.step = (calls != Calls::Forward).then_some(0);
        let input = |(name, _): &&(Rc<str>, Thing)| matches!(&**name, "input_ids" | "inputs" | "input" | "text");
        let prompt = given.positional.first().or(given.keyword.iter().find(input).map(|(_, value)| value));
        if let Some(prompt) = prompt.cloned() {
            self.take(given.line, &prompt, given.positional.len() > 1 || given.more || given.alone);
        }
        given.all().iter().for_each(|thing| self.uses(thing));
    }

    pub fn close(&mut self) {
        self.now.trace = None;
        self.now.step = None;
    }

    /// Opens one of the blocks of a trace.
    pub fn invoke(&mut self, given: &Given) {
        let Some(trace) = self.now.trace else { return };
        given.all().iter().for_each(|thing| self.uses(thing));
        match given.positional.first().or(given.keyword.first().map(|(_, value)| value)).cloned() {
            Some(prompt) => self.take(given.line, &prompt, given.positional.len() > 1 || given.more),
            None => {
                let own = |trace: &Opened| {
                    let own = trace.inputs.iter().filter(|input| !input.of_all);
                    own.map(|input| input.rows).try_fold(0_i64, |sum, rows| sum.checked_add(rows?))
                };
                let rows = self.graph.traces.get(trace).and_then(own);
                self.push(Prompt { line: given.line, rows, tokens: None, of_all: true, key: None });
            }
        }
        if let Some(trace) = self.graph.traces.get(trace) {
            self.now.input = u32::try_from(trace.inputs.len().saturating_sub(1)).unwrap_or(0);
            self.now.step = (trace.calls != Calls::Forward).then_some(0);
        }
    }

    fn push(&mut self, prompt: Prompt) {
        if let Some(trace) = self.now.trace.and_then(|trace| self.graph.traces.get_mut(trace)) {
            trace.inputs.push(prompt);
        }
    }

    /// Notes what a block is given.
    fn take(&mut self, line: u32, prompt: &Thing, more: bool) {
        let (rows, tokens, key) = if more { (None, None, None) } else { self.measure(prompt) };
        self.push(Prompt { line, rows, tokens, of_all: false, key });
    }

    /// Returns the rows of an input, the tokens of its longest, and what tells the same input.
    fn measure(&mut self, prompt: &Thing) -> (Option<i64>, Option<i64>, Option<String>) {
        if let Some(text) = prompt.as_str() {
            return (Some(1), (self.tokens)(text), Some(text.to_owned()));
        }
        if let What::Value(Form::Tensor(_, shape), _) = &prompt.what {
            let fixed = |size: Option<&Size>| match size {
                Some(Size::Fixed(size)) => Some(*size),
                _ => None,
            };
            return match shape.len() {
                1 => (Some(1), fixed(shape.first()), None),
                2 => (fixed(shape.first()), fixed(shape.get(1)), None),
                _ => (None, None, None),
            };
        }
        let (What::List(at) | What::Tuple(at)) = prompt.what else { return (None, None, None) };
        let Some(items) = self.held.lists.get(at).filter(|items| items.exact) else { return (None, None, None) };
        let items = items.items.clone();
        self.held.looks(items.len());
        let count = i64::try_from(items.len()).ok();
        if let Some(ids) = items.iter().map(Thing::as_int).collect::<Option<Vec<i64>>>().filter(|ids| !ids.is_empty()) {
            return (Some(1), count, Some(format!("{ids:?}")));
        }
        let rows: Option<Vec<(i64, String)>> = items
            .iter()
            .map(|item| {
                let (rows, tokens, key) = match item.what {
                    // Lists of texts inside lists are conversations, or something else.
                    What::List(at) | What::Tuple(at) => {
                        let ids = &self.held.lists.get(at)?.items;
                        let ids = ids.iter().map(Thing::as_int).collect::<Option<Vec<i64>>>()?;
                        (1, i64::try_from(ids.len()).ok()?, format!("{ids:?}"))
                    }
                    _ => (1, (self.tokens)(item.as_str()?)?, item.as_str()?.to_owned()),
                };
                (rows == 1).then_some((tokens, key))
            })
            .collect();
        match rows {
            Some(rows) if !rows.is_empty() => {
                let longest = rows.iter().map(|(tokens, _)| *tokens).max();
                let keys: Vec<String> = rows.into_iter().map(|(_, key)| key).collect();
                (count, longest, Some(format!("{keys:?}")))
            }
            _ if items.iter().all(|item| item.as_str().is_some()) => (count, None, None),
            _ => (None, None, None),
        }
    }

    /// Returns the sizes of what the block at hand sees.
    fn extent(&self) -> Extent {
        let Some(at) = self.now.trace else { return Extent::default() };
        let Some(trace) = self.graph.traces.get(at) else { return Extent::default() };
        let rows = trace.inputs.get(self.now.input as usize).and_then(|input| input.rows);
        let length = match self.now.step {
            Some(step) if step > 0 => Some(1),
            _ => match self.lengths.get(at) {
                Some(length) => *length,
                None if trace.inputs.len() == 1 => trace.length(),
                None => None,
            },
        };
        Extent { rows, length }
    }

    /// Returns a moment's name, its place in a pass, its form, and whether no pass comes to it.
    fn spot(&self, spot: &Spot) -> (String, Option<u32>, Form, bool) {
        let (place, output) = match spot {
            Spot::Input(place) => (place, false),
            Spot::Output(place) => (place, true),
            Spot::Result => return ("tracer.result".into(), Some(END), Form::Unknown, false),
        };
        let part = if output { "output" } else { "input" };
        let name = match self.path(place) {
            Some(path) => nnsight_name(&path, part),
            None => format!("the {part} of one of the modules"),
        };
        match (place, self.outline) {
            (Place::Generator | Place::Streamer, _) => (name, Some(END), Form::Unknown, false),
            (Place::Site(at), Some(outline)) => {
                let span = outline.module(*at).and_then(|module| module.span);
                let order = span.map(|(enter, leave)| if output { leave } else { enter });
                let form = if output { outline.output(*at) } else { outline.input(*at) };
                (name, order, form, span.is_none())
            }
            _ => (name, None, Form::Unknown, false),
        }
    }

    /// Reads a moment of a pass.
    pub fn read(&mut self, spot: &Spot, span: Span) -> Thing {
        let (node, form) = self.access(Does::Reads, spot, span, &BTreeSet::new(), true);
        Thing::new(What::Value(form, Some(spot.clone())), Rc::new(BTreeSet::from([node])))
    }

    /// Has a moment of a pass kept, whenever the pass comes to it.
    pub fn kept(&mut self, spot: &Spot, span: Span) -> Thing {
        let (node, form) = self.access(Does::Reads, spot, span, &BTreeSet::new(), false);
        Thing::new(What::Value(form, None), Rc::new(BTreeSet::from([node])))
    }

    /// Puts a value in the place of what a pass has there.
    pub fn replace(&mut self, spot: &Spot, value: &Thing, span: Span) {
        let needs = self.all_deps([value]);
        self.access(Does::Writes, spot, span, &needs, true);
    }

    /// Writes into what a pass has shown.
    pub fn write(&mut self, spot: &Spot, given: [&Thing; 2], span: Span) {
        let needs = self.all_deps(given);
        self.access(Does::Writes, spot, span, &needs, false);
    }

    pub fn skip(&mut self, place: &Place, value: &Thing, span: Span) {
        let needs = self.all_deps([value]);
        let (node, _) = self.access(Does::Skips, &Spot::Input(place.clone()), span, &needs, true);
        self.graph.used.insert(node);
    }

    /// Notes that a moment of the pass is read or changed. Returns the node, and the form of what is there.
    fn access(&mut self, does: Does, spot: &Spot, span: Span, needs: &BTreeSet<u32>, waits: bool) -> (u32, Form) {
        let (site, order, form, never) = self.spot(spot);
        let form = form.within(self.extent());
        let node = self.node(does, span, needs);
        self.shaped(node, &form);
        if let Some(node) = self.graph.nodes.get_mut(node as usize) {
            node.site.get_or_insert_with(|| site.clone());
            if node.sites.len() < MOST {
                node.sites.insert(site.clone());
            }
        }
        let (certain, step, input, line) = (self.now.perhaps == 0, self.now.step, self.now.input, span.line);
        let Some(trace) = self.now.trace.and_then(|trace| self.graph.traces.get_mut(trace)) else {
            return (node, form);
        };
        trace.unknown |= order.is_none() && !never;
        let mut found = None;
        if never && trace.said.insert((line, Kind::NeverRun)) {
            let text = format!("no pass comes to {site}: the trace would wait for it until its end and fail");
            found = Some((Kind::NeverRun, text, certain));
        }
        if let (Some(order), true) = (order, waits) {
            let here = (step.unwrap_or(0), order);
            match trace.at.get(&input) {
                Some((step, last, before)) if (*step, *last) > here => {
                    let done = if does == Does::Reads { "read" } else { "changed" };
                    let text = format!(
                        "{site} is {done} after {before}, by which time the pass has gone past it: move it before"
                    );
                    // Said once a line.
                    found = trace.said.insert((line, Kind::Late)).then_some((Kind::Late, text, certain)).or(found);
                }
                Some((step, last, _)) if (*step, *last) == here => {}
                _ if certain => {
                    trace.at.insert(input, (here.0, order, site.clone()));
                }
                _ => {}
            }
        }
        if trace.accesses.len() < MOST {
            trace.accesses.push(Access { site, does, line, node, input, step, order, form: form.clone(), certain });
        } else {
            trace.left_out += 1;
        }
        if let Some((kind, text, certain)) = found {
            self.graph.found.push((kind, line, text, certain));
        }
        (node, form)
    }
}
