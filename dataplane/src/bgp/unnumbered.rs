//! Finds the router at the other end of an interface: runs a [`Discovery`] and owns its socket.
//!
//! ```text
//!  netlink ──Known──► search task ◄──ICMPv6──► link
//!                         │
//!                         └──Found──► task of the peer, which dials
//! ```

use std::{net::Ipv6Addr, time::Instant};

use metallb_bgp::{Discovery, DiscoveryAction, DiscoveryEvent, DiscoveryLink};
use metallb_net::{LinkFacts, RouterSocket};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::links::Known;

/// Longer packets are cut, and then discarded as broken.
const PACKET_LEN: usize = 2048;

/// The link-local address of the router, or why there is none.
pub(super) type Found = Result<Ipv6Addr, String>;

/// A search that goes on until this is dropped.
pub(super) struct Search {
    found: watch::Receiver<Found>,
    task: JoinHandle<()>,
    leave: CancellationToken,
}

impl Search {
    /// Begins to look for the router on an interface, and to advertise this node to it.
    pub(super) fn start(interface: &str, links: watch::Receiver<Known>) -> Self {
        let (news, found) = watch::channel(Err(format!("interface {interface} is not known yet")));
        let leave = CancellationToken::new();
        let task = Task {
            interface: interface.to_owned(),
            links,
            socket: None,
            discovery: Discovery::default(),
            news,
            leave: leave.clone(),
        };
        let task = tokio::spawn(task.run());
        Self { found, task, leave }
    }

    /// Waits until the router is another one, or lost. Cancel-safe.
    ///
    /// # Panics
    /// If the search has panicked: the peer that depends on it fails as well, and is started anew.
    pub(super) async fn changed(&mut self) {
        let changed = self.found.changed().await;
        changed.expect("the search goes on until this is dropped");
    }

    /// Returns the router.
    pub(super) fn found(&mut self) -> Found {
        self.found.borrow_and_update().clone()
    }

    /// Ends, and announces that this node is no longer a router on the link (RFC 4861 §6.2.5).
    pub(super) async fn leave(mut self) {
        self.leave.cancel();
        // Fails if the search has panicked, and then nothing is announced.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Task {
    interface: String,
    links: watch::Receiver<Known>,
    /// With the index of the interface that it is for.
    socket: Option<(u32, RouterSocket)>,
    discovery: Discovery,
    news: watch::Sender<Found>,
    leave: CancellationToken,
}

/// What woke the task.
enum Wake {
    Links,
    Packet(std::io::Result<(usize, Ipv6Addr)>),
    Deadline,
    Leave,
}

impl Task {
    async fn run(mut self) {
        let mut buffer = vec![0; PACKET_LEN];
        self.on_links();
        loop {
            let wake = self.wait(&mut buffer).await;
            match wake {
                Wake::Links => self.on_links(),
                Wake::Packet(Ok((length, from))) => self.handle(DiscoveryEvent::Heard(from, &buffer[..length])),
                // For example the interface is gone, which netlink reports as well. Reading has cleared the error.
                Wake::Packet(Err(error)) => {
                    tracing::debug!(interface = self.interface, %error, "cannot hear routers");
                }
                Wake::Deadline => self.handle(DiscoveryEvent::Tick),
                Wake::Leave => return self.handle(DiscoveryEvent::Leave),
            }
            // Neither a flood of packets nor an error that stays may keep the thread.
            tokio::task::yield_now().await;
        }
    }

