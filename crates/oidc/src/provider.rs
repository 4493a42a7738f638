//! A provider, as a gateway knows it.
//!
//! What it says of itself and its keys are read by [`Provider::keep`] alone: again and again, and sooner where somebody
//! shows a token whose key is not known, but never twice within [`REST`]. Whoever needs what is not there waits for the
//! reading that is under way, and for no longer than [`PATIENCE`]; all others have what was read last. So a provider that is
//! away, and a stranger who makes up the names of keys, cost the provider little and others nothing.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use auth::User;
use jsonwebtoken::DecodingKey;
use oauth2::{AuthType, AuthUrl, AuthorizationCode, ClientSecret, CsrfToken, PkceCodeChallenge, PkceCodeVerifier};
use oauth2::{RedirectUrl, Scope, TokenUrl};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::claims::Claims;
use crate::http::{Error, Http};
use crate::keys::{Keys, Published};
use crate::metadata::Metadata;
use crate::tokens::Client;
use crate::{Attempt, Refusal, Settings, token, unix_seconds};

/// How often all is read again that a provider publishes. A key that it takes back counts for no longer than that.
const FRESH: Duration = Duration::from_secs(300);
/// The least time between two readings.
const REST: Duration = Duration::from_secs(5);
/// The longest pause after readings that came to nothing.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long a reading may take.
const READING: Duration = Duration::from_secs(8);
/// How long a request waits for one.
const PATIENCE: Duration = Duration::from_secs(2);
/// Requests that wait at once.
const WAITING: usize = 64;
/// How long keys count while a provider is away.
const OLDEST: Duration = Duration::from_secs(24 * 3600);

/// The provider that a server's users sign in by.
pub struct Provider {
    settings: Settings,
    issuer: String,
    http: Http,
    shown: watch::Sender<Shown>,
    asked: Notify,
    waiting: Semaphore,
}

/// What was read.
#[derive(Default)]
struct Shown {
    known: Option<Arc<Known>>,
    /// How many readings have ended, and whether the last one came to nothing.
    readings: u64,
    failed: bool,
    /// Until when no other begins.
    rests: Option<Instant>,
}

struct Known {
    metadata: Metadata,
    keys: Keys,
    at: Instant,
}

