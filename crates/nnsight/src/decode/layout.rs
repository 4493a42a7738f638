//! Strided bytes to row-major ones, with every product and sum checked.

use std::borrow::Cow;

use crate::error::DecodeError;

/// Dimensions of one tensor; PyTorch stops at 64.
const MAX_DIMENSIONS: usize = 64;

/// Returns how many elements a shape has.
pub(crate) fn elements(shape: &[i64]) -> Result<u64, DecodeError> {
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

/// Where the elements of a view lie in their storage, row by row.
struct Laid {
    /// Sizes and strides, without what lies end to end.
    dimensions: Vec<(usize, usize)>,
    /// How many elements lie end to end from each place on.
    run: usize,
    offset: usize,
    count: u64,
}

impl Laid {
    /// Finds them in a storage of so many bytes; `None` where there are no elements.
    fn find(
        bytes: usize,
        width: usize,
        offset: i64,
        shape: &[i64],
        strides: &[i64],
    ) -> Result<Option<Self>, DecodeError> {
        if shape.len() != strides.len() {
            return Err(DecodeError::Tensor("its sizes and strides differ in number"));
        }
        let count = elements(shape)?;
        let offset = usize::try_from(offset).map_err(|_| DecodeError::Tensor("its offset is negative"))?;
        if count == 0 {
            return Ok(None);
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
        if end > bytes {
            return Err(OUTSIDE);
        }
        // Trailing dimensions that lie end to end are one run.
        let mut run = 1;
        while let Some(&(size, stride)) = dimensions.last() {
            if stride != run {
                break;
            }
            run *= size;
            dimensions.pop();
        }
        Ok(Some(Self { dimensions, run, offset, count }))
    }

    /// Tells where each run begins, in their order.
    fn each<E>(&self, mut tell: impl FnMut(usize) -> Result<(), E>) -> Result<(), E> {
        let mut index = vec![0; self.dimensions.len()];
        let mut at = self.offset;
        loop {
            tell(at)?;
            let mut axis = self.dimensions.len();
            loop {
                let Some(next) = axis.checked_sub(1) else { return Ok(()) };
                axis = next;
                let (size, stride) = self.dimensions[axis];
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

    fn run_at<'a>(&self, storage: &'a [u8], width: usize, at: usize) -> Result<&'a [u8], DecodeError> {
        storage.get(at * width..(at + self.run) * width).ok_or(OUTSIDE)
    }
}

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
    let Some(laid) = Laid::find(storage.len(), width, offset, shape, strides)? else { return Ok(Cow::default()) };
    if laid.dimensions.is_empty() {
        return laid.run_at(storage, width, laid.offset).map(Cow::Borrowed);
    }
    let bytes = usize::try_from(laid.count).ok().and_then(|count| count.checked_mul(width)).ok_or(OUTSIDE)?;
    let mut result = Vec::with_capacity(bytes);
    laid.each(|at| {
        result.extend_from_slice(laid.run_at(storage, width, at)?);
        Ok::<_, DecodeError>(())
    })?;
    Ok(Cow::Owned(result))
}

/// Gives away what [`gather`] returns, in pieces.
pub(crate) fn give<E: From<DecodeError>>(
    storage: &[u8],
    width: usize,
    offset: i64,
    shape: &[i64],
    strides: &[i64],
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let Some(laid) = Laid::find(storage.len(), width, offset, shape, strides)? else { return Ok(()) };
    laid.each(|at| take(laid.run_at(storage, width, at)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_become_contiguous() {
        let storage: Vec<u8> = (0..12).collect();
        let check = |offset, shape: &[i64], strides: &[i64], expected: &[u8]| {
            assert_eq!(gather(&storage, 1, offset, shape, strides).unwrap(), expected, "{shape:?} {strides:?}");
            let mut given = Vec::new();
            let take = |run: &[u8]| {
                given.extend_from_slice(run);
                Ok::<_, DecodeError>(())
            };
            give(&storage, 1, offset, shape, strides, take).unwrap();
            assert_eq!(given, expected, "{shape:?} {strides:?}");
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
