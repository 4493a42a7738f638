//! The routes, and the layers around them.

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::{Request, Uri};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Router};
use program::Batching;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::trace::TraceLayer;

use crate::authenticate::authenticate;
use crate::{Error, Gateway, about, hub, job, result, submit, subscribe};

/// Builds the service.
pub fn router(gateway: Arc<Gateway>) -> Router {
    let layers = ServiceBuilder::new()
        // The request id comes first: every line logged below carries it.
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        // Above the panic catcher, so that a panic is logged as the failure of its request.
        // Failures are logged where they become answers, with their cause.
        .layer(TraceLayer::new_for_http().make_span_with(span).on_failure(()))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(CatchPanicLayer::custom(|_| Error::internal("a handler panicked").into_response()))
        // Before the body limit: a caller without a key must not learn more than that.
        .layer(middleware::from_fn_with_state(Arc::clone(&gateway), authenticate))
        // Below authentication, above everything that reads a body.
        .layer(DefaultBodyLimit::max(gateway.settings.body_bytes));

    let api = Router::new()
        .route("/request", post(submit::submit))
        .route("/request/{id}", delete(job::cancel))
        .route("/subscribe", get(subscribe::subscribe))
        .route("/response/{id}", get(job::response))
        .route("/results/{id}", get(result::download))
        .route("/status", get(about::status))
        .route("/env", get(about::env))
        .route("/whoami", get(about::whoami))
        .route("/ping", get(about::ping))
        .route("/healthz", get(about::healthz))
        .route("/readyz", get(about::readyz));
    // A client that can name nothing but its server chooses by the server's name.
    let under =
        |app: Router<_>, batching: Batching| app.nest(&format!("/{batching}"), api.clone().layer(Extension(batching)));
    Batching::ALL.into_iter().fold(api.clone(), under).fallback(hub_or_nothing).layer(layers).with_state(gateway)
}

fn span<B>(request: &Request<B>) -> tracing::Span {
    let request_id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    // The query is left out: it may hold a link's signature.
    tracing::info_span!("http", method = %request.method(), path = request.uri().path(), request_id)
}

/// The mirror's paths begin with a repository's name, so they are told apart from unknown ones by parsing.
async fn hub_or_nothing(
    axum::extract::State(gateway): axum::extract::State<Arc<Gateway>>,
    method: axum::http::Method,
    headers: axum::http::HeaderMap,
    uri: Uri,
) -> Result<Response, Error> {
    match hub::Ask::parse(uri.path()) {
        Some(ask) => hub::answer(&gateway, &ask, &method, &headers).await,
        None => Err(Error::NoRoute(uri.path().to_owned())),
    }
}
