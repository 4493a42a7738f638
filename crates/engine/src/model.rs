//! The seam between the engine and a model's arithmetic.
//!
//! A forward pass carries *segments*: each is one job's batch, `rows × length` tokens, padded on the left within
//! itself. Segments lie end to end along dim 0 of a packed tensor, so a segment is a contiguous view, and a job sees
//! `[rows, length, …]` exactly as Hugging Face's module would have shown it.

use std::any::Any;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, Effect, Machine, Use, Value};
use program::{Batching, Function, TensorData};

use crate::adapter::Addition;
use crate::encoding::{Encoding, How, Source};
use crate::shape::ShapeClass;

/// Numbers a module of [`Schema::modules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site(pub u32);

/// A model's module tree, as `named_modules()` of the Hugging Face implementation lists it.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// In `named_modules()` order; the root is first, with the path `""`.
    pub modules: Vec<ModuleSchema>,
    /// Modules that a forward pass enters, in order of entering. Containers and unused modules are absent.
    pub execution: Vec<Site>,
    /// Sites of the decoder layers, first to last.
    pub layers: Vec<Site>,
    /// Modules whose arguments are those of the whole call: the root, and what it hands them on to.
    pub called: Vec<Site>,
    /// What modules' forwards do step by step. Their sites follow the modules'.
    pub operations: Vec<OperationSchema>,
    /// Modules that the Hugging Face implementation has and this one does not, each with all that is inside of it.
    pub absent: Vec<AbsentSchema>,
}

/// A module that is not served.
#[derive(Clone, Debug)]
pub struct AbsentSchema {
    /// For example `model.vision_tower`.
    pub path: String,
    /// What it would be for, and what is served instead: a sentence that follows its name.
    pub why: &'static str,
}

/// A line of a module's forward, as `.source` shows it.
#[derive(Clone, Debug)]
pub struct OperationSchema {
    /// `self_q_proj_0`
    pub name: &'static str,
    /// The module in whose forward it is, or the operation that calls the function in which it is.
    pub of: Site,
    /// How attention is computed where that function is called; `None` where it always is.
    pub when: Option<Attention>,
    /// The module that it calls, if it calls one.
    pub calls: Option<Site>,
    /// Whether there are passes that do not come to it.
    pub perhaps: bool,
    /// Where a loop of that forward is run several times in a pass: each round has sites of its own.
    pub round: Option<Round>,
}

/// Which round of a loop an operation is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    pub index: u32,
    pub count: u32,
    /// How many sites the same operation of the next round is further on.
    pub step: u32,
}

/// One `nn.Module`.
#[derive(Clone, Debug)]
pub struct ModuleSchema {
    /// For example `transformer.h.0.attn`.
    pub path: String,
    /// The Python class: `GPT2Attention`.
    pub class: String,
    pub parent: Option<Site>,
    /// Names of the children in declaration order, with their sites. A `ModuleList`'s are `0`, `1`, ….
    pub children: Vec<(String, Site)>,
}

impl Schema {
    /// Returns the module at a path.
    #[must_use]
    pub fn site(&self, path: &str) -> Option<Site> {
        let index = self.modules.iter().position(|module| module.path == path)?;
        u32::try_from(index).ok().map(Site)
    }

