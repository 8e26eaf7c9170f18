//! The task of one peer: performs the actions of its session.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io,
    time::Instant,
};

use futures::future::BoxFuture;
use metallb_bgp::{Action, ConnectionId, Event, LinkAddresses, PeerConfig, Posture, Session, StopReason};
use tokio::{
    net::TcpStream,
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender},
        watch,
    },
};

use super::{
    Farewell,
    command::Command,
    connection::{Connection, DialError, Ready, adopt, dial},
    links::Known,
    listen::Refusals,
    pace::Pace,
    report::Report,
    routes::Reader,
    unnumbered::Search,
};

/// An order of the supervisor to the task of a peer.
#[derive(Debug)]
pub(super) enum Order {
    Stop(Farewell),
    Show(Posture),
    Command(Command),
    /// The peer has opened this connection.
    Accepted(TcpStream),
}

/// Gives orders to a peer.
pub(super) type Orders = UnboundedSender<Order>;

type Dialled = Result<(TcpStream, LinkAddresses), DialError>;

/// Owns the session and the socket of one peer.
pub(super) struct Peer {
    session: Session,
    routes: Reader,
    dialling: Option<(ConnectionId, BoxFuture<'static, Dialled>)>,
    connection: Option<(ConnectionId, Connection)>,
    /// The second connection, which the peer has opened.
    challenger: Option<(ConnectionId, Connection)>,
    /// Connections that are being refused.
    refusals: Refusals,
    /// Whether the task ends with the connection.
    ephemeral: bool,
    /// Whether the peer has opened a connection yet.
    accepted: bool,
    pace: Pace,
    report: Report,
    /// Finds the router of an unnumbered peer.
    search: Option<Search>,
}

/// What woke the task.
enum Wake {
    Order(Order),
    Dialled(Dialled),
    Ready(io::Result<Ready>),
    ChallengerReady(io::Result<Ready>),
    RoutesChanged,
    Found,
    Deadline,
}

impl Peer {
    /// Makes the task; the interfaces come with an unnumbered peer.
    pub(super) fn new(
        config: PeerConfig,
        routes: Reader,
        report: Report,
        links: Option<watch::Receiver<Known>>,
    ) -> Self {
        // Jitter only has to differ between nodes and peers.
        let seed = RandomState::new().build_hasher().finish();
        let search = links
            .zip(config.zone.as_deref())
            .map(|(links, zone)| Search::start(zone, links));
        Self {
            search,
            session: Session::new(config, seed),
            routes,
            dialling: None,
            connection: None,
            challenger: None,
            refusals: Refusals::default(),
            ephemeral: false,
            accepted: false,
            pace: Pace::default(),
            report,
        }
    }

    /// Has the session announce its routes in this way from the beginning.
    pub(super) fn show(&mut self, posture: Posture) {
        self.handle(Instant::now(), Event::Show(posture));
    }

    /// Has the session say that this speaker has restarted.
    pub(super) fn set_restarted(&mut self) {
        self.session.set_restarted();
    }

    /// Has the task end when the peer that has dialled is gone.
    pub(super) fn end_with_connection(&mut self) {
        self.ephemeral = true;
    }

    /// Runs until [`Order::Stop`], or until the supervisor is gone.
    pub(super) async fn run(mut self, mut orders: UnboundedReceiver<Order>) {
        let mut buffer = vec![0; 64 * 1024];
        let now = Instant::now();
        self.on_routes_changed(now);
        self.handle(now, Event::Start);
        loop {
            let wake = self.wait(&mut orders).await;
            let now = Instant::now();
            match wake {
                Wake::Order(Order::Stop(farewell)) => return self.stop(now, &farewell).await,
                Wake::Order(Order::Show(posture)) => self.handle(now, Event::Show(posture)),
                Wake::Order(Order::Command(command)) => self.on_command(now, command),
                Wake::Order(Order::Accepted(stream)) => self.on_accepted(now, stream),
                Wake::Dialled(result) => self.on_dialled(now, result),
                // Reading by readiness does not use up tokio's budget: a peer that never stops sending would keep the thread.
                Wake::ChallengerReady(ready) => {
                    self.on_challenger_ready(now, ready, &mut buffer);
                    tokio::task::yield_now().await;
                }
                Wake::Ready(ready) => {
                    self.on_ready(now, ready, &mut buffer);
                    tokio::task::yield_now().await;
                }
                Wake::RoutesChanged => self.on_routes_changed(now),
                Wake::Found => self.on_found(now),
                Wake::Deadline => self.on_deadline(now, &mut buffer),
            }
            self.write(now);
            if self.ephemeral && self.accepted && self.connection.is_none() && self.challenger.is_none() {
                return self.handle(now, Event::Stop(StopReason::Deconfigured, ""));
            }
        }
    }

