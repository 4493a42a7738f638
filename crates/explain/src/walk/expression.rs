//! Expressions: what is known of their values.

use std::collections::BTreeSet;
use std::rc::Rc;

use program::DType;
use program::ir::{
    Argument, Collect, Comparison, Comprehension, Constant, Expr, ExprKind, Name, Piece, Span, Unary, deep,
};

use crate::answer::{Calls, Does};
use crate::form::{Form, Size};
use crate::refused;
use crate::walk::operation::{self, binary};
use crate::walk::statement::bound;
use crate::walk::value::{Bound, Given, Place, Spot, Steps, Thing, What};
use crate::walk::{MOST, Walk};

/// What a loop goes through.
pub struct Turns {
    pub items: Vec<Turn>,
    /// Whether these are all.
    pub exact: bool,
    /// How many of them come for certain.
    pub certain: usize,
}

pub struct Turn {
    pub thing: Thing,
    /// The step of a generation that it stands for.
    pub step: Option<i64>,
}

impl Turns {
    pub fn all(items: Vec<Thing>) -> Self {
        let certain = items.len();
        let items = items.into_iter().map(|thing| Turn { thing, step: None }).collect();
        Self { items, exact: true, certain }
    }

    fn unknown(thing: &Thing) -> Self {
        let turn = || Turn { thing: thing.clone(), step: None };
        Self { items: vec![turn(), turn()], exact: false, certain: 0 }
    }
}

