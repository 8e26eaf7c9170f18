use std::{collections::BTreeSet, net::Ipv4Addr, sync::LazyLock};

use smoltcp::wire::EthernetAddress;

use super::*;
use crate::{Core, Event, Interfaces, Link, Selection};

const ETH0: u32 = 2;
const ETH1: u32 = 3;

/// The start of the virtual clock; every time in the tests is relative to it.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made otherwise; its value does not matter"
)]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn link(index: u32, name: &str, last: u8) -> Link {
    Link {
        index,
        name: name.to_owned(),
        mac: EthernetAddress([2, 0, 0, 0, 0, last]),
        carrier_ups: 1,
        link_local: None,
    }
}

fn vip(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(0xC000_0200 + n)
}

/// A frame as seen on the wire.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    at: Duration,
    ifindex: u32,
    ip: IpAddr,
    request: bool,
    mac: u8,
}

/// A core with its clock and a record of what it sent.
struct Bench {
    core: Core,
    now: Duration,
    seen: Vec<Seen>,
}

impl Bench {
    fn new(refresh: Option<Duration>) -> Self {
        Self {
            core: Core::new(refresh, 7),
            now: Duration::ZERO,
            seen: Vec::new(),
        }
    }

    fn with_eth0() -> Self {
        let mut bench = Self::new(None);
        bench.links(vec![link(ETH0, "eth0", 1)]);
        bench
    }

    fn links(&mut self, links: Vec<Link>) {
        self.feed(Event::Links(Selection {
            links,
            ..Selection::default()
        }));
    }

    fn announce(&mut self, ips: impl IntoIterator<Item = Ipv4Addr>) {
        let announced = |ip: Ipv4Addr| (ip.into(), Some(Interfaces::All));
        self.feed(Event::Changed(ips.into_iter().map(announced).collect()));
    }

    fn announce_on(&mut self, ip: Ipv4Addr, name: &str) {
        let only = Interfaces::Only(BTreeSet::from([name.to_owned()]));
        self.feed(Event::Changed(vec![(ip.into(), Some(only))]));
    }

    fn withdraw(&mut self, ips: impl IntoIterator<Item = Ipv4Addr>) {
        self.feed(Event::Changed(ips.into_iter().map(|ip| (ip.into(), None)).collect()));
    }

    fn feed(&mut self, event: Event<'_>) {
        for action in self.core.handle(*START + self.now, event) {
            let Action::Send { ifindex, ip, frame, .. } = action else {
                continue;
            };
            assert_eq!(frame.len(), 60);
            self.seen.push(Seen {
                at: self.now,
                ifindex,
                ip,
                request: frame[21] == 1,
                mac: frame[11],
            });
        }
    }

    fn run_until(&mut self, end: Duration) {
        while let Some(due) = self.core.next_deadline().filter(|due| *due <= *START + end) {
            self.now = self.now.max(due - *START);
            self.feed(Event::Tick);
        }
        self.now = end;
    }

    fn times(&self) -> Vec<u128> {
        let mut times: Vec<u128> = self.seen.iter().map(|seen| seen.at.as_millis()).collect();
        times.dedup();
        times
    }
}

const LONG: Duration = Duration::from_secs(60);

// L2-44
#[test]
fn a_gain_is_told_at_once_request_first() {
    let mut bench = Bench::with_eth0();
    bench.announce([vip(100)]);
    assert_eq!(
        bench.seen.iter().map(|seen| seen.request).collect::<Vec<_>>(),
        [true, false]
    );
}

// L2-46
#[test]
fn a_burst_is_five_rounds_of_two_frames() {
    let mut bench = Bench::with_eth0();
    bench.announce([vip(100)]);
    bench.run_until(LONG);
    assert_eq!(bench.times(), [0, 1100, 2200, 3300, 4400]);
    assert_eq!(bench.seen.len(), 10);
    assert_eq!(bench.core.next_deadline(), None);
}

