//! Asking a provider: within bounded time, for a bounded number of bytes, and no other server than the one that was named.

use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

/// How long a provider may take to be reached, and for a whole answer.
const REACH: Duration = Duration::from_secs(3);
const ANSWER: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const BYTES: usize = 1 << 20;

/// What asks providers. It is set up when somebody first asks.
pub struct Http {
    client: OnceCell<Client>,
    /// Whether the provider is a process of this machine, to which no proxy leads.
    local: bool,
}

/// Why there is no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot set up HTTP: {0}")]
    Setup(String),
    #[error("cannot reach {url} ({cause})")]
    Unreachable { url: String, cause: String },
    #[error("{url} answers {status}")]
    Status { url: String, status: u16 },
    #[error("{url} answers with more than {BYTES} bytes")]
    TooLong { url: String },
    #[error("{url} does not answer as it should: {why}")]
    Unfit { url: String, why: String },
}

/// Reads the address of something of a provider's.
///
/// # Errors
/// The end of a sentence, for an address by which somebody on the way could answer in its place.
pub fn check(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| format!("must be a URL such as https://login.example.org, not {text:?}"))?;
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        return Err(format!("must be a URL of a host and a path alone, not {text:?}"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_local(&url) => Ok(url),
        "http" => Err(format!(
            "must begin with https://, for whoever is on the way could speak for the provider otherwise, not be {text:?}"
        )),
        _ => Err(format!("must begin with https://, not be {text:?}")),
    }
}

fn is_local(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

impl Http {
    pub fn new(issuer: &str) -> Self {
        Self { client: OnceCell::new(), local: Url::parse(issuer).is_ok_and(|url| is_local(&url)) }
    }

    /// Returns what is at an address, read as JSON.
    pub async fn get<T: DeserializeOwned>(&self, url: &str) -> Result<T, Error> {
        let request = self.client().await?.get(url).build();
        let request = request.map_err(|error| Error::Unreachable { url: url.into(), cause: error.to_string() })?;
        let (status, _, body) = self.execute(request).await?;
        if status != 200 {
            return Err(Error::Status { url: url.into(), status });
        }
        serde_json::from_slice(&body).map_err(|error| Error::Unfit { url: url.into(), why: error.to_string() })
    }

    /// Sends what the OAuth library has put together.
    async fn send(&self, request: oauth2::HttpRequest) -> Result<oauth2::HttpResponse, Error> {
        let url = request.uri().to_string();
        let unfit = |why: String| Error::Unfit { url: url.clone(), why };
        let request = reqwest::Request::try_from(request).map_err(|error| unfit(error.to_string()))?;
        let (status, kind, body) = self.execute(request).await?;
        let mut response = oauth2::http::Response::builder().status(status);
        if let Some(kind) = kind {
            response = response.header(oauth2::http::header::CONTENT_TYPE, kind);
        }
        response.body(body).map_err(|error| unfit(error.to_string()))
    }

    async fn client(&self) -> Result<&Client, Error> {
        let set_up = async || {
            let mut client = Client::builder().redirect(Policy::none()).connect_timeout(REACH).timeout(ANSWER);
            if self.local {
                client = client.no_proxy();
            }
            client.build().map_err(|error| Error::Setup(innermost(&error)))
        };
        self.client.get_or_try_init(set_up).await
    }

    /// Returns the status, the content type and the body of an answer.
    async fn execute(
        &self,
        request: reqwest::Request,
    ) -> Result<(u16, Option<reqwest::header::HeaderValue>, Vec<u8>), Error> {
        let url = request.url().to_string();
        let unreachable = |error: reqwest::Error| Error::Unreachable { url: url.clone(), cause: innermost(&error) };
        let mut answer = self.client().await?.execute(request).await.map_err(unreachable)?;
        let (status, kind) = (answer.status().as_u16(), answer.headers().get(reqwest::header::CONTENT_TYPE).cloned());
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + piece.len() > BYTES {
                return Err(Error::TooLong { url: url.clone() });
            }
            body.extend_from_slice(&piece);
        }
        Ok((status, kind, body))
    }
}

impl<'c> oauth2::AsyncHttpClient<'c> for Http {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<oauth2::HttpResponse, Error>> + Send + 'c>>;

    fn call(&'c self, request: oauth2::HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

/// Returns the cause that says it best.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".into();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_on_the_way_can_speak_for_a_provider() {
        for good in ["https://login.example.org", "https://login.example.org:8443/realms/lab/", "http://127.0.0.1:1"] {
            assert!(check(good).is_ok(), "{good}");
        }
        assert!(check("http://[::1]:8080/x").is_ok() && check("http://localhost/x").is_ok());
        for bad in [
            "http://login.example.org",
            "http://127.0.0.1.example.org",
            "http://localhost.example.org",
            "https://login.example.org?x",
            "https://login.example.org/#x",
            "https://me@login.example.org",
            "ftp://login.example.org",
            "login.example.org",
            "",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
