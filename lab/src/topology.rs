//! The lab's network.
//!
//! ```text
//!   lab (API server) 172.30.0.1     node-1..N 172.30.0.11..   router 172.30.0.2   client 172.30.0.100
//!        └──────────────────────────────┴── bridge lab0 ──────────┴──────────────────┘
//!                                       │                         └── 172.31.0.1 ──── client 172.31.0.100
//!                                  cni0 10.244.N.1/24 ── pods
//! ```
//! The client reaches layer-2 addresses (172.30.0.200-250) as a neighbour of the nodes, by its first leg,
//! and everything else by its second, through the router.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use crate::net::{Links, NetError, Netns, Wire};

/// Where the API server listens inside the lab.
pub const API_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(LAB), 6443);
/// The lab's own address on its bridge.
pub const LAB: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);
/// The same, where nodes have IPv6.
pub const LAB_SIX: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x172, 0x30, 0, 0, 0, 0, 1);
/// The router, as the nodes see it.
pub(crate) const ROUTER: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 2);
/// The router, as the client sees it.
const ROUTER_FAR: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 1);
/// The client, as the nodes see it.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 100);
/// The client behind the router.
pub const CLIENT_FAR: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 100);
/// The bridge.
const BRIDGE: &str = "lab0";
/// More than this would run into the client's address.
pub(crate) const MAX_NODES: u8 = 80;

/// The namespaces of a running lab, wired.
#[derive(Debug)]
pub struct Topology {
    /// Bridge and API server; the namespace the lab's process is in.
    pub lab: Netns,
    /// The router.
    pub router: Netns,
    /// The client.
    pub client: Netns,
    /// The nodes, first to last.
    pub nodes: Vec<NodeNet>,
}

/// The network of one node.
#[derive(Clone, Debug)]
pub struct NodeNet {
    /// `node-N`.
    pub name: String,
    /// Its namespace.
    pub netns: Netns,
    /// Its address on the bridge.
    pub address: Ipv4Addr,
    /// The network of its pods; the first address is the node's.
    pub pods: Ipv4Net,
    number: u8,
}

/// The addresses of real nodes, pods and Services. Routers and clients have IPv4 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Families {
    /// IPv4 alone.
    #[default]
    Four,
    /// Both, IPv4 first.
    Both,
    /// IPv6 alone.
    Six,
}

impl Families {
    /// Whether there are addresses of IPv4.
    #[must_use]
    pub fn four(self) -> bool {
        self != Self::Six
    }

    /// Whether there are addresses of IPv6.
    #[must_use]
    pub fn six(self) -> bool {
        self != Self::Four
    }

    /// What belongs to the families, IPv4 first, separated by commas as Kubernetes wants it.
    #[must_use]
    pub fn list(self, four: &str, six: &str) -> String {
        match self {
            Self::Four => four.into(),
            Self::Both => format!("{four},{six}"),
            Self::Six => six.into(),
        }
    }
}

impl Topology {
    /// Makes and wires everything; `dir` takes the namespaces' files. Real nodes make their pods' networks themselves.
    ///
    /// # Errors
    /// When the kernel lacks something, in words for the user.
    pub async fn create(dir: &Path, nodes: u8, real: Option<Families>) -> Result<Self, NetError> {
        let lab = Netns::current(dir, "lab")?;
        let links = lab.links()?;
        links.up("lo").await?;
        links.bridge(BRIDGE).await?;
        links.address(BRIDGE, net(LAB, 24)).await?;
        lab.sysctl("ipv4/ip_forward", "1")?;
        packet_sockets(&lab)?;
        let router = Netns::create(dir, "router")?;
        let client = Netns::create(dir, "client")?;
        let mut topology = Self {
            lab,
            router,
            client,
            nodes: Vec::new(),
        };
        topology.wire_router_and_client(&links).await?;
        for number in 1..=nodes.min(MAX_NODES) {
            let node = topology.add_node(dir, &links, number).await?;
            if real.is_some() {
                // What asks for a way out looks for this one; nothing leaves the lab.
                node.netns.links()?.route(default_route(), &[LAB]).await?;
            } else {
                node.imitate().await?;
            }
            if real.is_some_and(Families::six) {
                node.with_six(&topology.lab).await?;
            }
            topology.nodes.push(node);
        }
        topology.route_between_nodes(real.is_some_and(Families::six)).await?;
        Ok(topology)
    }

    /// The node of that name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeNet> {
        self.nodes.iter().find(|node| node.name == name)
    }

    async fn wire_router_and_client(&self, lab: &Links) -> Result<(), NetError> {
        attach(lab, &self.router, "v-router", net(ROUTER, 24)).await?;
        attach(lab, &self.client, "v-client", net(CLIENT, 24)).await?;
        let router = self.router.links()?;
        router
            .wire(Wire {
                near: "eth1",
                bridge: None,
                far: "eth1",
                netns: &self.client,
            })
            .await?;
        router.address("eth1", net(ROUTER_FAR, 24)).await?;
        let client = self.client.links()?;
        client.address("eth1", net(CLIENT_FAR, 24)).await?;
        client.route(default_route(), &[ROUTER_FAR]).await?;
        // Requests that differ in nothing but the source port must spread over the next hops.
        self.router.sysctl("ipv4/fib_multipath_hash_policy", "1")?;
        self.router.sysctl("ipv4/ip_forward", "1")
    }

    async fn add_node(&self, dir: &Path, lab: &Links, number: u8) -> Result<NodeNet, NetError> {
        let name = format!("node-{number}");
        let netns = Netns::create(dir, &name)?;
        let address = Ipv4Addr::new(172, 30, 0, 10 + number);
        let pods = net(Ipv4Addr::new(10, 244, number, 0), 24);
        attach(lab, &netns, &format!("v-{name}"), net(address, 24)).await?;
        let links = netns.links()?;
        links.route(net(Ipv4Addr::new(172, 31, 0, 0), 24), &[ROUTER]).await?;
        netns.sysctl("ipv4/ip_forward", "1")?;
        lab.route(pods, &[address]).await?;
        Ok(NodeNet {
            name,
            netns,
            address,
            pods,
            number,
        })
    }

    async fn route_between_nodes(&self, six: bool) -> Result<(), NetError> {
        for node in &self.nodes {
            let links = node.netns.links()?;
            for other in self.nodes.iter().filter(|other| other.name != node.name) {
                links.route(other.pods, &[other.address]).await?;
                if six {
                    links.route_six(other.pods_six(), other.address_six()).await?;
                }
            }
        }
        Ok(())
    }
}

