//! How two ends of a link without configured addresses find each other (unnumbered peering), sans-IO.
//!
//! Each end sends router advertisements, whose source is its link-local address, as FRR does on an interface with
//! `neighbor <interface> interface`; the source of an advertisement is the address to dial.
//!
//! The router lifetime does not matter here. It says whether the sender is a default router (RFC 4861 §4.2), not whether it
//! speaks BGP: FRR sends 30 seconds on such an interface, or 0 with `ipv6 nd ra-lifetime 0`, and takes a neighbour from an
//! advertisement with either.

mod packet;
#[cfg(test)]
mod tests;

use std::{
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use bytes::Bytes;

use self::packet::Kind;

/// The router lifetime in our advertisements, in seconds; FRR's value.
const LIFETIME: u16 = 30;
/// The time between two advertisements; FRR's value on such links.
const INTERVAL: Duration = Duration::from_secs(10);
/// The time between the first advertisements, and the least between any two.
const QUICK_INTERVAL: Duration = Duration::from_secs(1);
/// How many advertisements follow each other quickly after the link came up: the other end may be up a moment later.
const QUICK: u32 = 4;
/// How long a router may be silent before another one replaces it.
const SILENCE: Duration = Duration::from_secs(30);

/// Our end of a link that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryLink {
    /// The index of the interface.
    pub index: u32,
    /// Our link-local address on it.
    pub local: Ipv6Addr,
    /// Our hardware address, if the link has hardware addresses.
    pub mac: Option<[u8; 6]>,
    /// How often the carrier came up: after each time the router may be another one.
    pub carrier_ups: u32,
}

/// What happens on a link.
#[derive(Clone, Debug)]
pub enum DiscoveryEvent<'a> {
    /// The link works as described, or does not work.
    Link(Option<DiscoveryLink>),
    /// An ICMPv6 packet came from this address, over no router (its hop limit was 255).
    Heard(Ipv6Addr, &'a [u8]),
    /// [`Discovery::next_deadline`] has passed.
    Tick,
    /// This node leaves the link for good.
    Leave,
}

/// What the shell must do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiscoveryAction {
    /// Send this ICMPv6 packet with hop limit 255 to this group.
    Send(Ipv6Addr, Bytes),
    /// The router has this address from now on; `None` if no router is known any longer.
    Router(Option<Ipv6Addr>),
}

/// Finds the router on one link, and advertises this node to it.
#[derive(Debug, Default)]
pub struct Discovery {
    link: Option<DiscoveryLink>,
    /// The router, and when it was heard last.
    router: Option<(Ipv6Addr, Instant)>,
    /// Counts advertisements since the link came up.
    sent: u32,
    last: Option<Instant>,
    next: Option<Instant>,
}

impl Discovery {
    /// `ff02::1`, RFC 4291 §2.7.1.
    pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    /// `ff02::2`, which the shell must join.
    pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

    /// Returns when [`DiscoveryEvent::Tick`] is due, if at all.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Feeds one event; returns what the shell must do, in order.
    pub fn handle(&mut self, now: Instant, event: DiscoveryEvent<'_>) -> Vec<DiscoveryAction> {
        match event {
            DiscoveryEvent::Link(link) => self.on_link(now, link),
            DiscoveryEvent::Heard(from, packet) => self.on_heard(now, from, packet),
            DiscoveryEvent::Tick if self.next.is_some_and(|at| at <= now) => self.show(now),
            DiscoveryEvent::Tick => Vec::new(),
            DiscoveryEvent::Leave => self.leave(),
        }
    }

    fn on_link(&mut self, now: Instant, link: Option<DiscoveryLink>) -> Vec<DiscoveryAction> {
        if self.link == link {
            return Vec::new();
        }
        let known = self.router.take().is_some();
        *self = Self {
            link,
            ..Self::default()
        };
        let mut actions = Vec::new();
        if known {
            actions.push(DiscoveryAction::Router(None));
        }
        if self.link.is_some() {
            actions.extend(self.show(now));
        }
        actions
    }

    fn on_heard(&mut self, now: Instant, from: Ipv6Addr, packet: &[u8]) -> Vec<DiscoveryAction> {
        let ours = self.link.as_ref().is_none_or(|link| link.local == from);
        match packet::kind(packet).filter(|_| !ours) {
            Some(Kind::Solicitation) => {
                // One advertisement answers all solicitations of a second.
                let soon = self.last.map_or(now, |last| now.max(last + QUICK_INTERVAL));
                self.next = self.next.map(|next| next.min(soon));
                self.handle(now, DiscoveryEvent::Tick)
            }
            Some(Kind::Advertisement) if from.is_unicast_link_local() => self.on_router(now, from),
            _ => Vec::new(),
        }
    }

    /// The first router stays until it has been silent for [`SILENCE`]: a second one must not end a session that works.
    fn on_router(&mut self, now: Instant, from: Ipv6Addr) -> Vec<DiscoveryAction> {
        match &mut self.router {
            Some((router, heard)) if *router == from => *heard = now,
            Some((_, heard)) if now.saturating_duration_since(*heard) < SILENCE => {}
            router => {
                *router = Some((from, now));
                return vec![DiscoveryAction::Router(Some(from))];
            }
        }
        Vec::new()
    }

    fn show(&mut self, now: Instant) -> Vec<DiscoveryAction> {
        let Some(link) = &self.link else { return Vec::new() };
        let advertisement = packet::advertisement(link.mac, LIFETIME);
        let mut actions = vec![DiscoveryAction::Send(Self::ALL_NODES, advertisement)];
        self.sent = self.sent.saturating_add(1);
        let quick = self.sent < QUICK;
        if quick && self.router.is_none() {
            actions.push(DiscoveryAction::Send(Self::ALL_ROUTERS, packet::solicitation(link.mac)));
        }
        self.last = Some(now);
        self.next = Some(now + if quick { QUICK_INTERVAL } else { INTERVAL });
        actions
    }

    /// Announces that this node is no longer a router (RFC 4861 §6.2.5).
    fn leave(&mut self) -> Vec<DiscoveryAction> {
        self.next = None;
        let link = self.link.take();
        let goodbye = link.map(|link| DiscoveryAction::Send(Self::ALL_NODES, packet::advertisement(link.mac, 0)));
        goodbye.into_iter().collect()
    }
}
