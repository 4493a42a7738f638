//! Forwards step by step: what `.source` shows of a module, under the names that nnsight makes of Hugging Face's text.
//!
//! A script has a line for each operation, in order: its name, and what it computes of which variables.
//! `self_act_fn_0: gate = act_fn(gate)` calls something, `gate_1: gate` shows the variable, and `half_0: half := first(gate)`
//! shows what a variable is bound to. `let half = first(gate)` is no operation. Where nobody looks at operations a module
//! computes as it likes; a script is run where somebody may.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use engine::{Inputs, Packed, Site, Tree};
use interpreter::Value;
use interpreter::raise::Raise;
use tch::{Kind, Tensor};

use crate::error::LoadError;
use crate::pass::{Arguments, Flow, Input, Output, Pass, Result, learned};
use crate::tokens::Tokens;

/// A module's forward.
pub struct Script {
    pub lines: Vec<Line>,
    returns: Vec<Expression>,
}

/// A loop in a forward: what is run for each layer, or for each type of layers that is rotated in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loop {
    Layers,
    Types,
}

/// An operation.
pub struct Line {
    pub name: &'static str,
    /// What has to hold for it to run: `cached` where keys and values are kept; `never` for what this server never comes to.
    pub when: Option<&'static str>,
    /// The loop that it is in: `each` for layers, `turn` for types.
    pub within: Option<Loop>,
    /// Variables that take what comes of it; several take a tuple apart. What nothing takes is only for looking.
    to: Vec<&'static str>,
    what: Expression,
    /// It binds what comes of a call, and is none itself.
    binds: bool,
}

enum Expression {
    Variable(&'static str),
    Negative(Box<Expression>),
    Sum(Box<Expression>, Box<Expression>),
    Difference(Box<Expression>, Box<Expression>),
    Product(Box<Expression>, Box<Expression>),
    Quotient(Box<Expression>, Box<Expression>),
    Call(&'static str, Vec<Expression>),
}

impl Script {
    /// Reads a script. One that is empty has no operations.
    ///
    /// # Errors
    /// For a line that is none.
    pub fn read(text: &'static str) -> std::result::Result<Self, LoadError> {
        let mut script = Self { lines: Vec::new(), returns: Vec::new() };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let wrong = || LoadError::Table(line.into());
            if let Some(returns) = line.strip_prefix("return ") {
                let mut returned = returns.split(',').map(|mut value| sum(&mut value).filter(|_| value.is_empty()));
                script.returns = returned.by_ref().collect::<Option<_>>().ok_or_else(wrong)?;
                continue;
            }
            if let Some(names) = line.strip_prefix("never ") {
                let own = |name| Line {
                    name,
                    when: Some("never"),
                    within: None,
                    to: Vec::new(),
                    what: Expression::Variable(name),
                    binds: false,
                };
                script.lines.extend(names.split_whitespace().map(own));
                continue;
            }
            let (head, body) = match line.strip_prefix("let ") {
                Some(body) => ("", body),
                None => line.split_once(':').ok_or_else(wrong)?,
            };
            let (within, head) = match head.trim().split_once(' ') {
                Some(("each", head)) => (Some(Loop::Layers), head),
                Some(("turn", head)) => (Some(Loop::Types), head),
                _ => (None, head),
            };
            let (when, name) = match head.trim().split_once(' ') {
                Some((when, name)) => (Some(when), name.trim()),
                None => (None, head.trim()),
            };
            let (to, binds, body) = match body.split_once('=') {
                Some((to, body)) => {
                    let (to, binds) = to.trim().strip_suffix(':').map_or((to, false), |to| (to, true));
                    (to.split(',').map(str::trim).filter(|name| !name.is_empty()).collect(), binds, body)
                }
                None => (Vec::new(), false, body),
            };
            let mut rest = body.trim();
            let what = sum(&mut rest).filter(|_| rest.is_empty()).ok_or_else(wrong)?;
            let to = match &what {
                Expression::Variable(variable) if to.is_empty() => vec![*variable],
                _ => to,
            };
            script.lines.push(Line { name, when, within, to, what, binds });
        }
        Ok(script)
    }

    /// Returns the lines one after another: those of a loop together, and those between loops.
    pub fn stretches(&self) -> Vec<(Option<Loop>, Range<usize>)> {
        let mut all: Vec<(Option<Loop>, Range<usize>)> = Vec::new();
        for (index, line) in self.lines.iter().enumerate() {
            match all.last_mut() {
                Some((within, range)) if *within == line.within => range.end = index + 1,
                _ => all.push((line.within, index..index + 1)),
            }
        }
        all
    }
}

impl Line {
    /// Returns whether it is an operation.
    pub fn is_operation(&self) -> bool {
        !self.name.is_empty()
    }

