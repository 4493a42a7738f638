//! CUDA, brought in at run time.
//!
//! The product links libtorch's CPU part alone. Its CUDA part, `libtorch_cuda.so`, registers its kernels as it is
//! loaded, so that the same program computes on GPUs where an installed torch of the same version has that file.

use std::ffi::{CStr, CString};
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::ffi;

/// The version of libtorch that this program is built for. Its parts do not fit those of another one.
const VERSION: &str = "2.11.0";
const LIBRARY: &str = "libtorch_cuda.so";
const DRIVER: &str = "libcuda.so.1";

/// Where to look for CUDA.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// The folder that has it. Nothing else is looked at then, and a driver is not asked for.
    pub folder: Option<PathBuf>,
    /// Roots of Python installations that may have torch, such as `/usr`, the first that does before the others.
    pub pythons: Vec<PathBuf>,
}

/// CUDA, loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cuda {
    /// Where it was found.
    pub folder: PathBuf,
    /// The GPUs that it sees.
    pub devices: usize,
    /// Libraries that some operators need and that could not be loaded, each with the reason.
    pub lacking: Vec<String>,
}

/// Why this process has no GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The machine has none, or nobody may use it.
    Driver(String),
    /// The machine may have one, but what it takes to use it is not there.
    Library(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Driver(why) | Self::Library(why)) = self;
        f.write_str(why)
    }
}

impl Search {
    /// Finds and loads CUDA, and has it compute reproducibly. Called once, while the process has one thread, and before
    /// the first tensor: libtorch asks only once whether it has CUDA.
    ///
    /// # Errors
    /// A sentence that says what was looked for and where, and what to do.
    pub fn load(&self) -> Result<Cuda, Missing> {
        if self.folder.is_none() {
            open(Path::new(DRIVER)).map_err(|why| Missing::Driver(no_driver(&why)))?;
        }
        let folders = self.folder.clone().map_or_else(|| self.folders(), |folder| vec![folder]);
        let folder = find(&folders).map_err(Missing::Library)?;
        let library = folder.join(LIBRARY);
        let libraries = self.libraries(&folder);
        open_with(&library, &libraries).map_err(|why| {
            Missing::Library(format!(
                "{} cannot be loaded: {why}; install torch=={VERSION} with pip, which brings NVIDIA's libraries, or name \
                 the torch/lib folder of one with --torch-lib",
                library.display()
            ))
        })?;
        // libtorch opens these by name when it first needs them, where its CPU part lies and not here.
        let mut lacking = Vec::new();
        for needed in ["libtorch_cuda_linalg.so", "libnvrtc.so"] {
            let known = libraries.iter().find(|path| name_of(path).starts_with(needed));
            let opened = known.map_or_else(|| Err("it is not there".into()), |path| open_with(path, &libraries));
            lacking.extend(opened.err().map(|why| format!("{needed}: {why}")));
        }
        let mut failure = Failure::none();
        // SAFETY: called while the process has one thread, as this function asks.
        if !unsafe { ffi::vt_use_devices(failure.out()) } {
            return Err(Missing::Library(failure.problem().text));
        }
        // SAFETY: CUDA is loaded.
        let devices = usize::try_from(unsafe { ffi::vt_devices() }).unwrap_or(0);
        if devices == 0 {
            let loaded = library.display();
            return Err(Missing::Driver(match open(Path::new(DRIVER)) {
                Err(why) => format!("{loaded} was loaded, but {}", no_driver(&why)),
                Ok(()) => format!(
                    "{loaded} was loaded, but the driver shows no GPU; nvidia-smi tells what it has, and \
                     CUDA_VISIBLE_DEVICES hides some"
                ),
            }));
        }
        Ok(Cuda { folder, devices, lacking })
    }

    /// Finds NVIDIA's NCCL, which comes with the torch whose folder CUDA was loaded from.
    #[must_use]
    pub fn nccl(&self, folder: &Path) -> Option<PathBuf> {
        self.libraries(folder).into_iter().find(|path| name_of(path) == "libnccl.so.2")
    }

