//! A request's plain data, brought to life as Python values of one job.

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use interpreter::class::{Class, Decorated, Instance, Property};
use interpreter::frame::Frame;
use interpreter::function::{Defaults, Definition, Method};
use interpreter::raise::Raise;
use interpreter::{Args, Block, HostObject, HostResult, Machine, Outcome, Value};
use program::datum::{Decorator, Edit};
use program::decorated::{self, Made, Meaning, Names};
use program::{Datum, Heap, Program, Ref, TensorData};

use crate::batch_encoding::{self, BatchEncoding};
use crate::cache::{self, Cache, CacheView, Entry};
use crate::decorated::Coming;
use crate::edit::Edits;
use crate::encoding::Encoding;
use crate::envoy::{self, Envoy, Place};
use crate::job::JobState;
use crate::model::{Model, Site, Tensor};
use crate::nnsight::Nnsight;
use crate::output::ModelOutput;
use crate::python;
use crate::tokenizer::TokenizerObject;
use crate::tracer::{TraceState, Tracer};
use crate::turn::Reading;

/// Nesting of values beyond which a request is refused.
const DEPTH: usize = 500;

/// Makes values, each object once.
pub struct Thaw<'a, M: Model> {
    job: Rc<JobState<M>>,
    machine: Machine,
    heap: &'a Heap,
    made: Values,
    /// What several tensors look into.
    storages: HashMap<Ref, M::Tensor>,
    /// By source, name, file and line.
    definitions: HashMap<(Ref, &'a str, &'a str, u32), Definition>,
    tracer: Rc<TraceState>,
    depth: usize,
    program: &'a Program,
    /// What names mean in the request, once that was asked for.
    names: Option<Rc<Names<'a>>>,
    reading: Reading,
}

/// What was made of values so far: in pieces, which come and go one by one.
#[derive(Default)]
struct Values(Vec<Vec<Option<Value>>>);

impl Values {
    const PIECE: usize = 1 << 8;

    fn place(at: Ref) -> (usize, usize) {
        (at.0 as usize / Self::PIECE, at.0 as usize % Self::PIECE)
    }

    fn get(&self, at: &Ref) -> Option<&Value> {
        let (piece, place) = Self::place(*at);
        self.0.get(piece)?.get(place)?.as_ref()
    }

    fn insert(&mut self, at: Ref, value: Value) {
        let (piece, place) = Self::place(at);
        if self.0.len() <= piece {
            self.0.resize_with(piece + 1, Vec::new);
        }
        if let Some(piece) = self.0.get_mut(piece) {
            piece.resize(Self::PIECE, None);
            if let Some(place) = piece.get_mut(place) {
                *place = Some(value);
            }
        }
    }
}

/// What a container is given once it is made: elements to append, then keys to set.
#[derive(Clone, Copy)]
struct Contents<'a> {
    items: &'a [Ref],
    pairs: &'a [(Ref, Ref)],
}

impl<'a, M: Model> Thaw<'a, M> {
    /// Begins with an empty memory.
    pub fn new(job: &Rc<JobState<M>>, machine: &Machine, program: &'a Program, reading: Reading) -> Self {
        let heap = &program.heap;
        Self {
            job: Rc::clone(job),
            machine: machine.clone(),
            heap,
            made: Values::default(),
            storages: HashMap::new(),
            definitions: HashMap::new(),
            tracer: Rc::default(),
            depth: 0,
            program,
            names: None,
            reading,
        }
    }

    /// Ends the reading of a request, and begins what its code takes.
    ///
    /// # Errors
    /// As [`Thaw::pace`].
    pub fn end(mut self) -> Result<(), Raise> {
        while let Some(piece) = self.made.0.pop() {
            for value in piece {
                drop(value);
                self.pace()?;
            }
        }
        self.job.turn.begin();
        Ok(())
    }

    /// Notes that a value was read. Where that takes long, others have the thread, if the job is where it can be left.
    ///
    /// # Errors
    /// Fatal where the job is cancelled, or stopped from outside, meanwhile.
    fn pace(&self) -> Result<(), Raise> {
        if self.reading.is_due() {
            self.machine.rest()?;
            self.reading.go_on();
        }
        Ok(())
    }

    /// Returns the state behind the request's own `tracer`.
    pub fn tracer_state(&self) -> Rc<TraceState> {
        Rc::clone(&self.tracer)
    }

