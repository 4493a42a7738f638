//! What PyTorch's functions look at before they call an operator, with its texts.

use interpreter::raise::{Kind, Raise};
use interpreter::{Machine, Value};

use super::Bound;
use crate::bounds;
use crate::dispatch::{self, Argument};
use crate::python;

/// Looks at the arguments of a call.
pub type Check = fn(&Machine, &Bound) -> Result<(), Raise>;

/// Finds a check by the name that it has in `signatures.txt`.
#[must_use]
pub fn find(name: &str) -> Option<Check> {
    Some(match name {
        "batch" => batch,
        "dimensions" => dimensions,
        "embedding" => embedding,
        "groups" => groups,
        "halves" => halves,
        "interval" => interval,
        "margin" => margin,
        "margins" => margins,
        "probability" => probability,
        "same_size" => same_size,
        "same_size_as_input" => same_size_as_input,
        "spatial" => spatial,
        _ => return None,
    })
}

/// `torch.Size([2, 3])`.
fn size(sizes: &[i64]) -> String {
    format!("torch.Size({sizes:?})")
}

fn sizes(bound: &Bound, name: &str) -> Option<Vec<i64>> {
    bound.tensor(name).map(|tensor| tensor.sizes())
}

fn text(value: &Value) -> String {
    interpreter::format::repr_now(value).unwrap_or_default()
}

fn probability(_: &Machine, bound: &Bound) -> Result<(), Raise> {
    let p = bound.get("p");
    match p.as_ref().and_then(python::float) {
        Some(number) if !(0.0..=1.0).contains(&number) => {
            let p = text(&p.unwrap_or(Value::None));
            Err(Raise::value_error(format!("dropout probability has to be between 0 and 1, but got {p}")))
        }
        _ => Ok(()),
    }
}

fn interval(_: &Machine, bound: &Bound) -> Result<(), Raise> {
    let number = |name: &str| bound.get(name).as_ref().and_then(python::float);
    match (number("min_val"), number("max_val")) {
        (Some(low), Some(high)) if low > high => Err(Raise::value_error("min_val cannot be greater than max_val")),
        _ => Ok(()),
    }
}

fn halves(_: &Machine, bound: &Bound) -> Result<(), Raise> {
    match sizes(bound, "input") {
        Some(sizes) if sizes.is_empty() => {
            Err(Raise::runtime_error("glu does not support scalars because halving size must be even"))
        }
        _ => Ok(()),
    }
}

/// `_verify_batch_size`.
fn several(sizes: &[i64], shown: &str) -> Result<(), Raise> {
    let count = sizes.first().copied().unwrap_or(0) * sizes.iter().skip(2).product::<i64>();
    match count {
        1 => Err(Raise::value_error(format!(
            "Expected more than 1 value per channel when training, got input size {shown}"
        ))),
        _ => Ok(()),
    }
}

fn batch(machine: &Machine, bound: &Bound) -> Result<(), Raise> {
    let training = bound.get("training").map_or(Ok(false), |value| python::truth(machine, &value))?;
    if let Some(sizes) = sizes(bound, "input").filter(|_| training) {
        several(&sizes, &size(&sizes))?;
    }
    match bound.get("eps") {
        Some(eps) if python::float(&eps).is_some_and(|number| number <= 0.0) => {
            Err(Raise::value_error(format!("batch_norm eps must be positive, but got {}", text(&eps))))
        }
        _ => Ok(()),
    }
}

fn spatial(machine: &Machine, bound: &Bound) -> Result<(), Raise> {
    let own = bound.get("use_input_stats").map_or(Ok(false), |value| python::truth(machine, &value))?;
    match sizes(bound, "input").filter(|_| own) {
        Some(sizes) if sizes.iter().skip(2).product::<i64>() == 1 => {
            let shown = size(&sizes);
            Err(Raise::value_error(format!(
                "Expected more than 1 spatial element when training, got input size {shown}"
            )))
        }
        _ => Ok(()),
    }
}

