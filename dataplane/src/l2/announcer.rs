//! The task between the sockets and the layer-2 core.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use metallb_l2::{Action, Core, Count, EthernetAddress, Event, Protocol, Purpose, Selection};
use metallb_net::Received;
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task, time,
};

use super::{
    Command, FirstFrame,
    counters::Counters,
    links::log_differences,
    sockets::{Buffers, Sockets},
};

/// After a socket error, so that a broken socket does not become a busy loop.
const ERROR_PAUSE: Duration = Duration::from_millis(100);
/// So many frames are judged before what else there is to do; a flood of them must delay neither a withdrawal nor a burst.
const FRAMES_AT_A_TIME: usize = 64;

/// Owns the sockets and the core; the only one who sends.
pub(super) struct Announcer {
    sockets: Sockets,
    core: Core,
    selection: Selection,
    names: BTreeMap<u32, String>,
    counters: Arc<Counters>,
    conflicts: broadcast::Sender<super::Conflict>,
    found: broadcast::Sender<IpAddr>,
    handing_over: Option<oneshot::Sender<()>>,
    /// Addresses of which somebody waits for the first gratuitous frame.
    awaited: HashMap<IpAddr, mpsc::UnboundedSender<FirstFrame>>,
}

impl Announcer {
    pub(super) fn new(
        sockets: Sockets,
        refresh: Option<Duration>,
        counters: Arc<Counters>,
        conflicts: broadcast::Sender<super::Conflict>,
        found: broadcast::Sender<IpAddr>,
    ) -> Self {
        Self {
            sockets,
            core: Core::new(refresh, seed()),
            selection: Selection::default(),
            names: BTreeMap::new(),
            counters,
            conflicts,
            found,
            handing_over: None,
            awaited: HashMap::new(),
        }
    }

