//! Streams: one message each way. A conversation is a future that the membership's own polls.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use metallb_members::{Framing, Refusal, StreamId};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::limits::{Limits, Slot};

/// How many bytes a read has on average at least, after the first ones: each costs a look at all that is there.
const MIN_READ: usize = 256;
const FIRST_READS: usize = 64;
/// Numbers of streams of others; those of exchanges count from the other end.
const FIRST_INBOUND: StreamId = 1 << 63;

/// What a conversation has come to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Another member has sent a whole message; [`Conversations::answer`] or [`Conversations::close`] follows.
    Request {
        id: StreamId,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    /// The answer to an exchange.
    Reply { id: StreamId, bytes: Vec<u8> },
    /// An exchange had no answer.
    Failed { id: StreamId, error: io::Error },
    /// What another member sent is no message.
    Refused { from: SocketAddr, reason: Refusal },
    /// Nothing that anybody waits for.
    Ended,
}

/// A stream that another member has opened.
struct Inbound {
    stream: TcpStream,
    slot: Slot,
}

/// All that go on.
pub(super) struct Conversations {
    running: FuturesUnordered<BoxFuture<'static, (Outcome, Option<Inbound>)>>,
    /// Whose requests were read and not yet answered.
    waiting: HashMap<StreamId, Inbound>,
    limits: Limits,
    last: StreamId,
    framing: Framing,
    /// How long those take that others open.
    patience: Duration,
}

impl Conversations {
    pub(super) fn new(framing: Framing, patience: Duration) -> Self {
        Self {
            running: FuturesUnordered::new(),
            waiting: HashMap::new(),
            limits: Limits::default(),
            last: FIRST_INBOUND,
            framing,
            patience,
        }
    }

    /// Has messages found otherwise from now on.
    pub(super) fn expect(&mut self, framing: Framing) {
        self.framing = framing;
    }

    /// Says whether another stream may be accepted.
    pub(super) fn has_room(&self) -> bool {
        self.limits.have_room()
    }

    /// Waits for the next outcome, for ever if nothing goes on. Cancel-safe.
    pub(super) async fn next(&mut self) -> Outcome {
        let Some((outcome, inbound)) = self.running.next().await else {
            return std::future::pending().await;
        };
        if let (Outcome::Request { id, .. }, Some(inbound)) = (&outcome, inbound) {
            self.waiting.insert(*id, inbound);
        }
        outcome
    }

    /// Reads what another member wants.
    pub(super) fn accept(&mut self, mut stream: TcpStream, from: SocketAddr) {
        let Some(slot) = self.limits.stream(from.ip()) else {
            tracing::debug!(%from, "too many streams of the membership");
            return;
        };
        self.last += 1;
        let (id, framing, patience, limits) = (self.last, self.framing, self.patience, self.limits.clone());
        let conversation = async move {
            match timeout(patience, read(&mut stream, framing, &limits)).await {
                Ok(Ok(bytes)) => (Outcome::Request { id, from, bytes }, Some(Inbound { stream, slot })),
                Ok(Err(Fault::Refused(reason))) => (Outcome::Refused { from, reason }, None),
                Ok(Err(Fault::Io(_))) | Err(_) => (Outcome::Ended, None),
            }
        };
        self.running.push(conversation.boxed());
    }

    /// Answers a request, and closes its stream.
    pub(super) fn answer(&mut self, id: StreamId, bytes: Vec<u8>) {
        let Some(Inbound { mut stream, slot }) = self.waiting.remove(&id) else {
            return;
        };
        let patience = self.patience;
        let conversation = async move {
            let written = timeout(patience, async {
                stream.write_all(&bytes).await?;
                stream.shutdown().await
            });
            // If it does not get through, the other will ask again.
            let _ = written.await;
            drop(slot);
            (Outcome::Ended, None)
        };
        self.running.push(conversation.boxed());
    }

    /// Closes the stream of a request that has no answer.
    pub(super) fn close(&mut self, id: StreamId) {
        self.waiting.remove(&id);
    }

    /// Asks another member, from the own address.
    pub(super) fn exchange(&mut self, id: StreamId, own: IpAddr, to: SocketAddr, request: Vec<u8>, patience: Duration) {
        let (framing, limits) = (self.framing, self.limits.clone());
        let conversation = async move {
            let asked = timeout(patience, ask(own, to, &request, framing, &limits)).await;
            let answer = asked.unwrap_or_else(|_| Err(Fault::Io(io::ErrorKind::TimedOut.into())));
            let outcome = match answer {
                Ok(bytes) => Outcome::Reply { id, bytes },
                Err(Fault::Io(error)) => Outcome::Failed { id, error },
                Err(Fault::Refused(reason)) => Outcome::Failed {
                    id,
                    error: io::Error::new(io::ErrorKind::InvalidData, reason),
                },
            };
            (outcome, None)
        };
        self.running.push(conversation.boxed());
    }
}

/// Why no message was read.
enum Fault {
    Io(io::Error),
    Refused(Refusal),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

async fn ask(own: IpAddr, to: SocketAddr, request: &[u8], framing: Framing, limits: &Limits) -> Result<Vec<u8>, Fault> {
    let socket = if to.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    if own.is_ipv4() == to.is_ipv4() {
        socket.bind(SocketAddr::new(own, 0))?;
    }
    let mut stream = socket.connect(to).await?;
    stream.write_all(request).await?;
    read(&mut stream, framing, limits).await
}

/// Reads a whole message.
async fn read(stream: &mut TcpStream, framing: Framing, limits: &Limits) -> Result<Vec<u8>, Fault> {
    let (mut bytes, mut counted) = (Vec::new(), limits.message());
    let mut reads = 0;
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        reads += 1;
        if reads > FIRST_READS + bytes.len() / MIN_READ {
            return Err(Fault::Refused(Refusal::Malformed));
        }
        if !counted.grows_to(bytes.len()) {
            return Err(Fault::Refused(Refusal::TooLarge));
        }
        if framing.is_whole(&bytes).map_err(Fault::Refused)? {
            return Ok(bytes);
        }
    }
}
