//! The engine: many jobs' programs over one model, sharing its forward passes.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use ids::{JobId, TenantId};
use interpreter::frame::Frame;
use interpreter::raise::{Fatal, Raise};
use interpreter::{Coroutine, Machine, Step, Value};
use program::{Batching, Entry, Saved};

use crate::ask::{Ask, TraceRequest};
use crate::contract::{Engine, Event, Failure, Fault, Job, Usage};
use crate::deferral::{Deferral, Knows, PutOff, Settle};
use crate::environment::Environment;
use crate::envoy::Envoy;
use crate::job::JobState;
use crate::lane::Lanes;
use crate::location::Order;
use crate::mediator::deferred;
use crate::model::{Attention, Done, Interrupt, Model, Segment};
use crate::pass::Pass;
use crate::run::Ending;
use crate::trace::{Prepared, Trace};
use crate::trunks::{Row, Trunks};
use crate::turn::{Crowd, Turn};
use crate::{freeze, gradients, thaw};

/// Tokens of one forward pass beyond which no further trace joins it.
const PASS_TOKENS: i64 = 4096;

/// Bytes of one forward pass, as the model estimates them, beyond which no further job joins it.
const PASS_BYTES: u64 = 2 << 30;

/// Runs jobs over one model.
pub struct Interleaver<M: Model> {
    together: Together<M>,
    lanes: Lanes<M>,
    crowd: Rc<Crowd>,
}

/// Jobs that share passes, or one by itself.
pub struct Together<M: Model> {
    model: Rc<M>,
    order: Rc<Order>,
    active: VecDeque<Active<M>>,
    /// `None` where a job is by itself.
    trunks: Option<Trunks>,
    /// Tokens of one pass beyond which no other job joins it.
    shared_tokens: i64,
}

/// Bytes of rows kept for later passes.
const KEPT_BYTES: u64 = 1 << 30;

impl<M: Model> Interleaver<M> {
    /// Makes an engine over a loaded model.
    pub fn new(model: M) -> Self {
        let order = Rc::new(Order::new(model.schema()));
        let (active, trunks) = (VecDeque::new(), Some(Trunks::new(KEPT_BYTES)));
        let together = Together { model: Rc::new(model), order, active, trunks, shared_tokens: PASS_TOKENS };
        Self { together, lanes: Lanes::default(), crowd: Rc::default() }
    }

    /// Sets how long a job's own code may keep those waiting that it shares passes with: 25 ms, if this is not called.
    /// Where only steps count, what shares a pass does not depend on the machine, and neither do last bits.
    #[must_use]
    pub fn with_slice(self, slice: Duration) -> Self {
        self.crowd.slice.set(slice);
        self
    }

    /// Sets how many tokens of different jobs share a pass: 4096, if this is not called. Where more together are no less
    /// work, fewer have each wait for less.
    #[must_use]
    pub fn with_shared_tokens(mut self, tokens: i64) -> Self {
        self.together.shared_tokens = tokens.min(PASS_TOKENS);
        self
    }
}

impl<M: Model> Together<M> {
    /// Makes what runs one job by itself.
    pub fn alone(model: Rc<M>, order: Rc<Order>, active: Active<M>) -> Self {
        Self { model, order, active: VecDeque::from([active]), trunks: None, shared_tokens: PASS_TOKENS }
    }

    /// Returns whether all jobs have ended.
    pub fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// Runs every job's own code, and one pass at most.
    pub fn step(&mut self, events: &mut Vec<Event>) {
        self.advance_all(events);
        if self.active.iter().any(|active| active.traces().iter().any(Trace::wants_pass)) {
            self.pass(events);
            self.advance_all(events);
        }
    }

    /// Takes out the jobs that must not share the thread like this.
    fn leaving(&mut self) -> Vec<Active<M>> {
        if !self.active.iter().any(Active::leaves) {
            return Vec::new();
        }
        let (leaving, staying) = std::mem::take(&mut self.active).into_iter().partition(Active::leaves);
        self.active = staying;
        Vec::from(leaving)
    }

