//! One trace in progress: its blocks beside the model's forward passes.

use std::any::Any;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use interpreter::modules::warnings;
use interpreter::raise::{Fatal, Raise};
use interpreter::{Coroutine, Kind, Machine, Value};

use crate::ask::View;
use crate::cache::Cache;
use crate::job::JobState;
use crate::location::{Location, Order};
use crate::mediator::{Mediator, Pending, Precedence, Status, Wish};
use crate::model::{Inputs, Model, Site, Tree, Wants};
use crate::nnsight::OUT_OF_ORDER;
use crate::output::ModelOutput;
use crate::python;
use crate::splice::{self, Leaf, Rows};

/// What flows past a location, as one job sees it.
pub enum Flow<T> {
    Inputs(Inputs<T>),
    Output(Tree<T>),
}

/// A value that a visit may have replaced.
pub struct Visited<T> {
    pub flow: Flow<T>,
    /// Whether `flow` is another value than was shown. Edits in place do not count: they are in the model's memory.
    pub replaced: bool,
}

/// A location that the model is at, as one job sees it.
pub struct Visit<T> {
    location: Location,
    /// Which visit of the location it is.
    occurrence: i64,
    /// Index of the job's part in the layout.
    part: usize,
    flow: Flow<Leaf<T>>,
    /// Blocks that wait for it, by their numbers.
    waiting: BTreeSet<usize>,
    replaced: bool,
    /// Records and dicts that blocks hold, with the rows that each shows and what it held: who sets a field or an entry of one
    /// changes the value.
    records: Vec<(Rows, Value, Value)>,
    /// Arguments that blocks hold, with the rows that each shows and what their dicts held: who sets an entry of one changes
    /// the call.
    arguments: Vec<(Rows, Value, Value)>,
    /// Whether a block stopped the trace: the others are served first.
    stopped: bool,
}

/// One trace: blocks, how far the model has come, and what the blocks wait for.
pub struct Run<M: Model> {
    pub job: Rc<JobState<M>>,
    pub machine: Machine,
    mediators: Vec<Mediator>,
    /// How many of the job's forward hooks have their block among them.
    hooks: usize,
    /// What blocks asked to have kept, by where that is, with the number of each block.
    caches: HashMap<Location, Vec<(usize, Rc<Cache>)>>,
    /// Where a pass reaches the last of that.
    last_kept: Option<Location>,
    /// Blocks that wait to have something computed.
    computing: BTreeSet<usize>,
    /// Blocks that ran since somebody looked what they wait for.
    ran: Vec<usize>,
    progress: Progress,
    watch: Watch,
    /// Rows of the whole batch, and whether several invokes share it.
    total: i64,
    batching: bool,
    /// Outputs that stand in for skipped modules in this pass.
    skipped: Vec<(Site, Tree<M::Tensor>)>,
    /// What is wrong with arguments that the module at hand was given, unless it is skipped.
    unfit: Option<Raise>,
    /// Whether any block ran in this pass.
    took_part: bool,
    /// What the blocks themselves took of the time of this pass, or of the last one.
    pub busy: Duration,
    /// Set when the run is over before the model is: `tracer.stop()` or an exception.
    pub ended: Option<Ending>,
}

/// Why a run ended early.
pub enum Ending {
    Stopped,
    Failed(Raise),
    /// It made something of a value that rows of others cannot lie beside: its job has to run alone.
    Apart,
}

