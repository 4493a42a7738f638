//! `ModelOutput`, the record that Hugging Face models return.

use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::types::opaque::Opaque;
use interpreter::{Args, Effect, HostObject, HostResult, Machine, Outcome, Use, Value};

use crate::python;

/// A record whose fields are attributes, keys and positions at once.
pub struct ModelOutput {
    /// Import path of the class.
    pub class: &'static str,
    fields: RefCell<Vec<(&'static str, Value)>>,
    /// Whether a field was set since somebody asked.
    written: Cell<bool>,
}

/// Records of the families that are served, by import path, with the fields that each declares.
const CLASSES: [(&str, &[&str]); 10] = [
    (
        "transformers.generation.utils.GenerateDecoderOnlyOutput",
        &["sequences", "scores", "logits", "attentions", "hidden_states", "past_key_values"],
    ),
    (
        "transformers.generation.utils.GenerateBeamDecoderOnlyOutput",
        &[
            "sequences",
            "sequences_scores",
            "scores",
            "logits",
            "beam_indices",
            "attentions",
            "hidden_states",
            "past_key_values",
        ],
    ),
    (
        "transformers.modeling_outputs.CausalLMOutputWithPast",
        &["loss", "logits", "past_key_values", "hidden_states", "attentions"],
    ),
    (
        "transformers.modeling_outputs.CausalLMOutputWithCrossAttentions",
        &["loss", "logits", "past_key_values", "hidden_states", "attentions", "cross_attentions"],
    ),
    (
        "transformers.modeling_outputs.BaseModelOutputWithPast",
        &["last_hidden_state", "past_key_values", "hidden_states", "attentions"],
    ),
    (
        "transformers.modeling_outputs.BaseModelOutputWithPastAndCrossAttentions",
        &["last_hidden_state", "past_key_values", "hidden_states", "attentions", "cross_attentions"],
    ),
    (
        "transformers.modeling_outputs.MoeCausalLMOutputWithPast",
        &["loss", "aux_loss", "logits", "past_key_values", "hidden_states", "attentions", "router_logits"],
    ),
    (
        "transformers.modeling_outputs.MoeModelOutputWithPast",
        &["last_hidden_state", "past_key_values", "hidden_states", "attentions", "router_logits"],
    ),
    (
        "transformers.models.gemma3.modeling_gemma3.Gemma3CausalLMOutputWithPast",
        &["loss", "logits", "past_key_values", "hidden_states", "attentions", "image_hidden_states"],
    ),
    (
        "transformers.models.gemma3.modeling_gemma3.Gemma3ModelOutputWithPast",
        &["last_hidden_state", "past_key_values", "hidden_states", "attentions", "image_hidden_states"],
    ),
];

impl ModelOutput {
    /// Makes a record; fields that are `None` are left out, as in Hugging Face's.
    #[must_use]
    pub fn new(class: &'static str, fields: Vec<(&'static str, Value)>) -> Self {
        let fields = fields.into_iter().filter(|(_, value)| !matches!(value, Value::None)).collect();
        Self { class, fields: RefCell::new(fields), written: Cell::new(false) }
    }

    /// Returns the fields that a class declares, in order; `None` for a class that is no `ModelOutput`.
    #[must_use]
    pub fn declared(class: &str) -> Option<&'static [&'static str]> {
        Self::class(class).map(|(_, fields)| fields)
    }

    /// Returns a class by its import path, and the fields that it declares.
    #[must_use]
    pub fn class(path: &str) -> Option<(&'static str, &'static [&'static str])> {
        CLASSES.iter().find(|(class, _)| *class == path).copied()
    }

    /// Returns a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<Value> {
        self.fields.borrow().iter().find(|(field, _)| *field == name).map(|(_, value)| value.clone())
    }

    /// Returns the fields in order.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, Value)> {
        self.fields.borrow().clone()
    }

    /// Returns whether a field was set since the last question: what the model goes on with then follows.
    pub fn take_written(&self) -> bool {
        self.written.take()
    }

    fn set(&self, name: &str, value: Value) -> bool {
        let before = match self.fields.borrow_mut().iter_mut().find(|(field, _)| *field == name) {
            Some((_, slot)) => std::mem::replace(slot, value),
            None => return false,
        };
        drop(before);
        self.written.set(true);
        true
    }

    fn values(&self) -> Vec<Value> {
        self.fields.borrow().iter().map(|(_, value)| value.clone()).collect()
    }
}

const METHODS: [&str; 5] = ["keys", "values", "items", "to_tuple", "get"];

