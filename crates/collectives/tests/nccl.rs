//! Memory of devices between ranks: on a library that stands for NCCL, of which `crates/torch/mock/nccl.cpp` says what it
//! shows, and on the memory of this process.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::ffi::{CString, c_char, c_void};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use collectives::nccl::{Joined, Library, Mark, Nccl, Stream, join};
use collectives::{Group, Lost, Memory, Network, Patience, Stretch};

/// A device that does all at once, unless it is to get stuck in what it is given.
#[derive(Clone, Default)]
struct Device {
    stuck: Arc<AtomicBool>,
    marks: Arc<AtomicUsize>,
}

impl Stream for Device {
    fn handle(&self) -> usize {
        0
    }

    fn with_device(&self, run: &mut dyn FnMut()) {
        run();
    }

    fn mark(&self) -> Result<Box<dyn Mark>, String> {
        let behind = self.marks.fetch_add(1, Ordering::SeqCst) % 2 == 1;
        Ok(Box::new(Place(behind && self.stuck.load(Ordering::SeqCst))))
    }
}

struct Place(bool);

impl Mark for Place {
    fn reached(&self) -> Result<bool, String> {
        Ok(!self.0)
    }
}

/// What a rank does in a group of its kind.
struct Rank {
    group: Nccl,
    device: Device,
    lost: Arc<Mutex<Vec<String>>>,
}

const SHORT: Patience = Some(Duration::from_millis(200));

/// Has the stand-in disturb the next communicator of this thread.
fn disturb(what: &str) {
    let path = CString::new(mock::nccl().to_str().unwrap()).unwrap();
    // SAFETY: the path is NUL-terminated, and the library is ours.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    // SAFETY: the library is loaded, and the name NUL-terminated.
    let function = unsafe { libc::dlsym(library, c"mock_nccl".as_ptr()) };
    assert!(!function.is_null());
    // SAFETY: it is declared so.
    let function = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(*const c_char)>(function) };
    let what = CString::new(what).unwrap();
    function(what.as_ptr());
}

/// Runs what each rank does, in threads that share memory.
fn together<T: Send>(ranks: usize, what: &str, each: impl Fn(&Rank) -> T + Sync) -> Vec<T> {
    over(Memory::threads(ranks).unwrap(), what, each)
}

