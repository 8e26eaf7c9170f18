//! Carries out the effects of the engine.

use k8s_openapi::api::core::v1::ObjectReference;
use metallb_api::names::event_reason;
use metallb_dataplane::bgp::Posture;
use metallb_dataplane::l2::{EthernetAddress, L2Handle};
use metallb_engine::{ConfigReport, Effect, EventKind, Protocol, ServiceKey};
use metallb_runtime::admin::Health;
use metallb_runtime::events::{EventType, Recorder};
use std::sync::Arc;
use tokio::sync::watch;
use tracing::info;

use crate::backend::{Bgp, Change};
use crate::inspect::Records;
use crate::metrics::Metrics;
use crate::sessions::{self, Uids};
use crate::status;

/// The name in `/readyz` for: the first decisions are made.
pub(crate) const FIRST_DECISIONS: &str = "first decisions";

/// Reason of the event on Services whose BGP advertisements contradict each other; not upstream's.
const CONFLICTING: &str = "conflictingAdvertisements";
/// Reason of the event on Services of which another host claims an address; not upstream's.
const ADDRESS_CONFLICT: &str = "addressConflict";
/// Reasons of events on the Node; not upstream's.
const DRAIN_STARTED: &str = "bgpDrainStarted";
const DRAINED: &str = "bgpDrained";
const DRAIN_ENDED: &str = "bgpDrainEnded";
/// The action that events on Services are about.
const ACTION: &str = "Announce";
/// The action that events on the configuration are about.
const READ: &str = "ReadConfiguration";

/// Everything that effects act on.
#[derive(Debug)]
pub(crate) struct Shell {
    /// Name of this node.
    pub(crate) node: String,
    /// ARP and NDP.
    pub(crate) l2: L2Handle,
    /// Since when addresses are answered.
    pub(crate) records: Records,
    /// BGP.
    pub(crate) bgp: Bgp,
    /// Events on Services.
    pub(crate) recorder: Recorder,
    /// ServiceL2Status objects.
    pub(crate) l2_statuses: status::Desired,
    /// ServiceBGPStatus objects.
    pub(crate) bgp_statuses: status::Desired,
    /// The ConfigurationState.
    pub(crate) reports: watch::Sender<Option<ConfigReport>>,
    /// The uids of BGPPeers, for events on them.
    pub(crate) peer_uids: watch::Sender<Uids>,
    /// Metrics.
    pub(crate) metrics: Arc<Metrics>,
    /// `/readyz`.
    pub(crate) health: Health,
}

impl Shell {
    /// Carries out `effects` in order. Never waits: whatever takes time runs in a task of its own.
    pub(crate) fn perform(&self, effects: Vec<Effect>) {
        for effect in effects {
            self.perform_one(effect);
        }
    }

    /// Changes the posture of routes, with an event on the Node.
    pub(crate) fn show(&self, posture: Option<Posture>) {
        let Some(posture) = posture else { return };
        let (reason, note) = match posture {
            Posture::Announce => (
                DRAIN_ENDED,
                "the node is not drained any more: BGP routes are announced as they are",
            ),
            Posture::Shun => (
                DRAIN_STARTED,
                "the node is drained: BGP routes ask for other paths (GRACEFUL_SHUTDOWN) until they are withdrawn",
            ),
            Posture::Withdraw => (DRAINED, "the node is drained: BGP routes are withdrawn"),
        };
        info!(event = reason, note);
        self.bgp.apply(Change::Show(posture));
        let node = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(self.node.clone()),
            // As the kubelet has it, so that `kubectl describe node` finds it.
            uid: Some(self.node.clone()),
            ..ObjectReference::default()
        };
        self.recorder.emit(&node, EventType::Normal, reason, ACTION, note);
    }

    fn perform_one(&self, effect: Effect) {
        match effect {
            Effect::Addresses(changes) => {
                self.records.changed(&changes);
                self.l2.change(changes);
            }
            Effect::HandOver(addresses) => {
                self.records.handed_over(&addresses);
                self.l2.release(addresses);
            }
            Effect::Yield(ip) => self.l2.yield_address(ip),
            Effect::Resume(ip) => self.l2.resume_address(ip),
            Effect::Defend(ip) => self.l2.defend(ip),
            Effect::Speakers(macs) => {
                let macs = macs.into_iter().map(|mac| EthernetAddress(mac.0));
                self.l2.set_peers(macs.collect());
            }
            Effect::Routes(changes) => self.bgp.apply(Change::Routes(changes)),
            Effect::Peers(peers) => self.bgp.apply(Change::Peers(peers)),
            Effect::Opened(protocol) => {
                self.statuses(protocol).open();
                match protocol {
                    Protocol::Bgp => self.bgp.apply(Change::Known),
                    Protocol::Layer2 => self.health.ready(FIRST_DECISIONS),
                }
            }
            // Measured in `failovers`.
            Effect::Moved { .. } => {}
            Effect::Announced(service, protocol, ips) => self.metrics.announced(service, protocol, ips),
            Effect::Status(service, protocol, content) => self.statuses(protocol).set(service, content),
            Effect::Event {
                service,
                uid,
                kind,
                note,
            } => {
                let (type_, reason) = reason(kind);
                self.recorder
                    .emit(&service_reference(&service, uid), type_, reason, ACTION, &note);
            }
            Effect::Doubtful { peer, uid, note } => {
                let peer = sessions::peer_reference(&peer.namespace, &peer.name, uid);
                self.recorder
                    .emit(&peer, EventType::Warning, event_reason::CONFIG_DOUBTFUL, READ, &note);
            }
            Effect::Configuration(report) => {
                if !report.errors.is_empty() {
                    self.metrics.failed();
                }
                self.reports.send_replace(Some(report));
            }
        }
    }

    fn statuses(&self, protocol: Protocol) -> &status::Desired {
        match protocol {
            Protocol::Layer2 => &self.l2_statuses,
            Protocol::Bgp => &self.bgp_statuses,
        }
    }
}

fn reason(kind: EventKind) -> (EventType, &'static str) {
    match kind {
        EventKind::NodeAssigned => (EventType::Normal, event_reason::NODE_ASSIGNED),
        EventKind::AnnounceFailed => (EventType::Warning, event_reason::ANNOUNCE_FAILED),
        EventKind::ConflictingAdvertisements => (EventType::Warning, CONFLICTING),
        EventKind::AddressConflict => (EventType::Warning, ADDRESS_CONFLICT),
    }
}

fn service_reference(service: &ServiceKey, uid: Option<String>) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Service".to_owned()),
        namespace: Some(service.namespace.clone()),
        name: Some(service.name.clone()),
        uid,
        ..ObjectReference::default()
    }
}
