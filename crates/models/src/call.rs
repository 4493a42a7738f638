//! The arguments of a forward call: of the root, and of the models that it hands them on to.

use std::rc::Rc;

use engine::{Attention, Inputs, Part, Tree};
use interpreter::raise::Raise;
use kernels::number;
use tch::{TchError, Tensor};

use crate::attention;
use crate::cache::{Cache, Caches};
use crate::course::Trunk;
use crate::family::{Blueprint, Form};
use crate::flags::Flags;
use crate::pass::{Arguments, Flow, Input, Pass, Result, caches, leaves};

/// The arguments of the root and of the base model.
#[derive(Default)]
pub struct Call {
    /// `[rows, length]` int64, one for each segment.
    pub ids: Vec<Tensor>,
    /// `[rows, past + length]`.
    pub padding: Vec<Option<Tensor>>,
    /// `[rows, length]`.
    pub positions: Vec<Option<Tensor>>,
    pub caches: Vec<Option<Cache>>,
    pub attention: Vec<Attention>,
    pub flags: Flags,
    /// For each row of a segment, an equal row that was computed before; empty where there is none.
    pub trunks: Vec<Vec<Rc<Trunk>>>,
    /// Which segments are steps of `generate()`. Where somebody looks at the arguments, all are or none is.
    pub generating: Vec<bool>,
    /// How the arguments are shown: the root's callers use keywords for what they have.
    pub form: Option<&'static Form>,
    /// Which flags the base model is handed.
    pub handed_on: &'static [&'static str],
    /// `generate()` adds what it knows of images.
    pub images: bool,
    /// Caches become pairs in the base model.
    pub pairs_caches: bool,
    /// Somebody took the mask out of the call.
    pub unmasked: bool,
}

impl Call {
    /// Makes the arguments of the model that the root calls of the root's.
    pub fn inner(self, form: &'static Form, about: &Blueprint) -> Self {
        let [handed_on, _] = about.root.hands_on;
        Self { form: Some(form), handed_on, ..self }
    }

    /// Returns whether `generate()` begins, or has to begin again with each step: it then says that there are no images yet.
    pub fn begins(&self) -> bool {
        (0..self.ids.len()).any(|segment| self.past(segment) == 0)
    }

    /// Returns the tokens that a segment's cache holds.
    pub fn past(&self, segment: usize) -> i64 {
        self.caches.get(segment).and_then(Option::as_ref).map_or(0, Cache::length)
    }

    /// Numbers the sequences that lie end to end in a segment's rows. Hugging Face looks for such where it is told neither a
    /// mask nor what came before.
    pub fn sequences(&self, segment: usize) -> Result<Option<Tensor>> {
        let given = |all: &[Option<Tensor>]| all.get(segment).is_some_and(Option::is_some);
        let generates = self.generating.get(segment).is_some_and(|generating| *generating);
        let masked = given(&self.padding) || !(generates || self.unmasked);
        // What embeds for another looks before there is a cache.
        let cached = self.caches.get(segment).is_some_and(Option::is_some) && (generates || !self.images);
        match self.positions.get(segment).and_then(Option::as_ref) {
            Some(positions) if !masked && !cached => Ok(attention::sequences(positions)?),
            _ => Ok(None),
        }
    }

    /// Returns what some of the segments are called with.
    pub fn only(&self, segments: &[usize]) -> Self {
        let optional = |all: &[Option<Tensor>]| -> Vec<Option<Tensor>> {
            let own = |&segment: &usize| all.get(segment).map(|one| one.as_ref().map(Tensor::shallow_clone));
            segments.iter().filter_map(own).collect()
        };
        let ids = segments.iter().filter_map(|&segment| self.ids.get(segment));
        Self {
            ids: ids.map(Tensor::shallow_clone).collect(),
            padding: optional(&self.padding),
            positions: optional(&self.positions),
            caches: segments.iter().filter_map(|&segment| self.caches.get(segment).cloned()).collect(),
            generating: segments.iter().filter_map(|&segment| self.generating.get(segment).copied()).collect(),
            flags: self.flags.clone(),
            images: self.images,
            pairs_caches: self.pairs_caches,
            unmasked: self.unmasked,
            ..Self::default()
        }
    }

    /// Returns whether it is a step of `generate()`.
    pub fn generates(&self) -> bool {
        self.generating.first().is_some_and(|generating| *generating)
    }

