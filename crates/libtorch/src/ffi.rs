//! The shim's C functions, as `shim/shim.h` declares them. Only the crates beside this one call them.

use std::ffi::{c_char, c_uint, c_void};

pub const DEFAULT: i32 = 0;
pub const NONE: i32 = 1;
pub const TENSOR: i32 = 2;
pub const INT: i32 = 3;
pub const FLOAT: i32 = 4;
pub const BOOL: i32 = 5;
pub const COMPLEX: i32 = 6;
pub const STRING: i32 = 7;
pub const INTS: i32 = 8;
pub const FLOATS: i32 = 9;
pub const BOOLS: i32 = 10;
pub const TENSORS: i32 = 11;
pub const OPTIONAL_TENSORS: i32 = 12;
pub const WRAPPED: i32 = 13;
pub const DEVICE: i32 = 14;
pub const GENERATOR: i32 = 15;
pub const ELLIPSIS: i32 = 16;
pub const SLICE: i32 = 17;
pub const UNSIGNED: i32 = 18;

/// One value on its way to or from libtorch.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Datum {
    pub tag: i32,
    pub kind: i32,
    pub integer: i64,
    pub real: f64,
    pub imaginary: f64,
    pub data: *const c_void,
    pub length: usize,
}

impl Datum {
    pub const fn of(tag: i32) -> Self {
        Self { tag, kind: 0, integer: 0, real: 0.0, imaginary: 0.0, data: std::ptr::null(), length: 0 }
    }
}

/// Kinds of [`Error`]: which exception PyTorch raises.
pub mod error {
    pub const RUNTIME: i32 = 0;
    pub const INDEX: i32 = 1;
    pub const VALUE: i32 = 2;
    pub const TYPE: i32 = 3;
    pub const NOT_IMPLEMENTED: i32 = 4;
    pub const LINALG: i32 = 5;
    pub const MEMORY: i32 = 6;
}

/// What went wrong; `text` is null where nothing did.
#[repr(C)]
pub struct Error {
    pub kind: i32,
    pub text: *mut c_char,
}

/// A tensor's metadata.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Facts {
    pub dtype: i32,
    pub device_type: i32,
    pub device_index: i32,
    pub layout: i32,
    pub dimensions: i64,
    pub elements: i64,
    pub element_size: i64,
    pub storage_offset: i64,
    pub storage: *const c_void,
    pub requires_grad: bool,
    pub is_leaf: bool,
    pub is_contiguous: bool,
    pub is_conj: bool,
}

/// How a matrix lies in panels of 64 outputs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Panels {
    pub data: *const c_void,
    pub outputs: i64,
    pub step: i64,
    pub stride: i64,
    pub stretch: i64,
}

/// What an operator is called under.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    pub gradients: bool,
    /// The type that autocast has the listed operators compute in, or [`NO_CAST`].
    pub cpu_cast: i8,
    pub gpu_cast: i8,
}

pub const NO_CAST: i8 = -1;

impl Mode {
    /// Returns the mode in which nothing is cast.
    pub const fn plain(gradients: bool) -> Self {
        Self { gradients, cpu_cast: NO_CAST, gpu_cast: NO_CAST }
    }
}

/// What becomes of a wish for memory.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    No = 0,
    Yes = 1,
    /// Refused, but the operation is others' too and goes on.
    Unpaid = 2,
}

pub type Reserve = extern "C" fn(*mut c_void, usize) -> Reserved;
pub type Release = extern "C" fn(*mut c_void, usize);
pub type GradientHook = extern "C" fn(*mut c_void, *const c_void, *mut *mut c_void);
pub type Drop = extern "C" fn(*mut c_void);
pub type Product = extern "C" fn(*const *const c_void, *const *const c_void, usize, bool, *mut *mut c_void) -> bool;
pub type Differentiate = extern "C" fn(*const c_void, *const *const c_void, usize, *mut *mut c_void, usize) -> bool;
pub type Pays = extern "C" fn(usize);

