//! Blocks that run later than they stand, because nobody can tell.
//!
//! A host may put a `with` block off, to run it together with others. The code around goes on, statement by statement,
//! as long as nothing in a statement can meet what the waiting blocks do; before any other statement it asks the
//! host to [`Settle`]. What a waiting block stores in things around it is written down, and done when it is its turn.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashSet};
use std::rc::{Rc, Weak};

use futures::future::LocalBoxFuture;
use program::effects::{self, Effects};
use program::ir::{Argument, Expr, ExprKind, Name, Span, Statement, StatementKind, Target};

use crate::frame::{Frame, Siblings};
use crate::host::Block;
use crate::machine::Machine;
use crate::raise::Raise;
use crate::types::Type;
use crate::value::{Identity, Value};

/// Asks the host to run what it has put off, now.
pub struct Settle;

/// Which blocks wait, as far as the code around them has to know.
#[derive(Default)]
pub(crate) struct Deferral {
    /// The frame whose blocks may be put off.
    frame: RefCell<Weak<Frame>>,
    /// Open `try` and `with` statements: what they guard must have happened when they end.
    guards: Cell<u32>,
    waiting: Cell<bool>,
    /// Slots that waiting blocks will bind.
    bound: RefCell<BTreeSet<u32>>,
    /// Objects that waiting blocks will store in.
    received: RefCell<HashSet<Identity>>,
    /// Objects that waiting blocks can look at.
    used: RefCell<HashSet<Identity>>,
    /// Lists that open `for` statements go through.
    iterated: RefCell<Vec<Identity>>,
}

/// Objects that a block can look at at most: finding them all is for every block.
const REACH: usize = 1 << 16;

/// What a block stores, in order, until it is done.
pub(crate) struct Log {
    receives: BTreeSet<u32>,
    pub(crate) entries: RefCell<Vec<Entry>>,
}

pub(crate) enum Entry {
    Append { list: Value, item: Value, span: Span },
    Item { object: Value, key: Value, value: Value, span: Span },
}

impl Log {
    /// Returns whether stores in what a name means are written down.
    pub(crate) fn takes(&self, name: Name) -> bool {
        name.depth == 0 && self.receives.contains(&name.slot)
    }
}

/// A block that waits, in a snapshot of its frame.
pub struct PutOff {
    pub block: Block,
    siblings: Rc<Siblings>,
    log: Rc<Log>,
}

impl PutOff {
    /// Binds what the block has bound in the frame that it stands in.
    pub fn bind(&self, frame: &Frame) {
        for (name, value) in self.siblings.names() {
            frame.set(name, value);
        }
    }

    /// Does what the block has stored in things around it.
    pub fn store(&self, machine: &Machine) -> LocalBoxFuture<'static, Result<(), Raise>> {
        let (machine, frame) = (machine.clone(), Rc::clone(&self.block.frame));
        let entries = std::mem::take(&mut *self.log.entries.borrow_mut());
        Box::pin(async move { crate::eval::store_all(&machine, &frame, entries).await })
    }
}

/// Counts one open statement, until it is dropped.
pub(crate) struct Guard(Machine);

impl Drop for Guard {
    fn drop(&mut self) {
        let guards = &self.0.deferral().guards;
        guards.set(guards.get().saturating_sub(1));
    }
}

/// Remembers what one `for` statement goes through, until it is dropped.
pub(crate) struct Iterated {
    machine: Machine,
    before: usize,
}

impl Drop for Iterated {
    fn drop(&mut self) {
        self.machine.deferral().iterated.borrow_mut().truncate(self.before);
    }
}

impl Machine {
    /// Allows blocks that stand in a frame's own code to be put off.
    pub fn allow_deferral(&self, frame: &Rc<Frame>) {
        *self.deferral().frame.borrow_mut() = Rc::downgrade(frame);
    }

