//! Who administers a running server, and what others learn of it: tenants, keys and jobs by the command line and by `/v1`.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::http::{Answer, ask};
use tests::{Conversation, Data, KEY, Server, program};

/// The command line of somebody with a key.
struct Person<'a> {
    server: &'a Server,
    key: String,
}

impl Person<'_> {
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = vitrine(arguments);
        command.env("VITRINE_HOST", &self.server.url).env("VITRINE_API_KEY", &self.key).output().unwrap()
    }

    /// Runs a command that must succeed. Returns what it printed.
    fn does(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.does(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// Runs a command that must be refused. Returns the sentence.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()), "{arguments:?}");
        let sentence = text(&output.stderr);
        assert!(sentence.starts_with("vitrine: ") && sentence.lines().count() == 1, "{sentence}");
        sentence
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        ask(&self.server.url, method, path, &[&format!("Authorization: Bearer {}", self.key)], body.as_bytes())
    }

    /// Makes a tenant with a key.
    fn tenant(&self, name: &str) -> Person<'_> {
        self.does(&["tenant", "create", name]);
        let key = self.does(&["key", "create", "--tenant", name]).trim().to_owned();
        Person { server: self.server, key }
    }

    fn client(&self) -> Conversation {
        let client = self.server.client("poll.py").env("NDIF_API_KEY", &self.key).start();
        client.expect("here");
        client
    }
}

fn vitrine(arguments: &[&str]) -> Command {
    let mut command = Command::new(program("vitrine"));
    for name in ["VITRINE_DATA", "VITRINE_API_KEY", "VITRINE_LISTEN", "VITRINE_CONFIG", "VITRINE_HOST"] {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn contains(sentence: &str, words: &[&str]) {
    for word in words {
        assert!(sentence.contains(word), "{word:?} is not in {sentence:?}");
    }
}

fn submit(client: &mut Conversation, directive: &str) -> String {
    client.say(&format!("submit canned:{directive}"));
    client.expect("job ")
}

/// Asks until an answer is as it should be.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} never came");
    }
}

fn is(person: &Person<'_>, job: &str, state: &str) {
    until(state, || (person.json(&["job", "show", job])["state"] == state).then_some(()));
}

