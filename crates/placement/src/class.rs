//! What becomes of a job's class while it waits.

use ids::Class;

/// Returns the class that a job moves up to when it has waited for long. None gets to be urgent by that: else who sends
/// much, of which the most waits for long, would come before who sends little.
pub fn above(class: Class) -> Option<Class> {
    match class {
        Class::High | Class::Normal => None,
        Class::Low => Some(Class::Normal),
    }
}