    /// Returns what the operation calls, if it calls something.
    pub fn calls(&self) -> Option<&'static str> {
        match &self.what {
            Expression::Call(name, _) if !self.binds => Some(*name),
            _ => None,
        }
    }
}

fn sum(rest: &mut &'static str) -> Option<Expression> {
    let mut left = product(rest)?;
    loop {
        let ahead = rest.trim_start();
        let (more, make): (_, fn(_, _) -> Expression) = match (ahead.strip_prefix('+'), ahead.strip_prefix('-')) {
            (Some(more), _) => (more, Expression::Sum),
            (_, Some(more)) => (more, Expression::Difference),
            _ => break,
        };
        *rest = more;
        left = make(Box::new(left), Box::new(product(rest)?));
    }
    *rest = rest.trim_start();
    Some(left)
}

fn product(rest: &mut &'static str) -> Option<Expression> {
    let mut left = atom(rest)?;
    loop {
        let ahead = rest.trim_start();
        let (more, make): (_, fn(_, _) -> Expression) = match (ahead.strip_prefix('*'), ahead.strip_prefix('/')) {
            (Some(more), _) => (more, Expression::Product),
            (_, Some(more)) => (more, Expression::Quotient),
            _ => return Some(left),
        };
        *rest = more;
        left = make(Box::new(left), Box::new(atom(rest)?));
    }
}

fn atom(rest: &mut &'static str) -> Option<Expression> {
    *rest = rest.trim_start();
    if let Some(more) = rest.strip_prefix('-') {
        *rest = more;
        return atom(rest).map(|value| Expression::Negative(Box::new(value)));
    }
    if let Some(mut inside) = rest.strip_prefix('(') {
        let value = sum(&mut inside)?;
        *rest = inside.strip_prefix(')')?;
        return Some(value);
    }
    let end = rest.find(|letter: char| !(letter.is_alphanumeric() || letter == '_')).unwrap_or(rest.len());
    let (name, more) = rest.split_at(end);
    if name.is_empty() {
        return None;
    }
    let Some(mut inside) = more.strip_prefix('(') else {
        *rest = more;
        return Some(Expression::Variable(name));
    };
    let mut arguments = Vec::new();
    loop {
        inside = inside.trim_start();
        if let Some(more) = inside.strip_prefix(')') {
            *rest = more;
            return Some(Expression::Call(name, arguments));
        }
        inside = inside.strip_prefix(',').unwrap_or(inside);
        arguments.push(sum(&mut inside)?);
    }
}

/// Where the operations of one module's script are.
pub struct Operations {
    script: Rc<Script>,
    /// Of each line, which of all operations it is in the first round, and how many of them a round has.
    places: Vec<(usize, usize)>,
    /// The site of the first of all.
    base: Rc<Cell<u32>>,
    /// The modules that they call, in the order in which they run.
    order: Vec<(usize, Option<Site>)>,
    /// By line, the function that it calls, and what that calls its operands.
    inside: HashMap<usize, (&'static [&'static str], Operations)>,
}

