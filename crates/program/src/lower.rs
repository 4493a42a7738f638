//! From source text to [`ir`]: parses, resolves names, and refuses what the evaluator does not run.

mod bindings;
mod expression;
mod heading;
mod scope;
mod statement;

use std::rc::Rc;

use ruff_python_ast::visitor::{Visitor, walk_expr};
use ruff_python_ast::{Expr, ExprLambda, ModModule, Stmt, StmtFunctionDef};
use ruff_python_parser::{Mode, ParseOptions};
use ruff_text_size::{Ranged, TextRange};

use crate::ir::{self, Code, Scope, Span, Text};
use crate::lower::scope::Scopes;
use crate::{Limits, Source, SyntaxError, guard};

pub use heading::{Decorator, Heading};

/// Native stack for lowering and dropping the deepest tree that the guard lets through.
const STACK_RESERVE: usize = 16 << 20;
/// What is added to that for each byte of the text. The parser needs no more stack than there is, but its tree is dropped by
/// recursion: a node inside another takes a byte of text or more, and text with an error may nest as deep as it likes.
const STACK_PER_BYTE: usize = 320;
/// What a new stack has above its reserve.
const STACK_SPARE: usize = 48 << 20;

/// Lowers a traced block, as the client compiles one: its annotations stay texts.
///
/// # Errors
/// Text that is too large, does not parse, or uses syntax that the evaluator lacks.
pub fn block(source: &Source, limits: &Limits) -> Result<Rc<Code>, SyntaxError> {
    let name = if source.function.is_empty() { "<module>" } else { &source.function };
    let text = text_of(&source.text, &source.filename, 1);
    let module = text.module.filter(|_| name == "<module>");
    root(name, &Rc::new(Text { annotations_are_texts: true, module, ..text }), None, limits)
}

/// Lowers a module of the server's own library.
///
/// # Errors
/// As [`block`].
pub fn library(name: &str, text: &str) -> Result<Rc<Code>, SyntaxError> {
    let text = Text { hidden: true, ..text_of(text, &format!("<{name}>"), 1) };
    root("<module>", &Rc::new(text), None, &Limits::default())
}

/// Lowers a text that the server's own library has written, whose functions belong to `owner`.
///
/// # Errors
/// As [`block`].
pub fn written(owner: &str, text: &str) -> Result<Rc<Code>, SyntaxError> {
    let text = Text { hidden: true, ..text_of(text, "<string>", 1) };
    let owner = Rc::new(ir::Qualifier::new(None, owner, false));
    root("<module>", &Rc::new(text), Some(owner), &Limits::default())
}

/// Lowers one function or lambda from its own source, which stands at `line` of `filename`.
/// Returns the code of its surroundings and its own, and what stands around its body, which they leave out: its decorators
/// and defaults.
///
/// # Errors
/// As [`block`]; also where the text holds no function of that name.
pub fn function(
    source: &str,
    name: &str,
    filename: &str,
    line: u32,
    limits: &Limits,
) -> Result<(Rc<Code>, Rc<Code>, Heading), SyntaxError> {
    let text = Rc::new(text_of(source, &format!("[{name}:{line}] {filename}"), line.max(1)));
    with_tree(&text, limits, |tree, lines| {
        let mut lower = Lower { text: &text, lines, scopes: Scopes::default(), around: None, loops: 0 };
        lower.scopes.enter(Scope::Root);
        let (code, heading) = if let Some(function) = find_function(tree, name) {
            (lower.function_code(function)?, Heading::of(function))
        } else if let Some(lambda) = find_lambda(tree) {
            let around_lambda = !source.trim_start().starts_with("lambda");
            (lower.lambda_code(lambda)?, Heading { around_lambda, ..Heading::default() })
        } else {
            return Err(lower.error(TextRange::default(), format!("the source of {name} holds no such function")));
        };
        let root = lower.code("<module>", ir::Body::default(), ir::Parameters::default(), None, line);
        Ok((root, code, heading))
    })
}

/// Lowers a whole text, whose names are its own.
fn root(
    name: &str,
    text: &Rc<Text>,
    around: Option<Rc<ir::Qualifier>>,
    limits: &Limits,
) -> Result<Rc<Code>, SyntaxError> {
    with_tree(text, limits, |tree, lines| {
        let mut lower = Lower { text, lines, scopes: Scopes::default(), around, loops: 0 };
        lower.scopes.enter(Scope::Root);
        let body = lower.body(&tree.body)?;
        Ok(lower.code(name, body, ir::Parameters::default(), None, 1))
    })
}

fn find_function<'a>(tree: &'a ModModule, name: &str) -> Option<&'a StmtFunctionDef> {
    tree.body.iter().rev().find_map(|statement| match statement {
        Stmt::FunctionDef(function) if &*function.name == name => Some(function),
        _ => None,
    })
}

