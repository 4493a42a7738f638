//! What a browser keeps for this installation and cannot change: bytes with an end, signed.

use subtle::ConstantTimeEq;

use crate::ServerSecret;
use crate::secret::{hex, unhex};

/// Seals and opens what the gateways of one installation give to browsers. Whoever keeps it can read it.
#[derive(Clone)]
pub struct Seals {
    key: [u8; 32],
}

impl Seals {
    pub(crate) fn new(secret: &ServerSecret) -> Self {
        Self { key: secret.derive("vitrine 2026 seals of what browsers keep") }
    }

    /// Returns a text of plain characters that stands for `bytes` until `expires`, in seconds since 1970, and is opened
    /// for the same purpose alone.
    #[must_use]
    pub fn seal(&self, purpose: &str, bytes: &[u8], expires: u64) -> String {
        format!("{expires:x}.{}.{}", hex(bytes), self.sign(purpose, bytes, expires))
    }

    /// Returns what was sealed for a purpose; `None` for what was not sealed by this installation, or for another purpose,
    /// or is over at `now`.
    #[must_use]
    pub fn open(&self, purpose: &str, text: &str, now: u64) -> Option<Vec<u8>> {
        let mut parts = text.split('.');
        let (expires, bytes, signature) = (parts.next()?, unhex(parts.next()?)?, parts.next()?);
        let expires = u64::from_str_radix(expires, 16).ok()?;
        let ours = self.sign(purpose, &bytes, expires);
        let ours = parts.next().is_none() && bool::from(ours.as_bytes().ct_eq(signature.as_bytes()));
        (ours && now < expires).then_some(bytes)
    }

    /// Returns 64 hexadecimal digits that stand for all that a sealed text says.
    fn sign(&self, purpose: &str, bytes: &[u8], expires: u64) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&expires.to_le_bytes());
        // Its length keeps it apart from what follows.
        hasher.update(&(purpose.len() as u64).to_le_bytes()).update(purpose.as_bytes()).update(bytes);
        hex(hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_what_is_sealed_can_be_changed_and_it_ends() {
        let seals = Seals { key: [7; 32] };
        let text = seals.seal("a session", b"ada", 100);
        assert_eq!(seals.open("a session", &text, 99).as_deref(), Some(&b"ada"[..]));
        assert_eq!(seals.open("a session", &text, 100), None, "it is over");
        assert_eq!(seals.open("another", &text, 99), None, "for another purpose");
        assert_eq!(Seals { key: [8; 32] }.open("a session", &text, 99), None, "another installation's");
        for at in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] = if other[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(seals.open("a session", &String::from_utf8(other).unwrap(), 0), None, "at {at}");
        }
        for end in 0..text.len() {
            assert_eq!(seals.open("a session", &text[..end], 0), None, "up to {end}");
        }
        for other in [format!("{text}."), format!("{text}0"), format!(".{text}"), "é.é.é".into()] {
            assert_eq!(seals.open("a session", &other, 0), None, "{other:?}");
        }
    }
}
