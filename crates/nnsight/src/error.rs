//! Why bytes were refused.

/// A request that cannot become a program. Each message is a sentence for the user who sent it.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the request's `data` field is not the expected JSON: {0}")]
    Fields(String),
    #[error("the model key `{0}` is not of the form `<class>:{{\"repo_id\": …}}`")]
    ModelKey(String),
    #[error("the request is larger than {limit} bytes{}", if *.compressed { " once decompressed" } else { "" })]
    TooLarge { limit: u64, compressed: bool },
    #[error("the request refers to more than {limit} values")]
    TooManyValues { limit: u32 },
    #[error("the request's values take more than {limit} bytes")]
    TooManyBytes { limit: u64 },
    #[error("the request is not a zstd frame: {0}")]
    Zstd(String),
    #[error("the payload is not a pickle that this server reads: {what} at byte {offset}")]
    Pickle { offset: usize, what: &'static str },
    #[error("the payload is not one of nnsight 0.8: {0}")]
    Payload(&'static str),
    #[error("a tensor in the request is malformed: {0}")]
    Tensor(&'static str),
    #[error("tracing `{0}` is not supported by this server")]
    Function(String),
}

/// A result that cannot be sent. Each message is a sentence for the user whose variable it names.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("`{name}` cannot be returned: {what}")]
    Unsupported { name: String, what: String },
    #[error("`{name}` cannot be returned: it contains itself in a way that cannot be written down")]
    Cyclic { name: String },
    #[error("`{name}` cannot be returned: {what}")]
    Malformed { name: String, what: &'static str },
    #[error("the result cannot be compressed: {0}")]
    Zstd(#[from] std::io::Error),
}

/// A result that has no form but the client's own. Each message is a sentence for the user.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    #[error(
        "`{name}` nests deeper than {depth} values, or contains itself, which safetensors has no form for; fetch the result in the client's own form"
    )]
    Deep { name: String, depth: u32 },
    #[error(
        "what was saved beside tensors takes more than {limit} bytes as JSON; fetch the result in the client's own form"
    )]
    Long { limit: usize },
    #[error(
        "as tensors of their own, which share no memory, what was saved takes more than {limit} bytes; fetch the result in the client's own form"
    )]
    Large { limit: u64 },
    #[error("`{name}` holds {what}, which safetensors has no form for; fetch the result in the client's own form")]
    Unknown { name: String, what: String },
    #[error("a tensor of the result is malformed: {0}")]
    Malformed(#[from] DecodeError),
    #[error("it cannot be written: {0}")]
    Io(#[from] std::io::Error),
}
