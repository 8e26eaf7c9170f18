//! Metric families that are made when somebody asks.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use metallb_dataplane::bgp::{Counters, MessageType, SessionState, Sessions};
use metallb_dataplane::l2::{AddressCounters, L2Handle};
use metallb_engine::{Protocol, ServiceKey};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use tokio::sync::watch;

pub(super) fn desc(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Desc> {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())
}

pub(super) fn label(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

pub(super) fn metric(labels: Vec<LabelPair>, kind: MetricType, value: u64) -> Metric {
    // Counters this large lose their last digits in any Prometheus.
    #[expect(
        clippy::cast_precision_loss,
        reason = "the exposition format has floating-point numbers only"
    )]
    let value = value as f64;
    let mut metric = Metric::from_label(labels);
    if kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    metric
}

pub(super) fn family(desc: &Desc, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(desc.fq_name.clone());
    family.set_help(desc.help.clone());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

const ANNOUNCED: (&str, &str) = (
    "metallb_speaker_announced",
    "Services being announced from this node. This is desired state, it does not guarantee that the routing protocols have converged.",
);

type AnnouncedAddresses = BTreeMap<(Arc<ServiceKey>, Protocol), Vec<IpAddr>>;

/// What is announced: a series for each Service, protocol and address, made when somebody asks.
#[derive(Clone, Debug)]
pub(super) struct Announced {
    desc: Desc,
    node: Arc<str>,
    addresses: Arc<Mutex<AnnouncedAddresses>>,
}

impl Announced {
    pub(super) fn new(node: &str) -> prometheus::Result<Self> {
        Ok(Self {
            desc: desc(ANNOUNCED.0, ANNOUNCED.1, &["service", "protocol", "node", "ip"])?,
            node: node.into(),
            addresses: Arc::default(),
        })
    }

    /// Replaces the addresses of one Service and protocol.
    pub(super) fn set(&self, service: Arc<ServiceKey>, protocol: Protocol, ips: Vec<IpAddr>) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        match ips.is_empty() {
            true => drop(addresses.remove(&(service, protocol))),
            false => drop(addresses.insert((service, protocol), ips)),
        }
    }
}

impl Collector for Announced {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let series = addresses.iter().flat_map(|((service, protocol), ips)| {
            let service = service.to_string();
            ips.iter().map(move |ip| {
                let labels = vec![
                    label("ip", &ip.to_string()),
                    label("node", &self.node),
                    label("protocol", protocol.as_str()),
                    label("service", &service),
                ];
                metric(labels, MetricType::GAUGE, 1)
            })
        });
        vec![family(&self.desc, MetricType::GAUGE, series.collect())]
    }
}

type AddressCounter = fn(&AddressCounters) -> u64;

/// What the ARP responder counts; upstream has no `_total` here.
const LAYER2: [(&str, &str, AddressCounter); 3] = [
    (
        "metallb_layer2_requests_received",
        "Number of layer2 requests received for owned IPs",
        |c| c.requests_received,
    ),
    (
        "metallb_layer2_responses_sent",
        "Number of layer2 responses sent for owned IPs",
        |c| c.responses_sent,
    ),
    (
        "metallb_layer2_gratuitous_sent",
        "Number of gratuitous layer2 packets sent for owned IPs as a result of failovers",
        |c| c.gratuitous_sent,
    ),
];
const DROPPED: (&str, &str) = (
    "metallb_layer2_dropped_total",
    "Number of layer2 frames that were not answered",
);
const CONFLICTS: (&str, &str) = (
    "metallb_layer2_conflicts_total",
    "Number of claims of owned IPs by other hosts: speakers (peer) and others (foreign)",
);
/// Who claims.
const CLAIMANTS: [(&str, AddressCounter); 2] = [("foreign", |c| c.conflicts), ("peer", |c| c.peer_conflicts)];

/// Reads the layer-2 counters.
pub(super) struct Layer2 {
    handle: L2Handle,
    addresses: Vec<Desc>,
    dropped: Desc,
    conflicts: Desc,
}

impl Layer2 {
    pub(super) fn new(handle: L2Handle) -> prometheus::Result<Self> {
        Ok(Self {
            handle,
            addresses: LAYER2
                .iter()
                .map(|(name, help, _)| desc(name, help, &["ip"]))
                .collect::<Result<_, _>>()?,
            dropped: desc(DROPPED.0, DROPPED.1, &["reason", "interface"])?,
            conflicts: desc(CONFLICTS.0, CONFLICTS.1, &["ip", "kind"])?,
        })
    }
}

