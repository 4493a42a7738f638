//! Rotary positions: by how much each pair of a head's dimensions turns per position, for every `rope_type` that
//! transformers' `modeling_rope_utils` computes for text.

use std::f32::consts::TAU;

use kernels::number;
use serde_json::{Map, Value};
use tch::{Device, Kind, TchError, Tensor};

use crate::config::Config;
use crate::error::LoadError;
use crate::family::{Pairs, Turn};

/// One table of frequencies.
pub struct Rope {
    /// Float32 `[pairs]`.
    frequencies: Tensor,
    longer: Longer,
    /// What cosines and sines are multiplied by.
    pub factor: f64,
    pub rope_type: String,
}

/// What becomes of the frequencies of sequences beyond so many positions.
enum Longer {
    Same,
    /// The base grows with the sequence.
    Dynamic {
        base: f64,
        factor: f64,
        dimensions: i64,
        limit: i64,
    },
    Others {
        frequencies: Tensor,
        limit: i64,
    },
}

/// Types that can be computed.
const TYPES: &str = "default, linear, dynamic, llama3, yarn and longrope";

impl Rope {
    /// Reads one object of `rope_parameters` for heads of so many dimensions.
    ///
    /// # Errors
    /// For types that are not supported, and parameters that are missing or no numbers.
    pub fn read(config: &Config, rope: &Map<String, Value>, head_dim: i64) -> Result<Self, LoadError> {
        let reader = Reader { config, rope };
        let part = reader.optional("partial_rotary_factor")?.unwrap_or(1.0);
        let dimensions = (head_dim as f64 * part) as i64;
        if dimensions < 2 || (dimensions == head_dim && head_dim % 2 != 0) {
            return Err(reader.wrong(format!("rotates {dimensions} of {head_dim} dimensions, which have to be pairs")));
        }
        let base = reader.number("rope_theta")?;
        let (mut factor, mut longer) = (1.0, Longer::Same);
        let rope_type = rope.get("rope_type").and_then(Value::as_str).unwrap_or_default();
        let frequencies = match rope_type {
            "default" => plain(base, dimensions)?,
            "linear" => number::divide(&plain(base, dimensions)?, reader.number("factor")?)?,
            "dynamic" => {
                let limit = config.size("max_position_embeddings")?;
                longer = Longer::Dynamic { base, factor: reader.number("factor")?, dimensions, limit };
                plain(base, dimensions)?
            }
            "llama3" => llama3(&reader, &plain(base, dimensions)?)?,
            "yarn" => {
                factor = reader.yarn_factor()?;
                yarn(&reader, base, dimensions)?
            }
            "longrope" => {
                let limit = reader.number("original_max_position_embeddings")?;
                factor = reader.long_factor(limit)?;
                let scaled = |key| -> Result<Tensor, LoadError> {
                    let scales = reader.numbers(key, (dimensions + 1) / 2)?;
                    Ok(powers(base, dimensions)?.f_mul(&Tensor::f_from_slice(&scales)?)?.f_reciprocal()?)
                };
                longer = Longer::Others { frequencies: scaled("long_factor")?, limit: limit as i64 };
                scaled("short_factor")?
            }
            other => return Err(reader.wrong(format!("rope_type {other:?} is not supported; {TYPES} are"))),
        };
        Ok(Self { frequencies, longer, factor, rope_type: rope_type.into() })
    }

    /// Reads a base alone.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn plain(base: f64, dimensions: i64) -> Result<Self, TchError> {
        let frequencies = plain(base, dimensions)?;
        Ok(Self { frequencies, longer: Longer::Same, factor: 1.0, rope_type: "default".into() })
    }

    /// Puts the tables on a device.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn place(&mut self, device: Device) -> Result<(), TchError> {
        self.frequencies = self.frequencies.f_to_device(device)?;
        if let Longer::Others { frequencies, .. } = &mut self.longer {
            *frequencies = frequencies.f_to_device(device)?;
        }
        Ok(())
    }

    /// Returns the frequencies of sequences that are not longer than those the model was made for.
    pub fn frequencies(&self) -> &Tensor {
        &self.frequencies
    }

    /// Returns the dimensions of a head that are rotated: the first ones.
    #[must_use]
    pub fn width(&self) -> i64 {
        2 * self.frequencies.size().first().copied().unwrap_or(0)
    }

    /// Returns the angle of each pair, `[…, pairs]`, at positions of one sequence, or of several of one length.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn angles(&self, positions: &Tensor) -> Result<Tensor, TchError> {
        let longest = || i64::try_from(positions.f_max()?).map(|last| last + 1);
        let own = match &self.longer {
            Longer::Others { frequencies, limit } if longest()? > *limit => frequencies.shallow_clone(),
            Longer::Dynamic { base, factor, dimensions, limit } if longest()? > *limit => {
                let grown = *factor as f32 * longest()? as f32 / *limit as f32 - (*factor as f32 - 1.0);
                let power = *dimensions as f64 / (*dimensions - 2) as f64;
                plain(f64::from(*base as f32 * grown.powf(power as f32)), *dimensions)?
                    .f_to_device(positions.device())?
            }
            _ => self.frequencies.shallow_clone(),
        };
        positions.f_unsqueeze(-1)?.f_to_kind(Kind::Float)?.f_mul(&own)
    }
}

