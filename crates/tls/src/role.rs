//! The parts of a cluster.

use std::fmt;

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Gateway,
    Scheduler,
    Worker,
    Etcd,
    Objects,
}

impl Role {
    pub const ALL: [Self; 5] = [Self::Gateway, Self::Scheduler, Self::Worker, Self::Etcd, Self::Objects];

    /// Returns the name by which people and files call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Scheduler => "scheduler",
            Self::Worker => "worker",
            Self::Etcd => "etcd",
            Self::Objects => "objects",
        }
    }

    /// Returns the name that stands for it among a certificate's alternative names.
    #[must_use]
    pub fn dns(self) -> &'static str {
        match self {
            Self::Gateway => "gateway.vitrine.internal",
            Self::Scheduler => "scheduler.vitrine.internal",
            Self::Worker => "worker.vitrine.internal",
            Self::Etcd => "etcd.vitrine.internal",
            Self::Objects => "objects.vitrine.internal",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