    /// Returns the module that is not served and has a path inside of it, or is it.
    #[must_use]
    pub fn absent(&self, path: &str) -> Option<&AbsentSchema> {
        let inside = |absent: &&AbsentSchema| {
            path.strip_prefix(&absent.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.absent.iter().find(inside)
    }

    /// Returns a module that is not served and is inside of the one at a path, which begins with a point unless it is empty.
    #[must_use]
    pub fn absent_below(&self, path: &str) -> Option<&AbsentSchema> {
        self.absent.iter().find(|absent| format!(".{}", absent.path).starts_with(&format!("{path}.")))
    }

    /// Returns whether any module has a child of this name.
    #[must_use]
    pub fn has_child(&self, name: &str) -> bool {
        self.modules.iter().any(|module| module.children.iter().any(|(child, _)| child == name))
    }

    /// Returns a module's description.
    #[must_use]
    pub fn module(&self, site: Site) -> Option<&ModuleSchema> {
        self.modules.get(site.0 as usize)
    }

    /// Returns the number of sites: modules, and operations in their forwards.
    #[must_use]
    pub fn sites(&self) -> usize {
        self.modules.len() + self.operations.len()
    }

    /// Returns an operation's description.
    #[must_use]
    pub fn operation(&self, site: Site) -> Option<&OperationSchema> {
        self.operations.get((site.0 as usize).checked_sub(self.modules.len())?)
    }

    /// Returns the operations of a module's forward, or of the function that an operation calls where attention is computed
    /// in some way, in their order.
    pub fn operations_of(&self, of: Site, attention: Attention) -> impl Iterator<Item = (Site, &'static str)> {
        let site = |index: usize| Site(u32::try_from(self.modules.len() + index).unwrap_or(u32::MAX));
        let own = self.operations.iter().enumerate().filter(move |(_, operation)| {
            operation.of == of
                && operation.when.is_none_or(|when| when == attention)
                && operation.round.is_none_or(|round| round.index == 0)
        });
        own.map(move |(index, operation)| (site(index), operation.name))
    }

    /// Returns the sites of an operation in all rounds of the loop that it is in, given the first; of anything else the site.
    pub fn rounds(&self, site: Site) -> impl Iterator<Item = Site> {
        let round = self.operation(site).and_then(|operation| operation.round);
        let (count, step) = round.map_or((1, 0), |round| (round.count, round.step));
        (0..count).map(move |index| Site(site.0 + index * step))
    }

    /// Returns the module around a module; the module, or the operation, in which an operation is.
    #[must_use]
    pub fn parent(&self, site: Site) -> Option<Site> {
        match self.operation(site) {
            Some(operation) => Some(operation.of),
            None => self.module(site)?.parent,
        }
    }

    /// Returns the path of a module, or of an operation: `model.layers.0.mlp.source.self_act_fn_0`.
    #[must_use]
    pub fn path(&self, site: Site) -> Option<String> {
        let Some(operation) = self.operation(site) else { return Some(self.module(site)?.path.clone()) };
        let of = self.path(operation.of)?;
        Some(if of.is_empty() {
            format!("source.{}", operation.name)
        } else {
            format!("{of}.source.{}", operation.name)
        })
    }
}

/// One of a module's own parameters.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// The attribute that it is.
    pub name: &'static str,
    /// It is another module's too, which comes before.
    pub shared: bool,
}

/// How a tensor lies in its memory: the size and the step of each dimension.
pub type Form = (Vec<i64>, Vec<i64>);

/// A tensor as the engine handles it. Errors are the exceptions that PyTorch would raise.
pub trait Tensor: Clone + 'static {
    /// What a block waits for when it uses a tensor that is not computed yet: many such are computed together.
    type Deferred: 'static;

    /// Computes what blocks wait for, in order.
    fn resolve(deferred: Vec<Self::Deferred>) -> Vec<Result<Value, Raise>>;

    /// Returns whether the tensor is not computed yet.
    fn pending(&self) -> bool {
        false
    }

    /// Makes a tensor that owns its memory.
    ///
    /// # Errors
    /// For data whose bytes do not fit its shape.
    fn of_data(data: &TensorData) -> Result<Self, Raise>;

    /// Copies to plain data: contiguous, initialised, sharing nothing.
    ///
    /// # Errors
    /// When the copy cannot be made.
    fn to_data(&self) -> Result<TensorData, Raise>;

    /// Returns whether the tensor would require grad if the job recorded gradients.
    fn would_require_grad(&self, _machine: &Machine) -> bool {
        false
    }

    /// Shows the tensor to Python. Writes in place reach this very memory.
    fn to_value(&self, machine: &Machine) -> Value;

    /// Returns the tensor behind a Python value, or `None` for anything else.
    fn of_value(value: &Value) -> Option<Self>;

    /// Returns the element type, where it is known before the elements are.
    fn dtype(&self) -> Option<program::DType> {
        None
    }

    fn shape(&self) -> Vec<i64>;

    /// Returns the size and the step of each dimension, which operations in place may change as they change numbers.
    fn form(&self) -> Form {
        (self.shape(), Vec::new())
    }

    /// Returns what identifies the memory: equal for all views of one allocation.
    fn memory(&self) -> usize {
        0
    }

    /// Returns where in that memory the first element is, in elements.
    fn offset(&self) -> i64 {
        0
    }

    /// Returns a view of the memory with other sizes and steps.
    ///
    /// # Errors
    /// For one that reaches beyond it.
    fn strided(&self, shape: &[i64], strides: &[i64], offset: i64) -> Result<Self, Raise> {
        let _ = (strides, offset);
        self.view(shape)
    }

