//! What all decoder-only families share: the masks, the loop over layers, the head.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use engine::{Attention, Inputs, Packed, Part, Site, Tree};
use interpreter::raise::Raise;
use kernels::attention::Seen;
use kernels::{number, varlen};
use tch::{Device, Kind, Tensor};

use crate::alone;
use crate::attention::{self, Extent};
use crate::balance::{self, Routed};
use crate::cache::{Cache, Caches};
use crate::call::{Call, bind};
use crate::course::Course;
use crate::embedding::Embed;
use crate::family::{self, Balance, Blueprint, CAUSAL, Form, Returns, Sight};
use crate::forward::{self, Forwards};
use crate::layer::Layer;
use crate::nn::Linear;
use crate::norm::Norm;
use crate::pass::{Arguments, Flow, Input, Output, Parts, Pass, Result, caches, learned, leaves, no_part};
use crate::rotary::{Rotary, RotaryEmbedding, Rotations};
use crate::source::{Argument, Given, Held, Operations};
use crate::tokens::Tokens;

/// A model's arithmetic.
pub struct Decoder {
    pub about: Description,
    pub embedding: Embed,
    pub layers: Vec<Layer>,
    pub norm: Rc<Norm>,
    pub rotary: Option<Rc<RotaryEmbedding>>,
    pub head: Rc<Linear>,
    pub forwards: Forwards,
}

/// How a model's modules are called, and what they return.
pub struct Description {
    pub root: Site,
    /// What stands between the two, if something does.
    pub around: Option<Site>,
    pub base: Site,
    pub blueprint: Blueprint,
    /// The decoder layers' sites.
    pub layers: Vec<Site>,
    pub windows: Rc<[Option<i64>]>,
    pub kind: Kind,
    pub device: Device,
    /// Sequences of any lengths attend in one call: see [`kernels::varlen`].
    pub varlen: bool,
}

impl Description {
    /// Returns how a job's attention is computed.
    pub fn attention(&self, asked: Attention) -> Attention {
        if self.blueprint.eager { Attention::Eager } else { asked }
    }

    /// Returns whether rows may be computed from where they differ from others: a layer returns hidden states alone, nothing is
    /// seen of what comes later, and calls do not collect what every layer makes.
    pub fn forks(&self) -> bool {
        let about = &self.blueprint;
        about.is_causal() && !about.usual.collects() && !about.layer.iter().any(|layer| layer.returns_weights)
    }
}

impl Decoder {
    /// Computes the rotations that layers share, at their positions and in the hidden states' type.
    pub fn rotate(&self, pass: &mut Pass<'_>, hidden: &Tokens, shared: &mut Shared) -> Result<()> {
        if let Some(rotary) = &self.rotary {
            let given = Rotary { hidden: hidden.share(), positions: shared.positions.clone() };
            shared.rotations = rotary.run_all(pass, given)?;
        }
        Ok(())
    }

    pub fn layer(&self, index: usize, pass: &mut Pass<'_>, stream: Stream) -> Result<Attended> {
        self.at(index)?.run(index, pass, stream, &self.about.blueprint.calls.attention)
    }

    pub fn at(&self, layer: usize) -> Result<&Layer> {
        self.layers.get(layer).ok_or_else(|| Raise::index_error(format!("there is no layer {layer}")).into())
    }

    /// Returns the number of heads, of keys' heads, and of a head's dimensions.
    pub fn heads(&self) -> (i64, i64, i64) {
        let sizes = self.about.blueprint.layer.first().and_then(family::Layer::attention);
        sizes.map_or((0, 0, 0), |attention| (attention.heads, attention.key_heads, attention.head_dim))
    }

    /// Returns the numbers that a token has at most in the middle of a feed-forward block.
    pub fn inner(&self) -> i64 {
        self.about.blueprint.layer.iter().map(family::Layer::inner).max().unwrap_or(0)
    }

    /// Returns which of the kinds of layers one is of.
    pub fn kind(&self, layer: usize) -> usize {
        self.layers.get(layer).map_or(0, |layer| layer.kind)
    }

    fn norm(&self, pass: &mut Pass<'_>, hidden: &Tokens) -> Result<Tokens> {
        let normed = self.norm.run(pass, hidden)?;
        if !self.about.blueprint.root.restores_length {
            return Ok(normed);
        }
        let own = |(part, &Part { length, .. }): (Tensor, &Part)| {
            let size = part.size();
            match size.as_slice() {
                &[_, found, width] if found != length => part.f_view([-1, length, width]),
                _ => Ok(part),
            }
        };
        let parts = &pass.layout.parts;
        Ok(match normed {
            Tokens::Apart(all) => {
                Tokens::Apart(all.into_iter().zip(parts).map(own).collect::<std::result::Result<_, _>>()?)
            }
            Tokens::Packed(tensor) => match parts.as_slice() {
                [part] => Tokens::Packed(own((tensor, part))?),
                _ => Tokens::Packed(tensor),
            },
        })
    }