// L2-47
#[test]
fn the_same_set_again_sends_nothing() {
    let mut bench = Bench::with_eth0();
    bench.announce([vip(100)]);
    bench.run_until(LONG);
    bench.announce([vip(100)]);
    bench.links(vec![link(ETH0, "eth0", 1)]);
    bench.run_until(2 * LONG);
    assert_eq!(bench.seen.len(), 10);
}

#[test]
fn a_second_address_does_not_disturb_the_first() {
    let mut bench = Bench::with_eth0();
    bench.announce([vip(1)]);
    bench.run_until(Duration::from_millis(500));
    bench.announce([vip(2)]);
    bench.run_until(LONG);
    assert_eq!(bench.times(), [0, 500, 1100, 1600, 2200, 2700, 3300, 3800, 4400, 4900]);
}

// L2-48
#[test]
fn a_withdrawn_address_is_silent_at_once() {
    let mut bench = Bench::with_eth0();
    bench.announce([vip(1), vip(2)]);
    bench.run_until(Duration::from_millis(1500));
    bench.seen.clear();
    bench.withdraw([vip(1)]);
    bench.run_until(LONG);
    assert_eq!(bench.seen.len(), 6);
    assert!(bench.seen.iter().all(|seen| seen.ip == IpAddr::from(vip(2))));
}

#[test]
fn frames_already_queued_for_a_withdrawn_address_are_dropped() {
    let many: Vec<Ipv4Addr> = (0..500).map(vip).collect();
    let mut bench = Bench::with_eth0();
    bench.announce(many.clone());
    bench.run_until(Duration::ZERO);
    bench.withdraw(many);
    bench.run_until(Duration::ZERO);
    let sent = bench.seen.len();
    bench.run_until(LONG);
    assert_eq!(bench.seen.len(), sent);
    assert_eq!(bench.core.next_deadline(), None);
}

// L2-66
#[test]
fn a_changed_interface_list_bursts_on_the_new_interface_only() {
    let mut bench = Bench::new(None);
    bench.links(vec![link(ETH0, "eth0", 1), link(ETH1, "eth1", 2)]);
    bench.announce_on(vip(1), "eth0");
    bench.run_until(LONG);
    bench.seen.clear();
    bench.announce_on(vip(1), "eth1");
    bench.run_until(2 * LONG);
    assert_eq!(bench.seen.len(), 10);
    assert!(bench.seen.iter().all(|seen| seen.ifindex == ETH1));
}

// L2-64
#[test]
fn a_changed_hardware_address_bursts_with_the_new_one() {
    let mut bench = Bench::with_eth0();
    bench.announce([vip(1)]);
    bench.run_until(LONG);
    bench.seen.clear();
    bench.links(vec![link(ETH0, "eth0", 9)]);
    bench.run_until(2 * LONG);
    assert_eq!(bench.seen.len(), 10);
    assert!(bench.seen.iter().all(|seen| seen.mac == 9));
}

#[test]
fn a_carrier_lost_between_two_looks_bursts_too() {
    let mut bench = Bench::with_eth0();
    bench.announce([vip(1)]);
    bench.run_until(LONG);
    bench.links(vec![Link {
        carrier_ups: 2,
        ..link(ETH0, "eth0", 1)
    }]);
    bench.run_until(2 * LONG);
    assert_eq!(bench.seen.len(), 20);
}

#[test]
fn an_interface_that_comes_back_bursts() {
    let mut bench = Bench::with_eth0();
    bench.announce([vip(1)]);
    bench.run_until(Duration::from_millis(1500));
    bench.links(vec![]);
    bench.run_until(LONG);
    assert_eq!(bench.seen.len(), 4, "no carrier, no frames");
    bench.links(vec![link(ETH0, "eth0", 1)]);
    bench.run_until(2 * LONG);
    assert_eq!(bench.seen.len(), 14);
}

