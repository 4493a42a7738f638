//! Checkpoints whose weights are in few bits already: how their files have them, and what of that is read.

use std::fmt;
use std::ops::Range;

use kernels::{Coded, Coding, Scales};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tch::{Kind, Tensor};

use crate::checkpoint::Checkpoint;
use crate::error::LoadError;
use crate::matrix::Block;
use crate::weights::Weights;

/// Who wrote the files, which says how they name what belongs to a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stored {
    /// `bitsandbytes`: NF4 with a `quant_state`, or int8 with `SCB`.
    BitsAndBytes,
    /// `compressed-tensors`: int8 or float8, of which activations are left as they are.
    CompressedTensors,
}

impl fmt::Display for Stored {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::BitsAndBytes => "bitsandbytes",
            Self::CompressedTensors => "compressed-tensors",
        })
    }
}

impl Stored {
    /// Reads a `quantization_config`.
    ///
    /// # Errors
    /// A sentence on what in it is not supported.
    pub fn read(config: &Value) -> Result<Self, String> {
        let text = |key: &str| config.get(key).and_then(Value::as_str);
        match text("quant_method") {
            Some("bitsandbytes") => bits_and_bytes(config).map(|()| Self::BitsAndBytes),
            Some("compressed-tensors") => compressed_tensors(config).map(|()| Self::CompressedTensors),
            // Older files of bitsandbytes do not name it.
            None if is_set(config, "load_in_4bit") || is_set(config, "load_in_8bit") => {
                bits_and_bytes(config).map(|()| Self::BitsAndBytes)
            }
            method => Err(format!(
                "weights quantized by {} are not served; those of bitsandbytes (nf4, int8) and compressed-tensors (int8, \
                 float8, weights only) are: convert them to one of these, or to float32, bfloat16 or float16",
                method.unwrap_or("an unnamed method")
            )),
        }
    }

    /// Lists the tensors that a weight in few bits is made of, itself first, by what the files have; none where it is not in few
    /// bits.
    pub fn parts(self, checkpoint: &Checkpoint, name: &str) -> Vec<String> {
        let Some(module) = name.strip_suffix(".weight") else { return Vec::new() };
        let all = |own: &str, others: &[String]| {
            let there = others.iter().filter(|other| checkpoint.has(other));
            std::iter::once(own.to_owned()).chain(there.cloned()).collect::<Vec<_>>()
        };
        let of_module = |parts: &[&str]| parts.iter().map(|part| format!("{module}.{part}")).collect::<Vec<_>>();
        match self {
            Self::BitsAndBytes => {
                let states = BITS_AND_BYTES.map(|part| format!("{name}.{part}"));
                let int8 = of_module(&["SCB", "weight_format"]);
                let has = |parts: &[String]| parts.iter().any(|part| checkpoint.has(part));
                match (has(&states), has(&int8[..1])) {
                    (true, _) => all(name, &states),
                    (_, true) => all(name, &int8),
                    _ => Vec::new(),
                }
            }
            Self::CompressedTensors => {
                let packed = format!("{module}.weight_packed");
                if checkpoint.has(&packed) {
                    return all(&packed, &of_module(&["weight_scale", "weight_shape"]));
                }
                let scale = of_module(&["weight_scale"]);
                if checkpoint.has(&scale[0]) { all(name, &scale) } else { Vec::new() }
            }
        }
    }

    /// Reads rows of a matrix in few bits, which becomes a type when it is used.
    ///
    /// # Errors
    /// When a tensor is missing, or is not as the format has it.
    pub fn load(self, weights: &mut Weights, block: &Block, rows: &Range<i64>, kind: Kind) -> Result<Coded, LoadError> {
        let size = block.size();
        let whole = self.whole(weights, block, size, kind)?;
        if *rows == (0..size[0]) {
            return Ok(whole);
        }
        whole
            .narrow(rows)
            .map_err(|error| weights.refused(&block.name, format!("cannot be cut for ranks: {error}; ask for fewer")))
    }

