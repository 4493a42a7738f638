//! What tenants have had of the thread on which their jobs share passes, and whose turn it is.
//!
//! A pass takes longer with each row that shares it, on a CPU most of all: without turns, each step of who comes with one
//! row would take as long as the rows of who comes with thirty. So whoever has had more than others joins their passes only
//! as far as these do not take much longer by that. It is Linux's old way of sharing a processor: who has had least goes
//! first, and who was away comes back no further behind than a slice.
//!
//! How much longer is predicted, and counted when it is done, as deficit round robin does: each pass of who has had least
//! grants the others some delay, and what they came to cost is taken off that. So whatever nobody could predict is paid for
//! by the passes that follow, and so is the others' own code between passes.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::iter::Sum;
use std::time::Duration;

use ids::TenantId;

use crate::model::Done;

/// The weight of what came last.
const NEWEST: f64 = 0.1;

/// What tenants have had.
pub struct Shares {
    tenants: HashMap<TenantId, Account>,
    /// What who had least of those with jobs has had; it never goes back.
    reached: Duration,
    prices: Prices,
    /// How far behind the others somebody may begin.
    lag: Duration,
    /// Who has had least of those who want passes, if there are others.
    first: Option<TenantId>,
    /// Seconds by which others may still delay them; below zero where they have delayed them by more than was granted.
    granted: f64,
}

/// What is to be computed in a pass, and by whose blocks.
#[derive(Clone, Copy, Default)]
pub struct Load {
    pub rows: i64,
    pub tokens: i64,
    /// What the blocks of traces take, as they did in their last passes.
    pub blocks: Duration,
}

impl Sum for Load {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Self::and)
    }
}

impl Load {
    /// Returns what was computed of some rows.
    pub fn computed(rows: i64, done: &Done, blocks: Duration) -> Self {
        // What counts is how wide the layers were, not how many there are.
        Self { rows, tokens: i64::try_from(done.tokens / done.layers.max(1)).unwrap_or(i64::MAX), blocks }
    }

    /// Returns this and another one together, if a pass of so many tokens carries both, or else this one.
    pub fn and_within(self, most: i64, other: Self) -> Self {
        let both = self.and(other);
        if self.rows == 0 || both.tokens <= most { both } else { self }
    }

    /// Returns this and another one together.
    pub fn and(self, other: Self) -> Self {
        Self { rows: self.rows + other.rows, tokens: self.tokens + other.tokens, blocks: self.blocks + other.blocks }
    }
}

/// How a pass is shared.
pub struct Limit {
    /// Who has had no more than this is in it.
    pub had: Duration,
    /// Others join while it is likely to take no longer than this; `None` where it is not known what passes take.
    time: Option<Duration>,
    /// Seconds that this pass grants: `(n - 1/2) * alone`, for `n` other tenants, and `alone` seconds that it would take for
    /// who has had least. With `n * alone`, whoever has had least would have an equal part of the thread; half a pass less
    /// leaves it somewhat more, so that what is predicted wrongly does not make it less.
    grant: f64,
    /// Whether somebody was not let in.
    left_out: bool,
}

#[derive(Clone, Copy, Default)]
struct Account {
    had: Duration,
    /// Whether it has jobs.
    here: bool,
}

/// What a pass took.
#[derive(Clone, Copy)]
pub struct Took {
    /// Without the blocks of traces.
    pub time: Duration,
    /// The part of the model's layers that it went through.
    pub depth: f64,
}

/// What one tenant had in a pass.
pub struct Part {
    pub tenant: TenantId,
    /// With what its blocks took now.
    pub load: Load,
    /// Tokens that layers computed, all layers' together: fewer where rows were kept.
    pub computed: u64,
    /// The part of the layers that it went through.
    pub depth: f64,
}

