//! What an operator can set about signing in by a provider.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use auth::Role;
use serde::{Deserialize, Serialize};

use crate::http;

/// The settings of signing in by a provider of OpenID Connect. Without an issuer there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The provider, as it calls itself in its tokens: a URL such as `https://login.example.org/realms/lab`. Default: none,
    /// and people sign in with keys alone.
    pub issuer: Option<String>,
    /// What the provider calls this server. It has to be set where `issuer` is.
    pub client_id: Option<String>,
    /// A file with the secret by which the provider knows this server. Default: none, for a client that is public.
    pub client_secret_file: Option<PathBuf>,
    /// What the provider calls `vitrine login --oidc`: a client without a secret, with the device flow. Default: `client_id`.
    pub device_client_id: Option<String>,
    /// What the tokens must be for that are sent to `/v1`. Default: `client_id` and `device_client_id`, which is what ID
    /// tokens are for. With it, `vitrine login --oidc` sends access tokens.
    pub audience: Option<String>,
    /// What is asked for when somebody signs in. Default `openid`, `profile` and `email`.
    pub scopes: Vec<String>,
    /// The claim by which somebody is named in the audit trail: a claim's name, or where it lies inside others, such as
    /// `/profile/login`. Default `sub`, which no two people of a provider ever share.
    pub user_claim: String,
    /// The claim that says whose people they are, as `user_claim` says it: a text, or a list of texts. Default `tenant`.
    pub tenant_claim: String,
    /// Which tenant each text of that claim is. Default: the one of that name.
    pub tenants: BTreeMap<String, String>,
    /// The claim that says what somebody may do, as `user_claim` says it: a text, or a list of texts. Default `roles`.
    pub roles_claim: String,
    /// Which role each text of that claim gives: researcher, operator, administrator or auditor. Default: the one of that
    /// name.
    pub roles: BTreeMap<String, Role>,
    /// The role of those whom that claim gives none. Default: none, and they may do nothing.
    pub default_role: Option<Role>,
    /// What the pages call the provider. Default: its host.
    pub name: Option<String>,
    /// How long somebody stays signed in on the pages before the provider is asked again. Default 8 hours.
    #[serde(with = "humantime_serde")]
    pub session: Duration,
    /// How long a key lives at most that somebody makes for themselves. Default 90 days.
    #[serde(with = "humantime_serde")]
    pub key_time: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            issuer: None,
            client_id: None,
            client_secret_file: None,
            device_client_id: None,
            audience: None,
            scopes: ["openid", "profile", "email"].map(str::to_owned).to_vec(),
            user_claim: "sub".into(),
            tenant_claim: "tenant".into(),
            tenants: BTreeMap::new(),
            roles_claim: "roles".into(),
            roles: BTreeMap::new(),
            default_role: None,
            name: None,
            session: Duration::from_secs(8 * 3600),
            key_time: Duration::from_secs(90 * 24 * 3600),
        }
    }
}

