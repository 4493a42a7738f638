//! The closed list of names that a result may make the client import.
//!
//! The client loads results with full unpickling, so a name outside this list would be code that someone else chose.

/// Classes whose objects are sent, by module, besides those of [`program::reduced`].
const CLASSES: &[(&str, &[&str])] = &[
    ("builtins", &["bytearray"]),
    ("collections", &["Counter", "OrderedDict", "defaultdict", "deque"]),
    (
        "torch.return_types",
        &[
            "aminmax",
            "cummax",
            "cummin",
            "frexp",
            "geqrf",
            "histogram",
            "histogramdd",
            "kthvalue",
            "linalg_cholesky_ex",
            "linalg_eig",
            "linalg_eigh",
            "linalg_inv_ex",
            "linalg_ldl_factor",
            "linalg_ldl_factor_ex",
            "linalg_lstsq",
            "linalg_lu",
            "linalg_lu_factor",
            "linalg_lu_factor_ex",
            "linalg_qr",
            "linalg_slogdet",
            "linalg_solve_ex",
            "linalg_svd",
            "lu_unpack",
            "max",
            "median",
            "min",
            "mode",
            "nanmedian",
            "qr",
            "slogdet",
            "sort",
            "svd",
            "topk",
            "triangular_solve",
        ],
    ),
    ("tokenizers", &["Encoding"]),
    ("transformers.tokenization_utils_base", &["BatchEncoding", "CharSpan", "TokenSpan"]),
    ("transformers.cache_utils", &["DynamicCache", "DynamicLayer", "DynamicSlidingWindowLayer", "EncoderDecoderCache"]),
    (
        "transformers.modeling_outputs",
        &[
            "BaseModelOutput",
            "BaseModelOutputWithNoAttention",
            "BaseModelOutputWithCrossAttentions",
            "BaseModelOutputWithPast",
            "BaseModelOutputWithPastAndCrossAttentions",
            "BaseModelOutputWithPooling",
            "BaseModelOutputWithPoolingAndCrossAttentions",
            "CausalLMOutput",
            "CausalLMOutputWithCrossAttentions",
            "CausalLMOutputWithPast",
            "MaskedLMOutput",
            "MoEModelOutput",
            "MoeCausalLMOutputWithPast",
            "MoeModelOutputWithPast",
            "QuestionAnsweringModelOutput",
            "Seq2SeqLMOutput",
            "Seq2SeqModelOutput",
            "SequenceClassifierOutput",
            "SequenceClassifierOutputWithPast",
            "TokenClassifierOutput",
        ],
    ),
    ("transformers.models.gemma3.modeling_gemma3", &["Gemma3CausalLMOutputWithPast", "Gemma3ModelOutputWithPast"]),
    (
        "transformers.generation.utils",
        &[
            "GenerateBeamDecoderOnlyOutput",
            "GenerateBeamEncoderDecoderOutput",
            "GenerateDecoderOnlyOutput",
            "GenerateEncoderDecoderOutput",
        ],
    ),
    ("nnsight.intervention.cache", &["Cache", "CacheView", "Entry"]),
];

/// Builtin types that are sent as themselves, for example as the factory of a `defaultdict`.
const TYPES: &[&str] =
    &["bool", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "set", "str", "tuple"];

/// Returns whether objects of a class may be sent.
pub(super) fn class(module: &str, name: &str) -> bool {
    program::reduced::is_reduced(module, name)
        || CLASSES.iter().any(|(known, names)| *known == module && names.contains(&name))
}

/// Returns whether a class may be sent as a value.
pub(super) fn value(module: &str, name: &str) -> bool {
    class(module, name)
        || module == "builtins" && TYPES.contains(&name)
        || module == "torch" && matches!(name, "Tensor" | "Size" | "device" | "dtype" | "Generator")
        || module == "torch.nn" && name == "Parameter"
        || module == "numpy" && matches!(name, "ndarray" | "dtype")
}
