//! Several gateways over etcd, and etcd stopped and continued under them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway::Settings;
use ids::JobId;
use store::testing::etcd::Cluster;
use store::{EtcdOptions, EtcdStore, MetadataStore};

use crate::several::{fetch, post};
use crate::site::{Site, pickle};

/// How long a gateway's call of etcd may take, and one of the test's own.
const DEADLINE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns a store of its own for each of several processes.
async fn connect(etcd: &Cluster, deadline: Duration) -> Arc<dyn MetadataStore> {
    Arc::new(EtcdStore::connect(EtcdOptions { deadline, ..etcd.options() }).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_two_gateways_over_etcd_survives_that_etcd_is_stopped() {
    let etcd = Cluster::start(1).await;
    let play = connect(&etcd, PATIENCE).await;
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let settings = Settings { inline_result_bytes: 0, ..Settings::default() };
    let mut sites = Vec::new();
    for name in ["a", "b", "c"] {
        sites.push(
            Site::among(&play, connect(&etcd, DEADLINE).await, Arc::clone(&folder), name, settings.clone()).await,
        );
    }
    let [a, b, c] = &sites[..] else { panic!("there are three") };
    let mut socket = a.subscribe("ada").await;
    let job = post(b, &socket).await.job();
    c.dispatch(job, 0).await;

    etcd.members[0].stop();
    let waiting = a.subscribe("ada").await;
    let refused = post(b, &waiting).await;
    assert_eq!((refused.status, refused.retry_after()), (503, Some(2)), "{}", refused.detail());
    let head = "ndif-api-key: key of ada\r\n";
    let polled = b.ask("GET", &format!("/response/{job}"), head, b"").await;
    assert_eq!(polled.status, 503, "{}", polled.detail());
    while b.ask("GET", "/readyz", "", b"").await.status == 200 {}

    etcd.members[0].go_on();
    while b.ask("GET", "/readyz", "", b"").await.status != 200 {}
    c.finish("ada", job, 1, 100_000).await;
    let link = socket.end().await.unwrap_err();
    assert_eq!(fetch(c, &link).await, vec![7; 100_000]);
}

/// Posts at gateways in turn until ten requests in a row were taken. Returns the jobs, and when the last refusal came.
async fn post_until_taken(sites: &[Site]) -> (Vec<JobId>, Duration) {
    let (mut jobs, mut in_a_row, mut refused) = (Vec::new(), 0, Duration::ZERO);
    let began = Instant::now();
    for site in sites.iter().cycle() {
        let answer = site.submit("ada", "", &pickle::payload(b"K\x07"), "").await;
        if answer.status == 200 {
            jobs.push(answer.job());
            in_a_row += 1;
        } else {
            assert_eq!((answer.status, answer.retry_after()), (503, Some(2)), "{}", answer.detail());
            (in_a_row, refused) = (0, began.elapsed());
        }
        if in_a_row == 10 {
            break;
        }
    }
    (jobs, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_gateways_take_jobs_whichever_member_of_etcd_dies_or_is_stopped() {
    let mut etcd = Cluster::start(3).await;
    let play = connect(&etcd, PATIENCE).await;
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let mut sites = Vec::new();
    for name in ["a", "b"] {
        let seen = connect(&etcd, DEADLINE).await;
        sites.push(Site::among(&play, seen, Arc::clone(&folder), name, Settings::default()).await);
    }
    let mut socket = sites[0].subscribe("ada").await;
    let job = post(&sites[1], &socket).await.job();
    let mut taken = vec![job];
    for stops in [false, true] {
        // One of them leads.
        for member in &mut etcd.members {
            match stops {
                false => member.kill(),
                true => member.stop(),
            }
            let (jobs, refused) = post_until_taken(&sites).await;
            println!("{} of a member: the last refusal after {refused:?}", if stops { "stop" } else { "death" });
            taken.extend(jobs);
            match stops {
                false => member.start_again(),
                true => member.go_on(),
            }
            member.ready().await;
        }
    }
    let live = sites[0].jobs.live().await.unwrap().jobs;
    let lost: Vec<_> = taken.iter().filter(|job| !live.iter().any(|live| live.id == **job)).collect();
    assert!(lost.is_empty(), "what was acknowledged is there: {lost:?}");
    sites[0].dispatch(job, 0).await;
    sites[0].finish("ada", job, 1, 10).await;
    assert!(socket.end().await.unwrap() > 10);
}