impl<M: Model> Run<M> {
    /// Starts the blocks: each runs until it first waits for the model.
    pub fn start(
        job: Rc<JobState<M>>,
        machine: Machine,
        blocks: Vec<(Coroutine, Option<(i64, i64)>)>,
        total: i64,
        several_passes: bool,
    ) -> Self {
        let batching = blocks.iter().filter(|(_, group)| group.is_some()).count() > 1;
        let progress = Progress::new(Rc::clone(&job.order), several_passes);
        let watch = Watch::new(job.model.schema().sites());
        let mediators =
            blocks.into_iter().map(|(coroutine, group)| Mediator::new(coroutine, group)).collect::<Vec<_>>();
        let mut run = Self {
            job,
            machine,
            mediators,
            hooks: 0,
            caches: HashMap::new(),
            last_kept: None,
            computing: BTreeSet::new(),
            ran: Vec::new(),
            progress,
            watch,
            total,
            batching,
            skipped: Vec::new(),
            unfit: None,
            took_part: false,
            busy: Duration::ZERO,
            ended: None,
        };
        let hooked = run.hook();
        run.note(hooked);
        for index in 0..run.mediators.len() {
            if run.ended.is_none() && run.mediators[index].precedence == Precedence::Own {
                let result = run.resume(index, None);
                run.note(result);
            }
        }
        for (index, mediator) in run.mediators.iter().enumerate() {
            for cache in mediator.state.caches.borrow().iter() {
                for location in cache.locations() {
                    run.caches.entry(location).or_default().push((index, Rc::clone(cache)));
                }
            }
        }
        let kept: Vec<Location> = run.caches.keys().copied().collect();
        run.watch.keep(&kept, run.job.model.schema());
        // Among arguments are the keys and values, which all layers fill.
        let all = kept.iter().any(|location| matches!(location, Location::Input(_)));
        let last = kept.into_iter().max_by_key(|location| run.job.order.of(*location));
        run.last_kept = if all { Some(Location::Output(Site(0))) } else { last };
        run.rewatch();
        run
    }

    /// Returns what the blocks want of a module.
    pub fn wants(&self, site: Site) -> Wants {
        if self.ended.is_some() {
            return Wants::default();
        }
        let wants = self.watch.of(site);
        Wants { operations: wants.inside && self.job.sources, ..wants }
    }

    /// Returns whether what is left of this pass can matter to any block.
    pub fn needs_more(&self) -> bool {
        self.ended.is_none()
            && (self.mediators.iter().filter_map(Mediator::pending).any(|pending| {
                pending.wish.location().is_some_and(|location| self.progress.may_come(location, pending.occurrence))
            }) || self.last_kept.is_some_and(|last| self.progress.may_come(last, self.progress.occurrence(last))))
    }

    /// Returns whether the job may look at operations of modules' forwards.
    pub fn sees_operations(&self) -> bool {
        self.job.sources
    }

    /// Returns how many forward passes are done.
    pub fn passes(&self) -> i64 {
        self.progress.passes
    }

    /// Begins a forward pass.
    pub fn begin_pass(&mut self) {
        self.progress.cursor = None;
        self.skipped.clear();
        self.took_part = false;
        self.busy = Duration::ZERO;
        self.job.progress.at(1);
    }

    /// Returns whether any block ran since the pass began: if none did, the run is where it was before.
    pub fn took_part(&self) -> bool {
        self.took_part
    }

    /// Leaves a pass that failed.
    pub fn undo_pass(&mut self) {
        self.job.gathering.set(false);
        self.progress.cursor = None;
        self.job.progress.at(0);
    }

    /// Ends a forward pass.
    pub fn end_pass(&mut self) {
        self.progress.passes += 1;
        self.progress.last = self.progress.cursor;
        self.progress.cursor = None;
        self.rewatch();
    }

    /// Shows a module's arguments, then its skip gate. Returns the arguments to go on with, if they were replaced,
    /// and whether the module is skipped.
    ///
    /// # Errors
    /// What a view or a splice raises; what a block raises ends the run instead.
    pub fn enter(&mut self, site: Site, part: usize, inputs: Inputs<M::Tensor>) -> (Option<Inputs<M::Tensor>>, bool) {
        let stint = self.job.turn.enter();
        let visited = self.visit(Location::Input(site), part, Flow::Inputs(inputs));
        let replaced = match visited {
            Visited { flow: Flow::Inputs(inputs), replaced: true } => Some(inputs),
            _ => None,
        };
        let skip = self.visit_skip(site);
        if let Some(unfit) = self.unfit.take().filter(|_| !skip) {
            self.note(Err(unfit));
        }
        self.busy += self.job.turn.leave(stint);
        (replaced, skip)
    }

    /// Begins to show a module's output, or what a skip put in its place.
    pub fn open(&mut self, site: Site, part: usize, output: Tree<M::Tensor>) -> Visit<M::Tensor> {
        let stint = self.job.turn.enter();
        let skipped = self.skipped.iter().position(|(skipped, _)| *skipped == site);
        let (output, replaced) = match skipped {
            Some(index) => (self.skipped.swap_remove(index).1, true),
            None => (output, false),
        };
        let location = Location::Output(site);
        self.progress.reach(location);
        self.job.gathering.set(true);
        let mut visit = self.begin_visit(location, part, Flow::Output(splice::open(output)));
        visit.replaced = replaced;
        self.serve_all(&mut visit);
        self.busy += self.job.turn.leave(stint);
        visit
    }

