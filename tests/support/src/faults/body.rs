//! The body of an answer on its way through the proxy: where a running watch stalls, ends or is told 410.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::sync::watch;

use super::connection::Connection;
use super::request::{Request, Verb};
use super::rule::Fault;
use super::script::Script;

pub(super) type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// Between two pieces of a slow body.
const PIECE: Duration = Duration::from_millis(100);

/// A body that is there already.
pub(super) fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Passes the body of `request` on, under the script.
pub(super) fn pass(body: Incoming, request: Request, met: Vec<u64>, slow: Option<usize>, parts: Parts) -> Body {
    let pieces = BodyStream::new(body).filter_map(async |frame| match frame {
        Ok(frame) => frame.into_data().ok().map(Ok),
        Err(error) => Some(Err(error)),
    });
    let passing = Passing {
        changes: parts.script.changes(),
        parts,
        request,
        met,
        slow,
        pieces: pieces.boxed(),
        // What came before the first byte of a line.
        at_line: true,
        over: false,
    };
    let frames = stream::unfold(passing, |mut passing| async move {
        let piece = passing.next().await?;
        Some((piece.map(Frame::data), passing))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// What a body needs of the proxy.
pub(super) struct Parts {
    pub script: Arc<Script>,
    pub connection: Connection,
}

struct Passing {
    parts: Parts,
    changes: watch::Receiver<()>,
    request: Request,
    met: Vec<u64>,
    slow: Option<usize>,
    pieces: BoxStream<'static, hyper::Result<Bytes>>,
    at_line: bool,
    over: bool,
}

impl Passing {
    async fn next(&mut self) -> Option<hyper::Result<Bytes>> {
        loop {
            if self.over {
                return None;
            }
            if self.request.verb == Verb::Watch
                && self.at_line
                && let Some(last) = self.meet().await
            {
                self.over = true;
                return last.map(Ok);
            }
            // Cancel-safe: a piece that is not taken stays in the stream.
            tokio::select! {
                _ = self.changes.changed() => {}
                piece = self.pieces.next() => return self.take(piece?).await,
            }
        }
    }

    async fn take(&mut self, piece: hyper::Result<Bytes>) -> Option<hyper::Result<Bytes>> {
        let mut piece = match piece {
            Ok(piece) => piece,
            Err(error) => return Some(Err(error)),
        };
        if let Some(most) = self.slow.filter(|most| piece.len() > *most) {
            tokio::time::sleep(PIECE).await;
            let rest = piece.split_off(most);
            let later = std::mem::replace(&mut self.pieces, stream::empty().boxed());
            self.pieces = stream::once(async { Ok(rest) }).chain(later).boxed();
        }
        self.at_line = piece.last() == Some(&b'\n');
        Some(Ok(piece))
    }

    /// What the script has for a running watch: its last words, if it is to end.
    async fn meet(&mut self) -> Option<Option<Bytes>> {
        for (id, fault) in self.parts.script.meet(&self.request, &mut self.met) {
            match fault {
                Fault::DropWatch | Fault::Refuse => return Some(None),
                Fault::Reset | Fault::LoseAnswer => self.parts.connection.reset(),
                Fault::Gone => return Some(Some(gone_event())),
                Fault::Silence => silence(&self.parts.script, id).await,
                Fault::Dead => std::future::pending().await,
                Fault::SlowBody(bytes) => self.slow = Some(bytes),
                // Too late for these.
                Fault::Delay(_) | Fault::Busy { .. } | Fault::Answer(_) | Fault::Conflict => {}
            }
        }
        None
    }
}

/// Waits until the rule is gone.
pub(super) async fn silence(script: &Script, id: u64) {
    let mut changes = script.changes();
    while script.is_in_force(id) {
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// How an API server says that a watch is too old.
pub(super) fn gone_event() -> Bytes {
    let status = status(410);
    Bytes::from(format!("{{\"type\":\"ERROR\",\"object\":{status}}}\n"))
}

/// A `Status` as API servers send it.
pub(super) fn status(code: u16) -> serde_json::Value {
    let (reason, message) = match code {
        403 => ("Forbidden", "forbidden by the fault proxy"),
        409 => (
            "Conflict",
            "Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest version and try again",
        ),
        410 => ("Expired", "too old resource version"),
        429 => ("TooManyRequests", "too many requests, please try again later"),
        503 => (
            "ServiceUnavailable",
            "the server is currently unable to handle the request",
        ),
        _ => (
            "InternalError",
            "an error on the server has prevented the request from succeeding",
        ),
    };
    serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}
