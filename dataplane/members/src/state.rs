//! What is known of each node, and how it changes by what others say.
//!
//! ```text
//!            suspect                 no refutation in time
//!   alive ─────────────► suspect ─────────────────────────► dead
//!     ▲ ◄─────────────── alive, later incarnation             │
//!     └──────────────────────────────────── alive, later ─────┘        a node's own "dead" means that it has left
//! ```

use std::time::Instant;

use crate::{
    Action, Cause, Members, Refusal,
    suspicion::Suspicion,
    wire::{
        message::{Accusation, Alive, Message},
        stream::{RemoteNode, State},
    },
};

/// Highest number of known nodes, against a flood of invented ones.
const MAX_NODES: usize = 16_384;

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The last that it said of itself.
    pub(crate) alive: Alive,
    pub(crate) state: State,
    pub(crate) changed: Instant,
    /// When it last gave a sign of life to this node, or to another that passed it on.
    pub(crate) heard: Instant,
    pub(crate) suspicion: Option<Suspicion>,
}

impl Node {
    pub(crate) fn alive(alive: Alive, now: Instant) -> Self {
        Self {
            alive,
            state: State::Alive,
            changed: now,
            heard: now,
            suspicion: None,
        }
    }

    /// Alive or suspect.
    pub(crate) fn is_present(&self) -> bool {
        matches!(self.state, State::Alive | State::Suspect)
    }

    /// When a suspicion ends.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.suspicion.as_ref().map(Suspicion::deadline)
    }

    fn enter(&mut self, state: State, now: Instant) {
        if self.state != state {
            self.state = state;
            self.changed = now;
        }
    }
}

impl Members {
    /// A node is said to be alive.
    pub(crate) fn on_alive(&mut self, alive: Alive) -> Result<(), Refusal> {
        if let [min, max, _, ..] = alive.versions[..]
            && (min == 0 || max == 0 || min > max)
        {
            return Err(Refusal::Version);
        }
        if alive.node == self.config.node {
            return self.on_own_alive(&alive);
        }
        let Some(node) = self.nodes.get_mut(&alive.node) else {
            return self.on_new(alive);
        };
        let moved = node.alive.address != alive.address;
        // Only a node that said goodbye may come back from elsewhere: another could have the same name.
        if moved && node.state != State::Left {
            return Err(Refusal::Conflict);
        }
        if !moved && alive.incarnation <= node.alive.incarnation {
            return Ok(());
        }
        let (was_present, updated) = (node.is_present(), node.alive.meta != alive.meta);
        node.suspicion = None;
        node.heard = self.now;
        node.alive = alive.clone();
        node.enter(State::Alive, self.now);
        if !was_present {
            self.up(alive.node.clone());
        } else if updated {
            self.actions.push(Action::Updated(alive.node.clone()));
        }
        self.broadcast(Message::Alive(alive));
        Ok(())
    }

    fn on_new(&mut self, alive: Alive) -> Result<(), Refusal> {
        if alive.incarnation == 0 {
            return Err(Refusal::Malformed);
        }
        if self.nodes.len() >= MAX_NODES {
            return Err(Refusal::TooLarge);
        }
        let name = alive.node.clone();
        self.nodes.insert(name.clone(), Node::alive(alive.clone(), self.now));
        // At a random place, so that not all members probe the newest one at once.
        self.order.push(name.clone());
        let (last, place) = (self.order.len() - 1, self.random.below(self.order.len()));
        self.order.swap(last, place);
        self.up(name);
        self.broadcast(Message::Alive(alive));
        Ok(())
    }

    fn up(&mut self, name: String) {
        self.up_at = Some(self.now);
        self.actions.push(Action::Up(name.clone()));
        self.will_greet(&name);
        if self.lost.remove(&name) {
            self.actions.push(Action::Returned(name));
        }
    }

    /// This node is said to be alive, by what is left of an earlier run of it or by another with its name.
    fn on_own_alive(&mut self, alive: &Alive) -> Result<(), Refusal> {
        let Some(own) = self.nodes.get(&self.config.node) else {
            return Ok(());
        };
        if own.alive.address != alive.address {
            return Err(Refusal::Conflict);
        }
        if alive.incarnation > own.alive.incarnation
            || (alive.incarnation == own.alive.incarnation && own.alive != *alive)
        {
            self.refute(alive.incarnation);
        }
        Ok(())
    }

    /// Says that this node is alive, more recently than what was said of it.
    fn refute(&mut self, accused: u32) {
        self.incarnation = self.incarnation.max(accused).saturating_add(1);
        let incarnation = self.incarnation;
        self.slower(1);
        if let Some(own) = self.nodes.get_mut(&self.config.node) {
            own.alive.incarnation = incarnation;
            let alive = own.alive.clone();
            self.broadcast(Message::Alive(alive));
        }
    }

