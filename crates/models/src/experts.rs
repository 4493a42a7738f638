//! Feed-forward blocks of which each token takes a few.
//!
//! Which rows an expert multiplies depends on what tokens are, others' too. So experts multiply by blocks of one size
//! ([`kernels::Rows::Fixed`]): a row's bits depend on nothing else.

use std::any::Any;
use std::rc::Rc;

use engine::{Inputs, Part, Site, Tree};
use interpreter::Value;
use interpreter::raise::Raise;
use kernels::{Products, Weight, number};
use tch::{Kind, TchError, Tensor};

use crate::balance::Routed;
use crate::family::{Gate, Score};
use crate::feed_forward::halves;
use crate::nn::{Activation, Linear, differentiable, evenly};
use crate::pass::{Arguments, Flow, Input, Output, Parts, Pass, Result, learned, no_part};
use crate::source::{self, Forward, Given, Held, Operations};
use crate::tokens::Tokens;

/// A router and the experts that it chooses from.
pub struct Sparse {
    pub site: Site,
    pub operations: Operations,
    pub router: Router,
    pub experts: Experts,
    /// The router's scores are returned beside hidden states.
    pub returns_scores: bool,
}

pub struct Router {
    pub site: Site,
    pub linear: Rc<Linear>,
    pub top: i64,
    pub score: Score,
}

pub struct Experts {
    pub site: Site,
    pub gate: Gate,
    /// The function's module, where there is one.
    pub act: Option<Rc<Activation>>,
    pub each: Rc<Vec<Expert>>,
    /// As checkpoints have them: weights `[in, out]`, and gate and up in turns.
    pub biased: bool,
}

/// Two products, the first of which makes gate and up.
pub struct Expert {
    pub gate_up: (Rc<Weight>, Option<Tensor>),
    pub down: (Rc<Weight>, Option<Tensor>),
}

/// What a sparse block returns.
pub struct Fed {
    pub hidden: Tokens,
    scores: Option<Tokens>,
}

/// All tokens of a part as rows of one matrix: `[rows · length, …]`.
struct Flat(Tokens);

/// What a router returns, and experts are given: logits or hidden states, then scores and numbers of the chosen in the
/// order in which whoever shows them has them.
struct Chosen(Flat, Flat, Flat);

impl Sparse {
    /// Runs the block. What its router makes is added to what is collected, if that is.
    pub fn run(&self, pass: &mut Pass<'_>, hidden: &Tokens, routed: Option<&Routed>) -> Result<Fed> {
        let returns_scores = self.returns_scores;
        pass.module(self.site, hidden.share(), |pass, hidden| {
            if pass.wants(self.site).operations {
                return self.step_by_step(pass, &hidden, routed);
            }
            let Chosen(_, scores, chosen) = self.route(pass, &hidden, routed)?;
            let shown = scores.0.share();
            let hidden = self.experts.run(pass, Chosen(Flat(hidden), chosen, scores))?;
            Ok(Fed { hidden, scores: returns_scores.then_some(shown) })
        })
    }

    fn route(&self, pass: &mut Pass<'_>, hidden: &Tokens, routed: Option<&Routed>) -> Result<Chosen> {
        let chosen = self.router.run(pass, hidden)?;
        if let Some(routed) = routed {
            routed.borrow_mut().push(chosen.0.show(pass)?);
        }
        Ok(chosen)
    }

    fn step_by_step(&self, pass: &mut Pass<'_>, hidden: &Tokens, routed: Option<&Routed>) -> Result<Fed> {
        let given = vec![("hidden_states", Held::of_tokens(pass, hidden)?)];
        let forward = Steps { sparse: self, routed };
        let mut returned = source::run(&self.operations, pass, &forward, given, &|_| true)?.into_iter();
        let hidden = returned.next().unwrap_or(Held::NONE).into_tokens(pass)?;
        let scores = match returned.next().filter(|_| self.returns_scores) {
            Some(scores) => Some(unflattened(pass, &scores)?.into_tokens(pass)?),
            None => None,
        };
        Ok(Fed { hidden, scores })
    }

