//! Nodes on a segment with a client, and on a management network with the API server.
//!
//! ```text
//!  client 192.0.2.2 ──┐                                      ┌── kube-apiserver 10.0.0.1
//!  watcher ────────── bridge seg ── eth0 │ node n │ mgmt0 ── bridge mgmt
//!                        192.0.2.1n ─────┘        └───── 10.0.0.1n
//! ```
//! The address of the Service is on `lo` of every node, and Linux answers neither ARP requests for it nor asks with it: only
//! a speaker says where it is, and whichever node gets a request answers it.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};
use metallb_test_support::Netns;
use nix::sys::socket::{setsockopt, sockopt};

/// Where the API server listens.
pub(super) const HUB: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The address that is announced, and the port that answers there.
pub(super) const SERVICE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 200), 7);
/// The hardware address of the watcher.
pub(super) const WATCHER: [u8; 6] = [2, 0, 0, 0, 0, 3];
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// Hardware addresses end with the number of the network and that of the node.
const SEGMENT: u8 = 1;
const MANAGEMENT: u8 = 2;

/// Some thousand datagrams, for each of which the kernel counts its own overhead.
const RECEIVE_BUFFER: usize = 8 << 20;

/// A node by its number, from 1.
pub(super) type Number = u8;

/// The address of a node on the management network.
#[must_use]
pub(super) fn address(node: Number) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 10 + node)
}

fn mac(network: u8, node: Number) -> String {
    format!("02:00:00:00:{network:02x}:{node:02x}")
}

/// A line that makes a neighbour on the management network known for good.
fn known(address: Ipv4Addr, node: Number, interface: &str) -> String {
    let mac = mac(MANAGEMENT, node);
    format!("neighbor replace {address} lladdr {mac} dev {interface} nud permanent\n")
}

/// Whose hardware address on the segment that is.
#[must_use]
pub(super) fn node_of(mac: &[u8]) -> Option<Number> {
    mac.strip_prefix(&[2, 0, 0, 0, SEGMENT])?.first().copied()
}

/// The running network.
#[derive(Debug)]
pub(super) struct Network {
    /// By number, less one.
    pub(super) nodes: Vec<Netns>,
    /// The client's namespace.
    pub(super) client: Netns,
    /// Of another host on the segment, which has no address.
    pub(super) watcher: Netns,
    /// Changes links here as fast as can be: `ip` waits for lines.
    ip: Child,
}

impl Network {
    /// Builds it around the namespace of this process, with its files in `dir`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn build(dir: &Path, nodes: Number) -> Result<Self> {
        let (client, watcher) = (Netns::create(dir, "client")?, Netns::create(dir, "watcher")?);
        let mut hub = String::from("link set lo up\n");
        for (bridge, network) in [("seg", SEGMENT), ("mgmt", MANAGEMENT)] {
            let mac = mac(network, 0);
            hub += &format!("link add {bridge} address {mac} type bridge\nlink set {bridge} up\n");
        }
        hub += &format!("address add {HUB}/24 dev mgmt\n");
        hub += &cable("seg", "client", "eth0", &client, "02:00:00:00:00:02");
        hub += &cable("seg", "watcher", "eth0", &watcher, "02:00:00:00:00:03");
        ip(&hub)?;
        within(
            &client,
            &format!("link set lo up\naddress add {CLIENT}/24 dev eth0\nlink set eth0 up\n"),
        )?;
        within(&watcher, "link set eth0 up\n")?;
        let nodes = (1..=nodes).map(|node| build_node(dir, node)).collect::<Result<_>>()?;
        let ip = Command::new("ip")
            .args(["-force", "-batch", "-"])
            .stdin(Stdio::piped())
            .spawn();
        let ip = ip.context("cannot start ip")?;
        Ok(Self {
            nodes,
            client,
            watcher,
            ip,
        })
    }

    /// Cuts a node off from both networks, as when its power fails: it finds out nothing.
    ///
    /// # Errors
    /// When `ip` has ended.
    pub(super) fn cut(&mut self, node: Number) -> Result<()> {
        self.ip(&format!("link set seg{node} nomaster\nlink set mgmt{node} nomaster\n"))
    }

    /// Pulls the cable of a node's interface on the segment.
    ///
    /// # Errors
    /// When `ip` has ended.
    pub(super) fn pull(&mut self, node: Number) -> Result<()> {
        self.ip(&format!("link set seg{node} down\n"))
    }

    /// Undoes both.
    ///
    /// # Errors
    /// When `ip` has ended.
    pub(super) fn mend(&mut self, node: Number) -> Result<()> {
        self.ip(&format!(
            "link set seg{node} master seg\nlink set mgmt{node} master mgmt\nlink set seg{node} up\n"
        ))
    }

    /// Whether addresses can be announced on the management network, too. Its neighbours are known without ARP.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub(super) fn management_announces(&self, announces: bool) -> Result<()> {
        let arp = if announces { "on" } else { "off" };
        for (own, netns) in (1..).zip(&self.nodes) {
            let mut lines = format!("link set mgmt0 arp {arp}\n{}", known(HUB, 0, "mgmt0"));
            let others = (1..).take(self.nodes.len()).filter(|node| *node != own);
            others.for_each(|node| lines += &known(address(node), node, "mgmt0"));
            within(netns, &lines)?;
        }
        Ok(())
    }

    fn ip(&mut self, lines: &str) -> Result<()> {
        let stdin = self.ip.stdin.as_mut().context("ip has no input")?;
        stdin.write_all(lines.as_bytes()).context("ip has ended")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.ip.kill();
        let _ = self.ip.wait();
    }
}

