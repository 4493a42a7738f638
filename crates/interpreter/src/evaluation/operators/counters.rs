//! What `Counter`s do with each other.

use std::rc::Rc;

use crate::values::host::{HostResult, Operator, Outcome};
use crate::values::machine::Machine;
use crate::values::raise::Raise;
use crate::values::types::dict::{self, Dict};
use crate::values::value::Value;

use super::{binary, less_now, truth};

/// `+`, `-`, `|` and `&` of counters keep positive counts only.
pub fn combine(machine: &Machine, operator: Operator, left: &Dict, right: &Dict) -> HostResult {
    let result = Dict::of_kind(dict::Kind::Counter);
    let zero = || Value::Int(0);
    let mut entries = left.keyed_entries();
    entries.extend(right.keyed_entries().into_iter().filter(|(key, ..)| !left.contains(key)));
    for (key, original, _) in entries {
        let (mine, yours) = (left.get(&key).unwrap_or_else(zero), right.get(&key).unwrap_or_else(zero));
        let count = match operator {
            Operator::Add | Operator::Sub => match binary(machine, operator, &mine, &yours)? {
                Outcome::Ready(count) => count,
                _ => return Ok(Outcome::NotImplemented),
            },
            Operator::BitOr | Operator::BitAnd => {
                let less = less_now(machine, &mine, &yours)?.unwrap_or(false);
                if less == (operator == Operator::BitOr) { yours } else { mine }
            }
            _ => return Ok(Outcome::NotImplemented),
        };
        if less_now(machine, &zero(), &count)?.unwrap_or(false) {
            result.insert(machine, key, original, count)?;
        }
    }
    Ok(Value::Dict(Rc::new(result)).into())
}

/// `<=`, `<`, `>=` and `>` of counters: whether each count is within the other's, what is missing counting as none.
///
/// # Errors
/// What comparing counts raises.
pub async fn order(machine: &Machine, operator: Operator, left: &Dict, right: &Dict) -> Result<bool, Raise> {
    let (small, large) = match operator {
        Operator::Less | Operator::LessEqual => (left, right),
        _ => (right, left),
    };
    let strict = matches!(operator, Operator::Less | Operator::Greater);
    let holds = async |operator: Operator, left: &Value, right: &Value| {
        machine.charge_fuel(1)?;
        let outcome = binary(machine, operator, left, right)?;
        let value = machine.settle(outcome).await?;
        truth(machine, &value).await
    };
    let mut keys = small.keyed_entries();
    keys.extend(large.keyed_entries().into_iter().filter(|(key, ..)| !small.contains(key)));
    let mut differs = false;
    for (key, ..) in keys {
        let [less, more] = [small, large].map(|dict| dict.get(&key).unwrap_or(Value::Int(0)));
        if !holds(Operator::LessEqual, &less, &more).await? {
            return Ok(false);
        }
        differs = differs || strict && holds(Operator::NotEqual, &less, &more).await?;
    }
    Ok(differs || !strict)
}
