//! What an operator can set about the gateway.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The gateway's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Connections open at once, websockets apart, and as many by gRPC; more wait to be accepted. A quarter of them may be of
    /// who has shown no valid key, and who comes then gets the place of the oldest of whoever has most. Default 8,192.
    pub connections: usize,
    /// How long a connection may wait for a request, and a request's head take to arrive. Default 30 seconds.
    #[serde(with = "humantime_serde")]
    pub head_patience: Duration,
    /// The same while more than three quarters of the connections are taken. Default 2 seconds.
    #[serde(with = "humantime_serde")]
    pub head_patience_crowded: Duration,
    /// Requests in a second that one key may make on average. Default 5,000.
    pub key_rate: u32,
    /// Requests that one key may make at once before that counts. Default 10,000.
    pub key_burst: u32,
    /// Requests in a second that one address may make without a valid key. Default 1,000.
    pub keyless_rate: u32,
    /// Requests that one address may make at once without a valid key before that counts. Default 4,000.
    pub keyless_burst: u32,
    /// Bytes of one request's body. Default 65 MiB.
    pub body_bytes: usize,
    /// Bytes of bodies that arrive or are read at once; more wait. Default 512 MiB.
    pub upload_bytes: u64,
    /// Bytes of them that may be one tenant's. Default 160 MiB.
    pub upload_bytes_per_tenant: u64,
    /// Where bodies of more than 1 MiB lie while they arrive and are read, in files without names: a folder on a disk, not
    /// in memory. Default: the data folder of `vitrine up`, else that of temporary files.
    pub upload_folder: Option<PathBuf>,
    /// How long a request may wait to be read, or decoded, before it is refused. Default 30 seconds.
    #[serde(with = "humantime_serde")]
    pub upload_patience: Duration,
    /// Bytes in a second at which a body must arrive on average. Default 64 KiB.
    pub upload_rate: u64,
    /// How far a body may be behind that. Default 10 seconds.
    #[serde(with = "humantime_serde")]
    pub upload_grace: Duration,
    /// Large requests that are decoded at once; more wait. One tenant's may be half of them. Default 4.
    pub decodes: u32,
    /// Jobs that may wait or run, of all tenants. Default 100,000.
    pub queued_jobs: u64,
    /// Jobs of one tenant that may wait or run. Default 10,000.
    pub queued_jobs_per_tenant: u64,
    /// Bytes of the requests of jobs that wait or run, of all tenants. Default 32 GiB.
    pub queued_bytes: u64,
    /// Bytes of the requests of one tenant's jobs that wait or run; and no more than is left free on the disk.
    /// Default 4 GiB.
    pub queued_bytes_per_tenant: u64,
    /// Bytes of a result that travels inside the last websocket frame; a larger one is given as a link. At most 16 MiB.
    /// Default 1 MiB.
    pub inline_result_bytes: u64,
    /// Bytes of results that websockets hold in memory at once, of which one tenant may have a quarter; where there is
    /// no room, results are given as links. Default 256 MiB.
    pub inline_memory_bytes: u64,
    /// Results that are read by link at once, of those that are files. Default 2,048.
    pub downloads: u64,
    /// Those of one tenant. Default 256.
    pub downloads_per_tenant: u64,
    /// How long a link to a result is valid. Default 1 hour.
    #[serde(with = "humantime_serde")]
    pub link_lifetime: Duration,
    /// What links begin with, for example `https://vitrine.example.org`. Default: the address that the client used.
    pub public_url: Option<String>,
    /// Whether clients reach this server by `https`, as links say where `public_url` is not set. Default: whether it has
    /// a certificate.
    pub https: bool,
    /// Whether configuration and tokenizer files of hosted models are given to everybody, as the Hugging Face Hub does.
    /// Default true.
    pub hub: bool,
    /// Websockets open at once with a valid key. Default 4,096.
    pub sockets: usize,
    /// Those of one tenant. Default 1,024.
    pub sockets_per_tenant: usize,
    /// Websockets open at once without a valid key, besides. Default 256.
    pub sockets_keyless: usize,
    /// How long a websocket may stay open without a request of its own, with a valid key. Default 1 minute.
    #[serde(with = "humantime_serde")]
    pub socket_idle: Duration,
    /// How long a client may take to accept more of an answer. A websocket's has for a frame, besides, a second for
    /// each 256 KiB. Default 30 seconds.
    #[serde(with = "humantime_serde")]
    pub socket_patience: Duration,
    /// Signing in by a provider of OpenID Connect.
    pub oidc: oidc::Settings,
    /// What one job may use.
    #[serde(with = "limits")]
    pub limits: program::Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections: 8192,
            head_patience: Duration::from_secs(30),
            head_patience_crowded: Duration::from_secs(2),
            key_rate: 5_000,
            key_burst: 10_000,
            keyless_rate: 1_000,
            keyless_burst: 4_000,
            body_bytes: 65 << 20,
            upload_bytes: 512 << 20,
            upload_bytes_per_tenant: 160 << 20,
            upload_folder: None,
            upload_patience: Duration::from_secs(30),
            upload_rate: 64 << 10,
            upload_grace: Duration::from_secs(10),
            decodes: 4,
            queued_jobs: 100_000,
            queued_jobs_per_tenant: 10_000,
            queued_bytes: 32 << 30,
            queued_bytes_per_tenant: 4 << 30,
            inline_result_bytes: 1 << 20,
            inline_memory_bytes: 256 << 20,
            downloads: 2048,
            downloads_per_tenant: 256,
            link_lifetime: Duration::from_secs(3600),
            public_url: None,
            https: false,
            hub: true,
            sockets: 4096,
            sockets_per_tenant: 1024,
            sockets_keyless: 256,
            socket_idle: Duration::from_secs(60),
            socket_patience: Duration::from_secs(30),
            oidc: oidc::Settings::default(),
            limits: program::Limits::default(),
        }
    }
}

