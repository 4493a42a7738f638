//! One job's interpreter: its meters, its host, and the way from Rust into Python.

use std::any::{Any, TypeId};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::LocalBoxFuture;

use crate::values::effect::{Effect, Use};
use crate::values::exceptions::Kind;
use crate::values::frame::Frame;
use crate::values::generator::Generator;
use crate::values::host::{Args, HostResult, Outcome, Request};
use crate::values::language::Language;
use crate::values::pool::{Pool, Share, Short};
use crate::values::raise::{Entry, Fatal, Raise};
use crate::values::suspension::Mailbox;
use crate::values::teardown::{self, Cyclic};
use crate::values::types::charge::{Meter, Paying};
use crate::values::value::Value;
use crate::values::watch::{Compound, Part, Watch};

/// Steps between two looks at what ends a job or keeps it waiting, at most, and at first.
const STEPS: u64 = 1024;
/// The time between two looks that is aimed at: where steps take long, looks come after fewer.
const INTERVAL: Duration = Duration::from_millis(5);
/// Steps that one operation may take in one piece: a second or so in which nobody else runs.
const AT_ONCE: u64 = 20_000_000;
/// Native stack that a Python call or a nested expression may count on, and what is added where there is less.
const STACK_RESERVE: usize = 256 << 10;
const STACK_SEGMENT: usize = 4 << 20;
/// Bytes of Python objects that are taken before they are made of what several jobs share.
const LARGE: u64 = 1 << 20;
/// Steps that handing on a line of output takes.
const PRINT: u64 = 8;
/// A line of output longer than this is handed on in pieces.
const PRINT_LINE_BYTES: usize = 64 << 10;

/// What the outside offers to the code of one job.
///
/// By default it offers nothing and nobody reads what is printed.
#[expect(unused_variables, reason = "defaults ignore their arguments, whose names are documentation")]
pub trait Environment {
    /// Returns an importable module: `torch`, `numpy`, `nnsight`. `None` if this server has no such module.
    fn import(&self, machine: &Machine, module: &str) -> Option<Value> {
        None
    }

    /// Returns an attribute that every object has, tried last: `save`.
    fn attribute(&self, machine: &Machine, object: &Value, name: &str) -> Option<Value> {
        None
    }

    /// Returns a name that is known everywhere, tried after Python's own builtins.
    fn builtin(&self, machine: &Machine, name: &str) -> Option<Value> {
        None
    }

    /// Says what using a name does of any of the outside's objects, where the one that is meant is not known yet; `None`
    /// where none has the name.
    fn effect(&self, machine: &Machine, name: &str, usage: Use<'_>) -> Option<Effect> {
        None
    }

    /// Takes one line that the program printed, without its end.
    fn print(&self, line: &str) {}

    /// Hears every thousand steps or few milliseconds, and after operations that took long, that the program computes. May
    /// keep it waiting unless it [is held](Machine::is_held); must not call it.
    ///
    /// # Errors
    /// What ends the program.
    fn pace(&self, machine: &Machine) -> Result<(), Fatal> {
        Ok(())
    }

    /// Returns the time that the program has had; `None` where nobody measures it.
    fn clock(&self) -> Option<Duration> {
        None
    }

    /// Returns when the program began, as the time since 1970; `None` where it is to know no time of day.
    fn began(&self) -> Option<Duration> {
        None
    }

    /// Hears that the program is about to begin something long that this thread need not do itself. Returns whether the
    /// program may wait for it by [`rest`](Environment::rest).
    ///
    /// # Errors
    /// What ends the program.
    fn lasts(&self, machine: &Machine) -> Result<bool, Fatal> {
        Ok(false)
    }

    /// Lets others have the thread for a while.
    fn rest(&self) {}

    /// Lets others have the thread until something is so, or the program has to stop. Whoever makes it so wakes the thread.
    fn rest_until(&self, until: &Rc<dyn Fn() -> bool>) {
        if !until() {
            self.rest();
        }
    }
}