    /// Makes a tensor, fresh from outside, what the caller's was: one that gradients are recorded for, a parameter.
    ///
    /// # Errors
    /// `RuntimeError` for element types that have no gradients.
    fn leaf(self, requires_grad: bool, parameter: bool) -> Result<Self, Raise> {
        let _ = (requires_grad, parameter);
        Ok(self)
    }

    /// Returns whether it is an `nn.Parameter`.
    fn is_parameter(&self) -> bool {
        false
    }

    /// Returns whether both have one element type and lie on one device.
    fn same_kind(&self, _other: &Self) -> bool {
        true
    }

    /// Returns a view of `length` entries of dim 0.
    ///
    /// # Errors
    /// For a range outside the tensor.
    fn rows(&self, start: i64, length: i64) -> Result<Self, Raise>;

    /// Joins along dim 0 into new memory.
    ///
    /// # Errors
    /// For parts that differ in other dimensions or in dtype.
    fn join(parts: &[Self]) -> Result<Self, Raise>;

    /// Returns a view with another shape.
    ///
    /// # Errors
    /// For a shape with another number of elements.
    fn view(&self, shape: &[i64]) -> Result<Self, Raise>;

    /// Returns the last entry of dim 1: `[rows, length, …]` to `[rows, …]`.
    ///
    /// # Errors
    /// For a tensor of fewer than two dims or of length zero.
    fn last_position(&self) -> Result<Self, Raise>;

    /// Copies to new memory.
    ///
    /// # Errors
    /// When there is none.
    fn duplicate(&self) -> Result<Self, Raise>;

    /// Returns how often the memory was written to, by way of whatever tensor: as long as that stays the same nobody wrote.
    /// It may count writes that changed nothing, or other parts of the memory; `None` where nobody counts.
    fn writes(&self) -> Option<i64> {
        None
    }

    /// Returns, for each entry of dim 0, the first entry of dim 1 whose bits differ from `other`'s, or the length of
    /// dim 1 where none does. Zeros for tensors of other shapes.
    ///
    /// # Errors
    /// When the comparison cannot be made.
    fn first_differences(&self, other: &Self) -> Result<Vec<i64>, Raise>;
}

/// One job's part of a forward pass.
pub struct Segment<T> {
    /// Sequences.
    pub rows: i64,
    /// Tokens of each sequence in this pass, its own left padding included.
    pub length: i64,
    /// `[rows, length]` int64.
    pub input_ids: T,
    /// `[rows, past + length]` int64, zero where padded; `None` when nothing is padded.
    pub attention_mask: Option<T>,
    /// `[rows, length]` int64; `None` counts from the cache's length.
    pub position_ids: Option<T>,
    /// Keys and values of the tokens before, in the model's own type; `None` to start without and keep none.
    pub cache: Option<Box<dyn Any>>,
    pub attention: Attention,
    /// Keyword arguments of the forward call that the user gave: `output_hidden_states`, `output_attentions`,
    /// `use_cache`, `logits_to_keep`, ….
    pub flags: Vec<(Rc<str>, Value)>,
    /// Whether this is a step of `generate()`, whose calls have other arguments than a user's.
    pub generating: bool,
    /// Who pays for what gradients need, where they are recorded: of all segments of a pass, or of none. Each has a graph
    /// of its own, for a backward pass over packed rows would walk those of others, and free what they still need.
    pub recorder: Option<Machine>,
    /// For each row, what [`Model::trunks`] kept of the same tokens: the rows then compute only what differs from it.
    /// Empty where something is missing, and for a segment with a recorder.
    pub trunks: Vec<Rc<dyn Any>>,
    /// What the bits may depend on. Segments of one pass agree.
    pub batching: Batching,
    /// What is run in the place of the whole model, for a segment that is alone in its pass.
    pub only: Option<Only>,
    /// What the model did for it.
    pub done: Done,
}

/// A module that a trace runs by itself: nothing outside of it is computed.
#[derive(Clone)]
pub struct Only {
    pub site: Site,
    /// What it is given; `None` for a module that takes the segment's tokens.
    pub given: Option<Args>,
    /// Whose it is.
    pub machine: Machine,
}

/// What a pass did for a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Done {
    /// Decoder layers that computed something of it, and the tokens that they computed, all layers' together.
    pub layers: u64,
    pub tokens: u64,
    /// Which kernels computed it.
    pub shapes: ShapeClass,
}

