//! The forwards of a model, of its base model, and of what stands between the two, step by step: what `.source` shows of them.
//! Where nobody may look at operations, [`crate::decoder`] computes the same.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use engine::{Inputs, Part, Tree};
use interpreter::Value;
use interpreter::raise::Raise;
use kernels::number;
use tch::Tensor;

use crate::alone;
use crate::attention::{self, Extent};
use crate::call::Call;
use crate::course::Course;
use crate::decoder::{self, Decoder, Encoded, ROUTED, Record, Spread, Stream};
use crate::family::Returns;
use crate::pass::{Flow, Input as _, Output as _, Parts, Pass, Result, no_part};
use crate::rotary::{Rotary, Rotations};
use crate::source::{self, Argument, Forward, Given, Held, Loop, Opaque, Operations, Running, Shown};
use crate::tokens::Tokens;

/// The forwards' operations.
pub struct Forwards {
    pub root: Operations,
    pub around: Option<Operations>,
    pub base: Operations,
}

fn object(object: impl Any) -> Flow {
    Tree::Object(Rc::new(object) as Rc<dyn Any>)
}

/// Shows a value for each part.
fn each(pass: &Pass<'_>, of: impl Fn(&Part) -> Value) -> Flow {
    object(Shown(pass.layout.parts.iter().map(of).collect()))
}

fn opaque(pass: &Pass<'_>, name: &str) -> Flow {
    each(pass, |_| Value::host(Opaque(name.into())))
}

/// A tensor for each part, or `None`.
fn optional(pass: &Pass<'_>, flow: Flow) -> Result<Held> {
    match flow {
        Tree::None => Ok(Held::Nothing),
        flow => Held::of(pass, flow),
    }
}

/// Shows arguments that nothing is computed with.
fn others(inputs: Inputs<engine::Packed<torch::Tensor>>) -> Given {
    Given {
        args: inputs.args.into_iter().map(Argument::Other).collect(),
        kwargs: inputs.kwargs.into_iter().map(|(name, flow)| (name, Argument::Other(flow))).collect(),
    }
}

fn unknown(what: &str, name: &str) -> Raise {
    Raise::runtime_error(format!("{what} has no {name}"))
}

/// Takes a field of what a model returned.
fn field(record: Option<&Held>, name: &str) -> Option<Flow> {
    match record {
        Some(Held::Whole(Tree::Record { fields, .. })) => {
            fields.iter().find(|(own, _)| *own == name).map(|(_, flow)| flow.clone())
        }
        _ => None,
    }
}

/// Runs the model with its head, and returns what it returns.
pub fn run(decoder: &Decoder, pass: &mut Pass<'_>, call: Call) -> Result<Flow> {
    let about = &decoder.about;
    let (keep, alone) = (call.flags.logits_to_keep.clone(), call.flags.alone.clone());
    let form = about.blueprint.root.around.as_ref().map_or(&about.blueprint.calls.base, |around| around.call);
    let spread = Spread::of(&about.blueprint, &call)?;
    let call = call.inner(form, &about.blueprint);
    let root = Root {
        decoder,
        spread,
        call: RefCell::new(Some(call)),
        keep: &keep,
        alone: &alone,
        now: RefCell::default(),
        uncapped: Cell::new(false),
    };
    let mut given = Vec::new();
    if let Some(cap) = about.blueprint.head.cap {
        // Of any part: a number is the same for all.
        given.push(("cap", cap));
    }
    let mut running = Running::new(&decoder.forwards.root, vec![("loss", Held::Nothing), ("aux_loss", Held::Nothing)]);
    for (_, lines) in decoder.forwards.root.stretches() {
        for line in lines {
            if running.get("cap").is_none()
                && root.uncapped.get()
                && let Some(&(name, cap)) = given.first()
            {
                let own = |_: &Part| Ok(number::full(cap, (tch::Kind::Float, about.device))?);
                running.set(name, Held::Tensors(pass.layout.parts.iter().map(own).collect::<Result<_>>()?));
            }
            let holds = |when: &str| match when {
                "labels" => alone.labels.is_some(),
                "routed" => root.spread.is_some(),
                "penalised" => root.spread.is_some() && alone.labels.is_some(),
                "capped" => root.uncapped.get(),
                "tuple" => alone.tuple,
                "record" => !alone.tuple,
                _ => false,
            };
            running.lines(pass, &root, line..line + 1, 0, &holds)?;
        }
    }
    if running.get("record").is_none() {
        let operands =
            ["logits", "loss", "outputs", "aux_loss"].map(|name| running.get(name).map_or(Held::NONE, Held::share));
        running.set("record", Held::Whole(root.record(&operands)));
    }
    let flow = running.returned(pass)?.pop().map_or(Tree::None, |returned| returned.flow());
    Ok(match flow {
        Tree::Record { fields, .. } if alone.tuple => Tree::Tuple(fields.into_iter().map(|(_, flow)| flow).collect()),
        flow => flow,
    })
}

/// What the lines of the forward of the model with its head mean.
struct Root<'a> {
    decoder: &'a Decoder,
    /// What the model below is called with, until it is.
    call: RefCell<Option<Call>>,
    keep: &'a [i64],
    alone: &'a alone::Alone,
    /// What the caller is told of how evenly experts are taken, if it asked.
    spread: Option<Spread>,
    /// Whose logits somebody is sure to read.
    now: RefCell<Vec<bool>>,
    /// Logits are capped line by line.
    uncapped: Cell<bool>,
}

