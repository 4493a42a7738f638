//! A deterministic toy model, for everything that must be tested without a tensor library.
//!
//! Its arithmetic is exact in `f64`, causal, and different for every token, position and layer, so that a value read
//! at the wrong place shows.

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, Effect, HostObject, HostResult, Machine, Operator, Outcome, Use, Value};
use program::{Batching, DType, Heap, Ref, TensorData};

use crate::arithmetic::Arithmetic;
use crate::context::JobContext;
use crate::encoding::{Encoding, How, Source, Text};
use crate::interleaver::Interleaver;
use crate::model::{
    Attention, Drawn, Entered, Forwarded, Inputs, Interrupt, Layout, ModuleSchema, Observer, Packed, Sampler, Schema,
    Segment, Site, Tensor, Tokenizer, Tree, Wants,
};
use crate::namespace::Namespace;
use crate::python;

/// An engine over the toy model.
pub type FakeEngine = Interleaver<FakeModel>;

/// Makes an engine over the toy model.
#[must_use]
pub fn engine() -> FakeEngine {
    Interleaver::new(FakeModel::new())
}

const WIDTH: i64 = 4;
const LAYERS: usize = 3;
const VOCABULARY: i64 = 64;
const END: i64 = 0;

/// `embed`, three `layers` with an `mlp` each, and a `head`.
pub struct FakeModel {
    schema: Schema,
}

impl Default for FakeModel {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeModel {
    /// Makes the model; it has no weights.
    #[must_use]
    pub fn new() -> Self {
        let mut schema = Schema::default();
        let mut add = |path: String, class: &str, parent: Option<u32>| {
            let index = u32::try_from(schema.modules.len()).unwrap_or(u32::MAX);
            if let Some(parent) = parent
                && let Some(module) = schema.modules.get_mut(parent as usize)
            {
                let name = path.rsplit('.').next().unwrap_or(&path).to_owned();
                module.children.push((name, Site(index)));
            }
            schema.modules.push(ModuleSchema {
                path,
                class: class.into(),
                parent: parent.map(Site),
                children: Vec::new(),
            });
            index
        };
        let root = add(String::new(), "FakeForCausalLM", None);
        let embed = add("embed".into(), "Embedding", Some(root));
        let list = add("layers".into(), "ModuleList", Some(root));
        let mut layers = Vec::new();
        for index in 0..LAYERS {
            let layer = add(format!("layers.{index}"), "FakeLayer", Some(list));
            layers.push((layer, add(format!("layers.{index}.mlp"), "FakeMLP", Some(layer))));
        }
        let head = add("head".into(), "Linear", Some(root));
        schema.execution = [root, embed].map(Site).to_vec();
        for (layer, mlp) in &layers {
            schema.execution.extend([Site(*layer), Site(*mlp)]);
        }
        schema.execution.push(Site(head));
        schema.called = vec![Site(root)];
        schema.layers = layers.iter().map(|(layer, _)| Site(*layer)).collect();
        Self { schema }
    }

