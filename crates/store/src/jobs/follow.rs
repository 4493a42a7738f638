//! Following one job: its states, what it prints, its end.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use ids::JobId;

use super::keys;
use crate::ROOT;
use crate::error::Error;
use crate::job::JobRecord;
use crate::metadata::{Entry, Event, MetadataStore, Revision, Watch};
use crate::objects::Blob;
use crate::stored;

/// How far a follower has read. The default is before everything.
///
/// Several entries can have one revision, so it has the last one's key, too.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub revision: Revision,
    pub key: String,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.revision, self.key.strip_prefix(ROOT).unwrap_or(&self.key))
    }
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (revision, key) = text.split_once('.')?;
            Some(Self { revision: revision.parse().ok()?, key: [ROOT, key].concat() })
        };
        read().ok_or_else(|| format!("{text:?} is no event's id that this server gave out"))
    }
}

/// One step of a job, as its followers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The record changed. Intermediate states may be missed by who looks late, the last one never.
    Record(Box<JobRecord>),
    /// The program printed: one line or several, without the last line's end.
    Log { attempt: u32, text: String },
}

/// Reads one job's changes in order.
pub struct Follow {
    store: Arc<dyn MetadataStore>,
    id: JobId,
    /// What the keys of its parts begin with.
    prefix: String,
    /// What was asked for, once it was read.
    request: Option<JobRecord>,
    /// How far the job is, and until it has ended.
    live: Source,
    /// All else of it.
    parts: Source,
    position: Position,
    /// Entries that were listed and are to be told next.
    pending: VecDeque<Entry>,
    /// Changes up to here are in the last listing.
    listed_at: Revision,
    /// Whether what was there before the watches (or was dropped from them) has been read.
    listed: bool,
    ended: bool,
}

/// A watch, and what was read from it and not yet told.
struct Source {
    watch: Watch,
    next: Option<Event>,
}

impl Follow {
    pub(super) async fn open(store: Arc<dyn MetadataStore>, id: JobId, position: Position) -> Result<Self, Error> {
        let live = Source { watch: store.watch(&keys::live(id), None).await?, next: None };
        let prefix = keys::job(id);
        let parts = Source { watch: store.watch(&prefix, None).await?, next: None };
        Ok(Self {
            store,
            id,
            prefix,
            request: None,
            live,
            parts,
            position,
            pending: VecDeque::new(),
            listed_at: 0,
            listed: false,
            ended: false,
        })
    }

    pub(super) async fn open_new(store: Arc<dyn MetadataStore>, id: JobId) -> Result<Self, Error> {
        // There is nothing to list.
        Ok(Self { listed: true, ..Self::open(store, id, Position::default()).await? })
    }

    /// Returns the next change, or `None` after the record of a job that has ended (or was forgotten).
    ///
    /// # Errors
    /// Failures of the store.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Change>, Error> {
        while !self.ended {
            if !self.listed {
                self.list().await?;
            }
            // Looked at before it is taken out, so that nothing is lost where reading it has to wait.
            if let Some(entry) = self.pending.front().cloned() {
                let change = self.change(entry).await?;
                self.pending.pop_front();
                if change.is_some() {
                    return Ok(change);
                }
                continue;
            }
            let Some(event) = self.event().await else {
                self.ended = true;
                continue;
            };
            match event {
                Event::Put(entry) if entry.revision > self.listed_at => self.pending.push_back(entry),
                Event::Delete { key, revision }
                    if revision > self.listed_at && self.part(&key) == Some(keys::REQUEST) =>
                {
                    self.ended = true;
                }
                Event::Resync => self.listed = false,
                Event::Put(_) | Event::Delete { .. } | Event::Progress(_) => {}
            }
        }
        Ok(None)
    }

    /// Returns how far it has read: give it to [`super::Jobs::follow`] to go on from here.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position.clone()
    }

    /// Reads what is there.
    async fn list(&mut self) -> Result<(), Error> {
        let parts = self.store.snapshot(&self.prefix).await?;
        // Read later, so that a job that has ended meanwhile is found in one of the two.
        let live = match parts.entries.iter().any(|entry| self.part(&entry.key) == Some(keys::OUTCOME)) {
            true => None,
            false => self.store.get(&keys::live(self.id)).await?,
        };
        let mut entries = parts.entries;
        entries.extend(live.filter(|live| live.revision <= parts.revision));
        entries.sort_by(|left, right| (left.revision, &left.key).cmp(&(right.revision, &right.key)));
        self.ended = entries.is_empty();
        self.listed_at = parts.revision;
        self.pending = entries.into();
        self.listed = true;
        Ok(())
    }

    /// Waits for the next event, in the order of revisions. `None` when the store is gone.
    ///
    /// Cancel safe: what was read stays in its source.
    async fn event(&mut self) -> Option<Event> {
        if self.live.next.is_none() && self.parts.next.is_none() {
            tokio::select! {
                event = self.live.watch.next() => self.live.next = Some(event?),
                event = self.parts.watch.next() => self.parts.next = Some(event?),
            }
        }
        // What was committed before one of them came is in the other by now.
        for source in [&mut self.live, &mut self.parts] {
            if source.next.is_none()
                && let Some(Some(event)) = source.watch.next().now_or_never()
            {
                source.next = Some(event);
            }
        }
        let live_first = match (&self.live.next, &self.parts.next) {
            (Some(live), Some(parts)) => (live.revision(), live.key()) <= (parts.revision(), parts.key()),
            (live, _) => live.is_some(),
        };
        let source = if live_first { &mut self.live } else { &mut self.parts };
        source.next.take()
    }

    /// Says what an entry means to a follower, if anything, and that it was read.
    async fn change(&mut self, entry: Entry) -> Result<Option<Change>, Error> {
        let mut change = None;
        match self.part(&entry.key) {
            Some(keys::REQUEST) => self.request = Some(stored::read_request(self.id, &entry)?),
            Some(keys::OUTCOME) => {
                let record = stored::read_outcome(self.request().await?, &entry)?;
                // Read before or not: nothing else will come.
                self.ended = true;
                change = Some(Change::Record(Box::new(record)));
            }
            Some(part) => {
                if let Some(attempt) = keys::log_attempt(part) {
                    let text = String::from_utf8_lossy(&entry.value).into_owned();
                    change = Some(Change::Log { attempt, text });
                }
            }
            None => {
                let live = stored::read_live(self.id, &entry)?;
                change = Some(Change::Record(Box::new(self.request().await?.at(&live))));
            }
        }
        let position = Position { revision: entry.revision, key: entry.key };
        if change.is_none() || position <= self.position {
            return Ok(None);
        }
        self.position = position;
        Ok(change)
    }

    /// Returns which part of the job lies under a key; `None` where it is how far the job is.
    fn part<'a>(&self, key: &'a str) -> Option<&'a str> {
        key.strip_prefix(self.prefix.as_str())
    }

    async fn request(&mut self) -> Result<JobRecord, Error> {
        if let Some(request) = &self.request {
            return Ok(request.clone());
        }
        let key = keys::request(self.id);
        let entry = self.store.get(&key).await?.ok_or(Error::NoJob(self.id))?;
        let record = JobRecord { payload: Blob::Inline(Bytes::new()), ..stored::read_request(self.id, &entry)? };
        Ok(self.request.insert(record).clone())
    }
}