    fn whole(self, weights: &mut Weights, block: &Block, size: [i64; 2], kind: Kind) -> Result<Coded, LoadError> {
        let name = block.name.as_str();
        let module = name.strip_suffix(".weight").unwrap_or(name);
        match self {
            Self::BitsAndBytes if weights.has(&format!("{module}.SCB")) => {
                let format = format!("{module}.weight_format");
                if weights.has(&format) && weights.raw(&format)?.f_any()?.f_double_value(&[])? != 0.0 {
                    return Err(weights.refused(&format, "is of a layout other than row after row: save it again"));
                }
                let codes = typed(weights, name, Kind::Int8, Some(&size))?;
                let scales = floats(weights, &format!("{module}.SCB"))?;
                // As bitsandbytes, by what stands there for 1/127.
                let scales = kernels::number::multiply(&scales, 0.007_874_015_718_698_502)?;
                coded(weights, name, size, (Coding::Int8, &codes), (Scales::Each(scales), size[1]), Kind::Float)
            }
            Self::BitsAndBytes => four_bits(weights, name, size),
            Self::CompressedTensors => {
                if block.turned {
                    let reason = "is a Conv1D's, which compressed-tensors does not quantize: nothing says which way round it lies";
                    return Err(weights.refused(name, reason));
                }
                compressed(weights, (name, module), size, kind)
            }
        }
    }
}

/// Tensors that belong to a weight of four bits.
const BITS_AND_BYTES: [&str; 6] = [
    "quant_state.bitsandbytes__nf4",
    "quant_state.bitsandbytes__fp4",
    "absmax",
    "quant_map",
    "nested_absmax",
    "nested_quant_map",
];

fn is_set(config: &Value, key: &str) -> bool {
    config.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn bits_and_bytes(config: &Value) -> Result<(), String> {
    let given = |key: &str, default: &'static str| {
        config.get(key).and_then(Value::as_str).map_or(default.to_owned(), str::to_owned)
    };
    if is_set(config, "load_in_8bit") {
        return Ok(());
    }
    if !is_set(config, "load_in_4bit") {
        return Err("bitsandbytes with neither load_in_4bit nor load_in_8bit says nothing of the weights".into());
    }
    match (given("bnb_4bit_quant_type", "fp4").as_str(), given("bnb_4bit_quant_storage", "uint8").as_str()) {
        ("nf4", "uint8") => Ok(()),
        ("nf4", storage) => Err(format!("bnb_4bit_quant_storage {storage} is not served; uint8 is")),
        (other, _) => Err(format!("bnb_4bit_quant_type {other} is not served; nf4 is")),
    }
}

fn compressed_tensors(config: &Value) -> Result<(), String> {
    let object = |key: &str| config.get(key).and_then(Value::as_object).filter(|object| !object.is_empty());
    for (key, what) in [
        ("kv_cache_scheme", "keys and values of few bits"),
        ("sparsity_config", "sparse weights"),
        ("transform_config", "rotations of weights and activations"),
    ] {
        let plain = key == "sparsity_config"
            && object(key).and_then(|own| own.get("format")).and_then(Value::as_str) == Some("dense");
        if object(key).is_some() && !plain {
            return Err(format!("{key}: {what} are not served; weights of 8 bits are"));
        }
    }
    if let Some(status) =
        config.get("quantization_status").and_then(Value::as_str).filter(|status| *status != "compressed")
    {
        return Err(format!(
            "quantization_status {status} says that the files have the weights uncompressed; save them compressed"
        ));
    }
    let groups =
        object("config_groups").ok_or("compressed-tensors without config_groups says nothing of the weights")?;
    groups.iter().try_for_each(|(name, group)| {
        compressed_group(config, group).map_err(|why| format!("config_groups: {name}: {why}"))
    })
}

