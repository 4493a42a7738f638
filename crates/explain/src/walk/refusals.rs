//! What a program comes to that this server does not have.

use std::rc::Rc;

use program::ir::{Call, Constant, Expr, ExprKind, Text};
use program::refusals;

use crate::answer::{Calls, Kind};
use crate::refused;
use crate::walk::Walk;
use crate::walk::value::{Given, Thing, What};

impl Walk<'_> {
    /// Notes that what is done here raises, and what that says. Where nothing around catches it, that ends the program.
    pub fn refuse(&mut self, line: u32, says: String) {
        let certain = self.now.perhaps == 0 && self.now.caught == 0;
        if certain && self.graph.refused.is_none() {
            let around = self.now.around.iter().map(|(text, line, function)| shown(text, *line, function));
            let around: String = around.collect();
            let here = shown(&self.now.text, line, &self.now.function);
            self.graph.refused = Some(format!("Traceback (most recent call last):\n{around}{here}{says}\n"));
        }
        // Of a function in another file, what is told is the line from which it was called.
        let own = self.now.text.filename.as_ref() == self.program.source.filename.as_str();
        let line = if own { line } else { self.now.statement.line };
        let text = format!("{says}; that fails when it runs");
        if !self.graph.found.iter().any(|(kind, at, known, _)| *kind == Kind::Refused && *at == line && *known == text)
        {
            self.graph.found.push((Kind::Refused, line, text, certain));
        }
    }

    /// Looks at the arguments of a trace.
    pub fn of_arguments(&mut self, calls: Calls, given: &Given) {
        for (name, value) in &given.keyword {
            // What may be `None` is not known to be anything else.
            if matches!(value.what, What::Constant(Constant::None)) {
                continue;
            }
            let refused = match calls {
                Calls::Generate => refusals::of_generate(name).map(str::to_owned),
                Calls::Pipe => refusals::of_pipe(name),
                Calls::Forward => None,
            };
            if let Some(refused) = refused {
                self.refuse(given.line, format!("ValueError: {refused}"));
            }
        }
    }

    /// Looks at `import module`. Returns whether the server has it, as far as is known.
    pub fn of_import(&mut self, module: &str) -> bool {
        let package = module.split('.').next().unwrap_or(module);
        let Some(says) = refused::module(module).or_else(|| refused::module(package)) else { return true };
        let says = says.replacen(&format!("'{package}'"), &format!("'{module}'"), 1);
        self.refuse(self.now.statement.line, format!("ModuleNotFoundError: {says}"));
        false
    }

    /// Looks at a name that is taken from a module by `from module import name`.
    pub fn of_name_from(&mut self, module: &str, name: &str) {
        if let Some(says) = refused::name(&format!("{module}.{name}")) {
            let line = self.now.statement.line;
            self.refuse(line, format!("ImportError: cannot import name '{name}' from '{module}' ({says})"));
        }
    }

    /// Looks at an attribute of something importable.
    pub fn of_path(&mut self, module: &str, name: &str, line: u32) {
        if refused::module(module).is_some() {
            self.refuse(line, format!("AttributeError: {module} is not supported by this server"));
        } else if let Some(says) = refused::name(&format!("{module}.{name}")) {
            self.refuse(line, format!("AttributeError: {says}"));
        }
    }

    /// Looks at an attribute of what was computed of tensors.
    pub fn of_tensors(&mut self, name: &str, known: bool, line: u32) {
        if (known || refused::is_of_tensors_alone(name))
            && let Some(says) = refused::name(&format!("torch.Tensor.{name}"))
        {
            self.refuse(line, format!("AttributeError: {says}"));
        }
    }

    /// Looks at a call of something importable.
    pub fn of_called(&mut self, path: &str, given: &Given, line: u32) {
        let own = path.strip_prefix("__main__.").and_then(|name| refusals::by_name_alone("__main__", name));
        if let Some(own) = own {
            self.refuse(line, format!("AttributeError: {own} is not supported by this server"));
        } else if let Some(says) = path.strip_prefix("builtins.").and(refused::name(path)) {
            self.refuse(line, format!("NameError: {says}"));
        } else if let Some(says) = refused::name(path) {
            self.refuse(line, format!("AttributeError: {says}"));
        } else if refused::inside(path).is_some() {
            self.refuse(line, format!("AttributeError: {path} is not supported by this server"));
        }
        let out = |(name, value): &(Rc<str>, Thing)| {
            &**name == "out" && !matches!(value.what, What::Unknown | What::Constant(Constant::None))
        };
        if path.starts_with("torch.") && given.keyword.iter().any(out) {
            let function = path.rsplit('.').next().unwrap_or(path);
            self.refuse(line, format!("TypeError: {}", refusals::argument(function, "out")));
        }
    }

    /// Says whether the object that a `with` statement enters may swallow what is raised inside: an object of the user's, or
    /// one that is there for that.
    pub fn may_swallow(&mut self, frame: usize, context: &Expr) -> bool {
        let ExprKind::Call(call) = &context.kind else { return true };
        let Call { callee, .. } = &**call;
        if let ExprKind::Attribute { name, .. } = &callee.kind
            && matches!(&**name, "backward" | "session")
        {
            return false;
        }
        let mut root = callee;
        while let ExprKind::Attribute { object, .. } = &root.kind {
            root = object;
        }
        let ExprKind::Name(name) = &root.kind else { return true };
        !matches!(&self.name(frame, *name).what, What::Global(path) if path.starts_with("torch"))
    }
}

/// Writes a line of a text as tracebacks do.
fn shown(text: &Text, line: u32, function: &str) -> String {
    let source = text.line(line).map(str::trim).filter(|text| !text.is_empty());
    let source = source.map(|text| format!("    {text}\n")).unwrap_or_default();
    format!("  File \"{}\", line {line}, in {function}\n{source}", text.filename)
}
