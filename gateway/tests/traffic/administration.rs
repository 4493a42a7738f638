//! `/v1`: who may do what there, and how soon it counts at every gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use auth::{Grant, Keys, Scope, Secret, ServerSecret};
use futures::future::join_all;
use gateway::Settings;
use gateway::routes::{CLIENTS, Takes, V1};
use ids::{JobId, TenantId, WorkerId};
use program::Batching;
use serde_json::json;
use store::{
    Certificates, DeviceMemory, Entry, Error, Lease, Limits, MemoryStore, MetadataStore, NodeRecord, Nodes, Page,
    Range, Revision, Txn, TxnOutcome, Watch,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::several::gateways;
use crate::site::{Answer, Site, pickle};

/// The methods, paths and bodies of the interface; `{job}` is one of Ada's, `{none}` nobody's.
const ROUTES: [(&str, &str, &str); 26] = [
    ("GET", "/v1/whoami", ""),
    ("GET", "/v1/tenants", ""),
    ("POST", "/v1/tenants", "{\"name\": \"ada\"}"),
    ("GET", "/v1/tenants/ada", ""),
    ("GET", "/v1/tenants/nobody", ""),
    ("PATCH", "/v1/tenants/ada", "{\"suspended\": false}"),
    ("GET", "/v1/keys", ""),
    ("POST", "/v1/keys", "{\"tenant\": \"nobody\"}"),
    ("DELETE", "/v1/keys/000000000000", ""),
    ("GET", "/v1/jobs", ""),
    ("GET", "/v1/jobs/{job}", ""),
    ("GET", "/v1/jobs/{none}", ""),
    ("GET", "/v1/jobs/{job}/logs", ""),
    ("DELETE", "/v1/jobs/{none}", ""),
    ("DELETE", "/v1/jobs/{job}", ""),
    ("GET", "/v1/jobs/{job}/result", ""),
    ("GET", "/v1/jobs/{none}/events", ""),
    ("GET", "/v1/tenants/ada/quota", ""),
    ("PUT", "/v1/tenants/ada/quota", "{}"),
    ("PUT", "/v1/keys/000000000000/quota", "{}"),
    ("PATCH", "/v1/keys/000000000000", "{\"note\": null}"),
    ("POST", "/v1/keys/000000000000/rotate", "{}"),
    ("GET", "/v1/usage", ""),
    ("GET", "/v1/usage?tenant=ada", ""),
    ("GET", "/v1/audit", ""),
    ("GET", "/v1/queue", ""),
];

/// What each route answers: to nobody, to a wrong key, to a key of Ada's that may do nothing, to Bob, to Ada, to an
/// operator and to an administrator of other tenants.
const STATUSES: [[u16; 7]; 26] = [
    [401, 401, 200, 200, 200, 200, 200],
    [401, 401, 403, 403, 403, 403, 200],
    [401, 401, 403, 403, 403, 403, 409],
    [401, 401, 403, 403, 403, 403, 200],
    [401, 401, 403, 403, 403, 403, 404],
    [401, 401, 403, 403, 403, 403, 200],
    [401, 401, 403, 403, 403, 403, 200],
    [401, 401, 403, 403, 403, 403, 404],
    [401, 401, 403, 403, 403, 403, 404],
    [401, 401, 403, 200, 200, 200, 200],
    [401, 401, 403, 404, 200, 200, 200],
    [401, 401, 403, 404, 404, 404, 404],
    [401, 401, 403, 404, 200, 403, 403],
    [401, 401, 403, 404, 404, 404, 404],
    [401, 401, 403, 404, 202, 202, 202],
    [401, 401, 403, 404, 404, 403, 403],
    [401, 401, 403, 404, 404, 403, 404],
    [401, 401, 403, 403, 403, 403, 200],
    [401, 401, 403, 403, 403, 403, 200],
    [401, 401, 403, 403, 403, 403, 404],
    [401, 401, 403, 403, 403, 403, 404],
    [401, 401, 403, 403, 403, 403, 404],
    [401, 401, 403, 200, 200, 200, 200],
    [401, 401, 403, 403, 200, 200, 200],
    [401, 401, 403, 403, 403, 403, 403],
    [401, 401, 403, 200, 200, 200, 200],
];

fn bearer(key: &str) -> String {
    format!("authorization: Bearer {key}\r\n")
}

async fn ask(site: &Site, key: &str, method: &str, path: &str, body: &str) -> Answer {
    site.ask(method, path, &bearer(key), body.as_bytes()).await
}

/// Makes a key of a tenant of its own, whose name is that of the key.
async fn register(store: &Arc<dyn MetadataStore>, name: &str, scopes: &[Scope]) {
    let keys = Keys::new(Arc::clone(store), &ServerSecret::load(store.as_ref()).await.unwrap());
    keys.register(&Secret::new(name), Grant::new(TenantId::new(name), scopes)).await.unwrap();
}

fn memory() -> Arc<dyn MetadataStore> {
    Arc::new(MemoryStore::new(1))
}

#[tokio::test]
async fn i1_each_route_of_v1_gives_each_key_what_it_may_see_and_nothing_else() {
    let store = memory();
    let [site] = gateways(&store, ["one"], Settings::default()).await;
    register(&store, "operator", &[Scope::Operate]).await;
    register(&store, "administrator", &[Scope::Admin]).await;
    let job = site.submit("ada", "", &pickle::payload(b"K\x07"), "").await.job();
    let known = ["key of ada that may do nothing", "key of bob", "key of ada", "operator", "administrator"].map(bearer);
    let keys: Vec<String> = [String::new(), bearer("wrong")].into_iter().chain(known).collect();
    for ((method, path, body), expected) in ROUTES.iter().zip(STATUSES) {
        let path = path.replace("{job}", &job.to_string()).replace("{none}", &JobId::new().to_string());
        for (key, status) in keys.iter().zip(expected) {
            let answer = site.ask(method, &path, key, body.as_bytes()).await;
            assert_eq!(answer.status, status, "{method} {path} {key:?}");
            assert!(status < 400 || answer.json()["error"].is_string(), "{method} {path} {key:?}");
        }
    }
    for method in ["GET", "DELETE"] {
        let theirs = ask(&site, "key of bob", method, &format!("/v1/jobs/{job}"), "").await;
        let nobodys = ask(&site, "key of bob", method, &format!("/v1/jobs/{}", JobId::new()), "").await;
        assert_eq!((theirs.status, &theirs.body), (nobodys.status, &nobodys.body), "{method}");
    }
    // One header counts: nnsight's, where both are sent. Another scheme is no key of ours.
    let both = format!("ndif-api-key: key of bob\r\n{}", bearer("key of ada"));
    assert_eq!(site.ask("GET", "/v1/whoami", &both, b"").await.json()["tenant"], "bob");
    for (head, status) in [
        ("authorization: bearer key of ada\r\n", 200),
        ("authorization: Basic YTpi\r\n", 401),
        ("authorization: key of ada\r\n", 401),
        ("authorization: Bearer key of ada\r\nauthorization: Bearer key of bob\r\n", 401),
    ] {
        assert_eq!(site.ask("GET", "/v1/whoami", head, b"").await.status, status, "{head}");
    }
}

#[tokio::test]
async fn what_is_administered_at_one_gateway_counts_at_another() {
    let store = memory();
    let [here, there] = gateways(&store, ["here", "there"], Settings::default()).await;
    register(&store, "administrator", &[Scope::Admin]).await;
    let administer = async |method: &str, path: &str, body: &str, status: u16| {
        let answer = ask(&here, "administrator", method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}");
        answer
    };
    administer("POST", "/v1/tenants", &json!({ "name": "lab-b" }).to_string(), 201).await;
    let made = json!({ "tenant": "lab-b", "scopes": ["read-own"], "expires_in": "1h" }).to_string();
    let made = administer("POST", "/v1/keys", &made, 201).await.json();
    let (key, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    // At once where it was asked for, and at others as soon as they hear of it.
    let until = async |status: u16| {
        assert_eq!(ask(&here, key, "GET", "/v1/jobs", "").await.status, status);
        while ask(&there, key, "GET", "/v1/jobs", "").await.status != status {
            tokio::task::yield_now().await;
        }
    };
    until(200).await;
    administer("PATCH", "/v1/tenants/lab-b", "{\"suspended\": true}", 200).await;
    until(403).await;
    // To nnsight's clients somebody who is suspended is nobody, and the request says why.
    let whoami = there.ask("GET", "/whoami", &format!("ndif-api-key: {key}\r\n"), b"").await;
    assert_eq!(whoami.json(), json!({ "email": null, "tags": [] }));
    let refused = there.ask("POST", "/request", &format!("ndif-api-key: {key}\r\n"), b"").await;
    assert!(refused.status == 403 && refused.detail().contains("lab-b"), "{}", refused.detail());
    administer("PATCH", "/v1/tenants/lab-b", "{\"suspended\": false}", 200).await;
    until(200).await;
    administer("DELETE", &format!("/v1/keys/{id}"), "", 204).await;
    until(401).await;
}

#[tokio::test]
async fn a_body_that_is_not_as_it_should_be_makes_nothing() {
    let store = memory();
    let [site] = gateways(&store, ["one"], Settings::default()).await;
    register(&store, "administrator", &[Scope::Admin]).await;
    let before = ask(&site, "administrator", "GET", "/v1/keys", "").await.json();
    for (path, body, status) in [
        ("/v1/tenants", "", 400),
        ("/v1/tenants", "{}", 400),
        ("/v1/tenants", "{\"name\": \"Lab\"}", 400),
        ("/v1/tenants", "{\"name\": \"..\"}", 400),
        ("/v1/keys", "{\"tenant\": \"ada\", \"scope\": \"submit\"}", 400),
        ("/v1/keys", "{\"tenant\": \"ada\", \"scopes\": []}", 400),
        ("/v1/keys", "{\"tenant\": \"ada\", \"scopes\": [\"root\"]}", 400),
        ("/v1/keys", "{\"tenant\": \"ada\", \"expires_in\": \"1000000years\"}", 400),
        ("/v1/keys", "{\"tenant\": \"ada\", \"note\": \"two\\nlines\"}", 400),
        ("/v1/keys", "{\"tenant\": \"ada\", \"batching\": \"none\"}", 400),
        ("/v1/keys", &" ".repeat(100_000), 413),
    ] {
        let answer = ask(&site, "administrator", "POST", path, body).await;
        assert_eq!(answer.status, status, "{path} {body:.80}");
        assert!(answer.json()["error"].is_string(), "{path} {body:.80}");
    }
    assert_eq!(ask(&site, "administrator", "GET", "/v1/keys", "").await.json(), before);
    for query in ["state=done", "cursor=1", "limit=few", "sate=failed"] {
        let answer = ask(&site, "administrator", "GET", &format!("/v1/jobs?{query}"), "").await;
        assert_eq!(answer.status, 400, "{query}");
    }
}

/// Replaces what the placeholders of a path name.
fn fill(path: &str, job: &str, tenant: &str, key: &str) -> String {
    let path = path.replace("{model}", "lab%2Fmodel").replace("{node}", "gpu-1").replace("{window}", "1");
    path.replace("{job}", job).replace("{tenant}", tenant).replace("{key}", key)
}

#[tokio::test]
async fn i1_on_every_route_of_the_table_another_tenants_id_is_as_one_that_there_is_not() {
    let store = memory();
    let [site] = gateways(&store, ["one"], Settings::default()).await;
    let job = site.submit("ada", "", &pickle::payload(b"K\x07"), "").await.job();
    site.dispatch(job, 0).await;
    site.finish("ada", job, 1, 10).await;
    let key = site.keys.list().await.unwrap().remove(0).id.to_string();
    let (job, none) = (job.to_string(), JobId::new().to_string());
    let under = Batching::ALL.map(|batching| format!("/{batching}"));
    let plain = CLIENTS.iter().chain(V1).map(|route| (route, route.path.to_owned()));
    let chosen =
        CLIENTS.iter().flat_map(|route| under.iter().map(move |under| (route, format!("{under}{}", route.path))));
    let (mut jobs, mut named) = (0, 0);
    for (route, path) in plain.chain(chosen).filter(|(route, _)| route.takes != Takes::Nothing) {
        let body: &[u8] = if matches!(route.method, "POST" | "PUT" | "PATCH") { b"{}" } else { b"" };
        let asked = async |head: &str, path: &str| site.ask(route.method, path, head, body).await;
        let theirs = fill(&path, &job, "ada", &key);
        let nobodys = fill(&path, &none, "nobody", "000000000000");
        let what = format!("{} {path}", route.method);
        let closed = if route.takes == Takes::Link { 403 } else { 401 };
        assert_eq!(asked("", &theirs).await.status, closed, "{what}");
        assert_eq!(asked(&bearer("wrong"), &theirs).await.status, closed, "{what}");
        let powerless = match route.takes {
            // No model and no node has such a name.
            Takes::Key if path.contains("{model}") || path.contains("{node}") => 404,
            Takes::Key => 200,
            _ => 403,
        };
        assert_eq!(asked(&bearer("key of ada that may do nothing"), &theirs).await.status, powerless, "{what}");
        if theirs != path {
            let [one, other] =
                [asked(&bearer("key of bob"), &theirs).await, asked(&bearer("key of bob"), &nobodys).await];
            assert_eq!((one.status, &one.body), (other.status, &other.body), "{what}");
            // A job is one that there is not; who administers nothing learns of no tenant and no key. Models and nodes are
            // everybody's to look at, and there are none of these names.
            let seen = path.contains("{job}") && route.takes != Takes::Link || route.takes == Takes::Key;
            let expected = if seen { 404 } else { 403 };
            assert_eq!(one.status, expected, "{what}");
            if path.contains("{job}") { jobs += 1 } else { named += 1 }
        }
    }
    assert!(jobs >= 8 && named >= 8, "{jobs} {named}");
}

#[tokio::test]
async fn of_a_hundred_jobs_at_once_at_two_gateways_one_is_accepted_where_a_quota_has_room_for_one() {
    let store = memory();
    let [here, there] = gateways(&store, ["here", "there"], Settings::default()).await;
    register(&store, "administrator", &[Scope::Admin]).await;
    let quota = json!({ "queued_jobs": 3 }).to_string();
    let answer = ask(&here, "administrator", "PUT", "/v1/tenants/ada/quota", &quota).await;
    assert_eq!((answer.status, &answer.json()["quota"]["queued_jobs"]), (200, &json!(3)));
    while there.ask("GET", "/v1/whoami", &bearer("key of ada"), b"").await.json()["quota"]["queued_jobs"] != 3 {
        tokio::task::yield_now().await;
    }
    let program = pickle::payload(b"K\x07");
    let first: Vec<JobId> =
        [here.submit("ada", "", &program, "").await.job(), there.submit("ada", "", &program, "").await.job()].to_vec();
    let tries = (0..100).map(|number| {
        let (site, program) = (if number % 2 == 0 { &here } else { &there }, &program);
        async move { site.submit("ada", "", program, "").await }
    });
    let answers = futures::future::join_all(tries).await;
    let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(200), count(429)), (1, 99));
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(refused.retry_after(), Some(10));
    let sentence = "the tenant ada has a quota of 3 jobs that wait or run at once, and 3 do; there is room when one of them has ended";
    assert_eq!(refused.detail(), sentence);
    let whoami = ask(&there, "key of ada", "GET", "/v1/whoami", "").await.json();
    assert_eq!((&whoami["used"]["queued_jobs"], &whoami["key_used"]), (&json!(3), &json!(null)));
    // Others have their own, and there is room when one has ended.
    assert_eq!(there.submit("bob", "", &program, "").await.status, 200);
    here.dispatch(first[0], 0).await;
    here.finish("ada", first[0], 1, 10).await;
    assert_eq!(there.submit("ada", "", &program, "").await.status, 200);
    assert_eq!(here.submit("ada", "", &program, "").await.status, 429);
    ask(&there, "administrator", "PUT", "/v1/tenants/ada/quota", "{}").await;
    assert_eq!(there.submit("ada", "", &program, "").await.status, 200);
    for (body, word) in
        [("{\"jobs\": 1}", "jobs"), ("{\"requests_per_second\": 0}", "at least 1"), ("{\"queued_jobs\": -1}", "-1")]
    {
        let answer = ask(&here, "administrator", "PUT", "/v1/tenants/ada/quota", body).await;
        assert!(answer.status == 400 && answer.json()["error"].as_str().unwrap().contains(word), "{}", answer.json());
    }
}

