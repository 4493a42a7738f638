//! Connections that have shown no valid key yet. There are only so many: who comes when all places are taken gets that of
//! another, so that nobody with a key waits behind those who have none.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::rates::network;

/// The strangers at one port. Clones share them.
#[derive(Clone)]
pub struct Strangers {
    most: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// By where they come from, oldest first.
    networks: HashMap<IpAddr, Places>,
    /// How many come from where. Among equals, whose oldest came first is last.
    counts: BTreeSet<(usize, Reverse<u64>, IpAddr)>,
    all: usize,
    last: u64,
}

/// When each came, and what ends it.
type Places = BTreeMap<u64, (Instant, CancellationToken)>;

/// A connection's place among the strangers, until it is known or has ended. Clones are the same place.
#[derive(Clone)]
pub struct Stranger(Arc<Place>);

struct Place {
    strangers: Strangers,
    network: IpAddr,
    number: u64,
}

impl Strangers {
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), state: Arc::default() }
    }

    /// Takes a connection in, and returns what is cancelled when another gets its place.
    #[must_use]
    pub fn enter(&self, address: IpAddr) -> (Stranger, CancellationToken) {
        let (network, gone) = (network(address), CancellationToken::new());
        let mut state = self.lock();
        if state.all >= self.most {
            state.make_room(Duration::ZERO);
        }
        state.last += 1;
        let number = state.last;
        state.change(network, |places| drop(places.insert(number, (Instant::now(), gone.clone()))));
        (Stranger(Arc::new(Place { strangers: self.clone(), network, number })), gone)
    }

    /// Ends one of them for who needs its room: of those of whoever has most, the one that has been here for the longest, if
    /// that is so long. Where several have as many, it is the oldest of all of theirs.
    pub fn make_room(&self, time: Duration) {
        self.lock().make_room(time);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn make_room(&mut self, time: Duration) {
        let Some((_, _, network)) = self.counts.last().copied() else { return };
        self.change(network, |places| {
            if let Some(oldest) = places.first_entry().filter(|oldest| oldest.get().0.elapsed() >= time) {
                oldest.remove().1.cancel();
            }
        });
    }

    fn change(&mut self, network: IpAddr, change: impl FnOnce(&mut Places)) {
        let count = |places: &Places| {
            let oldest = places.first_key_value().map(|(number, _)| *number);
            oldest.map(|oldest| (places.len(), Reverse(oldest), network))
        };
        let places = self.networks.entry(network).or_default();
        let before = (places.len(), count(places));
        change(places);
        let after = (places.len(), count(places));
        if let Some(before) = before.1 {
            self.counts.remove(&before);
        }
        match after.1 {
            None => drop(self.networks.remove(&network)),
            Some(after) => drop(self.counts.insert(after)),
        }
        self.all = self.all + after.0 - before.0;
    }
}

impl Stranger {
    /// Says that whoever is there has shown a valid key, or a link that was given to one who has.
    pub fn known(&self) {
        self.0.leave();
    }
}

impl Place {
    fn leave(&self) {
        self.strangers.lock().change(self.network, |places| drop(places.remove(&self.number)));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn who_comes_gets_the_place_of_the_oldest_of_whoever_has_most() {
        let strangers = Strangers::new(4);
        let crowd: Vec<_> = (0..3).map(|_| strangers.enter(address(1))).collect();
        let single = strangers.enter(address(2));
        let gone = |places: &[(Stranger, CancellationToken)]| -> Vec<bool> {
            places.iter().map(|(_, gone)| gone.is_cancelled()).collect()
        };
        assert_eq!(gone(&crowd), [false; 3]);
        let next = strangers.enter(address(3));
        assert_eq!(gone(&crowd), [true, false, false]);
        // Who is known takes no place, and is not ended.
        crowd[1].0.known();
        let last = strangers.enter(address(1));
        assert_eq!(gone(&crowd), [true, false, false]);
        strangers.make_room(Duration::from_secs(3600));
        assert_eq!(gone(&crowd), [true, false, false]);
        strangers.make_room(Duration::ZERO);
        assert_eq!(gone(&crowd), [true, false, true]);
        assert!(!single.1.is_cancelled() && !next.1.is_cancelled() && !last.1.is_cancelled());
        drop((crowd, single, next, last));
        let state = strangers.lock();
        assert!(state.all == 0 && state.networks.is_empty() && state.counts.is_empty());
    }

    #[test]
    fn where_all_have_as_many_the_oldest_goes_whatever_its_address() {
        let strangers = Strangers::new(3);
        let mut here: Vec<_> = [9, 1, 200].into_iter().map(|last| strangers.enter(address(last))).collect();
        for (ended, next) in [100, 250, 2].into_iter().enumerate() {
            here.push(strangers.enter(address(next)));
            let gone: Vec<bool> = here.iter().map(|(_, gone)| gone.is_cancelled()).collect();
            assert!(gone.iter().enumerate().all(|(at, gone)| *gone == (at <= ended)), "{gone:?}");
        }
    }
}
