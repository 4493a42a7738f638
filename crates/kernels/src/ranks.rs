//! The leading rank's way to the others.

use std::cell::Cell;
use std::time::Duration;

use collectives::{Group, Lost};
use tch::{Device, Kind, TchError, Tensor};

use crate::carried::{Carried, Sent, Wanted};
use crate::order::{Answer, Order, What};

/// The ranks of a model, as the one that leads them knows them: they do as they are told, one order after another.
pub struct Ranks {
    group: Box<dyn Group>,
    lost: Box<dyn Fn(&Lost)>,
    orders: Cell<u64>,
    ids: Cell<u64>,
    /// An order is under way: what follows would be taken for its answer.
    open: Cell<bool>,
    ended: Cell<bool>,
    /// All have answered once, so that they have started.
    started: Cell<bool>,
}

/// Why nothing came of an order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// The group has ended: nothing more can come of it.
    #[error("{0}")]
    Lost(String),
    /// A rank cannot do it.
    #[error("rank {rank}: {why}")]
    Refused { rank: usize, why: String },
}

/// How long a rank may take for an order that is no work.
const PATIENCE: Duration = Duration::from_secs(20);

/// How much longer it may take for its first: it is a process that starts, and all models of a machine may start at once. One
/// that ends meanwhile is noticed by who started it.
const START: Duration = Duration::from_secs(300);

/// Multiplications for which a rank may take a second longer: a hundredth of what a slow core does.
const SECOND: u64 = 1 << 28;

/// Bytes of an error's text that are taken in.
const TEXT: u64 = 64 << 10;

impl Ranks {
    /// Leads a group, of which this process or thread is rank 0. `lost` is told when the group is lost, before anybody sees
    /// an error of it.
    #[must_use]
    pub fn new(group: Box<dyn Group>, lost: Box<dyn Fn(&Lost)>) -> Self {
        let no = || Cell::new(false);
        Self { group, lost, orders: Cell::new(0), ids: Cell::new(0), open: no(), ended: no(), started: no() }
    }

