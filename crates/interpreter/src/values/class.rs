//! Classes that programs define, exception classes, and their instances.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use indexmap::IndexMap;

use crate::values::attributes::Attributes;
use crate::values::exceptions::Kind;
use crate::values::host::HostObject;
use crate::values::machine::Machine;
use crate::values::raise::{Entry, Raise};
use crate::values::teardown::Cyclic;
use crate::values::types::charge::Charge;
use crate::values::types::{Dict, Type, trash};
use crate::values::value::Value;

/// The attribute in which a class keeps its members by name, aliases included.
pub(crate) const MEMBERS: &str = "_member_map_";

/// A class.
pub struct Class {
    name: Rc<str>,
    qualified_name: Rc<str>,
    module: Rc<str>,
    bases: Vec<Value>,
    /// The classes after this one in method resolution order.
    ancestors: Vec<Rc<Class>>,
    attributes: RefCell<IndexMap<Rc<str>, Value>>,
    /// The builtin type that instances are also values of.
    builtin: Option<Type>,
    /// The host's class below: construction, calls and missing attributes go to it.
    host: Option<Rc<dyn HostObject>>,
    exception: Option<Kind>,
    immutable: bool,
    charge: Charge,
    /// It, or an ancestor, defines `__getattribute__`.
    intercepts: Cell<bool>,
    /// It and all its ancestors define `__slots__`: objects have those attributes and no others.
    slotted: bool,
}

/// Bytes charged for a class, and for each class above it.
const CLASS: u64 = 1024;
const ANCESTOR: u64 = 16;

impl Class {
    /// Makes a class. Bases are classes, builtin types or host objects that stand for classes.
    ///
    /// # Errors
    /// `TypeError` for other bases and for bases with no consistent order.
    pub fn new(
        name: impl Into<Rc<str>>,
        module: impl Into<Rc<str>>,
        bases: Vec<Value>,
        attributes: impl IntoIterator<Item = (Rc<str>, Value)>,
    ) -> Result<Rc<Self>, Raise> {
        let name = name.into();
        Self::qualified(Rc::clone(&name), name, module, bases, attributes)
    }

    /// The same with a name that tells where the class was defined: `make.<locals>.Point`.
    ///
    /// # Errors
    /// As [`Class::new`].
    pub fn qualified(
        name: Rc<str>,
        qualified_name: Rc<str>,
        module: impl Into<Rc<str>>,
        bases: Vec<Value>,
        attributes: impl IntoIterator<Item = (Rc<str>, Value)>,
    ) -> Result<Rc<Self>, Raise> {
        let mut builtin = None;
        let mut host = None;
        let mut exception = None;
        for base in &bases {
            match base {
                Value::Class(class) => {
                    builtin = builtin.or(class.builtin);
                    host = host.or_else(|| class.host.clone());
                    exception = exception.or(class.exception);
                }
                Value::Type(Type::Object) => {}
                Value::Type(kind) => builtin = builtin.or(Some(*kind)),
                Value::Host(object) => {
                    if let Some(instead) = object.instead_of_deriving() {
                        let base = object.class_name().unwrap_or_default();
                        return Err(Raise::type_error(format!(
                            "class {name}: deriving from {base} is not supported by this server: {instead}"
                        )));
                    }
                    host = host.or_else(|| Some(Rc::clone(object)));
                }
                _ => return Err(Raise::type_error("bases must be types")),
            }
        }
        let ancestors = linearize(&bases)?;
        let mut attributes: IndexMap<Rc<str>, Value> = attributes.into_iter().collect();
        // Objects that compare by value cannot keep the hash of their identity.
        if attributes.contains_key("__eq__") && !attributes.contains_key("__hash__") {
            attributes.insert("__hash__".into(), Value::None);
        }
        let size = CLASS + ANCESTOR * ancestors.len() as u64 + ATTRIBUTE * attributes.len() as u64;
        let intercepts =
            attributes.contains_key("__getattribute__") || ancestors.iter().any(|class| class.intercepts.get());
        let slotted = attributes.contains_key("__slots__")
            && (builtin.is_none() && host.is_none() && exception.is_none())
            && ancestors.iter().all(|class| class.slotted);
        Ok(Rc::new(Self {
            intercepts: Cell::new(intercepts),
            slotted,
            qualified_name,
            name,
            module: module.into(),
            bases,
            ancestors,
            attributes: RefCell::new(attributes),
            builtin,
            host,
            exception,
            immutable: false,
            charge: Charge::of(size),
        }))
    }

