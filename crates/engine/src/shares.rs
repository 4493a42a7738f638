//! What tenants have had of the thread on which their jobs share passes, and whose turn it is.
//!
//! A pass takes longer with each row that shares it, on a CPU most of all: without turns, each step of who comes with one
//! row would take as long as the rows of who comes with thirty. So whoever has had more than others joins their passes only
//! as far as these do not take much longer by that. It is Linux's old way of sharing a processor: who has had least goes
//! first, and who was away comes back no further behind than a slice.

use std::collections::HashMap;
use std::time::Duration;

use ids::TenantId;

/// The weight of what came last.
const NEWEST: f64 = 0.1;

/// What tenants have had.
pub struct Shares {
    tenants: HashMap<TenantId, Account>,
    /// What who had least of those with jobs has had; it never goes back.
    reached: Duration,
    /// The shortest pass so far, as if it had gone through all layers: what one takes however little is in it.
    shortest: Duration,
    /// What each further token of a pass takes, of late.
    further: Duration,
    /// How far behind the others somebody may begin.
    lag: Duration,
}

/// How a pass is shared.
pub struct Limit {
    /// Who has had no more than this is in it.
    pub had: Duration,
    /// Others join while it is likely to take no longer than this: what it would take for who has had least alone, once for
    /// each other tenant, and half of that besides. Equal parts would be half of that more.
    time: Duration,
}

#[derive(Clone, Copy, Default)]
struct Account {
    had: Duration,
    /// Whether it has jobs.
    here: bool,
}

/// What a pass took, and how much of it.
#[derive(Clone, Copy)]
pub struct Took {
    pub time: Duration,
    /// The part of the model's layers that it went through.
    pub depth: f64,
}

impl Shares {
    /// Begins with nobody. Without a slice, nothing is counted: then who shares a pass does not depend on the machine.
    pub fn new(slice: Duration) -> Self {
        Self {
            tenants: HashMap::new(),
            reached: Duration::ZERO,
            shortest: Duration::MAX,
            further: Duration::ZERO,
            lag: slice,
        }
    }

