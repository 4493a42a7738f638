//! How people sign in from a command line who have no key.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use crate::Gateway;

/// How one signs in without a key.
#[derive(Serialize, JsonSchema)]
pub struct SignIn {
    /// By a provider of OpenID Connect; null where there is none.
    oidc: Option<Asks>,
}

/// Where and how a command line asks for a token.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SignInByProvider")]
pub struct Asks {
    /// The provider of OpenID Connect.
    issuer: String,
    /// What it calls a command line.
    client_id: String,
    scopes: Vec<String>,
    /// What an access token has to be for; null where an ID token is wanted.
    audience: Option<String>,
}

/// `GET /v1/sign-in`: for everybody, since nobody who asks has anything to show yet.
pub async fn sign_in(State(gateway): State<Arc<Gateway>>) -> Json<SignIn> {
    let settings = &gateway.settings.oidc;
    let oidc = settings.issuer.clone().map(|issuer| Asks {
        issuer,
        client_id: settings.device_client().to_owned(),
        scopes: settings.scopes.clone(),
        audience: settings.audience.clone(),
    });
    Json(SignIn { oidc })
}
