//! Reports about a session: log lines, and its entry in the table of sessions.

use std::{net::Ipv6Addr, sync::Arc, time::SystemTime};

use ipnet::IpNet;
use metallb_bgp::{DownReason, Negotiated, Reach, wire::Family};
use tokio::sync::watch;

use super::{Counters, SessionState, Sessions, Trouble};

/// Reports how the session is doing.
pub(super) struct Report {
    name: String,
    sessions: watch::Sender<Sessions>,
    pub(super) counters: Arc<Counters>,
    last: Option<String>,
}

impl Report {
    pub(super) fn new(name: String, sessions: watch::Sender<Sessions>, counters: Arc<Counters>) -> Self {
        Self {
            name,
            sessions,
            counters,
            last: None,
        }
    }

    pub(super) fn up(&mut self, negotiated: &Negotiated) {
        let egress = &negotiated.egress;
        tracing::info!(
            event = "sessionUp",
            peer = %self.name,
            local = %negotiated.local,
            local_asn = egress.asn,
            peer_asn = negotiated.remote_asn,
            router_id = %negotiated.remote_router_id,
            hold_seconds = negotiated.hold_time.unwrap_or_default().as_secs(),
            "BGP session established"
        );
        let lacking = egress.next_hops.lacking();
        for family in &lacking {
            let reason = match egress.next_hops.of(*family) {
                Reach::NotOffered => "the peer does not offer this address family",
                _ => "there is no local address to name as next hop",
            };
            tracing::warn!(event = "familyNotCarried", peer = %self.name, %family, reason, "its routes are not sent");
        }
        self.last = None;
        self.set(true, None, egress.next_hops.carried(), lacking);
    }

    /// Warns that the peer will not keep the routes over a restart, although it should.
    pub(super) fn forgotten(&self) {
        tracing::warn!(
            event = "gracefulRestartNotAgreed",
            peer = %self.name,
            "the peer does not keep routes over a restart: it does not offer graceful restart"
        );
    }

    /// Warns about a new reason only: a router that is off for a night must not fill the log.
    pub(super) fn down(&mut self, reason: &DownReason) {
        let event = match reason {
            DownReason::Received(_) => "peerNotification",
            _ => "sessionDown",
        };
        let text = reason.to_string();
        if matches!(reason, DownReason::Stopped(_)) {
            tracing::info!(event, peer = %self.name, reason = %text, "BGP session down");
        } else if self.last.as_ref() == Some(&text) {
            tracing::debug!(event, peer = %self.name, reason = %text, "BGP session down");
        } else {
            tracing::warn!(event, peer = %self.name, reason = %text, "BGP session down");
        }
        self.last = Some(text.clone());
        self.note(reason);
        self.set(false, Some(text), vec![], vec![]);
    }

    /// Notes where the router of an unnumbered peer is.
    pub(super) fn found(&self, router: Option<Ipv6Addr>) {
        self.change(|state| std::mem::replace(&mut state.found, router) != router);
    }

    pub(super) fn oversized(&self, prefixes: &[IpNet]) {
        let shown: Vec<_> = prefixes.iter().take(5).map(ToString::to_string).collect();
        tracing::warn!(
            peer = %self.name, count = prefixes.len(), prefixes = %shown.join(","),
            "routes cannot be sent: too many communities for one message"
        );
    }

    /// Remembers what went wrong; watchers are not notified of that.
    fn note(&self, reason: &DownReason) {
        self.change(|state| {
            if let Some(trouble) = Trouble::of(reason, state.up, SystemTime::now()) {
                state.trouble = Some(trouble.after(state.trouble.as_ref()));
            }
            false
        });
    }

    fn set(&self, up: bool, reason: Option<String>, carries: Vec<Family>, lacking: Vec<Family>) {
        self.change(|state| {
            let changed = state.up != up || state.reason != reason;
            if state.up != up {
                state.since = SystemTime::now();
            }
            (state.up, state.reason) = (up, reason);
            (state.carries, state.lacking) = (carries, lacking);
            changed
        });
    }

    /// Changes the entry of this very task: a successor of the same name has other counters. Watchers are notified if
    /// `change` says so.
    fn change(&self, change: impl FnOnce(&mut SessionState) -> bool) {
        self.sessions.send_if_modified(|sessions| {
            let entry = sessions.get_mut(&self.name);
            let own = entry.filter(|state| Arc::ptr_eq(&state.counters, &self.counters));
            own.is_some_and(change)
        });
    }
}