    fn site(&self, path: &str) -> Site {
        self.schema.site(path).unwrap_or(Site(0))
    }
}

type Flow = Tree<Packed<FakeTensor>>;

/// Runs one module as an observer sees it.
fn module(
    observer: &mut dyn Observer<FakeTensor>,
    layout: &Layout,
    site: Site,
    inputs: Inputs<Packed<FakeTensor>>,
    body: impl FnOnce(&mut dyn Observer<FakeTensor>, Inputs<Packed<FakeTensor>>) -> Result<Flow, Interrupt>,
) -> Result<Flow, Interrupt> {
    let wants = |observer: &dyn Observer<FakeTensor>| {
        let segments = layout.parts.iter().filter_map(|part| part.segment);
        segments.fold(Wants::default(), |all, segment| all | observer.wants(site, segment))
    };
    let entered =
        if wants(observer).input { observer.enter(site, inputs, layout)? } else { Entered { inputs, skipped: None } };
    let output = match entered.skipped {
        Some(output) => output,
        None => body(observer, entered.inputs)?,
    };
    if wants(observer).output { observer.exit(site, output, layout) } else { Ok(output) }
}

fn one(tensor: FakeTensor) -> Inputs<Packed<FakeTensor>> {
    Inputs { args: vec![Tree::Leaf(Packed::Tokens(tensor))], kwargs: Vec::new() }
}

fn tokens(flow: &Flow) -> Result<FakeTensor, Raise> {
    match flow {
        Tree::Leaf(Packed::Tokens(tensor)) => Ok(tensor.clone()),
        Tree::Leaf(Packed::Parts(parts)) => {
            let flat = |part: &FakeTensor| part.view(&[part.data().len() as i64 / WIDTH, WIDTH]);
            FakeTensor::join(&parts.iter().map(flat).collect::<Result<Vec<_>, _>>()?)
        }
        _ => Err(Raise::type_error("the toy model computes with one tensor")),
    }
}

fn first(inputs: &Inputs<Packed<FakeTensor>>) -> Result<FakeTensor, Raise> {
    inputs.args.first().map_or_else(|| Err(Raise::type_error("a module of the toy model takes one tensor")), tokens)
}

impl Arithmetic for FakeModel {
    type Tensor = FakeTensor;

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn forward(
        &self,
        segments: &mut [Segment<FakeTensor>],
        observer: &mut dyn Observer<FakeTensor>,
    ) -> Result<Forwarded<FakeTensor>, Interrupt> {
        let layout = Layout::of(segments);
        let ids = segments.iter().map(|segment| {
            let count = segment.rows * segment.length;
            segment.input_ids.view(&[count])
        });
        let ids = FakeTensor::join(&ids.collect::<Result<Vec<_>, _>>()?)?;
        let inputs = Inputs { args: Vec::new(), kwargs: vec![("input_ids", Tree::Leaf(Packed::Tokens(ids)))] };
        let output = module(observer, &layout, Site(0), inputs, |observer, inputs| {
            let ids = match inputs.kwargs.first() {
                Some((_, Tree::Leaf(Packed::Tokens(ids)))) => ids.clone(),
                _ => return Err(Raise::type_error("the toy model takes input_ids").into()),
            };
            let embedded = module(observer, &layout, self.site("embed"), one(ids), |_, inputs| {
                let ids = first(&inputs)?;
                if ids.data().iter().any(|id| !(0.0..VOCABULARY as f64).contains(id)) {
                    return Err(Raise::index_error("index out of range in self").into());
                }
                let hidden = ids.data().iter().flat_map(|id| (0..WIDTH).map(move |dim| id + dim as f64)).collect();
                Ok(Tree::Leaf(Packed::Tokens(FakeTensor::new(hidden, vec![ids.shape().iter().product(), WIDTH]))))
            })?;
            let mut hidden = tokens(&embedded)?;
            for layer in 0..LAYERS {
                let flow = module(
                    observer,
                    &layout,
                    self.site(&format!("layers.{layer}")),
                    one(hidden),
                    |observer, inputs| {
                        let input = first(&inputs)?;
                        let mixed = mix(&input, segments, layer);
                        let mlp = module(
                            observer,
                            &layout,
                            self.site(&format!("layers.{layer}.mlp")),
                            one(mixed.clone()),
                            |_, inputs| {
                                let scale = layer as f64 + 1.0;
                                let input = first(&inputs)?;
                                if input.data().iter().any(|value| !value.is_finite()) {
                                    return Err(
                                        Raise::runtime_error("the toy model computes with finite numbers").into()
                                    );
                                }
                                let data = input.data().iter().map(|value| value * 0.5 + scale).collect();
                                Ok(Tree::Leaf(Packed::Tokens(FakeTensor::new(data, mixed.shape()))))
                            },
                        )?;
                        let mlp = tokens(&mlp)?;
                        let data = mixed.data().iter().zip(mlp.data().iter()).map(|(a, b)| a + b).collect();
                        Ok(Tree::Leaf(Packed::Tokens(FakeTensor::new(data, mixed.shape()))))
                    },
                )?;
                hidden = tokens(&flow)?;
                observer.between_layers()?;
            }
            let logits = module(observer, &layout, self.site("head"), one(hidden), |_, inputs| {
                let hidden = first(&inputs)?;
                let data = hidden.data();
                let logits = data.chunks(WIDTH as usize).flat_map(|row| {
                    let favourite = row.iter().sum::<f64>().abs().floor() % VOCABULARY as f64;
                    (0..VOCABULARY).map(move |token| -(token as f64 - favourite).abs())
                });
                let shape = vec![hidden.shape().first().copied().unwrap_or(0), VOCABULARY];
                let logits = FakeTensor::new(logits.collect(), shape);
                Ok(Tree::Leaf(Packed::Parts(kept_positions(&logits, segments)?)))
            })?;
            Ok(Tree::Record {
                class: "transformers.modeling_outputs.CausalLMOutputWithPast",
                fields: vec![("logits", logits)],
            })
        })?;
        Ok(Forwarded { output, layout })
    }

