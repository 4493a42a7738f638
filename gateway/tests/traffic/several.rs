//! Several gateways over one store: a job that is posted at one of them is a job of all.

use std::sync::Arc;

use gateway::Settings;
use ids::JobId;
use store::{Faults, MemoryStore, MetadataStore};

use crate::site::{Answer, Site, Socket, pickle};

/// Gateways over one store, under these names.
pub async fn gateways<const N: usize>(
    store: &Arc<dyn MetadataStore>,
    names: [&str; N],
    settings: Settings,
) -> [Site; N] {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let mut sites = Vec::new();
    for name in names {
        sites.push(Site::among(store, Arc::clone(store), Arc::clone(&folder), name, settings.clone()).await);
    }
    sites.try_into().unwrap_or_else(|_| panic!("as many as there are names"))
}

fn memory() -> (MemoryStore, Arc<dyn MetadataStore>) {
    let store = MemoryStore::new(1);
    (store.clone(), Arc::new(store))
}

fn by_link() -> Settings {
    Settings { inline_result_bytes: 0, ..Settings::default() }
}

/// Posts a request that a websocket waits for.
pub async fn post(site: &Site, socket: &Socket) -> Answer {
    site.submit("ada", &socket.session, &pickle::payload(b"K\x07"), "").await
}

/// Follows a result's link, at whichever gateway.
pub async fn fetch(site: &Site, link: &str) -> Vec<u8> {
    let answer = site.ask("GET", link.strip_prefix("http://h").unwrap(), "", b"").await;
    assert_eq!(answer.status, 200);
    answer.body
}

async fn run(site: &Site, job: JobId, bytes: usize) {
    site.dispatch(job, 0).await;
    site.finish("ada", job, 1, bytes).await;
}

#[tokio::test]
async fn a_job_posted_at_one_gateway_is_heard_at_another_and_fetched_from_a_third() {
    let (_, store) = memory();
    let [a, b, c] = gateways(&store, ["a", "b", "c"], by_link()).await;
    let mut socket = a.subscribe("ada").await;
    let job = post(&b, &socket).await.job();
    run(&c, job, 100_000).await;
    let link = socket.end().await.unwrap_err();
    assert_eq!(fetch(&c, &link).await, vec![7; 100_000]);
    let polled = c.ask("GET", &format!("/response/{job}"), "ndif-api-key: key of ada\r\n", b"").await.json();
    assert_eq!(polled["status"], "COMPLETED");
    // Each websocket is for one request, wherever that is sent.
    for site in [&a, &b] {
        let refused = post(site, &socket).await;
        assert_eq!(refused.status, 400);
        assert!(
            refused.detail().starts_with("the websocket of this request is gone, or has had"),
            "{}",
            refused.detail()
        );
    }
}

#[tokio::test]
async fn many_websockets_of_one_gateway_each_hear_of_their_own_job() {
    let (_, store) = memory();
    let [a, b] = gateways(&store, ["a", "b"], by_link()).await;
    let mut waiting = Vec::new();
    for number in 1..41 {
        let socket = a.subscribe("ada").await;
        // In turn here and there.
        let job = post(if number % 2 == 0 { &a } else { &b }, &socket).await.job();
        waiting.push((socket, job, number));
    }
    for (_, job, number) in &waiting {
        run(&b, *job, *number).await;
    }
    for (mut socket, job, number) in waiting {
        let link = socket.end().await.unwrap_err();
        assert!(link.contains(&job.to_string()), "{link}");
        assert_eq!(fetch(&b, &link).await.len(), number);
    }
}

#[tokio::test]
async fn a_websocket_cannot_be_named_by_another_tenant_or_made_up() {
    let (_, store) = memory();
    let [a, b] = gateways(&store, ["a", "b"], by_link()).await;
    let mut socket = a.subscribe("ada").await;
    let other = a.subscribe("bob").await;
    let renamed = socket.session.strip_suffix(".a").unwrap().to_owned() + ".c";
    for session in [&other.session, &renamed, "0123456789abcdef0123456789abcdef", "..."] {
        let refused = b.submit("ada", session, &pickle::payload(b"K\x07"), "").await;
        assert_eq!(refused.status, 400, "{session}");
    }
    assert_eq!(b.jobs.live().await.unwrap().jobs, [], "nothing was accepted");
    let job = post(&b, &socket).await.job();
    run(&b, job, 1).await;
    assert!(socket.end().await.unwrap_err().contains(&job.to_string()));
}

