use std::{net::Ipv4Addr, sync::LazyLock};

use super::*;
use crate::{Core, Event, Form, Interfaces, Link, PacketType, Selection, gratuitous, layer2::Count};

#[expect(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made otherwise; its value does not matter"
)]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

const ETH0: u32 = 2;
const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
const OTHER: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 9]);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const SECOND: Duration = Duration::from_secs(1);

/// A core that announces the VIP, its clock, and what it told.
struct Bench {
    core: Core,
    now: Duration,
    told: Vec<(Duration, Conflict)>,
    claims: u64,
}

impl Bench {
    fn new() -> Self {
        let link = Link {
            index: ETH0,
            name: "eth0".to_owned(),
            mac: MAC,
            carrier_ups: 1,
            link_local: None,
        };
        let mut bench = Self {
            core: Core::new(None, 1),
            now: Duration::ZERO,
            told: Vec::new(),
            claims: 0,
        };
        bench.feed(Event::Links(Selection {
            links: vec![link],
            own_macs: [MAC].into(),
            ..Selection::default()
        }));
        bench.change(Some(Interfaces::All));
        bench
    }

    fn change(&mut self, wanted: Option<Interfaces>) {
        self.feed(Event::Changed(vec![(VIP.into(), wanted)]));
    }

    fn hear(&mut self, mac: EthernetAddress) {
        let bytes = &gratuitous(Form::Request, mac, VIP);
        self.feed(Event::Frame {
            ifindex: ETH0,
            packet_type: PacketType::Broadcast,
            bytes,
        });
    }

    fn feed(&mut self, event: Event<'_>) {
        for action in self.core.handle(*START + self.now, event) {
            match action {
                Action::Conflict(conflict) => self.told.push((self.now, conflict)),
                Action::Count(Count::Claims { frames, .. }) => self.claims += frames,
                _ => {}
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.core.next_deadline().filter(|due| *due <= *START + end) {
            self.now = self.now.max(due - *START);
            self.feed(Event::Tick);
        }
        self.now = end;
    }
}

#[test]
fn the_new_owner_heard_before_the_own_withdrawal_is_no_conflict() {
    let mut bench = Bench::new();
    bench.hear(OTHER);
    bench.run(SECOND * 9 / 10);
    bench.change(None);
    bench.run(20 * SECOND);
    assert_eq!((bench.told.len(), bench.claims), (0, 0));
}

#[test]
fn an_address_that_comes_back_meanwhile_is_not_suspected_for_what_was_before() {
    let mut bench = Bench::new();
    bench.hear(OTHER);
    bench.change(None);
    bench.change(Some(Interfaces::All));
    bench.run(20 * SECOND);
    assert_eq!((bench.told.len(), bench.claims), (0, 0));
}

// L2-78, without the defence
#[test]
fn a_claim_that_outlasts_a_move_is_told() {
    let mut bench = Bench::new();
    bench.hear(OTHER);
    bench.run(SECOND / 2);
    bench.hear(OTHER);
    bench.run(SECOND);
    let conflict = Conflict {
        ip: VIP.into(),
        ifindex: ETH0,
        mac: OTHER,
    };
    assert_eq!(bench.told, [(SECOND, conflict)]);
    assert_eq!(bench.claims, 2);
}

#[test]
fn a_conflict_is_told_once_in_ten_seconds_and_every_claim_is_counted() {
    let mut bench = Bench::new();
    for _ in 0..30 {
        bench.hear(OTHER);
        bench.run(SECOND);
    }
    bench.run(SECOND);
    assert_eq!(bench.claims, 30);
    let gaps = bench.told.windows(2).map(|pair| pair[1].0 - pair[0].0);
    assert_eq!(bench.told.len(), 3);
    assert!(gaps.into_iter().all(|gap| gap >= INTERVAL));
}

#[test]
fn two_claimants_are_two_conflicts_and_the_own_frames_are_none() {
    let mut bench = Bench::new();
    bench.hear(OTHER);
    bench.hear(EthernetAddress([2, 0, 0, 0, 0, 10]));
    bench.hear(MAC);
    bench.run(2 * SECOND);
    assert_eq!(bench.told.len(), 2);
}

#[test]
fn a_forger_of_addresses_cannot_fill_the_memory() {
    let mut bench = Bench::new();
    for n in 0..1000_u16 {
        let [a, b] = n.to_be_bytes();
        bench.hear(EthernetAddress([2, 7, 0, 0, a, b]));
    }
    bench.run(2 * SECOND);
    assert_eq!(bench.told.len(), REMEMBERED);
}
