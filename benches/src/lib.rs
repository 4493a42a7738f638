//! Measurements of the whole: programs in `benches/`, their drivers and peers in `compare/`.

pub mod client;
