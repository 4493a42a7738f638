//! Makes a decoder of a family's blueprint: the module tree, and the weights that are read into it.

use std::collections::BTreeSet;
use std::rc::Rc;

use kernels::{Along, Keep, Weight, varlen};
use tch::{Device, Kind, Tensor};

use crate::attention::Scores;
use crate::attention_function::Functions;
use crate::builder::{Builder, Node};
use crate::config::Config;
use crate::decoder::{Decoder, Description};
use crate::embedding::Embed;
use crate::error::LoadError;
use crate::experts::{Expert, Experts, Router, Sparse};
use crate::family::{self, Blueprint};
use crate::feed_forward::{FeedForward, Way};
use crate::forward::Forwards;
use crate::layer::{Layer, Module, Step};
use crate::leaves::Leaves;
use crate::matrix::Block;
use crate::nn::Linear;
use crate::rotary::RotaryEmbedding;
use crate::self_attention::{Projections, SelfAttention};
use crate::source::Loop;

type Result<T> = std::result::Result<T, LoadError>;

/// Makes the decoder that a configuration asks for.
///
/// # Errors
/// For settings that are not supported, and weights that do not fit them.
pub fn assemble(
    config: &Config,
    mut blueprint: Blueprint,
    builder: &mut Builder<'_>,
    (kind, device): (Kind, Device),
) -> Result<Decoder> {
    let (width, vocabulary) = (config.size("hidden_size")?, config.size("vocab_size")?);
    let root = builder.open("", &blueprint.root.class, Node::Root);
    builder.leave_out(std::mem::take(&mut blueprint.root.absent));
    let around = blueprint.root.around.as_ref().map(|about| builder.open(about.name, about.class, Node::Around));
    let base = builder.open(blueprint.root.base.0, &blueprint.root.base.1, Node::Base);
    builder.describe(base, &blueprint.root.attributes);
    let about = &blueprint.embedding;
    let keep = if blueprint.head.tied { Keep::Both } else { Keep::Plain };
    let described = (about.class.as_str(), about.padding, about.scale);
    let words = builder.embedding(about.name, described, [vocabulary, width], Some(keep))?;
    let positions = match about.positions {
        Some((name, entries)) => Some(builder.embedding(name, ("Embedding", None, None), [entries, width], None)?),
        None => None,
    };
    let dropout = about.dropout.map(|(name, probability)| builder.dropout(name, probability));
    let embedding = Embed { words, positions, dropout };
    builder.open(blueprint.layers, "ModuleList", Node::List);
    let how = How { half: blueprint.rotary.as_ref().is_some_and(|rotary| rotary.half), eager: blueprint.eager };
    let mut layers = Vec::with_capacity(blueprint.layer.len());
    for (index, layer) in blueprint.layer.iter().enumerate() {
        builder.enter(Some(index));
        layers.push(add_layer(builder, (index, layer), width, how)?);
    }
    builder.enter(None);
    builder.close();
    let norm = builder.norm(blueprint.norm.0, &blueprint.norm.1, width)?;
    let rotary = match blueprint.rotary.take() {
        Some(about) => Some(Rc::new(add_rotary(builder, about, blueprint.positions, (kind, device))?)),
        None => None,
    };
    builder.close();
    if around.is_some() {
        builder.close();
    }
    let head = builder.head("lm_head", &embedding.words, &blueprint.head)?;
    builder.close();
    let sources = &blueprint.sources;
    let forwards = Forwards {
        root: builder.operations(root, sources.root, |name| match name {
            "base" => around.or(Some(base)),
            "head" => Some(head.site),
            _ => None,
        })?,
        around: match around {
            Some(around) => Some(builder.operations(around, sources.around, |name| match name {
                "embed" => Some(embedding.words.site),
                "base" => Some(base),
                _ => None,
            })?),
            None => None,
        },
        base: builder.operations_in_rounds(
            base,
            sources.base,
            |name, round| match name {
                "embed" => Some(embedding.words.site),
                "embed_positions" => embedding.positions.as_ref().map(|table| table.site),
                "drop" => embedding.dropout.as_ref().map(|dropout| dropout.site),
                "rotary" => rotary.as_ref().and_then(|rotary| rotary.site),
                "layer" => layers.get(round).map(|layer| layer.site),
                "norm" => Some(norm.site),
                _ => None,
            },
            |within| match within {
                Loop::Layers => layers.len(),
                Loop::Types => rotary.as_ref().map_or(0, |rotary| rotary.ropes.len()),
            },
        )?,
    };
    builder.end();
    let windows: Rc<[Option<i64>]> = layers.iter().map(|layer| blueprint.kinds.get(layer.kind)?.window).collect();
    let head_dim = layers.iter().find_map(Layer::head_dim).unwrap_or(0);
    let about = Description {
        root,
        around,
        base,
        layers: layers.iter().map(|layer| layer.site).collect(),
        windows,
        kind,
        device,
        varlen: !blueprint.eager && blueprint.is_causal() && varlen::has_kernels(kind, device, head_dim),
        blueprint,
    };
    let decoder = Decoder { about, embedding, layers, norm, rotary, head, forwards };
    builder.schema.layers.clone_from(&decoder.about.layers);
    builder.schema.execution = decoder.order();
    builder.schema.windows =
        decoder.about.windows.iter().copied().flatten().collect::<BTreeSet<_>>().into_iter().collect();
    builder.schema.called = [Some(root), around, Some(base)].into_iter().flatten().collect();
    Ok(decoder)
}

