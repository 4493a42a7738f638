//! The series of a metric: a table from the values of its labels to a cell, which only grows.
//!
//! Performance-critical: no lock, and no memory but for a series that is new. The table is chains of cells that are set
//! once, so that whoever reads sees a whole one or none.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Label, OTHER, Values};

/// Chains of a table.
const CHAINS: usize = 64;

/// Series of one metric at most; what comes later is counted as [`OTHER`].
const MOST: usize = 8192;

/// The cells of one metric.
pub struct Series<C> {
    labels: &'static [Label],
    chains: [Chain<C>; CHAINS],
    length: AtomicUsize,
    prepared: OnceLock<()>,
}

type Chain<C> = OnceLock<Box<Node<C>>>;

struct Node<C> {
    values: Vec<String>,
    cell: C,
    next: Chain<C>,
}

impl<C> Series<C> {
    pub const fn new(labels: &'static [Label]) -> Self {
        Self {
            labels,
            chains: [const { OnceLock::new() }; CHAINS],
            length: AtomicUsize::new(0),
            prepared: OnceLock::new(),
        }
    }

    /// Finds the cell of these values, or makes it.
    pub fn with(&self, values: &[&str], make: impl Fn() -> C) -> &C {
        debug_assert_eq!(values.len(), self.labels.len(), "a value for each label");
        match self.find(values) {
            Ok(node) => &node.cell,
            Err(_) => self.admit(values, make),
        }
    }

    /// Makes the cells of all values, where these are known: what has not happened yet is told as nothing.
    pub fn prepare(&self, make: impl Fn() -> C + Copy) {
        self.prepared.get_or_init(|| self.make_all(make));
    }

    fn make_all(&self, make: impl Fn() -> C + Copy) {
        let mut all: Vec<Vec<&str>> = vec![Vec::new()];
        for label in self.labels {
            let Values::Of(values) = label.values else { return };
            all = all.iter().flat_map(|before| values.iter().map(|value| [before, &[*value][..]].concat())).collect();
        }
        for values in all {
            self.with(&values, make);
        }
    }

    /// Calls `each` with every cell.
    pub fn each(&self, mut each: impl FnMut(&[String], &C)) {
        for chain in &self.chains {
            let mut next = chain.get();
            while let Some(node) = next {
                each(&node.values, &node.cell);
                next = node.next.get();
            }
        }
    }

    /// Returns a node, or the end of the chain that it belongs to.
    fn find(&self, values: &[&str]) -> Result<&Node<C>, &Chain<C>> {
        let mut chain = &self.chains[place(values)];
        while let Some(node) = chain.get() {
            if node.values.iter().eq(values) {
                return Ok(node);
            }
            chain = &node.next;
        }
        Err(chain)
    }

    #[cold]
    fn admit(&self, values: &[&str], make: impl Fn() -> C) -> &C {
        let full = self.length.load(Ordering::Relaxed) >= MOST;
        let told = values.iter().enumerate().map(|(at, value)| match self.labels.get(at).map(|label| label.values) {
            Some(Values::Of(known)) if known.contains(value) => *value,
            Some(Values::First(most)) if !full && self.knows(at, value, most) => *value,
            _ => OTHER,
        });
        let told: Vec<&str> = told.collect();
        let mut chain = match self.find(&told) {
            Ok(node) => return &node.cell,
            Err(end) => end,
        };
        loop {
            let node = chain.get_or_init(|| {
                self.length.fetch_add(1, Ordering::Relaxed);
                let values = told.iter().map(|value| (*value).to_owned()).collect();
                Box::new(Node { values, cell: make(), next: OnceLock::new() })
            });
            // Somebody else may have been first.
            if node.values == told {
                return &node.cell;
            }
            chain = &node.next;
        }
    }

    /// Returns whether a value is one of the first that came at its label, or may still become one.
    fn knows(&self, at: usize, value: &str, most: usize) -> bool {
        let mut seen: Vec<String> = Vec::new();
        self.each(|values, _| {
            if let Some(value) = values.get(at).filter(|value| *value != OTHER && !seen.contains(value)) {
                seen.push(value.clone());
            }
        });
        seen.len() < most || seen.iter().any(|known| known == value)
    }
}

fn place(values: &[&str]) -> usize {
    let mut hasher = DefaultHasher::new();
    values.hash(&mut hasher);
    #[expect(clippy::cast_possible_truncation, reason = "it is the rest of a division by few")]
    let place = hasher.finish() as usize % CHAINS;
    place
}
