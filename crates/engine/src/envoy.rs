//! `model`, `model.transformer.h[0]`, …: the modules of a model as a block sees them.

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::types::opaque::Opaque;
use interpreter::{
    Args, Class, Effect, HostObject, HostResult, Iteration, Machine, Method, Operator, Outcome, Use, Value,
};
use program::Function;

use crate::ask::{Ask, View};
use crate::edit::{self, Edits};
use crate::job::JobState;
use crate::location::Location;
use crate::model::{Model, Schema, Site};
use crate::source::Source;
use crate::tokenizer::TokenizerObject;
use crate::tracer::{Iterations, TraceRequestParts, Tracer};
use crate::{forward_hooks, nnsight, parameters, python, shown};

/// A module of the model.
pub struct Envoy<M: Model> {
    job: Rc<JobState<M>>,
    place: Place,
    /// What its traces begin with, where they are its own; else they are those of all envoys of the module.
    edits: Option<Rc<Edits>>,
}

/// What an envoy stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    Module(Site),
    /// `model.generator`, through which nnsight passes generated ids.
    Generator,
    /// `model.generator.streamer`.
    Streamer,
}

impl Place {
    /// Finds what is at a path below the root: the model's modules and nnsight's own.
    pub fn of_path(schema: &Schema, path: &str) -> Option<Self> {
        Some(match path {
            "generator" => Self::Generator,
            "generator.streamer" => Self::Streamer,
            path => Self::Module(schema.site(path)?),
        })
    }
}

impl<M: Model> Envoy<M> {
    /// Stands for a module.
    pub fn new(job: &Rc<JobState<M>>, place: Place) -> Self {
        Self { job: Rc::clone(job), place, edits: None }
    }

    /// Makes the Python object of a module whose traces begin with edits.
    pub fn edited(job: &Rc<JobState<M>>, place: Place, edits: Rc<Edits>) -> Value {
        Value::Host(Rc::new(Self { edits: Some(edits), ..Self::new(job, place) }))
    }

    /// Returns what each of its traces begins with: an edit of a module holds for traces of that module alone.
    pub fn edits(&self) -> Rc<Edits> {
        match &self.edits {
            Some(edits) => Rc::clone(edits),
            None => self.job.given.edits(self.place),
        }
    }

    /// Makes the Python object of a module.
    pub fn value(job: &Rc<JobState<M>>, place: Place) -> Value {
        Value::Host(Rc::new(Self::new(job, place)))
    }

    /// Finds the envoy at a path below the root: the model's modules and nnsight's own.
    pub fn at(job: &Rc<JobState<M>>, path: &str) -> Option<Value> {
        Some(Self::value(job, Place::of_path(job.model.schema(), path)?))
    }

    /// Returns whether a value is the model, a part of it, or an imported module: blocks that use it leave no marks.
    pub fn is_model(value: &Value) -> bool {
        let Value::Host(host) = value else { return false };
        host.as_any().is::<Self>() || host.type_name() == "module"
    }

    /// Returns whether an object's method opens a trace.
    pub fn opens(object: &Value, method: &str) -> bool {
        python::host::<Self>(object)
            .is_some_and(|envoy| !envoy.job.given.has(envoy.place, method) && !envoy.job.hooks.any())
            && method == "trace"
    }

    /// Returns what the envoy stands for.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Returns the path that nnsight gives the module: `model.transformer.h.0`.
    pub fn path(&self) -> String {
        let below = match self.place {
            Place::Module(site) => {
                self.job.model.schema().module(site).map(|module| module.path.clone()).unwrap_or_default()
            }
            Place::Generator => "generator".into(),
            Place::Streamer => "generator.streamer".into(),
        };
        if below.is_empty() { "model".into() } else { format!("model.{below}") }
    }

