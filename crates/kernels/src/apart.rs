//! A matrix in pieces, one a rank.

use std::ops::Range;
use std::rc::Rc;

use tch::{Device, Kind, TchError, Tensor};

use crate::carried::{Carried, Sent, Wanted};
use crate::cut::{Along, Cut};
use crate::order::{Keep, What};
use crate::products::{Kernels, Rows};
use crate::ranks::{NotDone, Ranks};
use crate::weight::{Given, Weight};

/// A matrix whose pieces lie in the memories of ranks. The leading rank has the first, and whatever is done with the whole
/// is done by all at once, each with its own piece and by its own kernels.
pub struct Apart {
    pub(crate) ranks: Rc<Ranks>,
    pub(crate) id: u64,
    pub(crate) cut: Cut,
    pub(crate) own: Weight,
}

/// Which product of a matrix in pieces is meant.
#[derive(Clone, Copy)]
pub struct Way {
    pub rows: Rows,
    /// By the matrix whose rows are this one's columns.
    pub turned: bool,
}

impl Apart {
    /// Loads a matrix: each rank reads its piece, `request` telling it where that lies, and `own` the leading rank's.
    ///
    /// # Errors
    /// What `own` returns, and when a rank cannot do the same.
    pub fn load<E: From<TchError> + From<NotDone>>(
        ranks: &Rc<Ranks>,
        cut: Cut,
        keep: Keep,
        request: &[u8],
        own: impl FnOnce(Range<i64>) -> Result<Given, E>,
    ) -> Result<Self, E> {
        let id = ranks.new_id();
        let numbers = [cut.size[0], cut.size[1], along(cut.along), keep.number()];
        let mut none = ranks.nothing();
        let work = u64::try_from(cut.size.iter().product::<i64>()).unwrap_or(0);
        // What is read is no multiplication, and may take as long as a hundred.
        let read =
            ranks.ask((What::Load, id, numbers), &Sent::Bytes(request), &mut none, work.saturating_mul(100), || {
                own(cut.of(0))
            })?;
        let own = match read.and_then(|given| kept(given, cut.piece(0), keep).map_err(E::from)) {
            Ok(own) => own,
            Err(error) => {
                ranks.forget(id);
                return Err(error);
            }
        };
        Ok(Self { ranks: Rc::clone(ranks), id, cut, own })
    }

