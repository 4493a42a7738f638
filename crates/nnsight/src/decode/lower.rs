//! Turns what a pickle says into values, starting from those that the program refers to.
//!
//! Each value is given its place in the heap before its contents are looked at, so cycles need no care and nothing
//! recurses. Everything copied or searched is charged against one budget: a pickle may refer to one large value
//! from a million places.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use num_bigint::BigInt;
use program::datum::Decorator;
use program::{DType, Datum, Heap, Ref};

use crate::decode::tensor::{Memory, Storage};
use crate::error::DecodeError;
use crate::pickle::{Graph, Id, Node, Object};

pub(super) struct Lowering<'g, 'a> {
    pub(super) graph: &'g Graph<'a>,
    /// What was read.
    pub(super) payload: &'g Bytes,
    pub(super) heap: Heap,
    /// By node: where its value is, once something refers to it.
    places: Vec<Option<Ref>>,
    /// Nodes that have a place and no value yet.
    work: Vec<Id>,
    /// Where each source text is.
    sources: HashMap<&'a str, Ref>,
    /// The tracer whose block this is.
    tracer: Id,
    limit: u64,
    left: u64,
    pub(super) storages: HashMap<Id, Storage<'a>>,
    /// What lies beside the pickle, by the key that storages are named by there. A request has everything inside.
    pub(super) beside: HashMap<&'a str, &'a [u8]>,
    /// What tensors look into, and where that is by the client's name for it.
    pub(super) all_memories: Vec<Memory<'a>>,
    pub(super) memories: HashMap<&'a str, Vec<u32>>,
}

impl<'g, 'a> Lowering<'g, 'a> {
    pub(super) fn new(graph: &'g Graph<'a>, payload: &'g Bytes, tracer: Id, limit: u64) -> Self {
        Self {
            graph,
            payload,
            heap: Heap::default(),
            places: vec![None; graph.nodes.len()],
            work: Vec::new(),
            sources: HashMap::new(),
            tracer,
            limit,
            left: limit,
            storages: HashMap::new(),
            beside: HashMap::new(),
            all_memories: Vec::new(),
            memories: HashMap::new(),
        }
    }

    /// Returns where the value of a node is or will be.
    pub(super) fn refer(&mut self, id: Id) -> Ref {
        if let Some(Some(place)) = self.places.get(id.0 as usize) {
            return *place;
        }
        let place = self.heap.push(Datum::None);
        if let Some(slot) = self.places.get_mut(id.0 as usize) {
            *slot = Some(place);
            self.work.push(id);
        }
        place
    }

    /// Returns the path of each module that is named anywhere, in the order of their first mention.
    pub(super) fn modules(&mut self) -> Result<Vec<String>, DecodeError> {
        let graph = self.graph;
        let named = graph.nodes.iter().filter(|node| matches!(node, Node::Persistent(_))).count();
        let (mut seen, mut modules) = (HashSet::with_capacity(named), Vec::with_capacity(named));
        for node in &graph.nodes {
            let Node::Persistent(name) = node else { continue };
            let Some(path) = graph.text(*name).and_then(|name| name.strip_prefix("Module:")) else { continue };
            let path = below_root(path);
            self.spend(path.len() as u64)?;
            if seen.insert(path) {
                modules.push(path.to_owned());
            }
        }
        Ok(modules)
    }

    /// Fills every place that was given out and returns the heap.
    pub(super) fn finish(mut self) -> Result<Heap, DecodeError> {
        while let Some(id) = self.work.pop() {
            let datum = self.lower(id)?;
            let place = self.refer(id);
            self.heap.set(place, datum);
        }
        self.settle_memories()?;
        Ok(self.heap)
    }

