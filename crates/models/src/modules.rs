//! Single modules, as users' code reads and calls them.

use std::rc::Rc;

use engine::output::ModelOutput;
use engine::{Attention, Inputs, Layout, Observer, Packed, Part, Tree};
use interpreter::raise::{Kind as Exception, Raise};
use interpreter::{Args, Machine, Value};
use kernels::Products;
use serde_json::Value as Json;
use tch::Tensor;

use crate::builder::Node;
use crate::cache::{Cache, Caches};
use crate::config::Config;
use crate::decoder::{Form, Rotary, Shared, Stream};
use crate::pass::{Arguments, Flow, Input as _, Output, Pass, Result};
use crate::settings::Settings;
use crate::tokens::Tokens;
use crate::transformer::Transformer;

/// Names of modules' plain attributes, see [`attribute`]: they are for looking.
pub const ATTRIBUTES: &[&str] = &[
    "attention_dropout",
    "attention_scaling",
    "bias",
    "config",
    "device",
    "dtype",
    "elementwise_affine",
    "embed_dim",
    "embedding_dim",
    "eps",
    "generation_config",
    "gradient_checkpointing",
    "head_dim",
    "hidden_size",
    "in_features",
    "inplace",
    "intermediate_size",
    "inv_freq",
    "is_causal",
    "is_cross_attention",
    "layer_idx",
    "max_seq_len_cached",
    "nf",
    "normalized_shape",
    "num_embeddings",
    "num_heads",
    "num_key_value_groups",
    "nx",
    "original_inv_freq",
    "original_max_seq_len",
    "out_features",
    "p",
    "padding_idx",
    "rope_type",
    "scaling",
    "split_size",
    "training",
    "variance_epsilon",
    "vocab_size",
    "weight",
];

/// Reads an attribute of a module. `None` where Hugging Face's has no such attribute.
pub fn attribute(model: &Transformer, machine: &Machine, node: &Node, name: &str) -> Option<Value> {
    let weight = |tensor: &Tensor| torch::Tensor::weight(tensor.shallow_clone()).value();
    let dense = |matrix: &kernels::Weight| match torch::Tensor::of_weight(machine, matrix) {
        Ok(shown) => Some(shown),
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
        (Node::Root | Node::Base, "dtype" | "device") => {
            // Of a tensor like it: the weight itself need not be unpacked for that.
            let like = Tensor::f_zeros([0], (model.head.weight.kind(), model.head.weight.device())).ok()?;
            let Value::Host(tensor) = torch::Tensor::new(like).value() else { return None };
            match tensor.get_attribute(machine, name) {
                Ok(interpreter::Outcome::Ready(value)) => value,
                _ => return None,
            }
        }
        (Node::Root | Node::Base | Node::Attention(_) | Node::Rotary, "config") => model.config_value(),
        (Node::Mlp(_), "config") if model.llama() => model.config_value(),
        (Node::Root, "generation_config") => model.generation_config(),
        (Node::Root | Node::Base, "vocab_size") => number("vocab_size")?,
        (Node::Base, "embed_dim") if !model.llama() => number("hidden_size")?,
        (Node::Base, "padding_idx") if model.llama() => config_value(&model.config, "pad_token_id"),
        (Node::Base, "gradient_checkpointing") => Value::Bool(false),

        (Node::Linear(linear), "weight") => matrix(&linear.weight)?,
        (Node::Linear(linear), "bias") => linear.bias.as_ref().map_or(Value::None, weight),
        (Node::Linear(linear), "out_features") => side(&linear.weight, 0),
        (Node::Linear(linear), "in_features") => side(&linear.weight, 1),
        (Node::Conv1D(conv), "weight") => weight(&dense(&conv.weight)?.tch().transpose(0, 1)),
        (Node::Conv1D(conv), "bias") => weight(&conv.bias),
        (Node::Conv1D(conv), "nx") => side(&conv.weight, 1),
        (Node::Conv1D(conv), "nf") => side(&conv.weight, 0),
        (Node::LayerNorm(norm), "weight") => weight(&norm.weight),
        (Node::LayerNorm(norm), "bias") => weight(&norm.bias),
        (Node::LayerNorm(norm), "eps") => Value::Float(norm.eps),
        (Node::LayerNorm(norm), "normalized_shape") => Value::tuple(vec![size(&norm.weight, 0)]),
        (Node::LayerNorm(_), "elementwise_affine") => Value::Bool(true),
        (Node::RmsNorm(norm), "weight") => weight(&norm.weight),
        (Node::RmsNorm(norm), "variance_epsilon") => Value::Float(norm.eps),
        (Node::Embedding(embedding), "weight") => weight(&embedding.weight),
        (Node::Embedding(embedding), "num_embeddings") => size(&embedding.weight, 0),
        (Node::Embedding(embedding), "embedding_dim") => size(&embedding.weight, 1),
        (Node::Embedding(embedding), "padding_idx") => embedding.padding.map_or(Value::None, Value::Int),
        (Node::Dropout(dropout), "p") => Value::Float(dropout.probability),
        (Node::Dropout(_), "inplace") => Value::Bool(false),

        (Node::Layer(_), "hidden_size") if model.llama() => number("hidden_size")?,
        (Node::Mlp(_), "hidden_size" | "intermediate_size") if model.llama() => number(name)?,
        (Node::Attention(layer), "layer_idx") => Value::Int(i64::try_from(*layer).unwrap_or(i64::MAX)),
        (Node::Attention(layer), "scaling") => Value::Float(model.decoder.scaling(*layer)),
        (Node::Attention(_), "is_causal") => Value::Bool(true),
        (Node::Attention(_), "head_dim") => Value::Int(model.head_dim()?),
        (Node::Attention(_), _) if model.llama() => match name {
            "num_key_value_groups" => {
                let heads = model.config.size("num_attention_heads").ok()?;
                Value::Int(heads / model.config.size("num_key_value_heads").ok()?)
            }
            "attention_dropout" => config_value(&model.config, name),
            _ => return None,
        },
        (Node::Attention(_), "num_heads") => number("num_attention_heads")?,
        (Node::Attention(_), "embed_dim" | "split_size") => number("hidden_size")?,
        (Node::Attention(_), "is_cross_attention") => Value::Bool(false),
        (Node::Attention(_), "scale_attn_weights" | "scale_attn_by_inverse_layer_idx" | "reorder_and_upcast_attn") => {
            config_value(&model.config, name)
        }

        (Node::Rotary, "inv_freq" | "original_inv_freq") => weight(model.decoder.frequencies()?),
        (Node::Rotary, "attention_scaling") => Value::Float(1.0),
        (Node::Rotary, "rope_type") => match model.config.get("rope_parameters")?.get("rope_type")? {
            Json::String(kind) => kind.as_str().into(),
            _ => return None,
        },
        (Node::Rotary, "max_seq_len_cached" | "original_max_seq_len") => number("max_position_embeddings")?,
        _ => return None,
    })
}

