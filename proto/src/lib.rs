//! What travels between the parts of Vitrine, generated from the `.proto` files beside this crate.

/// The first version of the protocol. Fields are only ever added, and numbers never used again.
#[expect(clippy::all, clippy::allow_attributes, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("vitrine.v1");
}