impl Shares {
    /// Begins with nobody. Without a slice, nothing is counted: then who shares a pass does not depend on the machine.
    pub fn new(slice: Duration) -> Self {
        Self {
            tenants: HashMap::new(),
            reached: Duration::ZERO,
            prices: Prices::default(),
            lag: slice,
            first: None,
            granted: 0.0,
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
        if self.first.as_ref().is_some_and(|first| !self.tenants.get(first).is_some_and(|account| account.here)) {
            self.nobody_waits();
        }
    }

    /// Notes that nobody wants a pass: nobody is delayed.
    pub fn nobody_waits(&mut self) {
        self.first = None;
        self.granted = 0.0;
    }

    /// Says how the next pass is shared by tenants who want to be in it, each with what some of its traces need. A pass
    /// carries `most` tokens of several of them.
    pub fn limit<'a>(&mut self, most: i64, wanting: impl Iterator<Item = (&'a TenantId, Load)>) -> Limit {
        let mut loads: HashMap<&TenantId, Load> = HashMap::new();
        wanting.for_each(|(tenant, own)| {
            let all = loads.entry(tenant).or_default();
            *all = all.and_within(most, own);
        });
        let least = loads.iter().min_by_key(|(tenant, load)| (self.had(tenant), load.tokens));
        let alone = least.and_then(|(first, own)| Some((*first, self.prices.predicted(*own)?)));
        let Some((first, alone)) = alone.filter(|_| self.lag < Duration::MAX) else {
            return Limit { had: Duration::MAX, time: None, grant: 0.0, left_out: false };
        };
        let others = self.tenants.values().filter(|account| account.here).count().saturating_sub(1);
        if others == 0 {
            self.nobody_waits();
        } else if self.first.as_ref() != Some(first) {
            self.first = Some(first.clone());
            // What was granted was of another's time; what is owed, who was first then may owe now.
            self.granted = self.granted.min(0.0);
        }
        // Those who want no pass now take no part of it.
        let others = others.min(1).max(loads.len() - 1);
        let grant = (others as f64 - 0.5).max(0.0) * alone.as_secs_f64();
        let more = Duration::try_from_secs_f64(grant + self.granted).unwrap_or_default();
        let had = self.had(first).saturating_add(self.prices.shortest);
        Limit { had, time: Some(alone.saturating_add(more)), grant, left_out: false }
    }

    /// Says whether a tenant may join a pass that then has so much to do.
    pub fn admits(&self, limit: &mut Limit, load: Load) -> bool {
        let likely = self.prices.predicted(load);
        let admitted = limit.time.zip(likely).is_none_or(|(time, likely)| likely <= time);
        limit.left_out |= !admitted;
        admitted
    }

    pub fn had(&self, tenant: &TenantId) -> Duration {
        self.tenants.get(tenant).map_or(Duration::ZERO, |account| account.had)
    }

    /// Returns whether a tenant's own code has to wait: it is ahead of who has had least, and delayed them by more than was
    /// granted.
    pub fn holds(&self, tenant: &TenantId) -> bool {
        self.granted < 0.0
            && self.first.as_ref().is_some_and(|first| {
                first != tenant && self.had(tenant) > self.had(first).saturating_add(self.prices.shortest)
            })
    }

    /// Notes that a tenant had the thread for itself.
    pub fn charge(&mut self, tenant: &TenantId, time: Duration) {
        self.add(tenant, time);
        if self.first.as_ref().is_some_and(|first| first != tenant) {
            self.delayed(time.as_secs_f64());
        }
    }

    fn add(&mut self, tenant: &TenantId, time: Duration) {
        if let Some(account) = self.tenants.get_mut(tenant) {
            account.had += time;
        }
    }

    /// Takes a delay off what was granted. What is owed is never more than a slice, or than the last delay where that is
    /// longer: whatever was more may have been the machine's doing, and is forgiven.
    fn delayed(&mut self, seconds: f64) {
        self.granted = (self.granted - seconds).max(-seconds.max(self.lag.as_secs_f64()));
    }

    /// Notes that tenants shared a pass. What any pass takes, all have had in equal parts, for it takes that for each of
    /// them anyway; the rest is had by who computed, and the time of blocks by who has them. Where no layer was computed,
    /// because the pass ended or failed before, each part has had the same.
    pub fn passed(&mut self, limit: &Limit, took: Took, parts: &[impl Borrow<Part>]) {
        let parts: Vec<&Part> = parts.iter().map(Borrow::borrow).collect();
        if self.lag == Duration::MAX || parts.is_empty() {
            return;
        }
        let computed = took.depth > 0.0 && parts.iter().any(|part| part.computed > 0);
        let mut tenants: HashMap<&TenantId, u64> = HashMap::new();
        for part in &parts {
            *tenants.entry(&part.tenant).or_default() += if computed { part.computed } else { 1 };
        }
        let (all, load) = (tenants.values().sum::<u64>(), parts.iter().map(|part| part.load).sum::<Load>());
        self.settle(limit, took, computed, &parts);
        let mut common = Duration::ZERO;
        if computed {
            self.prices.learn(took.time.div_f64(took.depth), load);
            common = self.prices.shortest.mul_f64(took.depth).min(took.time);
        }
        let rest = took.time.saturating_sub(common);
        let equal = common.div_f64(tenants.len() as f64);
        for (tenant, own) in tenants {
            self.add(tenant, equal + rest.mul_f64(own as f64 / all as f64));
        }
        parts.iter().for_each(|part| self.add(&part.tenant, part.load.blocks));
    }

    /// Counts how much longer a pass took than it would have taken for who has had least.
    fn settle(&mut self, limit: &Limit, took: Took, computed: bool, parts: &[&Part]) {
        let Some(first) = &self.first else { return };
        let (own, others): (Vec<_>, Vec<_>) = parts.iter().copied().partition(|part| part.tenant == *first);
        self.granted += limit.grant;
        if !others.is_empty() {
            let sum = |parts: &[&Part]| parts.iter().map(|part| part.load).sum::<Load>();
            let load = sum(&own);
            let arithmetic = if computed {
                let depth = own.iter().map(|part| part.depth).fold(0.0, f64::max);
                self.prices.predicted(Load { blocks: Duration::ZERO, ..load }).unwrap_or_default().mul_f64(depth)
            } else {
                took.time.mul_f64(own.len() as f64 / parts.len() as f64)
            };
            let time = took.time + load.blocks + sum(&others).blocks;
            self.delayed(time.saturating_sub(arithmetic + load.blocks).as_secs_f64());
        }
        // What is granted is kept for those who wait for more than one pass grants, and for nobody else.
        if !limit.left_out {
            self.granted = self.granted.min(0.0);
        }
    }
}