impl<T> Segment<T> {
    /// Makes a segment of `[rows, length]` ids with nothing before it and nothing special about it.
    pub fn new(rows: i64, length: i64, input_ids: T) -> Self {
        Self {
            rows,
            length,
            input_ids,
            attention_mask: None,
            position_ids: None,
            cache: None,
            attention: Attention::default(),
            flags: Vec::new(),
            generating: false,
            recorder: None,
            trunks: Vec::new(),
            batching: Batching::default(),
            only: None,
            done: Done::default(),
        }
    }
}

/// What the model keeps of a row that nobody changed.
pub struct Trunk {
    pub states: Rc<dyn Any>,
    pub bytes: u64,
}

/// Implementation of attention, by Hugging Face's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Attention {
    #[default]
    Sdpa,
    Eager,
}

/// A piece of a packed tensor: a segment, or some positions of one of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Index among the segments of the pass, where the part is one; `None` for positions that nobody may look at.
    pub segment: Option<usize>,
    pub rows: i64,
    pub length: i64,
}

/// What lies in a packed tensor, in order. A module that somebody looks at has each onlooker's segment whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub parts: Vec<Part>,
}

impl Layout {
    /// Lists whole segments.
    pub fn of<T>(segments: &[Segment<T>]) -> Self {
        let whole =
            |(segment, one): (usize, &Segment<T>)| Part { segment: Some(segment), rows: one.rows, length: one.length };
        Self { parts: segments.iter().enumerate().map(whole).collect() }
    }

    /// Returns the tokens of all parts.
    #[must_use]
    pub fn tokens(&self) -> i64 {
        self.parts.iter().map(|part| part.rows * part.length).sum()
    }

    /// Returns the first token of a part.
    #[must_use]
    pub fn start(&self, part: usize) -> i64 {
        self.parts.iter().take(part).map(|part| part.rows * part.length).sum()
    }

    /// Returns the part that a segment is, if it is there.
    #[must_use]
    pub fn position(&self, segment: usize) -> Option<usize> {
        self.parts.iter().position(|part| part.segment == Some(segment))
    }
}

/// A tensor over all parts.
#[derive(Clone)]
pub enum Packed<T> {
    /// `[tokens, …]`; a part is a range of dim 0, seen as `[rows, length, …]`.
    Tokens(T),
    /// One tensor per part, in Hugging Face's shape: attention weights, key and value states.
    Segments(Vec<T>),
}

/// Values by name.
pub type Fields<L> = Vec<(&'static str, Tree<L>)>;

/// A module's structured input or output.
#[derive(Clone)]
pub enum Tree<L> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Leaf(L),
    Tuple(Vec<Tree<L>>),
    /// A dict whose keys are the model's own: masks by type of layer.
    Dict(Fields<L>),
    /// A `ModelOutput`, by import path of its class; fields that are `None` are left out.
    Record {
        class: &'static str,
        fields: Fields<L>,
    },
    /// An object that only the model understands: a cache.
    Object(Rc<dyn Any>),
}

/// A module's arguments.
#[derive(Clone)]
pub struct Inputs<L> {
    pub args: Vec<Tree<L>>,
    pub kwargs: Fields<L>,
}

impl<L> Inputs<L> {
    /// Lists the values of all arguments.
    pub fn trees(&self) -> impl Iterator<Item = &Tree<L>> {
        self.args.iter().chain(self.kwargs.iter().map(|(_, tree)| tree))
    }
}

/// Which of a module's moments somebody waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    pub input: bool,
    pub output: bool,
    /// Something below the module is wanted: it must not be computed in a fused form.
    pub inside: bool,
    /// It may be an operation of its forward.
    pub operations: bool,
}

impl std::ops::BitOr for Wants {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            input: self.input | other.input,
            output: self.output | other.output,
            inside: self.inside | other.inside,
            operations: self.operations | other.operations,
        }
    }
}

/// Ends a forward pass before its end.
pub enum Interrupt {
    /// Nobody needs what would follow.
    Enough,
    /// The arithmetic failed; all jobs of the pass are affected.
    Failed(Raise),
}

impl From<Raise> for Interrupt {
    fn from(raise: Raise) -> Self {
        Self::Failed(raise)
    }
}