#[tokio::test]
async fn a_key_is_given_a_role_a_project_models_and_a_successor() {
    let store = memory();
    let [site] = gateways(&store, ["one"], Settings::default()).await;
    register(&store, "administrator", &[Scope::Admin]).await;
    let administer = async |method: &str, path: &str, body: serde_json::Value, status: u16| {
        let answer = ask(&site, "administrator", method, path, &body.to_string()).await;
        assert_eq!(answer.status, status, "{method} {path}");
        answer.json()
    };
    let made = administer("POST", "/v1/keys", json!({ "tenant": "ada", "role": "auditor" }), 201).await;
    assert_eq!(made["scopes"], json!(["audit"]));
    administer("POST", "/v1/keys", json!({ "tenant": "ada", "role": "auditor", "scopes": ["submit"] }), 400).await;
    administer("POST", "/v1/keys", json!({ "tenant": "ada", "role": "boss" }), 400).await;
    let create = json!({ "tenant": "ada", "project": "probes", "models": ["other/*"] });
    let made = administer("POST", "/v1/keys", create, 201).await;
    let (id, key) = (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned());
    let submit = async |key: &str| {
        let head = format!("{}ndif-api-key: {key}\r\n", crate::site::FORM);
        site.ask("POST", "/request", &head, &crate::site::form("", &pickle::payload(b"K\x07"))).await
    };
    let refused = submit(&key).await;
    assert!(refused.status == 403 && refused.detail().starts_with("model o/n is hosted here, and not for you"));
    let path = format!("/v1/keys/{id}");
    administer("PATCH", &path, json!({ "models": ["o/n"] }), 200).await;
    assert_eq!(submit(&key).await.status, 200);
    administer("PATCH", "/v1/tenants/ada", json!({ "models": [] }), 200).await;
    assert_eq!(submit(&key).await.status, 403, "a key has no more than its tenant");
    administer("PATCH", "/v1/tenants/ada", json!({ "models": null }), 200).await;
    let rotated = administer("POST", &format!("{path}/rotate"), json!({ "overlap": "1h" }), 201).await;
    let new = rotated["key"].as_str().unwrap();
    assert_eq!((&rotated["project"], &rotated["replaces"]["id"]), (&json!("probes"), &json!(id)));
    for key in [&key, new] {
        let whoami = ask(&site, key, "GET", "/v1/whoami", "").await;
        assert_eq!((whoami.status, &whoami.json()["project"]), (200, &json!("probes")));
    }
    administer("POST", &format!("{path}/rotate"), json!({ "overlap": "0s" }), 201).await;
    assert_eq!(ask(&site, &key, "GET", "/v1/whoami", "").await.status, 401);
    // The ledger has its jobs under the project, whatever the key permits later.
    let job = submit(new).await.job();
    site.dispatch(job, 0).await;
    site.finish("ada", job, 1, 10).await;
    let usage = ask(&site, new, "GET", "/v1/usage?by=project", "").await.json();
    assert_eq!(
        usage["usage"][0],
        json!({
            "project": "probes", "jobs": 1, "failed_jobs": 0, "compute_seconds": 0.0,
            "request_bytes": usage["usage"][0]["request_bytes"], "result_bytes": 10,
        })
    );
    for query in
        ["by=colour", "from=2026-13-01", "from=2026-11-30T00:00:00Z", "from=2026-11-30&to=2026-11-29", "to=2026"]
    {
        let answer = ask(&site, new, "GET", &format!("/v1/usage?{query}"), "").await;
        assert_eq!(answer.status, 400, "{query}");
    }
}