    /// Returns the module that a request traces, and what its traces begin with.
    ///
    /// # Errors
    /// `ValueError` for what runs in no trace of its own.
    pub fn traced(&mut self, at: Ref) -> Result<(Site, Vec<Block>), Raise> {
        let value = self.value(at)?;
        match python::host::<Envoy<M>>(&value).map(|envoy| (envoy.place(), envoy.edits())) {
            Some((Place::Module(site), edits)) => Ok((site, edits.all())),
            _ => Err(Raise::value_error("what the request traces is no module of the model")),
        }
    }

    /// Checks that the model has what the client's copy of it has.
    ///
    /// # Errors
    /// `UnknownPersistentIdError` for a module that the user attached.
    pub fn require_modules(&self, paths: &[String]) -> Result<(), Raise> {
        let schema = self.job.model.schema();
        // Requests name all modules, of which there are hundreds, in the model's order: each behind the one before.
        let mut next = 0;
        for path in paths {
            if schema.modules.get(next).is_some_and(|module| module.path == *path) {
                next += 1;
            } else if let Some(Site(index)) = schema.site(path) {
                next = index as usize + 1;
            } else if self.job.adapter.get().is_some_and(|adapter| adapter.has_path(schema, path)) {
                // PEFT keeps what it adapts there.
            } else if schema.absent(path).is_none() && Envoy::at(&self.job, path).is_none() {
                return Err(unknown_module(path));
            }
        }
        Ok(())
    }

    /// Returns the value at a reference.
    ///
    /// # Errors
    /// For data that makes no valid value: a class that cannot be built, source that does not parse, too deep nesting.
    pub fn value(&mut self, at: Ref) -> Result<Value, Raise> {
        if let Some(value) = self.made.get(&at) {
            return Ok(value.clone());
        }
        if self.depth >= DEPTH {
            return Err(Raise::value_error(format!("the request's values are nested more than {DEPTH} deep")));
        }
        self.pace()?;
        self.depth += 1;
        let made = self.make(at);
        self.depth -= 1;
        let value = made?;
        self.made.insert(at, value.clone());
        Ok(value)
    }

    fn no_module(&self, path: &str) -> Raise {
        self.job.absent(path).unwrap_or_else(|| unknown_module(path))
    }

    fn values(&mut self, all: &[Ref]) -> Result<Vec<Value>, Raise> {
        all.iter().map(|at| self.value(*at)).collect()
    }

    fn named(&mut self, all: &[(String, Ref)]) -> Result<Vec<(Rc<str>, Value)>, Raise> {
        all.iter().map(|(name, at)| Ok((Rc::from(name.as_str()), self.value(*at)?))).collect()
    }

