//! Holds ranks of models that other workers serve.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use collectives::Network;
use collectives::nccl::Library;
use collectives::network::Link;
use ids::InstanceId;
use models::{Device, cuda};

use super::greeting::{self, Challenge, Reply, Wish};
use super::link;
use crate::device::Devices;
use crate::rooms::{Rooms, Taken};

/// A worker's place for ranks of others' models.
pub struct Host {
    pub devices: Arc<Devices>,
    pub rooms: Rooms,
    /// Agrees with who dials on who both are; without it, only this machine can dial.
    pub server: Option<tls::Server>,
    /// The cluster's.
    pub token: String,
}

/// Connections at once of whom nobody knows yet whether they belong here.
const STRANGERS: usize = 16;

/// Time before a port is tried again that cannot accept.
const AGAIN: Duration = Duration::from_millis(100);

/// Stack of a thread that holds a rank, as a model's own.
const STACK_BYTES: usize = 64 << 20;

/// Why a wish is not done.
struct Refusal {
    why: String,
    no_room: bool,
}

impl Host {
    /// Takes in whoever dials, each in a thread. Returns where.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn listen(self, address: SocketAddr) -> Result<SocketAddr> {
        let listener = TcpListener::bind(address).with_context(|| format!("cannot hold ranks at {address}"))?;
        let address = listener.local_addr()?;
        let (host, strangers) = (Arc::new(self), Arc::new(AtomicUsize::new(0)));
        std::thread::Builder::new().name("ranks".into()).spawn(move || {
            loop {
                match listener.accept() {
                    Ok((socket, from)) => host.take_in(socket, from, &strangers),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        std::thread::sleep(AGAIN);
                    }
                }
            }
        })?;
        Ok(address)
    }

    fn take_in(self: &Arc<Self>, socket: TcpStream, from: SocketAddr, strangers: &Arc<AtomicUsize>) {
        if strangers.fetch_add(1, Ordering::SeqCst) >= STRANGERS {
            strangers.fetch_sub(1, Ordering::SeqCst);
            tracing::warn!(%from, "too many connections wait to be known, and this one is ended");
            return;
        }
        let (host, waiting) = (Arc::clone(self), Arc::clone(strangers));
        let hold = move || {
            let greeted = host.greet(socket);
            waiting.fetch_sub(1, Ordering::SeqCst);
            match greeted {
                Ok((link, wish, device, taken)) => host.hold(link, &wish, device, taken),
                Err(error) => tracing::warn!(%from, "no rank is held for who has dialled: {error:#}"),
            }
        };
        if let Err(error) = std::thread::Builder::new().name("rank".into()).stack_size(STACK_BYTES).spawn(hold) {
            strangers.fetch_sub(1, Ordering::SeqCst);
            tracing::warn!(%error, "a thread cannot be started for a rank");
        }
    }

    /// Finds out who has dialled and what is wanted, and takes the memory for it.
    fn greet(&self, socket: TcpStream) -> Result<(Box<dyn Link>, Wish, Device, Taken)> {
        let link = link::accept(socket, self.server.as_ref())?;
        let nonce = InstanceId::unique().to_string();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        greeting::say(&*link, &Challenge { version, nonce: nonce.clone() })?;
        let wish: Wish = greeting::hear(&*link, greeting::PATIENCE)?;
        // Hashes compare in constant time.
        if !blake3::Hash::from_hex(&wish.proof).is_ok_and(|proof| proof == greeting::proof(&self.token, &nonce)) {
            let why = "the worker's token is not this cluster's".to_owned();
            greeting::say(&*link, &Reply::Refused { why: why.clone(), no_room: false })?;
            bail!(why);
        }
        match self.take(&wish) {
            Ok((device, taken)) => {
                greeting::say(&*link, &Reply::Taken)?;
                Ok((link, wish, device, taken))
            }
            Err(Refusal { why, no_room }) => {
                greeting::say(&*link, &Reply::Refused { why: why.clone(), no_room })?;
                bail!("{}: {why}", wish.model)
            }
        }
    }

    fn take(&self, wish: &Wish) -> Result<(Device, Taken), Refusal> {
        let refuse = |why: String| Refusal { why, no_room: false };
        if wish.version != env!("CARGO_PKG_VERSION") {
            let (own, other) = (env!("CARGO_PKG_VERSION"), &wish.version);
            return Err(refuse(format!("it is of version {own}, and ranks of one model have to be of one: {other}")));
        }
        let device = self.devices.choose(Some(&wish.device)).map_err(refuse)?;
        let folder = wish.folder.display();
        let digest = models::digest(&wish.folder).map_err(|error| refuse(error.to_string()))?;
        if digest != wish.digest {
            return Err(refuse(format!(
                "the folder {folder} has another model's files there than here; copy the one to the other"
            )));
        }
        let taken = self.rooms.take(&device.to_string(), wish.bytes);
        Ok((device, taken.map_err(|why| Refusal { why, no_room: true })?))
    }

    /// Holds a rank until its group ends. Whatever becomes of it, it is given back.
    fn hold(&self, link: Box<dyn Link>, wish: &Wish, device: Device, taken: Taken) {
        let Wish { model, rank, of, .. } = wish;
        tracing::info!(model, rank, of, %device, bytes = wish.bytes, "a rank of another worker's model is held");
        let held = catch_unwind(AssertUnwindSafe(|| self.follow(link, wish, device)));
        let why = match held {
            Ok(Ok(())) => "its worker serves it no longer".to_owned(),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "it panicked".to_owned(),
        };
        tracing::info!(model, rank, why, "a rank is held no longer");
        drop(taken);
        if device.is_cuda()
            && let Err(why) = cuda::check(device)
        {
            tracing::error!(%device, why, "the GPU is lost to this process, which ends");
            std::process::abort();
        }
    }

    fn follow(&self, link: Box<dyn Link>, wish: &Wish, device: Device) -> Result<()> {
        let group = Network::join(link, wish.rank, wish.of, Box::new(|_| {}))?;
        let library = wish.nccl.then(|| match self.devices.nccl() {
            Some(path) => Library::load(path),
            None => Err("there is no libnccl.so.2 beside torch".into()),
        });
        super::follow(Box::new(group), library, &wish.folder, device)
    }
}
