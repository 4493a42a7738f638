//! Keys and values of tokens already seen: Hugging Face's `DynamicCache`.

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use engine::Tree;
use interpreter::raise::Raise;
use interpreter::{Args, HostObject, HostResult, Iteration, Machine, Outcome, Value};
use program::{Datum, Heap, Ref};
use tch::{TchError, Tensor};

use crate::pass::Flow;
use crate::room::{Lodged, Room};

/// One segment's cache. Cloning gives another handle to the same one.
#[derive(Clone, Default)]
pub struct Cache(Rc<RefCell<Content>>);

#[derive(Default)]
struct Content {
    layers: Vec<Slot>,
    /// One for each row: what layers that follow them have, and what comes before those that have only the ends of rows.
    rows: Vec<Cache>,
    /// Tokens of each sequence that there will be at most; zero where nobody knows.
    longest: i64,
    /// How many tokens one sees in each layer, itself included, where that is bounded.
    windows: Rc<[Option<i64>]>,
}

impl Content {
    fn slot(&mut self, layer: usize) -> &mut Slot {
        if self.layers.len() <= layer {
            self.layers.resize_with(layer + 1, Slot::default);
        }
        &mut self.layers[layer]
    }
}

/// A layer's keys and values.
#[derive(Default)]
enum Slot {
    /// Those of the rows, if there are any.
    #[default]
    Followed,
    /// None, whatever the rows have: the layer was left out.
    Missing,
    Own(Layer),
    /// So many tokens, and room for more behind them. Nobody has seen it.
    Growing(Layer, i64),
    /// Its place among what was computed for several caches.
    Among(Rc<Layer>, Place),
    /// Its sequences among those that grow together. Nobody has seen them.
    Lodged(Rc<Room>, Lodged),
}

/// Where the keys and values of one cache lie among those of several.
#[derive(Clone, Copy)]
pub enum Place {
    /// So many rows, from one on, of `[all rows, heads, length, head_dim]`.
    Rows { first: i64, rows: i64 },
    /// So many rows of one length, end to end from one token on, of `[all tokens, heads, head_dim]`.
    Tokens { first: i64, rows: i64, length: i64 },
}

impl Place {
    /// Returns the number of rows, and the length of each, in one of several caches' tensors.
    fn size(self, all: &Tensor) -> [i64; 2] {
        match self {
            Self::Rows { rows, .. } => [rows, all.size().get(2).copied().unwrap_or(0)],
            Self::Tokens { rows, length, .. } => [rows, length],
        }
    }

    /// Returns the cache's own rows, in the memory of all.
    fn view(self, all: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Rows { first, rows } => all.f_narrow(0, first, rows),
            Self::Tokens { first, rows, length } => {
                let own = all.f_narrow(0, first, rows * length)?;
                let heads = own.size().get(1).copied().unwrap_or(0);
                own.f_view([rows, length, heads, -1])?.f_transpose(1, 2)
            }
        }
    }

    /// Returns a copy of the cache's own rows that lies as they do.
    fn copy(self, all: &Tensor) -> Result<Tensor, TchError> {
        let view = self.view(all)?;
        match self {
            Self::Rows { .. } => Tensor::f_cat(&[view], 0),
            Self::Tokens { .. } => Tensor::f_cat(&[view.f_transpose(1, 2)?], 0)?.f_transpose(1, 2),
        }
    }
}

impl Slot {
    /// Returns what it has in memory of its own, and nobody else's: it may be shown, and outlive the pass.
    fn own(&mut self) -> Result<Option<Layer>, TchError> {
        match self {
            Self::Among(all, place) => *self = Self::Own((place.copy(&all.0)?, place.copy(&all.1)?)),
            Self::Growing((keys, values), length) => {
                let own = |room: &Tensor| room.f_narrow(2, 0, *length)?.f_contiguous();
                *self = Self::Own((own(keys)?, own(values)?));
            }
            Self::Lodged(room, lodged) => {
                let (keys, values) = room.view(lodged)?;
                *self = Self::Own((keys.f_contiguous()?, values.f_contiguous()?));
            }
            _ => {}
        }
        Ok(match self {
            Self::Own((keys, values)) => Some((keys.shallow_clone(), values.shallow_clone())),
            _ => None,
        })
    }

    fn bytes(&self) -> u64 {
        let size = |tensor: &Tensor| tensor.numel() as u64 * tensor.kind().elt_size_in_bytes() as u64;
        match self {
            Self::Own((keys, values)) | Self::Growing((keys, values), _) => size(keys) + size(values),
            Self::Among(all, place) => {
                let [_, heads, ..] = *all.0.size() else { return 0 };
                let (head, [rows, length]) = (all.0.size().last().copied().unwrap_or(0), place.size(&all.0));
                2 * (rows * length * heads * head) as u64 * all.0.kind().elt_size_in_bytes() as u64
            }
            Self::Lodged(room, lodged) => (lodged.rows * room.places()).cast_unsigned() * room.place_bytes(),
            Self::Followed | Self::Missing => 0,
        }
    }
}

