//! The attributes of one object.

use std::cell::RefCell;
use std::rc::Rc;

use indexmap::IndexMap;

use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::{Dict, trash};
use crate::values::value::Value;

/// Names and values in order. Once a program has asked for an object's `__dict__`, that dict holds them.
#[derive(Default)]
pub struct Attributes(RefCell<Store>);

enum Store {
    Own(IndexMap<Rc<str>, Value>),
    Shown(Rc<Dict>),
}

impl Default for Store {
    fn default() -> Self {
        Self::Own(IndexMap::new())
    }
}

impl Attributes {
    pub fn get(&self, name: &str) -> Option<Value> {
        match &*self.0.borrow() {
            Store::Own(own) => own.get(name).cloned(),
            Store::Shown(dict) => dict.get_string(name),
        }
    }

    pub fn set(&self, name: Rc<str>, value: Value) {
        // The value replaced is dropped after the borrow: its drop must not find the attributes borrowed.
        let shown = self.shown();
        match shown {
            Some(dict) => dict.set_string(name, value),
            None => {
                let replaced = match &mut *self.0.borrow_mut() {
                    Store::Own(own) => own.insert(name, value),
                    Store::Shown(_) => None,
                };
                drop(replaced);
            }
        }
    }

    pub fn remove(&self, name: &str) -> Option<Value> {
        match &mut *self.0.borrow_mut() {
            Store::Own(own) => own.shift_remove(name),
            Store::Shown(dict) => dict.remove_string(name),
        }
    }

    pub fn len(&self) -> usize {
        match &*self.0.borrow() {
            Store::Own(own) => own.len(),
            Store::Shown(dict) => dict.len(),
        }
    }

    /// Returns names and values in order. Keys of a `__dict__` that are no names are left out.
    pub fn entries(&self) -> Vec<(Rc<str>, Value)> {
        match &*self.0.borrow() {
            Store::Own(own) => own.iter().map(|(name, value)| (Rc::clone(name), value.clone())).collect(),
            Store::Shown(dict) => {
                let named = |(key, value)| match key {
                    Value::Str(name) => Some((name, value)),
                    _ => None,
                };
                dict.entries().into_iter().filter_map(named).collect()
            }
        }
    }

    /// Returns the dict that holds them from now on: `__dict__`.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn show(&self, machine: &Machine) -> Result<Rc<Dict>, Raise> {
        if let Some(dict) = self.shown() {
            return Ok(dict);
        }
        let dict = Rc::new(Dict::from_strings(self.entries()));
        dict.cover(machine)?;
        self.adopt(Rc::clone(&dict));
        Ok(dict)
    }

    /// Has a dict hold them, with what is in it.
    pub fn adopt(&self, dict: Rc<Dict>) {
        let replaced = self.0.replace(Store::Shown(dict));
        drop(replaced);
    }

    /// Charges for the dict, where there is one, as it is now.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn cover(&self, machine: &Machine) -> Result<(), Raise> {
        self.shown().map_or(Ok(()), |dict| dict.cover(machine))
    }

    /// Lets go of all values, and returns them.
    pub fn take(&self) -> Vec<Value> {
        match self.0.take() {
            Store::Own(own) => own.into_values().collect(),
            Store::Shown(dict) => {
                let values = dict.values().into_vec();
                dict.clear();
                values
            }
        }
    }

    fn shown(&self) -> Option<Rc<Dict>> {
        match &*self.0.borrow() {
            Store::Own(_) => None,
            Store::Shown(dict) => Some(Rc::clone(dict)),
        }
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        match self.0.take() {
            Store::Own(own) => trash::bury(own.into_values()),
            Store::Shown(dict) => trash::bury([Value::Dict(dict)]),
        }
    }
}
