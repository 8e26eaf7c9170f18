//! Our messages read by another implementation, NetGauze's `netgauze-bgp-pkt`, and its messages read by us.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netgauze_bgp_pkt::{
    BgpMessage,
    capabilities::BgpCapability,
    nlri::{Ipv4UnicastAddress, Ipv6UnicastAddress},
    open::BgpOpenMessage,
    path_attribute as theirs,
    path_attribute::PathAttributeValue as Value,
    update::BgpUpdateMessage,
    wire::deserializer::BgpParsingContext,
};
use netgauze_parse_utils::{WritablePdu, reader::SliceReader, traits::ParseFromWithOneInput};
use proptest::prelude::*;

use super::*;
use crate::LargeCommunity;

fn parse(codec: Codec, bytes: &[u8]) -> Result<BgpMessage, String> {
    let mut context = BgpParsingContext::asn2_default();
    context.set_asn4(codec.as4);
    BgpMessage::parse(&mut SliceReader::new(bytes), &mut context).map_err(|error| error.to_string())
}

fn write(message: &BgpMessage) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.write(&mut bytes).unwrap();
    bytes
}

/// Puts a message of theirs into our words; `None` if there is something in it for which we have none.
fn translate(message: &BgpMessage) -> Option<Message> {
    match message {
        BgpMessage::Open(message) => open(message).map(Message::Open),
        BgpMessage::Update(message) => update(message).map(Message::Update),
        BgpMessage::KeepAlive => Some(Message::Keepalive),
        BgpMessage::Notification(_) | BgpMessage::RouteRefresh(_) => None,
    }
}

fn open(message: &BgpOpenMessage) -> Option<Open> {
    Some(Open {
        two_octet_asn: message.my_as(),
        hold_time: message.hold_time(),
        router_id: message.bgp_id(),
        capabilities: message
            .capabilities()
            .into_iter()
            .map(capability)
            .collect::<Option<_>>()?,
    })
}

fn capability(capability: &BgpCapability) -> Option<Capability> {
    Some(match capability {
        BgpCapability::MultiProtocolExtensions(family) => {
            let family = family.address_type();
            Capability::Multiprotocol(Family {
                afi: family.address_family().into(),
                safi: family.subsequent_address_family().into(),
            })
        }
        BgpCapability::RouteRefresh => Capability::RouteRefresh,
        BgpCapability::ExtendedMessage => Capability::ExtendedMessage,
        BgpCapability::FourOctetAs(asn) => Capability::FourOctetAsn(asn.asn4()),
        BgpCapability::ExtendedNextHopEncoding(list) => {
            let triples = list.encodings().iter().map(|triple| ExtendedNextHop {
                family: Family {
                    afi: triple.address_type().address_family().into(),
                    safi: triple.address_type().subsequent_address_family().into(),
                },
                next_hop_afi: triple.next_hop_afi().into(),
            });
            Capability::ExtendedNextHop(triples.collect())
        }
        BgpCapability::Unrecognized(other) => Capability::Unknown {
            code: *other.code(),
            value: other.value().to_vec(),
        },
        _ => return None,
    })
}

fn update(message: &BgpUpdateMessage) -> Option<Update> {
    Some(Update {
        withdrawn: ipv4(message.withdraw_routes()),
        attributes: message.path_attributes().iter().map(attribute).collect::<Option<_>>()?,
        announced: ipv4(message.nlri()),
    })
}

fn ipv4(prefixes: &[Ipv4UnicastAddress]) -> Vec<Ipv4Net> {
    prefixes
        .iter()
        .map(|prefix| prefix.network().address().trunc())
        .collect()
}

fn ipv4_nets(prefixes: &[Ipv4UnicastAddress]) -> Vec<IpNet> {
    ipv4(prefixes).into_iter().map(IpNet::from).collect()
}

fn ipv6_nets(prefixes: &[Ipv6UnicastAddress]) -> Vec<IpNet> {
    prefixes
        .iter()
        .map(|prefix| prefix.network().address().trunc().into())
        .collect()
}