/// Keys and values, `[rows, heads, length, head_dim]` each.
pub type Layer = (Tensor, Tensor);

/// Puts new keys, or values, behind those that there are, in room for as many. What is behind them are zeros: a kernel may
/// read on there.
fn with_room(old: &Tensor, new: &Tensor, capacity: i64) -> Result<Tensor, TchError> {
    let (mut size, length) = (old.size(), old.size().get(2).copied().unwrap_or(0));
    if let Some(tokens) = size.get_mut(2) {
        *tokens = capacity;
    }
    let room = Tensor::f_zeros(size.as_slice(), (old.f_kind()?, old.device()))?;
    room.f_narrow(2, 0, length)?.f_copy_(old)?;
    append(&room, length, new)?;
    Ok(room)
}

fn append(room: &Tensor, length: i64, new: &Tensor) -> Result<(), TchError> {
    let tokens = new.size().get(2).copied().unwrap_or(0);
    room.f_narrow(2, length, tokens)?.f_copy_(new).map(drop)
}

/// Returns whether what is new can lie behind what there is, as one tensor.
fn continues(room: &Tensor, new: &Tensor) -> Result<bool, TchError> {
    let (have, more) = (room.size(), new.size());
    let fits = matches!((have.as_slice(), more.as_slice()),
        ([rows, heads, _, head], [own_rows, own_heads, _, own_head])
            if (rows, heads, head) == (own_rows, own_heads, own_head));
    Ok(fits && room.f_kind()? == new.f_kind()? && room.device() == new.device() && !new.requires_grad())
}

/// The caches of a pass.
pub struct Caches {
    /// By segment.
    pub all: Vec<Option<Cache>>,
    /// They are shown as the first ones of pairs.
    pub paired: bool,
}

impl Caches {
    /// Puts the segments' caches together, if any has one.
    #[must_use]
    pub fn some(all: &[Option<Cache>], paired: bool) -> Option<Rc<Self>> {
        all.iter().any(Option::is_some).then(|| Rc::new(Self { all: all.to_vec(), paired }))
    }

    /// Shows the cache of a segment to Python.
    #[must_use]
    pub fn value(&self, segment: usize) -> Value {
        match (self.all.get(segment).and_then(Option::as_ref), self.paired) {
            (Some(cache), true) => Value::host(PairObject::of(cache.clone())),
            (Some(cache), false) => cache.value(),
            (None, _) => Value::None,
        }
    }
}

impl Cache {
    /// Makes an empty cache for a model whose layers have such windows.
    #[must_use]
    pub fn new(windows: Rc<[Option<i64>]>) -> Self {
        let layers = windows.iter().map(|_| Slot::Followed).collect();
        Self(Rc::new(RefCell::new(Content { layers, windows, ..Content::default() })))
    }

    /// Makes a cache of what a caller has of each layer.
    #[must_use]
    pub fn filled(windows: Rc<[Option<i64>]>, given: Vec<Layer>) -> Self {
        let mut layers: Vec<Slot> = given.into_iter().map(Slot::Own).collect();
        layers.resize_with(windows.len().max(layers.len()), Slot::default);
        Self(Rc::new(RefCell::new(Content { layers, windows, ..Content::default() })))
    }

    /// Makes a cache of what only the ends of other caches' rows change, one row each.
    #[must_use]
    pub fn after(rows: Vec<Self>) -> Self {
        Self(Rc::new(RefCell::new(Content { rows, ..Content::default() })))
    }

    /// Fills layers that are never computed from other caches, one for each row.
    pub fn follow(&self, rows: Vec<Self>) {
        self.0.borrow_mut().rows = rows;
    }

    /// Takes over the keys and values of the rows it follows, so that more can come after them.
    pub fn settle(&self) {
        if self.0.borrow().rows.is_empty() {
            return;
        }
        let slot = |layer| self.layer(layer).map_or(Slot::Missing, Slot::Own);
        let layers = (0..self.layers()).map(slot).collect();
        let mut content = self.0.borrow_mut();
        (content.layers, content.rows) = (layers, Vec::new());
    }

    /// Says how many tokens each sequence will have at most: there will be room for them, doubled as they come.
    pub fn expect(&self, longest: i64) {
        self.0.borrow_mut().longest = longest;
    }

