//! Two nodes that have one address, as each hears the other on the segment. In the program `metallb-l2` does this.

use std::{net::IpAddr, time::Duration};

use metallb_engine::{Claim, Conflict, Event};

use crate::{
    Sabotage,
    host::{self, State, service_ip},
    plan,
    world::{Happening, World},
};

/// Between two rounds of gratuitous frames, and how many there are.
const ROUND: Duration = Duration::from_millis(1100);
const ROUNDS: u32 = 5;
/// A claimant is told of so often at most.
const REPEAT: Duration = Duration::from_secs(1);
/// One that is heard again later is told of as if it were for the first time.
const EPISODE: Duration = Duration::from_secs(60);
/// An address is insisted on so often at most.
const DEFEND: Duration = Duration::from_secs(10);
/// After so much silence the other is asked whether it is there, and after so much more it is not; sooner if it was not heard
/// since the address was yielded.
const ASK: Duration = Duration::from_secs(2);
const SILENT: Duration = Duration::from_secs(1);
const ASK_FIRST: Duration = Duration::from_millis(100);
const SILENT_FIRST: Duration = Duration::from_millis(600);

impl World {
    fn number(&self, ip: IpAddr) -> Option<usize> {
        (0..self.plan.candidates.len()).find(|address| service_ip(*address) == ip)
    }

    /// Tells the segment that a node answers for an address, again and again for a while.
    pub(crate) fn burst(&mut self, node: usize, address: usize) {
        self.round(node, address, ROUNDS);
    }

    pub(crate) fn round(&mut self, node: usize, address: usize, left: u32) {
        let host = &self.hosts[node];
        let run = host.run;
        if left == 0 || host.state == State::Leaving || host.released.contains(&address) || !host.is_answering(address)
        {
            return;
        }
        self.claim(node, address);
        let left = left - 1;
        self.after(
            ROUND,
            Happening::Round {
                node,
                run,
                address,
                left,
            },
        );
    }

    /// Another is heard to claim the address.
    pub(crate) fn claimed(&mut self, node: usize, address: usize, by: Option<usize>) {
        let host = &mut self.hosts[node];
        let Some(by) = by.filter(|_| host.state != State::Leaving && !host.released.contains(&address)) else {
            self.hand_over(node, address);
            return;
        };
        if !host.answers.contains(&address) || host.plain || self.sabotage == Some(Sabotage::NeverYield) {
            return;
        }
        let now = self.now;
        let known = host.claims.insert((address, by), (now, now));
        let claim = match known {
            Some((heard, told)) if heard + EPISODE > now => {
                if told + REPEAT > now {
                    host.claims.insert((address, by), (now, told));
                    return;
                }
                Claim::Repeated
            }
            _ => Claim::First,
        };
        let conflict = Conflict {
            ip: service_ip(address),
            interface: "eth0".to_owned(),
            mac: host::mac(by),
            claim,
        };
        if let Some(process) = &mut host.process {
            process.pending.conflicts.push(Event::Conflict(conflict));
            self.wake(node);
        }
    }

    pub(crate) fn yield_to(&mut self, node: usize, ip: IpAddr) {
        let Some(address) = self.number(ip) else { return };
        self.note(|| format!("{} yields {ip}", plan::name(node)));
        let host = &mut self.hosts[node];
        host.yielded.insert(address);
        let (run, silent, patience) = (host.run, false, SILENT_FIRST);
        self.judge.look = true;
        self.after(
            ASK_FIRST,
            Happening::StillThere {
                node,
                run,
                address,
                silent,
                patience,
            },
        );
    }

    pub(crate) fn resume(&mut self, node: usize, ip: IpAddr) {
        let Some(address) = self.number(ip) else { return };
        if self.hosts[node].yielded.remove(&address) {
            self.note(|| format!("{} resumes {ip}", plan::name(node)));
            self.judge.look = true;
            self.burst(node, address);
        }
    }

    pub(crate) fn defend(&mut self, node: usize, ip: IpAddr) {
        let Some(address) = self.number(ip) else { return };
        self.resume(node, ip);
        let (now, host) = (self.now, &mut self.hosts[node]);
        if host.defended.get(&address).is_none_or(|at| *at + DEFEND <= now) {
            host.defended.insert(address, now);
            self.note(|| format!("{} insists on {ip}", plan::name(node)));
            self.round(node, address, 2);
        }
    }

    /// Asks whether another still answers for an address that was left to it.
    pub(crate) fn still_there(&mut self, node: usize, address: usize, silent: bool, patience: Duration) {
        let host = &self.hosts[node];
        let run = host.run;
        if !host.yielded.contains(&address) {
            return;
        }
        let rival = |other: usize| {
            other != node
                && self.hosts[other].is_answering(address)
                && self.hears(other, node)
                && self.hears(node, other)
        };
        let there = (0..self.hosts.len()).any(rival);
        let (wait, next, patience) = match (there, silent) {
            (true, _) => (ASK, false, SILENT),
            (false, false) => (patience, true, patience),
            (false, true) => {
                if let Some(process) = &mut self.hosts[node].process {
                    process.pending.conflicts.push(Event::ClaimsEnded(service_ip(address)));
                    self.wake(node);
                }
                (ASK, false, SILENT)
            }
        };
        let silent = next;
        self.after(
            wait,
            Happening::StillThere {
                node,
                run,
                address,
                silent,
                patience,
            },
        );
    }
}
