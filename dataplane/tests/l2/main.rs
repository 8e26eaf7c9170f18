//! The layer-2 shell against Linux: a node and a client in network namespaces of their own, joined by a veth pair.
//!
//! Every test runs its body in a child process inside a fresh namespace, as root or in a user namespace. Where the
//! machine does not allow that, they are skipped.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod conflicts;
mod ending;
mod ipv6;
mod probe;
mod segment;

use std::{collections::BTreeSet, io::Write, net::IpAddr, process::ExitCode, sync::Arc, time::Duration};

use metallb_dataplane::l2::{self, Interfaces, L2Handle};
use metallb_l2::{EthernetAddress, Form, gratuitous};
use metallb_test_runner::{in_namespace, main as run, skip, tests};
use tokio::{sync::broadcast, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use segment::{NODE_MAC, PATIENCE, Segment, eventually};

const VIP: &str = "192.0.2.100";
const OTHER_VIP: &str = "192.0.2.101";

fn main() -> ExitCode {
    run(tests![
        a_client_resolves_an_announced_address,
        an_address_that_is_not_announced_stays_unresolved,
        a_withdrawn_address_is_not_answered,
        gaining_an_address_corrects_a_fresh_entry_of_the_client,
        a_gain_sends_ten_frames_and_a_repeated_announcement_none,
        the_first_frame_of_a_gain_is_told_once_to_whoever_asked,
        bad_frames_do_not_stop_the_answers,
        the_kernel_shows_only_what_the_filter_takes,
        a_changed_hardware_address_is_announced_and_used,
        only_the_allowed_interface_answers,
        an_interface_that_appears_later_announces,
        links_that_come_and_go_leave_the_others_alone_and_nothing_behind,
        a_lost_carrier_stops_the_announcement_until_it_returns,
        a_request_in_a_vlan_is_answered_once,
        the_bridge_answers_once_and_its_port_does_not,
        a_macvlan_answers_for_itself_and_not_for_its_parent,
        conflicts::a_foreign_claim_is_reported_counted_and_defended_against_once,
        conflicts::two_hosts_that_fight_do_not_flood_the_segment,
        conflicts::of_two_nodes_that_announce_one_address_the_one_told_to_yields_at_once,
        conflicts::an_address_is_resumed_when_the_other_node_has_gone,
        conflicts::a_node_that_still_answers_has_not_gone,
        conflicts::two_nodes_settle_an_ipv6_address_likewise,
        conflicts::an_address_of_another_host_is_not_announced_if_it_is_asked_about,
        conflicts::an_address_that_nobody_has_is_announced_although_it_is_asked_about,
        ten_thousand_addresses_are_answered_too,
        ending::the_shell_ends_when_it_is_stopped,
        ending::the_shell_ends_with_an_error_when_one_of_its_tasks_panics,
        ending::an_address_is_answered_until_another_host_claims_it,
        ending::handing_over_ends_at_its_limit_and_the_address_is_still_answered,
        ending::a_missing_capability_is_named,
        ipv6::a_client_resolves_an_ipv6_address_and_keeps_it,
        ipv6::a_withdrawn_ipv6_address_is_not_answered_and_its_group_is_left,
        ipv6::gaining_an_ipv6_address_corrects_an_entry_of_the_client,
        ipv6::a_host_that_takes_an_announced_ipv6_address_fails_and_is_reported,
        ipv6::ten_thousand_ipv6_addresses_are_answered_too,
        probe::linux_answers_who_has_its_addresses,
    ])
}

/// The next thing that is told.
async fn next<T: Clone>(told: &mut broadcast::Receiver<T>) -> T {
    let told = tokio::time::timeout(PATIENCE, told.recv()).await;
    told.expect("something is told").unwrap()
}

/// A running shell on the node's side.
struct Node {
    l2: L2Handle,
    stop: CancellationToken,
    running: JoinHandle<Result<(), l2::Error>>,
}

impl Node {
    fn start() -> Self {
        Self::excluding(|name| name == "lo")
    }

    fn excluding(exclude: fn(&str) -> bool) -> Self {
        Self::with(l2::Config {
            exclude: Arc::new(exclude),
            garp_interval: None,
            check_before_announcing: false,
        })
    }

    /// One that asks before it announces.
    fn checking() -> Self {
        Self::with(l2::Config {
            exclude: Arc::new(|name| name == "lo"),
            garp_interval: None,
            check_before_announcing: true,
        })
    }

    fn with(config: l2::Config) -> Self {
        let stop = CancellationToken::new();
        let (l2, running) = l2::start(config, stop.clone()).unwrap();
        Self {
            l2,
            stop,
            running: tokio::spawn(running),
        }
    }

    fn announce(&self, ips: &[&str]) {
        let announced = |ip: &&str| (ip.parse().unwrap(), Some(Interfaces::All));
        self.l2.change(ips.iter().map(announced).collect());
    }

    fn announce_on(&self, ip: &str, interface: &str) {
        let only = Interfaces::Only(BTreeSet::from([interface.to_owned()]));
        self.l2.change(vec![(ip.parse().unwrap(), Some(only))]);
    }

    fn withdraw(&self, ip: &str) {
        self.l2.change(vec![(ip.parse().unwrap(), None)]);
    }

    fn counters(&self, ip: &str) -> l2::AddressCounters {
        let ip: IpAddr = ip.parse().unwrap();
        self.l2.counters().get(&ip).copied().unwrap_or_default()
    }

    /// While a burst lasts, a client may learn the address from it instead of asking.
    async fn burst_is_over(&self, ip: &str, interfaces: u64) {
        eventually("the whole burst", || {
            self.counters(ip).gratuitous_sent == 10 * interfaces
        })
        .await;
    }

    async fn usable(&self, interfaces: &[&str]) {
        let expected: BTreeSet<String> = interfaces.iter().map(|name| (*name).to_owned()).collect();
        let mut usable = self.l2.usable_interfaces();
        tokio::time::timeout(PATIENCE, usable.wait_for(|usable| *usable == expected))
            .await
            .unwrap_or_else(|_| panic!("usable are {:?}", self.l2.usable_interfaces().borrow()))
            .unwrap();
    }
}

// L2-37, L2-62, L2-86: the node has no address at all, and Linux believes the answer.
fn a_client_resolves_an_announced_address() {
    in_namespace(async {
        let segment = Segment::new();
        let node = Node::start();
        node.announce(&[VIP]);
        node.burst_is_over(VIP, 1).await;
        segment.client_resolves(VIP, NODE_MAC).await;
        let counters = node.counters(VIP);
        assert!(counters.requests_received >= 1);
        assert_eq!(counters.requests_received, counters.responses_sent);
        assert_eq!(counters.conflicts, 0);
    });
}

// L2-41
fn an_address_that_is_not_announced_stays_unresolved() {
    in_namespace(async {
        let segment = Segment::new();
        let node = Node::start();
        node.announce(&[VIP]);
        segment.client_resolves(VIP, NODE_MAC).await;
        segment.client_fails_to_resolve(OTHER_VIP).await;
    });
}

// L2-10, L2-48: withdrawing sends nothing and answers nothing.
fn a_withdrawn_address_is_not_answered() {
    in_namespace(async {
        let segment = Segment::new();
        let node = Node::start();
        node.announce(&[VIP, OTHER_VIP]);
        segment.client_resolves(VIP, NODE_MAC).await;
        node.withdraw(VIP);
        segment.client_resolves(OTHER_VIP, NODE_MAC).await;
        let before = node.counters(VIP);
        segment.client("ip neigh flush all");
        segment.client_fails_to_resolve(VIP).await;
        assert_eq!(node.counters(VIP), before);
    });
}

// L2-49
fn gaining_an_address_corrects_a_fresh_entry_of_the_client() {
    in_namespace(async {
        let segment = Segment::new();
        let node = Node::start();
        node.usable(&["node0"]).await;
        segment.client(&format!(
            "ip neigh replace {VIP} lladdr 02:00:00:00:00:99 dev client0 nud reachable"
        ));
        node.announce(&[VIP]);
        segment.client_has(VIP, NODE_MAC).await;
        assert!(node.counters(VIP).gratuitous_sent >= 1);
        assert_eq!(node.counters(VIP).requests_received, 0);
    });
}

// L2-46, L2-47
fn a_gain_sends_ten_frames_and_a_repeated_announcement_none() {
    in_namespace(async {
        let _segment = Segment::new();
        let node = Node::start();
        node.announce(&[VIP]);
        node.burst_is_over(VIP, 1).await;
        node.announce(&[VIP]);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(node.counters(VIP).gratuitous_sent, 10);
        node.l2.reannounce();
        node.burst_is_over(VIP, 2).await;
    });
}

// L2-43
fn the_first_frame_of_a_gain_is_told_once_to_whoever_asked() {
    in_namespace(async {
        let _segment = Segment::new();
        let node = Node::start();
        let (to, mut told) = tokio::sync::mpsc::unbounded_channel();
        let ip: IpAddr = VIP.parse().unwrap();
        node.l2.tell_first_frames(vec![ip], &to);
        // One that is withdrawn before it could be announced is nobody's gain.
        node.l2.tell_first_frames(vec![OTHER_VIP.parse().unwrap()], &to);
        drop(to);
        node.withdraw(OTHER_VIP);
        node.announce(&[VIP, OTHER_VIP]);
        let first = told.recv().await.unwrap();
        assert_eq!(first.ip, ip);
        node.burst_is_over(VIP, 1).await;
        node.burst_is_over(OTHER_VIP, 1).await;
        assert!(told.recv().await.is_none(), "both were answered or dropped");
    });
}

fn bad_frames_do_not_stop_the_answers() {
    in_namespace(async {
        let segment = Segment::new();
        let node = Node::start();
        node.announce(&[VIP]);
        segment.client_resolves(VIP, NODE_MAC).await;
        // Linux promises nobody a frame. The kernel's filter keeps back what is cut short or too bad to be compared.
        for reason in [
            "malformed",
            "oversize",
            "own",
            "senderAddress",
            "arpReply",
            "packetType",
        ] {
            eventually(reason, || {
                segment.inject(bad_frames());
                node.l2.drops().contains_key(&(reason, "node0".to_owned()))
            })
            .await;
        }
        assert_eq!(node.counters(VIP).conflicts, 0);
        segment.client("ip neigh flush all");
        segment.client_resolves(VIP, NODE_MAC).await;
    });
}

fn the_kernel_shows_only_what_the_filter_takes() {
    in_namespace(async {
        let segment = Segment::new();
        let node = Node::start();
        node.announce(&[VIP]);
        segment.client_resolves(VIP, NODE_MAC).await;
        let seen = || node.l2.drops().contains_key(&("announcement", "node0".to_owned()));
        let announcement = |ip: &str| {
            gratuitous(
                Form::Request,
                EthernetAddress([2, 0, 0, 0, 0, 0x77]),
                ip.parse().unwrap(),
            )
        };
        segment.inject(vec![announcement("203.0.113.1"); 100]);
        segment.client("ip neigh flush all");
        segment.client_resolves(VIP, NODE_MAC).await;
        assert!(!seen());
        // Beside the address, the filter takes a few neighbours of it. Linux promises nobody a frame.
        eventually("the neighbour's frame", || {
            segment.inject(vec![announcement(OTHER_VIP)]);
            seen()
        })
        .await;
    });
}

/// A request for the VIP, cut at every length and with every header byte spoilt.
fn bad_frames() -> Vec<Vec<u8>> {
    let mut request = gratuitous(
        Form::Request,
        EthernetAddress([2, 0, 0, 0, 0, 0x77]),
        VIP.parse().unwrap(),
    );
    request[31] = 77;
    let cut = (15..60).map(|length| request[..length].to_vec());
    let spoilt = (12..22)
        .flat_map(|at| [0, 1, 7, 255].map(|value| (at, value)))
        .map(|(at, value)| {
            let mut frame = request.clone();
            frame[at] = value;
            frame
        });
    let with = |at: usize, bytes: &[u8]| {
        let mut frame = request.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let long = [request.clone(), vec![0; 1400]].concat();
    let own = [with(6, &[2, 0, 0, 0, 0, 1]), with(22, &[2, 0, 0, 0, 0, 1])];
    let nobody = [with(22, &[0; 6]), with(22, &[0xff; 6]), with(6, &[0; 6])];
    let others = [
        with(20, &[0, 2, 2, 0, 0, 0, 0, 0x77, 192, 0, 2, 101]),
        with(0, &[1, 0, 0x5e, 0, 0, 1]),
    ];
    let bad = cut.chain(spoilt).chain([long, vec![0xFF; 1500]]);
    bad.chain(own).chain(nobody).chain(others).collect()
}

// L2-64
fn a_changed_hardware_address_is_announced_and_used() {
    in_namespace(async {
        let segment = Segment::new();
        let node = Node::start();
        node.announce(&[VIP]);
        segment.client_resolves(VIP, NODE_MAC).await;
        segment.node("ip link set node0 address 02:00:00:00:00:02");
        segment.client_has(VIP, "02:00:00:00:00:02").await;
        segment.client("ip neigh flush all");
        segment.client_resolves(VIP, "02:00:00:00:00:02").await;
    });
}

// L2-41, L2-66
fn only_the_allowed_interface_answers() {
    in_namespace(async {
        let segment = Segment::new();
        segment.add_link("node1", "client1", "02:00:00:00:01:01", "198.51.100.50/24");
        let node = Node::start();
        node.usable(&["node0", "node1"]).await;
        node.announce_on(VIP, "node1");
        segment.client_fails_to_resolve(VIP).await;
        // The request came in, but on the wrong interface.
        assert!(node.l2.drops().contains_key(&("notMatchInterface", "node0".to_owned())));
        node.announce_on(VIP, "node0");
        segment.client_resolves(VIP, NODE_MAC).await;
    });
}

// L2-53 for ARP
fn an_interface_that_appears_later_announces() {
    in_namespace(async {
        let segment = Segment::new();
        let node = Node::start();
        node.announce(&["198.51.100.100"]);
        node.usable(&["node0"]).await;
        segment.add_link("node1", "client1", "02:00:00:00:01:01", "198.51.100.50/24");
        node.usable(&["node0", "node1"]).await;
        let known = |names: &BTreeSet<String>| names.contains("node1");
        node.l2.interfaces().wait_for(known).await.unwrap();
        segment.client_resolves("198.51.100.100", "02:00:00:00:01:01").await;
    });
}

// L2-92
fn links_that_come_and_go_leave_the_others_alone_and_nothing_behind() {
    const LINKS: u32 = 200;
    in_namespace(async {
        let segment = Segment::new();
        let node = Node::start();
        node.announce(&[VIP]);
        node.burst_is_over(VIP, 1).await;
        let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = files();
        let pairs = (0..LINKS).map(|n| {
            let add = format!("link add come{n} up type veth peer name go{n}\n");
            format!("{add}link del come{n}\n")
        });
        let mut batch = tempfile::NamedTempFile::new().unwrap();
        batch.write_all(pairs.collect::<String>().as_bytes()).unwrap();
        segment.node(&format!("ip -batch {}", batch.path().display()));
        drop(batch);
        node.usable(&["node0"]).await;
        segment.client("ip neigh flush all");
        segment.client_resolves(VIP, NODE_MAC).await;
        assert_eq!(files(), before);
        assert!(
            node.l2
                .drops()
                .keys()
                .all(|(_, interface)| interface == "node0" || interface == "other")
        );
    });
}

fn a_lost_carrier_stops_the_announcement_until_it_returns() {
    in_namespace(async {
        let segment = Segment::new();
        let node = Node::start();
        node.announce(&[VIP]);
        node.burst_is_over(VIP, 1).await;
        segment.client("ip link set client0 down");
        node.usable(&[]).await;
        assert!(
            node.l2.interfaces().borrow().contains("node0"),
            "known although not usable"
        );
        segment.client("ip link set client0 up");
        eventually("another burst", || node.counters(VIP).gratuitous_sent >= 12).await;
        segment.client_resolves(VIP, NODE_MAC).await;
    });
}

// L2-42: a socket bound to the parent would see the VLAN's request as well and answer it untagged.
fn a_request_in_a_vlan_is_answered_once() {
    in_namespace(async {
        let segment = Segment::new();
        if !segment.can("ip link add link node0 name node0.100 type vlan id 100") {
            skip("the kernel has no 802.1Q");
        }
        segment.node("ip link set node0.100 up");
        segment.client("ip link add link client0 name client0.100 type vlan id 100");
        segment.client("ip addr add 203.0.113.50/24 dev client0.100");
        segment.client("ip link set client0.100 up");
        let node = Node::start();
        node.usable(&["node0", "node0.100"]).await;
        node.announce(&["203.0.113.100"]);
        node.burst_is_over("203.0.113.100", 2).await;
        segment.client_resolves("203.0.113.100", NODE_MAC).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(node.counters("203.0.113.100").requests_received, 1);
        assert_eq!(node.counters("203.0.113.100").responses_sent, 1);
    });
}

// L2-42: the packet socket sees the frame once, with the interface that it finally belongs to.
fn the_bridge_answers_once_and_its_port_does_not() {
    in_namespace(async {
        let segment = Segment::new();
        if !segment.can("ip link add br0 type bridge") {
            skip("the kernel has no bridges");
        }
        segment.node(&format!("ip link set br0 address {NODE_MAC}"));
        segment.node("ip link set br0 up");
        segment.node("ip link set node0 master br0");
        let node = Node::start();
        node.usable(&["br0"]).await;
        node.announce(&[VIP]);
        node.burst_is_over(VIP, 1).await;
        segment.client_resolves(VIP, NODE_MAC).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let counters = node.counters(VIP);
        assert_eq!((counters.requests_received, counters.responses_sent), (1, 1));
    });
}

// L2-42: both the parent and the device on top of it hear the request, each for itself.
fn a_macvlan_answers_for_itself_and_not_for_its_parent() {
    in_namespace(async {
        let segment = Segment::new();
        let upper = "02:00:00:00:02:01";
        if !segment.can(&format!(
            "ip link add link node0 name mac0 address {upper} type macvlan mode bridge"
        )) {
            skip("the kernel has no macvlan");
        }
        segment.node("ip link set mac0 up");
        let node = Node::start();
        node.usable(&["mac0", "node0"]).await;
        node.announce_on(VIP, "mac0");
        node.burst_is_over(VIP, 1).await;
        segment.client_resolves(VIP, upper).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let counters = node.counters(VIP);
        assert_eq!((counters.requests_received, counters.responses_sent), (1, 1));
        assert_eq!(
            node.l2.drops().get(&("notMatchInterface", "node0".to_owned())),
            Some(&1)
        );
    });
}

fn ten_thousand_addresses_are_answered_too() {
    in_namespace(async {
        let segment = Segment::new();
        let node = Node::start();
        let many: Vec<String> = (0..10_000).map(|n| format!("10.{}.{}.1", n / 250, n % 250)).collect();
        for count in [900, 10_000] {
            let mut ips: Vec<&str> = many[..count].iter().map(String::as_str).collect();
            ips.push(VIP);
            node.announce(&ips);
            segment.client("ip neigh flush all");
            segment.client_resolves(VIP, NODE_MAC).await;
        }
    });
}
