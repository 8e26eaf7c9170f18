//! What the program does between the cores, and between them and the networks.

use std::time::Duration;

use metallb_config::Interfaces;
use metallb_engine::{Effect, Event as EngineEvent, Protocol};
use metallb_members::{
    Action, Event,
    fast::{Action as FastAction, Event as FastEvent, Question, Suspects},
};

use crate::{
    Sabotage,
    host::{self, Core, Process, State, Target, node_at, service_ip},
    plan,
    world::{Happening, World},
};

/// How late a task wakes up at most, in microseconds.
const LATE: u64 = 1_500;
/// How long the engine's task takes at most to look at what is new, in microseconds.
const TURN: u64 = 1_000;
/// How long the API takes at most to tell everything, in microseconds.
const API: u64 = 200_000;
/// How long one that leaves waits to hear the next owner.
const HAND_OVER: Duration = Duration::from_millis(1500);
/// How long an address is answered that another node takes over.
const RELEASE: Duration = Duration::from_secs(1);
/// Gratuitous frames are repeated so often, in microseconds.
const AGAIN: u64 = 1_100_000;

impl World {
    /// Starts a run of the speaker.
    pub(crate) fn start(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        host.run += 1;
        host.state = State::Running;
        host.process = Some(Process::new(host, self.now, &mut self.rng));
        let (run, known) = (host.run, std::mem::replace(&mut host.listed, true));
        for what in [Happening::Peers { node, run }, Happening::Listed { node, run }] {
            let delay = Duration::from_micros(self.rng.u64(0..API));
            self.after(delay, what);
        }
        self.plan_tick(node, Core::Members);
        if !known {
            self.tell_peers();
        }
    }

    /// The API tells all that run which speakers there are.
    fn tell_peers(&mut self) {
        for node in 0..self.hosts.len() {
            let run = self.hosts[node].run;
            if self.hosts[node].process.is_some() {
                let delay = Duration::from_micros(self.rng.u64(0..API));
                self.after(delay, Happening::Peers { node, run });
            }
        }
    }

    pub(crate) fn list(&mut self, node: usize) {
        let (events, said) = (self.cluster.clone(), host::said(&self.hosts));
        let Some(process) = &mut self.hosts[node].process else {
            return;
        };
        process.pending.links = true;
        let mut effects = process.engine.handle_all(events);
        effects.extend(process.engine.handle(said));
        self.perform(node, effects);
        self.wake(node);
    }

    /// Feeds the membership.
    pub(crate) fn feed_members(&mut self, node: usize, event: Event) {
        let host = &mut self.hosts[node];
        let now = host.clock.at(self.now);
        let Some(process) = &mut host.process else { return };
        let settled = process.members.settled();
        let actions = process.members.handle(now, event);
        let mut changed = false;
        process.pending.members |= process.members.settled() != settled;
        for action in actions {
            match action {
                Action::Send { to, bytes } => self.send(node, to, bytes),
                Action::Exchange {
                    id,
                    to,
                    request,
                    timeout,
                } => self.exchange(node, id, node_at(to), request, timeout),
                Action::Answer { id, bytes } => self.answer(node, id, bytes),
                Action::Up(name) => {
                    self.note(|| format!("{}: {name} is a member", plan::name(node)));
                    changed = true;
                }
                Action::Down(name, cause) => {
                    self.note(|| format!("{}: {name} is none, {cause:?}", plan::name(node)));
                    changed = true;
                }
                Action::Updated(_) => changed = true,
                Action::Returned(_) => {}
                Action::Refused { from, reason } => {
                    self.note(|| format!("{}: {from} is refused: {reason}", plan::name(node)));
                }
            }
        }
        if changed {
            self.members_changed(node);
        }
        if self.hosts[node]
            .process
            .as_ref()
            .is_some_and(|process| process.pending.members)
        {
            self.wake(node);
        }
        self.plan_tick(node, Core::Members);
    }

