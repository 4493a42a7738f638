//! What is known of a value while a program is gone through.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use program::datum::Decorator;
use program::ir::{Code, Constant, Name};

use crate::answer::Calls;
use crate::form::Form;

/// Nodes whose results went into a value.
pub type Deps = Rc<BTreeSet<u32>>;

/// A value, as far as it is known. Clones are the same object.
#[derive(Clone)]
pub struct Thing {
    pub what: What,
    pub from: Deps,
    pub mark: Rc<Cell<Option<Mark>>>,
}

/// Where an object was saved.
#[derive(Clone, Copy)]
pub struct Mark {
    pub node: u32,
    pub line: u32,
    pub certain: bool,
}

/// What holds others holds their places in [`Held`]: a program may nest values, or tie them into a circle, as deep as it
/// likes.
#[derive(Clone)]
pub enum What {
    Unknown,
    Constant(Constant),
    /// Numbers of the model, or computed from them; those that lie in the model's memory say at which moment of a pass.
    Value(Form, Option<Spot>),
    Module(Place),
    /// `tracer`, whichever trace it is of.
    Tracer,
    /// `model.trace(…)` before its block.
    Opening(Calls, usize),
    /// `tracer.invoke(…)` before its block.
    Invoker(usize),
    Steps(Steps),
    List(usize),
    Tuple(usize),
    Dict(usize),
    Range(i64, i64, i64),
    Slice([Bound; 3]),
    Function(usize),
    Method(usize, Rc<str>),
    /// A function of the user's, and by its place among methods' objects what it is called with first.
    Bound(usize, usize),
    /// A class of the user's, and an object of one.
    Class(usize),
    Instance(usize),
    /// What a class body has where a decorator stands before a function.
    Decorated(Decorator, usize),
    /// `super()` of a class, and by its place among methods' objects whose.
    Super(usize, usize),
    /// Something importable by its name: `torch.stack`, `builtins.len`.
    Global(Rc<str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Open,
    At(i64),
    Unknown,
}

/// A module of the model, or what nnsight has beside them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// By its number in the outline.
    Site(u32),
    /// By its path, where the model's modules are not known.
    Path(Rc<str>),
    Generator,
    Streamer,
    /// One of the modules, and nobody knows which.
    Some,
}

/// A moment of a pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spot {
    Input(Place),
    Output(Place),
    /// `tracer.result`
    Result,
}

/// Arguments of a trace or an invoke.
#[derive(Clone, Default)]
pub struct Given {
    pub line: u32,
    pub positional: Vec<Thing>,
    pub keyword: Vec<(Rc<str>, Thing)>,
    /// Whether there are more, by `*` or `**`.
    pub more: bool,
    /// Whether it is one module that is traced, and not the model.
    pub alone: bool,
}

/// Steps of a generation.
#[derive(Clone)]
pub enum Steps {
    From(i64, Option<i64>),
    Listed(Rc<[i64]>),
    Unknown,
}

/// Elements of a list or a tuple.
#[derive(Default)]
pub struct Items {
    pub items: Vec<Thing>,
    /// Whether these are all, and all are there.
    pub exact: bool,
}

#[derive(Default)]
pub struct Pairs {
    pub pairs: Vec<(Thing, Thing)>,
    pub exact: bool,
}

/// A function of the user's.
pub struct Function {
    pub code: Rc<Code>,
    pub around: usize,
    /// Values of the last positional parameters.
    pub defaults: Vec<Thing>,
    pub keyword_defaults: Vec<(Rc<str>, Thing)>,
    pub decorated: Decorated,
}

/// What was made of a function before it was sent.
pub enum Decorated {
    /// What its code says is what it does.
    No,
    /// Something that calls it or not.
    Somehow,
    /// Nobody knows, and why: to call it fails.
    Unknown(String),
}

/// The variables of one scope.
pub struct Frame {
    pub code: Rc<Code>,
    pub outer: Option<usize>,
    pub slots: Vec<Option<Thing>>,
    /// What a name stands for that is bound nowhere here.
    pub globals: Rc<Names>,
    pub returned: Option<Thing>,
}