impl Root<'_> {
    fn value(&self, name: &str) -> Option<Flow> {
        Some(match name {
            "nothing" => Tree::None,
            "routes" => Tree::Bool(self.spread.is_some()),
            "returns_record" => Tree::Bool(!self.alone.tuple),
            _ => return None,
        })
    }

    /// Returns whether somebody looks at logits before they are capped.
    fn looks_before_the_cap(&self, pass: &Pass<'_>) -> bool {
        let operations = &self.decoder.forwards.root;
        let between = ["self_lm_head_0", "logits_0", "logits_1", "torch_tanh_0", "logits_2", "logits_3"];
        let sites = between.into_iter().filter_map(|name| operations.named(name));
        let looks = |site| {
            let wants = pass.wants(site);
            wants.input || wants.output
        };
        sites.chain([self.decoder.head.site]).any(looks)
    }

    fn record(&self, operands: &[Held]) -> Flow {
        let [logits, loss, outputs, aux_loss] = operands else { return Tree::None };
        let mut fields = Vec::new();
        for (name, own) in [("loss", loss), ("aux_loss", aux_loss)] {
            if let Held::Tensors(_) = own {
                fields.push((name, own.flow()));
            }
        }
        fields.push(("logits", logits.flow()));
        if let Held::Whole(Tree::Record { fields: more, .. }) = outputs {
            fields.extend(more.iter().filter(|(name, _)| !["last_hidden_state", ROUTED].contains(name)).cloned());
            fields.extend(more.iter().filter(|(name, _)| *name == ROUTED).cloned());
        }
        Tree::Record { class: self.decoder.about.blueprint.root.returns.root(), fields }
    }
}

impl Forward for Root<'_> {
    fn call(&self, pass: &Pass<'_>, name: &str, operands: &[Held]) -> Result<Given> {
        if self.value(name).is_some() {
            return Ok(Given::method(Vec::new()));
        }
        Ok(match name {
            "base" => match &*self.call.borrow() {
                Some(call) => others(call.show(pass)?),
                None => Given::method(Vec::new()),
            },
            "slice" => {
                let keep = |part: &Part| {
                    let own = part.segment.and_then(|segment| self.keep.get(segment.0).copied());
                    Value::Int(own.unwrap_or(0))
                };
                Given { args: vec![Argument::Operand(0), Argument::Other(each(pass, keep))], kwargs: Vec::new() }
            }
            "balance" => {
                let spread = self.spread.as_ref().ok_or_else(|| unknown("a call", name))?;
                let routed = field(operands.first(), ROUTED).unwrap_or(Tree::None);
                let padding = pass.layout.parts.iter().map(|part| spread.padding(part)).collect::<Option<Vec<_>>>();
                let padding = padding.map_or(Tree::None, crate::pass::leaves);
                Given::method(vec![routed, Tree::Int(spread.about.count), Tree::Int(spread.about.top), padding])
            }
            "moved" => Given::method(vec![opaque(pass, "device")]),
            "record" => {
                let mut call = Given::method(Vec::new());
                let returns = self.decoder.about.blueprint.root.returns;
                call.kwargs.push(("loss", Argument::Operand(1)));
                if returns == Returns::Experts {
                    call.kwargs.push(("aux_loss", Argument::Operand(3)));
                }
                call.kwargs.push(("logits", Argument::Operand(0)));
                let more: &[&'static str] = match returns {
                    Returns::Plain => &[],
                    Returns::CrossAttentions => &["cross_attentions"],
                    Returns::Experts => &[ROUTED],
                    Returns::Images => &["image_hidden_states"],
                };
                for name in ["past_key_values", "hidden_states", "attentions"].iter().chain(more) {
                    let flow = field(operands.get(2), name).unwrap_or(Tree::None);
                    call.kwargs.push((name, Argument::Other(flow)));
                }
                call
            }
            _ => Given::plain(operands.len()),
        })
    }

    fn compute(&self, pass: &mut Pass<'_>, name: &str, operands: &[Held]) -> Result<Held> {
        if let Some(value) = self.value(name) {
            return Ok(Held::Plain(value));
        }
        let input = operands.first().unwrap_or(&Held::NONE);
        match name {
            "base" => {
                let call = self.call.borrow_mut().take().ok_or_else(|| unknown("a model", "arguments"))?;
                Ok(Held::Whole(decoder::base(self.decoder, pass, call)?.show(pass)))
            }
            "last" => Held::of(pass, field(operands.first(), "last_hidden_state").unwrap_or(Tree::None)),
            "slice" => {
                let (mut kept, mut now) = decoder::last_positions(pass, input.tensors()?, self.keep)?;
                if let (Some(positions), [own]) = (&self.alone.kept, kept.as_mut_slice()) {
                    *own = alone::select(own, positions)?;
                }
                if self.alone.labels.is_some() {
                    now.fill(true);
                }
                *self.now.borrow_mut() = now;
                Ok(Held::Tensors(kept))
            }
            "head" => {
                let head = &*self.decoder.head;
                decoder::note_head(pass, head)?;
                let cap = self.decoder.about.blueprint.head.cap;
                self.uncapped.set(cap.is_some() && self.looks_before_the_cap(pass));
                let mut now = self.now.borrow().clone();
                if self.uncapped.get() {
                    now.fill(true);
                }
                let cap = cap.filter(|_| !self.uncapped.get());
                let logits = head.run_logits(pass, Parts(input.tensors()?), &now, cap)?;
                Held::of(pass, logits.show(pass))
            }
            "tanh" => input.map(pass, |_, logits| Ok(logits.f_tanh()?)),
            "loss" => {
                let labels = self.alone.labels.as_ref().ok_or_else(|| unknown("a call", "labels"))?;
                let logits = match input {
                    Held::Whole(flow) => pass.tensors(flow.clone())?,
                    input => input.tensors()?,
                };
                let own = logits.first().ok_or_else(no_part)?;
                Ok(Held::Tensors(vec![pass.paid(0, || alone::loss(own, labels))?]))
            }
            "balance" => {
                let spread = self.spread.as_ref().ok_or_else(|| unknown("a call", name))?;
                Ok(Held::Tensors(spread.losses(pass, field(operands.first(), ROUTED).as_ref())?))
            }
            "moved" => Ok(input.share()),
            "penalised" => match (&self.spread, operands) {
                (Some(spread), [Held::Tensors(losses), Held::Tensors(own)]) => {
                    let all = losses.iter().zip(own).map(|(loss, own)| spread.add(loss, own));
                    Ok(Held::Tensors(all.collect::<Result<_>>()?))
                }
                _ => Ok(input.share()),
            },
            "record" => Ok(Held::Whole(self.record(operands))),
            "rest" => Ok(Held::Plain(match self.record(operands) {
                Tree::Record { fields, .. } => Tree::Tuple(fields.into_iter().map(|(_, flow)| flow).collect()),
                flow => flow,
            })),
            _ => Err(unknown("a model", name).into()),
        }
    }
}

