//! What every [`MetadataStore`] must do, as tests that any implementation can run.
//!
//! Each case gets an empty store; a failed expectation panics, as in any test.
#![expect(clippy::panic, reason = "a failed expectation must fail the test that runs it")]

pub mod etcd;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;

use crate::error::Error;
use crate::metadata::{Entry, Event, MetadataStore, Range, Watch};
use crate::txn::{Txn, TxnOutcome};

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
    txns_given_together_happen_each_by_itself(&make().await).await;
    txns_whose_order_would_matter_are_refused(&make().await).await;
    a_conflict_shows_what_was_compared(&make().await).await;
    all_pages_of_a_listing_show_one_state(&make().await).await;
    several_keys_are_read_as_of_one_instant(Arc::new(make().await)).await;
    a_watch_begins_where_a_listing_ends(&make().await).await;
    a_watch_from_a_forgotten_revision_is_told_to_list(&make().await).await;
    the_changes_of_one_commit_come_in_the_order_of_keys(&make().await).await;
    what_lies_under_a_prefix_goes_together(&make().await).await;
    what_is_too_large_is_refused_and_nothing_is_written(&make().await).await;
    what_is_put_under_a_lease_stays_as_long_as_it_is_kept(&make().await).await;
    a_lease_that_was_given_back_takes_no_more(&make().await).await;
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
    assert!(done(store.txn(txn).await).committed().is_none());
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
    assert!(done(store.txn(update("3")).await).committed().is_none());
    assert_eq!(value(store, "/k").await.as_deref(), Some(&b"2"[..]));
    // An entry that was deleted and made again is another one.
    done(store.delete("/k").await);
    done(store.put("/k", Bytes::from_static(b"2")).await);
    let stale = Txn::default().unchanged("/k", second).put("/k", "4");
    assert!(done(store.txn(stale).await).committed().is_none());
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
    let mut watch = done(store.watch("/w/", None).await);
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
            Event::Progress(_) => continue,
            Event::Resync => panic!("nothing was slow"),
        };
        assert!(revision >= last, "a watch never goes back");
        last = revision;
        let end = text.starts_with("/w/last");
        // What is older than the watch may come, too: it named no revision.
        if !(seen.is_empty() && text == "/w/before=") {
            seen.push(text);
        }
        if end {
            break;
        }
    }
    assert_eq!(seen, ["/w/a=1", "-/w/before", "/w/a=2", "/w/last="]);
}

async fn a_slow_watch_is_told_to_list_again(store: &impl MetadataStore) {
    let mut watch = done(store.watch("/w/", None).await);
    let mut written = 0;
    for _ in 0..30 {
        let mut txn = Txn::default().relaxed();
        for _ in 0..100 {
            txn = txn.put(format!("/w/{written:06}"), "");
            written += 1;
        }
        done(store.txn(txn).await);
    }
    done(store.put("/w/last", Bytes::new()).await);
    // A store may keep as much as it likes, so long as it is in order; it may not keep a part and say nothing.
    let mut known: Vec<String> = Vec::new();
    let mut listed_at = 0;
    while known.last().is_none_or(|key| key != "/w/last") {
        match next(&mut watch).await {
            Event::Put(entry) if entry.revision > listed_at => {
                assert!(known.last().is_none_or(|last| *last < entry.key), "{} came again or late", entry.key);
                known.push(entry.key);
            }
            Event::Put(_) | Event::Progress(_) => {}
            Event::Resync => {
                let page = done(store.snapshot("/w/").await);
                listed_at = page.revision;
                known = page.entries.into_iter().map(|entry| entry.key).collect();
            }
            Event::Delete { key, .. } => panic!("{key} was not deleted"),
        }
    }
    assert_eq!(known.len(), written + 1);
}

async fn relaxed_writes_are_seen_at_once(store: &impl MetadataStore) {
    let mut watch = done(store.watch("/r", None).await);
    done(store.txn(Txn::default().put("/r", "1").relaxed()).await);
    assert_eq!(value(store, "/r").await.as_deref(), Some(&b"1"[..]));
    let event = loop {
        match next(&mut watch).await {
            Event::Progress(_) => {}
            event => break event,
        }
    };
    assert!(matches!(event, Event::Put(entry) if entry.key == "/r"));
}

async fn txns_given_together_happen_each_by_itself(store: &impl MetadataStore) {
    done(store.put("/taken", Bytes::new()).await);
    // More than one request of etcd's can hold.
    let txns = (0..300).map(|number| {
        let txn = Txn::default().put(format!("/t/{number:03}"), "v");
        match number % 3 {
            0 => txn.absent(format!("/t/{number:03}")).relaxed(),
            1 => txn.absent("/taken"),
            _ => txn.absent("/free").delete(format!("/other/{number}")).put(format!("/more/{number}"), "m"),
        }
    });
    let outcomes = done(store.commit(txns.collect()).await);
    let held: Vec<bool> = outcomes.iter().map(|outcome| outcome.committed().is_some()).collect();
    assert_eq!(held, (0..300).map(|number| number % 3 != 1).collect::<Vec<_>>());
    assert_eq!(done(store.list("/t/").await).len(), 200);
    assert_eq!(done(store.list("/more/").await).len(), 100);
    for (number, outcome) in outcomes.iter().enumerate() {
        if let Some(revision) = outcome.committed() {
            let found = done(store.get(&format!("/t/{number:03}")).await);
            assert_eq!(found.map(|entry| entry.revision), Some(revision), "{number}");
        }
    }
    assert_eq!(done(store.commit(Vec::new()).await), []);
}