    /// Lists where torch may be: beside the libtorch in use, and in each Python.
    fn folders(&self) -> Vec<PathBuf> {
        let own = libtorch().and_then(|file| file.parent().map(Path::to_path_buf));
        let sites = self.pythons.iter().flat_map(|root| sites(root));
        let torch = sites.map(|site| site.join("torch/lib")).filter(|folder| folder.is_dir());
        let mut folders: Vec<PathBuf> = own.into_iter().collect();
        folders.extend(torch);
        folders
    }

    /// Lists the libraries that lie in a folder and in the `nvidia` packages of it and of each Python.
    fn libraries(&self, folder: &Path) -> Vec<PathBuf> {
        let own = folder.ancestors().nth(2).map(Path::to_path_buf);
        let sites = own.into_iter().chain(self.pythons.iter().flat_map(|root| sites(root)));
        let nvidia = sites.flat_map(|site| entries(&site.join("nvidia"))).map(|package| package.join("lib"));
        let folders = std::iter::once(folder.to_path_buf()).chain(nvidia);
        folders.flat_map(|folder| entries(&folder)).filter(|file| name_of(file).contains(".so")).collect()
    }
}

/// Waits for all that a GPU was asked for. Once it does not answer, nothing that this process asks of it will succeed.
///
/// # Errors
/// What the driver says.
pub fn synchronize(index: i32) -> Result<(), String> {
    let mut failure = Failure::none();
    // SAFETY: a plain argument.
    let done = unsafe { ffi::vt_synchronize(index, failure.out()) };
    if done { Ok(()) } else { Err(failure.problem().text) }
}

/// Returns how many bytes of a GPU are free, and how many it has. CUDA must have been loaded.
///
/// # Errors
/// What libtorch says where it does not know.
pub fn memory(index: i32) -> Result<(u64, u64), String> {
    let (mut free, mut all) = (0, 0);
    let mut failure = Failure::none();
    // SAFETY: all arguments are plain, or locals that are written to.
    let done = unsafe { ffi::vt_device_memory(index, &raw mut free, &raw mut all, failure.out()) };
    if done { Ok((free, all)) } else { Err(failure.problem().text) }
}

/// Gives memory back that nobody uses, and that is kept for who asks next: to the system, and to GPUs where CUDA was loaded.
pub fn release_memory(loaded: bool) {
    // SAFETY: a plain argument.
    unsafe { ffi::vt_release_memory(loaded) };
}

fn no_driver(why: &str) -> String {
    format!("the NVIDIA driver cannot be opened ({why}); install it, and start again")
}

/// Returns which of some folders to load from.
fn find(folders: &[PathBuf]) -> Result<PathBuf, String> {
    let mut others = Vec::new();
    for folder in folders {
        let Ok(library) = folder.join(LIBRARY).canonicalize() else { continue };
        // Its neighbours are found from where it really lies.
        let folder = library.parent().unwrap_or(folder);
        match version(folder) {
            Some(version) if version == VERSION => return Ok(folder.to_path_buf()),
            Some(version) => others.push(format!("{} has version {version}", folder.display())),
            None => others.push(format!("{} does not say its version", folder.display())),
        }
    }
    let looked: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
    Err(format!(
        "no {LIBRARY} of torch {VERSION} is in {}{others}; install torch=={VERSION} with pip, or name the torch/lib \
         folder of one with --torch-lib",
        looked.join(", ")
    ))
}

/// Opens a library, and before it each that it turns out to need and that one of `known` is.
fn open_with(library: &Path, known: &[PathBuf]) -> Result<(), String> {
    let (mut waiting, mut tried) = (vec![library], vec![library]);
    while let Some(next) = waiting.last() {
        let Err(why) = open(next) else {
            waiting.pop();
            continue;
        };
        // `libcusparse.so.12: cannot open shared object file: …`
        let needed = why.split(':').next().unwrap_or_default();
        let found = known.iter().find(|path| name_of(path) == needed && !tried.contains(&path.as_path()));
        let Some(path) = found else { return Err(why) };
        waiting.push(path);
        tried.push(path);
    }
    Ok(())
}

