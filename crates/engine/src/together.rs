//! Jobs that share passes.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ids::{JobId, TenantId};
use interpreter::raise::Raise;
use program::Batching;

use crate::active::{Active, End, failure_of};
use crate::common::{Common, Place};
use crate::contract::{Event, Usage};
use crate::lane::Lanes;
use crate::metrics::{Phases, Tokens};
use crate::model::{Done, Interrupt, Model, Segment, SegmentIndex};
use crate::pacing::Pacing;
use crate::pass::Pass;
use crate::run::Ending;
use crate::shares::{Limit, Load, Part, Shares, Took};
use crate::trace::Trace;
use crate::trunks::Row;

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
                let company = trace.company().map(|company| (company, active.usage.batching, group));
                let large = trace.tokens() > settings.pass_tokens || trace.bytes() > settings.pass_bytes;
                let alone = active.alone || large || company.is_none();
                let own = chosen.joined.iter().all(|(other, _)| *other == index);
                let most = if own { settings.pass_tokens } else { shared_tokens };
                let load = chosen.load.and(trace.load());
                let room = load.tokens <= most && chosen.bytes.saturating_add(trace.bytes()) <= settings.pass_bytes;
                let fits = chosen.joined.is_empty() || !alone && room && company == shared;
                let first = chosen.joined.is_empty() || !ahead;
                if fits && (first || shares.admits(&mut chosen.limit, load)) {
                    chosen.load = load;
                    chosen.bytes = chosen.bytes.saturating_add(trace.bytes());
                    chosen.joined.push((index, place));
                    shared = company;
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

    /// Runs the model over the segments of some jobs' traces, and hands each its part of the outcome.
    fn run_pass(&mut self, joined: &[(usize, usize)], limit: Option<&Limit>) -> Result<(), Raise> {
        let common = Rc::clone(&self.common);
        let common = &*common;
        let mut members: Vec<Member<'_, M>> = Vec::with_capacity(joined.len());
        let mut rest = joined.iter().peekable();
        for (index, active) in self.active.iter_mut().enumerate() {
            let (batching, alone) = (active.usage.batching, active.alone);
            let tenant = active.job.tenant.clone();
            for (place, trace) in active.traces_mut().iter_mut().enumerate() {
                if rest.next_if_eq(&&(index, place)).is_some() {
                    members.push(Member { index, tenant: tenant.clone(), alone, batching, trace });
                }
            }
        }
        members.iter().for_each(|member| member.trace.run.job.turn.begin());
        // Who else is in the pass is paused when its first job is: that one's clock measures the pass.
        let Some(clock) = members.first().map(|member| Rc::clone(&member.trace.run.job.turn)) else { return Ok(()) };
        let pacing = limit.is_none().then(|| Rc::new(Pacing::new(&common.model, &clock, common.settings.slice)));
        let (began, started) = (clock.clock(), Instant::now());
        let mut segments = Vec::with_capacity(members.len());
        for at in 0..members.len() {
            let Some(member) = members.get_mut(at) else { continue };
            match member.trace.segment() {
                Ok(segment) => segments.push(Segment { batching: member.batching, ..segment }),
                Err(raise) => {
                    undo(&mut members, segments);
                    return Err(raise);
                }
            }
        }
        if self.stack != Stack::Lanes {
            fork(common, &members, &mut segments, pacing.as_deref());
        }
        let prepared = clock.clock();
        let outcome = {
            let runs = members.iter_mut().map(|member| &mut member.trace.run).collect();
            let mut pass = Pass::new(runs, segments.iter().map(|segment| !segment.trunks.is_empty()), pacing);
            let outcome = common.model.forward(&mut segments, &mut pass);
            pass.end().map_err(Interrupt::Failed).and(outcome)
        };
        let output = match outcome {
            Ok(output) => Some(output),
            Err(Interrupt::Enough) => None,
            Err(Interrupt::Failed(raise)) => {
                common.series.failed();
                undo(&mut members, segments);
                return Err(raise);
            }
        };
        let computed: u64 = segments.iter().map(|segment| segment.done.tokens).sum();
        let deepest = segments.iter().map(|segment| segment.done.layers).max().unwrap_or_default();
        let blocks: Duration = members.iter().map(|member| member.trace.run.busy).sum();
        let computed_at = clock.clock();
        let time = computed_at.saturating_sub(began).saturating_sub(blocks);
        let seconds = time.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^52")]
        let share = |done: &Done| match computed {
            0 => seconds / members.len() as f64,
            all => seconds * done.tokens as f64 / all as f64,
        };
        let layers = u64::try_from(common.model.schema().layers.len()).unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "no model has so many layers")]
        let depth = |layers_run: u64| layers_run as f64 / layers.max(1) as f64;
        let costs: Vec<f64> = segments.iter().map(|segment| share(&segment.done)).collect();
        let shared = u64::try_from(members.len()).unwrap_or(0);
        let (mut usages, mut parts) = (Vec::with_capacity(members.len()), Vec::with_capacity(members.len()));
        let (mut apart, mut late, mut counted) = (Vec::new(), Vec::new(), Tokens::default());
        let (mut drawn, mut drawing) = (Vec::new(), Vec::new());
        let mut times = Vec::with_capacity(members.len());
        for (place, (member, segment)) in members.iter_mut().zip(&mut segments).enumerate() {
            let own = output.as_ref().and_then(|output| Some((output, output.layout.position(SegmentIndex(place))?)));
            *match (segment.trunks.is_empty(), member.trace.run.passes()) {
                (false, _) => &mut counted.kept,
                (true, 0) => &mut counted.prompt,
                (true, _) => &mut counted.decode,
            } += u64::try_from(segment.rows * segment.length).unwrap_or(0);
            if matches!(member.trace.run.ended, Some(Ending::Apart)) {
                apart.push(member.index);
            }
            // This runs blocks, too.
            let (ended, in_pass) = (clock.clock(), member.trace.run.busy);
            let part = own.map_or(0, |(_, part)| part);
            if let Some(own) = member.trace.after_pass(own, segment.cache.take()) {
                drawn.push(own);
                drawing.push((place, part));
            }
            times.push(clock.clock().saturating_sub(ended) + in_pass);
        }
        let ended = clock.clock();
        let chosen = common.model.drawn(drawn);
        let waited = clock.clock().saturating_sub(ended).div_f64(drawing.len().max(1) as f64);
        for ((place, part), chosen) in drawing.into_iter().zip(chosen) {
            if let (Some(member), Some(time)) = (members.get_mut(place), times.get_mut(place)) {
                let ended = clock.clock();
                member.trace.append(part, chosen);
                *time += waited + clock.clock().saturating_sub(ended);
            }
        }
        for (((member, segment), cost), time) in members.into_iter().zip(segments).zip(costs).zip(times) {
            let tokens = segment.rows * segment.length;
            let count = |number: i64| u64::try_from(number).unwrap_or(0);
            let forks = u64::try_from(segment.trunks.len()).unwrap_or(0);
            let busy = member.trace.run.busy;
            if member.trace.run.job.turn.spent() {
                late.push(member.index);
            }
            let usage = Usage {
                forwards: 1,
                shared,
                rows: count(segment.rows),
                tokens: count(tokens),
                forks,
                layers_run: segment.done.layers,
                layers_skipped: layers.saturating_sub(segment.done.layers),
                shapes: segment.done.shapes,
                seconds: cost + time.as_secs_f64(),
                ..Usage::default()
            };
            usages.push((member.index, usage));
            let load = Load::computed(segment.rows, &segment.done, busy);
            let part =
                Part { tenant: member.tenant, load, computed: segment.done.tokens, depth: depth(segment.done.layers) };
            parts.push(part);
        }
        if let Some(limit) = limit.filter(|_| self.stack == Stack::Threads) {
            let blocks = parts.iter().map(|part| part.load.blocks).sum();
            let time = clock.clock().saturating_sub(began).saturating_sub(blocks);
            self.shares.passed(limit, Took { time, depth: depth(deepest) }, &parts);
        }
        let most = common.settings.shared_tokens.min(common.settings.pass_tokens);
        let phases = Phases {
            prepare: prepared.saturating_sub(began),
            model: computed_at.saturating_sub(prepared).saturating_sub(blocks),
            blocks,
            finish: clock.clock().saturating_sub(computed_at),
        };
        common.series.passed(phases, counted, &usages, most);
        let mut last = None;
        for (index, usage) in usages {
            if let Some(active) = self.active.get_mut(index) {
                active.usage.add(&usage);
                active.trace_pass(&usage, started);
                if last.replace(index) != Some(index) {
                    active.note_pass();
                }
            }
        }
        for (mut jobs, alone) in [(apart, true), (late, false)] {
            jobs.dedup();
            for index in jobs {
                if let Some(active) = self.active.get_mut(index) {
                    active.restart(alone);
                }
            }
        }
        Ok(())
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

