//! What a walk notes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use crate::answer::{Calls, Does, Kind};
use crate::form::Form;

/// What a program does, by the places of its text, and what its traces read and change.
#[derive(Default)]
pub struct Graph {
    pub nodes: Vec<Node>,
    places: HashMap<Place, u32>,
    pub traces: Vec<Opened>,
    /// Nodes whose results matter beyond others: they are printed, decide something, or go where nobody looks.
    pub used: BTreeSet<u32>,
    /// What is wrong: with the line, what to say, and whether that is certain.
    pub found: Vec<(Kind, u32, String, bool)>,
    /// The text of the first exception that is raised for certain because this server lacks something.
    pub refused: Option<String>,
}

/// File, line and column of its beginning and of its end, and what is done there.
type Place = (Rc<str>, u32, u32, u32, u32, Does);

pub struct Node {
    pub does: Does,
    pub line: u32,
    pub file: Option<String>,
    pub text: String,
    pub site: Option<String>,
    pub sites: BTreeSet<String>,
    pub times: u64,
    pub form: Option<Form>,
    pub needs: BTreeSet<u32>,
    pub certain: bool,
}

/// A trace.
pub struct Opened {
    pub line: u32,
    pub calls: Calls,
    pub certain: bool,
    pub inputs: Vec<Prompt>,
    pub passes: Option<u64>,
    pub accesses: Vec<Access>,
    pub left_out: u64,
    /// Something is read or changed of which nobody knows when that is.
    pub unknown: bool,
    /// Gradients are asked for.
    pub gradients: bool,
    /// The place that each block is at: step, order, site.
    pub at: BTreeMap<u32, (i64, u32, String)>,
    /// What is said of it once.
    pub said: BTreeSet<(u32, Kind)>,
}

/// What one block of a trace is given.
pub struct Prompt {
    pub line: u32,
    pub rows: Option<i64>,
    pub tokens: Option<i64>,
    /// It has no rows of its own, and sees those of all others.
    pub of_all: bool,
    /// What tells the same input.
    pub key: Option<String>,
}

pub struct Access {
    pub site: String,
    pub does: Does,
    pub line: u32,
    pub node: u32,
    pub input: u32,
    pub step: Option<i64>,
    pub order: Option<u32>,
    pub form: Form,
    pub certain: bool,
}

impl Graph {
    /// Returns the node of a place, which `make` makes if it is the first time.
    pub fn node(&mut self, place: Place, make: impl FnOnce() -> Node) -> u32 {
        let next = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let at = *self.places.entry(place).or_insert(next);
        if at == next {
            self.nodes.push(make());
        }
        at
    }
}

impl Opened {
    /// Returns the tokens of its longest row.
    pub fn length(&self) -> Option<i64> {
        let own = self.inputs.iter().filter(|input| !input.of_all);
        let all: Option<Vec<i64>> = own.map(|input| input.tokens).collect();
        all?.into_iter().max()
    }
}