/// Checks what one group of modules has.
fn compressed_group(config: &Value, group: &Value) -> Result<(), String> {
    let given = |key: &str| group.get(key).filter(|value| !value.is_null());
    for (key, what) in [("input_activations", "inputs"), ("output_activations", "outputs")] {
        if given(key).is_some() {
            return Err(format!(
                "{key}: schemes that quantize {what} of modules are not served, only those of weights alone (W8A16)"
            ));
        }
    }
    let weights = given("weights").and_then(Value::as_object).ok_or("it does not describe its weights")?;
    let text = |key: &str| weights.get(key).and_then(Value::as_str);
    let (bits, number) = (weights.get("num_bits").and_then(Value::as_i64), text("type").unwrap_or("int"));
    let format = [group.get("format"), config.get("format")].into_iter().flatten().find_map(Value::as_str);
    match (number, bits, format) {
        ("int", Some(8), Some("pack-quantized" | "int-quantized" | "naive-quantized"))
        | ("float", Some(8), Some("float-quantized" | "naive-quantized")) => {}
        _ => {
            return Err(format!(
                "{number}{} as {} is not served; int8 as pack-quantized or int-quantized, and float8 as float-quantized are",
                bits.map_or("?".into(), |bits| bits.to_string()),
                format.unwrap_or("an unnamed format")
            ));
        }
    }
    if weights.get("symmetric").and_then(Value::as_bool) == Some(false) {
        return Err("weights with zero points (symmetric: false) are not served".into());
    }
    if text("actorder").is_some_and(|order| order == "group") {
        return Err("weights in the order of activations (actorder: group) are not served".into());
    }
    match text("strategy").unwrap_or("tensor") {
        "tensor" | "channel" | "group" => Ok(()),
        other => Err(format!("a scale for each {other} is not served; for each tensor, channel or group it is")),
    }
}

fn compressed(
    weights: &mut Weights,
    (name, module): (&str, &str),
    size: [i64; 2],
    kind: Kind,
) -> Result<Coded, LoadError> {
    let packed = format!("{module}.weight_packed");
    let (coding, codes, named) = if weights.has(&packed) {
        let shape = format!("{module}.weight_shape");
        let found = Vec::<i64>::try_from(weights.raw(&shape)?.f_to_kind(Kind::Int64)?)?;
        if found != size {
            return Err(weights.refused(&shape, format!("is {found:?}, but config.json asks for {size:?}")));
        }
        let words = (size[1] + 3) / 4;
        let codes = typed(weights, &packed, Kind::Int, Some(&[size[0], words]))?;
        // Four to a word, each 128 more than it is; rows end with whole words.
        let codes = codes.f_view_dtype(Kind::Uint8)?.f_narrow(1, 0, size[1])?;
        (Coding::Int8, codes.f_bitwise_xor(128)?.f_contiguous()?, packed)
    } else {
        let coding = match weights.kind_of(name) {
            Some(Kind::Float8e4m3fn) => Coding::Float8,
            _ => Coding::Int8,
        };
        let kind = if coding == Coding::Float8 { Kind::Float8e4m3fn } else { Kind::Int8 };
        (coding, typed(weights, name, kind, Some(&size))?, name.to_owned())
    };
    let name = format!("{module}.weight_scale");
    // transformers has them in the type that is computed in.
    let scales = floats(weights, &name)?.f_to_kind(kind)?.f_to_kind(Kind::Float)?;
    let shape = scales.size();
    let group = match shape.as_slice() {
        [] | [1] | [1, 1] => size[0] * size[1],
        &[outputs] | &[outputs, 1] if outputs == size[0] => size[1],
        &[outputs, groups] if outputs == size[0] && groups > 0 && size[1] % groups == 0 => size[1] / groups,
        _ => {
            return Err(weights.refused(&name, format!("has shape {shape:?}, which does not fit a weight of {size:?}")));
        }
    };
    coded(weights, &named, size, (coding, &codes), (Scales::Each(scales.f_reshape([-1])?), group), Kind::Float)
}

