//! Imports GGUF files whose tokenizers are SentencePiece's: texts get the ids that transformers' own conversion gives them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;
use tokenizers::Tokenizer;

const FILES: [&str; 7] = ["plain", "llama-2", "mistral", "instructed", "no-space", "no-beginning", "merges"];

#[test]
fn sentencepiece_gives_the_ids_that_transformers_gives() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sentencepiece");
    let _ = std::fs::remove_dir_all(&folder);
    let python: PathBuf = std::env::var_os("VITRINE_PYTHON").map_or(root.join("../../.venv/bin/python"), Into::into);
    let run = |more: &[&str]| {
        let status = Command::new(&python).arg(root.join("tests/sentencepiece.py")).arg(&folder).args(more).status();
        assert!(status.unwrap_or_else(|error| panic!("{}: {error}", python.display())).success());
    };
    run(&[]);
    for name in FILES {
        let to = folder.join(name);
        models::import::import(&folder.join(format!("{name}.gguf")), &to, &mut |_, _| {})
            .unwrap_or_else(|error| panic!("{error}"));
        let report = models::check(&to);
        assert!(report.can_be_served(), "{report}");
        let tokenizer = Tokenizer::from_file(to.join("tokenizer.json")).unwrap();
        let cases: Json = serde_json::from_slice(&std::fs::read(folder.join(format!("{name}.json"))).unwrap()).unwrap();
        let cases = cases.as_array().unwrap();
        assert!(cases.len() > 400, "{name}");
        for case in cases {
            let text = case["text"].as_str().unwrap();
            let expected: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
            assert_eq!(tokenizer.encode(text, true).unwrap().get_ids(), expected, "{name}: {text:?}");
            let bare = tokenizer.encode(text, false).unwrap().get_ids().to_vec();
            assert_eq!(tokenizer.decode(&bare, false).unwrap(), case["back"].as_str().unwrap(), "{name}: {text:?}");
        }
    }
    // So does a client, which makes them by itself.
    run(&["imported"]);
}