    /// Returns how many ranks there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.group.size()
    }

    /// Returns, for each of the other ranks, that nothing is to come of it.
    pub(crate) fn nothing<'a>(&self) -> Vec<Wanted<'a>> {
        (1..self.count()).map(|_| Wanted::Bytes(&mut [])).collect()
    }

    /// Takes a tensor to be sent to all, from the leading rank's device.
    ///
    /// # Errors
    /// When there is no memory for a copy.
    pub(crate) fn carry(&self, tensor: &Tensor, device: Device) -> Result<Carried, TchError> {
        Carried::of(tensor, &*self.group, device)
    }

    /// Makes room for a rank's answer, on the leading rank's device.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn room(&self, size: &[i64], kind: Kind, device: Device) -> Result<Carried, TchError> {
        Carried::empty(size, kind, &*self.group, device)
    }

    /// Returns a name for a matrix that no other has.
    pub(crate) fn new_id(&self) -> u64 {
        self.ids.set(self.ids.get() + 1);
        self.ids.get()
    }

    /// Gives an order, does the leading rank's own part meanwhile, and takes in what the others answer, which has to have as
    /// many bytes as `answers`, by rank from 1 on. However it ends, all that was answered is taken in.
    pub(crate) fn ask<T>(
        &self,
        (what, id, numbers): (What, u64, [i64; 4]),
        payload: &Sent<'_>,
        answers: &mut [Wanted<'_>],
        multiplications: u64,
        own: impl FnOnce() -> T,
    ) -> Result<T, NotDone> {
        self.begin()?;
        let number = self.give((what, id, numbers), payload).map_err(|lost| self.lose(&lost))?;
        let done = own();
        let patience = self.patience() + Duration::from_secs(multiplications / SECOND);
        let mut refused = None;
        for (answer, rank) in answers.iter_mut().zip(1..) {
            let taken = self.take_in(number, rank, answer, patience).map_err(|lost| self.lose(&lost))?;
            if let Err(why) = taken {
                refused.get_or_insert(NotDone::Refused { rank, why });
            }
        }
        self.open.set(false);
        self.started.set(true);
        refused.map_or(Ok(done), Err)
    }

    /// As [`Ranks::ask`], where a rank that refuses has no right to: the group cannot be trusted any more.
    pub(crate) fn demand<T>(
        &self,
        order: (What, u64, [i64; 4]),
        payload: &Sent<'_>,
        answers: &mut [Wanted<'_>],
        multiplications: u64,
        own: impl FnOnce() -> T,
    ) -> Result<T, TchError> {
        let done = self.ask(order, payload, answers, multiplications, own);
        done.map_err(|not| match not {
            NotDone::Lost(why) => TchError::Torch(why),
            refused @ NotDone::Refused { .. } => {
                TchError::Torch(self.lose(&Lost::Ended(refused.to_string())).to_string())
            }
        })
    }

    /// Has a matrix dropped.
    pub(crate) fn forget(&self, id: u64) {
        if !self.open.get() && !self.ended.get() {
            // Where the group is lost, whoever needs it next finds out.
            let _ = self.give((What::Forget, id, [0; 4]), &Sent::Bytes(&[]));
        }
    }

    fn begin(&self) -> Result<(), NotDone> {
        if self.ended.get() {
            return Err(NotDone::Lost("the ranks of this model are gone".into()));
        }
        if self.open.replace(true) {
            return Err(self.lose(&Lost::Ended("an order to the ranks was left before its end".into())));
        }
        Ok(())
    }

    fn give(&self, (what, id, numbers): (What, u64, [i64; 4]), payload: &Sent<'_>) -> Result<u64, Lost> {
        self.orders.set(self.orders.get() + 1);
        let order = Order { number: self.orders.get(), what, id, numbers, bytes: payload.length() as u64 };
        self.group.send(&order.write(), Some(self.patience()))?;
        payload.send(&*self.group, Some(self.patience()))?;
        Ok(order.number)
    }

    fn patience(&self) -> Duration {
        if self.started.get() { PATIENCE } else { PATIENCE + START }
    }

    /// Takes in a rank's answer to an order, or its reason for none.
    fn take_in(
        &self,
        number: u64,
        rank: usize,
        into: &mut Wanted<'_>,
        patience: Duration,
    ) -> Result<Result<(), String>, Lost> {
        let mut head = [0; Answer::BYTES];
        self.group.receive(rank, &mut head, Some(patience))?;
        let answer = Answer::read(&head);
        let fits = if answer.refused { answer.bytes <= TEXT } else { answer.bytes == into.length() as u64 };
        if answer.number != number || !fits {
            return Err(Lost::Broken(rank));
        }
        if answer.refused {
            let mut text = vec![0; usize::try_from(answer.bytes).unwrap_or(0)];
            self.group.receive(rank, &mut text, Some(PATIENCE))?;
            return Ok(Err(String::from_utf8_lossy(&text).into_owned()));
        }
        // Where devices send by themselves, an answer comes before it is computed.
        into.receive(&*self.group, rank, Some(patience))?;
        Ok(Ok(()))
    }

    /// Gives the group up.
    fn lose(&self, lost: &Lost) -> NotDone {
        let why = lost.to_string();
        self.ended.set(true);
        self.group.abort(&why);
        (self.lost)(lost);
        NotDone::Lost(why)
    }
}

impl Drop for Ranks {
    fn drop(&mut self) {
        if !self.open.get() && !self.ended.get() {
            // Whoever does not hear it hears that the leading rank's process is gone.
            let _ = self.give((What::End, 0, [0; 4]), &Sent::Bytes(&[]));
        } else {
            self.group.abort("the leading rank has left");
        }
    }
}

/// Cuts an error's text to what is taken in.
pub(crate) fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT as usize)).unwrap_or_default()
}