#[test]
fn reannouncing_bursts_for_every_address() {
    let mut bench = Bench::with_eth0();
    bench.announce([vip(1), vip(2)]);
    bench.run_until(LONG);
    bench.seen.clear();
    bench.feed(Event::Reannounce);
    bench.run_until(2 * LONG);
    assert_eq!(bench.seen.len(), 20);
}

// L2-50
#[test]
fn a_thousand_gains_send_all_requests_first_at_a_bearable_pace() {
    let many: Vec<Ipv4Addr> = (0..1000).map(vip).collect();
    let mut bench = Bench::with_eth0();
    bench.announce(many);
    bench.run_until(Duration::from_millis(1050));
    assert_eq!(bench.seen.len(), 2000);
    assert!(bench.seen[..1000].iter().all(|seen| seen.request));
    assert!(bench.seen[1000..].iter().all(|seen| !seen.request));
    assert_paced(&bench.seen);
}

#[test]
fn more_addresses_than_the_pace_allows_still_all_get_their_first_request_first() {
    let many: Vec<Ipv4Addr> = (0..5000).map(vip).collect();
    let mut bench = Bench::with_eth0();
    bench.announce(many);
    bench.run_until(LONG);
    let first: BTreeSet<IpAddr> = bench.seen[..5000].iter().map(|seen| seen.ip).collect();
    assert_eq!(first.len(), 5000);
    assert_paced(&bench.seen);
    assert_eq!(bench.core.next_deadline(), None);
}

/// No window of a second holds more than the rate and the initial burst allow.
fn assert_paced(seen: &[Seen]) {
    for (at, first) in seen.iter().enumerate().step_by(97) {
        let window = seen[at..]
            .iter()
            .take_while(|other| other.at < first.at + Duration::from_secs(1))
            .count();
        assert!(window <= 2100, "{window} frames within a second of {:?}", first.at);
    }
}

// L2-51
#[test]
fn the_refresh_repeats_a_request_every_interval() {
    let mut bench = Bench::new(Some(LONG));
    bench.links(vec![link(ETH0, "eth0", 1)]);
    bench.announce([vip(1)]);
    bench.run_until(Duration::from_secs(3600));
    let refreshes = &bench.seen[10..];
    assert!(
        (54..=66).contains(&refreshes.len()),
        "{} refreshes in an hour",
        refreshes.len()
    );
    assert!(refreshes.iter().all(|seen| seen.request));
    for pair in refreshes.windows(2) {
        let gap = (pair[1].at - pair[0].at).as_secs_f64();
        assert!((54.0..=66.1).contains(&gap), "{gap} s between refreshes");
    }
}

// L2-99
#[test]
fn each_refresh_goes_out_once_on_every_interface() {
    let mut bench = Bench::new(Some(LONG));
    bench.links(vec![link(ETH0, "eth0", 1), link(ETH1, "eth1", 2)]);
    bench.announce([vip(1)]);
    bench.run_until(Duration::from_secs(3600));
    for ifindex in [ETH0, ETH1] {
        let sent = bench.seen.iter().filter(|seen| seen.ifindex == ifindex).count();
        assert!((64..=76).contains(&sent), "{sent} frames on interface {ifindex}");
    }
}

// L2-51
#[test]
fn an_interval_of_zero_means_never() {
    let mut bench = Bench::new(Some(Duration::ZERO));
    bench.links(vec![link(ETH0, "eth0", 1)]);
    bench.announce([vip(1)]);
    bench.run_until(Duration::from_secs(3600));
    assert_eq!(bench.seen.len(), 10);
}

#[test]
fn a_long_pause_is_not_made_up_for() {
    let mut bench = Bench::with_eth0();
    bench.announce([vip(1)]);
    bench.now = Duration::from_secs(30);
    bench.feed(Event::Tick);
    assert_eq!(bench.seen.len(), 4);
    bench.run_until(LONG);
    assert_eq!(bench.times(), [0, 30_000, 31_100, 32_200, 33_300]);
}
