//! `torch.dtype`, `torch.device`, and the constants of layouts and memory formats.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Effect, HostObject, HostResult, Machine, Operator, Outcome, Use, Value};
use program::DType;

use crate::modules::class_named;
use crate::python;

/// libtorch's numbers of the element types.
const CODES: [(DType, i32); 18] = [
    (DType::UInt8, 0),
    (DType::Int8, 1),
    (DType::Int16, 2),
    (DType::Int32, 3),
    (DType::Int64, 4),
    (DType::Float16, 5),
    (DType::Float32, 6),
    (DType::Float64, 7),
    (DType::Complex32, 8),
    (DType::Complex64, 9),
    (DType::Complex128, 10),
    (DType::Bool, 11),
    (DType::BFloat16, 15),
    (DType::Float8E5M2, 23),
    (DType::Float8E4M3Fn, 24),
    (DType::UInt16, 27),
    (DType::UInt32, 28),
    (DType::UInt64, 29),
];

/// Returns libtorch's number of an element type.
#[must_use]
pub fn code(dtype: DType) -> i32 {
    CODES.iter().find(|(known, _)| *known == dtype).map_or(6, |(_, code)| *code)
}

/// Returns the element type of libtorch's number, or `None` for types that this server does not show.
#[must_use]
pub fn of_code(code: i32) -> Option<DType> {
    CODES.iter().find(|(_, known)| *known == code).map(|(dtype, _)| *dtype)
}

/// Says whether elements are real floating-point numbers.
#[must_use]
pub fn is_floating(dtype: DType) -> bool {
    use DType::{BFloat16, Float8E4M3Fn, Float8E5M2, Float16, Float32, Float64};
    matches!(dtype, Float64 | Float32 | Float16 | BFloat16 | Float8E4M3Fn | Float8E5M2)
}

/// Says whether elements are complex numbers.
#[must_use]
pub fn is_complex(dtype: DType) -> bool {
    matches!(dtype, DType::Complex32 | DType::Complex64 | DType::Complex128)
}

/// Returns the type that two tensors of these types have in common.
#[must_use]
pub fn promote(left: DType, right: DType) -> DType {
    // Bools, then integers, then real numbers, then complex ones; within a kind, the wider.
    let kind = |dtype: DType| match dtype {
        DType::Bool => 0,
        dtype if is_complex(dtype) => 3,
        dtype if is_floating(dtype) => 2,
        _ => 1,
    };
    match (left, right) {
        (left, right) if left == right => left,
        (DType::Float16, DType::BFloat16) | (DType::BFloat16, DType::Float16) => DType::Float32,
        (DType::UInt8, DType::Int8) | (DType::Int8, DType::UInt8) => DType::Int16,
        (left, right) if kind(left) == kind(right) => {
            if left.size() >= right.size() {
                left
            } else {
                right
            }
        }
        (complex, DType::Float64) | (DType::Float64, complex) if is_complex(complex) => DType::Complex128,
        (left, right) => {
            if kind(left) > kind(right) {
                left
            } else {
                right
            }
        }
    }
}

/// A `torch.dtype`. There is one object of each, as in Python.
pub struct Object(pub DType);

thread_local! {
    static OBJECTS: Vec<Rc<Object>> = DType::ALL.iter().map(|&dtype| Rc::new(Object(dtype))).collect();
}

/// Shows an element type to Python.
#[must_use]
pub fn value(dtype: DType) -> Value {
    let object = OBJECTS.with(|objects| objects.iter().find(|object| object.0 == dtype).cloned());
    Value::Host(object.unwrap_or_else(|| Rc::new(Object(dtype))))
}

/// Returns the element type that a Python value names: a `torch.dtype`, or `float`, `int`, `bool`, `complex`.
#[must_use]
pub fn of_value(value: &Value) -> Option<DType> {
    python::host::<Object>(value).map(|object| object.0).or_else(|| python::number_type(value))
}

