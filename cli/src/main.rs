//! The `vitrine` program: what operators and laptop users type.

mod model;
mod progress;
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
    Up(up::Options),
    /// Bring models to this machine.
    #[command(subcommand)]
    Model(model::Command),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::start(&cli.telemetry);
    let outcome = match cli.command {
        Command::Up(options) => up::run(options),
        Command::Model(command) => model::run(&command),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            progress::line(&format!("vitrine: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
