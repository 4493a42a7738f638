//! `vitrine audit`: what was done and what was refused.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use crate::remote::Server;
use crate::{serving, table};

#[derive(Args)]
pub struct Audit {
    /// Only what is not older, as 2026-11-30T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Only what is older.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Only what a tenant's keys did, or were refused.
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Only what one key did, or was refused, by its id.
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,
    /// Only what was done.
    #[arg(long, conflicts_with = "refused")]
    done: bool,
    /// Only what was refused.
    #[arg(long)]
    refused: bool,
    /// How many at most.
    #[arg(long, default_value_t = 50, value_name = "NUMBER")]
    limit: usize,
    #[command(flatten)]
    server: Server,
}

/// Shows the audit trail, the newest first.
///
/// # Errors
/// A sentence that says what failed.
pub fn run(audit: &Audit) -> Result<ExitCode> {
    serving::run(async {
        let outcome = (audit.done || audit.refused).then(|| audit.refused.to_string());
        let given = [
            ("from", &audit.from),
            ("to", &audit.to),
            ("tenant", &audit.tenant),
            ("key", &audit.key_id),
            ("refused", &outcome),
        ];
        let wanted: Vec<(&str, &str)> =
            given.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
        let (entries, next) = audit.server.pages(&["audit"], &wanted, "entries", audit.limit).await?;
        if audit.server.json {
            table::json(&json!({ "entries": entries, "next": next }))?;
            return Ok(ExitCode::SUCCESS);
        }
        let row = |entry: &Value| {
            let mut row: Vec<String> =
                ["at", "tenant", "key", "address", "outcome", "what"].map(|field| table::text(&entry[field])).to_vec();
            if let (Some(what), Some(count)) = (row.last_mut(), entry["count"].as_u64().filter(|count| *count > 1)) {
                what.push_str(&format!(" ({count} times)"));
            }
            if let (Some(what), Some(object)) = (row.last_mut(), entry["object"].as_str())
                && entry["outcome"] == "refused"
            {
                what.push_str(&format!(": {object}"));
            }
            row
        };
        let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
        table::rows(&["at", "tenant", "key", "from", "outcome", "what"], &rows)?;
        Ok(ExitCode::SUCCESS)
    })
}
