//! The store is away: nothing is acknowledged that is not committed, nobody is told that a job failed, and what was going
//! on goes on when it is back.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use auth::{ServerSecret, SessionIds};
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use gateway::{Settings, router};
use http_body_util::BodyExt;
use ids::{JobId, TenantId};
use serde_json::Value;
use store::job::Event;
use store::{Blob, Faults, MemoryStore, MetadataStore, ObjectRef, Objects, Place, S3Options};
use tokio::time::Instant;
use tower::ServiceExt;

use crate::several::post;
use crate::site::{FORM, Site, form, pickle};

const ADA: &str = "ndif-api-key: key of ada\r\n";

/// As long as any call of the store may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// A gateway whose way to the store can be cut, while others reach it.
async fn cuttable(seed: u64) -> (MemoryStore, Site) {
    let store = MemoryStore::new(seed);
    let way = store.on_another_way(seed);
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let (store, seen): (Arc<dyn MetadataStore>, _) = (Arc::new(store), Arc::new(way.clone()));
    let site = Site::among(&store, seen, folder, "one", Settings::default()).await;
    (way, site)
}

fn away() -> Faults {
    Faults { unavailable: 1.0, ..Faults::default() }
}

#[tokio::test]
async fn what_needs_the_store_is_told_to_come_again_and_who_follows_a_job_goes_on() {
    let (way, site) = cuttable(1).await;
    let mut following = site.subscribe("ada").await;
    let job = post(&site, &following).await.job();
    site.dispatch(job, 0).await;
    let waiting = site.subscribe("ada").await;
    way.set_faults(away());
    // Who follows has to list again, and cannot.
    way.resync();
    for (method, path, head) in [
        ("GET", format!("/response/{job}"), ADA),
        ("DELETE", format!("/request/{job}"), ADA),
        ("GET", format!("/results/{job}?expires=1&signature=0"), ""),
        ("GET", "/readyz".into(), ""),
    ] {
        let answer = site.ask(method, &path, head, b"").await;
        if path.starts_with("/results") {
            assert_eq!(answer.status, 403, "what is no link needs no store");
            continue;
        }
        // Those that know it from memory say it once that is no longer trusted.
        if path == "/readyz" {
            while site.ask(method, &path, head, b"").await.status == 200 {}
            continue;
        }
        assert_eq!((answer.status, answer.retry_after()), (503, Some(2)), "{method} {path}");
        assert!(answer.detail().starts_with("the server cannot reach its store"), "{}", answer.detail());
    }
    let refused = post(&site, &waiting).await;
    assert_eq!((refused.status, refused.retry_after()), (503, Some(2)));
    assert_eq!(site.jobs.live().await.unwrap().jobs.len(), 1, "only the first was accepted");
    assert_eq!(site.ask("GET", "/healthz", "", b"").await.status, 200);
    site.finish("ada", job, 1, 10).await;
    way.set_faults(Faults::default());
    assert!(following.end().await.unwrap() > 10, "the result is inside");
    while site.ask("GET", "/readyz", "", b"").await.status != 200 {}
    let polled = site.ask("GET", &format!("/response/{job}"), ADA, b"").await;
    assert_eq!(polled.json()["status"], "COMPLETED");
}

#[tokio::test]
async fn before_it_has_reached_the_store_a_gateway_is_not_ready_and_takes_nothing() {
    let store = MemoryStore::new(1);
    let way = store.on_another_way(2);
    way.set_faults(away());
    let (store, seen): (Arc<dyn MetadataStore>, _) = (Arc::new(store), Arc::new(way.clone()));
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let site = Site::among(&store, seen, folder, "one", Settings::default()).await;
    let submit = async || site.submit("ada", "", &pickle::payload(b"K\x07"), "").await;
    for answer in [site.ask("GET", "/readyz", "", b"").await, submit().await] {
        assert_eq!((answer.status, answer.retry_after()), (503, Some(2)));
        assert!(answer.detail().starts_with("the server cannot reach its store"), "{}", answer.detail());
    }
    assert_eq!(site.jobs.live().await.unwrap().jobs, []);
    way.set_faults(Faults::default());
    assert_eq!(site.ask("GET", "/readyz", "", b"").await.status, 200);
    submit().await.job();
}

#[tokio::test]
async fn where_the_bucket_is_away_large_requests_are_refused_and_a_result_is_given_as_a_link() {
    // Nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let options = S3Options {
        bucket: "b".into(),
        region: "us-east-1".into(),
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        key: Some(("id".into(), "secret".into())),
        allow_http: true,
    };
    let store: Arc<dyn MetadataStore> = Arc::new(MemoryStore::new(1));
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let objects = Objects::s3(options).unwrap();
    let site = Site::with(&store, Arc::clone(&store), objects, folder, "one", Settings::default()).await;
    let large = pickle::payload(&pickle::noise(0, 100_000));
    let refused = site.submit("ada", "", &large, "").await;
    assert_eq!((refused.status, refused.retry_after()), (503, Some(2)), "{}", refused.detail());
    assert!(refused.detail().starts_with("the server cannot reach where it keeps large requests"));
    let mut socket = site.subscribe("ada").await;
    let job = post(&site, &socket).await.job();
    site.dispatch(job, 0).await;
    let place = Place::result(&TenantId::new("ada"), job, 1, 2);
    let result = Blob::Object(ObjectRef { path: place.as_str().into(), digest: [7; 32], bytes: 100_000 });
    site.jobs.transition(job, 1, &Event::Finished { result, meta: "{}".into() }, 3).await.unwrap();
    let link = socket.end().await.unwrap_err();
    let refused = site.ask("GET", link.strip_prefix("http://h").unwrap(), "", b"").await;
    assert_eq!((refused.status, refused.retry_after()), (503, Some(2)), "{}", refused.detail());
}

