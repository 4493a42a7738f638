//! The routes, and the layers around them.

use std::sync::Arc;

use axum::http::{Request, Uri};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use program::Batching;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::trace::TraceLayer;
use tracing::field::Empty;

use crate::authenticate::authenticate;
use crate::{Error, Gateway, hub, metrics, pages, routes, v1};

const REQUEST_ID: &str = "x-request-id";

/// Builds the service.
pub fn router(gateway: Arc<Gateway>) -> Router {
    let api = routes::router(routes::CLIENTS);
    // A client that can name nothing but its server chooses by the server's name.
    let under =
        |app: Router<_>, batching: Batching| app.nest(&format!("/{batching}"), api.clone().layer(Extension(batching)));
    let app = Batching::ALL.into_iter().fold(api.clone(), under);
    let app = app.merge(routes::router(routes::V1)).merge(pages::routes()).fallback(hub_or_nothing);
    let inner = ServiceBuilder::new()
        // Above all that refuses for a reason, to say it as clients of /v1 expect it.
        .layer(middleware::from_fn(v1::refusals))
        .layer(middleware::from_fn_with_state(Arc::clone(&gateway), pages::guard))
        // Innermost: a caller without a key learns no more than that. Who reads a body bounds it.
        .layer(middleware::from_fn_with_state(Arc::clone(&gateway), authenticate));
    around(app.layer(inner)).with_state(gateway)
}

/// Puts around routes what is around all, however clients ask: what a request is called, logged and counted as, and that it
/// is answered where a handler panics.
pub fn around<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    let layers = ServiceBuilder::new()
        // What a client calls its request is logged and sent back, so it must be a plain word.
        .map_request(plain_request_id)
        // The request id comes before what follows: every line logged below carries it.
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        // Above the panic catcher, so that a panic is logged as the failure of its request.
        // Failures are logged where they become answers, with their cause.
        .layer(TraceLayer::new_for_http().make_span_with(span).on_failure(()))
        .layer(PropagateRequestIdLayer::x_request_id())
        // Above all that answers, so that whatever is answered is counted.
        .layer(middleware::from_fn(metrics::count))
        .layer(CatchPanicLayer::custom(|_| Error::internal("a handler panicked").into_response()));
    routes.layer(layers)
}

fn plain_request_id<B>(mut request: Request<B>) -> Request<B> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    if let Some(id) = request.headers().get(REQUEST_ID)
        && !(id.len() <= 64 && id.as_bytes().iter().all(plain))
    {
        request.headers_mut().remove(REQUEST_ID);
    }
    request
}

fn span<B>(request: &Request<B>) -> tracing::Span {
    let request_id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    // The query is left out: it may hold a link's signature.
    let (tenant, job, model) = (Empty, Empty, Empty);
    // What is empty is filled in by who finds it out.
    tracing::info_span!("http", method = %request.method(), path = request.uri().path(), request_id, tenant, job, model)
}

/// The mirror's paths begin with a repository's name, so they are told apart from unknown ones by parsing.
async fn hub_or_nothing(
    axum::extract::State(gateway): axum::extract::State<Arc<Gateway>>,
    method: axum::http::Method,
    headers: axum::http::HeaderMap,
    uri: Uri,
) -> Result<Response, Error> {
    match hub::Ask::parse(uri.path()) {
        Some(ask) if gateway.settings.hub => hub::answer(&gateway, &ask, &method, &headers).await,
        _ => Err(Error::NoRoute(uri.path().to_owned())),
    }
}