    /// Brings every job to where it needs the model, or to its end.
    fn advance_all(&mut self, events: &mut Vec<Event>) {
        let shared = self.trunks.is_some();
        let mut index = 0;
        while let Some(active) = self.active.get_mut(index) {
            if shared && active.leaves() {
                index += 1;
                continue;
            }
            let end = active.advance(&self.model, &self.order);
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

    /// Runs one forward pass for as many traces as fit.
    fn pass(&mut self, events: &mut Vec<Event>) {
        let (mut tokens, mut bytes) = (0, 0);
        let mut joined: Vec<(usize, usize)> = Vec::new();
        let mut shared = None;
        'jobs: for (index, active) in self.active.iter().enumerate() {
            for (place, trace) in active.traces().iter().enumerate().filter(|(_, trace)| trace.wants_pass()) {
                let company = trace.company().map(|company| (company, active.usage.batching));
                let large = trace.tokens() > PASS_TOKENS || trace.bytes() > PASS_BYTES;
                let alone = active.alone || large || company.is_none();
                let own = joined.iter().all(|(other, _)| *other == index);
                let most = if own { PASS_TOKENS } else { self.shared_tokens };
                let room = tokens + trace.tokens() <= most && bytes + trace.bytes() <= PASS_BYTES;
                if joined.is_empty() || (!alone && room && company == shared) {
                    tokens += trace.tokens();
                    bytes += trace.bytes();
                    joined.push((index, place));
                    shared = company;
                    if alone {
                        break 'jobs;
                    }
                }
            }
        }
        let carried: HashSet<JobId> =
            joined.iter().filter_map(|(index, _)| self.active.get(*index)).map(|active| active.job.id).collect();
        if let Err(raise) = self.run_pass(&joined) {
            self.contain(&joined, &raise, events);
        }
        // Jobs that wait go first in the next pass, so that none waits for more passes than there are kinds of them.
        self.active.make_contiguous().sort_by_key(|active| carried.contains(&active.job.id));
    }

    /// Runs the model over the segments of some jobs' traces, and hands each its part of the outcome.
    fn run_pass(&mut self, joined: &[(usize, usize)]) -> Result<(), Raise> {
        let mut members: Vec<Member<'_, M>> = Vec::with_capacity(joined.len());
        let mut rest = joined.iter().peekable();
        for (index, active) in self.active.iter_mut().enumerate() {
            let batching = active.usage.batching;
            let Active { job, phase, alone, .. } = active;
            let Phase::Running(running) = phase else { continue };
            for (place, trace) in running.traces.iter_mut().enumerate() {
                if rest.next_if_eq(&&(index, place)).is_some() {
                    members.push(Member { index, tenant: &job.tenant, alone: *alone, batching, trace });
                }
            }
        }
        members.iter().for_each(|member| member.trace.run.job.turn.begin());
        // In a lane there is one job only, and elsewhere none is paused: any of their clocks measures the pass.
        let Some(clock) = members.first().map(|member| Rc::clone(&member.trace.run.job.turn)) else { return Ok(()) };
        let began = clock.clock();
        let segment = |member: &mut Member<'_, M>| Ok(Segment { batching: member.batching, ..member.trace.segment()? });
        let mut segments = members.iter_mut().map(segment).collect::<Result<Vec<_>, Raise>>()?;
        fork(&*self.model, self.trunks.as_mut(), &members, &mut segments)?;
        let outcome = {
            let runs = members.iter_mut().map(|member| &mut member.trace.run).collect();
            let mut pass = Pass::new(runs, segments.iter().map(|segment| !segment.trunks.is_empty()));
            let outcome = self.model.forward(&mut segments, &mut pass);
            pass.end()?;
            outcome
        };
        let output = match outcome {
            Ok(output) => Some(output),
            Err(Interrupt::Enough) => None,
            Err(Interrupt::Failed(raise)) => return Err(raise),
        };
        let computed: u64 = segments.iter().map(|segment| segment.done.tokens).sum();
        let blocks: Duration = members.iter().map(|member| member.trace.run.busy).sum();
        let seconds = clock.clock().saturating_sub(began).saturating_sub(blocks).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^52")]
        let share = |done: &Done| match computed {
            0 => seconds / members.len() as f64,
            all => seconds * done.tokens as f64 / all as f64,
        };
        let layers = u64::try_from(self.model.schema().layers.len()).unwrap_or(0);
        let costs: Vec<f64> = segments.iter().map(|segment| share(&segment.done)).collect();
        let shared = u64::try_from(members.len()).unwrap_or(0);
        let mut usages = Vec::with_capacity(members.len());
        let (mut apart, mut late) = (Vec::new(), Vec::new());
        for (place, ((member, segment), cost)) in members.into_iter().zip(segments).zip(costs).enumerate() {
            let tokens = segment.rows * segment.length;
            let own = output.as_ref().and_then(|output| Some((output, output.layout.position(place)?)));
            let count = |number: i64| u64::try_from(number).unwrap_or(0);
            let forks = u64::try_from(segment.trunks.len()).unwrap_or(0);
            if matches!(member.trace.run.ended, Some(Ending::Apart)) {
                apart.push(member.index);
            }
            // This runs blocks, too.
            member.trace.after_pass(own, segment.cache);
            let busy = std::mem::take(&mut member.trace.run.busy).as_secs_f64();
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
                seconds: cost + busy,
                ..Usage::default()
            };
            usages.push((member.index, usage));
        }
        for (index, usage) in usages {
            if let Some(active) = self.active.get_mut(index) {
                active.usage.add(&usage);
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

    /// Arithmetic failed in the middle of a pass. Alone, the trace's job is to blame; together, each job runs again by
    /// itself and trace by trace from its beginning, and what it printed already is not printed twice.
    fn contain(&mut self, joined: &[(usize, usize)], raise: &Raise, events: &mut Vec<Event>) {
        if let &[(only, _)] = joined {
            if let Some(active) = self.active.remove(only) {
                active.end(Err(failure_of(raise)), events);
            }
            return;
        }
        let mut jobs: Vec<usize> = joined.iter().map(|(index, _)| *index).collect();
        jobs.dedup();
        for index in jobs {
            if let Some(active) = self.active.get_mut(index) {
                active.restart(true);
            }
        }
    }
}

impl<M: Model> Engine for Interleaver<M> {
    fn submit(&mut self, job: Job) {
        let active = Active::new(job, &self.crowd);
        if active.leaves() {
            self.lanes.push(active);
        } else {
            self.together.active.push_back(active);
        }
    }

    fn attend(&mut self, waits: Rc<dyn Fn() -> bool>) {
        *self.crowd.outside.borrow_mut() = Some(waits);
    }

    fn cancel(&mut self, job: JobId) {
        let together = self.together.active.iter().find(|active| active.job.id == job);
        if let Some(stop) = together.map(|active| &*active.job.stop).or_else(|| self.lanes.stop_flag(job)) {
            stop.store(1, Ordering::Relaxed);
        }
    }

    fn step(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        self.crowd.jobs.set(self.together.active.len() + self.lanes.len());
        self.together.step(&mut events);
        for active in self.together.leaving() {
            self.lanes.push(active);
        }
        self.lanes.step(&self.together.model, &self.together.order, &mut events);
        events
    }

    fn idle(&self) -> bool {
        self.together.is_empty() && self.lanes.len() == 0
    }
}

/// A trace that takes part in a pass.
struct Member<'a, M: Model> {
    /// Its job's place among the active ones.
    index: usize,
    tenant: &'a TenantId,
    alone: bool,
    batching: Batching,
    trace: &'a mut Trace<M>,
}

/// Gives segments what is kept of their rows.
fn fork<M: Model>(
    model: &M,
    trunks: Option<&mut Trunks>,
    members: &[Member<'_, M>],
    segments: &mut [Segment<M::Tensor>],
) -> Result<(), Raise> {
    let Some(trunks) = trunks else { return Ok(()) };
    let rows_of = |(member, segment): (&Member<'_, M>, &Segment<M::Tensor>)| {
        // What is kept was computed at shapes of then.
        let forks = !member.alone && member.batching == Batching::Shared;
        let plain = if forks { member.trace.plain_rows() } else { None };
        let row = |ids: Vec<i64>| Row { tenant: member.tenant.clone(), attention: segment.attention, ids: ids.into() };
        plain.into_iter().flatten().map(row).collect::<Vec<_>>()
    };
    let rows: Vec<Vec<Row>> = members.iter().zip(segments.iter()).map(rows_of).collect();
    for (segment, own) in segments.iter_mut().zip(trunks.find(&rows, |ids, attention| model.trunks(ids, attention))?) {
        segment.trunks = own;
    }
    Ok(())
}

/// One job that has not ended.
pub struct Active<M: Model> {
    job: Job,
    phase: Phase<M>,
    turn: Rc<Turn>,
    usage: Usage,
    started: bool,
    /// Whether the job must have passes of its own, trace by trace.
    alone: bool,
    /// Whether its code took longer than it may among others.
    long: bool,
    /// Lines printed, until they are reported; and how many of the coming ones were reported before a restart.
    printed: Rc<RefCell<Vec<String>>>,
    reported: usize,
    muted: usize,
}

enum Phase<M: Model> {
    New,
    Running(Box<Running<M>>),
}

struct Running<M: Model> {
    state: Rc<JobState<M>>,
    machine: Machine,
    frame: Rc<Frame>,
    /// The body of a session, and its answer for when it goes on; `None` for a single trace.
    session: Option<Session>,
    /// Traces that are open: one, or those that were put off.
    traces: Vec<Trace<M>>,
    /// What the open ones were put off with; empty for a trace that was not.
    put_off: Vec<PutOff>,
    /// Traces that nobody needs yet.
    waiting: Vec<(Prepared<M>, PutOff)>,
    /// Whether any trace was put off.
    late: bool,
    /// Why a trace that had waited could not be opened.
    refused: Option<Raise>,
}

/// Traces of one session that wait at most: their states are held together.
const WAITING: usize = 1024;

struct Session {
    coroutine: Coroutine,
    answer: Option<Result<Value, Raise>>,
    /// The trace to open after those that waited.
    next: Option<Box<TraceRequest>>,
    done: bool,
    /// What the code raised, while traces that stand before that waited: one of theirs would have come first.
    raised: Option<Raise>,
}

type End = Result<Saved, Failure>;

impl<M: Model> Active<M> {
    fn new(job: Job, crowd: &Rc<Crowd>) -> Self {
        let batching = job.program.env.batching.unwrap_or_default();
        Self {
            alone: batching == Batching::Exclusive,
            long: false,
            job,
            phase: Phase::New,
            turn: Rc::new(Turn::in_company(crowd)),
            usage: Usage { batching, ..Usage::default() },
            started: false,
            printed: Rc::default(),
            reported: 0,
            muted: 0,
        }
    }

    /// Returns the traces that are open.
    fn traces(&self) -> &[Trace<M>] {
        match &self.phase {
            Phase::Running(running) => &running.traces,
            Phase::New => &[],
        }
    }

    pub fn id(&self) -> JobId {
        self.job.id
    }

    pub fn tenant(&self) -> &TenantId {
        &self.job.tenant
    }

    /// Returns what stops the job, as in [`Job::stop`].
    pub fn stop(&self) -> &Arc<AtomicU8> {
        &self.job.stop
    }

    /// Has the job, which has not begun or begins again, use the thread as a lane does.
    pub fn take_turns(&mut self, turn: &Rc<Turn>) {
        self.turn = Rc::clone(turn);
    }

    /// Returns whether the job belongs in a lane.
    fn leaves(&self) -> bool {
        self.alone || self.long
    }

    /// Has the job run again from its beginning, in a lane: trace by trace where it is to be `alone`, else as it would if
    /// there were nobody else.
    fn restart(&mut self, alone: bool) {
        if let Phase::Running(running) = std::mem::replace(&mut self.phase, Phase::New) {
            running.teardown();
        }
        self.printed.borrow_mut().clear();
        self.alone |= alone;
        self.long = true;
        self.muted = self.muted.max(self.reported);
        self.reported = 0;
    }

    /// Ends a job that was stopped before it began, or began again.
    pub fn stopped(self, code: u8, events: &mut Vec<Event>) {
        self.end(Err(stopped(code)), events);
    }

    /// Runs the job's own code until it needs the model (`None`) or ends. Where it has to run again it does neither.
    fn advance(&mut self, model: &Rc<M>, order: &Rc<Order>) -> Option<End> {
        let turn = Rc::clone(&self.turn);
        turn.begin();
        let stint = turn.enter();
        let end = self.advance_inner(model, order);
        self.usage.seconds += turn.leave(stint).as_secs_f64();
        if let Phase::Running(running) = &self.phase {
            self.usage.fuel = running.machine.fuel_used();
        }
        if turn.spent() {
            self.restart(false);
            return None;
        }
        end
    }

    fn advance_inner(&mut self, model: &Rc<M>, order: &Rc<Order>) -> Option<End> {
        let stop = self.job.stop.load(Ordering::Relaxed);
        if stop != 0 {
            return Some(Err(stopped(stop)));
        }
        if let Phase::New = self.phase {
            match begin(&self.job, model, order, &self.turn, &self.printed, !self.alone) {
                Ok(running) => self.phase = Phase::Running(Box::new(running)),
                Err(failure) => return Some(Err(failure)),
            }
        }
        let Phase::Running(running) = &mut self.phase else { return None };
        let advanced = running.advance();
        if !self.alone && model.regrets(&running.machine) {
            self.restart(true);
            return None;
        }
        match advanced {
            Ok(false) => None,
            Ok(true) => {
                running.machine.flush();
                Some(
                    freeze::saved(&running.state, &running.machine, &running.frame, &self.job.limits)
                        .map_err(|raise| failure_of(&raise)),
                )
            }
            // Traces that wait for each other hold more at once than they do in turn.
            Err(raise) if running.late && matches!(raise.as_fatal(), Some(Fatal::Memory | Fatal::Tensors)) => {
                self.restart(true);
                None
            }
            Err(raise) => {
                running.machine.flush();
                Some(Err(failure_of(&raise)))
            }
        }
    }

    /// Emits what happened since the last report.
    fn report(&mut self, events: &mut Vec<Event>) {
        if !self.started {
            self.started = true;
            events.push(Event::Started(self.job.id));
        }
        for line in self.printed.borrow_mut().drain(..) {
            self.reported += 1;
            if self.reported > self.muted {
                events.push(Event::Printed(self.job.id, line));
            }
        }
    }

    fn end(mut self, end: End, events: &mut Vec<Event>) {
        self.report(events);
        events.push(match end {
            Ok(saved) => Event::Finished(self.job.id, saved, self.usage),
            Err(failure) => Event::Failed(self.job.id, failure, self.usage),
        });
        if let Phase::Running(running) = self.phase {
            running.teardown();
        }
    }
}

impl<M: Model> Running<M> {
    fn new(state: Rc<JobState<M>>, machine: Machine, frame: Rc<Frame>, session: Option<Session>) -> Self {
        Self {
            state,
            machine,
            frame,
            session,
            traces: Vec::new(),
            put_off: Vec::new(),
            waiting: Vec::new(),
            late: false,
            refused: None,
        }
    }

    /// Returns whether the job is complete; `false` means that it needs the model.
    fn advance(&mut self) -> Result<bool, Raise> {
        loop {
            if !self.traces.is_empty() || self.refused.is_some() {
                if self.traces.iter().any(Trace::wants_pass) {
                    return Ok(false);
                }
                let closed = self.close();
                match &mut self.session {
                    None => return closed.map(|()| true),
                    Some(Session { done: true, raised, .. }) => {
                        closed?;
                        return raised.take().map_or(Ok(true), Err);
                    }
                    Some(session) => match (session.next.take(), closed) {
                        (Some(request), Ok(())) => self.open(*request),
                        (_, closed) => session.answer = Some(closed.map(|()| Value::None)),
                    },
                }
                continue;
            }
            let Some(session) = &mut self.session else { return Ok(true) };
            if session.done {
                return Ok(true);
            }
            match session.coroutine.resume(session.answer.take()) {
                Step::Done(result) => {
                    session.done = true;
                    match result {
                        Err(raise) if raise.as_fatal().is_some() || self.waiting.is_empty() => return Err(raise),
                        result => session.raised = result.err(),
                    }
                    self.settle();
                }
                Step::Waiting(request) if request.0.is::<Settle>() => {
                    session.answer = Some(Ok(Value::None));
                    self.settle();
                }
                Step::Waiting(request) => match request.0.downcast::<Ask>().map(|ask| *ask) {
                    // Input is read now: what is wrong with it is raised at its line.
                    Ok(Ask::PutOff(request, put_off)) => match Prepared::new(&self.state, &self.machine, *request) {
                        Ok(prepared) => {
                            session.answer = Some(Ok(Value::None));
                            self.waiting.push((prepared, put_off));
                            self.late = true;
                            if self.waiting.len() >= WAITING {
                                self.settle();
                            }
                        }
                        Err(raise) => session.answer = Some(Err(raise)),
                    },
                    Ok(Ask::Trace(request)) if self.waiting.is_empty() => self.open(*request),
                    Ok(Ask::Trace(request)) => {
                        session.next = Some(request);
                        self.settle();
                    }
                    Ok(_) => {
                        session.answer =
                            Some(Err(Raise::value_error("nothing of the model can be read outside of a trace")))
                    }
                    Err(request) => {
                        session.answer = Some(self.state.turn.wait(|| deferred::<M::Tensor>(request)));
                    }
                },
            }
        }
    }

    /// Opens a trace that runs at once.
    fn open(&mut self, request: TraceRequest) {
        match Trace::open(&self.state, &self.machine, request) {
            Ok(trace) => self.traces.push(trace),
            Err(raise) => {
                if let Some(session) = &mut self.session {
                    session.answer = Some(Err(raise));
                }
            }
        }
    }

    /// Opens the traces that were put off, all together.
    fn settle(&mut self) {
        if let Some(deferral) = Deferral::of(&self.machine) {
            deferral.settled();
        }
        for (prepared, put_off) in std::mem::take(&mut self.waiting) {
            match prepared.start(&self.state, &self.machine) {
                Ok(trace) => {
                    self.traces.push(trace);
                    self.put_off.push(put_off);
                }
                // What stands behind it never ran.
                Err(raise) => {
                    self.refused = Some(raise);
                    break;
                }
            }
        }
    }

    /// Closes the open traces one after another, as if each had run in its turn. The first that raised is the last.
    fn close(&mut self) -> Result<(), Raise> {
        let mut put_off = std::mem::take(&mut self.put_off).into_iter();
        for trace in std::mem::take(&mut self.traces) {
            let closed = trace.close();
            if let Some(put_off) = put_off.next() {
                let finished = put_off.finish(self.machine.clone(), Rc::clone(&self.frame));
                let finished = Box::pin(async move { finished.await.map(|()| Value::None) });
                match Coroutine::of_future(&self.machine, finished).resume(None) {
                    // What it stored comes before what it raised, and may have failed itself.
                    Step::Done(stored) => drop(stored?),
                    Step::Waiting(_) => {
                        return Err(Raise::runtime_error("nothing can be stored that waits for the model"));
                    }
                }
            }
            closed?;
        }
        self.refused.take().map_or(Ok(()), Err)
    }

    fn teardown(self: Box<Self>) {
        let machine = self.machine.clone();
        // The run's coroutines hold frames: they go first.
        drop(self);
        machine.teardown();
    }
}

fn begin<M: Model>(
    job: &Job,
    model: &Rc<M>,
    order: &Rc<Order>,
    turn: &Rc<Turn>,
    printed: &Rc<RefCell<Vec<String>>>,
    together: bool,
) -> Result<Running<M>, Failure> {
    let program = &job.program;
    let attention = match program.env.attn_implementation.as_deref() {
        None | Some("sdpa") => Attention::Sdpa,
        Some("eager") => Attention::Eager,
        Some(other) => {
            return Err(Failure {
                fault: Fault::User,
                message: format!(
                    "ValueError: this server has the attention implementations 'sdpa' and 'eager', not {other:?}; \
                     load the model with one of them"
                ),
            });
        }
    };
    if let Some(peft) = &program.env.peft {
        return Err(Failure {
            fault: Fault::User,
            message: format!("ValueError: this server applies no PEFT adapters, and the request asks for {peft:?}"),
        });
    }
    let state = Rc::new(JobState::new(Rc::clone(model), Rc::clone(order), attention, Rc::clone(turn)));
    let environment = Rc::new(Environment::new(Rc::clone(&state), Rc::clone(printed)));
    let machine = Machine::new(&job.limits, environment);
    machine.set_stop_flag(std::sync::Arc::clone(&job.stop));
    model.begin(&machine, gradients::mentioned(program), program.env.batching.unwrap_or_default(), !together);
    let running = start(job, &state, &machine, together);
    if running.is_err() {
        machine.teardown();
    }
    running.map_err(|raise| failure_of(&raise))
}

/// `together` says that traces of a session may wait for each other.
fn start<M: Model>(job: &Job, state: &Rc<JobState<M>>, machine: &Machine, together: bool) -> Result<Running<M>, Raise> {
    let program = &job.program;
    let mut thaw = thaw::Thaw::new(state, machine, &program.heap);
    thaw.require_modules(&program.modules)?;
    let names = |thaw: &mut thaw::Thaw<'_, M>, names: &[(String, program::Ref)]| {
        names
            .iter()
            .map(|(name, at)| Ok((Rc::from(name.as_str()), thaw.value(*at)?)))
            .collect::<Result<Vec<_>, Raise>>()
    };
    let locals = names(&mut thaw, &program.locals)?;
    let globals = names(&mut thaw, &program.globals)?;
    let body = Frame::root(machine, &program.source, locals, globals)?;
    // What a request carries is not what its code takes.
    state.turn.begin();
    let frame = Rc::clone(&body.frame);
    let (state, machine) = (Rc::clone(state), machine.clone());
    match &program.entry {
        Entry::Session => {
            let coroutine = Coroutine::of_block(&machine, body);
            if together {
                let knows = Knows { is_model: Envoy::<M>::is_model, opens: Envoy::<M>::opens };
                Deferral::watch(&machine, &frame, knows);
            }
            let session = Session { coroutine, answer: None, next: None, done: false, raised: None };
            Ok(Running::new(state, machine, frame, Some(session)))
        }
        Entry::Trace { function, envoy, args, kwargs } => {
            thaw.require_root(*envoy)?;
            let args = args.iter().map(|at| thaw.value(*at)).collect::<Result<_, _>>()?;
            let kwargs = kwargs
                .iter()
                .map(|(name, at)| Ok((Rc::from(name.as_str()), thaw.value(*at)?)))
                .collect::<Result<_, Raise>>()?;
            let request = TraceRequest { function: *function, args, kwargs, body, tracer: thaw.tracer_state() };
            let trace = Trace::open(&state, &machine, request)?;
            let mut running = Running::new(state, machine, frame, None);
            running.traces.push(trace);
            Ok(running)
        }
    }
}

fn failure_of(raise: &Raise) -> Failure {
    let fault = match raise.as_fatal() {
        None => Fault::User,
        Some(Fatal::Cancelled) => Fault::Cancelled,
        Some(_) => Fault::Limit,
    };
    Failure { fault, message: raise.traceback_text().trim_end().to_owned() }
}

fn stopped(code: u8) -> Failure {
    if code == 1 {
        Failure { fault: Fault::Cancelled, message: "the job was cancelled".into() }
    } else {
        Failure { fault: Fault::Limit, message: "TimeoutError: the job ran longer than its limit allows".into() }
    }
}
