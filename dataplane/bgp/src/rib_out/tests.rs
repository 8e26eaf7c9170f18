use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::{
    LargeCommunity,
    wire::{Attribute, NextHop, Update},
};

fn egress() -> Egress {
    Egress {
        codec: Codec {
            as4: true,
            ipv6: true,
            ..Codec::default()
        },
        asn: 64500,
        internal: false,
        next_hops: NextHops {
            ipv4: Reach::Via(NextHop::V4(Ipv4Addr::new(10, 0, 0, 1))),
            ipv6: Reach::Via(NextHop::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1))),
        },
    }
}

fn route(prefix: &str) -> Route {
    Route::new(prefix.parse().unwrap())
}

fn host_routes(count: u32) -> Vec<Route> {
    (0..count)
        .map(|n| Route::new(IpNet::from(std::net::IpAddr::from((0x0a00_0000 + n).to_be_bytes()))))
        .collect()
}

/// Flushes, and checks that every message is legal.
fn flushed(rib: &mut RibOut, egress: &Egress) -> Vec<Update> {
    let flush = rib.flush(egress);
    assert!(
        flush
            .messages
            .iter()
            .all(|message| message.len() <= egress.codec.max_message())
    );
    let decode = |message: &Bytes| egress.codec.decode_all(message).unwrap();
    let updates = flush.messages.iter().flat_map(decode).map(|message| match message {
        Message::Update(update) => update,
        other => panic!("{other:?}"),
    });
    updates.collect()
}

fn announced(updates: &[Update]) -> Vec<String> {
    updates
        .iter()
        .flat_map(Update::all_announced)
        .map(|prefix| prefix.to_string())
        .collect()
}

fn withdrawn(updates: &[Update]) -> Vec<String> {
    updates
        .iter()
        .flat_map(Update::all_withdrawn)
        .map(|prefix| prefix.to_string())
        .collect()
}

#[test] // BGP-58
fn fifteen_hundred_equal_routes_need_two_messages() {
    let mut rib = RibOut::default();
    rib.set_desired(&host_routes(1500));
    let updates = flushed(&mut rib, &egress());
    assert_eq!((updates.len(), announced(&updates).len()), (2, 1500));
    rib.set_desired(&[]);
    let updates = flushed(&mut rib, &egress());
    assert_eq!((updates.len(), withdrawn(&updates).len()), (2, 1500));
}

#[test] // BGP-58
fn extended_messages_need_one() {
    let mut egress = egress();
    egress.codec.extended_message = true;
    let mut rib = RibOut::default();
    rib.set_desired(&host_routes(1500));
    assert_eq!(flushed(&mut rib, &egress).len(), 1);
    rib.set_desired(&[]);
    assert_eq!(flushed(&mut rib, &egress).len(), 1);
}

#[test]
fn ten_thousand_routes_need_fewer_than_twenty_messages() {
    let mut rib = RibOut::default();
    rib.set_desired(&host_routes(10_000));
    assert_eq!(flushed(&mut rib, &egress()).len(), 13);
}

#[test] // BGP-59
fn changed_attributes_need_one_update_and_no_withdrawal() {
    let mut rib = RibOut::default();
    let mut routes = host_routes(3);
    rib.set_desired(&routes);
    flushed(&mut rib, &egress());
    routes[1].communities.insert(7);
    rib.set_desired(&routes);
    let updates = flushed(&mut rib, &egress());
    assert_eq!(
        (announced(&updates), withdrawn(&updates)),
        (vec!["10.0.0.1/32".to_owned()], vec![])
    );
    assert_eq!(updates.len(), 1);
}

#[test] // BGP-60
fn equal_set_sends_nothing() {
    let mut rib = RibOut::default();
    rib.set_desired(&host_routes(5));
    flushed(&mut rib, &egress());
    rib.set_desired(host_routes(5).iter().rev());
    assert_eq!(rib.flush(&egress()), Flush::default());
}

