//! Single modules, as users' code reads and calls them.

use std::rc::Rc;

use engine::output::ModelOutput;
use engine::{
    Attention, Forwarded, Inputs, Interrupt, Layout, Observer, Only, Packed, Part, Segment, SegmentIndex, Site, Tree,
    Wants,
};
use interpreter::raise::{Kind as Exception, Raise};
use interpreter::{Args, Machine, Value};
use kernels::Products;
use tch::Tensor;

use crate::builder::Node;
use crate::cache::{Cache, Caches};
use crate::decoder::{Shared, Stream};
use crate::experts::Sparse;
use crate::family::{Form, NormKind};
use crate::nn::Table;
use crate::pass::{Arguments, Flow, Input as _, Nobody, Output, Pass, Result};
use crate::rotary::Rotary;
use crate::source::Shown;
use crate::tokens::{Recorder, Tokens};
use crate::transformer::Transformer;

/// Names of plain attributes that modules of any family may have, see [`attribute`]: they are for looking. Those of a
/// family's own come with its table.
pub const ATTRIBUTES: &[&str] = &[
    "bias",
    "config",
    "device",
    "down_proj",
    "down_proj_bias",
    "dtype",
    "elementwise_affine",
    "embed_scale",
    "embedding_dim",
    "eps",
    "gate_up_proj",
    "gate_up_proj_bias",
    "generation_config",
    "gradient_checkpointing",
    "in_features",
    "inplace",
    "inv_freq",
    "nf",
    "normalized_shape",
    "num_embeddings",
    "nx",
    "original_inv_freq",
    "out_features",
    "p",
    "padding_idx",
    "sinks",
    "training",
    "variance_epsilon",
    "vocab_size",
    "weight",
];

