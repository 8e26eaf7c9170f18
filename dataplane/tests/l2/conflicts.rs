//! Two hosts that announce one address.

use std::{net::IpAddr, sync::mpsc, thread, time::Duration};

use metallb_dataplane::l2::{Interfaces, L2Handle, Report};
use metallb_l2::{EthernetAddress, Form, gratuitous};
use metallb_test_runner::in_namespace;
use tokio::{sync::broadcast, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    Node, VIP, ipv6, next,
    segment::{CLIENT_MAC, NODE_MAC, Segment, eventually},
};

const FOREIGN_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 0x77]);

/// Another node, in the client's namespace.
struct Other {
    l2: L2Handle,
    stop: CancellationToken,
}

impl Other {
    fn start(segment: &Segment) -> Self {
        segment.on_client(|| {
            let (ready, started) = mpsc::channel();
            // It belongs to the namespace of the thread that starts it.
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let node = Node::start();
                    let (l2, stop) = (node.l2, node.stop);
                    ready.send(Self { l2, stop }).unwrap();
                    node.running.await.unwrap().unwrap();
                });
            });
            started.recv().unwrap()
        })
    }

    fn announce(&self, ip: &str) {
        self.l2.change(vec![(ip.parse().unwrap(), Some(Interfaces::All))]);
    }

    fn responses(&self, ip: &str) -> u64 {
        let ip: IpAddr = ip.parse().unwrap();
        self.l2
            .counters()
            .get(&ip)
            .map_or(0, |counters| counters.responses_sent)
    }
}

fn silent(node: &Node) -> u64 {
    node.l2
        .drops()
        .get(&("silent", "node0".to_owned()))
        .copied()
        .unwrap_or_default()
}

/// A request by a host that is neither of the two.
fn question() -> Vec<u8> {
    let mut request = gratuitous(Form::Request, FOREIGN_MAC, VIP.parse().unwrap());
    request[28..32].copy_from_slice(&[192, 0, 2, 77]);
    request
}

// L2-78
pub(crate) fn a_foreign_claim_is_reported_counted_and_defended_against_once() {
    in_namespace(async {
        let segment = Segment::new();
        let node = Node::start();
        let mut conflicts = node.l2.conflicts();
        node.announce(&[VIP]);
        node.burst_is_over(VIP, 1).await;
        // The client knows what the foreign host says.
        let claim = gratuitous(Form::Request, FOREIGN_MAC, VIP.parse().unwrap());
        let first = loop {
            // Linux promises nobody a frame.
            segment.inject(vec![claim.clone()]);
            if let Ok(told) = timeout(Duration::from_millis(100), conflicts.recv()).await {
                break told.unwrap();
            }
        };
        assert_eq!((first.interface.as_str(), first.mac), ("node0", FOREIGN_MAC));
        assert_eq!(first.report, Report::First);
        segment.client(&format!(
            "ip neigh replace {VIP} lladdr 02:00:00:00:00:77 dev client0 nud reachable"
        ));
        assert_eq!(next(&mut conflicts).await.report, Report::Confirmed);
        segment.client_has(VIP, NODE_MAC).await;
        eventually("the claims", || node.counters(VIP).conflicts >= 1).await;
        segment.inject(vec![claim; 100]);
        eventually("all claims", || node.counters(VIP).conflicts >= 50).await;
        assert_eq!(node.counters(VIP).gratuitous_sent, 11, "one frame more than the burst");
        assert_eq!(node.counters(VIP).peer_conflicts, 0);
        segment.client("ip neigh flush all");
        segment.client_resolves(VIP, NODE_MAC).await;
    });
}

// L2-78: neither knows the other for a speaker.
pub(crate) fn two_hosts_that_fight_do_not_flood_the_segment() {
    in_namespace(async {
        let segment = Segment::new();
        let (node, other) = (Node::start(), Other::start(&segment));
        let mut ended = node.l2.claims_ended();
        node.announce(&[VIP]);
        other.announce(VIP);
        next(&mut ended).await;
        let said = node.counters(VIP).gratuitous_sent;
        assert!(said <= 12, "the burst, and a defence or two: {said}");
        assert!(node.counters(VIP).conflicts >= 2);
        other.stop.cancel();
    });
}

// L2-77
pub(crate) fn of_two_nodes_that_announce_one_address_the_one_told_to_yields_at_once() {
    in_namespace(async {
        let segment = Segment::new();
        let node = Node::start();
        node.l2.set_peers([EthernetAddress(CLIENT_MAC)].into());
        node.announce(&[VIP]);
        node.burst_is_over(VIP, 1).await;
        let mut conflicts = node.l2.conflicts();
        let other = Other::start(&segment);
        other.l2.set_peers([NODE_MAC.parse::<Mac>().unwrap().0].into());
        other.announce(VIP);
        let heard = next(&mut conflicts).await;
        assert_eq!((heard.mac, heard.report), (EthernetAddress(CLIENT_MAC), Report::First));
        node.l2.yield_address(VIP.parse().unwrap());
        let before = node.counters(VIP);
        eventually("a question that is not answered", || {
            segment.inject(vec![question()]);
            silent(&node) >= 1
        })
        .await;
        assert_eq!(node.counters(VIP).responses_sent, before.responses_sent);
        // As long as the other announces, and beyond.
        eventually("the claims of the whole burst", || {
            node.counters(VIP).peer_conflicts >= 10
        })
        .await;
        let after = node.counters(VIP);
        assert_eq!((after.gratuitous_sent, after.conflicts), (before.gratuitous_sent, 0));
        while let Ok(told) = conflicts.try_recv() {
            assert_eq!(told.report, Report::Repeated);
        }
        other.stop.cancel();
    });
}