/// What a module goes on with after its inputs were shown.
pub struct Entered<T> {
    pub inputs: Inputs<Packed<T>>,
    /// The output that replaces the module's own, when every segment skips it. The module is then not run.
    pub skipped: Option<Tree<Packed<T>>>,
}

/// Sees, and may change, what flows through a model. Modules nobody wants are not shown.
pub trait Observer<T: Tensor> {
    /// Returns what is wanted of a module for a segment right now. Cheap: it is asked for every module of every pass.
    fn wants(&self, site: Site, segment: usize) -> Wants;

    /// Returns whether anything that is still to come can matter to a segment.
    fn live(&self, _segment: usize) -> bool {
        true
    }

    /// Shows a module's arguments before it runs. Called when `wants(site).input` for any part.
    ///
    /// # Errors
    /// [`Interrupt::Enough`] when the pass can end here.
    fn enter(&mut self, site: Site, inputs: Inputs<Packed<T>>, layout: &Layout) -> Result<Entered<T>, Interrupt>;

    /// Shows a module's output. Called when `wants(site).output` for any part.
    ///
    /// # Errors
    /// [`Interrupt::Enough`] when the pass can end here.
    fn exit(&mut self, site: Site, output: Tree<Packed<T>>, layout: &Layout) -> Result<Tree<Packed<T>>, Interrupt>;

    /// Returns whether a segment leaves out a module, or one around it, that runs for others of the pass.
    fn leaves_out(&self, _site: Site, _segment: usize) -> bool {
        false
    }

    /// Hears that the pass goes on with a copy of a segment's values, where `from` may be what blocks have seen of them.
    ///
    /// # Errors
    /// When the tensors cannot be remembered.
    fn moved(&self, _segment: usize, _from: &T, _to: &T) -> Result<(), Raise> {
        Ok(())
    }

    /// Hears that the pass could be left here for a while: inside a layer, where that takes long.
    fn rest(&self) {}

    /// Hears that the pass is between two layers.
    ///
    /// # Errors
    /// [`Interrupt::Enough`] when the pass can end here.
    fn between_layers(&mut self) -> Result<(), Interrupt> {
        Ok(())
    }

    /// Returns, for each row of a segment that has trunks, the first position that was changed in anything shown since
    /// the last question: the segment's length where nothing was. No rows mean that nothing ever is.
    ///
    /// # Errors
    /// When what was shown cannot be compared.
    fn written(&mut self, _segment: usize) -> Result<Vec<i64>, Raise> {
        Ok(Vec::new())
    }
}

/// What a forward pass returns.
pub struct Forwarded<T> {
    /// The root module's output: a `Record` with `logits`, `past_key_values`, ….
    pub output: Tree<Packed<T>>,
    /// The segments that are in it: those that were live to the end.
    pub layout: Layout,
}

