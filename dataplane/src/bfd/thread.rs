//! The thread: waits, receives, and performs what the core decides.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    os::fd::AsFd,
    sync::{Arc, PoisonError},
    thread,
    time::{Duration, Instant},
};

use metallb_bfd::{Action, Arrival, Bfd, Event, Hops, SessionConfig, SessionId, SessionKey};
use metallb_net::prefer_this_thread;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};

use super::{
    Error, Request,
    counters::count,
    echo::{self, Echoes, Forwarding, Path},
    kernel::{Names, News},
    outlet::Outlet,
    ports::{Buffers, Port, Ports},
    reserve::Reserve,
    states::{Refusals, States},
};
use crate::mailbox::Inbox;

/// The most packets of one socket that are received in a turn: a flood must not stop the timers.
const HEARD_AT_A_TIME: usize = 1024;
/// The least time between two turns. With hundreds of sessions, handling what arrives within it together halves the processor
/// time; intervals of 10 ms and more are not affected.
const TURN: Duration = Duration::from_millis(1);
/// How often ports that could not be opened are tried again: another process may have freed them.
const RETRY: Duration = Duration::from_secs(1);
/// How long news from the kernel is gathered: containers that start and end cause a lot of it.
const NEWS_AFTER: Duration = Duration::from_millis(100);
/// Why a session over several hops sends no echoes.
const TOO_FAR: &str =
    "no echoes are sent: the peer is several hops away, and echoes go over one hop only (RFC 5883 §3)";
/// How long the peers have to answer AdminDown at the end.
const GOODBYE: Duration = Duration::from_secs(1);

/// A session as the shell sees it.
struct Line {
    key: Arc<SessionKey>,
    outlet: Outlet,
    /// Where its last packet came from.
    path: Option<Path>,
    cannot_send: Option<String>,
    cannot_echo: Option<String>,
    /// The error reported last: a report takes a lock, which is too slow for every packet.
    told: Option<String>,
}

/// Owns the core, the sockets and the table of states.
pub(super) struct Thread {
    inbox: Inbox<Request>,
    /// Absent if the subscription failed.
    news: Option<News>,
    states: States,
    refusals: Refusals,
    random: Reserve,
    bfd: Bfd,
    /// The sessions as they were asked for.
    wanted: BTreeMap<SessionKey, SessionConfig>,
    /// Whether a session hears its peer from another interface than before.
    moved: bool,
    lines: HashMap<SessionId, Line>,
    ports: Ports,
    /// Open while a session sends echoes.
    echoes: Option<Echoes>,
    names: Names,
    /// When to look at what the kernel has news of.
    news_at: Option<Instant>,
    /// When to try again to open ports.
    retry_at: Option<Instant>,
    /// When to end, even if sessions are left.
    end_at: Option<Instant>,
}

impl Thread {
    pub(super) fn new(inbox: Inbox<Request>, states: States, refusals: Refusals) -> Self {
        let mut random = Reserve::new();
        let news = News::subscribe();
        if let Err(error) = &news {
            tracing::warn!(event = "bfdError", %error, "cannot follow changes of interfaces and of IP forwarding: BFD does not notice them");
        }
        Self {
            inbox,
            news: news.ok(),
            states,
            refusals,
            random: Reserve::new(),
            bfd: Bfd::new(move |buffer| random.fill(buffer)),
            wanted: BTreeMap::new(),
            moved: false,
            lines: HashMap::new(),
            ports: Ports::default(),
            echoes: None,
            names: Names::default(),
            news_at: None,
            retry_at: None,
            end_at: None,
        }
    }

    /// Runs until told to end.
    pub(super) fn run(mut self) -> Result<(), Error> {
        // Not within the macro, which evaluates nothing that is not logged.
        let priority = prefer_this_thread();
        tracing::debug!(?priority, "the BFD thread runs");
        let mut buffers = Buffers::default();
        let mut turn = Instant::now();
        loop {
            let news = self.wait().map_err(Error::Wait)?;
            thread::sleep(TURN.saturating_sub(turn.elapsed()));
            turn = Instant::now();
            self.inbox.acknowledge();
            while let Some(request) = self.inbox.take() {
                match request {
                    Request::Sessions(_) if self.end_at.is_some() => {}
                    Request::Sessions(sessions) => {
                        self.wanted = sessions;
                        self.on_wanted();
                    }
                    Request::Stop => {
                        self.wanted.clear();
                        self.feed(Event::Sessions(BTreeMap::new()));
                        self.end_at = Some(Instant::now() + GOODBYE);
                    }
                    Request::Abandon => return Ok(()),
                }
                self.open_ports();
            }
            if news {
                self.news.iter().for_each(News::take);
                self.news_at.get_or_insert(turn + NEWS_AFTER);
            }
            self.hear_echoes();
            self.hear(&mut buffers);
            if std::mem::take(&mut self.moved) {
                self.on_wanted();
            }
            let now = Instant::now();
            if self.bfd.next_deadline().is_some_and(|at| at <= now) {
                self.feed(Event::Tick);
            }
            if self.news_at.take_if(|at| *at <= now).is_some() {
                self.on_news();
            }
            if self.retry_at.is_some_and(|at| at <= now) {
                self.open_ports();
            }
            if self.end_at.is_some_and(|at| at <= now || self.bfd.is_idle()) {
                return Ok(());
            }
        }
    }

