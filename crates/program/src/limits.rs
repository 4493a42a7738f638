//! What one job may use. Every limit is a number that an operator can change.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Bounds one job, from the bytes of its request to the bytes of its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of the request once decompressed. Default 64 MiB.
    pub decoded_bytes: u64,
    /// Values in the request's heap. Default 1,000,000.
    pub heap_nodes: u32,
    /// Bytes of any one piece of source text. Default 256 KiB.
    pub source_bytes: usize,
    /// Brackets open at once in source text, as in CPython. Default 200.
    pub bracket_depth: usize,
    /// Operators, attributes and calls chained in one expression. Default 2,000.
    pub chain_length: usize,
    /// Python calls open at once. Default 1,000.
    pub call_depth: u32,
    /// Interpreter steps, weighted inside native loops. Default 20,000,000.
    pub fuel: u64,
    /// Bytes of Python objects alive at once, tensors apart. Default 256 MiB.
    pub memory_bytes: u64,
    /// Bytes of tensors alive at once. Default 4 GiB.
    pub tensor_bytes: u64,
    /// Bytes of text printed. Default 1 MiB.
    pub output_bytes: u64,
    /// Bytes of saved values. Default 1 GiB.
    pub saved_bytes: u64,
    /// Time running, from first step to last. Default 10 minutes.
    pub run_time: Duration,
}

impl Limits {
    /// Bytes of an encoded program for each of its request: a value that takes one there, as `None` does, takes as many encoded,
    /// with what refers to it.
    const ENCODED: u64 = 8;

    /// Returns how many bytes a program may hold as it is encoded. None that was taken under these limits has more.
    #[must_use]
    pub fn program_bytes(&self) -> u64 {
        let text = u64::try_from(self.source_bytes).unwrap_or(u64::MAX);
        self.decoded_bytes.saturating_mul(Self::ENCODED).saturating_add(text)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            decoded_bytes: 64 << 20,
            heap_nodes: 1_000_000,
            source_bytes: 256 << 10,
            bracket_depth: 200,
            chain_length: 2_000,
            call_depth: 1_000,
            fuel: 20_000_000,
            memory_bytes: 256 << 20,
            tensor_bytes: 4 << 30,
            output_bytes: 1 << 20,
            saved_bytes: 1 << 30,
            run_time: Duration::from_secs(600),
        }
    }
}
