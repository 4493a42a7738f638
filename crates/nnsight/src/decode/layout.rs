//! Strided bytes to row-major ones, with every product and sum checked.

use std::borrow::Cow;

use crate::error::DecodeError;

/// Dimensions of one tensor; PyTorch stops at 64.
const MAX_DIMENSIONS: usize = 64;

/// Returns how many elements a shape has.
pub(super) fn elements(shape: &[i64]) -> Result<u64, DecodeError> {
    if shape.len() > MAX_DIMENSIONS {
        return Err(DecodeError::Tensor("it has more than 64 dimensions"));
    }
    // A zero anywhere makes it empty, but must not hide an overflow of the others: their product is still a stride.
    let mut product = 1_u64;
    for &size in shape {
        let size = u64::try_from(size).map_err(|_| DecodeError::Tensor("a size is negative"))?;
        product = product.checked_mul(size.max(1)).ok_or(DecodeError::Tensor("its size overflows"))?;
    }
    Ok(if shape.contains(&0) { 0 } else { product })
}

/// Returns which elements of a storage of `count` elements a view reaches, from the first to behind the last.
pub(super) fn reach(
    count: usize,
    offset: i64,
    shape: &[i64],
    strides: &[i64],
) -> Result<std::ops::Range<usize>, DecodeError> {
    if shape.len() != strides.len() {
        return Err(DecodeError::Tensor("its sizes and strides differ in number"));
    }
    let elements = elements(shape)?;
    let offset = usize::try_from(offset).map_err(|_| DecodeError::Tensor("its offset is negative"))?;
    if elements == 0 {
        return Ok(0..0);
    }
    let mut last = offset;
    for (&size, &stride) in shape.iter().zip(strides) {
        let stride = usize::try_from(stride).map_err(|_| DecodeError::Tensor("a stride is negative"))?;
        let size = usize::try_from(size).map_err(|_| OUTSIDE)?;
        last = (size - 1).checked_mul(stride).and_then(|reach| last.checked_add(reach)).ok_or(OUTSIDE)?;
    }
    let end = last.checked_add(1).ok_or(OUTSIDE)?;
    if end > count { Err(OUTSIDE) } else { Ok(offset..end) }
}

const OUTSIDE: DecodeError = DecodeError::Tensor("it reaches beyond its storage");

/// Returns the elements of a view row by row: copied, unless they lie so. `offset` and `strides` count elements of `width`
/// bytes.
/// The caller has charged for the result.
pub(super) fn gather<'a>(
    storage: &'a [u8],
    width: usize,
    offset: i64,
    shape: &[i64],
    strides: &[i64],
) -> Result<Cow<'a, [u8]>, DecodeError> {
    if shape.len() != strides.len() {
        return Err(DecodeError::Tensor("its sizes and strides differ in number"));
    }
    let count = elements(shape)?;
    let offset = usize::try_from(offset).map_err(|_| DecodeError::Tensor("its offset is negative"))?;
    if count == 0 {
        return Ok(Cow::default());
    }
    let mut dimensions = Vec::with_capacity(shape.len());
    let mut last = offset;
    for (&size, &stride) in shape.iter().zip(strides) {
        let stride = usize::try_from(stride).map_err(|_| DecodeError::Tensor("a stride is negative"))?;
        let size = usize::try_from(size).map_err(|_| OUTSIDE)?;
        last = (size - 1).checked_mul(stride).and_then(|reach| last.checked_add(reach)).ok_or(OUTSIDE)?;
        if size > 1 {
            dimensions.push((size, stride));
        }
    }
    let end = last.checked_add(1).and_then(|end| end.checked_mul(width)).ok_or(OUTSIDE)?;
    if end > storage.len() {
        return Err(OUTSIDE);
    }
    // Trailing dimensions that lie end to end are copied as one run.
    let mut run = 1;
    while let Some(&(size, stride)) = dimensions.last() {
        if stride != run {
            break;
        }
        run *= size;
        dimensions.pop();
    }
    if dimensions.is_empty() {
        return storage.get(offset * width..(offset + run) * width).map(Cow::Borrowed).ok_or(OUTSIDE);
    }
    let bytes = usize::try_from(count).ok().and_then(|count| count.checked_mul(width)).ok_or(OUTSIDE)?;
    let mut result = Vec::with_capacity(bytes);
    let mut index = vec![0; dimensions.len()];
    let mut at = offset;
    loop {
        result.extend_from_slice(storage.get(at * width..(at + run) * width).ok_or(OUTSIDE)?);
        let mut axis = dimensions.len();
        loop {
            let Some(next) = axis.checked_sub(1) else { return Ok(Cow::Owned(result)) };
            axis = next;
            let (size, stride) = dimensions[axis];
            index[axis] += 1;
            at += stride;
            if index[axis] < size {
                break;
            }
            at -= size * stride;
            index[axis] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_become_contiguous() {
        let storage: Vec<u8> = (0..12).collect();
        let check = |offset, shape: &[i64], strides: &[i64], expected: &[u8]| {
            assert_eq!(gather(&storage, 1, offset, shape, strides).unwrap(), expected, "{shape:?} {strides:?}");
        };
        check(0, &[3, 4], &[4, 1], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        check(0, &[4, 3], &[1, 4], &[0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
        check(5, &[], &[], &[5]);
        check(1, &[2, 1, 2], &[4, 99, 2], &[1, 3, 5, 7]);
        check(7, &[3, 2], &[0, 0], &[7; 6]);
        check(0, &[0, 5], &[1, 1], &[]);
        check(0, &[2, 3, 2], &[1, 4, 2], &[0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]);
        assert_eq!(gather(&storage, 4, 1, &[2], &[1]).unwrap(), &storage[4..12]);
    }

    #[test]
    fn a_view_reaches_from_its_first_element_to_its_last() {
        assert_eq!(reach(12, 1, &[2, 3], &[6, 2]).unwrap(), 1..12);
        assert_eq!(reach(12, 4, &[5], &[0]).unwrap(), 4..5);
        assert_eq!(reach(12, 99, &[0, 5], &[1, 1]).unwrap(), 0..0);
        assert!(reach(11, 1, &[2, 3], &[6, 2]).is_err());
    }

    #[test]
    fn geometry_that_does_not_fit_is_refused() {
        let storage = [0_u8; 16];
        let huge = i64::MAX;
        for (offset, shape, strides) in [
            (0, &[17][..], &[1][..]),
            (16, &[1], &[1]),
            (-1, &[1], &[1]),
            (0, &[2], &[-1]),
            (0, &[-2], &[1]),
            (0, &[2, 2], &[1]),
            (huge, &[2], &[huge]),
            (0, &[huge, huge], &[0, 0]),
            (0, &[huge, huge, 0], &[0, 0, 0]),
            (0, &[2], &[huge]),
            (0, &[1; 65], &[0; 65]),
        ] {
            assert!(gather(&storage, 1, offset, shape, strides).is_err(), "{offset} {shape:?} {strides:?}");
            assert!(reach(storage.len(), offset, shape, strides).is_err(), "{offset} {shape:?} {strides:?}");
        }
    }
}
