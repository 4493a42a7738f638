//! Chooses what to do next.
//!
//! Only models with both work and room are looked at, and of their lines only those whose turn comes: the lines of each
//! model lie in the order of their turns, and so do its workers. What a decision changes is kept beside them, and an
//! entry that it made stale is put back where it belongs when it comes up. That is right since within a round a tenant
//! only ever gets more, and a worker only ever busier.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, btree_map, btree_set};
use std::iter::Peekable;
use std::time::Duration;

use ids::{Class, JobId, ModelKey, TenantId, Token};

use crate::queue::{Charge, Lines, Queue, Rank, Share, Waiting};
use crate::view::{Hosting, Seat, View, Worker};

/// What is to become of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Dispatch {
        job: JobId,
        /// Of the attempt before.
        token: Token,
        seat: Seat,
        alone: bool,
        charge: Charge,
    },
    Expire {
        job: JobId,
        token: Token,
    },
    /// No worker will ever run it.
    Refuse {
        job: JobId,
        token: Token,
        text: String,
    },
}

impl Action {
    /// Returns the job that it is about.
    #[must_use]
    pub fn job(&self) -> JobId {
        match self {
            Self::Dispatch { job, .. } | Self::Expire { job, .. } | Self::Refuse { job, .. } => *job,
        }
    }
}

/// Chooses what to do next, `at_most` so many things: same view, queue and instant, same actions.
///
/// Turns go to the class that has had the least of its floor, of those with lines that somebody can serve; in it to the
/// tenant who has had the least device time, and then to the oldest job. A job that wants no company gets a worker that is
/// idle; until there is one, its turn holds the worker with the least to do, so that a steady flow of others cannot starve
/// it. While there are several tenants, one that has half of all that runs, or more, leaves an eighth of each worker's
/// places free: who comes with little finds room at once, however long the jobs of the other are. Where a turn is passed over
/// for that, the places are for who has little in all, and not for whoever has had more already: they would get more than
/// their floor or their share by it. Jobs of others than the tenant whom a model is reserved for wait.
#[must_use]
pub fn decide(view: &View, queue: &Queue, now: Duration, at_most: usize) -> Vec<Action> {
    let mut round = Round { at_most, ..Round::default() };
    round.end(view, queue, now);
    round.give(view, queue);
    round.actions
}

/// One round of decisions.
#[derive(Default)]
struct Round<'a> {
    actions: Vec<Action>,
    at_most: usize,
    /// Jobs that wait no longer, though they are in the queue.
    ended: BTreeSet<JobId>,
    refused: BTreeSet<&'a ModelKey>,
    /// The turns of each class, and what it has had.
    classes: [(BinaryHeap<Reverse<Turn<'a>>>, Duration); Class::ALL.len()],
    models: BTreeMap<&'a ModelKey, Model<'a>>,
    /// The shares that this round changed.
    shares: BTreeMap<&'a TenantId, Share>,
    running: usize,
    /// How the workers are that this round changed.
    workers: BTreeMap<Seat, Taken>,
    /// Lines and workers that were looked at.
    looked: (usize, usize),
}

/// A line whose turn may have come. Ordered as its rank is, and then by the model.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Turn<'a> {
    used: Duration,
    oldest: JobId,
    tenant: &'a TenantId,
    model: &'a ModelKey,
    /// Whether it came from the model's lines, so that the next one has to follow it.
    first: bool,
}

/// A model with work and room.
struct Model<'a> {
    lines: &'a Lines,
    ranks: [btree_set::Iter<'a, Rank>; Class::ALL.len()],
    /// What is left of each line that was looked at.
    rest: BTreeMap<(Class, &'a TenantId), Peekable<btree_map::Iter<'a, JobId, Waiting>>>,
    room: Room<'a>,
    /// Whose turn was the first to be passed over, since what is free is kept for who comes with little, and how many of each
    /// class were since.
    passed_over: Option<Standing>,
    turns_passed: [usize; Class::ALL.len()],
}

/// What a class has had, and what a tenant in it.
#[derive(Clone, Copy)]
struct Standing {
    class: Class,
    had: Duration,
    used: Duration,
}

/// Turns of a class that are passed over at one model before nobody more is looked for who has little. Who comes has had the
/// least of all who are here, or as little, so that they are among the first.
const PASSED_OVER: usize = 8;

/// The workers that can take a job for a model, least busy first.
struct Room<'a> {
    fresh: Peekable<btree_set::Iter<'a, (usize, Seat)>>,
    /// Those that have become busier in this round.
    busier: BinaryHeap<Reverse<(usize, Seat)>>,
}

