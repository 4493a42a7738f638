//! Times for which models are booked, and whether what is booked can be had.
//!
//! In its window a model is loaded from before the beginning on, and stays. What can be promised does not depend on who was
//! placed where: for each of those that overlap, so many nodes are left that all others together, however they lie, cannot
//! fill. What is loaded ahead of a window takes room from then on, so that one cannot begin where another ends in its place. That refuses some bookings that a lucky arrangement would have had room for, and none that it takes is in vain while
//! the nodes are there that were there when it was booked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ids::{ModelKey, TenantId};

use crate::cluster::{Cluster, Model, Node, Replicas, device_name};

/// A time for which a model is booked. Instants are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    pub from: u64,
    pub to: u64,
    /// Whether it comes again every 24 hours, until it is taken back.
    pub daily: bool,
    /// Replicas that are kept in it, at least 1.
    pub replicas: usize,
    /// Whose jobs alone run in it; `None` is everybody's.
    pub tenant: Option<TenantId>,
}

/// Milliseconds of a day.
pub const DAY: u64 = 24 * 3600 * 1000;

/// Windows that can be booked at a time, of all models together: each new one is looked at beside all of them.
pub const MOST: usize = 256;

/// The longest time for which a model can be booked at once, and how far ahead.
pub const LONGEST: u64 = 31 * DAY;
pub const AHEAD: u64 = 400 * DAY;

/// Whoever has the room of a booked model has so long to end what it does, beside the time that loading takes.
pub const CLEARING: Duration = Duration::from_secs(30);

impl Window {
    /// Says what no window can be.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn check(&self, now: u64) -> Result<(), String> {
        let length = self.to.saturating_sub(self.from);
        if length == 0 {
            return Err("a window must end after it begins".into());
        }
        if self.daily && length > DAY {
            return Err("a daily window cannot be longer than 24 hours; leave --daily out for one that is".into());
        }
        if length > LONGEST {
            return Err(format!("a window cannot be longer than {} days", LONGEST / DAY));
        }
        if self.from > now.saturating_add(AHEAD) {
            return Err(format!("a window cannot begin more than {} days ahead", AHEAD / DAY));
        }
        if self.next(now).is_none() {
            return Err("the window is over already".into());
        }
        if self.replicas == 0 {
            return Err("a window must have at least 1 replica".into());
        }
        Ok(())
    }

    /// Returns from when to when it is open that ends next; `None` when it is over.
    #[must_use]
    pub fn next(&self, now: u64) -> Option<(u64, u64)> {
        let (from, to) = (self.from, self.to);
        if !self.daily || now < from {
            return (now < to).then_some((from, to));
        }
        let passed = (now - from) / DAY * DAY;
        let later = if now < to.saturating_add(passed) { passed } else { passed + DAY };
        Some((from.saturating_add(later), to.saturating_add(later)))
    }

    fn is_open(&self, at: u64) -> bool {
        self.next(at).is_some_and(|(from, _)| from <= at)
    }
}

impl Model {
    /// Returns how long before a window a model begins to be loaded for it.
    #[must_use]
    pub fn lead(&self) -> u64 {
        millis(self.load_time + CLEARING)
    }

    /// Returns how many replicas it has at a time, and since or from when it is booked, where it is.
    pub(crate) fn wanted(&self, at: u64) -> (Replicas, Option<u64>) {
        let near = |window: &&Window| window.next(at).is_some_and(|(from, _)| from <= at.saturating_add(self.lead()));
        let mut open = self.windows.iter().filter(near).peekable();
        if open.peek().is_none() {
            let none = Replicas { min: 0, max: Some(0) };
            return (if self.windows_only { none } else { self.replicas }, None);
        }
        let (mut booked, mut from) = (0, u64::MAX);
        for window in open {
            booked = booked.max(window.replicas.max(1));
            from = from.min(window.next(at).map_or(u64::MAX, |(from, _)| from));
        }
        let Replicas { min, max } = self.replicas;
        (Replicas { min: min.max(booked), max: max.map(|max| max.max(booked)) }, Some(from))
    }

