//! `/v1` as it describes itself: whatever schemathesis thinks of, with any key and with none, is answered as the description
//! says.

use std::process::{Command, Stdio};

use tests::http::ask;
use tests::{Data, KEY, Server, root};

/// Requests that are made up for each route, beside those that go through its parameters one by one. The same each time.
const EXAMPLES: &str = "15";
const SEED: &str = "20261201";

/// What would take from the key that asks what it can do, so that all else is asked before.
const ENDING: [&str; 4] = ["delete_keys_key", "post_keys_key_rotate", "put_keys_key_quota", "put_tenants_tenant_quota"];

/// Asks all that schemathesis thinks of, of the routes that the arguments leave.
fn holds(server: &Server, key: Option<&str>, arguments: &[&str]) {
    let program = root().join(".cache/openapi/venv/bin/schemathesis");
    assert!(program.exists(), "{} is missing: run `make setup-tests`", program.display());
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    // That whatever fits a schema is accepted is not so: a tenant that is named has to be there.
    command.args(["run", &format!("{}/v1/openapi.json", server.url), "--exclude-checks", "positive_data_acceptance"]);
    command.args(["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", SEED]);
    command.args(["--generation-deterministic", "--workers", "1", "--no-color", "--continue-on-failure"]);
    command.args(["--warnings", "off"]).args(arguments);
    if let Some(key) = key {
        command.args(["--header", &format!("Authorization: Bearer {key}")]);
    }
    let output = command.current_dir(folder.path()).stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "under {key:?}:\n{told}\n{}", String::from_utf8_lossy(&output.stderr));
    println!("{}", told.lines().find(|line| line.contains("generated")).expect("it says how much it asked"));
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
    holds(&server, None, &[]);
    holds(&server, Some(&researcher), &[]);
    let flags = |flag| ENDING.into_iter().flat_map(move |route| [flag, route]).collect::<Vec<_>>();
    holds(&server, Some(KEY), &flags("--exclude-operation-id"));
    let whoami = ask(&server.url, "GET", "/v1/whoami", &[&format!("Authorization: Bearer {KEY}")], b"");
    assert_eq!(whoami.status, 200, "the key counted to the end");
    holds(&server, Some(KEY), &flags("--include-operation-id"));
}