    /// Returns the steps that making a class of these bases takes: program code that makes one pays for them before.
    pub(crate) fn cost(bases: &[Value]) -> u64 {
        let above = bases.iter().map(|base| match base {
            Value::Class(class) => class.ancestors.len() + 2,
            _ => 1,
        });
        let longest = above.max().unwrap_or(0) as u64;
        1 + longest * (bases.len() as u64 + 1) / 16
    }

    /// Makes a builtin exception class.
    pub(crate) fn exception(kind: Kind, base: Option<Rc<Self>>) -> Rc<Self> {
        Self::of_exceptions("builtins", kind.name(), kind, base)
    }

    /// Makes the class of a host's exception from its module and name.
    pub(crate) fn host_exception(path: &str, base: Rc<Self>) -> Rc<Self> {
        let (module, name) = path.rsplit_once('.').unwrap_or(("builtins", path));
        let kind = base.exception.unwrap_or(Kind::Exception);
        Self::of_exceptions(module, name, kind, Some(base))
    }

    fn of_exceptions(module: &str, name: &str, kind: Kind, base: Option<Rc<Self>>) -> Rc<Self> {
        let mut ancestors = Vec::new();
        if let Some(base) = &base {
            ancestors.push(Rc::clone(base));
            ancestors.extend(base.ancestors.iter().cloned());
        }
        Rc::new(Self {
            name: name.into(),
            qualified_name: name.into(),
            module: module.into(),
            bases: vec![base.map_or(Value::Type(Type::Object), Value::Class)],
            ancestors,
            attributes: RefCell::default(),
            builtin: None,
            host: None,
            exception: Some(kind),
            immutable: true,
            charge: Charge::default(),
            intercepts: Cell::new(false),
            slotted: false,
        })
    }

    pub fn name(&self) -> &Rc<str> {
        &self.name
    }

    pub fn qualified_name(&self) -> &Rc<str> {
        &self.qualified_name
    }

    pub fn module(&self) -> &str {
        &self.module
    }

    pub fn bases(&self) -> &[Value] {
        &self.bases
    }

    /// Returns this class and its ancestors, in method resolution order.
    pub fn lineage(self: &Rc<Self>) -> impl Iterator<Item = &Rc<Self>> {
        std::iter::once(self).chain(self.ancestors.iter())
    }

    pub fn is_subclass(self: &Rc<Self>, other: &Rc<Self>) -> bool {
        self.lineage().any(|class| Rc::ptr_eq(class, other))
    }

    /// Returns the builtin type that instances are also values of.
    pub fn builtin(&self) -> Option<Type> {
        self.builtin
    }

    /// Returns the host's class among the bases.
    pub fn host(&self) -> Option<&Rc<dyn HostObject>> {
        self.host.as_ref()
    }

    /// Returns the nearest builtin exception class.
    pub fn exception_kind(&self) -> Option<Kind> {
        self.exception
    }

    pub fn is_immutable(&self) -> bool {
        self.immutable
    }

    /// Finds an attribute of this class or of the first ancestor that has it.
    pub fn find(self: &Rc<Self>, name: &str) -> Option<Value> {
        self.lineage().find_map(|class| class.own(name))
    }

    /// Finds an attribute after `class` in the order of `self`, as `super()` does.
    pub fn find_after(self: &Rc<Self>, class: &Rc<Self>, name: &str) -> Option<Value> {
        self.lineage().skip_while(|other| !Rc::ptr_eq(other, class)).skip(1).find_map(|class| class.own(name))
    }

    /// Returns an attribute of this very class.
    pub fn own(&self, name: &str) -> Option<Value> {
        self.attributes.borrow().get(name).cloned()
    }

    /// Binds an attribute of this very class.
    pub fn set(&self, name: impl Into<Rc<str>>, value: Value) {
        let name = name.into();
        if &*name == "__getattribute__" {
            self.intercepts.set(true);
        }
        let replaced = self.attributes.borrow_mut().insert(name, value);
        drop(replaced);
        if !self.immutable {
            let above = ANCESTOR * self.ancestors.len() as u64;
            self.charge.note(CLASS + above + ATTRIBUTE * self.attributes.borrow().len() as u64);
        }
    }

    /// Says whether the program's own `__getattribute__` reads the attributes of its objects.
    pub(crate) fn intercepts(&self) -> bool {
        self.intercepts.get()
    }

    /// Says whether its objects may have an attribute of this name: where all classes have `__slots__`, only those.
    pub(crate) fn allows(self: &Rc<Self>, name: &str) -> bool {
        let is_one = |slot: &Value| slot.as_str().is_some_and(|slot| slot == name || slot == "__dict__");
        let names = |slots: Value| match slots {
            Value::Tuple(all) => all.iter().any(is_one),
            Value::List(all) => all.to_vec().iter().any(is_one),
            one @ Value::Str(_) => is_one(&one),
            _ => true,
        };
        !self.slotted || self.lineage().filter_map(|class| class.own("__slots__")).any(names)
    }

