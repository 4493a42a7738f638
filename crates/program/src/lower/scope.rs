//! Which scope binds a name.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::ir::{self, Name};
use crate::lower::bindings::Bindings;
use crate::lower::number;

/// The scopes open around the node at hand, outermost first.
#[derive(Default)]
pub(super) struct Scopes(Vec<Open>);

/// One open scope.
pub(super) struct Open {
    pub kind: ir::Scope,
    pub slots: Vec<Rc<str>>,
    pub yields: bool,
    by_name: HashMap<Rc<str>, u32>,
    globals: HashSet<Rc<str>>,
    nonlocals: HashSet<Rc<str>>,
}

impl Scopes {
    pub fn enter(&mut self, kind: ir::Scope) {
        self.0.push(Open {
            kind,
            slots: Vec::new(),
            yields: false,
            by_name: HashMap::new(),
            globals: HashSet::new(),
            nonlocals: HashSet::new(),
        });
    }

    /// Closes the innermost scope. There always is one: every `leave` follows an `enter`.
    pub fn leave(&mut self) -> Open {
        self.0.pop().unwrap_or_else(|| Open {
            kind: ir::Scope::Root,
            slots: Vec::new(),
            yields: false,
            by_name: HashMap::new(),
            globals: HashSet::new(),
            nonlocals: HashSet::new(),
        })
    }

    pub fn kind(&self) -> ir::Scope {
        self.0.last().map_or(ir::Scope::Root, |scope| scope.kind)
    }

    /// Marks the innermost scope as a generator.
    pub fn mark_generator(&mut self) {
        if let Some(scope) = self.0.last_mut() {
            scope.yields = true;
        }
    }

    /// Gives a name a slot in the innermost scope; returns false where it has one.
    pub fn declare(&mut self, name: &str) -> bool {
        let Some(scope) = self.0.last_mut() else { return false };
        let before = scope.slots.len();
        scope.slot(name);
        scope.slots.len() > before
    }

    /// Gives all names that a scope's statements bind their slots there.
    pub fn declare_all(&mut self, bindings: &Bindings) {
        let Some(scope) = self.0.last_mut() else { return };
        scope.globals.extend(bindings.globals.iter().map(|name| Rc::from(name.as_str())));
        scope.nonlocals.extend(bindings.nonlocals.iter().map(|name| Rc::from(name.as_str())));
        for name in &bindings.names {
            if !scope.globals.contains(name.as_str()) && !scope.nonlocals.contains(name.as_str()) {
                scope.slot(name);
            }
        }
    }

    /// Finds the variable that a name means here. What no scope binds is the root's: looked up when read.
    pub fn resolve(&mut self, name: &str) -> Name {
        let Some(innermost) = self.0.len().checked_sub(1) else { return Name { depth: 0, slot: 0 } };
        let mut depth = 0;
        let mut global = false;
        for index in (0..=innermost).rev() {
            let scope = &mut self.0[index];
            // Functions do not see the variables of the class body around them.
            if scope.kind == ir::Scope::Class && index != innermost {
                continue;
            }
            global = global || scope.globals.contains(name);
            if index == 0 {
                return Name { depth, slot: scope.slot(name) };
            }
            if !global && let Some(&slot) = scope.by_name.get(name) {
                return Name { depth, slot };
            }
            depth += 1;
        }
        Name { depth, slot: 0 }
    }

    /// Says whether a scope binds a name; the root mentions names that it does not bind, so it may be left out.
    pub fn is_bound(&self, name: &str, root: bool) -> bool {
        self.0.iter().skip(usize::from(!root)).any(|scope| scope.by_name.contains_key(name))
    }

    /// Finds the function whose frame is innermost, and its first parameter: comprehensions are passed over.
    pub fn receiver(&self) -> Option<Name> {
        let scope = self.0.last()?;
        (scope.kind == ir::Scope::Function && !scope.slots.is_empty()).then_some(Name { depth: 0, slot: 0 })
    }

    /// How many frames outward from here the surroundings of a function defined here are.
    pub fn outward(&self) -> u32 {
        u32::from(self.kind() == ir::Scope::Class)
    }
}

impl Open {
    fn slot(&mut self, name: &str) -> u32 {
        if let Some(&slot) = self.by_name.get(name) {
            return slot;
        }
        let slot = number(self.slots.len());
        let name: Rc<str> = name.into();
        self.slots.push(Rc::clone(&name));
        self.by_name.insert(name, slot);
        slot
    }
}
