//! How results and lines reach clients, and that a client which does not read delays nobody else.

use gateway::Settings;
use ids::JobId;
use store::Line;
use store::job::Event;

use crate::site::{Site, Socket, pickle};

async fn begin(site: &Site, tenant: &str) -> (Socket, JobId) {
    let socket = site.subscribe(tenant).await;
    let job = site.submit(tenant, &socket.session, &pickle::payload(b"K\x07"), "").await.job();
    site.dispatch(job, 0).await;
    (socket, job)
}

#[tokio::test]
async fn a_small_result_comes_inside_and_a_large_one_by_link() {
    let site = Site::new(Settings { inline_result_bytes: 100_000, ..Settings::default() }).await;
    for (bytes, inside) in [(10, true), (100_000, true), (100_001, false)] {
        let (mut socket, job) = begin(&site, "ada").await;
        site.finish("ada", job, 1, bytes).await;
        match socket.end().await {
            Ok(length) => assert!(inside && length > bytes, "{bytes}"),
            Err(link) => {
                assert!(!inside, "{bytes}");
                let path = link.strip_prefix("http://h").unwrap();
                assert_eq!(site.ask("GET", path, "", b"").await.body, vec![7; bytes]);
            }
        }
    }
}

#[tokio::test]
async fn results_that_nobody_reads_delay_nobody_elses() {
    let result = 1 << 20;
    // Room for two of one tenant, and for eight in all.
    let site = Site::new(Settings { inline_memory_bytes: 16 * result as u64, ..Settings::default() }).await;
    let mut unread = Vec::new();
    for _ in 0..10 {
        let (socket, job) = begin(&site, "ada").await;
        site.finish("ada", job, 1, result).await;
        unread.push(socket);
    }
    let (mut socket, job) = begin(&site, "bob").await;
    site.finish("bob", job, 1, result).await;
    assert!(socket.end().await.unwrap() > result, "bob's comes, and inside");
    let mut inside = 0;
    for socket in &mut unread {
        inside += usize::from(socket.end().await.is_ok());
    }
    assert_eq!(inside, 2, "ada's share; the others were given as links");
}

#[tokio::test]
async fn downloads_that_nobody_reads_leave_room_for_others() {
    let settings = Settings { downloads: 3, downloads_per_tenant: 2, inline_result_bytes: 0, ..Settings::default() };
    let site = Site::new(settings).await;
    let mut links = Vec::new();
    for tenant in ["ada", "bob"] {
        let (mut socket, job) = begin(&site, tenant).await;
        site.finish(tenant, job, 1, 32 << 20).await;
        links.push(socket.end().await.unwrap_err().strip_prefix("http://h").unwrap().to_owned());
    }
    let mut unread = Vec::new();
    for (link, code) in [(&links[0], 200), (&links[0], 200), (&links[0], 429), (&links[1], 200), (&links[1], 503)] {
        let (status, stream) = site.begin(link).await;
        assert_eq!(status, code);
        unread.push(stream);
    }
    drop(unread);
    // Given back once the server has seen that they are gone.
    while site.begin(&links[0]).await.0 != 200 {}
}

#[tokio::test]
async fn a_burst_of_lines_is_few_frames_and_lines_of_a_lost_attempt_are_told_apart() {
    let site = Site::new(Settings::default()).await;
    let (mut socket, job) = begin(&site, "ada").await;
    let line = |attempt, text: &str| Line { job, attempt, number: 0, text: text.into() };
    let burst = vec!["x"; 200_000].join("\n");
    site.jobs.append_log(&[line(1, &burst)]).await.unwrap();
    site.jobs.transition(job, 1, &Event::Requeued { worker_died: true }, 3).await.unwrap();
    site.dispatch(job, 1).await;
    site.jobs.append_log(&[line(2, "again")]).await.unwrap();
    site.finish("ada", job, 2, 10).await;
    let mut lines = Vec::new();
    loop {
        let (binary, bytes) = socket.frame().await;
        if binary {
            break;
        }
        let frame: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        if frame["status"] == "LOG" {
            lines.push(frame["description"].as_str().unwrap().to_owned());
        }
    }
    let told = lines.iter().position(|text| text.contains("attempt 2")).expect("the new attempt is told");
    assert!(told <= 400_000 / (16 << 10) + 1, "{told} frames");
    assert_eq!(lines[..told].join("\n"), burst);
    assert_eq!(lines[told + 1..], ["again"]);
}

#[tokio::test]
async fn links_begin_as_the_operator_says_whatever_the_client_calls_this_server() {
    let public = Some("https://vitrine.example.org/".to_owned());
    for (settings, host, begins) in [
        (Settings::default(), "there:80", "http://there:80/results/"),
        (Settings { https: true, ..Settings::default() }, "there", "https://there/results/"),
        (Settings::default(), "evil/?", "http://localhost/results/"),
        (Settings { public_url: public, ..Settings::default() }, "evil", "https://vitrine.example.org/results/"),
    ] {
        let site = Site::new(settings).await;
        let job = site.submit("ada", "", &pickle::payload(b"K\x07"), "").await.job();
        site.dispatch(job, 0).await;
        site.finish("ada", job, 1, 10).await;
        // The last of two hosts would be refused as one too many, so this asks by itself.
        let head = format!("ndif-api-key: key of ada\r\nhost: {host}\r\n");
        let link = site.ask_as(&format!("/response/{job}"), &head).await.json()["data"].as_str().unwrap().to_owned();
        assert!(link.starts_with(begins), "{link}");
    }
}