impl Operations {
    pub fn new(
        script: Rc<Script>,
        places: Vec<(usize, usize)>,
        base: &Rc<Cell<u32>>,
        order: Vec<(usize, Option<Site>)>,
    ) -> Self {
        Self { script, places, base: Rc::clone(base), order, inside: HashMap::new() }
    }

    /// Adds the function that a line calls.
    pub fn put_inside(&mut self, line: usize, parameters: &'static [&'static str], function: Operations) {
        self.inside.insert(line, (parameters, function));
    }

    /// Lists lines that call something, with which of all operations they are.
    pub fn calls(&self) -> Vec<(usize, &'static str, usize)> {
        let lines = self.script.lines.iter().zip(&self.places).enumerate();
        lines.filter_map(|(line, (own, (number, _)))| Some((line, own.calls()?, *number))).collect()
    }

    /// Lists the operations that a pass may come to, and behind each the module that it calls.
    pub fn order(&self) -> Vec<Site> {
        let inside = |number: usize| {
            let line = self.places.iter().position(|(first, _)| *first == number)?;
            self.inside.get(&line).map(|(_, function)| function.order())
        };
        let mut order = Vec::new();
        for &(number, called) in &self.order {
            order.push(self.site_of(number));
            order.extend(called);
            if !self.inside.is_empty() {
                order.extend(inside(number).unwrap_or_default());
            }
        }
        order
    }

    /// Returns which of all operations is the one that calls something.
    pub fn calling(&self, name: &str) -> Option<usize> {
        let line = self.script.lines.iter().position(|line| line.calls() == Some(name))?;
        self.places.get(line).map(|(number, _)| *number)
    }

    /// Returns the site of one of all operations.
    pub fn site_of(&self, number: usize) -> Site {
        Site(self.base.get() + u32::try_from(number).unwrap_or(0))
    }

    /// Returns the site of an operation by its name.
    pub fn named(&self, name: &str) -> Option<Site> {
        let line = self.script.lines.iter().position(|line| line.name == name)?;
        Some(self.site(line, 0))
    }

    /// See [`Script::stretches`].
    pub fn stretches(&self) -> Vec<(Option<Loop>, Range<usize>)> {
        self.script.stretches()
    }

    fn site(&self, line: usize, round: usize) -> Site {
        let &(first, step) = self.places.get(line).unwrap_or(&(0, 0));
        self.site_of(first + round * step)
    }
}

