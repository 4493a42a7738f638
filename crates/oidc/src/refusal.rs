//! Why nobody is let in by a token.

/// What is wrong with a token, or with what it says. Each names whose doing it is, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this is no token of OpenID Connect that can be read ({0}); sign in again")]
    Unreadable(&'static str),
    #[error("this token is signed by {0:?}, which this server does not take: it takes RS, PS, ES256, ES384 and EdDSA")]
    Algorithm(String),
    #[error("this token is a {0:?}, and neither an ID token nor an access token")]
    Kind(String),
    #[error(
        "this token is signed with a key that {issuer} does not publish; sign in again, and tell the operator if it stays"
    )]
    UnknownKey { issuer: String },
    #[error("this token was not signed by whom it names, or was changed since; sign in again")]
    Signature,
    #[error("this token has expired; sign in again")]
    Expired,
    #[error(
        "this token is not valid yet: the clock of this server or of the provider is wrong, which the operator can mend"
    )]
    NotYet,
    #[error("this token is not of {issuer}, which is the only provider that this server knows")]
    Issuer { issuer: String },
    #[error("this token is for something else than this server: it must be for {0}; sign in to this server")]
    Audience(String),
    #[error("this token answers another sign-in than this one; begin again")]
    Nonce,
    #[error(
        "the provider says nothing in the claim {claim}, by which this server names people; its operator can mend that"
    )]
    Nameless { claim: String },
    #[error(
        "the provider says that the e-mail address of {user} is not verified, and this server names people by it; verify it \
         there"
    )]
    Unverified { user: String },
    #[error(
        "{user} belongs to no tenant here: the provider's claim {claim} names none that this server knows; ask the operator"
    )]
    NoTenant { user: String, claim: String },
    #[error(
        "{user} belongs to several tenants here by the provider's claim {claim}, and acts for one at a time; ask the operator"
    )]
    SeveralTenants { user: String, claim: String },
    #[error("{user} may do nothing here: the provider's claim {claim} gives no role; ask the operator for one")]
    NoRole { user: String, claim: String },
    #[error(
        "the provider {issuer} does not answer, so that this server cannot tell whose token this is, which is no fault of \
         yours; try again in a minute, or use an API key"
    )]
    Away { issuer: String },
    #[error("the provider refused to sign you in: {0}")]
    Provider(String),
}

impl Refusal {
    /// Returns who was refused, where the provider vouches for them.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Unverified { user }
            | Self::NoTenant { user, .. }
            | Self::SeveralTenants { user, .. }
            | Self::NoRole { user, .. } => Some(user),
            _ => None,
        }
    }
}
