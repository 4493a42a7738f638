//! What every [`MetadataStore`] must do, as tests that any implementation can run.
//!
//! Each case gets an empty store; a failed expectation panics, as in any test.
#![expect(clippy::panic, reason = "a failed expectation must fail the test that runs it")]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;

use crate::metadata::{Entry, Event, MetadataStore, Txn, TxnOutcome, Watch};

/// Runs every case against stores that `make` makes.
///
/// # Panics
/// When the store breaks the contract.
pub async fn run_conformance<S, F>(make: impl Fn() -> F)
where
    S: MetadataStore,
    F: Future<Output = S>,
{
    entries_come_back_until_they_are_deleted(&make().await).await;
    a_listing_has_the_prefix_and_the_order_of_keys(&make().await).await;
    a_txn_happens_wholly_or_not_at_all(&make().await).await;
    revisions_grow_and_guard(&make().await).await;
    one_of_many_creators_wins(Arc::new(make().await)).await;
    counters_lose_no_increment(Arc::new(make().await)).await;
    a_watch_has_its_prefix_in_order_and_once(&make().await).await;
    a_slow_watch_is_told_to_list_again(&make().await).await;
    relaxed_writes_are_seen_at_once(&make().await).await;
    txns_given_together_happen_each_by_itself_and_in_order(&make().await).await;
}

async fn entries_come_back_until_they_are_deleted(store: &impl MetadataStore) {
    assert_eq!(done(store.get("/a").await), None);
    done(store.put("/a", Bytes::from_static(b"one")).await);
    done(store.put("/a", Bytes::from_static(b"two")).await);
    assert_eq!(value(store, "/a").await.as_deref(), Some(&b"two"[..]));
    done(store.delete("/a").await);
    done(store.delete("/a").await);
    assert_eq!(value(store, "/a").await, None);
    done(store.put("/empty", Bytes::new()).await);
    assert_eq!(value(store, "/empty").await.as_deref(), Some(&b""[..]));
}

async fn a_listing_has_the_prefix_and_the_order_of_keys(store: &impl MetadataStore) {
    for key in ["/b/2", "/a/1", "/b", "/b/10", "/c", "/b/é", "/b0"] {
        done(store.put(key, Bytes::copy_from_slice(key.as_bytes())).await);
    }
    assert_eq!(keys(&done(store.list("/b/").await)), ["/b/10", "/b/2", "/b/é"]);
    assert_eq!(done(store.list("").await).len(), 7);
    assert_eq!(done(store.list("/nothing").await), []);
}

async fn a_txn_happens_wholly_or_not_at_all(store: &impl MetadataStore) {
    done(store.put("/taken", Bytes::new()).await);
    let txn = Txn::default().absent("/free").absent("/taken").put("/free", "x").delete("/taken");
    assert_eq!(done(store.txn(txn).await), TxnOutcome::Conflict);
    assert_eq!(keys(&done(store.list("/").await)), ["/taken"]);
    let txn = Txn::default().absent("/free").put("/free", "x").delete("/taken");
    let TxnOutcome::Committed(revision) = done(store.txn(txn).await) else { panic!("nothing stood in its way") };
    let expected = Entry { key: "/free".into(), value: Bytes::from_static(b"x"), revision };
    assert_eq!(done(store.list("/").await), [expected]);
}

async fn revisions_grow_and_guard(store: &impl MetadataStore) {
    done(store.put("/k", Bytes::from_static(b"1")).await);
    let Some(first) = done(store.get("/k").await) else { panic!("/k was written") };
    done(store.put("/other", Bytes::new()).await);
    assert_eq!(done(store.get("/k").await).map(|entry| entry.revision), Some(first.revision));
    let update = |value: &'static str| Txn::default().unchanged("/k", first.revision).put("/k", value);
    let TxnOutcome::Committed(second) = done(store.txn(update("2")).await) else { panic!("/k was unchanged") };
    assert!(second > first.revision);
    assert_eq!(done(store.txn(update("3")).await), TxnOutcome::Conflict);
    assert_eq!(value(store, "/k").await.as_deref(), Some(&b"2"[..]));
    // An entry that was deleted and made again is another one.
    done(store.delete("/k").await);
    done(store.put("/k", Bytes::from_static(b"2")).await);
    let stale = Txn::default().unchanged("/k", second).put("/k", "4");
    assert_eq!(done(store.txn(stale).await), TxnOutcome::Conflict);
}

async fn one_of_many_creators_wins<S: MetadataStore>(store: Arc<S>) {
    let creators = (0..32).map(|number: u8| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { done(store.create("/prize", vec![number].into()).await).then_some(number) })
    });
    let won: Vec<u8> = futures::future::join_all(creators).await.into_iter().filter_map(done).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(value(&*store, "/prize").await.as_deref(), Some(&won[..]));
}

