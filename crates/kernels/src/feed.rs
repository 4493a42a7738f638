//! A feed-forward block whose matrices lie in pieces, as one order: what lies between its products stays where it is made.

use std::rc::Rc;

use tch::{TchError, Tensor};

use crate::apart::{Apart, added};
use crate::carried::{Sent, Wanted};
use crate::cut::Along;
use crate::order::What;
use crate::products::{BLOCK, Kernels, Products, Rows, rounded};
use crate::weight::Weight;

/// A weight, and a bias that its product adds.
pub type Biased<'a> = (&'a Weight, Option<&'a Tensor>);

/// A block `down(function(gate(x)) · up(x))`, or without `up`. The first ones are cut by their outputs, and `down` by its
/// inputs, which are the same.
pub struct Block<'a> {
    pub gate: Biased<'a>,
    pub up: Option<Biased<'a>>,
    pub down: Biased<'a>,
    /// The number by which all ranks know the function.
    pub function: i64,
}

/// Applies a function to each element, by its number.
pub type Apply<'a> = &'a dyn Fn(i64, &Tensor) -> Result<Tensor, TchError>;

/// The pieces that one rank has of a block.
pub(crate) struct Pieces<'a> {
    pub gate: Biased<'a>,
    pub up: Option<Biased<'a>>,
    pub down: &'a Weight,
    pub function: i64,
}

/// How an order has a block's function, the rule of rows, and which products add a bias.
pub(crate) struct Manner {
    pub rows: Rows,
    pub function: i64,
    pub biased: [bool; 2],
}

impl Products {
    /// Computes a block of rows of which nobody looks at the inside, without recording anything; `None` where its matrices do
    /// not lie so, or the rows do not fit.
    ///
    /// # Errors
    /// When there is no memory for it, or the ranks are lost.
    pub fn feed(&self, input: &Tensor, block: &Block<'_>, apply: Apply<'_>) -> Result<Option<Tensor>, TchError> {
        let Some(apart) = Pieced::of(block) else { return Ok(None) };
        let (gate, down) = (block.gate.0, block.down.0);
        let mut shape = input.size();
        let fits = shape.last() == Some(&gate.size()[1]) && input.numel() > 0;
        if !fits || input.kind() != gate.kind() || input.device() != gate.device() {
            return Ok(None);
        }
        let _unrecorded = tch::no_grad_guard();
        let flat = input.f_detach()?.f_reshape([-1, gate.size()[1]])?;
        let product = apart.compute(self.kernels(), &flat, block, self.rows(), apply)?;
        let count = flat.size().first().copied().unwrap_or(0);
        for (weight, bias) in [Some(block.gate), block.up, Some(block.down)].into_iter().flatten() {
            self.note(weight, bias.is_some(), count)?;
        }
        if let Some(last) = shape.last_mut() {
            *last = down.size()[0];
        }
        product.f_view(shape.as_slice()).map(Some)
    }

    /// Notes what names the bits of a product of so many rows.
    fn note(&self, weight: &Weight, biased: bool, rows: i64) -> Result<(), TchError> {
        let size = match self.rows() {
            Rows::Own => return Ok(()),
            Rows::Rounded => rounded(rows),
            Rows::Fixed => BLOCK,
        };
        self.meets(weight, self.kernels().class(weight, biased, size)?);
        Ok(())
    }
}

/// A block all of whose matrices lie in pieces of the same ranks.
struct Pieced<'a> {
    gate: &'a Apart,
    up: Option<&'a Apart>,
    down: &'a Apart,
}