fn attribute(attribute: &theirs::PathAttribute) -> Option<Attribute> {
    Some(match attribute.value() {
        Value::Origin(theirs::Origin::IGP) => Attribute::Origin(Origin::Igp),
        Value::Origin(theirs::Origin::EGP) => Attribute::Origin(Origin::Egp),
        Value::Origin(theirs::Origin::Incomplete) => Attribute::Origin(Origin::Incomplete),
        Value::AsPath(theirs::AsPath::As2PathSegments(segments)) => Attribute::AsPath(AsPath(
            segments
                .iter()
                .map(|segment| Segment {
                    kind: kind(segment.segment_type()),
                    asns: segment.as_numbers().iter().map(|asn| u32::from(*asn)).collect(),
                })
                .collect(),
        )),
        Value::AsPath(theirs::AsPath::As4PathSegments(segments)) => Attribute::AsPath(path(segments)),
        Value::As4Path(path4) => Attribute::As4Path(path(path4.segments())),
        Value::NextHop(next_hop) => Attribute::NextHop(next_hop.next_hop()),
        Value::MultiExitDiscriminator(med) => Attribute::MultiExitDisc(med.metric()),
        Value::LocalPreference(preference) => Attribute::LocalPref(preference.metric()),
        Value::AtomicAggregate(_) => Attribute::AtomicAggregate,
        Value::Aggregator(theirs::Aggregator::As2Aggregator(by)) => Attribute::Aggregator(Aggregator {
            asn: (*by.asn()).into(),
            router_id: by.origin(),
        }),
        Value::Aggregator(theirs::Aggregator::As4Aggregator(by)) => Attribute::Aggregator(Aggregator {
            asn: *by.asn(),
            router_id: by.origin(),
        }),
        Value::Communities(list) => Attribute::Communities(
            list.communities()
                .iter()
                .map(netgauze_bgp_pkt::community::Community::value)
                .collect(),
        ),
        Value::LargeCommunities(list) => {
            let large = list.communities().iter().map(|value| LargeCommunity {
                global: value.global_admin(),
                data1: value.local_data1(),
                data2: value.local_data2(),
            });
            Attribute::LargeCommunities(large.collect())
        }
        Value::MpReach(announced) => Attribute::MpReach(reach(announced)?),
        Value::MpUnreach(withdrawn) => Attribute::MpUnreach(unreach(withdrawn)?),
        Value::UnknownAttribute(unknown) => Attribute::Unknown {
            flags: u8::from(attribute.optional()) << 7
                | u8::from(attribute.transitive()) << 6
                | u8::from(attribute.partial()) << 5,
            code: unknown.code(),
            value: unknown.value().to_vec(),
        },
        _ => return None,
    })
}

fn path(segments: &[theirs::As4PathSegment]) -> AsPath {
    let segments = segments.iter().map(|segment| Segment {
        kind: kind(segment.segment_type()),
        asns: segment.as_numbers().to_vec(),
    });
    AsPath(segments.collect())
}

fn kind(kind: theirs::AsPathSegmentType) -> SegmentKind {
    match kind {
        theirs::AsPathSegmentType::AsSet => SegmentKind::Set,
        theirs::AsPathSegmentType::AsSequence => SegmentKind::Sequence,
    }
}

fn reach(reach: &theirs::MpReach) -> Option<MpReach> {
    let pair = |global, link_local: &Option<_>| match link_local {
        None => NextHop::V6(global),
        Some(link_local) => NextHop::V6Pair(global, *link_local),
    };
    Some(match reach {
        theirs::MpReach::Ipv4Unicast {
            next_hop,
            next_hop_local,
            nlri,
        } => MpReach {
            family: Family::IPV4_UNICAST,
            next_hop: match next_hop {
                IpAddr::V4(next_hop) => NextHop::V4(*next_hop),
                IpAddr::V6(global) => pair(*global, next_hop_local),
            },
            announced: ipv4_nets(nlri),
        },
        theirs::MpReach::Ipv6Unicast {
            next_hop_global,
            next_hop_local,
            nlri,
        } => MpReach {
            family: Family::IPV6_UNICAST,
            next_hop: pair(*next_hop_global, next_hop_local),
            announced: ipv6_nets(nlri),
        },
        _ => return None,
    })
}

fn unreach(unreach: &theirs::MpUnreach) -> Option<MpUnreach> {
    let (family, withdrawn) = match unreach {
        theirs::MpUnreach::Ipv4Unicast { nlri } => (Family::IPV4_UNICAST, ipv4_nets(nlri)),
        theirs::MpUnreach::Ipv6Unicast { nlri } => (Family::IPV6_UNICAST, ipv6_nets(nlri)),
        _ => return None,
    };
    Some(MpUnreach { family, withdrawn })
}

