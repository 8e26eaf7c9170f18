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
    addresses: BTreeMap<IpAddr, Entry>,
}

/// An address of this node.
#[derive(Debug)]
struct Entry {
    interfaces: Interfaces,
    /// Neither answered nor told for the time being.
    silent: bool,
    /// Answered, but not told any more.
    leaving: bool,
}

/// What an address is to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is not announced at all.
    Unknown,
    /// It is announced on other interfaces only, if on any.
    Elsewhere,
    /// It is to be announced there, but not now.
    Silent,
    /// It is announced there.
    Here,
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

    /// Announces `ip` on `interfaces` from now on, or will do so when its silence is over; says whether it is new.
    pub(crate) fn announce(&mut self, ip: IpAddr, interfaces: Interfaces) -> bool {
        if let Some(entry) = self.addresses.get_mut(&ip) {
            entry.interfaces = interfaces;
            entry.leaving = false;
            return false;
        }
        let (silent, leaving) = (false, false);
        let entry = Entry {
            interfaces,
            silent,
            leaving,
        };
        self.addresses.insert(ip, entry);
        true
    }

    /// Begins or ends the silence of `ip`; says whether that is a change.
    pub(crate) fn set_silent(&mut self, ip: IpAddr, silent: bool) -> bool {
        let entry = self.addresses.get_mut(&ip);
        entry.is_some_and(|entry| std::mem::replace(&mut entry.silent, silent) != silent)
    }

    /// Says whether `ip` is announced, and silent.
    pub(crate) fn is_silent(&self, ip: IpAddr) -> bool {
        self.addresses.get(&ip).is_some_and(|entry| entry.silent)
    }

    /// Has `ip` answered and not told from now on, until it is announced again.
    pub(crate) fn set_leaving(&mut self, ip: IpAddr) {
        if let Some(entry) = self.addresses.get_mut(&ip) {
            entry.leaving = true;
        }
    }

    /// Says whether the segment is told unasked that `ip` is here, where it is announced.
    pub(crate) fn is_told(&self, ip: IpAddr) -> bool {
        self.addresses.get(&ip).is_some_and(|entry| !entry.leaving)
    }

    /// Withdraws `ip`; says whether it was announced.
    pub(crate) fn withdraw(&mut self, ip: IpAddr) -> bool {
        self.addresses.remove(&ip).is_some()
    }

    /// Says whether `ip` is announced, be it on no interface or silent.
    pub(crate) fn has(&self, ip: IpAddr) -> bool {
        self.addresses.contains_key(&ip)
    }

    /// Says whether `ip` is announced on `link`, which for IPv6 needs an address to speak from.
    pub(crate) fn announces(&self, ip: IpAddr, link: &Link) -> bool {
        self.place(ip, link) == Place::Here
    }

    /// Says what `ip` is to `link`.
    pub(crate) fn place(&self, ip: IpAddr, link: &Link) -> Place {
        let can_speak = ip.is_ipv4() || link.link_local.is_some();
        match self.addresses.get(&ip) {
            None => Place::Unknown,
            Some(entry) if !can_speak || !entry.interfaces.contains(&link.name) => Place::Elsewhere,
            Some(Entry { silent: true, .. }) => Place::Silent,
            Some(_) => Place::Here,
        }
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
