//! How long many things took, in little room.

/// Classes of time that make an octave: what is told is right within a tenth.
const PER_OCTAVE: f64 = 4.0;

/// The last class, of half a century and more.
const CLASSES: usize = 160;

/// Counts of times in milliseconds, by classes that grow with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Without zeros at the end.
    counts: Vec<u32>,
}

impl Spread {
    /// Counts a time.
    pub fn add(&mut self, milliseconds: u64) {
        let class = class(milliseconds);
        if self.counts.len() <= class {
            self.counts.resize(class + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(class) {
            *count = count.saturating_add(1);
        }
    }

    /// Adds the counts of another.
    pub fn merge(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
    }

    /// Returns how many times were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// Returns the milliseconds that a share of all, from 0 to 1, took at most; `None` where nothing was counted.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        #[expect(clippy::cast_precision_loss, reason = "what a quarter of a class is wide may be lost")]
        let wanted = (self.count() as f64 * share).ceil().max(1.0);
        let mut seen = 0.0;
        let found = self.counts.iter().position(|count| {
            seen += f64::from(*count);
            seen >= wanted
        });
        found.map(middle)
    }

    /// Returns the counts by class.
    #[must_use]
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// Takes counts by class. Those of classes that there are not are left out.
    #[must_use]
    pub fn from_counts(mut counts: Vec<u32>) -> Self {
        counts.truncate(CLASSES);
        while counts.last() == Some(&0) {
            counts.pop();
        }
        Self { counts }
    }
}

fn class(milliseconds: u64) -> usize {
    if milliseconds == 0 {
        return 0;
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most 64 octaves, and never negative"
    )]
    let class = ((milliseconds as f64).log2() * PER_OCTAVE) as usize + 1;
    class.min(CLASSES - 1)
}

/// Returns the time in the middle of a class.
fn middle(class: usize) -> u64 {
    if class == 0 {
        return 0;
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "below 2^40, and never negative"
    )]
    let milliseconds = ((class as f64 - 0.5) / PER_OCTAVE).exp2().round() as u64;
    milliseconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_share_took_is_right_within_a_tenth() {
        for time in [1, 2, 7, 100, 1_234, 86_400_000, 5_000_000_000] {
            let mut spread = Spread::default();
            spread.add(time);
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            let ratio = spread.quantile(0.5).unwrap() as f64 / time as f64;
            assert!((0.9..=1.12).contains(&ratio) || time == 1, "{time}: {ratio}");
        }
        let mut spread = Spread::default();
        assert_eq!((spread.quantile(0.5), spread.count()), (None, 0));
        (0..99).for_each(|_| spread.add(10));
        spread.add(10_000);
        assert!(spread.quantile(0.5).unwrap() < 12 && spread.quantile(0.99).unwrap() < 12);
        assert!(spread.quantile(1.0).unwrap() > 9_000);
        spread.add(0);
        spread.add(u64::MAX);
        assert_eq!((spread.quantile(0.0), spread.count()), (Some(0), 102));
        assert_eq!(Spread::from_counts(spread.counts().to_vec()), spread);
    }

    #[test]
    fn spreads_are_put_together_whatever_they_hold() {
        let (mut few, mut many) = (Spread::default(), Spread::default());
        few.add(3);
        many.add(3_000);
        many.add(3);
        let mut other = many.clone();
        few.merge(&many);
        other.merge(&{
            let mut one = Spread::default();
            one.add(3);
            one
        });
        assert_eq!((few.count(), &few), (3, &other));
    }
}