    /// Forgets all tokens of each sequence from one on.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn rewind(&self, length: i64) -> Result<(), TchError> {
        for slot in &mut self.0.borrow_mut().layers {
            let longer = match slot {
                Slot::Among(all, place) => place.size(&all.0)[1] > length,
                Slot::Lodged(_, lodged) => lodged.length > length,
                _ => false,
            };
            if longer {
                slot.own()?;
            }
            match slot {
                Slot::Growing(_, tokens) => *tokens = length.min(*tokens),
                Slot::Own((keys, values)) if keys.size().get(2).is_some_and(|&tokens| tokens > length) => {
                    *slot = Slot::Own((keys.f_narrow(2, 0, length)?, values.f_narrow(2, 0, length)?));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Lets each row be what another was.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn reorder(&self, order: &[i64]) -> Result<(), TchError> {
        self.settle();
        for slot in &mut self.0.borrow_mut().layers {
            if let Some((keys, values)) = slot.own()? {
                let order = Tensor::f_from_slice(order)?.f_to_device(keys.device())?;
                *slot = Slot::Own((keys.f_index_select(0, &order)?, values.f_index_select(0, &order)?));
            }
        }
        Ok(())
    }

    /// Lets go of what was computed for others with it.
    ///
    /// # Errors
    /// When there is no memory for a copy.
    pub fn keep_own(&self) -> Result<(), TchError> {
        self.0.borrow_mut().layers.iter_mut().try_for_each(|slot| slot.own().map(drop))
    }

    /// Returns the tokens of each sequence that the cache holds.
    #[must_use]
    pub fn length(&self) -> i64 {
        let content = self.0.borrow();
        match content.layers.first() {
            Some(Slot::Own((keys, _))) => keys.size().get(2).copied().unwrap_or(0),
            Some(Slot::Growing(_, length)) => *length,
            Some(Slot::Among(all, place)) => place.size(&all.0)[1],
            Some(Slot::Lodged(_, lodged)) => lodged.length,
            Some(Slot::Missing) => 0,
            Some(Slot::Followed) | None => content.rows.first().map_or(0, Self::length),
        }
    }

    /// Returns the bytes of all keys and values.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.borrow().layers.iter().map(Slot::bytes).sum()
    }

    /// Appends `[rows, heads, new, head_dim]` keys and values to a layer, and returns all of them. What is there already
    /// stays where it is, as long as there is room behind it and nobody has seen it: whoever has may write to it, which
    /// must not reach what comes after.
    ///
    /// # Errors
    /// When they do not fit what is there.
    pub fn update(&self, layer: usize, keys: &Tensor, values: &Tensor) -> Result<(Tensor, Tensor), TchError> {
        let new = keys.size().get(2).copied().unwrap_or(0);
        let before = self.before(layer, new)?;
        let mut content = self.0.borrow_mut();
        let longest = content.longest;
        if let Slot::Growing(room, length) = content.slot(layer)
            && continues(&room.0, keys)?
            && continues(&room.1, values)?
            && room.0.size().get(2).is_some_and(|&capacity| *length + new <= capacity)
        {
            append(&room.0, *length, keys)?;
            append(&room.1, *length, values)?;
            *length += new;
            return Ok((room.0.f_narrow(2, 0, *length)?, room.1.f_narrow(2, 0, *length)?));
        }
        let joined = match &before {
            Some((old_keys, old_values))
                if longest > old_keys.size().get(2).copied().unwrap_or(0) + new
                    && continues(old_keys, keys)?
                    && continues(old_values, values)? =>
            {
                let total = old_keys.size().get(2).copied().unwrap_or(0) + new;
                let capacity = longest.min(2 * total);
                let room = (with_room(old_keys, keys, capacity)?, with_room(old_values, values, capacity)?);
                let all = (room.0.f_narrow(2, 0, total)?, room.1.f_narrow(2, 0, total)?);
                *content.slot(layer) = Slot::Growing(room, total);
                return Ok(all);
            }
            Some((old_keys, old_values)) => {
                (Tensor::f_cat(&[old_keys, keys], -2)?, Tensor::f_cat(&[old_values, values], -2)?)
            }
            // A copy, so that later edits of the projections' outputs do not reach the cache.
            None => (Tensor::f_cat(&[keys], -2)?, Tensor::f_cat(&[values], -2)?),
        };
        *content.slot(layer) = Slot::Own((joined.0.shallow_clone(), joined.1.shallow_clone()));
        Ok(joined)
    }

    /// Makes a place among what was computed for several caches all that a layer has. It is copied when somebody asks for
    /// it, which mostly nobody does: the pass goes on with what all have.
    pub fn place(&self, layer: usize, all: &Rc<Layer>, place: Place) {
        *self.0.borrow_mut().slot(layer) = Slot::Among(Rc::clone(all), place);
    }

    /// Makes some sequences of a room all that a layer has.
    pub fn lodge(&self, layer: usize, room: &Rc<Room>, lodged: Lodged) {
        *self.0.borrow_mut().slot(layer) = Slot::Lodged(Rc::clone(room), lodged);
    }

    /// Returns where a layer's sequences grow with others, if they do.
    #[must_use]
    pub fn lodged(&self, layer: usize) -> Option<(Rc<Room>, Lodged)> {
        match self.0.borrow().layers.get(layer) {
            Some(Slot::Lodged(room, lodged)) => Some((Rc::clone(room), *lodged)),
            _ => None,
        }
    }

    /// Returns how many tokens a sequence of some length may still get; none where nobody knows.
    #[must_use]
    pub fn still_to_come(&self, length: i64) -> i64 {
        (self.0.borrow().longest - length).max(0)
    }

    /// Begins a layer that is computed whole, or left out: what the rows have there counts no more.
    pub fn begin(&self, layer: usize) {
        *self.0.borrow_mut().slot(layer) = Slot::Missing;
    }

    /// Returns whether so many new keys and values of a layer would be all that it has.
    #[must_use]
    pub fn begins(&self, layer: usize, new: i64) -> bool {
        let content = self.0.borrow();
        match content.layers.get(layer) {
            Some(Slot::Missing) => true,
            Some(Slot::Own(_) | Slot::Growing(..) | Slot::Among(..) | Slot::Lodged(..)) => false,
            Some(Slot::Followed) | None => !matches!(content.rows.as_slice(), [row] if row.length() > new),
        }
    }

    /// Returns what so many new keys and values of each row of a layer come after.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn before(&self, layer: usize, new: i64) -> Result<Option<Layer>, TchError> {
        let content = self.0.borrow();
        match content.layers.get(layer) {
            Some(Slot::Followed) | None => {}
            Some(Slot::Missing) => return Ok(None),
            Some(Slot::Own((keys, values))) => return Ok(Some((keys.shallow_clone(), values.shallow_clone()))),
            Some(Slot::Growing((keys, values), length)) => {
                return Ok(Some((keys.f_narrow(2, 0, *length)?, values.f_narrow(2, 0, *length)?)));
            }
            Some(Slot::Among(all, place)) => return Ok(Some((place.view(&all.0)?, place.view(&all.1)?))),
            Some(Slot::Lodged(room, lodged)) => return room.view(lodged).map(Some),
        }
        let [row] = content.rows.as_slice() else { return Ok(None) };
        let kept = row.length() - new;
        if kept <= 0 {
            return Ok(None);
        }
        let Some((keys, values)) = row.layer(layer) else { return Ok(None) };
        Ok(Some((keys.f_narrow(2, 0, kept)?, values.f_narrow(2, 0, kept)?)))
    }

    fn layer(&self, layer: usize) -> Option<(Tensor, Tensor)> {
        let mut content = self.0.borrow_mut();
        match content.layers.get_mut(layer) {
            Some(Slot::Followed) | None => {}
            Some(slot) => return slot.own().ok()?,
        }
        let rows: Vec<Layer> = content.rows.iter().map(|row| row.layer(layer)).collect::<Option<_>>()?;
        let (keys, values): (Vec<Tensor>, Vec<Tensor>) = rows.into_iter().unzip();
        Some((Tensor::f_cat(&keys, 0).ok()?, Tensor::f_cat(&values, 0).ok()?))
    }

    fn layers(&self) -> usize {
        let content = self.0.borrow();
        content.rows.iter().map(Self::layers).max().unwrap_or(0).max(content.layers.len())
    }

    /// Returns how many tokens one sees in a layer, if that is bounded.
    fn window(&self, layer: usize) -> Option<i64> {
        self.0.borrow().windows.get(layer).copied().flatten()
    }

    /// Returns what Hugging Face's cache keeps of a layer: no more than the next token may see.
    fn kept(&self, layer: usize) -> Option<Layer> {
        let (keys, values) = self.layer(layer)?;
        let last = |all: Tensor| match self.window(layer).zip(all.size().get(2).copied()) {
            Some((window, length)) if length >= window => all.f_narrow(2, length - window + 1, window - 1),
            _ => Ok(all),
        };
        Some((last(keys).ok()?, last(values).ok()?))
    }

    /// Shows the cache to Python.
    #[must_use]
    pub fn value(&self) -> Value {
        Value::host(CacheObject(self.clone()))
    }

    /// Returns the cache behind a Python value.
    #[must_use]
    pub fn of_value(value: &Value) -> Option<Self> {
        let Value::Host(object) = value else { return None };
        let object = object.as_any();
        let own = object.downcast_ref::<CacheObject>().map(|object| object.0.clone());
        own.or_else(|| object.downcast_ref::<PairObject>().map(|pair| pair.own.clone()))
    }

    /// Writes a Python value down as Hugging Face's class pickles, if it is a cache.
    pub fn data_of(value: &Value, heap: &mut Heap) -> Option<Ref> {
        match value {
            Value::Host(object) if let Some(pair) = object.as_any().downcast_ref::<PairObject>() => pair.data(heap),
            value => Self::of_value(value)?.data(heap),
        }
    }

    fn data(&self, heap: &mut Heap) -> Option<Ref> {
        let layers = (0..self.layers()).map(|layer| self.layer_data(layer, heap)).collect::<Option<Vec<_>>>()?;
        let layers = heap.push(Datum::List(layers));
        let none = heap.push(Datum::None);
        let offloading = heap.push(Datum::Bool(false));
        let state = [("layers", layers), ("layer_class_to_replicate", none), ("offloading", offloading)];
        Some(object(heap, "DynamicCache", &state))
    }

    fn layer_data(&self, layer: usize, heap: &mut Heap) -> Option<Ref> {
        let mut state = match self.kept(layer) {
            None => {
                let none = heap.push(Datum::None);
                vec![("keys", none), ("values", none), ("is_initialized", heap.push(Datum::Bool(false)))]
            }
            Some((keys, values)) => {
                let [keys, values] = [keys, values].map(|tensor| torch::Tensor::new(tensor.detach()).to_data().ok());
                let (keys, values) = (keys?, values?);
                let dtype = heap.push(Datum::DType(keys.dtype));
                vec![
                    ("keys", heap.push(Datum::Tensor(keys))),
                    ("values", heap.push(Datum::Tensor(values))),
                    ("is_initialized", heap.push(Datum::Bool(true))),
                    ("dtype", dtype),
                    ("device", heap.push(Datum::Device("cpu".into()))),
                ]
            }
        };
        if let Some(window) = self.window(layer) {
            let tensor = torch::Tensor::new(Tensor::from(window)).to_data().ok()?;
            state.extend([
                ("sliding_window", heap.push(Datum::Int(window.into()))),
                ("cumulative_length", heap.push(Datum::Int(self.length().into()))),
                ("_sliding_window_tensor", heap.push(Datum::Tensor(tensor))),
                ("record_past", heap.push(Datum::Bool(false))),
            ]);
        }
        Some(object(heap, layer_class(self.window(layer)), &state))
    }
}

/// Shows a cache that a caller gave, as the caches of a pass.
pub fn flow(value: &Value) -> Option<Flow> {
    let cache = Cache::of_value(value)?;
    Some(Tree::Object(Caches::some(&[Some(cache)], false)?))
}

fn layer_class(window: Option<i64>) -> &'static str {
    if window.is_some() { "DynamicSlidingWindowLayer" } else { "DynamicLayer" }
}

