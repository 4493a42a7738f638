//! Lowers expressions.

use std::collections::HashSet;
use std::rc::Rc;

use num_bigint::BigInt;
use ruff_python_ast::{self as ast, Expr, InterpolatedStringElement};
use ruff_text_size::Ranged;

use crate::ir::{self, Constant, ExprKind, Scope};
use crate::lower::bindings::Bindings;
use crate::lower::statement::binary;
use crate::lower::{Lower, Lowered};

impl Lower<'_> {
    pub(super) fn optional(&mut self, expr: Option<&Expr>) -> Lowered<Option<ir::Expr>> {
        expr.map(|expr| self.expr(expr)).transpose()
    }

    pub(super) fn expr(&mut self, expr: &Expr) -> Lowered<ir::Expr> {
        let span = self.place(expr);
        self.scopes.descend();
        let kind = self.kind(expr)?;
        self.scopes.ascend();
        Ok(ir::Expr { kind, span })
    }

    fn boxed(&mut self, expr: &Expr) -> Lowered<Box<ir::Expr>> {
        self.expr(expr).map(Box::new)
    }

    fn kind(&mut self, expr: &Expr) -> Lowered<ExprKind> {
        Ok(match expr {
            Expr::NoneLiteral(_) => ExprKind::Constant(Constant::None),
            Expr::EllipsisLiteral(_) => ExprKind::Constant(Constant::Ellipsis),
            Expr::BooleanLiteral(node) => ExprKind::Constant(Constant::Bool(node.value)),
            Expr::NumberLiteral(node) => ExprKind::Constant(self.number_literal(node)?),
            Expr::StringLiteral(node) => ExprKind::Constant(Constant::Str(node.value.to_str().into())),
            Expr::BytesLiteral(node) => {
                let bytes: Vec<u8> = node.value.bytes().collect();
                ExprKind::Constant(Constant::Bytes(bytes.into()))
            }
            Expr::Name(node) => ExprKind::Name(self.scopes.resolve(&node.id)),
            Expr::BinOp(node) => ExprKind::Binary {
                operator: binary(node.op),
                left: self.boxed(&node.left)?,
                right: self.boxed(&node.right)?,
            },
            Expr::UnaryOp(node) => {
                let operator = match node.op {
                    ast::UnaryOp::Invert => ir::Unary::Invert,
                    ast::UnaryOp::Not => ir::Unary::Not,
                    ast::UnaryOp::UAdd => ir::Unary::Positive,
                    ast::UnaryOp::USub => ir::Unary::Negative,
                };
                ExprKind::Unary { operator, operand: self.boxed(&node.operand)? }
            }
            Expr::BoolOp(node) => ExprKind::Boolean {
                any: node.op == ast::BoolOp::Or,
                operands: node.values.iter().map(|value| self.expr(value)).collect::<Lowered<_>>()?,
            },
            Expr::Compare(node) => {
                let rest = node.ops.iter().zip(&node.comparators);
                let first = self.boxed(&node.left)?;
                let rest = rest.map(|(op, operand)| Ok((comparison(*op), self.expr(operand)?)));
                ExprKind::Compare { first, rest: rest.collect::<Lowered<_>>()? }
            }
            Expr::If(node) => ExprKind::Conditional(Box::new([
                self.expr(&node.test)?,
                self.expr(&node.body)?,
                self.expr(&node.orelse)?,
            ])),
            Expr::Attribute(node) => {
                ExprKind::Attribute { object: self.boxed(&node.value)?, name: node.attr.as_str().into() }
            }
            Expr::Subscript(node) => ExprKind::Item { object: self.boxed(&node.value)?, key: self.boxed(&node.slice)? },
            Expr::Slice(node) => ExprKind::Slice(Box::new([
                self.optional(node.lower.as_deref())?,
                self.optional(node.upper.as_deref())?,
                self.optional(node.step.as_deref())?,
            ])),
            Expr::Call(node) => self.call(node)?,
            Expr::List(node) => ExprKind::List(self.arguments(&node.elts)?),
            Expr::Tuple(node) => ExprKind::Tuple(self.arguments(&node.elts)?),
            Expr::Set(node) => ExprKind::Set(self.arguments(&node.elts)?),
            Expr::Dict(node) => {
                let pairs = node.items.iter();
                let pairs = pairs.map(|item| Ok((self.optional(item.key.as_ref())?, self.expr(&item.value)?)));
                ExprKind::Dict(pairs.collect::<Lowered<_>>()?)
            }
            Expr::Lambda(node) => {
                let none = ast::Parameters::default();
                let parameters = node.parameters.as_deref().unwrap_or(&none);
                ExprKind::Lambda(self.definition(parameters, |lower| lower.lambda_code(node))?)
            }
            Expr::ListComp(node) => self.comprehension(node, "<listcomp>", &node.generators, |lower| {
                Ok(ir::Collect::List(lower.expr(&node.elt)?))
            })?,
            Expr::SetComp(node) => self.comprehension(node, "<setcomp>", &node.generators, |lower| {
                Ok(ir::Collect::Set(lower.expr(&node.elt)?))
            })?,
            Expr::Generator(node) => self.comprehension(node, "<genexpr>", &node.generators, |lower| {
                Ok(ir::Collect::Generator(lower.expr(&node.elt)?))
            })?,
            Expr::DictComp(node) => {
                let Some(key) = node.key.as_deref() else {
                    return Err(self.error(node.range, "dict unpacking cannot be used in dict comprehension"));
                };
                self.comprehension(node, "<dictcomp>", &node.generators, |lower| {
                    Ok(ir::Collect::Dict(lower.expr(key)?, lower.expr(&node.value)?))
                })?
            }
            Expr::Named(node) => self.walrus(node)?,
            Expr::FString(node) => {
                let mut pieces = Vec::new();
                for part in node.value.iter() {
                    match part {
                        ast::FStringPart::Literal(text) => pieces.push(ir::Piece::Literal((&*text.value).into())),
                        ast::FStringPart::FString(text) => self.pieces(&text.elements, &mut pieces)?,
                    }
                }
                ExprKind::Format(pieces)
            }
            Expr::Yield(node) => {
                self.yields(node)?;
                ExprKind::Yield(node.value.as_deref().map(|value| self.boxed(value)).transpose()?)
            }
            Expr::YieldFrom(node) => {
                self.yields(node)?;
                ExprKind::YieldFrom(self.boxed(&node.value)?)
            }
            Expr::Await(node) => return Err(self.unsupported(node.range, "'await'")),
            Expr::TString(node) => return Err(self.unsupported(node.range, "a t-string")),
            Expr::Starred(node) => return Err(self.error(node.range, "can't use starred expression here")),
            Expr::IpyEscapeCommand(node) => return Err(self.error(node.range, "invalid syntax")),
        })
    }

    fn number_literal(&self, node: &ast::ExprNumberLiteral) -> Lowered<Constant> {
        Ok(match &node.value {
            ast::Number::Float(number) => Constant::Float(*number),
            ast::Number::Complex { imag, .. } => Constant::Imaginary(*imag),
            ast::Number::Int(number) => {
                if let Some(small) = number.as_i64() {
                    return Ok(Constant::Int(small));
                }
                let text = number.to_string().replace('_', "").to_ascii_lowercase();
                let (digits, radix) = match text.get(..2) {
                    Some("0x") => (&text[2..], 16),
                    Some("0o") => (&text[2..], 8),
                    Some("0b") => (&text[2..], 2),
                    _ => (text.as_str(), 10),
                };
                // Reading decimal digits takes quadratic time; CPython draws the same line.
                if radix == 10 && digits.len() > 4300 {
                    return Err(self.error(
                        node.range,
                        "Exceeds the limit (4300 digits) for integer string conversion - Consider hexadecimal for huge integer literals to avoid decimal conversion limits.",
                    ));
                }
                match BigInt::parse_bytes(digits.as_bytes(), radix) {
                    Some(big) => Constant::Big(Rc::new(big)),
                    None => return Err(self.error(node.range, "invalid integer literal")),
                }
            }
        })
    }

    fn call(&mut self, node: &ast::ExprCall) -> Lowered<ExprKind> {
        if let Expr::Name(callee) = &*node.func
            && callee.id.as_str() == "super"
            && node.arguments.args.is_empty()
            && node.arguments.keywords.is_empty()
            && !self.scopes.is_bound("super", false)
        {
            let class = self.scopes.resolve("__class__");
            return Ok(ExprKind::Super { class, receiver: self.scopes.receiver() });
        }
        Ok(ExprKind::Call(Box::new(ir::Call {
            callee: self.expr(&node.func)?,
            positional: self.arguments(&node.arguments.args)?,
            keyword: self.keywords(&node.arguments.keywords)?,
            opens: false,
        })))
    }

    pub(super) fn arguments(&mut self, elements: &[Expr]) -> Lowered<Vec<ir::Argument>> {
        let lower = |element: &Expr| {
            Ok(match element {
                Expr::Starred(node) => ir::Argument { starred: true, value: self.expr(&node.value)? },
                other => ir::Argument { starred: false, value: self.expr(other)? },
            })
        };
        elements.iter().map(lower).collect()
    }

    pub(super) fn keywords(&mut self, keywords: &[ast::Keyword]) -> Lowered<Vec<(Option<Rc<str>>, ir::Expr)>> {
        let mut lowered: Vec<(Option<Rc<str>>, ir::Expr)> = Vec::with_capacity(keywords.len());
        let mut names = HashSet::with_capacity(keywords.len());
        for keyword in keywords {
            let name: Option<Rc<str>> = keyword.arg.as_ref().map(|name| name.as_str().into());
            if let Some(name) = &name
                && !names.insert(Rc::clone(name))
            {
                return Err(self.error(keyword.range, format!("keyword argument repeated: {name}")));
            }
            lowered.push((name, self.expr(&keyword.value)?));
        }
        Ok(lowered)
    }

    /// Enters a lambda's scope, lowers it and leaves.
    pub(super) fn lambda_code(&mut self, node: &ast::ExprLambda) -> Lowered<Rc<ir::Code>> {
        let span = self.span(node);
        self.scopes.enter(Scope::Function);
        let none = ast::Parameters::default();
        let parameters = self.parameters(node.parameters.as_deref().unwrap_or(&none))?;
        self.scopes.declare_all(&Bindings::of_expression(&node.body));
        let around = self.nest("<lambda>", true);
        let value = self.expr(&node.body)?;
        self.around = around;
        let span_of_value = value.span;
        let kind = ir::StatementKind::Return(Some(value));
        let body = ir::Body { statements: vec![ir::Statement { kind, span: span_of_value }] };
        Ok(self.code("<lambda>", body, parameters, None, span.line))
    }

    fn comprehension(
        &mut self,
        node: &impl Ranged,
        name: &str,
        generators: &[ast::Comprehension],
        element: impl FnOnce(&mut Self) -> Lowered<ir::Collect>,
    ) -> Lowered<ExprKind> {
        let Some(outer) = generators.first() else { return Err(self.error(node.range(), "invalid syntax")) };
        if let Some(generator) = generators.iter().find(|generator| generator.is_async) {
            return Err(self.unsupported(generator.range, "an asynchronous comprehension"));
        }
        let first = self.expr(&outer.iter)?;
        let outward = self.scopes.outward();
        let line = self.span(node).line;
        self.scopes.enter(Scope::Comprehension);
        for generator in generators {
            self.scopes.declare_all(&Bindings::of_target(&generator.target));
        }
        let around = self.nest(name, true);
        let mut loops = Vec::with_capacity(generators.len());
        for (index, generator) in generators.iter().enumerate() {
            let iterable = if index == 0 { None } else { Some(self.expr(&generator.iter)?) };
            let target = self.target(&generator.target)?;
            let conditions = generator.ifs.iter().map(|test| self.expr(test)).collect::<Lowered<_>>()?;
            loops.push(ir::Loop { target, iterable, conditions });
        }
        let kind = element(self)?;
        self.around = around;
        let code = self.code(name, ir::Body::default(), ir::Parameters::default(), None, line);
        Ok(ExprKind::Comprehension(Rc::new(ir::Comprehension { kind, code, first, loops, outward })))
    }

    fn walrus(&mut self, node: &ast::ExprNamed) -> Lowered<ExprKind> {
        let Expr::Name(name) = &*node.target else {
            return Err(self.error(node.range, "cannot use assignment expressions with this target"));
        };
        let value = self.boxed(&node.value)?;
        Ok(ExprKind::Walrus { target: self.scopes.resolve(&name.id), value })
    }

    fn pieces(&mut self, elements: &ast::InterpolatedStringElements, pieces: &mut Vec<ir::Piece>) -> Lowered<()> {
        for element in elements {
            match element {
                InterpolatedStringElement::Literal(text) => pieces.push(ir::Piece::Literal((&*text.value).into())),
                InterpolatedStringElement::Interpolation(node) => {
                    if let Some(debug) = &node.debug_text {
                        pieces.push(ir::Piece::Literal(debug.as_str().into()));
                    }
                    let mut spec = Vec::new();
                    if let Some(format) = &node.format_spec {
                        self.pieces(&format.elements, &mut spec)?;
                    }
                    let conversion = match node.conversion {
                        ast::ConversionFlag::Str => ir::Conversion::Str,
                        ast::ConversionFlag::Repr => ir::Conversion::Repr,
                        ast::ConversionFlag::Ascii => ir::Conversion::Ascii,
                        // `{x=}` shows the representation unless it says how to format.
                        ast::ConversionFlag::None if node.debug_text.is_some() && spec.is_empty() => {
                            ir::Conversion::Repr
                        }
                        ast::ConversionFlag::None => ir::Conversion::None,
                    };
                    pieces.push(ir::Piece::Value { value: self.expr(&node.expression)?, conversion, spec });
                }
            }
        }
        Ok(())
    }

    fn yields(&mut self, node: &impl Ranged) -> Lowered<()> {
        if self.scopes.kind() != Scope::Function {
            return Err(self.error(node.range(), "'yield' outside function"));
        }
        self.scopes.mark_generator();
        Ok(())
    }
}

fn comparison(operator: ast::CmpOp) -> ir::Comparison {
    match operator {
        ast::CmpOp::Eq => ir::Comparison::Equal,
        ast::CmpOp::NotEq => ir::Comparison::NotEqual,
        ast::CmpOp::Lt => ir::Comparison::Less,
        ast::CmpOp::LtE => ir::Comparison::LessEqual,
        ast::CmpOp::Gt => ir::Comparison::Greater,
        ast::CmpOp::GtE => ir::Comparison::GreaterEqual,
        ast::CmpOp::Is => ir::Comparison::Is,
        ast::CmpOp::IsNot => ir::Comparison::IsNot,
        ast::CmpOp::In => ir::Comparison::In,
        ast::CmpOp::NotIn => ir::Comparison::NotIn,
    }
}
