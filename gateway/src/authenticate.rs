//! Finds out who sends a request, before anything of its body is read.

use std::net::IpAddr;
use std::sync::Arc;

use auth::{Principal, Scope};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;

use crate::{Error, Gateway};

/// Who sent a request, as far as its key tells.
#[derive(Clone, Debug)]
pub enum Caller {
    /// No key was sent.
    Nobody,
    /// The key sent is not one of ours.
    Unknown,
    Known(Principal),
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// The middleware that puts a [`Caller`] into every request.
pub async fn authenticate(
    State(gateway): State<Arc<Gateway>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Error> {
    let mut keys = request.headers().get_all("ndif-api-key").into_iter();
    let caller = match (keys.next(), keys.next()) {
        (None, _) => Caller::Nobody,
        (Some(key), None) => match key.to_str() {
            Ok(text) => gateway.keys.authenticate(text).await?.map_or(Caller::Unknown, Caller::Known),
            Err(_) => Caller::Unknown,
        },
        // Whose request it would be depended on who reads it.
        (Some(_), Some(_)) => Caller::Unknown,
    };
    match (&caller, request.extensions().get::<Peer>()) {
        (Caller::Known(principal), _) => gateway.rates.key(&principal.key)?,
        (Caller::Nobody | Caller::Unknown, Some(Peer(address))) => gateway.rates.address(*address)?,
        (Caller::Nobody | Caller::Unknown, None) => {}
    }
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Ok(parts.extensions.get().cloned().unwrap_or(Self::Nobody))
    }
}

impl Caller {
    /// Returns the caller if they are known and their key carries a permission.
    ///
    /// # Errors
    /// [`Error::NoKey`], [`Error::WrongKey`] or [`Error::Forbidden`].
    pub fn permitted(self, scope: Scope) -> Result<Principal, Error> {
        let principal = match self {
            Self::Nobody => return Err(Error::NoKey),
            Self::Unknown => return Err(Error::WrongKey),
            Self::Known(principal) => principal,
        };
        if principal.may(scope) {
            return Ok(principal);
        }
        Err(Error::Forbidden(match scope {
            Scope::Submit => "submit jobs",
            Scope::ReadOwn => "read jobs",
            Scope::Operate => "operate the server",
            Scope::Admin => "administer the server",
        }))
    }
}
