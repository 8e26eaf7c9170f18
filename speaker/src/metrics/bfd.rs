//! Metrics of BFD, under upstream's names.

use std::collections::BTreeMap;

use metallb_dataplane::bfd::{SessionState, State};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};

use super::families::{desc, family, label, metric};
use crate::bfd::{Bfd, peer_name};

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
        // There is no zebra here; dashboards made for upstream expect the series.
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
                // Sessions with equal labels share a series, which shows the one that is down.
                let merge = if *name == SESSION_UP {
                    u64::min
                } else {
                    u64::saturating_add
                };
                let mut values: BTreeMap<_, u64> = BTreeMap::new();
                for (key, session) in sessions.iter() {
                    let value = number(session);
                    let series = values.entry((peer_name(key), key.device.as_deref()));
                    series
                        .and_modify(|known| *known = merge(*known, value))
                        .or_insert(value);
                }
                let series = values.into_iter();
                let metrics = series.map(|((peer, device), value)| {
                    let vrf = device.map(|device| label("vrf", device));
                    let labels = std::iter::once(label("peer", &peer)).chain(vrf);
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
    use std::time::Duration;

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

    #[tokio::test]
    async fn one_link_local_address_on_two_interfaces_makes_two_series() {
        let (bgp, _work) = bgp::start(CancellationToken::new());
        let (bfd, work) = Bfd::start(bgp).unwrap();
        let work = tokio::spawn(work);
        let peer = |interface| json!({ "peerAddress": format!("fe80::1%{interface}") });
        bfd.apply(peers(
            &[("left", peer("eth0")), ("right", peer("eth1"))],
            &[("fast", json!({}))],
        ));
        let mut sessions = bfd.sessions();
        sessions.wait_for(|sessions| sessions.len() == 2).await.unwrap();
        let families = BfdSessions::new(bfd.clone()).unwrap().collect();
        let up = families.iter().find(|family| family.name() == "metallb_bfd_session_up");
        let named = up
            .unwrap()
            .get_metric()
            .iter()
            .map(|m| m.get_label()[0].value().to_owned());
        assert_eq!(named.collect::<Vec<_>>(), ["fe80::1%eth0", "fe80::1%eth1"]);
        bfd.shutdown();
        work.await.unwrap().unwrap();
    }

    /// Numbers that only look like chance, so that a failure comes again.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % limit
        }
    }

    /// Names and labels of all series of sessions.
    fn series(bfd: &Bfd) -> Vec<String> {
        let mut families = BfdSessions::new(bfd.clone()).unwrap().collect();
        families.retain(|family| !family.name().ends_with("refused_total"));
        let of = |family: &MetricFamily| {
            let labels = |metric: &prometheus::proto::Metric| format!("{} {:?}", family.name(), metric.get_label());
            family.get_metric().iter().map(labels).collect::<Vec<_>>()
        };
        families.iter().flat_map(of).collect()
    }

    // BGP-113
    #[tokio::test]
    async fn in_whatever_order_peers_and_profiles_change_sessions_and_series_are_as_fresh() {
        let start = || {
            let (bgp, _work) = bgp::start(CancellationToken::new());
            let (bfd, work) = Bfd::start(bgp).unwrap();
            tokio::spawn(work);
            bfd
        };
        let bfd = start();
        let mut compared = 0;
        let mut dice = Dice(113);
        let mut specs: BTreeMap<&str, serde_json::Value> = BTreeMap::new();
        let mut profiles: BTreeMap<&str, serde_json::Value> = BTreeMap::new();
        for step in 0..300 {
            let name = ["a", "b", "c", "d"][dice.below(4)];
            let profile = ["fast", "slow"][dice.below(2)];
            match dice.below(7) {
                0 => drop(specs.remove(name)),
                1 => drop(profiles.remove(profile)),
                2 | 3 => {
                    let spec = json!({ "echoMode": dice.below(2) == 0, "receiveInterval": 10 + dice.below(1000) });
                    profiles.insert(profile, spec);
                }
                _ => {
                    // Some share an address, and one is at the same distance twice.
                    let address = format!("192.0.2.{}", 1 + dice.below(3));
                    let attached = ["", "fast", "slow", "missing"][dice.below(4)];
                    let spec = json!({
                        "peerAddress": address, "peerPort": 1790 + dice.below(50), "bfdProfile": attached,
                        "ebgpMultiHop": dice.below(2) == 0,
                    });
                    specs.insert(name, spec);
                }
            }
            let list = |map: &BTreeMap<&'static str, serde_json::Value>| -> Vec<_> {
                map.iter().map(|(name, spec)| (*name, spec.clone())).collect()
            };
            let all = peers(&list(&specs), &list(&profiles));
            bfd.apply(all.clone());
            if step % 10 != 0 {
                continue;
            }
            let fresh = start();
            fresh.apply(all);
            assert_eq!(bfd.asked(), fresh.asked());
            // Both threads have what was asked for before to work through.
            let settled = async {
                while series(&bfd) != series(&fresh) || fresh.sessions().borrow().len() != fresh.asked().len() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let settled = tokio::time::timeout(Duration::from_secs(30), settled).await;
            assert!(settled.is_ok(), "{:?} {:?}", series(&bfd), series(&fresh));
            compared += series(&fresh).len();
            fresh.shutdown();
        }
        assert!(compared > 0, "there was nothing to compare");
        bfd.apply(Peers::default());
        let mut sessions = bfd.sessions();
        sessions.wait_for(Sessions::is_empty).await.unwrap();
        assert_eq!(series(&bfd), [""; 0]);
        bfd.shutdown();
    }
}
