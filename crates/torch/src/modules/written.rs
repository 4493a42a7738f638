//! What PyTorch itself writes in Python on top of its operators, written in Python here too.
//!
//! Texts are run by the evaluator as the standard modules are: their steps are the job's, and what one of their functions
//! does is nothing that anybody declares, so a block that calls one runs in its turn.

use std::sync::OnceLock;

use interpreter::modules::{Members, Written, alone, written};
use interpreter::raise::Raise;
use interpreter::{Machine, Outcome, Value};

use super::neural;
use crate::{array, binding, function};

/// A text, and the module whose names it adds to.
struct Text {
    module: &'static str,
    /// What the text is known by: that of the module, or of a part of it.
    name: &'static str,
    written: Written,
}

const TEXTS: &[Text] = &[
    of("einops", "einops", alone(include_str!("python/einops.py"))),
    of("numpy", "numpy", numeric(include_str!("python/numpy.py"))),
    of("numpy.linalg", "numpy.linalg", numeric(include_str!("python/linalg.py"))),
    of("numpy.ndarray", "numpy.ndarray", numeric(include_str!("python/ndarray.py"))),
    of("numpy.random", "numpy.random", numeric(include_str!("python/numpy_random.py"))),
    of("torch", "torch", calling(include_str!("python/torch.py"))),
    of("torch.Tensor", "torch.Tensor", calling(include_str!("python/tensor.py"))),
    of("torch.autograd", "torch.autograd", recording(include_str!("python/autograd.py"))),
    of("torch.autograd.functional", "torch.autograd.functional", alone(include_str!("python/autograd_functional.py"))),
    of("torch.func", "torch.func", calling(include_str!("python/func.py"))),
    of("torch.nn", "torch.nn.layers", calling(include_str!("python/layers.py"))),
    of("torch.nn", "torch.nn.modules.rnn", calling(include_str!("python/recurrent.py"))),
    of("torch.nn", "torch.nn.modules.transformer", calling(include_str!("python/transformer.py"))),
    of("torch.nn.Module", "torch.nn.Module", calling(include_str!("python/module.py"))),
    of("torch.nn.functional", "torch.nn.functional", calling(include_str!("python/functional.py"))),
    of("torch.nn.init", "torch.nn.init", alone(include_str!("python/init.py"))),
    of("torch.nn.utils.rnn", "torch.nn.utils.rnn", calling(include_str!("python/rnn.py"))),
    of("torch.nn.utils", "torch.nn.utils", alone(include_str!("python/nn_utils.py"))),
    of("torch.optim", "torch.optim", alone(include_str!("python/optim.py"))),
    of("torch.optim.lr_scheduler", "torch.optim.lr_scheduler", alone(include_str!("python/lr_scheduler.py"))),
    of("torch.random", "torch.random", alone(include_str!("python/random.py"))),
    of("torch.special", "torch.special", calling(include_str!("python/special.py"))),
    of("torch.utils.data", "torch.utils.data", alone(include_str!("python/data.py"))),
];

const fn of(module: &'static str, name: &'static str, written: Written) -> Text {
    Text { module, name, written }
}

/// A text that calls operators which programs do not find by name: `_aten("gru")(…)`.
const fn calling(text: &'static str) -> Written {
    Written { text, natives }
}

/// A text that says how gradients are computed.
const fn recording(text: &'static str) -> Written {
    Written { text, natives: |_| Ok(vec![("_record", Value::native("_record", function::record))]) }
}

/// A text of `numpy`.
const fn numeric(text: &'static str) -> Written {
    Written { text, natives: array::natives::members }
}

fn natives(_: &Machine) -> Result<Members, Raise> {
    let aten = Value::native("_aten", |_, args| {
        let name = args.one("_aten")?;
        let Value::Str(name) = name else { return Err(Raise::type_error("_aten() takes the name of an operator")) };
        let called = name.clone();
        let call = move |machine: &Machine, args| binding::call(machine, &called, None, &args).map(Outcome::Ready);
        Ok(Value::native(&*name, call).into())
    });
    let swap = Value::native("_swap", |machine, args| {
        let [module, Value::Str(name), value] = &args.between("_swap", 3, 3)?[..] else {
            return Err(Raise::type_error("_swap() takes a module, a name and a value"));
        };
        Ok(neural::swap(machine, module, name, value.clone())?.into())
    });
    let copied = Value::native("_copied", |machine, args| {
        let [module, memo, part] = &args.between("_copied", 3, 3)?[..] else {
            return Err(Raise::type_error("_copied() takes a module, a memo and a function"));
        };
        neural::deepcopy(machine, module, memo, part.clone())
    });
    Ok(vec![("_aten", aten), ("_copied", copied), ("_swap", swap)])
}

impl Text {
    /// Whether it may have a name: it says so in its text.
    fn mentions(&self, name: &str) -> bool {
        [format!("\"{name}\""), format!("'{name}'")].iter().any(|quoted| self.written.text.contains(quoted.as_str()))
    }
}

/// The modules of `torch.distributions`, as PyTorch has them: `tools/torch_python.py` makes them of its wheel, from which
/// libtorch is.
fn distributions() -> &'static [Text] {
    static TEXTS: OnceLock<Vec<Text>> = OnceLock::new();
    TEXTS.get_or_init(|| {
        let parts = include_str!(concat!(env!("LIBTORCH"), "/distributions.txt")).split("#### ").skip(1);
        let parts = parts.filter_map(|part| part.split_once('\n'));
        parts.map(|(name, text)| of(name, name, calling(text))).collect()
    })
}

/// The package that shows what its modules have.
const DISTRIBUTIONS: &str = "torch.distributions";

/// Returns the name of a module that is nothing but a text.
pub fn module(name: &str) -> Option<&'static str> {
    distributions().iter().map(|text| text.name).find(|known| *known == name)
}

/// Returns what a module's texts have under a name.
///
/// # Errors
/// What running a text raises: the job's fuel or memory is spent.
pub fn member(machine: &Machine, module: &str, name: &str) -> Result<Option<Value>, Raise> {
    let listed = |text: &Text| shows(text.written.text, name);
    if module == DISTRIBUTIONS {
        return match distributions().iter().find(|text| listed(text)) {
            Some(text) => written(machine, text.name, text.written, name),
            None => Ok(None),
        };
    }
    let texts = TEXTS.iter().filter(|text| text.module == module && text.mentions(name));
    for text in texts.chain(distributions().iter().filter(|text| text.module == module)) {
        if let Some(value) = written(machine, text.name, text.written, name)? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// Says whether a text lists a name as what it shows.
fn shows(text: &str, name: &str) -> bool {
    let names =
        text.split_once("__all__ = (").and_then(|(_, rest)| rest.split_once(')')).map_or("", |(names, _)| names);
    names.split(',').any(|shown| shown.trim().trim_matches(['\'', '"']) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_distributions_come_of_one_module_each() {
        for name in ["Normal", "kl_divergence", "AffineTransform", "biject_to", "LKJCholesky"] {
            let of = distributions().iter().filter(|text| shows(text.written.text, name)).count();
            assert_eq!(of, 1, "{name}");
        }
        assert!(module("torch.distributions.normal").is_some());
        assert!(module("torch.distributions.nothing").is_none());
    }
}