    /// Returns whose jobs alone run at a time, and until when. Of a model that is there for its windows only, that holds from
    /// when it is loaded for one.
    #[must_use]
    pub fn reserved(&self, at: u64) -> Option<(&TenantId, u64)> {
        let early = if self.windows_only { self.lead() } else { 0 };
        let near = self.windows.iter().filter_map(|window| {
            let (from, to) = window.next(at)?;
            (from <= at.saturating_add(early)).then_some((from, to, &window.tenant))
        });
        // One that is open comes before one that is near.
        let (_, to, tenant) = near.min_by_key(|(from, to, _)| (*from, *to))?;
        tenant.as_ref().map(|tenant| (tenant, to))
    }

    /// Returns the time in which a window's replicas take room: they are loaded ahead.
    fn takes(&self, window: &Window) -> Window {
        let from = window.from.saturating_sub(self.lead());
        let from = if window.daily { from.max(window.to.saturating_sub(DAY)) } else { from };
        Window { from, ..window.clone() }
    }

    /// Returns when the next window begins that is not open yet.
    pub(crate) fn opens(&self, at: u64) -> Option<u64> {
        let begins = |window: &Window| window.next(at).map(|(from, _)| from).filter(|from| *from > at);
        self.windows.iter().filter_map(begins).min()
    }
}

/// Why something cannot be booked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clash {
    /// As many are booked as can be, [`MOST`].
    Many,
    /// The same model is booked for others at that time.
    Tenants { other: Window },
    /// Both cannot be had at that time.
    Room { other: (ModelKey, Window), at: u64 },
    /// It cannot be had whatever else is booked: there are too few nodes with so many bytes that are not for models which are
    /// always there.
    Never { bytes: u64, at: u64 },
}

/// Says whether a model can be booked beside what is booked in a cluster already.
///
/// # Errors
/// [`Clash`] with what stands against it.
pub fn book(cluster: &Cluster, key: &ModelKey, new: &Window) -> Result<(), Clash> {
    let all = cluster.models.values().flat_map(|model| &model.windows);
    if all.filter(|window| window.next(cluster.time).is_some()).count() >= MOST {
        return Err(Clash::Many);
    }
    let model = cluster.models.get(key);
    for at in starts(cluster, new, |_, window| window.clone()) {
        let others = model.into_iter().flat_map(|model| &model.windows).filter(|other| other.is_open(at));
        if let Some(other) = others.into_iter().find(|other| other.tenant != new.tenant) {
            return Err(Clash::Tenants { other: other.clone() });
        }
    }
    if cluster.nodes.is_empty() {
        // Whether there is room nobody can say.
        return Ok(());
    }
    let room = Room::of(cluster);
    let mut seen: BTreeSet<Vec<(&ModelKey, usize)>> = BTreeSet::new();
    let taken = model.map_or_else(|| new.clone(), |model| model.takes(new));
    for at in starts(cluster, &taken, Model::takes) {
        let mut open: Vec<(&ModelKey, usize)> = Vec::new();
        for (other, model) in &cluster.models {
            let windows = model.windows.iter().enumerate().filter(|(_, window)| model.takes(window).is_open(at));
            open.extend(windows.map(|(index, _)| (other, index)));
        }
        if !seen.insert(open.clone()) {
            continue;
        }
        let can = |beside: &dyn Fn(&(&ModelKey, usize)) -> bool| {
            let mut wanted: BTreeMap<&ModelKey, usize> = BTreeMap::new();
            for (key, model) in cluster.models.iter().filter(|(_, model)| !model.windows_only) {
                wanted.insert(key, model.replicas.min);
            }
            for (other, index) in open.iter().filter(|it| beside(it)) {
                let booked = cluster.models.get(*other).and_then(|model| model.windows.get(*index));
                let replicas = wanted.entry(other).or_default();
                *replicas = (*replicas).max(booked.map_or(0, |window| window.replicas));
            }
            let own = wanted.entry(key).or_default();
            *own = (*own).max(new.replicas);
            room.has(&wanted, key)
        };
        if can(&|_| true) {
            continue;
        }
        // The first without whom both could be had; else the first, where it is not that it could never be had.
        let mut others = open.iter().filter(|it| it.0 != key);
        let other = others.clone().find(|other| can(&|it| it != *other));
        let other = other.or_else(|| others.next().filter(|_| can(&|_| false)));
        let named = other.and_then(|(other, index)| {
            let window = cluster.models.get(*other)?.windows.get(*index)?;
            Some(((*other).clone(), window.clone()))
        });
        return Err(match named {
            Some(other) => Clash::Room { other, at },
            None => Clash::Never { bytes: model.and_then(|model| model.bytes).unwrap_or(0), at },
        });
    }
    Ok(())
}

