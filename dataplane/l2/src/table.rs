//! What is announced, and on which interfaces: the one picture that answers, gratuitous frames and conflicts go by.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::Bound,
};

use smoltcp::wire::EthernetAddress;

use crate::interfaces::{Interfaces, Link};

/// The announced addresses and the interfaces that announce.
#[derive(Debug, Default)]
pub(crate) struct Table {
    links: BTreeMap<u32, Link>,
    own_macs: BTreeSet<EthernetAddress>,
    addresses: BTreeMap<IpAddr, Interfaces>,
}

impl Table {
    pub(crate) fn set_links(&mut self, links: Vec<Link>, own_macs: BTreeSet<EthernetAddress>) {
        self.links = links.into_iter().map(|link| (link.index, link)).collect();
        self.own_macs = own_macs;
    }

    pub(crate) fn link(&self, ifindex: u32) -> Option<&Link> {
        self.links.get(&ifindex)
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// Says whether the hardware address is one of this node.
    pub(crate) fn is_own(&self, mac: EthernetAddress) -> bool {
        self.own_macs.contains(&mac)
    }

    /// Announces `ip` on `interfaces` from now on; says whether it is new.
    pub(crate) fn announce(&mut self, ip: IpAddr, interfaces: Interfaces) -> bool {
        self.addresses.insert(ip, interfaces).is_none()
    }

    /// Withdraws `ip`; says whether it was announced.
    pub(crate) fn withdraw(&mut self, ip: IpAddr) -> bool {
        self.addresses.remove(&ip).is_some()
    }

    pub(crate) fn get(&self, ip: IpAddr) -> Option<&Interfaces> {
        self.addresses.get(&ip)
    }

    /// Says whether `ip` is announced on `link`, which for IPv6 needs an address to speak from.
    pub(crate) fn announces(&self, ip: IpAddr, link: &Link) -> bool {
        let can_speak = ip.is_ipv4() || link.link_local.is_some();
        can_speak && self.get(ip).is_some_and(|interfaces| interfaces.contains(&link.name))
    }

    /// Says whether `ip` is announced on any interface that there is.
    pub(crate) fn is_audible(&self, ip: IpAddr) -> bool {
        self.links.values().any(|link| self.announces(ip, link))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// All announced addresses, in order.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.keys().copied()
    }

    /// The announced addresses that follow `last`, or all of them.
    pub(crate) fn after(&self, last: Option<IpAddr>) -> impl Iterator<Item = IpAddr> {
        let start = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.addresses.range((start, Bound::Unbounded)).map(|(ip, _)| *ip)
    }
}
