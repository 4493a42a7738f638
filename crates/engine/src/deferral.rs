//! Traces of a session that run later than they stand, because nobody can tell.
//!
//! The session's code goes on, statement by statement, as long as nothing in a statement can meet what the waiting
//! blocks do; before any other statement the evaluator is made to ask for a [`Settle`]. What a block does is read off
//! its text and what the objects and functions in it declare ([`effects`]); what a statement meets is looked up in the
//! frame before it runs ([`look`]). What a waiting block stores in things around it is written down, and done when it is
//! its turn ([`put_off`]).

mod effects;
mod look;
mod put_off;
mod reach;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashSet};
use std::rc::{Rc, Weak};

use interpreter::{Block, Compound, Effect, Frame, Identity, Machine, Part, Request, Siblings, Use, Value, Watch};
use program::ir::{Body, Name};

use effects::Effects;
use look::Look;
pub use put_off::PutOff;
use reach::{Reached, place};

/// Asks the driver to run what was put off, now.
pub struct Settle;

/// Which blocks of a session wait, as far as the code around them has to know.
pub struct Deferral {
    /// The frame of the session's own code, whose blocks may wait.
    frame: Weak<Frame>,
    knows: Knows,
    /// Open statements: what they guard must have happened when they end.
    guards: Rc<Cell<u32>>,
    /// Lists that open loops go through.
    iterated: Rc<RefCell<Vec<Identity>>>,
    waiting: Cell<bool>,
    /// Slots that waiting blocks will bind.
    bound: RefCell<BTreeSet<u32>>,
    /// Slots that functions which waiting blocks call will read.
    depended: RefCell<BTreeSet<u32>>,
    /// Objects that waiting blocks will store in.
    received: RefCell<HashSet<Identity>>,
    /// Objects that waiting blocks can look at.
    used: RefCell<HashSet<Identity>>,
}

/// What an engine says of its objects.
#[derive(Clone, Copy)]
pub struct Knows {
    /// A part of the model, or an imported module: what a block changes by way of it is its own trace's.
    pub is_model: fn(&Value) -> bool,
    /// A method that opens a trace.
    pub opens: fn(&Value, &str) -> bool,
}

impl Deferral {
    /// Lets traces that stand in a frame's own code wait.
    pub fn watch(machine: &Machine, frame: &Rc<Frame>, knows: Knows) {
        let deferral = Rc::new(Self {
            frame: Rc::downgrade(frame),
            knows,
            guards: Rc::default(),
            iterated: Rc::default(),
            waiting: Cell::default(),
            bound: RefCell::default(),
            depended: RefCell::default(),
            received: RefCell::default(),
            used: RefCell::default(),
        });
        machine.set_extension(Rc::clone(&deferral) as Rc<dyn Any>);
        machine.watch(deferral);
    }

    /// Returns the deferral of a job whose traces may wait.
    pub fn of(machine: &Machine) -> Option<Rc<Self>> {
        machine.extension::<Self>()
    }

    /// Takes a block to run later, if nobody can tell. `arguments` is what the model will look at then.
    pub fn put_off(&self, block: &Block, arguments: &[Value], siblings: &Rc<Siblings>) -> Option<PutOff> {
        let frame = &block.frame;
        if self.guards.get() > 0 || !self.is_of(frame) {
            return None;
        }
        let effects = self.effects(frame, &block.code)?;
        let mut seen: Vec<Value> = effects.reads.iter().filter_map(|&slot| value(frame, slot)).collect();
        seen.extend_from_slice(arguments);
        let called = effects.called.iter().filter_map(|&slot| value(frame, slot)).collect();
        let reached = Reached::by(seen, called, frame, self.knows)?;
        if !self.fits(frame, &effects, &reached) {
            return None;
        }
        self.received
            .borrow_mut()
            .extend(effects.receives().filter_map(|slot| value(frame, slot)).map(|it| place(&it)));
        self.used.borrow_mut().extend(reached.objects);
        self.depended.borrow_mut().extend(reached.names);
        self.bound.borrow_mut().extend(&effects.binds);
        self.waiting.set(true);
        Some(PutOff::new(block, siblings, effects.receives()))
    }

    /// Notes that nothing waits any more.
    pub fn settled(&self) {
        self.waiting.set(false);
        self.bound.borrow_mut().clear();
        self.depended.borrow_mut().clear();
        self.received.borrow_mut().clear();
        self.used.borrow_mut().clear();
    }

