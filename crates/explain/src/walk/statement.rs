//! Statements: what they bind, and which ways they may take.

use std::collections::BTreeSet;
use std::rc::Rc;

use program::ir::{Body, Expr, Name, Pattern, Statement, StatementKind, Target, deep};

use crate::answer::Does;
use crate::walk::operation::binary;
use crate::walk::value::{Bound, Decorated, Function, Given, Place, Spot, Steps, Thing, What};
use crate::walk::{MOST, Walk};

/// How a piece of code ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flow {
    Next,
    /// It may have left the loop around it, or gone on to its next turn.
    MayBreak,
    /// It may have left the function around it.
    MayLeave,
    Continue,
    Break,
    Leave,
}

impl Flow {
    /// Returns how code ends that takes one of several ways.
    fn either(ways: &[Self]) -> Self {
        let Some(first) = ways.first() else { return Self::Next };
        if ways.iter().all(|way| way == first) {
            return *first;
        }
        let may = |way: &Self| match way {
            Self::Next => Self::Next,
            Self::MayBreak | Self::Continue | Self::Break => Self::MayBreak,
            Self::MayLeave | Self::Leave => Self::MayLeave,
        };
        ways.iter().map(may).max().unwrap_or(Self::Next)
    }

    fn certain(self) -> bool {
        matches!(self, Self::Continue | Self::Break | Self::Leave)
    }
}