    fn new_cache(&self) -> Box<dyn Any> {
        Box::new(Cache::default())
    }

    fn rewind(&self, cache: &dyn Any, length: i64) -> Result<(), Raise> {
        if let Some(Cache(sums)) = cache.downcast_ref() {
            sums.borrow_mut().values_mut().for_each(|sums| sums.truncate(usize::try_from(length).unwrap_or(0)));
        }
        Ok(())
    }

    fn sampler(
        &self,
        _machine: &Machine,
        kwargs: &[(Rc<str>, Value)],
        prompt: &[Vec<i64>],
    ) -> Result<Box<dyn Sampler<FakeTensor>>, Raise> {
        let mut new_tokens = 20;
        for (name, value) in kwargs {
            match (&**name, value.as_int()) {
                ("max_new_tokens", Some(count)) => new_tokens = usize::try_from(count).unwrap_or(0),
                ("do_sample", Some(0)) => {}
                _ => {
                    return Err(Raise::value_error(format!("`{name}` is not a setting of the toy model's generation")));
                }
            }
        }
        Ok(Box::new(Greedy { limit: prompt.first().map_or(0, Vec::len) + new_tokens }))
    }

    fn drawn(&self, all: Vec<Drawn<FakeTensor>>) -> Vec<Result<Vec<i64>, Raise>> {
        let likeliest = |row: &[f64]| {
            let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            best.map_or(0, |(token, _)| i64::try_from(token).unwrap_or(0))
        };
        let known = |drawn: Drawn<FakeTensor>| match drawn {
            Drawn::Likeliest(logits) => Ok(logits.data().chunks(VOCABULARY as usize).map(likeliest).collect()),
            Drawn::Ids(_) => Err(Raise::runtime_error("the toy model takes the likeliest token")),
        };
        all.into_iter().map(known).collect()
    }
}

impl Namespace for FakeModel {
    fn tokenizer(&self) -> Rc<dyn Tokenizer> {
        Rc::new(Letters)
    }

    fn call_module(
        &self,
        _machine: &Machine,
        _site: Site,
        _args: &Args,
        _attention: Attention,
    ) -> Result<Value, Raise> {
        Err(Raise::type_error("modules of the toy model cannot be called"))
    }

    fn attribute(&self, _machine: &Machine, site: Site, name: &str) -> Option<Value> {
        (site == Site(0) && name == "vocab_size").then_some(Value::Int(VOCABULARY))
    }

    fn effect(&self, _machine: &Machine, name: &str, usage: Use<'_>) -> Option<Effect> {
        effect(name, usage)
    }

    fn object(&self, _machine: &Machine, _object: &Rc<dyn Any>, _part: usize) -> Value {
        Value::None
    }

    fn object_data(&self, _value: &Value, _heap: &mut Heap) -> Option<Ref> {
        None
    }

    fn import(&self, _machine: &Machine, _module: &str) -> Option<Value> {
        None
    }