/// What all layers' attention has in common.
#[derive(Clone, Copy)]
struct How {
    /// Each pair's cosine comes once.
    half: bool,
    /// There is no other way to compute it.
    eager: bool,
}

fn add_layer(
    builder: &mut Builder<'_>,
    (index, layer): (usize, &family::Layer),
    width: i64,
    how: How,
) -> Result<Layer> {
    let site = builder.open(&index.to_string(), &layer.class, Node::Layer(index));
    builder.describe(site, &layer.attributes);
    let mut modules = Vec::with_capacity(layer.modules.len());
    for (name, module) in &layer.modules {
        modules.push(match module {
            family::Module::Norm(norm) => Module::Norm(builder.norm(name, norm, width)?),
            family::Module::Dropout(probability) => Module::Dropout(builder.dropout(name, *probability)),
            family::Module::Attention(about) => Module::Attention(add_attention(builder, name, (index, about), how)?),
            family::Module::FeedForward(about) => Module::FeedForward(add_feed_forward(builder, name, (index, about))?),
            family::Module::Experts(about) => Module::Experts(add_experts(builder, name, (index, about), width)?),
        });
    }
    builder.close();
    let mut steps = Vec::with_capacity(layer.steps.len());
    for step in &layer.steps {
        steps.push(match step {
            family::Step::Add(from, to) => Step::Add(*from, *to),
            family::Step::Run(name, from, to) => {
                let module = layer.modules.iter().position(|(module, _)| module == name);
                Step::Run(module.ok_or_else(|| LoadError::Table((*name).into()))?, *from, *to)
            }
        });
    }
    let names: Vec<&'static str> = layer.modules.iter().map(|(name, _)| *name).collect();
    let called = |name: &str| Some(modules.get(names.iter().position(|own| *own == name)?)?.site());
    let operations = builder.operations(site, layer.source, called)?;
    Ok(Layer { site, kind: layer.kind, names, modules, steps, returns_weights: layer.returns_weights, operations })
}

fn add_rotary(
    builder: &mut Builder<'_>,
    about: family::Rotary,
    positions: Option<i64>,
    (kind, device): (Kind, Device),
) -> Result<RotaryEmbedding> {
    let site = about.module.map(|(name, class)| builder.plain(name, &class, Node::Rotary));
    if let Some(site) = site {
        builder.describe(site, &about.attributes);
    }
    let mut ropes = about.ropes;
    ropes.iter_mut().try_for_each(|rope| rope.place(device))?;
    Ok(RotaryEmbedding {
        site,
        ropes,
        types: about.types,
        keyword: about.keyword,
        wide: about.wide,
        half: about.half,
        kind,
        positions,
    })
}

