//! Reads a pickle into a [`Graph`]. Performance-critical: one pass, nothing copied.

use crate::error::DecodeError;
use crate::pickle::graph::{Graph, Id, Node, Object};
use crate::pickle::opcode::*;

/// What one pickle may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Values, memo entries and stack entries, each; references between values, eight times as many.
    pub(crate) nodes: u32,
}

/// Marks open at once. Python's own pickler stops near 500 containers deep.
const MAX_MARKS: usize = 1_000;
/// Bytes of a module or attribute path.
const MAX_NAME: usize = 512;
const NO_NODE: Id = Id(u32::MAX);

/// Functions that set the state of their first argument and are then popped: `(module, name)`.
const SETTERS: [(&str, &str); 3] = [
    ("nnsight.intervention.serialization", "_fill"),
    ("cloudpickle.cloudpickle", "_class_setstate"),
    ("cloudpickle.cloudpickle", "_function_setstate"),
];

/// Reads the pickle at the start of `bytes`. Returns its values, its root, and how many bytes it took.
///
/// # Errors
/// [`DecodeError::Pickle`] for opcodes that are unknown, truncated, or find the wrong thing on the stack;
/// [`DecodeError::TooManyValues`] beyond the bounds.
pub(crate) fn read(bytes: &[u8], bounds: Bounds) -> Result<(Graph<'_>, Id, usize), DecodeError> {
    let mut reader = Reader {
        bytes,
        at: 0,
        op_at: 0,
        bounds,
        graph: Graph { nodes: vec![Node::None, Node::Bool(false), Node::Bool(true)] },
        stack: Vec::new(),
        pushed: 0,
        marks: Vec::new(),
        memo: Vec::new(),
        memoized: 0,
    };
    let root = reader.run()?;
    Ok((reader.graph, root, reader.at))
}

const NONE_ID: Id = Id(0);
const FALSE_ID: Id = Id(1);
const TRUE_ID: Id = Id(2);

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    op_at: usize,
    bounds: Bounds,
    graph: Graph<'a>,
    stack: Vec<Id>,
    pushed: u64,
    /// Stack heights at which marks stand.
    marks: Vec<usize>,
    memo: Vec<Id>,
    memoized: usize,
}

impl<'a> Reader<'a> {
    fn run(&mut self) -> Result<Id, DecodeError> {
        loop {
            self.op_at = self.at;
            match self.byte()? {
                STOP => return self.pop(),
                PROTO => {
                    if !(2..=5).contains(&self.byte()?) {
                        return self.fail("a protocol other than 2 to 5");
                    }
                }
                FRAME => {
                    let length = self.length8()?;
                    if length > self.bytes.len() - self.at {
                        return self.fail("a frame longer than the payload");
                    }
                }
                op => self.step(op)?,
            }
        }
    }

