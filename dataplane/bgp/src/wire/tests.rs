//! Bytes and values that must agree both ways, and bytes that must be refused.

use std::net::Ipv4Addr;

use bytes::Bytes;
use hex_literal::hex;
use ipnet::IpNet;
use proptest::prelude::*;
use rstest::rstest;

use super::{notification::Code, *};
use crate::LargeCommunity;

fn framed(message: &[u8]) -> Vec<u8> {
    [&[0xff; 16][..], message].concat()
}

/// Checks that value and bytes are the same thing, whichever one starts from.
fn agree(codec: Codec, message: &Message, bytes: &[u8]) {
    let bytes = framed(bytes);
    assert_eq!(codec.encode(message).unwrap(), bytes, "encoding {message:?}");
    assert_eq!(
        codec.decode_all(&bytes).unwrap(),
        std::slice::from_ref(message),
        "decoding"
    );
}

fn as4() -> Codec {
    Codec {
        as4: true,
        ipv6: true,
        ..Codec::default()
    }
}

fn open(body: &[u8]) -> Result<Message, DecodeError> {
    Codec::default().decode(&Frame {
        kind: MessageType::Open,
        body: Bytes::copy_from_slice(body),
    })
}

fn upstream_capabilities(asn: u32) -> Vec<Capability> {
    vec![
        Capability::Multiprotocol(Family::IPV4_UNICAST),
        Capability::Multiprotocol(Family::IPV6_UNICAST),
        Capability::FourOctetAsn(asn),
    ]
}

fn update(attributes: Vec<Attribute>, announced: &str) -> Message {
    Message::Update(Update {
        withdrawn: vec![],
        attributes,
        announced: vec![announced.parse().unwrap()],
    })
}

#[test] // BGP-44
fn open_has_the_bytes_of_upstream() {
    let open = Open::new(64500, 9, Ipv4Addr::new(10, 0, 0, 1), upstream_capabilities(64500));
    let bytes = hex!("0031 01 04 fbf4 0009 0a000001 14 0212 010400010001 010400020001 41040000fbf4");
    agree(Codec::default(), &Message::Open(open), &bytes);
}

#[test] // BGP-45
fn update_to_an_external_peer_has_the_bytes_of_upstream() {
    let attributes = vec![
        Attribute::Origin(Origin::Igp),
        Attribute::AsPath(AsPath::sequence([64500])),
        Attribute::NextHop(Ipv4Addr::new(10, 0, 0, 1)),
        Attribute::Communities(vec![64500 << 16 | 7]),
    ];
    let bytes = hex!("0037 02 0000 001b 40010100 4002060201 0000fbf4 4003040a000001 c00804fbf40007 20c0a80000");
    agree(as4(), &update(attributes.clone(), "192.168.0.0/32"), &bytes);
    let two_octets = hex!("0035 02 0000 0019 40010100 4002040201 fbf4 4003040a000001 c00804fbf40007 20c0a80000");
    agree(Codec::default(), &update(attributes, "192.168.0.0/32"), &two_octets);
}

#[test] // BGP-45
fn update_to_an_internal_peer_has_the_bytes_of_upstream() {
    let attributes = vec![
        Attribute::Origin(Origin::Igp),
        Attribute::AsPath(AsPath::default()),
        Attribute::NextHop(Ipv4Addr::new(10, 0, 0, 1)),
        Attribute::LocalPref(100),
    ];
    let bytes = hex!("0031 02 0000 0015 40010100 400200 4003040a000001 40050400000064 20c0a80000");
    agree(as4(), &update(attributes, "192.168.0.0/32"), &bytes);
}