unsafe extern "C" {
    pub fn vt_free(memory: *mut c_void);
    #[cfg(test)]
    pub fn vt_interface(error: *mut Error) -> *mut c_char;
    pub fn vt_account_allocations();
    pub fn vt_set_passing(set: bool);
    pub fn vt_set_lasting(set: bool);
    pub fn vt_drop_spare();
    pub fn vt_set_account(account: *mut c_void, reserve: Option<Reserve>, release: Option<Release>);
    pub fn vt_operators(error: *mut Error) -> *mut c_char;
    pub fn vt_call(
        handle: usize,
        arguments: *const Datum,
        count: usize,
        mode: Mode,
        lent: *mut c_void,
        results: *mut *mut Datum,
        result_count: *mut usize,
        error: *mut Error,
    ) -> bool;
    pub fn vt_facts(tensor: *const c_void, facts: *mut Facts);
    pub fn vt_sizes(tensor: *const c_void, sizes: *mut i64, strides: *mut i64);
    pub fn vt_read(tensor: *const c_void, to: *mut c_void, bytes: usize, error: *mut Error) -> bool;
    pub fn vt_of_bytes(
        dtype: i32,
        sizes: *const i64,
        dimensions: usize,
        from: *const c_void,
        bytes: usize,
        error: *mut Error,
    ) -> *mut c_void;
    pub fn vt_clone_handle(tensor: *const c_void) -> *mut c_void;
    pub fn vt_pack_linear(weight: *const c_void, rows: i64, error: *mut Error) -> *mut c_void;
    pub fn vt_linear_packed(
        input: *const c_void,
        weight: *const c_void,
        bias: *const c_void,
        error: *mut Error,
    ) -> *mut c_void;
    pub fn vt_packed_bytes(packed: *const c_void, bytes: *mut i64, error: *mut Error) -> *const c_void;
    pub fn vt_find_panels(packed: *const c_void, dense: *const c_void, found: *mut Panels, error: *mut Error) -> bool;
    pub fn vt_multiply_panels(
        input: *const c_void,
        panels: *const Panels,
        bias: *const c_void,
        error: *mut Error,
    ) -> *mut c_void;
    pub fn vt_attend_varlen(
        query: *const c_void,
        key: *const c_void,
        value: *const c_void,
        query_starts: *const c_void,
        key_starts: *const c_void,
        keys_used: *const c_void,
        longest_query: i64,
        longest_key: i64,
        causal: bool,
        scale: f64,
        error: *mut Error,
    ) -> *mut c_void;
    pub fn vt_with_number(operation: i32, tensor: *const c_void, number: f64, error: *mut Error) -> *mut c_void;
    pub fn vt_version(tensor: *const c_void) -> i64;
    pub fn vt_identity(tensor: *const c_void) -> *const c_void;
    pub fn vt_is_same(left: *const c_void, right: *const c_void) -> bool;
    pub fn vt_get_item(
        tensor: *const c_void,
        indices: *const Datum,
        count: usize,
        mode: Mode,
        error: *mut Error,
    ) -> *mut c_void;
    pub fn vt_set_item(
        tensor: *const c_void,
        indices: *const Datum,
        count: usize,
        value: *const Datum,
        mode: Mode,
        error: *mut Error,
    ) -> bool;
    pub fn vt_set_requires_grad(tensor: *const c_void, on: bool, error: *mut Error) -> bool;
    pub fn vt_grad(tensor: *const c_void, error: *mut Error) -> *mut c_void;
    pub fn vt_set_grad(tensor: *const c_void, gradient: *const c_void, error: *mut Error) -> bool;
    pub fn vt_retain_grad(tensor: *const c_void, error: *mut Error) -> bool;
    pub fn vt_recording() -> bool;
    pub fn vt_set_recording(on: bool);
    pub fn vt_register_hook(
        tensor: *const c_void,
        hook: GradientHook,
        context: *mut c_void,
        drop: Drop,
        handle: *mut c_uint,
        error: *mut Error,
    ) -> bool;
    pub fn vt_record_product(
        input: *const c_void,
        product: *const c_void,
        context: *mut c_void,
        moment: u64,
        multiply: Product,
        drop: Drop,
        error: *mut Error,
    ) -> *mut c_void;
    pub fn vt_record_function(
        inputs: *const *const c_void,
        input_count: usize,
        outputs: *const *const c_void,
        output_count: usize,
        name: *const c_char,
        zeros: bool,
        saves: bool,
        context: *mut c_void,
        differentiate: Differentiate,
        drop: Drop,
        results: *mut *mut c_void,
        error: *mut Error,
    ) -> bool;
    pub fn vt_remove_hook(tensor: *const c_void, handle: c_uint, error: *mut Error) -> bool;
    pub fn vt_leaves(
        outputs: *const *const c_void,
        output_count: usize,
        results: *mut *mut *mut c_void,
        result_count: *mut usize,
        error: *mut Error,
    ) -> bool;
    pub fn vt_graph_work(outputs: *const *const c_void, output_count: usize) -> f64;
    pub fn vt_gradients(
        outputs: *const *const c_void,
        seeds: *const *const c_void,
        output_count: usize,
        inputs: *const *const c_void,
        input_count: usize,
        accumulate: bool,
        retain_graph: bool,
        create_graph: bool,
        allow_unused: bool,
        results: *mut *mut *mut c_void,
        error: *mut Error,
    ) -> bool;
    pub fn vt_backward_together(
        outputs: *const *const c_void,
        seeds: *const *const c_void,
        owner: *const usize,
        output_count: usize,
        owner_count: usize,
        retain_graph: bool,
        pays: Pays,
        walked: *mut bool,
        error: *mut Error,
    ) -> bool;
    pub fn vt_grad_fn(tensor: *const c_void) -> *mut c_char;
    pub fn vt_generator(device_type: i32, device_index: i32, seed: u64, error: *mut Error) -> *mut c_void;
    pub fn vt_generator_handle(generator: *const c_void) -> *mut c_void;
    pub fn vt_generator_free(generator: *mut c_void);
    pub fn vt_generator_seed(generator: *mut c_void, seed: u64, error: *mut Error) -> bool;
    pub fn vt_generator_initial_seed(generator: *const c_void) -> u64;
    pub fn vt_generator_state(generator: *const c_void, error: *mut Error) -> *mut c_void;
    pub fn vt_generator_set_state(generator: *mut c_void, state: *const c_void, error: *mut Error) -> bool;
    pub fn vt_load_library(path: *const c_char, error: *mut Error) -> bool;
    pub fn vt_libtorch_file() -> *mut c_char;
    pub fn vt_devices() -> i64;
    pub fn vt_use_devices(error: *mut Error) -> bool;
    pub fn vt_synchronize(index: i32, error: *mut Error) -> bool;
    pub fn vt_device_memory(index: i32, free: *mut u64, all: *mut u64, error: *mut Error) -> bool;
    pub fn vt_stream(index: i32, handle: *mut *mut c_void, error: *mut Error) -> bool;
    pub fn vt_exchange_device(index: i32, before: *mut i32, error: *mut Error) -> bool;
    pub fn vt_mark(index: i32, error: *mut Error) -> *mut c_void;
    pub fn vt_mark_reached(mark: *const c_void, reached: *mut bool, error: *mut Error) -> bool;
    pub fn vt_mark_free(mark: *mut c_void);
    pub fn vt_upload(host: *const c_void, index: i32, mark: *mut *mut c_void, error: *mut Error) -> *mut c_void;
    pub fn vt_wait_for_mark(mark: *const c_void, index: i32, error: *mut Error) -> bool;
    pub fn vt_release_memory(devices: bool);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::CStr;
    use std::mem::{offset_of, size_of};

    use super::*;

    /// What the other side takes the numbers and the forms of the interface to be.
    fn theirs() -> BTreeMap<String, i64> {
        let mut error = Error { kind: 0, text: std::ptr::null_mut() };
        // SAFETY: the error is a local.
        let text = unsafe { vt_interface(&raw mut error) };
        assert!(!text.is_null());
        // SAFETY: a non-null answer is NUL-terminated.
        let lines = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
        // SAFETY: the answer is ours to free.
        unsafe { vt_free(text.cast()) };
        lines
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.into(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn both_sides_take_the_interface_to_be_the_same() {
        let tags = [
            ("TAG_DEFAULT", DEFAULT),
            ("TAG_NONE", NONE),
            ("TAG_TENSOR", TENSOR),
            ("TAG_INT", INT),
            ("TAG_FLOAT", FLOAT),
            ("TAG_BOOL", BOOL),
            ("TAG_COMPLEX", COMPLEX),
            ("TAG_STRING", STRING),
            ("TAG_INTS", INTS),
            ("TAG_FLOATS", FLOATS),
            ("TAG_BOOLS", BOOLS),
            ("TAG_TENSORS", TENSORS),
            ("TAG_OPTIONAL_TENSORS", OPTIONAL_TENSORS),
            ("TAG_WRAPPED", WRAPPED),
            ("TAG_DEVICE", DEVICE),
            ("TAG_GENERATOR", GENERATOR),
            ("TAG_ELLIPSIS", ELLIPSIS),
            ("TAG_SLICE", SLICE),
            ("TAG_UNSIGNED", UNSIGNED),
            ("ERROR_RUNTIME", error::RUNTIME),
            ("ERROR_INDEX", error::INDEX),
            ("ERROR_VALUE", error::VALUE),
            ("ERROR_TYPE", error::TYPE),
            ("ERROR_NOT_IMPLEMENTED", error::NOT_IMPLEMENTED),
            ("ERROR_LINALG", error::LINALG),
            ("ERROR_MEMORY", error::MEMORY),
            ("RESERVED_NO", Reserved::No as i32),
            ("RESERVED_YES", Reserved::Yes as i32),
            ("RESERVED_UNPAID", Reserved::Unpaid as i32),
            ("NO_CAST", i32::from(NO_CAST)),
        ];
        let forms = [
            ("sizeof(Datum)", size_of::<Datum>()),
            ("offsetof(Datum, kind)", offset_of!(Datum, kind)),
            ("offsetof(Datum, integer)", offset_of!(Datum, integer)),
            ("offsetof(Datum, real)", offset_of!(Datum, real)),
            ("offsetof(Datum, imaginary)", offset_of!(Datum, imaginary)),
            ("offsetof(Datum, data)", offset_of!(Datum, data)),
            ("offsetof(Datum, length)", offset_of!(Datum, length)),
            ("sizeof(Error)", size_of::<Error>()),
            ("offsetof(Error, text)", offset_of!(Error, text)),
            ("sizeof(Mode)", size_of::<Mode>()),
            ("offsetof(Mode, cpu_cast)", offset_of!(Mode, cpu_cast)),
            ("offsetof(Mode, gpu_cast)", offset_of!(Mode, gpu_cast)),
            ("sizeof(Panels)", size_of::<Panels>()),
            ("offsetof(Panels, outputs)", offset_of!(Panels, outputs)),
            ("offsetof(Panels, step)", offset_of!(Panels, step)),
            ("offsetof(Panels, stride)", offset_of!(Panels, stride)),
            ("offsetof(Panels, stretch)", offset_of!(Panels, stretch)),
            ("sizeof(Facts)", size_of::<Facts>()),
            ("offsetof(Facts, device_type)", offset_of!(Facts, device_type)),
            ("offsetof(Facts, device_index)", offset_of!(Facts, device_index)),
            ("offsetof(Facts, layout)", offset_of!(Facts, layout)),
            ("offsetof(Facts, dimensions)", offset_of!(Facts, dimensions)),
            ("offsetof(Facts, elements)", offset_of!(Facts, elements)),
            ("offsetof(Facts, element_size)", offset_of!(Facts, element_size)),
            ("offsetof(Facts, storage_offset)", offset_of!(Facts, storage_offset)),
            ("offsetof(Facts, storage)", offset_of!(Facts, storage)),
            ("offsetof(Facts, requires_grad)", offset_of!(Facts, requires_grad)),
            ("offsetof(Facts, is_leaf)", offset_of!(Facts, is_leaf)),
            ("offsetof(Facts, is_contiguous)", offset_of!(Facts, is_contiguous)),
            ("offsetof(Facts, is_conj)", offset_of!(Facts, is_conj)),
        ];
        let ours = tags.into_iter().map(|(name, value)| (String::from(name), i64::from(value)));
        let ours = ours.chain(forms.into_iter().map(|(name, value)| (String::from(name), value as i64)));
        assert_eq!(ours.collect::<BTreeMap<_, _>>(), theirs());
    }
}
