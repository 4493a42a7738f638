//! Python code lowered for evaluation: names are slots of frames, and nothing is left that the evaluator refuses.

use std::rc::Rc;

use num_bigint::BigInt;

/// One scope's code: a block, a function, a class body or a comprehension.
#[derive(Debug)]
pub struct Code {
    pub kind: Scope,
    /// What tracebacks call it: `<module>`, `forward`, `<listcomp>`.
    pub name: Rc<str>,
    /// The scopes that qualify the name.
    pub around: Option<Rc<Qualifier>>,
    pub text: Rc<Text>,
    /// Names of the frame's slots. A function's parameters come first, in the order of [`Parameters`].
    pub slots: Vec<Rc<str>>,
    pub parameters: Parameters,
    pub body: Rc<Body>,
    /// The body contains `yield`.
    pub generator: bool,
    pub docstring: Option<Rc<str>>,
    pub line: u32,
    /// The most nodes that lie inside one another, inner scopes apart: what running it may take of the stack.
    pub deepest: u32,
}

impl Code {
    /// Returns the name with the scopes that it lies in: `Model.forward.<locals>.inner`.
    #[must_use]
    pub fn qualified_name(&self) -> String {
        let mut scopes: Vec<&Qualifier> = Vec::new();
        let mut next = self.around.as_deref();
        while let Some(scope) = next {
            scopes.push(scope);
            next = scope.outer.as_deref();
        }
        let mut name = String::new();
        for scope in scopes.into_iter().rev() {
            name.push_str(&scope.name);
            name.push_str(if scope.function { ".<locals>." } else { "." });
        }
        name + &self.name
    }
}

/// A scope in the qualified names of what is defined in it. Each holds the one around it, so that the names of all that a text
/// defines take no more room than the text.
#[derive(Debug)]
pub struct Qualifier {
    outer: Option<Rc<Qualifier>>,
    name: Rc<str>,
    function: bool,
}

impl Qualifier {
    pub(crate) fn new(outer: Option<Rc<Self>>, name: &str, function: bool) -> Self {
        Self { outer, name: name.into(), function }
    }
}

impl Drop for Qualifier {
    fn drop(&mut self) {
        // One after another: scopes may nest deep.
        let mut next = self.outer.take();
        while let Some(mut qualifier) = next.and_then(Rc::into_inner) {
            next = qualifier.outer.take();
        }
    }
}

/// Kinds of scope, each with one frame at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A traced block, or the surroundings of a function that came alone.
    Root,
    Function,
    /// Holds `__class__` for the functions of one class body.
    ClassCell,
    Class,
    Comprehension,
}

/// Source text for tracebacks.
#[derive(Clone, Debug, Default)]
pub struct Text {
    pub filename: Rc<str>,
    pub text: Rc<str>,
    /// Number of the first line.
    pub first_line: u32,
    /// Text of the server's own, which no traceback shows: what it raises is the doing of who called it.
    pub hidden: bool,
    /// Whether annotations stay texts, as after `from __future__ import annotations`.
    pub annotations_are_texts: bool,
    /// The module that its classes and functions say they are of, where its globals do not: none for a block inside a
    /// function, which the client runs without its module's names.
    pub module: Option<&'static str>,
}

impl Text {
    /// Returns a line by its number.
    #[must_use]
    pub fn line(&self, number: u32) -> Option<&str> {
        let index = number.checked_sub(self.first_line)?;
        self.text.lines().nth(index as usize)
    }
}

/// Where a node is: lines as tracebacks count them, columns in bytes from 0, the end exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub line: u32,
    pub column: u32,
    pub end_line: u32,
    pub end_column: u32,
    /// The operator of a binary operation or the brackets of a subscript, which tracebacks point at: bytes from the start,
    /// where it stands on one line; else empty.
    pub anchor: (u16, u16),
}

/// Statements that run one after another.
#[derive(Debug, Default)]
pub struct Body {
    pub statements: Vec<Statement>,
}

/// Native stack for going through a nest of expressions, which the guard bounds.
const DEEP_RESERVE: usize = 4 << 20;
const DEEP_SEGMENT: usize = 16 << 20;

/// Runs what goes through code by recursion, as deep as that nests, with stack enough for it.
pub fn deep<T>(walk: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(DEEP_RESERVE, DEEP_SEGMENT, walk)
}

impl Drop for Body {
    fn drop(&mut self) {
        let statements = std::mem::take(&mut self.statements);
        if !statements.is_empty() {
            deep(|| drop(statements));
        }
    }
}

#[derive(Debug)]
pub struct Statement {
    pub kind: StatementKind,
    pub span: Span,
}

