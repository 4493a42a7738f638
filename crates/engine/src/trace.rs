//! From `with model.trace(…):` to a run that only needs forward passes.

use std::rc::Rc;

use interpreter::frame::Frame;
use interpreter::raise::{Kind, Raise};
use interpreter::{Coroutine, Machine, Step, Value};
use program::Function;

use crate::ask::{Ask, TraceRequest};
use crate::generation::Generation;
use crate::job::JobState;
use crate::location::Location;
use crate::mediator::deferred;
use crate::model::{Forwarded, Model, Segment, Site, Tree};
use crate::prompt::{self, Batch, Row};
use crate::run::{Ending, Run};
use crate::tracer::TraceState;
use crate::tree;

/// One trace: the blocks' run and the work that the model does for it.
pub struct Trace<M: Model> {
    pub run: Run<M>,
    work: Work<M>,
    /// See [`Trace::company`].
    arguments: Option<String>,
    batch: Batch,
    /// See [`Model::pass_bytes`].
    bytes: u64,
    tracer: Rc<TraceState>,
    /// The frame around the trace, where names bound inside end up.
    parent: Rc<Frame>,
}

/// Traces of equal company can share a pass.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Company<'a> {
    arguments: &'a str,
    /// Whether it is a step of a generation, for a trace that looks at the call's arguments.
    generating: Option<bool>,
    /// Whether gradients are recorded of the pass.
    recording: bool,
}

enum Work<M: Model> {
    /// One forward pass.
    Forward {
        kwargs: Vec<(Rc<str>, Value)>,
        recording: bool,
        done: bool,
    },
    Generate {
        generation: Box<Generation<M>>,
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
        let direct = prompt::read::<M::Tensor>(&*job.model.tokenizer(), &request.args, &request.kwargs)?;
        if direct.rows.is_empty() {
            return Ok(Self { request, kwargs: direct.rest, input: None });
        }
        let input = Input::new(job, machine, request.function, &direct.rows, direct.rest)?;
        Ok(Self { request, kwargs: Vec::new(), input: Some(input) })
    }

    /// Collects the trace's blocks, and starts them.
    ///
    /// # Errors
    /// What a body without input raises; `ValueError` where it opens no invokes.
    pub fn start(self, job: &Rc<JobState<M>>, machine: &Machine) -> Result<Trace<M>, Raise> {
        let Self { request, mut kwargs, input } = self;
        let parent = Rc::clone(&request.body.frame);
        let mut blocks = Vec::new();
        let input = match input {
            Some(input) => {
                blocks.push((Coroutine::of_block(machine, request.body.clone()), Some((0, input.batch.rows))));
                input
            }
            None => {
                collect(job, machine, &request)?;
                let mut rows: Vec<Row> = Vec::new();
                for invoke in request.tracer.invokes.take() {
                    let prompt = prompt::read::<M::Tensor>(&*job.model.tokenizer(), &invoke.args, &invoke.kwargs)?;
                    for (name, value) in prompt.rest {
                        if !kwargs.iter().any(|(other, _)| *other == name) {
                            kwargs.push((name, value));
                        }
                    }
                    let (start, length) = (count(&rows), count(&prompt.rows));
                    rows.extend(prompt.rows);
                    let group = (length > 0).then_some((start, length));
                    blocks.push((Coroutine::of_block(machine, invoke.body), group));
                }
                if rows.is_empty() {
                    return Err(Raise::value_error(
                        "trace() needs an input, or at least one `with tracer.invoke(...)` block",
                    ));
                }
                Input::new(job, machine, request.function, &rows, kwargs)?
            }
        };
        let Input { batch, work, arguments, bytes } = input;
        request.tracer.running.set(true);
        let several = matches!(work, Work::Generate { .. });
        let mut run = Run::start(Rc::clone(job), machine.clone(), blocks, batch.rows, several);
        let work = match work {
            Work::Generate { generation, .. } => {
                generation.announce(&mut run, 0)?;
                let done = generation.exhausted();
                Work::Generate { generation, done }
            }
            forward => forward,
        };
        Ok(Trace { run, work, arguments, batch, bytes, tracer: request.tracer, parent })
    }
}

fn count(rows: &[Row]) -> i64 {
    i64::try_from(rows.len()).unwrap_or(i64::MAX)
}

impl<M: Model> Input<M> {
    fn new(
        job: &Rc<JobState<M>>,
        machine: &Machine,
        function: Function,
        rows: &[Row],
        kwargs: Vec<(Rc<str>, Value)>,
    ) -> Result<Self, Raise> {
        // As the code around the trace has it: what its blocks switch off is their own affair.
        let recording = job.model.recording(machine);
        let batch = prompt::pad_left(rows, prompt::pad_token(&*job.model.tokenizer()));
        let arguments = match function {
            // They are for the choice of tokens.
            Function::Generate => Some(String::new()),
            _ => name_arguments(&kwargs),
        };
        // Attention weights are shown for all segments of a pass or for none.
        let arguments = arguments.map(|named| format!("{named}{:?}", job.attention));
        let work = match function {
            Function::Call => Work::Forward { kwargs, recording, done: false },
            Function::Generate => Work::Generate {
                generation: Box::new(Generation::new(&*job.model, machine, &batch, &kwargs, job.attention)?),
                done: false,
            },
            Function::Pipe => return Err(Raise::attribute_error("model.pipe() is not supported by this server")),
        };
        let total = match &work {
            Work::Generate { generation, .. } => generation.longest(),
            Work::Forward { .. } => batch.length,
        };
        let bytes = job.model.pass_bytes(batch.rows, batch.length, total, job.attention);
        let limit = machine.limits().tensor_bytes;
        if bytes > limit {
            Err(too_large(&batch, total, bytes, limit))
        } else {
            Ok(Self { batch, work, arguments, bytes })
        }
    }
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

