//! A running server's `/v1`, as the command line asks it.

use std::error::Error;
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use reqwest::redirect::Policy;
use reqwest::tls::TlsInfo;
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde_json::Value;

use crate::login::{self, By, Login};
use crate::{progress, table};

/// Where `vitrine up` listens when nobody says otherwise.
const LOCAL: &str = "http://127.0.0.1:8000";
/// How long a server may take to be reached, and to answer.
const REACH: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(60);

/// Which server is asked, in whose name, and how its answer is printed.
#[derive(Args, Clone)]
pub struct Server {
    /// The server's address [default: that of `vitrine login`, or http://127.0.0.1:8000, where `vitrine up` listens].
    #[arg(long, env = "VITRINE_HOST", value_name = "URL", help_heading = "Server")]
    host: Option<String>,
    /// Your API key [default: that of `vitrine login`, for its server].
    #[arg(long, env = "VITRINE_API_KEY", hide_env_values = true, value_name = "KEY", help_heading = "Server")]
    key: Option<String>,
    /// Print JSON, for scripts.
    #[arg(long)]
    pub json: bool,
    /// What was logged in with, where that was looked at.
    #[arg(skip)]
    login: OnceLock<Option<Login>>,
}

/// What shows a server who asks.
enum Shown {
    Key(String),
    /// Of who signed in by its provider.
    Token(String),
}