    fn members_changed(&mut self, node: usize) {
        let now = self.now;
        let Some(process) = &mut self.hosts[node].process else {
            return;
        };
        process.changed = now;
        process.pending.members = true;
        let active = process.is_fast() || self.sabotage == Some(Sabotage::FastInMixedClusters);
        let peers = process.members.others();
        self.feed_fast(node, FastEvent::Members { peers, active });
        self.judge.look = true;
    }

    /// Feeds the detector, if there is one.
    pub(crate) fn feed_fast(&mut self, node: usize, event: FastEvent) {
        let host = &mut self.hosts[node];
        let now = host.clock.at(self.now);
        let Some(detector) = host.process.as_mut().and_then(|process| process.detector.as_mut()) else {
            return;
        };
        let actions = match detector.handle(now, event) {
            Ok(actions) => actions,
            Err(reason) => {
                self.note(|| format!("{}: the fast path refuses: {reason}", plan::name(node)));
                return;
            }
        };
        for action in actions {
            match action {
                FastAction::Send { to, bytes } => self.send(node, to, bytes),
                FastAction::Ask(question) => self.later(node, |process| process.pending.questions.push(question)),
                // Another announcement of the same: clients, whose caches it corrects, are not simulated.
                FastAction::Returned(_) => {}
                FastAction::Suspects(Suspects { names, unaware }) => {
                    self.note(|| {
                        format!(
                            "{} suspects {names:?}, of which {unaware:?} do not know",
                            plan::name(node)
                        )
                    });
                    self.judge.look = true;
                    let never_lift = self.sabotage == Some(Sabotage::NeverLift);
                    self.later(node, |process| {
                        process.pending.suspects = true;
                        process.unaware = unaware;
                        if never_lift {
                            process.suspects.extend(names);
                        } else {
                            process.suspects = names;
                        }
                    });
                }
            }
        }
        self.plan_tick(node, Core::Fast);
    }

    /// Leaves something to the engine's task.
    fn later(&mut self, node: usize, leave: impl FnOnce(&mut Process)) {
        if let Some(process) = &mut self.hosts[node].process {
            leave(process);
            self.wake(node);
        }
    }

    pub(crate) fn wake(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        let run = host.run;
        if let Some(process) = host.process.as_mut().filter(|process| !process.pending.woken) {
            process.pending.woken = true;
            let turn = Duration::from_micros(self.rng.u64(0..TURN));
            self.after(turn, Happening::Woken { node, run });
        }
    }

    /// Has a core told when its deadline has come, a little late.
    fn plan_tick(&mut self, node: usize, core: Core) {
        let host = &mut self.hosts[node];
        let run = host.run;
        let Some(process) = &mut host.process else { return };
        let deadline = match core {
            Core::Members => process.members.next_deadline(),
            Core::Fast => process
                .detector
                .as_ref()
                .and_then(metallb_members::fast::Detector::next_deadline),
        };
        let Some(deadline) = deadline else { return };
        let due = host.clock.reaches(deadline).max(self.now);
        let known = &mut process.due[core as usize];
        // The one that is planned already may be late as this one may.
        if known.is_none_or(|known| due < known) {
            let late = Duration::from_micros(u64::from(due.subsec_nanos()) % LATE);
            let at = due + late;
            if known.is_none_or(|known| at < known) {
                *known = Some(at);
                self.after(at - self.now, Happening::Tick { node, run, core });
            }
        }
    }

    pub(crate) fn tick(&mut self, node: usize, core: Core) {
        let host = &mut self.hosts[node];
        let now = host.clock.at(self.now);
        let Some(process) = &mut host.process else { return };
        let known = &mut process.due[core as usize];
        // Another was planned instead.
        if known.is_none_or(|known| known > self.now) {
            return;
        }
        *known = None;
        let deadline = match core {
            Core::Members => process.members.next_deadline(),
            Core::Fast => process
                .detector
                .as_ref()
                .and_then(metallb_members::fast::Detector::next_deadline),
        };
        match core {
            _ if deadline.is_none_or(|deadline| deadline > now) => self.plan_tick(node, core),
            Core::Members => self.feed_members(node, Event::Tick),
            Core::Fast => self.feed_fast(node, FastEvent::Tick),
        }
    }

