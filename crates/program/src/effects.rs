//! What a block does to what lies around it, as far as its text tells.
//!
//! A block may run later than it stands, and beside others, if nothing could tell: if it leaves marks only by binding
//! names, by `list.append(…)` and `object[key] = …` on things it does not look at, and by changing the model's own
//! values. The text says which names that depends on; their values are for whoever runs the block to look at.

use std::collections::{BTreeMap, BTreeSet};

use crate::ir::{
    self, Argument, Body, Call, Code, Collect, Comprehension, Expr, ExprKind, Name, Piece, StatementKind, Target,
};

/// What a block does, by slots of the frame that it runs in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Names that it binds.
    pub binds: BTreeSet<u32>,
    /// Names whose values from around it uses.
    pub reads: BTreeSet<u32>,
    /// Names of lists that it appends to, and of objects that it stores items in, and does nothing else with.
    pub receives: BTreeSet<u32>,
    /// Names of what it changes in place: harmless only where these are the model's modules.
    pub changes: BTreeSet<u32>,
    /// Names that it calls.
    pub calls: BTreeSet<u32>,
}

/// Describes a block; `None` for one that may do anything.
#[must_use]
pub fn of(body: &Body) -> Option<Effects> {
    let mut walk = Walk::default();
    ir::deep(|| walk.body(body, true))?;
    let effects = walk.effects;
    effects.receives.is_disjoint(&effects.reads).then_some(effects)
}

/// Returns the variables around a function that it uses, as `(depth, slot)` seen from its body, where calling it leaves
/// no marks and depends on nothing but these and its arguments; `None` for other functions.
#[must_use]
pub fn of_function(code: &Code) -> Option<BTreeSet<(u32, u32)>> {
    let mut walk = Walk { function: true, ..Walk::default() };
    if code.generator {
        return None;
    }
    ir::deep(|| walk.body(&code.body, true))?;
    let Effects { changes, receives, calls, .. } = walk.effects;
    (changes.is_empty() && receives.is_empty() && calls.is_empty()).then_some(walk.free)
}

#[derive(Default)]
struct Walk {
    effects: Effects,
    /// The body is a function's.
    function: bool,
    /// Names that are certainly bound here by now, with the names from around that their values may be parts of.
    bound: BTreeMap<u32, BTreeSet<u32>>,
    /// Scopes of comprehensions around the expression at hand.
    nesting: u32,
    /// Variables of the scopes around.
    free: BTreeSet<(u32, u32)>,
}

type Roots = BTreeSet<u32>;

impl Walk {
    /// `certain` says that the statements run whenever the block does.
    fn body(&mut self, body: &Body, certain: bool) -> Option<()> {
        body.statements.iter().try_for_each(|statement| match &statement.kind {
            StatementKind::Pass | StatementKind::Break | StatementKind::Continue => Some(()),
            StatementKind::Return(value) if self.function => self.all(value).map(drop),
            StatementKind::Expression(expr) => match append(expr) {
                Some((list, item)) if !self.bound.contains_key(&list.slot) => {
                    self.effects.receives.insert(list.slot);
                    self.expr(item).map(drop)
                }
                _ => self.expr(expr).map(drop),
            },
            StatementKind::Assign { targets, value } => {
                let roots = self.expr(value)?;
                targets.iter().try_for_each(|target| self.store(target, &roots, certain))
            }
            StatementKind::AugmentedAssign { target, value, .. } => {
                self.expr(value)?;
                match target {
                    Target::Name(name) => {
                        let roots = self.bound.get(&name.slot)?.clone();
                        self.effects.changes.extend(roots);
                        Some(())
                    }
                    Target::Item { object, key, .. } => {
                        self.expr(key)?;
                        self.change(object)
                    }
                    Target::Attribute { object, .. } => self.change(object),
                    Target::Sequence { .. } => None,
                }
            }
            StatementKind::If { branches, otherwise } => {
                for (test, body) in branches {
                    self.expr(test)?;
                    self.body(body, false)?;
                }
                self.body(otherwise, false)
            }
            StatementKind::For { target, iterable, body, otherwise } => {
                let roots = self.expr(iterable)?;
                self.store(target, &roots, true)?;
                self.body(body, false)?;
                self.body(otherwise, false)?;
                // The target of a loop that never turns keeps the value from around.
                self.forget(target);
                Some(())
            }
            _ => None,
        })
    }

    fn store(&mut self, target: &Target, roots: &Roots, certain: bool) -> Option<()> {
        match target {
            Target::Name(name) => {
                self.effects.binds.insert(name.slot);
                if certain {
                    self.bound.insert(name.slot, roots.clone());
                }
                Some(())
            }
            Target::Item { object: Expr { kind: ExprKind::Name(name), .. }, key, .. }
                if !self.bound.contains_key(&name.slot) =>
            {
                self.effects.receives.insert(name.slot);
                self.expr(key).map(drop)
            }
            Target::Item { object, key, .. } => {
                self.expr(key)?;
                self.change(object)
            }
            Target::Attribute { object, .. } => self.change(object),
            Target::Sequence { before, star, after, .. } => {
                let all = before.iter().chain(star.as_deref()).chain(after);
                all.into_iter().try_for_each(|target| self.store(target, roots, certain))
            }
        }
    }

