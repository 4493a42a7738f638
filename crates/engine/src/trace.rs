//! From `with model.trace(…):` to a run that only needs forward passes.

use std::rc::Rc;

use interpreter::frame::Frame;
use interpreter::raise::{Kind, Raise};
use interpreter::{Args, Coroutine, Machine, Step, Value};
use program::{DType, Function};

use crate::ask::{Ask, TraceRequest};
use crate::edit;
use crate::generation::{Generation, Stepped};
use crate::job::JobState;
use crate::location::Location;
use crate::mediator::deferred;
use crate::model::{Drawn, Forwarded, Model, Only, Segment, Site, Tensor, Tree};
use crate::pipe::Pipe;
use crate::prompt::{self, Batch, Beside, Prompt, Row};
use crate::python;
use crate::run::{Ending, Run};
use crate::shares::Load;
use crate::tracer::TraceState;
use crate::tree;

/// One trace: the blocks' run and the work that the model does for it.
pub struct Trace<M: Model> {
    pub run: Run<M>,
    work: Work<M>,
    /// See [`Trace::company`].
    arguments: Option<String>,
    batch: Batch,
    /// See [`Arithmetic::pass_bytes`](crate::Arithmetic::pass_bytes).
    bytes: u64,
    tracer: Rc<TraceState>,
    /// The frame around the trace, where names bound inside end up.
    parent: Rc<Frame>,
}

/// What decides whether a trace can share a pass, or several that do.
#[derive(Clone, Copy)]
pub struct Company<'a> {
    arguments: &'a str,
    /// Whether gradients are recorded of the pass.
    recording: bool,
    /// Whether its code may look at operations: forwards are then run step by step, and ends of rows have masks, so that these
    /// take other steps than whole rows.
    steps: bool,
    /// Which arguments the model is called with; `None` where that differs from trace to trace.
    call: Option<CallForm>,
    /// Whether somebody looks at those, or at operations that they lead to.
    looks: bool,
}

impl Company<'_> {
    /// Returns the company of both, if they can share a pass. Where somebody looks at how the model is called, or inside of
    /// forwards, it is called once for all, as one of them would call it.
    pub fn and(self, other: Self) -> Option<Self> {
        let call = self.call.filter(|_| self.call == other.call);
        let looks = self.looks || other.looks;
        let alike = (self.arguments, self.recording, self.steps) == (other.arguments, other.recording, other.steps);
        let fits = alike && (call.is_some() || !looks);
        fits.then_some(Self { call, looks, ..self })
    }
}

/// Which arguments a call of the model has.
#[derive(Clone, Copy, PartialEq, Eq)]
struct CallForm {
    /// Whether it is a step of a generation, which calls the model with more.
    generating: bool,
    /// Whether it is a later step than the first.
    begun: bool,
    masked: bool,
    placed: bool,
    /// How many of the model's windows its rows fill, if its code may look at operations: there are masks from then on.
    filled: usize,
}

/// A block, with its first row and how many it has; `None` sees all.
type Block = (Coroutine, Option<(i64, i64)>);

enum Work<M: Model> {
    /// One forward pass, or what a module does alone.
    Forward { kwargs: Vec<(Rc<str>, Value)>, only: Option<Only>, recording: bool, done: bool },
    Generate {
        generation: Box<Generation<M>>,
        /// What becomes of the tokens; `None` shows them as they are.
        pipe: Option<Pipe>,
        done: bool,
    },
}

/// A trace whose input was read. Its blocks have not begun.
pub struct Prepared<M: Model> {
    request: TraceRequest,
    kwargs: Vec<(Rc<str>, Value)>,
    /// `None` where the input is that of invokes, which the body has yet to open.
    input: Option<Input<M>>,
}

/// What the model is given, and what for.
struct Input<M: Model> {
    batch: Batch,
    work: Work<M>,
    arguments: Option<String>,
    bytes: u64,
}

impl<M: Model> Prepared<M> {
    /// Reads a trace's input.
    ///
    /// # Errors
    /// `ValueError` for input that makes no batch, `OutOfMemoryError` for one that is too large.
    pub fn new(job: &Rc<JobState<M>>, machine: &Machine, request: TraceRequest) -> Result<Self, Raise> {
        if request.site != Site(0) {
            let args = Args { positional: request.args.clone(), keyword: request.kwargs.clone() };
            let given = !args.positional.is_empty() || !args.keyword.is_empty();
            let input = given.then(|| Input::alone(job, machine, &request, args)).transpose()?;
            return Ok(Self { request, kwargs: Vec::new(), input });
        }
        let direct = prompt::read(job, machine, &request.args, &request.kwargs)?;
        if direct.rows.is_empty() {
            return Ok(Self { request, kwargs: direct.rest, input: None });
        }
        let input = Input::new(job, machine, &request, direct)?;
        Ok(Self { request, kwargs: Vec::new(), input: Some(input) })
    }

