//! Keys and values of sequences that grow together, one step after another, with room for what comes: on a GPU.
//!
//! All that a layer has of them lies in one tensor and ends at one place, wherever each begins: what a step adds is one copy, and
//! what was there stays where it is.

use std::cell::Cell;

use tch::{TchError, Tensor};

use crate::cache::Layer;

pub struct Room {
    /// `[2, key_heads, sequences, places, head_dim]`.
    all: Tensor,
    /// The place behind each sequence's newest token.
    end: Cell<i64>,
}

/// A sequence: what it has, `[key_heads, past, head_dim]` each, if it has anything.
pub type Past = Option<Layer>;

impl Room {
    /// Moves sequences in, with so many new tokens each of `[tokens, key_heads, head_dim]` keys and values, and leaves room
    /// for more.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new(sequences: &[Past], [keys, values]: [&Tensor; 2], more: i64) -> Result<Self, TchError> {
        let count = i64::try_from(sequences.len()).unwrap_or(i64::MAX);
        let &[tokens, heads, head] = keys.size().as_slice() else {
            return Err(TchError::Shape(format!("keys have shape {:?}", keys.size())));
        };
        let (fresh, options) = (tokens / count.max(1), (keys.f_kind()?, keys.device()));
        let past = |sequence: &Past| sequence.as_ref().and_then(|(keys, _)| keys.size().get(1).copied()).unwrap_or(0);
        let longest = sequences.iter().map(past).max().unwrap_or(0);
        let places = longest + fresh + more;
        let all = Tensor::f_empty([2, heads, count, places, head], options)?;
        let zeros = Tensor::f_zeros([1, 1, 1], options)?;
        let nothing = |places: i64| zeros.f_expand([heads, places, head], false);
        for (place, (new, of)) in (0..).zip([(keys, (|own| &own.0) as fn(&Layer) -> &Tensor), (values, |own| &own.1)]) {
            let mut pieces = Vec::with_capacity(4 * sequences.len());
            for (sequence, first) in sequences.iter().zip((0..).map(|index| index * fresh)) {
                pieces.push(nothing(longest - past(sequence))?);
                pieces.extend(sequence.as_ref().map(|own| of(own).shallow_clone()));
                pieces.push(new.f_narrow(0, first, fresh)?.f_transpose(0, 1)?);
                pieces.push(nothing(more)?);
            }
            let _ = Tensor::f_cat_out(&all.f_select(0, place)?.f_view([heads, count * places, head])?, &pieces, 1)?;
        }
        Ok(Self { all, end: Cell::new(longest + fresh) })
    }

    fn size(&self, dim: usize) -> i64 {
        self.all.size().get(dim).copied().unwrap_or(0)
    }

    /// Returns how many sequences there are.
    pub fn sequences(&self) -> i64 {
        self.size(2)
    }

    /// Returns the place behind each sequence's newest token.
    pub fn end(&self) -> i64 {
        self.end.get()
    }

    /// Returns whether there is room for so many more tokens of each.
    pub fn has_room(&self, more: i64) -> bool {
        self.end.get() + more <= self.size(3)
    }

    /// Adds so many tokens to each sequence: keys and values, `[tokens, key_heads, head_dim]`, or both together,
    /// `[tokens, 2, key_heads, head_dim]`.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn append(&self, new: [&Tensor; 2], both: Option<&Tensor>, more: i64) -> Result<(), TchError> {
        let (sequences, heads, head) = (self.size(2), self.size(1), self.size(4));
        let mut free = self.all.f_narrow(3, self.end.get(), more)?;
        match both {
            Some(both) => {
                let both = both.f_view([sequences, more, 2, heads, head])?;
                free.f_copy_(&both.f_permute([2, 3, 0, 1, 4])?)?;
            }
            None => {
                for (place, own) in (0..).zip(new) {
                    let own = own.f_reshape([sequences, more, heads, head])?;
                    free.f_select(0, place)?.f_copy_(&own.f_permute([2, 0, 1, 3])?)?;
                }
            }
        }
        self.end.set(self.end.get() + more);
        Ok(())
    }

    /// Returns the place where a sequence of some length begins, among all sequences' places.
    pub fn begin(&self, sequence: i64, length: i64) -> i64 {
        sequence * self.size(3) + self.end.get() - length
    }

    /// Returns all places' keys and values, `[places, key_heads, head_dim]` each.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn layer(&self) -> Result<Layer, TchError> {
        let own = |place: i64| self.all.f_select(0, place)?.f_flatten(1, 2)?.f_transpose(0, 1);
        Ok((own(0)?, own(1)?))
    }

    /// Returns some sequences of one length that ended at a place: `[sequences, key_heads, length, head_dim]` each.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn view(&self, lodged: &Lodged) -> Result<Layer, TchError> {
        let own = |place: i64| {
            let rows = self.all.f_select(0, place)?.f_narrow(1, lodged.first, lodged.rows)?;
            rows.f_narrow(2, lodged.end - lodged.length, lodged.length)?.f_transpose(0, 1)
        };
        Ok((own(0)?, own(1)?))
    }

    /// Returns the bytes of one place.
    pub fn place_bytes(&self) -> u64 {
        (2 * self.size(1) * self.size(4)) as u64 * self.all.kind().elt_size_in_bytes() as u64
    }

    /// Returns how many places each sequence has.
    pub fn places(&self) -> i64 {
        self.size(3)
    }
}

