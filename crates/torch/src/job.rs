//! What one job's tensors share: who pays for memory, the random numbers, whether gradients are recorded.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use interpreter::pool::Short;
use interpreter::raise::Raise;
use interpreter::{Fatal, Machine, Meter, Share};
use kernels::Rows;
use libtorch::account::{self, Account, Pays};
use libtorch::ffi::{self, Reserved};
use libtorch::foreign;

use crate::backward::Walk;
use crate::cost::{self, Work};
use crate::dtype::Device;
use crate::generator::Generator;
use crate::modes::Modes;
use crate::tensor::Tensor;

/// A job's state in this crate, kept as an extension of its [`Machine`].
pub struct Job {
    account: Arc<Account>,
    /// Where the model computes, by libtorch's numbers.
    device: Cell<Device>,
    seed: Cell<u64>,
    generators: RefCell<Vec<(Device, Rc<Generator>)>>,
    /// Whether anything of the job may record what gradients need.
    gradients: Cell<bool>,
    modes: Modes,
    rows: Cell<Rows>,
    company: Cell<bool>,
    /// Something took place by which not all that the model shows comes of its parameters.
    doubts: Cell<bool>,
    regrets: Cell<bool>,
    /// Backward passes under way that are not recorded themselves, and all of them.
    unrecorded: Cell<usize>,
    walks: Cell<usize>,
    block: RefCell<Option<Rc<Walk>>>,
    /// What a hook of a gradient raised, until the pass that called it is done.
    failure_of_hooks: RefCell<Option<Raise>>,
    /// Tensors whose `.grad` may have a graph that leads back to them, which libtorch's counting would never free.
    cyclic: RefCell<Vec<Tensor>>,
}

impl Drop for Job {
    fn drop(&mut self) {
        for tensor in self.cyclic.take() {
            // A tensor that refuses has no gradient.
            let _ = tensor.set_grad(None);
        }
    }
}

impl Job {
    /// Returns the state of a machine's job, made on first use.
    #[must_use]
    pub fn of(machine: &Machine) -> Rc<Self> {
        if let Some(job) = machine.extension::<Self>() {
            return job;
        }
        let job = Rc::new(Self {
            account: Arc::default(),
            device: Cell::new(Device::CPU),
            seed: Cell::new(DEFAULT_SEED),
            generators: RefCell::default(),
            gradients: Cell::new(true),
            modes: Modes::new(machine.switches()),
            rows: Cell::default(),
            company: Cell::default(),
            doubts: Cell::default(),
            regrets: Cell::default(),
            unrecorded: Cell::new(0),
            walks: Cell::new(0),
            block: RefCell::default(),
            failure_of_hooks: RefCell::default(),
            cyclic: RefCell::default(),
        });
        machine.set_extension(job.clone());
        job
    }

    /// Sets, before the job's code runs, where its model computes.
    pub fn set_device(&self, device: Device) {
        self.device.set(device);
    }

    /// Returns the device of tensors that are made without naming one, by the job's own name for it: the model's.
    #[must_use]
    pub fn device(&self) -> Device {
        if self.device.get().is_cuda() { Device::cuda(0) } else { Device::CPU }
    }

    /// Returns the device that a job means. It has the CPU and, as `cuda` and `cuda:0`, the GPU of its model, whichever
    /// of the machine's that is; it reaches no other.
    ///
    /// # Errors
    /// `RuntimeError` for others, with PyTorch's text.
    pub fn resolve(&self, device: Device) -> Result<Device, Raise> {
        let own = self.device.get();
        match device {
            Device { kind: 0, .. } => Ok(Device::CPU),
            _ if !own.is_cuda() => Err(Raise::runtime_error("No CUDA GPUs are available")),
            Device { index: ..=0, .. } => Ok(own),
            _ => Err(Raise::runtime_error("CUDA error: invalid device ordinal")),
        }
    }

    /// Returns whether operations of the code that runs record what gradients need. True at first, as in Python, and
    /// false where a backward pass runs that nobody wants the gradient of, whatever the code beside it says.
    #[must_use]
    pub fn gradients(&self) -> bool {
        self.gradients.get() && self.modes.gradients() && self.unrecorded.get() == 0
    }

