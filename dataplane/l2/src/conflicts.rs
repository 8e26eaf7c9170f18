//! Other hosts that claim an announced address, told once they can no longer be a planned move.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    time::{Duration, Instant},
};

use smoltcp::wire::EthernetAddress;

use crate::{layer2::Action, responder::Claim};

/// When an address moves, its new owner may be heard before this node is told to withdraw it.
const MOVE: Duration = Duration::from_secs(1);
/// A conflict is told so often at most (RFC 5227 DEFEND_INTERVAL).
const INTERVAL: Duration = Duration::from_secs(10);
/// Enough for any honest segment; a forger of hardware addresses must not fill our memory or log.
const REMEMBERED: usize = 256;

/// Another host claims an address that we announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The address.
    pub ip: IpAddr,
    /// The interface on which it was heard, by index.
    pub ifindex: u32,
    /// Who claims it.
    pub mac: EthernetAddress,
}

#[derive(Debug)]
struct Suspicion {
    conflict: Conflict,
    /// In how many frames it was heard.
    frames: u64,
    due: Instant,
}

/// Suspected and told conflicts.
#[derive(Debug, Default)]
pub(crate) struct Conflicts {
    /// By the time when they are due.
    suspected: VecDeque<Suspicion>,
    told: BTreeMap<(IpAddr, EthernetAddress), Instant>,
}

impl Conflicts {
    /// Holds a claim back for as long as it may be a move.
    pub(crate) fn suspect(&mut self, now: Instant, ifindex: u32, claim: Claim) {
        let Claim { ip, mac, .. } = claim;
        let known = |suspicion: &&mut Suspicion| (suspicion.conflict.ip, suspicion.conflict.mac) == (ip, mac);
        if let Some(suspicion) = self.suspected.iter_mut().find(known) {
            suspicion.frames += 1;
        } else if self.suspected.len() < REMEMBERED {
            self.suspected.push_back(Suspicion {
                conflict: Conflict { ip, ifindex, mac },
                frames: 1,
                due: now + MOVE,
            });
        }
    }

    /// The address is another's now: what was suspected about it was its move.
    pub(crate) fn withdrawn(&mut self, ip: IpAddr) {
        self.suspected.retain(|suspicion| suspicion.conflict.ip != ip);
    }

    pub(crate) fn forget_suspicions(&mut self) {
        self.suspected.clear();
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.suspected.front().map(|suspicion| suspicion.due)
    }

    /// Tells what has outlasted a move.
    pub(crate) fn tell(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while self.next_deadline().is_some_and(|due| due <= now) {
            let Some(Suspicion { conflict, frames, .. }) = self.suspected.pop_front() else {
                return;
            };
            actions.push(Action::Count(crate::layer2::Count::Claims {
                ip: conflict.ip,
                frames,
            }));
            if self.is_news(now, &conflict) {
                actions.push(Action::Conflict(conflict));
            }
        }
    }

    fn is_news(&mut self, now: Instant, conflict: &Conflict) -> bool {
        self.told.retain(|_, at| now < *at + INTERVAL);
        let key = (conflict.ip, conflict.mac);
        if self.told.contains_key(&key) || self.told.len() >= REMEMBERED {
            return false;
        }
        self.told.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests;
