//! The `vitrine` program: what operators and laptop users type.

mod backend;
mod cert;
mod config;
mod data;
mod environment;
mod home;
mod hosted;
mod job;
mod key;
mod listen;
mod model;
mod probe;
mod progress;
mod remote;
mod role;
mod serving;
mod signals;
mod supervise;
mod table;
mod telemetry;
mod tenant;
mod up;
mod whoami;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Hosts open-weight language models, and lets many people look inside them with ordinary nnsight code.
#[derive(Parser)]
#[command(name = "vitrine", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    telemetry: telemetry::Options,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything in one process, for one machine.
    Up(Box<config::Flags>),
    /// Take requests and tell of jobs: one gateway of a cluster.
    Gateway(Box<role::Flags>),
    /// Decide which worker runs which job: one scheduler of a cluster, of which one leads.
    Scheduler(Box<role::Flags>),
    /// Bring models to this machine.
    #[command(subcommand)]
    Model(model::Command),
    /// Say who shares a server: make, show, suspend and resume tenants.
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// Give people keys: `create` at a running server, `add` in the store of a cluster that has no gateway yet.
    #[command(subcommand)]
    Key(key::Command),
    /// Look at jobs, and end them.
    #[command(subcommand)]
    Job(job::Command),
    /// Say whose API key this is and what it permits.
    Whoami(whoami::Whoami),
    /// Ask a process of this machine whether it is well: containers have no other program that could.
    Probe(probe::Probe),
    /// Make certificates.
    #[command(subcommand)]
    Cert(cert::Command),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::start(&cli.telemetry);
    let outcome = failpoints::arm().map_err(anyhow::Error::msg).and_then(|()| run(cli.command));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            progress::line(&format!("vitrine: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(flags) => up::run(&flags),
        Command::Gateway(flags) => role::gateway::run(&flags),
        Command::Scheduler(flags) => role::scheduler::run(&flags),
        Command::Model(command) => model::run(&command),
        Command::Tenant(command) => tenant::run(&command),
        Command::Key(command) => key::run(&command),
        Command::Job(command) => job::run(&command),
        Command::Whoami(whoami) => whoami::run(&whoami),
        Command::Probe(probe) => probe::run(&probe),
        Command::Cert(command) => cert::run(&command),
    }
}
