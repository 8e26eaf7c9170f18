//! The state machine: events in, actions out.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::{
    attention::Attention,
    backlog::{Backlog, Batch, Change},
    checks::{Checks, Step},
    conflicts::{Conflicts, Outcome},
    cover::Cover,
    deadlines::Deadlines,
    event::{Action, Count, Event, Protocol, Purpose},
    filter,
    gratuitous::Gratuitous,
    interfaces::{Interfaces, Selection},
    probes::{self, Probes},
    responder::{self, Claim, PacketType, Stage},
    table::Table,
};

/// How many changes are handled at a time; frames are answered in between.
const SLICE: usize = 64;
/// How many addresses are checked at a time for one that no interface announces.
const LOOKED_AT: usize = 8 * SLICE;
/// How long a released address is answered: a node that takes over has announced by then, or does not take over at all.
const HAND_OVER: Duration = Duration::from_secs(1);

/// Layer 2 of one node.
///
/// What one event costs does not depend on how many addresses are announced. A long list of changes is worked through
/// in slices: the next deadline is due at once until it is done.
#[derive(Debug)]
pub struct Core {
    table: Table,
    backlog: Backlog,
    gratuitous: Gratuitous,
    conflicts: Conflicts,
    probes: Probes,
    /// Addresses that another node takes over, by when their answers end if that node is not heard.
    releases: Deadlines,
    checks: Checks,
    arp: Cover,
    ndp: Cover,
    attention: Attention,
    /// Addresses that were left to another speaker while nobody decided.
    left: BTreeSet<IpAddr>,
    handing_over: bool,
    /// The last address that was looked at for one that nobody can hear, while they are.
    inaudible: Option<Option<IpAddr>>,
    /// Set while a slice has left something undone.
    unfinished: Option<Instant>,
}

impl Core {
    /// Creates a core without interfaces and addresses. `refresh` is the interval at which announced addresses are
    /// repeated unasked, `None` or zero = never; `seed` spreads it and should differ between nodes.
    #[must_use]
    pub fn new(refresh: Option<Duration>, seed: u64) -> Self {
        Self {
            table: Table::default(),
            backlog: Backlog::default(),
            gratuitous: Gratuitous::new(refresh, seed),
            conflicts: Conflicts::default(),
            probes: Probes::default(),
            releases: Deadlines::default(),
            checks: Checks::default(),
            arp: Cover::default(),
            ndp: Cover::default(),
            attention: Attention::default(),
            left: BTreeSet::new(),
            handing_over: false,
            inaudible: None,
            unfinished: None,
        }
    }

    /// Has new addresses announced only once nobody answers for them (see [`Event::Changed`]). An address that another
    /// host has is silent and is asked about again every ten seconds; the host is told of as [`Action::Conflict`]. One
    /// that another speaker has is taken over at once, and one that no interface can announce is not asked about.
    #[must_use]
    pub fn check_before_announcing(mut self, on: bool) -> Self {
        self.checks.on = on;
        self
    }

    /// Feeds one event; returns what the shell must do, in order.
    pub fn handle(&mut self, now: Instant, event: Event<'_>) -> Vec<Action> {
        let mut actions = Vec::new();
        self.handle_into(now, event, &mut actions);
        actions
    }

    /// As [`Self::handle`], and puts what the shell must do behind what is in `actions`. A frame that is answered or
    /// ignored allocates nothing if there is room for two.
    pub fn handle_into(&mut self, now: Instant, event: Event<'_>, actions: &mut Vec<Action>) {
        match event {
            Event::Frame {
                ifindex,
                packet_type,
                bytes,
            } => return self.on_frame(now, ifindex, packet_type, bytes, actions),
            Event::Links(selection) => self.on_links(now, selection, actions),
            Event::Attended => self.attention.hear(now),
            Event::Changed(changes) => self.backlog.push(Batch::Changes(changes.into_iter())),
            Event::Release(addresses) => self.backlog.push(Batch::Releases(addresses.into_iter())),
            Event::Reannounce => self.gratuitous.reannounce(),
            Event::HandOver => self.on_hand_over(now),
            Event::Probe(ip) => self.on_probe(now, ip.to_canonical(), actions),
            Event::Yield(ip) => self.on_yield(now, ip.to_canonical(), actions),
            Event::Resume(ip) => self.on_resume(now, ip.to_canonical(), actions),
            Event::Defend(ip) => self.on_defend(now, ip.to_canonical(), actions),
            Event::Peers(macs) => self.conflicts.set_peers(macs),
            Event::Tick => {}
        }
        self.work(now, actions);
    }

