//! Commits of everybody in this process, joined: what comes while a request is under way goes with the next one. The busier
//! etcd is, the more share a request, its entry in the log, and its sync.

use std::collections::VecDeque;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{Link, requests};
use crate::error::Error;
use crate::txn::{Names, Txn, TxnOutcome};

/// How long a request under way keeps back what has come since. A member that is silent must not hold up what another would
/// take.
const LONGEST: Duration = Duration::from_millis(50);

/// Commits that may wait to be taken in.
const WAITING: usize = 1024;

/// The way of commits to etcd.
pub struct Writer {
    asked: mpsc::Sender<Asked>,
    deadline: Duration,
}

/// A commit that fits one request, and who waits for it.
struct Asked {
    txns: Vec<Txn>,
    answer: oneshot::Sender<Result<Vec<TxnOutcome>, Error>>,
}

impl Writer {
    /// Makes a way, which lasts until it is dropped.
    pub fn start(link: Link) -> Self {
        let (asked, inbox) = mpsc::channel(WAITING);
        let deadline = link.limits.deadline;
        tokio::spawn(run(link, inbox));
        Self { asked, deadline }
    }

    /// Commits transactions that do not name what another of them writes.
    pub async fn commit(&self, txns: Vec<Txn>) -> Result<Vec<TxnOutcome>, Error> {
        let asking = join_all(requests::groups(txns).into_iter().map(|group| self.ask(group)));
        let silent = |_| Error::silent("etcd", true, self.deadline);
        let answers = timeout(self.deadline, asking).await.map_err(silent)?;
        let several = answers.len() > 1;
        let (mut outcomes, mut failed, mut unknown) = (Vec::new(), None, false);
        for answer in answers {
            match answer {
                Ok(answer) => outcomes.extend(answer),
                Err(error) => {
                    unknown |= matches!(error, Error::Unavailable { maybe_done: true, .. });
                    failed.get_or_insert(error);
                }
            }
        }
        match failed {
            None => Ok(outcomes),
            // A part was done, or may have been.
            Some(error) if several && (unknown || !outcomes.is_empty()) => {
                Err(Error::Unavailable { maybe_done: true, reason: error.to_string() })
            }
            Some(error) => Err(error),
        }
    }

    async fn ask(&self, txns: Vec<Txn>) -> Result<Vec<TxnOutcome>, Error> {
        let (answer, answered) = oneshot::channel();
        self.asked.send(Asked { txns, answer }).await.map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)?
    }
}

/// Sends what is asked, until nobody can ask any more.
async fn run(link: Link, mut inbox: mpsc::Receiver<Asked>) {
    let mut waiting = VecDeque::new();
    loop {
        if waiting.is_empty() {
            let Some(asked) = inbox.recv().await else { return };
            waiting.push_back(asked);
        }
        while let Ok(asked) = inbox.try_recv() {
            waiting.push_back(asked);
        }
        let request = next(&mut waiting);
        if !request.is_empty() {
            // Its task goes on, however long it takes.
            let _ = timeout(LONGEST, tokio::spawn(send(link.clone(), request))).await;
        }
    }
}

/// Takes what can share a request, the first of all that wait among it. What is in another's way waits for the next one.
fn next(waiting: &mut VecDeque<Asked>) -> Vec<Asked> {
    // Who has given up must not be surprised later.
    waiting.retain(|asked| !asked.answer.is_closed());
    let (mut room, mut names) = (requests::Room::default(), Names::default());
    let goes = waiting.iter().map(|Asked { txns, .. }| {
        // One that has room and is in the way takes some for nothing, which is only the next one's gain.
        room.take_all(txns) && txns.iter().all(|txn| names.admit(txn).is_ok())
    });
    let goes: Vec<bool> = goes.collect();
    let (mut request, mut later) = (Vec::new(), VecDeque::new());
    for (asked, goes) in waiting.drain(..).zip(goes) {
        if goes { request.push(asked) } else { later.push_back(asked) }
    }
    *waiting = later;
    request
}

/// Makes one request of several commits, and tells each what came of it.
async fn send(link: Link, asked: Vec<Asked>) {
    let (mut txns, mut callers) = (Vec::new(), Vec::new());
    for Asked { txns: more, answer } in asked {
        callers.push((more.len(), answer));
        txns.extend(more);
    }
    let request = requests::commit(&link.namespace, &txns);
    let asked = link.lineage.newest();
    let mut kv = link.client.kv_client().max_decoding_message_size(requests::ANSWER_BYTES);
    let answered = timeout(link.limits.deadline, kv.txn(request)).await;
    let outcomes = match &answered {
        Ok(Ok(answer)) => {
            link.lineage.answered(asked, answer.header()).map(|()| requests::outcomes(&link.namespace, &txns, answer))
        }
        _ => Ok(Vec::new()),
    };
    let mut outcomes = outcomes.map(Vec::into_iter);
    for (count, answer) in callers {
        // Who has given up takes it for unknown.
        let _ = answer.send(match (&answered, &mut outcomes) {
            (Ok(Ok(_)), Ok(outcomes)) => Ok(outcomes.take(count).collect()),
            (Ok(Ok(_)), Err(forgotten)) => Err((*forgotten).into()),
            (Ok(Err(error)), _) => Err(requests::failure(error, true)),
            (Err(_), _) => Err(Error::silent("etcd", true, link.limits.deadline)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(txns: &[Txn]) -> (Asked, oneshot::Receiver<Result<Vec<TxnOutcome>, Error>>) {
        let (answer, answered) = oneshot::channel();
        (Asked { txns: txns.to_vec(), answer }, answered)
    }

    fn put(key: &str) -> Txn {
        Txn::default().absent(key).put(key, "v")
    }

    fn keys(request: &[Asked]) -> Vec<&str> {
        request.iter().flat_map(|asked| &asked.txns).map(|txn| txn.compares[0].key()).collect()
    }

    #[test]
    fn what_waits_goes_together_but_for_what_is_in_the_way_of_another_and_what_nobody_waits_for() {
        let leader = |key: &str| put(key).absent("leader");
        let all = [
            asked(&[leader("a"), leader("b")]),
            asked(&[leader("c")]),
            asked(&[leader("b"), leader("x")]),
            asked(&[put("gone")]),
            asked(&[put("d"), put("leader")]),
            asked(&[put("e")]),
        ];
        let (mut waiting, mut answers): (VecDeque<_>, Vec<_>) = all.into_iter().unzip();
        drop(answers.remove(3));
        assert_eq!(keys(&next(&mut waiting)), ["a", "b", "c", "e"]);
        assert_eq!(keys(&next(&mut waiting)), ["b", "x"]);
        assert_eq!(keys(&next(&mut waiting)), ["d", "leader"]);
        assert!(next(&mut waiting).is_empty());
    }

    #[test]
    fn a_request_is_no_larger_than_etcd_takes_it_and_the_rest_follows() {
        let (mut waiting, _answers): (VecDeque<_>, Vec<_>) =
            (0..200).map(|number| asked(&[put(&number.to_string())])).unzip();
        assert_eq!((next(&mut waiting).len(), next(&mut waiting).len()), (127, 73));
    }
}