    /// Lists operations and modules in the order in which they run.
    pub fn order(&self) -> Vec<Site> {
        let inside = |site: Site| self.experts.act.as_ref().filter(|_| site == self.experts.site).map(|act| act.site);
        self.operations.order().into_iter().flat_map(|site| [Some(site), inside(site)]).flatten().collect()
    }
}

/// What the lines of the block's forward mean.
struct Steps<'a> {
    sparse: &'a Sparse,
    routed: Option<&'a Routed>,
}

impl Forward for Steps<'_> {
    fn call(&self, pass: &Pass<'_>, name: &str, operands: &[Held]) -> Result<Given> {
        let width = |operand: &Held| -> Result<i64> {
            Ok(operand.tensors()?.first().and_then(|one| one.size().last().copied()).unwrap_or(0))
        };
        Ok(match (name, operands.first()) {
            ("flat", Some(hidden)) => Given::method(vec![Tree::Int(-1), Tree::Int(width(hidden)?)]),
            ("apart", Some(hidden)) => {
                let own = |of: fn(&Part) -> i64| {
                    Tree::Object(Rc::new(source::Shown(
                        pass.layout.parts.iter().map(|part| Value::Int(of(part))).collect(),
                    )) as Rc<dyn Any>)
                };
                Given::method(vec![own(|part| part.rows), own(|part| part.length), Tree::Int(width(hidden)?)])
            }
            _ => Given::plain(operands.len()),
        })
    }

    fn compute(&self, pass: &mut Pass<'_>, name: &str, operands: &[Held]) -> Result<Held> {
        let tokens =
            |pass: &Pass<'_>, at: usize| unflattened(pass, operands.get(at).unwrap_or(&Held::NONE))?.into_tokens(pass);
        match (name, operands) {
            ("flat", [hidden]) => hidden.map(pass, |_, hidden| Ok(hidden.f_flatten(0, 1)?)),
            ("apart", [hidden]) => unflattened(pass, hidden),
            ("router", _) => {
                let hidden = tokens(pass, 0)?;
                let Chosen(logits, scores, chosen) = self.sparse.route(pass, &hidden, self.routed)?;
                let held = |flat: Flat| -> Result<Held> { Ok(Held::Tensors(flat.show(pass)?)) };
                Ok(Held::Tuple(vec![held(logits)?, held(scores)?, held(chosen)?]))
            }
            ("experts", _) => {
                let chosen = Chosen(Flat(tokens(pass, 0)?), Flat(tokens(pass, 1)?), Flat(tokens(pass, 2)?));
                let fed = self.sparse.experts.run(pass, chosen)?;
                Ok(Held::Tensors(Flat(fed).show(pass)?))
            }
            _ => Err(Raise::runtime_error(format!("a block of experts has no {name}")).into()),
        }
    }
}

/// Lays the rows of each part's matrix as `[rows, length, …]`.
fn unflattened(pass: &Pass<'_>, flat: &Held) -> Result<Held> {
    flat.map(pass, |part, flat| {
        let part = pass.layout.parts.get(part).ok_or_else(no_part)?;
        let mut size = vec![part.rows, part.length];
        size.extend(flat.size().iter().skip(1));
        Ok(flat.f_view(size.as_slice())?)
    })
}

impl Router {
    /// Runs by itself, on any tokens.
    pub fn call(&self, pass: &mut Pass<'_>, hidden: &Tokens) -> Result<Flow> {
        Ok(Output::show(&self.run(pass, hidden)?, pass))
    }

