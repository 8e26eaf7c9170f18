//! The interfaces of this network namespace and their changes, from netlink. Needs no capability.

use std::{collections::BTreeMap, io, net::IpAddr};

use futures::{StreamExt, TryStreamExt, channel::mpsc::UnboundedReceiver};
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage},
    link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
};
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection, packet_core::NetlinkMessage, sys::SocketAddr};
use tokio::task::JoinHandle;

/// One interface as the kernel describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Hardware address, empty if there is none.
    pub hardware_address: Vec<u8>,
    /// IFF_UP.
    pub up: bool,
    /// IFF_LOWER_UP.
    pub carrier: bool,
    /// How often the carrier has come up (IFLA_CARRIER_UP_COUNT).
    pub carrier_ups: u32,
    /// IFF_BROADCAST.
    pub broadcast: bool,
    /// IFF_NOARP.
    pub no_arp: bool,
    /// Index of the interface that this one is enslaved to.
    pub controller: Option<u32>,
    /// Kind of a virtual interface, as `ip link add type` spells it.
    pub kind: Option<String>,
    /// Addresses, without those that are tentative or have failed duplicate address detection.
    pub addresses: Vec<IpAddr>,
}

/// Why interfaces cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// Dump of interfaces.
    #[error("cannot list interfaces: {0}")]
    Links(#[source] rtnetlink::Error),
    /// Dump of addresses.
    #[error("cannot list addresses: {0}")]
    Addresses(#[source] rtnetlink::Error),
}

/// Lists interfaces and reports that something about them has changed.
#[derive(Debug)]
pub struct LinkMonitor {
    handle: Handle,
    messages: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    connection: JoinHandle<()>,
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
            connection: tokio::spawn(connection),
        })
    }

    /// Lists all interfaces with their addresses, ordered by index.
    ///
    /// # Errors
    /// If the kernel refuses one of the dumps.
    pub async fn list(&self) -> Result<Vec<Link>, ListError> {
        let links = self.handle.link().get().execute();
        let mut links: BTreeMap<u32, Link> = links
            .map_ok(|message| (message.header.index, link(&message)))
            .try_collect()
            .await
            .map_err(ListError::Links)?;
        let mut addresses = self.handle.address().get().execute();
        while let Some(message) = addresses.try_next().await.map_err(ListError::Addresses)? {
            if let Some(link) = links.get_mut(&message.header.index) {
                link.addresses.extend(address(&message));
            }
        }
        Ok(links.into_values().collect())
    }

    /// Waits for a change, and takes all others that have come meanwhile with it. Lost messages count as a change.
    /// Returns false if there will be no more news. Cancel-safe.
    pub async fn changed(&mut self) -> bool {
        if self.messages.next().await.is_none() {
            return false;
        }
        while let Ok(message) = self.messages.try_recv() {
            drop(message);
        }
        true
    }
}

impl Drop for LinkMonitor {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn link(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        broadcast: flags.contains(LinkFlags::Broadcast),
        no_arp: flags.contains(LinkFlags::Noarp),
        ..Link::default()
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