    /// Takes what blocks wait to have computed, with the number of each block.
    pub fn deferred(&mut self) -> Vec<(usize, Box<dyn Any>)> {
        let mut taken = Vec::new();
        for index in std::mem::take(&mut self.computing) {
            let Some(mediator) = self.mediators.get_mut(index) else { continue };
            match std::mem::replace(&mut mediator.status, Status::Done) {
                Status::Parked(Pending { wish: Wish::Deferred(request), .. }) => taken.push((index, request)),
                other => mediator.status = other,
            }
        }
        taken
    }

    /// Hands a block what was computed for it, and serves whoever waits for the visit then.
    pub fn answer(&mut self, visit: &mut Visit<M::Tensor>, block: usize, value: Result<Value, Raise>) {
        if self.ended.is_none() {
            let stint = self.job.turn.enter();
            let resumed = self.resume(block, Some(value));
            self.note(resumed);
            self.serve_all(visit);
            self.busy += self.job.turn.leave(stint);
        }
    }

    /// Ends a visit. Returns the output to go on with, if it was replaced.
    pub fn close(&mut self, visit: Visit<M::Tensor>) -> Option<Tree<M::Tensor>> {
        self.job.gathering.set(false);
        let stint = self.job.turn.enter();
        let visited = self.leave(visit);
        self.busy += self.job.turn.leave(stint);
        match visited {
            Visited { flow: Flow::Output(output), replaced: true } => Some(output),
            _ => None,
        }
    }

    /// Returns the output that stands in for a module that this run skips, while the pass is at it.
    pub fn skipped_output(&self, site: Site) -> Option<&Tree<M::Tensor>> {
        self.skipped.iter().find(|(skipped, _)| *skipped == site).map(|(_, tree)| tree)
    }

    /// Returns whether the pass is inside a module that this run skips, so that nothing there concerns it.
    pub fn inside_skipped(&self, site: Site) -> bool {
        self.skipped.iter().any(|(skipped, _)| *skipped != site && self.job.order.contains(*skipped, site))
    }

    /// Returns whether this run skips a module or one around it.
    pub fn leaves_out(&self, site: Site) -> bool {
        self.skipped_output(site).is_some() || self.inside_skipped(site)
    }

    /// Shows a value that no module produces: the result, or generated tokens.
    pub fn offer(&mut self, location: Location, part: usize, value: Tree<M::Tensor>) -> Tree<M::Tensor> {
        let stint = self.job.turn.enter();
        let visited = self.visit(location, part, Flow::Output(value));
        self.busy += self.job.turn.leave(stint);
        match visited.flow {
            Flow::Output(value) => value,
            Flow::Inputs(_) => Tree::None,
        }
    }

    /// Lets the first and the last blocks wait for what never comes.
    pub fn forgive(&mut self, ends: usize) {
        // Hooks' blocks come behind all others.
        let own = self.mediators.iter().filter(|mediator| mediator.precedence == Precedence::Own).count();
        let last = own.saturating_sub(ends);
        for (index, mediator) in self.mediators.iter_mut().enumerate() {
            mediator.beside |= index < ends || index >= last;
        }
    }

    /// Ends the blocks that still wait for what never came, as nnsight does: an error for a plain request, a warning for
    /// a `tracer.iter` loop that outran the run.
    pub fn finish(&mut self) {
        if matches!(self.ended, Some(Ending::Failed(_))) {
            return;
        }
        self.ended = None;
        for index in 0..self.mediators.len() {
            let Some(mediator) = self.mediators.get_mut(index) else { continue };
            let Some(pending) = mediator.pending() else { continue };
            if mediator.beside {
                mediator.status = Status::Done;
                continue;
            }
            let (error, warning) = match &pending.wish {
                Wish::Barrier(_) => (
                    Raise::value_error(
                        "A barrier was never reached by every block it waits for; check the count it was created with",
                    ),
                    None,
                ),
                wish => {
                    let name = wish.location().map(|at| at.name(self.job.model.schema())).unwrap_or_default();
                    let place = format!("'{name}.i{}'", pending.asked);
                    let text = format!("{place} was requested but the model already ran past it");
                    let in_loop = mediator.state.iteration.get() != Some(0);
                    (out_of_order(text), in_loop.then(|| format!("{place} {CUT_SHORT}")))
                }
            };
            let progress = &self.progress;
            let thrown = mediator.resume(&self.job, Some(Err(error)), |at| progress.occurrence(at));
            mediator.status = Status::Done;
            match thrown {
                Ok(()) => {}
                Err(raise) => {
                    let ended = match warning.filter(|_| raise.type_name() == OUT_OF_ORDER) {
                        Some(warning) => {
                            let class = interpreter::exceptions::class(Kind::UserWarning);
                            warnings::warn(&self.machine, &class, &warning, raise.entries().last())
                        }
                        None => Err(raise),
                    };
                    if ended.is_err() {
                        self.note(ended);
                        return;
                    }
                }
            }
        }
    }

