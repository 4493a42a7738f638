//! What a call of a module does besides its `forward`: hooks before and after it, and a `forward` of the object's own.
//!
//! Hooks are kept where PyTorch keeps them, in dictionaries among the module's attributes: so those of a module that a
//! request brings are found as they come.

use std::cell::Cell;
use std::rc::Rc;

use futures::future::LocalBoxFuture;
use interpreter::raise::Raise;
use interpreter::types::key::Key;
use interpreter::{Args, Dict, HostResult, Machine, Outcome, Value};

use super::{own, set_own};
use crate::handle::RemovableHandle;
use crate::python;

const BEFORE: &str = "_forward_pre_hooks";
const AFTER: &str = "_forward_hooks";
const BEFORE_WITH_KEYWORDS: &str = "_forward_pre_hooks_with_kwargs";
const AFTER_WITH_KEYWORDS: &str = "_forward_hooks_with_kwargs";
const ALWAYS: &str = "_forward_hooks_always_called";

/// The dictionaries that calls look at.
pub const KEPT: [&str; 5] = [BEFORE, AFTER, BEFORE_WITH_KEYWORDS, AFTER_WITH_KEYWORDS, ALWAYS];

/// Others that PyTorch looks at in a call or a backward pass, and this server does not.
pub const REFUSED: [&str; 2] = ["_backward_hooks", "_backward_pre_hooks"];

/// A hook that a call finds.
struct Hook {
    function: Value,
    keywords: bool,
    always: bool,
}

fn table(module: &Value, name: &str) -> Option<Rc<Dict>> {
    match own(module, name) {
        Some(Value::Dict(dict)) if !dict.is_empty() => Some(dict),
        _ => None,
    }
}

fn found(module: &Value, name: &str, with_keywords: &str) -> Vec<Hook> {
    let Some(hooks) = table(module, name) else { return Vec::new() };
    let (keywords, always) = (table(module, with_keywords), table(module, ALWAYS));
    let among = |table: &Option<Rc<Dict>>, key: &Key| table.as_ref().is_some_and(|table| table.contains(key));
    let entries = hooks.keyed_entries().into_iter();
    entries
        .map(|(key, _, function)| {
            let (keywords, always) = (among(&keywords, &key), name == AFTER && among(&always, &key));
            Hook { function, keywords, always }
        })
        .collect()
}

/// Says whether calling a module does what its class does and nothing else: no hooks, no `forward` of the object's own.
pub fn are_none(own: impl Fn(&str) -> Option<Value>) -> bool {
    let empty = |value: Option<Value>| match value {
        None => true,
        Some(Value::Dict(dict)) => dict.is_empty(),
        Some(_) => false,
    };
    own("forward").is_none() && KEPT.iter().chain(&REFUSED).all(|name| empty(own(name)))
}

/// How a module computes by itself.
pub type Forward = Rc<dyn Fn(&Machine, Args) -> HostResult>;

/// Calls a module.
///
/// # Errors
/// What `forward` or a hook raises.
pub fn call(machine: &Machine, module: &Value, args: Args, forward: Forward) -> HostResult {
    if let Some(hooks) = REFUSED.iter().find(|hooks| table(module, hooks).is_some()) {
        return Err(Raise::runtime_error(format!(
            "{}: hooks of a module's backward pass are not supported by this server; read and set tensor.grad inside a \
             `with loss.backward():` block instead",
            hooks.trim_start_matches('_')
        )));
    }
    let replaced = own(module, "forward");
    let before = found(module, BEFORE, BEFORE_WITH_KEYWORDS);
    let after = found(module, AFTER, AFTER_WITH_KEYWORDS);
    if before.is_empty() && after.is_empty() {
        return match replaced {
            Some(replaced) => machine.call_now(&replaced, args),
            None => forward(machine, args),
        };
    }
    let call = Call { machine: machine.clone(), module: module.clone(), forward, replaced, before, after };
    Ok(Outcome::Later(Box::pin(call.run(args))))
}

struct Call {
    machine: Machine,
    module: Value,
    forward: Forward,
    replaced: Option<Value>,
    before: Vec<Hook>,
    after: Vec<Hook>,
}

impl Call {
    async fn run(self, args: Args) -> Result<Value, Raise> {
        let mut args = args;
        let mut called = 0;
        let result = self.hooked(&mut args, &mut called).await;
        let Err(raise) = result else { return result };
        if raise.as_fatal().is_none() {
            // Hooks that are always called see that there is no result; what they raise does not count.
            for hook in self.after.iter().skip(called).filter(|hook| hook.always) {
                let _ = self.see(hook, &args, Value::None).await;
            }
        }
        Err(raise)
    }