fn object(heap: &mut Heap, name: &str, state: &[(&str, Ref)]) -> Ref {
    let class = heap.push(Datum::Global { module: "transformers.cache_utils".into(), name: name.into() });
    let pairs = state.iter().map(|(key, value)| (heap.push(Datum::Str((*key).into())), *value)).collect();
    let state = Some(heap.push(Datum::Dict(pairs)));
    heap.push(Datum::Object { class, called: false, args: Vec::new(), state, items: Vec::new(), pairs: Vec::new() })
}

/// Names of caches and their layers, which are all for looking.
pub const NAMES: [&str; 10] = [
    "cross_attention_cache",
    "get_max_length",
    "get_seq_length",
    "is_compileable",
    "is_initialized",
    "is_sliding",
    "layers",
    "offloading",
    "self_attention_cache",
    "sliding_window",
];

/// `transformers.cache_utils.DynamicCache`.
struct CacheObject(Cache);

impl HostObject for CacheObject {
    fn type_name(&self) -> Cow<'static, str> {
        "DynamicCache".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn memory(&self) -> Option<usize> {
        Some(Rc::as_ptr(&self.0.0).cast::<()>() as usize)
    }

    fn get_attribute(self: Rc<Self>, _: &Machine, name: &str) -> HostResult {
        Ok(match name {
            "layers" => {
                let layers =
                    (0..self.0.layers()).map(|index| Value::host(LayerObject { cache: self.0.clone(), index }));
                Value::list(layers.collect()).into()
            }
            "is_initialized" => Value::Bool(self.0.length() > 0).into(),
            "is_compileable" | "offloading" => Value::Bool(false).into(),
            "layer_class_to_replicate" => Value::None.into(),
            "get_seq_length" | "get_max_length" => {
                let name = name.to_owned();
                Value::native(name.clone(), move |machine, args| Rc::clone(&self).call_method(machine, &name, &args))
                    .into()
            }
            _ => Outcome::NotImplemented,
        })
    }