fn four_bits(weights: &mut Weights, name: &str, size: [i64; 2]) -> Result<Coded, LoadError> {
    let state = format!("{name}.quant_state.bitsandbytes__nf4");
    if !weights.has(&state) {
        return Err(weights.refused(name, "is of four bits, but not nf4 with a quant_state"));
    }
    let bytes = Vec::<u8>::try_from(typed(weights, &state, Kind::Uint8, None)?.f_to_device(tch::Device::Cpu)?)?;
    let described: Map<String, Value> = serde_json::from_slice(&bytes)
        .map_err(|error| weights.refused(&state, format!("is no JSON object: {error}")))?;
    let wrong = |weights: &Weights, key: &str| {
        let found = described.get(key).cloned().unwrap_or_default();
        weights.refused(&state, format!("has {key} {found}, which is not supported"))
    };
    let size_of = |weights: &Weights, key: &str| {
        let size = described.get(key).and_then(Value::as_i64).filter(|size| *size > 0);
        size.ok_or_else(|| wrong(weights, key))
    };
    let text = |key: &str| described.get(key).and_then(Value::as_str);
    if text("quant_type") != Some("nf4") {
        return Err(wrong(weights, "quant_type"));
    }
    let shape = described.get("shape").and_then(Value::as_array).map(|shape| shape.iter().filter_map(Value::as_i64));
    let shape: Vec<i64> = shape.into_iter().flatten().collect();
    if shape != size {
        return Err(weights.refused(&state, format!("has shape {shape:?}, but config.json asks for {size:?}")));
    }
    let through = match text("dtype") {
        Some("float32") => Kind::Float,
        Some("float16") => Kind::Half,
        Some("bfloat16") => Kind::BFloat16,
        _ => return Err(wrong(weights, "dtype")),
    };
    let block = size_of(weights, "blocksize")?;
    let levels = Vec::<f32>::try_from(floats(weights, &format!("{name}.quant_map"))?.f_to_device(tch::Device::Cpu)?)?;
    let Ok(levels) = <[f32; 16]>::try_from(levels) else {
        return Err(weights.refused(&format!("{name}.quant_map"), "has not sixteen levels"));
    };
    let codes = typed(weights, name, Kind::Uint8, None)?;
    let absmax = format!("{name}.absmax");
    let scales = if described.contains_key("nested_offset") {
        let plus = described.get("nested_offset").and_then(Value::as_f64);
        #[expect(clippy::cast_possible_truncation, reason = "it was a float32")]
        let plus = plus.ok_or_else(|| wrong(weights, "nested_offset"))? as f32;
        Scales::Nested {
            codes: typed(weights, &absmax, Kind::Uint8, None)?.f_reshape([-1])?,
            levels: floats(weights, &format!("{name}.nested_quant_map"))?.f_reshape([-1])?,
            outer: floats(weights, &format!("{name}.nested_absmax"))?.f_reshape([-1])?,
            group: size_of(weights, "nested_blocksize")?,
            offset: 0,
            plus,
        }
    } else {
        Scales::Each(floats(weights, &absmax)?.f_reshape([-1])?)
    };
    coded(weights, name, size, (Coding::Four(levels), &codes), (scales, block), through)
}

/// Reads a tensor that has to be of a type, and of a shape.
fn typed(weights: &mut Weights, name: &str, kind: Kind, shape: Option<&[i64]>) -> Result<Tensor, LoadError> {
    match weights.kind_of(name) {
        Some(found) if found != kind => {
            return Err(weights.refused(name, format!("is {found:?}, but has to be {kind:?} as config.json has it")));
        }
        _ => {}
    }
    let tensor = weights.raw(name)?;
    match shape {
        Some(shape) if tensor.size() != shape => {
            let found = tensor.size();
            Err(weights.refused(name, format!("has shape {found:?}, but config.json asks for {shape:?}")))
        }
        _ => Ok(tensor),
    }
}

