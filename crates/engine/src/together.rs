//! Jobs that share passes.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ids::JobId;
use interpreter::raise::Raise;

use crate::active::{Active, End, failure_of};
use crate::common::{Common, Place};
use crate::contract::Event;
use crate::lane::Lanes;
use crate::model::Model;
use crate::shared_pass::{Member, Passed, SharedPass};
use crate::shares::{Limit, Load, Part, Shares, Took};
use crate::trace::Trace;

/// Jobs that share passes, or one by itself.
pub struct Together<M: Model> {
    common: Rc<Common<M>>,
    pub active: VecDeque<Active<M>>,
    stack: Stack,
    /// What tenants have had of the thread's own stack.
    shares: Shares,
}

/// Whose stack the jobs' code and passes have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stack {
    /// The thread's: what takes long has to go elsewhere.
    Threads,
    /// That of a lane, for one job alone.
    Lanes,
    /// That of one pass.
    Passes,
}

/// A job that left the others for something that takes long, on a stack of its own, and comes back when it is done.
pub struct Party<M: Model> {
    together: Together<M>,
    task: Task,
}

enum Task {
    /// A pass over some of its traces, and the room that it has until it is done.
    Pass { joined: Vec<(usize, usize)>, _room: Place },
    /// Its own code, up to where it needs the model.
    Code,
}

/// A job that comes back, and how it ended, if it did.
pub type Back<M> = (Active<M>, Option<End>);

/// Traces that share a pass: by place among the jobs, and among the traces of each.
struct Chosen {
    joined: Vec<(usize, usize)>,
    load: Load,
    bytes: u64,
    /// How the pass is shared.
    limit: Limit,
}

impl<M: Model> Together<M> {
    /// Makes a company that nobody has joined yet.
    pub fn company(common: &Rc<Common<M>>) -> Self {
        Self::on(common, VecDeque::new(), Stack::Threads)
    }

    /// Makes what runs one job by itself, in a lane.
    pub fn alone(common: &Rc<Common<M>>, active: Active<M>) -> Self {
        Self::on(common, VecDeque::from([active]), Stack::Lanes)
    }

    fn on(common: &Rc<Common<M>>, active: VecDeque<Active<M>>, stack: Stack) -> Self {
        Self { common: Rc::clone(common), active, stack, shares: Shares::new(common.settings.slice) }
    }

    /// Runs every job's own code, and one pass at most. What takes long begins, too, as far as there is room, and goes on
    /// in lanes. Returns whether there was a pass that does not take long.
    pub fn step(&mut self, lanes: &mut Lanes<M>, events: &mut Vec<Event>) -> bool {
        self.shares.attend(self.active.iter().map(|active| &active.job.tenant));
        self.advance_all(lanes, events);
        let passed = self.active.iter().any(wants_pass) && self.pass(lanes, events);
        if !passed {
            self.shares.nobody_waits();
        }
        self.advance_all(lanes, events);
        passed
    }

    /// Takes jobs back that are done with what took long.
    pub fn take_back(&mut self, jobs: Vec<Back<M>>, lanes: &mut Lanes<M>, events: &mut Vec<Event>) {
        if jobs.is_empty() {
            return;
        }
        for (mut active, end) in jobs {
            active.report(events);
            match end {
                Some(end) => active.end(end, events),
                None => self.active.push_back(active),
            }
        }
        self.advance_all(lanes, events);
    }

    /// Takes out the jobs that must not share the thread like this.
    pub fn leaving(&mut self) -> Vec<Active<M>> {
        if !self.active.iter().any(Active::leaves) {
            return Vec::new();
        }
        let (leaving, staying) = std::mem::take(&mut self.active).into_iter().partition(Active::leaves);
        self.active = staying;
        Vec::from(leaving)
    }