/// Reads an attribute of a module. `None` where Hugging Face's has no such attribute.
pub fn attribute(model: &Transformer, machine: &Machine, site: Site, name: &str) -> Option<Value> {
    let node = model.node(site)?;
    if let Some((_, value)) = model.attributes_of(site).iter().find(|(own, _)| *own == name) {
        return Some(if name == "config" { model.config_value() } else { crate::settings::value_of(value) });
    }
    let buffer = |tensor: &Tensor| torch::Tensor::weight(tensor.shallow_clone()).value();
    let weight = |tensor: &Tensor| torch::Tensor::weight(tensor.shallow_clone()).learned().value();
    let dense = |matrix: &kernels::Weight| match torch::Tensor::of_weight(machine, matrix) {
        Ok(shown) => Some(shown.learned()),
        Err(raise) => {
            // Where the job may not have a copy of it, it ends.
            raise.as_fatal().into_iter().for_each(|fatal| machine.cancel(fatal));
            None
        }
    };
    let matrix = |matrix: &kernels::Weight| dense(matrix).map(|shown| shown.value());
    let side = |matrix: &kernels::Weight, dim: usize| Value::Int(matrix.size().get(dim).copied().unwrap_or(0));
    let size = |tensor: &Tensor, dim: usize| Value::Int(tensor.size().get(dim).copied().unwrap_or(0));
    let number = |name: &str| model.config.size(name).map(Value::Int).ok();
    Some(match (node, name) {
        (_, "training") => Value::Bool(false),
        (Node::Root | Node::Around | Node::Base, "dtype" | "device") => {
            // Of a tensor like it: the weight itself need not be unpacked for that.
            let like =
                Tensor::f_zeros([0], (model.decoder.head.weight.kind(), model.decoder.head.weight.device())).ok()?;
            let Value::Host(tensor) = torch::Tensor::new(like).value() else { return None };
            match tensor.get_attribute(machine, name) {
                Ok(interpreter::Outcome::Ready(value)) => value,
                _ => return None,
            }
        }
        (Node::Root | Node::Around, "config") => model.whole_config_value(),
        (Node::Base, "config") => model.config_value(),
        (Node::Root, "generation_config") => model.generation_config(),
        (Node::Root, "vocab_size") if model.config.whole().is_some() => return None,
        (Node::Root | Node::Around | Node::Base, "vocab_size") => number("vocab_size")?,
        (Node::Base, "gradient_checkpointing") => Value::Bool(false),

        (Node::Linear(linear), "weight") => matrix(&linear.weight)?,
        (Node::Linear(linear), "bias") => linear.bias.as_ref().map_or(Value::None, weight),
        (Node::Linear(linear), "out_features") => side(&linear.weight, 0),
        (Node::Linear(linear), "in_features") => side(&linear.weight, 1),
        (Node::Conv1D(conv), "weight") => weight(&dense(&conv.weight)?.tch().transpose(0, 1)),
        (Node::Conv1D(conv), "bias") => conv.bias.as_ref().map_or(Value::None, weight),
        (Node::Conv1D(conv), "nx") => side(&conv.weight, 1),
        (Node::Conv1D(conv), "nf") => side(&conv.weight, 0),
        (Node::Norm(norm), "weight") => weight(&norm.weight),
        (Node::Norm(norm), "bias") => weight(norm.bias.as_ref()?),
        (Node::Norm(norm), "eps") if matches!(norm.kind, NormKind::Layer | NormKind::RmsOnePlus) => {
            Value::Float(norm.eps)
        }
        (Node::Norm(norm), "normalized_shape") if norm.bias.is_some() => Value::tuple(vec![size(&norm.weight, 0)]),
        (Node::Norm(norm), "elementwise_affine") if norm.bias.is_some() => Value::Bool(true),
        (Node::Norm(norm), "variance_epsilon") if matches!(norm.kind, NormKind::Rms | NormKind::RmsWide) => {
            Value::Float(norm.eps)
        }
        (Node::Embedding(embedding), "weight") => match &embedding.table {
            Table::Whole(table) => weight(table),
            Table::Apart(table) => matrix(table)?,
        },
        (Node::Embedding(embedding), "num_embeddings") => Value::Int(embedding.table.size()[0]),
        (Node::Embedding(embedding), "embedding_dim") => Value::Int(embedding.table.size()[1]),
        (Node::Embedding(embedding), "padding_idx") => embedding.padding.map_or(Value::None, Value::Int),
        (Node::Dropout(dropout), "p") => Value::Float(dropout.probability),
        (Node::Dropout(_), "inplace") => Value::Bool(false),

        (Node::Embedding(embedding), "embed_scale") => buffer(&embedding.scale.as_ref()?.squeeze()),
        (Node::Attention(layer), "sinks") => weight(model.decoder.at(*layer).ok()?.sinks()?),
        (Node::Router(layer), "weight") => matrix(&sparse(model, *layer)?.router.linear.weight)?,
        (Node::Router(layer), "bias") => weight(sparse(model, *layer)?.router.linear.bias.as_ref()?),
        (Node::Experts(layer), _) => {
            let experts = &sparse(model, *layer)?.experts;
            let stacked = experts.stacked(name, |matrix| dense(matrix).map(|shown| shown.tch().shallow_clone()))?;
            weight(&stacked)
        }
        (Node::Rotary, name) => buffer(model.decoder.rotary.as_ref()?.buffer(name)?),
        _ => return None,
    })
}

/// Lists a module's own parameters in the order in which Hugging Face's registers them.
pub fn parameters(model: &Transformer, node: &Node) -> Vec<&'static str> {
    let with = |bias: bool| if bias { vec!["weight", "bias"] } else { vec!["weight"] };
    match node {
        Node::Linear(linear) | Node::Conv1D(linear) => with(linear.bias.is_some()),
        Node::Norm(norm) => with(norm.bias.is_some()),
        Node::Embedding(_) => with(false),
        Node::Attention(layer) => match model.decoder.at(*layer).map(|layer| layer.sinks().is_some()) {
            Ok(true) => vec!["sinks"],
            _ => Vec::new(),
        },
        Node::Router(layer) => {
            sparse(model, *layer).map(|sparse| with(sparse.router.linear.bias.is_some())).unwrap_or_default()
        }
        Node::Experts(layer) => {
            let biased = sparse(model, *layer)
                .is_some_and(|sparse| sparse.experts.each.first().is_some_and(|expert| expert.gate_up.1.is_some()));
            match biased {
                true => vec!["gate_up_proj", "gate_up_proj_bias", "down_proj", "down_proj_bias"],
                false => vec!["gate_up_proj", "down_proj"],
            }
        }
        _ => Vec::new(),
    }
}

fn sparse(model: &Transformer, layer: usize) -> Option<&Sparse> {
    model.decoder.at(layer).ok()?.experts()
}

