//! Who leads: whoever holds one entry, under a lease that must be kept.

use std::sync::Arc;
use std::time::Duration;

use failpoints::Point;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::ROOT;
use crate::error::Error;
use crate::lease::Lease;
use crate::metadata::{Event, MetadataStore, Revision};
use crate::stored;
use crate::txn::{Compare, Txn, TxnOutcome};

/// How long an election stands without a sign of life. It is renewed after 1.5 s, and given up by who cannot renew it
/// after 3.3 s: that much faster may the store's clock run.
const LEASE: Duration = Duration::from_secs(5);

/// Time before a store that cannot be reached is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// An office that one process holds at a time.
#[derive(Clone)]
pub struct Election {
    store: Arc<dyn MetadataStore>,
    key: String,
}

/// Who leads, as all others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Where it can be reached.
    pub address: String,
    /// Larger than that of whoever led before.
    pub epoch: Revision,
}

/// The office, held. Dropping it gives it up.
///
/// That nobody else holds it is not promised: a paused process may wake up deposed. Only what compares
/// [`Leadership::fence`] when it writes ([`crate::Fenced`]) is safe.
pub struct Leadership {
    lease: Lease,
    key: String,
    epoch: Revision,
}

impl Election {
    /// Names an office of `store`.
    #[must_use]
    pub fn new(store: Arc<dyn MetadataStore>, office: &str) -> Self {
        Self { store, key: format!("{ROOT}election/{office}") }
    }

    /// Waits until this process leads. Others then read `address`.
    ///
    /// # Errors
    /// Failures of the store, but for its being out of reach: that is waited for.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the candidacy.
    pub async fn campaign(&self, address: &str) -> Result<Leadership, Error> {
        // Names this candidacy, so that a vote whose answer was lost is known again.
        let candidacy = format!("{:032x}", fastrand::u128(..));
        let value = stored::leader(&candidacy, address);
        'lease: loop {
            let Some(lease) = reached(self.store.lease(LEASE).await)? else {
                sleep(AGAIN).await;
                continue;
            };
            failpoints::pass(Point::LeaseGranted);
            while lease.holds() {
                let txn = Txn::default().absent(&self.key).put_leased(&self.key, value.clone(), lease.id());
                let compared = match reached(self.store.txn(txn).await) {
                    Ok(Some(TxnOutcome::Committed(epoch))) => return Ok(self.won(lease, epoch)),
                    Ok(Some(TxnOutcome::Conflict(compared))) => compared,
                    Ok(None) => {
                        sleep(AGAIN).await;
                        continue;
                    }
                    Err(Error::NoLease) => continue 'lease,
                    Err(error) => return Err(error),
                };
                let Some(entry) = compared.into_iter().next().flatten() else { continue };
                if entry.value == value {
                    return Ok(self.won(lease, entry.revision));
                }
                tokio::select! {
                    vacant = self.vacant(entry.revision) => drop(reached(vacant)?),
                    () = lease.lost().cancelled_owned() => continue 'lease,
                }
            }
        }
    }

    /// Returns who leads, if anybody does.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn leader(&self) -> Result<Option<Leader>, Error> {
        self.store.get(&self.key).await?.map(|entry| stored::read_leader(&entry)).transpose()
    }

    /// Yields who leads, now and after each change.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn leaders(&self) -> Result<BoxStream<'static, Option<Leader>>, Error> {
        let watch = self.store.watch(&self.key, None).await?;
        let first = self.leader().await?;
        let after = first.as_ref().map_or(0, |leader| leader.epoch);
        let election = self.clone();
        let changes = watch.filter_map(move |event| {
            let election = election.clone();
            async move {
                match event {
                    Event::Put(entry) if entry.key == election.key && entry.revision > after => {
                        stored::read_leader(&entry).ok().map(Some)
                    }
                    Event::Delete { key, revision } if key == election.key && revision > after => Some(None),
                    Event::Resync => election.leader().await.ok(),
                    Event::Put(_) | Event::Delete { .. } | Event::Progress(_) => None,
                }
            }
        });
        Ok(futures::stream::once(async { first }).chain(changes).boxed())
    }

    fn won(&self, lease: Lease, epoch: Revision) -> Leadership {
        failpoints::pass(Point::Elected);
        Leadership { lease, key: self.key.clone(), epoch }
    }

    /// Waits until the entry that `revision` wrote is gone.
    async fn vacant(&self, revision: Revision) -> Result<(), Error> {
        // From now on, and then looked at: who asked for what came after the revision, which may be long ago, would be told
        // to look, again and again.
        let mut watch = self.store.watch(&self.key, None).await?;
        while self.store.get(&self.key).await?.is_some_and(|entry| entry.revision == revision) {
            loop {
                match watch.next().await.ok_or(Error::Closed)? {
                    Event::Delete { key, revision: gone } if key == self.key && gone > revision => return Ok(()),
                    Event::Resync => break,
                    Event::Put(_) | Event::Delete { .. } | Event::Progress(_) => {}
                }
            }
        }
        Ok(())
    }
}

