use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use hex_literal::hex;
use proptest::prelude::*;
use rstest::rstest;
use smoltcp::wire::EthernetAddress;

use super::*;
use crate::{
    arp::{Form, gratuitous},
    interfaces::Interfaces,
};

const ETH0: u32 = 2;
const ETH1: u32 = 3;
const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
const OTHER_OWN_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);
const CLIENT: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 0x50]);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const VIP_ETH1: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 101);

fn link(index: u32, name: &str, mac: EthernetAddress) -> Link {
    Link {
        index,
        name: name.to_owned(),
        mac,
        carrier_ups: 1,
        link_local: None,
    }
}

fn table() -> Table {
    let mut table = Table::default();
    let links = vec![link(ETH0, "eth0", MAC), link(ETH1, "eth1", OTHER_OWN_MAC)];
    table.set_links(links, BTreeSet::from([MAC, OTHER_OWN_MAC]));
    let eth1 = Interfaces::Only(BTreeSet::from(["eth1".to_owned()]));
    table.announce(VIP.into(), Interfaces::All);
    table.announce(VIP_ETH1.into(), eth1);
    table
}

fn hear(ifindex: u32, packet_type: PacketType, frame: &[u8]) -> Heard {
    hear_with(&table(), ifindex, packet_type, frame)
}

fn hear_with(table: &Table, ifindex: u32, packet_type: PacketType, frame: &[u8]) -> Heard {
    match read(table, ifindex, packet_type, frame) {
        Ok((link, message)) => judge(table, link, &message),
        Err(reason) => Heard {
            answer: Err(reason),
            claim: None,
        },
    }
}

/// A request by the client for the VIP, to be bent by the tests.
#[derive(Clone)]
struct Request {
    destination: EthernetAddress,
    source: EthernetAddress,
    operation: u16,
    sender: EthernetAddress,
    sender_ip: Ipv4Addr,
    target_ip: Ipv4Addr,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            destination: EthernetAddress::BROADCAST,
            source: CLIENT,
            operation: 1,
            sender: CLIENT,
            sender_ip: Ipv4Addr::new(192, 0, 2, 50),
            target_ip: VIP,
        }
    }
}

impl Request {
    fn frame(&self) -> Vec<u8> {
        let mut frame = gratuitous(Form::Request, self.sender, self.target_ip);
        frame[0..6].copy_from_slice(self.destination.as_bytes());
        frame[6..12].copy_from_slice(self.source.as_bytes());
        frame[20..22].copy_from_slice(&self.operation.to_be_bytes());
        frame[28..32].copy_from_slice(&self.sender_ip.octets());
        frame[32..38].fill(0);
        frame
    }
}

fn ask(request: &Request) -> Result<Answer, DropReason> {
    hear(ETH0, PacketType::Broadcast, &request.frame()).answer
}

fn reply_to(request: &Request) -> Vec<u8> {
    ask(request).unwrap().frame.to_vec()
}

// L2-37
#[test]
fn a_broadcast_request_gets_the_upstream_reply() {
    let expected = hex!(
        "020000000050 020000000001 0806 0001 0800 06 04 0002"
        "020000000001 c0000264 020000000050 c0000232 000000000000000000000000000000000000"
    );
    assert_eq!(reply_to(&Request::default()), expected);
}

// L2-38
#[test]
fn a_unicast_request_gets_the_same_reply() {
    let unicast = Request {
        destination: MAC,
        ..Request::default()
    };
    assert_eq!(reply_to(&unicast), reply_to(&Request::default()));
}

// L2-39
#[test]
fn the_reply_goes_to_the_arp_sender_not_to_the_ethernet_source() {
    let relayed = Request {
        source: EthernetAddress([2, 0, 0, 0, 0, 0x99]),
        ..Request::default()
    };
    assert_eq!(reply_to(&relayed)[0..6], *CLIENT.as_bytes());
}

// L2-40
#[test]
fn a_probe_without_sender_address_is_answered() {
    let probe = Request {
        sender_ip: Ipv4Addr::UNSPECIFIED,
        ..Request::default()
    };
    assert_eq!(reply_to(&probe)[38..42], [0; 4]);
}

