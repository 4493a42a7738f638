//! Matrices of layers that are elsewhere until they are used: in files, or in the host's memory beside a GPU.
//!
//! A pass goes from layer to layer, a walk back the other way. Only the layers that were used last are where they are
//! computed with, and where bringing one takes a GPU's time, the next one is on its way meanwhile. What is used in any other
//! order is there as well, and only takes longer.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Deref;
use std::rc::Rc;

use libtorch::account;
use tch::TchError;

use crate::packed::PANEL_ROWS;
use crate::weight::Weight;

/// How a matrix is brought.
pub trait Source {
    /// Begins, where it can be done beside what is computed. It may have begun already.
    ///
    /// # Errors
    /// When there is no memory for it.
    fn start(&self) -> Result<(), TchError> {
        Ok(())
    }

    /// Leaves what has begun, if something has.
    fn leave(&self) {}

    /// Brings the matrix. It is the same one each time.
    ///
    /// # Errors
    /// When it cannot be read, or there is no memory for it.
    fn bring(&self) -> Result<Weight, TchError>;
}

/// The layers of a model whose matrices are elsewhere.
#[derive(Default)]
pub struct Residency {
    layers: RefCell<Vec<Layer>>,
    /// Those whose matrices are here or on their way, the longest unused first.
    here: RefCell<VecDeque<usize>>,
    held: Rc<Held>,
    /// The layer that was used last.
    last: Cell<Option<usize>>,
}

#[derive(Default)]
struct Layer {
    matrices: Vec<Entry>,
}

struct Entry {
    source: Rc<dyn Source>,
    here: Option<Rc<Brought>>,
}

/// Bytes of matrices that are here.
#[derive(Default)]
struct Held {
    now: Cell<u64>,
    most: Cell<u64>,
    brought: Cell<u64>,
}

/// A matrix that is here for a while.
pub struct Brought {
    weight: Weight,
    bytes: u64,
    held: Rc<Held>,
}

/// Where a matrix is in a [`Residency`], and what is known of it while it is elsewhere.
pub struct Streamed {
    residency: Rc<Residency>,
    layer: usize,
    matrix: usize,
    pub(crate) packed: bool,
    pub(crate) panels: bool,
}

/// A matrix where it is computed with.
pub enum Here<'a> {
    Own(&'a Weight),
    Brought(Rc<Brought>),
    Turned(Rc<Weight>),
}

/// Layers that are here at once: the one that is computed, and the next.
const LAYERS: usize = 2;

impl Residency {
    /// Adds a layer's matrix, which was seen as it is when it is brought. Returns what stands for it.
    ///
    /// # Errors
    /// When there is no room for its name.
    pub fn add(self: &Rc<Self>, layer: usize, seen: &Weight, source: Rc<dyn Source>) -> Result<Weight, TchError> {
        let mut layers = self.layers.borrow_mut();
        while layers.len() <= layer {
            layers.push(Layer::default());
        }
        let matrices = layers.get_mut(layer).map(|layer| &mut layer.matrices);
        let matrices = matrices.ok_or_else(|| TchError::Shape("a layer got lost".into()))?;
        let matrix = matrices.len();
        matrices.push(Entry { source, here: None });
        let streamed = Streamed {
            residency: Rc::clone(self),
            layer,
            matrix,
            packed: seen.is_packed(),
            panels: seen.is_streamed(PANEL_ROWS),
        };
        Ok(Weight::elsewhere(seen, streamed))
    }

    /// Returns the bytes of all matrices that are here now.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.now.get()
    }

    /// Returns the bytes of the matrices that were here at once at most.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.held.most.get()
    }

    /// Returns the bytes of all matrices that were brought so far.
    #[must_use]
    pub fn brought(&self) -> u64 {
        self.held.brought.get()
    }

    fn get(&self, layer: usize, matrix: usize) -> Result<Rc<Brought>, TchError> {
        self.enter(layer)?;
        let source = {
            let layers = self.layers.borrow();
            let entry = layers.get(layer).and_then(|layer| layer.matrices.get(matrix));
            let entry = entry.ok_or_else(|| TchError::Shape("a matrix got lost".into()))?;
            if let Some(here) = &entry.here {
                return Ok(Rc::clone(here));
            }
            Rc::clone(&entry.source)
        };
        let _unpaid = account::unpaid();
        let weight = source.bring()?;
        let bytes = weight.bytes();
        self.held.now.set(self.held.now.get() + bytes);
        self.held.most.set(self.held.most.get().max(self.held.now.get()));
        self.held.brought.set(self.held.brought.get() + bytes);
        let brought = Rc::new(Brought { weight, bytes, held: Rc::clone(&self.held) });
        let mut layers = self.layers.borrow_mut();
        if let Some(entry) = layers.get_mut(layer).and_then(|layer| layer.matrices.get_mut(matrix)) {
            entry.here = Some(Rc::clone(&brought));
        }
        Ok(brought)
    }

    /// Makes room for a layer, and begins with the one that is likely to be next: behind the last one, the first of the next
    /// pass.
    fn enter(&self, layer: usize) -> Result<(), TchError> {
        let last = self.last.replace(Some(layer));
        if last == Some(layer) {
            return Ok(());
        }
        let mut layers = self.layers.borrow_mut();
        let back = last.is_some_and(|last| last == layer + 1);
        let next = if back { layer.checked_sub(1) } else { Some((layer + 1) % layers.len().max(1)) };
        let next = next.filter(|next| *next != layer);
        let mut here = self.here.borrow_mut();
        here.retain(|other| *other != layer && Some(*other) != next);
        here.push_back(layer);
        here.extend(next);
        while here.len() > LAYERS {
            if let Some(gone) = here.pop_front().and_then(|gone| layers.get_mut(gone)) {
                gone.let_go();
            }
        }
        next.and_then(|next| layers.get_mut(next)).map_or(Ok(()), Layer::start)
    }
}

impl Layer {
    fn start(&mut self) -> Result<(), TchError> {
        let _unpaid = account::unpaid();
        self.matrices.iter().filter(|entry| entry.here.is_none()).try_for_each(|entry| entry.source.start())
    }

    fn let_go(&mut self) {
        for entry in &mut self.matrices {
            entry.here = None;
            entry.source.leave();
        }
    }
}

impl Streamed {
    pub(crate) fn bring(&self) -> Result<Rc<Brought>, TchError> {
        self.residency.get(self.layer, self.matrix)
    }
}

impl Deref for Brought {
    type Target = Weight;

    fn deref(&self) -> &Weight {
        &self.weight
    }
}

impl Drop for Brought {
    fn drop(&mut self) {
        self.held.now.set(self.held.now.get() - self.bytes);
    }
}

impl Deref for Here<'_> {
    type Target = Weight;

    fn deref(&self) -> &Weight {
        match self {
            Self::Own(weight) => weight,
            Self::Brought(brought) => brought,
            Self::Turned(turned) => turned,
        }
    }
}
