//! `/v1` as it describes itself: whatever schemathesis thinks of, with any key and with none, is answered as the description
//! says.

use std::process::{Command, Stdio};

use tests::{Data, KEY, Server, root};

/// Requests that are made up for each route, beside those that go through its parameters one by one. The same each time.
const EXAMPLES: &str = "15";
const SEED: &str = "20261201";

/// What has to be so of every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance";

fn holds(server: &Server, key: Option<&str>) {
    let program = root().join(".cache/openapi/venv/bin/schemathesis");
    assert!(program.exists(), "{} is missing: run `make setup-tests`", program.display());
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.args(["run", &format!("{}/v1/openapi.json", server.url), "--checks", CHECKS]);
    command.args(["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", SEED]);
    command.args(["--generation-deterministic", "--generation-database", "none", "--workers", "1", "--no-color"]);
    command.args(["--continue-on-failure", "--warnings", "off"]);
    if let Some(key) = key {
        command.args(["--header", &format!("Authorization: Bearer {key}")]);
    }
    let output = command.current_dir(folder.path()).stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "under {key:?}:\n{told}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("passed"), "{told}");
    println!("{}", told.lines().rev().take(12).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n"));
}

#[test]
fn whoever_asks_whatever_of_v1_is_answered_as_its_description_says() {
    let data = Data::default();
    let [researcher] = <[String; 1]>::try_from(data.keys(&["lab"])).unwrap();
    let server = data.up().key().tiny_models().canned().start();
    let mut client = server.client("poll.py").env("NDIF_API_KEY", &researcher).start();
    client.expect("here");
    client.say("submit canned:print hello");
    client.expect("job ");
    holds(&server, None);
    holds(&server, Some(&researcher));
    // Last: who may do everything does.
    holds(&server, Some(KEY));
}
