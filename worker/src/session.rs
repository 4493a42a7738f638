//! One session with a scheduler, over whatever network there is.

use std::collections::VecDeque;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http::Uri;
use hyper_util::rt::TokioIo;
use proto::v1;
use proto::v1::from_worker::Message;
use proto::v1::to_worker::Message as Told;
use proto::v1::worker_sessions_client::WorkerSessionsClient;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::wire;
use crate::worker::Error;

/// How a worker reaches schedulers.
pub trait Dial: Send + Sync + 'static {
    /// Opens a stream to whoever listens at an address, beginning with what `messages` yields.
    fn dial(&self, address: &str, messages: ReceiverStream<v1::FromWorker>) -> BoxFuture<'static, Dialled>;
}

/// What comes from the other side, or why nothing does.
pub type Dialled = Result<BoxStream<'static, Result<v1::ToWorker, Status>>, Status>;

/// Dials by gRPC over TCP, within TLS where there are files for it.
pub struct Grpc {
    pub tls: Option<tls::Files>,
}

impl Dial for Grpc {
    fn dial(&self, address: &str, messages: ReceiverStream<v1::FromWorker>) -> BoxFuture<'static, Dialled> {
        let (address, files) = (address.to_owned(), self.tls.clone());
        Box::pin(async move {
            let channel = channel(&address, files).await?;
            let reply = WorkerSessionsClient::new(channel).open(messages).await?;
            Ok(reply.into_inner().boxed())
        })
    }
}

