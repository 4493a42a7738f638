//! Whether a statement of the session's own code can meet what waits.

use std::rc::Rc;

use interpreter::{Frame, Identity, Type, Value};
use program::ir::{Argument, Call, Expr, ExprKind, Name, Statement, StatementKind, Target};

use super::{Deferral, effects, place, value};

/// Looks at code of the session, as its frame stands.
pub struct Look<'a> {
    pub deferral: &'a Deferral,
    pub frame: &'a Rc<Frame>,
}

impl Look<'_> {
    /// Returns whether a statement's own parts, bodies apart, cannot meet what the waiting blocks do.
    pub fn passes(&self, statement: &Statement) -> bool {
        match &statement.kind {
            StatementKind::Pass | StatementKind::Break | StatementKind::Continue => true,
            StatementKind::Expression(expr) => match effects::append(expr) {
                // A list that nobody waiting looks at may get whatever there is.
                Some((list, item)) => {
                    let unseen = |list: Value| {
                        matches!(list, Value::List(_)) && !self.deferral.used.borrow().contains(&list.identity())
                    };
                    let own = self.load(list).filter(|list| !self.deferral.receives(list));
                    own.is_some_and(unseen) && self.keeps(item)
                }
                None => matches!(expr.kind, ExprKind::Constant(_)),
            },
            StatementKind::Assign { targets, value } => {
                targets.iter().all(|target| self.binds(target)) && self.keeps(value)
            }
            StatementKind::AugmentedAssign { target: Target::Name(name), value, .. } => {
                self.deferral.may_bind(*name) && self.scalar_name(*name) && self.scalar(value)
            }
            StatementKind::If { branches, .. } => branches.iter().all(|(test, _)| self.scalar(test)),
            StatementKind::For { target, iterable, .. } => self.binds(target) && self.iterates(iterable),
            StatementKind::With { context, target, body } => {
                let ExprKind::Call(call) = &context.kind else { return false };
                self.opens(call)
                    && target.as_ref().is_none_or(|target| self.binds(target))
                    && self
                        .deferral
                        .effects(self.frame, body)
                        .is_none_or(|effects| self.deferral.meets_nothing(self.frame, &effects))
            }
            _ => false,
        }
    }

    /// Whether a call opens a trace, with what is there.
    fn opens(&self, call: &Call) -> bool {
        let ExprKind::Attribute { object, name: method } = &call.callee.kind else { return false };
        let ExprKind::Name(name) = &object.kind else { return false };
        let keeps = |argument: &Argument| self.keeps(&argument.value);
        self.load(*name).is_some_and(|object| (self.deferral.knows.opens)(&object, method))
            && call.positional.iter().all(keeps)
            && call.keyword.iter().all(|(_, value)| self.keeps(value))
    }

    /// Returns whether binding a target meets nothing.
    pub fn binds(&self, target: &Target) -> bool {
        match target {
            Target::Name(name) => self.deferral.may_bind(*name),
            Target::Sequence { before, star: None, after, .. } => {
                before.iter().chain(after).all(|target| self.binds(target))
            }
            _ => false,
        }
    }

    /// Returns a variable's value, unless a waiting block will bind it.
    fn load(&self, name: Name) -> Option<Value> {
        if name.depth > 0 || self.deferral.bound.borrow().contains(&name.slot) {
            return None;
        }
        value(self.frame, name.slot)
    }

    /// Whether an expression only hands on what is there.
    fn keeps(&self, expr: &Expr) -> bool {
        match &expr.kind {
            ExprKind::Constant(_) => true,
            ExprKind::Name(name) => self.load(*name).is_some(),
            ExprKind::List(items) | ExprKind::Tuple(items) => {
                items.iter().all(|item| !item.starred && self.keeps(&item.value))
            }
            ExprKind::Dict(pairs) => {
                pairs.iter().all(|(key, value)| key.as_ref().is_some_and(|key| self.scalar(key)) && self.keeps(value))
            }
            ExprKind::Item { object, key } => match &object.kind {
                ExprKind::Name(name) => {
                    let plain = |value: Value| match value {
                        Value::Tuple(_) => true,
                        // Reading what a defaultdict lacks runs its factory.
                        Value::Dict(ref dict) if dict.type_of() == Type::DefaultDict => false,
                        Value::List(_) | Value::Dict(_) => !self.deferral.receives(&value),
                        _ => false,
                    };
                    self.load(*name).is_some_and(plain) && self.scalar(key)
                }
                _ => false,
            },
            ExprKind::Call(_) => self.iterates(expr),
            _ => self.scalar(expr),
        }
    }

    /// Whether an expression computes with numbers and texts only.
    fn scalar(&self, expr: &Expr) -> bool {
        match &expr.kind {
            ExprKind::Constant(_) => true,
            ExprKind::Name(name) => self.scalar_name(*name),
            ExprKind::Binary { left, right, .. } => self.scalar(left) && self.scalar(right),
            ExprKind::Unary { operand, .. } => self.scalar(operand),
            ExprKind::Boolean { operands, .. } => operands.iter().all(|operand| self.scalar(operand)),
            ExprKind::Compare { first, rest } => self.scalar(first) && rest.iter().all(|(_, expr)| self.scalar(expr)),
            ExprKind::Conditional(parts) => parts.iter().all(|part| self.scalar(part)),
            ExprKind::Tuple(items) => items.iter().all(|item| !item.starred && self.scalar(&item.value)),
            _ => false,
        }
    }

    fn scalar_name(&self, name: Name) -> bool {
        self.load(name).is_some_and(|value| {
            matches!(value, Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_))
        })
    }

    /// Whether an expression makes something whose elements are there already: `range(n)`, `enumerate(layers)`.
    pub fn iterates(&self, expr: &Expr) -> bool {
        match &expr.kind {
            ExprKind::Name(name) => match self.load(*name) {
                Some(Value::Range(_) | Value::Tuple(_) | Value::Str(_)) => true,
                Some(list @ Value::List(_)) => !self.deferral.receives(&list),
                _ => false,
            },
            ExprKind::List(_) | ExprKind::Tuple(_) => self.keeps(expr),
            ExprKind::Call(call) => {
                let ExprKind::Name(name) = &call.callee.kind else { return false };
                let parts = || call.positional.iter().map(|one| &one.value);
                if !call.keyword.is_empty() || call.positional.iter().any(|argument| argument.starred) {
                    return false;
                }
                match self.load(*name) {
                    Some(Value::Type(Type::Range)) => parts().all(|part| self.scalar(part) || self.counts(part)),
                    Some(Value::Type(Type::Enumerate | Type::Zip | Type::Reversed | Type::List | Type::Tuple)) => {
                        parts().all(|part| self.iterates(part) || self.scalar(part))
                    }
                    Some(Value::Native(native)) => is_len(&native) && parts().all(|part| self.iterates(part)),
                    _ => false,
                }
            }
            _ => false,
        }
    }

    /// Whether an expression is `len(…)` of something plain.
    fn counts(&self, expr: &Expr) -> bool {
        matches!(expr.kind, ExprKind::Call(_)) && self.iterates(expr)
    }

    /// Returns the lists that an iterable's text names.
    pub fn lists(&self, iterable: &Expr) -> Vec<Identity> {
        match &iterable.kind {
            ExprKind::Name(name) if name.depth == 0 => value(self.frame, name.slot)
                .filter(|value| matches!(value, Value::List(_)))
                .map(|list| place(&list))
                .into_iter()
                .collect(),
            ExprKind::Call(call) => call.positional.iter().flat_map(|argument| self.lists(&argument.value)).collect(),
            _ => Vec::new(),
        }
    }
}

fn is_len(native: &Rc<interpreter::Native>) -> bool {
    interpreter::builtins::lookup("len").is_some_and(|len| len.is(&Value::Native(Rc::clone(native))))
}