fn codecs() -> impl Strategy<Value = Codec> {
    any::<bool>().prop_map(|as4| Codec {
        as4,
        ipv6: true,
        extended_next_hop: true,
        ..Codec::default()
    })
}

/// Unicast prefixes: NetGauze refuses others, which we neither announce nor keep.
fn prefixes4() -> impl Strategy<Value = Vec<Ipv4Net>> {
    let prefix = (0x0100_0000..0xe000_0000_u32, 3..=32_u8);
    let net = |(address, length): (u32, u8)| Ipv4Net::new(address.into(), length).unwrap().trunc();
    prop::collection::vec(prefix.prop_map(net), 0..40)
}

fn prefixes6() -> impl Strategy<Value = Vec<IpNet>> {
    let prefix = (0x2000_u128 << 112..0x4000_u128 << 112, 3..=128_u8);
    let net = |(address, length): (u128, u8)| Ipv6Net::new(address.into(), length).unwrap().trunc().into();
    prop::collection::vec(prefix.prop_map(net), 0..20)
}

/// Paths of a codec that has four octets for a number, or two.
fn paths(as4: bool) -> impl Strategy<Value = AsPath> {
    let kind = prop::sample::select(vec![SegmentKind::Set, SegmentKind::Sequence]);
    let asn = if as4 { 1..=u32::MAX } else { 1..=65535 };
    let segment = (kind, prop::collection::vec(asn, 1..30)).prop_map(|(kind, asns)| Segment { kind, asns });
    prop::collection::vec(segment, 0..4).prop_map(AsPath)
}

fn next_hops() -> impl Strategy<Value = NextHop> {
    let global = || (0x2000_u128 << 112..0x4000_u128 << 112).prop_map(std::net::Ipv6Addr::from);
    let link_local = any::<u64>().prop_map(|low| std::net::Ipv6Addr::from(0xfe80_u128 << 112 | u128::from(low)));
    prop_oneof![
        global().prop_map(NextHop::V6),
        (global(), link_local).prop_map(|(global, link_local)| NextHop::V6Pair(global, link_local)),
    ]
}

fn attributes(as4: bool) -> impl Strategy<Value = Vec<Attribute>> {
    let large = (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(global, data1, data2)| LargeCommunity {
        global,
        data1,
        data2,
    });
    let origins = vec![Origin::Igp, Origin::Egp, Origin::Incomplete];
    let id = 0x0100_0000..0xe000_0000_u32;
    let asn = if as4 { 1..=u32::MAX } else { 1..=65535 };
    let all = (
        prop::sample::select(origins).prop_map(Attribute::Origin),
        paths(as4).prop_map(Attribute::AsPath),
        id.clone().prop_map(|address| Attribute::NextHop(address.into())),
        any::<u32>().prop_map(Attribute::MultiExitDisc),
        any::<u32>().prop_map(Attribute::LocalPref),
        (asn, id).prop_map(|(asn, id)| {
            Attribute::Aggregator(Aggregator {
                asn,
                router_id: id.into(),
            })
        }),
        prop::collection::vec(any::<u32>(), 1..80).prop_map(Attribute::Communities),
        prop::collection::vec(large, 1..30).prop_map(Attribute::LargeCommunities),
        paths(true).prop_map(Attribute::As4Path),
        (next_hops(), prefixes6()).prop_map(|(next_hop, announced)| {
            Attribute::MpReach(MpReach {
                family: Family::IPV6_UNICAST,
                next_hop,
                announced,
            })
        }),
        (next_hops(), prefixes4()).prop_map(|(next_hop, announced)| {
            Attribute::MpReach(MpReach {
                family: Family::IPV4_UNICAST,
                next_hop,
                announced: announced.into_iter().map(IpNet::from).collect(),
            })
        }),
    );
    let more = prefixes6().prop_map(|withdrawn| {
        Attribute::MpUnreach(MpUnreach {
            family: Family::IPV6_UNICAST,
            withdrawn,
        })
    });
    (all, more, any::<u16>()).prop_map(|(all, unreach, which)| {
        let (origin, path, next_hop, med, preference, by, communities, large, path4, reach6, reach4) = all;
        let reach = if which & 1 == 0 { reach4 } else { reach6 };
        let list = [
            reach,
            origin,
            path,
            next_hop,
            med,
            preference,
            Attribute::AtomicAggregate,
            by,
            communities,
            unreach,
            path4,
            large,
        ];
        let kept = list
            .into_iter()
            .enumerate()
            .filter(|(index, _)| which >> (index + 1) & 1 == 1);
        kept.map(|(_, attribute)| attribute).collect()
    })
}

