//! Llama: rotary positions, grouped key heads, RMS norms, a gated feed-forward block.

use std::f32::consts::TAU;
use std::rc::Rc;

use engine::{Schema, Site};
use interpreter::raise::Raise;
use kernels::varlen;
use serde_json::Value;
use tch::{Device, Kind, TchError, Tensor};

use crate::builder::{Builder, Node};
use crate::config::Config;
use crate::decoder::{Attended, Decoder, Description, Form, Rotary, Rotations, Shared, Stream};
use crate::error::LoadError;
use crate::nn::{Activation, Embedding, Function, Linear, RmsNorm, in_blocks};
use crate::pass::{Pass, Result};
use crate::runs::Run;
use crate::tokens::Tokens;

/// The model below its head.
pub struct Llama {
    about: Description,
    embed_tokens: Rc<Embedding>,
    layers: Vec<Layer>,
    norm: Rc<RmsNorm>,
    rotary_emb: Site,
    /// Float32 `[head_dim / 2]`.
    inverse_frequencies: Tensor,
    head_dim: i64,
    scaling: f64,
}

struct Layer {
    site: Site,
    self_attn: Attention,
    mlp: Mlp,
    input_layernorm: Rc<RmsNorm>,
    post_attention_layernorm: Rc<RmsNorm>,
}

struct Attention {
    site: Site,
    q_proj: Rc<Linear>,
    k_proj: Rc<Linear>,
    v_proj: Rc<Linear>,
    o_proj: Rc<Linear>,
}

struct Mlp {
    site: Site,
    gate_proj: Rc<Linear>,
    up_proj: Rc<Linear>,
    down_proj: Rc<Linear>,
    act_fn: Rc<Activation>,
}

const BASE: Form = Form {
    positional: &[],
    keyword: &["input_ids", "attention_mask", "position_ids", "past_key_values", "inputs_embeds", "use_cache"],
    signature: &["input_ids", "attention_mask", "position_ids", "past_key_values", "inputs_embeds", "use_cache"],
};

const LAYER: Form = Form {
    positional: &["hidden_states"],
    keyword: &["attention_mask", "position_embeddings", "position_ids", "past_key_values", "use_cache"],
    signature: &[
        "hidden_states",
        "attention_mask",
        "position_ids",
        "past_key_values",
        "use_cache",
        "position_embeddings",
    ],
};

const ATTENTION: Form = Form {
    positional: &[],
    keyword: &[
        "hidden_states",
        "attention_mask",
        "position_ids",
        "past_key_values",
        "use_cache",
        "position_embeddings",
    ],
    signature: &["hidden_states", "position_embeddings", "attention_mask", "past_key_values"],
};

