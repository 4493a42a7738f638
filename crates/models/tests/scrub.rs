//! Weights that change in memory are found, whatever a model keeps them as.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use kernels::{Look, Scrub};
use models::testing::{apart, load, load_as};
use models::{DType, Transformer};
use torch::Device;

/// Looks at all slices once, and returns what was found.
fn round(scrub: &mut Scrub) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        match scrub.look().unwrap() {
            Look::Same => {}
            Look::Whole => return found,
            Look::Changed(why) => {
                found.push(why);
                return found;
            }
        }
    }
}

fn check(name: &str, mut model: Transformer, bytes: u64) {
    let mut scrub = model.scrub().unwrap();
    assert!(scrub.own().bytes() >= bytes, "{name}: {} of at least {bytes} bytes", scrub.own().bytes());
    assert_eq!(round(&mut scrub), [""; 0], "{name}");
    let slices = scrub.own().slices();
    for slice in 0..slices {
        scrub.own().flip(slice).unwrap();
        let found = round(&mut scrub);
        assert!(matches!(&found[..], [why] if why.starts_with(&format!("slice {slice} of"))), "{name}: {found:?}");
        scrub.own().flip(slice).unwrap();
        // The round that ended early goes on.
        while scrub.look().unwrap() != Look::Whole {}
    }
    assert_eq!(round(&mut scrub), [""; 0], "{name}");
}

#[test]
fn one_bit_of_any_weight_that_flips_in_memory_is_found() {
    for name in ["tiny-gpt2", "tiny-llama", "tiny-gemma3", "tiny-qwen3-moe"] {
        let model = load(name);
        let bytes = 4 * model.parameters();
        check(name, model, bytes);
        for dtype in ["bfloat16", "int8", "nf4"] {
            let model = load_as(name, dtype.parse::<DType>().unwrap(), Device::CPU);
            // Matrices of few bits take less, and everything else two bytes at least.
            let bytes = if dtype == "bfloat16" { 2 * model.parameters() } else { model.bytes_in_few_bits() };
            assert_ne!(bytes, 0, "{name} {dtype}");
            check(&format!("{name} {dtype}"), model, bytes);
        }
    }
}

#[test]
fn each_rank_looks_at_its_pieces() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.models/float32/tiny-llama");
    for dtype in ["float32", "int8"] {
        let dtype: DType = dtype.parse().unwrap();
        let (mut whole, mut model) = (load_as("tiny-llama", dtype, Device::CPU), apart(&folder, dtype, 2));
        let (whole, mut scrub) = (whole.scrub().unwrap(), model.scrub().unwrap());
        assert!(scrub.own().bytes() < whole.own().bytes(), "the other rank has the rest");
        assert_eq!(round(&mut scrub), [""; 0]);
        scrub.own().flip(0).unwrap();
        assert!(matches!(&round(&mut scrub)[..], [why] if why.contains("of rank 0")));
    }
}
