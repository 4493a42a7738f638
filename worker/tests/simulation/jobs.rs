//! Jobs that run for as long as they say, and which simulations are run.

use std::ops::Range;

use ids::{JobId, KeyId, ModelKey, TenantId};
use program::{Entry, Env, Heap, Program, Source};
use scheduler::HostedModel;
use store::{Blob, JobRecord, Outcome, State};

/// Returns the one model that is hosted.
pub fn hosted() -> HostedModel {
    HostedModel { key: model(), folder: "/models/tiny".into(), dtype: None, device: None, ranks: 1, residency: None }
}

fn model() -> ModelKey {
    ModelKey::new("test/tiny", None)
}

/// Makes a job that runs for so many milliseconds.
pub fn queued(tenant: TenantId, run: u64, now: u64) -> JobRecord {
    let program = Program {
        model: model(),
        env: Env::default(),
        entry: Entry::Session,
        modules: Vec::new(),
        source: Source { text: run.to_string(), ..Source::default() },
        heap: Heap::default(),
        locals: Vec::new(),
        globals: Vec::new(),
    };
    let payload = Blob::Inline(program.encode().unwrap().into());
    JobRecord::queued(JobId::new(), tenant, KeyId::new("key"), model(), payload, now)
}

/// Fails where a job did not end as it must: with its own result, or as somebody asked.
pub fn ended_well(record: &JobRecord, cancelled: bool, workers_die: bool) {
    let job = record.id;
    match (&record.state, &record.outcome) {
        (State::Completed, Some(Outcome::Result(Blob::Inline(bytes)))) => {
            let own = job.to_string();
            assert!(bytes.windows(own.len()).any(|window| window == own.as_bytes()), "{job} has another's");
        }
        (State::Cancelled, None) => assert!(cancelled, "{job} was cancelled by nobody"),
        // Who is alone with three processes that die is blamed, as it must be.
        (State::Failed, Some(Outcome::Failure { .. })) if workers_die => assert_eq!(record.deaths, 2),
        other => panic!("{job} ended as {other:?}"),
    }
}

/// Returns the seeds that are asked for, or else the usual ones.
pub fn seeds(usual: Range<u64>) -> Range<u64> {
    let Ok(asked) = std::env::var("VITRINE_SEEDS") else { return usual };
    let (from, to) = asked.split_once("..").expect("VITRINE_SEEDS=from..to");
    from.parse().unwrap()..to.parse().unwrap()
}