    /// Lists the modules in the order in which a pass enters them.
    pub fn order(&self) -> Vec<Site> {
        let mut order = Vec::new();
        let mut known = HashSet::new();
        let layers: HashMap<Site, &Layer> = self.layers.iter().map(|layer| (layer.site, layer)).collect();
        // What is yet to be listed; the next is the last.
        let mut rest = vec![self.about.root];
        while let Some(site) = rest.pop() {
            // A rotary embedding may be called several times.
            if !known.insert(site) {
                continue;
            }
            if let Some(layer) = layers.get(&site) {
                order.extend(layer.order());
                continue;
            }
            order.push(site);
            let inside = match site {
                site if site == self.about.root => self.forwards.root.order(),
                site if Some(site) == self.about.around => {
                    self.forwards.around.as_ref().map(Operations::order).unwrap_or_default()
                }
                site if site == self.about.base => self.forwards.base.order(),
                site if site == self.norm.site => self.norm.operations.order(),
                _ => Vec::new(),
            };
            rest.extend(inside.into_iter().rev());
        }
        order
    }
}

/// What goes from layer to layer: the hidden states, and what all layers share.
pub struct Stream {
    pub hidden: Tokens,
    pub shared: Rc<Shared>,
    /// Which of the kinds of layers this one is of.
    pub kind: usize,
    pub form: &'static Form,
}

/// What all layers of a pass share, by segment.
#[derive(Clone, Default)]
pub struct Shared {
    pub attention: Vec<Attention>,
    /// What masks let tokens see that the model makes.
    pub sight: Sight,
    /// Attention that is handed no mask is causal.
    pub causal: bool,
    /// Of hidden states, and of masks that are added to scores.
    pub numbers: Option<(Kind, Device)>,
    /// By kind of layer.
    pub masks: Vec<Masks>,
    /// `[rows or 1, length]`.
    pub positions: Vec<Rc<Tensor>>,
    /// By rope; empty where nothing is rotated.
    pub rotations: Vec<Option<Rc<Rotations>>>,
    /// What attention that computes rotations for itself does so with.
    pub rotary: Option<Rc<RotaryEmbedding>>,
    /// Windows and ropes, by kind of layer.
    pub kinds: Rc<[(Option<i64>, usize)]>,
    pub caches: Option<Rc<Caches>>,
    pub use_cache: Option<bool>,
    /// Tokens of each sequence that came before this pass.
    pub past: Vec<i64>,
    /// Which segments are steps of `generate()`.
    pub generating: Vec<bool>,
    /// Flags that are handed down.
    pub flags: Vec<(&'static str, Flow)>,
    /// Collects each layer's attention weights, where the caller asked for them.
    pub attentions: Option<Rc<RefCell<Vec<Vec<Tensor>>>>>,
    /// Collects what each layer's router makes, where the caller asked for it.
    pub routed: Option<Routed>,
    /// Sequences that attend in one call, where the device has kernels for that.
    pub varlen: Option<Rc<varlen::Known>>,
}

/// Attention masks by segment, `None` where the kernel's causal mode serves.
pub type Masks = Vec<Option<Rc<Tensor>>>;

impl Shared {
    /// Returns a segment's cache.
    pub fn cache(&self, segment: usize) -> Option<&Cache> {
        self.caches.as_ref()?.all.get(segment)?.as_ref()
    }

    /// Returns what some of the segments share.
    pub fn only(&self, segments: &[usize]) -> Self {
        fn pick<T: Clone>(all: &[T], segments: &[usize]) -> Vec<T> {
            segments.iter().filter_map(|&index| all.get(index).cloned()).collect()
        }
        let only = |caches: &Rc<Caches>| Caches { all: pick(&caches.all, segments), paired: caches.paired };
        let caches = self.caches.as_ref().map(|caches| Rc::new(only(caches)));
        Self {
            attention: pick(&self.attention, segments),
            sight: self.sight,
            causal: self.causal,
            numbers: self.numbers,
            masks: self.masks.iter().map(|masks| pick(masks, segments)).collect(),
            positions: pick(&self.positions, segments),
            rotations: Vec::new(),
            rotary: self.rotary.clone(),
            kinds: Rc::clone(&self.kinds),
            caches,
            past: pick(&self.past, segments),
            generating: pick(&self.generating, segments),
            flags: self.flags.clone(),
            attentions: self.attentions.clone(),
            routed: self.routed.clone(),
            use_cache: self.use_cache,
            varlen: self.varlen.clone(),
        }
    }

    /// Returns a segment's mask in layers of a kind.
    pub fn mask(&self, kind: usize, segment: usize) -> Option<&Tensor> {
        self.masks.get(kind)?.get(segment)?.as_deref()
    }

    /// Returns which keys a segment's queries see in layers of a kind.
    pub fn sees(&self, kind: usize, segment: usize) -> Seen<'_> {
        self.mask(kind, segment).map_or(self.unmasked(), Seen::Shown)
    }

