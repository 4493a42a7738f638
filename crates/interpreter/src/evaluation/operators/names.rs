//! Names of operators, and what is said where operands do not go together.

use crate::values::host::Operator;
use crate::values::raise::Raise;
use crate::values::types::{self, Type, type_name};
use crate::values::value::Value;

use super::plain;

/// Which of an operator's special methods.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Direct,
    Reflected,
    InPlace,
}

/// Returns the name of the special method behind an operator: `__add__`, `__radd__`, `__iadd__`.
pub fn special_name(operator: Operator, form: Form) -> String {
    let (name, mirrored) = match operator {
        Operator::Equal => ("eq", Some("eq")),
        Operator::NotEqual => ("ne", Some("ne")),
        Operator::Less => ("lt", Some("gt")),
        Operator::LessEqual => ("le", Some("ge")),
        Operator::Greater => ("gt", Some("lt")),
        Operator::GreaterEqual => ("ge", Some("le")),
        Operator::Add => ("add", None),
        Operator::Sub => ("sub", None),
        Operator::Mul => ("mul", None),
        Operator::MatMul => ("matmul", None),
        Operator::Div => ("truediv", None),
        Operator::FloorDiv => ("floordiv", None),
        Operator::Mod => ("mod", None),
        Operator::Pow => ("pow", None),
        Operator::LeftShift => ("lshift", None),
        Operator::RightShift => ("rshift", None),
        Operator::BitAnd => ("and", None),
        Operator::BitOr => ("or", None),
        Operator::BitXor => ("xor", None),
        Operator::Negative => ("neg", None),
        Operator::Positive => ("pos", None),
        Operator::Invert => ("invert", None),
    };
    match (form, mirrored) {
        (Form::Direct, _) => format!("__{name}__"),
        (Form::Reflected, Some(mirrored)) => format!("__{mirrored}__"),
        (Form::Reflected, None) => format!("__r{name}__"),
        (Form::InPlace, _) => format!("__i{name}__"),
    }
}

/// Returns an operator as it is written.
pub fn symbol(operator: Operator) -> &'static str {
    match operator {
        Operator::Add | Operator::Positive => "+",
        Operator::Sub | Operator::Negative => "-",
        Operator::Mul => "*",
        Operator::MatMul => "@",
        Operator::Div => "/",
        Operator::FloorDiv => "//",
        Operator::Mod => "%",
        Operator::Pow => "**",
        Operator::LeftShift => "<<",
        Operator::RightShift => ">>",
        Operator::BitAnd => "&",
        Operator::BitOr => "|",
        Operator::BitXor => "^",
        Operator::Equal => "==",
        Operator::NotEqual => "!=",
        Operator::Less => "<",
        Operator::LessEqual => "<=",
        Operator::Greater => ">",
        Operator::GreaterEqual => ">=",
        Operator::Invert => "~",
    }
}

/// Raises for operands that do not go together; `suffix` is `=` for `+=` and its like.
pub fn unsupported(operator: Operator, left: &Value, right: &Value, suffix: &str) -> Raise {
    let symbol = symbol(operator);
    let (left_name, right_name) = (type_name(left), type_name(right));
    let is_sequence =
        |value: &Value| matches!(plain(value), Value::Str(_) | Value::Bytes(_) | Value::List(_) | Value::Tuple(_));
    let message = match (operator, plain(left)) {
        (Operator::Less | Operator::LessEqual | Operator::Greater | Operator::GreaterEqual, _) => {
            format!("'{symbol}' not supported between instances of '{left_name}' and '{right_name}'")
        }
        (Operator::Add, Value::Str(_) | Value::List(_) | Value::Tuple(_)) => {
            let kind = types::builtin_type(&plain(left)).map_or("sequence", Type::name);
            format!("can only concatenate {kind} (not \"{right_name}\") to {kind}")
        }
        (Operator::Add, Value::Bytes(_)) => format!("can't concat {right_name} to bytes"),
        (Operator::Mul, _) if is_sequence(left) => {
            format!("can't multiply sequence by non-int of type '{right_name}'")
        }
        (Operator::Mul, _) if is_sequence(right) => {
            format!("can't multiply sequence by non-int of type '{left_name}'")
        }
        (Operator::Pow, _) if suffix.is_empty() => {
            format!("unsupported operand type(s) for ** or pow(): '{left_name}' and '{right_name}'")
        }
        _ => format!("unsupported operand type(s) for {symbol}{suffix}: '{left_name}' and '{right_name}'"),
    };
    Raise::type_error(message)
}
