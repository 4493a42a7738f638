//! What code does to what lies around it, as far as its text and the declarations of what it uses tell.
//!
//! A block may run later than it stands, and beside others, if it leaves marks only by binding names, by
//! `list.append(…)` and `object[key] = …` on things it does not look at, and by changing the model's own values. What is
//! not declared to leave no marks, and every kind of statement and expression that is not named here, may do anything.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use interpreter::types::{Type, builtin_type};
use interpreter::{Effect, Frame, Use, Value, methods};
use program::ir::{
    self, Argument, Body, Call, Code, Collect, Comprehension, Expr, ExprKind, Name, Piece, Statement, StatementKind,
    Target,
};

use super::Knows;
use thing::{Roots, Thing};

mod thing;

/// What a block does, by slots of the frame that it runs in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Names that it binds.
    pub binds: BTreeSet<u32>,
    /// Names whose values from around it uses.
    pub reads: BTreeSet<u32>,
    /// Names of objects from around it that it calls, those that it does nothing else with not among `reads`.
    pub called: BTreeSet<u32>,
    /// Names of what it appends to, and of what it stores items in, and does nothing else with.
    pub appended: BTreeSet<u32>,
    pub stored: BTreeSet<u32>,
}

impl Effects {
    /// Returns the names of what it stores in.
    pub fn receives(&self) -> impl Iterator<Item = u32> {
        self.appended.union(&self.stored).copied()
    }

    /// Returns the names whose values from around it uses in any way.
    pub fn uses(&self) -> impl Iterator<Item = u32> {
        self.reads.union(&self.called).copied()
    }
}

/// Describes a block in the frame that it stands in; `None` for one that may do anything.
#[must_use]
pub fn of_block(frame: &Rc<Frame>, body: &Body, knows: Knows) -> Option<Effects> {
    let mut walk = Walk::new(frame, false, knows);
    ir::deep(|| walk.through(body))?;
    let effects = walk.effects;
    let apart = effects.receives().all(|slot| effects.uses().all(|used| used != slot));
    apart.then_some(effects)
}

/// Returns the variables around a function that it uses, as how many frames out of `around` and which slot, where calling
/// it leaves no marks and depends on nothing but these and its arguments; `None` for other functions.
#[must_use]
pub fn of_function(around: &Rc<Frame>, code: &Code, knows: Knows) -> Option<BTreeSet<(u32, u32)>> {
    if code.generator {
        return None;
    }
    let mut walk = Walk::new(around, true, knows);
    ir::deep(|| walk.through(&code.body))?;
    Some(walk.free)
}

/// Returns the list and the item of `list.append(item)`.
#[must_use]
pub fn append(expr: &Expr) -> Option<(Name, &Expr)> {
    let ExprKind::Call(call) = &expr.kind else { return None };
    let ExprKind::Attribute { object, name } = &call.callee.kind else { return None };
    match (&object.kind, call.positional.as_slice(), call.keyword.as_slice()) {
        (ExprKind::Name(list), [item], []) if &**name == "append" && list.depth == 0 && !item.starred => {
            Some((*list, &item.value))
        }
        _ => None,
    }
}

/// How often code is gone through, each time with what the time before has found of its names: a loop's later turns see
/// what its earlier ones have bound. Code that is still not understood then may do anything.
const ROUNDS: usize = 5;

struct Walk<'a> {
    /// The frame that the code runs in, or the one around the function that it belongs to.
    frame: &'a Rc<Frame>,
    function: bool,
    knows: Knows,
    effects: Effects,
    /// Variables of the scopes around.
    free: BTreeSet<(u32, u32)>,
    /// Names that are certainly bound here by now.
    certain: BTreeSet<u32>,
    /// What names may mean that are bound here, somewhere.
    things: BTreeMap<u32, Thing>,
    /// What the names of comprehensions around the expression at hand may mean, the innermost last.
    nests: Vec<Thing>,
    /// What has been put into objects that the code made itself.
    spilled: Roots,
    /// What has been put in the place of the model's own values, which may be changed in place from then on.
    lent: Roots,
    /// The model's own values are changed in place.
    changes: bool,
    /// Something was found that an earlier part of the code should have known.
    grown: bool,
}