/// A worker as this round leaves it.
#[derive(Clone, Copy)]
struct Taken {
    busy: usize,
    alone: bool,
    /// Whether it is kept for a job that wants no company, until it is idle.
    held: bool,
}

impl<'a> Round<'a> {
    /// Ends what waited for too long, and what can never run.
    fn end(&mut self, view: &View, queue: &'a Queue, now: Duration) {
        for (job, token) in queue.expired(now).take(self.at_most) {
            self.ended.insert(job);
            self.actions.push(Action::Expire { job, token });
        }
        for (model, lines) in queue.lines() {
            let text = match view.hosting(model) {
                Some(Hosting::Served) => continue,
                Some(Hosting::Hopeless(why)) => format!("the model {model} cannot be served: {why}"),
                None => format!("the model {model} is not hosted here any longer"),
            };
            self.refused.insert(model);
            for (_, &job, waiting) in lines.jobs() {
                if self.actions.len() >= self.at_most {
                    break;
                }
                if self.ended.insert(job) {
                    self.actions.push(Action::Refuse { job, token: waiting.token, text: text.clone() });
                }
            }
        }
    }

    /// Gives out what somebody can take.
    fn give(&mut self, view: &'a View, queue: &'a Queue) {
        self.running = queue.running();
        for (class, (_, had)) in Class::ALL.into_iter().zip(&mut self.classes) {
            *had = queue.had(class);
        }
        for (model, lines) in queue.lines() {
            let Some(room) = view.room(model).filter(|_| !self.refused.contains(model)) else { continue };
            let room = Room { fresh: room.iter().peekable(), busier: BinaryHeap::new() };
            let ranks = lines.0.each_ref().map(|lane| lane.ranks.iter());
            let (rest, passed_over, turns_passed) = Default::default();
            self.models.insert(model, Model { lines, ranks, rest, room, passed_over, turns_passed });
            Class::ALL.into_iter().for_each(|class| self.next_line(view, class, model));
        }
        while self.actions.len() < self.at_most
            && let Some((class, turn)) = self.next_turn()
        {
            self.looked.0 += 1;
            if turn.first {
                self.next_line(view, class, turn.model);
            }
            self.take_turn(view, queue, class, &turn);
        }
    }

    fn next_line(&mut self, view: &View, class: Class, model: &'a ModelKey) {
        let looks = |entry: &&mut Model<'_>| entry.turns_passed.get(class.index()).is_some_and(|it| *it < PASSED_OVER);
        let ranks = self.models.get_mut(model).filter(looks).and_then(|it| it.ranks.get_mut(class.index()));
        let may = |rank: &&Rank| view.reserved(model).is_none_or(|tenant| *tenant == rank.tenant);
        if let Some(Rank { used, oldest, tenant }) = ranks.and_then(|ranks| ranks.find(may)) {
            self.wait(class, Turn { used: *used, oldest: *oldest, tenant, model, first: true });
        }
    }

    fn wait(&mut self, class: Class, turn: Turn<'a>) {
        if let Some((turns, _)) = self.classes.get_mut(class.index()) {
            turns.push(Reverse(turn));
        }
    }

    fn next_turn(&mut self) -> Option<(Class, Turn<'a>)> {
        let classes = Class::ALL.into_iter().zip(&mut self.classes).filter(|(_, (turns, _))| !turns.is_empty());
        let (class, (turns, _)) = classes.min_by_key(|(class, (_, had))| (*had, *class))?;
        turns.pop().map(|Reverse(turn)| (class, turn))
    }