    /// Returns the name of nnsight's class.
    fn of_nnsight(&self) -> &'static str {
        if self.is_root() { self.job.given.of_nnsight() } else { "Envoy" }
    }

    fn is_root(&self) -> bool {
        self.place == Place::Module(Site(0))
    }

    fn output(&self) -> Location {
        match self.place {
            Place::Module(site) => Location::Output(site),
            Place::Generator => Location::Generated,
            Place::Streamer => Location::Streamed,
        }
    }

    fn input(&self) -> Result<Location, Raise> {
        match self.place {
            Place::Module(site) => Ok(Location::Input(site)),
            Place::Generator | Place::Streamer => {
                Err(Raise::attribute_error(format!("`{}` shows its output only", self.path())))
            }
        }
    }

    fn children(&self) -> Vec<(String, Place)> {
        let mut children = Vec::new();
        match self.place {
            Place::Module(site) => {
                if let Some(module) = self.job.model.schema().module(site) {
                    children.extend(module.children.iter().map(|(name, site)| (name.clone(), Place::Module(*site))));
                }
                if self.is_root() {
                    children.push(("generator".into(), Place::Generator));
                }
            }
            Place::Generator => children.push(("streamer".into(), Place::Streamer)),
            Place::Streamer => {}
        }
        children
    }

    /// Returns the module under a name or an alias.
    pub fn child(&self, name: &str) -> Option<Value> {
        if let Some((_, place)) = self.children().into_iter().find(|(child, _)| child == name) {
            return Some(Self::value(&self.job, place));
        }
        let Place::Module(site) = self.place else { return None };
        let path = &self.job.model.schema().module(site)?.path;
        let aliased = self.job.aliased(path, name)?;
        Some(Self::value(&self.job, Place::Module(aliased)))
    }

    /// Returns one of the modules below by its number, counted from the end where that is negative.
    ///
    /// # Errors
    /// `AttributeError` where there are not so many, as nnsight looks for a module by its number's name.
    pub fn nth(&self, index: i64) -> Result<Value, Raise> {
        let children = self.children();
        let count = i64::try_from(children.len()).unwrap_or(i64::MAX);
        let at = if index < 0 { index.saturating_add(count) } else { index };
        let found = usize::try_from(at).ok().and_then(|at| children.get(at));
        found.map(|(_, place)| Self::value(&self.job, *place)).ok_or_else(|| {
            let path = self.path();
            Raise::attribute_error(format!(
                "'Envoy' object (nor its module) has attribute '{at}': `{path}` has {count} modules"
            ))
        })
    }

    /// Lists the modules directly below, with their names.
    pub fn below(&self) -> Vec<(String, Value)> {
        let value = |(name, place)| (name, Self::value(&self.job, place));
        self.children().into_iter().filter(|(_, place)| matches!(place, Place::Module(_))).map(value).collect()
    }

    fn child_values(&self) -> Vec<Value> {
        self.children().into_iter().map(|(_, place)| Self::value(&self.job, place)).collect()
    }

    /// Lists the envoys below and this one, children first, as nnsight's `modules()` does.
    fn walk(&self, found: &mut Vec<(String, Value)>) {
        for (_, place) in self.children() {
            Self::new(&self.job, place).walk(found);
        }
        found.push((self.path(), Self::value(&self.job, self.place)));
    }

    /// Opens a trace of this module by itself; its body arrives with the `with` statement.
    fn trace(&self, function: Function, args: &Args) -> HostResult {
        if self.job.interleaving() {
            return Err(Raise::value_error("Cannot open a trace while the model is already running."));
        }
        let Place::Module(site) = self.place else {
            return Err(Raise::value_error(format!("`{}` runs only as a part of generate()", self.path())));
        };
        let (args, kwargs, edits) = (args.positional.clone(), args.keyword.clone(), self.edits().all());
        let request = TraceRequestParts { function, site, args, kwargs, edits };
        Ok(Value::Host(Rc::new(Tracer {
            job: Rc::clone(&self.job),
            state: Rc::default(),
            request: RefCell::new(Some(request)),
        }))
        .into())
    }

    /// Requires that all of Hugging Face's modules are served that a method would list.
    fn whole(&self, method: &str) -> Result<(), Raise> {
        let path = self.path();
        let Some(absent) = self.job.model.schema().absent_below(path.strip_prefix("model").unwrap_or_default()) else {
            return Ok(());
        };
        let message = format!(
            "`{path}.{method}()` would list `model.{}`, which is not served by this server: {}; ask a module beside it",
            absent.path, absent.why
        );
        Err(Raise::new(interpreter::Kind::NotImplementedError, message))
    }

    /// Makes the error for a name that the module does not have.
    pub fn missing(&self, name: &str) -> Raise {
        let below = self.path();
        let below = below.strip_prefix("model").map(|path| path.strip_prefix('.').unwrap_or(path)).unwrap_or_default();
        let path = if below.is_empty() { name.to_owned() } else { format!("{below}.{name}") };
        match self.job.absent(&path) {
            Some(absent) => absent,
            None => self.job.given.missing(self.place, self.of_nnsight(), name),
        }
    }
}

