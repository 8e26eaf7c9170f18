//! The BGPSessionState of each peer of this node.
//!
//! The content is computed when the object is written, so that many changes at once make one write. An object of an earlier
//! Pod of this node is taken over; the garbage collector deletes it with the Pod that owns it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Patch;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, ResourceExt};
use metallb_api::names::{self, field_manager};
use metallb_api::{BGPSessionState, BGPSessionStateStatus};
use metallb_runtime::apply;
use metallb_runtime::cause::explain;
use metallb_runtime::watch::Change;
use metallb_runtime::work::{Backoff, Outcome, Queue};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::judge::{SETTLE, Verdict, judge};
use super::picture::{Picture, Source};
use crate::status::{Owner, label_value};

/// How long a write may take to show up in the watch.
const WATCH_LAG: Duration = Duration::from_secs(10);
/// How long objects of an earlier run are kept after the first configuration: sessions appear a moment later.
const SPARED: Duration = Duration::from_secs(5);
/// Time between two attempts while the cluster lacks the kind, or this speaker the right to it.
const REFUSED: Duration = Duration::from_secs(300);
/// Longest name of an object.
const NAME_LIMIT: usize = 253;

/// Brings objects in line with sessions.
pub(super) struct Objects {
    api: Api<BGPSessionState>,
    owner: Owner,
    source: Source,
    store: Store<BGPSessionState>,
    /// Names of objects.
    queue: Queue<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The peer of each object that is wanted.
    peers: BTreeMap<String, String>,
    written: HashMap<String, Written>,
    /// When each is looked at again, of those that were put off.
    due: HashMap<String, Instant>,
    /// From then on, objects that are not wanted are deleted.
    opens: Option<Instant>,
    /// Nothing is written until then: the cluster lacks the kind, or this speaker the right to it.
    refused: Option<Instant>,
}

/// What we wrote last.
struct Written {
    at: Instant,
    /// Until the watch shows it.
    unseen: Option<BGPSessionStateStatus>,
}

impl Objects {
    pub(super) fn new(client: Client, owner: Owner, source: Source, store: Store<BGPSessionState>) -> Self {
        Self {
            api: Api::namespaced(client, &owner.namespace),
            owner,
            source,
            store,
            queue: Queue::new(Backoff::default()),
            state: Mutex::default(),
        }
    }

    /// Selects the objects of a node.
    pub(super) fn selector(node: &str) -> String {
        format!("{}={}", names::LABEL_SESSION_NODE, label_value(node))
    }

