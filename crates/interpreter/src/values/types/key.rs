//! What a dict or set finds its entries by: equality and hash of Python values, decided without running user code.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::rc::Rc;

use num_bigint::BigInt;
use num_traits::FromPrimitive;

use crate::values::class::{payload, special};
use crate::values::machine::Machine;
use crate::values::raise::{Kind, Raise};
use crate::values::types::{Type, ledger, sequence};
use crate::values::value::{Identity, Value};

/// Nested tuples that a key may have. CPython has no bound of its own here.
const DEPTH: usize = 200;

thread_local! {
    static SEED: RandomState = RandomState::new();
}

/// A hashable value up to Python's equality: `1`, `1.0` and `True` are one key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Key {
    Int(i64),
    Big(Rc<BigInt>),
    Float(u64),
    Complex(u64, u64),
    Str(Rc<str>),
    Bytes(Rc<[u8]>),
    Tuple(Rc<[Key]>),
    Frozen(Rc<Frozen>),
    Object(Identity),
    /// An object with its own `__hash__`: the hash, and the place of the equal object that is in the container.
    User(i64, Identity),
}

/// The elements of a `frozenset`, in any order.
pub struct Frozen {
    pub keys: HashSet<Key>,
    /// How deeply tuples and frozen sets are nested in it.
    depth: usize,
}

impl PartialEq for Frozen {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys
    }
}

impl Eq for Frozen {}

impl Hash for Frozen {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The order of the elements is not known, so their hashes are added. They are keyed at random: sets that
        // collide cannot be made on purpose.
        SEED.with(|seed| self.keys.iter().fold(0u64, |sum, key| sum.wrapping_add(seed.hash_one(key)))).hash(state);
    }
}

/// A key, unless user code must be asked.
pub enum Keyed {
    Now(Key),
    Ask,
}

impl Key {
    /// Makes the key of a string.
    pub fn string(text: &str) -> Self {
        Self::Str(text.into())
    }

    /// Makes the key of a value.
    ///
    /// # Errors
    /// `TypeError` for what cannot be hashed.
    pub fn of(machine: &Machine, value: &Value) -> Result<Keyed, Raise> {
        Self::nested(machine, value, 0)
    }

    fn nested(machine: &Machine, value: &Value, depth: usize) -> Result<Keyed, Raise> {
        if depth > DEPTH {
            return Err(Raise::new(Kind::RecursionError, "maximum recursion depth exceeded"));
        }
        let key = match value {
            Value::Bool(truth) => Self::Int(i64::from(*truth)),
            Value::Int(number) => Self::Int(*number),
            Value::Big(number) => {
                ledger::scanned(machine, number.bits() / 8)?;
                Self::Big(number.clone())
            }
            Value::Float(number) => Self::float(*number),
            Value::Complex(real, imaginary) if *imaginary == 0.0 => Self::float(*real),
            Value::Complex(real, imaginary) => Self::Complex((real + 0.0).to_bits(), (imaginary + 0.0).to_bits()),
            Value::Str(text) => {
                ledger::scanned(machine, text.len() as u64)?;
                Self::Str(text.clone())
            }
            Value::Bytes(bytes) => {
                ledger::scanned(machine, bytes.len() as u64)?;
                Self::Bytes(bytes.clone())
            }
            Value::Tuple(items) => {
                machine.charge_fuel(items.len() as u64)?;
                sequence::affordable(machine, items.len())?;
                let mut keys = Vec::with_capacity(items.len());
                for item in items.iter() {
                    match Self::nested(machine, item, depth + 1)? {
                        Keyed::Now(key) => keys.push(key),
                        Keyed::Ask => return Ok(Keyed::Ask),
                    }
                }
                Self::Tuple(keys.into())
            }
            Value::Set(set) if set.is_frozen() => {
                machine.charge_fuel(set.len() as u64)?;
                let keys = set.keys();
                if keys.iter().any(|key| matches!(key, Self::User(..))) {
                    return Ok(Keyed::Ask);
                }
                // Its elements were hashed when they were put there, however deep that was.
                let within = keys.iter().map(Self::depth).max().unwrap_or(0) + 1;
                if depth + within > DEPTH {
                    return Err(Raise::new(Kind::RecursionError, "maximum recursion depth exceeded"));
                }
                Self::Frozen(Rc::new(Frozen { keys: keys.into_iter().collect(), depth: within }))
            }
            Value::List(_) | Value::Dict(_) | Value::Set(_) | Value::Slice(_) => return Err(unhashable(value)),
            Value::Range(range) => {
                let (start, step, count) = range.canonical();
                Self::Tuple([Self::Object(Value::Type(Type::Range).identity()), start, step, count].into())
            }
            Value::Instance(_) => match (special(value, "__hash__"), payload(value)) {
                (Some(Value::None), _) => return Err(unhashable(value)),
                (Some(_), _) => return Ok(Keyed::Ask),
                (None, Some(payload)) => return Self::nested(machine, &payload, depth + 1),
                (None, None) => Self::Object(value.identity()),
            },
            Value::Host(object) => match object.number() {
                Some(number) => return Self::nested(machine, &number, depth + 1),
                None if object.hash(machine)?.is_some() => return Ok(Keyed::Ask),
                None => Self::Object(value.identity()),
            },
            Value::Class(_) => Self::Object(value.identity()),
            _ => Self::Object(value.identity()),
        };
        Ok(Keyed::Now(key))
    }

    /// Returns how deeply tuples and frozen sets are nested.
    fn depth(&self) -> usize {
        match self {
            Self::Tuple(keys) => keys.iter().map(Self::depth).max().unwrap_or(0) + 1,
            Self::Frozen(set) => set.depth,
            _ => 0,
        }
    }

    /// Returns about how many bytes are looked at to hash or compare it.
    pub fn weight(&self) -> u64 {
        match self {
            Self::Str(text) => text.len() as u64,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Big(number) => number.bits() / 8,
            Self::Tuple(keys) => keys.iter().map(|key| 8 + key.weight()).sum(),
            Self::Frozen(set) => 64 * set.keys.len() as u64,
            _ => 8,
        }
    }

    fn float(number: f64) -> Self {
        if number.is_finite() && number.fract() == 0.0 {
            if let Some(small) = number.to_i64_exact() {
                return Self::Int(small);
            }
            if let Some(big) = BigInt::from_f64(number) {
                return Self::Big(Rc::new(big));
            }
        }
        Self::Float(number.to_bits())
    }
}

/// Raises for a value that has no hash.
pub fn unhashable(value: &Value) -> Raise {
    Raise::type_error(format!("unhashable type: '{}'", super::type_name(value)))
}

trait Exact {
    /// Returns the integer that this float is, if 64 bits hold it.
    fn to_i64_exact(self) -> Option<i64>;
}

impl Exact for f64 {
    fn to_i64_exact(self) -> Option<i64> {
        // 2^63 itself is the first float that does not fit.
        (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&self).then_some(self as i64)
    }
}