    /// Gives each rank its part of a bias, which products add from then on where they are asked to.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn set_bias(&self, bias: &Tensor) -> Result<(), TchError> {
        if bias.size() != [self.cut.size[0]] || bias.f_kind()? != self.kind() {
            return Err(TchError::Shape(format!("a bias of {:?} does not fit {:?}", bias.size(), self.cut.size)));
        }
        // The leading rank adds it to sums.
        if self.cut.along == Along::Inputs {
            return Ok(());
        }
        let mut none = self.ranks.nothing();
        let given = self.ranks.carry(bias, self.device())?;
        self.ranks.demand((What::Bias, self.id, [0; 4]), &Sent::Tensor(&given), &mut none, 0, || ())
    }

    /// Returns `[out, in]` of the whole.
    #[must_use]
    pub fn size(&self) -> [i64; 2] {
        self.cut.size
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        self.own.kind()
    }

    #[must_use]
    pub fn device(&self) -> Device {
        self.own.device()
    }

    /// Multiplies `[rows, in]`, and adds the bias that was set.
    ///
    /// # Errors
    /// When there is no memory for the product, or the ranks are lost.
    pub(crate) fn multiply(
        &self,
        kernels: &Kernels,
        input: &Tensor,
        bias: Option<&Tensor>,
        way: Way,
    ) -> Result<Tensor, TchError> {
        let rows = input.size().first().copied().unwrap_or(0);
        let [outputs, inputs] = self.cut.size;
        let sums = (self.cut.along == Along::Inputs) != way.turned;
        let biased = bias.is_some() && !sums;
        let width = if way.turned { inputs } else { outputs };
        let mut others = Vec::with_capacity(self.ranks.count());
        for rank in 1..self.ranks.count() {
            let own = self.cut.of(rank);
            let size = [rows, if sums { width } else { own.end - own.start }];
            others.push(self.room(&size)?);
        }
        let own_bias = match bias {
            Some(bias) if biased => Some(bias.f_narrow(0, 0, self.cut.piece(0)[0])?),
            _ => None,
        };
        let given = self.ranks.carry(input, self.device())?;
        let order = (What::Multiply, self.id, [rows, way.rows.number(), i64::from(way.turned), i64::from(biased)]);
        let work = [rows, outputs, inputs].map(|size| u64::try_from(size).unwrap_or(0)).iter().product();
        let mut answers: Vec<Wanted<'_>> = others.iter_mut().map(Wanted::Tensor).collect();
        let own = self.ranks.demand(order, &Sent::Tensor(&given), &mut answers, work, || {
            piece_product(kernels, &self.own, (&self.cut, 0), input, own_bias.as_ref(), way)
        })??;
        let device = self.device();
        let mut pieces = vec![own];
        for other in others {
            pieces.push(other.tensor().f_to_device(device)?);
        }
        if !sums {
            return Tensor::f_cat(&pieces, 1);
        }
        added(&pieces, bias)
    }

    /// Returns rows of the whole.
    ///
    /// # Errors
    /// When there are no such, or no memory for them.
    pub(crate) fn rows(&self, first: i64, count: i64) -> Result<Tensor, TchError> {
        let wanted = first..first.saturating_add(count);
        if first < 0 || count < 0 || wanted.end > self.cut.size[0] {
            return Err(TchError::Shape(format!("rows {wanted:?} are not all in {:?}", self.cut.size)));
        }
        let mut others = Vec::with_capacity(self.ranks.count());
        for rank in 1..self.ranks.count() {
            let own = self.cut.rows(rank, &wanted);
            others.push(self.room(&[own.end - own.start, self.cut.piece(rank)[1]])?);
        }
        let mut answers: Vec<Wanted<'_>> = others.iter_mut().map(Wanted::Tensor).collect();
        let order = (What::Rows, self.id, [first, count, 0, 0]);
        let work = u64::try_from(self.cut.size.iter().product::<i64>()).unwrap_or(0);
        let own = self.ranks.demand(order, &Sent::Bytes(&[]), &mut answers, work, || {
            piece_rows(&self.own, (&self.cut, 0), &wanted)
        })??;
        let mut pieces = vec![own];
        for other in others {
            pieces.push(other.tensor().f_to_device(self.device())?);
        }
        Tensor::f_cat(&pieces, if self.cut.along == Along::Outputs { 0 } else { 1 })
    }

    /// Returns the rows that ids name, `[…, in]`.
    ///
    /// # Errors
    /// When there are no such, or no memory for them.
    pub(crate) fn select(&self, ids: &Tensor) -> Result<Tensor, TchError> {
        let numbers = Vec::<i64>::try_from(ids.f_to_kind(Kind::Int64)?.f_to_device(Device::Cpu)?.f_reshape([-1])?)?;
        let [entries, width] = self.cut.size;
        if self.cut.along == Along::Inputs || numbers.iter().any(|id| !(0..entries).contains(id)) {
            return Err(TchError::Torch("index out of range in self".into()));
        }
        let count = numbers.len();
        // Which of the ids a rank has, by their places.
        let places = |rank: usize| -> Vec<i64> {
            let own = self.cut.of(rank);
            let places = (0_i64..).zip(&numbers).filter(|(_, id)| own.contains(id));
            places.map(|(place, _)| place).collect()
        };
        let mut others = Vec::with_capacity(self.ranks.count());
        for rank in 1..self.ranks.count() {
            let own = i64::try_from(places(rank).len()).unwrap_or(0);
            others.push(self.room(&[own, width])?);
        }
        let mut all = Tensor::f_empty([i64::try_from(count).unwrap_or(0), width], (self.kind(), self.device()))?;
        let payload: Vec<u8> = numbers.iter().flat_map(|id| id.to_le_bytes()).collect();
        let mut answers: Vec<Wanted<'_>> = others.iter_mut().map(Wanted::Tensor).collect();
        let order = (What::Select, self.id, [i64::try_from(count).unwrap_or(0), 0, 0, 0]);
        let own = self.ranks.demand(order, &Sent::Bytes(&payload), &mut answers, 0, || {
            piece_select(&self.own, (&self.cut, 0), &numbers)
        })??;
        for (rank, piece) in std::iter::once(own).chain(others.into_iter().map(Carried::tensor)).enumerate() {
            let places = Tensor::f_from_slice(&places(rank))?.f_to_device(self.device())?;
            let _ = all.f_index_copy_(0, &places, &piece.f_to_device(self.device())?)?;
        }
        let mut size = ids.size();
        size.push(width);
        all.f_view(size.as_slice())
    }

    /// Names the bits of products of so many rows. Odd where some rank's rows have several.
    ///
    /// # Errors
    /// When a probe cannot be computed, or the ranks are lost.
    pub(crate) fn class(&self, kernels: &Kernels, rows: i64, biased: bool, turned: bool) -> Result<Vec<u64>, TchError> {
        let biased = biased && (self.cut.along == Along::Outputs) != turned;
        let mut others = vec![[0; 8]; self.ranks.count() - 1];
        let mut answers: Vec<Wanted<'_>> = others.iter_mut().map(|other| Wanted::Bytes(other)).collect();
        let order = (What::Class, self.id, [rows, i64::from(turned), i64::from(biased), 0]);
        let own = self.ranks.demand(order, &Sent::Bytes(&[]), &mut answers, self.probed(rows), || {
            piece_class(kernels, &self.own, rows, biased, turned)
        })??;
        Ok(std::iter::once(own).chain(others.into_iter().map(u64::from_le_bytes)).collect())
    }

    /// Has every rank look into its kernels for up to so many rows.
    ///
    /// # Errors
    /// When a probe cannot be computed, or the ranks are lost.
    pub(crate) fn meet(&self, kernels: &Kernels, biased: bool, most: i64) -> Result<(), TchError> {
        let biased = biased && self.cut.along == Along::Outputs;
        let mut none = self.ranks.nothing();
        let order = (What::Meet, self.id, [most, i64::from(biased), 0, 0]);
        let work = self.probed(most).saturating_mul(100);
        self.ranks.demand(order, &Sent::Bytes(&[]), &mut none, work, || kernels.meet(&self.own, biased, most))?
    }

    /// Makes room for what a rank sends.
    fn room(&self, size: &[i64]) -> Result<Carried, TchError> {
        self.ranks.room(size, self.kind(), self.device())
    }

    fn probed(&self, rows: i64) -> u64 {
        let size = u64::try_from(self.cut.size.iter().product::<i64>()).unwrap_or(0);
        size.saturating_mul(u64::try_from(rows).unwrap_or(0))
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.ranks.forget(self.id);
    }
}