/// What passes take, of late.
struct Prices {
    /// The shortest pass so far, as if it had gone through all layers: what one takes however little is in it.
    shortest: Duration,
    /// Seconds that each further row takes with one token, and each further token of a row.
    row: f64,
    token: f64,
    /// What passes of a size took, by powers of two of rows and tokens: kernels are given sizes of a grid, and what one more
    /// row takes is not the same everywhere.
    sizes: HashMap<[u32; 2], f64>,
}

impl Default for Prices {
    fn default() -> Self {
        Self { shortest: Duration::MAX, row: 0.0, token: 0.0, sizes: HashMap::new() }
    }
}

impl Prices {
    /// Returns what a pass is likely to take, if there was any.
    fn predicted(&self, load: Load) -> Option<Duration> {
        if self.shortest == Duration::MAX {
            return None;
        }
        let further = self.row * further(load.rows, 1) + self.token * further(load.tokens, load.rows.max(1));
        let likely = self.sizes.get(&size(load)).copied().unwrap_or(self.shortest.as_secs_f64() + further);
        Some(Duration::try_from_secs_f64(likely).unwrap_or(Duration::MAX).saturating_add(load.blocks))
    }

    /// Notes what a pass took, as if it had gone through all layers.
    fn learn(&mut self, took: Duration, load: Load) {
        self.shortest = self.shortest.min(took);
        let beyond = took.saturating_sub(self.shortest).as_secs_f64();
        let (rows, tokens) = (further(load.rows, 1), further(load.tokens, load.rows.max(1)));
        if tokens > 0.0 {
            adapt(&mut self.token, (beyond - self.row * rows).max(0.0) / tokens);
        } else if rows > 0.0 {
            adapt(&mut self.row, beyond / rows);
        }
        let took = took.as_secs_f64();
        let known = self.sizes.entry(size(load)).or_insert(took);
        // However long one was kept waiting, it counts for twice what others take at most.
        adapt(known, took.min(2.0 * *known));
    }
}

fn further(count: i64, than: i64) -> f64 {
    count.saturating_sub(than).max(0) as f64
}

fn size(load: Load) -> [u32; 2] {
    [load.rows, load.tokens].map(|count| u64::try_from(count).unwrap_or(0).next_power_of_two().trailing_zeros())
}