#[test]
fn withdrawal_keepalive_and_end_of_rib_have_the_bytes_of_upstream() {
    let withdrawn = ["192.168.0.1/32", "192.168.0.2/32", "192.168.0.0/32"].map(|prefix| prefix.parse().unwrap());
    let update = Update {
        withdrawn: withdrawn.to_vec(),
        ..Update::default()
    };
    agree(
        as4(),
        &Message::Update(update),
        &hex!("0026 02 000f 20c0a80001 20c0a80002 20c0a80000 0000"),
    );
    agree(as4(), &Message::Keepalive, &hex!("0013 04"));
    let ipv4 = Update::end_of_rib(Family::IPV4_UNICAST);
    assert_eq!(ipv4.ends_rib_of(), Some(Family::IPV4_UNICAST));
    agree(as4(), &Message::Update(ipv4), &hex!("0017 02 0000 0000"));
    let ipv6 = Update::end_of_rib(Family::IPV6_UNICAST);
    assert_eq!(ipv6.ends_rib_of(), Some(Family::IPV6_UNICAST));
    agree(as4(), &Message::Update(ipv6), &hex!("001d 02 0000 0006 800f03 000201"));
}

#[test] // BGP-55
fn open_of_frr_with_one_capability_per_parameter_is_understood() {
    let bytes = hex!(
        "04 fbf5 00b4 0a000002 41 0206 010400010001 0202 8000 0202 0200 0202 4600 0206 41040000fbf5 0202 0600"
        "0206 450400010101 0206 490402766d00 0204 4002c078 0209 470700010180000000"
    );
    let Message::Open(open) = open(&bytes).unwrap() else {
        panic!()
    };
    assert_eq!(
        (open.asn(), open.hold_time, open.router_id),
        (64501, 180, Ipv4Addr::new(10, 0, 0, 2))
    );
    assert_eq!(open.capabilities.len(), 10);
    let codec = Codec::negotiate(&upstream_capabilities(64500), &open.capabilities);
    assert_eq!(
        codec,
        Codec {
            as4: true,
            ipv4: true,
            ..Codec::default()
        }
    );
}

#[test] // BGP-56
fn extended_optional_parameters_are_understood_and_written_when_needed() {
    let bytes = hex!("04 fbf4 0009 0a000001 ff ff 0009 02 0006 41040000fbf4");
    let Message::Open(parsed) = open(&bytes).unwrap() else {
        panic!()
    };
    assert_eq!(parsed.four_octet_asn(), Some(64500));
    let many = vec![
        Capability::Unknown {
            code: 200,
            value: vec![7; 100]
        };
        5
    ];
    let message = Message::Open(Open::new(64500, 90, Ipv4Addr::new(1, 1, 1, 1), many));
    let encoded = Codec::default().encode(&message).unwrap();
    assert_eq!(encoded[28..30], [255, 255]);
    assert_eq!(Codec::default().decode_all(&encoded).unwrap(), [message]);
}

#[rstest] // BGP-53, BGP-55
#[case::version(&hex!("03 fbf4 0009 0a000001 00"), &hex!("0201 0004"))]
#[case::unknown_parameter(&hex!("04 fbf4 0009 0a000001 04 0902 0000"), &hex!("0204"))]
#[case::parameters_cut_short(&hex!("04 fbf4 0009 0a000001 06 0206 0104"), &hex!("0200"))]
#[case::capability_overruns_parameter(&hex!("04 fbf4 0009 0a000001 04 0202 4104"), &hex!("0200"))]
#[case::trailing_octet(&hex!("04 fbf4 0009 0a000001 00 00"), &hex!("0200"))]
fn malformed_open_is_answered_with_its_code(#[case] body: &[u8], #[case] answer: &[u8]) {
    let error = open(body).unwrap_err();
    assert_eq!(notification_bytes(&error.notification()), answer);
}

#[test] // BGP-55
fn unknown_duplicate_and_oddly_sized_capabilities_are_tolerated() {
    let bytes = hex!("04 fbf4 0009 0a000001 12 0210 c803010203 4103010203 0200 0200 0600");
    let Message::Open(open) = open(&bytes).unwrap() else {
        panic!()
    };
    assert_eq!(open.capabilities.len(), 5);
    assert_eq!(open.asn(), 64500, "a capability 65 of three octets says nothing");
}

