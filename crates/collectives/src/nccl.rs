//! Memory of GPUs from one to the other, by NVIDIA's NCCL.
//!
//! Whether ranks use it they find out together ([`join`]): all have the library, and it makes a communicator of them, or
//! none does. A communicator never blocks its callers: what it is asked for it says later, and a thread watches what the
//! devices were given to do, so that whoever is lost, or stuck, ends the group.

mod library;
mod watch;

use std::sync::Arc;
use std::time::Duration;

pub use library::Library;

use crate::{Alarm, Devices, Group, Lost, Patience, Stretch};
use library::Communicator;
use watch::Watch;

/// The part of a device that computes in order, and what is sent and received among that.
pub trait Stream {
    /// Returns CUDA's name for it.
    fn handle(&self) -> usize;

    /// Runs something while the device is the thread's own.
    fn with_device(&self, run: &mut dyn FnMut());

    /// Marks how far it has come when all that it was given so far is done.
    ///
    /// # Errors
    /// What the driver says.
    fn mark(&self) -> Result<Box<dyn Mark>, String>;
}

/// A place in a stream.
pub trait Mark: Send {
    /// Returns whether the stream has come there.
    ///
    /// # Errors
    /// What the driver says where the device is lost.
    fn reached(&self) -> Result<bool, String>;
}

/// Told once, by whatever thread finds it out, why a group is lost. Only when this returns are devices let go on.
pub type OnLoss = Box<dyn Fn(&Lost) + Send + Sync>;

/// A rank of a group whose bytes go as they did, and devices' memory by NCCL.
pub struct Nccl {
    bytes: Box<dyn Group>,
    watch: Arc<Watch>,
    stream: Box<dyn Stream>,
}

/// How the ranks of a group came out of joining.
pub enum Joined {
    Nccl(Nccl),
    /// Not by NCCL, and why not.
    Bytes(Box<dyn Group>, String),
}

/// How long making a communicator may take.
const START: Duration = Duration::from_secs(60);

/// Bytes of a rank's reason that are told.
const TEXT: usize = 400;

/// Has the ranks of a group carry devices' memory by NCCL from now on, if each of them can. All of a group call it before
/// anything else is sent, and others may take as long to come as patience lasts.
///
/// # Errors
/// When the group has ended, or ends by this. That NCCL cannot be used is none.
pub fn join(
    bytes: Box<dyn Group>,
    library: Result<Library, String>,
    stream: Box<dyn Stream>,
    on_loss: OnLoss,
    patience: Patience,
) -> Result<Joined, Lost> {
    // Who makes the name, and who cannot, is said first.
    let (library, found) = match library {
        Ok(library) => (Some(Arc::new(library)), Ok(())),
        Err(why) => (None, Err(why)),
    };
    let unique = match (&library, bytes.rank()) {
        (Some(library), 0) => library.unique_id(),
        _ => Ok([0; Library::ID]),
    };
    let found = found.and(unique.as_ref().map(drop).map_err(Clone::clone));
    if let Err(why) = agree(&*bytes, found, patience)? {
        return Ok(Joined::Bytes(bytes, why));
    }
    let mut id = unique.unwrap_or([0; Library::ID]);
    bytes.broadcast(&mut id, patience)?;
    let Some(library) = library else { return Ok(Joined::Bytes(bytes, "there is no library".into())) };
    let alarm = bytes.alarm();
    let begun = Communicator::start(&library, bytes.size(), &id, bytes.rank(), &*stream);
    // Who cannot even begin says so, before the others wait for it.
    if let Err(why) = agree(&*bytes, begun.as_ref().map(drop).map_err(Clone::clone), patience)? {
        return Ok(Joined::Bytes(bytes, why));
    }
    let made = begun.and_then(|communicator| watch::settle(&communicator, START, &alarm).map(|()| communicator));
    let agreed =
        agree(&*bytes, made.as_ref().map(drop).map_err(Clone::clone), patience.map(|patience| patience + START))?;
    Ok(match (agreed, made) {
        (Ok(()), Ok(communicator)) => {
            let watch = Watch::start(communicator, alarm, on_loss).map_err(|error| {
                bytes.abort("a thread could not be started");
                Lost::Ended(format!("a thread could not be started: {error}"))
            })?;
            Joined::Nccl(Nccl { bytes, watch, stream })
        }
        (agreed, _) => Joined::Bytes(bytes, agreed.err().unwrap_or_default()),
    })
}