    /// Returns whether the code that runs has left it at recording what gradients need, whether or not the job can have any.
    #[must_use]
    pub fn records(&self) -> bool {
        self.modes.gradients()
    }

    /// Sets whether any code of the job may have gradients, and returns what was set before.
    pub fn set_gradients(&self, on: bool) -> bool {
        self.gradients.replace(on)
    }

    /// Returns what the code that runs has set for itself.
    pub(crate) fn modes(&self) -> &Modes {
        &self.modes
    }

    /// Returns whether the code that runs is inside `torch.autocast`.
    #[must_use]
    pub fn casts(&self) -> bool {
        self.modes.casts()
    }

    /// Returns the modes that the code that runs calls operators under.
    pub(crate) fn mode(&self) -> ffi::Mode {
        self.modes.mode(self.gradients())
    }

    /// Returns what the bits of the model's modules may depend on where the job calls them itself.
    #[must_use]
    pub fn rows(&self) -> Rows {
        self.rows.get()
    }

    /// Sets what [`Job::rows`] returns.
    pub fn set_rows(&self, rows: Rows) {
        self.rows.set(rows);
    }

    /// Returns whether the job shares passes. Then what it asks for is computed with what others ask for at the same moment,
    /// and of logits only what it looks at; else logits are computed whole, so that gradients can go by way of them.
    #[must_use]
    pub fn has_company(&self) -> bool {
        self.company.get()
    }

    /// Sets what [`Job::has_company`] returns.
    pub fn set_company(&self, company: bool) {
        self.company.set(company);
    }

    /// Notes that not all that the model shows from now on would require grad.
    pub fn doubt(&self) {
        self.doubts.set(true);
    }

    /// Notes a trace, whose pass records gradients, with the client, where the code around it does.
    pub fn note_trace(&self, recorded: bool) {
        self.doubts.set(self.doubts.get() || !(recorded && self.modes.gradients()));
    }

    /// Returns whether tensors that come of the model's parameters would require grad.
    #[must_use]
    pub fn learns(&self) -> bool {
        !self.gradients.get() && !self.doubts.get()
    }

    /// Returns whether what the code that runs computes of parameters is known as that: see [`crate::Tensor::is_learned`].
    #[must_use]
    pub fn notes_learned(&self) -> bool {
        !self.gradients.get() && self.modes.gradients()
    }

    /// Notes that logits were asked for whole after parts of them had been computed by themselves: only from its
    /// beginning, with whole ones, can the job come to the right gradients.
    pub fn regret(&self) {
        self.regrets.set(true);
    }

    #[must_use]
    pub fn regrets(&self) -> bool {
        self.regrets.get()
    }

    /// Notes a backward pass until the guard is dropped. What runs within an `unrecorded` one records no gradients.
    ///
    /// # Errors
    /// `RuntimeError` when so many run inside one another.
    pub(crate) fn walk(self: &Rc<Self>, unrecorded: bool, most: usize) -> Result<Walking, Raise> {
        if self.walks.get() >= most {
            return Err(Raise::runtime_error(format!("more than {most} backward passes inside one another")));
        }
        self.walks.update(|walks| walks + 1);
        self.unrecorded.update(|walks| walks + usize::from(unrecorded));
        Ok(Walking { job: Rc::clone(self), unrecorded })
    }

    /// Returns whether a backward pass is under way.
    pub(crate) fn is_walking(&self) -> bool {
        self.walks.get() > 0
    }

    /// Has a tensor's `.grad` emptied when the job ends.
    ///
    /// # Errors
    /// Memory is spent.
    pub(crate) fn empty_at_end(&self, machine: &Machine, tensor: Tensor) -> Result<(), Raise> {
        machine.charge_memory(CYCLIC)?;
        self.cyclic.borrow_mut().push(tensor);
        Ok(())
    }

    /// Returns the `with loss.backward():` block that runs, the innermost where several do.
    pub(crate) fn backward_block(&self) -> Option<Rc<Walk>> {
        self.block.borrow().clone()
    }

