//! Archives that `torch.save` writes of plain tensors: a zip file of stored entries, one of which is a pickle that names the
//! others. What the pickle asks for is read as data and compared with a short list; nothing of it is run.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use nnsight::pickle::{Bounds, Graph, Id, Node, Object, read};
use tch::Kind;
use zip::{CompressionMethod, ZipArchive};

use crate::checkpoint::Entry;
use crate::error::LoadError;

/// Largest pickle that is read, and values in it: a model of 100,000 tensors needs a tenth.
const PICKLE_BYTES: u64 = 100 << 20;
const VALUES: u32 = 20_000_000;

/// Classes of storages, with what they hold.
const STORAGES: [(&str, &str, Kind); 9] = [
    ("FloatStorage", "F32", Kind::Float),
    ("HalfStorage", "F16", Kind::Half),
    ("BFloat16Storage", "BF16", Kind::BFloat16),
    ("DoubleStorage", "F64", Kind::Double),
    ("LongStorage", "I64", Kind::Int64),
    ("IntStorage", "I32", Kind::Int),
    ("CharStorage", "I8", Kind::Int8),
    ("ByteStorage", "U8", Kind::Uint8),
    ("BoolStorage", "BOOL", Kind::Bool),
];

/// Reads where the tensors of the file of a number lie, and checks that all of them lie inside it.
pub fn entries(path: &Path, file: &mut File, index: usize) -> Result<Vec<(String, Entry)>, LoadError> {
    let corrupt = |reason: &str| LoadError::corrupt(path, reason);
    let zip = ZipArchive::new(&mut *file);
    let mut zip = zip.map_err(|error| {
        corrupt(&format!("it is no zip archive, as torch.save has written since PyTorch 1.6: {error}"))
    })?;
    let (pickles, root): (Vec<_>, _) = {
        let mut names = zip.file_names().filter_map(|name| name.strip_suffix("data.pkl"));
        let root = names.next().map(str::to_owned);
        (names.map(str::to_owned).collect(), root)
    };
    let root = root.filter(|_| pickles.is_empty()).ok_or_else(|| corrupt("it has not one data.pkl"))?;
    if let Ok(order) = bytes_of(&mut zip, &format!("{root}byteorder"), 16)
        && order != b"little"
    {
        return Err(corrupt("its numbers are not in little-endian order"));
    }
    let pickle = bytes_of(&mut zip, &format!("{root}data.pkl"), PICKLE_BYTES).map_err(|reason| corrupt(&reason))?;
    let read = read(&pickle, Bounds { nodes: VALUES });
    let (graph, top, _) = read.map_err(|error| corrupt(&format!("its data.pkl cannot be read: {error}")))?;
    let pairs = dictionary(&graph, top).map_err(|reason| corrupt(&format!("its data.pkl {reason}")))?;
    let mut entries = Vec::with_capacity(pairs.len());
    for &(name, value) in pairs {
        let name = graph.text(name).ok_or_else(|| corrupt("a tensor's name is no text"))?;
        let tensor = tensor(&graph, value).and_then(|tensor| tensor.locate(&mut zip, &root, index));
        entries.push((name.to_owned(), tensor.map_err(|reason| LoadError::tensor(path, name, reason))?));
    }
    Ok(entries)
}

/// Reads an entry, which has to be stored as it is.
fn bytes_of(zip: &mut ZipArchive<&mut File>, name: &str, most: u64) -> Result<Vec<u8>, String> {
    let entry = zip.by_name(name).map_err(|error| format!("its entry {name}: {error}"))?;
    if entry.compression() != CompressionMethod::Stored || entry.size() > most {
        return Err(format!("its entry {name} is compressed, or too large"));
    }
    let mut bytes = Vec::new();
    entry.take(most).read_to_end(&mut bytes).map_err(|error| format!("its entry {name}: {error}"))?;
    Ok(bytes)
}

/// Returns the pairs of a dictionary, ordered or not.
fn dictionary<'a>(graph: &'a Graph<'_>, id: Id) -> Result<&'a [(Id, Id)], String> {
    match graph.get(id) {
        Node::Dict(pairs) => Ok(pairs),
        Node::Object(object) if graph.global(object.callee) == Some(("collections", "OrderedDict")) => {
            Ok(&object.pairs)
        }
        other => Err(format!("is {}, not a dictionary of tensors", described(graph, other))),
    }
}

/// A tensor as the pickle has it: some of a storage.
struct Described<'a> {
    storage: &'a str,
    dtype: &'static str,
    kind: Kind,
    /// Numbers of the storage, and those before the tensor.
    numbers: u64,
    offset: u64,
    shape: Vec<i64>,
}

