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

/// Most streams that others have open at a time; more wait in the kernel.
const MAX_INBOUND: usize = 64;
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

/// All that go on.
pub(super) struct Conversations {
    running: FuturesUnordered<BoxFuture<'static, (Outcome, Option<TcpStream>)>>,
    /// Whose requests were read and not yet answered.
    waiting: HashMap<StreamId, TcpStream>,
    inbound: usize,
    last: StreamId,
    framing: Framing,
    /// How long those take that others open.
    limit: Duration,
}

impl Conversations {
    pub(super) fn new(framing: Framing, limit: Duration) -> Self {
        Self {
            running: FuturesUnordered::new(),
            waiting: HashMap::new(),
            inbound: 0,
            last: FIRST_INBOUND,
            framing,
            limit,
        }
    }

    /// Says whether another stream may be accepted.
    pub(super) fn has_room(&self) -> bool {
        self.inbound < MAX_INBOUND
    }

    /// Waits for the next outcome, for ever if nothing goes on. Cancel-safe.
    pub(super) async fn next(&mut self) -> Outcome {
        let Some((outcome, stream)) = self.running.next().await else {
            return std::future::pending().await;
        };
        match (&outcome, stream) {
            (Outcome::Request { id, .. }, Some(stream)) => drop(self.waiting.insert(*id, stream)),
            (Outcome::Refused { .. } | Outcome::Ended, _) => self.inbound = self.inbound.saturating_sub(1),
            _ => {}
        }
        outcome
    }

    /// Reads what another member wants.
    pub(super) fn accept(&mut self, mut stream: TcpStream, from: SocketAddr) {
        self.inbound += 1;
        self.last += 1;
        let (id, framing, limit) = (self.last, self.framing, self.limit);
        let conversation = async move {
            let outcome = match timeout(limit, read(&mut stream, framing)).await {
                Ok(Ok(bytes)) => Outcome::Request { id, from, bytes },
                Ok(Err(Fault::Refused(reason))) => Outcome::Refused { from, reason },
                Ok(Err(Fault::Io(_))) | Err(_) => Outcome::Ended,
            };
            (outcome, Some(stream))
        };
        self.running.push(conversation.boxed());
    }

    /// Answers a request, and closes its stream.
    pub(super) fn answer(&mut self, id: StreamId, bytes: Vec<u8>) {
        let Some(mut stream) = self.waiting.remove(&id) else {
            return;
        };
        let limit = self.limit;
        let conversation = async move {
            let written = timeout(limit, async {
                stream.write_all(&bytes).await?;
                stream.shutdown().await
            });
            // If it does not get through, the other will ask again.
            let _ = written.await;
            (Outcome::Ended, None)
        };
        self.running.push(conversation.boxed());
    }

    /// Closes the stream of a request that has no answer.
    pub(super) fn close(&mut self, id: StreamId) {
        if self.waiting.remove(&id).is_some() {
            self.inbound = self.inbound.saturating_sub(1);
        }
    }

    /// Asks another member, from the own address.
    pub(super) fn exchange(&mut self, id: StreamId, own: IpAddr, to: SocketAddr, request: Vec<u8>, limit: Duration) {
        let framing = self.framing;
        let conversation = async move {
            let asked = timeout(limit, ask(own, to, &request, framing)).await;
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

async fn ask(own: IpAddr, to: SocketAddr, request: &[u8], framing: Framing) -> Result<Vec<u8>, Fault> {
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
    read(&mut stream, framing).await
}

/// Reads a whole message.
async fn read(stream: &mut TcpStream, framing: Framing) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if framing.is_whole(&bytes).map_err(Fault::Refused)? {
            return Ok(bytes);
        }
    }
}
