//! `typing` and `collections.abc`: names for annotations, which mean nothing when run, and tests of what a value can do.

use std::any::Any;
use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use crate::evaluation::{attribute, format, operators};
use crate::library::builtins;
use crate::library::modules::{Members, class, functions, kept};
use crate::values::class::Class;
use crate::values::exceptions::Kind;
use crate::values::host::{Args, HostObject, HostResult, Operator, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::opaque::Opaque;
use crate::values::types::{Type, builtin_type, ledger, trash};
use crate::values::value::Value;

/// Names with no behaviour but subscripting, and the builtin type that calling or `isinstance` means.
const NAMES: &[(&str, Option<Type>)] = &[
    ("Any", None),
    ("Annotated", None),
    ("AnyStr", None),
    ("ClassVar", None),
    ("Concatenate", None),
    ("Counter", Some(Type::Counter)),
    ("DefaultDict", Some(Type::DefaultDict)),
    ("Deque", None),
    ("Dict", Some(Type::Dict)),
    ("Final", None),
    ("FrozenSet", Some(Type::FrozenSet)),
    ("List", Some(Type::List)),
    ("Literal", None),
    ("LiteralString", None),
    ("Never", None),
    ("NoReturn", None),
    ("NotRequired", None),
    ("OrderedDict", Some(Type::OrderedDict)),
    ("Required", None),
    ("Self", None),
    ("Set", Some(Type::Set)),
    ("Tuple", Some(Type::Tuple)),
    ("Type", Some(Type::Type)),
    ("TypeAlias", None),
    ("TypeGuard", None),
    ("Unpack", None),
];

/// Abstract containers, which `isinstance` knows.
const ABSTRACT: &[&str] = &[
    "Awaitable",
    "ByteString",
    "Callable",
    "Collection",
    "Container",
    "Coroutine",
    "Generator",
    "Hashable",
    "ItemsView",
    "Iterable",
    "Iterator",
    "KeysView",
    "Mapping",
    "MappingView",
    "MutableMapping",
    "MutableSequence",
    "MutableSet",
    "Reversible",
    "Sequence",
    "Sized",
    "ValuesView",
];

/// Makes the members of `typing`.
///
/// # Errors
/// Memory is spent.
pub fn members(machine: &Machine) -> Result<Members, Raise> {
    let identity: fn(&Machine, Args) -> HostResult =
        |_, args| Ok(args.positional.into_iter().next().unwrap_or(Value::None).into());
    let mut members = functions(&[
        ("cast", |_, args| Ok(args.between("cast", 2, 2)?.swap_remove(1).into())),
        ("final", identity),
        ("get_args", |_, args| {
            Ok(part(&args.one("get_args")?, "__args__").unwrap_or_else(|| Value::tuple(vec![])).into())
        }),
        ("get_origin", |_, args| Ok(part(&args.one("get_origin")?, "__origin__").unwrap_or(Value::None).into())),
        ("no_type_check", identity),
        ("overload", identity),
        ("runtime_checkable", identity),
        ("NewType", |_, args| {
            let name = args.between("NewType", 2, 2)?.swap_remove(0);
            let name = name.as_str().unwrap_or("NewType").to_owned();
            Ok(Value::native(name, |_, args| Ok(args.one("NewType")?.into())).into())
        }),
        ("TypeVar", variable),
        ("TypeVarTuple", variable),
        ("ParamSpec", variable),
    ]);
    for (name, builtin) in NAMES {
        members.push((name, Value::host(Name { module: "typing", name, builtin: *builtin })));
    }
    for name in ABSTRACT {
        members.push((name, Value::host(Name { module: "typing", name, builtin: None })));
    }
    for name in ["Optional", "Union"] {
        members.push((name, Value::host(Name { module: "typing", name, builtin: None })));
    }
    for name in ["Generic", "Protocol"] {
        members.push((name, Value::Class(class(name, "typing", vec![], &[("__class_getitem__", parameterize)], &[])?)));
    }
    members.push(("AbstractSet", Value::host(Name { module: "typing", name: "Set", builtin: Some(Type::Set) })));
    members.push(("get_type_hints", kept(machine, "inspect", "_type_hints")?));
    members.push(("NamedTuple", kept(machine, "collections", "_NamedTuple")?));
    members.push(("Text", Value::Type(Type::Str)));
    members.push(("TypedDict", Value::Type(Type::Dict)));
    members.push(("TYPE_CHECKING", Value::Bool(false)));
    let _ = machine;
    Ok(members)
}

/// Makes the members of `collections.abc`.
///
/// # Errors
/// Never.
pub fn abstract_containers(_: &Machine) -> Result<Members, Raise> {
    let names = ABSTRACT.iter().chain(&["Set"]);
    Ok(names.map(|name| (*name, Value::host(Name { module: "collections.abc", name, builtin: None }))).collect())
}

/// Makes `numbers`.
///
/// # Errors
/// Never.
pub fn numbers(_: &Machine) -> Result<Members, Raise> {
    let names = ["Complex", "Integral", "Number", "Rational", "Real"];
    Ok(names.map(|name| (name, Value::host(Name { module: "numbers", name, builtin: None }))).to_vec())
}

/// Makes `object[key]` of a class: `list[int]`.
pub fn alias(object: &Value, key: &Value) -> Value {
    let args = match key {
        Value::Tuple(items) => items.to_vec(),
        key => vec![key.clone()],
    };
    Value::host(Alias { origin: object.clone(), args })
}

/// Makes `a | b`, flat and with no member twice.
///
/// # Errors
/// Fuel is spent.
pub fn union(machine: &Machine, members: Vec<Value>) -> Result<Value, Raise> {
    let mut flat: Vec<Value> = Vec::new();
    let mut known = HashSet::new();
    for member in members {
        let parts = match &member {
            Value::Host(object) => match object.as_any().downcast_ref::<Union>() {
                Some(union) => union.members.clone(),
                None => vec![member],
            },
            _ => vec![member],
        };
        for part in parts {
            if known.insert(part.identity()) {
                flat.push(part);
            }
        }
    }
    machine.charge_fuel(4 * flat.len() as u64)?;
    Ok(match <[Value; 1]>::try_from(flat) {
        Ok([only]) => only,
        Err(members) => Value::host(Union { members, typing: false }),
    })
}

/// Makes a union one that was made by `typing`.
fn spelled(value: Value) -> Value {
    let members = match &value {
        Value::Host(object) => object.as_any().downcast_ref::<Union>().map(|union| union.members.clone()),
        _ => None,
    };
    members.map_or(value, |members| Value::host(Union { members, typing: true }))
}

/// Says whether `value | other` may mean a union of types.
pub fn is_annotation(value: &Value) -> bool {
    match value {
        Value::None | Value::Type(_) | Value::Class(_) => true,
        Value::Host(object) => {
            let object = object.as_any();
            object.is::<Union>() || object.is::<Alias>() || object.is::<Name>() || object.is::<Variable>()
        }
        _ => false,
    }
}

/// Says whether a value can do what an abstract container asks; `None` for what is no such class.
pub fn instance_of(class: &dyn Any, value: &Value) -> Option<bool> {
    let name = class.downcast_ref::<Name>()?;
    if let Value::Instance(instance) = value {
        return subclass_of(class, &Value::Class(Rc::clone(instance.class())));
    }
    let plain = operators::plain(value);
    if let Some(builtin) = name.builtin {
        return Some(builtin_type(&plain).is_some_and(|kind| kind.is_subtype(builtin)));
    }
    let has = |methods: &[&str]| methods.iter().all(|method| operators::special(value, method).is_some());
    let sequence =
        matches!(plain, Value::List(_) | Value::Tuple(_) | Value::Str(_) | Value::Bytes(_) | Value::Range(_));
    let mapping = matches!(plain, Value::Dict(_));
    let set = matches!(plain, Value::Set(_));
    let view = |kind: &str| {
        let Value::Host(object) = &plain else { return false };
        let name = object.type_name();
        name.strip_prefix('o').unwrap_or(&name) == kind
    };
    let any_view = view("dict_keys") || view("dict_values") || view("dict_items");
    let numeric = |class: &str| is_kind(&plain, &format!("numbers.{class}"));
    let integer = matches!(plain, Value::Int(_) | Value::Bool(_) | Value::Big(_)) || numeric("Integral");
    let real = integer || matches!(plain, Value::Float(_)) || numeric("Real");
    Some(match name.name {
        "Integral" | "Rational" => integer,
        "Real" => real,
        "Number" | "Complex" => real || matches!(plain, Value::Complex(..)) || numeric("Complex"),
        "Callable" => builtins::is_callable(value),
        "Iterable" => operators::is_iterable(&plain) || has(&["__iter__"]),
        "Iterator" => matches!(plain, Value::Iterator(_)) || has(&["__iter__", "__next__"]),
        "Generator" => matches!(&plain, Value::Iterator(iterator) if iterator.as_generator().is_some()),
        "Reversible" => sequence || mapping || any_view || has(&["__reversed__", "__iter__"]),
        "Sized" => sequence || mapping || set || any_view || has(&["__len__"]),
        "Container" => sequence || mapping || set || any_view || has(&["__contains__"]),
        "Collection" => sequence || mapping || set || any_view || has(&["__len__", "__iter__", "__contains__"]),
        "Sequence" => sequence || is_kind(value, "collections.deque"),
        "ByteString" => matches!(plain, Value::Bytes(_)),
        "MutableSequence" => matches!(plain, Value::List(_)) || is_kind(value, "collections.deque"),
        "Mapping" | "MutableMapping" => mapping,
        "Set" => set || view("dict_keys") || view("dict_items"),
        "MutableSet" => matches!(&plain, Value::Set(set) if !set.is_frozen()),
        "KeysView" => view("dict_keys"),
        "ValuesView" => view("dict_values"),
        "ItemsView" => view("dict_items"),
        "MappingView" => any_view,
        "Hashable" => {
            !matches!(plain, Value::List(_) | Value::Dict(_) | Value::Slice(_))
                && !matches!(&plain, Value::Set(set) if !set.is_frozen())
        }
        _ => return None,
    })
}

/// Says whether a class is below a name of `typing`, `collections.abc` or `numbers`; `None` for what is no such name.
pub fn subclass_of(name: &dyn Any, class: &Value) -> Option<bool> {
    let name = name.downcast_ref::<Name>()?;
    Some(match (name.builtin, class) {
        (Some(builtin), Value::Type(kind)) => kind.is_subtype(builtin),
        (Some(builtin), Value::Class(class)) => class.builtin().is_some_and(|kind| kind.is_subtype(builtin)),
        (Some(_), _) => false,
        (None, Value::Type(kind)) => registered(*kind).iter().any(|known| is_abstract_below(known, name.name)),
        (None, Value::Class(class)) => {
            let kind = class.builtin().unwrap_or(Type::Object);
            let hashed = name.name != "Hashable" || !matches!(class.find("__hash__"), Some(Value::None));
            let methods = required(name.name);
            let bases = || class.lineage().flat_map(|class| class.bases().to_vec());
            hashed
                && (registered(kind).iter().any(|known| is_abstract_below(known, name.name))
                    || !methods.is_empty() && methods.iter().all(|method| class.find(method).is_some())
                    || bases().any(|base| matches!(&base, Value::Host(_)) && is_host_below(&base, name)))
        }
        (None, class) => is_host_below(class, name),
    })
}

/// The same of a class of the host's, and of another abstract one.
fn is_host_below(class: &Value, name: &Name) -> bool {
    match (class, name_of(class)) {
        (_, Some(own)) => is_abstract_below(own.name, name.name),
        (Value::Host(object), None) => {
            let own = match object.as_any().downcast_ref::<Opaque>() {
                Some(opaque) => of_no_class(opaque.name()),
                None => object.class_name().map_or(&[][..], |own| of_no_class(&own)),
            };
            own.iter().any(|known| is_abstract_below(known, name.name))
                || object.is_below(&format!("{}.{}", name.module, name.name))
        }
        _ => false,
    }
}

/// Abstract classes that a builtin type is registered with, the lowest of each kind.
fn registered(kind: Type) -> &'static [&'static str] {
    match kind {
        Type::Bool | Type::Int => &["Integral", "Hashable"],
        Type::Float => &["Real", "Hashable"],
        Type::Complex => &["Complex", "Hashable"],
        Type::Str | Type::Tuple | Type::Range => &["Sequence", "Hashable"],
        Type::Bytes => &["ByteString", "Hashable"],
        Type::List => &["MutableSequence"],
        Type::Dict | Type::OrderedDict | Type::DefaultDict | Type::Counter => &["MutableMapping", "Reversible"],
        Type::Set => &["MutableSet"],
        Type::FrozenSet => &["Set", "Hashable"],
        Type::Slice => &[],
        Type::Generator => &["Generator", "Hashable"],
        Type::Enumerate | Type::Zip | Type::Map | Type::Filter | Type::Reversed => &["Iterator", "Hashable"],
        Type::Function | Type::Native | Type::Method | Type::Type => &["Callable", "Hashable"],
        _ => &["Hashable"],
    }
}

