//! What priority classes are worth. Each has a floor: the part of the cluster's time that it gets at least while all classes
//! have work. What a class does not use goes to the others.

use ids::Class;

/// Returns the floor of a class in tenths.
pub fn floor(class: Class) -> u32 {
    match class {
        Class::High => 6,
        Class::Normal => 3,
        Class::Low => 1,
    }
}

/// Returns the class that a job moves up to when it has waited for long. None gets to be urgent by that: else who sends
/// much, of which the most waits for long, would come before who sends little.
pub fn above(class: Class) -> Option<Class> {
    match class {
        Class::High | Class::Normal => None,
        Class::Low => Some(Class::Normal),
    }
}