    /// Returns whether a hook of a gradient has raised in the pass under way.
    pub(crate) fn hooks_failed(&self) -> bool {
        self.failure_of_hooks.borrow().is_some()
    }

    /// Keeps what a hook of a gradient raised: libtorch's walk goes on without hooks.
    pub(crate) fn fail_hooks(&self, raise: Raise) {
        *self.failure_of_hooks.borrow_mut() = Some(raise);
    }

    /// Returns what a hook raised, once.
    pub(crate) fn take_failure_of_hooks(&self) -> Option<Raise> {
        self.failure_of_hooks.take()
    }

    /// Sets which block runs, and returns which one did.
    pub(crate) fn set_backward_block(&self, block: Option<Rc<Walk>>) -> Option<Rc<Walk>> {
        self.block.replace(block)
    }

    /// Does an operation on this thread. The job pays: before, in steps for what is read and computed and in memory for the
    /// tensors that are made; while it runs, for their elements; and when it is done, in steps for what was written.
    ///
    /// # Errors
    /// What the operation raises; memory or fuel is spent.
    pub(crate) fn pay<T>(
        &self,
        machine: &Machine,
        work: Work,
        operation: impl FnOnce() -> Result<T, Raise>,
    ) -> Result<T, Raise> {
        charge(machine, work)?;
        let began = Instant::now();
        let paying = Paying::new(machine, self);
        let outcome = paying.settle(operation());
        let written = paying.written();
        drop(paying);
        if began.elapsed() > LONG {
            machine.look_soon();
        }
        machine.charge_fuel(cost::written(written))?;
        outcome
    }

    /// Returns the job's default generator of a device. Seeded with PyTorch's own default until `manual_seed`.
    ///
    /// # Errors
    /// `RuntimeError` for a device that this process does not have.
    pub fn generator(&self, device: Device) -> Result<Rc<Generator>, Raise> {
        let found = self.generators.borrow().iter().find(|(at, _)| *at == device).map(|(_, it)| it.clone());
        if let Some(generator) = found {
            return Ok(generator);
        }
        let generator = Rc::new(Generator::new(self, device, self.seed.get())?);
        self.generators.borrow_mut().push((device, generator.clone()));
        Ok(generator)
    }

    /// Seeds all default generators, those made later included.
    ///
    /// # Errors
    /// When a generator refuses the seed.
    pub fn seed(&self, seed: u64) -> Result<(), Raise> {
        self.seed.set(seed);
        self.generators.borrow().iter().try_for_each(|(_, generator)| generator.seed(seed))
    }
}

/// Operations that took longer are looked after: somebody may wait.
const LONG: Duration = Duration::from_millis(5);

/// Charges for an operation before it begins: nothing is made that could not be paid for.
///
/// # Errors
/// Fuel or memory is spent.
pub(crate) fn charge(machine: &Machine, work: Work) -> Result<(), Raise> {
    machine.charge_fuel(work.steps)?;
    let handles = work.handles.saturating_mul(HANDLE);
    if handles > 0 {
        machine.charge_memory(handles)?;
        machine.release_memory(handles);
    }
    Ok(())
}

/// A backward pass under way.
pub(crate) struct Walking {
    job: Rc<Job>,
    unrecorded: bool,
}

impl Drop for Walking {
    fn drop(&mut self) {
        self.job.walks.update(|walks| walks - 1);
        self.job.unrecorded.update(|walks| walks - usize::from(self.unrecorded));
    }
}

/// Bytes charged for a tensor that a job remembers.
const CYCLIC: u64 = 128;

/// PyTorch's `default_rng_seed_val`.
pub(crate) const DEFAULT_SEED: u64 = 67_280_421_310_721;

/// While it lives, this thread's allocations are charged to a machine.
pub struct Paying {
    _begun: account::Paying,
}

/// Who pays for a thread's allocations.
#[derive(Clone)]
pub(crate) struct Payer {
    machine: Machine,
    account: Arc<Account>,
    refused: Rc<RefCell<Option<Raise>>>,
    /// Bytes that were given out.
    written: Rc<Cell<u64>>,
    /// Whether what runs is others' too, and must not fail where memory is refused.
    shares: bool,
}

