//! The task of one peer: performs what its session decides.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io,
    sync::Arc,
    time::Instant,
};

use futures::future::BoxFuture;
use metallb_bgp::{Action, ConnectionId, Event, LinkAddresses, PeerConfig, Posture, Session, StopReason};
use tokio::{
    net::TcpStream,
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
};

use super::{
    Farewell,
    command::{Command, Inspection},
    connection::{Connection, DialError, Ready, dial},
    pace::Pace,
    report::Report,
    routes::Reader,
};

/// What the supervisor wants of a peer.
#[derive(Debug)]
pub(super) enum Order {
    Stop(StopReason),
    Leave(Arc<Farewell>),
    Show(Posture),
    Command(Command),
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
    pace: Pace,
    report: Report,
}

/// What woke the task.
enum Wake {
    Order(Order),
    Dialled(Dialled),
    Ready(io::Result<Ready>),
    RoutesChanged,
    Deadline,
}

impl Peer {
    pub(super) fn new(config: PeerConfig, routes: Reader, report: Report) -> Self {
        // Jitter only has to differ between nodes and peers.
        let seed = RandomState::new().build_hasher().finish();
        Self {
            session: Session::new(config, seed),
            routes,
            dialling: None,
            connection: None,
            pace: Pace::default(),
            report,
        }
    }

    /// Has the session show its routes in this way from the beginning.
    pub(super) fn show(&mut self, posture: Posture) {
        self.handle(Instant::now(), Event::Show(posture));
    }

    /// Has the session say that this speaker has restarted.
    pub(super) fn set_restarted(&mut self) {
        self.session.set_restarted();
    }

    /// Runs until told to stop, or until nobody is left who could.
    pub(super) async fn run(mut self, mut orders: UnboundedReceiver<Order>) {
        let mut buffer = vec![0; 64 * 1024];
        let now = Instant::now();
        self.on_routes_changed(now);
        self.handle(now, Event::Start);
        loop {
            let wake = self.wait(&mut orders).await;
            let now = Instant::now();
            match wake {
                Wake::Order(Order::Stop(reason)) => return self.handle(now, Event::Stop(reason)),
                Wake::Order(Order::Leave(farewell)) => {
                    return self.handle(now, Event::Leave(farewell.reason, &farewell.text));
                }
                Wake::Order(Order::Show(posture)) => self.handle(now, Event::Show(posture)),
                Wake::Order(Order::Command(command)) => self.on_command(now, command),
                Wake::Dialled(result) => self.on_dialled(now, result),
                Wake::Ready(ready) => {
                    self.on_ready(now, ready, &mut buffer);
                    // Reading by readiness is not counted: a peer that never stops sending would keep the thread.
                    tokio::task::yield_now().await;
                }
                Wake::RoutesChanged => self.on_routes_changed(now),
                Wake::Deadline => self.on_deadline(now, &mut buffer),
            }
            self.write(now);
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
        tokio::select! {
            order = orders.recv() => Wake::Order(order.unwrap_or(Order::Stop(StopReason::Shutdown))),
            result = pending_or(self.dialling.as_mut().map(|(_, dialling)| dialling)) => Wake::Dialled(result),
            ready = pending_or(connection.map(|connection| Box::pin(connection.ready()))) => Wake::Ready(ready),
            () = pending_or(deadline.map(|at| Box::pin(tokio::time::sleep_until(at.into())))) => Wake::Deadline,
            // What is gathered already is read with all that follows.
            Ok(()) = self.routes.changed(), if !self.pace.is_waiting() => Wake::RoutesChanged,
        }
    }

    fn on_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Reset(reason) => self.handle(now, Event::Reset(reason)),
            // The supervisor makes orders of these: what all peers are shown counts as well.
            Command::Drain | Command::Resume => {}
            // Who asked may have lost patience.
            Command::Inspect(answer) => drop(answer.send(Inspection::of(&self.session))),
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
        // This process may have been held up, not the peer: what it said meanwhile counts before the hold timer does.
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
        let event = match connection.read(buffer) {
            Ok(None) => return,
            Ok(Some(0)) => Event::Closed(*id, None),
            Ok(Some(length)) => Event::Received(*id, &buffer[..length]),
            Err(error) => Event::Closed(*id, Some(error.to_string())),
        };
        self.handle(now, event);
    }

    /// Writes what the kernel takes at once; the session may then have more.
    fn write(&mut self, now: Instant) {
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
                self.dialling = Some((id, Box::pin(async move { dial(&config).await })));
            }
            Action::Send(bytes) => {
                self.report.counters.count_sent(&bytes);
                if let Some((_, connection)) = &mut self.connection {
                    connection.queue(bytes);
                }
            }
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
        if let Some((_, connection)) = self.connection.take_if(|(open, _)| *open == id) {
            connection.close();
        }
    }
}

/// Waits for the future if there is one, else for ever.
async fn pending_or<F: Future + Unpin>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
