//! Lines between workers and schedulers, which take time, break, or swallow what is sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use proto::v1;
use scheduler::{Inbox, Replies};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use worker::{Dial, Dialled};

/// The lines of all workers.
pub struct Network(Mutex<State>);

struct State {
    random: Rng,
    /// The longest that a message takes, in microseconds.
    slowest: u64,
    /// Who listens, by address.
    schedulers: BTreeMap<String, Listener>,
    /// By worker.
    lines: Vec<Wire>,
}

/// What answers workers.
pub type Listener = Arc<dyn Fn(Inbox) -> BoxFuture<'static, Result<Replies, Status>> + Send + Sync>;

/// How one worker's line is.
#[derive(Clone)]
struct Wire {
    down_until: Instant,
    mute_until: Instant,
    /// Breaks the connections that are open.
    open: CancellationToken,
}

impl Network {
    pub fn new(workers: usize, seed: u64, slowest: u64) -> Self {
        let now = Instant::now();
        let wire = || Wire { down_until: now, mute_until: now, open: CancellationToken::new() };
        let lines = (0..workers).map(|_| wire()).collect();
        Self(Mutex::new(State { random: Rng::with_seed(!seed), slowest, schedulers: BTreeMap::new(), lines }))
    }

    /// Names who listens at an address, if anybody does.
    pub fn listen(&self, address: &str, listener: Option<Listener>) {
        let schedulers = &mut self.lock().schedulers;
        match listener {
            Some(listener) => schedulers.insert(address.to_owned(), listener),
            None => schedulers.remove(address),
        };
    }

    /// Breaks a worker's connection, and lets none be made for a while.
    pub fn cut(&self, worker: usize, time: Duration) {
        let line = &mut self.lock().lines[worker];
        line.down_until = Instant::now() + time;
        std::mem::take(&mut line.open).cancel();
    }

    /// Lets nothing through for a while, without breaking a connection.
    pub fn silence(&self, worker: usize, time: Duration) {
        self.lock().lines[worker].mute_until = Instant::now() + time;
    }

    /// Says whether a worker's line has been well for a while.
    pub fn well(&self, worker: usize) -> bool {
        let Wire { down_until, mute_until, .. } = self.wire(worker);
        down_until.max(mute_until) + Duration::from_secs(15) <= Instant::now()
    }

    /// Mends every line.
    pub fn heal(&self) {
        let now = Instant::now();
        for line in &mut self.lock().lines {
            (line.down_until, line.mute_until) = (now, now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how long a message takes.
    fn latency(&self) -> Duration {
        let mut state = self.lock();
        let slowest = state.slowest;
        Duration::from_micros(state.random.u64(0..=slowest))
    }

    fn wire(&self, worker: usize) -> Wire {
        self.lock().lines[worker].clone()
    }
}

/// One worker's line.
pub struct Line {
    pub network: Arc<Network>,
    pub worker: usize,
}

impl Dial for Line {
    fn dial(&self, address: &str, messages: ReceiverStream<v1::FromWorker>) -> BoxFuture<'static, Dialled> {
        let (network, worker, address) = (Arc::clone(&self.network), self.worker, address.to_owned());
        Box::pin(async move {
            pause(network.latency()).await;
            let wire = network.wire(worker);
            if wire.mute_until > Instant::now() {
                // Nobody hears it, and nobody says so.
                tokio::time::sleep_until(wire.mute_until).await;
            }
            let scheduler = network.lock().schedulers.get(&address).cloned();
            let Some(scheduler) = scheduler.filter(|_| wire.down_until <= Instant::now()) else {
                return Err(Status::unavailable("the connection was refused"));
            };
            let inbox = carry(&network, worker, &wire.open, messages.map(Ok).boxed());
            let replies = scheduler(inbox).await?;
            Ok(carry(&network, worker, &wire.open, replies.boxed()))
        })
    }
}

/// Carries what is sent to the other end, in order, until the connection breaks.
fn carry<T: Send + 'static>(
    network: &Arc<Network>,
    worker: usize,
    open: &CancellationToken,
    mut from: BoxStream<'static, Result<T, Status>>,
) -> BoxStream<'static, Result<T, Status>> {
    let (far, arrives) = mpsc::channel(1024);
    let (network, open) = (Arc::clone(network), open.clone());
    tokio::spawn(async move {
        let carrying = async {
            while let Some(message) = from.next().await {
                pause(network.latency()).await;
                let muted = network.wire(worker).mute_until;
                if muted > Instant::now() {
                    // As TCP does it: what could not get through comes later, if the connection lasts.
                    tokio::time::sleep_until(muted).await;
                }
                if far.send(message).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = open.cancelled() => {}
            () = carrying => {}
        }
    });
    ReceiverStream::new(arrives).boxed()
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}
