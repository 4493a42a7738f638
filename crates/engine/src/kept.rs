//! What an engine keeps for jobs to come, within one budget: rows' states and adapters. What was used longest ago goes first,
//! whichever it is.

use std::any::Any;
use std::rc::Rc;

use interpreter::Pool;
use lru::LruCache;
use telemetry::metrics::Level;

use crate::adapter::Addition;

/// A digest that stands for a row.
pub type Digest = [u8; 32];

/// What something is kept under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    Trunk(Digest),
    Adapter(Rc<str>),
}

/// Something that is kept.
pub enum Item {
    Trunk(Rc<dyn Any>),
    /// With what tells its files from others.
    Adapter(String, Rc<[Addition]>),
}

/// The store of one engine. Others may share its budget, and let go of their own.
pub struct Kept {
    all: LruCache<Name, (Item, u64)>,
    bytes: u64,
    budget: Pool,
    /// Rows that were forgotten for others since somebody asked.
    forgotten: Vec<Digest>,
    /// Shows the bytes of trunks.
    shown: &'static Level,
    shown_bytes: u64,
}

impl Kept {
    /// Makes an empty store that keeps what its budget allows.
    pub fn new(budget: Pool, shown: &'static Level) -> Self {
        Self { all: LruCache::unbounded(), bytes: 0, budget, forgotten: Vec::new(), shown, shown_bytes: 0 }
    }

    /// Returns what is kept under a name, which is used so.
    pub fn find(&mut self, name: &Name) -> Option<&Item> {
        self.all.get(name).map(|(item, _)| item)
    }

    /// Returns the bytes of what is kept under a name.
    pub fn bytes_of(&self, name: &Name) -> Option<u64> {
        self.all.peek(name).map(|(_, bytes)| *bytes)
    }

    /// Returns the bytes that there are for all that is kept here: what other engines keep is theirs to let go of.
    pub fn room(&self) -> u64 {
        self.budget.limit().saturating_sub(self.budget.taken().saturating_sub(self.bytes))
    }

    /// Keeps something instead of what had its name, and forgets for it what was used longest ago; nothing in vain.
    pub fn keep(&mut self, name: Name, item: Item, bytes: u64) {
        self.forget(&name);
        if bytes > self.room() {
            return;
        }
        while !self.budget.take(bytes) {
            let Some((oldest, _)) = self.all.peek_lru() else { return };
            let oldest = oldest.clone();
            self.forget(&oldest);
            if let Name::Trunk(row) = oldest {
                self.forgotten.push(row);
            }
        }
        self.count(&name, |all| all + bytes);
        self.all.put(name, (item, bytes));
    }

    /// Lists the rows that were forgotten for others, once.
    pub fn forgotten(&mut self) -> Vec<Digest> {
        std::mem::take(&mut self.forgotten)
    }

    #[cfg(test)]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn forget(&mut self, name: &Name) {
        if let Some((_, bytes)) = self.all.pop(name) {
            self.budget.give_back(bytes);
            self.count(name, |all| all - bytes);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    fn count(&mut self, name: &Name, change: impl Fn(u64) -> u64) {
        self.bytes = change(self.bytes);
        if let Name::Trunk(_) = name {
            self.shown_bytes = change(self.shown_bytes);
            self.shown.set(self.shown_bytes as f64);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
        self.shown.set(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::TRUNKS;

    #[test]
    fn what_was_used_longest_ago_goes_first_whichever_it_is() {
        let pool = Pool::new(100);
        let mut kept = Kept::new(pool.clone(), TRUNKS.with(&["test"]));
        let (trunk, adapter) = (|row| Name::Trunk([row; 32]), |name: &str| Name::Adapter(name.into()));
        let rows = || Item::Trunk(Rc::new(()));
        let additions = || Item::Adapter("1".into(), Rc::new([]));
        kept.keep(trunk(1), rows(), 40);
        kept.keep(adapter("a"), additions(), 40);
        assert!(kept.find(&trunk(1)).is_some());
        kept.keep(trunk(2), rows(), 40);
        assert!(kept.find(&adapter("a")).is_none() && kept.find(&trunk(1)).is_some());
        assert_eq!((pool.taken(), kept.forgotten()), (80, Vec::new()));
        kept.keep(adapter("b"), additions(), 60);
        assert!(kept.find(&trunk(2)).is_none() && kept.find(&trunk(1)).is_some());
        assert_eq!((pool.taken(), kept.forgotten()), (100, vec![[2; 32]]));
        kept.keep(adapter("c"), additions(), 200);
        assert_eq!((kept.find(&adapter("c")).is_none(), pool.taken()), (true, 100), "nothing is forgotten in vain");
        kept.keep(adapter("b"), additions(), 20);
        assert_eq!(pool.taken(), 60, "it is kept once");
        drop(kept);
        assert_eq!(pool.taken(), 0);
    }
}