fn notification_bytes(notification: &Notification) -> Vec<u8> {
    Codec::default()
        .encode(&Message::Notification(notification.clone()))
        .unwrap()[19..]
        .to_vec()
}

#[rstest] // BGP-53
#[case::marker(&hex!("fe ffffffffffffffffffffffffffffff 0013 04"), &hex!("0101"))]
#[case::too_short(&framed(&hex!("0012 04")), &hex!("0102 0012"))]
#[case::too_long(&framed(&hex!("1001 02")), &hex!("0102 1001"))]
#[case::open_of_28(&framed(&hex!("001c 01")), &hex!("0102 001c"))]
#[case::update_of_22(&framed(&hex!("0016 02")), &hex!("0102 0016"))]
#[case::keepalive_of_20(&framed(&hex!("0014 04")), &hex!("0102 0014"))]
#[case::notification_of_20(&framed(&hex!("0014 03")), &hex!("0102 0014"))]
#[case::unknown_type(&framed(&hex!("0013 09")), &hex!("0103 09"))]
fn malformed_header_is_answered_with_its_code(#[case] bytes: &[u8], #[case] answer: &[u8]) {
    let mut framer = Framer::default();
    framer.push(bytes);
    let error = framer.next(false).unwrap_err();
    assert_eq!(notification_bytes(&error.notification()), answer);
}

#[test]
fn framer_reassembles_messages_sliced_anywhere() {
    let stream: Vec<u8> = [framed(&hex!("0013 04")), framed(&hex!("0017 02 0000 0000"))].concat();
    let mut framer = Framer::default();
    let mut kinds = Vec::new();
    for byte in stream {
        framer.push(&[byte]);
        kinds.extend(framer.next(false).unwrap().map(|frame| frame.kind));
    }
    assert_eq!(kinds, [MessageType::Keepalive, MessageType::Update]);
}

#[test] // BGP-80
fn malformed_attributes_keep_the_message_in_step() {
    // ORIGIN 9, LOCAL_PREF of three octets, MED with the flags of a well-known attribute.
    let bytes = framed(&hex!(
        "002d 02 0000 0011 40010109 400503000001 40040400000001 20c0a80000"
    ));
    let messages = as4().decode_all(&bytes).unwrap();
    let [Message::Update(update)] = &messages[..] else {
        panic!("{messages:?}")
    };
    assert!(update.treat_as_withdraw());
    assert_eq!(update.attributes, [1, 5, 4].map(|code| Attribute::Malformed { code }));
    assert_eq!(update.announced, ["192.168.0.0/32".parse().unwrap()]);
}

#[rstest] // BGP-80
#[case::withdrawn_overruns(&hex!("0017 02 0001 0000"), &hex!("0301"))]
#[case::attributes_overrun(&hex!("0017 02 0000 0001"), &hex!("0301"))]
#[case::prefix_of_33_bits(&hex!("001d 02 0000 0000 21 0102030405"), &hex!("030a"))]
#[case::prefix_cut_short(&hex!("0019 02 0000 0000 20 01"), &hex!("030a"))]
fn broken_framing_inside_an_update_is_answered_with_its_code(#[case] bytes: &[u8], #[case] answer: &[u8]) {
    let error = as4().decode_all(&framed(bytes)).unwrap_err();
    assert_eq!(notification_bytes(&error.notification()), answer);
}