    /// Takes a block to run later, if nobody can tell. `arguments` is what the host will look at then; `is_model` says
    /// which objects are the model's: a block may change what they hold while it runs.
    pub fn put_off(
        &self,
        block: &Block,
        arguments: &[Value],
        siblings: &Rc<Siblings>,
        is_model: &dyn Fn(&Value) -> bool,
    ) -> Option<PutOff> {
        let deferral = self.deferral();
        let frame = &block.frame;
        if deferral.guards.get() > 0 || !deferral.is_of(frame) {
            return None;
        }
        let effects = effects::of(&block.code)?;
        let known = |slots: &BTreeSet<u32>| -> Vec<Value> { slots.iter().filter_map(|&at| value(frame, at)).collect() };
        let seen = [known(&effects.reads), known(&effects.calls), arguments.to_vec()].concat();
        let seen = reach(seen, frame, is_model)?;
        if !deferral.fits(frame, &effects, &seen, is_model) {
            return None;
        }
        deferral.received.borrow_mut().extend(known(&effects.receives).iter().map(place));
        deferral.used.borrow_mut().extend(seen);
        deferral.bound.borrow_mut().extend(&effects.binds);
        deferral.waiting.set(true);
        let log = Rc::new(Log { receives: effects.receives, entries: RefCell::default() });
        let fork = frame.fork_logged(siblings, &log);
        let block = Block { code: Rc::clone(&block.code), frame: fork };
        Some(PutOff { block, siblings: Rc::clone(siblings), log })
    }

    /// Notes that nothing waits any more.
    pub fn settled(&self) {
        let deferral = self.deferral();
        deferral.waiting.set(false);
        deferral.bound.borrow_mut().clear();
        deferral.received.borrow_mut().clear();
        deferral.used.borrow_mut().clear();
    }

    pub(crate) fn guard_deferral(&self) -> Guard {
        let guards = &self.deferral().guards;
        guards.set(guards.get() + 1);
        Guard(self.clone())
    }

    /// Notes which lists a `for` statement of the session's own code goes through.
    pub(crate) fn iterates(&self, frame: &Rc<Frame>, iterable: &Expr) -> Option<Iterated> {
        let deferral = self.deferral();
        if !deferral.is_of(frame) {
            return None;
        }
        let before = deferral.iterated.borrow().len();
        lists(frame, iterable, &mut deferral.iterated.borrow_mut());
        Some(Iterated { machine: self.clone(), before })
    }
}

impl Deferral {
    #[inline]
    pub(crate) fn waiting(&self) -> bool {
        self.waiting.get()
    }

    fn is_of(&self, frame: &Rc<Frame>) -> bool {
        std::ptr::eq(self.frame.borrow().as_ptr(), Rc::as_ptr(frame))
    }

    /// Returns whether a block that looks at what is `seen` can run later.
    fn fits(
        &self,
        frame: &Frame,
        effects: &Effects,
        seen: &HashSet<Identity>,
        is_model: &dyn Fn(&Value) -> bool,
    ) -> bool {
        let models = |value: &Value| match value {
            Value::List(list) => list.to_vec().iter().all(is_model),
            value => is_model(value),
        };
        let unseen = |value: &Value| {
            let at = place(value);
            !seen.contains(&at) && !self.iterated.borrow().contains(&at)
        };
        self.meets_nothing(frame, effects)
            && self.received.borrow().is_disjoint(seen)
            && effects.changes.iter().all(|&slot| value(frame, slot).is_some_and(|value| models(&value)))
            && effects.calls.iter().all(|&slot| is_harmless(frame, slot, is_model))
            && effects.receives.iter().all(|&slot| match value(frame, slot) {
                Some(own @ (Value::List(_) | Value::Dict(_))) => unseen(&own),
                Some(host @ Value::Host(_)) => !models(&host) && unseen(&host),
                _ => false,
            })
    }