impl<'a> Pieced<'a> {
    fn of(block: &Block<'a>) -> Option<Self> {
        let pieces = |(weight, _): Biased<'a>, along: Along| match weight.pieces() {
            Some((pieces, false)) if pieces.cut.along == along => Some(pieces),
            _ => None,
        };
        let (gate, down) = (pieces(block.gate, Along::Outputs)?, pieces(block.down, Along::Inputs)?);
        let up = match block.up {
            Some(up) => Some(pieces(up, Along::Outputs)?),
            None => None,
        };
        let same = |other: &Apart| Rc::ptr_eq(&gate.ranks, &other.ranks) && gate.kind() == other.kind();
        let fit = up.is_none_or(|up| same(up) && up.size() == gate.size()) && down.size()[1] == gate.size()[0];
        (same(down) && fit).then_some(Self { gate, up, down })
    }

    fn compute(
        &self,
        kernels: &Kernels,
        input: &Tensor,
        block: &Block<'_>,
        rows: Rows,
        apply: Apply<'_>,
    ) -> Result<Tensor, TchError> {
        let (gate, down) = (self.gate, self.down);
        let count = input.size().first().copied().unwrap_or(0);
        let own = |bias: Option<&Tensor>| bias.map(|bias| bias.f_narrow(0, 0, gate.cut.piece(0)[0])).transpose();
        let biases = (own(block.gate.1)?, own(block.up.and_then(|(_, bias)| bias))?);
        let mut others = Vec::with_capacity(gate.ranks.count());
        for _ in 1..gate.ranks.count() {
            others.push(gate.ranks.room(&[count, down.size()[0]], down.kind(), down.device())?);
        }
        let given = gate.ranks.carry(input, gate.device())?;
        let manner = Manner { rows, function: block.function, biased: [biases.0.is_some(), biases.1.is_some()] };
        let up = self.up.map_or(0, |up| up.id);
        let order = (What::Feed, gate.id, [count, manner.number(), up.cast_signed(), down.id.cast_signed()]);
        let sizes = [count, 3, gate.size()[0], gate.size()[1]].map(|size| u64::try_from(size).unwrap_or(0));
        let mut answers: Vec<Wanted<'_>> = others.iter_mut().map(Wanted::Tensor).collect();
        let pieces = Pieces {
            gate: (&gate.own, biases.0.as_ref()),
            up: self.up.map(|up| (&up.own, biases.1.as_ref())),
            down: &down.own,
            function: block.function,
        };
        let own = gate.ranks.demand(order, &Sent::Tensor(&given), &mut answers, sizes.iter().product(), || {
            pieces.compute(kernels, input, rows, apply)
        })??;
        let mut parts = vec![own];
        for other in others {
            parts.push(other.tensor().f_to_device(down.device())?);
        }
        added(&parts, block.down.1)
    }
}

impl Pieces<'_> {
    /// Computes a rank's part of the sums that come out.
    pub fn compute(&self, kernels: &Kernels, input: &Tensor, rows: Rows, apply: Apply<'_>) -> Result<Tensor, TchError> {
        let product = |(weight, bias): Biased<'_>| Ok::<_, TchError>(kernels.linear(input, weight, bias, rows)?.0);
        let inner = apply(self.function, &product(self.gate)?)?;
        let inner = match self.up {
            Some(up) => inner.f_mul(&product(up)?)?,
            None => inner,
        };
        Ok(kernels.linear(&inner, self.down, None, rows)?.0)
    }
}

impl Manner {
    /// Returns what an order says of it.
    pub fn number(&self) -> i64 {
        let [gate, up] = self.biased.map(i64::from);
        self.rows.number() | gate << 8 | up << 9 | self.function << 16
    }

    pub fn of(number: i64) -> Option<Self> {
        let biased = [number >> 8 & 1 == 1, number >> 9 & 1 == 1];
        Some(Self { rows: Rows::of(number & 0xff)?, function: number >> 16, biased })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manner_comes_back_as_it_was_written() {
        for rows in [Rows::Own, Rows::Rounded, Rows::Fixed] {
            for biased in [[false, false], [true, false], [false, true], [true, true]] {
                for function in [0, 7, 1 << 20] {
                    let found = Manner::of(Manner { rows, function, biased }.number()).unwrap();
                    assert_eq!((found.rows, found.function, found.biased), (rows, function, biased));
                }
            }
        }
        assert!(Manner::of(0xff).is_none());
    }
}
