//! Which tensors would require grad if gradients were recorded, for jobs that record none: what comes of a model's
//! parameters, as far as that is certain.
//!
//! Nothing of the kind is known to libtorch then: a pass that many share records nothing. So a tensor that the model shows
//! says that it comes of parameters, and what operators make of it says so too, where they are named here and the code
//! around them records gradients. What is in doubt does not.

/// Operators whose floating results require grad wherever one of their tensors does.
const PASSES_ON: [&str; 135] = [
    "abs",
    "add",
    "addbmm",
    "addcdiv",
    "addcmul",
    "addmm",
    "addmv",
    "amax",
    "amin",
    "atan",
    "baddbmm",
    "batch_norm",
    "bilinear",
    "bmm",
    "broadcast_to",
    "cat",
    "cdist",
    "celu",
    "chunk",
    "clamp",
    "clamp_max",
    "clamp_min",
    "clip",
    "clone",
    "concat",
    "concatenate",
    "contiguous",
    "cos",
    "cosine_similarity",
    "cross_entropy_loss",
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "diagonal",
    "diff",
    "div",
    "divide",
    "dot",
    "einsum",
    "elu",
    "erf",
    "exp",
    "expand",
    "expand_as",
    "expm1",
    "flatten",
    "flip",
    "gather",
    "gelu",
    "group_norm",
    "hstack",
    "index",
    "index_add",
    "index_select",
    "inner",
    "kl_div",
    "kthvalue",
    "layer_norm",
    "leaky_relu",
    "lerp",
    "linear",
    "log",
    "log1p",
    "log2",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "masked_fill",
    "masked_select",
    "matmul",
    "matrix_norm",
    "max",
    "maximum",
    "mean",
    "median",
    "min",
    "minimum",
    "mm",
    "moveaxis",
    "movedim",
    "mse_loss",
    "mul",
    "multiply",
    "mv",
    "narrow",
    "neg",
    "negative",
    "nll_loss_nd",
    "norm",
    "outer",
    "permute",
    "positive",
    "pow",
    "prod",
    "ravel",
    "reciprocal",
    "relu",
    "repeat",
    "repeat_interleave",
    "reshape",
    "rms_norm",
    "roll",
    "rsqrt",
    "rsub",
    "scatter",
    "scatter_add",
    "select",
    "sigmoid",
    "silu",
    "sin",
    "softmax",
    "softplus",
    "sort",
    "split",
    "split_with_sizes",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "sub",
    "subtract",
    "sum",
    "swapaxes",
    "swapdims",
    "t",
    "take_along_dim",
    "tanh",
    "to",
    "topk",
    "transpose",
    "unbind",
    "unsqueeze",
    "view",
];

/// Says whether an operator is one of them, in place or not.
pub fn passes_on(operator: &str) -> bool {
    let name = operator.trim_end_matches('_');
    let name = name.strip_prefix("linalg_").unwrap_or(name);
    PASSES_ON.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::{self, Argument};
    use crate::schema::Operators;
    use crate::tensor::Tensor;

    fn ones() -> Tensor {
        Tensor::new(tch::Tensor::ones([2, 2], (tch::Kind::Float, tch::Device::Cpu)))
    }

    #[test]
    fn the_names_are_in_order_and_known() {
        assert!(PASSES_ON.is_sorted());
        for name in PASSES_ON {
            let known =
                [name.to_owned(), format!("linalg_{name}")].iter().any(|name| Operators::all().get(name).is_some());
            assert!(known, "{name}");
        }
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
