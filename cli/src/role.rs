//! The roles of a cluster, each a process.

pub mod gateway;
pub mod scheduler;

use anyhow::Result;
use clap::Args;
use config::Given;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The flags of either role.
#[derive(Args)]
pub struct Flags {
    #[command(flatten)]
    given: Given,
    /// Where those who dial it connect: clients for a gateway, workers for a scheduler [env: VITRINE_LISTEN].
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
}

impl Flags {
    fn load<T: Serialize + DeserializeOwned + Default>(&self) -> Result<T> {
        let named = self.listen.iter().map(|listen| ("listen".to_owned(), listen.clone())).collect();
        Ok(self.given.load(named)?)
    }
}