#[derive(Debug)]
pub enum StatementKind {
    Pass,
    Expression(Expr),
    Assign {
        targets: Vec<Target>,
        value: Expr,
    },
    AugmentedAssign {
        target: Target,
        operator: Binary,
        value: Expr,
    },
    Delete(Vec<Target>),
    Return(Option<Expr>),
    Break,
    Continue,
    /// `if` and its `elif`s, then `else`.
    If {
        branches: Vec<(Expr, Body)>,
        otherwise: Body,
    },
    While {
        test: Expr,
        body: Body,
        otherwise: Body,
    },
    For {
        target: Target,
        iterable: Expr,
        body: Body,
        otherwise: Body,
    },
    /// One item; further items are nested in the body.
    With {
        context: Expr,
        target: Option<Target>,
        body: Rc<Body>,
    },
    Try(Box<Try>),
    Raise {
        exception: Option<Expr>,
        cause: Option<Expr>,
    },
    Assert {
        test: Expr,
        message: Option<Expr>,
    },
    Function {
        definition: Rc<Definition>,
        decorators: Vec<Expr>,
        target: Name,
    },
    Class(Box<ClassDefinition>),
    /// `import a.b` binds `a`; `import a.b as c` binds the submodule.
    Import {
        module: Rc<str>,
        target: Name,
        submodule: bool,
    },
    ImportFrom {
        module: Rc<str>,
        names: Vec<(Rc<str>, Name)>,
    },
    Match {
        subject: Expr,
        cases: Vec<Case>,
    },
}

#[derive(Debug)]
pub struct Try {
    pub body: Body,
    pub handlers: Vec<Handler>,
    pub otherwise: Body,
    pub finally: Body,
    /// `except*`: each handler has its part of a group.
    pub star: bool,
}

#[derive(Debug)]
pub struct Handler {
    pub class: Option<Expr>,
    pub target: Option<Name>,
    pub body: Body,
    pub span: Span,
}

#[derive(Debug)]
pub struct ClassDefinition {
    pub name: Rc<str>,
    pub bases: Vec<Argument>,
    pub keywords: Vec<(Option<Rc<str>>, Expr)>,
    pub decorators: Vec<Expr>,
    /// The scope of `__class__`, around the body.
    pub cell: Rc<Code>,
    pub code: Rc<Code>,
    pub target: Name,
    /// Annotated names in order, with the text of their annotations.
    pub annotations: Vec<(Rc<str>, Rc<str>)>,
    /// Frames to skip outward for the surroundings, as in [`Definition::outward`].
    pub outward: u32,
}

#[derive(Debug)]
pub struct Case {
    pub pattern: Pattern,
    pub guard: Option<Expr>,
    pub body: Body,
}

#[derive(Debug)]
pub enum Pattern {
    /// Equal to a value.
    Value(Expr),
    /// `None`, `True` or `False`, by identity.
    Singleton(Constant),
    Sequence {
        before: Vec<Pattern>,
        star: Option<Option<Name>>,
        after: Vec<Pattern>,
    },
    Mapping {
        pairs: Vec<(Expr, Pattern)>,
        rest: Option<Name>,
    },
    Class {
        class: Expr,
        positional: Vec<Pattern>,
        keyword: Vec<(Rc<str>, Pattern)>,
    },
    /// A name, `_`, or a pattern `as` a name.
    Capture {
        pattern: Option<Box<Pattern>>,
        name: Option<Name>,
    },
    Or(Vec<Pattern>),
}

/// What can be assigned to.
#[derive(Debug)]
pub enum Target {
    Name(Name),
    Attribute {
        object: Expr,
        name: Rc<str>,
        span: Span,
    },
    Item {
        object: Expr,
        key: Expr,
        span: Span,
    },
    /// A tuple or list; at most one is starred.
    Sequence {
        before: Vec<Target>,
        star: Option<Box<Target>>,
        after: Vec<Target>,
        span: Span,
    },
}

/// A variable: how many frames out, and which slot there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    pub depth: u32,
    pub slot: u32,
}

