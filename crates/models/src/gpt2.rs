//! GPT-2: learned positions, one projection for queries, keys and values, norms before each block.

use std::rc::Rc;

use engine::{Part, Schema, Site};
use interpreter::raise::Raise;
use kernels::varlen;
use tch::{Device, Kind, Tensor};

use crate::builder::{Builder, Node};
use crate::config::Config;
use crate::decoder::{Attended, Decoder, Description, Form, Rotary, Rotations, Shared, Stream};
use crate::error::LoadError;
use crate::nn::{Activation, Conv1D, Dropout, Embedding, Function, LayerNorm, Linear, in_blocks};
use crate::pass::{Parts, Pass, Result};
use crate::runs::Run;
use crate::tokens::Tokens;

/// The model below its head.
pub struct Gpt2 {
    about: Description,
    wte: Rc<Embedding>,
    wpe: Rc<Embedding>,
    drop: Rc<Dropout>,
    layers: Vec<Layer>,
    ln_f: Rc<LayerNorm>,
    heads: i64,
}

struct Layer {
    site: Site,
    ln_1: Rc<LayerNorm>,
    attn: Attention,
    ln_2: Rc<LayerNorm>,
    mlp: Mlp,
}

struct Attention {
    site: Site,
    c_attn: Rc<Conv1D>,
    c_proj: Rc<Conv1D>,
    resid_dropout: Rc<Dropout>,
    scaling: f64,
}

struct Mlp {
    site: Site,
    c_fc: Rc<Conv1D>,
    c_proj: Rc<Conv1D>,
    act: Rc<Activation>,
    dropout: Rc<Dropout>,
}

const BASE: Form = Form {
    positional: &["input_ids"],
    keyword: &[
        "past_key_values",
        "attention_mask",
        "token_type_ids",
        "position_ids",
        "inputs_embeds",
        "encoder_hidden_states",
        "encoder_attention_mask",
        "use_cache",
    ],
    signature: &["input_ids", "past_key_values", "attention_mask", "token_type_ids", "position_ids"],
};

const LAYER: Form = Form {
    positional: &["hidden_states", "past_key_values", "attention_mask", "encoder_hidden_states"],
    keyword: &["encoder_attention_mask", "use_cache", "position_ids"],
    signature: &["hidden_states", "past_key_values", "attention_mask", "encoder_hidden_states"],
};

const ATTENTION: Form = Form {
    positional: &["hidden_states"],
    keyword: &["past_key_values", "attention_mask", "use_cache", "position_ids"],
    signature: &["hidden_states", "past_key_values", "attention_mask"],
};

