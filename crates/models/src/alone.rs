//! What a forward call may be given that is not for rows of many: tensors of the caller's own. Such a call has a pass to
//! itself, so that nothing of it reaches others.

use std::rc::Rc;

use interpreter::Value;
use interpreter::raise::Raise;
use kernels::number;
use tch::{Device, Kind, Reduction, TchError, Tensor};

use crate::cache::Cache;
use crate::pass::Result;

/// Labels that count for nothing.
const IGNORED: i64 = -100;

/// Arguments of a call that is alone in its pass.
#[derive(Clone, Default)]
pub struct Alone {
    /// What stands for the embeddings of tokens, `[rows, length, width]`.
    pub embeds: Option<Rc<Tensor>>,
    /// Which tokens should come, `[rows, length]`: the model returns how surprised it is.
    pub labels: Option<Rc<Tensor>>,
    /// Which keys each query sees, as attention takes it, `[rows, 1 or heads, length, past + length]`.
    pub mask: Option<Rc<Tensor>>,
    /// Which tokens count, of those before too, `[rows, any]`.
    pub padding: Option<Rc<Tensor>>,
    /// The positions that logits are made of.
    pub kept: Option<Rc<Tensor>>,
    /// The model returns a tuple.
    pub tuple: bool,
}

impl Alone {
    /// Takes an argument. Returns whether it is one of these.
    ///
    /// # Errors
    /// `ValueError` for one of another form.
    pub fn take(&mut self, name: &str, value: &Value) -> std::result::Result<bool, Raise> {
        if name == "past_key_values" {
            return match Cache::of_value(value) {
                Some(_) => Ok(true),
                None => Err(Raise::value_error(format!(
                    "`past_key_values` has to be a DynamicCache on this server, not {}",
                    interpreter::types::type_name(value)
                ))),
            };
        }
        let Some(tensor) = torch::Tensor::of(value) else { return Ok(false) };
        let (sizes, tensor) = (tensor.sizes(), tensor.tch().shallow_clone());
        let slot = match (name, sizes.len()) {
            ("inputs_embeds", 3) => &mut self.embeds,
            ("labels", _) => &mut self.labels,
            ("attention_mask", 4) => &mut self.mask,
            ("attention_mask", 2) => &mut self.padding,
            ("logits_to_keep", 1) => &mut self.kept,
            ("inputs_embeds" | "attention_mask" | "logits_to_keep", _) => {
                return Err(Raise::value_error(format!("`{name}` of shape {sizes:?} is not supported by this server")));
            }
            _ => return Ok(false),
        };
        *slot = Some(Rc::new(tensor));
        Ok(true)
    }
}

/// Returns which of all tokens count where some came before: what a mask does not reach is hidden.
///
/// # Errors
/// When libtorch refuses.
pub fn padded(given: &Tensor, total: i64, device: Device) -> std::result::Result<Tensor, TchError> {
    let given = given.f_to_kind(Kind::Int64)?.f_to_device(device)?;
    given.f_constant_pad_nd([0, total - given.size().get(1).copied().unwrap_or(0)])
}

/// `ForCausalLMLoss`: how surprising each next token is, on average.
///
/// # Errors
/// `IndexError` for a label that is no token's; when labels do not fit the logits.
pub fn loss(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let logits = logits.f_to_kind(Kind::Float)?;
    let width = logits.size().last().copied().unwrap_or(1);
    let length = labels.size().last().copied().unwrap_or(0);
    let first = labels.f_narrow(-1, 0, length.min(1))?.f_ones_like()?;
    let end = number::multiply(&first, IGNORED as f64)?.f_to_kind(labels.f_kind()?)?;
    let next =
        Tensor::f_cat(&[&labels.f_narrow(-1, length.min(1), (length - 1).max(0))?, &end], -1)?.f_reshape([-1])?;
    // A GPU takes them on trust.
    let wrong = |label: &i64| *label != IGNORED && !(0..width).contains(label);
    if let Some(label) = Vec::<i64>::try_from(next.f_to_kind(Kind::Int64)?)?.into_iter().find(wrong) {
        return Err(Raise::index_error(format!("Target {label} is out of bounds.")).into());
    }
    let next = next.f_to_device(logits.device())?;
    let none: Option<Tensor> = None;
    Ok(logits.f_reshape([-1, width])?.f_cross_entropy_loss(&next, none, Reduction::Mean, IGNORED, 0.0)?)
}

/// Returns the positions of hidden states, `[rows, length, width]`, that are named, those from the end by negative numbers.
///
/// # Errors
/// `IndexError` for one that is not there.
pub fn select(hidden: &Tensor, positions: &Tensor) -> Result<Tensor> {
    let length = hidden.size().get(1).copied().unwrap_or(0);
    let named = Vec::<i64>::try_from(positions.f_to_kind(Kind::Int64)?)?;
    if let Some(wrong) = named.iter().find(|position| !(-length..length).contains(position)) {
        let message = format!("index {wrong} is out of bounds for dimension 1 with size {length}");
        return Err(Raise::index_error(message).into());
    }
    let counted: Vec<i64> = named.iter().map(|&at| if at < 0 { at + length } else { at }).collect();
    Ok(hidden.f_index_select(1, &Tensor::f_from_slice(&counted)?.f_to_device(hidden.device())?)?)
}
