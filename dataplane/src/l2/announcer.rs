//! What stands between the sockets and the layer-2 core; a thread drives it.
//!
//! When two nodes announce one address, [`super::L2Handle::conflicts`] tells of the claimant within milliseconds. The caller,
//! which knows the ranks, answers with [`super::L2Handle::yield_address`] (silent at once) or [`super::L2Handle::defend`].
//! [`super::L2Handle::claims_ended`] tells that the other is gone, and [`super::L2Handle::resume_address`] ends the silence.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use metallb_l2::{Action, Core, Count, EthernetAddress, Event, Protocol, Purpose, Selection};
use metallb_net::Received;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::{
    Command, Config, FirstFrame, Found,
    counters::{Counters, Tally},
    groups::Membership,
    links::log_differences,
    sockets::Sockets,
};

/// Where the announcer tells what it hears.
pub(super) struct Outputs {
    pub(super) counters: Arc<Counters>,
    pub(super) conflicts: broadcast::Sender<super::Conflict>,
    pub(super) claims_ended: broadcast::Sender<IpAddr>,
    pub(super) found: broadcast::Sender<Found>,
    pub(super) groups: mpsc::UnboundedSender<Membership>,
}

/// Owns the sockets and the core; the only one who sends.
pub(super) struct Announcer {
    sockets: Sockets,
    core: Core,
    /// Used again and again, so that a frame allocates nothing.
    actions: Vec<Action>,
    selection: Selection,
    names: BTreeMap<u32, String>,
    tally: Tally,
    outputs: Outputs,
    handing_over: Option<oneshot::Sender<()>>,
    /// Addresses of which somebody waits for the first gratuitous frame.
    awaited: HashMap<IpAddr, mpsc::UnboundedSender<FirstFrame>>,
}

impl Announcer {
    pub(super) fn new(sockets: Sockets, config: &Config, outputs: Outputs) -> Self {
        Self {
            sockets,
            core: Core::new(config.garp_interval, seed()).check_before_announcing(config.check_before_announcing),
            actions: Vec::new(),
            selection: Selection::default(),
            names: BTreeMap::new(),
            tally: Tally::new(Arc::clone(&outputs.counters)),
            outputs,
            handing_over: None,
            awaited: HashMap::new(),
        }
    }

