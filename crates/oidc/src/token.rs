//! Tokens: who signed one, for whom, and until when.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::Value;

use crate::Refusal;
use crate::claims::Claims;
use crate::keys;

/// Seconds by which the clocks of this server and of the provider may differ.
const LEEWAY: u64 = 30;
/// Bytes of a token.
const BYTES: usize = 16 << 10;
/// What tokens are called that say who somebody is or what they may do. Others of the same provider are for other uses.
const KINDS: [&str; 2] = ["jwt", "at+jwt"];

/// The head of a token: what there is to know of it before anything of it can be believed.
#[derive(Debug)]
pub struct Head {
    pub algorithm: Algorithm,
    /// The name of the key that it was signed with.
    pub key: Option<String>,
}

/// The same as it is written.
#[derive(Deserialize)]
struct Written {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    /// What the reader has to understand, or must refuse the token.
    crit: Option<Value>,
}

/// What a token must say.
pub struct Wanted<'a> {
    pub issuer: &'a str,
    /// Any of these.
    pub audiences: &'a [&'a str],
    /// What the one who asked for it made up.
    pub nonce: Option<&'a str>,
}

/// Says whether a text is a token by its form, as no key of this server is.
#[must_use]
pub fn looks_like_one(text: &str) -> bool {
    text.split('.').count() == 3 && written(text).is_some()
}

fn written(token: &str) -> Option<Written> {
    let head = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok()?;
    serde_json::from_slice(&head).ok()
}

/// Reads a token's head.
///
/// # Errors
/// [`Refusal::Unreadable`], [`Refusal::Algorithm`], [`Refusal::Kind`].
pub fn head(token: &str) -> Result<Head, Refusal> {
    if token.len() > BYTES {
        return Err(Refusal::Unreadable("it is too long"));
    }
    let Written { alg, kid, typ, crit } = written(token).ok_or(Refusal::Unreadable("its head is none"))?;
    if crit.is_some() {
        return Err(Refusal::Unreadable("it asks for what this server does not know"));
    }
    let algorithm = keys::algorithm(&alg).ok_or_else(|| Refusal::Algorithm(short(alg)))?;
    if let Some(typ) = typ {
        let kind = typ.to_ascii_lowercase();
        if !KINDS.contains(&kind.strip_prefix("application/").unwrap_or(&kind)) {
            return Err(Refusal::Kind(short(typ)));
        }
    }
    Ok(Head { algorithm, key: kid })
}

/// Returns what a token says, and until when that counts, in seconds since 1970.
///
/// # Errors
/// Why it counts for nothing.
pub fn read(token: &str, head: &Head, key: &DecodingKey, wanted: &Wanted<'_>) -> Result<(Claims, u64), Refusal> {
    let mut validation = Validation::new(head.algorithm);
    validation.leeway = LEEWAY;
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.set_issuer(&[wanted.issuer]);
    validation.set_audience(wanted.audiences);
    let read = jsonwebtoken::decode::<Claims>(token, key, &validation);
    let claims = read.map_err(|error| refusal(error.kind(), wanted))?.claims;
    if let Some(nonce) = wanted.nonce
        && claims.get("nonce").and_then(Value::as_str) != Some(nonce)
    {
        return Err(Refusal::Nonce);
    }
    // Some write seconds with a fraction.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times are not negative, and saturate")]
    let expires = claims.get("exp").and_then(|exp| exp.as_u64().or_else(|| exp.as_f64().map(|exp| exp as u64)));
    Ok((claims, expires.unwrap_or(0).saturating_add(LEEWAY)))
}

fn refusal(kind: &ErrorKind, wanted: &Wanted<'_>) -> Refusal {
    match kind {
        ErrorKind::ExpiredSignature => Refusal::Expired,
        ErrorKind::ImmatureSignature => Refusal::NotYet,
        ErrorKind::InvalidIssuer => Refusal::Issuer { issuer: wanted.issuer.to_owned() },
        ErrorKind::InvalidAudience => Refusal::Audience(wanted.audiences.join(" or ")),
        ErrorKind::InvalidSignature => Refusal::Signature,
        ErrorKind::MissingRequiredClaim(claim) => Refusal::Unreadable(match claim.as_str() {
            "exp" => "it does not say when it ends",
            "iss" => "it does not say whose it is",
            _ => "it does not say what it is for",
        }),
        _ => Refusal::Unreadable("its form is another"),
    }
}

/// Returns so much of a stranger's text as a sentence bears.
fn short(text: String) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(30).collect()
}