    fn call_method(self: Rc<Self>, _: &Machine, name: &str, _: &Args) -> HostResult {
        Ok(match name {
            "get_seq_length" => Value::Int(self.0.length()).into(),
            "get_max_length" => Value::Int(-1).into(),
            _ => Outcome::NotImplemented,
        })
    }

    fn length(&self, _: &Machine) -> Result<Option<usize>, Raise> {
        Ok(Some(self.0.layers()))
    }

    fn truth(&self, _: &Machine) -> Result<Option<bool>, Raise> {
        Ok(Some(self.0.layers() > 0))
    }

    /// As in transformers 5: keys, values, and the window as a tensor, which full attention does not have.
    fn iterate(self: Rc<Self>, _: &Machine) -> Result<Option<Box<dyn Iteration>>, Raise> {
        Ok(Some(Box::new(Layers { cache: self.0.clone(), next: 0 })))
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        let layers: Vec<_> = (0..self.0.layers()).map(|layer| layer_class(self.0.window(layer))).collect();
        let layers = layers.join(", ");
        Ok(Some(format!("DynamicCache(layers=[{layers}])")))
    }

    fn is_instance(&self, class: &str) -> bool {
        matches!(class, "transformers.cache_utils.DynamicCache" | "transformers.cache_utils.Cache")
    }
}