/// Runs what stands between the model with its head and the base model, and returns its record.
pub fn around<'a>(decoder: &'a Decoder, pass: &mut Pass<'_>, call: &'a Call, operations: &Operations) -> Result<Flow> {
    let course = Course::lay_out(decoder, pass, call)?;
    let own = call.only(&course.embedded());
    let embeds = call.flags.alone.embeds.as_ref();
    let mut given = vec![
        ("input_ids", Held::Tensors(own.ids.iter().map(Tensor::shallow_clone).collect())),
        ("attention_mask", optional(pass, own.field("attention_mask")?)?),
        ("position_ids", optional(pass, own.field("position_ids")?)?),
    ];
    given.extend(embeds.map(|embeds| ("inputs_embeds", Held::Tensors(vec![embeds.shallow_clone()]))));
    let around = Around { decoder, call, own, course: RefCell::new(Some(course)) };
    let mut running = Running::new(operations, given);
    let holds = |when: &str| when == "ids" && embeds.is_none();
    for (_, lines) in operations.stretches() {
        running.lines(pass, &around, lines, 0, &holds)?;
    }
    Ok(running.returned(pass)?.pop().map_or(Tree::None, |returned| returned.flow()))
}

/// What the lines of its forward mean.
struct Around<'a> {
    decoder: &'a Decoder,
    call: &'a Call,
    /// Of what is computed from the start.
    own: Call,
    /// Until the base model has it.
    course: RefCell<Option<Course<'a>>>,
}

impl Around<'_> {
    fn value(&self, pass: &Pass<'_>, name: &str) -> Option<Flow> {
        Some(match name {
            "nothing" | "no_images" => Tree::None,
            "no" => Tree::Bool(false),
            "zero" => Tree::Int(0),
            "dictionary" => Tree::Dict(Vec::new()),
            "embedder" => opaque(pass, &self.decoder.about.blueprint.embedding.class),
            "config" => opaque(pass, "config"),
            _ => return None,
        })
    }

    fn shared(&self) -> Result<Rc<decoder::Shared>> {
        let course = self.course.borrow();
        Ok(Rc::clone(course.as_ref().ok_or_else(|| unknown("a pass", "way"))?.shared()))
    }

    fn masks(&self, pass: &Pass<'_>, given: &[Held]) -> Result<Held> {
        let shared = self.shared()?;
        let makes = self.makes(&shared);
        let types = self.decoder.rotary.as_ref().map_or(&[][..], |rotary| &rotary.types);
        let own = |(kind, of): (usize, &&'static str)| Ok((*of, makes.mask(pass, shared.window(kind), given)?));
        Ok(Held::Dict(types.iter().enumerate().map(own).collect::<Result<_>>()?))
    }

    fn makes<'m>(&'m self, shared: &'m decoder::Shared) -> Masks<'m> {
        let cached = self.own.generates() && shared.caches.is_some();
        Masks { decoder: self.decoder, shared, own: &self.own, cached }
    }
}

impl Forward for Around<'_> {
    fn call(&self, pass: &Pass<'_>, name: &str, operands: &[Held]) -> Result<Given> {
        if self.value(pass, name).is_some() {
            return Ok(Given::method(match name {
                "no" => vec![self.own.field("attention_mask")?, opaque(pass, "type")],
                "no_images" => vec![object("image")],
                _ => Vec::new(),
            }));
        }
        Ok(match name {
            "masks" => self.makes(&*self.shared()?).call(pass)?,
            "arguments" => Given::method(Vec::new()),
            "base" => {
                let mut call = Given::method(Vec::new());
                call.kwargs.push(("attention_mask", Argument::Operand(1)));
                for name in ["position_ids", "past_key_values"] {
                    call.kwargs.push((name, Argument::Other(self.own.field(name)?)));
                }
                call.kwargs.push(("inputs_embeds", Argument::Operand(0)));
                call.kwargs.push(("use_cache", Argument::Other(self.own.field("use_cache")?)));
                call.kwargs.push(("return_dict", Argument::Other(Tree::Bool(true))));
                call
            }
            "record" => {
                let mut call = Given::method(Vec::new());
                for name in ["last_hidden_state", "past_key_values", "hidden_states", "attentions"] {
                    let flow = field(operands.first(), name).unwrap_or(Tree::None);
                    call.kwargs.push((name, Argument::Other(flow)));
                }
                call.kwargs.push(("image_hidden_states", Argument::Other(Tree::None)));
                call
            }
            "clone" => Given::method(Vec::new()),
            _ => Given::plain(operands.len()),
        })
    }

    fn compute(&self, pass: &mut Pass<'_>, name: &str, operands: &[Held]) -> Result<Held> {
        if let Some(value) = self.value(pass, name) {
            return Ok(Held::Plain(value));
        }
        let input = operands.first().unwrap_or(&Held::NONE);
        let missing = || unknown("a pass", "way");
        match name {
            "image" => {
                let image = self.decoder.about.blueprint.root.around.as_ref().and_then(|around| around.image);
                input.map(pass, |_, ids| Ok(ids.f_eq(image.unwrap_or(-1))?))
            }
            "clone" => input.map(pass, |_, ids| Ok(Tensor::f_cat(&[ids], 0)?)),
            "embed" => {
                let ids = pass.join(input.tensors()?)?;
                let hidden = self.decoder.embedding.words.run(pass, &ids)?;
                Held::of_tokens(pass, &hidden)
            }
            "arguments" => self.makes(&*self.shared()?).arguments(pass, operands),
            "entries" => self.makes(&*self.shared()?).entries(pass, input),
            "masks" => self.masks(pass, operands),
            "base" => {
                let mut course = self.course.borrow_mut().take().ok_or_else(missing)?;
                course.set_hidden(input.share().into_tokens(pass)?);
                let mut shared = (**course.shared()).clone();
                if let Some(Held::Dict(masks)) = operands.get(1) {
                    decoder::set_masks(
                        self.decoder,
                        &mut shared,
                        masks.iter().map(|(of, mask)| (*of, mask.flow())),
                        pass,
                    )?;
                }
                course.set_shared(shared);
                Ok(Held::Whole(decoder::handed(self.decoder, pass, self.call, course)?.show(pass)))
            }
            "record" => {
                let class = self.decoder.about.blueprint.root.around.as_ref().map_or("", |around| around.returns);
                Ok(match input {
                    Held::Whole(Tree::Record { fields, .. }) => {
                        Held::Whole(Tree::Record { class, fields: fields.clone() })
                    }
                    _ => return Err(Raise::type_error("the language model returns a ModelOutput").into()),
                })
            }
            _ => Err(unknown("a model", name).into()),
        }
    }
}

