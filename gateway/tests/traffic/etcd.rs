//! Several gateways over etcd, and etcd stopped and continued under them.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway::Settings;
use ids::JobId;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use store::{EtcdOptions, EtcdStore, MetadataStore};
use tempfile::TempDir;

use crate::several::{fetch, post};
use crate::site::{Site, pickle};

/// How long a gateway's call of etcd may take, and one of the test's own.
const DEADLINE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);

/// An etcd of some members on this machine.
struct Etcd {
    members: Vec<Member>,
}

struct Member {
    url: String,
    arguments: Vec<String>,
    child: Child,
    _folder: TempDir,
}

impl Etcd {
    /// Starts it, and waits until each member takes part.
    async fn start(members: usize) -> Self {
        let bound = (0..members * 2).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        // All are bound before the first is given back, so that no two are the same.
        let bound: Vec<TcpListener> = bound.collect();
        let urls: Vec<String> = bound.iter().map(|bound| format!("http://{}", bound.local_addr().unwrap())).collect();
        drop(bound);
        let (clients, peers) = urls.split_at(members);
        let all: Vec<String> = (0..members).map(|number| format!("m{number}={}", peers[number])).collect();
        let start = |number: usize| {
            let folder = tempfile::tempdir().unwrap();
            let (client, peer) = (&clients[number], &peers[number]);
            let arguments = vec![
                format!("--name=m{number}"),
                format!("--data-dir={}", folder.path().display()),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster={}", all.join(",")),
                "--log-level=error".into(),
            ];
            let child = spawn(&arguments);
            Member { url: client.clone(), arguments, child, _folder: folder }
        };
        let etcd = Self { members: (0..members).map(start).collect() };
        for member in &etcd.members {
            member.ready().await;
        }
        etcd
    }

    /// Returns a store of its own for each of several processes.
    async fn store(&self, deadline: Duration) -> Arc<dyn MetadataStore> {
        let urls = self.members.iter().map(|member| &member.url);
        connect(EtcdOptions { deadline, ..EtcdOptions::new(urls) }).await
    }
}

impl Member {
    /// Waits until it takes part.
    async fn ready(&self) {
        connect(EtcdOptions::new([&self.url])).await;
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn start_again(&mut self) {
        self.child = spawn(&self.arguments);
    }

    /// Stops it, and waits until it does no more.
    fn stop(&self) {
        let process = Pid::from_child(&self.child);
        kill_process(process, Signal::STOP).unwrap();
        let (_, status) = waitpid(Some(process), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped());
    }

    fn go_on(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).unwrap();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have been killed by its test. One that is stopped can be killed, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(arguments: &[String]) -> Child {
    let started = Command::new("etcd").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    started.unwrap_or_else(|error| panic!("cannot start etcd, which `make setup-tests` installs: {error}"))
}

/// Connects, as soon as there is somebody who answers.
async fn connect(options: EtcdOptions) -> Arc<dyn MetadataStore> {
    loop {
        if let Ok(store) = EtcdStore::connect(options.clone()).await {
            return Arc::new(store);
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_two_gateways_over_etcd_survives_that_etcd_is_stopped() {
    let etcd = Etcd::start(1).await;
    let play = etcd.store(PATIENCE).await;
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let settings = Settings { inline_result_bytes: 0, ..Settings::default() };
    let mut sites = Vec::new();
    for name in ["a", "b", "c"] {
        sites.push(Site::among(&play, etcd.store(DEADLINE).await, Arc::clone(&folder), name, settings.clone()).await);
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
    let mut etcd = Etcd::start(3).await;
    let play = etcd.store(PATIENCE).await;
    for member in &etcd.members {
        member.ready().await;
    }
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let mut sites = Vec::new();
    for name in ["a", "b"] {
        let seen = etcd.store(DEADLINE).await;
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
