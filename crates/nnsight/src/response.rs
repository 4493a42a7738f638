//! What the client is told about its job.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::encode::archive::Archive;
use crate::pickle::Writer;
use crate::pickle::opcode::{APPENDS, EMPTY_DICT, EMPTY_LIST, MARK, SETITEMS};

/// Where a job is, in the client's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    Received,
    Queued,
    Provisioning,
    Deploying,
    Dispatched,
    Running,
    Completed,
    Error,
    /// A line that the block printed; no step of the job's life.
    Log,
}

impl Status {
    /// Returns the name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "RECEIVED",
            Self::Queued => "QUEUED",
            Self::Provisioning => "PROVISIONING",
            Self::Deploying => "DEPLOYING",
            Self::Dispatched => "DISPATCHED",
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Error => "ERROR",
            Self::Log => "LOG",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One update, as JSON: the answer to `POST /request`, a text frame of the websocket, or `GET /response/{id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResponseModel {
    pub id: String,
    pub status: Status,
    #[serde(default)]
    pub description: String,
    /// With `COMPLETED`, the URL of the result.
    #[serde(default)]
    pub data: Option<Value>,
    /// What the job cost.
    #[serde(default)]
    pub meta: Option<Map<String, Value>>,
}

impl ResponseModel {
    /// Makes an update that carries no result.
    pub fn new(id: impl Into<String>, status: Status, description: impl Into<String>) -> Self {
        Self { id: id.into(), status, description: description.into(), data: None, meta: None }
    }
}

/// Writes an update that carries the result itself, as a binary frame of the websocket: a `torch.save` archive of a
/// plain dict. `data` is what [`crate::encode_saved`] returned.
#[must_use]
pub fn binary_frame(
    id: &str,
    status: Status,
    description: &str,
    data: &[u8],
    meta: Option<&Map<String, Value>>,
) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.op(EMPTY_DICT);
    writer.op(MARK);
    for (name, text) in [("id", id), ("status", status.as_str()), ("description", description)] {
        writer.text(name);
        writer.text(text);
    }
    if let Some(meta) = meta {
        writer.text("meta");
        dict(&mut writer, meta);
    }
    writer.text("data");
    writer.raw_header(data.len());
    let before = writer.take();
    writer.op(SETITEMS);
    let after = writer.finish();
    let archive = Archive::new(vec![&before, data, &after]);
    let mut frame = Vec::with_capacity(usize::try_from(archive.length()).unwrap_or(0));
    // Writing to memory does not fail.
    let _ = archive.write(&mut frame);
    frame
}

fn dict(writer: &mut Writer, entries: &Map<String, Value>) {
    writer.op(EMPTY_DICT);
    writer.op(MARK);
    for (name, value) in entries {
        writer.text(name);
        json(writer, value);
    }
    writer.op(SETITEMS);
}

/// Writes JSON as Python reads it. Recurses: the value is the server's own.
fn json(writer: &mut Writer, value: &Value) {
    match value {
        Value::Null => writer.none(),
        Value::Bool(value) => writer.boolean(*value),
        Value::String(text) => writer.text(text),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => writer.integer(number),
            (None, Some(number)) => writer.big(&number.into()),
            (None, None) => writer.float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::Array(items) => {
            writer.op(EMPTY_LIST);
            writer.op(MARK);
            items.iter().for_each(|item| json(writer, item));
            writer.op(APPENDS);
        }
        Value::Object(entries) => dict(writer, entries),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_are_the_json_that_the_client_reads() {
        let update = ResponseModel::new("7", Status::Queued, "second in line");
        let json = r#"{"id":"7","status":"QUEUED","description":"second in line","data":null,"meta":null}"#;
        assert_eq!(serde_json::to_string(&update).unwrap(), json);
        assert_eq!(
            serde_json::from_str::<ResponseModel>(r#"{"id":"7","status":"QUEUED","x":1}"#).unwrap().description,
            ""
        );
        assert_eq!(serde_json::to_value(Status::Completed).unwrap(), Status::Completed.as_str());
    }
}
