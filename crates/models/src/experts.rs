//! Feed-forward blocks of which each token takes a few.
//!
//! Which rows an expert multiplies depends on what tokens are, others' too. So experts multiply by blocks of one size
//! ([`kernels::Rows::Fixed`]): a row's bits depend on nothing else.

use std::collections::BTreeMap;
use std::rc::Rc;

use engine::{Inputs, Packed, Site, Tree};
use interpreter::raise::Raise;
use kernels::{Products, Weight, number};
use tch::{Kind, TchError, Tensor};

use crate::family::{Gate, Score};
use crate::feed_forward::halves;
use crate::nn::{Linear, differentiable};
use crate::pass::{Arguments, Flow, Input, Output, Pass, Result};
use crate::tokens::Tokens;

/// A router and the experts that it chooses from.
pub struct Sparse {
    pub site: Site,
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
    pub fn run(&self, pass: &mut Pass<'_>, hidden: &Tokens) -> Result<Fed> {
        let returns_scores = self.returns_scores;
        pass.module(self.site, hidden.share(), |pass, hidden| {
            let Chosen(_, scores, chosen) = self.router.run(pass, &hidden)?;
            let shown = scores.0.share();
            let hidden = self.experts.run(pass, Chosen(Flat(hidden), chosen, scores))?;
            Ok(Fed { hidden, scores: returns_scores.then_some(shown) })
        })
    }

    /// Lists the modules in the order in which they run.
    pub fn order(&self) -> Vec<Site> {
        vec![self.router.site, self.experts.site]
    }
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
            let mix = |hidden: &Tensor, chosen: &Tensor, scores: &Tensor| self.mix(pass, &products, hidden, chosen, scores);
            Ok(Flat(match (&hidden, &chosen, &scores) {
                (Tokens::Packed(hidden), Tokens::Packed(chosen), Tokens::Packed(scores)) => {
                    Tokens::Packed(mix(hidden, chosen, scores)?)
                }
                _ => {
                    let mut parts = Vec::with_capacity(pass.layout.parts.len());
                    for part in 0..pass.layout.parts.len() {
                        let own = |tokens: &Tokens| pass.segment(tokens, part);
                        let (hidden, chosen, scores) = (own(&hidden)?, own(&chosen)?, own(&scores)?);
                        parts.push(pass.paid(part, || mix(&hidden, &chosen, &scores))?);
                    }
                    Tokens::Apart(parts)
                }
            }))
        })?;
        Ok(fed)
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

    /// Adds up what the chosen experts make of each token, by the experts' numbers.
    fn mix(
        &self,
        pass: &Pass<'_>,
        products: &Products,
        hidden: &Tensor,
        chosen: &Tensor,
        scores: &Tensor,
    ) -> Result<Tensor> {
        let (size, width) = (hidden.size(), hidden.size().last().copied().unwrap_or(0));
        let (kind, device) = (hidden.f_kind()?, hidden.device());
        let hidden = hidden.f_reshape([-1, width])?;
        let top = chosen.size().last().copied().unwrap_or(1).max(1);
        let scores = scores.f_reshape([-1, 1])?;
        let mut takers: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for (place, expert) in (0..).zip(Vec::<i64>::try_from(chosen.f_reshape([-1])?)?) {
            takers.entry(expert).or_default().push(place);
        }
        let mut all = hidden.f_zeros_like()?;
        for (number, places) in takers {
            let expert = usize::try_from(number).ok().and_then(|number| self.each.get(number));
            let Some(expert) = expert else {
                let count = self.each.len();
                return Err(Raise::index_error(format!("there is no expert {number}: there are {count}")).into());
            };
            let places = Tensor::f_from_slice(&places)?.f_to_device(device)?;
            let tokens = places.f_floor_divide_scalar(top)?;
            let own = expert.compute(products, self.gate, &hidden.f_index_select(0, &tokens)?)?;
            let own = own.f_mul(&scores.f_index_select(0, &places)?)?.f_to_kind(kind)?;
            all = all.f_index_add(0, &tokens, &own)?;
            pass.rest();
        }
        Ok(all.f_view(size.as_slice())?)
    }
}

impl Expert {
    fn compute(&self, products: &Products, gate: Gate, rows: &Tensor) -> std::result::Result<Tensor, TchError> {
        let product = |input: &Tensor, (weight, bias): &(Rc<Weight>, Option<Tensor>)| {
            differentiable(products.linear(input, weight, bias.as_ref())?)
        };
        let both = product(rows, &self.gate_up)?;
        let gated = match gate {
            Gate::Plain(function, _) => {
                let [gate, up] = halves(&both)?;
                function.compute(&gate)?.f_mul(&up)?
            }
            Gate::Clamped { alpha, limit } => {
                let every = |from: i64| both.f_slice(-1, from, None, 2);
                let (gate, up) = (every(0)?.f_clamp_max(limit)?, every(1)?.f_clamp(-limit, limit)?);
                let glu = gate.f_mul(&number::multiply(&gate, alpha)?.f_sigmoid()?)?;
                number::add(&up, 1.0)?.f_mul(&glu)?
            }
        };
        product(&gated, &self.down)
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
    let parts = flat.show(pass).unwrap_or_default();
    let learned = |part: &Tensor| torch::Tensor::new(part.shallow_clone()).learned();
    Tree::Leaf(Packed::Segments(parts.iter().map(learned).collect()))
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

impl Output for Fed {
    fn show(&self, pass: &Pass<'_>) -> Flow {
        match &self.scores {
            None => pass.leaf(&self.hidden),
            Some(scores) => Tree::Tuple(vec![pass.leaf(&self.hidden), shown(pass, &Flat(scores.share()))]),
        }
    }

    fn read(pass: &Pass<'_>, flow: Flow) -> Result<Self> {
        let hidden = match flow {
            Tree::Tuple(items) => items.into_iter().next().unwrap_or(Tree::None),
            flow => flow,
        };
        Ok(Self { hidden: pass.tokens(hidden)?, scores: None })
    }
}

/// Takes as many arguments as there are names.
fn given<const N: usize>(arguments: Arguments, names: &'static [&'static str; N]) -> Result<[Flow; N]> {
    let mut bound = crate::decoder::bind(arguments, names)?;
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
