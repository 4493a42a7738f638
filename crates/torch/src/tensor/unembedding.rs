//! Logits that are computed when somebody uses them, and only where.

use std::cell::RefCell;
use std::rc::Rc;

use interpreter::raise::Raise;
use interpreter::{HostResult, Machine, Outcome, Request, Value};
use kernels::{Moment, Products, Weight, as_one, number};
use tch::TchError;

use super::{Tensor, index};
use crate::deferred::Deferred;
use crate::job::{Job, Paying};

/// The matrix that makes logits of hidden states.
pub struct Head {
    /// `[vocabulary, width]`.
    pub weight: Rc<Weight>,
    pub bias: Option<tch::Tensor>,
    /// What others ask for at the same moment is multiplied too, so that no bits may depend on how many rows there are.
    pub products: Products,
    /// Logits are kept below this by way of tanh.
    pub cap: Option<f64>,
}

impl Head {
    fn product(&self, hidden: &tch::Tensor) -> Result<tch::Tensor, TchError> {
        self.capped(self.uncapped(hidden)?)
    }

    fn uncapped(&self, hidden: &tch::Tensor) -> Result<tch::Tensor, TchError> {
        self.products.linear_in_pieces(hidden, &self.weight, self.bias.as_ref())
    }

    fn capped(&self, product: tch::Tensor) -> Result<tch::Tensor, TchError> {
        match self.cap {
            Some(cap) => number::multiply(&number::divide(&product, cap)?.f_tanh()?, cap),
            None => Ok(product),
        }
    }

    /// Makes a product that was computed among others, uncapped, the outcome of its own hidden states, where gradients are
    /// recorded of these.
    fn own(&self, hidden: &tch::Tensor, product: &tch::Tensor, moment: Moment) -> Result<tch::Tensor, TchError> {
        // A copy: a view would keep everybody's logits alive.
        let copy = tch::Tensor::f_cat(&[product], 0)?;
        let own = match hidden.requires_grad() {
            true => self.products.record(hidden, &self.weight, &copy, moment)?,
            false => copy,
        };
        self.capped(own)
    }

    /// Computes one column, without its dimension. Whoever asks for it has it to himself.
    fn column(&self, hidden: &tch::Tensor, at: i64) -> Result<tch::Tensor, TchError> {
        let bias = self.bias.as_ref().map(|bias| bias.f_narrow(0, at, 1)).transpose()?;
        self.capped(hidden.f_linear(&self.weight.rows(at, 1)?, bias.as_ref())?.f_squeeze_dim(-1)?)
    }
}

/// A product `hidden · weightᵀ + bias` that is not computed yet.
pub struct Unembedding {
    /// `[rows, length, width]`, which nobody writes to.
    hidden: tch::Tensor,
    head: Rc<Head>,
    /// The product of which this is some rows, and the first of them: writing here must reach there.
    whole: Option<(Tensor, i64)>,
    /// What was selected and computed already: somebody may have written to it.
    selected: RefCell<Vec<Selected>>,
    /// What nobody has selected yet, but blocks of other rows are about to.
    ahead: RefCell<Vec<Ahead>>,
    /// Whose gradients are recorded.
    recorder: Option<Rc<Job>>,
}

/// What the same key selects of other rows: blocks of one trace mostly ask for the same, one after another, and one
/// product for all is little more work than the first one's.
struct Ahead {
    rows: (i64, i64),
    key: Vec<Value>,
    /// `[…, width]`, and then `[…, vocabulary]`.
    states: tch::Tensor,
}

/// Rows of others that are computed with a block's.
const AHEAD: usize = 64;

struct Selected {
    /// First row and number of rows that the key counts in.
    rows: (i64, i64),
    key: Vec<Value>,
    product: tch::Tensor,
    /// Writes to the product when it was made.
    version: i64,
}

impl Selected {
    /// Returns whether somebody wrote to the product, or to a view of it.
    fn is_written(&self) -> bool {
        libtorch::writes(&self.product) != self.version
    }
}

impl Unembedding {
    pub fn new(hidden: tch::Tensor, head: Rc<Head>, recorder: Option<Rc<Job>>) -> Self {
        Self { hidden, head, whole: None, selected: RefCell::default(), ahead: RefCell::default(), recorder }
    }

