//! A block that waits, and what it has yet to store in things around it.

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::{Rc, Weak};

use interpreter::modules::deepcopy;
use interpreter::raise::Raise;
use interpreter::{Args, Block, Frame, HostObject, HostResult, Machine, Outcome, Siblings, Value, operators, types};
use program::ir::Span;

use super::value;

/// A block that waits, in a snapshot of its frame.
pub struct PutOff {
    pub block: Block,
    siblings: Rc<Siblings>,
    log: Rc<Log>,
}

/// What a block stores, in order, until it is done.
type Log = RefCell<Vec<Entry>>;

/// One store in something that lies around the block.
struct Entry {
    object: Value,
    store: Store,
    span: Span,
}

enum Store {
    Append(Value),
    Item(Value, Value),
}

impl PutOff {
    /// Takes a block out of its turn. In its snapshot, what it stores in is replaced by what writes the stores down: the
    /// block does nothing else with it.
    pub fn new(block: &Block, siblings: &Rc<Siblings>, receives: impl Iterator<Item = u32>) -> Self {
        let (log, frame) = (Rc::new(Log::default()), block.frame.fork(siblings));
        for slot in receives {
            if let Some(object) = value(&block.frame, slot) {
                let receiver = Receiver { object, log: Rc::clone(&log), frame: Rc::downgrade(&frame) };
                frame.fill(slot as usize, Value::host(receiver));
            }
        }
        let block = Block { code: Rc::clone(&block.code), frame };
        Self { block, siblings: Rc::clone(siblings), log }
    }

    /// Does for the session what the block has done: binds names in its frame, and stores.
    ///
    /// # Errors
    /// What storing raises.
    pub async fn finish(self, machine: Machine, session: Rc<Frame>) -> Result<(), Raise> {
        for (name, value) in self.siblings.names() {
            session.set(name, value);
        }
        for Entry { object, store, span } in self.log.take() {
            store.perform(&machine, &object).await.map_err(|raise| self.block.frame.raised_at(raise, span))?;
        }
        Ok(())
    }
}

impl Store {
    async fn perform(self, machine: &Machine, object: &Value) -> Result<(), Raise> {
        match (self, object) {
            (Self::Append(item), Value::List(list)) => list.push(machine, item),
            (Self::Append(item), object) => {
                let append = machine.get_attribute(object, "append").await?;
                machine.call(&append, Args { positional: vec![item], keyword: vec![] }).await.map(drop)
            }
            (Self::Item(key, value), object) => {
                let stored = operators::set_item(machine, object, &key, value)?;
                machine.settle(stored).await.map(drop)
            }
        }
    }
}

/// Stands for something that a block stores in.
struct Receiver {
    object: Value,
    log: Rc<Log>,
    /// The block's, which holds this.
    frame: Weak<Frame>,
}

impl Receiver {
    fn note(&self, store: Store) {
        let span = self.frame.upgrade().map(|frame| frame.position()).unwrap_or_default();
        self.log.borrow_mut().push(Entry { object: self.object.clone(), store, span });
    }
}

impl HostObject for Receiver {
    fn type_name(&self) -> Cow<'static, str> {
        types::type_name(&self.object).into_owned().into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn call_method(self: Rc<Self>, _: &Machine, name: &str, args: &Args) -> HostResult {
        match (name, args.positional.as_slice()) {
            ("append", [item]) if args.keyword.is_empty() => {
                self.note(Store::Append(item.clone()));
                Ok(Value::None.into())
            }
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn set_item(self: Rc<Self>, machine: &Machine, key: &Value, value: Value) -> HostResult {
        // What is stored in a tensor is copied into its memory, as it is now.
        if let Value::Host(host) = &self.object
            && host.memory().is_some()
        {
            let copies = (deepcopy(machine, key.clone()), deepcopy(machine, value));
            return Ok(Outcome::Later(Box::pin(async move {
                self.note(Store::Item(copies.0.await?, copies.1.await?));
                Ok(Value::None)
            })));
        }
        self.note(Store::Item(key.clone(), value));
        Ok(Value::None.into())
    }
}
