//! Measurements of the whole; each lies in `benches/`.
