//! Whether a program wants gradients, told from its text before it runs.
//!
//! PyTorch records what gradients need wherever a parameter takes part. Here no weight requires grad, and a pass whose
//! rows are shared records nothing; so a program that may ask for gradients is known by the names it uses.

use std::collections::HashSet;

use program::{Datum, Program, Ref};

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

/// Says whether any source text of a program, or a name that it refers to, mentions gradients. Strings and comments
/// count: `getattr(loss, "backward")` is found, and a needless find costs only shared passes.
pub fn mentioned(program: &Program) -> bool {
    let mut sources = HashSet::new();
    let datum = |datum: &Datum| match datum {
        // Many functions may share one.
        Datum::Function { source, .. } => sources.insert(*source) && program.heap.text(*source).is_some_and(named),
        Datum::Envoy(envoy) => envoy.edits.iter().any(|edit| named(&edit.source.text)),
        Datum::Global { module, name } => named(module) || named(name),
        Datum::Attribute { name, .. } => named(name),
        Datum::Module(module) => named(module),
        _ => false,
    };
    let heap = (0..u32::try_from(program.heap.len()).unwrap_or(u32::MAX)).filter_map(|at| program.heap.get(Ref(at)));
    named(&program.source.text) || heap.into_iter().any(datum)
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
