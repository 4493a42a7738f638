//! Tensors and arrays: storages as the client writes them, and views into them.

use program::{DType, Datum, Ref, TensorData};

use crate::decode::layout::{elements, gather, reach};
use crate::decode::lower::Lowering;
use crate::error::DecodeError;
use crate::pickle::{self, Bounds, Graph, Id, Node};

/// The bytes that tensors look into. `dtype` is `None` for a storage without one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage<'a> {
    dtype: Option<DType>,
    bytes: &'a [u8],
    /// What the client calls the memory. It sends it once for each tensor.
    key: &'a str,
}

/// One memory of the client's, with the type that its tensors have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory<'a> {
    storage: Storage<'a>,
    dtype: DType,
}

impl<'a> Lowering<'_, 'a> {
    /// Builds the tensor that `torch._utils.<name>(*args)` would. `None` for functions that make no dense tensor.
    pub(super) fn tensor(&mut self, name: &str, args: &[Id]) -> Result<Option<Datum>, DecodeError> {
        let graph = self.graph;
        let (&[storage, offset, size, stride, grad, ..], metadata) = (match (name, args) {
            ("_rebuild_tensor_v2", args) => (args, args.get(6)),
            ("_rebuild_tensor_v3", args) => (args, args.get(7)),
            _ => return Ok(None),
        }) else {
            return Ok(None);
        };
        // Lazily conjugated or negated tensors carry a flag here instead of their own bytes.
        if metadata.is_some_and(|&metadata| graph.dict(metadata).is_some_and(|flags| !flags.is_empty())) {
            return Ok(None);
        }
        let Some(storage) = self.storage(storage)? else { return Ok(None) };
        let named = match (name, args.get(6)) {
            ("_rebuild_tensor_v3", Some(&dtype)) => match graph.global(dtype) {
                Some(("torch", name)) => DType::from_name(name),
                _ => None,
            },
            _ => storage.dtype,
        };
        let Some(dtype) = named else { return Ok(None) };
        let (Some(shape), Some(strides), Some(offset)) =
            (self.integers(size)?, self.integers(stride)?, graph.integer(offset))
        else {
            return Err(DecodeError::Tensor("its geometry is not made of integers"));
        };
        reach(storage.bytes.len() / dtype.size(), offset, &shape, &strides)?;
        let requires_grad = graph.truth(grad).unwrap_or(false);
        // Until all tensors are known, the reference is the number of the memory.
        let storage = self.memory(storage, dtype)?;
        Ok(Some(Datum::View { storage, shape, strides, offset, requires_grad }))
    }

    /// Returns the number of a memory: tensors that share one on the client share it here.
    fn memory(&mut self, storage: Storage<'a>, dtype: DType) -> Result<Ref, DecodeError> {
        for at in self.memories.get(storage.key).cloned().unwrap_or_default() {
            let Some(known) = self.all_memories.get(at as usize).copied() else { continue };
            // A name is that of an address, which may have been used again.
            self.spend(1)?;
            if known.dtype == dtype && known.storage.bytes.len() == storage.bytes.len() {
                self.spend(storage.bytes.len() as u64 / 8)?;
                if known.storage.bytes == storage.bytes {
                    return Ok(Ref(at));
                }
            }
        }
        let at = u32::try_from(self.all_memories.len()).unwrap_or(u32::MAX);
        self.all_memories.push(Memory { storage, dtype });
        self.memories.entry(storage.key).or_default().push(at);
        Ok(Ref(at))
    }

    /// Gives every tensor its bytes: its own where it lies row by row and shares them with nobody, else a part of a
    /// storage.
    pub(super) fn settle_memories(&mut self) -> Result<(), DecodeError> {
        let mut tensors: Vec<Vec<Ref>> = vec![Vec::new(); self.all_memories.len()];
        for at in (0..u32::try_from(self.heap.len()).unwrap_or(u32::MAX)).map(Ref) {
            if let Some(Datum::View { storage, .. }) = self.heap.get(at)
                && let Some(users) = tensors.get_mut(storage.0 as usize)
            {
                users.push(at);
            }
        }
        for (memory, users) in self.all_memories.clone().into_iter().zip(tensors) {
            self.settle(memory, &users)?;
        }
        Ok(())
    }

    fn settle(&mut self, Memory { storage, dtype }: Memory<'a>, users: &[Ref]) -> Result<(), DecodeError> {
        let width = dtype.size();
        let mut ranges = Vec::with_capacity(users.len());
        for at in users {
            let Some(Datum::View { shape, strides, offset, requires_grad, .. }) = self.heap.get(*at).cloned() else {
                continue;
            };
            let range = reach(storage.bytes.len() / width, offset, &shape, &strides)?;
            let plain = range.is_empty() || rows_follow(&shape, &strides);
            if plain && users.len() == 1 {
                self.charge(dtype, &shape)?;
                let bytes = self.keep(gather(storage.bytes, width, offset, &shape, &strides)?);
                self.heap.set(*at, Datum::Tensor(TensorData { dtype, shape, bytes, requires_grad }));
                return Ok(());
            }
            if !range.is_empty() {
                ranges.push(range);
            }
        }
        let start = ranges.iter().map(|range| range.start).min().unwrap_or(0);
        let end = ranges.iter().map(|range| range.end).max().unwrap_or(0);
        let count = i64::try_from(end - start).map_err(|_| DecodeError::Tensor("its size overflows"))?;
        self.charge(dtype, &[count])?;
        let bytes = self.keep(storage.bytes.get(start * width..end * width).unwrap_or_default().into());
        let data = TensorData { dtype, shape: vec![count], bytes, requires_grad: false };
        let shared = self.heap.push(Datum::Storage(data));
        for at in users {
            if let Some(Datum::View { storage, shape, offset, .. }) = self.heap.get_mut(*at) {
                *storage = shared;
                let moved = *offset - i64::try_from(start).unwrap_or(0);
                *offset = if shape.contains(&0) { 0 } else { moved };
            }
        }
        Ok(())
    }

    /// Builds a numpy array from `(version, shape, dtype, fortran, bytes)`.
    pub(super) fn array(&mut self, state: Id) -> Result<Option<Datum>, DecodeError> {
        let graph = self.graph;
        let Some(&[_, shape, dtype, fortran, bytes]) = graph.tuple(state) else { return Ok(None) };
        let (Some(shape), Some(bytes)) = (self.integers(shape)?, graph.bytes(bytes)) else {
            return Ok(Some(Datum::Opaque { what: "a numpy array of objects".into() }));
        };
        let Some((dtype, swapped)) = numpy_dtype(graph, dtype) else {
            return Ok(Some(Datum::Opaque { what: "a numpy array of this dtype".into() }));
        };
        self.charge(dtype, &shape)?;
        let strides = row_strides(&shape, graph.truth(fortran) == Some(true))?;
        let mut bytes = gather(bytes, dtype.size(), 0, &shape, &strides)?;
        if swapped {
            swap(dtype, bytes.to_mut());
        }
        let data = TensorData { dtype, shape, bytes: self.keep(bytes), requires_grad: false };
        Ok(Some(Datum::Array { data, scalar: false }))
    }

    /// Builds a numpy scalar.
    pub(super) fn scalar(&mut self, dtype: Id, bytes: Id) -> Result<Option<Datum>, DecodeError> {
        let graph = self.graph;
        let (Some((dtype, swapped)), Some(bytes)) = (numpy_dtype(graph, dtype), graph.bytes(bytes)) else {
            return Ok(Some(Datum::Opaque { what: "a numpy scalar of this dtype".into() }));
        };
        let mut bytes = gather(bytes, dtype.size(), 0, &[], &[])?;
        if swapped {
            swap(dtype, bytes.to_mut());
        }
        let data = TensorData { dtype, shape: Vec::new(), bytes: self.keep(bytes), requires_grad: false };
        Ok(Some(Datum::Array { data, scalar: true }))
    }

    /// Charges for a result before it is made.
    fn charge(&mut self, dtype: DType, shape: &[i64]) -> Result<(), DecodeError> {
        let bytes = elements(shape)?.checked_mul(dtype.size() as u64);
        self.spend(bytes.ok_or(DecodeError::Tensor("its size overflows"))?)
    }

    /// Reads the storage that `torch.storage._load_from_bytes(bytes)` would, once for each, or one that lies beside.
    fn storage(&mut self, id: Id) -> Result<Option<Storage<'a>>, DecodeError> {
        let graph = self.graph;
        if let &Node::Persistent(described) = graph.get(id) {
            return self.storage_beside(described);
        }
        let Some(object) = graph.object(id) else { return Ok(None) };
        let (Some(("torch.storage", "_load_from_bytes")), &[bytes]) = (graph.global(object.callee), graph.args(object))
        else {
            return Ok(None);
        };
        if let Some(storage) = self.storages.get(&bytes) {
            return Ok(Some(*storage));
        }
        let Some(saved) = graph.bytes(bytes) else { return Ok(None) };
        let storage = saved_storage(saved)?;
        self.storages.insert(bytes, storage);
        Ok(Some(storage))
    }

    /// Returns the storage that `("storage", class, key, device, count)` names.
    fn storage_beside(&self, described: Id) -> Result<Option<Storage<'a>>, DecodeError> {
        let graph = self.graph;
        let Some(&[_, class, key, _, count]) = graph.tuple(described) else { return Ok(None) };
        let (Some((_, class)), Some(key), Some(count)) = (graph.global(class), graph.text(key), graph.integer(count))
        else {
            return Ok(None);
        };
        let Some(bytes) = self.beside.get(key).copied() else { return Ok(None) };
        let (dtype, width) = element(class)?;
        sized(bytes, count, width)?;
        Ok(Some(Storage { dtype, bytes, key }))
    }
}

