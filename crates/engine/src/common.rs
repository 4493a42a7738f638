//! What all jobs of an engine have in common.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::adapters::Adapters;
use crate::kept::Kept;
use crate::location::Order;
use crate::metrics::Series;
use crate::model::Model;
use crate::settings::Settings;
use crate::trunks::Trunks;

/// One model, and what there is beside it once for all jobs.
pub struct Common<M: Model> {
    pub model: Rc<M>,
    pub order: Rc<Order>,
    pub settings: Settings,
    pub trunks: RefCell<Trunks>,
    pub adapters: Adapters,
    pub room: Room,
    pub series: Series,
    groups: Cell<u64>,
}

impl<M: Model> Common<M> {
    /// Puts together what jobs of a model share.
    pub fn new(model: Rc<M>, settings: Settings) -> Self {
        let order = Rc::new(Order::new(model.schema()));
        let room = Room { limit: settings.long_bytes, taken: Rc::default() };
        let series = Series::of(&settings.model);
        let kept = Rc::new(RefCell::new(Kept::new(settings.kept.clone(), series.trunks)));
        let (trunks, adapters) = (RefCell::new(Trunks::new(&kept)), Adapters::new(&kept));
        Self { model, order, settings, trunks, adapters, room, series, groups: Cell::new(0) }
    }

    /// Numbers a group of jobs, as in [`crate::active::Trial::group`].
    pub fn new_group(&self) -> u64 {
        self.groups.update(|groups| groups + 1);
        self.groups.get()
    }
}

/// Memory for passes that give way to others: what they hold meanwhile comes on top of what the others take.
pub struct Room {
    limit: u64,
    taken: Rc<Cell<u64>>,
}

impl Room {
    /// Takes room for a pass, until what is returned is dropped. A pass that is larger than all the room gets it when nobody
    /// else has any.
    pub fn take(&self, bytes: u64) -> Option<Place> {
        // What is estimated as nothing counts as something, so that the room is somebody's.
        let bytes = bytes.clamp(1, self.limit.max(1));
        let taken = self.taken.get() + bytes;
        (taken <= self.limit.max(1)).then(|| {
            self.taken.set(taken);
            Place { taken: Rc::clone(&self.taken), bytes }
        })
    }
}

/// Room that a pass has.
pub struct Place {
    taken: Rc<Cell<u64>>,
    bytes: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.set(self.taken.get() - self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_have_room_together_and_a_huge_one_by_itself() {
        let room = Room { limit: 10, taken: Rc::default() };
        let (first, second) = (room.take(6), room.take(4));
        assert!(first.is_some() && second.is_some() && room.take(0).is_none());
        drop(first);
        assert!(room.take(100).is_none());
        drop(second);
        let huge = room.take(100);
        assert!(huge.is_some() && room.take(0).is_none());
    }
}
