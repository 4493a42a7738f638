//! What a pickle says, with nothing done about it.

/// Points at a node of the [`Graph`] it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub(crate) u32);

/// The values of one pickle, in the order in which its opcodes made them. Text and bytes stay where they arrived.
#[derive(Debug, Default)]
pub struct Graph<'a> {
    pub nodes: Vec<Node<'a>>,
}

/// One value.
#[derive(Debug, PartialEq)]
pub enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer as little-endian two's complement.
    Long(&'a [u8]),
    Float(f64),
    Str(&'a str),
    Bytes(&'a [u8]),
    /// Bytes that change: a `bytearray`, or a buffer that was sent as one.
    ByteArray(&'a [u8]),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Set(Vec<Id>),
    FrozenSet(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global {
        module: &'a str,
        name: &'a str,
    },
    /// A value that the other side was to supply under this id.
    Persistent(Id),
    Object(Box<Object>),
}

/// A call that was asked for and not made.
#[derive(Debug, PartialEq)]
pub struct Object {
    /// `REDUCE` where true; else `NEWOBJ`.
    pub called: bool,
    pub callee: Id,
    /// Always a tuple.
    pub args: Id,
    pub kwargs: Option<Id>,
    pub state: Option<Id>,
    /// State that a function, named first, was to set.
    pub setters: Vec<(Id, Id)>,
    pub items: Vec<Id>,
    pub pairs: Vec<(Id, Id)>,
}

impl<'a> Graph<'a> {
    /// Returns a node; ids come from the reader, which makes only ones that exist.
    #[must_use]
    pub fn get(&self, id: Id) -> &Node<'a> {
        self.nodes.get(id.0 as usize).unwrap_or(&Node::None)
    }

    /// Returns a text.
    #[must_use]
    pub fn text(&self, id: Id) -> Option<&'a str> {
        match self.get(id) {
            Node::Str(text) => Some(text),
            _ => None,
        }
    }

    /// Returns bytes, of whichever type.
    #[must_use]
    pub fn bytes(&self, id: Id) -> Option<&'a [u8]> {
        match self.get(id) {
            Node::Bytes(bytes) | Node::ByteArray(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Returns an integer.
    #[must_use]
    pub fn integer(&self, id: Id) -> Option<i64> {
        match self.get(id) {
            Node::Int(value) => Some(*value),
            Node::Bool(value) => Some(i64::from(*value)),
            _ => None,
        }
    }

    /// Returns a truth value.
    #[must_use]
    pub fn truth(&self, id: Id) -> Option<bool> {
        match self.get(id) {
            Node::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns a tuple's items.
    #[must_use]
    pub fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// Returns a dictionary's pairs.
    #[must_use]
    pub fn dict(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.get(id) {
            Node::Dict(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// Returns a call.
    #[must_use]
    pub fn object(&self, id: Id) -> Option<&Object> {
        match self.get(id) {
            Node::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Returns the module and the name of a global.
    #[must_use]
    pub fn global(&self, id: Id) -> Option<(&'a str, &'a str)> {
        match self.get(id) {
            Node::Global { module, name } => Some((module, name)),
            _ => None,
        }
    }

    /// Returns the positional arguments of an object.
    #[must_use]
    pub fn args(&self, object: &Object) -> &[Id] {
        self.tuple(object.args).unwrap_or(&[])
    }
}