fn open(library: &Path) -> Result<(), String> {
    let path = CString::new(library.as_os_str().as_bytes()).map_err(|_| String::from("its path has a zero byte"))?;
    let mut failure = Failure::none();
    // SAFETY: the path is NUL-terminated. What the library does as it is loaded is the operator's choice, as are the
    // libraries that the program is linked with.
    let done = unsafe { ffi::vt_load_library(path.as_ptr(), failure.out()) };
    if done { Ok(()) } else { Err(failure.problem().text) }
}

/// Returns the file of libtorch's CPU part, where it really lies.
fn libtorch() -> Option<PathBuf> {
    // SAFETY: no arguments; the text is ours.
    let text = unsafe { ffi::vt_libtorch_file() };
    if text.is_null() {
        return None;
    }
    // SAFETY: a non-null text is NUL-terminated.
    let path = Path::new(std::ffi::OsStr::from_bytes(unsafe { CStr::from_ptr(text) }.to_bytes())).canonicalize();
    // SAFETY: the text is malloc'ed by the shim, and nobody looks at it any more.
    unsafe { ffi::vt_free(text.cast()) };
    path.ok()
}

/// Reads the version of the torch that a folder of libraries belongs to: Python's package says it in one file, the
/// archives for C++ in another. What follows a `+` is only which CUDA it is for.
fn version(folder: &Path) -> Option<String> {
    let around = folder.parent()?;
    let text = fs::read_to_string(around.join("version.py"))
        .ok()
        .and_then(|text| Some(text.lines().find_map(|line| line.strip_prefix("__version__ = "))?.to_owned()))
        .or_else(|| fs::read_to_string(around.join("build-version")).ok())?;
    let version = text.trim().trim_matches(['\'', '"']);
    Some(version.split('+').next().unwrap_or(version).to_owned())
}

/// Lists the folders of packages under the root of a Python.
fn sites(root: &Path) -> Vec<PathBuf> {
    let pythons = entries(&root.join("lib")).into_iter().filter(|entry| name_of(entry).starts_with("python3"));
    pythons.flat_map(|python| ["site-packages", "dist-packages"].map(|packages| python.join(packages))).collect()
}

/// Lists a folder by name; nothing where there is none.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn torch(root: &Path, version: &str) -> PathBuf {
        let lib = root.join("torch/lib");
        fs::create_dir_all(&lib).unwrap();
        fs::write(lib.join(LIBRARY), "").unwrap();
        fs::write(root.join("torch/version.py"), format!("import x\n__version__ = '{version}'\n")).unwrap();
        lib.canonicalize().unwrap()
    }

    #[test]
    fn only_a_torch_of_the_same_version_is_taken() {
        let root = tempfile::tempdir().unwrap();
        let old = torch(&root.path().join("old/lib/python3.11/site-packages"), "2.10.0+cu128");
        let roots = |names: [&str; 2]| names.map(|name| root.path().join(name)).to_vec();
        let folders = |pythons| Search { folder: None, pythons }.folders().split_off(1);
        let error = find(&folders(roots(["old", "new"]))).unwrap_err();
        let expected = format!("no libtorch_cuda.so of torch 2.11.0 is in {0} ({0} has version 2.10.0)", old.display());
        assert!(error.starts_with(&expected), "{error}");
        assert!(error.ends_with("name the torch/lib folder of one with --torch-lib"), "{error}");
        let new = torch(&root.path().join("new/lib/python3.12/dist-packages"), "2.11.0+cu130");
        assert_eq!(find(&folders(roots(["old", "new"]))), Ok(new));
    }

    #[test]
    fn an_archive_for_c_plus_plus_says_its_version_too() {
        let root = tempfile::tempdir().unwrap();
        let lib = root.path().join("lib");
        fs::create_dir_all(&lib).unwrap();
        assert_eq!(version(&lib), None);
        fs::write(root.path().join("build-version"), "2.11.0+cu128\n").unwrap();
        assert_eq!(version(&lib).as_deref(), Some("2.11.0"));
    }
}