#[test]
fn a_tenant_is_made_given_a_key_suspended_resumed_and_its_key_revoked() {
    let data = Data::default();
    let server = data.up().key().tiny_models().canned().start();
    let operator = Person { server: &server, key: KEY.into() };
    operator.does(&["tenant", "create", "lab-b"]);
    contains(&operator.refused(&["tenant", "create", "lab-b"]), &["a tenant lab-b already"]);
    contains(&operator.refused(&["tenant", "create", "Lab B"]), &["\"Lab B\" cannot be", "63", "lowercase letters"]);
    contains(&operator.refused(&["tenant", "show", "lab-c"]), &["no tenant \"lab-c\"", "create it first"]);
    contains(&operator.refused(&["key", "create", "--tenant", "lab-c"]), &["no tenant \"lab-c\"", "create it first"]);
    let create = ["key", "create", "--tenant", "lab-b", "--note", "the notebook", "--expires-in"];
    contains(&operator.refused(&[&create[..], &["soon"]].concat()), &["expires_in", "\"soon\"", "30d"]);
    contains(&operator.refused(&[&create[..], &["0s"]].concat()), &["between"]);

    let made = operator.json(&[&create[..], &["30d"]].concat());
    assert_eq!((&made["tenant"], &made["note"]), (&"lab-b".into(), &"the notebook".into()));
    let member = Person { server: &server, key: made["key"].as_str().unwrap().to_owned() };
    let whoami = member.json(&["whoami"]);
    assert_eq!((&whoami["tenant"], &whoami["key"]), (&made["tenant"], &made["id"]));
    assert_eq!(whoami["expires_at"], made["expires_at"]);
    assert!(made["expires_at"].is_string(), "{made}");
    let mut client = member.client();
    let job = submit(&mut client, "print hello");
    is(&member, &job, "completed");

    // What is listed tells no key, and neither does a key without the scope administer.
    let (keys, tenants) = (operator.does(&["key", "list"]), operator.does(&["tenant", "list"]));
    contains(&keys, &["SCOPES", "lab-b", "submit,read-own", "the notebook", made["id"].as_str().unwrap()]);
    contains(&tenants, &["NAME", "lab-b", "local"]);
    assert!(!keys.contains(&member.key), "{keys}");
    assert_eq!(operator.json(&["key", "list", "--tenant", "lab-b"])["keys"].as_array().unwrap().len(), 1);
    for denied in
        [&["tenant", "list"][..], &["key", "list"], &["tenant", "create", "x"], &["tenant", "suspend", "local"]]
    {
        contains(&member.refused(denied), &["this API key may not administer the server", "scope admin"]);
    }
    let raised = member.ask("POST", "/v1/keys", r#"{"tenant": "lab-b", "scopes": ["admin"]}"#);
    assert_eq!(raised.status, 403);

    contains(&operator.refused(&["tenant", "suspend", "local"]), &["this tenant's own"]);
    operator.does(&["tenant", "suspend", "lab-b"]);
    contains(&member.refused(&["whoami"]), &["the tenant lab-b", "suspended", "operator"]);
    let refused = member.ask("POST", "/request", "");
    assert_eq!(refused.status, 403);
    contains(&refused.detail(), &["suspended"]);
    assert!(operator.json(&["tenant", "show", "lab-b"])["suspended_at"].is_string());
    operator.does(&["tenant", "resume", "lab-b"]);
    assert!(operator.json(&["tenant", "show", "lab-b"])["suspended_at"].is_null());
    let job = submit(&mut client, "print again");
    is(&member, &job, "completed");
    client.finish();

    let id = made["id"].as_str().unwrap();
    operator.does(&["key", "revoke", id]);
    contains(&member.refused(&["whoami"]), &["does not know this API key", "VITRINE_API_KEY"]);
    assert_eq!(member.ask("GET", &format!("/response/{job}"), "").status, 401);
    contains(&operator.refused(&["key", "revoke", id]), &["no key", id]);
}

#[test]
fn a_tenant_sees_its_jobs_and_to_others_they_are_no_jobs() {
    let data = Data::default();
    let server = data.up().key().tiny_models().canned().start();
    let operator = Person { server: &server, key: KEY.into() };
    let (ada, bob) = (operator.tenant("ada"), operator.tenant("bob"));
    let mut client = ada.client();
    let printed = submit(&mut client, "print hello from ada");
    let failed = submit(&mut client, "fail ValueError: as told");
    is(&ada, &printed, "completed");
    is(&ada, &failed, "failed");
    assert_eq!(ada.does(&["job", "logs", &printed]), "hello from ada\n");
    contains(
        &ada.does(&["job", "show", &failed]),
        &["ndif-test/tiny-gpt2", "failed", "program", "ValueError: as told"],
    );
    let gate = data.path("gate");
    let waiting: Vec<String> = (0..12).map(|_| submit(&mut client, &format!("wait {}", gate.display()))).collect();

    // The newest first, page by page as well as at once.
    let expected: Vec<&String> = waiting.iter().rev().chain([&failed, &printed]).collect();
    let listed = |person: &Person<'_>, arguments: &[&str]| -> Vec<String> {
        let answer = person.json(&[&["job", "list"], arguments].concat());
        let jobs = answer["jobs"].as_array().unwrap();
        jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed(&ada, &[]).iter().collect::<Vec<_>>(), expected);
    assert_eq!(listed(&operator, &["--tenant", "ada"]).iter().collect::<Vec<_>>(), expected);
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = ada.ask("GET", &format!("/v1/jobs?limit=5{cursor}"), "").json();
        paged.extend(page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged.iter().collect::<Vec<_>>(), expected);
    assert_eq!(listed(&ada, &["--state", "failed"]), [failed.as_str()]);
    assert_eq!(listed(&ada, &["--model", "ndif-test/tiny-llama"]), [] as [&str; 0]);
    assert_eq!(listed(&ada, &["--limit", "1"]), [waiting[11].as_str()]);
    contains(&ada.refused(&["job", "list", "--state", "done"]), &["queued, dispatched, running", "\"done\""]);

    // To Bob, they are as jobs that there never were.
    assert_eq!(listed(&bob, &[]), [] as [&str; 0]);
    assert_eq!(listed(&bob, &["--tenant", "ada"]), [] as [&str; 0]);
    let never = "01234567-89ab-7def-8123-456789abcdef";
    for (method, path) in [
        ("GET", "/v1/jobs/ID"),
        ("GET", "/v1/jobs/ID/logs"),
        ("DELETE", "/v1/jobs/ID"),
        ("GET", "/response/ID"),
        ("DELETE", "/request/ID"),
        ("GET", "/results/ID"),
    ] {
        let [theirs, nobodys] = [&printed, never].map(|id| bob.ask(method, &path.replace("ID", id), ""));
        assert_eq!((theirs.status, text(&theirs.body)), (nobodys.status, text(&nobodys.body)), "{method} {path}");
        // A link to a result is refused for what it is, whoever brings it.
        assert_eq!(theirs.status, if path.starts_with("/results") { 403 } else { 404 }, "{method} {path}");
    }
    assert_eq!(bob.refused(&["job", "show", &printed]), "vitrine: no job of yours has this id\n");
    let job = waiting.last().unwrap();
    contains(&bob.refused(&["job", "cancel", job]), &["no job of yours"]);

    // An operator may look at it and end it, and does not read what it printed.
    assert_eq!(
        operator.json(&["job", "show", &failed])["failure"],
        serde_json::json!({"fault": "program", "text": null})
    );
    contains(&operator.refused(&["job", "logs", &printed]), &["another tenant's job"]);
    operator.does(&["job", "cancel", job]);
    is(&ada, job, "cancelled");
    ada.does(&["job", "cancel", &waiting[10]]);
    is(&ada, &waiting[10], "cancelled");
    fs::write(&gate, "").unwrap();
    for job in &waiting[..10] {
        is(&ada, job, "completed");
    }
    client.finish();
}

