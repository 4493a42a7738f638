//! Whether a process is well, told by a thread and on a port of its own: what holds up everything else does not hold up
//! the answer.
//!
//! - `/startupz`: it has come up.
//! - `/readyz`: it takes work. Told by whoever takes it, again and again; what is old is no longer believed.
//! - `/livez` (and `/healthz`): it is not stuck. This fails only for what a restart mends.
//! - `/metrics`: what it counts, for Prometheus.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use telemetry::metrics::{Form, Registry};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// How often a runtime shows that it turns.
const BEAT: Duration = Duration::from_secs(1);
/// How long a word that it takes work is believed.
const BELIEVED: Duration = Duration::from_secs(10);
/// How long a runtime may be silent before it counts as stuck.
const STUCK: Duration = Duration::from_secs(30);
/// Connections at once; probes are few.
const CONNECTIONS: usize = 64;
/// How long a probe may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known of this process. Clones share it.
#[derive(Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

struct Inner {
    began: Instant,
    started: AtomicBool,
    ready: Mutex<(Duration, Result<(), String>)>,
    pulses: Mutex<Vec<Arc<Pulse>>>,
    metrics: OnceLock<Registry>,
}

struct Pulse {
    name: &'static str,
    /// Milliseconds since the beginning.
    beat: AtomicU64,
}

impl Default for Health {
    fn default() -> Self {
        let ready = Mutex::new((Duration::ZERO, Err("it has not come up yet".to_owned())));
        let (started, metrics) = (AtomicBool::new(false), OnceLock::new());
        let inner = Inner { began: Instant::now(), started, ready, pulses: Mutex::default(), metrics };
        Self { inner: Arc::new(inner) }
    }
}

impl Health {
    /// Shows what the process counts. Called once.
    pub fn show(&self, metrics: Registry) {
        // Nobody else sets it.
        let _ = self.inner.metrics.set(metrics);
    }

    /// Says that the process has come up.
    pub fn started(&self) {
        self.inner.started.store(true, Ordering::Relaxed);
    }

    /// Says whether the process takes work, or why it does not.
    pub fn ready(&self, ready: Result<(), String>) {
        *lock(&self.inner.ready) = (self.now(), ready);
    }

    /// Returns what shows that a runtime turns, for as long as that runtime polls it.
    pub fn pulse(&self, name: &'static str) -> impl Future<Output = Infallible> + Send + use<> {
        let pulse = Arc::new(Pulse { name, beat: AtomicU64::new(self.millis()) });
        lock(&self.inner.pulses).push(Arc::clone(&pulse));
        let health = self.clone();
        async move {
            loop {
                tokio::time::sleep(BEAT).await;
                pulse.beat.store(health.millis(), Ordering::Relaxed);
            }
        }
    }

    /// Answers on a thread of its own, until the process ends. Returns where.
    ///
    /// # Errors
    /// When the address cannot be had, or no thread.
    pub fn serve(&self, address: SocketAddr) -> std::io::Result<SocketAddr> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let health = self.clone();
        let thread = std::thread::Builder::new().name("health".into());
        thread.spawn(move || runtime.block_on(health.answer_all(listener)))?;
        Ok(address)
    }

    async fn answer_all(self, listener: std::net::TcpListener) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "nobody answers probes"),
        };
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of files, for example, which others give back.
                    tracing::warn!(%error, "cannot accept a probe");
                    tokio::time::sleep(BEAT).await;
                    continue;
                }
            };
            let health = self.clone();
            tokio::spawn(async move {
                let _permit = permit;
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
                let answer = service_fn(move |request: Request<Incoming>| {
                    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
                    let answered = health.answer(request.uri().path(), accept.unwrap_or_default());
                    async move { Ok::<_, Infallible>(answered) }
                });
                let answered = http.serve_connection(TokioIo::new(stream), answer);
                // Whoever asked may be gone.
                let _ = tokio::time::timeout(PATIENCE, answered).await;
            });
        }
    }

    fn answer(&self, path: &str, accept: &str) -> Response<Full<Bytes>> {
        let told = match path {
            "/metrics" => return self.metrics(accept),
            "/startupz" if self.inner.started.load(Ordering::Relaxed) => Ok(()),
            "/startupz" => Err("it has not come up yet".to_owned()),
            "/readyz" => self.is_ready(),
            "/livez" | "/healthz" => self.is_live(),
            _ => return response(StatusCode::NOT_FOUND, format!("nothing is served at {path}")),
        };
        match told {
            Ok(()) => response(StatusCode::OK, "ok".into()),
            Err(why) => response(StatusCode::SERVICE_UNAVAILABLE, why),
        }
    }

    fn metrics(&self, accept: &str) -> Response<Full<Bytes>> {
        let Some(registry) = self.inner.metrics.get() else {
            return response(StatusCode::SERVICE_UNAVAILABLE, "it does not count anything yet".into());
        };
        let form = Form::accepted(accept);
        let mut response = Response::new(Full::new(Bytes::from(registry.render(form))));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
        response
    }

    fn is_ready(&self) -> Result<(), String> {
        let (at, ready) = lock(&self.inner.ready).clone();
        match ready {
            Ok(()) if self.now().saturating_sub(at) > BELIEVED => {
                Err(format!("it has not said for {} s that it takes work", (self.now() - at).as_secs()))
            }
            told => told,
        }
    }

    fn is_live(&self) -> Result<(), String> {
        for pulse in lock(&self.inner.pulses).iter() {
            let silence = self.millis().saturating_sub(pulse.beat.load(Ordering::Relaxed));
            if silence > STUCK.as_millis() as u64 {
                return Err(format!("the {} has been stuck for {} s", pulse.name, silence / 1000));
            }
        }
        Ok(())
    }

    fn now(&self) -> Duration {
        self.inner.began.elapsed()
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX)
    }
}

