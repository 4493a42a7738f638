//! The seam between the engine and a model's arithmetic.
//!
//! A forward pass carries *segments*: each is one job's batch, `rows × length` tokens, padded on the left within
//! itself. Segments lie end to end along dim 0 of a packed tensor, so a segment is a contiguous view, and a job sees
//! `[rows, length, …]` exactly as Hugging Face's module would have shown it.

use std::any::Any;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, Machine, Value};
use program::{Batching, TensorData};

use crate::arithmetic::Arithmetic;
use crate::context::JobContext;
use crate::encoding::{Encoding, How, Source};
use crate::namespace::Namespace;
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
    /// How many tokens a token sees in layers that do not see all: rows of as many or more have masks there that shorter ones
    /// have not.
    pub windows: Vec<i64>,
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
    /// For each row, what [`Arithmetic::trunks`] kept of the same tokens: the rows then compute only what differs from it.
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

/// Which of a pass's segments, in the order in which the pass was given them: no place among the parts of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentIndex(pub usize);

/// A piece of a packed tensor: a segment, or some positions of one of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The segment that the part is; `None` for positions that nobody may look at.
    pub segment: Option<SegmentIndex>,
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
        let whole = |(segment, one): (usize, &Segment<T>)| Part {
            segment: Some(SegmentIndex(segment)),
            rows: one.rows,
            length: one.length,
        };
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
    pub fn position(&self, segment: SegmentIndex) -> Option<usize> {
        self.parts.iter().position(|part| part.segment == Some(segment))
    }
}

/// A tensor over all parts.
#[derive(Clone)]
pub enum Packed<T> {
    /// `[tokens, …]`; a part is a range of dim 0, seen as `[rows, length, …]`.
    Tokens(T),
    /// One tensor per part, in Hugging Face's shape: attention weights, key and value states.
    Parts(Vec<T>),
    /// One tensor for some of the parts, in Hugging Face's shape, and `None` for the others: masks.
    Some(Vec<Option<T>>),
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
    fn wants(&self, site: Site, segment: SegmentIndex) -> Wants;

    /// Returns whether anything that is still to come can matter to a segment.
    fn live(&self, _segment: SegmentIndex) -> bool {
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
    fn leaves_out(&self, _site: Site, _segment: SegmentIndex) -> bool {
        false
    }

    /// Hears that the pass goes on with a copy of a segment's values, where `from` may be what blocks have seen of them.
    ///
    /// # Errors
    /// When the tensors cannot be remembered.
    fn moved(&self, _segment: SegmentIndex, _from: &T, _to: &T) -> Result<(), Raise> {
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
    fn written(&mut self, _segment: SegmentIndex) -> Result<Vec<i64>, Raise> {
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

/// A language model, as an engine needs it: without any notion of requests.
pub trait Model: Arithmetic + Namespace + JobContext {}

impl<M: Arithmetic + Namespace + JobContext> Model for M {}

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

/// One token for each of some rows, as far as it can be told without waiting for a device.
pub enum Drawn<T> {
    /// The likeliest by `[rows, vocabulary]` scores.
    Likeliest(T),
    /// `[rows]` ids.
    Ids(T),
}

/// Chooses the next tokens of a generation.
pub trait Sampler<T: Tensor> {
    /// Draws one token for each row from `[rows, vocabulary]` logits of the last position, given the sequences so far. Which
    /// they are, [`Arithmetic::drawn`](crate::Arithmetic::drawn) tells for many generations at once.
    ///
    /// # Errors
    /// For probabilities that cannot be sampled (NaN, negative).
    fn draw(&mut self, machine: &Machine, logits: &T, sequences: &[Vec<i64>]) -> Result<Drawn<T>, Raise>;

    /// Returns whether a row, ending in its newest token, is complete.
    fn finished(&self, sequence: &[i64]) -> bool;

    /// Returns the token that fills finished rows.
    fn pad_token(&self) -> i64;

    /// Returns whether keys and values are kept from step to step.
    fn caches(&self) -> bool {
        true
    }

    /// Takes a step by rules of its own, in the place of [`Sampler::draw`], given the same.
    ///
    /// # Errors
    /// As [`Sampler::draw`], and what code of the caller's raises.
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
