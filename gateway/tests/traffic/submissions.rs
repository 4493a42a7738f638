//! What is sent is bounded before it is kept, and what becomes no job leaves nothing behind.

use axum::body::Body;
use axum::http::Request;
use futures::FutureExt;
use gateway::{Settings, router};
use ids::JobId;
use store::job::Event;
use store::{ModelState, State};
use tower::ServiceExt;

use crate::site::{FORM, Site, form, pickle};

/// More than lies in a record, so that it becomes a file.
fn large() -> Vec<u8> {
    pickle::payload(&pickle::noise(0, 100_000))
}

fn small() -> Vec<u8> {
    pickle::payload(b"K\x07")
}

#[tokio::test]
async fn what_is_refused_after_its_payload_was_written_leaves_no_file() {
    let site = Site::new(Settings::default()).await;
    let key = "idempotency-key: same\r\n";
    let first = site.submit("ada", "", &large(), key).await.job();
    assert_eq!(site.files().len(), 1);
    for number in 0..10 {
        let other = pickle::payload(&pickle::noise(1 + number, 100_000));
        let refused = site.submit("ada", "", &other, key).await;
        assert_eq!(refused.status, 409, "{}", refused.detail());
    }
    assert_eq!(site.submit("ada", "", &large(), key).await.job(), first, "the same again is the same job");
    site.gateway.close().await;
    assert_eq!(site.files().len(), 1);
}