    /// Returns the members of an enumeration in order, without aliases; `None` for other classes.
    pub fn members(self: &Rc<Self>) -> Option<Vec<Value>> {
        let Value::Dict(members) = self.find(MEMBERS)? else { return None };
        let flags = self.find("_spare_bits_").is_some();
        // An alias is the member under another name; of flags, those of several bits or none stand for others.
        let own = |name: &Value, member: &Value| {
            let Value::Instance(member) = member else { return false };
            let bits =
                || member.own("_value_").and_then(|value| value.as_int()).is_none_or(|bits| bits.count_ones() == 1);
            member.own("_name_").is_some_and(|own| own.as_str() == name.as_str()) && (!flags || bits())
        };
        let members = members.entries().into_iter();
        Some(members.filter(|(name, member)| own(name, member)).map(|(_, member)| member).collect())
    }

    /// Unbinds an attribute of this very class.
    pub fn remove(&self, name: &str) -> Option<Value> {
        self.attributes.borrow_mut().shift_remove(name)
    }

    /// Unbinds everything.
    pub(crate) fn clear(&self) {
        let attributes = std::mem::take(&mut *self.attributes.borrow_mut());
        drop(attributes);
    }

    /// Returns the attributes of this very class, in order.
    pub fn attributes(&self) -> Vec<(Rc<str>, Value)> {
        self.attributes.borrow().iter().map(|(name, value)| (Rc::clone(name), value.clone())).collect()
    }
}

impl Drop for Class {
    fn drop(&mut self) {
        trash::bury(std::mem::take(&mut self.bases));
        trash::bury(std::mem::take(self.attributes.get_mut()).into_values());
    }
}

/// Merges the bases' orders (C3): every class before its bases, bases as listed.
fn linearize(bases: &[Value]) -> Result<Vec<Rc<Class>>, Raise> {
    let direct: Vec<&Rc<Class>> = bases
        .iter()
        .filter_map(|base| match base {
            Value::Class(class) => Some(class),
            _ => None,
        })
        .collect();
    if let [only] = direct[..] {
        return Ok(only.lineage().cloned().collect());
    }
    // The orders to merge, and how often each class is still to come after the first of one of them.
    let mut queues: Vec<VecDeque<&Rc<Class>>> = direct.iter().map(|class| class.lineage().collect()).collect();
    queues.push(direct.iter().copied().collect());
    let mut later: HashMap<*const Class, usize> = HashMap::new();
    for class in queues.iter().flat_map(|queue| queue.iter().skip(1)) {
        *later.entry(Rc::as_ptr(class)).or_default() += 1;
    }
    let mut order = Vec::new();
    loop {
        queues.retain(|queue| !queue.is_empty());
        if queues.is_empty() {
            return Ok(order);
        }
        let mut heads = queues.iter().filter_map(|queue| queue.front().copied());
        let free = heads.find(|head| later.get(&Rc::as_ptr(head)).is_none_or(|count| *count == 0));
        let Some(head) = free else {
            let names: Vec<&str> = queues.iter().filter_map(|queue| Some(&**queue.front()?.name())).collect();
            return Err(Raise::type_error(format!(
                "Cannot create a consistent method resolution\norder (MRO) for bases {}",
                names.join(", ")
            )));
        };
        for queue in &mut queues {
            if queue.front().is_some_and(|class| Rc::ptr_eq(class, head)) {
                queue.pop_front();
                if let Some(count) = queue.front().and_then(|next| later.get_mut(&Rc::as_ptr(next))) {
                    *count -= 1;
                }
            }
        }
        order.push(Rc::clone(head));
    }
}

/// An object of a class.
pub struct Instance {
    class: Rc<Class>,
    attributes: Attributes,
    /// The value of the builtin base, for classes like `class Stack(list)`.
    payload: RefCell<Option<Value>>,
    exception: Option<Box<RefCell<ExceptionState>>>,
    charge: Charge,
    registered: Cell<bool>,
}

/// Bytes charged for an object, and for each of its attributes.
const INSTANCE: u64 = 320;
const ATTRIBUTE: u64 = 64;

/// What exceptions have besides attributes.
#[derive(Default)]
pub struct ExceptionState {
    pub args: Vec<Value>,
    pub cause: Option<Value>,
    pub context: Option<Value>,
    /// `raise … from …` was used.
    pub suppress_context: bool,
    /// Frames passed, innermost first.
    pub traceback: Vec<Entry>,
    /// `str(exception)`, once somebody has asked.
    pub text: Option<Rc<str>>,
}

