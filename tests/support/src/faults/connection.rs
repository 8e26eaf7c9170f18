//! One client's connection, which may end rudely.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// The handle by which an answer ends the connection that it should go to.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    socket: Arc<OwnedFd>,
    pub end: CancellationToken,
}

impl Connection {
    pub(super) fn new(stream: &TcpStream) -> std::io::Result<Self> {
        Ok(Self {
            socket: Arc::new(stream.as_fd().try_clone_to_owned()?),
            end: CancellationToken::new(),
        })
    }

    /// Ends it in order.
    pub(super) fn close(&self) {
        self.end.cancel();
    }

    /// Ends it with a reset.
    pub(super) fn reset(&self) {
        // A socket that lingers for no time resets when it is closed; one that cannot be told so is gone already.
        let _ = socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
        self.end.cancel();
    }
}
