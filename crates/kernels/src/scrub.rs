//! Memory of a model's weights, read again and again: a bit that has flipped there is found by a digest.

use std::ops::Range;
use std::rc::Rc;

use libtorch::{Failure, account, ffi};
use tch::{Device, Kind, TchError, Tensor};

use crate::carried::{Sent, Wanted};
use crate::order::What;
use crate::ranks::Ranks;
use crate::raw::Raw;

/// Memory that is to stay as it is: a tensor's, or that of a matrix in oneDNN's blocks.
pub struct Memory {
    tensor: Tensor,
    bytes: i64,
    /// Where it lies, of what is no plain tensor.
    packed: Option<*const u8>,
}

/// Digests of memory, slice by slice, as it was when they were learnt.
pub struct Digests {
    all: Vec<Memory>,
    slices: Vec<(usize, Range<i64>)>,
    learnt: Vec<Digest>,
}

/// Compares the weights of a model with what they were, each rank its own.
pub struct Scrub {
    own: Digests,
    ranks: Option<Rc<Ranks>>,
    /// How many slices the rank with the most has.
    slices: usize,
    next: usize,
}

/// What came of looking at a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    Same,
    /// So it is, and the round is over: all were looked at.
    Whole,
    /// What is otherwise, where.
    Changed(String),
}

type Digest = [u8; 16];

/// Bytes that are read at once: a millisecond of a core's time, and on a GPU what is worth a launch.
const SLICE: i64 = 4 << 20;
const SLICE_ON_GPU: i64 = 64 << 20;

/// Bytes of a row, where sums are made of rows and of columns.
const ROW: i64 = 4096;

impl Memory {
    /// Takes note of a tensor's memory, which stays as long as this does; `None` where it has none that lies end to end.
    ///
    /// # Errors
    /// For a tensor that is none.
    pub fn of(tensor: &Tensor) -> Result<Option<Self>, TchError> {
        let bytes = i64::try_from(tensor.numel() * tensor.f_kind()?.elt_size_in_bytes()).unwrap_or(0);
        let lies = bytes > 0 && tensor.is_contiguous();
        Ok(lies.then(|| Self { tensor: tensor.shallow_clone(), bytes, packed: None }))
    }

    /// Takes note of a matrix in oneDNN's blocks.
    ///
    /// # Errors
    /// When libtorch does not say where it lies.
    pub(crate) fn packed(matrix: &Tensor) -> Result<Self, TchError> {
        let (mut failure, mut bytes) = (Failure::none(), 0);
        // SAFETY: the tensor is alive, and the shim only asks where it lies.
        let data = unsafe { ffi::vt_packed_bytes(matrix.as_ptr().cast(), &raw mut bytes, failure.out()) };
        if data.is_null() {
            return Err(TchError::Torch(failure.problem().text));
        }
        Ok(Self { tensor: matrix.shallow_clone(), bytes, packed: Some(data.cast()) })
    }

    /// Returns where it begins and how long it is.
    fn place(&self) -> (usize, i64) {
        (self.data() as usize, self.bytes)
    }

    fn data(&self) -> *const u8 {
        self.packed.unwrap_or_else(|| self.tensor.data_ptr().cast_const().cast())
    }

    fn is_on_cpu(&self) -> bool {
        self.packed.is_some() || self.tensor.device() == Device::Cpu
    }

    /// Returns bytes that lie on the CPU.
    fn bytes(&self, at: &Range<i64>) -> &[u8] {
        let [start, end] = [at.start, at.end.min(self.bytes)].map(|edge| usize::try_from(edge).unwrap_or(0));
        // SAFETY: the memory has so many bytes and is alive as long as its tensor; nobody writes to weights.
        let whole = unsafe { std::slice::from_raw_parts(self.data(), usize::try_from(self.bytes).unwrap_or(0)) };
        whole.get(start..end).unwrap_or_default()
    }

