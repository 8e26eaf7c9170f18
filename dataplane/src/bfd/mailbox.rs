//! What the thread is asked, and how it is woken.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::{Arc, mpsc},
};

use metallb_bfd::{SessionConfig, SessionKey};

/// What the thread is asked.
#[derive(Debug)]
pub(super) enum Request {
    Sessions(BTreeMap<SessionKey, SessionConfig>),
    /// Tell the peers, and end.
    Stop,
    /// End.
    Abandon,
}

/// Where requests are put.
#[derive(Debug)]
pub(super) struct Mailbox {
    requests: mpsc::Sender<Request>,
    wake: UnixStream,
}

impl Mailbox {
    pub(super) fn send(&self, request: Request) {
        // A thread that has ended has no sessions either.
        let _ = self.requests.send(request);
        // If the buffer is full the thread is awake.
        let _ = (&self.wake).write(&[0]);
    }
}

/// Where the thread finds them.
pub(super) struct Inbox {
    requests: mpsc::Receiver<Request>,
    woken: UnixStream,
}

pub(super) fn new() -> io::Result<(Arc<Mailbox>, Inbox)> {
    let (requests, receiver) = mpsc::channel();
    let (wake, woken) = UnixStream::pair()?;
    wake.set_nonblocking(true)?;
    woken.set_nonblocking(true)?;
    let inbox = Inbox {
        requests: receiver,
        woken,
    };
    Ok((Arc::new(Mailbox { requests, wake }), inbox))
}

impl Inbox {
    /// All that was asked since the last time.
    pub(super) fn take(&self) -> Vec<Request> {
        // Empty the wake-ups first: who asks after this wakes again.
        let mut buffer = [0; 64];
        while (&self.woken).read(&mut buffer).is_ok_and(|len| len == buffer.len()) {}
        self.requests.try_iter().collect()
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }
}
