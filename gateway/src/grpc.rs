//! gRPC: `proto/vitrine/v1/api.proto`, over what `/v1` does, and behind what is before that. A call is a request of HTTP/2,
//! so whose it is, how often it may come, what is counted and what is written into the trail is found out by the same
//! middleware; only the form of answers is another.

mod service;
mod shown;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Uri;
use axum::http::header::RETRY_AFTER;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::any_service;
use axum::{Router, body};
use futures::StreamExt;
use http_body_util::BodyExt;
use proto::v1::jobs_server::JobsServer;
use tonic::{Code, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tonic_types::{ErrorDetails, StatusExt};
use tower::ServiceBuilder;

use crate::app::around;
use crate::authenticate::{Caller, authenticate};
use crate::error::{Reason, Sentence};
use crate::{Error, Gateway, v1};

/// Bytes of one message that is sent here, as clients of gRPC expect it.
const MESSAGE_BYTES: usize = 4 << 20;
/// Bytes of a refusal's sentence, which travels in a head: a traceback may be longer.
const SENTENCE_BYTES: usize = 2000;
/// How long a stream may stay open that takes no key.
const KEYLESS: Duration = Duration::from_secs(60);
/// How often it is looked whether a job would be taken.
const LOOK: Duration = Duration::from_secs(1);

/// The service's name, as health checks ask for it.
const NAME: &str = "vitrine.v1.Jobs";

/// Builds the service. `health` is what [`tell`] fills.
///
/// # Errors
/// When the description of the API is none, which only a fault of this program's build does.
pub fn router(gateway: &Arc<Gateway>, health: &HealthReporter) -> Result<Router, Error> {
    let shared = || Arc::clone(gateway);
    let short = || middleware::from_fn_with_state(shared(), short);
    let jobs = JobsServer::new(service::Service::new(shared())).max_decoding_message_size(MESSAGE_BYTES);
    let mut routes = Router::new();
    for method in proto::api::methods().map_err(Error::internal)? {
        let jobs = any_service(jobs.clone());
        // What a submission sends is read as it comes, within its bounds; of all others it is one short message.
        let jobs = if method.sends { jobs } else { jobs.layer(short()) };
        routes = routes.route(&method.path, jobs.layer(middleware::from_fn(known)));
    }
    let health = HealthServer::new(HealthService::from_health_reporter(health.clone()));
    // To watch takes a key, for it may last.
    let watched = middleware::from_fn_with_state(shared(), watched);
    routes = routes
        .route("/grpc.health.v1.Health/Check", any_service(health.clone()).layer(short()))
        .route("/grpc.health.v1.Health/Watch", any_service(health).layer(short()).layer(watched));
    let described = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::api::DESCRIPTION)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let brief = || middleware::from_fn_with_state(shared(), brief);
    let (v1, before) = (described().build_v1(), described().build_v1alpha());
    let (v1, before) = (v1.map_err(Error::internal)?, before.map_err(Error::internal)?);
    routes = routes
        .route("/grpc.reflection.v1.ServerReflection/{method}", any_service(v1).layer(brief()))
        .route("/grpc.reflection.v1alpha.ServerReflection/{method}", any_service(before).layer(brief()))
        .fallback(|uri: Uri| async move { Error::NoRoute(uri.path().to_owned()) });
    let inner = ServiceBuilder::new()
        .layer(middleware::from_fn_with_state(shared(), authenticate))
        .layer(middleware::from_fn(told));
    Ok(around(routes.layer(inner)).layer(middleware::from_fn(refusals)))
}

/// Tells who checks for health whether a job would be taken, for as long as it is polled.
pub async fn tell(gateway: &Gateway, health: &HealthReporter) {
    loop {
        let status = match gateway.ready().await {
            Ok(()) => ServingStatus::Serving,
            Err(_) => ServingStatus::NotServing,
        };
        for name in ["", NAME] {
            health.set_service_status(name, status).await;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = gateway.draining.cancelled(), if status == ServingStatus::Serving => {}
        }
    }
}

/// The middleware that answers as HTTP does where a method has refused something, so that what is around it finds the same
/// marks.
async fn told(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.extensions().get::<Status>();
    match status.and_then(std::error::Error::source).and_then(|source| source.downcast_ref::<Error>()) {
        Some(refused) => refused.answer(),
        None => response,
    }
}