/// `transformers.cache_utils.EncoderDecoderCache`: a cache, and one of cross-attention, which stays empty.
struct PairObject {
    own: Cache,
    other: Cache,
}

impl PairObject {
    fn of(own: Cache) -> Self {
        let windows = Rc::clone(&own.0.borrow().windows);
        Self { own, other: Cache::new(windows) }
    }

    fn data(&self, heap: &mut Heap) -> Option<Ref> {
        let (own, other) = (self.own.data(heap)?, self.other.data(heap)?);
        let updated = heap.push(Datum::Bool(false));
        let layers = (0..self.other.layers()).map(|layer| (heap.push(Datum::Int(layer.into())), updated)).collect();
        let updated = heap.push(Datum::Dict(layers));
        let state = [("self_attention_cache", own), ("cross_attention_cache", other), ("is_updated", updated)];
        Some(object(heap, "EncoderDecoderCache", &state))
    }
}

impl HostObject for PairObject {
    fn type_name(&self) -> Cow<'static, str> {
        "EncoderDecoderCache".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn memory(&self) -> Option<usize> {
        Some(Rc::as_ptr(&self.own.0).cast::<()>() as usize)
    }

    fn get_attribute(self: Rc<Self>, machine: &Machine, name: &str) -> HostResult {
        Ok(match name {
            "self_attention_cache" => self.own.value().into(),
            "cross_attention_cache" => self.other.value().into(),
            "get_seq_length" | "is_compileable" => {
                return Rc::new(CacheObject(self.own.clone())).get_attribute(machine, name);
            }
            _ => Outcome::NotImplemented,
        })
    }

    fn call_method(self: Rc<Self>, machine: &Machine, name: &str, args: &Args) -> HostResult {
        match name {
            "get_seq_length" => Rc::new(CacheObject(self.own.clone())).call_method(machine, name, args),
            _ => Ok(Outcome::NotImplemented),
        }
    }

    fn length(&self, _: &Machine) -> Result<Option<usize>, Raise> {
        Ok(Some(self.own.layers()))
    }

    fn truth(&self, _: &Machine) -> Result<Option<bool>, Raise> {
        Ok(Some(self.own.layers() > 0))
    }

    fn is_instance(&self, class: &str) -> bool {
        matches!(class, "transformers.cache_utils.EncoderDecoderCache" | "transformers.cache_utils.Cache")
    }
}

struct Layers {
    cache: Cache,
    next: usize,
}

impl Iteration for Layers {
    fn next(&mut self, _: &Machine) -> Result<Option<Outcome>, Raise> {
        if self.next >= self.cache.layers() {
            return Ok(None);
        }
        let (keys, values) = shown(&self.cache, self.next);
        let window = self.cache.window(self.next);
        self.next += 1;
        let window = window.map_or(Value::None, |window| torch::Tensor::new(Tensor::from(window)).value());
        Ok(Some(Value::tuple(vec![keys, values, window]).into()))
    }
}