// L2-77
pub(crate) fn a_node_that_still_answers_has_not_gone() {
    in_namespace(async {
        let segment = Segment::new();
        let (node, other) = (Node::start(), Other::start(&segment));
        node.announce(&[VIP]);
        other.announce(VIP);
        let heard = next(&mut node.l2.conflicts()).await;
        node.l2.yield_address(heard.ip);
        let mut ended = node.l2.claims_ended();
        // Four seconds of its burst, and two of silence before each question.
        eventually("an answer to a question", || other.responses(VIP) >= 1).await;
        eventually("another", || other.responses(VIP) >= 2).await;
        assert!(matches!(ended.try_recv(), Err(broadcast::error::TryRecvError::Empty)));
        other.stop.cancel();
        assert_eq!(next(&mut ended).await, heard.ip);
    });
}

// L2-77
pub(crate) fn an_address_is_resumed_when_the_other_node_has_gone() {
    in_namespace(async {
        let segment = Segment::new();
        let node = Node::start();
        let mut conflicts = node.l2.conflicts();
        node.announce(&[VIP]);
        node.burst_is_over(VIP, 1).await;
        let other = Other::start(&segment);
        other.announce(VIP);
        let ip = next(&mut conflicts).await.ip;
        node.l2.yield_address(ip);
        let mut ended = node.l2.claims_ended();
        other.stop.cancel();
        assert_eq!(next(&mut ended).await, ip);
        node.l2.resume_address(ip);
        segment.client("ip neigh flush all");
        segment.client_resolves(VIP, NODE_MAC).await;
        node.burst_is_over(VIP, 2).await;
    });
}

// L2-77
pub(crate) fn two_nodes_settle_an_ipv6_address_likewise() {
    const VIP6: &str = "2001:db8::100";
    in_namespace(async {
        let segment = ipv6::segment();
        let node = Node::start();
        node.announce(&[VIP6]);
        eventually("the whole burst", || node.counters(VIP6).gratuitous_sent == 5).await;
        let mut conflicts = node.l2.conflicts();
        let other = Other::start(&segment);
        let (mut claims, mut ended) = (other.l2.conflicts(), node.l2.claims_ended());
        other.announce(VIP6);
        let heard = next(&mut conflicts).await;
        assert_eq!(heard.mac, EthernetAddress(CLIENT_MAC));
        node.l2.yield_address(heard.ip);
        eventually("an answer to a question", || other.responses(VIP6) >= 1).await;
        assert_eq!(node.counters(VIP6).gratuitous_sent, 5);
        assert!(claims.try_recv().is_err(), "the other hears nothing of it");
        other.stop.cancel();
        assert_eq!(next(&mut ended).await, heard.ip);
        node.l2.defend(heard.ip);
        eventually("another burst", || node.counters(VIP6).gratuitous_sent >= 10).await;
    });
}

// L2-78
pub(crate) fn an_address_of_another_host_is_not_announced_if_it_is_asked_about() {
    in_namespace(async {
        let _segment = ipv6::segment();
        let node = Node::checking();
        node.usable(&["node0"]).await;
        for ip in ["192.0.2.50", "2001:db8::50"] {
            let mut conflicts = node.l2.conflicts();
            // Linux promises nobody a frame.
            let (first, said) = loop {
                let said = node.counters(ip).gratuitous_sent;
                node.announce(&[ip]);
                if let Ok(told) = timeout(Duration::from_secs(1), conflicts.recv()).await {
                    break (told.unwrap(), said);
                }
                node.withdraw(ip);
            };
            let expected = (ip.parse().unwrap(), EthernetAddress(CLIENT_MAC), Report::First);
            assert_eq!((first.ip, first.mac, first.report), expected);
            assert_eq!(next(&mut conflicts).await.report, Report::Confirmed);
            assert_eq!(node.counters(ip).gratuitous_sent, said);
        }
    });
}

// L2-78
pub(crate) fn an_address_that_nobody_has_is_announced_although_it_is_asked_about() {
    const VIP6: &str = "2001:db8::100";
    in_namespace(async {
        let segment = ipv6::segment();
        let node = Node::checking();
        node.usable(&["node0"]).await;
        node.announce(&[VIP, VIP6]);
        segment.client_resolves(VIP, NODE_MAC).await;
        segment.client_resolves(VIP6, NODE_MAC).await;
    });
}

/// A hardware address as text has it.
struct Mac(EthernetAddress);

impl std::str::FromStr for Mac {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 6];
        for (byte, hex) in bytes.iter_mut().zip(text.split(':')) {
            *byte = u8::from_str_radix(hex, 16)?;
        }
        Ok(Self(EthernetAddress(bytes)))
    }
}