#[test] // BGP-18, BGP-21
fn routes_to_one_prefix_merge_whatever_their_order() {
    let mut one = route("10.0.0.1/32");
    one.local_pref = 100;
    one.communities.extend([3, 1]);
    let mut two = route("10.0.0.1/32");
    two.local_pref = 200;
    two.communities.extend([2, 3]);
    let internal = Egress {
        internal: true,
        ..egress()
    };
    for routes in [[&one, &two], [&two, &one]] {
        let mut rib = RibOut::default();
        rib.set_desired(routes);
        let updates = flushed(&mut rib, &internal);
        assert_eq!(updates.len(), 1);
        assert!(updates[0].attributes.contains(&Attribute::LocalPref(200)));
        assert!(updates[0].attributes.contains(&Attribute::Communities(vec![1, 2, 3])));
    }
}

#[test] // BGP-16
fn aggregate_stays_until_its_last_contribution_goes() {
    let mut rib = RibOut::default();
    rib.set_desired(&[route("10.0.0.7/24"), route("10.0.0.9/24")]);
    assert_eq!(announced(&flushed(&mut rib, &egress())), ["10.0.0.0/24"]);
    rib.set_desired(&[route("10.0.0.9/24")]);
    assert_eq!(flushed(&mut rib, &egress()), []);
    rib.set_desired(&[]);
    assert_eq!(withdrawn(&flushed(&mut rib, &egress())), ["10.0.0.0/24"]);
}

#[test] // BGP-14
fn withdrawals_go_before_announcements() {
    let mut rib = RibOut::default();
    rib.set_desired(&[route("10.0.0.9/32")]);
    flushed(&mut rib, &egress());
    rib.set_desired(&[route("10.0.0.1/32")]);
    let updates = flushed(&mut rib, &egress());
    assert_eq!(withdrawn(&updates[..1]), ["10.0.0.9/32"]);
    assert_eq!(announced(&updates[1..]), ["10.0.0.1/32"]);
}

#[test] // BGP-46
fn local_preference_goes_to_internal_peers_always_and_to_external_ones_never() {
    let mut rib = RibOut::default();
    rib.set_desired(&[route("10.0.0.1/32")]);
    let has_preference = |update: &Update| update.attributes.contains(&Attribute::LocalPref(0));
    assert!(!has_preference(&flushed(&mut rib, &egress())[0]));
    rib.reset();
    assert!(has_preference(
        &flushed(
            &mut rib,
            &Egress {
                internal: true,
                ..egress()
            }
        )[0]
    ));
}

#[test] // BGP-47, BGP-48
fn four_octet_asn_reaches_old_peers_as_trans_and_as4_path() {
    let mut rib = RibOut::default();
    let mut old = Egress {
        asn: 4_200_000_000,
        ..egress()
    };
    old.codec.as4 = false;
    rib.set_desired(&[route("10.0.0.1/32")]);
    let update = flushed(&mut rib, &old).remove(0);
    let path = |asn| crate::wire::AsPath::sequence([asn]);
    assert!(update.attributes.contains(&Attribute::AsPath(path(23456))));
    assert!(update.attributes.contains(&Attribute::As4Path(path(4_200_000_000))));
    rib.reset();
    let update = flushed(&mut rib, &Egress { asn: 65536, ..egress() }).remove(0);
    assert!(update.attributes.contains(&Attribute::AsPath(path(65536))));
    assert!(
        !update
            .attributes
            .iter()
            .any(|attribute| matches!(attribute, Attribute::As4Path(_)))
    );
}

#[test] // BGP-61
fn ipv6_routes_travel_in_multiprotocol_attributes_alone() {
    let mut rib = RibOut::default();
    rib.set_desired(&[route("2001:db8::1/128")]);
    let update = flushed(&mut rib, &egress()).remove(0);
    assert!(matches!(&update.attributes[0], Attribute::MpReach(reach) if reach.announced.len() == 1));
    assert!(
        !update
            .attributes
            .iter()
            .any(|attribute| matches!(attribute, Attribute::NextHop(_)))
    );
    rib.set_desired(&[]);
    let update = flushed(&mut rib, &egress()).remove(0);
    assert!(matches!(&update.attributes[..], [Attribute::MpUnreach(unreach)] if unreach.withdrawn.len() == 1));
}