    /// Waits for whatever comes first; all arms are cancel-safe.
    async fn wait(&mut self, buffer: &mut [u8]) -> Wake {
        let deadline = self.discovery.next_deadline();
        let packet = async {
            match &self.socket {
                Some((_, socket)) => socket.receive(buffer).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.leave.cancelled() => Wake::Leave,
            Ok(()) = self.links.changed() => Wake::Links,
            () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => {
                Wake::Deadline
            }
            packet = packet => Wake::Packet(packet),
        }
    }

    fn on_links(&mut self) {
        let Some(known) = self.links.borrow_and_update().clone() else {
            return;
        };
        let usable = usable(&self.interface, &known).and_then(|link| self.open(&link).map(|()| link));
        let (link, missing) = match usable {
            Ok(link) => (Some(link), None),
            Err(missing) => (None, Some(missing)),
        };
        if link.is_none() {
            self.socket = None;
        }
        self.handle(DiscoveryEvent::Link(link));
        self.report_missing(missing);
    }

    /// Reports why there is no router, unless there is one.
    fn report_missing(&self, missing: Option<String>) {
        let missing = missing.unwrap_or_else(|| format!("no router has been heard on interface {}", self.interface));
        self.news.send_if_modified(|found| {
            let news = found.as_ref().is_err_and(|known| *known != missing);
            if news {
                *found = Err(missing);
            }
            news
        });
    }

    fn open(&mut self, link: &DiscoveryLink) -> Result<(), String> {
        if self.socket.as_ref().is_none_or(|(index, _)| *index != link.index) {
            let socket = RouterSocket::open(&self.interface, link.index);
            let socket = socket.map_err(|error| format!("cannot look for routers on {}: {error}", self.interface))?;
            self.socket = Some((link.index, socket));
        }
        Ok(())
    }

    fn handle(&mut self, event: DiscoveryEvent<'_>) {
        for action in self.discovery.handle(Instant::now(), event) {
            match action {
                DiscoveryAction::Send(to, packet) => self.send(to, &packet),
                DiscoveryAction::Router(Some(router)) => {
                    tracing::info!(event = "routerFound", interface = self.interface, %router, "found the BGP router");
                    drop(self.news.send_replace(Ok(router)));
                }
                DiscoveryAction::Router(None) => {
                    let lost = format!("interface {} lost its link", self.interface);
                    drop(self.news.send_replace(Err(lost)));
                }
            }
        }
    }

    fn send(&self, to: Ipv6Addr, packet: &[u8]) {
        let Some((_, socket)) = &self.socket else { return };
        if let Err(error) = socket.send(to, packet) {
            // The next advertisement follows within seconds.
            tracing::debug!(interface = self.interface, %error, "cannot send a router advertisement");
        }
    }
}

/// Describes the interface if routers can be heard on it; the error says why not.
fn usable(name: &str, all: &[LinkFacts]) -> Result<DiscoveryLink, String> {
    let Some(link) = all.iter().find(|link| link.name == name) else {
        return Err(format!("there is no interface {name}"));
    };
    if !link.up || !link.carrier {
        return Err(format!("interface {name} is down"));
    }
    let link_local = link.addresses.iter().find_map(|address| match address {
        std::net::IpAddr::V6(address) if address.is_unicast_link_local() => Some(*address),
        _ => None,
    });
    Ok(DiscoveryLink {
        index: link.index,
        local: link_local.ok_or_else(|| format!("interface {name} has no link-local address"))?,
        mac: link.hardware_address.as_slice().try_into().ok(),
        carrier_ups: link.carrier_ups,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let link = |up, carrier, addresses: &[&str]| LinkFacts {
            index: 7,
            name: "eth1".to_owned(),
            hardware_address: vec![2, 0, 0, 0, 0, 1],
            up,
            carrier,
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            ..LinkFacts::default()
        };
        let reason = |link: LinkFacts| usable("eth1", &[link]).unwrap_err();
        assert_eq!(usable("eth1", &[]).unwrap_err(), "there is no interface eth1");
        assert_eq!(reason(link(true, false, &["fe80::1"])), "interface eth1 is down");
        assert_eq!(
            reason(link(true, true, &["10.0.0.1", "fc00::1"])),
            "interface eth1 has no link-local address"
        );
        let found = usable("eth1", &[link(true, true, &["fc00::1", "fe80::1"])]).unwrap();
        assert_eq!((found.index, found.local), (7, "fe80::1".parse().unwrap()));
    }
}