    fn global(&self, _machine: &Machine, _module: &str, _name: &str) -> Option<Value> {
        None
    }

    fn instance(
        &self,
        _machine: &Machine,
        _class: &str,
        _args: &[Value],
        _state: Option<&Value>,
    ) -> Option<Result<Value, Raise>> {
        None
    }

    fn value_data(&self, _value: &Value, _heap: &mut Heap) -> Option<Result<Ref, Raise>> {
        None
    }
}

impl JobContext for FakeModel {
    type Aside = ();

    /// Its arithmetic has no gradients.
    fn begin(&self, _: &Machine, _: bool, _: Batching, _: bool) {}

    fn recording(&self, _: &Machine) -> bool {
        false
    }

    fn put_aside(&self) {}

    fn bring_back(&self, (): ()) {}
}

/// Returns each segment's logits, `[rows, length, vocabulary]`, or at its last position where it asks for that alone.
fn kept_positions(logits: &FakeTensor, segments: &[Segment<FakeTensor>]) -> Result<Vec<FakeTensor>, Raise> {
    let mut start = 0;
    let mut parts = Vec::with_capacity(segments.len());
    for Segment { rows, length, flags, .. } in segments {
        let own = logits.rows(start, rows * length)?.view(&[*rows, *length, VOCABULARY])?;
        let last_only = flags.iter().any(|(name, _)| &**name == "logits_to_keep");
        parts.push(if last_only { own.last_position()?.view(&[*rows, 1, VOCABULARY])? } else { own });
        start += rows * length;
    }
    Ok(parts)
}

/// Sums of what each layer has seen, by row: after each token.
#[derive(Default)]
struct Cache(RefCell<std::collections::HashMap<(usize, i64, i64), Vec<f64>>>);

/// Adds to each position a quarter of the sum of the unpadded positions before it: the toy's attention.
fn mix(input: &FakeTensor, segments: &[Segment<FakeTensor>], layer: usize) -> FakeTensor {
    let data = input.data();
    let mut mixed = data.clone();
    let mut token = 0;
    for segment in segments {
        let cache = segment.cache.as_ref().and_then(|cache| cache.downcast_ref::<Cache>());
        let mask = segment.attention_mask.as_ref().map(|mask| (mask.data(), mask.shape().last().copied().unwrap_or(0)));
        for row in 0..segment.rows {
            for dim in 0..WIDTH {
                let key = (layer, row, dim);
                let before = cache.and_then(|cache| cache.0.borrow().get(&key)?.last().copied());
                let mut sum = before.unwrap_or(0.0);
                for position in 0..segment.length {
                    let at = ((token + row * segment.length + position) * WIDTH + dim) as usize;
                    let counts = mask.as_ref().is_none_or(|(mask, width)| {
                        mask.get((row * width + width - segment.length + position) as usize) != Some(&0.0)
                    });
                    if let (Some(out), Some(value)) = (mixed.get_mut(at), data.get(at)) {
                        *out = value + sum * 0.25;
                        sum += if counts { *value } else { 0.0 };
                        if let Some(cache) = cache {
                            cache.0.borrow_mut().entry(key).or_default().push(sum);
                        }
                    }
                }
            }
        }
        token += segment.rows * segment.length;
    }
    FakeTensor::new(mixed, input.shape())
}

struct Greedy {
    limit: usize,
}

impl Sampler<FakeTensor> for Greedy {
    fn draw(&mut self, _: &Machine, logits: &FakeTensor, _: &[Vec<i64>]) -> Result<Drawn<FakeTensor>, Raise> {
        Ok(Drawn::Likeliest(logits.clone()))
    }

    fn finished(&self, sequence: &[i64]) -> bool {
        sequence.last() == Some(&END)
    }

    fn pad_token(&self) -> i64 {
        END
    }