    /// The engine's task takes what is new, in any order. That of one that leaves has ended.
    pub(crate) fn woken(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        let (leaving, carrier) = (host.state == State::Leaving, host.carrier);
        let Some(process) = &mut host.process else { return };
        process.pending.woken = false;
        if leaving {
            return;
        }
        for question in std::mem::take(&mut process.pending.questions) {
            self.ask(node, question);
        }
        let Some(process) = &mut self.hosts[node].process else {
            return;
        };
        let pending = &mut process.pending;
        let mut events = Vec::new();
        if process.members.settled() && std::mem::take(&mut pending.members) {
            let mut alive = process.members.alive();
            process.ever.extend(alive.iter().cloned());
            if self.sabotage == Some(Sabotage::BlindToDeath) {
                alive.clone_from(&process.ever);
            }
            events.push(vec![EngineEvent::Members(alive)]);
        }
        if std::mem::take(&mut pending.suspects) {
            events.push(vec![
                EngineEvent::Suspects(process.suspects.clone()),
                EngineEvent::Unaware(process.unaware.clone()),
            ]);
        }
        if std::mem::take(&mut pending.links) {
            events.push(vec![EngineEvent::Interfaces(host::links(carrier))]);
        }
        events.extend(
            std::mem::take(&mut pending.conflicts)
                .into_iter()
                .map(|event| vec![event]),
        );
        self.rng.shuffle(&mut events);
        for events in events {
            if let [EngineEvent::Interfaces(links)] = &events[..] {
                self.feed_fast(node, FastEvent::Fit(!links.usable.is_empty()));
            }
            let Some(process) = &mut self.hosts[node].process else {
                return;
            };
            let effects = process.engine.handle_all(events);
            let partners = process.engine.changed_partners();
            self.perform(node, effects);
            if let Some(partners) = partners {
                self.feed_fast(node, FastEvent::Partners(partners));
            }
        }
    }

