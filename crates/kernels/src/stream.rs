//! What ranks send each other's GPUs, among what these compute.

use collectives::nccl::{Mark, Stream};
use libtorch::stream;

/// The stream on which a thread of this process computes on a GPU.
pub struct Gpu {
    index: i32,
    handle: usize,
}

impl Gpu {
    /// Finds the calling thread's.
    ///
    /// # Errors
    /// What the driver says.
    pub fn new(index: i32) -> Result<Self, String> {
        Ok(Self { index, handle: stream::handle(index)? })
    }
}

impl Stream for Gpu {
    fn handle(&self) -> usize {
        self.handle
    }

    fn with_device(&self, run: &mut dyn FnMut()) {
        stream::with_device(self.index, run);
    }

    fn mark(&self) -> Result<Box<dyn Mark>, String> {
        Ok(Box::new(Place(stream::Mark::new(self.index)?)))
    }
}

struct Place(stream::Mark);

impl Mark for Place {
    fn reached(&self) -> Result<bool, String> {
        self.0.reached()
    }
}