    /// Runs for good. Every arm is cancel-safe: what it would have taken stays there.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut selection: watch::Receiver<Selection>,
    ) {
        let mut buffers = Buffers::default();
        let mut heard = 0;
        loop {
            let deadline = self.core.next_deadline();
            // Biased: a request is answered between two slices of a long change.
            tokio::select! {
                biased;
                received = self.sockets.receive(&mut buffers), if heard < FRAMES_AT_A_TIME => {
                    heard += 1;
                    match received {
                        Ok((received, frame)) => self.on_frame(received, frame),
                        Err(error) => {
                            tracing::warn!(%error, "receiving frames");
                            time::sleep(ERROR_PAUSE).await;
                        }
                    }
                    continue;
                }
                Some(command) = commands.recv() => self.obey(command),
                Ok(()) = selection.changed() => {
                    let selected = selection.borrow_and_update().clone();
                    self.use_links(selected);
                }
                () = until(deadline) => self.feed(Event::Tick),
                () = std::future::ready(()), if heard >= FRAMES_AT_A_TIME => {}
            }
            heard = 0;
            // What is ready at once does not let the runtime look for frames.
            task::yield_now().await;
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Change(changes) => {
                if !self.awaited.is_empty() {
                    for (ip, _) in changes.iter().filter(|(_, interfaces)| interfaces.is_none()) {
                        self.awaited.remove(ip);
                    }
                }
                self.feed(Event::Changed(changes));
            }
            Command::TellFirst(ips, to) => self.awaited.extend(ips.into_iter().map(|ip| (ip, to.clone()))),
            Command::Reannounce => self.feed(Event::Reannounce),
            Command::Probe(ip) => self.feed(Event::Probe(ip)),
            Command::HandOver(done) => {
                self.handing_over = Some(done);
                self.feed(Event::HandOver);
            }
        }
    }

    fn use_links(&mut self, selection: Selection) {
        let links = &selection.links;
        self.names = links.iter().map(|link| (link.index, link.name.clone())).collect();
        let before = std::mem::replace(&mut self.selection, selection.clone());
        self.feed(Event::Links(selection));
        log_differences(&before, &self.selection);
    }

    fn on_frame(&mut self, received: Received, bytes: &[u8]) {
        let Received {
            ifindex, packet_type, ..
        } = received;
        self.feed(Event::Frame {
            ifindex,
            packet_type,
            bytes,
        });
    }

    fn feed(&mut self, event: Event<'_>) {
        for action in self.core.handle(Instant::now(), event) {
            self.perform(action);
        }
        if self.core.is_handed_over()
            && let Some(done) = self.handing_over.take()
        {
            // Whoever asked may have waited long enough.
            let _ = done.send(());
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Send {
                ifindex,
                ip,
                purpose,
                frame,
            } => match purpose {
                Purpose::Answer { to } => self.answer(ifindex, ip, to, &frame),
                Purpose::Gratuitous => self.announce(ifindex, ip, &frame),
                Purpose::Probe => self.ask(ifindex, ip, &frame),
            },
            Action::Filter { protocol, program } => self.sockets.set_filter(protocol, &program),
            Action::Join { ifindex, group } => self.sockets.join(ifindex, group),
            Action::Leave { ifindex, group } => self.sockets.leave(ifindex, group),
            Action::Conflict(conflict) => self.tell(conflict),
            Action::Found(ip) => {
                // Nobody listening is fine.
                let _ = self.found.send(ip);
            }
            Action::Count(Count::Claims { ip, frames }) => {
                self.counters.count(ip, |counters| counters.conflicts += frames);
            }
            Action::Count(Count::Dropped { reason, ifindex }) => {
                let (reason, iface) = (reason.as_str(), self.name(ifindex));
                tracing::trace!(reason, iface, "frame ignored");
                self.counters.dropped(reason, iface);
            }
        }
    }

    fn answer(&self, ifindex: u32, ip: IpAddr, to: EthernetAddress, frame: &[u8]) {
        let (iface, protocol) = (self.name(ifindex), Protocol::of(ip));
        match protocol {
            Protocol::Arp => {
                tracing::debug!(%ip, iface, sender_mac = %to, "got ARP request for service IP, sending response");
            }
            Protocol::Ndp => {
                tracing::debug!(%ip, iface, sender_mac = %to, "got NDP request for service IP, sending response");
            }
        }
        self.counters.count(ip, |counters| counters.requests_received += 1);
        match self.sockets.send(protocol, ifindex, frame) {
            Ok(()) => self.counters.count(ip, |counters| counters.responses_sent += 1),
            Err(error) => tracing::warn!(%ip, iface, %error, "sending a response"),
        }
    }

    fn announce(&mut self, ifindex: u32, ip: IpAddr, frame: &[u8]) {
        match self.sockets.send(Protocol::of(ip), ifindex, frame) {
            Ok(()) => {
                self.counters.count(ip, |counters| counters.gratuitous_sent += 1);
                if let Some(to) = self.awaited.remove(&ip) {
                    // Whoever asked may be gone.
                    let _ = to.send(FirstFrame { ip, at: Instant::now() });
                }
            }
            Err(error) => tracing::debug!(%ip, iface = self.name(ifindex), %error, "sending a gratuitous frame"),
        }
    }

    fn ask(&self, ifindex: u32, ip: IpAddr, frame: &[u8]) {
        if let Err(error) = self.sockets.send(Protocol::of(ip), ifindex, frame) {
            tracing::debug!(%ip, iface = self.name(ifindex), %error, "asking who has an address");
        }
    }

    fn tell(&self, conflict: metallb_l2::Conflict) {
        let metallb_l2::Conflict { ip, ifindex, mac } = conflict;
        let interface = self.name(ifindex).to_owned();
        tracing::warn!(event = "addressConflict", %ip, interface, %mac, "another host claims an address announced here");
        // Nobody listening is fine.
        let _ = self.conflicts.send(super::Conflict { ip, interface, mac });
    }

    /// Interfaces that do not announce are all called the same, so that labels stay few.
    fn name(&self, ifindex: u32) -> &str {
        self.names.get(&ifindex).map_or("other", String::as_str)
    }
}

/// Does not ask the timer for what is due already: it is exact to a millisecond only.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) if deadline <= Instant::now() => {}
        Some(deadline) => time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Different on every node and start, so that refreshes of several nodes do not fall together.
fn seed() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::from(since_epoch.subsec_nanos()) ^ since_epoch.as_secs() ^ u64::from(std::process::id()) << 32
}