    /// Returns whether a block uses nothing that the waiting ones leave behind.
    fn meets_nothing(&self, frame: &Frame, effects: &Effects) -> bool {
        let bound = self.bound.borrow();
        effects.reads.is_disjoint(&bound)
            && effects.receives.is_disjoint(&bound)
            && !effects.reads.iter().filter_map(|&slot| value(frame, slot)).any(|value| self.receives(&value))
    }

    fn receives(&self, value: &Value) -> bool {
        self.received.borrow().contains(&place(value))
    }

    /// Returns whether a statement's own parts, bodies apart, cannot meet what the waiting blocks do.
    pub(crate) fn passes(&self, frame: &Rc<Frame>, statement: &Statement) -> bool {
        if !self.is_of(frame) {
            return false;
        }
        let look = Look { deferral: self, frame };
        match &statement.kind {
            StatementKind::Pass | StatementKind::Break | StatementKind::Continue => true,
            StatementKind::Expression(expr) => match effects::append(expr) {
                // A list that nobody waiting looks at may get whatever there is.
                Some((list, item)) => {
                    let unseen =
                        |list: Value| matches!(list, Value::List(_)) && !self.used.borrow().contains(&list.identity());
                    let own = look.load(list).filter(|list| !self.receives(list));
                    own.is_some_and(unseen) && look.keeps(item)
                }
                None => matches!(expr.kind, ExprKind::Constant(_)),
            },
            StatementKind::Assign { targets, value } => {
                targets.iter().all(|target| look.binds(target)) && look.keeps(value)
            }
            StatementKind::AugmentedAssign { target: Target::Name(name), value, .. } => {
                look.scalar_name(*name) && look.scalar(value)
            }
            StatementKind::If { branches, .. } => branches.iter().all(|(test, _)| look.scalar(test)),
            StatementKind::For { target, iterable, .. } => look.binds(target) && look.iterates(iterable),
            StatementKind::With { context, target, body } => {
                let ExprKind::Call(call) = &context.kind else { return false };
                let ExprKind::Attribute { object, name } = &call.callee.kind else { return false };
                let keeps = |argument: &Argument| look.keeps(&argument.value);
                &**name == "trace"
                    && look.keeps(object)
                    && call.positional.iter().all(keeps)
                    && call.keyword.iter().all(|(_, value)| look.keeps(value))
                    && target.as_ref().is_none_or(|target| look.binds(target))
                    && effects::of(body).is_none_or(|effects| self.meets_nothing(frame, &effects))
            }
            _ => false,
        }
    }

    /// Returns whether binding a target meets nothing that waiting blocks will bind.
    pub(crate) fn may_bind(&self, frame: &Rc<Frame>, target: &Target) -> bool {
        Look { deferral: self, frame }.binds(target)
    }

    /// Returns whether taking the next element of an iterable runs nobody's code.
    pub(crate) fn is_plain_iterable(frame: &Rc<Frame>, iterable: &Expr) -> bool {
        let deferral = Self::default();
        Look { deferral: &deferral, frame }.iterates(iterable)
    }
}

/// Looks at expressions of the code around, as its frame stands.
struct Look<'a> {
    deferral: &'a Deferral,
    frame: &'a Rc<Frame>,
}

