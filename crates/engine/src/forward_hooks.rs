//! Forward hooks that a block registers on modules of the model: each is a block that every trace from then on has beside its
//! own. It has its say before them where it comes before the module, and after them where it comes after it.

use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use interpreter::frame::Frame;
use interpreter::raise::Raise;
use interpreter::types::charge::Charge;
use interpreter::{Args, Coroutine, HostObject, HostResult, Machine, Outcome, Value};
use program::Source;

use crate::envoy::{Envoy, Place};
use crate::job::JobState;
use crate::mediator::Precedence;
use crate::model::{Model, Schema, Site};
use crate::tracer::{TraceState, Tracer};

/// Bytes charged for a hook.
const HOOK: u64 = 512;

const BEFORE: &str = "
args, kwargs = module.inputs
if alive():
    changed = hook(module, args)
    if changed is not None:
        module.inputs = (changed if isinstance(changed, tuple) else (changed,)), kwargs
";
const BEFORE_WITH_KEYWORDS: &str = "
args, kwargs = module.inputs
if alive():
    changed = hook(module, args, kwargs)
    if changed is not None:
        if not (isinstance(changed, tuple) and len(changed) == 2):
            raise RuntimeError(f'forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {changed}.')
        module.inputs = changed
";
const AFTER: &str = "
args, kwargs = module.inputs
made = module.output
if alive():
    changed = hook(module, args, made)
    if changed is not None:
        module.output = changed
";
const AFTER_WITH_KEYWORDS: &str = "
args, kwargs = module.inputs
made = module.output
if alive():
    changed = hook(module, args, kwargs, made)
    if changed is not None:
        module.output = changed
";

/// Methods of modules that register them.
pub const METHODS: [&str; 2] = ["register_forward_hook", "register_forward_pre_hook"];

/// What one job registered, in order.
#[derive(Default)]
pub struct ForwardHooks(RefCell<Vec<Rc<ForwardHook>>>);

/// A function that a module calls.
struct ForwardHook {
    site: Site,
    function: Value,
    text: &'static str,
    precedence: Precedence,
    removed: Cell<bool>,
    _charge: Charge,
}

impl ForwardHooks {
    /// Registers a hook, and returns what removes it.
    ///
    /// # Errors
    /// `TypeError` for other arguments than PyTorch takes, and `ValueError` for what this server does not do.
    pub fn register(&self, machine: &Machine, site: Site, method: &str, mut args: Args) -> HostResult {
        let mut flag = |name: &str| match args.take_keyword(name) {
            None => Ok(false),
            Some(Value::Bool(on)) => Ok(on),
            Some(_) => Err(Raise::type_error(format!("{method}(): `{name}` has to be a bool"))),
        };
        let before = method == "register_forward_pre_hook";
        let (prepend, with_kwargs) = (flag("prepend")?, flag("with_kwargs")?);
        if !before && flag("always_call")? {
            return Err(Raise::value_error(format!(
                "{method}(): `always_call` is not supported by this server: what a module of the model raises ends the pass"
            )));
        }
        let [function] = args.bind(method, ["hook"], 1)?;
        let text = match (before, with_kwargs) {
            (true, false) => BEFORE,
            (true, true) => BEFORE_WITH_KEYWORDS,
            (false, false) => AFTER,
            (false, true) => AFTER_WITH_KEYWORDS,
        };
        let charge = Charge::default();
        charge.cover(machine, HOOK)?;
        let hook = Rc::new(ForwardHook {
            site,
            function: function.unwrap_or(Value::None),
            text,
            precedence: if before { Precedence::First } else { Precedence::Last },
            removed: Cell::new(false),
            _charge: charge,
        });
        if prepend
            && self
                .0
                .borrow()
                .iter()
                .any(|other| other.site == site && other.precedence == hook.precedence && other.lasts())
        {
            return Err(Raise::value_error(format!(
                "{method}(): `prepend` is not supported by this server where the module has such a hook: register this one first"
            )));
        }
        self.0.borrow_mut().push(Rc::clone(&hook));
        Ok(Value::Host(Rc::new(Handle(hook))).into())
    }