/// Runs a module on a user's own values.
///
/// # Errors
/// The exception that the module raises.
pub fn call(
    model: &Transformer,
    machine: &Machine,
    site: Site,
    (args, attention): (&Args, Attention),
) -> std::result::Result<Value, Raise> {
    let node = model.node(site).ok_or_else(no_module)?;
    let job = torch::Job::of(machine);
    refuse_casts(&job)?;
    machine.charge_fuel(fuel(args))?;
    let paying = torch::Paying::new(machine, &job);
    let products = products(model, node, &job);
    let run = || {
        let mut nobody = Nobody;
        let mut pass = Pass::new(&mut nobody, Layout { parts: vec![batch(args)] }, products);
        match run(model, node, (args, attention), &mut pass) {
            Ok(flow) => value(&flow, job.notes_learned() && learns(node, args)),
            Err(stop) => match Interrupt::from(stop) {
                Interrupt::Failed(raise) => Err(raise),
                Interrupt::Enough => Err(Raise::runtime_error("the module was interrupted")),
            },
        }
    };
    let result = if job.gradients() { run() } else { tch::no_grad(run) };
    paying.settle(result)
}

/// Runs a module by itself in the place of a pass, as a trace of it does.
///
/// # Errors
/// The observer's interrupt; the exception that the module raises.
pub fn forward(
    model: &Transformer,
    segment: &Segment<torch::Tensor>,
    (only, given): (&Only, &Args),
    observer: &mut dyn Observer<torch::Tensor>,
) -> std::result::Result<Forwarded<torch::Tensor>, Interrupt> {
    let node = model.node(only.site).ok_or_else(no_module)?;
    let job = torch::Job::of(&only.machine);
    refuse_casts(&job)?;
    only.machine.charge_fuel(fuel(given))?;
    let layout = Layout { parts: vec![batch(given)] };
    let mut run = || -> Result<Flow> {
        let mut args = given.clone();
        // The caller's own arguments are what is shown of the module itself; of those inside it, what it calls them with.
        if observer.wants(only.site, SegmentIndex(0)).input {
            let entered = observer.enter(only.site, arguments(given, &signature(model, node)?)?, &layout)?;
            if let Some(output) = entered.skipped {
                return Ok(observer.exit(only.site, output, &layout)?);
            }
            let positional =
                entered.inputs.args.iter().map(|flow| value(flow, false)).collect::<std::result::Result<_, _>>()?;
            let keyword = entered.inputs.kwargs.iter().map(|(name, flow)| Ok(((*name).into(), value(flow, false)?)));
            args = Args { positional, keyword: keyword.collect::<std::result::Result<_, Raise>>()? };
        }
        let mut inside = Entered { observer: &mut *observer, site: only.site };
        let mut pass = Pass::new(&mut inside, Layout { parts: vec![batch(&args)] }, products(model, node, &job));
        let recorder = |machine: &Machine| Recorder { machine: machine.clone(), job: torch::Job::of(machine) };
        pass.recorders = segment.recorder.iter().map(recorder).collect();
        run(model, node, (&args, segment.attention), &mut pass)
    };
    let output = if segment.recorder.is_some() { run() } else { tch::no_grad(run) };
    Ok(Forwarded { output: output.map_err(Interrupt::from)?, layout })
}

/// Watches what is inside a module that has been entered.
struct Entered<'a> {
    observer: &'a mut dyn Observer<torch::Tensor>,
    site: Site,
}

impl Observer<torch::Tensor> for Entered<'_> {
    fn wants(&self, site: Site, segment: SegmentIndex) -> Wants {
        let wants = self.observer.wants(site, segment);
        Wants { input: wants.input && site != self.site, ..wants }
    }

    fn live(&self, segment: SegmentIndex) -> bool {
        self.observer.live(segment)
    }

    fn enter(
        &mut self,
        site: Site,
        inputs: Arguments,
        layout: &Layout,
    ) -> std::result::Result<engine::Entered<torch::Tensor>, Interrupt> {
        self.observer.enter(site, inputs, layout)
    }

    fn exit(&mut self, site: Site, output: Flow, layout: &Layout) -> std::result::Result<Flow, Interrupt> {
        self.observer.exit(site, output, layout)
    }

    fn leaves_out(&self, site: Site, segment: SegmentIndex) -> bool {
        self.observer.leaves_out(site, segment)
    }

    fn moved(&self, segment: SegmentIndex, from: &torch::Tensor, to: &torch::Tensor) -> std::result::Result<(), Raise> {
        self.observer.moved(segment, from, to)
    }

    fn rest(&self) {
        self.observer.rest();
    }

    fn between_layers(&mut self) -> std::result::Result<(), Interrupt> {
        self.observer.between_layers()
    }

    fn written(&mut self, segment: SegmentIndex) -> std::result::Result<Vec<i64>, Raise> {
        self.observer.written(segment)
    }
}

