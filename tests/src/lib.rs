//! What the black-box tests share: starting `vitrine up` as a user does, and running the real client against it.
//!
//! The programs must have been built (`make test` does): a test looks for them beside itself.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use auth::{Grant, Keys, Scope, ServerSecret};
use ids::TenantId;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use store::{MetadataStore, RedbStore};
use tempfile::TempDir;

pub mod browser;
pub mod cluster;
pub mod http;
pub mod ports;

/// The key that test servers accept.
pub const KEY: &str = "test-key";
/// How long a server or a client may take; a busy machine imports torch slowly.
const PATIENCE: Duration = Duration::from_secs(240);

/// Returns the path of a program of this workspace.
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    // target/debug/deps/test-1234 -> target/debug/name
    let path = own.parent().and_then(Path::parent).unwrap().join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo test --workspace --no-run` first, as `make test` does",
        path.display()
    );
    path
}

/// Returns the checkout's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Returns the folder of one of the seeded random models, for example `tiny-gpt2`.
pub fn model(name: &str) -> PathBuf {
    let folder = root().join(".models/float32").join(name);
    assert!(folder.join("config.json").is_file(), "{} is missing: run `make test-models`", folder.display());
    folder
}

/// Returns the folder of SmolLM2.
pub fn smollm2() -> PathBuf {
    let data = std::env::var_os("VITRINE_DATA").map_or_else(|| root().join(".vitrine"), PathBuf::from);
    let folder = data.join("models/HuggingFaceTB/SmolLM2-135M-Instruct");
    assert!(folder.join("config.json").is_file(), "{} is missing: run `vitrine model fetch smollm2`", folder.display());
    folder
}

/// A data folder, which outlives the servers started on it.
pub struct Data(TempDir);

impl Default for Data {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Data {
    /// Returns a path beside the server's own files, for signals between test and worker.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Makes an API key for each of some tenants, a second one for a tenant named twice. No server may run on this folder:
    /// `vitrine up` itself knows a single tenant, whose every key is.
    pub fn keys(&self, tenants: &[&str]) -> Vec<String> {
        let folder = self.path("data");
        std::fs::create_dir_all(&folder).unwrap();
        let store: Arc<dyn MetadataStore> = Arc::new(RedbStore::open(folder.join("metadata.redb")).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let keys = Keys::new(Arc::clone(&store), &ServerSecret::load(store.as_ref()).await.unwrap());
            let mut made = Vec::new();
            for tenant in tenants {
                let key =
                    keys.create(Grant::new(TenantId::new(*tenant), &[Scope::Submit, Scope::ReadOwn])).await.unwrap();
                made.push(key.reveal().to_owned());
            }
            made
        })
    }

    /// Begins a `vitrine up` on this folder and a free port.
    pub fn up(&self) -> Up {
        self.up_at("127.0.0.1:0")
    }

    /// Begins a `vitrine up` on this folder and a given address.
    pub fn up_at(&self, address: &str) -> Up {
        let mut command = Command::new(program("vitrine"));
        command.env_remove("VITRINE_DATA").env_remove("VITRINE_API_KEY").env_remove("VITRINE_LISTEN");
        command.args(["up", "--no-default-model", "--listen", address, "--data"]).arg(self.path("data"));
        Up { command }
    }
}

/// A `vitrine up` about to be started.
pub struct Up {
    pub command: Command,
}

impl Up {
    /// Accepts [`KEY`].
    pub fn key(self) -> Self {
        self.arguments(&["--api-key", KEY])
    }

    /// Hosts the two random models as `ndif-test/tiny-gpt2` and `ndif-test/tiny-llama`.
    pub fn tiny_models(mut self) -> Self {
        for name in ["tiny-gpt2", "tiny-llama"] {
            let value = format!("ndif-test/{name}={},dtype=float32", model(name).display());
            self.command.args(["--model", &value]);
        }
        self
    }

    /// Uses a worker that does as it is told instead of running programs.
    pub fn canned(mut self) -> Self {
        self.command.env("VITRINE_WORKER", program("canned-worker"));
        self
    }

    /// Makes a file that becomes too large an error to it and to its worker, where it would be a deadly signal.
    pub fn file_errors(self) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(self.command.get_program());
        command.args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Self { command }
    }

    /// Gives libtorch one thread for each model, where several models would only wait for each other's.
    pub fn one_thread(mut self) -> Self {
        self.command.env("OMP_NUM_THREADS", "1");
        self
    }

    /// Writes all there is to log to a file.
    pub fn traced_to(mut self, file: &Path) -> Self {
        self.command.env("VITRINE_LOG", "trace").stderr(std::fs::File::create(file).unwrap());
        self
    }

    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Starts it and waits until it is ready.
    pub fn start(mut self) -> Server {
        let mut child = self.command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = lines(child.stdout.take().unwrap());
        let mut before = Vec::new();
        loop {
            let line = lines.recv_timeout(PATIENCE).expect("vitrine up ended or hung before it was ready");
            match line.strip_prefix("ready ") {
                // What follows the address is for people.
                Some(line) => {
                    let url = line.split(' ').next().unwrap_or_default().to_owned();
                    return Server { url, before, child };
                }
                None => before.push(line),
            }
        }
    }

    /// Runs it to its end, which must come before it is ready. Returns what it wrote to stderr.
    pub fn refused(mut self) -> String {
        let mut child =
            self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, errors) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        let ready = std::iter::from_fn(|| out.recv_timeout(PATIENCE).ok()).find(|line| line.starts_with("ready "));
        let _ = child.kill();
        let status = child.wait().unwrap();
        let errors = errors.iter().collect::<Vec<_>>().join("\n");
        assert_eq!(ready, None, "vitrine up should have refused to start; it said:\n{errors}");
        assert!(!status.success());
        errors
    }
}

/// Waits for what has to come about within a minute.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} never came");
        std::thread::yield_now();
    }
}

/// Returns a process's children.
pub fn children(process: Pid) -> Vec<Pid> {
    // Linux lists them by the thread that started them.
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let texts = threads.filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("children")).ok());
    let all = texts.collect::<Vec<_>>().join(" ");
    all.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().unwrap())).collect()
}

/// Returns MiB of a process's memory, of a kind that Linux tells apart: `RssAnon`, `RssFile`.
pub fn memory(process: Pid, kind: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

/// A running `vitrine up`; dropping it kills it.
pub struct Server {
    pub url: String,
    /// The lines that came on stdout before it was ready.
    pub before: Vec<String>,
    child: Child,
}

impl Server {
    /// Ends it as a crash would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Returns its process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Lets it and its worker write files of so many bytes at most; needs [`Up::file_errors`].
    pub fn limit_files(&self, bytes: Option<u64>) {
        let maximum = getrlimit(Resource::Fsize).maximum;
        for process in self.children().into_iter().chain([Pid::from_child(&self.child)]) {
            prlimit(Some(process), Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
        }
    }

    /// Waits for its end and returns whether it ended well.
    pub fn wait(mut self) -> bool {
        self.child.wait().unwrap().success()
    }

    /// Returns its child processes: its worker.
    pub fn children(&self) -> Vec<Pid> {
        children(Pid::from_child(&self.child))
    }

    /// Begins a run of a script of `tests/python` with the real client, set up as a user sets it up.
    pub fn client(&self, script: &str) -> Client {
        let mut client = python(script);
        client.command.env("HF_ENDPOINT", &self.url).env("NDIF_HOST", &self.url).env("NDIF_API_KEY", KEY);
        client
    }
}

/// Begins a run of a script of `tests/python` that needs no server.
pub fn python(script: &str) -> Client {
    let python = std::env::var_os("VITRINE_PYTHON").map_or_else(|| root().join(".venv/bin/python"), PathBuf::from);
    assert!(python.exists(), "{} is missing: run `make setup-tests`", python.display());
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(python);
    command
        .arg(root().join("tests/python").join(script))
        .env_remove("HF_HUB_OFFLINE")
        .env("HF_HOME", home.path())
        .env("NNSIGHT_CONFIG", home.path().join("nnsight.yaml"))
        .env("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        .env("HF_HUB_DISABLE_TELEMETRY", "1")
        .env("NO_COLOR", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // For each request the client reads all that TLS trusts, which takes longer than most requests here.
        .env_remove("SSL_CERT_FILE")
        .env("SSL_CERT_DIR", home.path())
        .env("TINY_GPT2", model("tiny-gpt2"))
        .env("TINY_LLAMA", model("tiny-llama"));
    Client { command, _home: home }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, as the test wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A run of the real client.
pub struct Client {
    pub command: Command,
    _home: TempDir,
}

impl Client {
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs the script to its end; it must succeed. Returns what it printed.
    pub fn succeed(mut self) -> String {
        let output = self.command.stdin(Stdio::null()).output().unwrap();
        check(&output);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts the script, to be led line by line.
    pub fn start(mut self) -> Conversation {
        let mut child = self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, lines) = (child.stdin.take().unwrap(), lines(child.stdout.take().unwrap()));
        Conversation { child, stdin, lines, _home: self._home }
    }
}

/// A script that prints lines, and reads lines when it waits for the test.
pub struct Conversation {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    _home: TempDir,
}

impl Conversation {
    /// Returns what follows `prefix` in the next line that begins with it.
    pub fn expect(&self, prefix: &str) -> String {
        loop {
            let line =
                self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("the script never printed {prefix:?}"));
            if let Some(rest) = line.strip_prefix(prefix) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Sends a line.
    pub fn say(&mut self, line: &str) {
        use std::io::Write;
        writeln!(self.stdin, "{line}").unwrap();
        self.stdin.flush().unwrap();
    }

    /// Waits for the script's end, which must be a success.
    pub fn finish(mut self) {
        drop(self.stdin);
        assert!(self.child.wait().unwrap().success(), "the script failed");
    }
}

fn check(output: &Output) {
    assert!(
        output.status.success(),
        "the script failed\n--- stdout\n{}\n--- stderr\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
