//! A rank that does as it is told.

use std::collections::HashMap;
use std::ops::Range;

use collectives::{Group, Lost};
use tch::{Device, TchError, Tensor};

use crate::apart::{Way, kept, piece_class, piece_product, piece_rows, piece_select};
use crate::carried::{Carried, Sent, take};
use crate::cut::{Along, Cut};
use crate::feed::{Apply, Manner, Pieces};
use crate::order::{Answer, Keep, Order, What};
use crate::products::{Kernels, Rows};
use crate::ranks::shortened;
use crate::scrub::{Digests, Memory};
use crate::weight::{Given, Weight};

/// A piece that a rank is asked to read.
pub struct Asked<'a> {
    /// What the leading rank tells about the matrix.
    pub request: &'a [u8],
    /// Which of its rows, or columns, are meant.
    pub own: Range<i64>,
}

/// Carries out what the leading rank of a group orders, until it ends the group. It decides nothing: all it has are pieces
/// of matrices, which `load` reads to a device, and what it is asked is answered in the order in which it comes. `apply` knows the
/// functions of feed-forward blocks.
///
/// # Errors
/// When the group is lost.
pub fn follow(
    group: &dyn Group,
    device: Device,
    load: &mut dyn FnMut(&Asked<'_>) -> Result<Given, String>,
    apply: Apply<'_>,
) -> Result<(), Lost> {
    let pieces = HashMap::new();
    let mut follower = Follower { group, device, load, apply, pieces, kernels: Kernels::default(), digests: None };
    while follower.step()? {}
    Ok(())
}

struct Follower<'a> {
    group: &'a dyn Group,
    device: Device,
    load: &'a mut dyn FnMut(&Asked<'_>) -> Result<Given, String>,
    apply: Apply<'a>,
    pieces: HashMap<u64, Piece>,
    kernels: Kernels,
    /// What its pieces were, once that was asked for.
    digests: Option<Digests>,
}

struct Piece {
    weight: Weight,
    cut: Cut,
    /// The piece's own.
    bias: Option<Tensor>,
}

/// What is answered.
enum Done {
    Nothing,
    Number(u64),
    Tensor(Tensor),
}

