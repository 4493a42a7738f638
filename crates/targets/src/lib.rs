//! What reads foreign bytes, one function for each kind of them, for fuzzers and for a short run among the tests.
//!
//! A target takes any bytes. It panics, or takes for ever, where something is wrong with what reads them; that they are
//! refused is right.

mod form;
mod gguf;
mod pickle;
mod request;
mod source;
mod stored;
mod weights;

/// One kind of foreign bytes.
pub struct Target {
    pub name: &'static str,
    /// Reads bytes, and says whether they were taken.
    pub run: fn(&[u8]) -> bool,
    /// Makes bytes that are read to their end, for others to be made of.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const ALL: [Target; 10] = [
    Target { name: "request", run: request::run, seeds: request::seeds },
    Target { name: "archive", run: request::run_archive, seeds: request::archives },
    Target { name: "stored", run: stored::run, seeds: stored::seeds },
    Target { name: "source", run: source::run, seeds: source::seeds },
    Target { name: "lower", run: source::lower, seeds: source::spliced },
    Target { name: "evaluate", run: source::evaluate, seeds: source::spliced },
    Target { name: "gguf", run: gguf::run, seeds: gguf::seeds },
    Target { name: "safetensors", run: weights::run, seeds: weights::seeds },
    Target { name: "weights_archive", run: weights::run_archive, seeds: weights::archives },
    Target { name: "multipart", run: form::run, seeds: form::seeds },
];

/// Runs a target by its name.
///
/// # Panics
/// Where the target finds something, or there is none of that name.
pub fn run(name: &str, data: &[u8]) {
    let target = ALL.iter().find(|target| target.name == name);
    let _ = (target.unwrap_or_else(|| panic!("there is no target {name}")).run)(data);
}
