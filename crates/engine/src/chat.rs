//! Messages of a conversation: what a trace is given, and what `apply_chat_template` makes text of.

use std::rc::Rc;

use interpreter::raise::{Kind, Raise};
use interpreter::{Machine, Value};
use serde_json::{Map, Value as Json};

use crate::model::Tokenizer;
use crate::python;

/// Nesting of values that a template is given.
const DEPTH: usize = 32;

/// How a conversation becomes text.
#[derive(Default)]
pub struct Chat {
    pub add_generation_prompt: bool,
    pub continue_final_message: bool,
    /// What the template is given besides.
    pub more: Vec<(Rc<str>, Value)>,
}

/// Returns the conversations of a value that is one, or several, and whether it is several.
#[must_use]
pub fn conversations(value: &Value) -> Option<(Vec<Value>, bool)> {
    let is_message = |value: &Value| matches!(value, Value::Dict(dict) if dict.get_string("role").is_some());
    let is_conversation = |value: &Value| {
        python::sequence(value).is_some_and(|messages| !messages.is_empty() && messages.iter().all(is_message))
    };
    if is_conversation(value) {
        return Some((vec![value.clone()], false));
    }
    let all = python::sequence(value)?;
    (!all.is_empty() && all.iter().all(is_conversation)).then_some((all, true))
}

impl Chat {
    /// As the text-generation pipeline has it: an answer begins, unless the last message is the beginning of one.
    #[must_use]
    pub fn of_pipeline(conversation: &Value, continues: Option<bool>) -> Self {
        let last = python::sequence(conversation).and_then(|messages| messages.last().cloned());
        let role = match last {
            Some(Value::Dict(message)) => message.get_string("role").as_ref().and_then(python::string),
            _ => None,
        };
        let continue_final_message = continues.unwrap_or(role.as_deref() == Some("assistant"));
        Self { add_generation_prompt: !continue_final_message, continue_final_message, more: Vec::new() }
    }

    /// Makes text of a conversation.
    ///
    /// # Errors
    /// `ValueError` where the checkpoint has no template, or the last message cannot be continued; what the template says of
    /// messages that it does not take.
    pub fn render(&self, tokenizer: &dyn Tokenizer, machine: &Machine, conversation: &Value) -> Result<String, Raise> {
        let mut variables = Map::new();
        for (name, token) in tokenizer.specials() {
            variables.insert(name.into(), token.into());
        }
        variables.insert("messages".into(), json(machine, conversation, 0)?);
        variables.insert("add_generation_prompt".into(), self.add_generation_prompt.into());
        for (name, value) in &self.more {
            variables.insert(name.to_string(), json(machine, value, 0)?);
        }
        let text = tokenizer.render(machine, &Json::Object(variables))?.ok_or_else(|| {
            Raise::value_error(
                "Cannot use chat template functions because tokenizer.chat_template is not set and no template argument \
                 was passed! For information about writing templates and setting the tokenizer.chat_template attribute, \
                 please see the documentation at https://huggingface.co/docs/transformers/main/en/chat_templating",
            )
        })?;
        if self.continue_final_message { up_to_final(text, conversation) } else { Ok(text) }
    }
}

/// Cuts a text off behind its last message.
fn up_to_final(mut text: String, conversation: &Value) -> Result<String, Raise> {
    let last = python::sequence(conversation).and_then(|messages| messages.last().cloned());
    let content = match last {
        Some(Value::Dict(message)) => message.get_string("content").as_ref().and_then(python::string),
        _ => None,
    };
    let content = content.unwrap_or_default();
    let Some(start) = text.rfind(content.trim()) else {
        return Err(Raise::value_error(
            "continue_final_message is set but the final message does not appear in the chat after applying the chat \
             template! This can happen if the chat template deletes portions of the final message. Please verify the chat \
             template and final message in your chat to ensure they are compatible.",
        ));
    };
    let begun = content.trim_start();
    let whole = text.get(start..).is_some_and(|rest| rest.starts_with(begun));
    text.truncate(start + if whole { begun.len() } else { content.trim().len() });
    Ok(text)
}

/// Shows a value to a template.
fn json(machine: &Machine, value: &Value, depth: usize) -> Result<Json, Raise> {
    machine.charge_fuel(1)?;
    if depth >= DEPTH {
        return Err(Raise::value_error(format!("messages are nested more than {DEPTH} deep")));
    }
    if let Value::Dict(dict) = value {
        let mut pairs = Map::new();
        for (key, value) in dict.entries() {
            let key = python::string(&key).ok_or_else(|| Raise::type_error("a message's keys have to be text"))?;
            pairs.insert(key, json(machine, &value, depth + 1)?);
        }
        return Ok(Json::Object(pairs));
    }
    if let Some(items) = python::sequence(value) {
        return Ok(Json::Array(items.iter().map(|item| json(machine, item, depth + 1)).collect::<Result<_, _>>()?));
    }
    Ok(match value {
        Value::None => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Int(number) => Json::from(*number),
        Value::Float(number) => Json::from(*number),
        Value::Str(text) => {
            machine.charge_fuel(text.len() as u64 / 64)?;
            Json::from(&**text)
        }
        other => {
            let name = interpreter::types::type_name(other);
            return Err(Raise::new(Kind::TypeError, format!("a message cannot hold a value of type '{name}'")));
        }
    })
}
