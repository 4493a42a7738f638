//! How much of a text a pattern can take, part by part.

/// The groups that are open, and what lies in them so far.
pub struct Measure {
    /// The innermost last; the first is the pattern itself.
    open: Vec<Level>,
    /// Numbered groups that have ended, with what they took; `None` for those that are open still.
    groups: Vec<Option<Part>>,
    names: Vec<(String, usize)>,
}

/// What begins with a bracket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Plain,
    Numbered,
    Ahead,
    Behind,
    Conditional,
}

/// What a part of a pattern takes.
#[derive(Clone, Copy, Default)]
struct Part {
    least: u64,
    /// `u64::MAX` for as much as there is.
    most: u64,
    /// How many loops without an end lie inside one another in it.
    degree: u32,
}

struct Level {
    group: Group,
    number: usize,
    /// The branches before the one at hand.
    before: Option<Part>,
    /// The branch at hand, without its last part, which a quantifier may follow.
    branch: Part,
    last: Part,
}

impl Default for Measure {
    fn default() -> Self {
        Self { open: vec![Level::new(Group::Plain, 0)], groups: Vec::new(), names: Vec::new() }
    }
}

impl Measure {
    /// A part that takes so many characters.
    pub fn atom(&mut self, width: u64) {
        self.add(Part { least: width, most: width, degree: 0 });
    }

    /// A quantifier of the last part; `most` is missing where there is no end.
    pub fn repeat(&mut self, least: u64, most: Option<u64>) {
        let Some(level) = self.open.last_mut() else { return };
        level.last.least = level.last.least.saturating_mul(least);
        level.last.most =
            if level.last.most == 0 { 0 } else { level.last.most.saturating_mul(most.unwrap_or(u64::MAX)) };
        level.last.degree += u32::from(most.is_none());
    }

    /// Begins another branch. Returns whether there may be one more.
    pub fn branch(&mut self) -> bool {
        let Some(level) = self.open.last_mut() else { return true };
        let first = level.before.is_none();
        level.before = Some(level.whole());
        (level.branch, level.last) = (Part::default(), Part::default());
        first || level.group != Group::Conditional
    }

    pub fn open(&mut self, group: Group) {
        if group == Group::Numbered {
            self.groups.push(None);
        }
        self.open.push(Level::new(group, self.groups.len()));
    }

    /// Returns how many brackets are open.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// Names the group that was opened last.
    pub fn name(&mut self, name: &str) {
        self.names.push((name.to_owned(), self.groups.len()));
    }

    /// Ends the innermost group. Returns whether it may stand there: a look-behind takes one width.
    pub fn close(&mut self) -> bool {
        if self.open.len() < 2 {
            return true;
        }
        let Some(level) = self.open.pop() else { return true };
        let mut whole = level.whole();
        match level.group {
            Group::Behind if whole.least != whole.most => return false,
            Group::Ahead | Group::Behind => (whole.least, whole.most) = (0, 0),
            Group::Conditional if level.before.is_none() => whole.least = 0,
            Group::Numbered => {
                if let Some(group) = self.groups.get_mut(level.number - 1) {
                    *group = Some(whole);
                }
            }
            _ => {}
        }
        self.add(whole);
        true
    }

    /// Returns whether a group has this number.
    pub fn has(&self, group: usize) -> bool {
        group > 0 && group <= self.groups.len()
    }

    /// Returns the number of a named group.
    pub fn named(&self, name: &str) -> Option<usize> {
        self.names.iter().find(|(known, _)| known == name).map(|(_, number)| *number)
    }

    /// A part that takes again what a group took. Returns whether the group has ended.
    pub fn refer(&mut self, group: usize) -> bool {
        let Some(Some(taken)) = self.groups.get(group.wrapping_sub(1)).copied() else { return false };
        // It is compared from its beginning wherever it may stand.
        self.add(Part { degree: taken.degree.min(1), ..taken });
        true
    }

    /// Returns how many loops without an end lie inside one another, and whether the whole may match nothing, or something.
    pub fn whole(&self) -> (u32, bool) {
        let whole = self.open.iter().map(Level::whole).fold(Part::default(), Part::then);
        (whole.degree, whole.least == 0 && whole.most > 0)
    }

    /// Returns how many groups have a number.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Returns the names of groups, with their numbers.
    pub fn into_names(self) -> Vec<(String, usize)> {
        self.names
    }

    fn add(&mut self, part: Part) {
        let Some(level) = self.open.last_mut() else { return };
        level.branch = level.branch.then(level.last);
        level.last = part;
    }
}

impl Level {
    fn new(group: Group, number: usize) -> Self {
        Self { group, number, before: None, branch: Part::default(), last: Part::default() }
    }

    fn whole(&self) -> Part {
        let branch = self.branch.then(self.last);
        self.before.map_or(branch, |before| before.or(branch))
    }
}

impl Part {
    fn then(self, next: Self) -> Self {
        Self {
            least: self.least.saturating_add(next.least),
            most: self.most.saturating_add(next.most),
            degree: self.degree.max(next.degree),
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            least: self.least.min(other.least),
            most: self.most.max(other.most),
            degree: self.degree.max(other.degree),
        }
    }
}
