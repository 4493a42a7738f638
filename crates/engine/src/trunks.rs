//! What the engine keeps of rows that come again, so that later ones compute only what they change.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::rc::Rc;

use ids::TenantId;
use lru::LruCache;

use crate::kept::{Digest, Item, Kept, Name};
use crate::model::{Attention, Trunk};

/// Rows that one tenant has run before. Nothing is shared between tenants: neither values nor the time they save.
pub struct Trunks {
    /// How often each row came: most never come again.
    seen: LruCache<Digest, u64>,
    kept: Rc<RefCell<Kept>>,
}

/// A row that may come again.
#[derive(Clone, Debug)]
pub struct Row {
    pub ids: Rc<[i64]>,
    attention: Attention,
    /// What makes two rows equal, of tenant, attention and token ids: what is only remembered takes the same few bytes however
    /// long it is.
    key: Digest,
}

impl Row {
    /// Describes a tenant's row.
    pub fn new(tenant: &TenantId, attention: Attention, ids: Vec<i64>) -> Self {
        let mut hasher = blake3::Hasher::new();
        let tenant = tenant.as_str();
        hasher.update(&(tenant.len() as u64).to_le_bytes()).update(tenant.as_bytes());
        hasher.update(&[match attention {
            Attention::Sdpa => 0,
            Attention::Eager => 1,
        }]);
        for id in &ids {
            hasher.update(&id.to_le_bytes());
        }
        Self { ids: ids.into(), attention, key: hasher.finalize().into() }
    }
}

/// What segments of a pass are given, once what is missing of it is computed.
pub struct Wanted {
    forking: Vec<bool>,
    missing: Vec<Row>,
}

impl Wanted {
    /// Lists what has to be computed, together by kinds of attention.
    pub fn missing(&self) -> impl Iterator<Item = (Vec<Vec<i64>>, Attention)> {
        let of = |attention| {
            let own = self.missing.iter().filter(move |row| row.attention == attention);
            (own.map(|row| row.ids.to_vec()).collect::<Vec<_>>(), attention)
        };
        [Attention::Sdpa, Attention::Eager].into_iter().map(of).filter(|(rows, _)| !rows.is_empty())
    }
}

/// Rows that are remembered without their states.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

impl Trunks {
    /// Begins with what is kept, and remembers nothing.
    pub fn new(kept: &Rc<RefCell<Kept>>) -> Self {
        Self { seen: LruCache::new(REMEMBERED), kept: Rc::clone(kept) }
    }

    /// Decides which segments of a pass are to start from what is kept of their rows: those with rows that come again, in
    /// this pass or since earlier ones, as far as they all fit into the budget together. `bytes` tells what a row's states
    /// take.
    pub fn want(&mut self, segments: &[Vec<Row>], bytes: impl Fn(&Row) -> u64) -> Wanted {
        for forgotten in self.kept.borrow_mut().forgotten() {
            // Computed again only if it comes more than once again.
            self.seen.pop(&forgotten);
        }
        let mut forking = Vec::with_capacity(segments.len());
        for rows in segments {
            let again = rows.iter().filter(|row| self.seen(row)).count();
            // A few new rows among many that come again are worth their computation.
            forking.push(2 * again >= rows.len() && again > 0);
        }
        let kept = self.kept.borrow();
        let limit = kept.room();
        let mut wanted = Wanted { forking, missing: Vec::new() };
        let mut used: HashMap<Digest, u64> = HashMap::new();
        let mut all = 0_u64;
        for (rows, forking) in segments.iter().zip(&mut wanted.forking) {
            // The first of a pass to have a row was new to the store, but not alone.
            let only =
                rows.len() == 1 && rows.iter().all(|row| self.seen.peek(&row.key).is_some_and(|&times| times > 1));
            if !*forking && !only {
                continue;
            }
            let mut own = HashMap::new();
            for row in rows.iter().filter(|row| !used.contains_key(&row.key)) {
                let size = kept.bytes_of(&Name::Trunk(row.key)).unwrap_or_else(|| bytes(row));
                own.insert(row.key, (size, row));
            }
            let more = own.values().fold(0_u64, |sum, (size, _)| sum.saturating_add(*size));
            *forking = all.saturating_add(more) <= limit;
            if !*forking {
                continue;
            }
            all += more;
            for row in rows {
                if let Some((size, row)) = own.remove(&row.key) {
                    used.insert(row.key, size);
                    if kept.bytes_of(&Name::Trunk(row.key)).is_none() {
                        wanted.missing.push(row.clone());
                    }
                }
            }
        }
        wanted
    }

    /// Returns what is kept of each segment's rows, or nothing for a segment that is computed whole. `computed` is what was
    /// missing, in the order of [`Wanted::missing`]; it need not be complete.
    pub fn find(&mut self, segments: &[Vec<Row>], wanted: &Wanted, computed: Vec<Vec<Trunk>>) -> Vec<Vec<Rc<dyn Any>>> {
        let mut kept = self.kept.borrow_mut();
        let mut new: HashMap<Digest, Trunk> = HashMap::new();
        for ((rows, attention), trunks) in wanted.missing().zip(computed) {
            let own = wanted.missing.iter().filter(|row| row.attention == attention);
            if rows.len() == trunks.len() {
                new.extend(own.map(|row| row.key).zip(trunks));
            }
        }
        let mut states = |row: &Row| match kept.find(&Name::Trunk(row.key)) {
            Some(Item::Trunk(states)) => Some(Rc::clone(states)),
            _ => new.get(&row.key).map(|trunk| Rc::clone(&trunk.states)),
        };
        let found = segments.iter().zip(&wanted.forking).map(|(rows, forking)| {
            let all: Option<Vec<_>> = forking.then(|| rows.iter().map(&mut states).collect()).flatten();
            all.unwrap_or_default()
        });
        let found = found.collect();
        // Passes in progress hold what they need.
        for row in &wanted.missing {
            if let Some(trunk) = new.remove(&row.key) {
                kept.keep(Name::Trunk(row.key), Item::Trunk(trunk.states), trunk.bytes);
            }
        }
        found
    }

