//! Objects in a bucket.

use std::fmt;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

/// Where a bucket is, and how to show who one is.
#[derive(Clone, Default)]
pub struct S3Options {
    pub bucket: String,
    pub region: String,
    /// `https://HOST:PORT` of a server that speaks S3's protocol; `None` is Amazon's.
    pub endpoint: Option<String>,
    /// Key id and secret key; `None` takes those of the machine's role.
    pub key: Option<(String, String)>,
    /// Whether the endpoint may be plain `http`.
    pub allow_http: bool,
}

impl fmt::Debug for S3Options {
    /// Leaves the secret key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bucket, region, endpoint, .. } = self;
        f.debug_struct("S3Options")
            .field("bucket", bucket)
            .field("region", region)
            .field("endpoint", endpoint)
            .finish_non_exhaustive()
    }
}

/// Makes the client. Nothing is asked of the bucket yet.
pub fn open(options: S3Options) -> Result<AmazonS3, object_store::Error> {
    let S3Options { bucket, region, endpoint, key, allow_http } = options;
    let retry =
        RetryConfig { backoff: BackoffConfig::default(), max_retries: 5, retry_timeout: Duration::from_secs(60) };
    let client = ClientOptions::new().with_connect_timeout(Duration::from_secs(5)).with_allow_http(allow_http);
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(region)
        .with_retry(retry)
        // Else all of an object is hashed on the thread that sends it. Links are signed so, too, and what an object must hold
        // is known where it is named.
        .with_unsigned_payload(true)
        .with_client_options(client.with_timeout(Duration::from_secs(600)));
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some((id, secret)) = key {
        builder = builder.with_access_key_id(id).with_secret_access_key(secret);
    }
    builder.build()
}
