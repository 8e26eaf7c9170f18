//! UDP datagrams around echoes.

use hex_literal::hex;
use proptest::prelude::*;
use rstest::rstest;

use crate::datagram::Datagram;

#[test]
fn an_echo_over_ipv4_is_as_the_kernel_would_write_it() {
    let echo = Datagram {
        source: "10.0.0.1".parse().unwrap(),
        destination: "10.0.0.1".parse().unwrap(),
        ttl: 255,
        source_port: 3785,
        destination_port: 3785,
        payload: b"abc",
    };
    let packet = echo.encode().unwrap();
    assert_eq!(
        packet,
        hex!("45c0001f 00004000 ff11670c 0a000001 0a000001 0ec90ec9 000b09e2 616263")
    );
    assert_eq!(Datagram::decode(&packet), Some(echo));
    // Behind the datagram an Ethernet frame may be padded.
    assert_eq!(Datagram::decode(&[&packet[..], &[0; 15]].concat()), Some(echo));
}

#[rstest]
#[case(9, 6)]
#[case(6, 0x20)]
#[case(7, 1)]
#[case(0, 0x44)]
#[case(0, 0x55)]
#[case(3, 0x20)]
#[case(25, 12)]
#[case(25, 7)]
fn what_is_no_whole_datagram_is_none(#[case] at: usize, #[case] octet: u8) {
    let mut packet = hex!("45c0001f 00004000 ff11670c 0a000001 0a000001 0ec90ec9 000b09e2 616263");
    packet[at] = octet;
    assert_eq!(Datagram::decode(&packet), None);
}

proptest! {
    #[test]
    fn what_is_written_is_read(v6: bool, addresses: [u128; 2], ports: [u16; 2], ttl: u8, payload in prop::collection::vec(any::<u8>(), 0..40)) {
        let address = |bits: u128| if v6 {
            std::net::Ipv6Addr::from(bits).into()
        } else {
            std::net::Ipv4Addr::from(bits as u32).into()
        };
        let datagram = Datagram {
            source: address(addresses[0]),
            destination: address(addresses[1]),
            ttl,
            source_port: ports[0],
            destination_port: ports[1],
            payload: &payload,
        };
        let packet = datagram.encode().unwrap();
        prop_assert_eq!(Datagram::decode(&packet), Some(datagram));
    }

    #[test]
    fn reading_a_datagram_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..80), version in prop_oneof![Just(0x45_u8), Just(0x60), Just(0x4f)]) {
        let _ = Datagram::decode(&bytes);
        if let Some((_, rest)) = bytes.split_first() {
            let _ = Datagram::decode(&[&[version][..], rest].concat());
        }
    }
}
