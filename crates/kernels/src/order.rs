//! What the leading rank asks of the others, and how they answer.

/// An order, which all ranks but the leading one carry out, each with its own pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Counts orders: an answer names its order.
    pub number: u64,
    pub what: What,
    /// The matrix that it is about.
    pub id: u64,
    pub numbers: [i64; 4],
    /// Bytes that follow.
    pub bytes: u64,
}

/// What is asked, by the numbers that come with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Reads a piece of a matrix `[outputs, inputs]`, cut along so, to be kept so. What tells where it lies follows.
    Load = 1,
    /// Takes over a bias, which follows whole.
    Bias,
    /// Multiplies so many rows, which follow; by which rule, by the transposed matrix or not, with the bias or not.
    Multiply,
    /// Returns rows of the matrix from so many on, so many.
    Rows,
    /// Returns the rows that ids name, so many, which follow.
    Select,
    /// Names the bits of products of so many rows, by the transposed matrix or not, with the bias or not.
    Class,
    /// Looks into the kernels for up to so many rows, with the bias or not.
    Meet,
    /// Computes a feed-forward block of so many rows, which follow: in which manner, by which second matrix, if any, and by
    /// which last one.
    Feed,
    /// Learns the digests of all that it has, and returns how many slices that are.
    Learn,
    /// Returns 1 where a slice is as it was, and 0 otherwise.
    Compare,
    /// Drops a matrix. Not answered.
    Forget,
    /// Ends. Not answered.
    End,
}

/// How a rank keeps its piece of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// As kernels want it.
    Packed,
    /// So, and row after row, since single rows are read of it.
    Both,
    /// Row after row: nothing is multiplied by it.
    Plain,
}

/// What an answer begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub number: u64,
    /// Whether what follows is an error's text.
    pub refused: bool,
    pub bytes: u64,
}

impl What {
    const ALL: [Self; 12] = [
        Self::Load,
        Self::Bias,
        Self::Multiply,
        Self::Rows,
        Self::Select,
        Self::Class,
        Self::Meet,
        Self::Feed,
        Self::Learn,
        Self::Compare,
        Self::Forget,
        Self::End,
    ];

    /// Whether a tensor comes with it, which may go from device to device.
    #[must_use]
    pub fn brings_tensor(self) -> bool {
        matches!(self, Self::Bias | Self::Multiply | Self::Feed)
    }
}

impl Keep {
    pub fn number(self) -> i64 {
        self as i64
    }

    pub fn of(number: i64) -> Option<Self> {
        [Self::Packed, Self::Both, Self::Plain].into_iter().find(|keep| keep.number() == number)
    }
}

impl Order {
    pub const BYTES: usize = 64;

    #[must_use]
    pub fn write(&self) -> [u8; Self::BYTES] {
        let [a, b, c, d] = self.numbers.map(i64::cast_unsigned);
        written([self.number, self.what as u64, self.id, a, b, c, d, self.bytes])
    }

    /// Reads an order; `None` for what is none.
    #[must_use]
    pub fn read(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let [number, what, id, a, b, c, d, bytes] = read(bytes);
        let what = What::ALL.into_iter().find(|known| *known as u64 == what)?;
        Some(Self { number, what, id, numbers: [a, b, c, d].map(u64::cast_signed), bytes })
    }
}

impl Answer {
    pub const BYTES: usize = 24;

    #[must_use]
    pub fn write(&self) -> [u8; Self::BYTES] {
        written([self.number, u64::from(self.refused), self.bytes])
    }

    #[must_use]
    pub fn read(bytes: &[u8; Self::BYTES]) -> Self {
        let [number, refused, bytes] = read(bytes);
        Self { number, refused: refused != 0, bytes }
    }
}

fn written<const WORDS: usize, const BYTES: usize>(words: [u64; WORDS]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    bytes
}

fn read<const WORDS: usize, const BYTES: usize>(bytes: &[u8; BYTES]) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    for (bytes, word) in bytes.as_chunks().0.iter().zip(&mut words) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_answers_come_back_as_they_were_written() {
        for what in What::ALL {
            let order = Order { number: 7, what, id: u64::MAX, numbers: [1, -2, i64::MIN, 0], bytes: 9 };
            assert_eq!(Order::read(&order.write()), Some(order));
        }
        assert_eq!(Order::read(&[0; Order::BYTES]), None);
        for refused in [false, true] {
            let answer = Answer { number: 1 << 40, refused, bytes: 3 };
            assert_eq!(Answer::read(&answer.write()), answer);
        }
        for keep in [Keep::Packed, Keep::Both, Keep::Plain] {
            assert_eq!(Keep::of(keep.number()), Some(keep));
        }
    }
}