/// Adds what came last. The first pass of a size takes longer than those after it, and any may be kept waiting by the
/// machine: so an average falls fast and rises slowly.
fn adapt(average: &mut f64, newest: f64) {
    let weight = if newest < *average { 0.5 } else { NEWEST };
    *average = if *average == 0.0 { newest } else { *average + weight * (newest - *average) };
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASS: Duration = Duration::from_millis(1);
    const SLICE: Duration = Duration::from_millis(25);

    /// Tenants with so many rows each, what so many rows take, and what the blocks of a row take and the code that it has
    /// before each pass, but for the first tenant's.
    struct Crowd {
        shares: Shares,
        rows: Vec<(TenantId, u32)>,
        time: Box<dyn Fn(u32) -> Duration>,
        blocks: Box<dyn Fn(usize) -> Duration>,
        code: Duration,
        passes: usize,
    }

    impl Crowd {
        fn new(slice: Duration, row: Duration, rows: &[u32]) -> Self {
            Self::with(slice, move |rows| PASS + row * rows, rows)
        }

        fn with(slice: Duration, time: impl Fn(u32) -> Duration + 'static, rows: &[u32]) -> Self {
            let tenants = (0..).map(|number| TenantId::new(format!("tenant {number}")));
            let rows = tenants.zip(rows.iter().copied()).collect();
            let (time, blocks) = (Box::new(time), Box::new(|_| Duration::ZERO));
            Self { shares: Shares::new(slice), rows, time, blocks, code: Duration::ZERO, passes: 0 }
        }

        /// Runs a pass. Returns how many rows of each tenant were in it, and what it took.
        fn pass(&mut self) -> (Vec<u32>, Duration) {
            let there = || self.rows.iter().filter(|(_, rows)| *rows > 0);
            self.shares.attend(there().map(|(tenant, _)| tenant));
            let mut code = Duration::ZERO;
            for (tenant, rows) in self.rows.iter().skip(1) {
                if !self.shares.holds(tenant) {
                    self.shares.charge(tenant, self.code * *rows);
                    code += self.code * *rows;
                }
            }
            let load = |number: usize, rows: u32, blocks: Duration| Load {
                rows: i64::from(rows),
                tokens: i64::from(rows),
                blocks: if number > 0 { blocks * rows } else { Duration::ZERO },
            };
            let likely = (self.blocks)(self.passes.saturating_sub(1));
            let each = || self.rows.iter().enumerate();
            let wanting = each().map(|(number, (tenant, rows))| (tenant, load(number, *rows, likely)));
            let mut limit = self.shares.limit(i64::MAX, wanting.filter(|(_, load)| load.rows > 0));
            let (mut joined, mut all) = (vec![0; self.rows.len()], Load::default());
            for ahead in [false, true] {
                for (number, (tenant, rows)) in each() {
                    for _ in 0..*rows {
                        let more = all.and(load(number, 1, likely));
                        if (self.shares.had(tenant) > limit.had) == ahead
                            && (!ahead || self.shares.admits(&mut limit, more))
                        {
                            joined[number] += 1;
                            all = more;
                        }
                    }
                }
            }
            let took = Took { time: (self.time)(joined.iter().sum()), depth: 1.0 };
            let blocks = (self.blocks)(self.passes);
            let part = |(number, rows): (usize, &u32)| Part {
                tenant: self.rows[number].0.clone(),
                load: load(number, *rows, blocks),
                computed: u64::from(*rows),
                depth: 1.0,
            };
            let parts: Vec<_> = joined.iter().enumerate().filter(|(_, rows)| **rows > 0).map(part).collect();
            let blocks = parts.iter().map(|part| part.load.blocks).sum::<Duration>();
            self.shares.passed(&limit, took, &parts);
            self.passes += 1;
            (joined, code + took.time + blocks)
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
    fn what_nobody_could_predict_is_paid_for_by_the_passes_that_follow() {
        let step = |rows| if rows > 1 { PASS * 13 / 5 } else { PASS };
        let linear = |rows| PASS + PASS / 4 * rows;
        let none = |_| Duration::ZERO;
        let odd = |pass: usize| if pass.is_multiple_of(7) { 10 * PASS } else { Duration::ZERO };
        type Case = (fn(u32) -> Duration, fn(usize) -> Duration, Duration);
        let cases: [Case; 5] = [
            (step, none, Duration::ZERO),
            (step, none, PASS / 3),
            (linear, none, PASS / 3),
            (linear, odd, Duration::ZERO),
            (linear, odd, PASS),
        ];
        for (case, (time, blocks, code)) in cases.into_iter().enumerate() {
            for many in [7, 28] {
                let mut crowd = Crowd::with(SLICE, time, &[1, 0]);
                (crowd.blocks, crowd.code) = (Box::new(blocks), code);
                let (_, alone) = crowd.passes(1000);
                // They have had some time to themselves before.
                crowd.rows = vec![(crowd.rows[0].0.clone(), 0), (crowd.rows[1].0.clone(), many)];
                crowd.passes(200);
                crowd.rows[0].1 = 1;
                let (had, beside) = crowd.passes(1000);
                assert!(had[0] == 1000 && beside < alone * 41 / 20, "case {case}: {beside:?} beside, {alone:?} alone");
                assert!(had[1] > 0, "case {case}: {had:?}");
            }
        }
    }

    #[test]
    fn one_pass_that_the_machine_kept_waiting_changes_little() {
        let mut crowd = Crowd::new(SLICE, PASS / 4, &[1, 0]);
        crowd.passes(1000);
        crowd.rows[1].1 = 28;
        let (before, _) = crowd.passes(1000);
        crowd.time = Box::new(|_| 400 * PASS);
        crowd.pass();
        crowd.time = Box::new(|rows| PASS + PASS / 4 * rows);
        let (after, _) = crowd.passes(1000);
        assert!(after[1] > before[1] * 3 / 4, "{before:?}, then {after:?}");
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
        for (slice, expected) in [(SLICE, [0, 1]), (Duration::MAX, [4, 1])] {
            let mut crowd = Crowd::new(slice, PASS, &[0, 1]);
            crowd.pass();
            crowd.rows[0].1 = 4;
            assert_eq!(crowd.pass().0, [4, 1]);
            crowd.shares.charge(&crowd.rows[0].0.clone(), 50 * PASS);
            crowd.shares.prices = Prices { shortest: 2 * PASS, row: PASS.as_secs_f64(), ..Prices::default() };
            assert_eq!(crowd.pass().0, expected);
            assert!(crowd.passes(100).0[0] > 0, "what it owes is paid one day");
        }
    }

    #[test]
    fn a_models_layers_are_not_taken_for_more_tokens() {
        let done = |tokens, layers| Done { tokens, layers, ..Done::default() };
        let tokens = |done: Done| Load::computed(2, &done, Duration::ZERO).tokens;
        assert_eq!([tokens(done(8, 4)), tokens(done(2, 1)), tokens(done(0, 0))], [2, 2, 0]);
    }

    #[test]
    fn a_pass_that_ends_early_takes_a_part_of_what_any_does() {
        let mut shares = Shares::new(SLICE);
        let tenants = [TenantId::new("one"), TenantId::new("other")];
        shares.attend(tenants.iter());
        let mut pass = |time: Duration| {
            let limit = shares.limit(i64::MAX, std::iter::empty());
            let part = |(tenant, computed): (&TenantId, u64)| Part {
                tenant: tenant.clone(),
                load: Load::default(),
                computed,
                depth: 0.25,
            };
            let parts: Vec<_> = tenants.iter().zip([1, 3]).map(part).collect();
            shares.passed(&limit, Took { time, depth: 0.25 }, &parts);
            shares.had(&tenants[1]) - shares.had(&tenants[0])
        };
        assert_eq!(pass(PASS), Duration::ZERO, "all of it is what any takes");
        assert_eq!(pass(2 * PASS), PASS / 2);
    }

    #[test]
    fn a_pass_that_computes_nothing_is_paid_for_and_nothing_is_learnt_of_it() {
        let mut shares = Shares::new(SLICE);
        let tenants = [TenantId::new("one"), TenantId::new("other"), TenantId::new("who waits")];
        shares.attend(tenants.iter());
        let limit = shares.limit(i64::MAX, std::iter::empty());
        shares.first = Some(tenants[2].clone());
        let part = |tenant: &TenantId, blocks: Duration| Part {
            tenant: tenant.clone(),
            load: Load { rows: 1, tokens: 0, blocks },
            computed: 0,
            depth: 0.0,
        };
        let parts = [part(&tenants[0], PASS), part(&tenants[1], Duration::ZERO)];
        shares.passed(&limit, Took { time: 2 * PASS, depth: 0.0 }, &parts);
        assert_eq!(tenants.each_ref().map(|tenant| shares.had(tenant)), [2 * PASS, PASS, Duration::ZERO]);
        assert!(shares.granted < 0.0, "who waits was delayed");
        assert_eq!(shares.prices.shortest, Duration::MAX);
    }

    #[test]
    fn what_waits_counts_as_far_as_a_pass_carries_it() {
        let load = |tokens: i64| Load { rows: 1, tokens, blocks: Duration::ZERO };
        let carried =
            |all: &[i64]| all.iter().fold(Load::default(), |all, tokens| all.and_within(10, load(*tokens))).tokens;
        assert_eq!([carried(&[20, 1]), carried(&[4, 4, 4, 2]), carried(&[])], [20, 10, 0]);
    }
}
