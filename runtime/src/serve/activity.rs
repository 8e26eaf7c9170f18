//! What a connection is at, since when; and a stream that tells.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Between requests.
    Idle,
    /// Some of a request's head is here.
    Head,
    /// That many requests are being answered.
    Busy(u32),
}

/// The phase and when it began; clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Activity(Arc<watch::Sender<(Phase, Instant)>>);

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new((Phase::Idle, Instant::now()))))
    }
}

impl Activity {
    pub(super) fn watch(&self) -> watch::Receiver<(Phase, Instant)> {
        self.0.subscribe()
    }

    /// Whether it is the client's turn.
    pub(super) fn waits(&self) -> bool {
        !matches!(self.0.borrow().0, Phase::Busy(_))
    }

    /// A request begins, until what is returned is dropped.
    pub(super) fn begin(&self) -> InFlight {
        self.update(|phase| match phase {
            Phase::Busy(count) => Phase::Busy(count + 1),
            Phase::Idle | Phase::Head => Phase::Busy(1),
        });
        InFlight(self.clone())
    }

    fn update(&self, next: impl FnOnce(Phase) -> Phase) {
        self.0.send_modify(|(phase, since)| {
            *phase = next(*phase);
            *since = Instant::now();
        });
    }
}

/// A request that is being answered.
pub(super) struct InFlight(Activity);

impl InFlight {
    /// Lasts until the client has taken `body`, or has gone.
    pub(super) fn until_sent(self, body: Body) -> Body {
        Body::new(Sent {
            body: UnsyncBoxBody::new(body),
            _busy: self,
        })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.update(|phase| match phase {
            Phase::Busy(count) if count > 1 => Phase::Busy(count - 1),
            _ => Phase::Idle,
        });
    }
}

struct Sent {
    body: UnsyncBoxBody<Bytes, axum::Error>,
    _busy: InFlight,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The answer to a head that does not end.
const LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
/// How every connection of HTTP/2 begins. Its pings are no heads, so the idle time alone ends such a connection.
const HTTP2: &[u8] = b"PRI * HTTP/2";

/// A stream that tells the activity when a head begins, and ends one that takes too long.
pub(super) struct HeadTimeout<S> {
    stream: S,
    activity: Activity,
    head: Duration,
    /// Runs while a head is awaited.
    timer: Option<Pin<Box<Sleep>>>,
    begun: bool,
    http2: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> HeadTimeout<S> {
    pub(super) fn new(stream: S, activity: Activity, head: Duration) -> Self {
        Self {
            stream,
            activity,
            head,
            timer: None,
            begun: false,
            http2: false,
        }
    }

    fn heard(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if !self.begun {
            self.begun = true;
            self.http2 = bytes.starts_with(&HTTP2[..bytes.len().min(HTTP2.len())]) && bytes.len() > 1;
        }
        if !self.http2 && self.activity.0.borrow().0 == Phase::Idle {
            self.activity.update(|_| Phase::Head);
        }
    }

    /// Ends with an error when the head is late, and never if there is none.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        if self.activity.0.borrow().0 != Phase::Head {
            self.timer = None;
            return Poll::Pending;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.head)));
        ready!(timer.as_mut().poll(context));
        // Whoever does not read it either has lost nothing.
        let _ = Pin::new(&mut self.stream).poll_write(context, LATE);
        let _ = Pin::new(&mut self.stream).poll_flush(context);
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for HeadTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer)?;
        self.heard(&buffer.filled()[filled..]);
        match self.poll_late(context) {
            Poll::Ready(late) => Poll::Ready(Err(late)),
            Poll::Pending => read.map(Ok),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for HeadTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}
