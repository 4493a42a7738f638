//! `dataclasses`.

use std::rc::Rc;

use futures::future::LocalBoxFuture;

use crate::evaluation::operators::{self, later};
use crate::evaluation::{attribute, mapping};
use crate::library::modules::represent::represent;
use crate::library::modules::signature::{self, Parameter};
use crate::library::modules::{Members, class, copy, functions};
use crate::values::class::{Class, Instance};
use crate::values::exceptions;
use crate::values::host::{Args, HostResult, Operator, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::{Kind, Raise};
use crate::values::suspension::Nested;
use crate::values::types::{self, List, Type};
use crate::values::value::Value;

/// The attribute in which a class keeps its fields by name.
const FIELDS: &str = "__dataclass_fields__";

/// What the functions of this module share.
struct Module {
    field: Rc<Class>,
    missing: Value,
    frozen_error: Rc<Class>,
}

pub fn members(_: &Machine) -> Result<Members, Raise> {
    let missing = Instance::new(&class("_MISSING_TYPE", "dataclasses", vec![], &[], &[])?);
    let attribute_error = Value::Class(exceptions::class(Kind::AttributeError));
    let module = Rc::new(Module {
        field: class("Field", "dataclasses", vec![], &[("__repr__", show_field)], &[])?,
        missing: Value::Instance(missing),
        frozen_error: class("FrozenInstanceError", "dataclasses", vec![attribute_error], &[], &[])?,
    });
    let mut members = functions(&[
        ("asdict", |machine, args| export(machine, args, "asdict", "dict_factory")),
        ("astuple", |machine, args| export(machine, args, "astuple", "tuple_factory")),
        ("fields", |_, args| {
            let object = args.one("fields")?;
            match fields_of(&object) {
                Some(fields) => Ok(Value::tuple(fields.into_iter().filter(is_stored).collect()).into()),
                None => Err(Raise::type_error("must be called with a dataclass type or instance")),
            }
        }),
        ("is_dataclass", |_, args| Ok(Value::Bool(fields_of(&args.one("is_dataclass")?).is_some()).into())),
        ("replace", replace),
    ]);
    members.extend([
        ("Field", Value::Class(Rc::clone(&module.field))),
        ("FrozenInstanceError", Value::Class(Rc::clone(&module.frozen_error))),
        (
            "InitVar",
            Value::Class(class(
                "InitVar",
                "dataclasses",
                vec![],
                &[("__class_getitem__", |_, args| Ok(args.between("__class_getitem__", 2, 2)?.swap_remove(0).into()))],
                &[],
            )?),
        ),
        ("KW_ONLY", Value::Class(class("KW_ONLY", "dataclasses", vec![], &[], &[])?)),
        ("MISSING", module.missing.clone()),
    ]);
    let owner = Rc::clone(&module);
    members.push(("field", Value::native("field", move |machine, args| make_field(&owner, machine, args))));
    members.push((
        "dataclass",
        Value::native("dataclass", move |machine, mut args| {
            let decorated = (!args.positional.is_empty()).then(|| args.positional.remove(0));
            let options = Options::take(machine, args)?;
            if let Some(decorated) = decorated.filter(|decorated| !matches!(decorated, Value::None)) {
                return equip(&module, machine, decorated, options);
            }
            let module = Rc::clone(&module);
            Ok(Value::native("dataclass", move |machine, args| {
                equip(&module, machine, args.one("dataclass")?, options)
            })
            .into())
        }),
    ));
    Ok(members)
}

/// The arguments of `@dataclass`.
#[derive(Clone, Copy)]
struct Options {
    init: bool,
    repr: bool,
    eq: bool,
    order: bool,
    unsafe_hash: bool,
    frozen: bool,
    kw_only: bool,
}

impl Options {
    fn take(machine: &Machine, mut args: Args) -> Result<Self, Raise> {
        let mut flag = |name: &str, default: bool| match args.take_keyword(name) {
            Some(value) => operators::truth_sync(machine, &value),
            None => Ok(default),
        };
        let options = Self {
            init: flag("init", true)?,
            repr: flag("repr", true)?,
            eq: flag("eq", true)?,
            order: flag("order", false)?,
            unsafe_hash: flag("unsafe_hash", false)?,
            frozen: flag("frozen", false)?,
            kw_only: flag("kw_only", false)?,
        };
        // These change how objects are stored, not what they do.
        for name in ["slots", "match_args", "weakref_slot"] {
            flag(name, true)?;
        }
        args.no_more_keywords("dataclass")?;
        if options.order && !options.eq {
            return Err(Raise::value_error("eq must be true if order is true"));
        }
        Ok(options)
    }
}

/// One field, as the functions that are written for a class need it.
#[derive(Clone)]
struct Field {
    name: Rc<str>,
    default: Option<Value>,
    factory: Option<Value>,
    init: bool,
    repr: bool,
    compare: bool,
    hash: bool,
    kw_only: bool,
    /// Passed on to `__post_init__` and not stored.
    init_only: bool,
}

fn make_field(module: &Module, machine: &Machine, args: Args) -> HostResult {
    let names = ["default", "default_factory", "init", "repr", "hash", "compare", "metadata", "kw_only"];
    if !args.positional.is_empty() {
        let given = args.positional.len();
        return Err(Raise::type_error(format!("field() takes 0 positional arguments but {given} were given")));
    }
    let given = args.bind("field", names, 0)?;
    if given[0].is_some() && given[1].is_some() {
        return Err(Raise::value_error("cannot specify both default and default_factory"));
    }
    let field = Instance::new(&module.field);
    field.set("name", Value::None);
    field.set("type", Value::None);
    for (name, value) in names.into_iter().zip(given) {
        field.set(
            name,
            value.unwrap_or_else(|| match name {
                "default" | "default_factory" | "kw_only" => module.missing.clone(),
                "hash" => Value::None,
                "metadata" => Value::dict::<Rc<str>>([]),
                _ => Value::Bool(true),
            }),
        );
    }
    field.cover(machine)?;
    Ok(Value::Instance(field).into())
}

fn show_field(machine: &Machine, args: Args) -> HostResult {
    let object = args.one("__repr__")?;
    let parts = match &object {
        Value::Instance(field) => field
            .attributes()
            .into_iter()
            .filter(|(name, _)| !name.starts_with(' '))
            .map(|(name, value)| (Some(name), value))
            .collect(),
        _ => Vec::new(),
    };
    represent(machine, object, "Field".to_owned(), parts, "...".to_owned())
}

/// Marks a field object of an `InitVar`.
const INIT_ONLY: &str = " init_only";

fn is_stored(field: &Value) -> bool {
    !matches!(field, Value::Instance(field) if field.own(INIT_ONLY).is_some())
}

/// Returns the field objects of a dataclass or of an object of one.
fn fields_of(object: &Value) -> Option<Vec<Value>> {
    let class = match object {
        Value::Class(class) => class,
        Value::Instance(instance) => instance.class(),
        _ => return None,
    };
    match class.find(FIELDS)? {
        Value::Dict(fields) => Some(fields.values().into_vec()),
        _ => None,
    }
}

impl Module {
    fn read(&self, field: &Instance) -> Field {
        let given = |name: &str| field.own(name).filter(|value| !value.is(&self.missing));
        let flag = |name: &str| matches!(field.own(name), Some(Value::Bool(true)) | Some(Value::Int(1)));
        let compare = flag("compare");
        Field {
            name: field.own("name").as_ref().and_then(Value::as_str).unwrap_or_default().into(),
            default: given("default"),
            factory: given("default_factory"),
            init: flag("init"),
            repr: flag("repr"),
            compare,
            hash: match field.own("hash") {
                Some(Value::Bool(hash)) => hash,
                _ => compare,
            },
            kw_only: flag("kw_only"),
            init_only: field.own(INIT_ONLY).is_some(),
        }
    }

    /// Gathers the fields of the bases, then those that the class annotates.
    fn collect(&self, machine: &Machine, class: &Rc<Class>, options: Options) -> Result<Vec<(Rc<str>, Value)>, Raise> {
        let mut fields: Vec<(Rc<str>, Value)> = Vec::new();
        let mut insert = |name: Rc<str>, field: Value| match fields.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = field,
            None => fields.push((name, field)),
        };
        let bases: Vec<Rc<Class>> = class.lineage().skip(1).cloned().collect();
        for base in bases.iter().rev() {
            if let Some(Value::Dict(inherited)) = base.own(FIELDS) {
                for (name, field) in inherited.entries() {
                    insert(name.as_str().unwrap_or_default().into(), field);
                }
            }
        }
        let annotations = match class.own("__annotations__") {
            Some(Value::Dict(annotations)) => annotations.entries(),
            _ => Vec::new().into(),
        };
        let mut kw_only = options.kw_only;
        for (name, text) in annotations {
            let (Some(name), text) = (name.as_str().map(Rc::<str>::from), text.as_str().unwrap_or_default()) else {
                continue;
            };
            let kind = text.trim_matches(['\'', '"']).rsplit_once("dataclasses.").map_or(text, |(_, rest)| rest);
            if kind.starts_with("ClassVar") || kind.starts_with("typing.ClassVar") {
                continue;
            }
            if kind == "KW_ONLY" {
                kw_only = true;
                continue;
            }
            let field = match class.own(&name) {
                Some(Value::Instance(field)) if Rc::ptr_eq(field.class(), &self.field) => {
                    match field.own("default").filter(|default| !default.is(&self.missing)) {
                        Some(default) => class.set(Rc::clone(&name), default),
                        None => drop(class.remove(&name)),
                    }
                    field
                }
                default => self.plain(machine, &name, default)?,
            };
            field.set("name", Value::Str(Rc::clone(&name)));
            field.set("type", Value::from(text));
            if field.own("kw_only").is_none_or(|given| given.is(&self.missing)) {
                field.set("kw_only", Value::Bool(kw_only));
            }
            if kind.starts_with("InitVar") {
                field.set(INIT_ONLY, Value::Bool(true));
            }
            insert(name, Value::Instance(field));
        }
        Ok(fields)
    }

    /// Makes the field of an annotation without `field(…)`.
    fn plain(&self, machine: &Machine, name: &str, default: Option<Value>) -> Result<Rc<Instance>, Raise> {
        if let Some(kind @ (Type::List | Type::Dict | Type::Set)) = default.as_ref().and_then(types::builtin_type) {
            let kind = kind.name();
            return Err(Raise::value_error(format!(
                "mutable default <class '{kind}'> for field {name} is not allowed: use default_factory"
            )));
        }
        let keyword = default.map(|default| (Rc::from("default"), default)).into_iter().collect();
        match make_field(self, machine, Args { positional: Vec::new(), keyword })? {
            Outcome::Ready(Value::Instance(field)) => Ok(field),
            _ => Ok(Instance::new(&self.field)),
        }
    }
}

