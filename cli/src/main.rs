//! The `vitrine` program: what operators and laptop users type.

mod backend;
mod cert;
mod config;
mod data;
mod environment;
mod home;
mod hosted;
mod key;
mod listen;
mod model;
mod progress;
mod role;
mod serving;
mod signals;
mod supervise;
mod telemetry;
mod up;

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
    /// Give people keys to a cluster.
    #[command(subcommand)]
    Key(key::Command),
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
        Command::Key(command) => key::run(&command),
        Command::Cert(command) => cert::run(&command),
    }
}
