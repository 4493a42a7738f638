//! What a provider gives: tokens, with the ID token among them.

use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{ExtraTokenFields, StandardRevocableToken, StandardTokenResponse};
use serde::{Deserialize, Serialize};

/// What OpenID Connect adds to what OAuth gives.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Id {
    pub id_token: Option<String>,
}

impl ExtraTokenFields for Id {}

pub type Given = StandardTokenResponse<Id, BasicTokenType>;

/// Who asks for it.
pub type Client = oauth2::Client<
    BasicErrorResponse,
    Given,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
>;