/// The middleware that gives refusals the form which they have here, whoever refuses.
async fn refusals(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let (parts, body) = response.into_parts();
    let (Some(code), Some(Sentence(sentence))) = (parts.extensions.get::<Code>(), parts.extensions.get()) else {
        return Response::from_parts(parts, body);
    };
    let mut details = ErrorDetails::new();
    if let Some(Reason(reason)) = parts.extensions.get() {
        details.set_error_info(reason.to_uppercase(), "vitrine", HashMap::new());
    }
    let again = parts.headers.get(RETRY_AFTER).and_then(|seconds| seconds.to_str().ok()?.parse().ok());
    if let Some(seconds) = again {
        details.set_retry_info(Some(Duration::from_secs(seconds)));
    }
    let status = Status::with_error_details(*code, short_sentence(sentence), details);
    let mut answer = status.into_http::<Body>();
    for (name, value) in &parts.headers {
        if name == RETRY_AFTER || name == "x-request-id" {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
}

fn short_sentence(sentence: &str) -> String {
    match sentence.len() > SENTENCE_BYTES {
        true => format!("{}… (and so on)", &sentence[..sentence.floor_char_boundary(SENTENCE_BYTES)]),
        false => sentence.to_owned(),
    }
}

/// The middleware that refuses who has no key, before anything that they send is read.
async fn known(caller: Caller, request: Request, next: Next) -> Result<Response, Error> {
    caller.known()?;
    Ok(next.run(request).await)
}

/// The middleware that has a short request here, all of it, before it is looked at: nobody keeps a call open by sending half.
async fn short(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Result<Response, Error> {
    let (parts, body) = request.into_parts();
    let body = v1::small(&gateway, body).await?;
    Ok(next.run(Request::from_parts(parts, Body::from(body))).await)
}

/// The middleware that counts a stream as a websocket of the caller's tenant.
async fn watched(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    let principal = caller.known()?;
    let held = gateway.sockets.try_take(&principal.tenant, 1)?;
    Ok(holding(next.run(request).await, held))
}

/// The middleware that lets anybody ask for a while, and not too many at once.
async fn brief(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Result<Response, Error> {
    let permit = Arc::clone(&gateway.keyless_sockets).try_acquire_owned().map_err(|_| Error::Busy)?;
    let asked = |body: Body| {
        let pieces = body.into_data_stream().take_until(Box::pin(tokio::time::sleep(KEYLESS)));
        Body::from_stream(pieces)
    };
    Ok(holding(next.run(request.map(asked)).await, permit))
}

/// Keeps something until an answer has been sent, or given up.
pub fn holding(response: Response, held: impl Send + 'static) -> Response {
    response.map(|body| {
        body::Body::new(body.map_frame(move |frame| {
            _ = &held;
            frame
        }))
    })
}

/// Says what went wrong, to clients and to what is around.
impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let mut status = Self::new(error.code(), short_sentence(&error.to_string()));
        status.set_source(Arc::new(error));
        status
    }
}

/// What a call is asked to be done for, as its metadata tells.
fn text<'a>(metadata: &'a tonic::metadata::MetadataMap, name: &str) -> Option<&'a str> {
    metadata.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_sentence_fits_a_head() {
        let long = "ü".repeat(SENTENCE_BYTES);
        assert!(short_sentence(&long).len() < SENTENCE_BYTES + 20);
        assert_eq!(short_sentence("short"), "short");
    }

    #[test]
    fn what_is_refused_has_a_code_as_its_status_says() {
        for (error, code) in [
            (Error::NoKey, Code::Unauthenticated),
            (Error::Forbidden { who: "a key".into(), what: "do this" }, Code::PermissionDenied),
            (Error::NotYours, Code::NotFound),
            (Error::Program("no".into()), Code::InvalidArgument),
            (Error::TooManyAtOnce, Code::ResourceExhausted),
            (Error::Busy, Code::Unavailable),
            (Error::NoRoute("/".into()), Code::Unimplemented),
            (Error::Unknown { job: ids::JobId::new(), named: true }, Code::Unavailable),
            (Error::Unknown { job: ids::JobId::new(), named: false }, Code::Unknown),
            (Error::internal("a fault"), Code::Internal),
        ] {
            assert_eq!(error.code(), code, "{error}");
        }
    }
}
