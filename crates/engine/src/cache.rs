//! `tracer.cache(…)`: what modules were given and gave, kept as a run reaches them.

use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::types::charge::Charge;
use interpreter::{Args, Coroutine, HostObject, HostResult, Machine, Outcome, Step, Value};

use crate::envoy::{Envoy, Place};
use crate::job::JobState;
use crate::location::Location;
use crate::mediator::deferred;
use crate::model::{Model, Site, Tensor};
use crate::output::ModelOutput;
use crate::python;

/// What a block asked to have kept, and what was.
pub struct Cache {
    /// What the client's class says of itself: `device`, `dtype`, `detach` and so on, in its order.
    settings: Settings,
    /// Where to look, and which module that is.
    places: HashMap<Location, usize>,
    modules: RefCell<Modules>,
    /// Bytes that it takes beside its tensors, and what is charged for them.
    bytes: Cell<u64>,
    charge: Charge,
}

/// Bytes charged for a cache, for each module that it looks at, and for each visit of one.
const CACHE: u64 = 1024;
const MODULE: u64 = 320;
const VISIT: u64 = 160;

/// How values are kept.
pub struct Settings {
    /// Paths that were asked for; `None` for all modules.
    pub targets: Option<Vec<String>>,
    pub device: Value,
    pub dtype: Value,
    pub detach: bool,
    pub include_output: bool,
    pub include_inputs: bool,
    pub non_blocking: bool,
}

#[derive(Default)]
struct Modules {
    all: Vec<Module>,
    /// Those that were reached, in the order in which they first were.
    reached: Vec<usize>,
}

struct Module {
    path: Rc<str>,
    visits: Vec<Entry>,
    /// Whether the newest visit has its inputs, and its output.
    filled: (bool, bool),
}

/// One visit of a module. What was not kept is `None`.
#[derive(Clone)]
pub struct Entry {
    pub output: Value,
    pub inputs: Value,
}

impl Entry {
    /// Returns the first argument, as `.input` of a module is.
    fn input(&self) -> Value {
        let Some(parts) = python::sequence(&self.inputs) else { return Value::None };
        let positional = parts.first().and_then(python::sequence).unwrap_or_default();
        let named = || parts.get(1).map(python::items).unwrap_or_default().into_iter().map(|(_, value)| value);
        positional.into_iter().chain(named()).next().unwrap_or(Value::None)
    }
}

impl Cache {
    /// Begins to keep what modules, or all, give.
    ///
    /// # Errors
    /// `ValueError` for an operation inside a module.
    pub fn new<M: Model>(job: &Rc<JobState<M>>, machine: &Machine, settings: Settings) -> Result<Self, Raise> {
        let schema = job.model.schema();
        let all = || {
            let sites = (0..u32::try_from(schema.modules.len()).unwrap_or(u32::MAX)).map(Site);
            let own = [Place::Generator, Place::Streamer];
            sites.map(Place::Module).chain(own).map(|place| Some((Envoy::new(job, place).path(), place))).collect()
        };
        let named = |paths: &Vec<String>| {
            let find = |path: &String| {
                let value = match path.strip_prefix("model") {
                    Some("") => Envoy::at(job, ""),
                    Some(below) => below.strip_prefix('.').and_then(|below| Envoy::at(job, below)),
                    None => None,
                };
                value.as_ref().and_then(python::host::<Envoy<M>>).map(|envoy| (path.clone(), envoy.place()))
            };
            paths.iter().map(find).collect::<Vec<_>>()
        };
        let found: Vec<_> = settings.targets.as_ref().map_or_else(all, named);
        if let Some(path) = settings.targets.iter().flatten().find(|path| path.contains(".source.")) {
            return Err(Raise::value_error(format!(
                "tracer.cache() keeps modules; read the operation `{path}` in the block instead"
            )));
        }
        let (mut places, mut modules) = (HashMap::new(), Modules::default());
        // A name that no module has is never reached, as with local nnsight.
        for (path, place) in found.into_iter().flatten() {
            let index = modules.all.len();
            let (input, output) = match place {
                Place::Module(site) => (Some(Location::Input(site)), Location::Output(site)),
                Place::Generator => (None, Location::Generated),
                Place::Streamer => (None, Location::Streamed),
            };
            if settings.include_output || input.is_none() {
                places.insert(output, index);
            }
            if let Some(input) = input.filter(|_| settings.include_inputs) {
                places.insert(input, index);
            }
            modules.all.push(Module { path: path.into(), visits: Vec::new(), filled: (false, false) });
        }
        let (bytes, charge) = (CACHE + MODULE * modules.all.len() as u64, Charge::default());
        charge.cover(machine, bytes)?;
        Ok(Self { settings, places, modules: RefCell::new(modules), bytes: Cell::new(bytes), charge })
    }

