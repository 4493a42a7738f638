//! `vitrine tenant`: who keys, jobs and results belong to.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use ids::Class;
use reqwest::Method;
use serde_json::{Value, json};

use crate::remote::Server;
use crate::{progress, serving, table};

#[derive(Subcommand)]
pub enum Command {
    /// Make a tenant: a person or a group that shares its jobs and results, and shares them with nobody else.
    Create(Create),
    /// Show all tenants, those that are nothing but a name on keys, too.
    List(List),
    /// Show one tenant.
    Show(Named),
    /// Change what a tenant is to others.
    Set(Set),
    /// Refuse a tenant's keys from now on, within 5 seconds at every gateway. What runs goes on.
    Suspend(Named),
    /// Accept the keys of a suspended tenant again.
    Resume(Named),
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    server: Server,
}

#[derive(Args)]
pub struct Create {
    /// How urgent its jobs are [default: normal].
    #[arg(long, value_name = "high|normal|low")]
    class: Option<Class>,
    #[command(flatten)]
    named: Named,
}

#[derive(Args)]
pub struct Set {
    /// How urgent its jobs are that are accepted from now on.
    #[arg(long, value_name = "high|normal|low")]
    class: Class,
    #[command(flatten)]
    named: Named,
}

#[derive(Args)]
pub struct Named {
    /// The tenant's name: up to 63 lowercase letters, digits, '-', '.' and '_'.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    server: Server,
}

/// Runs a `vitrine tenant` command.
///
/// # Errors
/// A sentence that says what failed.
pub fn run(command: &Command) -> Result<ExitCode> {
    serving::run(async {
        match command {
            Command::Create(Create { class, named }) => {
                let body = json!({ "name": named.name, "class": class.map(Class::name) });
                let answer = named.ask(Method::POST, &["tenants"], Some(&body)).await?;
                let name = &named.name;
                named.tell(&answer, &format!("is there now; `vitrine key create --tenant {name}` makes a key of it"))
            }
            Command::List(list) => self::list(&list.server).await,
            Command::Show(named) => {
                let answer = named.ask(Method::GET, &["tenants", &named.name], None).await?;
                if named.server.json { table::json(&answer) } else { show(&answer) }
            }
            Command::Set(Set { class, named }) => {
                let answer = named.change(&json!({ "class": class.name() })).await?;
                named.tell(
                    &answer,
                    &format!("has the class {class}, which counts for jobs that are accepted from now on"),
                )
            }
            Command::Suspend(named) => {
                named.tell(&named.suspend(true).await?, "is suspended: its keys are refused, and what runs goes on")
            }
            Command::Resume(named) => named.tell(&named.suspend(false).await?, "is accepted again"),
        }?;
        Ok(ExitCode::SUCCESS)
    })
}

impl Named {
    async fn ask(&self, method: Method, path: &[&str], body: Option<&Value>) -> Result<Value> {
        self.server.ask(method, path, body).await
    }

    async fn suspend(&self, suspended: bool) -> Result<Value> {
        self.change(&json!({ "suspended": suspended })).await
    }

    async fn change(&self, body: &Value) -> Result<Value> {
        self.ask(Method::PATCH, &["tenants", &self.name], Some(body)).await
    }

    /// Says what was done.
    fn tell(&self, answer: &Value, what: &str) -> Result<()> {
        if self.server.json {
            return table::json(answer);
        }
        progress::line(&format!("the tenant {} {what}", self.name));
        Ok(())
    }
}

async fn list(server: &Server) -> Result<()> {
    let answer = server.ask(Method::GET, &["tenants"], None).await?;
    if server.json {
        return table::json(&answer);
    }
    let fields = ["name", "keys", "class", "created_at", "suspended_at"];
    let row = |tenant: &Value| fields.iter().map(|field| table::text(&tenant[*field])).collect();
    let rows: Vec<Vec<String>> = table::list(&answer, "tenants").iter().map(row).collect();
    table::rows(&["name", "keys", "class", "created", "suspended"], &rows)
}

fn show(tenant: &Value) -> Result<()> {
    let names = [
        ("name", "name"),
        ("keys", "keys"),
        ("class", "class"),
        ("created", "created_at"),
        ("suspended", "suspended_at"),
    ];
    table::fields(&names.map(|(name, field)| (name, table::text(&tenant[field]))))
}
