//! What becomes of all jobs, whoever accepted them, as the store tells it: they count in the [`Backlog`], and a websocket
//! of this gateway is joined to the job that a request to another gateway made.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use futures::StreamExt;
use ids::JobId;
use store::{JobRecord, Jobs, Position, Presence};

use crate::backlog::Backlog;
use crate::gone::Gone;
use crate::session::{self, Sessions};

/// How long a store that failed is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// Changes that are looked at together, where so many have come.
const TOGETHER: usize = 100;

/// Follows all jobs for one gateway.
pub struct Tracker {
    pub jobs: Jobs,
    pub backlog: Backlog,
    pub sessions: Sessions,
    pub gone: Gone,
}

impl Tracker {
    /// Keeps backlog and websockets as the store has the jobs, for as long as it is polled.
    pub async fn track(&self) -> Infallible {
        loop {
            let Err(error) = self.follow().await;
            tracing::warn!(%error, "cannot follow the jobs that wait; trying again");
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn follow(&self) -> Result<Infallible, store::Error> {
        let mut changes = self.jobs.presence().await?.ready_chunks(TOGETHER);
        // What happened before, also while the store was away.
        self.look_through().await?;
        while let Some(mut changes) = changes.next().await {
            let mut unknown = self.unknown(&mut changes).await?;
            for change in changes {
                match change {
                    Presence::Live(job, _) => {
                        if let Some(record) = unknown.remove(&job) {
                            self.join(&record).await?;
                            if !record.state.terminal() {
                                self.backlog.add(&record);
                            }
                        }
                    }
                    Presence::Ended(job) => self.backlog.remove(job),
                    Presence::Recheck => self.look_through().await?,
                }
            }
        }
        Err(store::Error::Closed)
    }

    /// Returns the jobs that some changes tell of and that nobody here has accepted or seen before. Those that come without
    /// their record are read.
    async fn unknown(&self, changes: &mut [Presence]) -> Result<HashMap<JobId, JobRecord>, store::Error> {
        let (mut told, mut ids) = (HashMap::new(), Vec::new());
        for change in changes {
            match change {
                Presence::Live(job, record) if !self.backlog.knows(*job) => {
                    match record.take().and_then(|it| it.shown()) {
                        Some(record) => drop(told.insert(*job, record)),
                        None => ids.push(*job),
                    }
                }
                _ => {}
            }
        }
        ids.retain(|job| !told.contains_key(job));
        ids.sort_unstable();
        ids.dedup();
        if !ids.is_empty() {
            told.extend(self.jobs.look(&ids).await?.into_iter().map(|record| (record.id, record)));
        }
        Ok(told)
    }

    /// Joins the websocket that waits for a job, if it is here. Where it was, its client is gone.
    async fn join(&self, record: &JobRecord) -> Result<(), store::Error> {
        let (session, tenant) = (&record.session, &record.tenant);
        if self.sessions.waits(session, tenant) {
            // It may have ended by now: its follower reads all of it. Made before the websocket is taken, which waits on
            // if that fails.
            let follow = self.jobs.follow(record.id, Position::default()).await?;
            if let Some(socket) = self.sessions.take(session, tenant) {
                session::attach(socket, record.id, follow, &self.gone);
                return Ok(());
            }
        }
        if self.sessions.closed(session, tenant) {
            self.gone.left(record.id);
        }
        Ok(())
    }

    /// Reads what may have been missed: all jobs that wait or run and, while websockets wait, those that have ended since
    /// the first of them was opened.
    async fn look_through(&self) -> Result<(), store::Error> {
        let live = self.jobs.live().await?.jobs;
        let ids: Vec<JobId> = live.iter().map(|job| job.id).collect();
        let mut listed = self.jobs.look(&ids).await?;
        listed.retain(|record| !record.state.terminal());
        self.backlog.recount(&listed);
        for record in &listed {
            self.join(record).await?;
        }
        // Read after those that live, so that a job which ends meanwhile is found in one of the two.
        let mut next = Some(String::new());
        while let (Some(after), Some(since)) = (next.take(), self.sessions.since()) {
            let page = self.jobs.ended_since(since, &after).await?;
            let ids: Vec<JobId> = page.jobs.iter().map(|ended| ended.id).collect();
            for record in self.jobs.look(&ids).await? {
                self.join(&record).await?;
            }
            next = page.next;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use auth::{Grant, Keys, Scope, Secret, ServerSecret, SessionIds, Terms};
    use ids::{KeyId, ModelKey, TenantId};
    use store::job::Event;
    use store::{Blob, Change, Faults, MemoryStore, MetadataStore, State};
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::session::Session;
    use crate::{Error, Settings};

    /// One gateway's view of a store, which is followed.
    struct Site {
        store: MemoryStore,
        jobs: Jobs,
        backlog: Backlog,
        sessions: Sessions,
        keys: Keys,
        tracking: tokio::task::JoinHandle<Infallible>,
    }

    impl Site {
        async fn new(seed: u64) -> Self {
            let store = MemoryStore::new(seed);
            let secret = ServerSecret::load(&store).await.unwrap();
            let (jobs, backlog) = (Jobs::new(Arc::new(store.clone())), Backlog::new(&Settings::default()));
            let sessions = Sessions::new(SessionIds::new(&secret, "here"));
            // What others do, they do on a way of their own.
            let seen = Jobs::new(Arc::new(store.on_another_way(2)));
            let gone = gone(&store, &secret);
            let tracker = Tracker { jobs: seen, backlog: backlog.clone(), sessions: sessions.clone(), gone };
            let tracking = tokio::spawn(async move { tracker.track().await });
            let keys = Keys::new(Arc::new(store.clone()), &secret);
            Self { store, jobs, backlog, sessions, keys, tracking }
        }

        fn open(&self) -> Session {
            self.sessions.open(Some(tenant()), Duration::from_secs(60)).unwrap()
        }

        /// Waits until so many jobs of so many bytes are counted.
        async fn until(&self, jobs: u64) {
            while self.backlog.bytes(&tenant()) != jobs * 100 {
                tokio::task::yield_now().await;
            }
        }
    }

    impl Drop for Site {
        fn drop(&mut self) {
            self.tracking.abort();
        }
    }

    fn tenant() -> TenantId {
        TenantId::new("ada")
    }

    fn gone(store: &MemoryStore, secret: &ServerSecret) -> Gone {
        let store: Arc<dyn MetadataStore> = Arc::new(store.clone());
        let keys = Keys::new(Arc::clone(&store), secret);
        Gone::new(Jobs::new(store), keys, CancellationToken::new(), TaskTracker::new())
    }

    /// A job that another gateway takes.
    fn job(session: &str) -> JobRecord {
        let (blob, model) = (Blob::Inline(vec![0; 100].into()), ModelKey::new("o/n", None));
        let record = JobRecord::queued(JobId::new(), tenant(), KeyId::new("k"), model, blob, 1);
        JobRecord { session: session.into(), ..record }
    }

    /// Reads what a websocket hears, to its job's end.
    async fn states(session: &mut Session) -> (JobId, Vec<State>) {
        let (job, mut follow) = (&mut session.job).await.unwrap();
        let mut states = Vec::new();
        while let Some(change) = follow.next().await.unwrap() {
            let Change::Record(record) = change else { panic!("it printed nothing") };
            states.push(record.state);
        }
        (job, states)
    }

    #[tokio::test(start_paused = true)]
    async fn jobs_count_from_whoever_accepted_them_until_they_end() {
        let site = Site::new(1).await;
        let (before, after) = (job(""), job(""));
        site.jobs.accept(&before).await.unwrap();
        site.until(1).await;
        site.jobs.accept(&after).await.unwrap();
        site.until(2).await;
        site.jobs.transition(before.id, 0, &Event::Cancelled, 2).await.unwrap();
        site.until(1).await;
        // One that this gateway accepts itself counts once.
        let own = job("");
        let entered = site.backlog.enter(&own).unwrap();
        site.jobs.accept(&own).await.unwrap();
        entered.stay();
        site.until(2).await;
        site.jobs.transition(after.id, 0, &Event::Cancelled, 2).await.unwrap();
        site.jobs.transition(own.id, 0, &Event::Cancelled, 2).await.unwrap();
        site.until(0).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_websocket_is_joined_to_the_job_that_names_it_and_to_no_other_tenants() {
        let site = Site::new(1).await;
        let mut session = site.open();
        let stranger = JobRecord { tenant: TenantId::new("bob"), ..job(&session.id) };
        site.jobs.accept(&stranger).await.unwrap();
        let other = job("a websocket elsewhere");
        site.jobs.accept(&other).await.unwrap();
        site.until(1).await;
        assert!(session.job.try_recv().is_err());
        let own = job(&session.id);
        site.jobs.accept(&own).await.unwrap();
        site.until(2).await;
        site.jobs.transition(own.id, 0, &Event::Cancelled, 2).await.unwrap();
        let (job, states) = states(&mut session).await;
        assert_eq!((job, states.last()), (own.id, Some(&State::Cancelled)));
        let claimed = site.sessions.claim(&session.id, &tenant(), None);
        assert!(matches!(claimed, Err(Error::NoSession)), "it had its request");
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_another_gateway_took_ends_as_its_key_says_where_its_websocket_had_closed_before() {
        let site = Site::new(1).await;
        let grant = Grant::new(tenant(), &[Scope::Submit]);
        let terms = Terms { cancel_when_gone: Some(30), ..Terms::default() };
        let indifferent = site.keys.register(&Secret::new("one"), grant.clone()).await.unwrap().id;
        let patient = site.keys.register(&Secret::new("other"), Grant { terms, ..grant }).await.unwrap().id;
        let (closed, other, open) = (site.open(), site.open(), site.open());
        let of = |key: &KeyId, session: &Session| JobRecord { key: key.clone(), ..job(&session.id) };
        let (ends, goes_on, waited_for) = (of(&patient, &closed), of(&indifferent, &other), of(&patient, &open));
        drop((closed, other));
        for record in [&ends, &goes_on, &waited_for] {
            site.jobs.accept(record).await.unwrap();
        }
        site.until(3).await;
        tokio::time::sleep(Duration::from_secs(29)).await;
        assert!(site.jobs.cancels().await.unwrap().is_empty());
        tokio::time::sleep(Duration::from_secs(1000)).await;
        assert_eq!(site.jobs.cancels().await.unwrap(), [ends.id]);
        drop(open);
    }

    #[tokio::test(start_paused = true)]
    async fn a_gap_in_the_watch_loses_no_websockets_job_though_it_has_ended_by_then() {
        for seed in 0..50 {
            let site = Site::new(seed).await;
            let mut sessions: Vec<Session> = (0..5).map(|_| site.open()).collect();
            site.store.set_faults(Faults { gap: 0.5, ..Faults::default() });
            let mut expected = Vec::new();
            for (number, session) in sessions.iter().enumerate() {
                let record = job(&session.id);
                site.jobs.accept(&record).await.unwrap();
                if (seed >> number) & 1 == 1 {
                    tokio::task::yield_now().await;
                }
                site.jobs.transition(record.id, 0, &Event::Cancelled, crate::unix_millis()).await.unwrap();
                expected.push(record.id);
            }
            // A gap behind which nothing comes would be told by the next change.
            site.store.resync();
            for (session, id) in sessions.iter_mut().zip(expected) {
                let (job, states) = states(session).await;
                assert_eq!((job, states.last()), (id, Some(&State::Cancelled)), "seed {seed}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_happened_while_the_store_was_away_is_found_when_it_is_back() {
        let store = MemoryStore::new(1);
        let secret = ServerSecret::load(&store).await.unwrap();
        let away = store.on_another_way(2);
        away.set_faults(Faults { unavailable: 1.0, ..Faults::default() });
        let sessions = Sessions::new(SessionIds::new(&secret, "here"));
        let backlog = Backlog::new(&Settings::default());
        let (jobs, gone) = (Jobs::new(Arc::new(away.clone())), gone(&store, &secret));
        let tracker = Tracker { jobs, backlog: backlog.clone(), sessions: sessions.clone(), gone };
        let tracking = tokio::spawn(async move { tracker.track().await });
        let mut open: Vec<Session> =
            (0..2).map(|_| sessions.open(Some(tenant()), Duration::from_secs(60)).unwrap()).collect();
        let jobs = Jobs::new(Arc::new(store));
        let (waits, ended) = (job(&open[0].id), job(&open[1].id));
        jobs.accept(&waits).await.unwrap();
        jobs.accept(&ended).await.unwrap();
        jobs.transition(ended.id, 0, &Event::Cancelled, crate::unix_millis()).await.unwrap();
        tokio::time::sleep(PAUSE * 20).await;
        assert!(sessions.waits(&waits.session, &tenant()) && sessions.waits(&ended.session, &tenant()));
        away.set_faults(Faults::default());
        assert_eq!(states(&mut open[1]).await, (ended.id, vec![State::Cancelled]));
        let (job, _) = (&mut open[0].job).await.unwrap();
        assert_eq!((job, backlog.bytes(&tenant())), (waits.id, 100));
        tracking.abort();
    }
}
