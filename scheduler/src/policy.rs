//! What follows a failure: another attempt, or the end. Pure.

use store::job::Event;
use store::{Fault, JobRecord};

/// Workers that may die under a job before it is taken for the cause.
const DEATHS: u32 = 2;

/// Attempts that end in a fault of the server before the job fails of it.
const ATTEMPTS: u32 = 3;

/// Says what follows when the worker that had `record` is gone.
pub fn after_death(record: &JobRecord) -> Event {
    if record.deaths + 1 < DEATHS {
        return Event::Requeued { worker_died: true };
    }
    let text = format!("the worker died {DEATHS} times while it ran this job, so the job is not tried again");
    Event::Failed { fault: Fault::Server, text, meta: String::new() }
}

/// Says what follows when the current attempt of `record` failed.
pub fn after_failure(record: &JobRecord, fault: Fault, text: String, meta: String) -> Event {
    match fault {
        Fault::Server if record.attempt < ATTEMPTS => Event::Requeued { worker_died: false },
        // Run again, the program would do the same.
        Fault::User | Fault::Limit | Fault::Server => Event::Failed { fault, text, meta },
    }
}