/// Posts a request without a socket, so that time can be played; says how long the answer took, too.
async fn submit(site: &Site, session: &str, key: Option<&str>) -> (StatusCode, HeaderMap, Value, Duration) {
    let (name, value) = FORM.trim_end().split_once(": ").unwrap();
    let mut request = Request::post("/request").header("host", "h").header("ndif-api-key", "key of ada");
    request = request.header(name, value);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let body = form(session, &pickle::payload(b"K\x07"));
    let began = Instant::now();
    let app = router(Arc::clone(&site.gateway));
    let answer = app.oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let took = began.elapsed();
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, serde_json::from_slice(&body).unwrap(), took)
}

fn job_of(body: &Value) -> JobId {
    body["id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_request_of_which_nobody_can_say_whether_it_was_accepted_runs_once_when_it_is_sent_again() {
    let mut accepted = 0;
    for seed in 0..40 {
        let (way, site) = cuttable(seed).await;
        for key in [Some("k"), None] {
            let before = site.jobs.live().await.unwrap().jobs.len();
            way.set_faults(Faults { unknown_outcome: 1.0, delay: Duration::from_millis(100), ..Faults::default() });
            let (status, head, body, took) = submit(&site, "", key).await;
            assert_eq!((status, head[header::RETRY_AFTER].to_str().unwrap()), (StatusCode::SERVICE_UNAVAILABLE, "2"));
            // Looking at key and model, and beginning to follow two prefixes, takes a delay each.
            assert!(took <= DEADLINE + Duration::from_millis(400), "seed {seed}: {took:?}");
            way.set_faults(Faults::default());
            let detail = body["detail"].as_str().unwrap();
            assert!(detail.contains("nobody can say yet whether this request was accepted"), "{detail}");
            let done = site.jobs.live().await.unwrap().jobs;
            let now = done.len() - before;
            accepted += now;
            match key {
                Some(key) => {
                    assert!(detail.contains("send it again with the same Idempotency-Key"), "{detail}");
                    let (status, _, body, _) = submit(&site, "", Some(key)).await;
                    assert_eq!(status, StatusCode::OK, "seed {seed}: {body}");
                    let all = site.jobs.live().await.unwrap().jobs;
                    assert_eq!(all.len() - before, 1, "seed {seed}: it runs once");
                    assert!(all.iter().any(|job| job.id == job_of(&body)));
                }
                // The job that it may be is named.
                None => {
                    let named = done.iter().filter(|job| detail.contains(&format!("/response/{} ", job.id)));
                    assert_eq!(named.count(), now, "seed {seed}: {detail}");
                }
            }
        }
    }
    assert!(accepted > 0, "some were accepted all the same");
}

#[tokio::test(start_paused = true)]
async fn a_websocket_elsewhere_has_one_request_also_where_nobody_can_say_whether_that_was_accepted() {
    let (way, site) = cuttable(1).await;
    let secret = ServerSecret::load(&way).await.unwrap();
    let ids = SessionIds::new(&secret, "another");
    let session = ids.make(Some(&TenantId::new("ada")), u64::from(u32::MAX)).unwrap();
    way.set_faults(Faults { unknown_outcome: 1.0, ..Faults::default() });
    assert_eq!(submit(&site, &session, None).await.0, StatusCode::SERVICE_UNAVAILABLE);
    way.set_faults(Faults::default());
    let (status, _, body, _) = submit(&site, &session, None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    assert!(site.jobs.live().await.unwrap().jobs.len() <= 1);
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_what_is_acknowledged_is_there_and_what_is_not_is_told_in_time() {
    let (mut taken, mut refused) = (0, 0);
    for seed in 0..60 {
        let (way, site) = cuttable(seed).await;
        way.set_faults(Faults {
            unknown_outcome: 0.5,
            unavailable: 0.1,
            conflict: 0.1,
            gap: 0.1,
            delay: Duration::from_millis(1500),
            ..Faults::default()
        });
        let mut jobs = Vec::new();
        for number in 0..5 {
            let (status, _, body, took) = submit(&site, "", Some(&number.to_string())).await;
            match status {
                StatusCode::OK => jobs.push(job_of(&body)),
                StatusCode::SERVICE_UNAVAILABLE => refused += 1,
                other => panic!("seed {seed}: {other} {body}"),
            }
            // Looking at key and model, and beginning to follow two prefixes, takes a delay each.
            assert!(took <= DEADLINE + Duration::from_secs(6), "seed {seed}: {took:?}");
        }
        taken += jobs.len();
        let live = site.jobs.live().await.unwrap().jobs;
        for job in &jobs {
            assert!(live.iter().any(|live| live.id == *job), "seed {seed}: {job} was acknowledged");
        }
        assert!(live.len() <= 5, "seed {seed}");
    }
    assert!(taken > 0 && refused > 0, "{taken} {refused}");
}
