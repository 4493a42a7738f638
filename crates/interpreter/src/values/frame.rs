//! The variables of one running scope.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use indexmap::IndexMap;
use program::ir::{Code, Name, Scope, Span};

use crate::values::exceptions;
use crate::values::generator::Channel;
use crate::values::host::Block;
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::teardown::Cyclic;
use crate::values::types::charge::Charge;
use crate::values::types::trash;
use crate::values::value::Value;

/// A module's variables, shared by its functions.
pub type Globals = Rc<RefCell<IndexMap<Rc<str>, Value>>>;

/// The variables of a block, call, class body or comprehension.
pub struct Frame {
    machine: Machine,
    code: Rc<Code>,
    slots: RefCell<Vec<Option<Value>>>,
    /// Names that the code does not mention, set from outside.
    extra: RefCell<IndexMap<Rc<str>, Value>>,
    /// The frame around this one in the source.
    parent: Option<Rc<Frame>>,
    globals: Globals,
    /// Where a frame of module scope keeps its variables: in `globals`.
    by_globals: bool,
    siblings: Option<Rc<Siblings>>,
    /// Frames forked from this one that a `with` statement has yet to bind its target in.
    forks: RefCell<Vec<Weak<Frame>>>,
    /// Where the code stands, for tracebacks.
    pub(crate) position: Cell<Span>,
    /// Where `yield` goes, in the frame of a generator.
    pub(crate) channel: Option<Rc<Channel>>,
    charge: Charge,
}

/// Bytes charged for a frame with the future of the call that it belongs to, and for each of its variables.
const FRAME: u64 = 768;
const SLOT: u64 = 24;
/// Bytes charged for each of the nodes that lie inside one another: while something in the innermost is waited for, each has
/// a future.
const NODE: u64 = 352;
/// Nodes that nearly all code keeps to, and bytes charged for each one more: so many take native stack while they are polled.
const NODES: u32 = 24;
const DEEP_NODE: u64 = 1024;

impl Frame {
    /// Parses a block and makes its frame. Names are looked for in the block's own variables, which start as `locals`,
    /// then in `globals`, then among the builtins.
    ///
    /// # Errors
    /// `SyntaxError` for source that does not parse or needs what the evaluator lacks.
    pub fn root(
        machine: &Machine,
        source: &program::Source,
        locals: Vec<(Rc<str>, Value)>,
        globals: Vec<(Rc<str>, Value)>,
    ) -> Result<Block, Raise> {
        let code = program::lower::block(source, machine.limits()).map_err(|error| syntax_error(&error))?;
        Self::of_root(machine, code, locals, globals)
    }

    /// Makes the frame of code that was lowered before: as [`Frame::root`].
    ///
    /// # Errors
    /// Memory is spent.
    pub(crate) fn of_root(
        machine: &Machine,
        code: Rc<Code>,
        locals: impl IntoIterator<Item = (Rc<str>, Value)>,
        globals: impl IntoIterator<Item = (Rc<str>, Value)>,
    ) -> Result<Block, Raise> {
        let body = Rc::clone(&code.body);
        let globals = Rc::new(RefCell::new(globals.into_iter().collect()));
        let frame = Self::make(machine, code, None, globals, false, None)?;
        for (name, value) in locals {
            frame.set(name, value);
        }
        Ok(Block { code: body, frame })
    }

    /// Charges for code that lives as long as the frame, where no request pays for it.
    ///
    /// # Errors
    /// Memory is spent.
    pub(crate) fn cover_code(&self, bytes: u64) -> Result<(), Raise> {
        self.charge.add(&self.machine, bytes)
    }

    /// Makes the module around a function that came alone.
    pub(crate) fn around(machine: &Machine, code: Rc<Code>, globals: Globals) -> Result<Rc<Self>, Raise> {
        Self::make(machine, code, None, globals, true, None)
    }

    /// Makes the frame of a scope inside another.
    ///
    /// # Errors
    /// Memory is spent.
    pub(crate) fn inner(
        machine: &Machine,
        code: &Rc<Code>,
        parent: &Rc<Frame>,
        channel: Option<Rc<Channel>>,
    ) -> Result<Rc<Self>, Raise> {
        Self::make(machine, Rc::clone(code), Some(Rc::clone(parent)), Rc::clone(&parent.globals), false, channel)
    }