    /// Charges for bytes copied or entries searched.
    pub(super) fn spend(&mut self, bytes: u64) -> Result<(), DecodeError> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(DecodeError::TooManyBytes { limit: self.limit }),
        }
    }

    /// Keeps bytes: what is a part of the payload is not copied.
    pub(super) fn keep(&self, bytes: Cow<'_, [u8]>) -> Bytes {
        let part = match bytes {
            Cow::Owned(bytes) => return bytes.into(),
            Cow::Borrowed(part) => part,
        };
        let start = (part.as_ptr() as usize).checked_sub(self.payload.as_ptr() as usize);
        match start.filter(|start| start.saturating_add(part.len()) <= self.payload.len()) {
            Some(start) if !part.is_empty() => self.payload.slice(start..start + part.len()),
            _ => Bytes::copy_from_slice(part),
        }
    }

    pub(super) fn copy(&mut self, text: &str) -> Result<String, DecodeError> {
        self.spend(text.len() as u64)?;
        Ok(text.to_owned())
    }

    fn refer_all(&mut self, ids: &[Id]) -> Result<Vec<Ref>, DecodeError> {
        self.spend(4 * ids.len() as u64)?;
        Ok(ids.iter().map(|&id| self.refer(id)).collect())
    }

    fn refer_pairs(&mut self, pairs: &[(Id, Id)]) -> Result<Vec<(Ref, Ref)>, DecodeError> {
        self.spend(8 * pairs.len() as u64)?;
        Ok(pairs.iter().map(|&(key, value)| (self.refer(key), self.refer(value))).collect())
    }

    /// Returns the state of an object: the node that `BUILD` gave it.
    pub(super) fn state(&self, id: Id) -> Option<Id> {
        self.graph.object(id)?.state
    }

    /// Looks a key up in a dict node.
    pub(super) fn entry(&mut self, dict: Id, key: &str) -> Result<Option<Id>, DecodeError> {
        let Some(pairs) = self.graph.dict(dict) else { return Ok(None) };
        self.spend(pairs.len() as u64)?;
        Ok(pairs.iter().rev().find(|(name, _)| self.graph.text(*name) == Some(key)).map(|&(_, value)| value))
    }

    pub(super) fn text_entry(&mut self, dict: Id, key: &str) -> Result<Option<String>, DecodeError> {
        match self.entry(dict, key)?.and_then(|value| self.graph.text(value)) {
            Some(text) => self.copy(text).map(Some),
            None => Ok(None),
        }
    }

    /// Returns a dict node's entries that are named by text; nothing for any other node.
    pub(super) fn names(&mut self, dict: Id) -> Result<Vec<(String, Ref)>, DecodeError> {
        let pairs = self.graph.dict(dict).unwrap_or_default();
        let mut names = Vec::with_capacity(pairs.len());
        for &(key, value) in pairs {
            self.spend(8)?;
            if let Some(text) = self.graph.text(key) {
                names.push((self.copy(text)?, self.refer(value)));
            }
        }
        Ok(names)
    }

    /// Reads `(source, globals, locals)`.
    #[expect(clippy::type_complexity, reason = "the three parts that every block has")]
    pub(super) fn block(&mut self, id: Id) -> Result<(String, Vec<(String, Ref)>, Vec<(String, Ref)>), DecodeError> {
        let graph = self.graph;
        if let Some(&[source, globals, locals]) = graph.tuple(id)
            && let Some(source) = graph.text(source)
            && graph.dict(globals).is_some()
            && graph.dict(locals).is_some()
        {
            return Ok((self.copy(source)?, self.names(globals)?, self.names(locals)?));
        }
        Err(DecodeError::Payload("a block is not its source and its names"))
    }

    fn lower(&mut self, id: Id) -> Result<Datum, DecodeError> {
        let graph = self.graph;
        Ok(match graph.get(id) {
            Node::None => Datum::None,
            Node::Bool(value) => Datum::Bool(*value),
            Node::Int(value) => Datum::Int(BigInt::from(*value)),
            Node::Long(bytes) => {
                self.spend(bytes.len() as u64)?;
                Datum::Int(BigInt::from_signed_bytes_le(bytes))
            }
            Node::Float(value) => Datum::Float(*value),
            Node::Str(text) => Datum::Str(self.copy(text)?),
            Node::Bytes(bytes) => {
                self.spend(bytes.len() as u64)?;
                Datum::Bytes(self.keep((*bytes).into()))
            }
            Node::ByteArray(bytes) => {
                self.spend(bytes.len() as u64)?;
                let bytes = Datum::Bytes(self.keep((*bytes).into()));
                Datum::Object {
                    class: self.heap.push(Datum::Global { module: "builtins".into(), name: "bytearray".into() }),
                    called: true,
                    args: vec![self.heap.push(bytes)],
                    state: None,
                    items: Vec::new(),
                    pairs: Vec::new(),
                }
            }
            Node::List(items) => Datum::List(self.refer_all(items)?),
            Node::Tuple(items) => Datum::Tuple(self.refer_all(items)?),
            Node::Set(items) => Datum::Set(self.refer_all(items)?),
            Node::FrozenSet(items) => Datum::FrozenSet(self.refer_all(items)?),
            Node::Dict(pairs) => Datum::Dict(self.refer_pairs(pairs)?),
            Node::Global { module, name } => self.global(module, name)?,
            Node::Persistent(name) => self.persistent(*name)?,
            Node::Object(object) => self.object(id, object)?,
        })
    }

    fn global(&mut self, module: &str, name: &str) -> Result<Datum, DecodeError> {
        Ok(match (module, name) {
            ("builtins", "Ellipsis") => Datum::Ellipsis,
            ("builtins", "NotImplemented") => Datum::NotImplemented,
            ("torch", name) if let Some(dtype) = DType::from_name(name) => Datum::DType(dtype),
            _ => {
                let (module, name) = public(module, name);
                Datum::Global { module: self.copy(module)?, name: self.copy(name)? }
            }
        })
    }

    /// Reads what the client left for this side to supply.
    fn persistent(&mut self, id: Id) -> Result<Datum, DecodeError> {
        Ok(match self.graph.text(id) {
            Some("Tokenizer") => Datum::Tokenizer,
            Some(name) => match name.strip_prefix("Module:").map(below_root) {
                Some(path) => Datum::ModelModule { path: self.copy(path)? },
                None => Datum::Opaque { what: format!("the model's {}", self.copy(name)?) },
            },
            None => opaque("an unnamed persistent object"),
        })
    }

    fn object(&mut self, id: Id, object: &'g Object) -> Result<Datum, DecodeError> {
        if id == self.tracer {
            return Ok(Datum::Tracer);
        }
        if let Some(envoy) = self.envoy(id)? {
            return Ok(Datum::Envoy(envoy));
        }
        if let Some((module, name)) = self.callee(object.callee)
            && let Some(datum) = self.construct(module, name, object)?
        {
            return Ok(datum);
        }
        if object.kwargs.is_some_and(|kwargs| self.graph.dict(kwargs) != Some(&[])) {
            return Ok(opaque("an object made with keyword arguments"));
        }
        Ok(Datum::Object {
            class: self.refer(object.callee),
            called: object.called,
            args: self.refer_all(self.graph.args(object))?,
            state: object.state.map(|state| self.refer(state)),
            items: self.refer_all(&object.items)?,
            pairs: self.refer_pairs(&object.pairs)?,
        })
    }

    /// Returns the module and name of what an object calls, where it is importable.
    pub(super) fn callee(&self, id: Id) -> Option<(&'a str, &'a str)> {
        if let Some((module, name)) = self.graph.global(id) {
            // cloudpickle has moved its functions between its own modules.
            return Some((if module.starts_with("cloudpickle.") { "cloudpickle" } else { module }, name));
        }
        let object = self.graph.object(id)?;
        match (self.callee_name(object)?, self.graph.args(object)) {
            (("cloudpickle", "_builtin_type"), &[name]) => Some(("types", self.graph.text(name)?)),
            _ => None,
        }
    }

    /// As [`Self::callee`] for a global only, so that it looks no deeper.
    fn callee_name(&self, object: &Object) -> Option<(&'a str, &'a str)> {
        self.graph
            .global(object.callee)
            .map(|(module, name)| (if module.starts_with("cloudpickle.") { "cloudpickle" } else { module }, name))
    }

    /// Returns whether a node is a function that the request brings the source of.
    fn is_shipped(&self, function: Id) -> bool {
        self.graph.object(function).and_then(|object| self.callee_name(object))
            == Some(("nnsight.intervention.serialization", "_load_function"))
    }

    /// Builds the value of a constructor that this server knows; `None` for any other, and for arguments that the
    /// constructor does not take.
    fn construct(&mut self, module: &str, name: &str, object: &'g Object) -> Result<Option<Datum>, DecodeError> {
        let graph = self.graph;
        let args = graph.args(object);
        Ok(Some(match (module, name, args) {
            ("cloudpickle", "subimport", &[name]) if let Some(name) = graph.text(name) => {
                Datum::Module(self.copy(name)?)
            }
            ("cloudpickle", "dynamic_subimport", &[name, variables]) => Datum::Object {
                class: self.heap.push(Datum::Global { module: "types".into(), name: "ModuleType".into() }),
                called: true,
                args: vec![self.refer(name)],
                state: Some(self.refer(variables)),
                items: Vec::new(),
                pairs: Vec::new(),
            },
            ("cloudpickle", "_builtin_type", &[name]) if let Some(name) = graph.text(name) => {
                Datum::Global { module: "types".into(), name: self.copy(name)? }
            }
            ("cloudpickle", "_make_skeleton_class", &[_, name, bases, kwargs, ..]) => {
                let module = self.text_entry(kwargs, "__module__")?.unwrap_or_default();
                return self.class(object, name, bases, kwargs, module);
            }
            ("cloudpickle", "_make_skeleton_enum", &[bases, name, _, members, module, ..]) => {
                let module = self.copy(graph.text(module).unwrap_or_default())?;
                return self.class(object, name, bases, members, module);
            }
            ("cloudpickle", "_get_dataclass_field_type_sentinel", &[name]) if let Some(name) = graph.text(name) => {
                Datum::Global { module: "dataclasses".into(), name: self.copy(name)? }
            }
            ("torch.serialization", "_get_layout", &[name]) if let Some(name) = graph.text(name) => {
                let name = name.strip_prefix("torch.").unwrap_or(name);
                Datum::Global { module: "torch".into(), name: self.copy(name)? }
            }
            ("cloudpickle", "_make_function", _) => self.bytecode(object)?,
            ("cloudpickle", name, _) => Datum::Opaque { what: format!("cloudpickle's {name}") },

            ("nnsight.intervention.serialization", "_load_function", args) => return self.function(object, args),
            ("nnsight.intervention.tracer" | "nnsight.tracing.tracer", name, _) if name.ends_with("Tracer") => {
                opaque("the tracer of another block")
            }
            ("transformers.tokenization_utils_base", "BatchEncoding", _) => {
                // Beside its data it holds what the tokenizer made of each row: objects whose state is their bytes.
                let Some(state) = object.state else { return Ok(None) };
                let Some(data) = self.entry(state, "data")? else { return Ok(None) };
                let mut fields = vec![(self.heap.push(Datum::Str("data".into())), self.refer(data))];
                if let Some(rows) = self.entry(state, "encodings")?
                    && let Node::List(rows) = graph.get(rows)
                {
                    let bytes = rows.iter().filter_map(|&row| graph.object(row)?.state);
                    let bytes: Vec<Id> = bytes.filter(|&state| matches!(graph.get(state), Node::Bytes(_))).collect();
                    if bytes.len() == rows.len() {
                        let rows = Datum::List(self.refer_all(&bytes)?);
                        fields.push((self.heap.push(Datum::Str("encodings".into())), self.heap.push(rows)));
                    }
                }
                self.known(object.callee, false, Vec::new(), Some(Datum::Dict(fields)))
            }
            ("functools", "partial", &[_]) => {
                // The state is the function, its arguments, its keywords, and attributes of the partial itself.
                let state = object.state.and_then(|state| graph.tuple(state));
                let Some(&[function, args, keywords, _]) = state else { return Ok(None) };
                let (Some(args), Some(keywords)) = (graph.tuple(args), graph.dict(keywords)) else { return Ok(None) };
                let mut all = vec![self.refer(function)];
                all.extend(self.refer_all(args)?);
                let keywords = self.refer_pairs(keywords)?;
                let state = (!keywords.is_empty()).then_some(Datum::Dict(keywords));
                self.known(object.callee, true, all, state)
            }

            ("types", "MethodType", &[function, receiver]) if self.is_shipped(function) => {
                Datum::Method { function: self.refer(function), receiver: self.refer(receiver) }
            }
            ("types", "MethodType", &[function, target]) => {
                let name = match (graph.global(function), graph.object(function)) {
                    (Some((_, name)), _) => name.rsplit('.').next(),
                    (None, Some(object)) => graph.args(object).get(1).and_then(|&name| graph.text(name)),
                    (None, None) => None,
                };
                let Some(name) = name else { return Ok(None) };
                Datum::Attribute { object: self.refer(target), name: self.copy(name)? }
            }
            ("builtins", "getattr", &[target, name]) if let Some(name) = graph.text(name) => {
                match graph.global(target) {
                    Some(("torch._C", "_VariableFunctionsClass")) => {
                        Datum::Global { module: "torch".into(), name: self.copy(name)? }
                    }
                    _ => Datum::Attribute { object: self.refer(target), name: self.copy(name)? },
                }
            }
            ("builtins", "staticmethod", &[function]) => {
                Datum::Decorated { kind: Decorator::StaticMethod, functions: vec![self.refer(function)] }
            }
            ("builtins", "classmethod", &[function]) => {
                Datum::Decorated { kind: Decorator::ClassMethod, functions: vec![self.refer(function)] }
            }
            ("builtins", "property", functions) => {
                // Getter, setter and deleter; the fourth is its documentation.
                let functions = functions.get(..functions.len().min(3)).unwrap_or_default();
                let used = functions.iter().rposition(|&function| *graph.get(function) != Node::None);
                let functions = functions.get(..used.map_or(0, |last| last + 1)).unwrap_or_default();
                Datum::Decorated { kind: Decorator::Property, functions: self.refer_all(functions)? }
            }
            ("builtins", "complex", &[real, imaginary]) => match (graph.get(real), graph.get(imaginary)) {
                (&Node::Float(real), &Node::Float(imaginary)) => Datum::Complex(real, imaginary),
                _ => return Ok(None),
            },
            ("builtins", "range", &[start, stop, step]) => match (self.big(start)?, self.big(stop)?, self.big(step)?) {
                (Some(start), Some(stop), Some(step)) if step != BigInt::ZERO => Datum::Range { start, stop, step },
                _ => return Ok(None),
            },
            ("builtins", "slice", &[start, stop, step]) => {
                Datum::Slice { start: self.refer(start), stop: self.refer(stop), step: self.refer(step) }
            }
            ("builtins", "set" | "frozenset", &[items]) => match graph.get(items) {
                Node::List(items) if name == "set" => Datum::Set(self.refer_all(items)?),
                Node::List(items) => Datum::FrozenSet(self.refer_all(items)?),
                _ => return Ok(None),
            },

            ("torch", "Size", &[sizes]) => match self.integers(sizes)? {
                Some(sizes) => Datum::Size(sizes),
                None => return Ok(None),
            },
            ("torch", "device", &[kind]) if let Some(kind) = graph.text(kind) => Datum::Device(self.copy(kind)?),
            ("torch", "device", &[kind, index]) => match (graph.text(kind), graph.integer(index)) {
                (Some(kind), Some(index)) => Datum::Device(format!("{}:{index}", self.copy(kind)?)),
                _ => return Ok(None),
            },
            ("torch._utils", "_rebuild_parameter", &[tensor, grad, ..]) => {
                Datum::Parameter { tensor: self.refer(tensor), requires_grad: graph.truth(grad).unwrap_or(false) }
            }
            ("torch._tensor", "_rebuild_from_type_v2", &[rebuild, _, args, _]) => {
                match (graph.global(rebuild), graph.tuple(args)) {
                    (Some(("torch._utils", name)), Some(args)) => return self.tensor(name, args),
                    _ => return Ok(None),
                }
            }
            ("torch._utils", name, args) => return self.tensor(name, args),
            ("numpy._core.multiarray" | "numpy.core.multiarray", "_reconstruct", _) => match object.state {
                Some(state) => return self.array(state),
                None => return Ok(None),
            },
            ("numpy._core.multiarray" | "numpy.core.multiarray", "scalar", &[dtype, bytes]) => {
                return self.scalar(dtype, bytes);
            }
            _ => return Ok(None),
        }))
    }

    /// Builds a function from `(source, name, defaults, keyword defaults, annotations, file, line)` and the globals
    /// that are filled in later.
    fn function(&mut self, object: &'g Object, args: &[Id]) -> Result<Option<Datum>, DecodeError> {
        let graph = self.graph;
        let &[source, name, defaults, keyword_defaults, _, filename, line] = args else { return Ok(None) };
        let (Some(text), Some(name), Some(filename)) = (graph.text(source), graph.text(name), graph.text(filename))
        else {
            return Ok(None);
        };
        let line = graph.integer(line).and_then(|line| u32::try_from(line).ok()).unwrap_or(1);
        Ok(Some(Datum::Function {
            source: self.source(source, text)?,
            name: self.copy(name)?,
            filename: self.copy(filename)?,
            line,
            defaults: self.refer_all(graph.tuple(defaults).unwrap_or_default())?,
            keyword_defaults: self.names(keyword_defaults)?,
            globals: match object.setters.last() {
                Some(&(_, globals)) => self.names(globals)?,
                None => Vec::new(),
            },
        }))
    }

    /// Returns where a source text is or will be. It is kept once, however many functions have it, and parsed for each,
    /// which is what is charged for here.
    fn source(&mut self, id: Id, text: &'a str) -> Result<Ref, DecodeError> {
        self.spend(text.len() as u64)?;
        if let Some(slot @ None) = self.places.get_mut(id.0 as usize) {
            // The same text, read elsewhere.
            *slot = self.sources.get(text).copied();
        }
        let place = self.refer(id);
        self.sources.insert(text, place);
        Ok(place)
    }

    /// Stands for a function that came as the byte code of the client's Python.
    fn bytecode(&mut self, object: &Object) -> Result<Datum, DecodeError> {
        let slots =
            object.setters.last().and_then(|&(_, state)| self.graph.tuple(state)).and_then(|state| state.get(1));
        let name = match slots {
            Some(&slots) => self.text_entry(slots, "__name__")?,
            None => None,
        };
        let name = name.unwrap_or_else(|| "?".into());
        Ok(Datum::Opaque { what: format!("the function `{name}`, whose source the client does not have") })
    }

    /// Builds a class. Attributes set later win over those that it was made with.
    fn class(
        &mut self,
        object: &Object,
        name: Id,
        bases: Id,
        initial: Id,
        module: String,
    ) -> Result<Option<Datum>, DecodeError> {
        let (Some(name), Some(bases)) = (self.graph.text(name), self.graph.tuple(bases)) else { return Ok(None) };
        let (name, bases) = (self.copy(name)?, self.refer_all(bases)?);
        let mut attributes = self.names(initial)?;
        let state = object.setters.last().and_then(|&(_, state)| self.graph.tuple(state));
        if let Some(&dict) = state.and_then(|state| state.first()) {
            attributes.extend(self.names(dict)?);
        }
        // Keeps the last of each name, in the order of their first appearance.
        let mut at: HashMap<String, usize> = HashMap::new();
        let mut kept: Vec<(String, Ref)> = Vec::with_capacity(attributes.len());
        for (name, value) in attributes {
            match at.get(&name).and_then(|&index| kept.get_mut(index)) {
                Some(slot) => slot.1 = value,
                None if name != "_abc_impl" => {
                    at.insert(name.clone(), kept.len());
                    kept.push((name, value));
                }
                None => {}
            }
        }
        Ok(Some(Datum::Class { name, module, bases, attributes: kept }))
    }

    /// Makes an object whose parts have been put in order.
    fn known(&mut self, class: Id, called: bool, args: Vec<Ref>, state: Option<Datum>) -> Datum {
        let state = state.map(|state| self.heap.push(state));
        Datum::Object { class: self.refer(class), called, args, state, items: Vec::new(), pairs: Vec::new() }
    }

    fn big(&mut self, id: Id) -> Result<Option<BigInt>, DecodeError> {
        if let Node::Long(bytes) = self.graph.get(id) {
            self.spend(bytes.len() as u64)?;
            return Ok(Some(BigInt::from_signed_bytes_le(bytes)));
        }
        Ok(self.graph.integer(id).map(BigInt::from))
    }

    /// Reads a tuple of integers.
    pub(super) fn integers(&mut self, id: Id) -> Result<Option<Vec<i64>>, DecodeError> {
        let Some(items) = self.graph.tuple(id) else { return Ok(None) };
        self.spend(8 * items.len() as u64)?;
        Ok(items.iter().map(|&item| self.graph.integer(item)).collect())
    }
}