    /// Somebody has not heard that this node has refuted what is said of it.
    ///
    /// Upstream: it waits until that node is dead to it, and then for a push/pull.
    fn refute_again(&mut self, accusation: &Accusation) {
        if accusation.node == self.config.node
            && let Some(own) = self.nodes.get(&accusation.node)
        {
            let alive = own.alive.clone();
            self.broadcast(Message::Alive(alive));
        }
    }

    /// A node is said to be suspect.
    pub(crate) fn suspect(&mut self, accusation: Accusation) {
        let members = self.nodes.len();
        let Some(node) = self.nodes.get_mut(&accusation.node) else {
            return;
        };
        if accusation.incarnation < node.alive.incarnation {
            self.refute_again(&accusation);
            return;
        }
        if let Some(suspicion) = &mut node.suspicion {
            if suspicion.confirm(&accusation.from) {
                self.broadcast(Message::Suspect(accusation));
            }
            return;
        }
        if node.state != State::Alive {
            return;
        }
        if accusation.node == self.config.node {
            self.refute(accusation.incarnation);
            return;
        }
        let timing = &self.config.timing;
        let wanted = timing.suspicion_mult.saturating_sub(2);
        let others = u32::try_from(members.saturating_sub(2)).unwrap_or(u32::MAX);
        let wanted = if others < wanted { 0 } else { wanted };
        let min = timing.suspicion_min(members);
        let max = min.saturating_mul(timing.suspicion_max_timeout_mult);
        node.suspicion = Some(Suspicion::new(accusation.from.clone(), wanted, min, max, self.now));
        node.alive.incarnation = accusation.incarnation;
        node.enter(State::Suspect, self.now);
        self.broadcast(Message::Suspect(accusation));
    }

    /// Nodes that have not refuted in time are dead.
    pub(crate) fn end_suspicions(&mut self) {
        let over = |node: &Node| node.deadline().is_some_and(|deadline| deadline <= self.now);
        let accusation = |(name, node): (&String, &Node)| Accusation {
            incarnation: node.alive.incarnation,
            node: name.clone(),
            from: self.config.node.clone(),
        };
        let dead: Vec<Accusation> = self
            .nodes
            .iter()
            .filter(|(_, node)| over(node))
            .map(accusation)
            .collect();
        dead.into_iter().for_each(|accusation| self.dead(accusation));
    }

    /// A node is said to be dead.
    pub(crate) fn dead(&mut self, accusation: Accusation) {
        let Some(node) = self.nodes.get_mut(&accusation.node) else {
            return;
        };
        if accusation.incarnation < node.alive.incarnation {
            self.refute_again(&accusation);
            return;
        }
        node.suspicion = None;
        if !node.is_present() {
            return;
        }
        if accusation.node == self.config.node {
            self.refute(accusation.incarnation);
            // Its own word is that of an earlier run, which has left.
            if accusation.from != accusation.node {
                self.actions.push(Action::Returned(accusation.node));
            }
            return;
        }
        let (state, cause) = if accusation.node == accusation.from {
            (State::Left, Cause::Left)
        } else {
            (State::Dead, Cause::Silent)
        };
        node.alive.incarnation = accusation.incarnation;
        node.enter(state, self.now);
        if cause == Cause::Silent && self.lost.len() < MAX_NODES {
            self.lost.insert(accusation.node.clone());
        }
        self.actions.push(Action::Down(accusation.node.clone(), cause));
        self.broadcast(Message::Dead(accusation));
    }

    /// Forgets nodes that have been dead for long enough, and mixes the order of probes.
    pub(crate) fn reap(&mut self) {
        let (now, kept) = (self.now, self.config.timing.gossip_to_the_dead_time);
        self.nodes
            .retain(|_, node| node.is_present() || now.saturating_duration_since(node.changed) <= kept);
        self.order = self.nodes.keys().cloned().collect();
        self.random.shuffle(&mut self.order);
    }

    /// Takes in all that another member knows; says why some of it was not accepted.
    pub(crate) fn merge(&mut self, remote: Vec<RemoteNode>) -> Result<(), Refusal> {
        let mut result = Ok(());
        for RemoteNode { state, node } in remote {
            let accusation = |from: &str| Accusation {
                incarnation: node.incarnation,
                node: node.node.clone(),
                from: from.to_owned(),
            };
            match state {
                State::Alive => result = self.on_alive(node).and(result),
                State::Left => self.dead(accusation(&node.node)),
                // Suspect, not dead, so that it can refute.
                State::Dead | State::Suspect => {
                    if state == State::Dead && node.node == self.config.node && node.incarnation >= self.incarnation {
                        self.actions.push(Action::Returned(node.node.clone()));
                    }
                    let own = self.config.node.clone();
                    self.suspect(accusation(&own));
                }
            }
        }
        result
    }

    /// Counts against this node's own health, or, if negative, for it.
    pub(crate) fn slower(&mut self, by: i32) {
        let worst = self.config.timing.awareness_max_multiplier.saturating_sub(1);
        self.awareness = self.awareness.saturating_add_signed(by).min(worst);
    }
}
