//! Where a model goes that is wanted, and who leaves for it.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::plan::{At, Number, Plan, Resident, Room};
use super::{Move, Urgency};
use crate::cluster::Stage;

/// Where a model can be put: a node, and one of its devices; `None` is where the node decides.
type Place = (usize, Option<usize>);

/// How good a place is: whether the model is not warm there, and what is free. The least is the best.
type Rank = (bool, Reverse<i128>, Place);

/// What it costs to make room in a place.
#[derive(Clone, Copy, PartialEq)]
struct Cost {
    /// What those are worth who leave, and what it is to load there.
    victims: f64,
    loading: f64,
    rank: Rank,
}

impl Plan<'_> {
    /// Loads so many replicas of a model where there is room, or claims the room of those who leave, or makes some leave. Where
    /// its weights are kept in memory is better than where they are not.
    pub(super) fn find_room(&mut self, urgency: Urgency, number: Number, count: usize) {
        if self.is_group(number) {
            return (0..count).for_each(|_| self.find_group(urgency, number));
        }
        let mut costs: Option<BinaryHeap<Reverse<Cost>>> = None;
        for _ in 0..count {
            if costs.is_none() {
                let (now, soon) = self.best(number);
                if let Some((.., place)) = now {
                    self.load(place, number);
                    continue;
                }
                if let Some((.., place)) = soon {
                    self.claim(place, number);
                    continue;
                }
            }
            // Whatever leaves for this model leaves each other place as it was, or dearer.
            let costs = costs.get_or_insert_with(|| self.costs(urgency, number));
            let Some((place, who)) = self.cheapest(costs, urgency, number) else { return };
            who.into_iter().for_each(|at| self.leave(at));
            self.claim(place, number);
        }
    }

    /// Returns the best place that has room for a model, and the best that will have when those are gone who leave.
    fn best(&self, number: Number) -> (Option<Rank>, Option<Rank>) {
        let need = self.need(number);
        let (mut now, mut soon): (Option<Rank>, Option<Rank>) = (None, None);
        self.each_place(number, |place| {
            let (free, leaving) =
                place.1.map_or((i128::MAX, 0), |room| (self.rooms[room].free, self.rooms[room].leaving));
            let best = if free >= need {
                &mut now
            } else if leaving > 0 && free + leaving >= need {
                &mut soon
            } else {
                return;
            };
            let rank = (!self.warm.get(number, place.0), Reverse(free), place);
            if best.is_none_or(|before| rank < before) {
                *best = Some(rank);
            }
        });
        (now, soon)
    }

    /// Works out for each place what it costs to make room there, where that can be done.
    fn costs(&self, urgency: Urgency, number: Number) -> BinaryHeap<Reverse<Cost>> {
        let (mut costs, need) = (Vec::new(), self.models[number].model.bytes.map(i128::from));
        self.each_place(number, |place| {
            let Some(room) = place.1 else { return };
            let Some(need) = need else { return };
            if let Some((victims, _)) = self.victims(urgency, number, (place.0, room), need) {
                let rank = (!self.warm.get(number, place.0), Reverse(self.rooms[room].free), place);
                // What waits for it waits for as long as it takes to load there.
                costs.push(Reverse(Cost { victims, loading: self.value(place.0, number), rank }));
            }
        });
        costs.into()
    }

    /// Takes the place where room costs least, and returns it with those who leave.
    fn cheapest(
        &self,
        costs: &mut BinaryHeap<Reverse<Cost>>,
        urgency: Urgency,
        number: Number,
    ) -> Option<(Place, Vec<At>)> {
        loop {
            let Reverse(cost) = costs.pop()?;
            let (node, room) = cost.rank.2;
            if self.there.get(number, node) {
                continue;
            }
            match self.victims(urgency, number, (node, room?), self.need(number)) {
                Some((victims, who)) if victims == cost.victims => return Some(((node, room), who)),
                Some((victims, _)) => costs.push(Reverse(Cost { victims, ..cost })),
                None => {}
            }
        }
    }

    /// Chooses who leaves a device for so many bytes of a model: those of least value that make enough room. Returns what they
    /// are worth.
    pub(super) fn victims(
        &self,
        urgency: Urgency,
        number: Number,
        (node, room): (usize, usize),
        need: i128,
    ) -> Option<(f64, Vec<At>)> {
        let Room { free, leaving, loose, .. } = self.rooms[room];
        let had = free + leaving;
        let may_leave = match urgency {
            Urgency::Booked(_) => loose.all,
            Urgency::Waited(_) => loose.rested,
            Urgency::BelowMin | Urgency::Backlog(_) => loose.idle,
        };
        if had + may_leave < need {
            return None;
        }
        let mut able: Vec<(bool, f64, At)> = Vec::new();
        let mut most = had;
        let here = &self.nodes[node];
        let own =
            (0..here.residents.len()).map(|place| (node, place)).filter(|at| self.resident(*at).room == Some(room));
        // Of a group, all ranks leave with the one that is in the way.
        let parts = here.parts.iter().filter(|(_, there)| *there == room).map(|(at, _)| *at);
        for at in own.chain(parts) {
            let resident = self.resident(at);
            let Some(other) = resident.model.filter(|other| *other != number) else { continue };
            if self.may_leave(urgency, other, resident) {
                most += i128::from(resident.replica.bytes);
                able.push((resident.replica.jobs > 0, self.value(at.0, other), at));
            }
        }
        if most < need {
            return None;
        }
        // Nobody is interrupted where somebody idle does.
        able.sort_by(|left, right| left.0.cmp(&right.0).then(left.1.total_cmp(&right.1)).then(left.2.cmp(&right.2)));
        let (mut room, mut value, mut chosen) = (had, 0.0, Vec::new());
        for (busy, worth, at) in able {
            if room >= need {
                break;
            }
            let bytes = i128::from(self.replica(at).bytes);
            room += bytes;
            // Jobs that run are waited for: another node without them is better.
            value += worth + if busy { 1e12 } else { 0.0 };
            chosen.push((at, bytes));
        }
        // Who was taken before a larger one made it needless stays.
        chosen.retain(|(_, bytes)| {
            let needless = room - bytes >= need;
            if needless {
                room -= bytes;
            }
            !needless
        });
        let worth_it = !matches!(urgency, Urgency::Backlog(_)) || value * 2.0 < self.value(node, number);
        worth_it.then(|| (value, chosen.into_iter().map(|(at, _)| at).collect()))
    }

    /// Says whether a replica may leave for the sake of another model.
    fn may_leave(&self, urgency: Urgency, number: Number, resident: &Resident<'_>) -> bool {
        let (hosted, replica) = (&self.models[number], resident.replica);
        if replica.stage != Stage::Ready || hosted.model.pinned || resident.going || hosted.ready <= hosted.wanted.min {
            return false;
        }
        match urgency {
            // It was told in time to end what it does.
            Urgency::Booked(_) => true,
            // With jobs only for somebody who has waited for as long as it had to stay.
            Urgency::Waited(since) => {
                resident.is_rested() && (replica.jobs == 0 || self.now.saturating_sub(since) >= resident.residence)
            }
            Urgency::BelowMin | Urgency::Backlog(_) => resident.is_rested() && replica.jobs == 0,
        }
    }

    /// Loads models that take any room wherever there is some: first where they are warm, and those on the fewest nodes first.
    pub(super) fn fill(&mut self) {
        for warm in [true, false] {
            let open = |number: &Number| {
                let hosted = &self.models[*number];
                hosted.wanted.max.is_none() && hosted.held < self.nodes.len()
            };
            let mut models: Vec<Number> = (0..self.models.len()).filter(open).collect();
            models.sort_by_key(|number| (self.models[*number].held, *number));
            // Where there is little room left, few models have to be looked at.
            let mut most = self.most_free();
            for number in models {
                if self.is_group(number) {
                    self.fill_group(number);
                    most = self.most_free();
                    continue;
                }
                let need = self.need(number);
                if need > most {
                    continue;
                }
                let loads = self.moves.len();
                for node in 0..self.nodes.len() {
                    if warm && !self.warm.get(number, node) {
                        continue;
                    }
                    if let Some(place) = self.roomiest(number, node).filter(|place| self.free(*place) >= need) {
                        self.load(place, number);
                    }
                }
                if self.moves.len() > loads {
                    most = self.most_free();
                }
            }
        }
    }

    /// Returns how many bytes there are in the place with the most room.
    fn most_free(&self) -> i128 {
        if self.nodes.iter().any(|here| here.rooms.is_empty()) {
            return i128::MAX;
        }
        self.rooms.iter().map(|room| room.free).max().unwrap_or(0)
    }

    /// Returns the place on a node that has the most room, of those that may have one more replica of a model.
    fn roomiest(&self, number: Number, node: usize) -> Option<Place> {
        let mut best: Option<Place> = None;
        self.each_place_on(number, node, |place| {
            if best.is_none_or(|before| self.free(place) > self.free(before)) {
                best = Some(place);
            }
        });
        best
    }

    fn free(&self, (_, room): Place) -> i128 {
        room.map_or(i128::MAX, |room| self.rooms[room].free)
    }

    /// Shows every place that may have one more replica of a model.
    fn each_place(&self, number: Number, mut show: impl FnMut(Place)) {
        (0..self.nodes.len()).for_each(|node| self.each_place_on(number, node, &mut show));
    }

    fn each_place_on(&self, number: Number, node: usize, mut show: impl FnMut(Place)) {
        let (here, hosted) = (&self.nodes[node], &self.models[number]);
        if self.there.get(number, node)
            || !here.node.is_open()
            || here.node.away
            || hosted.model.avoid.contains(&here.seat)
        {
            return;
        }
        let (rooms, any) = here.rooms_for(hosted, &self.rooms);
        if any {
            show((node, None));
        }
        rooms.for_each(|room| show((node, Some(room))));
    }

    /// Returns how many bytes a model needs, as far as anybody knows.
    pub(super) fn need(&self, number: Number) -> i128 {
        i128::from(self.models[number].model.bytes.unwrap_or(0))
    }

    fn load(&mut self, place: Place, number: Number) {
        let (node, room) = place;
        let keep = self.keep(place, number);
        let hosted = &mut self.models[number];
        hosted.coming.push(node);
        self.moves.push(Move::Load {
            model: hosted.key.clone(),
            seat: self.nodes[node].seat,
            device: room.map(|room| self.rooms[room].device.to_owned()),
            keep,
            beside: Vec::new(),
            bytes: self.models[number].model.bytes.unwrap_or(0),
        });
        self.claim(place, number);
    }

    fn claim(&mut self, (node, room): Place, number: Number) {
        let need = self.need(number);
        if let Some(room) = room {
            self.rooms[room].free -= need;
        }
        self.models[number].held += 1;
        self.there.set(number, node);
    }
}

impl Eq for Cost {}

impl PartialOrd for Cost {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Cost {
    fn cmp(&self, other: &Self) -> Ordering {
        let all = |cost: &Self| cost.victims + cost.loading;
        all(self).total_cmp(&all(other)).then_with(|| self.rank.cmp(&other.rank))
    }
}
