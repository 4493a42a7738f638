//! Values outside any running job: what a request brings and what a result takes away.
//!
//! A [`Heap`] holds values by index, so that one object referred to twice stays one object
//! and a list that holds itself can be written down.

use bytes::Bytes;
use num_bigint::BigInt;
use serde::{Deserialize, Serialize};

/// Points at a value of the [`Heap`] it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ref(pub u32);

/// Owns the values of one request or one result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Heap {
    data: Vec<Datum>,
}

impl Heap {
    /// Adds a value and returns where it is.
    pub fn push(&mut self, datum: Datum) -> Ref {
        let index = u32::try_from(self.data.len()).unwrap_or(u32::MAX);
        self.data.push(datum);
        Ref(index)
    }

    /// Returns the value at a reference, or `None` for a reference of another heap.
    #[must_use]
    pub fn get(&self, at: Ref) -> Option<&Datum> {
        self.data.get(at.0 as usize)
    }

    /// Replaces the value at a reference, as a decoder does when an object's state arrives after it.
    pub fn set(&mut self, at: Ref, datum: Datum) -> bool {
        match self.data.get_mut(at.0 as usize) {
            Some(slot) => {
                *slot = datum;
                true
            }
            None => false,
        }
    }

    /// Returns the value at a reference for changes in place.
    pub fn get_mut(&mut self, at: Ref) -> Option<&mut Datum> {
        self.data.get_mut(at.0 as usize)
    }

    /// Returns the elements of a tensor row by row, wherever they lie; `None` for any other value.
    #[must_use]
    pub fn tensor(&self, at: Ref) -> Option<TensorData> {
        let (storage, shape, strides, offset, requires_grad) = match self.get(at)? {
            Datum::Tensor(data) => return Some(data.clone()),
            Datum::View { storage, shape, strides, offset, requires_grad } => {
                (*storage, shape, strides, *offset, *requires_grad)
            }
            _ => return None,
        };
        let Datum::Storage(data) = self.get(storage)? else { return None };
        let mut places = vec![offset];
        for (&size, &stride) in shape.iter().zip(strides) {
            places = places.iter().flat_map(|&place| (0..size).map(move |index| place + index * stride)).collect();
        }
        let width = data.dtype.size();
        let mut bytes = Vec::with_capacity(places.len() * width);
        for place in places {
            let start = usize::try_from(place).ok()?.checked_mul(width)?;
            bytes.extend_from_slice(data.bytes.get(start..start.checked_add(width)?)?);
        }
        Some(TensorData { dtype: data.dtype, shape: shape.clone(), bytes: bytes.into(), requires_grad })
    }

    /// Returns the text at a reference; `None` for any other value.
    #[must_use]
    pub fn text(&self, at: Ref) -> Option<&str> {
        match self.get(at) {
            Some(Datum::Str(text)) => Some(text),
            _ => None,
        }
    }

    /// Returns how many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Returns about how many bytes there are to encode.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let own = |datum: &Datum| match datum {
            Datum::Tensor(data) | Datum::Storage(data) | Datum::Array { data, .. } => data.bytes.len(),
            Datum::View { shape, .. } => 16 * shape.len(),
            Datum::Bytes(bytes) => bytes.len(),
            Datum::Str(text) => text.len(),
            Datum::List(items) | Datum::Tuple(items) | Datum::Set(items) | Datum::FrozenSet(items) => 4 * items.len(),
            Datum::Dict(pairs) => 8 * pairs.len(),
            _ => 0,
        };
        self.data.iter().map(|datum| 16 + own(datum) as u64).sum()
    }

    /// Returns whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Lists the values in the order of their references.
    pub fn iter(&self) -> impl Iterator<Item = &Datum> {
        self.data.iter()
    }
}