    /// Narrows the product, which is `whole`, to some rows.
    pub fn narrow(&self, whole: &Tensor, start: i64, length: i64) -> Result<Self, TchError> {
        let hidden = self.hidden.f_narrow(0, start, length)?;
        let own = Self::new(hidden, Rc::clone(&self.head), self.recorder.clone());
        Ok(Self { whole: Some((whole.clone(), start)), ..own })
    }

    /// Returns whether gradients are recorded.
    pub fn requires_grad(&self) -> bool {
        self.hidden.requires_grad()
    }

    /// Returns a tensor of the same type on the same device.
    pub fn alike(&self) -> Tensor {
        Tensor::new(self.hidden.shallow_clone())
    }

    /// Returns `[rows, length, vocabulary]`.
    pub fn shape(&self) -> Vec<i64> {
        let mut shape = self.hidden.size();
        if let Some(last) = shape.last_mut() {
            *last = self.vocabulary();
        }
        shape
    }

    fn vocabulary(&self) -> i64 {
        self.head.weight.size()[0]
    }

    fn rows(&self) -> i64 {
        self.hidden.size().first().copied().unwrap_or(0)
    }

    /// Computes everything. Where memory is refused nothing comes of it, and whoever pays finds the refusal.
    pub fn compute(&self) -> tch::Tensor {
        self.try_compute().unwrap_or_else(|_| tch::Tensor::from_slice::<f32>(&[]))
    }

    fn try_compute(&self) -> Result<tch::Tensor, TchError> {
        if let Some(job) = self.recorder.as_ref().filter(|_| self.whole.is_some() || !self.selected.borrow().is_empty())
        {
            // Gradients should have gone by way of this tensor, of which there was none.
            job.regret();
        }
        if let Some((whole, start)) = &self.whole {
            return whole.tch().f_narrow(0, *start, self.rows());
        }
        let all = self.head.product(&self.hidden)?;
        let _unrecorded = tch::no_grad_guard();
        for Selected { rows: (start, rows), key, mut product, .. } in self.selected.borrow_mut().drain(..) {
            if let Some(mut place) = select(&all.f_narrow(0, start, rows)?, &key) {
                place.f_copy_(&product)?;
                // From now on it is a view, as it always is in PyTorch.
                let _ = product.f_set_source_tensor_(&place)?;
            }
        }
        Ok(all)
    }