impl<M: Model> HostObject for Envoy<M> {
    fn type_name(&self) -> Cow<'static, str> {
        self.of_nnsight().into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn effect(&self, machine: &Machine, name: &str, usage: Use<'_>) -> Effect {
        if self.job.given.has(self.place, name) {
            return Effect::Anything;
        }
        let child = self.child(name).is_some();
        if child && !matches!(usage, Use::Store) {
            return Effect::Looks;
        }
        if let Some(effect) = effect(self.job.model.schema(), name, usage) {
            return effect;
        }
        let attribute = match self.place {
            Place::Module(site) => self.job.model.attribute(machine, site, name),
            Place::Generator | Place::Streamer => None,
        };
        match usage {
            Use::Read if attribute.is_some() => Effect::Looks,
            _ => Effect::Anything,
        }
    }

    fn member(self: Rc<Self>, machine: &Machine, name: &str) -> Option<Value> {
        if self.job.given.has(self.place, name) {
            return None;
        }
        if let Some(child) = self.child(name) {
            return Some(child);
        }
        match self.place {
            _ if name == "tokenizer" && self.is_root() => {
                Some(Value::Host(Rc::new(TokenizerObject::new(Rc::clone(&self.job)))))
            }
            Place::Module(site) => self.job.model.attribute(machine, site, name),
            Place::Generator | Place::Streamer => None,
        }
    }

    fn holds(&self) -> Option<Vec<Value>> {
        self.job.given.is_empty().then(Vec::new)
    }

    fn derived(&self) -> Option<Rc<Class>> {
        self.job.given.class(self.place)
    }

    fn own(&self, name: &str) -> Option<Value> {
        self.job.given.attribute(self.place, name)
    }

    fn class(&self) -> Option<Value> {
        let own = || (!self.is_root()).then(|| Opaque::named("nnsight.intervention.envoy.Envoy"));
        self.derived().map(Value::Class).or_else(own)
    }

    fn is_instance(&self, class: &str) -> bool {
        class == "Envoy" || (self.is_root() && CLASSES.contains(&class))
    }

    fn get_attribute(self: Rc<Self>, machine: &Machine, name: &str) -> HostResult {
        match name {
            "output" => {
                self.warn_of_generator(machine)?;
                return self.job.read(self.output(), View::Whole);
            }
            "input" => return self.job.read(self.input()?, View::FirstArgument),
            "inputs" => return self.job.read(self.input()?, View::Whole),
            "path" => return Ok(Value::string(self.path()).into()),
            "iter" => {
                nnsight::deprecated(machine, "model.iter is deprecated; use tracer.iter instead.")?;
                return Ok(Value::Host(Rc::new(Iterations::open(Rc::clone(&self.job)))).into());
            }
            "source" => {
                let Place::Module(site) = self.place else { return Err(self.missing(name)) };
                return Source::open(&self.job, site, &self.path()).map(Outcome::Ready);
            }
            "tokenizer" if self.is_root() => {
                return Ok(Value::Host(Rc::new(TokenizerObject::new(Rc::clone(&self.job)))).into());
            }
            _ => {}
        }
        if let Some(own) = self.own(name) {
            return Ok(own.into());
        }
        if let Some(child) = self.child(name) {
            return Ok(child.into());
        }
        // Methods have precedence over what the wrapped module has.
        if METHODS.contains(&name) || parameters::METHODS.contains(&name) {
            let name = name.to_owned();
            let envoy = Rc::clone(&self);
            return Ok(Value::native("method", move |machine, args| {
                match Rc::clone(&envoy).perform(machine, &name, &args)? {
                    Outcome::NotImplemented => Err(envoy.missing(&name)),
                    outcome => Ok(outcome),
                }
            })
            .into());
        }
        let Place::Module(site) = self.place else { return Err(self.missing(name)) };
        self.job.model.attribute(machine, site, name).map(Outcome::Ready).ok_or_else(|| self.missing(name))
    }

