//! Compiles the shim against the libtorch that `tch` links.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=src/shim");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    // Clippy reads Rust alone, and runs build scripts a second time.
    if env::var_os("RUSTC_WORKSPACE_WRAPPER").is_some_and(|wrapper| PathBuf::from(wrapper).ends_with("clippy-driver")) {
        return;
    }
    let libtorch = PathBuf::from(env::var_os("LIBTORCH").unwrap_or_default());
    let include = libtorch.join("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .flag_if_supported("-Wno-unused-parameter")
        .warnings(false)
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        // The threads are libtorch's own: both ask for one libgomp.
        .flag("-fopenmp")
        // Kernels are of no use, nor to be tested, as they are written down.
        .opt_level(3)
        .file("src/shim/shim.cpp")
        .compile("vitrine_torch_shim");
    println!("cargo:rustc-link-lib=gomp");
}
