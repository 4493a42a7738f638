//! The tests' models in an engine: on the CPU, and in the binary `on_gpu` on what stands for a GPU.

use std::sync::LazyLock;
use std::time::Duration;

use engine::{Engine, Interleaver, Settings};
use models::cuda::Search;
use models::{DType, Device, Transformer, testing};

/// Whether this is the binary of tests whose models are on what stands for a GPU.
pub const ON_GPU: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"on_gpu");

/// Where the models are: on the last GPU, the second of those that are made up, so that nothing can do by naming the
/// first.
static DEVICE: LazyLock<Device> = LazyLock::new(|| {
    if !ON_GPU {
        return Device::CPU;
    }
    let search = Search { folder: Some(mock::folder()), ..Search::default() };
    let cuda = search.load().unwrap_or_else(|missing| panic!("{missing}"));
    Device::cuda(i32::try_from(cuda.devices - 1).unwrap_or(0))
});

/// Loads a test model by its folder's name. Who shares its passes does not depend on how fast the machine is.
pub fn engine(name: &str) -> Box<dyn Engine> {
    engine_of(name, DType::Float32)
}

/// The same, with parameters of a type.
pub fn engine_of(name: &str, dtype: DType) -> Box<dyn Engine> {
    Box::new(interleaver(name, dtype).with_slice(Duration::MAX))
}

/// The same, with settings of its own.
pub fn interleaver_with(name: &str, dtype: DType, settings: Settings) -> Interleaver<Transformer> {
    Interleaver::over(testing::kept(name, dtype, *DEVICE), settings)
}

/// The same, as it is served.
pub fn interleaver(name: &str, dtype: DType) -> Interleaver<Transformer> {
    interleaver_with(name, dtype, Settings::default())
}