/// Runs the base model, and returns its record. `embedded` says whether its caller has embedded for it.
pub fn base<'a>(
    decoder: &'a Decoder,
    pass: &mut Pass<'_>,
    call: &'a Call,
    course: Course<'a>,
    embedded: bool,
) -> Result<Record> {
    let operations = &decoder.forwards.base;
    let own = call.only(&course.embedded());
    let shared = Rc::clone(course.shared());
    let embeds = call.flags.alone.embeds.as_ref();
    let counts = !own.generates() && own.positions.iter().any(Option::is_none);
    let cached = shared.caches.is_some();
    let fresh = cached && !own.generates() && matches!(own.field("past_key_values")?, Tree::None);
    let mask = optional(pass, own.field("attention_mask")?)?;
    let masked = matches!(&mask, Held::Tensors(masks) if masks.iter().all(|mask| mask.dim() < 4));
    let mut given = vec![
        ("input_ids", Held::Tensors(own.ids.iter().map(Tensor::shallow_clone).collect())),
        ("attention_mask", mask),
        ("past", {
            let past =
                |&past: &i64| Ok(Tensor::f_from_slice(&[past])?.f_to_device(decoder.about.device)?.f_squeeze()?);
            Held::Tensors(shared.past.iter().map(past).collect::<Result<_>>()?)
        }),
    ];
    match (course.hidden(), embeds) {
        (Some(hidden), _) => given.push(("inputs_embeds", Held::of_tokens(pass, hidden)?)),
        (None, Some(embeds)) => given.push(("inputs_embeds", Held::Tensors(vec![embeds.shallow_clone()]))),
        (None, None) => {}
    }
    if let Some(rotary) = decoder.rotary.as_ref().filter(|_| embedded) {
        let own = |(kind, of): (usize, &&'static str)| {
            Ok((*of, optional(pass, shared.field("attention_mask", kind, pass)?)?))
        };
        given.push(("handed_masks", Held::Dict(rotary.types.iter().enumerate().map(own).collect::<Result<_>>()?)));
    }
    if !counts {
        given.push(("position_ids", optional(pass, shared.field("position_ids", 0, pass)?)?));
    }
    let slides = shared.kinds.iter().any(|(window, _)| window.is_some());
    let (overlaid, paired) = (shared.sight.overlaid, decoder.about.blueprint.paired_caches);
    let (generates, past) = (own.generates(), !own.begins());
    let normed_last = decoder.about.blueprint.usual.normed_last;
    let flags = &call.flags;
    let holds = |when: &str| match when {
        "ids" => !embedded && embeds.is_none(),
        "embeds" => !embedded && embeds.is_some(),
        "fresh" => fresh,
        "counts" => counts,
        "counted" => counts && cached,
        "cached" => cached,
        "masked" => masked,
        "own_masks" => !embedded,
        "slides" => slides,
        "overlaid" => overlaid,
        "paired" => cached && paired,
        "paired_now" => cached && paired && !(generates && past),
        "states" => flags.output_hidden_states,
        "weights" => flags.output_attentions,
        _ => false,
    };
    let base = Base {
        decoder,
        call,
        own,
        course: RefCell::new(Some(course)),
        ended: RefCell::new(Rc::clone(&shared)),
        round: Cell::new(0),
        layers: RefCell::default(),
        states: RefCell::new(flags.output_hidden_states.then(Vec::new)),
    };
    let mut running = Running::new(operations, given);
    let mut rotations = Vec::new();
    for (within, lines) in operations.stretches() {
        match within {
            None => running.lines(pass, &base, lines, 0, &holds)?,
            Some(Loop::Types) => {
                for rope in 0..decoder.rotary.as_ref().map_or(0, |rotary| rotary.ropes.len()) {
                    base.round.set(rope);
                    running.lines(pass, &base, lines.clone(), rope, &holds)?;
                    rotations.extend(running.get("position_embeddings").map(Held::share));
                }
            }
            Some(Loop::Layers) => {
                if rotations.is_empty() {
                    rotations.extend(running.get("position_embeddings").map(Held::share));
                }
                base.settle(pass, &running, &rotations)?;
                for layer in 0..decoder.layers.len() {
                    let hidden = base.with(|course| {
                        course.prepare(layer, pass)?;
                        Ok(course.hidden().map(|hidden| hidden.share()))
                    })?;
                    if let (Some(states), Some(hidden)) = (&mut *base.states.borrow_mut(), &hidden) {
                        states.push(hidden.share());
                    }
                    match hidden {
                        Some(hidden) => {
                            running.set("hidden_states", Held::of_tokens(pass, &hidden)?);
                            base.round.set(layer);
                            running.lines(pass, &base, lines.clone(), layer, &holds)?;
                            let hidden = running.get("hidden_states").map_or(Held::NONE, Held::share);
                            let hidden = hidden.into_tokens(pass)?;
                            base.with(|course| {
                                course.set_hidden(hidden);
                                Ok(())
                            })?;
                        }
                        // Those who may look have left.
                        None => base.with(|course| course.run(layer, pass))?,
                    }
                    pass.between_layers()?;
                }
                let course = base.course.borrow_mut().take().ok_or_else(|| unknown("a pass", "way"))?;
                let (hidden, shared) = course.end(pass)?;
                *base.ended.borrow_mut() = shared;
                running.set("hidden_states", Held::of_tokens(pass, &hidden)?);
                if let Some(states) = base.states.borrow_mut().as_mut().filter(|_| !normed_last) {
                    states.push(hidden);
                }
            }
        }
    }
    let returned = running.returned(pass)?.pop();
    let hidden = running.get("hidden_states").map_or(Held::NONE, Held::share).into_tokens(pass)?;
    let Some(Held::Whole(Tree::Record { mut fields, class })) = returned else {
        return Err(Raise::type_error("the base model returns a ModelOutput").into());
    };
    if decoder.about.blueprint.root.is_wrapped() {
        for (name, flow) in base.collected(pass, &hidden) {
            match fields.iter_mut().find(|(own, _)| *own == name) {
                Some((_, own)) => *own = flow,
                None => fields.push((name, flow)),
            }
        }
    }
    Ok(Record(fields, class))
}