    fn take_turn(&mut self, view: &View, queue: &Queue, class: Class, turn: &Turn<'a>) {
        let Turn { tenant, model, .. } = *turn;
        let share = self.shares.get(tenant).copied().unwrap_or_else(|| queue.share(tenant));
        // Without an entry, nobody can take what is left of this model.
        let Some(entry) = self.models.get_mut(model) else { return };
        let Some(line) = entry.lines.lane(class).and_then(|lane| lane.by_tenant.get(tenant)) else { return };
        let rest = entry.rest.entry((class, tenant)).or_insert_with(|| line.iter().peekable());
        while rest.next_if(|(job, _)| self.ended.contains(*job)).is_some() {}
        let Some(&(&oldest, waiting)) = rest.peek() else { return };
        if (share.used, oldest) != (turn.used, turn.oldest) {
            return self.wait(class, Turn { used: share.used, oldest, tenant, model, first: false });
        }
        let Some((busy, seat)) = entry.room.least_busy(view, &self.workers, &mut self.looked.1) else {
            self.models.remove(model);
            return;
        };
        if waiting.alone && busy > 0 {
            // The rest of the line waits behind it.
            self.workers.insert(seat, Taken { busy, alone: false, held: true });
            return;
        }
        let kept = view.worker(seat).is_some_and(|worker| busy >= worker.slots - worker.kept_for_others());
        if kept && queue.has_company(tenant) {
            let crowds = share.running * 2 >= self.running.max(1);
            // With all that it waits for it would have no more than an eighth of what runs.
            let has_little = queue.share(tenant).running + line.len() <= self.running.div_ceil(8);
            let had = self.classes.get(class.index()).map_or(Duration::ZERO, |(_, had)| *had);
            let standing = Standing { class, had, used: share.used };
            let is_ahead = entry.passed_over.is_some_and(|first| standing.is_ahead_of(first));
            if crowds || (is_ahead && !has_little) {
                entry.passed_over.get_or_insert(standing);
                if let Some(turns) = entry.turns_passed.get_mut(class.index()) {
                    *turns += 1;
                }
                return;
            }
        }
        let (token, alone, cost) = (waiting.token, waiting.alone, queue.cost(model, tenant));
        rest.next();
        let next = rest.peek().map(|(oldest, _)| **oldest);
        self.actions.push(Action::Dispatch { job: oldest, token, seat, alone, charge: Charge { class, cost } });
        self.workers.insert(seat, Taken { busy: busy + 1, alone, held: false });
        self.running += 1;
        let share = Share { running: share.running + 1, used: share.used + cost };
        self.shares.insert(tenant, share);
        if let Some((_, had)) = self.classes.get_mut(class.index()) {
            *had += cost / class.floor();
        }
        if let Some(oldest) = next {
            self.wait(class, Turn { used: share.used, oldest, tenant, model, first: false });
        }
    }
}

impl Standing {
    /// Returns whether its class has had more of its floor, or its tenant more device time.
    fn is_ahead_of(self, other: Self) -> bool {
        self.had > other.had || (self.class == other.class && self.used > other.used)
    }
}

impl Worker {
    /// Returns how many of its places are kept free of whoever has most of all.
    fn kept_for_others(&self) -> usize {
        self.slots / 8
    }
}

