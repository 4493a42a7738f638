//! An etcd of some members on this machine, each with a folder of its own, that can be killed and stopped.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what cannot be started must fail the test that wants it")]

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use etcd_client::Client;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::etcd::EtcdOptions;

/// Time for whatever must happen sooner or later.
const PATIENCE: Duration = Duration::from_secs(60);

/// The members. Dropping them ends them.
pub struct Cluster {
    pub members: Vec<Member>,
}

/// One member.
pub struct Member {
    pub url: String,
    /// How it is started, the next time too.
    pub arguments: Vec<String>,
    child: Child,
    folders: Vec<TempDir>,
}

impl Cluster {
    /// Starts so many members, and waits until each takes part.
    pub async fn start(members: usize) -> Self {
        let ports = free_ports(members * 2);
        let peers: Vec<String> =
            (0..members).map(|number| format!("m{number}=http://127.0.0.1:{}", ports[number])).collect();
        let start = |number: usize| {
            let folder = tempfile::tempdir().unwrap();
            let (peer, client) = (ports[number], ports[members + number]);
            let arguments = vec![
                format!("--name=m{number}"),
                format!("--data-dir={}", folder.path().display()),
                format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
                format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
                format!("--listen-client-urls=http://127.0.0.1:{client}"),
                format!("--advertise-client-urls=http://127.0.0.1:{client}"),
                format!("--initial-cluster={}", peers.join(",")),
                "--log-level=error".into(),
            ];
            let child = spawn(&arguments);
            Member { url: format!("http://127.0.0.1:{client}"), arguments, child, folders: vec![folder] }
        };
        let cluster = Self { members: (0..members).map(start).collect() };
        cluster.ready().await;
        cluster
    }

    /// Waits until every member takes part.
    pub async fn ready(&self) {
        for member in &self.members {
            member.ready().await;
        }
    }

    /// Names all members.
    #[must_use]
    pub fn options(&self) -> EtcdOptions {
        EtcdOptions::new(self.members.iter().map(|member| &member.url))
    }
}

impl Member {
    /// Waits until it takes part.
    pub async fn ready(&self) {
        let ready = async {
            loop {
                if let Ok(mut client) = Client::connect([&self.url], None).await
                    && let Ok(Ok(_)) = timeout(Duration::from_secs(1), client.get("/", None)).await
                {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, ready).await.expect("etcd does not answer");
    }

    /// Returns the number of its process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, with what it had on disk.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.arguments);
    }

    /// Ends it, and starts it as if it were restored from a snapshot of when there was nothing, with a token that names the
    /// new cluster.
    pub fn forget(&mut self, token: &str) {
        self.kill();
        let folder = tempfile::tempdir().unwrap();
        self.arguments.push(format!("--data-dir={}", folder.path().display()));
        self.arguments.push(format!("--initial-cluster-token={token}"));
        self.folders.push(folder);
        self.start_again();
    }

    /// Stops it, and waits until it does no more.
    pub fn stop(&self) {
        let process = Pid::from_child(&self.child);
        kill_process(process, Signal::STOP).unwrap();
        let (_, status) = waitpid(Some(process), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped());
    }

    /// Lets it go on where it was stopped.
    pub fn go_on(&self) {
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

/// Returns ports that nobody has at the moment, no two alike.
pub fn free_ports(count: usize) -> Vec<u16> {
    let bound: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    bound.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}
