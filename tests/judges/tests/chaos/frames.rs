//! The client's wire: who says of himself that he has an address, by ARP frames.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};
use metallb_net::{ETHERTYPE_ARP, Instruction, LinkMonitor, PacketSocket};
use metallb_test_support::Netns;

/// Takes whole frames.
const TAKE_ALL: Instruction = Instruction {
    code: 0x06,
    jt: 0,
    jf: 0,
    k: u32::MAX,
};
const EVERYBODY: [u8; 6] = [0xff; 6];
/// ARP for IPv4 over Ethernet, up to the operation.
const ARP: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];

pub(crate) type Mac = [u8; 6];

/// One end of a wire, looked at past the kernel.
pub(crate) struct Wire {
    socket: PacketSocket,
    index: u32,
    mac: Mac,
    address: Ipv4Addr,
}

impl Wire {
    /// Opens the interface `name` of a namespace.
    pub(crate) async fn open(netns: &Netns, name: &str) -> Result<Self> {
        let (socket, mut monitor) =
            netns.run(|| anyhow::Ok((PacketSocket::open(ETHERTYPE_ARP)?, LinkMonitor::open()?)))??;
        socket.set_filter(&[TAKE_ALL])?;
        let links = monitor.list().await?;
        let link = links.iter().find(|link| link.name == name);
        let link = link.with_context(|| format!("no interface {name}"))?;
        let v4 = |address: &IpAddr| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        };
        Ok(Self {
            socket,
            index: link.index,
            mac: link.hardware_address.as_slice().try_into()?,
            address: link.addresses.iter().find_map(v4).context("no IPv4 address")?,
        })
    }

    /// Asks who has `address`.
    pub(crate) fn ask(&self, address: Ipv4Addr) -> Result<()> {
        let frame = [
            &EVERYBODY[..],
            &self.mac,
            &ETHERTYPE_ARP.to_be_bytes(),
            &ARP,
            &REQUEST,
            &self.mac,
            &self.address.octets(),
            &[0; 6],
            &address.octets(),
        ]
        .concat();
        Ok(self.socket.send(self.index, &frame)?)
    }

    /// Waits until somebody says that he has `address`, asked or not. Cancel-safe.
    pub(crate) async fn told(&self, address: Ipv4Addr) -> Result<Mac> {
        let mut buffer = [0; 64];
        loop {
            let received = self.socket.receive(&mut buffer).await?;
            if received.ifindex == self.index
                && let Some((mac, claimed)) = claim(&buffer[..received.len])
                && claimed == address
            {
                return Ok(mac);
            }
        }
    }
}

/// The sender of an ARP frame, as it calls itself.
fn claim(frame: &[u8]) -> Option<(Mac, Ipv4Addr)> {
    let arp = frame.get(14..).filter(|arp| arp.starts_with(&ARP))?;
    let mac = arp.get(8..14)?.try_into().ok()?;
    let address: [u8; 4] = arp.get(14..18)?.try_into().ok()?;
    Some((mac, address.into()))
}
