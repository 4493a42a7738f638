//! Functions of `torch` that PyTorch writes in Python.

use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, HostResult, Machine, Outcome, Value};
use program::DType;

use super::{Native, construct};
use crate::dispatch::{self, Argument, Number, Output};
use crate::dtype::{self, Device};
use crate::generator::Generator;
use crate::job::Job;
use crate::named::NamedTuple;
use crate::python::{self, arguments, positional};
use crate::signatures;
use crate::size::Size;
use crate::tensor::Tensor;
use crate::{binding, create};

/// Finds a function of `torch`.
pub fn torch(name: &str) -> Option<Native> {
    Some(match name {
        "tensor" => |machine, args| {
            let parameters = ["data", "dtype", "device", "requires_grad", "pin_memory"];
            let [data, dtype, device, requires_grad, _] = args.bind("tensor", parameters, 1)?;
            construct(machine, data, dtype, device, requires_grad)
        },
        "as_tensor" => as_tensor,
        "asarray" => as_array,
        "from_numpy" => |machine, args| python::ready(crate::array::to_tensor(machine, &args.one("from_numpy")?)?),
        "scalar_tensor" => |machine, args| {
            let parameters = ["s", "dtype", "device", "requires_grad"];
            let [data, dtype, device, requires_grad] = args.bind("scalar_tensor", parameters, 1)?;
            construct(machine, data, dtype.or(Some(dtype::value(DType::Float32))), device, requires_grad)
        },
        // What nobody has written must not be seen.
        "empty" => |machine, args| zeros(machine, args),
        "empty_strided" => empty_strided,
        "manual_seed" => |machine, args| {
            let [seed] = args.bind("manual_seed", ["seed"], 1)?;
            let job = Job::of(machine);
            job.seed(python::seed(seed.as_ref())?)?;
            Ok(Value::Host(job.generator(job.device())?).into())
        },
        "initial_seed" => |machine, args| {
            args.none("initial_seed")?;
            Ok(python::unsigned(own_generator(machine)?.initial_seed()).into())
        },
        "get_rng_state" => |machine, args| {
            args.none("get_rng_state")?;
            python::ready(own_generator(machine)?.state()?)
        },
        "set_rng_state" => |machine, args| {
            let state = args.one("set_rng_state")?;
            let state = Tensor::of(&state).ok_or_else(|| Raise::type_error("RNG state must be a torch.ByteTensor"))?;
            own_generator(machine)?.set_state(&state)?;
            Ok(Value::None.into())
        },
        "is_tensor" => |_, args| Ok(Value::Bool(Tensor::of(&args.one("is_tensor")?).is_some()).into()),
        "is_storage" => |_, args| args.one("is_storage").map(|_| Value::Bool(false).into()),
        "numel" => |_, args| {
            let [input] = args.bind("numel", ["input"], 1)?;
            Ok(Value::Int(tensor_argument("numel", "input", 1, input)?.elements() as i64).into())
        },
        "get_default_dtype" => |_, args| {
            args.none("get_default_dtype")?;
            Ok(dtype::value(DType::Float32).into())
        },
        "get_default_device" => |machine, args| {
            args.none("get_default_device")?;
            Ok(Job::of(machine).device().value().into())
        },
        "is_nonzero" => |machine, args| {
            let value = args.one("is_nonzero")?;
            Ok(Value::Bool(python::truth(machine, &value)?).into())
        },
        "promote_types" => |machine, args| shown_dtype(operator(machine, "promote_types", args)?),
        "result_type" => |machine, args| shown_dtype(operator(machine, "result_type", args)?),
        "einsum" => einsum,
        "tensordot" => tensordot,
        "meshgrid" => |machine, args| variadic(machine, args, "meshgrid"),
        "broadcast_tensors" => |machine, args| variadic(machine, args, "broadcast_tensors"),
        "block_diag" => |machine, args| variadic(machine, args, "block_diag"),
        "cartesian_prod" => |machine, args| variadic(machine, args, "cartesian_prod"),
        "chain_matmul" => |machine, args| variadic(machine, args, "linalg_multi_dot"),
        "atleast_1d" => |machine, args| at_least(machine, args, "atleast_1d"),
        "atleast_2d" => |machine, args| at_least(machine, args, "atleast_2d"),
        "atleast_3d" => |machine, args| at_least(machine, args, "atleast_3d"),
        "broadcast_shapes" => broadcast_shapes,
        "nonzero" => nonzero,
        "norm" => norm,
        "split" => split,
        "unique" => unique,
        "unique_consecutive" => unique_consecutive,
        "istft" => |machine, args| operator(machine, "istft", args),
        "unravel_index" => unravel_index,
        // Precision and threads are the server's.
        "set_float32_matmul_precision" | "set_num_threads" | "use_deterministic_algorithms" => {
            |_, _| Ok(Value::None.into())
        }
        _ => return None,
    })
}

