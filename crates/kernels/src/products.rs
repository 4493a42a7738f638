//! How many rows a kernel is given, and what its bits depend on.
//!
//! Kernels give a row other bits where they are given another *number* of rows, never for what the other rows hold:
//! they choose their loops by shape. So rows of jobs that share a pass are rounded up, by rows of zeros, to a size of a
//! small grid for which a kernel treats all its rows alike, wherever they lie. Which sizes are such, and which give the
//! same bits, is measured when a size first comes: it differs by processor. With AVX-512 all sizes give the same.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use libtorch::account;
use tch::{Device, Kind, TchError, Tensor};

use crate::apart::Way;
use crate::cut::Along;
use crate::probe::{Probe, even};
use crate::recorded::{Moment, Recorded};
use crate::weight::Weight;

/// How many rows a kernel is given: what their bits may depend on, besides themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rows {
    /// As many as there are. They are all one job's.
    Own,
    /// A size of the grid: a row's bits depend on the size alone.
    #[default]
    Rounded,
    /// Sizes that give the bits of one block: a row's bits depend on nothing else.
    Fixed,
}

impl Rows {
    /// Returns the number that stands for a rule among ranks.
    pub(crate) fn number(self) -> i64 {
        self as i64
    }

    pub(crate) fn of(number: i64) -> Option<Self> {
        [Self::Own, Self::Rounded, Self::Fixed].into_iter().find(|rows| rows.number() == number)
    }
}

/// Kernels of a model's weights, as far as they were measured.
#[derive(Default)]
pub struct Kernels {
    plans: RefCell<HashMap<Shape, Plan>>,
    /// Rows of zeros to round up with, by their width: to fill them anew each time is one more kernel on a GPU.
    zeros: RefCell<HashMap<(i64, Kind, Device), Tensor>>,
}

/// How a pass multiplies by weights, and what it met with.
#[derive(Clone, Default)]
pub struct Products {
    kernels: Rc<Kernels>,
    rows: Rows,
    met: Rc<RefCell<BTreeSet<Met>>>,
}

/// A shape of weight, and what names the bits that a kernel came to.
type Met = ([i64; 2], u64);

impl Products {
    /// Makes a way to multiply that has met nothing yet.
    #[must_use]
    pub fn new(kernels: &Rc<Kernels>, rows: Rows) -> Self {
        Self { kernels: Rc::clone(kernels), rows, met: Rc::default() }
    }

    /// Returns how the head multiplies: which positions others want logits of must not show in anybody's.
    #[must_use]
    pub fn of_head(&self) -> Self {
        let rows = if self.rows == Rows::Own { Rows::Own } else { Rows::Fixed };
        Self::new(&self.kernels, rows)
    }

