//! Records of jobs as messages of the API.

use auth::Principal;
use proto::timestamp;
use proto::v1::{Failure, Job, JobState};
use store::{Blob, JobRecord, State};

use crate::v1::jobs::{failure, must_end_by, must_start_by};
use crate::{Error, progress};

/// Shows a job. `queue_time` is what [`queue_time`](crate::v1::jobs::queue_time) returns.
pub fn job(record: &JobRecord, principal: &Principal, queue_time: Option<u64>) -> Job {
    let moment = |milliseconds: u64| (milliseconds > 0).then(|| timestamp(milliseconds));
    Job {
        id: record.id.to_string(),
        tenant: record.tenant.to_string(),
        key: record.key.to_string(),
        project: record.project.clone(),
        model: record.model.to_string(),
        class: record.class.name().into(),
        state: state(record.state).into(),
        attempt: record.attempt,
        accepted_at: moment(record.accepted_at),
        started_at: moment(record.started_at),
        must_start_by: must_start_by(record, queue_time).and_then(moment),
        must_end_by: must_end_by(record).and_then(moment),
        ended_at: moment(record.ended_at),
        request_bytes: record.payload_bytes,
        result_bytes: progress::result(record).map(Blob::len),
        failure: failure(record, principal)
            .map(|(fault, text)| Failure { fault: fault.into(), text: text.unwrap_or_default().into() }),
    }
}

fn state(state: State) -> JobState {
    match state {
        State::Queued => JobState::Queued,
        State::Dispatched => JobState::Dispatched,
        State::Running => JobState::Running,
        State::Completed => JobState::Completed,
        State::Failed => JobState::Failed,
        State::Cancelled => JobState::Cancelled,
        State::Expired => JobState::Expired,
    }
}

/// Returns the name of a state that is searched for; `None` for any.
///
/// # Errors
/// [`Error::Unfit`] for a number that is none of a state.
pub fn name(wanted: i32) -> Result<Option<String>, Error> {
    let Ok(wanted) = JobState::try_from(wanted) else {
        return Err(Error::Unfit(format!("{wanted} is no state of jobs that this server knows")));
    };
    let all = [
        State::Queued,
        State::Dispatched,
        State::Running,
        State::Completed,
        State::Failed,
        State::Cancelled,
        State::Expired,
    ];
    Ok(all.into_iter().find(|known| state(*known) == wanted).map(|known| known.to_string()))
}
