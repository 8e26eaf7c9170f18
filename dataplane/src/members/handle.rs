//! What others of this process do with the running membership.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use metallb_members::{
    Keyring, Refusal,
    fast::{self as fast_path, Event, Question, Suspects},
    metadata::Metadata,
};
use tokio::sync::{Notify, broadcast, watch};

use super::{
    fast::Fast,
    heartbeat::Heartbeat,
    losses::{Loss, Losses},
};

/// Secrets: the first encrypts, all decrypt.
#[derive(Clone, Default)]
pub(super) struct Keys(pub(super) Vec<Vec<u8>>);

impl Keys {
    pub(super) fn keyring(&self) -> Keyring {
        Keyring::of_secrets(self.0.iter().map(Vec::as_slice))
    }

    pub(super) fn fast(&self) -> fast_path::Keys {
        fast_path::Keys::of_secrets(self.0.iter().map(Vec::as_slice))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// `None` until the speaker knows who the others are.
pub(super) type Peers = Option<BTreeMap<String, SocketAddr>>;
/// How often something was not accepted, by reason.
pub(super) type Refusals = Arc<Mutex<BTreeMap<Refusal, u64>>>;

/// Controls the running membership; cheap to clone.
#[derive(Clone, Debug)]
pub struct MembersHandle {
    pub(super) peers: watch::Sender<Peers>,
    pub(super) keys: watch::Sender<Keys>,
    pub(super) metadata: watch::Sender<Metadata>,
    pub(super) alive: watch::Receiver<BTreeSet<String>>,
    pub(super) said: watch::Receiver<BTreeMap<String, Option<Metadata>>>,
    pub(super) settled: watch::Receiver<bool>,
    pub(super) returned: Arc<Notify>,
    pub(super) refusals: Refusals,
    pub(super) mismatches: watch::Receiver<Option<IpAddr>>,
    pub(super) local: SocketAddr,
    pub(super) fast: Option<Fast>,
    pub(super) losses: Losses,
}

impl MembersHandle {
    /// Replaces the whole set of other speakers: node name and the address of their membership port. Those that are not
    /// members are asked to join; members that are not in the set stay until they leave or die.
    ///
    /// To be called first when the list is complete; an empty one means that this node is alone.
    pub fn set_peers(&self, peers: BTreeMap<String, SocketAddr>) {
        self.peers.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&peers);
            *current = Some(peers);
            changed
        });
    }

    /// Replaces the secrets: the first encrypts, all decrypt. So that nobody is lost, all speakers have to know a new one
    /// before any encrypts with it.
    pub fn set_keys(&self, secrets: Vec<Vec<u8>>) {
        self.keys.send_replace(Keys(secrets));
    }

    /// Names of the nodes whose speaker is alive; always contains the own node.
    #[must_use]
    pub fn alive(&self) -> watch::Receiver<BTreeSet<String>> {
        self.alive.clone()
    }

    /// Changes what this node says of itself. All others are told at once.
    pub fn set_metadata(&self, metadata: Metadata) {
        self.metadata.send_if_modified(|current| {
            let changed = *current != metadata;
            *current = metadata;
            changed
        });
    }

    /// All of [`Self::alive`], and what each says of itself; `None` = it is not of our kind, or of an older version. What
    /// this node says comes with some delay.
    #[must_use]
    pub fn members(&self) -> watch::Receiver<BTreeMap<String, Option<Metadata>>> {
        self.said.clone()
    }

    /// Those that were silent when everybody was asked about them, or have been until lately, perhaps this node itself:
    /// they own nothing that another could. `None` where fast failover is off.
    #[must_use]
    pub fn suspects(&self) -> Option<watch::Receiver<Suspects>> {
        self.fast.as_ref().map(|fast| fast.suspects.clone())
    }

    /// How and when a member was lost that is suspected, dead or gone; known before it is told of by [`Self::suspects`] or
    /// missing among [`Self::alive`].
    #[must_use]
    pub fn loss(&self, node: &str) -> Option<Loss> {
        self.losses.of(node)
    }

    /// What should be asked on the segment, at once; to be told by [`Self::answered`] if there is an answer.
    #[must_use]
    pub fn questions(&self) -> Option<broadcast::Receiver<Question>> {
        self.fast.as_ref().map(|fast| fast.questions.subscribe())
    }

    /// Somebody has answered.
    pub fn answered(&self, question: Question) {
        self.tell_fast(Event::Answered(question));
    }

    /// The nodes that this one may have to stand in for, and those that may stand in for it.
    pub fn set_partners(&self, partners: BTreeSet<String>) {
        self.tell_fast(Event::Partners(partners));
    }

    /// Whether this node can announce at all: without a usable interface others should at once.
    pub fn set_fit(&self, fit: bool) {
        self.tell_fast(Event::Fit(fit));
    }

    /// Has a part of the speaker watched without which it can answer for nothing: while one of them shows no sign of life
    /// for two seconds, others are asked to stand in. `None` where fast failover is off.
    #[must_use]
    pub fn heartbeat(&self, part: &'static str) -> Option<Heartbeat> {
        self.fast.as_ref().map(|fast| fast.watch(part))
    }

    fn tell_fast(&self, event: Event) {
        if let Some(fast) = &self.fast {
            fast.tell(event);
        }
    }

    /// How often something that came in was not accepted, by reason.
    #[must_use]
    pub fn refusals(&self) -> BTreeMap<Refusal, u64> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From where something came last that was encrypted with none of the secrets, or not although it should have been; told
    /// once a minute at most.
    #[must_use]
    pub fn key_mismatches(&self) -> watch::Receiver<Option<IpAddr>> {
        self.mismatches.clone()
    }

    /// Becomes true once the alive set can be trusted after a start: all other speakers are members, or three
    /// seconds have passed. Before that a fresh speaker must not announce what others own.
    #[must_use]
    pub fn settled(&self) -> watch::Receiver<bool> {
        self.settled.clone()
    }

    /// Waits until a speaker that was cut off, or suspected, is heard again: both sides may have announced the same
    /// addresses. By then it is among [`Self::alive`]. For one waiter; cancel-safe.
    pub async fn returned(&self) {
        self.returned.notified().await;
    }

    /// The address it listens on (tells the port if port 0 was asked for).
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// Waits for the end of the membership: after `stop`, until the goodbye is sent; before, it means a failure.
    pub async fn ended(&self) {
        self.peers.closed().await;
    }
}
