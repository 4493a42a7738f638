//! Elements outside of containers.

use std::ops::{Deref, DerefMut};

use crate::values::types::charge::Charge;
use crate::values::value::Value;

/// Elements that were taken out of a container to be worked on, charged for as long as they are held: user code may run
/// meanwhile, and take out others.
pub struct Items<T = Value> {
    elements: Vec<T>,
    charge: Charge,
}

impl<T> Items<T> {
    /// Gives up the charge, to whoever makes a container of them.
    pub fn into_vec(self) -> Vec<T> {
        self.elements
    }
}

impl<T> From<Vec<T>> for Items<T> {
    fn from(elements: Vec<T>) -> Self {
        let bytes = (elements.capacity() * size_of::<T>()) as u64;
        // Few are not worth it.
        let charge = if bytes < 4096 { Charge::default() } else { Charge::of(bytes) };
        Self { elements, charge }
    }
}

impl<T> Default for Items<T> {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl<T> From<Items<T>> for Vec<T> {
    fn from(items: Items<T>) -> Self {
        items.elements
    }
}

impl<T> FromIterator<T> for Items<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Vec::from_iter(elements).into()
    }
}

impl<T> Deref for Items<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.elements
    }
}

impl<T> DerefMut for Items<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.elements
    }
}

impl<T> IntoIterator for Items<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { rest: self.elements.into_iter(), _charge: self.charge }
    }
}

impl<'a, T> IntoIterator for &'a Items<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> std::slice::Iter<'a, T> {
        self.elements.iter()
    }
}

/// Hands out the elements one by one; the charge ends with the last user of it.
pub struct IntoIter<T> {
    rest: std::vec::IntoIter<T>,
    _charge: Charge,
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.rest.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rest.size_hint()
    }
}

impl<T> DoubleEndedIterator for IntoIter<T> {
    fn next_back(&mut self) -> Option<T> {
        self.rest.next_back()
    }
}

impl<T> ExactSizeIterator for IntoIter<T> {}