/// What a variable holds.
pub enum Held {
    /// One for each part.
    Tensors(Vec<Tensor>),
    Tuple(Vec<Held>),
    Dict(Vec<(&'static str, Held)>),
    /// `None` in the place of tensors.
    Nothing,
    /// What goes on as it is, whatever became of it: what a model returned, or what is not computed yet.
    Whole(Flow),
    /// What is not computed with.
    Plain(Flow),
}

impl Held {
    pub const NONE: Self = Self::Plain(Tree::None);

    /// Holds the tokens of each part.
    pub fn of_tokens(pass: &Pass<'_>, tokens: &Tokens) -> Result<Self> {
        Ok(Self::Tensors((0..pass.layout.parts.len()).map(|part| pass.segment(tokens, part)).collect::<Result<_>>()?))
    }

    /// Returns the tokens of all parts, which blocks may have seen.
    pub fn into_tokens(self, pass: &Pass<'_>) -> Result<Tokens> {
        pass.gather(self.tensors()?)
    }

    pub fn share(&self) -> Self {
        match self {
            Self::Tensors(parts) => Self::Tensors(parts.iter().map(Tensor::shallow_clone).collect()),
            Self::Tuple(items) => Self::Tuple(items.iter().map(Self::share).collect()),
            Self::Dict(entries) => Self::Dict(entries.iter().map(|(name, entry)| (*name, entry.share())).collect()),
            Self::Nothing => Self::Nothing,
            Self::Whole(flow) => Self::Whole(flow.clone()),
            Self::Plain(flow) => Self::Plain(flow.clone()),
        }
    }

    /// Returns one tensor for each part.
    pub fn tensors(&self) -> Result<Vec<Tensor>> {
        match self {
            Self::Tensors(parts) => Ok(parts.iter().map(Tensor::shallow_clone).collect()),
            _ => Err(Raise::type_error("this operation computes with a Tensor").into()),
        }
    }

    /// Applies something to the tensor of each part.
    pub fn map(&self, pass: &Pass<'_>, apply: impl Fn(usize, &Tensor) -> Result<Tensor>) -> Result<Self> {
        let parts = self.tensors()?;
        let own = |(part, tensor): (usize, &Tensor)| pass.paid(part, || apply(part, tensor));
        Ok(Self::Tensors(parts.iter().enumerate().map(own).collect::<Result<_>>()?))
    }

    fn both(
        &self,
        other: &Self,
        pass: &Pass<'_>,
        apply: fn(&Tensor, &Tensor) -> std::result::Result<Tensor, tch::TchError>,
    ) -> Result<Self> {
        let other = other.tensors()?;
        let missing = || Raise::runtime_error("an operation got too few tensors");
        self.map(pass, |part, own| Ok(apply(own, other.get(part).ok_or_else(missing)?)?))
    }

    /// Shows the value.
    pub fn flow(&self) -> Flow {
        match self {
            Self::Plain(flow) | Self::Whole(flow) => flow.clone(),
            Self::Nothing => Tree::None,
            Self::Tuple(items) => Tree::Tuple(items.iter().map(Self::flow).collect()),
            Self::Dict(entries) => Tree::Dict(entries.iter().map(|(name, entry)| (*name, entry.flow())).collect()),
            Self::Tensors(parts) => learned(parts),
        }
    }

    /// Takes a value that may have been shown.
    pub fn of(pass: &Pass<'_>, flow: Flow) -> Result<Self> {
        use engine::Tensor as _;
        Ok(match flow {
            Tree::Leaf(Packed::Parts(parts)) if parts.iter().any(torch::Tensor::pending) => {
                Self::Whole(Tree::Leaf(Packed::Parts(parts)))
            }
            Tree::Leaf(_) => Self::Tensors(pass.tensors(flow)?),
            Tree::Tuple(items) => {
                Self::Tuple(items.into_iter().map(|item| Self::of(pass, item)).collect::<Result<_>>()?)
            }
            Tree::Dict(entries) => Self::Dict(
                entries.into_iter().map(|(name, entry)| Ok((name, Self::of(pass, entry)?))).collect::<Result<_>>()?,
            ),
            Tree::Record { .. } => Self::Whole(flow),
            flow => Self::Plain(flow),
        })
    }
}

/// Returns whether a value that is only for looking is still what was shown.
fn stands(pass: &Pass<'_>, shown: &Flow, found: &Flow) -> Result<bool> {
    match (shown, found) {
        (Tree::Object(shown), Tree::Object(found)) => Ok(Rc::ptr_eq(shown, found)),
        (Tree::Object(_), _) | (_, Tree::Object(_)) => Ok(false),
        (Tree::Tuple(shown), Tree::Tuple(found)) => all_stand(pass, shown.iter(), found.iter()),
        (Tree::Dict(shown), Tree::Dict(found)) => {
            let same_names = shown.iter().map(|(name, _)| *name).eq(found.iter().map(|(name, _)| *name));
            let values = [shown, found].map(|entries| entries.iter().map(|(_, entry)| entry));
            let [shown, found] = values;
            Ok(same_names && all_stand(pass, shown, found)?)
        }
        (Tree::Dict(_), _) => Ok(false),
        _ => same(pass, shown, found),
    }
}

fn all_stand<'f>(
    pass: &Pass<'_>,
    shown: impl ExactSizeIterator<Item = &'f Flow>,
    found: impl ExactSizeIterator<Item = &'f Flow>,
) -> Result<bool> {
    let mut all = shown.len() == found.len();
    for (shown, found) in shown.zip(found) {
        all &= stands(pass, shown, found)?;
    }
    Ok(all)
}

/// A value for each part, as blocks see it.
pub struct Shown(pub Vec<Value>);

impl Output for Held {
    fn show(&self, _: &Pass<'_>) -> Flow {
        self.flow()
    }