#[test]
fn the_command_line_says_what_is_wrong_and_what_to_do() {
    let data = Data::default();
    let first = data.up().tiny_models().canned().start();
    // The key that a first start shows administers the server.
    let shown = first.before.iter().find_map(|line| line.strip_prefix("API key, shown only this once: ")).unwrap();
    let operator = Person { server: &first, key: shown.to_owned() };
    assert_eq!(operator.json(&["whoami"])["scopes"], serde_json::json!(["submit", "read-own", "operate", "admin"]));
    assert_eq!(operator.json(&["tenant", "list"])["tenants"][0]["name"], "local");
    let answer = operator.ask("POST", "/v1/tenants", r#"{"nome": "x"}"#);
    assert_eq!(answer.status, 400);
    contains(answer.json()["error"].as_str().unwrap(), &["malformed request", "nome"]);
    let nowhere = operator.ask("GET", "/v1/nothing", "");
    assert_eq!((nowhere.status, nowhere.json()["error"].as_str()), (404, Some("nothing is served at /v1/nothing")));

    let said = |command: &mut Command| {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr)
    };
    contains(&said(vitrine(&["whoami"]).env("VITRINE_HOST", &first.url)), &["no API key was given", "VITRINE_API_KEY"]);
    let wrong = ["whoami", "--host", &first.url, "--key", "wrong"];
    contains(&said(&mut vitrine(&wrong)), &[&first.url, "does not know this API key"]);
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = ["tenant", "list", "--host", &format!("http://{free}"), "--key", "x"];
    contains(&said(&mut vitrine(&nobody)), &["cannot reach a server at", &free.to_string(), "--host"]);
    contains(&said(&mut vitrine(&["whoami", "--host", "nonsense", "--key", "x"])), &["\"nonsense\"", "a URL such as"]);
    assert_eq!(vitrine(&["tenant", "make"]).output().unwrap().status.code(), Some(2));
}
