//! All sessions of a node: which one a packet belongs to (RFC 5880 §6.3), and what is due when.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    CONTROL_LEN, Control, ECHO_LEN, ECHO_TTL_MIN, Hops, Refusal, SessionConfig, SessionKey, Status,
    echo::Echo,
    random::Random,
    session::{Session, Turn},
};

/// TTL of packets that were not routed (RFC 5881 §5).
const TTL: u8 = 255;
/// The first packets of sessions that begin together are spread over this.
const SPREAD: Duration = Duration::from_millis(250);

/// Names a session on this node: its discriminator.
pub type SessionId = u32;

/// How a control packet arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The port that it came to: that of one hop, or that of several.
    pub hops: Hops,
    /// Its source address.
    pub peer: IpAddr,
    /// Its destination address.
    pub local: IpAddr,
    /// The interface it came from.
    pub interface: &'a str,
    /// The device (VRF) whose socket received it.
    pub device: Option<&'a str>,
    /// Its TTL or hop limit.
    pub ttl: u8,
}

impl Arrival<'_> {
    /// Whether a session of that key may receive here.
    fn suits(&self, key: &SessionKey) -> bool {
        key.device.as_deref() == self.device && key.zone.as_deref().is_none_or(|zone| zone == self.interface)
    }
}

/// An input of the core.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The sessions from now on. Those whose configuration changes keep their state.
    Sessions(BTreeMap<SessionKey, SessionConfig>),
    /// A datagram came in to one of the ports of control packets.
    Control {
        /// How it arrived.
        arrival: Arrival<'a>,
        /// Its content.
        bytes: &'a [u8],
    },
    /// A datagram came in to the port of echoes, from ourselves.
    Echo {
        /// Its TTL or hop limit.
        ttl: u8,
        /// Its content.
        bytes: &'a [u8],
    },
    /// The deadline has passed, and all packets that arrived before it were fed.
    Tick,
}

/// What the shell must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A session exists from now on.
    Opened {
        /// Names it.
        id: SessionId,
        /// What it is with.
        key: Arc<SessionKey>,
    },
    /// Send a control packet.
    Send {
        /// The session's.
        id: SessionId,
        /// Its content.
        bytes: [u8; CONTROL_LEN],
    },
    /// Send an echo.
    Echo {
        /// The session's.
        id: SessionId,
        /// Its content.
        bytes: [u8; ECHO_LEN],
    },
    /// The state has changed, or the peer was switched off or on by its administrator.
    Changed {
        /// The session.
        id: SessionId,
        /// What it is with.
        key: Arc<SessionKey>,
        /// How it is doing from now on.
        status: Status,
    },
    /// The intervals in force have changed.
    Agreed {
        /// What the session is with.
        key: Arc<SessionKey>,
        /// How it is doing from now on.
        status: Status,
    },
    /// A session no longer exists.
    Closed {
        /// The session.
        id: SessionId,
        /// What it was with.
        key: Arc<SessionKey>,
    },
    /// A packet was accepted by a session. Comes before the other actions for that packet.
    Accepted(SessionId),
    /// An echo of a session has come back.
    Echoed(SessionId),
    /// A packet was discarded.
    Refused(Refusal),
}

/// All sessions of a node.
#[derive(Debug)]
pub struct Bfd {
    random: Random,
    sessions: HashMap<SessionId, Session>,
    keys: BTreeMap<Arc<SessionKey>, SessionId>,
    /// The sessions that the first packet of a peer may belong to.
    peers: HashMap<(IpAddr, Hops), Vec<SessionId>>,
    queue: BTreeSet<(Instant, SessionId)>,
}

impl Bfd {
    /// Creates it without sessions. `random` fills buffers and must not be guessable: discriminators are drawn from it.
    #[must_use]
    pub fn new(random: impl FnMut(&mut [u8]) + Send + 'static) -> Self {
        Self {
            random: Random::new(random),
            sessions: HashMap::new(),
            keys: BTreeMap::new(),
            peers: HashMap::new(),
            queue: BTreeSet::new(),
        }
    }

    /// Feeds one event; returns what the shell must do, in order.
    pub fn handle(&mut self, now: Instant, event: Event<'_>) -> Vec<Action> {
        let mut actions = Vec::new();
        let outcome = match event {
            Event::Sessions(wanted) => {
                self.on_sessions(now, wanted, &mut actions);
                Ok(())
            }
            Event::Control { arrival, bytes } => self.on_control(now, &arrival, bytes, &mut actions),
            Event::Echo { ttl, bytes } => self.on_echo(now, ttl, bytes, &mut actions),
            Event::Tick => {
                self.on_tick(now, &mut actions);
                Ok(())
            }
        };
        if let Err(refusal) = outcome {
            actions.push(Action::Refused(refusal));
        }
        actions
    }

    /// When `handle` wants `Event::Tick` next, if at all.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// All sessions and how they are doing, those that are about to end included.
    pub fn sessions(&self) -> impl Iterator<Item = (&SessionKey, Status)> {
        let of = |id| self.sessions.get(id).map(Session::status);
        self.keys.iter().filter_map(move |(key, id)| Some((&**key, of(id)?)))
    }

    /// How a session is doing.
    #[must_use]
    pub fn status(&self, id: SessionId) -> Option<Status> {
        self.sessions.get(&id).map(Session::status)
    }

