//! Reads what `torch.save` writes.

use std::path::Path;
use std::process::Command;

use models::testing::weights;

#[test]
fn archives_of_plain_tensors_are_read_and_everything_else_is_refused_by_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("archives");
    let _ = std::fs::remove_dir_all(&folder);
    let model = root.join("../../.models/float32/tiny-llama");
    let python = std::env::var_os("VITRINE_PYTHON").map_or(root.join("../../.venv/bin/python"), Into::into);
    let status = Command::new(&python).arg(root.join("tests/archives.py")).args([&model, &folder]).status();
    assert!(status.unwrap_or_else(|error| panic!("{}: {error}", python.display())).success());

    let expected = weights(&model).unwrap_or_else(|error| panic!("{error}"));
    for served in ["whole", "shards"] {
        let found = weights(&folder.join(served)).unwrap_or_else(|error| panic!("{served}: {error}"));
        assert_eq!(found, expected, "{served}");
        let report = models::check(&folder.join(served));
        assert!(report.can_be_served(), "{report}");
    }
    let first = "tensor model.embed_tokens.weight: ";
    for (refused, sentences) in [
        ("executing", [first, "it is a call of posix.mkdir, not a plain tensor"]),
        ("nested", ["tensor state_dict: ", "it is a dictionary, not a plain tensor"]),
        (
            "object",
            ["pytorch_model.bin is corrupt", "its data.pkl is a call of posix.mkdir, not a dictionary of tensors"],
        ),
        ("turned", [first, "its elements do not lie one after another"]),
        ("complex", [first, "its storage is torch.ComplexFloatStorage, which is not supported"]),
        ("sparse", [first, "it is a call of torch._utils._rebuild_sparse_tensor, not a plain tensor"]),
        ("old", ["pytorch_model.bin is corrupt", "it is no zip archive, as torch.save has written since PyTorch 1.6"]),
        ("cut", ["pytorch_model.bin is corrupt", "it is no zip archive"]),
    ] {
        let error = weights(&folder.join(refused)).err().unwrap_or_else(|| panic!("{refused} is read")).to_string();
        assert!(sentences.iter().all(|sentence| error.contains(sentence)), "{refused}: {error}");
    }
    assert!(!folder.join("executed").exists());
}
