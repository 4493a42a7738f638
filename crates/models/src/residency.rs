//! Models larger than their device: matrices of layers stay in the files, or in the host's memory beside a GPU, and are brought
//! when a pass comes to them.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use kernels::{Along, Given, Keep, Residency, Source, Weight};
use libtorch::stream::Upload;
use tch::{Device, TchError, Tensor};

use crate::dtype::Precision;
use crate::error::LoadError;
use crate::family::Root;
use crate::matrix::Matrix;
use crate::shelf;
use crate::weights::Weights;

/// The layers of a model that are brought when they are used.
pub struct Streaming {
    residency: Rc<Residency>,
    files: Rc<Files>,
    device: Device,
    bytes: Cell<u64>,
    spent: Cell<Duration>,
}

/// What it costs that layers are not where they are computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Bytes that a pass through all layers brings.
    pub bytes: u64,
    /// How long that took while the model was loaded.
    pub time: Duration,
}

/// What a model's layers have brought so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streamed {
    /// Bytes of layers that are here now, and that were at once at most.
    pub held: u64,
    pub most: u64,
    /// Bytes that were brought since the model was loaded.
    pub brought: u64,
}

/// A model's files, as they were when it was loaded.
struct Files {
    weights: RefCell<Weights>,
    source: Option<shelf::Source>,
}

/// A matrix that is read of files each time.
struct InFiles {
    files: Rc<Files>,
    matrix: Matrix,
    keep: Keep,
}

/// A matrix that lies in the host's memory beside a GPU.
struct OnHost {
    matrix: Tensor,
    keep: Keep,
    index: i32,
    upload: RefCell<Option<Upload>>,
}

impl Streaming {
    /// Opens a folder's files for good. Layers are brought to a device.
    ///
    /// # Errors
    /// As [`Weights::open`], and for weights in few bits.
    pub fn open(folder: &Path, precision: Precision, device: Device, root: &Root) -> Result<Rc<Self>, LoadError> {
        let mut weights = Weights::open_as(folder, precision, torch::Device::CPU)?;
        if weights.in_few_bits() {
            return Err(LoadError::Residency(folder.to_path_buf()));
        }
        weights.adapt(root);
        let source = weights.source();
        let files = Rc::new(Files { weights: RefCell::new(weights), source });
        let (residency, bytes, spent) = (Rc::default(), Cell::new(0), Cell::new(Duration::ZERO));
        Ok(Rc::new(Self { residency, files, device, bytes, spent }))
    }

    /// Takes a layer's matrix over, which is to be brought when it is used.
    ///
    /// # Errors
    /// As [`Matrix::load`].
    pub fn add(&self, layer: usize, matrix: Matrix, keep: Keep) -> Result<Weight, LoadError> {
        let begun = Instant::now();
        let given = self.files.read(&matrix)?;
        let (seen, source): (Weight, Rc<dyn Source>) = match (self.device, given) {
            (Device::Cuda(index), Given::Dense(dense)) => {
                let index = i32::try_from(index).unwrap_or(0);
                let upload = RefCell::new(None);
                let source = OnHost { matrix: pinned(&dense, self.device), keep, index, upload };
                let copied = Instant::now();
                let seen = source.bring()?;
                // A copy is done when the GPU says so. What was read of files is read once.
                let _ = libtorch::cuda::synchronize(index);
                self.spent.set(self.spent.get() + copied.elapsed());
                (seen, Rc::new(source))
            }
            (_, given) => {
                let seen = Weight::kept(given, keep)?;
                self.spent.set(self.spent.get() + begun.elapsed());
                (seen, Rc::new(InFiles { files: Rc::clone(&self.files), matrix, keep }))
            }
        };
        self.bytes.set(self.bytes.get() + seen.bytes());
        Ok(self.residency.add(layer, &seen, source)?)
    }

    /// Returns the bytes on disk that were read so far.
    pub fn progress(&self) -> u64 {
        self.files.weights.borrow().progress().0
    }

    pub fn price(&self) -> Price {
        Price { bytes: self.bytes.get(), time: self.spent.get() }
    }

    pub fn streamed(&self) -> Streamed {
        let Self { residency, .. } = self;
        Streamed { held: residency.held(), most: residency.most(), brought: residency.brought() }
    }
}

impl Files {
    fn read(&self, matrix: &Matrix) -> Result<Given, LoadError> {
        let mut weights = self.weights.borrow_mut();
        matrix.load(&mut weights, true, Along::Outputs, &(0..matrix.size()[0]))
    }
}

impl Source for InFiles {
    fn bring(&self) -> Result<Weight, TchError> {
        let wrong = |why: String| TchError::Torch(format!("the server cannot bring a layer of this model: {why}"));
        // Other numbers would be another model's.
        if self.files.source.is_none() || self.files.weights.borrow().source() != self.files.source {
            return Err(wrong("its files were written to since it was loaded; it has to be loaded again".into()));
        }
        let given = self.files.read(&self.matrix).map_err(|error| wrong(error.to_string()))?;
        Weight::kept(given, self.keep)
    }
}

impl Source for OnHost {
    fn start(&self) -> Result<(), TchError> {
        let mut upload = self.upload.borrow_mut();
        if upload.is_none() {
            *upload = Some(Upload::start(&self.matrix, self.index)?);
        }
        Ok(())
    }

    fn leave(&self) {
        self.upload.borrow_mut().take();
    }

    fn bring(&self) -> Result<Weight, TchError> {
        self.start()?;
        let upload = self.upload.borrow_mut().take();
        let upload = upload.ok_or_else(|| TchError::Torch("a copy to the GPU got lost".into()))?;
        Weight::kept(Given::Dense(upload.finish()?), self.keep)
    }
}

/// Puts a matrix where a GPU reads it by itself, if the system has such memory to give; else every copy has the host wait for it.
fn pinned(dense: &Tensor, device: Device) -> Tensor {
    let _unpaid = libtorch::account::unpaid();
    dense.f_internal_pin_memory(device).unwrap_or_else(|_| dense.shallow_clone())
}