    /// Takes a cache that was filled before, and keeps no more.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn filled(machine: &Machine, settings: Settings, entries: Vec<(Rc<str>, Vec<Entry>)>) -> Result<Self, Raise> {
        let visits: usize = entries.iter().map(|(_, visits)| visits.len()).sum();
        let bytes = CACHE + MODULE * entries.len() as u64 + VISIT * visits as u64;
        let charge = Charge::default();
        charge.cover(machine, bytes)?;
        let reached = (0..entries.len()).collect();
        let all = entries.into_iter().map(|(path, visits)| Module { path, visits, filled: (true, true) }).collect();
        let modules = RefCell::new(Modules { all, reached });
        Ok(Self { settings, places: HashMap::new(), modules, bytes: Cell::new(bytes), charge })
    }

    /// Lists where there is something to keep.
    pub fn locations(&self) -> impl Iterator<Item = Location> {
        self.places.keys().copied()
    }

    /// Keeps what was shown at a location.
    ///
    /// # Errors
    /// What moving or converting a tensor raises.
    pub fn keep<M: Model>(
        &self,
        job: &Rc<JobState<M>>,
        machine: &Machine,
        location: Location,
        value: &Value,
    ) -> Result<(), Raise> {
        let Some(&index) = self.places.get(&location) else { return Ok(()) };
        machine.charge_fuel(1)?;
        self.bytes.set(self.bytes.get() + VISIT);
        self.charge.cover(machine, self.bytes.get())?;
        let value = self.kept(job, machine, value)?;
        match location {
            Location::Input(_) => self.note(index, value, true),
            // nnsight's own modules are called with what they give.
            Location::Generated | Location::Streamed => {
                if self.settings.include_inputs {
                    let args = Value::tuple(vec![value.clone()]);
                    self.note(index, Value::tuple(vec![args, python::dict(machine, Vec::new())?]), true);
                }
                if self.settings.include_output {
                    self.note(index, value, false);
                }
            }
            _ => self.note(index, value, false),
        }
        Ok(())
    }

    fn note(&self, index: usize, value: Value, input: bool) {
        let mut modules = self.modules.borrow_mut();
        let Modules { all, reached } = &mut *modules;
        let Some(module) = all.get_mut(index) else { return };
        let Module { visits, filled, .. } = module;
        if visits.is_empty() {
            reached.push(index);
        }
        let taken = if input { filled.0 } else { filled.1 };
        if visits.is_empty() || taken {
            visits.push(Entry { output: Value::None, inputs: Value::None });
            *filled = (false, false);
        }
        let (slot, filled) = match visits.last_mut() {
            Some(entry) if input => (&mut entry.inputs, &mut filled.0),
            Some(entry) => (&mut entry.output, &mut filled.1),
            None => return,
        };
        *filled = true;
        *slot = value;
    }

    /// Returns a value with its tensors as they are to be kept.
    fn kept<M: Model>(&self, job: &Rc<JobState<M>>, machine: &Machine, value: &Value) -> Result<Value, Raise> {
        if M::Tensor::of_value(value).is_some() {
            return self.tensor(job, machine, value);
        }
        if let Some(output) = python::host::<ModelOutput>(value) {
            let fields = output.fields().into_iter();
            let fields = fields.map(|(name, field)| Ok((name, self.kept(job, machine, &field)?)));
            return Ok(Value::Host(Rc::new(ModelOutput::new(output.class, fields.collect::<Result<_, Raise>>()?))));
        }
        match value {
            Value::Tuple(items) => {
                Ok(Value::tuple(items.iter().map(|item| self.kept(job, machine, item)).collect::<Result<_, _>>()?))
            }
            Value::Dict(_) => {
                let pairs = python::items(value).into_iter();
                let pairs = pairs.map(|(key, value)| Ok((key, self.kept(job, machine, &value)?)));
                python::dict(machine, pairs.collect::<Result<_, Raise>>()?)
            }
            other => Ok(other.clone()),
        }
    }

    fn tensor<M: Model>(&self, job: &Rc<JobState<M>>, machine: &Machine, value: &Value) -> Result<Value, Raise> {
        let Settings { device, dtype, detach, non_blocking, .. } = &self.settings;
        let mut to = Args::default();
        for (name, value) in [("device", device), ("dtype", dtype)] {
            if !matches!(value, Value::None) {
                to.keyword.push((name.into(), value.clone()));
            }
        }
        if *non_blocking && !to.keyword.is_empty() {
            to.keyword.push(("non_blocking".into(), Value::Bool(true)));
        }
        let (tensor, detach, at) = (value.clone(), *detach, machine.clone());
        let changed = Box::pin(async move {
            let method = async |tensor: &Value, name: &str, args: Args| {
                let method = at.get_attribute(tensor, name).await?;
                at.call(&method, args).await
            };
            let tensor = if detach { method(&tensor, "detach", Args::default()).await? } else { tensor };
            if to.keyword.is_empty() { Ok(tensor) } else { method(&tensor, "to", to).await }
        });
        let mut coroutine = Coroutine::of_future(machine, changed);
        let mut answer = None;
        loop {
            match coroutine.resume(answer.take()) {
                Step::Done(result) => return result,
                Step::Waiting(request) => answer = Some(job.turn.wait(|| deferred::<M::Tensor>(request.0))),
            }
        }
    }

    /// Returns how values are kept.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns what was kept, module by module.
    pub fn entries(&self) -> Vec<(Rc<str>, Vec<Entry>)> {
        let modules = self.modules.borrow();
        let reached = modules.reached.iter().filter_map(|&index| modules.all.get(index));
        reached.map(|module| (Rc::clone(&module.path), module.visits.clone())).collect()
    }

    fn visits(&self, path: &str) -> Option<Vec<Entry>> {
        let modules = self.modules.borrow();
        let mut reached = modules.reached.iter().filter_map(|&index| modules.all.get(index));
        reached.find(|module| &*module.path == path).map(|module| module.visits.clone())
    }
}