impl Collector for Layer2 {
    fn desc(&self) -> Vec<&Desc> {
        self.addresses.iter().chain([&self.dropped, &self.conflicts]).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let counters = self.handle.counters();
        let present = |count: AddressCounter| {
            let values = counters.iter().map(move |(ip, c)| (ip, count(c)));
            values.filter(|(_, value)| *value > 0)
        };
        let by_ip = |desc: &Desc, count: &AddressCounter| {
            let metrics =
                present(*count).map(|(ip, n)| metric(vec![label("ip", &ip.to_string())], MetricType::COUNTER, n));
            family(desc, MetricType::COUNTER, metrics.collect())
        };
        let conflicts = CLAIMANTS.iter().flat_map(|(kind, count)| {
            present(*count).map(|(ip, n)| {
                let labels = vec![label("ip", &ip.to_string()), label("kind", kind)];
                metric(labels, MetricType::COUNTER, n)
            })
        });
        let counted = LAYER2.iter().map(|(_, _, count)| count);
        let mut families: Vec<_> = self
            .addresses
            .iter()
            .zip(counted)
            .map(|(desc, count)| by_ip(desc, count))
            .collect();
        families.push(family(&self.conflicts, MetricType::COUNTER, conflicts.collect()));
        let dropped = self.handle.drops().into_iter().map(|((reason, interface), count)| {
            metric(
                vec![label("interface", &interface), label("reason", reason)],
                MetricType::COUNTER,
                count,
            )
        });
        families.push(family(&self.dropped, MetricType::COUNTER, dropped.collect()));
        families.retain(|family| !family.get_metric().is_empty());
        families
    }
}

type SessionNumber = fn(&SessionState) -> u64;

const SESSION_UP: &str = "session_up";

fn sent(counters: &Counters, kind: MessageType) -> u64 {
    counters.sent(kind)
}

const BGP: [(&str, &str, MetricType, SessionNumber); 15] = {
    use MetricType::{COUNTER, GAUGE};
    [
        (SESSION_UP, "BGP session state (1 is up, 0 is down)", GAUGE, |s| {
            s.up as u64
        }),
        ("updates_total", "Number of BGP UPDATE messages sent", COUNTER, |s| {
            sent(&s.counters, MessageType::Update)
        }),
        (
            "announced_prefixes_total",
            "Number of prefixes currently being advertised on the BGP session",
            GAUGE,
            |s| s.counters.advertised(),
        ),
        (
            "pending_prefixes_total",
            "Number of prefixes that should be advertised on the BGP session",
            GAUGE,
            |s| s.counters.desired(),
        ),
        (
            "unsendable_prefixes",
            "Number of prefixes that should be advertised on the BGP session and cannot be: the peer does not offer their address family, there is no next hop, or their attributes fit no message",
            GAUGE,
            |s| s.counters.unsendable(),
        ),
        (
            "session_failures_total",
            "Number of times the task of the BGP session failed and was started anew",
            COUNTER,
            |s| s.counters.failures(),
        ),
        ("opens_sent", "Number of BGP open messages sent", COUNTER, |s| {
            sent(&s.counters, MessageType::Open)
        }),
        ("opens_received", "Number of BGP open messages received", COUNTER, |s| {
            s.counters.received(MessageType::Open)
        }),
        (
            "notifications_sent",
            "Number of BGP notification messages sent",
            COUNTER,
            |s| sent(&s.counters, MessageType::Notification),
        ),
        (
            "updates_total_received",
            "Number of BGP UPDATE messages received",
            COUNTER,
            |s| s.counters.received(MessageType::Update),
        ),
        (
            "keepalives_sent",
            "Number of BGP keepalive messages sent",
            COUNTER,
            |s| sent(&s.counters, MessageType::Keepalive),
        ),
        (
            "keepalives_received",
            "Number of BGP keepalive messages received",
            COUNTER,
            |s| s.counters.received(MessageType::Keepalive),
        ),
        (
            "route_refresh_sent",
            "Number of BGP route refresh messages sent",
            COUNTER,
            |s| sent(&s.counters, MessageType::RouteRefresh),
        ),
        ("total_sent", "Number of total BGP messages sent", COUNTER, |s| {
            s.counters.total_sent()
        }),
        (
            "total_received",
            "Number of total BGP messages received",
            COUNTER,
            |s| s.counters.total_received(),
        ),
    ]
};

