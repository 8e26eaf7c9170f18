//! Neighbour discovery against Linux.

use metallb_l2::{EthernetAddress, Report};
use metallb_test_runner::{in_namespace, skip};

use crate::{
    Node, next,
    segment::{CLIENT_MAC, NODE_MAC, Segment, eventually},
};

const VIP: &str = "2001:db8::100";
const OTHER_VIP: &str = "2001:db8::101";
const GROUP: &str = "ff02::1:ff00:100";

/// Both ends have addresses to speak from at once.
pub(crate) fn segment() -> Segment {
    let segment = Segment::new();
    if !segment.can("ip addr add fe80::1/64 dev node0 nodad") {
        skip("the kernel has no IPv6");
    }
    segment.client("ip addr add 2001:db8::50/64 dev client0 nodad");
    segment.client("ip addr add fe80::50/64 dev client0 nodad");
    segment
}

// L2-52, L2-55, L2-56: when Linux doubts an entry, it asks the known hardware address.
pub(crate) fn a_client_resolves_an_ipv6_address_and_keeps_it() {
    in_namespace(async {
        let segment = segment();
        let node = Node::start();
        node.announce(&[VIP]);
        eventually("the whole burst", || node.counters(VIP).gratuitous_sent == 5).await;
        eventually("the group", || segment.node("ip maddr show dev node0").contains(GROUP)).await;
        segment.client_resolves(VIP, NODE_MAC).await;
        let asked = node.counters(VIP).requests_received;
        assert!(asked >= 1);
        segment.client(&format!(
            "ip neigh change {VIP} lladdr {NODE_MAC} dev client0 nud probe"
        ));
        eventually("an answer to the unicast question", || {
            segment.client(&format!("ip neigh show {VIP}")).contains("REACHABLE")
        })
        .await;
        let counters = node.counters(VIP);
        assert!(counters.requests_received > asked);
        assert_eq!(counters.requests_received, counters.responses_sent);
    });
}

// L2-48, L2-52
pub(crate) fn a_withdrawn_ipv6_address_is_not_answered_and_its_group_is_left() {
    in_namespace(async {
        let segment = segment();
        let node = Node::start();
        node.announce(&[VIP, OTHER_VIP]);
        segment.client_resolves(VIP, NODE_MAC).await;
        node.withdraw(VIP);
        segment.client_resolves(OTHER_VIP, NODE_MAC).await;
        eventually("that the group is left", || {
            !segment.node("ip maddr show dev node0").contains(&format!("{GROUP}\n"))
        })
        .await;
        segment.client("ip neigh flush all");
        segment.client_fails_to_resolve(VIP).await;
    });
}

// L2-54
pub(crate) fn gaining_an_ipv6_address_corrects_an_entry_of_the_client() {
    in_namespace(async {
        let segment = segment();
        let node = Node::start();
        node.usable(&["node0"]).await;
        segment.client(&format!(
            "ip neigh replace {VIP} lladdr 02:00:00:00:00:99 dev client0 nud reachable"
        ));
        node.announce(&[VIP]);
        segment.client_has(VIP, NODE_MAC).await;
        assert_eq!(node.counters(VIP).requests_received, 0);
    });
}

// L2-59
pub(crate) fn a_host_that_takes_an_announced_ipv6_address_fails_and_is_reported() {
    in_namespace(async {
        let segment = segment();
        let node = Node::start();
        let mut conflicts = node.l2.conflicts();
        node.announce(&[VIP]);
        // A round of the burst would tell the client before it asks.
        eventually("the whole burst", || node.counters(VIP).gratuitous_sent == 5).await;
        segment.client(&format!("ip addr add {VIP}/64 dev client0"));
        eventually("failed duplicate address detection", || {
            segment.client("ip addr show dev client0").contains("dadfailed")
        })
        .await;
        let first = next(&mut conflicts).await;
        assert_eq!((first.mac, first.report), (EthernetAddress(CLIENT_MAC), Report::First));
        assert_eq!(next(&mut conflicts).await.report, Report::Confirmed);
        // Who only asks has had its answer.
        assert_eq!(node.counters(VIP).gratuitous_sent, 5);
    });
}

/// More groups than one socket may be a member of.
pub(crate) fn ten_thousand_ipv6_addresses_are_answered_too() {
    in_namespace(async {
        let segment = segment();
        let node = Node::start();
        let many: Vec<String> = (0x1000..0x1000 + 10_000).map(|n| format!("2001:db8::{n:x}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        node.announce(&many);
        node.announce(&[VIP]);
        segment.client_resolves(VIP, NODE_MAC).await;
        segment.client_resolves(many[9_999], NODE_MAC).await;
        eventually("all groups", || {
            segment.node("ip maddr show dev node0").matches("ff02::1:ff").count() > 10_000
        })
        .await;
    });
}
