//! The element types of `numpy`: the classes of its scalars, and `numpy.dtype`.

use std::any::Any;
use std::borrow::Cow;
use std::rc::Rc;

use interpreter::builtins::construct;
use interpreter::raise::Raise;
use interpreter::{Args, HostObject, HostResult, Machine, Operator, Outcome, Type, Value};
use program::DType;

use super::Array;
use crate::dtype::{self, Device};
use crate::modules::class_named;
use crate::{create, python};

/// A `numpy.dtype`. It equals whatever names the same type: `array.dtype == np.float32`.
struct ElementType(DType);

/// Shows the type of an array's elements.
pub fn element_type(dtype: DType) -> Value {
    Value::host(ElementType(dtype))
}

/// Returns the type that a value names to numpy: a `numpy.dtype`, a class of scalars, its name, or Python's own.
pub fn of_value(value: &Value) -> Option<DType> {
    let named = |name: &str| of_name(name).or_else(|| of_code(name)).filter(|_| !name.ends_with('_'));
    match value {
        Value::Str(name) => named(name),
        Value::Host(object) => match object.as_any().downcast_ref::<ElementType>() {
            Some(element) => Some(element.0),
            None => named(object.class_name()?.strip_prefix("numpy.")?),
        },
        value => python::number_type(value),
    }
}

/// As [`of_value`].
///
/// # Errors
/// `TypeError` for anything else.
pub fn require(value: &Value) -> Result<DType, Raise> {
    of_value(value).ok_or_else(|| match value {
        Value::Str(name) => Raise::type_error(format!("data type '{name}' not understood")),
        value => {
            let shown = interpreter::format::repr_now(value).unwrap_or_else(|| python::type_name(value));
            Raise::type_error(format!("Cannot interpret '{shown}' as a data type"))
        }
    })
}

/// Returns the type that `numpy.<name>` names.
pub fn of_name(name: &str) -> Option<DType> {
    Some(match name {
        "bool_" => DType::Bool,
        "bool" => DType::Bool,
        "byte" => DType::Int8,
        "ubyte" => DType::UInt8,
        "ushort" => DType::UInt16,
        "intc" => DType::Int32,
        "uintc" => DType::UInt32,
        "int" | "long" => DType::Int64,
        "ulong" | "ulonglong" => DType::UInt64,
        "float" => DType::Float64,
        "complex" | "cfloat" => DType::Complex128,
        "chalf" => return None,
        "half" => DType::Float16,
        "single" => DType::Float32,
        "double" => DType::Float64,
        "intp" | "int_" | "longlong" => DType::Int64,
        "uint" | "uintp" => DType::UInt64,
        "csingle" => DType::Complex64,
        "cdouble" => DType::Complex128,
        name => DType::from_name(name).filter(|dtype| {
            !matches!(dtype, DType::BFloat16 | DType::Float8E4M3Fn | DType::Float8E5M2 | DType::Complex32)
        })?,
    })
}

/// Returns the type that a letter and a number of bytes name: `i4`, `<f8`.
fn of_code(code: &str) -> Option<DType> {
    let code = code.strip_prefix(['<', '=', '|']).unwrap_or(code);
    Some(match code {
        "?" | "b1" => DType::Bool,
        "b" | "i1" => DType::Int8,
        "h" | "i2" => DType::Int16,
        "i" | "i4" => DType::Int32,
        "l" | "q" | "p" | "i8" => DType::Int64,
        "B" | "u1" => DType::UInt8,
        "H" | "u2" => DType::UInt16,
        "I" | "u4" => DType::UInt32,
        "L" | "Q" | "P" | "u8" => DType::UInt64,
        "e" | "f2" => DType::Float16,
        "f" | "f4" => DType::Float32,
        "d" | "f8" => DType::Float64,
        "F" | "c8" => DType::Complex64,
        "D" | "c16" => DType::Complex128,
        _ => return None,
    })
}

/// Returns `numpy.<name>` where that is the class of a kind of scalars.
pub fn class(name: &str) -> Option<Value> {
    class_named(&format!("numpy.{}", of_name(name)?.name()))
}

/// The classes above those of the scalars.
pub const ABSTRACT: &[&str] = &[
    "numpy.generic",
    "numpy.number",
    "numpy.integer",
    "numpy.signedinteger",
    "numpy.unsignedinteger",
    "numpy.inexact",
    "numpy.floating",
    "numpy.complexfloating",
];

/// Says whether every scalar of one class of [`ABSTRACT`] is one of another.
pub fn is_abstract_below(class: &str, other: &str) -> bool {
    let above: &[&str] = match class {
        "numpy.number" => &["numpy.generic"],
        "numpy.integer" => &["numpy.number", "numbers.Integral"],
        "numpy.inexact" => &["numpy.number", "numbers.Complex"],
        "numpy.signedinteger" | "numpy.unsignedinteger" => &["numpy.integer"],
        "numpy.floating" => &["numpy.inexact", "numbers.Real"],
        "numpy.complexfloating" => &["numpy.inexact"],
        "numbers.Integral" => &["numbers.Rational"],
        "numbers.Rational" => &["numbers.Real"],
        "numbers.Real" => &["numbers.Complex"],
        "numbers.Complex" => &["numbers.Number"],
        _ => &[],
    };
    class == other || above.iter().any(|above| is_abstract_below(above, other))
}