/// A class of the user's.
pub struct Class {
    /// What its body bound.
    pub names: Vec<(Rc<str>, Thing)>,
    /// What the request has of it, by the place in its heap.
    pub sent: Vec<(String, program::Ref)>,
    pub bases: Vec<Thing>,
    /// Whether nothing else put something into it.
    pub exact: bool,
    /// Whether its `__init__` is made of its annotations, and sets what they name.
    pub generated: bool,
}

/// An object of a class of the user's.
pub struct Instance {
    pub class: usize,
    pub names: Vec<(Rc<str>, Thing)>,
    /// Whether nothing else put something into it.
    pub exact: bool,
}

/// Names that a request brings along, by the place of their values in its heap. Of a name that comes twice, the first counts.
#[derive(Default)]
pub struct Names(HashMap<String, program::Ref>);

/// All that values hold.
#[derive(Default)]
pub struct Held {
    pub lists: Vec<Items>,
    pub dicts: Vec<Pairs>,
    pub methods: Vec<Thing>,
    pub given: Vec<Given>,
    pub functions: Vec<Rc<Function>>,
    pub frames: Vec<Frame>,
    pub classes: Vec<Class>,
    pub instances: Vec<Instance>,
    /// Values that were looked at or copied since the walk last paid for that.
    looked: Cell<usize>,
}

/// How deep containers are looked through for what went into them.
const DEPTH: usize = 16;
/// Values of one form: what holds one thing many times has as many.
const FORM: usize = 4096;

impl Thing {
    pub fn new(what: What, from: Deps) -> Self {
        Self { what, from, mark: Rc::default() }
    }

    /// Makes a value that comes from nowhere.
    pub fn plain(what: What) -> Self {
        Self::new(what, Deps::default())
    }

    pub fn unknown(from: Deps) -> Self {
        Self::new(What::Unknown, from)
    }

    pub fn none() -> Self {
        Self::plain(What::Constant(Constant::None))
    }

    pub fn int(value: i64) -> Self {
        Self::plain(What::Constant(Constant::Int(value)))
    }

    pub fn text(value: &str) -> Self {
        Self::plain(What::Constant(Constant::Str(value.into())))
    }

    pub fn global(name: &str) -> Self {
        Self::plain(What::Global(name.into()))
    }

    pub fn as_int(&self) -> Option<i64> {
        match &self.what {
            What::Constant(Constant::Int(value)) => Some(*value),
            What::Constant(Constant::Bool(value)) => Some(i64::from(*value)),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match &self.what {
            What::Constant(Constant::Str(text)) => Some(text),
            _ => None,
        }
    }

    /// Returns whether both are the same plain value; `None` where that is not known.
    pub fn equals(&self, other: &Self) -> Option<bool> {
        if let (Some(left), Some(right)) = (self.as_int(), other.as_int()) {
            return Some(left == right);
        }
        if let (Some(left), Some(right)) = (self.as_str(), other.as_str()) {
            return Some(left == right);
        }
        let none = |thing: &Self| matches!(thing.what, What::Constant(Constant::None));
        // What is named below a model whose modules are not known may be an attribute, and a gradient may not be there.
        let some = |thing: &Self| {
            !matches!(thing.what, What::Unknown | What::Value(..) | What::Module(Place::Path(_) | Place::Some))
        };
        match (none(self), none(other)) {
            (true, true) => Some(true),
            (true, false) if some(other) => Some(false),
            (false, true) if some(self) => Some(false),
            _ => None,
        }
    }
}

impl Names {
    pub fn new(names: &[(String, program::Ref)]) -> Self {
        Self(names.iter().rev().cloned().collect())
    }

    pub fn get(&self, name: &str) -> Option<program::Ref> {
        self.0.get(name).copied()
    }
}

impl Held {
    /// Notes that so many values are looked at or copied.
    pub fn looks(&self, count: usize) {
        self.looked.set(self.looked.get().saturating_add(count));
    }

    /// Takes how many were.
    pub fn looked(&self) -> usize {
        self.looked.take()
    }

    pub fn list(&mut self, items: Vec<Thing>, exact: bool) -> Thing {
        self.lists.push(Items { items, exact });
        Thing::plain(What::List(self.lists.len() - 1))
    }

    pub fn tuple(&mut self, items: Vec<Thing>) -> Thing {
        self.lists.push(Items { items, exact: true });
        Thing::plain(What::Tuple(self.lists.len() - 1))
    }