/// What the lines of the base model's forward mean.
struct Base<'a> {
    decoder: &'a Decoder,
    call: &'a Call,
    /// Of what is computed from the start.
    own: Call,
    /// Until all layers have run.
    course: RefCell<Option<Course<'a>>>,
    /// What layers shared in the end.
    ended: RefCell<Rc<decoder::Shared>>,
    /// Which round of the innermost loop runs.
    round: Cell<usize>,
    /// Hidden states before each layer, as they are shown where the forward collects them itself.
    layers: RefCell<Vec<Flow>>,
    /// The same as they are returned, if they are: in the end with the last layer's, where that is the last.
    states: RefCell<Option<Vec<Tokens>>>,
}

impl<'a> Base<'a> {
    fn with<R>(&self, act: impl FnOnce(&mut Course<'a>) -> Result<R>) -> Result<R> {
        let mut course = self.course.borrow_mut();
        act(course.as_mut().ok_or_else(|| unknown("a pass", "way"))?)
    }

    fn shared(&self) -> Rc<decoder::Shared> {
        self.course
            .borrow()
            .as_ref()
            .map_or_else(|| Rc::clone(&self.ended.borrow()), |course| Rc::clone(course.shared()))
    }

    /// Hands to the layers what the lines before have come to.
    fn settle(&self, pass: &mut Pass<'_>, running: &Running<'_>, rotations: &[Held]) -> Result<()> {
        let mut shared = (*self.shared()).clone();
        if let Some(positions @ Held::Tensors(_)) = running.get("position_ids") {
            let (shown, found) = (shared.field("position_ids", 0, pass)?, positions.flow());
            if !source::same(pass, &shown, &found)? {
                shared.set("position_ids", 0, found, pass)?;
            }
        }
        let kinds = Rc::clone(&shared.kinds);
        for (kind, (window, _)) in kinds.iter().enumerate() {
            let own = match running.get("mask") {
                Some(Held::Dict(masks)) => {
                    masks.iter().find(|(name, _)| *name == type_of(*window)).map(|(_, mask)| mask)
                }
                mask => mask,
            };
            // One that is put into the dict by itself, after it was made.
            let late = running.get("sliding").filter(|_| window.is_some() && self.puts_late());
            if let Some(mask) = late.or(own) {
                shared.set("attention_mask", kind, mask.flow(), pass)?;
            }
        }
        let hidden = running.get("hidden_states").map_or(Held::NONE, Held::share).into_tokens(pass)?;
        if rotations.is_empty() {
            self.decoder.rotate(pass, &hidden, &mut shared)?;
        } else {
            let read = |held: &Held| Ok(Some(Rc::new(Rotations::read(pass, held.flow())?)));
            shared.rotations = rotations.iter().map(read).collect::<Result<_>>()?;
        }
        self.with(|course| {
            course.adopt(shared)?;
            course.set_hidden(hidden);
            Ok(())
        })
    }

    /// Lists what was collected of layers, where these last hidden states are returned.
    fn collected(&self, pass: &Pass<'_>, hidden: &Tokens) -> Vec<(&'static str, Flow)> {
        let (ended, about) = (self.ended.borrow(), &self.decoder.about.blueprint);
        let of_layers = |all: &RefCell<Vec<Vec<Tensor>>>| -> Vec<Vec<Tensor>> {
            all.borrow().iter().map(|layer| layer.iter().map(Tensor::shallow_clone).collect()).collect()
        };
        let normed = about.usual.normed_last.then_some(hidden);
        let states = self.states.borrow();
        let states = states.as_ref().map(|states| states.iter().chain(normed).map(Tokens::share).collect());
        let encoded = Encoded {
            hidden: hidden.share(),
            caches: None,
            hidden_states: states,
            attentions: ended.attentions.as_deref().map(of_layers),
            routed: ended.routed.as_deref().map(of_layers),
            returns: about.root.returns,
        };
        encoded.extras(pass)
    }

    fn puts_late(&self) -> bool {
        self.decoder.forwards.base.named("causal_mask_mapping_1").is_some()
    }

    fn value(&self, pass: &Pass<'_>, name: &str, operands: &[Held]) -> Result<Option<Flow>> {
        let (shared, flags) = (self.shared(), &self.call.flags);
        let numbers = |of: &dyn Fn(&Part) -> i64| each(pass, |part| Value::Int(of(part)));
        let width = match operands.first() {
            Some(Held::Tensors(parts)) => parts.first().and_then(|one| one.size().last().copied()).unwrap_or(0),
            _ => 0,
        };
        Ok(Some(match name {
            "nothing" => Tree::None,
            "no" => Tree::Bool(false),
            "yes" => Tree::Bool(true),
            "dictionary" => Tree::Dict(Vec::new()),
            "caches" => shared.field("past_key_values", 0, pass)?,
            "seen" => object(Shown(shared.past.iter().copied().map(Value::Int).collect())),
            "shape" => each(pass, |part| torch::size_value(&[part.rows, part.length])),
            "sizes" => each(pass, |part| torch::size_value(&[part.rows, part.length, width])),
            "rows" => numbers(&|part| part.rows),
            "length" => numbers(&|part| part.length),
            "width" => Tree::Int(width),
            "ending" => each(pass, |part| Value::tuple([-1, part.length, width].map(Value::Int).to_vec())),
            "given_weights" => self.given("output_attentions"),
            "given_states" => self.given("output_hidden_states"),
            "asks_weights" => Tree::Bool(flags.output_attentions),
            "asks_states" => Tree::Bool(flags.output_hidden_states),
            "asks_cache" => Tree::Bool(flags.caches()),
            "returns_record" => Tree::Bool(true),
            "enumerated" => opaque(pass, "enumerate"),
            "types" => opaque(pass, "set"),
            "is_pair" => Tree::Bool(self.own.generates() && !self.own.begins()),
            "empty_cache" => opaque(pass, "DynamicCache"),
            "overlay" | "overlay_of_window" => opaque(pass, "function"),
            "function" => {
                let slides = shared.kinds.first().is_some_and(|(window, _)| window.is_some());
                let name = if slides { "create_sliding_window_causal_mask" } else { "create_causal_mask" };
                opaque(pass, &format!("function {name}"))
            }
            "no_states" => {
                if flags.output_hidden_states {
                    Tree::Tuple(Vec::new())
                } else {
                    Tree::None
                }
            }
            "no_weights" => {
                if flags.output_attentions {
                    Tree::Tuple(Vec::new())
                } else {
                    Tree::None
                }
            }
            "states" => Tree::Tuple(self.layers.borrow().clone()),
            "weights" => {
                let all = shared.attentions.as_ref().map(|all| all.borrow().iter().map(crate::pass::leaves).collect());
                Tree::Tuple(all.unwrap_or_default())
            }
            _ => return Ok(None),
        }))
    }

    /// Shows a flag of the call, if it has it.
    fn given(&self, name: &str) -> Flow {
        let given = self.call.flags.given.iter().find(|(own, _)| *own == name);
        given.map_or(Tree::None, |(_, flow)| flow.clone())
    }

    fn makes<'m>(&'m self, shared: &'m decoder::Shared) -> Masks<'m> {
        Masks { decoder: self.decoder, shared, own: &self.own, cached: shared.caches.is_some() }
    }

    /// Returns the window of the layers that have one.
    fn window(&self) -> Option<i64> {
        let windows = self.shared().kinds.iter().find_map(|(window, _)| *window);
        windows.or(self.decoder.about.blueprint.window)
    }

    fn layer(&self, pass: &mut Pass<'_>, hidden: &Held) -> Result<Held> {
        let (layer, hidden) = (self.round.get(), hidden.share().into_tokens(pass)?);
        let about = &self.decoder.about.blueprint;
        self.with(|course| {
            course.set_hidden(hidden);
            course.run_packed(layer, pass)?;
            let hidden = match course.hidden() {
                Some(hidden) => Held::of_tokens(pass, hidden)?,
                None => Held::NONE,
            };
            Ok(match about.layer.get(layer).is_some_and(|layer| layer.returns_weights) {
                true => {
                    let weights = course.weights.take().map_or(Held::NONE, Held::Tensors);
                    Held::Tuple(vec![hidden, weights])
                }
                false => hidden,
            })
        })
    }
}

/// Puts masks under the names of the layers that they are for: those without a window, and those with one.
fn mapping(masks: impl Iterator<Item = Held>) -> Held {
    Held::Dict([None, Some(0)].map(type_of).into_iter().zip(masks).collect())
}

/// What makes masks, of what it is given: embeddings, padding, positions.
struct Masks<'a> {
    decoder: &'a Decoder,
    shared: &'a decoder::Shared,
    own: &'a Call,
    /// Whether there are caches by then.
    cached: bool,
}

