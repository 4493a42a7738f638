//! What code can get at by way of some values.

use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;

use interpreter::{Effect, Frame, Identity, Type, Value};

use super::{Knows, effects};

/// Objects that a block can look at at most: finding them all is for every block.
const MOST: usize = 1 << 16;

/// What a block can look at.
#[derive(Default)]
pub struct Reached {
    pub objects: HashSet<Identity>,
    /// Names of the session that functions read when they are called.
    pub names: BTreeSet<u32>,
}

impl Reached {
    /// Finds all objects that code can look at by way of some values, and of some that it only calls; `None` where looking
    /// may run a user's code, use something up, or find too much, or where an object does not say what it leads to.
    /// `session` is the frame whose names may mean something else by then.
    pub fn by(values: Vec<Value>, called: Vec<Value>, session: &Rc<Frame>, knows: Knows) -> Option<Self> {
        let (mut found, mut open) = (Self::default(), values);
        for object in called {
            let Value::Host(host) = &object else { return None };
            open.extend(host.looked_at_by_calls()?);
            found.objects.insert(place(&object));
        }
        while let Some(value) = open.pop() {
            let size = match &value {
                Value::List(list) => list.len(),
                Value::Tuple(tuple) => tuple.len(),
                Value::Dict(dict) => dict.len(),
                Value::Set(set) => set.len(),
                _ => 0,
            };
            if found.objects.len() + open.len() + size > MOST {
                return None;
            }
            match &value {
                Value::None
                | Value::NotImplemented
                | Value::Ellipsis
                | Value::Bool(_)
                | Value::Int(_)
                | Value::Big(_)
                | Value::Float(_)
                | Value::Complex(..)
                | Value::Str(_)
                | Value::Bytes(_)
                | Value::Range(_)
                | Value::Type(_) => {}
                // Reading what a defaultdict lacks puts it there.
                Value::Dict(dict) if dict.type_of() == Type::DefaultDict => return None,
                Value::Native(native) if native.effect() == Effect::Looks => {}
                Value::Function(function) if function.effect() == Effect::Looks => {}
                Value::Iterator(_)
                | Value::Native(_)
                | Value::Method(_)
                | Value::Class(_)
                | Value::Instance(_)
                | Value::Decorated(_) => return None,
                _ if !found.objects.insert(place(&value)) => {}
                Value::Slice(slice) => open.extend([&slice.start, &slice.stop, &slice.step].map(Clone::clone)),
                Value::List(list) => open.extend(list.to_vec()),
                Value::Tuple(tuple) => open.extend(tuple.iter().cloned()),
                Value::Dict(dict) => open.extend(dict.entries().into_iter().flat_map(|(key, value)| [key, value])),
                Value::Set(set) => open.extend(set.items()),
                Value::Host(host) => open.extend(host.holds()?),
                Value::Function(function) => {
                    let defaults = function.defaults();
                    open.extend(defaults.positional);
                    open.extend(defaults.keyword.into_iter().map(|(_, value)| value));
                    let around = function.surroundings()?;
                    for (up, slot) in effects::of_function(&around, function.code(), knows)? {
                        let scope = around.outward(up);
                        if std::ptr::eq(scope, Rc::as_ptr(session)) {
                            found.names.insert(slot);
                        }
                        open.extend(super::value(scope, slot));
                    }
                }
            }
        }
        Some(found)
    }
}

/// Returns what identifies an object's memory: tensors of one memory are one.
pub fn place(value: &Value) -> Identity {
    match value {
        Value::Host(host) => host.memory().map_or_else(|| value.identity(), Identity::Place),
        value => value.identity(),
    }
}
