//! Signing in by the provider: the browser goes there and comes back with a code, which is exchanged for what the provider
//! says of somebody. It has begun here itself, in the last minutes, or nothing comes of it.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use oidc::{Attempt, Provider, Refusal};
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::layout::{self, Reader};
use super::shown;
use super::sign_in::{self, Kept, Wanted, inside};
use crate::{Error, Gateway, progress, users};

/// Where a sign-in begins, and where the provider sends browsers back to.
pub const BEGIN: &str = "/sign-in/begin";
pub const BACK: &str = "/sign-in/oidc";

/// Bytes of where somebody wanted to go. The browser keeps that meanwhile, and keeps no more than a few thousand.
const NEXT: usize = 1000;
/// Bytes of an ID token that is kept for signing out, of the 4096 that a browser keeps under one name.
const ID_TOKEN: usize = 3800;

/// What a browser comes back with.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Back {
    state: String,
    code: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// `GET /sign-in/begin?next=…`: sends the browser to the provider.
pub async fn begin(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Error> {
    let next = wanted.ok().and_then(|Query(wanted)| wanted.next).filter(|next| next.len() <= NEXT).unwrap_or_default();
    let back = format!("{}{BACK}", progress::origin(&gateway, &headers));
    match provider(&gateway)?.begin(back, next.clone()).await {
        Ok((url, attempt)) => {
            let mut response = Redirect::to(&url).into_response();
            sign_in::keep(&gateway, &mut response, Kept::Attempt, &gateway.users.attempt(&attempt), users::AWAY)?;
            Ok(response)
        }
        Err(refusal) => Ok(sign_in::refused(&gateway, &next, Error::Token(refusal))),
    }
}

/// `GET /sign-in/oidc?state=…&code=…`: the browser is back.
pub async fn end(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    back: Result<Query<Back>, QueryRejection>,
) -> Result<Response, Error> {
    let back = back.map(|Query(back)| back).unwrap_or_default();
    let attempt = attempt(&gateway, &headers, &back.state);
    let next = attempt.as_ref().map(|attempt| attempt.next.clone()).unwrap_or_default();
    let mut response = match enter(&gateway, attempt, back).await {
        Ok(response) => response,
        Err(refusal) => sign_in::refused(&gateway, &next, refusal),
    };
    // A code is for one exchange, and so is the attempt.
    sign_in::keep(&gateway, &mut response, Kept::Attempt, "", 0)?;
    Ok(response)
}

async fn enter(gateway: &Gateway, attempt: Option<Attempt>, back: Back) -> Result<Response, Error> {
    let provider = provider(gateway)?;
    let attempt = attempt.ok_or(Error::NoAttempt)?;
    let code = match (back.code, back.error_description.or(back.error)) {
        (Some(code), _) => code,
        (None, told) => return Err(Error::Token(Refusal::Provider(line(&told.unwrap_or("it gave no code".into()))))),
    };
    let (user, id_token) = provider.finish(&attempt, code).await.map_err(Error::Token)?;
    let principal = users::placed(gateway, &user).await?.known()?;
    tracing::info!(user = %user.name, tenant = %user.tenant, "signed in");
    let to = inside(&attempt.next).unwrap_or(layout::home(&principal));
    let body = html! {
        div.refused {
            h1 { "You are signed in" }
            p { "as " strong { (user.name) } " of " (user.tenant) ". " a href=(to) { "Go on" } }
        }
    };
    // Not a redirect: browsers take what follows one from the provider's page as sent by the provider, and keep from it
    // what is for our own pages alone.
    let mut response = shown(layout::page("Signed in", &Reader::Nobody, &body));
    let refresh = HeaderValue::try_from(format!("0; url={to}")).map_err(Error::internal)?;
    response.headers_mut().insert(header::REFRESH, refresh);
    let stays = provider.settings().session.as_secs();
    sign_in::keep(gateway, &mut response, Kept::Session, &gateway.users.session(&user), stays)?;
    // Browsers keep no longer ones, and without it the provider asks who is to be signed out.
    if id_token.len() <= ID_TOKEN {
        sign_in::keep(gateway, &mut response, Kept::IdToken, &id_token, stays)?;
    }
    Ok(response)
}

fn provider(gateway: &Gateway) -> Result<&Provider, Error> {
    gateway.users.provider().ok_or(Error::NoProvider)
}

/// Returns the sign-in that this browser began and now comes back from.
fn attempt(gateway: &Gateway, headers: &HeaderMap, state: &str) -> Option<Attempt> {
    let attempt = gateway.users.attempted(sign_in::kept(gateway, headers, Kept::Attempt)?)?;
    bool::from(attempt.state.as_bytes().ct_eq(state.as_bytes())).then_some(attempt)
}

/// Returns so much of the provider's words as fits a sentence.
fn line(told: &str) -> String {
    told.chars().filter(|letter| !letter.is_control()).take(200).collect()
}
