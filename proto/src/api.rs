//! The public API as it describes itself: what reflection tells, and what routes and tests go through.

use prost::Message;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};

/// `api.proto` and what it imports, as the bytes of a `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTION: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/api.bin"));

/// One method of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    /// As HTTP/2 asks for it: `/vitrine.v1.Jobs/GetJob`.
    pub path: String,
    /// Whether the client sends a stream of messages, and whether the server does.
    pub sends: bool,
    pub tells: bool,
    /// The number of the field of its request that names a job, if it has one.
    pub job_id: Option<u32>,
}

/// Returns all methods of the API.
///
/// # Errors
/// When [`DESCRIPTION`] is none, which the build would have to be at fault for.
pub fn methods() -> Result<Vec<Method>, prost::DecodeError> {
    let described = FileDescriptorSet::decode(DESCRIPTION)?;
    let mut methods = Vec::new();
    for file in &described.file {
        for service in &file.service {
            for method in &service.method {
                let asked = method.input_type().rsplit('.').next().unwrap_or_default();
                let message = file.message_type.iter().find(|message| message.name() == asked);
                methods.push(Method {
                    path: format!("/{}.{}/{}", file.package(), service.name(), method.name()),
                    sends: method.client_streaming(),
                    tells: method.server_streaming(),
                    job_id: message.and_then(job_id),
                });
            }
        }
    }
    Ok(methods)
}

fn job_id(message: &DescriptorProto) -> Option<u32> {
    let field = message.field.iter().find(|field| field.name() == "job_id" && field.r#type() == Type::String)?;
    u32::try_from(field.number()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_the_public_service_and_nothing_of_how_workers_are_led() {
        let methods = methods().unwrap();
        let paths: Vec<&str> = methods.iter().map(|method| method.path.as_str()).collect();
        assert!(paths.contains(&"/vitrine.v1.Jobs/Submit"), "{paths:?}");
        assert!(paths.iter().all(|path| path.starts_with("/vitrine.v1.Jobs/")), "{paths:?}");
        assert!(methods.iter().filter(|method| method.job_id.is_some()).count() >= 4);
        assert!(!String::from_utf8_lossy(DESCRIPTION).contains("WorkerHello"));
    }
}
