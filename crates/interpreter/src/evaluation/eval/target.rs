//! Assigns to and deletes targets.

use program::ir::{Binary, Expr, Span, Target};

use super::expression::operator;
use super::{Now, Run};
use crate::evaluation::{attribute, operators};
use crate::values::raise::Raise;
use crate::values::types::{self, Items, List, sequence};
use crate::values::value::Value;

impl<'a> Run<'a> {
    /// Assigns a value to a target.
    pub(super) fn store(self, target: &'a Target, value: Value) -> Result<Now<'a, ()>, Raise> {
        match target {
            Target::Name(name) => {
                self.frame.bind(*name, value);
                Ok(Now::Done(()))
            }
            Target::Attribute { object, name, span } => Ok(Now::later(async move {
                let object = self.eval(object)?.get().await?;
                self.at(*span);
                self.settle(attribute::set(self.machine, &object, name, value))?.get().await.map(|_| ())
            })),
            Target::Item { object, key, span } => Ok(Now::later(async move {
                let object = self.eval(object)?.get().await?;
                let key = self.eval(key)?.get().await?;
                self.at(*span);
                self.settle(operators::set_item(self.machine, &object, &key, value))?.get().await.map(|_| ())
            })),
            Target::Sequence { before, star, after, span } => {
                self.at(*span);
                Ok(Now::later(async move {
                    let values = self.unpack(&value, before.len(), star.is_some(), after.len()).await?;
                    let mut values = values.into_iter();
                    for target in before {
                        let value = values.next().unwrap_or(Value::None);
                        self.store(target, value)?.get().await?;
                    }
                    if let Some(target) = star {
                        let count = values.len() - after.len();
                        sequence::affordable(self.machine, count)?;
                        let starred: Vec<Value> = values.by_ref().take(count).collect();
                        self.store(target, Value::list(starred))?.get().await?;
                    }
                    for target in after {
                        let value = values.next().unwrap_or(Value::None);
                        self.store(target, value)?.get().await?;
                    }
                    Ok(())
                }))
            }
        }
    }

    /// Takes as many values as there are targets, or more where one is starred.
    async fn unpack(self, value: &Value, before: usize, starred: bool, after: usize) -> Result<Items, Raise> {
        let wanted = before + after;
        let check = |length: usize| {
            if length < wanted {
                let least = if starred { "at least " } else { "" };
                return Err(Raise::value_error(format!(
                    "not enough values to unpack (expected {least}{wanted}, got {length})"
                )));
            }
            if length > wanted && !starred {
                return Err(Raise::value_error(format!("too many values to unpack (expected {wanted})")));
            }
            self.machine.charge_fuel(length as u64 / 16)
        };
        match value {
            Value::Tuple(items) => {
                check(items.len())?;
                Ok(items.to_vec().into())
            }
            Value::List(items) => {
                check(items.len())?;
                Ok(items.to_vec())
            }
            value => {
                let iterator = match operators::iterate(self.machine, value) {
                    Ok(outcome) => self.machine.settle(outcome).await?,
                    Err(_) if !matches!(value, Value::Instance(_) | Value::Host(_)) => {
                        let name = types::type_name(value);
                        return Err(Raise::type_error(format!("cannot unpack non-iterable {name} object")));
                    }
                    Err(raise) => return Err(raise),
                };
                let values = List::new(Vec::new());
                // Without a star, one more than wanted is enough to know.
                while starred || values.len() <= wanted {
                    self.machine.charge_fuel(1)?;
                    match self.advance(&iterator).await? {
                        Some(value) => values.push(self.machine, value)?,
                        None => break,
                    }
                }
                check(values.len())?;
                values.replace(self.machine, Vec::new())
            }
        }
    }

    pub(super) fn augmented_assign(
        self,
        target: &'a Target,
        binary: Binary,
        value: &'a Expr,
        span: Span,
    ) -> Result<Now<'a, ()>, Raise> {
        let operator = operator(binary);
        let Target::Name(name) = target else {
            return Ok(Now::later(self.augmented_place(target, binary, value, span)));
        };
        self.at(span);
        let left = self.frame.load(*name)?;
        let right = match self.eval(value)? {
            Now::Done(right) => right,
            Now::Later(future) => {
                return Ok(Now::later(async move {
                    let right = future.await?;
                    self.at(span);
                    let result = self.settle(operators::in_place(self.machine, operator, &left, &right))?.get().await?;
                    self.frame.bind(*name, result);
                    Ok(())
                }));
            }
        };
        self.at(span);
        match self.settle(operators::in_place(self.machine, operator, &left, &right))? {
            Now::Done(result) => {
                self.frame.bind(*name, result);
                Ok(Now::Done(()))
            }
            Now::Later(future) => Ok(Now::later(async move {
                self.frame.bind(*name, future.await?);
                Ok(())
            })),
        }
    }

    /// `object.name ⋄= value` and `object[key] ⋄= value`: the object and the key are evaluated once.
    async fn augmented_place(
        self,
        target: &'a Target,
        binary: Binary,
        value: &'a Expr,
        span: Span,
    ) -> Result<(), Raise> {
        let operator = operator(binary);
        match target {
            Target::Attribute { object, name, span: place } => {
                let object = self.eval(object)?.get().await?;
                self.at(*place);
                let left = self.settle(attribute::get(self.machine, &object, name))?.get().await?;
                let right = self.eval(value)?.get().await?;
                self.at(span);
                let result = self.settle(operators::in_place(self.machine, operator, &left, &right))?.get().await?;
                self.at(*place);
                self.settle(attribute::set(self.machine, &object, name, result))?.get().await?;
            }
            Target::Item { object, key, span: place } => {
                let object = self.eval(object)?.get().await?;
                let key = self.eval(key)?.get().await?;
                self.at(*place);
                let left = self.settle(operators::get_item(self.machine, &object, &key))?.get().await?;
                let right = self.eval(value)?.get().await?;
                self.at(span);
                let result = self.settle(operators::in_place(self.machine, operator, &left, &right))?.get().await?;
                self.at(*place);
                self.settle(operators::set_item(self.machine, &object, &key, result))?.get().await?;
            }
            Target::Name(_) | Target::Sequence { .. } => {
                return Err(Raise::type_error("illegal expression for augmented assignment"));
            }
        }
        Ok(())
    }

    pub(super) async fn delete(self, targets: &'a [Target]) -> Result<(), Raise> {
        for target in targets {
            match target {
                Target::Name(name) => self.frame.unbind(*name)?,
                Target::Attribute { object, name, span } => {
                    let object = self.eval(object)?.get().await?;
                    self.at(*span);
                    self.settle(attribute::delete(self.machine, &object, name))?.get().await?;
                }
                Target::Item { object, key, span } => {
                    let object = self.eval(object)?.get().await?;
                    let key = self.eval(key)?.get().await?;
                    self.at(*span);
                    self.settle(operators::delete_item(self.machine, &object, &key))?.get().await?;
                }
                Target::Sequence { before, star, after, .. } => {
                    Now::later(self.delete(before)).get().await?;
                    if let Some(star) = star {
                        Now::later(self.delete(std::slice::from_ref(star))).get().await?;
                    }
                    Now::later(self.delete(after)).get().await?;
                }
            }
        }
        Ok(())
    }
}