/// The same of types that have a name and nothing else.
fn of_no_class(name: &str) -> &'static [&'static str] {
    match name.strip_prefix('o').filter(|name| name.starts_with("dict_")).unwrap_or(name) {
        "dict_keys" => &["KeysView", "Reversible"],
        "dict_values" => &["ValuesView", "Reversible", "Hashable"],
        "dict_items" => &["ItemsView", "Reversible"],
        "bytearray" => &["ByteString", "MutableSequence"],
        "collections.deque" => &["MutableSequence"],
        name if name.ends_with("iterator") || name.starts_with("itertools.") => &["Iterator", "Hashable"],
        _ => &["Hashable"],
    }
}

/// What a class needs to have to be below an abstract one, where that is all.
fn required(name: &str) -> &'static [&'static str] {
    match name {
        "Awaitable" => &["__await__"],
        "Callable" => &["__call__"],
        "Collection" => &["__len__", "__iter__", "__contains__"],
        "Container" => &["__contains__"],
        "Generator" => &["__iter__", "__next__", "send", "throw", "close"],
        "Iterable" => &["__iter__"],
        "Iterator" => &["__iter__", "__next__"],
        "Reversible" => &["__reversed__", "__iter__"],
        "Sized" => &["__len__"],
        _ => &[],
    }
}

