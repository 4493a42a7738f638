//! What is shown of certificates.

use telemetry::metrics::{Gauge, Label, Metrics, Values};

pub static EXPIRY: Gauge = Gauge::new(
    "vitrine_certificate_expiry_timestamp_seconds",
    "Says when a certificate that this process uses ends, in seconds since 1970: the one that clients see (serving), that other \
     roles see (peer) and that etcd sees (etcd), each with those between it and its authority, and those of the authorities that \
     others are known by (peer_authority, etcd_authority).",
    &[Label { name: "certificate", values: Values::First(8) }],
);

/// All of them.
pub static METRICS: Metrics = &[&EXPIRY];
