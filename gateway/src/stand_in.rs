//! Stands in for a server on a researcher's own machine: it hands on what a client submits, and runs nothing.

use std::convert::Infallible;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use ids::JobId;
use nnsight::{ResponseModel, Status};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// Bytes of a body that are taken.
const BODY_BYTES: usize = 1 << 30;

/// What a client has submitted.
pub struct Submitted {
    /// Its `Content-Type`.
    pub kind: String,
    pub body: Bytes,
    /// Takes what the client is told that the server says.
    pub told: oneshot::Sender<String>,
}

/// Takes submissions until it is dropped. Each is handed to `submissions`; its client is told what comes of it as the error
/// of a job, which is where its script ends unless it catches that. One that does not wait for its job is told that it was
/// received, and hears the same when it asks for it.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, submissions: mpsc::Sender<Submitted>) -> std::io::Result<Infallible> {
    let app = Router::new()
        .route("/subscribe", get(subscribe))
        .route("/request", post(request))
        .route("/response/{job}", get(response))
        .fallback(nothing)
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(submissions);
    axum::serve(listener, app).await?;
    Err(std::io::Error::other("it ended"))
}

async fn subscribe(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(wait)
}

/// Names the session, and waits until the client goes: what becomes of its request, the answer to that says.
async fn wait(mut socket: WebSocket) {
    let session = json!({ "session_id": JobId::new().to_string() }).to_string();
    if socket.send(Message::Text(session.into())).await.is_ok() {
        while let Some(Ok(_)) = socket.recv().await {}
    }
}

async fn request(State(submissions): State<mpsc::Sender<Submitted>>, headers: HeaderMap, body: Bytes) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
    // One that cannot be read here waits as most do.
    let waits = crate::form(&kind, body.clone())
        .ok()
        .and_then(|(data, _)| nnsight::RequestFields::parse(&data).ok())
        .is_none_or(|fields| fields.blocking());
    let (told, says) = oneshot::channel();
    let handed = submissions.send(Submitted { kind, body, told }).await.is_ok();
    let says = if handed { says.await.ok() } else { None };
    let says = says.unwrap_or_else(|| NOT_RUN.to_owned());
    let (status, says) = if waits { (Status::Error, says) } else { (Status::Received, NOT_RUN.to_owned()) };
    Json(ResponseModel::new(JobId::new().to_string(), status, says)).into_response()
}

async fn response(axum::extract::Path(job): axum::extract::Path<String>) -> Response {
    Json(ResponseModel::new(job, Status::Error, NOT_RUN)).into_response()
}

async fn nothing() -> Response {
    let why = "the program is only looked at here: nothing is answered but submissions";
    (StatusCode::NOT_FOUND, Json(json!({ "detail": why }))).into_response()
}

/// What a client is told of a job that does not exist.
const NOT_RUN: &str = "the program was looked at and not run";
