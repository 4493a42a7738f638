//! Generates the messages and services from the `.proto` files, without `protoc`.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

const API: &str = "vitrine/v1/api.proto";
const FILES: [&str; 3] = [API, "vitrine/v1/worker.proto", "vitrine/stored/records.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=vitrine");
    // What clients may be told of is what is public, and nothing of how the parts of a server talk.
    let public = protox::compile([API], ["."])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    std::fs::write(out.join("api.bin"), public.encode_to_vec())?;
    let descriptors = protox::compile(FILES, ["."])?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