fn groups(_: &Machine, bound: &Bound) -> Result<(), Raise> {
    let (Some(sizes), Some(groups)) = (sizes(bound, "input"), bound.get("num_groups").as_ref().and_then(Value::as_int))
    else {
        return Ok(());
    };
    let &[rows, channels, ref rest @ ..] = sizes.as_slice() else {
        let dimensions = sizes.len();
        return Err(Raise::runtime_error(format!(
            "Expected at least 2 dimensions for input tensor but received {dimensions}"
        )));
    };
    if groups == 0 {
        return Err(Raise::new(Kind::ZeroDivisionError, "integer division or modulo by zero"));
    }
    let grouped: Vec<i64> = [rows * channels / groups, groups].iter().chain(rest).copied().collect();
    several(&grouped, &format!("{grouped:?}"))
}

fn same_size(_: &Machine, bound: &Bound) -> Result<(), Raise> {
    match (sizes(bound, "input"), sizes(bound, "target")) {
        (Some(input), Some(target)) if input != target => Err(Raise::value_error(format!(
            "Using a target size ({}) that is different to the input size ({}) is deprecated. Please ensure they have the \
             same size.",
            size(&target),
            size(&input)
        ))),
        _ => Ok(()),
    }
}

fn same_size_as_input(_: &Machine, bound: &Bound) -> Result<(), Raise> {
    match (sizes(bound, "input"), sizes(bound, "target")) {
        (Some(input), Some(target)) if input != target => Err(Raise::value_error(format!(
            "Target size ({}) must be the same as input size ({})",
            size(&target),
            size(&input)
        ))),
        _ => Ok(()),
    }
}

fn dimensions(_: &Machine, bound: &Bound) -> Result<(), Raise> {
    let all = ["input1", "input2", "target"].map(|name| sizes(bound, name));
    match all {
        [Some(one), Some(two), Some(target)] if one.len() != two.len() || one.len() != target.len() => {
            Err(Raise::runtime_error(format!(
                "margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: {}, input2: {}, \
                 target: {} ",
                size(&one),
                size(&two),
                size(&target)
            )))
        }
        _ => Ok(()),
    }
}

fn margins(_: &Machine, bound: &Bound) -> Result<(), Raise> {
    if let Some(p) = bound.get("p").as_ref().and_then(python::float)
        && p != 1.0
        && p != 2.0
    {
        return Err(Raise::value_error("only p == 1 and p == 2 supported"));
    }
    match sizes(bound, "weight") {
        Some(weight) if weight.len() != 1 => Err(Raise::value_error("weight must be one-dimensional")),
        _ => Ok(()),
    }
}

fn margin(_: &Machine, bound: &Bound) -> Result<(), Raise> {
    match bound.get("margin") {
        Some(margin) if python::float(&margin).is_some_and(|number| number <= 0.0) => {
            Err(Raise::value_error(format!("margin must be greater than 0, got {}", text(&margin))))
        }
        _ => Ok(()),
    }
}

/// A padding index that names a row; and rows that are longer than they may be are shortened in place, without gradients.
fn embedding(machine: &Machine, bound: &Bound) -> Result<(), Raise> {
    let (Some(input), Some(weight)) = (bound.tensor("input"), bound.tensor("weight")) else { return Ok(()) };
    let rows = weight.sizes().first().copied().unwrap_or(0);
    if let Some(index) = bound.get("padding_idx").as_ref().and_then(python::int)
        && !(-rows..rows.max(1)).contains(&index)
    {
        return Err(Raise::new(Kind::AssertionError, "Padding_idx must be within num_embeddings"));
    }
    let Some(longest) = python::given(bound.get("max_norm")) else { return Ok(()) };
    let number = |value: &Value, name: &str| {
        python::float(value).ok_or_else(|| {
            let found = python::type_name(value);
            Raise::type_error(format!("embedding_renorm_(): argument '{name}' must be float, not {found}"))
        })
    };
    let longest = number(&longest, "max_norm")?;
    let kind = number(&bound.get("norm_type").unwrap_or(Value::Float(2.0)), "norm_type")?;
    bounds::rows(&weight, &input)?;
    let plain = dispatch::tensor(machine, "detach", "", &[Argument::from(&weight)])?;
    let indices = dispatch::tensor(machine, "contiguous", "", &[Argument::from(&input)])?;
    dispatch::tensor(machine, "embedding_renorm_", "", &[plain.into(), indices.into(), longest.into(), kind.into()])?;
    Ok(())
}