    fn set_attribute(self: Rc<Self>, machine: &Machine, name: &str, value: Value) -> HostResult {
        match name {
            "output" => {
                self.warn_of_generator(machine)?;
                self.job.write(self.output(), value)
            }
            "input" => {
                let location = self.input()?;
                self.job.ask(location, Ask::WriteFirst(location, value))
            }
            "inputs" => self.job.write(self.input()?, value),
            name if self.is_of_model(machine, name) => Err(Raise::attribute_error(format!(
                "`{}.{name}` cannot be set: a request cannot change the hosted model",
                self.path()
            ))),
            name => {
                self.job.given.set(machine, self.place, name, value)?;
                Ok(Value::None.into())
            }
        }
    }

    fn call_method(self: Rc<Self>, machine: &Machine, name: &str, args: &Args) -> HostResult {
        match self.job.given.has(self.place, name) {
            true => Ok(Outcome::NotImplemented),
            false => self.perform(machine, name, args),
        }
    }

    fn call(self: Rc<Self>, machine: &Machine, mut args: Args) -> HostResult {
        if let Some(own) = self.special("__call__") {
            return machine.call_now(&own, args);
        }
        if let Some(at) = args.keyword.iter().position(|(name, _)| &**name == "hook") {
            match args.keyword.swap_remove(at).1 {
                Value::Bool(false) => {}
                _ => {
                    return Err(Raise::value_error(format!(
                        "{}(…, hook=True) is not supported by this server: what a module of the model shows is its own \
                         place in the forward pass; call it without hook",
                        self.path()
                    )));
                }
            }
        }
        let Place::Module(site) = self.place else {
            return Err(Raise::type_error(format!("`{}` cannot be called", self.path())));
        };
        if let Some(adapter) = self.job.adapter.get() {
            adapter.leave(self.job.model.schema(), site, &format!("calling `{}`", self.path()))?;
        }
        self.job.hooks.leave(self.job.model.schema(), site, &format!("calling `{}`", self.path()))?;
        self.job.model.call_module(machine, site, &args, self.job.attention).map(Outcome::Ready)
    }

    fn get_item(self: Rc<Self>, machine: &Machine, key: &Value) -> HostResult {
        if let Some(own) = self.special("__getitem__") {
            return machine.call_now(&own, Args { positional: vec![key.clone()], keyword: Vec::new() });
        }
        let children = self.child_values();
        if python::slice_bounds(key).is_some() || matches!(key, Value::Slice(_)) {
            let list = python::list(machine, children)?;
            return python::index(machine, &list, key);
        }
        if let Some(name) = python::string(key) {
            return self.child(&name).map(Outcome::Ready).ok_or_else(|| self.missing(&name));
        }
        let exact = match key {
            Value::Host(object) => object.integer(machine, true)?,
            _ => None,
        };
        let index = exact
            .as_ref()
            .unwrap_or(key)
            .as_int()
            .ok_or_else(|| Raise::type_error("a module is indexed by an int, a str or a slice"))?;
        self.nth(index).map(Outcome::Ready)
    }

    fn length(&self, _machine: &Machine) -> Result<Option<usize>, Raise> {
        self.refuse_special("__len__")?;
        Ok(Some(self.children().len()))
    }

    fn truth(&self, _machine: &Machine) -> Result<Option<bool>, Raise> {
        ["__bool__", "__len__"].into_iter().try_for_each(|name| self.refuse_special(name))?;
        Ok(Some(true))
    }

    fn contains(self: Rc<Self>, _machine: &Machine, _element: &Value) -> HostResult {
        self.refuse_special("__contains__")?;
        Ok(Outcome::NotImplemented)
    }

    fn iterate(self: Rc<Self>, _machine: &Machine) -> Result<Option<Box<dyn Iteration>>, Raise> {
        self.refuse_special("__iter__")?;
        Ok(Some(python::iterate_all(self.child_values())))
    }

    fn binary(self: Rc<Self>, _machine: &Machine, operator: Operator, _: &Value, _: bool) -> HostResult {
        if matches!(operator, Operator::Equal | Operator::NotEqual) {
            self.refuse_special("__eq__")?;
        }
        Ok(Outcome::NotImplemented)
    }

    fn repr(&self, machine: &Machine) -> Result<Option<String>, Raise> {
        ["__repr__", "__str__"].into_iter().try_for_each(|name| self.refuse_special(name))?;
        shown::shown(machine, &self.job, self.place).map(Some)
    }
}

