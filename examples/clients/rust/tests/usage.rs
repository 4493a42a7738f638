//! What the program says to who does not know it.

use std::process::Command;

#[test]
fn what_is_missing_is_said() {
    let output = Command::new(env!("CARGO_BIN_EXE_grpc-client")).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("the server's address, the model, and the file"));
}
