//! Classes of the user's and their objects: whose methods a program calls, and what these find on `self`.
//!
//! Where anything else may decide what a name of an object means, it is not known: a metaclass, a base that is not known,
//! `__getattribute__`, code that has the object and is not looked into.

use std::rc::Rc;

use program::datum::Decorator;
use program::ir::{ClassDefinition, Expr, ExprKind, Span};

use crate::walk::Walk;
use crate::walk::value::{Class, Given, Instance, Place, Thing, What};

/// What is known of a name.
pub enum Found {
    Here(Thing),
    Nowhere,
    Unknown,
}

/// Classes one above the other that are looked through.
const ABOVE: usize = 16;

/// Methods of a layer that give the layer.
const ITSELF: [&str; 11] =
    ["eval", "train", "to", "cpu", "cuda", "float", "half", "double", "bfloat16", "requires_grad_", "zero_grad"];

impl Walk<'_> {
    /// Goes through a class where its definition stands.
    pub fn class(&mut self, frame: usize, class: &ClassDefinition, span: Span) -> Thing {
        let bases: Vec<Thing> = class.bases.iter().map(|base| self.expr(frame, &base.value)).collect();
        bases.iter().for_each(|base| self.uses(base));
        let mut known = class.keywords.is_empty() && class.bases.iter().all(|base| !base.starred);
        let mut generated = false;
        for decorator in &class.decorators {
            match self.decorator(frame, decorator).as_deref() {
                Some("dataclasses.dataclass") => generated = true,
                Some("functools.total_ordering" | "typing.final") => {}
                _ => known = false,
            }
        }
        let around = self.held.out(frame, class.outward).unwrap_or(frame);
        let globals = self.held.frames.get(around).map(|frame| Rc::clone(&frame.globals)).unwrap_or_default();
        let cell = self.held.frame(&class.cell, Some(around), &globals);
        let body = self.held.frame(&class.code, Some(cell), &globals);
        self.inside(&Rc::clone(&class.code), span.line, |walk| walk.body(body, &class.code.body));
        let slots = self.held.frames.get(body).map(|frame| frame.slots.clone()).unwrap_or_default();
        let names = class.code.slots.iter().zip(slots);
        let names = names.filter_map(|(name, thing)| Some((Rc::clone(name), thing?))).collect();
        let made = match known && bases.iter().all(is_plain) {
            true => self.held.class(Class { names, sent: Vec::new(), bases, exact: true, generated }),
            false => Thing::plain(What::Unknown),
        };
        if let Some(slot) = self.held.frames.get_mut(cell).and_then(|cell| cell.slots.first_mut()) {
            *slot = Some(made.clone());
        }
        // What methods use that nobody calls here is found when an object is used where nobody looks.
        self.captured(frame);
        made
    }

    /// Returns the path of what decorates something: `@path` or `@path(…)`.
    pub fn decorator(&mut self, frame: usize, decorator: &Expr) -> Option<Rc<str>> {
        let path = match &decorator.kind {
            ExprKind::Call(call) => &call.callee,
            _ => decorator,
        };
        match self.expr(frame, path).what {
            What::Global(path) => Some(path),
            _ => None,
        }
    }

    /// Returns what a function is that is decorated so, where that is known.
    pub fn decorated(&mut self, path: Option<&str>, function: &Thing) -> Option<Thing> {
        let What::Function(at) = function.what else { return None };
        let kind = match path? {
            "builtins.staticmethod" => return Some(Thing::plain(What::Decorated(Decorator::StaticMethod, at))),
            "builtins.classmethod" => Decorator::ClassMethod,
            "builtins.property" | "functools.cached_property" => Decorator::Property,
            // They set a mode around each call.
            "torch.no_grad" | "torch.inference_mode" | "torch.enable_grad" | "torch.autocast" | "typing.final" => {
                return Some(function.clone());
            }
            _ => return None,
        };
        Some(Thing::plain(What::Decorated(kind, at)))
    }

    /// Looks a name up in a class and those above it.
    pub fn of_class(&mut self, class: usize, name: &str) -> Found {
        self.found(class, name, ABOVE)
    }

    fn found(&mut self, class: usize, name: &str, above: usize) -> Found {
        let Some(known) = self.held.classes.get(class) else { return Found::Unknown };
        let has = |name: &str| {
            known.names.iter().any(|(own, _)| &**own == name) || known.sent.iter().any(|(own, _)| own == name)
        };
        if !known.exact || above == 0 || has("__getattribute__") || !self.step() {
            return Found::Unknown;
        }
        let Some(known) = self.held.classes.get(class) else { return Found::Unknown };
        if let Some((_, thing)) = known.names.iter().find(|(own, _)| &**own == name) {
            return Found::Here(thing.clone());
        }
        if let Some((_, at)) = known.sent.iter().find(|(own, _)| own == name) {
            let at = *at;
            return Found::Here(self.thaw(at));
        }
        self.above(class, name, above - 1)
    }

    /// Looks a name up in what lies above a class.
    fn above(&mut self, class: usize, name: &str, above: usize) -> Found {
        let bases = self.held.classes.get(class).map(|class| class.bases.clone()).unwrap_or_default();
        let own: Vec<usize> = bases.iter().filter_map(as_class).collect();
        match own.as_slice() {
            [] => {}
            [base] => match self.found(*base, name, above) {
                Found::Nowhere => {}
                found => return found,
            },
            // Their order is a matter of its own.
            _ => return Found::Unknown,
        }
        let object = |base: &Thing| matches!(&base.what, What::Global(path) if &**path == "builtins.object");
        match bases.iter().all(|base| as_class(base).is_some() || object(base)) {
            true => Found::Nowhere,
            false => Found::Unknown,
        }
    }

    /// Says whether a class derives from one whose path begins so.
    fn derives(&self, class: usize, prefix: &str) -> bool {
        let mut next = vec![class];
        for _ in 0..ABOVE {
            let Some(class) = next.pop().and_then(|at| self.held.classes.get(at)) else { return false };
            if class.bases.iter().any(|base| matches!(&base.what, What::Global(path) if path.starts_with(prefix))) {
                return true;
            }
            next.extend(class.bases.iter().filter_map(as_class));
        }
        false
    }

    /// Calls a class of the user's.
    pub fn make(&mut self, class: usize, given: &Given) -> Thing {
        let Some(known) = self.held.classes.get(class) else { return Thing::plain(What::Unknown) };
        let generated = known.generated;
        let built = self.of_class(class, "__new__");
        let initial = self.of_class(class, "__init__");
        if matches!(built, Found::Here(_)) {
            return self.opaque(&given.all());
        }
        let object = self.held.instance(Instance { class, names: Vec::new(), exact: true });
        match initial {
            Found::Here(Thing { what: What::Function(at), .. }) => {
                self.of_function(at, &given.with_first(&object));
            }
            Found::Here(_) => return self.opaque(&given.all()),
            // What it keeps, it keeps under names that are not looked up here.
            Found::Nowhere | Found::Unknown if generated => given.all().iter().for_each(|thing| self.uses(thing)),
            Found::Nowhere | Found::Unknown => given.all().iter().for_each(|thing| self.uses(thing)),
        }
        object
    }

    /// Returns an attribute of an object, where it is known.
    pub fn of_instance(&mut self, at: usize, object: &Thing, name: &str, line: u32) -> Option<Thing> {
        let instance = self.held.instances.get(at)?;
        if matches!(name, "__dict__" | "__class__" | "training") {
            self.touched(object);
            return None;
        }
        if let Some((_, thing)) = instance.names.iter().find(|(own, _)| &**own == name) {
            return Some(thing.clone());
        }
        if !instance.exact {
            return None;
        }
        let (class, names) = (instance.class, instance.names.clone());
        match self.of_class(class, name) {
            Found::Here(thing) => self.bound(class, object, thing, line),
            Found::Nowhere | Found::Unknown => {
                // Where a layer keeps the layers inside it.
                let modules = names.iter().find(|(own, _)| &**own == "_modules")?;
                let What::Dict(at) = modules.1.what else { return None };
                let pairs = self.held.dicts.get(at).filter(|pairs| pairs.exact)?;
                let found = pairs.pairs.iter().find(|(key, _)| key.as_str() == Some(name))?;
                Some(found.1.clone())
            }
        }
    }

    /// Makes of what a class has what an object of it has.
    fn bound(&mut self, class: usize, object: &Thing, thing: Thing, line: u32) -> Option<Thing> {
        match thing.what {
            What::Function(at) => Some(self.held.bound(object.clone(), at)),
            What::Decorated(Decorator::StaticMethod, at) => Some(Thing::plain(What::Function(at))),
            What::Decorated(Decorator::ClassMethod, at) => Some(self.held.bound(Thing::plain(What::Class(class)), at)),
            What::Decorated(Decorator::Property, at) => {
                let given = Given { line, positional: vec![object.clone()], ..Given::default() };
                Some(self.of_function(at, &given))
            }
            // One of them may say itself what it is as an attribute; and fields of objects have the names of their defaults.
            What::Instance(_) => None,
            _ if self.held.classes.get(class).is_none_or(|class| class.generated) => None,
            _ => Some(thing),
        }
    }

    /// Returns an attribute of a class, where it is known.
    pub fn of_class_object(&mut self, class: usize, name: &str) -> Option<Thing> {
        let Found::Here(thing) = self.of_class(class, name) else { return None };
        match thing.what {
            What::Decorated(Decorator::StaticMethod, at) => Some(Thing::plain(What::Function(at))),
            What::Decorated(Decorator::ClassMethod, at) => Some(self.held.bound(Thing::plain(What::Class(class)), at)),
            What::Decorated(..) | What::Instance(_) => None,
            _ => Some(thing),
        }
    }

    /// Returns an attribute of `super()`.
    pub fn of_super(&mut self, class: usize, receiver: &Thing, name: &str, line: u32) -> Option<Thing> {
        match self.above(class, name, ABOVE) {
            Found::Here(thing) => self.bound(class, receiver, thing, line),
            Found::Nowhere | Found::Unknown => None,
        }
    }

    /// Calls a special method of an object of the user's, where there is one that is known.
    pub fn special(&mut self, object: &Thing, name: &str, given: &Given) -> Option<Thing> {
        let What::Instance(at) = object.what else { return None };
        let instance = self.held.instances.get(at)?;
        let class = instance.class;
        match self.of_class(class, name) {
            Found::Here(Thing { what: What::Function(at), .. }) => {
                Some(self.of_function(at, &given.with_first(object)))
            }
            _ => None,
        }
    }

    /// Calls an object of the user's: by `__call__`, or by `forward` where it is a layer.
    pub fn called(&mut self, object: &Thing, given: &Given) -> Option<Thing> {
        if let Some(value) = self.special(object, "__call__", given) {
            return Some(value);
        }
        let What::Instance(at) = object.what else { return None };
        let class = self.held.instances.get(at)?.class;
        if !self.derives(class, "torch.nn.") {
            return None;
        }
        let forward = self.of_instance(at, object, "forward", given.line)?;
        match forward.what {
            What::Bound(receiver, function) => {
                let receiver = self.held.methods.get(receiver).cloned()?;
                Some(self.of_function(function, &given.with_first(&receiver)))
            }
            What::Function(at) => Some(self.of_function(at, given)),
            _ => None,
        }
    }

    /// Calls a method of an object that its class's texts do not have.
    pub fn of_unknown_method(&mut self, object: &Thing, name: &str, given: &Given) -> Thing {
        let class = match object.what {
            What::Instance(at) => self.held.instances.get(at).map(|instance| instance.class),
            _ => None,
        };
        if class.is_some_and(|class| self.derives(class, "torch.nn.")) && ITSELF.contains(&name) {
            given.all().iter().for_each(|thing| self.uses(thing));
            return object.clone();
        }
        let mut all = match (&object.what, name) {
            // `super().__init__()` of a class that is not the user's sets nothing that is the user's.
            (What::Super(..), "__init__") => Vec::new(),
            (What::Super(_, at), _) => self.held.methods.get(*at).cloned().into_iter().collect(),
            _ => vec![object.clone()],
        };
        all.extend(given.all());
        self.opaque(&all)
    }

    /// Sets an attribute of an object.
    pub fn set_attribute(&mut self, object: &Thing, name: &Rc<str>, value: &Thing) {
        let (certain, kept) = (self.now.perhaps == 0, value.clone());
        match object.what {
            What::Instance(at) => {
                let Some(class) = self.held.instances.get(at).map(|instance| instance.class) else { return };
                // A setter may keep it under another name.
                let taken = matches!(self.of_class(class, "__setattr__"), Found::Here(_))
                    || matches!(
                        self.of_class(class, name),
                        Found::Here(Thing { what: What::Decorated(..) | What::Unknown | What::Instance(_), .. })
                    );
                let before = self.held.instances.get(at).and_then(|instance| {
                    instance.names.iter().find(|(own, _)| own == name).map(|(_, thing)| thing.clone())
                });
                let kept = match before {
                    _ if certain => kept,
                    Some(before) => self.held.or(&kept, &before),
                    None => Thing::unknown(self.deps(value)),
                };
                let Some(instance) = self.held.instances.get_mut(at) else { return };
                instance.exact &= !taken;
                match instance.names.iter_mut().find(|(own, _)| own == name) {
                    Some((_, slot)) => *slot = kept,
                    None => instance.names.push((Rc::clone(name), kept)),
                }
                if taken {
                    instance.names.clear();
                }
            }
            What::Class(at) => {
                if let Some(class) = self.held.classes.get_mut(at) {
                    class.exact = false;
                }
            }
            _ => {}
        }
    }

    /// Returns an attribute that a program gave a module of the model, or its class.
    pub fn of_own(&mut self, place: &Place, object: &Thing, name: &str, line: u32) -> Option<Thing> {
        let path = self.path(place)?;
        let own: Vec<_> = self.owns.iter().filter(|(at, _)| *at == path).map(|(_, own)| *own).collect();
        for own in own {
            if let Some((_, at)) = own.attributes.iter().find(|(given, _)| given == name) {
                return Some(self.thaw(*at));
            }
            let Some(class) = own.class else { continue };
            let What::Class(class) = self.thaw(class).what else { continue };
            if let Found::Here(thing) = self.of_class(class, name) {
                return self.bound(class, object, thing, line);
            }
        }
        None
    }
}

fn as_class(thing: &Thing) -> Option<usize> {
    match thing.what {
        What::Class(at) => Some(at),
        _ => None,
    }
}

/// Says whether objects of a class that derives from another are what their own class says, as far as that goes.
pub fn is_plain(base: &Thing) -> bool {
    match &base.what {
        What::Class(_) => true,
        What::Global(path) => {
            let exception = |name: &str| name.ends_with("Error") || name.ends_with("Exception");
            let builtin = |name: &str| name == "object" || exception(name);
            matches!(&**path, "abc.ABC" | "typing.Protocol")
                || path.starts_with("torch.nn.")
                || path.starts_with("nnsight.")
                || path.strip_prefix("builtins.").is_some_and(builtin)
        }
        _ => false,
    }
}
