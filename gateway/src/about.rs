//! What the server says about itself and about the caller.

use std::sync::Arc;

use auth::Scope;
use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};
use store::ModelState;

use crate::authenticate::Caller;
use crate::{Error, Gateway};

/// The class that the client's model keys name for every model of the `transformers` library.
const MODEL_CLASS: &str = "nnsight.modeling.transformers.TransformersModel";
const TASK: &str = "text-generation";

/// `GET /status`: the hosted models, in the client's terms.
pub async fn status(State(gateway): State<Arc<Gateway>>) -> Result<Json<Value>, Error> {
    let mut deployments = Map::new();
    for record in gateway.models.list().await? {
        let (repo_id, revision) = (record.key.repo_id(), record.key.revision());
        // The text that the client computes for its own model: Python's `json.dumps`, spaces included.
        let model_key = format!(
            r#"{MODEL_CLASS}:{{"repo_id": {}, "revision": {}, "task": "{TASK}"}}"#,
            json!(repo_id),
            json!(revision)
        );
        let (level, state) = match record.state {
            ModelState::Ready => ("HOT", "RUNNING"),
            ModelState::Waiting | ModelState::Loading { .. } => ("WARM", "DEPLOYING"),
            ModelState::Cold if record.warm > 0 => ("WARM", "NOT_STARTED"),
            ModelState::Cold => ("COLD", "NOT_STARTED"),
            ModelState::Failed(_) => ("WARM", "UNHEALTHY"),
        };
        let deployment = json!({
            "model_key": model_key, "repo_id": repo_id, "task": TASK, "revision": revision,
            "trust_remote_code": false, "deployment_level": level, "application_state": state,
        });
        deployments.insert(format!("{model_key}#0"), deployment);
    }
    Ok(Json(json!({ "deployments": deployments })))
}

/// `GET /env`: the versions whose behaviour this server reproduces. It runs no Python itself.
pub async fn env() -> Json<Value> {
    Json(json!({
        "python_version": "none: blocks are evaluated without Python, as Python 3.11 would",
        "packages": { "nnsight": "0.8.1", "torch": "2.11.0", "transformers": "5.22.2", "vitrine": env!("CARGO_PKG_VERSION") },
    }))
}

/// `GET /whoami`: nobody is an answer, not an error; the client's `login` relies on that.
pub async fn whoami(caller: Caller) -> Json<Value> {
    Json(match caller {
        Caller::Nobody | Caller::Unknown | Caller::Suspended(_) | Caller::Refused(_) => {
            json!({ "email": null, "tags": [] })
        }
        Caller::Known(principal) => {
            let mut tags = vec![format!("key:{}", principal.key)];
            let scopes = [(Scope::Submit, "submit"), (Scope::Operate, "operate"), (Scope::Admin, "admin")];
            tags.extend(scopes.iter().filter(|(scope, _)| principal.may(*scope)).map(|(_, name)| (*name).to_owned()));
            json!({ "email": principal.tenant, "tags": tags })
        }
    })
}

/// `GET /ping`, as servers of earlier clients had it.
pub async fn ping() -> Json<&'static str> {
    Json("pong")
}

/// `GET /healthz`: the process answers. It looks at nothing else, so that only a restart's worth of trouble fails it.
pub async fn healthz() -> &'static str {
    "ok"
}

/// `GET /readyz`: whether a job that came now would be taken. Models may still load: their jobs wait.
pub async fn readyz(State(gateway): State<Arc<Gateway>>) -> Result<&'static str, Error> {
    gateway.ready().await.map(|()| "ready")
}