/// Returns the instants at which something begins while a window is open. What is open together was so at one of them. Of days
/// that are all the same the first stands for the others: nothing comes in them, or ends, that does not do so daily.
fn starts(cluster: &Cluster, new: &Window, time: impl Fn(&Model, &Window) -> Window) -> Vec<u64> {
    let all = cluster.models.values().flat_map(|model| model.windows.iter().map(|window| time(model, window)));
    let all: Vec<Window> = all.chain([new.clone()]).collect();
    let changes = |window: &Window| [Some(window.from), (!window.daily).then_some(window.to)];
    let changes: BTreeSet<u64> = all.iter().flat_map(changes).flatten().chain([cluster.time]).collect();
    let mut instants = BTreeSet::new();
    for change in changes.into_iter().filter(|change| *change >= cluster.time) {
        for window in &all {
            let mut at = change;
            while let Some((from, to)) = window.next(at).filter(|(from, _)| *from < change.saturating_add(DAY)) {
                if new.is_open(from.max(change)) {
                    instants.insert(from.max(change));
                }
                at = to;
            }
        }
    }
    instants.into_iter().collect()
}

/// The room that the nodes of a cluster have.
struct Room<'a> {
    cluster: &'a Cluster,
    /// For each model how many bytes of others it takes that a node that can have it has no room for it, the least first.
    costs: BTreeMap<&'a ModelKey, Vec<u128>>,
}

impl<'a> Room<'a> {
    fn of(cluster: &'a Cluster) -> Self {
        let costs = |(key, model): (&'a ModelKey, &Model)| {
            let open = cluster.nodes.values().filter(|node| !node.draining);
            let need = model.bytes.unwrap_or(0);
            let mut costs: Vec<u128> = open.filter_map(|node| cost_to_fill(node, model, need)).collect();
            costs.sort_unstable();
            (key, costs)
        };
        Self { cluster, costs: cluster.models.iter().map(costs).collect() }
    }

    /// Says whether all have so many replicas at once, wherever the others are: of those that a model asks something of.
    fn has(&self, wanted: &BTreeMap<&ModelKey, usize>, new: &ModelKey) -> bool {
        let bytes = |key: &ModelKey| self.cluster.models.get(key).and_then(|model| model.bytes).unwrap_or(0);
        let all: u128 = wanted.iter().map(|(key, replicas)| u128::from(bytes(key)) * *replicas as u128).sum();
        wanted.iter().filter(|(_, replicas)| **replicas > 0).all(|(key, replicas)| {
            let Some(costs) = self.costs.get(*key) else { return true };
            // What others lack without it is not its fault.
            let take = |key: &ModelKey| u128::from(bytes(key)) * wanted.get(key).copied().unwrap_or(0) as u128;
            let others = all - take(key);
            let had = |others| nodes_left(costs, others) >= *replicas;
            had(others) || (*key != new && !had(others - take(new)))
        })
    }
}

/// Returns how many nodes can have a model for certain where others have so many bytes.
fn nodes_left(costs: &[u128], others: u128) -> usize {
    let mut left = others;
    let filled = costs.iter().take_while(|cost| left.checked_sub(**cost).map(|rest| left = rest).is_some()).count();
    costs.len() - filled
}