/// Finds a function of `torch.nn.functional` that is more than a call of an operator.
pub fn functional(name: &str) -> Option<Native> {
    Some(match name {
        "normalize" => normalize,
        "kl_div" => kl_div,
        "softmin" => |machine, mut args| {
            let negated = args.positional.first().and_then(Tensor::of);
            if let (Some(input), Some(slot)) = (negated, args.positional.first_mut()) {
                *slot = dispatch::tensor(machine, "neg", "", &[input.into()])?.value();
            }
            let softmax = signatures::find("torch.nn.functional", "softmax");
            softmax
                .map_or_else(|| Ok(Outcome::NotImplemented), |softmax| softmax.call(machine, &args).map(Outcome::Ready))
        },
        "tanhshrink" => |machine, args| {
            let input = tensor_argument("tanhshrink", "input", 1, Some(args.one("tanhshrink")?))?;
            let tanh = dispatch::tensor(machine, "tanh", "", &[(&input).into()])?;
            python::ready(dispatch::tensor(machine, "sub", "Tensor", &[input.into(), tanh.into()])?)
        },
        "softsign" => |machine, args| {
            let input = tensor_argument("softsign", "input", 1, Some(args.one("softsign")?))?;
            let magnitude = dispatch::tensor(machine, "abs", "", &[(&input).into()])?;
            let one = Argument::Wrapped(Number::Int(1));
            let denominator = dispatch::tensor(machine, "add", "Tensor", &[magnitude.into(), one])?;
            python::ready(dispatch::tensor(machine, "div", "Tensor", &[input.into(), denominator.into()])?)
        },
        "gumbel_softmax" => gumbel_softmax,
        "dropout1d" => |machine, args| channel_dropout(machine, "dropout1d", args, 3),
        "dropout3d" => |machine, args| channel_dropout(machine, "dropout3d", args, 5),
        _ => return None,
    })
}

/// Finds a function of `torch.linalg` whose Python arguments differ from its operator's.
pub fn linalg(name: &str) -> Option<Native> {
    match name {
        "multi_dot" => Some(|machine, args| operator(machine, "linalg_multi_dot", args)),
        "lstsq" => Some(least_squares),
        _ => None,
    }
}

/// `torch.linalg.lstsq`, on the CPU by LAPACK's `gelsd` where PyTorch takes `gelsy`: to that it hands pivots that it has
/// not set, so that the solution depends on what memory held before.
fn least_squares(machine: &Machine, mut args: Args) -> HostResult {
    let on_cpu = args.positional.first().and_then(Tensor::of).is_none_or(|matrix| matrix.device().kind == 0);
    match args.take_keyword("driver") {
        Some(Value::Str(driver)) if &*driver == "gelsy" => Err(Raise::runtime_error(
            "torch.linalg.lstsq: the driver 'gelsy' is not supported by this server; 'gelsd' finds the same solution",
        )),
        None | Some(Value::None) if on_cpu => {
            args.keyword.push(("driver".into(), "gelsd".into()));
            let found = binding::call(machine, "linalg_lstsq", None, &args)?;
            let Some(named) = python::host::<NamedTuple>(&found) else { return Ok(found.into()) };
            // `gelsy` gives neither of these.
            let named = named.with(|field, item| match (field, Tensor::of(item)) {
                ("residuals" | "singular_values", Some(tensor)) => {
                    dispatch::tensor(machine, "new_zeros", "", &[tensor.into(), vec![0].into()])
                        .map(|none| Some(none.value()))
                }
                _ => Ok(None),
            })?;
            Ok(Value::Host(Rc::new(named)).into())
        }
        driver => {
            args.keyword.extend(driver.map(|driver| ("driver".into(), driver)));
            operator(machine, "linalg_lstsq", args)
        }
    }
}

/// Finds a function of `torch.cuda`.
pub fn cuda(name: &str) -> Option<Native> {
    Some(match name {
        // A job has the GPU of its model, and no other.
        "is_available" => |machine, args| {
            args.none("is_available")?;
            Ok(Value::Bool(Job::of(machine).device().is_cuda()).into())
        },
        "device_count" => |machine, args| {
            args.none("device_count")?;
            Ok(Value::Int(i64::from(Job::of(machine).device().is_cuda())).into())
        },
        "current_device" => |machine, args| {
            args.none("current_device")?;
            let job = Job::of(machine);
            job.resolve(Device::cuda(-1))?;
            Ok(Value::Int(i64::from(job.device().index)).into())
        },
        "manual_seed" | "manual_seed_all" => |machine, args| {
            let [seed] = args.bind("manual_seed", ["seed"], 1)?;
            Job::of(machine).seed(python::seed(seed.as_ref())?)?;
            Ok(Value::None.into())
        },
        // Memory and streams are the server's.
        "empty_cache" | "synchronize" => |_, _| Ok(Value::None.into()),
        _ => return None,
    })
}

/// Returns the job's default generator of the device that its random numbers are drawn on by default.
fn own_generator(machine: &Machine) -> Result<Rc<Generator>, Raise> {
    let job = Job::of(machine);
    job.generator(job.device())
}

