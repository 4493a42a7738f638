//! Finds out who sends a request, before anything of its body is read.

use std::net::IpAddr;
use std::sync::Arc;

use auth::{Principal, Scope};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ids::TenantId;
use oidc::Refusal;

use crate::strangers::Stranger;
use crate::trail::{Asked, Noted};
use crate::{Error, Gateway, pages, users};

/// Who sent a request, as far as its key tells, or its token.
#[derive(Clone, Debug)]
pub enum Caller {
    /// No key was sent.
    Nobody,
    /// The key sent is not one of ours.
    Unknown,
    /// The key sent is of a tenant that is suspended.
    Suspended(TenantId),
    /// What was sent is a token of a provider's, and counts for nothing here.
    Refused(Refusal),
    Known(Principal),
}

/// Who may administer the server. As a part of a request's head it is looked at before the body is.
pub struct Administrator(pub Principal);

/// Who may operate the server, and who may look at it.
pub struct Operator(pub Principal);
pub struct Onlooker(pub Principal);

/// Who may make keys: an administrator any, and a user of a provider their own.
pub struct Keyholder(pub Principal);

/// The header that nnsight's clients send their key in.
const KEY_HEADER: &str = "ndif-api-key";

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// The middleware that puts a [`Caller`] into every request.
pub async fn authenticate(
    State(gateway): State<Arc<Gateway>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Error> {
    let path = request.uri().path();
    let caller = match key(request.headers()) {
        // What a browser keeps counts for pages alone, where forms are known to be ours.
        Key::None if pages::are_at(path) => match pages::token(&gateway, request.headers()) {
            None => Caller::Nobody,
            Some(token) => users::kept(&gateway, token).await?,
        },
        Key::None => Caller::Nobody,
        Key::One(text) => admitted(&gateway, gateway.keys.authenticate(text).await?).await?,
        Key::Bearer(text) => match gateway.keys.authenticate(text).await? {
            // Jobs are submitted by key: they outlive a token, and what follows them would have to follow that.
            None if path.starts_with("/v1/") => users::bearer(&gateway, text).await?.unwrap_or(Caller::Unknown),
            found => admitted(&gateway, found).await?,
        },
        Key::Unfit => Caller::Unknown,
    };
    if let (Caller::Known(_), Some(stranger)) = (&caller, request.extensions().get::<Stranger>()) {
        stranger.known();
    }
    let asked = Asked::of(&request, &caller);
    let response = match counted(&gateway, &caller, &request) {
        Ok(()) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    };
    if let Some(noted) = Noted::of(asked, &response) {
        gateway.trail.note(noted).await?;
    }
    Ok(response)
}

/// Refuses who asks too often.
fn counted(gateway: &Gateway, caller: &Caller, request: &Request) -> Result<(), Error> {
    match (caller, request.extensions().get::<Peer>()) {
        (Caller::Known(principal), _) => gateway.rates.key(principal),
        (_, Some(Peer(address))) => gateway.rates.address(*address),
        (_, None) => Ok(()),
    }
}

/// What a request's head has for a key.
enum Key<'a> {
    None,
    One(&'a str),
    /// It may be a token, too.
    Bearer(&'a str),
    /// No text, or several: whose request it would be depended on who reads it.
    Unfit,
}

/// Finds the key: nnsight's header, or where there is none, a bearer token.
fn key(headers: &HeaderMap) -> Key<'_> {
    let (header, bearer) = match headers.contains_key(KEY_HEADER) {
        true => (headers.get_all(KEY_HEADER), false),
        false => (headers.get_all(AUTHORIZATION), true),
    };
    let mut values = header.into_iter();
    let (value, more) = (values.next(), values.next().is_some());
    match value.map(HeaderValue::to_str) {
        None => Key::None,
        Some(Ok(text)) if !more && !bearer => Key::One(text),
        // Another scheme is for who stands in front of this server.
        Some(Ok(text)) if !more => token(text).map_or(Key::None, Key::Bearer),
        Some(_) => Key::Unfit,
    }
}

/// Returns the token of `Bearer TOKEN`.
fn token(text: &str) -> Option<&str> {
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Returns the caller who a key was found to be, or a user, if they were.
///
/// # Errors
/// When the store fails.
pub async fn admitted(gateway: &Gateway, found: Option<Principal>) -> Result<Caller, Error> {
    let Some(principal) = found else { return Ok(Caller::Unknown) };
    match gateway.tenants.terms(&principal.tenant).await? {
        None => Ok(Caller::Suspended(principal.tenant)),
        Some(tenants) => {
            tracing::Span::current().record("tenant", principal.tenant.as_str());
            Ok(Caller::Known(Principal { tenants, ..principal }))
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Administrator {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        Caller::from_request_parts(parts, state).await?.permitted(Scope::Admin).map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        Caller::from_request_parts(parts, state).await?.permitted(Scope::Operate).map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for Onlooker {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        Caller::from_request_parts(parts, state).await?.known().map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for Keyholder {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let caller = Caller::from_request_parts(parts, state).await?;
        match caller {
            Caller::Known(user) if user.user.is_some() => Ok(Self(user)),
            caller => caller.permitted(Scope::Admin).map(Self),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Ok(parts.extensions.get().cloned().unwrap_or(Self::Nobody))
    }
}

impl Caller {
    /// Returns the caller if they are known.
    ///
    /// # Errors
    /// [`Error::NoKey`], [`Error::WrongKey`], [`Error::Suspended`] or [`Error::Token`].
    pub fn known(self) -> Result<Principal, Error> {
        match self {
            Self::Nobody => Err(Error::NoKey),
            Self::Unknown => Err(Error::WrongKey),
            Self::Suspended(tenant) => Err(Error::Suspended(tenant)),
            Self::Refused(refusal) => Err(Error::Token(refusal)),
            Self::Known(principal) => Ok(principal),
        }
    }

    /// Returns the caller if they are known and their key carries a permission.
    ///
    /// # Errors
    /// As [`Caller::known`]; [`Error::Forbidden`].
    pub fn permitted(self, scope: Scope) -> Result<Principal, Error> {
        let principal = self.known()?;
        if principal.may(scope) {
            return Ok(principal);
        }
        Err(Error::forbidden(
            &principal,
            match scope {
                Scope::Submit => "submit jobs",
                Scope::ReadOwn => "read jobs",
                Scope::Operate => "operate the server, which takes one with the scope operate",
                Scope::Admin => "administer the server, which takes one with the scope admin",
                Scope::Audit => {
                    "read the audit trail, which takes one with the scope audit: no other has it, admin neither"
                }
            },
        ))
    }
}
