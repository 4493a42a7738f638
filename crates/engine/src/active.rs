//! One job that has not ended: how far its own code is, and the traces that it has open.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, mpsc};
use std::time::Instant;

use interpreter::frame::Frame;
use interpreter::raise::{Fatal, Raise};
use interpreter::{Coroutine, Machine, Step, Value};
use program::{Batching, Entry, Program, Saved};
use telemetry::trace::time_of;

use crate::adapter::Adapter;
use crate::ask::{Ask, TraceRequest};
use crate::common::Common;
use crate::contract::{Event, Failure, Fault, Job, Usage};
use crate::deferral::{Deferral, Knows, PutOff, Settle};
use crate::environment::Environment;
use crate::envoy::Envoy;
use crate::job::JobState;
use crate::mediator::deferred;
use crate::mentioned::Mentioned;
use crate::model::{Attention, Model};
use crate::trace::{Prepared, Trace};
use crate::turn::{Crowd, Reading, Turn};
use crate::{freeze, thaw};

/// One job that has not ended.
pub struct Active<M: Model> {
    pub job: Job,
    pub usage: Usage,
    /// Whether the job must have passes of its own, trace by trace.
    pub alone: bool,
    /// Which passes it may share while it is looked for who spoils them.
    pub trial: Option<Trial>,
    phase: Phase<M>,
    turn: Rc<Turn>,
    started: bool,
    /// Whether its code took longer than it may among others.
    long: bool,
    /// Passes since it began, or began again.
    passes: u64,
    /// Lines printed, until they are reported; and how many of the coming ones were reported before a restart.
    printed: Rc<RefCell<Vec<String>>>,
    reported: usize,
    muted: usize,
}

/// Jobs of one group share passes with each other only, since a pass of theirs failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    pub group: u64,
    /// Passes after which the job has done what failed.
    until: u64,
    /// How often it began again to find out who is to blame.
    begun_again: u32,
}

/// How often a job begins again in company while others are looked for who spoil its passes: by halves, this finds one
/// among more jobs than any worker takes.
const TRIALS: u32 = 16;

/// Values of a request, and bytes of them, beyond which it is read, and forgotten, beside what others do.
const LARGE: usize = 1 << 10;
const LARGE_BYTES: u64 = 4 << 20;

/// Passes of a job that have spans of their own.
const TRACED: u64 = 16;

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
    /// See [`crate::settings::Settings::waiting_traces`].
    most_waiting: usize,
    /// Why a trace that had waited could not be opened.
    refused: Option<Raise>,
}

struct Session {
    coroutine: Coroutine,
    answer: Option<Result<Value, Raise>>,
    /// The trace to open after those that waited.
    next: Option<Box<TraceRequest>>,
    done: bool,
    /// What the code raised, while traces that stand before that waited: one of theirs would have come first.
    raised: Option<Raise>,
}

pub type End = Result<Saved, Failure>;