async fn txns_whose_order_would_matter_are_refused(store: &impl MetadataStore) {
    let put = |key: &str| Txn::default().put(key, "v");
    for txns in [
        vec![put("/a"), put("/a")],
        vec![put("/a"), put("/b").absent("/a")],
        vec![Txn::default().delete_prefix("/"), put("/a")],
    ] {
        assert!(matches!(store.commit(txns).await, Err(Error::KeyTwice(_))));
    }
    assert_eq!(done(store.list("").await), []);
    // What all only look at, none changes.
    let guarded = done(store.commit(vec![put("/a").absent("/x"), put("/b").absent("/x")]).await);
    assert!(guarded.iter().all(|outcome| outcome.committed().is_some()));
}

async fn a_conflict_shows_what_was_compared(store: &impl MetadataStore) {
    done(store.put("/a", Bytes::from_static(b"1")).await);
    let entry = done(store.get("/a").await);
    let txn = |key: &str| Txn::default().absent("/none").absent("/a").put(key, "x");
    assert_eq!(done(store.txn(txn("/b")).await), TxnOutcome::Conflict(vec![None, entry.clone()]));
    let outcomes = done(store.commit(vec![txn("/b"), Txn::default().put("/c", "y"), txn("/d")]).await);
    assert_eq!(outcomes[0], TxnOutcome::Conflict(vec![None, entry.clone()]));
    assert!(outcomes[1].committed().is_some());
    assert_eq!(outcomes[2], TxnOutcome::Conflict(vec![None, entry]));
}

async fn all_pages_of_a_listing_show_one_state(store: &impl MetadataStore) {
    for number in 0..25 {
        done(store.put(&format!("/p/{number:02}"), Bytes::from_static(b"old")).await);
    }
    done(store.put("/q", Bytes::new()).await);
    let range = Range::of("/p/").limit(10);
    let mut page = done(store.range(range.clone()).await);
    let revision = page.revision;
    let (mut entries, mut next) = (page.entries.clone(), range.next(&page));
    while let Some(range) = next {
        // Whatever happens meanwhile.
        done(store.put("/p/05x", Bytes::new()).await);
        done(store.put("/p/24", Bytes::from_static(b"new")).await);
        done(store.delete("/p/23").await);
        page = done(store.range(range.clone()).await);
        assert_eq!(page.revision, revision);
        assert!(page.entries.len() <= 10);
        entries.extend(page.entries.clone());
        next = range.next(&page);
    }
    assert_eq!(entries.len(), 25);
    assert!(entries.iter().all(|entry| entry.value == "old" && entry.revision <= revision));
    assert!(entries.is_sorted_by(|left, right| left.key < right.key));
    let now = done(store.snapshot("/p/").await);
    assert_eq!((now.entries.len(), now.more), (25, false));
    assert!(now.revision > revision);
    let all = done(store.range(Range::of("/p/").limit(25)).await);
    assert!(!all.more && all.entries.len() == 25, "nothing follows the last entry");
}

async fn several_keys_are_read_as_of_one_instant<S: MetadataStore>(store: Arc<S>) {
    let write = |number: u8| Txn::default().put("/one", vec![number]).put("/two", vec![number]);
    done(store.txn(write(0)).await);
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for number in 1..50 {
                done(store.txn(write(number).relaxed()).await);
            }
        }
    });
    let keys = ["/one".to_owned(), "/none".to_owned(), "/two".to_owned()];
    while !writer.is_finished() {
        let read = done(store.read(&keys).await);
        let [Some(one), None, Some(two)] = &read[..] else { panic!("{read:?}") };
        assert_eq!((&one.value, one.revision), (&two.value, two.revision));
        // A store that answers at once would keep the writer from its thread.
        tokio::task::yield_now().await;
    }
    done(writer.await);
}

async fn a_watch_begins_where_a_listing_ends(store: &impl MetadataStore) {
    done(store.put("/w/a", Bytes::from_static(b"listed")).await);
    let page = done(store.snapshot("/w/").await);
    done(store.put("/w/b", Bytes::from_static(b"between")).await);
    done(store.delete("/w/a").await);
    let mut watch = done(store.watch("/w/", Some(page.revision)).await);
    done(store.put("/w/c", Bytes::from_static(b"after")).await);
    let mut seen = Vec::new();
    while seen.len() < 3 {
        match next(&mut watch).await {
            Event::Put(entry) => seen.push(entry.key),
            Event::Delete { key, .. } => seen.push(format!("-{key}")),
            Event::Progress(_) => {}
            Event::Resync => panic!("that was not long ago"),
        }
    }
    assert_eq!(seen, ["/w/b", "-/w/a", "/w/c"]);
}