impl HostObject for ModelOutput {
    fn type_name(&self) -> Cow<'static, str> {
        self.class.rsplit('.').next().unwrap_or(self.class).into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn class(&self) -> Option<Value> {
        Some(Opaque::named(self.class))
    }

    fn effect(&self, _machine: &Machine, name: &str, usage: Use<'_>) -> Effect {
        match usage {
            Use::Read if self.field(name).is_some() => Effect::Looks,
            usage => effect(name, usage).unwrap_or(Effect::Anything),
        }
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(self.values())
    }

    fn get_attribute(self: Rc<Self>, _machine: &Machine, name: &str) -> HostResult {
        match self.field(name) {
            Some(value) => Ok(value.into()),
            None if METHODS.contains(&name) => {
                let method = name.to_owned();
                let bound = move |machine: &Machine, args: Args| Rc::clone(&self).call_method(machine, &method, &args);
                Ok(Value::native(name, bound).into())
            }
            // A declared field that the model did not fill reads as None.
            None if Self::declared(self.class).is_some_and(|fields| fields.contains(&name)) => Ok(Value::None.into()),
            None => Ok(Outcome::NotImplemented),
        }
    }

    fn set_attribute(self: Rc<Self>, _machine: &Machine, name: &str, value: Value) -> HostResult {
        Ok(if self.set(name, value) { Outcome::Ready(Value::None) } else { Outcome::NotImplemented })
    }

    fn call_method(self: Rc<Self>, machine: &Machine, name: &str, args: &Args) -> HostResult {
        let fields = self.fields();
        match name {
            "keys" | "values" | "items" => {
                args.none(name)?;
                // It is an `OrderedDict`.
                let dict = Value::Dict(Rc::new(interpreter::Dict::ordered(fields)));
                let (machine, name) = (machine.clone(), name.to_owned());
                Ok(Outcome::Later(Box::pin(async move {
                    let view = machine.get_attribute(&dict, &name).await?;
                    machine.call(&view, Args::default()).await
                })))
            }
            "to_tuple" => Ok(Value::tuple(self.values()).into()),
            "get" => {
                let key = args.positional.first().and_then(python::string);
                let found = key.and_then(|key| self.field(&key));
                Ok(found.or_else(|| args.positional.get(1).cloned()).unwrap_or(Value::None).into())
            }
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn get_item(self: Rc<Self>, machine: &Machine, key: &Value) -> HostResult {
        if let Some(name) = python::string(key) {
            return self.field(&name).map(Outcome::Ready).ok_or_else(|| Raise::key_error(key.clone()));
        }
        python::index(machine, &Value::tuple(self.values()), key)
    }

    fn set_item(self: Rc<Self>, _machine: &Machine, key: &Value, value: Value) -> HostResult {
        match python::string(key) {
            Some(name) if self.set(&name, value) => Ok(Outcome::Ready(Value::None)),
            _ => Err(Raise::key_error(key.clone())),
        }
    }

    fn length(&self, _machine: &Machine) -> Result<Option<usize>, Raise> {
        Ok(Some(self.fields.borrow().len()))
    }

    fn contains(self: Rc<Self>, _machine: &Machine, element: &Value) -> HostResult {
        let found = python::string(element).is_some_and(|name| self.field(&name).is_some());
        Ok(Value::Bool(found).into())
    }

    fn iterate(self: Rc<Self>, _machine: &Machine) -> Result<Option<Box<dyn interpreter::Iteration>>, Raise> {
        // Iterating a ModelOutput walks its keys, being an OrderedDict.
        let keys = self.fields().iter().map(|(name, _)| Value::string(*name)).collect();
        Ok(Some(python::iterate_all(keys)))
    }
}

/// Says what using a name of a record does, whichever it is; `None` for names that none has.
pub fn effect(name: &str, usage: Use<'_>) -> Option<Effect> {
    const FIELDS: [&str; 14] = [
        "attention_mask",
        "attentions",
        "beam_indices",
        "scores",
        "sequences",
        "sequences_scores",
        "cross_attentions",
        "hidden_states",
        "image_hidden_states",
        "input_ids",
        "last_hidden_state",
        "logits",
        "loss",
        "past_key_values",
    ];
    let known = FIELDS.contains(&name) || matches!(name, "keys" | "values" | "items" | "to_tuple" | "get");
    match usage {
        Use::Store => None,
        Use::Read | Use::Call { .. } => known.then_some(Effect::Looks),
    }
}