// L2-41
#[rstest]
#[case::other_destination(Request { destination: EthernetAddress([2, 0, 0, 0, 0, 9]), ..Request::default() }, DropReason::EthernetDestination)]
#[case::reply(Request { operation: 2, ..Request::default() }, DropReason::ArpReply)]
#[case::unknown_operation(Request { operation: 8, ..Request::default() }, DropReason::ArpReply)]
#[case::other_target(Request { target_ip: Ipv4Addr::new(192, 0, 2, 7), ..Request::default() }, DropReason::AnnounceIp)]
#[case::other_interface(Request { target_ip: VIP_ETH1, ..Request::default() }, DropReason::NotMatchInterface)]
#[case::multicast_sender(Request { sender: EthernetAddress([1, 0, 0, 0, 0, 9]), ..Request::default() }, DropReason::SenderAddress)]
#[case::zero_sender(Request { sender: EthernetAddress([0; 6]), ..Request::default() }, DropReason::SenderAddress)]
#[case::announcement(Request { sender_ip: VIP, ..Request::default() }, DropReason::Announcement)]
#[case::broadcast_sender(Request { sender: EthernetAddress::BROADCAST, ..Request::default() }, DropReason::SenderAddress)]
#[case::own(Request { sender: MAC, ..Request::default() }, DropReason::Own)]
#[case::looped(Request { source: MAC, sender: MAC, ..Request::default() }, DropReason::Own)]
#[case::own_source(Request { source: MAC, ..Request::default() }, DropReason::Own)]
#[case::multicast_source(Request { source: EthernetAddress([1, 0, 0, 0, 0, 9]), ..Request::default() }, DropReason::SenderAddress)]
#[case::zero_source(Request { source: EthernetAddress([0; 6]), ..Request::default() }, DropReason::SenderAddress)]
fn a_frame_that_asks_us_nothing_is_ignored_with_its_reason(#[case] request: Request, #[case] reason: DropReason) {
    assert_eq!(ask(&request), Err(reason));
}

#[test]
fn a_frame_for_somebody_else_is_ignored() {
    let heard = hear(ETH0, PacketType::Other, &Request::default().frame());
    assert_eq!(heard.answer, Err(DropReason::PacketType));
}

// L2-42
#[test]
fn a_frame_of_an_interface_that_does_not_announce_is_ignored() {
    let heard = hear(77, PacketType::Broadcast, &Request::default().frame());
    assert_eq!(heard.answer, Err(DropReason::Interface));
}

// L2-43
#[rstest]
#[case::hardware_type(15, 6)]
#[case::protocol_type(16, 0x86)]
#[case::hardware_length(18, 8)]
#[case::protocol_length(19, 16)]
#[case::huge_hardware_length(18, 255)]
#[case::other_hardware_length(18, 5)]
#[case::ether_type(13, 0)]
fn a_malformed_frame_is_ignored(#[case] at: usize, #[case] value: u8) {
    let mut frame = Request::default().frame();
    frame[at] = value;
    let heard = hear(ETH0, PacketType::Broadcast, &frame);
    assert_eq!(heard.answer, Err(DropReason::Malformed));
}

// L2-43
#[test]
fn a_frame_of_42_bytes_is_answered_and_a_shorter_one_is_not() {
    let frame = Request::default().frame();
    let verdict = |length: usize| hear(ETH0, PacketType::Broadcast, &frame[..length]).answer;
    assert!(verdict(42).is_ok());
    for length in 0..42 {
        assert_eq!(verdict(length), Err(DropReason::Truncated), "{length} bytes");
    }
}

#[test]
fn a_padded_frame_is_answered_and_an_oversize_one_is_not() {
    let mut frame = Request::default().frame();
    frame.resize(128, 0xff);
    assert!(hear(ETH0, PacketType::Broadcast, &frame).answer.is_ok());
    for length in [129, 1514, 9000] {
        frame.resize(length, 0);
        let answer = hear(ETH0, PacketType::Broadcast, &frame).answer;
        assert_eq!(answer, Err(DropReason::Oversize), "{length} bytes");
    }
}

