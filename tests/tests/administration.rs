//! Who administers a running server, and what others learn of it: tenants, keys and jobs by the command line and by `/v1`.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

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

    let brief = ["key", "create", "--tenant", "lab-b", "--cancel-when-gone"];
    contains(&operator.refused(&[&brief[..], &["soon"]].concat()), &["cancel_when_gone", "\"soon\"", "between 1s and"]);
    let made = operator.json(&[&brief[..], &["30s"]].concat());
    contains(&operator.does(&["key", "list", "--tenant", "lab-b"]), &["CLIENT GONE", "30s"]);
    operator.does(&["key", "revoke", made["id"].as_str().unwrap()]);

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
    assert_eq!(
        operator.json(&["whoami"])["scopes"],
        serde_json::json!(["submit", "read-own", "operate", "admin", "audit"])
    );
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
    // Who is told no has been heard.
    let canary = ["canary", "--every", "0s", "--host", &first.url, "--key", "wrong"];
    let output = vitrine(&canary).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    contains(&text(&output.stdout), &["none refused after", "does not know this API key"]);
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = ["tenant", "list", "--host", &format!("http://{free}"), "--key", "x"];
    contains(&said(&mut vitrine(&nobody)), &["cannot reach a server at", &free.to_string(), "--host"]);
    contains(&said(&mut vitrine(&["whoami", "--host", "nonsense", "--key", "x"])), &["\"nonsense\"", "a URL such as"]);
    assert_eq!(vitrine(&["tenant", "make"]).output().unwrap().status.code(), Some(2));
}

/// Returns what a job's record says that it computed, in seconds.
fn measured(person: &Person<'_>, job: &str) -> f64 {
    person.ask("GET", &format!("/response/{job}"), "").json()["meta"]["execution_time_s"].as_f64().unwrap()
}

/// Returns what a tenant's jobs came to, as the ledger has it: jobs, failed ones, and seconds.
fn ledger(person: &Person<'_>) -> (u64, u64, f64) {
    let usage = person.json(&["usage", "--by", "tenant"]);
    let row = &usage["usage"][0];
    let number = |name: &str| row[name].as_u64().unwrap_or(0);
    (number("jobs"), number("failed_jobs"), row["compute_seconds"].as_f64().unwrap_or(0.0))
}