impl NodeNet {
    /// Its address on the bridge, where it has IPv6.
    #[must_use]
    pub fn address_six(&self) -> Ipv6Addr {
        let [a, b, c, ..] = LAB_SIX.segments();
        Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0x10 + u16::from(self.number))
    }

    /// The network of its pods, where they have IPv6.
    #[must_use]
    pub fn pods_six(&self) -> Ipv6Net {
        let network = Ipv6Addr::new(0xfd00, 0x10, 0x244, self.number.into(), 0, 0, 0, 0);
        Ipv6Net::new(network, 64).unwrap_or_default()
    }

    /// Gives the node, and the lab, IPv6.
    async fn with_six(&self, lab: &Netns) -> Result<(), NetError> {
        let segment = |address| Ipv6Net::new(address, 64).unwrap_or_default();
        // Nobody else has these addresses, and a second of doubt is long.
        for (netns, link) in [(lab, BRIDGE), (&self.netns, "eth0")] {
            netns.sysctl("ipv6/conf/all/forwarding", "1")?;
            netns.sysctl(&format!("ipv6/conf/{link}/accept_dad"), "0")?;
        }
        let links = lab.links()?;
        if self.number == 1 {
            links.address(BRIDGE, segment(LAB_SIX)).await?;
        }
        links.route_six(self.pods_six(), self.address_six()).await?;
        let own = self.netns.links()?;
        own.address("eth0", segment(self.address_six())).await?;
        own.route_six(Ipv6Net::default(), LAB_SIX).await
    }

    /// Prepares a node for the lab's own agent and service proxy.
    async fn imitate(&self) -> Result<(), NetError> {
        let links = self.netns.links()?;
        links.bridge("cni0").await?;
        links.address("cni0", net(first_host(self.pods), 24)).await?;
        // Service addresses are local to every node (see `proxy`), but the kernel must stay silent about
        // them: who answers ARP for them is the speakers' decision.
        self.netns.sysctl("ipv4/conf/all/arp_ignore", "1")?;
        self.netns.sysctl("ipv4/conf/all/arp_announce", "2")
    }

    /// Gives a pod a namespace of its own, with `address` on the node's pod network.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) async fn add_pod(&self, dir: &Path, id: &str, address: Ipv4Addr) -> Result<Netns, NetError> {
        let netns = Netns::create(dir, id)?;
        let node = self.netns.links()?;
        let near = pod_link(address);
        node.wire(Wire {
            near: &near,
            bridge: Some("cni0"),
            far: "eth0",
            netns: &netns,
        })
        .await?;
        let links = netns.links()?;
        links.up("lo").await?;
        links.address("eth0", net(address, 24)).await?;
        links.route(default_route(), &[first_host(self.pods)]).await?;
        Ok(netns)
    }

    /// The address of the pod network that `number` (2 to 254) stands for.
    #[must_use]
    pub(crate) fn pod_address(&self, number: u8) -> Ipv4Addr {
        let [a, b, c, _] = self.pods.network().octets();
        Ipv4Addr::new(a, b, c, number)
    }

    /// Pulls the node's cable.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) async fn unplug(&self) -> Result<(), NetError> {
        self.netns.links()?.remove("eth0").await
    }
}

async fn attach(lab: &Links, netns: &Netns, near: &str, address: Ipv4Net) -> Result<(), NetError> {
    lab.wire(Wire {
        near,
        bridge: Some(BRIDGE),
        far: "eth0",
        netns,
    })
    .await?;
    let links = netns.links()?;
    links.up("lo").await?;
    links.address("eth0", address).await
}

/// Fails early and clearly on a kernel without packet sockets, which layer-2 mode is made of.
fn packet_sockets(lab: &Netns) -> Result<(), NetError> {
    let opened = lab
        .run(|| Socket::new(Domain::PACKET, Type::RAW, None))
        .and_then(|opened| opened);
    opened.map(drop).map_err(|source| NetError::Io {
        action: "open a packet socket (AF_PACKET; load the module `af_packet`)".into(),
        netns: lab.name().into(),
        source,
    })
}

/// Interface names hold 15 bytes: the last byte of the address is enough within one node.
fn pod_link(address: Ipv4Addr) -> String {
    format!("veth{}", address.octets()[3])
}

fn first_host(network: Ipv4Net) -> Ipv4Addr {
    let [a, b, c, _] = network.network().octets();
    Ipv4Addr::new(a, b, c, 1)
}

fn default_route() -> Ipv4Net {
    Ipv4Net::default()
}

fn net(address: Ipv4Addr, length: u8) -> Ipv4Net {
    Ipv4Net::new(address, length).unwrap_or_default()
}
