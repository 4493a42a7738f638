//! What a program finds of a model, and of the libraries that come with it.

use std::any::Any;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{Args, Effect, Machine, Use, Value};

use crate::arithmetic::Arithmetic;
use crate::model::{Attention, Parameter, Site, Tokenizer};

/// Modules that programs call, their attributes, objects of the model's own, and importable names.
pub trait Namespace: Arithmetic {
    fn tokenizer(&self) -> Rc<dyn Tokenizer>;

    /// Returns the cache behind a Python value, for [`Segment::cache`](crate::Segment::cache): it grows as the caller's own.
    fn given_cache(&self, _value: &Value) -> Option<Box<dyn Any>> {
        None
    }

    /// Makes a cache of keys and values of each layer that a request brings.
    ///
    /// # Errors
    /// When the model has no such caches, or there is no room.
    fn cache_of(&self, _layers: Vec<(Self::Tensor, Self::Tensor)>) -> Result<Value, Raise> {
        Err(Raise::value_error("the model takes no caches"))
    }

    /// Runs one module on a user's own tensors, shaped as Hugging Face shapes them (`model.lm_head(h)` in a block).
    ///
    /// # Errors
    /// The exception that the module would raise.
    fn call_module(&self, machine: &Machine, site: Site, args: &Args, attention: Attention) -> Result<Value, Raise>;

    /// Reads a plain attribute of a module: a weight (read-only), a buffer, `head_dim`, `config`, `training`.
    /// `None` where the Hugging Face module has no such attribute.
    fn attribute(&self, machine: &Machine, site: Site, name: &str) -> Option<Value>;

    /// Lists a module's own parameters, in the order of Hugging Face's `named_parameters()`.
    fn parameters(&self, _site: Site) -> Vec<Parameter> {
        Vec::new()
    }

    /// Says what using a name does of any of the objects that the model and its tensors have, where the object that is
    /// meant is not known yet; `None` where none has the name. What may do harm in one must be said to.
    fn effect(&self, machine: &Machine, name: &str, usage: Use<'_>) -> Option<Effect>;

    /// Shows a leaf that is no tensor to Python, for example a cache, as the job of one part sees it.
    fn object(&self, machine: &Machine, object: &Rc<dyn Any>, part: usize) -> Value;

    /// Turns a Python value that the model made by [`Namespace::object`] into plain data for a result.
    fn object_data(&self, value: &Value, heap: &mut program::Heap) -> Option<program::Ref>;

    /// Finds an importable module for the user's code: `torch`, `torch.nn.functional`, `einops`.
    fn import(&self, machine: &Machine, module: &str) -> Option<Value>;

    /// Finds an importable object that a request refers to by name: `torch` `float32`.
    fn global(&self, machine: &Machine, module: &str, name: &str) -> Option<Value>;

    /// Rebuilds an object of an importable class from a request, for example `torch.nn.modules.linear.Linear`.
    fn instance(
        &self,
        machine: &Machine,
        class: &str,
        args: &[Value],
        state: Option<&Value>,
    ) -> Option<Result<Value, Raise>>;

    /// Returns what an operator with named results returned: the name in `torch.return_types`, and the results.
    fn named_result(&self, _value: &Value) -> Option<(String, Vec<Value>)> {
        None
    }

    /// Turns a value of the host (dtype, size, array) into plain data for a result; tensors go through [`Tensor`](crate::Tensor).
    fn value_data(&self, value: &Value, heap: &mut program::Heap) -> Option<Result<program::Ref, Raise>>;
}