    /// When `handle` wants `Event::Tick` next, if at all.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let parts = [
            self.unfinished,
            self.gratuitous.next_deadline(),
            self.conflicts.next_deadline(),
            self.probes.next_deadline(),
            self.releases.next(),
            self.checks.next_deadline(),
            self.attention.next_deadline(),
            self.arp.next_deadline(),
            self.ndp.next_deadline(),
        ];
        parts.into_iter().flatten().min()
    }

    /// Says whether every address has been handed over since [`Event::HandOver`].
    #[must_use]
    pub fn is_handed_over(&self) -> bool {
        self.handing_over && self.backlog.is_empty() && self.table.is_empty()
    }

    fn on_frame(
        &mut self,
        now: Instant,
        ifindex: u32,
        packet_type: PacketType,
        bytes: &[u8],
        actions: &mut Vec<Action>,
    ) {
        let (link, message) = match responder::read(&self.table, ifindex, packet_type, bytes) {
            Ok(read) => read,
            Err(reason) => return actions.push(Action::Count(Count::Dropped { reason, ifindex })),
        };
        actions.extend(self.probes.answered(&self.table, &message));
        let heard = responder::judge(&self.table, link, &message);
        actions.push(match heard.answer {
            Ok(answer) => Action::Send {
                ifindex,
                ip: answer.ip,
                purpose: Purpose::Answer { to: answer.to },
                frame: answer.frame,
            },
            Err(reason) => Action::Count(Count::Dropped { reason, ifindex }),
        });
        let Some(claim) = heard.claim else { return };
        match (self.handing_over || self.releases.contains(claim.ip), claim.stage) {
            (false, _) => {
                // What is to be announced now is due at once.
                let mut outcomes = Vec::new();
                if claim.stage == Stage::Uses {
                    self.on_check_answered(now, claim, actions);
                }
                self.conflicts.hear(now, ifindex, claim, &mut outcomes);
                self.settle(now, outcomes, actions);
                if claim.stage == Stage::Uses && self.attention.is_missing(now) && self.conflicts.is_peer(claim.mac) {
                    self.leave(now, claim.ip, actions);
                }
            }
            (true, Stage::Uses) => self.withdraw(now, claim.ip, actions),
            (true, Stage::Probes) => {}
        }
    }

    fn on_links(&mut self, now: Instant, selection: Selection, actions: &mut Vec<Action>) {
        self.table.set_links(selection.links, selection.own_macs);
        self.gratuitous.links_changed(now, &self.table, actions);
        if self.handing_over {
            self.gratuitous.fall_silent(now);
            self.inaudible = Some(None);
        }
    }

    fn on_hand_over(&mut self, now: Instant) {
        self.handing_over = true;
        self.gratuitous.fall_silent(now);
        self.conflicts.clear();
        self.inaudible = Some(None);
    }

    /// The kernel filter is widened for the answers before anybody is asked.
    fn on_probe(&mut self, now: Instant, ip: IpAddr, actions: &mut Vec<Action>) {
        if self.table.has(ip) {
            return;
        }
        if self.probes.begin(now, ip) {
            self.cover(ip).announce(ip);
        }
        self.refilter(now, actions);
        actions.extend(probes::questions(&self.table, ip));
    }

    fn on_check_answered(&mut self, now: Instant, claim: Claim, actions: &mut Vec<Action>) {
        if !self.checks.contains(claim.ip) {
            return;
        }
        if self.conflicts.is_peer(claim.mac) {
            self.on_resume(now, claim.ip, actions);
        } else {
            self.checks.answered(now, claim.ip);
        }
    }

    fn on_yield(&mut self, now: Instant, ip: IpAddr, actions: &mut Vec<Action>) {
        self.left.remove(&ip);
        if self.handing_over {
            self.withdraw(now, ip, actions);
        } else if self.table.set_silent(ip, true) | self.checks.end(ip) {
            self.gratuitous.changed(now, ip, &self.table, actions);
            self.conflicts.yielded(now, ip);
        }
    }

    /// The caller is missing and another speaker announces the address: leaves it to that one.
    fn leave(&mut self, now: Instant, ip: IpAddr, actions: &mut Vec<Action>) {
        if self.table.has(ip) && !self.table.is_silent(ip) {
            self.on_yield(now, ip, actions);
            self.left.insert(ip);
        }
    }

    fn on_resume(&mut self, now: Instant, ip: IpAddr, actions: &mut Vec<Action>) {
        self.left.remove(&ip);
        self.checks.end(ip);
        if self.table.set_silent(ip, false) {
            self.conflicts.resumed(now, ip);
            self.gratuitous.changed(now, ip, &self.table, actions);
        }
    }

    fn on_defend(&mut self, now: Instant, ip: IpAddr, actions: &mut Vec<Action>) {
        if self.handing_over || !self.table.has(ip) {
            return;
        }
        self.on_resume(now, ip, actions);
        let mut outcomes = Vec::new();
        self.conflicts.defend(now, ip, &mut outcomes);
        self.settle(now, outcomes, actions);
    }

    /// Does what follows from claims.
    fn settle(&mut self, now: Instant, outcomes: Vec<Outcome>, actions: &mut Vec<Action>) {
        for outcome in outcomes {
            match outcome {
                Outcome::Report(conflict) => actions.push(Action::Conflict(conflict)),
                Outcome::Count { ip, frames, peer } => {
                    actions.push(Action::Count(Count::Claims { ip, frames, peer }));
                }
                Outcome::Announce(ip) => self.gratuitous.tell_once(ip, &self.table),
                Outcome::Ask { ip, whom } => actions.extend(probes::questions_to(&self.table, ip, whom)),
                Outcome::Ended(ip) => {
                    if self.left.contains(&ip) {
                        self.on_resume(now, ip, actions);
                    }
                    actions.push(Action::ClaimsEnded(ip));
                }
            }
        }
    }

    /// Who takes over what is announced on no interface cannot be heard, and nobody misses an answer.
    fn drop_inaudible(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(last) = self.inaudible else { return };
        let looked_at: Vec<IpAddr> = self.table.after(last).take(LOOKED_AT).collect();
        self.inaudible = looked_at.get(LOOKED_AT - 1).map(|last| Some(*last));
        for ip in looked_at {
            if !self.table.is_audible(ip) {
                self.withdraw(now, ip, actions);
            }
        }
    }

    /// Does one slice of what is to do. What is withdrawn is silent before anything new is said, and the kernel shows
    /// requests for an address before the segment learns of it.
    fn work(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for _ in 0..SLICE {
            match self.backlog.pop() {
                Some(Change::Wanted(ip, wanted)) => self.apply(now, ip.to_canonical(), wanted, actions),
                Some(Change::Released(ip)) => self.release(now, ip.to_canonical(), actions),
                None => break,
            }
        }
        self.drop_inaudible(now, actions);
        if self.attention.notice(now) {
            for ip in self.conflicts.claimed_by_peers(now) {
                self.leave(now, ip, actions);
            }
        }
        for _ in 0..SLICE {
            match self.releases.due(now) {
                Some(ip) => self.withdraw(now, ip, actions),
                None => break,
            }
        }
        for _ in 0..SLICE {
            match self.checks.step(now) {
                Some(Step::Ask(ip)) => self.check(now, ip, actions),
                Some(Step::Announce(ip)) => self.on_resume(now, ip, actions),
                None => break,
            }
        }
        for ip in self.probes.end(now) {
            self.cover(ip).withdraw(now);
        }
        self.refilter(now, actions);
        let mut outcomes = Vec::new();
        self.conflicts.work(now, SLICE, &mut outcomes);
        self.settle(now, outcomes, actions);
        self.gratuitous.work(now, &self.table, SLICE, actions);
        let behind = !self.backlog.is_empty() || self.inaudible.is_some() || self.gratuitous.is_behind(now);
        self.unfinished = behind.then_some(now);
    }

    /// The kernel shows answers before anybody is asked. Where nobody can be asked nobody can be disturbed.
    fn check(&mut self, now: Instant, ip: IpAddr, actions: &mut Vec<Action>) {
        self.refilter(now, actions);
        let before = actions.len();
        actions.extend(probes::questions_where_silent(&self.table, ip));
        if actions.len() == before {
            self.on_resume(now, ip, actions);
        }
    }

    fn refilter(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let ipv4 = self.table.addresses().take_while(IpAddr::is_ipv4);
        if let Some(ranges) = self.arp.news(now, ipv4) {
            actions.push(Action::Filter {
                protocol: Protocol::Arp,
                program: filter::arp(ranges),
            });
        }
        let ipv6 = self.table.addresses().filter(IpAddr::is_ipv6);
        if let Some(ranges) = self.ndp.news(now, ipv6) {
            actions.push(Action::Filter {
                protocol: Protocol::Ndp,
                program: filter::ndp(ranges),
            });
        }
    }

    fn apply(&mut self, now: Instant, ip: IpAddr, wanted: Option<Interfaces>, actions: &mut Vec<Action>) {
        match wanted {
            None => self.withdraw(now, ip, actions),
            Some(_) if self.handing_over => {}
            Some(interfaces) => {
                self.releases.remove(ip);
                if self.table.announce(ip, interfaces) {
                    self.cover(ip).announce(ip);
                    if self.checks.on {
                        self.table.set_silent(ip, true);
                        self.checks.begin(now, ip);
                    }
                }
                self.gratuitous.changed(now, ip, &self.table, actions);
            }
        }
    }

    fn release(&mut self, now: Instant, ip: IpAddr, actions: &mut Vec<Action>) {
        if self.conflicts.is_claimed(now, ip) || !self.table.is_audible(ip) {
            return self.withdraw(now, ip, actions);
        }
        if !self.handing_over {
            self.table.set_leaving(ip);
            self.gratuitous.changed(now, ip, &self.table, actions);
            self.conflicts.withdrawn(ip);
            self.releases.set(ip, now + HAND_OVER);
        }
    }

    fn withdraw(&mut self, now: Instant, ip: IpAddr, actions: &mut Vec<Action>) {
        self.releases.remove(ip);
        if self.table.withdraw(ip) {
            self.cover(ip).withdraw(now);
            self.conflicts.withdrawn(ip);
            self.checks.end(ip);
            self.left.remove(&ip);
            self.gratuitous.changed(now, ip, &self.table, actions);
        }
    }

    fn cover(&mut self, ip: IpAddr) -> &mut Cover {
        match Protocol::of(ip) {
            Protocol::Arp => &mut self.arp,
            Protocol::Ndp => &mut self.ndp,
        }
    }
}

#[cfg(test)]
mod tests;