/// Builds the module tree of `GPT2LMHeadModel` and reads its weights.
///
/// # Errors
/// For settings that are not supported, and weights that do not fit them.
pub fn build(
    config: &Config,
    builder: &mut Builder<'_>,
    kind: Kind,
    device: Device,
) -> std::result::Result<(Gpt2, Rc<Linear>), LoadError> {
    for key in ["add_cross_attention", "reorder_and_upcast_attn"] {
        if config.flag(key)? {
            return Err(config.wrong(key, "true is not supported"));
        }
    }
    let (width, heads) = (config.size("n_embd")?, config.size("n_head")?);
    if width % heads != 0 {
        return Err(config.wrong("n_embd", format!("{width} does not divide into {heads} heads")));
    }
    let inner =
        if config.get("n_inner").is_none_or(|inner| inner.is_null()) { 4 * width } else { config.size("n_inner")? };
    let name = config.text("activation_function")?;
    let function = Function::named(name)
        .ok_or_else(|| config.wrong("activation_function", format!("{name:?} is not supported")))?;
    let eps = config.number("layer_norm_epsilon")?;
    let [embedding_drop, attention_drop, residual_drop] =
        [config.number("embd_pdrop")?, config.number("attn_pdrop")?, config.number("resid_pdrop")?];
    let count = usize::try_from(config.size("n_layer")?).unwrap_or(0);
    let vocabulary = config.size("vocab_size")?;

    let root = builder.open("", "GPT2LMHeadModel", Node::Root);
    let base = builder.open("transformer", "GPT2Model", Node::Base);
    let wte = builder.embedding("wte", vocabulary, width, None)?;
    let wpe = builder.embedding("wpe", config.size("n_positions")?, width, None)?;
    let drop = builder.dropout("drop", embedding_drop);
    builder.open("h", "ModuleList", Node::List);
    let mut layers = Vec::with_capacity(count);
    for index in 0..count {
        let site = builder.open(&index.to_string(), "GPT2Block", Node::Layer(index));
        let ln_1 = builder.layer_norm("ln_1", width, eps)?;
        let attention = builder.open("attn", "GPT2Attention", Node::Attention(index));
        let mut scaling = 1.0;
        if config.flag("scale_attn_weights")? {
            scaling = ((width / heads) as f64).powf(-0.5);
        }
        if config.flag("scale_attn_by_inverse_layer_idx")? {
            scaling /= (index + 1) as f64;
        }
        let c_attn = builder.conv1d("c_attn", width, 3 * width)?;
        let c_proj = builder.conv1d("c_proj", width, width)?;
        builder.dropout("attn_dropout", attention_drop);
        let resid_dropout = builder.dropout("resid_dropout", residual_drop);
        let attn = Attention { site: attention, c_attn, c_proj, resid_dropout, scaling };
        builder.close();
        let ln_2 = builder.layer_norm("ln_2", width, eps)?;
        let (function, class) = function;
        let mlp = Mlp {
            site: builder.open("mlp", "GPT2MLP", Node::Mlp(index)),
            c_fc: builder.conv1d("c_fc", width, inner)?,
            c_proj: builder.conv1d("c_proj", inner, width)?,
            act: builder.activation("act", function, class),
            dropout: builder.dropout("dropout", residual_drop),
        };
        builder.close();
        builder.close();
        layers.push(Layer { site, ln_1, attn, ln_2, mlp });
    }
    builder.close();
    let ln_f = builder.layer_norm("ln_f", width, eps)?;
    builder.close();
    let head = builder.head("lm_head", &wte, config.flag("tie_word_embeddings")?)?;
    builder.close();
    let about = Description {
        root,
        base,
        base_class: "transformers.modeling_outputs.BaseModelOutputWithPastAndCrossAttentions",
        root_class: "transformers.modeling_outputs.CausalLMOutputWithCrossAttentions",
        base_form: &BASE,
        layer_form: &LAYER,
        attention_form: &ATTENTION,
        layers: layers.iter().map(|layer| layer.site).collect(),
        kind,
        device,
        varlen: varlen::has_kernels(kind, device, width / heads),
        cross_attentions: true,
        flags_to_layers: false,
    };
    let model = Gpt2 { about, wte, wpe, drop, layers, ln_f, heads };
    model.order(&mut builder.schema, head.site);
    Ok((model, head))
}

impl Gpt2 {
    /// Lists the modules in the order in which a pass enters them.
    fn order(&self, schema: &mut Schema, head: Site) {
        let mut order = vec![self.about.root, self.about.base, self.wte.site, self.wpe.site, self.drop.site];
        schema.layers.clone_from(&self.about.layers);
        for Layer { site, ln_1, attn, ln_2, mlp } in &self.layers {
            order.extend([*site, ln_1.site, attn.site, attn.c_attn.site, attn.c_proj.site, attn.resid_dropout.site]);
            order.extend([ln_2.site, mlp.site, mlp.c_fc.site, mlp.act.site, mlp.c_proj.site, mlp.dropout.site]);
        }
        order.extend([self.ln_f.site, head]);
        schema.execution = order;
    }

    fn at(&self, layer: usize) -> Result<&Layer> {
        self.layers.get(layer).ok_or_else(|| Raise::index_error(format!("there is no layer {layer}")).into())
    }

    fn positions(&self, pass: &mut Pass<'_>, shared: &Shared) -> Result<Tokens> {
        let wants = pass.wants(self.wpe.site);
        if pass.single() || !pass.recorders.is_empty() || wants.input || wants.output {
            let ids = shared.positions.iter().map(|part| part.shallow_clone()).collect();
            let embedded = self.wpe.run_parts(pass, Parts(ids))?.0;
            if pass.single() {
                return pass.join(embedded);
            }
            let mut parts = Vec::with_capacity(embedded.len());
            for (part, &Part { rows, length, .. }) in embedded.iter().zip(&pass.layout.parts) {
                parts.push(part.f_expand([rows, length, -1], false)?);
            }
            return pass.join(parts);
        }
        let mut flat = Vec::with_capacity(shared.positions.len());
        for (part, &Part { rows, length, .. }) in shared.positions.iter().zip(&pass.layout.parts) {
            flat.push(part.f_expand([rows, length], false)?.f_reshape([-1])?);
        }
        Ok(Tokens::Packed(self.wpe.compute(&Tensor::f_cat(&flat, 0)?)?))
    }
}