#[tokio::test]
async fn what_a_job_keeps_of_its_request_is_counted_wherever_it_lies() {
    let site = Site::new(Settings::default()).await;
    for (payload, at_least) in [(small(), 1), (large(), 100_000)] {
        let job = site.submit("ada", "", &payload, "").await.job();
        let (record, _) = site.jobs.find(job).await.unwrap().unwrap();
        assert!(record.payload_bytes >= at_least, "{} bytes", record.payload_bytes);
        assert_eq!(record.payload_bytes, record.payload.len());
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_a_job_or_nothing() {
    let site = Site::new(Settings::default()).await;
    let app = router(std::sync::Arc::clone(&site.gateway));
    // By now the gateway knows that the model is there.
    site.submit("ada", "", &large(), "").await.job();
    let mut whole = 1;
    for patience in 0..60 {
        let request = Request::post("/request").header("ndif-api-key", "key of ada").header("host", "h");
        let (name, value) = FORM.trim_end().split_once(": ").unwrap();
        let request = request.header(name, value).body(Body::from(form("", &large()))).unwrap();
        let mut answer = Box::pin(app.clone().oneshot(request));
        // Gone after so many steps, wherever it is then.
        for _ in 0..patience {
            if answer.as_mut().now_or_never().is_some() {
                whole += 1;
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    site.gateway.close().await;
    let jobs = site.jobs.list(&[State::Queued]).await.unwrap();
    assert_eq!(site.files().len(), jobs.len(), "each file is a job's");
    assert!(jobs.len() >= whole && jobs.len() <= 60, "{} jobs", jobs.len());
}

#[tokio::test]
async fn an_edit_with_many_copies_is_refused_before_any_of_them_is_parsed() {
    let site = Site::new(Settings::default()).await;
    let bomb = pickle::edits(25_000, 1250);
    assert!(bomb.len() < 64 << 10, "{} bytes", bomb.len());
    let refused = site.submit("ada", "", &bomb, "").await;
    assert_eq!(refused.status, 400);
    assert!(refused.detail().contains("the request holds 1250 edits of the model"), "{}", refused.detail());
    // Few bytes that ask for more than there may be.
    let refused = site.submit("ada", "", &pickle::edits(25_000, 2000), "").await;
    assert_eq!(refused.status, 400);
    assert!(refused.detail().contains("the request's values take more than"), "{}", refused.detail());
}

#[tokio::test]
async fn a_full_queue_is_told_before_anything_is_kept_and_is_the_tenants_own() {
    let bytes = 250_000;
    let settings = Settings {
        queued_jobs: 4,
        queued_jobs_per_tenant: 3,
        queued_bytes_per_tenant: bytes,
        upload_grace: std::time::Duration::from_secs(3600),
        ..Settings::default()
    };
    let site = Site::new(settings).await;
    let first = site.submit("ada", "", &large(), "").await.job();
    site.submit("ada", "", &large(), "").await.job();
    let refused = site.submit("ada", "", &large(), "").await;
    assert_eq!((refused.status, refused.retry_after()), (429, Some(10)));
    assert!(refused.detail().starts_with("2 jobs of yours, of 2"), "{}", refused.detail());
    assert_eq!(site.files().len(), 2);
    site.submit("ada", "", &small(), "").await.job();
    let refused = site.submit("ada", "", &small(), "").await;
    assert!(refused.detail().starts_with("3 jobs of yours"), "{}", refused.detail());
    site.submit("bob", "", &small(), "").await.job();
    assert_eq!(site.ask("GET", "/readyz", "", b"").await.status, 503, "nobody's would be taken");
    let refused = site.submit("bob", "", &small(), "").await;
    assert_eq!((refused.status, refused.retry_after()), (503, Some(60)));
    site.jobs.transition(first, 0, &Event::Cancelled, 2).await.unwrap();
    while site.ask("GET", "/readyz", "", b"").await.status != 200 {}
    site.submit("ada", "", &large(), "").await.job();
}

#[tokio::test]
async fn the_same_blocking_request_again_is_the_same_job() {
    let site = Site::new(Settings::default()).await;
    let mut sockets = [site.subscribe("ada").await, site.subscribe("ada").await];
    let mut jobs = Vec::new();
    for socket in &sockets {
        jobs.push(site.submit("ada", &socket.session, &small(), "idempotency-key: k\r\n").await.job());
    }
    assert_eq!(jobs[0], jobs[1]);
    site.dispatch(jobs[0], 0).await;
    site.finish("ada", jobs[0], 1, 10).await;
    for socket in &mut sockets {
        loop {
            let (binary, bytes) = socket.frame().await;
            if binary {
                assert!(bytes.windows(10).any(|window| window == [7; 10]), "the result is inside");
                break;
            }
        }
    }
    let other = site.submit("ada", "", &large(), "idempotency-key: k\r\n").await;
    assert_eq!(other.status, 409);
}

#[tokio::test]
async fn hostile_forms_are_refused() {
    let site = Site::new(Settings::default()).await;
    let head = format!("{FORM}ndif-api-key: key of ada\r\n");
    let part = b"--b\r\ncontent-disposition: form-data; name=\"x\"\r\n\r\n\r\n";
    let long = format!("--b\r\ncontent-disposition: form-data; name=\"x\"; y=\"{}\"\r\n\r\nz\r\n", "y".repeat(1 << 20));
    let data = [b"--b\r\ncontent-disposition: form-data; name=\"data\"\r\n\r\n", &[b' '; 100_000][..]].concat();
    let blob = b"\r\n--b\r\ncontent-disposition: form-data; name=\"blob\"\r\n\r\nx\r\n--b--\r\n";
    for (body, words) in [
        (part.repeat(100_000), "more than 16 parts"),
        (long.into_bytes(), "is not the multipart form"),
        ([&data[..], blob].concat(), "`data` has more than 65536 bytes"),
        (data[..1000].to_vec(), "is not the multipart form"),
        (data, "`data` has more than 65536 bytes"),
        (b"--b".to_vec(), "is not the multipart form"),
        (Vec::new(), "is not the multipart form"),
    ] {
        let refused = site.ask("POST", "/request", &head, &body).await;
        assert_eq!(refused.status, 400, "{}", refused.detail());
        assert!(refused.detail().contains(words), "{words:?} is not in {:?}", refused.detail());
    }
    assert_eq!(site.jobs.list(&[State::Queued]).await.unwrap(), []);
}

#[tokio::test]
async fn it_is_ready_when_a_job_would_be_taken_and_a_loading_model_takes_jobs() {
    let site = Site::new(Settings::default()).await;
    let ready = || async { site.ask("GET", "/readyz", "", b"").await.status };
    for state in [ModelState::Waiting, ModelState::Loading { fraction: 0.5 }, ModelState::Failed("why".into())] {
        site.model(state).await;
        assert_eq!(ready().await, 200);
    }
    site.model(ModelState::Waiting).await;
    site.submit("ada", "", &small(), "").await.job();
    site.gateway.drain();
    assert_eq!(ready().await, 503);
    let refused = site.submit("ada", "", &small(), "").await;
    assert_eq!((refused.status, refused.retry_after()), (503, Some(60)));
    assert_eq!(site.ask("GET", "/healthz", "", b"").await.status, 200);
    let status = site.ask("GET", &format!("/response/{}", JobId::new()), "ndif-api-key: key of ada\r\n", b"").await;
    assert_eq!(status.status, 404, "what was accepted can still be asked for");
}
