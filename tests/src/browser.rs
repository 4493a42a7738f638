//! A real browser, led by a script of `tests/browser`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::root;

/// Runs a script with what there is to look at; it must succeed. Returns what it printed.
pub fn look(script: &str, there: &Value) -> String {
    let output = node(script).arg(there.to_string()).stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "after\n{told}\n{}", String::from_utf8_lossy(&output.stderr));
    told
}

/// Begins a run of a script.
pub fn node(script: &str) -> Command {
    let script = root().join("tests/browser").join(script);
    let modules = script.parent().unwrap().join("node_modules");
    assert!(modules.is_dir(), "what leads the browser is missing: run `make setup-browser`");
    let mut command = Command::new("node");
    command.arg(script);
    command
}

/// Returns the browser's program.
pub fn chromium() -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&paths).map(|path| path.join("chromium")).find(|path| path.is_file());
    found.expect("chromium is missing: run `make setup-browser`")
}
