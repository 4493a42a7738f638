//! Keyword arguments of the forward call that change what it does.

use std::rc::Rc;

use engine::{Packed, Tree};
use interpreter::Value;
use interpreter::raise::Raise;

use crate::alone::Alone;
use crate::family::CAUSAL;
use crate::pass::Flow;

/// Keyword arguments of the forward calls of a pass.
#[derive(Clone, Default)]
pub struct Flags {
    pub output_hidden_states: bool,
    pub output_attentions: bool,
    pub use_cache: Option<bool>,
    /// The configuration says that calls keep nothing which do not ask for it.
    pub uncached: bool,
    /// Whether routers' logits are asked for; `None` where there are no routers.
    pub routes: Option<bool>,
    /// Whether attention is causal that is handed no mask, where that is said.
    pub causal: Option<bool>,
    /// As the caller gave them, those that modules pass on.
    pub given: Vec<(&'static str, Flow)>,
    /// Last positions of each segment to compute logits for; zero for all.
    pub logits_to_keep: Vec<i64>,
    /// What only a call is given that is alone in its pass.
    pub alone: Alone,
}

impl Flags {
    /// Returns whether keys and values are kept.
    pub fn caches(&self) -> bool {
        self.use_cache.unwrap_or(!self.uncached)
    }

    /// Returns whether what routers make is collected.
    pub fn routes(&self) -> bool {
        self.routes.unwrap_or(false)
    }

    /// Returns whether something is collected of every layer.
    pub fn collects(&self) -> bool {
        self.output_hidden_states || self.output_attentions || self.routes()
    }

    /// Adds the keyword arguments of one call. Returns how many last positions it wants logits of; zero is all.
    ///
    /// # Errors
    /// `ValueError` naming an argument that is not supported.
    pub fn add(&mut self, arguments: &[(Rc<str>, Value)]) -> Result<i64, Raise> {
        let mut keep = 0;
        for (name, value) in arguments {
            let Some(known) = KNOWN.iter().copied().find(|known| **known == **name) else {
                // As in Hugging Face's forward, which passes on what it does not know.
                continue;
            };
            match known {
                "output_hidden_states" | "output_attentions" | CAUSAL => {
                    if let Value::Bool(flag) = value {
                        match known {
                            "output_hidden_states" => self.output_hidden_states = *flag,
                            "output_attentions" => self.output_attentions = *flag,
                            _ => self.causal = Some(*flag),
                        }
                    }
                }
                "use_cache" => {
                    if let Value::Bool(flag) = value {
                        self.use_cache = Some(*flag || self.use_cache.unwrap_or(false));
                    }
                }
                "logits_to_keep" if value.as_int().is_some_and(|number| number >= 0) => {
                    keep = value.as_int().unwrap_or(0);
                }
                "return_dict" => {
                    // Taken by the model itself, which hands it on to nobody.
                    self.alone.tuple = matches!(value, Value::Bool(false));
                    if self.alone.tuple {
                        continue;
                    }
                }
                "max_length" | "prefix_length" => {}
                "output_router_logits" if self.routes.is_some() => {
                    if let Value::Bool(flag) = value {
                        self.routes = Some(*flag);
                    }
                }
                "output_router_logits" if !matches!(value, Value::Bool(true)) => {}
                _ if matches!(value, Value::None) => {}
                _ if self.alone.take(known, value)? => {}
                "pixel_values" | "mm_encoder_outputs" => {
                    return Err(Raise::value_error(format!(
                        "the model's argument `{known}` is not supported by this server: models are served for text, and \
                         images are not looked at"
                    )));
                }
                _ => {
                    let message = format!("the model's argument `{known}` is not supported by this server");
                    return Err(Raise::value_error(message));
                }
            }
            let shown = match (value, torch::Tensor::of(value)) {
                (Value::Bool(flag), _) => Tree::Bool(*flag),
                (Value::Int(number), _) => Tree::Int(*number),
                (_, Some(tensor)) => Tree::Leaf(Packed::Parts(vec![tensor])),
                _ => crate::cache::flow(value).unwrap_or(Tree::None),
            };
            if !self.given.iter().any(|(name, _)| *name == known) {
                self.given.push((known, shown));
            }
        }
        Ok(keep)
    }
}

/// Keyword arguments that are obeyed, or refused by name.
const KNOWN: [&str; 18] = [
    "output_hidden_states",
    "output_attentions",
    "use_cache",
    "logits_to_keep",
    "return_dict",
    "max_length",
    "prefix_length",
    "labels",
    "attention_mask",
    "inputs_embeds",
    "past_key_values",
    "token_type_ids",
    "encoder_hidden_states",
    "encoder_attention_mask",
    "output_router_logits",
    CAUSAL,
    "pixel_values",
    "mm_encoder_outputs",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_asks_for_counts_before_what_the_configuration_says() {
        let mut flags = Flags { uncached: true, output_hidden_states: true, causal: Some(true), ..Flags::default() };
        assert!(!flags.caches() && flags.collects());
        let said = [("use_cache", true), ("output_hidden_states", false), (CAUSAL, false)];
        flags.add(&said.map(|(name, flag)| (name.into(), Value::Bool(flag)))).unwrap();
        assert!(flags.caches() && !flags.collects() && Flags::default().caches());
        assert_eq!((flags.causal, flags.given.len()), (Some(false), 3));
    }
}