impl Provider {
    /// Returns the provider of some settings, if they have one. They have been checked.
    #[must_use]
    pub fn new(settings: &Settings) -> Option<Self> {
        let issuer = settings.issuer.clone()?;
        Some(Self {
            http: Http::new(&issuer),
            issuer,
            settings: settings.clone(),
            shown: watch::Sender::new(Shown::default()),
            asked: Notify::new(),
            waiting: Semaphore::new(WAITING),
        })
    }

    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns what people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        let host = || self.issuer.split("://").nth(1).and_then(|rest| rest.split(['/', ':']).next());
        self.settings.name.as_deref().or_else(host).unwrap_or(&self.issuer)
    }

    /// Reads what the provider publishes, for as long as it is polled. While nobody does, nobody is known.
    pub async fn keep(&self) -> Infallible {
        let mut pause = REST;
        loop {
            let read = match timeout(READING, self.read()).await {
                Ok(read) => read.map_err(|error| error.to_string()),
                Err(_) => Err(format!("{} did not answer within {} s", self.issuer, READING.as_secs())),
            };
            pause = if read.is_ok() { REST } else { (2 * pause).min(LONGEST_PAUSE) };
            let next = if read.is_ok() { FRESH } else { pause };
            let rests = Instant::now() + REST;
            self.shown.send_modify(|shown| {
                shown.readings += 1;
                shown.failed = read.is_err();
                shown.rests = Some(rests);
                match read {
                    Ok(known) => shown.known = Some(Arc::new(known)),
                    Err(error) => {
                        tracing::warn!(%error, "cannot read the keys of the provider that people sign in by; trying again");
                        shown.known.take_if(|known| known.at.elapsed() > OLDEST);
                    }
                }
            });
            sleep_until(rests).await;
            // Cancel safe: who asked and was not heard asks for what is read then.
            tokio::select! {
                () = sleep(next.saturating_sub(REST)) => {}
                () = self.asked.notified() => {}
            }
        }
    }

    /// Returns whom a token speaks of that was sent to `/v1`.
    ///
    /// # Errors
    /// Why it counts for nothing.
    pub async fn bearer(&self, token: &str) -> Result<User, Refusal> {
        let (claims, expires) = self.verified(token, &self.settings.audiences(), None).await?;
        self.settings.user(&claims, expires)
    }

    /// Begins to sign somebody in on a page. Returns where their browser goes, and what it keeps meanwhile. The provider
    /// sends it back to `redirect`.
    ///
    /// # Errors
    /// [`Refusal::Away`], [`Refusal::Provider`].
    pub async fn begin(&self, redirect: String, next: String) -> Result<(String, Attempt), Refusal> {
        let known = self.known(|_| true).await?;
        let page = known.metadata.authorization_endpoint.clone();
        let page = page.ok_or_else(|| Refusal::Provider("it has no page for that".into()))?;
        let unfit = |error: oauth2::url::ParseError| Refusal::Provider(error.to_string());
        let client = self.client()?.set_auth_uri(AuthUrl::new(page).map_err(unfit)?);
        let client = client.set_redirect_uri(RedirectUrl::new(redirect.clone()).map_err(unfit)?);
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let nonce = CsrfToken::new_random().into_secret();
        let scopes = self.settings.scopes.iter().cloned().map(Scope::new);
        let asked = client.authorize_url(CsrfToken::new_random).add_scopes(scopes).set_pkce_challenge(challenge);
        let (url, state) = asked.add_extra_param("nonce", nonce.clone()).url();
        let (state, verifier) = (state.into_secret(), verifier.into_secret());
        Ok((url.into(), Attempt { state, nonce, verifier, redirect, next }))
    }

    /// Ends that: exchanges the code with which somebody came back, and returns who they are for as long as they stay
    /// signed in, and the ID token that says so, for [`Provider::sign_out`].
    ///
    /// # Errors
    /// Why nobody is signed in.
    pub async fn finish(&self, attempt: &Attempt, code: String) -> Result<(User, String), Refusal> {
        let known = self.known(|_| true).await?;
        let end = known.metadata.token_endpoint.clone();
        let end = end.ok_or_else(|| Refusal::Provider("it gives no tokens".into()))?;
        let unfit = |error: oauth2::url::ParseError| Refusal::Provider(error.to_string());
        let mut client = self.client()?.set_token_uri(TokenUrl::new(end).map_err(unfit)?);
        client = client.set_redirect_uri(RedirectUrl::new(attempt.redirect.clone()).map_err(unfit)?);
        if known.metadata.secret_in_body() {
            client = client.set_auth_type(AuthType::RequestBody);
        }
        if let Some(secret) = self.secret().await? {
            client = client.set_client_secret(ClientSecret::new(secret));
        }
        let verifier = PkceCodeVerifier::new(attempt.verifier.clone());
        let asked = client.exchange_code(AuthorizationCode::new(code)).set_pkce_verifier(verifier);
        let given = asked.request_async(&self.http).await.map_err(|error| self.refused(&error))?;
        let Some(id) = given.extra_fields().id_token.as_deref() else {
            return Err(Refusal::Provider("it gave no ID token".into()));
        };
        let audience = self.settings.client_id.as_deref().unwrap_or_default();
        let (claims, _) = self.verified(id, &[audience], Some(&attempt.nonce)).await?;
        let user = self.settings.user(&claims, unix_seconds() + self.settings.session.as_secs())?;
        Ok((user, id.to_owned()))
    }

    /// Returns the page at which somebody who has signed out here does so there, too. With the ID token by which they signed
    /// in, the provider knows whom to sign out, and need not ask who they are. `None` where the provider has no such page, or
    /// where it is not known at the moment.
    #[must_use]
    pub fn sign_out(&self, id_token: Option<&str>) -> Option<String> {
        let known = self.shown.borrow().known.clone()?;
        let mut page = oauth2::url::Url::parse(known.metadata.end_session_endpoint.as_deref()?).ok()?;
        page.query_pairs_mut().append_pair("client_id", self.settings.client_id.as_deref().unwrap_or_default());
        if let Some(token) = id_token {
            page.query_pairs_mut().append_pair("id_token_hint", token);
        }
        Some(page.into())
    }

    fn client(&self) -> Result<Client, Refusal> {
        let id = self.settings.client_id.clone().unwrap_or_default();
        Ok(Client::new(oauth2::ClientId::new(id)))
    }

    async fn secret(&self) -> Result<Option<String>, Refusal> {
        let settings = self.settings.clone();
        let read = tokio::task::spawn_blocking(move || settings.secret()).await;
        let failed = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "cannot read the secret by which the provider knows this server");
            Refusal::Provider("this server cannot show who it is, which only its operator can mend".into())
        };
        read.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }

    /// Says why a provider gave nothing.
    fn refused(&self, error: &oauth2::basic::BasicRequestTokenError<Error>) -> Refusal {
        tracing::warn!(%error, "the provider gave no token for a code");
        match error {
            oauth2::RequestTokenError::ServerResponse(told) => Refusal::Provider(told.to_string()),
            oauth2::RequestTokenError::Request(_) => Refusal::Away { issuer: self.issuer.clone() },
            _ => Refusal::Provider("its answer cannot be read".into()),
        }
    }

    /// Returns what a token says that the provider signed, and until when that counts.
    async fn verified(&self, text: &str, audiences: &[&str], nonce: Option<&str>) -> Result<(Claims, u64), Refusal> {
        let head = token::head(text)?;
        let find =
            |known: &Known| -> Option<DecodingKey> { known.keys.find(head.key.as_deref(), head.algorithm).cloned() };
        let known = self.known(|known| find(known).is_some()).await?;
        let key = find(&known).ok_or_else(|| Refusal::UnknownKey { issuer: self.issuer.clone() })?;
        token::read(text, &head, &key, &token::Wanted { issuer: &self.issuer, audiences, nonce })
    }

    /// Returns what was read last that has what is wanted, or what is read next.
    async fn known(&self, has: impl Fn(&Known) -> bool) -> Result<Arc<Known>, Refusal> {
        let mut news = self.shown.subscribe();
        let (readings, place) = {
            let shown = news.borrow_and_update();
            if let Some(known) = shown.known.as_ref().filter(|known| has(known)) {
                return Ok(Arc::clone(known));
            }
            if shown.rests.is_some_and(|until| Instant::now() < until) {
                return Err(self.missing(&shown));
            }
            // Where there is no room to wait, what was read last decides.
            (shown.readings, self.waiting.try_acquire().map_err(|_| self.missing(&shown))?)
        };
        self.asked.notify_one();
        let read = timeout(PATIENCE, news.wait_for(|shown| shown.readings > readings)).await;
        drop(place);
        match read {
            Ok(Ok(shown)) => match shown.known.as_ref().filter(|known| has(known)) {
                Some(known) => Ok(Arc::clone(known)),
                None => Err(self.missing(&shown)),
            },
            Ok(Err(_)) | Err(_) => Err(Refusal::Away { issuer: self.issuer.clone() }),
        }
    }

    /// Says why what is wanted is not there.
    fn missing(&self, shown: &Shown) -> Refusal {
        let issuer = self.issuer.clone();
        match shown.failed || shown.known.is_none() {
            true => Refusal::Away { issuer },
            false => Refusal::UnknownKey { issuer },
        }
    }

    async fn read(&self) -> Result<Known, Error> {
        let at = Instant::now();
        let metadata = Metadata::read(&self.http, &self.issuer).await?;
        let published: Published = self.http.get(&metadata.jwks_uri).await?;
        let keys = Keys::read(published);
        match keys.is_empty() {
            true => Err(Error::Unfit { url: metadata.jwks_uri, why: "it has no key that this server takes".into() }),
            false => Ok(Known { metadata, keys, at }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{Issuer, Mood};

    const KEYS: &str = "/keys";

    async fn provider(issuer: &Issuer) -> Arc<Provider> {
        let provider = Arc::new(Provider::new(&issuer.settings()).unwrap());
        let keeper = Arc::clone(&provider);
        tokio::spawn(async move { keeper.keep().await });
        provider
    }

    /// Waits until something was read, or nothing could be, so many times.
    async fn has_read(provider: &Provider, readings: u64) {
        provider.shown.subscribe().wait_for(|shown| shown.readings >= readings).await.unwrap();
    }

    #[tokio::test]
    async fn a_token_is_somebody_only_where_all_of_it_is_right() {
        let issuer = Issuer::start().await;
        let provider = provider(&issuer).await;
        let ada = provider.bearer(&issuer.token(json!({ "email": "a@b" }))).await.unwrap();
        assert_eq!(
            (ada.name.as_str(), ada.tenant.as_str(), ada.scopes.as_slice()),
            ("ada", "ada", &auth::Scope::DEFAULT[..])
        );
        assert!(ada.expires_at > unix_seconds());
        let now = unix_seconds();
        for (claims, why) in [
            (json!({ "exp": now - 31 }), Refusal::Expired),
            (json!({ "exp": 1.5 }), Refusal::Expired),
            (json!({ "exp": null }), Refusal::Unreadable("it does not say when it ends")),
            (json!({ "exp": "never" }), Refusal::Unreadable("it does not say when it ends")),
            (json!({ "nbf": now + 600 }), Refusal::NotYet),
            (json!({ "iss": "https://other.example.org" }), Refusal::Issuer { issuer: issuer.url.clone() }),
            (json!({ "iss": null }), Refusal::Unreadable("it does not say whose it is")),
            (json!({ "aud": "another" }), Refusal::Audience("vitrine".into())),
            (json!({ "aud": ["another", "vitrine-two"] }), Refusal::Audience("vitrine".into())),
            (json!({ "aud": null }), Refusal::Unreadable("it does not say what it is for")),
            (json!({ "aud": { "vitrine": true } }), Refusal::Unreadable("it does not say what it is for")),
        ] {
            assert_eq!(provider.bearer(&issuer.token(claims.clone())).await, Err(why), "{claims}");
        }
        assert!(provider.bearer(&issuer.token(json!({ "aud": ["another", "vitrine"] }))).await.is_ok());
        assert_eq!(provider.bearer(&issuer.forged(json!({}))).await, Err(Refusal::Signature));
        let unknown = Refusal::UnknownKey { issuer: issuer.url.clone() };
        assert_eq!(provider.bearer(&issuer.token_of("key-9", json!({}))).await, Err(unknown));
        let whole = issuer.token(json!({}));
        for end in [0, 1, 20, whole.len() - 1] {
            assert!(provider.bearer(&whole[..end]).await.is_err(), "up to {end}");
        }
    }

    #[tokio::test]
    async fn a_head_that_asks_for_less_is_refused() {
        use base64::Engine;
        use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
        let issuer = Issuer::start().await;
        let provider = provider(&issuer).await;
        let token = issuer.token(json!({}));
        let [_, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
        let with = |head: serde_json::Value| format!("{}.{claims}.{signature}", B64.encode(head.to_string()));
        for (head, why) in [
            (json!({ "alg": "none", "kid": "key-1" }), Refusal::Algorithm("none".into())),
            (json!({ "alg": "HS256", "kid": "key-1" }), Refusal::Algorithm("HS256".into())),
            (json!({ "alg": "RS256", "kid": "key-1" }), Refusal::UnknownKey { issuer: issuer.url.clone() }),
            (json!({ "alg": "ES256", "kid": "key-1", "typ": "logout+jwt" }), Refusal::Kind("logout+jwt".into())),
            (
                json!({ "alg": "ES256", "kid": "key-1", "crit": ["x"] }),
                Refusal::Unreadable("it asks for what this server does not know"),
            ),
            (json!({ "alg": "ES256", "kid": "key-1", "typ": "at+JWT" }), Refusal::Signature),
            (json!(7), Refusal::Unreadable("its head is none")),
        ] {
            assert_eq!(provider.bearer(&with(head.clone())).await, Err(why), "{head}");
        }
        assert!(provider.bearer(&format!("{}..", &token[..9])).await.is_err());
        assert!(crate::looks_like_one(&token) && !crate::looks_like_one("vitrine_639b08ef9338_00"));
    }

    #[tokio::test]
    async fn no_number_of_unknown_keys_makes_it_ask_more_often() {
        let issuer = Issuer::start().await;
        let provider = provider(&issuer).await;
        provider.bearer(&issuer.token(json!({}))).await.unwrap();
        let began = Instant::now();
        for number in 0..300 {
            let made_up = issuer.token_of(&format!("key {number}"), json!({}));
            assert!(provider.bearer(&made_up).await.is_err());
        }
        let readings = began.elapsed().as_secs() / REST.as_secs() + 2;
        let asked = issuer.asked(KEYS);
        assert!(asked as u64 <= readings, "it asked {asked} times in {:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_new_key_counts_when_somebody_shows_it_and_the_old_one_no_longer() {
        let issuer = Issuer::start().await;
        let provider = provider(&issuer).await;
        let old = issuer.token(json!({}));
        provider.bearer(&old).await.unwrap();
        issuer.new_key();
        let new = issuer.token(json!({}));
        // What was read a moment ago counts for that moment.
        let rests = provider.shown.borrow().rests.unwrap();
        sleep_until(rests).await;
        provider.bearer(&new).await.unwrap();
        assert_eq!(provider.bearer(&old).await, Err(Refusal::UnknownKey { issuer: issuer.url.clone() }));
    }

    #[tokio::test]
    async fn a_provider_that_is_away_keeps_nobody_whose_key_is_known_waiting() {
        let issuer = Issuer::start().await;
        let provider = provider(&issuer).await;
        let token = issuer.token(json!({}));
        provider.bearer(&token).await.unwrap();
        let away = Refusal::Away { issuer: issuer.url.clone() };
        issuer.be(Mood::Silent);
        let rests = provider.shown.borrow().rests.unwrap();
        sleep_until(rests).await;
        // It makes the keeper ask, and is told so soon.
        assert_eq!(provider.bearer(&issuer.token_of("other", json!({}))).await, Err(away.clone()));
        let waiting = (0..WAITING + 10).map(|number| {
            let (provider, token) = (Arc::clone(&provider), issuer.token_of(&format!("{number}"), json!({})));
            tokio::spawn(async move { provider.bearer(&token).await })
        });
        let waiting: Vec<_> = waiting.collect();
        provider.bearer(&token).await.unwrap();
        let unknown = Refusal::UnknownKey { issuer: issuer.url.clone() };
        let mut told = 0;
        for one in waiting {
            let refused = one.await.unwrap().unwrap_err();
            assert!(refused == away || refused == unknown, "{refused}");
            told += usize::from(refused == away);
        }
        assert!(told >= WAITING, "so many may wait: {told}");
        has_read(&provider, 2).await;
        assert!(provider.shown.borrow().failed);
        provider.bearer(&token).await.unwrap();
        // Who asks between two readings is told at once, and nobody asks the provider.
        let asked = issuer.asked("/.well-known/openid-configuration");
        assert_eq!(provider.bearer(&issuer.token_of("other", json!({}))).await, Err(away));
        assert_eq!(issuer.asked("/.well-known/openid-configuration"), asked);
    }

    #[tokio::test]
    async fn a_provider_that_was_away_from_the_start_is_asked_again() {
        let issuer = Issuer::start().await;
        issuer.be(Mood::Broken);
        let provider = provider(&issuer).await;
        let token = issuer.token(json!({}));
        assert_eq!(provider.bearer(&token).await, Err(Refusal::Away { issuer: issuer.url.clone() }));
        issuer.be(Mood::Well);
        let rests = provider.shown.borrow().rests.unwrap();
        sleep_until(rests).await;
        provider.bearer(&token).await.unwrap();
    }
}
