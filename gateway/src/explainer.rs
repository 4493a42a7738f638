//! Says what a model's programs would do, by what is known of the model.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use explain::{Explanation, Outline, Question};
use ids::ModelKey;
use program::{Checked, Limits, Program};

use crate::spool::HELD;
use crate::{Error, Gateway};

/// Bytes of the largest program that is drawn, and kept for that when its job has ended.
const DRAWN: u64 = 8 * HELD as u64;

/// Returns whether a stored program holds no more than a drawing is worth. What is stored may be far smaller than that.
#[must_use]
pub fn drawable(stored: &[u8]) -> bool {
    program::frame::content(stored).is_ok_and(|holds| holds <= DRAWN)
}

/// Explains one model's programs.
pub struct Explainer {
    gateway: Arc<Gateway>,
    outline: Option<Bytes>,
    folder: PathBuf,
}

impl Explainer {
    /// Looks up what is known of a model.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn of(gateway: &Arc<Gateway>, model: &ModelKey) -> Result<Self, Error> {
        let outline = gateway.models.stored().outline(model).await?;
        let folder = gateway.models.get(model).await?.map(|record| record.folder).unwrap_or_default();
        Ok(Self { gateway: Arc::clone(gateway), outline, folder })
    }

    /// Says what a program would do, all but who is before it. That takes a while: it is for threads that may be stopped.
    pub fn explain(&self, program: &Checked<Program>, limits: &Limits) -> Explanation {
        // One that another version wrote is as none.
        let outline = self.outline.as_ref().and_then(|encoded| Outline::decode(encoded).ok());
        let tokens = |text: &str| self.gateway.tokenizers.count(&self.folder, text);
        explain::explain(program, &Question { outline: outline.as_ref(), limits, tokens: &tokens, queue: None })
    }
}
