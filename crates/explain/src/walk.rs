//! Goes through a lowered program without running it, and notes what it would do.
//!
//! Values are known as far as that is cheap: plain ones, containers, modules of the model, and of tensors their form. Where
//! a decision depends on a value that is not known, both ways are gone, and what happens on them is done *perhaps*. Where
//! code is not looked into, whatever it is given counts as used.

mod call;
mod class;
mod expression;
mod graph;
mod operation;
mod refusals;
mod statement;
mod thaw;
mod trace;
mod value;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use program::ir::{Code, Span, Text};
use program::{Datum, Entry, Function, Limits, Program, Ref, lower};

pub use graph::{Access, Graph, Node, Opened};
pub use value::Mark;

use crate::answer::{Calls, Does};
use crate::form::Form;
use crate::outline::Outline;
use value::{Deps, Given, Held, Names, Thing};

/// Statements and expressions that are gone through.
const STEPS: u32 = 60_000;
/// The same where a program is only looked through for what is refused.
const FEW: u32 = 6_000;
/// Values that are looked at for a step.
const LOOKED: usize = 4;
/// Calls of the user's functions that are looked into, one inside another.
const CALLS: u32 = 24;
/// Elements that are told apart in a container, and turns of a loop that are taken one by one.
const MOST: usize = 4096;

/// Says how many tokens a text has, where that is known.
pub type Tokens<'a> = &'a dyn Fn(&str) -> Option<i64>;

/// What a program does, and what its own names are bound to at its end.
pub struct Walked {
    pub graph: Graph,
    /// Names that come back: what they hold, and where that was saved.
    pub saved: Vec<Kept>,
    /// Whether everything was gone through.
    pub complete: bool,
    /// Values that were looked at or copied.
    #[cfg(test)]
    pub looked: u64,
}

/// A name that comes back.
pub struct Kept {
    pub name: String,
    pub form: Form,
    pub bytes: u64,
    pub all: bool,
    pub mark: Mark,
}

/// Goes through a program. What cannot be known before is the length of a batch that several blocks share, so those that
/// have some are gone through twice.
pub fn walk(program: &Program, outline: Option<&Outline>, limits: &Limits, tokens: Tokens<'_>) -> Walked {
    let Ok(code) = lower::block(&program.source, limits) else {
        // Whoever checked it found nothing wrong.
        return Walked {
            graph: Graph::default(),
            saved: Vec::new(),
            complete: false,
            #[cfg(test)]
            looked: 0,
        };
    };
    let first = Walk::new(program, outline, limits, tokens, Vec::new()).go(&code);
    if first.graph.traces.iter().all(|trace| trace.inputs.len() < 2) {
        return first;
    }
    let lengths = first.graph.traces.iter().map(Opened::length).collect();
    Walk::new(program, outline, limits, tokens, lengths).go(&code)
}

/// As [`walk`] of a block's code, for the text of an exception that a program certainly raises because this server lacks
/// something.
pub fn refusal(program: &Program, code: &Rc<Code>, limits: &Limits) -> Option<String> {
    let mut walk = Walk::new(program, None, limits, &|_| None, Vec::new());
    walk.left = FEW;
    walk.go(code).graph.refused
}

struct Walk<'a> {
    program: &'a Program,
    outline: Option<&'a Outline>,
    limits: &'a Limits,
    tokens: Tokens<'a>,
    /// Tokens of the longest rows of traces, where a walk before has found them.
    lengths: Vec<Option<i64>>,
    /// Other names of modules: below which path, the name, and what it stands for.
    aliases: Vec<(String, String, String)>,
    /// What the program gave modules of the model, by their paths.
    owns: Vec<(String, &'a program::datum::Own)>,
    held: Held,
    thawed: BTreeMap<Ref, Thing>,
    /// What names mean in the request, once that was asked for.
    names: Option<program::decorated::Names<'a>>,
    graph: Graph,
    now: Now,
    left: u32,
    /// Values that were looked at in all.
    #[cfg(test)]
    worked: u64,
    calls: u32,
}

