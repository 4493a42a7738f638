//! Which kernels computed a job: what says whether two runs may differ in their bits.

use std::fmt;

/// Kernels give other bits at other shapes. Where two runs of one program have equal classes, every number has the same
/// bits, whoever shared their passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShapeClass {
    /// The least and the greatest number of tokens that passes were rounded to.
    sizes: Option<(i64, i64)>,
    /// What all layers of all passes had in common, while they do.
    common: Option<u64>,
    /// All of it, in order.
    sequence: u64,
    /// The head's.
    head: u64,
    /// Whether some kernel gives rows other bits by where they lie.
    odd: bool,
}

/// How a layer computed a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Whole,
    /// Only the ends of rows, on what was kept of equal rows.
    Ends,
    /// Not at all: it had been kept.
    Kept,
}

impl ShapeClass {
    /// Adds a layer, by the size its pass was rounded to and the name of its kernels' bits; an odd name says that they
    /// depend on where rows lie. Size zero adds nothing: the job's shapes are its own.
    pub fn add(&mut self, size: i64, kernels: u64, reach: Reach) {
        if size == 0 {
            return;
        }
        let first = self.sizes.is_none();
        let (least, greatest) = self.sizes.unwrap_or((size, size));
        self.sizes = Some((least.min(size), greatest.max(size)));
        self.odd |= kernels % 2 == 1;
        let plain = reach == Reach::Whole && (first || self.common == Some(kernels));
        self.common = plain.then_some(kernels);
        self.sequence = mix(self.sequence ^ kernels ^ reach as u64);
    }

    /// Adds the head, by the name of its kernels' bits.
    pub fn add_head(&mut self, kernels: u64) {
        self.odd |= kernels % 2 == 1;
        self.head = kernels;
    }

    /// Returns whether nothing was computed at a shape that others could have had a part in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sizes.is_none()
    }

    /// Adds what came after.
    pub fn extend(&mut self, later: &Self) {
        let Some((least, greatest)) = later.sizes else { return };
        let Some((own_least, own_greatest)) = self.sizes else {
            *self = *later;
            return;
        };
        *self = Self {
            sizes: Some((least.min(own_least), greatest.max(own_greatest))),
            common: self.common.filter(|_| self.common == later.common),
            sequence: mix(mix(self.sequence) ^ later.sequence),
            head: self.head | later.head,
            odd: self.odd | later.odd,
        };
    }
}

/// `16:9c01a3f2`: passes rounded to 16 tokens, and what names the bits. `1-16:…` where passes had several sizes; a `?` at
/// the end where bits depend on where rows lie too.
impl fmt::Display for ShapeClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((least, greatest)) = self.sizes else { return f.write_str("none") };
        write!(f, "{least}")?;
        if greatest > least {
            write!(f, "-{greatest}")?;
        }
        let name = mix(self.common.unwrap_or(self.sequence) ^ mix(self.head)) >> 32;
        write!(f, ":{name:08x}{}", if self.odd { "?" } else { "" })
    }
}

/// Scatters bits: the finalizer of SplitMix64.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(steps: &[(i64, u64, Reach)]) -> ShapeClass {
        let mut class = ShapeClass::default();
        steps.iter().for_each(|&(size, kernels, reach)| class.add(size, kernels, reach));
        class
    }

    #[test]
    fn one_kernel_has_one_name_however_many_layers_it_computed() {
        let name = class(&[(16, 8, Reach::Whole)]).to_string();
        assert!(name.starts_with("16:") && name.len() == 11, "{name}");
        assert_eq!(class(&[(16, 8, Reach::Whole), (16, 8, Reach::Whole)]).to_string(), name);
        let wider = class(&[(24, 8, Reach::Whole)]).to_string();
        assert_eq!(wider.split_once(':').unwrap().1, name.split_once(':').unwrap().1);
    }

    #[test]
    fn what_may_change_bits_changes_the_name() {
        let whole = [(16, 8, Reach::Whole), (16, 8, Reach::Whole)];
        let names = [
            class(&whole),
            class(&[(16, 8, Reach::Whole), (24, 10, Reach::Whole)]),
            class(&[(24, 10, Reach::Whole), (16, 8, Reach::Whole)]),
            class(&[(16, 8, Reach::Whole), (16, 8, Reach::Ends)]),
            class(&[(16, 8, Reach::Whole), (16, 8, Reach::Kept)]),
            class(&[(16, 8, Reach::Kept), (16, 8, Reach::Kept)]),
            class(&[(16, 9, Reach::Whole)]),
        ]
        .map(|class| class.to_string());
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name), "{names:?}");
        }
        assert!(names[1].starts_with("16-24:") && names[6].ends_with('?'), "{names:?}");
        let mut reached = class(&whole);
        reached.add_head(6);
        assert!(!names.contains(&reached.to_string()));
    }

    #[test]
    fn passes_of_one_class_add_up_to_it() {
        let one = class(&[(16, 8, Reach::Whole)]);
        let mut all = ShapeClass::default();
        all.extend(&one);
        all.extend(&ShapeClass::default());
        all.extend(&one);
        assert_eq!(all.to_string(), one.to_string());
        all.extend(&class(&[(1, 10, Reach::Whole)]));
        let mut others = class(&[(1, 10, Reach::Whole)]);
        others.extend(&one);
        others.extend(&one);
        assert!(all.to_string() != others.to_string() && all.to_string().starts_with("1-16:"));
    }
}
