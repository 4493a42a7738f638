//! What using a name of `torch`, `numpy` or `einops`, or of an object of theirs, does besides giving a value.
//!
//! Of operators, the dispatcher says which draw random numbers and which write to their arguments. What is written in
//! Rust is named here where it leaves no marks; what is not named may do anything.

use interpreter::{Effect, Use};

use crate::allowed;
use crate::dispatch;
use crate::schema::{Operator, Operators};

/// Methods and attributes of tensors that are written in Rust and only look.
const OF_TENSORS: &[&str] = &[
    "H",
    "T",
    "__getitem__",
    "__len__",
    "bfloat16",
    "bool",
    "byte",
    "cdouble",
    "cfloat",
    "char",
    "cpu",
    "cuda",
    "data",
    "device",
    "dim",
    "dim_order",
    "double",
    "dtype",
    "element_size",
    "float",
    "get_device",
    "half",
    "has_names",
    "imag",
    "int",
    "is_conj",
    "is_contiguous",
    "is_cpu",
    "is_cuda",
    "is_inference",
    "is_leaf",
    "is_meta",
    "is_neg",
    "is_nonzero",
    "is_pinned",
    "is_quantized",
    "is_shared",
    "is_sparse",
    "istft",
    "item",
    "itemsize",
    "layout",
    "long",
    "mH",
    "mT",
    "nbytes",
    "ndim",
    "ndimension",
    "nelement",
    "new_empty",
    "new_tensor",
    "nonzero",
    "norm",
    "numel",
    "numpy",
    "pin_memory",
    "real",
    "requires_grad",
    "resolve_neg",
    "shape",
    "short",
    "size",
    "split",
    "storage_offset",
    "stride",
    "to",
    "to_dense",
    "tolist",
    "type",
    "type_as",
    "unique",
    "unique_consecutive",
];

/// Names of sizes, types, devices, arrays and named results, which only look.
const OF_OTHERS: &[&str] = &[
    // Arrays.
    "argmax",
    "argmin",
    "astype",
    "copy",
    "ravel",
    "reshape",
    // Sizes, and what else is like a tuple.
    "count",
    "index",
    "numel",
    // Types and devices.
    "is_complex",
    "is_floating_point",
    "is_signed",
    "itemsize",
    "to_complex",
    "to_real",
    // Fields of `torch.return_types`.
    "L",
    "LU",
    "Q",
    "R",
    "S",
    "U",
    "V",
    "Vh",
    "bin_edges",
    "counts",
    "eigenvalues",
    "eigenvectors",
    "exponent",
    "hist",
    "indices",
    "info",
    "logabsdet",
    "mantissa",
    "max",
    "min",
    "pivots",
    "rank",
    "residuals",
    "sign",
    "singular_values",
    "solution",
    "values",
];

/// Functions of modules that are written in Rust and only look.
const OF_MODULES: &[(&str, &[&str])] = &[
    (
        "torch",
        &[
            "as_tensor",
            "asarray",
            "atleast_1d",
            "atleast_2d",
            "atleast_3d",
            "block_diag",
            "broadcast_shapes",
            "broadcast_tensors",
            "cartesian_prod",
            "chain_matmul",
            "einsum",
            "empty",
            "empty_strided",
            "from_numpy",
            "get_default_device",
            "get_default_dtype",
            "is_nonzero",
            "is_storage",
            "is_tensor",
            "istft",
            "meshgrid",
            "nonzero",
            "norm",
            "numel",
            "promote_types",
            "result_type",
            "scalar_tensor",
            "split",
            "tensor",
            "tensordot",
            "unique",
            "unique_consecutive",
            "unravel_index",
        ],
    ),
    ("torch.cuda", &["current_device", "device_count", "is_available"]),
    ("torch.nn.functional", &["kl_div", "normalize", "softmin", "softsign", "tanhshrink"]),
    ("torch.linalg", &["lstsq", "multi_dot"]),
    ("einops", &["asnumpy", "einsum", "parse_shape", "rearrange", "reduce", "repeat"]),
    ("numpy", &["argmax", "argmin", "array", "asarray", "max", "mean", "min", "ones", "std", "sum", "var", "zeros"]),
];

/// Classes whose objects are made of their arguments alone, and keep nothing.
const PLAIN: &[&str] =
    &["torch.Size", "torch.device", "torch.finfo", "torch.iinfo", "torch.Tensor", "torch.FloatTensor"];

/// Returns what using a name of a tensor does; `None` for names that tensors do not have.
#[must_use]
pub fn of_tensor(name: &str, usage: Use<'_>) -> Option<Effect> {
    if let Use::Store = usage {
        return crate::tensor::has_attribute(name).then_some(Effect::Anything);
    }
    if name == "__setitem__" {
        return Some(Effect::Changes);
    }
    if OF_TENSORS.contains(&name) {
        return Some(Effect::Looks);
    }
    match allowed::method(name).filter(|_| !crate::tensor::is_own_method(name)) {
        Some(operator) => Some(of_overloads(operator, true)),
        None => (crate::tensor::has_attribute(name) || crate::tensor::has_method(name)).then_some(Effect::Anything),
    }
}