    fn make(&mut self, at: Ref) -> Result<Value, Raise> {
        let heap = self.heap;
        let Some(datum) = heap.get(at) else {
            return Err(Raise::value_error("the request refers to a value that it does not contain"));
        };
        Ok(match datum {
            Datum::None => Value::None,
            Datum::Ellipsis => Value::Ellipsis,
            Datum::NotImplemented => Value::NotImplemented,
            Datum::Bool(value) => Value::Bool(*value),
            Datum::Int(value) => Value::integer(value.clone()),
            Datum::Float(value) => Value::Float(*value),
            Datum::Complex(real, imaginary) => Value::Complex(*real, *imaginary),
            Datum::Str(text) => Value::string(text.as_str()),
            Datum::Bytes(bytes) => Value::Bytes((&**bytes).into()),
            Datum::List(items) => {
                let list = Value::list(Vec::new());
                self.made.insert(at, list.clone());
                for item in items {
                    let item = self.value(*item)?;
                    python::append(&self.machine, &list, item)?;
                }
                list
            }
            Datum::Tuple(items) => Value::tuple(self.values(items)?),
            Datum::Set(items) => {
                let items = self.values(items)?;
                python::set(&self.machine, items, false)?
            }
            Datum::FrozenSet(items) => {
                let items = self.values(items)?;
                python::set(&self.machine, items, true)?
            }
            Datum::Dict(pairs) => {
                let dict = Value::dict(Vec::<(Rc<str>, Value)>::new());
                self.made.insert(at, dict.clone());
                for (key, value) in pairs {
                    let (key, value) = (self.value(*key)?, self.value(*value)?);
                    python::insert(&self.machine, &dict, key, value)?;
                }
                dict
            }
            Datum::Range { start, stop, step } => {
                let bounds = [start, stop, step].map(|bound| Value::integer(bound.clone())).to_vec();
                self.construct("range", bounds)?
            }
            Datum::Slice { start, stop, step } => {
                let bounds = self.values(&[*start, *stop, *step])?;
                self.construct("slice", bounds)?
            }
            Datum::Tensor(_) | Datum::View { .. } => {
                let (tensor, requires_grad) = self.tensor(at, datum)?;
                tensor.leaf(requires_grad, false)?.to_value(&self.machine)
            }
            Datum::Parameter { tensor, requires_grad } => match heap.get(*tensor) {
                Some(datum @ (Datum::Tensor(_) | Datum::View { .. })) => {
                    let (inner, _) = self.tensor(*tensor, datum)?;
                    inner.leaf(*requires_grad, true)?.to_value(&self.machine)
                }
                _ => return Err(Raise::value_error("the request has a parameter without a tensor")),
            },
            Datum::Storage(_) => return Err(Raise::value_error("the request has memory where a value should be")),
            Datum::Array { data, scalar } => {
                self.machine.charge_tensor(u64::try_from(data.bytes.len()).unwrap_or(u64::MAX))?;
                let tensor = M::Tensor::of_data(data)?.to_value(&self.machine);
                let class = if *scalar { "numpy.generic" } else { "numpy.ndarray" };
                match self.job.model.instance(&self.machine, class, &[tensor], None) {
                    Some(array) => array?,
                    None => unsupported(class),
                }
            }
            Datum::Size(sizes) => {
                let sizes = Value::tuple(sizes.iter().copied().map(Value::Int).collect());
                match self.job.model.instance(&self.machine, "torch.Size", std::slice::from_ref(&sizes), None) {
                    Some(size) => size?,
                    None => sizes,
                }
            }
            Datum::DType(dtype) => self.global("torch", dtype.name()),
            Datum::Device(name) => {
                match self.job.model.instance(&self.machine, "torch.device", &[Value::string(name.as_str())], None) {
                    Some(device) => device?,
                    None => unsupported("torch.device"),
                }
            }
            Datum::Function { .. } => self.function(at, datum)?,
            Datum::Class { name, module, bases, attributes } => {
                let bases = self.values(bases)?;
                let class = Class::new(name.as_str(), module.as_str(), bases, Vec::new())?;
                let value = Value::Class(Rc::clone(&class));
                // Known before its methods are made: they refer to it through `super()`.
                self.made.insert(at, value.clone());
                for (name, attribute) in self.named(attributes)? {
                    class.set(name, attribute);
                }
                let revived = interpreter::modules::revive(&self.machine, &class)?;
                python::now(self.machine.settle(revived))?;
                value
            }
            Datum::Decorated { kind, functions } => {
                let mut functions = self.values(functions)?.into_iter().map(|function| match function {
                    Value::None => None,
                    function => Some(function),
                });
                let mut next = || functions.next().flatten();
                let decorated = match kind {
                    Decorator::Property => {
                        Decorated::Property(Property { getter: next(), setter: next(), deleter: next(), doc: None })
                    }
                    Decorator::StaticMethod => Decorated::StaticMethod(next().unwrap_or(Value::None)),
                    Decorator::ClassMethod => Decorated::ClassMethod(next().unwrap_or(Value::None)),
                };
                Value::Decorated(Rc::new(decorated))
            }
            Datum::Object { class, called, args, state, items, pairs } => {
                self.object(at, *class, *called, args, *state, Contents { items, pairs })?
            }
            Datum::Attribute { object, name } => {
                let object = self.value(*object)?;
                self.attribute(&object, name)?
            }
            Datum::Method { function, receiver } => {
                let (receiver, function) = (self.value(*receiver)?, self.value(*function)?);
                Value::Method(Rc::new(Method { function, receiver }))
            }
            Datum::Module(name) => {
                interpreter::import::module(&self.machine, name).unwrap_or_else(|| unsupported(name))
            }
            Datum::Global { module, name } => self.global(module, name),
            Datum::Envoy(envoy) => {
                for (alias, path) in &envoy.aliases {
                    let alias = below(envoy, alias);
                    let (parent, name) = alias.rsplit_once('.').unwrap_or(("", &alias));
                    self.job.alias(parent, name, below(envoy, path));
                }
                let place = Place::of_path(self.job.model.schema(), &envoy.path);
                let place = place.ok_or_else(|| self.no_module(&envoy.path))?;
                // Modules that have none of their own are shown in many places, and come of no copies.
                let (value, edits) = match envoy.path.is_empty() || !envoy.edits.is_empty() {
                    true => {
                        let edits = Rc::new(Edits::default());
                        (Envoy::edited(&self.job, place, Rc::clone(&edits)), edits)
                    }
                    false => (Envoy::value(&self.job, place), Rc::default()),
                };
                // Known before its edits are made, and what the program gave it: they name it.
                self.made.insert(at, value.clone());
                self.give(envoy)?;
                self.register(&envoy.edits, &edits)?;
                value
            }
            Datum::ModelModule { path } => Envoy::at(&self.job, path).ok_or_else(|| self.no_module(path))?,
            Datum::Tokenizer => Value::Host(Rc::new(TokenizerObject::new(Rc::clone(&self.job)))),
            Datum::Tracer => Value::Host(Rc::new(Tracer {
                job: Rc::clone(&self.job),
                state: Rc::clone(&self.tracer),
                request: RefCell::new(None),
            })),
            Datum::Opaque { what } => unsupported(what),
        })
    }

