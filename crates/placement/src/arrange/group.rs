//! Where the ranks of a model go that several processes hold: on one node where its devices suffice, over several otherwise,
//! and all of them or none.

use std::cmp::Reverse;
use std::ops::Range;

use super::plan::{At, Number, Plan};
use super::{Move, Urgency};

/// Devices for all ranks of a replica, the leading one's first.
pub(super) struct Site {
    /// A node and one of its devices; `None` is where the node decides.
    spots: Vec<(usize, Option<usize>)>,
    /// Bytes of each.
    need: i128,
    ease: Ease,
    /// What those are worth who leave for it, and who they are.
    victims: f64,
    who: Vec<At>,
    /// What is free on the device with the least.
    free: i128,
}

/// When there is room; the sooner is the less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ease {
    Now,
    /// When those are gone who leave.
    Soon,
    /// When others have left who have to be told.
    Others,
}

impl Plan<'_> {
    pub(super) fn is_group(&self, number: Number) -> bool {
        self.models[number].model.ranks > 1
    }

    /// Loads a replica where there is room for all of its ranks, or claims the room of those who leave, or makes some leave.
    pub(super) fn find_group(&mut self, urgency: Urgency, number: Number) {
        if let Some(site) = self.site(Some(urgency), number) {
            self.settle(site, number);
        }
    }

    /// Loads replicas wherever there is room: on each node that has it, and over several nodes one at most.
    pub(super) fn fill_group(&mut self, number: Number) {
        while self.models[number].held < self.nodes.len() {
            match self.site(None, number) {
                Some(site) if site.spots.len() == 1 || site.is_on_one_node() => self.settle(site, number),
                Some(site) if self.models[number].held == 0 => self.settle(site, number),
                _ => return,
            }
        }
    }

    /// Returns how many devices there are that could hold a rank of a model each, were they empty, over all nodes that hold
    /// ranks, and how many bytes it takes there.
    pub(super) fn ranks_there(&self, number: Number) -> (usize, i128) {
        let of_kind = |gpu: bool| {
            let need = self.part(number, gpu);
            let rooms = (0..self.nodes.len()).filter(|node| self.may_hold(*node)).flat_map(|node| {
                self.nodes[node].rooms_for(&self.models[number], &self.rooms).0.filter(|room| self.is_gpu(*room) == gpu)
            });
            (rooms.filter(|room| self.rooms[*room].all >= need).count(), need)
        };
        of_kind(true).max(of_kind(false))
    }

    /// Chooses where a replica goes. Without urgency nobody leaves for it.
    fn site(&self, urgency: Option<Urgency>, number: Number) -> Option<Site> {
        let (mut best, mut suffices) = (None, false);
        for (node, here) in self.nodes.iter().enumerate().filter(|(_, here)| here.node.is_open()) {
            let (rooms, any) = here.rooms_for(&self.models[number], &self.rooms);
            let windows = any.then(Vec::new).into_iter().chain(self.windows(node, rooms, number));
            for window in windows {
                let need = self.need(number);
                if window.iter().any(|room| self.rooms[*room].all < need) {
                    continue;
                }
                suffices = true;
                if self.may_lead(node, number) {
                    let spots = match window.is_empty() {
                        true => vec![(node, None)],
                        false => window.into_iter().map(|room| (node, Some(room))).collect(),
                    };
                    better(&mut best, self.weigh(urgency, number, spots, need));
                }
            }
        }
        // Where one node could have it, it waits for that.
        if suffices { best } else { self.spread(urgency, number) }
    }

    /// Returns the devices of a node on which all ranks would lie: GPUs that follow one another, or the CPU, whose memory they
    /// share.
    pub(super) fn windows(&self, node: usize, rooms: Range<usize>, number: Number) -> Vec<Vec<usize>> {
        let all = self.nodes[node].rooms.clone();
        let index = |room: usize| self.rooms[room].device.strip_prefix("cuda:").and_then(|at| at.parse::<usize>().ok());
        let from = |first: usize| match index(first) {
            None => Some(vec![first]),
            Some(at) => {
                let ranks = at..at + self.models[number].model.ranks.max(1);
                ranks.map(|at| all.clone().find(|room| index(*room) == Some(at))).collect()
            }
        };
        rooms.filter_map(from).collect()
    }

    /// Chooses devices of several nodes, of one kind: those that have room first, and of them those of nodes with many.
    fn spread(&self, urgency: Option<Urgency>, number: Number) -> Option<Site> {
        for gpu in [true, false] {
            let need = self.part(number, gpu);
            let mut spots = Vec::new();
            for node in (0..self.nodes.len()).filter(|node| self.may_hold(*node)) {
                let here = &self.nodes[node];
                if self.models[number].model.avoid.contains(&here.seat) {
                    continue;
                }
                let rooms = here.rooms_for(&self.models[number], &self.rooms).0;
                let its = rooms.filter(|room| self.is_gpu(*room) == gpu);
                let its = its.filter_map(|room| self.weigh(urgency, number, vec![(node, Some(room))], need));
                let its: Vec<Site> = its.collect();
                let many = its.iter().filter(|site| site.ease < Ease::Others).count();
                spots.extend(its.into_iter().map(|site| (site, many)));
            }
            spots.sort_by(|(left, many), (right, more)| {
                let ease = left.ease.cmp(&right.ease).then(left.victims.total_cmp(&right.victims));
                ease.then(more.cmp(many)).then_with(|| left.spots.cmp(&right.spots))
            });
            spots.truncate(self.models[number].model.ranks);
            let leads = |(site, _): &(Site, usize)| self.may_lead(site.spots[0].0, number);
            if let Some(first) = spots.iter().position(leads).filter(|_| spots.len() == self.models[number].model.ranks)
            {
                spots[..=first].rotate_right(1);
                let spots = spots.into_iter().flat_map(|(site, _)| site.spots).collect();
                return self.weigh(urgency, number, spots, need);
            }
        }
        None
    }

    /// Works out what it costs to have room in all of some devices; `None` where that cannot be.
    fn weigh(
        &self,
        urgency: Option<Urgency>,
        number: Number,
        spots: Vec<(usize, Option<usize>)>,
        need: i128,
    ) -> Option<Site> {
        let mut site = Site { spots, need, ease: Ease::Now, victims: 0.0, who: Vec::new(), free: i128::MAX };
        for (node, room) in &site.spots {
            let Some(room) = *room else { continue };
            let (free, leaving) = (self.rooms[room].free, self.rooms[room].leaving);
            site.free = site.free.min(free);
            if free >= need {
                continue;
            }
            if leaving > 0 && free + leaving >= need {
                site.ease = site.ease.max(Ease::Soon);
                continue;
            }
            let (victims, who) = self.victims(urgency?, number, (*node, room), need)?;
            site.ease = Ease::Others;
            site.victims += victims;
            // A group may be in the way in two places.
            site.who.extend(who);
        }
        (urgency.is_some() || site.ease == Ease::Now).then_some(site)
    }

    fn settle(&mut self, site: Site, number: Number) {
        let Some(&(node, room)) = site.spots.first() else { return };
        let device = |room: usize| self.rooms[room].device.to_owned();
        if site.ease == Ease::Now {
            let beside =
                site.spots.iter().skip(1).filter_map(|(node, room)| Some((self.nodes[*node].seat, device((*room)?))));
            let load = Move::Load {
                model: self.models[number].key.clone(),
                seat: self.nodes[node].seat,
                device: room.map(device),
                keep: false,
                beside: beside.collect(),
                bytes: u64::try_from(site.need).unwrap_or(0),
            };
            self.moves.push(load);
            self.models[number].coming.push(node);
        }
        site.who.into_iter().for_each(|at| self.leave(at));
        for room in site.spots.iter().filter_map(|(_, room)| *room) {
            self.rooms[room].free -= site.need;
        }
        self.models[number].held += 1;
        self.there.set(number, node);
    }

    /// Returns how many bytes a rank takes where each has a device of its own. What is known of a model is what it takes on
    /// one node: all of it on a CPU, and a rank's part on a GPU.
    fn part(&self, number: Number, gpu: bool) -> i128 {
        let (need, ranks) = (self.need(number), self.models[number].model.ranks.max(1));
        if gpu { need } else { (need + ranks as i128 - 1) / ranks as i128 }
    }

    fn is_gpu(&self, room: usize) -> bool {
        self.rooms[room].device.starts_with("cuda")
    }

    fn may_hold(&self, node: usize) -> bool {
        let here = self.nodes[node].node;
        here.holds_ranks && here.is_open() && !here.away
    }

    fn may_lead(&self, node: usize, number: Number) -> bool {
        let here = &self.nodes[node];
        !self.there.get(number, node) && !here.node.away && !self.models[number].model.avoid.contains(&here.seat)
    }
}

impl Site {
    fn is_on_one_node(&self) -> bool {
        self.spots.iter().all(|(node, _)| *node == self.spots[0].0)
    }
}

fn better(best: &mut Option<Site>, other: Option<Site>) {
    let Some(other) = other else { return };
    let is_better = best.as_ref().is_none_or(|best| {
        let ease = other.ease.cmp(&best.ease).then(other.victims.total_cmp(&best.victims));
        ease.then(Reverse(other.free).cmp(&Reverse(best.free))).is_lt()
    });
    if is_better {
        *best = Some(other);
    }
}