impl Look<'_> {
    /// Returns a variable's value, unless a waiting block will bind it.
    fn load(&self, name: Name) -> Option<Value> {
        if name.depth > 0 || self.deferral.bound.borrow().contains(&name.slot) {
            return None;
        }
        value(self.frame, name.slot)
    }

    fn binds(&self, target: &Target) -> bool {
        match target {
            Target::Name(name) => name.depth == 0 && !self.deferral.bound.borrow().contains(&name.slot),
            Target::Sequence { before, star: None, after, .. } => {
                before.iter().chain(after).all(|target| self.binds(target))
            }
            _ => false,
        }
    }

    /// Whether an expression only hands on what is there.
    fn keeps(&self, expr: &Expr) -> bool {
        match &expr.kind {
            ExprKind::Constant(_) => true,
            ExprKind::Name(name) => self.load(*name).is_some(),
            ExprKind::List(items) | ExprKind::Tuple(items) => {
                items.iter().all(|item| !item.starred && self.keeps(&item.value))
            }
            ExprKind::Dict(pairs) => {
                pairs.iter().all(|(key, value)| key.as_ref().is_some_and(|key| self.scalar(key)) && self.keeps(value))
            }
            ExprKind::Item { object, key } => match &object.kind {
                ExprKind::Name(name) => {
                    let plain = |value: Value| match value {
                        Value::Tuple(_) => true,
                        Value::List(_) | Value::Dict(_) => !self.deferral.receives(&value),
                        _ => false,
                    };
                    self.load(*name).is_some_and(plain) && self.scalar(key)
                }
                _ => false,
            },
            ExprKind::Call(_) => self.iterates(expr),
            _ => self.scalar(expr),
        }
    }

    /// Whether an expression computes with numbers and texts only.
    fn scalar(&self, expr: &Expr) -> bool {
        match &expr.kind {
            ExprKind::Constant(_) => true,
            ExprKind::Name(name) => self.scalar_name(*name),
            ExprKind::Binary { left, right, .. } => self.scalar(left) && self.scalar(right),
            ExprKind::Unary { operand, .. } => self.scalar(operand),
            ExprKind::Boolean { operands, .. } => operands.iter().all(|operand| self.scalar(operand)),
            ExprKind::Compare { first, rest } => self.scalar(first) && rest.iter().all(|(_, expr)| self.scalar(expr)),
            ExprKind::Conditional(parts) => parts.iter().all(|part| self.scalar(part)),
            ExprKind::Tuple(items) => items.iter().all(|item| !item.starred && self.scalar(&item.value)),
            _ => false,
        }
    }

    fn scalar_name(&self, name: Name) -> bool {
        self.load(name).is_some_and(|value| {
            matches!(value, Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_))
        })
    }

    /// Whether an expression makes something whose elements are there already: `range(n)`, `enumerate(layers)`.
    fn iterates(&self, expr: &Expr) -> bool {
        match &expr.kind {
            ExprKind::Name(name) => match self.load(*name) {
                Some(Value::Range(_) | Value::Tuple(_) | Value::Str(_)) => true,
                Some(list @ Value::List(_)) => !self.deferral.receives(&list),
                _ => false,
            },
            ExprKind::List(_) | ExprKind::Tuple(_) => self.keeps(expr),
            ExprKind::Call(call) => {
                let ExprKind::Name(name) = &call.callee.kind else { return false };
                let of = |names: &[&str]| name.depth == 0 && is_builtin(self.frame, name.slot, names);
                let parts = || call.positional.iter().filter(|argument| !argument.starred).map(|one| &one.value);
                let complete = call.positional.iter().all(|argument| !argument.starred) && call.keyword.is_empty();
                complete
                    && (of(&["range"]) && parts().all(|part| self.scalar(part) || self.counts(part))
                        || of(&["len"]) && parts().all(|part| self.iterates(part))
                        || of(&["enumerate", "zip", "reversed", "list", "tuple"])
                            && parts().all(|part| self.iterates(part) || self.scalar(part)))
            }
            _ => false,
        }
    }

    /// Whether an expression is `len(…)` of something plain.
    fn counts(&self, expr: &Expr) -> bool {
        matches!(expr.kind, ExprKind::Call(_)) && self.iterates(expr)
    }
}

fn value(frame: &Frame, slot: u32) -> Option<Value> {
    let name = frame.code().slots.get(slot as usize)?;
    frame.get(name)
}

fn is_builtin(frame: &Frame, slot: u32, names: &[&str]) -> bool {
    let name = frame.code().slots.get(slot as usize);
    name.is_some_and(|name| names.contains(&&**name) && frame.get(name).is_none())
}

