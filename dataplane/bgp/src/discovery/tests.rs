//! A link on a virtual clock.

use hex_literal::hex;
use proptest::prelude::*;

use super::*;

const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const OTHER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 3);
const SOLICITATION: [u8; 8] = hex!("85000000 00000000");
const ADVERTISEMENT: [u8; 16] = hex!("86000000 40000708 00000000 00000000");

#[expect(clippy::disallowed_methods, reason = "a virtual clock starts somewhere")]
fn start() -> Instant {
    Instant::now()
}

fn link() -> DiscoveryLink {
    DiscoveryLink {
        index: 2,
        local: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
        mac: Some([2, 0, 0, 0, 0, 1]),
        carrier_ups: 1,
    }
}

fn up(now: Instant) -> (Discovery, Vec<DiscoveryAction>) {
    let mut discovery = Discovery::default();
    let actions = discovery.handle(now, DiscoveryEvent::Link(Some(link())));
    (discovery, actions)
}

fn sent(actions: &[DiscoveryAction]) -> Vec<(Ipv6Addr, &[u8])> {
    let packets = actions.iter().filter_map(|action| match action {
        DiscoveryAction::Send(to, packet) => Some((*to, &packet[..])),
        DiscoveryAction::Router(_) => None,
    });
    packets.collect()
}

// BGP-79
#[test]
fn the_bytes_are_those_of_frr() {
    let (_, actions) = up(start());
    let ours = hex!("86000000 0000001e 00000000 00000000 0101 020000000001");
    let question = hex!("85000000 00000000 0101 020000000001");
    assert_eq!(
        sent(&actions),
        [
            (Discovery::ALL_NODES, &ours[..]),
            (Discovery::ALL_ROUTERS, &question[..])
        ]
    );
}

#[test]
fn advertisements_come_quickly_at_first_and_then_every_ten_seconds() {
    let now = start();
    let (mut discovery, _) = up(now);
    let mut times = vec![];
    while times.len() < 6 {
        let at = discovery.next_deadline().unwrap();
        times.push((at - now).as_secs());
        assert!(!sent(&discovery.handle(at, DiscoveryEvent::Tick)).is_empty());
    }
    assert_eq!(times, [1, 2, 3, 13, 23, 33]);
}

#[test]
fn who_asks_is_answered_but_no_more_than_once_a_second() {
    let now = start();
    let (mut discovery, _) = up(now);
    for _ in 0..3 {
        discovery.handle(discovery.next_deadline().unwrap(), DiscoveryEvent::Tick);
    }
    let now = now + Duration::from_secs(8);
    let ask = DiscoveryEvent::Heard(ROUTER, &SOLICITATION);
    assert_eq!(sent(&discovery.handle(now, ask.clone())).len(), 1);
    for _ in 0..100 {
        assert_eq!(discovery.handle(now, ask.clone()), []);
    }
    assert_eq!(discovery.next_deadline(), Some(now + QUICK_INTERVAL));
}

#[test]
fn the_first_router_stays_until_it_is_silent() {
    let now = start();
    let (mut discovery, _) = up(now);
    let heard = |from| DiscoveryEvent::Heard(from, &ADVERTISEMENT);
    let later = |seconds| now + Duration::from_secs(seconds);
    assert_eq!(
        discovery.handle(now, heard(ROUTER)),
        [DiscoveryAction::Router(Some(ROUTER))]
    );
    assert_eq!(discovery.handle(later(20), heard(ROUTER)), []);
    assert_eq!(discovery.handle(later(49), heard(OTHER)), []);
    assert_eq!(
        discovery.handle(later(50), heard(OTHER)),
        [DiscoveryAction::Router(Some(OTHER))]
    );
}

// BGP-79
#[test]
fn after_a_flap_the_router_is_looked_for_anew() {
    let now = start();
    let (mut discovery, _) = up(now);
    discovery.handle(now, DiscoveryEvent::Heard(ROUTER, &ADVERTISEMENT));
    assert_eq!(discovery.handle(now, DiscoveryEvent::Link(Some(link()))), [], "no news");
    assert_eq!(
        discovery.handle(now, DiscoveryEvent::Link(None)),
        [DiscoveryAction::Router(None)]
    );
    assert_eq!(discovery.next_deadline(), None);
    assert_eq!(discovery.handle(now, DiscoveryEvent::Heard(ROUTER, &ADVERTISEMENT)), []);
    assert_eq!(
        sent(&discovery.handle(now, DiscoveryEvent::Link(Some(link())))).len(),
        2
    );
    discovery.handle(now, DiscoveryEvent::Heard(ROUTER, &ADVERTISEMENT));
    // So short that nobody saw it down.
    let flapped = DiscoveryLink {
        carrier_ups: 2,
        ..link()
    };
    let actions = discovery.handle(now, DiscoveryEvent::Link(Some(flapped)));
    assert_eq!(actions[0], DiscoveryAction::Router(None));
}

#[test]
fn who_leaves_says_so_once() {
    let (mut discovery, _) = up(start());
    let actions = discovery.handle(start(), DiscoveryEvent::Leave);
    assert_eq!(sent(&actions)[0].1[6..8], [0, 0]);
    assert_eq!(discovery.handle(start(), DiscoveryEvent::Leave), []);
    assert_eq!(discovery.next_deadline(), None);
}

// FRR sends a lifetime of zero with `ipv6 nd ra-lifetime 0`.
#[test]
fn a_router_that_is_no_default_router_is_found() {
    let (mut discovery, _) = up(start());
    let mut advertisement = ADVERTISEMENT;
    advertisement[6..8].fill(0);
    assert_eq!(
        discovery.handle(start(), DiscoveryEvent::Heard(ROUTER, &advertisement)),
        [DiscoveryAction::Router(Some(ROUTER))]
    );
}

#[test]
fn packets_of_our_own_and_of_strangers_are_no_routers() {
    let (mut discovery, _) = up(start());
    let global = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
    for from in [link().local, global, Ipv6Addr::UNSPECIFIED] {
        assert_eq!(
            discovery.handle(start(), DiscoveryEvent::Heard(from, &ADVERTISEMENT)),
            []
        );
    }
    let broken = [
        &hex!("8600")[..],
        &hex!("86010000 00000000 00000000 00000000"),
        &hex!("86000000 00000000 00000000 00000000 0100 000000000000"),
        &hex!("86000000 00000000 00000000 00000000 0102 000000000000"),
        &hex!("87000000 00000000 00000000 00000000"),
    ];
    for packet in broken {
        assert_eq!(
            discovery.handle(start(), DiscoveryEvent::Heard(ROUTER, packet)),
            [],
            "{packet:x?}"
        );
    }
}

proptest! {
    #[test]
    fn no_packet_panics(packet in prop::collection::vec(any::<u8>(), 0..64)) {
        up(start()).0.handle(start(), DiscoveryEvent::Heard(ROUTER, &packet));
        let advertisement = [&ADVERTISEMENT[..], &packet].concat();
        up(start()).0.handle(start(), DiscoveryEvent::Heard(ROUTER, &advertisement));
    }
}
