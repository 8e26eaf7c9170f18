//! Other hosts that claim an announced address: who is told of them, when the address is defended, and when they are gone.

mod dispute;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use smoltcp::wire::EthernetAddress;

use crate::{deadlines::Deadlines, responder::Claim};
use dispute::Dispute;

/// How many conflicts are confirmed in [`dispute::DEFEND_INTERVAL`] at most: enough for any honest segment, and a forger of
/// addresses cannot fill logs and events.
const CONFIRMED: usize = 256;

/// Which report about a claimant it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Heard for the first time, or again after a minute of silence. May be the new owner of a planned move, heard
    /// before this node is told to withdraw.
    First,
    /// It is heard again; told at most once a second.
    Repeated,
    /// Its claim has outlasted a planned move (one second); once, until it has been silent for a minute. Not told of
    /// another speaker, nor about a yielded address.
    Confirmed,
}

impl Report {
    /// Says whether users should see it, as `addressConflict`.
    #[must_use]
    pub fn is_for_users(self) -> bool {
        self == Self::Confirmed
    }
}

/// Another host claims an address that we announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The address.
    pub ip: IpAddr,
    /// The interface on which it was heard, by index.
    pub ifindex: u32,
    /// Who claims it.
    pub mac: EthernetAddress,
    /// Which report it is.
    pub report: Report,
}

/// What follows from a claim, or from its absence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Report(Conflict),
    Count {
        ip: IpAddr,
        frames: u64,
        peer: bool,
    },
    /// Tell the segment once that the address is here.
    Announce(IpAddr),
    /// Ask who has the address: one host, or everybody.
    Ask {
        ip: IpAddr,
        whom: Option<(u32, EthernetAddress)>,
    },
    Ended(IpAddr),
}

/// The addresses that others claim, or that are yielded; at most those that are announced.
#[derive(Debug, Default)]
pub(crate) struct Conflicts {
    peers: BTreeSet<EthernetAddress>,
    disputes: BTreeMap<IpAddr, Dispute>,
    timers: Deadlines,
    confirmed: Confirmed,
}

impl Conflicts {
    pub(crate) fn set_peers(&mut self, peers: BTreeSet<EthernetAddress>) {
        self.peers = peers;
    }

    pub(crate) fn is_peer(&self, mac: EthernetAddress) -> bool {
        self.peers.contains(&mac)
    }

    /// Takes in a claim of an address that is announced here, or yielded.
    pub(crate) fn hear(&mut self, now: Instant, ifindex: u32, claim: Claim, outcomes: &mut Vec<Outcome>) {
        let peer = self.is_peer(claim.mac);
        self.change(now, claim.ip, |dispute| {
            dispute.hear(now, ifindex, claim, peer, outcomes);
        });
    }

    /// The address is silent here from now on.
    pub(crate) fn yielded(&mut self, now: Instant, ip: IpAddr) {
        self.change(now, ip, |dispute| dispute.set_yielded(now, true));
    }

    pub(crate) fn resumed(&mut self, now: Instant, ip: IpAddr) {
        if self.disputes.contains_key(&ip) {
            self.change(now, ip, |dispute| dispute.set_yielded(now, false));
        }
    }

    /// Insists on the address.
    pub(crate) fn defend(&mut self, now: Instant, ip: IpAddr, outcomes: &mut Vec<Outcome>) {
        self.change(now, ip, |dispute| dispute.defend(now, outcomes));
    }

    /// Says whether another host has claimed the address lately.
    pub(crate) fn is_claimed(&self, now: Instant, ip: IpAddr) -> bool {
        self.disputes.get(&ip).is_some_and(|dispute| dispute.is_claimed(now))
    }

    /// The address belongs to another node now, so the claim was its move, not a conflict.
    pub(crate) fn withdrawn(&mut self, ip: IpAddr) {
        self.disputes.remove(&ip);
        self.timers.remove(ip);
    }

    /// The addresses that other speakers have claimed lately.
    pub(crate) fn claimed_by_peers(&self, now: Instant) -> Vec<IpAddr> {
        let claimed = self
            .disputes
            .iter()
            .filter(|(_, dispute)| dispute.is_claimed_by_peer(now));
        claimed.map(|(ip, _)| *ip).collect()
    }

    pub(crate) fn clear(&mut self) {
        self.disputes.clear();
        self.timers = Deadlines::default();
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Does what is due, for at most `budget` addresses.
    pub(crate) fn work(&mut self, now: Instant, budget: usize, outcomes: &mut Vec<Outcome>) {
        for _ in 0..budget {
            let Some(ip) = self.timers.due(now) else { return };
            let mut confirmed = std::mem::take(&mut self.confirmed);
            self.change(now, ip, |dispute| dispute.work(now, &mut confirmed, outcomes));
            self.confirmed = confirmed;
        }
    }

    /// Keeps the timers in step with the dispute about `ip`.
    fn change(&mut self, now: Instant, ip: IpAddr, change: impl FnOnce(&mut Dispute)) {
        let dispute = self.disputes.entry(ip).or_insert_with(|| Dispute::new(now, ip));
        change(dispute);
        if dispute.is_over() {
            self.withdrawn(ip);
        } else {
            self.timers.set(ip, dispute.due());
        }
    }
}

/// How many conflicts were confirmed lately.
#[derive(Debug, Default)]
struct Confirmed {
    since: Option<Instant>,
    count: usize,
}

impl Confirmed {
    /// Takes one more, if there is room.
    fn admit(&mut self, now: Instant, within: Duration) -> bool {
        if self.since.is_none_or(|since| now >= since + within) {
            *self = Self {
                since: Some(now),
                count: 0,
            };
        }
        self.count += 1;
        self.count <= CONFIRMED
    }
}

#[cfg(test)]
mod tests;
