//! Evaluates expressions.

use std::rc::Rc;

use program::ir::{self, Argument, Binary, Comparison, Constant, Expr, ExprKind, Span, Unary};

use super::{Now, Run};
use crate::evaluation::{attribute, format, operators, set};
use crate::values::class::Decorated;
use crate::values::host::{HostResult, Operator, Outcome};
use crate::values::machine::grow;
use crate::values::raise::Raise;
use crate::values::suspension::Deep;
use crate::values::types::charge::Charge;
use crate::values::types::{self, Slice, sequence};
use crate::values::value::Value;

pub(super) type Evaluated<'a> = Result<Now<'a>, Raise>;

impl<'a> Run<'a> {
    /// Evaluates an expression: at once where nothing in it suspends.
    pub(super) fn eval(self, expr: &'a Expr) -> Evaluated<'a> {
        match &expr.kind {
            ExprKind::Constant(constant) => Ok(Now::Done(value_of(constant))),
            ExprKind::Name(name) => match self.frame.load(*name) {
                Ok(value) => Ok(Now::Done(value)),
                Err(raise) => {
                    self.at(expr.span);
                    Err(raise)
                }
            },
            _ => {
                self.machine.charge_fuel(1)?;
                grow(|| self.compound(expr))
            }
        }
    }

    fn compound(self, expr: &'a Expr) -> Evaluated<'a> {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Constant(constant) => Ok(Now::Done(value_of(constant))),
            ExprKind::Name(name) => self.frame.load(*name).map(Now::Done),
            ExprKind::Binary { operator: binary, left, right } => {
                let operator = operator(*binary);
                self.both(left, right, span, move |run, left, right| {
                    operators::binary(run.machine, operator, &left, &right)
                })
            }
            ExprKind::Unary { operator: Unary::Not, operand } => Ok(match self.condition(operand)? {
                Now::Done(truth) => Now::Done(Value::Bool(!truth)),
                Now::Later(future) => Now::later(async move { Ok(Value::Bool(!future.await?)) }),
            }),
            ExprKind::Unary { operator, operand } => {
                let operator = match operator {
                    Unary::Positive => Operator::Positive,
                    Unary::Invert => Operator::Invert,
                    Unary::Negative | Unary::Not => Operator::Negative,
                };
                self.one(operand, span, move |run, operand| operators::unary(run.machine, operator, &operand))
            }
            ExprKind::Boolean { any, operands } => self.boolean(*any, operands),
            ExprKind::Compare { first, rest } => self.compare(first, rest, span),
            ExprKind::Conditional(parts) => {
                let [test, yes, no] = &**parts;
                match self.condition(test)? {
                    Now::Done(true) => self.eval(yes),
                    Now::Done(false) => self.eval(no),
                    Now::Later(future) => Ok(Now::later(async move {
                        let chosen = if future.await? { yes } else { no };
                        self.eval(chosen)?.get().await
                    })),
                }
            }
            ExprKind::Attribute { object, name } => {
                self.one(object, span, move |run, object| attribute::get(run.machine, &object, name))
            }
            ExprKind::Item { object, key } => {
                self.both(object, key, span, move |run, object, key| operators::get_item(run.machine, &object, &key))
            }
            ExprKind::Slice(parts) => {
                let [start, stop, step] = &**parts;
                let part = move |part: &'a Option<Expr>| match part {
                    Some(expr) => self.eval(expr),
                    None => Ok(Now::Done(Value::None)),
                };
                // One after another: what one begins to do, the next may see.
                let start = match part(start)? {
                    Now::Done(start) => start,
                    Now::Later(future) => {
                        return Ok(Now::later(async move {
                            let start = future.await?;
                            let stop = part(stop)?.get().await?;
                            let step = part(step)?.get().await?;
                            Ok(Value::Slice(Rc::new(Slice::new(start, stop, step))))
                        }));
                    }
                };
                let stop = match part(stop)? {
                    Now::Done(stop) => stop,
                    Now::Later(future) => {
                        return Ok(Now::later(async move {
                            let stop = future.await?;
                            let step = part(step)?.get().await?;
                            Ok(Value::Slice(Rc::new(Slice::new(start, stop, step))))
                        }));
                    }
                };
                match part(step)? {
                    Now::Done(step) => Ok(Now::Done(Value::Slice(Rc::new(Slice::new(start, stop, step))))),
                    Now::Later(future) => {
                        Ok(Now::later(async move { Ok(Value::Slice(Rc::new(Slice::new(start, stop, future.await?)))) }))
                    }
                }
            }
            ExprKind::Call(call) => self.call(call, span),
            ExprKind::Super { class, receiver } => {
                self.at(span);
                self.parent(*class, *receiver).map(Now::Done)
            }
            ExprKind::List(elements) => self.display(elements, |run, items| sequence::list(run.machine, items)),
            ExprKind::Tuple(elements) => self.display(elements, |run, items| sequence::tuple(run.machine, items)),
            ExprKind::Set(elements) => {
                let constant = elements.len() > 2 && elements.iter().all(|element| is_constant(&element.value));
                self.display(elements, move |run, items| set::display(run.machine, items, constant))
            }
            ExprKind::Dict(pairs) => Ok(Now::later(self.dict(pairs, span))),
            ExprKind::Lambda(definition) => Ok(Now::later(self.function(definition))),
            ExprKind::Comprehension(comprehension) => Ok(Now::later(self.comprehension(comprehension, span))),
            ExprKind::Walrus { target, value } => Ok(match self.eval(value)? {
                Now::Done(value) => {
                    self.frame.bind(*target, value.clone());
                    Now::Done(value)
                }
                Now::Later(future) => Now::later(async move {
                    let value = future.await?;
                    self.frame.bind(*target, value.clone());
                    Ok(value)
                }),
            }),
            ExprKind::Format(pieces) => Ok(Now::later(async move {
                let text = self.text_of(pieces, span).await?;
                types::ledger::text(self.machine, text)
            })),
            ExprKind::Yield(value) => Ok(Now::later(async move {
                let value = match value {
                    Some(value) => self.eval(value)?.get().await?,
                    None => Value::None,
                };
                self.at(span);
                self.yields(value).await
            })),
            ExprKind::YieldFrom(value) => Ok(Now::later(async move {
                let value = self.eval(value)?.get().await?;
                self.at(span);
                self.yield_from(&value).await
            })),
        }
    }