impl Room<'_> {
    /// Returns the worker with the least to do that can take a job, and how much that is.
    fn least_busy(&mut self, view: &View, taken: &BTreeMap<Seat, Taken>, looked: &mut usize) -> Option<(usize, Seat)> {
        loop {
            *looked += 1;
            let (fresh, again) = (self.fresh.peek().map(|it| **it), self.busier.peek().map(|it| it.0));
            let (busy, seat) = fresh.into_iter().chain(again).min()?;
            let Some(now) = taken.get(&seat) else { return Some((busy, seat)) };
            let full = view.worker(seat).is_none_or(|worker| now.busy >= worker.slots);
            let able = !now.held && !now.alone && !full;
            if able && now.busy == busy {
                return Some((busy, seat));
            }
            if fresh == Some((busy, seat)) {
                self.fresh.next();
            } else {
                self.busier.pop();
            }
            if able {
                self.busier.push(Reverse((now.busy, seat)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LATER: Duration = Duration::from_secs(100);
    const SECOND: Duration = Duration::from_secs(1);

    fn tenant(number: usize) -> TenantId {
        TenantId::new(format!("tenant {number}"))
    }

    fn model(number: usize) -> ModelKey {
        ModelKey::new(format!("model {number}"), None)
    }

    fn waiting(alone: bool, class: Class) -> Waiting {
        Waiting { token: token(alone), class, alone, expires_at: LATER }
    }

    fn add(queue: &mut Queue, owner: usize, wants: usize, alone: bool) -> JobId {
        let job = JobId::new();
        queue.push(job, &tenant(owner), &model(wants), waiting(alone, Class::Normal), None);
        job
    }

    fn token(alone: bool) -> Token {
        Token { epoch: 1, attempt: u32::from(alone) }
    }

    fn charge(class: Class, cost: Duration) -> Charge {
        Charge { class, cost }
    }

    fn worker(slots: usize, busy: usize, ready: &[usize]) -> Worker {
        Worker { slots, busy, alone: false, ready: ready.iter().map(|&number| model(number)).collect() }
    }

    fn view(workers: &[Worker]) -> View {
        let mut view = View::default();
        (0..4).for_each(|number| view.host(model(number), Hosting::Served));
        (1..).zip(workers).for_each(|(seat, worker)| view.put(seat, worker.clone()));
        view
    }

    fn dispatched(actions: &[Action]) -> Vec<(JobId, Seat)> {
        let pair = |action: &Action| match action {
            Action::Dispatch { job, seat, .. } => Some((*job, *seat)),
            _ => None,
        };
        actions.iter().filter_map(pair).collect()
    }

    fn order(queue: &Queue, slots: usize, model: usize) -> Vec<JobId> {
        let actions = decide(&view(&[worker(slots, 0, &[model])]), queue, Duration::ZERO, usize::MAX);
        dispatched(&actions).into_iter().map(|(job, _)| job).collect()
    }

    #[test]
    fn who_has_had_the_least_device_time_is_next_however_it_was_cut_into_jobs() {
        let mut queue = Queue::default();
        let (a, b, c) = (add(&mut queue, 0, 0, false), add(&mut queue, 1, 0, false), add(&mut queue, 2, 0, false));
        // One job of three seconds, two of one second, and nothing.
        queue.serve(&tenant(0), charge(Class::Normal, 3 * SECOND));
        queue.serve(&tenant(1), charge(Class::Normal, SECOND));
        queue.serve(&tenant(1), charge(Class::Normal, SECOND));
        assert_eq!(order(&queue, 3, 0), [c, b, a]);
        // It took a tenth of that.
        queue.leave(&tenant(0), charge(Class::Normal, 3 * SECOND), SECOND / 10);
        assert_eq!(order(&queue, 3, 0), [c, a, b]);
    }

    #[test]
    fn nobody_saves_up_turns_and_nobody_pays_for_time_in_which_there_was_nobody_else() {
        let mut queue = Queue::default();
        let spent = |queue: &mut Queue, owner: usize| {
            queue.serve(&tenant(owner), charge(Class::Normal, 100 * SECOND));
            queue.leave(&tenant(owner), charge(Class::Normal, 100 * SECOND), 100 * SECOND);
        };
        spent(&mut queue, 0);
        let first = [add(&mut queue, 0, 0, false), add(&mut queue, 0, 0, false)];
        let second = [add(&mut queue, 1, 0, false), add(&mut queue, 1, 0, false)];
        assert_eq!(order(&queue, 4, 0), [first[0], second[0], first[1], second[1]]);
    }

    #[test]
    fn each_class_has_its_floor_and_what_waited_for_long_is_low_no_longer() {
        let mut queue = Queue::default();
        let mut jobs = BTreeMap::new();
        for class in Class::ALL {
            for _ in 0..20 {
                let job = JobId::new();
                queue.push(job, &tenant(0), &model(0), waiting(false, class), None);
                jobs.insert(job, class);
            }
        }
        let given = order(&queue, 20, 0);
        let of = |class: Class| given.iter().filter(|job| jobs[*job] == class).count();
        assert_eq!(Class::ALL.map(of), [12, 6, 2]);
        let class =
            |queue: &Queue, class: Class| queue.waiting(*jobs.iter().find(|(_, it)| **it == class).unwrap().0).cloned();
        queue.wake(crate::AGES);
        assert_eq!(class(&queue, Class::Low).unwrap().class, Class::Normal);
        queue.wake(2 * crate::AGES);
        assert_eq!(class(&queue, Class::Low).unwrap().class, Class::Normal, "none becomes urgent");
        assert_eq!(class(&queue, Class::Normal).unwrap().class, Class::Normal);
    }

    #[test]
    fn a_flood_leaves_some_places_of_each_worker_to_others_while_there_are_others() {
        let mut queue = Queue::default();
        for _ in 0..40 {
            add(&mut queue, 0, 0, false);
        }
        assert_eq!(order(&queue, 16, 0).len(), 16, "there is nobody else");
        let quiet = add(&mut queue, 1, 0, false);
        let given = order(&queue, 16, 0);
        assert_eq!(given.len(), 14, "two places are for who comes next");
        assert!(given.contains(&quiet));
    }

    #[test]
    fn places_that_a_flood_leaves_are_for_who_has_little_and_not_for_who_has_had_more() {
        let mut queue = Queue::default();
        let mut flood = |owner: usize, class: Class| {
            let job = JobId::new();
            queue.push(job, &tenant(owner), &model(0), waiting(false, class), None);
            job
        };
        for _ in 0..10 {
            flood(0, Class::High);
            flood(1, Class::Low);
        }
        // Six of one and one of the other run, which is what their floors have it.
        for _ in 0..6 {
            queue.serve(&tenant(0), charge(Class::High, SECOND));
        }
        queue.serve(&tenant(1), charge(Class::Low, SECOND));
        let view = view(&[worker(8, 7, &[0])]);
        let given = |queue: &Queue| dispatched(&decide(&view, queue, Duration::ZERO, usize::MAX));
        assert_eq!(given(&queue), [], "the turn of the one that gives way is not the other's");
        let quiet = JobId::new();
        queue.push(quiet, &tenant(2), &model(0), waiting(false, Class::Low), None);
        assert_eq!(given(&queue), [(quiet, 1)]);
        queue.push(JobId::new(), &tenant(2), &model(0), waiting(false, Class::Low), None);
        assert_eq!(given(&queue), [], "who comes with more waits for their turn");
    }

    #[test]
    fn who_was_here_alone_pays_nothing_for_it_whoever_comes_first() {
        let mut queue = Queue::default();
        queue.serve(&tenant(0), charge(Class::Low, 100 * SECOND));
        queue.leave(&tenant(0), charge(Class::Low, 100 * SECOND), 100 * SECOND);
        let of = |queue: &mut Queue, owner: usize, class: Class| {
            let job = JobId::new();
            queue.push(job, &tenant(owner), &model(0), waiting(false, class), None);
            job
        };
        let first = [of(&mut queue, 1, Class::Low), of(&mut queue, 1, Class::Low)];
        let second = [of(&mut queue, 0, Class::Low), of(&mut queue, 0, Class::Low)];
        assert_eq!(order(&queue, 4, 0), [first[0], second[0], first[1], second[1]]);
        assert!(first.into_iter().chain(second).all(|job| queue.remove(job)));
        // So it is with classes: one that comes when nobody waits begins where that one is which has had most.
        let high: Vec<JobId> = (0..12).map(|_| of(&mut queue, 1, Class::High)).collect();
        let low = of(&mut queue, 0, Class::Low);
        let given = order(&queue, 7, 0);
        assert_eq!(given.iter().filter(|job| high.contains(job)).count(), 6);
        assert!(given.contains(&low), "it has its tenth beside six tenths");
    }

    #[test]
    fn jobs_go_to_the_least_busy_worker_that_has_their_model() {
        let mut queue = Queue::default();
        let (zero, one) = (add(&mut queue, 0, 0, false), add(&mut queue, 0, 1, false));
        let nobody = add(&mut queue, 1, 2, false);
        let view = view(&[worker(4, 2, &[0, 1]), worker(4, 1, &[0])]);
        let placed = dispatched(&decide(&view, &queue, Duration::ZERO, usize::MAX));
        assert_eq!(placed, [(zero, 2), (one, 1)]);
        assert!(!placed.iter().any(|(job, _)| *job == nobody));
    }

    #[test]
    fn a_job_that_wants_no_company_holds_the_worker_until_it_is_idle() {
        let mut queue = Queue::default();
        let alone = add(&mut queue, 0, 0, true);
        let other = add(&mut queue, 1, 0, false);
        let busy = view(&[worker(4, 1, &[0])]);
        assert_eq!(decide(&busy, &queue, Duration::ZERO, usize::MAX), []);
        let idle = view(&[worker(4, 0, &[0])]);
        assert_eq!(dispatched(&decide(&idle, &queue, Duration::ZERO, usize::MAX)), [(alone, 1)]);
        queue.remove(alone);
        let taken = Worker { alone: true, ..worker(4, 1, &[0]) };
        assert_eq!(decide(&view(&[taken]), &queue, Duration::ZERO, usize::MAX), []);
        assert_eq!(dispatched(&decide(&busy, &queue, Duration::ZERO, usize::MAX)), [(other, 1)]);
    }

    #[test]
    fn what_can_never_run_is_refused_and_what_waited_too_long_expires() {
        let mut queue = Queue::default();
        let (broken, gone, late) = (add(&mut queue, 0, 0, false), add(&mut queue, 0, 9, false), JobId::new());
        let waiting = Waiting { expires_at: SECOND, ..waiting(false, Class::Normal) };
        queue.push(late, &tenant(0), &model(1), waiting, None);
        let mut view = view(&[worker(4, 0, &[1])]);
        view.host(model(0), Hosting::Hopeless("no such type".into()));
        let refuse = |job, text: &str| Action::Refuse { job, token: token(false), text: text.into() };
        let expected = [
            Action::Expire { job: late, token: token(false) },
            refuse(broken, "the model model 0 cannot be served: no such type"),
            refuse(gone, "the model model 9 is not hosted here any longer"),
        ];
        assert_eq!(decide(&view, &queue, SECOND, usize::MAX), expected);
        view.withdraw(&model(1));
        queue.remove(late);
        assert_eq!(decide(&view, &queue, SECOND, usize::MAX), expected[1..]);
    }

    #[test]
    fn b15_what_rests_is_not_given_out_but_expires_and_is_removed() {
        let mut queue = Queue::default();
        let job = JobId::new();
        queue.push(job, &tenant(0), &model(0), waiting(false, Class::Normal), Some(Duration::from_secs(5)));
        let view = view(&[worker(1, 0, &[0])]);
        queue.wake(Duration::from_secs(4));
        assert_eq!(decide(&view, &queue, Duration::from_secs(4), usize::MAX), []);
        assert_eq!(decide(&view, &queue, LATER, usize::MAX), [Action::Expire { job, token: token(false) }]);
        let mut awake = queue.clone();
        awake.wake(Duration::from_secs(5));
        assert_eq!(dispatched(&decide(&view, &awake, Duration::from_secs(5), usize::MAX)), [(job, 1)]);
        assert!(queue.remove(job) && !queue.remove(job));
        queue.wake(LATER);
        assert_eq!(decide(&view, &queue, LATER, usize::MAX), []);
    }

    /// Looks at everything for each decision, as is said in [`decide`].
    fn plainly(workers: &[Worker], queue: &Queue) -> Vec<(JobId, Seat)> {
        let mut workers: BTreeMap<Seat, Worker> = (1..).zip(workers.iter().cloned()).collect();
        let mut held = BTreeSet::new();
        let mut shares: BTreeMap<&TenantId, Share> = BTreeMap::new();
        let mut had = Class::ALL.map(|class| queue.had(class));
        let mut running = queue.running();
        let (mut lines, mut has) = (BTreeMap::new(), BTreeMap::new());
        for (model, each) in queue.lines() {
            for class in Class::ALL {
                for (tenant, line) in &each.lane(class).unwrap().by_tenant {
                    lines.insert((tenant, model, class), line.iter().peekable());
                    has.insert((tenant, model, class), queue.share(tenant).running + line.len());
                }
            }
        }
        let mut passed_over: BTreeMap<&ModelKey, Standing> = BTreeMap::new();
        let mut placed = Vec::new();
        loop {
            let share = |tenant| shares.get(tenant).copied().unwrap_or(queue.share(tenant));
            let ranked = lines.iter_mut().filter_map(|(name, line)| {
                let job = line.peek()?.0;
                Some(((had[name.2.index()], name.2, share(name.0).used, *job), *name))
            });
            let Some(((.., job), name)) = ranked.min() else { return placed };
            let share = share(name.0);
            let Some((_, waiting)) = lines.get_mut(&name).and_then(Iterator::next) else { return placed };
            let able = workers.iter_mut().filter(|(seat, worker)| {
                !held.contains(*seat) && !worker.alone && worker.busy < worker.slots && worker.ready.contains(name.1)
            });
            let crowds = share.running * 2 >= running.max(1);
            let little = has[&name] <= running.div_ceil(8);
            let standing = Standing { class: name.2, had: had[name.2.index()], used: share.used };
            let ahead = passed_over.get(name.1).is_some_and(|first| standing.is_ahead_of(*first));
            let gives_way = queue.has_company(name.0) && (crowds || (ahead && !little));
            match able.min_by_key(|(seat, worker)| (worker.busy, **seat)) {
                Some((&seat, worker)) if waiting.alone && worker.busy > 0 => {
                    held.insert(seat);
                    lines.remove(&name);
                }
                Some((_, worker)) if gives_way && worker.busy >= worker.slots - worker.slots / 8 => {
                    lines.remove(&name);
                    passed_over.entry(name.1).or_insert(standing);
                }
                Some((&seat, worker)) => {
                    worker.busy += 1;
                    worker.alone = waiting.alone;
                    running += 1;
                    let cost = queue.cost(name.1, name.0);
                    had[name.2.index()] += cost / name.2.floor();
                    shares.insert(name.0, Share { running: share.running + 1, used: share.used + cost });
                    placed.push((job, seat));
                }
                None => drop(lines.remove(&name)),
            }
        }
    }

    proptest! {
        /// The short way of looking decides as the plain one does, whatever came before, and leaves nobody idle who
        /// could take a job.
        #[test]
        fn decisions_are_those_of_looking_at_everything(
            workers in proptest::collection::vec((1usize..10, 0usize..10, any::<bool>(), 0usize..3, 0usize..3), 0..5),
            wants in proptest::collection::vec((0usize..4, 0usize..3, proptest::bool::weighted(0.2), 0usize..3), 0..30),
            before in proptest::collection::vec((0usize..4, any::<bool>(), 0u64..3_000, 0usize..3), 0..8),
        ) {
            let ready = |one: usize, two: usize| worker(1, 0, &[one, two]).ready;
            let workers: Vec<Worker> = workers.into_iter().map(|(slots, busy, alone, one, two)| {
                let busy = busy.min(slots);
                Worker { slots, busy, alone: alone && busy > 0, ready: ready(one, two) }
            }).collect();
            let view = view(&workers);
            let mut queue = Queue::default();
            let mut jobs = BTreeMap::new();
            for (owner, wanted, alone, class) in wants {
                let job = JobId::new();
                queue.push(job, &tenant(owner), &model(wanted), waiting(alone, Class::ALL[class]), None);
                jobs.insert(job, wanted);
            }
            for (owner, leaves, cost, wanted) in before {
                let cost = Duration::from_millis(cost);
                queue.serve(&tenant(owner), charge(Class::Normal, cost));
                queue.learn(&model(wanted), &tenant(owner), cost);
                if leaves {
                    queue.leave(&tenant(owner), charge(Class::Normal, cost), cost / 2);
                }
            }
            let actions = decide(&view, &queue, Duration::ZERO, usize::MAX);
            prop_assert_eq!(dispatched(&actions), plainly(&workers, &queue));
            let mut after: BTreeMap<Seat, Worker> = (1..).zip(workers).collect();
            for (job, seat) in dispatched(&actions) {
                queue.remove(job);
                jobs.remove(&job).expect("given out once");
                let worker = after.get_mut(&seat).expect("a worker that is there");
                worker.busy += 1;
            }
            let idle = |wanted: usize| after.values().any(|it| it.busy == 0 && it.ready.contains(&model(wanted)));
            prop_assert!(!jobs.values().any(|wanted| idle(*wanted)), "a worker idles while a job waits for its model");
            prop_assert_eq!(queue.lines().values().flat_map(|it| it.jobs()).count(), jobs.len());
        }
    }

    /// A job that is given out changes its tenant's turn in every model, so that for it two lines at most of each model with
    /// room are looked at, and a few more of each to find that its room is gone: however many lines there are.
    #[test]
    fn a11_what_is_looked_at_does_not_grow_with_the_lines_that_wait() {
        const MODELS: usize = 100;
        // 1,000 workers, each with one of the models and two more.
        let busy = |free: usize| {
            let mut view = View::default();
            (0..MODELS).for_each(|number| view.host(model(number), Hosting::Served));
            for seat in 0..1_000 {
                let ready = [seat % MODELS, (seat + 1) % MODELS, (seat + 2) % MODELS];
                view.put(seat as Seat, worker(4, if seat < free { 3 } else { 4 }, &ready));
            }
            view
        };
        // Each tenant waits for every model: 10,000 lines, and 40,000.
        for tenants in [100, 400] {
            let mut queue = Queue::default();
            for owner in 0..tenants {
                for wants in 0..MODELS {
                    add(&mut queue, owner, wants, false);
                }
            }
            let looked = |view: &View| {
                let mut round = Round { at_most: usize::MAX, ..Round::default() };
                round.end(view, &queue, Duration::ZERO);
                round.give(view, &queue);
                (round.actions.len(), round.looked)
            };
            assert_eq!(looked(&busy(0)), (0, (0, 0)), "with no room, no line is looked at");
            for (free, with_room) in [(1, 3), (4, 6), (256, MODELS)] {
                let (given, (lines, workers)) = looked(&busy(free));
                assert_eq!(given, free);
                assert!(
                    lines <= 2 * free * with_room + 4 * with_room,
                    "{tenants} tenants, {free} free slots: {lines} lines"
                );
                assert!(workers <= 8 * free + with_room, "{tenants} tenants, {free} free slots: {workers} workers");
            }
        }
        // Nor where a flood gives way, and nobody has little.
        let mut queue = Queue::default();
        for owner in 0..100 {
            add(&mut queue, owner, 0, false);
            add(&mut queue, owner, 0, false);
        }
        for owner in 1..100 {
            queue.serve(&tenant(owner), charge(Class::Normal, SECOND));
            queue.leave(&tenant(owner), charge(Class::Normal, SECOND), SECOND);
        }
        (0..8).for_each(|_| queue.serve(&tenant(0), charge(Class::Normal, Duration::ZERO)));
        let view = view(&[worker(8, 7, &[0])]);
        let mut round = Round { at_most: usize::MAX, ..Round::default() };
        round.give(&view, &queue);
        assert_eq!((round.actions.len(), round.looked.0), (0, PASSED_OVER + 1));
    }
}
