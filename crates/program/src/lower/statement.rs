//! Lowers statements and patterns.

use std::rc::Rc;

use ruff_python_ast::{self as ast, ExceptHandler, Expr, Pattern, Singleton, Stmt};
use ruff_text_size::Ranged;

use crate::ir::{self, ExprKind, Scope, StatementKind, Target};
use crate::lower::bindings::Bindings;
use crate::lower::{Lower, Lowered, number};

/// Nodes inside one another. Expressions are bounded more closely; the items of a `with` statement nest like blocks, of
/// which CPython allows 20.
const MAX_NESTING: usize = 10_000;

impl Lower<'_> {
    /// Lowers the statements of a scope that has just been entered.
    pub(super) fn body(&mut self, statements: &[Stmt]) -> Lowered<ir::Body> {
        self.scopes.declare_all(&Bindings::of(statements));
        self.statements(statements)
    }

    fn statements(&mut self, statements: &[Stmt]) -> Lowered<ir::Body> {
        let statements = statements.iter().map(|statement| {
            let span = self.span(statement);
            self.scopes.descend();
            let kind = self.statement(statement)?;
            self.scopes.ascend();
            Ok(ir::Statement { kind, span })
        });
        Ok(ir::Body { statements: statements.collect::<Lowered<_>>()? })
    }

    fn looped(&mut self, statements: &[Stmt]) -> Lowered<ir::Body> {
        let around = self.loops;
        self.loops += 1;
        let body = self.statements(statements);
        // Set, not counted down: an error inside leaves the count of another scope behind.
        self.loops = around;
        body
    }

    fn statement(&mut self, statement: &Stmt) -> Lowered<StatementKind> {
        Ok(match statement {
            Stmt::Expr(node) => StatementKind::Expression(self.expr(&node.value)?),
            Stmt::Assign(node) => {
                let value = self.expr(&node.value)?;
                let targets = node.targets.iter().map(|target| self.target(target)).collect::<Lowered<_>>()?;
                StatementKind::Assign { targets, value }
            }
            Stmt::AugAssign(node) => StatementKind::AugmentedAssign {
                target: self.target(&node.target)?,
                operator: binary(node.op),
                value: self.expr(&node.value)?,
            },
            Stmt::AnnAssign(node) => match &node.value {
                Some(value) => {
                    let value = self.expr(value)?;
                    StatementKind::Assign { targets: vec![self.target(&node.target)?], value }
                }
                None => StatementKind::Pass,
            },
            Stmt::Delete(node) => {
                let targets = node.targets.iter().map(|target| self.target(target)).collect::<Lowered<_>>()?;
                StatementKind::Delete(targets)
            }
            Stmt::Return(node) => {
                if matches!(self.scopes.kind(), Scope::Class) {
                    return Err(self.error(node.range, "'return' outside function"));
                }
                StatementKind::Return(self.optional(node.value.as_deref())?)
            }
            Stmt::Break(node) if self.loops == 0 => return Err(self.error(node.range, "'break' outside loop")),
            Stmt::Continue(node) if self.loops == 0 => {
                return Err(self.error(node.range, "'continue' not properly in loop"));
            }
            Stmt::Break(_) => StatementKind::Break,
            Stmt::Continue(_) => StatementKind::Continue,
            Stmt::Pass(_) | Stmt::Global(_) => StatementKind::Pass,
            Stmt::Nonlocal(node) => {
                for name in &node.names {
                    if !self.scopes.is_bound(name, true) {
                        return Err(self.error(node.range, format!("no binding for nonlocal '{name}' found")));
                    }
                }
                StatementKind::Pass
            }
            Stmt::If(node) => self.conditional(node)?,
            Stmt::While(node) => StatementKind::While {
                test: self.expr(&node.test)?,
                body: self.looped(&node.body)?,
                otherwise: self.statements(&node.orelse)?,
            },
            Stmt::For(node) if node.is_async => return Err(self.unsupported(node.range, "'async for'")),
            Stmt::For(node) => StatementKind::For {
                iterable: self.expr(&node.iter)?,
                target: self.target(&node.target)?,
                body: self.looped(&node.body)?,
                otherwise: self.statements(&node.orelse)?,
            },
            Stmt::With(node) if node.is_async => return Err(self.unsupported(node.range, "'async with'")),
            Stmt::With(node) => self.with(node)?,
            Stmt::Try(node) => StatementKind::Try(Box::new(ir::Try {
                body: self.statements(&node.body)?,
                handlers: node.handlers.iter().map(|handler| self.handler(handler)).collect::<Lowered<_>>()?,
                otherwise: self.statements(&node.orelse)?,
                finally: self.statements(&node.finalbody)?,
                star: node.is_star,
            })),
            Stmt::Raise(node) => StatementKind::Raise {
                exception: self.optional(node.exc.as_deref())?,
                cause: self.optional(node.cause.as_deref())?,
            },
            Stmt::Assert(node) => {
                StatementKind::Assert { test: self.expr(&node.test)?, message: self.optional(node.msg.as_deref())? }
            }
            Stmt::FunctionDef(node) => {
                let decorators = self.decorators(&node.decorator_list)?;
                let definition = self.definition(&node.parameters, |lower| lower.function_code(node))?;
                StatementKind::Function { definition, decorators, target: self.scopes.resolve(&node.name) }
            }
            Stmt::ClassDef(node) => self.class(node)?,
            Stmt::Import(node) => self.import(node)?,
            Stmt::ImportFrom(node) => self.import_from(node)?,
            Stmt::Match(node) => StatementKind::Match {
                subject: self.expr(&node.subject)?,
                cases: node.cases.iter().map(|case| self.case(case)).collect::<Lowered<_>>()?,
            },
            Stmt::TypeAlias(node) => return Err(self.unsupported(node.range, "the 'type' statement")),
            Stmt::IpyEscapeCommand(node) => return Err(self.error(node.range, "invalid syntax")),
        })
    }

    fn conditional(&mut self, node: &ast::StmtIf) -> Lowered<StatementKind> {
        let mut branches = vec![(self.expr(&node.test)?, self.statements(&node.body)?)];
        let mut otherwise = ir::Body::default();
        for clause in &node.elif_else_clauses {
            match &clause.test {
                Some(test) => branches.push((self.expr(test)?, self.statements(&clause.body)?)),
                None => otherwise = self.statements(&clause.body)?,
            }
        }
        Ok(StatementKind::If { branches, otherwise })
    }

    /// Lowers a `with` of any number of items, each around the next, without recursion.
    fn with(&mut self, node: &ast::StmtWith) -> Lowered<StatementKind> {
        let span = self.span(node);
        if self.scopes.depth() as usize + node.items.len() > MAX_NESTING {
            return Err(self.error(node.range, "too many statically nested blocks"));
        }
        let mut open = Vec::with_capacity(node.items.len());
        for item in &node.items {
            let mut context = self.expr(&item.context_expr)?;
            if let ExprKind::Call(call) = &mut context.kind {
                call.opens = true;
            }
            let target = item.optional_vars.as_deref().map(|target| self.target(target)).transpose()?;
            self.scopes.descend();
            open.push((context, target));
        }
        let mut body = self.statements(&node.body)?;
        while let Some((context, target)) = open.pop() {
            self.scopes.ascend();
            let kind = StatementKind::With { context, target, body: Rc::new(body) };
            if open.is_empty() {
                return Ok(kind);
            }
            body = ir::Body { statements: vec![ir::Statement { kind, span }] };
        }
        Ok(StatementKind::Pass)
    }

    fn handler(&mut self, handler: &ExceptHandler) -> Lowered<ir::Handler> {
        let ExceptHandler::ExceptHandler(node) = handler;
        Ok(ir::Handler {
            class: self.optional(node.type_.as_deref())?,
            target: node.name.as_ref().map(|name| self.scopes.resolve(name)),
            body: self.statements(&node.body)?,
            span: self.span(node),
        })
    }

    fn decorators(&mut self, decorators: &[ast::Decorator]) -> Lowered<Vec<ir::Expr>> {
        decorators.iter().map(|decorator| self.expr(&decorator.expression)).collect()
    }

    /// Enters a function's scope, lowers it and leaves.
    pub(super) fn function_code(&mut self, node: &ast::StmtFunctionDef) -> Lowered<Rc<ir::Code>> {
        if node.is_async {
            return Err(self.unsupported(node.name.range, "'async def'"));
        }
        let line =
            node.decorator_list.first().map_or_else(|| self.span(&node.name).line, |first| self.span(first).line);
        let name = node.name.to_string();
        self.scopes.enter(Scope::Function);
        let mut parameters = self.parameters(&node.parameters)?;
        if let Some(annotation) = &node.returns {
            parameters.annotations.push(("return".into(), self.source(&**annotation)));
        }
        let around = self.nest(&name, true);
        let loops = std::mem::take(&mut self.loops);
        let body = self.body(&node.body)?;
        self.loops = loops;
        self.around = around;
        Ok(self.code(&name, body, parameters, docstring(&node.body), line))
    }

    fn class(&mut self, node: &ast::StmtClassDef) -> Lowered<StatementKind> {
        let decorators = self.decorators(&node.decorator_list)?;
        let (bases, keywords) = match &node.arguments {
            Some(arguments) => (self.arguments(&arguments.args)?, self.keywords(&arguments.keywords)?),
            None => (Vec::new(), Vec::new()),
        };
        let outward = self.scopes.outward();
        let line = self.span(&node.name).line;
        let name = node.name.to_string();
        self.scopes.enter(Scope::ClassCell);
        self.scopes.declare("__class__");
        self.scopes.enter(Scope::Class);
        let around = self.nest(&name, false);
        let loops = std::mem::take(&mut self.loops);
        let body = self.body(&node.body)?;
        self.loops = loops;
        self.around = around;
        let code = self.code(&name, body, ir::Parameters::default(), docstring(&node.body), line);
        let cell = self.code(&name, ir::Body::default(), ir::Parameters::default(), None, line);
        let annotations = node.body.iter().filter_map(|statement| match statement {
            Stmt::AnnAssign(node) => match &*node.target {
                Expr::Name(name) => Some((name.id.as_str().into(), self.source(&*node.annotation))),
                _ => None,
            },
            _ => None,
        });
        let annotations = annotations.collect();
        let target = self.scopes.resolve(&name);
        let name = name.into();
        let definition =
            ir::ClassDefinition { name, bases, keywords, decorators, cell, code, target, annotations, outward };
        Ok(StatementKind::Class(Box::new(definition)))
    }

    /// Makes the scope's name part of the qualified names inside it; returns what to restore.
    pub(super) fn nest(&mut self, name: &str, function: bool) -> Option<Rc<ir::Qualifier>> {
        let outer = self.around.clone();
        self.around.replace(Rc::new(ir::Qualifier::new(outer, name, function)))
    }

    fn import(&mut self, node: &ast::StmtImport) -> Lowered<StatementKind> {
        let mut imports: Vec<StatementKind> = node
            .names
            .iter()
            .map(|alias| {
                let module: Rc<str> = alias.name.as_str().into();
                match &alias.asname {
                    Some(name) => StatementKind::Import { module, target: self.scopes.resolve(name), submodule: true },
                    None => {
                        let top = module.split('.').next().unwrap_or_default().to_owned();
                        StatementKind::Import { module, target: self.scopes.resolve(&top), submodule: false }
                    }
                }
            })
            .collect();
        match imports.len() {
            1 => Ok(imports.remove(0)),
            // Several imports in one statement run as the branch of a condition that is always true.
            _ => {
                let span = self.span(node);
                let statements = imports.into_iter().map(|kind| ir::Statement { kind, span }).collect();
                Ok(StatementKind::If { branches: Vec::new(), otherwise: ir::Body { statements } })
            }
        }
    }

    fn import_from(&mut self, node: &ast::StmtImportFrom) -> Lowered<StatementKind> {
        if node.level > 0 {
            return Err(self.unsupported(node.range, "a relative import"));
        }
        let module = node.module.as_ref().map_or("", |module| module.as_str());
        if module == "__future__" {
            return Ok(StatementKind::Pass);
        }
        let mut names = Vec::with_capacity(node.names.len());
        for alias in &node.names {
            if &*alias.name == "*" {
                return Err(self.unsupported(node.range, "'import *'"));
            }
            let target = self.scopes.resolve(alias.asname.as_ref().unwrap_or(&alias.name));
            names.push((alias.name.as_str().into(), target));
        }
        Ok(StatementKind::ImportFrom { module: module.into(), names })
    }

    pub(super) fn target(&mut self, target: &Expr) -> Lowered<Target> {
        let span = self.place(target);
        Ok(match target {
            Expr::Name(node) => Target::Name(self.scopes.resolve(&node.id)),
            Expr::Attribute(node) => {
                Target::Attribute { object: self.expr(&node.value)?, name: node.attr.as_str().into(), span }
            }
            Expr::Subscript(node) => {
                Target::Item { object: self.expr(&node.value)?, key: self.expr(&node.slice)?, span }
            }
            Expr::Tuple(node) => self.sequence(&node.elts, span)?,
            Expr::List(node) => self.sequence(&node.elts, span)?,
            other => return Err(self.error(other.range(), "cannot assign to this expression")),
        })
    }

    fn sequence(&mut self, elements: &[Expr], span: ir::Span) -> Lowered<Target> {
        let mut before = Vec::new();
        let mut star = None;
        let mut after = Vec::new();
        for element in elements {
            match element {
                Expr::Starred(node) if star.is_some() => {
                    return Err(self.error(node.range, "multiple starred expressions in assignment"));
                }
                Expr::Starred(node) => star = Some(Box::new(self.target(&node.value)?)),
                _ if star.is_some() => after.push(self.target(element)?),
                _ => before.push(self.target(element)?),
            }
        }
        Ok(Target::Sequence { before, star, after, span })
    }

    fn case(&mut self, case: &ast::MatchCase) -> Lowered<ir::Case> {
        Ok(ir::Case {
            pattern: self.pattern(&case.pattern)?,
            guard: self.optional(case.guard.as_deref())?,
            body: self.statements(&case.body)?,
        })
    }

    fn patterns(&mut self, patterns: &[Pattern]) -> Lowered<Vec<ir::Pattern>> {
        patterns.iter().map(|pattern| self.pattern(pattern)).collect()
    }

    fn pattern(&mut self, pattern: &Pattern) -> Lowered<ir::Pattern> {
        let name = |lower: &mut Self, name: &Option<ast::Identifier>| {
            name.as_ref().filter(|name| name.as_str() != "_").map(|name| lower.scopes.resolve(name))
        };
        Ok(match pattern {
            Pattern::MatchValue(node) => ir::Pattern::Value(self.expr(&node.value)?),
            Pattern::MatchSingleton(node) => ir::Pattern::Singleton(match node.value {
                Singleton::None => ir::Constant::None,
                Singleton::True => ir::Constant::Bool(true),
                Singleton::False => ir::Constant::Bool(false),
            }),
            Pattern::MatchSequence(node) => {
                let star = node.patterns.iter().position(|pattern| matches!(pattern, Pattern::MatchStar(_)));
                let (before, rest) = node.patterns.split_at(star.unwrap_or(node.patterns.len()));
                let star = match rest.first() {
                    Some(Pattern::MatchStar(star)) => Some(name(self, &star.name)),
                    _ => None,
                };
                let after = rest.get(1..).unwrap_or_default();
                ir::Pattern::Sequence { before: self.patterns(before)?, star, after: self.patterns(after)? }
            }
            Pattern::MatchMapping(node) => {
                let pairs = node.keys.iter().zip(&node.patterns);
                let pairs = pairs.map(|(key, pattern)| Ok((self.expr(key)?, self.pattern(pattern)?)));
                ir::Pattern::Mapping { pairs: pairs.collect::<Lowered<_>>()?, rest: name(self, &node.rest) }
            }
            Pattern::MatchClass(node) => ir::Pattern::Class {
                class: self.expr(&node.cls)?,
                positional: self.patterns(&node.arguments.patterns)?,
                keyword: node
                    .arguments
                    .keywords
                    .iter()
                    .map(|keyword| Ok((keyword.attr.as_str().into(), self.pattern(&keyword.pattern)?)))
                    .collect::<Lowered<_>>()?,
            },
            Pattern::MatchAs(node) => {
                let pattern = node.pattern.as_deref().map(|pattern| self.pattern(pattern)).transpose()?;
                ir::Pattern::Capture { pattern: pattern.map(Box::new), name: name(self, &node.name) }
            }
            Pattern::MatchOr(node) => ir::Pattern::Or(self.patterns(&node.patterns)?),
            Pattern::MatchStar(node) => return Err(self.error(node.range, "cannot use starred pattern here")),
        })
    }

    /// Lowers parameters into the first slots of the scope just entered.
    pub(super) fn parameters(&mut self, parameters: &ast::Parameters) -> Lowered<ir::Parameters> {
        let plain = parameters.posonlyargs.iter().chain(&parameters.args).chain(&parameters.kwonlyargs);
        let plain = plain.map(|each| &each.parameter);
        let variadic = parameters.vararg.iter().chain(&parameters.kwarg).map(|parameter| &**parameter);
        let mut annotations = Vec::new();
        for parameter in plain.chain(variadic) {
            if !self.scopes.declare(&parameter.name) {
                let message = format!("duplicate argument '{}' in function definition", parameter.name);
                return Err(self.error(parameter.range, message));
            }
        }
        // As Python evaluates them: `*args` before what stands behind it.
        let placed = parameters.posonlyargs.iter().chain(&parameters.args).map(|each| &each.parameter);
        let named = parameters.kwonlyargs.iter().map(|each| &each.parameter);
        let star = parameters.vararg.iter().map(|parameter| &**parameter);
        let double_star = parameters.kwarg.iter().map(|parameter| &**parameter);
        for parameter in placed.chain(star).chain(named).chain(double_star) {
            if let Some(annotation) = &parameter.annotation {
                annotations.push((parameter.name.as_str().into(), self.source(&**annotation)));
            }
        }
        Ok(ir::Parameters {
            positional_only: parameters.posonlyargs.len(),
            positional: parameters.args.len(),
            keyword_only: parameters.kwonlyargs.len(),
            star: parameters.vararg.is_some(),
            double_star: parameters.kwarg.is_some(),
            annotations,
        })
    }

    /// Returns the text of a node.
    pub(super) fn source(&self, node: &impl Ranged) -> Rc<str> {
        let range = node.range();
        self.text.text.get(range.start().to_usize()..range.end().to_usize()).unwrap_or_default().into()
    }

    pub(super) fn definition(
        &mut self,
        parameters: &ast::Parameters,
        code: impl FnOnce(&mut Self) -> Lowered<Rc<ir::Code>>,
    ) -> Lowered<Rc<ir::Definition>> {
        let positional = parameters.posonlyargs.iter().chain(&parameters.args);
        let defaults = positional.filter_map(|each| each.default.as_deref());
        let defaults = defaults.map(|default| self.expr(default)).collect::<Lowered<_>>()?;
        let keyword = parameters.kwonlyargs.iter();
        let keyword = keyword.filter_map(|each| Some((each.parameter.name.as_str(), each.default.as_deref()?)));
        let keyword_defaults =
            keyword.map(|(name, default)| Ok((name.into(), self.expr(default)?))).collect::<Lowered<_>>()?;
        let outward = self.scopes.outward();
        Ok(Rc::new(ir::Definition { code: code(self)?, defaults, keyword_defaults, outward }))
    }

    /// Returns where a traceback says that an expression is: an attribute or its call on its own line in a chain over
    /// several lines.
    pub(super) fn place(&self, expr: &Expr) -> ir::Span {
        let span = self.span(expr);
        let attribute = match expr {
            Expr::BinOp(node) => return self.anchored(span, expr, self.operator(node)),
            Expr::Subscript(node) => {
                let brackets = (node.value.end().to_usize(), node.slice.end().to_usize() + 1);
                return self.anchored(span, expr, Some(brackets));
            }
            Expr::Attribute(node) => node,
            Expr::Call(node) => match &*node.func {
                Expr::Attribute(node) => node,
                _ => return span,
            },
            _ => return span,
        };
        let name = self.span(&attribute.attr);
        if self.span(attribute).line == name.line {
            return span;
        }
        ir::Span { line: name.line, column: name.end_column - number(attribute.attr.as_str().len()), ..span }
    }

    /// Finds the operator of a binary operation: what follows the left operand, as CPython reads it.
    fn operator(&self, node: &ast::ExprBinOp) -> Option<(usize, usize)> {
        let left = node.left.end().to_usize();
        let between = self.text.text.get(left..node.right.start().to_usize())?;
        let offset = between.len() - between.trim_start().len();
        // Operators have one or two characters: `+`, `**`, `//`.
        let double = between.get(offset + 1..)?.chars().next().is_some_and(|letter| !letter.is_whitespace());
        Some((left + offset, left + offset + 1 + usize::from(double)))
    }

    /// Notes in a place the bytes of the text that a traceback points at.
    fn anchored(&self, span: ir::Span, expr: &Expr, bytes: Option<(usize, usize)>) -> ir::Span {
        let start = expr.start().to_usize();
        let offset = |byte: usize| u16::try_from(byte.checked_sub(start)?).ok();
        match bytes.and_then(|(left, right)| Some((offset(left)?, offset(right)?))) {
            Some(anchor) if span.line == span.end_line => ir::Span { anchor, ..span },
            _ => span,
        }
    }
}

fn docstring(body: &[Stmt]) -> Option<Rc<str>> {
    match body.first()? {
        Stmt::Expr(node) => match &*node.value {
            Expr::StringLiteral(text) => Some(text.value.to_str().into()),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn binary(operator: ast::Operator) -> ir::Binary {
    match operator {
        ast::Operator::Add => ir::Binary::Add,
        ast::Operator::Sub => ir::Binary::Sub,
        ast::Operator::Mult => ir::Binary::Mul,
        ast::Operator::MatMult => ir::Binary::MatMul,
        ast::Operator::Div => ir::Binary::Div,
        ast::Operator::Mod => ir::Binary::Mod,
        ast::Operator::Pow => ir::Binary::Pow,
        ast::Operator::LShift => ir::Binary::LeftShift,
        ast::Operator::RShift => ir::Binary::RightShift,
        ast::Operator::BitOr => ir::Binary::BitOr,
        ast::Operator::BitXor => ir::Binary::BitXor,
        ast::Operator::BitAnd => ir::Binary::BitAnd,
        ast::Operator::FloorDiv => ir::Binary::FloorDiv,
    }
}