    /// Collects the trace's blocks, and starts them.
    ///
    /// # Errors
    /// What a body without input raises; `ValueError` where it opens no invokes.
    pub fn start(self, job: &Rc<JobState<M>>, machine: &Machine) -> Result<Trace<M>, Raise> {
        let Self { request, mut kwargs, input } = self;
        let edits = request.edits.iter().map(|edit| Ok((edit::replay(machine, edit)?, None)));
        let mut blocks = edits.collect::<Result<Vec<_>, Raise>>()?;
        let input = match input {
            Some(input) => {
                blocks.push((Coroutine::of_block(machine, request.body.clone()), Some((0, input.batch.rows))));
                input
            }
            None => {
                if request.function == Function::Pipe {
                    return Err(Raise::value_error(
                        "model.pipe() takes its prompts itself on this server: give it a text or a list of texts",
                    ));
                }
                collect(job, machine, &request)?;
                if request.site != Site(0) {
                    return Self::start_alone(job, machine, request, blocks);
                }
                let mut rows: Vec<Row> = Vec::new();
                let mut beside = Beside::default();
                for invoke in request.tracer.invokes.take() {
                    let prompt = prompt::read(job, machine, &invoke.args, &invoke.kwargs)?;
                    // Of what several invokes say, the last holds for all.
                    for (name, value) in prompt.rest {
                        kwargs.retain(|(other, _)| *other != name);
                        kwargs.push((name, value));
                    }
                    beside.mask = prompt.beside.mask.or(beside.mask);
                    beside.positions = prompt.beside.positions.or(beside.positions);
                    let (start, length) = (count(&rows), count(&prompt.rows));
                    rows.extend(prompt.rows);
                    let group = (length > 0).then_some((start, length));
                    blocks.push((Coroutine::of_block(machine, invoke.body), group));
                }
                if rows.is_empty() {
                    return Err(no_input());
                }
                let several = blocks.iter().filter(|(_, group)| group.is_some()).count() > 1;
                if several && request.function != Function::Call && job.model.copies(&kwargs)? > 1 {
                    return Err(Raise::value_error(
                        "several sequences for each prompt of several invokes are not supported by this server: give one \
                         prompt at a time",
                    ));
                }
                if let Some((name, _)) =
                    kwargs.iter().find(|(name, value)| several && prompt::is_whole::<M::Tensor>(name, value))
                {
                    return Err(Raise::value_error(format!(
                        "`{name}` of one of several invokes is not supported by this server: give the whole batch to one"
                    )));
                }
                Input::new(job, machine, &request, Prompt { rows, rest: kwargs, beside })?
            }
        };
        Self::begin(job, machine, &request, input, blocks)
    }

    /// Starts the invokes of a trace of one module, of which one has an input: nnsight joins inputs of whole models only.
    fn start_alone(
        job: &Rc<JobState<M>>,
        machine: &Machine,
        request: TraceRequest,
        mut blocks: Vec<Block>,
    ) -> Result<Trace<M>, Raise> {
        let mut args: Option<Args> = None;
        for invoke in request.tracer.invokes.take() {
            let given = !invoke.args.is_empty() || !invoke.kwargs.is_empty();
            if given && args.is_some() {
                let message = "Envoy does not support batching multiple invokes";
                return Err(Raise::new(Kind::NotImplementedError, message));
            }
            if given {
                args = Some(Args { positional: invoke.args, keyword: invoke.kwargs });
            }
            blocks.push((Coroutine::of_block(machine, invoke.body), None));
        }
        let args = args.ok_or_else(no_input)?;
        let input = Input::alone(job, machine, &request, args)?;
        Self::begin(job, machine, &request, input, blocks)
    }

