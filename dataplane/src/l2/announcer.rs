//! The task between the packet socket and the layer-2 cores.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use metallb_l2::{
    Action, Conflict, DropReason, Event, Gratuitous, Instruction, Interfaces, PacketType, Reply, Responder, Selection,
    Verdict, all_arp, filter,
};
use metallb_net::{Delivery, PacketSocket, Received};
use tokio::{
    sync::{Notify, broadcast, watch},
    time,
};
use tokio_util::sync::CancellationToken;

use super::{Desired, counters::Counters};

/// An ARP frame has 60 bytes; what follows does not matter.
const BUFFER_LEN: usize = 128;
/// After a socket error, so that a broken socket does not become a busy loop.
const ERROR_PAUSE: Duration = Duration::from_millis(100);
/// A conflict is told so often at most (RFC 5227 DEFEND_INTERVAL).
const CONFLICT_INTERVAL: Duration = Duration::from_secs(10);
/// Enough for any honest segment; a forger of hardware addresses must not fill our memory or log.
const CONFLICTS_REMEMBERED: usize = 256;

/// Owns the socket and the cores; the only one who sends.
pub(super) struct Announcer {
    socket: PacketSocket,
    responder: Responder,
    gratuitous: Gratuitous,
    names: BTreeMap<u32, String>,
    counters: Arc<Counters>,
    conflicts: broadcast::Sender<super::Conflict>,
    told: BTreeMap<(IpAddr, [u8; 6]), Instant>,
    ipv6_warned: bool,
}

impl Announcer {
    pub(super) fn new(
        socket: PacketSocket,
        refresh: Option<Duration>,
        counters: Arc<Counters>,
        conflicts: broadcast::Sender<super::Conflict>,
    ) -> Self {
        Self {
            socket,
            responder: Responder::default(),
            gratuitous: Gratuitous::new(refresh, seed()),
            names: BTreeMap::new(),
            counters,
            conflicts,
            told: BTreeMap::new(),
            ipv6_warned: false,
        }
    }