    /// Multiplies `[…, in]` by a `[out, in]` weight, and adds a bias; see [`Kernels::linear`]. Gradients are recorded where
    /// the input requires them.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn linear(&self, input: &Tensor, weight: &Rc<Weight>, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        let product = self.multiply(input, weight, bias)?;
        if input.requires_grad() { self.record(input, weight, &product, Moment::new()) } else { Ok(product) }
    }

    /// The same, where there may be so many rows that others should not wait for all of them: they may have the thread
    /// between pieces, if whoever pays [rests](account::rest).
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn linear_in_pieces(
        &self,
        input: &Tensor,
        weight: &Rc<Weight>,
        bias: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let product = self.multiply_in_pieces(input, weight, bias)?;
        if input.requires_grad() { self.record(input, weight, &product, Moment::new()) } else { Ok(product) }
    }

    /// Multiplies the gradient of a product by its weight, in pieces.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub(crate) fn gradient(&self, gradient: &Tensor, weight: &Weight) -> Result<Tensor, TchError> {
        let transposed = weight.transposed()?;
        self.multiply_in_pieces(gradient, &transposed, None)
    }

    /// How many rows a piece has depends on the weight alone: its bits, where they are a job's own, on no clock.
    fn multiply_in_pieces(&self, input: &Tensor, weight: &Weight, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        let [outputs, inputs] = weight.size();
        let (mut shape, rows) = (input.size(), count(input));
        let piece = (PIECE / (outputs * inputs).max(1)).max(1) * BLOCK;
        // A GPU computes while its thread does something else.
        if rows <= piece || shape.last() != Some(&inputs) || input.device() != Device::Cpu {
            return self.multiply(input, weight, bias);
        }
        // Others may have the thread between pieces, and use layers that are far from here.
        let (here, _unrecorded) = (weight.here()?, tch::no_grad_guard());
        let flat = input.f_detach()?.f_reshape([rows, inputs])?;
        let all = Tensor::f_empty([rows, outputs], (flat.f_kind()?, flat.device()))?;
        for start in (0..rows).step_by(usize::try_from(piece).unwrap_or(usize::MAX)) {
            let length = piece.min(rows - start);
            let product = self.multiply(&flat.f_narrow(0, start, length)?, &here, bias)?;
            all.f_narrow(0, start, length)?.f_copy_(&product)?;
            account::rest();
        }
        if let Some(last) = shape.last_mut() {
            *last = outputs;
        }
        all.f_view(shape.as_slice())
    }

    fn multiply(&self, input: &Tensor, weight: &Weight, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        let (product, class) = self.kernels.linear(input, weight, bias, self.rows)?;
        if let Some(class) = class {
            self.meets(weight, class);
        }
        Ok(product)
    }

    /// Notes what names the bits of a product.
    pub(crate) fn meets(&self, weight: &Weight, class: u64) {
        self.met.borrow_mut().insert((weight.size(), class));
    }

    pub(crate) fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    pub(crate) fn rows(&self) -> Rows {
        self.rows
    }

    /// Makes a product that was computed without being recorded the outcome of its input. What was multiplied with it, as
    /// one, is of the same moment.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn record(
        &self,
        input: &Tensor,
        weight: &Rc<Weight>,
        product: &Tensor,
        moment: Moment,
    ) -> Result<Tensor, TchError> {
        // Not the view that it may be, which cannot have a history of its own.
        let own = Recorded { products: self.clone(), weight: Rc::clone(weight) };
        own.attach(input, &product.f_detach()?, moment)
    }

    /// Names the bits of the head's products; zero for one job's own.
    ///
    /// # Errors
    /// When a probe cannot be computed.
    pub fn class_of_head(&self, weight: &Weight) -> Result<u64, TchError> {
        if self.rows == Rows::Own { Ok(0) } else { self.kernels.class(weight, false, BLOCK) }
    }

    /// Returns the number of rows that kernels are given for so many; zero for one job's own.
    #[must_use]
    pub fn size(&self, rows: i64) -> i64 {
        match self.rows {
            Rows::Own => 0,
            Rows::Rounded => rounded(rows),
            Rows::Fixed => BLOCK,
        }
    }

    /// Returns what names the bits of all products since the last time: equal names, equal bits. An odd name says that
    /// this processor has no kernel for some size that treats all rows alike.
    #[must_use]
    pub fn take_class(&self) -> u64 {
        let mut hasher = blake3::Hasher::new();
        let mut odd = 0;
        for ([outputs, inputs], class) in std::mem::take(&mut *self.met.borrow_mut()) {
            odd |= class & 1;
            for number in [outputs.cast_unsigned(), inputs.cast_unsigned(), class] {
                hasher.update(&number.to_le_bytes());
            }
        }
        even(&hasher) | odd
    }
}

/// What a kernel's loops depend on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    outputs: i64,
    inputs: i64,
    kind: Kind,
    device: Device,
    packed: bool,
    flipped: bool,
    /// How it is kept in few bits, if it is.
    scheme: &'static str,
    /// Along which side it is cut into pieces, if it is.
    cut: Option<Along>,
    biased: bool,
    rows: i64,
}