#[tokio::test]
async fn what_is_done_and_who_is_refused_is_in_the_audit_trail_before_the_answer() {
    let store = memory();
    let [site] = gateways(&store, ["one"], Settings::default()).await;
    register(&store, "administrator", &[Scope::Admin]).await;
    register(&store, "auditor", &[Scope::Audit]).await;
    let entries = async |query: &str| {
        let answer = ask(&site, "auditor", "GET", &format!("/v1/audit?{query}"), "").await;
        assert_eq!(answer.status, 200, "{query}");
        answer.json()["entries"].as_array().unwrap().clone()
    };
    let made = ask(&site, "administrator", "POST", "/v1/keys", "{\"tenant\": \"ada\"}").await.json();
    let done = entries("refused=false").await;
    assert_eq!(done.len(), 1);
    let what = done[0]["what"].as_str().unwrap();
    assert!(what.contains(&format!("made the key {} of ada", made["id"].as_str().unwrap())), "{what}");
    assert_eq!((&done[0]["tenant"], &done[0]["action"]), (&json!("administrator"), &json!("POST /v1/keys")));
    assert_eq!((&done[0]["address"], &done[0]["status"]), (&json!("127.0.0.1"), &json!(201)));
    assert!(!done[0].to_string().contains(made["key"].as_str().unwrap()), "{}", done[0]);
    // Of what is refused, 401, 403 and what is another's are there, and what there is not, is not.
    let job = site.submit("ada", "", &pickle::payload(b"K\x07"), "").await.job();
    for (key, path) in [
        ("wrong", "/v1/jobs".to_owned()),
        ("key of bob", "/v1/tenants".to_owned()),
        ("key of bob", format!("/v1/jobs/{job}")),
        ("key of bob", format!("/v1/jobs/{}", JobId::new())),
        ("key of ada", format!("/v1/jobs/{job}")),
        ("administrator", "/v1/audit".to_owned()),
    ] {
        ask(&site, key, "GET", &path, "").await;
    }
    let refused = entries("refused=true").await;
    let told: Vec<_> =
        refused.iter().map(|entry| (entry["tenant"].as_str(), entry["status"].as_u64().unwrap())).collect();
    let expected = [(Some("administrator"), 403), (Some("bob"), 404), (Some("bob"), 403), (None, 401)];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    assert!(expected.iter().all(|entry| told.contains(entry)), "{told:?}");
    assert!(refused.iter().any(|entry| entry["object"] == format!("/v1/jobs/{job}")));
    // A flood is one entry now, and later a number.
    for _ in 0..50 {
        ask(&site, "wrong", "GET", "/v1/jobs", "").await;
    }
    assert!(entries("refused=true").await.len() <= expected.len() + 1);
    assert_eq!(entries("tenant=administrator&limit=1").await.len(), 1);
    for query in ["from=yesterday", "cursor=x", "refused=perhaps"] {
        assert_eq!(ask(&site, "auditor", "GET", &format!("/v1/audit?{query}"), "").await.status, 400, "{query}");
    }
}