    /// Runs until `stop`. Every arm is cancel-safe: what it would have taken stays there.
    pub(super) async fn run(
        mut self,
        mut desired: watch::Receiver<Desired>,
        mut selection: watch::Receiver<Selection>,
        reannounce: Arc<Notify>,
        stop: CancellationToken,
    ) {
        let mut buffer = [0; BUFFER_LEN];
        loop {
            let deadline = self.gratuitous.next_deadline();
            // Biased: a flood of frames must delay neither a withdrawal nor a burst.
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Ok(()) = desired.changed() => {
                    let wanted = desired.borrow_and_update().clone();
                    self.announce(wanted);
                }
                Ok(()) = selection.changed() => {
                    let selected = selection.borrow_and_update().clone();
                    self.use_links(selected);
                }
                () = reannounce.notified() => self.feed(Event::Reannounce),
                () = sleep_until(deadline) => self.feed(Event::Tick),
                received = self.socket.receive(&mut buffer) => match received {
                    Ok(received) => self.on_frame(received, &buffer[..received.len]),
                    Err(error) => {
                        tracing::warn!(%error, "receiving ARP frames");
                        time::sleep(ERROR_PAUSE).await;
                    }
                },
            }
        }
    }

    /// Order matters: what is withdrawn is silent before anything new is said.
    fn announce(&mut self, desired: Desired) {
        let ipv4 = self.ipv4(desired);
        self.responder.set_announced(ipv4.clone());
        let vips: Vec<Ipv4Addr> = ipv4.keys().copied().collect();
        self.set_filter(&filter(&vips));
        self.feed(Event::Announced(ipv4));
    }

    fn ipv4(&mut self, desired: Desired) -> BTreeMap<Ipv4Addr, Interfaces> {
        let mut ipv4 = BTreeMap::new();
        for (ip, interfaces) in desired {
            match ip.to_canonical() {
                IpAddr::V4(v4) => drop(ipv4.insert(v4, interfaces)),
                IpAddr::V6(v6) if !self.ipv6_warned => {
                    self.ipv6_warned = true;
                    tracing::warn!(ip = %v6, "IPv6 addresses are not announced on layer 2 yet");
                }
                IpAddr::V6(_) => {}
            }
        }
        ipv4
    }

    /// Small values of `net.core.optmem_max` refuse a long program; seeing all ARP frames then costs only time.
    fn set_filter(&self, program: &[Instruction]) {
        let attach = |program: &[Instruction]| self.socket.set_filter(&kernel_program(program));
        let fallback = |error: io::Error| {
            tracing::warn!(%error, instructions = program.len(), "exact ARP filter refused, taking all ARP frames");
            attach(&all_arp())
        };
        if let Err(error) = attach(program).or_else(fallback) {
            tracing::error!(%error, "cannot set the ARP filter, requests may stay unanswered");
        }
    }

    fn use_links(&mut self, selection: Selection) {
        self.names = selection
            .links
            .iter()
            .map(|link| (link.index, link.name.clone()))
            .collect();
        self.responder.set_links(&selection.links, selection.own_macs);
        self.feed(Event::Links(selection.links));
    }

    fn feed(&mut self, event: Event) {
        for Action::Send { ifindex, ip, frame } in self.gratuitous.handle(Instant::now(), event) {
            match self.socket.send(ifindex, &frame) {
                Ok(()) => self.counters.count(ip, |counters| counters.gratuitous_sent += 1),
                Err(error) => tracing::debug!(%ip, iface = self.name(ifindex), %error, "sending gratuitous ARP"),
            }
        }
    }

    fn on_frame(&mut self, received: Received, frame: &[u8]) {
        let outcome = self
            .responder
            .on_frame(received.ifindex, packet_type(received.delivery), frame);
        if let Some(conflict) = outcome.conflict {
            self.on_conflict(conflict);
        }
        match outcome.verdict {
            Verdict::Reply(reply) => self.reply(received.ifindex, &reply),
            Verdict::Ignore(reason) => self.ignore(received.ifindex, reason),
        }
    }

    fn reply(&self, ifindex: u32, reply: &Reply) {
        let (ip, iface) = (reply.ip, self.name(ifindex));
        self.counters.count(ip, |counters| counters.requests_received += 1);
        tracing::debug!(%ip, iface, sender_mac = %reply.to, "got ARP request for service IP, sending response");
        match self.socket.send(ifindex, &reply.frame) {
            Ok(()) => self.counters.count(ip, |counters| counters.responses_sent += 1),
            Err(error) => tracing::warn!(%ip, iface, %error, "sending ARP reply"),
        }
    }

    fn ignore(&self, ifindex: u32, reason: DropReason) {
        let (reason, iface) = (reason.as_str(), self.name(ifindex));
        tracing::trace!(reason, iface, "ARP frame ignored");
        self.counters.dropped(reason, iface);
    }

    fn on_conflict(&mut self, Conflict { ip, ifindex, mac }: Conflict) {
        self.counters.count(ip, |counters| counters.conflicts += 1);
        let now = Instant::now();
        self.told.retain(|_, at| now < *at + CONFLICT_INTERVAL);
        if self.told.contains_key(&(ip, mac.0)) || self.told.len() >= CONFLICTS_REMEMBERED {
            return;
        }
        self.told.insert((ip, mac.0), now);
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

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

fn kernel_program(program: &[Instruction]) -> Vec<metallb_net::Instruction> {
    program
        .iter()
        .map(|&Instruction { code, jt, jf, k }| metallb_net::Instruction { code, jt, jf, k })
        .collect()
}

fn packet_type(delivery: Delivery) -> PacketType {
    match delivery {
        Delivery::Host => PacketType::Host,
        Delivery::Broadcast => PacketType::Broadcast,
        Delivery::Multicast | Delivery::Other => PacketType::Other,
    }
}

/// Different on every node and start, so that refreshes of several nodes do not fall together.
fn seed() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::from(since_epoch.subsec_nanos()) ^ since_epoch.as_secs() ^ u64::from(std::process::id()) << 32
}
