//! `POST /request`: foreign bytes become a durable job, or a refusal that says why.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use auth::{Principal, Scope};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use bytes::Bytes;
use failpoints::Point;
use ids::{JobId, ModelKey};
use nnsight::{RequestFields, ResponseModel, Status};
use program::{Batching, Checked, Limits, Program};
use store::{
    Accepted, Allowance, Blob, Client, Follow, Generation, Idempotency, JobRecord, ModelState, Objects, Place,
    Position, SMALL,
};
use telemetry::trace::{self, Step, Trace};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authenticate::Caller;
use crate::backlog::Entered;
use crate::budget::{Held, Short};
use crate::explainer::drawable;
use crate::metrics::Arrived;
use crate::spool::{self, Spool};
use crate::upload::{Coming, Upload};
use crate::{Error, Gateway, metrics, unix_millis};

/// What somebody submits, whichever way it comes.
pub struct Sent {
    /// When its head had come.
    pub arrived: Option<SystemTime>,
    pub traceparent: Option<String>,
    /// From the address that the client was given.
    pub batching: Option<Batching>,
    pub idempotency_key: Option<Bytes>,
    /// How many bytes come, if the head tells it.
    pub announced: Option<u64>,
    pub coming: Coming,
}

impl Sent {
    /// Takes a form, as nnsight's clients post it.
    pub fn form(request: Request) -> Self {
        let (parts, body) = request.into_parts();
        let text = |name: &str| parts.headers.get(name).and_then(|text| text.to_str().ok()).map(str::to_owned);
        Self {
            arrived: parts.extensions.get::<Arrived>().map(|Arrived(at)| *at),
            traceparent: text("traceparent"),
            batching: parts.extensions.get::<Batching>().copied(),
            idempotency_key: parts.headers.get("idempotency-key").map(|key| Bytes::copy_from_slice(key.as_bytes())),
            announced: text("content-length").and_then(|length| length.parse().ok()),
            coming: Coming::Form { kind: text("content-type").unwrap_or_default(), body },
        }
    }
}

/// What became of a submission.
pub enum Taken {
    /// It is this job, or was before. That is durable.
    Job(JobId),
    /// It cannot run, and a websocket waits for it.
    Raised(JobId, String),
}

/// Takes a request. Only after its job is durable is the client told `RECEIVED`.
pub async fn submit(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    request: Request,
) -> Result<Json<ResponseModel>, Error> {
    Ok(Json(match take(gateway, caller, Sent::form(request)).await? {
        Taken::Job(id) => ResponseModel::new(id.to_string(), Status::Received, "Your job has been received."),
        // The client shows this one as it shows what a running block raises.
        Taken::Raised(id, text) => ResponseModel::new(id.to_string(), Status::Error, text),
    }))
}

/// Makes a durable job of what somebody submits.
///
/// # Errors
/// What they are told.
pub async fn take(gateway: Arc<Gateway>, caller: Caller, sent: Sent) -> Result<Taken, Error> {
    let root = trace::begin("request", sent.arrived, sent.traceparent.as_deref());
    let taken = make(gateway, caller, sent, root.as_ref().map(Step::trace)).await;
    if let Some(root) = root {
        let status = taken.as_ref().map_or_else(Error::status, |_| StatusCode::OK);
        root.with("http.response.status_code", i64::from(status.as_u16())).end();
    }
    taken
}

