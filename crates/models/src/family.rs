//! A model family as data: which modules there are, under Hugging Face's names and in the order in which it declares
//! them, and what a layer's forward does with them. The one decoder of this crate ([`crate::decoder`]) reads it: for the
//! module tree, the order in which a pass enters modules, and the arithmetic.

use std::fmt;

use serde_json::Value as Json;

use crate::config::Config;
use crate::error::LoadError;
use crate::nn::Function;
use crate::rope::Rope;

/// Checkpoints of one `model_type`.
pub struct Family {
    /// As `config.json` says it.
    pub model_type: &'static str,
    /// The configuration's class.
    pub config_class: &'static str,
    /// What that class fills in, as a JSON object.
    pub defaults: &'static str,
    /// Names that other families use for a setting, and this one's.
    pub aliases: &'static [(&'static str, &'static str)],
    /// Fills in what that class derives from other settings.
    pub complete: fn(&mut Config) -> Result<(), LoadError>,
    /// Says what the settings make of the family.
    pub blueprint: fn(&Config) -> Result<Blueprint, LoadError>,
    /// The settings of which these are a part, where `config.json` is of a model for more than text.
    pub whole: Option<Whole>,
}

/// Settings of a model of which only the language model is served.
pub struct Whole {
    /// Where the language model's own settings stand.
    pub key: &'static str,
    pub config_class: &'static str,
    pub defaults: &'static str,
    pub aliases: &'static [(&'static str, &'static str)],
    /// Settings of parts that are not served, and their class.
    pub others: &'static [(&'static str, &'static str)],
}

impl fmt::Debug for Family {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Family({})", self.model_type)
    }
}

/// A model, before there are weights.
pub struct Blueprint {
    pub root: Root,
    pub embedding: Embedding,
    /// The list's name.
    pub layers: &'static str,
    pub layer: Vec<Layer>,
    /// What layers differ in, besides their modules.
    pub kinds: Vec<Kind>,
    /// After the last layer.
    pub norm: (&'static str, Norm),
    pub rotary: Option<Rotary>,
    pub head: Head,
    pub calls: &'static Calls,
    /// Positions that there are, where their table ends.
    pub positions: Option<i64>,
    /// `sdpa` is the same as `eager`: Hugging Face has no other.
    pub eager: bool,
    /// Masks keep apart the sequences that lie end to end in a row, which positions tell.
    pub by_sequence: bool,
    /// What masks let tokens see.
    pub sight: Sight,
    /// Attention that is handed no mask is causal.
    pub causal: bool,
    /// Caches are shown as pairs, as transformers has them beside cross-attention; the second ones stay empty.
    pub paired_caches: bool,
    pub usual: Usual,
    /// The window of those layers that have one, whether there are such layers or not.
    pub window: Option<i64>,
    /// The length at which a generation computes all again: from there on, positions are rotated in another way.
    pub anew_at: Option<i64>,
    pub balance: Option<Balance>,
    pub sources: Sources,
}

impl Blueprint {
    /// Returns whether nothing is seen of what comes later, unless a call asks for it.
    #[must_use]
    pub fn is_causal(&self) -> bool {
        !self.sight.ahead() && self.usual.causal.unwrap_or(self.causal)
    }
}

/// What masks let a token see of its row, besides itself and what came before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// What comes after it, too, as transformers has it for models that are not causal: the end of a window on either side is
    /// inside of it, and sequences that lie end to end are not told apart.
    pub both_ways: bool,
    /// The same, as something that is laid over a causal mask: the end of a window is outside, and there is always a mask.
    pub overlaid: bool,
}

impl Sight {
    /// Returns what attention sees that is handed no mask.
    #[must_use]
    pub fn unmasked(causal: bool) -> Self {
        Self { both_ways: !causal, overlaid: false }
    }

    /// Returns whether anything after it is seen.
    #[must_use]
    pub fn ahead(self) -> bool {
        self.both_ways || self.overlaid
    }
}

/// What a configuration says of calls that do not say it themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usual {
    pub hidden_states: bool,
    pub attentions: bool,
    pub causal: Option<bool>,
    /// The last of the hidden states is the normed one.
    pub normed_last: bool,
}

impl Usual {
    /// Returns whether something is collected of every layer.
    #[must_use]
    pub fn collects(&self) -> bool {
        self.hidden_states || self.attentions
    }
}

impl Default for Usual {
    fn default() -> Self {
        Self { hidden_states: false, attentions: false, causal: None, normed_last: true }
    }
}

