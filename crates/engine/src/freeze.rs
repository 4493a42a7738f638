//! What a block saved, as plain data.

use std::collections::HashMap;
use std::rc::Rc;

use interpreter::frame::Frame;
use interpreter::raise::Raise;
use interpreter::types::dict::Kind;
use interpreter::types::float;
use interpreter::{Args, Class, Identity, Machine, Value};
use num_bigint::BigInt;
use program::{Datum, Heap, Limits, Ref, Saved, reduced};

use crate::batch_encoding::{self, BatchEncoding, Span};
use crate::cache::CacheView;
use crate::job::JobState;
use crate::layouts::Layouts;
use crate::model::{Model, Tensor};
use crate::output::ModelOutput;
use crate::python;

/// Nesting beyond which a result is refused.
const DEPTH: usize = 500;

/// Returns the names of a frame that are bound to saved values.
///
/// # Errors
/// `TypeError` naming the variable for values that cannot be sent back, and when all are too large.
pub fn saved<M: Model>(
    job: &Rc<JobState<M>>,
    machine: &Machine,
    frame: &Frame,
    limits: &Limits,
) -> Result<Saved, Raise> {
    let mut freeze = Freeze {
        job,
        machine,
        heap: Heap::default(),
        made: HashMap::new(),
        objects: HashMap::new(),
        layouts: Layouts::default(),
        budget: limits.saved_bytes,
        depth: 0,
    };
    let mut names = Vec::new();
    for (name, value) in frame.names() {
        if !job.is_saved(&value) {
            continue;
        }
        let at = freeze.value(&value).map_err(|trouble| match trouble {
            Trouble::Unsendable(what) => Raise::type_error(format!(
                "the saved variable '{name}' holds {what}, which cannot be sent back; save tensors, numbers, text and \
                 containers of them"
            )),
            Trouble::TooLarge => Raise::new(
                interpreter::Kind::MemoryError,
                format!(
                    "the saved values exceed {} bytes, the limit of one result; save less, or reduce on the server first",
                    limits.saved_bytes
                ),
            ),
            Trouble::Raised(raise) => raise,
        })?;
        names.push((name.to_string(), at));
    }
    let Freeze { mut heap, layouts, .. } = freeze;
    layouts.settle(&mut heap);
    Ok(Saved { heap, names })
}

enum Trouble {
    Unsendable(String),
    TooLarge,
    Raised(Raise),
}

impl From<Raise> for Trouble {
    fn from(raise: Raise) -> Self {
        Self::Raised(raise)
    }
}

struct Freeze<'a, M: Model> {
    job: &'a Rc<JobState<M>>,
    machine: &'a Machine,
    heap: Heap,
    made: HashMap<Identity, Ref>,
    /// Objects of the model by their memory: a generation has one cache of keys and values, however often it was shown.
    objects: HashMap<usize, Ref>,
    /// How the tensors lie that were copied.
    layouts: Layouts,
    budget: u64,
    depth: usize,
}

