//! Faults, as they happen.

use std::time::Duration;

use crate::{
    host::State,
    judge::Kind,
    plan::Fault,
    world::{Happening, World},
};

/// How long the kernel takes at most to tell of a link, in microseconds.
const NETLINK: u64 = 3_000;

impl World {
    /// Has a fault happen, unless it does not fit.
    pub(crate) fn strike(&mut self, fault: &Fault) {
        if !self.fits(fault) {
            return;
        }
        self.note(|| format!("*** {fault}"));
        self.judge.look = true;
        match *fault {
            Fault::Crash { node, host } => {
                self.disturb(Kind::Failure, node);
                self.stop(node, host);
            }
            Fault::Pause { node } => {
                self.disturb(Kind::Failure, node);
                self.hosts[node].state = State::Paused;
            }
            Fault::Resume { node } => {
                self.judge.end(Kind::Failure, node, self.now);
                self.disturb(Kind::Return, node);
                self.hosts[node].state = State::Running;
                self.catch_up(node);
            }
            Fault::Start { node, plain } => {
                self.judge.end(Kind::Failure, node, self.now);
                self.hosts[node].plain = plain;
                self.disturb(Kind::Start, node);
                self.start(node);
            }
            Fault::Leave { node } => {
                self.disturb(Kind::Leave, node);
                self.leave(node);
            }
            Fault::Carrier { node, up } => {
                if up {
                    self.judge.end(Kind::Carrier, node, self.now);
                    self.disturb(Kind::Return, node);
                } else {
                    self.disturb(Kind::Carrier, node);
                }
                self.hosts[node].carrier = up;
                let (delay, run) = (Duration::from_micros(self.rng.u64(0..NETLINK)), self.hosts[node].run);
                self.after(delay, Happening::Link { node, run });
            }
            Fault::Part(number, ref part) => {
                self.disturb(
                    Kind::Part {
                        members_only: !part.segment,
                    },
                    number,
                );
                self.parts.insert(number, part.clone());
            }
            Fault::Heal(number) => {
                self.parts.remove(&number);
                self.judge.end(Kind::Part { members_only: true }, number, self.now);
                self.judge.end(Kind::Part { members_only: false }, number, self.now);
            }
            Fault::Loss(loss) => {
                if loss > self.plan.loss {
                    self.disturb(Kind::Loss, 0);
                } else {
                    self.judge.end(Kind::Loss, 0, self.now);
                }
                self.loss = loss;
            }
        }
    }

    fn fits(&self, fault: &Fault) -> bool {
        let state = |node: usize| self.hosts[node].state;
        match *fault {
            Fault::Crash { node, .. } => !matches!(state(node), State::Off { .. }),
            Fault::Pause { node } | Fault::Leave { node } => state(node) == State::Running,
            Fault::Resume { node } => state(node) == State::Paused,
            Fault::Start { node, .. } => matches!(state(node), State::Off { .. }),
            Fault::Carrier { node, up } => self.hosts[node].carrier != up,
            Fault::Part(..) | Fault::Heal(_) | Fault::Loss(_) => true,
        }
    }
}