/// Says whether an abstract class is another, or below it.
fn is_abstract_below(class: &str, other: &str) -> bool {
    let above: &[&str] = match class {
        "ByteString" | "MutableSequence" => &["Sequence"],
        "Sequence" => &["Reversible", "Collection"],
        "MutableMapping" => &["Mapping"],
        "MutableSet" => &["Set"],
        "Mapping" | "Set" => &["Collection"],
        "Collection" => &["Sized", "Iterable", "Container"],
        "KeysView" | "ItemsView" => &["MappingView", "Set"],
        "ValuesView" => &["MappingView", "Collection"],
        "MappingView" => &["Sized"],
        "Generator" => &["Iterator"],
        "Iterator" | "Reversible" => &["Iterable"],
        "Coroutine" => &["Awaitable"],
        "Integral" => &["Rational"],
        "Rational" => &["Real"],
        "Real" => &["Complex"],
        "Complex" => &["Number"],
        _ => &[],
    };
    class == other || above.iter().any(|above| is_abstract_below(above, other))
}

fn is_kind(value: &Value, class: &str) -> bool {
    matches!(value, Value::Host(object) if object.is_instance(class))
}

/// `Generic[T]` and `Protocol[T]` are bases; a class below them can be subscripted in turn.
fn parameterize(_: &Machine, args: Args) -> HostResult {
    match &args.between("__class_getitem__", 2, 2)?[..] {
        [base @ Value::Class(class), key] => Ok(match class.module() {
            "typing" => base.clone(),
            _ => alias(base, key),
        }
        .into()),
        _ => Ok(Value::None.into()),
    }
}

