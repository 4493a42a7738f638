//! Ranks that other workers hold.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use collectives::network::Link;
use worker::{Load, RankHost};

use super::greeting::{self, Challenge, Reply, Wish};
use super::link;

/// How this worker reaches others.
pub struct Reach {
    pub tls: Option<tls::Files>,
    /// The cluster's token.
    pub token: String,
}

/// Another worker has no room for its rank.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoRoom(pub String);

/// How long a worker may take to look at its files.
const LOOKING: Duration = Duration::from_secs(120);

impl Reach {
    /// Has other workers hold a model's ranks, each of so many bytes. Returns the ways to them, in their order.
    ///
    /// # Errors
    /// Why one of them does not: then none does.
    pub fn dial(&self, load: &Load, bytes: u64, nccl: bool) -> Result<Vec<Box<dyn Link>>> {
        let of = load.rank_hosts.len() + 1;
        if of != load.ranks as usize {
            bail!("{of} places are named for {} ranks", load.ranks);
        }
        let digest = models::digest(&load.folder)?;
        let wish = |rank, device| wish(load, (rank, device), bytes, &digest, nccl);
        // All at once: each looks at its files.
        let asked = thread::scope(|scope| {
            let threads: Vec<_> = load
                .rank_hosts
                .iter()
                .zip(1..)
                .map(|(host, rank)| {
                    let wish = wish(rank, &host.device);
                    (host, scope.spawn(move || self.ask(host, wish)))
                })
                .collect();
            let join = |(host, thread): (&RankHost, thread::ScopedJoinHandle<'_, Result<Box<dyn Link>>>)| {
                let link = thread.join().unwrap_or_else(|_| Err(anyhow!("asking it panicked")));
                // A loss of room is told from other reasons, whatever is said of it.
                link.map_err(|error| match error.downcast::<NoRoom>() {
                    Ok(NoRoom(why)) => NoRoom(format!("worker {}: {why}", host.worker)).into(),
                    Err(error) => error.context(format!("worker {} at {} holds no rank", host.worker, host.address)),
                })
            };
            threads.into_iter().map(join).collect::<Vec<_>>()
        });
        asked.into_iter().collect()
    }

    pub(super) fn ask(&self, host: &RankHost, wish: Wish) -> Result<Box<dyn Link>> {
        let link = link::dial(&host.address, self.tls.as_ref())?;
        let challenge: Challenge = greeting::hear(&*link, greeting::PATIENCE)?;
        let proof = greeting::proof(&self.token, &challenge.nonce).to_string();
        greeting::say(&*link, &Wish { proof, ..wish })?;
        match greeting::hear(&*link, LOOKING).context("its reply is missing")? {
            Reply::Taken => Ok(link),
            Reply::Refused { why, no_room: true } => Err(NoRoom(why).into()),
            Reply::Refused { why, no_room: false } => Err(anyhow!(why)),
        }
    }
}

/// Writes what is wanted of a worker that is to hold a rank on a device, but for the proof.
pub(super) fn wish(load: &Load, (rank, device): (usize, &str), bytes: u64, digest: &str, nccl: bool) -> Wish {
    Wish {
        version: env!("CARGO_PKG_VERSION").into(),
        proof: String::new(),
        model: load.key.to_string(),
        folder: load.folder.clone(),
        digest: digest.to_owned(),
        rank,
        of: load.ranks as usize,
        device: device.to_owned(),
        bytes,
        nccl,
    }
}
