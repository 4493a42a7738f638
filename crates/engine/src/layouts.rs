//! How the tensors of a result lie in memory: in which order their elements follow each other, and which of them share
//! elements. The client's copies lie the same way, so that writing through one shows in another there too.
//!
//! Nothing is copied but what a saved tensor shows: what lies between, which may be somebody else's, stays zero.

use std::ops::Range;

use program::{DType, Datum, Heap, Ref, TensorData};

use crate::model::Tensor;

/// Elements of a storage for each that a tensor shows, at most: where more lies between, tensors go one by one.
const SPREAD: i64 = 8;

/// The tensors copied so far.
#[derive(Default)]
pub struct Layouts {
    all: Vec<Laid>,
}

struct Laid {
    at: Ref,
    memory: usize,
    dtype: Option<DType>,
    shape: Vec<i64>,
    strides: Vec<i64>,
    /// Elements of the memory from the first to behind the last.
    range: Range<i64>,
}

impl Layouts {
    /// Notes how a tensor lies whose copy is at a place of the heap, row by row.
    pub fn note<T: Tensor>(&mut self, at: Ref, tensor: &T) {
        // Zero is the memory of tensors that do not say where they lie: nothing tells which of them share any.
        if tensor.pending() || tensor.memory() == 0 {
            return;
        }
        let (shape, strides) = tensor.form();
        if shape.len() != strides.len() || shape.contains(&0) || strides.iter().any(|&stride| stride < 0) {
            return;
        }
        let start = tensor.offset();
        let last = shape.iter().zip(&strides).map(|(size, stride)| (size - 1).saturating_mul(*stride)).sum::<i64>();
        let range = start..start.saturating_add(last).saturating_add(1);
        self.all.push(Laid { at, memory: tensor.memory(), dtype: None, shape, strides, range });
    }

    /// Has copies that share elements, or whose elements do not lie row by row, look into storages.
    pub fn settle(mut self, heap: &mut Heap) {
        for laid in &mut self.all {
            if let Some(Datum::Tensor(data)) = heap.get(laid.at) {
                laid.dtype = Some(data.dtype);
            }
        }
        self.all.sort_by_key(|laid| (laid.memory, laid.dtype.map(DType::name), laid.range.start));
        let mut rest = self.all.as_mut_slice();
        while let Some(first) = rest.first() {
            let (memory, dtype, mut end) = (first.memory, first.dtype, first.range.end);
            let mut count = 1;
            while let Some(next) = rest.get(count)
                && (next.memory, next.dtype) == (memory, dtype)
                && next.range.start < end
            {
                end = end.max(next.range.end);
                count += 1;
            }
            let (group, others) = rest.split_at_mut(count);
            join(heap, group);
            rest = others;
        }
    }
}

/// Lays the copies of tensors out together.
fn join(heap: &mut Heap, group: &mut [Laid]) {
    let shown = |laid: &Laid| laid.shape.iter().product::<i64>();
    let start = group.iter().map(|laid| laid.range.start).min().unwrap_or(0);
    let end = group.iter().map(|laid| laid.range.end).max().unwrap_or(0);
    let all = group.iter().map(shown).sum::<i64>();
    if group.len() > 1 && end - start <= all.saturating_mul(SPREAD) {
        return place(heap, group, start, end - start);
    }
    for laid in group {
        // Alone, what lies between is left out; the order of the elements stays.
        laid.strides = compact(&laid.shape, &laid.strides);
        if laid.strides != TensorData::row_major(&laid.shape) {
            let last = laid.shape.iter().zip(&laid.strides).map(|(size, stride)| (size - 1) * stride).sum::<i64>();
            laid.range = 0..last + 1;
            place(heap, std::slice::from_ref(laid), 0, last + 1);
        }
    }
}