impl Leadership {
    /// Returns what must hold for whatever the leader writes.
    #[must_use]
    pub fn fence(&self) -> Compare {
        Compare::Unchanged(self.key.clone(), self.epoch)
    }

    /// Returns a number that is larger than that of every leader before.
    #[must_use]
    pub fn epoch(&self) -> Revision {
        self.epoch
    }

    /// Returns what is cancelled when the office is lost.
    #[must_use]
    pub fn lost(&self) -> CancellationToken {
        self.lease.lost()
    }

    /// Says by the clock whether the office is still held, also where nothing else has run meanwhile.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.lease.holds()
    }

    /// Gives the office up, so that another can lead at once.
    pub async fn resign(self) {
        self.lease.revoke().await;
    }
}

/// Tells a store that is out of reach from one that fails.
fn reached<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(answer) => Ok(Some(answer)),
        Err(Error::Unavailable { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::fenced::Fenced;
    use crate::memory::{Faults, MemoryStore};
    use crate::metadata::{Entry, Limits, Page, Range, Watch};

    /// A store that knows nothing of what was before it was opened, as a process's view of etcd, and bears few commits.
    struct Late {
        store: MemoryStore,
        commits: AtomicUsize,
    }

    #[async_trait]
    impl MetadataStore for Late {
        fn limits(&self) -> Limits {
            self.store.limits()
        }

        async fn read(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, Error> {
            self.store.read(keys).await
        }

        async fn range(&self, range: Range) -> Result<Page, Error> {
            self.store.range(range).await
        }

        async fn commit(&self, txns: Vec<Txn>) -> Result<Vec<TxnOutcome>, Error> {
            let commits = self.commits.fetch_add(1, Ordering::Relaxed);
            assert!(commits < 10, "it asks again and again");
            self.store.commit(txns).await
        }

        async fn watch(&self, prefix: &str, after: Option<Revision>) -> Result<Watch, Error> {
            let first = futures::stream::iter(after.map(|_| Event::Resync));
            Ok(first.chain(self.store.watch(prefix, after).await?).boxed())
        }

        async fn lease(&self, ttl: Duration) -> Result<Lease, Error> {
            self.store.lease(ttl).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_when_another_has_long_led_asks_once_and_waits() {
        let store = MemoryStore::new(1);
        let leads = Election::new(Arc::new(store.clone()), "office").campaign("one").await.unwrap();
        let late = Arc::new(Late { store, commits: AtomicUsize::new(0) });
        let election = Election::new(Arc::clone(&late) as Arc<dyn MetadataStore>, "office");
        let candidate = tokio::spawn(async move { election.campaign("other").await });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(leads.holds());
        assert_eq!(late.commits.load(Ordering::Relaxed), 1);
        leads.resign().await;
        let elected = timeout(Duration::from_secs(60), candidate).await.unwrap().unwrap().unwrap();
        assert!(elected.holds());
        assert_eq!(late.commits.load(Ordering::Relaxed), 2);
    }

    fn away() -> Faults {
        Faults { unavailable: 1.0, ..Faults::default() }
    }

    /// A way to the same entries that can be cut by itself.
    fn elections() -> (MemoryStore, Election, MemoryStore, Election) {
        let one = MemoryStore::new(1);
        let other = one.on_another_way(2);
        let election = |store: &MemoryStore| Election::new(Arc::new(store.clone()), "scheduler");
        let (first, second) = (election(&one), election(&other));
        (one, first, other, second)
    }

    #[tokio::test(start_paused = true)]
    async fn one_leads_and_the_next_follows_when_it_resigns() {
        let (_one, first, _other, second) = elections();
        assert_eq!(first.leader().await.unwrap(), None);
        let leadership = first.campaign("http://first").await.unwrap();
        let epoch = leadership.epoch();
        assert_eq!(second.leader().await.unwrap(), Some(Leader { address: "http://first".into(), epoch }));
        let mut leaders = second.leaders().await.unwrap();
        assert_eq!(leaders.next().await.unwrap().map(|leader| leader.epoch), Some(epoch));
        let next = tokio::spawn(async move { second.campaign("http://second").await.unwrap() });
        // It stays as long as it is kept.
        sleep(LEASE * 4).await;
        assert!(leadership.holds() && !next.is_finished());
        let resigned = Instant::now();
        leadership.resign().await;
        let next = next.await.unwrap();
        assert!(resigned.elapsed() < Duration::from_millis(100));
        assert!(next.epoch() > epoch);
        assert_eq!(leaders.next().await.unwrap(), None);
        assert_eq!(leaders.next().await.unwrap().map(|leader| leader.address).as_deref(), Some("http://second"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_cut_off_steps_down_before_another_leads_and_its_writes_do_not_count() {
        let (one, first, other, second) = elections();
        let old = first.campaign("http://first").await.unwrap();
        let fenced = Fenced::new(Arc::new(one.clone()), old.fence());
        assert!(fenced.txn(Txn::default().put("/job", "1")).await.unwrap().committed().is_some());
        let next = tokio::spawn(async move { second.campaign("http://second").await.unwrap() });
        sleep(LEASE).await;
        one.set_faults(away());
        let cut = Instant::now();
        old.lost().cancelled().await;
        assert!(!old.holds() && !next.is_finished());
        assert!(cut.elapsed() <= LEASE * 2 / 3, "it held on for {:?}", cut.elapsed());
        let next = timeout(LEASE, next).await.unwrap().unwrap();
        assert!(cut.elapsed() <= LEASE + Duration::from_millis(100), "nobody led for {:?}", cut.elapsed());
        one.set_faults(Faults::default());
        // Paused or cut off, it may not know; the store does.
        let late = fenced.txn(Txn::default().put("/job", "late")).await;
        assert!(matches!(late, Err(Error::Deposed)), "{late:?}");
        let late = fenced.commit(vec![Txn::default().put("/a", ""), Txn::default().absent("/job").put("/b", "")]).await;
        assert!(matches!(late, Err(Error::Deposed)), "{late:?}");
        assert_eq!(other.list("/").await.unwrap().iter().filter(|entry| entry.key != first.key).count(), 1);
        let now = Fenced::new(Arc::new(other.clone()), next.fence());
        assert!(now.txn(Txn::default().put("/job", "2")).await.unwrap().committed().is_some());
        let conflict = now.txn(Txn::default().absent("/job").put("/job", "3")).await.unwrap();
        let TxnOutcome::Conflict(compared) = conflict else { panic!("/job is there") };
        assert_eq!(compared.len(), 1, "the fence is not shown");
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_fails_at_most_one_holds_the_office_and_epochs_grow() {
        for seed in 0..200 {
            let one = MemoryStore::new(seed);
            let stores = [one.clone(), one.on_another_way(seed + 1000), one.on_another_way(seed + 2000)];
            let held = Arc::new(std::sync::Mutex::new((0, 0)));
            let mut random = fastrand::Rng::with_seed(seed);
            let candidates = stores.clone().map(|store| {
                let held = Arc::clone(&held);
                let stay = Duration::from_millis(random.u64(100..9000));
                tokio::spawn(async move {
                    for _ in 0..3 {
                        let election = Election::new(Arc::new(store.clone()), "scheduler");
                        let leadership = election.campaign("http://x").await.unwrap();
                        {
                            let (holders, last) = &mut *held.lock().unwrap();
                            assert!(leadership.epoch() > *last, "seed {seed}: an epoch came again");
                            assert_eq!(*holders, 0, "seed {seed}: two hold the office");
                            (*holders, *last) = (1, leadership.epoch());
                        }
                        // Until it has had enough, or has lost it.
                        let _ = timeout(stay, leadership.lost().cancelled()).await;
                        held.lock().unwrap().0 = 0;
                        leadership.resign().await;
                    }
                })
            });
            let troubles = tokio::spawn(async move {
                loop {
                    for store in &stores {
                        store.set_faults(Faults {
                            unknown_outcome: random.f64() * 0.5,
                            unavailable: if random.bool() { 0.0 } else { random.f64() },
                            gap: random.f64() * 0.5,
                            delay: Duration::from_millis(random.u64(0..300)),
                            ..Faults::default()
                        });
                    }
                    sleep(Duration::from_millis(random.u64(100..4000))).await;
                }
            });
            let all = timeout(Duration::from_secs(7200), futures::future::join_all(candidates)).await;
            troubles.abort();
            let ended = all.unwrap_or_else(|_| panic!("seed {seed}: somebody never leads"));
            ended.into_iter().for_each(|candidate| candidate.unwrap());
        }
    }
}
