//! `vitrine doctor`: what is wrong between here and a server, and what to do.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use crate::remote::Server;
use crate::{quota, serving, table};

#[derive(Args)]
pub struct Doctor {
    #[command(flatten)]
    server: Server,
}

/// A key that ends sooner should be replaced.
const SOON: Duration = Duration::from_secs(7 * 24 * 3600);

/// What one look found: a sentence, and whether something is to be done.
struct Finding {
    fine: bool,
    sentence: String,
}

fn fine(sentence: impl Into<String>) -> Finding {
    Finding { fine: true, sentence: sentence.into() }
}

fn wrong(sentence: impl Into<String>) -> Finding {
    Finding { fine: false, sentence: sentence.into() }
}

/// Looks at everything that can be looked at, and says what it found. Ends with 1 where something is to be done.
///
/// # Errors
/// When stdout is closed.
pub fn run(doctor: &Doctor) -> Result<ExitCode> {
    serving::run(async {
        let findings = look(&doctor.server).await;
        let well = findings.iter().all(|finding| finding.fine);
        if doctor.server.json {
            let shown =
                findings.iter().map(|it| json!({ "fine": it.fine, "finding": it.sentence })).collect::<Vec<_>>();
            table::json(&json!({ "well": well, "findings": shown }))?;
        } else {
            for Finding { fine, sentence } in &findings {
                serving::say(&format!("{}  {sentence}", if *fine { "ok  " } else { "fix " }))?;
            }
        }
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

async fn look(server: &Server) -> Vec<Finding> {
    let mut found = Vec::new();
    let host = server.address();
    match server.plain("healthz").await {
        Ok(_) => found.push(fine(format!("a server answers at {host}"))),
        Err(error) => {
            found.push(wrong(format!("{error:#}")));
            return found;
        }
    }
    if let Ok(Some(certificate)) = server.certificate().await {
        found.extend(certified(&certificate));
    }
    match server.plain("readyz").await {
        Ok(_) => found.push(fine("it takes jobs")),
        Err(error) => found.push(wrong(format!("it takes no jobs at the moment: {error:#}"))),
    }
    if let Ok(env) = server.plain("env").await {
        let (theirs, ours) = (table::text(&env["packages"]["vitrine"]), env!("CARGO_PKG_VERSION"));
        found.push(match theirs == ours {
            true => fine(format!("the server and this program are of one version, {ours}")),
            false => {
                wrong(format!("the server is Vitrine {theirs} and this program {ours}: use the same version of both"))
            }
        });
    }
    match server.plain("status").await {
        Ok(status) => found.extend(models(&status)),
        Err(error) => found.push(wrong(format!("the hosted models cannot be listed: {error:#}"))),
    }
    match server.ask(Method::GET, &["whoami"], None).await {
        Ok(whoami) => found.extend(key(&whoami)),
        Err(error) => found.push(wrong(format!("{error:#}"))),
    }
    if let Ok(answer) = server.ask(Method::GET, &["keys"], None).await {
        found.extend(ending(&answer));
    }
    found
}

/// Says until when the server's certificate is valid.
fn certified(certificate: &[u8]) -> Option<Finding> {
    let end = UNIX_EPOCH + Duration::from_secs(u64::try_from(tls::expiry::end(certificate)?).ok()?);
    let date = humantime::format_rfc3339_seconds(end);
    Some(match end.duration_since(SystemTime::now()) {
        Ok(left) if left >= tls::expiry::SOON => fine(format!("its certificate is valid until {date}")),
        _ => wrong(format!("its certificate ends at {date}: its operator is to renew it")),
    })
}

fn models(status: &Value) -> Vec<Finding> {
    let deployments: Vec<&Value> =
        status["deployments"].as_object().map(|all| all.values().collect()).unwrap_or_default();
    if deployments.is_empty() {
        return vec![wrong("no model is hosted: start the server with --model, or put models into its settings")];
    }
    let one = |model: &&Value| {
        let name = table::text(&model["repo_id"]);
        match model["application_state"].as_str() {
            Some("RUNNING") => fine(format!("{name} is ready")),
            Some("DEPLOYING") => {
                fine(format!("{name} waits for a worker or is being loaded; its jobs wait until it is ready"))
            }
            _ => wrong(format!("{name} cannot be served: the server's log says why")),
        }
    };
    deployments.iter().map(one).collect()
}

fn key(whoami: &Value) -> Vec<Finding> {
    let scopes = table::text(&whoami["scopes"]);
    let tenant = table::text(&whoami["tenant"]);
    if let Some(user) = whoami["user"].as_str() {
        // A notebook shows a key, and what a token may take is its tenant's.
        return vec![fine(format!("you are signed in as {user} of the tenant {tenant}, who may {scopes}"))];
    }
    let mut found = vec![fine(format!(
        "your key {} is one of the tenant {tenant} and permits {scopes}",
        table::text(&whoami["key"])
    ))];
    if !scopes.split(',').any(|scope| matches!(scope, "submit" | "admin")) {
        found.push(wrong("your key may not submit jobs: ask for one with the role researcher if you want to"));
    }
    if let Some(end) = whoami["expires_at"].as_str().filter(|end| soon(end)) {
        found.push(wrong(format!("your key ends at {end}: ask the operator for its successor")));
    }
    for (name, quota, used) in [("tenant", "quota", "used"), ("key", "key_quota", "key_used")] {
        for [what, bound, used] in quota::lines(&json!({ "quota": whoami[quota], "used": whoami[used] })) {
            let number = |text: &str| text.split(' ').next().and_then(|number| number.parse::<f64>().ok());
            if let (Some(bound), Some(used)) = (number(&bound), number(&used))
                && used >= 0.9 * bound
            {
                found.push(wrong(format!(
                    "your {name}'s quota of {what} is nearly used up, {used} of {bound}: wait, or ask the operator for more"
                )));
            }
        }
    }
    found
}

/// Says which keys of others end soon, to who may know.
fn ending(answer: &Value) -> Vec<Finding> {
    let ends = |key: &&Value| key["expires_at"].as_str().is_some_and(soon);
    let one = |key: &Value| {
        let (id, tenant, end) = (table::text(&key["id"]), table::text(&key["tenant"]), table::text(&key["expires_at"]));
        let next = match key["owner"].is_null() {
            true => format!("`vitrine key rotate {id}` makes its successor"),
            false => "`vitrine key create` makes another for who made it".into(),
        };
        wrong(format!("the key {id} of {tenant} ends at {end}: {next}"))
    };
    table::list(answer, "keys").iter().filter(ends).map(one).collect()
}

/// Returns whether a time is near, and not over.
fn soon(time: &str) -> bool {
    let left = humantime::parse_rfc3339(time).ok().and_then(|end| end.duration_since(SystemTime::now()).ok());
    left.is_some_and(|left| left < SOON)
}
