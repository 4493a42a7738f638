//! What the roles of a cluster say of their settings.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn vitrine(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vitrine"));
    // No variable of whoever runs the tests counts.
    command.env_clear().args(arguments).current_dir(Path::new("/")).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const GATEWAY: &str = "
    name = 'gateway-1'
    listen = '127.0.0.1:8001'
    [store]
    endpoints = ['https://127.0.0.1:2379', 'https://127.0.0.1:2380']
    server_name = 'etcd.vitrine.internal'
    [store.tls]
    authority = 'ca.pem'
    certificate = 'gateway.pem'
    key = 'gateway.key'
    [objects]
    endpoint = 'http://127.0.0.1:8333'
    bucket = 'vitrine'
    access_key_id = 'vitrine'
    secret_access_key_file = 's3.secret'
    [gateway]
    key_rate = 100";

const SCHEDULER: &str = "
    listen = '127.0.0.1:7001'
    models = ['org/name=/models/name,dtype=float32']
    [objects]
    folder = '/objects'
    [scheduler]
    reattach = '10s'";

#[test]
fn what_a_role_prints_of_its_settings_says_the_same_again() {
    let folder = Folder::new();
    for (role, file) in [("gateway", GATEWAY), ("scheduler", SCHEDULER)] {
        let path = folder.write(role, file);
        let printed = vitrine(&[role, "--config", &path, "--print-config"]);
        assert!(printed.status.success(), "{}", text(&printed.stderr));
        let again = folder.write("again", &text(&printed.stdout));
        let printed_again = vitrine(&[role, "--config", &again, "--print-config"]);
        assert_eq!(text(&printed_again.stdout), text(&printed.stdout), "{}", text(&printed_again.stderr));
        let set = vitrine(&[role, "--config", &path, "--set", "store.namespace=/lab/", "--print-config"]);
        assert!(text(&set.stdout).contains("namespace = \"/lab/\""));
    }
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    let folder = Folder::new();
    let cases = [
        ("gateway", "[objects]\nfolder = '/o'\n[store]\nendpoint = 'http://e'", "endpoint"),
        ("gateway", "", "objects.folder"),
        ("gateway", "tls_key = 'k'\n[objects]\nfolder = '/o'", "tls_certificate and tls_key belong together"),
        (
            "scheduler",
            "models = ['o/n=/m,dtype=int4']\n[objects]\nfolder = '/o'",
            "dtype must be float32, bfloat16, int8 or nf4",
        ),
        ("scheduler", "models = ['o/n=here']\n[objects]\nfolder = '/o'", "must be absolute"),
        ("scheduler", "models = ['o/n=/m', 'o/n=/n']\n[objects]\nfolder = '/o'", "name each model once"),
    ];
    for (role, file, words) in cases {
        let path = folder.write("settings.toml", file);
        let refused = vitrine(&[role, "--config", &path, "--check-config"]);
        let said = text(&refused.stderr);
        assert!(!refused.status.success() && said.contains(words), "{words:?} is not in {said:?}");
    }
}

#[test]
fn a_scheduler_without_tls_listens_to_this_machine_alone() {
    let folder = Folder::new();
    let token = folder.write("token", "secret");
    let path = folder.write("settings.toml", &format!("token_file = '{token}'\n{SCHEDULER}"));
    let refused = vitrine(&["scheduler", "--config", &path, "--listen", "0.0.0.0:0"]);
    let said = text(&refused.stderr);
    assert!(!refused.status.success() && said.contains("without TLS") && said.contains("[tls]"), "{said}");
    assert!(!said.contains("secret"));
}
