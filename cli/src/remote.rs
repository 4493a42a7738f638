//! A running server's `/v1`, as the command line asks it.

use std::error::Error;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde_json::Value;

/// Where `vitrine up` listens when nobody says otherwise.
const LOCAL: &str = "http://127.0.0.1:8000";
/// How long a server may take to be reached, and to answer.
const REACH: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(60);

/// Which server is asked, in whose name, and how its answer is printed.
#[derive(Args)]
pub struct Server {
    /// The server's address [default: http://127.0.0.1:8000, where `vitrine up` listens].
    #[arg(long, env = "VITRINE_HOST", value_name = "URL")]
    host: Option<String>,
    /// Your API key.
    #[arg(long, env = "VITRINE_API_KEY", hide_env_values = true, value_name = "KEY")]
    key: Option<String>,
    /// Print JSON, for scripts.
    #[arg(long)]
    pub json: bool,
}

impl Server {
    /// Returns whether somebody said which server is meant.
    pub fn named(&self) -> bool {
        self.host.is_some()
    }

    /// Asks, and returns what is answered; null where that is nothing.
    ///
    /// # Errors
    /// A sentence: the server's own where it refuses.
    pub async fn ask(&self, method: Method, path: &[&str], body: Option<&Value>) -> Result<Value> {
        self.read(self.send(method, self.url(path)?, body).await?).await
    }

    /// Asks for a list of which some is wanted.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub async fn search(&self, path: &[&str], wanted: &[(&str, &str)]) -> Result<Value> {
        let mut url = self.url(path)?;
        if !wanted.is_empty() {
            url.query_pairs_mut().extend_pairs(wanted);
        }
        self.read(self.send(Method::GET, url, None).await?).await
    }

    /// Asks for a text, and returns it as it comes.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub async fn text(&self, path: &[&str]) -> Result<Response> {
        self.send(Method::GET, self.url(path)?, None).await
    }

    /// Says what became of a connection.
    pub fn lost(&self, error: &reqwest::Error) -> anyhow::Error {
        let host = self.address();
        // The innermost cause says it best.
        let mut cause: &dyn Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        if error.is_timeout() {
            return anyhow!(
                "the server at {host} did not answer in time; try again, and tell its operator if it stays"
            );
        }
        let cause = cause.to_string();
        let advice = match cause.contains("certificate") {
            true => "its certificate is not trusted here; name its authority with SSL_CERT_FILE",
            false => "is it running, and is that its address? --host, or VITRINE_HOST, says which is asked",
        };
        anyhow!("cannot reach a server at {host} ({cause}): {advice}")
    }

    async fn send(&self, method: Method, url: Url, body: Option<&Value>) -> Result<Response> {
        let key = self.key.as_deref().filter(|key| !key.is_empty());
        let key = key.context(
            "no API key was given: put one into VITRINE_API_KEY, or give --key; the first start of `vitrine up` shows one, \
             and otherwise the server's operator makes them",
        )?;
        // A key goes to the server that was named, and to no other.
        let mut client = Client::builder().redirect(Policy::none()).connect_timeout(REACH).read_timeout(ANSWER);
        if url.host_str().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]")) {
            client = client.no_proxy();
        }
        let client = client.build().context("cannot set up HTTP")?;
        let mut request = client.request(method, url).header("ndif-api-key", key);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(serde_json::to_vec(body)?);
        }
        let answer = request.send().await.map_err(|error| match error.is_builder() {
            true => anyhow!("the API key cannot be sent: it must be a line of plain characters"),
            false => self.lost(&error),
        })?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.refused(answer).await) }
    }

    async fn read(&self, answer: Response) -> Result<Value> {
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let bytes = answer.bytes().await.map_err(|error| self.lost(&error))?;
        serde_json::from_slice(&bytes).map_err(|_| self.stranger("it answers with something else than JSON"))
    }

    async fn refused(&self, answer: Response) -> anyhow::Error {
        let status = answer.status();
        let bytes = answer.bytes().await.unwrap_or_default();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        match (status, body["error"].as_str()) {
            (StatusCode::UNAUTHORIZED, Some(_)) => anyhow!(
                "the server at {} does not know this API key, or it has expired; look at --key or VITRINE_API_KEY, or ask \
                 the server's operator for a new one",
                self.address()
            ),
            (_, Some(sentence)) => anyhow!("{sentence}"),
            (status, None) => self.stranger(&format!("it answers {status}")),
        }
    }

    fn stranger(&self, what: &str) -> anyhow::Error {
        let host = self.address();
        anyhow!("what listens at {host} is no Vitrine server, or an older one ({what}); look at --host or VITRINE_HOST")
    }

    fn address(&self) -> &str {
        self.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(LOCAL)
    }

    fn url(&self, path: &[&str]) -> Result<Url> {
        let host = self.address();
        let mut url = match Url::parse(host) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => url,
            _ => bail!("{host:?} is no address of a server: --host, or VITRINE_HOST, is a URL such as {LOCAL}"),
        };
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        Ok(url)
    }
}
