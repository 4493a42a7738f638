//! Which scope binds a name.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::ir::{self, Name};
use crate::lower::bindings::Bindings;
use crate::lower::number;

/// The scopes open around the node at hand, and how deep that lies in the tree.
#[derive(Default)]
pub(super) struct Scopes {
    /// Outermost first.
    open: Vec<Open>,
    /// The open scopes that bind each name, innermost last: a name is found by looking it up, however many scopes lie
    /// around it.
    bound: HashMap<Rc<str>, Vec<Binding>>,
    /// Nodes around the one at hand.
    depth: u32,
}

/// One open scope.
pub(super) struct Open {
    pub kind: ir::Scope,
    pub slots: Vec<Rc<str>>,
    pub yields: bool,
    /// The most nodes inside one another, of this scope's own.
    pub deepest: u32,
    /// Nodes around the scope.
    above: u32,
    globals: Vec<Rc<str>>,
    /// Frames up to this scope, as its inner scopes see them: class bodies are not among them.
    frames: u32,
}

#[derive(Clone, Copy)]
struct Binding {
    scope: usize,
    /// `None` where the scope declares the name `global`.
    slot: Option<u32>,
}

impl Scopes {
    pub fn enter(&mut self, kind: ir::Scope) {
        let outer = self.open.last().map_or(0, |scope| scope.frames);
        self.open.push(Open {
            kind,
            slots: Vec::new(),
            yields: false,
            deepest: 0,
            above: self.depth,
            globals: Vec::new(),
            frames: outer + u32::from(kind != ir::Scope::Class),
        });
    }

    /// Closes the innermost scope. There always is one: every `leave` follows an `enter`.
    pub fn leave(&mut self) -> Open {
        let Some(scope) = self.open.pop() else {
            self.enter(ir::Scope::Root);
            return self.leave();
        };
        let index = self.open.len();
        for name in scope.slots.iter().chain(&scope.globals) {
            if let Some(bindings) = self.bound.get_mut(name) {
                while bindings.last().is_some_and(|binding| binding.scope == index) {
                    bindings.pop();
                }
            }
        }
        scope
    }

    pub fn kind(&self) -> ir::Scope {
        self.open.last().map_or(ir::Scope::Root, |scope| scope.kind)
    }

    /// Notes that what follows lies inside one more node.
    pub fn descend(&mut self) {
        self.depth += 1;
        if let Some(scope) = self.open.last_mut() {
            scope.deepest = scope.deepest.max(self.depth.saturating_sub(scope.above));
        }
    }

    /// Takes back a [`Scopes::descend`].
    pub fn ascend(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// Returns how many nodes lie around the one at hand.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// Marks the innermost scope as a generator.
    pub fn mark_generator(&mut self) {
        if let Some(scope) = self.open.last_mut() {
            scope.yields = true;
        }
    }

    /// Gives a name a slot in the innermost scope; returns false where it has one.
    pub fn declare(&mut self, name: &str) -> bool {
        let Some(innermost) = self.open.len().checked_sub(1) else { return false };
        let known = self.bound.get(name).and_then(|bindings| bindings.last());
        if known.is_some_and(|binding| binding.scope == innermost && binding.slot.is_some()) {
            return false;
        }
        self.bind(innermost, name);
        true
    }

    /// Gives all names that a scope's statements bind their slots there.
    pub fn declare_all(&mut self, bindings: &Bindings) {
        let elsewhere: HashSet<&str> = bindings.globals.iter().chain(&bindings.nonlocals).map(String::as_str).collect();
        for name in bindings.names.iter().filter(|name| !elsewhere.contains(name.as_str())) {
            self.declare(name);
        }
        let Some(innermost) = self.open.len().checked_sub(1) else { return };
        for name in &bindings.globals {
            let name: Rc<str> = name.as_str().into();
            let bindings = self.bound.entry(Rc::clone(&name)).or_default();
            bindings.push(Binding { scope: innermost, slot: None });
            self.open[innermost].globals.push(name);
        }
    }

    /// Finds the variable that a name means here. What no scope binds is the root's: looked up when read.
    pub fn resolve(&mut self, name: &str) -> Name {
        let Some(innermost) = self.open.len().checked_sub(1) else { return Name { depth: 0, slot: 0 } };
        for binding in self.bound.get(name).into_iter().flatten().rev() {
            // Functions do not see the variables of the class body around them.
            if self.open[binding.scope].kind == ir::Scope::Class && binding.scope != innermost {
                continue;
            }
            let Some(slot) = binding.slot else { break };
            return Name { depth: self.frames_out(binding.scope), slot };
        }
        let known = self.bound.get(name).and_then(|bindings| bindings.first());
        let slot = match known.filter(|binding| binding.scope == 0).and_then(|binding| binding.slot) {
            Some(slot) => slot,
            None => self.bind(0, name),
        };
        Name { depth: self.frames_out(0), slot }
    }

    /// Says whether a scope binds a name; the root mentions names that it does not bind, so it may be left out.
    pub fn is_bound(&self, name: &str, root: bool) -> bool {
        let bindings = self.bound.get(name).into_iter().flatten();
        bindings.rev().any(|binding| binding.slot.is_some() && (root || binding.scope > 0))
    }

    /// Finds the function whose frame is innermost, and its first parameter: comprehensions are passed over.
    pub fn receiver(&self) -> Option<Name> {
        let scope = self.open.last()?;
        (scope.kind == ir::Scope::Function && !scope.slots.is_empty()).then_some(Name { depth: 0, slot: 0 })
    }

    /// How many frames outward from here the surroundings of a function defined here are.
    pub fn outward(&self) -> u32 {
        u32::from(self.kind() == ir::Scope::Class)
    }

    /// Returns how many frames out from the innermost scope another one's is.
    fn frames_out(&self, scope: usize) -> u32 {
        match self.open.len().checked_sub(2) {
            // The innermost scope has a frame whatever it is; from it outward, class bodies are passed over.
            Some(around) if scope <= around => self.open[around].frames - self.open[scope].frames + 1,
            _ => 0,
        }
    }

    /// Gives a name a new slot in the innermost scope or the root.
    fn bind(&mut self, scope: usize, name: &str) -> u32 {
        let name: Rc<str> = name.into();
        let open = &mut self.open[scope];
        let slot = number(open.slots.len());
        open.slots.push(Rc::clone(&name));
        let bindings = self.bound.entry(name).or_default();
        let at = bindings.partition_point(|binding| binding.scope <= scope);
        bindings.insert(at, Binding { scope, slot: Some(slot) });
        slot
    }
}