/// One value. Containers refer to their elements by [`Ref`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Datum {
    None,
    Ellipsis,
    NotImplemented,
    Bool(bool),
    Int(BigInt),
    Float(f64),
    Complex(f64, f64),
    Str(String),
    Bytes(Bytes),
    List(Vec<Ref>),
    Tuple(Vec<Ref>),
    Set(Vec<Ref>),
    FrozenSet(Vec<Ref>),
    Dict(Vec<(Ref, Ref)>),
    Range {
        start: BigInt,
        stop: BigInt,
        step: BigInt,
    },
    Slice {
        start: Ref,
        stop: Ref,
        step: Ref,
    },

    /// A dense tensor that owns its bytes.
    Tensor(TensorData),
    /// `torch.nn.Parameter` around a tensor.
    Parameter {
        tensor: Ref,
        requires_grad: bool,
    },
    /// A numpy array (`scalar` false) or numpy scalar, held like a tensor.
    Array {
        data: TensorData,
        scalar: bool,
    },
    /// `torch.Size`.
    Size(Vec<i64>),
    /// `torch.dtype`.
    DType(DType),
    /// `torch.device`, by its text: `cpu`, `cuda:0`.
    Device(String),

    /// A function or lambda whose source the client sent, as a [`Datum::Str`] that others may share. `globals` holds
    /// everything it reads from outside itself, its closure included.
    Function {
        source: Ref,
        name: String,
        filename: String,
        line: u32,
        defaults: Vec<Ref>,
        keyword_defaults: Vec<(String, Ref)>,
        globals: Vec<(String, Ref)>,
    },
    /// A class by value. `attributes` holds methods, `staticmethod`s (see [`Datum::Decorated`]) and constants.
    Class {
        name: String,
        module: String,
        bases: Vec<Ref>,
        attributes: Vec<(String, Ref)>,
    },
    /// `staticmethod`, `classmethod` or `property` around its functions.
    Decorated {
        kind: Decorator,
        functions: Vec<Ref>,
    },
    /// An object: the class (a [`Datum::Class`] or a [`Datum::Global`]), the arguments that made it,
    /// and its state (usually a dict; `None` where there is none). Where `called`, the object is what
    /// `class(*args)` gives; otherwise `class.__new__(class, *args)`, with no `__init__`. Then `items` are
    /// appended (`extend`, or `add` for sets), `pairs` are set as items, and `state` becomes its attributes.
    Object {
        class: Ref,
        called: bool,
        args: Vec<Ref>,
        state: Option<Ref>,
        items: Vec<Ref>,
        pairs: Vec<(Ref, Ref)>,
    },
    /// `getattr(object, name)`: a bound method or an attribute looked up when used.
    Attribute {
        object: Ref,
        name: String,
    },
    /// A function bound to an object, whose class need not have it.
    Method {
        function: Ref,
        receiver: Ref,
    },
    /// An importable module, by its name: `torch.nn.functional`.
    Module(String),
    /// Anything importable, by module and qualified name: `torch` `float32`, `numpy` `mean`, `builtins` `len`.
    /// Nothing is looked up until the value is used.
    Global {
        module: String,
        name: String,
    },

    /// A module of the traced model, by its path below the root (`""` is the root itself).
    Envoy(Envoy),
    /// The weights-holding module behind an envoy.
    ModelModule {
        path: String,
    },
    /// `model.tokenizer`.
    Tokenizer,
    /// The tracer object that runs the block, where the block refers to it.
    Tracer,
    /// A value that this server does not understand; using it is an error that gives `what`.
    Opaque {
        what: String,
    },

    /// Elements in one dimension, which tensors look into: several of them, or one whose elements lie in another order
    /// than row by row.
    Storage(TensorData),
    /// A tensor over a [`Datum::Storage`]; `strides` and `offset` count elements.
    View {
        storage: Ref,
        shape: Vec<i64>,
        strides: Vec<i64>,
        offset: i64,
        requires_grad: bool,
    },
}

/// Which wrapper a [`Datum::Decorated`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decorator {
    StaticMethod,
    ClassMethod,
    Property,
}

/// A module of the traced model as the client sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Envoy {
    /// Hugging Face path below the root, for example `transformer.h.0.attn`.
    pub path: String,
    /// Edits that run before every trace of this envoy.
    pub edits: Vec<Edit>,
    /// Alternative attribute names: alias to path, both relative to this envoy. An alias on a descendant
    /// is listed with the path to that descendant: `layers.0.attention` for `layers.0.self_attn`.
    pub aliases: Vec<(String, String)>,
    /// What the program gave this module, and those below it, beside what nnsight gives them.
    pub own: Vec<Own>,
}