fn operator(machine: &Machine, name: &str, args: Args) -> HostResult {
    binding::call(machine, name, None, &args).map(Outcome::Ready)
}

/// Takes a tensor from a bound argument.
fn tensor_argument(function: &str, name: &str, place: usize, value: Option<Value>) -> Result<Tensor, Raise> {
    let value = value.unwrap_or(Value::None);
    Tensor::of(&value).ok_or_else(|| {
        let found = python::type_name(&value);
        Raise::type_error(format!("{function}(): argument '{name}' (position {place}) must be Tensor, not {found}"))
    })
}

/// `len(tensor)`.
pub fn length(machine: &Machine, tensor: &Tensor) -> HostResult {
    let _ = machine;
    match tensor.sizes().first() {
        Some(&size) => Ok(Value::Int(size).into()),
        None => Err(Raise::type_error("len() of a 0-d tensor")),
    }
}

fn zeros(machine: &Machine, mut args: Args) -> HostResult {
    args.take_keyword("memory_format");
    operator(machine, "zeros", args)
}

/// `torch.empty_strided(size, stride)`: zeros, which lie in the order that the strides ask for, without gaps.
fn empty_strided(machine: &Machine, mut args: Args) -> HostResult {
    let mut place = |name: &str| match args.positional.is_empty() {
        true => args.take_keyword(name),
        false => Some(args.positional.remove(0)),
    };
    let (size, stride) = (place("size"), place("stride"));
    let ints = |value: Option<Value>, name: &str| {
        let value = value.unwrap_or(Value::None);
        let items = python::sequence(&value);
        items.and_then(|items| items.iter().map(Value::as_int).collect::<Option<Vec<i64>>>()).ok_or_else(|| {
            let found = python::type_name(&value);
            Raise::type_error(format!("empty_strided(): argument '{name}' must be tuple of ints, not {found}"))
        })
    };
    let (size, stride) = (ints(size, "size")?, ints(stride, "stride")?);
    // From the dimension whose entries are furthest apart to the one in which they touch.
    let mut order: Vec<usize> = (0..size.len().min(stride.len())).collect();
    order.sort_by_key(|&dim| std::cmp::Reverse((stride[dim], size[dim])));
    let mut step = 1;
    let dense = order.iter().rev().all(|&dim| {
        let fits = size[dim] == 1 || stride[dim] == step;
        step *= size[dim].max(1);
        fits
    });
    if !dense || size.len() != stride.len() {
        return Err(Raise::runtime_error(
            "empty_strided(): strides that leave gaps or overlap are not supported by this server",
        ));
    }
    let sizes = order.iter().map(|&dim| Value::Int(size[dim])).collect();
    args.positional = vec![Value::tuple(sizes)];
    let Outcome::Ready(made) = zeros(machine, args)? else { return Ok(Outcome::NotImplemented) };
    let made = tensor_argument("empty_strided", "size", 1, Some(made))?;
    let mut back = vec![0; order.len()];
    order.iter().enumerate().for_each(|(place, &dim)| back[dim] = place as i64);
    python::ready(dispatch::tensor(machine, "permute", "", &[made.into(), back.into()])?)
}

/// Shows libtorch's number of an element type as the type.
fn shown_dtype(code: Outcome) -> HostResult {
    let Outcome::Ready(Value::Int(code)) = code else { return Ok(code) };
    match i32::try_from(code).ok().and_then(dtype::of_code) {
        Some(dtype) => Ok(dtype::value(dtype).into()),
        None => Err(Raise::runtime_error("tensors of this element type are not supported by this server")),
    }
}

/// `torch.as_tensor(data, dtype=None, device=None)`: the tensor itself where nothing is to be changed.
fn as_tensor(machine: &Machine, args: Args) -> HostResult {
    let [data, dtype, device] = args.bind("as_tensor", ["data", "dtype", "device"], 1)?;
    shared(machine, data.unwrap_or(Value::None), dtype, device)
}

/// `torch.asarray(obj, *, dtype=None, device=None, copy=None, requires_grad=False)`: shares the memory where it can, and
/// never the graph.
fn as_array(machine: &Machine, args: Args) -> HostResult {
    let parameters = ["obj", "dtype", "device", "copy", "requires_grad"];
    if args.positional.len() > 1 {
        let given = args.positional.len();
        return Err(Raise::type_error(format!("asarray() takes 1 positional argument but {given} were given")));
    }
    let [data, dtype, device, copy, requires_grad] = args.bind("asarray", parameters, 1)?;
    let data = data.unwrap_or(Value::None);
    let copy = python::given(copy).map(|copy| python::truth(machine, &copy)).transpose()?;
    let requires_grad = requires_grad.map_or(Ok(false), |value| python::truth(machine, &value))?;
    let own = crate::array::elements_of(&data);
    if own.is_none() && copy == Some(false) {
        return Err(Raise::value_error("can't alias arbitrary sequence into a tensor."));
    }
    let Outcome::Ready(made) = shared(machine, data, dtype, device)? else { return Ok(Outcome::NotImplemented) };
    let mut made = tensor_argument("asarray", "obj", 1, Some(made))?;
    if let Some(own) = own {
        let same = made.storage() == own.storage();
        if copy == Some(false) && !same {
            return Err(Raise::value_error("can't alias tensor with the device or dtype that was asked for."));
        }
        if copy == Some(true) && same {
            made = dispatch::tensor(machine, "clone", "", &[Argument::from(made)])?;
        }
        if made.requires_grad() && (!made.facts().is_leaf || !requires_grad) {
            made = dispatch::tensor(machine, "detach", "", &[Argument::from(made)])?;
        }
    }
    if requires_grad {
        made.set_requires_grad(true)?;
    }
    python::ready(made)
}

