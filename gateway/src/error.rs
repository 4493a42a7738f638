//! Every refusal and failure, and the one place where each becomes an answer.
//!
//! The client prints `detail` verbatim, so each says whose doing it is and what to do.

use std::io;

use auth::Principal;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ids::{ModelKey, TenantId};
use nnsight::DecodeError;
use oidc::Refusal;
use serde_json::json;
use store::{Objects, Over, Whose};
use tonic::Code;

use crate::budget::Short;

/// Why a request was not served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("missing API key: set NDIF_API_KEY, or CONFIG.API.APIKEY, to a key of this server")]
    NoKey,
    #[error("invalid API key: this server does not know it, or it has expired; ask the operator for a new one")]
    WrongKey,
    #[error("the tenant {0} of this API key is suspended: nothing of it is accepted until the operator resumes it")]
    Suspended(TenantId),
    /// A token of a provider's, or what it says, does not do.
    #[error("{0}")]
    Token(Refusal),
    #[error("{who} may not {what}")]
    Forbidden { who: String, what: &'static str },
    #[error(
        "this server has no provider that people sign in by: use an API key, or ask the operator, who sets \
         gateway.oidc.issuer"
    )]
    NoProvider,
    #[error("this browser did not begin to sign in here, or took more than ten minutes; begin again")]
    NoAttempt,
    #[error("model {asked} is not hosted here; hosted are: {}", list(.hosted))]
    UnknownModel { asked: ModelKey, hosted: Vec<ModelKey> },
    #[error(
        "model {0} is hosted here, and not for you: your key or its tenant may use other models, which `vitrine whoami` \
         shows; ask the operator for this one"
    )]
    NotForYou(ModelKey),
    #[error("model {model} could not be loaded, which only the operator can mend: {reason}")]
    BrokenModel { model: ModelKey, reason: String },
    #[error("malformed request: {0}")]
    Malformed(String),
    /// A program that cannot run, in the words of a Python traceback.
    #[error("{0}")]
    Program(String),
    #[error("the request is larger than the {limit} bytes that this server takes; send smaller values")]
    TooLarge { limit: usize },
    #[error("the request's body took too long to arrive; send smaller values, or try from a faster connection")]
    TooSlow,
    #[error("the websocket of this request is gone, or has had its request already; open another")]
    NoSession,
    #[error(
        "this request came before and is job {0}, for which another websocket waits, or none; fetch its result with \
         RemoteBackend(model.to_model_key(), blocking=False, job_id=\"{0}\")()"
    )]
    HeardElsewhere(ids::JobId),
    #[error("no job of yours has this id")]
    NoJob,
    /// Of another's job, in the same words.
    #[error("no job of yours has this id")]
    NotYours,
    #[error("there is no tenant {0:?}; create it first, or look for its name in the list of tenants")]
    NoTenant(String),
    #[error("there is no key {0:?}; look for its id in the list of keys")]
    NoSuchKey(String),
    #[error("there is no model {0:?} here; look for its name in the list of models")]
    NoSuchModel(String),
    #[error("there is no node {0:?}; look for its name in the list of nodes")]
    NoSuchNode(String),
    #[error("{model} has no window {window:?}; `vitrine model window list {model}` shows those that it has")]
    NoSuchWindow { model: ModelKey, window: String },
    /// What was asked for cannot be, in a sentence.
    #[error("{0}")]
    Unfit(String),
    #[error("job {0} has no result to download")]
    NoResult(ids::JobId),
    #[error(
        "this form was not sent from a page of this server, so nothing was done; open the page here and send it again"
    )]
    OtherSite,
    #[error("this link is not valid or has expired; ask for the job's status again to get a fresh one")]
    BadLink,
    #[error("{0}")]
    Conflict(String),
    #[error("the server is busy with other requests; try again in a second")]
    Busy,
    #[error("too many of your requests are under way at once; try again when some are answered")]
    TooManyAtOnce,
    #[error("you make more requests than this server takes in a second; try again in {seconds} s")]
    TooOften { seconds: u64 },
    #[error("{whose} has a quota of {rate} requests a second at each gateway; try again in {seconds} s")]
    QuotaOfRequests { whose: Whose, rate: u64, seconds: u64 },
    /// Of jobs, bytes or device seconds.
    #[error("{0}")]
    OverQuota(Over),
    #[error(
        "it was done, but cannot be written into the audit trail, because the store does not take it; look at what there is \
         before you ask for it again, and tell the operator"
    )]
    Unaudited,
    #[error(
        "{jobs} jobs of yours, of {bytes} bytes, wait or run, which is as much as this server takes of one tenant; \
         send more when some have ended"
    )]
    OwnQueueFull { jobs: u64, bytes: u64 },
    #[error(
        "your jobs that wait hold {bytes} bytes, and less than that is free on the server's disk; send more when some \
         have ended"
    )]
    OwnDiskFull { bytes: u64 },
    #[error(
        "the server cannot reach its store at the moment, so that it can neither take jobs nor look them up, which is no \
         fault of yours; try again in a few seconds"
    )]
    StoreAway,
    #[error(
        "the server cannot reach where it keeps large requests and results at the moment, which is no fault of yours; try \
         again in a few seconds, and tell the operator if it stays"
    )]
    ObjectsAway,
    #[error(
        "the server's store did not answer, so that nobody can say yet whether this request was accepted, which is no \
         fault of yours; {}",
        repeat(.job, *.named)
    )]
    Unknown {
        job: ids::JobId,
        /// Whether it has an idempotency key.
        named: bool,
    },
    #[error("the server's queue is full; try again in a minute")]
    QueueFull,
    #[error("the server is stopping and takes no new requests; try again in a minute")]
    Stopping,
    #[error(
        "the server has no disk space left for this request, which only the operator can mend; nothing was accepted"
    )]
    NoSpace,
    #[error("nothing is served at {0}")]
    NoRoute(String),
    #[error("the server failed, which is no fault of your code; try again, and tell the operator if it stays")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Wraps a failure that the client can do nothing about.
    pub(crate) fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(source.into())
    }

    /// Refuses somebody what they may not do.
    pub(crate) fn forbidden(principal: &Principal, what: &'static str) -> Self {
        let who = principal.user.as_deref().unwrap_or("this API key").to_owned();
        Self::Forbidden { who, what }
    }

    /// Reads a failure of the disk that large bodies lie on while they arrive.
    pub(crate) fn disk(source: io::Error) -> Self {
        if store::NO_SPACE.contains(&source.kind()) { Self::NoSpace } else { Self::internal(source) }
    }

    /// Reads a failure of the objects: a bucket may be away, as the store may be.
    pub(crate) fn objects(objects: &Objects, error: store::Error) -> Self {
        match error {
            store::Error::Failed { .. } | store::Error::Unavailable { .. } if objects.is_remote() => {
                tracing::error!(%error, "the objects cannot be reached");
                Self::ObjectsAway
            }
            other => other.into(),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoKey | Self::WrongKey => StatusCode::UNAUTHORIZED,
            Self::Token(Refusal::Away { .. }) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Token(refusal) if refusal.user().is_some() => StatusCode::FORBIDDEN,
            Self::Token(_) => StatusCode::UNAUTHORIZED,
            Self::Suspended(_) | Self::Forbidden { .. } | Self::BadLink | Self::OtherSite => StatusCode::FORBIDDEN,
            Self::NoAttempt => StatusCode::FORBIDDEN,
            Self::NoProvider => StatusCode::NOT_FOUND,
            Self::NotForYou(_) => StatusCode::FORBIDDEN,
            Self::UnknownModel { .. } | Self::NoJob | Self::NoResult(_) | Self::NoRoute(_) => StatusCode::NOT_FOUND,
            Self::NoTenant(_) | Self::NoSuchKey(_) | Self::NotYours => StatusCode::NOT_FOUND,
            Self::NoSuchModel(_) | Self::NoSuchNode(_) | Self::NoSuchWindow { .. } => StatusCode::NOT_FOUND,
            Self::BrokenModel { .. } | Self::Busy | Self::QueueFull | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::StoreAway | Self::ObjectsAway | Self::Unknown { .. } | Self::Unaudited => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::TooManyAtOnce | Self::TooOften { .. } | Self::OwnQueueFull { .. } | Self::OwnDiskFull { .. } => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::QuotaOfRequests { .. } | Self::OverQuota(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Malformed(_) | Self::Unfit(_) | Self::Program(_) | Self::NoSession => StatusCode::BAD_REQUEST,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Conflict(_) | Self::HeardElsewhere(_) => StatusCode::CONFLICT,
            Self::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns what gRPC calls it.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::NoRoute(_) => Code::Unimplemented,
            // Whoever sends it again by itself, as clients do what is unavailable, might have it run twice.
            Self::Unknown { named: false, .. } => Code::Unknown,
            other => match other.status() {
                StatusCode::UNAUTHORIZED => Code::Unauthenticated,
                StatusCode::FORBIDDEN => Code::PermissionDenied,
                StatusCode::NOT_FOUND => Code::NotFound,
                StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Code::InvalidArgument,
                StatusCode::REQUEST_TIMEOUT => Code::DeadlineExceeded,
                StatusCode::CONFLICT => Code::FailedPrecondition,
                StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE => Code::Unavailable,
                _ => Code::Internal,
            },
        }
    }

    fn reason(&self) -> Reason {
        Reason(match self {
            Self::NoKey | Self::WrongKey => "no_key",
            Self::Token(Refusal::Away { .. }) => "issuer_away",
            Self::Token(refusal) if refusal.user().is_some() => "forbidden",
            Self::Token(_) => "no_key",
            Self::Suspended(_) | Self::Forbidden { .. } | Self::NotForYou(_) => "forbidden",
            Self::BadLink | Self::OtherSite | Self::NoAttempt => "forbidden",
            Self::NoProvider => "not_found",
            Self::UnknownModel { .. } | Self::BrokenModel { .. } | Self::NoSuchModel(_) => "no_model",
            Self::Malformed(_) | Self::Unfit(_) => "malformed",
            Self::Program(_) => "program",
            Self::TooLarge { .. } => "too_large",
            Self::TooSlow => "too_slow",
            Self::NoSession | Self::NoJob | Self::NoTenant(_) | Self::NoSuchKey(_) => "not_found",
            Self::NoResult(_) | Self::NoRoute(_) | Self::NotYours => "not_found",
            Self::NoSuchNode(_) | Self::NoSuchWindow { .. } => "not_found",
            Self::HeardElsewhere(_) | Self::Conflict(_) => "conflict",
            Self::Busy | Self::TooManyAtOnce => "busy",
            Self::TooOften { .. } | Self::QuotaOfRequests { .. } => "rate",
            Self::OverQuota(_) => "quota",
            Self::QueueFull => "queue_full",
            Self::OwnQueueFull { .. } | Self::OwnDiskFull { .. } => "own_queue_full",
            Self::StoreAway | Self::Unaudited => "store_away",
            Self::ObjectsAway => "objects_away",
            Self::Unknown { .. } => "unknown",
            Self::NoSpace => "no_space",
            Self::Stopping => "stopping",
            Self::Internal(_) => "internal",
        })
    }

    /// Returns after how many seconds trying again makes sense.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Busy | Self::TooManyAtOnce => Some(1),
            Self::StoreAway | Self::ObjectsAway | Self::Unknown { .. } => Some(2),
            Self::Token(Refusal::Away { .. }) => Some(10),
            Self::TooOften { seconds } | Self::QuotaOfRequests { seconds, .. } => Some(*seconds),
            Self::OverQuota(over) => Some(over.again.as_secs().max(1)),
            Self::OwnQueueFull { .. } | Self::OwnDiskFull { .. } => Some(10),
            Self::QueueFull | Self::Stopping => Some(60),
            _ => None,
        }
    }
}

