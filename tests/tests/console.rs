//! The pages at `/admin` and `/me`: what they refuse, and, in a real browser, all that people see and do there.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ids::{JobId, KeyId, ModelKey, TenantId, WorkerId};
use serde_json::{Value, json};
use store::history::{Minute, What};
use store::job::Event;
use store::{Blob, Fault, History, JobRecord, MetadataStore, RedbStore};
use tests::browser::{chromium, look};
use tests::http::{Answer, ask};
use tests::{Conversation, Data, KEY, Server, python, root, until};

/// What one browser sends.
struct Browser<'a> {
    server: &'a Server,
    cookie: String,
}

impl<'a> Browser<'a> {
    fn sign_in(server: &'a Server, key: &str) -> Self {
        let answer = post(server, "/sign-in", &[&origin(server)], &format!("key={key}"));
        assert_eq!(answer.status, 303, "{}", text(&answer));
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        Self { server, cookie: format!("Cookie: {cookie}") }
    }

    fn get(&self, path: &str) -> Answer {
        ask(&self.server.url, "GET", path, &[&self.cookie], b"")
    }

    fn post(&self, path: &str, headers: &[&str], body: &str) -> Answer {
        post(self.server, path, &[&[self.cookie.as_str()], headers].concat(), body)
    }
}

fn post(server: &Server, path: &str, headers: &[&str], body: &str) -> Answer {
    ask(&server.url, "POST", path, headers, body.as_bytes())
}

