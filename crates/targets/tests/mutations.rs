//! A short run of what fuzzers run for hours: seeds, changed at random, a fixed number for each target.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;
use targets::ALL;

/// Inputs of each target, unless `VITRINE_INPUTS` says how many.
const INPUTS: usize = 1_500;

/// Numbers that lengths and offsets are mistaken for.
const NUMBERS: [u64; 8] = [0, 1, 0x7f, 0xff, 0xffff_ffff, 1 << 31, 1 << 62, u64::MAX];

/// Changes bytes in a few places.
fn change(dice: &mut Rng, mut bytes: Vec<u8>, other: &[u8]) -> Vec<u8> {
    for _ in 0..1 + dice.usize(..4) {
        if bytes.is_empty() {
            break;
        }
        let at = dice.usize(..bytes.len());
        match dice.u8(..7) {
            0 => bytes[at] ^= 1 << dice.u8(..8),
            1 => bytes[at] = dice.u8(..),
            2 => drop(bytes.drain(at..(at + 1 + dice.usize(..8)).min(bytes.len()))),
            3 => {
                let end = (at + 1 + dice.usize(..32)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                let to = dice.usize(..bytes.len());
                bytes.splice(to..to, again);
            }
            4 => {
                let number = NUMBERS[dice.usize(..NUMBERS.len())].to_le_bytes();
                let width = 1 << dice.u8(..4);
                let end = (at + width).min(bytes.len());
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
            5 if !other.is_empty() => {
                let from = dice.usize(..other.len());
                let end = (from + 1 + dice.usize(..64)).min(other.len());
                bytes.splice(at..at, other[from..end].iter().copied());
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

fn check(name: &str) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("VITRINE_SEED").unwrap_or(1);
    let inputs = number("VITRINE_INPUTS").map_or(INPUTS, |inputs| usize::try_from(inputs).unwrap_or(INPUTS));
    println!("VITRINE_SEED={seed}");
    let target = ALL.iter().find(|target| target.name == name).expect("a target of this name");
    let mut dice = Rng::with_seed(seed);
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty());
    let run = |bytes: &[u8]| {
        let ended = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
        ended.unwrap_or_else(|_| panic!("{name}: {}", bytes.escape_ascii()))
    };
    let taken = seeds.iter().filter(|seed| run(seed)).count();
    assert!(taken >= seeds.len() * 3 / 4, "{name}: only {taken} of {} seeds are taken", seeds.len());
    for _ in 0..inputs {
        let (one, other) = (&seeds[dice.usize(..seeds.len())], &seeds[dice.usize(..seeds.len())]);
        run(&change(&mut dice, one.clone(), other));
    }
}

macro_rules! short_runs {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(#[test] fn $test() { check($name); })*

        #[test]
        fn every_target_has_a_short_run() {
            assert_eq!([$($name),*], ALL.map(|target| target.name));
        }
    };
}

short_runs! {
    any_request_is_read_or_refused: "request",
    any_archive_is_read_or_refused: "archive",
    any_stored_program_is_opened_or_refused: "stored",
    any_text_is_read_or_refused: "source",
    any_pieces_of_programs_are_lowered_or_refused: "lower",
    any_program_ends_within_its_limits: "evaluate",
    any_gguf_file_is_read_or_refused: "gguf",
    any_file_of_weights_is_read_or_refused: "safetensors",
    any_archive_of_weights_is_read_or_refused: "weights_archive",
    any_form_is_taken_apart_or_refused: "multipart",
}