    /// Returns the numbers, for nobody to write to or to ask gradients of.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub fn numbers(&self) -> Result<tch::Tensor, TchError> {
        let _unrecorded = tch::no_grad_guard();
        if let Some((whole, start)) = &self.whole {
            let all = whole.pending().map_or_else(|| Ok(whole.tch().shallow_clone()), Self::numbers)?;
            return all.f_narrow(0, *start, self.rows());
        }
        let all = self.head.product(&self.hidden.f_detach()?)?;
        for Selected { rows: (start, rows), key, product, .. } in self.selected.borrow().iter() {
            if let Some(mut place) = select(&all.f_narrow(0, *start, *rows)?, key) {
                place.f_copy_(product)?;
            }
        }
        Ok(all)
    }

    /// Reads `of[key]`, `of` being this product, where the key selects some rows and positions; `None` for other keys,
    /// and once somebody wrote to what was selected.
    pub fn get(&self, machine: &Machine, of: &Tensor, key: &Value) -> Option<HostResult> {
        let mut keys = match key {
            Value::Tuple(tuple) => tuple.to_vec(),
            key => vec![key.clone()],
        };
        if let [Value::Ellipsis, position, column] = keys.as_slice() {
            keys = vec![everything(), position.clone(), column.clone()];
        }
        let columns = if keys.len() == 3 { keys.pop().filter(|column| !is_everything(column)) } else { None };
        if let Some(product) = self.known(&keys)? {
            let product = of.selection(machine, product);
            let column = columns.map(|column| Value::tuple(vec![Value::Ellipsis, column]));
            let found = column.map_or(Ok(product.clone()), |key| index::get(machine, &product, &key));
            return Some(found.map(|found| found.value().into()));
        }
        let recording = Job::of(machine).gradients();
        let hidden =
            if recording { select(&self.hidden, &keys)? } else { select(&self.hidden.f_detach().ok()?, &keys)? };
        if hidden.numel() == self.hidden.numel() {
            return None;
        }
        let mut deferred = Logits {
            machine: machine.clone(),
            of: of.clone(),
            hidden,
            key: keys,
            head: Rc::clone(&self.head),
            columns,
            ahead: Vec::new(),
        };
        // One column is no more work than copying it, so that nobody needs to wait for others.
        if let Some(Value::Int(column)) = deferred.columns {
            let at = if column < 0 { column + self.vocabulary() } else { column };
            if !(0..self.vocabulary()).contains(&at) {
                return None;
            }
            deferred.key.push(Value::Int(at));
            deferred.columns = None;
            if let Some(product) = self.known(&deferred.key)? {
                return Some(Ok(of.selection(machine, product).value().into()));
            }
            return Some(deferred.pay(|head, hidden| head.column(hidden, at)));
        }
        if let Some(product) = self.take_ahead(&deferred.key) {
            return Some(deferred.pay(|head, hidden| head.own(hidden, &product, Moment::new())));
        }
        deferred.ahead = self.others(&deferred.key);
        Some(Ok(Outcome::Wait(Request::new(Deferred::Logits(deferred)))))
    }

    /// Lists what the same key selects of the next rows, as many at a time as these are.
    fn others(&self, key: &[Value]) -> Vec<Ahead> {
        let (rows, Some((root, own))) = (self.rows(), self.root()) else { return Vec::new() };
        let starts = (own + rows..=root.rows() - rows).step_by(usize::try_from(rows).unwrap_or(1).max(1));
        let of = |start: i64| {
            let states = select(&root.hidden.f_detach().ok()?.f_narrow(0, start, rows).ok()?, key)?;
            Some(Ahead { rows: (start, rows), key: key.to_vec(), states })
        };
        starts.take(AHEAD).filter_map(of).collect()
    }

    fn take_ahead(&self, key: &[Value]) -> Option<tch::Tensor> {
        let (root, start) = self.root()?;
        let mut ahead = root.ahead.borrow_mut();
        let same = |one: &Ahead| one.rows == (start, self.rows()) && are_equal(&one.key, key);
        let at = ahead.iter().position(same)?;
        Some(ahead.swap_remove(at).states)
    }

    /// Remembers what was selected.
    fn note(&self, key: Vec<Value>, product: &tch::Tensor) {
        let product = product.shallow_clone();
        let version = libtorch::writes(&product);
        if let Some((root, start)) = self.root() {
            root.selected.borrow_mut().push(Selected { rows: (start, self.rows()), key, product, version });
        }
    }

    /// Returns what the same key selected before, if anything; nothing at all once something selected of these rows was
    /// written to, since this key may select a part of it, and once the whole is computed.
    fn known(&self, key: &[Value]) -> Option<Option<tch::Tensor>> {
        let (root, start) = self.root()?;
        let all = root.selected.borrow();
        let same = |one: &&Selected| one.rows == (start, self.rows()) && are_equal(&one.key, key);
        match all.iter().find(same) {
            Some(one) => Some(Some(one.product.shallow_clone())),
            None => {
                let touches = |one: &Selected| one.rows.0 < start + self.rows() && start < one.rows.0 + one.rows.1;
                (!all.iter().any(|one| touches(one) && one.is_written())).then_some(None)
            }
        }
    }

    /// Returns the product that this is some rows of, and the first of them; `None` when it is computed already.
    fn root(&self) -> Option<(&Self, i64)> {
        let Some((whole, start)) = &self.whole else { return Some((self, 0)) };
        let (root, first) = whole.pending()?.root()?;
        Some((root, first + start))
    }
}

/// Logits that a block waits for.
pub struct Logits {
    machine: Machine,
    of: Tensor,
    /// `[…, width]`.
    hidden: tch::Tensor,
    key: Vec<Value>,
    head: Rc<Head>,
    /// What the block reads of the last dimension, if not everything.
    columns: Option<Value>,
    ahead: Vec<Ahead>,
}

impl Logits {
    /// Computes what many blocks wait for in one product for each head.
    pub fn resolve(all: Vec<Self>) -> Vec<Result<Value, Raise>> {
        let mut all = all;
        let mut products: Vec<Option<tch::Tensor>> = all.iter().map(|_| None).collect();
        if all.len() > 1 || all.iter().any(|one| !one.ahead.is_empty()) {
            let same = all.windows(2).all(|pair| Rc::ptr_eq(&pair[0].head, &pair[1].head));
            if same && let Ok(shared) = Self::together(&mut all) {
                products = shared.into_iter().map(Some).collect();
            }
        }
        let moment = Moment::new();
        let answer = |(one, product): (Self, Option<tch::Tensor>)| match one.pay(|head, hidden| match product {
            Some(product) => head.own(hidden, &product, moment),
            None => head.product(hidden),
        })? {
            Outcome::Ready(value) => Ok(value),
            _ => Err(Raise::runtime_error("logits did not come")),
        };
        all.into_iter().zip(products).map(answer).collect()
    }