    fn make(
        machine: &Machine,
        code: Rc<Code>,
        parent: Option<Rc<Frame>>,
        globals: Globals,
        by_globals: bool,
        channel: Option<Rc<Channel>>,
    ) -> Result<Rc<Self>, Raise> {
        let charge = Charge::default();
        let (nodes, deep) = (code.deepest.min(NODES), code.deepest.saturating_sub(NODES));
        let nodes = NODE * u64::from(nodes) + DEEP_NODE * u64::from(deep);
        charge.cover(machine, FRAME + SLOT * code.slots.len() as u64 + nodes)?;
        let frame = Rc::new(Self {
            machine: machine.clone(),
            slots: RefCell::new(vec![None; code.slots.len()]),
            extra: RefCell::default(),
            code,
            parent,
            globals,
            by_globals,
            siblings: None,
            forks: RefCell::default(),
            position: Cell::default(),
            channel,
            charge,
        });
        machine.register(Cyclic::Frame(Rc::downgrade(&frame)));
        Ok(frame)
    }

    /// Makes a snapshot for a body that runs as its own coroutine. A name that it lacks is looked for among those
    /// that its siblings have bound; what it binds, its siblings see.
    pub fn fork(self: &Rc<Self>, shared: &Rc<Siblings>) -> Rc<Self> {
        let frame = self.copy(shared, Charge::default());
        self.forks.borrow_mut().push(Rc::downgrade(&frame));
        frame
    }

