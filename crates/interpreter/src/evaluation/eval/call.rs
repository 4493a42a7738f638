//! Evaluates calls and their arguments.

use std::collections::HashSet;
use std::rc::Rc;

use program::ir::{self, ExprKind, Span};

use super::expression::Evaluated;
use super::{Now, Run};
use crate::evaluation::{attribute, operators};
use crate::values::host::{Args, HostObject, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types;
use crate::values::types::charge::Charge;
use crate::values::value::Value;

/// Keyword arguments that are looked through for a repeated name faster than a set is made.
const FEW: usize = 16;
/// Bytes charged for a keyword argument while others are gathered.
const KEYWORD: u64 = 80;

impl<'a> Run<'a> {
    pub(super) fn call(self, call: &'a ir::Call, span: Span) -> Evaluated<'a> {
        // A method of a host object is called without making a bound one first.
        if let ExprKind::Attribute { object, name } = &call.callee.kind {
            return match self.eval(object)? {
                Now::Done(object) => self.call_method(object, name, call, span),
                Now::Later(future) => Ok(Now::later(async move {
                    let object = future.await?;
                    self.call_method(object, name, call, span)?.get().await
                })),
            };
        }
        match self.eval(&call.callee)? {
            Now::Done(callee) => self.call_with(callee, call, span),
            Now::Later(future) => Ok(Now::later(async move {
                let callee = future.await?;
                self.call_with(callee, call, span)?.get().await
            })),
        }
    }

    fn call_method(self, object: Value, name: &'a Rc<str>, call: &'a ir::Call, span: Span) -> Evaluated<'a> {
        let Value::Host(host) = &object else {
            // Nor is one of a builtin type.
            if let Some(method) = data_method(self.machine, &object, name) {
                return match self.call_arguments(call, span, &object)? {
                    Now::Done(args) => {
                        self.at(span);
                        self.machine.charge_fuel(1)?;
                        self.settle(method(self.machine, &object, args))
                    }
                    Now::Later(future) => Ok(Now::later(async move {
                        let args = future.await?;
                        self.at(span);
                        self.machine.charge_fuel(1)?;
                        self.settle(method(self.machine, &object, args))?.get().await
                    })),
                };
            }
            self.at(call.callee.span);
            return match self.settle(attribute::get(self.machine, &object, name))? {
                Now::Done(callee) => self.call_with(callee, call, span),
                Now::Later(future) => Ok(Now::later(async move {
                    let callee = future.await?;
                    self.call_with(callee, call, span)?.get().await
                })),
            };
        };
        let host = Rc::clone(host);
        match self.call_arguments(call, span, &object)? {
            Now::Done(args) => self.call_host(host, object, name, args, call, span),
            Now::Later(future) => Ok(Now::later(async move {
                let args = future.await?;
                self.call_host(host, object, name, args, call, span)?.get().await
            })),
        }
    }

    fn call_host(
        self,
        host: Rc<dyn HostObject>,
        object: Value,
        name: &'a Rc<str>,
        args: Args,
        call: &'a ir::Call,
        span: Span,
    ) -> Evaluated<'a> {
        self.at(span);
        let outcome = match call.opens {
            true => host.open_method(self.machine, name, &args)?,
            false => host.call_method(self.machine, name, &args)?,
        };
        match outcome {
            Outcome::NotImplemented => {}
            outcome => return self.settle(Ok(outcome)),
        }
        self.at(call.callee.span);
        match self.settle(attribute::get(self.machine, &object, name))? {
            Now::Done(callee) => {
                self.at(span);
                self.settle(self.machine.call_now(&callee, args))
            }
            Now::Later(future) => Ok(Now::later(async move {
                let callee = future.await?;
                self.at(span);
                self.settle(self.machine.call_now(&callee, args))?.get().await
            })),
        }
    }

    fn call_with(self, callee: Value, call: &'a ir::Call, span: Span) -> Evaluated<'a> {
        match self.call_arguments(call, span, &callee)? {
            Now::Done(args) => {
                self.at(span);
                self.settle(self.machine.call_now(&callee, args))
            }
            Now::Later(future) => Ok(Now::later(async move {
                let args = future.await?;
                self.at(span);
                self.settle(self.machine.call_now(&callee, args))?.get().await
            })),
        }
    }

    /// Evaluates the arguments of a call. `callee` is what error messages name.
    fn call_arguments(self, call: &'a ir::Call, span: Span, callee: &Value) -> Result<Now<'a, Args>, Raise> {
        let plain = call.positional.iter().all(|argument| !argument.starred);
        if plain && call.keyword.is_empty() {
            return Ok(match self.arguments(&call.positional)? {
                Now::Done(positional) => Now::Done(Args { positional, keyword: Vec::new() }),
                Now::Later(future) => {
                    Now::later(async move { Ok(Args { positional: future.await?, keyword: Vec::new() }) })
                }
            });
        }
        let callee = callee.clone();
        Ok(Now::later(async move {
            let mut args = Args::default();
            let mut names = HashSet::new();
            let gathered = Charge::default();
            for argument in &call.positional {
                let value = self.eval(&argument.value)?.get().await?;
                if !argument.starred {
                    args.positional.push(value);
                    continue;
                }
                self.at(span);
                if !operators::is_iterable(&value) {
                    let (callee, given) = (name_of(&callee), types::type_name(&value));
                    return Err(Raise::type_error(format!(
                        "{callee} argument after * must be an iterable, not {given}"
                    )));
                }
                args.positional.extend(operators::collect(self.machine, &value).await?);
                gathered.cover(self.machine, (args.positional.len() * size_of::<Value>()) as u64)?;
            }
            for (name, value) in &call.keyword {
                let value = self.eval(value)?.get().await?;
                self.at(span);
                match name {
                    Some(name) => add_keyword(&mut args.keyword, &mut names, Rc::clone(name), value, &callee)?,
                    None => {
                        self.unpack_keywords(&value, &mut args.keyword, &mut names, &callee).await?;
                        gathered.cover(self.machine, KEYWORD * args.keyword.len() as u64)?;
                    }
                }
            }
            Ok(args)
        }))
    }

    async fn unpack_keywords(
        self,
        mapping: &Value,
        keyword: &mut Vec<(Rc<str>, Value)>,
        names: &mut HashSet<Rc<str>>,
        callee: &Value,
    ) -> Result<(), Raise> {
        let mappable = matches!(operators::plain(mapping), Value::Dict(_) | Value::Instance(_) | Value::Host(_));
        if !mappable {
            let (callee, given) = (name_of(callee), types::type_name(mapping));
            return Err(Raise::type_error(format!("{callee} argument after ** must be a mapping, not {given}")));
        }
        for (key, value) in operators::mapping_entries(self.machine, mapping).await? {
            self.machine.charge_fuel(1)?;
            let Value::Str(key) = key else { return Err(Raise::type_error("keywords must be strings")) };
            add_keyword(keyword, names, key, value, callee)?;
        }
        Ok(())
    }
}

/// Finds a method of a value of a builtin data type.
fn data_method(machine: &Machine, object: &Value, name: &str) -> Option<types::MethodFn> {
    let data = matches!(
        object,
        Value::Str(_)
            | Value::List(_)
            | Value::Dict(_)
            | Value::Set(_)
            | Value::Tuple(_)
            | Value::Int(_)
            | Value::Float(_)
    );
    if data { machine.language().method(types::builtin_type(object)?, name) } else { None }
}

/// Adds a keyword argument. `names` holds the names of all once they are many.
fn add_keyword(
    keyword: &mut Vec<(Rc<str>, Value)>,
    names: &mut HashSet<Rc<str>>,
    name: Rc<str>,
    value: Value,
    callee: &Value,
) -> Result<(), Raise> {
    if keyword.len() == FEW {
        names.extend(keyword.iter().map(|(name, _)| Rc::clone(name)));
    }
    let repeated = match keyword.len() < FEW {
        true => keyword.iter().any(|(other, _)| *other == name),
        false => !names.insert(Rc::clone(&name)),
    };
    if repeated {
        let callee = name_of(callee);
        return Err(Raise::type_error(format!("{callee} got multiple values for keyword argument '{name}'")));
    }
    keyword.push((name, value));
    Ok(())
}

/// Names what is called, as messages about unpacked arguments do.
fn name_of(callee: &Value) -> String {
    let mut callee = callee;
    while let Value::Method(method) = callee {
        callee = &method.function;
    }
    match callee {
        Value::Function(function) => {
            let module =
                match function.surroundings().and_then(|frame| frame.globals().borrow().get("__name__").cloned()) {
                    Some(Value::Str(name)) => name,
                    _ => "__main__".into(),
                };
            format!("{module}.{}()", function.code().qualified_name())
        }
        Value::Class(class) => format!("{}.{}()", class.module(), class.qualified_name()),
        Value::Type(kind) => format!("{}()", kind.name()),
        Value::Native(native) => format!("{}()", native.name()),
        other => format!("{} object", types::type_name(other)),
    }
}