    /// Names whom the trace may share its next pass with: a model takes the arguments of a forward call for a whole pass,
    /// and whoever looks at them sees what generation adds to them. `None` is for a trace that shares with nobody.
    pub fn company(&self) -> Option<Company<'_>> {
        let root = Site(0);
        let generating = self.run.wants(root).input.then_some(matches!(self.work, Work::Generate { .. }));
        let recording = matches!(self.work, Work::Forward { recording: true, .. });
        self.arguments.as_deref().map(|arguments| Company { arguments, generating, recording })
    }

    /// Returns the bytes that its passes take at most.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the tokens of the next pass.
    pub fn tokens(&self) -> i64 {
        match &self.work {
            Work::Generate { .. } if self.run.passes() > 0 => self.batch.rows,
            _ => self.batch.rows * self.batch.length,
        }
    }

    /// Returns the token ids of each row where equal rows give equal states whatever else is asked of the model: a
    /// forward pass over whole rows without arguments of its own.
    pub fn plain_rows(&self) -> Option<Vec<Vec<i64>>> {
        let plain = match &self.work {
            Work::Forward { kwargs, recording, .. } => !recording && kwargs.is_empty(),
            Work::Generate { .. } => self.run.passes() == 0,
        };
        (plain && self.batch.full() && self.batch.positions.is_none()).then(|| self.batch.sequences())
    }

    /// Returns what the next pass computes for this trace.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    pub fn segment(&mut self) -> Result<Segment<M::Tensor>, Raise> {
        self.run.begin_pass();
        match &mut self.work {
            Work::Generate { generation, .. } => generation.segment(),
            Work::Forward { kwargs, recording, .. } => {
                let Batch { rows, length, .. } = self.batch;
                let tensor = |data: &[i64]| prompt::int_tensor(rows, length, data.to_vec());
                let caching =
                    !kwargs.iter().any(|(name, value)| &**name == "use_cache" && matches!(value, Value::Bool(false)));
                Ok(Segment {
                    attention_mask: if self.batch.full() { None } else { Some(tensor(&self.batch.mask)?) },
                    position_ids: self.batch.positions.as_deref().map(tensor).transpose()?,
                    cache: caching.then(|| self.run.job.model.new_cache()),
                    attention: self.run.job.attention,
                    flags: kwargs.clone(),
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
    /// for this trace before its end.
    pub fn after_pass(
        &mut self,
        output: Option<(&Forwarded<M::Tensor>, usize)>,
        cache: Option<Box<dyn std::any::Any>>,
    ) {
        self.run.end_pass();
        let result = self.take_output(output, cache);
        if let Err(raise) = result
            && self.run.ended.is_none()
        {
            self.run.ended = Some(Ending::Failed(raise));
        }
    }

    fn take_output(
        &mut self,
        output: Option<(&Forwarded<M::Tensor>, usize)>,
        cache: Option<Box<dyn std::any::Any>>,
    ) -> Result<(), Raise> {
        let segment = output.map_or(0, |(_, part)| part);
        let output = output.map(|(all, part)| tree::take(&all.output, &all.layout, part)).transpose()?;
        match (&mut self.work, output) {
            (Work::Forward { done, .. }, output) => {
                *done = true;
                if let Some(output) = output {
                    self.run.offer(Location::Result, segment, output);
                }
            }
            (Work::Generate { done, .. }, None) => *done = true,
            (Work::Generate { generation, done }, Some(output)) => {
                let logits = logits(&output)
                    .ok_or_else(|| Raise::runtime_error("the model's output has no logits to generate from"))?;
                *done = generation.advance(&mut self.run, segment, logits, cache)?;
            }
        }
        Ok(())
    }

    /// Ends the trace: shows what was generated, ends blocks that still wait, and hands names to the frame around.
    ///
    /// # Errors
    /// What a block raised.
    pub fn close(mut self) -> Result<(), Raise> {
        if let Work::Generate { generation, done: true } = &self.work
            && self.run.ended.is_none()
        {
            let ids = self.run.job.model.place(generation.ids()?)?;
            let ids = self.run.offer(Location::Generated, 0, Tree::Leaf(ids));
            self.run.offer(Location::Result, 0, ids);
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

/// The error that PyTorch would come to, before anything is computed.
fn too_large(batch: &Batch, total: i64, bytes: u64, limit: u64) -> Raise {
    let Batch { rows, length, .. } = *batch;
    let grown = if total > length { format!(", grown to {total}") } else { String::new() };
    let [bytes, limit] = [bytes, limit].map(|bytes| match bytes {
        0..0x4000_0000 => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    });
    let message = format!(
        "a forward pass over {rows} rows of {length} tokens{grown} takes about {bytes} on this server, where a job may \
         have {limit}: send fewer rows at a time, or shorter ones"
    );
    Raise::named("torch.OutOfMemoryError", Kind::RuntimeError, message)
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
