//! The wire of the nnsight 0.8 client: request bytes in, [`program::Program`] out; saved values in, result bytes out.
//!
//! The client speaks Python pickles both ways. Reading one here runs nothing: [`decode`] builds an inert graph of what
//! the opcodes say, then lowers the few constructors it knows to plain data and everything else to placeholders that
//! fail only when a block uses them. Writing one ([`encode_saved`]) names nothing outside a closed list of classes; read
//! again ([`decode_saved`]), it can be told in other words ([`write_safetensors`]).
//! No function recurses over foreign data, and no allocation beyond 1 MiB is larger than the bytes that are there to
//! fill it.
#![forbid(unsafe_code)]

mod compression;
mod decode;
mod encode;
mod error;
pub mod pickle;
mod request;
mod response;
mod safetensors;

pub use compression::decompress_to;
pub use decode::{decode, decode_payload, decode_saved};
pub use encode::{encode_saved, encode_trace};
pub use error::{DecodeError, EncodeError, TellError};
pub use request::RequestFields;
pub use response::{ResponseModel, Status, binary_frame};
pub use safetensors::write_safetensors;