    fn begin(
        job: &Rc<JobState<M>>,
        machine: &Machine,
        request: &TraceRequest,
        input: Input<M>,
        blocks: Vec<Block>,
    ) -> Result<Trace<M>, Raise> {
        let Input { batch, work, arguments, bytes } = input;
        let parent = Rc::clone(&request.body.frame);
        request.tracer.running.set(true);
        let several = matches!(work, Work::Generate { .. });
        let [first, last] = match job.adapter.get() {
            Some(adapter) => adapter.blocks(job, machine, request.site, several)?,
            None => Default::default(),
        };
        let ends = first.len();
        let alone = |coroutine: Coroutine| (coroutine, None);
        let blocks: Vec<Block> =
            first.into_iter().map(alone).chain(blocks).chain(last.into_iter().map(alone)).collect();
        let mut run = Run::start(Rc::clone(job), machine.clone(), blocks, batch.rows, several);
        run.forgive(ends);
        let work = match work {
            Work::Generate { generation, pipe, .. } => {
                generation.announce(&mut run, 0)?;
                let done = generation.exhausted();
                Work::Generate { generation, pipe, done }
            }
            forward => forward,
        };
        Ok(Trace { run, work, arguments, batch, bytes, tracer: Rc::clone(&request.tracer), parent })
    }
}

fn no_input() -> Raise {
    Raise::value_error("trace() needs an input, or at least one `with tracer.invoke(...)` block")
}

fn count(rows: &[Row]) -> i64 {
    i64::try_from(rows.len()).unwrap_or(i64::MAX)
}

impl<M: Model> Input<M> {
    /// Takes what one module is given, which shares no pass.
    fn alone(job: &Rc<JobState<M>>, machine: &Machine, request: &TraceRequest, args: Args) -> Result<Self, Raise> {
        let TraceRequest { site, recording, .. } = *request;
        let only = Only { site, given: None, machine: machine.clone() };
        if job.model.takes_tokens(site) {
            let text = args.positional.iter().any(|value| python::string(value).is_some());
            if text {
                return Err(Raise::type_error("a module by itself takes token ids, and no text: trace the model"));
            }
            let prompt = prompt::read(job, machine, &args.positional, &args.keyword)?;
            if prompt.rows.is_empty() {
                return Err(Raise::value_error("You must specify exactly one of input_ids or inputs_embeds"));
            }
            let input = Self::new(job, machine, request, prompt)?;
            let Work::Forward { kwargs, recording, done, .. } = input.work else { return Err(no_input()) };
            return Ok(Self {
                work: Work::Forward { kwargs, only: Some(only), recording, done },
                arguments: None,
                ..input
            });
        }
        let values = args.positional.iter().chain(args.keyword.iter().map(|(_, value)| value));
        let first = values.filter_map(M::Tensor::of_value).next();
        let sizes = first.as_ref().map(Tensor::shape).unwrap_or_default();
        // Of numbers, the last dimension is not of tokens.
        let ids = first.as_ref().is_some_and(|tensor| tensor.dtype() == Some(DType::Int64));
        let (rows, length) = match (sizes.as_slice(), ids) {
            (&[rows, length, _, ..], _) | (&[rows, length], true) => (rows, length),
            (&[length, _], false) | (&[length], true) => (1, length),
            _ => (1, 1),
        };
        let (bytes, limit) = (job.model.pass_bytes(rows, length, length, job.attention), machine.limits().tensor_bytes);
        if bytes > limit {
            return Err(prompt::too_large(rows, length, length, bytes, limit));
        }
        let batch = Batch { rows, length, ids: Vec::new(), mask: Vec::new(), positions: None };
        let only = Some(Only { given: Some(args), ..only });
        Ok(Self {
            batch,
            work: Work::Forward { kwargs: Vec::new(), only, recording, done: false },
            arguments: None,
            bytes,
        })
    }