/// A trace that takes part in a pass.
struct Member<'a, M: Model> {
    /// Its job's place among the active ones.
    index: usize,
    tenant: TenantId,
    alone: bool,
    batching: Batching,
    trace: &'a mut Trace<M>,
}

/// Makes a pass undone that failed.
fn undo<M: Model>(members: &mut [Member<'_, M>], segments: Vec<Segment<M::Tensor>>) {
    for (member, segment) in members.iter_mut().zip(segments) {
        member.trace.undo_pass(segment.cache);
    }
}

/// Gives segments what is kept of their rows. That saves work, and no more: where it cannot be had, they are computed.
fn fork<M: Model>(
    common: &Common<M>,
    members: &[Member<'_, M>],
    segments: &mut [Segment<M::Tensor>],
    pacing: Option<&Pacing<M>>,
) {
    let rows_of = |(member, segment): (&Member<'_, M>, &Segment<M::Tensor>)| {
        // What is kept was computed at shapes of then.
        let forks = !member.alone && member.batching == Batching::Shared;
        let plain = if forks { member.trace.plain_rows() } else { None };
        let row = |ids: Vec<i64>| Row::new(&member.tenant, segment.attention, ids);
        plain.into_iter().flatten().map(row).collect::<Vec<_>>()
    };
    let rows: Vec<Vec<Row>> = members.iter().zip(segments.iter()).map(rows_of).collect();
    let bytes = |row: &Row| common.model.trunk_bytes(i64::try_from(row.ids.len()).unwrap_or(i64::MAX));
    let wanted = common.trunks.borrow_mut().want(&rows, bytes);
    // Others may come and go while these are computed.
    let rest = || pacing.into_iter().for_each(Pacing::pause_if_late);
    let computed = wanted.missing().map(|(rows, attention)| common.model.trunks(&rows, attention, &rest));
    let computed = computed.map(Result::unwrap_or_default).collect();
    for (segment, own) in segments.iter_mut().zip(common.trunks.borrow_mut().find(&rows, &wanted, computed)) {
        segment.trunks = own;
    }
}