async fn make(gateway: Arc<Gateway>, caller: Caller, sent: Sent, trace: Option<Trace>) -> Result<Taken, Error> {
    let arrival = Arrival::take(&gateway, caller, sent, trace).await?;
    let Arrival { principal, model, reading, upload, mut turn } = arrival;
    // Claimed before the job exists: a request whose answer nobody can hear is not run.
    let mut claim = match reading.fields.blocking() {
        true => {
            let key = reading.idempotency_key.as_deref();
            Some(gateway.sessions.claim(&reading.fields.session_id, &principal.tenant, key)?)
        }
        false => None,
    };

    let id = JobId::new();
    let span = tracing::Span::current();
    span.record("job", tracing::field::display(id)).record("model", tracing::field::display(&model));
    let (session, compress) = (reading.fields.session_id.clone(), reading.fields.compress);
    let blocking = reading.fields.blocking();
    let read = match reading.at_once() {
        Some(read) => Ok(read),
        None => {
            if turn.is_none() {
                turn = Some(take_turn(&gateway, &principal).await?);
            }
            tokio::task::spawn_blocking(move || reading.read(&reading.limits)).await.map_err(Error::internal)?
        }
    };
    let (payload, idempotency) = match read {
        Ok(read) => read,
        Err(Error::Program(text)) if blocking => {
            metrics::REFUSED.with(&["program"]).one();
            return Ok(Taken::Raised(id, text));
        }
        Err(error) => return Err(error),
    };
    // What was read may be much larger than what came. It has room of its own before the next is read in its place; then
    // it waits for the disk, and not for a processor.
    drop(upload);
    let room = match payload.len() as u64 {
        0..=SMALL => None,
        large => Some(granted(&gateway, gateway.uploads.take(&principal.tenant, large)).await?),
    };
    drop(turn);
    let allowance = principal.allowance();
    let client = Client { generation: Generation::Nnsight08, compress };
    let limits = gateway.settings.limits.clone();
    let record =
        JobRecord { session, client, idempotency, trace, limits, ..queued(&principal, id, model, payload.len()) };
    let entered = gateway.backlog.enter(&record)?;
    let here = CancellationToken::new();
    let _here = here.clone().drop_guard();
    if let Some(claim) = &mut claim {
        claim.spend();
    }
    let committing = Box::pin(commit(Arc::clone(&gateway), record, allowance, payload, (entered, room), here));
    // By itself, so that it is done to its end, and cleaned up after, also where the client has hung up.
    let committed = gateway.submissions.spawn(committing).await.map_err(Error::internal)?;
    let (accepted, follow) = match (committed, claim.as_mut()) {
        (Ok(accepted), _) => accepted,
        // If there is a job, it is this websocket's.
        (Err(error @ Error::Unknown { .. }), _) | (Err(error), None) => return Err(error),
        (Err(error), Some(claim)) => {
            claim.free();
            return Err(error);
        }
    };
    if let Some(mut claim) = claim {
        if accepted != id
            && let Err(error) = claim.check(&gateway.jobs, accepted).await
        {
            claim.free();
            return Err(error);
        }
        claim.attach(accepted, follow, &gateway.gone);
    }
    Ok(Taken::Job(accepted))
}

/// A request that has come whole, of who may submit it, for a model that is hosted. Whatever is refused without reading the
/// program was refused.
pub struct Arrival {
    pub principal: Principal,
    pub model: ModelKey,
    pub reading: Reading,
    pub upload: Upload,
    /// Held while more than a little is read at once: there are as many processors as there are.
    pub turn: Option<Held>,
}

impl Arrival {
    /// Takes in what a submission sends.
    ///
    /// # Errors
    /// What the client is told.
    pub async fn take(gateway: &Gateway, caller: Caller, sent: Sent, trace: Option<Trace>) -> Result<Self, Error> {
        let accepting = trace.map(|trace| trace.step("accept"));
        let principal = caller.permitted(Scope::Submit)?;
        if gateway.draining.is_cancelled() {
            return Err(Error::Stopping);
        }
        let Sent { batching, idempotency_key, announced, coming, .. } = sent;
        // Or as its key has it.
        let batching = batching.unwrap_or(principal.batching);
        let idempotency_key = idempotency_key.map(name).transpose()?;
        check_room(gateway, &principal, announced)?;
        let upload = Upload::read(gateway, &principal.tenant, announced, coming).await?;
        metrics::UPLOADED.with(&[]).add(upload.len());
        if let Some(accepting) = accepting {
            accepting.with("bytes", i64::try_from(upload.len()).unwrap_or(i64::MAX)).end();
        }
        let mut turn = None;
        if upload.len() > SMALL {
            turn = Some(take_turn(gateway, &principal).await?);
        }
        let fields = RequestFields::parse(&upload.data)?;
        let model = fields.model()?;
        let hosted_in = hosted(gateway, &principal, &model).await?;
        if let Some(adapter) = fields.environment()?.peft {
            tokio::task::spawn_blocking(move || require_adapter(&hosted_in, &adapter))
                .await
                .map_err(Error::internal)??;
        }
        let (blob, folder, limits) = (upload.blob.clone(), gateway.folder.clone(), gateway.settings.limits.clone());
        let reading = Reading { fields, blob, folder, batching, limits, idempotency_key, trace };
        Ok(Self { principal, model, reading, upload, turn })
    }
}

