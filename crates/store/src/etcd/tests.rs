//! The contract on real etcd, and what etcd and the way to it can do to us.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use etcd_client::Client;
use futures::StreamExt;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::*;
use crate::election::Election;
use crate::fenced::Fenced;
use crate::job::{Event as JobEvent, State};
use crate::jobs::{Accepted, Change, Jobs};
use crate::metadata::Event;
use crate::testing::etcd::{Cluster, Member, free_ports};

/// Time for whatever must happen sooner or later.
const PATIENCE: Duration = Duration::from_secs(60);

async fn open(cluster: &Cluster) -> EtcdStore {
    EtcdStore::connect(cluster.options()).await.unwrap()
}

/// A client that knows nothing of our ways.
async fn stranger(cluster: &Cluster) -> Client {
    Client::connect([&cluster.members[0].url], None).await.unwrap()
}

/// A way to a member that can be cut.
struct Way {
    address: SocketAddr,
    target: SocketAddr,
    task: JoinHandle<()>,
}

impl Way {
    async fn to(member: &Member) -> Self {
        let target = member.url.trim_start_matches("http://").parse().unwrap();
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { address, target, task: tokio::spawn(carry(listener, target)) }
    }

    /// Ends all connections, and takes no more.
    async fn cut(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    async fn mend(&mut self) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        self.task = tokio::spawn(carry(socket.listen(64).unwrap(), self.target));
    }

    fn options(&self) -> EtcdOptions {
        EtcdOptions { deadline: Duration::from_secs(2), ..EtcdOptions::new([format!("http://{}", self.address)]) }
    }
}

async fn carry(listener: tokio::net::TcpListener, target: SocketAddr) {
    // Aborting this one drops the set, and with it the connections.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        connections.spawn(async move {
            let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
    }
}

