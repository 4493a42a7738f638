//! `vitrine top`: a server at a glance, again and again.

mod screen;

use std::io::{IsTerminal, stdin, stdout};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures::StreamExt;
use ratatui::DefaultTerminal;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::remote::Server;
use crate::{serving, table};
use screen::Screen;

#[derive(Args)]
pub struct Top {
    /// Print one frame as text, and end.
    #[arg(long)]
    once: bool,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 2, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    #[command(flatten)]
    server: Server,
}

/// How a server was at one time.
pub struct Seen {
    lines: Vec<Value>,
    models: Vec<Value>,
    nodes: Vec<Value>,
    /// Gateways and schedulers, and their certificates.
    roles: Vec<Value>,
}

impl Seen {
    async fn of(server: &Server) -> Result<Self> {
        let ask = async |name: &str| -> Result<Value> { server.ask(Method::GET, &[name], None).await };
        let (queue, models, nodes) = tokio::try_join!(ask("queue"), ask("models"), ask("nodes"))?;
        let list = |answer: &Value, name: &str| table::list(answer, name).to_vec();
        Ok(Self {
            lines: list(&queue, "lines"),
            models: list(&models, "models"),
            nodes: list(&nodes, "nodes"),
            roles: list(&nodes, "roles"),
        })
    }

    async fn after(server: &Server, pause: Duration) -> Result<Self> {
        sleep(pause).await;
        Self::of(server).await
    }
}

/// Runs `vitrine top`.
///
/// # Errors
/// A sentence that says what failed.
pub fn run(top: &Top) -> Result<ExitCode> {
    serving::run(async {
        let drawn = stdin().is_terminal() && stdout().is_terminal();
        if !drawn && !top.once && !top.server.json {
            bail!(
                "there is no terminal to draw on; `vitrine top --once` prints one frame, and --json the same for scripts"
            );
        }
        // Whoever may not ask is told so before the screen is taken.
        let seen = Seen::of(&top.server).await?;
        if top.server.json {
            table::json(&json!({ "queue": seen.lines, "models": seen.models, "nodes": seen.nodes }))?;
        } else if top.once {
            screen(top, &seen).text().iter().try_for_each(|line| serving::say(line))?;
        } else {
            let mut terminal = ratatui::try_init().context("cannot draw on this terminal")?;
            let ended = follow(&mut terminal, top, seen).await;
            ratatui::restore();
            ended?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn screen<'a>(top: &'a Top, seen: &'a Seen) -> Screen<'a> {
    Screen { host: top.server.address(), seen, live: false, age: Duration::ZERO, failed: None }
}

/// Draws until somebody has seen enough.
async fn follow(terminal: &mut DefaultTerminal, top: &Top, mut seen: Seen) -> Result<()> {
    let pause = Duration::from_secs(top.every);
    let mut keys = EventStream::new();
    // So that one sees that nothing comes.
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut at, mut failed) = (Instant::now(), None::<String>);
    let mut next = Box::pin(Seen::after(&top.server, pause));
    loop {
        let late = at.elapsed().saturating_sub(pause) > pause + Duration::from_secs(1);
        let age = if late { at.elapsed() } else { Duration::ZERO };
        let screen = Screen { live: true, age, failed: failed.as_deref(), ..screen(top, &seen) };
        terminal.draw(|frame| frame.render_widget(&screen, frame.area())).context("cannot draw on this terminal")?;
        tokio::select! {
            event = keys.next() => match event {
                Some(Ok(Event::Key(key))) if ends(&key) => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error).context("cannot read from this terminal"),
                None => return Ok(()),
            },
            looked = &mut next => {
                match looked {
                    Ok(looked) => (seen, at, failed) = (looked, Instant::now(), None),
                    Err(error) => failed = Some(format!("{error:#}")),
                }
                next = Box::pin(Seen::after(&top.server, pause));
            }
            _ = seconds.tick() => {}
        }
    }
}

fn ends(key: &KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && (matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) || (control && key.code == KeyCode::Char('c')))
}