    /// Whether no session is left, nor about to end.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.sessions.is_empty()
    }

    fn on_sessions(&mut self, now: Instant, wanted: BTreeMap<SessionKey, SessionConfig>, actions: &mut Vec<Action>) {
        let gone: Vec<_> = self
            .keys
            .iter()
            .filter(|(key, _)| !wanted.contains_key(&***key))
            .collect();
        let gone: Vec<_> = gone.into_iter().map(|(_, id)| *id).collect();
        for id in gone {
            self.with(id, now, actions, Session::end);
        }
        for (key, config) in wanted {
            let config = config.possible(key.hops);
            match self.keys.get(&key) {
                Some(id) => self.with(*id, now, actions, |session, turn| session.configure(config, turn)),
                None => self.open(key, config, now, actions),
            };
        }
    }

    fn open(&mut self, key: SessionKey, config: SessionConfig, now: Instant, actions: &mut Vec<Action>) -> Option<()> {
        let id = self.free_id();
        let key = Arc::new(key);
        actions.push(Action::Opened {
            id,
            key: Arc::clone(&key),
        });
        let mut turn = Turn {
            now,
            random: &mut self.random,
            actions,
        };
        let session = Session::new(id, Arc::clone(&key), config, SPREAD, &mut turn);
        self.sessions.insert(id, session);
        self.peers.entry((key.peer, key.hops)).or_default().push(id);
        self.keys.insert(key, id);
        self.with(id, now, actions, |_, _| ())
    }

    /// Discriminators are hard to guess, and never zero.
    fn free_id(&mut self) -> SessionId {
        loop {
            let id = u32::from_ne_bytes(self.random.bytes());
            if id != 0 && !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }

    /// Has a session act, then updates its place in the queue.
    fn with<T>(
        &mut self,
        id: SessionId,
        now: Instant,
        actions: &mut Vec<Action>,
        act: impl FnOnce(&mut Session, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let session = self.sessions.get_mut(&id)?;
        let mut turn = Turn {
            now,
            random: &mut self.random,
            actions,
        };
        let done = act(session, &mut turn);
        session.report_rates(&mut turn);
        let ended = session.has_ended();
        let next = session.next_deadline().filter(|_| !ended);
        if session.queued != next {
            if let Some(at) = session.queued.take() {
                self.queue.remove(&(at, id));
            }
            self.queue.extend(next.map(|at| (at, id)));
            session.queued = next;
        }
        if ended {
            self.forget(id, actions);
        }
        Some(done)
    }

    fn forget(&mut self, id: SessionId, actions: &mut Vec<Action>) {
        let Some(session) = self.sessions.remove(&id) else {
            return;
        };
        let key = session.key;
        self.keys.remove(&key);
        if let Some(ids) = self.peers.get_mut(&(key.peer, key.hops)) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.peers.remove(&(key.peer, key.hops));
            }
        }
        actions.push(Action::Closed { id, key });
    }

    fn on_tick(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while let Some((at, id)) = self.queue.first().copied()
            && at <= now
        {
            if self.with(id, now, actions, Session::tick).is_none() {
                self.queue.remove(&(at, id));
            }
        }
    }

    fn on_control(
        &mut self,
        now: Instant,
        arrival: &Arrival<'_>,
        bytes: &[u8],
        actions: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        // RFC 5881 §5: whatever crossed a router is not from a neighbour.
        if arrival.hops == Hops::Single && arrival.ttl != TTL {
            return Err(Refusal::Ttl);
        }
        let packet = Control::decode(bytes)?;
        let id = self.select(arrival, &packet)?;
        let received = self.with(id, now, actions, |session, turn| session.receive(&packet, turn));
        received.unwrap_or(Err(Refusal::Discriminator))?;
        // First, so that the packet is counted before the change of state that it causes is reported.
        actions.insert(0, Action::Accepted(id));
        Ok(())
    }

    /// Finds the session of a packet: by our discriminator alone, or before the peer knows it by where the packet comes from.
    fn select(&self, arrival: &Arrival<'_>, packet: &Control) -> Result<SessionId, Refusal> {
        let id = match packet.your_discriminator {
            0 => self.first_contact(arrival).ok_or(Refusal::Peer)?,
            id => id,
        };
        let session = self.sessions.get(&id).ok_or(Refusal::Discriminator)?;
        if session.key.hops != arrival.hops {
            return Err(Refusal::Port);
        }
        if !arrival.suits(&session.key) {
            return Err(Refusal::Interface);
        }
        if arrival.hops == Hops::Multi && arrival.ttl < session.minimum_ttl() {
            return Err(Refusal::Ttl);
        }
        Ok(id)
    }

    /// The session that a first packet belongs to; of several that match, the most specific one.
    fn first_contact(&self, arrival: &Arrival<'_>) -> Option<SessionId> {
        let ids = self.peers.get(&(arrival.peer, arrival.hops))?;
        let keys = ids.iter().filter_map(|id| Some((*id, &self.sessions.get(id)?.key)));
        let suitable =
            keys.filter(|(_, key)| arrival.suits(key) && key.local.is_none_or(|local| local == arrival.local));
        let best = suitable.max_by_key(|(_, key)| (key.zone.is_some(), key.local.is_some()));
        best.map(|(id, _)| id)
    }

    fn on_echo(&mut self, now: Instant, ttl: u8, bytes: &[u8], actions: &mut Vec<Action>) -> Result<(), Refusal> {
        let echo = Echo::decode(bytes).ok_or(Refusal::Echo)?;
        if ttl < ECHO_TTL_MIN {
            return Err(Refusal::Ttl);
        }
        let id = echo.discriminator;
        let received = self.with(id, now, actions, |session, turn| session.receive_echo(&echo, turn));
        received.unwrap_or(Err(Refusal::Echo))?;
        actions.push(Action::Echoed(id));
        Ok(())
    }
}
