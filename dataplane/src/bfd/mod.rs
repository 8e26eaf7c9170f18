//! BFD: one thread with its own sockets and timers, so that nothing else in this process delays it.
//!
//! ```text
//!  set_sessions ──► mailbox ──wake──► thread "bfd" ◄──UDP 3784, 4784──► routers
//!                                     (metallb_bfd::Bfd)   one socket a session to send,
//!  sessions() ◄──watch── states ◄─────────┘               one a port, family and VRF to receive
//! ```
//! The thread waits in `ppoll`, to the microsecond, and hears whatever has arrived before it judges anybody's silence.

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

/// What the thread is asked.
#[derive(Debug)]
enum Request {
    /// Have these sessions and no others.
    Sessions(BTreeMap<SessionKey, SessionConfig>),
    /// Tell the peers, and end.
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
/// others. Needs a tokio runtime.
pub async fn follow_addresses(mut changed: impl FnMut()) -> Infallible {
    match LinkMonitor::open() {
        Ok(mut monitor) => {
            while monitor.changed().await {
                changed();
            }
            tracing::warn!(
                event = "bfdError",
                "the addresses of this node are not followed any more"
            );
        }
        Err(error) => tracing::warn!(event = "bfdError", %error, "the addresses of this node are not followed"),
    }
    std::future::pending().await
}

/// Why the shell ended without being told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It panicked.
    #[error("the BFD thread has failed")]
    Failed,
    /// It cannot wait for packets.
    #[error("waiting for BFD packets: {0}")]
    Wait(#[source] io::Error),
}

/// Controls the running BFD shell; cheap to clone.
#[derive(Clone, Debug)]
pub struct BfdHandle {
    mailbox: Mailbox<Request>,
    sessions: watch::Receiver<Sessions>,
    refusals: Refusals,
}

/// Starts the BFD thread, without sessions. It ends when `stop` is cancelled, which the peers are told of, or when the
/// future is dropped, which they are not. The future ends with the thread.
///
/// # Errors
/// If there is no thread or socket to be had.
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
        // Nobody may be left who wants to know.
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

/// Ends the thread when nobody waits for it any more.
struct Abandon(Mailbox<Request>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.send(Request::Abandon);
    }
}

impl BfdHandle {
    /// Replaces the whole set of sessions.
    ///
    /// A session that is configured otherwise than before stays up; one that is missing is ended, and its peer is told
    /// that this is no failure.
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
