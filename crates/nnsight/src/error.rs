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
