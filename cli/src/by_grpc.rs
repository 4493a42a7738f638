//! The second port of a gateway, where there is one.

use std::sync::Arc;

use anyhow::Result;
use gateway::Gateway;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::listen::Listen;
use crate::serving::{self, LINGER};

/// What serves gRPC.
pub struct ByGrpc {
    server: Option<JoinHandle<Result<(), gateway::Error>>>,
}

impl ByGrpc {
    /// Serves until `stop` is cancelled, and says where.
    ///
    /// # Errors
    /// When stdout is closed.
    pub fn serve(listen: Option<Listen>, gateway: &Arc<Gateway>, stop: &CancellationToken) -> Result<Self> {
        let Some(listen) = listen else { return Ok(Self { server: None }) };
        serving::say(&format!("grpc {}", listen.url()))?;
        let Listen { listener, tls, .. } = listen;
        if let Some(tls) = tls.clone() {
            tokio::spawn(async move { tls.follow().await });
        }
        let stopped = stop.clone().cancelled_owned();
        let server = tokio::spawn(gateway::serve_grpc(listener, tls, Arc::clone(gateway), stopped));
        Ok(Self { server: Some(server) })
    }

    /// Resolves when it has ended, which only a fault makes it do before it is stopped.
    ///
    /// Cancel safe.
    pub async fn ended(&mut self) -> Result<Result<(), gateway::Error>, JoinError> {
        match &mut self.server {
            Some(server) => server.await,
            None => std::future::pending().await,
        }
    }

    /// Waits a while for its connections, once it was stopped.
    pub async fn close(self) {
        let Some(server) = self.server else { return };
        match timeout(LINGER, server).await {
            Ok(Ok(Ok(()))) => {}
            Ok(ended) => tracing::warn!(error = %serving::broken(ended), "the server of gRPC ended badly"),
            Err(_) => tracing::debug!("connections of gRPC were still open at the end"),
        }
    }
}
