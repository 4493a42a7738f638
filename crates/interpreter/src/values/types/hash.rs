//! Hashes that CPython gives in every process: of numbers, of tuples and frozen sets of such, and what a class of the
//! program's own returns.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher};

use num_bigint::BigInt;
use num_traits::{FromPrimitive, Signed, ToPrimitive};

use crate::values::types::key::Key;
use crate::values::value::Identity;

/// The modulus of hashes of numbers.
const MODULUS: i64 = (1 << 61) - 1;

/// Returns the hash of what a key stands for, unless it is another in each process: those of texts and of places are.
pub fn of(key: &Key) -> Option<i64> {
    Some(match key {
        Key::Int(number) => small(*number),
        Key::Big(number) => integer(number),
        Key::Float(bits) => float(f64::from_bits(*bits))?,
        Key::Complex(real, imaginary) => complex(f64::from_bits(*real), f64::from_bits(*imaginary))?,
        Key::Tuple(keys) => tuple(&keys.iter().map(of).collect::<Option<Vec<_>>>()?),
        Key::Frozen(set) => frozen(set.keys.iter().map(of).collect::<Option<Vec<_>>>()?),
        Key::User(hash, _) => *hash,
        Key::Str(_) | Key::Bytes(_) | Key::Object(_) => return None,
    })
}

/// Returns the hash of what a key stands for in this process, where the key alone tells it.
pub fn here(key: &Key) -> Option<i64> {
    Some(match key {
        Key::Str(string) => text(string.as_bytes()),
        Key::Bytes(bytes) => text(bytes),
        Key::Object(identity) => place(identity),
        Key::Tuple(keys) => tuple(&keys.iter().map(here).collect::<Option<Vec<_>>>()?),
        Key::Frozen(set) => frozen(set.keys.iter().map(here).collect::<Option<Vec<_>>>()?),
        key => return of(key),
    })
}

/// The hash of a text or of bytes.
pub fn text(bytes: &[u8]) -> i64 {
    if bytes.is_empty() {
        return 0;
    }
    not_minus_one(BuildHasherDefault::<DefaultHasher>::default().hash_one(bytes) as i64)
}

/// The hash of what is equal to nothing but itself.
pub fn place(identity: &Identity) -> i64 {
    let mut hasher = DefaultHasher::new();
    identity.hash(&mut hasher);
    not_minus_one(hasher.finish() as i64)
}

/// The hash of an integer of 64 bits.
pub fn small(number: i64) -> i64 {
    not_minus_one(number % MODULUS)
}

/// The hash of an integer.
pub fn integer(number: &BigInt) -> i64 {
    let rest = (number.abs() % MODULUS).to_i64().unwrap_or(0);
    not_minus_one(if number.is_negative() { -rest } else { rest })
}

/// The hash of a float; what is no number has that of its place.
pub fn float(number: f64) -> Option<i64> {
    if number.is_nan() {
        return None;
    }
    if number.is_infinite() {
        return Some(if number > 0.0 { 314_159 } else { -314_159 });
    }
    if number.fract() == 0.0
        && let Some(whole) = BigInt::from_f64(number)
    {
        return Some(integer(&whole));
    }
    // The mantissa as an integer, times 2 to an exponent modulo 61, as 2^61 is 1 here.
    let bits = number.abs().to_bits();
    let (raw_exponent, fraction) = ((bits >> 52) as i64, bits & ((1 << 52) - 1));
    let (mantissa, exponent) =
        if raw_exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, raw_exponent - 1075) };
    let turned = BigInt::from(mantissa) << exponent.rem_euclid(61);
    let rest = (turned % MODULUS).to_i64().unwrap_or(0);
    Some(not_minus_one(if number < 0.0 { -rest } else { rest }))
}

/// The hash of a complex number.
pub fn complex(real: f64, imaginary: f64) -> Option<i64> {
    Some(not_minus_one(float(real)?.wrapping_add(float(imaginary)?.wrapping_mul(1_000_003))))
}

/// The hash of a tuple by those of its elements: CPython's xxHash.
pub fn tuple(hashes: &[i64]) -> i64 {
    const PRIME_1: u64 = 11_400_714_785_074_694_791;
    const PRIME_2: u64 = 14_029_467_366_897_019_727;
    const PRIME_5: u64 = 2_870_177_450_012_600_261;
    let mut sum = PRIME_5;
    for hash in hashes {
        sum = sum.wrapping_add((*hash as u64).wrapping_mul(PRIME_2)).rotate_left(31).wrapping_mul(PRIME_1);
    }
    sum = sum.wrapping_add(hashes.len() as u64 ^ (PRIME_5 ^ 3_527_539));
    if sum == u64::MAX { 1_546_275_796 } else { sum as i64 }
}

/// The hash of a frozen set by those of its elements, in any order.
pub fn frozen(hashes: Vec<i64>) -> i64 {
    let shuffled = |hash: u64| ((hash ^ 89_869_747) ^ (hash << 16)).wrapping_mul(3_644_798_167);
    let count = (hashes.len() as u64 + 1).wrapping_mul(1_927_868_237);
    let mixed = hashes.into_iter().fold(0, |sum, hash| sum ^ shuffled(hash as u64)) ^ count;
    let spread = (mixed ^ (mixed >> 11) ^ (mixed >> 25)).wrapping_mul(69_069).wrapping_add(907_133_923);
    if spread == u64::MAX { 590_923_713 } else { spread as i64 }
}

/// CPython keeps -1 for errors.
pub fn not_minus_one(hash: i64) -> i64 {
    if hash == -1 { -2 } else { hash }
}
