//! Packet sockets, TCP options, netlink: the only unsafe code.
//!
//! Wraps what the kernel offers and decides nothing: which frames are answered and which interfaces are used is the
//! business of the pure crates.

mod link_socket;
mod links;
#[allow(unsafe_code, reason = "no crate wraps TCP_MD5SIG")]
mod md5;
#[allow(unsafe_code, reason = "AF_PACKET addresses have no safe interface in std or socket2")]
mod packet_socket;
#[allow(unsafe_code, reason = "no crate we have wraps sched_setscheduler")]
mod priority;
mod router_socket;
#[allow(unsafe_code, reason = "no crate we have wraps SO_ATTACH_REUSEPORT_CBPF")]
mod split;
#[allow(unsafe_code, reason = "no crate we have wraps IP_MINTTL")]
mod ttl;
#[allow(unsafe_code, reason = "no crate we have wraps sched_setattr")]
mod turns;

pub use link_socket::{LinkAddress, LinkReceived, LinkSocket};
pub use links::{LinkMonitor, ListError};
pub use md5::{MD5_KEY_MAX, remove_tcp_md5, set_tcp_md5, set_tcp_md5_of};
pub use metallb_l2::{Instruction, LinkFacts, PacketType};
pub use packet_socket::{
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, FrameSocket, OpenError, PacketSocket, Received,
};
pub use priority::{Priority, prefer_this_thread};
pub use router_socket::RouterSocket;
pub use split::split_datagrams;
pub use ttl::set_minimum_ttl;
pub use turns::shorten_turns;
