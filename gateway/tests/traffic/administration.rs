//! `/v1`: who may do what there, and how soon it counts at every gateway.

use std::sync::Arc;

use auth::{Grant, Keys, Scope, Secret, ServerSecret};
use gateway::Settings;
use ids::{JobId, TenantId};
use serde_json::json;
use store::{MemoryStore, MetadataStore};

use crate::several::gateways;
use crate::site::{Answer, Site, pickle};

/// The methods, paths and bodies of the interface; `{job}` is one of Ada's, `{none}` nobody's.
const ROUTES: [(&str, &str, &str); 15] = [
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
];

/// What each route answers: to nobody, to a wrong key, to a key of Ada's that may do nothing, to Bob, to Ada, to an
/// operator and to an administrator of other tenants.
const STATUSES: [[u16; 7]; 15] = [
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