/// Gives a class the methods that its fields ask for.
fn equip(module: &Rc<Module>, machine: &Machine, decorated: Value, options: Options) -> HostResult {
    let Value::Class(class) = &decorated else { return Err(Raise::type_error("dataclass() needs a class")) };
    let objects = module.collect(machine, class, options)?;
    let fields: Rc<[Field]> = objects
        .iter()
        .filter_map(|(_, object)| match object {
            Value::Instance(field) => Some(module.read(field)),
            _ => None,
        })
        .collect();
    class.set(FIELDS, Value::dict(objects));
    let define = |name: &'static str, body: Value| {
        if class.own(name).is_none() {
            class.set(name, body);
        }
    };
    let positional = fields.iter().filter(|field| field.init && !field.kw_only);
    define(
        "__match_args__",
        Value::tuple(positional.clone().map(|field| Value::Str(Rc::clone(&field.name))).collect()),
    );
    if options.init {
        let mut defaulted = false;
        for field in positional {
            let optional = field.default.is_some() || field.factory.is_some();
            if defaulted && !optional {
                let name = &field.name;
                return Err(Raise::type_error(format!("non-default argument '{name}' follows default argument")));
            }
            defaulted |= optional;
        }
        let fields = Rc::clone(&fields);
        let initializer = Initializer::new(class, fields, options.frozen);
        define("__init__", Value::native("__init__", move |machine, args| initializer.run(machine, args)));
    }
    if options.repr {
        let fields = Rc::clone(&fields);
        define("__repr__", Value::native("__repr__", move |machine, args| show(machine, &fields, args)));
    }
    if options.eq {
        define("__eq__", comparison("__eq__", Operator::Equal, Rc::clone(&fields)));
    }
    if options.order {
        for (name, operator) in [
            ("__lt__", Operator::Less),
            ("__le__", Operator::LessEqual),
            ("__gt__", Operator::Greater),
            ("__ge__", Operator::GreaterEqual),
        ] {
            if class.own(name).is_some() {
                let class = class.name();
                return Err(Raise::type_error(format!(
                    "Cannot overwrite attribute {name} in class {class}. Consider using functools.total_ordering"
                )));
            }
            class.set(name, comparison(name, operator, Rc::clone(&fields)));
        }
    }
    if options.unsafe_hash || options.eq && options.frozen {
        let fields = Rc::clone(&fields);
        define(
            "__hash__",
            Value::native("__hash__", move |machine, args| {
                let object = args.one("__hash__")?;
                let hashed = Value::tuple(values(&object, fields.iter().filter(|field| field.hash)));
                let handle = machine.clone();
                Ok(Outcome::Later(Box::pin(Nested::new(machine.clone(), async move {
                    Ok(Value::Int(operators::hash(&handle, &hashed).await?))
                }))))
            }),
        );
    } else if options.eq {
        define("__hash__", Value::None);
    }
    if options.frozen {
        for (name, verb) in [("__setattr__", "assign to"), ("__delattr__", "delete")] {
            let error = Rc::clone(&module.frozen_error);
            define(
                name,
                Value::native(name, move |_, args| {
                    let field = args.positional.get(1).and_then(Value::as_str).unwrap_or_default();
                    Err(Raise::of_class(&error, vec![Value::from(format!("cannot {verb} field '{field}'"))]))
                }),
            );
        }
    }
    Ok(decorated.clone().into())
}

