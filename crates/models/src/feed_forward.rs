//! Feed-forward blocks.

use std::rc::Rc;

use engine::Site;
use kernels::Products;
use tch::{TchError, Tensor};

use crate::nn::{Activation, Dropout, Linear, in_blocks};
use crate::pass::{Pass, Result};
use crate::tokens::Tokens;

/// A block through which every token goes.
pub struct FeedForward {
    pub site: Site,
    /// What its forward calls what it is given.
    pub argument: &'static str,
    pub way: Way,
}

/// See [`crate::family::Way`].
pub enum Way {
    Gated { gate: Rc<Linear>, up: Rc<Linear>, down: Rc<Linear>, act: Rc<Activation> },
    GatedTogether { gate_up: Rc<Linear>, down: Rc<Linear>, act: Rc<Activation> },
    Plain { input: Rc<Linear>, act: Rc<Activation>, output: Rc<Linear>, dropout: Option<Rc<Dropout>> },
}

impl FeedForward {
    pub fn run(&self, pass: &mut Pass<'_>, hidden: &Tokens) -> Result<Tokens> {
        pass.module(self.site, hidden.share(), |pass, hidden| match &hidden {
            Tokens::Packed(rows) if !pass.wants(self.site).inside => {
                let compute = |rows: &Tensor| self.compute(&pass.products, rows);
                Ok(Tokens::Packed(in_blocks(rows, || pass.rest(), compute)?))
            }
            _ => self.step_by_step(pass, &hidden),
        })
    }

    /// Lists the modules in the order in which they run.
    pub fn order(&self) -> Vec<Site> {
        match &self.way {
            Way::Gated { gate, up, down, act } => vec![gate.site, act.site, up.site, down.site],
            Way::GatedTogether { gate_up, down, act } => vec![gate_up.site, act.site, down.site],
            Way::Plain { input, act, output, dropout } => {
                [input.site, act.site, output.site].into_iter().chain(dropout.as_ref().map(|own| own.site)).collect()
            }
        }
    }

    /// Computes some rows at once, where nobody looks inside.
    fn compute(&self, products: &Products, rows: &Tensor) -> std::result::Result<Tensor, TchError> {
        match &self.way {
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
                let gated = gate.run(pass, hidden)?;
                let gated = act.run(pass, &gated)?;
                let up = up.run(pass, hidden)?;
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

/// Cuts the last dimension in two.
pub fn halves(both: &Tensor) -> std::result::Result<[Tensor; 2], TchError> {
    let width = both.size().last().copied().unwrap_or(0) / 2;
    Ok([both.f_narrow(-1, 0, width)?, both.f_narrow(-1, width, width)?])
}