    fn new(job: &Rc<JobState<M>>, machine: &Machine, request: &TraceRequest, prompt: Prompt) -> Result<Self, Raise> {
        let TraceRequest { function, recording, .. } = *request;
        let mut batch = prompt::pad_left(&prompt.rows, prompt::pad_token(&*job.model.tokenizer()));
        batch.replace(prompt.beside)?;
        check_range(&*job.model, &batch)?;
        let mut kwargs = prompt.rest;
        if function != Function::Call {
            let copies = job.model.copies(&kwargs)?;
            let most = i64::try_from(copies).unwrap_or(i64::MAX).saturating_mul(batch.rows);
            let (length, limit) = (batch.length, machine.limits().tensor_bytes);
            let bytes = job.model.pass_bytes(most, length, length, job.attention);
            if bytes > limit {
                return Err(prompt::too_large(most, length, length, bytes, limit));
            }
            batch.repeat(copies);
        }
        let pipe = match function {
            Function::Pipe => Some(Pipe::read(&*job.model, &request.args, &request.kwargs, &mut kwargs)?),
            Function::Call | Function::Generate => None,
        };
        let work = match function {
            Function::Call => {
                job.model.accept(&kwargs)?;
                Work::Forward { kwargs, only: None, recording, done: false }
            }
            Function::Generate | Function::Pipe => {
                let mut generation = Generation::new(&*job.model, machine, &batch, &kwargs, job.attention)?;
                generation.streams &= pipe.is_none();
                Work::Generate { generation: Box::new(generation), pipe, done: false }
            }
        };
        let arguments = match &work {
            Work::Forward { kwargs, .. } => name_arguments(kwargs),
            // The others are for the choice of tokens.
            Work::Generate { generation, .. } if generation.collects() => None,
            Work::Generate { generation, .. } if generation.caches() => Some(String::new()),
            Work::Generate { .. } => Some("use_cache=False ".into()),
        };
        // Attention weights are shown for all segments of a pass or for none.
        let arguments = arguments.map(|named| format!("{named}{:?}", job.attention));
        let (length, total) = match &work {
            Work::Generate { generation, .. } => (generation.widest(batch.length), generation.longest()),
            Work::Forward { .. } => (batch.length, batch.length),
        };
        let bytes = job.model.pass_bytes(batch.rows, length, total, job.attention);
        let limit = machine.limits().tensor_bytes;
        if bytes > limit {
            Err(prompt::too_large(batch.rows, length, total, bytes, limit))
        } else {
            Ok(Self { batch, work, arguments, bytes })
        }
    }
}

/// Looks tokens and positions up in what the model has of them, before anything is computed for anybody.
fn check_range<M: Model>(model: &M, batch: &Batch) -> Result<(), Raise> {
    let within = |numbers: &[i64], count: Option<i64>| {
        count.is_none_or(|count| numbers.iter().all(|number| (0..count).contains(number)))
    };
    let positions = match &batch.positions {
        Some(positions) => within(positions, model.positions()),
        None => model.positions().is_none_or(|count| batch.length <= count),
    };
    if positions && within(&batch.ids, model.vocabulary()) { Ok(()) } else { Err(prompt::out_of_range()) }
}

impl<M: Model> Trace<M> {
    /// Prepares a trace and starts its blocks.
    ///
    /// # Errors
    /// As [`Prepared::new`] and [`Prepared::start`].
    pub fn open(job: &Rc<JobState<M>>, machine: &Machine, request: TraceRequest) -> Result<Self, Raise> {
        Prepared::new(job, machine, request)?.start(job, machine)
    }

    /// Returns whether the model still has something to do for this trace.
    pub fn wants_pass(&self) -> bool {
        let done = match &self.work {
            Work::Forward { done, .. } | Work::Generate { done, .. } => *done,
        };
        !done && self.run.needs_more()
    }