    fn digest(&self, at: &Range<i64>) -> Result<Digest, TchError> {
        let mut hasher = blake3::Hasher::new();
        if self.is_on_cpu() {
            hasher.update(self.bytes(at));
        } else {
            // Sums of rows and of columns of bytes, made where they lie: a bit that is another changes one of each.
            let _unpaid = account::unpaid();
            let length = at.end - at.start;
            let flat =
                self.tensor.f_detach()?.f_view([-1])?.f_view_dtype(Kind::Uint8)?.f_narrow(0, at.start, length)?;
            let rows = flat.f_narrow(0, 0, length / ROW * ROW)?.f_view([length / ROW, ROW])?;
            for side in [0, 1] {
                hasher.update(Raw::of(&rows.f_sum_dim_intlist(side, false, Kind::Int64)?)?.bytes());
            }
            hasher.update(Raw::of(&flat.f_narrow(0, length / ROW * ROW, length % ROW)?)?.bytes());
        }
        Ok(hasher.finalize().as_bytes().first_chunk().copied().unwrap_or_default())
    }
}

impl Digests {
    /// Reads all of some memory. What several name is looked at once.
    ///
    /// # Errors
    /// When a GPU refuses.
    pub fn learn(mut all: Vec<Memory>) -> Result<Self, TchError> {
        all.sort_by_key(Memory::place);
        all.dedup_by_key(|memory| memory.place());
        let mut slices = Vec::new();
        for (index, memory) in all.iter().enumerate() {
            let step = if memory.is_on_cpu() { SLICE } else { SLICE_ON_GPU };
            let count = (memory.bytes + step - 1) / step;
            slices.extend((0..count).map(|slice| (index, slice * step..((slice + 1) * step).min(memory.bytes))));
        }
        let learnt = slices.iter().map(|slice| digest(&all, slice)).collect::<Result<_, _>>()?;
        Ok(Self { all, slices, learnt })
    }

    /// Returns how many slices there are.
    #[must_use]
    pub fn slices(&self) -> usize {
        self.slices.len()
    }

    /// Returns how many bytes are looked at.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.all.iter().map(|memory| memory.bytes.unsigned_abs()).sum()
    }

    /// Returns whether a slice is as it was. One that is not there is.
    ///
    /// # Errors
    /// When a GPU refuses.
    pub fn is_same(&self, slice: usize) -> Result<bool, TchError> {
        match (self.slices.get(slice), self.learnt.get(slice)) {
            (Some(slice), Some(learnt)) => Ok(digest(&self.all, slice)? == *learnt),
            _ => Ok(true),
        }
    }

    /// Changes one bit of a slice, as a fault of the machine would: what tests look for.
    ///
    /// # Errors
    /// When a GPU refuses.
    pub fn flip(&self, slice: usize) -> Result<(), TchError> {
        let Some((memory, at)) = self.slices.get(slice).and_then(|(index, at)| Some((self.all.get(*index)?, at)))
        else {
            return Ok(());
        };
        let middle = at.start + (at.end - at.start) / 2;
        if !memory.is_on_cpu() {
            let flat = memory.tensor.f_detach()?.f_view([-1])?.f_view_dtype(Kind::Uint8)?;
            return flat.f_narrow(0, middle, 1)?.f_bitwise_xor_(4).map(drop);
        }
        // SAFETY: the byte is one of the memory's.
        let byte = unsafe { memory.data().cast_mut().add(usize::try_from(middle).unwrap_or(0)) };
        // SAFETY: nobody else reads or writes it meanwhile.
        unsafe { *byte ^= 4 };
        Ok(())
    }
}