fn no_module() -> Raise {
    Raise::runtime_error("the model has no such module")
}

fn refuse_casts(job: &torch::Job) -> std::result::Result<(), Raise> {
    if job.casts() {
        return Err(Raise::runtime_error(
            "calling a module of the served model inside torch.autocast is not supported by this server: it computes in the \
             type of its weights",
        ));
    }
    Ok(())
}

/// Returns how a module multiplies: as in a pass, so that it gives the same bits in both.
fn products(model: &Transformer, node: &Node, job: &torch::Job) -> Products {
    let products = model.products(job.rows());
    match node {
        Node::Linear(linear) if linear.site == model.decoder.head.site => products.of_head(),
        _ => products,
    }
}

/// Returns the names of a module's arguments.
fn signature(model: &Transformer, node: &Node) -> Result<Vec<&'static str>> {
    let calls = model.decoder.about.blueprint.calls;
    let of = |form: &'static Form| form.signature.iter().chain(form.keyword).copied().collect();
    Ok(match node {
        Node::Linear(_) | Node::Embedding(_) | Node::Dropout(_) | Node::Activation(_) => vec!["input"],
        Node::Conv1D(_) => vec!["x"],
        Node::Norm(norm) => vec![match norm.kind {
            NormKind::Layer => "input",
            NormKind::RmsOnePlus => "x",
            NormKind::Rms | NormKind::RmsWide => "hidden_states",
        }],
        Node::Mlp(layer) => vec![model.decoder.at(*layer)?.argument()],
        Node::Layer(_) => of(&calls.layer),
        Node::Attention(_) => of(&calls.attention),
        Node::Router(_) => vec!["hidden_states"],
        Node::Rotary => vec!["x", "position_ids", "layer_type"],
        Node::Experts(_) | Node::List | Node::Root | Node::Around | Node::Base => Vec::new(),
    })
}

/// One unit, and one more for every 64 elements that go in: each meets a row of weights.
fn fuel(args: &Args) -> u64 {
    let values = args.positional.iter().chain(args.keyword.iter().map(|(_, value)| value));
    1 + values.filter_map(torch::Tensor::of).map(|tensor| tensor.elements() / 64).sum::<u64>()
}

fn run(model: &Transformer, node: &Node, (args, attention): (&Args, Attention), pass: &mut Pass<'_>) -> Result<Flow> {
    let decoder = &model.decoder;
    let calls = decoder.about.blueprint.calls;
    let names = signature(model, node)?;
    let output = match node {
        Node::Linear(linear) => linear.run(pass, &input(pass, args, &names)?)?,
        Node::Conv1D(conv) => conv.run(pass, &input(pass, args, &names)?)?,
        Node::Norm(norm) => norm.run(pass, &input(pass, args, &names)?)?,
        Node::Embedding(embedding) => embedding.run(pass, &input(pass, args, &names)?)?,
        Node::Dropout(dropout) => dropout.run(pass, &input(pass, args, &names)?)?,
        Node::Activation(activation) => activation.run(pass, &input(pass, args, &names)?)?,
        Node::Mlp(layer) => {
            let hidden = input(pass, args, &names)?;
            return decoder.at(*layer)?.feed(pass, &hidden);
        }
        Node::Layer(index) => {
            let stream = stream(model, *index, pass, (args, attention), &calls.layer)?;
            let attended = decoder.layer(*index, pass, stream)?;
            return Ok(decoder.at(*index)?.show(pass, attended));
        }
        Node::Attention(index) => {
            let stream = stream(model, *index, pass, (args, attention), &calls.attention)?;
            let attended = decoder.at(*index)?.attend(*index, pass, stream)?;
            return Ok(attended.show(pass));
        }
        Node::Router(index) => {
            let hidden = input(pass, args, &names)?;
            let sparse = sparse(model, *index).ok_or_else(|| Raise::runtime_error("the layer has no router"))?;
            return sparse.router.call(pass, &hidden);
        }
        Node::Experts(_) => {
            let message =
                "calling a layer's experts by themselves is not supported by this server: call the block around them";
            return Err(Raise::new(Exception::NotImplementedError, message).into());
        }
        Node::Rotary => {
            let arguments = arguments(args, &names)?;
            let missing = || Raise::runtime_error("the model has no rotary embedding");
            let rotary = decoder.rotary.as_ref().ok_or_else(missing)?;
            let site = rotary.site.ok_or_else(missing)?;
            let rope = rotary.rope_of(&arguments)?;
            let given = Rotary { hidden: Tokens::Packed(Tensor::new()), positions: Vec::new() };
            let given = given.read(pass, arguments)?;
            return Ok(rotary.run(site, rope, pass, given)?.show(pass));
        }
        Node::List => {
            let message = "Module [ModuleList] is missing the required \"forward\" function";
            return Err(Raise::new(Exception::NotImplementedError, message).into());
        }
        Node::Root | Node::Around | Node::Base => {
            let message = "calling the whole model inside a block is not supported by this server: open a trace";
            return Err(Raise::new(Exception::NotImplementedError, message).into());
        }
    };
    Ok(pass.leaf(&output))
}