    fn step(&mut self, op: u8) -> Result<(), DecodeError> {
        match op {
            NONE => self.push(NONE_ID),
            NEWTRUE => self.push(TRUE_ID),
            NEWFALSE => self.push(FALSE_ID),
            BININT => {
                let value = i64::from(i32::from_le_bytes(self.array()?));
                self.make(Node::Int(value))
            }
            BININT1 => {
                let value = i64::from(self.byte()?);
                self.make(Node::Int(value))
            }
            BININT2 => {
                let value = i64::from(u16::from_le_bytes(self.array()?));
                self.make(Node::Int(value))
            }
            LONG1 => {
                let length = usize::from(self.byte()?);
                self.long(length)
            }
            LONG4 => {
                let length = self.length4()?;
                self.long(length)
            }
            BINFLOAT => {
                let value = f64::from_be_bytes(self.array()?);
                self.make(Node::Float(value))
            }
            SHORT_BINUNICODE => {
                let length = usize::from(self.byte()?);
                self.text(length)
            }
            BINUNICODE => {
                let length = self.length4()?;
                self.text(length)
            }
            BINUNICODE8 => {
                let length = self.length8()?;
                self.text(length)
            }
            SHORT_BINBYTES => {
                let length = usize::from(self.byte()?);
                self.raw(length)
            }
            BINBYTES => {
                let length = self.length4()?;
                self.raw(length)
            }
            BINBYTES8 | BYTEARRAY8 => {
                let length = self.length8()?;
                self.raw(length)
            }
            EMPTY_LIST => self.make(Node::List(Vec::new())),
            EMPTY_TUPLE => self.make(Node::Tuple(Vec::new())),
            EMPTY_DICT => self.make(Node::Dict(Vec::new())),
            EMPTY_SET => self.make(Node::Set(Vec::new())),
            TUPLE1 => self.tuple(1),
            TUPLE2 => self.tuple(2),
            TUPLE3 => self.tuple(3),
            MARK => {
                if self.marks.len() >= MAX_MARKS {
                    return self.fail("values nested too deeply");
                }
                self.marks.push(self.stack.len());
                Ok(())
            }
            TUPLE => {
                let items = self.pop_mark()?;
                self.make(Node::Tuple(items))
            }
            LIST => {
                let items = self.pop_mark()?;
                self.make(Node::List(items))
            }
            FROZENSET => {
                let items = self.pop_mark()?;
                self.make(Node::FrozenSet(items))
            }
            DICT => {
                let items = self.pop_mark()?;
                let pairs = self.pairs(&items)?;
                self.make(Node::Dict(pairs))
            }
            APPEND => {
                let item = self.pop()?;
                self.extend(&[item])
            }
            APPENDS => {
                let items = self.pop_mark()?;
                self.extend(&items)
            }
            ADDITEMS => {
                let items = self.pop_mark()?;
                self.extend(&items)
            }
            SETITEM => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.update(&[key, value])
            }
            SETITEMS => {
                let items = self.pop_mark()?;
                self.update(&items)
            }
            POP => {
                // A mark alone on top is what `POP` takes, as in Python.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                    return Ok(());
                }
                self.pop().map(drop)
            }
            POP_MARK => self.pop_mark().map(drop),
            DUP => {
                let top = self.top()?;
                self.push(top)
            }
            MEMOIZE => self.put(self.memoized),
            BINPUT => {
                let index = usize::from(self.byte()?);
                self.put(index)
            }
            LONG_BINPUT => {
                let index = self.length4()?;
                self.put(index)
            }
            BINGET => {
                let index = usize::from(self.byte()?);
                self.recall(index)
            }
            LONG_BINGET => {
                let index = self.length4()?;
                self.recall(index)
            }
            GLOBAL => {
                let module = self.line()?;
                let name = self.line()?;
                self.global(module, name)
            }
            STACK_GLOBAL => {
                let name = self.pop()?;
                let module = self.pop()?;
                match (self.graph.text(module), self.graph.text(name)) {
                    (Some(module), Some(name)) => self.global(module, name),
                    _ => self.fail("a global whose name is not text"),
                }
            }
            BINPERSID => {
                let id = self.pop()?;
                self.make(Node::Persistent(id))
            }
            REDUCE => {
                let args = self.pop()?;
                let callee = self.pop()?;
                self.object(true, callee, args, None)
            }
            NEWOBJ => {
                let args = self.pop()?;
                let callee = self.pop()?;
                self.object(false, callee, args, None)
            }
            NEWOBJ_EX => {
                let kwargs = self.pop()?;
                let args = self.pop()?;
                let callee = self.pop()?;
                self.object(false, callee, args, Some(kwargs))
            }
            BUILD => {
                let state = self.pop()?;
                let top = self.top()?;
                match self.node_mut(top) {
                    Some(Node::Object(object)) => {
                        object.state = Some(state);
                        Ok(())
                    }
                    _ => self.fail("state for a value that has none"),
                }
            }
            _ => self.fail("an opcode that protocols 2 to 5 do not write"),
        }
    }

    fn object(&mut self, called: bool, callee: Id, args: Id, kwargs: Option<Id>) -> Result<(), DecodeError> {
        let Some(items) = self.graph.tuple(args) else { return self.fail("arguments that are no tuple") };
        if let (Some(global), &[target, state]) = (self.graph.global(callee), items)
            && SETTERS.contains(&global)
            && let Some(Node::Object(object)) = self.node_mut(target)
        {
            object.setters.push((callee, state));
            return self.push(target);
        }
        self.make(Node::Object(Box::new(Object {
            called,
            callee,
            args,
            kwargs,
            state: None,
            setters: Vec::new(),
            items: Vec::new(),
            pairs: Vec::new(),
        })))
    }

    fn global(&mut self, module: &'a str, name: &'a str) -> Result<(), DecodeError> {
        if module.len() > MAX_NAME || name.len() > MAX_NAME {
            return self.fail("a global with an overlong name");
        }
        self.make(Node::Global { module, name })
    }

    fn extend(&mut self, items: &[Id]) -> Result<(), DecodeError> {
        let top = self.top()?;
        match self.node_mut(top) {
            Some(Node::List(list) | Node::Set(list)) => list.extend_from_slice(items),
            Some(Node::Object(object)) => object.items.extend_from_slice(items),
            _ => return self.fail("items for a value that holds none"),
        }
        Ok(())
    }

    fn update(&mut self, items: &[Id]) -> Result<(), DecodeError> {
        let pairs = self.pairs(items)?;
        let top = self.top()?;
        match self.node_mut(top) {
            Some(Node::Dict(dict)) => dict.extend_from_slice(&pairs),
            Some(Node::Object(object)) => object.pairs.extend_from_slice(&pairs),
            _ => return self.fail("items for a value that holds none"),
        }
        Ok(())
    }

    fn pairs(&self, items: &[Id]) -> Result<Vec<(Id, Id)>, DecodeError> {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return self.fail("a key without a value");
        }
        Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
    }

    fn tuple(&mut self, length: usize) -> Result<(), DecodeError> {
        let floor = self.floor();
        let Some(start) = self.stack.len().checked_sub(length).filter(|&start| start >= floor) else {
            return self.fail("an empty stack");
        };
        let items = self.stack.split_off(start);
        self.make(Node::Tuple(items))
    }

    fn long(&mut self, length: usize) -> Result<(), DecodeError> {
        let bytes = self.take(length)?;
        let mut padded = [if bytes.last().is_some_and(|&byte| byte >= 0x80) { 0xff } else { 0 }; 8];
        self.make(match padded.get_mut(..bytes.len()) {
            Some(low) => {
                low.copy_from_slice(bytes);
                Node::Int(i64::from_le_bytes(padded))
            }
            None => Node::Long(bytes),
        })
    }

    fn text(&mut self, length: usize) -> Result<(), DecodeError> {
        let bytes = self.take(length)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => self.make(Node::Str(text)),
            Err(_) => self.fail("text that is not UTF-8"),
        }
    }

    fn raw(&mut self, length: usize) -> Result<(), DecodeError> {
        let bytes = self.take(length)?;
        self.make(Node::Bytes(bytes))
    }

    fn put(&mut self, index: usize) -> Result<(), DecodeError> {
        let top = self.top()?;
        if index >= self.bounds.nodes as usize {
            return Err(DecodeError::TooManyValues { limit: self.bounds.nodes });
        }
        if index >= self.memo.len() {
            self.memo.resize(index + 1, NO_NODE);
        }
        let slot = &mut self.memo[index];
        self.memoized += usize::from(*slot == NO_NODE);
        *slot = top;
        Ok(())
    }

    fn recall(&mut self, index: usize) -> Result<(), DecodeError> {
        match self.memo.get(index) {
            Some(&id) if id != NO_NODE => self.push(id),
            _ => self.fail("a memo entry that was never made"),
        }
    }

    fn make(&mut self, node: Node<'a>) -> Result<(), DecodeError> {
        let limit = self.bounds.nodes;
        match u32::try_from(self.graph.nodes.len()) {
            Ok(index) if index < limit => {
                self.graph.nodes.push(node);
                self.push(Id(index))
            }
            _ => Err(DecodeError::TooManyValues { limit }),
        }
    }

    fn push(&mut self, id: Id) -> Result<(), DecodeError> {
        // Every reference that a container holds was pushed once, so this bounds them too.
        self.pushed += 1;
        if self.stack.len() >= self.bounds.nodes as usize || self.pushed > 8 * u64::from(self.bounds.nodes) {
            return Err(DecodeError::TooManyValues { limit: self.bounds.nodes });
        }
        self.stack.push(id);
        Ok(())
    }

    /// Returns the height below which the innermost mark protects the stack.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Id, DecodeError> {
        if self.stack.len() <= self.floor() {
            return self.fail("an empty stack");
        }
        match self.stack.pop() {
            Some(id) => Ok(id),
            None => self.fail("an empty stack"),
        }
    }

    fn top(&self) -> Result<Id, DecodeError> {
        match self.stack.last() {
            Some(&id) if self.stack.len() > self.floor() => Ok(id),
            _ => self.fail("an empty stack"),
        }
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, DecodeError> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.split_off(height)),
            None => self.fail("no mark on the stack"),
        }
    }

    fn node_mut(&mut self, id: Id) -> Option<&mut Node<'a>> {
        self.graph.nodes.get_mut(id.0 as usize)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let bytes = self.bytes.get(self.at..).and_then(|rest| rest.get(..length));
        match bytes {
            Some(bytes) => {
                self.at += length;
                Ok(bytes)
            }
            None => self.fail("the end of the payload"),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn length4(&mut self) -> Result<usize, DecodeError> {
        let length = u32::from_le_bytes(self.array()?);
        usize::try_from(length).or_else(|_| self.fail("an impossible length"))
    }

    fn length8(&mut self) -> Result<usize, DecodeError> {
        let length = u64::from_le_bytes(self.array()?);
        usize::try_from(length).or_else(|_| self.fail("an impossible length"))
    }

    fn line(&mut self) -> Result<&'a str, DecodeError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let window = rest.get(..rest.len().min(MAX_NAME + 1)).unwrap_or_default();
        let Some(end) = window.iter().position(|&byte| byte == b'\n') else {
            return self.fail("a global without an end");
        };
        let bytes = self.take(end)?;
        self.at += 1;
        std::str::from_utf8(bytes).or_else(|_| self.fail("text that is not UTF-8"))
    }

    fn fail<T>(&self, what: &'static str) -> Result<T, DecodeError> {
        Err(DecodeError::Pickle { offset: self.op_at, what })
    }
}