impl Shape {
    fn new(weight: &Weight, biased: bool, rows: i64) -> Self {
        let ([outputs, inputs], kind, device) = (weight.size(), weight.kind(), weight.device());
        let (packed, flipped, scheme) = (weight.is_packed(), weight.is_flipped(), weight.scheme());
        let cut = weight.pieces().map(|(pieces, _)| pieces.cut.along);
        Self { outputs, inputs, kind, device, packed, flipped, scheme, cut, biased, rows }
    }
}

#[derive(Clone, Copy)]
struct Plan {
    /// Rows to give: the size, or a few more where these end in the kernel's main loop.
    rows: i64,
    /// A digest of the bits that a probe came to. Odd where rows had several, by where they lie.
    class: u64,
}

/// Rows of the block that [`Rows::Fixed`] is held to.
pub const BLOCK: i64 = 64;
/// Multiplications for a block of rows that a piece of a product has: a piece takes some tenths of a second.
const PIECE: i64 = 1 << 27;
/// More rows to try where a size ends in an odd loop: kernels' tiles have 4, 6, 8, 12 or 16 rows.
const MORE: i64 = 4;

/// Rounds a number of rows up to a size of the grid: steps of an eighth at most, so that few sizes are met.
#[must_use]
pub fn rounded(rows: i64) -> i64 {
    let step = match rows {
        ..=8 => return u64::try_from(rows).unwrap_or(0).next_power_of_two().cast_signed(),
        9..=32 => 4,
        33..=128 => 8,
        129..=512 => 16,
        513..=1024 => 32,
        _ => 64,
    };
    (rows + step - 1) / step * step
}

/// Returns the fewest rows that are worth a kernel: oneDNN's for AVX-512 take longer for one row than for four.
fn least(weight: &Weight) -> i64 {
    #[cfg(target_arch = "x86_64")]
    if weight.is_packed() && !weight.is_streamed(1) && std::arch::is_x86_feature_detected!("avx512f") {
        return 4;
    }
    1
}