impl HostObject for Object {
    fn type_name(&self) -> Cow<'static, str> {
        "torch.dtype".into()
    }

    fn is_callable(&self) -> bool {
        false
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn effect(&self, _: &Machine, name: &str, usage: Use<'_>) -> Effect {
        match (name, usage) {
            (_, Use::Store) => Effect::Anything,
            ("is_floating_point" | "is_complex" | "is_signed" | "itemsize" | "to_real" | "to_complex", _) => {
                Effect::Looks
            }
            _ => Effect::Anything,
        }
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        let dtype = self.0;
        Ok(match name {
            "is_floating_point" => Value::Bool(is_floating(dtype)),
            "is_complex" => Value::Bool(is_complex(dtype)),
            "is_signed" => Value::Bool(!matches!(
                dtype,
                DType::Bool | DType::UInt8 | DType::UInt16 | DType::UInt32 | DType::UInt64
            )),
            "itemsize" => Value::Int(dtype.size() as i64),
            "to_real" | "to_complex" => {
                let other = if name == "to_real" { to_real(dtype) } else { to_complex(dtype) };
                Value::native(name, move |_, args| {
                    args.none("to_real")?;
                    Ok(value(other).into())
                })
            }
            _ => return Ok(Outcome::NotImplemented),
        }
        .into())
    }

    fn binary(self: Rc<Self>, _: &Machine, operator: Operator, other: &Value, _: bool) -> HostResult {
        let same = python::host::<Self>(other).is_some_and(|other| other.0 == self.0);
        Ok(match operator {
            Operator::Equal => Value::Bool(same).into(),
            Operator::NotEqual => Value::Bool(!same).into(),
            _ => Outcome::NotImplemented,
        })
    }

    fn hash(&self, _: &Machine) -> Result<Option<i64>, Raise> {
        Ok(Some(i64::from(code(self.0))))
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(format!("torch.{}", self.0.name())))
    }

    fn class(&self) -> Option<Value> {
        class_named("torch.dtype")
    }

    fn is_instance(&self, class: &str) -> bool {
        class == "torch.dtype"
    }
}

fn to_real(dtype: DType) -> DType {
    match dtype {
        DType::Complex32 => DType::Float16,
        DType::Complex64 => DType::Float32,
        DType::Complex128 => DType::Float64,
        other => other,
    }
}

fn to_complex(dtype: DType) -> DType {
    match dtype {
        DType::Float16 => DType::Complex32,
        DType::Float64 => DType::Complex128,
        DType::BFloat16 | DType::Float32 => DType::Complex64,
        other => other,
    }
}

/// What PyTorch says before a device string that it does not know.
const UNKNOWN_DEVICE: &str = "Expected one of cpu, cuda, ipu, xpu, mkldnn, opengl, opencl, ideep, hip, ve, fpga, \
                              maia, xla, lazy, vulkan, mps, meta, hpu, mtia, privateuseone device type at start of \
                              device string: ";

/// A `torch.device`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// libtorch's number of the kind: 0 CPU, 1 CUDA.
    pub kind: i32,
    /// -1 for the current one.
    pub index: i32,
}

impl Device {
    pub const CPU: Self = Self { kind: 0, index: -1 };

    /// Makes a GPU's.
    #[must_use]
    pub const fn cuda(index: i32) -> Self {
        Self { kind: 1, index }
    }

    #[must_use]
    pub const fn is_cuda(self) -> bool {
        self.kind == 1
    }

    const KINDS: [(&'static str, i32); 2] = [("cpu", 0), ("cuda", 1)];

    /// Reads `cpu`, `cuda`, `cuda:1`.
    ///
    /// # Errors
    /// `RuntimeError` with PyTorch's text; a kind that this server has none of is refused in the same way.
    pub fn parse(text: &str) -> Result<Self, Raise> {
        let invalid = || Raise::runtime_error(format!("Invalid device string: '{text}'"));
        let (kind, index) = text.split_once(':').map_or((text, None), |(kind, index)| (kind, Some(index)));
        let Some((_, code)) = Self::KINDS.iter().find(|(name, _)| *name == kind) else {
            return Err(Raise::runtime_error(format!("{UNKNOWN_DEVICE}{text}")));
        };
        let index = match index {
            None => -1,
            Some(index) => i32::from(index.parse::<u8>().map_err(|_| invalid())?),
        };
        Ok(Self { kind: *code, index })
    }

    /// Reads a Python value that names a device: a `torch.device`, a string, or the index of a GPU.
    ///
    /// # Errors
    /// As [`Device::parse`].
    pub fn of_value(value: &Value) -> Result<Option<Self>, Raise> {
        match value {
            Value::Str(text) => Self::parse(text).map(Some),
            Value::Int(index) => Ok(u8::try_from(*index).ok().map(|index| Self::cuda(i32::from(index)))),
            value => Ok(python::host::<Self>(value).map(|device| *device)),
        }
    }

    /// Shows the device to Python.
    #[must_use]
    pub fn value(self) -> Value {
        Value::host(self)
    }

    /// Returns the kind's name.
    #[must_use]
    pub fn kind_name(self) -> &'static str {
        Self::KINDS.iter().find(|(_, code)| *code == self.kind).map_or("unknown", |(name, _)| *name)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            ..0 => f.write_str(self.kind_name()),
            index => write!(f, "{}:{index}", self.kind_name()),
        }
    }
}