    /// As [`Frame::fork`], of a frame whose own `with` statement is done.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn snapshot(&self, shared: &Rc<Siblings>) -> Result<Rc<Self>, Raise> {
        let charge = Charge::default();
        let variables = self.code.slots.len() + 2 * self.extra.borrow().len();
        charge.cover(&self.machine, FRAME + SLOT * variables as u64)?;
        Ok(self.copy(shared, charge))
    }

    fn copy(&self, shared: &Rc<Siblings>, charge: Charge) -> Rc<Self> {
        let frame = Rc::new(Self {
            machine: self.machine.clone(),
            code: Rc::clone(&self.code),
            slots: RefCell::new(self.slots.borrow().clone()),
            extra: RefCell::new(self.extra.borrow().clone()),
            parent: self.parent.clone(),
            globals: Rc::clone(&self.globals),
            by_globals: self.by_globals,
            siblings: Some(Rc::clone(shared)),
            forks: RefCell::default(),
            position: self.position.clone(),
            channel: self.channel.clone(),
            charge,
        });
        self.machine.register(Cyclic::Frame(Rc::downgrade(&frame)));
        frame
    }

    /// Takes the frames forked from this one since the last time.
    pub(crate) fn take_forks(&self) -> Vec<Rc<Frame>> {
        let forks = std::mem::take(&mut *self.forks.borrow_mut());
        forks.iter().filter_map(Weak::upgrade).collect()
    }

    /// Returns the machine it runs on.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    pub fn code(&self) -> &Rc<Code> {
        &self.code
    }

    /// Returns the variables of its module.
    pub fn globals(&self) -> &Globals {
        &self.globals
    }

    /// Returns where the code stands.
    pub fn position(&self) -> Span {
        self.position.get()
    }

    /// Adds this frame, standing at `span`, to the traceback of something that is raised for it.
    pub fn raised_at(&self, raise: Raise, span: Span) -> Raise {
        self.position.set(span);
        self.pass(raise)
    }

    /// Adds this frame to the traceback of something raised in it or passing through it.
    #[cold]
    pub(crate) fn pass(&self, mut raise: Raise) -> Raise {
        if !raise.has_traceback()
            && !raise.has_context()
            && let Some(handled) = self.machine.handled()
        {
            raise.set_context(&self.machine, &handled);
        }
        raise.pass(&self.code, self.position.get());
        raise
    }

    /// Returns what code in this frame reads by a name, builtins included; `None` where it is not bound.
    pub fn value(&self, name: Name) -> Option<Value> {
        self.load(name).ok()
    }

    /// Returns a variable as the code here would read it, builtins apart.
    pub fn get(&self, name: &str) -> Option<Value> {
        self.own(name).or_else(|| self.beyond(name))
    }

    /// Binds a variable of this frame.
    pub fn set(&self, name: impl Into<Rc<str>>, value: Value) {
        let name = name.into();
        match self.slot(&name) {
            Some(slot) => self.store(slot, value),
            None => {
                if let Some(siblings) = &self.siblings {
                    siblings.set(&name, value.clone());
                }
                let replaced = self.extra.borrow_mut().insert(name, value);
                drop(replaced);
            }
        }
    }

    /// Unbinds a variable of this frame.
    pub fn remove(&self, name: &str) -> Option<Value> {
        match self.slot(name) {
            Some(slot) => self.slots.borrow_mut().get_mut(slot).and_then(Option::take),
            None => self.extra.borrow_mut().shift_remove(name),
        }
    }

    /// Returns the variables that are bound here, in the order of the code's first mention.
    pub fn names(&self) -> Vec<(Rc<str>, Value)> {
        let slots = self.slots.borrow();
        let extra = self.extra.borrow();
        let bound = self.code.slots.iter().zip(slots.iter());
        let bound = bound.filter_map(|(name, value)| Some((Rc::clone(name), value.clone()?)));
        bound.chain(extra.iter().map(|(name, value)| (Rc::clone(name), value.clone()))).collect()
    }

    /// Unbinds everything and returns what was bound.
    pub(crate) fn clear(&self) -> Vec<Value> {
        let slots = self.slots.borrow_mut().iter_mut().filter_map(Option::take).collect::<Vec<_>>();
        let extra = std::mem::take(&mut *self.extra.borrow_mut());
        let globals = std::mem::take(&mut *self.globals.borrow_mut());
        let siblings = self.siblings.as_ref().map(|siblings| std::mem::take(&mut *siblings.0.borrow_mut()));
        let names = extra.into_values().chain(globals.into_values()).chain(siblings.unwrap_or_default().into_values());
        slots.into_iter().chain(names).collect()
    }

    /// Reads the variable that code in this frame calls `name`.
    #[inline]
    pub(crate) fn load(&self, name: Name) -> Result<Value, Raise> {
        let mut frame = self;
        for _ in 0..name.depth {
            match &frame.parent {
                Some(parent) => frame = parent,
                None => break,
            }
        }
        let value = frame.slots.borrow().get(name.slot as usize).and_then(Option::clone);
        match value {
            Some(value) => Ok(value),
            None => frame.missing(name),
        }
    }

    #[cold]
    fn missing(&self, name: Name) -> Result<Value, Raise> {
        let Some(text) = self.code.slots.get(name.slot as usize) else {
            return Err(Raise::runtime_error("a variable has no name"));
        };
        if let Some(value) = self.siblings.as_ref().and_then(|siblings| siblings.get(text)) {
            return Ok(value);
        }
        match self.code.kind {
            Scope::Root | Scope::Class => {
                if let Some(value) = self.beyond(text).or_else(|| builtin(&self.machine, text)) {
                    return Ok(value);
                }
                Err(undefined(text))
            }
            _ if name.depth == 0 => Err(Raise::new(
                exceptions::Kind::UnboundLocalError,
                format!("cannot access local variable '{text}' where it is not associated with a value"),
            )),
            _ => Err(Raise::name_error(format!(
                "cannot access free variable '{text}' where it is not associated with a value in enclosing scope"
            ))),
        }
    }

    /// Binds the variable that code in this frame calls `name`.
    #[inline]
    pub(crate) fn bind(&self, name: Name, value: Value) {
        self.outward(name.depth).store(name.slot as usize, value);
    }

    /// Unbinds the variable that code in this frame calls `name`.
    pub(crate) fn unbind(&self, name: Name) -> Result<(), Raise> {
        let frame = self.outward(name.depth);
        let taken = frame.slots.borrow_mut().get_mut(name.slot as usize).and_then(Option::take);
        let text = frame.code.slots.get(name.slot as usize);
        let global = text.filter(|_| frame.by_globals);
        let global = global.and_then(|text| frame.globals.borrow_mut().shift_remove(text));
        if taken.is_some() || global.is_some() {
            return Ok(());
        }
        let text = text.map_or("", |text| text);
        Err(match frame.code.kind {
            Scope::Root | Scope::Class => undefined(text),
            _ => Raise::new(
                exceptions::Kind::UnboundLocalError,
                format!("cannot access local variable '{text}' where it is not associated with a value"),
            ),
        })
    }

    /// Returns the frame `depth` scopes out.
    pub fn outward(&self, depth: u32) -> &Self {
        let mut frame = self;
        for _ in 0..depth {
            match &frame.parent {
                Some(parent) => frame = parent,
                None => break,
            }
        }
        frame
    }

    pub(crate) fn parent(&self) -> Option<&Rc<Frame>> {
        self.parent.as_ref()
    }

    /// Binds a slot of this very frame, unseen by its siblings: parameters at the start of a call.
    pub fn fill(&self, slot: usize, value: Value) {
        if let Some(place) = self.slots.borrow_mut().get_mut(slot) {
            *place = Some(value);
        }
    }

    fn store(&self, slot: usize, value: Value) {
        if self.by_globals || self.siblings.is_some() {
            self.publish(slot, &value);
            if self.by_globals {
                return;
            }
        }
        let replaced = match self.slots.borrow_mut().get_mut(slot) {
            Some(place) => place.replace(value),
            None => None,
        };
        // Dropped after the borrow.
        drop(replaced);
    }

    #[cold]
    fn publish(&self, slot: usize, value: &Value) {
        let Some(name) = self.code.slots.get(slot) else { return };
        if let Some(siblings) = &self.siblings {
            siblings.set(name, value.clone());
        }
        if self.by_globals {
            let replaced = self.globals.borrow_mut().insert(Rc::clone(name), value.clone());
            drop(replaced);
        }
    }

    fn slot(&self, name: &str) -> Option<usize> {
        self.code.slots.iter().position(|slot| &**slot == name)
    }

    /// Returns a variable bound in this very frame, or by its siblings.
    fn own(&self, name: &str) -> Option<Value> {
        let bound = match self.slot(name) {
            Some(slot) => self.slots.borrow().get(slot).and_then(Option::clone),
            None => self.extra.borrow().get(name).cloned(),
        };
        bound.or_else(|| self.siblings.as_ref()?.get(name))
    }

    /// Returns a variable of the scopes around this one, as seen from inside: class bodies are passed over.
    fn beyond(&self, name: &str) -> Option<Value> {
        let mut frame = self.parent.as_ref();
        while let Some(outer) = frame {
            if outer.code.kind != Scope::Class
                && let Some(value) = outer.own(name)
            {
                return Some(value);
            }
            frame = outer.parent.as_ref();
        }
        if let Some(value) = self.extra.borrow().get(name) {
            return Some(value.clone());
        }
        self.globals.borrow().get(name).cloned()
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        trash::bury(std::mem::take(self.slots.get_mut()).into_iter().flatten());
        trash::bury(std::mem::take(self.extra.get_mut()).into_values());
        // Scopes nest as deep as lambdas do.
        if let Some(parent) = self.parent.take()
            && Rc::strong_count(&parent) == 1
        {
            trash::bury_object(Box::new(parent));
        }
    }
}