/// Has everybody know whether everybody can, and if not, why.
fn agree(bytes: &dyn Group, own: Result<(), String>, patience: Patience) -> Result<Result<(), String>, Lost> {
    let written = |said: &Result<(), String>| {
        let mut bytes = [0; TEXT];
        if let Err(why) = said {
            let why = if why.is_empty() { "it cannot" } else { why.as_str() };
            let end = why.floor_char_boundary(TEXT);
            for (to, from) in bytes.iter_mut().zip(why.bytes().take(end)) {
                *to = from;
            }
        }
        bytes
    };
    let read = |bytes: &[u8]| match bytes.split(|byte| *byte == 0).next() {
        None | Some([]) => Ok(()),
        Some(text) => Err(String::from_utf8_lossy(text).into_owned()),
    };
    let mut all = vec![0; TEXT * bytes.size()];
    bytes.gather(&written(&own), &mut all, patience)?;
    let first = || {
        let said = all.chunks(TEXT).map(read).enumerate();
        said.filter_map(|(rank, said)| said.err().map(|why| format!("rank {rank}: {why}"))).next()
    };
    let mut decided = if bytes.rank() == 0 { written(&first().map_or(Ok(()), Err)) } else { [0; TEXT] };
    bytes.broadcast(&mut decided, patience)?;
    Ok(read(&decided))
}

impl Nccl {
    /// Returns the library's version.
    #[must_use]
    pub fn version(&self) -> &str {
        self.watch.version()
    }

    /// Gives the stream something to do that is about a rank.
    fn post(
        &self,
        rank: usize,
        patience: Patience,
        call: &dyn Fn(&Communicator) -> Result<(), String>,
    ) -> Result<(), Lost> {
        let mark = || self.stream.mark().map_err(|why| self.watch.lose(&Lost::Ended(why)));
        let begun = mark()?;
        let mut done = None;
        self.stream.with_device(&mut || done = Some(self.watch.call(rank, patience, call)));
        done.unwrap_or(Ok(()))?;
        self.watch.expect(rank, patience, begun, mark()?);
        Ok(())
    }
}

impl Group for Nccl {
    fn rank(&self) -> usize {
        self.bytes.rank()
    }

    fn size(&self) -> usize {
        self.bytes.size()
    }

    fn send(&self, bytes: &[u8], patience: Patience) -> Result<(), Lost> {
        self.bytes.send(bytes, patience)
    }

    fn receive(&self, from: usize, bytes: &mut [u8], patience: Patience) -> Result<(), Lost> {
        self.bytes.receive(from, bytes, patience)
    }

    fn abort(&self, why: &str) {
        self.bytes.abort(why);
    }

    fn alarm(&self) -> Alarm {
        self.bytes.alarm()
    }

    fn devices(&self) -> Option<&dyn Devices> {
        Some(self)
    }
}

impl Devices for Nccl {
    unsafe fn send(&self, from: Stretch, patience: Patience) -> Result<(), Lost> {
        let stream = self.stream.handle();
        if from.bytes == 0 || self.bytes.size() < 2 {
            return Ok(());
        }
        match self.bytes.rank() {
            // Whoever is missing of all, nobody knows: the first is as good a name as any.
            0 => self.post(1, patience, &|communicator| communicator.broadcast(from, stream)),
            _ => self.post(0, patience, &|communicator| communicator.send(from, 0, stream)),
        }
    }

    unsafe fn receive(&self, from: usize, into: Stretch, patience: Patience) -> Result<(), Lost> {
        let stream = self.stream.handle();
        if into.bytes == 0 {
            return Ok(());
        }
        match self.bytes.rank() {
            0 => self.post(from, patience, &|communicator| communicator.receive(into, from, stream)),
            _ => self.post(0, patience, &|communicator| communicator.broadcast(into, stream)),
        }
    }
}

impl Drop for Nccl {
    fn drop(&mut self) {
        self.watch.end();
    }
}
