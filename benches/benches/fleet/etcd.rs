//! What a member of etcd says that it did.

use tests::http;

/// How often it did what.
#[derive(Default)]
pub struct Counts {
    /// Entries of its log, which is what a change is.
    pub proposals: f64,
    /// Syncs of its log to the disk.
    pub syncs: f64,
    /// Requests that were transactions, of reads too.
    pub transactions: f64,
    /// Requests that were listings.
    pub ranges: f64,
}

impl Counts {
    /// Asks a member.
    pub fn of(url: &str) -> Self {
        let answer = http::ask(url, "GET", "/metrics", &[], b"");
        let text = String::from_utf8(answer.body).unwrap();
        let handled = |method: &str| {
            format!(
                "grpc_server_handled_total{{grpc_code=\"OK\",grpc_method=\"{method}\",grpc_service=\"etcdserverpb.KV\""
            )
        };
        let count = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
        };
        Self {
            proposals: count("etcd_server_proposals_applied_total"),
            syncs: count("etcd_disk_wal_fsync_duration_seconds_count"),
            transactions: count(&handled("Txn")),
            ranges: count(&handled("Range")),
        }
    }

    /// Returns what was done since.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            proposals: self.proposals - before.proposals,
            syncs: self.syncs - before.syncs,
            transactions: self.transactions - before.transactions,
            ranges: self.ranges - before.ranges,
        }
    }
}