fn find_lambda(tree: &ModModule) -> Option<&ExprLambda> {
    #[derive(Default)]
    struct First<'a>(Option<&'a ExprLambda>);
    impl<'a> Visitor<'a> for First<'a> {
        fn visit_expr(&mut self, expr: &'a Expr) {
            match expr {
                _ if self.0.is_some() => {}
                Expr::Lambda(lambda) => self.0 = Some(lambda),
                _ => walk_expr(self, expr),
            }
        }
    }
    let mut first = First::default();
    first.visit_body(&tree.body);
    first.0
}

fn text_of(text: &str, filename: &str, first_line: u32) -> Text {
    Text {
        filename: filename.into(),
        text: text.into(),
        first_line,
        hidden: false,
        annotations_are_texts: text.contains("from __future__ import annotations"),
        module: Some("__main__"),
    }
}

/// Guards and parses a text, and runs `step` on its tree with native stack enough for it.
fn with_tree<T>(
    text: &Rc<Text>,
    limits: &Limits,
    step: impl FnOnce(&ModModule, Lines) -> Result<T, SyntaxError>,
) -> Result<T, SyntaxError> {
    let refuse = |message: String, line: u32| SyntaxError {
        message,
        filename: text.filename.to_string(),
        line,
        text: text.line(line).map(str::to_owned),
    };
    guard::check(&text.text, limits).map_err(|excess| {
        let line = if excess.line == 0 { 0 } else { excess.line + text.first_line - 1 };
        refuse(excess.message, line)
    })?;
    let reserve = STACK_RESERVE + STACK_PER_BYTE * text.text.len();
    stacker::maybe_grow(reserve, reserve + STACK_SPARE, || {
        let lines = Lines::of(text);
        let parsed = ruff_python_parser::parse_unchecked(&text.text, ParseOptions::from(Mode::Module));
        if let Some(error) = parsed.errors().first() {
            return Err(refuse(error.error.to_string(), lines.span(error.range()).line));
        }
        let Some(tree) = parsed.try_into_module() else {
            return Err(refuse("not a module".to_owned(), 0));
        };
        if let Some((message, range)) = guard::excess_depth(tree.syntax(), limits) {
            return Err(refuse(message, lines.span(range).line));
        }
        step(tree.syntax(), lines)
    })
}

/// Turns byte offsets into lines and columns.
struct Lines {
    starts: Vec<usize>,
    first_line: u32,
}

impl Lines {
    fn of(text: &Text) -> Self {
        let ends = text.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { starts: std::iter::once(0).chain(ends).collect(), first_line: text.first_line }
    }

    fn place(&self, offset: usize) -> (u32, u32) {
        let index = self.starts.partition_point(|start| *start <= offset).saturating_sub(1);
        let column = offset - self.starts.get(index).copied().unwrap_or_default();
        (number(index) + self.first_line, number(column))
    }

    fn span(&self, range: TextRange) -> Span {
        let (line, column) = self.place(range.start().to_usize());
        let (end_line, end_column) = self.place(range.end().to_usize());
        Span { line, column, end_line, end_column, anchor: (0, 0) }
    }
}

/// Converts a count that the guard keeps far below 2³².
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Lowers one tree.
struct Lower<'a> {
    text: &'a Rc<Text>,
    lines: Lines,
    scopes: Scopes,
    /// The scopes that qualify the names here.
    around: Option<Rc<ir::Qualifier>>,
    /// Loops around the statement at hand, within its scope.
    loops: usize,
}

type Lowered<T> = Result<T, SyntaxError>;

impl Lower<'_> {
    fn error(&self, range: TextRange, message: impl Into<String>) -> SyntaxError {
        let line = self.lines.span(range).line;
        SyntaxError {
            message: message.into(),
            filename: self.text.filename.to_string(),
            line,
            text: self.text.line(line).map(str::to_owned),
        }
    }

    fn unsupported(&self, range: TextRange, what: &str) -> SyntaxError {
        self.error(range, format!("{what} is not supported by this server"))
    }

    fn span(&self, node: &impl Ranged) -> Span {
        self.lines.span(node.range())
    }

    /// Leaves the innermost scope and makes its code.
    fn code(
        &mut self,
        name: &str,
        body: ir::Body,
        parameters: ir::Parameters,
        docstring: Option<Rc<str>>,
        line: u32,
    ) -> Rc<Code> {
        let scope = self.scopes.leave();
        Rc::new(Code {
            kind: scope.kind,
            name: name.into(),
            around: self.around.clone(),
            text: Rc::clone(self.text),
            slots: scope.slots,
            parameters,
            body: Rc::new(body),
            generator: scope.yields,
            docstring,
            line,
            deepest: scope.deepest,
        })
    }
}
