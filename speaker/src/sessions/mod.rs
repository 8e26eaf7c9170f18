//! BGP sessions as objects of the API: a BGPSessionState each, and events on their BGPPeers.
//!
//! ```text
//!  sessions(), BFD ──watch──► follow ──changed──► Objects ──► BGPSessionState
//!                               └──picture──► Teller ──► events on the BGPPeer
//! ```

mod events;
mod judge;
mod objects;
mod picture;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Api, Client, Resource, ResourceExt};
use metallb_api::{BGPPeer, BGPSessionState};
use metallb_config::Resources;
use metallb_runtime::events::{EventType, Recorder};
use metallb_runtime::tasks::Spawner;
use metallb_runtime::watch::{Config, watch_optional};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::status::Owner;
use events::{News, Teller};
use objects::Objects;
pub(crate) use picture::{Source, name as family_name, rfc3339, state as bfd_state};

/// How often prefix counts are compared, and events repeated whose reason lasts.
const REVIEW: Duration = Duration::from_secs(60);
/// The action that events on BGPPeers are about.
const ACTION: &str = "Peer";

/// The uids of all BGPPeers, by name; `None` before the first configuration.
pub(crate) type Uids = Option<Arc<BTreeMap<String, String>>>;

/// Reads the uids out of a configuration.
pub(crate) fn uids(resources: &Resources) -> Uids {
    let peers = resources.peers.iter();
    let uids = peers.filter_map(|peer| Some((peer.name_any(), peer.uid()?)));
    Some(Arc::new(uids.collect()))
}

/// Keeps objects and events in line with the sessions until the stop signal.
pub(crate) async fn follow(
    client: Client,
    owner: Owner,
    mut source: Source,
    mut uids: watch::Receiver<Uids>,
    recorder: Recorder,
    tasks: Spawner,
) {
    let api: Api<BGPSessionState> = Api::namespaced(client.clone(), &owner.namespace);
    let own = Config::default().labels(&Objects::selector(&owner.node));
    let mut watched = watch_optional(api, own, &tasks);
    let mut teller = Teller::new(&owner.node);
    let namespace = owner.namespace.clone();
    let objects = Objects::new(client, owner, source.clone(), watched.store.clone());
    let mut review = tokio::time::interval(REVIEW);
    review.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = BTreeMap::new();
    let look = async {
        loop {
            // Every arm is cancel-safe, and what was missed is seen in the next round.
            tokio::select! {
                Ok(()) = source.sessions.changed() => {}
                Ok(()) = source.paths.changed() => {}
                Ok(()) = source.guarded.changed() => {}
                Ok(()) = uids.changed() => objects.open(),
                Some(change) = watched.changes.recv() => {
                    objects.seen(&change);
                    continue;
                }
                _ = review.tick() => objects.review(),
            }
            // Marks as seen before reading, so that a later change wakes this task again.
            let _ = (source.sessions.borrow_and_update(), source.paths.borrow_and_update());
            let pictures = source.pictures();
            for news in teller.observe(Instant::now(), &pictures) {
                tell(&recorder, &namespace, &uids.borrow(), &news);
            }
            objects.want(pictures.keys());
            for (peer, picture) in &pictures {
                let status = picture.status("", peer);
                if before.insert(peer.clone(), status.clone()) != Some(status) {
                    objects.changed(peer);
                }
            }
            before.retain(|peer, _| pictures.contains_key(peer));
        }
    };
    tokio::select! {
        () = tasks.stop().cancelled() => {}
        () = objects.work() => {}
        () = look => {}
    }
}

/// Names a BGPPeer for an event.
pub(crate) fn peer_reference(namespace: &str, name: &str, uid: Option<String>) -> ObjectReference {
    ObjectReference {
        api_version: Some(BGPPeer::api_version(&()).into_owned()),
        kind: Some(BGPPeer::kind(&()).into_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        uid,
        ..ObjectReference::default()
    }
}

fn tell(recorder: &Recorder, namespace: &str, uids: &Uids, news: &News) {
    let uid = uids.as_ref().and_then(|uids| uids.get(&news.peer).cloned());
    let peer = peer_reference(namespace, &news.peer, uid);
    let type_ = if news.warning {
        EventType::Warning
    } else {
        EventType::Normal
    };
    recorder.emit(&peer, type_, news.reason, ACTION, &news.note);
}