impl<'a> Walk<'a> {
    fn new(frame: &'a Rc<Frame>, function: bool, knows: Knows) -> Self {
        Self {
            frame,
            function,
            knows,
            effects: Effects::default(),
            free: BTreeSet::new(),
            certain: BTreeSet::new(),
            things: BTreeMap::new(),
            nests: Vec::new(),
            spilled: Roots::default(),
            lent: Roots::default(),
            changes: false,
            grown: false,
        }
    }

    fn through(&mut self, body: &Body) -> Option<()> {
        for _ in 0..ROUNDS {
            self.grown = false;
            self.effects = Effects::default();
            self.certain.clear();
            self.body(body)?;
            if !self.grown {
                return (self.lent.is_empty() || !self.changes).then_some(());
            }
        }
        None
    }

    fn body(&mut self, body: &Body) -> Option<()> {
        body.statements.iter().try_for_each(|statement| self.statement(statement))
    }

    /// Goes through statements that may not run.
    fn branch(&mut self, body: &Body) -> Option<()> {
        let certain = self.certain.clone();
        self.body(body)?;
        self.certain = certain;
        Some(())
    }

    fn statement(&mut self, statement: &Statement) -> Option<()> {
        match &statement.kind {
            StatementKind::Pass | StatementKind::Break | StatementKind::Continue => Some(()),
            StatementKind::Return(value) if self.function => self.all(value).map(drop),
            StatementKind::Expression(expr) => match append(expr) {
                Some((list, item)) if self.is_around(list) => {
                    self.effects.appended.insert(list.slot);
                    self.expr(item).map(drop)
                }
                _ => self.expr(expr).map(drop),
            },
            StatementKind::Assign { targets, value } => {
                let value = self.expr(value)?;
                targets.iter().try_for_each(|target| self.store(target, &value))
            }
            StatementKind::AugmentedAssign { target, value, .. } => {
                let value = self.expr(value)?;
                self.change_place(target, &value)
            }
            StatementKind::Assert { test, message } => {
                self.expr(test)?;
                self.all(message).map(drop)
            }
            StatementKind::If { branches, otherwise } => {
                for (test, body) in branches {
                    self.expr(test)?;
                    self.branch(body)?;
                }
                self.branch(otherwise)
            }
            StatementKind::For { target, iterable, body, otherwise } => {
                let iterable = self.expr(iterable)?;
                let element = self.element(&iterable);
                // The target of a loop that never turns keeps the value from around.
                let certain = self.certain.clone();
                self.store(target, &element)?;
                self.body(body)?;
                self.certain = certain;
                self.branch(otherwise)
            }
            _ => None,
        }
    }

    /// Whether a name means something around a block that the block may store in: nothing of its own, nor the model's.
    fn is_around(&self, name: Name) -> bool {
        !self.function
            && name.depth == 0
            && !self.certain.contains(&name.slot)
            && !self.things.contains_key(&name.slot)
            && self.frame.value(name).is_some_and(|value| !(self.knows.is_model)(&value))
    }

    fn store(&mut self, target: &Target, value: &Thing) -> Option<()> {
        match target {
            Target::Name(name) => {
                if name.depth > 0 {
                    return None;
                }
                self.effects.binds.insert(name.slot);
                self.bind(name.slot, value);
                self.certain.insert(name.slot);
                Some(())
            }
            Target::Item { object: Expr { kind: ExprKind::Name(name), .. }, key, .. } if self.is_around(*name) => {
                self.effects.stored.insert(name.slot);
                self.expr(key).map(drop)
            }
            Target::Item { object, key, .. } => {
                self.expr(key)?;
                let object = self.expr(object)?;
                self.change(&object)?;
                self.spill(&object, value);
                Some(())
            }
            Target::Attribute { object, name, .. } => {
                let object = self.expr(object)?;
                let stores = self.effect(&object, name, Use::Store) == Effect::Changes;
                if !stores || !object.own.is_empty() {
                    return None;
                }
                let parts = self.parts(value);
                self.lend(&parts);
                Some(())
            }
            Target::Sequence { before, star, after, .. } => {
                let element = self.element(value);
                let rest = Thing { known: None, own: Roots::default(), ..element.clone() };
                before.iter().chain(after).try_for_each(|target| self.store(target, &element))?;
                star.iter().try_for_each(|target| self.store(target, &rest))
            }
        }
    }

    fn bind(&mut self, slot: u32, value: &Thing) {
        match self.things.get_mut(&slot) {
            Some(thing) => self.grown |= thing.join(value),
            None => {
                self.things.insert(slot, value.clone());
                self.grown = true;
            }
        }
    }