/// Builds the module tree of `LlamaForCausalLM` and reads its weights.
///
/// # Errors
/// For settings that are not supported, and weights that do not fit them.
pub fn build(
    config: &Config,
    builder: &mut Builder<'_>,
    kind: Kind,
    device: Device,
) -> std::result::Result<(Llama, Rc<Linear>), LoadError> {
    let (width, inner) = (config.size("hidden_size")?, config.size("intermediate_size")?);
    let (heads, key_heads) = (config.size("num_attention_heads")?, config.size("num_key_value_heads")?);
    let head_dim = config.size("head_dim")?;
    if heads % key_heads != 0 {
        let reason = format!("{key_heads} does not divide num_attention_heads, {heads}");
        return Err(config.wrong("num_key_value_heads", reason));
    }
    if head_dim % 2 != 0 {
        return Err(config.wrong("head_dim", "rotary positions need an even number"));
    }
    let name = config.text("hidden_act")?;
    let (function, class) =
        Function::named(name).ok_or_else(|| config.wrong("hidden_act", format!("{name:?} is not supported")))?;
    let eps = config.number("rms_norm_eps")?;
    let (attention_bias, mlp_bias) = (config.flag("attention_bias")?, config.flag("mlp_bias")?);
    let count = usize::try_from(config.size("num_hidden_layers")?).unwrap_or(0);
    let vocabulary = config.size("vocab_size")?;
    let inverse_frequencies = inverse_frequencies(config, head_dim)?.f_to_device(device)?;

    let root = builder.open("", "LlamaForCausalLM", Node::Root);
    let base = builder.open("model", "LlamaModel", Node::Base);
    let padding = config.get("pad_token_id").and_then(Value::as_i64);
    let embed_tokens = builder.embedding("embed_tokens", vocabulary, width, padding)?;
    builder.open("layers", "ModuleList", Node::List);
    let mut layers = Vec::with_capacity(count);
    for index in 0..count {
        let site = builder.open(&index.to_string(), "LlamaDecoderLayer", Node::Layer(index));
        let self_attn = Attention {
            site: builder.open("self_attn", "LlamaAttention", Node::Attention(index)),
            q_proj: builder.linear("q_proj", width, heads * head_dim, attention_bias)?,
            k_proj: builder.linear("k_proj", width, key_heads * head_dim, attention_bias)?,
            v_proj: builder.linear("v_proj", width, key_heads * head_dim, attention_bias)?,
            o_proj: builder.linear("o_proj", heads * head_dim, width, attention_bias)?,
        };
        builder.close();
        let mlp = Mlp {
            site: builder.open("mlp", "LlamaMLP", Node::Mlp(index)),
            gate_proj: builder.linear("gate_proj", width, inner, mlp_bias)?,
            up_proj: builder.linear("up_proj", width, inner, mlp_bias)?,
            down_proj: builder.linear("down_proj", inner, width, mlp_bias)?,
            act_fn: builder.activation("act_fn", function, class),
        };
        builder.close();
        let input_layernorm = builder.rms_norm("input_layernorm", "LlamaRMSNorm", width, eps)?;
        let post_attention_layernorm = builder.rms_norm("post_attention_layernorm", "LlamaRMSNorm", width, eps)?;
        builder.close();
        layers.push(Layer { site, self_attn, mlp, input_layernorm, post_attention_layernorm });
    }
    builder.close();
    let norm = builder.rms_norm("norm", "LlamaRMSNorm", width, eps)?;
    let rotary_emb = builder.plain("rotary_emb", "LlamaRotaryEmbedding", Node::Rotary);
    builder.close();
    let head = builder.head("lm_head", &embed_tokens, config.flag("tie_word_embeddings")?)?;
    builder.close();
    let about = Description {
        root,
        base,
        base_class: "transformers.modeling_outputs.BaseModelOutputWithPast",
        root_class: "transformers.modeling_outputs.CausalLMOutputWithPast",
        base_form: &BASE,
        layer_form: &LAYER,
        attention_form: &ATTENTION,
        layers: layers.iter().map(|layer| layer.site).collect(),
        kind,
        device,
        varlen: varlen::has_kernels(kind, device, head_dim),
        cross_attentions: false,
        flags_to_layers: true,
    };
    let scaling = (head_dim as f64).powf(-0.5);
    let model = Llama { about, embed_tokens, layers, norm, rotary_emb, inverse_frequencies, head_dim, scaling };
    model.order(&mut builder.schema, head.site);
    Ok((model, head))
}

/// Returns the angle by which each pair of a head's dimensions turns per position.
fn inverse_frequencies(config: &Config, head_dim: i64) -> std::result::Result<Tensor, LoadError> {
    const KEY: &str = "rope_parameters";
    let rope = config.get(KEY).and_then(Value::as_object);
    let rope = rope.ok_or_else(|| config.wrong(KEY, "needs an object"))?;
    let number = |name: &str| {
        let number = rope.get(name).and_then(Value::as_f64).filter(|number| number.is_finite() && *number > 0.0);
        number.ok_or_else(|| config.wrong(KEY, format!("{name} needs a positive number")))
    };
    let powers: Vec<f32> = (0..head_dim).step_by(2).map(|power| power as f32).collect();
    let powers = kernels::number::divide(&Tensor::f_from_slice(&powers)?, head_dim as f64)?;
    let base = kernels::number::full(number("rope_theta")?, (Kind::Float, Device::Cpu))?;
    let plain = base.f_pow(&powers)?.f_reciprocal()?;
    match rope.get("rope_type").and_then(Value::as_str) {
        Some("default") => Ok(plain),
        Some("linear") => Ok(kernels::number::divide(&plain, number("factor")?)?),
        Some("llama3") => {
            let [factor, low, high, context] =
                ["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"].map(number);
            let (factor, low, high, context) = (factor? as f32, low? as f32, high? as f32, context? as f32);
            let stretched = |frequency: f32| {
                let wavelength = TAU / frequency;
                if wavelength < context / high {
                    frequency
                } else if wavelength > context / low {
                    frequency / factor
                } else {
                    let smooth = (context / wavelength - low) / (high - low);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                }
            };
            let plain = Vec::<f32>::try_from(plain)?;
            Ok(Tensor::f_from_slice(&plain.into_iter().map(stretched).collect::<Vec<_>>())?)
        }
        other => {
            let found = other.unwrap_or_default();
            Err(config.wrong(KEY, format!("rope_type {found:?} is not supported; default, linear and llama3 are")))
        }
    }
}

