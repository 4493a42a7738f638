//! The places.

/// A place between two steps of which the first is done for good, in the order of a job's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Gateway: a payload is an object, and no job names it yet.
    PayloadKept,
    /// Gateway: a job is committed, and its client not answered.
    Accepted,
    /// Gateway: that a job is to be cancelled is committed, and who asked for it not answered.
    CancelCommitted,
    /// Gateway: a result's link is signed, and not told.
    ResultLinked,
    /// Scheduler: it holds a lease, and has not voted.
    LeaseGranted,
    /// Scheduler: it is elected, and does not know it.
    Elected,
    /// Scheduler: its start is counted, and nothing was taken up.
    EpochCounted,
    /// Scheduler: a worker is on the roster, and not welcomed.
    WorkerEntered,
    /// Scheduler: what to do is decided, and not committed.
    Decided,
    /// Scheduler: that a job is given out is committed, and the worker not told.
    AssignmentCommitted,
    /// Scheduler: the end of a job was heard, and is not committed.
    EndHeard,
    /// Scheduler: the end is committed, and neither the worker told nor an object removed.
    OutcomeCommitted,
    /// Scheduler: a swept job's objects are removed, and its records not.
    ObjectsRemoved,
    /// Scheduler: a swept job's records are removed, and its place among those to be swept, too.
    RecordsRemoved,
    /// Worker: a job was given to it, and is not begun.
    AssignmentHeard,
    /// Worker: a result is an object, and not told of.
    ResultKept,
    /// Worker: an end is on its way to the scheduler, and not settled.
    EndTold,
    /// Worker: it hears that the end is settled, and has not forgotten it.
    SettledHeard,
}

impl Point {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::PayloadKept,
        Self::Accepted,
        Self::CancelCommitted,
        Self::ResultLinked,
        Self::LeaseGranted,
        Self::Elected,
        Self::EpochCounted,
        Self::WorkerEntered,
        Self::Decided,
        Self::AssignmentCommitted,
        Self::EndHeard,
        Self::OutcomeCommitted,
        Self::ObjectsRemoved,
        Self::RecordsRemoved,
        Self::AssignmentHeard,
        Self::ResultKept,
        Self::EndTold,
        Self::SettledHeard,
    ];

    /// Returns the name under which it is chosen.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PayloadKept => "payload-kept",
            Self::Accepted => "accepted",
            Self::CancelCommitted => "cancel-committed",
            Self::ResultLinked => "result-linked",
            Self::LeaseGranted => "lease-granted",
            Self::Elected => "elected",
            Self::EpochCounted => "epoch-counted",
            Self::WorkerEntered => "worker-entered",
            Self::Decided => "decided",
            Self::AssignmentCommitted => "assignment-committed",
            Self::EndHeard => "end-heard",
            Self::OutcomeCommitted => "outcome-committed",
            Self::ObjectsRemoved => "objects-removed",
            Self::RecordsRemoved => "records-removed",
            Self::AssignmentHeard => "assignment-heard",
            Self::ResultKept => "result-kept",
            Self::EndTold => "end-told",
            Self::SettledHeard => "settled-heard",
        }
    }
}