/// Where the walk is.
struct Now {
    text: Rc<Text>,
    /// The statement, and the test or loop whose expression it is.
    statement: Span,
    trace: Option<usize>,
    input: u32,
    step: Option<i64>,
    /// How many decisions around are not known.
    perhaps: u32,
    /// What those depend on that are tests of the code at hand.
    deciding: BTreeSet<u32>,
    /// How many of the statements around may catch what is raised here, or have ended the block before.
    caught: u32,
    /// The name of the function at hand, and the calls that led into it, as tracebacks have them.
    function: Rc<str>,
    around: Vec<(Rc<Text>, u32, Rc<str>)>,
}

impl<'a> Walk<'a> {
    fn new(
        program: &'a Program,
        outline: Option<&'a Outline>,
        limits: &'a Limits,
        tokens: Tokens<'a>,
        lengths: Vec<Option<i64>>,
    ) -> Self {
        let text = Text { filename: program.source.filename.as_str().into(), text: "".into(), ..Text::default() };
        let (statement, input, perhaps) = (Span::default(), 0, 0);
        let deciding = BTreeSet::new();
        let function = program.source.function.as_str().into();
        let (caught, around) = (0, Vec::new());
        let now = Now {
            text: Rc::new(text),
            statement,
            trace: None,
            input,
            step: None,
            perhaps,
            deciding,
            caught,
            function,
            around,
        };
        Self {
            program,
            outline,
            limits,
            tokens,
            lengths,
            aliases: thaw::aliases(program),
            owns: thaw::owns(program),
            held: Held::default(),
            thawed: BTreeMap::new(),
            names: None,
            graph: Graph::default(),
            now,
            left: STEPS,
            #[cfg(test)]
            worked: 0,
            calls: 0,
        }
    }

    fn go(mut self, code: &Rc<Code>) -> Walked {
        let globals = Rc::new(Names::new(&self.program.globals));
        let frame = self.held.frame(code, None, &globals);
        self.fill(frame, code, &self.program.locals);
        self.now.text = Rc::clone(&code.text);
        match &self.program.entry {
            Entry::Session => {
                self.body(frame, &code.body);
            }
            Entry::Trace { function, envoy, args, kwargs } => {
                let calls = match function {
                    Function::Call => Calls::Forward,
                    Function::Generate => Calls::Generate,
                    Function::Pipe => Calls::Pipe,
                };
                let line = code.body.statements.first().map_or(0, |statement| statement.span.line);
                let positional = args.iter().map(|at| self.thaw(*at)).collect();
                let keyword = kwargs.iter().map(|(name, at)| (name.as_str().into(), self.thaw(*at))).collect();
                let alone =
                    matches!(self.program.heap.get(*envoy), Some(Datum::Envoy(envoy)) if !envoy.path.is_empty());
                let given = Given { line, positional, keyword, more: false, alone };
                self.of_arguments(calls, &given);
                let edits = match self.program.heap.get(*envoy) {
                    Some(Datum::Envoy(envoy)) => envoy.edits.clone(),
                    _ => Vec::new(),
                };
                self.open(calls, &given);
                for edit in &edits {
                    self.edit(edit);
                }
                self.body(frame, &code.body);
                self.close();
            }
        }
        let mut saved = Vec::new();
        if let Some(own) = self.held.frames.get(frame) {
            for (name, thing) in code.slots.iter().zip(&own.slots) {
                let Some(thing) = thing else { continue };
                let Some(mark) = thing.mark.get() else { continue };
                let (bytes, all) = self.held.bytes(thing);
                // What was put into it after it was saved comes back as well.
                self.graph.used.extend(self.held.deps(thing));
                if let Some(node) = self.graph.nodes.get_mut(mark.node as usize) {
                    let own = mark.node;
                    node.needs.extend(self.held.deps(thing).into_iter().filter(|need| *need != own));
                }
                saved.push(Kept { name: name.to_string(), form: self.held.form(thing), bytes, all, mark });
            }
        }
        Walked {
            graph: self.graph,
            saved,
            complete: self.left > 0,
            #[cfg(test)]
            looked: self.worked + self.held.looked() as u64,
        }
    }

