//! Finding and counting the elements of a sequence that equal a value.

use std::rc::Rc;

use crate::evaluation::operators;
use crate::values::host::HostResult;
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::sequence::clamp;
use crate::values::types::{List, Tuple};
use crate::values::value::Value;

/// A list or tuple whose elements are looked at one after another. A list may change meanwhile.
#[derive(Clone)]
pub enum Elements {
    List(Rc<List>),
    Tuple(Rc<Tuple>),
}

impl Elements {
    fn get(&self, position: usize) -> Option<Value> {
        match self {
            Self::List(list) => list.get(position),
            Self::Tuple(tuple) => tuple.get(position).cloned(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Tuple(tuple) => tuple.len(),
        }
    }

    /// Finds the first element between two positions that equals a value: its position, or `None`.
    ///
    /// # Errors
    /// What comparing raises.
    pub fn find(self, machine: &Machine, value: Value, start: usize, stop: usize) -> HostResult {
        for position in start..stop {
            let Some(item) = self.get(position) else { break };
            machine.charge_fuel(1)?;
            match operators::same_or_equal_now(machine, &item, &value)? {
                Some(true) => return Ok(Value::Int(position as i64).into()),
                Some(false) => {}
                None => {
                    let machine = machine.clone();
                    return operators::later(async move {
                        for position in position..stop {
                            let Some(item) = self.get(position) else { break };
                            machine.charge_fuel(1)?;
                            if operators::same_or_equal(&machine, &item, &value).await? {
                                return Ok(Value::Int(position as i64));
                            }
                        }
                        Ok(Value::None)
                    });
                }
            }
        }
        Ok(Value::None.into())
    }

    /// Counts the elements that equal a value.
    ///
    /// # Errors
    /// What comparing raises.
    pub fn count(self, machine: &Machine, value: Value) -> HostResult {
        let mut found = 0;
        let mut position = 0;
        while let Some(item) = self.get(position) {
            machine.charge_fuel(1)?;
            let Some(equal) = operators::same_or_equal_now(machine, &item, &value)? else {
                let machine = machine.clone();
                return operators::later(async move {
                    while let Some(item) = self.get(position) {
                        machine.charge_fuel(1)?;
                        found += i64::from(operators::same_or_equal(&machine, &item, &value).await?);
                        position += 1;
                    }
                    Ok(Value::Int(found))
                });
            };
            found += i64::from(equal);
            position += 1;
        }
        Ok(Value::Int(found).into())
    }

    /// `index(value[, start[, stop]])`.
    ///
    /// # Errors
    /// `ValueError` with what `missing` says where the value is not there; what comparing raises.
    pub fn index(
        self,
        machine: &Machine,
        mut args: Vec<Value>,
        missing: impl FnOnce(&Machine, &Value) -> Result<String, Raise> + 'static,
    ) -> HostResult {
        let bound = |position: usize, default: usize| match args.get(position) {
            Some(bound) => Ok(clamp(operators::index_clamped(machine, bound)?, self.len())),
            None => Ok(default),
        };
        let (start, stop) = (bound(1, 0)?, bound(2, usize::MAX)?);
        let wanted = args.swap_remove(0);
        let found = self.find(machine, wanted.clone(), start, stop);
        operators::then(machine, found, move |machine, position| match position {
            Value::None => Err(Raise::value_error(missing(machine, &wanted)?)),
            position => Ok(position.into()),
        })
    }
}

/// [`Elements::count`] of a copy of a container's elements.
///
/// # Errors
/// What comparing raises.
pub fn count(machine: &Machine, items: impl Into<Vec<Value>>, value: Value) -> HostResult {
    Elements::Tuple(Rc::new(Tuple::new(items.into()))).count(machine, value)
}

/// [`Elements::find`] in a copy of a container's elements.
///
/// # Errors
/// What comparing raises.
pub fn position_of(machine: &Machine, items: impl Into<Vec<Value>>, value: Value) -> HostResult {
    Elements::Tuple(Rc::new(Tuple::new(items.into()))).find(machine, value, 0, usize::MAX)
}

/// [`Elements::index`] in a copy of a container's elements.
///
/// # Errors
/// `ValueError` with what `missing` says where the value is not there; what comparing raises.
pub fn index(
    machine: &Machine,
    items: impl Into<Vec<Value>>,
    args: Vec<Value>,
    missing: impl FnOnce(&Machine, &Value) -> Result<String, Raise> + 'static,
) -> HostResult {
    Elements::Tuple(Rc::new(Tuple::new(items.into()))).index(machine, args, missing)
}
