//! Messages of a conversation as the text that a checkpoint was trained on, by its own template.

use std::path::Path;

use interpreter::Machine;
use interpreter::raise::{Kind, Raise};
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind};
use serde_json::{Map, Value, json};

use crate::error::LoadError;

/// Steps of a template, each of which takes some of the job's.
const STEPS: u64 = 1_000_000;
/// Steps of the job for each of a template's.
const STEP: u64 = 4;

/// A checkpoint's template.
pub struct Template {
    text: String,
    environment: Environment<'static>,
}

impl Template {
    /// Finds the template of a model folder: `chat_template.jinja`, else what `tokenizer_config.json` has.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub fn read(folder: &Path, config: &Map<String, Value>) -> Result<Option<Self>, LoadError> {
        let file = folder.join("chat_template.jinja");
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => Some(text),
            Err(_) => match config.get("chat_template") {
                Some(Value::String(text)) => Some(text.clone()),
                // Several, by their names.
                Some(Value::Array(all)) => {
                    let default = all.iter().find(|one| one.get("name").and_then(Value::as_str) == Some("default"));
                    default.and_then(|one| one.get("template")).and_then(Value::as_str).map(str::to_owned)
                }
                _ => None,
            },
        };
        let made = text.map(Self::new).transpose();
        made.map_err(|error| LoadError::Tokenizer { file, reason: format!("its chat template: {error}") })
    }

    fn new(text: String) -> Result<Self, Error> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(STEPS));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", |_: String| -> Result<String, Error> {
            let message = "the template asks for the time of day, which this server does not tell";
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_filter("tojson", tojson);
        environment.add_template_owned("chat", without_marks(&text))?;
        Ok(Self { text, environment })
    }

    /// Returns the template itself.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Renders a conversation.
    ///
    /// # Errors
    /// `TemplateError` with what the template says of messages that it does not take; the machine's own when the job's
    /// fuel is spent.
    pub fn render(&self, machine: &Machine, variables: &Value) -> Result<String, Raise> {
        let raise = |error: &Error| {
            let message = match error.kind() {
                ErrorKind::OutOfFuel => {
                    "the conversation takes more steps of the template than this server allows".into()
                }
                _ => error.detail().map_or_else(|| error.to_string(), str::to_owned),
            };
            Raise::named("jinja2.exceptions.TemplateError", Kind::Exception, message)
        };
        machine.charge_fuel(STEP)?;
        let template = self.environment.get_template("chat").map_err(|error| raise(&error))?;
        let rendered = template.render_captured(variables).map_err(|error| raise(&error))?;
        let used = rendered.state().fuel_levels().map_or(0, |(used, _)| used);
        machine.charge_fuel(STEP * used + rendered.output().len() as u64 / 8)?;
        Ok(rendered.into_output())
    }
}

/// Takes out the marks around what an assistant said, which only training looks for.
fn without_marks(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest.get(start..).and_then(|tag| tag.find("%}")) else { break };
        let (before, tag, after) = (&rest[..start], &rest[start..start + length + 2], &rest[start + length + 2..]);
        let inner = tag.trim_start_matches("{%").trim_end_matches("%}");
        let replaced = match inner.trim_matches(|letter: char| letter == '-' || letter.is_whitespace()) {
            "generation" => tag.replace("generation", "if true"),
            "endgeneration" => tag.replace("endgeneration", "endif"),
            _ => tag.to_owned(),
        };
        made.push_str(before);
        made.push_str(&replaced);
        rest = after;
    }
    made + rest
}

/// `json.dumps`, with Python's spaces.
fn tojson(value: &minijinja::Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    options.get::<Option<bool>>("ensure_ascii")?;
    options.assert_all_used()?;
    let value =
        serde_json::to_value(value).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    let mut text = String::new();
    write(&value, indent, 0, &mut text);
    Ok(text)
}

fn write(value: &Value, indent: Option<usize>, depth: usize, text: &mut String) {
    let (open, close, items): (char, char, Vec<(Option<&String>, &Value)>) = match value {
        Value::Array(items) if !items.is_empty() => ('[', ']', items.iter().map(|item| (None, item)).collect()),
        Value::Object(pairs) if !pairs.is_empty() => {
            ('{', '}', pairs.iter().map(|(key, item)| (Some(key), item)).collect())
        }
        plain => return text.push_str(&plain.to_string()),
    };
    let line = |depth: usize, text: &mut String| {
        if let Some(indent) = indent {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', indent * depth));
        }
    };
    text.push(open);
    for (at, (key, item)) in items.into_iter().enumerate() {
        if at > 0 {
            text.push_str(if indent.is_some() { "," } else { ", " });
        }
        line(depth + 1, text);
        if let Some(key) = key {
            text.push_str(&json!(key).to_string());
            text.push_str(": ");
        }
        write(item, indent, depth + 1, text);
    }
    line(depth, text);
    text.push(close);
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use program::Limits;

    use super::*;

    struct Nothing;

    impl interpreter::Environment for Nothing {}

    fn rendered(template: &str, variables: &Value) -> Result<String, String> {
        let machine = Machine::new(&Limits::default(), Rc::new(Nothing));
        let template = Template::new(template.to_owned()).map_err(|error| error.to_string())?;
        template.render(&machine, variables).map_err(|raise| raise.message())
    }

    #[test]
    fn templates_speak_jinja_with_pythons_methods() {
        let template = "{% for message in messages %}\n  {%- generation -%}\n<|{{ message['role'] }}|>{{ message.content.strip() | upper }}\n  {%- endgeneration %}\n{% endfor %}\n{% if add_generation_prompt %}<|assistant|>{% endif %}";
        let variables = json!({"messages": [{"role": "user", "content": " hi "}], "add_generation_prompt": true});
        assert_eq!(rendered(template, &variables).unwrap(), "<|user|>HI<|assistant|>");
    }

    #[test]
    fn json_is_written_as_python_writes_it() {
        let variables = json!({"x": {"a": [1, "é", null]}, "y": []});
        assert_eq!(rendered("{{ x | tojson }}{{ y | tojson }}", &variables).unwrap(), "{\"a\": [1, \"é\", null]}[]");
        let indented = "{\n  \"a\": [\n    1,\n    \"é\",\n    null\n  ]\n}";
        assert_eq!(rendered("{{ x | tojson(indent=2) }}", &variables).unwrap(), indented);
    }

    #[test]
    fn what_a_template_refuses_and_what_never_ends_is_an_error() {
        assert_eq!(rendered("{{ raise_exception('no system') }}", &json!({})).unwrap_err(), "no system");
        let endless = "{% for a in range(10000) %}{% for b in range(10000) %}{{ b }}{% endfor %}{% endfor %}";
        assert!(rendered(endless, &json!({})).unwrap_err().contains("more steps"));
    }
}
