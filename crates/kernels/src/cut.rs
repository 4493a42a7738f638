//! Where matrices are cut into pieces, one a rank.

use std::ops::Range;

/// The sides of a matrix along which it is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Along {
    /// Each rank has some rows: it makes some of the outputs.
    Outputs,
    /// Each rank has some columns: it makes a part of the sum that each output is.
    Inputs,
}

/// A matrix `[out, in]` in pieces as equal as can be: those of earlier ranks are the smaller ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub size: [i64; 2],
    pub along: Along,
    ranks: i64,
}

impl Cut {
    /// Cuts a matrix for so many ranks; `None` where a rank would have nothing.
    #[must_use]
    pub fn new(size: [i64; 2], along: Along, ranks: usize) -> Option<Self> {
        let cut = Self { size, along, ranks: i64::try_from(ranks).ok()? };
        (ranks > 0 && cut.length() >= cut.ranks).then_some(cut)
    }

    /// Returns the rows or the columns that a rank has.
    #[must_use]
    pub fn of(&self, rank: usize) -> Range<i64> {
        let rank = i64::try_from(rank).unwrap_or(self.ranks).min(self.ranks);
        let edge = |rank: i64| (i128::from(self.length()) * i128::from(rank) / i128::from(self.ranks)) as i64;
        edge(rank)..edge((rank + 1).min(self.ranks))
    }

    /// Returns the size of a rank's piece.
    #[must_use]
    pub fn piece(&self, rank: usize) -> [i64; 2] {
        let own = self.of(rank);
        match self.along {
            Along::Outputs => [own.end - own.start, self.size[1]],
            Along::Inputs => [self.size[0], own.end - own.start],
        }
    }

    /// Returns how many of some rows a rank has, and the first of them.
    pub(crate) fn rows(&self, rank: usize, wanted: &Range<i64>) -> Range<i64> {
        match self.along {
            Along::Outputs => {
                let own = self.of(rank);
                let start = wanted.start.clamp(own.start, own.end);
                start..wanted.end.clamp(start, own.end)
            }
            Along::Inputs => wanted.clone(),
        }
    }

    fn length(&self) -> i64 {
        match self.along {
            Along::Outputs => self.size[0],
            Along::Inputs => self.size[1],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_lie_end_to_end_and_differ_by_one_at_most() {
        for length in 1..40 {
            for ranks in 1..=5 {
                let Some(cut) = Cut::new([length, 3], Along::Outputs, ranks) else {
                    assert!(length < i64::try_from(ranks).unwrap());
                    continue;
                };
                let pieces: Vec<_> = (0..ranks).map(|rank| cut.of(rank)).collect();
                assert_eq!((pieces[0].start, pieces[ranks - 1].end), (0, length));
                assert!(pieces.windows(2).all(|pair| pair[0].end == pair[1].start));
                let lengths = || pieces.iter().map(|piece| piece.end - piece.start);
                assert!(lengths().min() >= Some(1) && lengths().max().unwrap() - lengths().min().unwrap() <= 1);
            }
        }
        let cut = Cut::new([3, 7], Along::Inputs, 2).unwrap();
        assert_eq!((cut.piece(0), cut.piece(1)), ([3, 3], [3, 4]));
        assert_eq!((cut.rows(1, &(1..3)), Cut::new([7, 3], Along::Outputs, 2).unwrap().rows(1, &(1..5))), (1..3, 3..5));
    }
}
