//! What an engine may take of its machine, and how long one job may keep others waiting.

use std::time::Duration;

use interpreter::Pool;

/// The settings of an engine. The defaults are for tests: a worker has its own.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What its metrics call the model. Default: nothing.
    pub model: String,
    /// How long a job's own code may keep those waiting that it shares passes with. Where only steps count, what shares a
    /// pass does not depend on the machine, and neither do last bits.
    pub slice: Duration,
    /// Tokens of one forward pass beyond which no further trace joins it.
    pub pass_tokens: i64,
    /// Tokens of one pass beyond which no other job joins it, [`Settings::pass_tokens`] at most. Where more together are no
    /// less work, fewer have each wait for less.
    pub shared_tokens: i64,
    /// Tokens of a pass beyond which it gives way to shorter ones between two layers.
    pub long_tokens: i64,
    /// Bytes of one forward pass, as the model estimates them, beyond which no further trace joins it.
    pub pass_bytes: u64,
    /// Bytes of all passes together that give way to others, and are under way at one time. One that takes more has them
    /// to itself.
    pub long_bytes: u64,
    /// What is kept of rows for later passes: engines of one worker have one pool.
    pub kept: Pool,
    /// What jobs hold together: engines of one worker have one pool.
    pub memory: Pool,
    /// Traces of one session that wait for each other at most: their states are held together.
    pub waiting_traces: usize,
    /// Jobs and passes that have a stack of their own at one time; further ones wait. A tenant has a quarter of them.
    pub lanes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: String::new(),
            slice: Duration::from_millis(25),
            pass_tokens: 4096,
            shared_tokens: 4096,
            long_tokens: 4096,
            pass_bytes: 2 << 30,
            long_bytes: 4 << 30,
            kept: Pool::new(1 << 30),
            memory: Pool::default(),
            waiting_traces: 1024,
            lanes: 64,
        }
    }
}