#[test]
fn a_quota_refuses_what_is_too_much_and_the_ledger_adds_up_to_what_workers_measured_also_after_a_crash() {
    let data = Data::default();
    let server = data.up().key().tiny_models().start();
    let operator = Person { server: &server, key: KEY.into() };
    operator.does(&["tenant", "create", "lab-b"]);
    let create = ["key", "create", "--tenant", "lab-b", "--role", "researcher", "--project", "probes", "--json"];
    let made: Value = serde_json::from_str(&operator.does(&create)).unwrap();
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap().to_owned());
    let member = Person { server: &server, key: key.clone() };
    assert_eq!(made["scopes"], serde_json::json!(["submit", "read-own"]));
    operator.does(&["quota", "set", "lab-b", "--queued-jobs", "2", "--device-seconds-per-day", "1000"]);
    operator.does(&["quota", "set", "lab-b", "--running-jobs", "1"]);
    contains(&operator.does(&["quota", "show", "lab-b"]), &["queued jobs", "2", "running jobs", "1000"]);
    contains(&member.does(&["quota", "show"]), &["device seconds per day", "1000", "0.0"]);
    contains(&member.refused(&["quota", "set", "lab-b", "--queued-jobs", "none"]), &["scope admin"]);
    contains(&operator.refused(&["quota", "set", "lab-b"]), &["--queued-jobs"]);
    operator.does(&["quota", "set", "--key-id", id, "--requests-per-second", "1000"]);

    // Jobs of the real engine, one of which fails.
    let mut client = member.client();
    let mut jobs: Vec<String> = Vec::new();
    for _ in 0..4 {
        let job = submit(&mut client, "as told");
        is(&member, &job, "completed");
        jobs.push(job);
    }
    let sum: f64 = jobs.iter().map(|job| measured(&member, job)).sum();
    let (count, failed, seconds) = ledger(&member);
    assert_eq!((count, failed), (4, 0));
    assert!(sum > 0.0 && (seconds - sum).abs() <= 0.01 * sum, "{seconds} s in the ledger, {sum} s measured");
    let used = member.json(&["whoami"])["used"]["device_seconds_today"].as_f64().unwrap();
    assert!((used - sum).abs() <= 0.01 * sum, "{used} s of the quota, {sum} s measured");
    let file = data.path("result");
    member.does(&["job", "result", &jobs[0], "--output", file.to_str().unwrap()]);
    let shown = member.json(&["job", "show", &jobs[0]]);
    assert_eq!(Some(fs::metadata(&file).unwrap().len()), shown["result_bytes"].as_u64());
    client.finish();
    server.kill();

    let server = data.up().key().tiny_models().canned().start();
    let (operator, member) = (Person { server: &server, key: KEY.into() }, Person { server: &server, key });
    assert_eq!(ledger(&member), (count, failed, seconds), "it outlives a crash");
    let csv = operator.does(&["usage", "--csv", "--by", "tenant,project,key"]);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "tenant,project,key,jobs,failed_jobs,compute_seconds,request_bytes,result_bytes");
    assert!(lines[1].starts_with(&format!("lab-b,probes,{id},4,0,{seconds}")), "{csv}");

    // One runs, one waits, and the third is told why it is refused.
    let (gate, mut client) = (data.path("gate"), member.client());
    let first = submit(&mut client, &format!("wait {}", gate.display()));
    is(&member, &first, "running");
    let second = submit(&mut client, "print hello");
    client.say("block canned:print never");
    contains(&client.expect("error"), &["the tenant lab-b has a quota of 2 jobs that wait or run", "2 do"]);
    assert_eq!(member.json(&["job", "show", &second])["state"], "queued", "a worker has room, and the quota none");
    assert!(member.json(&["job", "show", &first])["must_end_by"].is_string());
    assert_eq!(member.json(&["whoami"])["used"]["queued_jobs"], 2);
    let mut follow = vitrine(&["job", "logs", "--follow", &second]);
    let follow = follow.env("VITRINE_HOST", &server.url).env("VITRINE_API_KEY", &member.key);
    let follow = follow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    fs::write(&gate, "").unwrap();
    let followed = follow.wait_with_output().unwrap();
    assert!(followed.status.success(), "{}", text(&followed.stderr));
    assert_eq!(text(&followed.stdout), "hello\n");
    let failed = submit(&mut client, "fail ValueError: as told");
    is(&member, &failed, "failed");
    let (count, failures, _) = ledger(&member);
    assert_eq!((count, failures), (7, 1));
    contains(&member.refused(&["job", "logs", "--follow", &failed]), &["is failed", "job show"]);
    contains(&member.refused(&["job", "result", &failed]), &["has no result"]);
    client.finish();
}

