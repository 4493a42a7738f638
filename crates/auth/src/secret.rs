//! Texts and bytes that must not end up in a log.

use store::MetadataStore;

use crate::Error;

/// A key's text. It has no `Debug` and no `Display`, so that printing it takes a deliberate [`Secret::reveal`].
pub struct Secret(String);

impl Secret {
    /// Wraps a text that came from outside.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Makes one of 256 random bits, as hexadecimal digits.
    ///
    /// # Errors
    /// When the source of randomness fails.
    pub fn random() -> Result<Self, Error> {
        Ok(Self(hex(&random::<32>()?)))
    }

    /// Returns the text, to be shown to its owner or hashed, and never logged.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// The 256 random bits from which one installation derives the keys of its hashes and signatures.
///
/// It lives in the metadata store, so that every gateway has the same one.
pub struct ServerSecret([u8; 32]);

impl ServerSecret {
    const KEY: &str = "/vitrine/v1/secrets/server";

    /// Returns the installation's secret, making it on the first call.
    ///
    /// # Errors
    /// When the store or the source of randomness fails.
    pub async fn load(store: &dyn MetadataStore) -> Result<Self, Error> {
        if let Some(entry) = store.get(Self::KEY).await? {
            return Self::read(&entry.value);
        }
        let fresh = random()?;
        if store.create(Self::KEY, fresh.to_vec().into()).await? {
            return Ok(Self(fresh));
        }
        // Another gateway made it between the two calls.
        let entry = store.get(Self::KEY).await?.ok_or_else(|| Error::Unreadable(Self::KEY.into()))?;
        Self::read(&entry.value)
    }

    /// Derives the key of one purpose; knowing it tells nothing about those of other purposes.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        blake3::derive_key(purpose, &self.0)
    }

    fn read(bytes: &[u8]) -> Result<Self, Error> {
        bytes.try_into().map(Self).map_err(|_| Error::Unreadable(Self::KEY.into()))
    }
}

/// Returns `N` bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(Error::Random)?;
    Ok(bytes)
}

/// Writes bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|nibble| char::from_digit(nibble.into(), 16))
        .collect()
}

/// Reads what [`hex`] wrote; `None` for what it cannot have.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    if odd.is_empty() { bytes } else { None }
}
