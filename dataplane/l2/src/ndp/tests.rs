use hex_literal::hex;
use rstest::rstest;

use super::*;

pub(crate) const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
pub(crate) const CLIENT: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 0x50]);
pub(crate) const OURS: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const VIP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
pub(crate) const CLIENT_IP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x50);

/// A message, to be bent by the tests; its checksum is right.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) destination: EthernetAddress,
    pub(crate) from: Ipv6Addr,
    pub(crate) to: Ipv6Addr,
    pub(crate) hop_limit: u8,
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) target: Ipv6Addr,
    pub(crate) options: Vec<u8>,
}

impl Default for Message {
    fn default() -> Self {
        Self {
            destination: EthernetAddress([0x33, 0x33, 0xff, 0, 1, 0]),
            from: CLIENT_IP,
            to: solicited_node(VIP),
            hop_limit: 255,
            kind: SOLICITATION,
            code: 0,
            target: VIP,
            options: vec![1, 1, 2, 0, 0, 0, 0, 0x50],
        }
    }
}

impl Message {
    pub(crate) fn probe() -> Self {
        Self {
            from: Ipv6Addr::UNSPECIFIED,
            options: Vec::new(),
            ..Self::default()
        }
    }

    pub(crate) fn frame(&self) -> Vec<u8> {
        let icmp_len = u16::try_from(SHORTEST + self.options.len()).unwrap();
        let mut frame = [
            self.destination.as_bytes(),
            CLIENT.as_bytes(),
            &[0x86, 0xdd, 0x60, 0, 0, 0],
        ]
        .concat();
        frame.extend(icmp_len.to_be_bytes());
        frame.extend([58, self.hop_limit]);
        frame.extend(self.from.octets());
        frame.extend(self.to.octets());
        frame.extend([self.kind, self.code, 0, 0, 0, 0, 0, 0]);
        frame.extend(self.target.octets());
        frame.extend(&self.options);
        let mut packet = Icmpv6Packet::new_unchecked(&mut frame[ICMP_HEADER..]);
        packet.fill_checksum(&self.from, &self.to);
        frame
    }
}

// L2-54
#[test]
fn an_unsolicited_advertisement_has_these_bytes() {
    let expected = hex!(
        "333300000001 020000000001 86dd 60000000 0020 3a ff"
        "fe800000000000000000000000000001 ff020000000000000000000000000001"
        "88 00 2764 20000000 20010db8000000000000000000000100 0201 020000000001"
    );
    assert_eq!(unsolicited(MAC, OURS, VIP)[..], expected);
}

// L2-55
#[test]
fn the_answer_is_solicited_and_overrides() {
    let expected = hex!(
        "020000000050 020000000001 86dd 60000000 0020 3a ff"
        "fe800000000000000000000000000001 20010db8000000000000000000000050"
        "88 00 b85e 60000000 20010db8000000000000000000000100 0201 020000000001"
    );
    let question = Ndp::parse(&Message::default().frame()).unwrap();
    assert_eq!(answer(MAC, OURS, &question)[..], expected);
}

// L2-59
#[test]
fn a_probe_is_answered_to_all_nodes() {
    let question = Ndp::parse(&Message::probe().frame()).unwrap();
    assert_eq!(answer(MAC, OURS, &question), unsolicited(MAC, OURS, VIP));
}

// L2-57
#[test]
fn without_the_option_the_ethernet_source_has_asked() {
    let message = Message {
        destination: MAC,
        to: VIP,
        options: Vec::new(),
        ..Message::default()
    };
    assert_eq!(Ndp::parse(&message.frame()).unwrap().sender, CLIENT);
}

// L2-52
#[test]
fn the_group_has_the_last_24_bits() {
    let group: Ipv6Addr = "ff02::1:ff00:100".parse().unwrap();
    assert_eq!(solicited_node(VIP), group);
    assert_eq!(solicited_node("2001:db8:7::5600:100".parse().unwrap()), group);
}