async fn counters_lose_no_increment<S: MetadataStore>(store: Arc<S>) {
    done(store.put("/count", vec![0].into()).await);
    let adders = (0..8).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut added = 0;
            while added < 5 {
                let Some(entry) = done(store.get("/count").await) else { panic!("/count is there") };
                let next: Vec<u8> = entry.value.iter().map(|count| count + 1).collect();
                let txn = Txn::default().unchanged("/count", entry.revision).put("/count", next);
                if let TxnOutcome::Committed(_) = done(store.txn(txn).await) {
                    added += 1;
                }
            }
        })
    });
    futures::future::join_all(adders).await.into_iter().for_each(done);
    assert_eq!(value(&*store, "/count").await.as_deref(), Some(&[40][..]));
}

async fn a_watch_has_its_prefix_in_order_and_once(store: &impl MetadataStore) {
    done(store.put("/w/before", Bytes::new()).await);
    let mut watch = done(store.watch("/w/").await);
    done(store.txn(Txn::default().put("/w/a", "1").put("/elsewhere", "x").delete("/w/before")).await);
    done(store.put("/w/a", Bytes::from_static(b"2")).await);
    done(store.delete("/w/never").await);
    done(store.txn(Txn::default().absent("/w/a").put("/w/a", "3")).await);
    done(store.put("/w/last", Bytes::new()).await);
    let mut seen = Vec::new();
    let mut last = 0;
    loop {
        let (text, revision) = match next(&mut watch).await {
            Event::Put(entry) => (format!("{}={}", entry.key, String::from_utf8_lossy(&entry.value)), entry.revision),
            Event::Delete { key, revision } => (format!("-{key}"), revision),
            Event::Resync => panic!("nothing was slow"),
        };
        assert!(revision >= last, "a watch never goes back");
        last = revision;
        let end = text.starts_with("/w/last");
        seen.push(text);
        if end {
            break;
        }
    }
    assert_eq!(seen, ["/w/a=1", "-/w/before", "/w/a=2", "/w/last="]);
}

async fn a_slow_watch_is_told_to_list_again(store: &impl MetadataStore) {
    let mut watch = done(store.watch("/w/").await);
    let mut written = 0;
    // A store may keep as much as it likes, so long as it is in order; it may not keep a part and say nothing.
    for _ in 0..30 {
        let mut txn = Txn::default().relaxed();
        for _ in 0..100 {
            txn = txn.put(format!("/w/{written:06}"), "");
            written += 1;
        }
        done(store.txn(txn).await);
    }
    let mut expected = 0;
    while expected < written {
        match next(&mut watch).await {
            Event::Put(entry) => {
                assert_eq!(entry.key, format!("/w/{expected:06}"));
                expected += 1;
            }
            Event::Resync => {
                let listed = done(store.list("/w/").await);
                assert_eq!(listed.len(), written);
                // What still comes after it is what came after the gap.
                match tokio::time::timeout(Duration::from_millis(50), watch.next()).await {
                    Ok(Some(Event::Put(entry))) => {
                        let Ok(number) = entry.key.trim_start_matches("/w/").parse::<usize>() else {
                            panic!("{} was never written", entry.key)
                        };
                        expected = number + 1;
                    }
                    Ok(other) => panic!("unexpected {other:?}"),
                    Err(_) => return,
                }
            }
            Event::Delete { key, .. } => panic!("{key} was not deleted"),
        }
    }
}

async fn relaxed_writes_are_seen_at_once(store: &impl MetadataStore) {
    let mut watch = done(store.watch("/r").await);
    done(store.txn(Txn::default().put("/r", "1").relaxed()).await);
    assert_eq!(value(store, "/r").await.as_deref(), Some(&b"1"[..]));
    assert!(matches!(next(&mut watch).await, Event::Put(entry) if entry.key == "/r"));
}

async fn txns_given_together_happen_each_by_itself_and_in_order(store: &impl MetadataStore) {
    let put = |value: &'static str| Txn::default().put("/t", value);
    let txns = vec![
        put("1").absent("/t").relaxed(),
        put("2").absent("/t").relaxed(),
        put("3"),
        put("4").absent("/t").relaxed(),
        Txn::default().delete("/t"),
        put("5").absent("/t"),
    ];
    let held: Vec<bool> =
        done(store.txns(txns).await).iter().map(|outcome| matches!(outcome, TxnOutcome::Committed(_))).collect();
    assert_eq!(held, [true, false, true, false, true, true]);
    assert_eq!(value(store, "/t").await.as_deref(), Some(&b"5"[..]));
    assert_eq!(done(store.txns(Vec::new()).await), []);
}

async fn value(store: &impl MetadataStore, key: &str) -> Option<Bytes> {
    done(store.get(key).await).map(|entry| entry.value)
}

fn keys(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.key.as_str()).collect()
}

async fn next(watch: &mut Watch) -> Event {
    match tokio::time::timeout(Duration::from_secs(10), watch.next()).await {
        Ok(Some(event)) => event,
        Ok(None) => panic!("the watch ended"),
        Err(_) => panic!("the watch slept through a change"),
    }
}

fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}
