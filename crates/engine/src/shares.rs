//! What tenants have had of the thread on which their jobs share passes, and whose turn it is.
//!
//! A pass takes longer with each row that shares it, on a CPU most of all: without turns, each step of who comes with one
//! row would take as long as the rows of who comes with thirty. So whoever has had more than others leaves some passes to
//! these. It is Linux's old way of sharing a processor: who has had least goes first, and who was away comes back no
//! further behind than a slice.

use std::collections::HashMap;
use std::time::Duration;

use ids::TenantId;

/// What tenants have had.
pub struct Shares {
    tenants: HashMap<TenantId, Account>,
    /// What who had least of those with jobs has had; it never goes back.
    reached: Duration,
    /// The shortest pass so far, as if it had gone through all layers: what one takes however little is in it.
    shortest: Duration,
    /// How far behind the others somebody may begin.
    lag: Duration,
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
        Self { tenants: HashMap::new(), reached: Duration::ZERO, shortest: Duration::MAX, lag: slice }
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

    /// Returns up to what a tenant may have had to be in the next pass, beside some who want to be.
    pub fn limit<'a>(&self, wanting: impl Iterator<Item = &'a TenantId>) -> Duration {
        let least = wanting.map(|tenant| self.had(tenant)).min().unwrap_or_default();
        least.saturating_add(self.shortest)
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
        self.shortest = self.shortest.min(took.time.div_f64(took.depth));
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

        /// Runs a pass for those whose turn it is. Returns what each tenant had, by number, and what it took.
        fn pass(&mut self) -> (Vec<usize>, Duration) {
            let tenants = || self.rows.iter().filter(|(_, rows)| *rows > 0);
            self.shares.attend(tenants().map(|(tenant, _)| tenant));
            let limit = self.shares.limit(tenants().map(|(tenant, _)| tenant));
            let taken: Vec<_> = tenants().filter(|(tenant, _)| self.shares.had(tenant) <= limit).collect();
            let time = PASS + self.row * taken.iter().map(|(_, rows)| rows).sum::<u32>();
            let parts = taken.iter().map(|(tenant, rows)| (tenant, u64::from(*rows)));
            self.shares.passed(Took { time, depth: 1.0 }, parts);
            let numbers = self.rows.iter().enumerate().filter(|(_, it)| taken.contains(it)).map(|(number, _)| number);
            (numbers.collect(), time)
        }

        /// Runs passes until a tenant was in so many. Returns how many rows each had, and what all took.
        fn until(&mut self, tenant: usize, count: usize) -> (Vec<u32>, Duration) {
            let (mut had, mut passes, mut took) = (vec![0; self.rows.len()], 0, Duration::ZERO);
            while passes < count {
                let (numbers, time) = self.pass();
                numbers.iter().for_each(|number| had[*number] += self.rows[*number].1);
                passes += usize::from(numbers.contains(&tenant));
                took += time;
            }
            (had, took)
        }
    }

    #[test]
    fn a_row_beside_many_takes_twice_as_long_as_alone_and_the_many_have_the_other_half() {
        let mut crowd = Crowd::new(SLICE, PASS / 4, &[1, 0]);
        let (_, alone) = crowd.until(0, 1000);
        crowd.rows[1].1 = 28;
        let (had, beside) = crowd.until(0, 1000);
        assert!(beside < 2 * alone, "{beside:?} beside, {alone:?} alone");
        let (_, many) = Crowd::new(SLICE, PASS / 4, &[0, 28]).until(1, had[1] as usize / 28);
        assert!(many * 3 > beside, "the many had {many:?} of {beside:?}");
    }

    #[test]
    fn equals_share_all_passes_and_so_do_all_where_rows_cost_nothing() {
        let all: Vec<usize> = (0..10).collect();
        for (row, rows) in [(PASS, [3; 10]), (Duration::ZERO, [1, 2, 3, 4, 5, 6, 7, 8, 9, 100])] {
            let mut crowd = Crowd::new(SLICE, row, &rows);
            (0..1000).for_each(|pass| assert_eq!(crowd.pass().0, all, "pass {pass}"));
        }
    }

    #[test]
    fn who_was_away_is_no_further_behind_than_a_slice_and_gains_nothing_by_going() {
        let mut crowd = Crowd::new(SLICE, PASS, &[1, 0]);
        crowd.pass();
        crowd.rows = vec![(crowd.rows[0].0.clone(), 0), (crowd.rows[1].0.clone(), 28)];
        crowd.until(1, 1000);
        crowd.rows[0].1 = 1;
        // Each pass of its own takes 2 ms.
        let own = (0..).take_while(|_| crowd.pass().0 == [0]).count();
        assert!((10..=14).contains(&own), "{own} passes before it shares one");
        let mut had = [0; 2];
        for _ in 0..10_000 {
            crowd.rows[0].1 = 1 - crowd.rows[0].1;
            let (numbers, time) = crowd.pass();
            if let [only] = numbers[..] {
                had[only] += time.as_millis();
            }
        }
        assert!(had[1] > had[0], "{had:?}");
    }

    #[test]
    fn what_a_tenants_own_code_takes_counts_and_without_a_slice_nothing_does() {
        for (slice, shares) in [(SLICE, vec![1]), (Duration::MAX, vec![0, 1])] {
            let mut crowd = Crowd::new(slice, PASS, &[1, 1]);
            assert_eq!(crowd.pass().0, [0, 1]);
            crowd.shares.charge(&TenantId::new("tenant 0"), 50 * PASS);
            assert_eq!(crowd.pass().0, shares);
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