    fn remaining(&self, length: usize) -> usize {
        self.limit.saturating_sub(length)
    }
}

/// One token a byte.
struct Letters;

impl Tokenizer for Letters {
    fn encode(&self, machine: &Machine, sources: &[Source], _how: &How) -> Result<Vec<Encoding>, Raise> {
        let encode = |source: &Source| {
            machine.charge_fuel(source.bytes() as u64)?;
            let Text::Whole(text) = &source.text else { return Err(Raise::value_error("the toy model takes text")) };
            let ids: Vec<u32> = text.bytes().map(|byte| 1 + u32::from(byte) % (VOCABULARY as u32 - 1)).collect();
            Ok(Encoding { attention_mask: vec![1; ids.len()], ids, ..Encoding::default() })
        };
        sources.iter().map(encode).collect()
    }

    fn decode(&self, ids: &[i64], _skip_special_tokens: bool, _clean_up: Option<bool>) -> Result<String, Raise> {
        Ok(ids.iter().map(i64::to_string).collect::<Vec<_>>().join(" "))
    }

    fn special(&self, name: &str) -> Option<i64> {
        (name == "eos_token_id").then_some(END)
    }

    fn token(&self, id: i64) -> Option<String> {
        Some(id.to_string())
    }

    fn id(&self, token: &str) -> Option<i64> {
        token.parse().ok()
    }

    fn vocabulary_size(&self) -> usize {
        VOCABULARY as usize
    }
}

/// A contiguous piece of shared numbers.
#[derive(Clone)]
pub struct FakeTensor {
    storage: Rc<RefCell<Vec<f64>>>,
    start: usize,
    shape: Vec<i64>,
}

impl FakeTensor {
    pub(crate) fn new(data: Vec<f64>, shape: Vec<i64>) -> Self {
        Self { storage: Rc::new(RefCell::new(data)), start: 0, shape }
    }

    fn len(&self) -> usize {
        usize::try_from(self.shape.iter().product::<i64>()).unwrap_or(0)
    }

    pub(crate) fn data(&self) -> Vec<f64> {
        self.storage.borrow().get(self.start..self.start + self.len()).unwrap_or_default().to_vec()
    }

    pub(crate) fn write(&self, mut value: impl FnMut(usize, f64) -> f64) {
        let mut storage = self.storage.borrow_mut();
        if let Some(own) = storage.get_mut(self.start..self.start + self.len()) {
            own.iter_mut().enumerate().for_each(|(index, number)| *number = value(index, *number));
        }
    }

    fn zip(&self, other: &Value, compute: impl Fn(f64, f64) -> f64) -> Result<Option<Self>, Raise> {
        let Some(operand) = self.operand(other)? else { return Ok(None) };
        let data = self.data().into_iter().enumerate().map(|(index, value)| compute(value, operand(index)));
        Ok(Some(Self::new(data.collect(), self.shape.clone())))
    }

    fn operand(&self, other: &Value) -> Result<Option<Operand>, Raise> {
        if let Some(tensor) = Self::of_value(other) {
            if tensor.len() != 1 && tensor.shape != self.shape {
                return Err(Raise::runtime_error(format!(
                    "The size of tensor a {} must match the size of tensor b {}",
                    python::shape_text(&self.shape),
                    python::shape_text(&tensor.shape)
                )));
            }
            let data = tensor.data();
            return Ok(Some(Box::new(move |index| data.get(index).or(data.first()).copied().unwrap_or(f64::NAN))));
        }
        Ok(match other {
            Value::Float(value) => {
                let value = *value;
                Some(Box::new(move |_| value))
            }
            other => other.as_int().map(|value| Box::new(move |_| value as f64) as Operand),
        })
    }
}

/// The right side of elementwise arithmetic: its number at each index.
type Operand = Box<dyn Fn(usize) -> f64>;

impl Tensor for FakeTensor {
    type Deferred = Infallible;

    fn resolve(_: Vec<Infallible>) -> Vec<Result<Value, Raise>> {
        Vec::new()
    }

