//! Links, addresses and routes of one namespace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, RawFd};

use futures::TryStreamExt;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute};
use netlink_packet_route::route::{RouteAttribute, RouteProtocol, RouteScope, RouteType};
use rtnetlink::{Error, Handle, LinkBridge, LinkUnspec, LinkVeth, RouteMessageBuilder, RouteNextHopBuilder};

use super::{NetError, Netns};

/// The kernel's table of local addresses; a route in it makes an address ours without an interface
/// having it (`ip route add local …`), and so without the kernel answering ARP for it.
const LOCAL_TABLE: u32 = 255;

/// Netlink of one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    netns: Netns,
    handle: Handle,
}

/// A virtual cable: `near` in the namespace it is made from, `far` in another one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire<'a> {
    /// The name of our end.
    pub near: &'a str,
    /// The bridge our end is plugged into.
    pub bridge: Option<&'a str>,
    /// The name of the other end.
    pub far: &'a str,
    /// The namespace of the other end.
    pub netns: &'a Netns,
}

impl Links {
    pub(super) fn new(netns: Netns, handle: Handle) -> Self {
        Self { netns, handle }
    }

    /// Makes a bridge and raises it.
    pub(crate) async fn bridge(&self, name: &str) -> Result<(), NetError> {
        let made = self
            .handle
            .link()
            .add(LinkBridge::new(name).up().build())
            .execute()
            .await;
        made.map_err(|source| self.missing("network bridge", "bridge", &format!("make bridge {name}"), source))
    }

    /// Joins two namespaces with a veth pair; both ends are raised.
    pub(crate) async fn wire(&self, wire: Wire<'_>) -> Result<(), NetError> {
        // A name of its own until it is away: the far name may be in use here.
        let passing = format!("x{}", wire.near);
        let made = self
            .handle
            .link()
            .add(LinkVeth::new(wire.near, &passing).build())
            .execute()
            .await;
        made.map_err(|source| self.missing("veth device", "veth", &format!("make veth {}", wire.near), source))?;
        let fd = wire.netns.raw_fd();
        let moved = LinkUnspec::new_with_index(self.index(&passing).await?)
            .name(wire.far)
            .setns_by_fd(fd)
            .build();
        self.set(moved, &format!("hand over {}", wire.far)).await?;
        wire.netns.links()?.up(wire.far).await?;
        if let Some(bridge) = wire.bridge {
            let index = self.index(bridge).await?;
            let plugged = LinkUnspec::new_with_name(wire.near).controller(index).build();
            self.set(plugged, &format!("plug {} into {bridge}", wire.near)).await?;
        }
        self.up(wire.near).await
    }

    /// Raises a link.
    pub(crate) async fn up(&self, name: &str) -> Result<(), NetError> {
        self.set(LinkUnspec::new_with_name(name).up().build(), &format!("raise {name}"))
            .await
    }