/// The events of a stream that has ended: id, kind and data of each.
fn events(answer: &Answer) -> Vec<(String, String, serde_json::Value)> {
    let text = String::from_utf8(answer.plain()).unwrap();
    let events = text.split("\n\n").filter(|event| event.contains("data:"));
    let field = |event: &str, name: &str| {
        event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap().trim().to_owned()
    };
    let event =
        |event: &str| (field(event, "id"), field(event, "event"), serde_json::from_str(&field(event, "data")).unwrap());
    events.map(event).collect()
}

#[tokio::test]
async fn a_jobs_events_are_streamed_and_go_on_behind_any_of_them_at_another_gateway() {
    let store = memory();
    let [here, there] = gateways(&store, ["here", "there"], Settings::default()).await;
    let job = here.submit("ada", "", &pickle::payload(b"K\x07"), "").await.job();
    let path = format!("/v1/jobs/{job}/events");
    // Followed while it runs, to its end.
    let following = async { here.ask("GET", &path, &bearer("key of ada"), b"").await };
    let running = async {
        here.dispatch(job, 0).await;
        for number in 0..5 {
            let text = format!("line {number}");
            here.jobs.append_log(&[store::Line { job, attempt: 1, number, text }]).await.unwrap();
        }
        here.finish("ada", job, 1, 10).await;
    };
    let (followed, ()) = tokio::join!(following, running);
    let followed = events(&followed);
    let last = followed.last().unwrap();
    assert_eq!((last.1.as_str(), &last.2["state"]), ("state", &json!("completed")));
    assert_eq!(followed.iter().filter(|(_, kind, _)| kind == "log").count(), 5);
    let all = events(&there.ask("GET", &path, &bearer("key of ada"), b"").await);
    assert_eq!(all.len(), 6, "five lines and the end");
    for (place, (id, ..)) in all.iter().enumerate() {
        let head = format!("{}last-event-id: {id}\r\n", bearer("key of ada"));
        let rest = there.ask("GET", &path, &head, b"").await;
        match place {
            5 => assert_eq!(rest.status, 204),
            _ => assert_eq!(events(&rest), all[place + 1..], "behind {id}"),
        }
    }
    let head = format!("{}last-event-id: nonsense\r\n", bearer("key of ada"));
    assert_eq!(there.ask("GET", &path, &head, b"").await.status, 400);
    let result = there.ask("GET", &format!("/v1/jobs/{job}/result"), &bearer("key of ada"), b"").await;
    assert_eq!((result.status, result.body), (200, vec![7; 10]));
}