/// `__init__` of a dataclass.
struct Initializer {
    name: String,
    parameters: Vec<Parameter>,
    fields: Rc<[Field]>,
    /// Attributes are written past `__setattr__`.
    frozen: bool,
}

impl Initializer {
    fn new(class: &Class, fields: Rc<[Field]>, frozen: bool) -> Rc<Self> {
        let parameters = fields
            .iter()
            .filter(|field| field.init)
            .map(|field| Parameter {
                name: Rc::clone(&field.name),
                optional: field.default.is_some() || field.factory.is_some(),
                keyword_only: field.kw_only,
            })
            .collect();
        Rc::new(Self { name: format!("{}.__init__", class.qualified_name()), parameters, fields, frozen })
    }

    fn run(self: &Rc<Self>, machine: &Machine, mut args: Args) -> HostResult {
        if args.positional.is_empty() {
            return Err(Raise::type_error(format!("{}() needs an object", self.name)));
        }
        let object = args.positional.remove(0);
        let Value::Instance(instance) = &object else {
            return Err(Raise::type_error(format!("{}() needs an object of its class", self.name)));
        };
        let bound = signature::bind(&self.name, &self.parameters, args)?;
        let (machine, this, instance) = (machine.clone(), Rc::clone(self), Rc::clone(instance));
        later(async move {
            let mut bound = bound.into_iter();
            let mut passed = Vec::new();
            for field in this.fields.iter() {
                let given = if field.init { bound.next().flatten() } else { None };
                let value = match (given, &field.default, &field.factory) {
                    (Some(value), ..) => value,
                    (None, Some(default), _) => default.clone(),
                    (None, None, Some(factory)) => machine.call(factory, Args::default()).await?,
                    (None, None, None) => continue,
                };
                if field.init_only {
                    passed.push(value);
                } else if this.frozen {
                    instance.set(Rc::clone(&field.name), value);
                } else {
                    machine.set_attribute(&object, &field.name, value).await?;
                }
            }
            instance.cover(&machine)?;
            if let Some(hook) = attribute::special(&machine, &object, "__post_init__") {
                machine.call(&hook, Args::of(passed)).await?;
            }
            Ok(Value::None)
        })
    }
}

