//! Functions that were decorated before they were sent. The client sends the text of the function itself, with its decorators
//! above it, but the names, the file and the defaults of what the decorators made of it.

use std::rc::Rc;

use interpreter::frame::{Frame, Globals};
use interpreter::raise::Raise;
use interpreter::{Coroutine, Machine, Step, Value};
use program::{Datum, Heap, Ref, Source};

/// Files of decorators that programs use, and the modules that these are.
const WRAPPERS: [(&str, &str); 2] =
    [("torch/utils/_contextlib.py", "torch.utils._contextlib"), ("/contextlib.py", "contextlib")];

/// Decorators that make no function: what they made of it is sent as such.
const DESCRIPTORS: [&str; 10] = [
    "property",
    "staticmethod",
    "classmethod",
    "cached_property",
    "functools.cached_property",
    "abstractmethod",
    "abc.abstractmethod",
    "override",
    "overload",
    "typing.overload",
];

/// Modules that are known by one name.
const ALIASES: [(&str, &str); 6] = [
    ("F", "torch.nn.functional"),
    ("contextlib", "contextlib"),
    ("math", "math"),
    ("nn", "torch.nn"),
    ("np", "numpy"),
    ("torch", "torch"),
];

/// Says whether a function was wrapped by a decorator of another module, so that its names are that module's.
pub fn is_wrapped(filename: &str) -> bool {
    WRAPPERS.iter().any(|(file, _)| filename.ends_with(file))
}

/// Says whether what a function is sent with under a name is what the decorator's module has there.
pub fn is_of_wrapper(heap: &Heap, filename: &str, at: Ref) -> bool {
    let Some((_, wrapper)) = WRAPPERS.iter().find(|(file, _)| filename.ends_with(file)) else { return false };
    match heap.get(at) {
        Some(Datum::Attribute { object, .. }) => {
            matches!(heap.get(*object), Some(Datum::Module(name)) if name == wrapper)
        }
        Some(Datum::Object { called: true, args, .. }) => {
            let object = args.first().and_then(|object| heap.get(*object));
            matches!(object, Some(Datum::Module(name)) if name == wrapper)
        }
        _ => false,
    }
}

/// Defines a function again, with its decorators and defaults; `None` where it has no decorators that can be had here.
///
/// # Errors
/// What ends the job.
pub fn decorate(
    machine: &Machine,
    text: &str,
    (name, filename, line): (&str, &str, u32),
    variables: &Globals,
) -> Result<Option<Value>, Raise> {
    let Some(text) = without_descriptors(text) else { return Ok(None) };
    let mut globals: Vec<(Rc<str>, Value)> =
        variables.borrow().iter().map(|(name, value)| (Rc::clone(name), value.clone())).collect();
    if is_wrapped(filename) {
        let module = |module: &str| interpreter::import::module(machine, module);
        let missing = ALIASES.iter().filter(|(alias, _)| !variables.borrow().contains_key(*alias));
        globals.extend(missing.filter_map(|(alias, path)| Some(((*alias).into(), module(path)?))));
    }
    let above = usize::try_from(line.saturating_sub(1)).unwrap_or(0);
    let text = format!("{}{text}", "\n".repeat(above));
    let filename = format!("[{name}:{line}] {filename}");
    let source = Source { text, filename, function: "<module>".into() };
    let block = match Frame::root(machine, &source, Vec::new(), globals) {
        Ok(block) => block,
        Err(raise) if raise.as_fatal().is_some() => return Err(raise),
        Err(_) => return Ok(None),
    };
    let frame = Rc::clone(&block.frame);
    match Coroutine::of_block(machine, block).resume(None) {
        Step::Done(Ok(_)) => Ok(frame.get(name)),
        Step::Done(Err(raise)) if raise.as_fatal().is_some() => Err(raise),
        // A decorator that is not to be had here, or that does not take what it took already.
        Step::Done(Err(_)) | Step::Waiting(_) => Ok(None),
    }
}

/// Leaves out decorators that make no function, and keeps the lines; `None` where no other is left.
fn without_descriptors(text: &str) -> Option<String> {
    if !text.starts_with('@') {
        return None;
    }
    let (mut kept, mut lines, mut leaves, mut above) = (false, Vec::new(), false, true);
    for line in text.lines() {
        if above && (line.starts_with("def ") || line.starts_with("async def ")) {
            above = false;
        }
        if above && let Some(decorator) = line.strip_prefix('@') {
            let path = decorator.split(['(', ' ', '#']).next().unwrap_or_default();
            leaves =
                DESCRIPTORS.contains(&path) || [".setter", ".getter", ".deleter"].iter().any(|end| path.ends_with(end));
            kept |= !leaves;
        }
        lines.push(if above && leaves { "" } else { line });
    }
    kept.then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::without_descriptors;

    #[test]
    fn decorators_that_make_functions_are_kept_where_they_stand() {
        assert_eq!(without_descriptors("def f():\n    pass\n"), None);
        assert_eq!(without_descriptors("@property\ndef f(self):\n    return 1\n"), None);
        assert_eq!(without_descriptors("@x.setter\ndef x(self, v):\n    pass\n"), None);
        let both = "@classmethod\n@torch.no_grad()\ndef f(cls):\n    @property\n    def g(): pass\n";
        let expected = "\n@torch.no_grad()\ndef f(cls):\n    @property\n    def g(): pass";
        assert_eq!(without_descriptors(both).as_deref(), Some(expected));
    }
}