impl Kernels {
    /// Multiplies `[…, in]` by a `[out, in]` weight, and adds a bias. Returns also what names the bits, where those of
    /// others had to be thought of. Nothing is recorded.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn linear(
        &self,
        input: &Tensor,
        weight: &Weight,
        bias: Option<&Tensor>,
        rows: Rows,
    ) -> Result<(Tensor, Option<u64>), TchError> {
        let _unrecorded = tch::no_grad_guard();
        let input = &input.f_detach()?;
        let [outputs, inputs] = weight.size();
        let (mut shape, count) = (input.size(), count(input));
        if count == 0 || shape.last() != Some(&inputs) {
            return Ok((weight.multiply(input, bias)?, None));
        }
        let flat = input.f_reshape([-1, inputs])?;
        let (product, class) = match (weight.pieces(), rows) {
            // What does not fit is refused in PyTorch's words.
            (Some(_), _) if input.kind() != weight.kind() || input.device() != weight.device() => {
                return Ok((weight.multiply(input, bias)?, None));
            }
            (Some((pieces, turned)), rows) => {
                let size = match rows {
                    Rows::Own => None,
                    Rows::Rounded => Some(rounded(count)),
                    Rows::Fixed => Some(BLOCK),
                };
                let class = size.map(|size| self.class(weight, bias.is_some(), size)).transpose()?;
                (pieces.multiply(self, &flat, bias, Way { rows, turned })?, class)
            }
            (None, Rows::Own) => (self.padded(count.max(least(weight)), &flat, weight, bias)?, None),
            (None, Rows::Rounded) => {
                let plan = self.plan(weight, bias.is_some(), rounded(count))?;
                (self.padded(plan.rows, &flat, weight, bias)?, Some(plan.class))
            }
            (None, Rows::Fixed) => (self.fixed(&flat, weight, bias)?, Some(self.class(weight, bias.is_some(), BLOCK)?)),
        };
        if let Some(last) = shape.last_mut() {
            *last = outputs;
        }
        Ok((product.f_view(shape.as_slice())?, class))
    }

    /// Looks into all sizes up to one, before the first is met.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn meet(&self, weight: &Weight, biased: bool, most: i64) -> Result<(), TchError> {
        if let Some((pieces, _)) = weight.pieces() {
            return pieces.meet(self, biased, most);
        }
        let (mut probe, mut size) = (None, 1);
        while size <= most {
            if self.known(weight, biased, size).is_none() {
                let probe = match &mut probe {
                    Some(probe) => probe,
                    none => none.insert(Probe::new(weight)?),
                };
                self.measure(probe, biased, size)?;
            }
            size = rounded(size + 1);
        }
        Ok(())
    }

    /// Multiplies so that every row has the bits that it has in a block.
    fn fixed(&self, input: &Tensor, weight: &Weight, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        let class = self.plan(weight, bias.is_some(), BLOCK)?.class;
        let rows = count(input);
        let mut size = rounded(rows);
        loop {
            let plan = self.plan(weight, bias.is_some(), size)?;
            if plan.class == class {
                return self.padded(plan.rows, input, weight, bias);
            }
            if size >= BLOCK {
                break;
            }
            size = rounded(size + 1);
        }
        let mut products = Vec::new();
        for start in (0..rows).step_by(usize::try_from(BLOCK).unwrap_or(1)) {
            products.push(self.fixed(&input.f_narrow(0, start, BLOCK.min(rows - start))?, weight, bias)?);
        }
        Tensor::f_cat(&products, 0)
    }

    /// Multiplies so many rows, with zeros after those that there are, and leaves these away; none where a row's bits do not
    /// depend on how many there are.
    fn padded(&self, rows: i64, input: &Tensor, weight: &Weight, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        let count = count(input);
        if rows == count || weight.is_streamed(rows) {
            return weight.multiply(input, bias);
        }
        let zeros = self.zeros(rows - count, weight.size()[1], input)?;
        weight.multiply(&Tensor::f_cat(&[input, &zeros], 0)?, bias)?.f_narrow(0, 0, count)
    }

    /// Returns rows of zeros that lie where a tensor does.
    fn zeros(&self, rows: i64, inputs: i64, like: &Tensor) -> Result<Tensor, TchError> {
        let key = (inputs, like.f_kind()?, like.device());
        let mut all = self.zeros.borrow_mut();
        if all.get(&key).is_none_or(|zeros| zeros.size().first().is_none_or(|&most| most < rows)) {
            let _unpaid = account::unpaid();
            all.insert(key, Tensor::f_zeros([rows.max(BLOCK), inputs], (key.1, key.2))?);
        }
        all.get(&key).ok_or_else(|| TchError::Shape("zeros got lost".into()))?.f_narrow(0, 0, rows)
    }

    /// Lists the numbers of rows that a shape of weight was multiplied with.
    #[must_use]
    pub fn sizes(&self, [outputs, inputs]: [i64; 2]) -> Vec<i64> {
        let plans = self.plans.borrow();
        plans
            .keys()
            .filter(|shape| shape.outputs == outputs && shape.inputs == inputs)
            .map(|shape| shape.rows)
            .collect()
    }

    /// Names the bits of products of a size. Odd where rows of it have several.
    pub(crate) fn class(&self, weight: &Weight, biased: bool, size: i64) -> Result<u64, TchError> {
        Ok(self.plan(weight, biased, size)?.class)
    }

    fn plan(&self, weight: &Weight, biased: bool, size: i64) -> Result<Plan, TchError> {
        match (self.known(weight, biased, size), weight.pieces()) {
            (Some(plan), _) => Ok(plan),
            (None, None) => self.measure(&Probe::new(weight)?, biased, size),
            (None, Some((pieces, turned))) => {
                let (mut hasher, mut odd) = (blake3::Hasher::new(), 0);
                for class in pieces.class(self, size, biased, turned)? {
                    odd |= class & 1;
                    hasher.update(&class.to_le_bytes());
                }
                // Each rank gives its piece as many rows as that takes.
                let plan = Plan { rows: size, class: even(&hasher) | odd };
                self.plans.borrow_mut().insert(Shape::new(weight, biased, size), plan);
                Ok(plan)
            }
        }
    }

    fn known(&self, weight: &Weight, biased: bool, size: i64) -> Option<Plan> {
        self.plans.borrow().get(&Shape::new(weight, biased, size)).copied()
    }

    fn measure(&self, probe: &Probe<'_>, biased: bool, size: i64) -> Result<Plan, TchError> {
        // The size itself, or else a few more rows: some of these the kernel's main loop is sure to end with.
        let plan = |rows| Ok::<_, TchError>(Plan { rows, class: probe.digest(rows, biased)? });
        let mut best = plan(size.max(least(probe.weight)))?;
        if !best.class.is_multiple_of(2) {
            let more = plan(best.rows + MORE)?;
            if more.class.is_multiple_of(2) {
                best = more;
            }
        }
        self.plans.borrow_mut().insert(Shape::new(probe.weight, biased, size), best);
        Ok(best)
    }
}