/// Says whether elements lie row by row, whatever the steps of dimensions of one element are.
fn rows_follow(shape: &[i64], strides: &[i64]) -> bool {
    let expected = TensorData::row_major(shape);
    let mut each = shape.iter().zip(strides).zip(&expected);
    each.all(|((&size, stride), expected)| size == 1 || stride == expected)
}

/// Reads `torch.save`'s legacy form of one storage: five pickles (magic number, version, system, the storage's
/// description, its key), the number of elements, and the elements.
fn saved_storage(saved: &[u8]) -> Result<Storage<'_>, DecodeError> {
    const MALFORMED: DecodeError = DecodeError::Tensor("its storage is not one that `torch.save` writes");
    const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
    let mut rest = saved;
    let mut next = || -> Result<(Graph<'_>, Id), DecodeError> {
        let (graph, root, end) = pickle::read(rest, Bounds { nodes: 256 }).map_err(|_| MALFORMED)?;
        rest = rest.get(end..).ok_or(MALFORMED)?;
        Ok((graph, root))
    };
    let (magic, root) = next()?;
    if *magic.get(root) != Node::Long(&MAGIC) {
        return Err(MALFORMED);
    }
    let (version, root) = next()?;
    if version.integer(root) != Some(1001) {
        return Err(MALFORMED);
    }
    let (system, root) = next()?;
    let little =
        |&(key, value): &(Id, Id)| system.text(key) == Some("little_endian") && system.truth(value) == Some(true);
    if !system.dict(root).is_some_and(|entries| entries.iter().any(little)) {
        return Err(DecodeError::Tensor("its bytes are not little-endian"));
    }
    let (described, root) = next()?;
    let &Node::Persistent(tuple) = described.get(root) else { return Err(MALFORMED) };
    let Some(&[_, class, key, _, count, view]) = described.tuple(tuple) else { return Err(MALFORMED) };
    let (Some((_, class)), Some(count), Node::None) =
        (described.global(class), described.integer(count), described.get(view))
    else {
        return Err(MALFORMED);
    };
    next()?;
    let (dtype, width) = element(class)?;
    let (header, bytes) = rest.split_first_chunk::<8>().ok_or(MALFORMED)?;
    if i64::from_le_bytes(*header) != count {
        return Err(UNSIZED);
    }
    sized(bytes, count, width)?;
    Ok(Storage { dtype, bytes, key: described.text(key).unwrap_or_default() })
}