async fn a_watch_from_a_forgotten_revision_is_told_to_list(store: &impl MetadataStore) {
    done(store.put("/w/first", Bytes::new()).await);
    let page = done(store.snapshot("/w/").await);
    for number in 0..100 {
        let txns = (0..60).map(|part| Txn::default().put(format!("/w/{part}"), number.to_string()).relaxed());
        done(store.commit(txns.collect()).await);
    }
    // It may know all of them; if it does not, it says so first.
    let mut watch = done(store.watch("/w/", Some(page.revision)).await);
    match next(&mut watch).await {
        Event::Resync => {}
        Event::Put(entry) => assert_eq!(entry.value, "0"),
        other => panic!("unexpected {other:?}"),
    }
}

async fn the_changes_of_one_commit_come_in_the_order_of_keys(store: &impl MetadataStore) {
    done(store.put("/w/3", Bytes::new()).await);
    let mut watch = done(store.watch("/w/", None).await);
    done(store.txn(Txn::default().put("/w/4", "").put("/w/1", "").delete("/w/3").put("/w/2", "")).await);
    let mut seen = Vec::new();
    while seen.len() < 4 {
        match next(&mut watch).await {
            Event::Progress(_) => {}
            event if event.key() == "/w/3" && matches!(event, Event::Put(_)) => {}
            event => seen.push(event.key().to_owned()),
        }
    }
    assert_eq!(seen, ["/w/1", "/w/2", "/w/3", "/w/4"]);
}

async fn what_lies_under_a_prefix_goes_together(store: &impl MetadataStore) {
    for key in ["/d/1", "/d/2", "/d", "/d0", "/e"] {
        done(store.put(key, Bytes::new()).await);
    }
    let from = done(store.snapshot("").await).revision;
    done(store.txn(Txn::default().delete_prefix("/d/").put("/f", "")).await);
    assert_eq!(keys(&done(store.list("").await)), ["/d", "/d0", "/e", "/f"]);
    let mut watch = done(store.watch("/d/", Some(from)).await);
    let mut gone = Vec::new();
    while gone.len() < 2 {
        match next(&mut watch).await {
            Event::Delete { key, .. } => gone.push(key),
            Event::Progress(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(gone, ["/d/1", "/d/2"]);
    done(store.txn(Txn::default().delete_prefix("/nothing")).await);
}

async fn what_is_too_large_is_refused_and_nothing_is_written(store: &impl MetadataStore) {
    let limits = store.limits();
    let large = vec![7; limits.value_bytes.min(limits.txn_bytes) - 100];
    done(store.put("/large", large.clone().into()).await);
    assert_eq!(value(store, "/large").await.map(|value| value.len()), Some(large.len()));
    let over = Txn::default().put("/small", "x").put("/over", vec![7; limits.value_bytes + 1]);
    assert!(matches!(store.txn(over).await, Err(Error::TooLarge { .. })));
    let many = |count: usize| (0..count).fold(Txn::default(), |txn, number| txn.put(format!("/many/{number}"), ""));
    assert!(matches!(store.txn(many(limits.txn_ops + 1)).await, Err(Error::TooLarge { .. })));
    assert_eq!(keys(&done(store.list("").await)), ["/large"]);
    done(store.txn(many(limits.txn_ops)).await);
    assert_eq!(done(store.list("/many/").await).len(), limits.txn_ops);
}

async fn what_is_put_under_a_lease_stays_as_long_as_it_is_kept(store: &impl MetadataStore) {
    let ttl = Duration::from_secs(2);
    let lease = done(store.lease(ttl).await);
    let put = Txn::default().put_leased("/l/leased", "", lease.id()).put_leased("/l/freed", "", lease.id());
    done(store.txn(put.put("/l/free", "")).await);
    // Whoever writes it next decides whether it goes with a lease.
    done(store.put("/l/freed", Bytes::new()).await);
    tokio::time::sleep(ttl + ttl / 2).await;
    assert!(lease.holds() && !lease.lost().is_cancelled());
    assert_eq!(keys(&done(store.list("/l/").await)), ["/l/free", "/l/freed", "/l/leased"]);
    let from = done(store.snapshot("/l/").await).revision;
    let mut watch = done(store.watch("/l/", Some(from)).await);
    lease.revoke().await;
    loop {
        match next(&mut watch).await {
            Event::Delete { key, .. } => break assert_eq!(key, "/l/leased"),
            Event::Progress(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(keys(&done(store.list("/l/").await)), ["/l/free", "/l/freed"]);
}

async fn a_lease_that_was_given_back_takes_no_more(store: &impl MetadataStore) {
    let lease = done(store.lease(Duration::from_secs(5)).await);
    let id = lease.id();
    lease.revoke().await;
    let late = Txn::default().put("/free", "").put_leased("/leased", "", id);
    assert!(matches!(store.txn(late).await, Err(Error::NoLease)));
    assert_eq!(done(store.list("").await), []);
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