    /// Waits for a packet, a request, a deadline or news from the kernel; returns whether there is news.
    fn wait(&self) -> io::Result<bool> {
        let deadlines = [self.bfd.next_deadline(), self.news_at, self.retry_at, self.end_at];
        let deadline = deadlines.into_iter().flatten().min();
        let timeout = deadline.map(|at| TimeSpec::from(at.saturating_duration_since(Instant::now())));
        let inlets = self.ports.open.values().map(AsFd::as_fd);
        let echoes = self.echoes.iter().flat_map(Echoes::descriptors);
        let mut polled: Vec<_> = inlets
            .chain(echoes)
            .chain([self.inbox.as_fd()])
            .chain(self.news.as_ref().map(AsFd::as_fd))
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
            .collect();
        match ppoll(&mut polled, timeout, None) {
            Ok(_) | Err(Errno::EINTR) => {
                let last = polled.last().filter(|_| self.news.is_some());
                Ok(last.and_then(PollFd::any).unwrap_or_default())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Interfaces or the forwarding of packets have changed.
    fn on_news(&mut self) {
        self.ports.close_stale();
        self.on_wanted();
        self.open_ports();
    }

    /// Has the sessions that are wanted, as far as that is possible now.
    fn on_wanted(&mut self) {
        if self.end_at.is_some() {
            return;
        }
        let mut sessions = self.wanted.clone();
        self.promise(&mut sessions);
        let peers = echo::peers(&sessions);
        let refused = self.open_echoes(!peers.is_empty());
        if refused.is_some() {
            // The session works with control packets alone, and an echo that is never sent is never missed.
            sessions.values_mut().for_each(|config| config.echo_transmit = None);
        }
        if let Some(echoes) = &mut self.echoes {
            echoes.set_peers(peers);
        }
        // Opened before the session is reported: a peer may send as soon as it is.
        let before = self.lines.values().map(|line| &*line.key);
        self.ports.need(before.chain(sessions.keys()));
        self.feed(Event::Sessions(sessions));
        for line in self.lines.values_mut() {
            let wanted = self.wanted.get(&*line.key);
            let echoes = wanted.is_some_and(|config| config.echo_transmit.is_some());
            line.cannot_echo = match line.key.hops {
                Hops::Multi => Some(TOO_FAR.to_owned()),
                Hops::Single => refused.clone(),
            }
            .filter(|_| echoes);
        }
    }

    /// Has sessions promise to return echoes only if this node forwards them: it is the kernel that returns them.
    fn promise(&mut self, sessions: &mut BTreeMap<SessionKey, SessionConfig>) {
        let now = Instant::now();
        let mut forwarding = Forwarding::default();
        let paths = self
            .lines
            .values()
            .filter_map(|line| Some((&*line.key, line.path.as_ref()?.interface)));
        let paths: HashMap<_, _> = paths.collect();
        for (key, config) in sessions {
            config.echo_receive.take_if(|_| {
                let interface = paths.get(key).map(|index| self.names.of(*index, now));
                !forwarding.is_on(key.peer, interface.or(key.zone.as_deref()))
            });
        }
    }

    /// Opens the sockets of echoes if they are needed, or closes them; returns why they cannot be opened.
    fn open_echoes(&mut self, needed: bool) -> Option<String> {
        if !needed {
            self.echoes = None;
        } else if self.echoes.is_none() {
            match Echoes::open() {
                Ok(echoes) => self.echoes = Some(echoes),
                Err(error) => return Some(format!("no echoes are sent: {error}")),
            }
        }
        None
    }

    fn hear_echoes(&mut self) {
        for _ in 0..HEARD_AT_A_TIME {
            let Some(returned) = self.echoes.as_mut().and_then(Echoes::receive) else {
                return;
            };
            self.feed(Event::Echo {
                ttl: returned.ttl,
                bytes: &returned.payload,
            });
        }
    }

    fn hear(&mut self, buffers: &mut Buffers) {
        let mut actions = Vec::new();
        for (port, inlet) in &self.ports.open {
            for _ in 0..HEARD_AT_A_TIME {
                let received = match inlet.receive(buffers) {
                    Ok(Some(received)) => received,
                    Ok(None) => break,
                    Err(error) => {
                        tracing::debug!(%error, "cannot receive BFD packets");
                        continue;
                    }
                };
                let now = Instant::now();
                let arrival = Arrival {
                    hops: port.hops,
                    peer: received.peer,
                    local: received.local,
                    interface: self.names.of(received.interface, now),
                    device: port.device.as_deref(),
                    ttl: received.ttl,
                };
                let event = Event::Control {
                    arrival,
                    bytes: received.bytes,
                };
                let done = self.bfd.handle(now, event);
                if let Some(Action::Accepted(id)) = done.first()
                    && port.hops == Hops::Single
                    && let Some(line) = self.lines.get_mut(id)
                    // Its discriminator is enough for a packet, but the way to the peer is learnt from the peer alone.
                    && received.peer == line.key.peer
                {
                    let path = Path {
                        interface: received.interface,
                        peer: received.peer,
                        local: received.local,
                    };
                    let before = line.path.replace(path);
                    self.moved |= before.is_none_or(|before| before.interface != path.interface);
                }
                actions.extend(done);
            }
        }
        self.perform(actions);
    }

    fn feed(&mut self, event: Event<'_>) {
        let actions = self.bfd.handle(Instant::now(), event);
        self.perform(actions);
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Opened { id, key } => self.on_opened(id, key),
                Action::Send { id, bytes } => self.send(id, &bytes),
                Action::Echo { id, bytes } => self.send_echo(id, &bytes),
                Action::Changed { key, status, .. } | Action::Agreed { key, status } => {
                    self.states.changed(&key, status);
                }
                Action::Closed { id, key } => {
                    self.lines.remove(&id);
                    self.states.closed(id, &key);
                }
                Action::Accepted(id) => {
                    if let Some(counters) = self.states.counters(id) {
                        count(&counters.control_input);
                    }
                }
                Action::Echoed(id) => {
                    if let Some(counters) = self.states.counters(id) {
                        count(&counters.echo_input);
                    }
                }
                Action::Refused(reason) => {
                    let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
                    *refusals.entry(reason).or_default() += 1;
                }
            }
        }
    }

    fn on_opened(&mut self, id: SessionId, key: Arc<SessionKey>) {
        let status = self.bfd.status(id);
        if let Some(status) = status {
            self.states.opened(id, &key, status);
        }
        let line = Line {
            key,
            outlet: Outlet::new(),
            path: None,
            cannot_send: None,
            cannot_echo: None,
            told: None,
        };
        self.lines.insert(id, line);
    }

    fn send(&mut self, id: SessionId, bytes: &[u8]) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        let sent = line.outlet.send(&line.key, bytes, &mut || self.random.port());
        if sent.is_ok()
            && let Some(counters) = self.states.counters(id)
        {
            count(&counters.control_output);
        }
        line.cannot_send = sent.err();
        self.tell_error(id);
    }