    /// Returns which keys queries see where attention is handed no mask.
    pub fn unmasked(&self) -> Seen<'static> {
        if self.causal { Seen::Before } else { Seen::All }
    }

    /// Returns how many tokens one sees in layers of a kind, if that is bounded.
    pub fn window(&self, kind: usize) -> Option<i64> {
        self.kinds.get(kind)?.0
    }

    fn rope(&self, kind: usize) -> usize {
        self.kinds.get(kind).map_or(0, |(_, rope)| *rope)
    }

    /// Returns the rotations of layers of a kind.
    pub fn rotations(&self, kind: usize) -> Option<&Rotations> {
        self.rotations.get(self.rope(kind))?.as_deref()
    }

    /// Keeps a layer's attention weights, if they are asked for and there are any.
    pub fn capture(&self, attended: &Attended) {
        if let (Some(attentions), Some(weights)) = (&self.attentions, &attended.weights) {
            attentions.borrow_mut().push(weights.iter().map(Tensor::shallow_clone).collect());
        }
    }

    /// Shows what layers of a kind are called with under a name.
    pub fn field(&self, name: &str, kind: usize, pass: &Pass<'_>) -> Result<Flow> {
        let masks = self.masks.get(kind);
        Ok(match name {
            "attention_mask" if masks.is_some_and(|masks| masks.iter().any(Option::is_some)) => {
                leaves(&self.written_masks(kind, pass)?)
            }
            "position_ids" if !self.positions.is_empty() => {
                let shown = |((part, positions), generating): ((&Part, &Rc<Tensor>), &bool)| match generating {
                    // generate() gives each row its own.
                    true => positions.f_expand([part.rows, part.length], false),
                    false => Ok(positions.shallow_clone()),
                };
                let parts = pass.layout.parts.iter().zip(&self.positions).zip(&self.generating);
                match parts.map(shown).collect::<std::result::Result<Vec<_>, _>>()? {
                    all if all.len() == self.positions.len() => leaves(&all),
                    _ => leaves(self.positions.iter().map(|part| &**part)),
                }
            }
            "position_embeddings" => self.rotations(kind).map_or(Tree::None, |rotations| rotations.show(pass)),
            "past_key_values" | "layer_past" => caches(self.caches.as_ref()),
            "use_cache" => self.use_cache.map_or(Tree::None, Tree::Bool),
            "output_attentions" => Tree::Bool(self.attentions.is_some()),
            "output_router_logits" => Tree::Bool(self.routed.is_some()),
            _ => Tree::None,
        })
    }

    /// Shows the masks of layers of a kind, and `None` to segments that have none, whatever others have.
    fn own_masks(&self, kind: usize) -> Flow {
        let masks = self.masks.get(kind).map(Vec::as_slice).unwrap_or_default();
        let shown: Vec<Option<torch::Tensor>> =
            masks.iter().map(|mask| Some(torch::Tensor::new(mask.as_ref()?.shallow_clone()))).collect();
        match shown.iter().flatten().count() {
            0 => Tree::None,
            some if some < shown.len() => Tree::Leaf(Packed::Some(shown)),
            _ => Tree::Leaf(Packed::Parts(shown.into_iter().flatten().collect())),
        }
    }

    /// Returns a mask for every segment: those without one get what attention does without.
    pub fn written_masks(&self, kind: usize, pass: &Pass<'_>) -> Result<Vec<Tensor>> {
        let masks = self.masks.get(kind).map(Vec::as_slice).unwrap_or_default();
        let mut written = Vec::with_capacity(masks.len());
        for (segment, ((mask, part), &past)) in masks.iter().zip(&pass.layout.parts).zip(&self.past).enumerate() {
            let extent = Extent { rows: part.rows, length: part.length, past, window: self.window(kind) };
            written.push(match mask {
                Some(mask) => mask.shallow_clone(),
                None => self.written(extent, segment)?,
            });
        }
        Ok(written)
    }

    /// Writes down what attention does that is handed no mask.
    pub fn written(&self, extent: Extent, segment: usize) -> Result<Tensor> {
        let (kind, device) = self.numbers.unwrap_or((Kind::Float, Device::Cpu));
        let attention = self.attention.get(segment).copied().unwrap_or_default();
        // `eager` without a mask sees everything, and nothing that has no mask knows of a window.
        let sight = Sight::unmasked(self.causal && attention == Attention::Sdpa);
        let visible = Extent { window: None, ..extent }.visible(sight, None, device)?;
        Ok(attention::formed(attention, visible, kind)?)
    }

    /// Takes what some of the segments have come to.
    pub fn take(&mut self, segments: &[usize], others: &Self) {
        fn put<T: Clone>(all: &mut [T], segments: &[usize], others: &[T]) {
            for (&segment, other) in segments.iter().zip(others) {
                if let Some(own) = all.get_mut(segment) {
                    own.clone_from(other);
                }
            }
        }
        self.masks.iter_mut().zip(&others.masks).for_each(|(all, others)| put(all, segments, others));
        put(&mut self.positions, segments, &others.positions);
    }

    pub fn set(&mut self, name: &str, kind: usize, flow: Flow, pass: &Pass<'_>) -> Result<()> {
        match (name, flow) {
            ("attention_mask", Tree::None) if pass.single() => {
                self.masks.get_mut(kind).into_iter().for_each(|masks| *masks = vec![None]);
            }
            ("attention_mask", Tree::None) => {}
            ("attention_mask", Tree::Leaf(Packed::Some(new))) => {
                let own = |mask: Option<torch::Tensor>| Some(Rc::new(mask?.tch().shallow_clone()));
                self.masks.get_mut(kind).into_iter().for_each(|masks| *masks = new.iter().cloned().map(own).collect());
            }
            ("attention_mask", flow) => {
                let (new, written) = (pass.tensors(flow)?, self.written_masks(kind, pass)?);
                let masks = self.masks.get_mut(kind).map(Vec::as_mut_slice).unwrap_or_default();
                for ((slot, new), written) in masks.iter_mut().zip(new).zip(written) {
                    // A mask that only stood for the causal mode, and still does, is not one.
                    if slot.is_some() || new.size() != written.size() || !new.f_equal(&written)? {
                        *slot = Some(Rc::new(new));
                    }
                }
            }
            ("position_ids", flow @ Tree::Leaf(_)) => {
                self.positions = pass.tensors(flow)?.into_iter().map(Rc::new).collect();
                if let Some(rotary) = &self.rotary {
                    self.rotations = rotary.compute_all(&self.positions)?;
                }
            }
            ("position_embeddings", flow @ Tree::Tuple(_)) => {
                let rope = self.rope(kind);
                self.rotations.resize(self.rotations.len().max(rope + 1), None);
                let own = Rc::new(Rotations::read(pass, flow)?);
                if let Some(slot) = self.rotations.get_mut(rope) {
                    *slot = Some(own);
                }
            }
            ("past_key_values" | "layer_past", Tree::None) => self.caches = None,
            ("past_key_values" | "layer_past", Tree::Object(object)) => {
                if let Ok(caches) = object.downcast::<Caches>() {
                    self.caches = Some(caches);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Stream {
    /// Hands other hidden states to a module that is called in another way.
    pub fn with(&self, hidden: Tokens, form: &'static Form) -> Self {
        Self { hidden, shared: Rc::clone(&self.shared), kind: self.kind, form }
    }

    /// Shows how a module is called with these and with hidden states that are its first operand.
    pub fn call(&self, form: &'static Form, pass: &Pass<'_>) -> Result<Given> {
        let argument = |name: &&'static str| -> Result<Argument> {
            if *name == "hidden_states" {
                return Ok(Argument::Operand(0));
            }
            Ok(Argument::Other(self.shared.field(name, self.kind, pass)?))
        };
        let args = form.positional.iter().map(argument).collect::<Result<_>>()?;
        let mut kwargs = Vec::with_capacity(form.keyword.len());
        for name in form.keyword {
            kwargs.push((*name, argument(name)?));
        }
        kwargs.extend(self.shared.flags.iter().map(|(name, flow)| (*name, Argument::Other(flow.clone()))));
        Ok(Given { args, kwargs })
    }

    fn field(&self, name: &str, pass: &Pass<'_>) -> Result<Flow> {
        match name {
            "hidden_states" => Ok(pass.leaf(&self.hidden)),
            "attention_mask" => Ok(self.shared.own_masks(self.kind)),
            name => self.shared.field(name, self.kind, pass),
        }
    }
}

impl Input for Stream {
    fn show(&self, pass: &Pass<'_>) -> Result<Arguments> {
        let mut inputs = Inputs { args: Vec::new(), kwargs: Vec::new() };
        for name in self.form.positional {
            inputs.args.push(self.field(name, pass)?);
        }
        for name in self.form.keyword {
            inputs.kwargs.push((name, self.field(name, pass)?));
        }
        inputs.kwargs.extend(self.shared.flags.iter().cloned());
        Ok(inputs)
    }

    fn read(mut self, pass: &Pass<'_>, arguments: Arguments) -> Result<Self> {
        let mut shared = (*self.shared).clone();
        for (name, flow) in bind(arguments, self.form.signature)? {
            match name {
                "hidden_states" => self.hidden = pass.tokens(flow)?,
                name => shared.set(name, self.kind, flow, pass)?,
            }
        }
        self.shared = Rc::new(shared);
        Ok(self)
    }
}

/// What attention returns: new hidden states, and the weights `[rows, heads, length, past + length]` by segment where
/// they are computed.
pub struct Attended {
    pub hidden: Tokens,
    pub weights: Option<Vec<Tensor>>,
}

impl Output for Attended {
    fn show(&self, pass: &Pass<'_>) -> Flow {
        Tree::Tuple(vec![pass.leaf(&self.hidden), self.weights.as_ref().map_or(Tree::None, leaves)])
    }

    fn read(pass: &Pass<'_>, flow: Flow) -> Result<Self> {
        let [hidden, weights] = unpack(flow)?;
        let weights = match weights {
            flow @ Tree::Leaf(_) => Some(pass.tensors(flow)?),
            _ => None,
        };
        Ok(Self { hidden: pass.tokens(hidden)?, weights })
    }
}

/// What Python raises for `a, b = None`.
pub fn none() -> Raise {
    Raise::type_error("cannot unpack non-iterable NoneType object")
}

/// Takes a pair apart as Python's `a, b = …` does.
pub fn unpack(flow: Flow) -> Result<[Flow; 2]> {
    let items = match flow {
        Tree::Tuple(items) => items,
        Tree::None => return Err(none().into()),
        _ => return Err(Raise::type_error("the module returns a tuple of two, and its caller takes it apart").into()),
    };
    <[Flow; 2]>::try_from(items).map_err(|items| {
        let message = match items.len() {
            0 | 1 => format!("not enough values to unpack (expected 2, got {})", items.len()),
            _ => "too many values to unpack (expected 2)".into(),
        };
        Raise::value_error(message).into()
    })
}

/// The field of routers' logits: a base model returns it before others, and a model with its head after them.
pub const ROUTED: &str = "router_logits";

/// What the base model returns.
pub struct Encoded {
    pub hidden: Tokens,
    pub caches: Option<Rc<Caches>>,
    pub hidden_states: Option<Vec<Tokens>>,
    /// By layer, then by segment. Empty where `sdpa` computes no weights.
    pub attentions: Option<Vec<Vec<Tensor>>>,
    /// The same of those layers that have a router.
    pub routed: Option<Vec<Vec<Tensor>>>,
    pub returns: Returns,
}

impl Encoded {
    /// Lists the fields after the first one or two, as base and root both have them.
    pub fn extras(&self, pass: &Pass<'_>) -> Vec<(&'static str, Flow)> {
        let mut fields = Vec::new();
        if let Some(caches) = &self.caches {
            fields.push(("past_key_values", Tree::Object(Rc::clone(caches) as Rc<dyn std::any::Any>)));
        }
        if let Some(routed) = &self.routed {
            fields.push((ROUTED, Tree::Tuple(routed.iter().map(learned).collect())));
        }
        if let Some(states) = &self.hidden_states {
            fields.push(("hidden_states", Tree::Tuple(states.iter().map(|state| pass.leaf(state)).collect())));
        }
        if let Some(attentions) = &self.attentions {
            fields.push(("attentions", Tree::Tuple(attentions.iter().map(leaves).collect())));
            if self.returns == Returns::CrossAttentions {
                fields.push(("cross_attentions", Tree::Tuple(Vec::new())));
            }
        }
        fields
    }
}

/// The record that a base model returned, with what a watcher made of it.
pub struct Record(pub Vec<(&'static str, Flow)>, pub &'static str);

impl Output for Record {
    fn show(&self, _: &Pass<'_>) -> Flow {
        Tree::Record { class: self.1, fields: self.0.clone() }
    }

    fn read(_: &Pass<'_>, flow: Flow) -> Result<Self> {
        match flow {
            Tree::Record { class, fields } => Ok(Self(fields, class)),
            _ => Err(Raise::type_error("the model returns a ModelOutput, and its caller reads its fields").into()),
        }
    }
}

impl Record {
    /// Returns it as the base model's own caller has it.
    pub fn returned(self, tuple: bool) -> Flow {
        match tuple {
            true => Tree::Tuple(self.0.into_iter().map(|(_, flow)| flow).collect()),
            false => Tree::Record { class: self.1, fields: self.0 },
        }
    }

    fn take(&mut self, name: &str) -> Option<Flow> {
        let at = self.0.iter().position(|(field, _)| *field == name)?;
        Some(self.0.remove(at).1)
    }
}

/// What the whole model returned, whatever a watcher made of it: nobody here reads it.
struct Returned(Flow);

impl Output for Returned {
    fn show(&self, _: &Pass<'_>) -> Flow {
        self.0.clone()
    }

    fn read(_: &Pass<'_>, flow: Flow) -> Result<Self> {
        Ok(Self(flow))
    }
}

/// Runs the whole model.
pub fn run(decoder: &Decoder, pass: &mut Pass<'_>, call: Call) -> Result<Flow> {
    let (about, head) = (&decoder.about, &*decoder.head);
    let Returned(returned) = pass.module(about.root, call, |pass, call| {
        if pass.wants(about.root).operations {
            return forward::run(decoder, pass, call).map(Returned);
        }
        let (keep, alone) = (call.flags.logits_to_keep.clone(), call.flags.alone.clone());
        let spread = Spread::of(&about.blueprint, &call)?;
        let mut encoded = base(decoder, pass, call)?;
        let hidden = encoded.take("last_hidden_state").unwrap_or(Tree::None);
        let hidden = Held::of_tokens(pass, &pass.tokens(hidden)?)?.tensors()?;
        note_head(pass, head)?;
        let (mut kept, mut now) = last_positions(pass, hidden, &keep)?;
        if let (Some(positions), [own]) = (&alone.kept, kept.as_mut_slice()) {
            *own = alone::select(own, positions)?;
        }
        if alone.labels.is_some() {
            now.fill(true);
        }
        let logits = head.run_logits(pass, Parts(kept), &now, about.blueprint.head.cap)?;
        let shown = logits.show(pass);
        let mut fields = Vec::new();
        if let Some(labels) = &alone.labels {
            let own = pass.tensors(shown.clone())?;
            let own = own.first().ok_or_else(no_part)?;
            fields.push(("loss", learned([&pass.paid(0, || alone::loss(own, labels))?])));
        }
        let routed = encoded.take(ROUTED);
        if let Some(spread) = &spread {
            let losses = spread.losses(pass, routed.as_ref())?;
            if let (Some((_, loss)), [own]) = (fields.first_mut(), losses.as_slice()) {
                let all =
                    pass.tensors(loss.clone())?.iter().map(|loss| spread.add(loss, own)).collect::<Result<Vec<_>>>()?;
                *loss = learned(&all);
            }
            fields.push(("aux_loss", learned(&losses)));
        }
        fields.push(("logits", shown));
        fields.append(&mut encoded.0);
        fields.extend(routed.map(|routed| (ROUTED, routed)));
        Ok(Returned(match alone.tuple {
            true => Tree::Tuple(fields.into_iter().map(|(_, flow)| flow).collect()),
            false => Tree::Record { class: about.blueprint.root.returns.root(), fields },
        }))
    })?;
    Ok(returned)
}

/// What a call is told of how evenly experts are taken.
pub struct Spread {
    pub about: Balance,
    /// By segment, which tokens count.
    padding: Vec<Option<Tensor>>,
}

impl Spread {
    /// Returns what is to be told, if the caller asked.
    pub fn of(blueprint: &Blueprint, call: &Call) -> Result<Option<Self>> {
        let Some(about) = blueprint.balance.filter(|_| call.flags.routes()) else { return Ok(None) };
        let padding = (0..call.ids.len()).map(|segment| call.mask(segment));
        Ok(Some(Self { about, padding: padding.collect::<std::result::Result<_, _>>()? }))
    }

    /// Returns which tokens of a part count.
    pub fn padding(&self, part: &Part) -> Option<&Tensor> {
        self.padding.get(part.segment?.0)?.as_ref()
    }

    /// Computes it for each part, of what routers made.
    pub fn losses(&self, pass: &Pass<'_>, routed: Option<&Flow>) -> Result<Vec<Tensor>> {
        let Some(Tree::Tuple(layers)) = routed else {
            return Err(Raise::type_error("the model returns a tuple of routers' logits").into());
        };
        let layers = layers.iter().map(|layer| pass.tensors(layer.clone())).collect::<Result<Vec<_>>>()?;
        let own = |(at, part): (usize, &Part)| {
            let of_part = |layer: &Vec<Tensor>| layer.get(at).map(Tensor::shallow_clone);
            let layers = layers.iter().map(of_part).collect::<Option<Vec<_>>>().ok_or_else(no_part)?;
            pass.paid(at, || balance::loss(&layers, self.padding(part), &self.about))
        };
        pass.layout.parts.iter().enumerate().map(own).collect()
    }

    /// Adds it to what labels come to.
    pub fn add(&self, loss: &Tensor, own: &Tensor) -> Result<Tensor> {
        Ok(loss.f_add(&number::multiply(own, self.about.coefficient)?)?)
    }
}

/// Notes which kernels compute the logits of those who came this far.
pub fn note_head(pass: &mut Pass<'_>, head: &Linear) -> Result<()> {
    let kernels = pass.products.class_of_head(&head.weight)?;
    for segment in pass.layout.parts.iter().filter_map(|part| part.segment) {
        if let Some(done) = pass.done.get_mut(segment.0) {
            done.shapes.add_head(kernels);
        }
    }
    Ok(())
}

/// Returns the positions of each part that logits are made of, and whether somebody is sure to read them: who asks for
/// the last positions only.
pub fn last_positions(pass: &Pass<'_>, hidden: Vec<Tensor>, keep: &[i64]) -> Result<(Vec<Tensor>, Vec<bool>)> {
    let (mut kept, mut now) = (Vec::new(), Vec::new());
    for (index, (&Part { segment, length, .. }, own)) in pass.layout.parts.iter().zip(hidden).enumerate() {
        let keep = segment.and_then(|segment| keep.get(segment.0).copied()).filter(|&keep| keep > 0);
        now.push(keep.is_some() || pass.recorder(index).is_some_and(|recorder| !recorder.job.has_company()));
        kept.push(match keep {
            Some(keep) if keep < length => own.f_narrow(1, length - keep, keep)?,
            _ => own,
        });
    }
    Ok((kept, now))
}

/// Runs the model below its head, and returns its record.
pub fn base(decoder: &Decoder, pass: &mut Pass<'_>, call: Call) -> Result<Record> {
    let about = &decoder.about;
    let root = &about.blueprint.root;
    let (Some(site), Some(around)) = (about.around, &root.around) else {
        let call = call.inner(&about.blueprint.calls.base, &about.blueprint);
        return pass.module(about.base, call, |pass, call| {
            if pass.wants(about.base).operations {
                let course = Course::lay_out(decoder, pass, &call)?;
                return forward::base(decoder, pass, &call, course, false);
            }
            let course = Course::begin(decoder, pass, &call)?;
            encode(decoder, pass, &call, course)
        });
    };
    let call = call.inner(around.call, &about.blueprint);
    pass.module(site, call, |pass, call| {
        if let Some(operations) = decoder.forwards.around.as_ref().filter(|_| pass.wants(site).operations) {
            let flow = forward::around(decoder, pass, &call, operations)?;
            return Record::read(pass, flow);
        }
        let course = Course::begin(decoder, pass, &call)?;
        Ok(Record(handed(decoder, pass, &call, course)?.0, around.returns))
    })
}

/// Runs a base model whose caller has embedded for it, and returns its record.
pub fn handed<'a>(decoder: &'a Decoder, pass: &mut Pass<'_>, call: &'a Call, course: Course<'a>) -> Result<Record> {
    let base = decoder.about.base;
    pass.module(base, Handed { decoder, call, course }, |pass, handed| {
        if pass.wants(base).operations {
            return forward::base(decoder, pass, call, handed.course, true);
        }
        encode(decoder, pass, call, handed.course)
    })
}

/// Takes masks by the type of the layers that they are for.
pub fn set_masks(
    decoder: &Decoder,
    shared: &mut Shared,
    masks: impl Iterator<Item = (&'static str, Flow)>,
    pass: &Pass<'_>,
) -> Result<()> {
    let types = decoder.rotary.as_ref().map_or(&[][..], |rotary| &rotary.types);
    for (of, mask) in masks {
        if let Some(kind) = types.iter().position(|own| *own == of) {
            shared.set("attention_mask", kind, mask, pass)?;
        }
    }
    Ok(())
}

/// The arguments of a base model whose caller has embedded for it, and made masks for each type of layer.
struct Handed<'a> {
    decoder: &'a Decoder,
    call: &'a Call,
    course: Course<'a>,
}

impl Handed<'_> {
    fn types(&self) -> &[&'static str] {
        self.decoder.rotary.as_ref().map_or(&[], |rotary| &rotary.types)
    }
}

impl Input for Handed<'_> {
    fn show(&self, pass: &Pass<'_>) -> Result<Arguments> {
        let about = &self.decoder.about.blueprint;
        let call = self.call.only(&self.course.embedded());
        let mut kwargs = Vec::with_capacity(about.calls.base.keyword.len());
        for name in about.calls.base.keyword {
            let flow = match *name {
                "attention_mask" => {
                    let own = |(kind, of): (usize, &&'static str)| (*of, self.course.shared().own_masks(kind));
                    Tree::Dict(self.types().iter().enumerate().map(own).collect())
                }
                "inputs_embeds" => self.course.hidden().map_or(Tree::None, |hidden| pass.leaf(hidden)),
                name => call.field(name)?,
            };
            kwargs.push((*name, flow));
        }
        let [handed_on, _] = about.root.hands_on;
        kwargs.extend(call.flags.given.iter().filter(|(name, _)| handed_on.contains(name)).cloned());
        Ok(Inputs { args: Vec::new(), kwargs })
    }

    fn read(mut self, pass: &Pass<'_>, arguments: Arguments) -> Result<Self> {
        let mut shared = (**self.course.shared()).clone();
        for (name, flow) in bind(arguments, self.decoder.about.blueprint.calls.base.signature)? {
            match (name, flow) {
                ("attention_mask", Tree::Dict(masks)) => {
                    set_masks(self.decoder, &mut shared, masks.into_iter(), pass)?;
                }
                ("attention_mask", _) => {
                    let types = self.types().join(" and ");
                    let message = format!("on this server `attention_mask` has to be a dict of masks here, of {types}");
                    return Err(Raise::type_error(message).into());
                }
                ("inputs_embeds", flow) => self.course.set_hidden(pass.tokens(flow)?),
                ("position_ids", flow) => shared.set(name, 0, flow, pass)?,
                // The cache is made further in, where there is none yet.
                _ => {}
            }
        }
        self.course.set_shared(shared);
        Ok(self)
    }
}

/// Runs the base model's modules on what was embedded, and returns its record.
fn encode(decoder: &Decoder, pass: &mut Pass<'_>, call: &Call, mut course: Course<'_>) -> Result<Record> {
    let about = &decoder.about;
    course.rotate(pass)?;
    let mut states = call.flags.output_hidden_states.then(Vec::new);
    for layer in 0..about.layers.len() {
        course.prepare(layer, pass)?;
        if let (Some(states), Some(hidden)) = (&mut states, course.hidden()) {
            states.push(hidden.share());
        }
        course.run(layer, pass)?;
        pass.between_layers()?;
    }
    let (last, shared) = course.end(pass)?;
    let hidden = decoder.norm(pass, &last)?;
    // The last entry is the normed one, not the last layer's output, unless the configuration says otherwise.
    let ended = if about.blueprint.usual.normed_last { &hidden } else { &last };
    states.iter_mut().for_each(|states| states.push(ended.share()));
    let attentions = shared.attentions.as_ref().map(|attentions| attentions.take());
    let routed = shared.routed.as_ref().map(|routed| routed.take());
    let returns = about.blueprint.root.returns;
    let encoded = Encoded { hidden, caches: shared.caches.clone(), hidden_states: states, attentions, routed, returns };
    let mut fields = vec![("last_hidden_state", pass.leaf(&encoded.hidden))];
    fields.extend(encoded.extras(pass));
    Ok(Record(fields, returns.base()))
}

/// Prepares what the layers share.
pub fn share(decoder: &Decoder, pass: &Pass<'_>, call: &Call) -> Result<Shared> {
    let about = &decoder.about;
    let kinds = about.blueprint.kinds.iter().map(|kind| (kind.window, kind.rope)).collect::<Rc<[_]>>();
    let said = call.flags.causal.filter(|_| about.blueprint.root.is_wrapped());
    let sight = &about.blueprint.sight;
    let causal = said.unwrap_or(about.blueprint.causal);
    let mut shared = Shared {
        attention: call.attention.iter().map(|&asked| about.attention(asked)).collect(),
        sight: Sight { both_ways: said.map_or(sight.both_ways, |causal| !causal), ..*sight },
        causal,
        numbers: Some((about.kind, about.device)),
        masks: kinds.iter().map(|_| Vec::new()).collect(),
        kinds,
        rotary: decoder.rotary.as_ref().filter(|rotary| rotary.site.is_none()).cloned(),
        caches: Caches::some(&call.caches, about.blueprint.paired_caches),
        use_cache: Some(call.flags.caches()),
        attentions: call.flags.output_attentions.then(Rc::default),
        routed: call.flags.routes().then(Rc::default),
        generating: call.generating.clone(),
        varlen: (about.varlen && causal).then(|| Rc::new(varlen::Known::new(about.kind))),
        ..Shared::default()
    };
    let [_, to_layers] = about.blueprint.root.hands_on;
    shared.flags = call.flags.given.iter().filter(|(name, _)| to_layers.contains(name)).cloned().collect();
    if let Some(causal) = said.filter(|_| !shared.flags.iter().any(|(name, _)| *name == CAUSAL)) {
        shared.flags.push((CAUSAL, Tree::Bool(causal)));
    }
    if !about.blueprint.calls.layer.keyword.contains(&"use_cache") {
        // As layers have it that are not told.
        shared.use_cache = Some(false);
    }
    for (segment, part) in pass.layout.parts.iter().enumerate() {
        let shape = (part.rows, part.length);
        let past = call.past(segment);
        let attention = shared.attention.get(segment).copied().unwrap_or_default();
        let padding = call.padding.get(segment).and_then(Option::as_ref);
        let sequences = if about.blueprint.by_sequence { call.sequences(segment)? } else { None };
        for (masks, &(window, _)) in shared.masks.iter_mut().zip(shared.kinds.iter()) {
            if let Some(mask) = &call.flags.alone.mask {
                masks.push(Some(Rc::clone(mask)));
                continue;
            }
            let extent = Extent { rows: part.rows, length: part.length, past, window };
            let sequences = (padding, sequences.as_ref());
            masks.push(attention::mask(attention, (extent, shared.sight), sequences, about)?.map(Rc::new));
        }
        let positions = match call.positions.get(segment).and_then(Option::as_ref) {
            Some(positions) => positions.shallow_clone(),
            None => {
                let counted = number::range(past, past + shape.1, about.device)?.f_unsqueeze(0)?;
                let generating = call.generating.get(segment).is_some_and(|generating| *generating);
                // generate() gives each row its own. Rows that fork from others' states count as those do.
                match generating && shape.0 > 1 && call.trunks.get(segment).is_none_or(Vec::is_empty) {
                    true => counted.f_expand([shape.0, shape.1], false)?.f_contiguous()?,
                    false => counted,
                }
            }
        };
        shared.past.push(past);
        shared.positions.push(Rc::new(positions));
    }
    Ok(shared)
}