    fn forget(&mut self, target: &Target) {
        match target {
            Target::Name(name) => drop(self.bound.remove(&name.slot)),
            Target::Sequence { before, star, after, .. } => {
                before.iter().chain(star.as_deref()).chain(after).for_each(|target| self.forget(target));
            }
            Target::Attribute { .. } | Target::Item { .. } => {}
        }
    }

    fn change(&mut self, object: &Expr) -> Option<()> {
        let roots = self.expr(object)?;
        self.effects.changes.extend(roots);
        Some(())
    }

    /// Walks an expression, and returns the names from around that its value may be a part of.
    fn expr(&mut self, expr: &Expr) -> Option<Roots> {
        match &expr.kind {
            ExprKind::Constant(_) => Some(Roots::new()),
            ExprKind::Name(name) => Some(self.load(*name)),
            ExprKind::Binary { left, right, .. } => {
                self.expr(left)?;
                self.expr(right)?;
                Some(Roots::new())
            }
            ExprKind::Unary { operand, .. } => self.expr(operand).map(|_| Roots::new()),
            ExprKind::Compare { first, rest } => {
                self.expr(first)?;
                self.all(rest.iter().map(|(_, expr)| expr)).map(|_| Roots::new())
            }
            ExprKind::Boolean { operands, .. } => self.all(operands),
            ExprKind::Conditional(parts) => self.all(parts.iter()),
            ExprKind::Attribute { object, name } => {
                if refused(name) {
                    return None;
                }
                self.expr(object)
            }
            ExprKind::Item { object, key } => {
                self.expr(key)?;
                self.expr(object)
            }
            ExprKind::Slice(parts) => self.all(parts.iter().flatten()),
            ExprKind::Call(call) => self.call(call),
            ExprKind::List(items) | ExprKind::Tuple(items) | ExprKind::Set(items) => self.arguments(items),
            ExprKind::Dict(pairs) => {
                let parts = pairs.iter().flat_map(|(key, value)| key.iter().chain(std::iter::once(value)));
                self.all(parts)
            }
            ExprKind::Comprehension(comprehension) => self.comprehension(comprehension),
            ExprKind::Format(pieces) => self.pieces(pieces),
            ExprKind::Super { .. }
            | ExprKind::Lambda(_)
            | ExprKind::Walrus { .. }
            | ExprKind::Yield(_)
            | ExprKind::YieldFrom(_) => None,
        }
    }

    fn load(&mut self, name: Name) -> Roots {
        // Names of the comprehensions' own scopes come and go with them.
        if name.depth != self.nesting {
            self.free.extend(name.depth.checked_sub(self.nesting).filter(|depth| *depth > 0).map(|up| (up, name.slot)));
            return Roots::new();
        }
        if let Some(roots) = self.bound.get(&name.slot) {
            return roots.clone();
        }
        self.effects.reads.insert(name.slot);
        Roots::from([name.slot])
    }

    fn call(&mut self, call: &Call) -> Option<Roots> {
        let mut roots = match &call.callee.kind {
            ExprKind::Name(name) if name.depth == self.nesting && !self.bound.contains_key(&name.slot) => {
                self.effects.calls.insert(name.slot);
                Roots::new()
            }
            ExprKind::Attribute { object, name } => {
                if refused(name) || MUTATORS.contains(&&**name) {
                    return None;
                }
                if name.ends_with('_') && !name.ends_with("__") {
                    self.change(object)?;
                }
                self.expr(object)?
            }
            _ => return None,
        };
        roots.extend(self.arguments(&call.positional)?);
        roots.extend(self.all(call.keyword.iter().map(|(_, value)| value))?);
        Some(roots)
    }

    fn arguments(&mut self, arguments: &[Argument]) -> Option<Roots> {
        self.all(arguments.iter().map(|argument| &argument.value))
    }