    /// Brings every job to where it needs the model, or to its end.
    fn advance_all(&mut self, lanes: &mut Lanes<M>, events: &mut Vec<Event>) {
        let mut index = 0;
        while let Some(active) = self.active.get_mut(index) {
            if self.stack == Stack::Threads
                && (active.leaves() || self.shares.holds(&active.job.tenant) && active.can_wait())
            {
                index += 1;
                continue;
            }
            if self.stack == Stack::Threads && active.may_last() {
                // On a stack of its own it can be left.
                let Some(active) = self.active.remove(index) else { continue };
                let (tenant, began) = (active.job.tenant.clone(), Instant::now());
                let back = lanes.try_at_once(self.for_code(active), events);
                self.shares.charge(&tenant, began.elapsed());
                let Some((mut active, end)) = back else { continue };
                active.report(events);
                match end {
                    Some(end) => active.end(end, events),
                    None => {
                        self.active.insert(index, active);
                        index += 1;
                    }
                }
                continue;
            }
            let before = active.usage.seconds;
            let end = active.advance(&self.common);
            self.shares.charge(&active.job.tenant, seconds(active.usage.seconds - before));
            active.report(events);
            match end {
                None => index += 1,
                Some(end) => {
                    if let Some(active) = self.active.remove(index) {
                        active.end(end, events);
                    }
                }
            }
        }
    }

    /// Runs one forward pass for as many traces as fit. Returns whether there was one that does not take long.
    fn pass(&mut self, lanes: &mut Lanes<M>, events: &mut Vec<Event>) -> bool {
        let (mut held, mut full) = (HashSet::new(), false);
        loop {
            let chosen = self.choose(&held);
            if chosen.joined.is_empty() {
                return false;
            }
            let long = chosen.load.tokens > self.common.settings.long_tokens;
            if long && self.stack == Stack::Threads {
                // Who waits for room does so in the order of coming.
                let place = if full { None } else { self.common.room.take(chosen.bytes) };
                match place {
                    Some(place) => {
                        let party = self.part_with(&chosen.joined, place);
                        lanes.add(party, events);
                    }
                    None => {
                        full = true;
                        held.extend(self.jobs_of(&chosen.joined));
                    }
                }
                continue;
            }
            let carried: HashSet<JobId> = self.jobs_of(&chosen.joined).collect();
            if !long {
                self.run(&chosen.joined, Some(&chosen.limit), events);
            } else if let Some(_place) = self.wait_for_room(chosen.bytes) {
                self.run(&chosen.joined, None, events);
            }
            // Jobs that wait go first in the next pass, so that none waits for more passes than there are kinds of them.
            self.active.make_contiguous().sort_by_key(|active| carried.contains(&active.job.id));
            return true;
        }
    }

    /// Chooses traces for a pass: the first that wants one, of a tenant whose turn it is, and those that fit beside it.
    fn choose(&mut self, held: &HashSet<JobId>) -> Chosen {
        let settings = &self.common.settings;
        // Nobody is made to wait for a pass that takes long by joining one.
        let shared_tokens = settings.shared_tokens.min(settings.pass_tokens).min(settings.long_tokens);
        let mut shared = None;
        let jobs = || self.active.iter().enumerate().filter(|(_, active)| !held.contains(&active.job.id));
        let wanted = |active: &Active<M>| {
            let loads = active.traces().iter().filter(|trace| trace.wants_pass()).map(Trace::load);
            loads.fold(Load::default(), |all, load| all.and_within(settings.pass_tokens, load))
        };
        let wanting =
            jobs().filter(|(_, active)| wants_pass(active)).map(|(_, active)| (&active.job.tenant, wanted(active)));
        let limit = self.shares.limit(shared_tokens, wanting);
        let shares = &self.shares;
        let had = limit.had;
        let is_ahead = |active: &Active<M>| shares.had(&active.job.tenant) > had;
        let mut chosen = Chosen { joined: Vec::new(), load: Load::default(), bytes: 0, limit };
        // Whose turn it is comes first.
        let in_turn = jobs().filter(|(_, active)| !is_ahead(active)).map(|job| (job, false));
        let ahead = jobs().filter(|(_, active)| is_ahead(active)).map(|job| (job, true));
        for ((index, active), ahead) in in_turn.chain(ahead) {
            let group = active.trial.map(|trial| trial.group);
            for (place, trace) in active.traces().iter().enumerate().filter(|(_, trace)| trace.wants_pass()) {
                let (own, kind) = (trace.company(), (active.usage.batching, group));
                let large = trace.tokens() > settings.pass_tokens || trace.bytes() > settings.pass_bytes;
                let alone = active.alone || large || own.is_none();
                let company = match shared {
                    Some((others, other)) => own.filter(|_| kind == other).and_then(|own| own.and(others)),
                    None => own,
                };
                let one = chosen.joined.iter().all(|(other, _)| *other == index);
                let most = if one { settings.pass_tokens } else { shared_tokens };
                let load = chosen.load.and(trace.load());
                let room = load.tokens <= most && chosen.bytes.saturating_add(trace.bytes()) <= settings.pass_bytes;
                let fits = chosen.joined.is_empty() || !alone && room && company.is_some();
                let first = chosen.joined.is_empty() || !ahead;
                if fits && (first || shares.admits(&mut chosen.limit, load)) {
                    chosen.load = load;
                    chosen.bytes = chosen.bytes.saturating_add(trace.bytes());
                    chosen.joined.push((index, place));
                    shared = company.map(|company| (company, kind));
                    if alone {
                        return chosen;
                    }
                }
            }
        }
        // As they lie there.
        chosen.joined.sort_unstable();
        chosen
    }