/// Returns the number that an order has for a side.
fn along(along: Along) -> i64 {
    i64::from(along == Along::Inputs)
}

/// Takes a rank's piece over, to be kept as it is asked.
pub(crate) fn kept(given: Given, size: [i64; 2], keep: Keep) -> Result<Weight, TchError> {
    let found = given.size()?;
    if found != size {
        return Err(TchError::Shape(format!("a piece of {found:?} was read where one of {size:?} was to be")));
    }
    Weight::kept(given, keep)
}

/// Multiplies by a rank's piece: its outputs of all rows, or its part of their sums.
pub(crate) fn piece_product(
    kernels: &Kernels,
    piece: &Weight,
    (cut, rank): (&Cut, usize),
    input: &Tensor,
    bias: Option<&Tensor>,
    way: Way,
) -> Result<Tensor, TchError> {
    let sums = (cut.along == Along::Inputs) != way.turned;
    let own = cut.of(rank);
    let input = if sums { input.f_narrow(1, own.start, own.end - own.start)? } else { input.shallow_clone() };
    let product = match way.turned {
        true => kernels.linear(&input, &*piece.transposed()?, bias, way.rows)?,
        false => kernels.linear(&input, piece, bias, way.rows)?,
    };
    Ok(product.0)
}

pub(crate) fn piece_rows(piece: &Weight, (cut, rank): (&Cut, usize), wanted: &Range<i64>) -> Result<Tensor, TchError> {
    let own = cut.rows(rank, wanted);
    let first = match cut.along {
        Along::Outputs => own.start - cut.of(rank).start,
        Along::Inputs => own.start,
    };
    if own.is_empty() {
        return Tensor::f_empty([0, piece.size()[1]], (piece.kind(), piece.device()));
    }
    piece.rows(first, own.end - own.start)
}

pub(crate) fn piece_select(piece: &Weight, (cut, rank): (&Cut, usize), ids: &[i64]) -> Result<Tensor, TchError> {
    let own = cut.of(rank);
    let ids: Vec<i64> = ids.iter().filter(|id| own.contains(id)).map(|id| id - own.start).collect();
    if ids.is_empty() {
        return Tensor::f_empty([0, piece.size()[1]], (piece.kind(), piece.device()));
    }
    piece.select(&Tensor::f_from_slice(&ids)?.f_to_device(piece.device())?)
}

pub(crate) fn piece_class(
    kernels: &Kernels,
    piece: &Weight,
    rows: i64,
    biased: bool,
    turned: bool,
) -> Result<u64, TchError> {
    if turned { kernels.class(&*piece.transposed()?, biased, rows) } else { kernels.class(piece, biased, rows) }
}

/// Adds up what ranks made, in their order, and a bias at last; in float32 where they made less.
pub(crate) fn added(pieces: &[Tensor], bias: Option<&Tensor>) -> Result<Tensor, TchError> {
    let kind = pieces.first().map_or(Ok(Kind::Float), Tensor::f_kind)?;
    let wide = if crate::weight::is_half(kind) { Kind::Float } else { kind };
    let mut pieces = pieces.iter();
    let mut sum = pieces.next().ok_or_else(|| TchError::Shape("there is nothing to add up".into()))?.f_to_kind(wide)?;
    for piece in pieces {
        sum = sum.f_add(&piece.f_to_kind(wide)?)?;
    }
    if let Some(bias) = bias {
        sum = sum.f_add(&bias.f_to_kind(wide)?)?;
    }
    sum.f_to_kind(kind)
}