    /// Returns whether any was registered.
    pub fn any(&self) -> bool {
        !self.0.borrow().is_empty()
    }

    /// Requires that no module inside of one has a hook.
    ///
    /// # Errors
    /// `ValueError` where one has, which what is about to be done would leave out.
    pub fn leave(&self, schema: &Schema, site: Site, what: &str) -> Result<(), Raise> {
        let inside = |at: Site| std::iter::successors(Some(at), |at| schema.parent(*at)).any(|around| around == site);
        match self.0.borrow().iter().any(|hook| hook.lasts() && inside(hook.site)) {
            true => Err(Raise::value_error(format!(
                "{what} is not supported by this server while a module in there has a forward hook: remove the hook first"
            ))),
            false => Ok(()),
        }
    }

    /// Makes the blocks of hooks behind the first so many. `several` says that there are passes.
    ///
    /// # Errors
    /// Memory is spent.
    pub fn blocks<M: Model>(
        &self,
        job: &Rc<JobState<M>>,
        machine: &Machine,
        known: usize,
        several: bool,
    ) -> Result<Vec<(Coroutine, Precedence)>, Raise> {
        let hooks: Vec<_> = self.0.borrow().iter().skip(known).filter(|hook| hook.lasts()).cloned().collect();
        hooks.into_iter().map(|hook| Ok((hook.block(job, machine, several)?, hook.precedence))).collect()
    }

    /// Returns how many were registered.
    pub fn count(&self) -> usize {
        self.0.borrow().len()
    }

    /// Lets go of all functions.
    pub fn clear(&self) {
        let hooks = std::mem::take(&mut *self.0.borrow_mut());
        drop(hooks);
    }
}

impl ForwardHook {
    fn lasts(&self) -> bool {
        !self.removed.get()
    }

    fn block<M: Model>(
        self: &Rc<Self>,
        job: &Rc<JobState<M>>,
        machine: &Machine,
        several: bool,
    ) -> Result<Coroutine, Raise> {
        let state = TraceState::default();
        state.running.set(true);
        let tracer = Tracer { job: Rc::clone(job), state: Rc::new(state), request: RefCell::new(None) };
        let own = Rc::clone(self);
        let alive = Value::native("alive", move |_, _| Ok(Value::Bool(own.lasts()).into()));
        let locals = vec![
            ("tracer".into(), Value::Host(Rc::new(tracer))),
            ("module".into(), Envoy::value(job, Place::Module(self.site))),
            ("hook".into(), self.function.clone()),
            ("alive".into(), alive),
        ];
        let text = match several {
            true => format!("for _ in tracer.iter[:]:\n    {}\n", self.text.trim().replace('\n', "\n    ")),
            false => self.text.to_owned(),
        };
        let source = Source { text, filename: "<forward hook>".into(), function: "<module>".into() };
        Ok(Coroutine::of_block(machine, Frame::root(machine, &source, locals, Vec::new())?))
    }
}

/// What removes a hook.
struct Handle(Rc<ForwardHook>);

impl HostObject for Handle {
    fn type_name(&self) -> Cow<'static, str> {
        "RemovableHandle".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        Ok(match name {
            "remove" => Value::native("remove", move |_, args| {
                args.none("remove")?;
                self.0.removed.set(true);
                Ok(Value::None.into())
            })
            .into(),
            _ => Outcome::NotImplemented,
        })
    }

    fn enter(self: Rc<Self>, _: &Machine) -> HostResult {
        Ok(Value::Host(self).into())
    }

    fn exit(self: Rc<Self>, _: &Machine, _: Option<&Raise>) -> HostResult {
        self.0.removed.set(true);
        Ok(Value::Bool(false).into())
    }
}