fn config_value(config: &Config, name: &str) -> Value {
    config.get(name).map_or(Value::None, crate::settings::value_of)
}

/// Shows `model.config`.
pub fn config_object(config: &Rc<Config>, llama: bool) -> Value {
    Value::host(Settings::of_config(if llama { "LlamaConfig" } else { "GPT2Config" }, Rc::clone(config)))
}

/// Runs a module on a user's own values.
///
/// # Errors
/// The exception that the module raises.
pub fn call(
    model: &Transformer,
    machine: &Machine,
    node: &Node,
    args: &Args,
    observer: &mut dyn Observer<torch::Tensor>,
) -> std::result::Result<Value, Raise> {
    let job = torch::Job::of(machine);
    if job.casts() {
        return Err(Raise::runtime_error(
            "calling a module of the served model inside torch.autocast is not supported by this server: it computes in the \
             type of its weights",
        ));
    }
    machine.charge_fuel(fuel(args))?;
    let paying = torch::Paying::new(machine, &job);
    // As in a pass, so that a module gives the same bits in both.
    let products = match node {
        Node::Linear(linear) if linear.site == model.head.site => model.products(job.rows()).of_head(),
        _ => model.products(job.rows()),
    };
    let run = || match run(model, node, args, observer, products) {
        Ok(flow) => value(&flow),
        Err(stop) => match engine::Interrupt::from(stop) {
            engine::Interrupt::Failed(raise) => Err(raise),
            engine::Interrupt::Enough => Err(Raise::runtime_error("the module was interrupted")),
        },
    };
    let result = if job.gradients() { run() } else { tch::no_grad(run) };
    paying.settle(result)
}

/// One unit, and one more for every 64 elements that go in: each meets a row of weights.
fn fuel(args: &Args) -> u64 {
    let values = args.positional.iter().chain(args.keyword.iter().map(|(_, value)| value));
    1 + values.filter_map(torch::Tensor::of).map(|tensor| tensor.elements() / 64).sum::<u64>()
}

