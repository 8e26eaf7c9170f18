//! Metrics under upstream's names.

use std::collections::HashMap;

use prometheus::{
    core::{Collector, Desc},
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};
use tracing::warn;

use super::{
    ask::Vtysh,
    sessions::{Session, bfd, bgp},
};

/// Name, help, kind, and how to read it off a session.
type Family = (&'static str, &'static str, MetricType, fn(&Session) -> f64);

macro_rules! sent {
    ($($path:literal),*) => { |it| it.number(&[$($path),*]) };
}

const BGP: [Family; 11] = {
    use MetricType::{COUNTER, GAUGE};
    [
        ("session_up", "BGP session state (1 is up, 0 is down)", GAUGE, |it| {
            f64::from(u8::from(it.says("bgpState", "Established")))
        }),
        (
            "updates_total",
            "Number of BGP UPDATE messages sent",
            COUNTER,
            sent!("messageStats", "updatesSent"),
        ),
        (
            "announced_prefixes_total",
            "Number of prefixes currently being advertised on the BGP session",
            GAUGE,
            Session::announced,
        ),
        (
            "opens_sent",
            "Number of BGP open messages sent",
            COUNTER,
            sent!("messageStats", "opensSent"),
        ),
        (
            "opens_received",
            "Number of BGP open messages received",
            COUNTER,
            sent!("messageStats", "opensRecv"),
        ),
        (
            "notifications_sent",
            "Number of BGP notification messages sent",
            COUNTER,
            sent!("messageStats", "notificationsSent"),
        ),
        (
            "updates_total_received",
            "Number of BGP UPDATE messages received",
            COUNTER,
            sent!("messageStats", "updatesRecv"),
        ),
        (
            "keepalives_sent",
            "Number of BGP keepalive messages sent",
            COUNTER,
            sent!("messageStats", "keepalivesSent"),
        ),
        (
            "keepalives_received",
            "Number of BGP keepalive messages received",
            COUNTER,
            sent!("messageStats", "keepalivesRecv"),
        ),
        (
            "route_refresh_sent",
            "Number of BGP route refresh messages sent",
            COUNTER,
            sent!("messageStats", "routeRefreshSent"),
        ),
        (
            "total_sent",
            "Number of total BGP messages sent",
            COUNTER,
            sent!("messageStats", "totalSent"),
        ),
    ]
};

const BGP_LAST: Family = (
    "total_received",
    "Number of total BGP messages received",
    MetricType::COUNTER,
    sent!("messageStats", "totalRecv"),
);

const BFD_UP: Family = (
    "session_up",
    "BFD session state (1 is up, 0 is down)",
    MetricType::GAUGE,
    |it| f64::from(u8::from(it.says("status", "up"))),
);

const BFD_COUNTERS: [Family; 7] = {
    use MetricType::COUNTER;
    [
        (
            "control_packet_input",
            "Number of received BFD control packets",
            COUNTER,
            sent!("control-packet-input"),
        ),
        (
            "control_packet_output",
            "Number of sent BFD control packets",
            COUNTER,
            sent!("control-packet-output"),
        ),
        (
            "echo_packet_input",
            "Number of received BFD echo packets",
            COUNTER,
            sent!("echo-packet-input"),
        ),
        (
            "echo_packet_output",
            "Number of sent BFD echo packets",
            COUNTER,
            sent!("echo-packet-output"),
        ),
        (
            "session_up_events",
            "Number of BFD session up events",
            COUNTER,
            sent!("session-up"),
        ),
        (
            "session_down_events",
            "Number of BFD session down events",
            COUNTER,
            sent!("session-down"),
        ),
        (
            "zebra_notifications",
            "Number of BFD zebra notifications",
            COUNTER,
            sent!("zebra-notifications"),
        ),
    ]
};

/// Asks FRR whenever somebody asks us.
#[derive(Debug)]
pub(super) struct Families {
    vtysh: Vtysh,
    descs: Vec<Desc>,
}

impl Families {
    pub(super) fn new(vtysh: Vtysh) -> prometheus::Result<Self> {
        let desc = |(protocol, (name, help, ..)): (&str, &Family)| {
            let labels = vec!["peer".to_owned(), "vrf".to_owned()];
            Desc::new(full(protocol, name), (*help).to_owned(), labels, HashMap::new())
        };
        let all = groups()
            .into_iter()
            .flat_map(|(protocol, families, _)| families.into_iter().map(move |it| (protocol, it)));
        let all: Vec<(&str, Family)> = all.collect();
        let descs = all.iter().map(|(protocol, family)| desc((protocol, family)));
        Ok(Self {
            vtysh,
            descs: descs.collect::<Result<_, _>>()?,
        })
    }
}

fn full(protocol: &str, name: &str) -> String {
    format!("metallb_{protocol}_{name}")
}

/// Families, by the question whose answer they are read off.
fn groups() -> [(&'static str, Vec<Family>, &'static str); 3] {
    [
        (
            "bgp",
            BGP.into_iter().chain([BGP_LAST]).collect(),
            "show bgp vrf all neighbors json",
        ),
        ("bfd", vec![BFD_UP], "show bfd peers json"),
        ("bfd", BFD_COUNTERS.into(), "show bfd peers counters json"),
    ]
}

impl Collector for Families {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut all = Vec::new();
        for (protocol, families, question) in groups() {
            let sessions = match self.vtysh.json(question) {
                Ok(answer) if protocol == "bgp" => bgp(&answer),
                Ok(answer) => bfd(&answer),
                Err(error) => {
                    warn!(event = "scrape", question, error = format!("{error:#}"));
                    continue;
                }
            };
            if !sessions.is_empty() {
                all.extend(families.iter().map(|it| family(protocol, it, &sessions)));
            }
        }
        all
    }
}

fn family(protocol: &str, (name, help, kind, number): &Family, sessions: &[Session]) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(full(protocol, name));
    family.set_help((*help).to_owned());
    family.set_field_type(*kind);
    family.set_metric(
        sessions
            .iter()
            .map(|session| metric(session, *kind, number(session)))
            .collect(),
    );
    family
}

fn metric(session: &Session, kind: MetricType, value: f64) -> Metric {
    let label = |name: &str, value: &str| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    let mut metric = Metric::default();
    metric.set_label(vec![label("peer", &session.peer), label("vrf", &session.vrf)]);
    if kind == MetricType::GAUGE {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    } else {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    }
    metric
}
