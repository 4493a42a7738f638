//! What a person sees while they wait: a bar on a terminal, plain lines elsewhere. All of it goes to stderr.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// Writes one line.
pub fn line(text: &str) {
    // Nobody is left to be told that stderr is closed.
    let _ = writeln!(stderr().lock(), "{text}");
}

/// One task that takes a while.
pub struct Bar {
    label: String,
    terminal: bool,
    /// When a plain line was written last, and at which tenth.
    last: Option<(Instant, u8)>,
    drawn: bool,
}

impl Bar {
    const WIDTH: usize = 30;
    /// Plain lines come no closer than this.
    const PACE: Duration = Duration::from_secs(1);

    /// Begins a task; nothing shows until its first update.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), terminal: stderr().is_terminal(), last: None, drawn: false }
    }

    /// Shows how far the task is, from 0 to 1.
    pub fn update(&mut self, fraction: f64) {
        let fraction = fraction.clamp(0.0, 1.0);
        if self.terminal {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most WIDTH")]
            let full = (fraction * Self::WIDTH as f64) as usize;
            let (full, empty) = ("█".repeat(full), "░".repeat(Self::WIDTH - full));
            let _ = write!(stderr().lock(), "\r\x1b[2K{} {full}{empty} {:3.0}%", self.label, fraction * 100.0);
            self.drawn = true;
            return;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 10")]
        let tenth = (fraction * 10.0) as u8;
        let due = self.last.is_none_or(|(at, shown)| tenth > shown && at.elapsed() >= Self::PACE);
        if due {
            self.last = Some((Instant::now(), tenth));
            line(&format!("{} {}%", self.label, u32::from(tenth) * 10));
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(stderr().lock(), "\r\x1b[2K");
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}