fn count(input: &Tensor) -> i64 {
    let size = input.size();
    size.split_last().map_or(0, |(_, rows)| rows.iter().product())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(shape: [i64; 2]) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu))
    }

    fn weight(outputs: i64, inputs: i64) -> Rc<Weight> {
        Rc::new(Weight::new(&random([outputs, inputs])).unwrap())
    }

    #[test]
    fn the_grid_is_small_and_its_steps_are_small() {
        assert_eq!([3, 5, 8, 9, 17, 63, 65, 500, 513, 4000].map(rounded), [4, 8, 8, 12, 20, 64, 72, 512, 544, 4032]);
        for rows in 1..5000 {
            let size = rounded(rows);
            assert!(size >= rows && rounded(size) == size, "{rows}");
            assert!(rows <= 32 || size - rows < rows / 4, "{rows} becomes {size}");
        }
    }

    #[test]
    fn a_row_has_the_same_bits_wherever_it_lies_among_whatever_others_of_one_size() {
        tch::manual_seed(5);
        let (weight, bias, kernels) =
            (weight(96, 64), Tensor::randn([96], (Kind::Float, Device::Cpu)), Kernels::default());
        let row = random([1, 64]);
        for size in [1, 4, 16, 24, 80, 272] {
            let mut found: Option<Tensor> = None;
            let fewer = if size == 1 { 1 } else { size - size / 8 };
            for rows in fewer..=size {
                for at in [0, rows / 2, rows - 1] {
                    let others = random([rows, 64]) * 1e30;
                    let input = others.index_put(&[Some(Tensor::from(at))], &row.squeeze(), false);
                    let product = kernels.linear(&input, &weight, Some(&bias), Rows::Rounded).unwrap().0.get(at);
                    let before = found.get_or_insert_with(|| product.shallow_clone());
                    assert_eq!(*before, product, "row {at} of {rows}, in {size}");
                }
            }
        }
    }

    #[test]
    fn sizes_that_were_met_before_are_those_that_come() {
        let (weight, kernels) = (weight(96, 64), Kernels::default());
        kernels.meet(&weight, true, 40).unwrap();
        let known = kernels.plans.borrow().len();
        for rows in 1..=40 {
            drop(
                kernels.linear(&random([rows, 64]), &weight, Some(&random([1, 96]).squeeze()), Rows::Rounded).unwrap(),
            );
        }
        assert_eq!((known, kernels.plans.borrow().len()), (11, 11));
    }

    #[test]
    fn a_row_of_fixed_ones_has_the_same_bits_among_any_number_of_others() {
        tch::manual_seed(6);
        let (weight, kernels) = (weight(96, 64), Kernels::default());
        let row = random([1, 64]);
        let alone = kernels.linear(&row, &weight, None, Rows::Fixed).unwrap().0.get(0);
        for rows in [2, 3, 5, 9, 17, 64, 65, 100, 700] {
            for at in [0, rows / 3, rows - 1] {
                let input = random([rows, 64]).index_put(&[Some(Tensor::from(at))], &row.squeeze(), false);
                let (product, _) = kernels.linear(&input, &weight, None, Rows::Fixed).unwrap();
                assert_eq!(product.size(), [rows, 96]);
                assert_eq!(product.get(at), alone, "row {at} of {rows}");
            }
        }
    }

    #[test]
    fn a_row_multiplied_by_codes_has_the_same_bits_among_any_others_of_its_class() {
        use crate::quantize::Scheme;
        use crate::quantized::Quantized;
        tch::manual_seed(12);
        for (scheme, kind) in [
            (Scheme::Int8, Kind::Float),
            (Scheme::Nf4, Kind::Float),
            (Scheme::Int8, Kind::BFloat16),
            (Scheme::Nf4, Kind::BFloat16),
        ] {
            // Rows that end between vectors.
            for [outputs, inputs] in [[36, 1030], [300, 42]] {
                let dense = random([outputs, inputs]);
                let coded =
                    scheme.quantize([outputs, inputs], Device::Cpu, |first, count| dense.f_narrow(0, first, count));
                let weight = Weight::quantized(Quantized::new(vec![coded.unwrap()], kind).unwrap());
                let turned = weight.transposed().unwrap();
                for (weight, width) in [(&weight, inputs), (&*turned, outputs)] {
                    let (kernels, row) = (Kernels::default(), random([1, width]).to_kind(kind));
                    for rule in [Rows::Rounded, Rows::Fixed] {
                        let mut by_class: HashMap<u64, Tensor> = HashMap::new();
                        for rows in [1, 2, 5, 9, 64, 65] {
                            for at in [0, rows - 1] {
                                let others = Tensor::full([rows, width], f64::NAN, (kind, Device::Cpu));
                                let input = others.index_put(&[Some(Tensor::from(at))], &row.squeeze_dim(0), false);
                                let (product, class) = kernels.linear(&input, weight, None, rule).unwrap();
                                let (found, class) = (product.get(at), class.unwrap());
                                assert!(class % 2 == 0, "{scheme:?} {kind:?}: {rows} rows are not treated alike");
                                assert!(!bool::try_from(found.isnan().any()).unwrap());
                                let before = by_class.entry(class).or_insert_with(|| found.shallow_clone());
                                assert_eq!(*before, found, "{scheme:?} {kind:?}: row {at} of {rows}, {rule:?}");
                            }
                        }
                        assert!(rule == Rows::Rounded || by_class.len() == 1);
                    }
                }
            }
        }
    }

    #[test]
    fn sizes_of_one_class_give_the_same_bits() {
        tch::manual_seed(7);
        let (weights, products) = ([weight(96, 64), weight(64, 96)], Products::default());
        let row = random([1, 64]);
        let mut by_class: HashMap<u64, Tensor> = HashMap::new();
        for size in [1, 2, 4, 8, 16, 32, 64, 128, 512] {
            let between = products.linear(&row.expand([size, 64], false), &weights[0], None).unwrap();
            let product = products.linear(&between, &weights[1], None).unwrap().get(0);
            let class = products.take_class();
            assert_eq!(*by_class.entry(class).or_insert_with(|| product.shallow_clone()), product, "{size}");
        }
    }

    #[test]
    fn shapes_and_gradients_are_kept() {
        let input = Tensor::ones([2, 3, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let weight = Weight::new(&Tensor::ones([5, 4], (Kind::Float, Device::Cpu))).unwrap();
        let kernels = Kernels::default();
        for rows in [Rows::Own, Rows::Rounded, Rows::Fixed] {
            assert_eq!(kernels.linear(&input.detach(), &weight, None, rows).unwrap().0.size(), [2, 3, 5]);
        }
        let products = Products::default();
        let product = products.linear(&input, &Rc::new(weight), None).unwrap();
        product.sum(Kind::Float).backward();
        assert_eq!(Vec::<f32>::try_from(input.grad().flatten(0, -1)).unwrap(), [5.0; 24]);
    }
}
