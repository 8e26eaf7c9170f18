//! What BFD says of itself, under upstream's names.

use std::collections::BTreeMap;

use metallb_dataplane::bfd::{SessionState, State};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};

use super::families::{desc, family, label, metric};
use crate::bfd::Bfd;

type SessionNumber = fn(&SessionState) -> u64;

const SESSION_UP: &str = "session_up";

const FAMILIES: [(&str, &str, MetricType, SessionNumber); 8] = {
    use MetricType::{COUNTER, GAUGE};
    [
        (SESSION_UP, "BFD session state (1 is up, 0 is down)", GAUGE, |session| {
            matches!(session.status.state, State::Up) as u64
        }),
        (
            "control_packet_input",
            "Number of received BFD control packets",
            COUNTER,
            |session| session.counters.control_input(),
        ),
        (
            "control_packet_output",
            "Number of sent BFD control packets",
            COUNTER,
            |session| session.counters.control_output(),
        ),
        (
            "echo_packet_input",
            "Number of received BFD echo packets",
            COUNTER,
            |session| session.counters.echo_input(),
        ),
        (
            "echo_packet_output",
            "Number of sent BFD echo packets",
            COUNTER,
            |session| session.counters.echo_output(),
        ),
        (
            "session_up_events",
            "Number of BFD session up events",
            COUNTER,
            |session| session.counters.ups(),
        ),
        (
            "session_down_events",
            "Number of BFD session down events",
            COUNTER,
            |session| session.counters.downs(),
        ),
        // There is no zebra; dashboards made for upstream find what they look for.
        (
            "zebra_notifications",
            "Number of BFD zebra notifications",
            COUNTER,
            |_| 0,
        ),
    ]
};

/// Reads the counters of BFD.
pub(super) struct BfdSessions {
    bfd: Bfd,
    descs: Vec<Desc>,
    refused: Desc,
}

impl BfdSessions {
    pub(super) fn new(bfd: Bfd) -> prometheus::Result<Self> {
        let descs = FAMILIES
            .iter()
            .map(|(name, help, ..)| desc(&format!("metallb_bfd_{name}"), help, &["peer"]));
        Ok(Self {
            bfd,
            descs: descs.collect::<Result<_, _>>()?,
            refused: desc(
                "metallb_bfd_packets_refused_total",
                "Number of BFD packets that were discarded",
                &["reason"],
            )?,
        })
    }
}

impl Collector for BfdSessions {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().chain([&self.refused]).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Vec::new();
        let sessions = self.bfd.sessions();
        let sessions = sessions.borrow();
        if !sessions.is_empty() {
            families.extend(self.descs.iter().zip(&FAMILIES).map(|(desc, (name, _, kind, number))| {
                // Sessions that upstream's labels do not tell apart share a series; one that is down must be seen.
                let merge = if *name == SESSION_UP {
                    u64::min
                } else {
                    u64::saturating_add
                };
                let mut values: BTreeMap<_, u64> = BTreeMap::new();
                for (key, session) in sessions.iter() {
                    let value = number(session);
                    let series = values.entry((key.peer, key.device.as_deref()));
                    series
                        .and_modify(|known| *known = merge(*known, value))
                        .or_insert(value);
                }
                let series = values.into_iter();
                let metrics = series.map(|((peer, device), value)| {
                    let vrf = device.map(|device| label("vrf", device));
                    let labels = std::iter::once(label("peer", &peer.to_string())).chain(vrf);
                    metric(labels.collect(), *kind, value)
                });
                family(desc, *kind, metrics.collect())
            }));
        }
        let refused = self.bfd.refusals().into_iter();
        let refused: Vec<_> = refused
            .map(|(reason, count)| metric(vec![label("reason", reason.label())], MetricType::COUNTER, count))
            .collect();
        if !refused.is_empty() {
            families.push(family(&self.refused, MetricType::COUNTER, refused));
        }
        families
    }
}

#[cfg(test)]
mod tests {
    use metallb_dataplane::{bfd::Sessions, bgp};
    use metallb_engine::Peers;
    use metallb_runtime::CancellationToken;
    use serde_json::json;

    use super::*;
    use crate::bfd::tests::peers;

    // BGP-95
    #[tokio::test]
    async fn series_have_upstreams_names_and_come_and_go_with_the_session() {
        let (bgp, _work) = bgp::start(CancellationToken::new());
        let (bfd, work) = Bfd::start(bgp).unwrap();
        let work = tokio::spawn(work);
        let metrics = BfdSessions::new(bfd.clone()).unwrap();
        assert!(metrics.collect().is_empty());
        bfd.apply(peers(
            &[("tor", json!({ "peerAddress": "192.0.2.1" }))],
            &[("fast", json!({}))],
        ));
        let mut sessions = bfd.sessions();
        sessions.wait_for(|sessions| !sessions.is_empty()).await.unwrap();
        let families = metrics.collect();
        let names: Vec<_> = families.iter().map(|family| family.name().to_owned()).collect();
        let expected = FAMILIES.map(|(name, ..)| format!("metallb_bfd_{name}"));
        assert_eq!(names[..8], expected);
        let up = &families[0].get_metric()[0];
        assert_eq!(
            (up.get_gauge().get_value(), up.get_label()[0].value()),
            (0.0, "192.0.2.1")
        );
        bfd.apply(Peers::default());
        sessions.wait_for(Sessions::is_empty).await.unwrap();
        assert!(
            metrics
                .collect()
                .iter()
                .all(|family| family.name().ends_with("refused_total"))
        );
        bfd.shutdown();
        work.await.unwrap().unwrap();
    }
}
