//! `statistics`.

use crate::library::modules::written::Written;

pub const STATISTICS: Written = Written { text: include_str!("../python/statistics.py"), natives: |_| Ok(Vec::new()) };