fn origin(server: &Server) -> String {
    format!("Origin: {}", server.url)
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

fn v1(server: &Server, method: &str, path: &str, body: &Value) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = ask(&server.url, method, path, &[&format!("Authorization: Bearer {KEY}")], body.as_bytes());
    assert!(answer.status < 300, "{method} {path}: {}", text(&answer));
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

/// Makes a tenant, if it is not there, and a key of it.
fn key(server: &Server, tenant: &str, scopes: &[&str]) -> (String, String) {
    let known = v1(server, "GET", "/v1/tenants", &Value::Null);
    if !known["tenants"].as_array().unwrap().iter().any(|it| it["name"] == tenant) {
        v1(server, "POST", "/v1/tenants", &json!({ "name": tenant }));
    }
    let made = v1(server, "POST", "/v1/keys", &json!({ "tenant": tenant, "scopes": scopes }));
    (made["key"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned())
}

#[test]
fn what_a_browser_keeps_counts_for_pages_alone_and_ends_with_its_key() {
    let data = Data::default();
    let server = data.up().key().tiny_models().canned().start();
    let (ada, id) = key(&server, "ada", &["submit", "read-own"]);

    // Nobody is sent to sign in, and comes back to where they wanted to go.
    let nobody = ask(&server.url, "GET", "/admin/jobs?state=failed", &[], b"");
    assert_eq!(
        (nobody.status, nobody.header("location")),
        (303, Some("/sign-in?next=%2fadmin%2fjobs%3fstate%3dfailed"))
    );
    let wrong = post(&server, "/sign-in", &[&origin(&server)], "key=wrong&next=/admin");
    assert_eq!((wrong.status, wrong.header("set-cookie")), (401, None));
    assert!(text(&wrong).contains("invalid API key"), "{}", text(&wrong));
    let elsewhere = post(&server, "/sign-in", &[&origin(&server)], &format!("key={ada}&next=//example.org/admin"));
    assert_eq!((elsewhere.status, elsewhere.header("location")), (303, Some("/me")));
    let cookie = elsewhere.header("set-cookie").unwrap();
    for word in ["httponly", "samesite=strict", "path=/", "max-age=43200"] {
        assert!(cookie.contains(word), "{word} is not in {cookie}");
    }
    assert!(!cookie.contains(&ada), "the key itself is not kept");

    let browser = Browser::sign_in(&server, &ada);
    let me = browser.get("/me");
    assert_eq!(me.status, 200);
    for (name, value) in [
        ("content-security-policy", "default-src 'none'; style-src 'self'; script-src 'self'"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        assert!(me.header(name).is_some_and(|found| found.starts_with(value)), "{name}: {:?}", me.header(name));
    }
    // It is no key, and no other part of the server takes it.
    for path in ["/v1/whoami", "/v1/jobs"] {
        assert_eq!(browser.get(path).status, 401, "{path}");
    }
    assert_eq!(browser.get("/admin").status, 403);
    let forged = Browser { server: &server, cookie: browser.cookie.replace(&id, "0123456789ab") };
    assert_eq!(forged.get("/me").status, 303);

    v1(&server, "DELETE", &format!("/v1/keys/{id}"), &Value::Null);
    assert_eq!(browser.get("/me").status, 303, "its key was revoked");
}

#[test]
fn a_form_of_another_site_does_nothing() {
    let data = Data::default();
    let server = data.up().key().tiny_models().canned().start();
    let browser = Browser::sign_in(&server, KEY);
    let create = |headers: &[&str], name: &str| browser.post("/admin/tenants", headers, &format!("name={name}"));
    let ours = origin(&server);
    for headers in [
        &[][..],
        &["Origin: https://example.org"],
        &["Origin: null"],
        &["Sec-Fetch-Site: cross-site"],
        &["Sec-Fetch-Site: same-site"],
        // What the browser says of the whole counts, whatever else is there.
        &["Sec-Fetch-Site: cross-site", &ours],
    ] {
        let answer = create(headers, "theirs");
        assert_eq!(answer.status, 403, "{headers:?}");
        assert!(text(&answer).contains("not sent from a page of this server"), "{}", text(&answer));
    }
    assert_eq!(post(&server, "/sign-in", &["Origin: https://example.org"], &format!("key={KEY}")).status, 403);
    assert_eq!(create(&[&ours], "by-origin").status, 303);
    assert_eq!(create(&["Sec-Fetch-Site: same-origin"], "by-site").status, 303);
    let tenants = v1(&server, "GET", "/v1/tenants", &Value::Null);
    let names: Vec<&str> =
        tenants["tenants"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["by-origin", "by-site", "local"]);
}

#[test]
fn a_model_is_booked_and_taken_back_on_the_page_of_models() {
    let data = Data::default();
    let server = data.up().key().tiny_models().one_thread().start();
    let (ours, operator) = (origin(&server), Browser::sign_in(&server, KEY));
    // As a browser writes a time: to the minute, without a zone.
    let typed = |hours: u64| {
        let time = humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(hours * 3600)).to_string();
        time[..16].to_owned()
    };
    let (from, to) = (typed(24), typed(26));
    let form = format!("model=ndif-test/tiny-gpt2&from={from}&to={to}&daily=yes&replicas=1&tenant=");
    let booked = operator.post("/admin/windows", &[&ours], &form);
    assert_eq!(booked.status, 303, "{}", text(&booked));
    let windows = v1(&server, "GET", "/v1/models/ndif-test%2Ftiny-gpt2", &Value::Null)["windows"].clone();
    assert_eq!((&windows[0]["from"], &windows[0]["daily"]), (&json!(format!("{from}:00Z")), &json!(true)));
    let shown = text(&operator.get("/admin/models"));
    assert!(shown.contains(&format!("{from}:00Z")) && shown.contains("daily"), "{shown}");
    // What cannot be is said on the page, with what was typed.
    let refused = operator.post("/admin/windows", &[&ours], &form.replace(&to, &typed(20)));
    assert_eq!(refused.status, 400);
    let shown = text(&refused);
    assert!(
        shown.contains("a window must end after it begins") && shown.contains(&format!("value=\"{from}\"")),
        "{shown}"
    );
    let path = format!("/admin/models/ndif-test%2Ftiny-gpt2/windows/{}/remove", windows[0]["id"]);
    assert_eq!(operator.post(&path, &[&ours], "").status, 303);
    assert!(text(&operator.get("/admin/models")).contains("No model is booked"));
    assert_eq!(operator.post(&path, &[&ours], "").status, 404);
}

#[test]
fn no_act_is_done_for_who_may_not_do_it() {
    let data = Data::default();
    let server = data.up().key().tiny_models().canned().start();
    let (ada, id) = key(&server, "ada", &["submit", "read-own"]);
    let (operator, _) = key(&server, "ops", &["operate"]);
    let (submitter, _) = key(&server, "ada", &["submit"]);
    let never = "01234567-89ab-7def-8123-456789abcdef";
    let acts = |browser: &Browser<'_>| -> Vec<u16> {
        [
            "/admin/tenants".to_owned(),
            "/admin/tenants/ada/suspend".into(),
            "/admin/tenants/ada/resume".into(),
            "/admin/keys".into(),
            format!("/admin/keys/{id}/revoke"),
            "/admin/tenants/ada/quota".into(),
            "/admin/tenants/ada/class".into(),
            "/admin/workers/none/drain".into(),
            "/admin/models".into(),
            "/admin/models/ndif-test%2Ftiny-gpt2/change".into(),
            "/admin/models/ndif-test%2Fnone/evict".into(),
            "/admin/models/ndif-test%2Ftiny-gpt2/windows/1/remove".into(),
            "/admin/windows".into(),
            format!("/admin/jobs/{never}/cancel"),
            format!("/me/jobs/{never}/cancel"),
            // A key makes no keys, nor ends any, but an administrator's.
            "/me/keys".into(),
            format!("/me/keys/{id}/revoke"),
        ]
        .iter()
        .map(|path| browser.post(path, &[&origin(&server)], "name=x&tenant=ada&submit=yes").status)
        .collect()
    };
    let nobody = Browser { server: &server, cookie: "Cookie: none".into() };
    assert_eq!(acts(&nobody), [303; 17], "who is nobody is asked to sign in");
    assert_eq!(acts(&Browser::sign_in(&server, &ada)), [&[403; 14][..], &[404, 403, 403]].concat());
    // The form that the models are sent is not theirs.
    assert_eq!(
        acts(&Browser::sign_in(&server, &operator)),
        [403, 403, 403, 403, 403, 403, 403, 404, 400, 400, 404, 404, 400, 404, 403, 403, 403]
    );
    assert_eq!(acts(&Browser::sign_in(&server, &submitter)), [403; 17]);
    for path in ["/admin/live?parts=queue", "/me/live"] {
        assert_eq!(Browser::sign_in(&server, &submitter).get(path).status, 403, "{path}");
    }
    // Administrators are what the trail is about.
    let (administrator, _) = key(&server, "ops", &["admin"]);
    assert_eq!(Browser::sign_in(&server, &administrator).get("/admin/audit").status, 403);
    let keys = v1(&server, "GET", "/v1/keys", &Value::Null);
    assert_eq!(keys["keys"].as_array().unwrap().len(), 5);
    let tenant = v1(&server, "GET", "/v1/tenants/ada", &Value::Null);
    assert!(tenant["suspended_at"].is_null() && tenant["quota"].as_object().unwrap().values().all(Value::is_null));
    let models = v1(&server, "GET", "/v1/models", &Value::Null);
    assert!(models["models"].as_array().unwrap().iter().all(|model| model["replicas"]["max"].is_null()));
}

#[test]
fn what_is_done_and_refused_on_pages_is_in_the_audit_trail() {
    let data = Data::default();
    let server = data.up().key().tiny_models().canned().start();
    let (auditor, _) = key(&server, "audit", &["audit"]);
    let administrator = Browser::sign_in(&server, KEY);
    let ours = origin(&server);
    assert_eq!(administrator.post("/admin/tenants", &[&ours], "name=lab-a").status, 303);
    assert_eq!(administrator.post("/admin/tenants/lab-a/suspend", &[&ours], "").status, 303);
    let gone = "tenant=lab-a&submit=yes&note=a&cancel_when_gone=";
    assert_eq!(administrator.post("/admin/keys", &[&ours], &format!("{gone}soon")).status, 400);
    let made = administrator.post("/admin/keys", &[&ours], &format!("{gone}30s"));
    assert_eq!(made.status, 200);
    assert!(text(&made).contains("ends its jobs 30s after their client is gone"), "{}", text(&made));
    assert_eq!(administrator.post("/admin/tenants/lab-a/quota", &[&ours], "queued_jobs=3&stored_bytes=").status, 303);
    assert_eq!(administrator.post("/admin/tenants/lab-a/class", &[&ours], "class=low").status, 303);
    assert_eq!(administrator.post("/admin/tenants/lab-a/class", &[&ours], "class=urgent").status, 400);
    let folder = tests::model("tiny-gpt2");
    let host = format!("model=org/twin&folder={}&least=&most=2", folder.display());
    assert_eq!(administrator.post("/admin/models", &[&ours], &host).status, 303);
    let twin = |act: &str, form: &str| administrator.post(&format!("/admin/models/org%2Ftwin/{act}"), &[&ours], form);
    let before = v1(&server, "GET", "/v1/models/org%2Ftwin", &Value::Null);
    assert_eq!((&before["replicas"]["min"], &before["replicas"]["max"]), (&json!(0), &json!(2)));
    assert_eq!(twin("change", "least=1&most=4&pinned=yes").status, 303);
    // What cannot be is said on the page, and changes nothing.
    for (form, sentence) in
        [("least=5&most=4", "the most must not be less"), ("least=few&most=", "which is no whole number")]
    {
        let refused = twin("change", form);
        assert_eq!(refused.status, 400, "{form}");
        assert!(text(&refused).contains(sentence), "{}", text(&refused));
    }
    let again = administrator.post("/admin/models", &[&ours], &host);
    assert_eq!(again.status, 409);
    assert!(text(&again).contains("org/twin is hosted already"), "{}", text(&again));
    let nowhere = administrator.post("/admin/models", &[&ours], "model=org/other&folder=/nowhere");
    assert_eq!(nowhere.status, 400);
    assert!(text(&nowhere).contains("value=\"org/other\""), "what was typed is there: {}", text(&nowhere));
    let after = v1(&server, "GET", "/v1/models/org%2Ftwin", &Value::Null);
    assert_eq!(
        (&after["replicas"]["min"], &after["replicas"]["max"], &after["pinned"]),
        (&json!(1), &json!(4), &json!(true))
    );
    assert_eq!(twin("evict", "").status, 303);
    let quota = v1(&server, "GET", "/v1/tenants/lab-a", &Value::Null)["quota"].clone();
    assert_eq!((&quota["queued_jobs"], &quota["stored_bytes"]), (&json!(3), &Value::Null));
    assert_eq!(post(&server, "/sign-in", &[&ours], "key=wrong").status, 401);
    // Who may read the trail and nothing else begins there.
    let signed_in = post(&server, "/sign-in", &[&ours], &format!("key={auditor}"));
    assert_eq!(signed_in.header("location"), Some("/admin/audit"));
    let auditor = Browser::sign_in(&server, &auditor);
    assert_eq!(auditor.get("/admin").status, 403);
    let page = text(&auditor.get("/admin/audit"));
    for told in [
        "made the tenant lab-a",
        "suspended the tenant lab-a",
        "of lab-a, which permits submit",
        "gave the tenant lab-a the quota 3 jobs that wait or run",
        "gave the tenant lab-a the class low",
        "hosted org/twin of",
        "gave org/twin 1 to 4 replicas, pinned",
        "hosts org/twin no longer",
        "invalid API key",
        "POST /admin/tenants/{name}/suspend",
    ] {
        assert!(page.contains(told), "{told} is not in {page}");
    }
    let refused = text(&auditor.get("/admin/audit?outcome=refused"));
    assert!(refused.contains("invalid API key") && !refused.contains("made the tenant"), "{refused}");
    assert_eq!(auditor.get("/admin/audit?outcome=else").status, 400);
}

#[test]
fn the_cell_of_a_researchers_page_works_when_it_is_pasted() {
    let data = Data::default();
    let server = data.up().key().tiny_models().one_thread().start();
    let page = text(&Browser::sign_in(&server, KEY).get("/me"));
    let cell = page.split("data-copy>").nth(1).unwrap().split("</pre>").next().unwrap();
    let cell = cell.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    assert!(cell.contains(&server.url) && cell.contains("ndif-test/tiny-gpt2"), "{cell}");
    let file = data.path("cell.py");
    fs::write(&file, cell).unwrap();
    let mut client = python("poll.py");
    let mut command = Command::new(client.command.get_program());
    command.arg(&file).env("NDIF_API_KEY", KEY);
    for (name, value) in client.command.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    client.command = command;
    client.succeed();
    let job = &v1(&server, "GET", "/v1/jobs", &Value::Null)["jobs"][0];
    assert_eq!(job["state"], "completed");
}

fn submit(client: &mut Conversation, directive: &str) -> String {
    client.say(&format!("submit canned:{directive}"));
    client.expect("job ")
}

#[test]
fn people_see_and_do_everything_in_a_browser() {
    let data = Data::default();
    a_day_has_passed(&data);
    let server = data.up().key().tiny_models().canned().start();
    let (ada, _) = key(&server, "ada", &["submit", "read-own"]);
    let (bob, _) = key(&server, "bob", &["submit", "read-own"]);
    let (operate, _) = key(&server, "ops", &["operate"]);
    let (audit, _) = key(&server, "ops", &["audit"]);
    v1(&server, "POST", "/v1/tenants", &json!({ "name": "lab-b" }));
    let quota = json!({ "queued_jobs": 40, "device_seconds_per_day": 3600, "stored_bytes": 8 << 20 });
    v1(&server, "PUT", "/v1/tenants/ada/quota", &quota);
    let client = |key: &str| {
        let client = server.client("poll.py").env("NDIF_API_KEY", key).start();
        client.expect("here");
        client
    };
    let (mut of_ada, mut of_bob) = (client(&ada), client(&bob));
    let done = submit(&mut of_ada, "print the residual stream of layer 7 is kept");
    let failed = submit(&mut of_ada, "fail ValueError: as told");
    let is = |job: &str, state: &str| v1(&server, "GET", &format!("/v1/jobs/{job}"), &Value::Null)["state"] == state;
    until("the first jobs' ends", || is(&done, "completed") && is(&failed, "failed"));
    // Two that nobody lets go on, to be cancelled; six that wait for the browser, and some behind them.
    let never = data.path("never");
    let gate = data.path("gate");
    let [first, second] = [(); 2].map(|()| submit(&mut of_ada, &format!("wait {}", never.display())));
    let mut last = String::new();
    for number in 0..11 {
        let client = if number % 3 == 2 { &mut of_bob } else { &mut of_ada };
        last = submit(client, &format!("wait {}", gate.display()));
    }
    of_ada.finish();
    of_bob.finish();
    let waits = |job: &str| is(job, "queued");
    until("a queue", || waits(&last));

    let pictures = root().join("target/console");
    fs::create_dir_all(&pictures).unwrap();
    let there = json!({
        "url": server.url, "chromium": chromium(), "pictures": pictures, "gate": gate,
        "folder": tests::model("tiny-gpt2"),
        "keys": { "admin": KEY, "operate": operate, "audit": audit, "ada": ada, "bob": bob },
        "jobs": { "done": done, "failed": failed, "waiting": last, "first": first, "second": second },
    });
    let began = Instant::now();
    let told = look("console.mjs", &there);
    assert_eq!(told.lines().filter(|line| line.starts_with("ok ")).count(), 18, "{told}");
    println!("{told}in {:.0} s; pictures are in {}", began.elapsed().as_secs_f64(), pictures.display());
}

/// Writes the history of a day before a server's first start, of a cluster that two tenants use in their hours of work and
/// that loses a worker once: the same on every run.
fn a_day_has_passed(data: &Data) {
    let folder = data.path("data");
    fs::create_dir_all(&folder).unwrap();
    let store: Arc<dyn MetadataStore> = Arc::new(RedbStore::open(folder.join("metadata.redb")).unwrap());
    let history = History::new(store);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 60;
    let mut random = 7u64;
    let mut below = |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound.max(1)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let model = ModelKey::new("ndif-test/tiny-gpt2", None);
    for ago in (0..24 * 60u32).rev() {
        let mut minute = Minute::default();
        // The day's two waves, and an hour in which everything waited.
        let wave = |offset: f64| ((f64::from(ago) / 1440.0 + offset) * std::f64::consts::TAU).sin().max(0.0);
        let late = (300..345).contains(&ago);
        for (tenant, load) in [("ada", 14.0 * wave(0.1)), ("bob", 6.0 * wave(0.45)), ("lab-b", 1.5)] {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few jobs")]
            let jobs = load as u64 + below(3);
            for _ in 0..jobs {
                let wait = if late { 20_000 + below(60_000) } else { 20 + below(400) };
                let accepted = JobRecord::queued(
                    JobId::new(),
                    TenantId::new(tenant),
                    KeyId::new("k"),
                    model.clone(),
                    Blob::Inline(vec![7].into()),
                    1_000,
                );
                let given = Event::Dispatched { worker: WorkerId::new("w"), epoch: 0 };
                let given = accepted.after(0, &given, 1_000 + wait).unwrap();
                let started = given.after(1, &Event::Started, given.dispatched_at + 5).unwrap();
                let failed = |fault| Event::Failed { fault, text: String::new(), meta: String::new() };
                let event = match below(60) {
                    0..4 => failed(Fault::User),
                    4 => failed(Fault::Limit),
                    5 => Event::Cancelled,
                    6 if late => failed(Fault::Server),
                    _ => {
                        let (shared, skipped) = (1.0 + load / 3.0, below(9));
                        let meta = json!({
                            "forwards": 1, "occupancy": shared, "rows": 4, "forks": below(3),
                            "layers_run": 12 - skipped, "layers_skipped": skipped,
                        });
                        Event::Finished { result: Blob::Inline(vec![1].into()), meta: meta.to_string() }
                    }
                };
                minute.given(&given);
                minute.ended(&started.after(1, &event, started.started_at + 100 + below(4_000)).unwrap());
            }
            minute.run((jobs / 2).min(8));
            minute.waits(&TenantId::new(tenant), &model, if late { 5 + below(30) } else { below(2) });
        }
        let at = (now - u64::from(ago)) * 60_000;
        if ago == 345 {
            minute.happened(at, What::WorkerDied(WorkerId::new("gpu-2")));
        }
        if ago == 301 {
            minute.happened(at, What::WorkerCame(WorkerId::new("gpu-2")));
        }
        runtime.block_on(history.put(now - u64::from(ago), 0, &minute)).unwrap();
    }
}