const UNSIZED: DecodeError = DecodeError::Tensor("its storage has another size than it says");

/// Refuses a storage that has not as many bytes as so many elements take.
fn sized(bytes: &[u8], count: i64, width: usize) -> Result<(), DecodeError> {
    let count = u64::try_from(count).map_err(|_| UNSIZED)?;
    if count.checked_mul(width as u64) == Some(bytes.len() as u64) { Ok(()) } else { Err(UNSIZED) }
}

/// Returns the type of a storage's elements, which one without a type has not, and the bytes of each.
fn element(class: &str) -> Result<(Option<DType>, usize), DecodeError> {
    match storage_dtype(class) {
        Some(dtype) => Ok((Some(dtype), dtype.size())),
        None if class == "UntypedStorage" => Ok((None, 1)),
        None => Err(DecodeError::Tensor("this server does not know its element type")),
    }
}

fn storage_dtype(class: &str) -> Option<DType> {
    Some(match class {
        "DoubleStorage" => DType::Float64,
        "FloatStorage" => DType::Float32,
        "HalfStorage" => DType::Float16,
        "BFloat16Storage" => DType::BFloat16,
        "LongStorage" => DType::Int64,
        "IntStorage" => DType::Int32,
        "ShortStorage" => DType::Int16,
        "CharStorage" => DType::Int8,
        "ByteStorage" => DType::UInt8,
        "BoolStorage" => DType::Bool,
        "ComplexFloatStorage" => DType::Complex64,
        "ComplexDoubleStorage" => DType::Complex128,
        _ => return None,
    })
}

