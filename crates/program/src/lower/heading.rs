//! What stands around a function's body in its text: its decorators, and how many of its parameters may be left out.

use std::collections::HashSet;
use std::ops::Range;

use ruff_python_ast::visitor::{Visitor, walk_expr, walk_stmt};
use ruff_python_ast::{Expr, ExprContext, Stmt, StmtFunctionDef};
use ruff_text_size::Ranged;

/// The part of a function's text that is not evaluated where the function is made of what was sent with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heading {
    /// Outermost first.
    pub decorators: Vec<Decorator>,
    /// How many parameters, and how many that go by keyword alone, have a default value.
    pub defaults: usize,
    pub keyword_defaults: usize,
    /// What the default values read.
    pub names: Vec<String>,
    /// Whether the body names the class around it, as `super()` does.
    pub names_class: bool,
    /// Whether the text is a statement in which a lambda is: so are those sent that a function of the program wrapped.
    pub around_lambda: bool,
}

/// `@path` or `@path(…)` above a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decorator {
    /// `torch.no_grad`; empty for what is no path.
    pub path: String,
    /// What it reads.
    pub names: Vec<String>,
    /// Its bytes in the text, from the `@` on.
    pub range: Range<usize>,
}

impl Heading {
    /// Reads what stands around a function.
    pub(super) fn of(function: &StmtFunctionDef) -> Self {
        let parameters = &function.parameters;
        let placed = parameters.posonlyargs.iter().chain(&parameters.args).filter_map(|each| each.default.as_deref());
        let keyword = parameters.kwonlyargs.iter().filter_map(|each| each.default.as_deref());
        let mut names = Reads::default();
        placed.clone().chain(keyword.clone()).for_each(|default| names.visit_expr(default));
        let mut body = Reads::default();
        body.visit_body(&function.body);
        let decorators = function.decorator_list.iter().map(|decorator| {
            let mut names = Reads::default();
            names.visit_expr(&decorator.expression);
            let path = match &decorator.expression {
                Expr::Call(call) => path(&call.func),
                other => path(other),
            };
            let range = decorator.range();
            let range = range.start().to_usize()..range.end().to_usize();
            Decorator { path: path.unwrap_or_default(), names: names.names(), range }
        });
        Self {
            decorators: decorators.collect(),
            defaults: placed.count(),
            keyword_defaults: keyword.count(),
            names: names.names(),
            names_class: body.read.iter().any(|name| name == "super" || name == "__class__"),
            around_lambda: false,
        }
    }
}

/// Collects the names that an expression reads, and does not itself bind.
#[derive(Default)]
struct Reads {
    read: Vec<String>,
    bound: HashSet<String>,
}

impl Reads {
    fn names(self) -> Vec<String> {
        let Self { mut read, bound } = self;
        read.retain(|name| !bound.contains(name));
        read.sort_unstable();
        read.dedup();
        read
    }
}

impl<'a> Visitor<'a> for Reads {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        // Classes inside have `super()` of their own.
        if !matches!(statement, Stmt::ClassDef(_)) {
            walk_stmt(self, statement);
        }
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Name(name) if name.ctx == ExprContext::Load => self.read.push(name.id.to_string()),
            Expr::Name(name) => {
                self.bound.insert(name.id.to_string());
            }
            Expr::Lambda(lambda) => {
                let parameters = lambda.parameters.iter().flat_map(|parameters| parameters.iter());
                self.bound.extend(parameters.map(|parameter| parameter.name().to_string()));
            }
            _ => {}
        }
        walk_expr(self, expr);
    }
}

/// Writes names that are joined by dots.
fn path(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Name(name) => Some(name.id.to_string()),
        Expr::Attribute(attribute) => Some(format!("{}.{}", path(&attribute.value)?, attribute.attr)),
        _ => None,
    }
}