    /// Tells whom the trace may share its next pass with: a model takes the arguments of a forward call for a whole pass,
    /// and whoever looks at them sees what generation adds to them. `None` is for a trace that shares with nobody.
    pub fn company(&self) -> Option<Company<'_>> {
        let (run, schema) = (&self.run, self.run.job.model.schema());
        let steps = run.sees_operations();
        let looks = run.job.calls || steps || schema.called.iter().any(|&site| run.wants(site).input);
        let length = match &self.work {
            Work::Generate { generation, .. } => generation.length(),
            Work::Forward { .. } => self.batch.length,
        };
        let call = CallForm {
            generating: matches!(self.work, Work::Generate { .. }),
            begun: self.run.passes() > 0,
            masked: !self.batch.full(),
            placed: self.batch.positions.is_some(),
            filled: schema.windows.iter().filter(|&&window| steps && length >= window).count(),
        };
        let recording = matches!(self.work, Work::Forward { recording: true, .. });
        self.arguments.as_deref().map(|arguments| Company { arguments, recording, steps, call: Some(call), looks })
    }

    /// Returns the bytes that its passes take at most.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns what the next pass has to do for it.
    pub fn load(&self) -> Load {
        Load { rows: self.batch.rows, tokens: self.tokens(), blocks: self.run.busy }
    }

    /// Returns the tokens of the next pass.
    pub fn tokens(&self) -> i64 {
        match &self.work {
            Work::Generate { generation, .. } => self.batch.rows * generation.fresh(),
            Work::Forward { .. } => self.batch.rows * self.batch.length,
        }
    }

    /// Returns the token ids of each row where equal rows give equal states whatever else is asked of the model: a
    /// forward pass over whole rows without arguments of its own, of which nobody may look at operations.
    pub fn plain_rows(&self) -> Option<Vec<Vec<i64>>> {
        let plain = match &self.work {
            Work::Forward { kwargs, only, recording, .. } => {
                !recording && kwargs.is_empty() && only.is_none() && self.run.job.model.caches()
            }
            Work::Generate { generation, .. } => {
                self.run.passes() == 0 && generation.caches() && !generation.collects()
            }
        };
        (plain && !self.run.sees_operations() && self.batch.full() && self.batch.positions.is_none())
            .then(|| self.batch.sequences())
    }

    /// Returns what the next pass computes for this trace.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    pub fn segment(&mut self) -> Result<Segment<M::Tensor>, Raise> {
        self.run.begin_pass();
        match &mut self.work {
            Work::Generate { generation, .. } => generation.segment(),
            Work::Forward { only: Some(only @ Only { given: Some(_), .. }), recording, .. } => Ok(Segment {
                attention: self.run.job.attention,
                only: Some(only.clone()),
                recorder: recording.then(|| self.run.machine.clone()),
                ..Segment::new(self.batch.rows, self.batch.length, prompt::shaped_tensor(vec![0], &[])?)
            }),
            Work::Forward { kwargs, only, recording, .. } => {
                let Batch { rows, length, .. } = self.batch;
                let tensor = |data: &[i64]| prompt::int_tensor(rows, length, data.to_vec());
                let asked = kwargs.iter().find(|(name, _)| &**name == "use_cache");
                let caching = match asked {
                    Some((_, Value::Bool(asked))) => *asked,
                    _ => self.run.job.model.caches(),
                };
                let given = kwargs.iter().find(|(name, _)| &**name == "past_key_values");
                let given = given.and_then(|(_, value)| self.run.job.model.given_cache(value));
                Ok(Segment {
                    attention_mask: if self.batch.full() { None } else { Some(tensor(&self.batch.mask)?) },
                    position_ids: self.batch.positions.as_deref().map(tensor).transpose()?,
                    cache: match given {
                        Some(cache) => Some(cache),
                        None => caching.then(|| self.run.job.model.new_cache()),
                    },
                    attention: self.run.job.attention,
                    flags: kwargs.clone(),
                    only: only.clone(),
                    recorder: recording.then(|| self.run.machine.clone()),
                    ..Segment::new(rows, length, tensor(&self.batch.ids)?)
                })
            }
        }
    }

    /// Leaves a pass that failed: with the cache that it had, if that had one.
    pub fn undo_pass(&mut self, cache: Option<Box<dyn std::any::Any>>) {
        self.run.undo_pass();
        if let Work::Generate { generation, .. } = &mut self.work
            && let Err(raise) = generation.undo_pass(&*self.run.job.model, cache)
        {
            self.run.ended = Some(Ending::Failed(raise));
        }
    }

    /// Takes a pass's outcome: the model's output and which part of it is this trace's, or `None` where the pass ended
    /// for this trace before its end. Returns what a generation goes on with, which is then to be [appended](Self::append).
    pub fn after_pass(
        &mut self,
        output: Option<(&Forwarded<M::Tensor>, usize)>,
        cache: Option<Box<dyn std::any::Any>>,
    ) -> Option<Drawn<M::Tensor>> {
        self.run.end_pass();
        let taken = self.take_output(output, cache);
        self.unless_failed(taken).flatten()
    }

    /// Goes on with the tokens that were drawn.
    pub fn append(&mut self, part: usize, chosen: Result<Vec<i64>, Raise>) {
        let Work::Generate { generation, done, .. } = &mut self.work else { return };
        let appended = chosen.and_then(|chosen| generation.append(&mut self.run, part, chosen));
        *done |= matches!(appended, Ok(true));
        self.unless_failed(appended);
    }

    fn unless_failed<R>(&mut self, result: Result<R, Raise>) -> Option<R> {
        match result {
            Ok(result) => Some(result),
            Err(raise) => {
                self.run.ended.get_or_insert(Ending::Failed(raise));
                None
            }
        }
    }

    fn take_output(
        &mut self,
        output: Option<(&Forwarded<M::Tensor>, usize)>,
        cache: Option<Box<dyn std::any::Any>>,
    ) -> Result<Option<Drawn<M::Tensor>>, Raise> {
        let part = output.map_or(0, |(_, part)| part);
        let output = output.map(|(all, part)| tree::take(&all.output, &all.layout, part)).transpose()?;
        match (&mut self.work, output) {
            (Work::Forward { done, .. }, output) => {
                *done = true;
                if let Some(output) = output {
                    self.run.offer(Location::Result, part, output);
                }
            }
            (Work::Generate { done, .. }, None) => *done = true,
            (Work::Generate { generation, done, .. }, Some(output)) => {
                let logits = logits(&output)
                    .ok_or_else(|| Raise::runtime_error("the model's output has no logits to generate from"))?;
                generation.collect(&self.run, part, &output);
                match generation.advance(&mut self.run, part, logits, cache)? {
                    Stepped::Done(all) => *done = all,
                    Stepped::Drawn(drawn) => return Ok(Some(drawn)),
                }
            }
        }
        Ok(None)
    }

    /// Ends the trace: shows what was generated, ends blocks that still wait, and hands names to the frame around.
    ///
    /// # Errors
    /// What a block raised.
    pub fn close(mut self) -> Result<(), Raise> {
        if let Work::Generate { generation, pipe, done: true } = &mut self.work
            && self.run.ended.is_none()
        {
            let record = generation.finish(&self.run)?;
            let result = match pipe {
                None if record.is_some() => {
                    let record = Tree::Object(Rc::new(record.unwrap_or(Value::None)));
                    self.run.offer(Location::Generated, 0, record)
                }
                Some(pipe) => {
                    let (run, length) = (&self.run, self.batch.length);
                    let tokenizer = run.job.model.tokenizer();
                    Tree::Object(Rc::new(pipe.records(&run.machine, &*tokenizer, generation.sequences(), length)?))
                }
                None => {
                    let ids = self.run.job.model.place(generation.ids()?)?;
                    self.run.offer(Location::Generated, 0, Tree::Leaf(ids))
                }
            };
            self.run.offer(Location::Result, 0, result);
        }
        self.run.finish();
        if let Some(Ending::Failed(raise)) = self.run.ended.take() {
            return Err(raise);
        }
        for (name, value) in self.tracer.siblings.names() {
            self.parent.set(name, value);
        }
        Ok(())
    }
}