impl Decoder for Gpt2 {
    fn describe(&self) -> &Description {
        &self.about
    }

    fn embed(&self, pass: &mut Pass<'_>, ids: Vec<Tensor>, shared: &mut Shared) -> Result<Tokens> {
        let ids = pass.join(ids)?;
        let words = self.wte.run(pass, &ids)?;
        let positions = self.positions(pass, shared)?;
        let embedded = pass.both(&words, &positions, Tensor::f_add)?;
        self.drop.run(pass, &embedded)
    }

    fn layer(&self, index: usize, pass: &mut Pass<'_>, stream: Stream) -> Result<Tokens> {
        let layer = self.at(index)?;
        pass.module(layer.site, stream, |pass, stream| {
            let residual = stream.hidden.share();
            let normed = layer.ln_1.run(pass, &residual)?;
            let attended = self.attention(index, pass, stream.with(normed, &ATTENTION))?;
            let hidden = pass.both(&attended.hidden, &residual, Tensor::f_add)?;
            let normed = layer.ln_2.run(pass, &hidden)?;
            let fed = self.mlp(index, pass, &normed)?;
            pass.both(&hidden, &fed, Tensor::f_add)
        })
    }

    fn norm(&self, pass: &mut Pass<'_>, hidden: &Tokens) -> Result<Tokens> {
        let normed = self.ln_f.run(pass, hidden)?;
        // As Hugging Face's model, which gives what it returns the length of the input, whatever was assigned on the way.
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

    fn attention(&self, layer: usize, pass: &mut Pass<'_>, stream: Stream) -> Result<Attended> {
        let attn = &self.at(layer)?.attn;
        let shared = Rc::clone(&stream.shared);
        let attended = pass.module(attn.site, stream, |pass, stream| {
            let shared = Rc::clone(&stream.shared);
            let projected = attn.c_attn.run(pass, &stream.hidden)?;
            let heads = |pass: &Pass<'_>, run: &Run| {
                let own = pass.run(&projected, run)?;
                let width = own.size().last().copied().unwrap_or(0) / 3;
                let heads = |part: &Tensor| -> Result<Tensor> {
                    Ok(part.f_view([run.rows, run.length, self.heads, width / self.heads])?.f_transpose(1, 2)?)
                };
                // Split as one: where gradients are recorded, theirs are put together as one, too.
                let thirds = own.f_split(width, -1)?;
                let [query, key, value] = thirds.as_slice() else {
                    return Err(Raise::value_error("too many values to unpack (expected 3)").into());
                };
                Ok([heads(query)?, heads(key)?, heads(value)?])
            };
            let attended = shared.attend(pass, (attn.site, layer), &[&projected], attn.scaling, heads)?;
            let hidden = attn.c_proj.run(pass, &attended.hidden)?;
            Ok(Attended { hidden: attn.resid_dropout.run(pass, &hidden)?, ..attended })
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
                        let inner = mlp.act.compute(&mlp.c_fc.compute(&pass.products, rows)?)?;
                        mlp.c_proj.compute(&pass.products, &inner)
                    },
                )?));
            }
            let hidden = mlp.c_fc.run(pass, &hidden)?;
            let hidden = mlp.act.run(pass, &hidden)?;
            let hidden = mlp.c_proj.run(pass, &hidden)?;
            mlp.dropout.run(pass, &hidden)
        })
    }

    fn rotate(&self, _: &mut Pass<'_>, _: Rotary) -> Result<Rotations> {
        Err(Raise::type_error("GPT-2 has no rotary embedding").into())
    }

    fn rotations(&self, _: &Tensor) -> Result<Option<(Tensor, Tensor)>> {
        Ok(None)
    }

    fn scaling(&self, layer: usize) -> f64 {
        self.layers.get(layer).map_or(1.0, |layer| layer.attn.scaling)
    }

    fn frequencies(&self) -> Option<&Tensor> {
        None
    }
}