    /// Makes a function, with what decorated it before it was sent.
    fn function(&mut self, at: Ref, datum: &'a Datum) -> Result<Value, Raise> {
        let Datum::Function { source, name, filename, line, defaults, keyword_defaults, globals } = datum else {
            return Err(Raise::value_error("the request has no function where one should be"));
        };
        let variables = Rc::new(RefCell::default());
        let definition = self.definition(*source, name, filename, *line)?;
        let made = match decorated::as_it_stands(datum, definition.heading()) {
            true => Made::AsItStands,
            false => self.names().made(at, definition.heading()),
        };
        let decoration = match made {
            Made::AsItStands => None,
            Made::By(decoration) => Some(decoration),
            Made::Unknown(says) => return Ok(crate::decorated::unknown(name, says)),
        };
        let defaults = Defaults { positional: self.values(defaults)?, keyword: self.named(keyword_defaults)? };
        let function = definition.function(&self.machine, defaults, Rc::clone(&variables))?;
        // Known before its globals are made: a recursive function is among them.
        let coming = match &decoration {
            Some(_) => {
                let (coming, stand_in) = Coming::new(name);
                self.made.insert(at, stand_in);
                Some(coming)
            }
            None => {
                self.made.insert(at, function.clone());
                None
            }
        };
        let heap = self.heap;
        for (name, at) in globals {
            if decorated::is_of_wrapper(heap, filename, *at) {
                continue;
            }
            let value = self.value(*at)?;
            let before = variables.borrow_mut().insert(name.as_str().into(), value);
            drop(before);
        }
        let (Some(decoration), Some(coming)) = (decoration, coming) else { return Ok(function) };
        // Its names were looked up where its decorator is, which need not be where it is.
        let text = heap.text(*source).unwrap_or_default();
        let names: Vec<_> = self.names().in_text(text).collect();
        let unknown: Vec<_> = names.into_iter().filter(|(name, _)| !variables.borrow().contains_key(*name)).collect();
        for (name, at) in unknown {
            let value = self.value(at)?;
            let before = variables.borrow_mut().insert(name.into(), value);
            drop(before);
        }
        for (alias, path) in decorated::MODULES {
            if !variables.borrow().contains_key(alias)
                && let Some(module) = interpreter::import::module(&self.machine, path)
            {
                let before = variables.borrow_mut().insert(alias.into(), module);
                drop(before);
            }
        }
        let mut globals = crate::decorated::current(&variables);
        for (name, meaning) in &decoration.names {
            let value = match meaning {
                Meaning::Sent(at) => self.value(*at)?,
                Meaning::Module(path) => {
                    interpreter::import::module(&self.machine, path).unwrap_or_else(|| unsupported(path))
                }
                Meaning::Member(module, name) => self.global(module, name),
            };
            globals.push((name.as_str().into(), value));
        }
        let place = (name.as_str(), filename.as_str(), *line);
        let made = match crate::decorated::decorate(&self.machine, text, place, &decoration, &globals) {
            Ok(made) => made.unwrap_or(function),
            Err(raise) if raise.as_fatal().is_some() => return Err(raise),
            Err(raise) => {
                let says = format!(
                    "what @{} made of {name}() of line {line} is not known: applied here, it raised {raise}",
                    decoration.decorators.first().map(|decorator| decorator.path.as_str()).unwrap_or_default()
                );
                crate::decorated::unknown(name, says)
            }
        };
        coming.is(&made);
        Ok(made)
    }