    fn of_data(data: &TensorData) -> Result<Self, Raise> {
        let numbers: Vec<f64> = match data.dtype {
            DType::Int64 => {
                data.bytes.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes) as f64).collect()
            }
            DType::Float64 => data.bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect(),
            other => return Err(Raise::type_error(format!("the toy model has no torch.{}", other.name()))),
        };
        if data.elements() != Some(numbers.len() as u64) {
            return Err(Raise::value_error("the data does not fill the shape"));
        }
        Ok(Self::new(numbers, data.shape.clone()))
    }

    fn to_data(&self) -> Result<TensorData, Raise> {
        let numbers = self.data();
        // Whole numbers stand for token ids.
        if self.shape.len() <= 2
            && !numbers.is_empty()
            && numbers.iter().all(|number| number.fract() == 0.0)
            && self.shape.last() != Some(&WIDTH)
        {
            let bytes = numbers.iter().flat_map(|number| (*number as i64).to_le_bytes()).collect();
            return Ok(TensorData { dtype: DType::Int64, shape: self.shape.clone(), bytes, requires_grad: false });
        }
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        Ok(TensorData { dtype: DType::Float64, shape: self.shape.clone(), bytes, requires_grad: false })
    }

    fn to_value(&self, _machine: &Machine) -> Value {
        Value::Host(Rc::new(FakeObject(self.clone())))
    }

    fn of_value(value: &Value) -> Option<Self> {
        python::host::<FakeObject>(value).map(|object| object.0.clone())
    }

    fn dtype(&self) -> Option<DType> {
        Some(DType::Float64)
    }

    fn shape(&self) -> Vec<i64> {
        self.shape.clone()
    }

    fn rows(&self, start: i64, length: i64) -> Result<Self, Raise> {
        let count = self.shape.first().copied().unwrap_or(0);
        if start < 0 || length < 0 || start + length > count {
            return Err(Raise::index_error(format!("rows {start} to {} of {count}", start + length)));
        }
        let stride: i64 = self.shape.iter().skip(1).product();
        let mut shape = self.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first = length;
        }
        let start = self.start + usize::try_from(start * stride).unwrap_or(0);
        Ok(Self { storage: Rc::clone(&self.storage), start, shape })
    }

    fn join(parts: &[Self]) -> Result<Self, Raise> {
        let mut shape = parts.first().map(Self::shape).unwrap_or_default();
        if parts.iter().any(|part| part.shape.get(1..) != shape.get(1..)) {
            return Err(Raise::runtime_error("Sizes of tensors must match except in dimension 0."));
        }
        if let Some(first) = shape.first_mut() {
            *first = parts.iter().filter_map(|part| part.shape.first()).sum();
        }
        Ok(Self::new(parts.iter().flat_map(Self::data).collect(), shape))
    }

    fn view(&self, shape: &[i64]) -> Result<Self, Raise> {
        if shape.iter().product::<i64>() != self.shape.iter().product::<i64>() {
            return Err(Raise::runtime_error(format!(
                "shape '{}' is invalid for input of size {}",
                python::shape_text(shape),
                self.len()
            )));
        }
        Ok(Self { shape: shape.to_vec(), ..self.clone() })
    }

    fn last_position(&self) -> Result<Self, Raise> {
        let &[rows, length, width] = self.shape.as_slice() else {
            return Err(Raise::index_error("there is no last position"));
        };
        let parts = (0..rows).map(|row| self.view(&[rows * length, width])?.rows(row * length + length - 1, 1));
        Self::join(&parts.collect::<Result<Vec<_>, _>>()?)
    }

    fn duplicate(&self) -> Result<Self, Raise> {
        Ok(Self::new(self.data(), self.shape.clone()))
    }

    fn first_differences(&self, other: &Self) -> Result<Vec<i64>, Raise> {
        let rows = self.shape.first().copied().unwrap_or(1);
        let length = self.shape.get(1).copied().unwrap_or(1);
        let (own, other) = (self.data(), other.data());
        let size = |count: i64| usize::try_from(count).unwrap_or(0).max(1);
        let width = size(i64::try_from(own.len()).unwrap_or(0) / (rows * length).max(1));
        let rows = own.chunks(width * size(length)).zip(other.chunks(width * size(length)));
        let differ = |(own, other): (&[f64], &[f64])| own.iter().zip(other).any(|(a, b)| a.to_bits() != b.to_bits());
        Ok(rows
            .map(|(own, other)| {
                let found = own.chunks(width).zip(other.chunks(width)).position(differ);
                found.and_then(|at| i64::try_from(at).ok()).unwrap_or(length)
            })
            .collect())
    }
}

