//! `dataclasses`.

use crate::library::modules::signature;
use crate::library::modules::written::Written;

pub const DATACLASSES: Written =
    Written { text: include_str!("../python/dataclasses.py"), natives: |_| Ok(signature::natives()) };