/// What `tracer.cache(…)` gives: a cache seen from a module, or from above the model.
pub struct CacheView<M: Model> {
    job: Rc<JobState<M>>,
    pub cache: Rc<Cache>,
    /// The module's path, where the view is of one.
    pub path: Option<String>,
    /// The module, where the view came to it by its tree.
    envoy: Option<Value>,
}

impl<M: Model> CacheView<M> {
    /// Sees a cache from above the model.
    pub fn value(job: &Rc<JobState<M>>, cache: &Rc<Cache>) -> Value {
        Self::of(job, cache, None)
    }

    /// Sees a cache from above the model, or from a module at a path.
    pub fn of(job: &Rc<JobState<M>>, cache: &Rc<Cache>, path: Option<String>) -> Value {
        Value::Host(Rc::new(Self { job: Rc::clone(job), cache: Rc::clone(cache), path, envoy: None }))
    }

    fn at(&self, envoy: Value) -> Result<Value, Raise> {
        let Some(path) = python::host::<Envoy<M>>(&envoy).map(Envoy::path) else {
            return Err(Raise::attribute_error("a cache leads to modules only"));
        };
        let (job, cache) = (Rc::clone(&self.job), Rc::clone(&self.cache));
        Ok(Value::Host(Rc::new(Self { job, cache, path: Some(path), envoy: Some(envoy) })))
    }