/// Reads the BGP counters.
pub(super) struct Bgp {
    sessions: watch::Receiver<Sessions>,
    descs: Vec<Desc>,
}

impl Bgp {
    pub(super) fn new(sessions: watch::Receiver<Sessions>) -> prometheus::Result<Self> {
        let descs = BGP
            .iter()
            .map(|(name, help, ..)| desc(&format!("metallb_bgp_{name}"), help, &["peer"]));
        Ok(Self {
            sessions,
            descs: descs.collect::<Result<_, _>>()?,
        })
    }
}

impl Collector for Bgp {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let sessions = self.sessions.borrow();
        if sessions.is_empty() {
            return Vec::new();
        }
        let one = |(desc, (name, _, kind, number)): (&Desc, &(&str, &str, MetricType, SessionNumber))| {
            // One of several sessions that is down must be seen.
            let merge = if *name == SESSION_UP {
                u64::min
            } else {
                u64::saturating_add
            };
            let mut values = BTreeMap::new();
            for session in sessions.values() {
                let value = number(session);
                values
                    .entry((session.label(), session.device.as_deref()))
                    .and_modify(|known| *known = merge(*known, value))
                    .or_insert(value);
            }
            let metrics = values
                .into_iter()
                .map(|((peer, device), value)| metric(labels(&peer, device), *kind, value));
            family(desc, *kind, metrics.collect())
        };
        self.descs.iter().zip(&BGP).map(one).collect()
    }
}

/// Upstream's labels, which tell sessions with one address apart by nothing: these share a series. Another label would
/// make it another series, so `vrf` is there only when there is one.
fn labels(peer: &str, device: Option<&str>) -> Vec<LabelPair> {
    let vrf = device.map(|device| label("vrf", device));
    std::iter::once(label("peer", peer)).chain(vrf).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(device: Option<&str>) -> SessionState {
        SessionState {
            peer: "192.0.2.250:179".parse().unwrap(),
            zone: None,
            found: None,
            device: device.map(ToOwned::to_owned),
            up: true,
            ..crate::sessions::tests::untried()
        }
    }

    // BGP-95, BGP-96
    #[test]
    fn bgp_series_have_upstreams_names_and_go_with_the_session() {
        let sessions = [("a".to_owned(), session(None)), ("b".to_owned(), session(Some("red")))].into();
        let (sender, receiver) = watch::channel::<Sessions>(sessions);
        let bgp = Bgp::new(receiver).unwrap();
        let families = bgp.collect();
        let up = families.iter().find(|f| f.name() == "metallb_bgp_session_up").unwrap();
        assert_eq!(up.get_field_type(), MetricType::GAUGE);
        assert_eq!(up.get_metric()[0].get_gauge().get_value(), 1.0);
        let names: Vec<Vec<&str>> = up
            .get_metric()
            .iter()
            .map(|m| m.get_label().iter().map(LabelPair::name).collect())
            .collect();
        assert_eq!(names, [vec!["peer"], vec!["peer", "vrf"]]);
        let updates = families
            .iter()
            .find(|f| f.name() == "metallb_bgp_updates_total")
            .unwrap();
        assert_eq!(updates.get_field_type(), MetricType::COUNTER);
        sender.send_modify(Sessions::clear);
        assert!(bgp.collect().is_empty());
    }

    // A scrape with one series twice is refused as a whole.
    #[test]
    fn sessions_with_one_address_share_a_series_that_is_up_if_all_are() {
        let down = SessionState {
            up: false,
            ..session(None)
        };
        let sessions = [("a".to_owned(), session(None)), ("b".to_owned(), down)].into();
        let (_sender, receiver) = watch::channel::<Sessions>(sessions);
        let families = Bgp::new(receiver).unwrap().collect();
        for family in &families {
            assert_eq!(family.get_metric().len(), 1, "{}", family.name());
        }
        let up = families.iter().find(|f| f.name() == "metallb_bgp_session_up").unwrap();
        assert_eq!(up.get_metric()[0].get_gauge().get_value(), 0.0);
    }
}
