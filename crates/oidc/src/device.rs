//! Signing in where there is no browser: somebody opens a page elsewhere and types a code there, while this waits.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use oauth2::basic::BasicErrorResponseType;
use oauth2::{
    ClientId, DeviceAuthorizationUrl, DeviceCodeErrorResponseType, RefreshToken, RequestTokenError, Scope,
    StandardDeviceAuthorizationResponse, TokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::http::{self, Http};
use crate::metadata::Metadata;
use crate::tokens::{Client, Given};
use crate::unix_seconds;

/// Seconds for which a token is taken to count that does not say it.
const LASTS: u64 = 60;

/// Who asks a provider for what, as the server says that its users do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asks {
    pub issuer: String,
    pub client_id: String,
    pub scopes: Vec<String>,
    /// What the token must be for; where that is nothing else than this client, ID tokens are.
    pub audience: Option<String>,
}

/// A provider, and who asks it.
pub struct Device {
    http: Http,
    asks: Asks,
    metadata: Metadata,
}

/// Where somebody signs in, and what they type there.
pub struct Code(StandardDeviceAuthorizationResponse);

/// What is sent to a server, and what gets the next one.
#[derive(Clone, Serialize, Deserialize)]
pub struct Tokens {
    pub token: String,
    /// Until when it counts, in seconds since 1970.
    pub expires_at: u64,
    /// Not every provider gives one.
    pub refresh: Option<String>,
}

/// Why nobody is signed in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot ask the provider that people sign in by: {0}")]
    Asking(String),
    #[error(
        "the provider {0} does not let people sign in from a command line: it tells of no device flow. Its administrator can \
         turn that on; until then, make a key on the page /me and use `vitrine login` with it"
    )]
    NoDeviceFlow(String),
    #[error("nobody signed in before the code was over; begin again")]
    Over,
    #[error("the provider says that it was not allowed; begin again, or ask its administrator")]
    Denied,
    #[error("the provider refused: {0}")]
    Refused(String),
    #[error("what the provider answers cannot be used: {0}")]
    Unfit(&'static str),
    #[error("you are signed in no longer: the provider wants you to sign in again")]
    Ended,
}

impl Code {
    /// Returns the page.
    #[must_use]
    pub fn page(&self) -> &str {
        self.0.verification_uri()
    }

    /// Returns what is typed there.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.user_code().secret()
    }

    /// Returns the page on which it is typed already, if there is one.
    #[must_use]
    pub fn whole(&self) -> Option<&str> {
        self.0.verification_uri_complete().map(|url| url.secret().as_str())
    }

    /// Returns how long it is valid.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        self.0.expires_in()
    }
}

impl Device {
    /// Finds a provider's ways.
    ///
    /// # Errors
    /// [`Error::Asking`].
    pub async fn find(asks: Asks) -> Result<Self, Error> {
        http::check(&asks.issuer).map_err(|why| Error::Asking(format!("its address {why}")))?;
        let http = Http::new(&asks.issuer);
        let metadata = Metadata::read(&http, &asks.issuer).await.map_err(|error| Error::Asking(error.to_string()))?;
        Ok(Self { http, asks, metadata })
    }

    /// Returns who asks.
    #[must_use]
    pub fn asks(&self) -> &Asks {
        &self.asks
    }

    /// Begins.
    ///
    /// # Errors
    /// Why the provider gives no code.
    pub async fn begin(&self) -> Result<Code, Error> {
        let Some(end) = self.metadata.device_authorization_endpoint.clone() else {
            return Err(Error::NoDeviceFlow(self.asks.issuer.clone()));
        };
        let end = DeviceAuthorizationUrl::new(end).map_err(|_| Error::Unfit("where its device flow begins"))?;
        let client = self.client().set_device_authorization_url(end);
        let mut scopes = self.asks.scopes.clone();
        // Some give what gets the next token without being asked, and refuse to be.
        if self.metadata.offers("offline_access") && !scopes.iter().any(|scope| scope == "offline_access") {
            scopes.push("offline_access".into());
        }
        let mut asked = client.exchange_device_code().add_scopes(scopes.into_iter().map(Scope::new));
        for (name, value) in self.aims() {
            asked = asked.add_extra_param(name, value);
        }
        let given: Result<StandardDeviceAuthorizationResponse, _> = asked.request_async(&self.http).await;
        given.map(Code).map_err(|error| refused(&error))
    }