/// Returns steps of the same order without gaps. Dimensions whose elements are all one stay so.
fn compact(shape: &[i64], strides: &[i64]) -> Vec<i64> {
    let mut order: Vec<usize> = (0..shape.len()).filter(|&axis| strides[axis] != 0 && shape[axis] > 1).collect();
    // Of equal steps the later dimension is the inner one.
    order.sort_by_key(|&axis| (strides[axis], std::cmp::Reverse(axis)));
    // Steps that overlap say more than an order: such a tensor is written out row by row.
    let mut reach = 1;
    let plain = TensorData::row_major(shape);
    for &axis in &order {
        if strides[axis] < reach {
            return plain;
        }
        reach += strides[axis] * (shape[axis] - 1);
    }
    let mut compact = strides.to_vec();
    let mut step = 1;
    for axis in order {
        compact[axis] = step;
        step *= shape[axis];
    }
    // The step of a dimension of one element means nothing; in a tensor that lies row by row it is what rows make it.
    for axis in (0..shape.len()).filter(|&axis| shape[axis] == 1) {
        compact[axis] = plain[axis];
    }
    compact
}

/// Moves the elements of tensors into one storage that begins at an element of their memory.
fn place(heap: &mut Heap, group: &[Laid], start: i64, count: i64) {
    let mut storage: Option<(DType, Vec<u8>)> = None;
    for laid in group {
        let Some(Datum::Tensor(data)) = heap.get(laid.at) else { continue };
        let empty = || (data.dtype, vec![0; usize::try_from(count).unwrap_or(0) * data.dtype.size()]);
        let (_, target) = storage.get_or_insert_with(empty);
        scatter(&data.bytes, data.dtype.size(), laid, start, target);
    }
    let Some((dtype, bytes)) = storage else { return };
    // What is conjugated or negated lazily shows other numbers than the memory that it shares: no storage is both.
    let agree = group.iter().all(|laid| match heap.get(laid.at) {
        Some(Datum::Tensor(data)) => shows(&bytes, data.dtype.size(), laid, start, &data.bytes),
        _ => true,
    });
    if !agree {
        return;
    }
    let data = TensorData { dtype, shape: vec![count], bytes: bytes.into(), requires_grad: false };
    let storage = heap.push(Datum::Storage(data));
    for laid in group {
        let Some(Datum::Tensor(data)) = heap.get(laid.at) else { continue };
        let requires_grad = data.requires_grad;
        let (shape, strides, offset) = (laid.shape.clone(), laid.strides.clone(), laid.range.start - start);
        heap.set(laid.at, Datum::View { storage, shape, strides, offset, requires_grad });
    }
}

/// Copies elements that lie row by row to where a tensor has them.
fn scatter(rows: &[u8], width: usize, laid: &Laid, start: i64, storage: &mut [u8]) {
    walk(rows, width, laid, start, |place, element| {
        if let Some(slot) = storage.get_mut(place) {
            slot.copy_from_slice(element);
        }
    });
}

/// Returns whether elements that lie row by row are what a storage has where the tensor has them.
fn shows(storage: &[u8], width: usize, laid: &Laid, start: i64, rows: &[u8]) -> bool {
    let mut same = true;
    walk(rows, width, laid, start, |place, element| same &= storage.get(place) == Some(element));
    same
}

