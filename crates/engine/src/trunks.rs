//! What the engine keeps of rows that come again, so that later ones compute only what they change.

use std::any::Any;
use std::num::NonZeroUsize;
use std::rc::Rc;

use ids::TenantId;
use interpreter::raise::Raise;
use lru::LruCache;

use crate::model::{Attention, Trunk};

/// Rows that one tenant has run before. Nothing is shared between tenants: neither values nor the time they save.
pub struct Trunks {
    /// How often each row came: most never come again.
    seen: LruCache<Row, u64>,
    kept: LruCache<Row, Trunk>,
    bytes: u64,
    limit: u64,
}

/// What makes two rows equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub tenant: TenantId,
    pub attention: Attention,
    pub ids: Rc<[i64]>,
}

/// Rows that are remembered without their states.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

impl Trunks {
    /// Makes an empty store that keeps at most so many bytes.
    pub fn new(limit: u64) -> Self {
        Self { seen: LruCache::new(REMEMBERED), kept: LruCache::unbounded(), bytes: 0, limit }
    }

    /// Returns what is kept of each segment's rows, or nothing for a segment of rows that are new. Rows that come again,
    /// in one pass or since earlier ones, are computed by `compute`, all together.
    ///
    /// # Errors
    /// When the model's arithmetic fails.
    pub fn find(
        &mut self,
        segments: &[Vec<Row>],
        compute: impl Fn(&[Vec<i64>], Attention) -> Result<Vec<Trunk>, Raise>,
    ) -> Result<Vec<Vec<Rc<dyn Any>>>, Raise> {
        let mut missing: Vec<Row> = Vec::new();
        let mut forking = Vec::with_capacity(segments.len());
        for rows in segments {
            let again = rows.iter().filter(|row| self.seen(row)).count();
            // A few new rows among many that come again are worth their computation.
            forking.push(2 * again >= rows.len() && again > 0);
        }
        // The first of a pass to have a row was new to the store, but not alone.
        for (rows, forking) in segments.iter().zip(&mut forking) {
            *forking |= rows.len() == 1 && rows.iter().all(|row| self.seen.peek(row).is_some_and(|&times| times > 1));
            if *forking {
                for row in rows.iter().filter(|row| !self.kept.contains(row)) {
                    if !missing.contains(row) {
                        missing.push(row.clone());
                    }
                }
            }
        }
        self.keep(&missing, compute)?;
        let mut trunk = |row: &Row| self.kept.get(row).map(|trunk| Rc::clone(&trunk.states));
        let found = segments.iter().zip(forking).map(|(rows, forking)| {
            let all: Option<Vec<_>> = forking.then(|| rows.iter().map(&mut trunk).collect()).flatten();
            all.unwrap_or_default()
        });
        let found = found.collect();
        self.evict();
        Ok(found)
    }

    /// Notes that a row came, and returns whether it came before.
    fn seen(&mut self, row: &Row) -> bool {
        let times = self.seen.get_or_insert_mut_ref(row, || 0);
        *times += 1;
        *times > 1 || self.kept.contains(row)
    }

    fn keep(
        &mut self,
        missing: &[Row],
        compute: impl Fn(&[Vec<i64>], Attention) -> Result<Vec<Trunk>, Raise>,
    ) -> Result<(), Raise> {
        for attention in [Attention::Sdpa, Attention::Eager] {
            let rows: Vec<&Row> = missing.iter().filter(|row| row.attention == attention).collect();
            let ids: Vec<Vec<i64>> = rows.iter().map(|row| row.ids.to_vec()).collect();
            if ids.is_empty() {
                continue;
            }
            for (row, trunk) in rows.into_iter().zip(compute(&ids, attention)?) {
                self.bytes += trunk.bytes;
                self.kept.put(row.clone(), trunk);
            }
        }
        Ok(())
    }

    /// Forgets the rows that were used longest ago. Passes in progress hold what they need.
    fn evict(&mut self) {
        while self.bytes > self.limit {
            let Some((row, trunk)) = self.kept.pop_lru() else { return };
            self.bytes -= trunk.bytes;
            // Computed again only if it comes more than once again.
            self.seen.pop(&row);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn row(tenant: &str, first: i64) -> Row {
        Row { tenant: TenantId::new(tenant), attention: Attention::Sdpa, ids: Rc::new([first, 2, 3]) }
    }

    /// Finds one row, each of which weighs ten bytes. Returns its first token if it is kept, and whether it was computed.
    fn find(trunks: &mut Trunks, row: Row) -> (Option<i64>, bool) {
        let computed = Cell::new(false);
        let compute = |rows: &[Vec<i64>], _| {
            computed.set(true);
            Ok(rows.iter().map(|ids| Trunk { states: Rc::new(ids[0]), bytes: 10 }).collect())
        };
        let found = trunks.find(&[vec![row]], compute).unwrap();
        (found[0].first().and_then(|states| states.downcast_ref()).copied(), computed.get())
    }

    #[test]
    fn a_row_is_kept_from_the_second_time_on_and_for_its_tenant_alone() {
        let mut trunks = Trunks::new(100);
        assert_eq!(find(&mut trunks, row("a", 1)), (None, false));
        assert_eq!(find(&mut trunks, row("a", 1)), (Some(1), true));
        assert_eq!(find(&mut trunks, row("a", 1)), (Some(1), false));
        assert_eq!(find(&mut trunks, row("b", 1)), (None, false));
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_what_is_only_remembered_pushes_nothing_out() {
        let mut trunks = Trunks::new(20);
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
        assert_eq!((find(&mut trunks, row("a", 1)), trunks.bytes), ((None, false), 20));
        assert_eq!(find(&mut trunks, row("a", 2)), (Some(2), false));
        // A pass has all that it needs, however much that is.
        let mut small = Trunks::new(5);
        find(&mut small, row("a", 1));
        assert_eq!((find(&mut small, row("a", 1)), small.bytes), ((Some(1), true), 0));
    }
}