/// What a position is multiplied by before it is divided: `base ^ (2i / dimensions)`.
fn powers(base: f64, dimensions: i64) -> Result<Tensor, TchError> {
    let evens: Vec<f32> = (0..dimensions).step_by(2).map(|even| even as f32).collect();
    let powers = number::divide(&Tensor::f_from_slice(&evens)?, dimensions as f64)?;
    number::full(base, (Kind::Float, Device::Cpu))?.f_pow(&powers)
}

fn plain(base: f64, dimensions: i64) -> Result<Tensor, TchError> {
    powers(base, dimensions)?.f_reciprocal()
}

/// Slow pairs turn more slowly, fast ones as they did, those between in between.
fn llama3(reader: &Reader<'_>, plain: &Tensor) -> Result<Tensor, LoadError> {
    let number = |key| reader.number(key).map(|number| number as f32);
    let (factor, context) = (number("factor")?, number("original_max_position_embeddings")?);
    let (low, high) = (number("low_freq_factor")?, number("high_freq_factor")?);
    let stretched = |frequency: f32| {
        let wavelength = TAU / frequency;
        if wavelength < context / high {
            frequency
        } else if wavelength > context / low {
            frequency / factor
        } else {
            let smooth = (context / wavelength - low) / (high - low);
            (1.0 - smooth) * frequency / factor + smooth * frequency
        }
    };
    let plain = Vec::<f32>::try_from(plain)?;
    Ok(Tensor::f_from_slice(&plain.into_iter().map(stretched).collect::<Vec<_>>())?)
}

/// As [`llama3`], with a ramp over the pairs' numbers.
fn yarn(reader: &Reader<'_>, base: f64, dimensions: i64) -> Result<Tensor, LoadError> {
    let context = reader.number("original_max_position_embeddings")?;
    let pair = |rotations: f64| {
        dimensions as f64 * (context / (rotations * 2.0 * std::f64::consts::PI)).ln() / (2.0 * base.ln())
    };
    let rotations =
        |key, or: f64| reader.optional(key).map(|given| given.filter(|&number| number != 0.0).unwrap_or(or));
    let (mut low, mut high) = (pair(rotations("beta_fast", 32.0)?), pair(rotations("beta_slow", 1.0)?));
    // Transformers looks for it beside the types of layers, where there are several, not inside.
    let all = reader.config.get("rope_parameters").and_then(|all| all.get("truncate"));
    if all.and_then(Value::as_bool).unwrap_or(true) {
        (low, high) = (low.floor(), high.ceil());
    }
    (low, high) = (low.max(0.0), high.min((dimensions - 1) as f64));
    if low == high {
        high += 0.001;
    }
    let factor = reader.stretch()? as f32;
    let powers = Vec::<f32>::try_from(powers(base, dimensions)?)?;
    let mixed = |(pair, power): (usize, &f32)| {
        let ramp = ((pair as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
        let kept = 1.0 - ramp;
        1.0 / (factor * power) * (1.0 - kept) + 1.0 / power * kept
    };
    Ok(Tensor::f_from_slice(&powers.iter().enumerate().map(mixed).collect::<Vec<_>>())?)
}

/// Reads one object of `rope_parameters`.
struct Reader<'a> {
    config: &'a Config,
    rope: &'a Map<String, Value>,
}

impl Reader<'_> {
    fn wrong(&self, reason: String) -> LoadError {
        self.config.wrong("rope_parameters", reason)
    }

    fn optional(&self, key: &str) -> Result<Option<f64>, LoadError> {
        let Some(value) = self.rope.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
        let number = value.as_f64().filter(|number| number.is_finite() && *number >= 0.0);
        number.map(Some).ok_or_else(|| self.wrong(format!("{key} needs a number")))
    }

    fn number(&self, key: &str) -> Result<f64, LoadError> {
        let number = self.optional(key)?.filter(|number| *number > 0.0);
        number.ok_or_else(|| self.wrong(format!("{key} needs a positive number")))
    }

    fn numbers(&self, key: &str, count: i64) -> Result<Vec<f32>, LoadError> {
        let all = self.rope.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let numbers: Vec<f32> = all.iter().filter_map(Value::as_f64).map(|number| number as f32).collect();
        if i64::try_from(numbers.len()) == Ok(count) && numbers.len() == all.len() {
            return Ok(numbers);
        }
        Err(self.wrong(format!("{key} needs a list of {count} numbers")))
    }

    /// How many times as long sequences may be.
    fn stretch(&self) -> Result<f64, LoadError> {
        if let Some(factor) = self.optional("factor")? {
            return Ok(factor);
        }
        Ok(self.config.size("max_position_embeddings")? as f64 / self.number("original_max_position_embeddings")?)
    }

    fn yarn_factor(&self) -> Result<f64, LoadError> {
        if let Some(factor) = self.optional("attention_factor")? {
            return Ok(factor);
        }
        let stretch = self.stretch()?;
        let scale = |by: f64| if stretch <= 1.0 { 1.0 } else { 0.1 * by * stretch.ln() + 1.0 };
        let given = |key| self.optional(key).map(|given| given.filter(|&number| number != 0.0));
        Ok(match (given("mscale")?, given("mscale_all_dim")?) {
            (Some(some), Some(all)) => scale(some) / scale(all),
            _ => scale(1.0),
        })
    }

    fn long_factor(&self, context: f64) -> Result<f64, LoadError> {
        if let Some(factor) = self.optional("attention_factor")? {
            return Ok(factor);
        }
        let stretch = self.stretch()?;
        Ok(if stretch <= 1.0 { 1.0 } else { (1.0 + stretch.ln() / context.ln()).sqrt() })
    }
}