/// What a program gave one module of the model: a class that derives from nnsight's, attributes, edits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Own {
    /// Path below the envoy that lists it; `""` is that envoy itself.
    pub path: String,
    /// A [`Datum::Class`], or a [`Datum::Global`] where only its name was sent: one of nnsight's, or the program's.
    pub class: Option<Ref>,
    pub attributes: Vec<(String, Ref)>,
    /// What a trace of this module alone begins with. Those of the envoy itself are its own.
    pub edits: Vec<Edit>,
}

/// A block registered by `model.edit()`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Edit {
    pub source: crate::Source,
    pub globals: Vec<(String, Ref)>,
    pub locals: Vec<(String, Ref)>,
}

/// A dense tensor: row-major, contiguous, little-endian.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorData {
    pub dtype: DType,
    pub shape: Vec<i64>,
    /// Those of a request may be a part of it.
    pub bytes: Bytes,
    pub requires_grad: bool,
}

impl TensorData {
    /// Returns the steps of a tensor that lies row by row, in elements.
    #[must_use]
    pub fn row_major(shape: &[i64]) -> Vec<i64> {
        let mut strides = vec![1_i64; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis].saturating_mul(shape[axis].max(1));
        }
        strides
    }

    /// Returns how many elements the shape has, or `None` where that overflows or a size is negative.
    #[must_use]
    pub fn elements(&self) -> Option<u64> {
        self.shape.iter().try_fold(1_u64, |product, &size| product.checked_mul(u64::try_from(size).ok()?))
    }
}

/// Element types, by PyTorch's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DType {
    Float64,
    Float32,
    Float16,
    BFloat16,
    Int64,
    Int32,
    Int16,
    Int8,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Bool,
    Complex32,
    Complex64,
    Complex128,
    Float8E4M3Fn,
    Float8E5M2,
}

impl DType {
    /// Every element type, for tables and tests.
    pub const ALL: [Self; 18] = [
        Self::Float64,
        Self::Float32,
        Self::Float16,
        Self::BFloat16,
        Self::Int64,
        Self::Int32,
        Self::Int16,
        Self::Int8,
        Self::UInt8,
        Self::UInt16,
        Self::UInt32,
        Self::UInt64,
        Self::Bool,
        Self::Complex32,
        Self::Complex64,
        Self::Complex128,
        Self::Float8E4M3Fn,
        Self::Float8E5M2,
    ];

    /// Returns the attribute of `torch` that names this type.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Float64 => "float64",
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::BFloat16 => "bfloat16",
            Self::Int64 => "int64",
            Self::Int32 => "int32",
            Self::Int16 => "int16",
            Self::Int8 => "int8",
            Self::UInt8 => "uint8",
            Self::UInt16 => "uint16",
            Self::UInt32 => "uint32",
            Self::UInt64 => "uint64",
            Self::Bool => "bool",
            Self::Complex32 => "complex32",
            Self::Complex64 => "complex64",
            Self::Complex128 => "complex128",
            Self::Float8E4M3Fn => "float8_e4m3fn",
            Self::Float8E5M2 => "float8_e5m2",
        }
    }

    /// Returns the type that `torch` calls by this name, its aliases (`float`, `long`, …) included.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let canonical = match name {
            "double" => "float64",
            "float" => "float32",
            "half" => "float16",
            "long" => "int64",
            "int" => "int32",
            "short" => "int16",
            "cfloat" => "complex64",
            "cdouble" => "complex128",
            "chalf" => "complex32",
            other => other,
        };
        Self::ALL.into_iter().find(|dtype| dtype.name() == canonical)
    }

    /// Returns the bytes of one element.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::Bool | Self::Int8 | Self::UInt8 | Self::Float8E4M3Fn | Self::Float8E5M2 => 1,
            Self::Float16 | Self::BFloat16 | Self::Int16 | Self::UInt16 => 2,
            Self::Float32 | Self::Int32 | Self::UInt32 | Self::Complex32 => 4,
            Self::Float64 | Self::Int64 | Self::UInt64 | Self::Complex64 => 8,
            Self::Complex128 => 16,
        }
    }
}
