//! The real `libtorch_cuda.so` is found and loaded, as far as that goes without a driver. In a process of its own: its
//! kernels stay.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use torch::cuda::{Missing, Search};

/// The Python that has the whole torch: `make setup-tests` makes it.
fn python() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv").canonicalize().unwrap()
}

fn installed() -> PathBuf {
    let versions = fs::read_dir(python().join("lib")).unwrap().map(|entry| entry.unwrap().path());
    let folders = versions.map(|version| version.join("site-packages/torch/lib"));
    folders.into_iter().find(|folder| folder.join("libtorch_cuda.so").is_file()).unwrap()
}

/// Links, under the same names but elsewhere, the libraries of the torch that is installed.
fn elsewhere(root: &Path) -> PathBuf {
    let lib = root.join("lib");
    fs::create_dir_all(&lib).unwrap();
    for name in ["libtorch_cuda.so", "libtorch_cuda_linalg.so", "libc10_cuda.so", "libtorch_nvshmem.so"] {
        let (from, to) = (installed().join(name), lib.join(name));
        // Copied where the target folder is on another disk.
        fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(drop)).unwrap();
    }
    fs::write(root.join("build-version"), "2.11.0\n").unwrap();
    lib
}

#[test]
fn the_installed_cuda_part_is_loaded_with_all_that_it_needs() {
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let folder = elsewhere(root.path());
    // Nothing lies beside it, and no Python is known.
    let alone = Search { folder: Some(folder.clone()), pythons: Vec::new() };
    let Err(Missing::Library(why)) = alone.load() else { panic!("it was loaded") };
    let expected = format!("{}/libtorch_cuda.so cannot be loaded: lib", folder.display());
    assert!(why.starts_with(&expected), "{why}");
    assert!(
        why.contains(": cannot open shared object file: No such file or directory; install torch==2.11.0"),
        "{why}"
    );
    // NVIDIA's libraries come from a Python's packages.
    let search = Search { folder: Some(folder), pythons: vec![python()] };
    match search.load() {
        Err(Missing::Driver(why)) => assert!(why.contains("libtorch_cuda.so was loaded, but the "), "{why}"),
        Err(Missing::Library(why)) => panic!("{why}"),
        Ok(cuda) => assert!(cuda.lacking.is_empty() && cuda.devices > 0, "{:?}", cuda.lacking),
    }
    // It is there now, whatever it sees.
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    for library in ["libtorch_cuda.so", "libtorch_cuda_linalg.so", "libcublas.so", "libcudnn.so", "libnvrtc.so"] {
        assert!(maps.contains(library), "{library} is not loaded");
    }
    // The CPU goes on as before.
    let ones = tch::Tensor::ones([3, 3], (tch::Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
    ones.matmul(&ones).sum(tch::Kind::Float).backward();
    assert_eq!(ones.grad().sum(tch::Kind::Float).double_value(&[]), 54.0);
}