    fn precedence(&self, index: usize) -> Precedence {
        self.mediators.get(index).map_or(Precedence::Own, |mediator| mediator.precedence)
    }

    /// Starts the blocks of forward hooks that were registered since the last time.
    fn hook(&mut self) -> Result<(), Raise> {
        let known = std::mem::replace(&mut self.hooks, self.job.hooks.count());
        if known == self.hooks {
            return Ok(());
        }
        let several = self.progress.several_passes;
        for (coroutine, precedence) in self.job.hooks.blocks(&self.job, &self.machine, known, several)? {
            let mut mediator = Mediator::new(coroutine, None);
            (mediator.beside, mediator.precedence) = (true, precedence);
            self.mediators.push(mediator);
            self.resume(self.mediators.len() - 1, None)?;
        }
        Ok(())
    }

    fn rows(&self, index: usize) -> Rows {
        let group = if self.batching { self.mediators.get(index).and_then(|mediator| mediator.group) } else { None };
        Rows { group, total: self.total }
    }

    fn visit(&mut self, location: Location, part: usize, flow: Flow<M::Tensor>) -> Visited<M::Tensor> {
        self.progress.reach(location);
        let flow = match flow {
            Flow::Inputs(inputs) => match splice::each(inputs, |tree| Ok(splice::open(tree))) {
                Ok(inputs) => Flow::Inputs(inputs),
                Err(_) => Flow::Output(Tree::None),
            },
            Flow::Output(tree) => Flow::Output(splice::open(tree)),
        };
        let mut visit = self.begin_visit(location, part, flow);
        self.serve_all(&mut visit);
        self.leave(visit)
    }

    fn begin_visit(&mut self, location: Location, part: usize, flow: Flow<Leaf<M::Tensor>>) -> Visit<M::Tensor> {
        let occurrence = self.progress.occurrence(location);
        let waiting = self.waiting(location, occurrence);
        Visit {
            location,
            occurrence,
            part,
            flow,
            waiting,
            replaced: false,
            records: Vec::new(),
            arguments: Vec::new(),
            stopped: false,
        }
    }

    /// Lists the blocks that wait for a visit of a location.
    fn waiting(&mut self, location: Location, occurrence: i64) -> BTreeSet<usize> {
        self.ran.clear();
        (0..self.mediators.len()).filter(|&index| self.waits(index, location, occurrence)).collect()
    }

    fn waits(&self, index: usize, location: Location, occurrence: i64) -> bool {
        let pending = self.mediators.get(index).and_then(Mediator::pending);
        pending.is_some_and(|pending| pending.wish.location() == Some(location) && pending.occurrence == occurrence)
    }

    /// Notes what the blocks wait for that ran since the last time.
    fn look_again(&mut self, waiting: &mut BTreeSet<usize>, location: Location, occurrence: i64) {
        for index in std::mem::take(&mut self.ran) {
            if self.waits(index, location, occurrence) {
                waiting.insert(index);
            } else {
                waiting.remove(&index);
            }
        }
    }