    /// Waits until somebody has signed in, asking as often as the provider wants to be asked.
    ///
    /// # Errors
    /// [`Error::Over`], [`Error::Denied`], and others.
    pub async fn wait(&self, code: &Code) -> Result<Tokens, Error> {
        let client = self.client().set_token_uri(self.end()?);
        let mut asked = client.exchange_device_access_token(&code.0);
        for (name, value) in self.aims() {
            asked = asked.add_extra_param(name, value);
        }
        let given = asked.request_async(&self.http, tokio::time::sleep, None).await;
        let given = given.map_err(|error| match &error {
            RequestTokenError::ServerResponse(told) => match told.error() {
                DeviceCodeErrorResponseType::ExpiredToken => Error::Over,
                DeviceCodeErrorResponseType::Basic(BasicErrorResponseType::Extension(word))
                    if word == "expired_token" =>
                {
                    Error::Over
                }
                DeviceCodeErrorResponseType::AccessDenied => Error::Denied,
                _ => Error::Refused(told.to_string()),
            },
            RequestTokenError::Request(error) => Error::Asking(error.to_string()),
            _ => Error::Unfit("its tokens cannot be read"),
        })?;
        self.tokens(&given, None)
    }

    /// Gets the next token.
    ///
    /// # Errors
    /// [`Error::Ended`] where somebody has to sign in again.
    pub async fn refresh(&self, refresh: &str) -> Result<Tokens, Error> {
        let client = self.client().set_token_uri(self.end()?);
        let token = RefreshToken::new(refresh.to_owned());
        let mut asked = client.exchange_refresh_token(&token);
        for (name, value) in self.aims() {
            asked = asked.add_extra_param(name, value);
        }
        let given = asked.request_async(&self.http).await.map_err(|error| match &error {
            RequestTokenError::ServerResponse(told) if *told.error() == BasicErrorResponseType::InvalidGrant => {
                Error::Ended
            }
            _ => refused(&error),
        })?;
        self.tokens(&given, Some(refresh))
    }

    fn client(&self) -> Client {
        Client::new(ClientId::new(self.asks.client_id.clone()))
    }

    fn end(&self) -> Result<TokenUrl, Error> {
        let end = self.metadata.token_endpoint.clone().ok_or(Error::Unfit("it tells of no end for tokens"))?;
        TokenUrl::new(end).map_err(|_| Error::Unfit("where its tokens are"))
    }

    /// Says what the token is to be for, in the words of those who have words for it.
    fn aims(&self) -> Vec<(&'static str, String)> {
        let Some(audience) = &self.asks.audience else { return Vec::new() };
        let mut aims = vec![("audience", audience.clone())];
        // RFC 8707 has URIs alone.
        if audience.contains(':') {
            aims.push(("resource", audience.clone()));
        }
        aims
    }

    fn tokens(&self, given: &Given, before: Option<&str>) -> Result<Tokens, Error> {
        let token = match &self.asks.audience {
            Some(_) => given.access_token().secret().clone(),
            None => given.extra_fields().id_token.clone().ok_or(Error::Unfit("it gave no ID token"))?,
        };
        let told = given.expires_in().map_or(LASTS, |time| time.as_secs());
        let expires_at = ends(&token).unwrap_or_else(|| unix_seconds() + told);
        let refresh = given.refresh_token().map(|token| token.secret().clone());
        Ok(Tokens { token, expires_at, refresh: refresh.or_else(|| before.map(str::to_owned)) })
    }
}

/// Returns when a token says that it ends. It is the server's to believe the token.
fn ends(token: &str) -> Option<u64> {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Value>(&claims).ok()?["exp"].as_u64()
}

fn refused(error: &oauth2::basic::BasicRequestTokenError<http::Error>) -> Error {
    match error {
        RequestTokenError::ServerResponse(told) => Error::Refused(told.to_string()),
        RequestTokenError::Request(error) => Error::Asking(error.to_string()),
        _ => Error::Unfit("it cannot be read"),
    }
}
