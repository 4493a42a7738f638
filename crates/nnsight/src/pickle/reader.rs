//! Reads a pickle into a [`Graph`]. Performance-critical: one pass, nothing copied.

use crate::error::DecodeError;
use crate::pickle::graph::{Graph, Id, Node, Object};
use crate::pickle::opcode::*;

/// What one pickle may use.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Values, memo entries and stack entries, each; references between values, eight times as many.
    pub nodes: u32,
}

/// Marks open at once. Python's own pickler stops near 500 containers deep.
const MAX_MARKS: usize = 1_000;
/// Bytes of a module or attribute path.
const MAX_NAME: usize = 512;
const NO_NODE: Id = Id(u32::MAX);
/// Values that room is made for before they are there.
const MOST_EXPECTED: usize = 8_192;

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
pub fn read(bytes: &[u8], bounds: Bounds) -> Result<(Graph<'_>, Id, usize), DecodeError> {
    // What the client sends takes some eight bytes a value.
    let expected = (bytes.len() / 8).min(bounds.nodes as usize).min(MOST_EXPECTED);
    let mut nodes = Vec::with_capacity(expected + 3);
    nodes.extend([Node::None, Node::Bool(false), Node::Bool(true)]);
    let mut reader = Reader {
        bytes,
        at: 0,
        op_at: 0,
        bounds,
        graph: Graph { nodes },
        stack: Vec::new(),
        pushed: 0,
        marks: Vec::new(),
        memo: Vec::with_capacity(expected),
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

const LONE_KEY: &str = "a key without a value";

/// Takes keys and values that are stacked in turn by twos; `None` where a key has no value.
fn pairs(stacked: Option<&[Id]>) -> Option<impl Iterator<Item = (Id, Id)>> {
    let (pairs, rest) = stacked.unwrap_or_default().as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|&[key, value]| (key, value)))
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
            BINBYTES8 => {
                let length = self.length8()?;
                self.raw(length)
            }
            BYTEARRAY8 => {
                let length = self.length8()?;
                let bytes = self.take(length)?;
                self.make(Node::ByteArray(bytes))
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
                let start = self.pop_mark()?;
                let items = self.stack.split_off(start);
                self.make(Node::Tuple(items))
            }
            LIST => {
                let start = self.pop_mark()?;
                let items = self.stack.split_off(start);
                self.make(Node::List(items))
            }
            FROZENSET => {
                let start = self.pop_mark()?;
                let items = self.stack.split_off(start);
                self.make(Node::FrozenSet(items))
            }
            DICT => {
                let start = self.pop_mark()?;
                let Some(pairs) = pairs(self.stack.get(start..)) else { return self.fail(LONE_KEY) };
                let pairs = pairs.collect();
                self.stack.truncate(start);
                self.make(Node::Dict(pairs))
            }
            APPEND => {
                let start = self.below_top(1)?;
                self.extend(start)
            }
            APPENDS | ADDITEMS => {
                let start = self.pop_mark()?;
                self.extend(start)
            }
            SETITEM => {
                let start = self.below_top(2)?;
                self.update(start)
            }
            SETITEMS => {
                let start = self.pop_mark()?;
                self.update(start)
            }
            POP => {
                // A mark alone on top is what `POP` takes, as in Python.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                    return Ok(());
                }
                self.pop().map(drop)
            }
            POP_MARK => {
                let start = self.pop_mark()?;
                self.stack.truncate(start);
                Ok(())
            }
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

    /// Moves what is stacked from `start` on into the container below it.
    fn extend(&mut self, start: usize) -> Result<(), DecodeError> {
        let target = self.target(start)?;
        let items = self.stack.get(start..).unwrap_or_default();
        match self.graph.nodes.get_mut(target.0 as usize) {
            Some(Node::List(list) | Node::Set(list)) => list.extend_from_slice(items),
            Some(Node::Object(object)) => object.items.extend_from_slice(items),
            _ => return self.fail("items for a value that holds none"),
        }
        self.stack.truncate(start);
        Ok(())
    }

    /// As [`Self::extend`], with keys and values in turn.
    fn update(&mut self, start: usize) -> Result<(), DecodeError> {
        let target = self.target(start)?;
        let Some(pairs) = pairs(self.stack.get(start..)) else { return self.fail(LONE_KEY) };
        match self.graph.nodes.get_mut(target.0 as usize) {
            Some(Node::Dict(dict)) => dict.extend(pairs),
            Some(Node::Object(object)) => object.pairs.extend(pairs),
            _ => return self.fail("items for a value that holds none"),
        }
        self.stack.truncate(start);
        Ok(())
    }

    /// Returns what is stacked just below `start`.
    fn target(&self, start: usize) -> Result<Id, DecodeError> {
        match start.checked_sub(1).and_then(|index| self.stack.get(index)) {
            Some(&id) if start > self.floor() => Ok(id),
            _ => self.fail("an empty stack"),
        }
    }

    fn tuple(&mut self, length: usize) -> Result<(), DecodeError> {
        let start = self.below_top(length)?;
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

    /// Returns where the `count` topmost values begin.
    fn below_top(&self, count: usize) -> Result<usize, DecodeError> {
        match self.stack.len().checked_sub(count) {
            Some(start) if start >= self.floor() => Ok(start),
            _ => self.fail("an empty stack"),
        }
    }

    /// Takes the innermost mark away, and returns where the values above it begin.
    fn pop_mark(&mut self) -> Result<usize, DecodeError> {
        match self.marks.pop() {
            Some(height) => Ok(height),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(body: &[u8]) -> Result<(Graph<'_>, Id), DecodeError> {
        read(body, Bounds { nodes: 1_000 }).map(|(graph, root, _)| (graph, root))
    }

    /// Reads a pickle whose root is described by a small text, so that tables below stay readable.
    fn show(body: &[u8]) -> Result<String, DecodeError> {
        fn text(graph: &Graph<'_>, id: Id, depth: usize) -> String {
            if depth > 8 {
                return "…".into();
            }
            let many = |ids: &[Id]| ids.iter().map(|&id| text(graph, id, depth + 1)).collect::<Vec<_>>().join(" ");
            let pairs = |pairs: &[(Id, Id)]| {
                let pair = |(key, value): &(Id, Id)| many(&[*key, *value]).replacen(' ', ":", 1);
                pairs.iter().map(pair).collect::<Vec<_>>().join(" ")
            };
            match graph.get(id) {
                Node::List(items) => format!("[{}]", many(items)),
                Node::Tuple(items) => format!("({})", many(items)),
                Node::Set(items) => format!("{{{}}}", many(items)),
                Node::FrozenSet(items) => format!("f{{{}}}", many(items)),
                Node::Dict(entries) => format!("d{{{}}}", pairs(entries)),
                Node::Global { module, name } => format!("{module}.{name}"),
                Node::Persistent(id) => format!("@{}", text(graph, *id, depth + 1)),
                Node::Object(object) => format!(
                    "{}{}{} state={:?} setters={} [{}] {{{}}}",
                    if object.called { "call " } else { "new " },
                    text(graph, object.callee, depth + 1),
                    text(graph, object.args, depth + 1),
                    object.state.map(|state| text(graph, state, depth + 1)),
                    object.setters.len(),
                    many(&object.items),
                    pairs(&object.pairs),
                ),
                leaf => format!("{leaf:?}"),
            }
        }
        read_all(body).map(|(graph, root)| text(&graph, root, 0))
    }

    #[test]
    fn every_opcode_says_what_python_means_by_it() {
        let global = b"cos\npath\n";
        let join = |parts: &[&[u8]]| parts.concat();
        for (body, expected) in [
            (b"\x80\x04N.".to_vec(), "None"),
            (b"\x80\x05\x88.".to_vec(), "Bool(true)"),
            (b"\x89.".to_vec(), "Bool(false)"),
            (b"J\xfe\xff\xff\xff.".to_vec(), "Int(-2)"),
            (b"K\xff.".to_vec(), "Int(255)"),
            (b"M\x01\x02.".to_vec(), "Int(513)"),
            (b"\x8a\x00.".to_vec(), "Int(0)"),
            (b"\x8a\x01\xff.".to_vec(), "Int(-1)"),
            (b"\x8a\x02\xff\x00.".to_vec(), "Int(255)"),
            (b"\x8a\x09\0\0\0\0\0\0\0\x80\0.".to_vec(), "Long([0, 0, 0, 0, 0, 0, 0, 128, 0])"),
            (b"\x8b\x01\0\0\0\x05.".to_vec(), "Int(5)"),
            (b"G\x3f\xf8\0\0\0\0\0\0.".to_vec(), "Float(1.5)"),
            (b"\x8c\x02hi.".to_vec(), "Str(\"hi\")"),
            (b"X\x02\0\0\0hi.".to_vec(), "Str(\"hi\")"),
            (b"\x8d\x02\0\0\0\0\0\0\0hi.".to_vec(), "Str(\"hi\")"),
            (b"C\x01h.".to_vec(), "Bytes([104])"),
            (b"B\x01\0\0\0h.".to_vec(), "Bytes([104])"),
            (b"\x8e\x01\0\0\0\0\0\0\0h.".to_vec(), "Bytes([104])"),
            (b"\x96\x01\0\0\0\0\0\0\0h.".to_vec(), "ByteArray([104])"),
            (b").".to_vec(), "()"),
            (b"N\x85.".to_vec(), "(None)"),
            (b"K\x01K\x02\x86.".to_vec(), "(Int(1) Int(2))"),
            (b"K\x01K\x02K\x03\x87.".to_vec(), "(Int(1) Int(2) Int(3))"),
            (b"(K\x01K\x02t.".to_vec(), "(Int(1) Int(2))"),
            (b"(K\x01l.".to_vec(), "[Int(1)]"),
            (b"]K\x01a(K\x02K\x03e.".to_vec(), "[Int(1) Int(2) Int(3)]"),
            (b"(K\x01K\x02d.".to_vec(), "d{Int(1):Int(2)}"),
            (b"}K\x01K\x02s(K\x03K\x04u.".to_vec(), "d{Int(1):Int(2) Int(3):Int(4)}"),
            (b"\x8f(K\x01K\x02\x90.".to_vec(), "{Int(1) Int(2)}"),
            (b"(K\x01\x91.".to_vec(), "f{Int(1)}"),
            (b"K\x01K\x020.".to_vec(), "Int(1)"),
            (b"K\x01(0.".to_vec(), "Int(1)"),
            (b"K\x01(K\x02K\x031.".to_vec(), "Int(1)"),
            (b"K\x012\x86.".to_vec(), "(Int(1) Int(1))"),
            (b"]q\x05h\x05a.".to_vec(), "[[[[[[[[[…]]]]]]]]]"),
            (b"K\x07r\x09\0\0\0j\x09\0\0\0\x86.".to_vec(), "(Int(7) Int(7))"),
            (b"K\x07\x94K\x08\x94h\x00h\x01\x86.".to_vec(), "(Int(7) Int(8))"),
            (b"\x8c\x05Modul\x51.".to_vec(), "@Str(\"Modul\")"),
            (join(&[global, b"."]), "os.path"),
            (b"\x8c\x02os\x8c\x04path\x93.".to_vec(), "os.path"),
            (join(&[global, b")R."]), "call os.path() state=None setters=0 [] {}"),
            (join(&[global, b")\x81Nb."]), "new os.path() state=Some(\"None\") setters=0 [] {}"),
            (join(&[global, b")}\x92."]), "new os.path() state=None setters=0 [] {}"),
            (join(&[global, b")R(K\x01eK\x02K\x03s."]), "call os.path() state=None setters=0 [Int(1)] {Int(2):Int(3)}"),
            (b"\x95\x02\0\0\0\0\0\0\0K\x01.".to_vec(), "Int(1)"),
        ] {
            assert_eq!(show(&body).unwrap(), expected, "{body:?}");
        }
    }

    #[test]
    fn a_setter_gives_state_to_its_first_argument() {
        let body = b"cos\npath\n)R\x94cnnsight.intervention.serialization\n_fill\nh\x00}\x86R0.";
        assert!(show(body).unwrap().contains("setters=1"));
    }

    #[test]
    fn what_python_would_not_write_is_refused() {
        for body in [
            &b""[..],
            b".",
            b"\x80\x00N.",
            b"\x80\x06N.",
            b"\x80",
            b"0.",
            b"2.",
            b"a.",
            b"]a.",
            b"(a.",
            b"K\x01K\x02a.",
            b"N(e.",
            b"NNR.",
            b"Nb.",
            b"t.",
            b"K\x01(\x85.",
            b"(K\x01d.",
            b"}(K\x01u.",
            b"h\x00.",
            b"K\x01r\xff\xff\xff\xffj\xff\xff\xff\xff.",
            b"j\xff\xff\xff\x7f.",
            b"K\x01\x94h\x01.",
            b"X\xff\xff\xff\xffhi.",
            b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffhi.",
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7fhi.",
            b"\x8b\xff\xff\xff\xff\x01.",
            b"\x95\xff\xff\xff\xff\xff\xff\xff\xffN.",
            b"\x8c\x02\xff\xfe.",
            b"cos\npath",
            b"c\xff\n\n.",
            b"NN\x93.",
            b"Q.",
            // Protocols 0 and 1, extension codes and out-of-band buffers.
            b"I1\n.",
            b"L1L\n.",
            b"S'a'\n.",
            b"V\n.",
            b"F1\n.",
            b"P0\n.",
            b"(ios\nsystem\n.",
            b"\x82\x01.",
            b"\x84\x01\0\0\0.",
            b"\x97.",
            b"\xff.",
        ] {
            assert!(read_all(body).is_err(), "{body:?}");
        }
        let long = [b"c".as_slice(), &[b'a'; 600], b"\nname\n."].concat();
        assert!(read_all(&long).is_err());
    }

    #[test]
    fn values_references_and_depth_are_bounded() {
        let refused = |body: Vec<u8>| assert!(read_all(&body).is_err());
        refused([b"]".repeat(2_000), b".".to_vec()].concat());
        refused([b"(".repeat(2_000), b".".to_vec()].concat());
        refused([b"N".to_vec(), b"2".repeat(2_000), b".".to_vec()].concat());
        // One list, filled over and over with the same value.
        refused(
            [b"]N\x940".to_vec(), [b"(".to_vec(), b"h\x00".repeat(900), b"e".to_vec()].concat().repeat(20)].concat(),
        );
        // A chain of tuples, each of which holds the last one twice, is no larger than its opcodes.
        let doubling = [b"N".to_vec(), b"2\x86".repeat(900), b".".to_vec()].concat();
        assert_eq!(read_all(&doubling).unwrap().0.nodes.len(), 903);
    }
}