/// Makes a tensor that shares the memory of what is one already, unless another type or device is asked for.
fn shared(machine: &Machine, data: Value, dtype: Option<Value>, device: Option<Value>) -> HostResult {
    let own = match python::host::<crate::array::Array>(&data) {
        Some(array) if !array.is_scalar() => Some(crate::array::to_tensor(machine, &data)?),
        _ => Tensor::of(&data),
    };
    match own {
        Some(tensor) => {
            let device = match python::given(device) {
                Some(device) => Device::of_value(&device)?,
                None => None,
            };
            let dtype = dtype.as_ref().and_then(dtype::of_value);
            python::ready(create::convert(machine, tensor, dtype, device)?)
        }
        None => construct(machine, Some(data), dtype, device, None),
    }
}

/// `torch.FloatTensor(…)`, `torch.Tensor(…)`: sizes, or data as float32.
pub fn legacy_tensor(machine: &Machine, args: Args) -> HostResult {
    legacy_typed(machine, args, DType::Float32)
}

/// `torch.LongTensor(…)` and its like: sizes, or data.
pub fn legacy_typed(machine: &Machine, args: Args, dtype: DType) -> HostResult {
    args.no_keywords("new")?;
    let shown = dtype::value(dtype);
    let sizes: Option<Vec<Value>> = match args.positional.first().filter(|_| args.positional.len() == 1) {
        Some(only) => python::host::<Size>(only).map(|_| python::sequence(only).unwrap_or_default()),
        None => Some(args.positional.clone()),
    };
    let all_ints = args.positional.iter().all(|value| matches!(value, Value::Int(_)));
    if let Some(sizes) = sizes.or_else(|| all_ints.then(|| args.positional.clone())) {
        return operator(machine, "zeros", arguments(vec![Value::list(sizes)], [("dtype", Some(shown))]));
    }
    construct(machine, args.positional.into_iter().next(), Some(shown), None, None)
}

/// `torch.nn.Parameter(data, requires_grad=True)`.
pub fn parameter(machine: &Machine, args: Args) -> HostResult {
    let [data, requires_grad] = args.bind("Parameter", ["data", "requires_grad"], 0)?;
    let data = match python::given(data) {
        Some(data) => tensor_argument("Parameter", "data", 1, Some(data))?,
        None => dispatch::tensor(machine, "zeros", "", &[Argument::Ints(vec![0])])?,
    };
    let detached = dispatch::tensor(machine, "detach", "", &[data.into()])?.parameter();
    let wanted = !matches!(requires_grad, Some(Value::Bool(false)));
    if wanted && !detached.is_read_only() {
        detached.set_requires_grad(true)?;
    }
    python::ready(detached)
}

/// `torch.einsum(equation, *operands)`, or with one list of operands.
fn einsum(machine: &Machine, mut args: Args) -> HostResult {
    if args.positional.len() < 2 {
        return Err(Raise::value_error(
            "einsum(): must specify the equation string and at least one operand, or at least one operand and its \
             subscripts list",
        ));
    }
    if Tensor::of(&args.positional[0]).is_some() {
        args.positional = by_numbers(args.positional)?;
    }
    let rest: Vec<Value> = args.positional.drain(1..).collect();
    let operands = match rest.as_slice() {
        [only] => python::sequence(only).unwrap_or(rest),
        _ => rest,
    };
    let equation = args.positional.pop().unwrap_or(Value::None);
    operator(machine, "einsum", positional([equation, Value::list(operands)]))
}

/// Writes `einsum(a, [0, 1], b, [1, 2], [0, 2])` with an equation.
fn by_numbers(args: Vec<Value>) -> Result<Vec<Value>, Raise> {
    let letters = |subscripts: &Value| -> Result<String, Raise> {
        let subscripts = python::sequence(subscripts).unwrap_or_default();
        let letter = |subscript: &Value| match subscript {
            Value::Ellipsis => Ok("...".into()),
            Value::Int(number @ 0..26) => Ok(char::from(b'A' + *number as u8).to_string()),
            Value::Int(number @ 26..52) => Ok(char::from(b'a' + (*number - 26) as u8).to_string()),
            Value::Int(_) => {
                Err(Raise::value_error("einsum(): subscript in subscript list is not within the valid range [0, 52)"))
            }
            _ => Err(Raise::value_error("einsum(): expected subscript to be of type int or Ellipsis")),
        };
        subscripts.iter().map(letter).collect()
    };
    let (pairs, output) = args.as_chunks::<2>();
    let mut equation =
        pairs.iter().map(|[_, subscripts]| letters(subscripts)).collect::<Result<Vec<_>, _>>()?.join(",");
    if let [output] = output {
        equation = format!("{equation}->{}", letters(output)?);
    }
    Ok(std::iter::once(equation.into()).chain(pairs.iter().map(|[operand, _]| operand.clone())).collect())
}

