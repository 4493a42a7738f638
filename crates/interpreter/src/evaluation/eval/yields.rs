//! `yield` and `yield from`.

use super::Run;
use crate::evaluation::operators;
use crate::values::generator::Resumed;
use crate::values::raise::Raise;
use crate::values::value::Value;

impl Run<'_> {
    /// Hands a value to whoever runs this generator, and takes what is sent back.
    pub(super) async fn yields(self, value: Value) -> Result<Value, Raise> {
        match &self.frame.channel {
            Some(channel) => channel.yields(value).await,
            None => Err(Raise::runtime_error("'yield' outside function")),
        }
    }

    pub(super) async fn yield_from(self, value: &Value) -> Result<Value, Raise> {
        let iterator = self.settle(operators::iterate(self.machine, value))?.get().await?;
        let generator = match &iterator {
            Value::Iterator(iterator) => iterator.as_generator().cloned(),
            _ => None,
        };
        let Some(generator) = generator else {
            while let Some(value) = self.advance(&iterator).await? {
                self.yields(value).await?;
            }
            return Ok(Value::None);
        };
        let mut sent = Ok(Value::None);
        loop {
            match generator.resume(self.machine, sent).await? {
                Resumed::Yielded(value) => sent = self.yields(value).await,
                Resumed::Returned(value) => return Ok(value),
            }
        }
    }
}
