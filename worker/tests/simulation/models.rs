//! Models in tasks: a job takes as many milliseconds as its source says, prints, and saves its own name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine::{Event, Failure, Fault, Job, Usage};
use ids::{InstanceId, JobId};
use program::{Datum, Heap, Saved};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use worker::{Host, Order, Place, Report, State};

use super::history::History;

/// Ends the run of a job in the history, however it ends.
struct Running {
    job: JobId,
    instance: InstanceId,
    history: Arc<History>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.history.end(self.job, &self.instance);
    }
}

/// Returns what starts models in a process.
pub fn host(history: Arc<History>, instance: InstanceId) -> Host {
    Arc::new(move |load, reports: mpsc::Sender<Report>| {
        let (orders, mut inbox) = mpsc::channel(64);
        let (history, instance) = (Arc::clone(&history), instance.clone());
        tokio::spawn(async move {
            if reports.send(Report::Model(load.key, State::Ready(Place::default()))).await.is_err() {
                return;
            }
            let mut tasks = JoinSet::new();
            let mut running: BTreeMap<JobId, AbortHandle> = BTreeMap::new();
            // When the process dies, nobody gives orders any more, and the tasks end with their set.
            while let Some(order) = inbox.recv().await {
                match order {
                    Order::Submit(job, begun) => {
                        begun.set(std::time::Instant::now()).unwrap();
                        history.begin(job.id, &instance);
                        let run = Running { job: job.id, instance: instance.clone(), history: Arc::clone(&history) };
                        running.insert(job.id, tasks.spawn(serve(*job, run, reports.clone())));
                    }
                    Order::Cancel(job) => {
                        let ended = running.remove(&job).is_none_or(|task| {
                            let ended = task.is_finished();
                            task.abort();
                            ended
                        });
                        let failure = Failure { fault: Fault::Cancelled, message: String::new() };
                        let event = Event::Failed(job, failure, Usage::default());
                        // Whoever ended has said so.
                        if !ended && reports.send(Report::Jobs(vec![event])).await.is_err() {
                            return;
                        }
                    }
                }
            }
        });
        Ok(orders)
    })
}

async fn serve(job: Job, run: Running, reports: mpsc::Sender<Report>) {
    let pieces = 4;
    let piece = Duration::from_millis(job.program.source.text.parse::<u64>().unwrap()) / pieces;
    for number in 0..pieces {
        if !piece.is_zero() {
            tokio::time::sleep(piece).await;
        }
        let printed = Event::Printed(job.id, format!("line {number}"));
        if reports.send(Report::Jobs(vec![printed])).await.is_err() {
            return;
        }
    }
    let mut heap = Heap::default();
    let value = heap.push(Datum::Str(job.id.to_string()));
    let saved = Saved { heap, names: vec![("job".into(), value)] };
    drop(run);
    // When nobody hears it, the process is dead.
    let _ = reports.send(Report::Jobs(vec![Event::Finished(job.id, saved, Usage::default())])).await;
}
