//! What the engine keeps of rows that come again, so that later ones compute only what they change.

use std::any::Any;
use std::collections::HashMap;
use std::rc::Rc;

use ids::TenantId;
use interpreter::raise::Raise;

use crate::model::{Attention, Model};

/// Rows that one tenant has run before. Nothing is shared between tenants: neither values nor the time they save.
pub struct Trunks {
    rows: HashMap<Row, Kept>,
    bytes: u64,
    limit: u64,
    clock: u64,
}

/// What makes two rows equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub tenant: TenantId,
    pub attention: Attention,
    pub ids: Rc<[i64]>,
}

struct Kept {
    used: u64,
    /// How often the row came.
    seen: u64,
    /// `None` for a row that was seen once: most never come again.
    trunk: Option<(Rc<dyn Any>, u64)>,
}

/// Rows that are remembered without their states.
const REMEMBERED: usize = 4096;

impl Trunks {
    /// Makes an empty store that keeps at most so many bytes.
    pub fn new(limit: u64) -> Self {
        Self { rows: HashMap::new(), bytes: 0, limit, clock: 0 }
    }

    /// Returns what is kept of each segment's rows, or nothing for a segment of rows that are new. Rows that come again,
    /// in one pass or since earlier ones, are computed here, all together.
    ///
    /// # Errors
    /// When the model's arithmetic fails.
    pub fn find<M: Model>(&mut self, model: &M, segments: &[Vec<Row>]) -> Result<Vec<Vec<Rc<dyn Any>>>, Raise> {
        self.clock += 1;
        let mut missing: Vec<Row> = Vec::new();
        let mut forking = Vec::with_capacity(segments.len());
        for rows in segments {
            let again = rows.iter().filter(|row| self.seen(row)).count();
            // A few new rows among many that come again are worth their computation.
            forking.push(2 * again >= rows.len() && again > 0);
        }
        // The first of a pass to have a row was new to the store, but not alone.
        for (rows, forking) in segments.iter().zip(&mut forking) {
            *forking |= rows.len() == 1 && rows.iter().all(|row| self.rows.get(row).is_some_and(|kept| kept.seen > 1));
            if *forking {
                let lacking = rows.iter().filter(|row| self.rows.get(row).is_none_or(|kept| kept.trunk.is_none()));
                for row in lacking {
                    if !missing.contains(row) {
                        missing.push(row.clone());
                    }
                }
            }
        }
        self.compute(model, &missing)?;
        let trunk = |row: &Row| self.rows.get(row)?.trunk.as_ref().map(|(trunk, _)| Rc::clone(trunk));
        let found = segments.iter().zip(forking).map(|(rows, forking)| {
            let all: Option<Vec<_>> = forking.then(|| rows.iter().map(trunk).collect()).flatten();
            all.unwrap_or_default()
        });
        let found = found.collect();
        self.evict();
        Ok(found)
    }

    /// Notes that a row came, and returns whether it came before.
    fn seen(&mut self, row: &Row) -> bool {
        let (clock, new) = (self.clock, Kept { used: 0, seen: 0, trunk: None });
        let kept = self.rows.entry(row.clone()).or_insert(new);
        kept.used = clock;
        kept.seen += 1;
        kept.seen > 1
    }

    fn compute<M: Model>(&mut self, model: &M, missing: &[Row]) -> Result<(), Raise> {
        for attention in [Attention::Sdpa, Attention::Eager] {
            let rows: Vec<&Row> = missing.iter().filter(|row| row.attention == attention).collect();
            let ids: Vec<Vec<i64>> = rows.iter().map(|row| row.ids.to_vec()).collect();
            if ids.is_empty() {
                continue;
            }
            for (row, trunk) in rows.into_iter().zip(model.trunks(&ids, attention)?) {
                if let Some(kept) = self.rows.get_mut(row) {
                    self.bytes += trunk.bytes;
                    kept.trunk = Some((trunk.states, trunk.bytes));
                }
            }
        }
        Ok(())
    }

    /// Forgets the rows that were used longest ago. Passes in progress hold what they need.
    fn evict(&mut self) {
        while self.bytes > self.limit || self.rows.len() > REMEMBERED {
            let heavy = self.bytes > self.limit;
            let candidates = self.rows.iter().filter(|(_, kept)| !heavy || kept.trunk.is_some());
            let Some(row) = candidates.min_by_key(|(_, kept)| kept.used).map(|(row, _)| row.clone()) else { return };
            if let Some(Kept { trunk: Some((_, bytes)), .. }) = self.rows.remove(&row) {
                self.bytes -= bytes;
            }
        }
    }
}