fn variable(_: &Machine, args: Args) -> HostResult {
    let name = args.positional.first().and_then(Value::as_str).unwrap_or("T").to_owned();
    Ok(Value::host(Variable { name }).into())
}

/// Reads `__origin__` or `__args__`.
fn part(value: &Value, name: &str) -> Option<Value> {
    let Value::Host(object) = value else { return None };
    let object = object.as_any();
    let (origin, args) = match (object.downcast_ref::<Alias>(), object.downcast_ref::<Union>()) {
        (Some(alias), _) => (real_origin(&alias.origin), alias.args.clone()),
        (_, Some(union)) => {
            (Value::host(Name { module: "typing", name: "Union", builtin: None }), union.members.clone())
        }
        _ => return None,
    };
    let args = args.into_iter().map(|arg| match arg {
        Value::None => Value::Type(Type::NoneType),
        arg => arg,
    });
    Some(if name == "__origin__" { origin } else { Value::tuple(args.collect()) })
}

fn real_origin(origin: &Value) -> Value {
    match name_of(origin).and_then(|name| name.builtin) {
        Some(builtin) => Value::Type(builtin),
        None => origin.clone(),
    }
}

fn name_of(value: &Value) -> Option<&Name> {
    match value {
        Value::Host(object) => object.as_any().downcast_ref(),
        _ => None,
    }
}

