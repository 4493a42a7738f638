//! What an operator can set about `vitrine-worker run`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::Args;
use config::Given;
use engine::Pool;
use serde::{Deserialize, Serialize};
use tls::Certificates;

/// The settings of `vitrine-worker run`. The worker of `vitrine up` reads its variables of the environment, too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Addresses of the cluster's schedulers, for example `https://10.0.0.1:7000`: the worker finds out which one leads.
    pub schedulers: Vec<String>,
    /// Names this worker; no two of a cluster may share one. A process under the same name shows that the one before is
    /// gone. Default: the host's name and the process's number.
    pub name: Option<String>,
    /// The file with the token that schedulers ask for.
    pub token_file: Option<PathBuf>,
    /// Certificates, for schedulers that are dialled by `https`.
    pub tls: Option<Certificates>,
    /// Where probes are answered, and metrics shown, by a thread of their own. Default: nowhere.
    pub health: Option<SocketAddr>,
    /// Jobs to take at once. Default 32.
    pub slots: u32,
    /// The torch/lib folder of an installed torch 2.11.0, whose libtorch_cuda.so computes on GPUs. Default: looked for in
    /// the usual places where this machine has an NVIDIA driver.
    pub torch_lib: Option<PathBuf>,
    /// How ranks of one model send each other tensors: by `nccl`, which needs GPUs that it can connect; by `memory` that they
    /// share; or `auto`, which is NCCL where ranks are on GPUs and all of them can. Default `auto`.
    pub collectives: Collectives,
    /// The address at which this worker holds ranks of models that other workers serve, for models that no one machine has
    /// room for: workers dial it, with certificates of workers. Without `[tls]`, only one of this machine, as
    /// `127.0.0.1:7100`. Default: it holds none.
    pub ranks_listen: Option<SocketAddr>,
    /// What others dial to get there, such as `10.0.0.2:7100`, or the IP address alone. Default: `ranks_listen`.
    pub ranks_address: Option<String>,
    /// Bytes that all jobs hold together, in Python objects and in tensors on whichever device. A job that needs more while
    /// others hold it is let go and comes again; one that needs more than this in all fails. Default 0, which is three
    /// quarters of what the machine, or its container, has free when a model has been loaded.
    pub memory: Size,
    /// Bytes that models take together on each device; one that finds no room there waits until another is unloaded.
    /// Default 0, which is seven eighths of what is free on the device when the worker starts.
    pub model_memory: Size,
    /// Bytes of the machine's memory in which weights are kept that were read for a GPU, so that a model which left it comes
    /// back sooner. Only a worker with a GPU keeps any: on a CPU, what a model takes is that memory. `0` keeps none. Default: a
    /// quarter of what is free when the worker starts.
    pub warm_memory: Option<Size>,
    /// Bytes of hidden states, keys and values that are kept of prompts which come again, of all models together.
    /// Default `1G`.
    pub kept_bytes: Size,
    /// Bytes of one forward pass, as estimated, beyond which nothing more joins it. Default `2G`.
    pub pass_bytes: Size,
    /// Bytes of all passes together that are under way and give way to shorter ones, for each model. One that takes more
    /// runs when no other does. Default `4G`.
    pub long_bytes: Size,
    /// Tokens of one forward pass beyond which nothing more joins it. Default 4096.
    pub pass_tokens: u32,
    /// Tokens of one pass that different jobs share. Default 0, which is 256 on a CPU, for which it takes as long each as
    /// for any more, and as many as a pass may have on a GPU.
    pub shared_tokens: u32,
    /// Tokens of a pass beyond which it gives way to shorter ones after each layer. Default 0, which is as many as jobs
    /// share.
    pub long_tokens: u32,
    /// Traces of one session that wait for each other, to share passes, at most. Default 1024.
    pub waiting_traces: u32,
    /// Jobs and long passes of one model that have a stack of their own at one time, at most; a tenant has a quarter of
    /// them. Default 64.
    pub lanes: u32,
}

/// Tokens of a pass on a CPU, for which it takes as long each as for any more (`make bench ONLY="forward users"`).
pub const SHARED_TOKENS: i64 = 256;

impl Default for Settings {
    fn default() -> Self {
        Self {
            schedulers: Vec::new(),
            name: None,
            token_file: None,
            tls: None,
            health: None,
            slots: 32,
            torch_lib: None,
            collectives: Collectives::Auto,
            ranks_listen: None,
            ranks_address: None,
            memory: Size(0),
            model_memory: Size(0),
            warm_memory: None,
            kept_bytes: Size(1 << 30),
            pass_bytes: Size(2 << 30),
            long_bytes: Size(4 << 30),
            pass_tokens: 4096,
            shared_tokens: 0,
            long_tokens: 0,
            waiting_traces: 1024,
            lanes: 64,
        }
    }
}

