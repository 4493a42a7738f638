//! `vitrine usage`: what jobs came to.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use gateway::spreadsheet;
use serde_json::Value;

use crate::remote::Server;
use crate::{serving, table};

#[derive(Args)]
pub struct Usage {
    /// The first day, as 2026-11-01 [default: 29 days before the last].
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// The last day [default: today]. Days begin at 00:00 UTC.
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    /// Only what is a tenant's: your own, unless your key has the scope operate.
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// By what jobs are told apart: some of day, tenant, project, key and model, with commas between [default: all].
    #[arg(long, value_name = "NAMES")]
    by: Option<String>,
    /// Print comma-separated values.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    server: Server,
}

/// What is told of each group of jobs.
const FIGURES: [&str; 5] = ["jobs", "failed_jobs", "compute_seconds", "request_bytes", "result_bytes"];

/// Shows what jobs came to.
///
/// # Errors
/// A sentence that says what failed.
pub fn run(usage: &Usage) -> Result<ExitCode> {
    serving::run(async {
        let given = [("from", &usage.from), ("to", &usage.to), ("tenant", &usage.tenant), ("by", &usage.by)];
        let wanted: Vec<(&str, &str)> =
            given.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
        let answer = usage.server.search(&["usage"], &wanted).await?;
        if usage.server.json {
            table::json(&answer)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut heads: Vec<&str> = table::list(&answer, "by").iter().filter_map(Value::as_str).collect();
        heads.extend(FIGURES);
        let cell = |value: &Value| match value {
            Value::Null if usage.csv => String::new(),
            other => table::text(other),
        };
        let row = |row: &Value| heads.iter().map(|head| cell(&row[*head])).collect();
        let rows: Vec<Vec<String>> = table::list(&answer, "usage").iter().map(row).collect();
        if usage.csv {
            csv(&heads, &rows, std::io::stdout().lock()).context("cannot write to stdout")?;
        } else {
            let heads: Vec<String> = heads.iter().map(|head| head.replace('_', " ")).collect();
            table::rows(&heads.iter().map(String::as_str).collect::<Vec<_>>(), &rows)?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn csv(heads: &[&str], rows: &[Vec<String>], out: impl std::io::Write) -> Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(heads)?;
    for row in rows {
        writer.write_record(row.iter().map(|text| spreadsheet::cell(text).into_owned()))?;
    }
    Ok(writer.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_that_a_spreadsheet_would_compute_is_a_text_in_the_file() {
        let mut written = Vec::new();
        csv(
            &["project", "jobs"],
            &[vec!["=1+1".into(), "7".into()], vec!["probes".into(), "0.5".into()]],
            &mut written,
        )
        .unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), "project,jobs\n'=1+1,7\nprobes,0.5\n");
    }
}