    pub fn dict(&mut self, pairs: Vec<(Thing, Thing)>, exact: bool) -> Thing {
        self.dicts.push(Pairs { pairs, exact });
        Thing::plain(What::Dict(self.dicts.len() - 1))
    }

    pub fn method(&mut self, object: Thing, name: &Rc<str>) -> Thing {
        let from = Rc::clone(&object.from);
        self.methods.push(object);
        Thing::new(What::Method(self.methods.len() - 1, Rc::clone(name)), from)
    }

    pub fn bound(&mut self, receiver: Thing, function: usize) -> Thing {
        let from = Rc::clone(&receiver.from);
        self.methods.push(receiver);
        Thing::new(What::Bound(self.methods.len() - 1, function), from)
    }

    pub fn class(&mut self, class: Class) -> Thing {
        self.classes.push(class);
        Thing::plain(What::Class(self.classes.len() - 1))
    }

    pub fn instance(&mut self, instance: Instance) -> Thing {
        self.instances.push(instance);
        Thing::plain(What::Instance(self.instances.len() - 1))
    }

    pub fn frame(&mut self, code: &Rc<Code>, outer: Option<usize>, globals: &Rc<Names>) -> usize {
        let slots = vec![None; code.slots.len()];
        self.frames.push(Frame { code: Rc::clone(code), outer, slots, globals: Rc::clone(globals), returned: None });
        self.frames.len() - 1
    }

    /// Returns the frame so many scopes out.
    pub fn out(&self, mut frame: usize, depth: u32) -> Option<usize> {
        for _ in 0..depth {
            frame = self.frames.get(frame)?.outer?;
        }
        Some(frame)
    }

    /// Returns a variable, with its name.
    pub fn variable(&self, frame: usize, name: Name) -> Option<(&Frame, Option<Thing>, Rc<str>)> {
        let frame = self.frames.get(self.out(frame, name.depth)?)?;
        let thing = frame.slots.get(name.slot as usize).cloned().flatten();
        let text = frame.code.slots.get(name.slot as usize).cloned().unwrap_or_else(|| "".into());
        Some((frame, thing, text))
    }

    pub fn set(&mut self, frame: usize, name: Name, thing: Option<Thing>) {
        let Some(frame) = self.out(frame, name.depth) else { return };
        let slot = self.frames.get_mut(frame).and_then(|frame| frame.slots.get_mut(name.slot as usize));
        if let Some(slot) = slot {
            *slot = thing;
        }
    }

    /// Returns what is known of a value as a truth value.
    pub fn truth(&self, thing: &Thing) -> Option<bool> {
        Some(match &thing.what {
            What::Constant(constant) => match constant {
                Constant::None => false,
                Constant::Bool(value) => *value,
                Constant::Int(value) => *value != 0,
                Constant::Float(value) => *value != 0.0,
                Constant::Str(text) => !text.is_empty(),
                Constant::Bytes(bytes) => !bytes.is_empty(),
                Constant::Ellipsis => true,
                Constant::Big(_) | Constant::Imaginary(_) => return None,
            },
            What::List(at) | What::Tuple(at) => {
                let items = self.lists.get(*at).filter(|items| items.exact)?;
                !items.items.is_empty()
            }
            What::Dict(at) => !self.dicts.get(*at).filter(|pairs| pairs.exact)?.pairs.is_empty(),
            What::Module(Place::Path(path)) if !path.is_empty() => return None,
            What::Module(Place::Some) => return None,
            What::Module(_) | What::Tracer | What::Function(_) | What::Global(_) => true,
            _ => return None,
        })
    }

    /// Returns the form of a value, as it would be sent back.
    pub fn form(&self, thing: &Thing) -> Form {
        let mut left = FORM;
        let form = self.form_within(thing, DEPTH, &mut left);
        self.looks(FORM - left);
        if left == 0 { Form::Unknown } else { form }
    }