    /// Serves every block that waits for a visit, until none does: serving one can release another into it. While a block
    /// waits to have something computed, those after it wait too: what they do, they do after it.
    fn serve_all(&mut self, visit: &mut Visit<M::Tensor>) {
        loop {
            if let Err(raise) = take_written(visit, |record| self.job.model.takes(&self.machine, record)) {
                self.ended = Some(Ending::Failed(raise));
            }
            self.look_again(&mut visit.waiting, visit.location, visit.occurrence);
            let next = visit.waiting.iter().min_by_key(|index| (self.precedence(**index), **index)).copied();
            let Some(index) = next.filter(|_| self.ended.is_none() && self.computing.is_empty()) else { break };
            match self.serve(index, visit) {
                Ok(wrote) => visit.replaced |= wrote,
                Err(raise) if raise.as_fatal() == Some(Fatal::Stopped) => visit.stopped = true,
                Err(raise) => {
                    self.ended = Some(Ending::Failed(raise));
                    break;
                }
            }
        }
    }

    fn leave(&mut self, mut visit: Visit<M::Tensor>) -> Visited<M::Tensor> {
        if self.ended.is_none() {
            let kept = self.keep(&mut visit);
            self.note(kept);
        }
        self.progress.leave(visit.location);
        if visit.stopped && self.ended.is_none() {
            self.ended = Some(Ending::Stopped);
        }
        self.rewatch();
        let flow = match visit.flow {
            Flow::Inputs(inputs) => splice::each(inputs, splice::close).map(Flow::Inputs),
            Flow::Output(tree) => splice::close(tree).map(Flow::Output),
        };
        match flow {
            Ok(flow) => Visited { flow, replaced: visit.replaced },
            Err(raise) => {
                self.note(Err(raise));
                Visited { flow: Flow::Output(Tree::None), replaced: false }
            }
        }
    }

    /// Keeps what flows past a location for the blocks that asked for that, as it is when all have been served.
    fn keep(&mut self, visit: &mut Visit<M::Tensor>) -> Result<(), Raise> {
        let Some(caches) = self.caches.get(&visit.location) else { return Ok(()) };
        self.took_part = true;
        for (index, cache) in caches {
            let rows = self.rows(*index);
            let value = match &mut visit.flow {
                Flow::Output(tree) => splice::show(&*self.job.model, &self.machine, tree, visit.part, rows)?,
                Flow::Inputs(inputs) => splice::show_inputs(&*self.job.model, &self.machine, inputs, visit.part, rows)?,
            };
            cache.keep(&self.job, &self.machine, visit.location, &value)?;
        }
        Ok(())
    }

    fn visit_skip(&mut self, site: Site) -> bool {
        let location = Location::Skip(site);
        self.progress.reach(location);
        let mut parts = Vec::new();
        let mut whole = None;
        let occurrence = self.progress.occurrence(location);
        let mut waiting = self.waiting(location, occurrence);
        loop {
            self.look_again(&mut waiting, location, occurrence);
            let Some(&index) = waiting.first().filter(|_| self.ended.is_none()) else { break };
            let rows = self.rows(index);
            let Some(value) = self.take_wish(index, |wish| match wish {
                Wish::Skip(_, value) => Some(value.clone()),
                _ => None,
            }) else {
                break;
            };
            self.job.model.takes(&self.machine, &value);
            let served = splice::skipped::<M::Tensor>(&value, rows.total).and_then(|tree| {
                match rows.group {
                    Some(group) => parts.push((group, tree)),
                    None => whole = Some(tree),
                }
                self.resume(index, Some(Ok(Value::None)))
            });
            self.note(served);
            if self.ended.is_some() {
                break;
            }
        }
        if !parts.is_empty() {
            match splice::join_skips(parts, self.total) {
                Ok(tree) => whole = Some(tree),
                Err(raise) => self.note(Err(raise)),
            }
        }
        self.progress.leave(location);
        let skipped = whole.is_some();
        if let Some(tree) = whole {
            self.progress.skip(site);
            self.skipped.push((site, tree));
        }
        self.rewatch();
        skipped
    }