    /// Returns each one's `[…, vocabulary]`, all views of one tensor. What was computed ahead is laid by.
    fn together(all: &mut [Self]) -> Result<Vec<tch::Tensor>, TchError> {
        let _unpaid = Paying::nobody();
        let _unrecorded = tch::no_grad_guard();
        let Some(head) = all.first().map(|one| Rc::clone(&one.head)) else { return Ok(Vec::new()) };
        let states =
            all.iter().flat_map(|one| std::iter::once(&one.hidden).chain(one.ahead.iter().map(|it| &it.states)));
        let mut products = as_one(&states.collect::<Vec<_>>(), |all| head.uncapped(all))?.into_iter();
        let mut next = || products.next().ok_or_else(|| TchError::Shape("a block's logits got lost".into()));
        let mut parts = Vec::with_capacity(all.len());
        for one in all {
            parts.push(next()?);
            for ahead in &mut one.ahead {
                ahead.states = next()?;
            }
            if let Some((root, _)) = one.of.pending().and_then(Unembedding::root) {
                root.ahead.borrow_mut().append(&mut one.ahead);
            }
        }
        Ok(parts)
    }

    /// Makes the tensor that the block gets, in memory that it pays for.
    fn pay(self, product: impl FnOnce(&Head, &tch::Tensor) -> Result<tch::Tensor, TchError>) -> HostResult {
        let Self { machine, of, hidden, key, columns, head, .. } = self;
        machine.charge_fuel(10)?;
        let job = Job::of(&machine);
        let paying = Paying::new(&machine, &job);
        let product =
            paying.settle(product(&head, &hidden).map_err(|error| Raise::runtime_error(error.to_string())))?;
        drop(paying);
        if let Some(unembedding) = of.pending() {
            unembedding.note(key, &product);
        }
        let product = of.selection(&machine, product);
        Ok(match columns {
            Some(columns) => {
                let key = Value::tuple(vec![Value::Ellipsis, columns]);
                index::get(&machine, &product, &key)?.value()
            }
            None => product.value(),
        }
        .into())
    }
}

impl Tensor {
    /// Shows what was selected of this product.
    fn selection(&self, machine: &Machine, selected: tch::Tensor) -> Self {
        let selected = Self::new(selected);
        selected.set_learned(self.is_learned() && Job::of(machine).modes().gradients());
        selected
    }
}

/// Returns a view of what ints and slices select of the leading dimensions; `None` for other keys and those that are
/// out of range.
fn select(tensor: &tch::Tensor, keys: &[Value]) -> Option<tch::Tensor> {
    let mut view = tensor.shallow_clone();
    let mut dim = 0;
    for key in keys {
        view = match key {
            Value::Int(index) => view.f_select(dim, *index).ok()?,
            Value::Slice(slice) => {
                let bound = |value: &Value| match value {
                    Value::None => Some(None),
                    value => value.as_int().map(Some),
                };
                let step = bound(&slice.step)?.unwrap_or(1);
                let view = view.f_slice(dim, bound(&slice.start)?, bound(&slice.stop)?, step).ok()?;
                dim += 1;
                view
            }
            _ => return None,
        };
    }
    Some(view)
}

fn are_equal(left: &[Value], right: &[Value]) -> bool {
    let same = |(left, right): (&Value, &Value)| match (left, right) {
        (Value::Slice(left), Value::Slice(right)) => {
            let parts = |slice: &interpreter::types::Slice| [&slice.start, &slice.stop, &slice.step].map(Value::as_int);
            parts(left) == parts(right)
        }
        (left, right) => left.as_int().is_some() && left.as_int() == right.as_int(),
    };
    left.len() == right.len() && left.iter().zip(right).all(same)
}

fn everything() -> Value {
    Value::Slice(Rc::new(interpreter::types::Slice::new(Value::None, Value::None, Value::None)))
}

fn is_everything(key: &Value) -> bool {
    matches!(key, Value::Slice(slice) if [&slice.start, &slice.stop, &slice.step].iter().all(|part| matches!(part, Value::None)))
}
