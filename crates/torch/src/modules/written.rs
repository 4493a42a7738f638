//! What PyTorch itself writes in Python on top of its operators, written in Python here too.
//!
//! Texts are run by the evaluator as the standard modules are: their steps are the job's, and what one of their functions
//! does is nothing that anybody declares, so a block that calls one runs in its turn.

use interpreter::modules::{Written, alone, written};
use interpreter::raise::Raise;
use interpreter::{Machine, Value};

/// Texts by the module whose names they add to.
const TEXTS: &[(&str, Written)] = &[
    ("torch.nn.init", alone(include_str!("python/init.py"))),
    ("torch.nn.utils", alone(include_str!("python/nn_utils.py"))),
    ("torch.optim", alone(include_str!("python/optim.py"))),
    ("torch.optim.lr_scheduler", alone(include_str!("python/lr_scheduler.py"))),
    ("torch.utils.data", alone(include_str!("python/data.py"))),
];

/// Returns what a module's text has under a name.
///
/// # Errors
/// What running the text raises: the job's fuel or memory is spent.
pub fn member(machine: &Machine, module: &str, name: &str) -> Result<Option<Value>, Raise> {
    match TEXTS.iter().find(|(known, _)| *known == module) {
        Some((known, text)) => written(machine, known, *text, name),
        None => Ok(None),
    }
}