impl Settings {
    /// Says what cannot be as it is set.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn check(&self) -> Result<()> {
        if self.schedulers.is_empty() {
            bail!("schedulers is empty: name the addresses of the cluster's schedulers, or --scheduler URL");
        }
        for address in &self.schedulers {
            match (address.split_once("://"), &self.tls) {
                (Some(("https", _)), Some(_)) | (Some(("http", _)), None) => {}
                (Some(("https", _)), None) => bail!("schedulers has {address}, and there is no [tls] to dial it with"),
                (Some(("http", _)), Some(_)) => {
                    bail!("schedulers has {address}, which would be dialled without TLS although there is [tls]")
                }
                _ => bail!("schedulers has {address:?}, which is no address such as https://10.0.0.1:7000"),
            }
        }
        if let Some(listen) = self.ranks_listen {
            if self.tls.is_none() && !listen.ip().is_loopback() {
                bail!(
                    "ranks_listen is {listen}, which other machines reach, and there is no [tls]: whoever dials could read \
                     weights and what jobs compute. Give the worker its certificate"
                );
            }
            if listen.ip().is_unspecified() && self.ranks_address.is_none() {
                bail!("ranks_listen is {listen}, which nobody can dial: say by ranks_address what others are to dial");
            }
        } else if self.ranks_address.is_some() {
            bail!("ranks_address is what others dial to get to ranks_listen, which is not set");
        }
        if self.pass_tokens == 0 || self.slots == 0 {
            bail!("pass_tokens and slots must be at least 1");
        }
        Ok(())
    }

    /// Returns the token to show, from its file or as it was given.
    ///
    /// # Errors
    /// A sentence that says where to put it.
    pub fn token(&self, given: Option<String>) -> Result<String> {
        match (&self.token_file, given) {
            (Some(file), _) => {
                let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
                Ok(text.trim().to_owned())
            }
            (None, Some(token)) => Ok(token),
            (None, None) => bail!("a token is needed: token_file, or the variable VITRINE_WORKER_TOKEN"),
        }
    }

    /// Returns what other workers dial to get to where ranks are held.
    pub fn ranks_address(&self, listens: SocketAddr) -> String {
        match &self.ranks_address {
            None => listens.to_string(),
            Some(address) => match address.parse() {
                Ok(ip) => SocketAddr::new(ip, listens.port()).to_string(),
                Err(_) => address.clone(),
            },
        }
    }

    /// Makes what jobs hold, of all models together.
    pub fn memory(&self) -> Pool {
        if self.memory.0 == 0 { Pool::default() } else { Pool::new(self.memory.0) }
    }

    /// Returns the bytes that models may take of a device with so many free.
    pub fn for_models(&self, free: u64) -> u64 {
        if self.model_memory.0 == 0 { free / 8 * 7 } else { self.model_memory.0 }
    }

    /// Returns the bytes of weights that are kept, on a machine with so many bytes free and a GPU or none.
    ///
    /// # Errors
    /// A sentence where it is told to keep some and cannot.
    pub fn for_warm(&self, free: u64, has_gpu: bool) -> Result<u64> {
        match self.warm_memory {
            Some(Size(bytes)) if bytes > 0 && !has_gpu => bail!(
                "warm_memory is {}, and this machine has no GPU that can be used: weights are kept for models that leave one. On \
                 a CPU a model is loaded or it is not; leave warm_memory out, or give the memory to model_memory",
                Size(bytes)
            ),
            Some(Size(bytes)) => Ok(bytes),
            None if has_gpu => Ok(free / 4),
            None => Ok(0),
        }
    }

    /// Makes what is kept between passes, of all models together.
    pub fn kept(&self) -> Pool {
        Pool::new(self.kept_bytes.0)
    }

    /// Returns the settings of a model's engine.
    pub fn engine(&self, kept: &Pool, memory: &Pool, on_cpu: bool) -> engine::Settings {
        let pass_tokens = i64::from(self.pass_tokens);
        let shared_tokens = match i64::from(self.shared_tokens) {
            0 if on_cpu => SHARED_TOKENS,
            0 => pass_tokens,
            tokens => tokens,
        };
        let long_tokens = if self.long_tokens == 0 { shared_tokens } else { i64::from(self.long_tokens) };
        engine::Settings {
            pass_tokens,
            shared_tokens,
            long_tokens,
            pass_bytes: self.pass_bytes.0,
            long_bytes: self.long_bytes.0,
            kept: kept.clone(),
            memory: memory.clone(),
            waiting_traces: self.waiting_traces.max(1) as usize,
            lanes: self.lanes.max(1) as usize,
            ..engine::Settings::default()
        }
    }
}