fn add_attention(
    builder: &mut Builder<'_>,
    name: &str,
    (index, about): (usize, &family::Attention),
    how: How,
) -> Result<SelfAttention> {
    let site = builder.open(name, &about.class, Node::Attention(index));
    builder.describe(site, &about.attributes);
    let sinks = match about.sinks {
        Some(parameter) => {
            let name = builder.path(parameter);
            Some(builder.read_named(&name, &[about.heads])?)
        }
        None => None,
    };
    let together = match (&about.projections, &about.head_norms) {
        (family::Projections::Separate(names), None) => names.as_slice(),
        _ => &[],
    };
    let built = Leaves::add(builder, &about.modules, None, together)?;
    builder.close();
    let projections = match about.projections {
        family::Projections::Separate([query, key, value]) => {
            Projections::Separate([built.linear(query)?, built.linear(key)?, built.linear(value)?])
        }
        family::Projections::Packed(all, cut) => Projections::Packed(built.linear(all)?, cut),
    };
    let head_norms = match &about.head_norms {
        Some(norms) => Some((norms.over, [built.norm(norms.names[0])?, built.norm(norms.names[1])?])),
        None => None,
    };
    let mut operations = builder.operations(site, about.source, |name| built.site(name))?;
    builder.functions(&mut operations, about.functions, &|name| built.site(name))?;
    let functions = Functions::add(builder, &operations, about, how.eager)?.map(Box::new);
    Ok(SelfAttention {
        site,
        class: about.class.clone(),
        operations,
        functions,
        told: about.told,
        projections,
        head_norms,
        turn: about.turn.map(|turn| (turn, how.half)),
        heads: about.heads,
        key_heads: about.key_heads,
        head_dim: about.head_dim,
        scores: Scores {
            scaling: about.scaling,
            cap: about.cap,
            wide: about.wide,
            sinks,
            dropout: built.dropout(about.weights_dropout)?,
        },
        output: built.linear(about.output)?,
        dropout: built.dropout(about.dropout)?,
        leaves: built,
    })
}

fn add_feed_forward(
    builder: &mut Builder<'_>,
    name: &str,
    (index, about): (usize, &family::FeedForward),
) -> Result<FeedForward> {
    let site = builder.open(name, &about.class, Node::Mlp(index));
    builder.describe(site, &about.attributes);
    let summed = match about.way {
        family::Way::Gated { down, .. } => Some(down),
        family::Way::Plain { output, .. } => Some(output),
        // A rank's rows of the first product are no halves that belong together.
        family::Way::GatedTogether { .. } => None,
    };
    let together = match about.way {
        family::Way::Gated { gate, up, .. } => vec![gate, up],
        _ => Vec::new(),
    };
    let built = Leaves::add(builder, &about.modules, summed, &together)?;
    builder.close();
    let act = |name| built.activation(name);
    let way = match about.way {
        family::Way::Gated { gate, up, down, act: function } => Way::Gated {
            gate: built.linear(gate)?,
            up: built.linear(up)?,
            down: built.linear(down)?,
            act: act(function)?,
        },
        family::Way::GatedTogether { gate_up, down, act: function } => {
            Way::GatedTogether { gate_up: built.linear(gate_up)?, down: built.linear(down)?, act: act(function)? }
        }
        family::Way::Plain { input, act: function, output, dropout } => Way::Plain {
            input: built.linear(input)?,
            act: act(function)?,
            output: built.linear(output)?,
            dropout: built.dropout(dropout)?,
        },
    };
    let operations = builder.operations(site, about.source, |name| built.site(name))?;
    Ok(FeedForward { site, argument: about.argument, way, operations, leaves: built })
}

