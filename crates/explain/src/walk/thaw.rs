//! Values that a request brings along.

use num_traits::ToPrimitive;
use program::datum::Own;
use program::decorated::{self, Made};
use program::ir::Constant;
use program::lower::Heading;
use program::{DType, Datum, Program, Ref, TensorData, lower};

use crate::form::{Form, Size};
use crate::walk::class::is_plain;
use crate::walk::value::{Class, Decorated, Function, Instance, Names, Place, Thing, What};
use crate::walk::{MOST, Walk};

/// Collects the other names of modules.
pub fn aliases(program: &Program) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for at in 0..u32::try_from(program.heap.len()).unwrap_or(u32::MAX) {
        let Some(Datum::Envoy(envoy)) = program.heap.get(Ref(at)) else { continue };
        for (alias, path) in &envoy.aliases {
            let (below, name) = alias.rsplit_once('.').unwrap_or(("", alias));
            found.push((joined(&envoy.path, below), name.to_owned(), joined(&envoy.path, path)));
        }
    }
    found
}

/// Collects what the program gave modules.
pub fn owns(program: &Program) -> Vec<(String, &Own)> {
    let mut found = Vec::new();
    for at in 0..u32::try_from(program.heap.len()).unwrap_or(u32::MAX) {
        let Some(Datum::Envoy(envoy)) = program.heap.get(Ref(at)) else { continue };
        found.extend(envoy.own.iter().map(|own| (joined(&envoy.path, &own.path), own)));
    }
    found
}

/// Returns the path under which programs find what a request names by where it is defined.
fn public(module: &str, name: &str) -> String {
    match module {
        "torch.serialization" | "torch.functional" => format!("torch.{name}"),
        "_io" | "io" if name == "open" => "builtins.open".to_owned(),
        module => format!("{module}.{name}"),
    }
}

/// Joins two paths.
pub fn joined(path: &str, below: &str) -> String {
    match (path.is_empty(), below.is_empty()) {
        (true, _) => below.to_owned(),
        (false, true) => path.to_owned(),
        (false, false) => format!("{path}.{below}"),
    }
}

fn form(dtype: DType, shape: &[i64]) -> What {
    What::Value(Form::Tensor(dtype, shape.iter().map(|size| Size::Fixed(*size)).collect()), None)
}