/// Reads fields of an object.
fn values<'a>(object: &Value, fields: impl Iterator<Item = &'a Field>) -> Vec<Value> {
    let Value::Instance(instance) = object else { return Vec::new() };
    fields
        .filter(|field| !field.init_only)
        .filter_map(|field| instance.own(&field.name).or_else(|| instance.class().find(&field.name)))
        .collect()
}

fn show(machine: &Machine, fields: &[Field], args: Args) -> HostResult {
    let object = args.one("__repr__")?;
    let Value::Instance(instance) = &object else { return Ok(Value::NotImplemented.into()) };
    let name = instance.class().qualified_name().to_string();
    let (machine, object) = (machine.clone(), object.clone());
    let shown: Vec<Rc<str>> =
        fields.iter().filter(|field| field.repr && !field.init_only).map(|field| Rc::clone(&field.name)).collect();
    later(async move {
        let mut parts = Vec::with_capacity(shown.len());
        for name in shown {
            let value = machine.get_attribute(&object, &name).await?;
            parts.push((Some(name), value));
        }
        let outcome = represent(&machine, object, name, parts, "...".to_owned())?;
        machine.settle(outcome).await
    })
}

fn comparison(name: &'static str, operator: Operator, fields: Rc<[Field]>) -> Value {
    Value::native(name, move |machine, args| {
        let args = args.between(name, 2, 2)?;
        match &args[..] {
            [Value::Instance(left), Value::Instance(right)] if Rc::ptr_eq(left.class(), right.class()) => {}
            _ => return Ok(Value::NotImplemented.into()),
        }
        let compared = |object: &Value| Value::tuple(values(object, fields.iter().filter(|field| field.compare)));
        let (left, right, handle) = (compared(&args[0]), compared(&args[1]), machine.clone());
        Ok(Outcome::Later(Box::pin(Nested::new(machine.clone(), async move {
            let outcome = operators::binary(&handle, operator, &left, &right)?;
            handle.settle(outcome).await
        }))))
    })
}

