//! NCCL's functions, as the library that was found has them.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use crate::Stretch;
use crate::nccl::Stream;

/// NCCL, loaded. It stays for as long as the process does.
pub struct Library {
    version: String,
    unique_id: GetUniqueId,
    init: InitRank,
    state: AsyncError,
    abort: Abort,
    broadcast: Broadcast,
    send: SendTo,
    receive: ReceiveFrom,
    text: ErrorString,
    last: LastError,
}

/// A rank's end of NCCL's group. Dropping it ends what is under way.
pub struct Communicator {
    library: Arc<Library>,
    handle: Handle,
}

type Handle = *mut c_void;

// As `nccl.h` declares its functions.
type GetVersion = unsafe extern "C" fn(*mut c_int) -> c_int;
type GetUniqueId = unsafe extern "C" fn(*mut UniqueId) -> c_int;
type InitRank = unsafe extern "C" fn(*mut Handle, c_int, UniqueId, c_int, *mut Config) -> c_int;
type AsyncError = unsafe extern "C" fn(Handle, *mut c_int) -> c_int;
type Abort = unsafe extern "C" fn(Handle) -> c_int;
type Broadcast = unsafe extern "C" fn(*const c_void, *mut c_void, usize, c_int, c_int, Handle, *mut c_void) -> c_int;
type SendTo = unsafe extern "C" fn(*const c_void, usize, c_int, c_int, Handle, *mut c_void) -> c_int;
type ReceiveFrom = unsafe extern "C" fn(*mut c_void, usize, c_int, c_int, Handle, *mut c_void) -> c_int;
type ErrorString = unsafe extern "C" fn(c_int) -> *const c_char;
type LastError = unsafe extern "C" fn(Handle) -> *const c_char;

/// `ncclUniqueId`.
#[repr(C)]
#[derive(Clone, Copy)]
struct UniqueId([u8; Library::ID]);

/// `ncclConfig_t` as 2.18 has it: later ones take what they have besides as not said.
#[repr(C)]
struct Config {
    size: usize,
    magic: c_uint,
    version: c_uint,
    blocking: c_int,
    cga_cluster_size: c_int,
    min_ctas: c_int,
    max_ctas: c_int,
    net_name: *const c_char,
    split_share: c_int,
}

/// `ncclResult_t`.
const SUCCESS: c_int = 0;
const IN_PROGRESS: c_int = 7;

/// `ncclUint8`.
const BYTES: c_int = 1;

/// The oldest version whose communicators do not block, and whose settings have this form.
const OLDEST: c_int = 21800;

impl Library {
    /// Bytes of a group's name.
    pub const ID: usize = 128;

    /// Loads a library file.
    ///
    /// # Errors
    /// A sentence that names the file, and what it lacks.
    pub fn load(file: &Path) -> Result<Self, String> {
        let shown = file.display();
        let path =
            CString::new(file.as_os_str().as_bytes()).map_err(|_| format!("{shown}: its path has a zero byte"))?;
        // SAFETY: the path is NUL-terminated. What the library does as it is loaded is the operator's choice.
        let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if library.is_null() {
            return Err(format!("{shown} cannot be loaded: {}", problem()));
        }
        let find = |name: &CStr| {
            // SAFETY: the library is loaded, and the name NUL-terminated.
            let found = unsafe { libc::dlsym(library, name.as_ptr()) };
            if found.is_null() { Err(format!("{shown} has no {}", name.to_string_lossy())) } else { Ok(found) }
        };
        let get_version = find(c"ncclGetVersion")?;
        // SAFETY: `nccl.h` declares it so.
        let get_version = unsafe { std::mem::transmute::<*mut c_void, GetVersion>(get_version) };
        let mut version = 0;
        // SAFETY: the number is alive and is written to.
        let answered = unsafe { get_version(&raw mut version) };
        if answered != SUCCESS || version < OLDEST {
            return Err(format!("{shown} is NCCL {}, and 2.18 is the oldest that can be used", named(version)));
        }
        let (unique_id, init, state) =
            (find(c"ncclGetUniqueId")?, find(c"ncclCommInitRankConfig")?, find(c"ncclCommGetAsyncError")?);
        let (abort, broadcast, send) = (find(c"ncclCommAbort")?, find(c"ncclBroadcast")?, find(c"ncclSend")?);
        let (receive, text, last) = (find(c"ncclRecv")?, find(c"ncclGetErrorString")?, find(c"ncclGetLastError")?);
        Ok(Self {
            version: named(version),
            // SAFETY: `nccl.h` declares it so, and so it is for the others.
            unique_id: unsafe { std::mem::transmute::<*mut c_void, GetUniqueId>(unique_id) },
            // SAFETY: as above.
            init: unsafe { std::mem::transmute::<*mut c_void, InitRank>(init) },
            // SAFETY: as above.
            state: unsafe { std::mem::transmute::<*mut c_void, AsyncError>(state) },
            // SAFETY: as above.
            abort: unsafe { std::mem::transmute::<*mut c_void, Abort>(abort) },
            // SAFETY: as above.
            broadcast: unsafe { std::mem::transmute::<*mut c_void, Broadcast>(broadcast) },
            // SAFETY: as above.
            send: unsafe { std::mem::transmute::<*mut c_void, SendTo>(send) },
            // SAFETY: as above.
            receive: unsafe { std::mem::transmute::<*mut c_void, ReceiveFrom>(receive) },
            // SAFETY: as above.
            text: unsafe { std::mem::transmute::<*mut c_void, ErrorString>(text) },
            // SAFETY: as above.
            last: unsafe { std::mem::transmute::<*mut c_void, LastError>(last) },
        })
    }