/// Returns how many bytes of others it takes that a node has no room for a model; `None` where it has none anyway.
fn cost_to_fill(node: &Node, model: &Model, need: u64) -> Option<u128> {
    if node.devices.is_empty() {
        return Some(u128::MAX);
    }
    let gpu = |name: &str| name.starts_with("cuda");
    let any_gpu = node.devices.keys().any(|name| gpu(name));
    let may = |name: &str| match model.device.as_deref() {
        Some(asked) => device_name(asked) == name,
        None => !any_gpu || gpu(name),
    };
    let fitting = node.devices.iter().filter(|(name, bytes)| may(name) && **bytes >= need);
    let costs: Vec<u128> = fitting.map(|(_, bytes)| u128::from(bytes - need) + 1).collect();
    (!costs.is_empty()).then(|| costs.iter().sum())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = DAY / 24;

    fn key(name: &str) -> ModelKey {
        ModelKey::new(name, None)
    }

    fn window(from: u64, to: u64) -> Window {
        Window { from, to, daily: false, replicas: 1, tenant: None }
    }

    fn cluster(nodes: &[u64], models: &[(&str, u64, &[Window])]) -> Cluster {
        let node = |bytes: &u64| Node { devices: [("cuda:0".to_owned(), *bytes)].into(), ..Node::default() };
        let model = |(name, bytes, windows): &(&str, u64, &[Window])| {
            (key(name), Model { bytes: Some(*bytes), windows: windows.to_vec(), ..Model::default() })
        };
        Cluster {
            nodes: (1..).zip(nodes.iter().map(node)).collect(),
            models: models.iter().map(model).collect(),
            time: 0,
        }
    }

    #[test]
    fn a_daily_window_is_open_at_the_same_time_of_each_day_over_midnight_too() {
        let night = Window { daily: true, ..window(22 * HOUR, 30 * HOUR) };
        assert_eq!(night.next(0), Some((22 * HOUR, 30 * HOUR)));
        assert_eq!(night.next(29 * HOUR), Some((22 * HOUR, 30 * HOUR)));
        assert_eq!(night.next(30 * HOUR), Some((46 * HOUR, 54 * HOUR)));
        let open: Vec<u64> = (0..72).filter(|hour| night.is_open(hour * HOUR)).collect();
        assert_eq!(open, (22..30).chain(46..54).chain(70..72).collect::<Vec<_>>());
        let once = window(5, 6);
        assert_eq!((once.next(5), once.next(6)), (Some((5, 6)), None));
        for (wrong, word) in [
            (window(6, 6), "end after"),
            (window(7, 6), "end after"),
            (Window { daily: true, ..window(1, DAY + 2) }, "24 hours"),
            (window(0, LONGEST + 1), "31 days"),
            (window(AHEAD + 2, AHEAD + 3), "400 days"),
            (window(0, 1), "over"),
            (Window { replicas: 0, ..window(1, 9) }, "1 replica"),
        ] {
            assert!(wrong.check(1).is_err_and(|why| why.contains(word)), "{wrong:?}");
        }
    }

    #[test]
    fn days_that_are_all_the_same_are_looked_at_once_and_no_more_windows_are_booked_than_can_be_looked_at() {
        let daily = |from: u64| Window { daily: true, ..window(from, from + HOUR) };
        let far = window(399 * DAY, 400 * DAY);
        let windows: Vec<Window> = (0..24).map(|hour| daily(hour * HOUR)).collect();
        let one = cluster(&[10], &[("o/a", 4, &windows), ("o/b", 4, &[far])]);
        let new = Window { replicas: 1, ..window(DAY, 32 * DAY) };
        // Each hour of the first day, of that in which it begins, and of that after its end.
        let instants = starts(&one, &new, |_, window| window.clone());
        assert_eq!(instants, (24..48).map(|hour| hour * HOUR).collect::<Vec<_>>());
        assert_eq!(starts(&one, &daily(0), |_, window| window.clone()).len(), 4, "and when another day begins");
        let many = |count: u64| vec![window(5, 6); count as usize];
        let full = |count: u64| cluster(&[10], &[("o/a", 1, &many(count)), ("o/b", 1, &[])]);
        assert_eq!(book(&full(MOST as u64 - 1), &key("o/b"), &window(5, 6)), Ok(()));
        assert_eq!(book(&full(MOST as u64), &key("o/b"), &window(5, 6)), Err(Clash::Many));
        let over = Cluster { time: 6, ..full(MOST as u64) };
        assert_eq!(book(&over, &key("o/b"), &window(7, 8)), Ok(()), "what is over takes no place");
    }

    #[test]
    fn what_cannot_both_be_had_names_the_other_and_what_can_is_booked() {
        let (a, b) = (window(HOUR, 3 * HOUR), window(2 * HOUR, 4 * HOUR));
        let one = cluster(&[10], &[("o/a", 6, std::slice::from_ref(&a)), ("o/b", 6, &[]), ("o/c", 4, &[])]);
        let clash = book(&one, &key("o/b"), &b);
        let lead = Model::default().lead();
        assert_eq!(clash, Err(Clash::Room { other: (key("o/a"), a.clone()), at: 2 * HOUR - lead }));
        assert_eq!(book(&one, &key("o/c"), &b), Ok(()), "both have room");
        assert_eq!(book(&one, &key("o/b"), &window(3 * HOUR + lead, 4 * HOUR)), Ok(()), "one after the other");
        assert!(book(&one, &key("o/b"), &window(3 * HOUR + lead - 1, 4 * HOUR)).is_err(), "it is loaded ahead");
        assert!(book(&one, &key("o/b"), &Window { replicas: 2, ..window(5 * HOUR, 6 * HOUR) }).is_err(), "one node");
        let two = cluster(&[10, 10], &[("o/a", 6, std::slice::from_ref(&a)), ("o/b", 6, &[])]);
        assert_eq!(book(&two, &key("o/b"), &b), Ok(()));
        // A later one meets a daily one on some day.
        let daily = Window { daily: true, ..window(HOUR, 2 * HOUR) };
        let one = cluster(&[10], &[("o/a", 6, std::slice::from_ref(&daily)), ("o/b", 6, &[])]);
        let late = window(9 * DAY, 9 * DAY + 2 * HOUR);
        let clash = book(&one, &key("o/b"), &late);
        assert_eq!(clash, Err(Clash::Room { other: (key("o/a"), daily.clone()), at: 9 * DAY + HOUR - lead }));
        let one = cluster(&[10], &[("o/a", 6, &[]), ("o/b", 6, std::slice::from_ref(&late))]);
        assert_eq!(
            book(&one, &key("o/a"), &daily),
            Err(Clash::Room { other: (key("o/b"), late), at: 9 * DAY + HOUR - lead })
        );
    }

    #[test]
    fn a_model_has_one_tenant_at_a_time_and_one_that_is_too_large_is_never_booked() {
        let of = |tenant: &str| Window { tenant: Some(TenantId::new(tenant)), ..window(HOUR, 2 * HOUR) };
        let one = cluster(&[10], &[("o/a", 6, &[of("lab-a")]), ("o/b", 11, &[])]);
        assert_eq!(book(&one, &key("o/a"), &of("lab-b")), Err(Clash::Tenants { other: of("lab-a") }));
        assert!(book(&one, &key("o/a"), &window(0, 2 * HOUR)).is_err(), "nor everybody's");
        assert_eq!(book(&one, &key("o/a"), &of("lab-a")), Ok(()));
        assert_eq!(book(&one, &key("o/b"), &window(0, 1)), Err(Clash::Never { bytes: 11, at: 0 }));
        assert_eq!(book(&cluster(&[], &[("o/b", 11, &[])]), &key("o/b"), &window(0, 1)), Ok(()), "nobody can say");
    }
}
