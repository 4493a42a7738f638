//! What two workers say to each other before one holds a rank of the other's model.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use collectives::network::{Link, SLICE};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The first word of who is dialled.
#[derive(Serialize, Deserialize)]
pub struct Challenge {
    /// Of its program. Ranks of one group are of one version: their orders are.
    pub version: String,
    /// What proves that who dials belongs to the cluster is made of it.
    pub nonce: String,
}

/// What who has dialled wants held.
#[derive(Serialize, Deserialize)]
pub struct Wish {
    pub version: String,
    pub proof: String,
    pub model: String,
    pub folder: PathBuf,
    /// Of the files there, as [`models::digest`] has it.
    pub digest: String,
    pub rank: usize,
    pub of: usize,
    pub device: String,
    /// What it takes there.
    pub bytes: u64,
    /// Whether NCCL is to carry GPUs' memory between the ranks, if all can.
    pub nccl: bool,
}

#[derive(Serialize, Deserialize)]
pub enum Reply {
    Taken,
    Refused {
        why: String,
        /// Whether others have the memory that it takes.
        no_room: bool,
    },
}

/// Bytes of one of these at most.
const MOST: usize = 64 << 10;

/// How long each may take, but for the reply: whoever gives that looks at its files first.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Shows that somebody knows a cluster's token, without telling it.
pub fn proof(token: &str, nonce: &str) -> blake3::Hash {
    blake3::keyed_hash(blake3::hash(token.as_bytes()).as_bytes(), nonce.as_bytes())
}

/// Says something.
///
/// # Errors
/// When the connection breaks, or nobody listens.
pub fn say<T: Serialize>(link: &dyn Link, what: &T) -> Result<()> {
    let text = serde_json::to_vec(what)?;
    let mut bytes = u32::try_from(text.len())?.to_le_bytes().to_vec();
    bytes.extend(text);
    let mut rest = bytes.as_slice();
    within(PATIENCE, || {
        while !rest.is_empty() {
            let count = link.write(rest)?;
            rest = rest.get(count..).unwrap_or_default();
        }
        link.flush()
    })
}

/// Hears something, for which the other end has so long.
///
/// # Errors
/// When the connection breaks, or the other end says nothing, or what it says is something else.
pub fn hear<T: DeserializeOwned>(link: &dyn Link, longest: Duration) -> Result<T> {
    let mut length = [0; 4];
    fill(link, &mut length, longest)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MOST {
        bail!("what it said is no greeting of a worker");
    }
    let mut text = vec![0; length];
    fill(link, &mut text, PATIENCE)?;
    serde_json::from_slice(&text).context("what it said is no greeting of a worker of this version")
}

fn fill(link: &dyn Link, bytes: &mut [u8], longest: Duration) -> Result<()> {
    let mut done = 0;
    within(longest, || {
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match link.read(rest)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => done += count,
            }
        }
        Ok(())
    })
}

/// Goes on with something for so long, though it is late at times.
fn within(longest: Duration, mut go_on: impl FnMut() -> io::Result<()>) -> Result<()> {
    let mut waited = Duration::ZERO;
    loop {
        match go_on() {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                bail!("it ended the connection; its log says why")
            }
            Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(error.into());
            }
            Err(_) if waited >= longest => bail!("it did not answer for {} s", waited.as_secs()),
            Err(_) => waited += SLICE,
        }
    }
}
