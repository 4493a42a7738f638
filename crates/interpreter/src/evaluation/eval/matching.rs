//! Runs `match` statements.

use std::rc::Rc;

use program::ir::{Body, Case, Expr, Name, Pattern};

use super::expression::value_of;
use super::{Flow, Now, Run};
use crate::evaluation::{attribute, mapping, operators};
use crate::values::exceptions::Kind;
use crate::values::host::Operator;
use crate::values::raise::Raise;
use crate::values::suspension::Deep;
use crate::values::types::{self, Type, sequence};
use crate::values::value::Value;

impl<'a> Run<'a> {
    pub(super) async fn match_statement(self, subject: &'a Expr, cases: &'a [Case]) -> Result<Flow, Raise> {
        let subject = self.traced(self.eval(subject))?.get().await?;
        for case in cases {
            let chosen = self.traced(Ok(Now::later(self.case(case, subject.clone()))))?.get().await?;
            if chosen {
                let body: &'a Body = &case.body;
                return self.body(body)?.get().await;
            }
        }
        Ok(Flow::Next)
    }

    async fn case(self, case: &'a Case, subject: Value) -> Result<bool, Raise> {
        let mut captured = Vec::new();
        if !self.matches(&case.pattern, subject, &mut captured).await? {
            return Ok(false);
        }
        for (name, value) in captured {
            self.frame.bind(name, value);
        }
        match &case.guard {
            Some(guard) => self.condition(guard)?.get().await,
            None => Ok(true),
        }
    }

