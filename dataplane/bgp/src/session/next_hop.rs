//! Where a peer should send packets: NEXT_HOP by family (RFC 4271 §5.1.3, RFC 2545 §3, RFC 8950 §3).

use std::net::{IpAddr, Ipv6Addr};

use super::LinkAddresses;
use crate::wire::{Codec, Family, NextHop};

/// How routes of a family are sent on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The session is not meant to carry this family.
    NotWanted,
    /// The session is meant to carry this family, but the peer does not offer it.
    NotOffered,
    /// Both sides offer the family, but this node has no address to use as next hop.
    NoNextHop,
    /// Routes are sent with this next hop.
    Via(NextHop),
}

impl Reach {
    pub(super) fn is_lacking(self) -> bool {
        matches!(self, Self::NotOffered | Self::NoNextHop)
    }
}

/// How the routes of each family are sent on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHops {
    /// IPv4 unicast.
    pub ipv4: Reach,
    /// IPv6 unicast.
    pub ipv6: Reach,
}

impl NextHops {
    /// Lists the families whose routes are sent.
    pub fn carried(&self) -> Vec<Family> {
        self.families(|reach| matches!(reach, Reach::Via(_)))
    }

    /// Lists the families whose routes should be sent and cannot.
    pub fn lacking(&self) -> Vec<Family> {
        self.families(Reach::is_lacking)
    }

    fn families(&self, test: impl Fn(Reach) -> bool) -> Vec<Family> {
        let families = Family::UNICAST.into_iter();
        families.filter(|family| test(self.of(*family))).collect()
    }

    /// Returns how routes of a family are sent.
    pub fn of(&self, family: Family) -> Reach {
        match family {
            Family::IPV4_UNICAST => self.ipv4,
            Family::IPV6_UNICAST => self.ipv6,
            _ => Reach::NotWanted,
        }
    }

    /// Works out both families: the session's own, and the other one only if asked for.
    pub(super) fn choose(link: &LinkAddresses, codec: &Codec, dual_stack: bool) -> Self {
        let own = Family::of(link.local);
        let reach = |family, next_hop: Option<NextHop>| match next_hop {
            _ if family != own && !dual_stack => Reach::NotWanted,
            _ if !codec.carries(family) => Reach::NotOffered,
            Some(next_hop) => Reach::Via(next_hop),
            None => Reach::NoNextHop,
        };
        Self {
            ipv4: reach(Family::IPV4_UNICAST, ipv4(link, codec)),
            ipv6: reach(Family::IPV6_UNICAST, ipv6(link)),
        }
    }
}

/// Prefers an IPv4 next hop, which every router understands, to an IPv6 one (RFC 8950); but not between link-local
/// addresses, where the router may have no route to our IPv4 address.
fn ipv4(link: &LinkAddresses, codec: &Codec) -> Option<NextHop> {
    match link.local {
        IpAddr::V4(local) => Some(NextHop::V4(local)),
        IpAddr::V6(local) if is_link_local(&local) && codec.extended_next_hop => ipv6(link),
        IpAddr::V6(_) => match link.ipv4 {
            Some(address) => Some(NextHop::V4(address)),
            None if codec.extended_next_hop => ipv6(link),
            None => None,
        },
    }
}

fn ipv6(link: &LinkAddresses) -> Option<NextHop> {
    let global = match link.local {
        IpAddr::V6(local) if !is_link_local(&local) => Some(local),
        _ => link.ipv6,
    };
    let link_local = match link.local {
        IpAddr::V6(local) if is_link_local(&local) => Some(local),
        _ => link.link_local,
    };
    match (global, link_local) {
        (Some(global), Some(link_local)) => Some(NextHop::V6Pair(global, link_local)),
        (Some(global), None) => Some(NextHop::V6(global)),
        // What FRR sends on a link without global addresses.
        (None, Some(link_local)) => Some(NextHop::V6Pair(link_local, link_local)),
        (None, None) => None,
    }
}

fn is_link_local(address: &Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}
