//! Which interfaces of the node can announce, and on which of them an address may be.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr},
};

use smoltcp::wire::EthernetAddress;

/// The interfaces on which one address may be announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Interfaces {
    /// Every usable interface of the node.
    #[default]
    All,
    /// Only interfaces with one of these names.
    Only(BTreeSet<String>),
}

impl Interfaces {
    /// Says whether the interface called `name` is among them.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
        }
    }
}

/// What the kernel says about one interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkFacts {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Hardware address, of whatever length; empty if there is none.
    pub hardware_address: Vec<u8>,
    /// Administratively up (IFF_UP).
    pub up: bool,
    /// Has a carrier (IFF_LOWER_UP).
    pub carrier: bool,
    /// How often the carrier has come up; shows losses too short to be seen in a listing.
    pub carrier_ups: u32,
    /// Able to broadcast (IFF_BROADCAST).
    pub broadcast: bool,
    /// Does no ARP (IFF_NOARP).
    pub no_arp: bool,
    /// The interface that this one is enslaved to, by index.
    pub controller: Option<u32>,
    /// Kind of a virtual interface (`bond`, `bridge`, `vrf`, `vlan`, ...); `None` for hardware.
    pub kind: Option<String>,
    /// Addresses that may be used as a source: neither tentative nor failed duplicate address detection.
    pub addresses: Vec<IpAddr>,
}

/// An interface that announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Hardware address used in all frames.
    pub mac: EthernetAddress,
    /// How often the carrier has come up; after each time the segment is told again.
    pub carrier_ups: u32,
    /// Source address of neighbour advertisements.
    pub link_local: Option<Ipv6Addr>,
}

impl Link {
    /// Says whether the segment knows the interface by the same hardware address, and the carrier has stayed meanwhile.
    /// With another name it may announce other addresses.
    pub(crate) fn is_same_to_the_segment(&self, other: &Self) -> bool {
        (self.mac, self.carrier_ups, &self.name) == (other.mac, other.carrier_ups, &other.name)
    }
}

/// Why an interface does not announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unusable {
    /// Not administratively up.
    Down,
    /// Enslaved to a bond, bridge, team or switch, which announces in its place.
    Enslaved,
    /// Does no ARP (wireguard, most tunnels, VRF devices).
    NoArp,
    /// Cannot broadcast (loopback, point-to-point).
    NoBroadcast,
    /// The hardware address is not six bytes long (IPoIB) or is empty.
    HardwareAddress,
    /// No carrier.
    NoCarrier,
}

impl Unusable {
    /// The reason as one lower-case word for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Enslaved => "enslaved",
            Self::NoArp => "noarp",
            Self::NoBroadcast => "nobroadcast",
            Self::HardwareAddress => "hardwareaddress",
            Self::NoCarrier => "nocarrier",
        }
    }
}

/// The outcome of looking at all interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Names of all interfaces that are not excluded, usable or not.
    pub known: BTreeSet<String>,
    /// The interfaces that announce.
    pub links: Vec<Link>,
    /// The others that are not excluded, with the reason.
    pub unusable: Vec<(String, Unusable)>,
    /// Every hardware address of this node: whoever claims an address with one of these is ourselves.
    pub own_macs: BTreeSet<EthernetAddress>,
}

/// Sorts the interfaces of the node into those that announce and those that do not.
///
/// Upstream: ignores the carrier, and skips members of a VRF although their VRF device cannot announce for them.
#[must_use]
pub fn select(facts: &[LinkFacts], exclude: &dyn Fn(&str) -> bool) -> Selection {
    let mut selection = Selection {
        own_macs: facts.iter().filter_map(mac).collect(),
        ..Selection::default()
    };
    for link in facts.iter().filter(|link| !exclude(&link.name)) {
        selection.known.insert(link.name.clone());
        match usable(link, facts) {
            Ok(usable) => selection.links.push(usable),
            Err(reason) => selection.unusable.push((link.name.clone(), reason)),
        }
    }
    selection
}

fn usable(link: &LinkFacts, all: &[LinkFacts]) -> Result<Link, Unusable> {
    let refusals = [
        (!link.up, Unusable::Down),
        (enslaved(link, all), Unusable::Enslaved),
        (link.no_arp, Unusable::NoArp),
        (!link.broadcast, Unusable::NoBroadcast),
        (!link.carrier, Unusable::NoCarrier),
    ];
    if let Some((_, reason)) = refusals.into_iter().find(|(refused, _)| *refused) {
        return Err(reason);
    }
    let mac = mac(link).ok_or(Unusable::HardwareAddress)?;
    Ok(Link {
        index: link.index,
        name: link.name.clone(),
        mac,
        carrier_ups: link.carrier_ups,
        link_local: link_local(link),
    })
}