    /// `target ⋄= value`.
    fn change_place(&mut self, target: &Target, value: &Thing) -> Option<()> {
        match target {
            Target::Name(name) => {
                if name.depth > 0 || !self.certain.contains(&name.slot) {
                    return None;
                }
                let thing = self.things.get(&name.slot)?.clone();
                self.change(&thing)?;
                self.spill(&thing, value);
                let result = Thing { known: None, inner: self.parts(value), ..thing };
                self.effects.binds.insert(name.slot);
                self.bind(name.slot, &result);
                Some(())
            }
            Target::Item { object, key, .. } => {
                self.expr(key)?;
                let object = self.expr(object)?;
                self.change(&object)?;
                self.spill(&object, value);
                let element = self.element(&object);
                self.change(&element)
            }
            Target::Attribute { object, name, .. } => {
                let object = self.expr(object)?;
                let both = self.effect(&object, name, Use::Read).max(self.effect(&object, name, Use::Store));
                if both != Effect::Changes {
                    return None;
                }
                let parts = self.parts(value);
                self.lend(&parts);
                let element = self.element(&object);
                self.change(&element)
            }
            Target::Sequence { .. } => None,
        }
    }

    /// Notes that an object is changed in place; `None` where it may be something around the code.
    fn change(&mut self, thing: &Thing) -> Option<()> {
        self.changes |= thing.model;
        thing.own.is_empty().then_some(())
    }

    /// Notes that an object may keep another. What is put in the model's values is copied there.
    fn spill(&mut self, object: &Thing, value: &Thing) {
        if !object.live {
            let parts = self.parts(value);
            self.grown |= self.spilled.extend(&parts);
        }
    }

    fn lend(&mut self, parts: &Roots) {
        self.lent.extend(parts);
    }

    /// Returns what a thing and all in it may be a part of.
    fn parts(&self, thing: &Thing) -> Roots {
        let mut parts = thing.own.clone();
        parts.extend(&thing.inner);
        if !thing.live {
            parts.extend(&self.spilled);
        }
        parts
    }

    /// Returns what an element, an attribute or a part of a thing may be.
    fn element(&self, thing: &Thing) -> Thing {
        let models = |items: &[Value]| items.iter().all(self.knows.is_model);
        let of_models = match &thing.known {
            Some(Value::List(list)) => models(&list.to_vec()),
            Some(Value::Tuple(tuple)) => models(tuple),
            Some(Value::Dict(dict)) => models(&dict.values()),
            _ => false,
        };
        let roots = if of_models { Roots::default() } else { self.parts(thing) };
        Thing { live: thing.live || of_models, ..Thing::part(roots) }
    }

    /// Goes through an expression, and returns what its value may be.
    fn expr(&mut self, expr: &Expr) -> Option<Thing> {
        match &expr.kind {
            ExprKind::Constant(_) => Some(Thing::default()),
            ExprKind::Name(name) => Some(self.load(*name)),
            // A new object, which may share the elements of both.
            ExprKind::Binary { left, right, .. } => self.all([&**left, &**right]).map(Thing::of),
            ExprKind::Unary { operand, .. } => self.expr(operand).map(|_| Thing::default()),
            ExprKind::Compare { first, rest } => {
                self.expr(first)?;
                self.all(rest.iter().map(|(_, expr)| expr)).map(|_| Thing::default())
            }
            ExprKind::Boolean { operands, .. } => self.either(operands),
            ExprKind::Conditional(parts) => {
                let [test, yes, no] = &**parts;
                self.expr(test)?;
                self.either([yes, no])
            }
            ExprKind::Attribute { object, name } => {
                let object = self.expr(object)?;
                if self.effect(&object, name, Use::Read) != Effect::Looks {
                    return None;
                }
                let known = match &object.known {
                    Some(Value::Host(host)) => Rc::clone(host).member(self.frame.machine(), name),
                    _ => None,
                };
                Some(Thing { known, ..self.element(&object) })
            }
            ExprKind::Item { object, key } => {
                self.expr(key)?;
                let object = self.expr(object)?;
                Some(self.element(&object))
            }
            ExprKind::Slice(parts) => self.all(parts.iter().flatten()).map(Thing::of),
            ExprKind::Call(call) => self.call(call),
            ExprKind::List(items) | ExprKind::Tuple(items) | ExprKind::Set(items) => {
                self.arguments(items).map(Thing::of)
            }
            ExprKind::Dict(pairs) => {
                let parts = pairs.iter().flat_map(|(key, value)| key.iter().chain(std::iter::once(value)));
                self.all(parts).map(Thing::of)
            }
            ExprKind::Comprehension(comprehension) => self.comprehension(comprehension).map(Thing::of),
            ExprKind::Format(pieces) => self.pieces(pieces).map(|()| Thing::default()),
            ExprKind::Super { .. }
            | ExprKind::Lambda(_)
            | ExprKind::Walrus { .. }
            | ExprKind::Yield(_)
            | ExprKind::YieldFrom(_) => None,
        }
    }

