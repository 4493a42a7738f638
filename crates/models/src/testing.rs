//! The tests' small random models, in an engine. `tools/test_models.py` makes them.

#![expect(clippy::panic, reason = "without its model no test can begin")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::rc::Rc;

use collectives::{Group, Memory, Network};
use engine::conformance::Subject;
use engine::{Engine, Interleaver, Settings};

use kernels::{Look, Ranks, Scrub};

use crate::dtype::DType;
use crate::error::LoadError;
use crate::transformer::Transformer;
use crate::weights::Weights;
use tch::Tensor;
use torch::Device;

pub const GPT2: Subject<'_> =
    Subject { layers: "model.transformer.h", head: "model.lm_head", engine: &|| engine("tiny-gpt2") };
pub const LLAMA: Subject<'_> =
    Subject { layers: "model.model.layers", head: "model.lm_head", engine: &|| engine("tiny-llama") };
/// Its layers see windows in turns, and are rotated by type.
pub const WINDOWS: Subject<'_> = Subject { engine: &|| engine("tiny-gemma3"), ..LLAMA };
pub const EXPERTS: Subject<'_> = Subject { engine: &|| engine("tiny-qwen3-moe"), ..LLAMA };

/// Loads a test model by its folder's name, in float32.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn load(name: &str) -> Transformer {
    load_to(name, Device::CPU)
}

/// Loads a test model to a device.
///
/// # Panics
/// When either is not there.
#[must_use]
pub fn load_to(name: &str, device: Device) -> Transformer {
    load_as(name, DType::Float32, device)
}

/// Loads a test model to a device, with parameters of a type.
///
/// # Panics
/// When either is not there.
#[must_use]
pub fn load_as(name: &str, dtype: DType, device: Device) -> Transformer {
    libtorch::prepare();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.models/float32").join(name);
    *crate::load(&folder, Some(dtype), device, &mut |_, _| {}).unwrap_or_else(|error| panic!("{error}"))
}

/// A model that is loaded already, and what its weights were then.
struct Kept {
    of: (String, DType, Device),
    model: Rc<Transformer>,
    scrub: Scrub,
}

thread_local! {
    /// They stay until the process ends: libtorch's own variables of a thread may be gone before these would be dropped, and
    /// tensors need them then.
    static KEPT: RefCell<ManuallyDrop<Vec<Kept>>> = const { RefCell::new(ManuallyDrop::new(Vec::new())) };
}

/// Returns a test model that each thread loads once, and so each test, for engines that come one after another.
///
/// # Panics
/// When it is not there, or whoever computed with it before has changed a weight.
#[must_use]
pub fn kept(name: &str, dtype: DType, device: Device) -> Rc<Transformer> {
    let of = (name.to_owned(), dtype, device);
    KEPT.with_borrow_mut(|all| {
        if let Some(kept) = all.iter_mut().find(|kept| kept.of == of) {
            kept.assert_unchanged();
            return Rc::clone(&kept.model);
        }
        let mut model = load_as(name, dtype, device);
        let scrub = model.scrub().unwrap_or_else(|error| panic!("{error}"));
        let model = Rc::new(model);
        all.push(Kept { of, model: Rc::clone(&model), scrub });
        model
    })
}

impl Kept {
    fn assert_unchanged(&mut self) {
        loop {
            match self.scrub.look().unwrap_or_else(|error| panic!("{error}")) {
                Look::Same => {}
                Look::Whole => return,
                Look::Changed(what) => panic!("a job has changed weights of {}: {what}", self.of.0),
            }
        }
    }
}

/// Loads a test model to a device, in float32, whose layers are brought there when they are used.
///
/// # Panics
/// When either is not there.
#[must_use]
pub fn load_streamed(name: &str, device: Device) -> Transformer {
    libtorch::prepare();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.models/float32").join(name);
    let model = crate::load_streamed(&folder, Some(DType::Float32), device, &mut |_, _| {});
    *model.unwrap_or_else(|error| panic!("{error}"))
}

/// Loads a test model in pieces, held by so many ranks that are threads, in float32.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn load_apart(name: &str, ranks: usize) -> Transformer {
    apart(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.models/float32").join(name), DType::Float32, ranks)
}

/// Loads a folder in pieces, held by so many ranks that are threads.
///
/// # Panics
/// When it cannot be loaded so.
#[must_use]
pub fn apart(folder: &Path, dtype: DType, ranks: usize) -> Transformer {
    held_by(Memory::threads(ranks).unwrap_or_else(|error| panic!("{error}")), folder, dtype)
}

/// Loads a test model in pieces, held by so many ranks that have connections, in float32.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn load_over_network(name: &str, ranks: usize) -> Transformer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.models/float32").join(name);
    held_by(Network::threads(ranks).unwrap_or_else(|error| panic!("{error}")), &folder, DType::Float32)
}

fn held_by<G: Group + Send + 'static>(group: Vec<G>, folder: &Path, dtype: DType) -> Transformer {
    libtorch::prepare();
    let mut group = group.into_iter();
    let Some(leader) = group.next() else { panic!("no ranks") };
    for rank in group {
        let folder = folder.to_owned();
        // It ends when the model is dropped.
        std::thread::spawn(move || crate::follow(&folder, Device::CPU, &rank));
    }
    let ranks = Rc::new(Ranks::new(Box::new(leader), Box::new(|why| panic!("{why}"))));
    let model = crate::load_apart(ranks, folder, Some(dtype), Device::CPU, &mut |_, _| {});
    *model.unwrap_or_else(|error| panic!("{error}"))
}

/// Reads all tensors of a folder's weight files.
///
/// # Errors
/// What is wrong with the first file or tensor that is not as it should be.
pub fn weights(folder: &Path) -> Result<BTreeMap<String, Tensor>, LoadError> {
    libtorch::prepare();
    let mut weights = Weights::open(folder, tch::Kind::Float, Device::CPU)?;
    let mut all = BTreeMap::new();
    for (name, shape) in weights.shapes() {
        let tensor = weights.read(&name, &shape)?;
        all.insert(name, tensor);
    }
    weights.finish(false)?;
    Ok(all)
}

fn engine(name: &str) -> Box<dyn Engine> {
    Box::new(Interleaver::over(kept(name, DType::Float32, Device::CPU), Settings::default()))
}