/// A member of a VRF keeps its own segment; every other controller takes the traffic of its members.
fn enslaved(link: &LinkFacts, all: &[LinkFacts]) -> bool {
    link.controller.is_some_and(|index| {
        let controller = all.iter().find(|other| other.index == index);
        controller.and_then(|controller| controller.kind.as_deref()) != Some("vrf")
    })
}

fn mac(link: &LinkFacts) -> Option<EthernetAddress> {
    let bytes: [u8; 6] = link.hardware_address.as_slice().try_into().ok()?;
    let mac = EthernetAddress(bytes);
    (mac.is_unicast() && bytes != [0; 6]).then_some(mac)
}

fn link_local(link: &LinkFacts) -> Option<Ipv6Addr> {
    link.addresses.iter().find_map(|address| match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some(*v6),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn nic(index: u32, name: &str) -> LinkFacts {
        LinkFacts {
            index,
            name: name.to_owned(),
            hardware_address: vec![2, 0, 0, 0, 0, u8::try_from(index).unwrap()],
            up: true,
            carrier: true,
            broadcast: true,
            ..LinkFacts::default()
        }
    }

    fn nothing_excluded(_: &str) -> bool {
        false
    }

    fn controller(kind: &str) -> LinkFacts {
        LinkFacts {
            kind: Some(kind.to_owned()),
            no_arp: kind == "vrf",
            ..nic(9, "upper0")
        }
    }

    // L2-61
    #[rstest]
    #[case::down(LinkFacts { up: false, ..nic(1, "eth0") }, Unusable::Down)]
    #[case::noarp(LinkFacts { no_arp: true, ..nic(1, "wg0") }, Unusable::NoArp)]
    #[case::loopback(LinkFacts { broadcast: false, ..nic(1, "lo") }, Unusable::NoBroadcast)]
    #[case::no_carrier(LinkFacts { carrier: false, ..nic(1, "eth0") }, Unusable::NoCarrier)]
    #[case::ipoib(LinkFacts { hardware_address: vec![1; 20], ..nic(1, "ib0") }, Unusable::HardwareAddress)]
    #[case::no_mac(LinkFacts { hardware_address: vec![0; 6], ..nic(1, "tun0") }, Unusable::HardwareAddress)]
    fn an_unfit_interface_is_known_but_does_not_announce(#[case] link: LinkFacts, #[case] reason: Unusable) {
        let selection = select(std::slice::from_ref(&link), &nothing_excluded);
        assert!(selection.links.is_empty());
        assert_eq!(selection.unusable, [(link.name.clone(), reason)]);
        assert!(selection.known.contains(&link.name));
    }

    // L2-61
    #[rstest]
    #[case::bond("bond", false)]
    #[case::bridge("bridge", false)]
    #[case::team("team", false)]
    #[case::switch("openvswitch", false)]
    #[case::vrf("vrf", true)]
    fn a_member_announces_only_if_its_controller_is_a_vrf(#[case] kind: &str, #[case] announces: bool) {
        let member = LinkFacts {
            controller: Some(9),
            ..nic(1, "eth0")
        };
        let selection = select(&[member, controller(kind)], &nothing_excluded);
        assert_eq!(selection.links.iter().any(|link| link.name == "eth0"), announces);
    }

    #[test]
    fn a_member_of_an_unknown_controller_does_not_announce() {
        let member = LinkFacts {
            controller: Some(77),
            ..nic(1, "eth0")
        };
        assert!(select(&[member], &nothing_excluded).links.is_empty());
    }

    // L2-62
    #[test]
    fn an_interface_without_addresses_announces() {
        let selection = select(&[nic(1, "eth0.100")], &nothing_excluded);
        assert_eq!(selection.links.len(), 1);
        assert_eq!(selection.links[0].link_local, None);
    }

    // L2-63
    #[test]
    fn an_excluded_interface_is_not_even_known_but_its_mac_is_ours() {
        let selection = select(&[nic(1, "veth123"), nic(2, "eth0")], &|name| name.starts_with("veth"));
        assert_eq!(selection.known, BTreeSet::from(["eth0".to_owned()]));
        assert_eq!(selection.links.len(), 1);
        assert_eq!(selection.own_macs.len(), 2);
    }

    #[test]
    fn the_link_local_address_is_found_among_others() {
        let addresses = ["192.0.2.1", "2001:db8::1", "fe80::1"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        let selection = select(
            &[LinkFacts {
                addresses,
                ..nic(1, "eth0")
            }],
            &nothing_excluded,
        );
        assert_eq!(selection.links[0].link_local, Some("fe80::1".parse().unwrap()));
    }
}