    /// Runs a block that an edit of the model registered.
    fn edit(&mut self, edit: &program::datum::Edit) {
        let Ok(code) = lower::block(&edit.source, self.limits) else { return };
        let globals = Rc::new(Names::new(&edit.globals));
        let frame = self.held.frame(&code, None, &globals);
        self.fill(frame, &code, &edit.locals);
        let before = std::mem::replace(&mut self.now.text, Rc::clone(&code.text));
        self.body(frame, &code.body);
        self.now.text = before;
    }

    /// Gives variables of a frame what a request brings along for them.
    fn fill(&mut self, frame: usize, code: &Code, locals: &[(String, Ref)]) {
        let slots: HashMap<&str, usize> = code.slots.iter().enumerate().map(|(at, slot)| (&**slot, at)).collect();
        for (name, at) in locals {
            let Some(slot) = slots.get(name.as_str()) else { continue };
            let thing = self.thaw(*at);
            if let Some(frame) = self.held.frames.get_mut(frame) {
                frame.slots[*slot] = Some(thing);
            }
        }
    }

    /// Counts a step, and what was looked at since the last one. Returns whether there was one left.
    fn step(&mut self) -> bool {
        let looked = self.held.looked();
        #[cfg(test)]
        {
            self.worked += looked as u64;
        }
        self.pay(1 + looked / LOOKED)
    }

    fn pay(&mut self, steps: usize) -> bool {
        self.left = self.left.saturating_sub(u32::try_from(steps).unwrap_or(u32::MAX));
        self.left > 0
    }

    /// Notes that something is done at a place of the text, and returns its node. What one statement computes is one node.
    fn node(&mut self, does: Does, span: Span, needs: &BTreeSet<u32>) -> u32 {
        let span = if matches!(does, Does::Computes) { self.now.statement } else { span };
        let own = self.now.text.filename.as_ref() == self.program.source.filename.as_str();
        let file = (!own).then(|| self.now.text.filename.to_string());
        let text = || self.now.text.line(span.line).unwrap_or_default().trim().to_owned();
        let place = (Rc::clone(&self.now.text.filename), span.line, span.column, span.end_line, span.end_column, does);
        let certain = self.now.perhaps == 0;
        let at = self.graph.node(place, || Node {
            does,
            line: span.line,
            file,
            text: text(),
            site: None,
            sites: BTreeSet::new(),
            times: 0,
            form: None,
            needs: BTreeSet::new(),
            certain: false,
        });
        if let Some(node) = self.graph.nodes.get_mut(at as usize) {
            node.times += 1;
            node.certain |= certain;
            node.needs.extend(needs.iter().chain(&self.now.deciding).copied().filter(|need| *need != at));
        }
        at
    }

    /// Notes what comes of a node.
    fn shaped(&mut self, node: u32, form: &Form) {
        if let Some(node) = self.graph.nodes.get_mut(node as usize) {
            node.form = Some(node.form.as_ref().map_or_else(|| form.clone(), |before| before.or(form)));
        }
    }

    /// Makes the value that the statement at hand computes of others.
    fn computed(&mut self, form: Form, needs: &BTreeSet<u32>) -> Thing {
        let node = self.node(Does::Computes, Span::default(), needs);
        self.shaped(node, &form);
        Thing::new(value::What::Value(form, None), Rc::new(BTreeSet::from([node])))
    }

    /// Notes that it depends on a test of which nothing is known what is done next.
    fn decides(&mut self, test: &Thing) {
        let deps = self.deps(test);
        self.graph.used.extend(deps.iter());
        self.now.deciding.extend(deps.iter());
        self.now.perhaps += 1;
    }

    /// Counts what a value holds as used.
    fn uses(&mut self, thing: &Thing) {
        let deps = self.deps(thing);
        self.graph.used.extend(deps.iter());
    }

    fn deps(&mut self, thing: &Thing) -> Deps {
        match thing.what {
            value::What::List(_)
            | value::What::Tuple(_)
            | value::What::Dict(_)
            | value::What::Method(..)
            | value::What::Bound(..) => Rc::new(self.held.deps(thing)),
            _ => Rc::clone(&thing.from),
        }
    }

    fn all_deps<'t>(&mut self, things: impl IntoIterator<Item = &'t Thing>) -> BTreeSet<u32> {
        let mut all = BTreeSet::new();
        for thing in things {
            all.extend(self.deps(thing).iter());
        }
        all
    }
}