impl Llama {
    /// Lists the modules in the order in which a pass enters them.
    fn order(&self, schema: &mut Schema, head: Site) {
        let mut order = vec![self.about.root, self.about.base, self.embed_tokens.site, self.rotary_emb];
        schema.layers.clone_from(&self.about.layers);
        for Layer { site, self_attn, mlp, input_layernorm, post_attention_layernorm } in &self.layers {
            let Attention { site: attention, q_proj, k_proj, v_proj, o_proj } = self_attn;
            order.extend([*site, input_layernorm.site, *attention, q_proj.site, k_proj.site, v_proj.site, o_proj.site]);
            order.extend([post_attention_layernorm.site, mlp.site]);
            order.extend([mlp.gate_proj.site, mlp.act_fn.site, mlp.up_proj.site, mlp.down_proj.site]);
        }
        order.extend([self.norm.site, head]);
        schema.execution = order;
    }

    /// Returns cosines and sines, `[rows or 1, length, head_dim]`.
    fn angles(&self, positions: &Tensor, kind: Kind) -> std::result::Result<(Tensor, Tensor), TchError> {
        let angles = positions.f_unsqueeze(-1)?.f_to_kind(Kind::Float)?.f_mul(&self.inverse_frequencies)?;
        let angles = Tensor::f_cat(&[&angles, &angles], -1)?;
        Ok((angles.f_cos()?.f_to_kind(kind)?, angles.f_sin()?.f_to_kind(kind)?))
    }

    fn at(&self, layer: usize) -> Result<&Layer> {
        self.layers.get(layer).ok_or_else(|| Raise::index_error(format!("there is no layer {layer}")).into())
    }
}

/// Turns each head's halves against each other: `[rows, heads, length, head_dim]` by `[rows or 1, length, head_dim]`.
fn turn(states: &Tensor, cosine: &Tensor, sine: &Tensor) -> std::result::Result<Tensor, TchError> {
    let half = states.size().last().copied().unwrap_or(0) / 2;
    let turned = Tensor::f_cat(&[states.f_narrow(-1, half, half)?.f_neg()?, states.f_narrow(-1, 0, half)?], -1)?;
    states.f_mul(&cosine.f_unsqueeze(1)?)?.f_add(&turned.f_mul(&sine.f_unsqueeze(1)?)?)
}

impl Decoder for Llama {
    fn describe(&self) -> &Description {
        &self.about
    }

    fn embed(&self, pass: &mut Pass<'_>, ids: Vec<Tensor>, shared: &mut Shared) -> Result<Tokens> {
        let ids = pass.join(ids)?;
        let hidden = self.embed_tokens.run(pass, &ids)?;
        let rotary = Rotary { hidden: hidden.share(), positions: shared.positions.clone() };
        shared.rotations = Some(Rc::new(self.rotate(pass, rotary)?));
        Ok(hidden)
    }

    fn layer(&self, index: usize, pass: &mut Pass<'_>, stream: Stream) -> Result<Tokens> {
        let layer = self.at(index)?;
        pass.module(layer.site, stream, |pass, stream| {
            let residual = stream.hidden.share();
            let normed = layer.input_layernorm.run(pass, &residual)?;
            let attended = self.attention(index, pass, stream.with(normed, &ATTENTION))?;
            let hidden = pass.both(&residual, &attended.hidden, Tensor::f_add)?;
            let normed = layer.post_attention_layernorm.run(pass, &hidden)?;
            let fed = self.mlp(index, pass, &normed)?;
            pass.both(&hidden, &fed, Tensor::f_add)
        })
    }