/// The interpreter of one job. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct Machine(Rc<Inner>);

struct Inner {
    language: &'static dyn Language,
    limits: program::Limits,
    environment: Rc<dyn Environment>,
    fuel_used: Cell<u64>,
    /// Steps between two looks, as long as they take about as long as the last ones.
    interval: Cell<u64>,
    /// When the last look was, and at which step.
    looked: Cell<(Duration, u64)>,
    memory: Rc<Meter>,
    tensors: Cell<u64>,
    output: Cell<u64>,
    /// Python calls open on the native stack.
    depth: Cell<u32>,
    /// Frames whose code is running on the native stack, outermost first.
    running: RefCell<Vec<Rc<Frame>>>,
    stopped: Cell<Option<Fatal>>,
    /// Frames open on the native stack that must not be left and come back to.
    held: Cell<u32>,
    flag: RefCell<Option<Arc<AtomicU8>>>,
    /// What the job has of the memory that all share.
    share: RefCell<Option<Share>>,
    extensions: RefCell<HashMap<TypeId, Rc<dyn Any>>>,
    polled: RefCell<Option<Rc<Mailbox>>>,
    switches: Rc<Cell<u64>>,
    /// Stands in for a coroutine's mailbox while none is polled.
    idle: Rc<Mailbox>,
    /// What may be part of a cycle of references.
    cyclic: RefCell<Vec<Cyclic>>,
    /// Generators that nobody can resume any more, and that have something to do before they end.
    abandoned: RefCell<VecDeque<Generator>>,
    torn_down: Cell<bool>,
    line: RefCell<String>,
    watch: OnceCell<Rc<dyn Watch>>,
}

impl Machine {
    /// Starts an interpreter of a language with nothing used.
    pub fn speaking(
        language: &'static dyn Language,
        limits: &program::Limits,
        environment: Rc<dyn Environment>,
    ) -> Self {
        Self(Rc::new(Inner {
            language,
            limits: limits.clone(),
            environment,
            fuel_used: Cell::new(0),
            interval: Cell::new(STEPS),
            looked: Cell::default(),
            memory: Rc::new(Meter::new(limits.memory_bytes)),
            tensors: Cell::new(0),
            output: Cell::new(0),
            depth: Cell::new(0),
            running: RefCell::default(),
            stopped: Cell::new(None),
            held: Cell::new(0),
            flag: RefCell::new(None),
            share: RefCell::new(None),
            extensions: RefCell::new(HashMap::new()),
            polled: RefCell::new(None),
            switches: Rc::default(),
            idle: Rc::default(),
            cyclic: RefCell::new(Vec::new()),
            abandoned: RefCell::default(),
            torn_down: Cell::new(false),
            line: RefCell::new(String::new()),
            watch: OnceCell::new(),
        }))
    }