impl Scrub {
    /// Learns what weights are: some memory here, and on each of the other ranks its pieces.
    ///
    /// # Errors
    /// When a GPU refuses, or the ranks are lost.
    pub fn learn(memory: Vec<Memory>, ranks: Option<Rc<Ranks>>) -> Result<Self, TchError> {
        let (own, others) = match &ranks {
            None => (Digests::learn(memory)?, Vec::new()),
            Some(ranks) => {
                // Others have about as much to read, and their answers are waited for as long as that may take.
                let bytes = memory.iter().map(|memory| memory.bytes.unsigned_abs()).sum();
                let (own, others) = ask(ranks, (What::Learn, 0), bytes, || Digests::learn(memory))?;
                (own?, others)
            }
        };
        let most = others.into_iter().map(|slices| usize::try_from(slices).unwrap_or(0)).max();
        let slices = own.slices().max(most.unwrap_or(0));
        Ok(Self { own, ranks, slices, next: 0 })
    }

    /// Returns the digests of what lies here.
    #[must_use]
    pub fn own(&self) -> &Digests {
        &self.own
    }

    /// Looks at the next slice, on every rank.
    ///
    /// # Errors
    /// When a GPU refuses, or the ranks are lost.
    pub fn look(&mut self) -> Result<Look, TchError> {
        let slice = self.next;
        self.next = if slice + 1 < self.slices { slice + 1 } else { 0 };
        let same = || self.own.is_same(slice);
        let (own, others) = match &self.ranks {
            None => (same()?, Vec::new()),
            Some(ranks) => {
                let slice = i64::try_from(slice).unwrap_or(i64::MAX);
                let (own, others) = ask(ranks, (What::Compare, slice), 0, same)?;
                (own?, others)
            }
        };
        let all = std::iter::once(u64::from(own)).chain(others);
        if let Some((rank, _)) = all.enumerate().find(|(_, same)| *same == 0) {
            let of = self.ranks.as_ref().map(|_| format!(" of rank {rank}")).unwrap_or_default();
            return Ok(Look::Changed(format!("slice {slice} of {}{of} is not what was loaded", self.slices)));
        }
        Ok(if self.next == 0 { Look::Whole } else { Look::Same })
    }
}

/// Asks the other ranks for a number each, and does the leading rank's part meanwhile.
fn ask<T>(
    ranks: &Ranks,
    (what, number): (What, i64),
    work: u64,
    own: impl FnOnce() -> T,
) -> Result<(T, Vec<u64>), TchError> {
    let mut others = vec![[0; 8]; ranks.count() - 1];
    let mut answers: Vec<Wanted<'_>> = others.iter_mut().map(|other| Wanted::Bytes(other)).collect();
    let own = ranks.demand((what, 0, [number, 0, 0, 0]), &Sent::Bytes(&[]), &mut answers, work, own)?;
    Ok((own, others.into_iter().map(u64::from_le_bytes).collect()))
}