    fn run(&self, pass: &mut Pass<'_>, hidden: &Tokens) -> Result<Chosen> {
        pass.module(self.site, Flat(hidden.share()), |pass, Flat(hidden)| {
            let logits = pass.multiply(&hidden, &self.linear.weight, self.linear.bias.as_ref())?;
            let scores = pass.each(&logits, |logits| Ok(self.choose(logits)?.0))?;
            let chosen = pass.each(&logits, |logits| Ok(self.choose(logits)?.1))?;
            Ok(Chosen(Flat(logits), Flat(scores), Flat(chosen)))
        })
    }

    /// Returns scores and numbers of the chosen experts.
    fn choose(&self, logits: &Tensor) -> std::result::Result<(Tensor, Tensor), TchError> {
        let kind = logits.f_kind()?;
        match self.score {
            Score::OfAll { renormalize, rounded } => {
                let shares = logits.f_softmax(-1, Kind::Float)?;
                let (mut scores, chosen) = shares.f_topk(self.top, -1, true, true)?;
                if renormalize {
                    scores = scores.f_div(&scores.f_sum_dim_intlist(-1, true, None)?)?;
                }
                Ok((if rounded { scores.f_to_kind(kind)? } else { scores }, chosen))
            }
            Score::OfChosen => {
                let (logits, chosen) = logits.f_topk(self.top, -1, true, true)?;
                Ok((logits.f_softmax(-1, kind)?, chosen))
            }
        }
    }
}