    /// Returns the mask that the caller of a segment gave.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn mask(&self, segment: usize) -> std::result::Result<Option<Tensor>, TchError> {
        if let Some(mask) = &self.flags.alone.mask {
            return Ok(Some(mask.shallow_clone()));
        }
        let generates = self.generating.get(segment).is_some_and(|generating| *generating);
        match (self.padding.get(segment).and_then(Option::as_ref), self.ids.get(segment)) {
            (Some(padding), _) => Ok(Some(padding.shallow_clone())),
            // generate() leaves out a mask that hides nothing; nnsight does not.
            (None, Some(ids)) if !generates && !self.unmasked => ids.f_ones_like().map(Some),
            _ => Ok(None),
        }
    }

    /// Shows an argument.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn field(&self, name: &str) -> std::result::Result<Flow, TchError> {
        let optional = |parts: &[Option<Tensor>]| {
            let present: Option<Vec<&Tensor>> = parts.iter().map(Option::as_ref).collect();
            present.map_or(Tree::None, leaves)
        };
        Ok(match name {
            "input_ids" if self.flags.alone.embeds.is_some() => Tree::None,
            "input_ids" => leaves(&self.ids),
            "attention_mask" if let Some(mask) = &self.flags.alone.mask => leaves([&**mask]),
            // generate() leaves out a mask that hides nothing; nnsight does not.
            "attention_mask" if self.generates() => optional(&self.padding),
            "attention_mask" if self.unmasked => Tree::None,
            "attention_mask" => {
                let mask = |(padding, ids): (&Option<Tensor>, &Tensor)| match padding {
                    Some(padding) => Ok(padding.shallow_clone()),
                    None => ids.f_ones_like(),
                };
                let masks = self.padding.iter().zip(&self.ids).map(mask).collect::<std::result::Result<Vec<_>, _>>()?;
                leaves(&masks)
            }
            "position_ids" if self.generates() => {
                let positions = |(segment, (given, ids)): (usize, (&Option<Tensor>, &Tensor))| match given {
                    Some(given) => Ok(given.shallow_clone()),
                    None => {
                        let size = ids.size();
                        let (past, length) = (self.past(segment), size.last().copied().unwrap_or(0));
                        number::range(past, past + length, ids.device())?.f_expand(&size, false)?.f_contiguous()
                    }
                };
                let all = self.positions.iter().zip(&self.ids).enumerate().map(positions);
                leaves(&all.collect::<std::result::Result<Vec<_>, _>>()?)
            }
            "position_ids" => optional(&self.positions),
            // generate() makes the cache; in a plain call, the base model makes it.
            // It is paired there, and goes on so.
            "past_key_values" if self.generates() => {
                caches(Caches::some(&self.caches, self.pairs_caches && !self.begins()).as_ref())
            }
            "use_cache" => self.flags.use_cache.map_or(Tree::None, Tree::Bool),
            "output_router_logits" => Tree::Bool(self.flags.routes()),
            "return_dict" => Tree::Bool(true),
            "mm_encoder_outputs" if self.generates() && self.begins() => Tree::Dict(Vec::new()),
            name => {
                let given = self.flags.given.iter().find(|(known, _)| *known == name);
                given.map_or(Tree::None, |(_, flow)| flow.clone())
            }
        })
    }
}

const ROOT: Form = Form {
    positional: &[],
    keyword: &["input_ids", "attention_mask", "position_ids"],
    signature: &["input_ids", "attention_mask", "position_ids"],
};

/// How `generate()` calls the root.
const STEP: Form = Form {
    positional: &[],
    keyword: &["input_ids", "past_key_values", "position_ids", "attention_mask"],
    signature: ROOT.signature,
};

impl Input for Call {
    fn show(&self, _: &Pass<'_>) -> Result<Arguments> {
        let form = self.form.unwrap_or(if self.generates() { &STEP } else { &ROOT });
        let args = form.positional.iter().map(|name| self.field(name)).collect::<std::result::Result<_, _>>()?;
        let mut kwargs = Vec::with_capacity(form.keyword.len());
        for name in form.keyword {
            let flow = self.field(name)?;
            // The root is called with what there is; the base model is called with everything.
            if self.form.is_some() || !matches!(flow, Tree::None) {
                kwargs.push((*name, flow));
            }
        }
        let given = self.flags.given.iter().filter(|(name, _)| self.form.is_none() || self.handed_on.contains(name));
        for (name, flow) in given {
            if !form.keyword.contains(name) {
                kwargs.push((name, flow.clone()));
            }
        }
        if self.form.is_none() && self.images && self.generates() {
            let name = if self.begins() { "mm_encoder_outputs" } else { "token_type_ids" };
            kwargs.push((name, self.field(name)?));
        }
        Ok(Inputs { args, kwargs })
    }

    fn read(mut self, pass: &Pass<'_>, arguments: Arguments) -> Result<Self> {
        for (name, flow) in bind(arguments, self.form.unwrap_or(&ROOT).signature)? {
            let slot = match name {
                "input_ids" if matches!(flow, Tree::None) => continue,
                "input_ids" => {
                    self.ids = pass.tensors(flow)?;
                    continue;
                }
                "attention_mask" if self.flags.alone.mask.is_some() => {
                    self.flags.alone.mask = pass.tensors(flow)?.into_iter().next().map(Rc::new);
                    continue;
                }
                "inputs_embeds" if self.flags.alone.embeds.is_some() => {
                    self.flags.alone.embeds = pass.tensors(flow)?.into_iter().next().map(Rc::new);
                    continue;
                }
                "attention_mask" if matches!(flow, Tree::None) && !self.generates() => {
                    self.padding.iter_mut().for_each(|own| *own = None);
                    self.unmasked = true;
                    continue;
                }
                "attention_mask" => &mut self.padding,
                "position_ids" => &mut self.positions,
                _ => continue,
            };
            *slot = match flow {
                // What was not there for every segment could not be shown.
                Tree::None => continue,
                flow => pass.tensors(flow)?.into_iter().map(Some).collect(),
            };
        }
        for (ids, &Part { rows, length, .. }) in self.ids.iter().zip(&pass.layout.parts) {
            if ids.size() != [rows, length] {
                let found = ids.size();
                let message = format!("input_ids have shape {found:?}, but this pass computes [{rows}, {length}]");
                return Err(Raise::value_error(message).into());
            }
        }
        Ok(self)
    }
}

/// Names arguments given by position.
pub fn bind(arguments: Arguments, signature: &'static [&'static str]) -> Result<Vec<(&'static str, Flow)>> {
    if arguments.args.len() > signature.len() {
        let (most, given) = (signature.len() + 1, arguments.args.len() + 1);
        let message = format!("forward() takes at most {most} positional arguments but {given} were given");
        return Err(Raise::type_error(message).into());
    }
    let mut bound: Vec<_> = signature.iter().copied().zip(arguments.args).collect();
    bound.extend(arguments.kwargs);
    Ok(bound)
}