    fn jobs_of(&self, joined: &[(usize, usize)]) -> impl Iterator<Item = JobId> {
        joined.iter().filter_map(|(index, _)| self.active.get(*index)).map(|active| active.job.id)
    }

    /// Takes out the jobs of a pass that takes long.
    fn part_with(&mut self, joined: &[(usize, usize)], place: Place) -> Party<M> {
        let (mut leaving, mut staying) = (VecDeque::new(), VecDeque::new());
        let mut own = Vec::with_capacity(joined.len());
        let mut rest = joined.iter().peekable();
        for (index, active) in std::mem::take(&mut self.active).into_iter().enumerate() {
            let mut joins = false;
            while let Some((_, trace)) = rest.next_if(|(other, _)| *other == index) {
                own.push((leaving.len(), *trace));
                joins = true;
            }
            if joins { leaving.push_back(active) } else { staying.push_back(active) }
        }
        self.active = staying;
        let together = Self::on(&self.common, leaving, Stack::Passes);
        Party { together, task: Task::Pass { joined: own, _room: place } }
    }

    /// Takes a job for what it does between two passes.
    fn for_code(&self, active: Active<M>) -> Party<M> {
        Party { together: Self::on(&self.common, VecDeque::from([active]), Stack::Passes), task: Task::Code }
    }

    /// Has the job of a lane wait until there is room for a pass that takes long; `None` where it has to stop.
    fn wait_for_room(&self, bytes: u64) -> Option<Place> {
        let active = self.active.front()?;
        loop {
            if active.is_stopped() {
                return None;
            }
            if let Some(place) = self.common.room.take(bytes) {
                return Some(place);
            }
            active.turn().rest();
        }
    }

    /// Runs a pass, and finds out who is to blame if it fails. One that takes long is shared by no rule.
    fn run(&mut self, joined: &[(usize, usize)], limit: Option<&Limit>, events: &mut Vec<Event>) {
        let began = Instant::now();
        let Err(raise) = self.run_pass(joined, limit) else { return };
        if let Some(limit) = limit.filter(|_| self.stack == Stack::Threads) {
            let active = joined.iter().filter_map(|(index, _)| self.active.get(*index));
            let part = |active: &Active<M>| Part {
                tenant: active.job.tenant.clone(),
                load: Load::default(),
                computed: 0,
                depth: 0.0,
            };
            let parts: Vec<_> = active.map(part).collect();
            self.shares.passed(limit, Took { time: began.elapsed(), depth: 0.0 }, &parts);
        }
        self.contain(joined, &raise, events);
    }

