//! `vitrine login`: a server and a key that later commands use, kept in a file for its owner only.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::remote::Server;
use crate::{progress, serving, table};

#[derive(Args)]
pub struct Command {
    /// Forget the server and the key.
    #[arg(long)]
    forget: bool,
    #[command(flatten)]
    server: Server,
}

/// What was logged in with.
#[derive(Clone, Serialize, Deserialize)]
pub struct Login {
    pub host: String,
    pub key: String,
}

impl Login {
    /// Reads what was logged in with last, if there is anything.
    ///
    /// # Errors
    /// A sentence.
    pub fn read() -> Result<Option<Self>> {
        let Some(path) = path() else { return Ok(None) };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let read = serde_json::from_slice(&bytes);
        read.map(Some).with_context(|| format!("{} is no login; `vitrine login` writes it anew", path.display()))
    }

    fn write(&self) -> Result<PathBuf> {
        let path =
            path().context("there is no home folder to keep a login in; set VITRINE_HOST and VITRINE_API_KEY")?;
        let failed = || format!("cannot write {}", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(failed)?;
        }
        // Written beside and moved, so that nobody reads half of it, or with another's permissions.
        let aside = path.with_extension("new");
        let _ = fs::remove_file(&aside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside).with_context(failed)?;
        file.write_all(&serde_json::to_vec_pretty(self)?).with_context(failed)?;
        fs::rename(&aside, &path).with_context(failed)?;
        Ok(path)
    }
}

fn path() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".config/vitrine/login.json"))
}

/// Logs in, or forgets that.
///
/// # Errors
/// A sentence that says what failed.
pub fn run(command: &Command) -> Result<ExitCode> {
    if command.forget {
        return forget();
    }
    let server = command.server.clone();
    let key = match server.given_key() {
        Some(key) => key.to_owned(),
        None => ask(server.address())?,
    };
    let login = Login { host: server.address().to_owned(), key };
    let server = server.with(&login);
    serving::run(async move {
        // Before anything is kept.
        let whoami = server.ask(Method::GET, &["whoami"], None).await?;
        let path = login.write()?;
        if server.json {
            table::json(&whoami)?;
        }
        progress::line(&format!(
            "logged in at {} as {}; the key is in {}, for your eyes only",
            login.host,
            table::text(&whoami["tenant"]),
            path.display()
        ));
        Ok(ExitCode::SUCCESS)
    })
}

fn forget() -> Result<ExitCode> {
    match path().map(fs::remove_file) {
        Some(Err(error)) if error.kind() != ErrorKind::NotFound => Err(error).context("cannot remove the login"),
        Some(Ok(())) => {
            progress::line("the login is forgotten; the key is as valid as before");
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            progress::line("there was no login");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Reads a key that is typed or piped.
fn ask(host: &str) -> Result<String> {
    let stdin = std::io::stdin();
    let mut line = String::new();
    if stdin.is_terminal() {
        progress::line(&format!("type or paste your API key of {host}, and press Enter:"));
    }
    stdin.lock().read_line(&mut line).context("cannot read the API key from stdin")?;
    match line.trim() {
        "" => bail!("no API key was given: type it, pipe it in, or give --key"),
        key => Ok(key.to_owned()),
    }
}
