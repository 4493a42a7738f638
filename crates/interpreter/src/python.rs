//! Python: the floors put together, and handed to the machines that run it.

use std::rc::Rc;

use futures::future::LocalBoxFuture;

use crate::evaluation::{attribute, call, eval};
use crate::library::modules::{self, typing};
use crate::library::{builtins, methods};
use crate::values::host::{Args, Block, HostResult};
use crate::values::language::Language;
use crate::values::machine::{Environment, Machine};
use crate::values::raise::Raise;
use crate::values::types::{MethodFn, Type};
use crate::values::value::Value;

impl Machine {
    /// Starts an interpreter of Python with nothing used.
    pub fn new(limits: &program::Limits, environment: Rc<dyn Environment>) -> Self {
        Self::speaking(&Python, limits, environment)
    }
}

/// What this crate evaluates.
struct Python;

impl Language for Python {
    fn call(&self, machine: &Machine, callee: &Value, args: Args) -> HostResult {
        call::call(machine, callee, args)
    }

    fn run(&self, machine: &Machine, block: &Block) -> LocalBoxFuture<'static, Result<Value, Raise>> {
        let (machine, block) = (machine.clone(), block.clone());
        Box::pin(async move { eval::run_block(&machine, &block).await })
    }

    fn get_attribute(&self, machine: &Machine, object: &Value, name: &str) -> HostResult {
        attribute::get(machine, object, name)
    }

    fn set_attribute(&self, machine: &Machine, object: &Value, name: &str, value: Value) -> HostResult {
        attribute::set(machine, object, name, value)
    }

    fn builtin(&self, name: &str) -> Option<Value> {
        builtins::lookup(name).or_else(|| attribute::builtin(name))
    }

    fn kept(&self, machine: &Machine, module: &str, name: &str) -> Result<Value, Raise> {
        modules::kept(machine, module, name)
    }

    fn import(&self, machine: &Machine, name: &str) -> Result<Option<Value>, Raise> {
        modules::import(machine, name)
    }

    fn refused(&self, name: &str) -> Option<Raise> {
        modules::refused(name)
    }

    fn construct(&self, machine: &Machine, kind: Type, args: Args) -> HostResult {
        builtins::construct(machine, kind, args)
    }

    fn method(&self, kind: Type, name: &str) -> Option<MethodFn> {
        methods::find(kind, name)
    }

    fn call_method(&self, machine: &Machine, receiver: &Value, name: &str, args: Args) -> Option<HostResult> {
        methods::call_method(machine, receiver, name, args)
    }

    fn attribute(&self, machine: &Machine, receiver: &Value, name: &str) -> Option<Value> {
        methods::method(machine, receiver, name)
    }

    fn type_attribute(&self, machine: &Machine, kind: Type, name: &str) -> Option<Value> {
        methods::attribute(machine, kind, name)
    }

    fn is_instance(&self, machine: &Machine, value: &Value, class: &Value) -> Result<bool, Raise> {
        builtins::is_instance(machine, value, class)
    }

    fn parameterize(&self, class: &Value, key: &Value) -> Value {
        typing::alias(class, key)
    }

    fn union(&self, machine: &Machine, left: &Value, right: &Value) -> Result<Option<Value>, Raise> {
        if !typing::is_annotation(left) || !typing::is_annotation(right) {
            return Ok(None);
        }
        typing::union(machine, vec![left.clone(), right.clone()]).map(Some)
    }
}