    fn perform(&mut self, node: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Addresses(changes) => {
                    for (ip, interfaces) in changes {
                        self.change(node, ip, interfaces.as_ref());
                    }
                }
                Effect::HandOver(ips) => {
                    for ip in ips {
                        self.release(node, ip);
                    }
                }
                Effect::Yield(ip) => self.yield_to(node, ip),
                Effect::Resume(ip) => self.resume(node, ip),
                Effect::Defend(ip) => self.defend(node, ip),
                Effect::Opened(Protocol::Layer2) => {
                    if let Some(process) = &mut self.hosts[node].process {
                        process.open = true;
                        self.judge.look = true;
                    }
                }
                _ => {}
            }
        }
    }

    fn change(&mut self, node: usize, ip: std::net::IpAddr, interfaces: Option<&Interfaces>) {
        let Some(address) = (0..self.plan.candidates.len()).find(|address| service_ip(*address) == ip) else {
            return;
        };
        if interfaces.is_some() {
            self.note(|| format!("{} answers for {ip}", plan::name(node)));
            self.hosts[node].answers.insert(address);
            self.hosts[node].released.remove(&address);
            self.burst(node, address);
        } else if self.sabotage != Some(Sabotage::NeverWithdraw) {
            self.note(|| format!("{} no longer answers for {ip}", plan::name(node)));
            self.hosts[node].withdraw(address);
        }
        self.judge.look = true;
    }

    /// Another node takes an address over: it is answered until that one is heard, for a while at most.
    fn release(&mut self, node: usize, ip: std::net::IpAddr) {
        let Some(address) = (0..self.plan.candidates.len()).find(|address| service_ip(*address) == ip) else {
            return;
        };
        self.note(|| format!("{} releases {ip}", plan::name(node)));
        self.hosts[node].released.insert(address);
        let rival = |other: usize| other != node && self.hosts[other].is_answering(address) && self.hears(other, node);
        if (0..self.hosts.len()).any(rival) || self.hosts[node].yielded.contains(&address) {
            self.hand_over(node, address);
        } else {
            let (to, run, by) = (node, self.hosts[node].run, None);
            self.after(RELEASE, Happening::Claimed { to, run, address, by });
        }
    }

    /// Asks on the segment. A member that owns nothing cannot be asked.
    fn ask(&mut self, node: usize, question: Question) {
        let addresses = 0..self.plan.candidates.len();
        let Some(process) = &mut self.hosts[node].process else {
            return;
        };
        let target = match &question {
            Question::Member(name) => {
                let ip = process.engine.address_of(name);
                ip.and_then(|ip| addresses.into_iter().find(|address| service_ip(*address) == ip))
                    .map(Target::Address)
            }
            Question::Witness => Some(Target::Gateway),
        };
        process.asked.retain(|(_, asked)| *asked != question);
        if let Some(target) = target {
            process.asked.push((target, question));
            self.probe(node, target);
        }
    }

    pub(crate) fn found(&mut self, node: usize, target: Target) {
        let Some(process) = &mut self.hosts[node].process else {
            return;
        };
        let answered: Vec<_> = process.asked.extract_if(.., |(asked, _)| *asked == target).collect();
        if self.sabotage == Some(Sabotage::NoSecondOpinion) {
            return;
        }
        for (_, question) in answered {
            self.feed_fast(node, FastEvent::Answered(question));
        }
    }

    /// Says goodbye, and answers until the next owner is heard.
    pub(crate) fn leave(&mut self, node: usize) {
        if self.sabotage != Some(Sabotage::NoGoodbye) {
            self.feed_members(node, Event::Leave);
        }
        let host = &mut self.hosts[node];
        let run = host.run;
        let Some(process) = &host.process else { return };
        let peers = process.members.others();
        let alone = peers.is_empty();
        self.feed_fast(node, FastEvent::Members { peers, active: false });
        self.hosts[node].state = State::Leaving;
        let patience = if alone { Duration::ZERO } else { HAND_OVER };
        self.after(patience, Happening::Ended { node, run });
        for address in self.hosts[node].answers.clone() {
            let rival =
                |other: usize| other != node && self.hosts[other].is_answering(address) && self.hears(other, node);
            if (0..self.hosts.len()).any(rival) {
                let again = Duration::from_micros(self.rng.u64(0..AGAIN));
                let (to, by) = (node, None);
                self.after(again, Happening::Claimed { to, run, address, by });
            }
        }
        if self.hosts[node].answers.is_empty() {
            self.end(node);
        }
    }

    /// Another claims the address: one that leaves, or has released it, stops answering.
    pub(crate) fn hand_over(&mut self, node: usize, address: usize) {
        if self.sabotage == Some(Sabotage::NeverWithdraw) {
            return;
        }
        let host = &mut self.hosts[node];
        let leaves = host.state == State::Leaving;
        if (host.released.remove(&address) || leaves) && host.withdraw(address) {
            self.note(|| format!("{} hands over {}", plan::name(node), service_ip(address)));
            self.judge.look = true;
            if leaves && self.hosts[node].answers.is_empty() {
                self.end(node);
            }
        }
    }

    pub(crate) fn end(&mut self, node: usize) {
        self.note(|| format!("{} has ended", plan::name(node)));
        self.stop(node, false);
        self.hosts[node].listed = false;
        self.tell_peers();
    }

    /// The process is no more.
    pub(crate) fn stop(&mut self, node: usize, host_down: bool) {
        let host = &mut self.hosts[node];
        host.state = State::Off { host_down };
        host.process = None;
        host.backlog.clear();
        host.answers.clear();
        host.released.clear();
        host.yielded.clear();
        host.claims.clear();
        host.defended.clear();
        self.judge.look = true;
    }
}