impl Experts {
    fn run(&self, pass: &mut Pass<'_>, chosen: Chosen) -> Result<Tokens> {
        let Flat(fed) = pass.module(self.site, chosen, |pass, Chosen(Flat(hidden), Flat(chosen), Flat(scores))| {
            let products = pass.products.of_head();
            let inside = self.act.as_ref().map(|act| act.site).filter(|_| pass.wants(self.site).inside);
            if let (Tokens::Packed(hidden), Tokens::Packed(chosen), Tokens::Packed(scores), None) =
                (&hidden, &chosen, &scores, inside)
            {
                let sorted = self.sort(pass, &products, hidden, chosen)?;
                let gated = self.gate(&sorted.both)?;
                return Ok(Flat(Tokens::Packed(self.mix(pass, &products, &sorted, &gated, scores, hidden)?)));
            }
            let own = |pass: &Pass<'_>, tokens: &Tokens| {
                (0..pass.layout.parts.len()).map(|part| pass.segment(tokens, part)).collect::<Result<Vec<_>>>()
            };
            let (hidden, chosen, scores) = (own(pass, &hidden)?, own(pass, &chosen)?, own(pass, &scores)?);
            let mut sorted = Vec::with_capacity(hidden.len());
            for (part, (hidden, chosen)) in hidden.iter().zip(&chosen).enumerate() {
                sorted.push(pass.paid(part, || self.sort(pass, &products, hidden, chosen))?);
            }
            let gated = self.gate_parts(pass, &sorted)?;
            let mut parts = Vec::with_capacity(hidden.len());
            for (part, ((sorted, gated), (scores, hidden))) in
                sorted.iter().zip(&gated).zip(scores.iter().zip(&hidden)).enumerate()
            {
                parts.push(pass.paid(part, || self.mix(pass, &products, sorted, gated, scores, hidden))?);
            }
            Ok(Flat(pass.join(parts)?))
        })?;
        Ok(fed)
    }

    /// Multiplies each token by the first weight of the experts that it takes, and lays the products in the experts' order.
    fn sort(&self, pass: &Pass<'_>, products: &Products, hidden: &Tensor, chosen: &Tensor) -> Result<Sorted> {
        let width = hidden.size().last().copied().unwrap_or(0);
        let flat = hidden.f_reshape([-1, width])?;
        let top = chosen.size().last().copied().unwrap_or(1).max(1);
        // As Hugging Face's, which leaves those of one expert in the order that libtorch leaves them in.
        let (experts, order) = chosen.f_reshape([-1])?.f_sort(-1, false)?;
        let tokens: Vec<i64> = Vec::<i64>::try_from(&order)?.into_iter().map(|place| place / top).collect();
        let tokens = Tensor::f_from_slice(&tokens)?.f_to_device(order.device())?;
        let experts = Vec::<i64>::try_from(experts)?;
        let (mut groups, mut both, mut first) = (Vec::new(), Vec::new(), 0);
        for takers in experts.chunk_by(|left, right| left == right) {
            let (number, rows) = (takers.first().copied().unwrap_or(0), i64::try_from(takers.len()).unwrap_or(0));
            let at = usize::try_from(number).ok().and_then(|at| Some((at, self.each.get(at)?)));
            let (at, expert) = at.ok_or_else(|| {
                Raise::index_error(format!("there is no expert {number}: there are {}", self.each.len()))
            })?;
            let own = flat.f_index_select(0, &tokens.f_narrow(0, first, rows)?)?;
            both.push(product(products, &own, &expert.gate_up)?);
            groups.push((at, rows));
            first += rows;
            pass.rest();
        }
        Ok(Sorted { both: Tensor::f_cat(&both, 0)?, groups, order, top })
    }

    fn gate(&self, both: &Tensor) -> std::result::Result<Tensor, TchError> {
        match (&self.act, self.gate) {
            (Some(act), _) => {
                let [gate, up] = halves(both)?;
                act.compute(&gate)?.f_mul(&up)
            }
            (None, gate) => gate.compute(both),
        }
    }

    /// The same for each part, where somebody may look at the function's module.
    fn gate_parts(&self, pass: &mut Pass<'_>, sorted: &[Sorted]) -> Result<Vec<Tensor>> {
        let Some(act) = &self.act else {
            let own = |(part, sorted): (usize, &Sorted)| pass.paid(part, || Ok(self.gate(&sorted.both)?));
            return sorted.iter().enumerate().map(own).collect();
        };
        let gates = sorted.iter().map(|sorted| Ok(halves(&sorted.both)?[0].shallow_clone())).collect::<Result<_>>()?;
        let Parts(gates) = pass.module(act.site, Parts(gates), |pass, Parts(gates)| {
            let own = |(part, gate): (usize, &Tensor)| pass.paid(part, || Ok(act.compute(gate)?));
            Ok(Parts(gates.iter().enumerate().map(own).collect::<Result<_>>()?))
        })?;
        let own = |(part, (gate, sorted)): (usize, (&Tensor, &Sorted))| {
            pass.paid(part, || Ok(gate.f_mul(&halves(&sorted.both)?[1])?))
        };
        gates.iter().zip(sorted).enumerate().map(own).collect()
    }

    /// Multiplies by the experts' second weights, and adds up what each token chose.
    fn mix(
        &self,
        pass: &Pass<'_>,
        products: &Products,
        sorted: &Sorted,
        gated: &Tensor,
        scores: &Tensor,
        like: &Tensor,
    ) -> Result<Tensor> {
        let (mut outcomes, mut first) = (Vec::with_capacity(sorted.groups.len()), 0);
        for &(expert, rows) in &sorted.groups {
            let expert = self.each.get(expert).ok_or_else(|| Raise::runtime_error("an expert got lost"))?;
            outcomes.push(product(products, &gated.f_narrow(0, first, rows)?, &expert.down)?);
            first += rows;
            pass.rest();
        }
        let scores = scores.f_reshape([-1, 1])?.f_index_select(0, &sorted.order)?;
        let outcomes = Tensor::f_cat(&outcomes, 0)?.f_mul(&scores)?.f_to_kind(Kind::Float)?;
        // Back in the order of the tokens; then one after another, so that no bits depend on how many tokens there are.
        let outcomes = outcomes.f_index_select(0, &sorted.order.f_argsort(0, false)?)?;
        let outcomes = outcomes.f_view([-1, sorted.top, outcomes.size().last().copied().unwrap_or(0)])?;
        let mut all = outcomes.f_select(1, 0)?;
        for place in 1..sorted.top {
            all = all.f_add(&outcomes.f_select(1, place)?)?;
        }
        Ok(all.f_to_kind(like.f_kind()?)?.f_view(like.size().as_slice())?)
    }

    /// Returns a parameter of all experts, as checkpoints have it. `dense` shows a weight as a matrix.
    pub fn stacked(&self, name: &str, dense: impl Fn(&Weight) -> Option<Tensor>) -> Option<Tensor> {
        let own = |expert: &Expert| match name {
            "gate_up_proj" => dense(&expert.gate_up.0),
            "down_proj" => dense(&expert.down.0),
            "gate_up_proj_bias" => expert.gate_up.1.as_ref().map(Tensor::shallow_clone),
            "down_proj_bias" => expert.down.1.as_ref().map(Tensor::shallow_clone),
            _ => None,
        };
        let turned = self.biased && !name.ends_with("bias");
        let own = |expert| own(expert).and_then(|own| if turned { own.f_transpose(0, 1).ok() } else { Some(own) });
        Tensor::f_stack(&self.each.iter().map(own).collect::<Option<Vec<_>>>()?, 0).ok()
    }
}