/// What is said of how evenly experts are taken, where there are some, to calls that ask for routers' logits.
#[derive(Clone, Copy, Debug)]
pub struct Balance {
    /// Calls that say nothing ask.
    pub asked: bool,
    pub count: i64,
    pub top: i64,
    /// By how much it counts where there are labels.
    pub coefficient: f64,
}

/// The operations of the forwards around layers: see [`crate::source`].
pub struct Sources {
    /// Of the model with its head.
    pub root: &'static str,
    /// Of what stands between that and the base model, if something does.
    pub around: &'static str,
    pub base: &'static str,
}

/// The model with its head, and the model below it.
pub struct Root {
    pub class: String,
    /// The base model's name and class.
    pub base: (&'static str, String),
    /// Classes of what both return.
    pub returns: Returns,
    /// What stands between the model and its base model, if something does.
    pub around: Option<Around>,
    /// What transformers has of it that is not served.
    pub absent: Vec<Absent>,
    /// Keyword arguments that the model hands on to the base model, and that one to its layers, as they are.
    pub hands_on: [&'static [&'static str]; 2],
    /// Hidden states are given the length of the input in the end, whatever was assigned on the way.
    pub restores_length: bool,
    /// Of the base model.
    pub attributes: Attributes,
}

/// A module that is not served.
pub struct Absent {
    pub path: String,
    /// What is said to who asks for it.
    pub why: &'static str,
}

/// A model around the base model, for more than text: it embeds for the base model, and makes its masks, one for each type
/// of layer.
pub struct Around {
    pub name: &'static str,
    pub class: &'static str,
    /// The class of what it returns.
    pub returns: &'static str,
    pub call: &'static Form,
    /// The token of images, where it has no embedding: it embeds another in its place.
    pub image: Option<i64>,
    /// What names of tensors begin with, and what older checkpoints have there.
    pub older_names: &'static [(&'static str, &'static str)],
}

impl Root {
    /// Returns whether transformers hands down [`CAUSAL`], and collects hidden states and weights, around the base model's forward;
    /// where it does not, the forward collects them itself.
    #[must_use]
    pub fn is_wrapped(&self) -> bool {
        self.hands_on[1].contains(&CAUSAL)
    }

    /// Returns the path of the base model.
    #[must_use]
    pub fn base_path(&self) -> String {
        match &self.around {
            Some(around) => format!("{}.{}", around.name, self.base.0),
            None => self.base.0.into(),
        }
    }
}

/// What most models hand on: the last two are what the text-generation pipeline leaves among the arguments of a call.
pub const FLAGS: &[&str] = &["output_hidden_states", "output_attentions", "max_length", "prefix_length", CAUSAL];

/// Whether attention is causal that is handed no mask. A base model hands it on where a call says it, or the configuration.
pub const CAUSAL: &str = "is_causal";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    Plain,
    /// With an empty `cross_attentions` beside `attentions`.
    CrossAttentions,
    Experts,
    /// With the features of images beside it, which are never there.
    Images,
}

impl Returns {
    /// Returns the class of what the base model returns.
    #[must_use]
    pub fn base(self) -> &'static str {
        match self {
            Self::Plain | Self::Images => "transformers.modeling_outputs.BaseModelOutputWithPast",
            Self::CrossAttentions => "transformers.modeling_outputs.BaseModelOutputWithPastAndCrossAttentions",
            Self::Experts => "transformers.modeling_outputs.MoeModelOutputWithPast",
        }
    }

    /// Returns the class of what the model with its head returns.
    #[must_use]
    pub fn root(self) -> &'static str {
        match self {
            Self::Plain => "transformers.modeling_outputs.CausalLMOutputWithPast",
            Self::CrossAttentions => "transformers.modeling_outputs.CausalLMOutputWithCrossAttentions",
            Self::Experts => "transformers.modeling_outputs.MoeCausalLMOutputWithPast",
            Self::Images => "transformers.models.gemma3.modeling_gemma3.Gemma3CausalLMOutputWithPast",
        }
    }
}

