//! A thread with a runtime of its own, for what must not wait behind anything else.

use std::thread::JoinHandle;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// The thread. Dropping it ends what runs there.
pub struct Home {
    handle: Handle,
    leave: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Home {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has none to give.
    pub fn new(name: &'static str, stack_bytes: usize) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().thread_stack_size(stack_bytes).build();
        let runtime = runtime.with_context(|| format!("cannot start the {name}'s runtime"))?;
        let (handle, leave) = (runtime.handle().clone(), CancellationToken::new());
        let left = leave.clone();
        let thread = std::thread::Builder::new().name(name.into()).stack_size(stack_bytes).spawn(move || {
            runtime.block_on(left.cancelled());
            // Blocking tasks that still run hold nothing that a crash would lose.
            runtime.shutdown_background();
        });
        let thread = Some(thread.with_context(|| format!("cannot start the {name}'s thread"))?);
        Ok(Self { handle, leave, thread })
    }

    /// Runs something there to its end. What it spawns stays there.
    ///
    /// # Errors
    /// When it panics.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T> {
        self.handle.spawn(work).await.context("it panicked")
    }

    /// Lets something run there by itself.
    pub fn spawn(&self, work: impl Future<Output: Send> + Send + 'static) {
        self.handle.spawn(work);
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.leave.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a runtime's thread panicked");
        }
    }
}
