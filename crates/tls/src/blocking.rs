//! Sessions for threads that wait, rather than tasks: one may read while another writes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Connection, ServerConnection};

use crate::{Client, Error, Role, Server};

/// A session over a connection. How long a call waits is for the socket to say.
pub struct Blocking {
    socket: TcpStream,
    session: Mutex<Connection>,
    /// What came and was not looked at yet.
    came: Mutex<Came>,
    /// What is to go, and how much of it has gone.
    going: Mutex<(Vec<u8>, usize)>,
}

struct Came {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

/// How long agreeing may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that are read of a socket at once.
const CHUNK: usize = 64 << 10;

impl Client {
    /// Agrees on a session over a connection, with a peer that must be of a role. Blocks.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_blocking(&self, role: Role, socket: TcpStream) -> Result<Blocking, Error> {
        let name = ServerName::try_from(role.dns()).map_err(|_| Error::Role { wanted: vec![role] })?;
        let session = ClientConnection::new(self.config(), name).map_err(|error| Error::Handshake(other(error)))?;
        Blocking::agree(session.into(), socket)
    }
}

impl Server {
    /// Agrees on a session with who has dialled. Blocks.
    ///
    /// # Errors
    /// As [`Server::accept`].
    pub fn accept_blocking(&self, socket: TcpStream) -> Result<Blocking, Error> {
        let session = ServerConnection::new(self.config()).map_err(|error| Error::Handshake(other(error)))?;
        let agreed = Blocking::agree(session.into(), socket)?;
        self.check(lock(&agreed.session).peer_certificates())?;
        Ok(agreed)
    }
}

impl Blocking {
    fn agree(mut session: Connection, socket: TcpStream) -> Result<Self, Error> {
        let begun = Instant::now();
        while session.is_handshaking() || session.wants_write() {
            if begun.elapsed() > PATIENCE {
                return Err(Error::Handshake(io::ErrorKind::TimedOut.into()));
            }
            let done = if session.wants_write() {
                session.write_tls(&mut &socket)
            } else {
                match session.read_tls(&mut &socket) {
                    Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                    read => read.and_then(|read| session.process_new_packets().map(|_| read).map_err(other)),
                }
            };
            match done {
                Err(error) if is_late(&error) => {}
                Err(error) => {
                    // The other end is told why, if it can be.
                    let _ = session.write_tls(&mut &socket);
                    return Err(Error::Handshake(error));
                }
                Ok(_) => {}
            }
        }
        let came = Came { bytes: vec![0; CHUNK], start: 0, end: 0 };
        Ok(Self { socket, session: Mutex::new(session), came: Mutex::new(came), going: Mutex::default() })
    }

    /// Returns the connection under it.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Reads some bytes; none where the other end has closed the session.
    ///
    /// # Errors
    /// What the socket says, and where what came is nothing of the session's.
    pub fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut came = lock(&self.came);
        loop {
            {
                let mut session = lock(&self.session);
                match session.reader().read(bytes) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => return read,
                }
                let Came { bytes: raw, start, end } = &mut *came;
                if let Some(mut rest) = raw.get(*start..*end).filter(|rest| !rest.is_empty()) {
                    *start += session.read_tls(&mut rest)?;
                    session.process_new_packets().map_err(other)?;
                    continue;
                }
            }
            (came.start, came.end) = (0, 0);
            came.end = (&self.socket).read(&mut came.bytes)?;
            if came.end == 0 {
                return Ok(0);
            }
        }
    }

    /// Writes some bytes, of which a part may wait for the next call, or for [`Blocking::flush`].
    ///
    /// # Errors
    /// What the socket says; where that is that there is no room, nothing was taken.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut going = lock(&self.going);
        self.push(&mut going)?;
        let taken = {
            let mut session = lock(&self.session);
            let taken = session.writer().write(bytes)?;
            while session.wants_write() {
                session.write_tls(&mut going.0)?;
            }
            taken
        };
        match self.push(&mut going) {
            Err(error) if !is_late(&error) => Err(error),
            _ => Ok(taken),
        }
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// What the socket says.
    pub fn flush(&self) -> io::Result<()> {
        self.push(&mut lock(&self.going))
    }

    /// Ends the session, and the connection.
    pub fn close(&self) {
        let mut going = lock(&self.going);
        let mut session = lock(&self.session);
        session.send_close_notify();
        // Who does not hear it finds the connection closed.
        let _ = session.write_tls(&mut going.0);
        drop(session);
        let _ = self.push(&mut going);
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    fn push(&self, (bytes, gone): &mut (Vec<u8>, usize)) -> io::Result<()> {
        while let Some(rest) = bytes.get(*gone..).filter(|rest| !rest.is_empty()) {
            match (&self.socket).write(rest)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => *gone += count,
            }
        }
        bytes.clear();
        *gone = 0;
        Ok(())
    }
}

fn other(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::Files;
    use crate::dev::Authority;

    const SPOKEN: &[u8] = b"test";

    /// Has two ends agree, and returns what came of it at each.
    fn dial(server: &Server, client: &Client, role: Role) -> (Result<Blocking, String>, Result<Blocking, String>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap().0;
        std::thread::scope(|scope| {
            let accepted = scope.spawn(|| server.accept_blocking(accepted).map_err(|error| error.to_string()));
            let connected = client.connect_blocking(role, dialled).map_err(|error| error.to_string());
            (accepted.join().unwrap(), connected)
        })
    }

    fn all(session: &Blocking, length: usize) -> Vec<u8> {
        let (mut bytes, mut done) = (vec![0; length], 0);
        while done < length {
            match session.read(&mut bytes[done..]) {
                Ok(0) => panic!("it was closed"),
                Ok(count) => done += count,
                Err(error) => assert!(is_late(&error), "{error}"),
            }
        }
        bytes
    }

    fn give(session: &Blocking, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match session.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) => assert!(is_late(&error), "{error}"),
            }
        }
        while let Err(error) = session.flush() {
            assert!(is_late(&error), "{error}");
        }
    }

    #[test]
    fn two_threads_read_and_write_at_once_and_only_with_who_has_the_right_role() {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new().unwrap());
        let files = |role| -> Files { authority.write(folder.path(), role, &[]).unwrap() };
        let server = Server::mutual(files(Role::Worker), SPOKEN, &[Role::Worker]).unwrap();
        let client = |role| Client::open(&files(role), SPOKEN).unwrap();
        let (accepted, connected) = dial(&server, &client(Role::Worker), Role::Worker);
        let ends = [accepted.unwrap(), connected.unwrap()];
        ends.iter().for_each(|end| end.socket().set_write_timeout(Some(Duration::from_millis(1))).unwrap());
        ends.iter().for_each(|end| end.socket().set_read_timeout(Some(Duration::from_millis(1))).unwrap());
        let bytes: Vec<u8> = (0..3 << 20).map(|at| (at / 7) as u8).collect();
        std::thread::scope(|scope| {
            for end in &ends {
                scope.spawn(|| give(end, &bytes));
                scope.spawn(|| assert!(all(end, bytes.len()) == bytes));
            }
        });
        ends[0].close();
        assert_eq!(ends[1].read(&mut [0]).unwrap(), 0);
        let (refused, _) = dial(&server, &client(Role::Gateway), Role::Worker);
        assert_eq!(refused.err().unwrap(), "the other end is not a worker");
        let (_, refused) = dial(&server, &client(Role::Worker), Role::Scheduler);
        assert!(refused.err().unwrap().starts_with("the session was not agreed on"));
    }
}
