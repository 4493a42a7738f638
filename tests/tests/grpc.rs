//! The second API, as the example clients use it: one in Python that sends what nnsight writes, one in Rust that sends what
//! was stored.

use std::process::Command;

use rustix::process::Signal;
use tests::http::ask;
use tests::{Data, KEY, Server, program};

/// Returns where a server answers gRPC.
fn by_grpc(server: &Server) -> &str {
    server.before.iter().find_map(|line| line.strip_prefix("grpc ")).expect("it says where it answers gRPC")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_trace_and_a_stored_request_run_by_grpc_and_give_what_the_model_computes() {
    let data = Data::default();
    let server = data.up().key().tiny_models().one_thread().arguments(&["--grpc-listen", "127.0.0.1:0"]).start();
    let url = by_grpc(&server).to_owned();
    let payload = data.path("payload");
    let address = url.strip_prefix("http://").unwrap();
    let script = server.client("by_grpc.py").env("VITRINE_GRPC", address).env("VITRINE_API_KEY", KEY);
    let told = script.env("PAYLOAD", &payload).succeed();
    for words in ["submitted ", "it printed: running", "next come [", "equal"] {
        assert!(told.contains(words), "{words:?} is not in:\n{told}");
    }
    let values =
        |told: &str| told.lines().find_map(|line| Some(line.strip_prefix("values ")?.replace(' ', ""))).unwrap();

    let stored = |key: &str, model: &str| {
        let mut command = Command::new(program("grpc-client"));
        command.args([&url, model]).arg(&payload).env("VITRINE_API_KEY", key).output().unwrap()
    };
    let output = stored(KEY, "ndif-test/tiny-gpt2");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let again = text(&output.stdout);
    for words in ["submitted ", "it printed: running", "found.tokens I64 [3]", "logits F32 ["] {
        assert!(again.contains(words), "{words:?} is not in:\n{again}");
    }
    assert_eq!(values(&again), values(&told), "the same program gives the same values");
    // The same result by HTTP, for who asks for it so.
    let job = again.lines().find_map(|line| line.strip_prefix("submitted ")).unwrap().trim();
    let file = data.path("result.safetensors");
    let mut fetch = Command::new(program("vitrine"));
    fetch.args(["job", "result", job, "--safetensors", "--output"]).arg(&file);
    let fetched = fetch.env("VITRINE_HOST", &server.url).env("VITRINE_API_KEY", KEY).output().unwrap();
    assert!(fetched.status.success(), "{}", text(&fetched.stderr));
    let bytes = std::fs::read(&file).unwrap();
    let (length, rest) = bytes.split_at(8);
    let length = usize::try_from(u64::from_le_bytes(length.try_into().unwrap())).unwrap();
    let head: serde_json::Value = serde_json::from_slice(&rest[..length]).unwrap();
    assert_eq!(
        (&head["found.tokens"]["dtype"], &head["found.tokens"]["shape"][0]),
        (&"I64".into(), &3.into()),
        "{head}"
    );
    assert!(head["__metadata__"]["values"].is_string(), "{head}");
    let asked = |accept: &str| {
        let headers = [&format!("ndif-api-key: {KEY}")[..], &format!("Accept: {accept}")];
        ask(&server.url, "GET", &format!("/v1/jobs/{job}/result"), &headers, b"").body
    };
    assert_eq!(asked("application/json;q=0.1, application/vnd.safetensors"), bytes);
    assert_ne!(asked("*/*"), bytes, "it is as its client wanted it");
    for (key, model, sentence) in
        [("wrong", "ndif-test/tiny-gpt2", "invalid API key"), (KEY, "ndif-test/none", "is not hosted here")]
    {
        let refused = stored(key, model);
        assert!(!refused.status.success() && text(&refused.stderr).contains(sentence), "{}", text(&refused.stderr));
    }
    server.signal(Signal::TERM);
    assert!(server.wait(), "it stops as it does without gRPC");
}

#[test]
fn grpc_has_the_certificate_of_the_other_port() {
    let data = Data::default();
    let folder = data.path("certificates");
    let made = Command::new(program("vitrine")).args(["cert", "dev"]).arg(&folder).output().unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (file("gateway.pem"), file("gateway.key"));
    let tls = ["--tls-certificate", &certificate, "--tls-key", &key, "--grpc-listen", "127.0.0.1:0"];
    let server = data.up().key().tiny_models().canned().arguments(&tls).start();
    let address = by_grpc(&server).strip_prefix("https://").expect("it says that there is TLS");
    let script = server.client("by_grpc_listed.py").env("VITRINE_GRPC", address).env("VITRINE_API_KEY", KEY);
    assert_eq!(script.env("VITRINE_CA", file("ca.pem")).succeed().trim(), "listed 0");
}

#[test]
fn a_port_of_grpc_is_a_setting_like_others() {
    let data = Data::default();
    let vitrine = |arguments: &[&str]| {
        let mut command = Command::new(program("vitrine"));
        command.env_remove("VITRINE_DATA").env_remove("VITRINE_API_KEY").env_remove("VITRINE_LISTEN");
        command.args(arguments).current_dir(data.path("")).output().unwrap()
    };
    let printed =
        vitrine(&["gateway", "--set", "grpc_listen=127.0.0.1:7001", "--set", "objects.folder=.", "--print-config"]);
    assert!(text(&printed.stdout).contains("grpc_listen = \"127.0.0.1:7001\""), "{}", text(&printed.stdout));
    // Beyond this machine only with TLS, as the other.
    let refused = data.up().key().tiny_models().canned().arguments(&["--grpc-listen", "0.0.0.0:0"]).refused();
    for words in ["grpc_listen", "beyond this machine, without TLS"] {
        assert!(refused.contains(words), "{words:?} is not in {refused}");
    }
}
