//! Several gateways over etcd, and etcd stopped and continued under them.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use gateway::Settings;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use store::{EtcdOptions, EtcdStore, MetadataStore};
use tempfile::TempDir;

use crate::several::{fetch, post};
use crate::site::Site;

/// An etcd of one member.
struct Etcd {
    url: String,
    child: Child,
    _folder: TempDir,
}

impl Etcd {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bound = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let [client, peer] = bound.map(|bound| format!("http://{}", bound.local_addr().unwrap()));
        let arguments = [
            format!("--data-dir={}", folder.path().display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--log-level=error".into(),
        ];
        let started = Command::new("etcd").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child =
            started.unwrap_or_else(|error| panic!("cannot start etcd, which `make setup-tests` installs: {error}"));
        Self { url: client, child, _folder: folder }
    }

    /// Returns a store of its own for each of several processes.
    async fn store(&self) -> Arc<dyn MetadataStore> {
        let options = || EtcdOptions { deadline: Duration::from_secs(2), ..EtcdOptions::new([&self.url]) };
        loop {
            // It may not listen yet.
            if let Ok(store) = EtcdStore::connect(options()).await {
                return Arc::new(store);
            }
            tokio::task::yield_now().await;
        }
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

impl Drop for Etcd {
    fn drop(&mut self) {
        // One that is stopped can be killed, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_two_gateways_over_etcd_survives_that_etcd_is_stopped() {
    let etcd = Etcd::start();
    let play = etcd.store().await;
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let settings = Settings { inline_result_bytes: 0, ..Settings::default() };
    let mut sites = Vec::new();
    for name in ["a", "b", "c"] {
        sites.push(Site::among(&play, etcd.store().await, Arc::clone(&folder), name, settings.clone()).await);
    }
    let [a, b, c] = &sites[..] else { panic!("there are three") };
    let mut socket = a.subscribe("ada").await;
    let job = post(b, &socket).await.job();
    c.dispatch(job, 0).await;

    etcd.stop();
    let waiting = a.subscribe("ada").await;
    let refused = post(b, &waiting).await;
    assert_eq!((refused.status, refused.retry_after()), (503, Some(2)), "{}", refused.detail());
    let head = "ndif-api-key: key of ada\r\n";
    let polled = b.ask("GET", &format!("/response/{job}"), head, b"").await;
    assert_eq!(polled.status, 503, "{}", polled.detail());
    while b.ask("GET", "/readyz", "", b"").await.status == 200 {}

    etcd.go_on();
    while b.ask("GET", "/readyz", "", b"").await.status != 200 {}
    c.finish("ada", job, 1, 100_000).await;
    let link = socket.end().await.unwrap_err();
    assert_eq!(fetch(c, &link).await, vec![7; 100_000]);
}