impl Payer {
    fn new(machine: &Machine, job: &Job) -> Self {
        let account = job.account.clone();
        settle(machine, &account);
        Self { machine: machine.clone(), account, refused: Rc::default(), written: Rc::default(), shares: false }
    }

    /// Makes a machine pay for its part of what runs for several. What it is refused it gets all the same, and finds the
    /// refusal in the end.
    pub(crate) fn sharing(machine: &Machine, job: &Job) -> Self {
        Self { shares: true, ..Self::new(machine, job) }
    }

    /// Takes the reason why memory was refused, if it was.
    pub(crate) fn refusal(&self) -> Option<Raise> {
        self.refused.borrow_mut().take()
    }

    /// Looks at the machine that pays on this thread, if one does.
    fn current<T>(look: impl FnOnce(Option<&Self>) -> T) -> T {
        account::with_payer(|payer| look(payer.and_then(|payer| payer.as_any().downcast_ref())))
    }
}

impl Pays for Payer {
    fn account(&self) -> &Arc<Account> {
        &self.account
    }

    fn reserve(&self, bytes: usize) -> Reserved {
        settle(&self.machine, &self.account);
        match self.machine.charge_tensor(bytes as u64) {
            Ok(()) => {
                self.written.set(self.written.get().saturating_add(bytes as u64));
                Reserved::Yes
            }
            Err(raise) => {
                *self.refused.borrow_mut() = Some(raise);
                if self.shares { Reserved::Unpaid } else { Reserved::No }
            }
        }
    }