/// Makes the record of a job that somebody submits, whose program takes so many bytes.
pub fn queued(principal: &Principal, id: JobId, model: ModelKey, payload_bytes: usize) -> JobRecord {
    let allowance = principal.allowance();
    let (tenant, key) = (principal.tenant.clone(), principal.key.clone());
    JobRecord {
        project: principal.project.clone().unwrap_or_default(),
        metered: allowance.meters(),
        at_once: allowance.at_once(),
        class: principal.class(),
        payload_bytes: payload_bytes as u64,
        ..JobRecord::queued(id, tenant, key, model, Blob::Inline(Bytes::new()), unix_millis())
    }
}

/// Keeps a payload and makes its job durable. Returns the job that stands for the request, and how to follow it.
/// Nothing of a request that becomes no job stays behind.
async fn commit(
    gateway: Arc<Gateway>,
    mut record: JobRecord,
    allowance: Allowance,
    payload: Bytes,
    (entered, room): (Entered, Option<Held>),
    gone: CancellationToken,
) -> Result<(JobId, Follow), Error> {
    let id = record.id;
    let place = Place::payload(&record.tenant, id);
    let mut kept = Kept { objects: gateway.objects.clone(), tasks: gateway.submissions.clone(), place: None };
    if payload.len() > gateway.objects.inline_bytes() {
        kept.place = Some(place.clone());
    }
    let drawable = drawable(&payload);
    let keeping = gateway.objects.keep(&place, payload).await;
    record.payload = keeping.map_err(|error| Error::objects(&gateway.objects, error))?;
    record.keeps_program = drawable && gateway.jobs.keeps_program(&record.payload);
    if kept.place.is_some() {
        failpoints::pass(Point::PayloadKept);
    }
    drop(room);
    let new = gateway.jobs.follow_new(id).await?;
    if gone.is_cancelled() {
        // The client hung up before anything was promised.
        return Err(Error::Busy);
    }
    let committing = record.trace.map(|trace| trace.step("commit").with("job", id.to_string()));
    let accepting = async {
        match record.metered {
            true => gateway.jobs.accept_within(&record, &allowance).await,
            false => gateway.jobs.accept(&record).await,
        }
    };
    let accepted = timeout(gateway.jobs.deadline(), accepting).await;
    if let Some(committing) = committing {
        let (tenant, model) = (record.tenant.to_string(), record.model.to_string());
        committing.with("tenant", tenant).with("model", model).end();
    }
    let accepted = match accepted {
        Ok(Ok(accepted)) => accepted,
        // It was asked again and again and nobody can say. If there is a job, it needs its payload.
        Err(_) | Ok(Err(store::Error::Unavailable { maybe_done: true, .. })) => {
            kept.place = None;
            return Err(Error::Unknown { job: id, named: record.idempotency.is_some() });
        }
        // Nothing was done.
        Ok(Err(error @ (store::Error::Unavailable { .. } | store::Error::OverQuota(_) | store::Error::Crowded))) => {
            return Err(error.into());
        }
        // What failed may have been done all the same.
        Ok(Err(error)) => match gateway.jobs.find(id).await {
            Ok(Some(_)) => Accepted::New,
            Ok(None) => return Err(error.into()),
            Err(_) => {
                // Nobody can say. A job without its payload would be worse than a payload without its job.
                kept.place = None;
                return Err(error.into());
            }
        },
    };
    failpoints::pass(Point::Accepted);
    let (accepted, follow) = match accepted {
        Accepted::Before(earlier) if earlier != id => {
            (earlier, gateway.jobs.follow(earlier, Position::default()).await?)
        }
        Accepted::New | Accepted::Before(_) => {
            kept.place = None;
            entered.stay();
            metrics::ACCEPTED.with(&[record.tenant.as_str()]).one();
            (id, new)
        }
    };
    let JobRecord { tenant, model, payload, .. } = &record;
    tracing::info!(job = %accepted, %tenant, %model, bytes = payload.len(), "accepted");
    Ok((accepted, follow))
}

