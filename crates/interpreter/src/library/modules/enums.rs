//! `enum`.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use crate::evaluation::format;
use crate::evaluation::operators::{self, later};
use crate::library::builtins;
use crate::library::modules::{Function, Members, class, functions};
use crate::values::class::{Class, Decorated, Instance, MEMBERS};
use crate::values::host::{Args, HostResult};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{Type, builtin_type, ledger};
use crate::values::value::Value;

pub fn members(_: &Machine) -> Result<Members, Raise> {
    let special: &[(&'static str, Function)] = &[
        ("__init_subclass__", enumerate),
        ("__new__", look_up),
        ("__class_getitem__", by_name),
        ("__repr__", |machine, args| show(machine, args, true)),
        ("__str__", |machine, args| show(machine, args, false)),
    ];
    let plain: &[(&'static str, Function)] = &[("__str__", |machine, args| {
        let (machine, value) = (machine.clone(), operators::plain(&args.one("__str__")?));
        later(async move { ledger::text(&machine, format::str(&machine, &value).await?) })
    })];
    let root = Value::Class(class("Enum", "enum", vec![], special, &[])?);
    let auto = class("auto", "enum", vec![], &[], &[])?;
    let below = |name, kind| class(name, "enum", vec![root.clone(), Value::Type(kind)], plain, &[]).map(Value::Class);
    let mut members = functions(&[("unique", unique)]);
    members.extend([
        ("IntEnum", below("IntEnum", Type::Int)?),
        ("StrEnum", below("StrEnum", Type::Str)?),
        ("Enum", root),
        ("auto", Value::Class(auto)),
    ]);
    Ok(members)
}

/// Turns the values in a class body into members.
///
/// # Errors
/// What the class's `__init__` raises, and `TypeError` for a class that extends one with members.
pub fn enumerate(machine: &Machine, args: Args) -> HostResult {
    let Some(Value::Class(class)) = args.positional.into_iter().next() else {
        return Err(Raise::type_error("Enum needs a class"));
    };
    if class.module() == "enum" {
        return Ok(Value::None.into());
    }
    if let Some(base) = class.lineage().skip(1).find(|base| base.members().is_some_and(|members| !members.is_empty())) {
        let (name, base) = (class.name(), base.name());
        return Err(Raise::type_error(format!("<enum '{name}'> cannot extend <enum '{base}'>")));
    }
    let machine = machine.clone();
    later(async move {
        let mut last = 0;
        let mut made: Vec<(Rc<str>, Value)> = Vec::new();
        for (name, value) in class.attributes() {
            let hidden = name.starts_with("__") || name.starts_with('_') && name.ends_with('_');
            let part = matches!(value, Value::Function(_) | Value::Native(_) | Value::Decorated(_));
            if hidden || part {
                continue;
            }
            let value = match &value {
                Value::Instance(auto) if auto.class().module() == "enum" && &**auto.class().name() == "auto" => {
                    match class.builtin() {
                        Some(Type::Str) => Value::from(name.to_lowercase()),
                        _ => Value::Int(last + 1),
                    }
                }
                _ => value,
            };
            if let Some(number) = value.as_int() {
                last = last.max(number);
            }
            let mut same = None;
            for (_, member) in &made {
                if let Value::Instance(member) = member
                    && let Some(known) = member.own("_value_")
                    && operators::same_or_equal(&machine, &known, &value).await?
                {
                    same = Some(Value::Instance(Rc::clone(member)));
                    break;
                }
            }
            let member = match same {
                Some(member) => member,
                None => member(&machine, &class, &name, value).await?,
            };
            class.set(Rc::clone(&name), member.clone());
            made.push((name, member));
        }
        register(&machine, &class);
        class.set("__members__", Value::dict(made.clone()));
        class.set(MEMBERS, Value::dict(made));
        Ok(Value::None)
    })
}

/// The enumerations of one machine. A class and its members hold each other; this parts them when the job ends.
#[derive(Default)]
struct Enumerations(RefCell<Vec<Weak<Class>>>);

impl Drop for Enumerations {
    fn drop(&mut self) {
        for class in self.0.get_mut().drain(..).filter_map(|class| class.upgrade()) {
            for (name, value) in class.attributes() {
                drop((class.remove(&name), value));
            }
        }
    }
}

fn register(machine: &Machine, class: &Rc<Class>) {
    let all = machine.extension::<Enumerations>().unwrap_or_else(|| {
        let all = Rc::new(Enumerations::default());
        machine.set_extension(all.clone());
        all
    });
    all.0.borrow_mut().push(Rc::downgrade(class));
}

