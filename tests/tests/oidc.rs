//! Signing in by a real provider of OpenID Connect: by its tokens, in a real browser, and from the command line.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::browser::{chromium, look, node};
use tests::http::{Answer, ask};
use tests::{Data, KEY, Server, ports, program, root, until};

/// The provider of `tests/browser/provider.mjs`; dropping it ends it.
struct Provider {
    issuer: String,
    control: String,
    child: Child,
    /// It says more later, and would end if nobody could hear it.
    _says: BufReader<ChildStdout>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Provider {
    /// Starts one that sends browsers back to a server.
    fn start(server: &str) -> Self {
        let mut command = node("provider.mjs");
        command.arg(format!("http://{server}/sign-in/oidc")).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        let mut says = BufReader::new(child.stdout.take().unwrap());
        says.read_line(&mut line).unwrap();
        let [_, issuer, control] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("it said {line:?}") };
        Self { issuer: issuer.to_owned(), control: control.to_owned(), child, _says: says }
    }

    fn told(&self, path: &str, body: &Value) -> Value {
        ask(&self.control, "POST", path, &[], body.to_string().as_bytes()).json()
    }

    /// Makes a token, as `provider.mjs` says.
    fn token(&self, of: &Value) -> String {
        self.told("/token", of).as_str().unwrap().to_owned()
    }

    fn asked(&self, path: &str) -> u64 {
        self.told("/asked", &Value::Null)[path].as_u64().unwrap_or(0)
    }
}

/// A server whose users sign in by a provider, with the tenants lab-b and, suspended, lab-c.
fn start(data: &Data) -> (Provider, Server) {
    start_with(data, &[])
}

/// The same with more settings.
fn start_with(data: &Data, more: &[(&str, &str)]) -> (Provider, Server) {
    let [address] = ports::free();
    let provider = Provider::start(&address);
    let secret = data.path("secret");
    std::fs::write(&secret, "secret words\n").unwrap();
    let settings = [
        ("issuer", provider.issuer.as_str()),
        ("client_id", "vitrine"),
        ("client_secret_file", secret.to_str().unwrap()),
        ("device_client_id", "vitrine-cli"),
        ("user_claim", "email"),
        ("roles.researchers", "researcher"),
        ("roles.admins", "administrator"),
        ("roles.eyes", "auditor"),
        ("name", "the university"),
    ];
    let mut up = data.up_at(&address).key().tiny_models().canned();
    for (name, value) in settings.iter().chain(more) {
        up = up.arguments(&["--set", &format!("gateway.oidc.{name}={value}")]);
    }
    let server = up.start();
    for tenant in ["lab-b", "lab-c"] {
        assert_eq!(v1(&server, KEY, "POST", "/v1/tenants", &json!({ "name": tenant })).status, 201);
    }
    assert_eq!(v1(&server, KEY, "PATCH", "/v1/tenants/lab-c", &json!({ "suspended": true })).status, 200);
    (provider, server)
}

fn v1(server: &Server, token: &str, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    ask(&server.url, method, path, &[&format!("Authorization: Bearer {token}")], body.as_bytes())
}

fn whoami(server: &Server, token: &str) -> Answer {
    v1(server, token, "GET", "/v1/whoami", &Value::Null)
}