pub struct Embedding {
    pub name: &'static str,
    pub class: String,
    pub padding: Option<i64>,
    /// What embeddings are multiplied by.
    pub scale: Option<f64>,
    /// The table of learned positions, and how many there are.
    pub positions: Option<(&'static str, i64)>,
    pub dropout: Option<(&'static str, f64)>,
}

/// What layers of one kind share in a pass.
pub struct Kind {
    /// A token sees as many, itself included.
    pub window: Option<i64>,
    /// Which of [`Rotary::ropes`].
    pub rope: usize,
}

/// The module that computes cosines and sines, or none where each attention does.
pub struct Rotary {
    pub module: Option<(&'static str, String)>,
    pub ropes: Vec<Rope>,
    /// It is called for each type of layer, by these names.
    pub types: Vec<&'static str>,
    /// Its caller passes positions by keyword.
    pub keyword: bool,
    /// Cosines and sines stay in float32.
    pub wide: bool,
    /// They are given for half of what is rotated, once for each pair.
    pub half: bool,
    pub attributes: Attributes,
}

pub struct Head {
    /// What older checkpoints call it.
    pub other_name: Option<&'static str>,
    pub bias: bool,
    pub tied: bool,
    /// Logits are kept below this by way of tanh.
    pub cap: Option<f64>,
}

/// How modules are called.
pub struct Calls {
    pub base: Form,
    pub layer: Form,
    pub attention: Form,
}

/// How a module is called: the arguments that its caller passes by position, those by keyword, and the order in which
/// it declares them.
pub struct Form {
    pub positional: &'static [&'static str],
    pub keyword: &'static [&'static str],
    pub signature: &'static [&'static str],
}

/// Plain attributes of a module. `config` stands for the configuration, whatever its value.
pub type Attributes = Vec<(&'static str, Json)>;

pub struct Layer {
    pub class: String,
    /// Which of [`Blueprint::kinds`].
    pub kind: usize,
    /// As they are declared.
    pub modules: Vec<(&'static str, Module)>,
    pub steps: Vec<Step>,
    /// Attention weights are returned beside hidden states.
    pub returns_weights: bool,
    pub attributes: Attributes,
    /// Its forward's operations: see [`crate::source`].
    pub source: &'static str,
}

impl Layer {
    /// Returns the layer's attention.
    #[must_use]
    pub fn attention(&self) -> Option<&Attention> {
        self.modules.iter().find_map(|(_, module)| match module {
            Module::Attention(attention) => Some(attention),
            _ => None,
        })
    }

    /// Returns the numbers that a token has at once in the middle of the feed-forward block.
    #[must_use]
    pub fn inner(&self) -> i64 {
        let of_module = |(_, module): &(&str, Module)| match module {
            Module::FeedForward(block) => block.modules.iter().map(|(_, leaf)| leaf.outputs()).max().unwrap_or(0),
            Module::Experts(experts) => 2 * experts.top * experts.inner,
            _ => 0,
        };
        self.modules.iter().map(of_module).max().unwrap_or(0)
    }
}

/// A module of a layer.
pub enum Module {
    Norm(Norm),
    Dropout(f64),
    Attention(Attention),
    FeedForward(FeedForward),
    Experts(Experts),
}

/// What a layer keeps while it computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// The residual stream: what comes in, and in the end what goes out.
    Hidden,
    Branch,
    Attended,
}

/// One line of a layer's forward.
pub enum Step {
    /// Runs a module on a register, and puts what it returns into another.
    Run(&'static str, Register, Register),
    /// Adds the first to the second.
    Add(Register, Register),
}

#[derive(Clone, Debug)]
pub struct Norm {
    /// `LayerNorm`, or the family's RMS norm.
    pub class: String,
    pub eps: f64,
    pub kind: NormKind,
}

/// What a norm multiplies by, and in which type: each is the same in float32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// Less the mean; with a bias.
    Layer,
    /// The root of the mean square, rounded to the type of what came in, times the weight.
    Rms,
    /// Times the weight, then rounded.
    RmsWide,
    /// Times the weight and one, then rounded.
    RmsOnePlus,
}

/// Modules without modules inside.
pub enum Leaf {
    Linear {
        inputs: i64,
        outputs: i64,
        bias: bool,
    },
    /// Its weight lies the other way round.
    Conv1D {
        inputs: i64,
        outputs: i64,
    },
    Norm {
        norm: Norm,
        width: i64,
    },
    Dropout(f64),
    Activation(Function, &'static str),
}

impl Leaf {
    fn outputs(&self) -> i64 {
        match self {
            Self::Linear { outputs, .. } | Self::Conv1D { outputs, .. } => *outputs,
            _ => 0,
        }
    }
}

pub type Leaves = Vec<(&'static str, Leaf)>;

pub struct Attention {
    pub class: String,
    pub modules: Leaves,
    pub projections: Projections,
    pub head_norms: Option<HeadNorms>,
    /// How queries and keys are rotated.
    pub turn: Option<Turn>,
    pub heads: i64,
    pub key_heads: i64,
    pub head_dim: i64,
    /// What scores are multiplied by.
    pub scaling: f64,
    /// Scores are kept below this by way of tanh.
    pub cap: Option<f64>,
    /// Scores are computed in float32, and kept so until they are weights.
    pub wide: bool,
    /// The parameter that holds a score of each head's for seeing nothing.
    pub sinks: Option<&'static str>,
    /// The module that weights go through, where one is called.
    pub weights_dropout: Option<&'static str>,
    pub output: &'static str,
    pub dropout: Option<&'static str>,
    pub attributes: Attributes,
    /// Its forward's operations.
    pub source: &'static str,
    /// Those of the function that computes it as `eager`, which is known where this is not empty.
    pub eager: &'static str,
    /// Other functions that its forward calls.
    pub functions: Routines,
    /// What the function that computes it is told by keyword, besides what all are told: `sliding_window`, `softcap`, `s_aux`.
    pub told: &'static [&'static str],
}

/// A function that a line of a forward calls, step by step: see [`crate::source`].
pub struct Routine {
    /// What it calls the line's operands.
    pub parameters: &'static [&'static str],
    pub source: &'static str,
    pub inside: Routines,
}

/// Functions by what lines call.
pub type Routines = &'static [(&'static str, Routine)];

