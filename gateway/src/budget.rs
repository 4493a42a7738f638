//! Something bounded that tenants share: bytes in memory, open websockets, turns at the processor.
//!
//! A tenant has at most its share, so whoever takes all they may have waits for themselves alone. Where the whole is
//! taken, tenants take turns, and within a tenant who came first is first.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ids::TenantId;
use tokio::sync::oneshot;

/// One bounded good. Clones share it.
#[derive(Clone)]
pub struct Budget {
    inner: Arc<Inner>,
}

struct Inner {
    total: u64,
    /// What one tenant may hold of it.
    share: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: u64,
    tenants: HashMap<TenantId, Tenant>,
    /// The tenants that wait for something, in the order of their turns.
    turns: VecDeque<TenantId>,
}

#[derive(Default)]
struct Tenant {
    held: u64,
    waiting: VecDeque<Waiter>,
}

struct Waiter {
    amount: u64,
    grant: oneshot::Sender<Held>,
}

/// A part of a budget; dropping it gives it back.
pub struct Held {
    budget: Budget,
    tenant: TenantId,
    amount: u64,
}

/// Whose use of a budget leaves no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// The tenant's own.
    Own,
    /// Everybody's together.
    All,
}

impl Budget {
    /// How many of one tenant may wait; more are refused at once.
    const WAITING: usize = 1024;

    /// Makes a budget of which a tenant may hold a share.
    #[must_use]
    pub fn new(total: u64, share: u64) -> Self {
        let (total, share) = (total.max(1), share.clamp(1, total.max(1)));
        Self { inner: Arc::new(Inner { total, share, state: Mutex::default() }) }
    }

    /// Takes a part now, or says whose use leaves no room for it. More than a share counts as a share.
    ///
    /// # Errors
    /// [`Short`].
    pub fn try_take(&self, tenant: &TenantId, amount: u64) -> Result<Held, Short> {
        let amount = amount.min(self.inner.share);
        let mut state = self.lock();
        let own = state.tenants.get(tenant).map_or(0, |tenant| tenant.held);
        if own + amount > self.inner.share {
            return Err(Short::Own);
        }
        if state.held + amount > self.inner.total {
            return Err(Short::All);
        }
        state.take(tenant, amount);
        drop(state);
        Ok(Held { budget: self.clone(), tenant: tenant.clone(), amount })
    }

    /// Takes a part, once there is room and it is the tenant's turn. More than a share counts as a share.
    ///
    /// # Errors
    /// [`Short::Own`] when too many of the tenant's own wait already.
    ///
    /// # Cancel safety
    /// Who stops waiting leaves the line, and what it was just given goes back.
    pub async fn take(&self, tenant: &TenantId, amount: u64) -> Result<Held, Short> {
        let nobody_waits = self.lock().turns.is_empty();
        if nobody_waits && let Ok(held) = self.try_take(tenant, amount) {
            return Ok(held);
        }
        // Dropped last: who stops waiting may have been in the way of others, for whom there is room.
        let _leaves = Leaves(self);
        let granted = self.line_up(tenant, amount)?;
        self.serve();
        // A waiter is dropped only when it was given something, or has left.
        granted.await.map_err(|_| Short::All)
    }

    fn line_up(&self, tenant: &TenantId, amount: u64) -> Result<oneshot::Receiver<Held>, Short> {
        let (grant, granted) = oneshot::channel();
        let mut state = self.lock();
        let line = &mut state.tenants.entry(tenant.clone()).or_default().waiting;
        if line.len() >= Self::WAITING {
            return Err(Short::Own);
        }
        line.push_back(Waiter { amount: amount.min(self.inner.share), grant });
        if line.len() == 1 {
            state.turns.push_back(tenant.clone());
        }
        Ok(granted)
    }

