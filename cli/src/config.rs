//! What an operator can set about `vitrine up`: a section for each role, and what they have in common.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::Args;
use program::Batching;
use serde::{Deserialize, Serialize};

use crate::hosted::Hosted;
use config::Given;

/// The settings of `vitrine up`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where clients connect; port 0 takes a free one. Default `127.0.0.1:8000`.
    pub listen: String,
    /// Where clients connect by gRPC, such as `127.0.0.1:8001`; port 0 takes a free one. Default: nowhere.
    pub grpc_listen: Option<String>,
    /// The gateway's certificate with those above it, in PEM form. Default: none, and no TLS.
    pub tls_certificate: Option<PathBuf>,
    /// The key of that certificate.
    pub tls_key: Option<PathBuf>,
    /// Whether clients beyond this machine may connect without TLS, as behind a proxy that has it. Default false.
    pub plaintext: bool,
    /// Where probes are answered, and metrics shown, by a thread of their own. Default: probes where clients connect, too,
    /// and metrics nowhere.
    pub health: Option<SocketAddr>,
    /// The same of its worker, which is a process of its own. Default: nowhere.
    pub worker_health: Option<SocketAddr>,
    /// The folder that holds everything the server must remember. Default `.vitrine`.
    pub data: PathBuf,
    /// Models to host, as `REPO_ID=FOLDER[,dtype=float32|bfloat16|int8|nf4][,device=cpu|cuda|cuda:N][,ranks=N][,residency=stream]`. Default: none.
    pub models: Vec<Hosted>,
    /// Whether SmolLM2-135M-Instruct is hosted, too, which is fetched on first use (93 MB). Default true.
    pub default_model: bool,
    /// A key that may do everything here, besides those that exist. Default: the first start makes one and shows it.
    pub api_key: Option<String>,
    /// How jobs of that key share forward passes, where a request does not say. Default `shared`.
    pub batching: Batching,
    /// How long to wait for running jobs when asked to stop. Default 20 seconds.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
    /// Bytes that models take together on each device, such as `40G`; one that finds no room is loaded when somebody asks
    /// for it. Default: seven eighths of what is free.
    pub model_memory: Option<String>,
    /// The torch/lib folder of an installed torch 2.11.0, for GPUs. Default: looked for.
    pub torch_lib: Option<PathBuf>,
    /// How ranks of one model send each other tensors: `auto`, `memory` or `nccl`. Default `auto`, which is NCCL where ranks
    /// are on GPUs and all of them can.
    pub collectives: Option<String>,
    /// The worker's program. Default: the one beside this program.
    pub worker: Option<PathBuf>,
    pub gateway: gateway::Settings,
    pub scheduler: Scheduler,
}

/// What of the scheduler can be set.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scheduler {
    /// Time between signs of life of a worker; three missed end its session. Default 2 seconds.
    #[serde(with = "humantime_serde")]
    pub heartbeat: Duration,
    /// How long a worker whose connection ended may take to come back with what it has; then that runs elsewhere. It has
    /// as long after a start. Default 45 seconds.
    #[serde(with = "humantime_serde")]
    pub reattach: Duration,
    /// How long a worker may take to begin with a job before it must give it back. Default 10 minutes.
    #[serde(with = "humantime_serde")]
    pub start_time: Duration,
    /// How long a job may wait before it expires. Default 1 day.
    #[serde(with = "humantime_serde")]
    pub queue_time: Duration,
    /// What a job gets beyond its running time before the scheduler ends it over the worker's head. Default 10 seconds.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
    /// How long the record and the result of a job stay after its end. Default 7 days.
    #[serde(with = "humantime_serde")]
    pub result_time: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8000".into(),
            grpc_listen: None,
            tls_certificate: None,
            tls_key: None,
            plaintext: false,
            health: None,
            worker_health: None,
            data: ".vitrine".into(),
            models: Vec::new(),
            default_model: true,
            api_key: None,
            batching: Batching::default(),
            drain: Duration::from_secs(20),
            model_memory: None,
            torch_lib: None,
            collectives: None,
            worker: None,
            gateway: gateway::Settings::default(),
            scheduler: Scheduler::default(),
        }
    }
}

impl Default for Scheduler {
    fn default() -> Self {
        let scheduler::Config { heartbeat, reattach, start_time, queue_time, grace, result_time, .. } =
            scheduler::Config::default();
        Self { heartbeat, reattach, start_time, queue_time, grace, result_time }
    }
}

impl Scheduler {
    /// Says what cannot be as it is set.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn check(&self) -> Result<()> {
        if self.heartbeat < Duration::from_millis(100) {
            return Err(anyhow!("scheduler.heartbeat must be at least 100ms"));
        }
        Ok(())
    }

    /// Returns the scheduler's own settings, the rest of them as they are by default.
    pub fn config(&self) -> scheduler::Config {
        let Self { heartbeat, reattach, start_time, queue_time, grace, result_time } = *self;
        let default = scheduler::Config::default();
        scheduler::Config { heartbeat, reattach, start_time, queue_time, grace, result_time, ..default }
    }
}