    fn read(pass: &Pass<'_>, flow: Flow) -> Result<Self> {
        Self::of(pass, flow)
    }
}

/// How an operation's arguments are shown.
pub struct Given {
    pub args: Vec<Argument>,
    pub kwargs: Vec<(&'static str, Argument)>,
}

pub enum Argument {
    /// One of the things that the operation computes with.
    Operand(usize),
    /// The first so many of them, as one argument.
    Operands(usize),
    Other(Flow),
}

impl Given {
    /// Shows all operands by position.
    pub fn plain(count: usize) -> Self {
        Self { args: (0..count).map(Argument::Operand).collect(), kwargs: Vec::new() }
    }

    /// Shows a method's arguments: the tensor whose it is is none of them.
    pub fn method(args: Vec<Flow>) -> Self {
        Self { args: args.into_iter().map(Argument::Other).collect(), kwargs: Vec::new() }
    }
}

/// An operation that is about to be computed.
struct Asked {
    call: Given,
    operands: Vec<Held>,
}

impl Input for Asked {
    fn show(&self, _: &Pass<'_>) -> Result<Arguments> {
        let flow = |argument: &Argument| match argument {
            Argument::Operand(at) => self.operands.get(*at).map_or(Tree::None, Held::flow),
            Argument::Operands(count) => Tree::Tuple(self.operands.iter().take(*count).map(Held::flow).collect()),
            Argument::Other(flow) => flow.clone(),
        };
        let kwargs = self.call.kwargs.iter().map(|(name, argument)| (*name, flow(argument))).collect();
        Ok(Inputs { args: self.call.args.iter().map(flow).collect(), kwargs })
    }

