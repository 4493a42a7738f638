//! Generates the messages and services from the `.proto` files, without `protoc`.

use std::error::Error;

const FILES: [&str; 2] = ["vitrine/v1/worker.proto", "vitrine/stored/records.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=vitrine");
    let descriptors = protox::compile(FILES, ["."])?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
