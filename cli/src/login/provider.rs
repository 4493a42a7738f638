//! Signing in by a server's provider, and staying so: a token that is over is exchanged for the next one.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use oidc::device::{Asks, Device, Error, Tokens};
use serde::{Deserialize, Serialize};

use super::{By, Login, keep, path};
use crate::progress;
use crate::remote::Server;

/// Seconds before its end in which a token is no longer used: a request takes a while to arrive.
const SOON: u64 = 30;

/// Who asked the provider, and what it gave.
#[derive(Clone, Serialize, Deserialize)]
pub struct Session {
    #[serde(flatten)]
    asks: Asks,
    #[serde(flatten)]
    tokens: Tokens,
}

/// Signs somebody in, who does their part in a browser.
///
/// # Errors
/// A sentence that says what failed.
pub async fn sign_in(server: Server) -> Result<ExitCode> {
    let told = server.open(&["sign-in"]).await?;
    if told["oidc"].is_null() {
        bail!(
            "the server at {} has no provider that people sign in by; `vitrine login` takes an API key",
            server.address()
        );
    }
    let asks: Asks = serde_json::from_value(told["oidc"].clone()).context(
        "the server says in another way than this program knows how people sign in; use the same version of both",
    )?;
    let device = Device::find(asks).await?;
    let code = device.begin().await?;
    progress::line(&format!("open {} in a browser, sign in, and type the code {}", code.page(), code.text()));
    if let Some(whole) = code.whole() {
        progress::line(&format!("or open {whole}, which has the code in it"));
    }
    progress::line(&format!("it is valid for {}; waiting", humantime::format_duration(code.lasts())));
    let tokens = device.wait(&code).await?;
    let session = Session { asks: device.asks().clone(), tokens };
    let login = Login { host: server.address().to_owned(), by: By::Oidc(session) };
    if server.given_key().is_some() {
        progress::line(
            "VITRINE_API_KEY or --key has a key, which goes before this login; unset it to act as who signed in",
        );
    }
    keep(server.without_key(), login).await
}

/// Returns a token of who is signed in that is valid for a while, and keeps what came with it.
///
/// # Errors
/// A sentence: one has to sign in again, or the provider cannot be asked.
pub async fn token(login: &Login, session: &Session) -> Result<String> {
    if fresh(session) {
        return Ok(session.tokens.token.clone());
    }
    // One at a time: a provider may take the second exchange of what is for one for a theft, and end all of it.
    let _turn = turn().await?;
    let session = match Login::read()? {
        Some(Login { host, by: By::Oidc(now) }) if host == login.host => now,
        _ => session.clone(),
    };
    if fresh(&session) {
        return Ok(session.tokens.token);
    }
    let again = "`vitrine login --oidc` does it";
    let Some(refresh) = session.tokens.refresh.as_deref() else {
        bail!("you were signed in until a while ago, and the provider gives nothing by which that lasts; {again}");
    };
    let device = Device::find(session.asks.clone()).await?;
    let tokens = match device.refresh(refresh).await {
        Ok(tokens) => tokens,
        Err(error @ Error::Ended) => bail!("{error}; {again}"),
        Err(error) => return Err(error.into()),
    };
    let token = tokens.token.clone();
    Login { host: login.host.clone(), by: By::Oidc(Session { tokens, ..session }) }.write()?;
    Ok(token)
}

fn fresh(session: &Session) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    session.tokens.expires_at > now + SOON
}

/// Waits until no other command of this user exchanges tokens. It ends with what is returned.
async fn turn() -> Result<File> {
    let path = path().context("there is no home folder with a login in it")?.with_extension("lock");
    let locked = tokio::task::spawn_blocking(move || {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.lock()?;
        Ok::<_, std::io::Error>(file)
    });
    locked.await?.context("cannot wait for the turn to exchange tokens")
}