    /// Returns the module under a name: below the one that is seen, or else the model or one of its parts.
    fn child(&self, name: &str) -> Result<Value, Raise> {
        let root = Envoy::value(&self.job, Place::Module(Site(0)));
        let from = match &self.envoy {
            None if name == "model" => return Ok(root),
            None => &root,
            Some(envoy) => envoy,
        };
        let Some(from) = python::host::<Envoy<M>>(from) else { return Err(Raise::attribute_error(name)) };
        match name.parse::<i64>() {
            Ok(index) if self.envoy.is_some() => from.nth(index),
            _ => from.child(name).ok_or_else(|| from.missing(name)),
        }
    }

    fn visits(&self) -> Result<Vec<Entry>, Raise> {
        let Some(path) = &self.path else {
            return Err(Raise::key_error(Value::string("the cache root is not a module")));
        };
        self.cache.visits(path).ok_or_else(|| Raise::key_error(Value::string(format!("'{path}' was not cached"))))
    }

    fn values(&self, machine: &Machine, part: impl Fn(&Entry) -> Value) -> HostResult {
        let values: Vec<Value> = self.visits()?.iter().map(part).collect();
        match values.as_slice() {
            [one] => Ok(one.clone().into()),
            _ => Ok(python::list(machine, values)?.into()),
        }
    }

