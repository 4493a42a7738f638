//! Result bytes to the values that they were made of.

use bytes::Bytes;
use program::Saved;

use crate::decode::archive;
use crate::decode::lower::Lowering;
use crate::error::DecodeError;
use crate::pickle::{self, Bounds, Id};

/// Bytes that values may take for each of the archive's: a reference that is written in two bytes takes eight.
const FOR_EACH: u64 = 16;
/// And beside those.
const BESIDE: u64 = 1 << 20;

/// Reads what [`encode_saved`](crate::encode_saved) wrote, once it is decompressed. The bytes of tensors are parts of it.
///
/// # Errors
/// [`DecodeError::TooManyValues`] where it has more than so many values; else where it is nothing of ours.
pub fn decode_saved(bytes: &Bytes, values: u32) -> Result<Saved, DecodeError> {
    let entries = archive::entries(bytes)?;
    let missing = DecodeError::Payload("the archive has no pickle");
    let pickle = entries.get("archive/data.pkl").copied().ok_or(missing)?;
    let (graph, root, _) = pickle::read(pickle, Bounds { nodes: values })?;
    let limit = (bytes.len() as u64).saturating_mul(FOR_EACH).saturating_add(BESIDE);
    // There is no tracer in a result.
    let mut lowering = Lowering::new(&graph, bytes, Id(u32::MAX), limit);
    let storages = entries.into_iter();
    lowering.beside = storages.filter_map(|(name, bytes)| Some((name.strip_prefix("archive/data/")?, bytes))).collect();
    let names = lowering.names(root)?;
    let heap = lowering.finish()?;
    Ok(Saved { heap, names })
}

#[cfg(test)]
mod tests {
    use program::{DType, Datum, Heap, Ref, TensorData};

    use super::*;
    use crate::encode_saved;

    fn tensor(dtype: DType, shape: &[i64]) -> TensorData {
        let count: i64 = shape.iter().product();
        let bytes: Vec<u8> = (0..count as usize * dtype.size()).map(|at| (at * 7 % 2) as u8).collect();
        TensorData { dtype, shape: shape.to_vec(), bytes: bytes.into(), requires_grad: false }
    }

    /// Values of every kind that a result can have.
    fn saved() -> Saved {
        let mut heap = Heap::default();
        let mut names: Vec<(String, Ref)> = Vec::new();
        for dtype in DType::ALL {
            names.push((dtype.name().into(), heap.push(Datum::Tensor(tensor(dtype, &[2, 3])))));
        }
        let storage = heap.push(Datum::Storage(tensor(DType::Float32, &[12])));
        for (name, shape, strides, offset) in
            [("rows", vec![3, 4], vec![4, 1], 0), ("turned", vec![4, 3], vec![1, 4], 0), ("last", vec![], vec![], 11)]
        {
            let view = Datum::View { storage, shape, strides, offset, requires_grad: false };
            names.push((name.into(), heap.push(view)));
        }
        let array = Datum::Array { data: tensor(DType::Int64, &[3]), scalar: false };
        let scalar = Datum::Array { data: tensor(DType::Float64, &[]), scalar: true };
        let size = Datum::Size(vec![2, 3]);
        for (name, datum) in [("array", array), ("scalar", scalar), ("size", size), ("none", Datum::None)] {
            names.push((name.into(), heap.push(datum)));
        }
        let (one, text) = (heap.push(Datum::Int(1.into())), heap.push(Datum::Str("text".into())));
        let list = heap.push(Datum::List(vec![one, text, names[0].1]));
        let tuple = heap.push(Datum::Tuple(vec![list, one, text, list]));
        let dict = heap.push(Datum::Dict(vec![(text, tuple), (one, list)]));
        names.push(("nested".into(), dict));
        names.push(("complex".into(), heap.push(Datum::Complex(1.5, -0.0))));
        names.push(("big".into(), heap.push(Datum::Int(num_bigint::BigInt::from(7).pow(99)))));
        Saved { heap, names }
    }

    #[test]
    fn what_was_written_is_read_and_written_again_byte_by_byte() {
        let written = Bytes::from(encode_saved(&saved(), false).unwrap());
        let read = decode_saved(&written, 1_000).unwrap();
        assert!(encode_saved(&read, false).unwrap() == written);
        let tensor = read.heap.get(read.names[0].1);
        let Some(Datum::Tensor(tensor)) = tensor else { panic!("{tensor:?}") };
        assert!(written.as_ptr_range().contains(&tensor.bytes.as_ptr()), "tensors are parts of the archive");
    }

    #[test]
    fn an_archive_that_was_changed_or_cut_is_refused_and_one_with_too_many_values() {
        let written = encode_saved(&saved(), false).unwrap();
        // What comes behind the entries says nothing that they do not.
        let entries = written.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
        for at in (0..entries).step_by(97) {
            assert!(decode_saved(&written[..at].to_vec().into(), 1_000).is_err(), "cut at {at}");
        }
        let data = written.windows(13).position(|name| name == b"archive/data/").unwrap() + 40;
        let mut changed = written.clone();
        changed[data] ^= 1;
        assert!(decode_saved(&changed.into(), 1_000).is_err());
        let few = decode_saved(&written.into(), 20).unwrap_err();
        assert!(matches!(few, DecodeError::TooManyValues { limit: 20 }), "{few}");
    }
}
