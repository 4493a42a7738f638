//! Workers that die and come back, each on a line of its own.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::history::History;
use super::models;
use super::network::{Line, Network};

/// The workers of a simulation, by number.
pub struct Workers {
    /// Where they dial.
    schedulers: Vec<String>,
    network: Arc<Network>,
    history: Arc<History>,
    all: Vec<Worker>,
}

struct Worker {
    task: Option<JoinHandle<Result<(), worker::Error>>>,
    /// When it is to start.
    back: Option<Instant>,
}

impl Workers {
    /// Makes so many, which start at once.
    pub fn new(count: usize, schedulers: Vec<String>, network: &Arc<Network>, history: &Arc<History>) -> Self {
        let all = (0..count).map(|_| Worker { task: None, back: Some(Instant::now()) }).collect();
        Self { schedulers, network: Arc::clone(network), history: Arc::clone(history), all }
    }

    /// Starts those whose time has come.
    pub fn mend(&mut self) {
        for number in 0..self.all.len() {
            if self.all[number].back.is_some_and(|back| back <= Instant::now()) {
                self.all[number] = Worker { task: Some(self.start(number)), back: None };
            }
        }
    }

    /// Ends one as a crash would, until an instant.
    pub async fn kill(&mut self, number: usize, back: Instant) {
        let dead = Worker { task: None, back: Some(back) };
        if let Some(task) = std::mem::replace(&mut self.all[number], dead).task {
            task.abort();
            // It is gone before anybody can look.
            let ended = task.await;
            assert!(matches!(&ended, Err(error) if error.is_cancelled()), "a worker ended by itself: {ended:?}");
        }
    }

    fn start(&self, number: usize) -> JoinHandle<Result<(), worker::Error>> {
        let config = worker::Config::new(self.schedulers.clone(), "token".into(), format!("w{number}"));
        let config = worker::Config { slots: 4, ..config };
        let dial = Line { network: Arc::clone(&self.network), worker: number };
        let host = models::host(Arc::clone(&self.history), config.instance.clone());
        tokio::spawn(worker::run_over(config, Arc::new(dial), host))
    }
}
