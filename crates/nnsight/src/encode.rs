//! Saved values to the bytes that the client gives to `torch.load`.

mod allow;
pub(crate) mod archive;
mod trace;

use std::collections::HashMap;

use program::{DType, Datum, Ref, Saved, TensorData};

use crate::compression;
use crate::error::EncodeError;
use crate::pickle::Writer;
use crate::pickle::opcode::{
    ADDITEMS, APPENDS, BINPERSID, BUILD, EMPTY_DICT, EMPTY_LIST, EMPTY_SET, FROZENSET, MARK, NEWOBJ, POP, POP_MARK,
    REDUCE, SETITEMS, TUPLE,
};
use archive::Archive;

pub use trace::encode_trace;

/// How often a value may be met again while its own contents are being written; see [`Encoder::enter`].
const MAX_REENTRIES: u32 = 64;

/// Writes `{name: value}` as `torch.save` does: an uncompressed zip of one pickle and the tensors' bytes, inside one
/// zstd frame that carries its content size where `compress` is set.
///
/// # Errors
/// [`EncodeError`] naming the variable that holds something which cannot be sent.
pub fn encode_saved(saved: &Saved, compress: bool) -> Result<Vec<u8>, EncodeError> {
    let mut encoder = Encoder {
        saved,
        writer: Writer::new(),
        memo: HashMap::new(),
        open: HashMap::new(),
        storages: Vec::new(),
        keys: HashMap::new(),
        work: Vec::new(),
        name: "",
    };
    encoder.run()?;
    let pickle = encoder.writer.finish();
    let mut archive = Archive::new(vec![&pickle]);
    encoder.storages.iter().for_each(|bytes| archive.add_storage(bytes));
    if compress {
        return Ok(compression::compress(&archive)?);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(archive.length()).unwrap_or(0));
    archive.write(&mut bytes)?;
    Ok(bytes)
}

struct Encoder<'s> {
    saved: &'s Saved,
    writer: Writer,
    /// Values written before, by place.
    memo: HashMap<Ref, u32>,
    /// Values whose contents must be written before they can be memoised, and are being written now.
    open: HashMap<Ref, u32>,
    storages: Vec<&'s [u8]>,
    /// By place: the number of the storage that was written for it.
    keys: HashMap<Ref, usize>,
    /// What is still to be written, last first.
    work: Vec<Step<'s>>,
    /// The variable being written.
    name: &'s str,
}

