//! The worker's words to and from the scheduler, between what the engine means and the wire.

use engine::{Fault, Usage};
use ids::{JobId, ModelKey, Token};
use proto::v1;
use proto::v1::from_worker::Message;
use store::{Blob, DeviceMemory, messages};

use crate::model::{Finding, Load, RankHost, State};

/// Bytes of a failure's text. A traceback longer than this tells nobody more.
const FAILURE_BYTES: usize = 64 << 10;

/// Wraps a message.
pub fn from_worker(message: Message) -> v1::FromWorker {
    v1::FromWorker { message: Some(message) }
}

/// Writes how far a model is, where it is, or was asked to be, and what its weights take that are kept in memory.
pub fn model_state(key: &ModelKey, state: &State, asked: Option<&str>, kept: u64) -> v1::ModelState {
    let hopeless = matches!(state, State::Failed(failed) if failed.hopeless);
    let place = match state {
        State::Ready(place) => Some(place),
        State::Failed(failed) => failed.no_room.as_ref(),
        State::Loading(_) | State::Unloaded => None,
    };
    let state = match state {
        State::Loading(fraction) => v1::model_state::State::Loading(*fraction),
        State::Ready(_) => v1::model_state::State::Ready(true),
        State::Failed(failed) if failed.no_room.is_some() => v1::model_state::State::NoRoom(true),
        State::Failed(failed) => v1::model_state::State::Failed(failed.why.clone()),
        State::Unloaded => v1::model_state::State::Unloaded(true),
    };
    let device = place.and_then(|place| place.device.as_deref()).or(asked).unwrap_or_default().to_owned();
    let bytes = place.map_or(0, |place| place.bytes);
    let outline = place.map(|place| place.outline.clone()).unwrap_or_default();
    let warm = place.is_some_and(|place| place.warm);
    let model = Some(messages::model(key));
    let rank_hosts = Vec::new();
    v1::ModelState { model, state: Some(state), hopeless, bytes, device, outline, kept_bytes: kept, warm, rank_hosts }
}

/// Names the workers that hold a model's other ranks.
pub fn rank_hosts(hosts: &[RankHost]) -> Vec<v1::RankHost> {
    let host = |RankHost { worker, device, .. }: &RankHost| {
        let (worker, device) = (worker.clone(), device.clone());
        v1::RankHost { worker, device, ..v1::RankHost::default() }
    };
    hosts.iter().map(host).collect()
}

/// Tells how far a model is.
pub fn told_model(key: &ModelKey, state: &State, asked: Option<&str>, kept: u64) -> v1::FromWorker {
    from_worker(Message::ModelState(model_state(key, state, asked, kept)))
}

/// Writes that a job runs.
pub fn started(job: JobId, token: Token) -> v1::FromWorker {
    let Token { epoch, attempt } = token;
    from_worker(Message::Started(v1::Started { job_id: job.to_string(), attempt, epoch }))
}

/// Writes that a job has run and its result is being written.
pub fn ran(job: JobId, token: Token) -> v1::FromWorker {
    let Token { epoch, attempt } = token;
    from_worker(Message::Ran(v1::Ran { job_id: job.to_string(), attempt, epoch }))
}

/// Writes what a job printed.
pub fn log(job: JobId, token: Token, number: u32, text: String) -> v1::FromWorker {
    let Token { epoch, attempt } = token;
    from_worker(Message::Log(v1::Log { job_id: job.to_string(), attempt, number, text, epoch }))
}

/// Writes that a job was let go: it may run elsewhere.
pub fn let_go(job: JobId, token: Token) -> v1::FromWorker {
    failed(job, token, Fault::Cancelled, "", &Usage::default())
}

/// Writes the end of a job that failed.
pub fn failed(job: JobId, token: Token, fault: Fault, text: &str, usage: &Usage) -> v1::FromWorker {
    let fault = match fault {
        Fault::User => v1::Fault::User,
        Fault::Limit => v1::Fault::Limit,
        Fault::Server => v1::Fault::Server,
        // It is let go: it may run elsewhere, or here when others have ended.
        Fault::Cancelled | Fault::Crowded => v1::Fault::Cancelled,
    };
    from_worker(Message::Failed(v1::Failed {
        job_id: job.to_string(),
        attempt: token.attempt,
        fault: fault.into(),
        text: shortened(text),
        usage: self::usage(usage),
        epoch: token.epoch,
    }))
}

