//! I1, at the gateway: a tenant learns nothing of another's jobs, not even that they exist.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use auth::{Grant, Keys, Links, Scope, Secret, ServerSecret, SessionIds};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use gateway::{Gateway, Settings, router};
use http_body_util::BodyExt;
use ids::{JobId, KeyId, ModelKey, TenantId, WorkerId};
use store::job::Event;
use store::{Blob, JobRecord, Jobs, MetadataStore, Models, Objects, RedbStore};
use tower::ServiceExt;

struct Fixture {
    app: axum::Router,
    jobs: Jobs,
    _folder: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn MetadataStore> = Arc::new(RedbStore::open(folder.path().join("metadata.redb")).unwrap());
        let secret = ServerSecret::load(store.as_ref()).await.unwrap();
        let keys = Keys::new(Arc::clone(&store), &secret);
        for name in ["ada", "bob"] {
            let scopes = [Scope::Submit, Scope::ReadOwn];
            let grant = Grant::new(TenantId::new(name), &scopes);
            keys.register(&Secret::new(format!("key-of-{name}")), grant).await.unwrap();
        }
        let reader = Grant::new(TenantId::new("ada"), &[Scope::ReadOwn]);
        keys.register(&Secret::new("key-of-reader"), reader).await.unwrap();
        let operator = Grant::new(TenantId::new("op"), &[Scope::ReadOwn, Scope::Operate]);
        keys.register(&Secret::new("key-of-operator"), operator).await.unwrap();
        let objects = Objects::local(folder.path().join("objects")).unwrap();
        let jobs = Jobs::new(Arc::clone(&store));
        let (links, sessions) = (Links::new(&secret), SessionIds::new(&secret, "one"));
        let models = Models::new(store);
        let gateway = Gateway::new(jobs.clone(), objects, models, keys, links, sessions, Settings::default());
        Self { app: router(gateway), jobs, _folder: folder }
    }

    /// Makes a finished job of Ada's.
    async fn job(&self) -> JobId {
        let id = JobId::new();
        let record = JobRecord::queued(
            id,
            TenantId::new("ada"),
            KeyId::new("k"),
            ModelKey::new("o/n", None),
            Blob::Inline(Default::default()),
            1,
        );
        self.jobs.accept(&record).await.unwrap();
        self.jobs.transition(id, 0, &Event::Dispatched { worker: WorkerId::new("w"), epoch: 1 }, 2).await.unwrap();
        let result = Blob::Inline("the result".into());
        self.jobs.transition(id, 1, &Event::Finished { result, meta: "{}".into() }, 3).await.unwrap();
        id
    }

    async fn ask(&self, method: &str, path: &str, key: Option<&str>) -> (StatusCode, String) {
        let mut request = Request::builder().method(method).uri(path).header("host", "vitrine.test");
        if let Some(key) = key {
            request = request.header("ndif-api-key", key);
        }
        let answer = self.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

#[tokio::test]
async fn i1_another_tenants_job_does_not_exist() {
    let fixture = Fixture::new().await;
    let job = fixture.job().await;
    for (method, path) in [("GET", "/response"), ("DELETE", "/request")] {
        let theirs = fixture.ask(method, &format!("{path}/{job}"), Some("key-of-bob")).await;
        let nobodys = fixture.ask(method, &format!("{path}/{}", JobId::new()), Some("key-of-bob")).await;
        assert_eq!(theirs.0, StatusCode::NOT_FOUND);
        assert_eq!(theirs, nobodys, "{method} {path}");
        let keyless = fixture.ask(method, &format!("{path}/{job}"), None).await;
        assert_eq!(keyless.0, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_result_is_fetched_by_its_link_and_by_nothing_else() {
    let fixture = Fixture::new().await;
    let job = fixture.job().await;
    let (status, body) = fixture.ask("GET", &format!("/response/{job}"), Some("key-of-ada")).await;
    assert_eq!(status, StatusCode::OK);
    let response: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(response["status"], "COMPLETED");
    assert_eq!(response["meta"]["result_bytes"], 10);
    let link = response["data"].as_str().unwrap().strip_prefix("http://vitrine.test").unwrap();
    assert_eq!(fixture.ask("GET", link, None).await, (StatusCode::OK, "the result".into()));

    let bare = link.split('?').next().unwrap();
    let other = link.replace(&job.to_string(), &JobId::new().to_string());
    let later = link.replace("expires=", "expires=9");
    for wrong in [bare, &other, &later, &link[..link.len() - 1]] {
        assert_eq!(fixture.ask("GET", wrong, Some("key-of-ada")).await.0, StatusCode::FORBIDDEN, "{wrong}");
    }
}

#[tokio::test]
async fn a_key_does_only_what_its_scopes_say() {
    let fixture = Fixture::new().await;
    let job = fixture.job().await;
    let (status, body) = fixture.ask("POST", "/request", Some("key-of-reader")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(body.contains("may not submit jobs"), "{body}");
    let (status, _) = fixture.ask("DELETE", &format!("/request/{job}"), Some("key-of-operator")).await;
    assert_eq!(status, StatusCode::ACCEPTED, "an operator may end any tenant's job");
}