    fn all<'e>(&mut self, parts: impl IntoIterator<Item = &'e Expr>) -> Option<Roots> {
        let mut roots = Roots::new();
        for part in parts {
            roots.extend(self.expr(part)?);
        }
        Some(roots)
    }

    fn comprehension(&mut self, comprehension: &Comprehension) -> Option<Roots> {
        let mut roots = self.expr(&comprehension.first)?;
        self.nesting += 1;
        let walked = (|| {
            for clause in &comprehension.loops {
                roots.extend(self.all(clause.iterable.iter().chain(&clause.conditions))?);
            }
            match &comprehension.kind {
                Collect::List(value) | Collect::Set(value) => roots.extend(self.expr(value)?),
                Collect::Dict(key, value) => roots.extend(self.all([key, value])?),
                // It runs whenever somebody asks it to.
                Collect::Generator(_) => return None,
            }
            Some(())
        })();
        self.nesting -= 1;
        walked.map(|()| roots)
    }

    fn pieces(&mut self, pieces: &[Piece]) -> Option<Roots> {
        for piece in pieces {
            if let Piece::Value { value, spec, .. } = piece {
                self.expr(value)?;
                self.pieces(spec)?;
            }
        }
        Some(Roots::new())
    }
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

/// Methods that change what they are called on.
const MUTATORS: [&str; 22] = [
    "append",
    "appendleft",
    "extend",
    "extendleft",
    "insert",
    "pop",
    "popleft",
    "popitem",
    "remove",
    "discard",
    "clear",
    "sort",
    "reverse",
    "rotate",
    "update",
    "setdefault",
    "add",
    "push",
    "write",
    "send",
    "throw",
    "close",
];

/// Attributes whose use has an order: what draws random numbers, also in place, and what steers traces or all of torch.
fn refused(name: &str) -> bool {
    const NAMES: [&str; 32] = [
        "trace",
        "generate",
        "scan",
        "edit",
        "pipe",
        "session",
        "invoke",
        "barrier",
        "stop",
        "iter",
        "all",
        "next",
        "cache",
        "backward",
        "grad",
        "seed",
        "normal",
        "multinomial",
        "bernoulli",
        "exponential",
        "geometric",
        "cauchy",
        "log_normal",
        "poisson",
        "rrelu",
        "integers",
        "permutation",
        "uniform",
        "shuffle",
        "choice",
        "sample",
        "data",
    ];
    let drawing = ["rand", "seed", "dropout", "gumbel"].iter().any(|part| name.contains(part));
    let filling = ["_normal", "_uniform"].iter().any(|end| name.trim_end_matches('_').ends_with(end));
    let steering = name.starts_with("set_") || name.starts_with("__");
    NAMES.contains(&name.trim_end_matches('_')) || drawing || filling || steering
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Source};

    type Names = Vec<String>;

    /// Returns what a block binds, reads, receives and changes.
    fn effects(text: &str) -> Option<(Names, Names, Names, Names)> {
        let source = Source { text: text.into(), filename: "block.py".into(), function: "<module>".into() };
        let code = crate::lower::block(&source, &Limits::default()).expect("the block parses");
        let effects = of(&code.body)?;
        let names = |slots: &BTreeSet<u32>| {
            let mut names: Vec<String> = slots.iter().map(|slot| code.slots[*slot as usize].to_string()).collect();
            names.sort();
            names
        };
        Some((names(&effects.binds), names(&effects.reads), names(&effects.receives), names(&effects.changes)))
    }

    #[test]
    fn a_sweeps_body_only_leaves_marks() {
        let text = "model.h[layer].output[:, at] = clean[layer][:, at]\nx = model.head.output[0, -1]\nrow.append((x[a] - x[b]).item())";
        let (binds, reads, receives, changes) = effects(text).unwrap();
        assert_eq!(binds, ["x"]);
        assert_eq!(reads, ["a", "at", "b", "clean", "layer", "model"]);
        assert_eq!(receives, ["row"]);
        assert_eq!(changes, ["model"]);
    }

    #[test]
    fn changes_are_followed_through_names() {
        let (_, _, _, changes) = effects("h = clean[0]\nv = h.view(3)\nv[0] = 1\nv.add_(2)").unwrap();
        assert_eq!(changes, ["clean"]);
        let (_, _, _, changes) = effects("h = clean[0] * 2\nh[0] = 1\nh += 1").unwrap();
        assert!(changes.is_empty());
    }

    #[test]
    fn what_may_not_have_been_bound_counts_as_read() {
        let (_, reads, _, _) = effects("if flag:\n    x = 1\ny = x").unwrap();
        assert!(reads.contains(&"x".to_owned()));
        let (_, reads, _, _) = effects("for i in items:\n    x = i\ny = i").unwrap();
        assert!(reads.contains(&"i".to_owned()));
    }

    #[test]
    fn blocks_that_must_run_in_their_turn_are_told() {
        let blocks = [
            "total += 1",
            "row.append(1)\nn = len(row)",
            "row.extend([1])",
            "x = torch.rand(3)",
            "with tracer.invoke('a'):\n    pass",
            "while x:\n    pass",
            "try:\n    pass\nfinally:\n    pass",
            "f = lambda: 1",
            "x = (y := 2)",
            "del x",
            "with loss.backward():\n    pass",
            "tracer.stop()",
            "def f():\n    pass",
        ];
        for block in blocks {
            assert_eq!(effects(block), None, "{block}");
        }
    }
}