#[test] // BGP-64
fn standard_and_large_communities_share_an_update() {
    let mut both = route("10.0.0.1/32");
    both.communities.insert(0xffff_ff02);
    let large = LargeCommunity {
        global: 1,
        data1: 2,
        data2: 3,
    };
    both.large_communities.insert(large);
    let mut rib = RibOut::default();
    rib.set_desired(&[both]);
    let update = flushed(&mut rib, &egress()).remove(0);
    assert!(update.attributes.contains(&Attribute::Communities(vec![0xffff_ff02])));
    assert!(update.attributes.contains(&Attribute::LargeCommunities(vec![large])));
}

#[test] // BGP-62
fn family_without_next_hop_is_reported_once_and_family_not_carried_never() {
    let mut rib = RibOut::default();
    rib.set_desired(&[route("2001:db8::1/128")]);
    let mut egress = egress();
    egress.next_hops.ipv6 = Reach::NotCarried;
    assert_eq!(rib.flush(&egress), Flush::default());
    egress.next_hops.ipv6 = Reach::Unknown;
    rib.reset();
    assert_eq!(rib.flush(&egress).unsendable, ["2001:db8::1/128".parse().unwrap()]);
    rib.set_desired(&[route("2001:db8::1/128")]);
    assert_eq!(rib.flush(&egress), Flush::default());
}

#[test] // BGP-24
fn attributes_beyond_a_message_harm_no_other_route() {
    let mut huge = route("10.0.0.1/32");
    huge.communities.extend(0..1100);
    let mut rib = RibOut::default();
    rib.set_desired(&[route("10.0.0.1/32"), route("10.0.0.2/32")]);
    flushed(&mut rib, &egress());
    rib.set_desired(&[huge, route("10.0.0.3/32")]);
    let flush = rib.flush(&egress());
    assert_eq!(flush.unsendable, ["10.0.0.1/32".parse().unwrap()]);
    let codec = egress().codec;
    let mut peer = BTreeSet::from(["10.0.0.1/32".to_owned(), "10.0.0.2/32".to_owned()]);
    for message in flush.messages {
        learn(&mut peer, &codec, &message);
    }
    assert_eq!(peer, BTreeSet::from(["10.0.0.3/32".to_owned()]));
}

#[test] // BGP-66
fn refresh_repeats_one_family() {
    let mut rib = RibOut::default();
    rib.set_desired(&[route("10.0.0.1/32"), route("2001:db8::1/128")]);
    flushed(&mut rib, &egress());
    rib.refresh(Family::IPV6_UNICAST);
    assert_eq!(announced(&flushed(&mut rib, &egress())), ["2001:db8::1/128"]);
}

fn learn(peer: &mut BTreeSet<String>, codec: &Codec, message: &Bytes) {
    for message in codec.decode_all(message).unwrap() {
        let Message::Update(update) = message else { panic!() };
        let gone: Vec<_> = update.all_withdrawn().map(|prefix| prefix.to_string()).collect();
        peer.retain(|prefix| !gone.contains(prefix));
        peer.extend(update.all_announced().map(|prefix| prefix.to_string()));
    }
}

fn route_sets() -> impl Strategy<Value = Vec<Vec<(u8, bool, u8)>>> {
    prop::collection::vec(prop::collection::vec((any::<u8>(), any::<bool>(), 0..3u8), 0..40), 1..8)
}

proptest! {
    #[test]
    fn the_peer_knows_what_is_desired_after_every_flush(sets in route_sets()) {
        let (mut rib, mut peer, egress) = (RibOut::default(), BTreeSet::new(), egress());
        for set in sets {
            let routes: Vec<_> = set.into_iter().map(|(host, v6, community)| {
                let text = if v6 { format!("2001:db8::{host:x}/128") } else { format!("10.0.0.{host}/32") };
                let mut route = route(&text);
                route.communities.insert(community.into());
                route
            }).collect();
            rib.set_desired(&routes);
            for message in rib.flush(&egress).messages {
                learn(&mut peer, &egress.codec, &message);
            }
            let desired: BTreeSet<_> = routes.iter().map(|route| route.prefix.to_string()).collect();
            prop_assert_eq!(&peer, &desired);
            prop_assert_eq!(rib.advertised(), desired.len());
        }
    }
}