    /// Answers one request of a block. Returns whether it replaced the value.
    fn serve(&mut self, index: usize, visit: &mut Visit<M::Tensor>) -> Result<bool, Raise> {
        let Visit { part, flow, records, arguments, .. } = visit;
        let (part, rows) = (*part, self.rows(index));
        let Some(mediator) = self.mediators.get_mut(index) else { return Ok(false) };
        // A pinned step after the first holds for one request; the rest of the step follows the model.
        if mediator.state.iteration.get().is_some_and(|step| step != 0) {
            mediator.state.iteration.set(None);
        }
        let wish = match std::mem::replace(&mut mediator.status, Status::Done) {
            Status::Parked(pending) => pending.wish,
            Status::Done => return Ok(false),
        };
        let model = Rc::clone(&self.job.model);
        let (mut replaced, reads) = (false, matches!(wish, Wish::Read(..)));
        if let Wish::Write(_, value) | Wish::WriteFirst(_, value) = &wish {
            model.takes(&self.machine, value);
        }
        // What goes wrong while a value is shown or spliced is raised at the user's line.
        let answer = match (wish, &mut *flow) {
            (Wish::Read(_, View::Whole), Flow::Output(tree)) => {
                // One object for all who see the same rows, as the module returned one.
                match records.iter().find(|(shown, ..)| shown.group == rows.group) {
                    Some((_, record, _)) => Ok(record.clone()),
                    None => splice::show(&*model, &self.machine, tree, part, rows).inspect(|value| {
                        if let Tree::Record { .. } | Tree::Dict(_) = tree {
                            records.push((rows, value.clone(), python::held(value)));
                        }
                    }),
                }
            }
            // One object here too: the module is called with the dict that a block may set entries of.
            (Wish::Read(_, view), Flow::Inputs(inputs)) => match first_argument(inputs) {
                Some(tree) if view != View::Whole && !matches!(tree, Tree::Dict(_)) => {
                    splice::show(&*model, &self.machine, tree, part, rows)
                }
                None if view != View::Whole => {
                    Err(Raise::value_error("the module is called without arguments; read `.inputs` instead"))
                }
                _ => {
                    let shown = match arguments.iter().find(|(shown, ..)| shown.group == rows.group) {
                        Some((_, shown, _)) => Ok(shown.clone()),
                        None => splice::show_inputs(&*model, &self.machine, inputs, part, rows).inspect(|shown| {
                            arguments.push((rows, shown.clone(), python::held(shown)));
                        }),
                    };
                    if view == View::Whole { shown } else { shown.map(|shown| first_shown(&shown)) }
                }
            },
            (Wish::Write(_, value), Flow::Output(tree)) => splice::assign(tree, &value, rows).map(|()| {
                replaced = true;
                records.clear();
                Value::None
            }),
            (Wish::Write(location, value), Flow::Inputs(_)) if splice::is_tensor_for_arguments::<M::Tensor>(&value) => {
                let place = location.name(model.schema());
                self.unfit = Some(Raise::type_error(format!(
                    "`{place}s` was given a tensor in the place of the arguments: it takes a pair of a tuple of arguments and \
                     a dict of keyword arguments"
                )));
                Ok(Value::None)
            }
            (Wish::Write(_, value), Flow::Inputs(inputs)) => splice::assign_inputs(inputs, &value, rows).map(|()| {
                replaced = true;
                arguments.clear();
                Value::None
            }),
            (Wish::WriteFirst(_, value), Flow::Inputs(inputs)) => match first_argument(inputs) {
                Some(tree) => splice::assign(tree, &value, rows).map(|()| {
                    replaced = true;
                    arguments.clear();
                    Value::None
                }),
                None => Err(Raise::value_error("the module is called without arguments")),
            },
            _ => Err(Raise::value_error("this value cannot be read or written that way")),
        };
        if let (true, Ok(value), Some(mediator)) = (reads, &answer, self.mediators.get(index)) {
            mediator.under(|| model.gives(&self.machine, value));
        }
        self.resume(index, Some(answer))?;
        Ok(replaced)
    }

    fn take_wish<R>(&mut self, index: usize, read: impl FnOnce(&Wish) -> Option<R>) -> Option<R> {
        let mediator = self.mediators.get_mut(index)?;
        let found = mediator.pending().and_then(|pending| read(&pending.wish))?;
        mediator.status = Status::Done;
        if mediator.state.iteration.get().is_some_and(|step| step != 0) {
            mediator.state.iteration.set(None);
        }
        Some(found)
    }

