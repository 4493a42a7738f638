//! What travels between the parts of Vitrine, and to its clients by gRPC, generated from the `.proto` files beside this crate.

pub mod api;

/// The first version of the protocol. Fields are only ever added, and numbers never used again.
#[expect(clippy::all, clippy::allow_attributes, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("vitrine.v1");
}

/// What the metadata store holds. Fields are only ever added, and numbers never used again.
#[expect(clippy::all, reason = "generated")]
pub mod stored {
    tonic::include_proto!("vitrine.stored");
}

/// How any of the messages is written to bytes and read from them.
pub use prost::Message;
pub use prost_types::Timestamp;

/// Writes a time in milliseconds since 1970.
#[must_use]
pub fn timestamp(milliseconds: u64) -> Timestamp {
    let seconds = i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX);
    let nanos = i32::try_from(milliseconds % 1000 * 1_000_000).unwrap_or(0);
    Timestamp { seconds, nanos }
}
