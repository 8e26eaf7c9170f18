//! Another member, as it answers.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

/// Number of unanswered pings that are remembered; an answer to an older one proves little.
const OUTSTANDING: usize = 16;
/// Shortest interval between two pings caused by packets of an unknown run.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// A doubt about a member, while everybody is asked about it.
#[derive(Debug)]
pub(super) struct Doubt {
    pub(super) since: Instant,
    /// When it is asked about next.
    pub(super) next: Instant,
    pub(super) rounds: usize,
    /// Sequences of the asks.
    pub(super) asks: Vec<u64>,
    /// Members heard since, and when first.
    pub(super) roll: BTreeMap<String, Instant>,
}

impl Doubt {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            next: now,
            rounds: 0,
            asks: Vec::new(),
            roll: BTreeMap::new(),
        }
    }
}

/// Another member.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// The run that has answered a ping. Its silence means nothing before.
    pub(super) boot: Option<u64>,
    /// Highest sequence heard of that run, and which of the 64 before were.
    highest: u64,
    window: u64,
    pub(super) heard: Instant,
    pub(super) ping_at: Instant,
    pings: VecDeque<u64>,
    pinged_at: Option<Instant>,
    pub(super) doubt: Option<Doubt>,
    /// Whether its silence is left to memberlist until it is heard again.
    pub(super) given_up: bool,
}

impl Peer {
    pub(super) fn new(address: SocketAddr, now: Instant) -> Self {
        Self {
            address,
            boot: None,
            highest: 0,
            window: 0,
            heard: now,
            ping_at: now,
            pings: VecDeque::new(),
            pinged_at: None,
            doubt: None,
            given_up: false,
        }
    }

    /// Tells whether it may be pinged because of a packet of an unknown run. This is limited: its answers are such packets
    /// too, so two nodes could ping each other without pause.
    pub(super) fn may_be_asked(&self, now: Instant) -> bool {
        self.pinged_at.is_none_or(|at| at + ASK_AGAIN <= now)
    }

    pub(super) fn pinged(&mut self, sequence: u64, now: Instant) {
        self.pinged_at = Some(now);
        if self.pings.len() >= OUTSTANDING {
            self.pings.pop_front();
        }
        self.pings.push_back(sequence);
    }

    /// Says whether a ping with this sequence was on its way; it is no longer.
    pub(super) fn acked(&mut self, sequence: u64) -> bool {
        let at = self.pings.iter().position(|ping| *ping == sequence);
        at.and_then(|at| self.pings.remove(at)).is_some()
    }

    /// Leaves it to memberlist to find out whether it is there.
    pub(super) fn give_up(&mut self) {
        self.doubt = None;
        self.given_up = true;
    }

    /// It is there: this run of it, if that is known.
    pub(super) fn hear(&mut self, boot: Option<u64>, now: Instant) {
        if boot.is_some() && self.boot != boot {
            self.boot = boot;
            (self.highest, self.window) = (0, 0);
        }
        self.heard = now;
        self.doubt = None;
        self.given_up = false;
    }

    /// Says whether a packet of the known run has not been heard yet; a run that has not answered proves nothing.
    pub(super) fn is_new(&mut self, boot: u64, sequence: u64) -> bool {
        if self.boot != Some(boot) {
            return false;
        }
        if sequence > self.highest {
            let ahead = u32::try_from(sequence - self.highest).unwrap_or(u32::MAX);
            self.window = self.window.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = sequence;
            return true;
        }
        let bit = u32::try_from(self.highest - sequence)
            .ok()
            .and_then(|behind| 1u64.checked_shl(behind));
        let Some(bit) = bit.filter(|bit| self.window & bit == 0) else {
            return false;
        };
        self.window |= bit;
        true
    }

    /// Starts to count its silence from now.
    pub(super) fn start_anew(&mut self, now: Instant) {
        self.heard = now;
        self.doubt = None;
    }

    /// Does not count a time in which this node could not hear it.
    pub(super) fn wait_longer(&mut self, late: Duration, now: Instant) {
        self.heard = (self.heard + late).min(now);
    }

    /// Says whether its silence means anything.
    pub(super) fn is_judged(&self) -> bool {
        self.boot.is_some() && !self.given_up
    }

    pub(super) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "its value does not matter")]
    fn a_packet_counts_once_and_only_of_the_run_that_answered() {
        let now = Instant::now();
        let mut peer = Peer::new(([192, 0, 2, 1], 7946).into(), now);
        assert!(!peer.is_new(1, 5));
        peer.hear(Some(1), now);
        let sequences = [5, 5, 3, 3, 70, 5, 6, 7, 7];
        let news = sequences.map(|sequence| peer.is_new(1, sequence));
        assert_eq!(news, [true, false, true, false, true, false, false, true, false]);
        assert!(!peer.is_new(2, 99), "of another run");
    }
}
