//! `yield` and `yield from`.

use super::Run;
use crate::evaluation::operators;
use crate::values::exceptions::Kind;
use crate::values::generator::Resumed;
use crate::values::host::Args;
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
        let mut sent: Result<Value, Raise> = Ok(Value::None);
        loop {
            let resumed = match (&generator, sent) {
                (Some(generator), Err(raise)) if raise.is(Kind::GeneratorExit) => {
                    self.machine.settle(generator.close(self.machine)?).await?;
                    return Err(raise);
                }
                (Some(generator), sent) => generator.resume(self.machine, sent).await?,
                (None, sent) => self.hand_on(&iterator, sent).await?,
            };
            match resumed {
                Resumed::Yielded(value) => sent = self.yields(value).await,
                Resumed::Returned(value) => return Ok(value),
            }
        }
    }

    /// Hands what came in to an iterator that is no generator of this evaluator.
    async fn hand_on(self, iterator: &Value, sent: Result<Value, Raise>) -> Result<Resumed, Raise> {
        let machine = self.machine;
        let result = match sent {
            Ok(Value::None) => match operators::next(machine, iterator)? {
                Some(outcome) => machine.settle(outcome).await,
                None => return Ok(Resumed::Returned(Value::None)),
            },
            Ok(value) => {
                let send = machine.get_attribute(iterator, "send").await?;
                machine.call(&send, Args::of([value])).await
            }
            Err(raise) if raise.is(Kind::GeneratorExit) => {
                if let Some(close) = operators::attribute_if_any(machine, iterator, "close").await? {
                    machine.call(&close, Args::default()).await?;
                }
                return Err(raise);
            }
            Err(raise) => match (operators::attribute_if_any(machine, iterator, "throw").await?, raise.value()) {
                (Some(throw), Some(exception)) => machine.call(&throw, Args::of([exception])).await,
                _ => return Err(raise),
            },
        };
        match result {
            Ok(value) => Ok(Resumed::Yielded(value)),
            Err(raise) if raise.is(Kind::StopIteration) => {
                let value = match raise.value() {
                    Some(stopped) => operators::attribute_if_any(machine, &stopped, "value").await?,
                    None => None,
                };
                Ok(Resumed::Returned(value.unwrap_or(Value::None)))
            }
            Err(raise) => Err(raise),
        }
    }
}