/// Writes an annotation as `repr` of its container does.
fn text(machine: &Machine, value: &Value) -> Result<String, Raise> {
    machine.charge_fuel(1)?;
    Ok(match value {
        Value::None => "None".to_owned(),
        Value::Ellipsis => "...".to_owned(),
        Value::Type(kind) => kind.name().to_owned(),
        Value::Class(class) => qualified(class),
        Value::List(items) => {
            format!("[{}]", machine.recurse(|| texts(machine, &items.to_vec()))?)
        }
        Value::Host(object) => match machine.recurse(|| object.repr(machine))? {
            Some(text) => text,
            None => object.type_name().into_owned(),
        },
        value => format::repr_now(value).unwrap_or_else(|| "...".to_owned()),
    })
}

fn texts(machine: &Machine, values: &[Value]) -> Result<String, Raise> {
    let texts: Result<Vec<String>, Raise> = values.iter().map(|value| text(machine, value)).collect();
    let joined = texts?.join(", ");
    ledger::reserve(machine, joined.len() as u64)?;
    machine.charge_fuel(joined.len() as u64 / 64)?;
    Ok(joined)
}

fn qualified(class: &Class) -> String {
    match class.module() {
        "builtins" => class.qualified_name().to_string(),
        module => format!("{module}.{}", class.qualified_name()),
    }
}

fn text_hash(text: &str) -> i64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    (hasher.finish() >> 1) as i64
}

/// `|` and `==` of annotations.
fn combine(machine: &Machine, own: Value, operator: Operator, other: &Value, reflected: bool) -> HostResult {
    match operator {
        Operator::BitOr if is_annotation(other) => {
            let pair = if reflected { vec![other.clone(), own] } else { vec![own, other.clone()] };
            Ok(union(machine, pair)?.into())
        }
        Operator::Equal | Operator::NotEqual if is_annotation(other) => {
            let same = text(machine, &own)? == text(machine, other)?;
            Ok(Value::Bool(same == (operator == Operator::Equal)).into())
        }
        _ => Ok(Outcome::NotImplemented),
    }
}

/// A name of `typing` or `collections.abc`: `List`, `Any`, `Mapping`.
struct Name {
    module: &'static str,
    name: &'static str,
    builtin: Option<Type>,
}

impl HostObject for Name {
    fn type_name(&self) -> Cow<'static, str> {
        "_SpecialForm".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        match name {
            "__name__" | "_name" | "__qualname__" => Ok(Value::from(self.name).into()),
            "__module__" => Ok(Value::from(self.module).into()),
            "__origin__" => Ok(self.builtin.map_or(Outcome::NotImplemented, |kind| Value::Type(kind).into())),
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn get_item(self: Rc<Self>, machine: &Machine, key: &Value) -> HostResult {
        let members = || match key {
            Value::Tuple(items) => items.to_vec(),
            key => vec![key.clone()],
        };
        machine.charge_fuel(operators::UNCHARGED)?;
        Ok(match self.name {
            "Optional" => spelled(union(machine, vec![key.clone(), Value::None])?),
            "Union" => spelled(union(machine, members())?),
            _ => alias(&Value::Host(self), key),
        }
        .into())
    }

    fn call(self: Rc<Self>, machine: &Machine, args: Args) -> HostResult {
        match self.builtin {
            Some(kind) => builtins::construct(machine, kind, args),
            None => Err(Raise::type_error(format!("Cannot instantiate {}.{}", self.module, self.name))),
        }
    }

    fn binary(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value, reflected: bool) -> HostResult {
        combine(machine, Value::Host(self), operator, other, reflected)
    }

    fn hash(&self, machine: &Machine) -> Result<Option<i64>, Raise> {
        Ok(self.repr(machine)?.map(|text| text_hash(&text)))
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(match self.module {
            "typing" => format!("typing.{}", self.name),
            module => format!("<class '{module}.{}'>", self.name),
        }))
    }

    fn class_name(&self) -> Option<Cow<'static, str>> {
        Some(format!("{}.{}", self.module, self.name).into())
    }
}

/// A class with parameters: `list[int]`.
struct Alias {
    origin: Value,
    args: Vec<Value>,
}

