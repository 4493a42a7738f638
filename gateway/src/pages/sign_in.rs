//! Signing in: a key, or what the provider says of somebody, is exchanged for a token that the browser keeps where no script
//! reads it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{self, Reader};
use super::{posted, provider, shown};
use crate::authenticate::{Caller, admitted};
use crate::{Error, Gateway, unix_seconds};

/// Seconds for which somebody stays signed in.
const STAYS: u64 = 12 * 3600;

/// Where somebody wanted to go.
#[derive(Deserialize)]
pub struct Wanted {
    pub next: Option<String>,
}

/// What a browser keeps.
#[derive(Clone, Copy)]
pub enum Kept {
    /// That somebody is signed in. It is sent from our own pages alone.
    Session,
    /// That they began to be, and are at the provider. It is sent when that sends them back.
    Attempt,
    /// By what the provider told who they are. It is sent when they sign out, and at no other time.
    IdToken,
}

#[derive(Deserialize)]
struct Key {
    key: String,
    #[serde(default)]
    next: String,
}

/// Returns the token that a browser sent.
pub fn token<'a>(gateway: &Gateway, headers: &'a HeaderMap) -> Option<&'a str> {
    kept(gateway, headers, Kept::Session)
}

/// Returns what a browser sent of what it keeps.
pub fn kept<'a>(gateway: &Gateway, headers: &'a HeaderMap, kept: Kept) -> Option<&'a str> {
    let name = cookie(gateway, kept);
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, token)| token)
}

/// `GET /sign-in?next=…`.
pub async fn show(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let next = wanted.ok().and_then(|Query(wanted)| wanted.next).unwrap_or_default();
    if let Ok(principal) = caller.known() {
        return Redirect::to(inside(&next).unwrap_or(layout::home(&principal))).into_response();
    }
    form(&gateway, &next, None)
}

/// `POST /sign-in` with `key` and `next`.
pub async fn enter(State(gateway): State<Arc<Gateway>>, body: Body) -> Result<Response, Error> {
    let Key { key, next } = posted(&gateway, body).await?;
    let found = gateway.keys.sign_in(key.trim(), unix_seconds() + STAYS).await?;
    let (principal, token) = found.unzip();
    // A key that is refused elsewhere is refused here in the same words.
    let refusal = match admitted(&gateway, principal).await?.known() {
        Ok(principal) => {
            tracing::info!(key = %principal.key, tenant = %principal.tenant, "signed in");
            let mut response = Redirect::to(inside(&next).unwrap_or(layout::home(&principal))).into_response();
            keep(&gateway, &mut response, Kept::Session, &token.unwrap_or_default(), STAYS)?;
            return Ok(response);
        }
        Err(refusal) => refusal,
    };
    let mut response = refused(&gateway, &next, refusal);
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    Ok(response)
}

/// Says on the form why somebody is not signed in.
pub fn refused(gateway: &Gateway, next: &str, refusal: Error) -> Response {
    super::refusing(form(gateway, next, Some(&refusal.to_string())), refusal)
}

/// `POST /sign-out`: this browser forgets the token. Who signed in by the provider is signed in there still, and told where
/// that can be ended: whoever uses the browser next would come in without a password.
pub async fn leave(State(gateway): State<Arc<Gateway>>, headers: HeaderMap, caller: Caller) -> Result<Response, Error> {
    let by_provider = caller.known().is_ok_and(|principal| principal.user.is_some());
    let there = gateway.users.provider().filter(|_| by_provider);
    let id_token = kept(&gateway, &headers, Kept::IdToken);
    let mut response = match there.and_then(|provider| Some((provider.name(), provider.sign_out(id_token)?))) {
        Some((provider, page)) => shown(layout::page("Signed out", &Reader::Nobody, &left(provider, &page))),
        None => Redirect::to("/sign-in").into_response(),
    };
    keep(&gateway, &mut response, Kept::Session, "", 0)?;
    if id_token.is_some() {
        keep(&gateway, &mut response, Kept::IdToken, "", 0)?;
    }
    Ok(response)
}

