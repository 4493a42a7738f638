//! Files of weights.

use std::cell::OnceCell;
use std::fs;

use program::{DType, Datum, Heap, Saved, TensorData};
use tempfile::TempDir;

/// Opens a file and reads all its tensors.
pub fn run(data: &[u8]) -> bool {
    thread_local! {
        static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
    }
    FOLDER.with(|folder| read(folder, "model.safetensors", data))
}

/// The same of an archive that `torch.save` writes.
pub fn run_archive(data: &[u8]) -> bool {
    thread_local! {
        static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
    }
    FOLDER.with(|folder| read(folder, "pytorch_model.bin", data))
}

fn read(folder: &OnceCell<TempDir>, name: &str, data: &[u8]) -> bool {
    let folder = folder.get_or_init(|| tempfile::tempdir().expect("there is room for a folder"));
    fs::write(folder.path().join(name), data).expect("there is room for a file");
    match models::testing::weights(folder.path()) {
        Ok(_) => true,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// Files of two tensors, of one without elements, and of none.
pub fn seeds() -> Vec<Vec<u8>> {
    let file = |header: &str, data: &[u8]| [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat();
    vec![
        file(
            r#"{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1,2],"data_offsets":[4,12]},"__metadata__":{"format":"pt"}}"#,
            &[0; 12],
        ),
        file(r#"{"none":{"dtype":"F16","shape":[0,3],"data_offsets":[0,0]}}"#, &[]),
        file(r#"{"mask":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}}"#, &[1; 3]),
        file("{}", &[]),
    ]
}

/// Archives of two tensors, of one without elements, and of none.
pub fn archives() -> Vec<Vec<u8>> {
    let archive = |tensors: &[(&str, DType, &[i64], usize)]| {
        let (mut heap, mut names) = (Heap::default(), Vec::new());
        for &(name, dtype, shape, bytes) in tensors {
            let bytes = vec![0; bytes].into();
            let tensor = TensorData { dtype, shape: shape.to_vec(), bytes, requires_grad: false };
            names.push((name.into(), heap.push(Datum::Tensor(tensor))));
        }
        nnsight::encode_saved(&Saved { heap, names }, false).expect("plain tensors can be written")
    };
    vec![
        archive(&[("a", DType::BFloat16, &[2], 4), ("b", DType::Float32, &[1, 2], 8)]),
        archive(&[("none", DType::Float16, &[0, 3], 0)]),
        archive(&[("c", DType::Float64, &[], 8)]),
        archive(&[]),
    ]
}