    fn rest(&self) {
        // Whoever shares what runs has no stack of its own here, and foreign code must go on first.
        if !self.shares && !self.machine.is_held() {
            // That the job is to stop it finds where it looks next.
            let _ = self.machine.rest();
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Paying {
    /// Charges the thread's allocations to a machine from now on.
    #[must_use]
    pub fn new(machine: &Machine, job: &Job) -> Self {
        Self { _begun: account::paying(Rc::new(Payer::new(machine, job))) }
    }

    /// Charges nobody: what follows is the server's own.
    #[must_use]
    pub fn nobody() -> Self {
        Self { _begun: account::unpaid() }
    }

    /// Puts a refusal of memory before what became of the operation: it is why the operation failed, and on a device
    /// it comes when the operation has succeeded.
    ///
    /// # Errors
    /// The refusal, or the operation's own error.
    pub fn settle<T>(&self, outcome: Result<T, Raise>) -> Result<T, Raise> {
        foreign::go_on();
        self.refusal().map_or(outcome, Err)
    }

    /// Returns the bytes that the payer has been given since it pays.
    pub(crate) fn written(&self) -> u64 {
        Payer::current(|payer| payer.map_or(0, |payer| payer.written.get()))
    }

    /// Takes the reason why memory was refused, if it was.
    pub fn refusal(&self) -> Option<Raise> {
        Payer::current(|payer| payer.and_then(Payer::refusal))
    }
}

fn settle(machine: &Machine, account: &Account) {
    let freed = account.take();
    if freed > 0 {
        machine.release_tensor(freed);
    }
}

/// What an operation on another thread may take of its job's memory, while the job waits.
pub(crate) struct Purse {
    account: Arc<Account>,
    /// Bytes that the job had when the purse was filled, and may have.
    before: AtomicU64,
    most: u64,
    taken: AtomicU64,
    refused: AtomicBool,
    /// What the operation has of the memory that all share, and what its job holds beside tensors.
    share: Option<Share>,
    beside: u64,
    crowded: AtomicBool,
}

impl Purse {
    pub fn new(machine: &Machine, job: &Job) -> Arc<Self> {
        settle(machine, &job.account);
        Arc::new(Self {
            account: Arc::clone(&job.account),
            before: AtomicU64::new(machine.tensor_bytes()),
            most: machine.limits().tensor_bytes,
            taken: AtomicU64::new(0),
            refused: AtomicBool::new(false),
            share: machine.pool().map(|pool| pool.share()),
            beside: machine.memory_bytes(),
            crowded: AtomicBool::new(false),
        })
    }

    /// Has the thread that calls this pay from the purse for what it does.
    pub fn pay<T>(self: &Arc<Self>, task: impl FnOnce() -> T) -> T {
        let _paying = account::paying(Rc::new(Purser(Arc::clone(self))));
        task()
    }

    /// Lets the job take memory itself for a while, in which the operation takes none: what was taken is charged before, and
    /// the purse is filled anew after.
    ///
    /// # Errors
    /// As of [`Purse::close`].
    pub fn lend<T>(&self, machine: &Machine, task: impl FnOnce() -> T) -> Result<T, Raise> {
        self.close(machine)?;
        let done = task();
        settle(machine, &self.account);
        self.before.store(machine.tensor_bytes(), Ordering::Relaxed);
        Ok(done)
    }

    /// Charges the job, which goes on, for what was taken: memory that is not free again, and steps for all that was
    /// written.
    ///
    /// # Errors
    /// That memory was refused; fuel is spent.
    pub fn close(&self, machine: &Machine) -> Result<(), Raise> {
        let (taken, freed) = (self.taken.swap(0, Ordering::Relaxed), self.account.take());
        // The job has it from now on. Nothing can always be had.
        let _ = self.share.as_ref().map(|share| share.cover(0));
        match taken.checked_sub(freed) {
            Some(more) => machine.charge_tensor(more)?,
            None => machine.release_tensor(freed - taken),
        }
        if self.refused.load(Ordering::Relaxed) {
            machine.charge_tensor(u64::MAX)?;
        }
        if self.crowded.load(Ordering::Relaxed) {
            return Err(Raise::fatal(Fatal::Crowded));
        }
        machine.charge_fuel(cost::written(taken))
    }
}

/// The purse, in the hand of the operation's own thread.
struct Purser(Arc<Purse>);

impl Pays for Purser {
    fn account(&self) -> &Arc<Account> {
        &self.0.account
    }

    fn reserve(&self, bytes: usize) -> Reserved {
        let bytes = bytes as u64;
        let freed = self.0.account.freed();
        let taken = self.0.taken.load(Ordering::Relaxed);
        let before = self.0.before.load(Ordering::Relaxed);
        let all = before.saturating_add(taken).saturating_sub(freed).saturating_add(bytes);
        if all > self.0.most {
            self.0.refused.store(true, Ordering::Relaxed);
            return Reserved::No;
        }
        if let Some(share) = &self.0.share
            && let Err(short) = cover(share, all.saturating_add(self.0.beside), (taken + bytes).saturating_sub(freed))
        {
            let why = if short == Short::Now { &self.0.crowded } else { &self.0.refused };
            why.store(true, Ordering::Relaxed);
            return Reserved::No;
        }
        self.0.taken.store(taken + bytes, Ordering::Relaxed);
        Reserved::Yes
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Takes what an operation has on its thread, unless it is too much with all that its job has.
fn cover(share: &Share, all: u64, own: u64) -> Result<(), Short> {
    if all > share.pool().limit() { Err(Short::Never) } else { share.cover(own) }
}

/// What a tensor costs beside its elements: the objects that stand for it, here and in libtorch.
pub(crate) const HANDLE: u64 = 512;

/// A tensor's part of the memory of whoever paid when it was made, until it is dropped.
#[derive(Default)]
pub(crate) struct Price(Option<Rc<Meter>>);

impl Price {
    /// Has the thread's payer pay for a tensor. A refusal is found when the operation is done.
    pub fn pay() -> Self {
        Payer::current(|payer| {
            let Some(payer) = payer.filter(|payer| !payer.shares) else { return Self(None) };
            match payer.machine.charge_memory(HANDLE) {
                Ok(()) => Self(Some(payer.machine.meter())),
                Err(raise) => {
                    payer.refused.borrow_mut().get_or_insert(raise);
                    Self(None)
                }
            }
        })
    }
}

impl Drop for Price {
    fn drop(&mut self) {
        if let Some(meter) = &self.0 {
            meter.release(HANDLE);
        }
    }
}