/// A payload that no job names yet; dropping it removes it.
struct Kept {
    objects: Objects,
    tasks: TaskTracker,
    place: Option<Place>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let objects = self.objects.clone();
        self.tasks.spawn(async move {
            if let Err(error) = objects.delete(&place).await {
                tracing::warn!(%error, place = place.as_str(), "a payload without a job is left behind");
            }
        });
    }
}

/// A payload about to become a program.
pub struct Reading {
    fields: RequestFields,
    blob: Bytes,
    /// Where what is large lies meanwhile.
    folder: PathBuf,
    batching: Batching,
    pub limits: Limits,
    idempotency_key: Option<String>,
    trace: Option<Trace>,
}

/// A checked program, encoded as the worker reads it, and what tells the same request when it comes again.
type Read = (Bytes, Option<Idempotency>);

impl Reading {
    /// Reads what is little work, in place of handing it to another thread, which would be more. `None` where it turns
    /// out to be much, or fails: few bytes can ask for much work.
    fn at_once(&self) -> Option<Read> {
        let few = self.blob.len() as u64 <= SMALL && self.fields.content_bytes(&self.blob).is_some_and(|n| n <= SMALL);
        let little = usize::try_from(SMALL).unwrap_or(usize::MAX);
        let limits = Limits {
            decoded_bytes: self.limits.decoded_bytes.min(SMALL),
            source_bytes: self.limits.source_bytes.min(little),
            ..self.limits.clone()
        };
        few.then(|| self.read(&limits).ok()).flatten()
    }

    fn read(&self, limits: &Limits) -> Result<Read, Error> {
        let (_, payload) = self.checked(limits)?;
        let idempotency = match &self.idempotency_key {
            Some(key) => Some(Idempotency { key: key.clone(), digest: self.digest()? }),
            None => None,
        };
        Ok((payload, idempotency))
    }

    /// Reads and checks the program, and encodes it as the worker reads it.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn checked(&self, limits: &Limits) -> Result<(Checked<Program>, Bytes), Error> {
        let decoding = self.trace.map(|trace| trace.step("decode"));
        let mut program = self.decode(limits)?;
        program.env.batching.get_or_insert(self.batching);
        trace::end(decoding);
        let checking = self.trace.map(|trace| trace.step("check"));
        let (checked, code) = program::lowered(program, limits).map_err(|error| Error::Program(error.to_string()))?;
        if let Some(refused) = explain::refusal(&checked, &code, limits) {
            return Err(Error::Program(refused));
        }
        let payload = self.encode(checked.get())?;
        trace::end(checking);
        Ok((checked, payload))
    }

    fn decode(&self, limits: &Limits) -> Result<Program, Error> {
        let few = self.fields.content_bytes(&self.blob).is_some_and(|bytes| bytes <= spool::HELD as u64);
        if few || !self.fields.compress {
            return Ok(nnsight::decode(&self.fields, &self.blob, limits)?);
        }
        let mut payload = Spool::new(&self.folder);
        nnsight::decompress_to(&self.blob, limits.decoded_bytes, |piece| {
            payload.write_all(piece).map_err(Error::disk)
        })?;
        Ok(nnsight::decode_payload(&self.fields, &payload.finish().map_err(Error::disk)?, limits)?)
    }

    fn encode(&self, program: &Program) -> Result<Bytes, Error> {
        if program.heap.bytes() <= spool::HELD as u64 {
            return program.encode().map(Bytes::from).map_err(Error::internal);
        }
        let mut payload = Spool::new(&self.folder);
        let encoded = program.encode_to(&mut payload);
        // Why it could not be written, if that is it.
        let payload = payload.finish().map_err(Error::disk)?;
        encoded.map(|()| payload).map_err(Error::internal)
    }

    /// Tells one request from another: by all that decides what it computes, and not by the websocket that waits for it,
    /// which is another when the client tries again.
    fn digest(&self) -> Result<[u8; 32], Error> {
        let RequestFields { model_key, compress, env, session_id: _ } = &self.fields;
        let fields = serde_json::to_vec(&(model_key, compress, env, self.batching)).map_err(Error::internal)?;
        let mut hasher = blake3::Hasher::new();
        // The length keeps the two parts apart.
        hasher.update(&(fields.len() as u64).to_le_bytes()).update(&fields).update(&self.blob);
        Ok(hasher.finalize().into())
    }
}