impl Walk<'_> {
    /// Returns a value of the request, the same object each time.
    pub fn thaw(&mut self, at: Ref) -> Thing {
        if let Some(thing) = self.thawed.get(&at) {
            return thing.clone();
        }
        // A value may hold itself: then it is not known, inside.
        self.thawed.insert(at, Thing::plain(What::Unknown));
        let thing = if self.step() { self.thaw_new(at) } else { Thing::plain(What::Unknown) };
        self.thawed.insert(at, thing.clone());
        thing
    }

    fn thaw_new(&mut self, at: Ref) -> Thing {
        let Some(datum) = self.program.heap.get(at) else { return Thing::plain(What::Unknown) };
        let what = match datum {
            Datum::None => What::Constant(Constant::None),
            Datum::Ellipsis => What::Constant(Constant::Ellipsis),
            Datum::Bool(value) => What::Constant(Constant::Bool(*value)),
            Datum::Int(value) => value.to_i64().map_or(What::Unknown, |value| What::Constant(Constant::Int(value))),
            Datum::Float(value) => What::Constant(Constant::Float(*value)),
            Datum::Str(text) => What::Constant(Constant::Str(text.as_str().into())),
            Datum::List(items) | Datum::Tuple(items) => {
                let things: Vec<Thing> = items.iter().take(MOST).map(|item| self.thaw_inside(*item)).collect();
                let exact = items.len() <= MOST;
                return match datum {
                    Datum::Tuple(_) if exact => self.held.tuple(things),
                    _ => self.held.list(things, exact),
                };
            }
            Datum::Dict(pairs) => {
                let things = pairs.iter().take(MOST);
                let things = things.map(|(key, value)| (self.thaw_inside(*key), self.thaw_inside(*value))).collect();
                return self.held.dict(things, pairs.len() <= MOST);
            }
            Datum::Range { start, stop, step } => match (start.to_i64(), stop.to_i64(), step.to_i64()) {
                (Some(start), Some(stop), Some(step)) => What::Range(start, stop, step),
                _ => What::Unknown,
            },
            Datum::Tensor(TensorData { dtype, shape, .. })
            | Datum::Array { data: TensorData { dtype, shape, .. }, .. } => form(*dtype, shape),
            Datum::View { storage, shape, .. } => match self.program.heap.get(*storage) {
                Some(Datum::Storage(data)) => form(data.dtype, shape),
                _ => What::Unknown,
            },
            Datum::Parameter { tensor, .. } => return self.thaw_inside(*tensor),
            Datum::Module(name) => What::Global(name.as_str().into()),
            Datum::Global { module, name } => What::Global(public(module, name).into()),
            // `from torch import relu` is sent as what it is an attribute of.
            Datum::Object { class, called: true, args, .. } => {
                let of = |at: &Ref| self.program.heap.get(*at);
                match (of(class), args.first().and_then(of), args.get(1).and_then(of)) {
                    (
                        Some(Datum::Global { module, name: getattr }),
                        Some(Datum::Global { module: owner, name: class }),
                        Some(Datum::Str(name)),
                    ) if module == "builtins"
                        && getattr == "getattr"
                        && owner == "torch._C"
                        && class == "_VariableFunctionsClass" =>
                    {
                        What::Global(format!("torch.{name}").into())
                    }
                    _ => What::Unknown,
                }
            }
            Datum::Object { class, called: false, state, items, pairs, .. } if items.is_empty() && pairs.is_empty() => {
                let What::Class(class) = self.thaw_inside(*class).what else { return Thing::plain(What::Unknown) };
                let (mut names, mut exact) = (Vec::new(), true);
                match state.map(|at| self.program.heap.get(at)) {
                    None | Some(Some(Datum::None)) => {}
                    Some(Some(Datum::Dict(all))) => {
                        for (key, value) in all.iter().take(MOST) {
                            match self.program.heap.text(*key) {
                                Some(key) => names.push((key.into(), self.thaw_inside(*value))),
                                None => exact = false,
                            }
                        }
                        exact &= all.len() <= MOST;
                    }
                    Some(_) => exact = false,
                }
                return self.held.instance(Instance { class, names, exact });
            }
            Datum::Class { bases, attributes, .. } => {
                let bases: Vec<Thing> = bases.iter().map(|base| self.thaw_inside(*base)).collect();
                if !bases.iter().all(is_plain) {
                    return Thing::plain(What::Unknown);
                }
                let generated = attributes.iter().any(|(name, _)| name == "__dataclass_fields__");
                let class = Class { names: Vec::new(), sent: attributes.clone(), bases, exact: true, generated };
                return self.held.class(class);
            }
            Datum::Decorated { kind, functions } => match functions.first().map(|at| self.thaw_inside(*at).what) {
                Some(What::Function(at)) => What::Decorated(*kind, at),
                _ => What::Unknown,
            },
            Datum::Method { function, receiver } => {
                let receiver = self.thaw_inside(*receiver);
                let What::Function(at) = self.thaw_inside(*function).what else { return Thing::plain(What::Unknown) };
                return self.held.bound(receiver, at);
            }
            Datum::Attribute { object, name } => {
                let object = self.thaw_inside(*object);
                match object.what {
                    What::Instance(at) => {
                        let found = self.of_instance(at, &object, name, self.now.statement.line);
                        return found.unwrap_or_else(|| self.held.method(object.clone(), &name.as_str().into()));
                    }
                    _ => What::Unknown,
                }
            }
            Datum::Envoy(envoy) => What::Module(self.place(&envoy.path)),
            Datum::ModelModule { path } => What::Module(self.place(path)),
            Datum::Tracer => What::Tracer,
            Datum::Function { source, name, filename, line, defaults, keyword_defaults, globals } => {
                let Some(text) = self.program.heap.text(*source) else { return Thing::plain(What::Unknown) };
                // The length of its text is work, too.
                if !self.pay(text.len() / 64) {
                    return Thing::plain(What::Unknown);
                }
                let Ok((root, code, heading)) = lower::function(text, name, filename, *line, self.limits) else {
                    return Thing::plain(What::Unknown);
                };
                let decorated = match decorated::as_it_stands(datum, &heading) {
                    true => Decorated::No,
                    false => self.decorated_before(at, &heading),
                };
                let globals = std::rc::Rc::new(Names::new(globals));
                let around = self.held.frame(&root, None, &globals);
                let defaults = defaults.iter().map(|at| self.thaw_inside(*at)).collect();
                let keyword_defaults =
                    keyword_defaults.iter().map(|(name, at)| (name.as_str().into(), self.thaw_inside(*at))).collect();
                let function = Function { code, around, defaults, keyword_defaults, decorated };
                self.held.functions.push(std::rc::Rc::new(function));
                What::Function(self.held.functions.len() - 1)
            }
            _ => What::Unknown,
        };
        Thing::plain(what)
    }

    /// Says what was made of a function before it was sent. Modes of torch change nothing that is looked at here.
    fn decorated_before(&mut self, at: Ref, heading: &Heading) -> Decorated {
        let program = self.program;
        if self.names.is_none() && !self.pay(program.heap.len() / 8) {
            return Decorated::Somehow;
        }
        match self.names.get_or_insert_with(|| decorated::Names::of(program)).made(at, heading) {
            Made::AsItStands => Decorated::No,
            Made::By(decoration) if decoration.is_mode() => Decorated::No,
            Made::By(_) => Decorated::Somehow,
            Made::Unknown(says) => Decorated::Unknown(says),
        }
    }

    /// As [`Walk::thaw`], of what lies in another value: such nests may be deep.
    fn thaw_inside(&mut self, at: Ref) -> Thing {
        program::ir::deep(|| self.thaw(at))
    }

    /// Returns the module at a path.
    pub fn place(&self, path: &str) -> Place {
        match path {
            "generator" => Place::Generator,
            "generator.streamer" => Place::Streamer,
            path => match self.outline {
                Some(outline) => outline.at(path).map_or(Place::Some, Place::Site),
                None => Place::Path(path.into()),
            },
        }
    }

    /// Returns the path of a module below the root.
    pub fn path(&self, place: &Place) -> Option<String> {
        match place {
            Place::Site(at) => self.outline.map(|outline| outline.path(*at)),
            Place::Path(path) => Some(path.to_string()),
            Place::Generator => Some("generator".into()),
            Place::Streamer => Some("generator.streamer".into()),
            Place::Some => None,
        }
    }
}
