//! What a tenant or a key is given beyond what it is permitted: how much, and of which models.

use ids::{Class, ModelKey};
use serde::{Deserialize, Serialize};
use store::Quota;

/// The terms of a tenant or a key. A key has its own within those of its tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    pub quota: Quota,
    /// The models that it may use, each as `REPO_ID`, of whichever revision, `REPO_ID@REVISION`, or `OWNER/*`. `None` is all.
    pub models: Option<Vec<String>>,
    /// How urgent its jobs are. `None` is normal for a tenant, and for a key what its tenant is.
    pub class: Option<Class>,
    /// Of a key alone: how many seconds a job goes on whose blocking client is gone. `None` is to its end.
    pub cancel_when_gone: Option<u64>,
}

impl Terms {
    /// What a record of before there were terms lacks of them.
    pub(crate) const NONE: [u8; 8] = [0; 8];

    /// Returns whether a model may be used.
    #[must_use]
    pub fn admit(&self, model: &ModelKey) -> bool {
        let Some(models) = &self.models else { return true };
        let whole = model.to_string();
        models.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(owner) => model.repo_id().starts_with(owner),
            None => *pattern == whole || pattern == model.repo_id(),
        })
    }

    /// Says what is wrong with a list of models, if anything is.
    ///
    /// # Errors
    /// A sentence.
    pub fn check(models: &[String]) -> Result<(), String> {
        let named = |name: &str| {
            let name = name.strip_suffix("/*").unwrap_or(name);
            (1..=200).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./@".contains(&byte))
        };
        match models.iter().find(|name| !named(name)) {
            _ if models.len() > 100 => {
                Err(format!("a list of models has at most 100, and this one has {}", models.len()))
            }
            Some(name) => Err(format!("{name:?} names no models: a name is REPO_ID, REPO_ID@REVISION or OWNER/*")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_models_by_repository_revision_or_owner() {
        let admits = |models: &[&str], repo_id: &str, revision: Option<&str>| {
            let models = Some(models.iter().map(|name| (*name).to_owned()).collect());
            Terms { models, ..Terms::default() }.admit(&ModelKey::new(repo_id, revision.map(str::to_owned)))
        };
        assert!(Terms::default().admit(&ModelKey::new("a/b", None)));
        assert!(!admits(&[], "a/b", None));
        assert!(admits(&["x/y", "a/b"], "a/b", None) && admits(&["a/b"], "a/b", Some("r")));
        assert!(admits(&["a/b@r"], "a/b", Some("r")) && !admits(&["a/b@r"], "a/b", None));
        assert!(admits(&["a/*"], "a/b", Some("r")) && !admits(&["a/*"], "ab/c", None));
        for (bad, good) in [("*", "a/*"), ("a b", "a-b"), ("a*b", "a/b@r"), ("", "gpt2")] {
            assert!(Terms::check(&[bad.into()]).is_err() && Terms::check(&[good.into()]).is_ok(), "{bad} {good}");
        }
    }
}