/// Returns rows and length of the first tensor among the arguments.
fn batch(args: &Args) -> Part {
    let mut values = args.positional.iter().chain(args.keyword.iter().map(|(_, value)| value));
    let sizes = values.find_map(torch::Tensor::of).map(|tensor| tensor.sizes()).unwrap_or_default();
    let (rows, length) = match sizes.as_slice() {
        &[rows, length, ..] => (rows, length),
        &[length] => (1, length),
        [] => (1, 1),
    };
    Part { segment: Some(SegmentIndex(0)), rows, length }
}

/// Reads the one tensor that a module takes.
fn input(pass: &Pass<'_>, args: &Args, names: &[&'static str]) -> Result<Tokens> {
    let given = arguments(args, names)?;
    if given.args.len() + given.kwargs.len() > 1 {
        return Err(Raise::type_error("forward() takes 2 positional arguments but more were given").into());
    }
    match given.args.into_iter().chain(given.kwargs.into_iter().map(|(_, flow)| flow)).next() {
        Some(flow) => pass.tokens(flow),
        None => {
            let name = names.first().copied().unwrap_or_default();
            Err(Raise::type_error(format!("forward() missing 1 required positional argument: '{name}'")).into())
        }
    }
}

fn stream(
    model: &Transformer,
    layer: usize,
    pass: &Pass<'_>,
    (args, attention): (&Args, Attention),
    form: &'static Form,
) -> Result<Stream> {
    let decoder = &model.decoder;
    let signature: Vec<&str> = form.signature.iter().chain(form.keyword).copied().collect();
    let arguments = arguments(args, &signature)?;
    let kinds = decoder.about.blueprint.kinds.iter().map(|kind| (kind.window, kind.rope)).collect::<Rc<[_]>>();
    let shared = Shared {
        attention: vec![decoder.about.attention(attention)],
        causal: decoder.about.blueprint.causal,
        numbers: Some((decoder.about.kind, decoder.about.device)),
        masks: kinds.iter().map(|_| vec![None]).collect(),
        kinds,
        rotary: decoder.rotary.as_ref().filter(|rotary| rotary.site.is_none()).cloned(),
        past: vec![0],
        ..Shared::default()
    };
    let given = !arguments.args.is_empty() || arguments.kwargs.iter().any(|(name, _)| *name == "hidden_states");
    if !given {
        return Err(Raise::type_error("forward() missing 1 required positional argument: 'hidden_states'").into());
    }
    let (hidden, kind) = (Tokens::Packed(Tensor::new()), decoder.kind(layer));
    Stream { hidden, shared: Rc::new(shared), kind, form }.read(pass, arguments)
}