impl<M: Model> Active<M> {
    /// Takes a job that has not begun.
    pub fn new(job: Job, crowd: &Rc<Crowd>) -> Self {
        let batching = job.program.env.batching.unwrap_or_default();
        Self {
            alone: batching == Batching::Exclusive,
            long: false,
            trial: None,
            passes: 0,
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
    pub fn traces(&self) -> &[Trace<M>] {
        match &self.phase {
            Phase::Running(running) => &running.traces,
            Phase::New => &[],
        }
    }

    /// Returns the traces that are open, to run them.
    pub fn traces_mut(&mut self) -> &mut [Trace<M>] {
        match &mut self.phase {
            Phase::Running(running) => &mut running.traces,
            Phase::New => &mut [],
        }
    }

    /// Returns how long the job may have the thread, and when others do.
    pub fn turn(&self) -> &Rc<Turn> {
        &self.turn
    }

    /// Returns whether something from outside ends the job.
    pub fn is_stopped(&self) -> bool {
        self.job.stop.load(Ordering::Relaxed) != 0
    }

    /// Has the job, which has not begun or begins again, use the thread as a lane does.
    pub fn take_turns(&mut self, turn: &Rc<Turn>) {
        self.turn = Rc::clone(turn);
    }

    /// Returns whether the job belongs in a lane.
    pub fn leaves(&self) -> bool {
        self.alone || self.long
    }

    /// Has the job run again from its beginning, in a lane: trace by trace where it is to be `alone`, else as it would if
    /// there were nobody else.
    pub fn restart(&mut self, alone: bool) {
        self.begin_again();
        self.alone |= alone;
        self.long = true;
        self.trial = None;
    }

    /// What it printed already is not printed twice.
    fn begin_again(&mut self) {
        if let Phase::Running(running) = std::mem::replace(&mut self.phase, Phase::New) {
            running.teardown();
        }
        self.printed.borrow_mut().clear();
        self.muted = self.muted.max(self.reported);
        self.reported = 0;
        self.passes = 0;
    }

    /// Has the job share its next passes with its group only, until it has done again what failed. Where its blocks had no
    /// part in that, they do not even notice; else it runs again from its beginning.
    pub fn try_again(&mut self, group: u64, again: bool) {
        let begun_again = self.trial.map_or(0, |trial| trial.begun_again) + u32::from(again);
        if begun_again > TRIALS {
            return self.restart(true);
        }
        self.trial = Some(Trial { group, until: self.passes + 1, begun_again });
        if again {
            self.begin_again();
        }
    }

    /// Returns whether the job has code of its own between passes, which is to run now.
    fn is_between_traces(&self) -> bool {
        matches!(self.job.program.entry, Entry::Session) && !self.traces().iter().any(Trace::wants_pass)
    }

    /// Returns whether what the job is about to do on its own may take long: a session's code, or reading a large request.
    pub fn may_last(&self) -> bool {
        let reads = matches!(self.phase, Phase::New) && is_large(&self.job.program);
        reads || self.is_between_traces()
    }

    /// Returns whether its own code need not run now: it has not begun, or is between two traces, and nothing ends it.
    pub fn can_wait(&self) -> bool {
        let begins = matches!(self.phase, Phase::New) || self.is_between_traces();
        begins && !self.is_stopped()
    }

    /// Tells of a pass, where the job is traced. Of many passes only the first are told.
    pub fn trace_pass(&self, usage: &Usage, began: Instant) {
        let Some(trace) = self.job.trace.filter(|_| self.usage.forwards <= TRACED) else { return };
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        trace
            .step_since("forward", time_of(began))
            .with("traces", count(usage.shared))
            .with("rows", count(usage.rows))
            .with("tokens", count(usage.tokens))
            .with("layers_run", count(usage.layers_run))
            .with("layers_saved", count(usage.layers_skipped))
            .end();
    }

    /// Notes that a pass of the job's is done.
    pub fn note_pass(&mut self) {
        self.passes += 1;
        self.job.progress.passed(self.passes);
        self.trial = self.trial.filter(|trial| self.passes < trial.until);
    }

    /// Ends a job that was stopped before it began, or began again.
    pub fn stopped(self, code: u8, events: &mut Vec<Event>) {
        self.end(Err(stopped(code)), events);
    }

    /// Runs the job's own code until it needs the model (`None`) or ends. Where it has to run again it does neither.
    pub fn advance(&mut self, common: &Common<M>) -> Option<End> {
        let turn = Rc::clone(&self.turn);
        turn.begin();
        let stint = turn.enter();
        let end = self.advance_inner(common);
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

    fn advance_inner(&mut self, common: &Common<M>) -> Option<End> {
        let stop = self.job.stop.load(Ordering::Relaxed);
        if stop != 0 {
            return Some(Err(stopped(stop)));
        }
        if let Phase::New = self.phase {
            match begin(&self.job, common, &self.turn, &self.printed, !self.alone) {
                Ok(running) => self.phase = Phase::Running(Box::new(running)),
                Err(failure) => return Some(Err(failure)),
            }
        }
        let Phase::Running(running) = &mut self.phase else { return None };
        let advanced = running.advance();
        if !self.alone && common.model.regrets(&running.machine) {
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
    pub fn report(&mut self, events: &mut Vec<Event>) {
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

    pub fn end(mut self, end: End, events: &mut Vec<Event>) {
        self.report(events);
        events.push(match end {
            Ok(saved) => Event::Finished(self.job.id, saved, self.usage),
            Err(failure) => Event::Failed(self.job.id, failure, self.usage),
        });
        if let Phase::Running(running) = self.phase {
            running.teardown();
        }
        if is_large(&self.job.program) {
            forget(self.job.program);
        }
    }
}

impl<M: Model> Running<M> {
    fn new(state: Rc<JobState<M>>, machine: Machine, frame: Rc<Frame>, session: Option<Session>) -> Self {
        Self {
            most_waiting: usize::MAX,
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
                            if self.waiting.len() >= self.most_waiting {
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
        let (machine, state) = (self.machine.clone(), Rc::clone(&self.state));
        // The run's coroutines hold frames: they go first.
        drop(self);
        state.let_go();
        machine.teardown();
    }
}

fn begin<M: Model>(
    job: &Job,
    common: &Common<M>,
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
    let (model, order) = (Rc::clone(&common.model), Rc::clone(&common.order));
    job.progress.begin(model.schema().layers.len());
    let reading = Reading::new(turn);
    let mentioned = Mentioned::of(program, &reading);
    let state = Rc::new(JobState::new(model, order, attention, Rc::clone(turn), job, &mentioned));
    let environment = Rc::new(Environment::new(Rc::clone(&state), Rc::clone(printed)));
    let machine = Machine::new(&job.limits, environment);
    machine.set_stop_flag(Arc::clone(&job.stop));
    machine.set_share(common.settings.memory.share());
    common.model.begin(&machine, mentioned.gradients, program.env.batching.unwrap_or_default(), !together);
    let running = start(job, common, &state, &machine, reading, together);
    if running.is_err() {
        state.let_go();
        machine.teardown();
    }
    let mut running = running.map_err(|raise| failure_of(&raise))?;
    running.most_waiting = common.settings.waiting_traces;
    Ok(running)
}

/// `together` says that traces of a session may wait for each other.
fn start<M: Model>(
    job: &Job,
    common: &Common<M>,
    state: &Rc<JobState<M>>,
    machine: &Machine,
    reading: Reading,
    together: bool,
) -> Result<Running<M>, Raise> {
    let program = &job.program;
    if let Some(name) = &program.env.peft {
        let adapter = Adapter::open(state, machine, &common.adapters, name)?;
        state.adapter.get_or_init(|| adapter);
    }
    let mut thaw = thaw::Thaw::new(state, machine, program, reading);
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
    let frame = Rc::clone(&body.frame);
    let (state, machine) = (Rc::clone(state), machine.clone());
    match &program.entry {
        Entry::Session => {
            thaw.end()?;
            let coroutine = Coroutine::of_block(&machine, body);
            // What a class of the program's does beside the model is not declared anywhere.
            if together && state.given.is_empty() {
                let knows = Knows { is_model: Envoy::<M>::is_model, opens: Envoy::<M>::opens };
                Deferral::watch(&machine, &frame, knows);
            }
            let session = Session { coroutine, answer: None, next: None, done: false, raised: None };
            Ok(Running::new(state, machine, frame, Some(session)))
        }
        Entry::Trace { function, envoy, args, kwargs } => {
            let (site, edits) = thaw.traced(*envoy)?;
            let args = args.iter().map(|at| thaw.value(*at)).collect::<Result<_, _>>()?;
            let kwargs = kwargs
                .iter()
                .map(|(name, at)| Ok((Rc::from(name.as_str()), thaw.value(*at)?)))
                .collect::<Result<_, Raise>>()?;
            let tracer = thaw.tracer_state();
            thaw.end()?;
            state.model.opens(&machine, *function);
            let recording = state.model.recording(&machine);
            let request = TraceRequest { function: *function, site, args, kwargs, edits, body, tracer, recording };
            let trace = Trace::open(&state, &machine, request)?;
            let mut running = Running::new(state, machine, frame, None);
            running.traces.push(trace);
            Ok(running)
        }
    }
}

fn is_large(program: &Program) -> bool {
    program.heap.len() > LARGE || program.heap.bytes() > LARGE_BYTES
}

/// Drops large requests one after another, on a thread that all engines have for it.
fn forget(program: Program) {
    static QUEUE: LazyLock<Option<mpsc::Sender<Program>>> = LazyLock::new(|| {
        let (queue, programs) = mpsc::channel();
        let task = move || programs.into_iter().for_each(drop);
        std::thread::Builder::new().name("forget".into()).spawn(task).ok().map(|_| queue)
    });
    // Where no thread can be had for it, it goes here and now.
    if let Some(queue) = QUEUE.as_ref() {
        drop(queue.send(program));
    }
}

/// Says why a job failed.
pub fn failure_of(raise: &Raise) -> Failure {
    let fault = match raise.as_fatal() {
        None => Fault::User,
        Some(Fatal::Cancelled) => Fault::Cancelled,
        Some(Fatal::Crowded) => Fault::Crowded,
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