/// `transformers.cache_utils.DynamicLayer`.
struct LayerObject {
    cache: Cache,
    index: usize,
}

impl HostObject for LayerObject {
    fn type_name(&self) -> Cow<'static, str> {
        layer_class(self.cache.window(self.index)).into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn get_attribute(self: Rc<Self>, machine: &Machine, name: &str) -> HostResult {
        let (keys, values) = shown(&self.cache, self.index);
        Ok(match (name, &keys) {
            ("keys", _) => keys.into(),
            ("values", _) => values.into(),
            ("is_initialized", _) => Value::Bool(!matches!(keys, Value::None)).into(),
            ("is_sliding", _) => Value::Bool(self.cache.window(self.index).is_some()).into(),
            ("sliding_window", _) if self.cache.window(self.index).is_some() => {
                Value::Int(self.cache.window(self.index).unwrap_or(0)).into()
            }
            ("is_compileable", _) => Value::Bool(false).into(),
            ("dtype" | "device", Value::Host(tensor)) => return Rc::clone(tensor).get_attribute(machine, name),
            _ => Outcome::NotImplemented,
        })
    }

    fn call_method(self: Rc<Self>, _: &Machine, name: &str, _: &Args) -> HostResult {
        Ok(if name == "get_seq_length" { Value::Int(self.cache.length()).into() } else { Outcome::NotImplemented })
    }

    fn repr(&self, _: &Machine) -> Result<Option<String>, Raise> {
        Ok(Some(layer_class(self.cache.window(self.index)).into()))
    }
}

