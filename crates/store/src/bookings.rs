//! For what times models are booked. All of it is one entry, so that of two bookings at once that cannot both be had, at
//! whichever gateways, the second sees the first.

use std::sync::Arc;

use ids::{ModelKey, TenantId};
use placement::Window;
use proto::{Message, stored};

use crate::ROOT;
use crate::error::Error;
use crate::messages;
use crate::metadata::{MetadataStore, Watch};
use crate::stored::decode;
use crate::txn::Txn;

/// The bookings of a metadata store.
#[derive(Clone)]
pub struct Bookings {
    store: Arc<dyn MetadataStore>,
}

/// A time for which a model is booked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booking {
    /// Names it among all that ever were.
    pub number: u64,
    pub model: ModelKey,
    pub window: Window,
}

impl Bookings {
    /// Views the bookings of `store`.
    #[must_use]
    pub fn new(store: Arc<dyn MetadataStore>) -> Self {
        Self { store }
    }

    /// Returns all of them, in the order in which they were made.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn list(&self) -> Result<Vec<Booking>, Error> {
        Ok(self.read().await?.0)
    }

    /// Adds one, if `may` says that it can be beside those that there are. Those that are over are forgotten. Returns it.
    ///
    /// # Errors
    /// Failures of the store; what `may` says.
    pub async fn add<E: From<Error>>(
        &self,
        (model, window): (ModelKey, Window),
        now: u64,
        may: impl Fn(&[Booking]) -> Result<(), E>,
    ) -> Result<Booking, E> {
        loop {
            let (mut all, last, txn) = self.read().await?;
            may(&all)?;
            let new = Booking { number: last + 1, model: model.clone(), window: window.clone() };
            all.retain(|booking| booking.window.next(now).is_some());
            all.push(new.clone());
            if self.store.txn(txn.put(path(), write(&all, new.number))).await?.committed().is_some() {
                return Ok(new);
            }
        }
    }

    /// Takes those back that `which` says. Returns them.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn remove(&self, which: impl Fn(&Booking) -> bool + Send + Sync) -> Result<Vec<Booking>, Error> {
        loop {
            let (all, last, txn) = self.read().await?;
            let (gone, left): (Vec<_>, Vec<_>) = all.into_iter().partition(&which);
            if gone.is_empty() || self.store.txn(txn.put(path(), write(&left, last))).await?.committed().is_some() {
                return Ok(gone);
            }
        }
    }

    /// Watches for changes: on each event, list again.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn watch(&self) -> Result<Watch, Error> {
        self.store.watch(&path(), None).await
    }

    /// Returns what there is, the number of the latest, and a transaction that is for no other state.
    async fn read(&self) -> Result<(Vec<Booking>, u64, Txn), Error> {
        let Some(entry) = self.store.get(&path()).await? else {
            return Ok((Vec::new(), 0, Txn::default().absent(path())));
        };
        let stored::Bookings { bookings, last } = decode::<stored::Bookings>(&entry)?;
        let read = |booking: stored::Booking| {
            let window = Window {
                from: booking.from,
                to: booking.to,
                daily: booking.daily,
                replicas: booking.replicas.max(1) as usize,
                tenant: booking.tenant.map(TenantId::new),
            };
            Some(Booking { number: booking.number, model: messages::read_model(booking.model?), window })
        };
        let bookings = bookings.into_iter().filter_map(read).collect();
        Ok((bookings, last, Txn::default().unchanged(path(), entry.revision)))
    }
}

fn path() -> String {
    format!("{ROOT}bookings")
}

fn write(bookings: &[Booking], last: u64) -> Vec<u8> {
    let booking = |Booking { number, model, window }: &Booking| stored::Booking {
        number: *number,
        model: Some(messages::model(model)),
        from: window.from,
        to: window.to,
        daily: window.daily,
        replicas: u32::try_from(window.replicas).unwrap_or(u32::MAX),
        tenant: window.tenant.as_ref().map(ToString::to_string),
    };
    stored::Bookings { bookings: bookings.iter().map(booking).collect(), last }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;

    #[tokio::test]
    async fn bookings_come_back_as_they_were_made_and_each_is_made_of_what_there_is() {
        let bookings = Bookings::new(Arc::new(MemoryStore::new(1)));
        let key = ModelKey::new("o/n", Some("v1".into()));
        let window = |from, to| Window { from, to, daily: from == 1, replicas: 2, tenant: Some(TenantId::new("lab")) };
        let alone = |all: &[Booking]| if all.is_empty() { Ok(()) } else { Err(Error::Closed) };
        let any = |_: &[Booking]| Ok::<(), Error>(());
        let add = || bookings.add((key.clone(), window(5, 9)), 0, alone);
        let (left, right) = tokio::join!(add(), add());
        assert!(left.is_ok() != right.is_ok(), "one sees the other");
        let second = bookings.add((key.clone(), window(1, 3)), 0, any).await.unwrap();
        let first = Booking { number: 1, model: key.clone(), window: window(5, 9) };
        assert_eq!(bookings.list().await.unwrap(), [first, second.clone()]);
        let third = bookings.add((key.clone(), window(10, 11)), 9, any).await.unwrap();
        assert_eq!(third.number, 3);
        assert_eq!(bookings.list().await.unwrap(), [second.clone(), third.clone()], "the first is over");
        assert_eq!(bookings.remove(|it| it.number == 2).await.unwrap(), [second]);
        assert_eq!(bookings.remove(|it| it.number == 2).await.unwrap(), []);
        assert_eq!(bookings.add((key, window(10, 11)), 9, any).await.unwrap().number, 4);
    }
}