    /// Removes a link; one that is gone is fine.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), NetError> {
        match self.index(name).await {
            Ok(index) => {
                let removed = self.handle.link().del(index).execute().await;
                removed
                    .or_else(gone)
                    .map_err(|source| self.refused(format!("remove {name}"), source))
            }
            Err(_) => Ok(()),
        }
    }

    /// Gives a link an address.
    pub(crate) async fn address(&self, name: &str, address: impl Into<IpNet>) -> Result<(), NetError> {
        let (index, address) = (self.index(name).await?, address.into());
        let added = self
            .handle
            .address()
            .add(index, address.addr(), address.prefix_len())
            .execute()
            .await;
        added.map_err(|source| self.refused(format!("give {name} the address {address}"), source))
    }

    /// Routes `prefix` over all of `via`, each flow over one; replaces what was there.
    pub(crate) async fn route(&self, prefix: Ipv4Net, via: &[Ipv4Addr]) -> Result<(), NetError> {
        let builder = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(prefix.network(), prefix.prefix_len());
        let message = match via {
            [one] => builder.gateway(*one).build(),
            many => {
                // The kernel has no route with an empty list of hops; the caller removes the route instead.
                let hop = |hop: &Ipv4Addr| RouteNextHopBuilder::new_ipv4().via(IpAddr::V4(*hop));
                let hops: Result<Vec<_>, _> = many.iter().map(hop).collect();
                let hops = hops.map_err(|source| {
                    self.refused(format!("route {prefix}"), Error::NamespaceError(source.to_string()))
                })?;
                builder
                    .multipath(hops.into_iter().map(rtnetlink::RouteNextHopBuilder::build).collect())
                    .build()
            }
        };
        let added = self.handle.route().add(message).replace().execute().await;
        added.map_err(|source| self.refused(format!("route {prefix} via {via:?}"), source))
    }

    /// Routes `prefix` over `via`.
    pub(crate) async fn route_six(&self, prefix: Ipv6Net, via: Ipv6Addr) -> Result<(), NetError> {
        let message = RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(prefix.network(), prefix.prefix_len())
            .gateway(via)
            .build();
        let added = self.handle.route().add(message).replace().execute().await;
        added.map_err(|source| self.refused(format!("route {prefix} via {via}"), source))
    }

    /// Takes a route away; one that is gone is fine.
    pub(crate) async fn unroute(&self, prefix: Ipv4Net) -> Result<(), NetError> {
        let message = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(prefix.network(), prefix.prefix_len())
            .protocol(RouteProtocol::Unspec)
            .scope(RouteScope::NoWhere)
            .kind(RouteType::Unspec)
            .build();
        let removed = self.handle.route().del(message).execute().await;
        removed
            .or_else(gone)
            .map_err(|source| self.refused(format!("remove the route {prefix}"), source))
    }

    /// Makes `address` local to this namespace without any interface having it.
    pub(crate) async fn claim(&self, address: Ipv4Addr) -> Result<(), NetError> {
        let lo = self.index("lo").await?;
        let message = local_route(address).output_interface(lo).build();
        let added = self.handle.route().add(message).replace().execute().await;
        added.map_err(|source| self.refused(format!("claim {address}"), source))
    }

    /// Undoes [`Self::claim`].
    pub(crate) async fn disclaim(&self, address: Ipv4Addr) -> Result<(), NetError> {
        let removed = self.handle.route().del(local_route(address).build()).execute().await;
        removed
            .or_else(gone)
            .map_err(|source| self.refused(format!("give up {address}"), source))
    }

    /// The next hops of the route to exactly `prefix`, as the kernel has them.
    pub(crate) async fn next_hops(&self, prefix: Ipv4Net) -> Result<Vec<Ipv4Addr>, NetError> {
        let mut routes = self
            .handle
            .route()
            .get(RouteMessageBuilder::<Ipv4Addr>::new().build())
            .execute();
        let failed = |source| self.refused("list routes".into(), source);
        while let Some(route) = routes.try_next().await.map_err(failed)? {
            let destination = route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Destination(address) => ipv4(address),
                _ => None,
            });
            let length = route.header.destination_prefix_length;
            if destination == Some(prefix.network()) && length == prefix.prefix_len() {
                return Ok(hops_of(&route.attributes));
            }
        }
        Ok(Vec::new())
    }

    /// Forgets which hardware address `address` has, so that the next packet to it asks anew.
    pub(crate) async fn forget(&self, address: Ipv4Addr) -> Result<(), NetError> {
        let failed = |source| self.refused(format!("forget the neighbour {address}"), source);
        let mut all = self.handle.neighbours().get().execute();
        while let Some(entry) = all.try_next().await.map_err(failed)? {
            let destination = NeighbourAttribute::Destination(NeighbourAddress::Inet(address));
            if entry.attributes.contains(&destination) {
                self.handle
                    .neighbours()
                    .del(entry)
                    .execute()
                    .await
                    .or_else(gone)
                    .map_err(failed)?;
            }
        }
        Ok(())
    }

    async fn set(&self, message: netlink_packet_route::link::LinkMessage, action: &str) -> Result<(), NetError> {
        let changed = self.handle.link().change(message).execute().await;
        changed.map_err(|source| self.refused(action.into(), source))
    }

    async fn index(&self, name: &str) -> Result<u32, NetError> {
        let mut found = self.handle.link().get().match_name(name.to_owned()).execute();
        let link = found
            .try_next()
            .await
            .map_err(|source| self.refused(format!("find {name}"), source))?;
        link.map(|link| link.header.index)
            .ok_or_else(|| self.refused(format!("find {name}"), Error::NamespaceError("no such link".into())))
    }

    fn refused(&self, action: String, source: Error) -> NetError {
        NetError::Refused {
            action,
            netns: self.netns.name().into(),
            source,
        }
    }

    fn missing(&self, what: &'static str, module: &'static str, action: &str, source: Error) -> NetError {
        const EOPNOTSUPP: i32 = 95;
        match &source {
            Error::NetlinkError(message) if message.raw_code() == -EOPNOTSUPP => {
                NetError::Missing { what, module, source }
            }
            _ => self.refused(action.into(), source),
        }
    }
}

fn local_route(address: Ipv4Addr) -> RouteMessageBuilder<Ipv4Addr> {
    RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(address, 32)
        .table_id(LOCAL_TABLE)
        .kind(RouteType::Local)
        .scope(RouteScope::Host)
}

/// `ESRCH`, `ENODEV` and `ENOENT` of a removal say that there is nothing to remove.
fn gone(error: Error) -> Result<(), Error> {
    match &error {
        Error::NetlinkError(message) if matches!(message.raw_code(), -2 | -3 | -19) => Ok(()),
        _ => Err(error),
    }
}

fn hops_of(attributes: &[RouteAttribute]) -> Vec<Ipv4Addr> {
    let mut hops = Vec::new();
    for attribute in attributes {
        match attribute {
            RouteAttribute::Gateway(address) => hops.extend(ipv4(address)),
            RouteAttribute::MultiPath(paths) => paths.iter().for_each(|path| hops.extend(hops_of(&path.attributes))),
            _ => {}
        }
    }
    hops
}

fn ipv4(address: &netlink_packet_route::route::RouteAddress) -> Option<Ipv4Addr> {
    match address {
        netlink_packet_route::route::RouteAddress::Inet(address) => Some(*address),
        _ => None,
    }
}

impl Netns {
    fn raw_fd(&self) -> RawFd {
        self.file().as_raw_fd()
    }
}