/// `torch.tensordot(a, b, dims=2)`.
fn tensordot(machine: &Machine, args: Args) -> HostResult {
    let [left, right, dims] = args.bind("tensordot", ["a", "b", "dims"], 2)?;
    let left = tensor_argument("tensordot", "a", 1, left)?;
    let dims = dims.unwrap_or(Value::Int(2));
    let (first, second) = match (&dims, python::sequence(&dims)) {
        (Value::Int(count), _) => {
            if *count < 0 {
                return Err(Raise::runtime_error(format!("tensordot expects dims >= 0, but got dims={count}")));
            }
            let dimensions = left.sizes().len() as i64;
            if *count > dimensions {
                return Err(Raise::runtime_error(format!(
                    "tensordot expects dims < ndim_a or ndim_b, but got dims={count}"
                )));
            }
            let ints = |range: std::ops::Range<i64>| Value::list(range.map(Value::Int).collect());
            (ints(dimensions - count..dimensions), ints(0..*count))
        }
        (_, Some(pair)) if pair.len() == 2 => (pair[0].clone(), pair[1].clone()),
        _ => return Err(Raise::type_error("tensordot expects dims to be int or tuple[list[int], list[int]]")),
    };
    let listed = |value: Value| if matches!(value, Value::Int(_)) { Value::list(vec![value]) } else { value };
    let args = positional([left.value(), right.unwrap_or(Value::None), listed(first), listed(second)]);
    operator(machine, "tensordot", args)
}

/// Functions of any number of tensors, or of one list of them.
fn variadic(machine: &Machine, mut args: Args, name: &str) -> HostResult {
    let given = std::mem::take(&mut args.positional);
    let tensors = match given.as_slice() {
        [only] if Tensor::of(only).is_none() => python::sequence(only).unwrap_or(given),
        _ => given,
    };
    args.positional.push(Value::list(tensors));
    operator(machine, name, args)
}

fn at_least(machine: &Machine, args: Args, name: &str) -> HostResult {
    match args.positional.as_slice() {
        [only] if Tensor::of(only).is_some() => operator(machine, name, args),
        _ => variadic(machine, args, name),
    }
}

fn broadcast_shapes(machine: &Machine, args: Args) -> HostResult {
    args.no_keywords("broadcast_shapes")?;
    let mut result: Vec<i64> = Vec::new();
    for shape in &args.positional {
        let mut sizes = match shape {
            Value::Int(size) => vec![*size],
            shape => Size::construct(machine, positional([shape.clone()]))?.sizes().to_vec(),
        };
        let length = result.len().max(sizes.len());
        let pad = |sizes: &mut Vec<i64>| drop(sizes.splice(0..0, std::iter::repeat_n(1, length - sizes.len())));
        pad(&mut sizes);
        pad(&mut result);
        for (own, other) in result.iter_mut().zip(sizes) {
            *own = match (*own, other) {
                (1, other) => other,
                (own, 1) => own,
                (own, other) if own == other => own,
                _ => {
                    return Err(Raise::runtime_error("Shape mismatch: objects cannot be broadcast to a single shape"));
                }
            };
        }
    }
    Ok(Size::value(&result).into())
}

/// `torch.nonzero(input, *, as_tuple=False)`.
pub fn nonzero(machine: &Machine, mut args: Args) -> HostResult {
    let as_tuple = matches!(args.take_keyword("as_tuple"), Some(Value::Bool(true)));
    operator(machine, if as_tuple { "nonzero_numpy" } else { "nonzero" }, args)
}

/// `torch.norm(input, p="fro", dim=None, keepdim=False, out=None, dtype=None)`.
pub fn norm(machine: &Machine, args: Args) -> HostResult {
    let [input, p, dim, keepdim, out, dtype] =
        args.bind("norm", ["input", "p", "dim", "keepdim", "out", "dtype"], 1)?;
    if python::given(out).is_some() {
        return Err(Raise::type_error("norm(): argument 'out' is not supported by this server"));
    }
    let input = tensor_argument("norm", "input", 1, input)?;
    let dim = python::given(dim).map(|dim| if matches!(dim, Value::Int(_)) { Value::list(vec![dim]) } else { dim });
    let keepdim = keepdim.unwrap_or(Value::Bool(false));
    let (operator_name, order) = match p.unwrap_or_else(|| "fro".into()) {
        Value::Str(word) if &*word == "fro" => ("linalg_vector_norm", Value::Int(2)),
        Value::Str(word) if &*word == "nuc" => ("linalg_matrix_norm", Value::Str(word)),
        Value::Str(word) => {
            return Err(Raise::runtime_error(format!("only valid string values are 'fro' and 'nuc', found {word}")));
        }
        Value::None => ("linalg_vector_norm", Value::Int(2)),
        order => ("linalg_vector_norm", order),
    };
    let dim = match (operator_name, dim) {
        ("linalg_matrix_norm", None) => Value::list((0..input.sizes().len() as i64).map(Value::Int).collect()),
        (_, dim) => dim.unwrap_or(Value::None),
    };
    operator(
        machine,
        operator_name,
        arguments(vec![input.value(), order, dim, keepdim], [("dtype", python::given(dtype))]),
    )
}