    fn read(mut self, pass: &Pass<'_>, arguments: Arguments) -> Result<Self> {
        let kwargs = self.call.kwargs.iter().map(|(_, argument)| argument);
        let given = arguments.args.into_iter().chain(arguments.kwargs.into_iter().map(|(_, flow)| flow));
        for (argument, flow) in self.call.args.iter().chain(kwargs).zip(given) {
            match argument {
                Argument::Operand(at) => {
                    if let Some(operand) = self.operands.get_mut(*at) {
                        *operand = Held::of(pass, flow)?;
                    }
                }
                Argument::Operands(count) => match flow {
                    Tree::Tuple(items) if items.len() == *count => {
                        for (operand, item) in self.operands.iter_mut().zip(items) {
                            *operand = Held::of(pass, item)?;
                        }
                    }
                    _ => {
                        let message = format!("this operation takes a tuple of {count}");
                        return Err(Raise::type_error(message).into());
                    }
                },
                Argument::Other(shown) if same(pass, shown, &flow)? => {}
                Argument::Other(_) => {
                    let message =
                        "of an operation's arguments only those can be replaced on this server that it computes with";
                    return Err(Raise::type_error(message).into());
                }
            }
        }
        Ok(self)
    }
}

/// Returns whether an argument is still what was shown.
pub fn same(pass: &Pass<'_>, shown: &Flow, found: &Flow) -> Result<bool> {
    Ok(match (shown, found) {
        (Tree::Leaf(_), Tree::Leaf(_)) => {
            let (shown, found) = (pass.tensors(shown.clone())?, pass.tensors(found.clone())?);
            for (shown, found) in shown.iter().zip(&found) {
                let alike = shown.size() == found.size() && shown.f_kind()? == found.f_kind()?;
                if !alike || shown.data_ptr() != found.data_ptr() && !shown.f_equal(found)? {
                    return Ok(false);
                }
            }
            true
        }
        (Tree::Tuple(shown), Tree::Tuple(found)) => {
            let mut all = shown.len() == found.len();
            for (shown, found) in shown.iter().zip(found) {
                all &= same(pass, shown, found)?;
            }
            all
        }
        (Tree::Bool(shown), Tree::Bool(found)) => shown == found,
        (Tree::Int(shown), Tree::Int(found)) => shown == found,
        (Tree::Float(shown), Tree::Float(found)) => shown.to_bits() == found.to_bits(),
        // What blocks cannot make, or see as one value for each part.
        (Tree::None, Tree::None) | (Tree::Object(_) | Tree::Dict(_), _) => true,
        _ => false,
    })
}

/// What a script's calls mean.
pub trait Forward {
    /// Says how a call's arguments are shown.
    fn call(&self, pass: &Pass<'_>, name: &str, operands: &[Held]) -> Result<Given>;

    /// Computes a call.
    fn compute(&self, pass: &mut Pass<'_>, name: &str, operands: &[Held]) -> Result<Held>;
}

/// Runs a script, and returns what it returns. `holds` says whether a line's condition does.
pub fn run(
    operations: &Operations,
    pass: &mut Pass<'_>,
    forward: &dyn Forward,
    given: Vec<(&'static str, Held)>,
    holds: &dyn Fn(&str) -> bool,
) -> Result<Vec<Held>> {
    let mut running = Running::new(operations, given);
    running.lines(pass, forward, 0..operations.script.lines.len(), 0, holds)?;
    running.returned(pass)
}

/// A script that is run, stretch by stretch.
pub struct Running<'a> {
    operations: &'a Operations,
    variables: HashMap<&'static str, Held>,
}

impl<'a> Running<'a> {
    pub fn new(operations: &'a Operations, given: Vec<(&'static str, Held)>) -> Self {
        Self { operations, variables: given.into_iter().collect() }
    }

    /// Returns what a variable holds, if it holds anything yet.
    pub fn get(&self, name: &str) -> Option<&Held> {
        self.variables.get(name)
    }

    pub fn set(&mut self, name: &'static str, held: Held) {
        self.variables.insert(name, held);
    }

    /// Runs some of the lines, in a round of the loop that they are in.
    pub fn lines(
        &mut self,
        pass: &mut Pass<'_>,
        forward: &dyn Forward,
        lines: Range<usize>,
        round: usize,
        holds: &dyn Fn(&str) -> bool,
    ) -> Result<()> {
        let variables = &mut self.variables;
        for index in lines {
            let Some(line) = self.operations.script.lines.get(index) else { continue };
            if line.when.is_some_and(|when| when == "never" || !holds(when)) {
                continue;
            }
            let site = self.operations.site(index, round);
            let first = |_: &mut Pass<'_>, mut asked: Asked| Ok(asked.operands.swap_remove(0));
            let made = match &line.what {
                Expression::Call(name, arguments) => {
                    let operands: Vec<Held> =
                        arguments.iter().map(|argument| evaluate(pass, argument, variables)).collect::<Result<_>>()?;
                    if line.binds || !line.is_operation() {
                        let operands = vec![forward.compute(pass, name, &operands)?];
                        match line.is_operation() {
                            true => visit(pass, site, line, Asked { call: Given::plain(1), operands }, first)?,
                            false => operands.into_iter().next().unwrap_or(Held::NONE),
                        }
                    } else {
                        let call = forward.call(pass, name, &operands)?;
                        let inside = self.operations.inside.get(&index);
                        let compute = |pass: &mut Pass<'_>, asked: Asked| match inside {
                            Some((parameters, function)) if pass.wants(site).operations => {
                                let known = variables.iter().map(|(name, held)| (*name, held.share()));
                                let operands = parameters.iter().copied().zip(asked.operands);
                                run_inside(function, pass, forward, known.chain(operands).collect(), holds)
                            }
                            _ => forward.compute(pass, name, &asked.operands),
                        };
                        visit(pass, site, line, Asked { call, operands }, compute)?
                    }
                }
                value => {
                    let operands = vec![evaluate(pass, value, variables)?];
                    visit(pass, site, line, Asked { call: Given::plain(1), operands }, first)?
                }
            };
            match (line.to.as_slice(), made) {
                ([to], made) => {
                    variables.insert(*to, made);
                }
                ([], _) => {}
                (several, Held::Tuple(items)) if several.len() == items.len() => {
                    variables.extend(several.iter().copied().zip(items));
                }
                (several, _) => {
                    let message = format!("{} has to give a tuple of {}", line.name, several.len());
                    return Err(Raise::value_error(message).into());
                }
            }
        }
        Ok(())
    }