async fn next(watch: &mut Watch) -> Event {
    loop {
        match timeout(PATIENCE, watch.next()).await.expect("the watch sleeps").expect("the watch ended") {
            Event::Progress(_) => {}
            event => return event,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_keeps_the_contract() {
    let cluster = Cluster::start(1).await;
    let number = AtomicU32::new(0);
    crate::testing::run_conformance(|| async {
        let namespace = format!("/tests/{}", number.fetch_add(1, Ordering::Relaxed));
        EtcdStore::connect(EtcdOptions { namespace, ..cluster.options() }).await.unwrap()
    })
    .await;
    // Nothing leaves its namespace.
    let all = stranger(&cluster).await.get("/", Some(GetOptions::new().with_prefix())).await.unwrap();
    assert!(all.kvs().iter().all(|pair| pair.key().starts_with(b"/tests/")));
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_when_etcd_comes_back() {
    let mut cluster = Cluster::start(1).await;
    let store = open(&cluster).await;
    let mut watch = store.watch("/w/", None).await.unwrap();
    store.put("/w/0", Bytes::new()).await.unwrap();
    assert_eq!(next(&mut watch).await.key(), "/w/0");
    for number in 1..4 {
        cluster.members[0].kill();
        cluster.members[0].start_again();
        cluster.ready().await;
        let key = format!("/w/{number}");
        // Before the watch has found its way, perhaps.
        stranger(&cluster).await.put(key.clone(), "", None).await.unwrap();
        assert_eq!(next(&mut watch).await.key(), key);
    }
    assert_eq!(store.list("/w/").await.unwrap().len(), 4);
}

#[tokio::test]
async fn after_a_compaction_a_watch_is_told_to_list_and_misses_nothing_later() {
    let cluster = Cluster::start(1).await;
    let mut way = Way::to(&cluster.members[0]).await;
    let store = EtcdStore::connect(way.options()).await.unwrap();
    store.put("/w/before", Bytes::new()).await.unwrap();
    let from = store.snapshot("/w/").await.unwrap().revision;
    let mut watch = store.watch("/w/", Some(from)).await.unwrap();
    way.cut().await;
    let mut stranger = stranger(&cluster).await;
    let mut revision = 0;
    for number in 0..10 {
        let put = stranger.put(format!("/w/{number}"), "", None).await.unwrap();
        revision = put.header().unwrap().revision();
    }
    stranger.compact(revision, None).await.unwrap();
    way.mend().await;
    assert_eq!(next(&mut watch).await, Event::Resync);
    assert_eq!(store.list("/w/").await.unwrap().len(), 11);
    stranger.put("/w/later", "", None).await.unwrap();
    assert_eq!(next(&mut watch).await.key(), "/w/later");
    // A listing that began before it has to begin again.
    let old = Range { at: Some(from), ..Range::of("/w/") };
    assert!(matches!(store.range(old).await, Err(Error::Compacted)));
    // Who asks for what is known only to etcd is told to list, too.
    let mut late = store.watch("/w/", Some(from)).await.unwrap();
    assert_eq!(next(&mut late).await, Event::Resync);
}

#[tokio::test]
async fn an_etcd_that_was_set_back_is_noticed_though_nothing_is_written() {
    let mut cluster = Cluster::start(1).await;
    let store = open(&cluster).await;
    for number in 0..10 {
        store.put(&format!("/w/{number}"), Bytes::new()).await.unwrap();
    }
    // With the token that it had, which is what etcd takes where none is named.
    cluster.members[0].forget("etcd-cluster");
    cluster.ready().await;
    timeout(PATIENCE, store.set_back().cancelled_owned()).await.expect("it is not noticed");
    assert_eq!(store.list("/w/").await.unwrap(), []);
    let refused = store.put("/w/later", Bytes::new()).await.unwrap_err().to_string();
    assert!(refused.contains("etcd was restored from a snapshot"), "{refused}");
    assert_eq!(open(&cluster).await.list("/w/").await.unwrap(), []);
}

#[tokio::test]
async fn an_etcd_that_was_set_back_is_noticed_though_more_is_written_than_it_forgot() {
    let mut cluster = Cluster::start(1).await;
    let mut way = Way::to(&cluster.members[0]).await;
    let store = EtcdStore::connect(way.options()).await.unwrap();
    let told = store.snapshot("/w/").await.unwrap().revision;
    way.cut().await;
    // With a token of its own, as the guide has it.
    cluster.members[0].forget("restored");
    cluster.ready().await;
    let other = open(&cluster).await;
    for number in 0..10 {
        other.put(&format!("/w/{number}"), Bytes::new()).await.unwrap();
    }
    assert!(other.snapshot("/w/").await.unwrap().revision > told);
    way.mend().await;
    timeout(PATIENCE, store.set_back().cancelled_owned()).await.expect("it is not noticed");
}

#[tokio::test]
async fn a_watch_says_that_it_is_alive() {
    let cluster = Cluster::start(1).await;
    let store = open(&cluster).await;
    store.put("/w", Bytes::new()).await.unwrap();
    let mut watch = store.watch("/elsewhere", None).await.unwrap();
    let event = timeout(PATIENCE, watch.next()).await.unwrap().unwrap();
    assert!(matches!(event, Event::Progress(revision) if revision > 0), "{event:?}");
}

#[tokio::test]
async fn b19_an_accept_whose_answer_was_lost_is_one_job_and_a_success() {
    let cluster = Cluster::start(1).await;
    let options = EtcdOptions { deadline: Duration::from_secs(1), ..cluster.options() };
    let store = Arc::new(EtcdStore::connect(options).await.unwrap());
    let jobs = Jobs::new(store.clone());
    cluster.members[0].stop();
    let put = store.put("/unknown", Bytes::new()).await;
    assert!(matches!(put, Err(Error::Unavailable { maybe_done: true, .. })), "{put:?}");
    let record = crate::jobs::tests::queued();
    let accepting = tokio::spawn({
        let (jobs, record) = (jobs.clone(), record.clone());
        async move { jobs.accept(&record).await }
    });
    // Longer than one call may take: the first is given up, and done all the same when etcd wakes up.
    sleep(Duration::from_millis(1300)).await;
    cluster.members[0].go_on();
    assert_eq!(accepting.await.unwrap().unwrap(), Accepted::New);
    let live = jobs.live().await.unwrap();
    assert_eq!(live.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [record.id]);
}

#[tokio::test]
async fn an_etcd_that_is_not_there_is_named_in_time() {
    let [port] = free_ports(1)[..] else { panic!("one port was asked for") };
    let options =
        EtcdOptions { deadline: Duration::from_millis(500), ..EtcdOptions::new([format!("http://127.0.0.1:{port}")]) };
    let error = timeout(PATIENCE, EtcdStore::connect(options)).await.unwrap().err().unwrap();
    assert!(matches!(error, Error::Unavailable { maybe_done: false, .. }), "{error}");
    assert!(error.to_string().starts_with("the store cannot be reached: "), "{error}");
}

#[tokio::test]
async fn s2_a_cluster_that_loses_its_leader_goes_on() {
    let mut cluster = Cluster::start(3).await;
    let store = Arc::new(open(&cluster).await);
    let jobs = Jobs::new(store.clone());
    let lease = store.lease(Duration::from_secs(20)).await.unwrap();
    store.txn(Txn::default().put_leased("/leased", "", lease.id())).await.unwrap();
    let mut watch = store.watch("/w/", None).await.unwrap();
    for expected in 0..2 {
        let mut leader = None;
        for (number, member) in cluster.members.iter().enumerate() {
            let status = Client::connect([&member.url], None).await.unwrap().status().await.unwrap();
            if status.header().unwrap().member_id() == status.leader() {
                leader = Some(number);
            }
        }
        let leader = leader.expect("somebody leads");
        cluster.members[leader].kill();
        // What asks again until it is known needs no help; what is asked once may meet the gap.
        let accepted = timeout(PATIENCE, async {
            loop {
                match jobs.accept(&crate::jobs::tests::queued()).await {
                    Ok(accepted) => return accepted,
                    Err(Error::Unavailable { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        assert_eq!(accepted.await.unwrap(), Accepted::New);
        let put = async {
            while let Err(error) = store.put(&format!("/w/{expected}"), Bytes::new()).await {
                assert!(matches!(error, Error::Unavailable { .. }), "{error}");
            }
        };
        timeout(PATIENCE, put).await.unwrap();
        assert_eq!(next(&mut watch).await.key(), format!("/w/{expected}"));
        assert!(lease.holds());
        cluster.members[leader].start_again();
        cluster.ready().await;
        // What was put twice because nobody knew is told twice.
        let rest = store.watch("/w/", None).await.unwrap();
        watch = rest;
    }
    assert!(store.get("/leased").await.unwrap().is_some());
    lease.revoke().await;
    assert_eq!(store.get("/leased").await.unwrap(), None);
}

#[tokio::test]
async fn who_is_deposed_behind_its_back_writes_nothing_more() {
    let cluster = Cluster::start(1).await;
    let (one, other) = (Arc::new(open(&cluster).await), Arc::new(open(&cluster).await));
    let election = |store: &Arc<EtcdStore>| Election::new(store.clone(), "scheduler");
    let old = election(&one).campaign("http://one").await.unwrap();
    let fenced = Fenced::new(one.clone(), old.fence());
    assert!(fenced.txn(Txn::default().put("/job", "1")).await.unwrap().committed().is_some());
    let standby = election(&other);
    let seen = standby.leader().await.unwrap().unwrap();
    assert_eq!((seen.address.as_str(), seen.epoch), ("http://one", old.epoch()));
    let campaign = tokio::spawn(async move { standby.campaign("http://other").await });
    // As if it had been paused for longer than its lease.
    let mut stranger = stranger(&cluster).await;
    for lease in stranger.leases().await.unwrap().leases() {
        let keys = stranger
            .lease_time_to_live(lease.id(), Some(etcd_client::LeaseTimeToLiveOptions::new().with_keys()))
            .await
            .unwrap();
        if !keys.keys().is_empty() {
            stranger.lease_revoke(lease.id()).await.unwrap();
            // The next that has a key is that of whoever has won meanwhile.
            break;
        }
    }
    let new = timeout(PATIENCE, campaign).await.unwrap().unwrap().unwrap();
    assert!(new.epoch() > old.epoch());
    let txns = (0..200).map(|number| Txn::default().put(format!("/late/{number}"), ""));
    assert!(matches!(fenced.commit(txns.collect()).await, Err(Error::Deposed)));
    assert_eq!(other.list("/late/").await.unwrap(), []);
    timeout(PATIENCE, old.lost().cancelled()).await.expect("it is never told");
    assert!(Fenced::new(other, new.fence()).txn(Txn::default().put("/job", "2")).await.unwrap().committed().is_some());
}

#[tokio::test]
async fn a_full_etcd_is_a_full_disk() {
    let mut cluster = Cluster::start(1).await;
    cluster.members[0].kill();
    cluster.members[0].arguments.push(format!("--quota-backend-bytes={}", 1 << 20));
    cluster.members[0].start_again();
    cluster.ready().await;
    let store = open(&cluster).await;
    let fill = async {
        for number in 0..100 {
            store.put(&format!("/{number}"), vec![7; 500_000].into()).await?;
        }
        Ok(())
    };
    let full: Result<(), Error> = fill.await;
    assert!(matches!(full, Err(Error::NoSpace { .. })), "{full:?}");
    assert!(!store.list("/").await.unwrap().is_empty(), "what is there can still be read");
}

#[tokio::test]
async fn what_many_commit_at_one_time_is_few_requests_and_each_is_told_its_own_outcome() {
    let cluster = Cluster::start(1).await;
    let store = open(&cluster).await;
    store.put("/k/7", Bytes::from_static(b"taken")).await.unwrap();
    let before = store.snapshot("/none").await.unwrap().revision;
    let key = |number: usize| format!("/k/{number}");
    let commits = (0..100).map(|number| store.txn(Txn::default().absent(key(number)).put(key(number), "new")));
    let outcomes = futures::future::join_all(commits).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match outcome.unwrap() {
            TxnOutcome::Committed(_) => assert_ne!(number, 7),
            TxnOutcome::Conflict(compared) => {
                let [Some(entry)] = &compared[..] else { panic!("{compared:?}") };
                assert_eq!((number, entry.key.as_str(), &entry.value[..]), (7, "/k/7", &b"taken"[..]));
            }
        }
    }
    let requests = store.snapshot("/none").await.unwrap().revision - before;
    assert!(requests <= 3, "{requests} requests for 100 commits");
    assert_eq!(store.list("/k/").await.unwrap().len(), 100);
    // Those that are in each other's way go one after another.
    let counted = (0..10).map(|_| store.txn(Txn::default().put("/counted", "")));
    let revisions: std::collections::BTreeSet<_> =
        futures::future::join_all(counted).await.into_iter().map(|outcome| outcome.unwrap().committed()).collect();
    assert_eq!(revisions.len(), 10);
}

#[tokio::test]
async fn a_jobs_whole_life_is_four_writes_and_its_followers_see_it() {
    let cluster = Cluster::start(1).await;
    let store = Arc::new(open(&cluster).await);
    let jobs = Jobs::new(store.clone());
    let before = store.snapshot("/none").await.unwrap().revision;
    let record = crate::jobs::tests::queued();
    let mut follow = jobs.follow_new(record.id).await.unwrap();
    assert_eq!(jobs.accept(&record).await.unwrap(), Accepted::New);
    let worker = ids::WorkerId::new("w");
    jobs.transition(record.id, 0, &JobEvent::Dispatched { worker, epoch: 1 }, 2).await.unwrap();
    jobs.transition(record.id, 1, &JobEvent::Started, 3).await.unwrap();
    let finished =
        JobEvent::Finished { result: crate::objects::Blob::Inline(Bytes::from_static(b"42")), meta: "{}".into() };
    jobs.transition(record.id, 1, &finished, 4).await.unwrap();
    assert_eq!(store.snapshot("/none").await.unwrap().revision - before, 4);
    let mut states = Vec::new();
    while let Some(change) = timeout(PATIENCE, follow.next()).await.unwrap().unwrap() {
        let Change::Record(record) = change else { panic!("it printed nothing") };
        states.push(record.state);
    }
    assert_eq!(states, [State::Queued, State::Dispatched, State::Running, State::Completed]);
}