/// The largest [`Settings::inline_result_bytes`]: a frame is moved about in memory as it is sent.
const INLINE_BYTES: u64 = 16 << 20;
/// The largest `limits.output_bytes`: what a program prints at once is in memory until it is stored.
const OUTPUT_BYTES: u64 = 32 << 20;

impl Settings {
    /// Says what cannot be as it is set.
    ///
    /// # Errors
    /// A sentence that begins with the setting's name.
    pub fn check(&self) -> Result<(), String> {
        let at_least_one = [
            ("connections", self.connections as u64),
            ("key_rate", self.key_rate.into()),
            ("keyless_rate", self.keyless_rate.into()),
            ("decodes", self.decodes.into()),
            ("upload_rate", self.upload_rate),
            ("queued_jobs_per_tenant", self.queued_jobs_per_tenant),
            ("sockets_per_tenant", self.sockets_per_tenant as u64),
            ("downloads_per_tenant", self.downloads_per_tenant),
            ("sockets_keyless", self.sockets_keyless as u64),
        ];
        if let Some((name, _)) = at_least_one.iter().find(|(_, value)| *value == 0) {
            return Err(format!("{name} must be at least 1"));
        }
        let body = self.body_bytes as u64;
        let at_most = [
            ("body_bytes", body, "gateway.upload_bytes_per_tenant", self.upload_bytes_per_tenant),
            ("upload_bytes_per_tenant", self.upload_bytes_per_tenant, "gateway.upload_bytes", self.upload_bytes),
            ("queued_jobs_per_tenant", self.queued_jobs_per_tenant, "gateway.queued_jobs", self.queued_jobs),
            ("queued_bytes_per_tenant", self.queued_bytes_per_tenant, "gateway.queued_bytes", self.queued_bytes),
            ("sockets_per_tenant", self.sockets_per_tenant as u64, "gateway.sockets", self.sockets as u64),
            ("downloads_per_tenant", self.downloads_per_tenant, "gateway.downloads", self.downloads),
            ("inline_result_bytes", self.inline_result_bytes, "16 MiB", INLINE_BYTES),
            ("limits.output_bytes", self.limits.output_bytes, "32 MiB", OUTPUT_BYTES),
        ];
        if let Some((name, value, other, bound)) = at_most.iter().find(|(_, value, _, bound)| value > bound) {
            return Err(format!("{name} is {value}, which is more than {other} ({bound})"));
        }
        if let Some(folder) = self.upload_folder.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(format!("upload_folder is {}, which is no folder", folder.display()));
        }
        self.oidc.check().map_err(|why| format!("oidc.{why}"))?;
        match &self.public_url {
            Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
                Err(format!("public_url must begin with http:// or https://, not be {url:?}"))
            }
            _ => Ok(()),
        }
    }
}

/// Limits as people write them. Elsewhere they are stored, in another form.
mod limits {
    use program::Limits;
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::{Map, Value};

    pub fn serialize<S: Serializer>(limits: &Limits, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serde_json::to_value(limits).map_err(S::Error::custom)?;
        fields["run_time"] = humantime::format_duration(limits.run_time).to_string().into();
        fields.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Limits, D::Error> {
        let mut fields = Map::<String, Value>::deserialize(deserializer)?;
        if let Some(Value::String(text)) = fields.get("run_time") {
            let time = humantime::parse_duration(text);
            let time = time.map_err(|error| D::Error::custom(format!("limits.run_time is {text:?}: {error}")))?;
            fields.insert("run_time".into(), serde_json::to_value(time).map_err(D::Error::custom)?);
        }
        serde_json::from_value(Value::Object(fields)).map_err(|error| D::Error::custom(format!("limits: {error}")))
    }
}