impl Masks<'_> {
    /// Returns what it is given besides.
    fn others(&self, pass: &Pass<'_>) -> Result<[(&'static str, Flow); 2]> {
        let past = if self.cached { self.shared.field("past_key_values", 0, pass)? } else { Tree::None };
        Ok([("config", opaque(pass, "config")), ("past_key_values", past)])
    }

    /// Whether it is given positions, which keep sequences apart that lie end to end.
    fn takes_positions(&self) -> bool {
        self.decoder.about.blueprint.by_sequence
    }

    /// Says how what it is called with is shown.
    fn call(&self, pass: &Pass<'_>) -> Result<Given> {
        let [config, past] = self.others(pass)?.map(|(name, flow)| (name, Argument::Other(flow)));
        let (embeds, padding) = (("inputs_embeds", Argument::Operand(0)), ("attention_mask", Argument::Operand(1)));
        let mut kwargs = vec![config, embeds, padding, past];
        if self.takes_positions() {
            kwargs.push(("position_ids", Argument::Operand(2)));
        }
        if self.shared.sight.overlaid {
            kwargs.push(("or_mask_function", Argument::Other(opaque(pass, "function"))));
        }
        Ok(Given { args: Vec::new(), kwargs })
    }

    /// Puts all of that into a dict.
    fn arguments(&self, pass: &Pass<'_>, given: &[Held]) -> Result<Held> {
        let own = |at: usize| given.get(at).map_or(Held::NONE, Held::share);
        let [config, past] = self.others(pass)?.map(|(name, flow)| (name, Held::Plain(flow)));
        let mut entries = vec![config, ("inputs_embeds", own(0)), ("attention_mask", own(1)), past];
        if self.takes_positions() {
            entries.push(("position_ids", own(2)));
        }
        Ok(Held::Dict(entries))
    }

    /// Takes from such a dict what masks are made of.
    fn entries(&self, pass: &Pass<'_>, arguments: &Held) -> Result<Held> {
        let entry = |name: &str| match arguments {
            Held::Dict(entries) => entries.iter().find(|(own, _)| *own == name).map(|(_, held)| held.share()),
            _ => None,
        };
        for (name, shown) in self.others(pass)? {
            let other = match (&shown, entry(name).map(|held| held.flow())) {
                (Tree::Object(_), found) => !matches!(found, Some(Tree::Object(_))),
                (_, found) => !matches!(found, Some(Tree::None)),
            };
            if other {
                let message = format!("{name} of what makes masks cannot be replaced on this server");
                return Err(Raise::type_error(message).into());
            }
        }
        let own = |name| entry(name).unwrap_or(Held::NONE);
        Ok(Held::Tuple(["inputs_embeds", "attention_mask", "position_ids"].map(own).into()))
    }

    /// Makes the masks of layers with a window, or without one, which there need not be.
    fn mask(&self, pass: &Pass<'_>, window: Option<i64>, given: &[Held]) -> Result<Held> {
        let about = &self.decoder.about;
        let tensors = |at: usize| match given.get(at) {
            Some(Held::Tensors(parts)) => parts.as_slice(),
            _ => &[],
        };
        let (embeds, padding, positions) = (tensors(0), tensors(1), tensors(2));
        // One that is a mask already.
        if padding.iter().any(|padding| padding.dim() == 4) {
            return Ok(Held::Tensors(padding.iter().map(Tensor::shallow_clone).collect()));
        }
        // What was not there for every part could not be shown.
        let unshown = padding.is_empty() && matches!(self.own.field("attention_mask")?, Tree::None);
        let (mut masks, mut any) = (Vec::with_capacity(pass.layout.parts.len()), false);
        for (at, part) in pass.layout.parts.iter().enumerate() {
            if let Some(size) = embeds.get(at).map(Tensor::size)
                && size.get(..2) != Some(&[part.rows, part.length])
            {
                let message = format!(
                    "inputs_embeds have shape {size:?}, but this pass computes [{}, {}, width]",
                    part.rows, part.length
                );
                return Err(Raise::value_error(message).into());
            }
            let past = self.shared.past.get(at).copied().unwrap_or(0);
            let extent = Extent { rows: part.rows, length: part.length, past, window };
            let padding = if unshown { self.own.padding.get(at).and_then(Option::as_ref) } else { padding.get(at) };
            let sequences = match positions.get(at) {
                Some(positions) if self.takes_positions() && padding.is_none() && !self.cached => {
                    attention::sequences(&positions.f_expand([part.rows, part.length], false)?)?
                }
                _ => None,
            };
            let kind = self.shared.attention.get(at).copied().unwrap_or_default();
            let mask = attention::mask(kind, (extent, self.shared.sight), (padding, sequences.as_ref()), about)?;
            any |= mask.is_some();
            masks.push(match mask {
                Some(mask) => mask,
                None => self.shared.written(extent, at)?,
            });
        }
        Ok(if any { Held::Tensors(masks) } else { Held::Nothing })
    }
}