/// The flags of `vitrine-worker run`. Each has the name of its setting; those without a flag have `--set`.
#[derive(Args)]
pub struct Flags {
    #[command(flatten)]
    pub given: Given,
    /// Address of a scheduler, for example `http://127.0.0.1:7000`. May be repeated [env: VITRINE_SCHEDULERS].
    #[arg(long = "scheduler", value_name = "URL")]
    schedulers: Vec<String>,
    /// File with the token that schedulers ask for; the environment variable `VITRINE_WORKER_TOKEN` serves too
    /// [env: VITRINE_TOKEN_FILE].
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    #[arg(long, env = "VITRINE_WORKER_TOKEN", hide = true, hide_env_values = true)]
    pub token: Option<String>,
    /// Name of this worker [default: of the host and the process] [env: VITRINE_NAME].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Name of this process, for whoever started it and sees it end. By default one that nobody else knows.
    #[arg(long, hide = true, value_name = "NAME")]
    pub instance: Option<String>,
    /// Jobs to take at once [default: 32] [env: VITRINE_SLOTS].
    #[arg(long, value_name = "COUNT")]
    slots: Option<u32>,
    /// Bytes that models take together on each device, such as `40G` [default: 7/8 of what is free]
    /// [env: VITRINE_MODEL_MEMORY].
    #[arg(long, value_name = "SIZE")]
    model_memory: Option<String>,
    /// Bytes of memory in which weights are kept of models that leave a GPU; 0 keeps none [default: 1/4 of what is free]
    /// [env: VITRINE_WARM_MEMORY].
    #[arg(long, value_name = "SIZE")]
    warm_memory: Option<String>,
    /// The torch/lib folder of an installed torch 2.11.0, for GPUs [env: VITRINE_TORCH_LIB].
    #[arg(long, value_name = "DIR")]
    torch_lib: Option<String>,
    /// How ranks of one model send each other tensors [default: auto] [env: VITRINE_COLLECTIVES].
    #[arg(long, value_name = "auto|memory|nccl")]
    collectives: Option<String>,
    /// Address at which to hold ranks of models that other workers serve [default: holds none] [env: VITRINE_RANKS_LISTEN].
    #[arg(long, value_name = "ADDRESS")]
    ranks_listen: Option<String>,
    /// What other workers dial to get there [default: the same] [env: VITRINE_RANKS_ADDRESS].
    #[arg(long, value_name = "ADDRESS")]
    ranks_address: Option<String>,
    #[arg(long, env = "VIRTUAL_ENV", hide = true)]
    pub virtual_env: Option<PathBuf>,
    #[arg(long, env = "CONDA_PREFIX", hide = true)]
    pub conda_prefix: Option<PathBuf>,
    #[arg(long, env = "HOME", hide = true)]
    pub home: Option<PathBuf>,
}

impl Flags {
    /// Puts settings together: defaults, then the file, then the environment, then these flags.
    ///
    /// # Errors
    /// A sentence that names the key and where its value came from.
    pub fn load(&self) -> Result<Settings> {
        let mut named = Vec::new();
        let mut add = |key: &str, value: Option<String>| named.extend(value.map(|value| (key.to_owned(), value)));
        // A list in JSON is one in TOML.
        let schedulers = (!self.schedulers.is_empty()).then(|| serde_json::to_string(&self.schedulers)).transpose()?;
        add("schedulers", schedulers);
        add("token_file", self.token_file.clone());
        add("name", self.name.clone());
        add("slots", self.slots.map(|slots| slots.to_string()));
        add("model_memory", self.model_memory.clone());
        add("warm_memory", self.warm_memory.clone());
        add("torch_lib", self.torch_lib.clone());
        add("collectives", self.collectives.clone());
        add("ranks_listen", self.ranks_listen.clone());
        add("ranks_address", self.ranks_address.clone());
        let settings: Settings = self.given.load(named)?;
        settings.check()?;
        Ok(settings)
    }
}

/// How ranks of one model send each other tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Collectives {
    Auto,
    Memory,
    Nccl,
}

/// A number of bytes, written such as `500000`, `512M` or `1.5G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "String")]
pub struct Size(pub u64);

/// A size in a file: a text, or a plain number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

impl TryFrom<Written> for Size {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Number(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse(),
        }
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
        let whole = |(bits, _): &(u32, &str)| self.0 != 0 && self.0.trailing_zeros() >= *bits;
        match units.into_iter().find(whole) {
            Some((bits, unit)) => write!(f, "{}{unit}", self.0 >> bits),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        bytes(text).map(Self)
    }
}