/// A language model: arithmetic and facts, without any notion of jobs.
pub trait Model: 'static {
    type Tensor: Tensor;
    /// What the thread holds for the code that runs on it: who pays for memory, whether gradients are recorded.
    type Aside;

    fn schema(&self) -> &Schema;

    fn tokenizer(&self) -> Rc<dyn Tokenizer>;

    /// Runs the segments through the model, showing modules to the observer. Caches in the segments grow.
    ///
    /// # Errors
    /// The observer's interrupt, or failed arithmetic.
    fn forward(
        &self,
        segments: &mut [Segment<Self::Tensor>],
        observer: &mut dyn Observer<Self::Tensor>,
    ) -> Result<Forwarded<Self::Tensor>, Interrupt>;

    /// Returns whether a module takes tokens, as the whole model does: a trace of it is given what one of the model is.
    fn takes_tokens(&self, site: Site) -> bool {
        site == Site(0)
    }

    /// Estimates the bytes that a pass over `rows × length` tokens takes, weights apart, where caches grow to `total` tokens
    /// for each row.
    fn pass_bytes(&self, _rows: i64, _length: i64, _total: i64, _attention: Attention) -> u64 {
        0
    }

    /// Returns how many tokens the model has embeddings of: no other id can be looked up.
    fn vocabulary(&self) -> Option<i64> {
        None
    }

    /// Returns how many positions the model has embeddings of; `None` where positions are computed.
    fn positions(&self) -> Option<i64> {
        None
    }

    /// Returns the length at which a generation computes all of its sequences again, if there is one: there the model begins to
    /// rotate all positions in another way.
    fn begins_anew_at(&self) -> Option<i64> {
        None
    }

    /// Returns whether calls that do not say so keep keys and values.
    fn caches(&self) -> bool {
        true
    }

    /// Checks the keyword arguments of a forward call before it waits for anything.
    ///
    /// # Errors
    /// `ValueError` naming what is not supported.
    fn accept(&self, _kwargs: &[(Rc<str>, Value)]) -> Result<(), Raise> {
        Ok(())
    }

    /// Computes rows of token ids that nobody looks at, and returns what [`Segment::trunks`] starts from; empty for
    /// a model that keeps nothing. `rest` is called where that could be left for a while.
    ///
    /// # Errors
    /// When the arithmetic fails.
    fn trunks(&self, _rows: &[Vec<i64>], _attention: Attention, _rest: &dyn Fn()) -> Result<Vec<Trunk>, Raise> {
        Ok(Vec::new())
    }

    /// Returns the bytes of what [`Model::trunks`] makes of a row of so many tokens.
    fn trunk_bytes(&self, _length: i64) -> u64 {
        0
    }

    /// Moves a tensor that comes from outside to where the model computes.
    ///
    /// # Errors
    /// When there is no room.
    fn place(&self, tensor: Self::Tensor) -> Result<Self::Tensor, Raise> {
        Ok(tensor)
    }

    /// Prepares a job before its code runs: what it makes comes to where the model computes; its operations record what
    /// gradients need, or do not; what the bits of modules that it calls itself may depend on; and whether it runs alone,
    /// where nothing may be left out that only others gain by.
    fn begin(&self, machine: &Machine, recording: bool, batching: Batching, alone: bool);

    /// Returns whether something was left out of what the job computed that it would have needed: it has to run again,
    /// alone.
    fn regrets(&self, _machine: &Machine) -> bool {
        false
    }

    /// Returns whether a job's operations record what gradients need where its code stands now.
    fn recording(&self, machine: &Machine) -> bool;

    /// Hears of a trace that the job's code opens where it stands now.
    fn opens(&self, _machine: &Machine, _function: Function) {}

    /// Hears of a value that a block of the job puts in the place of one of the model's.
    fn takes(&self, _machine: &Machine, _value: &Value) {}

    /// Takes what the thread holds for the code that runs, which is about to make way for other code.
    fn put_aside(&self) -> Self::Aside;

    /// Gives the thread what it held when code was left that is about to go on.
    fn bring_back(&self, aside: Self::Aside);

    /// Waits until what was begun is computed, where that happens beside the thread.
    fn catch_up(&self) {}

    /// Makes an empty cache for [`Segment::cache`].
    fn new_cache(&self) -> Box<dyn Any>;

    /// Returns the cache behind a Python value, for [`Segment::cache`]: it grows as the caller's own.
    fn given_cache(&self, _value: &Value) -> Option<Box<dyn Any>> {
        None
    }

    /// Makes a cache of keys and values of each layer that a request brings.
    ///
    /// # Errors
    /// When the model has no such caches, or there is no room.
    fn cache_of(&self, _layers: Vec<(Self::Tensor, Self::Tensor)>) -> Result<Value, Raise> {
        Err(Raise::value_error("the model takes no caches"))
    }

    /// Says how many tokens each sequence of a cache will have at most, so that there can be room for them.
    fn expect(&self, _cache: &dyn Any, _longest: i64) {}

    /// Has a cache forget all tokens from one position on, as if a pass that failed had never begun.
    ///
    /// # Errors
    /// When there is no memory for it.
    fn rewind(&self, cache: &dyn Any, length: i64) -> Result<(), Raise>;

    /// Reads a PEFT adapter, in the order in which a pass comes to the modules that it is for.
    ///
    /// # Errors
    /// `ValueError` where there is none of that name, or it is not for this model.
    fn adapter(&self, name: &str) -> Result<Vec<Addition>, Raise> {
        Err(Raise::value_error(format!("this server has no PEFT adapter {name:?} for this model")))
    }

    /// Runs one module on a user's own tensors, shaped as Hugging Face shapes them (`model.lm_head(h)` in a block).
    ///
    /// # Errors
    /// The exception that the module would raise.
    fn call_module(&self, machine: &Machine, site: Site, args: &Args, attention: Attention) -> Result<Value, Raise>;

    /// Reads a plain attribute of a module: a weight (read-only), a buffer, `head_dim`, `config`, `training`.
    /// `None` where the Hugging Face module has no such attribute.
    fn attribute(&self, machine: &Machine, site: Site, name: &str) -> Option<Value>;

    /// Lists a module's own parameters, in the order of Hugging Face's `named_parameters()`.
    fn parameters(&self, _site: Site) -> Vec<Parameter> {
        Vec::new()
    }

    /// Says what using a name does of any of the objects that the model and its tensors have, where the object that is
    /// meant is not known yet; `None` where none has the name. What may do harm in one must be said to.
    fn effect(&self, machine: &Machine, name: &str, usage: Use<'_>) -> Option<Effect>;

    /// Shows a leaf that is no tensor to Python, for example a cache, as one segment sees it.
    fn object(&self, machine: &Machine, object: &Rc<dyn Any>, segment: usize) -> Value;

    /// Turns a Python value that the model made by [`Model::object`] into plain data for a result.
    fn object_data(&self, value: &Value, heap: &mut program::Heap) -> Option<program::Ref>;

    /// Prepares `generate(**kwargs)` from the checkpoint's defaults and the caller's keyword arguments.
    ///
    /// # Errors
    /// `ValueError` for settings that contradict each other or are not supported.
    fn sampler(
        &self,
        machine: &Machine,
        kwargs: &[(Rc<str>, Value)],
        prompt: &[Vec<i64>],
    ) -> Result<Box<dyn Sampler<Self::Tensor>>, Raise>;

    /// Returns how many rows `generate(**kwargs)` makes of each row of its prompt.
    ///
    /// # Errors
    /// As [`Model::sampler`].
    fn copies(&self, _kwargs: &[(Rc<str>, Value)]) -> Result<usize, Raise> {
        Ok(1)
    }

    /// Lets each row of a cache be what another was.
    ///
    /// # Errors
    /// When there is no memory for it.
    fn reorder(&self, _cache: &dyn Any, _order: &[i64]) -> Result<(), Raise> {
        Err(Raise::runtime_error("the model's caches cannot be reordered"))
    }

    /// Lists the settings of `generate()` that the checkpoint itself has.
    fn generation_settings(&self) -> &[(String, serde_json::Value)] {
        &[]
    }

    /// Finds an importable module for the user's code: `torch`, `torch.nn.functional`, `einops`.
    fn import(&self, machine: &Machine, module: &str) -> Option<Value>;

    /// Finds an importable object that a request refers to by name: `torch` `float32`.
    fn global(&self, machine: &Machine, module: &str, name: &str) -> Option<Value>;

    /// Rebuilds an object of an importable class from a request, for example `torch.nn.modules.linear.Linear`.
    fn instance(
        &self,
        machine: &Machine,
        class: &str,
        args: &[Value],
        state: Option<&Value>,
    ) -> Option<Result<Value, Raise>>;

    /// Returns what an operator with named results returned: the name in `torch.return_types`, and the results.
    fn named_result(&self, _value: &Value) -> Option<(String, Vec<Value>)> {
        None
    }

    /// Turns a value of the host (dtype, size, array) into plain data for a result; tensors go through [`Tensor`].
    fn value_data(&self, value: &Value, heap: &mut program::Heap) -> Option<Result<program::Ref, Raise>>;
}

