//! `enum`.

use crate::library::modules::written::Written;

pub const ENUM: Written = Written { text: include_str!("../python/enum.py"), natives: |_| Ok(Vec::new()) };