    fn form_within(&self, thing: &Thing, depth: usize, left: &mut usize) -> Form {
        *left = left.saturating_sub(1);
        match &thing.what {
            _ if depth == 0 || *left == 0 => Form::Unknown,
            What::Value(form, _) => form.clone(),
            What::Constant(Constant::None) => Form::None,
            What::Constant(Constant::Str(_) | Constant::Bytes(_)) => Form::Unknown,
            What::Constant(_) => Form::Scalar,
            What::List(at) | What::Tuple(at) => match self.lists.get(*at) {
                Some(items) if items.exact => {
                    Form::Tuple(items.items.iter().map(|item| self.form_within(item, depth - 1, left)).collect())
                }
                _ => Form::Unknown,
            },
            _ => Form::Unknown,
        }
    }

    /// Returns the bytes that a value takes when it is sent back, and whether that is all.
    pub fn bytes(&self, thing: &Thing) -> (u64, bool) {
        let (mut sum, mut all, mut seen) = (0_u64, true, BTreeSet::new());
        self.each(thing, DEPTH, &mut seen, &mut |thing, exact| {
            all &= exact;
            match &thing.what {
                What::Value(form, _) => match form.bytes() {
                    Some(bytes) => sum = sum.saturating_add(bytes),
                    None => all = false,
                },
                What::Constant(Constant::Str(text)) => sum = sum.saturating_add(text.len() as u64),
                What::Constant(_) => sum = sum.saturating_add(8),
                What::List(_) | What::Tuple(_) | What::Dict(_) => {}
                _ => all = false,
            }
        });
        (sum, all)
    }

    /// Collects the nodes that a value and all that it holds come from.
    pub fn deps(&self, thing: &Thing) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        self.each(thing, DEPTH, &mut BTreeSet::new(), &mut |thing, _| found.extend(thing.from.iter()));
        found
    }

    /// Shows a value and all that it holds, each once, and whether that is exactly what it holds.
    fn each(
        &self,
        thing: &Thing,
        depth: usize,
        seen: &mut BTreeSet<(bool, usize)>,
        show: &mut dyn FnMut(&Thing, bool),
    ) {
        let exact = match &thing.what {
            What::List(at) | What::Tuple(at) => self.lists.get(*at).is_some_and(|items| items.exact),
            What::Dict(at) => self.dicts.get(*at).is_some_and(|pairs| pairs.exact),
            _ => true,
        };
        self.looks(1);
        show(thing, exact && depth > 0);
        if depth == 0 {
            return;
        }
        match &thing.what {
            What::List(at) | What::Tuple(at) if seen.insert((false, *at)) => {
                let items = self.lists.get(*at).map(|items| items.items.as_slice()).unwrap_or_default();
                items.iter().for_each(|item| self.each(item, depth - 1, seen, show));
            }
            What::Dict(at) if seen.insert((true, *at)) => {
                let pairs = self.dicts.get(*at).map(|pairs| pairs.pairs.as_slice()).unwrap_or_default();
                for (key, value) in pairs {
                    self.each(key, depth - 1, seen, show);
                    self.each(value, depth - 1, seen, show);
                }
            }
            What::Method(at, _) | What::Bound(at, _) => {
                if let Some(object) = self.methods.get(*at) {
                    self.each(object, depth - 1, seen, show);
                }
            }
            _ => {}
        }
    }

    /// Returns what a name is bound to that one of two ways bound.
    pub fn or(&self, left: &Thing, right: &Thing) -> Thing {
        if Rc::ptr_eq(&left.mark, &right.mark) {
            return left.clone();
        }
        let mut from: BTreeSet<u32> = left.from.union(&right.from).copied().collect();
        let what = match (&left.what, &right.what) {
            (What::Value(one, _), What::Value(other, _)) => What::Value(one.or(other), None),
            (What::Module(one), What::Module(other)) => {
                What::Module(if one == other { one.clone() } else { Place::Some })
            }
            (What::List(one), What::List(other)) | (What::Instance(one), What::Instance(other)) if one == other => {
                left.what.clone()
            }
            (What::Global(one), What::Global(other)) if one == other => left.what.clone(),
            _ if left.equals(right) == Some(true) => left.what.clone(),
            _ => {
                // What they hold is not told apart any more, and is not forgotten.
                from.extend(self.deps(left));
                from.extend(self.deps(right));
                What::Unknown
            }
        };
        let joined = Thing::new(what, Rc::new(from));
        let mark = left.mark.get().or(right.mark.get());
        joined.mark.set(mark.map(|mark| Mark { certain: false, ..mark }));
        joined
    }
}
