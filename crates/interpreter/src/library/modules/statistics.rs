//! `statistics`.

use crate::library::modules::written::Written;
use crate::values::types::Type;
use crate::values::value::Value;

pub const STATISTICS: Written = Written {
    text: include_str!("../python/statistics.py"),
    natives: |_| Ok(vec![("Counter", Value::Type(Type::Counter))]),
};