    /// Returns what names mean in the request.
    fn names(&mut self) -> Rc<Names<'a>> {
        let program = self.program;
        Rc::clone(self.names.get_or_insert_with(|| Rc::new(Names::of(program))))
    }

    /// Adds edits that the program has registered.
    fn register(&mut self, registered: &'a [Edit], edits: &Edits) -> Result<(), Raise> {
        for Edit { source, locals, globals } in registered {
            let (locals, globals) = (self.named(locals)?, self.named(globals)?);
            edits.push(Frame::root(&self.machine, source, locals, globals)?);
        }
        Ok(())
    }

    /// Gives modules of the model what the program gave them.
    fn give(&mut self, envoy: &'a program::datum::Envoy) -> Result<(), Raise> {
        let job = Rc::clone(&self.job);
        for own in &envoy.own {
            let path = below(envoy, &own.path);
            let Some(place) = Place::of_path(job.model.schema(), &path) else { return Err(unknown_module(&path)) };
            match own.class.map(|at| (self.heap.get(at), at)) {
                Some((Some(Datum::Global { module, name }), _)) => match envoy::class_of_model(module, name) {
                    Some(name) => job.given.set_of_nnsight(name),
                    None => job.given.set_unsent(place, module, name),
                },
                Some((_, at)) => match self.value(at)? {
                    Value::Class(class) => job.given.set_class(place, &class),
                    _ => return Err(Raise::type_error(format!("model.{path} is of a class that is none"))),
                },
                None => {}
            }
            for (name, at) in &own.attributes {
                let value = self.value(*at)?;
                job.given.set(&self.machine, place, name, value)?;
            }
            if !own.edits.is_empty() {
                let edits = job.given.keep_edits(place);
                self.register(&own.edits, &edits)?;
            }
        }
        Ok(())
    }

    /// Reads the source of a function, once for all that have the same.
    fn definition(&mut self, source: Ref, name: &'a str, filename: &'a str, line: u32) -> Result<Definition, Raise> {
        let text =
            self.heap.text(source).ok_or_else(|| Raise::value_error("the request has a function without source"))?;
        let machine = &self.machine;
        let known = self.definitions.entry((source, name, filename, line));
        Ok(known.or_insert_with(|| Definition::read(machine, text, name, filename, line)).clone())
    }

    /// Makes a tensor of a request, and says whether gradients are recorded for it.
    fn tensor(&mut self, at: Ref, datum: &Datum) -> Result<(M::Tensor, bool), Raise> {
        let (storage, shape, strides, offset, requires_grad) = match datum {
            Datum::Tensor(data) => return Ok((self.memory(at, data)?, data.requires_grad)),
            Datum::View { storage, shape, strides, offset, requires_grad } => {
                (*storage, shape, strides, *offset, *requires_grad)
            }
            _ => return Err(Raise::value_error("the request has no tensor where one should be")),
        };
        let memory = match self.heap.get(storage) {
            Some(Datum::Storage(data)) => self.memory(storage, data)?,
            _ => return Err(Raise::value_error("the request has a tensor without memory")),
        };
        Ok((memory.strided(shape, strides, offset)?, requires_grad))
    }

    /// Makes the memory at a place once, where the model computes.
    fn memory(&mut self, at: Ref, data: &TensorData) -> Result<M::Tensor, Raise> {
        if let Some(memory) = self.storages.get(&at) {
            return Ok(memory.clone());
        }
        self.machine.charge_tensor(u64::try_from(data.bytes.len()).unwrap_or(u64::MAX))?;
        let memory = self.job.model.place(M::Tensor::of_data(data)?)?;
        self.storages.insert(at, memory.clone());
        Ok(memory)
    }

    fn object(
        &mut self,
        at: Ref,
        class: Ref,
        called: bool,
        args: &[Ref],
        state: Option<Ref>,
        contents: Contents<'_>,
    ) -> Result<Value, Raise> {
        let heap = self.heap;
        let Some(Datum::Global { module, name }) = heap.get(class).filter(|class| !is_of_dataclasses(class)) else {
            let class = self.value(class)?;
            return self.of_class(at, &class, (called, args), state, contents);
        };
        let path = format!("{module}.{name}");
        if path == batch_encoding::CLASS {
            let state = state.map(|state| self.value(state)).transpose()?;
            let fields = state.as_ref().and_then(python::string_items).unwrap_or_default();
            let field = |name: &str| fields.iter().find(|(other, _)| &**other == name).map(|(_, value)| value.clone());
            let data = match field("data") {
                Some(Value::Dict(data)) => data,
                _ => Rc::new(interpreter::Dict::new()),
            };
            let encodings = field("encodings").and_then(|list| python::sequence(&list));
            let encodings = encodings.map(|rows| rows.iter().map(encoding).collect::<Option<Vec<_>>>());
            return BatchEncoding::value(&self.machine, data, encodings.flatten().map(Rc::new));
        }
        if path == "nnsight.intervention.cache.CacheView" {
            return self.cache_view(state);
        }
        if path == "transformers.cache_utils.DynamicCache" {
            return self.cache_of_model(state);
        }
        if builtin_container(&path).is_none() {
            match self.global(module, name) {
                class @ Value::Class(_) => return self.of_class(at, &class, (called, args), state, contents),
                // What a standard module makes of arguments, as `logging.getLogger` does.
                function @ Value::Function(_) if called => {
                    let args = self.values(args)?;
                    return python::now(self.machine.call(&function, Args { positional: args, keyword: Vec::new() }));
                }
                _ => {}
            }
        }
        let args = self.values(args)?;
        if let Some(builtin) = builtin_container(&path) {
            // Containers from `collections` keep their constructor's arguments, then take items and pairs.
            let keyword = match state {
                // The state of a partial is its keyword arguments.
                Some(state) if path == "functools.partial" => {
                    python::string_items(&self.value(state)?).unwrap_or_default()
                }
                _ => Vec::new(),
            };
            let class = self.global(builtin.0, builtin.1);
            let made = python::now(self.machine.call(&class, Args { positional: args, keyword }))?;
            self.made.insert(at, made.clone());
            self.fill(&made, contents)?;
            return Ok(made);
        }
        if let Some((class, declared)) = ModelOutput::class(&path) {
            let fields = declared.iter().copied().zip(args).collect();
            return Ok(Value::Host(Rc::new(ModelOutput::new(class, fields))));
        }
        let state = state.map(|state| self.value(state)).transpose()?;
        Ok(match self.job.model.instance(&self.machine, &path, &args, state.as_ref()) {
            Some(instance) => instance?,
            None => unsupported(&path),
        })
    }

    /// Makes an object of a class that is evaluated here: one that the request brings, or the library's own.
    fn of_class(
        &mut self,
        at: Ref,
        class: &Value,
        (called, args): (bool, &[Ref]),
        state: Option<Ref>,
        contents: Contents<'_>,
    ) -> Result<Value, Raise> {
        let Value::Class(known) = class else { return Ok(unsupported("an object of an unknown class")) };
        let value = if called {
            let args = self.values(args)?;
            python::now(self.machine.call(class, Args { positional: args, keyword: Vec::new() }))?
        } else if known.builtin().is_some() {
            // What a tuple or a list is, it is from the start.
            let new = self.attribute(class, "__new__")?;
            let positional = std::iter::once(Ok(class.clone())).chain(args.iter().map(|at| self.value(*at)));
            let positional = positional.collect::<Result<_, Raise>>()?;
            python::now(self.machine.call(&new, Args { positional, keyword: Vec::new() }))?
        } else {
            Value::Instance(Instance::new(known))
        };
        self.made.insert(at, value.clone());
        self.fill(&value, contents)?;
        let (Some(state), Value::Instance(instance)) = (state, &value) else { return Ok(value) };
        let state = self.value(state)?;
        if known.lineage().any(|class| class.own("__setstate__").is_some()) {
            let set = self.attribute(&value, "__setstate__")?;
            python::now(self.machine.call(&set, Args { positional: vec![state], keyword: Vec::new() }))?;
            return Ok(value);
        }
        // Where the class has slots, they come beside the `__dict__`.
        let parts = match &state {
            Value::Tuple(pair) if pair.len() == 2 => pair.to_vec(),
            _ => vec![state],
        };
        for (name, attribute) in parts.iter().filter_map(python::string_items).flatten() {
            instance.set(name, attribute);
        }
        Ok(value)
    }

    /// Makes what `tracer.cache()` gave in an earlier request.
    fn cache_view(&mut self, state: Option<Ref>) -> Result<Value, Raise> {
        let view = self.attributes(state);
        let cache = view.get("_cache").map(|cache| self.attributes(self.state(*cache))).unwrap_or_default();
        let mut entries = Vec::new();
        if let Some(Datum::Dict(pairs)) = cache.get("entries").and_then(|entries| self.heap.get(*entries)) {
            for (path, visits) in pairs {
                let (Value::Str(path), Some(Datum::List(visits))) = (self.value(*path)?, self.heap.get(*visits)) else {
                    return Err(Raise::value_error("the request has a cache without paths"));
                };
                let mut all = Vec::with_capacity(visits.len());
                for visit in visits {
                    let entry = self.attributes(self.state(*visit));
                    let mut part = |name| entry.get(name).map_or(Ok(Value::None), |at| self.value(*at));
                    all.push(Entry { output: part("output")?, inputs: part("inputs")? });
                }
                entries.push((path, all));
            }
        }
        let mut setting = |name| cache.get(name).map_or(Ok(Value::None), |at| self.value(*at));
        let mut flag = |name| setting(name).map(|value| matches!(value, Value::Bool(true)));
        let settings = cache::Settings {
            detach: flag("detach")?,
            include_output: flag("include_output")?,
            include_inputs: flag("include_inputs")?,
            non_blocking: flag("non_blocking")?,
            targets: match setting("targets")? {
                Value::None => None,
                targets => Some(python::set_items(&targets).0.iter().filter_map(python::string).collect()),
            },
            device: setting("device")?,
            dtype: setting("dtype")?,
        };
        let cache = Rc::new(Cache::filled(&self.machine, settings, entries)?);
        let envoy = view.get("_envoy").map(|at| self.value(*at)).transpose()?;
        let path = view.get("_path").map(|at| self.value(*at)).transpose()?;
        let path = match envoy.as_ref().and_then(python::host::<Envoy<M>>) {
            Some(envoy) => Some(envoy.path()),
            None => path.as_ref().and_then(python::string),
        };
        Ok(CacheView::of(&self.job, &cache, path))
    }

    /// Makes a cache of keys and values for the model.
    fn cache_of_model(&mut self, state: Option<Ref>) -> Result<Value, Raise> {
        let mut layers = Vec::new();
        if let Some(Datum::List(all)) = self.attributes(state).get("layers").and_then(|layers| self.heap.get(*layers)) {
            for layer in all {
                let layer = self.attributes(self.state(*layer));
                let mut tensor = |name| match layer.get(name) {
                    Some(at) => Ok(M::Tensor::of_value(&self.value(*at)?)),
                    None => Ok::<_, Raise>(None),
                };
                // A layer that was never computed ends what there is.
                let (Some(keys), Some(values)) = (tensor("keys")?, tensor("values")?) else { break };
                layers.push((keys, values));
            }
        }
        self.job.model.cache_of(layers)
    }

    fn state(&self, at: Ref) -> Option<Ref> {
        match self.heap.get(at) {
            Some(Datum::Object { state, .. }) => *state,
            _ => None,
        }
    }

    /// Returns the entries of an object's `__dict__`.
    fn attributes(&self, state: Option<Ref>) -> HashMap<&'a str, Ref> {
        let Some(Datum::Dict(pairs)) = state.and_then(|state| self.heap.get(state)) else { return HashMap::new() };
        pairs.iter().filter_map(|(name, value)| Some((self.heap.text(*name)?, *value))).collect()
    }

    /// Puts the elements into a container that was made empty.
    fn fill(&mut self, container: &Value, contents: Contents<'_>) -> Result<(), Raise> {
        for item in contents.items {
            let item = self.value(*item)?;
            let append = self.attribute(container, "append")?;
            python::now(self.machine.call(&append, Args { positional: vec![item], keyword: Vec::new() }))?;
        }
        for (key, value) in contents.pairs {
            let (key, value) = (self.value(*key)?, self.value(*value)?);
            let set = interpreter::operators::set_item(&self.machine, container, &key, value)?;
            python::now(self.machine.settle(set))?;
        }
        Ok(())
    }

    /// Finds an importable object. One that is unknown is an error only when used.
    fn global(&self, module: &str, name: &str) -> Value {
        let found = match module {
            "builtins" => interpreter::builtins::lookup(name),
            module if module == "nnsight" || module.starts_with("nnsight.") => Nnsight::member(&self.job, name),
            _ => self
                .job
                .model
                .global(&self.machine, module, name)
                .or_else(|| interpreter::import::member(&self.machine, module, name)),
        };
        found.unwrap_or_else(|| {
            let alone = program::refusals::by_name_alone(module, name);
            unsupported(&alone.unwrap_or_else(|| format!("{module}.{name}")))
        })
    }

    fn attribute(&self, object: &Value, name: &str) -> Result<Value, Raise> {
        python::now(self.machine.get_attribute(object, name))
    }

    fn construct(&self, builtin: &str, args: Vec<Value>) -> Result<Value, Raise> {
        let class = self.global("builtins", builtin);
        python::now(self.machine.call(&class, Args { positional: args, keyword: Vec::new() }))
    }
}