    /// Takes in who has jobs now.
    pub fn attend<'a>(&mut self, tenants: impl Iterator<Item = &'a TenantId> + Clone) {
        if self.lag == Duration::MAX {
            return;
        }
        let stayed = tenants.clone().filter_map(|tenant| self.tenants.get(tenant)).filter(|account| account.here);
        self.reached = self.reached.max(stayed.map(|account| account.had).min().unwrap_or_default());
        let least = self.reached.saturating_sub(self.lag);
        self.tenants.values_mut().for_each(|account| account.here = false);
        for tenant in tenants {
            match self.tenants.get_mut(tenant) {
                Some(account) => *account = Account { had: account.had.max(least), here: true },
                None => drop(self.tenants.insert(tenant.clone(), Account { had: least, here: true })),
            }
        }
        // Whoever begins anew begins there anyway.
        self.tenants.retain(|_, account| account.here || account.had > least);
    }

    /// Says how the next pass is shared by tenants who want to be in it, each with so many tokens in some of its traces.
    pub fn limit<'a>(&self, wanting: impl Iterator<Item = (&'a TenantId, i64)>) -> Limit {
        let mut tokens: HashMap<&TenantId, i64> = HashMap::new();
        wanting.for_each(|(tenant, own)| *tokens.entry(tenant).or_default() += own);
        let others = u32::try_from(tokens.len()).unwrap_or(u32::MAX).saturating_sub(1);
        let least = tokens.iter().map(|(tenant, own)| (self.had(tenant), *own)).min();
        let (had, own) = least.unwrap_or_default();
        let alone = self.predicted(own);
        Limit { had: had.saturating_add(self.shortest), time: alone.saturating_mul(others).saturating_add(alone / 2) }
    }

    /// Says whether a tenant may join a pass that then has so many tokens.
    pub fn admits(&self, limit: &Limit, tokens: i64) -> bool {
        self.predicted(tokens) <= limit.time
    }

    fn predicted(&self, tokens: i64) -> Duration {
        let further = self.further.saturating_mul(u32::try_from(tokens.saturating_sub(1)).unwrap_or(0));
        self.shortest.saturating_add(further)
    }

    pub fn had(&self, tenant: &TenantId) -> Duration {
        self.tenants.get(tenant).map_or(Duration::ZERO, |account| account.had)
    }

    /// Notes that a tenant had the thread for itself.
    pub fn charge(&mut self, tenant: &TenantId, time: Duration) {
        if let Some(account) = self.tenants.get_mut(tenant) {
            account.had += time;
        }
    }

    /// Notes that tenants shared a pass, each with so many tokens. What any pass takes, all have had in equal parts, for it
    /// takes that for each of them anyway; the rest is had by who computed.
    pub fn passed<'a>(&mut self, took: Took, parts: impl Iterator<Item = (&'a TenantId, u64)>) {
        if self.lag == Duration::MAX {
            return;
        }
        let mut tokens: HashMap<&TenantId, u64> = HashMap::new();
        parts.for_each(|(tenant, own)| *tokens.entry(tenant).or_default() += own);
        let all: u64 = tokens.values().sum();
        if all == 0 || took.depth <= 0.0 {
            return;
        }
        let whole = took.time.div_f64(took.depth);
        self.shortest = self.shortest.min(whole);
        if all > 1 {
            let further = whole.saturating_sub(self.shortest).div_f64((all - 1) as f64);
            self.further = self.further.mul_f64(1.0 - NEWEST) + further.mul_f64(NEWEST);
        }
        let common = self.shortest.mul_f64(took.depth).min(took.time);
        let rest = took.time.saturating_sub(common);
        let equal = common.div_f64(tokens.len() as f64);
        for (tenant, own) in tokens {
            self.charge(tenant, equal + rest.mul_f64(own as f64 / all as f64));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASS: Duration = Duration::from_millis(1);
    const SLICE: Duration = Duration::from_millis(25);

    /// Tenants with so many rows each, and what a row takes.
    struct Crowd {
        shares: Shares,
        rows: Vec<(TenantId, u32)>,
        row: Duration,
    }

    impl Crowd {
        fn new(slice: Duration, row: Duration, rows: &[u32]) -> Self {
            let tenants = (0..).map(|number| TenantId::new(format!("tenant {number}")));
            Self { shares: Shares::new(slice), rows: tenants.zip(rows.iter().copied()).collect(), row }
        }

        /// Runs a pass. Returns how many rows of each tenant were in it, and what it took.
        fn pass(&mut self) -> (Vec<u32>, Duration) {
            let there = || self.rows.iter().filter(|(_, rows)| *rows > 0);
            self.shares.attend(there().map(|(tenant, _)| tenant));
            let limit = self.shares.limit(there().map(|(tenant, rows)| (tenant, i64::from(*rows))));
            let mut joined = vec![0; self.rows.len()];
            for ahead in [false, true] {
                for (number, (tenant, rows)) in self.rows.iter().enumerate() {
                    for _ in 0..*rows {
                        let tokens = i64::from(joined.iter().sum::<u32>()) + 1;
                        if (self.shares.had(tenant) > limit.had) == ahead
                            && (!ahead || self.shares.admits(&limit, tokens))
                        {
                            joined[number] += 1;
                        }
                    }
                }
            }
            let time = PASS + self.row * joined.iter().sum::<u32>();
            let parts = self.rows.iter().zip(&joined).filter(|(_, rows)| **rows > 0);
            self.shares.passed(Took { time, depth: 1.0 }, parts.map(|((tenant, _), rows)| (tenant, u64::from(*rows))));
            (joined, time)
        }

        /// Runs so many passes. Returns how many rows of each tenant were in them, and what they took.
        fn passes(&mut self, count: usize) -> (Vec<u32>, Duration) {
            let (mut had, mut took) = (vec![0; self.rows.len()], Duration::ZERO);
            for _ in 0..count {
                let (joined, time) = self.pass();
                had.iter_mut().zip(joined).for_each(|(had, rows)| *had += rows);
                took += time;
            }
            (had, took)
        }
    }

    #[test]
    fn a_row_beside_many_takes_at_most_twice_as_long_as_alone_and_the_many_have_their_part() {
        let mut crowd = Crowd::new(SLICE, PASS / 4, &[1, 0]);
        let (_, alone) = crowd.passes(1000);
        crowd.rows[1].1 = 28;
        let (had, beside) = crowd.passes(1000);
        assert!(had[0] == 1000 && beside < 2 * alone, "{beside:?} beside, {alone:?} alone");
        assert!(had[1] >= 2000, "{had:?}");
    }

    #[test]
    fn equals_share_all_passes_and_so_do_all_where_rows_cost_nothing() {
        for (row, rows) in [(PASS, [3; 10]), (Duration::ZERO, [1, 2, 3, 4, 5, 6, 7, 8, 9, 100])] {
            let mut crowd = Crowd::new(SLICE, row, &rows);
            (0..1000).for_each(|pass| assert_eq!(crowd.pass().0, rows, "pass {pass}"));
        }
    }

    #[test]
    fn where_many_tenants_have_some_rows_each_most_are_in_each_pass() {
        let rows = [1, 2, 3, 2, 4, 3, 3, 2, 5, 3];
        let mut crowd = Crowd::new(SLICE, PASS / 2, &rows);
        crowd.rows[1..].iter_mut().for_each(|(_, rows)| *rows = 0);
        crowd.pass();
        rows.iter().zip(&mut crowd.rows).for_each(|(rows, it)| it.1 = *rows);
        let (had, _) = crowd.passes(1000);
        assert!(had.iter().sum::<u32>() > 1000 * rows.iter().sum::<u32>() * 3 / 4, "{had:?}");
        assert_eq!(had[0], 1000);
    }

    #[test]
    fn who_was_away_is_no_further_behind_than_a_slice_and_gains_nothing_by_going() {
        let mut crowd = Crowd::new(SLICE, PASS, &[1, 0]);
        let behind =
            |crowd: &Crowd| crowd.shares.had(&crowd.rows[1].0).saturating_sub(crowd.shares.had(&crowd.rows[0].0));
        crowd.pass();
        crowd.rows[0].1 = 0;
        crowd.rows[1].1 = 28;
        crowd.passes(1000);
        let last = crowd.pass().1;
        crowd.rows[0].1 = 1;
        crowd.pass();
        assert!(behind(&crowd) <= SLICE + last, "{:?}", behind(&crowd));
        let before = behind(&crowd);
        crowd.rows[0].1 = 0;
        let alone = crowd.pass().1;
        crowd.rows[0].1 = 1;
        crowd.pass();
        assert!(behind(&crowd) <= before + alone, "{:?} after {before:?}", behind(&crowd));
    }

    #[test]
    fn what_a_tenants_own_code_takes_counts_and_without_a_slice_nothing_does() {
        for (slice, expected) in [(SLICE, [1, 1]), (Duration::MAX, [4, 1])] {
            let mut crowd = Crowd::new(slice, PASS, &[0, 1]);
            crowd.pass();
            crowd.rows[0].1 = 4;
            assert_eq!(crowd.pass().0, [4, 1]);
            crowd.shares.charge(&crowd.rows[0].0.clone(), 50 * PASS);
            (0..50).for_each(|_| crowd.shares.further = PASS);
            assert_eq!(crowd.pass().0, expected);
        }
    }

    #[test]
    fn a_pass_that_ends_early_takes_a_part_of_what_any_does() {
        let mut shares = Shares::new(SLICE);
        let tenants = [TenantId::new("one"), TenantId::new("other")];
        shares.attend(tenants.iter());
        let parts = || tenants.iter().zip([1, 3]);
        shares.passed(Took { time: PASS, depth: 0.25 }, parts());
        assert_eq!(shares.had(&tenants[0]), shares.had(&tenants[1]), "all of it is what any takes");
        shares.passed(Took { time: 2 * PASS, depth: 0.25 }, parts());
        assert_eq!(shares.had(&tenants[1]) - shares.had(&tenants[0]), PASS / 2);
    }
}