async fn member(machine: &Machine, class: &Rc<Class>, name: &Rc<str>, value: Value) -> Result<Value, Raise> {
    let member = Instance::new(class);
    let arguments = match &value {
        Value::Tuple(items) => items.to_vec(),
        value => vec![value.clone()],
    };
    let mut own = value.clone();
    if let Some(kind) = class.builtin() {
        if builtin_type(&value) != Some(kind) {
            let outcome = builtins::construct(machine, kind, Args::of(arguments.clone()))?;
            own = machine.settle(outcome).await?;
        }
        member.set_payload(own.clone());
    }
    for (attribute, value) in [("_name_", Value::Str(Rc::clone(name))), ("_value_", own.clone())] {
        member.set(attribute, value);
    }
    member.set("name", Value::Str(Rc::clone(name)));
    member.set("value", own);
    let object = Value::Instance(Rc::clone(&member));
    if let Some(initialize) = class.find("__init__") {
        let outcome = operators::call_special(machine, &initialize, &object, arguments)?;
        machine.settle(outcome).await?;
    }
    // `__init__` may have replaced the value.
    if let Some(value) = member.own("_value_") {
        member.set("value", value);
    }
    Ok(object)
}

/// `Color(1)`.
fn look_up(machine: &Machine, args: Args) -> HostResult {
    let mut args = args.between("Enum", 2, 2)?;
    let (value, class) = (args.pop().unwrap_or(Value::None), args.pop().unwrap_or(Value::None));
    let Value::Class(class) = class else { return Err(Raise::type_error("Enum needs a class")) };
    let machine = machine.clone();
    later(async move {
        for member in class.members().unwrap_or_default() {
            machine.charge_fuel(1)?;
            let Value::Instance(instance) = &member else { continue };
            let known = instance.own("_value_").unwrap_or(Value::None);
            if member.is(&value) || operators::same_or_equal(&machine, &known, &value).await? {
                return Ok(member);
            }
        }
        if let Some(Value::Decorated(missing)) = class.find("_missing_")
            && let Decorated::ClassMethod(missing) = &*missing
        {
            let found = machine.call(missing, Args::of([Value::Class(Rc::clone(&class)), value.clone()])).await?;
            if !matches!(found, Value::None) {
                return Ok(found);
            }
        }
        let (text, name) = (format::repr(&machine, &value).await?, class.qualified_name());
        Err(Raise::value_error(format!("{text} is not a valid {name}")))
    })
}

/// `Color["RED"]`.
fn by_name(machine: &Machine, args: Args) -> HostResult {
    let mut args = args.between("__class_getitem__", 2, 2)?;
    let (name, class) = (args.pop().unwrap_or(Value::None), args.pop().unwrap_or(Value::None));
    match &class {
        Value::Class(class) => match class.find(MEMBERS) {
            Some(members) => operators::get_item(machine, &members, &name),
            None => Err(Raise::key_error(name)),
        },
        _ => Err(Raise::key_error(name)),
    }
}

fn show(machine: &Machine, args: Args, full: bool) -> HostResult {
    let Value::Instance(member) = args.one("__repr__")? else { return Ok(Value::NotImplemented.into()) };
    let name =
        format!("{}.{}", member.class().name(), member.own("_name_").as_ref().and_then(Value::as_str).unwrap_or("?"));
    if !full {
        return Ok(Value::from(name).into());
    }
    let value = member.own("_value_").unwrap_or(Value::None);
    let machine = machine.clone();
    later(async move {
        let value = format::repr(&machine, &value).await?;
        ledger::text(&machine, format!("<{name}: {value}>"))
    })
}

fn unique(_: &Machine, args: Args) -> HostResult {
    let object = args.one("unique")?;
    let Value::Class(class) = &object else { return Err(Raise::type_error("unique() needs an enumeration")) };
    let Some(Value::Dict(all)) = class.find(MEMBERS) else { return Ok(object.clone().into()) };
    let aliases: Vec<String> = all
        .entries()
        .into_iter()
        .filter_map(|(name, member)| {
            let Value::Instance(member) = member else { return None };
            let own = member.own("_name_")?;
            (own.as_str() != name.as_str())
                .then(|| format!("{} -> {}", name.as_str().unwrap_or("?"), own.as_str().unwrap_or("?")))
        })
        .collect();
    if aliases.is_empty() {
        return Ok(object.clone().into());
    }
    let name = class.name();
    Err(Raise::value_error(format!("duplicate values found in <enum '{name}'>: {}", aliases.join(", "))))
}