/// Some sequences of one length among those of a room.
#[derive(Clone, Copy)]
pub struct Lodged {
    pub first: i64,
    pub rows: i64,
    pub length: i64,
    /// The place behind their newest token. What came to the room later is not theirs.
    pub end: i64,
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    fn states(first: i64, tokens: i64) -> Tensor {
        Tensor::arange_start(first, first + 2 * tokens, (Kind::Float, Device::Cpu)).view([tokens, 2, 1])
    }

    fn read(states: &Tensor) -> Vec<f32> {
        Vec::try_from(states.contiguous().flatten(0, -1)).unwrap()
    }

    #[test]
    fn sequences_of_several_lengths_grow_in_place() {
        let past = states(0, 3).transpose(0, 1);
        let sequences = [Some((past.shallow_clone(), -past)), None];
        let room = Room::new(&sequences, [&states(10, 2), &states(20, 2)], 2).unwrap();
        let one = Lodged { first: 0, rows: 1, length: 4, end: 4 };
        let other = Lodged { first: 1, rows: 1, length: 1, end: 4 };
        let place = room.all.data_ptr();
        let (keys, values) = room.view(&one).unwrap();
        assert_eq!(read(&keys), [0.0, 2.0, 4.0, 10.0, 1.0, 3.0, 5.0, 11.0]);
        assert_eq!(read(&values), [0.0, -2.0, -4.0, 20.0, -1.0, -3.0, -5.0, 21.0]);
        assert_eq!(read(&room.view(&other).unwrap().0), [12.0, 13.0]);
        let both = Tensor::stack(&[states(30, 2), states(40, 2)], 1);
        room.append([&states(30, 2), &states(40, 2)], Some(&both), 1).unwrap();
        room.append([&states(50, 2), &states(60, 2)], None, 1).unwrap();
        assert!(!room.has_room(1) && room.all.data_ptr() == place);
        let grown = Lodged { length: 3, end: 6, ..other };
        let (keys, values) = room.view(&grown).unwrap();
        assert_eq!(
            (read(&keys), read(&values)),
            (vec![12.0, 32.0, 52.0, 13.0, 33.0, 53.0], vec![22.0, 42.0, 62.0, 23.0, 43.0, 63.0])
        );
        // What somebody had before is what it was.
        assert_eq!(read(&room.view(&other).unwrap().0), [12.0, 13.0]);
        // All places' keys: what kernels read, from where each begins.
        let (keys, _) = room.layer().unwrap();
        assert_eq!((room.begin(0, 6), room.begin(1, 3)), (0, 9));
        assert_eq!(read(&keys.narrow(0, 9, 3).transpose(0, 1)), [12.0, 32.0, 52.0, 13.0, 33.0, 53.0]);
    }
}