/// Returns the name that users know something by, where the client's library defines it elsewhere.
fn public<'n>(module: &'n str, name: &'n str) -> (&'n str, &'n str) {
    // Layouts and memory formats are pickled by a dotted name, as part of whichever module has one of torch's.
    if let Some(constant) = name.strip_prefix("torch.") {
        return ("torch", constant);
    }
    match module {
        "torch._C._nn" => ("torch.nn.functional", name),
        "torch._C._linalg" => ("torch.linalg", name.strip_prefix("linalg_").unwrap_or(name)),
        "torch._C._fft" => ("torch.fft", name.strip_prefix("fft_").unwrap_or(name)),
        "torch._C._special" => ("torch.special", name.strip_prefix("special_").unwrap_or(name)),
        "torch.functional" => ("torch", name),
        "torch._C" if name == "Generator" => ("torch", name),
        "torch._C" if name == "TensorBase" => ("torch", "Tensor"),
        "torch._tensor" if name == "Tensor" => ("torch", name),
        _ => (module, name),
    }
}

/// Returns a module's path below the root of the model, which the client calls `model`.
pub(super) fn below_root(path: &str) -> &str {
    match path.strip_prefix("model") {
        Some("") => "",
        Some(rest) => rest.strip_prefix('.').unwrap_or(path),
        None => path,
    }
}

pub(super) fn opaque(what: &str) -> Datum {
    Datum::Opaque { what: what.into() }
}
