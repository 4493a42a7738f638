//! Users: people who sign in by a provider, and show its token, or what their browser keeps since they did.

use auth::{Keys, Principal, Seals, User};
use oidc::{Attempt, Provider, Refusal};

use crate::authenticate::{Caller, admitted};
use crate::{Error, Gateway, Settings, unix_seconds};

/// What tells what a browser keeps of a user from what it keeps of a key.
const SIGN: &str = "user.";
/// What browsers keep while they are at the provider.
const ATTEMPT: &str = "a sign-in under way";
/// Seconds for which they may be there.
pub const AWAY: u64 = 600;

/// Knows users by what their provider says.
pub struct Users {
    provider: Option<Provider>,
    seals: Seals,
    /// What browsers keep counts while the settings are those under which it was given.
    session: String,
}

impl Users {
    pub fn new(settings: &Settings, keys: &Keys) -> Self {
        let written = serde_json::to_vec(&settings.oidc).unwrap_or_default();
        let session = format!("a user's session under {}", blake3::hash(&written));
        Self { provider: Provider::new(&settings.oidc), seals: keys.seals(), session }
    }

    /// Keeps what the provider publishes, for as long as it is polled.
    pub async fn keep(&self) {
        match &self.provider {
            Some(provider) => match provider.keep().await {},
            None => std::future::pending().await,
        }
    }

    /// Returns the provider, if there is one.
    pub fn provider(&self) -> Option<&Provider> {
        self.provider.as_ref()
    }

    /// Returns what a browser keeps of a user.
    pub fn session(&self, user: &User) -> String {
        let written = serde_json::to_vec(user).unwrap_or_default();
        format!("{SIGN}{}", self.seals.seal(&self.session, &written, user.expires_at))
    }

    /// Returns what a browser keeps while somebody is at the provider.
    pub fn attempt(&self, attempt: &Attempt) -> String {
        let written = serde_json::to_vec(attempt).unwrap_or_default();
        self.seals.seal(ATTEMPT, &written, unix_seconds() + AWAY)
    }

    /// Returns the sign-in that a browser began, if it did within the last minutes.
    pub fn attempted(&self, kept: &str) -> Option<Attempt> {
        serde_json::from_slice(&self.seals.open(ATTEMPT, kept, unix_seconds())?).ok()
    }

    fn signed_in(&self, kept: &str) -> Option<User> {
        self.provider.as_ref()?;
        let written = self.seals.open(&self.session, kept.strip_prefix(SIGN)?, unix_seconds())?;
        serde_json::from_slice(&written).ok()
    }
}

/// Returns the caller whom a token speaks of; `None` where it is none of a provider's.
///
/// # Errors
/// When the store fails.
pub async fn bearer(gateway: &Gateway, token: &str) -> Result<Option<Caller>, Error> {
    let Some(provider) = gateway.users.provider().filter(|_| oidc::looks_like_one(token)) else { return Ok(None) };
    match provider.bearer(token).await {
        Ok(user) => placed(gateway, &user).await.map(Some),
        Err(refusal) => Ok(Some(Caller::Refused(refusal))),
    }
}

/// Returns the caller of whom a browser keeps something: a user, or a key.
///
/// # Errors
/// When the store fails.
pub async fn kept(gateway: &Gateway, token: &str) -> Result<Caller, Error> {
    if !token.starts_with(SIGN) {
        return admitted(gateway, gateway.keys.signed_in(token).await?).await;
    }
    match gateway.users.signed_in(token) {
        Some(user) => placed(gateway, &user).await,
        None => Ok(Caller::Unknown),
    }
}

/// Returns who somebody is now that was known a moment ago.
///
/// # Errors
/// When the store fails.
pub async fn again(gateway: &Gateway, principal: &Principal) -> Result<Caller, Error> {
    match &principal.user {
        None => admitted(gateway, gateway.keys.principal(&principal.key).await?).await,
        Some(_) if principal.expires_at.is_some_and(|end| end <= unix_seconds()) => {
            Ok(Caller::Refused(Refusal::Expired))
        }
        Some(_) => admitted(gateway, Some(principal.clone())).await,
    }
}

/// Returns the caller that a user is, whose tenant has to be there: nobody makes one by signing in.
///
/// # Errors
/// When the store fails.
pub async fn placed(gateway: &Gateway, user: &User) -> Result<Caller, Error> {
    if gateway.tenants.exists(&user.tenant, &gateway.keys).await? {
        return admitted(gateway, Some(user.principal())).await;
    }
    let claim = gateway.settings.oidc.tenant_claim.clone();
    Ok(Caller::Refused(Refusal::NoTenant { user: user.name.clone(), claim }))
}