/// Returns what using a name does of any object of this crate that a block can come to by itself; `None` where none has
/// the name.
#[must_use]
pub fn of_object(name: &str, usage: Use<'_>) -> Option<Effect> {
    let other = match usage {
        Use::Store => None,
        Use::Read | Use::Call { .. } => OF_OTHERS.contains(&name).then_some(Effect::Looks),
    };
    Effect::either(of_tensor(name, usage), other)
}

/// Returns what calling an operator as a function does.
pub(crate) fn of_function(operator: &str) -> Effect {
    of_overloads(operator, false)
}

/// Returns what calling a function that is written in Rust does.
pub(crate) fn of_native(module: &str, name: &str, usage: Use<'_>) -> Effect {
    if let Use::Call { keywords, .. } = usage
        && keywords.contains(&"out")
    {
        return Effect::Anything;
    }
    let module = if module == "torch.functional" { "torch" } else { module };
    let looks = OF_MODULES.iter().any(|(known, names)| *known == module && names.contains(&name));
    if looks { Effect::Looks } else { Effect::Anything }
}

/// Returns whether calling a class only makes an object.
pub(crate) fn makes_plain_objects(class: &str) -> bool {
    PLAIN.contains(&class)
}

fn of_overloads(operator: &str, method: bool) -> Effect {
    let overloads = Operators::all().get(operator).unwrap_or_default();
    overloads.iter().map(|overload| of_overload(overload, method)).max().unwrap_or(Effect::Anything)
}

fn of_overload(operator: &Operator, method: bool) -> Effect {
    if operator.random || dispatch::writes_unsaid(&operator.name) {
        return Effect::Anything;
    }
    let mut effect = Effect::Looks;
    for parameter in operator.parameters.iter().filter(|parameter| parameter.written) {
        effect = effect.max(if method && &*parameter.name == "self" { Effect::Changes } else { Effect::Anything });
    }
    effect
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Use<'static> = Use::Call { positional: 1, keywords: &[] };

    #[test]
    fn operators_say_what_they_draw_and_write() {
        let drawing = [
            "alpha_dropout",
            "bernoulli",
            "binomial",
            "dropout",
            "feature_alpha_dropout",
            "feature_dropout",
            "multinomial",
            "normal",
            "poisson",
            "rand",
            "rand_like",
            "randint",
            "randint_like",
            "randn",
            "randn_like",
            "randperm",
            "rrelu",
            "scaled_dot_product_attention",
        ];
        for operator in drawing {
            assert_eq!(of_function(operator), Effect::Anything, "{operator}");
        }
        let methods =
            ["bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_", "normal_", "random_", "uniform_"];
        for method in methods {
            assert_eq!(of_tensor(method, CALL), Some(Effect::Anything), "{method}");
        }
        assert_eq!(of_function("add"), Effect::Looks);
        assert_eq!(of_function("relu_"), Effect::Anything, "its argument is anybody's");
        assert_eq!(of_function("batch_norm"), Effect::Anything, "running statistics");
        assert_eq!(of_tensor("add", CALL), Some(Effect::Looks));
        assert_eq!(of_tensor("add_", CALL), Some(Effect::Changes));
        assert_eq!(of_tensor("index_put_", CALL), Some(Effect::Changes));
    }

    #[test]
    fn what_is_not_named_may_do_anything() {
        for name in ["backward", "grad", "register_hook", "requires_grad_", "retain_grad"] {
            assert_eq!(of_tensor(name, CALL), Some(Effect::Anything), "{name}");
        }
        assert_eq!(of_tensor("data", Use::Store), Some(Effect::Anything));
        assert_eq!(of_tensor("no_such_method", CALL), None);
        for name in ["manual_seed", "set_rng_state", "get_rng_state", "initial_seed"] {
            assert_eq!(of_native("torch", name, CALL), Effect::Anything, "{name}");
        }
    }

    #[test]
    fn every_name_that_is_said_to_look_is_one() {
        for name in OF_TENSORS {
            assert!(crate::tensor::has_attribute(name) || crate::tensor::has_method(name), "{name}");
        }
        for (module, names) in OF_MODULES {
            for name in *names {
                assert!(crate::modules::has_function(module, name), "{module}.{name}");
                assert_eq!(of_native(module, name, CALL), Effect::Looks);
            }
        }
    }

    #[test]
    fn a_function_that_may_write_to_its_argument_does_where_it_is_told_to() {
        let relu = crate::signatures::find("torch.nn.functional", "relu").unwrap();
        assert!(!relu.writes(CALL));
        assert!(relu.writes(Use::Call { positional: 2, keywords: &[] }));
        assert!(relu.writes(Use::Call { positional: 1, keywords: &["inplace"] }));
        assert!(relu.writes(Use::Read));
    }
}