/// Writes the end of a job that finished.
pub fn finished(job: JobId, token: Token, result: &Blob, usage: &Usage) -> v1::FromWorker {
    from_worker(Message::Finished(v1::Finished {
        job_id: job.to_string(),
        attempt: token.attempt,
        result: Some(messages::blob(result)),
        usage: self::usage(usage),
        epoch: token.epoch,
    }))
}

/// Writes that a model is not what it was.
pub fn found(model: &ModelKey, finding: Finding) -> v1::FromWorker {
    let (why, weights) = match finding {
        Finding::Numbers(why) => (why, false),
        Finding::Weights(why) => (why, true),
    };
    from_worker(Message::Drifted(v1::Drifted { model: Some(messages::model(model)), why: shortened(&why), weights }))
}

/// Writes what lies in a device's memory, as people read numbers: what changes by less than a hundredth is not told anew.
pub fn memory(memory: &DeviceMemory) -> v1::DeviceMemory {
    let kinds = memory.kinds.iter().map(|(kind, bytes)| (kind.clone(), rounded(*bytes))).collect();
    messages::memory(&DeviceMemory { device: memory.device.clone(), kinds })
}

/// Rounds down to eight significant bits.
fn rounded(bytes: u64) -> u64 {
    let dropped = (u64::BITS - bytes.leading_zeros()).saturating_sub(8);
    bytes >> dropped << dropped
}

/// Reads which time a job was given out.
pub fn given(given: &v1::Given) -> Option<(JobId, Token)> {
    Some((given.job_id.parse().ok()?, Token { epoch: given.epoch, attempt: given.attempt }))
}

/// Reads the order to load a model.
pub fn load(load: v1::LoadModel) -> Option<Load> {
    let v1::LoadModel { model, folder, dtype, device, ranks, keep, residency, rank_hosts } = load;
    let (ranks, streamed) = (ranks.unwrap_or(1).max(1), residency.as_deref() == Some("stream"));
    let host = |v1::RankHost { worker, address, device }| RankHost { worker, address, device };
    let (key, rank_hosts) = (messages::read_model(model?), rank_hosts.into_iter().map(host).collect());
    Some(Load { key, folder: folder.into(), dtype, device, ranks, rank_hosts, streamed, keep })
}

fn usage(usage: &Usage) -> String {
    let json = serde_json::json!({
        "execution_time_s": usage.seconds,
        "forwards": usage.forwards,
        "occupancy": if usage.forwards == 0 { 0.0 } else { usage.shared as f64 / usage.forwards as f64 },
        "rows": usage.rows,
        "tokens": usage.tokens,
        "forks": usage.forks,
        "layers_run": usage.layers_run,
        "layers_skipped": usage.layers_skipped,
        "batching": usage.batching.name(),
        "shape_class": (!usage.shapes.is_empty()).then(|| usage.shapes.to_string()),
        "fuel": usage.fuel,
    });
    json.to_string()
}

/// Cuts the middle out of a long text: a traceback's two ends say most.
fn shortened(text: &str) -> String {
    if text.len() <= FAILURE_BYTES {
        return text.to_owned();
    }
    let head = text.floor_char_boundary(FAILURE_BYTES / 2);
    let tail = text.ceil_char_boundary(text.len() - FAILURE_BYTES / 2);
    let (head, tail) = (text.get(..head).unwrap_or_default(), text.get(tail..).unwrap_or_default());
    format!("{head}\n[… {} bytes …]\n{tail}", text.len() - head.len() - tail.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_within_a_hundredth() {
        for bytes in [0, 1, 255, 256, 257, 511, 1_000_003, u64::MAX] {
            let told = rounded(bytes);
            assert!(told <= bytes && bytes - told <= bytes / 100, "{bytes}: {told}");
        }
        assert_eq!(rounded(1_000_003), rounded(1_000_900));
    }

    #[test]
    fn a_long_text_keeps_its_two_ends() {
        let text = format!("first{}last", "é".repeat(FAILURE_BYTES));
        let short = shortened(&text);
        assert!(short.len() < FAILURE_BYTES + 64);
        assert!(short.starts_with("first") && short.ends_with("last"));
        assert_eq!(shortened("as it is"), "as it is");
    }
}