/// Connects to a scheduler. Its certificate must say that it is one.
async fn channel(address: &str, files: Option<tls::Files>) -> Result<Channel, Status> {
    let wrong = || Status::invalid_argument(format!("{address:?} is no address of a scheduler"));
    let unavailable = |error: &dyn std::error::Error| Status::unavailable(causes(error));
    let uri: Uri = address.parse().map_err(|_| wrong())?;
    let authority = uri.authority().ok_or_else(wrong)?.clone();
    let Some(files) = files else {
        if uri.scheme_str() != Some("http") {
            return Err(Status::invalid_argument(format!("{address:?} wants TLS, and this worker has no certificate")));
        }
        let endpoint = Endpoint::from(uri).tcp_nodelay(true);
        return endpoint.connect().await.map_err(|error| unavailable(&error));
    };
    if uri.scheme_str() != Some("https") {
        return Err(Status::invalid_argument(format!("{address:?} would be dialled without TLS; write https")));
    }
    // Read each time: a certificate is renewed while this process lives.
    let client = tls::Client::open(&files, b"h2").map_err(|error| unavailable(&error))?;
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let port = authority.port_u16().unwrap_or(443);
    // What is below speaks TLS already, so that what is above must not.
    let endpoint = Endpoint::from_shared(format!("http://{authority}")).map_err(|_| wrong())?;
    let connect = tower::service_fn(move |_: Uri| {
        let (client, host) = (client.clone(), host.clone());
        async move {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            stream.set_nodelay(true)?;
            let stream = client.connect(tls::Role::Scheduler, stream).await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    endpoint.connect_with_connector(connect).await.map_err(|error| unavailable(&error))
}

/// Writes an error with what caused it.
fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// An open session.
pub struct Session {
    inbox: BoxStream<'static, Result<v1::ToWorker, Status>>,
    pub outbox: mpsc::Sender<v1::FromWorker>,
    pub epoch: u64,
    heartbeat: Duration,
    /// How long nothing was heard, as far as beats show it.
    quiet: Duration,
    sent: u64,
    /// What was sent and may not have been taken in, with its number: it is told again on another session.
    unheard: VecDeque<(u64, v1::FromWorker)>,
}

/// Why there is no session.
pub enum NotOpened {
    /// Another attempt may do better.
    NotNow(String),
    /// So it may, but somebody should look at it.
    Refused(String),
    /// Another scheduler leads: at this address, if that is known.
    NotLeader(String),
    Never(Error),
}

/// How long dialling and the welcome may take.
const OPENING: Duration = Duration::from_secs(10);

/// Messages that may be on their way out.
const OUTBOX: usize = 1024;

/// Dials a scheduler and is welcomed.
pub async fn open(dial: &dyn Dial, address: &str, hello: v1::WorkerHello) -> Result<(Session, v1::Welcome), NotOpened> {
    let opened = tokio::time::timeout(OPENING, greet(dial, address, hello)).await;
    opened.unwrap_or_else(|_| Err(NotOpened::NotNow("it does not answer".into())))
}

async fn greet(dial: &dyn Dial, address: &str, hello: v1::WorkerHello) -> Result<(Session, v1::Welcome), NotOpened> {
    let (outbox, messages) = mpsc::channel(OUTBOX);
    let not_now = |why: &str| NotOpened::NotNow(why.to_owned());
    outbox.send(wire::from_worker(Message::Hello(hello))).await.map_err(|_| not_now("the connection closed"))?;
    let refused = |status: Status| match status.code() {
        tonic::Code::Unauthenticated | tonic::Code::InvalidArgument => {
            NotOpened::Never(Error::Unwelcome(status.message().to_owned()))
        }
        tonic::Code::Unavailable | tonic::Code::Aborted => NotOpened::NotNow(status.message().to_owned()),
        _ => NotOpened::Refused(status.message().to_owned()),
    };
    let mut inbox = dial.dial(address, ReceiverStream::new(messages)).await.map_err(refused)?;
    loop {
        let message = inbox.next().await.transpose().map_err(refused)?.ok_or_else(|| not_now("it gave no welcome"))?;
        match message.message {
            Some(Told::Welcome(welcome)) => {
                let heartbeat = Duration::from_millis(welcome.heartbeat_milliseconds.max(1).into());
                let (epoch, quiet) = (welcome.epoch, Duration::ZERO);
                let session = Session { inbox, outbox, epoch, heartbeat, quiet, sent: 1, unheard: VecDeque::new() };
                return Ok((session, welcome));
            }
            Some(Told::NotLeader(v1::NotLeader { address })) => return Err(NotOpened::NotLeader(address)),
            // The leader may be slow to look at the hello, and the session beats meanwhile.
            Some(Told::Heartbeat(_)) | None => {}
            Some(_) => return Err(not_now("it gave no welcome")),
        }
    }
}

impl Session {
    /// Returns the next thing that the scheduler says. An error is why the session is over.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Told, String> {
        loop {
            let message = self.inbox.next().await.transpose().map_err(|status| status.message().to_owned())?;
            let message = message.ok_or("the scheduler ended it")?;
            self.quiet = Duration::ZERO;
            match message.message {
                Some(Told::Heartbeat(v1::Heartbeat { received })) => {
                    while self.unheard.pop_front_if(|(number, _)| *number <= received).is_some() {}
                }
                Some(message) => return Ok(message),
                // A message that only a later version knows.
                None => {}
            }
        }
    }

    /// Notes that so much time passed, in beats: time in which this process was stopped is one beat.
    ///
    /// # Errors
    /// When the scheduler was silent for too long.
    pub fn beat(&mut self, interval: Duration) -> Result<(), String> {
        self.quiet += interval;
        if self.quiet > self.heartbeat.saturating_mul(3) {
            return Err("the scheduler was silent".into());
        }
        // Where there is no room for it, so much else is on its way that it is not missed.
        let _ = self.send(wire::from_worker(Message::Heartbeat(v1::Heartbeat::default())));
        Ok(())
    }

    /// Sends a message, or gives it back when too many are on their way.
    pub fn send(&mut self, message: v1::FromWorker) -> Result<(), Box<v1::FromWorker>> {
        let again = progress(&message).then(|| message.clone());
        match self.outbox.try_send(message) {
            Ok(()) => {
                self.sent += 1;
                self.unheard.extend(again.map(|message| (self.sent, message)));
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(message) | mpsc::error::TrySendError::Closed(message)) => {
                Err(Box::new(message))
            }
        }
    }

    /// Returns what may not have been taken in, in order.
    pub fn unheard(self) -> impl Iterator<Item = v1::FromWorker> {
        self.unheard.into_iter().map(|(_, message)| message)
    }
}

/// Returns whether a message is one of those that nobody asks for again, and that are therefore told again by themselves.
pub fn progress(message: &v1::FromWorker) -> bool {
    matches!(message.message, Some(Message::Started(_) | Message::Ran(_) | Message::Log(_)))
}
