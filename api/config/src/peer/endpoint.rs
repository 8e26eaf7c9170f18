//! Where a peer is, and from which address it is dialled.

use std::net::IpAddr;

use super::Reader;
use crate::model::Endpoint;
use crate::range::parse_ip;
use crate::rule::Rule;

impl Reader<'_> {
    pub(super) fn endpoint(&mut self) -> Option<Endpoint> {
        let address = self.spec.peer_address.as_deref().filter(|text| !text.is_empty());
        let interface = self.spec.interface.as_deref().filter(|text| !text.is_empty());
        match (address, interface) {
            (None, None) => self.refuse(
                Rule::B4,
                "peerAddress",
                "invalid BGPPeer address: neither peerAddress nor interface is set",
            ),
            (Some(_), Some(_)) => self.refuse(
                Rule::B4,
                "peerAddress",
                "invalid BGPPeer address: both peerAddress and interface are set",
            ),
            (None, Some(name)) => {
                self.interface_name("interface", Some(name));
                return Some(Endpoint::Interface(name.to_owned()));
            }
            (Some(text), None) => return self.peer_address(text),
        }
        None
    }

    /// Upstream: takes no zone, so that its link-local addresses lead nowhere. FRR names the interface on a line of its own.
    fn peer_address(&mut self, text: &str) -> Option<Endpoint> {
        let backend = self.context.options.backend;
        let native = !backend.is_frr();
        let (ip, zone) = match text.split_once('%') {
            Some((ip, zone)) => (ip, Some(zone)),
            None => (text, None),
        };
        match (parse_ip(ip), zone) {
            (Some(IpAddr::V6(ip)), Some(zone)) if ip.is_unicast_link_local() && !zone.is_empty() && !native => {
                let backend = backend.name();
                let reason = format!(
                    "invalid BGPPeer address \"{text}\": the back-end {backend} takes no interface in an address; set \
                     `interface: {zone}` instead of peerAddress, or use the back-end native"
                );
                self.refuse(Rule::B5, "peerAddress", reason);
                None
            }
            (Some(IpAddr::V6(ip)), Some(zone)) if ip.is_unicast_link_local() && !zone.is_empty() => {
                self.interface_name("peerAddress", Some(zone));
                Some(Endpoint::LinkLocal(ip, zone.to_owned()))
            }
            (Some(IpAddr::V6(ip)), None) if ip.is_unicast_link_local() && native => {
                let reason = format!("link-local address \"{text}\" needs its interface, as in \"{text}%eth0\"");
                self.refuse(Rule::B5, "peerAddress", reason);
                None
            }
            (Some(ip), None) if !ip.is_unspecified() && !ip.is_multicast() => Some(Endpoint::Address(ip)),
            _ => {
                self.refuse(Rule::B5, "peerAddress", format!("invalid BGPPeer address \"{text}\""));
                None
            }
        }
    }

    pub(super) fn source(&mut self, endpoint: Option<&Endpoint>) -> Option<IpAddr> {
        let text = self.spec.source_address.as_deref().filter(|text| !text.is_empty())?;
        let Some(source) = parse_ip(text) else {
            self.refuse(Rule::B5, "sourceAddress", format!("invalid source IP \"{text}\""));
            return None;
        };
        if let Some(peer) = endpoint.and_then(Endpoint::address)
            && peer.is_ipv4() != source.is_ipv4()
        {
            self.refuse(
                Rule::W25,
                "sourceAddress",
                format!("source IP \"{text}\" is not of the family of the peer address {peer}"),
            );
        }
        Some(source)
    }
}
