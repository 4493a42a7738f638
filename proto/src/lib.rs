//! What travels between the parts of Vitrine, generated from the `.proto` files beside this crate.

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