/// One thing to write.
enum Step<'s> {
    Variable(&'s str),
    Value(Ref),
    Text(&'s str),
    Op(u8),
    /// Closes a tuple of that many values.
    Tuple(usize),
    /// Ends a value that was written after its contents. If its contents referred back to it, it exists already and
    /// takes the place of what was stacked.
    Close {
        at: Ref,
        stacked: Stacked,
        end: End,
    },
}

/// What stands on the stack when a value closes.
#[derive(Clone, Copy)]
enum Stacked {
    Values(usize),
    Mark,
}

#[derive(Clone, Copy)]
enum End {
    Tuple(usize),
    FrozenSet,
    /// A class and a tuple.
    Call {
        called: bool,
    },
}

impl<'s> Encoder<'s> {
    fn run(&mut self) -> Result<(), EncodeError> {
        self.writer.op(EMPTY_DICT);
        self.writer.memoize();
        self.writer.op(MARK);
        self.work.push(Step::Op(SETITEMS));
        for (name, value) in self.saved.names.iter().rev() {
            self.work.extend([Step::Value(*value), Step::Text(name), Step::Variable(name)]);
        }
        while let Some(step) = self.work.pop() {
            match step {
                Step::Variable(name) => self.name = name,
                Step::Value(at) => self.value(at)?,
                Step::Text(text) => self.writer.text(text),
                Step::Op(op) => self.writer.op(op),
                Step::Tuple(length) => self.writer.tuple(length),
                Step::Close { at, stacked, end } => self.close(at, stacked, end),
            }
        }
        Ok(())
    }

    fn value(&mut self, at: Ref) -> Result<(), EncodeError> {
        if let Some(&index) = self.memo.get(&at) {
            self.writer.recall(index);
            return Ok(());
        }
        let Some(datum) = self.saved.heap.get(at) else { return self.malformed("its value is missing") };
        match datum {
            Datum::None => self.writer.none(),
            Datum::Ellipsis => self.writer.global("builtins", "Ellipsis"),
            Datum::NotImplemented => self.writer.global("builtins", "NotImplemented"),
            Datum::Bool(value) => self.writer.boolean(*value),
            Datum::Int(value) => self.writer.big(value),
            Datum::Float(value) => self.writer.float(*value),
            Datum::Complex(real, imaginary) => {
                self.writer.global("builtins", "complex");
                self.writer.float(*real);
                self.writer.float(*imaginary);
                self.call(2, at);
            }
            Datum::Str(text) => {
                self.writer.text(text);
                self.memoize(at);
            }
            Datum::Bytes(bytes) => {
                self.writer.raw(bytes);
                self.memoize(at);
            }
            Datum::List(items) => {
                self.writer.op(EMPTY_LIST);
                self.memoize(at);
                self.fill(items, APPENDS);
            }
            Datum::Set(items) => {
                self.writer.op(EMPTY_SET);
                self.memoize(at);
                self.fill(items, ADDITEMS);
            }
            Datum::Dict(pairs) => {
                self.writer.op(EMPTY_DICT);
                self.memoize(at);
                self.fill_pairs(pairs);
            }
            Datum::Tuple(items) => {
                self.enter(at)?;
                let stacked = if items.len() > 3 { Stacked::Mark } else { Stacked::Values(items.len()) };
                self.work.push(Step::Close { at, stacked, end: End::Tuple(items.len()) });
                self.values(items);
                if items.len() > 3 {
                    self.writer.op(MARK);
                }
            }
            Datum::FrozenSet(items) => {
                self.enter(at)?;
                self.work.push(Step::Close { at, stacked: Stacked::Mark, end: End::FrozenSet });
                self.values(items);
                self.writer.op(MARK);
            }
            Datum::Range { start, stop, step } => {
                self.writer.global("builtins", "range");
                [start, stop, step].into_iter().for_each(|value| self.writer.big(value));
                self.call(3, at);
            }
            Datum::Slice { start, stop, step } => {
                self.enter(at)?;
                self.writer.global("builtins", "slice");
                let end = End::Call { called: true };
                self.work.extend([Step::Close { at, stacked: Stacked::Values(2), end }, Step::Tuple(3)]);
                self.values(&[*start, *stop, *step]);
            }
            Datum::Tensor(_) | Datum::View { .. } => {
                self.tensor(at)?;
                self.memoize(at);
            }
            Datum::Parameter { tensor, requires_grad } => {
                let Some(Datum::Tensor(_) | Datum::View { .. }) = self.saved.heap.get(*tensor) else {
                    return self.malformed("a parameter holds no tensor");
                };
                self.writer.global("torch._utils", "_rebuild_parameter");
                self.tensor(*tensor)?;
                self.writer.boolean(*requires_grad);
                self.ordered_dict();
                self.call(3, at);
            }
            Datum::Array { data, scalar } => self.array(data, *scalar, at)?,
            Datum::Size(sizes) => {
                self.writer.global("torch", "Size");
                self.writer.integers(sizes);
                self.call(1, at);
            }
            Datum::DType(dtype) => self.writer.global("torch", dtype.name()),
            Datum::Device(text) => {
                self.writer.global("torch", "device");
                self.writer.text(text);
                self.call(1, at);
            }
            Datum::Global { module, name } if allow::value(module, name) => self.writer.global(module, name),
            Datum::Object { class, called, args, state, items, pairs } => {
                self.object(at, *class, *called, args, *state, items, pairs)?;
            }
            other => return self.unsupported(describe(other)),
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one variant")]
    fn object(
        &mut self,
        at: Ref,
        class: Ref,
        called: bool,
        args: &'s [Ref],
        state: Option<Ref>,
        items: &'s [Ref],
        pairs: &'s [(Ref, Ref)],
    ) -> Result<(), EncodeError> {
        let (module, name) = match self.saved.heap.get(class) {
            Some(Datum::Global { module, name }) if allow::class(module, name) => (module, name),
            // An operator whose results Python's torch gives as a plain tuple.
            Some(Datum::Global { module, .. }) if module == "torch.return_types" => {
                let Some(&tuple) = args.first() else { return self.malformed("a named result has no elements") };
                self.work.push(Step::Value(tuple));
                return Ok(());
            }
            Some(Datum::Global { module, name }) => {
                return self.unsupported(format!("this server does not send objects of `{module}.{name}`"));
            }
            Some(Datum::Class { name, .. }) => {
                return self.unsupported(format!(
                    "it holds an object of the class `{name}`, which exists only in your own program; \
                     save its tensors, lists or dicts instead"
                ));
            }
            _ => return self.unsupported("it holds an object whose class is unknown".into()),
        };
        self.enter(at)?;
        // Last first: what was appended and set comes before the state, as Python writes it.
        if let Some(state) = state {
            self.work.extend([Step::Op(BUILD), Step::Value(state)]);
        }
        if !pairs.is_empty() {
            self.work.push(Step::Op(SETITEMS));
            self.work.extend(pairs.iter().rev().flat_map(|&(key, value)| [Step::Value(value), Step::Value(key)]));
            self.work.push(Step::Op(MARK));
        }
        if !items.is_empty() {
            self.work.push(Step::Op(APPENDS));
            self.values(items);
            self.work.push(Step::Op(MARK));
        }
        self.work.push(Step::Close { at, stacked: Stacked::Values(2), end: End::Call { called } });
        self.work.push(Step::Tuple(args.len()));
        self.values(args);
        if args.len() > 3 {
            self.work.push(Step::Op(MARK));
        }
        self.writer.global(module, name);
        Ok(())
    }

    /// Writes a tensor, over a storage of its own or one that others have too.
    fn tensor(&mut self, at: Ref) -> Result<(), EncodeError> {
        let saved = self.saved;
        let laid = match saved.heap.get(at) {
            Some(Datum::Tensor(data)) => {
                let (shape, strides) = (data.shape.as_slice(), TensorData::row_major(&data.shape));
                Laid { storage: at, data, shape, strides, offset: 0, requires_grad: data.requires_grad }
            }
            Some(Datum::View { storage, shape, strides, offset, requires_grad }) => {
                let Some(Datum::Storage(data)) = saved.heap.get(*storage) else {
                    return self.malformed("a tensor looks into no storage");
                };
                let (storage, strides) = (*storage, strides.clone());
                Laid { storage, data, shape, strides, offset: *offset, requires_grad: *requires_grad }
            }
            _ => return self.malformed("a tensor is something else"),
        };
        let Some(elements) = self.sized(laid.data) else {
            return self.malformed("a tensor's bytes do not fit its shape");
        };
        if !laid.fits(elements) {
            return self.malformed("a tensor reaches beyond its storage");
        }
        let data = laid.data;
        let class = storage_class(data.dtype);
        let rebuild = if class.is_some() { "_rebuild_tensor_v2" } else { "_rebuild_tensor_v3" };
        self.writer.global("torch._utils", rebuild);
        self.writer.op(MARK);
        self.writer.op(MARK);
        self.writer.text("storage");
        match class {
            Some(class) => self.writer.global("torch", class),
            None => self.writer.global("torch.storage", "UntypedStorage"),
        }
        let next = self.storages.len();
        let key = *self.keys.entry(laid.storage).or_insert(next);
        if key == next {
            self.storages.push(&data.bytes);
        }
        self.writer.text(&key.to_string());
        self.writer.text("cpu");
        let count = if class.is_some() { elements } else { data.bytes.len() as u64 };
        self.writer.integer(i64::try_from(count).unwrap_or(i64::MAX));
        self.writer.op(TUPLE);
        self.writer.op(BINPERSID);
        self.writer.integer(laid.offset);
        self.writer.integers(laid.shape);
        self.writer.integers(&laid.strides);
        self.writer.boolean(laid.requires_grad && differentiable(data.dtype));
        self.ordered_dict();
        if class.is_none() {
            self.writer.global("torch", data.dtype.name());
        }
        self.writer.op(TUPLE);
        self.writer.op(REDUCE);
        Ok(())
    }

    fn array(&mut self, data: &TensorData, scalar: bool, at: Ref) -> Result<(), EncodeError> {
        if self.sized(data).is_none() || scalar && !data.shape.is_empty() {
            return self.malformed("an array's bytes do not fit its shape");
        }
        let Some(code) = numpy_code(data.dtype) else {
            return self.unsupported(format!("numpy has no dtype {}", data.dtype.name()));
        };
        if scalar {
            self.writer.global("numpy._core.multiarray", "scalar");
            self.numpy_dtype(code);
            self.writer.raw(&data.bytes);
            self.call(2, at);
            return Ok(());
        }
        self.writer.global("numpy._core.multiarray", "_reconstruct");
        self.writer.global("numpy", "ndarray");
        self.writer.integers(&[0]);
        self.writer.raw(b"b");
        self.call(3, at);
        self.writer.op(MARK);
        self.writer.integer(1);
        self.writer.integers(&data.shape);
        self.numpy_dtype(code);
        self.writer.boolean(false);
        self.writer.raw(&data.bytes);
        self.writer.op(TUPLE);
        self.writer.op(BUILD);
        Ok(())
    }

    fn numpy_dtype(&mut self, code: &str) {
        self.writer.global("numpy", "dtype");
        self.writer.text(code);
        self.writer.boolean(false);
        self.writer.boolean(true);
        self.writer.tuple(3);
        self.writer.op(REDUCE);
        self.writer.op(MARK);
        self.writer.integer(3);
        self.writer.text(if code.ends_with('1') { "|" } else { "<" });
        (0..3).for_each(|_| self.writer.none());
        self.writer.integer(-1);
        self.writer.integer(-1);
        self.writer.integer(0);
        self.writer.op(TUPLE);
        self.writer.op(BUILD);
    }

    fn ordered_dict(&mut self) {
        self.writer.global("collections", "OrderedDict");
        self.writer.tuple(0);
        self.writer.op(REDUCE);
    }

    /// Calls the global that lies below `count` arguments, and memoises what it gives.
    fn call(&mut self, count: usize, at: Ref) {
        self.writer.tuple(count);
        self.writer.op(REDUCE);
        self.memoize(at);
    }

    /// Plans to write values, the first first.
    fn values(&mut self, items: &[Ref]) {
        self.work.extend(items.iter().rev().map(|&item| Step::Value(item)));
    }

    fn fill(&mut self, items: &[Ref], op: u8) {
        if !items.is_empty() {
            self.work.push(Step::Op(op));
            self.values(items);
            self.writer.op(MARK);
        }
    }

    fn fill_pairs(&mut self, pairs: &[(Ref, Ref)]) {
        if !pairs.is_empty() {
            self.work.push(Step::Op(SETITEMS));
            self.work.extend(pairs.iter().rev().flat_map(|&(key, value)| [Step::Value(value), Step::Value(key)]));
            self.writer.op(MARK);
        }
    }

    /// Notes that a value's contents come before it. A tuple inside a list inside that tuple is met a second time
    /// before it ends, and is then written out there; a value with nothing but such values around the circle would
    /// never end.
    fn enter(&mut self, at: Ref) -> Result<(), EncodeError> {
        let entries = self.open.entry(at).or_insert(0);
        *entries += 1;
        if *entries > MAX_REENTRIES {
            return Err(EncodeError::Cyclic { name: self.name.to_owned() });
        }
        Ok(())
    }

    fn close(&mut self, at: Ref, stacked: Stacked, end: End) {
        if let Some(entries) = self.open.get_mut(&at) {
            *entries -= 1;
            if *entries == 0 {
                self.open.remove(&at);
            }
        }
        if let Some(&index) = self.memo.get(&at) {
            match stacked {
                Stacked::Values(count) => (0..count).for_each(|_| self.writer.op(POP)),
                Stacked::Mark => self.writer.op(POP_MARK),
            }
            return self.writer.recall(index);
        }
        match end {
            End::Tuple(length) => self.writer.tuple(length),
            End::FrozenSet => self.writer.op(FROZENSET),
            End::Call { called: true } => self.writer.op(REDUCE),
            End::Call { called: false } => self.writer.op(NEWOBJ),
        }
        self.memoize(at);
    }

    fn memoize(&mut self, at: Ref) {
        let index = self.writer.memoize();
        self.memo.insert(at, index);
    }

    /// Returns a tensor's element count if its bytes are exactly those elements.
    fn sized(&self, data: &TensorData) -> Option<u64> {
        let elements = data.elements()?;
        (elements.checked_mul(data.dtype.size() as u64)? == data.bytes.len() as u64).then_some(elements)
    }

    fn unsupported<T>(&self, what: String) -> Result<T, EncodeError> {
        Err(EncodeError::Unsupported { name: self.name.to_owned(), what })
    }

    fn malformed<T>(&self, what: &'static str) -> Result<T, EncodeError> {
        Err(EncodeError::Malformed { name: self.name.to_owned(), what })
    }
}

/// A tensor and the elements that it looks into.
struct Laid<'s> {
    storage: Ref,
    data: &'s TensorData,
    shape: &'s [i64],
    strides: Vec<i64>,
    offset: i64,
    requires_grad: bool,
}

impl Laid<'_> {
    /// Returns whether all elements are among so many.
    fn fits(&self, elements: u64) -> bool {
        if self.shape.len() != self.strides.len() || self.offset < 0 || self.shape.iter().any(|&size| size < 0) {
            return false;
        }
        if self.shape.contains(&0) {
            return true;
        }
        let mut last = u64::try_from(self.offset).ok();
        for (&size, &stride) in self.shape.iter().zip(&self.strides) {
            let (size, stride) = (u64::try_from(size).ok(), u64::try_from(stride).ok());
            let reach = size.zip(stride).and_then(|(size, stride)| (size - 1).checked_mul(stride));
            last = last.zip(reach).and_then(|(last, reach)| last.checked_add(reach));
        }
        last.is_some_and(|last| last < elements)
    }
}

/// Says what a value is that cannot be sent.
fn describe(datum: &Datum) -> String {
    match datum {
        Datum::Function { name, .. } => format!("it holds the function `{name}`, and functions are not sent back"),
        Datum::Class { name, .. } => {
            format!("it holds the class `{name}`, which exists only in your own program")
        }
        Datum::Global { module, name } => format!("this server does not send `{module}.{name}`"),
        Datum::Module(name) => format!("it holds the module `{name}`, and modules are not sent back"),
        Datum::Envoy(_) | Datum::ModelModule { .. } => {
            "it holds a part of the model; save its output or its weights instead".into()
        }
        Datum::Tokenizer => "it holds the tokenizer, which your own program has".into(),
        Datum::Tracer => "it holds the tracer".into(),
        Datum::Opaque { what } => format!("it holds {what}"),
        _ => "it holds a value that is not sent back".into(),
    }
}

/// Returns the typed storage of an element type, or `None` for those that came after typed storages.
fn storage_class(dtype: DType) -> Option<&'static str> {
    Some(match dtype {
        DType::Float64 => "DoubleStorage",
        DType::Float32 => "FloatStorage",
        DType::Float16 => "HalfStorage",
        DType::BFloat16 => "BFloat16Storage",
        DType::Int64 => "LongStorage",
        DType::Int32 => "IntStorage",
        DType::Int16 => "ShortStorage",
        DType::Int8 => "CharStorage",
        DType::UInt8 => "ByteStorage",
        DType::Bool => "BoolStorage",
        DType::Complex64 => "ComplexFloatStorage",
        DType::Complex128 => "ComplexDoubleStorage",
        _ => return None,
    })
}

