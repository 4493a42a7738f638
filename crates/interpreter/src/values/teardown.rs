//! Breaks cycles of references at the end of a job, so that its values are freed.

use std::collections::HashSet;
use std::rc::Weak;

use crate::values::class::{Class, Decorated, Instance};
use crate::values::frame::Frame;
use crate::values::machine::Machine;
use crate::values::raise;
use crate::values::value::Value;

/// An object that may be part of a cycle, held weakly.
pub(crate) enum Cyclic {
    Frame(Weak<Frame>),
    Instance(Weak<Instance>),
    Class(Weak<Class>),
}

impl Cyclic {
    pub fn is_alive(&self) -> bool {
        match self {
            Self::Frame(frame) => frame.strong_count() > 0,
            Self::Instance(instance) => instance.strong_count() > 0,
            Self::Class(class) => class.strong_count() > 0,
        }
    }
}

/// Empties what is alive, and every container that is reached from it.
pub(crate) fn clear(machine: &Machine, alive: &[Cyclic]) {
    let mut seen = HashSet::new();
    let mut queue: Vec<Value> = Vec::new();
    for object in alive {
        match object {
            Cyclic::Frame(frame) => {
                if let Some(frame) = frame.upgrade() {
                    queue.extend(frame.clear());
                }
            }
            Cyclic::Instance(instance) => queue.extend(instance.upgrade().map(Value::Instance)),
            Cyclic::Class(class) => queue.extend(class.upgrade().map(Value::Class)),
        }
    }
    // What is taken out is kept until the end: dropping it here could free objects whose places are in `seen`.
    let mut taken = Vec::new();
    while let Some(value) = queue.pop() {
        if !holds_others(&value) || !seen.insert(value.identity()) {
            continue;
        }
        empty(machine, &value, &mut queue);
        taken.push(value);
    }
}

fn holds_others(value: &Value) -> bool {
    matches!(
        value,
        Value::List(_)
            | Value::Tuple(_)
            | Value::Dict(_)
            | Value::Set(_)
            | Value::Function(_)
            | Value::Method(_)
            | Value::Class(_)
            | Value::Instance(_)
            | Value::Iterator(_)
            | Value::Decorated(_)
    )
}

/// Moves what a value holds to the queue. Frozen values stay whole: what they hold is emptied.
fn empty(machine: &Machine, value: &Value, queue: &mut Vec<Value>) {
    match value {
        Value::List(list) => queue.extend(list.replace(machine, Vec::new()).unwrap_or_default()),
        Value::Tuple(items) => queue.extend(items.iter().cloned()),
        Value::Dict(dict) => {
            queue.extend(dict.entries().into_iter().flat_map(|(key, value)| [key, value]));
            dict.clear();
        }
        Value::Set(set) => queue.extend(set.items()),
        Value::Function(function) => queue.extend(function.clear()),
        Value::Method(method) => queue.extend([method.function.clone(), method.receiver.clone()]),
        Value::Class(class) if !class.is_immutable() => {
            queue.extend(class.attributes().into_iter().map(|(_, value)| value));
            queue.extend(class.bases().iter().cloned());
            class.clear();
        }
        Value::Instance(instance) => {
            queue.extend(instance.attributes().into_iter().map(|(_, value)| value));
            queue.extend(instance.payload());
            if let Some(state) = instance.exception() {
                // What an exception prints stays: its host may report it after the job has been torn down.
                let text = raise::message(instance);
                let mut state = state.borrow_mut();
                state.text.get_or_insert_with(|| text.into());
                queue.extend(std::mem::take(&mut state.args));
            }
            instance.clear();
        }
        Value::Iterator(iterator) => {
            if let Some(generator) = iterator.as_generator() {
                generator.end();
            }
        }
        Value::Decorated(decorated) => match &**decorated {
            Decorated::StaticMethod(function) | Decorated::ClassMethod(function) => queue.push(function.clone()),
            Decorated::Property(property) => {
                let functions = [&property.getter, &property.setter, &property.deleter];
                queue.extend(functions.into_iter().flatten().cloned());
            }
        },
        _ => {}
    }
}