    /// Runs the model over some jobs' traces, and notes what came of it.
    fn run_pass(&mut self, joined: &[(usize, usize)], limit: Option<&Limit>) -> Result<(), Raise> {
        let (common, forks) = (Rc::clone(&self.common), self.stack != Stack::Lanes);
        let Some(pass) = SharedPass::of(&common, self.members(joined), limit.is_none()) else { return Ok(()) };
        let Passed { told, took, started } = pass.run(forks)?;
        if let Some(limit) = limit.filter(|_| self.stack == Stack::Threads) {
            self.shares.passed(limit, took, &told);
        }
        for traces in told.chunk_by(|left, right| left.index == right.index) {
            let Some(active) = traces.first().and_then(|told| self.active.get_mut(told.index)) else { continue };
            for told in traces {
                active.usage.add(&told.usage);
                active.trace_pass(&told.usage, started);
            }
            active.note_pass();
            let apart = traces.iter().any(|told| told.apart);
            if apart || traces.iter().any(|told| told.late) {
                active.restart(apart);
            }
        }
        Ok(())
    }

    /// Lists the traces that join a pass.
    fn members(&mut self, joined: &[(usize, usize)]) -> Vec<Member<'_, M>> {
        let mut members = Vec::with_capacity(joined.len());
        let mut rest = joined.iter().peekable();
        for (index, active) in self.active.iter_mut().enumerate() {
            let (batching, alone, tenant) = (active.usage.batching, active.alone, active.job.tenant.clone());
            for (place, trace) in active.traces_mut().iter_mut().enumerate() {
                if rest.next_if_eq(&&(index, place)).is_some() {
                    members.push(Member { index, tenant: tenant.clone(), alone, batching, trace });
                }
            }
        }
        members
    }

    /// Arithmetic failed in the middle of a pass. A trace that was alone in it is to blame. Of several jobs, half are run
    /// again with each other, and the other half too: first those apart whose blocks took part before the failure, which
    /// mostly one of them caused. Whose blocks did not are where they were before the pass, and go on from there; the others
    /// run again from their beginning. Traces of one job run again one by one, so that what comes before the one that fails
    /// is done before it.
    fn contain(&mut self, joined: &[(usize, usize)], raise: &Raise, events: &mut Vec<Event>) {
        let mut jobs: Vec<(usize, bool)> = Vec::new();
        for &(index, place) in joined {
            let trace = self.active.get(index).and_then(|active| active.traces().get(place));
            let took_part = trace.is_some_and(|trace| trace.run.took_part());
            match jobs.last_mut().filter(|(last, _)| *last == index) {
                Some((_, any)) => *any |= took_part,
                None => jobs.push((index, took_part)),
            }
        }
        if let &[(only, _)] = jobs.as_slice() {
            if joined.len() == 1 {
                if let Some(active) = self.active.remove(only) {
                    active.end(Err(failure_of(raise)), events);
                }
            } else if let Some(active) = self.active.get_mut(only) {
                active.restart(true);
            }
            return;
        }
        let (mut first, mut second): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|(_, took_part)| *took_part);
        if first.is_empty() {
            first = second.split_off(second.len() / 2);
        } else if second.is_empty() {
            second = first.split_off(first.len() / 2);
        }
        for half in [first, second] {
            let group = self.common.new_group();
            for (index, took_part) in half {
                if let Some(active) = self.active.get_mut(index) {
                    active.try_again(group, took_part);
                }
            }
        }
    }
}

impl<M: Model> Party<M> {
    /// Returns the jobs.
    pub fn jobs(&self) -> impl Iterator<Item = &Active<M>> {
        self.together.active.iter()
    }

    /// Does what takes long. Returns the job as it is then, unless a pass ended it.
    pub fn run(mut self, events: &RefCell<Vec<Event>>) -> Vec<Back<M>> {
        self.jobs().for_each(|active| active.turn().ride(true));
        let mut ends = Vec::new();
        match &self.task {
            Task::Pass { joined, .. } => {
                let mut found = Vec::new();
                self.together.run(joined, None, &mut found);
                events.borrow_mut().append(&mut found);
            }
            Task::Code => {
                let common = Rc::clone(&self.together.common);
                ends.extend(self.together.active.iter_mut().map(|active| active.advance(&common)));
            }
        }
        self.jobs().for_each(|active| active.turn().ride(false));
        let ends = ends.into_iter().chain(std::iter::repeat_with(|| None));
        self.together.active.into_iter().zip(ends).collect()
    }
}

/// Returns so many seconds, none of which were counted twice.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn wants_pass<M: Model>(active: &Active<M>) -> bool {
    active.traces().iter().any(Trace::wants_pass)
}