    /// Resumes a block, and those that it releases from a barrier before it goes on itself.
    fn resume(&mut self, index: usize, answer: Option<Result<Value, Raise>>) -> Result<(), Raise> {
        self.took_part = true;
        let mut stack = vec![(index, answer)];
        while let Some((index, answer)) = stack.pop() {
            let Some(mediator) = self.mediators.get_mut(index) else { continue };
            let progress = &self.progress;
            self.ran.push(index);
            mediator.resume(&self.job, answer, |location| progress.occurrence(location))?;
            match mediator.pending().map(|pending| &pending.wish) {
                Some(Wish::Barrier(barrier)) => {
                    let mut waiting = barrier.waiting.borrow_mut();
                    waiting.push(index);
                    if waiting.len() >= barrier.count {
                        // The last to arrive goes on last, so it lies at the bottom.
                        stack.extend(waiting.drain(..).rev().map(|index| (index, Some(Ok(Value::None)))));
                    }
                }
                Some(Wish::Deferred(_)) => drop(self.computing.insert(index)),
                _ => {}
            }
        }
        self.hook()
    }

    fn note(&mut self, result: Result<(), Raise>) {
        match result {
            Ok(()) => {}
            Err(raise) if raise.as_fatal() == Some(Fatal::Stopped) => {
                if self.ended.is_none() {
                    self.ended = Some(Ending::Stopped);
                }
            }
            Err(raise) => self.ended = Some(Ending::Failed(raise)),
        }
    }

    fn rewatch(&mut self) {
        self.watch.clear();
        for pending in self.mediators.iter().filter_map(Mediator::pending) {
            if let Some(location) = pending.wish.location() {
                self.watch.add(location, self.job.model.schema());
            }
        }
        for (site, _) in &self.skipped {
            self.watch.add(Location::Output(*site), self.job.model.schema());
        }
    }
}

/// Goes on with what blocks set in the records, and in the dicts of arguments, that they were shown.
fn take_written<T: crate::model::Tensor>(visit: &mut Visit<T>, takes: impl Fn(&Value)) -> Result<(), Raise> {
    match &mut visit.flow {
        Flow::Output(tree) => {
            let written = |(_, record, before): &(Rows, Value, Value)| match python::host::<ModelOutput>(record) {
                Some(record) => record.take_written(),
                None => !python::holds(record, before),
            };
            while let Some(at) = visit.records.iter().position(written) {
                // Others read it anew: it has this block's rows in it.
                let (rows, record, _) = visit.records.swap_remove(at);
                takes(&record);
                splice::assign(tree, &record, rows)?;
                let before = python::held(&record);
                visit.records = vec![(rows, record, before)];
                visit.replaced = true;
            }
        }
        Flow::Inputs(inputs) => {
            let written = |(_, shown, before): &(Rows, Value, Value)| !python::holds(shown, before);
            while let Some(at) = visit.arguments.iter().position(written) {
                let (rows, shown, _) = visit.arguments.swap_remove(at);
                takes(&shown);
                splice::assign_inputs(inputs, &shown, rows)?;
                let before = python::held(&shown);
                visit.arguments = vec![(rows, shown, before)];
                visit.replaced = true;
            }
        }
    }
    Ok(())
}

/// Returns the first of arguments that are shown.
fn first_shown(arguments: &Value) -> Value {
    let pair = python::sequence(arguments).unwrap_or_default();
    let first = pair.first().and_then(|args| python::sequence(args)?.into_iter().next());
    first.or_else(|| python::items(pair.get(1)?).into_iter().next().map(|(_, value)| value)).unwrap_or(Value::None)
}

/// What nnsight warns of where a loop asked for a step that the run did not make.
const CUT_SHORT: &str = "was never reached: the loop asked for a step the run did not make, so it was cut short — values saved \
    inside the loop are kept, and the statements after it did not run. An open `tracer.iter[:]` / `tracer.all()` loop ends this \
    way by design. To hold a generation to a bounded loop's count, pass `min_new_tokens=` on transformers or `min_tokens=` / \
    `ignore_eos=True` on vLLM; put what follows the loop in a separate `tracer.invoke()`.";

/// Makes the error for a location that the run never reached, or had passed.
fn out_of_order(message: String) -> Raise {
    Raise::named(OUT_OF_ORDER, Kind::Exception, message)
}

fn first_argument<T>(inputs: &mut Inputs<T>) -> Option<&mut Tree<T>> {
    if inputs.args.is_empty() { inputs.kwargs.first_mut().map(|(_, tree)| tree) } else { inputs.args.first_mut() }
}

