//! BFD: one thread with its own sockets and timers, so that nothing else in this process delays it.
//!
//! ```text
//!  set_sessions ──► mailbox ──wake──► thread "bfd" ◄──UDP 3784, 4784──► routers
//!                                     (metallb_bfd::Bfd)   one socket a session to send,
//!  sessions() ◄──watch── states ◄─────────┘               one a port, family and VRF to receive
//! ```
//! The thread waits in `ppoll`, to the microsecond, and handles whatever has arrived before it evaluates detection times.

mod counters;
mod echo;
mod guard;
mod kernel;
mod outlet;
mod ports;
mod reserve;
mod states;
mod thread;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::IpAddr,
    sync::{Arc, PoisonError},
    time::Duration,
};

pub use counters::Counters;
pub use guard::{Guarded, guard};
pub use metallb_bfd::{Diagnostic, Hops, Refusal, SessionConfig, SessionKey, State, Status};
use metallb_net::LinkMonitor;
use nix::{
    ifaddrs::{InterfaceAddress, getifaddrs},
    sys::socket::SockaddrStorage,
};
pub use states::{SessionState, Sessions};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::{states::Refusals, thread::Thread};
use crate::mailbox::{Mailbox, mailbox};

/// The pause before the first attempt to follow the addresses of the node again, which doubles up to the last one.
const RESUBSCRIBE_FIRST: Duration = Duration::from_secs(1);
const RESUBSCRIBE_LAST: Duration = Duration::from_secs(60);

/// A request to the thread.
#[derive(Debug)]
enum Request {
    /// Have these sessions and no others.
    Sessions(BTreeMap<SessionKey, SessionConfig>),
    /// Send AdminDown to the peers, and end.
    Stop,
    /// End.
    Abandon,
}

/// The networks of this node at one moment.
#[derive(Clone, Debug, Default)]
pub struct Networks(Vec<Network>);

#[derive(Clone, Copy, Debug)]
struct Network {
    is_v4: bool,
    address: u128,
    mask: u128,
}

impl Networks {
    /// Reads the addresses of all interfaces; none if the kernel does not tell them.
    #[must_use]
    pub fn read() -> Self {
        let bits = |address: &SockaddrStorage| match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(v4), _) => Some((true, v4.ip().to_bits().into())),
            (_, Some(v6)) => Some((false, v6.ip().to_bits())),
            _ => None,
        };
        let network = |interface: InterfaceAddress| {
            let (is_v4, address) = interface.address.as_ref().and_then(bits)?;
            let (_, mask) = interface.netmask.as_ref().and_then(bits)?;
            Some(Network { is_v4, address, mask })
        };
        Self(getifaddrs().into_iter().flatten().filter_map(network).collect())
    }

    /// Whether an address is in one of them, so that no router is in between.
    #[must_use]
    pub fn contain(&self, peer: IpAddr) -> bool {
        let (is_v4, peer): (bool, u128) = match peer {
            IpAddr::V4(ip) => (true, ip.to_bits().into()),
            IpAddr::V6(ip) => (false, ip.to_bits()),
        };
        let holds = |network: &Network| network.is_v4 == is_v4 && (network.address ^ peer) & network.mask == 0;
        self.0.iter().any(holds)
    }
}

/// Calls `changed` whenever interfaces or addresses of this node have changed, after which [`Networks::read`] may find
/// others; also each time it has subscribed to them, as there may have been changes before. A subscription that fails is
/// renewed. Needs a tokio runtime.
pub async fn follow_addresses(mut changed: impl FnMut()) -> Infallible {
    let mut pause = RESUBSCRIBE_FIRST;
    loop {
        let error = match LinkMonitor::open() {
            Ok(mut monitor) => {
                pause = RESUBSCRIBE_FIRST;
                changed();
                while monitor.changed().await {
                    changed();
                }
                io::Error::other("the netlink socket has failed")
            }
            Err(error) => error,
        };
        tracing::warn!(
            event = "bfdError",
            %error,
            pause_seconds = pause.as_secs(),
            "cannot follow the addresses of this node: for a while BFD may take a peer on the link for one behind a router, or \
             the other way round"
        );
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RESUBSCRIBE_LAST);
    }
}

/// Why the shell ended without being told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It panicked.
    #[error("the BFD thread has failed")]
    Failed,
    /// It cannot wait for packets.
    #[error("cannot wait for BFD packets: {0}")]
    Wait(#[source] io::Error),
}

/// Controls the running BFD shell; cheap to clone.
#[derive(Clone, Debug)]
pub struct BfdHandle {
    mailbox: Mailbox<Request>,
    sessions: watch::Receiver<Sessions>,
    refusals: Refusals,
}

/// Starts the BFD thread, without sessions. It ends when `stop` is cancelled, after sending AdminDown to the peers, or without
/// that when the future is dropped. The future ends with the thread.
///
/// # Errors
/// If the thread or its socket cannot be created.
pub fn start(
    stop: CancellationToken,
) -> io::Result<(BfdHandle, impl Future<Output = Result<(), Error>> + Send + 'static)> {
    let (mailbox, inbox) = mailbox()?;
    let (states, sessions) = states::new();
    let refusals = Refusals::default();
    let (ending, ended) = oneshot::channel();
    let thread = Thread::new(inbox, states, Arc::clone(&refusals));
    std::thread::Builder::new().name("bfd".to_owned()).spawn(move || {
        let outcome = thread.run();
        // Fails if the future was dropped.
        let _ = ending.send(outcome);
    })?;
    let handle = BfdHandle {
        mailbox: mailbox.clone(),
        sessions,
        refusals,
    };
    let abandon = Abandon(mailbox);
    let run = async move {
        let mut ended = ended;
        // Both arms are cancel-safe: the token and the channel keep what was not taken.
        let outcome = tokio::select! {
            outcome = &mut ended => outcome,
            () = stop.cancelled() => {
                abandon.0.send(Request::Stop);
                ended.await
            }
        };
        outcome.unwrap_or(Err(Error::Failed))
    };
    Ok((handle, run))
}

/// Ends the thread when its future is dropped.
struct Abandon(Mailbox<Request>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.send(Request::Abandon);
    }
}

impl BfdHandle {
    /// Replaces the whole set of sessions.
    ///
    /// A session whose configuration changes stays up; one that is missing is ended with AdminDown, so that its peer does not
    /// take that for a failure.
    pub fn set_sessions(&self, sessions: BTreeMap<SessionKey, SessionConfig>) {
        self.mailbox.send(Request::Sessions(sessions));
    }

    /// Follows the sessions; notified when one comes, goes, or changes its state.
    #[must_use]
    pub fn sessions(&self) -> watch::Receiver<Sessions> {
        self.sessions.clone()
    }

    /// How many packets were discarded, by reason.
    #[must_use]
    pub fn refusals(&self) -> BTreeMap<Refusal, u64> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
