//! Serves HTTP, with or without TLS, so that no client can keep others from being served.
//!
//! ```text
//! accept ──► Connections (limit) ──► TLS handshake ──► HeadTimeout (bytes) ──► hyper ──► routes
//!                 │ closed for another    │ 5 s              │ head: 408        │ Activity: idle, head, busy
//!                 └──────────────► the connection's task ends ◄─────────────────┘ deadline of the phase
//! ```
//!
//! A new connection never waits: above the limit, the client with most connections loses its oldest.

mod activity;
mod bodies;
mod connections;
pub(crate) mod panics;

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, warn};

pub use bodies::{Bodies, Received, Refused};

use activity::{Activity, HeadTimeout, Phase};
use connections::{Registry, Slot};
use panics::Streams;

/// What a request's head may take in memory; hyper's own limit is six times as much.
const HEAD_BYTES: usize = 64 * 1024;
/// Requests at the same time on one connection of HTTP/2.
const STREAMS: u32 = 32;
/// What of one body of HTTP/2 may lie unread.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Pause when the kernel has no socket for us.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// How much, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at the same time. Those who call us (API servers, Prometheus, kubelets) keep a handful.
    pub connections: usize,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request's head to its last, else 408.
    pub head: Duration,
    /// From the head of a request to the end of its answer. No API server waits for more than 30 s.
    pub request: Duration,
    /// Without a request; Go's clients close after 90 s, and it is better that they do.
    pub idle: Duration,
    /// For open requests after the stop signal.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 128,
            handshake: Duration::from_secs(5),
            head: Duration::from_secs(10),
            request: Duration::from_secs(60),
            idle: Duration::from_secs(120),
            grace: Duration::from_secs(5),
        }
    }
}

impl Limits {
    fn of(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Idle => self.idle,
            // The stream itself is first, and says why.
            Phase::Head => self.head + Duration::from_secs(1),
            Phase::Busy(_) => self.request,
        }
    }
}

/// TLS for new connections, as it is at the moment.
pub type Tls = watch::Receiver<Arc<ServerConfig>>;

/// Who sent a request; an extension of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// How connections are served.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Plain HTTP if there is none.
    pub tls: Option<Tls>,
    /// Whether HTTP/2 is spoken besides HTTP/1.1.
    pub http2: bool,
    /// How much, and how long.
    pub limits: Limits,
}

/// Serves `routes` until `stop`, and open requests a little longer.
///
/// # Errors
/// When the listener cannot be used.
pub async fn serve(
    listener: std::net::TcpListener,
    settings: Settings,
    routes: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let grace = settings.limits.grace;
    let shared = Arc::new(Shared {
        registry: Registry::new(settings.limits.connections),
        settings,
        routes,
        stop,
    });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => drop(connections.spawn(shared.clone().receive(stream, peer.ip()))),
                // Mostly a client that is gone already; else there are too many sockets, some of which will close.
                Err(error) => {
                    debug!(%error, "cannot accept a connection");
                    sleep(EXHAUSTED).await;
                }
            },
            Some(end) = connections.join_next() => panics::judge(end),
            () = shared.stop.cancelled() => break,
        }
    }
    drop(listener);
    let rest = async {
        while let Some(end) = connections.join_next().await {
            panics::judge(end);
        }
    };
    if timeout(grace, rest).await.is_err() {
        warn!("requests are open at the end, closing their connections");
    }
    Ok(())
}

/// What all connections reserve.
struct Shared {
    registry: Registry,
    settings: Settings,
    routes: Router,
    stop: CancellationToken,
}

impl Shared {
    async fn receive(self: Arc<Self>, stream: TcpStream, peer: IpAddr) {
        let activity = Activity::default();
        let slot = self.registry.take(peer, activity.clone());
        // Nagle's algorithm holds back the end of an answer until the client acknowledges the rest.
        drop(stream.set_nodelay(true));
        let Some(tls) = &self.settings.tls else {
            return self.serve_connection(stream, peer, activity, slot).await;
        };
        let handshake = TlsAcceptor::from(tls.borrow().clone()).accept(stream);
        let handshake = tokio::select! {
            handshake = timeout(self.settings.limits.handshake, handshake) => handshake,
            () = slot.lost() => return,
            () = self.stop.cancelled() => return,
        };
        match handshake {
            Ok(Ok(stream)) => self.serve_connection(stream, peer, activity, slot).await,
            Ok(Err(error)) => debug!(%peer, %error, "no TLS handshake"),
            Err(_) => debug!(%peer, "no TLS handshake in time"),
        }
    }

    async fn serve_connection<S>(&self, stream: S, peer: IpAddr, activity: Activity, slot: Slot<'_>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Limits { head, grace, .. } = self.settings.limits;
        let builder = builder(self.settings.http2);
        let io = TokioIo::new(HeadTimeout::new(stream, activity.clone(), head));
        let service = TowerToHyperService::new(answering(self.routes.clone(), peer, activity.clone()));
        let mut connection = pin!(builder.serve_connection(io, service));
        let mut changes = activity.watch();
        let mut ending = None;
        loop {
            let (phase, since) = *changes.borrow_and_update();
            let deadline = ending.unwrap_or_else(|| since + self.settings.limits.of(phase));
            let end = tokio::select! {
                // An error of the connection is the client's.
                _ = connection.as_mut() => return,
                () = slot.lost() => return debug!(%peer, "closed to stay within the limit of connections"),
                Ok(()) = changes.changed() => continue,
                () = sleep_until(deadline) => ending.is_some(),
                () = self.stop.cancelled(), if ending.is_none() => false,
            };
            if end {
                return debug!(%peer, ?phase, "closed after its time");
            }
            connection.as_mut().graceful_shutdown();
            ending = Some(Instant::now() + grace);
        }
    }
}

fn builder(http2: bool) -> Builder<Streams> {
    let mut builder = Builder::new(Streams);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .max_header_list_size(HEAD_BYTES as u32);
    if http2 { builder } else { builder.http1_only() }
}

/// The routes, with the peer in each request and the activity told when one begins and ends.
fn answering(
    routes: Router,
    peer: IpAddr,
    activity: Activity,
) -> impl tower::Service<
    http::Request<Incoming>,
    Response = http::Response<Body>,
    Error = Infallible,
    Future = impl Future<Output = Result<http::Response<Body>, Infallible>> + Send,
> + Clone {
    tower::service_fn(move |request: http::Request<Incoming>| {
        let busy = activity.begin();
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        let answer = routes.clone().oneshot(request);
        async move { Ok(answer.await?.map(|body| busy.until_sent(body))) }
    })
}

#[cfg(test)]
mod tests;