    /// Takes in the peers; objects of removed ones are looked at a moment later.
    pub(super) fn want<'a>(&self, peers: impl Iterator<Item = &'a String>) {
        let wanted: BTreeMap<String, String> = peers
            .map(|peer| (object_name(&self.owner.node, peer), peer.clone()))
            .collect();
        let before = std::mem::replace(&mut self.state().peers, wanted.clone());
        for name in before.into_keys().filter(|name| !wanted.contains_key(name)) {
            self.look_after(&name, SETTLE);
        }
    }

    /// Takes in that a session has changed.
    pub(super) fn changed(&self, peer: &str) {
        self.look_after(&object_name(&self.owner.node, peer), SETTLE);
    }

    /// Looks at all of them again: prefix counts change without a notice.
    pub(super) fn review(&self) {
        let wanted: Vec<String> = self.state().peers.keys().cloned().collect();
        wanted.into_iter().for_each(|name| self.queue.add(name));
    }

    /// Allows the deletion of objects that are not wanted, after a while.
    pub(super) fn open(&self) {
        self.state().opens.get_or_insert_with(|| Instant::now() + SPARED);
        for object in self.store.state() {
            self.look_after(&object.name_any(), SPARED);
        }
    }

    /// Takes in a change that the watch reports.
    pub(super) fn seen(&self, change: &Change<BGPSessionState>) {
        let Some(object) = change.object() else { return };
        let name = object.name_any();
        let mut state = self.state();
        if let Some(written) = state.written.get_mut(&name) {
            let gone = matches!(change, Change::Deleted(_));
            written
                .unseen
                .take_if(|unseen| gone || object.status.as_ref() == Some(unseen));
        }
        drop(state);
        self.queue.add(name);
    }

    /// Looks at an object after `delay`, unless it is to be looked at sooner anyway: a flapping session must not fill the
    /// queue.
    fn look_after(&self, name: &str, delay: Duration) {
        let (mut state, now) = (self.state(), Instant::now());
        let at = now + delay;
        let planned = state.due.get(name);
        if !planned.is_some_and(|planned| (now..=at).contains(planned)) {
            state.due.insert(name.to_owned(), at);
            drop(state);
            self.queue.add_after(name.to_owned(), delay);
        }
    }

    /// Works until dropped.
    pub(super) async fn work(&self) {
        // Before the first list, objects would be written that are already right.
        if self.store.wait_until_ready().await.is_err() {
            return std::future::pending().await;
        }
        loop {
            let name = self.queue.next().await;
            let outcome = match self.converge(&name).await {
                Ok(()) => Outcome::Ok,
                Err(error) if refused(&error) => {
                    self.put_off(&name, &error);
                    Outcome::Ok
                }
                Err(error) => {
                    warn!(event = "sessionStateFailed", name, error = explain(&error));
                    Outcome::Retry
                }
            };
            self.queue.done(&name, outcome);
        }
    }

    /// Puts an object off that the cluster refuses. All else works without it, so it is logged once.
    fn put_off(&self, name: &str, error: &apply::Error) {
        let until = Instant::now() + REFUSED;
        if self.state().refused.replace(until).is_none() {
            let error = explain(error);
            info!(
                event = "sessionStateRefused",
                error, "the state of BGP sessions is not written as objects"
            );
        }
        self.look_after(name, REFUSED);
    }

    async fn converge(&self, name: &str) -> Result<(), apply::Error> {
        let peer = {
            let mut state = self.state();
            if state.due.get(name).is_some_and(|due| *due <= Instant::now()) {
                state.due.remove(name);
            }
            state.peers.get(name).cloned()
        };
        let found = self.store.get(&ObjectRef::new(name).within(&self.owner.namespace));
        let wanted = peer.and_then(|peer| Some((self.source.picture(&peer)?, peer)));
        match wanted {
            Some((picture, peer)) => self.write(name, &peer, &picture, found.as_deref()).await,
            None => self.delete(name, found.as_deref()).await,
        }
    }

    async fn write(
        &self,
        name: &str,
        peer: &str,
        picture: &Picture,
        found: Option<&BGPSessionState>,
    ) -> Result<(), apply::Error> {
        let wanted = picture.status(&self.owner.node, peer);
        let (says, last) = {
            let state = self.state();
            let written = state.written.get(name);
            let fresh = written.filter(|written| written.at.elapsed() < WATCH_LAG);
            let unseen = fresh.and_then(|written| written.unseen.clone());
            let says = unseen.or_else(|| found?.status.clone());
            (says, written.map(|written| written.at))
        };
        let object = self.object(name, peer, picture);
        let now = Instant::now();
        let refused = self.state().refused.filter(|until| *until > now);
        let verdict = match refused {
            Some(until) => Verdict::Wait(until - now),
            None => judge(says.as_ref(), &wanted, last, now),
        };
        if let Verdict::Wait(left) = verdict {
            self.look_after(name, left);
        }
        // An object that was just created and is not in the watch yet has the right metadata.
        let known = found.map_or_else(|| says.is_some(), |found| same_metadata(found, &object));
        let write = verdict == Verdict::Write;
        if !known && (write || found.is_some()) {
            let params = apply::params(field_manager::SPEAKER);
            let patch = self.api.patch(name, &params, &Patch::Apply(&object)).await;
            patch.map_err(|source| failed("apply", name, source))?;
        }
        if write {
            apply::status(&self.api, name, &wanted, field_manager::SPEAKER).await?;
            debug!(event = "sessionStateWritten", name, peer);
            let written = Written {
                at: Instant::now(),
                unseen: Some(wanted),
            };
            let mut state = self.state();
            state.refused = None;
            state.written.insert(name.to_owned(), written);
        }
        Ok(())
    }

    /// Deletes an object if the Pod of this speaker owns it; the others are left to the garbage collector.
    async fn delete(&self, name: &str, found: Option<&BGPSessionState>) -> Result<(), apply::Error> {
        let opens = {
            let mut state = self.state();
            state.written.remove(name);
            state.opens
        };
        let ours = |object: &&BGPSessionState| {
            let mut owners = object.owner_references().iter();
            owners.any(|owner| owner.uid == self.owner.pod.uid)
        };
        let (Some(opens), Some(found)) = (opens, found.filter(ours)) else {
            return Ok(());
        };
        let left = opens.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            self.look_after(name, left);
            return Ok(());
        }
        let deleted = apply::delete(&self.api, name, found.uid()).await;
        if deleted.map_err(|source| failed("delete", name, source))? {
            debug!(event = "sessionStateDeleted", name);
        }
        Ok(())
    }

    fn object(&self, name: &str, peer: &str, picture: &Picture) -> BGPSessionState {
        let vrf = picture.vrf.clone().unwrap_or_default();
        let labels = [
            (names::LABEL_SESSION_NODE, label_value(&self.owner.node)),
            (names::LABEL_SESSION_PEER, address_label(&picture.address)),
            (names::LABEL_SESSION_VRF, vrf),
            (names::LABEL_PEER, label_value(peer)),
        ];
        let labels = labels.into_iter().filter(|(_, value)| is_label(value));
        BGPSessionState {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(self.owner.namespace.clone()),
                labels: Some(labels.map(|(name, value)| (name.to_owned(), value)).collect()),
                owner_references: Some(vec![self.owner.pod.clone()]),
                ..ObjectMeta::default()
            },
            ..BGPSessionState::default()
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(verb: &'static str, name: &str, source: kube::Error) -> apply::Error {
    apply::Error::Api {
        verb,
        kind: "BGPSessionState".to_owned(),
        name: name.to_owned(),
        source: Box::new(source),
    }
}

/// Whether the cluster lacks the kind, or this speaker the right to it.
fn refused(error: &apply::Error) -> bool {
    let apply::Error::Api { source, .. } = error else {
        return false;
    };
    matches!(&**source, kube::Error::Api(status) if matches!(status.code, 403 | 404))
}

fn same_metadata(found: &BGPSessionState, wanted: &BGPSessionState) -> bool {
    let labels = |name, value| found.labels().get(name) == Some(value);
    found.owner_references() == wanted.owner_references()
        && wanted.labels().iter().all(|(name, value)| labels(name, value))
}

/// The name: node and peer, to be read, and a digest of both, to be unique.
fn object_name(node: &str, peer: &str) -> String {
    let mut hash = Sha256::new();
    for part in [node, peer] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let hash: String = hash.finalize()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let mut name = format!("{node}-{peer}");
    name.truncate(name.floor_char_boundary(NAME_LIMIT - 1 - hash.len()));
    format!("{}-{hash}", name.trim_end_matches(['.', '-']))
}

/// An address as frr-k8s writes it in a label, which has no colons; nor may it begin or end with what replaces them.
fn address_label(address: &str) -> String {
    let label = address.replace([':', '%'], "-");
    let begin = if label.starts_with('-') { "0" } else { "" };
    let end = if label.ends_with('-') { "0" } else { "" };
    format!("{begin}{label}{end}")
}

fn is_label(value: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    value.len() <= 63
        && value.chars().all(|c| plain(c) || matches!(c, '-' | '_' | '.'))
        && !value.starts_with(['-', '_', '.'])
        && !value.ends_with(['-', '_', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_sessions_share_a_name_and_every_name_is_valid() {
        assert_eq!(object_name("node-a", "tor-1"), "node-a-tor-1-1a2f3d20");
        assert_ne!(object_name("a-b", "c"), object_name("a", "b-c"));
        let long = object_name(&"n".repeat(253), &"p".repeat(253));
        assert_eq!(long.len(), NAME_LIMIT);
        let cut = object_name(&format!("{}.x", "n".repeat(243)), "p");
        assert!(cut.len() < NAME_LIMIT && !cut.contains(".-"), "{cut}");
    }

    #[test]
    fn an_address_is_a_valid_label() {
        for (address, label) in [
            ("192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "2001-db8--1"),
            ("::1", "0--1"),
            ("2001:db8::", "2001-db8--0"),
            ("fe80::1%eth0", "fe80--1-eth0"),
        ] {
            assert_eq!(address_label(address), label);
            assert!(is_label(label));
        }
        assert!(is_label("") && !is_label("red!") && !is_label("-x") && !is_label(&"x".repeat(64)));
    }
}