/// A tensor as a block sees it.
struct FakeObject(FakeTensor);

impl HostObject for FakeObject {
    fn type_name(&self) -> Cow<'static, str> {
        "Tensor".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn effect(&self, _machine: &Machine, name: &str, usage: Use<'_>) -> Effect {
        effect(name, usage).unwrap_or(Effect::Anything)
    }

    fn memory(&self) -> Option<usize> {
        Some(Rc::as_ptr(&self.0.storage).addr())
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn get_attribute(self: Rc<Self>, _machine: &Machine, name: &str) -> HostResult {
        Ok(match name {
            "shape" => Value::tuple(self.0.shape.iter().copied().map(Value::Int).collect()).into(),
            "clone" => Value::native("clone", move |machine: &Machine, args: Args| {
                Rc::clone(&self).call_method(machine, "clone", &args)
            })
            .into(),
            _ => Outcome::NotImplemented,
        })
    }

    fn call_method(self: Rc<Self>, machine: &Machine, name: &str, _args: &Args) -> HostResult {
        Ok(match name {
            "sum" => FakeTensor::new(vec![self.0.data().iter().sum()], Vec::new()).to_value(machine).into(),
            "item" => Value::Float(self.0.data().first().copied().unwrap_or(f64::NAN)).into(),
            "clone" => FakeTensor::new(self.0.data(), self.0.shape.clone()).to_value(machine).into(),
            _ => Outcome::NotImplemented,
        })
    }

    fn get_item(self: Rc<Self>, machine: &Machine, key: &Value) -> HostResult {
        let index = key.as_int().ok_or_else(|| Raise::type_error("toy tensors are indexed by an int"))?;
        let count = self.0.shape.first().copied().unwrap_or(0);
        if index < -count || index >= count {
            return Err(Raise::index_error(format!(
                "index {index} is out of bounds for dimension 0 with size {count}"
            )));
        }
        let row = self.0.rows(index.rem_euclid(count.max(1)), 1)?;
        let shape = row.shape.get(1..).unwrap_or_default().to_vec();
        Ok(row.view(&shape)?.to_value(machine).into())
    }

    fn set_item(self: Rc<Self>, _machine: &Machine, key: &Value, value: Value) -> HostResult {
        let target = match key {
            Value::Slice(_) => self.0.clone(),
            key => {
                self.0.rows(key.as_int().ok_or_else(|| Raise::type_error("toy tensors are indexed by an int"))?, 1)?
            }
        };
        let operand = target.operand(&value)?.ok_or_else(|| Raise::type_error("toy tensors hold numbers"))?;
        target.write(|index, _| operand(index));
        Ok(Value::None.into())
    }

    fn binary(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value, reflected: bool) -> HostResult {
        let compute: fn(f64, f64) -> f64 = match operator {
            Operator::Add => |a, b| a + b,
            Operator::Sub => |a, b| a - b,
            Operator::Mul => |a, b| a * b,
            Operator::Div => |a, b| a / b,
            _ => return Ok(Outcome::NotImplemented),
        };
        let result = self.0.zip(other, |a, b| if reflected { compute(b, a) } else { compute(a, b) })?;
        Ok(result.map_or(Outcome::NotImplemented, |tensor| tensor.to_value(machine).into()))
    }
}

/// Says what using a name of a toy tensor does; `None` for names that it does not have.
fn effect(name: &str, usage: Use<'_>) -> Option<Effect> {
    match (name, usage) {
        ("__setitem__", Use::Call { .. }) => Some(Effect::Changes),
        (_, Use::Store) => None,
        (name, _) => matches!(name, "shape" | "sum" | "item" | "clone").then_some(Effect::Looks),
    }
}
