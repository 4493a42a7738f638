//! `vitrine login`: a server and what later commands show it, an API key or the tokens of who signed in by the server's
//! provider, kept in a file for its owner only.

mod provider;

use std::fs::{self, OpenOptions};
use std::io::{BufRead, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::remote::Server;
use crate::{progress, serving, table};

pub use provider::{Session, token};

#[derive(Args)]
pub struct Command {
    /// Forget the server and the key, or who is signed in.
    #[arg(long)]
    forget: bool,
    /// Sign in by the server's provider of OpenID Connect instead of with a key: it prints a page and a code, and waits until
    /// you have signed in there, with whichever browser.
    #[arg(long, conflicts_with = "forget")]
    oidc: bool,
    #[command(flatten)]
    server: Server,
}

/// What was logged in with.
#[derive(Clone, Serialize, Deserialize)]
pub struct Login {
    pub host: String,
    #[serde(flatten)]
    pub by: By,
}

/// What is shown to the server.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    Key(String),
    Oidc(Session),
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
    if command.oidc {
        return serving::run(provider::sign_in(command.server.clone()));
    }
    let server = command.server.clone();
    let key = match server.given_key() {
        Some(key) => key.to_owned(),
        None => ask(server.address())?,
    };
    let login = Login { host: server.address().to_owned(), by: By::Key(key) };
    serving::run(keep(server, login))
}

/// Keeps a login that the server takes.
async fn keep(server: Server, login: Login) -> Result<ExitCode> {
    let server = server.with(&login);
    // It is written before it is used: what is exchanged meanwhile for the next is written there, too.
    let before = Login::read().ok().flatten();
    let path = login.write()?;
    let whoami = match server.ask(Method::GET, &["whoami"], None).await {
        Ok(whoami) => whoami,
        Err(refused) => {
            match before {
                Some(before) => drop(before.write()?),
                None => fs::remove_file(&path).context("cannot remove the login that was refused")?,
            }
            return Err(refused);
        }
    };
    if server.json {
        table::json(&whoami)?;
    }
    let (who, what) = match (&login.by, &whoami["user"]) {
        (By::Oidc(_), Value::String(user)) => {
            (format!("{user} of {}", table::text(&whoami["tenant"])), "what shows it")
        }
        _ => (table::text(&whoami["tenant"]), "the key"),
    };
    progress::line(&format!(
        "logged in at {} as {who}; {what} is in {}, for your eyes only",
        login.host,
        path.display()
    ));
    Ok(ExitCode::SUCCESS)
}

fn forget() -> Result<ExitCode> {
    let was = Login::read().ok().flatten();
    match path().map(fs::remove_file) {
        Some(Err(error)) if error.kind() != ErrorKind::NotFound => Err(error).context("cannot remove the login"),
        Some(Ok(())) => {
            progress::line(match was.map(|login| login.by) {
                Some(By::Oidc(_)) => "the login is forgotten; at the provider you are as signed in as before",
                Some(By::Key(_)) | None => "the login is forgotten; the key is as valid as before",
            });
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_login_of_before_there_were_providers_is_read_and_written_as_it_was() {
        let before = json!({ "host": "http://127.0.0.1:8000", "key": "vitrine_x" });
        let login: Login = serde_json::from_value(before.clone()).unwrap();
        assert!(matches!(&login.by, By::Key(key) if key == "vitrine_x"));
        assert_eq!(serde_json::to_value(&login).unwrap(), before);
        let signed_in = json!({ "host": "https://v.example.org", "oidc": {
            "issuer": "https://login.example.org", "client_id": "vitrine", "scopes": ["openid"], "audience": null,
            "token": "a.b.c", "expires_at": 7, "refresh": "r",
        } });
        let login: Login = serde_json::from_value(signed_in.clone()).unwrap();
        assert_eq!(serde_json::to_value(&login).unwrap(), signed_in);
    }
}