    /// Calls hooks and `forward`. `called` counts the hooks after it that were.
    async fn hooked(&self, args: &mut Args, called: &mut usize) -> Result<Value, Raise> {
        for hook in &self.before {
            let positional = Value::tuple(args.positional.clone());
            let mut given = vec![self.module.clone(), positional];
            if hook.keywords {
                given.push(Value::dict(args.keyword.clone()));
            }
            let changed = self.machine.call(&hook.function, python::positional(given)).await?;
            match (changed, hook.keywords) {
                (Value::None, _) => {}
                (changed, true) => *args = both(&changed)?,
                (Value::Tuple(changed), false) => args.positional = changed.to_vec(),
                (changed, false) => args.positional = vec![changed],
            }
        }
        let mut result = self.compute(args.clone()).await?;
        for hook in &self.after {
            *called += 1;
            let changed = self.see(hook, args, result.clone()).await?;
            if !matches!(changed, Value::None) {
                result = changed;
            }
        }
        Ok(result)
    }

    fn compute(&self, args: Args) -> LocalBoxFuture<'static, Result<Value, Raise>> {
        let outcome = match &self.replaced {
            Some(replaced) => return self.machine.call(replaced, args),
            None => (self.forward)(&self.machine, args),
        };
        match outcome {
            Ok(outcome) => self.machine.settle(outcome),
            Err(raise) => Box::pin(std::future::ready(Err(raise))),
        }
    }

    fn see(&self, hook: &Hook, args: &Args, result: Value) -> LocalBoxFuture<'static, Result<Value, Raise>> {
        let mut given = vec![self.module.clone(), Value::tuple(args.positional.clone())];
        if hook.keywords {
            given.push(Value::dict(args.keyword.clone()));
        }
        given.push(result);
        self.machine.call(&hook.function, python::positional(given))
    }
}

/// Reads what a hook with keywords returned in the place of the arguments.
fn both(changed: &Value) -> Result<Args, Raise> {
    if let Value::Tuple(pair) = changed
        && let [positional, Value::Dict(keyword)] = pair.to_vec().as_slice()
        && let Some(positional) = python::sequence(positional)
    {
        let names = keyword.entries().into_iter().filter_map(|(name, value)| Some((name.as_str()?.into(), value)));
        return Ok(Args { positional, keyword: names.collect() });
    }
    let name = python::type_name(changed);
    Err(Raise::runtime_error(format!(
        "forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {name}."
    )))
}

/// Calls `module.register_forward_hook(…)` or `module.register_forward_pre_hook(…)`.
///
/// # Errors
/// `TypeError` for other arguments; memory is spent.
pub fn register(machine: &Machine, module: &Value, name: &str, args: Args) -> HostResult {
    let after = name == "register_forward_hook";
    let (most, given) = (1, args.positional.len());
    if given > most {
        let given = given + 1;
        return Err(Raise::type_error(format!("Module.{name}() takes 2 positional arguments but {given} were given")));
    }
    let parameters = ["hook", "prepend", "with_kwargs", "always_call"];
    let [hook, prepend, keywords, always] = args.bind(name, parameters, 1)?;
    if always.is_some() && !after {
        return Err(Raise::type_error(format!("Module.{name}() got an unexpected keyword argument 'always_call'")));
    }
    let flag = |value: Option<Value>| value.map_or(Ok(false), |value| python::truth(machine, &value));
    let (prepend, keywords, always) = (flag(prepend)?, flag(keywords)?, flag(always)?);
    let (table, with_keywords) = if after { (AFTER, AFTER_WITH_KEYWORDS) } else { (BEFORE, BEFORE_WITH_KEYWORDS) };
    let id = next();
    note(machine, module, table, id, hook.unwrap_or(Value::None), prepend)?;
    for (table, wanted) in [(with_keywords, keywords), (ALWAYS, always)] {
        if wanted {
            note(machine, module, table, id, Value::Bool(true), false)?;
        }
    }
    let module = module.clone();
    let end = move || {
        for table in [table, with_keywords, ALWAYS] {
            if let Some(Value::Dict(dict)) = own(&module, table) {
                let removed = dict.remove(&key(id));
                drop(removed);
            }
        }
    };
    Ok(Value::host(RemovableHandle::new(Some(id), end)).into())
}

/// Returns a number that no hook has: requests bring small ones.
fn next() -> i64 {
    thread_local! {
        static LAST: Cell<i64> = const { Cell::new(1 << 40) };
    }
    LAST.with(|last| last.replace(last.get() + 1))
}

fn note(machine: &Machine, module: &Value, table: &str, id: i64, value: Value, first: bool) -> Result<(), Raise> {
    let dict = match own(module, table) {
        Some(Value::Dict(dict)) => dict,
        _ => {
            let dict = Rc::new(Dict::new());
            set_own(module, table, Value::Dict(Rc::clone(&dict)));
            dict
        }
    };
    dict.insert(machine, key(id), Value::Int(id), value)?;
    if first {
        dict.move_to_end(&key(id), false);
    }
    Ok(())
}

fn key(id: i64) -> Key {
    Key::Int(id)
}