impl<M: Model> Envoy<M> {
    /// Warns where the output is read that `tracer.result` is.
    fn warn_of_generator(&self, machine: &Machine) -> Result<(), Raise> {
        match self.place {
            Place::Generator => nnsight::deprecated(
                machine,
                "model.generator.output is deprecated; use tracer.result instead (model.generator.streamer.output still \
                 gives per-step tokens).",
            ),
            Place::Module(_) | Place::Streamer => Ok(()),
        }
    }

    /// Returns whether a name means something of the hosted model, or of nnsight.
    fn is_of_model(&self, machine: &Machine, name: &str) -> bool {
        let module = match self.place {
            Place::Module(site) => self.job.model.attribute(machine, site, name).is_some(),
            Place::Generator | Place::Streamer => false,
        };
        let known = ["path", "iter", "source", "tokenizer"].contains(&name) || METHODS.contains(&name);
        module || known || parameters::METHODS.contains(&name) || self.child(name).is_some()
    }

    /// Returns a special method of the program's class, bound.
    fn special(self: &Rc<Self>, name: &str) -> Option<Value> {
        let function = self.derived()?.find(name)?;
        Some(Value::Method(Rc::new(Method { function, receiver: Value::Host(Rc::clone(self) as Rc<dyn HostObject>) })))
    }

    /// Refuses what a program's class answers otherwise than the model does, where it is not asked.
    fn refuse_special(&self, name: &str) -> Result<(), Raise> {
        match self.derived() {
            Some(class) if class.find(name).is_some() => Err(Raise::type_error(format!(
                "{name} of your class {} is not supported by this server where it is the model's: give the method another \
                 name",
                class.name()
            ))),
            _ => Ok(()),
        }
    }

    /// Does what a method of nnsight's does.
    fn perform(self: Rc<Self>, machine: &Machine, name: &str, args: &Args) -> HostResult {
        match name {
            "trace" => self.trace(Function::Call, args),
            "generate" if self.is_root() => self.trace(Function::Generate, args),
            // It computes in earnest, which costs more and shows the same shapes.
            "scan" if self.is_root() => self.trace(Function::Call, args),
            "edit" => {
                let kept = || self.job.given.keep_edits(self.place);
                edit::open(&self.job, self.place, &self.edits.clone().unwrap_or_else(kept), args)
            }
            "clear_edits" => {
                self.edits().clear();
                Ok(Value::None.into())
            }
            name if forward_hooks::METHODS.contains(&name) => {
                let Place::Module(site) = self.place else { return Err(self.missing(name)) };
                self.job.hooks.register(machine, site, name, args.clone())
            }
            "skip" => {
                let Place::Module(site) = self.place else { return Err(self.missing(name)) };
                let value = python::parameter(args, 0, "replacement")
                    .ok_or_else(|| Raise::type_error("skip() missing 1 required positional argument: 'replacement'"))?;
                if let Some(adapter) = self.job.adapter.get().filter(|adapter| adapter.adapts(site)) {
                    adapter.leave(self.job.model.schema(), site, &format!("skipping `{}`", self.path()))?;
                }
                let location = Location::Skip(site);
                self.job.ask(location, Ask::Skip(location, value))
            }
            "all" => {
                nnsight::deprecated(machine, "model.all() is deprecated; use tracer.all() instead.")?;
                Ok(Value::Host(Rc::new(Iterations::open(Rc::clone(&self.job)))).into())
            }
            "get" => {
                let path = python::parameter(args, 0, "path")
                    .and_then(|path| python::string(&path))
                    .ok_or_else(|| Raise::type_error("get() takes a dotted path"))?;
                let machine = machine.clone();
                Ok(Outcome::Later(Box::pin(async move {
                    let mut object = Value::Host(self);
                    for part in path.split('.') {
                        object = machine.get_attribute(&object, part).await?;
                    }
                    Ok(object)
                })))
            }
            "modules" | "named_modules" => {
                self.whole(name)?;
                let named = name == "named_modules"
                    || python::parameter(args, 1, "names").is_some_and(|names| matches!(names, Value::Bool(true)));
                let filter = python::parameter(args, 0, "include_fn").filter(|filter| !matches!(filter, Value::None));
                let machine = machine.clone();
                Ok(Outcome::Later(Box::pin(async move {
                    let mut found = Vec::new();
                    self.walk(&mut found);
                    let mut list = Vec::new();
                    for (path, envoy) in found {
                        if let Some(filter) = &filter {
                            let kept = machine
                                .call(filter, Args { positional: vec![envoy.clone()], keyword: Vec::new() })
                                .await?;
                            if !interpreter::operators::truth(&machine, &kept).await? {
                                continue;
                            }
                        }
                        list.push(if named { Value::tuple(vec![Value::string(path), envoy]) } else { envoy });
                    }
                    python::list(&machine, list)
                })))
            }
            "pipe" if self.is_root() => self.trace(Function::Pipe, args),
            "pipe" | "session" | "to" | "cpu" | "cuda" | "next" => {
                Err(Raise::attribute_error(format!("`{}.{name}` is not supported by this server", self.path())))
            }
            name if parameters::METHODS.contains(&name) => {
                let Place::Module(site) = self.place else { return Err(self.missing(name)) };
                if parameters::LISTS.contains(&name) {
                    self.whole(name)?;
                }
                let job = Rc::clone(&self.job);
                parameters::call(&job, machine, &Value::Host(self), site, name, args).map(Outcome::Ready)
            }
            _ => Ok(Outcome::NotImplemented),
        }
    }
}

