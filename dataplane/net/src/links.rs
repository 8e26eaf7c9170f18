//! The interfaces of this network namespace and their changes, from netlink. Needs no capability.

use std::{collections::BTreeMap, fmt, io, net::IpAddr};

use futures::{
    FutureExt, StreamExt, TryStreamExt,
    channel::mpsc::UnboundedReceiver,
    future::{BoxFuture, Fuse},
};
use metallb_l2::LinkFacts;
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage},
    link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
};
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection, packet_core::NetlinkMessage, sys::SocketAddr};

/// Why interfaces cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// Dump of interfaces.
    #[error("cannot list interfaces: {0}")]
    Links(#[source] rtnetlink::Error),
    /// Dump of addresses.
    #[error("cannot list addresses: {0}")]
    Addresses(#[source] rtnetlink::Error),
    /// No answer is to come any more.
    #[error("the netlink socket has failed")]
    Closed,
}

/// Lists interfaces and reports that something about them has changed.
///
/// It has no task of its own: what reads the netlink socket runs while one of its functions is waited for.
pub struct LinkMonitor {
    handle: Handle,
    messages: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    connection: Fuse<BoxFuture<'static, ()>>,
}

impl fmt::Debug for LinkMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkMonitor").finish_non_exhaustive()
    }
}

impl LinkMonitor {
    /// Subscribes to interface and address changes. Needs a tokio runtime.
    ///
    /// # Errors
    /// If the netlink socket cannot be opened.
    pub fn open() -> io::Result<Self> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
        ];
        let (connection, handle, messages) = new_multicast_connection(&groups)?;
        Ok(Self {
            handle,
            messages,
            connection: connection.boxed().fuse(),
        })
    }

    /// Lists all interfaces with their addresses, ordered by index.
    ///
    /// # Errors
    /// If the kernel refuses one of the dumps, or the netlink socket has failed.
    pub async fn list(&mut self) -> Result<Vec<LinkFacts>, ListError> {
        tokio::select! {
            listed = list(&self.handle) => listed,
            () = &mut self.connection => Err(ListError::Closed),
        }
    }

    /// Waits for a change, and takes all others that have come meanwhile with it. Lost messages count as a change.
    /// Returns false if there will be no more news. Cancel-safe.
    pub async fn changed(&mut self) -> bool {
        let first = tokio::select! {
            first = self.messages.next() => first,
            () = &mut self.connection => None,
        };
        if first.is_none() {
            return false;
        }
        while let Ok(message) = self.messages.try_recv() {
            drop(message);
        }
        true
    }
}

async fn list(handle: &Handle) -> Result<Vec<LinkFacts>, ListError> {
    let links = handle.link().get().execute();
    let mut links: BTreeMap<u32, LinkFacts> = links
        .map_ok(|message| (message.header.index, link(&message)))
        .try_collect()
        .await
        .map_err(ListError::Links)?;
    let mut addresses = handle.address().get().execute();
    while let Some(message) = addresses.try_next().await.map_err(ListError::Addresses)? {
        if let Some(link) = links.get_mut(&message.header.index) {
            link.addresses.extend(address(&message));
        }
    }
    Ok(links.into_values().collect())
}

fn link(message: &LinkMessage) -> LinkFacts {
    let flags = message.header.flags;
    let mut link = LinkFacts {
        index: message.header.index,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        broadcast: flags.contains(LinkFlags::Broadcast),
        no_arp: flags.contains(LinkFlags::Noarp),
        ..LinkFacts::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(bytes) => link.hardware_address.clone_from(bytes),
            LinkAttribute::CarrierUpCount(count) => link.carrier_ups = *count,
            LinkAttribute::Controller(index) => link.controller = Some(*index),
            LinkAttribute::LinkInfo(infos) => link.kind = infos.iter().find_map(kind),
            _ => {}
        }
    }
    link
}

fn kind(info: &LinkInfo) -> Option<String> {
    match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    }
}

/// The usable address in a message. IFA_LOCAL is the own address where both ends of a link are given.
fn address(message: &AddressMessage) -> Option<IpAddr> {
    let unusable = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
    // An optimistic address may be used although it is still tentative (RFC 4429).
    let optimistic = message.attributes.iter().any(
        |attribute| matches!(attribute, AddressAttribute::Flags(flags) if flags.contains(AddressFlags::Optimistic)),
    );
    if message.header.flags.intersects(unusable) && !optimistic {
        return None;
    }
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        })
    })
}