/// Reads a number of bytes, such as `500000`, `512M` or `1.5G`.
fn bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let (number, unit) = match text.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (&text[..at], 1_u64 << 10),
        Some((at, 'M' | 'm')) => (&text[..at], 1 << 20),
        Some((at, 'G' | 'g')) => (&text[..at], 1 << 30),
        Some((at, 'T' | 't')) => (&text[..at], 1 << 40),
        _ => (text, 1),
    };
    let wrong = || format!("{text:?} is no number of bytes; write for example 500000, 512M or 1.5G");
    if let Ok(number) = number.parse::<u64>() {
        return number.checked_mul(unit).ok_or_else(wrong);
    }
    let number = number.parse::<f64>().ok().filter(|number| (0.0..1e6).contains(number)).ok_or_else(wrong)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "it is positive and below 2^60, and need not be exact to the byte"
    )]
    let size = (number * unit as f64) as u64;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        assert_eq!(bytes("500000"), Ok(500_000));
        assert_eq!(bytes("512M"), Ok(512 << 20));
        assert_eq!(bytes(" 1.5g "), Ok(3 << 29));
        assert_eq!(bytes("0"), Ok(0));
        for wrong in ["", "G", "-1", "1.5.2M", "many", "nan", "1e300G", "99999999999999999999", "99999999999T"] {
            assert!(bytes(wrong).is_err_and(|why| why.contains("512M")), "{wrong}");
        }
    }

    #[test]
    fn weights_are_kept_where_there_is_a_gpu_and_nothing_is_pretended_where_there_is_none() {
        let with = |warm_memory| Settings { warm_memory, ..Settings::default() };
        assert_eq!(with(None).for_warm(400, true).unwrap(), 100);
        assert_eq!(with(None).for_warm(400, false).unwrap(), 0);
        assert_eq!(with(Some(Size(0))).for_warm(400, true).unwrap(), 0);
        assert_eq!(with(Some(Size(7))).for_warm(4, true).unwrap(), 7);
        let why = with(Some(Size(1 << 30))).for_warm(400, false).unwrap_err().to_string();
        assert!(why.starts_with("warm_memory is 1G, and this machine has no GPU"), "{why}");
    }

    #[test]
    fn others_dial_what_they_are_told_or_what_is_listened_at() {
        let dialled = |address: Option<&str>| {
            let settings = Settings { ranks_address: address.map(str::to_owned), ..Settings::default() };
            settings.ranks_address(([127, 0, 0, 1], 7100).into())
        };
        assert_eq!(dialled(None), "127.0.0.1:7100");
        assert_eq!(dialled(Some("gpu-1.rack:7200")), "gpu-1.rack:7200");
        assert_eq!(
            (dialled(Some("10.0.0.2")), dialled(Some("fd00::2"))),
            ("10.0.0.2:7100".into(), "[fd00::2]:7100".into())
        );
    }

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        flags: Flags,
    }

    fn load(file: &str, arguments: &[&str]) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker.toml");
        std::fs::write(&path, file).unwrap();
        let all = [&["worker", "--config", path.to_str().unwrap()][..], arguments].concat();
        Program::parse_from(all).flags.load().map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_and_flags_say_the_same_and_what_is_printed_is_read_again() {
        let file = "
            schedulers = ['https://a:1', 'https://b:2']
            kept_bytes = '512M'
            pass_bytes = 1500
            [tls]
            authority = 'ca.pem'
            certificate = 'worker.pem'
            key = 'worker.key'";
        let settings = load(file, &["--slots", "3", "--set", "lanes=7", "--name", "w"]).unwrap();
        assert_eq!((settings.kept_bytes, settings.pass_bytes), (Size(512 << 20), Size(1500)));
        assert_eq!((settings.slots, settings.lanes, settings.name.as_deref()), (3, 7, Some("w")));
        assert_eq!(settings.schedulers, ["https://a:1", "https://b:2"]);
        assert_eq!(load(&config::print(&settings).unwrap(), &[]).unwrap(), settings);
        let plain = load("", &["--scheduler", "http://127.0.0.1:7000"]).unwrap();
        assert_eq!(plain, Settings { schedulers: vec!["http://127.0.0.1:7000".into()], ..Settings::default() });
    }

    #[test]
    fn settings_that_cannot_be_are_refused_by_name() {
        let dials = "schedulers = ['http://a:1']\n";
        for (file, words) in [
            ("", "schedulers is empty"),
            ("schedulers = ['https://a:1']", "[tls]"),
            ("schedulers = ['a:1']", "no address"),
            (&format!("{dials}kept_bytes = 'much'"), "kept_bytes"),
            (&format!("{dials}slotz = 3"), "slotz"),
            (&format!("{dials}slots = 0"), "at least 1"),
            (&format!("{dials}ranks_listen = '10.0.0.2:7100'"), "other machines reach, and there is no [tls]"),
            (&format!("{dials}ranks_address = 'a:7100'"), "ranks_listen, which is not set"),
            (&format!("{dials}[tls]\nkey = 'k'"), "without TLS"),
        ] {
            let refused = load(file, &[]).err().unwrap_or_else(|| panic!("{file} is taken"));
            assert!(refused.contains(words), "{words:?} is not in {refused:?}");
        }
    }
}