/// Returns whether calling what a name means leaves no marks.
fn is_harmless(frame: &Frame, slot: u32, is_model: &dyn Fn(&Value) -> bool) -> bool {
    const BUILTINS: [&str; 22] = [
        "abs",
        "all",
        "any",
        "bool",
        "dict",
        "divmod",
        "enumerate",
        "float",
        "int",
        "isinstance",
        "len",
        "list",
        "max",
        "min",
        "range",
        "reversed",
        "round",
        "set",
        "sorted",
        "str",
        "sum",
        "tuple",
    ];
    match value(frame, slot) {
        None => is_builtin(frame, slot, &BUILTINS) || is_builtin(frame, slot, &["zip", "slice", "pow", "repr"]),
        Some(Value::Type(kind)) => !matches!(kind, Type::Generator),
        // What it uses of what lies around it is looked at as what the block itself uses.
        Some(Value::Function(_)) => true,
        Some(value) => is_model(&value),
    }
}

/// Returns what identifies an object's memory: tensors of one memory are one.
fn place(value: &Value) -> Identity {
    match value {
        Value::Host(host) => host.memory().map_or_else(|| value.identity(), Identity::Place),
        value => value.identity(),
    }
}

/// Returns all objects that code can look at by way of some values; `None` where looking may run a user's code, use
/// something up, or find too much.
fn reach(values: Vec<Value>, frame: &Rc<Frame>, is_model: &dyn Fn(&Value) -> bool) -> Option<HashSet<Identity>> {
    let (mut found, mut open) = (HashSet::new(), values);
    while let Some(value) = open.pop() {
        let size = match &value {
            Value::List(list) => list.len(),
            Value::Tuple(tuple) => tuple.len(),
            Value::Dict(dict) => dict.len(),
            Value::Set(set) => set.len(),
            _ => 0,
        };
        if found.len() + open.len() + size > REACH {
            return None;
        }
        match &value {
            Value::None
            | Value::NotImplemented
            | Value::Ellipsis
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Big(_)
            | Value::Float(_)
            | Value::Complex(..)
            | Value::Str(_)
            | Value::Bytes(_)
            | Value::Range(_)
            | Value::Slice(_)
            | Value::Type(_) => continue,
            Value::Host(_) => drop(found.insert(place(&value))),
            Value::Iterator(_)
            | Value::Native(_)
            | Value::Method(_)
            | Value::Class(_)
            | Value::Instance(_)
            | Value::Decorated(_) => return None,
            _ if !found.insert(value.identity()) => continue,
            Value::List(list) => open.extend(list.to_vec()),
            Value::Tuple(tuple) => open.extend(tuple.iter().cloned()),
            Value::Dict(dict) => open.extend(dict.entries().into_iter().flat_map(|(key, value)| [key, value])),
            Value::Set(set) => open.extend(set.items()),
            Value::Function(function) => {
                let defaults = function.defaults();
                open.extend(
                    defaults.positional.into_iter().chain(defaults.keyword.into_iter().map(|(_, value)| value)),
                );
                let around = function.surroundings()?;
                for (depth, slot) in effects::of_function(function.code())? {
                    let scope = around.outward(depth - 1);
                    let Some(value) = self::value(scope, slot) else { continue };
                    // A name of the session may mean something else by then.
                    if std::ptr::eq(scope, Rc::as_ptr(frame)) && !is_model(&value) {
                        return None;
                    }
                    open.push(value);
                }
            }
        }
    }
    Some(found)
}

/// Collects the lists that an iterable's text names.
fn lists(frame: &Frame, iterable: &Expr, found: &mut Vec<Identity>) {
    match &iterable.kind {
        ExprKind::Name(name) if name.depth == 0 => {
            found.extend(
                value(frame, name.slot).filter(|value| matches!(value, Value::List(_))).map(|list| place(&list)),
            );
        }
        ExprKind::Call(call) => call.positional.iter().for_each(|argument| lists(frame, &argument.value, found)),
        _ => {}
    }
}