/// Names that bodies running side by side have bound, each visible to the others.
#[derive(Default)]
pub struct Siblings(RefCell<IndexMap<Rc<str>, Value>>);

impl Siblings {
    pub fn new() -> Rc<Self> {
        Rc::default()
    }

    pub fn get(&self, name: &str) -> Option<Value> {
        self.0.borrow().get(name).cloned()
    }

    /// Returns the names in the order they were first bound, with their last values.
    pub fn names(&self) -> Vec<(Rc<str>, Value)> {
        self.0.borrow().iter().map(|(name, value)| (Rc::clone(name), value.clone())).collect()
    }

    fn set(&self, name: &Rc<str>, value: Value) {
        let replaced = self.0.borrow_mut().insert(Rc::clone(name), value);
        drop(replaced);
    }
}

fn undefined(name: &str) -> Raise {
    let raise = Raise::name_error(format!("name '{name}' is not defined"));
    if let Some(instance) = raise.instance() {
        instance.set("name", Value::from(name));
    }
    raise
}

fn builtin(machine: &Machine, name: &str) -> Option<Value> {
    if matches!(name, "BaseExceptionGroup" | "ExceptionGroup") {
        return machine.language().kept(machine, "exceptiongroup", name).ok();
    }
    let found = machine.language().builtin(name);
    found.or_else(|| machine.environment().builtin(machine, name))
}

/// Makes the exception for source that cannot run.
pub(crate) fn syntax_error(error: &program::SyntaxError) -> Raise {
    let raise = Raise::new(exceptions::Kind::SyntaxError, error.message.clone());
    if let Some(instance) = raise.instance() {
        instance.set("filename", Value::from(error.filename.as_str()));
        instance.set("lineno", Value::Int(i64::from(error.line)));
        instance.set("text", error.text.as_deref().map_or(Value::None, Value::from));
    }
    raise
}
