//! The keys that a provider signs with, as far as this server takes them.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// What may sign a token, by the name that its head has. What is signed with a secret that the reader shares, or not at all,
/// is nothing that a provider vouches for.
const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// Keys, as a provider publishes them.
#[derive(Deserialize)]
pub struct Published {
    keys: Vec<Value>,
}

/// Those of them that sign tokens.
#[derive(Default)]
pub struct Keys(Vec<Key>);

struct Key {
    name: Option<String>,
    fits: Vec<Algorithm>,
    key: DecodingKey,
}

/// Returns the algorithm of a name, if this server takes it.
pub fn algorithm(name: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
}

impl Keys {
    /// Takes those that can be used; a provider may publish others for others.
    pub fn read(published: Published) -> Self {
        Self(published.keys.into_iter().filter_map(Key::read).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the key that a token names. One that names none is of the only key that fits.
    pub fn find(&self, name: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let mut fitting = self.0.iter().filter(|key| key.fits.contains(&algorithm));
        match name {
            Some(name) => fitting.find(|key| key.name.as_deref() == Some(name)).map(|key| &key.key),
            None => fitting.next().filter(|_| fitting.next().is_none()).map(|key| &key.key),
        }
    }
}

impl Key {
    fn read(published: Value) -> Option<Self> {
        // It is looked at as it stands: a key for all that its kind can do says nothing of an algorithm.
        let said = published["alg"].as_str().map(str::to_owned);
        let jwk: Jwk = serde_json::from_value(published).ok()?;
        if jwk.common.public_key_use.as_ref().is_some_and(|used| *used != PublicKeyUse::Signature) {
            return None;
        }
        let mut fits = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => ALGORITHMS[..6].iter().map(|(_, algorithm)| *algorithm).collect(),
            AlgorithmParameters::EllipticCurve(parameters) => match parameters.curve {
                EllipticCurve::P256 => vec![Algorithm::ES256],
                EllipticCurve::P384 => vec![Algorithm::ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(_) => vec![Algorithm::EdDSA],
            _ => return None,
        };
        if let Some(said) = said {
            fits.retain(|fit| algorithm(&said) == Some(*fit));
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        (!fits.is_empty()).then_some(Self { name: jwk.common.key_id, fits, key })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keys(published: Value) -> Keys {
        Keys::read(serde_json::from_value(json!({ "keys": published })).unwrap())
    }

    /// A point of the curve, as RFC 7517 has it.
    fn point() -> Value {
        json!({
            "kty": "EC", "crv": "P-256",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        })
    }

    #[test]
    fn only_what_signs_and_is_public_is_taken() {
        let with = |change: Value| {
            let mut key = point();
            key.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            keys(json!([key]))
        };
        assert!(with(json!({ "kid": "a" })).find(Some("a"), Algorithm::ES256).is_some());
        assert!(with(json!({ "kid": "a", "use": "sig", "alg": "ES256" })).find(Some("a"), Algorithm::ES256).is_some());
        assert!(with(json!({ "use": "enc" })).is_empty());
        assert!(with(json!({ "alg": "ES384" })).is_empty());
        assert!(with(json!({ "kid": "a" })).find(Some("a"), Algorithm::RS256).is_none());
        assert!(with(json!({ "kid": "a" })).find(Some("b"), Algorithm::ES256).is_none());
        let secret = json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "a" });
        let strange = json!({ "kty": "new", "kid": "a" });
        assert!(keys(json!([secret, strange, 7])).is_empty(), "and what cannot be read is no error");
        for none in ["none", "None", "HS256", "HS512", "", "rs256"] {
            assert_eq!(algorithm(none), None, "{none}");
        }
    }

    #[test]
    fn a_token_without_a_keys_name_is_of_the_only_one_that_fits() {
        let named = |name: &str| {
            let mut key = point();
            key["kid"] = name.into();
            key
        };
        assert!(keys(json!([named("a")])).find(None, Algorithm::ES256).is_some());
        assert!(keys(json!([named("a"), named("b")])).find(None, Algorithm::ES256).is_none());
    }
}