#[tokio::test]
async fn who_follows_a_job_hears_no_more_of_it_when_their_key_is_revoked() {
    let store = memory();
    let [here, there] = gateways(&store, ["here", "there"], Settings::default()).await;
    let job = here.submit("ada", "", &pickle::payload(b"K\x07"), "").await.job();
    let mut stream = TcpStream::connect(there.address).await.unwrap();
    let head = format!("GET /v1/jobs/{job}/events HTTP/1.1\r\nhost: h\r\n{}\r\n", bearer("key of ada"));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("queued") {
        heard.push(stream.read_u8().await.unwrap());
    }
    let id = here.keys.authenticate("key of ada").await.unwrap().unwrap().key;
    assert!(here.keys.revoke(&id).await.unwrap());
    // Far longer than it takes: the job goes on.
    let rest = async { while stream.read_buf(&mut heard).await.unwrap() > 0 && !heard.ends_with(b"0\r\n\r\n") {} };
    tokio::time::timeout(Duration::from_secs(60), rest).await.expect("the stream ends");
    assert_eq!(String::from_utf8_lossy(&heard).matches("event:").count(), 1);
}

#[tokio::test]
async fn the_description_of_v1_has_every_route_and_what_each_answers() {
    let store = memory();
    let [site] = gateways(&store, ["one"], Settings::default()).await;
    register(&store, "administrator", &Scope::ALL).await;
    let answer = site.ask("GET", "/v1/openapi.json", "", b"").await;
    assert_eq!(answer.status, 200);
    let described = answer.json();
    assert_eq!(described["openapi"], "3.1.0");
    let text = described.to_string();
    for reference in text.split("\"$ref\":\"").skip(1) {
        let path = reference.split('"').next().unwrap();
        assert!(described.pointer(path.strip_prefix('#').unwrap()).is_some(), "{path} leads nowhere");
    }
    let job = site.submit("administrator", "", &pickle::payload(b"K\x07"), "").await;
    assert_eq!(job.status, 401, "its key has another name");
    let head = format!("{}ndif-api-key: administrator\r\n", crate::site::FORM);
    let form = crate::site::form("", &pickle::payload(b"K\x07"));
    let job = site.ask("POST", "/request", &head, &form).await.job();
    site.dispatch(job, 0).await;
    site.finish("administrator", job, 1, 10).await;
    let key = ask(&site, "administrator", "GET", "/v1/whoami", "").await.json()["key"].as_str().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), "{}").unwrap();
    let model = json!({ "folder": folder.path() });
    let hosted = ask(&site, "administrator", "PUT", "/v1/models/lab%2Fmodel", &model.to_string()).await;
    assert_eq!(hosted.status, 201);
    let node = NodeRecord {
        name: WorkerId::new("gpu-1"),
        version: "0.1.0".into(),
        connected: true,
        slots: 8,
        jobs: 0,
        devices: vec![("cuda:0".into(), 80)],
        replicas: vec![],
        warm_bytes: 40,
        kept: vec![],
        rank_address: "10.0.0.1:7100".into(),
        memory: vec![DeviceMemory {
            device: "cuda:0".into(),
            kinds: vec![("weights".into(), 30), ("free".into(), 50)],
        }],
        progress: vec![],
        certificates: vec![("peer", 1_800_000_000).into()],
    };
    Nodes::new(store.clone()).note(&[node], &[]).await.unwrap();
    let shown = ask(&site, "administrator", "GET", "/v1/nodes/gpu-1", "").await.json();
    assert_eq!(shown["certificates"], json!({ "peer": "2027-01-15T08:00:00Z" }));
    let certificates = Certificates::new(store.clone());
    tokio::spawn(
        async move { certificates.keep("scheduler", "second", || vec![("etcd", 1_800_000_000).into()]).await },
    );
    let told = async {
        loop {
            let roles = ask(&site, "administrator", "GET", "/v1/nodes", "").await.json()["roles"].take();
            if roles != json!([]) {
                return roles;
            }
        }
    };
    let roles = timeout(Duration::from_secs(60), told).await.expect("a role is shown that tells of its certificates");
    let certificates = json!({ "etcd": "2027-01-15T08:00:00Z" });
    assert_eq!(roles, json!([{ "role": "scheduler", "name": "second", "certificates": certificates }]));
    let mut paths = 0;
    for route in V1 {
        let operation = &described["paths"][route.path][route.method.to_lowercase()];
        assert_eq!(operation["summary"], route.what, "{} {}", route.method, route.path);
        paths += 1;
        // What it says of an answer, the answer is: the fields that it must have are there, and no others.
        let body = match (route.method, route.path) {
            ("POST", "/v1/tenants") => json!({ "name": "lab" }),
            ("POST", "/v1/keys") => json!({ "tenant": "ada" }),
            ("PATCH", "/v1/tenants/{tenant}") => json!({ "suspended": false }),
            ("PATCH", "/v1/models/{model}") => json!({ "pinned": true }),
            ("PUT", "/v1/models/{model}") => model.clone(),
            ("POST", "/v1/models/{model}/windows") => {
                json!({ "from": "2026-01-01T22:00:00Z", "to": "2026-01-02T04:00:00Z", "daily": true })
            }
            ("PATCH", _) => json!({ "note": "x" }),
            ("POST" | "PUT", _) => json!({}),
            ("DELETE", "/v1/keys/{key}") => continue,
            _ => serde_json::Value::Null,
        };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let path = fill(route.path, &job.to_string(), "administrator", &key);
        let answer = match route.shape.form {
            true => site.check("key of ada", "", &pickle::payload(b"K\x07")).await,
            false => ask(&site, "administrator", route.method, &path, &body).await,
        };
        let response = &operation["responses"][answer.status.to_string()];
        assert!(answer.status < 300 && response.is_object(), "{} {}: {}", route.method, route.path, answer.status);
        if let Some(schema) = response.pointer("/content/application~1json/schema/$ref") {
            let schema = described.pointer(schema.as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
            let json = answer.json();
            let given: Vec<&String> = json.as_object().unwrap().keys().collect();
            let known = schema["properties"].as_object().unwrap();
            assert!(
                given.iter().all(|name| known.contains_key(*name)),
                "{} {}: {json} {schema}",
                route.method,
                route.path
            );
            let mut required = schema["required"].as_array().into_iter().flatten();
            assert!(required.all(|name| json.get(name.as_str().unwrap()).is_some()), "{json} {schema}");
        }
    }
    let all: usize = described["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len()).sum();
    assert_eq!(all, paths, "it has no others");
}

/// A store that counts listings of the jobs that wait or run. They wait where that is said.
struct Listed {
    store: MemoryStore,
    halts: AtomicBool,
    came: AtomicUsize,
    goes_on: Semaphore,
}

impl Listed {
    async fn until(&self, came: usize) {
        while self.came.load(Ordering::Relaxed) < came {
            tokio::task::yield_now().await;
        }
    }
}

#[tonic::async_trait]
impl MetadataStore for Listed {
    fn limits(&self) -> Limits {
        self.store.limits()
    }

    async fn read(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, Error> {
        self.store.read(keys).await
    }

    async fn range(&self, range: Range) -> Result<Page, Error> {
        if range.prefix.ends_with("/live/") {
            self.came.fetch_add(1, Ordering::Relaxed);
            if self.halts.load(Ordering::Relaxed) {
                self.goes_on.acquire().await.unwrap().forget();
            }
        }
        self.store.range(range).await
    }

    async fn commit(&self, txns: Vec<Txn>) -> Result<Vec<TxnOutcome>, Error> {
        self.store.commit(txns).await
    }

    async fn watch(&self, prefix: &str, after: Option<Revision>) -> Result<Watch, Error> {
        self.store.watch(prefix, after).await
    }

    async fn lease(&self, ttl: Duration) -> Result<Lease, Error> {
        self.store.lease(ttl).await
    }
}

#[tokio::test]
async fn who_searches_through_all_jobs_again_and_again_keeps_nobody_else_from_it() {
    let store = MemoryStore::new(1);
    let (halts, came, goes_on) = (AtomicBool::new(false), AtomicUsize::new(0), Semaphore::new(0));
    let listed = Arc::new(Listed { store: store.clone(), halts, came, goes_on });
    let store: Arc<dyn MetadataStore> = Arc::new(store);
    let seen = Arc::clone(&listed) as Arc<dyn MetadataStore>;
    let site = Site::among(&store, seen, Arc::new(tempfile::tempdir().unwrap()), "one", Settings::default()).await;
    // The gateway counts what there is when it begins.
    listed.until(1).await;
    listed.came.store(0, Ordering::Relaxed);
    listed.halts.store(true, Ordering::Relaxed);
    let ask = async |tenant: &str, path: &str| {
        site.ask("GET", path, &format!("ndif-api-key: key of {tenant}\r\n"), b"").await.status
    };
    let ada = join_all((0..20).map(|number| ask("ada", ["/v1/queue", "/v1/jobs"][number % 2])));
    let bob = async {
        listed.until(2).await;
        ask("bob", "/v1/queue").await
    };
    let look = async {
        listed.until(3).await;
        let came = listed.came.load(Ordering::Relaxed);
        listed.goes_on.add_permits(100);
        came
    };
    let (ada, bob, came) = tokio::join!(ada, bob, look);
    assert_eq!((came, bob), (3, 200), "two of one tenant's, and another's");
    assert!(ada.iter().all(|status| *status == 200), "{ada:?}");
}