/// Visits elements that lie row by row, each with the bytes of the storage where the tensor has it.
fn walk<'a>(rows: &'a [u8], width: usize, laid: &Laid, start: i64, mut visit: impl FnMut(Range<usize>, &'a [u8])) {
    let mut index = vec![0; laid.shape.len()];
    let mut at = laid.range.start - start;
    for element in rows.chunks_exact(width) {
        let place = usize::try_from(at).unwrap_or(usize::MAX).saturating_mul(width);
        visit(place..place.saturating_add(width), element);
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            at += laid.strides[axis];
            if index[axis] < laid.shape[axis] {
                break;
            }
            at -= laid.strides[axis] * laid.shape[axis];
            index[axis] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid(heap: &mut Heap, memory: usize, offset: i64, shape: &[i64], strides: &[i64], bytes: &[u8]) -> Laid {
        let data = TensorData {
            dtype: DType::UInt8,
            shape: shape.to_vec(),
            bytes: bytes.to_vec().into(),
            requires_grad: false,
        };
        let at = heap.push(Datum::Tensor(data));
        let last = shape.iter().zip(strides).map(|(size, stride)| (size - 1) * stride).sum::<i64>();
        let range = offset..offset + last + 1;
        Laid { at, memory, dtype: None, shape: shape.to_vec(), strides: strides.to_vec(), range }
    }

    fn view(heap: &Heap, at: Ref) -> (Vec<u8>, Vec<i64>, i64) {
        let Some(Datum::View { storage, strides, offset, .. }) = heap.get(at) else { panic!("{:?}", heap.get(at)) };
        let Some(Datum::Storage(data)) = heap.get(*storage) else { panic!("no storage") };
        (data.bytes.to_vec(), strides.clone(), *offset)
    }

    #[test]
    fn tensors_that_share_elements_share_them_on_the_client() {
        let mut heap = Heap::default();
        let whole = laid(&mut heap, 1, 4, &[2, 3], &[3, 1], &[1, 2, 3, 4, 5, 6]);
        let column = laid(&mut heap, 1, 5, &[2], &[3], &[2, 5]);
        let other = laid(&mut heap, 2, 4, &[2], &[1], &[7, 8]);
        let places = [whole.at, column.at, other.at];
        Layouts { all: vec![column, other, whole] }.settle(&mut heap);
        assert_eq!(view(&heap, places[0]), (vec![1, 2, 3, 4, 5, 6], vec![3, 1], 0));
        assert_eq!(view(&heap, places[1]), (vec![1, 2, 3, 4, 5, 6], vec![3], 1));
        assert!(matches!(heap.get(places[2]), Some(Datum::Tensor(_))));
    }

    #[test]
    fn tensors_that_show_one_memory_in_two_ways_go_apart() {
        let mut heap = Heap::default();
        // As a complex tensor and its lazy conjugate do.
        let (plain, turned) = (laid(&mut heap, 1, 0, &[2], &[1], &[1, 2]), laid(&mut heap, 1, 0, &[2], &[1], &[1, 3]));
        let places = [plain.at, turned.at];
        Layouts { all: vec![plain, turned] }.settle(&mut heap);
        for (place, bytes) in places.into_iter().zip([[1, 2], [1, 3]]) {
            assert!(matches!(heap.get(place), Some(Datum::Tensor(data)) if *data.bytes == bytes));
        }
    }

    #[test]
    fn what_lies_between_is_left_out_or_zero() {
        let mut heap = Heap::default();
        // A column of a wide matrix goes alone, and so without the rest of its rows.
        let column = laid(&mut heap, 1, 3, &[2], &[100], &[1, 2]);
        let place = column.at;
        Layouts { all: vec![column] }.settle(&mut heap);
        assert!(matches!(heap.get(place), Some(Datum::Tensor(_))));
        // Two that cross have a gap, which nobody saved.
        let (down, along) = (laid(&mut heap, 1, 0, &[2], &[3], &[1, 3]), laid(&mut heap, 1, 0, &[2], &[1], &[1, 2]));
        let place = down.at;
        Layouts { all: vec![down, along] }.settle(&mut heap);
        assert_eq!(view(&heap, place).0, [1, 2, 0, 3]);
    }

    #[test]
    fn the_order_of_elements_stays() {
        let mut heap = Heap::default();
        let turned = laid(&mut heap, 1, 0, &[2, 3], &[1, 2], &[1, 2, 3, 4, 5, 6]);
        let place = turned.at;
        Layouts { all: vec![turned] }.settle(&mut heap);
        assert_eq!(view(&heap, place), (vec![1, 4, 2, 5, 3, 6], vec![1, 2], 0));
        assert_eq!(compact(&[2, 3], &[1, 20]), [1, 2]);
        assert_eq!(compact(&[4, 3], &[0, 1]), [0, 1], "an expanded dimension");
        assert_eq!(compact(&[1, 3], &[77, 1]), [3, 1]);
        assert_eq!(compact(&[3, 2], &[1, 1]), [2, 1], "windows that overlap");
    }
}