    fn load(&mut self, name: Name) -> Thing {
        let nesting = self.nests.len() as u32;
        let Some(up) = name.depth.checked_sub(nesting) else {
            // A name of a comprehension's own scope.
            let at = (nesting - 1 - name.depth) as usize;
            return self.nests.get(at).cloned().unwrap_or_else(Thing::beyond);
        };
        if up == 0 {
            let own = self.things.get(&name.slot).cloned();
            if self.certain.contains(&name.slot)
                && let Some(own) = own
            {
                return own;
            }
            let mut thing = if self.function {
                // A parameter, most often.
                Thing::beyond()
            } else {
                self.effects.reads.insert(name.slot);
                self.around(self.frame.value(Name { depth: 0, slot: name.slot }), Roots::slot(name.slot))
            };
            if let Some(own) = own {
                thing.join(&own);
            }
            return thing;
        }
        if !self.function {
            return Thing::beyond();
        }
        self.free.insert((up - 1, name.slot));
        self.around(self.frame.outward(up - 1).value(Name { depth: 0, slot: name.slot }), Roots::beyond())
    }

    /// Returns the object from around a block that a name certainly means: no function, which may read names of its own.
    fn object_around(&self, name: Name) -> Option<Value> {
        let around = !self.function && name.depth == 0 && !self.things.contains_key(&name.slot);
        let value = self.frame.value(name).filter(|_| around && self.nests.is_empty())?;
        matches!(value, Value::Host(_)).then_some(value)
    }

    /// Describes a value from around the code.
    fn around(&self, value: Option<Value>, roots: Roots) -> Thing {
        let live = value.as_ref().is_some_and(self.knows.is_model);
        let fixed = match &value {
            None | Some(Value::Type(_) | Value::Native(_) | Value::Function(_)) => true,
            Some(value) => live || value.is_scalar(),
        };
        let roots = if fixed { Roots::default() } else { roots };
        Thing { live, known: value, ..Thing::part(roots) }
    }

    fn call(&mut self, call: &Call) -> Option<Thing> {
        let callee = &call.callee.kind;
        let receiver = match callee {
            ExprKind::Name(name) => match self.object_around(*name) {
                Some(object) => {
                    self.effects.called.insert(name.slot);
                    Thing { known: Some(object), ..Thing::beyond() }
                }
                None => self.load(*name),
            },
            ExprKind::Attribute { object, .. } => self.expr(object)?,
            _ => return None,
        };
        let mut given = self.arguments(&call.positional)?;
        given.extend(&self.all(call.keyword.iter().map(|(_, value)| value))?);
        let keywords: Vec<&str> = call.keyword.iter().filter_map(|(name, _)| name.as_deref()).collect();
        let spread = keywords.len() < call.keyword.len() || call.positional.iter().any(|argument| argument.starred);
        let usage = match spread {
            true => Use::Read,
            false => Use::Call { positional: call.positional.len(), keywords: &keywords },
        };
        match callee {
            ExprKind::Attribute { name, .. } => self.call_method(&receiver, name, usage, given),
            _ => self.call_named(&receiver, usage, given),
        }
    }

    /// A call of what a name means.
    fn call_named(&self, callee: &Thing, usage: Use<'_>, given: Roots) -> Option<Thing> {
        let value = callee.known.as_ref()?;
        if let Value::Function(function) = value
            && function.effect() == Effect::Anything
        {
            // Whoever looks at what the code reads goes through this function, too.
            return Some(Thing::beyond());
        }
        if Effect::of(self.frame.machine(), value, usage) != Effect::Looks {
            return None;
        }
        Some(match value {
            Value::Type(kind) if kind.makes_containers() => Thing::of(given),
            Value::Type(Type::Bool | Type::Int | Type::Float | Type::Complex | Type::Str) => Thing::default(),
            _ => Thing::part(given),
        })
    }

