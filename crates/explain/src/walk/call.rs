//! Calls: of what nnsight has, of the user's functions, and of everything else, which is not looked into.

use std::collections::BTreeSet;
use std::rc::Rc;

use program::ir::{Binary, Call, Code, Constant, Span};

use crate::answer::{Calls, Does};
use crate::form::{Form, Size};
use crate::walk::expression::Turns;
use crate::walk::operation::{self, Made};
use crate::walk::value::{Decorated, Given, Mark, Place, Spot, Steps, Thing, What};
use crate::walk::{CALLS, MOST, Walk};

impl Walk<'_> {
    pub fn call(&mut self, frame: usize, call: &Call, span: Span) -> Thing {
        let callee = self.expr(frame, &call.callee);
        let (positional, exact) = self.arguments(frame, &call.positional);
        let (mut keyword, mut more) = (Vec::new(), !exact);
        for (name, value) in &call.keyword {
            let value = self.expr(frame, value);
            match name {
                Some(name) => keyword.push((Rc::clone(name), value)),
                None => {
                    more = true;
                    keyword.push(("**".into(), value));
                }
            }
        }
        let given = Given { line: span.line, positional, keyword, more, alone: false };
        match &callee.what {
            What::Function(at) => self.of_function(*at, &given),
            What::Bound(receiver, function) => {
                let Some(receiver) = self.held.methods.get(*receiver).cloned() else {
                    return Thing::plain(What::Unknown);
                };
                self.of_function(*function, &given.with_first(&receiver))
            }
            What::Class(at) => self.make(*at, &given),
            What::Instance(_) => match self.called(&callee, &given) {
                Some(value) => value,
                None => {
                    let mut all: Vec<Thing> = vec![callee.clone()];
                    all.extend(given.all());
                    self.opaque(&all)
                }
            },
            What::Method(at, name) => {
                let Some(object) = self.held.methods.get(*at).cloned() else { return Thing::plain(What::Unknown) };
                self.of_method(&object, &Rc::clone(name), given, span)
            }
            What::Global(name) => self.of_global(&Rc::clone(name), &given, span),
            What::Module(place) => self.run_module(&place.clone(), &given, span),
            _ => {
                let mut all: Vec<Thing> = vec![callee.clone()];
                all.extend(given.all());
                self.opaque(&all)
            }
        }
    }

    /// Goes through a function of the user's.
    pub fn of_function(&mut self, at: usize, given: &Given) -> Thing {
        let Some(function) = self.held.functions.get(at).cloned() else { return Thing::plain(What::Unknown) };
        if let Decorated::Unknown(says) = &function.decorated {
            self.refuse(given.line, format!("NameError: {says}"));
        }
        let parameters = &function.code.parameters;
        let known = matches!(function.decorated, Decorated::No);
        if self.calls >= CALLS || given.more || function.code.generator || !known {
            self.captured(function.around);
            self.touched(&Thing::plain(What::Function(at)));
            return self.opaque(&given.all());
        }
        let globals = match self.held.frames.get(function.around) {
            Some(frame) => Rc::clone(&frame.globals),
            None => Rc::default(),
        };
        let frame = self.held.frame(&function.code, Some(function.around), &globals);
        let mut slots: Vec<Option<Thing>> = vec![None; function.code.slots.len()];
        let names = &function.code.slots;
        let placed = parameters.positional + parameters.positional_only;
        let first_default = placed.saturating_sub(function.defaults.len());
        for (index, slot) in slots.iter_mut().take(placed).enumerate() {
            *slot = given
                .positional
                .get(index)
                .cloned()
                .or_else(|| function.defaults.get(index.checked_sub(first_default)?).cloned());
        }
        for (name, value) in &function.keyword_defaults {
            if let Some(at) = names.iter().position(|slot| slot == name) {
                slots[at] = Some(value.clone());
            }
        }
        let mut other = Vec::new();
        for (name, value) in &given.keyword {
            match names.iter().take(placed + parameters.keyword_only).position(|slot| slot == name) {
                Some(at) => slots[at] = Some(value.clone()),
                None => other.push((Thing::text(name), value.clone())),
            }
        }
        let mut next = placed + parameters.keyword_only;
        if parameters.star {
            let rest = given.positional.iter().skip(placed).cloned().collect();
            slots[next] = Some(self.held.tuple(rest));
            next += 1;
        }
        if parameters.double_star {
            slots[next] = Some(self.held.dict(other, true));
        }
        if let Some(frame) = self.held.frames.get_mut(frame) {
            frame.slots = slots;
        }
        let flow = self.inside(&Rc::clone(&function.code), given.line, |walk| walk.body(frame, &function.code.body));
        let returned = self.held.frames.get_mut(frame).and_then(|frame| frame.returned.take());
        match (returned, flow) {
            (Some(returned), super::statement::Flow::Leave) => returned,
            (Some(returned), _) => self.held.or(&returned, &Thing::none()),
            (None, _) => Thing::none(),
        }
    }

    /// Goes through the body of a function or a class, which is entered from a line of the code at hand.
    pub fn inside<T>(&mut self, code: &Rc<Code>, line: u32, body: impl FnOnce(&mut Self) -> T) -> T {
        let here = (Rc::clone(&self.now.text), line, Rc::clone(&self.now.function));
        self.now.around.push(here);
        let name = std::mem::replace(&mut self.now.function, Rc::clone(&code.name));
        let text = std::mem::replace(&mut self.now.text, Rc::clone(&code.text));
        let (statement, perhaps) = (self.now.statement, self.now.perhaps);
        self.calls += 1;
        let result = body(self);
        self.calls -= 1;
        (self.now.text, self.now.statement, self.now.function) = (text, statement, name);
        self.now.perhaps = perhaps;
        self.now.around.pop();
        result
    }

    fn of_method(&mut self, object: &Thing, name: &Rc<str>, given: Given, span: Span) -> Thing {
        if &**name == "save" && given.positional.is_empty() {
            return self.save(object, span);
        }
        match &object.what {
            What::Module(place) => self.of_envoy(&place.clone(), object, name, given, span),
            What::Tracer => self.of_tracer(name, given, span),
            What::Value(form, spot) => {
                let (form, spot) = (form.clone(), spot.clone());
                let needs = self.needs(object, &given);
                if &**name == "backward" {
                    let node = self.node(Does::Computes, span, &needs);
                    self.graph.used.insert(node);
                    if let Some(trace) = self.now.trace.and_then(|trace| self.graph.traces.get_mut(trace)) {
                        trace.gradients = true;
                    }
                    return Thing::new(What::Unknown, Rc::new(BTreeSet::from([node])));
                }
                self.of_tensor(name, object, &form, spot, &given, needs, span)
            }
            What::List(at) => self.of_list(*at, object, name, &given),
            What::Dict(at) => self.of_dict(*at, object, name, &given),
            What::Instance(_) | What::Super(..) => self.of_unknown_method(object, name, &given),
            _ => {
                let mut all = vec![object.clone()];
                all.extend(given.all());
                self.opaque(&all)
            }
        }
    }

    fn needs(&mut self, object: &Thing, given: &Given) -> BTreeSet<u32> {
        let mut needs = self.all_deps([object]);
        needs.extend(self.all_deps(&given.all()));
        needs
    }

    #[expect(clippy::too_many_arguments, reason = "what a call of a method has")]
    fn of_tensor(
        &mut self,
        name: &str,
        object: &Thing,
        form: &Form,
        spot: Option<Spot>,
        given: &Given,
        needs: BTreeSet<u32>,
        span: Span,
    ) -> Thing {
        let named = |wanted: &str| given.keyword.iter().find(|(name, _)| &**name == wanted).map(|(_, value)| value);
        let keep = named("keepdim").is_some_and(|keep| self.held.truth(keep) != Some(false));
        let dim = named("dim").or(named("axis"));
        // Several dimensions at once are not followed.
        let known = dim.is_none_or(|dim| dim.as_int().is_some());
        let made = operation::method(name, form, &given.positional, dim.and_then(Thing::as_int), keep);
        match made.filter(|_| known) {
            Some(Made::Itself) => {
                match &spot {
                    Some(spot) => {
                        let value = Thing::unknown(Rc::new(needs));
                        self.write(spot, [object, &value], span);
                    }
                    None => {
                        let node = self.node(Does::Computes, span, &needs);
                        self.graph.used.insert(node);
                    }
                }
                object.clone()
            }
            Some(Made::View(form)) => {
                let part = self.computed(form, &needs);
                Thing { what: operation::at(part.what, spot), ..part }
            }
            Some(Made::New(form)) => self.computed(form, &needs),
            Some(Made::Number(number)) => Thing::int(number),
            None if matches!(name, "tolist" | "numpy") => Thing::unknown(Rc::new(needs)),
            None => self.computed(Form::Unknown, &needs),
        }
    }

    fn of_list(&mut self, at: usize, object: &Thing, name: &str, given: &Given) -> Thing {
        let certain = self.now.perhaps == 0;
        match (name, given.positional.as_slice()) {
            ("append", [item]) => {
                if let Some(list) = self.held.lists.get_mut(at) {
                    list.items.push(item.clone());
                    list.exact &= certain;
                }
                Thing::none()
            }
            ("extend", [more]) => {
                let turns = self.turns(more);
                let exact = certain && turns.exact && turns.certain == turns.items.len();
                if let Some(list) = self.held.lists.get_mut(at) {
                    list.items.extend(turns.items.into_iter().map(|turn| turn.thing));
                    list.exact &= exact;
                }
                Thing::none()
            }
            ("copy", []) => {
                let turns = self.turns(object);
                let exact = turns.exact;
                self.held.list(turns.items.into_iter().map(|turn| turn.thing).collect(), exact)
            }
            _ => {
                let from = self.needs(object, given);
                if let Some(list) = self.held.lists.get_mut(at) {
                    list.items.extend(given.positional.iter().cloned());
                    list.exact = false;
                }
                Thing::unknown(Rc::new(from))
            }
        }
    }

    fn of_dict(&mut self, at: usize, object: &Thing, name: &str, given: &Given) -> Thing {
        let Some(dict) = self.held.dicts.get(at) else { return Thing::plain(What::Unknown) };
        let (pairs, exact) = (dict.pairs.clone(), dict.exact);
        self.held.looks(pairs.len());
        match (name, given.positional.as_slice()) {
            ("keys", []) => self.held.list(pairs.into_iter().map(|(key, _)| key).collect(), exact),
            ("values", []) => self.held.list(pairs.into_iter().map(|(_, value)| value).collect(), exact),
            ("items", []) => {
                let items = pairs.into_iter().map(|(key, value)| self.held.tuple(vec![key, value])).collect();
                self.held.list(items, exact)
            }
            _ => {
                let from = self.needs(object, given);
                if let Some(dict) = self.held.dicts.get_mut(at) {
                    dict.pairs.extend(given.positional.iter().map(|thing| (thing.clone(), thing.clone())));
                    dict.exact = false;
                }
                Thing::unknown(Rc::new(from))
            }
        }
    }

    fn of_tracer(&mut self, name: &str, mut given: Given, span: Span) -> Thing {
        match name {
            "invoke" => {
                given.line = span.line;
                self.held.given.push(given);
                Thing::plain(What::Invoker(self.held.given.len() - 1))
            }
            "all" => Thing::plain(What::Steps(Steps::From(0, None))),
            "cache" => self.cache(&given, span),
            "stop" => {
                // What follows is not run.
                self.now.caught += 1;
                Thing::plain(What::Unknown)
            }
            "barrier" => Thing::plain(What::Unknown),
            _ => self.opaque(&given.all()),
        }
    }

    /// `tracer.cache()` keeps what modules return, all of them where none are named.
    fn cache(&mut self, given: &Given, span: Span) -> Thing {
        let modules = given
            .positional
            .first()
            .or_else(|| given.keyword.iter().find(|(name, _)| &**name == "modules").map(|(_, value)| value));
        let places: Option<Vec<Place>> = match (modules, self.outline) {
            (Some(modules), _) if !matches!(modules.what, What::Constant(Constant::None)) => {
                let turns = self.turns(&modules.clone());
                let places = turns.items.iter().map(|turn| match &turn.thing.what {
                    What::Module(place) => Some(place.clone()),
                    _ => None,
                });
                if turns.exact { places.collect() } else { None }
            }
            (_, Some(outline)) => {
                let run = outline.modules.iter().enumerate().filter(|(_, module)| module.span.is_some());
                Some(run.filter_map(|(at, _)| u32::try_from(at).ok().map(Place::Site)).collect())
            }
            (_, None) => None,
        };
        let mut kept = Vec::new();
        for place in places.unwrap_or_else(|| vec![Place::Some]) {
            kept.push(self.kept(&Spot::Output(place), span));
        }
        let pairs = kept.into_iter().map(|thing| (thing.clone(), thing)).collect::<Vec<_>>();
        let exact = !pairs.iter().any(|(_, thing)| matches!(thing.what, What::Value(Form::Unknown, _)));
        let values: Vec<Thing> = pairs.into_iter().map(|(_, value)| value).collect();
        self.held.list(values, exact)
    }

    fn of_envoy(&mut self, place: &Place, object: &Thing, name: &Rc<str>, mut given: Given, span: Span) -> Thing {
        let calls = match &**name {
            "trace" | "scan" => Some(Calls::Forward),
            "generate" => Some(Calls::Generate),
            "pipe" => Some(Calls::Pipe),
            _ => None,
        };
        if let Some(calls) = calls {
            given.line = span.line;
            given.alone = self.path(place).is_none_or(|path| !path.is_empty());
            self.held.given.push(given);
            return Thing::plain(What::Opening(calls, self.held.given.len() - 1));
        }
        match &**name {
            "skip" => {
                let value = given.positional.first().or_else(|| given.keyword.first().map(|(_, value)| value)).cloned();
                let value = value.unwrap_or_else(Thing::none);
                self.skip(place, &value, span);
                Thing::none()
            }
            "all" => Thing::plain(What::Steps(Steps::From(0, None))),
            "get" => match given.positional.first().and_then(Thing::as_str) {
                Some(path) => {
                    let mut thing = object.clone();
                    for part in path.split('.') {
                        thing = self.attribute(&thing, &part.into(), span);
                    }
                    thing
                }
                None => Thing::plain(What::Module(Place::Some)),
            },
            "modules" | "named_modules" | "edit" | "clear_edits" | "tokenizer" => {
                given.all().iter().for_each(|thing| self.uses(thing));
                Thing::plain(What::Unknown)
            }
            _ => self.opaque(&given.all()),
        }
    }

    /// Runs a module of the model on a value: `model.lm_head(hidden)`.
    fn run_module(&mut self, place: &Place, given: &Given, span: Span) -> Thing {
        let needs = self.all_deps(&given.all());
        // Where modules are not known, a name may be anything.
        given.all().iter().for_each(|thing| self.touched_inside(thing));
        let node = self.node(Does::Calls, span, &needs);
        let path = self.path(place);
        let taken = given.positional.first().map(|thing| self.held.form(thing)).unwrap_or_default();
        let form = match (place, self.outline) {
            // Of one tensor, one comes back: as long in all but the last dimension.
            (Place::Site(at), Some(outline)) => match (&taken, outline.input(*at), outline.output(*at)) {
                (Form::Tensor(_, given), Form::Tensor(..), Form::Tensor(dtype, returned)) => {
                    let mut shape = given.clone();
                    match (shape.last_mut(), returned.last()) {
                        (Some(last), Some(width @ Size::Fixed(_))) => {
                            *last = *width;
                            Form::Tensor(dtype, shape)
                        }
                        _ => Form::Unknown,
                    }
                }
                _ => Form::Unknown,
            },
            _ => Form::Unknown,
        };
        self.shaped(node, &form);
        if let Some(node) = self.graph.nodes.get_mut(node as usize) {
            let site = path.map_or_else(|| "one of the modules".to_owned(), |path| nnsight_name(&path, ""));
            node.site.get_or_insert_with(|| site.clone());
            node.sites.insert(site);
        }
        Thing::new(What::Value(form, None), Rc::new(BTreeSet::from([node])))
    }

    fn of_global(&mut self, name: &str, given: &Given, span: Span) -> Thing {
        self.of_called(name, given, span.line);
        let first = given.positional.first();
        match (name, first) {
            ("builtins.getattr", Some(object)) if given.positional.len() == 2 && !given.more => {
                let name = given.positional.get(1).and_then(Thing::as_str);
                if let Some(name) = name {
                    return self.attribute(&object.clone(), &name.into(), span);
                }
            }
            (name, Some(thing)) if name.starts_with("nnsight.") && name.ends_with(".save") => {
                return self.save(&thing.clone(), span);
            }
            ("builtins.print", _) => {
                let needs = self.all_deps(&given.all());
                let node = self.node(Does::Prints, span, &needs);
                self.graph.used.insert(node);
                return Thing::none();
            }
            ("builtins.range", Some(_)) => {
                let bounds: Option<Vec<i64>> = given.positional.iter().map(Thing::as_int).collect();
                return Thing::plain(match bounds.as_deref() {
                    Some([stop]) => What::Range(0, *stop, 1),
                    Some([start, stop]) => What::Range(*start, *stop, 1),
                    Some([start, stop, step]) => What::Range(*start, *stop, *step),
                    _ => What::Unknown,
                });
            }
            ("builtins.len", Some(thing)) => return self.length(&thing.clone()),
            ("builtins.list" | "builtins.tuple", None) => return self.held.list(Vec::new(), true),
            ("builtins.dict", None) if given.keyword.is_empty() => return self.held.dict(Vec::new(), true),
            ("builtins.dict", None) if !given.more => {
                let pairs = given.keyword.iter().map(|(name, value)| (Thing::text(name), value.clone())).collect();
                return self.held.dict(pairs, true);
            }
            ("builtins.list" | "builtins.tuple" | "builtins.reversed" | "builtins.iter", Some(thing)) => {
                let turns = self.turns(&thing.clone());
                let exact = turns.exact && turns.certain == turns.items.len();
                let mut items: Vec<Thing> = turns.items.into_iter().map(|turn| turn.thing).collect();
                if name == "builtins.reversed" {
                    items.reverse();
                }
                return if name == "builtins.tuple" && exact {
                    self.held.tuple(items)
                } else {
                    self.held.list(items, exact)
                };
            }
            ("builtins.enumerate", Some(thing)) => {
                let start = given.positional.get(1).or(given.keyword.first().map(|(_, value)| value));
                let start = start.map_or(Some(0), Thing::as_int);
                let turns = self.turns(&thing.clone());
                let exact = turns.exact && turns.certain == turns.items.len();
                let number = |at: usize| match start {
                    Some(start) if exact => Thing::int(start.saturating_add(i64::try_from(at).unwrap_or(0))),
                    _ => Thing::plain(What::Unknown),
                };
                let items = turns.items.into_iter().enumerate();
                let items = items.map(|(at, turn)| self.held.tuple(vec![number(at), turn.thing])).collect();
                return self.held.list(items, exact);
            }
            ("builtins.zip", Some(_)) => return self.zip(given),
            ("torch.stack" | "torch.cat" | "torch.concat", Some(thing)) => {
                return self.joined(name, &thing.clone(), given);
            }
            _ => {}
        }
        let plain = [
            "builtins.int",
            "builtins.float",
            "builtins.str",
            "builtins.bool",
            "builtins.isinstance",
            "builtins.type",
            "builtins.abs",
            "builtins.repr",
            "builtins.hasattr",
            "builtins.id",
        ];
        if plain.contains(&name) {
            if let (Some(known), "builtins.int") = (first.and_then(Thing::as_int), name) {
                return Thing::int(known);
            }
            return Thing::unknown(Rc::new(self.all_deps(&given.all())));
        }
        let function = name.rsplit('.').next().unwrap_or(name);
        let computes =
            ["torch.", "einops.", "numpy.", "math.", "builtins.sum", "builtins.min", "builtins.max", "builtins.sorted"];
        if computes.iter().any(|prefix| name.starts_with(prefix)) && !function.ends_with('_') {
            let needs = self.all_deps(&given.all());
            // A mode, a size, a type: they are not of tensors.
            if needs.is_empty() {
                return Thing::plain(What::Unknown);
            }
            let rest = Given { positional: given.positional.iter().skip(1).cloned().collect(), ..given.clone() };
            let form = first.map(|thing| self.held.form(thing)).unwrap_or_default();
            return match first {
                Some(thing) if matches!(form, Form::Tensor(..)) && name.starts_with("torch.") => {
                    self.of_tensor(function, &thing.clone(), &form, None, &rest, needs, span)
                }
                _ => self.computed(Form::Unknown, &needs),
            };
        }
        self.opaque(&given.all())
    }

    fn length(&mut self, thing: &Thing) -> Thing {
        let known = match &thing.what {
            What::List(at) | What::Tuple(at) => {
                self.held.lists.get(*at).filter(|items| items.exact).map(|items| items.items.len())
            }
            What::Dict(at) => self.held.dicts.get(*at).filter(|pairs| pairs.exact).map(|pairs| pairs.pairs.len()),
            What::Range(start, stop, step) => Some(operation::count(*start, *stop, *step)),
            What::Constant(Constant::Str(text)) => Some(text.chars().count()),
            What::Module(place) => self.children(place).map(|children| children.len()),
            What::Value(Form::Tensor(_, shape), _) => match shape.first() {
                Some(Size::Fixed(size)) => usize::try_from(*size).ok(),
                _ => None,
            },
            What::Value(Form::Tuple(items), _) => Some(items.len()),
            _ => None,
        };
        match known.and_then(|count| i64::try_from(count).ok()) {
            Some(count) => Thing::int(count),
            None => Thing::unknown(self.deps(thing)),
        }
    }

    fn zip(&mut self, given: &Given) -> Thing {
        let all: Vec<Turns> = given.positional.iter().map(|thing| self.turns(thing)).collect();
        let exact = !given.more && all.iter().all(|turns| turns.exact && turns.certain == turns.items.len());
        let shortest = all.iter().map(|turns| turns.items.len()).min().unwrap_or(0).min(MOST);
        let row =
            |at: usize| all.iter().filter_map(|turns| turns.items.get(at)).map(|turn| turn.thing.clone()).collect();
        let rows: Vec<Vec<Thing>> = (0..shortest).map(row).collect();
        let rows = rows.into_iter().map(|row| self.held.tuple(row)).collect();
        self.held.list(rows, exact)
    }

    /// `torch.stack` and `torch.cat`.
    fn joined(&mut self, name: &str, parts: &Thing, given: &Given) -> Thing {
        let needs = self.all_deps(&given.all());
        let turns = self.turns(parts);
        let forms: Vec<Form> = turns.items.iter().map(|turn| self.held.form(&turn.thing)).collect();
        let dim = given.positional.get(1).or(given.keyword.iter().find(|(name, _)| &**name == "dim").map(|(_, it)| it));
        let dim = dim.map_or(Some(0), Thing::as_int);
        let count = i64::try_from(forms.len()).map_or(Size::Unknown, Size::Fixed);
        let form = match (forms.first(), dim, turns.exact) {
            (Some(Form::Tensor(dtype, shape)), Some(dim), true)
                if name == "torch.stack" && forms.iter().all(|it| it == &forms[0]) =>
            {
                match operation::index(dim, shape.len() + 1) {
                    Some(at) => {
                        let mut shape = shape.clone();
                        shape.insert(at, count);
                        Form::Tensor(*dtype, shape)
                    }
                    None => Form::Unknown,
                }
            }
            (Some(Form::Tensor(dtype, shape)), Some(dim), true) if name != "torch.stack" => {
                let at = operation::index(dim, shape.len());
                let sum = forms.iter().try_fold(0_i64, |sum, form| match (form, at) {
                    (Form::Tensor(other, sizes), Some(at)) if other == dtype && sizes.len() == shape.len() => {
                        match sizes[at] {
                            Size::Fixed(size) => sum.checked_add(size),
                            _ => None,
                        }
                    }
                    _ => None,
                });
                match (at, sum) {
                    (Some(at), Some(sum)) => {
                        let mut shape = shape.clone();
                        shape[at] = Size::Fixed(sum);
                        Form::Tensor(*dtype, shape)
                    }
                    _ => Form::Unknown,
                }
            }
            _ => Form::Unknown,
        };
        self.computed(form, &needs)
    }

    /// Calls what is not looked into: whatever it is given counts as used, and may have changed.
    pub fn opaque(&mut self, given: &[Thing]) -> Thing {
        let needs = self.all_deps(given);
        for thing in given {
            self.touched(thing);
        }
        if needs.is_empty() {
            return Thing::plain(What::Unknown);
        }
        let node = self.node(Does::Computes, Span::default(), &needs);
        self.graph.used.insert(node);
        Thing::unknown(Rc::new(BTreeSet::from([node])))
    }

    pub fn combined(&mut self, operator: Binary, left: &Thing, right: &Thing) -> Thing {
        let needs = self.all_deps([left, right]);
        let (one, other) = (self.held.form(left), self.held.form(right));
        if needs.is_empty() && !matches!((&one, &other), (Form::Tensor(..), _) | (_, Form::Tensor(..))) {
            // A list and a list, a text and a number.
            return match (operator, &left.what, &right.what) {
                (Binary::Add, What::List(_), What::List(_)) => {
                    let (left, right) = (self.turns(left), self.turns(right));
                    let exact = left.exact && right.exact;
                    self.held.list(left.items.into_iter().chain(right.items).map(|turn| turn.thing).collect(), exact)
                }
                _ => Thing::plain(What::Unknown),
            };
        }
        let form = match operator {
            Binary::MatMul => Form::Unknown,
            _ => operation::broadcast(&one, &other),
        };
        self.computed(form, &needs)
    }

    pub fn elementwise(&mut self, operand: &Thing) -> Thing {
        let needs = self.all_deps([operand]);
        match operand.what {
            What::Value(ref form, _) => {
                let form = form.clone();
                self.computed(form, &needs)
            }
            _ => Thing::unknown(Rc::new(needs)),
        }
    }

    fn save(&mut self, thing: &Thing, span: Span) -> Thing {
        let needs = self.all_deps([thing]);
        let node = self.node(Does::Saves, span, &needs);
        let form = self.held.form(thing);
        self.shaped(node, &form);
        self.graph.used.insert(node);
        let certain = self.now.perhaps == 0;
        let before = thing.mark.get();
        let certain = certain || before.is_some_and(|mark| mark.certain);
        thing.mark.set(Some(before.map_or(Mark { node, line: span.line, certain }, |mark| Mark { certain, ..mark })));
        thing.clone()
    }
}

impl Given {
    /// Returns the arguments of a function that is bound to an object.
    pub fn with_first(&self, object: &Thing) -> Self {
        let mut given = self.clone();
        given.positional.insert(0, object.clone());
        given
    }

    /// Returns all arguments.
    pub fn all(&self) -> Vec<Thing> {
        self.positional.iter().chain(self.keyword.iter().map(|(_, value)| value)).cloned().collect()
    }
}

/// Returns the name that nnsight gives a part of the model.
pub fn nnsight_name(path: &str, part: &str) -> String {
    let parts = ["model", path, part].into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(".")
}
