//! How far a job is in the model, for who looks from another thread.
//!
//! Performance-critical: written after every layer.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What a job's thread notes of how far it is. A look may see two notes that were made a moment apart.
#[derive(Debug, Default)]
pub struct Progress {
    passes: AtomicU64,
    layer: AtomicU32,
    layers: AtomicU32,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// Passes that are done.
    pub passes: u64,
    /// Which layer the pass under way is at, counted from 1; 0 between passes.
    pub layer: u32,
    /// Layers that the model has; 0 before the job has begun.
    pub layers: u32,
}

impl Progress {
    /// Begins, or begins again, with a model of so many layers.
    pub fn begin(&self, layers: usize) {
        self.passed(0);
        self.layers.store(u32::try_from(layers).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Notes that a pass is at a layer.
    pub fn at(&self, layer: u32) {
        self.layer.store(layer, Ordering::Relaxed);
    }

    /// Notes that so many passes are done, and none is under way.
    pub fn passed(&self, passes: u64) {
        self.at(0);
        self.passes.store(passes, Ordering::Relaxed);
    }

    /// Looks how far it is.
    #[must_use]
    pub fn look(&self) -> Whereabouts {
        let layers = self.layers.load(Ordering::Relaxed);
        // What stands behind the layers, as the head does, is no further one.
        let layer = self.layer.load(Ordering::Relaxed).min(layers);
        Whereabouts { passes: self.passes.load(Ordering::Relaxed), layer, layers }
    }
}
