use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use rstest::rstest;

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

fn prefix(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn host(n: u32) -> IpNet {
    std::net::IpAddr::from((0x0a00_0000 + n).to_be_bytes()).into()
}

fn communities(values: impl IntoIterator<Item = u32>) -> Attributes {
    Attributes {
        communities: values.into_iter().collect(),
        ..Attributes::default()
    }
}

/// A RIB that wants these prefixes, with equal attributes.
fn wanting(prefixes: impl IntoIterator<Item = IpNet>) -> RibOut {
    let (mut rib, attributes) = (RibOut::default(), Arc::default());
    for prefix in prefixes {
        rib.change(prefix, Some(Arc::clone(&attributes)));
    }
    rib
}

fn withdraw_all(rib: &mut RibOut) {
    let known: Vec<_> = rib.entries.keys().copied().collect();
    known.into_iter().for_each(|prefix| rib.change(prefix, None));
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
    let mut rib = wanting((0..1500).map(host));
    let updates = flushed(&mut rib, &egress());
    assert_eq!((updates.len(), announced(&updates).len()), (2, 1500));
    withdraw_all(&mut rib);
    let updates = flushed(&mut rib, &egress());
    assert_eq!((updates.len(), withdrawn(&updates).len()), (2, 1500));
    assert!(rib.entries.is_empty());
}

#[test] // BGP-58
fn extended_messages_need_one() {
    let mut egress = egress();
    egress.codec.extended_message = true;
    let mut rib = wanting((0..1500).map(host));
    assert_eq!(flushed(&mut rib, &egress).len(), 1);
    withdraw_all(&mut rib);
    assert_eq!(flushed(&mut rib, &egress).len(), 1);
}

#[test]
fn ten_thousand_routes_need_fewer_than_twenty_messages() {
    let mut rib = wanting((0..10_000).map(host));
    assert_eq!(flushed(&mut rib, &egress()).len(), 13);
}

#[test] // BGP-59
fn changed_attributes_need_one_update_and_no_withdrawal() {
    let mut rib = wanting((0..3).map(host));
    flushed(&mut rib, &egress());
    rib.change(host(1), Some(communities([7]).into()));
    let updates = flushed(&mut rib, &egress());
    assert_eq!(
        (announced(&updates), withdrawn(&updates)),
        (vec!["10.0.0.1/32".to_owned()], vec![])
    );
    assert_eq!(updates.len(), 1);
}

#[test] // BGP-60
fn what_the_peer_knows_already_is_not_sent() {
    let mut rib = wanting((0..5).map(host));
    flushed(&mut rib, &egress());
    rib.change(host(1), Some(Arc::default()));
    rib.change(host(2), None);
    rib.change(host(2), Some(Arc::default()));
    rib.change(host(9), Some(Arc::default()));
    rib.change(host(9), None);
    assert_eq!(rib.flush(&egress()), Flush::default());
    assert_eq!((rib.desired(Family::IPV4_UNICAST), rib.advertised()), (5, 5));
}

#[test]
fn a_flush_looks_only_at_what_changed() {
    let mut rib = wanting((0..1000).map(host));
    flushed(&mut rib, &egress());
    rib.change(host(1), Some(communities([7]).into()));
    rib.change(host(2), Some(Arc::default()));
    rib.change(host(3), None);
    assert_eq!(rib.pending, Some([host(1), host(3)].into()));
}

#[test] // BGP-14
fn withdrawals_go_before_announcements() {
    let mut rib = wanting([host(9)]);
    flushed(&mut rib, &egress());
    rib.change(host(1), Some(Arc::default()));
    rib.change(host(9), None);
    let updates = flushed(&mut rib, &egress());
    assert_eq!(withdrawn(&updates[..1]), ["10.0.0.9/32"]);
    assert_eq!(announced(&updates[1..]), ["10.0.0.1/32"]);
}

#[test] // BGP-46
fn local_preference_goes_to_internal_peers_always_and_to_external_ones_never() {
    let mut rib = wanting([host(1)]);
    let has_preference = |update: &Update| update.attributes.contains(&Attribute::LocalPref(0));
    assert!(!has_preference(&flushed(&mut rib, &egress())[0]));
    rib.reset();
    let internal = Egress {
        internal: true,
        ..egress()
    };
    assert!(has_preference(&flushed(&mut rib, &internal)[0]));
}

#[test] // BGP-47, BGP-48
fn four_octet_asn_reaches_old_peers_as_trans_and_as4_path() {
    let mut rib = wanting([host(1)]);
    let mut old = Egress {
        asn: 4_200_000_000,
        ..egress()
    };
    old.codec.as4 = false;
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
    let mut rib = wanting([prefix("2001:db8::1/128")]);
    let update = flushed(&mut rib, &egress()).remove(0);
    assert!(matches!(&update.attributes[0], Attribute::MpReach(reach) if reach.announced.len() == 1));
    assert!(
        !update
            .attributes
            .iter()
            .any(|attribute| matches!(attribute, Attribute::NextHop(_)))
    );
    withdraw_all(&mut rib);
    let update = flushed(&mut rib, &egress()).remove(0);
    assert!(matches!(&update.attributes[..], [Attribute::MpUnreach(unreach)] if unreach.withdrawn.len() == 1));
}

#[test] // BGP-64
fn standard_and_large_communities_share_an_update() {
    let large = LargeCommunity {
        global: 1,
        data1: 2,
        data2: 3,
    };
    let both = Attributes {
        large_communities: [large].into(),
        ..communities([0xffff_ff02])
    };
    let mut rib = RibOut::default();
    rib.change(host(1), Some(both.into()));
    let update = flushed(&mut rib, &egress()).remove(0);
    assert!(update.attributes.contains(&Attribute::Communities(vec![0xffff_ff02])));
    assert!(update.attributes.contains(&Attribute::LargeCommunities(vec![large])));
}

#[rstest] // BGP-62
#[case(Reach::NotWanted)]
#[case(Reach::NotOffered)]
#[case(Reach::NoNextHop)]
fn family_that_is_not_carried_waits_for_a_session_that_carries_it(#[case] reach: Reach) {
    let mut rib = wanting([prefix("2001:db8::1/128")]);
    let mut without = egress();
    without.next_hops.ipv6 = reach;
    assert_eq!(rib.flush(&without), Flush::default());
    rib.change(prefix("2001:db8::2/128"), Some(Arc::default()));
    assert_eq!(rib.flush(&without), Flush::default());
    assert_eq!((rib.desired(Family::IPV6_UNICAST), rib.advertised()), (2, 0));
    rib.reset();
    assert_eq!(announced(&flushed(&mut rib, &egress())).len(), 2);
}

#[test] // BGP-24
fn attributes_beyond_a_message_harm_no_other_route() {
    let mut rib = wanting([host(1), host(2)]);
    flushed(&mut rib, &egress());
    rib.change(host(1), Some(communities(0..1100).into()));
    rib.change(host(2), None);
    rib.change(host(3), Some(Arc::default()));
    let flush = rib.flush(&egress());
    assert_eq!(flush.oversized, [host(1)]);
    let mut peer = BTreeMap::from([host(1), host(2)].map(|prefix| (prefix, vec![])));
    flush.messages.iter().for_each(|message| learn(&mut peer, message));
    assert_eq!(peer.into_keys().collect::<Vec<_>>(), [host(3)]);
    // It is told once for each time that it starts.
    rib.change(host(1), Some(communities(0..1101).into()));
    assert_eq!(rib.flush(&egress()), Flush::default());
    assert_eq!(rib.oversized(), 1);
    rib.change(host(1), Some(Arc::default()));
    assert_eq!(announced(&flushed(&mut rib, &egress())), ["10.0.0.1/32"]);
    assert_eq!(rib.oversized(), 0);
}

#[test] // BGP-25
fn what_could_not_be_sent_leaves_nothing_behind() {
    let mut rib = wanting([host(1)]);
    rib.change(host(2), Some(communities(0..1100).into()));
    assert_eq!(rib.flush(&egress()).oversized, [host(2)]);
    rib.change(host(2), None);
    assert_eq!(rib.flush(&egress()), Flush::default(), "it was never announced");
    assert_eq!((rib.desired(Family::IPV4_UNICAST), rib.oversized()), (1, 0));
    rib.reset();
    assert_eq!(announced(&flushed(&mut rib, &egress())), ["10.0.0.1/32"]);
}

#[test] // BGP-66
fn refresh_repeats_one_family() {
    let mut rib = wanting([host(1), prefix("2001:db8::1/128")]);
    flushed(&mut rib, &egress());
    rib.refresh(Family::IPV6_UNICAST);
    assert_eq!(announced(&flushed(&mut rib, &egress())), ["2001:db8::1/128"]);
    assert_eq!(flushed(&mut rib, &egress()), []);
}

#[test]
fn drained_rib_withdraws_everything_until_it_is_resumed() {
    let mut rib = wanting((0..3).map(host));
    flushed(&mut rib, &egress());
    rib.set_posture(Posture::Withdraw);
    assert_eq!(withdrawn(&flushed(&mut rib, &egress())).len(), 3);
    rib.change(host(7), Some(Arc::default()));
    assert_eq!(flushed(&mut rib, &egress()), []);
    assert_eq!((rib.desired(Family::IPV4_UNICAST), rib.advertised()), (0, 0));
    rib.set_posture(Posture::Announce);
    assert_eq!(announced(&flushed(&mut rib, &egress())).len(), 4);
}

/// What a receiver knows: prefixes with their communities.
type Known = BTreeMap<IpNet, Vec<u32>>;

fn learn(peer: &mut Known, message: &Bytes) {
    for message in egress().codec.decode_all(message).unwrap() {
        let Message::Update(update) = message else { panic!() };
        update.all_withdrawn().for_each(|prefix| drop(peer.remove(&prefix)));
        let communities = update.attributes.iter().find_map(|attribute| match attribute {
            Attribute::Communities(values) => Some(values.clone()),
            _ => None,
        });
        let communities = communities.unwrap_or_default();
        peer.extend(update.all_announced().map(|prefix| (prefix, communities.clone())));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Change(u8, bool, Option<u16>),
    Flush,
    Reset,
    Refresh(bool),
    Drain(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // 1100 communities do not fit a message.
    let count = prop_oneof![4 => (0..3u16).prop_map(Some), 1 => Just(Some(1100)), 3 => Just(None)];
    let step = prop_oneof![
        12 => (0..12u8, any::<bool>(), count).prop_map(|(host, v6, count)| Step::Change(host, v6, count)),
        4 => Just(Step::Flush),
        1 => Just(Step::Reset),
        1 => any::<bool>().prop_map(Step::Refresh),
        1 => any::<bool>().prop_map(Step::Drain),
    ];
    prop::collection::vec(step, 0..80)
}

fn any_prefix(host: u8, v6: bool) -> IpNet {
    prefix(&if v6 {
        format!("2001:db8::{host:x}/128")
    } else {
        format!("10.0.0.{host}/32")
    })
}

proptest! {
    #[test]
    fn the_peer_knows_what_is_desired_after_every_flush(steps in steps()) {
        let (mut rib, mut peer, mut desired, mut drained) = (RibOut::default(), Known::new(), Known::new(), false);
        for step in steps.into_iter().chain([Step::Flush]) {
            match step {
                Step::Change(host, v6, count) => {
                    let prefix = any_prefix(host, v6);
                    let values = count.map(|count| (0..u32::from(count)).collect::<Vec<_>>());
                    rib.change(prefix, values.clone().map(|values| communities(values).into()));
                    match values {
                        Some(values) => drop(desired.insert(prefix, values)),
                        None => drop(desired.remove(&prefix)),
                    }
                }
                Step::Reset => {
                    rib.reset();
                    peer.clear();
                }
                Step::Refresh(v6) => rib.refresh(if v6 { Family::IPV6_UNICAST } else { Family::IPV4_UNICAST }),
                Step::Drain(on) => {
                    rib.set_posture(if on { Posture::Withdraw } else { Posture::Announce });
                    drained = on;
                }
                Step::Flush => {
                    rib.flush(&egress()).messages.iter().for_each(|message| learn(&mut peer, message));
                    let fits = |(_, values): &(&IpNet, &Vec<u32>)| !drained && values.len() < 1000;
                    let sendable: Known = desired.iter().filter(fits).map(|(p, v)| (*p, v.clone())).collect();
                    prop_assert_eq!(&peer, &sendable);
                    prop_assert_eq!(rib.advertised(), sendable.len());
                    prop_assert_eq!(rib.routes().count(), sendable.len());
                    prop_assert!(rib.pending.as_ref().is_some_and(BTreeSet::is_empty) && rib.repeat.is_empty());
                    let counted = rib.desired(Family::IPV4_UNICAST) + rib.desired(Family::IPV6_UNICAST);
                    prop_assert_eq!(counted, if drained { 0 } else { desired.len() });
                    prop_assert_eq!(rib.entries.len(), desired.len());
                }
            }
        }
    }
}
