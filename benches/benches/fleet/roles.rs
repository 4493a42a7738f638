//! The parts of the cluster: a process each.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use auth::{Grant, Keys, Scope, ServerSecret};
use ids::TenantId;
use serde_json::Value as Json;
use store::testing::etcd::Cluster;
use store::{EtcdStore, MetadataStore, ModelState, Models};
use tempfile::TempDir;

use crate::etcd::Counts;

/// What workers show.
const TOKEN: &str = "token";

/// The parts. Dropping them ends them.
pub struct Roles {
    /// Where the gateway is, and the key to it.
    pub url: String,
    pub key: String,
    processes: Vec<(&'static str, Process)>,
    etcd: Cluster,
    _folder: TempDir,
}

/// A process that ends when it is dropped.
struct Process(Child);

impl Roles {
    /// Starts all of them, each with its settings as they are by default.
    pub async fn start(order: &Json) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let etcd = Cluster::start(1).await;
        let store: Arc<dyn MetadataStore> = Arc::new(EtcdStore::connect(etcd.options()).await.unwrap());
        let keys = Keys::new(Arc::clone(&store), &ServerSecret::load(store.as_ref()).await.unwrap());
        let grant = Grant::new(TenantId::new("bench"), &[Scope::Submit, Scope::ReadOwn]);
        let key = keys.create(grant).await.unwrap().reveal().to_owned();

        let path = |name: &str| folder.path().join(name);
        fs::write(path("token"), TOKEN).unwrap();
        fs::create_dir(path("model")).unwrap();
        let shared = format!(
            "[store]\nendpoints = [\"{}\"]\n[objects]\nfolder = \"{}\"\n",
            etcd.members[0].url,
            path("objects").display()
        );
        let scheduler = format!(
            "listen = \"127.0.0.1:0\"\ntoken_file = \"{}\"\nmodels = [\"{}={}\"]\n{shared}",
            path("token").display(),
            order["model"].as_str().unwrap(),
            path("model").display()
        );
        let gateway = format!("listen = \"127.0.0.1:0\"\n{shared}");
        let vitrine = Path::new(order["vitrine"].as_str().unwrap());
        let start = |role: &str, settings: String| {
            let file = path(role).with_extension("toml");
            fs::write(&file, settings).unwrap();
            let mut command = Command::new(vitrine);
            command.arg(role).arg("--config").arg(file);
            Process::start(command)
        };
        let (scheduler, dialled) = start("scheduler", scheduler);
        let mut worker = Command::new(std::env::current_exe().unwrap());
        worker.args(["worker", &dialled]);
        let (worker, _) = Process::start(worker);
        let models = Models::new(store);
        while !models.list().await.unwrap().iter().any(|model| model.state == ModelState::Ready) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (gateway, url) = start("gateway", gateway);
        let processes = vec![("gateway", gateway), ("scheduler", scheduler), ("worker", worker)];
        Self { url, key, processes, etcd, _folder: folder }
    }

    /// Returns the parts with the numbers of their processes.
    pub fn processes(&self) -> Vec<(&'static str, u32)> {
        let own = self.processes.iter().map(|(part, process)| (*part, process.0.id()));
        own.chain([("etcd", self.etcd.members[0].process())]).collect()
    }

    /// Returns what etcd has done so far.
    pub fn etcd_counts(&self) -> Counts {
        Counts::of(&self.etcd.members[0].url)
    }
}

impl Process {
    /// Starts a process, and returns what the line says with which it tells that it is ready.
    fn start(mut command: Command) -> (Self, String) {
        // Settings are this file's alone.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VITRINE_")) {
            command.env_remove(name);
        }
        let mut process = Self(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap());
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = line.strip_prefix("ready ").unwrap_or_else(|| panic!("{command:?} did not start: {line:?}"));
        (process, ready.trim().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended, which its clients have said.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Is the worker: as the real one is, with the toy model in the place of one that needs libtorch.
pub fn work() {
    let scheduler = std::env::args().nth(2).unwrap();
    let config = worker::Config::new(vec![scheduler], TOKEN.into(), "worker".into());
    let loader: worker::Loader = Arc::new(|_, _| Ok(Box::new(engine::fake::engine()).into()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("ready worker");
    runtime.block_on(worker::run(config, loader)).unwrap();
}