fn build_node(dir: &Path, node: Number) -> Result<Netns> {
    let netns = Netns::create(dir, &format!("node{node}"))?;
    let segment = cable("seg", &format!("seg{node}"), "eth0", &netns, &mac(SEGMENT, node));
    let management = cable("mgmt", &format!("mgmt{node}"), "mgmt0", &netns, &mac(MANAGEMENT, node));
    ip(&(segment + &management + &known(address(node), node, "mgmt")))?;
    within(
        &netns,
        &format!(
            "link set lo up\naddress add {}/32 dev lo\naddress add 192.0.2.{}/24 dev eth0\naddress add {}/24 dev mgmt0\n\
             link set eth0 up\nlink set mgmt0 up\n",
            SERVICE.ip(),
            10 + node,
            address(node)
        ),
    )?;
    let settings = netns.run(|| {
        for (setting, value) in [("arp_ignore", "1"), ("arp_announce", "2")] {
            fs::write(format!("/proc/sys/net/ipv4/conf/all/{setting}"), value)?;
        }
        patient(UdpSocket::bind(SERVICE)?)
    });
    let socket = settings?.with_context(|| format!("cannot set node {node} up"))?;
    thread::spawn(move || answer(&socket, node));
    Ok(netns)
}

/// Gives a socket room for the datagrams of seconds: on a busy machine its reader may come late, and what it has no room for
/// would count as lost.
pub(super) fn patient(socket: UdpSocket) -> io::Result<UdpSocket> {
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
    Ok(socket)
}

/// Answers every request with what it says and the node's number.
fn answer(socket: &UdpSocket, node: Number) {
    let mut buffer = [0; 64];
    loop {
        // Neither fails for good: the socket is the program's own.
        if let Ok((length, from)) = socket.recv_from(&mut buffer[..63]) {
            buffer[length] = node;
            let _ = socket.send_to(&buffer[..=length], from);
        }
    }
}

/// The lines that connect `interface` of a namespace with a bridge here.
fn cable(bridge: &str, port: &str, interface: &str, netns: &Netns, mac: &str) -> String {
    format!(
        "link add {port} type veth peer name {interface} address {mac} netns {}\nlink set {port} master {bridge} up\n",
        netns.path().display()
    )
}

fn within(netns: &Netns, lines: &str) -> Result<()> {
    netns.run(|| ip(lines))?
}

fn ip(lines: &str) -> Result<()> {
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot start ip")?;
    ip.stdin
        .take()
        .context("ip has no input")?
        .write_all(lines.as_bytes())?;
    let status = ip.wait()?;
    ensure!(status.success(), "ip failed on\n{lines}");
    Ok(())
}