    /// Notes that a row came, and returns whether it came before.
    fn seen(&mut self, row: &Row) -> bool {
        let times = self.seen.get_or_insert_mut(row.key, || 0);
        *times += 1;
        *times > 1 || self.kept.borrow().bytes_of(&Name::Trunk(row.key)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use interpreter::Pool;

    use super::*;
    use crate::metrics::TRUNKS;

    fn row(tenant: &str, first: i64) -> Row {
        Row::new(&TenantId::new(tenant), Attention::Sdpa, vec![first, 2, 3])
    }

    fn store(limit: u64) -> Trunks {
        store_of(&Pool::new(limit))
    }

    fn store_of(budget: &Pool) -> Trunks {
        Trunks::new(&Rc::new(RefCell::new(Kept::new(budget.clone(), TRUNKS.with(&["test"])))))
    }

    fn bytes(trunks: &Trunks) -> u64 {
        trunks.kept.borrow().bytes()
    }

    /// Finds rows of one segment, each of which weighs ten bytes. Returns their first tokens if they are kept, and how many
    /// were computed.
    fn find_all(trunks: &mut Trunks, rows: Vec<Row>) -> (Vec<i64>, usize) {
        let segments = [rows];
        let wanted = trunks.want(&segments, |_| 10);
        let trunk = |ids: Vec<i64>| Trunk { states: Rc::new(ids[0]), bytes: 10 };
        let computed: Vec<Vec<Trunk>> =
            wanted.missing().map(|(rows, _)| rows.into_iter().map(trunk).collect()).collect();
        let count = computed.iter().map(Vec::len).sum();
        let found = trunks.find(&segments, &wanted, computed);
        (found[0].iter().map(|states| *states.downcast_ref().unwrap()).collect(), count)
    }

    fn find(trunks: &mut Trunks, row: Row) -> (Option<i64>, bool) {
        let (found, computed) = find_all(trunks, vec![row]);
        (found.first().copied(), computed > 0)
    }

    #[test]
    fn a_row_is_kept_from_the_second_time_on_and_for_its_tenant_alone() {
        let mut trunks = store(100);
        assert_eq!(find(&mut trunks, row("a", 1)), (None, false));
        assert_eq!(find(&mut trunks, row("a", 1)), (Some(1), true));
        assert_eq!(find(&mut trunks, row("a", 1)), (Some(1), false));
        assert_eq!(find(&mut trunks, row("b", 1)), (None, false));
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_what_is_only_remembered_pushes_nothing_out() {
        let mut trunks = store(20);
        for first in [1, 1, 2, 2, 1] {
            find(&mut trunks, row("a", first));
        }
        for first in 100..5000 {
            find(&mut trunks, row("a", first));
        }
        assert_eq!(find(&mut trunks, row("a", 1)), (Some(1), false));
        assert_eq!(find(&mut trunks, row("a", 2)), (Some(2), false));
        for _ in 0..2 {
            find(&mut trunks, row("a", 3));
        }
        assert_eq!((find(&mut trunks, row("a", 1)), bytes(&trunks)), ((None, false), 20));
        assert_eq!(find(&mut trunks, row("a", 2)), (Some(2), false));
    }

    #[test]
    fn nothing_is_computed_that_does_not_fit() {
        let mut small = store(5);
        for _ in 0..3 {
            assert_eq!(find(&mut small, row("a", 1)), (None, false));
        }
        let mut trunks = store(35);
        let batch = |rows: i64| (0..rows).map(|first| row("a", first)).collect();
        for _ in 0..2 {
            assert_eq!(find_all(&mut trunks, batch(4)), (Vec::new(), 0), "four rows never fit together");
        }
        assert_eq!(find_all(&mut trunks, batch(3)), (vec![0, 1, 2], 3));
        assert_eq!(find_all(&mut trunks, batch(3)), (vec![0, 1, 2], 0));
    }

    #[test]
    fn stores_of_one_budget_keep_no_more_than_it_together_and_give_it_back() {
        let budget = Pool::new(30);
        let mut first = store_of(&budget);
        let mut second = store_of(&budget);
        for _ in 0..2 {
            find_all(&mut first, vec![row("a", 1), row("a", 2)]);
            find_all(&mut second, vec![row("a", 1)]);
        }
        assert_eq!((bytes(&first), bytes(&second), budget.taken()), (20, 10, 30));
        for _ in 0..2 {
            find(&mut second, row("a", 2));
        }
        assert_eq!((bytes(&first), bytes(&second), budget.taken()), (20, 10, 30));
        drop(first);
        assert_eq!(budget.taken(), 10);
    }

    #[test]
    fn what_could_not_be_computed_is_not_there_and_no_harm() {
        let mut trunks = store(100);
        let segments = [vec![row("a", 1)], vec![row("a", 1)]];
        let wanted = trunks.want(&segments, |_| 10);
        assert_eq!(wanted.missing().count(), 1);
        let found = trunks.find(&segments, &wanted, vec![Vec::new()]);
        assert!(found.iter().all(Vec::is_empty));
        assert_eq!(bytes(&trunks), 0);
    }
}