#[test] // BGP-61
fn ipv6_update_of_frr_is_understood() {
    let bytes = framed(&hex!(
        "0066 02 0000 004f 900e0036 000201 20 fd000000000000000000000000000001 fe800000000000000000000000000001 00"
        "80 20010db8000000000000000000000001 40010100 400200 80040400000000 40050400000064"
    ));
    let message = as4().decode_all(&bytes).unwrap().remove(0);
    let Message::Update(update) = &message else { panic!() };
    assert_eq!(
        update.all_announced().collect::<Vec<_>>(),
        ["2001:db8::1/128".parse::<IpNet>().unwrap()]
    );
    let reach = update.mp_reach().unwrap();
    assert_eq!(
        reach.next_hop,
        NextHop::V6Pair("fd00::1".parse().unwrap(), "fe80::1".parse().unwrap())
    );
    assert_eq!(as4().encode(&message).unwrap(), bytes);
}

#[test] // BGP-71
fn shutdown_communication_is_readable() {
    let message = as4()
        .decode_all(&framed(&hex!("0019 03 0602 03 627965")))
        .unwrap()
        .remove(0);
    let Message::Notification(notification) = message else {
        panic!()
    };
    assert_eq!(notification.communication().as_deref(), Some("bye"));
    assert_eq!(notification.to_string(), "6/2 (administrative shutdown) \"bye\"");
}

#[test]
fn message_beyond_the_negotiated_size_is_refused() {
    let value = vec![0; 5000];
    let message = Message::Update(Update {
        attributes: vec![Attribute::Unknown {
            flags: 0xc0,
            code: 99,
            value,
        }],
        ..Update::default()
    });
    assert_eq!(
        as4().encode(&message),
        Err(EncodeError::TooLong {
            length: 5027,
            max: 4096
        })
    );
    let extended = Codec {
        extended_message: true,
        ..as4()
    };
    let bytes = extended.encode(&message).unwrap();
    assert_eq!(extended.decode_all(&bytes).unwrap(), [message]);
    assert!(as4().decode_all(&bytes).is_err());
}

fn codecs() -> impl Strategy<Value = Codec> {
    (any::<bool>(), any::<bool>()).prop_map(|(as4, extended_message)| Codec {
        as4,
        extended_message,
        ..Codec {
            ipv6: true,
            ..Codec::default()
        }
    })
}

fn prefixes4() -> impl Strategy<Value = Vec<ipnet::Ipv4Net>> {
    let prefix = (any::<u32>(), 0..=32u8);
    prop::collection::vec(prefix, 0..20).prop_map(|list| {
        list.into_iter()
            .map(|(a, l)| ipnet::Ipv4Net::new(a.into(), l).unwrap().trunc())
            .collect()
    })
}

fn prefixes6() -> impl Strategy<Value = Vec<IpNet>> {
    let prefix = (any::<u128>(), 0..=128u8);
    prop::collection::vec(prefix, 0..20).prop_map(|list| {
        list.into_iter()
            .map(|(a, l)| ipnet::Ipv6Net::new(a.into(), l).unwrap().trunc().into())
            .collect()
    })
}

fn attributes() -> impl Strategy<Value = Vec<Attribute>> {
    let asns = || prop::collection::vec(0..=65535u32, 0..30);
    let large = (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(global, data1, data2)| LargeCommunity {
        global,
        data1,
        data2,
    });
    let next_hop = prop_oneof![
        any::<u128>().prop_map(|a| NextHop::V6(a.into())),
        any::<(u128, u128)>().prop_map(|(a, b)| NextHop::V6Pair(a.into(), b.into())),
    ];
    let attribute = prop_oneof![
        prop::sample::select(vec![Origin::Igp, Origin::Egp, Origin::Incomplete]).prop_map(Attribute::Origin),
        asns().prop_map(|asns| Attribute::AsPath(AsPath::sequence(asns))),
        asns().prop_map(|asns| Attribute::As4Path(AsPath::sequence(asns))),
        any::<u32>().prop_map(|address| Attribute::NextHop(address.into())),
        any::<u32>().prop_map(Attribute::MultiExitDisc),
        any::<u32>().prop_map(Attribute::LocalPref),
        Just(Attribute::AtomicAggregate),
        (0..=65535u32, any::<u32>()).prop_map(|(asn, id)| Attribute::Aggregator(Aggregator {
            asn,
            router_id: id.into()
        })),
        prop::collection::vec(any::<u32>(), 0..80).prop_map(Attribute::Communities),
        prop::collection::vec(any::<[u8; 8]>(), 0..10).prop_map(Attribute::ExtendedCommunities),
        prop::collection::vec(large, 0..30).prop_map(Attribute::LargeCommunities),
        (next_hop, prefixes6()).prop_map(|(next_hop, announced)| Attribute::MpReach(MpReach {
            family: Family::IPV6_UNICAST,
            next_hop,
            announced,
        })),
        prefixes6().prop_map(|withdrawn| Attribute::MpUnreach(MpUnreach {
            family: Family::IPV6_UNICAST,
            withdrawn
        })),
        (any::<u8>(), 100..=200u8, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(flags, code, value)| {
            Attribute::Unknown {
                flags: flags & 0xe0,
                code,
                value,
            }
        }),
    ];
    prop::collection::vec(attribute, 0..6)
}

