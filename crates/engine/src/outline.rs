//! What programs can be told about a model before they run: found out by looking at passes over a few tokens.

use std::collections::HashMap;
use std::time::Instant;

use explain::form::{Form, Size};
use explain::outline::{Module, Outline, Timed};
use interpreter::raise::Raise;
use program::{DType, TensorData};

use crate::location::{Location, Order};
use crate::model::{Entered, Inputs, Interrupt, Layout, Model, Observer, Packed, Segment, Site, Tensor, Tree, Wants};

/// Rows and tokens of two passes: what differs between them says which dimensions are rows and tokens.
const SIZES: [(i64, i64); 2] = [(2, 3), (3, 5)];
/// Tokens of the passes that are timed.
const TIMED: [i64; 2] = [1, 16];

/// Looks at a model.
///
/// # Errors
/// When a pass fails.
pub fn of<M: Model>(model: &M) -> Result<Outline, Raise> {
    let [first, second] = [look(model, SIZES[0])?, look(model, SIZES[1])?];
    let schema = model.schema();
    let order = Order::new(schema);
    let mut forms = vec![Form::Unknown];
    let mut place = |form: Form| {
        let at = forms.iter().position(|other| *other == form).unwrap_or_else(|| {
            forms.push(form);
            forms.len() - 1
        });
        u32::try_from(at).unwrap_or(0)
    };
    let mut seen = |location: Location| {
        let both = first.get(&location).zip(second.get(&location));
        place(both.map_or(Form::Unknown, |(first, second)| general(first, second)))
    };
    let modules = schema.modules.iter().zip(0_u32..).map(|(module, at)| {
        let site = Site(at);
        let (enter, leave) = (Location::Input(site), Location::Output(site));
        Module {
            name: match module.parent {
                Some(_) => module.path.rsplit('.').next().unwrap_or_default().to_owned(),
                None => String::new(),
            },
            class: module.class.clone(),
            parent: module.parent.map(|Site(parent)| parent),
            span: order.of(enter).zip(order.of(leave)),
            input: seen(enter),
            output: seen(leave),
        }
    });
    let modules = modules.collect();
    let layers = schema.layers.iter().map(|Site(site)| *site).collect();
    Ok(Outline { modules, layers, forms, passes: timed(model)? })
}

/// What is seen of each moment of a pass.
type Seen = HashMap<Location, Form>;

/// Runs a pass, and notes the form of everything.
fn look<M: Model>(model: &M, (rows, length): (i64, i64)) -> Result<Seen, Raise> {
    let mut onlooker = Onlooker { seen: Seen::new(), all: true };
    pass(model, rows, length, &mut onlooker)?;
    Ok(onlooker.seen)
}

/// Times passes that nobody looks into.
fn timed<M: Model>(model: &M) -> Result<Vec<Timed>, Raise> {
    let mut passes = Vec::new();
    for length in TIMED.into_iter().filter(|length| model.positions().is_none_or(|most| *length <= most)) {
        let began = Instant::now();
        pass(model, 1, length, &mut Onlooker { seen: Seen::new(), all: false })?;
        model.catch_up();
        let tokens = u32::try_from(length).unwrap_or(1);
        passes.push(Timed { tokens, seconds: began.elapsed().as_secs_f64() });
    }
    Ok(passes)
}

fn pass<M: Model>(model: &M, rows: i64, length: i64, onlooker: &mut Onlooker) -> Result<(), Raise> {
    let count = usize::try_from(rows * length).unwrap_or(0);
    let bytes = (0..count).flat_map(|_| 1_i64.to_le_bytes()).collect::<Vec<u8>>().into();
    let ids = TensorData { dtype: DType::Int64, shape: vec![rows, length], bytes, requires_grad: false };
    let ids = model.place(M::Tensor::of_data(&ids)?)?;
    match model.forward(&mut [Segment::new(rows, length, ids)], onlooker) {
        Ok(_) | Err(Interrupt::Enough) => Ok(()),
        Err(Interrupt::Failed(raise)) => Err(raise),
    }
}