    pub(super) fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    /// When it wants [`Event::Tick`] next.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.core.next_deadline()
    }

    pub(super) fn obey(&mut self, command: Command) {
        match command {
            Command::Links(selection) => self.use_links(selection),
            Command::Change(changes) => {
                let withdrawn = changes.iter().filter(|(_, interfaces)| interfaces.is_none());
                self.await_no_longer(withdrawn.map(|(ip, _)| ip));
                self.feed(Event::Changed(changes));
            }
            Command::Release(addresses) => {
                self.await_no_longer(&addresses);
                self.feed(Event::Release(addresses));
            }
            Command::TellFirst(ips, to) => self.awaited.extend(ips.into_iter().map(|ip| (ip, to.clone()))),
            Command::Reannounce => self.feed(Event::Reannounce),
            Command::Probe(ip) => self.feed(Event::Probe(ip)),
            Command::Yield(ip) => self.feed(Event::Yield(ip)),
            Command::Resume(ip) => self.feed(Event::Resume(ip)),
            Command::Defend(ip) => self.feed(Event::Defend(ip)),
            Command::Peers(macs) => self.feed(Event::Peers(macs)),
            Command::Echo(answer) => {
                self.feed(Event::Attended);
                // Whoever asked may be gone.
                let _ = answer.send(());
            }
            Command::HandOver { begun, done } => {
                self.handing_over = Some(done);
                self.feed(Event::HandOver);
                // Whoever asked may have given up.
                let _ = begun.send(());
            }
            // It is for the thread.
            Command::End => {}
        }
    }

    fn await_no_longer<'a>(&mut self, addresses: impl IntoIterator<Item = &'a IpAddr>) {
        if !self.awaited.is_empty() {
            addresses.into_iter().for_each(|ip| drop(self.awaited.remove(ip)));
        }
    }

    fn use_links(&mut self, selection: Selection) {
        let links = &selection.links;
        self.names = links.iter().map(|link| (link.index, link.name.clone())).collect();
        self.tally.forget_names();
        let before = std::mem::replace(&mut self.selection, selection.clone());
        self.feed(Event::Links(selection));
        log_differences(&before, &self.selection);
    }

    pub(super) fn on_frame(&mut self, received: Received, bytes: &[u8]) {
        let Received {
            ifindex, packet_type, ..
        } = received;
        self.feed(Event::Frame {
            ifindex,
            packet_type,
            bytes,
        });
    }

    pub(super) fn feed(&mut self, event: Event<'_>) {
        let mut actions = std::mem::take(&mut self.actions);
        self.core.handle_into(Instant::now(), event, &mut actions);
        for action in actions.drain(..) {
            self.perform(action);
        }
        self.actions = actions;
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
            // Nobody holds memberships, or listens, in a shell that ends.
            Action::Join { ifindex, group } => drop(self.outputs.groups.send(Membership::Join(ifindex, group))),
            Action::Leave { ifindex, group } => drop(self.outputs.groups.send(Membership::Leave(ifindex, group))),
            Action::Conflict(conflict) => self.tell(conflict),
            Action::Found { ip, mac } => drop(self.outputs.found.send(Found { ip, mac })),
            Action::ClaimsEnded(ip) => {
                tracing::debug!(%ip, "no other host claims the address any more");
                drop(self.outputs.claims_ended.send(ip));
            }
            Action::Count(count) => self.count(count),
        }
    }

    fn count(&mut self, count: Count) {
        match count {
            Count::Claims {
                ip,
                frames,
                peer: false,
            } => self.tally.count(ip, |address| &address.conflicts, frames),
            Count::Claims { ip, frames, peer: true } => self.tally.count(ip, |address| &address.peer_conflicts, frames),
            Count::Dropped { reason, ifindex } => {
                tracing::trace!(reason = reason.as_str(), iface = self.name(ifindex), "frame ignored");
                self.tally.dropped(reason, ifindex, || name(&self.names, ifindex));
            }
        }
    }

    /// The answer leaves first; what is told of it comes after.
    fn answer(&mut self, ifindex: u32, ip: IpAddr, to: EthernetAddress, frame: &[u8]) {
        let protocol = Protocol::of(ip);
        let sent = self.sockets.send(protocol, ifindex, frame);
        let iface = self.name(ifindex);
        match protocol {
            Protocol::Arp => {
                tracing::debug!(%ip, iface, sender_mac = %to, "got ARP request for service IP, sending response");
            }
            Protocol::Ndp => {
                tracing::debug!(%ip, iface, sender_mac = %to, "got NDP request for service IP, sending response");
            }
        }
        if let Err(error) = &sent {
            tracing::warn!(%ip, iface, %error, "sending a response");
        }
        self.tally.count(ip, |address| &address.requests_received, 1);
        if sent.is_ok() {
            self.tally.count(ip, |address| &address.responses_sent, 1);
        }
    }

    fn announce(&mut self, ifindex: u32, ip: IpAddr, frame: &[u8]) {
        match self.sockets.send(Protocol::of(ip), ifindex, frame) {
            Ok(()) => {
                self.tally.count(ip, |address| &address.gratuitous_sent, 1);
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
        let metallb_l2::Conflict {
            ip,
            ifindex,
            mac,
            report,
        } = conflict;
        let interface = self.name(ifindex).to_owned();
        if report.is_for_users() {
            tracing::warn!(event = "addressConflict", %ip, interface, %mac, "another host claims an address announced here");
        } else {
            tracing::debug!(%ip, interface, %mac, ?report, "another host claims an address");
        }
        drop(self.outputs.conflicts.send(super::Conflict {
            ip,
            interface,
            mac,
            report,
        }));
    }

    fn name(&self, ifindex: u32) -> &str {
        name(&self.names, ifindex)
    }
}

/// Interfaces that do not announce are all called the same, so that labels stay few.
fn name(names: &BTreeMap<u32, String>, ifindex: u32) -> &str {
    names.get(&ifindex).map_or("other", String::as_str)
}

/// Different on every node and start, so that refreshes of several nodes do not fall together.
fn seed() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::from(since_epoch.subsec_nanos()) ^ since_epoch.as_secs() ^ u64::from(std::process::id()) << 32
}