    /// Returns what the floors above make of values.
    pub(crate) fn language(&self) -> &'static dyn Language {
        self.0.language
    }

    /// Returns the outside.
    pub fn environment(&self) -> &Rc<dyn Environment> {
        &self.0.environment
    }

    /// Returns the limits of this job.
    pub fn limits(&self) -> &program::Limits {
        &self.0.limits
    }

    /// Spends steps.
    ///
    /// # Errors
    /// Fatal once the fuel is spent, or the job is cancelled or stopped from outside.
    #[inline]
    pub fn charge_fuel(&self, units: u64) -> Result<(), Raise> {
        let used = self.0.fuel_used.get().saturating_add(units);
        self.0.fuel_used.set(used);
        if used < self.0.memory.look_at.get() { Ok(()) } else { self.look(used) }
    }

    /// Spends the steps of one operation that is done in one piece.
    ///
    /// # Errors
    /// `OverflowError` naming the operation, which has not begun, where it would take too long; else as
    /// [`Machine::charge_fuel`].
    pub fn charge_operation(&self, operation: &str, units: u64) -> Result<(), Raise> {
        if units > AT_ONCE {
            let message = format!(
                "{operation} of numbers this large takes {units} steps, more than the {AT_ONCE} that this server takes \
                 in one piece"
            );
            return Err(Raise::new(Kind::OverflowError, message));
        }
        self.charge_fuel(units)
    }

    #[cold]
    fn look(&self, used: u64) -> Result<(), Raise> {
        if let Some(fatal) = self.0.stopped.get() {
            return Err(Raise::fatal(fatal));
        }
        if self.0.memory.is_overdrawn() {
            self.cancel(Fatal::Memory);
            return Err(Raise::fatal(Fatal::Memory));
        }
        if used > self.0.limits.fuel {
            return Err(Raise::fatal(Fatal::Fuel));
        }
        if let Err(fatal) = self.cover(0, Fatal::Memory) {
            self.cancel(fatal);
            return Err(Raise::fatal(fatal));
        }
        self.adapt(used);
        // Others may run on this thread while this waits.
        let nobody = Paying::begin(None);
        let paced = self.0.environment.pace(self);
        drop(nobody);
        if let Err(fatal) = paced {
            self.cancel(fatal);
            return Err(Raise::fatal(fatal));
        }
        let code = self.0.flag.borrow().as_ref().map_or(0, |flag| flag.load(Ordering::Relaxed));
        let fatal = match code {
            0 => {
                let next = used.saturating_add(self.0.interval.get());
                self.0.memory.look_at.set(next.min(self.0.limits.fuel.saturating_add(1)));
                return Ok(());
            }
            1 => Fatal::Cancelled,
            2 => Fatal::Time,
            _ => Fatal::Stopped,
        };
        self.cancel(fatal);
        Err(Raise::fatal(fatal))
    }

    /// Sees to it that the next look is about [`INTERVAL`] away, by how long the steps since the last one took.
    fn adapt(&self, used: u64) {
        let Some(now) = self.0.environment.clock() else { return };
        let (before, at) = self.0.looked.replace((now, used));
        let (took, steps) = (now.saturating_sub(before), used.saturating_sub(at));
        if steps > 0 && !took.is_zero() {
            let fitting = u128::from(steps) * INTERVAL.as_nanos() / took.as_nanos();
            self.0.interval.set(u64::try_from(fitting).unwrap_or(STEPS).clamp(1, STEPS));
        }
    }

    /// Has this machine's job pay for what is made on this thread until the guard is dropped.
    #[must_use]
    pub fn pays(&self) -> Paying {
        Paying::begin(Some(Rc::clone(&self.0.memory)))
    }

    /// Counts bytes of Python objects.
    ///
    /// # Errors
    /// Fatal where they would exceed the limit; then nothing is counted.
    pub fn charge_memory(&self, bytes: u64) -> Result<(), Raise> {
        if bytes >= LARGE {
            self.cover(bytes, Fatal::Memory).map_err(Raise::fatal)?;
        }
        if self.0.memory.charge(bytes) { Ok(()) } else { Err(Raise::fatal(Fatal::Memory)) }
    }

    /// Takes back bytes of Python objects.
    pub fn release_memory(&self, bytes: u64) {
        self.0.memory.release(bytes);
    }

    /// Returns the counter of bytes of Python objects, for containers that outlive the machine.
    pub fn meter(&self) -> Rc<Meter> {
        Rc::clone(&self.0.memory)
    }

    /// Counts bytes of tensors, before they are allocated.
    ///
    /// # Errors
    /// Fatal where they would exceed the limit; then nothing is counted.
    pub fn charge_tensor(&self, bytes: u64) -> Result<(), Raise> {
        let all = self.0.tensors.get().saturating_add(bytes);
        if all > self.0.limits.tensor_bytes {
            return Err(Raise::fatal(Fatal::Tensors));
        }
        self.cover(bytes, Fatal::Tensors).map_err(Raise::fatal)?;
        self.0.tensors.set(all);
        Ok(())
    }

    /// Takes back bytes of tensors.
    pub fn release_tensor(&self, bytes: u64) {
        self.0.tensors.set(self.0.tensors.get().saturating_sub(bytes));
    }

    /// Ends the job: the next charge of fuel raises `why`.
    pub fn cancel(&self, why: Fatal) {
        self.0.stopped.set(Some(why));
        self.0.memory.look_at.set(0);
    }

    /// Has the next charge of fuel look at what else would end the job, or keep it waiting: after an operation that takes
    /// longer than its steps say.
    pub fn look_soon(&self) {
        self.0.memory.look_at.set(0);
    }

    /// Tells that something long is about to begin. Returns whether another thread may do it while the program waits:
    /// [`rests`](Machine::rest) until it is done.
    ///
    /// # Errors
    /// Fatal where the program has to make way for others.
    pub fn lasts(&self) -> Result<bool, Raise> {
        if self.is_held() {
            return Ok(false);
        }
        self.0.environment.lasts(self).map_err(|fatal| {
            self.cancel(fatal);
            Raise::fatal(fatal)
        })
    }

    /// Lets others have the thread for a while.
    ///
    /// # Errors
    /// Fatal where the program is cancelled or stopped from outside meanwhile.
    pub fn rest(&self) -> Result<(), Raise> {
        self.away(|environment| environment.rest())
    }

    /// Lets others have the thread until something is so. Whoever makes it so wakes the thread.
    ///
    /// # Errors
    /// Fatal where the program is cancelled or stopped from outside meanwhile.
    pub fn rest_until(&self, until: &Rc<dyn Fn() -> bool>) -> Result<(), Raise> {
        while !until() {
            self.away(|environment| environment.rest_until(until))?;
        }
        Ok(())
    }

    fn away(&self, leave: impl FnOnce(&dyn Environment)) -> Result<(), Raise> {
        // Others may run on this thread while this waits.
        let nobody = Paying::begin(None);
        leave(&*self.0.environment);
        drop(nobody);
        self.look_soon();
        self.charge_fuel(0)
    }

    /// Notes, until the guard is dropped, that the program runs inside foreign code that must go on before anything else
    /// on this thread does.
    #[must_use]
    pub fn hold(&self) -> Held {
        self.0.held.set(self.0.held.get() + 1);
        Held(self.clone())
    }

    /// Returns whether the program must not be kept waiting.
    pub fn is_held(&self) -> bool {
        self.0.held.get() > 0
    }

    /// Has the job take its memory from what several share: tensors before they are made, Python objects when they are
    /// large, and else soon after.
    pub fn set_share(&self, share: Share) {
        *self.0.share.borrow_mut() = Some(share);
    }

    /// Returns what the job shares with others, for threads that work for it: they have a share of their own.
    pub fn pool(&self) -> Option<Pool> {
        self.0.share.borrow().as_ref().map(Share::pool)
    }

    /// Sees to it that what is counted, and so many bytes more, is had of what several share.
    fn cover(&self, more: u64, never: Fatal) -> Result<(), Fatal> {
        let share = self.0.share.borrow();
        let Some(share) = &*share else { return Ok(()) };
        let all = self.0.memory.used().saturating_add(self.0.tensors.get()).saturating_add(more);
        share.cover(all).map_err(|short| match short {
            Short::Now => Fatal::Crowded,
            Short::Never => never,
        })
    }

    /// Watches a flag that another thread may set: 0 runs, 1 is cancelled, 2 is out of time.
    pub fn set_stop_flag(&self, flag: Arc<AtomicU8>) {
        *self.0.flag.borrow_mut() = Some(flag);
    }

    /// Returns the steps spent so far.
    pub fn fuel_used(&self) -> u64 {
        self.0.fuel_used.get()
    }

    /// Returns the bytes of tensors counted now.
    pub fn tensor_bytes(&self) -> u64 {
        self.0.tensors.get()
    }

    /// Keeps a host crate's state of this job, one per type.
    pub fn set_extension(&self, state: Rc<dyn Any>) {
        self.0.extensions.borrow_mut().insert((*state).type_id(), state);
    }

    /// Returns what [`Machine::set_extension`] keeps for a type.
    pub fn extension<T: Any>(&self) -> Option<Rc<T>> {
        self.0.extensions.borrow().get(&TypeId::of::<T>()).cloned()?.downcast().ok()
    }

    /// Calls a Python callable.
    pub fn call(&self, callee: &Value, args: Args) -> LocalBoxFuture<'static, Result<Value, Raise>> {
        match self.call_now(callee, args) {
            Ok(outcome) => self.settle(outcome),
            Err(raise) => Box::pin(std::future::ready(Err(raise))),
        }
    }

    /// Calls a Python callable, without a future where that ends at once. The outcome is never `NotImplemented`.
    ///
    /// # Errors
    /// What the callable raises before it first suspends.
    pub fn call_now(&self, callee: &Value, args: Args) -> HostResult {
        self.0.language.call(self, callee, args)
    }

    /// Reads an attribute, as `object.name` does.
    pub fn get_attribute(&self, object: &Value, name: &str) -> LocalBoxFuture<'static, Result<Value, Raise>> {
        match self.0.language.get_attribute(self, object, name) {
            Ok(outcome) => self.settle(outcome),
            Err(raise) => Box::pin(std::future::ready(Err(raise))),
        }
    }

    /// Writes an attribute, as `object.name = value` does.
    pub fn set_attribute(
        &self,
        object: &Value,
        name: &str,
        value: Value,
    ) -> LocalBoxFuture<'static, Result<(), Raise>> {
        match self.0.language.set_attribute(self, object, name, value) {
            Ok(Outcome::Ready(_)) => Box::pin(std::future::ready(Ok(()))),
            Ok(outcome) => {
                let settled = self.settle(outcome);
                Box::pin(async move { settled.await.map(|_| ()) })
            }
            Err(raise) => Box::pin(std::future::ready(Err(raise))),
        }
    }

    /// Has a host hear where the program has come to. The first one stays.
    pub fn watch(&self, watch: Rc<dyn Watch>) {
        let _ = self.0.watch.set(watch);
    }

    #[inline]
    pub(crate) fn before(&self, frame: &Rc<Frame>, part: Part<'_>, opened: Option<&dyn Any>) -> Option<Request> {
        // Who watches has looked at what calls the library.
        if frame.code().text.hidden {
            return None;
        }
        self.0.watch.get()?.before(frame, part, opened)
    }

    #[inline]
    pub(crate) fn open(&self, frame: &Rc<Frame>, compound: Compound<'_>) -> Option<Box<dyn Any>> {
        self.0.watch.get()?.open(frame, compound)
    }

    /// Leaves a question in the mailbox of the coroutine being polled, and resolves to its driver's answer.
    pub fn wait(&self, request: Request) -> LocalBoxFuture<'static, Result<Value, Raise>> {
        Box::pin(Wait { machine: self.clone(), request: Some(request), mailbox: None })
    }

    /// Resolves what a host object answered. Callers look for `NotImplemented` before.
    pub fn settle(&self, outcome: Outcome) -> LocalBoxFuture<'static, Result<Value, Raise>> {
        match outcome {
            Outcome::Ready(value) => Box::pin(std::future::ready(Ok(value))),
            Outcome::Wait(request) => self.wait(request),
            Outcome::Later(future) => future,
            Outcome::NotImplemented => {
                Box::pin(std::future::ready(Err(Raise::type_error("operation not supported by this object"))))
            }
        }
    }

    /// Prints text: whole lines go to the environment, the rest waits for its end.
    ///
    /// # Errors
    /// Fatal where the text would exceed the limit.
    pub fn print(&self, text: &str) -> Result<(), Raise> {
        let printed = self.0.output.get().saturating_add(text.len() as u64);
        if printed > self.0.limits.output_bytes {
            return Err(Raise::fatal(Fatal::Output));
        }
        self.0.output.set(printed);
        for piece in text.split_inclusive('\n') {
            // Each line is handed on, and may be sent, by itself.
            self.charge_fuel(1 + piece.len() as u64 / 64)?;
            let mut line = self.0.line.borrow_mut();
            line.push_str(piece.strip_suffix('\n').unwrap_or(piece));
            if piece.ends_with('\n') || line.len() >= PRINT_LINE_BYTES {
                let whole = std::mem::take(&mut *line);
                drop(line);
                self.charge_fuel(PRINT)?;
                self.0.environment.print(&whole);
            }
        }
        Ok(())
    }

    /// Prints what a last `print(…, end="")` left without an end of line.
    pub fn flush(&self) {
        let rest = std::mem::take(&mut *self.0.line.borrow_mut());
        if !rest.is_empty() {
            self.0.environment.print(&rest);
        }
    }

    /// Takes a generator that was let go of inside a `try` or `with`.
    pub(crate) fn abandon(&self, generator: Generator) {
        if !self.0.torn_down.get() && self.0.stopped.get().is_none() {
            self.0.abandoned.borrow_mut().push_back(generator);
        }
    }

    /// Says whether there is something for [`Machine::close_abandoned`] to do.
    #[inline]
    pub(crate) fn has_abandoned(&self) -> bool {
        !self.0.abandoned.borrow().is_empty()
    }

    /// Has generators that were let go of do what is left for them. CPython does it when it lets go of one; here it is done
    /// before the next statement. What they raise nobody hears of.
    ///
    /// # Errors
    /// Fatal alone.
    pub(crate) async fn close_abandoned(&self) -> Result<(), Raise> {
        loop {
            let Some(generator) = self.0.abandoned.borrow_mut().pop_front() else { return Ok(()) };
            let closed = match Rc::new(generator).close(self) {
                Ok(outcome) => self.settle(outcome).await,
                Err(raise) => Err(raise),
            };
            if let Err(raise) = closed
                && raise.as_fatal().is_some()
            {
                return Err(raise);
            }
        }
    }

    /// Empties every frame and what is reached from it, so that no cycle of references outlives the job. Results must
    /// have been taken out before, and nothing may run afterwards.
    pub fn teardown(&self) {
        self.flush();
        self.0.torn_down.set(true);
        let abandoned = std::mem::take(&mut *self.0.abandoned.borrow_mut());
        drop(abandoned);
        self.0.idle.handled.borrow_mut().clear();
        let running = std::mem::take(&mut *self.0.running.borrow_mut());
        drop(running);
        let extensions = std::mem::take(&mut *self.0.extensions.borrow_mut());
        drop(extensions);
        let alive = std::mem::take(&mut *self.0.cyclic.borrow_mut());
        teardown::clear(self, &alive);
        drop(alive);
        self.0.memory.settle();
    }

    /// Returns the bytes of Python objects counted now. What remains after [`Machine::teardown`] is lost.
    pub fn memory_bytes(&self) -> u64 {
        self.0.memory.used()
    }

    /// Runs a step of native recursion (comparing nested lists, say) with stack enough for it.
    ///
    /// # Errors
    /// `RecursionError` where too many calls are open.
    pub fn recurse<T>(&self, step: impl FnOnce() -> Result<T, Raise>) -> Result<T, Raise> {
        let _entered = self.enter()?;
        grow(step)
    }

    pub(crate) fn enter(&self) -> Result<Entered<'_>, Raise> {
        let depth = self.0.depth.get();
        if depth >= self.0.limits.call_depth {
            return Err(Raise::new(Kind::RecursionError, "maximum recursion depth exceeded"));
        }
        self.0.depth.set(depth + 1);
        Ok(Entered(&self.0.depth))
    }

    /// Notes that code of a frame is running until the guard is dropped.
    pub(crate) fn runs(&self, frame: &Rc<Frame>) -> Running<'_> {
        self.0.running.borrow_mut().push(Rc::clone(frame));
        Running(&self.0.running)
    }

    /// Returns where code of the program stands that is running, as many calls out; nothing beyond its outermost. Calls of
    /// the library do not count.
    pub fn place(&self, out: usize) -> Option<Entry> {
        let frame = self.visible(out)?;
        Some(Entry { code: Rc::clone(frame.code()), span: frame.position() })
    }

    /// Returns the frame of that code.
    pub(crate) fn visible(&self, out: usize) -> Option<Rc<Frame>> {
        let running = self.0.running.borrow();
        running.iter().rev().filter(|frame| !frame.code().text.hidden).nth(out).cloned()
    }

    /// Returns the switches of the coroutine that runs, for a host to keep what Python keeps for each thread: every
    /// coroutine has its own, and begins with none of them set.
    pub fn switches(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.0.switches)
    }

    pub(crate) fn polled(&self) -> Option<Rc<Mailbox>> {
        self.0.polled.borrow().clone()
    }

    pub(crate) fn set_polled(&self, mailbox: Option<Rc<Mailbox>>) -> Option<Rc<Mailbox>> {
        std::mem::replace(&mut *self.0.polled.borrow_mut(), mailbox)
    }

    /// Returns the exception being handled by the coroutine being polled.
    pub(crate) fn handled(&self) -> Option<Value> {
        self.polled().unwrap_or_else(|| Rc::clone(&self.0.idle)).handled.borrow().last().cloned()
    }

    /// Marks an exception as being handled until the guard is dropped.
    pub(crate) fn handle(&self, exception: Value) -> Handling {
        let mailbox = self.polled().unwrap_or_else(|| Rc::clone(&self.0.idle));
        mailbox.handled.borrow_mut().push(exception.clone());
        Handling { mailbox, exception }
    }

    /// Remembers an object that may be part of a cycle.
    pub(crate) fn register(&self, object: Cyclic) {
        let mut cyclic = self.0.cyclic.borrow_mut();
        // Dead entries are swept whenever the list would have to grow, so that it stays as long as the live ones.
        if cyclic.len() == cyclic.capacity() {
            cyclic.retain(Cyclic::is_alive);
        }
        cyclic.push(object);
    }
}