/// Reads numbers as float32.
fn floats(weights: &mut Weights, name: &str) -> Result<Tensor, LoadError> {
    match weights.kind_of(name) {
        Some(Kind::Float | Kind::BFloat16 | Kind::Half) | None => Ok(weights.raw(name)?.f_to_kind(Kind::Float)?),
        Some(found) => Err(weights.refused(name, format!("is {found:?}, but scales have to be F32, BF16 or F16"))),
    }
}

fn coded(
    weights: &Weights,
    name: &str,
    size: [i64; 2],
    (coding, codes): (Coding, &Tensor),
    scales: (Scales, i64),
    through: Kind,
) -> Result<Coded, LoadError> {
    Coded::new(size, coding, codes, scales, through)
        .map_err(|error| weights.refused(name, format!("is damaged: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compressed(weights: Value, more: Value) -> Value {
        let mut config = json!({
            "quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed",
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": null}},
            "ignore": ["lm_head"], "kv_cache_scheme": null, "sparsity_config": {}, "transform_config": {},
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    }

    #[test]
    fn schemes_of_weights_alone_are_taken() {
        let channel = json!({"num_bits": 8, "type": "int", "symmetric": true, "strategy": "channel"});
        let float = json!({"num_bits": 8, "type": "float", "symmetric": true, "strategy": "tensor"});
        for (config, expected) in [
            (compressed(channel.clone(), json!({})), Stored::CompressedTensors),
            (compressed(channel, json!({"format": "int-quantized"})), Stored::CompressedTensors),
            (compressed(float, json!({"format": "float-quantized"})), Stored::CompressedTensors),
            (json!({"quant_method": "bitsandbytes", "load_in_8bit": true}), Stored::BitsAndBytes),
            (json!({"load_in_4bit": true, "bnb_4bit_quant_type": "nf4"}), Stored::BitsAndBytes),
        ] {
            assert_eq!(Stored::read(&config), Ok(expected), "{config}");
        }
    }

    #[test]
    fn what_a_scheme_has_that_is_not_served_is_named() {
        let weights = |changes: Value| {
            let mut weights = json!({"num_bits": 8, "type": "int", "symmetric": true, "strategy": "channel"});
            weights.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            weights
        };
        let plain = || weights(json!({}));
        let mut activations = compressed(plain(), json!({"format": "int-quantized"}));
        activations["config_groups"]["group_0"]["input_activations"] = json!({"num_bits": 8});
        for (config, words) in [
            (json!({"quant_method": "gptq"}), "weights quantized by gptq are not served"),
            (json!({}), "by an unnamed method are not served"),
            (
                json!({"quant_method": "bitsandbytes", "load_in_4bit": true}),
                "bnb_4bit_quant_type fp4 is not served; nf4 is",
            ),
            (
                json!({"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4",
                    "bnb_4bit_quant_storage": "bfloat16"}),
                "bnb_4bit_quant_storage bfloat16",
            ),
            (activations, "group_0: input_activations: schemes that quantize inputs of modules are not served"),
            (compressed(weights(json!({"num_bits": 4})), json!({})), "int4 as pack-quantized is not served"),
            (compressed(weights(json!({"symmetric": false})), json!({})), "zero points"),
            (compressed(weights(json!({"strategy": "block"})), json!({})), "a scale for each block is not served"),
            (compressed(weights(json!({"actorder": "group"})), json!({})), "actorder"),
            (compressed(plain(), json!({"format": "marlin-24"})), "int8 as marlin-24 is not served"),
            (compressed(plain(), json!({"kv_cache_scheme": {"num_bits": 8}})), "kv_cache_scheme: keys and values"),
            (compressed(plain(), json!({"sparsity_config": {"format": "sparse-24"}})), "sparsity_config"),
            (compressed(plain(), json!({"quantization_status": "frozen"})), "quantization_status frozen"),
        ] {
            let why = Stored::read(&config).unwrap_err();
            assert!(why.contains(words), "{words:?} is not in {why:?}");
        }
    }
}
