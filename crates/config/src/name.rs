//! What a process is called where nobody has named it.

/// Returns the host's name with the process's number.
#[must_use]
pub fn process_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}-{}", std::process::id())
}
