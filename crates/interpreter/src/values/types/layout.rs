//! Where the elements of a set lie in CPython's table (`Objects/setobject.c`), which is the order in which they are gone
//! through. That depends on their hashes and on what has become of the set since it was made.

/// Places of the smallest table.
const SMALLEST: usize = 8;
/// Places that are looked at behind the one that a hash names, where the table has so many.
const PROBES: usize = 9;
/// From so many elements on, a table grows to twice as many places as there are elements, and to four times before.
const LARGE: usize = 50_000;
/// Stretches of places that are looked at for one element. Only hashes that were chosen for that need so many.
const PATIENCE: usize = 64;

/// With more places for each element than this, elements are looked up one by one.
const SPARSE: usize = 64;

/// What is at one place.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Free,
    /// There was an element. Whoever looks for another goes on.
    Left,
    /// The element with this hash that has this number.
    Taken(i64, u32),
}

/// A table of numbered elements.
#[derive(Clone)]
pub struct Layout {
    places: Vec<Place>,
    /// Elements.
    used: usize,
    /// Places that are not free.
    filled: usize,
    /// Where the next element to pop is looked for.
    finger: usize,
}

/// There is no place for an element that could be found in time.
pub struct Crowded;

/// An empty table.
impl Default for Layout {
    fn default() -> Self {
        Self { places: vec![Place::Free; SMALLEST], used: 0, filled: 0, finger: 0 }
    }
}

impl Layout {
    /// Returns how many bytes the places take.
    pub fn bytes(&self) -> u64 {
        bytes(self.places.len())
    }

    /// Returns how many bytes they take when one more element was put there.
    pub fn bytes_with_one_more(&self) -> u64 {
        bytes(self.grown(1, roomy(self.used + 1)).unwrap_or(self.places.len()))
    }

    /// Returns how many bytes they take when so many more are expected.
    pub fn bytes_with(&self, others: usize) -> u64 {
        bytes(self.grown(others, (self.used + others) * 2).unwrap_or(self.places.len()))
    }

    /// Puts an element that is not there yet.
    ///
    /// # Errors
    /// It finds no place in time.
    pub fn put(&mut self, hash: i64, number: usize) -> Result<(), Crowded> {
        let taken = Place::Taken(hash, u32::try_from(number).map_err(|_| Crowded)?);
        let grown = self.grown(1, roomy(self.used + 1));
        // The last place on the way that was left is taken again.
        let mut left = None;
        let free = self.find(hash, |at, place| {
            left = if place == Place::Left { Some(at) } else { left };
            place == Place::Free
        });
        let free = free.ok_or(Crowded)?;
        self.places[left.unwrap_or(free)] = taken;
        self.used += 1;
        if left.is_some() {
            return Ok(());
        }
        self.filled += 1;
        grown.map_or(Ok(()), |size| self.resize(size))
    }

    /// Takes an element out.
    pub fn take(&mut self, hash: i64, number: usize) {
        if let Some(place) = self.place(hash, number) {
            self.places[place] = Place::Left;
            self.used -= 1;
        }
    }

    fn place(&self, hash: i64, number: usize) -> Option<usize> {
        self.find(hash, |_, place| matches!(place, Place::Taken(_, other) if other as usize == number))
    }

    /// Makes room for so many more at once.
    ///
    /// # Errors
    /// As [`Layout::put`].
    pub fn expect(&mut self, others: usize) -> Result<(), Crowded> {
        self.grown(others, (self.used + others) * 2).map_or(Ok(()), |size| self.resize(size))
    }

    /// Frees the places that were left, where these are many.
    ///
    /// # Errors
    /// As [`Layout::put`].
    pub fn tidy(&mut self) -> Result<(), Crowded> {
        match self.filled - self.used > (self.places.len() - 1) / 4 {
            true => self.resize(size_beyond(roomy(self.used))),
            false => Ok(()),
        }
    }

    /// Says whether another table, if it is empty, takes the places of this one as they are.
    pub fn is_copied_to(&self, other: &Self) -> bool {
        other.filled == 0 && other.places.len() == self.places.len() && self.filled == self.used
    }

