//! Builds the stand-ins for `libtorch_cuda.so` and `libnccl.so.2` as libraries that programs load at run time, as they load the
//! real ones.
#![expect(clippy::panic, reason = "a build script fails by panicking")]

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=mock.cpp");
    println!("cargo:rerun-if-changed=nccl.cpp");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    // Clippy reads Rust alone, and runs build scripts a second time.
    if env::var_os("RUSTC_WORKSPACE_WRAPPER").is_some_and(|wrapper| Path::new(&wrapper).ends_with("clippy-driver")) {
        return;
    }
    let libtorch = PathBuf::from(env::var_os("LIBTORCH").unwrap_or_default());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let lib = out.join("lib");
    fs::create_dir_all(&lib).unwrap_or_else(|error| panic!("{}: {error}", lib.display()));
    // It has the version of the libtorch that it is built for, as an archive of libtorch says it.
    let version = libtorch.join("build-version");
    fs::copy(&version, out.join("build-version")).unwrap_or_else(|error| panic!("{}: {error}", version.display()));
    let include = libtorch.join("include");
    compile(&include, "mock.cpp", &lib.join("libtorch_cuda.so"));
    compile(&include, "nccl.cpp", &lib.join("libnccl.so.2"));
}

fn compile(include: &Path, source: &str, library: &Path) {
    let compiler = cc::Build::new()
        .cpp(true)
        .std("c++17")
        .pic(true)
        .warnings(false)
        .opt_level(1)
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .include(include)
        .include(include.join("torch/csrc/api/include"))
        .get_compiler();
    let status = compiler.to_command().args(["-shared", source, "-o"]).arg(library).status();
    assert!(status.is_ok_and(|status| status.success()), "the C++ compiler failed");
}
