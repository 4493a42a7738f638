//! Files of weights.

use std::cell::OnceCell;
use std::fs;

use tempfile::TempDir;

/// Opens a file and reads all its tensors.
pub fn run(data: &[u8]) -> bool {
    thread_local! {
        static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
    }
    FOLDER.with(|folder| {
        let folder = folder.get_or_init(|| tempfile::tempdir().expect("there is room for a folder"));
        fs::write(folder.path().join("model.safetensors"), data).expect("there is room for a file");
        match models::testing::weights(folder.path()) {
            Ok(_) => true,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                false
            }
        }
    })
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