#[rstest]
#[case::customer([0x81, 0x00])]
#[case::service([0x88, 0xa8])]
fn a_frame_with_a_vlan_tag_is_ignored(#[case] tag: [u8; 2]) {
    let mut frame = Request::default().frame();
    frame.splice(12..12, [tag[0], tag[1], 0, 100]);
    let heard = hear(ETH0, PacketType::Broadcast, &frame);
    assert_eq!(heard.answer, Err(DropReason::VlanTag));
}

#[test]
fn a_silent_address_is_not_answered_and_claims_of_it_are_heard() {
    let mut table = table();
    table.set_silent(VIP.into(), true);
    let request = Request::default();
    let heard = hear_with(&table, ETH0, PacketType::Broadcast, &request.frame());
    assert_eq!(heard.answer, Err(DropReason::Silent));
    let claim = Request {
        sender_ip: VIP,
        ..request
    };
    assert!(
        hear_with(&table, ETH0, PacketType::Broadcast, &claim.frame())
            .claim
            .is_some()
    );
}

#[test]
fn every_reason_has_its_number_and_its_name() {
    let names: BTreeSet<&str> = DropReason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(names.len(), DropReason::ALL.len());
    for (number, reason) in DropReason::ALL.iter().enumerate() {
        assert_eq!(*reason as usize, number);
    }
}

// L2-64
#[test]
fn replies_follow_a_changed_hardware_address() {
    let mut table = table();
    let new = EthernetAddress([2, 0, 0, 0, 0, 0x77]);
    table.set_links(vec![link(ETH0, "eth0", new)], BTreeSet::from([new]));
    let heard = hear_with(&table, ETH0, PacketType::Broadcast, &Request::default().frame());
    let reply = heard.answer.unwrap();
    assert_eq!(reply.frame[6..12], *new.as_bytes());
}

#[rstest]
#[case::gratuitous_request(Request { sender_ip: VIP, ..Request::default() }, true)]
#[case::reply(Request { operation: 2, sender_ip: VIP, ..Request::default() }, true)]
#[case::another_interface_of_ours(Request { sender_ip: VIP, sender: OTHER_OWN_MAC, ..Request::default() }, false)]
#[case::announced_elsewhere(Request { sender_ip: VIP_ETH1, ..Request::default() }, false)]
#[case::ordinary_request(Request::default(), false)]
#[case::zero_sender(Request { sender_ip: VIP, sender: EthernetAddress([0; 6]), ..Request::default() }, false)]
#[case::multicast_sender(Request { sender_ip: VIP, sender: EthernetAddress([0x33, 0x33, 0, 0, 0, 1]), ..Request::default() }, false)]
#[case::looped(Request { sender_ip: VIP, source: MAC, ..Request::default() }, false)]
fn a_foreign_claim_of_an_announced_address_is_noticed(#[case] request: Request, #[case] claim: bool) {
    let heard = hear(ETH0, PacketType::Broadcast, &request.frame());
    let expected = Claim {
        ip: VIP.into(),
        mac: CLIENT,
        stage: Stage::Uses,
    };
    assert_eq!(heard.claim, claim.then_some(expected));
}

proptest! {
    // L2-43
    #[test]
    fn no_frame_causes_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128), index in 0_u32..5) {
        let _ = hear(index, PacketType::Host, &bytes);
    }

    #[test]
    fn only_frames_asking_for_an_announced_address_are_answered(
        at in 0_usize..60, value in any::<u8>(), ifindex in ETH0..=ETH1,
    ) {
        let mut frame = Request::default().frame();
        frame[at] = value;
        if let Ok(reply) = hear(ifindex, PacketType::Broadcast, &frame).answer {
            prop_assert!(reply.ip == IpAddr::from(VIP) || reply.ip == IpAddr::from(VIP_ETH1) && ifindex == ETH1);
            prop_assert_eq!(&reply.frame[28..32], &frame[38..42]);
            prop_assert_eq!(&reply.frame[0..6], &frame[22..28]);
            prop_assert_eq!(reply.frame.len(), 60);
        }
    }
}