    fn send_echo(&mut self, id: SessionId, bytes: &[u8]) {
        let (Some(line), Some(echoes)) = (self.lines.get_mut(&id), &self.echoes) else {
            return;
        };
        let sent = match &line.path {
            Some(path) => echoes.send(path, bytes),
            None => Err("no echoes are sent: the peer has not been heard yet".to_owned()),
        };
        if sent.is_ok()
            && let Some(counters) = self.states.counters(id)
        {
            count(&counters.echo_output);
        }
        line.cannot_echo = sent.err();
        self.tell_error(id);
    }

    fn tell_error(&mut self, id: SessionId) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        // Usually none has, and to look it up copies the name of the VRF.
        let deaf = Some(&self.ports.failed).filter(|failed| !failed.is_empty());
        let deaf = deaf.and_then(|failed| failed.get(&Port::of(&line.key)));
        let errors = [line.cannot_send.as_ref(), deaf, line.cannot_echo.as_ref()];
        let error = errors.into_iter().flatten().next();
        if line.told.as_ref() != error {
            line.told = error.cloned();
            self.states.set_error(&line.key, line.told.clone());
        }
    }

    /// Opens the ports that the sessions need.
    fn open_ports(&mut self) {
        self.ports.need(self.lines.values().map(|line| &*line.key));
        self.retry_at = (!self.ports.failed.is_empty()).then(|| Instant::now() + RETRY);
    }
}