#[derive(Debug)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Debug)]
pub enum ExprKind {
    Constant(Constant),
    Name(Name),
    Binary {
        operator: Binary,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    Unary {
        operator: Unary,
        operand: Box<Expr>,
    },
    /// The last that is not reached decides: `and` stops at a false one, `or` (`any`) at a true one.
    Boolean {
        any: bool,
        operands: Vec<Expr>,
    },
    /// `a < b <= c`: each comparison with the operand before.
    Compare {
        first: Box<Expr>,
        rest: Vec<(Comparison, Expr)>,
    },
    /// Test, value if true, value if false.
    Conditional(Box<[Expr; 3]>),
    Attribute {
        object: Box<Expr>,
        name: Rc<str>,
    },
    Item {
        object: Box<Expr>,
        key: Box<Expr>,
    },
    Slice(Box<[Option<Expr>; 3]>),
    Call(Box<Call>),
    /// `super()` without arguments: the class cell, and the first parameter if there is one.
    Super {
        class: Name,
        receiver: Option<Name>,
    },
    List(Vec<Argument>),
    Tuple(Vec<Argument>),
    Set(Vec<Argument>),
    /// Pairs; a missing key means `**value`.
    Dict(Vec<(Option<Expr>, Expr)>),
    Lambda(Rc<Definition>),
    /// Shared, since a generator expression may outlive the code around it.
    Comprehension(Rc<Comprehension>),
    /// `name := value`.
    Walrus {
        target: Name,
        value: Box<Expr>,
    },
    /// An f-string.
    Format(Vec<Piece>),
    Yield(Option<Box<Expr>>),
    YieldFrom(Box<Expr>),
}

#[derive(Clone, Debug)]
pub enum Constant {
    None,
    Ellipsis,
    Bool(bool),
    Int(i64),
    Big(Rc<BigInt>),
    Float(f64),
    Imaginary(f64),
    Str(Rc<str>),
    Bytes(Rc<[u8]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    MatMul,
    Div,
    FloorDiv,
    Mod,
    Pow,
    LeftShift,
    RightShift,
    BitAnd,
    BitOr,
    BitXor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    Not,
    Negative,
    Positive,
    Invert,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Is,
    IsNot,
    In,
    NotIn,
}

#[derive(Debug)]
pub struct Call {
    pub callee: Expr,
    pub positional: Vec<Argument>,
    /// A missing name means `**value`.
    pub keyword: Vec<(Option<Rc<str>>, Expr)>,
    /// The call is the context expression of a `with` statement: a host object may want to know.
    pub opens: bool,
}

/// An element of a call or display.
#[derive(Debug)]
pub struct Argument {
    pub starred: bool,
    pub value: Expr,
}

/// A `def` or `lambda`: the code, and defaults that are evaluated where it stands.
#[derive(Debug)]
pub struct Definition {
    pub code: Rc<Code>,
    /// Defaults of the last positional parameters.
    pub defaults: Vec<Expr>,
    /// Defaults of keyword-only parameters, by name.
    pub keyword_defaults: Vec<(Rc<str>, Expr)>,
    /// How many frames out from the definition the function's surroundings are: 1 in a class body, else 0.
    pub outward: u32,
}

impl Definition {
    /// Returns whether a call has to give every argument.
    #[must_use]
    pub fn has_no_defaults(&self) -> bool {
        self.defaults.is_empty() && self.keyword_defaults.is_empty()
    }
}

/// Parameters in the order of their slots: positional-only, positional, keyword-only, `*args`, `**kwargs`.
#[derive(Debug, Default)]
pub struct Parameters {
    pub positional_only: usize,
    pub positional: usize,
    pub keyword_only: usize,
    pub star: bool,
    pub double_star: bool,
    pub annotations: Vec<(Rc<str>, Rc<str>)>,
}

impl Parameters {
    /// Returns how many slots they take.
    #[must_use]
    pub fn count(&self) -> usize {
        self.positional_only
            + self.positional
            + self.keyword_only
            + usize::from(self.star)
            + usize::from(self.double_star)
    }
}

#[derive(Debug)]
pub struct Comprehension {
    pub kind: Collect,
    /// The scope of the targets.
    pub code: Rc<Code>,
    /// Evaluated outside the scope.
    pub first: Expr,
    pub loops: Vec<Loop>,
    /// Frames to skip outward for the scope's surroundings, as in [`Definition::outward`].
    pub outward: u32,
}

/// What a comprehension makes of its elements.
#[derive(Debug)]
pub enum Collect {
    List(Expr),
    Set(Expr),
    Dict(Expr, Expr),
    Generator(Expr),
}

/// One `for … in … if …` of a comprehension; `iterable` is missing for the first.
#[derive(Debug)]
pub struct Loop {
    pub target: Target,
    pub iterable: Option<Expr>,
    pub conditions: Vec<Expr>,
}

/// A part of an f-string.
#[derive(Debug)]
pub enum Piece {
    Literal(Rc<str>),
    Value { value: Expr, conversion: Conversion, spec: Vec<Piece> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    None,
    Str,
    Repr,
    Ascii,
}