/// Takes Python's arguments, whose names must be among those given.
fn arguments(args: &Args, names: &[&'static str]) -> std::result::Result<Arguments, Raise> {
    let mut inputs = Inputs { args: Vec::new(), kwargs: Vec::new() };
    for value in &args.positional {
        inputs.args.push(flow(value)?);
    }
    for (name, value) in &args.keyword {
        let known = names.iter().find(|known| ***known == **name);
        let known =
            known.ok_or_else(|| Raise::type_error(format!("forward() got an unexpected keyword argument '{name}'")))?;
        inputs.kwargs.push((known, flow(value)?));
    }
    Ok(inputs)
}

fn flow(value: &Value) -> std::result::Result<Flow, Raise> {
    if let Some(tensor) = torch::Tensor::of(value) {
        return Ok(Tree::Leaf(Packed::Parts(vec![tensor])));
    }
    if let Some(cache) = Cache::of_value(value) {
        let paired = false;
        return Ok(Tree::Object(Rc::new(Caches { all: vec![Some(cache)], paired })));
    }
    if let Some(items) = engine::python::sequence(value) {
        return Ok(Tree::Tuple(items.iter().map(flow).collect::<std::result::Result<_, _>>()?));
    }
    Ok(match value {
        Value::None => Tree::None,
        Value::Bool(flag) => Tree::Bool(*flag),
        Value::Int(number) => Tree::Int(*number),
        Value::Float(number) => Tree::Float(*number),
        Value::Str(text) => Tree::Object(Rc::new(text.to_string())),
        other => {
            let name = interpreter::types::type_name(other);
            return Err(Raise::type_error(format!("a model cannot compute with a value of type '{name}'")));
        }
    })
}

/// Says whether a value that stands in the place of one of the model's is made of what comes of its parameters.
pub fn is_learned(value: &Value) -> bool {
    match value {
        Value::None | Value::Bool(_) | Value::Int(_) => true,
        Value::Tuple(items) => items.iter().all(is_learned),
        value => torch::Tensor::of(value).is_some_and(|tensor| tensor.is_learned()),
    }
}

/// Has the tensors of a value that a block is given require no grad, and come of no parameters.
pub fn forget(value: &Value) {
    if let Some(tensor) = torch::Tensor::of(value) {
        tensor.forget();
    } else if let Some(output) = engine::python::host::<ModelOutput>(value) {
        output.fields().iter().for_each(|(_, field)| forget(field));
    } else if let Value::Tuple(items) = value {
        items.iter().for_each(forget);
    } else if let Value::Dict(dict) = value {
        dict.entries().iter().for_each(|(_, entry)| forget(entry));
    }
}

/// Says whether what a module returns comes of parameters: its own, or those that its arguments come of.
fn learns(node: &Node, args: &Args) -> bool {
    match node {
        // It computes without gradients.
        Node::Rotary => false,
        Node::Dropout(_) | Node::Activation(_) => {
            let given = args.positional.iter().chain(args.keyword.iter().map(|(_, value)| value));
            given.filter_map(torch::Tensor::of).any(|tensor| tensor.is_learned())
        }
        _ => true,
    }
}

/// Shows what a module returned, or was given, for its only segment, and notes whether that comes of parameters.
fn value(flow: &Flow, learned: bool) -> std::result::Result<Value, Raise> {
    let own = |tensor: &torch::Tensor| {
        tensor.set_learned(learned);
        tensor.value()
    };
    Ok(match flow {
        Tree::None => Value::None,
        Tree::Bool(flag) => Value::Bool(*flag),
        Tree::Int(number) => Value::Int(*number),
        Tree::Float(number) => Value::Float(*number),
        Tree::Leaf(Packed::Tokens(tensor)) => own(tensor),
        Tree::Leaf(Packed::Parts(parts)) => parts.first().map_or(Value::None, own),
        Tree::Leaf(Packed::Some(parts)) => parts.first().and_then(Option::as_ref).map_or(Value::None, own),
        Tree::Tuple(items) => {
            Value::tuple(items.iter().map(|item| value(item, learned)).collect::<std::result::Result<_, _>>()?)
        }
        Tree::Dict(entries) => {
            let entries = entries.iter().map(|(name, entry)| Ok((*name, value(entry, learned)?)));
            Value::dict(entries.collect::<std::result::Result<Vec<_>, Raise>>()?)
        }
        Tree::Record { class, fields } => {
            let fields = fields.iter().map(|(name, field)| Ok((*name, value(field, learned)?)));
            Value::host(ModelOutput::new(class, fields.collect::<std::result::Result<_, Raise>>()?))
        }
        Tree::Object(object) => show_object(object, 0),
    })
}

/// Shows the caches of a pass as the job of one part sees them, a text, or what an operation has for each part.
pub fn show_object(object: &Rc<dyn std::any::Any>, part: usize) -> Value {
    if let Some(text) = object.downcast_ref::<&'static str>() {
        return (*text).into();
    }
    if let Some(shown) = object.downcast_ref::<Shown>() {
        return shown.0.get(part).cloned().unwrap_or(Value::None);
    }
    object.downcast_ref::<Caches>().map_or(Value::None, |caches| caches.value(part))
}