/// How a generation goes on after a step with rules of its own.
pub struct Chosen {
    /// All rows, each a token longer.
    pub sequences: Vec<Vec<i64>>,
    /// Which row each comes after, where that is another.
    pub order: Option<Vec<i64>>,
    pub done: bool,
}

/// What of the passes' outputs the result of a generation has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keeps {
    /// It is a record, with the keys and values that there are in the end.
    pub record: bool,
    pub hidden_states: bool,
    pub attentions: bool,
    /// Rows change places, so that nobody can follow one while it grows.
    pub reorders: bool,
}

/// What a generation with rules of its own ends with.
pub struct Generated {
    pub sequences: Value,
    /// The record's class, and its other fields.
    pub record: Option<(&'static str, Vec<(&'static str, Value)>)>,
}

/// Chooses the next tokens of a generation.
pub trait Sampler<T: Tensor> {
    /// Returns one token for each row from `[rows, vocabulary]` logits of the last position, given the sequences so far.
    ///
    /// # Errors
    /// For probabilities that cannot be sampled (NaN, negative).
    fn choose(&mut self, machine: &Machine, logits: &T, sequences: &[Vec<i64>]) -> Result<Vec<i64>, Raise>;

    /// Returns whether a row, ending in its newest token, is complete.
    fn finished(&self, sequence: &[i64]) -> bool;