/// Runs what each rank of a group does.
fn over<G, T: Send>(group: Vec<G>, what: &str, each: impl Fn(&Rank) -> T + Sync) -> Vec<T>
where
    G: Group + Send + 'static,
{
    std::thread::scope(|scope| {
        let threads: Vec<_> = group
            .into_iter()
            .map(|bytes| {
                let each = &each;
                scope.spawn(move || {
                    disturb(what);
                    let (device, lost) = (Device::default(), Arc::<Mutex<Vec<String>>>::default());
                    let noted = Arc::clone(&lost);
                    let on_loss = Box::new(move |why: &Lost| noted.lock().unwrap().push(why.to_string()));
                    let joined =
                        join(Box::new(bytes), Library::load(&mock::nccl()), Box::new(device.clone()), on_loss, None)
                            .unwrap();
                    match joined {
                        Joined::Nccl(group) => each(&Rank { group, device, lost }),
                        Joined::Bytes(_, why) => panic!("{why}"),
                    }
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

impl Rank {
    fn send(&self, bytes: &[u8], patience: Patience) -> Result<(), Lost> {
        let stretch = Stretch { address: bytes.as_ptr().addr(), bytes: bytes.len() };
        // SAFETY: the device is this process, which has read the bytes when the call returns.
        unsafe { self.group.devices().unwrap().send(stretch, patience) }
    }

    fn receive(&self, from: usize, bytes: &mut [u8], patience: Patience) -> Result<(), Lost> {
        let stretch = Stretch { address: bytes.as_mut_ptr().addr(), bytes: bytes.len() };
        // SAFETY: as above, and it has written them.
        unsafe { self.group.devices().unwrap().receive(from, stretch, patience) }
    }

    /// Gives all what rank 0 has, and rank 0 what all have.
    fn around(&self, length: usize, patience: Patience) -> Result<Vec<Vec<u8>>, Lost> {
        let mut given = if self.group.rank() == 0 { pattern(9, length) } else { vec![0; length] };
        if self.group.rank() != 0 {
            self.receive(0, &mut given, patience)?;
            self.send(&pattern(self.group.rank(), length), patience)?;
            return Ok(vec![given]);
        }
        self.send(&given, patience)?;
        let mut all = vec![given];
        for rank in 1..self.group.size() {
            let mut bytes = vec![0; length];
            self.receive(rank, &mut bytes, patience)?;
            all.push(bytes);
        }
        Ok(all)
    }
}

/// Bytes that tell where they belong.
fn pattern(rank: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + rank * 7 + at / 251) as u8).collect()
}

#[test]
fn memory_of_devices_goes_where_bytes_say_in_order() {
    for ranks in [2, 3, 4] {
        let lengths = [0, 1, 16 << 10, (3 << 20) + 17, 5];
        let each = |rank: &Rank| {
            let found = lengths.map(|length| rank.around(length, None).unwrap());
            rank.group.barrier(None).unwrap();
            (found, rank.lost.lock().unwrap().len())
        };
        // The name of a communicator, and all that is said before, may come by whatever carries bytes. Over connections, who
        // leaves ends the group.
        let by_memory = together(ranks, "", each).into_iter().enumerate();
        let until_the_first_leaves = |rank: &Rank| {
            let done = each(rank);
            if rank.group.rank() != 0 {
                Group::receive(&rank.group, 0, &mut [0], None).unwrap_err();
            }
            done
        };
        let by_network = over(Network::threads(ranks).unwrap(), "", until_the_first_leaves).into_iter().enumerate();
        for (rank, (found, lost)) in by_memory.chain(by_network) {
            assert_eq!(lost, 0);
            for (found, length) in found.into_iter().zip(lengths) {
                let mut expected = vec![pattern(9, length)];
                if rank == 0 {
                    expected.extend((1..ranks).map(|rank| pattern(rank, length)));
                }
                assert_eq!(found, expected);
            }
        }
    }
}

#[test]
fn a_rank_without_the_library_or_without_a_way_leaves_all_with_shared_memory() {
    let reasons = |what: &'static str, library: fn(usize) -> Result<Library, String>| {
        let group = Memory::threads(3).unwrap().into_iter();
        let threads: Vec<_> = group
            .map(|memory| {
                std::thread::spawn(move || {
                    disturb(what);
                    let library = library(memory.rank());
                    match join(Box::new(memory), library, Box::<Device>::default(), Box::new(|_| {}), None).unwrap() {
                        Joined::Nccl(_) => panic!("one of them cannot"),
                        Joined::Bytes(memory, why) => {
                            memory.barrier(None).unwrap();
                            why
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    };
    let without = reasons("", |rank| if rank == 2 { Err("it has none".into()) } else { Library::load(&mock::nccl()) });
    assert_eq!(without, vec!["rank 2: it has none"; 3]);
    let alone = reasons("refuse@1", |_| Library::load(&mock::nccl()));
    let expected = "rank 1: NCCL: unhandled system error (run with NCCL_DEBUG=INFO for details): this rank has no way to the \
                    others";
    assert!(alone.iter().all(|why| why == expected), "{alone:?}");
}

#[test]
fn whatever_goes_wrong_with_a_rank_ends_the_group_for_all_with_a_sentence() {
    let closed =
        "NCCL: remote process exited or there was a network error: the rank at the other end has closed its connection";
    for (what, expected) in [
        // What rank 1 answers is found not to have arrived.
        ("fail@1:1", closed),
        // Nobody asks when that is found out.
        ("late@1:3", closed),
        // It is never done, and rank 0 waits for it.
        ("hang@1:1", "rank 1 has not answered for 0 s"),
    ] {
        let all = together(2, what, |rank| {
            let patience = if rank.group.rank() == 0 { SHORT } else { None };
            let ended = (0..2).find_map(|_| rank.around(1 << 10, patience).err());
            // Who was told nothing yet waits for it where ranks do.
            let ended = ended.unwrap_or_else(|| {
                Group::receive(&rank.group, usize::from(rank.group.rank() == 0), &mut [0], None).unwrap_err()
            });
            let later = rank.around(1, SHORT).unwrap_err();
            (ended, later, rank.lost.lock().unwrap().clone())
        });
        for (ended, later, _) in &all {
            assert_eq!(*ended, Lost::Ended(expected.into()), "{what}");
            assert_eq!(*later, Lost::Ended(expected.into()), "{what}");
        }
        assert!(
            all.iter().any(|(_, _, lost)| lost.first().is_some_and(|why| why == expected)),
            "{what}: nobody is told"
        );
    }
}

#[test]
fn a_device_that_gets_stuck_ends_the_group_where_nobody_waits_for_it() {
    let all = together(2, "", |rank| {
        rank.around(8, None).unwrap();
        if rank.group.rank() == 0 {
            rank.device.stuck.store(true, Ordering::SeqCst);
            // The host goes on, as it does beside a device.
            rank.send(&[1], SHORT).unwrap();
        }
        (
            Group::receive(&rank.group, usize::from(rank.group.rank() == 0), &mut [0], None).unwrap_err(),
            rank.lost.lock().unwrap().clone(),
        )
    });
    let expected = "rank 1 has not answered for 0 s".to_owned();
    assert!(all.iter().all(|(ended, _)| *ended == Lost::Ended(expected.clone())), "{all:?}");
    assert_eq!(all.first().map(|(_, lost)| lost.clone()), Some(vec![expected]));
}

#[test]
fn a_call_that_never_comes_back_ends_the_group_though_nobody_can_get_at_it() {
    let mut group = Memory::threads(2).unwrap().into_iter();
    let [first, second] = [(); 2].map(|()| group.next().unwrap());
    let (told, telling) = std::sync::mpsc::channel();
    let enter = |memory: Memory, what: &'static str, on_loss| {
        disturb(what);
        match join(Box::new(memory), Library::load(&mock::nccl()), Box::<Device>::default(), on_loss, None).unwrap() {
            Joined::Nccl(group) => group,
            Joined::Bytes(_, why) => panic!("{why}"),
        }
    };
    // As in a worker, whose process ends with it: this thread is never seen again.
    std::thread::spawn(move || {
        let on_loss = Box::new(move |why: &Lost| told.send(why.to_string()).unwrap());
        let rank = Rank { group: enter(first, "stuck@0:0", on_loss), device: Device::default(), lost: Arc::default() };
        rank.send(&[1], SHORT)
    });
    let group = enter(second, "", Box::new(|_| {}));
    let expected = "rank 1 has not answered for 0 s";
    assert_eq!(Group::receive(&group, 0, &mut [0], None), Err(Lost::Ended(expected.into())));
    assert_eq!(telling.recv().unwrap(), expected);
}

#[test]
fn the_library_of_the_wheel_has_all_that_is_used_of_it() {
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/lib");
    let found = std::fs::read_dir(&site).unwrap_or_else(|error| panic!("{}: {error}", site.display())).flatten();
    let mut files = found.map(|python| python.path().join("site-packages/nvidia/nccl/lib/libnccl.so.2"));
    let file =
        files.find(|file| file.is_file()).unwrap_or_else(|| panic!("torch brings NCCL: `make setup` installs it"));
    let library = Library::load(&file).unwrap_or_else(|why| panic!("{why}"));
    assert!(library.version().starts_with("2."), "{}", library.version());
    println!("NCCL {}", library.version());
}

#[test]
fn what_is_no_such_library_is_named_with_the_reason() {
    let reason = |path: &str| Library::load(Path::new(path)).err().unwrap();
    assert!(reason("/nowhere/libnccl.so.2").starts_with("/nowhere/libnccl.so.2 cannot be loaded: "));
    assert!(reason("libc.so.6").ends_with("libc.so.6 has no ncclGetVersion"));
}
