//! The strips under the bell curve from which NumPy's `Generator` makes normal numbers.

use std::sync::OnceLock;

/// One of 256 strips of equal area, the last the outermost but for the first, which has the tail.
#[derive(Clone, Copy)]
pub struct Strip {
    /// Magnitudes of 52 bits below which a number is taken at once.
    pub bound: i64,
    /// What a magnitude is multiplied by.
    pub width: f64,
    /// The curve at the strip's outer edge.
    pub height: f64,
}

/// Returns a strip by the low 8 bits of a word.
pub fn strip(at: u8) -> Option<Strip> {
    static STRIPS: OnceLock<Vec<Strip>> = OnceLock::new();
    let read = |line: &str| {
        let mut parts = line.split(' ');
        let bound = parts.next()?.parse().ok()?;
        Some(Strip { bound, width: parts.next()?.parse().ok()?, height: parts.next()?.parse().ok()? })
    };
    STRIPS.get_or_init(|| include_str!("ziggurat.txt").lines().filter_map(read).collect()).get(usize::from(at)).copied()
}

#[cfg(test)]
mod tests {
    use super::strip;

    #[test]
    fn each_byte_has_a_strip_below_the_one_before() {
        let heights: Vec<f64> = (0..=u8::MAX).filter_map(strip).map(|strip| strip.height).collect();
        assert_eq!(heights.len(), 256);
        assert!(heights.is_sorted_by(|one, next| one > next));
    }
}