impl Follower<'_> {
    /// Carries out the next order; `false` if that is to end.
    fn step(&mut self) -> Result<bool, Lost> {
        let mut head = [0; Order::BYTES];
        self.group.receive(0, &mut head, None)?;
        let order = Order::read(&head).ok_or(Lost::Broken(0))?;
        if order.what.brings_tensor() {
            let tensor = take(self.group, 0, order.bytes, self.device)?.map(Carried::tensor);
            let done = tensor.and_then(|tensor| self.compute(&order, &tensor)).map_err(|error| error.to_string());
            return self.answer(&order, done);
        }
        let mut payload = vec![0; usize::try_from(order.bytes).map_err(|_| Lost::Broken(0))?];
        self.group.receive(0, &mut payload, None)?;
        let done = match order.what {
            What::End => return Ok(false),
            What::Forget => {
                // What is dropped is looked at no longer.
                self.digests = None;
                self.pieces.remove(&order.id);
                return Ok(true);
            }
            What::Load => self.load(&order, &payload),
            What::Learn => self.learn().map_err(|error| error.to_string()),
            What::Compare => self.compare(order.numbers[0]).map_err(|error| error.to_string()),
            _ => self.carry_out(&order, &payload).map_err(|error| error.to_string()),
        };
        self.answer(&order, done)
    }

    /// Answers an order; always `true`.
    fn answer(&self, order: &Order, done: Result<Done, String>) -> Result<bool, Lost> {
        let made = done.and_then(|done| match done {
            Done::Tensor(tensor) => {
                let carried = Carried::of(&tensor, self.group, self.device).map_err(|error| error.to_string())?;
                Ok((Some(carried), Vec::new()))
            }
            Done::Number(number) => Ok((None, number.to_le_bytes().to_vec())),
            Done::Nothing => Ok((None, Vec::new())),
        });
        let (refused, sent) = match &made {
            Ok((Some(carried), _)) => (false, Sent::Tensor(carried)),
            Ok((None, bytes)) => (false, Sent::Bytes(bytes)),
            Err(why) => (true, Sent::Bytes(shortened(why).as_bytes())),
        };
        let answer = Answer { number: order.number, refused, bytes: sent.length() as u64 };
        self.group.send(&answer.write(), None)?;
        sent.send(self.group, None)?;
        Ok(true)
    }

    fn load(&mut self, order: &Order, request: &[u8]) -> Result<Done, String> {
        let [outputs, inputs, along, keep] = order.numbers;
        let along = if along == 0 { Along::Outputs } else { Along::Inputs };
        let cut = Cut::new([outputs, inputs], along, self.group.size()).ok_or("the matrix has no piece for it")?;
        let keep = Keep::of(keep).ok_or("it knows no such way to keep a matrix")?;
        let given = (self.load)(&Asked { request, own: cut.of(self.group.rank()) })?;
        let weight = kept(given, cut.piece(self.group.rank()), keep).map_err(|error| error.to_string())?;
        self.pieces.insert(order.id, Piece { weight, cut, bias: None });
        Ok(Done::Nothing)
    }

    fn learn(&mut self) -> Result<Done, TchError> {
        let mut all = Vec::new();
        for Piece { weight, bias, .. } in self.pieces.values() {
            all.extend(weight.memory()?);
            all.extend(bias.as_ref().map(Memory::of).transpose()?.flatten());
        }
        let digests = self.digests.insert(Digests::learn(all)?);
        Ok(Done::Number(digests.slices() as u64))
    }

    fn compare(&self, slice: i64) -> Result<Done, TchError> {
        let slice = usize::try_from(slice).unwrap_or(usize::MAX);
        let same = self.digests.as_ref().map_or(Ok(true), |digests| digests.is_same(slice))?;
        Ok(Done::Number(u64::from(same)))
    }

    fn feed(&self, order: &Order, payload: &Tensor) -> Result<Done, TchError> {
        let [count, manner, up, down] = order.numbers;
        let piece = |id: u64| {
            let missing = || TchError::Shape(format!("it has no piece of matrix {id}"));
            self.pieces.get(&id).ok_or_else(missing)
        };
        let manner = Manner::of(manner).ok_or_else(|| TchError::Shape("it knows no such way to compute it".into()))?;
        let biased = |piece: &'_ Piece, biased: bool| match (&piece.bias, biased) {
            (_, false) => Ok(None),
            (Some(bias), true) => Ok(Some(bias.shallow_clone())),
            (None, true) => Err(TchError::Shape("it has no bias that is to be added".into())),
        };
        let (gate, down) = (piece(order.id)?, piece(down.cast_unsigned())?);
        let up = if up == 0 { None } else { Some(piece(up.cast_unsigned())?) };
        let gate_bias = biased(gate, manner.biased[0])?;
        let up_bias = up.map(|up| biased(up, manner.biased[1])).transpose()?.flatten();
        let input = tensor(payload, &[count, gate.cut.size[1]], &gate.weight)?;
        let pieces = Pieces {
            gate: (&gate.weight, gate_bias.as_ref()),
            up: up.map(|up| (&up.weight, up_bias.as_ref())),
            down: &down.weight,
            function: manner.function,
        };
        pieces.compute(&self.kernels, &input, manner.rows, self.apply).map(Done::Tensor)
    }

    /// Computes with a tensor that came with an order, of which only the bytes are known.
    fn compute(&mut self, order: &Order, payload: &Tensor) -> Result<Done, TchError> {
        if order.what == What::Feed {
            return self.feed(order, payload);
        }
        let rank = self.group.rank();
        let missing = || TchError::Shape(format!("it has no piece of matrix {}", order.id));
        let Piece { weight, cut, bias } = self.pieces.get_mut(&order.id).ok_or_else(missing)?;
        let [outputs, inputs] = cut.size;
        if order.what == What::Bias {
            let own = cut.of(rank);
            let whole = tensor(payload, &[outputs], weight)?;
            // A copy: a view would keep the whole.
            *bias = Some(Tensor::f_cat(&[whole.f_narrow(0, own.start, own.end - own.start)?], 0)?);
            return Ok(Done::Nothing);
        }
        let [count, rows, turned, biased] = order.numbers;
        let (rows, turned) = (Rows::of(rows), turned != 0);
        let rows = rows.ok_or_else(|| TchError::Shape("it knows no such rule of rows".into()))?;
        let input = tensor(payload, &[count, if turned { outputs } else { inputs }], weight)?;
        let bias = if biased == 0 { None } else { Some(bias.as_ref().ok_or_else(missing)?) };
        piece_product(&self.kernels, weight, (cut, rank), &input, bias, Way { rows, turned }).map(Done::Tensor)
    }

    fn carry_out(&mut self, order: &Order, payload: &[u8]) -> Result<Done, TchError> {
        let rank = self.group.rank();
        let missing = || TchError::Shape(format!("it has no piece of matrix {}", order.id));
        let Piece { weight, cut, .. } = self.pieces.get(&order.id).ok_or_else(missing)?;
        let [first, second, third, _] = order.numbers;
        Ok(match order.what {
            What::Rows => Done::Tensor(piece_rows(weight, (cut, rank), &(first..first + second))?),
            What::Select => {
                let ids: Vec<i64> = payload.as_chunks().0.iter().map(|id| i64::from_le_bytes(*id)).collect();
                Done::Tensor(piece_select(weight, (cut, rank), &ids)?)
            }
            What::Class => Done::Number(piece_class(&self.kernels, weight, first, third != 0, second != 0)?),
            What::Meet => {
                self.kernels.meet(weight, second != 0, first)?;
                Done::Nothing
            }
            What::Load | What::Bias | What::Multiply | What::Feed => Done::Nothing,
            What::Learn | What::Compare | What::Forget | What::End => Done::Nothing,
        })
    }
}

/// Makes a tensor of bytes that came, of a piece's type and where that lies.
fn tensor(bytes: &Tensor, size: &[i64], like: &Weight) -> Result<Tensor, TchError> {
    let (kind, numbers) = (like.kind(), size.iter().product::<i64>());
    if i64::try_from(bytes.numel()) != Ok(numbers * kind.elt_size_in_bytes() as i64) {
        return Err(TchError::Shape(format!("{} bytes came for a tensor of {size:?}", bytes.numel())));
    }
    if numbers == 0 {
        return Tensor::f_empty(size, (kind, like.device()));
    }
    bytes.f_view_dtype(kind)?.f_view(size)?.f_to_device(like.device())
}