/// Says whether scalars of a type are instances of a class: one of [`ABSTRACT`], of `numbers`, or of Python's own.
pub fn is_of(dtype: DType, class: &str) -> bool {
    let own = match kind(dtype) {
        "b" => "numpy.generic",
        "i" => "numpy.signedinteger",
        "u" => "numpy.unsignedinteger",
        "c" => "numpy.complexfloating",
        _ => "numpy.floating",
    };
    match class {
        "float" => dtype == DType::Float64,
        "complex" => dtype == DType::Complex128,
        class => is_abstract_below(own, class),
    }
}

/// `numpy.float32(value)` and its like: a scalar of a number or a text, an array of a sequence.
///
/// # Errors
/// As converting a number, or as making an array.
pub fn scalar(machine: &Machine, args: Args, dtype: DType) -> HostResult {
    let [value] = args.bind(dtype.name(), ["x"], 0)?;
    let value = match value.unwrap_or(Value::Int(0)) {
        text @ Value::Str(_) => {
            let kind = match dtype {
                dtype if dtype::is_complex(dtype) => Type::Complex,
                dtype if dtype::is_floating(dtype) => Type::Float,
                _ => Type::Int,
            };
            match construct(machine, kind, python::positional([text]))? {
                Outcome::Ready(number) => number,
                _ => return Err(Raise::type_error("a text makes a number at once")),
            }
        }
        value => value,
    };
    let made = create::of_data(machine, &value, Some(dtype), Some(Device::CPU)).map_err(|raise| {
        match raise.message().starts_with("value cannot be converted to type") {
            true => {
                let shown = interpreter::format::repr_now(&value).unwrap_or_default();
                let says = format!("Python integer {shown} out of bounds for {}", dtype.name());
                Raise::new(interpreter::Kind::OverflowError, says)
            }
            false => raise,
        }
    });
    Ok(Array::result(made?).into())
}

fn kind(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "b",
        DType::Int8 | DType::Int16 | DType::Int32 | DType::Int64 => "i",
        dtype if dtype::is_complex(dtype) => "c",
        dtype if dtype::is_floating(dtype) => "f",
        _ => "u",
    }
}

fn letter(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "?",
        DType::Int8 => "b",
        DType::Int16 => "h",
        DType::Int32 => "i",
        DType::Int64 => "l",
        DType::UInt8 => "B",
        DType::UInt16 => "H",
        DType::UInt32 => "I",
        DType::UInt64 => "L",
        DType::Float16 => "e",
        DType::Float32 => "f",
        DType::Complex64 => "F",
        DType::Complex128 => "D",
        _ => "d",
    }
}

/// `numpy.dtype(…)`.
///
/// # Errors
/// `TypeError` for what names no type.
pub fn make_element_type(_: &Machine, args: Args) -> HostResult {
    Ok(element_type(require(&args.one("dtype")?)?).into())
}

impl HostObject for ElementType {
    fn type_name(&self) -> Cow<'static, str> {
        let name = self.0.name();
        let capital = match name.strip_prefix("uint") {
            Some(bits) => format!("UInt{bits}"),
            None => name[..1].to_uppercase() + &name[1..],
        };
        format!("numpy.dtypes.{capital}DType").into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        Ok(match name {
            "name" => Value::from(self.0.name()).into(),
            "itemsize" => Value::Int(self.0.size() as i64).into(),
            "kind" => Value::from(kind(self.0)).into(),
            "str" => {
                Value::from(format!("{}{}{}", if self.0.size() == 1 { "|" } else { "<" }, kind(self.0), self.0.size()))
                    .into()
            }
            "char" => Value::from(letter(self.0)).into(),
            "byteorder" => Value::from(if self.0.size() == 1 { "|" } else { "=" }).into(),
            "type" => class(self.0.name()).map_or(Outcome::NotImplemented, Outcome::Ready),
            _ => Outcome::NotImplemented,
        })
    }

    fn binary(self: Rc<Self>, _: &Machine, operator: Operator, other: &Value, _: bool) -> HostResult {
        let same = of_value(other) == Some(self.0);
        Ok(match operator {
            Operator::Equal => Value::Bool(same).into(),
            Operator::NotEqual => Value::Bool(!same).into(),
            _ => Outcome::NotImplemented,
        })
    }

    fn hash(&self, _: &Machine) -> Result<Option<i64>, Raise> {
        Ok(Some(i64::from(dtype::code(self.0))))
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(format!("dtype('{}')", self.0.name())))
    }

    fn format(&self, _: &Machine, spec: &str) -> Result<Option<String>, Raise> {
        Ok(spec.is_empty().then(|| self.0.name().to_owned()))
    }

    fn is_instance(&self, class: &str) -> bool {
        class == "numpy.dtype"
    }
}