/// Returns how families name the layers with a window, and those without.
fn type_of(window: Option<i64>) -> &'static str {
    if window.is_some() { "sliding_attention" } else { "full_attention" }
}

impl Forward for Base<'_> {
    fn call(&self, pass: &Pass<'_>, name: &str, operands: &[Held]) -> Result<Given> {
        if self.value(pass, name, operands)?.is_some() {
            let flows = || operands.iter().map(Held::flow);
            return Ok(Given::method(match name {
                "no" | "yes" => flows().chain([opaque(pass, "type")]).collect(),
                "nothing" => flows().collect(),
                "given_weights" => vec![object("output_attentions"), Tree::None],
                "given_states" => vec![object("output_hidden_states"), Tree::None],
                "width" => vec![Tree::Int(-1)],
                "is_pair" => vec![opaque(pass, "cache"), opaque(pass, "type")],
                "overlay_of_window" => vec![self.window().map_or(Tree::None, Tree::Int)],
                _ => Vec::new(),
            }));
        }
        Ok(match name {
            "arange" => Given {
                args: vec![Argument::Other(each(pass, |part| Value::Int(part.length)))],
                kwargs: vec![("device", Argument::Other(opaque(pass, "device")))],
            },
            "column" => Given::method(vec![Tree::Int(0)]),
            "flat" | "flat_mask" => {
                let last = name == "flat";
                let rows = |part: &Part| Value::Int(if last { -1 } else { part.rows });
                let length = |part: &Part| Value::Int(if last { part.length } else { -1 });
                Given::method(vec![each(pass, rows), each(pass, length)])
            }
            "to" => Given::method(vec![opaque(pass, "device")]),
            "restore" => Given::method(self.value(pass, "ending", operands)?.into_iter().collect()),
            "full" | "sliding" | "masks" => self.makes(&self.shared()).call(pass)?,
            "another" => Given::method(Vec::new()),
            "rotary" => {
                let rotary = self.decoder.rotary.as_ref();
                let mut call = Given::plain(1);
                match rotary.is_some_and(|rotary| rotary.keyword) {
                    true => call.kwargs.push(("position_ids", Argument::Operand(1))),
                    false => call.args.push(Argument::Operand(1)),
                }
                let of = rotary.and_then(|rotary| rotary.types.get(self.round.get()).copied());
                call.args.extend(of.map(|of| Argument::Other(object(of))));
                call
            }
            "layer" => {
                let form = &self.decoder.about.blueprint.calls.layer;
                let kind = self.decoder.kind(self.round.get());
                let hidden = operands.first().unwrap_or(&Held::NONE).share().into_tokens(pass)?;
                Stream { hidden, shared: self.shared(), kind, form }.call(form, pass)?
            }
            "record" => {
                let past = self.shared().field("past_key_values", 0, pass)?;
                let mut kwargs =
                    vec![("last_hidden_state", Argument::Operand(0)), ("past_key_values", Argument::Other(past))];
                // Where the forward collects these itself.
                if self.decoder.forwards.base.named("all_hidden_states_0").is_some() {
                    let flags = &self.call.flags;
                    let all = [
                        ("hidden_states", "states", flags.output_hidden_states),
                        ("attentions", "weights", flags.output_attentions),
                    ];
                    for (name, own, asked) in all {
                        let flow = if asked { self.value(pass, own, &[])?.unwrap_or(Tree::None) } else { Tree::None };
                        kwargs.push((name, Argument::Other(flow)));
                    }
                }
                Given { args: Vec::new(), kwargs }
            }
            _ => Given::plain(operands.len()),
        })
    }

    fn compute(&self, pass: &mut Pass<'_>, name: &str, operands: &[Held]) -> Result<Held> {
        if let Some(value) = self.value(pass, name, operands)? {
            return Ok(Held::Plain(value));
        }
        let decoder = self.decoder;
        let input = operands.first().unwrap_or(&Held::NONE);
        let tokens = |pass: &Pass<'_>| input.share().into_tokens(pass);
        match name {
            "embed" => {
                let ids = pass.join(input.tensors()?)?;
                let hidden = decoder.embedding.words.run(pass, &ids)?;
                Held::of_tokens(pass, &hidden)
            }
            "embed_positions" => {
                let table = decoder.embedding.positions.as_ref().ok_or_else(|| unknown("a model", "positions"))?;
                Ok(Held::Tensors(table.run_parts(pass, Parts(input.tensors()?))?.0))
            }
            "drop" => {
                let Some(dropout) = &decoder.embedding.dropout else { return Ok(input.share()) };
                let hidden = tokens(pass)?;
                let hidden = dropout.run(pass, &hidden)?;
                Held::of_tokens(pass, &hidden)
            }
            "to" => input.map(pass, |_, states| Ok(states.shallow_clone())),
            "arange" => {
                let own = |part: &Part| Ok(number::range(0, part.length, decoder.about.device)?);
                Ok(Held::Tensors(pass.layout.parts.iter().map(own).collect::<Result<_>>()?))
            }
            "column" => input.map(pass, |_, positions| Ok(positions.f_unsqueeze(0)?)),
            "flat" => input.map(pass, |_, ids| Ok(ids.f_view([-1, ids.size().last().copied().unwrap_or(0)])?)),
            "flat_mask" => input.map(pass, |_, mask| {
                let rows = mask.size().first().copied().unwrap_or(1);
                Ok(mask.f_view([rows, -1])?)
            }),
            "arguments" => self.makes(&self.shared()).arguments(pass, operands),
            "entries" => self.makes(&self.shared()).entries(pass, input),
            "another" => Ok(input.share()),
            "masks" => self.makes(&self.shared()).mask(pass, self.shared().window(0), operands),
            "full" => self.makes(&self.shared()).mask(pass, None, operands),
            "sliding" => self.makes(&self.shared()).mask(pass, self.window(), operands),
            "mapping" => Ok(mapping(operands.iter().map(Held::share))),
            // What is added to the dict later is there from the start.
            "mapping_to_grow" => {
                let slides = self.shared().kinds.iter().any(|(window, _)| window.is_some());
                let given = operands.get(1..).unwrap_or_default();
                let late = |()| self.makes(&self.shared()).mask(pass, self.window(), given);
                let late = slides.then_some(()).map(late).transpose()?;
                Ok(mapping([input.share()].into_iter().chain(late)))
            }
            "rotary" => {
                let rotary = decoder.rotary.as_ref().ok_or_else(|| unknown("a model", "rotations"))?;
                let site = rotary.site.ok_or_else(|| unknown("a model", "rotations"))?;
                let positions = operands.get(1).unwrap_or(&Held::NONE).tensors()?.into_iter().map(Rc::new).collect();
                let given = Rotary { hidden: tokens(pass)?, positions };
                let Rotations { cosines, sines, .. } = rotary.run(site, self.round.get(), pass, given)?;
                Ok(Held::Tuple(vec![Held::Tensors(cosines), Held::Tensors(sines)]))
            }
            "note" => {
                self.layers.borrow_mut().push(input.flow());
                Ok(Held::Plain(Tree::Tuple(self.layers.borrow().clone())))
            }
            "layer" => self.layer(pass, input),
            "first" => match input {
                Held::Tuple(items) => Ok(items.first().map_or(Held::NONE, Held::share)),
                _ => Err(Raise::type_error("the layer returns a tuple, whose first element its caller takes").into()),
            },
            "norm" => {
                let hidden = tokens(pass)?;
                let hidden = decoder.norm.run(pass, &hidden)?;
                Held::of_tokens(pass, &hidden)
            }
            "restore" => input.map(pass, |part, states| {
                let &Part { length, .. } = pass.layout.parts.get(part).ok_or_else(no_part)?;
                let width = states.size().last().copied().unwrap_or(0);
                Ok(states.f_view([-1, length, width])?)
            }),
            "record" => {
                let mut fields = vec![("last_hidden_state", input.flow())];
                match self.shared().field("past_key_values", 0, pass)? {
                    Tree::None => {}
                    caches => fields.push(("past_key_values", caches)),
                }
                // Of the object that is returned, who looks later sees what is added to it.
                fields.extend(self.collected(pass, &tokens(pass)?));
                Ok(Held::Whole(Tree::Record { class: decoder.about.blueprint.root.returns.base(), fields }))
            }
            _ => Err(unknown("a base model", name).into()),
        }
    }
}