impl Instance {
    /// Makes an object without running `__init__`.
    pub fn new(class: &Rc<Class>) -> Rc<Self> {
        Rc::new(Self {
            class: Rc::clone(class),
            attributes: Attributes::default(),
            payload: RefCell::new(None),
            exception: class.exception.map(|_| Box::default()),
            charge: Charge::of(INSTANCE),
            registered: Cell::new(false),
        })
    }

    /// Charges for the object as it is now.
    ///
    /// # Errors
    /// Memory is spent.
    pub(crate) fn cover(self: &Rc<Self>, machine: &Machine) -> Result<(), Raise> {
        let attributes = self.attributes.len() as u64;
        self.attributes.cover(machine)?;
        if !self.registered.replace(true) {
            machine.register(Cyclic::Instance(Rc::downgrade(self)));
        }
        self.charge.cover(machine, INSTANCE + ATTRIBUTE * attributes)
    }

    pub fn class(&self) -> &Rc<Class> {
        &self.class
    }

    /// Returns an attribute of this very object.
    pub fn own(&self, name: &str) -> Option<Value> {
        self.attributes.get(name)
    }

    /// Binds an attribute of this very object.
    pub fn set(&self, name: impl Into<Rc<str>>, value: Value) {
        self.attributes.set(name.into(), value);
    }

    /// Unbinds an attribute of this very object.
    pub fn remove(&self, name: &str) -> Option<Value> {
        self.attributes.remove(name)
    }

    /// Returns the attributes of this very object, in order.
    pub fn attributes(&self) -> Vec<(Rc<str>, Value)> {
        self.attributes.entries()
    }

    /// Returns the dict that holds the attributes of this very object from now on: its `__dict__`.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn dict(&self, machine: &Machine) -> Result<Rc<Dict>, Raise> {
        self.attributes.show(machine)
    }

    /// Makes another dict the object's `__dict__`.
    pub fn set_dict(&self, dict: Rc<Dict>) {
        self.attributes.adopt(dict);
    }

    /// Unbinds everything.
    pub fn clear(&self) {
        drop(self.attributes.take());
    }

    /// Returns the value of the builtin base.
    pub fn payload(&self) -> Option<Value> {
        self.payload.borrow().clone()
    }

    pub fn set_payload(&self, value: Value) {
        // `int(x)` and its like may give an object of the program, as its `__int__` does: then that object's value counts, so
        // that no value lies inside another of its kind.
        let value = match &value {
            Value::Instance(inner) => inner.payload().unwrap_or(value),
            _ => value,
        };
        let replaced = self.payload.replace(Some(value));
        drop(replaced);
    }

    pub fn exception(&self) -> Option<&RefCell<ExceptionState>> {
        self.exception.as_deref()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        trash::bury(self.payload.get_mut().take());
        if let Some(state) = &mut self.exception {
            let state = std::mem::take(state.get_mut());
            trash::bury(state.args.into_iter().chain(state.cause).chain(state.context));
        }
    }
}

/// What `staticmethod`, `classmethod` and `property` make.
pub enum Decorated {
    StaticMethod(Value),
    ClassMethod(Value),
    Property(Property),
}

impl Drop for Decorated {
    fn drop(&mut self) {
        match self {
            Self::StaticMethod(function) | Self::ClassMethod(function) => {
                trash::bury([std::mem::replace(function, Value::None)]);
            }
            Self::Property(property) => {
                let functions = [property.getter.take(), property.setter.take(), property.deleter.take()];
                trash::bury(functions.into_iter().flatten());
            }
        }
    }
}

/// The functions of a `property`.
#[derive(Clone, Default)]
pub struct Property {
    pub getter: Option<Value>,
    pub setter: Option<Value>,
    pub deleter: Option<Value>,
    /// Its `__doc__`, where that is not the getter's.
    pub doc: Option<Value>,
}

/// Returns the builtin value that an instance of a class like `class Stack(list)` stands for, or the value itself.
pub fn plain(value: &Value) -> Value {
    payload(value).unwrap_or_else(|| value.clone())
}

/// Returns the builtin value that an instance stands for.
pub fn payload(value: &Value) -> Option<Value> {
    match value {
        Value::Instance(instance) => instance.payload(),
        _ => None,
    }
}

/// Finds a special method in the class of an instance.
pub fn special(value: &Value, name: &str) -> Option<Value> {
    match value {
        Value::Instance(instance) => instance.class().find(name),
        _ => None,
    }
}