    /// Takes the places of another table. Where the next element to pop is looked for stays.
    pub fn lie_as(&mut self, other: Self) {
        *self = Self { finger: self.finger, ..other };
    }

    /// Returns the place behind the next element, and that element's number; where there is none, the end.
    pub fn after(&self, place: usize) -> (usize, Option<usize>) {
        let rest = self.places.get(place..).unwrap_or_default();
        let next = rest.iter().enumerate().find_map(|(passed, found)| match found {
            Place::Taken(_, number) => Some((place + passed + 1, Some(*number as usize))),
            _ => None,
        });
        next.unwrap_or((place + rest.len(), None))
    }

    /// Returns the numbers in the order of their places. `known` are the hashes of the elements and their numbers: where few
    /// are left in many places, each is looked up by its own, and the places are not gone through.
    pub fn numbers(&self, known: impl Iterator<Item = Option<(i64, usize)>>) -> Vec<usize> {
        if self.places.len() / SPARSE > self.used {
            let place = |(hash, number)| Some((self.place(hash, number)?, number));
            let mut placed: Vec<_> = known.filter_map(|one| place(one?)).collect();
            placed.sort_unstable();
            return placed.into_iter().map(|(_, number)| number).collect();
        }
        let number = |place: &Place| match place {
            Place::Taken(_, number) => Some(*number as usize),
            _ => None,
        };
        self.places.iter().filter_map(number).collect()
    }

    /// Returns the number of the element that is to be popped next, and how many places were passed by to find it.
    pub fn next_to_pop(&mut self) -> (usize, Option<usize>) {
        let start = self.finger & (self.places.len() - 1);
        let (mut behind, mut number) = self.after(start);
        let mut passed = behind - start;
        if number.is_none() {
            (behind, number) = self.after(0);
            passed += behind;
        }
        if number.is_some() {
            self.finger = behind;
        }
        (passed, number)
    }

    /// Gives the elements other numbers.
    pub fn renumber(&mut self, new: &[usize]) {
        for place in &mut self.places {
            if let Place::Taken(_, number) = place
                && let Some(new) = new.get(*number as usize)
            {
                *number = *new as u32;
            }
        }
    }

    /// Returns how many places there are to be when so many more were put, if those that there are do not do.
    fn grown(&self, others: usize, beyond: usize) -> Option<usize> {
        ((self.filled + others) * 5 >= (self.places.len() - 1) * 3).then(|| size_beyond(beyond))
    }

    fn resize(&mut self, size: usize) -> Result<(), Crowded> {
        let before = std::mem::replace(&mut self.places, vec![Place::Free; size]);
        self.filled = self.used;
        for place in before {
            if let Place::Taken(hash, number) = place {
                let free = self.find(hash, |_, place| place == Place::Free).ok_or(Crowded)?;
                self.places[free] = Place::Taken(hash, number);
            }
        }
        Ok(())
    }

    /// Returns the first of the places that a hash names at which this is so.
    fn find(&self, hash: i64, mut is_it: impl FnMut(usize, Place) -> bool) -> Option<usize> {
        let mask = self.places.len() - 1;
        let (mut perturb, mut at) = (hash as usize, hash as usize & mask);
        for _ in 0..PATIENCE {
            let last = if at + PROBES <= mask { at + PROBES } else { at };
            if let Some(place) = (at..=last).find(|place| is_it(*place, self.places[*place])) {
                return Some(place);
            }
            perturb >>= 5;
            at = (at.wrapping_mul(5).wrapping_add(1).wrapping_add(perturb)) & mask;
        }
        None
    }
}

fn bytes(places: usize) -> u64 {
    (places * size_of::<Place>()) as u64
}

fn roomy(used: usize) -> usize {
    if used > LARGE { used * 2 } else { used * 4 }
}

fn size_beyond(wanted: usize) -> usize {
    let mut size = SMALLEST;
    while size <= wanted {
        size *= 2;
    }
    size
}
