//! Packet sockets, TCP options, netlink: the only unsafe code.
//!
//! Wraps what the kernel offers and decides nothing: which frames are answered and which interfaces are used is the
//! business of the pure crates.

mod links;
#[allow(unsafe_code, reason = "no crate wraps TCP_MD5SIG")]
mod md5;
#[allow(unsafe_code, reason = "AF_PACKET addresses have no safe interface in std or socket2")]
mod packet_socket;

pub use links::{Link, LinkMonitor, ListError};
pub use md5::{MD5_KEY_MAX, set_tcp_md5};
pub use packet_socket::{Delivery, ETHERTYPE_ARP, Instruction, OpenError, PacketSocket, Received};
