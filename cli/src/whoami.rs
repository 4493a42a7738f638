//! `vitrine whoami`: whose key this is, or who is signed in.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use reqwest::Method;

use crate::remote::Server;
use crate::{quota, serving, table};

#[derive(Args)]
pub struct Whoami {
    #[command(flatten)]
    server: Server,
}

/// Says whose key this is and what it permits.
///
/// # Errors
/// A sentence that says what failed.
pub fn run(whoami: &Whoami) -> Result<ExitCode> {
    serving::run(async {
        let answer = whoami.server.ask(Method::GET, &["whoami"], None).await?;
        if whoami.server.json {
            table::json(&answer)?;
        } else {
            let names = [
                ("tenant", "tenant"),
                ("key", "key"),
                ("project", "project"),
                ("scopes", "scopes"),
                ("class", "class"),
                ("expires", "expires_at"),
                ("models", "models"),
            ];
            let mut fields = names.map(|(name, field)| (name, table::text(&answer[field]))).to_vec();
            if answer["models"].is_null() {
                fields.pop();
            }
            if !answer["user"].is_null() {
                fields.insert(0, ("user", table::text(&answer["user"])));
            }
            let bounded = quota::lines(&answer).into_iter().filter(|[_, bound, _]| bound != "-");
            fields.extend(bounded.map(|[what, bound, used]| ("quota", format!("{what}: {used} of {bound}"))));
            table::fields(&fields)?;
        }
        Ok(ExitCode::SUCCESS)
    })
}