fn sentence(answer: &Answer) -> String {
    answer.json()["error"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_token_of_the_provider_is_somebody_and_any_other_is_nobody() {
    let data = Data::default();
    let (provider, server) = start(&data);
    let ada = whoami(&server, &provider.token(&json!({}))).json();
    assert_eq!((&ada["user"], &ada["tenant"]), (&json!("ada@example.org"), &json!("lab-b")));
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    for (of, status, words) in [
        (json!({ "claims": { "exp": now - 60 } }), 401, "this token has expired"),
        (json!({ "claims": { "aud": "another" } }), 401, "must be for vitrine or vitrine-cli"),
        (json!({ "claims": { "iss": "https://login.example.org" } }), 401, "which is the only provider"),
        (json!({ "sign": "foreign" }), 401, "was not signed by whom it names"),
        (json!({ "sign": "none" }), 401, "signed by \"none\""),
        (json!({ "sign": "secret" }), 401, "signed by \"HS256\""),
        (json!({ "head": { "typ": "logout+jwt" } }), 401, "neither an ID token nor an access token"),
        (json!({ "head": { "kid": "another" } }), 401, "does not publish"),
        (json!({ "login": "eve.nowhere.researchers" }), 403, "eve@example.org belongs to no tenant here"),
        (json!({ "login": "eve.lab-c.researchers" }), 403, "is suspended"),
        (json!({ "login": "eve.lab-b.others" }), 403, "eve@example.org may do nothing here"),
        (json!({ "claims": { "email_verified": false } }), 403, "is not verified"),
    ] {
        let answer = whoami(&server, &provider.token(&of));
        assert_eq!(answer.status, status, "{of}: {}", sentence(&answer));
        assert!(sentence(&answer).contains(words), "{words:?} is not in {:?}", sentence(&answer));
    }
    // A role that may not.
    let answer = v1(&server, &provider.token(&json!({})), "GET", "/v1/tenants", &Value::Null);
    assert_eq!(answer.status, 403);
    assert!(sentence(&answer).starts_with("ada@example.org may not administer"), "{}", sentence(&answer));
    let admin = provider.token(&json!({ "login": "root.lab-b.admins" }));
    assert_eq!(v1(&server, &admin, "POST", "/v1/tenants", &json!({ "name": "lab-d" })).status, 201);
    let auditor = provider.token(&json!({ "login": "eye.lab-b.eyes" }));
    let trail = v1(&server, &auditor, "GET", "/v1/audit?key=user:root@example.org", &Value::Null).json();
    assert_eq!(trail["entries"][0]["what"], "user:root@example.org made the tenant lab-d");
}

#[test]
fn keys_change_and_the_provider_goes_away_and_who_was_known_goes_on() {
    let data = Data::default();
    let (provider, server) = start(&data);
    let old = provider.token(&json!({}));
    assert_eq!(whoami(&server, &old).status, 200);
    provider.told("/new-key", &json!({}));
    let new = provider.token(&json!({}));
    until("the new key", || whoami(&server, &new).status == 200);
    assert!(sentence(&whoami(&server, &old)).contains("does not publish"), "the old key is over");

    provider.told("/away", &json!({ "away": true }));
    let made_up = provider.token(&json!({ "head": { "kid": "another" } }));
    until("that it is told", || whoami(&server, &made_up).status == 503);
    assert!(sentence(&whoami(&server, &made_up)).contains("does not answer"));
    assert_eq!(whoami(&server, &new).status, 200);
    assert_eq!(whoami(&server, KEY).status, 200);
    provider.told("/away", &json!({ "away": false }));
    until("that it is back", || whoami(&server, &made_up).status == 401);
}

#[test]
fn people_sign_in_on_the_pages_in_a_browser() {
    let data = Data::default();
    let (provider, server) = start(&data);
    let pictures = root().join("target/console");
    std::fs::create_dir_all(&pictures).unwrap();
    let there = json!({
        "url": server.url, "issuer": provider.issuer, "key": KEY,
        "chromium": chromium(), "picture": pictures.join("me-user.png"),
    });
    let told = look("oidc.mjs", &there);
    assert_eq!(told.lines().filter(|line| line.starts_with("ok ")).count(), 10, "{told}");
    let key = told.lines().find_map(|line| line.strip_prefix("key ")).unwrap();
    assert_eq!(whoami(&server, key).status, 401, "it was revoked");
    let auditor = provider.token(&json!({ "login": "eye.lab-b.eyes" }));
    let trail = v1(&server, &auditor, "GET", "/v1/audit?key=user:ada@example.org", &Value::Null).json();
    let whats: Vec<&str> =
        trail["entries"].as_array().unwrap().iter().map(|entry| entry["what"].as_str().unwrap()).collect();
    assert!(whats.iter().any(|what| what.starts_with("user:ada@example.org made the key")), "{whats:?}");
    assert!(whats.iter().any(|what| what.contains("may not administer")), "{whats:?}");
}

/// Somebody at a command line of their own.
struct Person<'a> {
    server: &'a Server,
    home: TempDir,
}

impl Person<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("vitrine"));
        for name in ["VITRINE_DATA", "VITRINE_API_KEY", "VITRINE_LISTEN", "VITRINE_CONFIG"] {
            command.env_remove(name);
        }
        command.env("HOME", self.home.path()).env("VITRINE_HOST", &self.server.url).stdin(Stdio::null());
        command.args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn does(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Signs in, with a browser elsewhere. Returns whether that ended well, and what was said last.
    fn signs_in(&self, login: &str) -> (bool, String) {
        let mut child = self.command(&["login", "--oidc"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let code = lines.by_ref().find_map(|line| Some(line.strip_prefix("or open ")?.split(',').next()?.to_owned()));
        let code = code.expect("it says where to sign in");
        let there = json!({ "url": self.server.url, "chromium": chromium(), "code": code, "login": login });
        assert_eq!(look("oidc.mjs", &there).trim(), "ok device");
        let said = lines.collect::<Vec<_>>().join("\n");
        (child.wait().unwrap().success(), said)
    }
}

#[test]
fn people_sign_in_from_the_command_line_stay_so_and_make_a_key() {
    let data = Data::default();
    let (provider, server) = start(&data);
    let ada = Person { server: &server, home: tempfile::tempdir().unwrap() };
    assert!(ada.refused(&["whoami"]).contains("`vitrine login --oidc`"));
    let (well, told) = ada.signs_in("ada.lab-b.researchers");
    assert!(well && told.contains("logged in at") && told.contains("as ada@example.org of lab-b"), "{told}");
    let login = ada.home.path().join(".config/vitrine/login.json");
    assert_eq!(std::fs::metadata(&login).unwrap().permissions().mode() & 0o777, 0o600);

    // Its tokens end so soon that each command needs the next one.
    let kept = || -> Value { serde_json::from_slice(&std::fs::read(&login).unwrap()).unwrap() };
    let (before, asked) = (kept(), provider.asked("/token"));
    let who = ada.does(&["whoami"]);
    for words in ["ada@example.org", "lab-b", "submit,read-own"] {
        assert!(who.contains(words), "{who}");
    }
    assert!(provider.asked("/token") > asked, "a token that is over is exchanged");
    assert_ne!(kept()["oidc"]["refresh"], before["oidc"]["refresh"], "and what came with the next is kept");
    assert_eq!(std::fs::metadata(&login).unwrap().permissions().mode() & 0o777, 0o600);
    // Several at once are in no one's way.
    let several: Vec<Child> =
        (0..3).map(|_| ada.command(&["whoami", "--json"]).stdout(Stdio::null()).spawn().unwrap()).collect();
    for mut one in several {
        assert!(one.wait().unwrap().success());
    }

    let key = ada.does(&["key", "create", "--note", "the notebook"]);
    assert_eq!(whoami(&server, key.trim()).json()["tenant"], "lab-b");
    let listed = ada.does(&["key", "list"]);
    assert!(listed.contains("the notebook") && listed.lines().count() == 2, "{listed}");
    assert!(ada.refused(&["tenant", "list"]).contains("ada@example.org may not administer"));
    assert!(ada.refused(&["key", "create", "--role", "administrator"]).contains("permits more than they may"));
    let id = key.trim().split('_').nth(1).unwrap();
    ada.does(&["key", "revoke", id]);
    assert_eq!(whoami(&server, key.trim()).status, 401);

    // Who is nobody here is told so, and what was kept before stays.
    let (well, told) = ada.signs_in("eve.nowhere.researchers");
    assert!(!well && told.contains("eve@example.org belongs to no tenant here"), "{told}");
    assert!(ada.does(&["whoami"]).contains("ada@example.org"));

    // Who was taken from here has to sign in again.
    provider.told("/away", &json!({ "away": true }));
    assert!(ada.refused(&["whoami"]).contains("cannot ask the provider"));
    provider.told("/away", &json!({ "away": false }));
    let mut spoiled = kept();
    spoiled["oidc"]["refresh"] = "made up".into();
    std::fs::write(&login, spoiled.to_string()).unwrap();
    assert!(ada.refused(&["whoami"]).contains("`vitrine login --oidc` does it"));
    ada.does(&["login", "--forget"]);
    assert!(!login.exists());
}

#[test]
fn where_tokens_must_be_for_the_server_the_command_line_gets_such() {
    let data = Data::default();
    let (provider, server) = start_with(&data, &[("audience", "https://vitrine.example.org")]);
    let ada = Person { server: &server, home: tempfile::tempdir().unwrap() };
    let (well, told) = ada.signs_in("ada.lab-b.researchers");
    assert!(well, "{told}");
    // The first is over by then, and the next is for the server, too.
    assert!(ada.does(&["whoami"]).contains("ada@example.org"));
    let refused = whoami(&server, &provider.token(&json!({})));
    assert_eq!(refused.status, 401, "what is for a client alone is not for the server");
    assert!(sentence(&refused).contains("must be for https://vitrine.example.org"), "{}", sentence(&refused));
}

#[test]
fn a_server_without_a_provider_says_so() {
    let data = Data::default();
    let server = data.up().key().tiny_models().canned().start();
    let ada = Person { server: &server, home: tempfile::tempdir().unwrap() };
    let refused = ada.refused(&["login", "--oidc"]);
    assert!(refused.contains("has no provider that people sign in by; `vitrine login` takes an API key"), "{refused}");
    assert_eq!(ask(&server.url, "GET", "/sign-in/begin", &[], b"").status, 404);
    let form = String::from_utf8(ask(&server.url, "GET", "/sign-in", &[], b"").body).unwrap();
    assert!(!form.contains("Sign in with"), "{form}");
}
