//! What the claims of a token come to here: somebody's name, their tenant, and what they may do.

use std::collections::BTreeSet;

use auth::{Role, Scope, User};
use ids::TenantId;
use serde_json::{Map, Value};

use crate::{Refusal, Settings};

/// Claims, as a token has them.
pub type Claims = Map<String, Value>;

/// Characters of somebody's name.
const NAME: usize = 200;

impl Settings {
    /// Returns whom claims speak of. Whether there is such a tenant is for others to find out.
    ///
    /// # Errors
    /// [`Refusal::Nameless`], [`Refusal::Unverified`], [`Refusal::NoTenant`], [`Refusal::SeveralTenants`],
    /// [`Refusal::NoRole`].
    pub(crate) fn user(&self, claims: &Claims, expires_at: u64) -> Result<User, Refusal> {
        let names = texts(claims, &self.user_claim);
        let fits = |name: &&str| (1..=NAME).contains(&name.chars().count()) && !name.contains(char::is_control);
        let name = names.first().copied().filter(fits).filter(|_| names.len() == 1);
        let user = name.ok_or_else(|| Refusal::Nameless { claim: self.user_claim.clone() })?.to_owned();
        if self.user_claim == "email" && claims.get("email_verified") == Some(&Value::Bool(false)) {
            return Err(Refusal::Unverified { user });
        }
        let tenant = self.tenant(claims, &user)?;
        let scopes = self.granted(claims);
        if scopes.is_empty() {
            return Err(Refusal::NoRole { user, claim: self.roles_claim.clone() });
        }
        Ok(User { name: user, tenant, scopes, expires_at })
    }

    fn tenant(&self, claims: &Claims, user: &str) -> Result<TenantId, Refusal> {
        let (user, claim) = (user.to_owned(), self.tenant_claim.clone());
        let told = texts(claims, &self.tenant_claim).into_iter();
        // Where some are named, others are none: a group may be called as a tenant is.
        let tenants: BTreeSet<&str> = match self.tenants.is_empty() {
            true => told.collect(),
            false => told.filter_map(|text| self.tenants.get(text)).map(String::as_str).collect(),
        };
        let mut tenants = tenants.into_iter().filter(|tenant| !tenant.is_empty());
        match (tenants.next(), tenants.next()) {
            (None, _) => Err(Refusal::NoTenant { user, claim }),
            (Some(tenant), None) => Ok(TenantId::new(tenant)),
            (Some(_), Some(_)) => Err(Refusal::SeveralTenants { user, claim }),
        }
    }

    /// Returns what all roles together permit that the claims give.
    fn granted(&self, claims: &Claims) -> Vec<Scope> {
        let told = texts(claims, &self.roles_claim).into_iter();
        let mut roles: Vec<Role> = match self.roles.is_empty() {
            true => told.filter_map(|text| text.parse().ok()).collect(),
            false => told.filter_map(|text| self.roles.get(text).copied()).collect(),
        };
        if roles.is_empty() {
            roles.extend(self.default_role);
        }
        let permitted = |scope: &Scope| roles.iter().any(|role| role.scopes().contains(scope));
        Scope::ALL.into_iter().filter(permitted).collect()
    }
}