impl<M: Model> Freeze<'_, M> {
    fn value(&mut self, value: &Value) -> Result<Ref, Trouble> {
        let identity = value.identity();
        // Only heap objects are shared; small values are cheaper to repeat than to look up.
        let shared = matches!(identity, Identity::Place(_));
        if shared && let Some(at) = self.made.get(&identity) {
            return Ok(*at);
        }
        if self.depth >= DEPTH {
            return Err(Trouble::Unsendable(format!("values nested more than {DEPTH} deep")));
        }
        self.spend(16)?;
        // Known before its elements are made, so that a list can hold itself.
        let at = self.heap.push(Datum::None);
        if shared {
            self.made.insert(identity, at);
        }
        self.depth += 1;
        let datum = self.datum(at, value);
        self.depth -= 1;
        self.heap.set(at, datum?);
        Ok(at)
    }

    fn datum(&mut self, at: Ref, value: &Value) -> Result<Datum, Trouble> {
        if let Some(tensor) = M::Tensor::of_value(value) {
            return self.tensor(at, &tensor);
        }
        self.other(value)
    }

    /// Copies a tensor's elements.
    fn tensor(&mut self, at: Ref, tensor: &M::Tensor) -> Result<Datum, Trouble> {
        let elements =
            tensor.shape().iter().try_fold(1_u64, |product, size| product.checked_mul(u64::try_from(*size).ok()?));
        // At least one byte an element; the exact size is known after the copy.
        if elements.is_none_or(|elements| elements > self.budget) {
            return Err(Trouble::TooLarge);
        }
        let mut data = tensor.to_data()?;
        data.requires_grad |= tensor.would_require_grad(self.machine);
        self.spend(u64::try_from(data.bytes.len()).unwrap_or(u64::MAX))?;
        if !tensor.is_parameter() {
            self.layouts.note(at, tensor);
            return Ok(Datum::Tensor(data));
        }
        let requires_grad = data.requires_grad;
        let inner = self.heap.push(Datum::Tensor(data));
        self.layouts.note(inner, tensor);
        Ok(Datum::Parameter { tensor: inner, requires_grad })
    }

    fn other(&mut self, value: &Value) -> Result<Datum, Trouble> {
        Ok(match value {
            Value::None => Datum::None,
            Value::NotImplemented => Datum::NotImplemented,
            Value::Ellipsis => Datum::Ellipsis,
            Value::Bool(value) => Datum::Bool(*value),
            Value::Int(value) => Datum::Int(BigInt::from(*value)),
            Value::Big(value) => Datum::Int((**value).clone()),
            Value::Float(value) => Datum::Float(float::plain_bits(*value)),
            Value::Complex(real, imaginary) => Datum::Complex(float::plain_bits(*real), float::plain_bits(*imaginary)),
            Value::Str(text) => {
                self.spend(text.len() as u64)?;
                Datum::Str(text.to_string())
            }
            Value::Bytes(bytes) => {
                self.spend(bytes.len() as u64)?;
                Datum::Bytes(bytes.to_vec().into())
            }
            Value::List(_) => Datum::List(self.sequence(value)?),
            Value::Tuple(_) => Datum::Tuple(self.sequence(value)?),
            Value::Set(_) => {
                let (items, frozen) = python::set_items(value);
                let items = items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?;
                if frozen { Datum::FrozenSet(items) } else { Datum::Set(items) }
            }
            Value::Dict(dict) => {
                let mut pairs = Vec::new();
                for (key, value) in python::items(value) {
                    pairs.push((self.value(&key)?, self.value(&value)?));
                }
                let (name, args) = match dict.kind() {
                    Kind::Plain => return Ok(Datum::Dict(pairs)),
                    Kind::Ordered => ("OrderedDict", Vec::new()),
                    Kind::Counter => ("Counter", Vec::new()),
                    // A factory of the program's own stays behind: what it has made counts.
                    Kind::Default(factory) => match &*factory.borrow() {
                        factory @ Value::Type(_) => ("defaultdict", vec![self.value(factory)?]),
                        _ => ("defaultdict", Vec::new()),
                    },
                };
                let class = self.heap.push(Datum::Global { module: "collections".into(), name: name.into() });
                Datum::Object { class, called: true, args, state: None, items: Vec::new(), pairs }
            }
            Value::Type(kind) => Datum::Global { module: kind.module().into(), name: kind.name().into() },
            Value::Range(_) => {
                let [start, stop, step] = python::range_bounds(value);
                Datum::Range { start, stop, step }
            }
            Value::Slice(slice) => Datum::Slice {
                start: self.value(&slice.start)?,
                stop: self.value(&slice.stop)?,
                step: self.value(&slice.step)?,
            },
            Value::Host(_) => return self.host(value),
            Value::Instance(instance) if is_reduced(instance.class()) => return self.reduced(value),
            other => {
                return Err(Trouble::Unsendable(format!(
                    "an object of type '{}'",
                    interpreter::types::type_name(other)
                )));
            }
        })
    }

    /// Writes an object of a standard module by what its class says makes it anew.
    fn reduced(&mut self, value: &Value) -> Result<Datum, Trouble> {
        let reduce = python::now(self.machine.get_attribute(value, "__reduce__"))?;
        let parts = python::sequence(&python::now(self.machine.call(&reduce, Args::default()))?).unwrap_or_default();
        let [Value::Class(class), args, state @ ..] = &parts[..] else {
            return Err(Trouble::Unsendable(format!("an object of type '{}'", interpreter::types::type_name(value))));
        };
        let class = self.heap.push(Datum::Global { module: class.module().into(), name: class.name().to_string() });
        let args = self.sequence(args)?;
        let state = state.first().map(|state| self.value(state)).transpose()?;
        Ok(Datum::Object { class, called: true, args, state, items: Vec::new(), pairs: Vec::new() })
    }

    fn sequence(&mut self, value: &Value) -> Result<Vec<Ref>, Trouble> {
        python::sequence(value).unwrap_or_default().iter().map(|item| self.value(item)).collect()
    }

    fn host(&mut self, value: &Value) -> Result<Datum, Trouble> {
        let Value::Host(host) = value else { return Ok(Datum::None) };
        if let Some(output) = python::host::<ModelOutput>(value) {
            return self.output(output);
        }
        if let Some(encoding) = python::host::<BatchEncoding>(value) {
            return self.encoding(encoding);
        }
        if let Some(view) = python::host::<CacheView<M>>(value) {
            return self.cache_view(view);
        }
        if let Some(known) = host.memory().and_then(|memory| self.objects.get(&memory)) {
            return Ok(self.heap.get(*known).cloned().unwrap_or(Datum::None));
        }
        if let Some((name, items)) = self.job.model.named_result(value) {
            let items = items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?;
            let class = self.heap.push(Datum::Global { module: "torch.return_types".into(), name });
            let tuple = self.heap.push(Datum::Tuple(items));
            return Ok(called(class, vec![tuple]));
        }
        if let Some(class) = host.class_name() {
            return Ok(global(&class));
        }
        if host.is_instance("collections.deque") {
            return self.deque(value);
        }
        if let Some(bytes) = interpreter::builtins::bytearray::bytes_of(self.machine, value) {
            let bytes = bytes?;
            self.spend(bytes.len() as u64)?;
            let class = self.heap.push(global("bytearray"));
            let bytes = self.heap.push(Datum::Bytes(bytes.to_vec().into()));
            return Ok(called(class, vec![bytes]));
        }
        if let Some(span) = python::host::<Span>(value) {
            let class = self.heap.push(global(&format!("transformers.tokenization_utils_base.{}", span.class)));
            let bounds = [span.start, span.end].map(|bound| self.heap.push(Datum::Int(bound.into()))).to_vec();
            // A named tuple is made by `__new__`.
            return Ok(object(class, bounds, None));
        }
        let found = match self.job.model.object_data(value, &mut self.heap) {
            Some(at) => {
                self.objects.extend(host.memory().map(|memory| (memory, at)));
                Some(at)
            }
            None => self.job.model.value_data(value, &mut self.heap).transpose()?,
        };
        match found.and_then(|at| self.heap.get(at).cloned()) {
            Some(datum) => Ok(datum),
            None => Err(Trouble::Unsendable(format!("an object of type '{}'", interpreter::types::type_name(value)))),
        }
    }

    fn deque(&mut self, value: &Value) -> Result<Datum, Trouble> {
        let limit = python::now(self.machine.get_attribute(value, "maxlen"))?;
        let (machine, deque) = (self.machine.clone(), value.clone());
        let items = python::now(Box::pin(async move {
            let items = interpreter::operators::collect(&machine, &deque).await?;
            python::list(&machine, items.into_vec())
        }))?;
        let items = self.sequence(&items)?;
        let args = match limit {
            Value::None => Vec::new(),
            limit => vec![self.heap.push(Datum::Tuple(Vec::new())), self.value(&limit)?],
        };
        let class = self.heap.push(global("collections.deque"));
        Ok(Datum::Object { class, called: true, args, state: None, items, pairs: Vec::new() })
    }

    /// Writes an encoding as it is made. Hugging Face pickles its own without the number of sequences.
    fn encoding(&mut self, encoding: &BatchEncoding) -> Result<Datum, Trouble> {
        let data = self.value(&Value::Dict(Rc::clone(encoding.data())))?;
        let encodings = match encoding.encodings() {
            None => self.heap.push(Datum::None),
            Some(rows) => {
                let class = self.heap.push(Datum::Global { module: "tokenizers".into(), name: "Encoding".into() });
                let mut made = Vec::with_capacity(rows.len());
                for row in rows.iter() {
                    let json = serde_json::to_vec(row).map_err(|error| Raise::runtime_error(error.to_string()))?;
                    self.spend(json.len() as u64)?;
                    let state = self.heap.push(Datum::Bytes(json.into()));
                    made.push(self.heap.push(object(class, Vec::new(), Some(state))));
                }
                self.heap.push(Datum::List(made))
            }
        };
        Ok(called(self.heap.push(global(batch_encoding::CLASS)), vec![data, encodings]))
    }

    /// Writes what `tracer.cache()` gave as nnsight pickles its own: without the model, by paths.
    fn cache_view(&mut self, view: &CacheView<M>) -> Result<Datum, Trouble> {
        const MODULE: &str = "nnsight.intervention.cache";
        // Several views may be of one cache.
        let memory = Rc::as_ptr(&view.cache).cast::<()>() as usize;
        let cache = match self.objects.get(&memory) {
            Some(cache) => *cache,
            None => {
                let settings = view.cache.settings();
                let entry = self.heap.push(global(&format!("{MODULE}.Entry")));
                let mut entries = Vec::new();
                for (path, visits) in view.cache.entries() {
                    let mut list = Vec::with_capacity(visits.len());
                    for visit in visits {
                        let fields = [("output", self.value(&visit.output)?), ("inputs", self.value(&visit.inputs)?)];
                        let state = self.fields(&fields);
                        list.push(self.heap.push(object(entry, Vec::new(), Some(state))));
                    }
                    entries.push((self.value(&Value::Str(path))?, self.heap.push(Datum::List(list))));
                }
                let entries = self.heap.push(Datum::Dict(entries));
                let targets = match &settings.targets {
                    Some(paths) => {
                        let paths = paths.iter().map(|path| self.heap.push(Datum::Str(path.clone()))).collect();
                        Datum::Set(paths)
                    }
                    None => Datum::None,
                };
                let fields = [
                    ("model", self.heap.push(Datum::None)),
                    ("device", self.value(&settings.device)?),
                    ("dtype", self.value(&settings.dtype)?),
                    ("detach", self.heap.push(Datum::Bool(settings.detach))),
                    ("non_blocking", self.heap.push(Datum::Bool(settings.non_blocking))),
                    ("include_output", self.heap.push(Datum::Bool(settings.include_output))),
                    ("include_inputs", self.heap.push(Datum::Bool(settings.include_inputs))),
                    ("targets", self.heap.push(targets)),
                    ("entries", entries),
                    ("_open", self.heap.push(Datum::Dict(Vec::new()))),
                ];
                let state = self.fields(&fields);
                let class = self.heap.push(global(&format!("{MODULE}.Cache")));
                let cache = self.heap.push(object(class, Vec::new(), Some(state)));
                self.objects.insert(memory, cache);
                cache
            }
        };
        let path = view.path.clone().map_or(Datum::None, Datum::Str);
        let fields = [("_cache", cache), ("_envoy", self.heap.push(Datum::None)), ("_path", self.heap.push(path))];
        let state = self.fields(&fields);
        let class = self.heap.push(global(&format!("{MODULE}.CacheView")));
        Ok(object(class, Vec::new(), Some(state)))
    }

    /// Makes the `__dict__` of an object.
    fn fields(&mut self, fields: &[(&str, Ref)]) -> Ref {
        let pairs = fields.iter().map(|(name, at)| (self.heap.push(Datum::Str((*name).into())), *at)).collect();
        self.heap.push(Datum::Dict(pairs))
    }

    fn output(&mut self, output: &ModelOutput) -> Result<Datum, Trouble> {
        let Some(declared) = ModelOutput::declared(output.class) else {
            return Err(Trouble::Unsendable(format!("an object of type '{}'", output.class)));
        };
        let mut args = Vec::with_capacity(declared.len());
        for name in declared {
            args.push(self.value(&output.field(name).unwrap_or(Value::None))?);
        }
        let (module, name) = output.class.rsplit_once('.').unwrap_or(("builtins", output.class));
        let class = self.heap.push(Datum::Global { module: module.into(), name: name.into() });
        Ok(Datum::Object { class, called: true, args, state: None, items: Vec::new(), pairs: Vec::new() })
    }

    fn spend(&mut self, bytes: u64) -> Result<(), Trouble> {
        self.machine.charge_fuel(1)?;
        self.budget = self.budget.checked_sub(bytes).ok_or(Trouble::TooLarge)?;
        Ok(())
    }
}

fn is_reduced(class: &Class) -> bool {
    reduced::is_reduced(class.module(), class.name())
}

/// Makes an object that is not called: its state says all of it.
fn object(class: Ref, args: Vec<Ref>, state: Option<Ref>) -> Datum {
    Datum::Object { class, called: false, args, state, items: Vec::new(), pairs: Vec::new() }
}

/// Makes what a class gives for some arguments.
fn called(class: Ref, args: Vec<Ref>) -> Datum {
    Datum::Object { class, called: true, args, state: None, items: Vec::new(), pairs: Vec::new() }
}

/// Names something importable by its path.
fn global(path: &str) -> Datum {
    let (module, name) = path.rsplit_once('.').unwrap_or(("builtins", path));
    Datum::Global { module: module.into(), name: name.into() }
}