/// Returns the path below the root of what has a path below an envoy.
fn below(envoy: &program::datum::Envoy, path: &str) -> String {
    match (envoy.path.as_str(), path) {
        ("", path) => path.to_owned(),
        (parent, "") => parent.to_owned(),
        (parent, path) => format!("{parent}.{path}"),
    }
}

/// Whether a class is one of those whose objects describe a dataclass.
fn is_of_dataclasses(class: &Datum) -> bool {
    matches!(class, Datum::Global { module, .. } if module == "dataclasses")
}

/// Makes the error for a module that the client attached to its own copy of the model.
fn unknown_module(path: &str) -> Raise {
    Raise::named(
        "nnsight.intervention.serialization.UnknownPersistentIdError",
        interpreter::Kind::Exception,
        format!(
            "Module:model.{path}: the hosted model has no such module; a module of your own can be sent as a variable \
             that the block uses, not as a part of the model"
        ),
    )
}

fn builtin_container(path: &str) -> Option<(&'static str, &'static str)> {
    Some(match path {
        "collections.OrderedDict" => ("collections", "OrderedDict"),
        "collections.Counter" => ("collections", "Counter"),
        "collections.defaultdict" => ("collections", "defaultdict"),
        "collections.deque" => ("collections", "deque"),
        "functools.partial" => ("functools", "partial"),
        _ => return None,
    })
}