    /// Waits for whatever comes first. Every arm is cancel-safe: channels and readiness keep what was not taken, and the
    /// future that dials is kept here, not dropped.
    async fn wait(&mut self, orders: &mut UnboundedReceiver<Order>) -> Wake {
        let deadline = [self.session.next_deadline(), self.pace.deadline()]
            .into_iter()
            .flatten()
            .min();
        let connection = self.connection.as_ref().map(|(_, connection)| connection);
        let challenger = self.challenger.as_ref().map(|(_, connection)| connection);
        tokio::select! {
            order = orders.recv() => Wake::Order(order.unwrap_or_else(|| Order::Stop(StopReason::Shutdown.into()))),
            result = pending_or(self.dialling.as_mut().map(|(_, dialling)| dialling)) => Wake::Dialled(result),
            ready = pending_or(connection.map(|connection| Box::pin(connection.ready()))) => Wake::Ready(ready),
            ready = pending_or(challenger.map(|connection| Box::pin(connection.ready()))) => Wake::ChallengerReady(ready),
            () = pending_or(deadline.map(|at| Box::pin(tokio::time::sleep_until(at.into())))) => Wake::Deadline,
            () = pending_or(self.search.as_mut().map(|search| Box::pin(search.changed()))) => Wake::Found,
            // While changes are being gathered, later ones are read together with them.
            Ok(()) = self.routes.changed(), if !self.pace.is_waiting() => Wake::RoutesChanged,
        }
    }

    async fn stop(mut self, now: Instant, farewell: &Farewell) {
        self.handle(now, Event::Stop(farewell.reason, &farewell.text));
        // Otherwise this node will soon advertise itself on that link again.
        let for_good = matches!(farewell.reason, StopReason::Deconfigured | StopReason::Shutdown);
        if let Some(search) = self.search.take().filter(|_| for_good) {
            search.leave().await;
        }
    }

    /// A link that is lost ends the session at once, as FRR does; a router that is found is dialled at once.
    fn on_found(&mut self, now: Instant) {
        let Some(found) = self.search.as_mut().map(Search::found) else {
            return;
        };
        self.report.found(found.as_ref().ok().copied());
        let connected = self.connection.as_ref().map(|(id, _)| *id);
        match (found, connected) {
            (Err(text), Some(id)) => self.handle(now, Event::Closed(id, Some(text))),
            // A second router does not disturb the session that works.
            (Ok(_), Some(_)) => {}
            // An attempt to dial reports what is missing.
            (_, None) => self.handle(now, Event::Reset(StopReason::Reset)),
        }
    }