fn response(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text + "\n")));
    *response.status_mut() = status;
    response
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn ask(address: SocketAddr, path: &str) -> (u16, String) {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: h\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.trim_end().to_owned())
    }

    #[test]
    fn each_probe_has_its_own_meaning() {
        let health = Health::default();
        let address = health.serve("127.0.0.1:0".parse().unwrap()).unwrap();
        let all = || ["/startupz", "/readyz", "/livez", "/healthz"].map(|path| ask(address, path).0);
        assert_eq!(all(), [503, 503, 200, 200]);
        health.started();
        assert_eq!(all(), [200, 503, 200, 200]);
        health.ready(Ok(()));
        assert_eq!(all(), [200, 200, 200, 200]);
        health.ready(Err("the server is stopping".into()));
        assert_eq!(ask(address, "/readyz"), (503, "the server is stopping".into()));
        assert_eq!(all(), [200, 503, 200, 200]);
        assert_eq!(ask(address, "/other").0, 404);
        assert_eq!(ask(address, "/metrics").0, 503);
        health.show(Registry::new("worker", &[]));
        let (status, metrics) = ask(address, "/metrics");
        assert_eq!(status, 200);
        assert!(metrics.contains("\nvitrine_build_info{") && metrics.contains("role=\"worker\""), "{metrics}");
        assert!(metrics.contains("\nprocess_cpu_seconds_total "), "{metrics}");
    }

    #[test]
    fn who_is_silent_is_no_longer_ready_and_then_no_longer_alive() {
        let long = |time: Duration| Instant::now().checked_sub(time).unwrap();
        let mut health = Health::default();
        health.ready(Ok(()));
        drop(health.pulse("gateway"));
        let shift = |health: &mut Health, time| Arc::get_mut(&mut health.inner).unwrap().began = long(time);
        // Half a beat more, so that the moments between these lines round away.
        shift(&mut health, BELIEVED + BEAT * 3 / 2);
        assert!(health.is_ready().unwrap_err().starts_with("it has not said for 11 s"));
        assert_eq!(health.is_live(), Ok(()));
        shift(&mut health, STUCK + BEAT * 3 / 2);
        assert_eq!(health.is_live(), Err("the gateway has been stuck for 31 s".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_runtime_that_turns_is_alive() {
        let mut health = Health::default();
        Arc::get_mut(&mut health.inner).unwrap().began = Instant::now().checked_sub(STUCK * 2).unwrap();
        let pulse = health.pulse("gateway");
        lock(&health.inner.pulses)[0].beat.store(0, Ordering::Relaxed);
        assert!(health.is_live().is_err());
        assert!(tokio::time::timeout(BEAT * 2, pulse).await.is_err());
        assert_eq!(health.is_live(), Ok(()));
    }
}