/// Waits for a processor, fairly among tenants.
pub async fn take_turn(gateway: &Gateway, principal: &Principal) -> Result<Held, Error> {
    granted(gateway, gateway.decodes.take(&principal.tenant, 1)).await
}

/// Waits for a part of a budget, and not for ever. Clients do not try again: a burst waits.
pub async fn granted(gateway: &Gateway, part: impl Future<Output = Result<Held, Short>>) -> Result<Held, Error> {
    match timeout(gateway.settings.upload_patience, part).await {
        Ok(part) => Ok(part?),
        Err(_) => Err(Error::Busy),
    }
}

/// Refuses by the announced length, before a byte of the body is read.
fn check_room(gateway: &Gateway, principal: &Principal, announced: Option<u64>) -> Result<(), Error> {
    let limit = gateway.settings.body_bytes;
    let length = announced.unwrap_or(0);
    if length > limit as u64 {
        return Err(Error::TooLarge { limit });
    }
    gateway.backlog.check(&principal.tenant, length)?;
    // Room for the payload, with what the store keeps in reserve. What one tenant has waiting leaves as much again to
    // the others.
    let waiting = gateway.backlog.bytes(&principal.tenant);
    match gateway.objects.check_space(waiting.saturating_add(length)) {
        Err(store::Error::NoSpace { .. }) => {
            gateway.objects.check_space(length)?;
            Err(Error::OwnDiskFull { bytes: waiting })
        }
        checked => Ok(checked?),
    }
}

/// Reads an idempotency key.
fn name(key: Bytes) -> Result<String, Error> {
    match String::from_utf8(key.into()) {
        // It becomes part of a key of the metadata store.
        Ok(text)
            if (1..=128).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) =>
        {
            Ok(text)
        }
        _ => Err(Error::Malformed("Idempotency-Key must be 1 to 128 letters, digits, '-', '_' or '.'".into())),
    }
}

/// Refuses a model that is not hosted, cannot be, or is not for who asks. For one that is loading, or whose worker is being replaced, the
/// job waits in the queue.
async fn hosted(gateway: &Gateway, principal: &Principal, model: &ModelKey) -> Result<PathBuf, Error> {
    let Some(record) = gateway.models.get(model).await? else {
        let hosted = gateway.models.list().await?.into_iter().map(|record| record.key);
        let hosted = hosted.filter(|model| principal.admitted(model)).collect();
        return Err(Error::UnknownModel { asked: model.clone(), hosted });
    };
    if !principal.admitted(model) {
        return Err(Error::NotForYou(model.clone()));
    }
    match record.state {
        ModelState::Ready | ModelState::Waiting | ModelState::Cold | ModelState::Loading { .. } => Ok(record.folder),
        ModelState::Failed(reason) => Err(Error::BrokenModel { model: model.clone(), reason }),
    }
}