fn numpy_code(dtype: DType) -> Option<&'static str> {
    Some(match dtype {
        DType::Float64 => "f8",
        DType::Float32 => "f4",
        DType::Float16 => "f2",
        DType::Int64 => "i8",
        DType::Int32 => "i4",
        DType::Int16 => "i2",
        DType::Int8 => "i1",
        DType::UInt64 => "u8",
        DType::UInt32 => "u4",
        DType::UInt16 => "u2",
        DType::UInt8 => "u1",
        DType::Bool => "b1",
        DType::Complex64 => "c8",
        DType::Complex128 => "c16",
        _ => return None,
    })
}

/// Returns whether tensors of this type may require gradients.
fn differentiable(dtype: DType) -> bool {
    use DType::{BFloat16, Complex32, Complex64, Complex128, Float16, Float32, Float64};
    matches!(dtype, BFloat16 | Complex32 | Complex64 | Complex128 | Float16 | Float32 | Float64)
}

#[cfg(test)]
mod tests {
    use program::Heap;

    use super::*;

    fn refusal(datum: impl FnOnce(&mut Heap) -> Datum) -> String {
        let mut heap = Heap::default();
        let datum = datum(&mut heap);
        let value = heap.push(datum);
        let list = heap.push(Datum::List(vec![value]));
        let error = encode_saved(&Saved { heap, names: vec![("result".into(), list)] }, true).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("`result` cannot be returned: "), "{text}");
        text
    }

    fn object(heap: &mut Heap, class: Datum) -> Datum {
        let class = heap.push(class);
        Datum::Object { class, called: true, args: vec![], state: None, items: vec![], pairs: vec![] }
    }

    fn global(module: &str, name: &str) -> Datum {
        Datum::Global { module: module.into(), name: name.into() }
    }

    #[test]
    fn what_cannot_be_sent_is_named() {
        let class =
            || Datum::Class { name: "Mine".into(), module: "__main__".into(), bases: vec![], attributes: vec![] };
        assert!(refusal(|heap| object(heap, class())).contains("class `Mine`, which exists only in your own program"));
        assert!(refusal(|_| class()).contains("class `Mine`"));
        assert!(refusal(|_| Datum::Module("os".into())).contains("module `os`"));
        assert!(refusal(|_| Datum::Tracer).contains("tracer"));
        assert!(refusal(|_| Datum::Opaque { what: "a socket".into() }).contains("a socket"));
        assert!(refusal(|_| Datum::List(vec![Ref(99)])).contains("missing"));
    }

    #[test]
    fn no_name_outside_the_closed_list_is_written() {
        for (module, name) in [
            ("os", "system"),
            ("builtins", "eval"),
            ("builtins", "getattr"),
            ("torch.storage", "_load_from_bytes"),
            ("transformers.modeling_outputs", "OrderedDict.__init__"),
            ("collections\nos", "system"),
            ("collections", "namedtuple"),
            ("nnsight.intervention.serialization", "_load_function"),
        ] {
            assert!(refusal(|_| global(module, name)).contains(module));
            assert!(refusal(|heap| object(heap, global(module, name))).contains(module));
        }
        // A list of names alone calls nothing: types are sent, not called.
        assert!(refusal(|heap| object(heap, global("builtins", "int"))).contains("builtins.int"));
    }

    #[test]
    fn tensors_whose_bytes_do_not_fit_are_refused() {
        for (shape, bytes) in [(vec![2], 4), (vec![-1], 0), (vec![i64::MAX, i64::MAX], 0), (vec![], 0)] {
            let data = TensorData { dtype: DType::Float32, shape, bytes: vec![0; bytes].into(), requires_grad: false };
            assert!(refusal(|_| Datum::Tensor(data.clone())).contains("do not fit"));
            assert!(refusal(|_| Datum::Array { data, scalar: false }).contains("do not fit"));
        }
        let data = TensorData { dtype: DType::BFloat16, shape: vec![], bytes: vec![0; 2].into(), requires_grad: false };
        assert!(refusal(|_| Datum::Array { data, scalar: true }).contains("bfloat16"));
        assert!(refusal(|_| Datum::Parameter { tensor: Ref(0), requires_grad: true }).contains("no tensor"));
    }

    #[test]
    fn circles_without_a_container_that_can_be_filled_later_end() {
        assert!(refusal(|_| Datum::Tuple(vec![Ref(0)])).contains("contains itself"));
        assert!(refusal(|_| Datum::Tuple(vec![Ref(0), Ref(0), Ref(0), Ref(0)])).contains("contains itself"));
        assert!(refusal(|_| Datum::FrozenSet(vec![Ref(0)])).contains("contains itself"));
        assert!(refusal(|_| Datum::Slice { start: Ref(0), stop: Ref(0), step: Ref(0) }).contains("contains itself"));
    }

    #[test]
    fn depth_takes_no_stack() {
        let mut heap = Heap::default();
        let mut inner = heap.push(Datum::None);
        for _ in 0..300_000 {
            let list = heap.push(Datum::List(vec![inner]));
            inner = heap.push(Datum::Tuple(vec![list]));
        }
        let saved = Saved { heap, names: vec![("deep".into(), inner)] };
        assert!(encode_saved(&saved, false).unwrap().len() > 600_000);
    }

    #[test]
    fn a_frame_carries_the_size_of_its_content() {
        let saved = Saved::default();
        let (plain, frame) = (encode_saved(&saved, false).unwrap(), encode_saved(&saved, true).unwrap());
        assert_eq!(zstd::zstd_safe::get_frame_content_size(&frame).unwrap(), Some(plain.len() as u64));
        assert_eq!(zstd::decode_all(frame.as_slice()).unwrap(), plain);
    }
}
