//! Defines functions and classes, and imports.

use std::rc::Rc;

use program::ir::{self, Expr, Span};

use super::Run;
use crate::evaluation::{annotation, attribute, import};
use crate::values::class::{Class, Decorated};
use crate::values::exceptions::Kind;
use crate::values::frame::Frame;
use crate::values::function::{Defaults, Function};
use crate::values::host::Args;
use crate::values::raise::Raise;
use crate::values::teardown::Cyclic;
use crate::values::types::{self, Type};
use crate::values::value::Value;

/// Methods that are class methods without saying so.
const OF_CLASSES: [&str; 2] = ["__class_getitem__", "__init_subclass__"];

impl<'a> Run<'a> {
    /// Makes a function of a `def` or `lambda`.
    pub(super) async fn function(self, definition: &'a ir::Definition) -> Result<Value, Raise> {
        let mut defaults = Defaults::default();
        for default in &definition.defaults {
            defaults.positional.push(self.eval(default)?.get().await?);
        }
        for (name, default) in &definition.keyword_defaults {
            defaults.keyword.push((Rc::clone(name), self.eval(default)?.get().await?));
        }
        self.closed(definition, defaults)
    }

    /// Makes a function whose defaults are known.
    pub(super) fn closed(self, definition: &ir::Definition, defaults: Defaults) -> Result<Value, Raise> {
        let surroundings = self.surroundings(definition.outward);
        let function = Function::new(self.machine, Rc::clone(&definition.code), surroundings, defaults)?;
        Ok(Value::Function(Rc::new(function)))
    }

    /// Returns the frame that scopes defined here see around them.
    pub(super) fn surroundings(self, outward: u32) -> Rc<Frame> {
        let mut frame = self.frame;
        for _ in 0..outward {
            match frame.parent() {
                Some(parent) => frame = parent,
                None => break,
            }
        }
        Rc::clone(frame)
    }

    pub(super) async fn define(
        self,
        definition: &'a ir::Definition,
        decorators: &'a [Expr],
        target: ir::Name,
    ) -> Result<(), Raise> {
        let decorators = self.evaluated(decorators).await?;
        let function = self.function(definition).await?;
        let decorated = self.decorate(function, decorators).await?;
        self.frame.bind(target, decorated);
        Ok(())
    }

    async fn evaluated(self, exprs: &'a [Expr]) -> Result<Vec<(Value, Span)>, Raise> {
        let mut values = Vec::with_capacity(exprs.len());
        for expr in exprs {
            values.push((self.eval(expr)?.get().await?, expr.span));
        }
        Ok(values)
    }

    async fn decorate(self, mut value: Value, decorators: Vec<(Value, Span)>) -> Result<Value, Raise> {
        for (decorator, span) in decorators.into_iter().rev() {
            self.at(span);
            value = self.machine.call(&decorator, Args::of([value])).await?;
        }
        Ok(value)
    }

    pub(super) async fn define_class(self, definition: &'a ir::ClassDefinition) -> Result<(), Raise> {
        let span = self.frame.position.get();
        let decorators = self.evaluated(&definition.decorators).await?;
        let bases = self.arguments(&definition.bases)?.get().await?;
        let mut keywords = Vec::new();
        for (name, value) in &definition.keywords {
            let value = self.eval(value)?.get().await?;
            match name.as_deref() {
                // Which is what makes every class here.
                Some("metaclass") if matches!(value, Value::Type(Type::Type)) => {}
                Some("metaclass") => {
                    return Err(Raise::type_error(format!(
                        "class {}: metaclass={} is not supported by this server, whose classes are all made by type; \
                         __init_subclass__ or a class decorator may do",
                        definition.name,
                        match &value {
                            Value::Class(class) => Rc::clone(class.name()),
                            value => types::type_name(value).into(),
                        }
                    )));
                }
                Some(name) => keywords.push((Rc::from(name), value)),
                None => return Err(Raise::type_error("unpacking keywords of a class is not supported by this server")),
            }
        }
        self.at(span);
        let around = self.surroundings(definition.outward);
        let cell = Frame::inner(self.machine, &definition.cell, &around, None)?;
        let frame = Frame::inner(self.machine, &definition.code, &cell, None)?;
        let body = Run { machine: self.machine, frame: &frame };
        body.body(&definition.code.body)?.get().await?;
        let module = match self.frame.globals().borrow().get("__name__") {
            Some(Value::Str(name)) => Rc::clone(name),
            _ => definition.code.text.module.unwrap_or("builtins").into(),
        };
        let mut attributes = frame.names();
        let module = match attributes.iter().find(|(name, _)| &**name == "__module__") {
            Some((_, Value::Str(named))) => Rc::clone(named),
            _ => module,
        };
        for (_, attribute) in attributes.iter_mut().filter(|(name, _)| OF_CLASSES.contains(&&**name)) {
            if matches!(attribute, Value::Function(_)) {
                *attribute = Value::Decorated(Rc::new(Decorated::ClassMethod(attribute.clone())));
            }
        }
        if let Some(text) = &definition.code.docstring {
            attributes.push(("__doc__".into(), Value::Str(Rc::clone(text))));
        }
        if !definition.annotations.is_empty() {
            let found = annotation::all_of(self.machine, &frame, &definition.code.text, &definition.annotations);
            attributes.push(("__annotations__".into(), found));
        }
        self.machine.charge_fuel(Class::cost(&bases))?;
        let class = Class::qualified(
            Rc::clone(&definition.name),
            definition.code.qualified_name().into(),
            module,
            bases,
            attributes,
        )?;
        self.machine.register(Cyclic::Class(Rc::downgrade(&class)));
        let value = Value::Class(Rc::clone(&class));
        cell.fill(0, value.clone());
        for (name, attribute) in class.attributes() {
            if let Some(set_name) = attribute::special(self.machine, &attribute, "__set_name__") {
                self.machine.call(&set_name, Args::of([value.clone(), Value::Str(name)])).await?;
            }
        }
        let hook = class.lineage().skip(1).find_map(|class| class.own("__init_subclass__"));
        if let Some(hook) = hook {
            let hook = match &hook {
                Value::Decorated(decorated) => match &**decorated {
                    Decorated::ClassMethod(function) | Decorated::StaticMethod(function) => function.clone(),
                    Decorated::Property(_) => hook,
                },
                _ => hook,
            };
            let args = Args { positional: vec![value.clone()], keyword: keywords };
            self.machine.call(&hook, args).await?;
        }
        let decorated = self.decorate(value, decorators).await?;
        self.frame.bind(definition.target, decorated);
        Ok(())
    }

    pub(super) async fn import_from(self, module: &'a str, names: &'a [(Rc<str>, ir::Name)]) -> Result<(), Raise> {
        let from = import::import(self.machine, module, true)?;
        for (name, target) in names {
            let value = match attribute::find(self.machine, &from, name) {
                Ok(Some(outcome)) => self.machine.settle(outcome).await,
                Ok(None) => Err(attribute::missing(&from, name)),
                Err(raise) => Err(raise),
            };
            let value = match value {
                Ok(value) => value,
                Err(raise) if raise.is(Kind::AttributeError) => {
                    // A submodule that nobody has imported before.
                    match import::module(self.machine, &format!("{module}.{name}")) {
                        Some(value) => value,
                        None => return Err(import::cannot_import(module, name, &raise)),
                    }
                }
                Err(raise) => return Err(raise),
            };
            self.frame.bind(*target, value);
        }
        Ok(())
    }
}