    fn norm(&self, pass: &mut Pass<'_>, hidden: &Tokens) -> Result<Tokens> {
        self.norm.run(pass, hidden)
    }

    fn attention(&self, layer: usize, pass: &mut Pass<'_>, stream: Stream) -> Result<Attended> {
        let attn = &self.at(layer)?.self_attn;
        let shared = Rc::clone(&stream.shared);
        let attended = pass.module(attn.site, stream, |pass, stream| {
            let shared = Rc::clone(&stream.shared);
            let queries = attn.q_proj.run(pass, &stream.hidden)?;
            let keys = attn.k_proj.run(pass, &stream.hidden)?;
            let values = attn.v_proj.run(pass, &stream.hidden)?;
            let missing = || Raise::type_error("cannot unpack non-iterable NoneType object");
            let rotations = shared.rotations.as_ref().ok_or_else(missing)?;
            let heads = |pass: &Pass<'_>, run: &Run| {
                let heads = |states: &Tokens| -> Result<Tensor> {
                    let own = pass.run(states, run)?;
                    Ok(own.f_view([run.rows, run.length, -1, self.head_dim])?.f_transpose(1, 2)?)
                };
                let (cosine, sine) = rotations.of(pass, run)?.ok_or_else(missing)?;
                let query = turn(&heads(&queries)?, &cosine, &sine)?;
                Ok([query, turn(&heads(&keys)?, &cosine, &sine)?, heads(&values)?])
            };
            let projected = [&queries, &keys, &values];
            let attended = shared.attend(pass, (attn.site, layer), &projected, self.scaling, heads)?;
            Ok(Attended { hidden: attn.o_proj.run(pass, &attended.hidden)?, ..attended })
        })?;
        shared.capture(&attended);
        Ok(attended)
    }

    fn mlp(&self, layer: usize, pass: &mut Pass<'_>, hidden: &Tokens) -> Result<Tokens> {
        let mlp = &self.at(layer)?.mlp;
        pass.module(mlp.site, hidden.share(), |pass, hidden| {
            if let (Tokens::Packed(hidden), false) = (&hidden, pass.wants(mlp.site).inside) {
                return Ok(Tokens::Packed(in_blocks(
                    hidden,
                    || pass.rest(),
                    |rows| {
                        let gate = mlp.act_fn.compute(&mlp.gate_proj.compute(&pass.products, rows)?)?;
                        let up = mlp.up_proj.compute(&pass.products, rows)?;
                        mlp.down_proj.compute(&pass.products, &gate.f_mul(&up)?)
                    },
                )?));
            }
            let gate = mlp.gate_proj.run(pass, &hidden)?;
            let gate = mlp.act_fn.run(pass, &gate)?;
            let up = mlp.up_proj.run(pass, &hidden)?;
            let gated = pass.both(&gate, &up, Tensor::f_mul)?;
            mlp.down_proj.run(pass, &gated)
        })
    }

    fn rotate(&self, pass: &mut Pass<'_>, rotary: Rotary) -> Result<Rotations> {
        pass.module(self.rotary_emb, rotary, |_, Rotary { hidden, positions }| {
            let kind = hidden.kind()?;
            let mut rotations = Rotations { cosines: Vec::new(), sines: Vec::new() };
            for positions in positions {
                let (cosines, sines) = self.angles(&positions, kind)?;
                rotations.cosines.push(cosines);
                rotations.sines.push(sines);
            }
            Ok(rotations)
        })
    }

    fn rotations(&self, positions: &Tensor) -> Result<Option<(Tensor, Tensor)>> {
        Ok(Some(self.angles(positions, self.about.kind)?))
    }

    fn scaling(&self, _: usize) -> f64 {
        self.scaling
    }

    fn frequencies(&self) -> Option<&Tensor> {
        Some(&self.inverse_frequencies)
    }
}