fn updates(as4: bool) -> impl Strategy<Value = Message> {
    (prefixes4(), attributes(as4), prefixes4()).prop_map(|(withdrawn, attributes, announced)| {
        Message::Update(Update {
            withdrawn,
            attributes,
            announced,
        })
    })
}

fn opens() -> impl Strategy<Value = Message> {
    let capability = prop_oneof![
        prop::sample::select(vec![Family::IPV4_UNICAST, Family::IPV6_UNICAST]).prop_map(Capability::Multiprotocol),
        Just(Capability::RouteRefresh),
        Just(Capability::ExtendedMessage),
        Just(Capability::ExtendedNextHop(vec![ExtendedNextHop::IPV4_OVER_IPV6])),
        any::<u32>().prop_map(Capability::FourOctetAsn),
        (74..=127_u8, prop::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(code, value)| Capability::Unknown { code, value }),
    ];
    let hold = any::<u16>().prop_filter("one and two seconds are refused", |hold| !matches!(hold, 1 | 2));
    let id = 0x0100_0000..0xe000_0000_u32;
    // NetGauze does not know RFC 9072, so the parameters must be short.
    (any::<u32>(), hold, id, prop::collection::vec(capability, 0..8))
        .prop_map(|(asn, hold, id, capabilities)| Message::Open(Open::new(asn, hold, id.into(), capabilities)))
}

fn messages() -> impl Strategy<Value = (Codec, Message)> {
    codecs().prop_flat_map(|codec| (Just(codec), prop_oneof![4 => updates(codec.as4), 1 => opens()]))
}

// What NetGauze and we had not agreed on.
#[test]
fn flags_that_mean_nothing_are_ignored() {
    let bytes = |flags: u8| [&[0xff; 16][..], &[0, 27, 2, 0, 0, 0, 4, flags, 99, 1, 7]].concat();
    let read = Codec::default().decode_all(&bytes(0x8f & !0x10)).unwrap();
    assert_eq!(read, Codec::default().decode_all(&bytes(0x80)).unwrap());
}

/// Tells whether a part of a message was taken for malformed, as NetGauze does less often: so for a SAFI of sixteen bits
/// it takes the lower eight.
fn sets_something_aside(message: &Message) -> bool {
    match message {
        Message::Update(update) => update.treat_as_withdraw(),
        Message::Open(open) => open.capabilities.iter().any(|capability| {
            matches!(
                capability,
                Capability::Unknown {
                    code: 1 | 2 | 5 | 6 | 65,
                    ..
                }
            )
        }),
        _ => false,
    }
}

proptest! {
    #[test]
    fn another_implementation_reads_what_we_write((codec, message) in messages()) {
        let bytes = codec.encode(&message).unwrap();
        let read = parse(codec, &bytes).unwrap();
        prop_assert_eq!(translate(&read), Some(message));
    }

    #[test]
    fn we_read_what_another_implementation_writes((codec, message) in messages()) {
        let read = parse(codec, &codec.encode(&message).unwrap()).unwrap();
        prop_assert_eq!(codec.decode_all(&write(&read)).unwrap(), [message]);
    }

    // BGP-80
    #[test]
    fn damage_makes_nobody_panic_and_means_the_same_to_both(
        (codec, message) in messages(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
    ) {
        let mut bytes = codec.encode(&message).unwrap().to_vec();
        for (at, value) in damage {
            // The header stays.
            let at = 19 + at.index(bytes.len() - 19);
            bytes[at] = value;
        }
        let (Ok(theirs), Ok(ours)) = (parse(codec, &bytes), codec.decode_all(&bytes)) else { return Ok(()) };
        if let Some(theirs) = translate(&theirs) && !ours.iter().any(sets_something_aside) {
            prop_assert_eq!(ours, [theirs]);
        }
    }
}