    /// Returns the token that fills finished rows.
    fn pad_token(&self) -> i64;

    /// Returns whether keys and values are kept from step to step.
    fn caches(&self) -> bool {
        true
    }

    /// Takes a step by rules of its own, in the place of [`Sampler::choose`], given the same.
    ///
    /// # Errors
    /// As [`Sampler::choose`], and what code of the caller's raises.
    fn step(&mut self, _: &Machine, _logits: &T, _sequences: &[Vec<i64>]) -> Result<Option<Chosen>, Raise> {
        Ok(None)
    }

    /// Returns what of each pass's output the result has.
    fn keeps(&self) -> Keeps {
        Keeps::default()
    }

    /// Makes the result of a generation whose steps have rules of their own.
    ///
    /// # Errors
    /// As [`Sampler::step`].
    fn end(&mut self, _: &Machine, _sequences: &[Vec<i64>]) -> Result<Option<Generated>, Raise> {
        Ok(None)
    }

    /// Returns how many tokens may still be appended to a sequence of this length.
    fn remaining(&self, length: usize) -> usize;
}

/// Text to token ids and back, as Hugging Face's tokenizer of the checkpoint does it.
pub trait Tokenizer {
    /// Encodes texts, each by itself. The job pays by their length, in steps and in memory, and is looked at between
    /// pieces.
    ///
    /// # Errors
    /// For text that the tokenizer refuses, truncation that cannot be done, and the machine's own when what the job may
    /// have is spent.
    fn encode(&self, machine: &Machine, sources: &[Source], how: &How) -> Result<Vec<Encoding>, Raise>;

    /// Decodes ids. `clean_up` overrides what the checkpoint says of spaces before punctuation.
    ///
    /// # Errors
    /// For ids that are no token's.
    fn decode(&self, ids: &[i64], skip_special_tokens: bool, clean_up: Option<bool>) -> Result<String, Raise>;

    /// Joins tokens to the text that they stand for (`convert_tokens_to_string`).
    ///
    /// # Errors
    /// For what the tokenizer cannot decode.
    fn join(&self, tokens: Vec<String>) -> Result<String, Raise> {
        Ok(tokens.join(" "))
    }

    /// Lists the special tokens that the checkpoint names, by Hugging Face's names and in its order: `bos_token`, ….
    fn specials(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Returns a special token's id by its Hugging Face name: `eos_token_id`, `bos_token_id`, `pad_token_id`, `unk_token_id`.
    fn special(&self, name: &str) -> Option<i64>;

    /// Returns the token text of an id and the other way round (`convert_ids_to_tokens`).
    fn token(&self, id: i64) -> Option<String>;

    fn id(&self, token: &str) -> Option<i64>;

    /// Returns how many tokens there are, added ones included.
    fn vocabulary_size(&self) -> usize;

    /// Returns how many tokens there are without added ones.
    fn base_vocabulary_size(&self) -> usize {
        self.vocabulary_size()
    }

    /// Lists all tokens with their ids, and those that were added to the model's own.
    fn vocabulary(&self, added: bool) -> Vec<(String, i64)> {
        let _ = added;
        Vec::new()
    }

    /// Returns how many special tokens one text gets, or two.
    fn added_tokens(&self, pair: bool) -> usize {
        let _ = pair;
        0
    }

    /// Returns the most bytes of text that one token can stand for, where there is such a bound.
    fn longest_token(&self) -> Option<usize> {
        None
    }

    /// Returns the length that `truncation=True` cuts to, if the checkpoint has one.
    fn model_max_length(&self) -> Option<i64> {
        None
    }

    /// Returns the template that makes text of a conversation, if the checkpoint has one.
    fn chat_template(&self) -> Option<&str> {
        None
    }

    /// Makes text of a conversation; `None` without a template.
    ///
    /// # Errors
    /// What the template says of messages that it does not take, and the machine's own when what the job may have is spent.
    fn render(&self, _machine: &Machine, _variables: &serde_json::Value) -> Result<Option<String>, Raise> {
        Ok(None)
    }

    /// Lists what an encoding contains unless it is asked for something else.
    fn input_names(&self) -> Vec<String> {
        vec!["input_ids".into(), "attention_mask".into()]
    }
}