/// `torch.split(tensor, split_size_or_sections, dim=0)`.
pub fn split(machine: &Machine, args: Args) -> HostResult {
    let [tensor, sizes, dim] = {
        let mut args = args;
        if let Some(size) = args.take_keyword("split_size") {
            args.keyword.push(("split_size_or_sections".into(), size));
        }
        args.bind("split", ["tensor", "split_size_or_sections", "dim"], 2)?
    };
    let (sizes, dim) = (sizes.unwrap_or(Value::None), dim.unwrap_or(Value::Int(0)));
    let name = if matches!(sizes, Value::Int(_)) { "split" } else { "split_with_sizes" };
    operator(machine, name, positional([tensor.unwrap_or(Value::None), sizes, dim]))
}

/// `torch.unique(input, sorted=True, return_inverse=False, return_counts=False, dim=None)`.
pub fn unique(machine: &Machine, args: Args) -> HostResult {
    let [input, sorted, inverse, counts, dim] =
        args.bind("unique", ["input", "sorted", "return_inverse", "return_counts", "dim"], 1)?;
    let flag =
        |value: &Option<Value>, default: bool| value.as_ref().map_or(default, |v| matches!(v, Value::Bool(true)));
    let (sorted, inverse, counts) = (flag(&sorted, true), flag(&inverse, false), flag(&counts, false));
    let input = tensor_argument("unique", "input", 1, input)?;
    let outputs = match python::given(dim) {
        Some(dim) => {
            let dim = dim.as_int().ok_or_else(|| Raise::type_error("unique(): argument 'dim' must be int"))?;
            let arguments = [(&input).into(), dim.into(), sorted.into(), inverse.into(), counts.into()];
            dispatch::call(machine, dispatch::lookup("unique_dim", "")?, &arguments)?
        }
        None => {
            let arguments = [(&input).into(), sorted.into(), inverse.into(), counts.into()];
            dispatch::call(machine, dispatch::lookup("_unique2", "")?, &arguments)?
        }
    };
    Ok(some_of(outputs, inverse, counts))
}

/// `torch.unique_consecutive(input, return_inverse=False, return_counts=False, dim=None)`.
pub fn unique_consecutive(machine: &Machine, args: Args) -> HostResult {
    let [input, inverse, counts, dim] =
        args.bind("unique_consecutive", ["input", "return_inverse", "return_counts", "dim"], 1)?;
    let flag = |value: &Option<Value>| value.as_ref().is_some_and(|value| matches!(value, Value::Bool(true)));
    let (inverse, counts) = (flag(&inverse), flag(&counts));
    let input = tensor_argument("unique_consecutive", "input", 1, input)?;
    let dim = dim.as_ref().and_then(Value::as_int).map_or(Argument::None, Argument::from);
    let arguments = [(&input).into(), inverse.into(), counts.into(), dim];
    Ok(some_of(dispatch::call(machine, dispatch::lookup("unique_consecutive", "")?, &arguments)?, inverse, counts))
}

fn some_of(outputs: Vec<Output>, inverse: bool, counts: bool) -> Outcome {
    let mut values = outputs.into_iter().map(python::value_of).zip([true, inverse, counts]);
    let mut kept: Vec<Value> = values.by_ref().filter(|(_, keep)| *keep).map(|(value, _)| value).collect();
    match kept.len() {
        1 => kept.pop().unwrap_or(Value::None).into(),
        _ => Value::tuple(kept).into(),
    }
}

/// `torch.unravel_index(indices, shape)`.
fn unravel_index(machine: &Machine, args: Args) -> HostResult {
    let [indices, shape] = args.bind("unravel_index", ["indices", "shape"], 2)?;
    let indices = tensor_argument("unravel_index", "indices", 1, indices)?;
    let shape = match shape {
        Some(Value::Int(size)) => vec![size],
        Some(shape) => Size::construct(machine, positional([shape]))?.sizes().to_vec(),
        None => Vec::new(),
    };
    let mut rest = create::convert(machine, indices, Some(DType::Int64), None)?;
    let mut parts = Vec::with_capacity(shape.len());
    for &size in shape.iter().rev() {
        let size = Argument::Wrapped(Number::Int(size));
        let floor = Argument::Str("floor".into());
        parts.push(dispatch::tensor(machine, "remainder", "Tensor", &[(&rest).into(), size.clone()])?.value());
        rest = dispatch::tensor(machine, "div", "Tensor_mode", &[rest.into(), size, floor])?;
    }
    parts.reverse();
    Ok(Value::tuple(parts).into())
}

