//! Users, whom a provider vouches for: what their tokens open, and what stays closed to them.

use std::sync::Arc;

use auth::{Grant, Keys, Role, Scope, Secret, ServerSecret};
use gateway::Settings;
use ids::{JobId, TenantId};
use oidc::testing::{Issuer, Mood};
use serde_json::{Value, json};
use store::{MemoryStore, MetadataStore};

use crate::several::gateways;
use crate::site::{Answer, Site, pickle};

struct Installation {
    issuer: Issuer,
    site: Site,
}

impl Installation {
    /// Has the tenants ada, bob and ops, and knows users by a provider.
    async fn new(change: impl Fn(&mut oidc::Settings)) -> Self {
        let issuer = Issuer::start().await;
        let mut settings = Settings { oidc: issuer.settings(), ..Settings::default() };
        change(&mut settings.oidc);
        settings.check().unwrap();
        let store: Arc<dyn MetadataStore> = Arc::new(MemoryStore::new(1));
        let keys = Keys::new(Arc::clone(&store), &ServerSecret::load(store.as_ref()).await.unwrap());
        let scopes = [Scope::Admin, Scope::Audit];
        keys.register(&Secret::new("key of ops"), Grant::new(TenantId::new("ops"), &scopes)).await.unwrap();
        let [site] = gateways(&store, ["one"], settings).await;
        Self { issuer, site }
    }

    async fn ask(&self, token: &str, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.site.ask(method, path, &format!("authorization: Bearer {token}\r\n"), body.as_bytes()).await
    }

    /// Returns the newest entry of the audit trail that is like this.
    async fn noted(&self, query: &str) -> Value {
        let path = format!("/v1/audit?{query}");
        self.ask("key of ops", "GET", &path, &Value::Null).await.json()["entries"][0].clone()
    }
}