/// Reads a call that makes a tensor, or a parameter of one.
fn tensor<'a>(graph: &Graph<'a>, id: Id) -> Result<Described<'a>, String> {
    let called = |object: &Object| object.called.then(|| graph.global(object.callee)).flatten();
    let refused = |id| Err(format!("it is {}, not a plain tensor", described(graph, graph.get(id))));
    let Some(mut object) = graph.object(id) else { return refused(id) };
    if called(object) == Some(("torch._utils", "_rebuild_parameter")) {
        let inner = graph.args(object).first().and_then(|inner| graph.object(*inner));
        object = inner.ok_or("it is a parameter of nothing")?;
    }
    if called(object) != Some(("torch._utils", "_rebuild_tensor_v2")) {
        return refused(id);
    }
    let &[storage, offset, size, stride, ..] = graph.args(object) else { return Err("it lacks arguments".into()) };
    let sizes = |id: Id| -> Option<Vec<i64>> {
        graph.tuple(id)?.iter().map(|size| graph.integer(*size).filter(|size| *size >= 0)).collect()
    };
    let (Some(shape), Some(strides)) = (sizes(size), sizes(stride)) else {
        return Err("its shape is no tuple of sizes".into());
    };
    let mut expected = 1_i64;
    for (size, stride) in shape.iter().zip(&strides).rev() {
        if *size != 1 && *stride != expected {
            return Err("its elements do not lie one after another: save it again as safetensors".into());
        }
        expected = expected.checked_mul((*size).max(1)).ok_or("its shape is too large")?;
    }
    let Node::Persistent(storage) = graph.get(storage) else { return Err("it has no storage".into()) };
    let parts = graph.tuple(*storage).unwrap_or_default();
    let &[tag, class, key, _, numbers] = parts else {
        return Err("its storage is not described by five values".into());
    };
    let (Some("storage"), Some(key), Some(numbers)) = (graph.text(tag), graph.text(key), graph.integer(numbers)) else {
        return Err("its storage is not described as PyTorch does".into());
    };
    let known = graph.global(class).filter(|(module, _)| *module == "torch");
    let known = known.and_then(|(_, class)| STORAGES.iter().find(|(own, ..)| *own == class));
    let Some(&(_, dtype, kind)) = known else {
        return Err(format!("its storage is {}, which is not supported", described(graph, graph.get(class))));
    };
    let (numbers, offset) = (u64::try_from(numbers), graph.integer(offset).map(u64::try_from));
    let (Ok(numbers), Some(Ok(offset))) = (numbers, offset) else { return Err("its storage has no size".into()) };
    Ok(Described { storage: key, dtype, kind, numbers, offset, shape })
}

impl Described<'_> {
    fn locate(self, zip: &mut ZipArchive<&mut File>, root: &str, file: usize) -> Result<Entry, String> {
        let name = format!("{root}data/{}", self.storage);
        let stored = zip.by_name(&name).map_err(|error| format!("its entry {name}: {error}"))?;
        let element = self.kind.elt_size_in_bytes() as u64;
        let count = self.shape.iter().try_fold(1_u64, |product, size| product.checked_mul(size.unsigned_abs()));
        let end = count.and_then(|count| count.checked_add(self.offset)).ok_or("its shape is too large")?;
        if end > self.numbers || Some(stored.size()) != self.numbers.checked_mul(element) {
            let (own, size) = (&self.shape, stored.size());
            return Err(format!(
                "its shape {own:?} and dtype {} do not fit the {size} bytes of its entry {name}",
                self.dtype
            ));
        }
        if stored.compression() != CompressionMethod::Stored {
            return Err(format!("its entry {name} is compressed"));
        }
        Ok(Entry {
            file,
            name: self.dtype,
            kind: self.kind,
            start: stored.data_start() + self.offset * element,
            bytes: usize::try_from((end - self.offset) * element).map_err(|_| "it is too large for this machine")?,
            shape: self.shape,
        })
    }
}

/// Says what a value is, without doing anything with it.
fn described(graph: &Graph<'_>, node: &Node<'_>) -> String {
    match node {
        Node::Global { module, name } => format!("{module}.{name}"),
        Node::Object(object) => match graph.global(object.callee) {
            Some((module, name)) => format!("a call of {module}.{name}"),
            None => "a call".into(),
        },
        Node::None => "None".into(),
        Node::Bool(_) => "a truth value".into(),
        Node::Int(_) | Node::Long(_) | Node::Float(_) => "a number".into(),
        Node::Str(_) | Node::Bytes(_) | Node::ByteArray(_) => "a text".into(),
        Node::List(_) | Node::Tuple(_) | Node::Set(_) | Node::FrozenSet(_) => "a collection".into(),
        Node::Dict(_) => "a dictionary".into(),
        Node::Persistent(_) => "a storage".into(),
    }
}
