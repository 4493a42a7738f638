//! nnsight