fn run(
    model: &Transformer,
    node: &Node,
    args: &Args,
    observer: &mut dyn Observer<torch::Tensor>,
    products: Products,
) -> Result<Flow> {
    let decoder = &*model.decoder;
    let about = decoder.describe();
    let mut pass = Pass::new(observer, Layout { parts: vec![batch(args)] }, products);
    let pass = &mut pass;
    let output = match node {
        Node::Linear(linear) => linear.run(pass, &input(pass, args, "input")?)?,
        Node::Conv1D(conv) => conv.run(pass, &input(pass, args, "x")?)?,
        Node::LayerNorm(norm) => norm.run(pass, &input(pass, args, "input")?)?,
        Node::RmsNorm(norm) => norm.run(pass, &input(pass, args, "hidden_states")?)?,
        Node::Embedding(embedding) => embedding.run(pass, &input(pass, args, "input")?)?,
        Node::Dropout(dropout) => dropout.run(pass, &input(pass, args, "input")?)?,
        Node::Activation(activation) => activation.run(pass, &input(pass, args, "input")?)?,
        Node::Mlp(layer) => {
            let name = if model.llama() { "x" } else { "hidden_states" };
            decoder.mlp(*layer, pass, &input(pass, args, name)?)?
        }
        Node::Layer(layer) => decoder.layer(*layer, pass, stream(pass, args, about.layer_form)?)?,
        Node::Attention(layer) => {
            let attended = decoder.attention(*layer, pass, stream(pass, args, about.attention_form)?)?;
            return Ok(attended.show(pass));
        }
        Node::Rotary => {
            let arguments = arguments(args, &["x", "position_ids"])?;
            let rotary =
                Rotary { hidden: Tokens::Packed(Tensor::new()), positions: Vec::new() }.read(pass, arguments)?;
            return Ok(decoder.rotate(pass, rotary)?.show(pass));
        }
        Node::List => {
            let message = "Module [ModuleList] is missing the required \"forward\" function";
            return Err(Raise::new(Exception::NotImplementedError, message).into());
        }
        Node::Root | Node::Base => {
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
    Part { segment: Some(0), rows, length }
}

/// Reads the one tensor that a module takes.
fn input(pass: &Pass<'_>, args: &Args, name: &'static str) -> Result<Tokens> {
    let given = arguments(args, &[name])?;
    if given.args.len() + given.kwargs.len() > 1 {
        return Err(Raise::type_error("forward() takes 2 positional arguments but more were given").into());
    }
    match given.args.into_iter().chain(given.kwargs.into_iter().map(|(_, flow)| flow)).next() {
        Some(flow) => pass.tokens(flow),
        None => Err(Raise::type_error(format!("forward() missing 1 required positional argument: '{name}'")).into()),
    }
}

fn stream(pass: &Pass<'_>, args: &Args, form: &'static Form) -> Result<Stream> {
    let mut signature = form.signature.to_vec();
    signature.extend(form.keyword);
    let arguments = arguments(args, &signature)?;
    let shared = Shared { attention: vec![Attention::Sdpa], masks: vec![None], past: vec![0], ..Shared::default() };
    let given = !arguments.args.is_empty() || arguments.kwargs.iter().any(|(name, _)| *name == "hidden_states");
    if !given {
        return Err(Raise::type_error("forward() missing 1 required positional argument: 'hidden_states'").into());
    }
    Stream { hidden: Tokens::Packed(Tensor::new()), shared: Rc::new(shared), form }.read(pass, arguments)
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
        return Ok(Tree::Leaf(Packed::Segments(vec![tensor])));
    }
    if let Some(cache) = Cache::of_value(value) {
        return Ok(Tree::Object(Rc::new(Caches(vec![Some(cache)]))));
    }
    if let Some(items) = engine::python::sequence(value) {
        return Ok(Tree::Tuple(items.iter().map(flow).collect::<std::result::Result<_, _>>()?));
    }
    Ok(match value {
        Value::None => Tree::None,
        Value::Bool(flag) => Tree::Bool(*flag),
        Value::Int(number) => Tree::Int(*number),
        Value::Float(number) => Tree::Float(*number),
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

/// Shows what a module returned for its only segment. Whether that comes of its parameters or of what it was given, nobody
/// says.
fn value(flow: &Flow) -> std::result::Result<Value, Raise> {
    let own = |tensor: &torch::Tensor| {
        tensor.set_learned(false);
        tensor.value()
    };
    Ok(match flow {
        Tree::None => Value::None,
        Tree::Bool(flag) => Value::Bool(*flag),
        Tree::Int(number) => Value::Int(*number),
        Tree::Float(number) => Value::Float(*number),
        Tree::Leaf(Packed::Tokens(tensor)) => own(tensor),
        Tree::Leaf(Packed::Segments(parts)) => parts.first().map_or(Value::None, own),
        Tree::Tuple(items) => Value::tuple(items.iter().map(value).collect::<std::result::Result<_, _>>()?),
        Tree::Record { class, fields } => {
            let fields = fields.iter().map(|(name, field)| Ok((*name, value(field)?)));
            Value::host(ModelOutput::new(class, fields.collect::<std::result::Result<_, Raise>>()?))
        }
        Tree::Object(object) => show_object(object, 0),
    })
}

/// Shows the caches of a pass as one segment sees them.
pub fn show_object(object: &Rc<dyn std::any::Any>, segment: usize) -> Value {
    let caches = object.downcast_ref::<Caches>();
    let own = caches.and_then(|caches| caches.0.get(segment)).and_then(Option::as_ref);
    own.map_or(Value::None, Cache::value)
}
