//! What a pickle says, with nothing done about it.

/// Points at a node of the [`Graph`] it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id(pub(crate) u32);

/// The values of one pickle, in the order in which its opcodes made them. Text and bytes stay where they arrived.
#[derive(Debug, Default)]
pub(crate) struct Graph<'a> {
    pub(crate) nodes: Vec<Node<'a>>,
}

/// One value.
#[derive(Debug, PartialEq)]
pub(crate) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer as little-endian two's complement.
    Long(&'a [u8]),
    Float(f64),
    Str(&'a str),
    Bytes(&'a [u8]),
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
pub(crate) struct Object {
    /// `REDUCE` where true; else `NEWOBJ`.
    pub(crate) called: bool,
    pub(crate) callee: Id,
    /// Always a tuple.
    pub(crate) args: Id,
    pub(crate) kwargs: Option<Id>,
    pub(crate) state: Option<Id>,
    /// State that a function, named first, was to set.
    pub(crate) setters: Vec<(Id, Id)>,
    pub(crate) items: Vec<Id>,
    pub(crate) pairs: Vec<(Id, Id)>,
}

impl<'a> Graph<'a> {
    /// Returns a node; ids come from the reader, which makes only ones that exist.
    pub(crate) fn get(&self, id: Id) -> &Node<'a> {
        self.nodes.get(id.0 as usize).unwrap_or(&Node::None)
    }

    pub(crate) fn text(&self, id: Id) -> Option<&'a str> {
        match self.get(id) {
            Node::Str(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn integer(&self, id: Id) -> Option<i64> {
        match self.get(id) {
            Node::Int(value) => Some(*value),
            Node::Bool(value) => Some(i64::from(*value)),
            _ => None,
        }
    }

    pub(crate) fn truth(&self, id: Id) -> Option<bool> {
        match self.get(id) {
            Node::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn dict(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.get(id) {
            Node::Dict(pairs) => Some(pairs),
            _ => None,
        }
    }

    pub(crate) fn object(&self, id: Id) -> Option<&Object> {
        match self.get(id) {
            Node::Object(object) => Some(object),
            _ => None,
        }
    }

    pub(crate) fn global(&self, id: Id) -> Option<(&'a str, &'a str)> {
        match self.get(id) {
            Node::Global { module, name } => Some((module, name)),
            _ => None,
        }
    }

    /// Returns the positional arguments of an object.
    pub(crate) fn args(&self, object: &Object) -> &[Id] {
        self.tuple(object.args).unwrap_or(&[])
    }
}