fn left(provider: &str, page: &str) -> Markup {
    html! {
        div.refused {
            h1 { "You are signed out" }
            p { "of Vitrine. This browser is still signed in with " (provider) ", which lets you in again without a question." }
            p { a.button href=(page) { "Sign out of " (provider) ", too" } }
            p { a href="/sign-in" { "Sign in again" } }
        }
    }
}

fn form(gateway: &Gateway, next: &str, refusal: Option<&str>) -> Response {
    let provider = gateway.users.provider().map(oidc::Provider::name);
    // A link, and no form: what a form may lead to are our own pages.
    let begin = || format!("{}?{}", provider::BEGIN, serde_urlencoded::to_string([("next", next)]).unwrap_or_default());
    let body: Markup = html! {
        form.sign-in method="post" action="/sign-in" {
            h1 { "Sign in to Vitrine" }
            @if let Some(refusal) = refusal { p.refusal role="alert" { (refusal) } }
            @if let Some(provider) = provider {
                p { a.button href=(begin()) { "Sign in with " (provider) } }
                p.note { "Or with a key:" }
            }
            input type="hidden" name="next" value=(next);
            label for="key" { "API key" }
            input #key type="password" name="key" autocomplete="current-password" required autofocus[provider.is_none()]
                spellcheck="false" aria-describedby="where";
            p #where.note {
                "The first start of " code { "vitrine up" } " shows one that may administer the server. "
                "Everybody else gets theirs from an administrator."
            }
            button type="submit" { "Sign in" }
        }
    };
    shown(layout::page("Sign in", &Reader::Nobody, &body))
}

/// Sets or removes what the browser keeps.
///
/// # Errors
/// When it cannot be written into a head, which it always can.
pub fn keep(gateway: &Gateway, response: &mut Response, kept: Kept, token: &str, seconds: u64) -> Result<(), Error> {
    let secure = if gateway.settings.https { "; Secure" } else { "" };
    let (path, site) = match kept {
        Kept::Session => ("/", "Strict"),
        Kept::Attempt => ("/", "Lax"),
        Kept::IdToken => ("/sign-out", "Strict"),
    };
    let name = cookie(gateway, kept);
    let text = format!("{name}={token}; Path={path}; HttpOnly; SameSite={site}; Max-Age={seconds}{secure}");
    let value = HeaderValue::try_from(text).map_err(Error::internal)?;
    response.headers_mut().append(header::SET_COOKIE, value);
    Ok(())
}

/// Returns the cookie's name. With the prefix, browsers take it from this host alone, and by TLS.
fn cookie(gateway: &Gateway, kept: Kept) -> &'static str {
    match (kept, gateway.settings.https) {
        (Kept::Session, true) => "__Host-vitrine",
        (Kept::Session, false) => "vitrine",
        (Kept::Attempt, true) => "__Host-vitrine-sign-in",
        (Kept::Attempt, false) => "vitrine-sign-in",
        // That prefix is for the whole host alone; with this one, browsers take it by TLS.
        (Kept::IdToken, true) => "__Secure-vitrine-id-token",
        (Kept::IdToken, false) => "vitrine-id-token",
    }
}

/// Returns the path that was asked for, if it is one of a page: nobody is sent elsewhere from here.
pub fn inside(next: &str) -> Option<&str> {
    let path = next.split(['?', '#']).next().unwrap_or_default();
    (super::are_at(path) && next.bytes().all(|byte| byte.is_ascii_graphic())).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for (next, goes) in [
            ("/admin", true),
            ("/admin/jobs?state=failed", true),
            ("/me", true),
            ("", false),
            ("//example.org/admin", false),
            ("https://example.org/admin", false),
            ("/admin\r\nSet-Cookie: a=b", false),
            ("/\\example.org", false),
            ("/results/1", false),
        ] {
            assert_eq!(inside(next), goes.then_some(next), "{next:?}");
        }
    }
}