impl Walk<'_> {
    pub fn expr(&mut self, frame: usize, expr: &Expr) -> Thing {
        if !self.step() {
            return Thing::plain(What::Unknown);
        }
        deep(|| self.expression(frame, expr))
    }

    fn expression(&mut self, frame: usize, expr: &Expr) -> Thing {
        match &expr.kind {
            ExprKind::Constant(constant) => Thing::plain(What::Constant(constant.clone())),
            ExprKind::Name(name) => self.name(frame, *name),
            ExprKind::Binary { operator, left, right } => {
                let (left, right) = (self.expr(frame, left), self.expr(frame, right));
                binary(*operator, &left, &right).unwrap_or_else(|| self.combined(*operator, &left, &right))
            }
            ExprKind::Unary { operator, operand } => {
                let operand = self.expr(frame, operand);
                match (operator, operand.as_int()) {
                    (Unary::Not, _) => match self.held.truth(&operand) {
                        Some(truth) => Thing::plain(What::Constant(Constant::Bool(!truth))),
                        None => Thing::unknown(self.deps(&operand)),
                    },
                    (Unary::Negative, Some(value)) => Thing::int(value.wrapping_neg()),
                    (Unary::Positive, Some(_)) => operand,
                    _ => self.elementwise(&operand),
                }
            }
            ExprKind::Boolean { any, operands } => {
                let (mut from, before) = (BTreeSet::new(), self.now.perhaps);
                let mut last = Thing::none();
                let mut known = true;
                for operand in operands {
                    last = self.expr(frame, operand);
                    from.extend(self.deps(&last).iter());
                    match self.held.truth(&last) {
                        Some(truth) if truth == *any => break,
                        Some(_) => {}
                        None => {
                            known = false;
                            self.now.perhaps += 1;
                        }
                    }
                }
                self.now.perhaps = before;
                if known { last } else { Thing::unknown(Rc::new(from)) }
            }
            ExprKind::Compare { first, rest } => self.compare(frame, first, rest),
            ExprKind::Conditional(parts) => {
                let [test, yes, no] = &**parts;
                let test = self.expr(frame, test);
                match self.held.truth(&test) {
                    Some(true) => self.expr(frame, yes),
                    Some(false) => self.expr(frame, no),
                    None => {
                        let before = (self.now.perhaps, self.now.deciding.clone());
                        self.decides(&test);
                        let (yes, no) = (self.expr(frame, yes), self.expr(frame, no));
                        (self.now.perhaps, self.now.deciding) = before;
                        self.held.or(&yes, &no)
                    }
                }
            }
            ExprKind::Attribute { object, name } => {
                let object = self.expr(frame, object);
                self.attribute(&object, name, expr.span)
            }
            ExprKind::Item { object, key } => {
                let (object, key) = (self.expr(frame, object), self.expr(frame, key));
                self.item(&object, &key)
            }
            ExprKind::Slice(bounds) => {
                let [start, stop, step] = &**bounds;
                let mut given = |part: &Option<Expr>| part.as_ref().map(|part| self.expr(frame, part));
                let parts = [given(start), given(stop), given(step)];
                let from = self.all_deps(parts.iter().flatten());
                let [start, stop, step] = &parts;
                let bounds = [bound(start.as_ref()), bound(stop.as_ref()), bound(step.as_ref())];
                Thing::new(What::Slice(bounds), Rc::new(from))
            }
            ExprKind::Call(call) => self.call(frame, call, expr.span),
            ExprKind::Super { class, receiver } => {
                let class = self.name(frame, *class);
                let receiver = receiver.map(|receiver| self.name(frame, receiver));
                match (class.what, receiver) {
                    (What::Class(class), Some(receiver)) => {
                        let Thing { what: What::Method(at, _), from, .. } = self.held.method(receiver, &"".into())
                        else {
                            return Thing::plain(What::Unknown);
                        };
                        Thing::new(What::Super(class, at), from)
                    }
                    _ => Thing::plain(What::Unknown),
                }
            }
            ExprKind::List(items) => {
                let (items, exact) = self.arguments(frame, items);
                self.held.list(items, exact)
            }
            ExprKind::Tuple(items) => {
                let (items, exact) = self.arguments(frame, items);
                if exact { self.held.tuple(items) } else { self.held.list(items, false) }
            }
            ExprKind::Set(items) => {
                let (items, _) = self.arguments(frame, items);
                self.held.list(items, false)
            }
            ExprKind::Dict(pairs) => {
                let (mut all, mut exact) = (Vec::new(), true);
                for (key, value) in pairs {
                    let key = key.as_ref().map(|key| self.expr(frame, key));
                    let value = self.expr(frame, value);
                    match key {
                        Some(key) => all.push((key, value)),
                        None => {
                            exact = false;
                            all.push((value.clone(), value));
                        }
                    }
                }
                self.held.dict(all, exact)
            }
            ExprKind::Lambda(definition) => self.function(frame, definition),
            ExprKind::Comprehension(comprehension) => self.comprehension(frame, comprehension),
            ExprKind::Walrus { target, value } => {
                let value = self.expr(frame, value);
                self.bind(frame, *target, value.clone());
                value
            }
            ExprKind::Format(pieces) => {
                let mut from = BTreeSet::new();
                self.pieces(frame, pieces, &mut from);
                Thing::unknown(Rc::new(from))
            }
            ExprKind::Yield(value) => {
                if let Some(value) = value {
                    let value = self.expr(frame, value);
                    self.uses(&value);
                }
                Thing::plain(What::Unknown)
            }
            ExprKind::YieldFrom(value) => {
                let value = self.expr(frame, value);
                self.uses(&value);
                Thing::plain(What::Unknown)
            }
        }
    }

    fn pieces(&mut self, frame: usize, pieces: &[Piece], from: &mut BTreeSet<u32>) {
        for piece in pieces {
            if let Piece::Value { value, spec, .. } = piece {
                let value = self.expr(frame, value);
                from.extend(self.deps(&value).iter());
                self.pieces(frame, spec, from);
            }
        }
    }

    /// Returns what a name is bound to: in the code, by the request, or among the builtins.
    pub fn name(&mut self, frame: usize, name: Name) -> Thing {
        let Some((frame, bound, text)) = self.held.variable(frame, name) else { return Thing::plain(What::Unknown) };
        if let Some(thing) = bound {
            return thing;
        }
        match frame.globals.get(&text) {
            Some(at) => self.thaw(at),
            None => Thing::global(&format!("builtins.{text}")),
        }
    }

    /// Returns elements, with what stars add to them, and whether they are all.
    pub fn arguments(&mut self, frame: usize, items: &[Argument]) -> (Vec<Thing>, bool) {
        let (mut all, mut exact) = (Vec::new(), true);
        for Argument { starred, value } in items {
            let value = self.expr(frame, value);
            if *starred {
                let turns = self.turns(&value);
                exact &= turns.exact && turns.certain == turns.items.len();
                all.extend(turns.items.into_iter().map(|turn| turn.thing));
            } else {
                all.push(value);
            }
        }
        (all, exact)
    }

    fn compare(&mut self, frame: usize, first: &Expr, rest: &[(Comparison, Expr)]) -> Thing {
        let mut left = self.expr(frame, first);
        let (mut from, mut all, mut shaped) = (BTreeSet::new(), Some(true), None);
        from.extend(self.deps(&left).iter());
        for (comparison, right) in rest {
            let right = self.expr(frame, right);
            from.extend(self.deps(&right).iter());
            let known = match comparison {
                Comparison::Equal | Comparison::Is => left.equals(&right),
                Comparison::NotEqual | Comparison::IsNot => left.equals(&right).map(|same| !same),
                Comparison::In | Comparison::NotIn => {
                    self.contains(&right, &left).map(|found| found == matches!(comparison, Comparison::In))
                }
                order => left.as_int().zip(right.as_int()).map(|(left, right)| match order {
                    Comparison::Less => left < right,
                    Comparison::LessEqual => left <= right,
                    Comparison::Greater => left > right,
                    _ => left >= right,
                }),
            };
            let tensors = [self.held.form(&left), self.held.form(&right)];
            if let Some(Form::Tensor(_, shape)) = tensors.iter().find(|form| matches!(form, Form::Tensor(..))) {
                shaped = Some(Form::Tensor(DType::Bool, shape.clone()));
            }
            all = match (all, known) {
                (_, Some(false)) => Some(false),
                (all, Some(true)) => all,
                (_, None) => None,
            };
            if all == Some(false) {
                break;
            }
            left = right;
        }
        match (all, shaped) {
            (Some(truth), _) => Thing::plain(What::Constant(Constant::Bool(truth))),
            (None, Some(form)) => self.computed(form, &from),
            (None, None) => Thing::unknown(Rc::new(from)),
        }
    }

    /// Returns whether a container has an element.
    fn contains(&mut self, container: &Thing, item: &Thing) -> Option<bool> {
        if item.as_int().is_none() && item.as_str().is_none() {
            return None;
        }
        if let What::Range(start, stop, step) = container.what {
            let value = item.as_int()?;
            let inside = if step > 0 { (start..stop).contains(&value) } else { value <= start && value > stop };
            return Some(inside && step != 0 && (i128::from(value) - i128::from(start)) % i128::from(step) == 0);
        }
        if let (Some(text), Some(part)) = (container.as_str(), item.as_str()) {
            return Some(text.contains(part));
        }
        let keys: Vec<Thing> = match container.what {
            What::List(at) | What::Tuple(at) => {
                let items = self.held.lists.get(at).filter(|items| items.exact)?;
                items.items.clone()
            }
            What::Dict(at) => {
                let pairs = self.held.dicts.get(at).filter(|pairs| pairs.exact)?;
                pairs.pairs.iter().map(|(key, _)| key.clone()).collect()
            }
            _ => return None,
        };
        self.held.looks(keys.len());
        let mut unsure = false;
        for key in &keys {
            match key.equals(item) {
                Some(true) => return Some(true),
                Some(false) => {}
                None => unsure = true,
            }
        }
        (!unsure).then_some(false)
    }

    /// Returns what a loop over a value goes through.
    pub fn turns(&mut self, thing: &Thing) -> Turns {
        match &thing.what {
            What::List(at) | What::Tuple(at) => {
                let Some(items) = self.held.lists.get(*at) else { return Turns::unknown(thing) };
                let (things, exact) = (items.items.clone(), items.exact);
                self.held.looks(things.len());
                if exact {
                    return Turns::all(things);
                }
                let whole = Thing::unknown(self.deps(thing));
                let things = things.into_iter().chain([whole.clone(), whole]);
                Turns { items: things.map(|thing| Turn { thing, step: None }).collect(), exact: false, certain: 0 }
            }
            What::Dict(at) => {
                let Some(pairs) = self.held.dicts.get(*at) else { return Turns::unknown(thing) };
                let (keys, exact) = (pairs.pairs.iter().map(|(key, _)| key.clone()).collect(), pairs.exact);
                self.held.looks(pairs.pairs.len());
                if exact { Turns::all(keys) } else { Turns::unknown(&Thing::unknown(self.deps(thing))) }
            }
            What::Range(start, stop, step) => {
                let (start, stop, step) = (*start, *stop, *step);
                let count = operation::count(start, stop, step);
                if count > MOST {
                    return Turns::unknown(&Thing::plain(What::Unknown));
                }
                self.held.looks(count);
                // Each lies between the two bounds.
                let value = |index: usize| start.wrapping_add(i64::try_from(index).unwrap_or(0).wrapping_mul(step));
                Turns::all((0..count).map(|index| Thing::int(value(index))).collect())
            }
            What::Module(place) => match self.children(place) {
                Some(children) => {
                    Turns::all(children.into_iter().map(|(_, place)| Thing::plain(What::Module(place))).collect())
                }
                // A list of modules has one at least.
                None => Turns { certain: 1, ..Turns::unknown(&Thing::plain(What::Module(Place::Some))) },
            },
            What::Steps(steps) => self.steps(&steps.clone()),
            What::Constant(Constant::Str(text)) if text.len() <= MOST => {
                Turns::all(text.chars().map(|letter| Thing::text(&letter.to_string())).collect())
            }
            What::Value(Form::Tuple(items), spot) => {
                let parts = items
                    .iter()
                    .map(|item| Thing::new(What::Value(item.clone(), spot.clone()), Rc::clone(&thing.from)));
                Turns::all(parts.collect())
            }
            What::Value(Form::Tensor(dtype, shape), _) => {
                let row = Form::Tensor(*dtype, shape.iter().skip(1).copied().collect());
                let one = Thing::new(What::Value(row, None), Rc::clone(&thing.from));
                match shape.first() {
                    Some(Size::Fixed(count)) if *count <= 256 => {
                        let count = usize::try_from(*count).unwrap_or(0);
                        // Each an object of its own.
                        let rows = (0..count).map(|_| Thing::new(one.what.clone(), Rc::clone(&one.from)));
                        Turns::all(rows.collect())
                    }
                    _ => Turns::unknown(&one),
                }
            }
            _ => Turns::unknown(&Thing::unknown(self.deps(thing))),
        }
    }

    fn steps(&self, steps: &Steps) -> Turns {
        let opened = self.now.trace.and_then(|trace| self.graph.traces.get(trace));
        let passes = opened.and_then(|trace| trace.passes).and_then(|passes| i64::try_from(passes).ok());
        let sure = opened.filter(|trace| trace.calls == Calls::Forward).and(passes);
        let most = i64::try_from(MOST).unwrap_or(i64::MAX);
        let (listed, exact): (Vec<i64>, bool) = match steps {
            Steps::Listed(steps) => (steps.iter().copied().take(MOST).collect(), true),
            Steps::From(start, stop) => match stop.or(passes) {
                Some(stop) if stop.saturating_sub(*start) <= most => ((*start..stop).collect(), true),
                _ => (vec![*start, start.saturating_add(1)], false),
            },
            Steps::Unknown => (Vec::new(), false),
        };
        if listed.is_empty() && !exact {
            return Turns::unknown(&Thing::plain(What::Unknown));
        }
        // A generation may end before its last step.
        let certain = listed.iter().take_while(|step| **step < sure.unwrap_or(1)).count();
        let turn = |step: &i64| Turn { thing: Thing::int(*step), step: Some(*step) };
        Turns { items: listed.iter().map(turn).collect(), exact, certain }
    }

    fn comprehension(&mut self, frame: usize, comprehension: &Comprehension) -> Thing {
        let first = self.expr(frame, &comprehension.first);
        let outer = self.held.out(frame, comprehension.outward).unwrap_or(frame);
        let globals = match self.held.frames.get(outer) {
            Some(frame) => Rc::clone(&frame.globals),
            None => Rc::default(),
        };
        let inner = self.held.frame(&comprehension.code, Some(outer), &globals);
        let mut made = Made { items: Vec::new(), pairs: Vec::new(), exact: true };
        let before = self.now.perhaps;
        self.comprehend(inner, comprehension, 0, Some(first), &mut made);
        self.now.perhaps = before;
        match &comprehension.kind {
            Collect::Dict(..) => self.held.dict(made.pairs, made.exact),
            Collect::Set(_) => self.held.list(made.items, false),
            Collect::List(_) | Collect::Generator(_) => self.held.list(made.items, made.exact),
        }
    }

    fn comprehend(&mut self, frame: usize, all: &Comprehension, at: usize, first: Option<Thing>, made: &mut Made) {
        let Some(turning) = all.loops.get(at) else {
            match &all.kind {
                Collect::List(value) | Collect::Set(value) | Collect::Generator(value) => {
                    let value = self.expr(frame, value);
                    made.items.push(value);
                }
                Collect::Dict(key, value) => {
                    let pair = (self.expr(frame, key), self.expr(frame, value));
                    made.pairs.push(pair);
                }
            }
            return;
        };
        let iterable = match (first, &turning.iterable) {
            (Some(first), _) => first,
            (None, Some(iterable)) => self.expr(frame, iterable),
            (None, None) => return,
        };
        let turns = self.turns(&iterable);
        made.exact &= turns.exact && turns.certain == turns.items.len();
        let outside = self.now.perhaps;
        'turns: for (index, turn) in turns.items.iter().enumerate() {
            if !self.step() {
                made.exact = false;
                return;
            }
            self.now.perhaps = outside + u32::from(index >= turns.certain);
            // Each turn's variables are new.
            let step = self.now.step;
            self.now.step = turn.step.or(step);
            let certain = std::mem::take(&mut self.now.perhaps);
            self.assign(frame, &turning.target, &turn.thing);
            self.now.perhaps = certain;
            for condition in &turning.conditions {
                let condition = self.expr(frame, condition);
                match self.held.truth(&condition) {
                    Some(true) => {}
                    Some(false) => {
                        self.now.step = step;
                        continue 'turns;
                    }
                    None => {
                        self.uses(&condition);
                        made.exact = false;
                        self.now.perhaps += 1;
                    }
                }
            }
            self.comprehend(frame, all, at + 1, None, made);
            self.now.step = step;
        }
        self.now.perhaps = outside;
    }

    pub fn attribute(&mut self, object: &Thing, name: &Rc<str>, span: Span) -> Thing {
        match &object.what {
            What::Module(place) => self.of_module(&place.clone(), object, name, span),
            What::Tracer => match &**name {
                "result" => self.read(&Spot::Result, span),
                "iter" => Thing::plain(What::Steps(Steps::From(0, None))),
                _ => self.held.method(object.clone(), name),
            },
            What::Global(module) => {
                let module = Rc::clone(module);
                self.of_path(&module, name, span.line);
                Thing::global(&format!("{module}.{name}"))
            }
            What::Instance(at) => {
                let found = self.of_instance(*at, object, name, span.line);
                found.unwrap_or_else(|| self.held.method(object.clone(), name))
            }
            What::Class(at) => {
                let found = self.of_class_object(*at, name);
                found.unwrap_or_else(|| self.held.method(object.clone(), name))
            }
            What::Super(class, at) => {
                let receiver = self.held.methods.get(*at).cloned().unwrap_or_else(Thing::none);
                let found = self.of_super(*class, &receiver, name, span.line);
                found.unwrap_or_else(|| self.held.method(object.clone(), name))
            }
            What::Value(form, _) if refused_of_tensors(form, name) => {
                let known = matches!(form, Form::Tensor(..));
                self.of_tensors(name, known, span.line);
                self.held.method(object.clone(), name)
            }
            What::Value(form, spot) => match (form, &**name) {
                (Form::Record(_, fields), name) if fields.iter().any(|(field, _)| field == name) => {
                    let form = fields.iter().find(|(field, _)| field == name).map(|(_, form)| form.clone());
                    Thing::new(What::Value(form.unwrap_or_default(), spot.clone()), Rc::clone(&object.from))
                }
                (Form::Tensor(_, shape), "shape") => {
                    let sizes = shape.iter().map(|size| match size {
                        Size::Fixed(size) => Thing::int(*size),
                        _ => Thing::unknown(Rc::clone(&object.from)),
                    });
                    let sizes = sizes.collect();
                    self.held.tuple(sizes)
                }
                (Form::Tensor(dtype, shape), "T" | "mT") => {
                    let mut shape = shape.clone();
                    let last = shape.len().saturating_sub(2);
                    if &**name == "T" {
                        shape.reverse()
                    } else if let Some(pair) = shape.get_mut(last..) {
                        pair.reverse()
                    }
                    Thing::new(What::Value(Form::Tensor(*dtype, shape), spot.clone()), Rc::clone(&object.from))
                }
                (Form::Tensor(_, shape), "ndim") => Thing::int(i64::try_from(shape.len()).unwrap_or(0)),
                (_, "dtype" | "device" | "requires_grad" | "is_cuda") => Thing::unknown(Rc::clone(&object.from)),
                (form, "grad") => {
                    let form = form.clone();
                    self.gradient(object, &form, span)
                }
                _ => self.held.method(object.clone(), name),
            },
            What::Unknown if &**name == "grad" => self.gradient(object, &Form::Unknown, span),
            _ => self.held.method(object.clone(), name),
        }
    }

    fn gradient(&mut self, object: &Thing, form: &Form, span: Span) -> Thing {
        let needs = self.all_deps([object]);
        let node = self.node(Does::Reads, span, &needs);
        self.shaped(node, form);
        if let Some(node) = self.graph.nodes.get_mut(node as usize) {
            node.site = Some("a gradient".into());
        }
        if let Some(trace) = self.now.trace.and_then(|trace| self.graph.traces.get_mut(trace)) {
            trace.gradients = true;
        }
        Thing::new(What::Value(form.clone(), None), Rc::new(BTreeSet::from([node])))
    }

    fn of_module(&mut self, place: &Place, object: &Thing, name: &Rc<str>, span: Span) -> Thing {
        match &**name {
            "output" => return self.read(&Spot::Output(place.clone()), span),
            "input" => return self.read(&Spot::Input(place.clone()), span),
            "inputs" => {
                let read = self.read(&Spot::Input(place.clone()), span);
                return Thing::unknown(read.from);
            }
            "iter" => return Thing::plain(What::Steps(Steps::From(0, None))),
            _ => {}
        }
        if let Some(own) = self.of_own(place, object, name, span.line) {
            return own;
        }
        if let Some(child) = self.child(place, name) {
            return Thing::plain(What::Module(child));
        }
        match place {
            // What it is, nobody knows; and if it is a module, it is one.
            Place::Path(path) if !METHODS.contains(&&**name) => {
                let path = super::thaw::joined(path, name);
                Thing::plain(What::Module(Place::Path(path.into())))
            }
            // What is inside of a forward has no place that is known.
            _ if &**name == "source" => Thing::plain(What::Module(Place::Some)),
            Place::Some if !METHODS.contains(&&**name) => Thing::plain(What::Module(Place::Some)),
            _ => self.held.method(object.clone(), name),
        }
    }

    fn child(&self, place: &Place, name: &str) -> Option<Place> {
        let found = self.children(place).and_then(|children| children.into_iter().find(|(child, _)| child == name));
        if let Some((_, place)) = found {
            return Some(place);
        }
        let path = self.path(place)?;
        let (_, _, target) = self.aliases.iter().find(|(below, alias, _)| *below == path && alias == name)?;
        Some(self.place(target))
    }

    pub fn item(&mut self, object: &Thing, key: &Thing) -> Thing {
        match &object.what {
            What::Module(place) => {
                let place = place.clone();
                return self.module_item(&place, key);
            }
            What::Instance(_) => {
                let line = self.now.statement.line;
                let given = Given { line, positional: vec![key.clone()], ..Given::default() };
                if let Some(value) = self.special(object, "__getitem__", &given) {
                    return value;
                }
                self.touched(object);
            }
            What::Steps(_) => {
                let steps = match (&key.what, key.as_int()) {
                    (_, Some(step)) => Steps::From(step, step.checked_add(1)),
                    (What::Slice([start, stop, Bound::Open]), _) => match (start, stop) {
                        (Bound::Unknown, _) | (_, Bound::Unknown) => Steps::Unknown,
                        (start, stop) => {
                            let at = |bound: &Bound| if let Bound::At(at) = bound { Some(*at) } else { None };
                            Steps::From(at(start).unwrap_or(0), at(stop))
                        }
                    },
                    (What::List(_) | What::Tuple(_), _) => {
                        let turns = self.turns(key);
                        let steps: Option<Vec<i64>> = turns.items.iter().map(|turn| turn.thing.as_int()).collect();
                        steps.filter(|_| turns.exact).map_or(Steps::Unknown, |steps| Steps::Listed(steps.into()))
                    }
                    _ => Steps::Unknown,
                };
                return Thing::plain(What::Steps(steps));
            }
            What::List(at) | What::Tuple(at) => {
                let Some(items) = self.held.lists.get(*at) else { return Thing::plain(What::Unknown) };
                if items.exact {
                    let count = items.items.len();
                    if let Some(index) = key.as_int().and_then(|index| operation::index(index, count)) {
                        return items.items.get(index).cloned().unwrap_or_else(Thing::none);
                    }
                    if let What::Slice(bounds) = &key.what
                        && let Some(places) = operation::places(bounds, count)
                    {
                        self.held.looks(places.len());
                        let things = places.into_iter().filter_map(|at| items.items.get(at).cloned()).collect();
                        return match object.what {
                            What::Tuple(_) => self.held.tuple(things),
                            _ => self.held.list(things, true),
                        };
                    }
                }
            }
            What::Dict(at) => {
                let Some(pairs) = self.held.dicts.get(*at) else { return Thing::plain(What::Unknown) };
                self.held.looks(pairs.pairs.len());
                let found = pairs.pairs.iter().find(|(other, _)| other.equals(key) == Some(true));
                if let (Some((_, value)), true) = (found, pairs.exact) {
                    return value.clone();
                }
            }
            What::Value(Form::Tuple(items), spot) => {
                if let Some(form) = key.as_int().and_then(|at| items.get(operation::index(at, items.len())?)) {
                    return Thing::new(What::Value(form.clone(), spot.clone()), Rc::clone(&object.from));
                }
            }
            What::Value(Form::Record(_, fields), spot) => {
                let form = match (key.as_str(), key.as_int()) {
                    (Some(name), _) => fields.iter().find(|(field, _)| field == name),
                    (_, Some(at)) => operation::index(at, fields.len()).and_then(|at| fields.get(at)),
                    _ => None,
                };
                if let Some((_, form)) = form {
                    return Thing::new(What::Value(form.clone(), spot.clone()), Rc::clone(&object.from));
                }
            }
            What::Value(form, spot) => {
                let keys = match key.what {
                    What::Tuple(at) => self.held.lists.get(at).map(|it| it.items.clone()).unwrap_or_default(),
                    _ => vec![key.clone()],
                };
                let (form, view) = operation::indexed(form, &keys, &self.held);
                // A view lies in the same memory, a selection does not.
                let spot = spot.clone().filter(|_| view);
                let needs = self.all_deps([object, key]);
                let part = self.computed(form, &needs);
                return Thing { what: operation::at(part.what, spot), ..part };
            }
            _ => {}
        }
        Thing::unknown(Rc::new(self.all_deps([object, key])))
    }

    fn module_item(&mut self, place: &Place, key: &Thing) -> Thing {
        if let Some(name) = key.as_str() {
            return Thing::plain(What::Module(self.child(place, name).unwrap_or(Place::Some)));
        }
        let Some(children) = self.children(place) else {
            let below = match (place, key.as_int()) {
                (Place::Path(path), Some(index)) if index >= 0 => {
                    Place::Path(super::thaw::joined(path, &index.to_string()).into())
                }
                _ => Place::Some,
            };
            return match &key.what {
                What::Slice(_) => self.held.list(vec![Thing::plain(What::Module(Place::Some))], false),
                _ => Thing::plain(What::Module(below)),
            };
        };
        let module = |place: &Place| Thing::plain(What::Module(place.clone()));
        if let What::Slice(bounds) = &key.what {
            return match operation::places(bounds, children.len()) {
                Some(places) => {
                    let modules = places.into_iter().filter_map(|at| children.get(at)).map(|(_, place)| module(place));
                    let modules = modules.collect();
                    self.held.list(modules, true)
                }
                None => self.held.list(vec![Thing::plain(What::Module(Place::Some))], false),
            };
        }
        let found = key.as_int().and_then(|at| children.get(operation::index(at, children.len())?));
        found.map_or_else(|| Thing::plain(What::Module(Place::Some)), |(_, place)| module(place))
    }
}

/// Says whether a name may be one that this server refuses of what was computed.
fn refused_of_tensors(form: &Form, name: &str) -> bool {
    match form {
        Form::Tensor(..) => refused::name(&format!("torch.Tensor.{name}")).is_some(),
        Form::Unknown => refused::is_of_tensors_alone(name),
        _ => false,
    }
}

/// What a comprehension has made so far.
struct Made {
    items: Vec<Thing>,
    pairs: Vec<(Thing, Thing)>,
    exact: bool,
}

/// Names of a module that are no modules.
const METHODS: [&str; 22] = [
    "trace",
    "generate",
    "pipe",
    "scan",
    "session",
    "edit",
    "skip",
    "all",
    "get",
    "modules",
    "named_modules",
    "parameters",
    "named_parameters",
    "tokenizer",
    "config",
    "weight",
    "bias",
    "clear_edits",
    "path",
    "dtype",
    "device",
    "next",
];