impl Settings {
    /// Says what cannot be as it is set.
    ///
    /// # Errors
    /// A sentence that begins with the setting's name.
    pub fn check(&self) -> Result<(), String> {
        let Some(issuer) = &self.issuer else { return self.check_unused() };
        http::check(issuer).map_err(|why| format!("issuer {why}"))?;
        if self.client_id.is_none() {
            return Err("client_id is not set, and has to be where issuer is: the provider gives it".into());
        }
        let texts = [
            ("client_id", &self.client_id),
            ("device_client_id", &self.device_client_id),
            ("audience", &self.audience),
            ("name", &self.name),
        ];
        let claims = [
            ("user_claim", &self.user_claim),
            ("tenant_claim", &self.tenant_claim),
            ("roles_claim", &self.roles_claim),
        ];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?)));
        if let Some((name, _)) = texts.chain(claims).find(|(_, text)| text.trim().is_empty()) {
            return Err(format!("{name} is empty"));
        }
        if !self.scopes.iter().any(|scope| scope == "openid") {
            return Err("scopes must have openid, without which a provider says nothing of anybody".into());
        }
        if let Some(scope) = self.scopes.iter().find(|scope| scope.is_empty() || scope.contains(char::is_whitespace)) {
            return Err(format!("scopes has {scope:?}, which is no scope: each is one word"));
        }
        if let Some((text, _)) = self.tenants.iter().find(|(_, tenant)| tenant.is_empty()) {
            return Err(format!("tenants gives {text:?} a tenant without a name"));
        }
        for (name, time) in [("session", self.session), ("key_time", self.key_time)] {
            if time < Duration::from_secs(60) || time > LONGEST {
                return Err(format!("{name} must be between 1m and 3650d"));
            }
        }
        self.secret().map(|_| ())
    }

    /// Returns what the tokens must be for that are sent to `/v1`, any of these.
    #[must_use]
    pub fn audiences(&self) -> Vec<&str> {
        match &self.audience {
            Some(audience) => vec![audience],
            None => [&self.client_id, &self.device_client_id].into_iter().flatten().map(String::as_str).collect(),
        }
    }

    /// Returns what the provider calls the command line.
    #[must_use]
    pub fn device_client(&self) -> &str {
        self.device_client_id.as_ref().or(self.client_id.as_ref()).map_or("", String::as_str)
    }

    /// Reads the secret, as it is now: whoever changes it does not start the gateway again.
    ///
    /// # Errors
    /// A sentence that begins with the setting's name.
    pub(crate) fn secret(&self) -> Result<Option<String>, String> {
        let Some(path) = &self.client_secret_file else { return Ok(None) };
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("client_secret_file is {shown}, which cannot be read: {error}"))?;
        match text.trim() {
            "" => Err(format!("client_secret_file is {shown}, which is empty")),
            secret => Ok(Some(secret.to_owned())),
        }
    }

    /// Refuses what would be obeyed by nobody.
    fn check_unused(&self) -> Result<(), String> {
        let none = Self::default();
        let differs = [
            ("client_id", self.client_id != none.client_id),
            ("client_secret_file", self.client_secret_file != none.client_secret_file),
            ("device_client_id", self.device_client_id != none.device_client_id),
            ("audience", self.audience != none.audience),
            ("scopes", self.scopes != none.scopes),
            ("user_claim", self.user_claim != none.user_claim),
            ("tenant_claim", self.tenant_claim != none.tenant_claim),
            ("tenants", self.tenants != none.tenants),
            ("roles_claim", self.roles_claim != none.roles_claim),
            ("roles", self.roles != none.roles),
            ("default_role", self.default_role != none.default_role),
            ("name", self.name != none.name),
            ("session", self.session != none.session),
            ("key_time", self.key_time != none.key_time),
        ];
        match differs.iter().find(|(_, differs)| *differs) {
            Some((name, _)) => {
                Err(format!("{name} is set, and issuer is not: without one nobody signs in by a provider"))
            }
            None => Ok(()),
        }
    }
}

/// The longest `session` and `key_time`.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn usable() -> Settings {
        Settings {
            issuer: Some("https://login.example.org".into()),
            client_id: Some("vitrine".into()),
            ..Settings::default()
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_name() {
        usable().check().unwrap();
        Settings::default().check().unwrap();
        let folder = std::env::temp_dir();
        type Change = fn(&mut Settings);
        let cases: [(&str, Change); 13] = [
            ("issuer ", |it| it.issuer = Some("login.example.org".into())),
            ("issuer ", |it| it.issuer = Some("http://login.example.org".into())),
            ("issuer ", |it| it.issuer = Some("https://login.example.org/?a=b".into())),
            ("client_id is not set", |it| it.client_id = None),
            ("client_id is empty", |it| it.client_id = Some(" ".into())),
            ("audience is empty", |it| it.audience = Some(String::new())),
            ("roles_claim is empty", |it| it.roles_claim = String::new()),
            ("scopes must have openid", |it| it.scopes = vec!["email".into()]),
            ("scopes has", |it| it.scopes.push("a b".into())),
            ("tenants gives \"Lab\"", |it| drop(it.tenants.insert("Lab".into(), String::new()))),
            ("session must", |it| it.session = Duration::from_secs(1)),
            ("key_time must", |it| it.key_time = Duration::ZERO),
            ("client_secret_file is", |it| it.client_secret_file = Some("/no/such/file".into())),
        ];
        for (words, change) in cases {
            let mut settings = usable();
            change(&mut settings);
            let refused = settings.check().unwrap_err();
            assert!(refused.starts_with(words), "{words:?} does not begin {refused:?}");
        }
        let folder = Settings { client_secret_file: Some(folder), ..usable() };
        assert!(folder.check().unwrap_err().starts_with("client_secret_file"));
    }

    #[test]
    fn what_is_set_without_an_issuer_is_refused_by_its_name() {
        let all = Settings {
            issuer: None,
            client_secret_file: Some("/x".into()),
            device_client_id: Some("x".into()),
            audience: Some("x".into()),
            scopes: vec![],
            user_claim: "x".into(),
            tenant_claim: "x".into(),
            tenants: [("x".into(), "x".into())].into(),
            roles_claim: "x".into(),
            roles: [("x".into(), Role::Auditor)].into(),
            default_role: Some(Role::Auditor),
            name: Some("x".into()),
            session: Duration::ZERO,
            key_time: Duration::ZERO,
            ..usable()
        };
        // One after the other, by the name under which each is written.
        let written = serde_json::to_value(&all).unwrap();
        for (name, value) in written.as_object().unwrap().iter().filter(|(name, _)| *name != "issuer") {
            let one: Settings = serde_json::from_value(serde_json::json!({ name: value })).unwrap();
            let refused = one.check().unwrap_err();
            assert!(refused.starts_with(&format!("{name} is set, and issuer is not")), "{refused}");
        }
    }
}
