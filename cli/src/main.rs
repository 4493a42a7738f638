//! The `vitrine` program: what operators and laptop users type.

mod apply;
mod audit;
mod backend;
mod by_grpc;
mod canary;
mod cert;
mod check;
mod config;
mod data;
mod doctor;
mod environment;
mod home;
mod hosted;
mod job;
mod key;
mod listen;
mod login;
mod model;
mod node;
mod probe;
mod progress;
mod quota;
mod remote;
mod role;
mod serving;
mod signals;
mod status;
mod supervise;
mod table;
mod tenant;
mod top;
mod up;
mod usage;
mod whoami;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Hosts open-weight language models, and lets many people look inside them with ordinary nnsight code.
#[derive(Parser)]
#[command(name = "vitrine", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten, next_help_heading = "Logs and traces")]
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
    /// Host models on a running server, and bring models to this machine.
    #[command(subcommand)]
    Model(model::Command),
    /// Look at the workers of a server, and take them out of service.
    #[command(subcommand)]
    Node(node::Command),
    /// Say how a server is: its workers, its models, and what waits. Ends with 1 where something is wrong.
    Status(status::Status),
    /// Watch a server: who waits for what, its models, how full its workers are. q ends it.
    Top(top::Top),
    /// Say who shares a server: make, show, suspend and resume tenants.
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// Give people keys: `create` at a running server, `add` in the store of a cluster that has no gateway yet.
    #[command(subcommand)]
    Key(key::Command),
    /// Say what a script's request would do, what it would cost and what is wrong with it, before any of it runs.
    #[command(long_about = check::ABOUT)]
    Check(check::Check),
    /// The same, with what depends on what.
    #[command(long_about = check::ABOUT)]
    Explain(check::Check),
    /// Look at jobs, and end them.
    #[command(subcommand)]
    Job(job::Command),
    /// Say whose API key this is and what it permits.
    Whoami(whoami::Whoami),
    /// Say how much a tenant or a key may take.
    #[command(subcommand)]
    Quota(quota::Command),
    /// Show what jobs came to, by tenant, project, key, model and day.
    Usage(usage::Usage),
    /// Show what was done and what was refused, by whom, when and from where.
    Audit(audit::Audit),
    /// Make models, tenants, quotas and keys what a file says.
    Apply(apply::Apply),
    /// Keep a server's address and an API key for the commands that follow.
    Login(login::Command),
    /// Look at what is wrong between here and a server, and say what to do.
    Doctor(doctor::Doctor),
    /// Print what makes a shell complete these commands.
    Completions(Completions),
    /// Ask a process of this machine whether it is well: containers have no other program that could.
    Probe(probe::Probe),
    /// Send each model a small program again and again, as any client does, and show what came of it.
    Canary(canary::Canary),
    /// Make certificates.
    #[command(subcommand)]
    Cert(cert::Command),
}

#[derive(clap::Args)]
struct Completions {
    #[arg(value_name = "SHELL")]
    shell: clap_complete::Shell,
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
        Command::Node(command) => node::run(&command),
        Command::Status(status) => status::run(&status),
        Command::Top(top) => top::run(&top),
        Command::Tenant(command) => tenant::run(&command),
        Command::Key(command) => key::run(&command),
        Command::Check(check) => check::run(&check, false),
        Command::Explain(check) => check::run(&check, true),
        Command::Job(command) => job::run(&command),
        Command::Whoami(whoami) => whoami::run(&whoami),
        Command::Quota(command) => quota::run(&command),
        Command::Usage(usage) => usage::run(&usage),
        Command::Audit(audit) => audit::run(&audit),
        Command::Apply(apply) => apply::run(&apply),
        Command::Login(command) => login::run(&command),
        Command::Doctor(doctor) => doctor::run(&doctor),
        Command::Completions(Completions { shell }) => {
            clap_complete::generate(shell, &mut Cli::command(), "vitrine", &mut std::io::stdout().lock());
            Ok(ExitCode::SUCCESS)
        }
        Command::Probe(probe) => probe::run(&probe),
        Command::Canary(canary) => canary::run(&canary),
        Command::Cert(command) => cert::run(&command),
    }
}
