//! A result that is there already, or a future of it.

use crate::evaluation::eval::Run;
use crate::values::host::{HostResult, Outcome};
use crate::values::raise::Raise;
use crate::values::suspension::Deep;
use crate::values::value::Value;

/// A result now or later.
pub(super) enum Now<'a, T = Value> {
    Done(T),
    Later(Deep<'a, Result<T, Raise>>),
}

impl<'a, T: 'a> Now<'a, T> {
    pub fn later(future: impl Future<Output = Result<T, Raise>> + 'a) -> Self {
        Self::Later(Deep::new(future))
    }

    /// Awaits it.
    pub async fn get(self) -> Result<T, Raise> {
        match self {
            Self::Done(value) => Ok(value),
            Self::Later(future) => future.await,
        }
    }
}

impl<'a> Run<'a> {
    /// Takes what an operation answered.
    #[inline]
    pub fn settle(self, result: HostResult) -> Result<Now<'a>, Raise> {
        match result? {
            Outcome::Ready(value) => Ok(Now::Done(value)),
            outcome => Ok(Now::Later(self.machine.settle(outcome).into())),
        }
    }
}
