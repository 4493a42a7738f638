//! `einops`: `rearrange`, `reduce`, `repeat` and `einsum` by patterns of named axes.

use std::collections::HashMap;

use interpreter::raise::Raise;
use interpreter::{Args, HostResult, Kind, Machine, Outcome, Value};

use super::Native;
use crate::binding;
use crate::dispatch::{self, Argument};
use crate::python;
use crate::tensor::Tensor;

/// Finds a function of `einops`.
pub fn function(name: &str) -> Option<Native> {
    Some(match name {
        "rearrange" => |machine, args| call(machine, Task::Rearrange, args),
        "reduce" => |machine, args| call(machine, Task::Reduce, args),
        "repeat" => |machine, args| call(machine, Task::Repeat, args),
        "einsum" => einsum,
        "asnumpy" => |machine, args| {
            let value = args.one("asnumpy")?;
            match Tensor::of(&value) {
                Some(tensor) => Ok(crate::array::of_tensor(machine, &tensor)?.into()),
                None => Ok(value.into()),
            }
        },
        "parse_shape" => parse_shape,
        _ => return None,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    Rearrange,
    Reduce,
    Repeat,
}

impl Task {
    fn name(self) -> &'static str {
        match self {
            Self::Rearrange => "rearrange",
            Self::Reduce => "reduce",
            Self::Repeat => "repeat",
        }
    }
}

fn call(machine: &Machine, task: Task, mut args: Args) -> HostResult {
    let take = |at: usize, name: &str, args: &mut Args| {
        args.take_keyword(name).or_else(|| args.positional.get(at).cloned()).ok_or_else(|| {
            Raise::type_error(format!("{}() missing 1 required positional argument: '{name}'", task.name()))
        })
    };
    let tensor = take(0, "tensor", &mut args)?;
    let pattern = take(1, "pattern", &mut args)?;
    let reduction = match task {
        Task::Reduce => Some(take(2, "reduction", &mut args)?),
        _ => None,
    };
    // Arrays are rearranged as tensors are, and come back as arrays.
    let arrays = python::sequence(&tensor).and_then(|items| items.first().cloned()).unwrap_or_else(|| tensor.clone());
    let arrays = Tensor::of(&arrays).is_none() && crate::array::elements_of(&arrays).is_some();
    let tensor = match (crate::array::elements_of(&tensor), python::sequence(&tensor)) {
        (Some(tensor), _) => tensor,
        (None, Some(items)) if arrays => {
            let parts = items.iter().map(|item| crate::array::elements_of(item).map(|tensor| tensor.value()));
            let parts = parts.collect::<Option<Vec<_>>>().unwrap_or_default();
            binding::tensor(machine, "stack", &python::positional([Value::list(parts)]))?
        }
        // A list of tensors has a new first axis.
        (None, Some(_)) => binding::tensor(machine, "stack", &python::positional([tensor]))?,
        (None, None) => {
            return Err(Raise::type_error(format!("Tensor type unknown to einops {}", python::type_name(&tensor))));
        }
    };
    let Some(text) = pattern.as_str() else { return Err(Raise::type_error("an einops pattern must be a str")) };
    let mut given = HashMap::new();
    for (name, size) in &args.keyword {
        let size = size.as_int().or_else(|| Tensor::of(size)?.item().ok()?.as_int());
        given.insert(name.to_string(), size.ok_or_else(|| error("axis lengths must be integers"))?);
    }
    let wrap = |raise: Raise| match raise.is(Kind::RuntimeError) {
        true => {
            let (name, sizes) = (task.name(), crate::size::Size::new(tensor.sizes()).text());
            let what = if task == Task::Reduce { "reduction" } else { name };
            error(&format!(
                " Error while processing {what}-reduction pattern \"{text}\".\n Input tensor shape: {sizes}. Additional \
                 info: {given:?}.\n {}",
                raise.message()
            ))
        }
        false => raise,
    };
    let word = reduction.as_ref().and_then(Value::as_str).unwrap_or_default();
    let made = transform(machine, task, &tensor, text, &given, word).map_err(wrap)?;
    if arrays { Ok(crate::array::of_tensor(machine, &made)?.into()) } else { python::ready(made) }
}

fn error(text: &str) -> Raise {
    Raise::named("einops.EinopsError", Kind::RuntimeError, text)
}

/// One part of a side of a pattern: a name, `1`, `...`, or a bracket of names.
struct Group {
    bracket: bool,
    names: Vec<String>,
}

impl Group {
    fn of(name: &str) -> Self {
        Self { bracket: false, names: vec![name.into()] }
    }
}

/// The name under which the axes of an ellipsis go, before their number.
const ELLIPSIS: &str = "\u{2026}";

fn transform(
    machine: &Machine,
    task: Task,
    tensor: &Tensor,
    pattern: &str,
    given: &HashMap<String, i64>,
    reduction: &str,
) -> Result<Tensor, Raise> {
    let (left, right) =
        pattern.split_once("->").ok_or_else(|| error("A pattern must have a left and a right side, split by '->'"))?;
    let (mut left, mut right) = (parse(left)?, parse(right)?);
    let sizes = tensor.sizes();
    expand_ellipsis(&mut left, &mut right, sizes.len())?;
    if left.len() != sizes.len() {
        return Err(error(&format!("Wrong shape: expected {} dims. Received {}-dim tensor.", left.len(), sizes.len())));
    }
    let flat = |groups: &[Group]| groups.iter().flat_map(|group| group.names.clone()).collect::<Vec<String>>();
    let (inputs, outputs) = (flat(&left), flat(&right));
    check_names(task, &inputs, &outputs, given)?;
    let mut lengths = given.clone();
    for (group, &size) in left.iter().zip(&sizes) {
        solve(group, size, &mut lengths)?;
    }
    let length = |name: &String| {
        lengths.get(name).copied().ok_or_else(|| error(&format!("Specify sizes for new axes in repeat: {name}")))
    };
    let elementary = inputs.iter().map(length).collect::<Result<Vec<i64>, _>>()?;
    let mut current = dispatch::tensor(machine, "reshape", "", &[tensor.into(), elementary.into()])?;
    let mut axes = inputs;
    let gone: Vec<usize> = (0..axes.len()).filter(|&at| !outputs.contains(&axes[at])).collect();
    if !gone.is_empty() {
        current = reduce(machine, &current, &gone, reduction)?;
        let mut place = 0;
        axes.retain(|_| {
            place += 1;
            !gone.contains(&(place - 1))
        });
    }
    let kept: Vec<&String> = outputs.iter().filter(|name| axes.contains(name)).collect();
    let order = kept.iter().filter_map(|name| axes.iter().position(|axis| axis == *name)).map(|at| at as i64).collect();
    current = dispatch::tensor(machine, "permute", "", &[current.into(), Argument::Ints(order)])?;
    for (place, name) in outputs.iter().enumerate() {
        if !axes.contains(name) {
            current = dispatch::tensor(machine, "unsqueeze", "", &[current.into(), (place as i64).into()])?;
        }
    }
    let expanded = outputs.iter().map(length).collect::<Result<Vec<i64>, _>>()?;
    if outputs.len() > kept.len() {
        current = dispatch::tensor(machine, "expand", "", &[current.into(), expanded.into()])?;
    }
    let composed = right.iter().map(|group| group.names.iter().map(length).product::<Result<i64, _>>());
    let composed = composed.collect::<Result<Vec<i64>, _>>()?;
    dispatch::tensor(machine, "reshape", "", &[current.into(), composed.into()])
}

/// Reads one side of a pattern.
fn parse(side: &str) -> Result<Vec<Group>, Raise> {
    let mut groups = Vec::new();
    let mut open: Option<Group> = None;
    let spaced = side.replace('(', " ( ").replace(')', " ) ").replace("...", ELLIPSIS);
    for token in spaced.split_whitespace() {
        match (token, &mut open) {
            ("(", None) => open = Some(Group { bracket: true, names: Vec::new() }),
            ("(", Some(_)) => return Err(error("brackets in patterns cannot be nested")),
            (")", Some(_)) => groups.extend(open.take()),
            (")", None) => return Err(error("Brackets are not balanced")),
            ("1", Some(_)) => {}
            ("1", None) => groups.push(Group { bracket: true, names: Vec::new() }),
            (name, open) => {
                let valid = name == ELLIPSIS
                    || name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                    || name.parse::<i64>().is_ok_and(|size| size > 0);
                if !valid {
                    return Err(error(&format!("Invalid axis identifier: {name}")));
                }
                match open {
                    Some(group) => group.names.push(name.into()),
                    None => groups.push(Group::of(name)),
                }
            }
        }
    }
    match open {
        Some(_) => Err(error("Brackets are not balanced")),
        None => Ok(groups),
    }
}

/// Replaces `...` by one axis for each dimension that it stands for.
fn expand_ellipsis(left: &mut Vec<Group>, right: &mut Vec<Group>, dimensions: usize) -> Result<(), Raise> {
    let Some(place) = left.iter().position(|group| group.names.iter().any(|name| name == ELLIPSIS)) else {
        if right.iter().any(|group| group.names.iter().any(|name| name == ELLIPSIS)) {
            return Err(error("Ellipsis found in right side, but not left side of a pattern"));
        }
        return Ok(());
    };
    if left[place].bracket {
        return Err(error("Ellipsis inside parenthesis in the left side is not allowed"));
    }
    let Some(count) = (dimensions + 1).checked_sub(left.len()) else {
        return Err(error(&format!(
            "Wrong shape: expected >={} dims. Received {dimensions}-dim tensor.",
            left.len() - 1
        )));
    };
    let names: Vec<String> = (0..count).map(|at| format!("{ELLIPSIS}{at}")).collect();
    left.splice(place..=place, names.iter().map(|name| Group::of(name)));
    if let Some(place) = right.iter().position(|group| group.names.iter().any(|name| name == ELLIPSIS)) {
        if !right[place].bracket {
            right.splice(place..=place, names.iter().map(|name| Group::of(name)));
        } else {
            let spread = |name: &String| if name == ELLIPSIS { names.clone() } else { vec![name.clone()] };
            right[place].names = right[place].names.iter().flat_map(spread).collect();
        }
    }
    Ok(())
}

/// Finds the lengths of a group's axes from the dimension's size.
fn solve(group: &Group, size: i64, lengths: &mut HashMap<String, i64>) -> Result<(), Raise> {
    let mut known = 1_i64;
    let mut unknown = None;
    for name in &group.names {
        if let Ok(length) = name.parse::<i64>() {
            lengths.insert(name.clone(), length);
        }
        match lengths.get(name) {
            Some(&length) => known = known.saturating_mul(length),
            None if unknown.is_none() => unknown = Some(name),
            None => return Err(error(&format!("Could not infer sizes for {:?}", group.names))),
        }
    }
    match unknown {
        Some(name) if known > 0 && size % known == 0 => {
            lengths.insert(name.clone(), size / known);
            Ok(())
        }
        Some(_) => Err(error(&format!("Shape mismatch, can't divide axis of length {size} in chunks of {known}"))),
        None if known == size => Ok(()),
        None => Err(error(&format!("Shape mismatch, {size} != {known}"))),
    }
}

fn check_names(task: Task, inputs: &[String], outputs: &[String], given: &HashMap<String, i64>) -> Result<(), Raise> {
    for side in [inputs, outputs] {
        if let Some(twice) = side.iter().enumerate().find(|(at, name)| side[..*at].contains(name)) {
            return Err(error(&format!("Indexing expression contains duplicate dimension \"{}\"", twice.1)));
        }
    }
    let only_in = |own: &[String], other: &[String]| {
        let mut names: Vec<String> = own.iter().filter(|name| !other.contains(name)).cloned().collect();
        names.sort();
        names
    };
    let (lost, new) = (only_in(inputs, outputs), only_in(outputs, inputs));
    let listed = |names: &[String]| names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    match task {
        Task::Rearrange if !lost.is_empty() || !new.is_empty() => {
            let mut both = [lost, new].concat();
            both.sort();
            Err(error(&format!(
                "Identifiers only on one side of expression (should be on both): {{{}}}",
                listed(&both)
            )))
        }
        Task::Reduce if !new.is_empty() => {
            Err(error(&format!("Unexpected identifiers on the right side of reduce: {{{}}}", listed(&new))))
        }
        Task::Repeat if !lost.is_empty() => {
            Err(error(&format!("Unexpected identifiers on the left side of repeat: {{{}}}", listed(&lost))))
        }
        _ => match given.keys().find(|name| !inputs.contains(name) && !outputs.contains(name)) {
            Some(name) => Err(error(&format!("Axis {name} is not used in transform"))),
            None => Ok(()),
        },
    }
}

/// Reduces axes by an operation's name.
fn reduce(machine: &Machine, tensor: &Tensor, axes: &[usize], operation: &str) -> Result<Tensor, Raise> {
    let dims = || Value::list(axes.iter().map(|&axis| Value::Int(axis as i64)).collect());
    let at_once = match operation {
        "max" => "amax",
        "min" => "amin",
        "sum" => "sum",
        "mean" => "mean",
        "prod" | "any" | "all" => {
            let mut current = tensor.clone();
            for &axis in axes.iter().rev() {
                current = binding::tensor(
                    machine,
                    operation,
                    &python::positional([current.value(), Value::Int(axis as i64)]),
                )?;
            }
            return Ok(current);
        }
        other => {
            return Err(error(&format!(
                "Unknown reduction {other}. Expect one of min, max, sum, mean, prod, any, all."
            )));
        }
    };
    if operation == "mean" && !crate::dtype::is_floating(tensor.dtype()) {
        return Err(error("reduce_mean is not available for non-floating tensors"));
    }
    binding::tensor(machine, at_once, &python::positional([tensor.value(), dims()]))
}

/// `einops.einsum(*tensors, pattern)`: `torch.einsum` with names instead of letters.
fn einsum(machine: &Machine, args: Args) -> HostResult {
    args.no_keywords("einsum")?;
    let mut operands = args.positional;
    let Some(Value::Str(pattern)) = operands.pop() else {
        return Err(Raise::type_error(
            "The last argument passed to `einops.einsum` must be a string, representing the einsum pattern.",
        ));
    };
    let Some((left, right)) = pattern.split_once("->") else {
        return Err(error("Einsum pattern must contain '->'."));
    };
    let mut letters: Vec<String> = Vec::new();
    let mut side = |text: &str| -> Result<String, Raise> {
        let mut compact = String::new();
        for name in text.replace("...", " ... ").split_whitespace() {
            if name == "..." {
                compact.push_str(name);
                continue;
            }
            let place = letters.iter().position(|known| known == name).unwrap_or_else(|| {
                letters.push(name.into());
                letters.len() - 1
            });
            let letter = ('a'..='z').chain('A'..='Z').nth(place);
            compact.push(letter.ok_or_else(|| error("Too many axes in einsum."))?);
        }
        Ok(compact)
    };
    let inputs = left.split(',').map(&mut side).collect::<Result<Vec<_>, _>>()?;
    let equation = format!("{}->{}", inputs.join(","), side(right)?);
    let args = python::positional([Value::from(equation), Value::list(operands)]);
    binding::call(machine, "einsum", None, &args).map(Outcome::Ready)
}

/// `einops.parse_shape(tensor, pattern)`.
fn parse_shape(_: &Machine, args: Args) -> HostResult {
    let [tensor, pattern] = args.bind("parse_shape", ["x", "pattern"], 2)?;
    let sizes = tensor.as_ref().and_then(Tensor::of).map(|tensor| tensor.sizes()).unwrap_or_default();
    let groups = parse(pattern.as_ref().and_then(Value::as_str).unwrap_or_default())?;
    if groups.len() != sizes.len() {
        return Err(error("Can't parse shape with this pattern: it has another number of dims"));
    }
    let named = groups.into_iter().zip(sizes).filter_map(|(group, size)| match group.names.as_slice() {
        [name] if name != "_" => Some((name.clone(), Value::Int(size))),
        _ => None,
    });
    Ok(Value::dict(named.collect::<Vec<_>>()).into())
}