    /// Returns what the script returns.
    pub fn returned(&self, pass: &Pass<'_>) -> Result<Vec<Held>> {
        self.operations.script.returns.iter().map(|value| evaluate(pass, value, &self.variables)).collect()
    }
}

/// Runs a function that an operation calls, which knows what its caller knows.
fn run_inside(
    function: &Operations,
    pass: &mut Pass<'_>,
    forward: &dyn Forward,
    given: Vec<(&'static str, Held)>,
    holds: &dyn Fn(&str) -> bool,
) -> Result<Held> {
    let mut returned = run(function, pass, forward, given, holds)?;
    Ok(if returned.len() == 1 { returned.swap_remove(0) } else { Held::Tuple(returned) })
}

/// Runs an operation between its watchers.
fn visit(
    pass: &mut Pass<'_>,
    site: Site,
    line: &Line,
    asked: Asked,
    compute: impl FnOnce(&mut Pass<'_>, Asked) -> Result<Held>,
) -> Result<Held> {
    let looking = RefCell::new(None);
    let ran = Cell::new(false);
    let made = pass.module(site, asked, |pass, asked| {
        let made = compute(pass, asked)?;
        ran.set(true);
        if line.to.is_empty() || matches!(made, Held::Plain(_)) {
            let flow = made.flow();
            // What is written in place shows beside a copy.
            *looking.borrow_mut() = Some(if pass.wants(site).output { copied(pass, &flow)? } else { flow });
        }
        Ok(made)
    })?;
    let stays = match looking.take() {
        Some(shown) => stands(pass, &shown, &made.flow())?,
        // What nothing takes cannot be left out, either.
        None => ran.get() || !line.to.is_empty(),
    };
    if stays {
        return Ok(made);
    }
    let name = line.name;
    let message =
        format!("the value of the operation {name} cannot be replaced on this server: it is only for looking");
    Err(Raise::type_error(message).into())
}

/// Copies the tensors of a value.
fn copied(pass: &Pass<'_>, flow: &Flow) -> Result<Flow> {
    Ok(match flow {
        Tree::Leaf(_) => {
            let copies = pass.tensors(flow.clone())?;
            learned(&copies.iter().map(|one| Tensor::f_cat(&[one], 0)).collect::<std::result::Result<Vec<_>, _>>()?)
        }
        Tree::Tuple(items) => Tree::Tuple(items.iter().map(|item| copied(pass, item)).collect::<Result<_>>()?),
        Tree::Dict(entries) => {
            Tree::Dict(entries.iter().map(|(name, entry)| Ok((*name, copied(pass, entry)?))).collect::<Result<_>>()?)
        }
        flow => flow.clone(),
    })
}

fn look_up(variables: &HashMap<&'static str, Held>, name: &str) -> Result<Held> {
    variables.get(name).map(Held::share).ok_or_else(|| Raise::runtime_error(format!("there is no {name} yet")).into())
}

fn evaluate(pass: &Pass<'_>, what: &Expression, variables: &HashMap<&'static str, Held>) -> Result<Held> {
    match what {
        Expression::Variable(name) => look_up(variables, name),
        Expression::Negative(value) => evaluate(pass, value, variables)?.map(pass, |_, own| Ok(own.f_neg()?)),
        Expression::Difference(left, right) => {
            evaluate(pass, left, variables)?.both(&evaluate(pass, right, variables)?, pass, Tensor::f_sub)
        }
        Expression::Sum(left, right) => {
            evaluate(pass, left, variables)?.both(&evaluate(pass, right, variables)?, pass, Tensor::f_add)
        }
        Expression::Product(left, right) => {
            evaluate(pass, left, variables)?.both(&evaluate(pass, right, variables)?, pass, Tensor::f_mul)
        }
        Expression::Quotient(left, right) => {
            evaluate(pass, left, variables)?.both(&evaluate(pass, right, variables)?, pass, Tensor::f_div)
        }
        Expression::Call(name, _) => Err(Raise::runtime_error(format!("{name} is called inside a line")).into()),
    }
}

/// Shows the element type of a tensor of each part, or one that it is made.
pub fn dtype(held: Option<&Held>, made: Option<Kind>) -> Result<Flow> {
    let parts = held.map_or(Ok(Vec::new()), Held::tensors)?;
    let own = |part: &Tensor| -> Result<Value> {
        let like = match made {
            Some(kind) => Tensor::f_zeros([0], (kind, part.device()))?,
            None => part.shallow_clone(),
        };
        Ok(torch::dtype_value(&torch::Tensor::new(like)))
    };
    let shown = parts.iter().map(own).collect::<Result<_>>()?;
    Ok(Tree::Object(Rc::new(Shown(shown)) as Rc<dyn std::any::Any>))
}

/// Something of Hugging Face's that blocks can see, and nothing more.
pub struct Opaque(pub String);

impl interpreter::HostObject for Opaque {
    fn type_name(&self) -> std::borrow::Cow<'static, str> {
        self.0.clone().into()
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn holds(&self) -> Option<Vec<Value>> {
        Some(Vec::new())
    }

    fn repr(&self, _: &interpreter::Machine) -> std::result::Result<Option<String>, Raise> {
        Ok(Some(format!("<{}>", self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_look() {
        let script = Script::read(
            "a_0: x, y = f(g + h * k, x)
            each cached b_0: x
            never c_0 d_0
            let z = g(-x - y)
            e_0: z := g(z)
            return x / (y + z), y",
        )
        .unwrap();
        let lines: Vec<_> = script.lines.iter().map(|line| (line.name, line.when, &*line.to, line.calls())).collect();
        let expected: [(_, _, &[&str], _); 6] = [
            ("a_0", None, &["x", "y"], Some("f")),
            ("b_0", Some("cached"), &["x"], None),
            ("c_0", Some("never"), &[], None),
            ("d_0", Some("never"), &[], None),
            ("", None, &["z"], Some("g")),
            ("e_0", None, &["z"], None),
        ];
        assert_eq!(lines, expected);
        assert_eq!(script.stretches(), [(None, 0..1), (Some(Loop::Layers), 1..2), (None, 2..6)]);
        let [Expression::Quotient(_, divisor), Expression::Variable("y")] = script.returns.as_slice() else { panic!() };
        assert!(matches!(**divisor, Expression::Sum(..)));
        let first = &script.lines[0];
        let Expression::Call(_, arguments) = &first.what else { panic!() };
        assert!(matches!(&arguments[0], Expression::Sum(_, right) if matches!(**right, Expression::Product(..))));
        assert!(Script::read("a_0 x = f(").is_err() && Script::read("a_0: f(x").is_err());
    }
}
