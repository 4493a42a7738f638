//! What a provider says of itself.

use serde::Deserialize;

use crate::http::{self, Error, Http};

/// Where a provider's ways begin: its discovery document.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Metadata {
    issuer: String,
    pub jwks_uri: String,
    pub token_endpoint: Option<String>,
    pub authorization_endpoint: Option<String>,
    pub device_authorization_endpoint: Option<String>,
    /// Where somebody signs out there.
    pub end_session_endpoint: Option<String>,
    /// How a client with a secret may show it; what is not told is `client_secret_basic`.
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
    #[serde(default)]
    scopes_supported: Vec<String>,
}

impl Metadata {
    /// Asks a provider.
    pub async fn read(http: &Http, issuer: &str) -> Result<Self, Error> {
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let metadata: Self = http.get(&url).await?;
        metadata.check(issuer).map_err(|why| Error::Unfit { url, why })?;
        Ok(metadata)
    }

    /// Returns whether a secret is to be sent in the form, and not in the head.
    pub fn secret_in_body(&self) -> bool {
        let supported = |method: &str| self.token_endpoint_auth_methods_supported.iter().any(|it| it == method);
        supported("client_secret_post") && !supported("client_secret_basic")
    }

    /// Returns whether it says that it has a scope.
    pub fn offers(&self, scope: &str) -> bool {
        self.scopes_supported.iter().any(|it| it == scope)
    }

    fn check(&self, issuer: &str) -> Result<(), String> {
        if self.issuer != issuer {
            return Err(format!("it is of the provider {:?}, and gateway.oidc.issuer is {issuer:?}", self.issuer));
        }
        let ends = [
            ("jwks_uri", Some(&self.jwks_uri)),
            ("token_endpoint", self.token_endpoint.as_ref()),
            ("authorization_endpoint", self.authorization_endpoint.as_ref()),
            ("device_authorization_endpoint", self.device_authorization_endpoint.as_ref()),
            ("end_session_endpoint", self.end_session_endpoint.as_ref()),
        ];
        for (name, url) in ends {
            url.map_or(Ok(()), |url| reachable(url)).map_err(|why| format!("{name} {why}"))?;
        }
        Ok(())
    }
}

/// Refuses an address as an issuer's would be, but for a query.
fn reachable(url: &str) -> Result<(), String> {
    http::check(url.split('?').next().unwrap_or_default()).map(|_| ())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_description_is_of_the_provider_that_was_asked_and_leads_nowhere_in_the_open() {
        let issuer = "https://login.example.org/lab";
        let described = |change: serde_json::Value| {
            let mut all = json!({ "issuer": issuer, "jwks_uri": "https://keys.example.org/jwks?of=lab", "more": 1 });
            all.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            serde_json::from_value::<Metadata>(all).unwrap().check(issuer)
        };
        described(json!({})).unwrap();
        described(json!({ "token_endpoint": "https://login.example.org/token" })).unwrap();
        for (change, words) in [
            (json!({ "issuer": "https://login.example.org/lab/" }), "gateway.oidc.issuer"),
            (json!({ "jwks_uri": "http://keys.example.org" }), "jwks_uri must"),
            (json!({ "token_endpoint": "http://login.example.org" }), "token_endpoint must"),
            (json!({ "device_authorization_endpoint": "x" }), "device_authorization_endpoint must"),
            (json!({ "end_session_endpoint": "javascript:x" }), "end_session_endpoint must"),
        ] {
            let refused = described(change).unwrap_err();
            assert!(refused.contains(words), "{refused}");
        }
    }
}