/// Why a request was refused, in a word.
#[derive(Clone, Copy)]
pub struct Reason(pub &'static str);

impl Reason {
    pub const ALL: &[&str] = &[
        "no_key",
        "issuer_away",
        "forbidden",
        "no_model",
        "malformed",
        "program",
        "too_large",
        "too_slow",
        "not_found",
        "conflict",
        "busy",
        "rate",
        "queue_full",
        "own_queue_full",
        "quota",
        "store_away",
        "objects_away",
        "unknown",
        "no_space",
        "stopping",
        "internal",
    ];
}

/// What a refusal says, for who answers in another form.
#[derive(Clone)]
pub struct Sentence(pub String);

/// Marks the answer to who may not do what they asked for.
#[derive(Clone)]
pub struct Denied;

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.answer()
    }
}

impl Error {
    /// Returns the answer to HTTP, with marks for who answers in another form.
    pub(crate) fn answer(&self) -> Response {
        match self {
            Self::Internal(source) => tracing::error!(error = %source, "request failed"),
            Self::StoreAway | Self::ObjectsAway | Self::Unknown { .. } => {
                tracing::warn!(error = %self, "request failed")
            }
            _ => {}
        }
        let sentence = self.to_string();
        let denied = match &self {
            Self::Token(refusal) => !matches!(refusal, Refusal::Away { .. }),
            Self::NoKey | Self::WrongKey | Self::Suspended(_) | Self::Forbidden { .. } => true,
            Self::BadLink | Self::NotYours | Self::NotForYou(_) => true,
            _ => false,
        };
        let mut response = (self.status(), Json(json!({ "detail": sentence }))).into_response();
        response.extensions_mut().insert(Sentence(sentence));
        if denied {
            response.extensions_mut().insert(Denied);
        }
        response.extensions_mut().insert(self.reason());
        response.extensions_mut().insert(self.code());
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::TooLarge { limit, .. } => {
                Self::TooLarge { limit: usize::try_from(limit).unwrap_or(usize::MAX) }
            }
            other => Self::Malformed(other.to_string()),
        }
    }
}

