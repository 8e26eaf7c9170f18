//! A kube-proxy stand-in that needs neither nftables nor iptables.
//!
//! In every node's namespace, each service address becomes local by a route (`ip route add local VIP dev lo`), which
//! takes packets in without putting the address on an interface; a listener on it forwards connections to the
//! endpoints. `arp_ignore=1` (see [`crate::topology`]) keeps the kernel from answering ARP for such addresses: that is
//! the speakers' office. TCP alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::backend::VIA_HEADER;
use crate::cluster::Cluster;
use crate::net::{Links, NetError};
use crate::topology::NodeNet;
use crate::workloads::SERVICE_LABEL;

/// How long an endpoint may take to accept.
const PATIENCE: Duration = Duration::from_secs(2);
/// After a failure.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What is behind an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Backends {
    addresses: Vec<SocketAddr>,
    /// Whether to tell the backend the node, which changes the request: for clients from outside only.
    tell_node: bool,
}

type Frontends = BTreeMap<SocketAddr, Backends>;

/// One open frontend.
struct Open {
    backends: watch::Sender<Backends>,
    stop: CancellationToken,
}

struct Proxy {
    net: NodeNet,
    links: Links,
    open: BTreeMap<SocketAddr, Open>,
    claimed: BTreeSet<Ipv4Addr>,
}

/// Runs the proxy of one node until `stop`.
pub(crate) async fn run(cluster: Cluster, net: NodeNet, stop: CancellationToken) -> Result<(), NetError> {
    let links = net.netns.links()?;
    let mut changes = cluster.changes();
    let mut proxy = Proxy {
        net,
        links,
        open: BTreeMap::new(),
        claimed: BTreeSet::new(),
    };
    loop {
        let wanted = desired(&cluster.services.state(), &cluster.slices.state(), &proxy.net.name);
        if let Err(error) = proxy.follow(wanted).await {
            tracing::debug!(node = proxy.net.name, %error, "the service proxy tries again");
        }
        tokio::select! {
            () = stop.cancelled() => break,
            _ = tokio::time::timeout(LOOK_AGAIN, changes.changed()) => {}
        }
    }
    proxy.open.values().for_each(|open| open.stop.cancel());
    Ok(())
}

impl Proxy {
    async fn follow(&mut self, wanted: Frontends) -> Result<(), NetError> {
        let addresses: BTreeSet<Ipv4Addr> = wanted.keys().filter_map(|address| ipv4(address.ip())).collect();
        for address in &addresses - &self.claimed {
            self.links.claim(address).await?;
            self.claimed.insert(address);
        }
        self.open.retain(|address, open| {
            let keep = wanted.contains_key(address);
            if !keep {
                open.stop.cancel();
            }
            keep
        });
        for (address, backends) in wanted {
            self.serve(address, backends)?;
        }
        for address in &self.claimed.clone() - &addresses {
            self.links.disclaim(address).await?;
            self.claimed.remove(&address);
        }
        Ok(())
    }

    fn serve(&mut self, address: SocketAddr, backends: Backends) -> Result<(), NetError> {
        if let Some(open) = self.open.get(&address) {
            open.backends
                .send_if_modified(|now| std::mem::replace(now, backends.clone()) != backends);
            return Ok(());
        }
        let listener = self.net.netns.listen(address).map_err(|source| NetError::Io {
            action: format!("listen on {address}"),
            netns: self.net.name.clone(),
            source,
        })?;
        let stop = CancellationToken::new();
        let (sender, receiver) = watch::channel(backends);
        tokio::spawn(accept(listener, receiver, self.net.clone(), stop.clone()));
        self.open.insert(address, Open { backends: sender, stop });
        Ok(())
    }
}

async fn accept(listener: TcpListener, backends: watch::Receiver<Backends>, net: NodeNet, stop: CancellationToken) {
    let turn = Arc::new(AtomicUsize::new(0));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((client, _)) = accepted else { continue };
        let (backends, net, turn) = (backends.borrow().clone(), net.clone(), turn.clone());
        // Connections outlive the frontend, as they do under kube-proxy.
        tokio::spawn(async move {
            if let Err(error) = forward(client, &backends, &net, &turn).await {
                tracing::trace!(node = net.name, %error, "a proxied connection ended");
            }
        });
    }
}

