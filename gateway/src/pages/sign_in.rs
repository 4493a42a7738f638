//! Signing in: a key is exchanged for a token that the browser keeps where no script reads it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{self, Reader};
use super::{posted, shown};
use crate::authenticate::{Caller, admitted};
use crate::{Error, Gateway, unix_seconds};

/// Seconds for which somebody stays signed in.
const STAYS: u64 = 12 * 3600;

/// Where somebody wanted to go.
#[derive(Deserialize)]
pub struct Wanted {
    next: Option<String>,
}

#[derive(Deserialize)]
struct Key {
    key: String,
    #[serde(default)]
    next: String,
}

/// Returns the token that a browser sent.
pub fn token<'a>(gateway: &Gateway, headers: &'a HeaderMap) -> Option<&'a str> {
    let name = cookie(gateway);
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, token)| token)
}

/// `GET /sign-in?next=…`.
pub async fn show(caller: Caller, wanted: Result<Query<Wanted>, QueryRejection>) -> Response {
    let next = wanted.ok().and_then(|Query(wanted)| wanted.next).unwrap_or_default();
    if let Ok(principal) = caller.known() {
        return Redirect::to(inside(&next).unwrap_or(layout::home(&principal))).into_response();
    }
    form(&next, None)
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
            keep(&gateway, &mut response, &token.unwrap_or_default(), STAYS)?;
            return Ok(response);
        }
        Err(refusal) => refusal,
    };
    let mut response = super::refusing(form(&next, Some(&refusal.to_string())), refusal);
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    Ok(response)
}

/// `POST /sign-out`: this browser forgets the token.
pub async fn leave(State(gateway): State<Arc<Gateway>>) -> Result<Response, Error> {
    let mut response = Redirect::to("/sign-in").into_response();
    keep(&gateway, &mut response, "", 0)?;
    Ok(response)
}

fn form(next: &str, refusal: Option<&str>) -> Response {
    let body: Markup = html! {
        form.sign-in method="post" action="/sign-in" {
            h1 { "Sign in to Vitrine" }
            @if let Some(refusal) = refusal { p.refusal role="alert" { (refusal) } }
            input type="hidden" name="next" value=(next);
            label for="key" { "API key" }
            input #key type="password" name="key" autocomplete="current-password" required autofocus
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
fn keep(gateway: &Gateway, response: &mut Response, token: &str, seconds: u64) -> Result<(), Error> {
    let secure = if gateway.settings.https { "; Secure" } else { "" };
    let name = cookie(gateway);
    let text = format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    let value = HeaderValue::try_from(text).map_err(Error::internal)?;
    response.headers_mut().insert(header::SET_COOKIE, value);
    Ok(())
}

/// Returns the cookie's name. With the prefix, browsers take it from this host alone, and by TLS.
fn cookie(gateway: &Gateway) -> &'static str {
    if gateway.settings.https { "__Host-vitrine" } else { "vitrine" }
}

/// Returns the path that was asked for, if it is one of a page: nobody is sent elsewhere from here.
fn inside(next: &str) -> Option<&str> {
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