/// What tokens' first products with experts are, by the experts' numbers.
struct Sorted {
    both: Tensor,
    /// The experts that are taken, and by how many.
    groups: Vec<(usize, i64)>,
    /// Where each row comes from: a token's number times `top`, and which of its experts.
    order: Tensor,
    top: i64,
}

fn product(
    products: &Products,
    input: &Tensor,
    (weight, bias): &(Rc<Weight>, Option<Tensor>),
) -> std::result::Result<Tensor, TchError> {
    differentiable(products.linear(input, weight, bias.as_ref())?)
}

impl Gate {
    /// Makes what the second product is given, where no module does.
    fn compute(self, both: &Tensor) -> std::result::Result<Tensor, TchError> {
        match self {
            Self::Plain(function, _) => {
                let [gate, up] = halves(both)?;
                function.compute(&gate)?.f_mul(&up)
            }
            Self::Clamped { alpha, limit } => {
                let every = |from: i64| both.f_slice(-1, from, None, 2);
                let options = (both.f_kind()?, both.device());
                let (most, least) = (number::full(limit, options)?, number::full(-limit, options)?);
                let gate = every(0)?.f_minimum(&most)?;
                let up = every(1)?.f_minimum(&most)?.f_maximum(&least)?;
                let glu = gate.f_mul(&evenly(&number::multiply(&gate, alpha)?, Tensor::f_sigmoid)?)?;
                number::add(&up, 1.0)?.f_mul(&glu)
            }
        }
    }
}

impl Flat {
    fn show(&self, pass: &Pass<'_>) -> Result<Vec<Tensor>> {
        let own = |part| Ok(pass.segment(&self.0, part)?.f_flatten(0, 1)?);
        (0..pass.layout.parts.len()).map(own).collect()
    }

    fn read(pass: &Pass<'_>, flow: Flow) -> Result<Self> {
        let mut parts = pass.tensors(flow)?;
        for (tensor, part) in parts.iter_mut().zip(&pass.layout.parts) {
            let mut size = vec![part.rows, part.length];
            size.extend(tensor.size().iter().skip(1));
            *tensor = tensor.f_view(size.as_slice())?;
        }
        Ok(Self(pass.gather(parts)?))
    }
}

/// Shows what comes of the model's parameters, one matrix for each part.
fn shown(pass: &Pass<'_>, flat: &Flat) -> Flow {
    // What does not fit the parts shows as nothing.
    learned(&flat.show(pass).unwrap_or_default())
}

impl Input for Flat {
    fn show(&self, pass: &Pass<'_>) -> Result<Arguments> {
        Ok(Inputs { args: vec![shown(pass, self)], kwargs: Vec::new() })
    }