async fn forward(mut client: TcpStream, backends: &Backends, net: &NodeNet, turn: &AtomicUsize) -> io::Result<()> {
    let count = backends.addresses.len();
    for _ in 0..count {
        let next = turn.fetch_add(1, Ordering::Relaxed) % count;
        let Ok(mut backend) = net.netns.connect(None, backends.addresses[next], PATIENCE).await else {
            continue;
        };
        if backends.tell_node {
            tell_node(&mut client, &mut backend, &net.name).await?;
        }
        return copy_bidirectional(&mut client, &mut backend).await.map(drop);
    }
    Err(io::ErrorKind::ConnectionRefused.into())
}

/// Passes on the first bytes; if they begin an HTTP request, with a header that names the node.
async fn tell_node(client: &mut TcpStream, backend: &mut TcpStream, node: &str) -> io::Result<()> {
    let mut first = vec![0; 2048];
    let read = client.read(&mut first).await?;
    backend.write_all(&with_header(&first[..read], node)).await
}

fn with_header(first: &[u8], node: &str) -> Vec<u8> {
    let line = first.windows(2).position(|two| two == b"\r\n").map(|at| at + 2);
    match line.filter(|end| first[..*end].ends_with(b" HTTP/1.1\r\n") || first[..*end].ends_with(b" HTTP/1.0\r\n")) {
        Some(end) => [
            &first[..end],
            format!("{VIA_HEADER}: {node}\r\n").as_bytes(),
            &first[end..],
        ]
        .concat(),
        None => first.to_vec(),
    }
}

/// What the node `node` must serve.
fn desired(services: &[Arc<Service>], slices: &[Arc<EndpointSlice>], node: &str) -> Frontends {
    let mut frontends = Frontends::new();
    for service in services {
        let Some(spec) = &service.spec else { continue };
        let inner = spec.cluster_ips.iter().flatten().filter_map(|ip| ip.parse().ok());
        let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let ingress = status.and_then(|status| status.ingress.as_ref()).into_iter().flatten();
        let outer: Vec<IpAddr> = ingress
            .filter_map(|ingress| ingress.ip.as_ref()?.parse().ok())
            .collect();
        let local = spec.external_traffic_policy.as_deref() == Some("Local");
        for port in spec
            .ports
            .iter()
            .flatten()
            .filter(|port| port.protocol.as_deref().is_none_or(|it| it == "TCP"))
        {
            let Ok(number) = u16::try_from(port.port) else { continue };
            let name = port.name.as_deref().unwrap_or_default();
            let behind = |only: Option<&str>| endpoints(service, slices, name, only);
            for ip in inner.clone() {
                add(&mut frontends, SocketAddr::new(ip, number), behind(None), false);
            }
            for ip in &outer {
                add(
                    &mut frontends,
                    SocketAddr::new(*ip, number),
                    behind(local.then_some(node)),
                    true,
                );
            }
        }
    }
    frontends
}

fn add(frontends: &mut Frontends, at: SocketAddr, addresses: Vec<SocketAddr>, tell_node: bool) {
    if at.is_ipv4() && !addresses.is_empty() {
        frontends.insert(at, Backends { addresses, tell_node });
    }
}

/// Ready endpoints of a port, on one node or anywhere.
fn endpoints(service: &Service, slices: &[Arc<EndpointSlice>], port: &str, node: Option<&str>) -> Vec<SocketAddr> {
    let of = |slice: &&Arc<EndpointSlice>| {
        slice.namespace() == service.namespace() && slice.labels().get(SERVICE_LABEL) == Some(&service.name_any())
    };
    let mut found = Vec::new();
    for slice in slices.iter().filter(of) {
        let mut ports = slice.ports.iter().flatten();
        let number = ports
            .find(|one| one.name.as_deref().unwrap_or_default() == port)
            .and_then(|one| one.port);
        let Some(number) = number.and_then(|number| u16::try_from(number).ok()) else {
            continue;
        };
        for endpoint in &slice.endpoints {
            let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false);
            if ready && node.is_none_or(|node| endpoint.node_name.as_deref() == Some(node)) {
                let address = endpoint.addresses.first().and_then(|address| address.parse().ok());
                found.extend(address.map(|address: IpAddr| SocketAddr::new(address, number)));
            }
        }
    }
    found
}

fn ipv4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_request_is_told_the_node() {
        let told = with_header(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "node-1");
        assert_eq!(told, b"GET / HTTP/1.1\r\nx-lab-via-node: node-1\r\nHost: a\r\n\r\n");
    }

    #[test]
    fn anything_else_passes_unchanged() {
        assert_eq!(with_header(b"\x16\x03\x01\r\n", "node-1"), b"\x16\x03\x01\r\n");
    }
}
