//! Ends BGP sessions whose path fails, before their hold timer does (RFC 5882 §10.2).

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::watch;

use super::{BfdHandle, SessionKey, Sessions};
use crate::bgp::{BgpHandle, Command, StopReason};

/// The BFD session of each BGP peer that has one, by the name of the peer.
pub type Guarded = BTreeMap<String, SessionKey>;

/// Ends the BGP session of a peer (Cease 6/10) each time its BFD session fails; it may begin anew at once.
///
/// BGP never waits for BFD: not for a session that was never up, nor for a router that no longer speaks BFD. A peer that
/// reports AdminDown has not failed. Ends with the BFD thread.
pub async fn guard(bfd: BfdHandle, bgp: BgpHandle, guarded: watch::Receiver<Guarded>) {
    let mut sessions = bfd.sessions();
    let mut known = BTreeMap::new();
    loop {
        let failed = newly_failed(&mut known, &sessions.borrow_and_update());
        for (peer, key) in guarded.borrow().iter().filter(|(_, key)| failed.contains(*key)) {
            tracing::warn!(event = "bfdPeerDown", %peer, session = %key, "ending the BGP session: BFD is down");
            bgp.command(peer, Command::Reset(StopReason::BfdDown));
        }
        // Cancel-safe, and there is nothing else to wait for.
        if sessions.changed().await.is_err() {
            return;
        }
    }
}

/// The sessions that have failed since the last time; a failure counts although the session is up again by now.
fn newly_failed(known: &mut BTreeMap<SessionKey, u64>, sessions: &Sessions) -> BTreeSet<SessionKey> {
    known.retain(|key, _| sessions.contains_key(key));
    let mut failed = BTreeSet::new();
    for (key, session) in sessions {
        let before = known.insert(key.clone(), session.failures).unwrap_or_default();
        if session.failures > before {
            failed.insert(key.clone());
        }
    }
    failed
}