fn messages() -> impl Strategy<Value = Message> {
    let capability = prop_oneof![
        Just(Capability::Multiprotocol(Family::IPV6_UNICAST)),
        Just(Capability::RouteRefresh),
        Just(Capability::ExtendedMessage),
        Just(Capability::ExtendedNextHop(vec![ExtendedNextHop::IPV4_OVER_IPV6])),
        any::<u32>().prop_map(Capability::FourOctetAsn),
        (70..=255u8, prop::collection::vec(any::<u8>(), 0..255))
            .prop_map(|(code, value)| Capability::Unknown { code, value }),
    ];
    let open = (
        any::<u32>(),
        any::<u16>(),
        any::<u32>(),
        prop::collection::vec(capability, 0..9),
    )
        .prop_map(|(asn, hold, id, capabilities)| Message::Open(Open::new(asn, hold, id.into(), capabilities)));
    let update = (prefixes4(), attributes(), prefixes4()).prop_map(|(withdrawn, attributes, announced)| {
        Message::Update(Update {
            withdrawn,
            attributes,
            announced,
        })
    });
    let notification =
        (1..=8u8, any::<u8>(), prop::collection::vec(any::<u8>(), 0..50)).prop_map(|(code, sub, data)| {
            let code = [Code::Header, Code::Open, Code::Update, Code::Cease, Code::Other(99)][usize::from(code) % 5];
            Message::Notification(Notification::with_data(code, sub, data))
        });
    let refresh = (any::<u16>(), any::<u8>(), any::<u8>()).prop_map(|(afi, safi, subtype)| {
        Message::RouteRefresh(RouteRefresh {
            family: Family { afi, safi },
            subtype,
        })
    });
    prop_oneof![open, update, notification, refresh, Just(Message::Keepalive)]
}

proptest! {
    #[test]
    fn what_was_encoded_decodes_to_itself(codec in codecs(), message in messages()) {
        if let Ok(bytes) = codec.encode(&message) {
            prop_assert_eq!(codec.decode_all(&bytes).unwrap(), [message]);
        }
    }

    #[test] // BGP-81
    fn decoding_never_panics(codec in codecs(), kind in 0..8u8, body in prop::collection::vec(any::<u8>(), 0..300)) {
        let length = u16::try_from(19 + body.len()).unwrap();
        let bytes = [&[0xff; 16][..], &length.to_be_bytes(), &[kind], &body].concat();
        let _ = codec.decode_all(&bytes);
    }

    #[test] // BGP-81
    fn decoding_damaged_messages_never_panics(
        message in messages(),
        codec in codecs(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        if let Ok(bytes) = codec.encode(&message) {
            let mut bytes = bytes.to_vec();
            for (at, value) in damage {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let _ = codec.decode_all(&bytes);
        }
    }
}