#[test]
fn what_was_done_is_in_the_audit_trail_and_a_file_says_what_there_should_be() {
    let data = Data::default();
    let server = data.up().key().tiny_models().canned().start();
    let operator = Person { server: &server, key: KEY.into() };
    let file = data.path("tenants.toml");
    let made = operator.json(&["key", "create", "--tenant", "local", "--note", "old"]);
    let id = made["id"].as_str().unwrap();
    let declared = format!(
        "[[tenant]]\nname = \"lab-b\"\nmodels = [\"ndif-test/*\"]\nquota = {{ queued_jobs = 7 }}\n\
         [[key]]\nid = \"{id}\"\nrole = \"auditor\"\nnote = \"old\"\n"
    );
    fs::write(&file, declared).unwrap();
    let apply = ["apply", file.to_str().unwrap()];
    let planned = operator.does(&[&apply[..], &["--dry-run"]].concat());
    contains(&planned, &["would change tenant lab-b: made", "queued_jobs - -> 7", "scopes submit,read-own -> audit"]);
    assert_eq!(operator.json(&["tenant", "list"])["tenants"].as_array().unwrap().len(), 1, "nothing is changed");
    contains(&operator.does(&apply), &["changed tenant lab-b: made", "models - -> ndif-test/*", "queued_jobs - -> 7"]);
    assert_eq!(operator.does(&apply), "nothing to change: all is as the file says\n");
    let lab = operator.json(&["tenant", "show", "lab-b"]);
    assert_eq!((&lab["quota"]["queued_jobs"], &lab["models"]), (&7.into(), &serde_json::json!(["ndif-test/*"])));
    // A model, as one that may host models and nothing else says it.
    let host = operator.does(&["key", "create", "--tenant", "local", "--role", "operator"]);
    let host = Person { server: &server, key: host.trim().to_owned() };
    let model = |replicas: &str| {
        let folder = tests::model("tiny-gpt2");
        let declared = format!("name = \"org/twin\"\nfolder = \"{}\"\nreplicas = {replicas}", folder.display());
        fs::write(&file, format!("[[model]]\n{declared}\n")).unwrap();
    };
    model("{ max = 2 }");
    let planned = host.does(&[&apply[..], &["--dry-run"]].concat());
    contains(&planned, &["would change model org/twin: hosted", "replicas - -> 0 to 2"]);
    contains(&host.refused(&["model", "show", "org/twin"]), &["no model"]);
    contains(&host.does(&apply), &["changed model org/twin: hosted"]);
    assert_eq!(host.does(&apply), "nothing to change: all is as the file says\n");
    model("{ min = 1, max = 2 }\npinned = true");
    assert_eq!(host.does(&apply), "changed model org/twin: replicas 0 to 2 -> 1 to 2, pinned false -> true\n");
    assert_eq!(host.does(&apply), "nothing to change: all is as the file says\n");
    let twin = host.json(&["model", "show", "org/twin"]);
    assert_eq!((&twin["replicas"]["min"], &twin["pinned"]), (&1.into(), &true.into()));
    // What it is booked for, which is the whole of it.
    model(
        "{ min = 1, max = 2 }\nwindows = [{ from = 2040-01-01T09:00:00Z, to = '2040-01-01T12:00:00Z', tenant = 'lab-b' }]",
    );
    contains(&host.refused(&apply), &["400 days ahead"]);
    let in_hours = |hours: u64| {
        humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(3600 * hours)).to_string()
    };
    let (from, to) = (in_hours(20), in_hours(23));
    let windows = |daily: bool| {
        model(&format!(
            "{{ min = 1, max = 2 }}\nwindows = [{{ from = {from}, to = {to}, daily = {daily}, tenant = 'lab-b' }}]"
        ));
    };
    windows(false);
    let booked = format!("changed model org/twin: booked from {from} to {to} for the tenant lab-b, 1 replica\n");
    assert_eq!(
        (host.does(&apply), host.does(&apply).as_str()),
        (booked, "nothing to change: all is as the file says\n")
    );
    windows(true);
    contains(&host.does(&apply), &[": taken back\n", "every day for the tenant lab-b"]);
    assert_eq!(host.does(&apply), "nothing to change: all is as the file says\n");
    assert_eq!(host.json(&["model", "show", "org/twin"])["windows"][0]["daily"], true);
    fs::write(&file, "[[tenants]]\nname = \"x\"\n").unwrap();
    contains(&operator.refused(&apply), &["is not as it should be", "tenants"]);

    // Only who has the scope for it reads the trail, and it names no key's text.
    let auditor = Person { server: &server, key: made["key"].as_str().unwrap().to_owned() };
    contains(&auditor.refused(&["tenant", "list"]), &["scope admin"]);
    let administrator = operator.does(&["key", "create", "--tenant", "local", "--role", "administrator"]);
    let administrator = Person { server: &server, key: administrator.trim().to_owned() };
    contains(&administrator.refused(&["audit"]), &["scope audit"]);
    let audit = auditor.does(&["audit"]);
    contains(&audit, &["made the tenant lab-b", &format!("made the key {id} of local"), "the quota 7 jobs", "refused"]);
    contains(&audit, &["127.0.0.1", "may not administer the server", "may not read the audit trail"]);
    assert!(!audit.contains(&auditor.key) && !audit.contains(&administrator.key), "{audit}");
    let refused = auditor.json(&["audit", "--refused", "--limit", "1"]);
    assert_eq!((&refused["entries"][0]["status"], refused["next"].is_string()), (&403.into(), true));

    // A key's successor is there before it ends.
    let rotated = operator.json(&["key", "rotate", id, "--overlap", "0s"]);
    contains(&auditor.refused(&["whoami"]), &["does not know this API key"]);
    let successor = Person { server: &server, key: rotated["key"].as_str().unwrap().to_owned() };
    assert_eq!(successor.json(&["whoami"])["scopes"], serde_json::json!(["audit"]));
    contains(&operator.refused(&["key", "rotate", "000000000000"]), &["no key"]);
    contains(&operator.refused(&["key", "rotate", id, "--overlap", "soon"]), &["overlap", "\"soon\"", "24h"]);

    // Who has logged in need not say where and who.
    let home = data.path("home");
    let at_home = |arguments: &[&str], key: &str| {
        let mut command = vitrine(arguments);
        let mut child = command
            .env("HOME", &home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        use std::io::Write;
        // It may not read what it is given.
        let _ = child.stdin.take().unwrap().write_all(format!("{key}\n").as_bytes());
        child.wait_with_output().unwrap()
    };
    let wrong = at_home(&["login", "--host", &server.url], "wrong");
    assert_eq!(wrong.status.code(), Some(1));
    contains(&text(&wrong.stderr), &["does not know this API key"]);
    let login = at_home(&["login", "--host", &server.url], KEY);
    assert!(login.status.success() && !text(&login.stderr).contains(KEY), "{}", text(&login.stderr));
    let whoami = at_home(&["whoami", "--json"], "");
    assert_eq!(serde_json::from_slice::<Value>(&whoami.stdout).unwrap()["tenant"], "local");
    let kept = fs::metadata(home.join(".config/vitrine/login.json")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&kept.permissions()) & 0o777, 0o600);
    // The key is for that server and for no other.
    let elsewhere = at_home(&["whoami", "--host", "http://127.0.0.1:9"], "");
    contains(&text(&elsewhere.stderr), &["no API key was given", "vitrine login"]);
    let doctor = at_home(&["doctor"], "");
    let doctor = (doctor.status.code(), text(&doctor.stdout));
    contains(&doctor.1, &["ok    a server answers", "ok    it takes jobs", "ndif-test/tiny-gpt2", "the tenant local"]);
    assert_eq!(doctor.0, Some(0), "{}", doctor.1);
    assert!(at_home(&["login", "--forget"], "").status.success());
    let doctor = at_home(&["doctor", "--host", &server.url], "");
    assert_eq!(doctor.status.code(), Some(1));
    contains(&text(&doctor.stdout), &["fix   no API key was given"]);
    contains(&text(&vitrine(&["completions", "bash"]).output().unwrap().stdout), &["complete", "rotate", "quota"]);
}