/// Returns the texts that a claim is or lists. A claim lies under its name, or where a path that begins with `/` leads.
fn texts<'a>(claims: &'a Claims, claim: &str) -> Vec<&'a str> {
    let found = match claim.strip_prefix('/') {
        None => claims.get(claim),
        Some(path) => {
            let (first, rest) = path.split_once('/').map_or((path, ""), |(first, _)| (first, &path[first.len()..]));
            claims.get(first).and_then(|value| value.pointer(rest))
        }
    };
    match found {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user(settings: &Settings, claims: Value) -> Result<User, Refusal> {
        settings.user(claims.as_object().unwrap(), 7)
    }

    #[test]
    fn roles_give_scopes_and_nobody_has_one_that_was_not_given() {
        let settings = Settings::default();
        let ada = |roles: Value| user(&settings, json!({ "sub": "ada", "tenant": "lab-b", "roles": roles }));
        let found = ada(json!("researcher")).unwrap();
        assert_eq!((found.name.as_str(), found.tenant.as_str(), found.expires_at), ("ada", "lab-b", 7));
        assert_eq!(found.scopes, Scope::DEFAULT);
        assert_eq!(
            ada(json!(["auditor", "operator", 7])).unwrap().scopes,
            [Scope::ReadOwn, Scope::Operate, Scope::Audit]
        );
        assert_eq!(ada(json!(["administrator"])).unwrap().scopes, [Scope::Admin]);
        for none in [json!(null), json!([]), json!("admin"), json!({ "researcher": true }), json!(["Researcher"])] {
            let refused = ada(none).unwrap_err();
            assert_eq!(refused, Refusal::NoRole { user: "ada".into(), claim: "roles".into() });
        }
    }

    #[test]
    fn what_is_mapped_counts_and_nothing_else_of_the_same_claim() {
        let settings = Settings {
            tenant_claim: "groups".into(),
            tenants: [("Lab B".into(), "lab-b".into()), ("Lab C".into(), "lab-c".into())].into(),
            roles_claim: "/realm_access/roles".into(),
            roles: [("vitrine-admins".into(), Role::Administrator)].into(),
            default_role: Some(Role::Researcher),
            ..Settings::default()
        };
        let claims =
            |groups: Value, roles: Value| json!({ "sub": "ada", "groups": groups, "realm_access": { "roles": roles } });
        let found = user(&settings, claims(json!(["everybody", "Lab B"]), json!(["vitrine-admins"]))).unwrap();
        assert_eq!((found.tenant.as_str(), found.scopes.as_slice()), ("lab-b", &[Scope::Admin][..]));
        // A provider's own role of such a name is not one of ours.
        let found = user(&settings, claims(json!(["Lab C"]), json!(["administrator"]))).unwrap();
        assert_eq!((found.tenant.as_str(), found.scopes.as_slice()), ("lab-c", &Scope::DEFAULT[..]));
        let none = user(&settings, claims(json!(["lab-b"]), json!([]))).unwrap_err();
        assert!(matches!(none, Refusal::NoTenant { .. }), "{none}");
        let both = user(&settings, claims(json!(["Lab B", "Lab C"]), json!([]))).unwrap_err();
        assert!(matches!(both, Refusal::SeveralTenants { .. }), "{both}");
        let twice = user(&settings, claims(json!(["Lab B", "Lab B"]), json!([])));
        assert!(twice.is_ok());
    }

    #[test]
    fn somebody_has_one_name_that_fits_a_line() {
        let by = |claim: &str, claims: Value| {
            let settings =
                Settings { user_claim: claim.into(), default_role: Some(Role::Researcher), ..Settings::default() };
            let mut claims = claims;
            claims["tenant"] = "t".into();
            user(&settings, claims).map(|user| user.name)
        };
        assert_eq!(by("sub", json!({ "sub": "auth0|1/2" })).unwrap(), "auth0|1/2");
        assert_eq!(by("/a/b", json!({ "a": { "b": "ada" } })).unwrap(), "ada");
        assert_eq!(by("https://example.org/name", json!({ "https://example.org/name": "ada" })).unwrap(), "ada");
        assert_eq!(by("email", json!({ "email": "a@b", "email_verified": true })).unwrap(), "a@b");
        assert_eq!(by("email", json!({ "email": "a@b" })).unwrap(), "a@b");
        let unverified = by("email", json!({ "email": "a@b", "email_verified": false })).unwrap_err();
        assert_eq!(unverified.user(), Some("a@b"));
        for bad in [
            json!({}),
            json!({ "sub": "" }),
            json!({ "sub": "a\nb" }),
            json!({ "sub": ["a", "b"] }),
            json!({ "sub": 7 }),
        ] {
            assert!(matches!(by("sub", bad), Err(Refusal::Nameless { .. })));
        }
        assert!(by("sub", json!({ "sub": "a".repeat(201) })).is_err());
    }
}