fn replace(machine: &Machine, mut args: Args) -> HostResult {
    let keyword = std::mem::take(&mut args.keyword);
    let object = args.one("replace")?;
    let (Value::Instance(instance), Some(fields)) = (&object, fields_of(&object)) else {
        return Err(Raise::type_error("replace() should be called on dataclass instances"));
    };
    let mut arguments = keyword;
    for field in &fields {
        let Value::Instance(field) = field else { continue };
        let Some(Value::Str(name)) = field.own("name") else { continue };
        let given = arguments.iter().any(|(known, _)| *known == name);
        if matches!(field.own("init"), Some(Value::Bool(false))) {
            if given {
                return Err(Raise::value_error(format!(
                    "field {name} is declared with init=False, it cannot be specified with replace()"
                )));
            }
        } else if !given && let Some(value) = instance.own(&name) {
            arguments.push((name, value));
        }
    }
    let class = Value::Class(Rc::clone(instance.class()));
    machine.call_now(&class, Args { positional: Vec::new(), keyword: arguments })
}

/// `asdict` and `astuple`.
fn export(machine: &Machine, mut args: Args, name: &str, factory: &str) -> HostResult {
    let factory = args.take_keyword(factory);
    args.no_more_keywords(name)?;
    let object = args.one(name)?;
    if !matches!(object, Value::Instance(_)) || fields_of(&object).is_none() {
        return Err(Raise::type_error(format!("{name}() should be called on dataclass instances")));
    }
    Ok(Outcome::Later(exported(machine.clone(), object, Rc::new(Export { factory, by_name: name == "asdict" }))))
}

struct Export {
    factory: Option<Value>,
    by_name: bool,
}

fn exported(machine: Machine, value: Value, how: Rc<Export>) -> LocalBoxFuture<'static, Result<Value, Raise>> {
    let handle = machine.clone();
    Box::pin(Nested::new(handle, async move {
        machine.charge_fuel(1)?;
        let inner = |value: Value| exported(machine.clone(), value, Rc::clone(&how));
        if let (Value::Instance(instance), Some(fields)) = (&value, fields_of(&value)) {
            let mut parts = Vec::with_capacity(fields.len());
            for field in fields.iter().filter(|field| is_stored(field)) {
                let Value::Instance(field) = field else { continue };
                let Some(Value::Str(name)) = field.own("name") else { continue };
                let part = instance.own(&name).or_else(|| instance.class().find(&name)).unwrap_or(Value::None);
                parts.push((name, inner(part).await?));
            }
            let made = match (how.by_name, &how.factory) {
                (true, None) => return Ok(Value::dict(parts)),
                (true, Some(_)) => Value::list(
                    parts.into_iter().map(|(name, part)| Value::tuple(vec![Value::Str(name), part])).collect(),
                ),
                (false, None) => return Ok(Value::tuple(parts.into_iter().map(|(_, part)| part).collect())),
                (false, Some(_)) => Value::list(parts.into_iter().map(|(_, part)| part).collect()),
            };
            let factory = how.factory.clone().unwrap_or(Value::None);
            return machine.call(&factory, Args::of([made])).await;
        }
        match &value {
            Value::List(list) => {
                let made = List::new(Vec::new());
                for item in list.to_vec() {
                    made.push(&machine, inner(item).await?)?;
                }
                Ok(Value::List(Rc::new(made)))
            }
            Value::Tuple(tuple) => {
                let mut items = Vec::with_capacity(tuple.len());
                for item in tuple.iter() {
                    items.push(inner(item.clone()).await?);
                }
                Ok(Value::tuple(items))
            }
            Value::Dict(dict) => {
                let made = Rc::new(dict.copy(&machine)?);
                made.clear();
                for (key, item) in dict.entries() {
                    let (key, item) = (inner(key).await?, inner(item).await?);
                    let found = mapping::resolve(&machine, &made, &key).await?;
                    made.insert(&machine, found, key, item)?;
                }
                Ok(Value::Dict(made))
            }
            _ => copy::deepcopy(&machine, value).await,
        }
    }))
}
