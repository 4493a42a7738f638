//! Which tensors would require grad if gradients were recorded, for jobs that record none: what comes of a model's
//! parameters, as far as that is certain.
//!
//! Nothing of the kind is known to libtorch then: a pass that many share records nothing. So a tensor that the model shows
//! says that it comes of parameters, and what operators make of it says so too, where they are named here and the code
//! around them records gradients. What is in doubt does not.

/// Operators of whose floating results some, or all, require no grad whatever they are given: they look at no number of it, or
/// PyTorch has no derivative of them.
const CUTS: [&str; 29] = [
    "bincount",
    "detach",
    "empty_like",
    "full_like",
    "histc",
    "linalg_lstsq",
    "linalg_lu",
    "lu_unpack",
    "new_empty",
    "new_empty_strided",
    "new_full",
    "new_ones",
    "new_zeros",
    "ones_like",
    "rand_like",
    "randn_like",
    "special_airy_ai",
    "special_bessel_j0",
    "special_bessel_j1",
    "special_bessel_y0",
    "special_bessel_y1",
    "special_modified_bessel_i0",
    "special_modified_bessel_i1",
    "special_modified_bessel_k0",
    "special_modified_bessel_k1",
    "special_scaled_modified_bessel_k0",
    "special_scaled_modified_bessel_k1",
    "special_spherical_bessel_j0",
    "zeros_like",
];

/// Says whether an operator's floating results require grad where one of its tensors does, in place or not.
pub fn passes_on(operator: &str) -> bool {
    CUTS.binary_search(&operator.trim_end_matches('_')).is_err()
}

#[cfg(test)]
mod tests {
    use libtorch::ffi::Mode;

    use super::*;
    use crate::dispatch::{self, Argument, Number, Output};
    use crate::dtype;
    use crate::schema::{Kind, Operators, Parameter};
    use crate::tensor::Tensor;

    fn ones() -> Tensor {
        Tensor::new(tch::Tensor::ones([2, 2], (tch::Kind::Float, tch::Device::Cpu)))
    }

    #[test]
    fn the_names_are_in_order_and_known() {
        assert!(CUTS.is_sorted());
        for name in CUTS {
            assert!(Operators::all().get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn results_are_said_to_require_grad_where_pytorch_says_it() {
        let leaf = || {
            let leaf = Tensor::new(tch::Tensor::eye(3, (tch::Kind::Float, tch::Device::Cpu)) + 0.5);
            leaf.set_requires_grad(true).unwrap();
            leaf
        };
        let argument = |parameter: &Parameter| match parameter.kind {
            Kind::Tensor => Some(leaf().into()),
            Kind::Tensors => Some(Argument::Tensors(vec![leaf(), leaf()])),
            Kind::Scalar | Kind::Float => Some(Argument::Number(Number::Float(0.5))),
            Kind::Bool => Some(Argument::Number(Number::Bool(false))),
            Kind::Int => Some(1.into()),
            Kind::Ints(_) => Some(vec![1].into()),
            _ => None,
        };
        let names = include_str!("operators.txt").lines().filter(|line| !line.starts_with(['#', '[']));
        let names = names.flat_map(str::split_whitespace).map(|name| name.split(':').next_back().unwrap_or(name));
        let overloads = names.filter_map(|name| Operators::all().get(name)).flatten();
        let (mut compared, mut wrong) = (0, Vec::new());
        for operator in overloads.filter(|operator| !operator.trusts) {
            let required = operator.parameters.iter().filter(|parameter| !parameter.default);
            let Some(arguments) = required.map(argument).collect::<Option<Vec<_>>>() else { continue };
            if !arguments.iter().any(|argument| matches!(argument, Argument::Tensor(_) | Argument::Tensors(_))) {
                continue;
            }
            let Ok(outputs) = dispatch::raw(operator, &arguments, Mode::plain(true), None, false) else { continue };
            let floating = |output| match output {
                Output::Tensor(tensor) if dtype::is_floating(tensor.dtype()) || dtype::is_complex(tensor.dtype()) => {
                    Some(tensor.requires_grad())
                }
                _ => None,
            };
            let require: Vec<bool> = outputs.into_iter().filter_map(floating).collect();
            compared += require.len();
            if !require.is_empty() && require.iter().all(|require| *require) != operator.passes_on {
                wrong.push(format!("{}.{}", operator.name, operator.overload));
            }
        }
        assert!(compared > 400, "{compared} were compared");
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn what_comes_of_parameters_says_so_and_what_is_cut_off_does_not() {
        let learned = ones().learned();
        let call = |name: &str, overload: &str, arguments: &[Argument]| {
            dispatch::call_unpaid(name, overload, arguments).unwrap().is_learned()
        };
        assert!(call("mul", "Tensor", &[(&ones()).into(), (&learned).into()]));
        assert!(call("view", "", &[(&learned).into(), vec![4].into()]));
        assert!(!call("mul", "Tensor", &[(&ones()).into(), (&ones()).into()]));
        assert!(!call("detach", "", &[(&learned).into()]));
        assert!(!call("zeros_like", "", &[(&learned).into()]));
        assert!(!call("eq", "Tensor", &[(&learned).into(), (&learned).into()]));
        let long = Argument::from(4);
        assert!(!call("to", "dtype", &[(&learned).into(), long]), "whole numbers require no grad");
        let target = ones();
        dispatch::call_unpaid("add_", "Tensor", &[(&target).into(), (&learned).into()]).unwrap();
        assert!(target.is_learned(), "it was written to");
    }
}