impl Config {
    /// Returns the settings as a file would have them, but for the key, which is nobody's to read.
    ///
    /// # Errors
    /// When one cannot be written down, which is a fault of this program.
    pub fn print(&self) -> Result<String> {
        Ok(config::print(&Self { api_key: None, ..self.clone() })?)
    }

    /// Says what cannot be as it is set.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn check(&self) -> Result<()> {
        if self.tls_certificate.is_some() != self.tls_key.is_some() {
            return Err(anyhow!("tls_certificate and tls_key belong together: set both or neither"));
        }
        if let Some(other) = self.collectives.as_deref().filter(|known| !["auto", "memory", "nccl"].contains(known)) {
            return Err(anyhow!("collectives is {other:?}, and may be auto, memory or nccl"));
        }
        self.scheduler.check()?;
        self.gateway.check().map_err(|why| anyhow!("gateway.{why}"))
    }
}

/// The flags of `vitrine up`. Each says what its setting is called elsewhere; those without a flag have `--set`.
#[derive(Args)]
pub struct Flags {
    #[command(flatten)]
    pub given: Given,
    /// Where clients connect; port 0 takes a free one [default: 127.0.0.1:8000] [env: VITRINE_LISTEN].
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Where clients connect by gRPC, such as 127.0.0.1:8001; port 0 takes a free one [default: nowhere]
    /// [env: VITRINE_GRPC_LISTEN].
    #[arg(long, value_name = "ADDR")]
    grpc_listen: Option<String>,
    /// The certificate of this server, in PEM form; clients then connect by https [env: VITRINE_TLS_CERTIFICATE].
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<String>,
    /// The key of that certificate [env: VITRINE_TLS_KEY].
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// Let clients beyond this machine connect without TLS, as behind a proxy that has it [env: VITRINE_PLAINTEXT].
    #[arg(long)]
    plaintext: bool,
    /// What links to results begin with [default: the address that a client used] [env: VITRINE_GATEWAY__PUBLIC_URL].
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Where probes are answered by a thread of their own: /startupz, /readyz, /livez [env: VITRINE_HEALTH].
    #[arg(long, value_name = "ADDR")]
    health_listen: Option<String>,
    /// The folder that holds everything the server must remember [default: .vitrine] [env: VITRINE_DATA].
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// A model to host and the folder that has its config.json, tokenizer and safetensors. May be repeated.
    #[arg(
        long = "model",
        value_name = "REPO_ID=FOLDER[,dtype=float32|bfloat16|int8|nf4][,device=cpu|cuda|cuda:N][,ranks=N][,residency=stream]"
    )]
    models: Vec<Hosted>,
    /// Bytes that models take together on each device, such as `40G`; one that finds no room is loaded when somebody asks
    /// for it [default: 7/8 of what is free] [env: VITRINE_MODEL_MEMORY].
    #[arg(long, value_name = "SIZE")]
    model_memory: Option<String>,
    /// The torch/lib folder of an installed torch 2.11.0, whose libtorch_cuda.so computes on GPUs. Without it, the
    /// worker looks in the usual places where this machine has an NVIDIA driver [env: VITRINE_TORCH_LIB].
    #[arg(long, value_name = "DIR")]
    torch_lib: Option<String>,
    /// How ranks of one model send each other tensors [default: auto] [env: VITRINE_COLLECTIVES].
    #[arg(long, value_name = "auto|memory|nccl")]
    collectives: Option<String>,
    /// Do not host SmolLM2-135M-Instruct, which is fetched on first use (93 MB) otherwise.
    #[arg(long)]
    no_default_model: bool,
    /// A key that may do everything here, besides those that exist. Without it, the first start makes one and shows it
    /// [env: VITRINE_API_KEY].
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    /// How jobs of that key share forward passes, where a request does not say [default: shared].
    #[arg(long, value_name = "shared|reproducible|exclusive")]
    batching: Option<Batching>,
    /// How long to wait for running jobs when asked to stop, in seconds [default: 20].
    #[arg(long, value_name = "SECONDS")]
    drain: Option<u64>,
    /// The worker's program, where it does not lie beside this one.
    #[arg(long, hide = true, value_name = "FILE")]
    worker: Option<String>,
}

impl Flags {
    /// Puts settings together: defaults, then the file, then the environment, then these flags.
    ///
    /// # Errors
    /// A sentence that names the key and where its value came from.
    pub fn load(&self) -> Result<Config> {
        let config: Config = self.given.load(self.texts()?)?;
        config.check()?;
        Ok(config)
    }

    fn texts(&self) -> Result<Vec<(String, String)>> {
        let mut texts = Vec::new();
        let mut add = |key: &str, value: Option<String>| texts.extend(value.map(|value| (key.to_owned(), value)));
        add("listen", self.listen.clone());
        add("grpc_listen", self.grpc_listen.clone());
        add("tls_certificate", self.tls_certificate.clone());
        add("tls_key", self.tls_key.clone());
        add("plaintext", self.plaintext.then(|| "true".into()));
        add("gateway.public_url", self.public_url.clone());
        add("health", self.health_listen.clone());
        add("data", self.data.clone());
        // A list in JSON is one in TOML.
        add("models", (!self.models.is_empty()).then(|| serde_json::to_string(&self.models)).transpose()?);
        add("default_model", self.no_default_model.then(|| "false".into()));
        add("model_memory", self.model_memory.clone());
        add("torch_lib", self.torch_lib.clone());
        add("collectives", self.collectives.clone());
        add("api_key", self.api_key.clone());
        add("batching", self.batching.map(|batching| batching.to_string()));
        add("drain", self.drain.map(|seconds| format!("{seconds}s")));
        add("worker", self.worker.clone());
        Ok(texts)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        flags: Flags,
    }