/// Reads `numpy.dtype(code, False, True)` with its state; says whether the bytes are big-endian.
fn numpy_dtype(graph: &Graph<'_>, id: Id) -> Option<(DType, bool)> {
    let object = graph.object(id)?;
    if graph.global(object.callee)? != ("numpy", "dtype") {
        return None;
    }
    let dtype = match graph.text(*graph.args(object).first()?)? {
        "f8" => DType::Float64,
        "f4" => DType::Float32,
        "f2" => DType::Float16,
        "i8" => DType::Int64,
        "i4" => DType::Int32,
        "i2" => DType::Int16,
        "i1" => DType::Int8,
        "u8" => DType::UInt64,
        "u4" => DType::UInt32,
        "u2" => DType::UInt16,
        "u1" => DType::UInt8,
        "b1" => DType::Bool,
        "c8" => DType::Complex64,
        "c16" => DType::Complex128,
        _ => return None,
    };
    let order = object.state.and_then(|state| graph.tuple(state)?.get(1).copied()).and_then(|order| graph.text(order));
    Some((dtype, order == Some(">")))
}

/// Returns the strides of a packed array, in elements.
fn row_strides(shape: &[i64], fortran: bool) -> Result<Vec<i64>, DecodeError> {
    elements(shape)?;
    let mut strides = vec![0; shape.len()];
    let mut step = 1_i64;
    let mut visit = |axis: usize| {
        strides[axis] = step;
        // `elements` has bounded this product.
        step = step.saturating_mul(shape[axis].max(1));
    };
    if fortran {
        (0..shape.len()).for_each(&mut visit)
    } else {
        (0..shape.len()).rev().for_each(&mut visit)
    }
    Ok(strides)
}

/// Reverses the byte order of each number; a complex number is two.
fn swap(dtype: DType, bytes: &mut [u8]) {
    let width = match dtype {
        DType::Complex64 | DType::Complex128 | DType::Complex32 => dtype.size() / 2,
        _ => dtype.size(),
    };
    bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
}