fn shown(cache: &Cache, layer: usize) -> (Value, Value) {
    match cache.kept(layer) {
        Some((keys, values)) => (torch::Tensor::new(keys).value(), torch::Tensor::new(values).value()),
        None => (Value::None, Value::None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_grows_and_keeps_its_own_memory() {
        let cache = Cache::new(vec![None; 2].into());
        let mut keys = Tensor::from_slice(&[1.0_f32, 2.0]).view([1, 1, 1, 2]);
        drop(cache.update(0, &keys, &keys).unwrap());
        let _ = keys.fill_(9.0);
        let (all, _) = cache.update(0, &keys, &keys).unwrap();
        assert_eq!(all.size(), [1, 1, 2, 2]);
        assert_eq!(Vec::<f32>::try_from(all.flatten(0, -1)).unwrap(), [1.0, 2.0, 9.0, 9.0]);
        assert_eq!((cache.length(), cache.layers()), (2, 2));
    }

    #[test]
    fn a_cache_grows_in_place_until_somebody_sees_it() {
        let cache = Cache::new(vec![None; 1].into());
        cache.expect(11);
        let token = |number: f32| Tensor::from_slice(&[number, -number]).view([1, 2, 1, 1]);
        let place = |cache: &Cache| cache.before(0, 1).unwrap().unwrap().0.data_ptr();
        let read = |keys: &Tensor| Vec::<f32>::try_from(keys.contiguous().flatten(0, -1)).unwrap();
        let (mut places, mut bytes) = (Vec::new(), Vec::new());
        for number in 0..11_u8 {
            let new = token(number.into());
            let (keys, values) = cache.update(0, &new, &new).unwrap();
            let expected: Vec<f32> = (0..=number).map(f32::from).collect();
            assert_eq!(read(&keys.narrow(1, 0, 1)), expected);
            assert_eq!(read(&values.narrow(1, 1, 1)), expected.iter().map(|number| -number).collect::<Vec<_>>());
            places.push(place(&cache));
            bytes.push(cache.bytes() / 16);
        }
        places.dedup();
        assert_eq!(places.len(), 4, "the first, and three times twice as many");
        assert_eq!(bytes, [1, 4, 4, 4, 10, 10, 10, 10, 10, 10, 11], "no room that nobody needs");
        // What was seen stays as it is, and what is written to it before the next token comes along.
        let before = cache.layer(0).unwrap().0;
        let mut seen = before.shallow_clone();
        assert!(seen.is_contiguous() && seen.size() == [1, 2, 11, 1]);
        let _ = seen.narrow(2, 0, 1).fill_(7.0);
        let (keys, _) = cache.update(0, &token(11.0), &token(11.0)).unwrap();
        let _ = seen.fill_(9.0);
        assert_eq!(read(&keys.narrow(1, 0, 1))[..2], [7.0, 1.0]);
        assert_eq!(read(&cache.layer(0).unwrap().0.narrow(1, 0, 1))[..2], [7.0, 1.0]);
    }

    #[test]
    fn a_cache_that_is_rewound_goes_on_as_if_nothing_had_come() {
        let token = |number: f32| Tensor::from_slice(&[number]).view([1, 1, 1, 1]);
        let read = |keys: &Tensor| Vec::<f32>::try_from(keys.contiguous().flatten(0, -1)).unwrap();
        for seen in [false, true] {
            let cache = Cache::new(vec![None; 2].into());
            cache.expect(9);
            let mut all = None;
            for number in [1.0, 2.0, 3.0] {
                all = Some(cache.update(0, &token(number), &token(number)).unwrap().0);
                if seen {
                    drop(cache.layer(0).unwrap());
                }
            }
            assert_eq!(read(&all.unwrap()), [1.0, 2.0, 3.0]);
            cache.rewind(2).unwrap();
            assert_eq!(cache.length(), 2);
            assert_eq!(read(&cache.update(0, &token(4.0), &token(4.0)).unwrap().0), [1.0, 2.0, 4.0]);
            let among = Rc::new((token(5.0).expand([1, 1, 3, 1], false), token(5.0).expand([1, 1, 3, 1], false)));
            cache.place(1, &among, Place::Rows { first: 0, rows: 1 });
            cache.rewind(1).unwrap();
            assert_eq!((read(&cache.layer(0).unwrap().0), read(&cache.layer(1).unwrap().0)), (vec![1.0], vec![5.0]));
        }
    }

    #[test]
    fn a_part_of_what_several_caches_have_becomes_a_caches_own_when_it_is_asked_for() {
        let (cache, mate) = (Cache::new(vec![None; 1].into()), Cache::new(vec![None; 1].into()));
        let keys = Tensor::from_slice(&[1.0_f32, 2.0]).view([2, 1, 1, 1]);
        let all = Rc::new((keys.shallow_clone(), keys.shallow_clone()));
        cache.place(0, &all, Place::Rows { first: 0, rows: 1 });
        mate.place(0, &all, Place::Rows { first: 1, rows: 1 });
        assert_eq!((cache.length(), cache.bytes(), cache.begins(0, 1)), (1, 8, false));
        let (mut own, _) = cache.layer(0).unwrap();
        let _ = own.fill_(9.0);
        assert_eq!(Vec::<f32>::try_from(cache.layer(0).unwrap().0.flatten(0, -1)).unwrap(), [9.0]);
        let (more, _) = mate.update(0, &keys.narrow(0, 0, 1), &keys.narrow(0, 0, 1)).unwrap();
        assert_eq!(Vec::<f32>::try_from(more.flatten(0, -1)).unwrap(), [2.0, 1.0]);
        assert_eq!(Rc::strong_count(&all), 1);
    }

    #[test]
    fn rows_that_lie_end_to_end_with_others_are_read_as_rows() {
        let all: Vec<f32> = (0..12_u8).map(f32::from).collect();
        let all = Tensor::from_slice(&all).view([6, 2, 1]);
        let all = Rc::new((all.shallow_clone(), all));
        let cache = Cache::new(vec![None; 1].into());
        cache.place(0, &all, Place::Tokens { first: 1, rows: 2, length: 2 });
        assert_eq!((cache.length(), cache.bytes(), cache.begins(0, 2)), (2, 64, false));
        let expected = [2.0, 4.0, 3.0, 5.0, 6.0, 8.0, 7.0, 9.0];
        let flat = |layer: Layer| Vec::<f32>::try_from(layer.0.contiguous().flatten(0, -1)).unwrap();
        assert_eq!(cache.before(0, 1).unwrap().unwrap().0.size(), [2, 2, 2, 1]);
        assert_eq!(flat(cache.before(0, 1).unwrap().unwrap()), expected);
        assert_eq!(Rc::strong_count(&all), 2);
        assert_eq!(flat(cache.layer(0).unwrap()), expected);
        assert_eq!(Rc::strong_count(&all), 1);
    }

    #[test]
    fn a_cache_is_written_down_as_hugging_faces_class() {
        let cache = Cache::new(vec![None; 1].into());
        let keys = Tensor::from_slice(&[1.0_f32, 2.0]).view([1, 1, 1, 2]);
        drop(cache.update(0, &keys, &keys).unwrap());
        let mut heap = Heap::default();
        let at = cache.data(&mut heap).unwrap();
        let Some(Datum::Object { class, called: false, state: Some(state), .. }) = heap.get(at) else { panic!() };
        let class = heap.get(*class);
        assert_eq!(
            class,
            Some(&Datum::Global { module: "transformers.cache_utils".into(), name: "DynamicCache".into() })
        );
        let Some(Datum::Dict(pairs)) = heap.get(*state) else { panic!() };
        assert_eq!(pairs.len(), 3);
    }
}