#[tokio::test]
async fn a_job_whose_websocket_is_at_a_dead_gateway_runs_and_can_be_polled() {
    let (_, store) = memory();
    let [a, b] = gateways(&store, ["a", "b"], by_link()).await;
    let socket = a.subscribe("ada").await;
    drop(a);
    let job = post(&b, &socket).await.job();
    run(&b, job, 3).await;
    let polled = b.ask("GET", &format!("/response/{job}"), "ndif-api-key: key of ada\r\n", b"").await.json();
    assert_eq!(fetch(&b, polled["data"].as_str().unwrap()).await, vec![7; 3]);
}

#[tokio::test]
async fn the_same_request_again_names_its_websocket_again_and_another_websocket_is_told_where_the_result_is() {
    let (_, store) = memory();
    let [a, b, c] = gateways(&store, ["a", "b", "c"], by_link()).await;
    let mut sockets = [a.subscribe("ada").await, a.subscribe("ada").await];
    let names = [&sockets[0], &sockets[1]].map(|socket| socket.session.clone());
    let again = async |site: &Site, socket: usize| {
        site.submit("ada", &names[socket], &pickle::payload(b"K\x07"), "idempotency-key: k\r\n").await
    };
    let job = again(&b, 0).await.job();
    for site in [&b, &c] {
        assert_eq!(again(site, 0).await.job(), job);
    }
    let refused = again(&b, 1).await;
    assert_eq!(refused.status, 409);
    assert!(refused.detail().contains(&format!("job_id=\"{job}\"")), "{}", refused.detail());
    // Where its own gateway is asked, it hears all the same.
    assert_eq!(again(&a, 1).await.job(), job);
    run(&b, job, 3).await;
    for socket in &mut sockets {
        assert!(socket.end().await.unwrap_err().contains(&job.to_string()));
    }
    assert_eq!(b.jobs.live().await.unwrap().jobs, []);
}

#[tokio::test]
async fn a_gap_in_the_watch_loses_no_news() {
    for seed in 0..5 {
        let memory = MemoryStore::new(seed);
        let store: Arc<dyn MetadataStore> = Arc::new(memory.clone());
        let [a, b] = gateways(&store, ["a", "b"], by_link()).await;
        memory.set_faults(Faults { gap: 0.7, ..Faults::default() });
        let mut sockets = Vec::new();
        for number in 1..11 {
            let socket = a.subscribe("ada").await;
            let job = post(&b, &socket).await.job();
            run(&b, job, number).await;
            sockets.push((socket, job));
        }
        // A gap behind which nothing comes would be told by the next change.
        memory.resync();
        for (mut socket, job) in sockets {
            assert!(socket.end().await.unwrap_err().contains(&job.to_string()), "seed {seed}");
        }
    }
}

#[tokio::test]
async fn a_key_that_is_revoked_at_one_gateway_is_dead_at_all() {
    let (_, store) = memory();
    let [a, b] = gateways(&store, ["a", "b"], by_link()).await;
    let ask = async |site: &Site, tenant: &str| {
        let head = format!("ndif-api-key: key of {tenant}\r\n");
        site.ask("GET", &format!("/response/{}", JobId::MAX), &head, b"").await.status
    };
    assert_eq!((ask(&a, "ada").await, ask(&b, "ada").await), (404, 404));
    let id = a.keys.authenticate("key of ada").await.unwrap().unwrap().key;
    assert!(a.keys.revoke(&id).await.unwrap());
    assert_eq!(ask(&a, "ada").await, 401, "at once where it was revoked");
    while ask(&b, "ada").await != 401 {}
    assert_eq!((ask(&a, "bob").await, ask(&b, "bob").await), (404, 404));
}