    /// Says whether a value fits a pattern. Names are bound only once the whole pattern fits.
    fn matches<'c>(
        self,
        pattern: &'a Pattern,
        value: Value,
        captured: &'c mut Vec<(Name, Value)>,
    ) -> Deep<'c, Result<bool, Raise>>
    where
        'a: 'c,
    {
        Deep::new(async move {
            self.machine.charge_fuel(1)?;
            match pattern {
                Pattern::Value(expr) => {
                    let expected = self.eval(expr)?.get().await?;
                    self.at(expr.span);
                    let outcome = operators::binary(self.machine, Operator::Equal, &value, &expected);
                    let equal = self.settle(outcome)?.get().await?;
                    operators::truth(self.machine, &equal).await
                }
                Pattern::Singleton(constant) => Ok(value.is(&value_of(constant))),
                Pattern::Capture { pattern, name } => {
                    if let Some(pattern) = pattern
                        && !self.matches(pattern, value.clone(), captured).await?
                    {
                        return Ok(false);
                    }
                    captured.extend(name.map(|name| (name, value)));
                    Ok(true)
                }
                Pattern::Or(patterns) => {
                    for pattern in patterns {
                        let before = captured.len();
                        if self.matches(pattern, value.clone(), captured).await? {
                            return Ok(true);
                        }
                        captured.truncate(before);
                    }
                    Ok(false)
                }
                Pattern::Sequence { before, star, after } => {
                    self.matches_sequence(before, star.as_ref(), after, value, captured).await
                }
                Pattern::Mapping { pairs, rest } => self.matches_mapping(pairs, *rest, value, captured).await,
                Pattern::Class { class, positional, keyword } => {
                    self.matches_class(class, positional, keyword, value, captured).await
                }
            }
        })
    }

    async fn matches_sequence(
        self,
        before: &'a [Pattern],
        star: Option<&'a Option<Name>>,
        after: &'a [Pattern],
        value: Value,
        captured: &mut Vec<(Name, Value)>,
    ) -> Result<bool, Raise> {
        let wanted = before.len() + after.len();
        let fits = |length: usize| length == wanted || length > wanted && star.is_some();
        let items = match operators::plain(&value) {
            Value::List(list) if fits(list.len()) => list.to_vec(),
            Value::Tuple(items) if fits(items.len()) => items.to_vec().into(),
            Value::Range(range) if fits(range.len()) => operators::collect(self.machine, &value).await?,
            // `torch.Size`, for example.
            Value::Host(host) if host.is_instance("tuple") || host.is_instance("collections.deque") => {
                operators::collect(self.machine, &value).await?
            }
            _ => return Ok(false),
        };
        if !fits(items.len()) {
            return Ok(false);
        }
        self.machine.charge_fuel(items.len() as u64 / 16)?;
        let end = items.len() - after.len();
        let ends = before.iter().zip(&items[..before.len()]).chain(after.iter().zip(&items[end..]));
        for (pattern, item) in ends {
            if !self.matches(pattern, item.clone(), captured).await? {
                return Ok(false);
            }
        }
        if let Some(Some(name)) = star {
            let middle = &items[before.len()..end];
            sequence::affordable(self.machine, middle.len())?;
            captured.push((*name, Value::list(middle.to_vec())));
        }
        Ok(true)
    }

    async fn matches_mapping(
        self,
        pairs: &'a [(Expr, Pattern)],
        rest: Option<Name>,
        value: Value,
        captured: &mut Vec<(Name, Value)>,
    ) -> Result<bool, Raise> {
        let Value::Dict(dict) = operators::plain(&value) else { return Ok(false) };
        let mut seen = Vec::new();
        for (key, pattern) in pairs {
            let key = self.eval(key)?.get().await?;
            let key = mapping::resolve(self.machine, &dict, &key).await?;
            let Some(item) = dict.get(&key) else { return Ok(false) };
            if !self.matches(pattern, item, captured).await? {
                return Ok(false);
            }
            seen.push(key);
        }
        if let Some(rest) = rest {
            let left = Rc::new(dict.copy(self.machine)?);
            for key in &seen {
                drop(left.remove(key));
            }
            captured.push((rest, Value::Dict(left)));
        }
        Ok(true)
    }

    async fn matches_class(
        self,
        class: &'a Expr,
        positional: &'a [Pattern],
        keyword: &'a [(Rc<str>, Pattern)],
        value: Value,
        captured: &mut Vec<(Name, Value)>,
    ) -> Result<bool, Raise> {
        let class_value = self.eval(class)?.get().await?;
        self.at(class.span);
        if !self.machine.language().is_instance(self.machine, &value, &class_value)? {
            return Ok(false);
        }
        // `int(x)` and its like match the value itself.
        let whole = matches!(
            class_value,
            Value::Type(
                Type::Bool
                    | Type::Int
                    | Type::Float
                    | Type::Str
                    | Type::Bytes
                    | Type::List
                    | Type::Tuple
                    | Type::Dict
                    | Type::Set
                    | Type::FrozenSet
            )
        );
        let names = if whole || positional.is_empty() { Vec::new() } else { self.match_args(&class_value).await? };
        // They are counted before any is tried.
        let (accepts, given) = (if whole { 1 } else { names.len() }, positional.len());
        if given > accepts {
            let name = match &class_value {
                Value::Class(class) => class.name().to_string(),
                Value::Type(kind) => kind.name().to_owned(),
                other => types::type_name(other).into_owned(),
            };
            let plural = if accepts == 1 { "" } else { "s" };
            return Err(Raise::type_error(format!(
                "{name}() accepts {accepts} positional sub-pattern{plural} ({given} given)"
            )));
        }
        for (index, pattern) in positional.iter().enumerate() {
            let item = match names.get(index) {
                _ if whole => value.clone(),
                Some(Value::Str(name)) => match self.attribute_of(&value, name).await? {
                    Some(item) => item,
                    None => return Ok(false),
                },
                _ => return Err(Raise::type_error("__match_args__ elements must be strings")),
            };
            if !self.matches(pattern, item, captured).await? {
                return Ok(false);
            }
        }
        for (name, pattern) in keyword {
            let Some(item) = self.attribute_of(&value, name).await? else { return Ok(false) };
            if !self.matches(pattern, item, captured).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn match_args(self, class: &Value) -> Result<Vec<Value>, Raise> {
        Ok(match self.attribute_of(class, "__match_args__").await? {
            Some(Value::Tuple(names)) => names.to_vec(),
            _ => Vec::new(),
        })
    }

    async fn attribute_of(self, object: &Value, name: &str) -> Result<Option<Value>, Raise> {
        let found = match attribute::find(self.machine, object, name) {
            Ok(None) => return Ok(None),
            Ok(Some(outcome)) => self.machine.settle(outcome).await,
            Err(raise) => Err(raise),
        };
        match found {
            Ok(value) => Ok(Some(value)),
            Err(raise) if raise.is(Kind::AttributeError) => Ok(None),
            Err(raise) => Err(raise),
        }
    }
}
