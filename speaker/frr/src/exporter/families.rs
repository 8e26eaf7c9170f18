//! Metrics under upstream's names.

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use serde_json::Value;
use tracing::warn;

use super::{
    ask::Vtysh,
    sessions::{Session, bfd, bgp},
};

/// A metric that each session has.
struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    value: Source,
}

/// Where the value is in FRR's description of a session.
#[derive(Clone, Copy)]
enum Source {
    /// 1 if this field has this text.
    Is(&'static str, &'static str),
    /// The number at this path.
    At(&'static [&'static str]),
    /// The sum over all address families.
    Announced,
}

impl Source {
    fn of(self, session: &Session) -> f64 {
        match self {
            Self::Is(field, text) => f64::from(u8::from(session.says(field, text))),
            Self::At(path) => session.number(path),
            Self::Announced => session.announced(),
        }
    }
}

const fn gauge(name: &'static str, help: &'static str, value: Source) -> Family {
    let kind = MetricType::GAUGE;
    Family {
        name,
        help,
        kind,
        value,
    }
}

const fn counter(name: &'static str, help: &'static str, path: &'static [&'static str]) -> Family {
    Family {
        name,
        help,
        kind: MetricType::COUNTER,
        value: Source::At(path),
    }
}

/// A command, how its answer is parsed, and the metrics read from it.
struct Question {
    command: &'static str,
    sessions: fn(&Value) -> Vec<Session>,
    families: &'static [Family],
}

#[rustfmt::skip]
const QUESTIONS: [Question; 3] = [
    Question { command: "show bgp vrf all neighbors json", sessions: bgp, families: &[
        gauge("metallb_bgp_session_up", "BGP session state (1 is up, 0 is down)", Source::Is("bgpState", "Established")),
        counter("metallb_bgp_updates_total", "Number of BGP UPDATE messages sent", &["messageStats", "updatesSent"]),
        gauge("metallb_bgp_announced_prefixes_total", "Number of prefixes currently being advertised on the BGP session", Source::Announced),
        counter("metallb_bgp_opens_sent", "Number of BGP open messages sent", &["messageStats", "opensSent"]),
        counter("metallb_bgp_opens_received", "Number of BGP open messages received", &["messageStats", "opensRecv"]),
        counter("metallb_bgp_notifications_sent", "Number of BGP notification messages sent", &["messageStats", "notificationsSent"]),
        counter("metallb_bgp_updates_total_received", "Number of BGP UPDATE messages received", &["messageStats", "updatesRecv"]),
        counter("metallb_bgp_keepalives_sent", "Number of BGP keepalive messages sent", &["messageStats", "keepalivesSent"]),
        counter("metallb_bgp_keepalives_received", "Number of BGP keepalive messages received", &["messageStats", "keepalivesRecv"]),
        counter("metallb_bgp_route_refresh_sent", "Number of BGP route refresh messages sent", &["messageStats", "routeRefreshSent"]),
        counter("metallb_bgp_total_sent", "Number of total BGP messages sent", &["messageStats", "totalSent"]),
        counter("metallb_bgp_total_received", "Number of total BGP messages received", &["messageStats", "totalRecv"]),
    ] },
    Question { command: "show bfd peers json", sessions: bfd, families: &[
        gauge("metallb_bfd_session_up", "BFD session state (1 is up, 0 is down)", Source::Is("status", "up")),
    ] },
    Question { command: "show bfd peers counters json", sessions: bfd, families: &[
        counter("metallb_bfd_control_packet_input", "Number of received BFD control packets", &["control-packet-input"]),
        counter("metallb_bfd_control_packet_output", "Number of sent BFD control packets", &["control-packet-output"]),
        counter("metallb_bfd_echo_packet_input", "Number of received BFD echo packets", &["echo-packet-input"]),
        counter("metallb_bfd_echo_packet_output", "Number of sent BFD echo packets", &["echo-packet-output"]),
        counter("metallb_bfd_session_up_events", "Number of BFD session up events", &["session-up"]),
        counter("metallb_bfd_session_down_events", "Number of BFD session down events", &["session-down"]),
        counter("metallb_bfd_zebra_notifications", "Number of BFD zebra notifications", &["zebra-notifications"]),
    ] },
];

/// Reads all metrics from FRR. As upstream, a command that fails only leaves out its own metrics.
pub(super) async fn scrape(vtysh: Vtysh) -> Vec<MetricFamily> {
    let [neighbours, peers, counters] = &QUESTIONS;
    let (neighbours, peers, counters) = tokio::join!(neighbours.ask(&vtysh), peers.ask(&vtysh), counters.ask(&vtysh));
    [neighbours, peers, counters].concat()
}

impl Question {
    async fn ask(&self, vtysh: &Vtysh) -> Vec<MetricFamily> {
        let sessions = match vtysh.json(self.command).await {
            Ok(answer) => (self.sessions)(&answer),
            Err(error) => {
                warn!(event = "scrape", error = format!("{error:#}"));
                return Vec::new();
            }
        };
        // The encoder refuses a family without metrics.
        let families = self.families.iter().filter(|_| !sessions.is_empty());
        families.map(|family| family.of(&sessions)).collect()
    }
}

impl Family {
    fn of(&self, sessions: &[Session]) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(self.kind);
        let metrics = sessions.iter().map(|session| self.metric(session));
        family.set_metric(metrics.collect());
        family
    }

    fn metric(&self, session: &Session) -> Metric {
        let label = |name: &str, value: &str| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        };
        let mut metric = Metric::default();
        metric.set_label(vec![label("peer", &session.peer), label("vrf", &session.vrf)]);
        let value = self.value.of(session);
        if self.kind == MetricType::GAUGE {
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
}
