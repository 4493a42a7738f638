//! The JSON that comes beside a payload.

use ids::ModelKey;
use program::Env;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::compression;
use crate::error::DecodeError;

/// Bytes of the `data` field; a real one has a few hundred.
const MAX_BYTES: usize = 64 << 10;

/// The multipart field `data` of `POST /request`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestFields {
    /// `<import path of a class>:<JSON>`; see [`RequestFields::model`].
    pub model_key: String,
    /// The websocket that waits for this job, or empty where the client will poll.
    #[serde(default)]
    pub session_id: String,
    /// Whether the payload is a zstd frame, and the result must be one.
    #[serde(default)]
    pub compress: bool,
    #[serde(default)]
    pub env: Map<String, Value>,
}

impl RequestFields {
    /// Reads the field's bytes.
    ///
    /// # Errors
    /// [`DecodeError::Fields`] for bytes over 64 KiB, other JSON, or missing members.
    pub fn parse(json: &[u8]) -> Result<Self, DecodeError> {
        if json.len() > MAX_BYTES {
            return Err(DecodeError::Fields(format!("longer than {MAX_BYTES} bytes")));
        }
        serde_json::from_slice(json).map_err(|error| DecodeError::Fields(error.to_string()))
    }

    /// Returns whether a websocket waits for this job.
    #[must_use]
    pub fn blocking(&self) -> bool {
        !self.session_id.is_empty()
    }

    /// Returns how many bytes a payload takes once decompressed, if it says so. It may lie; decoding will find out.
    #[must_use]
    pub fn content_bytes(&self, payload: &[u8]) -> Option<u64> {
        if self.compress { compression::announced(payload) } else { Some(payload.len() as u64) }
    }

    /// Returns the model that the key names. The class before the colon is the client's own and names nothing here.
    ///
    /// # Errors
    /// [`DecodeError::ModelKey`] where the key has no colon, or no `repo_id` after it.
    pub fn model(&self) -> Result<ModelKey, DecodeError> {
        #[derive(Deserialize)]
        struct Key {
            repo_id: String,
            #[serde(default)]
            revision: Option<String>,
        }
        let key = self.model_key.split_once(':').and_then(|(_, json)| serde_json::from_str::<Key>(json).ok());
        match key {
            Some(key) if !key.repo_id.is_empty() => Ok(ModelKey::new(key.repo_id, key.revision)),
            _ => Err(DecodeError::ModelKey(self.model_key.chars().take(200).collect())),
        }
    }

    /// Returns how the model must be set up.
    ///
    /// # Errors
    /// [`DecodeError::Fields`] where a known member of `env` is neither text nor null.
    pub fn environment(&self) -> Result<Env, DecodeError> {
        let text = |name: &str| match self.env.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(DecodeError::Fields(format!("`env.{name}` is not text"))),
        };
        let batching = text("batching")?.map(|name| name.parse()).transpose();
        Ok(Env {
            attn_implementation: text("attn_implementation")?,
            peft: text("peft")?,
            batching: batching.map_err(|why| DecodeError::Fields(format!("`env.batching`: {why}")))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use program::Batching;

    use super::*;

    fn fields(key: &str, env: &str) -> RequestFields {
        let json = serde_json::json!({ "model_key": key, "session_id": "s", "compress": true });
        let mut fields = RequestFields::parse(json.to_string().as_bytes()).unwrap();
        fields.env = serde_json::from_str(env).unwrap();
        fields
    }

    #[test]
    fn a_model_key_is_split_at_its_first_colon() {
        let key = |json: &str| fields(&format!("nnsight.modeling.transformers.TransformersModel:{json}"), "{}").model();
        let model = key(r#"{"repo_id": "org/na:me", "revision": "v1", "task": "text-generation"}"#).unwrap();
        assert_eq!((model.repo_id(), model.revision()), ("org/na:me", Some("v1")));
        let main = key(r#"{"repo_id": "a/b", "revision": "main"}"#).unwrap();
        assert_eq!(main, key(r#"{"trust_remote_code": true, "repo_id": "a/b", "revision": null}"#).unwrap());
        for bad in ["", "{}", r#"{"repo_id": 3}"#, r#"{"repo_id": ""}"#, "[1]"] {
            assert!(key(bad).is_err(), "{bad}");
        }
        assert!(fields("no colon", "{}").model().is_err());
    }

    #[test]
    fn the_environment_is_text_or_nothing() {
        let env = fields("k:{}", r#"{"attn_implementation": "eager", "peft": null, "later": [1]}"#).environment();
        assert_eq!(env.unwrap(), Env { attn_implementation: Some("eager".into()), ..Env::default() });
        let env = fields("k:{}", r#"{"batching": "exclusive"}"#).environment();
        assert_eq!(env.unwrap().batching, Some(Batching::Exclusive));
        let refusal = fields("k:{}", r#"{"batching": "alone"}"#).environment().unwrap_err().to_string();
        assert!(refusal.contains("shared, reproducible or exclusive, not \"alone\""), "{refusal}");
        assert!(fields("k:{}", r#"{"peft": 1}"#).environment().is_err());
    }

    #[test]
    fn hostile_json_is_an_error() {
        let deep = format!(r#"{{"model_key": "k", "env": {{"a": {}}}}}"#, "[".repeat(30_000));
        for bad in [deep.as_str(), "", "[]", r#"{"session_id": "x"}"#, r#"{"model_key": "\ud800"}"#] {
            assert!(RequestFields::parse(bad.as_bytes()).is_err());
        }
        assert!(RequestFields::parse(" ".repeat(MAX_BYTES + 1).as_bytes()).is_err());
    }
}