/// Says what using a name of a model's envoys does, whichever it is; `None` for names that none of them has.
pub fn effect(schema: &Schema, name: &str, usage: Use<'_>) -> Option<Effect> {
    match (name, usage) {
        ("output" | "input" | "inputs", Use::Store) => Some(Effect::Changes),
        (_, Use::Store) => None,
        ("skip", Use::Call { .. }) => Some(Effect::Changes),
        ("output" | "input" | "inputs" | "path" | "tokenizer" | "generator" | "streamer", _) => Some(Effect::Looks),
        // The model's modules only compute.
        ("__call__" | "get" | "modules" | "named_modules", _) => Some(Effect::Looks),
        (name, _) if parameters::METHODS.contains(&name) => Some(Effect::Anything),
        (name, _) if METHODS.contains(&name) || matches!(name, "iter" | "source") => Some(Effect::Anything),
        (name, _) => schema.has_child(name).then_some(Effect::Looks),
    }
}

const METHODS: [&str; 15] = [
    "register_forward_hook",
    "register_forward_pre_hook",
    "trace",
    "generate",
    "skip",
    "all",
    "get",
    "modules",
    "named_modules",
    "scan",
    "edit",
    "clear_edits",
    "pipe",
    "session",
    "next",
];

/// Names of nnsight's classes of whole models.
const CLASSES: [&str; 8] = [
    "TransformersModel",
    "LanguageModel",
    "VisionLanguageModel",
    "HuggingFaceModel",
    "Remotable",
    "Meta",
    "Loadable",
    "NNsight",
];

/// Returns the name of one of nnsight's classes of whole models.
pub fn class_of_model(module: &str, name: &str) -> Option<&'static str> {
    module.starts_with("nnsight.").then(|| CLASSES.into_iter().find(|class| *class == name)).flatten()
}

/// A class of nnsight's for models or their modules: to derive from and to ask `isinstance` about.
pub struct EnvoyClass(&'static str);

impl EnvoyClass {
    /// Returns the class of a name.
    pub fn named(name: &str) -> Option<Value> {
        let name = CLASSES.into_iter().chain(["Envoy"]).find(|class| *class == name)?;
        Some(Value::Host(Rc::new(Self(name))))
    }

    fn refuse<R>(&self) -> Result<R, Raise> {
        Err(Raise::runtime_error(format!("a {} is made in your program, not in a block", self.0)))
    }
}

impl HostObject for EnvoyClass {
    fn type_name(&self) -> Cow<'static, str> {
        "type".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn class_name(&self) -> Option<Cow<'static, str>> {
        Some(self.0.into())
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn get_attribute(self: Rc<Self>, _machine: &Machine, name: &str) -> HostResult {
        Ok(match name {
            "__name__" | "__qualname__" => Value::from(self.0).into(),
            _ => Outcome::NotImplemented,
        })
    }

    fn call(self: Rc<Self>, _machine: &Machine, _args: Args) -> HostResult {
        self.refuse()
    }

    fn initialize_instance(self: Rc<Self>, _machine: &Machine, _instance: &Value, _args: Args) -> HostResult {
        self.refuse()
    }

    fn repr(&self, _machine: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(format!("<class 'nnsight.{}'>", self.0)))
    }
}