/// How often each location has been reached since the run began.
///
/// A pass reaches every module of the execution order once, so passes are counted, not visits: modules that nobody
/// watches need not be seen.
struct Progress {
    order: Rc<Order>,
    /// Passes finished.
    passes: i64,
    /// The moment of the current pass that was last left; everything before has been passed.
    cursor: Option<u32>,
    /// The last moment that the pass before reached and a block watched.
    last: Option<u32>,
    /// Modules skipped so far, one entry per pass: what is inside them was not reached then.
    skips: Vec<Site>,
    /// Visits of what no module produces.
    others: [i64; 3],
    several_passes: bool,
}

impl Progress {
    fn new(order: Rc<Order>, several_passes: bool) -> Self {
        Self { order, passes: 0, cursor: None, last: None, skips: Vec::new(), others: [0; 3], several_passes }
    }

    fn occurrence(&self, location: Location) -> i64 {
        if let Some(other) = other_index(location) {
            return self.others.get(other).copied().unwrap_or(0);
        }
        let Some(moment) = self.order.of(location) else { return 0 };
        let passed = self.cursor.is_some_and(|cursor| moment < cursor);
        self.passes + i64::from(passed) - self.missed(location)
    }

    /// Returns how often a location was left out because a module around it was skipped.
    fn missed(&self, location: Location) -> i64 {
        let inside = |skipped: &&Site| match location {
            Location::Input(site) | Location::Skip(site) | Location::Output(site) => {
                **skipped != site && self.order.contains(**skipped, site)
            }
            _ => false,
        };
        i64::try_from(self.skips.iter().filter(inside).count()).unwrap_or(i64::MAX)
    }

    /// Returns whether the visit that a block waits for can still come.
    fn may_come(&self, location: Location, occurrence: i64) -> bool {
        if other_index(location).is_some() {
            return occurrence >= self.occurrence(location);
        }
        let Some(_) = self.order.of(location) else { return false };
        let next = self.occurrence(location);
        if self.several_passes { occurrence >= next } else { occurrence == next && next == 0 && self.passes == 0 }
    }

    fn reach(&mut self, location: Location) {
        if let Some(moment) = self.order.of(location) {
            self.cursor = Some(moment);
        }
    }

    fn leave(&mut self, location: Location) {
        if let Some(other) = other_index(location) {
            if let Some(count) = self.others.get_mut(other) {
                *count += 1;
            }
        } else if let Some(moment) = self.order.of(location) {
            self.cursor = Some(moment + 1);
        }
    }

    fn skip(&mut self, site: Site) {
        self.skips.push(site);
    }
}

fn other_index(location: Location) -> Option<usize> {
    match location {
        Location::Streamed => Some(0),
        Location::Generated => Some(1),
        Location::Result => Some(2),
        Location::Input(_) | Location::Skip(_) | Location::Output(_) => None,
    }
}

/// Which modules a run wants to see. Read for every module of every pass.
struct Watch {
    wants: Vec<Wants>,
    set: Vec<u32>,
    /// What it wants to see all the time; empty for nothing.
    kept: Vec<Wants>,
}

impl Watch {
    fn new(modules: usize) -> Self {
        Self { wants: vec![Wants::default(); modules], set: Vec::new(), kept: Vec::new() }
    }

    fn of(&self, site: Site) -> Wants {
        self.wants.get(site.0 as usize).copied().unwrap_or_default()
    }

    fn clear(&mut self) {
        for index in self.set.drain(..) {
            if let Some(wants) = self.wants.get_mut(index as usize) {
                *wants = self.kept.get(index as usize).copied().unwrap_or_default();
            }
        }
    }

    /// Adds locations for good, before there are others.
    fn keep(&mut self, locations: &[Location], schema: &crate::model::Schema) {
        if !locations.is_empty() {
            locations.iter().for_each(|location| self.add(*location, schema));
            self.kept.clone_from(&self.wants);
        }
    }

    fn add(&mut self, location: Location, schema: &crate::model::Schema) {
        let (site, input) = match location {
            Location::Input(site) | Location::Skip(site) => (site, true),
            Location::Output(site) => (site, false),
            Location::Streamed | Location::Generated | Location::Result => return,
        };
        self.set.push(site.0);
        if let Some(wants) = self.wants.get_mut(site.0 as usize) {
            wants.input |= input;
            wants.output |= !input;
        }
        let mut parent = schema.parent(site);
        while let Some(site) = parent {
            self.set.push(site.0);
            if let Some(wants) = self.wants.get_mut(site.0 as usize) {
                wants.inside = true;
            }
            parent = schema.parent(site);
        }
    }
}