impl Walk<'_> {
    /// Goes through statements. What follows one that may have left is done perhaps.
    pub fn body(&mut self, frame: usize, body: &Body) -> Flow {
        let perhaps = self.now.perhaps;
        let mut flow = Flow::Next;
        for statement in &body.statements {
            if !self.step() {
                break;
            }
            let before = self.now.statement;
            self.now.statement = statement.span;
            let ended = deep(|| self.statement(frame, statement));
            self.now.statement = before;
            if ended.certain() {
                // Behind something that may have left, it is not certain either.
                flow = if flow == Flow::Next { ended } else { Flow::either(&[flow, ended]) };
                break;
            }
            if ended != Flow::Next {
                self.now.perhaps += 1;
                flow = flow.max(ended);
            }
        }
        self.now.perhaps = perhaps;
        flow
    }

    fn statement(&mut self, frame: usize, statement: &Statement) -> Flow {
        match &statement.kind {
            StatementKind::Pass => {}
            StatementKind::Expression(value) => {
                self.expr(frame, value);
            }
            StatementKind::Assign { targets, value } => {
                let value = self.expr(frame, value);
                for target in targets {
                    self.assign(frame, target, &value);
                }
            }
            StatementKind::AugmentedAssign { target, operator, value } => {
                let value = self.expr(frame, value);
                let before = self.read_target(frame, target);
                let after = self.augmented(&before, *operator, &value);
                self.assign(frame, target, &after);
            }
            StatementKind::Delete(targets) => {
                for target in targets {
                    match target {
                        Target::Name(name) if self.now.perhaps == 0 => self.held.set(frame, *name, None),
                        Target::Item { object, .. } | Target::Attribute { object, .. } => {
                            let object = self.expr(frame, object);
                            self.touched(&object);
                        }
                        _ => {}
                    }
                }
            }
            StatementKind::Return(value) => {
                let value = value.as_ref().map_or_else(Thing::none, |value| self.expr(frame, value));
                let before = self.held.frames.get(frame).and_then(|frame| frame.returned.clone());
                let joined = before.map_or_else(|| value.clone(), |before| self.held.or(&before, &value));
                if let Some(frame) = self.held.frames.get_mut(frame) {
                    frame.returned = Some(joined);
                }
                return Flow::Leave;
            }
            StatementKind::Break => return Flow::Break,
            StatementKind::Continue => return Flow::Continue,
            StatementKind::If { branches, otherwise } => return self.branches(frame, branches, otherwise),
            StatementKind::While { test, body, otherwise } => return self.repeat(frame, test, body, otherwise),
            StatementKind::For { target, iterable, body, otherwise } => {
                let iterable = self.expr(frame, iterable);
                return self.each_turn(frame, &iterable, target, body, otherwise);
            }
            StatementKind::With { context, target, body } => return self.with(frame, context, target.as_ref(), body),
            StatementKind::Try(attempt) => return self.attempt(frame, attempt),
            StatementKind::Raise { exception, cause } => {
                for value in exception.iter().chain(cause) {
                    let value = self.expr(frame, value);
                    self.uses(&value);
                }
                return Flow::Leave;
            }
            StatementKind::Assert { test, message } => {
                for value in [test].into_iter().chain(message) {
                    let value = self.expr(frame, value);
                    self.uses(&value);
                }
            }
            StatementKind::Function { definition, decorators, target } => {
                let mut function = self.function(frame, definition);
                for decorator in decorators.iter().rev() {
                    let path = self.decorator(frame, decorator);
                    function = match self.decorated(path.as_deref(), &function) {
                        Some(known) => known,
                        None => {
                            let decorator = self.expr(frame, decorator);
                            self.opaque(&[decorator, function])
                        }
                    };
                }
                self.bind(frame, *target, function);
            }
            StatementKind::Class(class) => {
                let made = self.class(frame, class, statement.span);
                self.bind(frame, class.target, made);
            }
            StatementKind::Import { module, target, submodule } => {
                self.of_import(module);
                // Without a name of its own, it is the package that is bound.
                let bound = if *submodule { module } else { module.split('.').next().unwrap_or(module) };
                self.bind(frame, *target, Thing::global(bound));
            }
            StatementKind::ImportFrom { module, names } => {
                let found = self.of_import(module);
                for (name, target) in names {
                    if found {
                        self.of_name_from(module, name);
                    }
                    self.bind(frame, *target, Thing::global(&format!("{module}.{name}")));
                }
            }
            StatementKind::Match { subject, cases } => {
                let subject = self.expr(frame, subject);
                self.uses(&subject);
                let mut ways = vec![Flow::Next];
                self.now.perhaps += 1;
                for case in cases {
                    self.capture(frame, &case.pattern, &subject);
                    if let Some(guard) = &case.guard {
                        let guard = self.expr(frame, guard);
                        self.uses(&guard);
                    }
                    ways.push(self.body(frame, &case.body));
                }
                self.now.perhaps -= 1;
                return Flow::either(&ways);
            }
        }
        Flow::Next
    }

    /// Binds what a pattern captures to something of the subject.
    fn capture(&mut self, frame: usize, pattern: &Pattern, subject: &Thing) {
        let part = Thing::unknown(self.deps(subject));
        match pattern {
            Pattern::Value(_) | Pattern::Singleton(_) => {}
            Pattern::Sequence { before, star, after } => {
                before.iter().chain(after).for_each(|pattern| self.capture(frame, pattern, &part));
                if let Some(Some(name)) = star {
                    self.bind(frame, *name, part);
                }
            }
            Pattern::Mapping { pairs, rest } => {
                pairs.iter().for_each(|(_, pattern)| self.capture(frame, pattern, &part));
                if let Some(name) = rest {
                    self.bind(frame, *name, part);
                }
            }
            Pattern::Class { positional, keyword, .. } => {
                let keyword = keyword.iter().map(|(_, pattern)| pattern);
                positional.iter().chain(keyword).for_each(|pattern| self.capture(frame, pattern, &part));
            }
            Pattern::Capture { pattern, name } => {
                if let Some(pattern) = pattern {
                    self.capture(frame, pattern, subject);
                }
                if let Some(name) = name {
                    self.bind(frame, *name, subject.clone());
                }
            }
            Pattern::Or(patterns) => patterns.iter().for_each(|pattern| self.capture(frame, pattern, subject)),
        }
    }

    fn branches(&mut self, frame: usize, branches: &[(Expr, Body)], otherwise: &Body) -> Flow {
        let before = (self.now.perhaps, self.now.deciding.clone());
        let mut ways = Vec::new();
        for (test, body) in branches {
            let test = self.expr(frame, test);
            match self.held.truth(&test) {
                Some(false) => continue,
                Some(true) => {
                    ways.push(self.body(frame, body));
                    (self.now.perhaps, self.now.deciding) = before;
                    return Flow::either(&ways);
                }
                None => {
                    self.decides(&test);
                    ways.push(self.body(frame, body));
                }
            }
        }
        ways.push(self.body(frame, otherwise));
        (self.now.perhaps, self.now.deciding) = before;
        Flow::either(&ways)
    }

    fn repeat(&mut self, frame: usize, test: &Expr, body: &Body, otherwise: &Body) -> Flow {
        let (before, deciding) = (self.now.perhaps, self.now.deciding.clone());
        let (mut left, mut broken) = (Flow::Next, false);
        for turn in 0..MOST {
            let tested = self.expr(frame, test);
            match self.held.truth(&tested) {
                Some(false) => break,
                Some(true) => {}
                None => self.decides(&tested),
            }
            match self.body(frame, body) {
                Flow::Break => {
                    broken = self.now.perhaps == before;
                    break;
                }
                Flow::Leave if self.now.perhaps == before => {
                    (self.now.perhaps, self.now.deciding) = (before, deciding);
                    return Flow::Leave;
                }
                Flow::Leave | Flow::MayLeave => {
                    left = Flow::MayLeave;
                    self.now.perhaps += 1;
                }
                Flow::MayBreak => self.now.perhaps += 1,
                Flow::Next | Flow::Continue => {}
            }
            // Twice shows what one turn does to the next, where nobody knows how many there are.
            if self.left == 0 || (self.now.perhaps > before && turn > 0) {
                break;
            }
        }
        // What stands behind `else` is left out by a break.
        let ended = if broken { Flow::Next } else { self.body(frame, otherwise) };
        (self.now.perhaps, self.now.deciding) = (before, deciding);
        if ended == Flow::Next { left } else { ended }
    }

    fn each_turn(&mut self, frame: usize, iterable: &Thing, target: &Target, body: &Body, otherwise: &Body) -> Flow {
        let before = (self.now.perhaps, self.now.step);
        let turns = self.turns(iterable);
        if !turns.exact {
            self.uses(iterable);
        }
        let mut left = Flow::Next;
        let mut names = Vec::new();
        names_of(target, &mut names);
        let bound = |walk: &Self, name: Name| walk.held.variable(frame, name).and_then(|(_, thing, _)| thing);
        let old: Vec<Option<Thing>> = names.iter().map(|name| bound(self, *name)).collect();
        let (mut sure, mut broken, mut may_break) = (turns.exact && before.0 == 0, false, false);
        for (index, turn) in turns.items.iter().enumerate() {
            // Of a generation, the first step is certain, and each later one only where there is no end before it.
            if index == turns.certain {
                self.now.perhaps += 1;
            }
            self.now.step = turn.step.or(before.1);
            sure &= self.now.perhaps == 0;
            // Within its turn, a variable is what the turn is about.
            let perhaps = std::mem::take(&mut self.now.perhaps);
            self.assign(frame, target, &turn.thing);
            self.now.perhaps = perhaps;
            match self.body(frame, body) {
                Flow::Break => {
                    broken = self.now.perhaps == before.0;
                    break;
                }
                Flow::Leave if self.now.perhaps == before.0 => {
                    (self.now.perhaps, self.now.step) = before;
                    return Flow::Leave;
                }
                Flow::Leave | Flow::MayLeave => {
                    left = Flow::MayLeave;
                    self.now.perhaps += 1;
                }
                Flow::MayBreak => {
                    (sure, may_break) = (false, true);
                    self.now.perhaps += 1;
                }
                Flow::Next | Flow::Continue => {}
            }
            if self.left == 0 {
                break;
            }
        }
        if !sure || left != Flow::Next {
            // Behind the loop, it is of any of them, or what it was before.
            for (name, old) in names.into_iter().zip(old) {
                let Some(last) = bound(self, name) else { continue };
                let any = Thing::unknown(self.deps(iterable));
                let joined = self.held.or(&last, &old.unwrap_or(any));
                self.held.set(frame, name, Some(joined));
            }
        }
        self.now.perhaps = before.0 + u32::from(may_break);
        let ended = if broken { Flow::Next } else { self.body(frame, otherwise) };
        self.now.perhaps = before.0;
        self.now.step = before.1;
        if matches!(iterable.what, What::Steps(Steps::From(_, None))) {
            // The block ends with the generation: what follows such a loop does not run.
            left = Flow::MayLeave;
        }
        if ended == Flow::Next { left } else { ended }
    }

    fn attempt(&mut self, frame: usize, attempt: &program::ir::Try) -> Flow {
        let caught = u32::from(!attempt.handlers.is_empty());
        self.now.caught += caught;
        let mut ways = vec![self.body(frame, &attempt.body)];
        self.now.caught = self.now.caught.saturating_sub(caught);
        self.now.perhaps += 1;
        for handler in &attempt.handlers {
            if let Some(class) = &handler.class {
                self.expr(frame, class);
            }
            if let Some(target) = handler.target {
                self.bind(frame, target, Thing::plain(What::Unknown));
            }
            ways.push(self.body(frame, &handler.body));
        }
        self.now.perhaps -= 1;
        if !ways[0].certain() {
            ways[0] = ways[0].max(self.body(frame, &attempt.otherwise));
        }
        let flow = Flow::either(&ways);
        let last = self.body(frame, &attempt.finally);
        if last.certain() { last } else { flow.max(last) }
    }

    fn with(&mut self, frame: usize, context: &Expr, target: Option<&Target>, body: &Rc<Body>) -> Flow {
        let opened = self.expr(frame, context);
        match opened.what.clone() {
            What::Opening(calls, given) => {
                let Some(given) = self.held.given.get(given).cloned() else { return Flow::Next };
                let before = (self.now.trace, self.now.input, self.now.step);
                self.of_arguments(calls, &given);
                self.open(calls, &given);
                if let Some(target) = target {
                    self.assign(frame, target, &Thing::plain(What::Tracer));
                }
                let flow = self.body(frame, body);
                self.close();
                (self.now.trace, self.now.input, self.now.step) = before;
                flow
            }
            What::Invoker(given) => {
                let Some(given) = self.held.given.get(given).cloned() else { return Flow::Next };
                let before = (self.now.input, self.now.step);
                self.invoke(&given);
                if let Some(target) = target {
                    self.assign(frame, target, &Thing::plain(What::Tracer));
                }
                let flow = self.body(frame, body);
                (self.now.input, self.now.step) = before;
                flow
            }
            What::Steps(_) => {
                let none = Target::Sequence { before: Vec::new(), star: None, after: Vec::new(), span: context.span };
                self.each_turn(frame, &opened, target.unwrap_or(&none), body, &Body::default())
            }
            _ => {
                // A mode, as `torch.no_grad()`, a backward pass, or an object of the user's.
                self.uses(&opened);
                let given = Given { line: context.span.line, ..Given::default() };
                let entered = self.special(&opened, "__enter__", &given);
                if let Some(target) = target {
                    let entered = entered.unwrap_or_else(|| Thing::new(opened.what.clone(), self.deps(&opened)));
                    self.assign(frame, target, &entered);
                }
                let caught = u32::from(self.may_swallow(frame, context));
                self.now.caught += caught;
                let flow = self.body(frame, body);
                self.now.caught = self.now.caught.saturating_sub(caught);
                let unknown = Thing::plain(What::Unknown);
                let given = Given { positional: vec![unknown.clone(), unknown.clone(), unknown], ..given };
                self.special(&opened, "__exit__", &given);
                flow
            }
        }
    }

    /// Makes a function where its definition stands.
    pub fn function(&mut self, frame: usize, definition: &program::ir::Definition) -> Thing {
        let defaults = definition.defaults.iter().map(|default| self.expr(frame, default)).collect();
        let keyword_defaults = definition.keyword_defaults.iter();
        let keyword_defaults =
            keyword_defaults.map(|(name, default)| (Rc::clone(name), self.expr(frame, default))).collect();
        let around = self.held.out(frame, definition.outward).unwrap_or(frame);
        let code = Rc::clone(&definition.code);
        self.held.functions.push(Rc::new(Function {
            code,
            around,
            defaults,
            keyword_defaults,
            decorated: Decorated::No,
        }));
        Thing::plain(What::Function(self.held.functions.len() - 1))
    }

    /// Counts all that code in a frame could come to as used.
    pub fn captured(&mut self, frame: usize) {
        let mut next = Some(frame);
        while let Some(frame) = next.and_then(|frame| self.held.frames.get(frame)) {
            next = frame.outer;
            self.held.looks(frame.slots.len());
            let things: Vec<Thing> = frame.slots.iter().flatten().cloned().collect();
            for thing in things {
                self.uses(&thing);
            }
        }
    }

    /// Binds a name. Where that is not certain, it may be what it was before.
    pub fn bind(&mut self, frame: usize, name: Name, thing: Thing) {
        let thing = match self.held.variable(frame, name) {
            Some((_, Some(before), _)) if self.now.perhaps > 0 => self.held.or(&thing, &before),
            _ => thing,
        };
        self.held.set(frame, name, Some(thing));
    }

    pub fn assign(&mut self, frame: usize, target: &Target, value: &Thing) {
        match target {
            Target::Name(name) => self.bind(frame, *name, value.clone()),
            Target::Attribute { object, name, span } => {
                let object = self.expr(frame, object);
                let spot = match (&object.what, &**name) {
                    (What::Module(place), "output") => Some(Spot::Output(place.clone())),
                    (What::Module(place), "input" | "inputs") => Some(Spot::Input(place.clone())),
                    (What::Tracer, "result") => Some(Spot::Result),
                    _ => None,
                };
                match spot {
                    Some(spot) => self.replace(&spot, value, *span),
                    None => {
                        self.store(&object, value, *span);
                        self.set_attribute(&object, name, value);
                    }
                }
            }
            Target::Item { object, key, span } => {
                let object = self.expr(frame, object);
                let key = self.expr(frame, key);
                self.store_item(&object, &key, value, *span);
            }
            Target::Sequence { before, star, after, .. } => {
                let parts = self.turns(value);
                let count = before.len() + after.len();
                let exact = parts.exact && parts.certain >= parts.items.len();
                let whole = Thing::unknown(self.deps(value));
                let part = |index: usize| match parts.items.get(index) {
                    Some(turn) if exact => turn.thing.clone(),
                    _ => {
                        parts.items.first().filter(|_| !exact).map_or_else(|| whole.clone(), |turn| turn.thing.clone())
                    }
                };
                let starred = parts.items.len().saturating_sub(count);
                for (index, target) in before.iter().enumerate() {
                    self.assign(frame, target, &part(index));
                }
                let shift = if star.is_some() { starred } else { 0 };
                for (index, target) in after.iter().enumerate() {
                    self.assign(frame, target, &part(before.len() + shift + index));
                }
                if let Some(target) = star {
                    let middle = parts.items.iter().skip(before.len()).take(starred).map(|turn| turn.thing.clone());
                    let middle = self.held.list(middle.collect(), exact);
                    self.assign(frame, target, &middle);
                }
            }
        }
    }

    fn read_target(&mut self, frame: usize, target: &Target) -> Thing {
        match target {
            Target::Name(name) => self.name(frame, *name),
            Target::Attribute { object, name, span } => {
                let object = self.expr(frame, object);
                self.attribute(&object, name, *span)
            }
            Target::Item { object, key, .. } => {
                let (object, key) = (self.expr(frame, object), self.expr(frame, key));
                self.item(&object, &key)
            }
            Target::Sequence { .. } => Thing::plain(What::Unknown),
        }
    }

    /// `a += b`: of a list or a tensor, the object itself changes.
    fn augmented(&mut self, before: &Thing, operator: program::ir::Binary, value: &Thing) -> Thing {
        if let (What::List(at), program::ir::Binary::Add) = (&before.what, operator) {
            let turns = self.turns(value);
            let certain = self.now.perhaps == 0 && turns.exact;
            if let Some(list) = self.held.lists.get_mut(*at) {
                list.items.extend(turns.items.into_iter().map(|turn| turn.thing));
                list.exact &= certain;
            }
            return before.clone();
        }
        if let Some(known) = binary(operator, before, value) {
            return known;
        }
        if let What::Value(_, Some(spot)) = &before.what {
            let spot = spot.clone();
            self.write(&spot, [before, value], self.now.statement);
        } else if matches!(before.what, What::Value(..) | What::Unknown) {
            // Others may hold the same tensor.
            let node = self.node(Does::Computes, self.now.statement, &std::collections::BTreeSet::new());
            self.graph.used.insert(node);
        }
        self.combined(operator, before, value)
    }

    /// Sets an element.
    fn store_item(&mut self, object: &Thing, key: &Thing, value: &Thing, span: program::ir::Span) {
        match &object.what {
            What::List(at) => {
                let certain = self.now.perhaps == 0;
                let Some(list) = self.held.lists.get_mut(*at) else { return };
                let index = key.as_int().and_then(|index| {
                    usize::try_from(if index < 0 {
                        index.checked_add(i64::try_from(list.items.len()).ok()?)?
                    } else {
                        index
                    })
                    .ok()
                });
                match index.and_then(|index| list.items.get_mut(index)) {
                    Some(slot) if certain => *slot = value.clone(),
                    _ => {
                        list.items.push(value.clone());
                        list.exact = false;
                    }
                }
            }
            What::Dict(at) => {
                let certain = self.now.perhaps == 0;
                let Some(dict) = self.held.dicts.get_mut(*at) else { return };
                let known = key.as_int().is_some() || key.as_str().is_some();
                let looked = dict.pairs.len();
                let same = dict.pairs.iter_mut().find(|(other, _)| other.equals(key) == Some(true));
                match same {
                    Some((_, slot)) if certain => *slot = value.clone(),
                    _ => {
                        // A key that nobody knows may be one that is there.
                        dict.exact &= certain && known;
                        dict.pairs.push((key.clone(), value.clone()));
                    }
                }
                if dict.pairs.len() > MOST {
                    self.left = 0;
                }
                self.held.looks(looked);
            }
            What::Value(_, Some(spot)) => {
                let spot = spot.clone();
                self.uses(key);
                self.write(&spot, [object, value], span);
            }
            _ => {
                self.uses(key);
                self.store(object, value, span);
            }
        }
    }

    /// Puts a value into an object that is not looked into: whoever holds the object has it.
    fn store(&mut self, object: &Thing, value: &Thing, span: program::ir::Span) {
        let needs = self.all_deps([object, value]);
        let node = self.node(Does::Computes, span, &needs);
        self.graph.used.insert(node);
        self.uses(value);
    }

    /// Notes that code which is not looked into has an object, and may change it.
    pub fn touched(&mut self, thing: &Thing) {
        self.touched_inside(thing);
        match thing.what {
            What::List(at) => {
                if let Some(list) = self.held.lists.get_mut(at) {
                    list.exact = false;
                }
            }
            What::Dict(at) => {
                if let Some(dict) = self.held.dicts.get_mut(at) {
                    dict.exact = false;
                }
            }
            _ => {}
        }
    }

    /// Notes the same of the user's objects that a value leads to.
    pub fn touched_inside(&mut self, thing: &Thing) {
        let (mut next, mut seen) = (vec![thing.clone()], BTreeSet::new());
        while let Some(thing) = next.pop() {
            let (kind, at) = match thing.what {
                What::Instance(at) => (0, at),
                What::Class(at) => (1, at),
                What::Bound(at, _) | What::Method(at, _) => (2, at),
                What::List(at) | What::Tuple(at) => (3, at),
                What::Dict(at) => (4, at),
                What::Function(at) => (5, at),
                _ => continue,
            };
            if !seen.insert((kind, at)) || !self.pay(1) {
                continue;
            }
            match kind {
                0 => {
                    let Some(instance) = self.held.instances.get_mut(at) else { continue };
                    instance.exact = false;
                    next.extend(std::mem::take(&mut instance.names).into_iter().map(|(_, thing)| thing));
                }
                1 => {
                    if let Some(class) = self.held.classes.get_mut(at) {
                        class.exact = false;
                    }
                }
                2 => next.extend(self.held.methods.get(at).cloned()),
                3 => next.extend(self.held.lists.get(at).iter().flat_map(|items| items.items.iter().cloned())),
                4 => {
                    let pairs = self.held.dicts.get(at);
                    next.extend(pairs.iter().flat_map(|pairs| pairs.pairs.iter().map(|(_, value)| value.clone())));
                }
                _ => {
                    let mut around = self.held.functions.get(at).map(|function| function.around);
                    while let Some(frame) = around.and_then(|frame| self.held.frames.get(frame)) {
                        around = frame.outer;
                        next.extend(frame.slots.iter().flatten().cloned());
                    }
                }
            }
        }
    }

    /// Returns a module's children, or nothing where they are not known.
    pub fn children(&self, place: &Place) -> Option<Vec<(String, Place)>> {
        let (Place::Site(at), Some(outline)) = (place, self.outline) else { return None };
        let mut children: Vec<(String, Place)> =
            outline.children(*at).map(|(child, name)| (name.to_owned(), Place::Site(child))).collect();
        if *at == 0 {
            children.push(("generator".into(), Place::Generator));
        }
        Some(children)
    }
}

/// Collects the names that a target binds.
fn names_of(target: &Target, found: &mut Vec<Name>) {
    match target {
        Target::Name(name) => found.push(*name),
        Target::Sequence { before, star, after, .. } => {
            before.iter().chain(star.as_deref()).chain(after).for_each(|target| names_of(target, found));
        }
        Target::Attribute { .. } | Target::Item { .. } => {}
    }
}

/// Returns the bound of a slice.
pub fn bound(thing: Option<&Thing>) -> Bound {
    match thing {
        None => Bound::Open,
        Some(thing) if matches!(thing.what, What::Constant(program::ir::Constant::None)) => Bound::Open,
        Some(thing) => thing.as_int().map_or(Bound::Unknown, Bound::At),
    }
}