    fn read(self, pass: &Pass<'_>, arguments: Arguments) -> Result<Self> {
        let [hidden] = given(arguments, &["hidden_states"])?;
        Self::read(pass, hidden)
    }
}

impl Output for Flat {
    fn show(&self, pass: &Pass<'_>) -> Flow {
        shown(pass, self)
    }

    fn read(pass: &Pass<'_>, flow: Flow) -> Result<Self> {
        Self::read(pass, flow)
    }
}

impl Input for Chosen {
    fn show(&self, pass: &Pass<'_>) -> Result<Arguments> {
        Ok(Inputs { args: [&self.0, &self.1, &self.2].map(|flat| shown(pass, flat)).into(), kwargs: Vec::new() })
    }

    fn read(self, pass: &Pass<'_>, arguments: Arguments) -> Result<Self> {
        let [hidden, chosen, scores] = given(arguments, &["hidden_states", "top_k_index", "top_k_weights"])?;
        Ok(Self(Flat::read(pass, hidden)?, Flat::read(pass, chosen)?, Flat::read(pass, scores)?))
    }
}

impl Output for Chosen {
    fn show(&self, pass: &Pass<'_>) -> Flow {
        Tree::Tuple([&self.0, &self.1, &self.2].map(|flat| shown(pass, flat)).into())
    }

    fn read(pass: &Pass<'_>, flow: Flow) -> Result<Self> {
        let Tree::Tuple(items) = flow else {
            return Err(Raise::type_error("a router returns a tuple of three, and its caller takes it apart").into());
        };
        let [logits, scores, chosen] = <[Flow; 3]>::try_from(items)
            .map_err(|items| Raise::value_error(format!("a router returns three values, not {}", items.len())))?;
        Ok(Self(Flat::read(pass, logits)?, Flat::read(pass, scores)?, Flat::read(pass, chosen)?))
    }
}

impl Fed {
    /// Holds what the block returns.
    pub fn held(self, pass: &Pass<'_>) -> Result<Held> {
        let hidden = Held::of_tokens(pass, &self.hidden)?;
        Ok(match self.scores {
            None => hidden,
            Some(scores) => Held::Tuple(vec![hidden, Held::Tensors(Flat(scores).show(pass)?)]),
        })
    }
}

impl Output for Fed {
    fn show(&self, pass: &Pass<'_>) -> Flow {
        match &self.scores {
            None => pass.leaf(&self.hidden),
            Some(scores) => Tree::Tuple(vec![pass.leaf(&self.hidden), shown(pass, &Flat(scores.share()))]),
        }
    }

    fn read(pass: &Pass<'_>, flow: Flow) -> Result<Self> {
        let (hidden, scores) = match flow {
            Tree::Tuple(items) => {
                let mut items = items.into_iter();
                (items.next().unwrap_or(Tree::None), items.next())
            }
            flow => (flow, None),
        };
        let scores = scores.filter(|scores| matches!(scores, Tree::Leaf(_)));
        let scores = scores.map(|scores| Flat::read(pass, scores)).transpose()?.map(|Flat(scores)| scores);
        Ok(Self { hidden: pass.tokens(hidden)?, scores })
    }
}

/// Takes as many arguments as there are names.
fn given<const N: usize>(arguments: Arguments, names: &'static [&'static str; N]) -> Result<[Flow; N]> {
    let mut bound = crate::call::bind(arguments, names)?;
    let mut take = |name: &str| {
        let at = bound.iter().position(|(bound, _)| *bound == name);
        at.map(|at| bound.swap_remove(at).1)
            .ok_or_else(|| Raise::type_error(format!("forward() missing 1 required positional argument: '{name}'")))
    };
    let mut all = Vec::with_capacity(N);
    for name in names {
        all.push(take(name)?);
    }
    <[Flow; N]>::try_from(all).map_err(|_| Raise::runtime_error("an argument got lost").into())
}