    /// Returns its version, such as `2.28.9`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Makes a name for a group.
    pub(super) fn unique_id(&self) -> Result<[u8; Self::ID], String> {
        let mut id = UniqueId([0; Self::ID]);
        // SAFETY: the name is alive and is written to.
        let answered = unsafe { (self.unique_id)(&raw mut id) };
        if answered == SUCCESS { Ok(id.0) } else { Err(self.said(answered, std::ptr::null_mut())) }
    }

    /// Returns what a result means, with what NCCL says of the last error.
    fn said(&self, result: c_int, of: Handle) -> String {
        // SAFETY: it returns a text of the library's own for every number.
        let meaning = owned(unsafe { (self.text)(result) });
        // SAFETY: the handle is null, or a communicator's that lives.
        let last = owned(unsafe { (self.last)(of) });
        format!("NCCL: {meaning}{}{last}", if last.is_empty() { "" } else { ": " })
    }
}

impl Communicator {
    /// Begins to make a rank's end of a group. It can be used when [`Communicator::state`] says so.
    pub fn start(
        library: &Arc<Library>,
        ranks: usize,
        id: &[u8; Library::ID],
        rank: usize,
        stream: &dyn Stream,
    ) -> Result<Self, String> {
        const NOT_SAID: c_int = c_int::MIN;
        let mut config = Config {
            size: size_of::<Config>(),
            magic: 0xcafe_beef,
            version: OLDEST.cast_unsigned(),
            blocking: 0,
            cga_cluster_size: NOT_SAID,
            min_ctas: NOT_SAID,
            max_ctas: NOT_SAID,
            net_name: std::ptr::null(),
            split_share: NOT_SAID,
        };
        let mut made = Self { library: Arc::clone(library), handle: std::ptr::null_mut() };
        let number = |number: usize| c_int::try_from(number).map_err(|_| "there are too many ranks".to_owned());
        let (ranks, rank) = (number(ranks)?, number(rank)?);
        let mut answered = SUCCESS;
        stream.with_device(&mut || {
            // SAFETY: the handle and the settings are alive, and the handle is written to.
            answered = unsafe { (library.init)(&raw mut made.handle, ranks, UniqueId(*id), rank, &raw mut config) };
        });
        made.taken(answered)?;
        Ok(made)
    }

    /// Returns whether all that it was asked for is done as far as it is the host's part.
    ///
    /// # Errors
    /// What NCCL found out since, on whichever thread of its own.
    pub fn state(&self) -> Result<bool, String> {
        let mut state = SUCCESS;
        // SAFETY: the handle is a communicator's that lives, and the number is written to.
        let answered = unsafe { (self.library.state)(self.handle, &raw mut state) };
        self.taken(answered)?;
        self.taken(state)?;
        Ok(state != IN_PROGRESS)
    }

    pub fn broadcast(&self, memory: Stretch, stream: usize) -> Result<(), String> {
        let at = memory.address as *mut c_void;
        // SAFETY: whoever made the stretch answers for it, and the handle is a communicator's that lives.
        self.taken(unsafe {
            (self.library.broadcast)(at, at, memory.bytes, BYTES, 0, self.handle, stream as *mut c_void)
        })
    }

    pub fn send(&self, memory: Stretch, to: usize, stream: usize) -> Result<(), String> {
        let (at, to) = (memory.address as *const c_void, c_int::try_from(to).unwrap_or(0));
        // SAFETY: as above.
        self.taken(unsafe { (self.library.send)(at, memory.bytes, BYTES, to, self.handle, stream as *mut c_void) })
    }

    pub fn receive(&self, memory: Stretch, from: usize, stream: usize) -> Result<(), String> {
        let (at, from) = (memory.address as *mut c_void, c_int::try_from(from).unwrap_or(0));
        // SAFETY: as above.
        self.taken(unsafe { (self.library.receive)(at, memory.bytes, BYTES, from, self.handle, stream as *mut c_void) })
    }

    pub fn version(&self) -> &str {
        self.library.version()
    }

    fn taken(&self, result: c_int) -> Result<(), String> {
        if matches!(result, SUCCESS | IN_PROGRESS) { Ok(()) } else { Err(self.library.said(result, self.handle)) }
    }
}

impl Drop for Communicator {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: the handle is a communicator's that lives, and nobody uses it any more.
            unsafe { (self.library.abort)(self.handle) };
        }
    }
}

// SAFETY: NCCL takes calls from whichever thread, one at a time; who shares one has a lock around it.
unsafe impl Send for Communicator {}

fn owned(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: a text of NCCL's is NUL-terminated.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().trim().to_owned()
}

/// Returns what the system says of the last library that could not be loaded.
fn problem() -> String {
    // SAFETY: no arguments; the text is the thread's own until the next such call.
    let said = owned(unsafe { libc::dlerror() });
    if said.is_empty() { "the system does not say why".into() } else { said }
}

/// Writes a version as people do.
fn named(version: c_int) -> String {
    format!("{}.{}.{}", version / 10_000, version / 100 % 100, version % 100)
}