fn digest(all: &[Memory], (index, at): &(usize, Range<i64>)) -> Result<Digest, TchError> {
    all.get(*index).ok_or_else(|| TchError::Shape("memory got lost".into()))?.digest(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apart::Apart;
    use crate::cut::{Along, Cut};
    use crate::follower::{Asked, follow};
    use crate::order::Keep;
    use crate::quantize::Scheme;
    use crate::quantized::Quantized;
    use crate::weight::{Given, Weight};

    #[test]
    fn one_bit_that_flips_is_found_where_it_is_however_a_matrix_is_kept() {
        libtorch::prepare();
        tch::manual_seed(5);
        let random = |size: [i64; 2], kind| Tensor::randn(size, (Kind::Float, Device::Cpu)).to_kind(kind);
        let mut kept: Vec<(String, Weight, i64)> = Vec::new();
        for kind in [Kind::Float, Kind::BFloat16, Kind::Double] {
            for size in [[1100, 1300], [24, 16], [3, 5]] {
                let dense = random(size, kind);
                let bytes = i64::try_from(dense.numel() * kind.elt_size_in_bytes()).unwrap();
                kept.push((format!("{kind:?} {size:?}"), Weight::new(&dense).unwrap(), bytes));
                kept.push((format!("{kind:?} {size:?} and its rows"), Weight::beside(&dense).unwrap(), bytes));
                kept.push((format!("{kind:?} {size:?} as it is"), Weight::plain(&dense).unwrap(), bytes));
            }
        }
        for scheme in [Scheme::Int8, Scheme::Nf4] {
            let dense = random([64, 128], Kind::Float);
            let coded =
                scheme.quantize([64, 128], Device::Cpu, |first, count| dense.f_narrow(0, first, count)).unwrap();
            let matrix = Quantized::new(vec![coded], Kind::Float).unwrap();
            let bytes = i64::try_from(matrix.bytes()).unwrap();
            kept.push((format!("{scheme:?}"), Weight::quantized(matrix), bytes));
        }
        for (name, weight, bytes) in &kept {
            let digests = Digests::learn(weight.memory().unwrap()).unwrap();
            assert!(digests.bytes() >= bytes.unsigned_abs(), "{name}: {} of {bytes} bytes", digests.bytes());
            let changed =
                || -> Vec<usize> { (0..digests.slices()).filter(|slice| !digests.is_same(*slice).unwrap()).collect() };
            assert!(changed().is_empty(), "{name}");
            for slice in 0..digests.slices() {
                digests.flip(slice).unwrap();
                assert_eq!(changed(), [slice], "{name}");
                digests.flip(slice).unwrap();
            }
            assert!(changed().is_empty(), "{name}");
        }
        assert!(kept.iter().any(|(_, weight, _)| weight.is_packed()) || !cfg!(target_arch = "x86_64"));
    }

    #[test]
    fn a_round_ends_with_the_last_slice_and_what_is_named_twice_is_read_once() {
        let table = Tensor::zeros([3, SLICE], (Kind::Uint8, Device::Cpu));
        let memory = || Memory::of(&table).unwrap();
        let mut scrub = Scrub::learn([memory(), memory()].into_iter().flatten().collect(), None).unwrap();
        assert_eq!(scrub.own().bytes(), 3 * SLICE.unsigned_abs());
        let round = |scrub: &mut Scrub| [(); 3].map(|()| scrub.look().unwrap());
        assert_eq!(round(&mut scrub), [Look::Same, Look::Same, Look::Whole]);
        scrub.own().flip(1).unwrap();
        let [first, second, last] = round(&mut scrub);
        assert_eq!((first, last), (Look::Same, Look::Whole));
        assert_eq!(second, Look::Changed("slice 1 of 3 is not what was loaded".into()));
    }

    #[test]
    fn a_rank_finds_what_changes_in_its_piece() {
        libtorch::prepare();
        let ones = |rows: i64| Tensor::ones([rows, 8], (Kind::Float, Device::Cpu));
        let mut group = collectives::Memory::threads(2).unwrap().into_iter();
        let (leader, other) = (group.next().unwrap(), group.next().unwrap());
        let (sender, pieces) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut load = |asked: &Asked<'_>| {
                let piece = ones(asked.own.end - asked.own.start);
                sender.send(piece.shallow_clone()).map_err(|error| error.to_string())?;
                Ok(Given::Dense(piece))
            };
            // It ends with the leading rank.
            let _ = follow(&other, Device::Cpu, &mut load, &|_, input| Ok(input.shallow_clone()));
        });
        let ranks = Rc::new(Ranks::new(Box::new(leader), Box::new(|why| panic!("{why}"))));
        let cut = Cut::new([6, 8], Along::Outputs, 2).unwrap();
        let own = |own: Range<i64>| Ok(Given::Dense(ones(own.end - own.start)));
        let matrix = Apart::load::<Box<dyn std::error::Error>>(&ranks, cut, Keep::Plain, &[], own).unwrap();
        let weight = Weight::apart(matrix);
        let mut scrub = Scrub::learn(weight.memory().unwrap(), Some(ranks)).unwrap();
        assert_eq!(scrub.look().unwrap(), Look::Whole);
        let _ = pieces.recv().unwrap().get(0).fill_(2.0);
        assert_eq!(scrub.look().unwrap(), Look::Changed("slice 0 of 1 of rank 1 is not what was loaded".into()));
    }
}