/// Lays cosines and sines, `[1, tokens, width]` or half of that, as [`turn_in_place`] reads them: for each dimension of a pair,
/// what either is multiplied by.
///
/// # Errors
/// When the shapes do not fit.
pub fn table(cosine: &Tensor, sine: &Tensor, by: Turn, half: bool) -> Result<Tensor, TchError> {
    let pairs = by.width / 2;
    let both = |numbers: &Tensor| -> Result<[Tensor; 2], TchError> {
        Ok(match by.pairs {
            _ if half => [numbers.shallow_clone(), numbers.shallow_clone()],
            Pairs::Halves => [numbers.f_narrow(-1, 0, pairs)?, numbers.f_narrow(-1, pairs, pairs)?],
            Pairs::Neighbours => [numbers.f_slice(-1, 0, None, 2)?, numbers.f_slice(-1, 1, None, 2)?],
        })
    };
    let ([first, second], [first_sine, second_sine]) = (both(cosine)?, both(sine)?);
    let all = [first, first_sine.f_neg()?, second_sine, second];
    match by.pairs {
        Pairs::Halves => Tensor::f_cat(&all, -1)?.f_view([-1, 1, 1, 2, 2, pairs]),
        Pairs::Neighbours => Tensor::f_stack(&all, -1)?.f_view([-1, 1, 1, pairs, 2, 2]),
    }
}

/// Turns as [`turn`] does, where they lie, heads `[tokens, …, …, head_dim]` by a [`table`]. Nothing is recorded.
///
/// # Errors
/// When the shapes do not fit.
pub fn turn_in_place(states: &Tensor, table: &Tensor, by: Turn) -> Result<(), TchError> {
    let &[tokens, outer, inner, _] = states.size().as_slice() else {
        return Err(TchError::Shape(format!("heads have shape {:?}", states.size())));
    };
    let (part, pairs) = (states.f_narrow(-1, 0, by.width)?, by.width / 2);
    let (part, of) = match by.pairs {
        Pairs::Halves => (part.f_view([tokens, outer, inner, 2, pairs])?, 3),
        Pairs::Neighbours => (part.f_view([tokens, outer, inner, pairs, 2])?, 4),
    };
    let products = part.f_unsqueeze(of)?.f_mul(table)?;
    let [left, right] = [products.f_select(of + 1, 0)?, products.f_select(of + 1, 1)?];
    left.f_add_out(&part, &right).map(drop)
}

/// Turns pairs of each head's dimensions against each other: `[rows, heads, length, head_dim]` by
/// `[rows or 1, length, width]`, or half of that where each pair has one number.
///
/// # Errors
/// When the shapes do not fit.
pub fn turn(states: &Tensor, cosine: &Tensor, sine: &Tensor, by: Turn, half: bool) -> Result<Tensor, TchError> {
    let (kind, all) = (states.f_kind()?, states.size().last().copied().unwrap_or(0));
    let part = if by.width == all { states.shallow_clone() } else { states.f_narrow(-1, 0, by.width)? };
    let whole = |numbers: &Tensor| match by.pairs {
        _ if !half => Ok(numbers.f_unsqueeze(1)?),
        Pairs::Halves => Tensor::f_cat(&[numbers, numbers], -1)?.f_unsqueeze(1),
        Pairs::Neighbours => numbers.f_repeat_interleave_self_int(2, -1, None)?.f_unsqueeze(1),
    };
    let turned = match by.pairs {
        Pairs::Halves => {
            let half = by.width / 2;
            Tensor::f_cat(&[part.f_narrow(-1, half, half)?.f_neg()?, part.f_narrow(-1, 0, half)?], -1)?
        }
        Pairs::Neighbours => {
            let every = |from: i64| part.f_slice(-1, from, None, 2);
            Tensor::f_stack(&[every(1)?.f_neg()?, every(0)?], -1)?.f_flatten(-2, -1)?
        }
    };
    let rotated = part.f_mul(&whole(cosine)?)?.f_add(&turned.f_mul(&whole(sine)?)?)?;
    let rotated = if rotated.f_kind()? == kind { rotated } else { rotated.f_to_kind(kind)? };
    if by.width == all {
        return Ok(rotated);
    }
    Tensor::f_cat(&[rotated, states.f_narrow(-1, by.width, all - by.width)?], -1)
}