    /// A call of an object's method.
    fn call_method(&mut self, receiver: &Thing, name: &str, usage: Use<'_>, given: Roots) -> Option<Thing> {
        match self.effect(receiver, name, usage) {
            Effect::Looks => {}
            Effect::Changes => {
                self.change(receiver)?;
                self.spill(receiver, &Thing::of(given.clone()));
                // A module whose place is taken by something has that for its output.
                if TAKES_PLACE.contains(&name) {
                    self.lend(&given);
                }
            }
            Effect::Anything => return None,
        }
        // A function of a module makes what it gives of its arguments.
        let module = matches!(&receiver.known, Some(Value::Host(_))) && receiver.live;
        let mut result = if module { Thing::part(Roots::default()) } else { self.element(receiver) };
        result.own.extend(&given);
        result.inner.extend(&given);
        Some(result)
    }

    /// Returns what using a name of a thing does, whatever the thing may be.
    fn effect(&self, thing: &Thing, name: &str, usage: Use<'_>) -> Effect {
        let machine = self.frame.machine();
        let shared = machine.environment().effect(machine, name, usage);
        let known = match &thing.known {
            None => Effect::either(methods::any_effect(name), shared),
            Some(Value::Host(host)) => match host.effect(machine, name, usage) {
                // It may be a name that every object has.
                Effect::Anything if name == "save" => shared,
                effect => Some(effect),
            },
            Some(Value::Type(kind)) => methods::effect(*kind, name).filter(|effect| *effect == Effect::Looks),
            Some(value) => builtin_type(value).and_then(|kind| methods::effect(kind, name)).or(match name {
                "save" => shared,
                _ => None,
            }),
        };
        match (known.unwrap_or(Effect::Anything), usage) {
            // A method that changes its object is handed on, to be called whenever.
            (Effect::Changes, Use::Read) => Effect::Anything,
            (effect, _) => effect,
        }
    }

    fn arguments(&mut self, arguments: &[Argument]) -> Option<Roots> {
        self.all(arguments.iter().map(|argument| &argument.value))
    }

    /// Goes through expressions, and returns what they and all in them may be parts of.
    fn all<'e>(&mut self, parts: impl IntoIterator<Item = &'e Expr>) -> Option<Roots> {
        let mut roots = Roots::default();
        for part in parts {
            let thing = self.expr(part)?;
            roots.extend(&self.parts(&thing));
        }
        Some(roots)
    }

    /// Goes through expressions of which one is the value.
    fn either<'e>(&mut self, parts: impl IntoIterator<Item = &'e Expr>) -> Option<Thing> {
        let mut value: Option<Thing> = None;
        for part in parts {
            let thing = self.expr(part)?;
            match &mut value {
                None => value = Some(thing),
                Some(value) => drop(value.join(&thing)),
            }
        }
        value
    }

    fn comprehension(&mut self, comprehension: &Comprehension) -> Option<Roots> {
        let first = self.expr(&comprehension.first)?;
        self.nests.push(self.element(&first));
        let walked = self.inside(comprehension);
        self.nests.pop();
        walked
    }

    fn inside(&mut self, comprehension: &Comprehension) -> Option<Roots> {
        for clause in &comprehension.loops {
            if let Some(iterable) = &clause.iterable {
                let iterable = self.expr(iterable)?;
                let element = self.element(&iterable);
                if let Some(nest) = self.nests.last_mut() {
                    nest.join(&element);
                }
            }
            self.all(&clause.conditions)?;
        }
        match &comprehension.kind {
            Collect::List(value) | Collect::Set(value) => self.all([value]),
            Collect::Dict(key, value) => self.all([key, value]),
            // It runs whenever somebody asks it to.
            Collect::Generator(_) => None,
        }
    }

    fn pieces(&mut self, pieces: &[Piece]) -> Option<()> {
        for piece in pieces {
            if let Piece::Value { value, spec, .. } = piece {
                self.expr(value)?;
                self.pieces(spec)?;
            }
        }
        Some(())
    }
}

/// Methods of the model's parts whose argument takes the place of a value, as an assignment's does.
const TAKES_PLACE: [&str; 1] = ["skip"];