/// Runs `step` with at least [`STACK_RESERVE`] bytes of native stack.
pub(crate) fn grow<T>(step: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK_RESERVE, STACK_SEGMENT, step)
}

/// Counts one level of nesting until dropped.
pub(crate) struct Entered<'a>(&'a Cell<u32>);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// See [`Machine::runs`].
pub(crate) struct Running<'a>(&'a RefCell<Vec<Rc<Frame>>>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let ended = self.0.borrow_mut().pop();
        drop(ended);
    }
}

/// See [`Machine::hold`].
pub struct Held(Machine);

impl Drop for Held {
    fn drop(&mut self) {
        let held = &self.0.0.held;
        held.set(held.get().saturating_sub(1));
    }
}

/// Keeps an exception among those being handled.
pub(crate) struct Handling {
    mailbox: Rc<Mailbox>,
    exception: Value,
}

impl Drop for Handling {
    fn drop(&mut self) {
        let mut handled = self.mailbox.handled.borrow_mut();
        // Generators may end out of order, so this looks for its own entry.
        let at = handled.iter().rposition(|exception| exception.is(&self.exception));
        let removed = at.map(|at| handled.remove(at));
        drop(handled);
        drop(removed);
    }
}

/// The future behind [`Machine::wait`].
struct Wait {
    machine: Machine,
    request: Option<Request>,
    mailbox: Option<Rc<Mailbox>>,
}

impl Future for Wait {
    type Output = Result<Value, Raise>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(request) = self.request.take() {
            let Some(mailbox) = self.machine.polled() else {
                return Poll::Ready(Err(Raise::runtime_error("cannot wait outside a running block")));
            };
            mailbox.ask(request);
            self.mailbox = Some(mailbox);
            return Poll::Pending;
        }
        match self.mailbox.as_ref().and_then(|mailbox| mailbox.answer()) {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        }
    }
}
