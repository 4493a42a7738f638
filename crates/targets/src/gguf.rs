//! GGUF files.

use models::gguf::Gguf;

/// Reads a file and all its tensors.
pub fn run(data: &[u8]) -> bool {
    match Gguf::parse(data) {
        Ok(file) => {
            for info in &file.tensors {
                assert_eq!(info.values().len(), info.shape.iter().product::<usize>(), "{}", info.name);
            }
            for (key, value) in &file.metadata {
                assert!(file.get(key).is_some());
                let _ = (value.size(), value.number(), value.text(), value.list());
            }
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// A file without tensors, and one with a tensor of each format.
pub fn seeds() -> Vec<Vec<u8>> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let head = |tensors: u64, metadata: u64| {
        [b"GGUF".as_slice(), &3_u32.to_le_bytes(), &tensors.to_le_bytes(), &metadata.to_le_bytes()].concat()
    };
    let mut plain = head(0, 3);
    plain.extend([text("general.name"), 8_u32.to_le_bytes().to_vec(), text("a model")].concat());
    plain.extend([text("general.alignment"), 4_u32.to_le_bytes().to_vec(), 64_u32.to_le_bytes().to_vec()].concat());
    let list = [9_u32.to_le_bytes().to_vec(), 8_u32.to_le_bytes().to_vec(), 2_u64.to_le_bytes().to_vec()];
    plain.extend([text("tokens"), list.concat(), text("a"), text("b")].concat());
    plain.resize(plain.len().next_multiple_of(64), 0);
    let mut data = Vec::new();
    let formats = [
        ("f32", 0_u32, 3_u64, 12),
        ("f16", 1, 5, 10),
        ("bf16", 30, 5, 10),
        ("q4_0", 2, 64, 36),
        ("q4_1", 3, 64, 40),
        ("q5_0", 6, 32, 22),
        ("q5_1", 7, 32, 24),
        ("q8_0", 8, 32, 34),
        ("q4_k", 12, 256, 144),
        ("q5_k", 13, 256, 176),
        ("q6_k", 14, 256, 210),
    ];
    let mut tensors = head(formats.len() as u64, 0);
    for (name, code, elements, bytes) in formats {
        tensors.extend([text(name), 1_u32.to_le_bytes().to_vec(), elements.to_le_bytes().to_vec()].concat());
        tensors.extend([code.to_le_bytes().to_vec(), (data.len() as u64).to_le_bytes().to_vec()].concat());
        data.resize((data.len() + bytes).next_multiple_of(32), 1);
    }
    tensors.resize(tensors.len().next_multiple_of(32), 0);
    tensors.extend(data);
    vec![plain, tensors]
}