impl From<Device> for tch::Device {
    fn from(device: Device) -> Self {
        match device {
            Device { kind: 1, index } => Self::Cuda(usize::try_from(index).unwrap_or(0)),
            _ => Self::Cpu,
        }
    }
}

impl HostObject for Device {
    fn type_name(&self) -> Cow<'static, str> {
        "torch.device".into()
    }

    fn is_callable(&self) -> bool {
        false
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn effect(&self, _: &Machine, name: &str, usage: Use<'_>) -> Effect {
        match (name, usage) {
            (_, Use::Store) => Effect::Anything,
            ("type" | "index", _) => Effect::Looks,
            _ => Effect::Anything,
        }
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        Ok(match name {
            "type" => Value::from(self.kind_name()).into(),
            "index" if self.index < 0 => Value::None.into(),
            "index" => Value::Int(i64::from(self.index)).into(),
            _ => Outcome::NotImplemented,
        })
    }

    fn binary(self: Rc<Self>, _: &Machine, operator: Operator, other: &Value, _: bool) -> HostResult {
        let same = python::host::<Self>(other).is_some_and(|other| other == self);
        Ok(match operator {
            Operator::Equal => Value::Bool(same).into(),
            Operator::NotEqual => Value::Bool(!same).into(),
            _ => Outcome::NotImplemented,
        })
    }

    fn hash(&self, _: &Machine) -> Result<Option<i64>, Raise> {
        Ok(Some(i64::from(self.kind) << 16 | i64::from(self.index & 0xffff)))
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(match self.index {
            ..0 => format!("device(type='{}')", self.kind_name()),
            index => format!("device(type='{}', index={index})", self.kind_name()),
        }))
    }

    fn format(&self, _: &Machine, spec: &str) -> Result<Option<String>, Raise> {
        Ok(spec.is_empty().then(|| self.to_string()))
    }

    fn class(&self) -> Option<Value> {
        class_named("torch.device")
    }

    fn is_instance(&self, class: &str) -> bool {
        class == "torch.device"
    }
}

/// A layout or memory format: `torch.strided`, `torch.contiguous_format`.
pub struct Constant {
    pub name: &'static str,
    pub class: &'static str,
    /// libtorch's number.
    pub code: i64,
}

/// The constants of `torch`.
pub const CONSTANTS: [Constant; 4] = [
    Constant { name: "strided", class: "torch.layout", code: 0 },
    Constant { name: "contiguous_format", class: "torch.memory_format", code: 0 },
    Constant { name: "preserve_format", class: "torch.memory_format", code: 1 },
    Constant { name: "channels_last", class: "torch.memory_format", code: 2 },
];

/// Shows a constant to Python.
#[must_use]
pub fn constant(name: &str) -> Option<Value> {
    thread_local! {
        static SHOWN: Vec<Rc<Constant>> = CONSTANTS.into_iter().map(Rc::new).collect();
    }
    SHOWN.with(|all| all.iter().find(|constant| constant.name == name).map(|constant| Value::Host(constant.clone())))
}

impl HostObject for Constant {
    fn type_name(&self) -> Cow<'static, str> {
        self.class.into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(format!("torch.{}", self.name)))
    }

    fn class(&self) -> Option<Value> {
        class_named(self.class)
    }

    fn is_instance(&self, class: &str) -> bool {
        class == self.class
    }
}