fn sentence(answer: &Answer) -> String {
    answer.json()["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_user_may_what_their_role_permits_and_is_named_where_they_act() {
    let it = Installation::new(|settings| settings.user_claim = "email".into()).await;
    let of = |email: &str, tenant: &str, role: &str| {
        it.issuer.token(json!({ "email": email, "tenant": tenant, "roles": [role] }))
    };
    let [researcher, operator, administrator, auditor] = [
        of("ada@x", "ada", "researcher"),
        of("op@x", "ops", "operator"),
        of("root@x", "ops", "administrator"),
        of("eye@x", "ops", "auditor"),
    ];
    let who = it.ask(&researcher, "GET", "/v1/whoami", &Value::Null).await.json();
    assert_eq!(
        (&who["user"], &who["key"], &who["tenant"], &who["scopes"]),
        (&json!("ada@x"), &json!("user:ada@x"), &json!("ada"), &json!(["submit", "read-own"]))
    );
    assert!(who["expires_at"].is_string());
    let job = it.site.submit("bob", "", &pickle::payload(b"K\x07"), "").await.job();
    let theirs = format!("/v1/jobs/{job}");
    for (method, path, body, statuses) in [
        ("GET", "/v1/jobs", json!(null), [200, 200, 200, 403]),
        // Another tenant's is as one that there is not.
        ("GET", theirs.as_str(), json!(null), [404, 200, 200, 403]),
        ("GET", "/v1/tenants", json!(null), [403, 403, 200, 403]),
        ("GET", "/v1/audit", json!(null), [403, 403, 403, 200]),
        ("GET", "/v1/nodes", json!(null), [200, 200, 200, 200]),
        ("POST", "/v1/nodes/none/cordon", json!(null), [403, 404, 404, 403]),
        ("PATCH", "/v1/tenants/bob", json!({ "class": "low" }), [403, 403, 200, 403]),
    ] {
        for (token, status) in [&researcher, &operator, &administrator, &auditor].into_iter().zip(statuses) {
            assert_eq!(it.ask(token, method, path, &body).await.status, status, "{method} {path}");
        }
    }
    let one = it.ask(&researcher, "GET", &theirs, &Value::Null).await;
    let none = it.ask(&researcher, "GET", &format!("/v1/jobs/{}", JobId::new()), &Value::Null).await;
    assert_eq!((one.status, &one.body), (none.status, &none.body));

    it.ask(&administrator, "POST", "/v1/tenants", &json!({ "name": "lab" })).await;
    let done = it.noted("refused=false").await;
    assert_eq!(
        (&done["key"], &done["tenant"], &done["what"]),
        (&json!("user:root@x"), &json!("ops"), &json!("user:root@x made the tenant lab"))
    );
    let refused = it.ask(&operator, "POST", "/v1/tenants", &json!({ "name": "lab" })).await;
    assert!(sentence(&refused).starts_with("op@x may not administer the server"), "{}", sentence(&refused));
    let noted = it.noted("key=user:op@x").await;
    assert_eq!((&noted["tenant"], &noted["outcome"]), (&json!("ops"), &json!("refused")));
    // Jobs are submitted by key, and what is sent as a key is one.
    let head = format!("authorization: Bearer {researcher}\r\n");
    assert_eq!(it.site.ask("GET", &format!("/response/{job}"), &head, b"").await.status, 401);
    let head = format!("ndif-api-key: {researcher}\r\n");
    assert_eq!(it.site.ask("GET", "/v1/whoami", &head, b"").await.status, 401);
}

#[tokio::test]
async fn a_token_opens_nothing_where_its_tenant_is_missing_or_suspended_and_makes_nothing() {
    let it = Installation::new(|_| {}).await;
    let tenants = async || it.ask("key of ops", "GET", "/v1/tenants", &Value::Null).await.json()["tenants"].clone();
    let before = tenants().await;
    let of = |tenant: Value, roles: Value| it.issuer.token(json!({ "sub": "eve", "tenant": tenant, "roles": roles }));
    for (token, status, words) in [
        (of(json!("nowhere"), json!(["administrator"])), 403, "eve belongs to no tenant here"),
        (of(json!(null), json!(["administrator"])), 403, "eve belongs to no tenant here"),
        (of(json!(["ada", "bob"]), json!(["researcher"])), 403, "eve belongs to several tenants"),
        (of(json!("ada"), json!(["visitor"])), 403, "eve may do nothing here"),
        (it.issuer.token(json!({ "aud": "another" })), 401, "it must be for vitrine"),
        (it.issuer.forged(json!({})), 401, "was not signed by whom it names"),
        (it.issuer.token(json!({ "exp": 1 })), 401, "this token has expired"),
        ("eyJhbGciOiJub25lIn0.e30.".into(), 401, "signed by \"none\""),
        ("a.b.c".into(), 401, "invalid API key"),
    ] {
        let answer = it.ask(&token, "GET", "/v1/whoami", &Value::Null).await;
        assert_eq!(answer.status, status, "{words}");
        assert!(sentence(&answer).contains(words), "{words:?} is not in {:?}", sentence(&answer));
    }
    assert_eq!(tenants().await, before);
    let noted = it.ask("key of ops", "GET", "/v1/audit?key=user:eve", &Value::Null).await.json();
    assert!(!noted["entries"].as_array().unwrap().is_empty(), "who is refused is named: {noted}");

    let ada = it.issuer.token(json!({}));
    assert_eq!(it.ask(&ada, "GET", "/v1/whoami", &Value::Null).await.status, 200);
    it.ask("key of ops", "PATCH", "/v1/tenants/ada", &json!({ "suspended": true })).await;
    let answer = it.ask(&ada, "GET", "/v1/whoami", &Value::Null).await;
    assert_eq!((answer.status, sentence(&answer).contains("is suspended")), (403, true));
}

#[tokio::test]
async fn a_provider_that_is_away_is_told_of_and_keeps_nobody_else_waiting() {
    let it = Installation::new(|_| {}).await;
    it.issuer.be(Mood::Silent);
    let answer = it.ask(&it.issuer.token(json!({})), "GET", "/v1/whoami", &Value::Null).await;
    assert_eq!((answer.status, answer.retry_after()), (503, Some(10)));
    assert!(sentence(&answer).contains("no fault of yours"), "{}", sentence(&answer));
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let head = format!(
            "GET /v1/whoami HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {}\r\n\r\n",
            it.issuer.token(json!({}))
        );
        let mut stream = tokio::net::TcpStream::connect(it.site.address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
        waiting.push(stream);
    }
    assert_eq!(it.ask("key of ada", "GET", "/v1/whoami", &Value::Null).await.status, 200);
    assert_eq!(it.site.submit("ada", "", &pickle::payload(b"K\x07"), "").await.status, 200);
}

#[tokio::test]
async fn a_user_makes_keys_for_themselves_that_permit_no_more_and_end() {
    let it = Installation::new(|_| {}).await;
    let ada = it.issuer.token(json!({ "sub": "ada@x", "tenant": "ada" }));
    let made = it.ask(&ada, "POST", "/v1/keys", &json!({ "note": "the notebook" })).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    assert_eq!(
        (&made["tenant"], &made["scopes"], &made["owner"]),
        (&json!("ada"), &json!(["submit", "read-own"]), &json!("ada@x"))
    );
    assert!(made["expires_at"].is_string(), "whoever leaves leaves no key behind for long");
    let text = made["key"].as_str().unwrap();
    let who = it.ask(text, "GET", "/v1/whoami", &Value::Null).await.json();
    assert_eq!((&who["tenant"], &who["user"]), (&json!("ada"), &Value::Null));
    // A key makes no keys.
    assert_eq!(it.ask(text, "POST", "/v1/keys", &json!({})).await.status, 403);

    for (body, status, words) in [
        (json!({ "scopes": ["operate"] }), 403, "may not make a key that permits more"),
        (json!({ "role": "administrator" }), 403, "may not make a key that permits more"),
        (json!({ "tenant": "bob" }), 403, "may not make a key of another tenant"),
        (json!({ "tenant": "nobody" }), 403, "may not make a key of another tenant"),
        (json!({ "expires_in": "91d" }), 400, "lives for at most 90 days"),
    ] {
        let answer = it.ask(&ada, "POST", "/v1/keys", &body).await;
        assert_eq!(answer.status, status, "{body}: {}", sentence(&answer));
        assert!(sentence(&answer).contains(words), "{}", sentence(&answer));
    }
    let less = json!({ "scopes": ["read-own"], "expires_in": "1d", "tenant": "ada" });
    assert_eq!(it.ask(&ada, "POST", "/v1/keys", &less).await.status, 201);

    // They see and end their own, and no other of their tenant's.
    let listed = it.ask(&ada, "GET", "/v1/keys", &Value::Null).await.json();
    assert_eq!(listed["keys"].as_array().unwrap().len(), 2);
    let all = it.ask("key of ops", "GET", "/v1/keys?tenant=ada", &Value::Null).await.json();
    let others = all["keys"].as_array().unwrap().iter().find(|key| key["owner"].is_null()).unwrap();
    let [own, others] = [&made, others].map(|key| format!("/v1/keys/{}", key["id"].as_str().unwrap()));
    let grace = it.issuer.token(json!({ "sub": "grace@x", "tenant": "ada" }));
    for (token, path, status) in [(&grace, &own, 404), (&ada, &others, 404), (&ada, &own, 204), (&ada, &own, 404)] {
        assert_eq!(it.ask(token, "DELETE", path, &Value::Null).await.status, status, "{path}");
    }
    assert_eq!(it.ask(&ada, "PATCH", &others, &json!({ "note": "mine" })).await.status, 403);
    assert_eq!(it.ask(text, "GET", "/v1/whoami", &Value::Null).await.status, 401);
    let noted = it.ask("key of ops", "GET", "/v1/audit?key=user:ada@x&refused=false", &Value::Null).await.json();
    assert!(noted["entries"][0]["what"].as_str().unwrap().starts_with("user:ada@x revoked the key"), "{noted}");

    for _ in 0..19 {
        assert_eq!(it.ask(&ada, "POST", "/v1/keys", &json!({})).await.status, 201);
    }
    let many = it.ask(&ada, "POST", "/v1/keys", &json!({})).await;
    assert_eq!((many.status, sentence(&many).contains("revoke one first")), (409, true));
}

#[tokio::test]
async fn what_the_command_line_has_to_know_is_told_to_everybody() {
    let it = Installation::new(|settings| {
        settings.device_client_id = Some("vitrine-cli".into());
        settings.default_role = Some(Role::Researcher);
    })
    .await;
    let told = it.site.ask("GET", "/v1/sign-in", "", b"").await.json();
    let scopes = json!(["openid", "profile", "email"]);
    assert_eq!(
        told["oidc"],
        json!({ "issuer": it.issuer.url, "client_id": "vitrine-cli", "scopes": scopes, "audience": null })
    );
    // What is for the command line is for this server.
    let token = it.issuer.token(json!({ "aud": "vitrine-cli", "roles": [] }));
    assert_eq!(it.ask(&token, "GET", "/v1/whoami", &Value::Null).await.status, 200);
    let named = Installation::new(|settings| settings.audience = Some("https://vitrine".into())).await;
    assert_eq!(named.site.ask("GET", "/v1/sign-in", "", b"").await.json()["oidc"]["audience"], "https://vitrine");
    for (audience, status) in [("https://vitrine", 200), ("vitrine", 401)] {
        let token = named.issuer.token(json!({ "aud": audience }));
        assert_eq!(named.ask(&token, "GET", "/v1/whoami", &Value::Null).await.status, status, "{audience}");
    }
    let without = Site::new(Settings::default()).await;
    assert_eq!(without.ask("GET", "/v1/sign-in", "", b"").await.json(), json!({ "oidc": null }));
    let head = format!("authorization: Bearer {token}\r\n");
    assert_eq!(without.ask("GET", "/v1/whoami", &head, b"").await.status, 401);
}