    fn keys(&self) -> Vec<Rc<str>> {
        let below = |path: &str| {
            let Some(own) = &self.path else { return true };
            path.strip_prefix(own.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.cache.entries().into_iter().map(|(path, _)| path).filter(|path| below(path)).collect()
    }

    fn item(&self, key: &Value) -> Result<Value, Raise> {
        if let Some(index) = Value::as_int(key) {
            let envoy = self.envoy.as_ref().and_then(python::host::<Envoy<M>>);
            let envoy = envoy.ok_or_else(|| Raise::type_error("'NoneType' object is not subscriptable"))?;
            return self.at(envoy.nth(index)?);
        }
        let Some(name) = python::string(key) else {
            return Err(Raise::type_error("a cache is indexed by a module's path, or by a number"));
        };
        if !name.contains('.') {
            return self.at(self.child(&name)?);
        }
        let (job, cache) = (Rc::clone(&self.job), Rc::clone(&self.cache));
        if cache.visits(&name).is_some() {
            return Ok(Self::of(&job, &cache, Some(name)));
        }
        let mut view = Self::value(&job, &cache);
        for part in name.split('.') {
            let Some(at) = python::host::<Self>(&view) else { break };
            view = at.at(at.child(part)?)?;
        }
        Ok(view)
    }
}

impl<M: Model> HostObject for CacheView<M> {
    fn type_name(&self) -> Cow<'static, str> {
        "CacheView".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_attribute(self: Rc<Self>, machine: &Machine, name: &str) -> HostResult {
        match name {
            "output" => self.values(machine, |entry| entry.output.clone()),
            "inputs" => self.values(machine, |entry| entry.inputs.clone()),
            "input" => self.values(machine, Entry::input),
            "keys" => {
                Ok(Value::native("keys", move |machine, args| Rc::clone(&self).call_method(machine, "keys", &args))
                    .into())
            }
            // `save`, and what every object has.
            "save" => Ok(Outcome::NotImplemented),
            name if name.starts_with('_') => Ok(Outcome::NotImplemented),
            name => self.at(self.child(name)?).map(Into::into),
        }
    }

    fn call_method(self: Rc<Self>, machine: &Machine, name: &str, _args: &Args) -> HostResult {
        match name {
            "keys" => {
                let keys = self.keys().into_iter().map(Value::Str);
                Ok(python::list(machine, keys.collect())?.into())
            }
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn get_item(self: Rc<Self>, _machine: &Machine, key: &Value) -> HostResult {
        self.item(key).map(Into::into)
    }

    fn contains(self: Rc<Self>, _machine: &Machine, element: &Value) -> HostResult {
        let found = self.item(element).ok();
        let path = found.as_ref().and_then(python::host::<Self>).and_then(|view| view.path.clone());
        Ok(Value::Bool(path.is_some_and(|path| self.cache.visits(&path).is_some())).into())
    }

    fn length(&self, _machine: &Machine) -> Result<Option<usize>, Raise> {
        Ok(Some(self.visits()?.len()))
    }

    fn repr(&self, _machine: &Machine) -> Result<Option<String>, Raise> {
        let at = self.path.as_ref().map_or_else(|| "root".to_owned(), |path| format!("'{path}'"));
        let keys: Vec<String> = self.keys().iter().map(|key| format!("'{key}'")).collect();
        Ok(Some(format!("CacheView({at}, cached=[{}])", keys.join(", "))))
    }
}

/// Reads the arguments of `tracer.cache(…)`, whose list of modules has been gone through.
///
/// # Errors
/// `TypeError` for arguments that it does not have, or of other types; as [`Cache::new`].
pub fn open<M: Model>(
    job: &Rc<JobState<M>>,
    machine: &Machine,
    args: &Args,
    modules: Option<Vec<Value>>,
) -> Result<Value, Raise> {
    if let Some((name, _)) = args.keyword.iter().find(|(name, _)| !PARAMETERS.contains(&&**name)) {
        return Err(Raise::type_error(format!("cache() got an unexpected keyword argument '{name}'")));
    }
    if args.positional.len() > PARAMETERS.len() {
        return Err(Raise::type_error("cache() takes at most 7 arguments"));
    }
    let argument = |at: usize| python::parameter(args, at, PARAMETERS.get(at).copied().unwrap_or_default());
    let flag = |at: usize, default: bool| match argument(at) {
        None => Ok(default),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(_) => Err(Raise::type_error("cache() takes True or False where it switches something")),
    };
    let mut targets: Option<Vec<String>> = modules.is_some().then(Vec::new);
    for module in modules.into_iter().flatten() {
        let path = match (&module, python::host::<Envoy<M>>(&module)) {
            (_, Some(envoy)) => envoy.path(),
            (Value::Str(path), _) => path.to_string(),
            (other, None) => {
                let kind = interpreter::types::type_name(other);
                return Err(Raise::attribute_error(format!("'{kind}' object has no attribute 'path'")));
            }
        };
        targets = targets.map(|mut known| {
            if !known.contains(&path) {
                known.push(path);
            }
            known
        });
    }
    let device = match argument(1) {
        Some(device) => device,
        None => job
            .model
            .instance(machine, "torch.device", &[Value::string("cpu")], None)
            .transpose()?
            .unwrap_or(Value::None),
    };
    let settings = Settings {
        targets,
        device,
        dtype: argument(2).unwrap_or(Value::None),
        detach: flag(3, true)?,
        include_output: flag(4, true)?,
        include_inputs: flag(5, false)?,
        non_blocking: flag(6, false)?,
    };
    let mediator = job.mediator("tracer.cache()")?;
    if mediator.waited.get() {
        return Err(Raise::value_error("tracer.cache() must be declared before reading or modifying a model value"));
    }
    let cache = Rc::new(Cache::new(job, machine, settings)?);
    mediator.caches.borrow_mut().push(Rc::clone(&cache));
    let view = CacheView::value(job, &cache);
    job.save(&view);
    Ok(view)
}

const PARAMETERS: [&str; 7] =
    ["modules", "device", "dtype", "detach", "include_output", "include_inputs", "non_blocking"];