impl HostObject for Alias {
    fn type_name(&self) -> Cow<'static, str> {
        "types.GenericAlias".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_attribute(self: Rc<Self>, machine: &Machine, name: &str) -> HostResult {
        match name {
            "__origin__" => Ok(real_origin(&self.origin).into()),
            "__args__" => Ok(Value::tuple(self.args.clone()).into()),
            "__parameters__" => Ok(Value::tuple(vec![]).into()),
            name => Ok(attribute::find(machine, &self.origin, name)?.unwrap_or(Outcome::NotImplemented)),
        }
    }

    fn get_item(self: Rc<Self>, machine: &Machine, key: &Value) -> HostResult {
        machine.charge_fuel(operators::UNCHARGED)?;
        Ok(alias(&self.origin, key).into())
    }

    fn call(self: Rc<Self>, machine: &Machine, args: Args) -> HostResult {
        machine.call_now(&self.origin, args)
    }

    fn binary(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value, reflected: bool) -> HostResult {
        combine(machine, Value::Host(self), operator, other, reflected)
    }

    fn hash(&self, machine: &Machine) -> Result<Option<i64>, Raise> {
        Ok(self.repr(machine)?.map(|text| text_hash(&text)))
    }

    fn repr(&self, machine: &Machine) -> Result<Option<String>, Raise> {
        let origin = match name_of(&self.origin) {
            Some(name) => format!("{}.{}", name.module, name.name),
            None => text(machine, &self.origin)?,
        };
        let args = if self.args.is_empty() { "()".to_owned() } else { texts(machine, &self.args)? };
        Ok(Some(format!("{origin}[{args}]")))
    }
}

impl Drop for Alias {
    fn drop(&mut self) {
        trash::bury([std::mem::replace(&mut self.origin, Value::None)]);
        trash::bury(std::mem::take(&mut self.args));
    }
}

/// `int | None`.
pub struct Union {
    members: Vec<Value>,
    /// Whether it was made by `Union[…]` or `Optional[…]`, which CPython shows as such.
    typing: bool,
}

impl Union {
    /// Returns the types of which a value may be any.
    pub fn members(&self) -> &[Value] {
        &self.members
    }
}

impl HostObject for Union {
    fn type_name(&self) -> Cow<'static, str> {
        "types.UnionType".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        match name {
            "__args__" => Ok(Value::tuple(self.members.clone()).into()),
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn binary(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value, reflected: bool) -> HostResult {
        combine(machine, Value::Host(self), operator, other, reflected)
    }

    fn hash(&self, machine: &Machine) -> Result<Option<i64>, Raise> {
        Ok(self.repr(machine)?.map(|text| text_hash(&text)))
    }

    fn repr(&self, machine: &Machine) -> Result<Option<String>, Raise> {
        let texts: Result<Vec<String>, Raise> = self.members.iter().map(|member| text(machine, member)).collect();
        let texts = texts?;
        Ok(Some(match (self.typing, texts.as_slice()) {
            (false, texts) => texts.join(" | "),
            (true, [one, none]) if none == "None" => format!("typing.Optional[{one}]"),
            (true, texts) if texts.last().is_some_and(|last| last == "None") => {
                format!("typing.Optional[typing.Union[{}]]", texts[..texts.len() - 1].join(", "))
            }
            (true, texts) => format!("typing.Union[{}]", texts.join(", ")),
        }))
    }
}

impl Drop for Union {
    fn drop(&mut self) {
        trash::bury(std::mem::take(&mut self.members));
    }
}

/// `TypeVar("T")`.
struct Variable {
    name: String,
}

impl HostObject for Variable {
    fn type_name(&self) -> Cow<'static, str> {
        "TypeVar".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        match name {
            "__name__" => Ok(Value::from(&*self.name).into()),
            "__bound__" => Ok(Value::None.into()),
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn call(self: Rc<Self>, _: &Machine, _: Args) -> HostResult {
        Err(Raise::new(Kind::TypeError, "'TypeVar' object is not callable"))
    }

    fn binary(self: Rc<Self>, machine: &Machine, operator: Operator, other: &Value, reflected: bool) -> HostResult {
        match operator {
            Operator::BitOr if is_annotation(other) => {
                let own = Value::Host(self);
                let pair = if reflected { vec![other.clone(), own] } else { vec![own, other.clone()] };
                Ok(union(machine, pair)?.into())
            }
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(format!("~{}", self.name)))
    }
}