/// `F.normalize(input, p=2.0, dim=1, eps=1e-12)`.
fn normalize(machine: &Machine, args: Args) -> HostResult {
    let [input, p, dim, eps, out] = args.bind("normalize", ["input", "p", "dim", "eps", "out"], 1)?;
    if python::given(out).is_some() {
        return Err(Raise::type_error("normalize(): argument 'out' is not supported by this server"));
    }
    let input = tensor_argument("normalize", "input", 1, input)?;
    let norm_args = arguments(
        vec![input.value(), p.unwrap_or(Value::Float(2.0)), dim.unwrap_or(Value::Int(1))],
        [("keepdim", Some(Value::Bool(true)))],
    );
    let Outcome::Ready(length) = norm(machine, norm_args)? else { return Ok(Outcome::NotImplemented) };
    let eps = eps.unwrap_or(Value::Float(1e-12));
    let length = binding::tensor(machine, "clamp_min", &positional([length, eps]))?;
    let length = dispatch::tensor(machine, "expand_as", "", &[length.into(), (&input).into()])?;
    python::ready(dispatch::tensor(machine, "div", "Tensor", &[input.into(), length.into()])?)
}

/// `F.kl_div(input, target, size_average=None, reduce=None, reduction="mean", log_target=False)`.
fn kl_div(machine: &Machine, args: Args) -> HostResult {
    let parameters = ["input", "target", "size_average", "reduce", "reduction", "log_target"];
    let [input, target, average, reduce, reduction, log_target] = args.bind("kl_div", parameters, 2)?;
    let input = tensor_argument("kl_div", "input", 1, input)?;
    let word = reduction.unwrap_or_else(|| "mean".into());
    let per_batch = word.as_str() == Some("batchmean");
    let legacy = signatures::legacy_reduction(machine, python::given(average), python::given(reduce))?;
    let code = match legacy {
        Some(legacy) => signatures::reduction(&legacy)?,
        None if per_batch => Value::Int(2),
        None => signatures::reduction(&word)?,
    };
    let log_target = log_target.unwrap_or(Value::Bool(false));
    let args = arguments(vec![input.value(), target.unwrap_or(Value::None), code], [("log_target", Some(log_target))]);
    let loss = binding::tensor(machine, "kl_div", &args)?;
    match (per_batch, input.sizes().first()) {
        (true, Some(&rows)) => {
            let rows = Argument::Wrapped(Number::Int(rows));
            python::ready(dispatch::tensor(machine, "div", "Tensor", &[loss.into(), rows])?)
        }
        _ => python::ready(loss),
    }
}

/// `F.dropout1d(input, p=0.5, training=True, inplace=False)` and its like: whole channels, of one sample where a dimension
/// for the batch is missing.
fn channel_dropout(machine: &Machine, name: &'static str, args: Args, batched: usize) -> HostResult {
    let [input, p, training, inplace] = args.bind(name, ["input", "p", "training", "inplace"], 1)?;
    let input = tensor_argument(name, "input", 1, input)?;
    let p = p.unwrap_or(Value::Float(0.5));
    if python::float(&p).is_some_and(|number| !(0.0..=1.0).contains(&number)) {
        let p = interpreter::format::repr_now(&p).unwrap_or_default();
        return Err(Raise::value_error(format!("dropout probability has to be between 0 and 1, but got {p}")));
    }
    let dimensions = input.sizes().len();
    if name == "dropout1d" && !(2..=3).contains(&dimensions) {
        return Err(Raise::runtime_error(format!(
            "dropout1d: Expected 2D or 3D input, but received a {dimensions}D input. Note that dropout1d exists to provide \
             channel-wise dropout on inputs with 1 spatial dimension, a channel dimension, and an optional batch dimension \
             (i.e. 2D or 3D inputs)."
        )));
    }
    let in_place = inplace.map_or(Ok(false), |value| python::truth(machine, &value))?;
    let mark = if in_place { "_" } else { "" };
    let call = |name: &str, tensor: Value, rest: Vec<Value>| {
        let all: Vec<Value> = std::iter::once(tensor).chain(rest).collect();
        binding::call(machine, &format!("{name}{mark}"), None, &positional(all))
    };
    let own = dimensions == batched;
    let input = input.value();
    let input = if own { input } else { call("unsqueeze", input, vec![Value::Int(0)])? };
    let dropped = call("feature_dropout", input, vec![p, training.unwrap_or(Value::Bool(true))])?;
    Ok(if own { dropped } else { call("squeeze", dropped, vec![Value::Int(0)])? }.into())
}

