//! The generator behind `random`, and behind `numpy.random.RandomState`: the Mersenne Twister, as CPython seeds it.

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use num_bigint::BigInt;
use num_traits::Signed;

use crate::evaluation::operators;
use crate::library::modules::Members;
use crate::library::modules::written::Written;
use crate::values::host::{Args, HostObject, HostResult, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::charge::Meter;
use crate::values::value::Value;

pub const RANDOM: Written = Written { text: include_str!("../python/random.py"), natives };

fn natives(_: &Machine) -> Result<Members, Raise> {
    Ok(vec![("_Twister", Value::native("_Twister", twister))])
}

/// Makes a generator, for texts of the library.
///
/// # Errors
/// `TypeError` for arguments.
pub fn twister(machine: &Machine, args: Args) -> HostResult {
    args.none("_Twister")?;
    machine.charge_memory(BYTES)?;
    let state = RefCell::new(State { words: [0; SIZE], at: SIZE });
    Ok(Value::host(Twister { state, paid: machine.meter() }).into())
}

const SIZE: usize = 624;
const SHIFT: usize = 397;

/// What a generator takes.
const BYTES: u64 = SIZE as u64 * 4;

struct Twister {
    state: RefCell<State>,
    paid: Rc<Meter>,
}

impl Drop for Twister {
    fn drop(&mut self) {
        self.paid.release(BYTES);
    }
}

struct State {
    words: [u32; SIZE],
    at: usize,
}

impl State {
    /// `init_genrand`.
    fn seed(&mut self, seed: u32) {
        self.words[0] = seed;
        for at in 1..SIZE {
            let before = self.words[at - 1];
            self.words[at] = (before ^ (before >> 30)).wrapping_mul(1_812_433_253).wrapping_add(at as u32);
        }
        self.at = SIZE;
    }

    /// `init_by_array`.
    fn seed_by(&mut self, key: &[u32]) {
        self.seed(19_650_218);
        let (mut at, mut of_key) = (1, 0);
        for _ in 0..SIZE.max(key.len()) {
            let before = self.words[at - 1];
            let mixed = self.words[at] ^ (before ^ (before >> 30)).wrapping_mul(1_664_525);
            self.words[at] = mixed.wrapping_add(key[of_key]).wrapping_add(of_key as u32);
            at += 1;
            of_key += 1;
            if at >= SIZE {
                self.words[0] = self.words[SIZE - 1];
                at = 1;
            }
            if of_key >= key.len() {
                of_key = 0;
            }
        }
        for _ in 1..SIZE {
            let before = self.words[at - 1];
            let mixed = self.words[at] ^ (before ^ (before >> 30)).wrapping_mul(1_566_083_941);
            self.words[at] = mixed.wrapping_sub(at as u32);
            at += 1;
            if at >= SIZE {
                self.words[0] = self.words[SIZE - 1];
                at = 1;
            }
        }
        self.words[0] = 0x8000_0000;
        self.at = SIZE;
    }

    fn word(&mut self) -> u32 {
        if self.at >= SIZE {
            for at in 0..SIZE {
                let mixed = (self.words[at] & 0x8000_0000) | (self.words[(at + 1) % SIZE] & 0x7fff_ffff);
                let odd = if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
                self.words[at] = self.words[(at + SHIFT) % SIZE] ^ (mixed >> 1) ^ odd;
            }
            self.at = 0;
        }
        let mut word = self.words[self.at];
        self.at += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// A float of 53 bits, from 0 to 1.
    fn float(&mut self) -> f64 {
        let (high, low) = (self.word() >> 5, self.word() >> 6);
        (f64::from(high) * 67_108_864.0 + f64::from(low)) * (1.0 / 9_007_199_254_740_992.0)
    }
}

impl HostObject for Twister {
    fn type_name(&self) -> Cow<'static, str> {
        "Twister".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn call_method(self: Rc<Self>, machine: &Machine, name: &str, args: &Args) -> HostResult {
        let mut state = self.state.borrow_mut();
        Ok(match name {
            "random" => Value::Float(state.float()).into(),
            "word" => Value::Int(i64::from(state.word())).into(),
            // One word, as NumPy's seeds of 32 bits.
            "seed_word" => {
                let seed = operators::index_fitting(machine, &args.clone().one("seed_word")?)?;
                state.seed(seed as u32);
                Value::None.into()
            }
            // Words by the least first, as CPython takes an integer apart.
            "seed" => {
                let seed = big(&args.clone().one("seed")?)?;
                machine.charge_fuel(seed.bits() / 32 + SIZE as u64 / 16)?;
                let (_, mut key) = seed.abs().to_u32_digits();
                if key.is_empty() {
                    key.push(0);
                }
                state.seed_by(&key);
                Value::None.into()
            }
            "getrandbits" => {
                let bits = operators::index_fitting(machine, &args.clone().one("getrandbits")?)?;
                let bits = u64::try_from(bits).unwrap_or(0);
                if bits == 0 {
                    return Ok(Value::Int(0).into());
                }
                if bits <= 32 {
                    return Ok(Value::Int(i64::from(state.word() >> (32 - bits))).into());
                }
                let count = bits.div_ceil(32);
                machine.charge_fuel(count)?;
                machine.charge_memory(count * 8)?;
                let mut words = Vec::new();
                let mut left = bits;
                while left > 0 {
                    let word = state.word();
                    words.push(if left < 32 { word >> (32 - left) } else { word });
                    left = left.saturating_sub(32);
                }
                machine.release_memory(count * 8);
                Value::integer(BigInt::from_slice(num_bigint::Sign::Plus, &words)).into()
            }
            "getstate" => {
                machine.charge_fuel(SIZE as u64 / 4)?;
                let words = state.words.iter().map(|&word| Value::Int(i64::from(word)));
                Value::tuple(words.chain([Value::Int(state.at as i64)]).collect()).into()
            }
            "setstate" => {
                let given = args.clone().one("setstate")?;
                let Value::Tuple(items) = &given else { return Err(Raise::type_error("state vector must be a tuple")) };
                if items.len() != SIZE + 1 {
                    return Err(Raise::value_error("state vector is the wrong size"));
                }
                machine.charge_fuel(SIZE as u64 / 4)?;
                let words: Option<Vec<i64>> = items.iter().map(Value::as_int).collect();
                let Some(words) = words else {
                    return Err(Raise::type_error("state vector items must be integers"));
                };
                let at = usize::try_from(words[SIZE]).ok().filter(|at| *at <= SIZE);
                let Some(at) = at else { return Err(Raise::value_error("invalid state")) };
                for (word, given) in state.words.iter_mut().zip(&words) {
                    *word = u32::try_from(*given).map_err(|_| Raise::value_error("invalid state"))?;
                }
                state.at = at;
                Value::None.into()
            }
            _ => Outcome::NotImplemented,
        })
    }
}

fn big(value: &Value) -> Result<BigInt, Raise> {
    match value {
        Value::Int(number) => Ok(BigInt::from(*number)),
        Value::Bool(flag) => Ok(BigInt::from(u8::from(*flag))),
        Value::Big(number) => Ok((**number).clone()),
        _ => Err(Raise::type_error("a seed is an integer")),
    }
}