    fn load(file: &str, arguments: &[&str]) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vitrine.toml");
        std::fs::write(&path, file).unwrap();
        let all = [&["vitrine", "--config", path.to_str().unwrap()][..], arguments].concat();
        Program::parse_from(all).flags.load().map_err(|error| error.to_string())
    }

    #[test]
    fn every_setting_can_be_given_by_file_and_by_flag() {
        let file = "
            listen = '127.0.0.1:1'
            models = ['o/n=/a,dtype=float32']
            drain = '1m 5s'
            [gateway]
            socket_idle = '90s'
            [gateway.limits]
            fuel = 7
            run_time = '2m'
            [scheduler]
            result_time = '3days'";
        let config = load(file, &[]).unwrap();
        assert_eq!((config.listen.as_str(), config.drain), ("127.0.0.1:1", Duration::from_secs(65)));
        assert_eq!(config.models, ["o/n=/a,dtype=float32".parse().unwrap()]);
        let limits = &config.gateway.limits;
        assert_eq!((limits.fuel, limits.run_time), (7, Duration::from_secs(120)));
        assert_eq!(limits.heap_nodes, program::Limits::default().heap_nodes);
        assert_eq!(config.scheduler.config().result_time, Duration::from_secs(3 * 24 * 3600));
        let flags = ["--listen", "127.0.0.1:2", "--model", "a/b=/c", "--drain", "3", "--no-default-model"];
        let more = ["--set", "gateway.limits.fuel=8", "--set", "scheduler.queue_time=5m", "--public-url", "https://x"];
        let config = load(file, &[&flags[..], &more].concat()).unwrap();
        assert_eq!((config.listen.as_str(), config.drain), ("127.0.0.1:2", Duration::from_secs(3)));
        assert_eq!(config.models, ["a/b=/c".parse().unwrap()]);
        assert_eq!((config.gateway.limits.fuel, config.default_model), (8, false));
        assert_eq!(config.gateway.public_url.as_deref(), Some("https://x"));
        assert_eq!(config.scheduler.queue_time, Duration::from_secs(300));
    }

    #[test]
    fn what_is_printed_says_the_same_and_tells_no_key() {
        let provider = ["issuer=https://x", "client_id=vitrine", "roles.vitrine-admins=administrator", "session=1h"];
        let provider = provider.map(|text| format!("gateway.oidc.{text}"));
        let set = provider.iter().flat_map(|text| ["--set", text.as_str()]);
        let all = ["--api-key", "secret words", "--set", "gateway.limits.run_time=90s"].into_iter().chain(set);
        let config = load("", &all.collect::<Vec<_>>()).unwrap();
        assert_eq!(config.gateway.oidc.roles["vitrine-admins"], auth::Role::Administrator);
        let printed = config.print().unwrap();
        assert!(!printed.contains("secret"), "{printed}");
        let again = load(&printed, &[]).unwrap();
        assert_eq!(again.gateway, config.gateway);
        assert_eq!(again.print().unwrap(), printed);
    }

    #[test]
    fn settings_that_cannot_be_are_refused_by_name() {
        for (file, words) in [
            ("[gateway]\ninline_result_bytes = 100000000", "gateway.inline_result_bytes"),
            ("[gateway]\nbody_bytes = 1000000000", "gateway.upload_bytes_per_tenant"),
            ("[gateway]\npublic_url = 'vitrine.example.org'", "gateway.public_url"),
            ("[gateway.oidc]\nissuer = 'login.example.org'", "gateway.oidc.issuer must be a URL"),
            ("[gateway.oidc]\nissuer = 'https://login.example.org'", "gateway.oidc.client_id is not set"),
            ("[gateway.oidc]\nclient_id = 'x'", "gateway.oidc.client_id is set, and issuer is not"),
            ("[gateway.oidc.roles]\nadmins = 'boss'", "boss"),
            ("[gateway.oidc]\nisuer = 'x'", "isuer"),
            ("[gateway.limits]\noutput_bytes = 100000000", "gateway.limits.output_bytes"),
            ("[gateway.limits]\nfule = 1", "fule"),
            ("[gateway.limits]\nrun_time = 'soon'", "run_time"),
            ("tls_key = 'x'", "tls_certificate and tls_key belong together"),
            ("models = ['nonsense']", "REPO_ID=FOLDER"),
            ("modles = []", "modles"),
        ] {
            let refused = load(file, &[]).err().unwrap_or_else(|| panic!("{file} is taken"));
            assert!(refused.contains(words), "{words:?} is not in {refused:?}");
        }
    }
}
