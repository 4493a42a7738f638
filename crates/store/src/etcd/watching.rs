//! The one watch of etcd that feeds all of this process: kept, opened again, and begun afresh after a compaction. It ends when
//! etcd was set back.

use std::time::Duration;

use etcd_client::{EventType, WatchOptions, WatchResponse, WatchStream};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::{Link, requests};
use crate::error::Error;
use crate::metadata::{Event, Revision};
use crate::watch::{PROGRESS, Watchers};

/// Silence after which a connection is taken for dead: three questions were not answered.
const SILENCE: Duration = PROGRESS.saturating_mul(3);

/// Why the watch is to be opened again.
enum Broken {
    /// From where it was.
    Lost(String),
    /// What comes next is no longer known.
    Compacted,
}

/// Delivers what is committed after `revision`, until `stop`, or until etcd was set back.
pub async fn run(link: Link, watchers: Watchers, mut revision: Revision, stop: CancellationToken) {
    let mut pause = Duration::from_millis(20);
    let mut resync = false;
    let set_back = link.lineage.set_back();
    let keep = async {
        loop {
            let mut stream = match open(&link, revision).await {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot watch etcd; trying again");
                    sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                    continue;
                }
            };
            match follow(&mut stream, &link, &watchers, &mut revision, &mut resync).await {
                Broken::Lost(reason) => tracing::warn!(reason, "the watch of etcd broke; opening it again"),
                Broken::Compacted => {
                    tracing::warn!(revision, "etcd has compacted what was to be watched; everything is listed again");
                    // What comes after this will be told; who is told to list sees all that came before it.
                    match link.revision().await {
                        Ok(newest) => (revision, resync) = (newest, true),
                        Err(error) => tracing::warn!(%error, "cannot ask etcd for its revision"),
                    }
                }
            }
            sleep(pause).await;
            pause = Duration::from_millis(20);
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = set_back.cancelled() => {}
        never = keep => never,
    }
}

async fn open(link: &Link, revision: Revision) -> Result<WatchStream, Error> {
    let mut client = link.client.watch_client().max_decoding_message_size(requests::ANSWER_BYTES);
    let prefix = requests::full(&link.namespace, "");
    let next = i64::try_from(revision + 1).unwrap_or(i64::MAX);
    let options = WatchOptions::new().with_range(requests::end_of(&prefix)).with_start_revision(next);
    let from = if prefix.is_empty() { vec![0] } else { prefix };
    link.once(false, link.limits.deadline, client.watch(from, Some(options))).await
}

async fn follow(
    stream: &mut WatchStream,
    link: &Link,
    watchers: &Watchers,
    revision: &mut Revision,
    resync: &mut bool,
) -> Broken {
    let mut ticks = interval(PROGRESS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        let answer = tokio::select! {
            message = stream.message() => match message {
                Ok(Some(answer)) => answer,
                Ok(None) => return Broken::Lost("etcd ended it".into()),
                Err(error) => return Broken::Lost(error.to_string()),
            },
            _ = ticks.tick() => {
                if heard.elapsed() >= SILENCE {
                    return Broken::Lost("etcd is silent".into());
                }
                // Its answer shows that the connection lives. A hundred of them fit what lies between here and there.
                if stream.request_progress().await.is_err() {
                    return Broken::Lost("etcd ended it".into());
                }
                continue;
            }
        };
        heard = Instant::now();
        if answer.canceled() {
            return match answer.compact_revision() {
                0 => Broken::Lost(answer.cancel_reason().to_owned()),
                _ => Broken::Compacted,
            };
        }
        let header = answer.header();
        // A watch of what a set back etcd will not have for long is silent until then, and a member that lags behind the
        // others has not been set back: what it says is asked of all of them.
        if link.lineage.same(header).is_ok() && requests::revision(header) < *revision {
            let _ = link.revision().await;
        }
        if link.lineage.check().is_err() {
            // Which ends this.
            return std::future::pending().await;
        }
        if answer.created() && std::mem::take(resync) {
            watchers.resync(*revision);
        }
        let events = changes(&link.namespace, &answer);
        if let Some(last) = events.last() {
            *revision = last.revision();
            link.lineage.told(*revision);
            watchers.publish(events);
        } else if !answer.created() {
            // Only that it is alive: etcd before 3.4.25 may tell a revision before its changes, so nothing follows from it.
            watchers.progress(requests::revision(answer.header()));
        }
    }
}

/// Reads changes, in the order of revisions and keys. All of one revision come in one answer.
fn changes(namespace: &str, answer: &WatchResponse) -> Vec<Event> {
    let change = |event: &etcd_client::Event| {
        let entry = requests::entry(namespace, event.kv()?)?;
        Some(match event.event_type() {
            EventType::Put => Event::Put(entry),
            EventType::Delete => Event::Delete { key: entry.key, revision: entry.revision },
        })
    };
    let mut events: Vec<Event> = answer.events().iter().filter_map(change).collect();
    events.sort_by(|left, right| (left.revision(), left.key()).cmp(&(right.revision(), right.key())));
    events
}