    fn on_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Reset(reason) => self.handle(now, Event::Reset(reason)),
            Command::Look(look) => look.at(&self.session),
            #[cfg(test)]
            Command::Panic => panic!("as the test wants"),
        }
    }

    fn on_dialled(&mut self, now: Instant, result: Dialled) {
        let Some((id, _)) = self.dialling.take() else { return };
        match result {
            Ok((stream, link)) => {
                self.connection = Some((id, Connection::new(stream)));
                self.handle(now, Event::Connected(id, link));
            }
            Err(error) => self.handle(now, Event::ConnectFailed(id, error.to_string())),
        }
    }

    fn on_accepted(&mut self, now: Instant, stream: TcpStream) {
        self.accepted = true;
        let link = match adopt(self.session.config(), &stream) {
            Ok(link) => link,
            Err(error) => {
                let peer = &self.session.config().name;
                return tracing::warn!(event = "connectionLost", %peer, %error, "cannot set up a connection that the peer has opened");
            }
        };
        let Some(id) = self.session.accept() else {
            return self.refusals.refuse(stream, StopReason::Collision.notification());
        };
        let connection = Some((id, Connection::new(stream)));
        if self.connection.is_none() && self.dialling.is_none() {
            self.connection = connection;
        } else {
            self.challenger = connection;
        }
        self.handle(now, Event::Connected(id, link));
    }

    fn on_challenger_ready(&mut self, now: Instant, ready: io::Result<Ready>, buffer: &mut [u8]) {
        let Some((id, connection)) = &self.challenger else {
            return;
        };
        let event = match (ready, connection) {
            (Ok(Ready::Read), connection) => match received(*id, connection, buffer) {
                Some(event) => event,
                None => return,
            },
            (Ok(Ready::Write), _) => return,
            (Err(error), _) => Event::Closed(*id, Some(error.to_string())),
        };
        self.handle(now, event);
    }

    fn on_ready(&mut self, now: Instant, ready: io::Result<Ready>, buffer: &mut [u8]) {
        match (ready, &self.connection) {
            (Ok(Ready::Read), _) => self.read(now, buffer),
            // What waits is written after every event.
            (Ok(Ready::Write), _) | (Err(_), None) => {}
            (Err(error), Some((id, _))) => self.handle(now, Event::Closed(*id, Some(error.to_string()))),
        }
    }

    fn on_routes_changed(&mut self, now: Instant) {
        if self.pace.changed(now) {
            self.hand_over_routes(now);
        }
    }

    fn on_deadline(&mut self, now: Instant, buffer: &mut [u8]) {
        // This process may have been held up, not the peer: read what has arrived before the hold timer is evaluated.
        self.read(now, buffer);
        if self.pace.due(now) {
            self.hand_over_routes(now);
        }
        self.handle(now, Event::Tick);
    }

    fn hand_over_routes(&mut self, now: Instant) {
        if let Some(routes) = self.routes.read(&self.session.config().name) {
            self.handle(now, Event::RoutesChanged(&routes));
        }
    }

    fn read(&mut self, now: Instant, buffer: &mut [u8]) {
        let Some((id, connection)) = &self.connection else {
            return;
        };
        if let Some(event) = received(*id, connection, buffer) {
            self.handle(now, event);
        }
    }

    /// Writes what the kernel takes at once; the session may then have more.
    fn write(&mut self, now: Instant) {
        if let Some((id, connection)) = &mut self.challenger {
            let event = match connection.write() {
                Ok(octets) => Event::Written(*id, octets),
                Err(error) => Event::Closed(*id, Some(error.to_string())),
            };
            self.handle(now, event);
        }
        while let Some((id, connection)) = &mut self.connection {
            let event = match connection.write() {
                Ok(0) => return,
                Ok(octets) => Event::Written(*id, octets),
                Err(error) => Event::Closed(*id, Some(error.to_string())),
            };
            self.handle(now, event);
        }
    }

    fn handle(&mut self, now: Instant, event: Event<'_>) {
        for action in self.session.handle(now, event) {
            self.perform(action);
        }
        self.report.counters.set_prefixes(&self.session.prefixes());
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Connect(id) => {
                let config = self.session.config().clone();
                let found = self.search.as_mut().map(Search::found);
                self.dialling = Some((id, Box::pin(async move { dial(&config, found).await })));
            }
            Action::Send(bytes) => {
                self.report.counters.count_sent(&bytes);
                if let Some((_, connection)) = &mut self.connection {
                    connection.queue(bytes);
                }
            }
            Action::SendOn(id, bytes) => {
                self.report.counters.count_sent(&bytes);
                if let Some((_, connection)) = self.challenger.as_mut().filter(|(open, _)| *open == id) {
                    connection.queue(bytes);
                }
            }
            Action::Promote(id) => self.connection = self.challenger.take_if(|(open, _)| *open == id),
            Action::Close(id) => self.close(id),
            Action::Up(negotiated) => {
                self.report.up(&negotiated);
                if self.session.config().graceful_restart.is_some() && negotiated.graceful_restart.is_none() {
                    self.report.forgotten();
                }
            }
            Action::Down(reason) => self.report.down(&reason),
            Action::Received(message) => self.report.counters.count_received(message.kind()),
            Action::Update(frame) => self.report.counters.count_received(frame.kind),
            Action::Oversized(prefixes) => self.report.oversized(&prefixes),
        }
    }

    fn close(&mut self, id: ConnectionId) {
        self.dialling.take_if(|(dialling, _)| *dialling == id);
        for slot in [&mut self.connection, &mut self.challenger] {
            if let Some((_, connection)) = slot.take_if(|(open, _)| *open == id) {
                connection.close();
            }
        }
    }
}

/// Reads from a connection that is ready.
fn received<'a>(id: ConnectionId, connection: &Connection, buffer: &'a mut [u8]) -> Option<Event<'a>> {
    match connection.read(buffer) {
        Ok(None) => None,
        Ok(Some(0)) => Some(Event::Closed(id, None)),
        Ok(Some(length)) => Some(Event::Received(id, &buffer[..length])),
        Err(error) => Some(Event::Closed(id, Some(error.to_string()))),
    }
}

/// Waits for the future if there is one, else for ever.
async fn pending_or<F: Future + Unpin>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