    fn effects(&self, frame: &Rc<Frame>, body: &Body) -> Option<Effects> {
        effects::of_block(frame, body, self.knows)
    }

    fn is_of(&self, frame: &Rc<Frame>) -> bool {
        std::ptr::eq(self.frame.as_ptr(), Rc::as_ptr(frame))
    }

    /// Returns whether a block that looks at what is reached can run later.
    fn fits(&self, frame: &Rc<Frame>, effects: &Effects, reached: &Reached) -> bool {
        let machine = frame.machine();
        let unseen = |value: &Value| {
            let at = place(value);
            !reached.objects.contains(&at) && !self.iterated.borrow().contains(&at)
        };
        let host = |value: &Value, method: &str, positional: usize| {
            let Value::Host(host) = value else { return false };
            let usage = Use::Call { positional, keywords: &[] };
            !(self.knows.is_model)(value) && host.effect(machine, method, usage) == Effect::Changes
        };
        let appended = |value: &Value| matches!(value, Value::List(_)) || host(value, "append", 1);
        let stored = |value: &Value| matches!(value, Value::List(_) | Value::Dict(_)) || host(value, "__setitem__", 2);
        let each = |slots: &BTreeSet<u32>, takes: &dyn Fn(&Value) -> bool| {
            slots.iter().all(|&slot| value(frame, slot).is_some_and(|value| takes(&value) && unseen(&value)))
        };
        self.meets_nothing(frame, effects)
            && self.received.borrow().is_disjoint(&reached.objects)
            && self.bound.borrow().is_disjoint(&reached.names)
            && each(&effects.appended, &appended)
            && each(&effects.stored, &stored)
    }

    /// Returns whether a block uses nothing that the waiting ones leave behind, and leaves alone what they will use.
    fn meets_nothing(&self, frame: &Rc<Frame>, effects: &Effects) -> bool {
        let bound = self.bound.borrow();
        effects.uses().all(|slot| !bound.contains(&slot))
            && effects.receives().all(|slot| !bound.contains(&slot))
            && effects.binds.is_disjoint(&self.depended.borrow())
            && !effects.uses().filter_map(|slot| value(frame, slot)).any(|value| self.receives(&value))
    }

    fn receives(&self, value: &Value) -> bool {
        self.received.borrow().contains(&place(value))
    }

    /// Returns whether a name of the session can be bound with nobody waiting noticing.
    fn may_bind(&self, name: Name) -> bool {
        name.depth == 0 && !self.bound.borrow().contains(&name.slot) && !self.depended.borrow().contains(&name.slot)
    }
}

impl Watch for Deferral {
    fn before(&self, frame: &Rc<Frame>, part: Part<'_>, opened: Option<&dyn Any>) -> Option<Request> {
        if !self.waiting.get() {
            return None;
        }
        let look = Look { deferral: self, frame };
        let passes = self.is_of(frame)
            && match part {
                Part::Statement(statement) => look.passes(statement),
                Part::Test => false,
                Part::Turn(target) => {
                    let plain = opened.and_then(|opened| opened.downcast_ref::<Loop>()).is_some_and(|open| open.plain);
                    plain && look.binds(target)
                }
            };
        (!passes).then(|| Request::new(Settle))
    }

    fn open(&self, frame: &Rc<Frame>, compound: Compound<'_>) -> Option<Box<dyn Any>> {
        if !self.is_of(frame) {
            return None;
        }
        Some(match compound {
            Compound::Guard => {
                self.guards.set(self.guards.get() + 1);
                Box::new(Guard(Rc::clone(&self.guards)))
            }
            Compound::Loop(iterable) => {
                let look = Look { deferral: self, frame };
                let plain = look.iterates(iterable);
                let before = self.iterated.borrow().len();
                let found = look.lists(iterable);
                self.iterated.borrow_mut().extend(found);
                Box::new(Loop { plain, iterated: Rc::clone(&self.iterated), before })
            }
        })
    }
}

/// An open statement that guards its body.
struct Guard(Rc<Cell<u32>>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// An open loop.
struct Loop {
    /// Taking the next element runs nobody's code.
    plain: bool,
    iterated: Rc<RefCell<Vec<Identity>>>,
    before: usize,
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.iterated.borrow_mut().truncate(self.before);
    }
}

/// Returns what the session's code reads by the name of a slot; `None` where it is not bound.
fn value(frame: &Frame, slot: u32) -> Option<Value> {
    frame.value(Name { depth: 0, slot })
}
