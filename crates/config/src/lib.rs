//! Settings, from wherever an operator has put them.
