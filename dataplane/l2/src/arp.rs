//! ARP frames as bytes: RFC 826 over Ethernet, always 60 bytes when we send.
//!
//! ```text
//!  0            6            12    14    16    18  19  20  22           28         32           38         42       60
//!  +------------+------------+-----+-----+-----+---+---+---+------------+----------+------------+----------+--------+
//!  | destination| source     |0806 |htype|ptype|hln|pln|op | sender MAC | sender IP| target MAC | target IP| zeros  |
//!  +------------+------------+-----+-----+-----+---+---+---+------------+----------+------------+----------+--------+
//! ```

use std::net::Ipv4Addr;

use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr};

use crate::{frame::Frame, responder::DropReason};

/// Shortest Ethernet frame without its checksum; shorter ones are padded with zeros.
const FRAME_LEN: usize = 60;
/// An ARP message for IPv4 over Ethernet.
const SHORTEST: usize = 42;
/// Some drivers pad more than they have to; nobody pads as much as this.
const LONGEST: usize = 128;

/// Offset of the operation; absolute in the frame, as the kernel filter sees it.
pub(crate) const OPERATION: u32 = 20;
/// Offset of the sender's protocol address.
pub(crate) const SENDER_IP: u32 = 28;
/// Offset of the target's protocol address.
pub(crate) const TARGET_IP: u32 = 38;

/// What matters in a received ARP frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arp {
    pub(crate) destination: EthernetAddress,
    pub(crate) source: EthernetAddress,
    pub(crate) operation: ArpOperation,
    pub(crate) sender: EthernetAddress,
    pub(crate) sender_ip: Ipv4Addr,
    pub(crate) target_ip: Ipv4Addr,
}

impl Arp {
    /// Reads a frame that says that it is ARP.
    pub(crate) fn parse(frame: &[u8]) -> Result<Self, DropReason> {
        match frame.len() {
            ..SHORTEST => return Err(DropReason::Truncated),
            SHORTEST..=LONGEST => {}
            _ => return Err(DropReason::Oversize),
        }
        let frame = EthernetFrame::new_unchecked(frame);
        let parsed = ArpPacket::new_checked(frame.payload()).and_then(|packet| ArpRepr::parse(&packet));
        let Ok(ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr,
            source_protocol_addr,
            target_protocol_addr,
            ..
        }) = parsed
        else {
            return Err(DropReason::Malformed);
        };
        Ok(Self {
            destination: frame.dst_addr(),
            source: frame.src_addr(),
            operation,
            sender: source_hardware_addr,
            sender_ip: source_protocol_addr,
            target_ip: target_protocol_addr,
        })
    }
}

/// The two forms of a gratuitous announcement; receivers differ in which one they believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// Operation 1, target MAC all ones. Linux obeys it even within its one second of lock time.
    Request,
    /// Operation 2, target MAC = sender MAC (RFC 5944 §4.6).
    ///
    /// Upstream: target MAC all ones, which Linux ignores while an entry is younger than a second.
    Reply,
}

/// Builds a gratuitous announcement of `ip` at `mac`, to be broadcast.
#[must_use]
pub fn gratuitous(form: Form, mac: EthernetAddress, ip: Ipv4Addr) -> Vec<u8> {
    announcement(form, mac, ip).to_vec()
}

pub(crate) fn announcement(form: Form, mac: EthernetAddress, ip: Ipv4Addr) -> Frame {
    let (operation, target) = match form {
        Form::Request => (ArpOperation::Request, EthernetAddress::BROADCAST),
        Form::Reply => (ArpOperation::Reply, mac),
    };
    let arp = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: mac,
        source_protocol_addr: ip,
        target_hardware_addr: target,
        target_protocol_addr: ip,
    };
    emit(mac, EthernetAddress::BROADCAST, arp)
}

/// Builds the question who has `ip`, from nobody (RFC 5227 §2.1.1), so that nobody learns anything by it.
pub(crate) fn probe(mac: EthernetAddress, ip: Ipv4Addr) -> Frame {
    let arp = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: mac,
        source_protocol_addr: Ipv4Addr::UNSPECIFIED,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: ip,
    };
    emit(mac, EthernetAddress::BROADCAST, arp)
}

/// Builds the answer to `request`: its target address is at `mac`. Goes to the ARP sender, not to the Ethernet source.
pub(crate) fn reply(mac: EthernetAddress, request: &Arp) -> Frame {
    let arp = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: mac,
        source_protocol_addr: request.target_ip,
        target_hardware_addr: request.sender,
        target_protocol_addr: request.sender_ip,
    };
    emit(mac, request.sender, arp)
}

fn emit(source: EthernetAddress, destination: EthernetAddress, arp: ArpRepr) -> Frame {
    let mut bytes = Frame::zeroed(FRAME_LEN);
    let ethernet = EthernetRepr {
        src_addr: source,
        dst_addr: destination,
        ethertype: EthernetProtocol::Arp,
    };
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    ethernet.emit(&mut frame);
    arp.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
    bytes
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;
    use proptest::prelude::*;

    use super::*;

    const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
    const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);

    // L2-44
    #[test]
    fn the_request_form_has_the_upstream_bytes() {
        let expected = hex!(
            "ffffffffffff 020000000001 0806 0001 0800 06 04 0001"
            "020000000001 c0000264 ffffffffffff c0000264 000000000000000000000000000000000000"
        );
        assert_eq!(gratuitous(Form::Request, MAC, VIP), expected);
    }

    // L2-45
    #[test]
    fn the_reply_form_names_its_sender_as_target() {
        let expected = hex!(
            "ffffffffffff 020000000001 0806 0001 0800 06 04 0002"
            "020000000001 c0000264 020000000001 c0000264 000000000000000000000000000000000000"
        );
        assert_eq!(gratuitous(Form::Reply, MAC, VIP), expected);
    }

    proptest! {
        #[test]
        fn what_is_emitted_parses_back(sender in any::<[u8; 6]>(), ip in any::<[u8; 4]>()) {
            let (mac, ip) = (EthernetAddress(sender), Ipv4Addr::from(ip));
            let arp = Arp::parse(&gratuitous(Form::Request, mac, ip)).unwrap();
            prop_assert_eq!((arp.sender, arp.sender_ip, arp.target_ip), (mac, ip, ip));
        }
    }
}
