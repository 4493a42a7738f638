//! What an operator sets and sees: settings, certificates, probes, files and secrets.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::{Data, KEY, http, model, program};

fn vitrine(arguments: &[&str]) -> Output {
    let mut command = Command::new(program("vitrine"));
    for name in ["VITRINE_DATA", "VITRINE_API_KEY", "VITRINE_LISTEN", "VITRINE_CONFIG"] {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn settings_come_from_a_file_the_environment_and_flags_and_can_be_looked_at() {
    let data = Data::default();
    let file = data.path("vitrine.toml");
    fs::write(&file, "drain = '7s'\n[gateway]\nkey_rate = 5\n[scheduler]\nresult_time = '1h'\n").unwrap();
    let file = file.to_str().unwrap();
    let mut command = Command::new(program("vitrine"));
    command.args(["up", "--print-config", "--config", file, "--listen", "127.0.0.1:1"]);
    command.env("VITRINE_GATEWAY__KEY_RATE", "6").env("VITRINE_API_KEY", "not to be shown");
    let printed = text(&command.output().unwrap().stdout);
    for line in
        ["listen = \"127.0.0.1:1\"", "drain = \"7s\"", "key_rate = 6", "result_time = \"1h\"", "run_time = \"10m\""]
    {
        assert!(printed.contains(line), "{line:?} is not in:\n{printed}");
    }
    assert!(!printed.contains("not to be shown"), "{printed}");

    let checked = vitrine(&["up", "--check-config", "--config", file]);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    fs::write(file, "[gateway]\nkey_rat = 5\n").unwrap();
    let refused = vitrine(&["up", "--check-config", "--config", file]);
    assert!(!refused.status.success());
    let sentence = text(&refused.stderr);
    assert!(sentence.contains("key_rat") && sentence.contains("vitrine.toml"), "{sentence}");
}

#[test]
fn the_client_works_over_tls_and_plain_text_goes_no_further_than_this_machine() {
    let data = Data::default();
    let certificates = data.path("certificates");
    let made = vitrine(&["cert", "dev", certificates.to_str().unwrap()]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert_eq!(mode(&certificates.join("gateway.key")), 0o600);
    let at = |name: &str| certificates.join(name).to_str().unwrap().to_owned();
    let server = data
        .up()
        .key()
        .tiny_models()
        .canned()
        .arguments(&["--tls-certificate", &at("gateway.pem"), "--tls-key", &at("gateway.key")])
        .start();
    assert!(server.url.starts_with("https://"), "{}", server.url);
    server.client("canned.py").env("SSL_CERT_FILE", at("ca.pem")).succeed();
    let mut whoami = Command::new(program("vitrine"));
    whoami.args(["whoami", "--host", &server.url, "--key", KEY]);
    let refused = whoami.env_remove("SSL_CERT_FILE").output().unwrap();
    assert!(text(&refused.stderr).contains("its certificate is not trusted here"), "{}", text(&refused.stderr));
    let told = whoami.env("SSL_CERT_FILE", at("ca.pem")).output().unwrap();
    assert!(text(&told.stdout).contains("local"), "{}", text(&told.stderr));
    let mut doctor = Command::new(program("vitrine"));
    let found =
        doctor.args(["doctor", "--host", &server.url, "--key", KEY]).env("SSL_CERT_FILE", at("ca.pem")).output();
    let found = text(&found.unwrap().stdout);
    assert!(found.contains("ok    its certificate is valid until 2"), "{found}");
    server.kill();

    let other = Data::default();
    let refused = other.up_at("0.0.0.0:0").key().tiny_models().canned().refused();
    assert!(refused.contains("without TLS") && refused.contains("--tls-certificate"), "{refused}");
    assert!(!other.path("data").exists(), "nothing was written");
    let server = other.up_at("0.0.0.0:0").key().tiny_models().canned().arguments(&["--plaintext"]).start();
    let port = server.url.rsplit(':').next().unwrap().to_owned();
    assert_eq!(http::get(&format!("http://127.0.0.1:{port}"), "/ping").status, 200);
}

#[test]
fn what_a_server_keeps_is_for_its_own_user_and_its_key_is_not_its_workers() {
    let data = Data::default();
    let folder = data.path("data");
    fs::create_dir_all(folder.join("objects/payloads")).unwrap();
    fs::write(folder.join("objects/payloads/old"), "").unwrap();
    for path in [&folder, &folder.join("objects"), &folder.join("objects/payloads")] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    let mut up = data.up().tiny_models().canned();
    up.command.env("VITRINE_API_KEY", KEY).env("HF_TOKEN", "a token of the operator");
    let server = up.start();
    assert_eq!(http::get(&server.url, "/whoami").json()["email"], "local");
    let made = ["", "metadata.redb", "objects", "objects/payloads", "objects/payloads/old"];
    assert_eq!(made.map(|name| mode(&folder.join(name)) & 0o077), [0; 5]);
    let environment = fs::read(format!("/proc/{}/environ", server.children()[0].as_raw_nonzero())).unwrap();
    let environment = String::from_utf8_lossy(&environment);
    assert!(!environment.contains(KEY) && !environment.contains("a token of the operator"), "{environment}");
}

#[test]
fn c12_no_log_has_what_a_user_sends_or_is_sent_or_the_key() {
    const WORD: &str = "zebraxylophonequux";
    let data = Data::default();
    let log = data.path("log");
    let server = data.up().key().tiny_models().traced_to(&log).start();
    server.client("tagged.py").env("WORD", WORD).succeed();
    server.signal(Signal::TERM);
    assert!(server.wait(), "it ends badly");
    let lines = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
    assert!(lines.contains("POST") && lines.contains("TRACE"), "too little was logged to show anything");
    for secret in [WORD, KEY] {
        let found = lines.lines().find(|line| line.contains(secret));
        assert_eq!(found, None, "{secret} is in a log");
    }
}

#[test]
fn a_key_that_nobody_saw_is_not_made() {
    let data = Data::default();
    let mut up = data.up().tiny_models().canned();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = up.command.stdin(Stdio::null()).stdout(full).output().unwrap();
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("cannot write to stdout"), "{}", text(&output.stderr));
    let server = data.up().tiny_models().canned().start();
    assert!(server.before.iter().any(|line| line.contains("shown only this once")), "{:?}", server.before);
}

#[test]
fn probes_are_answered_on_a_port_of_their_own() {
    let data = Data::default();
    // A port that was free a moment ago.
    let probes = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let server = data.up().key().tiny_models().canned().arguments(&["--health-listen", &probes]).start();
    let url = format!("http://{probes}");
    for path in ["/startupz", "/livez", "/healthz"] {
        assert_eq!(http::get(&url, path).status, 200, "{path}");
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while http::get(&url, "/readyz").status != 200 {
        assert!(Instant::now() < deadline, "{}", text(&http::get(&url, "/readyz").body));
    }
    server.signal(Signal::TERM);
    assert!(server.wait());
}

#[test]
fn a_folder_is_checked_before_it_is_served() {
    let folder = model("tiny-llama");
    let checked = vitrine(&["model", "check", folder.to_str().unwrap()]);
    let said = text(&checked.stdout);
    assert!(checked.status.success() && said.contains("can be served, as llama\n"), "{said}");

    let data = Data::default();
    let copy = data.path("model");
    fs::create_dir(&copy).unwrap();
    for name in ["config.json", "tokenizer.json"] {
        fs::copy(folder.join(name), copy.join(name)).unwrap();
    }
    let checked = vitrine(&["model", "check", "--json", copy.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(report["served"], false);
    assert_eq!(report["family"], "llama");
    let obstacles = report["obstacles"].as_array().unwrap();
    assert!(
        obstacles.len() == 1 && obstacles[0].as_str().unwrap().contains("has no weights: neither model.safetensors"),
        "{report}"
    );
    assert!(report["needs"]["weights"]["bfloat16"].as_u64().unwrap() > 0, "{report}");
}