// L2-58
#[rstest]
#[case::hop_limit(Message { hop_limit: 64, ..Message::default() }, DropReason::HopLimit)]
#[case::hop_limit_of_a_neighbour_of_a_router(Message { hop_limit: 254, ..Message::default() }, DropReason::HopLimit)]
#[case::code(Message { code: 1, ..Message::default() }, DropReason::Malformed)]
#[case::type_of_a_router(Message { kind: 133, ..Message::default() }, DropReason::MessageType)]
#[case::redirect(Message { kind: 137, ..Message::default() }, DropReason::MessageType)]
#[case::multicast_target(Message { target: ALL_NODES, ..Message::default() }, DropReason::Malformed)]
#[case::multicast_source(Message { from: ALL_NODES, ..Message::default() }, DropReason::Malformed)]
#[case::option_of_length_zero(Message { options: vec![14, 0, 0, 0, 0, 0, 0, 0], ..Message::default() }, DropReason::Options)]
#[case::option_beyond_the_end(Message { options: vec![1, 2, 2, 0, 0, 0, 0, 0x50], ..Message::default() }, DropReason::Options)]
#[case::option_of_another_link_layer(Message { options: [vec![1, 2], vec![0; 14]].concat(), ..Message::default() }, DropReason::Options)]
#[case::half_an_option(Message { options: vec![1], ..Message::default() }, DropReason::Options)]
#[case::probe_with_option(Message { from: Ipv6Addr::UNSPECIFIED, ..Message::default() }, DropReason::Options)]
#[case::probe_to_somebody(Message { to: VIP, ..Message::probe() }, DropReason::Malformed)]
fn an_invalid_message_is_refused_with_its_reason(#[case] message: Message, #[case] reason: DropReason) {
    assert_eq!(Ndp::parse(&message.frame()), Err(reason));
}

// L2-58: at each place of the header, one wrong byte.
#[rstest]
#[case::version(14, 0x40, DropReason::Malformed)]
#[case::length_beyond_the_end(19, 200, DropReason::Truncated)]
#[case::length_of_half_a_message(19, 12, DropReason::Truncated)]
#[case::udp(20, 17, DropReason::Malformed)]
#[case::hop_by_hop_options(20, 0, DropReason::Malformed)]
#[case::fragment(20, 44, DropReason::Malformed)]
#[case::hop_limit(21, 64, DropReason::HopLimit)]
#[case::source(37, 0x51, DropReason::Checksum)]
#[case::destination(53, 1, DropReason::Checksum)]
#[case::checksum(56, 0, DropReason::Checksum)]
#[case::reserved(58, 1, DropReason::Checksum)]
#[case::option(85, 0x51, DropReason::Checksum)]
fn a_message_with_one_wrong_byte_is_refused_with_its_reason(
    #[case] at: usize,
    #[case] value: u8,
    #[case] reason: DropReason,
) {
    let mut frame = Message::default().frame();
    assert_ne!(frame[at], value);
    frame[at] = value;
    assert_eq!(Ndp::parse(&frame), Err(reason));
}

// L2-58
#[test]
fn every_cut_is_refused_and_so_is_a_frame_longer_than_ethernet_carries() {
    let mut frame = Message::default().frame();
    for length in 0..frame.len() {
        assert_eq!(
            Ndp::parse(&frame[..length]),
            Err(DropReason::Truncated),
            "{length} bytes"
        );
    }
    // What follows the packet is padding.
    frame.resize(1514, 0);
    assert!(Ndp::parse(&frame).is_ok());
    frame.push(0);
    assert_eq!(Ndp::parse(&frame), Err(DropReason::Oversize));
}

#[test]
fn other_options_are_skipped() {
    let nonce = vec![14, 1, 1, 2, 3, 4, 5, 6];
    let message = Message {
        options: [nonce, Message::default().options].concat(),
        ..Message::default()
    };
    assert_eq!(Ndp::parse(&message.frame()).unwrap().sender, CLIENT);
}
