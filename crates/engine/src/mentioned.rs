//! What a program may do, told from its texts before it runs: no program comes to a word by itself but by building it of
//! parts.
//!
//! PyTorch records what gradients need wherever a parameter takes part. Here no weight requires grad, and a pass whose
//! rows are shared records nothing; so a program that may ask for gradients is known by the names it uses.

use std::collections::HashSet;

use program::{Datum, Program};

use crate::turn::Reading;

/// Names that every way of asking for gradients, or of asking whether they are recorded, has to use.
const NAMES: [&str; 10] = [
    "backward",
    "grad",
    "autograd",
    "requires_grad",
    "requires_grad_",
    "retain_grad",
    "enable_grad",
    "set_grad_enabled",
    "is_grad_enabled",
    "grad_fn",
];

/// What a program's texts mention. Strings and comments count: `getattr(loss, "backward")` is found, and a needless find
/// costs only shared passes.
#[derive(Debug, Default, PartialEq)]
pub struct Mentioned {
    /// Operations of modules' forwards.
    pub sources: bool,
    /// All arguments of modules, which hooks are given too.
    pub calls: bool,
    /// Gradients, in a source text or a name that is referred to.
    pub gradients: bool,
}

impl Mentioned {
    /// Looks through a program.
    pub fn of(program: &Program, reading: &Reading) -> Self {
        let mut all = Self::default();
        // Many functions may share one.
        let mut functions = HashSet::new();
        all.add_text(&program.source.text);
        all.gradients |= named(&program.source.text);
        for datum in program.heap.iter() {
            let mut bytes = 0;
            match datum {
                Datum::Str(text) => {
                    all.add_text(text);
                    bytes = text.len();
                }
                Datum::Function { source, .. } if functions.insert(*source) => {
                    let text = program.heap.text(*source).unwrap_or_default();
                    all.gradients |= named(text);
                    bytes = text.len();
                }
                Datum::Envoy(envoy) => envoy.edits.iter().for_each(|edit| {
                    all.add_text(&edit.source.text);
                    all.gradients |= named(&edit.source.text);
                    bytes += edit.source.text.len();
                }),
                Datum::Global { module, name } => all.gradients |= named(module) || named(name),
                Datum::Attribute { name, .. } | Datum::Module(name) => all.gradients |= named(name),
                _ => {}
            }
            reading.pace(bytes);
        }
        all
    }

    fn add_text(&mut self, text: &str) {
        self.sources |= text.contains("source");
        self.calls |=
            [".inputs", "'inputs'", "include_inputs", "register_forward"].into_iter().any(|name| text.contains(name));
    }
}

fn named(text: &str) -> bool {
    // Most texts have neither, which is quickly seen.
    (text.contains("grad") || text.contains("backward"))
        && text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| NAMES.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_are_mentions() {
        for text in ["with loss.backward():", "x.grad", "torch.autograd", "h.requires_grad_()", "f(requires_grad=True)"]
        {
            assert!(named(text), "{text}");
        }
        for text in ["with torch.no_grad():", "graduate", "backwards", "a gradual upgrade", ""] {
            assert!(!named(text), "{text}");
        }
    }
}