/// The modules that make queries, keys and values.
pub enum Projections {
    Separate([&'static str; 3]),
    Packed(&'static str, Cut),
}

/// How what one module makes is cut into queries, keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All queries, all keys, all values.
    Widths,
    /// Each head's three together.
    Heads,
}

/// Norms of queries and keys before they are rotated.
pub struct HeadNorms {
    pub names: [&'static str; 2],
    pub over: Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// All heads of a token at once: `[rows, length, heads · head_dim]`.
    Width,
    /// Each head, where it comes: `[rows, length, heads, head_dim]`.
    Heads,
    /// Each head, after all three are there and turned: `[rows, heads, length, head_dim]`.
    Turned,
}

/// How the first dimensions of each head are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    pub pairs: Pairs,
    /// So many dimensions; the others stay as they are.
    pub width: i64,
}

/// Which dimensions turn against each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// One of the first half and one of the second.
    Halves,
    Neighbours,
}

pub struct FeedForward {
    pub class: String,
    /// What its forward calls what it is given.
    pub argument: &'static str,
    pub modules: Leaves,
    pub way: Way,
    pub attributes: Attributes,
    /// Its forward's operations.
    pub source: &'static str,
}

/// What a feed-forward block does with its modules.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// `down(act(gate(x)) * up(x))`
    Gated { gate: &'static str, up: &'static str, down: &'static str, act: &'static str },
    /// The same with one module for gate and up, one half each.
    GatedTogether { gate_up: &'static str, down: &'static str, act: &'static str },
    /// `dropout(output(act(input(x))))`
    Plain { input: &'static str, act: &'static str, output: &'static str, dropout: Option<&'static str> },
}

/// A feed-forward block of which each token takes a few.
pub struct Experts {
    pub class: String,
    /// Names and classes of the router and of the experts.
    pub router: (&'static str, String),
    pub experts: (&'static str, String),
    /// The router is declared first.
    pub router_first: bool,
    pub count: i64,
    pub top: i64,
    pub inner: i64,
    pub score: Score,
    /// Router and experts have biases, and the experts' weights lie the other way round.
    pub biased: bool,
    pub gate: Gate,
    /// The router's scores are returned beside hidden states.
    pub returns_scores: bool,
    /// What checkpoints call the weights of one expert, where they have them apart: gate, up, down.
    pub apart: Option<Apart>,
    pub attributes: Attributes,
    /// The block's forward's operations.
    pub source: &'static str,
}

/// Names of an expert's own weights in a checkpoint, with the block's name instead of this crate's.
pub struct Apart {
    pub block: &'static str,
    pub router: &'static str,
    pub names: [&'static str; 3],
}

/// How a router's logits become what experts' outputs are multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// Shares of all experts, in float32; those of the chosen perhaps made to add up to one, and rounded.
    OfAll { renormalize: bool, rounded: bool },
    /// Shares of the chosen.
    OfChosen,
}

/// What an expert does between its products.
#[derive(Clone, Copy, Debug)]
pub enum Gate {
    /// `act(gate) * up`, which lie one behind the other.
    Plain(Function, &'static str),
    /// `(up + 1) * gate * sigmoid(alpha * gate)`, both clamped, which lie in turns.
    Clamped { alpha: f64, limit: f64 },
}