struct Onlooker {
    seen: Seen,
    /// Whether it looks at everything, or at nothing.
    all: bool,
}

impl<T: Tensor> Observer<T> for Onlooker {
    fn wants(&self, _: Site, _: crate::model::SegmentIndex) -> Wants {
        Wants { input: self.all, output: self.all, inside: self.all, operations: false }
    }

    fn enter(&mut self, site: Site, inputs: Inputs<Packed<T>>, layout: &Layout) -> Result<Entered<T>, Interrupt> {
        let first = inputs.args.first().or(inputs.kwargs.first().map(|(_, tree)| tree));
        if let Some(first) = first {
            self.seen.insert(Location::Input(site), form(first, layout));
        }
        Ok(Entered { inputs, skipped: None })
    }

    fn exit(&mut self, site: Site, output: Tree<Packed<T>>, layout: &Layout) -> Result<Tree<Packed<T>>, Interrupt> {
        self.seen.insert(Location::Output(site), form(&output, layout));
        Ok(output)
    }
}

/// Returns the form of a value, as the one segment of the pass sees it.
fn form<T: Tensor>(tree: &Tree<Packed<T>>, layout: &Layout) -> Form {
    match tree {
        Tree::None => Form::None,
        Tree::Bool(_) | Tree::Int(_) | Tree::Float(_) => Form::Scalar,
        Tree::Object(_) | Tree::Dict(_) => Form::Unknown,
        Tree::Tuple(items) => Form::Tuple(items.iter().map(|item| form(item, layout)).collect()),
        Tree::Record { class, fields } => {
            let fields = fields.iter().map(|(name, field)| ((*name).to_owned(), form(field, layout)));
            Form::Record((*class).to_owned(), fields.collect())
        }
        Tree::Leaf(leaf) => {
            let (tensor, along) = match leaf {
                Packed::Tokens(tensor) => (Some(tensor), true),
                Packed::Parts(parts) => (parts.first(), false),
                Packed::Some(parts) => (parts.first().and_then(Option::as_ref), false),
            };
            let Some((tensor, dtype)) = tensor.and_then(|tensor| Some((tensor, tensor.dtype()?))) else {
                return Form::Unknown;
            };
            let mut shape: Vec<Size> = tensor.shape().into_iter().map(Size::Fixed).collect();
            if along {
                let part = layout.parts.first().map_or((1, 1), |part| (part.rows, part.length));
                shape.splice(..1.min(shape.len()), [Size::Fixed(part.0), Size::Fixed(part.1)]);
            }
            Form::Tensor(dtype, shape)
        }
    }
}

/// Returns the form of which both are examples.
fn general(first: &Form, second: &Form) -> Form {
    let [(rows, length), (more_rows, more_length)] = SIZES;
    match (first, second) {
        (Form::Tensor(dtype, one), Form::Tensor(same, other)) if dtype == same && one.len() == other.len() => {
            let sizes = one.iter().zip(other).map(|pair| match pair {
                (Size::Fixed(one), Size::Fixed(other)) if one == other => Size::Fixed(*one),
                (Size::Fixed(one), Size::Fixed(other)) if (*one, *other) == (rows, more_rows) => Size::Rows,
                (Size::Fixed(one), Size::Fixed(other)) if (*one, *other) == (length, more_length) => Size::Length,
                _ => Size::Unknown,
            });
            Form::Tensor(*dtype, sizes.collect())
        }
        (Form::Tuple(one), Form::Tuple(other)) if one.len() == other.len() => {
            Form::Tuple(one.iter().zip(other).map(|(one, other)| general(one, other)).collect())
        }
        (Form::Record(class, one), Form::Record(_, other)) if one.len() == other.len() => {
            let fields = one.iter().zip(other).map(|((name, one), (_, other))| (name.clone(), general(one, other)));
            Form::Record(class.clone(), fields.collect())
        }
        (one, other) if one == other => one.clone(),
        _ => Form::Unknown,
    }
}

#[cfg(test)]
mod tests;