#[test]
fn jobs_of_a_class_are_given_out_as_its_floor_has_it_whoever_came_first() {
    let data = Data::default();
    let server = data.up().key().tiny_models().canned().start();
    let operator = Person { server: &server, key: KEY.into() };
    let (patient, urgent) = (operator.tenant("patient"), operator.tenant("urgent"));
    operator.does(&["tenant", "set", "patient", "--class", "low"]);
    operator.does(&["tenant", "set", "urgent", "--class", "high"]);
    contains(&operator.does(&["tenant", "list"]), &["CLASS", "low", "high", "normal"]);
    assert_eq!(operator.json(&["tenant", "create", "third", "--class", "low"])["class"], "low");
    // A key is less urgent than its tenant where it says so, and never more.
    let create = |tenant: &str, class: &str| ["key", "create", "--tenant", tenant, "--class", class].map(str::to_owned);
    let run = |arguments: [String; 6]| operator.run(&arguments.each_ref().map(String::as_str));
    let refused = run(create("patient", "high"));
    assert_eq!(refused.status.code(), Some(1));
    contains(&text(&refused.stderr), &["a key is not more urgent than its tenant, and patient has the class low"]);
    let less = Person { server: &server, key: text(&run(create("urgent", "normal")).stdout).trim().to_owned() };
    for (person, class) in [(&patient, "low"), (&urgent, "high"), (&less, "normal"), (&operator, "normal")] {
        assert_eq!(person.json(&["whoami"])["class"], class);
    }
    let wrong = operator.ask("PATCH", "/v1/tenants/patient", r#"{"class": "urgent"}"#);
    assert_eq!(wrong.status, 400);
    contains(&text(&wrong.body), &["a class is high, normal or low"]);

    let (gate, never) = (data.path("gate"), data.path("never"));
    let [mut first, mut low, mut high] = [&operator, &patient, &urgent].map(Person::client);
    let jobs = |client: &mut Conversation, file: &std::path::Path, many: usize| -> Vec<String> {
        (0..many).map(|_| submit(client, &format!("wait {}", file.display()))).collect()
    };
    let holding = jobs(&mut first, &gate, 8);
    holding.iter().for_each(|job| is(&operator, job, "running"));
    let (low_jobs, high_jobs) = (jobs(&mut low, &never, 10), jobs(&mut high, &never, 10));
    is(&operator, &high_jobs[9], "queued");
    // When it is over is told before it is.
    let waits = until("a time by which it must start", || {
        Some(urgent.json(&["job", "show", &high_jobs[9]])).filter(|job| job["must_start_by"].is_string())
    });
    assert_eq!((&waits["class"], &waits["must_end_by"]), (&"high".into(), &Value::Null));
    contains(&urgent.does(&["job", "show", &high_jobs[9]]), &["must start by", "may run", "600.0 s"]);
    let runs = operator.json(&["job", "show", &holding[0]]);
    assert_eq!((runs["must_end_by"].is_string(), &runs["must_start_by"]), (true, &Value::Null));
    // Who waits is seen at a glance; who does not operate sees what is theirs.
    let frame = until("a frame of all eight", || {
        // What a node has is told now and then.
        Some(operator.does(&["top", "--once"])).filter(|frame| frame.contains("8 of 8 places are taken"))
    });
    contains(&frame, &["all is well", "20 wait, 8 run", "patient", "urgent", "ndif-test/tiny-gpt2"]);
    let own = patient.json(&["top"]);
    assert_eq!((own["queue"].as_array().unwrap().len(), &own["queue"][0]["waiting"]), (1, &10.into()));
    contains(&operator.refused(&["top"]), &["no terminal to draw on", "--once"]);

    // Those of the class low came first; of eight places they get one by their floor, as those become free, and no other that is
    // kept for who comes with little.
    fs::write(&gate, "").unwrap();
    holding.iter().for_each(|job| is(&operator, job, "completed"));
    let had = until("seven that run", || {
        // Of one moment.
        let queue = operator.json(&["top"])["queue"].clone();
        let had = ["urgent", "patient"].map(|tenant| {
            let line = queue.as_array().unwrap().iter().find(|line| line["tenant"] == tenant);
            line.map_or(0, |line| line["running"].as_u64().unwrap())
        });
        (had[0] + had[1] >= 7).then_some(had)
    });
    assert!(had[0] >= 5 && (1..=2).contains(&had[1]), "high and low have {had:?}");
    assert_eq!(operator.json(&["job", "show", &low_jobs[0]])["class"], "low");
}