    /// Evaluates a node with one operand.
    fn one(self, operand: &'a Expr, span: Span, apply: impl FnOnce(Self, Value) -> HostResult + 'a) -> Evaluated<'a> {
        match self.eval(operand)? {
            Now::Done(operand) => {
                self.at(span);
                self.settle(apply(self, operand))
            }
            Now::Later(future) => Ok(Now::later(async move {
                let operand = future.await?;
                self.at(span);
                self.settle(apply(self, operand))?.get().await
            })),
        }
    }

    /// Evaluates a node with two operands, left to right.
    fn both(
        self,
        left: &'a Expr,
        right: &'a Expr,
        span: Span,
        apply: impl FnOnce(Self, Value, Value) -> HostResult + 'a,
    ) -> Evaluated<'a> {
        let left = match self.eval(left)? {
            Now::Done(left) => left,
            Now::Later(future) => {
                return Ok(Now::later(async move {
                    let left = future.await?;
                    let right = self.eval(right)?.get().await?;
                    self.at(span);
                    self.settle(apply(self, left, right))?.get().await
                }));
            }
        };
        match self.eval(right)? {
            Now::Done(right) => {
                self.at(span);
                self.settle(apply(self, left, right))
            }
            Now::Later(future) => Ok(Now::later(async move {
                let right = future.await?;
                self.at(span);
                self.settle(apply(self, left, right))?.get().await
            })),
        }
    }

    /// Evaluates an expression for its truth.
    pub(super) fn condition(self, expr: &'a Expr) -> Result<Now<'a, bool>, Raise> {
        match self.eval(expr)? {
            Now::Done(Value::Bool(truth)) => Ok(Now::Done(truth)),
            Now::Done(value) => {
                self.at(expr.span);
                self.truth(value)
            }
            Now::Later(future) => Ok(Now::later(async move {
                let value = future.await?;
                self.at(expr.span);
                self.truth(value)?.get().await
            })),
        }
    }

    fn truth(self, value: Value) -> Result<Now<'a, bool>, Raise> {
        match operators::truth_now(self.machine, &value)? {
            Some(truth) => Ok(Now::Done(truth)),
            None => Ok(Now::later(async move { operators::truth(self.machine, &value).await })),
        }
    }

    fn boolean(self, any: bool, operands: &'a [Expr]) -> Evaluated<'a> {
        let Some((first, rest)) = operands.split_first() else { return Ok(Now::Done(Value::None)) };
        let value = match self.eval(first)? {
            Now::Done(value) => value,
            Now::Later(future) => {
                return Ok(Now::later(async move { self.boolean_rest(any, future.await?, first, rest).await }));
            }
        };
        if rest.is_empty() {
            return Ok(Now::Done(value));
        }
        self.at(first.span);
        match operators::truth_now(self.machine, &value)? {
            Some(truth) if truth == any => Ok(Now::Done(value)),
            Some(_) => self.boolean(any, rest),
            None => Ok(Now::later(self.boolean_rest(any, value, first, rest))),
        }
    }

    async fn boolean_rest(self, any: bool, value: Value, first: &'a Expr, rest: &'a [Expr]) -> Result<Value, Raise> {
        self.at(first.span);
        if rest.is_empty() || operators::truth(self.machine, &value).await? == any {
            return Ok(value);
        }
        self.boolean(any, rest)?.get().await
    }

    fn compare(self, first: &'a Expr, rest: &'a [(Comparison, Expr)], span: Span) -> Evaluated<'a> {
        let [(comparison, second)] = rest else {
            return Ok(Now::later(self.compare_chain(first, rest, span)));
        };
        self.both(first, second, span, move |run, left, right| run.compare_two(*comparison, &left, &right))
    }

    fn compare_two(self, comparison: Comparison, left: &Value, right: &Value) -> HostResult {
        let operator = match comparison {
            Comparison::Equal => Operator::Equal,
            Comparison::NotEqual => Operator::NotEqual,
            Comparison::Less => Operator::Less,
            Comparison::LessEqual => Operator::LessEqual,
            Comparison::Greater => Operator::Greater,
            Comparison::GreaterEqual => Operator::GreaterEqual,
            Comparison::Is | Comparison::IsNot => {
                if let (Value::Str(left), Value::Str(right)) = (left, right) {
                    types::ledger::copied(self.machine, left.len().min(right.len()) as u64)?;
                }
                return Ok(Value::Bool(left.is(right) == (comparison == Comparison::Is)).into());
            }
            Comparison::In => return operators::contains(self.machine, right, left),
            Comparison::NotIn => {
                return Ok(match operators::contains(self.machine, right, left)? {
                    Outcome::Ready(Value::Bool(found)) => Value::Bool(!found).into(),
                    outcome => {
                        let machine = self.machine.clone();
                        Outcome::Later(Box::pin(async move {
                            let found = machine.settle(outcome).await?;
                            Ok(Value::Bool(!operators::truth(&machine, &found).await?))
                        }))
                    }
                });
            }
        };
        operators::binary(self.machine, operator, left, right)
    }

    async fn compare_chain(self, first: &'a Expr, rest: &'a [(Comparison, Expr)], span: Span) -> Result<Value, Raise> {
        let mut left = self.eval(first)?.get().await?;
        for (index, (comparison, second)) in rest.iter().enumerate() {
            let right = self.eval(second)?.get().await?;
            self.at(span);
            let result = self.settle(self.compare_two(*comparison, &left, &right))?.get().await?;
            if index + 1 == rest.len() || !operators::truth(self.machine, &result).await? {
                return Ok(result);
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    fn parent(self, class: ir::Name, receiver: Option<ir::Name>) -> Result<Value, Raise> {
        let Some(receiver) = receiver else { return Err(Raise::runtime_error("super(): no arguments")) };
        let receiver = self.frame.load(receiver).map_err(|_| Raise::runtime_error("super(): arg[0] deleted"))?;
        let class = match self.frame.load(class) {
            Ok(class) => class,
            // A method that came without its class cell: its class is the one that holds this code.
            Err(_) => self
                .defining_class(&receiver)
                .ok_or_else(|| Raise::runtime_error("super(): __class__ cell not found"))?,
        };
        attribute::parent(&class, &receiver)
    }

    fn defining_class(self, receiver: &Value) -> Option<Value> {
        let class = match receiver {
            Value::Instance(instance) => instance.class(),
            Value::Class(class) => class,
            _ => return None,
        };
        let holds = |value: &Value| match value {
            Value::Function(function) => Rc::ptr_eq(function.code(), self.frame.code()),
            Value::Decorated(decorated) => match &**decorated {
                Decorated::StaticMethod(Value::Function(function))
                | Decorated::ClassMethod(Value::Function(function)) => Rc::ptr_eq(function.code(), self.frame.code()),
                _ => false,
            },
            _ => false,
        };
        let found = class.lineage().find(|class| class.attributes().iter().any(|(_, value)| holds(value)));
        found.map(|class| Value::Class(Rc::clone(class)))
    }

    /// Evaluates elements, unpacking the starred ones.
    pub(super) fn arguments(self, elements: &'a [Argument]) -> Result<Now<'a, Vec<Value>>, Raise> {
        let mut values = Vec::with_capacity(elements.len());
        for (index, element) in elements.iter().enumerate() {
            if element.starred {
                return Ok(Now::later(self.arguments_rest(values, None, &elements[index..])));
            }
            match self.eval(&element.value)? {
                Now::Done(value) => values.push(value),
                Now::Later(future) => {
                    return Ok(Now::later(self.arguments_rest(values, Some(future), &elements[index + 1..])));
                }
            }
        }
        Ok(Now::Done(values))
    }

    async fn arguments_rest(
        self,
        mut values: Vec<Value>,
        pending: Option<Deep<'a, Result<Value, Raise>>>,
        elements: &'a [Argument],
    ) -> Result<Vec<Value>, Raise> {
        let gathered = Charge::default();
        if let Some(pending) = pending {
            values.push(pending.await?);
        }
        for element in elements {
            let value = self.eval(&element.value)?.get().await?;
            if !element.starred {
                values.push(value);
                continue;
            }
            self.at(element.value.span);
            if !operators::is_iterable(&value) {
                let name = types::type_name(&value);
                return Err(Raise::type_error(format!("Value after * must be an iterable, not {name}")));
            }
            values.extend(operators::collect(self.machine, &value).await?);
            gathered.cover(self.machine, (values.len() * size_of::<Value>()) as u64)?;
        }
        Ok(values)
    }

    fn display(
        self,
        elements: &'a [Argument],
        build: impl FnOnce(Self, Vec<Value>) -> HostResult + 'a,
    ) -> Evaluated<'a> {
        match self.arguments(elements)? {
            Now::Done(items) => self.settle(build(self, items)),
            Now::Later(future) => Ok(Now::later(async move {
                let items = future.await?;
                self.settle(build(self, items))?.get().await
            })),
        }
    }

    async fn dict(self, pairs: &'a [(Option<Expr>, Expr)], span: Span) -> Result<Value, Raise> {
        let dict = Value::dict(Vec::<(Rc<str>, Value)>::new());
        for (key, value) in pairs {
            let Some(key) = key else {
                let mapping = self.eval(value)?.get().await?;
                self.at(span);
                for (key, value) in operators::mapping_entries(self.machine, &mapping).await? {
                    self.settle(operators::set_item(self.machine, &dict, &key, value))?.get().await?;
                }
                continue;
            };
            let key = self.eval(key)?.get().await?;
            let value = self.eval(value)?.get().await?;
            self.at(span);
            self.settle(operators::set_item(self.machine, &dict, &key, value))?.get().await?;
        }
        Ok(dict)
    }

    async fn text_of(self, pieces: &'a [ir::Piece], span: Span) -> Result<String, Raise> {
        let mut text = String::new();
        for piece in pieces {
            let (value, conversion, spec) = match piece {
                ir::Piece::Literal(literal) => {
                    types::ledger::copied(self.machine, literal.len() as u64)?;
                    text.push_str(literal);
                    continue;
                }
                ir::Piece::Value { value, conversion, spec } => (value, conversion, spec),
            };
            let value = self.eval(value)?.get().await?;
            self.at(span);
            if let (Value::Str(part), [], ir::Conversion::None | ir::Conversion::Str) = (&value, &spec[..], conversion)
            {
                types::ledger::reserve(self.machine, 2 * (text.len() + part.len()) as u64)?;
                text.push_str(part);
                continue;
            }
            let value = match conversion {
                ir::Conversion::None => value,
                ir::Conversion::Str => Value::from(&*format::str(self.machine, &value).await?),
                ir::Conversion::Repr => Value::from(&*format::repr(self.machine, &value).await?),
                ir::Conversion::Ascii => Value::from(&*format::ascii(self.machine, &value).await?),
            };
            let spec = if spec.is_empty() { String::new() } else { Deep::new(self.text_of(spec, span)).await? };
            self.at(span);
            text.push_str(&format::format(self.machine, &value, &spec).await?);
            types::ledger::reserve(self.machine, text.len() as u64)?;
        }
        Ok(text)
    }
}

/// Says whether CPython knows a value before the program runs.
fn is_constant(expression: &Expr) -> bool {
    match &expression.kind {
        ExprKind::Constant(_) => true,
        ExprKind::Unary { operand, .. } => matches!(operand.kind, ExprKind::Constant(_)),
        _ => false,
    }
}

/// Makes the value of a constant.
pub(super) fn value_of(constant: &Constant) -> Value {
    match constant {
        Constant::None => Value::None,
        Constant::Ellipsis => Value::Ellipsis,
        Constant::Bool(truth) => Value::Bool(*truth),
        Constant::Int(number) => Value::Int(*number),
        Constant::Big(number) => Value::Big(Rc::clone(number)),
        Constant::Float(number) => Value::Float(*number),
        Constant::Imaginary(number) => Value::Complex(0.0, *number),
        Constant::Str(text) => Value::Str(Rc::clone(text)),
        Constant::Bytes(bytes) => Value::Bytes(Rc::clone(bytes)),
    }
}

pub(super) fn operator(binary: Binary) -> Operator {
    match binary {
        Binary::Add => Operator::Add,
        Binary::Sub => Operator::Sub,
        Binary::Mul => Operator::Mul,
        Binary::MatMul => Operator::MatMul,
        Binary::Div => Operator::Div,
        Binary::FloorDiv => Operator::FloorDiv,
        Binary::Mod => Operator::Mod,
        Binary::Pow => Operator::Pow,
        Binary::LeftShift => Operator::LeftShift,
        Binary::RightShift => Operator::RightShift,
        Binary::BitAnd => Operator::BitAnd,
        Binary::BitOr => Operator::BitOr,
        Binary::BitXor => Operator::BitXor,
    }
}