/// Reads what `tokenizers.Encoding` was pickled to.
fn encoding(state: &Value) -> Option<Encoding> {
    match state {
        Value::Bytes(json) => serde_json::from_slice(json).ok(),
        _ => None,
    }
}

/// Makes a value that is an error only when used.
fn unsupported(what: &str) -> Value {
    Value::Host(Rc::new(Unsupported(what.to_owned())))
}

struct Unsupported(String);

impl Unsupported {
    fn refuse<R>(&self) -> Result<R, Raise> {
        Err(Raise::attribute_error(format!("{} is not supported by this server", self.0)))
    }
}

impl HostObject for Unsupported {
    fn type_name(&self) -> Cow<'static, str> {
        "unsupported object".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_attribute(self: Rc<Self>, _machine: &Machine, name: &str) -> HostResult {
        // `save` stays an error: what cannot be used cannot be returned either.
        let _ = name;
        self.refuse()
    }

    fn call(self: Rc<Self>, _machine: &Machine, _args: Args) -> HostResult {
        self.refuse()
    }

    fn get_item(self: Rc<Self>, _machine: &Machine, _key: &Value) -> HostResult {
        self.refuse()
    }

    fn iterate(self: Rc<Self>, _machine: &Machine) -> Result<Option<Box<dyn interpreter::Iteration>>, Raise> {
        self.refuse()
    }

    fn binary(
        self: Rc<Self>,
        _machine: &Machine,
        operator: interpreter::Operator,
        _other: &Value,
        _reflected: bool,
    ) -> HostResult {
        use interpreter::Operator::{Equal, NotEqual};
        if matches!(operator, Equal | NotEqual) { Ok(Outcome::NotImplemented) } else { self.refuse() }
    }
}