/// Writes keyword arguments down so that equal ones read the same; `None` where one is not a plain value.
fn name_arguments(kwargs: &[(Rc<str>, Value)]) -> Option<String> {
    let named = kwargs.iter().map(|(name, value)| match value {
        Value::None => Some(format!("{name}=None ")),
        Value::Bool(value) => Some(format!("{name}={value} ")),
        Value::Int(value) => Some(format!("{name}={value} ")),
        _ => None,
    });
    let mut named = named.collect::<Option<Vec<_>>>()?;
    named.sort();
    Some(named.concat())
}

/// Runs a trace's body where it has no input of its own: its invokes register themselves.
fn collect<M: Model>(job: &Rc<JobState<M>>, machine: &Machine, request: &TraceRequest) -> Result<(), Raise> {
    let before = job.enter_mediator(None);
    let mut coroutine = Coroutine::of_block(machine, request.body.clone());
    let mut answer = None;
    let result = loop {
        match coroutine.resume(answer.take()) {
            Step::Done(result) => break result.map(drop),
            Step::Waiting(wish) => {
                answer = Some(match wish.0.downcast::<Ask>().map(|ask| *ask) {
                    Ok(Ask::Trace(_) | Ask::PutOff(..)) => {
                        Err(Raise::value_error("a trace cannot be opened inside another one"))
                    }
                    Ok(_) => Err(Raise::value_error(
                        "nothing of the model can be read here: the body of a trace without input only opens invokes",
                    )),
                    Err(request) => deferred::<M::Tensor>(request),
                });
            }
        }
    };
    job.enter_mediator(before);
    result
}

fn logits<T>(output: &Tree<T>) -> Option<&T> {
    let Tree::Record { fields, .. } = output else { return None };
    fields.iter().find_map(|(name, field)| match field {
        Tree::Leaf(tensor) if *name == "logits" => Some(tensor),
        _ => None,
    })
}
