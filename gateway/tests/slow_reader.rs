//! Clients of gRPC that do not read: what waits for them waits where it is kept, and not in the gateway's memory.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "traffic/site.rs"]
#[expect(dead_code, reason = "others use more of it")]
mod site;

use gateway::Settings;
use ids::JobId;
use proto::v1::jobs_client::JobsClient;
use proto::v1::{FetchResultRequest, FollowJobRequest, ResultFormat};
use site::{Site, pickle};
use store::Line;
use tonic::Request;
use tonic::transport::Endpoint;

const MIB: usize = 1 << 20;
/// What a result has, and how many clients take it without reading.
const RESULT: usize = 128 * MIB;
const CLIENTS: usize = 8;

/// Returns MiB of this process that are its own.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
}

fn asked<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", "Bearer key of ada".parse().unwrap());
    request
}

/// Lets everything go as far as it can by itself.
async fn settle() {
    for _ in 0..20_000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn clients_that_do_not_read_cost_little_memory_however_much_there_is_for_them() {
    let site = Site::new(Settings::default()).await;
    let address = site.by_grpc().await;
    let submitted = async || -> JobId {
        let job = site.submit("ada", "", &pickle::payload(b"K\x07"), "").await.job();
        site.dispatch(job, 0).await;
        job
    };
    let (large, talks) = (submitted().await, submitted().await);
    site.finish("ada", large, 1, RESULT).await;
    for number in 0..64 {
        // As much as a job may print.
        let text = "x".repeat(MIB / 64);
        site.jobs.append_log(&[Line { job: talks, attempt: 1, number, text }]).await.unwrap();
    }
    let before = memory();
    let (mut unread, mut most) = (Vec::new(), 0);
    let mut following = Vec::new();
    for _ in 0..CLIENTS {
        // Each by a connection of its own.
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let mut client = JobsClient::new(channel);
        let fetch = FetchResultRequest { job_id: large.to_string(), format: ResultFormat::Client.into() };
        unread.push(client.fetch_result(asked(fetch)).await.unwrap().into_inner());
        let follow = FollowJobRequest { job_id: talks.to_string(), after: String::new() };
        following.push(client.follow_job(asked(follow)).await.unwrap().into_inner());
    }
    for _ in 0..5 {
        settle().await;
        most = most.max(memory());
    }
    let mut pieces = unread.pop().unwrap();
    let mut read = 0;
    while let Some(piece) = pieces.message().await.unwrap() {
        read += piece.piece.len();
        most = most.max(memory());
    }
    assert_eq!(read, RESULT, "and who reads gets all of it");
    let grown = most.saturating_sub(before);
    println!("{grown} MiB more for {CLIENTS} clients");
    assert!(grown < RESULT / MIB / 2, "{grown} MiB more for {CLIENTS} clients");
}