    /// Gives to those who wait, as far as there is room.
    fn serve(&self) {
        loop {
            let Some((tenant, waiter)) = self.lock().next(self.inner.total, self.inner.share) else { return };
            let held = Held { budget: self.clone(), tenant, amount: waiter.amount };
            // Who has left meanwhile gives it back by dropping it.
            drop(waiter.grant.send(held));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, tenant: &TenantId, amount: u64) {
        self.held += amount;
        match self.tenants.get_mut(tenant) {
            Some(known) => known.held += amount,
            None => drop(self.tenants.insert(tenant.clone(), Tenant { held: amount, waiting: VecDeque::new() })),
        }
    }

    fn give_back(&mut self, tenant: &TenantId, amount: u64) {
        self.held -= amount;
        if let Some(known) = self.tenants.get_mut(tenant) {
            known.held -= amount;
            if known.held == 0 && known.waiting.is_empty() {
                self.tenants.remove(tenant);
            }
        }
    }

    /// Takes for the next in line who may have what they wait for.
    fn next(&mut self, total: u64, share: u64) -> Option<(TenantId, Waiter)> {
        for _ in 0..self.turns.len() {
            let name = self.turns.pop_front()?;
            let Some(tenant) = self.tenants.get_mut(&name) else { continue };
            while tenant.waiting.front().is_some_and(|waiter| waiter.grant.is_closed()) {
                tenant.waiting.pop_front();
            }
            let Some(amount) = tenant.waiting.front().map(|waiter| waiter.amount) else {
                if tenant.held == 0 {
                    self.tenants.remove(&name);
                }
                continue;
            };
            if tenant.held + amount > share {
                // It waits for itself: others pass.
                self.turns.push_back(name);
                continue;
            }
            if self.held + amount > total {
                // Others must not pass, or a large part would never be free.
                self.turns.push_front(name);
                return None;
            }
            let waiter = tenant.waiting.pop_front()?;
            if !tenant.waiting.is_empty() {
                self.turns.push_back(name.clone());
            }
            self.take(&name, amount);
            return Some((name, waiter));
        }
        None
    }
}

/// Somebody in line; where they leave, others may have their turn.
struct Leaves<'a>(&'a Budget);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.serve();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.lock().give_back(&self.tenant, self.amount);
        self.budget.serve();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::task::yield_now;

    use super::*;

    fn names() -> (TenantId, TenantId) {
        (TenantId::new("ada"), TenantId::new("bob"))
    }

    #[tokio::test]
    async fn a_tenant_that_holds_its_share_costs_others_nothing() {
        let (ada, bob) = names();
        let budget = Budget::new(100, 50);
        let first = budget.take(&ada, 50).await.unwrap();
        let mut second = Box::pin(budget.take(&ada, 1));
        assert!(second.as_mut().now_or_never().is_none(), "ada waits for herself");
        assert_eq!(budget.try_take(&ada, 1).err(), Some(Short::Own));
        let theirs = budget.take(&bob, 50).now_or_never().expect("bob does not").unwrap();
        drop(first);
        drop(second.now_or_never().expect("there is room again").unwrap());
        drop(theirs);
        assert!(budget.lock().tenants.is_empty() && budget.lock().held == 0);
    }

    #[tokio::test]
    async fn tenants_take_turns_whatever_number_of_each_waits() {
        let (ada, bob) = names();
        let budget = Budget::new(1, 1);
        let held = budget.take(&TenantId::new("eve"), 1).await.unwrap();
        let (told, mut order) = tokio::sync::mpsc::unbounded_channel();
        for (tenant, count) in [(&ada, 3), (&bob, 3)] {
            for number in 0..count {
                let (budget, tenant, told) = (budget.clone(), tenant.clone(), told.clone());
                tokio::spawn(async move {
                    let held = budget.take(&tenant, 1).await.unwrap();
                    told.send(format!("{tenant} {number}")).unwrap();
                    drop(held);
                });
                yield_now().await;
            }
        }
        drop((held, told));
        let mut seen = Vec::new();
        while let Some(one) = order.recv().await {
            seen.push(one);
        }
        assert_eq!(seen, ["ada 0", "bob 0", "ada 1", "bob 1", "ada 2", "bob 2"]);
    }

    #[tokio::test]
    async fn a_large_part_is_not_passed_by_small_ones() {
        let (ada, bob) = names();
        let budget = Budget::new(10, 10);
        let held = budget.take(&ada, 5).await.unwrap();
        let mut large = Box::pin(budget.take(&bob, 10));
        assert!(large.as_mut().now_or_never().is_none());
        let mut small = Box::pin(budget.take(&ada, 1));
        assert!(small.as_mut().now_or_never().is_none(), "there would be room, but bob was first");
        drop(held);
        let large = large.now_or_never().expect("bob's turn").unwrap();
        assert!(small.as_mut().now_or_never().is_none());
        drop(large);
        assert!(small.now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_stops_waiting_holds_nothing_up() {
        let (ada, bob) = names();
        let budget = Budget::new(10, 10);
        let held = budget.take(&ada, 10).await.unwrap();
        let mut gone = Box::pin(budget.take(&bob, 10));
        assert!(gone.as_mut().now_or_never().is_none());
        let mut last = Box::pin(budget.take(&bob, 1));
        assert!(last.as_mut().now_or_never().is_none());
        drop(gone);
        drop(held);
        drop(last.now_or_never().expect("nobody is before it").unwrap());
        assert!(budget.lock().tenants.is_empty() && budget.lock().turns.is_empty() && budget.lock().held == 0);
    }

    #[tokio::test]
    async fn who_stops_waiting_for_a_large_part_lets_those_pass_for_whom_there_is_room() {
        let (ada, bob) = names();
        let budget = Budget::new(10, 10);
        let _held = budget.take(&ada, 5).await.unwrap();
        let mut large = Box::pin(budget.take(&bob, 10));
        assert!(large.as_mut().now_or_never().is_none());
        let mut small = Box::pin(budget.take(&ada, 1));
        assert!(small.as_mut().now_or_never().is_none(), "bob was first");
        drop(large);
        assert!(small.now_or_never().is_some(), "nobody is before it, though nothing was given back");
    }

    #[tokio::test]
    async fn a_part_that_was_granted_to_who_has_left_goes_back() {
        let (ada, bob) = names();
        let budget = Budget::new(1, 1);
        let held = budget.take(&ada, 1).await.unwrap();
        let mut granted = Box::pin(budget.take(&bob, 1));
        assert!(granted.as_mut().now_or_never().is_none());
        drop(held);
        assert_eq!(budget.try_take(&ada, 1).err(), Some(Short::All), "bob has it, unknowingly");
        drop(granted);
        assert!(budget.try_take(&ada, 1).is_ok());
    }
}
