//! The name of a hosted model.

use std::cmp::Ordering;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names a hosted model as the Hugging Face Hub does: repository and revision.
///
/// Performance-critical: a scheduler has one for each replica of each worker, and looks for them all whenever it decides
/// where models are. So a clone is the same name, and a name is hashed once.
#[derive(Clone, PartialEq, Eq)]
pub struct ModelKey(Arc<Name>);

/// In this order, so that names that differ mostly differ in what is compared first.
#[derive(PartialEq, Eq)]
struct Name {
    hash: u64,
    repo_id: String,
    revision: Option<String>,
}

/// A key as it is written.
#[derive(Serialize, Deserialize)]
#[serde(rename = "ModelKey")]
struct Written<T> {
    repo_id: T,
    revision: Option<T>,
}

impl ModelKey {
    /// Makes a key; the revision `main` and no revision are the same model.
    pub fn new(repo_id: impl Into<String>, revision: Option<String>) -> Self {
        let (repo_id, revision) = (repo_id.into(), revision.filter(|name| name != "main"));
        let mut hasher = DefaultHasher::new();
        (&repo_id, &revision).hash(&mut hasher);
        Self(Arc::new(Name { hash: hasher.finish(), repo_id, revision }))
    }

    /// Returns the repository id, for example `HuggingFaceTB/SmolLM2-135M-Instruct`.
    #[must_use]
    pub fn repo_id(&self) -> &str {
        &self.0.repo_id
    }

    /// Returns the revision, or `None` for the default branch.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        self.0.revision.as_deref()
    }

    fn parts(&self) -> (&str, Option<&str>) {
        (self.repo_id(), self.revision())
    }
}

impl Hash for ModelKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl PartialOrd for ModelKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ModelKey {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.parts().cmp(&other.parts()) }
    }
}

impl Serialize for ModelKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (repo_id, revision) = self.parts();
        Written { repo_id, revision }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ModelKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { repo_id, revision } = Written::<String>::deserialize(deserializer)?;
        Ok(Self::new(repo_id, revision))
    }
}

impl fmt::Debug for ModelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (repo_id, revision) = self.parts();
        f.debug_struct("ModelKey").field("repo_id", &repo_id).field("revision", &revision).finish()
    }
}

impl fmt::Display for ModelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.repo_id())?;
        match self.revision() {
            Some(revision) => write!(f, "@{revision}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn keys_are_the_same_by_their_names_wherever_they_were_made_and_are_listed_by_them() {
        let key = |repo_id: &str, revision: Option<&str>| ModelKey::new(repo_id, revision.map(str::to_owned));
        let (one, other) = (key("o/n", Some("v1")), key("o/n", Some("v1")));
        let hasher = std::hash::RandomState::new();
        assert_eq!((&one, hasher.hash_one(&one)), (&other, hasher.hash_one(&other)));
        assert_eq!(one.cmp(&other), Ordering::Equal);
        assert_eq!(key("o/n", Some("main")), key("o/n", None));
        // The two parts of a name are apart.
        assert_ne!(key("o/n", Some("v1")), key("o/nv1", None));
        let mut keys = [key("o/n", Some("v2")), key("o/m", Some("v3")), one, key("o/n", None), key("o/", None)];
        keys.sort();
        assert_eq!(keys.map(|key| key.to_string()), ["o/", "o/m@v3", "o/n", "o/n@v1", "o/n@v2"]);
    }
}