impl From<Short> for Error {
    fn from(short: Short) -> Self {
        match short {
            Short::Own => Self::TooManyAtOnce,
            Short::All => Self::Busy,
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::NoSpace { .. } => Self::NoSpace,
            store::Error::NoJob(_) => Self::NoJob,
            store::Error::OverQuota(over) => Self::OverQuota(over),
            store::Error::Crowded => Self::TooManyAtOnce,
            store::Error::KeyReused(_) => Self::Conflict(error.to_string()),
            store::Error::Closed => Self::Stopping,
            store::Error::Unavailable { .. } => Self::StoreAway,
            other => Self::internal(other),
        }
    }
}

impl From<auth::Error> for Error {
    fn from(error: auth::Error) -> Self {
        match error {
            auth::Error::Store(error) => error.into(),
            auth::Error::UnfitTenant(_) => Self::Unfit(error.to_string()),
            other => Self::internal(other),
        }
    }
}

fn repeat(job: &ids::JobId, named: bool) -> String {
    match named {
        true => "send it again with the same Idempotency-Key: it is accepted once".into(),
        false => format!(
            "if it was, it is job {job}: ask for /response/{job} in a few seconds before you send it again. A request \
             with an Idempotency-Key can be sent again at any time"
        ),
    }
}

fn list(models: &[ModelKey]) -> String {
    if models.is_empty() {
        return "none".into();
    }
    models.iter().map(ModelKey::to_string).collect::<Vec<_>>().join(", ")
}