/// Requires that a model has an adapter, as far as its folder is here: where its weights are not, its adapters need not be
/// either, and the worker says it.
fn require_adapter(model: &Path, name: &str) -> Result<(), Error> {
    let weights = |entry: std::fs::DirEntry| entry.path().extension().is_some_and(|end| end == "safetensors");
    let whole = || std::fs::read_dir(model).is_ok_and(|entries| entries.flatten().any(weights));
    let found = program::adapter::folder(model, name);
    match found.is_some_and(|folder| folder.join(program::adapter::CONFIG).is_file()) || !whole() {
        true => Ok(()),
        false => Err(Error::Program(format!("ValueError: {}", program::adapter::missing(name)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_that_a_whole_folder_lacks_is_refused_when_it_is_asked_for() {
        let model = std::env::temp_dir().join(format!("adapters-of-{}", std::process::id()));
        let adapter = model.join("adapters/o/n");
        std::fs::create_dir_all(&adapter).unwrap();
        std::fs::write(adapter.join("adapter_config.json"), "{}").unwrap();
        assert!(require_adapter(&model, "o/n").is_ok());
        assert!(
            require_adapter(&model, "o/other").is_ok(),
            "there are no weights here, so there may be adapters elsewhere"
        );
        std::fs::write(model.join("model.safetensors"), "").unwrap();
        assert!(require_adapter(&model, "o/n").is_ok());
        for name in ["o/other", "../x"] {
            let says = require_adapter(&model, name).unwrap_err().to_string();
            assert!(says.contains("adapters/REPO_ID"), "{says}");
        }
        std::fs::remove_dir_all(model).unwrap();
    }

    fn reading(blob: Vec<u8>) -> Reading {
        let key = r#"m:{"repo_id": "o/n", "revision": null}"#;
        let fields = serde_json::json!({ "model_key": key, "session_id": "one" });
        Reading {
            fields: RequestFields::parse(fields.to_string().as_bytes()).unwrap(),
            blob: blob.into(),
            folder: std::env::temp_dir(),
            batching: Batching::Shared,
            limits: Limits::default(),
            idempotency_key: Some("key".into()),
            trace: None,
        }
    }

    fn text(text: &str) -> Vec<u8> {
        [b"X".as_slice(), &u32::try_from(text.len()).unwrap().to_le_bytes(), text.as_bytes()].concat()
    }

    /// A session's payload that reads a value, written as Python's pickler would.
    fn payload(value: &[u8]) -> Vec<u8> {
        let new =
            |name: &str, state: Vec<u8>| [b"cnnsight.tracing.t\n", name.as_bytes(), b"\n)\x81", &state, b"b"].concat();
        let dict = |entries: &[(&str, Vec<u8>)]| {
            let entries: Vec<u8> =
                entries.iter().flat_map(|(name, value)| [text(name), value.clone()].concat()).collect();
            [b"}(".to_vec(), entries, b"u".to_vec()].concat()
        };
        let code = new("Code", dict(&[("co_filename", text("f.py")), ("co_name", text("<module>"))]));
        let tracer =
            new("Tracer", dict(&[("info", new("Info", dict(&[("frame", new("Frame", dict(&[("f_code", code)])))])))]));
        let block = [b"(".to_vec(), text("x"), dict(&[]), dict(&[("x", value.to_vec())]), b"t".to_vec()].concat();
        [b"\x80\x04".to_vec(), tracer, block, b"\x86.".to_vec()].concat()
    }

    #[test]
    fn few_bytes_that_ask_for_much_work_are_not_read_where_sockets_are_served() {
        assert!(reading(payload(b"K\x07")).at_once().is_some());
        let much = reading(payload(&text(&"y".repeat(70_000))));
        assert!(much.at_once().is_none() && much.read(&much.limits).is_ok());
        // One text of 30 KB, named 500 times as the source of a function.
        let load = b"cnnsight.intervention.serialization\n_load_function\n\x94(".to_vec();
        let first = [
            load,
            text(&"#".repeat(30_000)),
            b"\x94".to_vec(),
            text("f"),
            b"\x94)}NX\x01\x00\x00\x00fK\x01tR".to_vec(),
        ];
        let more = b"h\x00(h\x01h\x02)}NX\x01\x00\x00\x00fK\x01tR".repeat(500);
        let bomb = reading(payload(&[b"](".to_vec(), first.concat(), more, b"e".to_vec()].concat()));
        assert!(bomb.blob.len() as u64 <= SMALL, "{} bytes", bomb.blob.len());
        assert!(bomb.at_once().is_none());
        let (program, _) = bomb.read(&bomb.limits).unwrap();
        // They are read 500 times, and kept once.
        let holds = program::frame::content(&program).unwrap();
        assert!((30_000..60_000).contains(&holds), "{holds} bytes");
        assert!(program.len() < 2_000, "{} bytes of one character again and again", program.len());
    }

    #[test]
    fn a_request_is_the_same_whichever_websocket_waits_for_it_and_another_when_it_computes_anything_else() {
        let digest = |reading: Reading| reading.at_once().unwrap().1.unwrap().digest;
        let first = digest(reading(payload(b"K\x07")));
        let mut again = reading(payload(b"K\x07"));
        again.fields.session_id = "two".into();
        assert_eq!(digest(again), first);
        let mut compressed = reading(payload(b"K\x07"));
        compressed.fields.env.insert("attn_implementation".into(), "eager".into());
        assert_ne!(digest(compressed), first);
        assert_ne!(digest(Reading { batching: Batching::Exclusive, ..reading(payload(b"K\x07")) }), first);
        assert_ne!(digest(reading(payload(b"K\x08"))), first);
    }
}