fn add_experts(
    builder: &mut Builder<'_>,
    name: &str,
    (index, about): (usize, &family::Experts),
    width: i64,
) -> Result<Sparse> {
    // Checkpoints may have a block of another name, with each expert's weights apart.
    let outer = builder.path("");
    let apart = about.apart.as_ref().filter(|apart| {
        let first = format!("{outer}{}.experts.0.{}.weight", apart.block, apart.names[0]);
        builder.has(&first)
    });
    let site = builder.open(name, &about.class, Node::Mlp(index));
    builder.describe(site, &about.attributes);
    let router_name = match apart {
        Some(apart) => format!("{outer}{}.{}", apart.block, apart.router),
        None => builder.path(about.router.0),
    };
    let weight = builder.read_named(&format!("{router_name}.weight"), &[about.count, width])?;
    let bias = match about.biased {
        true => Some(builder.read_named(&format!("{router_name}.bias"), &[about.count])?),
        false => None,
    };
    let each = match apart {
        Some(apart) => read_apart(builder, &format!("{outer}{}.experts", apart.block), apart, about, width)?,
        None => {
            let path = builder.path(about.experts.0);
            read_together(builder, &path, about, width)?
        }
    };
    let add_router = |builder: &mut Builder<'_>| {
        let site = builder.plain(about.router.0, &about.router.1, Node::Router(index));
        builder.describe(site, &vec![("top_k", about.top.into()), ("num_experts", about.count.into())]);
        site
    };
    let early = about.router_first.then(|| add_router(builder));
    let experts = builder.open(about.experts.0, &about.experts.1, Node::Experts(index));
    builder.describe(experts, &vec![("num_experts", about.count.into())]);
    let act = match about.gate {
        family::Gate::Plain(function, class) => Some(builder.activation("act_fn", function, class)),
        family::Gate::Clamped { .. } => None,
    };
    builder.close();
    let router = early.unwrap_or_else(|| add_router(builder));
    builder.close();
    let linear = Rc::new(Linear { site: router, weight: Rc::new(Weight::new(&weight)?), bias, share: None });
    let operations = builder.operations(site, about.source, |name| match name {
        "router" => Some(router),
        "experts" => Some(experts),
        _ => None,
    })?;
    Ok(Sparse {
        site,
        operations,
        router: Router { site: router, linear, top: about.top, score: about.score },
        experts: Experts { site: experts, gate: about.gate, act, each: Rc::new(each), biased: about.biased },
        returns_scores: about.returns_scores,
    })
}

fn read_apart(
    builder: &mut Builder<'_>,
    path: &str,
    apart: &family::Apart,
    about: &family::Experts,
    width: i64,
) -> Result<Vec<Expert>> {
    let [gate, up, down] = apart.names;
    let inner = about.inner;
    let mut all = Vec::new();
    for number in 0..about.count {
        let block = |name: &str, size| Block::new(format!("{path}.{number}.{name}.weight"), size);
        let both = vec![block(gate, [inner, width]), block(up, [inner, width])];
        let gate_up = builder.matrix(both, Along::Outputs, Keep::Packed, None)?;
        let down = builder.matrix(vec![block(down, [width, inner])], Along::Outputs, Keep::Packed, None)?;
        all.push(Expert { gate_up: (gate_up, None), down: (down, None) });
    }
    Ok(all)
}

fn read_together(builder: &mut Builder<'_>, path: &str, about: &family::Experts, width: i64) -> Result<Vec<Expert>> {
    let (count, inner) = (about.count, about.inner);
    let (mut gate_up_bias, mut down_bias) = (None, None);
    if about.biased {
        gate_up_bias = Some(builder.read_named(&format!("{path}.gate_up_proj_bias"), &[count, 2 * inner])?);
        down_bias = Some(builder.read_named(&format!("{path}.down_proj_bias"), &[count, width])?);
    }
    let bias = |all: &Option<Tensor>, number: i64| all.as_ref().map(|all| all.f_select(0, number)).transpose();
    let mut all = Vec::new();
    for number in 0..count {
        let mut read = |name: &str, [outputs, inputs]: [i64; 2], bias: Option<Tensor>| -> Result<_> {
            let sides = if about.biased { [inputs, outputs] } else { [outputs, inputs] };
            let shape = vec![count, sides[0], sides[1]];
            let block = Block { name: format!("{path}.{name}"), shape, index: Some(number), turned: about.biased };
            Ok((builder.matrix(vec![block], Along::Outputs, Keep::Packed, bias.as_ref())?, bias))
        };
        all.push(Expert {
            gate_up: read("gate_up_proj", [2 * inner, width], bias(&gate_up_bias, number)?)?,
            down: read("down_proj", [width, inner], bias(&down_bias, number)?)?,
        });
    }
    Ok(all)
}