/// `F.gumbel_softmax(logits, tau=1, hard=False, eps=1e-10, dim=-1)`.
fn gumbel_softmax(machine: &Machine, args: Args) -> HostResult {
    // `eps` has no effect in PyTorch either.
    let [logits, tau, hard, _eps, dim] = args.bind("gumbel_softmax", ["logits", "tau", "hard", "eps", "dim"], 1)?;
    let logits = tensor_argument("gumbel_softmax", "logits", 1, logits)?;
    let (tau, dim) = (tau.unwrap_or(Value::Int(1)), dim.unwrap_or(Value::Int(-1)));
    let noise = dispatch::tensor(machine, "zeros_like", "", &[(&logits).into()])?;
    let noise = dispatch::tensor(machine, "exponential_", "", &[noise.into()])?;
    let noise = dispatch::tensor(machine, "log", "", &[noise.into()])?;
    let noisy = dispatch::tensor(machine, "sub", "Tensor", &[(&logits).into(), noise.into()])?;
    let scaled = binding::tensor(machine, "div", &positional([noisy.value(), tau]))?;
    let soft = binding::tensor(machine, "softmax", &positional([scaled.value(), dim.clone()]))?;
    if !matches!(hard, Some(Value::Bool(true))) {
        return python::ready(soft);
    }
    let index = binding::tensor(machine, "argmax", &positional([soft.value(), dim.clone(), Value::Bool(true)]))?;
    let zeros = dispatch::tensor(machine, "zeros_like", "", &[(&logits).into()])?;
    let hard =
        binding::tensor(machine, "scatter", &positional([zeros.value(), dim, index.value(), Value::Float(1.0)]))?;
    let detached = dispatch::tensor(machine, "detach", "", &[(&soft).into()])?;
    let difference = dispatch::tensor(machine, "sub", "Tensor", &[hard.into(), detached.into()])?;
    python::ready(dispatch::tensor(machine, "add", "Tensor", &[difference.into(), soft.into()])?)
}

/// `torch.finfo(dtype)`.
pub fn finfo(_: &Machine, args: Args) -> HostResult {
    let [dtype] = args.bind("finfo", ["type"], 0)?;
    let dtype = dtype.as_ref().and_then(dtype::of_value).unwrap_or(DType::Float32);
    // bits, eps, max, smallest normal
    let (bits, eps, max, tiny) = match dtype {
        DType::Float64 | DType::Complex128 => (64, f64::EPSILON, f64::MAX, f64::MIN_POSITIVE),
        DType::Float32 | DType::Complex64 => {
            (32, f64::from(f32::EPSILON), f64::from(f32::MAX), f64::from(f32::MIN_POSITIVE))
        }
        DType::Float16 => (16, 0.000_976_562_5, 65504.0, 6.103_515_625e-5),
        DType::BFloat16 => (16, 0.007_812_5, 3.389_531_389_251_535_5e38, 1.175_494_350_822_287_5e-38),
        DType::Float8E4M3Fn => (8, 0.125, 448.0, 0.015_625),
        DType::Float8E5M2 => (8, 0.25, 57344.0, 6.103_515_625e-5),
        _ => {
            return Err(Raise::type_error(
                "torch.finfo() requires a floating point input type. Use torch.iinfo to handle 'torch.finfo'",
            ));
        }
    };
    let resolution = match dtype {
        DType::Float64 => 1e-15,
        DType::Float32 => 1e-6,
        DType::Float16 => 1e-3,
        DType::BFloat16 => 1e-2,
        _ => 1.0,
    };
    Ok(Value::host(super::limits::Limits {
        class: "finfo",
        dtype,
        fields: vec![
            ("resolution", Value::Float(resolution)),
            ("min", Value::Float(-max)),
            ("max", Value::Float(max)),
            ("eps", Value::Float(eps)),
            ("smallest_normal", Value::Float(tiny)),
            ("tiny", Value::Float(tiny)),
            ("bits", Value::Int(bits)),
        ],
    })
    .into())
}

/// `torch.iinfo(dtype)`.
pub fn iinfo(_: &Machine, args: Args) -> HostResult {
    let [dtype] = args.bind("iinfo", ["type"], 1)?;
    let dtype = dtype.as_ref().and_then(dtype::of_value).unwrap_or(DType::Int64);
    let (min, max) = match dtype {
        DType::Int64 => (i64::MIN, i64::MAX as u64),
        DType::Int32 => (i64::from(i32::MIN), i32::MAX as u64),
        DType::Int16 => (i64::from(i16::MIN), i16::MAX as u64),
        DType::Int8 => (i64::from(i8::MIN), i8::MAX as u64),
        DType::UInt8 => (0, u64::from(u8::MAX)),
        DType::UInt16 => (0, u64::from(u16::MAX)),
        DType::UInt32 => (0, u64::from(u32::MAX)),
        DType::UInt64 => (0, u64::MAX),
        _ => {
            return Err(Raise::type_error(
                "torch.iinfo() requires an integer input type. Use torch.finfo to handle 'torch.iinfo'",
            ));
        }
    };
    let fields =
        vec![("min", Value::Int(min)), ("max", python::unsigned(max)), ("bits", Value::Int(dtype.size() as i64 * 8))];
    Ok(Value::host(super::limits::Limits { class: "iinfo", dtype, fields }).into())
}
