//! What an expression's value may be, before it is known.

use std::collections::BTreeSet;

use interpreter::Value;

/// What a value may be a part of that lies around the code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roots {
    /// Names of the frame that the code runs in.
    slots: BTreeSet<u32>,
    /// Something of another frame, or an argument.
    beyond: bool,
}

impl Roots {
    pub fn slot(slot: u32) -> Self {
        Self { slots: BTreeSet::from([slot]), beyond: false }
    }

    pub fn beyond() -> Self {
        Self { slots: BTreeSet::new(), beyond: true }
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty() && !self.beyond
    }

    /// Adds others, and says whether there were new ones.
    pub fn extend(&mut self, others: &Self) -> bool {
        let before = (self.slots.len(), self.beyond);
        self.slots.extend(&others.slots);
        self.beyond |= others.beyond;
        before != (self.slots.len(), self.beyond)
    }
}

/// What a value may be.
#[derive(Clone, Default)]
pub struct Thing {
    /// What the value itself may be, or be a part of. Nothing for a new object, and for the model's own values.
    pub own: Roots,
    /// The same of what it holds.
    pub inner: Roots,
    /// It is the model's own, or a part of that, and no object that the code made: what is put in it is copied there.
    pub live: bool,
    /// It may be the model's own, or a part of that.
    pub model: bool,
    /// The value, where it is at hand.
    pub known: Option<Value>,
}

impl Thing {
    /// A new object that holds such parts.
    pub fn of(inner: Roots) -> Self {
        Self { inner, ..Self::default() }
    }

    /// A part of something.
    pub fn part(roots: Roots) -> Self {
        Self { own: roots.clone(), inner: roots, live: false, model: true, known: None }
    }

    /// Anything of elsewhere.
    pub fn beyond() -> Self {
        Self::part(Roots::beyond())
    }

    /// Makes it what either may be, and says whether that is more than before.
    pub fn join(&mut self, other: &Self) -> bool {
        let mut grown = self.own.extend(&other.own) | self.inner.extend(&other.inner);
        grown |= other.model && !self.model;
        self.model |= other.model;
        // What is put in one that is not the model's own may come back from it.
        if self.live && !other.live {
            self.live = false;
            grown = true;
        }
        let same = match (&self.known, &other.known) {
            (Some(own), Some(other)) => own.is(other),
            (None, _) => true,
            (Some(_), None) => false,
        };
        if !same {
            self.known = None;
            grown = true;
        }
        grown
    }
}
