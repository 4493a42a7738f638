//! Feed-forward blocks.

use std::rc::Rc;

use engine::{Site, Tree};
use interpreter::raise::Raise;
use kernels::{Biased, Block, Products};
use tch::{TchError, Tensor};

use crate::joint::{Joint, Once};
use crate::leaves::Leaves;
use crate::nn::{Activation, Dropout, Function, Linear, in_blocks};
use crate::pass::{Pass, Result};
use crate::source::{self, Argument, Forward, Given, Held, Operations};
use crate::tokens::Tokens;

/// A block through which every token goes.
pub struct FeedForward {
    pub site: Site,
    /// What its forward calls what it is given.
    pub argument: &'static str,
    pub way: Way,
    pub operations: Operations,
    pub leaves: Leaves,
}

/// See [`crate::family::Way`].
pub enum Way {
    Gated { gate: Rc<Linear>, up: Rc<Linear>, down: Rc<Linear>, act: Rc<Activation> },
    GatedTogether { gate_up: Rc<Linear>, down: Rc<Linear>, act: Rc<Activation> },
    Plain { input: Rc<Linear>, act: Rc<Activation>, output: Rc<Linear>, dropout: Option<Rc<Dropout>> },
}

impl Way {
    /// Returns what ranks that hold pieces of the matrices can compute in one go.
    fn block(&self) -> Option<Block<'_>> {
        fn biased(linear: &Linear) -> Biased<'_> {
            (&linear.weight, linear.bias.as_ref())
        }
        let (gate, up, down, act) = match self {
            Self::Gated { gate, up, down, act } => (gate, Some(up), down, act),
            Self::Plain { input, act, output, .. } => (input, None, output, act),
            Self::GatedTogether { .. } => return None,
        };
        let up = up.map(|up| biased(up));
        Some(Block { gate: biased(gate), up, down: biased(down), function: act.function.number() })
    }
}

impl FeedForward {
    pub fn run(&self, pass: &mut Pass<'_>, hidden: &Tokens) -> Result<Tokens> {
        pass.module(self.site, hidden.share(), |pass, hidden| match &hidden {
            _ if pass.wants(self.site).operations => {
                let given = vec![(self.argument, Held::of_tokens(pass, &hidden)?)];
                let mut returned = source::run(&self.operations, pass, self, given, &|_| true)?;
                returned.pop().unwrap_or(Held::NONE).into_tokens(pass)
            }
            Tokens::Packed(rows) if !pass.wants(self.site).inside => {
                let compute = |rows: &Tensor| self.compute(&pass.products, rows);
                Ok(Tokens::Packed(in_blocks(rows, || pass.rest(), compute)?))
            }
            _ => self.step_by_step(pass, &hidden),
        })
    }

    /// Lists operations and modules in the order in which they run.
    pub fn order(&self) -> Vec<Site> {
        self.operations.order()
    }

    /// Computes some rows at once, where nobody looks inside.
    fn compute(&self, products: &Products, rows: &Tensor) -> std::result::Result<Tensor, TchError> {
        if let Some(block) = self.way.block().filter(|_| !libtorch::recording())
            && let Some(fed) = products.feed(rows, &block, &Function::apply_numbered)?
        {
            return Ok(fed);
        }
        match &self.way {
            Way::Gated { gate, up, down, act }
                if let Some(joint) = Joint::of_all(&[gate, up]).filter(|_| !libtorch::recording()) =>
            {
                let [gate, up] = halves(&joint.product(products, rows)?)?;
                down.compute(products, &act.compute(&gate)?.f_mul(&up)?)
            }
            Way::Gated { gate, up, down, act } => {
                let gated = act.compute(&gate.compute(products, rows)?)?;
                down.compute(products, &gated.f_mul(&up.compute(products, rows)?)?)
            }
            Way::GatedTogether { gate_up, down, act } => {
                let [gate, up] = halves(&gate_up.compute(products, rows)?)?;
                down.compute(products, &up.f_mul(&act.compute(&gate)?)?)
            }
            Way::Plain { input, act, output, .. } => {
                output.compute(products, &act.compute(&input.compute(products, rows)?)?)
            }
        }
    }

    fn step_by_step(&self, pass: &mut Pass<'_>, hidden: &Tokens) -> Result<Tokens> {
        match &self.way {
            Way::Gated { gate, up, down, act } => {
                let once = Once::new(pass, &[gate, up], hidden)?;
                let gated = once.run(pass, gate, hidden)?;
                let gated = act.run(pass, &gated)?;
                let up = once.run(pass, up, hidden)?;
                let gated = pass.both(&gated, &up, Tensor::f_mul)?;
                down.run(pass, &gated)
            }
            Way::GatedTogether { gate_up, down, act } => {
                let both = gate_up.run(pass, hidden)?;
                let gate = pass.each(&both, |both| Ok(halves(both)?[0].shallow_clone()))?;
                let gate = act.run(pass, &gate)?;
                let gated = pass.both(&both, &gate, |both, gate| halves(both)?[1].f_mul(gate))?;
                down.run(pass, &gated)
            }
            Way::Plain { input, act, output, dropout } => {
                let inner = input.run(pass, hidden)?;
                let inner = act.run(pass, &inner)?;
                let hidden = output.run(pass, &inner)?;
                dropout.as_ref().map_or(Ok(hidden.share()), |dropout| dropout.run(pass, &hidden))
            }
        }
    }
}

impl Forward for FeedForward {
    fn call(&self, _: &Pass<'_>, name: &str, operands: &[Held]) -> Result<Given> {
        Ok(match name {
            "chunk" => Given {
                args: vec![Argument::Other(Tree::Int(2))],
                kwargs: vec![("dim", Argument::Other(Tree::Int(-1)))],
            },
            _ => Given::plain(operands.len()),
        })
    }

    fn compute(&self, pass: &mut Pass<'_>, name: &str, operands: &[Held]) -> Result<Held> {
        let input = operands.first().unwrap_or(&Held::NONE);
        if name == "chunk" {
            let half = |at: usize| input.map(pass, |_, both| Ok(halves(both)?[at].shallow_clone()));
            return Ok(Held::Tuple(vec![half(0)?, half(1)?]));
        }
        let unknown = || Raise::runtime_error(format!("a feed-forward block has no {name}"));
        self.leaves.run(pass, name, input).ok_or_else(unknown)?
    }
}

/// Cuts the last dimension in two.
pub fn halves(both: &Tensor) -> std::result::Result<[Tensor; 2], TchError> {
    let width = both.size().last().copied().unwrap_or(0) / 2;
    Ok([both.f_narrow(-1, 0, width)?, both.f_narrow(-1, width, width)?])
}