/// What a server says of something that it does not do.
#[derive(Debug)]
pub struct Refusal(pub String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Refusal {}

impl Server {
    /// Returns the key that this command was given.
    pub fn given_key(&self) -> Option<&str> {
        self.key.as_deref().filter(|key| !key.is_empty())
    }

    /// Returns the same with what somebody logs in with.
    pub fn with(self, login: &Login) -> Self {
        let key = match &login.by {
            By::Key(key) => Some(key.clone()),
            By::Oidc(_) => None,
        };
        Self { host: Some(login.host.clone()), key, login: OnceLock::from(Some(login.clone())), ..self }
    }

    /// Returns the same without the key that this command was given.
    pub fn without_key(self) -> Self {
        Self { key: None, ..self }
    }

    /// Returns whether somebody said which server is meant.
    pub fn named(&self) -> bool {
        self.host.is_some()
    }

    /// Asks, and returns what is answered; null where that is nothing.
    ///
    /// # Errors
    /// A sentence: the server's own where it refuses.
    pub async fn ask(&self, method: Method, path: &[&str], body: Option<&Value>) -> Result<Value> {
        let body = body.map(serde_json::to_vec).transpose()?.map(|body| ("application/json", body.into()));
        self.read(self.send(method, self.url(path)?, body).await?).await
    }

    /// Posts a body of some other kind than JSON.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub async fn post(&self, path: &[&str], kind: &str, body: Bytes) -> Result<Value> {
        self.read(self.send(Method::POST, self.url(path)?, Some((kind, body))).await?).await
    }

    /// Submits a program as the nnsight client does, who comes back for what became of it. Returns the job's id.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub async fn submit(&self, fields: &str, payload: &[u8]) -> Result<String> {
        const BOUNDARY: &str = "--a-part-of-this-request-ends-here";
        let part = |name: &str| format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n");
        let body = [
            part("data").as_bytes(),
            fields.as_bytes(),
            b"\r\n",
            part("blob").as_bytes(),
            payload,
            format!("\r\n--{BOUNDARY}--\r\n").as_bytes(),
        ]
        .concat();
        let (url, shown) = (self.beside("request")?, self.shown().await?);
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let answer = self.request(Method::POST, url, Some(&shown), "*/*", Some((&kind, body.into()))).await?;
        let status = answer.status();
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap_or_default()).unwrap_or_default();
        match (status.is_success(), body["id"].as_str(), body["detail"].as_str()) {
            (true, Some(id), _) => Ok(id.to_owned()),
            (false, _, Some(sentence)) => Err(Refusal(sentence.to_owned()).into()),
            _ => Err(self.stranger(&format!("it answers {status}"))),
        }
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

    /// Asks for pages of a list until there are as many of its items as are wanted. Returns them, and where to go on.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub async fn pages(
        &self,
        path: &[&str],
        wanted: &[(&str, &str)],
        name: &str,
        limit: usize,
    ) -> Result<(Vec<Value>, Option<String>)> {
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        // A page may be short, or empty, where few of many are wanted.
        while items.len() < limit {
            let rest = (limit - items.len()).to_string();
            let mut search = wanted.to_vec();
            search.push(("limit", &rest));
            search.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page = self.search(path, &search).await?;
            items.extend_from_slice(table::list(&page, name));
            cursor = page["next"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        Ok((items, cursor))
    }

    /// Asks for a text, and returns it as it comes.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub async fn text(&self, path: &[&str]) -> Result<Response> {
        self.fetch(path, "*/*").await
    }

    /// Asks for something of a kind, and returns it as it comes.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub async fn fetch(&self, path: &[&str], kind: &str) -> Result<Response> {
        let shown = self.shown().await?;
        let answer = self.request(Method::GET, self.url(path)?, Some(&shown), kind, None).await?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.refused(answer, Some(&shown)).await) }
    }

    /// Asks for a stream of events, those behind one whose id is given.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub async fn events(&self, path: &[&str], after: Option<&str>) -> Result<Response> {
        let mut url = self.url(path)?;
        if let Some(after) = after {
            url.query_pairs_mut().append_pair("after", after);
        }
        self.send(Method::GET, url, None).await
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

    async fn send(&self, method: Method, url: Url, body: Option<(&str, Bytes)>) -> Result<Response> {
        let shown = self.shown().await?;
        let answer = self.request(method, url, Some(&shown), "*/*", body).await?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.refused(answer, Some(&shown)).await) }
    }

    /// Returns what shows who asks. What was logged in with is for that server.
    async fn shown(&self) -> Result<Shown> {
        if let Some(key) = self.given_key() {
            return Ok(Shown::Key(key.to_owned()));
        }
        let login = self.login().filter(|login| login.host == self.address()).context(
            "no API key was given: `vitrine login` keeps one, or put it into VITRINE_API_KEY, or give --key; the first start \
             of `vitrine up` shows one, and otherwise the server's operator makes them. Where the server has a provider to \
             sign in by, `vitrine login --oidc` does that",
        )?;
        match &login.by {
            By::Key(key) => Ok(Shown::Key(key.clone())),
            By::Oidc(session) => login::token(login, session).await.map(Shown::Token),
        }
    }

    /// Asks for what everybody may see of `/v1`.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub async fn open(&self, path: &[&str]) -> Result<Value> {
        let answer = self.request(Method::GET, self.url(path)?, None, "*/*", None).await?;
        if answer.status().is_success() { self.read(answer).await } else { Err(self.refused(answer, None).await) }
    }

    /// Returns the certificate that the server shows, as DER; `None` where it shows none.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub async fn certificate(&self) -> Result<Option<Vec<u8>>> {
        let answer = self.request(Method::GET, self.beside("healthz")?, None, "*/*", None).await?;
        let shown = answer.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate);
        Ok(shown.map(<[u8]>::to_vec))
    }

    /// Asks for what everybody may see, at a path of one name.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub async fn plain(&self, path: &str) -> Result<Value> {
        let answer = self.request(Method::GET, self.beside(path)?, None, "*/*", None).await?;
        if !answer.status().is_success() {
            let bytes = answer.bytes().await.unwrap_or_default();
            let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            bail!("{}", body["detail"].as_str().unwrap_or("it does not say why"));
        }
        let bytes = answer.bytes().await.map_err(|error| self.lost(&error))?;
        Ok(serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn request(
        &self,
        method: Method,
        url: Url,
        shown: Option<&Shown>,
        accept: &str,
        body: Option<(&str, Bytes)>,
    ) -> Result<Response> {
        // A key goes to the server that was named, and to no other.
        let mut client =
            Client::builder().tls_info(true).redirect(Policy::none()).connect_timeout(REACH).read_timeout(ANSWER);
        if url.host_str().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]")) {
            client = client.no_proxy();
        }
        let client = client.build().context("cannot set up HTTP")?;
        let mut request = client.request(method, url).header("accept", accept);
        request = match shown {
            Some(Shown::Key(key)) => request.header("ndif-api-key", key),
            Some(Shown::Token(token)) => request.bearer_auth(token),
            None => request,
        };
        if let Some((kind, body)) = body {
            request = request.header("content-type", kind).body(body);
        }
        request.send().await.map_err(|error| match error.is_builder() {
            true => anyhow!("the API key cannot be sent: it must be a line of plain characters"),
            false => self.lost(&error),
        })
    }

    /// Returns what was logged in with. One that cannot be read is as none, and is said.
    fn login(&self) -> Option<&Login> {
        let read = || {
            Login::read().unwrap_or_else(|error| {
                progress::line(&format!("vitrine: {error:#}"));
                None
            })
        };
        self.login.get_or_init(read).as_ref()
    }

    async fn read(&self, answer: Response) -> Result<Value> {
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let bytes = answer.bytes().await.map_err(|error| self.lost(&error))?;
        serde_json::from_slice(&bytes).map_err(|_| self.stranger("it answers with something else than JSON"))
    }

    async fn refused(&self, answer: Response, shown: Option<&Shown>) -> anyhow::Error {
        let status = answer.status();
        let bytes = answer.bytes().await.unwrap_or_default();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        match (status, body["error"].as_str()) {
            (StatusCode::UNAUTHORIZED, Some(sentence)) if matches!(shown, Some(Shown::Token(_))) => {
                let host = self.address();
                Refusal(format!("the server at {host} says: {sentence}: `vitrine login --oidc` does that")).into()
            }
            (StatusCode::UNAUTHORIZED, Some(_)) => Refusal(format!(
                "the server at {} does not know this API key, or it has expired; look at --key or VITRINE_API_KEY, or ask \
                 the server's operator for a new one",
                self.address()
            ))
            .into(),
            (_, Some(sentence)) => Refusal(sentence.to_owned()).into(),
            (status, None) => self.stranger(&format!("it answers {status}")),
        }
    }

    fn stranger(&self, what: &str) -> anyhow::Error {
        let host = self.address();
        anyhow!("what listens at {host} is no Vitrine server, or an older one ({what}); look at --host or VITRINE_HOST")
    }

    /// Returns the server's address.
    pub fn address(&self) -> &str {
        let given = self.host.as_deref().filter(|host| !host.is_empty());
        // Who gives a key and no server does not mean another's server.
        let login = || self.login().filter(|_| self.given_key().is_none()).map(|login| login.host.as_str());
        given.or_else(login).unwrap_or(LOCAL)
    }

    /// Returns the address of a path of one name beside `/v1`.
    fn beside(&self, path: &str) -> Result<Url> {
        let mut url = self.url(&[])?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop().push(path);
        }
        Ok(url)
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
