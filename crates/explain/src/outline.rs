//! A hosted model, as far as one has to know it to say what a program would do to it.

use serde::{Deserialize, Serialize};

use crate::form::Form;

/// A model's modules, in what order a pass comes to them, what flows through them, and how long that takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outline {
    /// In the order of Hugging Face's `named_modules()`; the root is first, with an empty name.
    pub modules: Vec<Module>,
    /// The decoder layers, first to last.
    pub layers: Vec<u32>,
    /// What modules take and return, each once.
    pub forms: Vec<Form>,
    /// Whole passes of one row that were timed when the model was loaded, shortest first.
    pub passes: Vec<Timed>,
}

/// One module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Module {
    /// Below its parent: `layers`, `0`, `self_attn`.
    pub name: String,
    /// The Python class: `GPT2Attention`.
    pub class: String,
    pub parent: Option<u32>,
    /// When a pass comes to its arguments, and when to its output. `None` where no pass runs it.
    pub span: Option<(u32, u32)>,
    /// Its first argument and its output, by their places in [`Outline::forms`].
    pub input: u32,
    pub output: u32,
}

/// A pass, and how long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    pub tokens: u32,
    pub seconds: f64,
}

impl Outline {
    /// Encodes it as it travels from a worker to gateways.
    ///
    /// # Errors
    /// When a length does not fit the encoding.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_stdvec(self)
    }

    /// Decodes what [`Outline::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(bytes)
    }

    #[must_use]
    pub fn module(&self, at: u32) -> Option<&Module> {
        self.modules.get(at as usize)
    }

    /// Returns the path below the root: `transformer.h.0.attn`.
    #[must_use]
    pub fn path(&self, at: u32) -> String {
        let mut names = Vec::new();
        let mut next = Some(at);
        // Parents come before their children, so this ends.
        while let Some(module) = next.and_then(|at| self.module(at)) {
            if !module.name.is_empty() {
                names.push(module.name.as_str());
            }
            next = module.parent.filter(|parent| next.is_some_and(|at| *parent < at));
        }
        names.reverse();
        names.join(".")
    }

    /// Lists the modules directly below one, with their names, in the order of their declaration.
    pub fn children(&self, of: u32) -> impl Iterator<Item = (u32, &str)> {
        let numbered = self.modules.iter().enumerate().skip(1);
        let below = numbered.filter(move |(_, module)| module.parent == Some(of));
        below.filter_map(|(at, module)| Some((u32::try_from(at).ok()?, module.name.as_str())))
    }

    /// Returns the module below one under a name.
    #[must_use]
    pub fn child(&self, of: u32, name: &str) -> Option<u32> {
        self.children(of).find(|(_, child)| *child == name).map(|(at, _)| at)
    }

    /// Returns the module at a path below the root.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<u32> {
        let mut parts = path.split('.').filter(|part| !part.is_empty());
        parts.try_fold(0, |at, name| self.child(at, name))
    }

    /// Returns what a module takes first.
    #[must_use]
    pub fn input(&self, at: u32) -> Form {
        self.module(at).and_then(|module| self.forms.get(module.input as usize)).cloned().unwrap_or_default()
    }

    /// Returns what a module returns.
    #[must_use]
    pub fn output(&self, at: u32) -> Form {
        self.module(at).and_then(|module| self.forms.get(module.output as usize)).cloned().unwrap_or_default()
    }

    /// Returns how many layers a pass begins that goes no further than to one moment.
    #[must_use]
    pub fn layers_until(&self, moment: u32) -> usize {
        let begins =
            |layer: &&u32| self.module(**layer).and_then(|layer| layer.span).is_some_and(|(at, _)| at < moment);
        self.layers.iter().filter(begins).count()
    }

    /// Returns how long a whole pass over so many tokens is likely to take, by those that were timed.
    #[must_use]
    pub fn seconds(&self, tokens: u64) -> Option<f64> {
        let (first, last) = (self.passes.first()?, self.passes.last()?);
        let span = f64::from(last.tokens.saturating_sub(first.tokens));
        let slope = if span > 0.0 { ((last.seconds - first.seconds) / span).max(0.0) } else { 0.0 };
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let more = tokens as f64 - f64::from(first.tokens);
        Some((first.seconds + slope * more).max(0.0))
    }
}

/// A model of a few modules, for tests.
#[cfg(test)]
pub mod testing {
    use program::DType;

    use super::*;
    use crate::form::Size;

    /// Makes `embed`, two `layers` with an `mlp` each, whose output is a tuple, a `norm` that is never run, and an `lm_head`.
    pub fn outline() -> Outline {
        let hidden = Form::Tensor(DType::Float32, vec![Size::Rows, Size::Length, Size::Fixed(8)]);
        let logits = Form::Tensor(DType::Float32, vec![Size::Rows, Size::Length, Size::Fixed(100)]);
        let record = Form::Record("Output".into(), vec![("logits".into(), logits.clone())]);
        let ids = Form::Tensor(DType::Int64, vec![Size::Rows, Size::Length]);
        let forms = vec![Form::Unknown, ids, hidden.clone(), Form::Tuple(vec![hidden]), logits, record];
        let module = |name: &str, class: &str, parent, span, input, output| Module {
            name: name.into(),
            class: class.into(),
            parent,
            span,
            input,
            output,
        };
        let modules = vec![
            module("", "ForCausalLM", None, Some((0, 17)), 1, 5),
            module("embed", "Embedding", Some(0), Some((2, 4)), 1, 2),
            module("layers", "ModuleList", Some(0), None, 0, 0),
            module("0", "Layer", Some(2), Some((5, 9)), 2, 3),
            module("mlp", "MLP", Some(3), Some((7, 8)), 2, 2),
            module("1", "Layer", Some(2), Some((10, 14)), 2, 3),
            module("mlp", "MLP", Some(5), Some((12, 13)), 2, 2),
            module("norm", "Norm", Some(0), None, 0, 0),
            module("lm_head", "Linear", Some(0), Some((15, 16)), 2, 4),
        ];
        let passes = vec![Timed { tokens: 1, seconds: 0.1 }, Timed { tokens: 11, seconds: 0.2 }];
        Outline { modules, layers: vec![3, 5], forms, passes }
    }

    #[test]
    fn modules_are_found_by_their_paths_and_passes_cost_what_was_timed() {
        let outline = outline();
        assert_eq!(outline.at("layers.1.mlp"), Some(6));
        assert_eq!((outline.path(6).as_str(), outline.path(0).as_str()), ("layers.1.mlp", ""));
        assert_eq!(outline.at("layers.2"), None);
        assert_eq!(outline.layers_until(4), 0);
        assert_eq!(outline.layers_until(8), 1);
        assert_eq!(outline.layers_until(17), 2);
        assert!((outline.seconds(21).unwrap() - 0.3).abs() < 1e-9);
        assert_eq!(Outline::decode(&outline.encode().unwrap()).unwrap(), outline);
        assert_eq!(Outline::default().seconds(3), None);
    }
}
